//! Definitions as text (`pg_get_…`), and comments.

use std::sync::Arc;

use super::{Implementation, bool_arg, int_arg, oid_arg, optional, relation_arg, text, text_arg};
use crate::catalog::{ConstraintDef, Oid, Relation, TableDef, ViewDef};
use crate::error::{Error, Result, SqlState};
use crate::functions::{Call, Function, registry};
use crate::system::deparse::{self, Display, quote_ident, relation_name, type_name};
use crate::system::relations::{
    PG_AM, PG_CLASS, PG_COLLATION, PG_CONSTRAINT, PG_LANGUAGE, PG_NAMESPACE, PG_OPERATOR, PG_POLICY, PG_PROC,
    PG_STATISTIC_EXT, PG_TYPE, rule_view,
};
use crate::system::{RowKey, SystemContext, by_oid, fixed, routines, row_security, statistics, viewdef};
use crate::types::Datum;

pub const SCALARS: &[(&str, Implementation)] = &[
    ("pg_get_expr", get_expr),
    ("pg_get_indexdef", get_indexdef),
    ("pg_get_constraintdef", get_constraintdef),
    ("pg_get_viewdef", get_viewdef),
    ("pg_get_ruledef", get_ruledef),
    ("pg_get_serial_sequence", get_serial_sequence),
    ("pg_get_function_result", |c, _, a| {
        let own = routine(c, a).map(|r| routines::result(r, c));
        Ok(optional(own.unwrap_or_else(|| function(a).and_then(function_result))))
    }),
    ("pg_get_function_arguments", |c, _, a| {
        let own = routine(c, a).map(|r| routines::arguments(r, true, c));
        Ok(optional(own.or_else(|| function(a).map(|f| function_arguments(f, true)))))
    }),
    ("pg_get_function_identity_arguments", |c, _, a| {
        let own = routine(c, a).map(|r| routines::arguments(r, false, c));
        Ok(optional(own.or_else(|| function(a).map(|f| function_arguments(f, false)))))
    }),
    ("pg_get_functiondef", |c, _, a| Ok(optional(routine(c, a).map(|r| routines::definition(r, c))))),
    ("pg_get_replica_identity_index", replica_identity),
    ("obj_description", obj_description),
    ("col_description", col_description),
    ("shobj_description", shobj_description),
    // There are no triggers and no partitions.
    ("pg_get_triggerdef", |_, _, _| Ok(Datum::Null)),
    ("pg_get_partkeydef", |_, _, _| Ok(Datum::Null)),
    ("pg_get_partition_constraintdef", |_, _, _| Ok(Datum::Null)),
    ("pg_get_statisticsobjdef", |c, call, a| {
        Ok(optional(statistics_of(c, a).and_then(|s| statistics::definition(s, &display(c, call, true)))))
    }),
    ("pg_get_statisticsobjdef_columns", |c, call, a| {
        Ok(optional(statistics_of(c, a).and_then(|s| statistics::elements(s, &display(c, call, true)))))
    }),
    ("pg_get_statisticsobjdef_expressions", |c, call, a| {
        let shown = statistics_of(c, a).and_then(|s| statistics::expressions(s, &display(c, call, false)));
        Ok(shown.unwrap_or(Datum::Null))
    }),
    ("pg_get_function_sqlbody", |c, _, a| {
        Ok(optional(routine(c, a).filter(|r| r.standard_body).map(|r| routines::standard_body(r))))
    }),
];

fn display<'a>(context: &'a SystemContext, call: &Call<'_>, pretty: bool) -> Display<'a> {
    Display { catalog: &context.catalog, path: &context.path, eval: Arc::new(call.context.clone()), pretty }
}

fn get_expr(context: &SystemContext, call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let table = oid_arg(args, 1).and_then(|oid| context.catalog.tables.get(&oid));
    let display = display(context, call, bool_arg(args, 2));
    if let Some(shown) = text_arg(args, 0).and_then(|stored| row_security::shown(stored, &display)) {
        return Ok(text(shown));
    }
    Ok(optional(text_arg(args, 0).map(|stored| display.expression(stored, table.map(|t| &**t)))))
}

fn get_indexdef(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(Relation::Index(table, index)) = relation_arg(context, args, 0)? else {
        return Ok(Datum::Null);
    };
    if let Some(column) = int_arg(args, 1).filter(|n| *n != 0) {
        let number = usize::try_from(column).unwrap_or(0);
        let display = Display { pretty: bool_arg(args, 2), ..Display::plain(&context.catalog, &context.path) };
        return Ok(text(deparse::index_column_name(&table, &index, number, &display).unwrap_or_default()));
    }
    let display = Display { pretty: bool_arg(args, 2), ..Display::plain(&context.catalog, &context.path) };
    let mut definition = deparse::index_def(&table, &index, &display);
    if bool_arg(args, 2) {
        // The pretty form names the table as the search path allows.
        let schema = context.catalog.schema_name(table.schema);
        let full = format!(" ON {}.{} ", quote_ident(schema), quote_ident(&table.name));
        let short = relation_name(table.oid, &context.catalog, &context.path).unwrap_or_default();
        definition = definition.replacen(&full, &format!(" ON {short} "), 1);
    }
    Ok(text(definition))
}

/// Through the rows of pg_constraint, which have an index and are there for whoever asks for the definitions of all.
fn find_constraint(context: &SystemContext, oid: Oid) -> Option<(&Arc<TableDef>, &Arc<ConstraintDef>)> {
    let relation = by_oid(Oid(PG_CONSTRAINT))?;
    let place = |name| relation.columns.iter().position(|c| c.name == name);
    let rows = relation.rows(context).ok()?;
    let row = *rows.matching(place("oid")?, &RowKey::Number(i64::from(oid.0))).first()?;
    let Datum::Oid(table) = rows.value(place("conrelid")?, row as usize) else { return None };
    let table = context.catalog.tables.get(&Oid(*table))?;
    table.constraints.iter().find(|c| c.oid == oid).map(|c| (table, c))
}

fn get_constraintdef(context: &SystemContext, call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some((table, constraint)) = oid_arg(args, 0).and_then(|oid| find_constraint(context, oid)) else {
        let checks = context.catalog.types.values().filter_map(|t| t.domain()).flat_map(|d| &d.checks);
        let check = oid_arg(args, 0).and_then(|oid| checks.into_iter().find(|c| c.oid == oid));
        let display = display(context, call, bool_arg(args, 1));
        return Ok(check.map_or(Datum::Null, |c| text(format!("CHECK ({})", display.domain_check(c)))));
    };
    Ok(text(deparse::constraint_def(table, constraint, &display(context, call, bool_arg(args, 1)))))
}

fn view(context: &SystemContext, args: &[Datum]) -> Result<Option<Arc<ViewDef>>> {
    Ok(match relation_arg(context, args, 0)? {
        Some(Relation::View(view)) => Some(view),
        Some(Relation::Table(table)) => table.materialized.clone(),
        _ => None,
    })
}

fn get_viewdef(context: &SystemContext, call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    // A number of columns to wrap lines at asks for the pretty form, too.
    let pretty = bool_arg(args, 1) || int_arg(args, 1).is_some();
    let view = view(context, args)?;
    Ok(optional(view.map(|v| viewdef::definition(&v, &display(context, call, pretty)))))
}

fn get_ruledef(context: &SystemContext, call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let rule = oid_arg(args, 0);
    let view = rule.and_then(|oid| rule_view(&context.catalog, oid));
    Ok(optional(view.map(|v| {
        let name = relation_name(v.oid, &context.catalog, &context.path).unwrap_or_default();
        let query = viewdef::definition(v, &display(context, call, bool_arg(args, 1)));
        format!("CREATE RULE \"_RETURN\" AS\n    ON SELECT TO {name} DO INSTEAD {query}")
    })))
}

fn get_serial_sequence(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (Some(relation), Some(column)) = (relation_arg(context, args, 0)?, text_arg(args, 1)) else {
        return Ok(Datum::Null);
    };
    let missing = || {
        Error::new(
            SqlState::UndefinedColumn,
            format!("column \"{column}\" of relation \"{}\" does not exist", relation.name()),
        )
    };
    let Relation::Table(table) = &relation else {
        return Err(missing());
    };
    let attnum = table.column(column).ok_or_else(missing)?.attnum;
    let sequence = context.catalog.owned_sequences(table.oid, Some(attnum)).next();
    Ok(optional(
        sequence.map(|s| format!("{}.{}", quote_ident(context.catalog.schema_name(s.schema)), quote_ident(&s.name))),
    ))
}

fn statistics_of<'a>(context: &'a SystemContext, args: &[Datum]) -> Option<&'a Arc<crate::catalog::StatisticsDef>> {
    context.catalog.statistics.get(&oid_arg(args, 0)?)
}

fn routine<'a>(context: &'a SystemContext, args: &[Datum]) -> Option<&'a Arc<crate::catalog::RoutineDef>> {
    context.catalog.routines.get(&oid_arg(args, 0)?)
}

fn function(args: &[Datum]) -> Option<&'static Function> {
    registry().function(oid_arg(args, 0)?.0).map(|f| &**f)
}

fn function_result(f: &Function) -> Option<String> {
    use crate::functions::Kind;
    if f.kind == Kind::Procedure {
        return None;
    }
    let ty = type_name(f.ret);
    Some(if f.returns_set { format!("SETOF {ty}") } else { ty })
}

fn function_arguments(f: &Function, _defaults: bool) -> String {
    let types = if f.all_args.is_empty() { &f.args } else { &f.all_args };
    let mut shown = Vec::new();
    for (i, ty) in types.iter().enumerate() {
        let mode = match f.arg_modes.get(i) {
            Some(b'o') => "OUT ",
            Some(b'b') => "INOUT ",
            Some(b'v') => "VARIADIC ",
            Some(b't') => continue,
            _ => "",
        };
        let name = f.arg_names.get(i).filter(|n| !n.is_empty() && **n != "-");
        let name = name.map_or_else(String::new, |n| format!("{} ", quote_ident(n)));
        shown.push(format!("{mode}{name}{}", type_name(*ty)));
    }
    shown.join(", ")
}

fn replica_identity(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(match relation_arg(context, args, 0)? {
        Some(Relation::Table(table)) => table.primary_key().map_or(Datum::Null, |i| Datum::Oid(i.oid.0)),
        _ => Datum::Null,
    })
}

fn obj_description(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let catalog = &context.catalog;
    let Some(oid) = oid_arg(args, 0) else {
        return Ok(Datum::Null);
    };
    let class = match text_arg(args, 1) {
        Some("pg_class") => Some(PG_CLASS),
        Some("pg_namespace") => Some(PG_NAMESPACE),
        Some("pg_constraint") => Some(PG_CONSTRAINT),
        Some("pg_proc") => Some(PG_PROC),
        Some("pg_type") => Some(PG_TYPE),
        Some("pg_collation") => Some(PG_COLLATION),
        Some("pg_operator") => Some(PG_OPERATOR),
        Some("pg_policy") => Some(PG_POLICY),
        Some("pg_statistic_ext") => Some(PG_STATISTIC_EXT),
        Some("pg_language") => Some(PG_LANGUAGE),
        Some("pg_am") => Some(PG_AM),
        Some(_) => return Ok(Datum::Null),
        None => None,
    };
    let is = |wanted| class.is_none_or(|c| c == wanted);
    if is(PG_CLASS)
        && let Some(relation) = catalog.relation(oid)
    {
        return Ok(optional(match relation {
            Relation::Table(t) => t.comment.clone(),
            Relation::View(v) => v.comment.clone(),
            Relation::Sequence(s) => s.comment.clone(),
            Relation::Index(_, i) => i.comment.clone(),
            Relation::System(_) => None,
        }));
    }
    if is(PG_TYPE)
        && let Some(def) = catalog.types.get(&oid)
    {
        return Ok(optional(def.comment.as_ref()));
    }
    if is(PG_COLLATION)
        && let Some(collation) = catalog.collation(oid)
    {
        return Ok(match collation {
            crate::catalog::Collation::Own(own) => optional(own.comment.as_ref()),
            crate::catalog::Collation::Builtin(b) => optional(Some(b.comment).filter(|text| !text.is_empty())),
        });
    }
    if is(PG_NAMESPACE)
        && let Some(schema) = catalog.schemas.get(&oid)
    {
        return Ok(optional(schema.comment.as_ref()));
    }
    if is(PG_PROC)
        && let Some(routine) = catalog.routines.get(&oid)
    {
        return Ok(optional(routine.comment.as_ref()));
    }
    if is(PG_POLICY)
        && let Some(policy) = catalog.policies.get(&oid)
    {
        return Ok(optional(policy.comment.as_ref()));
    }
    if is(PG_STATISTIC_EXT)
        && let Some(statistics) = catalog.statistics.get(&oid)
    {
        return Ok(optional(statistics.comment.as_ref()));
    }
    if is(PG_CONSTRAINT)
        && let Some((_, constraint)) = find_constraint(context, oid)
    {
        return Ok(optional(constraint.comment.as_ref()));
    }
    Ok(optional(fixed::description(oid, class)))
}

fn col_description(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let relation = oid_arg(args, 0);
    let table = relation.and_then(|oid| context.catalog.tables.get(&oid));
    let attnum = int_arg(args, 1).and_then(|n| i16::try_from(n).ok());
    if let Some(view) = relation.and_then(|oid| context.catalog.views.get(&oid)) {
        let comment = view.column_comments.iter().find(|(commented, _)| attnum == Some(*commented));
        return Ok(optional(comment.map(|(_, comment)| comment)));
    }
    let column = table.zip(attnum).and_then(|(t, n)| t.attribute(n));
    Ok(optional(column.and_then(|c| c.comment.as_ref())))
}

fn shobj_description(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let catalog = &context.catalog;
    let oid = oid_arg(args, 0).unwrap_or(Oid(0));
    Ok(optional(match text_arg(args, 1) {
        Some("pg_database") => catalog.databases.get(&oid).and_then(|d| d.comment.as_ref()),
        Some("pg_authid") => catalog.roles.get(&oid).and_then(|r| r.comment.as_ref()),
        _ => None,
    }))
}
