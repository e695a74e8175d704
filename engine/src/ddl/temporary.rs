//! Which statements concern temporary relations alone: they keep no other DDL waiting, because nothing that others see
//! changes.

use sqlparser::ast::{CommentObject, ObjectName, ObjectType, Statement};

use super::names::{self, Name};
use super::{DdlContext, Extra, Work};
use crate::catalog::{Oid, Relation};
use crate::error::{Error, Result, SqlState};
use crate::txn::Transaction;

/// Whether a statement makes a temporary relation: its session needs a place for it.
pub fn makes_temporary(statement: &Statement) -> bool {
    let (temporary, name) = match statement {
        Statement::CreateTable(create) => (create.temporary, &create.name),
        Statement::CreateView(create) => (create.temporary, &create.name),
        _ => return false,
    };
    temporary || is_in_temporary_schema(name)
}

/// The same for statements outside sqlparser's trees.
pub fn extra_makes_temporary(statement: &Extra) -> bool {
    matches!(statement, Extra::CreateSequence { temporary, name, .. } if *temporary || is_in_temporary_schema(name))
}

fn is_in_temporary_schema(name: &ObjectName) -> bool {
    let parts = names::parts(name).unwrap_or_default();
    matches!(parts.as_slice(), [schema, _] | [_, schema, _] if schema == "pg_temp")
}

impl Work<'_> {
    /// Whether the statement changes temporary relations only.
    pub(super) fn is_temporary(&self, tx: &Transaction, context: &DdlContext<'_>) -> bool {
        if tx.temporary_space().is_none() {
            return false;
        }
        match self {
            Work::Statement(statement) if makes_temporary(statement) => true,
            Work::Extra(statement) if extra_makes_temporary(statement) => true,
            _ => {
                let names = self.names();
                !names.is_empty() && names.iter().all(|name| names_temporary(name, tx, context))
            }
        }
    }

    /// The relations that the statement changes.
    fn names(&self) -> Vec<ObjectName> {
        match self {
            Work::Statement(Statement::CreateIndex(create)) => vec![create.table_name.clone()],
            Work::Statement(Statement::AlterTable(alter)) => vec![alter.name.clone()],
            Work::Statement(Statement::AlterIndex { name, .. }) => vec![name.clone()],
            Work::Statement(Statement::Truncate(truncate)) => {
                truncate.table_names.iter().map(|t| t.name.clone()).collect()
            }
            Work::Statement(Statement::Drop {
                object_type: ObjectType::Table | ObjectType::View | ObjectType::Sequence | ObjectType::Index,
                names,
                ..
            }) => names.clone(),
            Work::Extra(
                Extra::AlterSequence { name, .. }
                | Extra::AlterRelation { name, .. }
                | Extra::AlterColumn { table: name, .. }
                | Extra::Inherit { table: name, .. }
                | Extra::SetPersistence { table: name, .. }
                | Extra::ResetOptions { table: name, .. }
                | Extra::AlterViewOptions { view: name, .. }
                | Extra::AlterConstraint { table: name, .. }
                | Extra::CommentOnConstraint { table: name, .. },
            ) => vec![name.clone()],
            Work::Extra(Extra::Comment { object, name, .. }) => match object {
                CommentObject::Table | CommentObject::View | CommentObject::Index | CommentObject::Sequence => {
                    vec![name.clone()]
                }
                CommentObject::Column => {
                    let mut table = name.clone();
                    table.0.pop();
                    vec![table]
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }
}

fn names_temporary(name: &ObjectName, tx: &Transaction, context: &DdlContext<'_>) -> bool {
    let catalog = tx.catalog();
    let found = Name::new(name, &catalog).ok().and_then(|name| name.find(&catalog, &context.path(&catalog)));
    found.is_some_and(|relation| match &relation {
        Relation::Index(table, _) => table.oid.is_temporary(),
        other => other.oid().is_temporary(),
    })
}

/// The schema in which a relation is made: the session's own for temporary ones. From here on what the statement makes is
/// temporary, or is not.
pub fn creation_schema(
    name: &mut Name,
    temporary: bool,
    tx: &mut Transaction,
    context: &DdlContext<'_>,
) -> Result<Oid> {
    let catalog = tx.catalog();
    let own = tx.temporary_space().map(|space| space.schema());
    let explicit = match &name.schema {
        Some(schema) if schema == "pg_temp" => own,
        Some(schema) => Some(catalog.resolve_schema(schema)?.oid),
        None => None,
    };
    if temporary && explicit.is_some() && explicit != own {
        return Err(Error::new(
            SqlState::InvalidTableDefinition,
            "cannot create temporary relation in non-temporary schema",
        ));
    }
    let schema = match (temporary, own) {
        (true, Some(own)) => own,
        (true, None) => return Err(Error::internal("a temporary relation without its session")),
        (false, _) => match explicit {
            Some(schema) if Some(schema) == own => schema,
            _ => name.creation_schema(&catalog, &context.path(&catalog))?,
        },
    };
    tx.make_temporary(Some(schema) == own);
    Ok(schema)
}
