//! information_schema: the standard's views (ISO/IEC 9075-11) over the catalog, with PostgreSQL's columns. A role sees
//! what it may use: a superuser all, others what they own, everybody the system relations.

use std::sync::Arc;

use super::deparse::{self, Display};
use super::relations::role_name;
use super::routine_views::data_type;
use super::rows::{Null, row};
use super::{RowSink, RowSource, SystemContext, viewdef};
use crate::catalog::{
    Attribute, Catalog, CheckOption, ColumnDef, ConstraintDef, ConstraintKind, Identity, Oid, ReferentialAction,
    Relation, SequenceDef, TableDef, TypeDef, ViewDef,
};
use crate::error::Result;
use crate::sql::bind::view_target::is_updatable;
use crate::types::{PgType, TypeOid, names};

pub const SOURCES: &[(&str, RowSource)] = &[
    ("information_schema.tables", tables),
    ("information_schema.columns", columns),
    ("information_schema.schemata", schemata),
    ("information_schema.table_constraints", table_constraints),
    ("information_schema.key_column_usage", key_column_usage),
    ("information_schema.referential_constraints", referential_constraints),
    ("information_schema.check_constraints", check_constraints),
    ("information_schema.constraint_column_usage", constraint_column_usage),
    ("information_schema.constraint_table_usage", constraint_table_usage),
    ("information_schema.views", views),
    ("information_schema.view_table_usage", view_table_usage),
    ("information_schema.sequences", sequences),
    ("information_schema.information_schema_catalog_name", catalog_name),
    ("information_schema.character_sets", character_sets),
    ("information_schema.triggers", nothing),
    ("information_schema.triggered_update_columns", nothing),
    ("information_schema.domains", domains),
    ("information_schema.domain_constraints", domain_constraints),
    ("information_schema.foreign_tables", nothing),
    ("information_schema.foreign_servers", nothing),
    ("information_schema.foreign_data_wrappers", nothing),
    ("information_schema.user_defined_types", user_defined_types),
    ("information_schema.transforms", nothing),
    ("information_schema.column_domain_usage", column_domain_usage),
    ("information_schema.attributes", attributes),
];

fn nothing(_: &SystemContext, _: &mut RowSink) -> Result<()> {
    Ok(())
}

pub(super) fn yes_or_no(yes: bool) -> &'static str {
    if yes { "YES" } else { "NO" }
}

pub(super) fn may_see(context: &SystemContext, owner: Oid) -> bool {
    context.catalog.has_privileges_of(context.user, owner)
}

/// Whether the user owns a relation or has any privilege on it or on one of its columns.
fn may_use(context: &SystemContext, owner: Oid, relation: impl FnOnce() -> Relation) -> bool {
    if may_see(context, owner) {
        return true;
    }
    let (catalog, relation) = (&context.catalog, relation());
    let any = catalog.relation_rights(context.user, &relation);
    let columns = || catalog.access.column_acls(relation.oid()).map(|(attnum, _)| attnum).collect::<Vec<_>>();
    !any.is_none() || columns().into_iter().any(|a| !catalog.column_rights(context.user, &relation, a).is_none())
}

fn visible_tables(context: &SystemContext) -> impl Iterator<Item = &TableDef> {
    let tables = context.catalog.tables.values();
    tables
        .filter(|t| t.materialized.is_none() && may_use(context, t.owner, || Relation::Table((*t).clone())))
        .map(|t| &**t)
}

fn visible_views(context: &SystemContext) -> impl Iterator<Item = &Arc<ViewDef>> {
    let views = context.catalog.views.values();
    views.filter(|v| may_use(context, v.owner, || Relation::View((*v).clone())))
}

fn tables(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    let mut push = |schema: Oid, name: &str, view: bool, insertable: bool| {
        let kind = if view { "VIEW" } else { "BASE TABLE" };
        row!(sink;
            database, catalog.schema_name(schema), name, kind, Null, Null, Null, Null, Null, yes_or_no(insertable),
            "NO", Null);
    };
    for r in super::all() {
        push(r.schema, r.name, r.view, false);
    }
    for t in visible_tables(context) {
        push(t.schema, &t.name, false, true);
    }
    for v in visible_views(context) {
        push(v.schema, &v.name, true, is_updatable(catalog, &context.path, v));
    }
    Ok(())
}

/// The figures of a type as the standard gives them.
struct TypeFigures {
    data_type: String,
    length: Option<i32>,
    octets: Option<i32>,
    precision: Option<i32>,
    radix: Option<i32>,
    scale: Option<i32>,
    datetime: Option<i32>,
}

impl TypeFigures {
    fn new(ty: PgType, catalog: &Catalog) -> TypeFigures {
        use TypeOid as T;
        let length = matches!(ty.oid, T::VARCHAR | T::BPCHAR).then(|| ty.typmod - 4).filter(|n| *n > 0);
        let string = matches!(ty.oid, T::VARCHAR | T::BPCHAR | T::TEXT | T::CHAR | T::NAME);
        let (precision, radix, scale) = match ty.oid {
            T::INT2 => (Some(16), Some(2), Some(0)),
            T::INT4 => (Some(32), Some(2), Some(0)),
            T::INT8 => (Some(64), Some(2), Some(0)),
            T::FLOAT4 => (Some(24), Some(2), None),
            T::FLOAT8 => (Some(53), Some(2), None),
            T::NUMERIC => {
                let known = ty.numeric_precision_scale();
                (known.map(|k| i32::from(k.0)), Some(10), known.map(|k| i32::from(k.1)))
            }
            _ => (None, None, None),
        };
        let datetime = match ty.oid {
            T::DATE => Some(0),
            T::TIME | T::TIMETZ | T::TIMESTAMP | T::TIMESTAMPTZ | T::INTERVAL if ty.typmod < 0 => Some(6),
            T::TIME | T::TIMETZ | T::TIMESTAMP | T::TIMESTAMPTZ => Some(ty.typmod),
            T::INTERVAL => Some(ty.typmod & 0xffff).map(|p| if p == 0xffff { 6 } else { p }),
            _ => None,
        };
        let octets = match length {
            Some(n) => n.checked_mul(4),
            None if matches!(ty.oid, T::TEXT | T::VARCHAR) => Some(1 << 30),
            None => None,
        };
        TypeFigures {
            data_type: data_type(ty.oid, catalog),
            length,
            octets: octets.filter(|_| string),
            precision,
            radix,
            scale,
            datetime,
        }
    }
}

/// One column of anything.
struct Col<'a> {
    schema: Oid,
    relation: &'a str,
    name: &'a str,
    number: i32,
    ty: PgType,
    nullable: bool,
    updatable: bool,
    default: Option<String>,
    identity: Option<(Identity, &'a SequenceDef)>,
    /// Expression of a generated column.
    generated: Option<String>,
    domain: Option<Oid>,
    collation: Option<Oid>,
}

impl Col<'_> {
    fn push(self, catalog: &Catalog, sink: &mut RowSink) {
        let database = &catalog.database.name;
        let f = TypeFigures::new(self.ty, catalog);
        let domain = self.domain.and_then(|oid| catalog.types.get(&oid));
        let domain_schema = domain.map(|d| catalog.schema_name(d.schema));
        let domain_name = domain.map(|d| &d.name);
        let collation = self.collation.and_then(|oid| catalog.collation(oid));
        let collation_schema = collation.as_ref().map(|c| catalog.schema_name(c.schema()));
        let collation_name = collation.as_ref().map(|c| c.name());
        let (udt_schema, udt) = udt(self.ty.oid, catalog);
        let generation = self.identity.as_ref().map(|i| match i.0 {
            Identity::Always => "ALWAYS",
            Identity::ByDefault => "BY DEFAULT",
        });
        let sequence = self.identity.as_ref().map(|i| i.1);
        let number = |get: fn(&SequenceDef) -> i64| sequence.map(|s| get(s).to_string());
        row!(sink;
            database, catalog.schema_name(self.schema), self.relation, self.name, self.number, self.default,
            yes_or_no(self.nullable), f.data_type, f.length, f.octets, f.precision, f.radix, f.scale, f.datetime, Null,
            Null, Null, Null, Null, collation.as_ref().map(|_| database), collation_schema, collation_name,
            domain.map(|_| database), domain_schema, domain_name, database,
            udt_schema, udt, Null, Null, Null,
            Null, self.number.to_string(), "NO", yes_or_no(generation.is_some()), generation, number(|s| s.start),
            number(|s| s.increment), number(|s| s.max), number(|s| s.min),
            yes_or_no(sequence.is_some_and(|s| s.cycle)), if self.generated.is_some() { "ALWAYS" } else { "NEVER" }, self.generated, yes_or_no(self.updatable));
    }
}

/// A type's schema and name in pg_type.
pub(super) fn udt(ty: TypeOid, catalog: &Catalog) -> (String, String) {
    match catalog.type_name(ty) {
        Some((schema, name)) => (catalog.schema_name(schema).to_owned(), name),
        None => ("pg_catalog".to_owned(), names::row(ty).map_or("", |t| t.name).to_owned()),
    }
}

fn domains(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &*context.catalog;
    let database = &catalog.database.name;
    for def in catalog.types.values() {
        let Some(domain) = def.domain() else { continue };
        let f = TypeFigures::new(domain.base, catalog);
        let (udt_schema, udt) = udt(domain.over.map_or(domain.base.oid, |over| TypeOid(over.0)), catalog);
        let data_type = if domain.over.is_some() { "USER-DEFINED".to_owned() } else { f.data_type };
        let display = Display::plain(&context.catalog, &context.path);
        let default = domain.default.as_ref().map(|d| display.expression(d, None));
        row!(sink;
            database, catalog.schema_name(def.schema), &def.name, data_type, f.length, f.octets, Null, Null, Null, Null,
            Null, Null, f.precision, f.radix, f.scale, f.datetime, Null, Null, default, database, udt_schema, udt, Null,
            Null, Null, Null, "1");
    }
    Ok(())
}

/// Composite types that the user owns or may use.
fn visible_composites(context: &SystemContext) -> impl Iterator<Item = (&TypeDef, &[Attribute])> {
    let visible = context.catalog.types.values().filter(|def| may_see(context, def.owner));
    visible.filter_map(|def| Some((&**def, def.attributes()?)))
}

fn user_defined_types(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &*context.catalog;
    for (def, _) in visible_composites(context) {
        row!(sink;
            &catalog.database.name, catalog.schema_name(def.schema), &def.name, "STRUCTURED", "YES", Null, Null, Null, Null,
            Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null,
            Null);
    }
    Ok(())
}

fn attributes(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &*context.catalog;
    let database = &catalog.database.name;
    for (def, attributes) in visible_composites(context) {
        for (number, attribute) in (1i32..).zip(attributes) {
            let f = TypeFigures::new(attribute.ty, catalog);
            let (udt_schema, udt) = udt(attribute.declared(), catalog);
            let data_type = data_type(attribute.declared(), catalog);
            row!(sink;
                database, catalog.schema_name(def.schema), &def.name, &attribute.name, number, Null, "YES", data_type,
                f.length, f.octets, Null, Null, Null, Null, Null, Null, f.precision, f.radix, f.scale, f.datetime, Null,
                Null, database, udt_schema, udt, Null, Null, Null, Null, number.to_string(), "NO");
        }
    }
    Ok(())
}

/// Columns of the domains that the user owns.
fn column_domain_usage(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &*context.catalog;
    let database = &catalog.database.name;
    for table in catalog.tables.values() {
        for column in table.live_columns() {
            let Some(domain) = column.domain.and_then(|oid| catalog.types.get(&oid)) else { continue };
            if may_see(context, domain.owner) {
                row!(sink;
                    database, catalog.schema_name(domain.schema), &domain.name, database,
                    catalog.schema_name(table.schema), &table.name, &column.name);
            }
        }
    }
    Ok(())
}

fn domain_constraints(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &*context.catalog;
    let database = &catalog.database.name;
    for def in catalog.types.values() {
        let schema = catalog.schema_name(def.schema);
        for check in def.domain().map_or(&[][..], |d| &d.checks) {
            row!(sink; database, schema, &check.name, database, schema, &def.name, "NO", "NO");
        }
    }
    Ok(())
}

fn columns(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &*context.catalog;
    for r in super::all() {
        for (i, c) in r.columns.iter().enumerate() {
            Col {
                schema: r.schema,
                relation: r.name,
                name: c.name,
                number: i as i32 + 1,
                ty: c.ty,
                nullable: !c.not_null,
                updatable: false,
                default: None,
                identity: None,
                generated: None,
                domain: None,
                collation: None,
            }
            .push(catalog, sink);
        }
    }
    for t in visible_tables(context) {
        for c in t.live_columns() {
            let c: &ColumnDef = c;
            let sequence = catalog.owned_sequences(t.oid, Some(c.attnum)).next();
            let shown = |text: &str| Display::plain(&context.catalog, &context.path).expression(text, Some(t));
            Col {
                schema: t.schema,
                relation: &t.name,
                name: &c.name,
                number: i32::from(c.attnum),
                ty: c.ty,
                nullable: !c.not_null,
                updatable: true,
                default: c.default.as_ref().filter(|_| !c.generated).map(|d| shown(d)),
                generated: c.default.as_ref().filter(|_| c.generated).map(|d| shown(d)),
                identity: c.identity.zip(sequence.map(|s| &**s)),
                domain: c.domain,
                collation: c.collation,
            }
            .push(catalog, sink);
        }
    }
    for v in catalog.views.values().filter(|v| may_see(context, v.owner)) {
        for (i, (name, ty)) in v.columns.iter().enumerate() {
            Col {
                schema: v.schema,
                relation: &v.name,
                name,
                number: i as i32 + 1,
                ty: *ty,
                nullable: true,
                updatable: false,
                default: None,
                identity: None,
                generated: None,
                domain: None,
                collation: v.collations.iter().find(|(number, _)| *number == i as i16 + 1).map(|(_, oid)| *oid),
            }
            .push(catalog, sink);
        }
    }
    Ok(())
}

fn schemata(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for s in catalog.schemas.values().filter(|s| may_see(context, s.owner)) {
        row!(sink;
            &catalog.database.name, &s.name, role_name(catalog, s.owner), Null, Null, Null, Null);
    }
    Ok(())
}

fn kind(c: &ConstraintDef) -> &'static str {
    match c.kind {
        ConstraintKind::PrimaryKey { .. } => "PRIMARY KEY",
        ConstraintKind::Unique { .. } => "UNIQUE",
        ConstraintKind::Check { .. } => "CHECK",
        ConstraintKind::ForeignKey(_) => "FOREIGN KEY",
    }
}

/// Name of the CHECK constraint that the standard sees behind NOT NULL.
fn not_null_name(t: &TableDef, attnum: i16) -> String {
    format!("{}_{}_{attnum}_not_null", t.schema.0, t.oid.0)
}

fn table_constraints(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for t in visible_tables(context) {
        let schema = catalog.schema_name(t.schema);
        for c in &t.constraints {
            let distinct = matches!(c.kind, ConstraintKind::Unique { .. }).then_some("YES");
            row!(sink;
                database, schema, &c.name, database, schema, &t.name, kind(c), yes_or_no(c.deferrable),
                yes_or_no(c.initially_deferred), "YES", distinct);
        }
        for c in t.live_columns().filter(|c| c.not_null) {
            row!(sink;
                database, schema, not_null_name(t, c.attnum), database, schema, &t.name, "CHECK", "NO", "NO", "YES",
                Null);
        }
    }
    Ok(())
}

fn key_column_usage(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for t in visible_tables(context) {
        let schema = catalog.schema_name(t.schema);
        for c in &t.constraints {
            let (attnums, key) = match &c.kind {
                ConstraintKind::Check { .. } => continue,
                ConstraintKind::ForeignKey(key) => (key.columns.clone(), Some(key)),
                _ => (c.index().and_then(|i| t.index(i)).map_or_else(Vec::new, |i| i.attnums().collect()), None),
            };
            for (i, attnum) in attnums.iter().enumerate() {
                let column = t.attribute(*attnum).map_or("", |c| &c.name);
                let in_unique = key.and_then(|key| {
                    let referenced = catalog.tables.get(&key.references)?.index(key.referenced_index)?;
                    let to = key.referenced_columns.get(i)?;
                    referenced.attnums().position(|a| a == *to).map(|p| p as i32 + 1)
                });
                row!(sink;
                    database, schema, &c.name, database, schema, &t.name, column, i as i32 + 1, in_unique);
            }
        }
    }
    Ok(())
}

fn rule(action: ReferentialAction) -> &'static str {
    match action {
        ReferentialAction::NoAction => "NO ACTION",
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::SetDefault => "SET DEFAULT",
    }
}

fn referential_constraints(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for t in visible_tables(context) {
        for (c, key) in t.foreign_keys() {
            let referenced = catalog.tables.get(&key.references);
            let unique = referenced.and_then(|r| r.index_constraint(key.referenced_index));
            let unique_schema = referenced.filter(|_| unique.is_some()).map(|r| catalog.schema_name(r.schema));
            row!(sink;
                database, catalog.schema_name(t.schema), &c.name, unique.map(|_| database), unique_schema,
                unique.map(|u| &u.name), if key.match_full { "FULL" } else { "NONE" }, rule(key.on_update),
                rule(key.on_delete));
        }
    }
    Ok(())
}

fn check_constraints(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for t in visible_tables(context) {
        let schema = catalog.schema_name(t.schema);
        for c in &t.constraints {
            if matches!(c.kind, ConstraintKind::Check { .. }) {
                let shown = deparse::constraint_def(t, c, &Display::plain(catalog, &context.path));
                row!(sink; database, schema, &c.name, shown.trim_start_matches("CHECK "));
            }
        }
        for c in t.live_columns().filter(|c| c.not_null) {
            row!(sink; database, schema, not_null_name(t, c.attnum), format!("{} IS NOT NULL", c.name));
        }
    }
    Ok(())
}

/// Tables and columns that each constraint is about: those referenced, for a foreign key.
fn constrained<'a>(context: &'a SystemContext, t: &'a TableDef, c: &ConstraintDef) -> (&'a TableDef, Vec<i16>) {
    match &c.kind {
        ConstraintKind::ForeignKey(key) => {
            let table = context.catalog.tables.get(&key.references).map_or(t, |t| t);
            (table, key.referenced_columns.clone())
        }
        ConstraintKind::Check { columns, .. } => (t, columns.clone()),
        _ => (t, c.index().and_then(|i| t.index(i)).map_or_else(Vec::new, |i| i.attnums().collect())),
    }
}

fn constraint_column_usage(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for t in visible_tables(context) {
        for c in &t.constraints {
            let (on, attnums) = constrained(context, t, c);
            for column in attnums.iter().filter_map(|a| on.attribute(*a)) {
                row!(sink;
                    database, catalog.schema_name(on.schema), &on.name, &column.name, database,
                    catalog.schema_name(t.schema), &c.name);
            }
        }
    }
    Ok(())
}

fn constraint_table_usage(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for t in visible_tables(context) {
        for c in t.constraints.iter().filter(|c| !matches!(c.kind, ConstraintKind::Check { .. })) {
            let (on, _) = constrained(context, t, c);
            row!(sink;
                database, catalog.schema_name(on.schema), &on.name, database, catalog.schema_name(t.schema), &c.name);
        }
    }
    Ok(())
}

fn views(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for r in super::all().iter().filter(|r| r.view) {
        row!(sink; database, catalog.schema_name(r.schema), r.name, Null, "NONE", "NO", "NO", "NO", "NO", "NO");
    }
    for v in catalog.views.values().filter(|v| may_see(context, v.owner)) {
        let definition = viewdef::definition(v, &Display::plain(catalog, &context.path));
        let check = match v.check_option {
            None => "NONE",
            Some(CheckOption::Local) => "LOCAL",
            Some(CheckOption::Cascaded) => "CASCADED",
        };
        let updatable = yes_or_no(is_updatable(catalog, &context.path, v));
        row!(sink;
            database, catalog.schema_name(v.schema), &v.name, definition, check, updatable, updatable, "NO", "NO",
            "NO");
    }
    Ok(())
}

fn view_table_usage(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for v in catalog.views.values().filter(|v| may_see(context, v.owner)) {
        for on in v.depends_on.iter().filter_map(|oid| catalog.relation(*oid)) {
            row!(sink;
                database, catalog.schema_name(v.schema), &v.name, database, catalog.schema_name(on.schema()),
                on.name());
        }
    }
    Ok(())
}

fn sequences(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for s in catalog.sequences.values().filter(|s| may_see(context, s.owner)) {
        // As in PostgreSQL, the sequences of identity columns are not listed.
        if crate::ddl::is_identity_sequence(catalog, s) {
            continue;
        }
        let f = TypeFigures::new(s.ty, catalog);
        row!(sink;
            &catalog.database.name, catalog.schema_name(s.schema), &s.name, f.data_type, f.precision, f.radix, 0i32,
            s.start.to_string(), s.min.to_string(), s.max.to_string(), s.increment.to_string(), yes_or_no(s.cycle));
    }
    Ok(())
}

fn catalog_name(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    row!(sink; &context.catalog.database.name);
    Ok(())
}

fn character_sets(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let database = &context.catalog.database.name;
    row!(sink; Null, Null, "UTF8", "UCS", "UTF8", database, "pg_catalog", "C");
    Ok(())
}
