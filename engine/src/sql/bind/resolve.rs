//! What the binder asks of the registry of functions, operators and casts.

use std::sync::Arc;

use super::coerce::Situation;
use crate::error::Result;
use crate::functions::{self, Function, registry};
use crate::types::{PgType, TypeOid, names};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    Aggregate,
    Window,
    Set,
}

/// A function that a call means, its argument and result types with polymorphic ones settled.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub function: Arc<Function>,
    pub args: Vec<TypeOid>,
    pub ty: PgType,
    pub kind: Kind,
    /// Arguments from here on are collected into an array.
    pub variadic_from: usize,
}

pub(super) enum Resolution {
    Function(Resolved),
    /// A type's name called like a function.
    Cast(PgType),
}

fn kind_of(function: &Function) -> Kind {
    match function.kind {
        functions::Kind::Aggregate => Kind::Aggregate,
        functions::Kind::Window => Kind::Window,
        _ if function.returns_set => Kind::Set,
        _ => Kind::Scalar,
    }
}

/// What the overloads of a name are, if there are any.
pub(super) fn kind(name: &str) -> Option<Kind> {
    registry().lookup(name).first().map(|f| kind_of(f))
}

/// Whether the overloads of a name return rows of several columns.
pub(super) fn returns_record(name: &str) -> bool {
    registry().lookup(name).first().is_some_and(|f| f.ret == TypeOid::RECORD)
}

/// Whether a function's columns have names of their own (OUT arguments).
pub(super) fn names_columns(name: &str) -> bool {
    registry().lookup(name).first().is_some_and(|f| f.arg_modes.iter().any(|mode| matches!(mode, b'o' | b't' | b'b')))
}

pub(super) fn function(name: &str, args: &[TypeOid], variadic: bool) -> Result<Resolution> {
    Ok(match functions::resolve::resolve_call(name, args, variadic)? {
        functions::Resolution::Cast(ty) => Resolution::Cast(ty),
        functions::Resolution::Function(found) => Resolution::Function(Resolved {
            kind: kind_of(&found.function),
            function: found.function,
            args: found.args,
            ty: found.ret.into(),
            variadic_from: found.variadic_from.unwrap_or(usize::MAX),
        }),
    })
}

pub(super) fn operator(name: &str, left: Option<TypeOid>, right: TypeOid) -> Result<Resolved> {
    let found = functions::resolve_operator(name, left, right)?;
    Ok(Resolved {
        function: found.operator.function.clone(),
        args: found.left.into_iter().chain([found.right]).collect(),
        ty: found.ret.into(),
        kind: Kind::Scalar,
        variadic_from: usize::MAX,
    })
}

pub(super) fn common_type(types: &[TypeOid]) -> Option<TypeOid> {
    functions::common_type(types, "").ok()
}

pub(super) fn cast_exists(from: TypeOid, to: TypeOid, situation: Situation) -> bool {
    let context = match situation {
        Situation::Implicit => functions::CastContext::Implicit,
        Situation::Assignment => functions::CastContext::Assignment,
        Situation::Explicit => functions::CastContext::Explicit,
    };
    functions::find_cast(from, to, context).is_some()
}

/// Types whose text form is a name in the catalog.
pub(super) fn is_reg_type(oid: TypeOid) -> bool {
    use TypeOid as T;
    matches!(
        oid,
        T::REGPROC
            | T::REGPROCEDURE
            | T::REGOPER
            | T::REGOPERATOR
            | T::REGCLASS
            | T::REGTYPE
            | T::REGNAMESPACE
            | T::REGROLE
            | T::REGCOLLATION
    )
}

pub(super) fn type_name(ty: PgType) -> String {
    names::format_type(ty.oid, ty.typmod)
}

/// Names and types of the columns of a set-returning function's rows.
pub(super) fn set_columns(resolved: &Resolved) -> Vec<(String, PgType)> {
    let function = &resolved.function;
    let outputs: Vec<(String, PgType)> = function
        .arg_modes
        .iter()
        .enumerate()
        .filter(|(_, mode)| matches!(mode, b'o' | b't' | b'b'))
        .map(|(i, _)| {
            let name = function.arg_names.get(i).copied().unwrap_or_default();
            let ty = function.all_args.get(i).copied().unwrap_or(TypeOid::TEXT);
            // A polymorphic column takes the element of the call's array.
            let ty = match ty {
                TypeOid::ANYELEMENT => resolved.args.iter().find_map(|a| a.element()).unwrap_or(TypeOid::TEXT),
                ty => ty,
            };
            (name.to_string(), ty.into())
        })
        .collect();
    if outputs.is_empty() { vec![(function.name.to_string(), resolved.ty)] } else { outputs }
}
