//! Which function or operator a call means (PostgreSQL manual, chapter 10; parse_func.c, parse_oper.c, parse_coerce.c).
//!
//! Everything here is a function of names and types alone. `UNKNOWN` is an untyped literal or parameter.

use std::sync::Arc;

use super::casts::{CastContext, find_cast};
use super::extension;
use super::registry::{Operator, registry};
use super::{Function, Kind};
use crate::error::{Error, Result, SqlState};
use crate::types::names::{self, format_type};
use crate::types::{PgType, TypeOid};

pub const ANYENUM: TypeOid = TypeOid(3500);
pub const ANYRANGE: TypeOid = TypeOid(3831);
pub const ANYMULTIRANGE: TypeOid = TypeOid(4537);
pub const ANYCOMPATIBLE: TypeOid = TypeOid(5077);
pub const ANYCOMPATIBLEARRAY: TypeOid = TypeOid(5078);
pub const ANYCOMPATIBLENONARRAY: TypeOid = TypeOid(5079);
pub const ANYCOMPATIBLERANGE: TypeOid = TypeOid(5080);
pub const ANYCOMPATIBLEMULTIRANGE: TypeOid = TypeOid(4538);

/// The function that a call means.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub function: Arc<Function>,
    /// Type that each argument of the call must be converted to; as many as the call has.
    pub args: Vec<TypeOid>,
    /// Arguments from here on are collected into an array (VARIADIC with a type, not VARIADIC "any").
    pub variadic_from: Option<usize>,
    pub ret: TypeOid,
}

#[derive(Debug, Clone)]
pub struct ResolvedOperator {
    pub operator: Arc<Operator>,
    /// `None` for a prefix operator.
    pub left: Option<TypeOid>,
    pub right: TypeOid,
    pub ret: TypeOid,
}

/// What `name(arguments)` is.
#[derive(Debug, Clone)]
pub enum Resolution {
    Function(Resolved),
    /// `int4('3')`: a type's name called with one argument.
    Cast(PgType),
}

/// `f(integer, text)`, for messages.
pub fn signature(name: &str, args: &[TypeOid]) -> String {
    let args: Vec<String> = args.iter().map(|a| format_type(*a, -1)).collect();
    format!("{name}({})", args.join(", "))
}

/// A way to call a function: its argument types for this many arguments.
#[derive(Clone)]
struct Candidate<T> {
    item: T,
    args: Vec<TypeOid>,
    variadic_from: Option<usize>,
}

/// Resolves a call by position (42883, 42725).
pub fn resolve_function(name: &str, args: &[TypeOid]) -> Result<Resolution> {
    resolve_call(name, args, false)
}

/// Resolves a call; `explicit_variadic`: its last argument was written VARIADIC.
pub fn resolve_call(name: &str, args: &[TypeOid], explicit_variadic: bool) -> Result<Resolution> {
    resolve_among(registry().lookup(name), name, args, explicit_variadic)
}

/// Whether a call may mean a function or operator: one of an extension needs a type of an extension among the arguments, unless
/// nothing else has its name.
fn in_reach(oid: u32, args: &[TypeOid], alone: bool) -> bool {
    alone || extension::of(oid).is_none() || args.iter().any(|a| extension::is_type(*a))
}

/// Resolves a call among given overloads.
pub fn resolve_among(
    overloads: &[Arc<Function>],
    name: &str,
    args: &[TypeOid],
    explicit_variadic: bool,
) -> Result<Resolution> {
    let alone = overloads.iter().all(|f| extension::of(f.oid).is_some());
    let candidates: Vec<Candidate<Arc<Function>>> = overloads
        .iter()
        .filter(|f| in_reach(f.oid, args, alone))
        .filter_map(|f| candidate(f, args.len(), explicit_variadic))
        .collect();
    let exact = candidates.iter().find(|c| c.args == args && c.variadic_from.is_none());
    if let Some(exact) = exact.or_else(|| candidates.iter().find(|c| c.args == args)) {
        return finish(exact, args).map(Resolution::Function);
    }
    if let [arg] = args
        && let Some(cast) = type_conversion(name, *arg, &candidates)
    {
        return Ok(Resolution::Cast(cast));
    }
    match best(candidates, args) {
        Choice::One(candidate) => finish(&candidate, args).map(Resolution::Function),
        Choice::None => {
            let error =
                Error::new(SqlState::UndefinedFunction, format!("function {} does not exist", signature(name, args)));
            let shown_as_procedure = overloads.iter().any(|f| f.kind == Kind::Procedure);
            let hint =
                "No function matches the given name and argument types. You might need to add explicit type casts.";
            Err(if shown_as_procedure { error } else { error.hint(hint) })
        }
        Choice::Many => {
            Err(Error::new(SqlState::AmbiguousFunction, format!("function {} is not unique", signature(name, args)))
                .hint("Could not choose a best candidate function. You might need to add explicit type casts."))
        }
    }
}

/// `typename(x)` as a cast: of an unknown literal, or one that changes no bits or goes through text.
fn type_conversion(name: &str, arg: TypeOid, candidates: &[Candidate<Arc<Function>>]) -> Option<PgType> {
    let target = names::lookup(name)?;
    let row = names::row(target)?;
    if !matches!(row.kind, b'b' | b'r' | b'm') {
        return None;
    }
    if arg == TypeOid::UNKNOWN {
        return Some(target.into());
    }
    let fits = candidates.iter().any(|c| c.args.first().is_some_and(|a| coercible(arg, *a)));
    match find_cast(arg, target, CastContext::Explicit)? {
        super::CastPath::Relabel => Some(target.into()),
        super::CastPath::InOut if !fits => Some(target.into()),
        _ => None,
    }
}

fn candidate(function: &Arc<Function>, count: usize, explicit_variadic: bool) -> Option<Candidate<Arc<Function>>> {
    let declared = &function.args;
    match function.variadic {
        Some(element) if !explicit_variadic => {
            let fixed = declared.len() - 1;
            // VARIADIC "any" takes no argument at all only where PostgreSQL's function does.
            if count < declared.len() {
                return None;
            }
            let mut args = declared[..fixed].to_vec();
            args.resize(count, element);
            let variadic_from = (element != TypeOid::ANY).then_some(fixed);
            Some(Candidate { item: Arc::clone(function), args, variadic_from })
        }
        _ => {
            let least = declared.len() - function.defaults.min(declared.len());
            (least..=declared.len()).contains(&count).then(|| Candidate {
                item: Arc::clone(function),
                args: declared[..count].to_vec(),
                variadic_from: None,
            })
        }
    }
}

/// Fills polymorphic types in from the actual arguments.
fn finish(candidate: &Candidate<Arc<Function>>, actual: &[TypeOid]) -> Result<Resolved> {
    let function = &candidate.item;
    let generics = Generics::solve(&candidate.args, actual)?;
    let args = generics.arguments(&candidate.args, actual)?;
    let ret = generics.result(function.ret)?;
    Ok(Resolved { function: Arc::clone(function), args, variadic_from: candidate.variadic_from, ret })
}

/// The operator that is meant: `left` is `None` for a prefix operator (42883, 42725).
pub fn resolve_operator(name: &str, left: Option<TypeOid>, right: TypeOid) -> Result<ResolvedOperator> {
    let operators = registry().operators_named(name);
    let given: Vec<TypeOid> = left.into_iter().chain([right]).collect();
    let of_kind = operators.iter().filter(|o| o.left.is_some() == left.is_some() && in_reach(o.oid, &given, false));
    let candidates: Vec<Candidate<Arc<Operator>>> = of_kind
        .map(|o| Candidate {
            item: Arc::clone(o),
            args: o.left.into_iter().chain([o.right]).collect(),
            variadic_from: None,
        })
        .collect();
    let args: Vec<TypeOid> = left.into_iter().chain([right]).collect();
    // Exact match; an unknown side is taken to have the other's type.
    let assumed: Vec<TypeOid> = match args.as_slice() {
        [TypeOid::UNKNOWN, known] => vec![*known, *known],
        [known, TypeOid::UNKNOWN] => vec![*known, *known],
        _ => args.clone(),
    };
    let exact = candidates.iter().find(|c| c.args == assumed && !assumed.contains(&TypeOid::UNKNOWN));
    let choice = match exact {
        Some(exact) => Choice::One(exact.clone()),
        None => best(candidates, &args),
    };
    match choice {
        Choice::One(candidate) => {
            let generics = Generics::solve(&candidate.args, &args)?;
            let types = generics.arguments(&candidate.args, &args)?;
            let ret = generics.result(candidate.item.ret)?;
            let right = types.last().copied().unwrap_or(right);
            Ok(ResolvedOperator { operator: candidate.item, left: left.and(types.first().copied()), right, ret })
        }
        Choice::None => {
            let (shown, hint) = operator_shown(name, left, right);
            Err(Error::new(SqlState::UndefinedFunction, format!("operator does not exist: {shown}")).hint(hint))
        }
        Choice::Many => {
            let (shown, _) = operator_shown(name, left, right);
            Err(Error::new(SqlState::AmbiguousFunction, format!("operator is not unique: {shown}"))
                .hint("Could not choose a best candidate operator. You might need to add explicit type casts."))
        }
    }
}

fn operator_shown(name: &str, left: Option<TypeOid>, right: TypeOid) -> (String, &'static str) {
    let right = format_type(right, -1);
    match left {
        Some(left) => (
            format!("{} {name} {right}", format_type(left, -1)),
            "No operator matches the given name and argument types. You might need to add explicit type casts.",
        ),
        None => (
            format!("{name} {right}"),
            "No operator matches the given name and argument type. You might need to add an explicit type cast.",
        ),
    }
}

enum Choice<T> {
    None,
    One(Candidate<T>),
    Many,
}

/// Candidates that accept the arguments, narrowed to the best.
fn best<T: Clone>(candidates: Vec<Candidate<T>>, args: &[TypeOid]) -> Choice<T> {
    let mut viable: Vec<Candidate<T>> = candidates.into_iter().filter(|c| accepts(&c.args, args)).collect();
    // Of a plain and a variadic form that come to the same types the plain one counts.
    let plain: Vec<Vec<TypeOid>> =
        viable.iter().filter(|c| c.variadic_from.is_none()).map(|c| c.args.clone()).collect();
    viable.retain(|c| c.variadic_from.is_none() || !plain.contains(&c.args));
    match viable.len() {
        0 => return Choice::None,
        1 => {}
        _ => viable = select(viable, args),
    }
    match viable.len() {
        1 => viable.pop().map_or(Choice::None, Choice::One),
        _ => Choice::Many,
    }
}

fn accepts(declared: &[TypeOid], actual: &[TypeOid]) -> bool {
    declared.iter().zip(actual).all(|(d, a)| coercible(*a, *d)) && Generics::solve(declared, actual).is_ok()
}

/// can_coerce_type for one argument, implicit context.
pub fn coercible(from: TypeOid, to: TypeOid) -> bool {
    from == to
        || to == TypeOid::ANY
        || from == TypeOid::UNKNOWN
        || is_polymorphic(to)
        || find_cast(from, to, CastContext::Implicit).is_some()
}

fn category(oid: TypeOid) -> u8 {
    names::category(oid)
}

fn preferred(oid: TypeOid) -> bool {
    names::row(oid).is_some_and(|r| r.preferred)
}

fn keep_best<T>(candidates: Vec<Candidate<T>>, score: impl Fn(&Candidate<T>) -> usize) -> Vec<Candidate<T>> {
    let top = candidates.iter().map(&score).max().unwrap_or(0);
    candidates.into_iter().filter(|c| score(c) == top).collect()
}

/// func_select_candidate.
fn select<T: Clone>(candidates: Vec<Candidate<T>>, args: &[TypeOid]) -> Vec<Candidate<T>> {
    let known = |i: usize| args.get(i).is_some_and(|a| *a != TypeOid::UNKNOWN);
    let exact =
        |c: &Candidate<T>| c.args.iter().zip(args).enumerate().filter(|(i, (d, a))| known(*i) && d == a).count();
    let candidates = keep_best(candidates, exact);
    if candidates.len() == 1 {
        return candidates;
    }
    let liked = |c: &Candidate<T>| {
        let matches = |(i, (d, a)): (usize, (&TypeOid, &TypeOid))| {
            known(i) && (d == a || (preferred(*d) && category(*d) == category(*a)))
        };
        c.args.iter().zip(args).enumerate().filter(|pair| matches(*pair)).count()
    };
    let candidates = keep_best(candidates, liked);
    let unknowns: Vec<usize> = (0..args.len()).filter(|i| !known(*i)).collect();
    if candidates.len() == 1 || unknowns.is_empty() {
        return candidates;
    }
    let candidates = settle_unknowns(candidates, &unknowns);
    if candidates.len() == 1 {
        return candidates;
    }
    // All known arguments of one type: assume the unknown ones have it too.
    let mut knowns = args.iter().filter(|a| **a != TypeOid::UNKNOWN);
    if let Some(first) = knowns.next().filter(|first| knowns.all(|k| k == *first)) {
        let assumed = vec![*first; args.len()];
        let fitting: Vec<Candidate<T>> = candidates.iter().filter(|c| accepts(&c.args, &assumed)).cloned().collect();
        if fitting.len() == 1 {
            return fitting;
        }
    }
    candidates
}

/// Picks a type category for each unknown argument (strings if any candidate takes strings) and keeps what fits it.
fn settle_unknowns<T: Clone>(candidates: Vec<Candidate<T>>, unknowns: &[usize]) -> Vec<Candidate<T>> {
    let at = |c: &Candidate<T>, i: usize| c.args.get(i).copied().unwrap_or(TypeOid::UNKNOWN);
    let mut slots = Vec::new();
    for i in unknowns {
        let categories: Vec<u8> = candidates.iter().map(|c| category(at(c, *i))).collect();
        let chosen = if categories.contains(&b'S') {
            b'S'
        } else if categories.windows(2).all(|w| w[0] == w[1]) {
            categories.first().copied().unwrap_or(b'X')
        } else {
            return candidates;
        };
        let has_preferred = candidates.iter().any(|c| category(at(c, *i)) == chosen && preferred(at(c, *i)));
        slots.push((*i, chosen, has_preferred));
    }
    let fits = |c: &&Candidate<T>| {
        slots.iter().all(|(i, chosen, has_preferred)| {
            let ty = at(c, *i);
            category(ty) == *chosen && (!has_preferred || preferred(ty))
        })
    };
    let fitting: Vec<Candidate<T>> = candidates.iter().filter(fits).cloned().collect();
    if fitting.is_empty() { candidates } else { fitting }
}

pub fn is_polymorphic(oid: TypeOid) -> bool {
    [
        TypeOid::ANYELEMENT,
        TypeOid::ANYARRAY,
        TypeOid::ANYNONARRAY,
        ANYENUM,
        ANYRANGE,
        ANYMULTIRANGE,
        ANYCOMPATIBLE,
        ANYCOMPATIBLEARRAY,
        ANYCOMPATIBLENONARRAY,
        ANYCOMPATIBLERANGE,
        ANYCOMPATIBLEMULTIRANGE,
    ]
    .contains(&oid)
}

/// A polymorphic type that stands for ranges or multiranges.
fn is_range(oid: TypeOid) -> bool {
    [ANYRANGE, ANYMULTIRANGE, ANYCOMPATIBLERANGE, ANYCOMPATIBLEMULTIRANGE].contains(&oid)
}

/// What the polymorphic types of one call stand for.
#[derive(Debug, Default)]
pub struct Generics {
    element: Option<TypeOid>,
    range: Option<TypeOid>,
    multirange: Option<TypeOid>,
    compatible: Option<TypeOid>,
    compatible_range: Option<TypeOid>,
    compatible_multirange: Option<TypeOid>,
}

fn undetermined() -> Error {
    Error::new(SqlState::DatatypeMismatch, "could not determine polymorphic type because input has type unknown")
}

fn mismatch(declared: &str, a: TypeOid, b: TypeOid) -> Error {
    Error::new(SqlState::DatatypeMismatch, format!("arguments declared \"{declared}\" are not all alike"))
        .detail(format!("{} versus {}", format_type(a, -1), format_type(b, -1)))
}

fn is_not(declared: &str, what: &str, oid: TypeOid) -> Error {
    let message = format!("argument declared {declared} is not {what} but type {}", format_type(oid, -1));
    Error::new(SqlState::DatatypeMismatch, message)
}

fn not_an_array(oid: TypeOid) -> Error {
    is_not("anyarray", "an array", oid)
}

fn inconsistent(declared: (&str, TypeOid), other: (&str, TypeOid)) -> Error {
    let message = format!("argument declared {} is not consistent with argument declared {}", declared.0, other.0);
    Error::new(SqlState::DatatypeMismatch, message).detail(format!(
        "{} versus {}",
        format_type(declared.1, -1),
        format_type(other.1, -1)
    ))
}

/// 42804 for an unknown literal that would have to be a range of a type that nothing tells.
fn unsettled(declared: TypeOid) -> Error {
    let name = format_type(declared, -1);
    let message = format!("could not determine polymorphic type {name} because input has type unknown");
    Error::new(SqlState::DatatypeMismatch, message)
}

/// The one type of arguments that are declared alike.
fn alike(known: &mut Option<TypeOid>, declared: &str, actual: TypeOid) -> Result<()> {
    match known.filter(|other| *other != actual) {
        Some(other) => Err(mismatch(declared, other, actual)),
        None => {
            *known = Some(actual);
            Ok(())
        }
    }
}

/// The range type that arguments of a range and a multirange have in common, checked to be one.
fn common_range(
    range: Option<TypeOid>,
    multirange: Option<TypeOid>,
    names: (&str, &str),
) -> Result<Option<(TypeOid, TypeOid)>> {
    let mut range = range;
    if let Some(multirange) = multirange {
        let of = multirange.multirange_range().ok_or_else(|| is_not(names.1, "a multirange type", multirange))?;
        match range.filter(|range| *range != of) {
            Some(range) => return Err(inconsistent((names.1, multirange), (names.0, range))),
            None => range = Some(of),
        }
    }
    let Some(range) = range else { return Ok(None) };
    let subtype = range.is_range().then(|| range.range_subtype()).flatten();
    let subtype = subtype.ok_or_else(|| is_not(names.0, "a range type", range))?;
    Ok(Some((range, subtype)))
}

/// Element type of an array, int2vector and oidvector included.
fn element_of(array: TypeOid) -> Option<TypeOid> {
    names::element_of(array)
}

fn array_of(element: TypeOid) -> Option<TypeOid> {
    names::array_of(element)
}

impl Generics {
    /// From the arguments of a call: what is declared, and what they are (42804).
    pub fn solve(declared: &[TypeOid], actual: &[TypeOid]) -> Result<Generics> {
        let mut element: Option<TypeOid> = None;
        let mut array: Option<TypeOid> = None;
        let mut compatible = Vec::new();
        let (mut range, mut multirange) = (None, None);
        let (mut compatible_range, mut compatible_multirange) = (None, None);
        for (d, a) in declared.iter().zip(actual) {
            let known = *a != TypeOid::UNKNOWN;
            match *d {
                TypeOid::ANYELEMENT | TypeOid::ANYNONARRAY | ANYENUM => {
                    if *d == ANYENUM && known && category(*a) != b'E' {
                        return Err(mismatch("anyenum", *a, *d));
                    }
                    if *d == TypeOid::ANYNONARRAY && known && element_of(*a).is_some() {
                        return Err(mismatch("anynonarray", *a, *d));
                    }
                    match element.filter(|e| known && e != a) {
                        Some(other) => return Err(mismatch("anyelement", other, *a)),
                        None if known => element = Some(*a),
                        None => {}
                    }
                }
                TypeOid::ANYARRAY => match array.filter(|e| known && e != a) {
                    Some(other) => return Err(mismatch("anyarray", other, *a)),
                    None if known => array = Some(*a),
                    None => {}
                },
                ANYCOMPATIBLE => compatible.push(*a),
                ANYCOMPATIBLENONARRAY => {
                    if known && element_of(*a).is_some() {
                        return Err(mismatch("anycompatiblenonarray", *a, *d));
                    }
                    compatible.push(*a);
                }
                ANYCOMPATIBLEARRAY if known => compatible.push(element_of(*a).ok_or_else(|| not_an_array(*a))?),
                ANYCOMPATIBLEARRAY => compatible.push(*a),
                ANYRANGE if known => alike(&mut range, "anyrange", *a)?,
                ANYMULTIRANGE if known => alike(&mut multirange, "anymultirange", *a)?,
                ANYCOMPATIBLERANGE if known => alike(&mut compatible_range, "anycompatiblerange", *a)?,
                ANYCOMPATIBLEMULTIRANGE if known => {
                    alike(&mut compatible_multirange, "anycompatiblemultirange", *a)?;
                }
                _ => {}
            }
        }
        if let Some(array) = array.filter(|a| *a != TypeOid::ANYARRAY) {
            let of = element_of(array).ok_or_else(|| not_an_array(array))?;
            match element.filter(|e| *e != of) {
                Some(other) => return Err(mismatch("anyelement", of, other)),
                None => element = Some(of),
            }
        }
        if let Some((of, subtype)) = common_range(range, multirange, ("anyrange", "anymultirange"))? {
            match element.filter(|e| *e != subtype) {
                Some(other) => return Err(inconsistent(("anyrange", of), ("anyelement", other))),
                None => element = Some(subtype),
            }
            multirange = multirange.or_else(|| of.multirange());
            range = Some(of);
        }
        let names = ("anycompatiblerange", "anycompatiblemultirange");
        let of_ranges = common_range(compatible_range, compatible_multirange, names)?;
        if let Some((of, subtype)) = of_ranges {
            compatible.push(subtype);
            compatible_multirange = compatible_multirange.or_else(|| of.multirange());
            compatible_range = Some(of);
        }
        let compatible = if compatible.is_empty() {
            None
        } else {
            let common = common_type(&compatible, "")?;
            if compatible.iter().any(|c| !coercible(*c, common)) {
                return Err(mismatch("anycompatible", compatible[0], common));
            }
            if let Some((of, subtype)) = of_ranges
                && subtype != common
            {
                let (of, common) = (format_type(of, -1), format_type(common, -1));
                let message = format!("anycompatiblerange type {of} does not match anycompatible type {common}");
                return Err(Error::new(SqlState::DatatypeMismatch, message));
            }
            Some(common)
        };
        Ok(Generics { element, range, multirange, compatible, compatible_range, compatible_multirange })
    }

    /// Types to convert the arguments to.
    fn arguments(&self, declared: &[TypeOid], actual: &[TypeOid]) -> Result<Vec<TypeOid>> {
        let settled = |(d, a): (&TypeOid, &TypeOid)| match self.argument(*d, *a) {
            TypeOid::UNKNOWN if is_range(*d) => Err(unsettled(*d)),
            ty => Ok(ty),
        };
        declared.iter().zip(actual).map(settled).collect()
    }

    /// Type to convert an argument to.
    pub fn argument(&self, declared: TypeOid, actual: TypeOid) -> TypeOid {
        let actual_or = |oid: Option<TypeOid>| match oid {
            Some(oid) if actual == TypeOid::UNKNOWN || declared != TypeOid::ANYARRAY => oid,
            _ => actual,
        };
        match declared {
            TypeOid::ANY => {
                if actual == TypeOid::UNKNOWN {
                    TypeOid::TEXT
                } else {
                    actual
                }
            }
            TypeOid::ANYELEMENT | TypeOid::ANYNONARRAY | ANYENUM => actual_or(self.element),
            TypeOid::ANYARRAY => actual_or(self.element.and_then(array_of)),
            ANYCOMPATIBLE | ANYCOMPATIBLENONARRAY => actual_or(self.compatible),
            ANYCOMPATIBLEARRAY => actual_or(self.compatible.and_then(array_of)),
            ANYRANGE => actual_or(self.range),
            ANYMULTIRANGE => actual_or(self.multirange),
            ANYCOMPATIBLERANGE => actual_or(self.compatible_range),
            ANYCOMPATIBLEMULTIRANGE => actual_or(self.compatible_multirange),
            _ if is_polymorphic(declared) => actual,
            _ => declared,
        }
    }

    /// What a type of the declaration stands for (42804: the arguments do not say it).
    pub fn result(&self, declared: TypeOid) -> Result<TypeOid> {
        match declared {
            TypeOid::ANYELEMENT | TypeOid::ANYNONARRAY | ANYENUM => self.element.ok_or_else(undetermined),
            TypeOid::ANYARRAY => {
                let element = self.element.ok_or_else(undetermined)?;
                array_of(element).ok_or_else(|| {
                    Error::new(
                        SqlState::UndefinedObject,
                        format!("could not find array type for data type {}", format_type(element, -1)),
                    )
                })
            }
            ANYCOMPATIBLE | ANYCOMPATIBLENONARRAY => self.compatible.ok_or_else(undetermined),
            ANYCOMPATIBLEARRAY => self.compatible.and_then(array_of).ok_or_else(undetermined),
            ANYRANGE => self.range.ok_or_else(undetermined),
            ANYMULTIRANGE => self.multirange.ok_or_else(undetermined),
            ANYCOMPATIBLERANGE => self.compatible_range.ok_or_else(undetermined),
            ANYCOMPATIBLEMULTIRANGE => self.compatible_multirange.ok_or_else(undetermined),
            other => Ok(other),
        }
    }
}

/// The type that CASE, COALESCE, VALUES, UNION and ARRAY give their inputs; all unknown: text. `construct` is the word
/// for the message (42804).
pub fn common_type(types: &[TypeOid], construct: &str) -> Result<TypeOid> {
    let mut chosen = types.first().copied().unwrap_or(TypeOid::TEXT);
    for next in types.iter().skip(1).copied() {
        if next == TypeOid::UNKNOWN || next == chosen {
            continue;
        }
        if chosen == TypeOid::UNKNOWN {
            chosen = next;
        } else if category(next) != category(chosen) {
            return Err(Error::new(
                SqlState::DatatypeMismatch,
                format!(
                    "{construct} types {} and {} cannot be matched",
                    format_type(chosen, -1),
                    format_type(next, -1)
                ),
            ));
        } else if !preferred(chosen) && coercible(chosen, next) && !coercible(next, chosen) {
            chosen = next;
        }
    }
    Ok(if chosen == TypeOid::UNKNOWN { TypeOid::TEXT } else { chosen })
}
