//! Walking and rewriting expressions and relational trees.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::Result;
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::sql::rel::{Aggregate, FrameBound, JoinKind, Output, QueryExpr, Rel, WindowCall};
use crate::types::Datum;

/// Called with each direct part of an expression.
type ExprVisitor<'a> = dyn FnMut(&mut ScalarExpr) -> Result<()> + 'a;

impl ScalarExpr {
    pub fn column(id: ColumnId, ty: impl Into<crate::types::PgType>) -> ScalarExpr {
        ScalarExpr::new(ExprKind::Column { id, depth: 0 }, ty)
    }

    /// The conjunction; `None` of nothing.
    pub fn and(parts: Vec<ScalarExpr>) -> Option<ScalarExpr> {
        match parts.len() {
            0 | 1 => parts.into_iter().next(),
            _ => Some(ScalarExpr::new(ExprKind::And(parts), crate::types::TypeOid::BOOL)),
        }
    }

    /// The parts of a conjunction.
    pub fn conjuncts(self) -> Vec<ScalarExpr> {
        match self.kind {
            ExprKind::And(parts) => parts.into_iter().flat_map(ScalarExpr::conjuncts).collect(),
            kind => vec![ScalarExpr { kind, ty: self.ty }],
        }
    }

    /// Direct parts; of a subquery only the expressions outside its tree.
    pub fn children(&self) -> Vec<&ScalarExpr> {
        match &self.kind {
            ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Column { .. } => vec![],
            ExprKind::Call { args, .. }
            | ExprKind::And(args)
            | ExprKind::Or(args)
            | ExprKind::Coalesce(args)
            | ExprKind::Greatest(args)
            | ExprKind::Least(args)
            | ExprKind::Array(args)
            | ExprKind::Row(args, _) => args.iter().collect(),
            ExprKind::Cast(cast) => vec![&cast.arg],
            ExprKind::Domain { arg, .. } | ExprKind::Fold { rows: arg, .. } => vec![arg],
            ExprKind::Not(arg) | ExprKind::IsNull { arg, .. } | ExprKind::IsBool { arg, .. } => vec![arg],
            ExprKind::IsDistinct { left, right, .. } | ExprKind::NullIf { left, right, .. } => vec![left, right],
            ExprKind::Case { whens, otherwise, .. } => {
                whens.iter().flat_map(|(a, b)| [a, b]).chain(otherwise.as_deref()).collect()
            }
            ExprKind::InList { arg, list, .. } => std::iter::once(&**arg).chain(list).collect(),
            ExprKind::AnyAll { arg, array, .. } => vec![arg, array],
            ExprKind::Subscript { array, index } => vec![array, index],
            ExprKind::Query(query) => match &**query {
                QueryExpr::Aggregate(a) => {
                    a.args.iter().chain(a.order_by.iter().map(|k| &k.expr)).chain(a.filter.as_ref()).collect()
                }
                QueryExpr::Window(w) => window_parts(w),
                QueryExpr::Series(s) => s.args.iter().collect(),
                QueryExpr::Grouping(args) => args.iter().collect(),
                QueryExpr::Quantified { condition, .. } => vec![condition],
                QueryExpr::Scalar { .. } | QueryExpr::Exists { .. } | QueryExpr::Array { .. } => vec![],
            },
        }
    }

    pub fn children_mut(&mut self, f: &mut ExprVisitor<'_>) -> Result<()> {
        match &mut self.kind {
            ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Column { .. } => Ok(()),
            ExprKind::Call { args, .. }
            | ExprKind::And(args)
            | ExprKind::Or(args)
            | ExprKind::Coalesce(args)
            | ExprKind::Greatest(args)
            | ExprKind::Least(args)
            | ExprKind::Array(args)
            | ExprKind::Row(args, _) => args.iter_mut().try_for_each(f),
            ExprKind::Cast(cast) => f(&mut cast.arg),
            ExprKind::Domain { arg, .. } | ExprKind::Fold { rows: arg, .. } => f(arg),
            ExprKind::Not(arg) | ExprKind::IsNull { arg, .. } | ExprKind::IsBool { arg, .. } => f(arg),
            ExprKind::IsDistinct { left, right, .. } | ExprKind::NullIf { left, right, .. } => {
                f(left)?;
                f(right)
            }
            ExprKind::Case { whens, otherwise, .. } => {
                for (condition, value) in whens {
                    f(condition)?;
                    f(value)?;
                }
                otherwise.iter_mut().try_for_each(|e| f(e))
            }
            ExprKind::InList { arg, list, .. } => {
                f(arg)?;
                list.iter_mut().try_for_each(f)
            }
            ExprKind::AnyAll { arg, array, .. } => {
                f(arg)?;
                f(array)
            }
            ExprKind::Subscript { array, index } => {
                f(array)?;
                f(index)
            }
            ExprKind::Query(query) => match Arc::make_mut(query) {
                QueryExpr::Aggregate(a) => aggregate_parts_mut(a, f),
                QueryExpr::Window(w) => window_parts_mut(w, f),
                QueryExpr::Series(s) => s.args.iter_mut().try_for_each(f),
                QueryExpr::Grouping(args) => args.iter_mut().try_for_each(f),
                QueryExpr::Quantified { condition, .. } => f(condition),
                QueryExpr::Scalar { .. } | QueryExpr::Exists { .. } | QueryExpr::Array { .. } => Ok(()),
            },
        }
    }

    /// The tree below a subquery expression.
    pub fn subquery(&self) -> Option<&Arc<Rel>> {
        match &self.kind {
            ExprKind::Query(query) => match &**query {
                QueryExpr::Scalar { rel, .. }
                | QueryExpr::Exists { rel }
                | QueryExpr::Quantified { rel, .. }
                | QueryExpr::Array { rel, .. } => Some(rel),
                _ => None,
            },
            _ => None,
        }
    }

    /// Calls `f` on this expression and all below it, subqueries' own trees excluded.
    pub fn walk(&self, f: &mut dyn FnMut(&ScalarExpr)) {
        f(self);
        for child in self.children() {
            child.walk(f);
        }
    }

    pub fn any(&self, f: &dyn Fn(&ScalarExpr) -> bool) -> bool {
        f(self) || self.children().into_iter().any(|c| c.any(f))
    }

    /// Columns that are named here or, from outside, in a subquery.
    pub fn free_columns(&self, out: &mut HashSet<ColumnId>) {
        self.walk(&mut |e| {
            if let ExprKind::Column { id, .. } = e.kind {
                out.insert(id);
            }
            if let Some(rel) = e.subquery() {
                rel.free_columns(out);
            }
        });
        // The condition of a quantified comparison names columns of its subquery.
        self.walk(&mut |e| {
            if let ExprKind::Query(query) = &e.kind
                && let QueryExpr::Quantified { rel, .. } = &**query
            {
                for output in rel.outputs() {
                    out.remove(&output.id);
                }
            }
        });
    }

    /// Whether any subquery occurs in it.
    pub fn has_subquery(&self) -> bool {
        self.any(&|e| e.subquery().is_some())
    }

    /// Replaces column ids, inside subqueries too.
    pub fn rename(&mut self, map: &HashMap<ColumnId, ColumnId>) {
        if let ExprKind::Column { id, .. } = &mut self.kind
            && let Some(new) = map.get(id)
        {
            *id = *new;
        }
        if let ExprKind::Query(query) = &mut self.kind {
            match Arc::make_mut(query) {
                QueryExpr::Scalar { rel, column } | QueryExpr::Array { rel, column } => {
                    Arc::make_mut(rel).rename(map);
                    rename(column, map);
                }
                QueryExpr::Exists { rel } | QueryExpr::Quantified { rel, .. } => Arc::make_mut(rel).rename(map),
                QueryExpr::Series(s) => s.outputs.iter_mut().for_each(|o| rename(&mut o.id, map)),
                QueryExpr::Aggregate(_) | QueryExpr::Window(_) | QueryExpr::Grouping(_) => {}
            }
        }
        let _ = self.children_mut(&mut |e| {
            e.rename(map);
            Ok(())
        });
    }

    /// Replaces columns by expressions, inside subqueries too.
    pub fn substitute(&mut self, map: &HashMap<ColumnId, ScalarExpr>) {
        if let ExprKind::Column { id, .. } = &self.kind {
            if let Some(new) = map.get(id) {
                *self = new.clone();
            }
            return;
        }
        if let ExprKind::Query(query) = &mut self.kind
            && let Some(rel) = subquery_mut(query)
        {
            rel.substitute(map);
        }
        let _ = self.children_mut(&mut |e| {
            e.substitute(map);
            Ok(())
        });
    }

    /// Puts constants in place of parameters, inside subqueries too.
    fn put_parameters(&mut self, values: &[Datum]) {
        if let ExprKind::Param(number) = self.kind
            && let Some(value) = values.get(number)
        {
            self.kind = ExprKind::Const(value.clone());
        }
        if let ExprKind::Query(query) = &mut self.kind
            && let Some(rel) = subquery_mut(query)
        {
            rel.put_parameters(values);
        }
        let _ = self.children_mut(&mut |e| {
            e.put_parameters(values);
            Ok(())
        });
    }

    /// Structural equality; functions are equal when they are the same registry entry.
    pub fn same(&self, other: &ScalarExpr) -> bool {
        use ExprKind as K;
        if self.ty != other.ty {
            return false;
        }
        let shallow = match (&self.kind, &other.kind) {
            // NaN is itself.
            (K::Const(a), K::Const(b)) => a == b || (is_nan(a) && is_nan(b)),
            (K::Param(a), K::Param(b)) => a == b,
            (K::Column { id: a, .. }, K::Column { id: b, .. }) => a == b,
            (K::Call { function: a, .. }, K::Call { function: b, .. }) => Arc::ptr_eq(a, b),
            (K::Domain { rule: a, .. }, K::Domain { rule: b, .. }) => a.oid == b.oid,
            (K::Fold { rule: a, .. }, K::Fold { rule: b, .. }) => a.oid == b.oid,
            (K::Cast(a), K::Cast(b)) => a.to == b.to && a.explicit == b.explicit,
            (K::IsNull { negated: a, .. }, K::IsNull { negated: b, .. })
            | (K::IsDistinct { negated: a, .. }, K::IsDistinct { negated: b, .. })
            | (K::InList { negated: a, .. }, K::InList { negated: b, .. }) => a == b,
            (K::IsBool { value: a, negated: c, .. }, K::IsBool { value: b, negated: d, .. }) => a == b && c == d,
            (K::Case { whens: a, otherwise: c, .. }, K::Case { whens: b, otherwise: d, .. }) => {
                a.len() == b.len() && c.is_some() == d.is_some()
            }
            (K::AnyAll { operator: a, all: c, .. }, K::AnyAll { operator: b, all: d, .. }) => {
                Arc::ptr_eq(a, b) && c == d
            }
            (K::Query(a), K::Query(b)) => match (&**a, &**b) {
                (QueryExpr::Aggregate(a), QueryExpr::Aggregate(b)) => {
                    Arc::ptr_eq(&a.function, &b.function)
                        && a.distinct == b.distinct
                        && a.args.len() == b.args.len()
                        && a.filter.is_some() == b.filter.is_some()
                        && a.order_by.len() == b.order_by.len()
                        && a.order_by
                            .iter()
                            .zip(&b.order_by)
                            .all(|(x, y)| x.descending == y.descending && x.nulls_first == y.nulls_first)
                }
                _ => return Arc::ptr_eq(a, b) || same_subquery(self, other),
            },
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        };
        let (a, b) = (self.children(), other.children());
        shallow && a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.same(b))
    }
}

/// Whether two subqueries are the same but for the columns that each of them defines.
fn same_subquery(a: &ScalarExpr, b: &ScalarExpr) -> bool {
    let (Some(left), Some(right)) = (a.subquery(), b.subquery()) else { return false };
    let (mut ids, mut others) = (Vec::new(), Vec::new());
    left.definitions(&mut ids);
    right.definitions(&mut others);
    if ids.len() != others.len() {
        return false;
    }
    let mut renamed = b.clone();
    renamed.rename(&others.into_iter().zip(ids).collect());
    renamed == *a
}

fn is_nan(value: &Datum) -> bool {
    match value {
        Datum::Float4(v) => v.is_nan(),
        Datum::Float8(v) => v.is_nan(),
        Datum::Numeric(v) => v.is_nan(),
        _ => false,
    }
}

fn rename(id: &mut ColumnId, map: &HashMap<ColumnId, ColumnId>) {
    if let Some(new) = map.get(id) {
        *id = *new;
    }
}

/// The tree below a subquery.
fn subquery_mut(query: &mut Arc<QueryExpr>) -> Option<&mut Rel> {
    match Arc::make_mut(query) {
        QueryExpr::Scalar { rel, .. }
        | QueryExpr::Array { rel, .. }
        | QueryExpr::Exists { rel }
        | QueryExpr::Quantified { rel, .. } => Some(Arc::make_mut(rel)),
        QueryExpr::Series(_) | QueryExpr::Aggregate(_) | QueryExpr::Window(_) | QueryExpr::Grouping(_) => None,
    }
}

fn window_parts(w: &WindowCall) -> Vec<&ScalarExpr> {
    let mut out: Vec<&ScalarExpr> = w.args.iter().chain(w.filter.as_ref()).chain(&w.partition_by).collect();
    out.extend(w.order_by.iter().map(|k| &k.expr));
    for bound in [&w.frame.start, &w.frame.end] {
        if let FrameBound::Preceding(e) | FrameBound::Following(e) = bound {
            out.push(e);
        }
    }
    out
}

fn window_parts_mut(w: &mut WindowCall, f: &mut ExprVisitor<'_>) -> Result<()> {
    w.args.iter_mut().try_for_each(&mut *f)?;
    w.filter.iter_mut().try_for_each(&mut *f)?;
    w.partition_by.iter_mut().try_for_each(&mut *f)?;
    w.order_by.iter_mut().try_for_each(|k| f(&mut k.expr))?;
    for bound in [&mut w.frame.start, &mut w.frame.end] {
        if let FrameBound::Preceding(e) | FrameBound::Following(e) = bound {
            f(e)?;
        }
    }
    Ok(())
}

fn aggregate_parts_mut(a: &mut Aggregate, f: &mut ExprVisitor<'_>) -> Result<()> {
    a.args.iter_mut().try_for_each(&mut *f)?;
    a.order_by.iter_mut().try_for_each(|k| f(&mut k.expr))?;
    a.filter.iter_mut().try_for_each(f)
}

impl super::rel::JoinKind {
    /// Yields the columns of its left side only.
    pub fn left_only(self) -> bool {
        use super::rel::JoinKind as K;
        matches!(self, K::Semi | K::Anti | K::NullAwareAnti)
    }
}

impl Rel {
    pub fn filter(self, predicate: Option<ScalarExpr>) -> Rel {
        match predicate {
            Some(predicate) => Rel::Filter { input: Box::new(self), predicate },
            None => self,
        }
    }

    /// The same rows; no condition goes below it, so that none looks at rows that what is below keeps back.
    pub fn barrier(self) -> Rel {
        Rel::Series { input: Box::new(self), calls: Vec::new(), ordinality: None }
    }

    /// Joined with `right`, which names none of its columns.
    pub fn join(self, right: Rel, kind: JoinKind, condition: Option<ScalarExpr>) -> Rel {
        Rel::Join { left: Box::new(self), right: Box::new(right), kind, condition, lateral: false }
    }

    pub fn project(self, columns: Vec<(ColumnId, ScalarExpr)>) -> Rel {
        Rel::Project { input: Box::new(self), columns }
    }

    /// The columns that the node yields, in order.
    pub fn outputs(&self) -> Vec<Output> {
        match self {
            Rel::Unit => vec![],
            Rel::Scan(scan) => {
                let mut out: Vec<Output> = scan.columns.iter().map(|c| c.output).collect();
                out.extend(scan.row_id.map(|id| Output { id, ty: crate::types::TypeOid::INT8.into() }));
                out
            }
            Rel::Values { outputs, .. }
            | Rel::SetOperation { outputs, .. }
            | Rel::Recursive { outputs, .. }
            | Rel::WorkTable { outputs, .. } => outputs.clone(),
            Rel::Series { input, calls, ordinality } => {
                let mut out = input.outputs();
                out.extend(calls.iter().flat_map(|c| c.outputs.iter().copied()));
                out.extend(ordinality.map(|id| Output { id, ty: crate::types::TypeOid::INT8.into() }));
                out
            }
            Rel::Filter { input, .. }
            | Rel::Sort { input, .. }
            | Rel::Limit { input, .. }
            | Rel::Distinct { input }
            | Rel::DistinctOn { input, .. } => input.outputs(),
            Rel::Project { columns, .. } => columns.iter().map(|(id, e)| Output { id: *id, ty: e.ty }).collect(),
            Rel::Join { left, right, kind, .. } => {
                let mut out = left.outputs();
                if !kind.left_only() {
                    out.extend(right.outputs());
                }
                out
            }
            Rel::Aggregate { groups, grouping, aggregates, .. } => {
                let mut out: Vec<Output> = groups.iter().map(|(id, e)| Output { id: *id, ty: e.ty }).collect();
                out.extend(grouping.map(|id| Output { id, ty: crate::types::TypeOid::INT8.into() }));
                out.extend(aggregates.iter().map(|(id, a)| Output { id: *id, ty: a.ty }));
                out
            }
            Rel::Window { input, calls } => {
                let mut out = input.outputs();
                out.extend(calls.iter().map(|(id, w)| Output { id: *id, ty: w.ty }));
                out
            }
        }
    }

    pub fn inputs(&self) -> Vec<&Rel> {
        match self {
            Rel::Unit | Rel::Scan(_) | Rel::Values { .. } | Rel::WorkTable { .. } => vec![],
            Rel::Series { input, .. }
            | Rel::Filter { input, .. }
            | Rel::Project { input, .. }
            | Rel::Aggregate { input, .. }
            | Rel::Window { input, .. }
            | Rel::Sort { input, .. }
            | Rel::Limit { input, .. }
            | Rel::Distinct { input }
            | Rel::DistinctOn { input, .. } => vec![input],
            Rel::Join { left, right, .. } | Rel::SetOperation { left, right, .. } => vec![left, right],
            Rel::Recursive { base, step, .. } => vec![base, step],
        }
    }

    pub fn inputs_mut(&mut self) -> Vec<&mut Rel> {
        match self {
            Rel::Unit | Rel::Scan(_) | Rel::Values { .. } | Rel::WorkTable { .. } => vec![],
            Rel::Series { input, .. }
            | Rel::Filter { input, .. }
            | Rel::Project { input, .. }
            | Rel::Aggregate { input, .. }
            | Rel::Window { input, .. }
            | Rel::Sort { input, .. }
            | Rel::Limit { input, .. }
            | Rel::Distinct { input }
            | Rel::DistinctOn { input, .. } => vec![input],
            Rel::Join { left, right, .. } | Rel::SetOperation { left, right, .. } => vec![left, right],
            Rel::Recursive { base, step, .. } => vec![base, step],
        }
    }

    /// The node's own expressions.
    pub fn expressions_mut(&mut self, f: &mut ExprVisitor<'_>) -> Result<()> {
        match self {
            Rel::Unit
            | Rel::Scan(_)
            | Rel::Distinct { .. }
            | Rel::SetOperation { .. }
            | Rel::Recursive { .. }
            | Rel::WorkTable { .. } => Ok(()),
            Rel::Values { rows, .. } => rows.iter_mut().flatten().try_for_each(f),
            Rel::Series { calls, .. } => calls.iter_mut().flat_map(|c| &mut c.args).try_for_each(f),
            Rel::Filter { predicate, .. } => f(predicate),
            Rel::Project { columns, .. } => columns.iter_mut().try_for_each(|(_, e)| f(e)),
            Rel::Join { condition, .. } => condition.iter_mut().try_for_each(f),
            Rel::Aggregate { groups, aggregates, .. } => {
                groups.iter_mut().try_for_each(|(_, e)| f(e))?;
                aggregates.iter_mut().try_for_each(|(_, a)| aggregate_parts_mut(a, f))
            }
            Rel::Window { calls, .. } => calls.iter_mut().try_for_each(|(_, w)| window_parts_mut(w, f)),
            Rel::Sort { keys, .. } => keys.iter_mut().try_for_each(|k| f(&mut k.expr)),
            Rel::Limit { offset, count, .. } => {
                offset.iter_mut().try_for_each(&mut *f)?;
                count.iter_mut().try_for_each(f)
            }
            Rel::DistinctOn { keys, order, .. } => {
                keys.iter_mut().try_for_each(&mut *f)?;
                order.iter_mut().try_for_each(|k| f(&mut k.expr))
            }
        }
    }

    pub fn expressions(&self) -> Vec<&ScalarExpr> {
        match self {
            Rel::Unit
            | Rel::Scan(_)
            | Rel::Distinct { .. }
            | Rel::SetOperation { .. }
            | Rel::Recursive { .. }
            | Rel::WorkTable { .. } => vec![],
            Rel::Values { rows, .. } => rows.iter().flatten().collect(),
            Rel::Series { calls, .. } => calls.iter().flat_map(|c| &c.args).collect(),
            Rel::Filter { predicate, .. } => vec![predicate],
            Rel::Project { columns, .. } => columns.iter().map(|(_, e)| e).collect(),
            Rel::Join { condition, .. } => condition.iter().collect(),
            Rel::Aggregate { groups, aggregates, .. } => groups
                .iter()
                .map(|(_, e)| e)
                .chain(aggregates.iter().flat_map(|(_, a)| {
                    a.args.iter().chain(a.order_by.iter().map(|k| &k.expr)).chain(a.filter.as_ref())
                }))
                .collect(),
            Rel::Window { calls, .. } => calls.iter().flat_map(|(_, w)| window_parts(w)).collect(),
            Rel::Sort { keys, .. } => keys.iter().map(|k| &k.expr).collect(),
            Rel::Limit { offset, count, .. } => offset.iter().chain(count).collect(),
            Rel::DistinctOn { keys, order, .. } => keys.iter().chain(order.iter().map(|k| &k.expr)).collect(),
        }
    }

    /// Ids that this tree defines anywhere, subqueries included.
    pub fn defined(&self, out: &mut HashSet<ColumnId>) {
        let mut ids = Vec::new();
        self.definitions(&mut ids);
        out.extend(ids);
    }

    /// [`Self::defined`] in an order that two trees of one shape share.
    fn definitions(&self, out: &mut Vec<ColumnId>) {
        out.extend(self.outputs().iter().map(|o| o.id));
        for input in self.inputs() {
            input.definitions(out);
        }
        for expr in self.expressions() {
            expr.walk(&mut |e| {
                if let Some(rel) = e.subquery() {
                    rel.definitions(out);
                }
            });
        }
    }

    /// Columns of enclosing queries that this tree names.
    pub fn free_columns(&self, out: &mut HashSet<ColumnId>) {
        let mut named = HashSet::new();
        self.named(&mut named);
        let mut defined = HashSet::new();
        self.defined(&mut defined);
        out.extend(named.difference(&defined));
    }

    pub fn is_correlated(&self) -> bool {
        let mut free = HashSet::new();
        self.free_columns(&mut free);
        !free.is_empty()
    }

    fn named(&self, out: &mut HashSet<ColumnId>) {
        for expr in self.expressions() {
            expr.free_columns(out);
        }
        for input in self.inputs() {
            input.named(out);
        }
    }

    /// Replaces ids where they are defined and where they are named.
    pub fn rename(&mut self, map: &HashMap<ColumnId, ColumnId>) {
        let _ = self.expressions_mut(&mut |e| {
            e.rename(map);
            Ok(())
        });
        let outputs = |outputs: &mut Vec<Output>| outputs.iter_mut().for_each(|o| rename(&mut o.id, map));
        match self {
            Rel::Scan(scan) => {
                scan.columns.iter_mut().for_each(|c| rename(&mut c.output.id, map));
                scan.row_id.iter_mut().for_each(|id| rename(id, map));
            }
            Rel::Values { outputs: o, .. } | Rel::WorkTable { outputs: o, .. } => outputs(o),
            Rel::Series { calls, ordinality, .. } => {
                calls.iter_mut().for_each(|c| outputs(&mut c.outputs));
                ordinality.iter_mut().for_each(|id| rename(id, map));
            }
            Rel::Project { columns, .. } => columns.iter_mut().for_each(|(id, _)| rename(id, map)),
            Rel::Aggregate { groups, grouping, aggregates, .. } => {
                groups.iter_mut().for_each(|(id, _)| rename(id, map));
                grouping.iter_mut().for_each(|id| rename(id, map));
                aggregates.iter_mut().for_each(|(id, _)| rename(id, map));
            }
            Rel::Window { calls, .. } => calls.iter_mut().for_each(|(id, _)| rename(id, map)),
            Rel::SetOperation { outputs: o, left_columns, right_columns, .. } => {
                outputs(o);
                left_columns.iter_mut().chain(right_columns).for_each(|id| rename(id, map));
            }
            Rel::Recursive { outputs: o, base_columns, step_columns, .. } => {
                outputs(o);
                base_columns.iter_mut().chain(step_columns).for_each(|id| rename(id, map));
            }
            Rel::Unit
            | Rel::Filter { .. }
            | Rel::Join { .. }
            | Rel::Sort { .. }
            | Rel::Limit { .. }
            | Rel::Distinct { .. }
            | Rel::DistinctOn { .. } => {}
        }
        for input in self.inputs_mut() {
            input.rename(map);
        }
    }

    /// Replaces columns of enclosing queries by expressions.
    pub fn substitute(&mut self, map: &HashMap<ColumnId, ScalarExpr>) {
        let _ = self.expressions_mut(&mut |e| {
            e.substitute(map);
            Ok(())
        });
        for input in self.inputs_mut() {
            input.substitute(map);
        }
    }
    /// Puts constants in place of parameters.
    pub fn put_parameters(&mut self, values: &[Datum]) {
        let _ = self.expressions_mut(&mut |e| {
            e.put_parameters(values);
            Ok(())
        });
        for input in self.inputs_mut() {
            input.put_parameters(values);
        }
    }
}
