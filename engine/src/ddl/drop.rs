//! DROP: of relations, schemas, columns and constraints, with what depends on them.
//!
//! What must go is collected first ([`Doomed`]), then refused (2BP01) or announced, then dropped. Objects named
//! together may depend on each other.

use std::sync::Arc;

use sqlparser::ast::{ObjectName, ObjectType};

use super::names::Name;
use super::{DdlContext, index, lock, ownership, privilege, put_table, schema, sequence};
use crate::catalog::{
    Catalog, CatalogChange, CollationDef, ConstraintDef, Dependent, ExtensionDef, IndexDef, Oid, Relation, RoutineDef,
    RowPolicy, SearchPath, SequenceDef, StatisticsDef, TableDef, TypeDef, ViewDef,
};
use crate::error::{Error, Notice, NoticeLevel, Result, SqlState};
use crate::txn::{TableLock, Transaction};
use crate::types::TypeOid;

/// Something that a DROP takes with it.
#[derive(Debug, Clone)]
enum Doomed {
    Schema(Oid, String),
    Table(Arc<TableDef>),
    View(Arc<ViewDef>),
    Sequence(Arc<SequenceDef>),
    Constraint(Arc<TableDef>, Arc<ConstraintDef>),
    Default(Arc<TableDef>, i16),
    Routine(Arc<RoutineDef>),
    /// A generated column that reads one that goes, or a column of a type that does.
    Column(Arc<TableDef>, i16),
    Type(Arc<TypeDef>),
    Attribute(Arc<TypeDef>, usize),
    Extension(Arc<ExtensionDef>),
    Collation(Arc<CollationDef>),
    Index(Arc<TableDef>, Arc<IndexDef>),
    RowPolicy(Arc<RowPolicy>),
    Statistics(Arc<StatisticsDef>),
}

impl Doomed {
    fn key(&self) -> (Oid, i16) {
        match self {
            Doomed::Schema(oid, _) => (*oid, 0),
            Doomed::Table(t) => (t.oid, 0),
            Doomed::View(v) => (v.oid, 0),
            Doomed::Sequence(s) => (s.oid, 0),
            Doomed::Routine(r) => (r.oid, 0),
            Doomed::Constraint(_, c) => (c.oid, 0),
            Doomed::Default(t, attnum) => (t.oid, *attnum),
            // Apart from the default of the same column.
            Doomed::Column(t, attnum) => (t.oid, -attnum),
            Doomed::Type(t) => (t.oid, 0),
            Doomed::Attribute(t, at) => (t.oid, *at as i16 + 1),
            Doomed::Extension(e) => (e.oid, 0),
            Doomed::Collation(c) => (c.oid, 0),
            Doomed::Index(_, i) => (i.oid, 0),
            Doomed::RowPolicy(p) => (p.oid, 0),
            Doomed::Statistics(s) => (s.oid, 0),
        }
    }

    /// As messages name it: `table t`, `constraint c on table t`.
    fn describe(&self, catalog: &Catalog, path: &SearchPath) -> String {
        let name = |oid, schema, name: &str| match catalog.is_visible(oid, path) {
            Some(true) => name.to_owned(),
            _ => format!("{}.{name}", catalog.schema_name(schema)),
        };
        let table = |t: &TableDef| name(t.oid, t.schema, &t.name);
        match self {
            Doomed::Schema(_, name) => format!("schema {name}"),
            Doomed::Table(t) if t.materialized.is_some() => format!("materialized view {}", table(t)),
            Doomed::Table(t) => format!("table {}", table(t)),
            Doomed::View(v) if v.populated.is_some() => {
                format!("materialized view {}", name(v.oid, v.schema, &v.name))
            }
            Doomed::View(v) => format!("view {}", name(v.oid, v.schema, &v.name)),
            Doomed::Sequence(s) => format!("sequence {}", name(s.oid, s.schema, &s.name)),
            Doomed::Routine(r) if r.aggregate.is_some() => format!("function {}", r.signature()),
            Doomed::Routine(r) => format!("{} {}", r.kind_name(), r.signature()),
            Doomed::Constraint(t, c) => format!("constraint {} on table {}", c.name, table(t)),
            Doomed::Default(t, attnum) => {
                let column = t.attribute(*attnum).map_or("", |c| &c.name);
                format!("default value for column {column} of table {}", table(t))
            }
            Doomed::Column(t, attnum) => {
                format!("column {} of table {}", t.attribute(*attnum).map_or("", |c| &c.name), table(t))
            }
            Doomed::Extension(e) => format!("extension {}", e.name),
            Doomed::Collation(c) => {
                let shown = catalog.collation_shown(&crate::catalog::Collation::Own(c.clone()), path);
                format!("collation {shown}")
            }
            Doomed::Index(t, i) => format!("index {}", name(i.oid, t.schema, &i.name)),
            Doomed::RowPolicy(p) => {
                let on = catalog.tables.get(&p.table).map_or_else(String::new, |t| table(t));
                format!("policy {} on table {on}", p.name)
            }
            Doomed::Statistics(s) if catalog.statistics_are_visible(s, path) => format!("statistics object {}", s.name),
            Doomed::Statistics(s) => format!("statistics object {}.{}", catalog.schema_name(s.schema), s.name),
            Doomed::Attribute(t, at) => {
                let name = t.attributes().and_then(|a| a.get(*at)).map_or("", |a| &a.name);
                let ty = catalog.type_shown(TypeOid(t.oid.0), &path.schemas).unwrap_or_default();
                format!("column {name} of composite type {ty}")
            }
            Doomed::Type(t) => {
                format!("type {}", catalog.type_shown(TypeOid(t.oid.0), &path.schemas).unwrap_or_default())
            }
        }
    }

    /// What depends on it directly.
    fn dependents(&self, catalog: &Catalog) -> Vec<Doomed> {
        match self {
            Doomed::Schema(oid, _) => catalog.schema_contents(*oid).into_iter().map(Doomed::from).collect(),
            Doomed::Table(table) => {
                let heirs = catalog.children(table.oid).iter().filter_map(|oid| catalog.tables.get(oid));
                let heirs = heirs.cloned().map(Doomed::Table);
                let owned = catalog.owned_sequences(table.oid, None);
                let through_sequences = owned.flat_map(|s| catalog.dependents(s.oid));
                let other = |d: &Dependent| !matches!(d, Dependent::Default(t, _) if t.oid == table.oid);
                let all = catalog.dependents(table.oid).into_iter().chain(through_sequences);
                heirs.chain(all.filter(other).map(Doomed::from)).collect()
            }
            Doomed::View(view) => catalog.dependents(view.oid).into_iter().map(Doomed::from).collect(),
            Doomed::Sequence(s) => catalog.dependents(s.oid).into_iter().map(Doomed::from).collect(),
            Doomed::Routine(routine) => routine_dependents(routine, catalog),
            Doomed::Constraint(..)
            | Doomed::Default(..)
            | Doomed::Attribute(..)
            | Doomed::Index(..)
            | Doomed::RowPolicy(_)
            | Doomed::Statistics(_) => Vec::new(),
            Doomed::Collation(c) => catalog.collation_dependents(c.oid).into_iter().map(Doomed::from).collect(),
            // Its types go unmentioned; what uses them does not.
            Doomed::Extension(e) => {
                let own = catalog.types.values().filter(|t| t.extension == Some(e.oid));
                own.flat_map(|t| catalog.type_dependents(TypeOid(t.oid.0))).map(Doomed::from).collect()
            }
            Doomed::Type(t) => catalog.type_dependents(TypeOid(t.oid.0)).into_iter().map(Doomed::from).collect(),
            Doomed::Column(table, attnum) => column_dependents(table, *attnum, catalog),
        }
    }
}

impl From<Dependent> for Doomed {
    fn from(dependent: Dependent) -> Self {
        match dependent {
            Dependent::View(v) => Doomed::View(v),
            Dependent::ForeignKey(t, c) => Doomed::Constraint(t, c),
            Dependent::Default(t, attnum) => Doomed::Default(t, attnum),
            Dependent::Table(t) => Doomed::Table(t),
            Dependent::Sequence(s) => Doomed::Sequence(s),
            Dependent::Routine(r) => Doomed::Routine(r),
            Dependent::Column(t, attnum) => Doomed::Column(t, attnum),
            Dependent::Type(t) => Doomed::Type(t),
            Dependent::Attribute(t, at) => Doomed::Attribute(t, at),
            Dependent::Collation(c) => Doomed::Collation(c),
            Dependent::Index(t, i) => Doomed::Index(t, i),
            Dependent::RowPolicy(p) => Doomed::RowPolicy(p),
            Dependent::Statistics(s) => Doomed::Statistics(s),
        }
    }
}

pub async fn drop_objects(
    kind: ObjectType,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = format!("DROP {kind}");
    match kind {
        ObjectType::Table | ObjectType::View | ObjectType::MaterializedView | ObjectType::Sequence => {
            drop_relations(kind, names, if_exists, cascade, tx, context).await?;
        }
        ObjectType::Index => drop_indexes(names, if_exists, tx, context, cascade).await?,
        ObjectType::Schema => drop_schemas(names, if_exists, cascade, tx, context).await?,
        other => return Err(Error::unsupported(format!("DROP {other}"))),
    }
    Ok(tag)
}

fn kind_name(kind: ObjectType) -> &'static str {
    match kind {
        ObjectType::Table => "table",
        ObjectType::View => "view",
        ObjectType::Sequence => "sequence",
        ObjectType::MaterializedView => "materialized view",
        _ => "index",
    }
}

/// What is there for the name, of the right kind. `None`: nothing, and IF EXISTS was said.
fn find(
    kind: ObjectType,
    name: &Name,
    if_exists: bool,
    tx: &Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Option<Relation>> {
    let catalog = tx.catalog();
    let Some(relation) = name.find(&catalog, &context.path(&catalog)) else {
        missing(kind, name, if_exists, tx, context)?;
        return Ok(None);
    };
    let wanted = kind_name(kind);
    if relation.kind_name() != wanted {
        let article = |kind: &str| if kind == "index" { "an" } else { "a" };
        let is = relation.kind_name();
        return Err(Error::new(
            SqlState::WrongObjectType,
            format!("\"{}\" is not {} {wanted}", relation.name(), article(wanted)),
        )
        .hint(format!("Use DROP {} to remove {} {is}.", is.to_uppercase(), article(is))));
    }
    if let Relation::System(_) = relation {
        return Err(super::system_relation(&relation));
    }
    Ok(Some(relation))
}

fn missing(
    kind: ObjectType,
    name: &Name,
    if_exists: bool,
    tx: &Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let catalog = tx.catalog();
    let no_schema = name.schema.as_ref().filter(|s| catalog.schema(s).is_none());
    let (state, message) = match no_schema {
        Some(schema) => (SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")),
        None => {
            let state = match kind {
                ObjectType::Index => SqlState::UndefinedObject,
                _ => SqlState::UndefinedTable,
            };
            (state, format!("{} \"{}\" does not exist", kind_name(kind), name.name))
        }
    };
    if !if_exists {
        return Err(Error::new(state, message));
    }
    context.notice(SqlState::SuccessfulCompletion, format!("{message}, skipping"));
    Ok(())
}

async fn drop_relations(
    kind: ObjectType,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let mut targets: Vec<Doomed> = Vec::new();
    for name in names {
        let catalog = tx.catalog();
        let name = Name::new(name, &catalog)?;
        let doomed = match find(kind, &name, if_exists, tx, context)? {
            Some(Relation::Table(t)) => {
                ownership::check_may_drop(&catalog, context.user, (t.owner, t.schema), "table", &t.name)?;
                Doomed::Table(t)
            }
            Some(Relation::View(v)) => {
                ownership::check_may_drop(&catalog, context.user, (v.owner, v.schema), "view", &v.name)?;
                Doomed::View(v)
            }
            Some(Relation::Sequence(s)) => {
                ownership::check_may_drop(&catalog, context.user, (s.owner, s.schema), "sequence", &s.name)?;
                check_not_identity(&s, &catalog)?;
                Doomed::Sequence(s)
            }
            _ => continue,
        };
        if !targets.iter().any(|t| t.key() == doomed.key()) {
            targets.push(doomed);
        }
    }
    drop_all(targets, cascade, tx, context).await
}

fn check_not_identity(s: &SequenceDef, catalog: &Catalog) -> Result<()> {
    if !sequence::is_identity(catalog, s) {
        return Ok(());
    }
    let owner = s.owned_by.and_then(|(table, attnum)| {
        let table = catalog.tables.get(&table)?;
        Some(format!("column {} of table {}", table.attribute(attnum)?.name, table.name))
    });
    let owner = owner.unwrap_or_default();
    Err(Error::new(
        SqlState::DependentObjectsStillExist,
        format!("cannot drop sequence {} because {owner} requires it", s.name),
    )
    .hint(format!("You can drop {owner} instead.")))
}

/// All that these roles own in this database.
pub async fn drop_owned(
    roles: &[Oid],
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let catalog = tx.catalog();
    let owned = |owner: &Oid| roles.contains(owner);
    let mut targets: Vec<Doomed> = Vec::new();
    for schema in catalog.schemas.values().filter(|s| owned(&s.owner)) {
        targets.push(Doomed::Schema(schema.oid, schema.name.clone()));
    }
    targets.extend(catalog.tables.values().filter(|t| owned(&t.owner)).cloned().map(Doomed::Table));
    targets.extend(catalog.views.values().filter(|v| owned(&v.owner)).cloned().map(Doomed::View));
    targets.extend(catalog.collations.values().filter(|c| owned(&c.owner)).cloned().map(Doomed::Collation));
    targets.extend(catalog.statistics.values().filter(|s| owned(&s.owner)).cloned().map(Doomed::Statistics));
    targets.extend(catalog.extensions.values().filter(|e| owned(&e.owner)).cloned().map(Doomed::Extension));
    // A multirange type goes with its range, and the types of an extension with it.
    let alone = |t: &TypeDef| TypeOid(t.oid.0).user_range().is_none() && t.extension.is_none();
    targets.extend(catalog.types.values().filter(|t| owned(&t.owner) && alone(t)).cloned().map(Doomed::Type));
    targets.extend(catalog.routines.values().filter(|r| owned(&r.owner)).cloned().map(Doomed::Routine));
    let free = catalog.sequences.values().filter(|s| owned(&s.owner) && s.owned_by.is_none());
    targets.extend(free.cloned().map(Doomed::Sequence));
    drop_all(targets, cascade, tx, context).await
}

async fn drop_schemas(
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let mut targets = Vec::new();
    for name in names {
        let catalog = tx.catalog();
        let name = schema::simple(name, &catalog)?;
        match catalog.resolve_schema(&name) {
            Ok(schema) => {
                privilege::check_owner(&catalog, context.user, schema.owner, "schema", &name)?;
                if schema.oid == Oid::PG_CATALOG || schema.oid == Oid::INFORMATION_SCHEMA {
                    return Err(Error::new(
                        SqlState::DependentObjectsStillExist,
                        format!("cannot drop schema {name} because it is required by the database system"),
                    ));
                }
                targets.push(Doomed::Schema(schema.oid, name));
            }
            Err(error) if if_exists => {
                context.notice(SqlState::SuccessfulCompletion, format!("{}, skipping", error.message()));
            }
            Err(error) => return Err(error),
        }
    }
    drop_all(targets, cascade, tx, context).await
}

/// Views whose text calls a routine by name, and functions with a standard body that do.
fn routine_dependents(routine: &RoutineDef, catalog: &Catalog) -> Vec<Doomed> {
    let names = |text: &str| {
        let lower = text.to_lowercase();
        lower
            .match_indices(&format!("{}(", routine.name))
            .any(|(at, _)| !lower[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            || lower.contains(&format!("\"{}\"(", routine.name))
    };
    let aggregates = catalog.routines.values().filter(|r| r.aggregate.is_some() && r.depends_on.contains(&routine.oid));
    let aggregates = aggregates.cloned().map(Doomed::Routine);
    // Of several of one name it may be another that is meant.
    if catalog.routines.values().filter(|r| r.name == routine.name).count() > 1 {
        return aggregates.collect();
    }
    let views = catalog.all_views().filter(|v| names(&v.query)).cloned().map(Doomed::View);
    let routines = catalog.routines.values().filter(|r| r.standard_body && r.oid != routine.oid && names(&r.body));
    let calls = |p: &&Arc<RowPolicy>| p.expressions().any(|e| names(&e.query));
    let policies = catalog.policies.values().filter(calls).cloned().map(Doomed::RowPolicy);
    views.chain(policies).chain(routines.cloned().map(Doomed::Routine)).chain(aggregates).collect()
}

/// DROP FUNCTION and PROCEDURE.
pub fn drop_routine(
    routine: &Arc<RoutineDef>,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let catalog = tx.catalog();
    let path = context.path(&catalog);
    let what = Doomed::Routine(routine.clone());
    let mut all = vec![what.clone()];
    let mut lines = Vec::new();
    let mut next = 0;
    while let Some(current) = all.get(next).cloned() {
        next += 1;
        for dependent in current.dependents(&catalog) {
            if !all.iter().any(|d| d.key() == dependent.key()) {
                lines.push((dependent.describe(&catalog, &path), current.describe(&catalog, &path)));
                all.push(dependent);
            }
        }
    }
    // Stored expressions call it by name.
    if let Some(user) = expression_on(routine, &catalog) {
        return Err(Error::unsupported(format!("to drop a function that {user} calls")));
    }
    announce(lines, cascade, &what.describe(&catalog, &path), context)?;
    all.iter().rev().try_for_each(|doomed| remove(doomed, tx))
}

/// A definition that calls the routine: it could not be bound without it.
fn expression_on(routine: &RoutineDef, catalog: &Catalog) -> Option<String> {
    let call = format!("{}(", crate::system::deparse::quote_ident(&routine.name));
    for table in catalog.tables.values() {
        let defaults = table.live_columns().filter_map(|c| c.default.as_deref());
        let checks = table.constraints.iter().filter_map(|c| match &c.kind {
            crate::catalog::ConstraintKind::Check { expression, .. } => Some(expression.as_str()),
            _ => None,
        });
        let indexes = table.indexes.iter().flat_map(|i| {
            let texts = i.columns.iter().filter_map(|c| c.expression.as_ref()).map(|e| e.text.as_str());
            texts.chain(i.predicate.as_ref().map(|p| p.0.as_str()))
        });
        if defaults.chain(checks).chain(indexes).any(|text| text.contains(&call)) {
            return Some(format!("table \"{}\"", table.name));
        }
    }
    let calls = |s: &&Arc<StatisticsDef>| s.expressions.iter().any(|e| e.text.contains(&call));
    catalog.statistics.values().find(calls).map(|s| format!("statistics object \"{}\"", s.name))
}

/// DROP EXTENSION.
pub(super) async fn drop_extensions(
    extensions: Vec<Arc<ExtensionDef>>,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    drop_all(extensions.into_iter().map(Doomed::Extension).collect(), cascade, tx, context).await
}

/// DROP COLLATION.
pub(super) async fn drop_collations(
    collations: Vec<Arc<CollationDef>>,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    drop_all(collations.into_iter().map(Doomed::Collation).collect(), cascade, tx, context).await
}

/// DROP TYPE.
pub(super) async fn drop_types(
    types: Vec<Arc<TypeDef>>,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    drop_all(types.into_iter().map(Doomed::Type).collect(), cascade, tx, context).await
}

/// Views, foreign keys of other tables, and generated columns that use a column.
fn column_dependents(table: &Arc<TableDef>, attnum: i16, catalog: &Catalog) -> Vec<Doomed> {
    let views = catalog.views_on(table.oid).filter(|v| v.columns_read.contains(&(table.oid, attnum)));
    let keys = catalog.foreign_keys_to(table.oid);
    let keys = keys.filter(|(t, _, key)| t.oid != table.oid && key.referenced_columns.contains(&attnum));
    let reads = |c: &&crate::catalog::ColumnDef| {
        let text = c.default.as_deref().unwrap_or_default();
        c.generated
            && c.attnum != attnum
            && super::expression::names_read(text, table).is_ok_and(|read| read.contains(&attnum))
    };
    let generated = table.live_columns().filter(reads).map(|c| Doomed::Column(table.clone(), c.attnum));
    let policies = catalog.policies.values().filter(|p| p.reads_column(table.oid, attnum));
    views
        .cloned()
        .map(Doomed::View)
        .chain(policies.cloned().map(Doomed::RowPolicy))
        .chain(keys.map(|(t, c, _)| Doomed::Constraint(t.clone(), c.clone())))
        .chain(generated)
        .collect()
}

/// Collects, refuses or announces, and drops.
async fn drop_all(
    targets: Vec<Doomed>,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let catalog = tx.catalog();
    let path = context.path(&catalog);
    let named = targets.len();
    let mut all = targets;
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut next = 0;
    while let Some(current) = all.get(next).cloned() {
        next += 1;
        for dependent in current.dependents(&catalog) {
            if all.iter().any(|d| d.key() == dependent.key()) || goes_anyway(&dependent, &all) {
                continue;
            }
            lines.push((dependent.describe(&catalog, &path), current.describe(&catalog, &path)));
            all.push(dependent);
        }
    }
    let cannot = match all.first() {
        Some(only) if named == 1 => only.describe(&catalog, &path),
        _ => String::new(),
    };
    announce(lines, cascade, &cannot, context)?;
    for doomed in &all {
        if let Doomed::Table(t)
        | Doomed::Constraint(t, _)
        | Doomed::Default(t, _)
        | Doomed::Column(t, _)
        | Doomed::Index(t, _) = doomed
        {
            lock(tx, t.oid, TableLock::AccessExclusive, context).await?;
        }
        if let Doomed::RowPolicy(policy) = doomed {
            lock(tx, policy.table, TableLock::AccessExclusive, context).await?;
        }
        if let Doomed::View(view) = doomed {
            lock(tx, view.oid, TableLock::AccessExclusive, context).await?;
        }
    }
    for doomed in all.iter().rev() {
        if let Doomed::Table(table) = doomed {
            context.check_settled(table, "DROP TABLE")?;
        }
        remove(doomed, tx)?;
    }
    Ok(())
}

/// Constraints and defaults of tables that go anyway need no mention.
fn goes_anyway(dependent: &Doomed, all: &[Doomed]) -> bool {
    let on = match dependent {
        Doomed::RowPolicy(policy) => Some(policy.table),
        Doomed::Statistics(statistics) => Some(statistics.table),
        _ => None,
    };
    if let Some(on) = on {
        return all.iter().any(|d| matches!(d, Doomed::Table(t) if t.oid == on));
    }
    let (Doomed::Constraint(table, _) | Doomed::Default(table, _) | Doomed::Column(table, _) | Doomed::Index(table, _)) =
        dependent
    else {
        return false;
    };
    all.iter().any(|d| matches!(d, Doomed::Table(t) if t.oid == table.oid))
}

/// 2BP01 without CASCADE, a notice with it. `cannot`: the one object that was named, or nothing.
fn announce(lines: Vec<(String, String)>, cascade: bool, cannot: &str, context: &mut DdlContext<'_>) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    if !cascade {
        let detail: Vec<String> = lines.iter().map(|(what, on)| format!("{what} depends on {on}")).collect();
        let message = match cannot {
            "" => "cannot drop desired object(s) because other objects depend on them".to_owned(),
            cannot => format!("cannot drop {cannot} because other objects depend on it"),
        };
        return Err(Error::new(SqlState::DependentObjectsStillExist, message)
            .detail(detail.join("\n"))
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let cascades: Vec<String> = lines.iter().map(|(what, _)| format!("drop cascades to {what}")).collect();
    let report = match cascades.as_slice() {
        [only] => Error::new(SqlState::SuccessfulCompletion, only),
        many => {
            let message = format!("drop cascades to {} other objects", many.len());
            Error::new(SqlState::SuccessfulCompletion, message).detail(many.join("\n"))
        }
    };
    context.notices.push(Notice { level: NoticeLevel::Notice, report });
    Ok(())
}

fn remove(doomed: &Doomed, tx: &mut Transaction) -> Result<()> {
    match doomed {
        Doomed::Schema(oid, _) => tx.change_catalog(CatalogChange::Drop(*oid)),
        Doomed::View(v) => tx.change_catalog(CatalogChange::Drop(v.oid)),
        Doomed::Sequence(s) => tx.change_catalog(CatalogChange::Drop(s.oid)),
        Doomed::Routine(r) => tx.change_catalog(CatalogChange::Drop(r.oid)),
        Doomed::Type(t) => {
            if let Some(multirange) = TypeOid(t.oid.0).user_multirange() {
                tx.change_catalog(CatalogChange::Drop(Oid(multirange.0)))?;
            }
            tx.change_catalog(CatalogChange::Drop(t.oid))
        }
        Doomed::Collation(c) => tx.change_catalog(CatalogChange::Drop(c.oid)),
        Doomed::RowPolicy(p) => tx.change_catalog(CatalogChange::Drop(p.oid)),
        Doomed::Statistics(s) => tx.change_catalog(CatalogChange::Drop(s.oid)),
        Doomed::Index(_, index) => index::remove(index.oid, tx),
        Doomed::Extension(e) => {
            let catalog = tx.catalog();
            for ty in catalog.types.values().filter(|t| t.extension == Some(e.oid)) {
                tx.change_catalog(CatalogChange::Drop(ty.oid))?;
            }
            tx.change_catalog(CatalogChange::Drop(e.oid))
        }
        Doomed::Attribute(t, at) => super::user_type::remove_attribute(t.oid, *at, tx),
        Doomed::Column(table, attnum) => super::alter::drop_column_now(table.oid, *attnum, tx),
        Doomed::Table(table) => {
            let catalog = tx.catalog();
            for sequence in catalog.owned_sequences(table.oid, None) {
                tx.change_catalog(CatalogChange::Drop(sequence.oid))?;
            }
            tx.change_catalog(CatalogChange::Drop(table.oid))
        }
        Doomed::Constraint(table, constraint) => {
            edit(table.oid, tx, |table| table.constraints.retain(|c| c.oid != constraint.oid))
        }
        Doomed::Default(table, attnum) => edit(table.oid, tx, |table| {
            for c in table.columns.iter_mut().filter(|c| c.attnum == *attnum) {
                c.default = None;
            }
        }),
    }
}

/// Changes a table that is still there.
fn edit(table: Oid, tx: &mut Transaction, change: impl FnOnce(&mut TableDef)) -> Result<()> {
    let Some(mut table) = tx.catalog().tables.get(&table).map(|t| (**t).clone()) else {
        return Ok(());
    };
    change(&mut table);
    put_table(tx, table)
}

async fn drop_indexes(
    names: &[ObjectName],
    if_exists: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
    cascade: bool,
) -> Result<()> {
    for name in names {
        let name = Name::new(name, &tx.catalog())?;
        let Some(Relation::Index(table, dropped)) = find(ObjectType::Index, &name, if_exists, tx, context)? else {
            continue;
        };
        ownership::check_may_drop(&tx.catalog(), context.user, (table.owner, table.schema), "index", &dropped.name)?;
        if let Some(constraint) = table.index_constraint(dropped.oid) {
            let constraint = format!("constraint {} on table {}", constraint.name, table.name);
            return Err(Error::new(
                SqlState::DependentObjectsStillExist,
                format!("cannot drop index {} because {constraint} requires it", dropped.name),
            )
            .hint(format!("You can drop {constraint} instead.")));
        }
        let what = format!("index {}", dropped.name);
        let keys = foreign_keys_on(&table, dropped.oid, &tx.catalog());
        drop_with_key(keys.into_iter().map(|key| (key, what.clone())).collect(), &what, cascade, tx, context)?;
        lock(tx, table.oid, TableLock::AccessExclusive, context).await?;
        index::remove(dropped.oid, tx)?;
    }
    Ok(())
}

/// Foreign keys that rely on a unique index.
fn foreign_keys_on(table: &TableDef, index: Oid, catalog: &Catalog) -> Vec<Doomed> {
    let keys = catalog.foreign_keys_to(table.oid).filter(|(_, _, key)| key.referenced_index == index);
    keys.map(|(t, c, _)| Doomed::Constraint(t.clone(), c.clone())).collect()
}

/// What relies on a key, each with what of it: refused, or dropped with all that needs it.
fn drop_with_key(
    relying: Vec<(Doomed, String)>,
    cannot: &str,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let catalog = tx.catalog();
    let (doomed, lines) = with_dependents(relying, &catalog, &context.path(&catalog));
    announce(lines, cascade, cannot, context)?;
    doomed.iter().rev().try_for_each(|d| remove(d, tx))
}

/// Those that go, each with what it depends on, and what depends on them in turn, with the lines that say so.
fn with_dependents(
    first: Vec<(Doomed, String)>,
    catalog: &Catalog,
    path: &SearchPath,
) -> (Vec<Doomed>, Vec<(String, String)>) {
    let mut lines: Vec<(String, String)> =
        first.iter().map(|(d, on)| (d.describe(catalog, path), on.clone())).collect();
    let mut doomed: Vec<Doomed> = first.into_iter().map(|(d, _)| d).collect();
    let mut next = 0;
    while let Some(current) = doomed.get(next).cloned() {
        next += 1;
        for dependent in current.dependents(catalog) {
            if !doomed.iter().any(|d| d.key() == dependent.key()) {
                lines.push((dependent.describe(catalog, path), current.describe(catalog, path)));
                doomed.push(dependent);
            }
        }
    }
    (doomed, lines)
}

/// ALTER TABLE DROP CONSTRAINT.
pub fn drop_constraint(
    table: &TableDef,
    constraint: &ConstraintDef,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    if let Some(index) = constraint.index() {
        let catalog = tx.catalog();
        let what = format!("constraint {} on table {}", constraint.name, table.name);
        let index_shown = format!("index {}", constraint.name);
        let keys = foreign_keys_on(table, index, &catalog).into_iter().map(|key| (key, index_shown.clone()));
        let views = catalog.views_on(constraint.oid).map(|view| (Doomed::View(view.clone()), what.clone()));
        drop_with_key(keys.chain(views).collect(), &what, cascade, tx, context)?;
    }
    edit(table.oid, tx, |table| {
        table.constraints.retain(|c| c.oid != constraint.oid);
        table.indexes.retain(|i| Some(i.oid) != constraint.index());
    })
}

/// Before a column goes: the views that read it and the foreign keys to it are refused, or dropped.
pub fn before_column(
    table: &TableDef,
    attnum: i16,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let catalog = tx.catalog();
    let path = context.path(&catalog);
    let column = table.attribute(attnum).map_or("", |c| &c.name);
    let what = format!("column {column} of table {}", table.name);
    let views = catalog.views_on(table.oid).filter(|v| v.columns_read.contains(&(table.oid, attnum)));
    let mut doomed: Vec<Doomed> = views.cloned().map(Doomed::View).collect();
    let policies = catalog.policies.values().filter(|p| p.reads_column(table.oid, attnum));
    doomed.extend(policies.cloned().map(Doomed::RowPolicy));
    let keys = catalog.foreign_keys_to(table.oid);
    let keys = keys.filter(|(t, _, key)| t.oid != table.oid && key.referenced_columns.contains(&attnum));
    doomed.extend(keys.map(|(t, c, _)| Doomed::Constraint(t.clone(), c.clone())));
    for generated in table.live_columns().filter(|c| c.generated && c.attnum != attnum) {
        if super::expression::names_read(generated.default.as_deref().unwrap_or_default(), table)?.contains(&attnum) {
            doomed.push(Doomed::Column(Arc::new(table.clone()), generated.attnum));
        }
    }
    let relying = doomed.into_iter().map(|d| (d, what.clone())).collect();
    let (doomed, lines) = with_dependents(relying, &catalog, &path);
    announce(lines, cascade, &what, context)?;
    // A foreign key of the table to itself goes with the column.
    let own: Vec<Oid> = table
        .foreign_keys()
        .filter(|(_, key)| key.references == table.oid && key.referenced_columns.contains(&attnum))
        .map(|(c, _)| c.oid)
        .collect();
    edit(table.oid, tx, |table| table.constraints.retain(|c| !own.contains(&c.oid)))?;
    doomed.iter().rev().try_for_each(|d| remove(d, tx))
}
