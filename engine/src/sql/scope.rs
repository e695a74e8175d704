//! What names mean at one place of a statement: the relations of a FROM clause and their columns, and the scopes of the
//! enclosing queries.

use crate::catalog::Oid;
use crate::expr::ColumnId;
use crate::types::PgType;

/// One column that an expression may name.
#[derive(Debug, Clone)]
pub struct ScopeColumn {
    pub name: String,
    pub id: ColumnId,
    pub ty: PgType,
    /// pg_class OID and attribute number when it is a plain column of a table, else 0.
    pub table: u32,
    pub attribute: i16,
    /// False for system columns and for the columns that USING merged: nameable, not part of `*`.
    pub visible: bool,
}

/// One entry of a FROM clause.
#[derive(Debug, Clone)]
pub struct ScopeRelation {
    /// Alias, or the relation's name.
    pub name: String,
    /// Schema, when the relation was not given an alias: `public.t.a` is then a valid reference.
    pub schema: Option<String>,
    pub columns: Vec<ScopeColumn>,
    /// Columns that are younger than the text at hand: no name in it means them, but whole rows have them.
    pub later: Vec<ScopeColumn>,
    /// The relation's own name behind an alias, for hints.
    pub real_name: Option<String>,
    /// OID of the table or view, 0 for anything else.
    pub table: u32,
    /// A function in FROM whose single column may be referenced by the relation's name.
    pub scalar: bool,
    /// False: this relation may not be referenced from here (its columns were merged or it is not LATERAL).
    pub lateral_ok: bool,
    /// An outer join may yield NULLs in place of its rows.
    pub nullable: bool,
    /// `xmax`, where it tells rows that ON CONFLICT updated from those that were inserted.
    pub updated: Option<ColumnId>,
    /// Where its rows lie, behind `ctid`, if the query asks for that.
    pub row_id: Option<ColumnId>,
    /// What `tableoid` tells.
    pub rows_of: RowsOf,
    /// What the round before found of the recursive query at hand.
    pub recursive: bool,
}

impl ScopeRelation {
    /// Rows that may be named from everywhere, of the table or view `table` (0: of none).
    pub fn new(name: String, table: u32, columns: Vec<ScopeColumn>) -> ScopeRelation {
        ScopeRelation {
            name,
            schema: None,
            columns,
            later: Vec::new(),
            real_name: None,
            table,
            scalar: false,
            lateral_ok: true,
            nullable: false,
            updated: None,
            row_id: None,
            rows_of: RowsOf::Named,
            recursive: false,
        }
    }
}

/// The table that the rows of a relation are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsOf {
    /// The relation itself.
    Named,
    /// A table that inherits from it.
    Member(Oid),
    /// Each row says which.
    Column(ColumnId),
}

/// The names that are visible to an expression; `outer` holds those of the enclosing queries, innermost first.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub relations: Vec<ScopeRelation>,
    /// Columns that JOIN USING and NATURAL merged: found by their bare name before those of the relations.
    pub merged: Vec<ScopeColumn>,
    /// What an unqualified `*` yields, in order.
    pub star: Vec<ScopeColumn>,
}

impl Scope {
    /// The column of a table's scope with this attribute number.
    pub fn attribute(&self, attnum: i16) -> Option<&ScopeColumn> {
        self.relations.iter().flat_map(|r| &r.columns).find(|c| c.attribute == attnum)
    }

    /// The table column behind an id.
    pub fn attribute_of(&self, id: ColumnId) -> Option<i16> {
        self.relations.iter().flat_map(|r| &r.columns).find(|c| c.id == id && c.table != 0).map(|c| c.attribute)
    }
}
