//! COMMENT ON.

use std::sync::Arc;

use sqlparser::ast::{CommentObject, Ident, ObjectName};

use super::names::{self, Name};
use super::{DdlContext, privilege, put, put_table, schema};
use crate::catalog::{ConstraintDef, IndexDef, Object, Relation, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::txn::Transaction;

const TAG: &str = "COMMENT";

pub fn comment(
    kind: &CommentObject,
    name: &ObjectName,
    comment: Option<&str>,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    // As in PostgreSQL, the empty string removes a comment.
    let comment = comment.filter(|c| !c.is_empty()).map(str::to_owned);
    let catalog = tx.catalog();
    match kind {
        CommentObject::Column => comment_on_column(name, comment, tx, context)?,
        CommentObject::Table
        | CommentObject::View
        | CommentObject::MaterializedView
        | CommentObject::Sequence
        | CommentObject::Index => {
            let wanted = kind.to_string().to_lowercase();
            let relation = Name::new(name, &catalog)?.resolve(&catalog, &context.path(&catalog))?;
            if relation.kind_name() != wanted {
                let article = if wanted == "index" { "an" } else { "a" };
                return Err(Error::new(
                    SqlState::WrongObjectType,
                    format!("\"{}\" is not {article} {wanted}", relation.name()),
                ));
            }
            comment_on_relation(relation, comment, tx, context)?;
        }
        CommentObject::Schema => {
            let mut schema = (**catalog.resolve_schema(&schema::simple(name, &catalog)?)?).clone();
            privilege::check_owner(&catalog, context.user, schema.owner, "schema", &schema.name)?;
            schema.comment = comment;
            put(tx, Object::Schema(Arc::new(schema)))?;
        }
        CommentObject::Database => {
            let name = schema::simple(name, &catalog)?;
            let mut database = (**catalog.database_of(catalog.find_database(&name)?)?).clone();
            privilege::check_owner(&catalog, context.user, database.owner, "database", &name)?;
            database.comment = comment;
            put(tx, Object::Database(Arc::new(database)))?;
        }
        CommentObject::Role | CommentObject::User => {
            let mut role = (**catalog.resolve_role(&schema::simple(name, &catalog)?)?).clone();
            if !context.is_superuser(&catalog) && role.oid != context.user {
                return Err(Error::new(SqlState::InsufficientPrivilege, "permission denied"));
            }
            role.comment = comment;
            put(tx, Object::Role(Arc::new(role)))?;
        }
        CommentObject::Extension => {
            let name = schema::simple(name, &catalog)?;
            let missing = || Error::new(SqlState::UndefinedObject, format!("extension \"{name}\" does not exist"));
            let mut extension = (**catalog.extension(&name).ok_or_else(missing)?).clone();
            privilege::check_owner(&catalog, context.user, extension.owner, "extension", &name)?;
            extension.comment = comment;
            put(tx, Object::Extension(Arc::new(extension)))?;
        }
        CommentObject::Type | CommentObject::Domain => {
            let mut def = (*super::user_type::open(name, tx, context)?).clone();
            privilege::check_owner(&catalog, context.user, def.owner, "type", &def.name)?;
            def.comment = comment;
            put(tx, Object::Type(Arc::new(def)))?;
        }
        CommentObject::Collation => super::collation::comment(name, comment, tx, context)?,
        other => return Err(Error::unsupported(format!("COMMENT ON {other}"))),
    }
    Ok(TAG.to_owned())
}

fn comment_on_column(
    name: &ObjectName,
    comment: Option<String>,
    tx: &mut Transaction,
    context: &DdlContext<'_>,
) -> Result<()> {
    let catalog = tx.catalog();
    let mut table = name.clone();
    let column = table.0.pop();
    let column = match column.as_ref().and_then(|c| c.as_ident()) {
        Some(column) if !table.0.is_empty() => names::ident(column),
        _ => return Err(Error::new(SqlState::SyntaxError, "column name must be qualified")),
    };
    let relation = Name::new(&table, &catalog)?.resolve(&catalog, &context.path(&catalog))?;
    match relation {
        Relation::Table(table) => {
            privilege::check_owner(&catalog, context.user, table.owner, "table", &table.name)?;
            let mut table = (*table).clone();
            let attnum = table.resolve_column(&column)?.attnum;
            for c in table.columns.iter_mut().filter(|c| c.attnum == attnum) {
                c.comment = comment.clone();
            }
            put_table(tx, table)
        }
        Relation::View(view) => {
            privilege::check_owner(&catalog, context.user, view.owner, "view", &view.name)?;
            let mut view = (*view).clone();
            let at = view.columns.iter().position(|(name, _)| *name == column).ok_or_else(|| {
                let message = format!("column \"{column}\" of relation \"{}\" does not exist", view.name);
                Error::new(SqlState::UndefinedColumn, message)
            })?;
            let attnum = at as i16 + 1;
            view.column_comments.retain(|(commented, _)| *commented != attnum);
            view.column_comments.extend(comment.map(|text| (attnum, text)));
            put(tx, Object::View(Arc::new(view)))
        }
        relation @ Relation::System(_) => Err(super::system_relation(&relation)),
        other => Err(Error::new(
            SqlState::WrongObjectType,
            format!("\"{}\" is not a table, view, materialized view, composite type, or foreign table", other.name()),
        )),
    }
}

fn comment_on_relation(
    relation: Relation,
    comment: Option<String>,
    tx: &mut Transaction,
    context: &DdlContext<'_>,
) -> Result<()> {
    let catalog = tx.catalog();
    let kind = relation.kind_name();
    let check = |owner, name: &str| privilege::check_owner(&catalog, context.user, owner, kind, name);
    match &relation {
        Relation::Table(table) => {
            check(table.owner, &table.name)?;
            put_table(tx, TableDef { comment, ..(**table).clone() })
        }
        Relation::View(view) => {
            check(view.owner, &view.name)?;
            let mut view = (**view).clone();
            view.comment = comment;
            put(tx, Object::View(Arc::new(view)))
        }
        Relation::Sequence(sequence) => {
            check(sequence.owner, &sequence.name)?;
            let mut sequence = (**sequence).clone();
            sequence.comment = comment;
            put(tx, Object::Sequence(Arc::new(sequence)))
        }
        Relation::Index(table, index) => {
            check(table.owner, &index.name)?;
            let mut table = (**table).clone();
            for i in table.indexes.iter_mut().filter(|i| i.oid == index.oid) {
                *i = Arc::new(IndexDef { comment: comment.clone(), ..(**i).clone() });
            }
            put_table(tx, table)
        }
        Relation::System(_) => Err(super::system_relation(&relation)),
    }
}

pub fn comment_on_constraint(
    constraint: &Ident,
    table: &ObjectName,
    comment: Option<&str>,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let catalog = tx.catalog();
    let relation = Name::new(table, &catalog)?.resolve(&catalog, &context.path(&catalog))?;
    let Relation::Table(table) = relation else {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a table", relation.name())));
    };
    privilege::check_owner(&catalog, context.user, table.owner, "table", &table.name)?;
    let name = names::ident(constraint);
    let mut table = (*table).clone();
    let Some(found) = table.constraints.iter_mut().find(|c| c.name == name) else {
        return Err(Error::new(
            SqlState::UndefinedObject,
            format!("constraint \"{name}\" for table \"{}\" does not exist", table.name),
        ));
    };
    let comment = comment.filter(|c| !c.is_empty()).map(str::to_owned);
    *found = Arc::new(ConstraintDef { comment, ..(**found).clone() });
    put_table(tx, table)?;
    Ok(TAG.to_owned())
}
