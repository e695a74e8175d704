//! Tables that have children: a query on one reads the rows of the whole family, as a union of scans with the columns of the
//! table that was named and one more, the table that each row is of.
//!
//! Invariants:
//! 1. A table without children, or named by ONLY, is a plain scan: it pays nothing here.
//! 2. The last output of a family's union is the row's `tableoid`, or the row's place behind it where that was asked for.

use super::Binder;
use crate::catalog::TableDef;
use crate::error::Error;
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::sql::rel::{Output, Rel, Scan, ScanColumn, SetOperation};
use crate::sql::scope::{RowsOf, ScopeColumn};
use crate::types::{Datum, PgType, TypeOid};

/// Policies stand around one scan.
pub(super) fn policed_family() -> Error {
    Error::unsupported("row security of a table that others inherit from, unless the statement says ONLY,")
}

/// Where a row lies that may be of any member of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub row_id: ColumnId,
    /// The OID of its table; `None`: that of the scan.
    pub table: Option<ColumnId>,
}

/// The rows of one member, or of several.
struct Branch {
    rel: Rel,
    columns: Vec<ColumnId>,
}

impl Binder {
    /// The rows that naming a table means: its own and, unless it is meant alone, those of all that inherit from it.
    pub(super) fn family_scan(&mut self, def: &TableDef, only: bool) -> (Rel, Vec<ScopeColumn>, RowsOf) {
        let (own, columns) = self.scan(def);
        if only || self.environment.catalog.children(def.oid).is_empty() {
            return (own, columns, RowsOf::Named);
        }
        let catalog = self.environment.catalog.clone();
        let family = catalog.family(def.oid);
        self.reads.extend(family.iter().skip(1).map(|member| member.oid));
        let branches: Vec<Branch> = family.iter().map(|member| self.member_branch(member, def)).collect();
        let table = self.fresh();
        let mut outputs: Vec<Output> = columns.iter().map(|c| Output { id: c.id, ty: c.ty }).collect();
        outputs.push(Output { id: table, ty: TypeOid::OID.into() });
        let rel = self.union(branches, outputs).rel;
        self.families.insert(table, None);
        (rel, columns, RowsOf::Column(table))
    }

    /// A member's rows as rows of the table that was named.
    fn member_branch(&mut self, member: &TableDef, named: &TableDef) -> Branch {
        let (scan, own) = self.member_scan(member, named);
        let columns = own.into_iter().map(|o| (self.fresh(), ScalarExpr::column(o.id, o.ty)));
        let mut columns: Vec<(ColumnId, ScalarExpr)> = columns.collect();
        columns.push((self.fresh(), ScalarExpr::constant(Datum::Oid(member.oid.0), TypeOid::OID)));
        let ids = columns.iter().map(|(id, _)| *id).collect();
        Branch { rel: Rel::Project { input: Box::new(Rel::Scan(scan)), columns }, columns: ids }
    }

    fn member_scan(&mut self, member: &TableDef, named: &TableDef) -> (Scan, Vec<Output>) {
        let found = named.live_columns().filter_map(|c| member.column(&c.name));
        let columns = found.map(|c| ScanColumn { attnum: c.attnum, output: Output { id: self.fresh(), ty: c.ty } });
        let columns: Vec<ScanColumn> = columns.collect();
        let outputs = columns.iter().map(|c| c.output).collect();
        (Scan { table: member.oid, name: member.name.clone(), columns, row_id: None, system: false }, outputs)
    }

    /// All rows of the branches in their order. Balanced, so that many children do not nest deeply.
    fn union(&mut self, mut branches: Vec<Branch>, outputs: Vec<Output>) -> Branch {
        let columns: Vec<ColumnId> = outputs.iter().map(|o| o.id).collect();
        let second = branches.split_off(branches.len() / 2);
        let (left, right) = (self.half(branches, &outputs), self.half(second, &outputs));
        let rel = Rel::SetOperation {
            operation: SetOperation::Union,
            all: true,
            left: Box::new(left.rel),
            right: Box::new(right.rel),
            outputs,
            left_columns: left.columns,
            right_columns: right.columns,
        };
        Branch { rel, columns }
    }

    fn half(&mut self, mut branches: Vec<Branch>, like: &[Output]) -> Branch {
        match (branches.pop(), branches.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                branches.extend(last);
                let outputs = like.iter().map(|o| Output { id: self.fresh(), ty: o.ty }).collect();
                self.union(branches, outputs)
            }
        }
    }

    /// Lets the union of a family say where its rows lie; `None`: it is another union.
    pub(super) fn family_place(&mut self, rel: &mut Rel) -> Option<Place> {
        let Rel::SetOperation { outputs, .. } = rel else { return None };
        let table = outputs.iter().map(|o| o.id).find(|id| self.families.contains_key(id))?;
        let known = self.families.get(&table).copied().flatten();
        let row_id = match known {
            Some(row_id) => row_id,
            None => self.add_row_ids(rel)?,
        };
        self.families.insert(table, Some(row_id));
        Some(Place { row_id, table: Some(table) })
    }

    fn add_row_ids(&mut self, rel: &mut Rel) -> Option<ColumnId> {
        let id = self.fresh();
        let ty: PgType = TypeOid::INT8.into();
        match rel {
            Rel::SetOperation { left, right, outputs, left_columns, right_columns, .. } => {
                left_columns.push(self.add_row_ids(left)?);
                right_columns.push(self.add_row_ids(right)?);
                outputs.push(Output { id, ty });
                Some(id)
            }
            Rel::Project { input, columns } => {
                let Rel::Scan(scan) = &mut **input else { return None };
                scan.row_id = Some(id);
                columns.push((id, ScalarExpr::column(id, ty)));
                Some(id)
            }
            _ => None,
        }
    }

    /// The columns of a change's target under the names of the table that was named: those that `member` has of it.
    pub(super) fn columns_as_named(
        &self,
        member: &TableDef,
        named: &TableDef,
        columns: Vec<ScopeColumn>,
    ) -> (Vec<ScopeColumn>, RowsOf) {
        if member.oid == named.oid {
            return (columns, RowsOf::Named);
        }
        let one = |column: &crate::catalog::ColumnDef| {
            let attnum = member.column(&column.name)?.attnum;
            let own = columns.iter().find(|c| c.attribute == attnum)?;
            let name = self.column_known_as(named.oid, column.attnum, &column.name).to_owned();
            Some(ScopeColumn { name, ..own.clone() })
        };
        (named.live_columns().filter_map(one).collect(), RowsOf::Member(member.oid))
    }

    /// A row of a child as one of a table that it inherits from.
    pub(super) fn row_as_parent(&self, row: &ScalarExpr, to: PgType) -> Option<ScalarExpr> {
        let (fields, wanted) = (self.composite_fields(row)?, self.environment.catalog.attributes_of(to.oid)?);
        let field = |(name, _): (String, PgType)| fields.iter().find(|(own, _)| *own == name).map(|(_, e)| e.clone());
        let values: Vec<ScalarExpr> = wanted.into_iter().map(field).collect::<Option<_>>()?;
        let parent = ScalarExpr::new(ExprKind::Row(values, None), to);
        if matches!(row.kind, ExprKind::Row(..)) {
            return Some(parent);
        }
        let arg = Box::new(row.clone());
        let missing = ScalarExpr::new(ExprKind::IsNull { arg, negated: false }, TypeOid::BOOL);
        let whens = vec![(missing, ScalarExpr::constant(Datum::Null, to))];
        Some(ScalarExpr::new(ExprKind::Case { whens, otherwise: Some(Box::new(parent)), simple: false }, to))
    }
}
