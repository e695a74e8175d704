//! CREATE AGGREGATE (aggregatecmds.c, pg_aggregate.c): a routine with a transition function and what belongs to it.

use std::sync::Arc;

use sqlparser::ast::ObjectName;

use super::aggregate_syntax::{AttributeValue, CreateAggregate};
use super::names::Name;
use super::{DdlContext, allocate, expression, privilege, put};
use crate::catalog::{AggregateDef, ArgMode, Catalog, Object, Oid, RoutineArg, RoutineDef, SearchPath};
use crate::error::{Error, Result, SqlState};
use crate::functions::resolve::{self, Generics, Resolution, is_polymorphic};
use crate::functions::{CastContext, CastPath, Kind, find_cast, registry};
use crate::system::deparse::type_name;
use crate::txn::Transaction;
use crate::types::{PgType, TypeOid};

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidFunctionDefinition, message)
}

/// What was written, by its meaning.
#[derive(Default)]
struct Written<'a> {
    transition: Option<&'a AttributeValue>,
    finish: Option<&'a AttributeValue>,
    combine: Option<&'a AttributeValue>,
    serial: Option<&'a AttributeValue>,
    deserial: Option<&'a AttributeValue>,
    moving: bool,
    finish_extra: bool,
    finish_modify: Option<&'a AttributeValue>,
    sort_operator: Option<&'a AttributeValue>,
    base: Option<&'a AttributeValue>,
    hypothetical: bool,
    state: Option<&'a AttributeValue>,
    state_space: i32,
    initial: Option<&'a AttributeValue>,
    parallel: Option<&'a AttributeValue>,
}

impl<'a> Written<'a> {
    fn new(create: &'a CreateAggregate, context: &mut DdlContext<'_>) -> Result<Written<'a>> {
        let mut w = Written::default();
        for attribute in &create.attributes {
            let value = &attribute.value;
            let flag = || match value.text.to_lowercase().as_str() {
                "" | "true" | "on" | "1" => Ok(true),
                "false" | "off" | "0" => Ok(false),
                _ => Err(Error::new(SqlState::SyntaxError, format!("{} requires a Boolean value", attribute.name))),
            };
            match attribute.name.as_str() {
                "sfunc" | "sfunc1" => w.transition = Some(value),
                "finalfunc" => w.finish = Some(value),
                "combinefunc" => w.combine = Some(value),
                "serialfunc" => w.serial = Some(value),
                "deserialfunc" => w.deserial = Some(value),
                "msfunc" | "minvfunc" | "mfinalfunc" | "mstype" | "msspace" | "minitcond" | "mfinalfunc_extra"
                | "mfinalfunc_modify" => w.moving = true,
                "finalfunc_extra" => w.finish_extra = flag()?,
                "finalfunc_modify" => w.finish_modify = Some(value),
                "sortop" => w.sort_operator = Some(value),
                "basetype" => w.base = Some(value),
                "hypothetical" => w.hypothetical = flag()?,
                "stype" | "stype1" => w.state = Some(value),
                "sspace" => {
                    let number = value.text.parse();
                    w.state_space =
                        number.map_err(|_| Error::new(SqlState::SyntaxError, "sspace requires an integer value"))?;
                }
                "initcond" | "initcond1" => w.initial = Some(value),
                "parallel" => w.parallel = Some(value),
                other => {
                    let message = format!("aggregate attribute \"{other}\" not recognized");
                    context.warning(SqlState::SyntaxError, message);
                }
            }
        }
        Ok(w)
    }
}

fn function_name(value: &AttributeValue) -> Result<&ObjectName> {
    value
        .name
        .as_ref()
        .ok_or_else(|| Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{}\"", value.text)))
}

fn letter(value: Option<&AttributeValue>, what: &str, words: &[(&str, char)], message: &str) -> Result<char> {
    let Some(value) = value else { return Ok(words.first().map_or('u', |w| w.1)) };
    let text = value.text.to_lowercase();
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, letter)| *letter);
    found.ok_or_else(|| Error::new(SqlState::SyntaxError, format!("parameter \"{what}\" must be {message}")))
}

pub fn create(create: &CreateAggregate, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let catalog = tx.catalog();
    let path = context.path(&catalog);
    let name = Name::new(&create.name, &catalog)?;
    let schema = name.creation_schema(&catalog, &path)?;
    privilege::check_create(&catalog, context.user, schema)?;
    let written = Written::new(create, context)?;
    let state = written.state.ok_or_else(|| invalid("aggregate stype must be specified"))?;
    let transition = written.transition.ok_or_else(|| invalid("aggregate sfunc must be specified"))?;
    let args = arguments(create, &written, tx, context)?;
    let state = bind_type(state, tx, context)?;
    let pseudo = crate::types::names::row(state.oid).is_some_and(|t| t.kind == b'p');
    if written.serial.is_some() != written.deserial.is_some() {
        return Err(invalid("must specify both or neither of serialization and deserialization functions"));
    }
    match state.oid {
        TypeOid::INTERNAL => return Err(Error::unsupported("an aggregate whose state is of type internal")),
        _ if pseudo && !is_polymorphic(state.oid) => {
            return Err(invalid(format!("aggregate transition data type cannot be {}", type_name(state))));
        }
        _ if written.serial.is_some() => {
            let message =
                "serialization functions may be specified only when the aggregate transition data type is internal";
            return Err(invalid(message));
        }
        _ => {}
    }
    if create.ordered || written.hypothetical {
        return Err(Error::unsupported("CREATE AGGREGATE of an ordered-set aggregate"));
    }
    if written.moving {
        return Err(Error::unsupported("CREATE AGGREGATE with functions for moving frames"));
    }
    let parallel = letter(
        written.parallel,
        "parallel",
        &[("unsafe", 'u'), ("safe", 's'), ("restricted", 'r')],
        "SAFE, RESTRICTED, or UNSAFE",
    )?;
    let finish_modify = letter(
        written.finish_modify,
        "finalfunc_modify",
        &[("read_only", 'r'), ("shareable", 's'), ("read_write", 'w')],
        "READ_ONLY, SHAREABLE, or READ_WRITE",
    )?;
    let types: Vec<TypeOid> = args.iter().map(|a| a.ty.oid).collect();
    super::routine::check_determined(state.oid, &args, "transition")?;
    if let (Some(initial), false) = (written.initial, pseudo) {
        // The text must be a value of the type.
        crate::types::text::parse(&initial.text, state, &context.eval.format)?;
    }
    let lookup =
        |value: &AttributeValue, types: &[TypeOid]| find_function(function_name(value)?, types, &catalog, &path);
    let with_state: Vec<TypeOid> = std::iter::once(state.oid).chain(types.iter().copied()).collect();
    let step = lookup(transition, &with_state)?;
    wanted(&step, state, "transition")?;
    if step.strict && written.initial.is_none() && !types.first().is_some_and(|ty| same_bits(*ty, state.oid)) {
        return Err(invalid(
            "must not omit initial value when transition function is strict and transition type is not compatible with \
             input type",
        ));
    }
    let finish = written
        .finish
        .map(|value| lookup(value, if written.finish_extra { &with_state } else { &with_state[..1] }))
        .transpose()?;
    if finish.as_ref().is_some_and(|f| f.strict) && written.finish_extra {
        return Err(invalid("final function with extra arguments must not be declared STRICT"));
    }
    let ret = finish.as_ref().map_or(state.oid, |f| f.ret);
    let combine = written.combine.map(|value| lookup(value, &[state.oid, state.oid])).transpose()?;
    if let Some(combine) = &combine {
        wanted(combine, state, "combine")?;
    }
    super::routine::check_determined(ret, &args, "result")?;
    let sort_operator = match written.sort_operator {
        None => 0,
        Some(value) => sort_operator(value, &types)?,
    };
    let old = super::routine::find(&catalog, schema, &name.name, &types).cloned();
    if let Some(old) = &old {
        check_replacement(create.or_replace, old, ret, &catalog, context)?;
    }
    let depends_on = [Some(step.oid), finish.as_ref().map(|f| f.oid), combine.as_ref().map(|f| f.oid)];
    let depends_on: Vec<Oid> = depends_on.into_iter().flatten().filter(|o| catalog.routines.contains_key(o)).collect();
    let routine = RoutineDef {
        oid: match &old {
            Some(old) => old.oid,
            None => allocate(tx)?,
        },
        schema,
        name: name.name,
        owner: old.as_ref().map_or(context.user, |o| o.owner),
        procedure: false,
        args,
        ret: ret.into(),
        ret_relation: None,
        returns_set: false,
        strict: false,
        volatility: 'i',
        security_definer: false,
        leakproof: false,
        parallel,
        cost: 1.0,
        rows: 0.0,
        body: "aggregate_dummy".to_owned(),
        standard_body: false,
        runs: false,
        columns: Vec::new(),
        depends_on,
        comment: old.as_ref().and_then(|o| o.comment.clone()),
        aggregate: Some(AggregateDef {
            transition: step.oid,
            finish: finish.map(|f| f.oid),
            combine: combine.map(|f| f.oid),
            finish_extra: written.finish_extra,
            finish_modify,
            state,
            state_space: written.state_space,
            initial: written.initial.map(|v| v.text.clone()),
            sort_operator,
        }),
    };
    put(tx, Object::Routine(Arc::new(routine)))?;
    Ok("CREATE AGGREGATE".to_owned())
}

fn bind_type(value: &AttributeValue, tx: &Transaction, context: &DdlContext<'_>) -> Result<PgType> {
    let undefined = || Error::new(SqlState::UndefinedObject, format!("type \"{}\" does not exist", value.text));
    let ty = value.ty.as_ref().ok_or_else(undefined)?;
    let ty = expression::binder(context.source.clone(), tx, context).bind_type(ty)?;
    super::privilege::check_type(&tx.catalog(), context.user, ty.oid)?;
    Ok(ty)
}

fn arguments(
    create: &CreateAggregate,
    written: &Written<'_>,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<Vec<RoutineArg>> {
    let plain = |ty: PgType| RoutineArg { name: None, ty, mode: ArgMode::In, default: None };
    let Some(args) = &create.args else {
        let base = written.base.ok_or_else(|| invalid("aggregate input type must be specified"))?;
        if base.text.trim_matches('"').eq_ignore_ascii_case("any") {
            return Ok(Vec::new());
        }
        return Ok(vec![plain(bind_type(base, tx, context)?)]);
    };
    if written.base.is_some() {
        return Err(invalid("basetype is redundant with aggregate input type specification"));
    }
    let mut out = Vec::with_capacity(args.len());
    for arg in args {
        if !arg.mode.is_input() || arg.mode == ArgMode::InOut {
            return Err(invalid("aggregates cannot have output arguments"));
        }
        if arg.default.is_some() {
            return Err(invalid("aggregate parameters cannot have default values"));
        }
        let ty = expression::binder(context.source.clone(), tx, context).bind_type(&arg.ty)?;
        super::privilege::check_type(&tx.catalog(), context.user, ty.oid)?;
        out.push(RoutineArg { name: arg.name.clone(), ty, mode: arg.mode, default: None });
    }
    Ok(out)
}

fn check_replacement(
    or_replace: bool,
    old: &RoutineDef,
    ret: TypeOid,
    catalog: &Catalog,
    context: &DdlContext<'_>,
) -> Result<()> {
    if !or_replace {
        let message = format!("function \"{}\" already exists with same argument types", old.name);
        return Err(Error::new(SqlState::DuplicateFunction, message));
    }
    privilege::check_owner(catalog, context.user, old.owner, old.kind_name(), &old.name)?;
    if old.aggregate.is_none() {
        let what = if old.procedure { "procedure" } else { "function" };
        return Err(Error::new(SqlState::WrongObjectType, "cannot change routine kind")
            .detail(format!("\"{}\" is a {what}.", old.name)));
    }
    if old.ret.oid != ret {
        return Err(invalid("cannot change return type of existing function")
            .hint(format!("Use DROP AGGREGATE {} first.", old.signature())));
    }
    Ok(())
}

/// A function that an aggregate is made of.
struct Found {
    oid: Oid,
    name: String,
    ret: TypeOid,
    strict: bool,
}

fn wanted(found: &Found, state: PgType, what: &str) -> Result<()> {
    if found.ret == state.oid {
        return Ok(());
    }
    let message = format!("return type of {what} function {} is not {}", found.name, type_name(state));
    Err(Error::new(SqlState::DatatypeMismatch, message))
}

/// Whether values of one type are values of another as they are.
fn same_bits(from: TypeOid, to: TypeOid) -> bool {
    from == to
        || to == TypeOid::ANY
        || to == TypeOid::ANYELEMENT
        || (to == TypeOid::ANYARRAY && from.element().is_some())
        || matches!(find_cast(from, to, CastContext::Implicit), Some(CastPath::Relabel))
}

/// Types that stand for polymorphic ones while a function is looked for: no cast leads to or from them.
const STAND_INS: [(TypeOid, TypeOid); 5] = [
    (TypeOid::ANYELEMENT, TypeOid::UUID),
    (TypeOid::ANYNONARRAY, TypeOid::UUID),
    (TypeOid::ANYARRAY, TypeOid::UUID_ARRAY),
    (resolve::ANYCOMPATIBLE, TypeOid::JSONPATH),
    (resolve::ANYCOMPATIBLEARRAY, TypeOid::JSONPATH_ARRAY),
];

fn find_function(name: &ObjectName, types: &[TypeOid], catalog: &Catalog, path: &SearchPath) -> Result<Found> {
    let polymorphic = types.iter().any(|t| is_polymorphic(*t));
    let stand_in = |ty: &TypeOid| STAND_INS.iter().find(|(p, _)| p == ty).map_or(*ty, |(_, s)| *s);
    let back = |ty: TypeOid| match STAND_INS.iter().find(|(_, s)| *s == ty) {
        Some((p, _)) if polymorphic => *p,
        _ => ty,
    };
    let given: Vec<TypeOid> = types.iter().map(stand_in).collect();
    let written = Name::new(name, catalog)?;
    let signature = || {
        let types: Vec<String> = types.iter().map(|t| type_name(PgType::from(*t))).collect();
        format!("{written}({})", types.join(", "))
    };
    let missing = || Error::new(SqlState::UndefinedFunction, format!("function {} does not exist", signature()));
    let coerced = |settled: &[TypeOid], declared: &[TypeOid]| {
        let fits = given.iter().zip(settled).all(|(is, to)| same_bits(*is, *to));
        if fits {
            return Ok(());
        }
        let types: Vec<String> = declared.iter().map(|t| type_name(PgType::from(*t))).collect();
        let message = format!("function {written}({}) requires run-time type coercion", types.join(", "));
        Err(Error::new(SqlState::DatatypeMismatch, message))
    };
    if written.schema.as_deref().is_none_or(|s| s == "pg_catalog")
        && let Ok(Resolution::Function(found)) =
            resolve::resolve_among(registry().lookup(&written.name), &written.name, &given, false)
    {
        if found.function.kind != Kind::Scalar {
            return Err(missing());
        }
        if found.function.returns_set {
            let message = format!("function {} returns a set", signature());
            return Err(Error::new(SqlState::DatatypeMismatch, message));
        }
        coerced(&found.args, &found.function.args)?;
        let (oid, strict) = (Oid(found.function.oid), found.function.strict);
        return Ok(Found { oid, name: written.name.clone(), ret: back(found.ret), strict });
    }
    let mut best: Option<(usize, &Arc<RoutineDef>, Generics)> = None;
    for routine in catalog.routines_named(written.schema.as_deref(), &written.name, path) {
        let declared = routine.input_types();
        if routine.procedure || routine.aggregate.is_some() || declared.len() != given.len() {
            continue;
        }
        let fits = given
            .iter()
            .zip(&declared)
            .all(|(is, to)| is == to || is_polymorphic(*to) || find_cast(*is, *to, CastContext::Implicit).is_some());
        let Some(generics) = Generics::solve(&declared, &given).ok().filter(|_| fits) else { continue };
        let exact = given.iter().zip(&declared).filter(|(is, to)| is == to).count();
        if best.as_ref().is_none_or(|(known, ..)| exact > *known) {
            best = Some((exact, routine, generics));
        }
    }
    let (_, routine, generics) = best.ok_or_else(missing)?;
    if routine.returns_set {
        let message = format!("function {} returns a set", signature());
        return Err(Error::new(SqlState::DatatypeMismatch, message));
    }
    let declared = routine.input_types();
    let settled = declared.iter().zip(&given).map(|(to, is)| if is_polymorphic(*to) { *is } else { *to });
    coerced(&settled.collect::<Vec<_>>(), &declared)?;
    let ret = back(generics.result(routine.ret.oid)?);
    Ok(Found { oid: routine.oid, name: routine.name.clone(), ret, strict: routine.strict })
}

/// The operator by which the aggregate is the first or last value.
fn sort_operator(value: &AttributeValue, types: &[TypeOid]) -> Result<u32> {
    let [ty] = types else {
        return Err(invalid("sort operator can only be specified for single-argument aggregates"));
    };
    let text = value.text.to_lowercase();
    let name = text.strip_prefix("operator(").and_then(|t| t.strip_suffix(')')).unwrap_or(&text);
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    let found = registry().operator(name, Some(*ty), *ty);
    found.map(|o| o.oid).ok_or_else(|| {
        let ty = type_name(PgType::from(*ty));
        Error::new(SqlState::UndefinedFunction, format!("operator does not exist: {ty} {name} {ty}"))
    })
}
