//! CREATE, ALTER and DROP of functions and procedures in SQL.
//!
//! A body is kept as text and bound where it is called; CREATE binds it once to find mistakes.

use std::sync::Arc;

use super::names::{self, Name};
use super::routine_syntax::{Attributes, Body, CreateRoutine, RoutineChange, RoutineKind, RoutineName, WrittenArg};
use super::syntax::RelationChange;
use super::{DdlContext, allocate, expression, ownership, privilege, put};
use crate::catalog::{ArgMode, Catalog, Object, Oid, Relation, RoutineArg, RoutineDef};
use crate::error::{Error, Result, SqlState};
use crate::functions::resolve;
use crate::sql::parse::{parse, parse_expression};
use crate::sql::{Parsed, Scope, Source, Statement};
use crate::system::deparse::type_name;
use crate::txn::Transaction;
use crate::types::{PgType, TypeOid};

pub fn create(create: &CreateRoutine, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let tag = if create.procedure { "CREATE PROCEDURE" } else { "CREATE FUNCTION" }.to_owned();
    let standard = matches!(create.body, Some(Body::Return(_) | Body::Atomic(_)));
    match create.language.as_deref() {
        Some("sql") => {}
        None if standard => {}
        None => return Err(Error::new(SqlState::InvalidFunctionDefinition, "no language specified")),
        Some(known @ ("plpgsql" | "c" | "internal")) => {
            return Err(Error::unsupported(format!("language \"{known}\"")));
        }
        Some(other) => {
            return Err(Error::new(SqlState::UndefinedObject, format!("language \"{other}\" does not exist")));
        }
    }
    let catalog = tx.catalog();
    let path = context.path(&catalog);
    let name = Name::new(&create.name, &catalog)?;
    let schema = name.creation_schema(&catalog, &path)?;
    privilege::check_create(&catalog, context.user, schema)?;
    let args = arguments(create, tx, context)?;
    let (ret, ret_relation, returns_set) = result(create, &args, tx, context)?;
    let body = match &create.body {
        Some(Body::Text(text) | Body::Return(text) | Body::Atomic(text)) => text.clone(),
        None => return Err(Error::new(SqlState::InvalidFunctionDefinition, "no function body specified")),
    };
    let body = if matches!(create.body, Some(Body::Return(_))) { format!("SELECT {body}") } else { body };
    let types: Vec<TypeOid> = inputs(&args).map(|a| a.ty.oid).collect();
    let old = find(&catalog, schema, &name.name, &types).cloned();
    if let Some(old) = &old {
        check_replacement(create, old, &args, (ret, returns_set), &catalog, context)?;
    }
    let a = &create.attributes;
    let mut routine = RoutineDef {
        oid: Oid(0),
        schema,
        name: name.name,
        owner: old.as_ref().map_or(context.user, |o| o.owner),
        procedure: create.procedure,
        args,
        ret,
        ret_relation,
        returns_set,
        strict: a.strict.unwrap_or(false),
        volatility: a.volatility.unwrap_or('v'),
        security_definer: a.security_definer.unwrap_or(false),
        leakproof: a.leakproof.unwrap_or(false),
        parallel: a.parallel.unwrap_or('u'),
        cost: a.cost.unwrap_or(100.0),
        rows: a.rows.unwrap_or(if returns_set { 1000.0 } else { 0.0 }),
        body,
        standard_body: standard,
        runs: false,
        columns: Vec::new(),
        depends_on: Vec::new(),
        comment: old.as_ref().and_then(|o| o.comment.clone()),
        aggregate: None,
    };
    if routine.security_definer {
        return Err(Error::unsupported("SECURITY DEFINER"));
    }
    let checked = check_body(&mut routine, tx, context);
    let unchecked = context.current_settings.show("check_function_bodies").is_ok_and(|shown| &*shown == "off");
    match checked {
        // What it names may come later, as it does in what pg_dump writes: mistakes are found where it is called.
        Err(_) if unchecked && !standard => take_unchecked(&mut routine, &catalog),
        checked => checked?,
    }
    routine.oid = match &old {
        Some(old) => old.oid,
        None => allocate(tx)?,
    };
    put(tx, Object::Routine(Arc::new(routine)))?;
    Ok(tag)
}

fn inputs(args: &[RoutineArg]) -> impl Iterator<Item = &RoutineArg> {
    args.iter().filter(|a| a.mode.is_input())
}

pub(super) fn find<'a>(
    catalog: &'a Catalog,
    schema: Oid,
    name: &str,
    types: &[TypeOid],
) -> Option<&'a Arc<RoutineDef>> {
    catalog.routines.values().find(|r| r.schema == schema && r.name == name && r.input_types() == types)
}

fn arguments(create: &CreateRoutine, tx: &Transaction, context: &DdlContext<'_>) -> Result<Vec<RoutineArg>> {
    let mut args: Vec<RoutineArg> = Vec::with_capacity(create.args.len());
    let mut defaults = false;
    for written in &create.args {
        let ty = expression::binder(context.source.clone(), tx, context).bind_type(&written.ty)?;
        privilege::check_type(&tx.catalog(), context.user, ty.oid)?;
        let input = written.mode.is_input();
        if input && args.iter().any(|a| a.mode == ArgMode::Variadic) {
            let message = "VARIADIC parameter must be the last input parameter";
            return Err(Error::new(SqlState::InvalidFunctionDefinition, message));
        }
        let is_array = matches!(ty.oid, TypeOid::ANYARRAY | resolve::ANYCOMPATIBLEARRAY);
        if written.mode == ArgMode::Variadic && !is_array && crate::types::names::element_of(ty.oid).is_none() {
            return Err(Error::new(SqlState::InvalidFunctionDefinition, "VARIADIC parameter must be an array"));
        }
        if let Some(name) = &written.name
            && args.iter().any(|a| a.name.as_ref() == Some(name) && a.mode.is_output() == written.mode.is_output())
        {
            return Err(Error::new(
                SqlState::InvalidFunctionDefinition,
                format!("parameter name \"{name}\" used more than once"),
            ));
        }
        if let Some(default) = &written.default {
            if !input {
                return Err(Error::new(
                    SqlState::InvalidFunctionDefinition,
                    "only input parameters can have default values",
                ));
            }
            let (expr, source) = parse_expression(default)?;
            let column = written.name.clone().unwrap_or_default();
            // The type of a polymorphic one is known where it is called.
            if !resolve::is_polymorphic(ty.oid) {
                expression::binder(source, tx, context).bind_assignment(&expr, &Scope::default(), &column, ty)?;
            }
            defaults = true;
        } else if defaults && input {
            return Err(Error::new(
                SqlState::InvalidFunctionDefinition,
                "input parameters after one with a default value must also have defaults",
            ));
        }
        if is_pseudo(ty.oid) && !resolve::is_polymorphic(ty.oid) {
            return Err(Error::unsupported(format!("SQL functions with arguments of type {}", type_name(ty))));
        }
        let default = written.default.clone();
        args.push(RoutineArg { name: written.name.clone(), ty, mode: written.mode, default });
    }
    Ok(args)
}

/// Type of the result, the relation whose rows it is, and whether there may be many.
fn result(
    create: &CreateRoutine,
    args: &[RoutineArg],
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<(PgType, Option<Oid>, bool)> {
    let outputs: Vec<PgType> = args.iter().filter(|a| a.mode.is_output()).map(|a| a.ty).collect();
    outputs.iter().try_for_each(|ty| check_determined(ty.oid, args, "result"))?;
    let of_outputs = match outputs.as_slice() {
        [] => None,
        [one] => Some(*one),
        _ => Some(TypeOid::RECORD.into()),
    };
    if create.procedure {
        let ty = if outputs.is_empty() { TypeOid::VOID } else { TypeOid::RECORD };
        return Ok((ty.into(), None, false));
    }
    if create.table {
        return Ok((of_outputs.unwrap_or(TypeOid::RECORD.into()), None, true));
    }
    let Some((set, written)) = &create.returns else {
        return of_outputs
            .map(|ty| (ty, None, false))
            .ok_or_else(|| Error::new(SqlState::InvalidFunctionDefinition, "function result type must be specified"));
    };
    // The rows of a table or view.
    let catalog = tx.catalog();
    if let sqlparser::ast::DataType::Custom(name, _) = written
        && let Some(relation @ (Relation::Table(_) | Relation::View(_))) =
            Name::new(name, &catalog)?.find(&catalog, &context.path(&catalog))
    {
        return Ok((TypeOid::RECORD.into(), Some(relation.oid()), *set));
    }
    let ty = expression::binder(context.source.clone(), tx, context).bind_type(written)?;
    privilege::check_type(&tx.catalog(), context.user, ty.oid)?;
    if let Some(expected) = of_outputs
        && expected.oid != ty.oid
    {
        let message = format!("function result type must be {} because of OUT parameters", type_name(expected));
        return Err(Error::new(SqlState::InvalidFunctionDefinition, message));
    }
    check_determined(ty.oid, args, "result")?;
    if is_pseudo(ty.oid) && !resolve::is_polymorphic(ty.oid) && !matches!(ty.oid, TypeOid::VOID | TypeOid::RECORD) {
        return Err(Error::unsupported(format!("SQL functions that return {}", type_name(ty))));
    }
    Ok((ty, None, *set))
}

fn is_pseudo(ty: TypeOid) -> bool {
    crate::types::names::row(ty).is_some_and(|t| t.kind == b'p')
}

/// 42P13 for a polymorphic result that no argument settles.
pub(super) fn check_determined(result: TypeOid, args: &[RoutineArg], what: &str) -> Result<()> {
    use resolve::{
        ANYCOMPATIBLE, ANYCOMPATIBLEARRAY, ANYCOMPATIBLEMULTIRANGE, ANYCOMPATIBLENONARRAY, ANYCOMPATIBLERANGE, ANYENUM,
        ANYMULTIRANGE, ANYRANGE,
    };
    let (settling, shown): (&[TypeOid], &str) = match result {
        TypeOid::ANYELEMENT | TypeOid::ANYARRAY | TypeOid::ANYNONARRAY | ANYENUM => (
            &[TypeOid::ANYELEMENT, TypeOid::ANYARRAY, TypeOid::ANYNONARRAY, ANYENUM, ANYRANGE, ANYMULTIRANGE],
            "anyelement, anyarray, anynonarray, anyenum, anyrange, or anymultirange",
        ),
        ANYCOMPATIBLE | ANYCOMPATIBLEARRAY | ANYCOMPATIBLENONARRAY => (
            &[ANYCOMPATIBLE, ANYCOMPATIBLEARRAY, ANYCOMPATIBLENONARRAY, ANYCOMPATIBLERANGE, ANYCOMPATIBLEMULTIRANGE],
            "anycompatible, anycompatiblearray, anycompatiblenonarray, anycompatiblerange, or anycompatiblemultirange",
        ),
        ANYRANGE | ANYMULTIRANGE => (&[ANYRANGE, ANYMULTIRANGE], "anyrange or anymultirange"),
        ANYCOMPATIBLERANGE | ANYCOMPATIBLEMULTIRANGE => {
            (&[ANYCOMPATIBLERANGE, ANYCOMPATIBLEMULTIRANGE], "anycompatiblerange or anycompatiblemultirange")
        }
        _ => return Ok(()),
    };
    if inputs(args).any(|a| settling.contains(&a.ty.oid)) {
        return Ok(());
    }
    let result = type_name(PgType::from(result));
    Err(Error::new(SqlState::InvalidFunctionDefinition, format!("cannot determine {what} data type"))
        .detail(format!("A result of type {result} requires at least one input of type {shown}.")))
}

fn check_replacement(
    create: &CreateRoutine,
    old: &RoutineDef,
    args: &[RoutineArg],
    (ret, set): (PgType, bool),
    catalog: &Catalog,
    context: &DdlContext<'_>,
) -> Result<()> {
    if !create.or_replace {
        return Err(Error::new(
            SqlState::DuplicateFunction,
            format!("function \"{}\" already exists with same argument types", old.name),
        ));
    }
    privilege::check_owner(catalog, context.user, old.owner, old.kind_name(), &old.name)?;
    let drop = format!("Use DROP {} {} first.", old.kind_name().to_uppercase(), old.signature());
    if old.procedure != create.procedure {
        return Err(Error::new(SqlState::WrongObjectType, "cannot change routine kind").detail(format!(
            "\"{}\" is a {}.",
            old.name,
            old.kind_name()
        )));
    }
    if old.ret.oid != ret.oid || old.returns_set != set {
        return Err(Error::new(SqlState::InvalidFunctionDefinition, "cannot change return type of existing function")
            .hint(drop));
    }
    for (before, after) in old.inputs().zip(inputs(args)) {
        if let Some(name) = &before.name
            && after.name.as_ref() != Some(name)
        {
            return Err(Error::new(
                SqlState::InvalidFunctionDefinition,
                format!("cannot change name of input parameter \"{name}\""),
            )
            .hint(drop));
        }
        if before.default.is_some() && after.default.is_none() {
            return Err(Error::new(
                SqlState::InvalidFunctionDefinition,
                "cannot remove parameter defaults from existing function",
            )
            .hint(drop));
        }
    }
    Ok(())
}

/// Binds the body once. Functions are one query; procedures are statements of any kind, looked at when they run.
fn check_body(routine: &mut RoutineDef, tx: &Transaction, context: &DdlContext<'_>) -> Result<()> {
    let mut statements = parse(&routine.body)?;
    if routine.procedure {
        return Ok(());
    }
    let last = statements.pop();
    let query = match last.as_ref().map(|last| &last.statement) {
        Some(Statement::Sql(statement)) => match &**statement {
            sqlparser::ast::Statement::Query(query) => Some(query.clone()),
            _ => None,
        },
        _ => None,
    };
    let query = match query {
        Some(query) if statements.is_empty() && !changes_rows(&query) => query,
        _ => return check_statements(routine, statements.into_iter().chain(last).collect(), &tx.catalog()),
    };
    if routine.is_polymorphic() {
        // What it means is known where it is called.
        routine.columns = result_columns(routine, &tx.catalog())
            .ok_or_else(|| Error::unsupported("a polymorphic SQL function that returns record"))?;
        return Ok(());
    }
    let mut binder = expression::binder(Source::new(&routine.body), tx, context);
    let bound = binder.bind_routine(&query, routine)?;
    routine.depends_on = bound.reads;
    let columns: Vec<(String, PgType)> = bound.columns;
    let catalog = tx.catalog();
    let wanted = result_columns(routine, &catalog);
    if let Some(wanted) = &wanted
        && routine.ret.oid != TypeOid::VOID
    {
        // One column may be the row itself.
        let row = routine.row_type(&catalog);
        if let ([(_, is)], Some(row)) = (columns.as_slice(), row)
            && row != TypeOid::RECORD
            && (is.oid == row || matches!(is.oid, TypeOid::RECORD | TypeOid::UNKNOWN) && wanted.len() != 1)
        {
            routine.columns = wanted.clone();
            return Ok(());
        }
        if wanted.len() != columns.len() {
            let detail = match routine.ret.oid {
                TypeOid::RECORD => match columns.len() > wanted.len() {
                    true => "Final statement returns too many columns.",
                    false => "Final statement returns too few columns.",
                },
                _ if row.is_some() && columns.len() > wanted.len() => "Final statement returns too many columns.",
                _ if row.is_some() => "Final statement returns too few columns.",
                _ => "Final statement must return exactly one column.",
            };
            return Err(mismatch(routine, detail));
        }
        for (at, ((_, is), (_, to))) in columns.iter().zip(wanted).enumerate() {
            let fits = is.oid == to.oid
                || is.oid == TypeOid::UNKNOWN
                || crate::functions::find_cast(is.oid, to.oid, crate::functions::CastContext::Assignment).is_some();
            if !fits && row.is_some() {
                return Err(mismatch(
                    routine,
                    &format!(
                        "Final statement returns {} instead of {} at column {}.",
                        type_name(*is),
                        type_name(*to),
                        at + 1
                    ),
                ));
            }
            if !fits {
                return Err(mismatch(routine, &format!("Actual return type is {}.", type_name(*is))));
            }
        }
    }
    routine.columns = wanted.unwrap_or(columns);
    Ok(())
}

/// What is known of a function whose body was not understood: its declaration, and how it would be run.
fn take_unchecked(routine: &mut RoutineDef, catalog: &Catalog) {
    use sqlparser::ast::Statement as S;
    if routine.procedure {
        return;
    }
    let statements = parse(&routine.body).unwrap_or_default();
    routine.runs = match statements.as_slice() {
        [] => false,
        [one] => match &one.statement {
            Statement::Sql(statement) => !matches!(&**statement, S::Query(query) if !changes_rows(query)),
            _ => true,
        },
        _ => true,
    };
    routine.depends_on = Vec::new();
    routine.columns = result_columns(routine, catalog).unwrap_or_default();
}

/// Whether a part of a query changes rows.
fn changes_rows(query: &sqlparser::ast::Query) -> bool {
    use sqlparser::ast::SetExpr;
    let parts = query.with.as_ref().map_or(&[][..], |with| &with.cte_tables);
    matches!(&*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
        || parts.iter().any(|part| changes_rows(&part.query))
}

/// A body that is run: its last statement must return rows unless the function returns nothing.
fn check_statements(routine: &mut RoutineDef, statements: Vec<Parsed>, catalog: &Catalog) -> Result<()> {
    use sqlparser::ast::Statement as S;
    for parsed in &statements {
        match &parsed.statement {
            Statement::Sql(statement) => {
                let command = match &**statement {
                    S::StartTransaction { .. } => "BEGIN",
                    S::Commit { .. } => "COMMIT",
                    S::Rollback { .. } => "ROLLBACK",
                    _ => continue,
                };
                let message = format!("{command} is not allowed in an SQL function");
                return Err(Error::new(SqlState::FeatureNotSupported, message));
            }
            Statement::Utility(_) => return Err(Error::unsupported("SQL functions that run commands")),
            Statement::Ddl(_) => {}
        }
    }
    let returns = match statements.last().map(|last| &last.statement) {
        Some(Statement::Sql(last)) => match &**last {
            S::Query(_) => true,
            S::Insert(insert) => insert.returning.is_some(),
            S::Update(update) => update.returning.is_some(),
            S::Delete(delete) => delete.returning.is_some(),
            _ => false,
        },
        _ => false,
    };
    if !returns && routine.ret.oid != TypeOid::VOID {
        let detail = "Function's final statement must be SELECT or INSERT/UPDATE/DELETE RETURNING.";
        return Err(mismatch(routine, detail));
    }
    routine.runs = true;
    routine.columns = result_columns(routine, catalog).ok_or_else(|| {
        Error::unsupported("a SQL function of several statements, or that changes rows, that returns record")
    })?;
    Ok(())
}

fn mismatch(routine: &RoutineDef, detail: &str) -> Error {
    let ty = type_name(routine.ret);
    Error::new(SqlState::InvalidFunctionDefinition, format!("return type mismatch in function declared to return {ty}"))
        .detail(detail)
        .context(format!("SQL function \"{}\"", routine.name))
}

/// The columns that the declaration promises; `None`: `record`, which the query decides.
fn result_columns(routine: &RoutineDef, catalog: &Catalog) -> Option<Vec<(String, PgType)>> {
    let outputs: Vec<(String, PgType)> = routine
        .outputs()
        .enumerate()
        .map(|(i, a)| (a.name.clone().unwrap_or_else(|| format!("column{}", i + 1)), a.ty))
        .collect();
    if !outputs.is_empty() {
        return Some(outputs);
    }
    match routine.ret_relation.map(|oid| catalog.relation(oid)) {
        Some(Some(Relation::Table(t))) => Some(t.live_columns().map(|c| (c.name.clone(), c.ty)).collect()),
        Some(Some(Relation::View(v))) => Some(v.columns.clone()),
        _ if routine.ret.oid == TypeOid::RECORD => None,
        _ => {
            let ret = catalog.base_type(routine.ret);
            catalog.attributes_of(ret.oid).or_else(|| Some(vec![(routine.name.clone(), ret)]))
        }
    }
}

/// The routine that DROP, ALTER and COMMENT name. `None`: there is none, and IF EXISTS was said.
pub fn find_named(
    kind: RoutineKind,
    name: &RoutineName,
    if_exists: bool,
    dropping: bool,
    tx: &Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Option<Arc<RoutineDef>>> {
    let catalog = tx.catalog();
    let path = context.path(&catalog);
    let written = Name::new(&name.name, &catalog)?;
    let what = kind.word();
    if if_exists && let Some(schema) = written.schema.as_ref().filter(|schema| catalog.schema(schema).is_none()) {
        context.notice(SqlState::SuccessfulCompletion, format!("schema \"{schema}\" does not exist, skipping"));
        return Ok(None);
    }
    let all = catalog.routines_named(written.schema.as_deref(), &written.name, &path);
    let found: Vec<&Arc<RoutineDef>> = match &name.args {
        // A name alone means those of the kind, if there are any.
        None => {
            let meant = |r: &&Arc<RoutineDef>| match kind {
                RoutineKind::Function => !r.procedure,
                RoutineKind::Procedure => r.procedure,
                RoutineKind::Aggregate => r.aggregate.is_some(),
                RoutineKind::Routine => true,
            };
            match all.iter().any(meant) {
                true => all.iter().copied().filter(meant).collect(),
                false => all.clone(),
            }
        }
        Some(args) => {
            let types = match types_of(args, tx, context) {
                Ok(types) => types,
                Err(e) if if_exists && matches!(e.state(), SqlState::UndefinedObject | SqlState::InvalidSchemaName) => {
                    context.notice(SqlState::SuccessfulCompletion, format!("{}, skipping", e.message()));
                    return Ok(None);
                }
                Err(e) => return Err(e.unlocated()),
            };
            all.iter().copied().filter(|r| r.input_types() == types).take(1).collect()
        }
    };
    let wrong = |r: &RoutineDef| match kind {
        RoutineKind::Function => r.procedure,
        RoutineKind::Procedure => !r.procedure,
        RoutineKind::Aggregate => r.aggregate.is_none(),
        RoutineKind::Routine => false,
    };
    match found.as_slice() {
        [one] if wrong(one) => {
            let message = match kind {
                RoutineKind::Aggregate => {
                    format!("function {} is not an aggregate", one.signature().replace(',', ", "))
                }
                _ => format!("{} is not a {what}", one.signature()),
            };
            Err(Error::new(SqlState::WrongObjectType, message))
        }
        [one] if one.aggregate.is_some() && kind == RoutineKind::Function && dropping => {
            Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is an aggregate function", one.name))
                .hint("Use DROP AGGREGATE to drop aggregate functions."))
        }
        [one] => Ok(Some((*one).clone())),
        [] => {
            let shown = match &name.args {
                Some(args) => {
                    let types = types_of(args, tx, context)?;
                    let types: Vec<String> = types.iter().map(|t| type_name(PgType::from(*t))).collect();
                    format!("{written}({})", types.join(", "))
                }
                None => format!("\"{written}\""),
            };
            let message = match &name.args {
                Some(_) => format!("{what} {shown} does not exist"),
                None => format!("could not find a {what} named {shown}"),
            };
            if if_exists {
                let message = format!("{what} {}() does not exist, skipping", written);
                let message = match &name.args {
                    Some(args) => {
                        let types: Vec<String> = args.iter().map(|a| written_type(&a.ty)).collect();
                        format!("{what} {written}({}) does not exist, skipping", types.join(","))
                    }
                    None => message,
                };
                context.notice(SqlState::SuccessfulCompletion, message);
                return Ok(None);
            }
            Err(Error::new(SqlState::UndefinedFunction, message))
        }
        _ => Err(Error::new(SqlState::AmbiguousFunction, format!("{what} name \"{written}\" is not unique"))
            .hint(format!("Specify the argument list to select the {what} unambiguously."))),
    }
}

/// A type as PostgreSQL's grammar has it: what are keywords there is of pg_catalog.
fn written_type(ty: &sqlparser::ast::DataType) -> String {
    use sqlparser::ast::{ArrayElemTypeDef, DataType};
    if let DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) = ty {
        return format!("{}[]", written_type(element));
    }
    let text = ty.to_string().to_lowercase();
    let keyword = match text.as_str() {
        "int" | "integer" => "int4",
        "smallint" => "int2",
        "bigint" => "int8",
        "real" => "float4",
        "float" | "double precision" => "float8",
        "decimal" | "dec" | "numeric" => "numeric",
        "boolean" => "bool",
        "char" | "character" => "bpchar",
        "varchar" | "character varying" => "varchar",
        "timestamp" | "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        "time" | "time without time zone" => "time",
        "time with time zone" => "timetz",
        "interval" => "interval",
        "bit" => "bit",
        _ => return text,
    };
    format!("pg_catalog.{keyword}")
}

/// Types of the input arguments.
pub fn types_of(args: &[WrittenArg], tx: &Transaction, context: &DdlContext<'_>) -> Result<Vec<TypeOid>> {
    let inputs = args.iter().filter(|a| a.mode.is_input());
    let mut binder = expression::binder(context.source.clone(), tx, context);
    inputs.map(|a| binder.bind_type(&a.ty).map(|t| t.oid)).collect()
}

pub fn drop(
    kind: RoutineKind,
    names: &[RoutineName],
    if_exists: bool,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    for name in names {
        let Some(routine) = find_named(kind, name, if_exists, true, tx, context)? else { continue };
        let (of, kind) = ((routine.owner, routine.schema), routine.kind_name());
        ownership::check_may_drop(&tx.catalog(), context.user, of, kind, &routine.name)?;
        super::drop::drop_routine(&routine, cascade, tx, context)?;
    }
    Ok(match kind {
        RoutineKind::Function => "DROP FUNCTION",
        RoutineKind::Procedure => "DROP PROCEDURE",
        RoutineKind::Aggregate => "DROP AGGREGATE",
        RoutineKind::Routine => "DROP ROUTINE",
    }
    .to_owned())
}

pub fn alter(
    kind: RoutineKind,
    name: &RoutineName,
    change: &RoutineChange,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let Some(routine) = find_named(kind, name, false, false, tx, context)? else {
        return Err(Error::internal("a routine that is missing"));
    };
    let catalog = tx.catalog();
    privilege::check_owner(&catalog, context.user, routine.owner, routine.kind_name(), &routine.name)?;
    let mut new = (*routine).clone();
    match change {
        RoutineChange::Relation(RelationChange::Rename(to)) => new.name = names::ident(to),
        RoutineChange::Relation(RelationChange::SetSchema(schema)) => {
            new.schema = ownership::new_schema(schema, routine.schema, &catalog, context)?;
        }
        RoutineChange::Relation(RelationChange::Owner(role)) => {
            new.owner = ownership::new_owner(role, routine.owner, routine.schema, &catalog, context)?;
        }
        RoutineChange::Relation(_) => return Err(Error::unsupported("this form of ALTER FUNCTION")),
        RoutineChange::Attributes(a) => set_attributes(&mut new, a)?,
    }
    let moved = new.name != routine.name || new.schema != routine.schema;
    if moved && find(&catalog, new.schema, &new.name, &new.input_types()).is_some() {
        return Err(Error::new(
            SqlState::DuplicateFunction,
            format!("function {} already exists in schema \"{}\"", new.signature(), catalog.schema_name(new.schema)),
        ));
    }
    put(tx, Object::Routine(Arc::new(new)))?;
    Ok(match kind {
        RoutineKind::Function => "ALTER FUNCTION",
        RoutineKind::Procedure => "ALTER PROCEDURE",
        RoutineKind::Aggregate => "ALTER AGGREGATE",
        RoutineKind::Routine => "ALTER ROUTINE",
    }
    .to_owned())
}

fn set_attributes(routine: &mut RoutineDef, a: &Attributes) -> Result<()> {
    if a.security_definer == Some(true) {
        return Err(Error::unsupported("SECURITY DEFINER"));
    }
    routine.volatility = a.volatility.unwrap_or(routine.volatility);
    routine.strict = a.strict.unwrap_or(routine.strict);
    routine.leakproof = a.leakproof.unwrap_or(routine.leakproof);
    routine.parallel = a.parallel.unwrap_or(routine.parallel);
    routine.cost = a.cost.unwrap_or(routine.cost);
    routine.rows = a.rows.unwrap_or(routine.rows);
    Ok(())
}

/// COMMENT ON FUNCTION.
pub fn comment(
    kind: RoutineKind,
    name: &RoutineName,
    text: Option<&str>,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let Some(routine) = find_named(kind, name, false, false, tx, context)? else {
        return Err(Error::internal("a routine that is missing"));
    };
    privilege::check_owner(&tx.catalog(), context.user, routine.owner, routine.kind_name(), &routine.name)?;
    let comment = text.filter(|t| !t.is_empty()).map(str::to_owned);
    put(tx, Object::Routine(Arc::new(RoutineDef { comment, ..(*routine).clone() })))?;
    Ok("COMMENT".to_owned())
}
