//! What the binder turns comparisons under a collation into: keys that compare as bytes. None of these is in pg_proc; an
//! expression's text shows what was written.

use std::sync::{Arc, LazyLock};

use super::{Call, Function, Kind, RowFunction, Volatility};
use crate::error::Result;
use crate::expr::{ExprKind, ScalarExpr};
use crate::functions::args::{array, boolean, bytea, text};
use crate::types::collation::{self, Rules};
use crate::types::{Datum, TypeOid};

fn own(
    oid: u32,
    name: &'static str,
    args: Vec<TypeOid>,
    ret: TypeOid,
    strict: bool,
    call: RowFunction,
) -> Arc<Function> {
    Arc::new(Function {
        oid,
        name,
        args,
        variadic: None,
        defaults: 0,
        ret,
        kind: Kind::Scalar,
        returns_set: false,
        strict,
        volatility: Volatility::Immutable,
        symbol: name,
        all_args: Vec::new(),
        arg_modes: Vec::new(),
        arg_names: Vec::new(),
        scalar: Some(call),
        set: None,
    })
}

const TEXT: TypeOid = TypeOid::TEXT;

/// `x COLLATE "name"`: the value, the collation's number, and its name as shown.
pub static COLLATE: LazyLock<Arc<Function>> = LazyLock::new(|| {
    own(u32::MAX - 4, "lockstep_collate", vec![TypeOid::ANY, TypeOid::OID, TEXT], TypeOid::ANY, false, same)
});

/// The key of a string: string, locale, whether the string decides where the rules do not.
pub static KEY: LazyLock<Arc<Function>> = LazyLock::new(|| {
    own(u32::MAX - 5, "lockstep_collation_key", vec![TEXT, TEXT, TypeOid::BOOL], TypeOid::BYTEA, true, |call, args| {
        let (rules, text) = (locale(args)?, text(args.first())?);
        Ok(Datum::from(rules.key(counted(call, text), boolean(args.get(2))?)))
    })
});

/// The keys of an array's strings.
pub static KEYS: LazyLock<Arc<Function>> = LazyLock::new(|| {
    let args = vec![TypeOid::TEXT_ARRAY, TEXT, TypeOid::BOOL];
    own(u32::MAX - 6, "lockstep_collation_keys", args, TypeOid(1001), true, |call, args| {
        let (rules, exact) = (locale(args)?, boolean(args.get(2))?);
        let padded = call.types.first().is_some_and(|t| t.oid.element() == Some(TypeOid::BPCHAR));
        let keys = array(args.first())?.map(|item| match item {
            Datum::Text(text) => {
                let text = if padded { text.trim_end_matches(' ') } else { text };
                Ok::<_, crate::Error>(Datum::from(rules.key(text, exact)))
            }
            other => Ok(other.clone()),
        });
        Ok(Datum::from(keys?))
    })
});

/// A key that has the string in it, for the least and the greatest.
pub static EXTREME: LazyLock<Arc<Function>> = LazyLock::new(|| {
    own(u32::MAX - 7, "lockstep_extreme_key", vec![TEXT, TEXT], TypeOid::BYTEA, true, |call, args| {
        let (rules, text) = (locale(args)?, text(args.first())?);
        Ok(Datum::from(rules.key_with_text(counted(call, text), text)))
    })
});

/// The string of such a key.
pub static EXTREME_TEXT: LazyLock<Arc<Function>> = LazyLock::new(|| {
    own(u32::MAX - 8, "lockstep_extreme_text", vec![TypeOid::BYTEA], TEXT, true, |_, args| {
        Ok(Datum::from(collation::text_of(bytea(args.first())?)))
    })
});

/// A string that a query groups by as a collation that holds different strings equal says; what is shown is the first.
pub static GROUPED: LazyLock<Arc<Function>> =
    LazyLock::new(|| own(u32::MAX - 9, "lockstep_grouped", vec![TypeOid::ANY, TEXT], TypeOid::ANY, false, same));

pub static LOWER: LazyLock<Arc<Function>> = LazyLock::new(|| {
    own(u32::MAX - 10, "lower", vec![TEXT, TEXT], TEXT, true, |_, args| {
        Ok(locale(args)?.lower(text(args.first())?).into())
    })
});

pub static UPPER: LazyLock<Arc<Function>> = LazyLock::new(|| {
    own(u32::MAX - 11, "upper", vec![TEXT, TEXT], TEXT, true, |_, args| {
        Ok(locale(args)?.upper(text(args.first())?).into())
    })
});

pub static INITCAP: LazyLock<Arc<Function>> = LazyLock::new(|| {
    own(u32::MAX - 14, "initcap", vec![TEXT, TEXT], TEXT, true, |_, args| {
        Ok(locale(args)?.initcap(text(args.first())?).into())
    })
});

fn insensitive(args: &[Datum]) -> Result<bool> {
    let (rules, text, pattern) = (locale(args)?, text(args.first())?, text(args.get(2))?);
    super::patterns::like(&rules.lower(text), &rules.lower(pattern), false)
}

/// `x ILIKE y`: string, locale, pattern.
pub static ILIKE: LazyLock<Arc<Function>> = LazyLock::new(|| {
    own(u32::MAX - 15, "~~*", vec![TEXT, TEXT, TEXT], TypeOid::BOOL, true, |_, args| {
        Ok(Datum::Bool(insensitive(args)?))
    })
});

pub static NOT_ILIKE: LazyLock<Arc<Function>> = LazyLock::new(|| {
    own(u32::MAX - 16, "!~~*", vec![TEXT, TEXT, TEXT], TypeOid::BOOL, true, |_, args| {
        Ok(Datum::Bool(!insensitive(args)?))
    })
});

fn same(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(args.first().cloned().unwrap_or(Datum::Null))
}

fn locale(args: &[Datum]) -> Result<Arc<Rules>> {
    collation::rules(text(args.get(1))?)
}

/// The part of a string that counts: char(n) ends with its last character that is no blank.
fn counted<'a>(call: &Call<'_>, text: &'a str) -> &'a str {
    let padded = call.types.first().is_some_and(|t| t.oid == TypeOid::BPCHAR);
    if padded { text.trim_end_matches(' ') } else { text }
}

/// What an expression's text shows of a call.
pub enum Shown<'a> {
    /// Another expression.
    Expr(&'a ScalarExpr),
    Collate(&'a ScalarExpr, u32, &'a str),
    Call(&'static str, &'a ScalarExpr),
    Infix(&'a ScalarExpr, &'static str, &'a ScalarExpr),
}

/// `None`: the call shows as itself.
pub fn shown<'a>(function: &Function, args: &'a [ScalarExpr]) -> Option<Shown<'a>> {
    if function.oid < u32::MAX - 16 {
        return None;
    }
    let is = |other: &LazyLock<Arc<Function>>| function.oid == other.oid && function.symbol == other.symbol;
    let arg = args.first()?;
    if is(&COLLATE)
        && let (Some(ExprKind::Const(Datum::Oid(oid))), Some(ExprKind::Const(Datum::Text(name)))) =
            (args.get(1).map(|a| &a.kind), args.get(2).map(|a| &a.kind))
    {
        return Some(Shown::Collate(arg, *oid, name));
    }
    if [&KEY, &KEYS, &EXTREME, &EXTREME_TEXT, &GROUPED].into_iter().any(is) {
        return Some(Shown::Expr(arg));
    }
    if [&LOWER, &UPPER, &INITCAP].into_iter().any(is) {
        return Some(Shown::Call(function.name, arg));
    }
    match [&ILIKE, &NOT_ILIKE].into_iter().any(is) {
        true => Some(Shown::Infix(arg, function.name, args.get(2)?)),
        false => None,
    }
}

/// What to group by instead of an expression that is grouped as a collation says.
pub fn group_key(expr: &ScalarExpr) -> Option<ScalarExpr> {
    match &expr.kind {
        ExprKind::Call { function, args } if Arc::ptr_eq(function, &GROUPED) => {
            let exact = ScalarExpr::constant(Datum::Bool(false), TypeOid::BOOL);
            let args = args.iter().cloned().chain([exact]).collect();
            Some(ScalarExpr::new(ExprKind::Call { function: KEY.clone(), args }, TypeOid::BYTEA))
        }
        _ => None,
    }
}

/// Whether a call gives its first argument.
pub fn is_transparent(function: &Arc<Function>) -> bool {
    function.oid >= u32::MAX - 16 && (Arc::ptr_eq(function, &COLLATE) || Arc::ptr_eq(function, &GROUPED))
}

/// The operand of a COLLATE clause.
pub fn uncollated(expr: &ScalarExpr) -> Option<&ScalarExpr> {
    match &expr.kind {
        ExprKind::Call { function, args } if Arc::ptr_eq(function, &COLLATE) => args.first(),
        _ => None,
    }
}
