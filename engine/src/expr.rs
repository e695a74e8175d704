//! Bound scalar expressions: names resolved, every type known. One form for both paths: the point path evaluates it row
//! by row, the general path lowers it to DataFusion.
//!
//! Invariant: an expression holds no text and no unknown type; evaluating it can fail only on values.

use std::sync::Arc;

use crate::domain::DomainRule;
use crate::expr_fold::FoldRule;
use crate::functions::Function;
use crate::types::{Datum, PgType};

/// A column of one statement's scopes; unique in the statement. Table columns, subquery outputs and aggregates alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnId(pub u32);

#[derive(Debug, Clone, PartialEq)]
pub struct ScalarExpr {
    pub kind: ExprKind,
    pub ty: PgType,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    Const(Datum),
    /// `$n`, from 0.
    Param(usize),
    /// `depth` 0 is the query's own scope, 1 the enclosing query's, …
    Column {
        id: ColumnId,
        depth: usize,
    },
    /// A function or operator; arguments already have the declared types. Strictness is the function's.
    Call {
        function: Arc<Function>,
        args: Vec<ScalarExpr>,
    },
    Cast(Box<Cast>),
    And(Vec<ScalarExpr>),
    Or(Vec<ScalarExpr>),
    Not(Box<ScalarExpr>),
    IsNull {
        arg: Box<ScalarExpr>,
        negated: bool,
    },
    /// `IS [NOT] TRUE | FALSE | UNKNOWN`: `None` is UNKNOWN.
    IsBool {
        arg: Box<ScalarExpr>,
        value: Option<bool>,
        negated: bool,
    },
    IsDistinct {
        left: Box<ScalarExpr>,
        right: Box<ScalarExpr>,
        negated: bool,
    },
    /// Searched CASE; a simple CASE is bound to one with equality operators.
    Case {
        /// `CASE operand WHEN value`: each condition is `operand = value`. Only for showing it.
        simple: bool,
        whens: Vec<(ScalarExpr, ScalarExpr)>,
        otherwise: Option<Box<ScalarExpr>>,
    },
    Coalesce(Vec<ScalarExpr>),
    NullIf {
        left: Box<ScalarExpr>,
        right: Box<ScalarExpr>,
        equals: Arc<Function>,
    },
    Greatest(Vec<ScalarExpr>),
    Least(Vec<ScalarExpr>),
    /// `arg IN (list)`; all of one type.
    InList {
        arg: Box<ScalarExpr>,
        list: Vec<ScalarExpr>,
        negated: bool,
    },
    /// `arg op ANY (array)` or `ALL`.
    AnyAll {
        arg: Box<ScalarExpr>,
        operator: Arc<Function>,
        array: Box<ScalarExpr>,
        all: bool,
    },
    Array(Vec<ScalarExpr>),
    /// A row, with the names of its fields if it is of no named type.
    Row(Vec<ScalarExpr>, Option<Arc<[String]>>),
    /// The argument as a value of a domain over its type.
    Domain {
        arg: Box<ScalarExpr>,
        rule: Arc<DomainRule>,
    },
    /// A user's aggregate of the rows that the argument has collected.
    Fold {
        rows: Box<ScalarExpr>,
        rule: Arc<FoldRule>,
    },
    Subscript {
        array: Box<ScalarExpr>,
        index: Box<ScalarExpr>,
    },
    /// Aggregate, window call, set-returning call or subquery: only while a SELECT is bound and in the general path.
    Query(Arc<crate::sql::QueryExpr>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cast {
    pub arg: ScalarExpr,
    pub to: PgType,
    /// Explicit casts truncate over-long strings silently, assignments raise 22001.
    pub explicit: bool,
}

impl ScalarExpr {
    pub fn new(kind: ExprKind, ty: impl Into<PgType>) -> Self {
        ScalarExpr { kind, ty: ty.into() }
    }

    pub fn constant(value: Datum, ty: impl Into<PgType>) -> Self {
        Self::new(ExprKind::Const(value), ty)
    }
}
