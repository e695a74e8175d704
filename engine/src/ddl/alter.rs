//! ALTER TABLE and the small changes that all relations share: renaming, moving to another schema, changing the owner.

mod columns;
mod constraints;
mod parents;
mod rewrite;

pub use constraints::add as add_constraint;
pub use parents::set_parent;

use std::sync::Arc;

use sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, DropBehavior, Ident, ObjectName, RenameTableNameKind,
};

use super::constraint::Wanted;
use super::names::{self, Name};
use super::syntax::{ColumnChange, IndexChange, RelationChange, RelationKind};
use super::{DdlContext, inherit, lock, open_table, ownership, privilege, put, put_table, schema, table, view};
use crate::catalog::{ConstraintDef, ConstraintKind, IndexDef, Object, Persistence, Relation, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::txn::{TableLock, Transaction};

pub async fn alter_table(alter: &AlterTable, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let tag = "ALTER TABLE".to_owned();
    if alter.location.is_some() || alter.on_cluster.is_some() || alter.table_type.is_some() {
        return Err(Error::unsupported("this form of ALTER TABLE"));
    }
    let alone = |o: &AlterTableOperation| {
        matches!(
            o,
            AlterTableOperation::RenameColumn { .. }
                | AlterTableOperation::RenameConstraint { .. }
                | AlterTableOperation::RenameTable { .. }
        )
    };
    if alter.operations.len() > 1
        && let Some(at) = alter.operations.iter().position(alone)
    {
        let near = if at == 0 { "," } else { "rename" };
        return Err(Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{near}\"")));
    }
    let name = Name::new(&alter.name, &tx.catalog())?;
    // RENAME TO and OWNER TO work on every relation, as in PostgreSQL.
    if let [operation] = alter.operations.as_slice()
        && let Some(change) = relation_change(operation, tx, context)?
    {
        alter_relation(RelationKind::Table, &alter.name, alter.if_exists, &change, tx, context).await?;
        return Ok(tag);
    }
    let Some(table) = open_table(&name, alter.if_exists, TableLock::AccessExclusive, tx, context).await? else {
        return Ok(tag);
    };
    let fits = |o: &AlterTableOperation| matches!(o, AlterTableOperation::SetOptionsParens { .. });
    if table.materialized.is_some() && !alter.operations.iter().all(fits) {
        return Err(Error::new(
            SqlState::WrongObjectType,
            format!("ALTER action cannot be performed on relation \"{}\"", table.name),
        )
        .detail("This operation is not supported for materialized views."));
    }
    let renames = |o: &AlterTableOperation| {
        matches!(o, AlterTableOperation::RenameColumn { .. } | AlterTableOperation::RenameConstraint { .. })
    };
    if !alter.operations.iter().all(renames) {
        context.check_settled(&table, "ALTER TABLE")?;
    }
    for operation in &alter.operations {
        let table = current(&table, tx)?;
        alter_one(&table, operation, alter.only, tx, context).await?;
    }
    Ok(tag)
}

/// The table as the operations before left it.
fn current(table: &TableDef, tx: &Transaction) -> Result<TableDef> {
    tx.catalog()
        .tables
        .get(&table.oid)
        .map(table::editable)
        .ok_or_else(|| Error::internal("the table went away while it was altered"))
}

fn relation_change(
    operation: &AlterTableOperation,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<Option<RelationChange>> {
    Ok(match operation {
        AlterTableOperation::RenameTable { table_name: RenameTableNameKind::To(to) } => {
            let [part] = to.0.as_slice() else {
                return Err(Error::new(SqlState::SyntaxError, format!("invalid new name {to}")));
            };
            part.as_ident().cloned().map(RelationChange::Rename)
        }
        AlterTableOperation::OwnerTo { new_owner } => {
            let catalog = tx.catalog();
            let owner = schema::owner_oid(new_owner, &catalog, context)?;
            let name = catalog.roles.get(&owner).map_or("", |r| &r.name);
            Some(RelationChange::Owner(Ident::with_quote('"', name)))
        }
        _ => None,
    })
}

async fn alter_one(
    table: &TableDef,
    operation: &AlterTableOperation,
    only: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    use AlterTableOperation as O;
    match operation {
        O::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
            columns::add(table.clone(), column_def, *if_not_exists, only, tx, context).await
        }
        O::DropColumn { column_names, if_exists, drop_behavior, .. } => {
            for name in column_names {
                let (table, how) = (current(table, tx)?, (is_cascade(drop_behavior), only));
                columns::drop(table, &names::ident(name), *if_exists, how, tx, context).await?;
            }
            Ok(())
        }
        O::RenameColumn { old_column_name, new_column_name } => {
            let (from, to) = (names::ident(old_column_name), names::ident(new_column_name));
            columns::rename_all(table, &from, &to, only, tx, context).await
        }
        O::AlterColumn { column_name, op } => {
            let column = names::ident(column_name);
            match op {
                AlterColumnOperation::SetDataType { data_type, using, .. } => {
                    columns::set_type_of_all(table, &column, (data_type, using.as_ref()), only, tx, context).await
                }
                op => {
                    columns::alter(table.clone(), &column, op, tx, context)?;
                    if !only {
                        for (heir, _) in inherit::family(table.oid, tx, context).await?.into_iter().skip(1) {
                            columns::alter(heir, &column, op, tx, context)?;
                        }
                    }
                    Ok(())
                }
            }
        }
        O::AddConstraint { constraint: written, not_valid } => {
            let wanted = Wanted::from_ast(written)?;
            constraints::add(table.clone(), &wanted, !*not_valid, only, tx, context).await
        }
        O::DropConstraint { if_exists, name, drop_behavior } => {
            let name = names::ident(name);
            constraints::drop(table, &name, *if_exists, (is_cascade(drop_behavior), only), tx, context).await
        }
        O::RenameConstraint { old_name, new_name } => {
            let (from, to) = (names::ident(old_name), names::ident(new_name));
            constraints::rename(table, &from, &to, only, tx, context).await
        }
        O::ValidateConstraint { name } => {
            constraints::validate(table.clone(), &names::ident(name), only, tx, context).await
        }
        O::SetOptionsParens { options } => {
            let options = table::storage_options(&table::plain_options(options)?, table::OptionsOf::Table)?;
            let mut table = table.clone();
            for (name, value) in options {
                table.options.retain(|(n, _)| *n != name);
                table.options.push((name, value));
            }
            put_table(tx, table)
        }
        O::RenameTable { .. } | O::OwnerTo { .. } => {
            let Some(change) = relation_change(operation, tx, context)? else {
                return Err(Error::unsupported(format!("ALTER TABLE {operation}")));
            };
            change_relation(Relation::Table(Arc::new(table.clone())), &change, tx, context)
        }
        other => Err(Error::unsupported(format!("ALTER TABLE {other}"))),
    }
}

fn is_cascade(behavior: &Option<DropBehavior>) -> bool {
    matches!(behavior, Some(DropBehavior::Cascade))
}

/// A key's constraint and its index have one name.
fn rename_in_table(table: &mut TableDef, from: &str, to: &str) {
    for constraint in table.constraints.iter_mut().filter(|c| c.name == from) {
        *constraint = Arc::new(ConstraintDef { name: to.into(), ..(**constraint).clone() });
    }
    for index in table.indexes.iter_mut().filter(|i| i.name == from) {
        *index = Arc::new(IndexDef { name: to.into(), ..(**index).clone() });
    }
}

/// There are two tablespaces, and one of them is for what all databases share.
fn check_tablespace(tablespace: &Ident) -> Result<()> {
    match names::ident(tablespace).as_str() {
        "pg_default" => Ok(()),
        "pg_global" => Err(Error::new(
            SqlState::InvalidParameterValue,
            "only shared relations can be placed in pg_global tablespace",
        )),
        other => Err(Error::new(SqlState::UndefinedObject, format!("tablespace \"{other}\" does not exist"))),
    }
}

/// SET TABLESPACE of a table.
pub async fn set_tablespace(
    name: &ObjectName,
    if_exists: bool,
    tablespace: &Ident,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let name = Name::new(name, &tx.catalog())?;
    if open_table(&name, if_exists, TableLock::AccessExclusive, tx, context).await?.is_some() {
        check_tablespace(tablespace)?;
    }
    Ok("ALTER TABLE".to_owned())
}

pub async fn alter_index(
    name: &ObjectName,
    if_exists: bool,
    change: &IndexChange,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER INDEX".to_owned();
    let catalog = tx.catalog();
    let name = Name::new(name, &catalog)?;
    let Some(relation) = super::resolve_if(&name, if_exists, &catalog, context)? else { return Ok(tag) };
    let Relation::Index(table, index) = &relation else {
        let message = format!("\"{}\" is not an index", relation.name());
        return Err(Error::new(SqlState::WrongObjectType, message));
    };
    privilege::check_owner(&catalog, context.user, table.owner, "index", &index.name)?;
    tx.make_temporary(table.oid.is_temporary());
    lock(tx, table.oid, TableLock::ShareUpdateExclusive, context).await?;
    let mut index = (**index).clone();
    match change {
        IndexChange::SetTablespace(tablespace) => {
            check_tablespace(tablespace)?;
            return Ok(tag);
        }
        IndexChange::Statistics { column, target } => {
            super::statistics::target(*target, context)?;
            let column = statistics_column(*column, table, &index)?;
            context.notice(SqlState::SuccessfulCompletion, super::column::no_consequence("STATISTICS", &column));
            return Ok(tag);
        }
        IndexChange::SetOptions(options) => {
            for (name, value) in table::storage_options(options, table::OptionsOf::Index(index.method))? {
                index.options.retain(|(known, _)| *known != name);
                index.options.push((name, value));
            }
        }
        IndexChange::ResetOptions(options) => index.options.retain(|(known, _)| !options.contains(known)),
    }
    let mut table = (**table).clone();
    for known in table.indexes.iter_mut().filter(|i| i.oid == index.oid) {
        *known = Arc::new(index.clone());
    }
    put_table(tx, table)?;
    Ok(tag)
}

/// Name of a column of an index for which statistics may be asked: only those of its expressions are its own.
fn statistics_column(number: i64, table: &TableDef, index: &IndexDef) -> Result<String> {
    const LARGEST: i64 = i16::MAX as i64;
    if !(1..=LARGEST).contains(&number) {
        let message = format!("column number must be in range from 1 to {LARGEST}");
        return Err(Error::new(SqlState::InvalidParameterValue, message));
    }
    let names = super::index_column_names(index, table);
    let at = number as usize - 1;
    let Some(name) = names.get(at) else {
        let message = format!("column number {number} of relation \"{}\" does not exist", index.name);
        return Err(Error::new(SqlState::UndefinedColumn, message));
    };
    let refused = |what: &str| {
        let message = format!("cannot alter statistics on {what} column \"{name}\" of index \"{}\"", index.name);
        Error::new(SqlState::FeatureNotSupported, message)
    };
    match index.columns.get(at) {
        None => Err(refused("included")),
        Some(column) if column.expression.is_none() => {
            Err(refused("non-expression").hint("Alter statistics on table column instead."))
        }
        Some(_) => Ok(name.clone()),
    }
}

/// ALTER TABLE, VIEW, SEQUENCE or INDEX with RENAME TO, SET SCHEMA or OWNER TO.
pub async fn alter_relation(
    kind: RelationKind,
    name: &ObjectName,
    if_exists: bool,
    change: &RelationChange,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let (tag, wanted) = match kind {
        RelationKind::Table => ("ALTER TABLE", None),
        RelationKind::View => ("ALTER VIEW", Some("view")),
        RelationKind::MaterializedView => ("ALTER MATERIALIZED VIEW", Some("materialized view")),
        RelationKind::Sequence => ("ALTER SEQUENCE", Some("sequence")),
        RelationKind::Index => ("ALTER INDEX", Some("index")),
    };
    let catalog = tx.catalog();
    let name = Name::new(name, &catalog)?;
    let Some(relation) = super::resolve_if(&name, if_exists, &catalog, context)? else { return Ok(tag.to_owned()) };
    if let Relation::System(_) = relation {
        return Err(super::system_relation(&relation));
    }
    if wanted.is_some_and(|w| w != relation.kind_name()) {
        let wanted = wanted.unwrap_or_default();
        let article = if wanted == "index" { "an" } else { "a" };
        return Err(Error::new(
            SqlState::WrongObjectType,
            format!("\"{}\" is not {article} {wanted}", relation.name()),
        ));
    }
    tx.make_temporary(relation.oid().is_temporary());
    lock(tx, relation.oid(), TableLock::AccessExclusive, context).await?;
    change_relation(relation, change, tx, context)?;
    Ok(tag.to_owned())
}

fn change_relation(
    relation: Relation,
    change: &RelationChange,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let catalog = tx.catalog();
    let owner = match &relation {
        Relation::Table(t) | Relation::Index(t, _) => t.owner,
        Relation::View(v) => v.owner,
        Relation::Sequence(s) => s.owner,
        Relation::System(_) => return Err(super::system_relation(&relation)),
    };
    privilege::check_owner(&catalog, context.user, owner, relation.kind_name(), relation.name())?;
    match change {
        RelationChange::Rename(to) => rename(relation, &names::ident(to), tx),
        RelationChange::SetSchema(schema) => set_schema(relation, schema, tx, context),
        RelationChange::Owner(role) => {
            let owner = ownership::new_owner(role, owner, relation.schema(), &catalog, context)?;
            match relation {
                Relation::Table(table) => {
                    for sequence in catalog.owned_sequences(table.oid, None) {
                        let mut sequence = (**sequence).clone();
                        sequence.owner = owner;
                        put(tx, Object::Sequence(Arc::new(sequence)))?;
                    }
                    put_table(tx, TableDef { owner, ..(*table).clone() })
                }
                Relation::View(v) => {
                    let mut view = (*v).clone();
                    view.owner = owner;
                    put(tx, Object::View(Arc::new(view)))
                }
                Relation::Sequence(s) => {
                    let mut sequence = (*s).clone();
                    sequence.owner = owner;
                    put(tx, Object::Sequence(Arc::new(sequence)))
                }
                Relation::Index(_, index) => Err(Error::new(
                    SqlState::WrongObjectType,
                    format!("cannot change owner of index \"{}\"", index.name),
                )
                .hint("Change the ownership of the index's table, instead.")),
                Relation::System(_) => Err(super::system_relation(&relation)),
            }
        }
        RelationChange::RenameColumn(from, to) => match relation {
            Relation::View(view) => view::rename_column(&view, &names::ident(from), &names::ident(to), tx),
            other => Err(Error::unsupported(format!("RENAME COLUMN of {} {}", other.kind_name(), other.name()))),
        },
    }
}

fn rename(relation: Relation, to: &str, tx: &mut Transaction) -> Result<()> {
    if names::is_taken(&tx.catalog(), relation.schema(), to) {
        return Err(Error::new(SqlState::DuplicateTable, format!("relation \"{to}\" already exists")));
    }
    match relation {
        Relation::Table(old) => {
            view::relation_moved(old.oid, (old.schema, &old.name), (old.schema, to), tx)?;
            put_table(tx, TableDef { name: to.into(), ..(*old).clone() })
        }
        Relation::View(old) => {
            view::relation_moved(old.oid, (old.schema, &old.name), (old.schema, to), tx)?;
            let mut view = (*old).clone();
            view.name = to.into();
            put(tx, Object::View(Arc::new(view)))
        }
        Relation::Sequence(old) => {
            let mut sequence = (*old).clone();
            sequence.name = to.into();
            put(tx, Object::Sequence(Arc::new(sequence)))
        }
        Relation::Index(table, index) => {
            let mut table = (*table).clone();
            rename_in_table(&mut table, &index.name, to);
            put_table(tx, table)
        }
        Relation::System(_) => Err(super::system_relation(&relation)),
    }
}

fn set_schema(relation: Relation, to: &Ident, tx: &mut Transaction, context: &DdlContext<'_>) -> Result<()> {
    let catalog = tx.catalog();
    let to = ownership::new_schema(to, relation.schema(), &catalog, context)?;
    if to.is_temporary() {
        return Err(ownership::into_or_out_of_temporary());
    }
    if to == relation.schema() {
        return Ok(());
    }
    let free = |name: &str| match names::is_taken(&catalog, to, name) {
        false => Ok(()),
        true => Err(Error::new(
            SqlState::DuplicateTable,
            format!("relation \"{name}\" already exists in schema \"{}\"", catalog.schema_name(to)),
        )),
    };
    free(relation.name())?;
    match relation {
        Relation::Table(old) => {
            for index in &old.indexes {
                free(&index.name)?;
            }
            for sequence in catalog.owned_sequences(old.oid, None) {
                free(&sequence.name)?;
                let mut sequence = (**sequence).clone();
                sequence.schema = to;
                put(tx, Object::Sequence(Arc::new(sequence)))?;
            }
            view::relation_moved(old.oid, (old.schema, &old.name), (to, &old.name), tx)?;
            put_table(tx, TableDef { schema: to, ..(*old).clone() })
        }
        Relation::View(old) => {
            view::relation_moved(old.oid, (old.schema, &old.name), (to, &old.name), tx)?;
            let mut view = (*old).clone();
            view.schema = to;
            put(tx, Object::View(Arc::new(view)))
        }
        Relation::Sequence(old) => {
            if let Some((table, _)) = old.owned_by {
                let table = catalog.tables.get(&table).map_or_else(String::new, |t| t.name.clone());
                return Err(Error::new(
                    SqlState::FeatureNotSupported,
                    "cannot move an owned sequence into another schema",
                )
                .detail(format!("Sequence \"{}\" is linked to table \"{table}\".", old.name)));
            }
            let mut sequence = (*old).clone();
            sequence.schema = to;
            put(tx, Object::Sequence(Arc::new(sequence)))
        }
        Relation::Index(..) => Err(Error::unsupported("ALTER INDEX SET SCHEMA")),
        Relation::System(_) => Err(super::system_relation(&relation)),
    }
}

/// ALTER COLUMN in the forms of [`ColumnChange`].
pub async fn alter_column(
    name: &ObjectName,
    if_exists: bool,
    only: bool,
    column: &Ident,
    change: &ColumnChange,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER TABLE".to_owned();
    let name = Name::new(name, &tx.catalog())?;
    let Some(table) = open_table(&name, if_exists, TableLock::AccessExclusive, tx, context).await? else {
        return Ok(tag);
    };
    let mut table = (*table).clone();
    let column = table.resolve_column(&names::ident(column))?.clone();
    let not = |what: &str| {
        let message = format!("column \"{}\" of relation \"{}\" is not {what}", column.name, table.name);
        Error::new(SqlState::ObjectNotInPrerequisiteState, message)
    };
    let missing = match change {
        ColumnChange::DropIdentity { if_exists } => (column.identity.is_none(), "an identity column", *if_exists),
        ColumnChange::Identity { .. } => (column.identity.is_none(), "an identity column", false),
        ColumnChange::DropExpression { if_exists } => (!column.generated, "a stored generated column", *if_exists),
        ColumnChange::AddIdentity { .. }
        | ColumnChange::Statistics(_)
        | ColumnChange::Physical(_)
        | ColumnChange::Compression(_) => (false, "", false),
    };
    if let (true, what, if_exists) = missing {
        if if_exists {
            context.notice(SqlState::SuccessfulCompletion, format!("{}, skipping", not(what).message()));
            return Ok(tag);
        }
        return Err(not(what));
    }
    let sequences: Vec<_> = tx.catalog().owned_sequences(table.oid, Some(column.attnum)).cloned().collect();
    let mut new = column.clone();
    match change {
        ColumnChange::DropIdentity { .. } => {
            for sequence in &sequences {
                tx.change_catalog(crate::catalog::CatalogChange::Drop(sequence.oid))?;
            }
            new.identity = None;
        }
        ColumnChange::AddIdentity { always, options } => {
            columns::add_identity(&table, &mut new, *always, options, tx, context)?;
        }
        ColumnChange::DropExpression { .. } => {
            if only && !tx.catalog().children(table.oid).is_empty() {
                return Err(Error::new(
                    SqlState::InvalidTableDefinition,
                    "ALTER TABLE / DROP EXPRESSION must be applied to child tables too",
                ));
            }
            if table.column_origin(column.attnum).is_inherited() {
                return Err(Error::new(
                    SqlState::InvalidTableDefinition,
                    "cannot drop generation expression from inherited column",
                ));
            }
            for (mut heir, _) in inherit::family(table.oid, tx, context).await?.into_iter().skip(1) {
                for c in heir.columns.iter_mut().filter(|c| c.name == column.name && !c.dropped) {
                    (c.generated, c.default) = (false, None);
                }
                put_table(tx, heir)?;
            }
            new.generated = false;
            new.default = None;
        }
        ColumnChange::Identity { always, options } => {
            use crate::catalog::Identity;
            if let Some(always) = always {
                new.identity = Some(if *always { Identity::Always } else { Identity::ByDefault });
            }
            for sequence in &sequences {
                super::sequence::change(sequence, options, tx).await?;
            }
        }
        ColumnChange::Statistics(target) => {
            super::statistics::target(*target, context)?;
            context.notice(SqlState::SuccessfulCompletion, super::column::no_consequence("STATISTICS", &column.name));
            return Ok(tag);
        }
        ColumnChange::Physical(what) => {
            context.notice(SqlState::SuccessfulCompletion, super::column::no_consequence(what, &column.name));
            return Ok(tag);
        }
        ColumnChange::Compression(method) => new.compression = super::column::compression(method, &column, context)?,
    }
    for c in table.columns.iter_mut().filter(|c| c.attnum == column.attnum) {
        *c = new.clone();
    }
    put_table(tx, table)?;
    Ok(tag)
}

/// ALTER CONSTRAINT: when a foreign key is checked.
pub async fn alter_constraint(
    name: &ObjectName,
    if_exists: bool,
    constraint: &Ident,
    (deferrable, deferred): (Option<bool>, Option<bool>),
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER TABLE".to_owned();
    let name = Name::new(name, &tx.catalog())?;
    let Some(table) = open_table(&name, if_exists, TableLock::AccessExclusive, tx, context).await? else {
        return Ok(tag);
    };
    let mut table = (*table).clone();
    let constraint = names::ident(constraint);
    let found = constraints::find(&table, &constraint)?;
    if !matches!(found.kind, ConstraintKind::ForeignKey(_)) {
        return Err(Error::new(
            SqlState::WrongObjectType,
            format!("constraint \"{constraint}\" of relation \"{}\" is not a foreign key constraint", table.name),
        ));
    }
    if deferred == Some(true) && deferrable == Some(false) {
        return Err(Error::new(SqlState::SyntaxError, "constraint declared INITIALLY DEFERRED must be DEFERRABLE"));
    }
    // What is not said is as if the constraint were made anew.
    let deferred = deferred.unwrap_or(false);
    let deferrable = deferrable.unwrap_or(deferred);
    for c in table.constraints.iter_mut().filter(|c| c.name == constraint) {
        *c = Arc::new(ConstraintDef { deferrable, initially_deferred: deferred, ..(**c).clone() });
    }
    put_table(tx, table)?;
    Ok(tag)
}

/// SET LOGGED and UNLOGGED.
pub async fn set_persistence(
    name: &ObjectName,
    if_exists: bool,
    unlogged: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER TABLE".to_owned();
    let name = Name::new(name, &tx.catalog())?;
    let Some(table) = open_table(&name, if_exists, TableLock::AccessExclusive, tx, context).await? else {
        return Ok(tag);
    };
    if table.persistence == Persistence::Temporary {
        return Err(Error::new(
            SqlState::InvalidTableDefinition,
            format!("cannot change logged status of table \"{}\" because it is temporary", table.name),
        ));
    }
    let persistence = if unlogged { Persistence::Unlogged } else { Persistence::Permanent };
    put_table(tx, TableDef { persistence, ..(*table).clone() })?;
    Ok(tag)
}

/// Storage parameters as they are without being named; names that nobody set are fine, as in PostgreSQL.
pub async fn reset_options(
    name: &ObjectName,
    if_exists: bool,
    options: &[String],
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER TABLE".to_owned();
    let name = Name::new(name, &tx.catalog())?;
    let Some(table) = open_table(&name, if_exists, TableLock::ShareUpdateExclusive, tx, context).await? else {
        return Ok(tag);
    };
    let mut table = (*table).clone();
    table.options.retain(|(name, _)| !options.contains(name));
    put_table(tx, table)?;
    Ok(tag)
}

/// DROP of a column whose type goes.
pub fn drop_column_now(table: crate::catalog::Oid, attnum: i16, tx: &mut Transaction) -> Result<()> {
    let Some(table) = tx.catalog().tables.get(&table).map(|t| (**t).clone()) else {
        return Ok(());
    };
    columns::remove(table, attnum, tx)
}

/// Whether a CHECK reads a column.
fn check_reads(constraint: &ConstraintDef, attnum: i16) -> bool {
    matches!(&constraint.kind, ConstraintKind::Check { columns, .. } if columns.contains(&attnum))
}
