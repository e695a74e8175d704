//! Long chains of operators. sqlparser reads `a OR b OR c …` into a tree that leans to the left and is as deep as the chain is
//! long, while what comes after it descends by recursion: sqlparser's own spans, comparisons and drops among it.
//!
//! Operands of AND and OR, which may be paired in any way, become balanced trees; any other chain ends at a depth that
//! every pass has the stack for (54001).

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, Value, VisitMut, VisitorMut};

/// A text of fewer tokens holds no chain that is too long.
pub(super) const TOKENS_MIN: usize = 1000;

/// Deeper than the binder goes, and far less than a thread's stack allows.
const DEPTH_MAX: usize = 1500;

/// Chains of AND and OR that are no longer stay as they are.
const LEANING_MAX: usize = 64;

/// Balances every AND and OR of a tree; false: another chain is too long, and the tree is no longer whole.
pub(super) fn balance(tree: &mut impl VisitMut) -> bool {
    tree.visit(&mut Balancer).is_continue()
}

struct Balancer;

impl VisitorMut for Balancer {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = expr {
            let op = op.clone();
            if leaning(expr, |e| matches!(e, Expr::BinaryOp { op: inner, .. } if *inner == op)) > LEANING_MAX {
                let operands = operands(std::mem::replace(expr, nothing()), &op);
                *expr = pair(operands, &op);
            }
        }
        if leaning(expr, |_| true) > DEPTH_MAX {
            dismantle(std::mem::replace(expr, nothing()));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

fn nothing() -> Expr {
    Expr::Value(Value::Null.into())
}

/// What stands first in an expression that a loop of the parser made longer.
fn first(expr: &mut Expr) -> Option<&mut Box<Expr>> {
    match expr {
        Expr::BinaryOp { left, .. }
        | Expr::IsDistinctFrom(left, _)
        | Expr::IsNotDistinctFrom(left, _)
        | Expr::AnyOp { left, .. }
        | Expr::AllOp { left, .. } => Some(left),
        Expr::IsNull(expr)
        | Expr::IsNotNull(expr)
        | Expr::IsTrue(expr)
        | Expr::IsNotTrue(expr)
        | Expr::IsFalse(expr)
        | Expr::IsNotFalse(expr)
        | Expr::IsUnknown(expr)
        | Expr::IsNotUnknown(expr)
        | Expr::Cast { expr, .. }
        | Expr::Collate { expr, .. }
        | Expr::AtTimeZone { timestamp: expr, .. }
        | Expr::CompoundFieldAccess { root: expr, .. }
        | Expr::InList { expr, .. }
        | Expr::InSubquery { expr, .. }
        | Expr::Between { expr, .. }
        | Expr::Like { expr, .. }
        | Expr::ILike { expr, .. }
        | Expr::SimilarTo { expr, .. } => Some(expr),
        _ => None,
    }
}

/// How many expressions stand one in front of the other, as long as `counts` holds.
fn leaning(mut expr: &mut Expr, counts: impl Fn(&Expr) -> bool) -> usize {
    let mut length = 0;
    while counts(expr)
        && let Some(next) = first(expr)
    {
        length += 1;
        expr = next;
    }
    length
}

/// The operands of a chain of one operator, in their order. What was written in parentheses is an operand.
fn operands(expr: Expr, op: &BinaryOperator) -> Vec<Expr> {
    let (mut rest, mut out) = (vec![expr], Vec::new());
    while let Some(next) = rest.pop() {
        match next {
            Expr::BinaryOp { left, op: inner, right } if inner == *op => rest.extend([*left, *right]),
            operand => out.push(operand),
        }
    }
    out.reverse();
    out
}

fn pair(mut level: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while level.len() > 1 {
        let mut rest = level.into_iter();
        level = Vec::with_capacity(rest.len().div_ceil(2));
        while let Some(left) = rest.next() {
            level.push(match rest.next() {
                Some(right) => Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) },
                None => left,
            });
        }
    }
    level.pop().unwrap_or_else(nothing)
}

/// Drops a chain from its end, which a recursive drop could not.
fn dismantle(mut expr: Expr) {
    while let Some(next) = first(&mut expr) {
        expr = std::mem::replace(next, nothing());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parse::parse_expression;

    fn depth(sql: &str) -> usize {
        let mut expr = parse_expression(sql).unwrap().0;
        assert_eq!(expr.to_string(), sql);
        super::leaning(&mut expr, |_| true)
    }

    #[test]
    fn long_chains_are_balanced_or_refused() {
        let chain = |count: usize, item: &str, by: &str| vec![item; count].join(by);
        assert_eq!(depth(&chain(20, "a = 1", " OR ")), 20);
        assert!(depth(&chain(20_000, "a = 1", " OR ")) < 20);
        assert!(depth(&chain(10_000, "a < 1 OR b", " AND ")) < 20);
        for (count, item, by) in [(2000, "1", " + "), (50_000, "1", " + "), (5_000, "a", " IS NULL OR b::int::")] {
            match parse_expression(&chain(count, item, by)) {
                Err(error) => assert_eq!(error.state().code(), "54001"),
                Ok(_) => assert!(by.contains("OR")),
            }
        }
        let casts = format!("a{}", "::int".repeat(10_000));
        assert_eq!(parse_expression(&casts).unwrap_err().state().code(), "54001");
    }
}
