//! The relational tree that binding yields: PostgreSQL's semantics, no names, no text.
//!
//! Invariants:
//! 1. Every column that a node defines has a [`ColumnId`] that nothing else in the statement defines.
//! 2. An expression names columns of its node's input, or (before [`crate::query`] has unnested subqueries) columns of
//!    an enclosing query.
//! 3. [`QueryExpr::Aggregate`], `Window`, `Series` and `Grouping` exist only inside the binder: a finished tree holds subqueries
//!    as its only query expressions.

use std::sync::Arc;

use crate::catalog::Oid;
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::functions::Function;
use crate::types::{Datum, PgType, TypeOid};

/// A column that a node defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    pub id: ColumnId,
    pub ty: PgType,
}

/// What only the general path can evaluate.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryExpr {
    Aggregate(Aggregate),
    Window(WindowCall),
    /// A set-returning call in a select list.
    Series(SetCall),
    /// GROUPING(…): which of the grouping expressions are not in the row's grouping set.
    Grouping(Vec<ScalarExpr>),
    /// First column of the only row; NULL without one, 21000 with two.
    Scalar {
        rel: Arc<Rel>,
        column: ColumnId,
    },
    Exists {
        rel: Arc<Rel>,
    },
    /// `left op ANY|ALL (subquery)`, `condition` compares the columns of `rel` with the outer operands.
    Quantified {
        rel: Arc<Rel>,
        condition: Box<ScalarExpr>,
        all: bool,
    },
    /// `ARRAY(subquery)`
    Array {
        rel: Arc<Rel>,
        column: ColumnId,
    },
}

/// A call of an aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub function: Arc<Function>,
    pub args: Vec<ScalarExpr>,
    pub distinct: bool,
    pub order_by: Vec<SortKey>,
    pub filter: Option<ScalarExpr>,
    pub ty: PgType,
}

#[derive(Debug, Clone, PartialEq)]
pub struct WindowCall {
    pub function: Arc<Function>,
    /// True: an aggregate used as a window function.
    pub aggregate: bool,
    pub args: Vec<ScalarExpr>,
    pub filter: Option<ScalarExpr>,
    pub partition_by: Vec<ScalarExpr>,
    pub order_by: Vec<SortKey>,
    pub frame: Frame,
    pub ty: PgType,
}

impl WindowCall {
    /// Whether each frame is added up by itself: what a float took in cannot be taken out of a sum without a trace.
    pub fn is_added_anew(&self) -> bool {
        let floating = |arg: &ScalarExpr| matches!(arg.ty.oid, TypeOid::FLOAT4 | TypeOid::FLOAT8);
        let slides = !matches!(self.frame.start, FrameBound::UnboundedPreceding);
        self.aggregate && slides && self.args.iter().any(floating)
    }

    /// Whether its rows are looked at one by one.
    pub fn is_framed(&self) -> bool {
        self.frame.exclude != Exclusion::NoOthers || self.is_added_anew() || self.computes_numbers()
    }

    /// Whether an argument that DataFusion wants to be a constant, and one that it can do with, is something else.
    fn computes_numbers(&self) -> bool {
        fn number(expr: &ScalarExpr) -> Option<i32> {
            match expr.kind {
                ExprKind::Const(Datum::Int4(n)) => Some(n),
                _ => None,
            }
        }
        fn is_constant(expr: &ScalarExpr) -> bool {
            match &expr.kind {
                ExprKind::Const(_) => true,
                ExprKind::Cast(cast) => is_constant(&cast.arg),
                _ => false,
            }
        }
        let counts = |at: usize| self.args.get(at).and_then(number).is_some_and(|n| n > 0);
        match self.function.name {
            _ if self.aggregate => false,
            "ntile" => !counts(0),
            "nth_value" => !counts(1),
            "lag" | "lead" => {
                self.args.get(1).is_some_and(|n| number(n).is_none())
                    || self.args.get(2).is_some_and(|default| !is_constant(default))
            }
            _ => false,
        }
    }
}

/// Which rows near the current one a frame leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    NoOthers,
    CurrentRow,
    /// The current row and its peers.
    Group,
    /// Its peers.
    Ties,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub units: FrameUnits,
    pub start: FrameBound,
    pub end: FrameBound,
    pub exclude: Exclusion,
    /// RANGE with offsets that excludes rows: the call's last arguments are the key, and where the frame begins and ends
    /// (each if it is an offset).
    pub computed: Option<(bool, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameUnits {
    Rows,
    Range,
    Groups,
}

#[derive(Debug, Clone, PartialEq)]
pub enum FrameBound {
    UnboundedPreceding,
    /// A constant or a parameter.
    Preceding(ScalarExpr),
    CurrentRow,
    Following(ScalarExpr),
    UnboundedFollowing,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SortKey {
    pub expr: ScalarExpr,
    pub descending: bool,
    pub nulls_first: bool,
}

/// A call of a set-returning function and the columns of its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct SetCall {
    pub function: Arc<Function>,
    pub args: Vec<ScalarExpr>,
    pub outputs: Vec<Output>,
}

impl SetCall {
    /// Whether it yields what another call yields.
    pub fn same(&self, other: &SetCall) -> bool {
        let equal = |(a, b): (&ScalarExpr, &ScalarExpr)| a.same(b);
        Arc::ptr_eq(&self.function, &other.function)
            && self.args.len() == other.args.len()
            && self.args.iter().zip(&other.args).all(equal)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    Semi,
    Anti,
    /// NOT IN: as [`JoinKind::Anti`], but no row passes when the right side holds a NULL, and none with a NULL key unless
    /// the right side is empty. The condition is one equality.
    NullAwareAnti,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetOperation {
    Union,
    Intersect,
    Except,
}

/// A column of a table that a scan yields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScanColumn {
    pub attnum: i16,
    pub output: Output,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// Table (real or of the system) in the catalog.
    pub table: Oid,
    /// For EXPLAIN.
    pub name: String,
    pub columns: Vec<ScanColumn>,
    /// Defined when rows must be found again (DML, FOR UPDATE): an opaque int8.
    pub row_id: Option<ColumnId>,
    pub system: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Rel {
    /// One row without columns: SELECT without FROM.
    Unit,
    Scan(Scan),
    Values {
        outputs: Vec<Output>,
        rows: Vec<Vec<ScalarExpr>>,
    },
    /// For each row of the input the rows of the calls side by side; the shorter ones are filled with NULL. `ordinality`
    /// numbers the rows from 1. Without rows the input row is dropped.
    Series {
        input: Box<Rel>,
        calls: Vec<SetCall>,
        ordinality: Option<ColumnId>,
    },
    Filter {
        input: Box<Rel>,
        predicate: ScalarExpr,
    },
    /// Yields only `columns`.
    Project {
        input: Box<Rel>,
        columns: Vec<(ColumnId, ScalarExpr)>,
    },
    Join {
        left: Box<Rel>,
        right: Box<Rel>,
        kind: JoinKind,
        /// `None`: every pair.
        condition: Option<ScalarExpr>,
        /// The right side may name columns of the left side.
        lateral: bool,
    },
    /// Yields the group columns, then the aggregates. With `sets`, one result per set of indexes into `groups`, and
    /// `grouping` tells them apart: bit i (from the left of the groups) is set when group i is not in the set.
    Aggregate {
        input: Box<Rel>,
        groups: Vec<(ColumnId, ScalarExpr)>,
        sets: Option<Vec<Vec<usize>>>,
        grouping: Option<ColumnId>,
        aggregates: Vec<(ColumnId, Aggregate)>,
    },
    /// Yields the input's columns, then the calls.
    Window {
        input: Box<Rel>,
        calls: Vec<(ColumnId, WindowCall)>,
    },
    Sort {
        input: Box<Rel>,
        keys: Vec<SortKey>,
    },
    Limit {
        input: Box<Rel>,
        offset: Option<ScalarExpr>,
        count: Option<ScalarExpr>,
        with_ties: bool,
    },
    Distinct {
        input: Box<Rel>,
    },
    /// The first row, in `order`, of each group of equal `keys`.
    DistinctOn {
        input: Box<Rel>,
        keys: Vec<ScalarExpr>,
        order: Vec<SortKey>,
    },
    SetOperation {
        operation: SetOperation,
        all: bool,
        left: Box<Rel>,
        right: Box<Rel>,
        outputs: Vec<Output>,
        left_columns: Vec<ColumnId>,
        right_columns: Vec<ColumnId>,
    },
    /// WITH RECURSIVE: `step` reads what the round before found through [`Rel::WorkTable`] of the same `table`.
    Recursive {
        table: u32,
        outputs: Vec<Output>,
        base: Box<Rel>,
        base_columns: Vec<ColumnId>,
        step: Box<Rel>,
        step_columns: Vec<ColumnId>,
        all: bool,
    },
    WorkTable {
        table: u32,
        outputs: Vec<Output>,
    },
}
