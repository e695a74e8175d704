//! Functions, operators, casts and aggregates: what exists ([`registry`]), which one a call means ([`resolve`],
//! [`casts`]), how a row function computes it, and how DataFusion runs it ([`lower`]).
//!
//! The names, argument types, strictness and volatility come from PostgreSQL 15's own catalog (`pg_proc.tsv`,
//! `pg_operator.tsv`, `pg_cast.tsv`), so overload resolution sees the candidates that PostgreSQL sees. A family file
//! gives implementations by the function's C symbol (`int4pl`; `#oid` for functions that PostgreSQL writes in SQL).
//! A function without an implementation resolves and then answers 0A000.
//!
//! How a function gets its [`EvalContext`]: row by row it is an argument; inside DataFusion it travels as the
//! configuration extension [`StatementContext`], put into the session configuration of each execution. So plans can be
//! cached across statements and see the time zone and clock of the statement that runs them.
//!
//! Invariants:
//! 1. A row function is called with arguments of its declared types, polymorphic ones replaced; a strict one never
//!    with NULL.
//! 2. The lowered form of a call gives what the row function gives, value and error alike (differential test).

// rustfmt puts braces around bodies in `row!`.
#![allow(unused_braces)]

mod accumulators;
mod args;
mod arithmetic;
pub mod array_shape;
mod arrays;
mod binary;
mod bits;
pub mod casts;
pub mod collation;
pub mod comparison;
mod conversion;
mod datetime;
mod datetime_fields;
mod degrees;
mod enums;
#[cfg(test)]
mod expression_tests;
pub mod extension;
#[cfg(test)]
mod extreme_tests;
mod format;
mod format_text;
mod generic;
mod geometry;
mod identifiers;
mod json_edit;
mod json_functions;
mod json_path;
mod json_path_time;
pub mod json_populate;
mod json_text;
pub mod lower;
mod math;
mod md5;
mod money;
pub mod network;
mod patterns;
pub mod range;
pub mod registry;
mod regular;
pub mod resolve;
#[cfg(test)]
mod resolve_tests;
pub mod row_version;
pub mod rows;
mod series;
mod sha224;
mod snapshot;
pub mod strings;
pub mod subscript_assignment;
mod timetz;
mod unicode;

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::types::text::FormatSettings;
use crate::types::{Datum, PgType, TypeOid};

pub use casts::{CastContext, CastPath, cast_value, find_cast};
pub use registry::{Operator, Registry, registry};
pub use resolve::{Resolution, Resolved, ResolvedOperator, common_type, resolve_function, resolve_operator};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Scalar,
    Aggregate,
    Window,
    Procedure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

/// In [`Function::variadic`]: the call's last argument is an array whose elements are the arguments.
pub const SPREAD: TypeOid = TypeOid::ANYARRAY;

/// Computes one row. Strict functions get no NULL.
pub type RowFunction = fn(&Call<'_>, &[Datum]) -> Result<Datum>;

/// Rows of a set-returning function.
pub type Rows = Box<dyn Iterator<Item = Result<Vec<Datum>>> + Send>;
pub type SetFunction = fn(&Call<'_>, &[Datum]) -> Result<Rows>;

/// One row of pg_proc (operators' functions included).
#[derive(Clone)]
pub struct Function {
    pub oid: u32,
    pub name: &'static str,
    /// Declared types; polymorphic pseudo-types possible.
    pub args: Vec<TypeOid>,
    /// Element type of the last argument if it is VARIADIC (`ANY` for VARIADIC "any").
    pub variadic: Option<TypeOid>,
    /// Trailing arguments that have defaults: see [`Function::default_args`].
    pub defaults: usize,
    /// Declared result type; what a call returns is in [`Resolved::ret`].
    pub ret: TypeOid,
    pub kind: Kind,
    pub returns_set: bool,
    pub strict: bool,
    pub volatility: Volatility,
    /// C symbol, or `#oid`.
    pub symbol: &'static str,
    /// All argument types with OUT columns, their modes (`i`, `o`, `t`, …) and names, where pg_proc has them.
    pub all_args: Vec<TypeOid>,
    pub arg_modes: Vec<u8>,
    pub arg_names: Vec<&'static str>,
    /// `None`: the host's, or not there.
    pub scalar: Option<RowFunction>,
    pub set: Option<SetFunction>,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.oid)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.oid == other.oid
    }
}

impl Eq for Function {}

impl std::hash::Hash for Function {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.oid.hash(state);
    }
}

/// What a row function sees besides its arguments.
pub struct Call<'a> {
    pub function: &'a Function,
    pub context: &'a EvalContext,
    /// Actual types of the arguments.
    pub types: &'a [PgType],
    /// Actual type of the result.
    pub ret: PgType,
}

impl Function {
    /// The result for one row; NULL for a strict function with a NULL argument.
    pub fn call(&self, context: &EvalContext, types: &[PgType], ret: PgType, args: &[Datum]) -> Result<Datum> {
        if self.strict && args.iter().any(Datum::is_null) {
            return Ok(Datum::Null);
        }
        if self.variadic == Some(SPREAD) {
            return self.call_spread(context, types, ret, args);
        }
        let call = Call { function: self, context, types, ret };
        match (self.scalar, &context.host) {
            (Some(function), _) => function(&call, args),
            (None, Some(host)) if host.provides(self) => host.call(&call, args),
            _ => Err(self.unsupported()),
        }
    }

    /// The elements of the last argument, an array, as arguments. NULL instead of the array gives NULL, but for format, to which
    /// it is none.
    fn call_spread(&self, context: &EvalContext, types: &[PgType], ret: PgType, args: &[Datum]) -> Result<Datum> {
        let (Some((spread, fixed)), Some((last, fixed_types))) = (args.split_last(), types.split_last()) else {
            return Ok(Datum::Null);
        };
        let items: &[Datum] = match spread {
            Datum::Array(items) => items,
            _ if self.symbol == "text_format" => &[],
            _ => return Ok(Datum::Null),
        };
        let element = PgType::from(last.oid.element().unwrap_or(TypeOid::TEXT));
        let args: Vec<Datum> = fixed.iter().chain(items.iter()).cloned().collect();
        let types: Vec<PgType> = fixed_types.iter().copied().chain(std::iter::repeat_n(element, items.len())).collect();
        let function = self.scalar.ok_or_else(|| self.unsupported())?;
        function(&Call { function: self, context, types: &types, ret }, &args)
    }

    /// The default of one argument, if it has one.
    pub fn default_arg(&self, index: usize) -> Option<(Datum, TypeOid)> {
        let first = self.args.len() - self.defaults.min(self.args.len());
        (index >= first).then(|| casts::default_argument(self, index).ok()).flatten()
    }

    /// The schema that the function lies in.
    pub fn schema(&self) -> crate::catalog::Oid {
        use crate::catalog::Oid;
        if self.name.starts_with("_pg_") { Oid::INFORMATION_SCHEMA } else { Oid::PG_CATALOG }
    }

    /// Rows of a set-returning function (none for a strict one with a NULL argument).
    pub fn rows(&self, context: &EvalContext, types: &[PgType], ret: PgType, args: &[Datum]) -> Result<Rows> {
        if self.strict && args.iter().any(Datum::is_null) {
            return Ok(Box::new(std::iter::empty()));
        }
        let call = Call { function: self, context, types, ret };
        match (self.set, &context.host) {
            (Some(function), _) => function(&call, args),
            (None, Some(host)) if host.provides(self) => host.rows(&call, args),
            _ => Err(self.unsupported()),
        }
    }

    /// Values of the trailing arguments that a call left out.
    pub fn default_args(&self, given: usize) -> Result<Vec<(Datum, TypeOid)>> {
        let missing = self.args.len().saturating_sub(given);
        (self.args.len() - missing..self.args.len()).map(|i| casts::default_argument(self, i)).collect()
    }

    /// 0A000 for a function that resolves and has no implementation.
    pub fn unsupported(&self) -> Error {
        Error::unsupported(format!("function {}", resolve::signature(self.name, &self.args)))
    }
}

/// What a function may depend on besides its arguments: one statement's view of its session.
#[derive(Debug, Clone, Default)]
pub struct EvalContext {
    pub format: FormatSettings,
    /// Start of the transaction (`now()`), microseconds since 1970.
    pub transaction_time: i64,
    /// Start of the statement.
    pub statement_time: i64,
    /// Functions that need the session or the catalog.
    pub host: Option<Arc<dyn FunctionHost>>,
}

/// Functions that only the session can compute (nextval, current_user, pg_get_expr, …): asked by symbol for whatever no
/// family registered.
pub trait FunctionHost: Send + Sync + fmt::Debug {
    fn provides(&self, function: &Function) -> bool;

    fn call(&self, call: &Call<'_>, args: &[Datum]) -> Result<Datum>;

    /// Set-returning functions of the host.
    fn rows(&self, call: &Call<'_>, _args: &[Datum]) -> Result<Rows> {
        Err(call.function.unsupported())
    }
}

/// Whether a regular expression can be compiled (2201B).
pub fn check_regular_expression(pattern: &str) -> Result<()> {
    patterns::check(pattern)
}

/// Every family of implementations; a file each.
fn register_families(implementations: &mut registry::Implementations) {
    comparison::register(implementations);
    arithmetic::register(implementations);
    conversion::register(implementations);
    datetime::register(implementations);
    math::register(implementations);
    strings::register(implementations);
    patterns::register(implementations);
    arrays::register(implementations);
    series::register(implementations);
    json_functions::register(implementations);
    json_edit::register(implementations);
    json_populate::register(implementations);
    identifiers::register(implementations);
    json_path::register(implementations);
    format::register(implementations);
    binary::register(implementations);
    bits::register(implementations);
    money::register(implementations);
    network::register(implementations);
    geometry::register(implementations);
    range::register(implementations);
    accumulators::register(implementations);
    timetz::register(implementations);
    degrees::register(implementations);
    unicode::register(implementations);
    snapshot::register(implementations);
    generic::register(implementations);
    enums::register(implementations);
    rows::register(implementations);
    extension::register(implementations);
}
