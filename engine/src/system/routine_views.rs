//! Functions, procedures and the types of what is there, as the views of information_schema show them: `routines`,
//! `parameters`, who may call and use what, and the elements of arrays.

use super::information_schema::{may_see, udt, yes_or_no};
use super::privileges::explode;
use super::routines::shown_default;
use super::rows::row;
use super::standard::{columns, sparse, text};
use super::{RowSink, RowSource, SystemContext};
use crate::catalog::access::AclTarget;
use crate::catalog::acl::{Acl, ObjectKind, Rights};
use crate::catalog::{ArgMode, Catalog, Oid};
use crate::ddl::names_read;
use crate::error::Result;
use crate::functions::{Kind, Volatility, registry};
use crate::types::{Datum, TypeOid, names};

pub const SOURCES: &[(&str, RowSource)] = &[
    ("information_schema.routines", routines),
    ("information_schema.parameters", parameters),
    ("information_schema.routine_privileges", |c, s| routine_privileges(c, s, false)),
    ("information_schema.role_routine_grants", |c, s| routine_privileges(c, s, true)),
    ("information_schema.udt_privileges", |c, s| udt_privileges(c, s, false)),
    ("information_schema.role_udt_grants", |c, s| udt_privileges(c, s, true)),
    ("information_schema.data_type_privileges", data_types),
    ("information_schema.element_types", element_types),
    ("information_schema.column_udt_usage", column_udt_usage),
    ("information_schema.domain_udt_usage", domain_udt_usage),
    ("information_schema.column_column_usage", column_column_usage),
];

struct Argument<'a> {
    ty: TypeOid,
    mode: &'static str,
    name: Option<&'a str>,
    default: Option<&'a str>,
}

/// One of pg_proc, built in or of users.
struct Routine<'a> {
    oid: Oid,
    schema: Oid,
    name: &'a str,
    owner: Oid,
    /// Aggregates and window functions have none.
    kind: Option<&'static str>,
    procedure: bool,
    args: Vec<Argument<'a>>,
    ret: TypeOid,
    /// pg_proc.prosrc; `None`: it is not known.
    source: Option<&'a str>,
    sql: bool,
    immutable: bool,
    strict: bool,
    security_definer: bool,
}

impl Routine<'_> {
    fn specific(&self) -> String {
        format!("{}_{}", self.name, self.oid.0)
    }

    fn acl(&self, catalog: &Catalog) -> Acl {
        catalog.acl(AclTarget::new(ObjectKind::Function, self.oid), ObjectKind::Function, self.owner)
    }

    /// Whether the user owns it or may call it.
    fn is_visible(&self, context: &SystemContext) -> bool {
        let (catalog, kind) = (&context.catalog, ObjectKind::Function);
        let rights = || catalog.rights(context.user, AclTarget::new(kind, self.oid), kind, self.owner).0;
        may_see(context, self.owner) || rights().has(Rights::EXECUTE)
    }
}

fn all(catalog: &Catalog) -> Vec<Routine<'_>> {
    let built_in = registry().functions().iter().map(|f| {
        let types = if f.all_args.is_empty() { &f.args } else { &f.all_args };
        let args = types.iter().enumerate().map(|(i, ty)| Argument {
            ty: *ty,
            mode: match f.arg_modes.get(i) {
                Some(b'o' | b't') => "OUT",
                Some(b'b') => "INOUT",
                _ => "IN",
            },
            name: f.arg_names.get(i).copied().filter(|name| !name.is_empty() && *name != "-"),
            default: None,
        });
        // SQL functions are written with `#oid` in the registry.
        let sql = f.symbol.starts_with('#');
        Routine {
            oid: Oid(f.oid),
            schema: f.schema(),
            name: f.name,
            owner: Oid::SUPERUSER,
            kind: match f.kind {
                Kind::Scalar => Some("FUNCTION"),
                Kind::Procedure => Some("PROCEDURE"),
                Kind::Aggregate | Kind::Window => None,
            },
            procedure: f.kind == Kind::Procedure,
            args: args.collect(),
            ret: f.ret,
            source: (!sql).then_some(f.symbol),
            sql,
            immutable: f.volatility == Volatility::Immutable,
            strict: f.strict,
            security_definer: false,
        }
    });
    let own = catalog.routines.values().map(|r| {
        let args = r.args.iter().map(|a| Argument {
            ty: a.ty.oid,
            mode: match a.mode {
                ArgMode::In | ArgMode::Variadic => "IN",
                ArgMode::InOut => "INOUT",
                ArgMode::Out | ArgMode::Table => "OUT",
            },
            name: a.name.as_deref(),
            default: a.default.as_deref(),
        });
        Routine {
            oid: r.oid,
            schema: r.schema,
            name: &r.name,
            owner: r.owner,
            kind: match (r.procedure, &r.aggregate) {
                (true, _) => Some("PROCEDURE"),
                (false, None) => Some("FUNCTION"),
                (false, Some(_)) => None,
            },
            procedure: r.procedure,
            args: args.collect(),
            ret: r.ret.oid,
            source: Some(match (&r.aggregate, r.standard_body) {
                (Some(_), _) => "aggregate_dummy",
                (None, true) => "",
                (None, false) => &r.body,
            }),
            sql: r.aggregate.is_none(),
            immutable: r.volatility == 'i',
            strict: r.strict,
            security_definer: r.security_definer,
        }
    });
    built_in.chain(own).collect()
}

/// As the standard names a type: ARRAY, and USER-DEFINED for what is not of pg_catalog.
pub(super) fn data_type(ty: TypeOid, catalog: &Catalog) -> String {
    match names::row(ty) {
        _ if names::element_of(ty).is_some() => "ARRAY".to_owned(),
        Some(row) if row.len == -1 && row.element.0 != 0 => "ARRAY".to_owned(),
        _ if catalog.type_name(ty).is_some() => "USER-DEFINED".to_owned(),
        _ => super::deparse::type_name(ty),
    }
}

fn optional(value: Option<impl AsRef<str>>) -> Datum {
    value.map_or(Datum::Null, text)
}

fn routines(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = || text(&catalog.database.name);
    for r in all(catalog).iter().filter(|r| r.is_visible(context)) {
        let schema = || text(catalog.schema_name(r.schema));
        let result = (!r.procedure).then(|| (data_type(r.ret, catalog), udt(r.ret, catalog)));
        let (ty, place) = result.unzip();
        let (udt_schema, udt_name) = place.unzip();
        sparse(
            sink,
            &[
                ("specific_catalog", database()),
                ("specific_schema", schema()),
                ("specific_name", text(r.specific())),
                ("routine_catalog", database()),
                ("routine_schema", schema()),
                ("routine_name", text(r.name)),
                ("routine_type", optional(r.kind)),
                ("type_udt_catalog", if ty.is_some() { database() } else { Datum::Null }),
                ("data_type", optional(ty)),
                ("type_udt_schema", optional(udt_schema)),
                ("type_udt_name", optional(udt_name)),
                ("dtd_identifier", optional((!r.procedure).then_some("0"))),
                ("routine_body", text(if r.sql { "SQL" } else { "EXTERNAL" })),
                ("routine_definition", optional(r.source.filter(|_| may_see(context, r.owner)))),
                ("external_language", text(if r.sql { "SQL" } else { "INTERNAL" })),
                ("parameter_style", text("GENERAL")),
                ("is_deterministic", text(yes_or_no(r.immutable))),
                ("sql_data_access", text("MODIFIES")),
                ("is_null_call", optional((!r.procedure).then(|| yes_or_no(r.strict)))),
                ("schema_level_routine", text("YES")),
                ("max_dynamic_result_sets", Datum::Int4(0)),
                ("security_type", text(if r.security_definer { "DEFINER" } else { "INVOKER" })),
                ("as_locator", text("NO")),
                ("is_udt_dependent", text("NO")),
            ],
        );
    }
    Ok(())
}

fn parameters(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for r in all(catalog).iter().filter(|r| r.is_visible(context)) {
        for (number, arg) in (1i32..).zip(&r.args) {
            let (udt_schema, udt_name) = udt(arg.ty, catalog);
            let default = arg.default.filter(|_| may_see(context, r.owner));
            let default = default.map(|default| shown_default(default, arg.ty, context));
            sparse(
                sink,
                &[
                    ("specific_catalog", text(&catalog.database.name)),
                    ("specific_schema", text(catalog.schema_name(r.schema))),
                    ("specific_name", text(r.specific())),
                    ("ordinal_position", Datum::Int4(number)),
                    ("parameter_mode", text(arg.mode)),
                    ("is_result", text("NO")),
                    ("as_locator", text("NO")),
                    ("parameter_name", optional(arg.name.filter(|name| !name.is_empty()))),
                    ("data_type", text(data_type(arg.ty, catalog))),
                    ("udt_catalog", text(&catalog.database.name)),
                    ("udt_schema", text(udt_schema)),
                    ("udt_name", text(udt_name)),
                    ("dtd_identifier", text(number.to_string())),
                    ("parameter_default", optional(default)),
                ],
            );
        }
    }
    Ok(())
}

fn routine_privileges(context: &SystemContext, sink: &mut RowSink, roles_only: bool) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for r in all(catalog) {
        let schema = catalog.schema_name(r.schema);
        for g in explode(context, &r.acl(catalog), r.owner, Rights::EXECUTE, roles_only) {
            row!(sink;
                g.grantor, g.grantee, database, schema, r.specific(), database, schema, r.name, g.privilege,
                g.grantable);
        }
    }
    Ok(())
}

/// USAGE of types whose values have attributes: those of relations, too.
fn udt_privileges(context: &SystemContext, sink: &mut RowSink, roles_only: bool) -> Result<()> {
    let catalog = &context.catalog;
    let system = super::all().iter().map(|r| (r.row_type, r.schema, r.name, Oid::SUPERUSER));
    let tables = catalog.tables.values().map(|t| (t.row_type, t.schema, t.name.as_str(), t.owner));
    let views = catalog.views.values().map(|v| (v.row_type, v.schema, v.name.as_str(), v.owner));
    let own = catalog.types.values().filter(|def| def.attributes().is_some());
    let own = own.map(|def| (def.oid, def.schema, def.name.as_str(), def.owner));
    for (oid, schema, name, owner) in system.chain(tables).chain(views).chain(own) {
        let acl = catalog.acl(AclTarget::new(ObjectKind::Type, oid), ObjectKind::Type, owner);
        for g in explode(context, &acl, owner, Rights::USAGE, roles_only) {
            row!(sink;
                g.grantor, g.grantee, &catalog.database.name, catalog.schema_name(schema), name, "TYPE USAGE",
                g.grantable);
        }
    }
    Ok(())
}

/// Whatever has a type and is the user's to see: schema, name, kind, the number of the type in it, the type.
fn typed(context: &SystemContext) -> Vec<(Oid, String, &'static str, i32, TypeOid)> {
    let catalog = &context.catalog;
    let mut all_typed: Vec<_> = columns(context, true)
        .into_iter()
        .map(|(schema, relation, _, number, ty)| (schema, relation, "TABLE", i32::from(number), ty))
        .collect();
    for def in catalog.types.values().filter(|def| may_see(context, def.owner)) {
        if let Some(attributes) = def.attributes() {
            let attributes = (1i32..).zip(attributes);
            all_typed
                .extend(attributes.map(|(n, a)| (def.schema, def.name.clone(), "USER-DEFINED TYPE", n, a.declared())));
        }
        if let Some(domain) = def.domain() {
            let base = domain.over.map_or(domain.base.oid, |over| TypeOid(over.0));
            all_typed.push((def.schema, def.name.clone(), "DOMAIN", 1, base));
        }
    }
    for r in all(catalog).iter().filter(|r| r.is_visible(context)) {
        let args = (1i32..).zip(r.args.iter().map(|a| a.ty));
        let result = (!r.procedure).then_some((0, r.ret));
        all_typed.extend(args.chain(result).map(|(n, ty)| (r.schema, r.specific(), "ROUTINE", n, ty)));
    }
    all_typed
}

fn data_types(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for (schema, name, kind, number, _) in typed(context) {
        row!(sink; &catalog.database.name, catalog.schema_name(schema), name, kind, number.to_string());
    }
    Ok(())
}

fn element_types(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for (schema, name, kind, number, ty) in typed(context) {
        let Some(element) = names::element_of(ty) else { continue };
        let (udt_schema, udt_name) = udt(element, catalog);
        sparse(
            sink,
            &[
                ("object_catalog", text(&catalog.database.name)),
                ("object_schema", text(catalog.schema_name(schema))),
                ("object_name", text(name)),
                ("object_type", text(kind)),
                ("collection_type_identifier", text(number.to_string())),
                ("data_type", text(data_type(element, catalog))),
                ("udt_catalog", text(&catalog.database.name)),
                ("udt_schema", text(udt_schema)),
                ("udt_name", text(udt_name)),
                ("dtd_identifier", text(format!("a{number}"))),
            ],
        );
    }
    Ok(())
}

/// Owner of a type.
fn owner(ty: TypeOid, catalog: &Catalog) -> Oid {
    catalog.types.get(&Oid(names::element_of(ty).unwrap_or(ty).0)).map_or(Oid::SUPERUSER, |def| def.owner)
}

/// Columns of types that the user owns.
fn column_udt_usage(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for (schema, relation, column, _, ty) in columns(context, false) {
        if may_see(context, owner(ty, catalog)) {
            let (udt_schema, udt_name) = udt(ty, catalog);
            row!(sink;
                database, udt_schema, udt_name, database, catalog.schema_name(schema), relation, column);
        }
    }
    Ok(())
}

fn domain_udt_usage(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for def in catalog.types.values() {
        let Some(domain) = def.domain() else { continue };
        let base = domain.over.map_or(domain.base.oid, |over| TypeOid(over.0));
        if may_see(context, owner(base, catalog)) {
            let (udt_schema, udt_name) = udt(base, catalog);
            row!(sink;
                database, udt_schema, udt_name, database, catalog.schema_name(def.schema), &def.name);
        }
    }
    Ok(())
}

/// Columns that generated columns read.
fn column_column_usage(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for table in catalog.tables.values().filter(|table| may_see(context, table.owner)) {
        for generated in table.live_columns().filter(|column| column.generated) {
            let read = names_read(generated.default.as_deref().unwrap_or_default(), table)?;
            for column in table.live_columns().filter(|column| read.contains(&column.attnum)) {
                row!(sink;
                    database, catalog.schema_name(table.schema), &table.name, &column.name, &generated.name);
            }
        }
    }
    Ok(())
}
