//! Mends what sqlparser binds too loosely: it takes all that follows `IS [NOT] DISTINCT FROM` as its right side, AND and OR
//! included, where PostgreSQL ends it before them (SQL syntax, section 4.1.6).
//!
//! An AND or OR that was written in parentheses is [`Expr::Nested`], so one that is not, below an operator that binds
//! closer, can only be such a mistake: it moves up.

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value, VisitMut, visit_expressions_mut};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Whether the tokens hold what has to be mended.
pub(super) fn concerns(tokens: &[TokenWithSpan]) -> bool {
    let is = |token: &TokenWithSpan, keyword| matches!(&token.token, Token::Word(word) if word.keyword == keyword);
    tokens.windows(2).any(|pair| match pair {
        [first, second] => is(first, Keyword::DISTINCT) && is(second, Keyword::FROM),
        _ => false,
    })
}

/// Mends every expression of a tree, innermost first.
pub(super) fn mend(tree: &mut impl VisitMut) {
    let _ = visit_expressions_mut(tree, |expr| {
        mend_one(expr);
        ControlFlow::<()>::Continue(())
    });
}

fn is_and_or_or(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. })
}

fn mend_one(expr: &mut Expr) {
    let wrong = match expr {
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => is_and_or_or(right),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => is_and_or_or(expr),
        // `x AND (y AND z)` is what it would be the other way round.
        Expr::BinaryOp { op: BinaryOperator::And, right, .. } => is_and_or_or(right) && !is_all_and(right),
        _ => false,
    };
    if wrong {
        lift(expr);
    }
}

/// Whether no OR is on the way down the left.
fn is_all_and(mut expr: &Expr) -> bool {
    while let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), left, .. } = expr {
        if *op == BinaryOperator::Or {
            return false;
        }
        expr = left;
    }
    true
}

fn nothing() -> Expr {
    Expr::Value(Value::Null.into())
}

/// Puts `expr` in the place of the leftmost operand of the ANDs and ORs on its right, which becomes its right side.
fn lift(expr: &mut Expr) {
    let mut inner = std::mem::replace(expr, nothing());
    let right = match &mut inner {
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => right,
        Expr::BinaryOp { right, .. } => right,
        Expr::UnaryOp { expr, .. } => expr,
        _ => {
            *expr = inner;
            return;
        }
    };
    *expr = std::mem::replace(&mut **right, nothing());
    let mut operand = &mut *expr;
    let leftmost = loop {
        match operand {
            Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, left, .. } => operand = left,
            other => break other,
        }
    };
    let operand = std::mem::replace(leftmost, nothing());
    match &mut inner {
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => **right = operand,
        Expr::BinaryOp { right, .. } => **right = operand,
        Expr::UnaryOp { expr, .. } => **expr = operand,
        _ => {}
    }
    *leftmost = inner;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::sql::parse::parse_expression;

    #[test]
    fn distinct_from_ends_before_and_and_or() {
        for (written, meant) in [
            ("a IS DISTINCT FROM b AND c", "(a IS DISTINCT FROM b) AND c"),
            ("a IS NOT DISTINCT FROM b OR c", "(a IS NOT DISTINCT FROM b) OR c"),
            ("a IS DISTINCT FROM b AND c OR d", "((a IS DISTINCT FROM b) AND c) OR d"),
            ("a IS DISTINCT FROM b OR c AND d", "(a IS DISTINCT FROM b) OR (c AND d)"),
            ("x AND a IS DISTINCT FROM b OR c", "(x AND (a IS DISTINCT FROM b)) OR c"),
            ("x OR a IS DISTINCT FROM b AND c", "x OR ((a IS DISTINCT FROM b) AND c)"),
            ("NOT a IS DISTINCT FROM b AND c", "(NOT (a IS DISTINCT FROM b)) AND c"),
            (
                "a IS DISTINCT FROM b AND c IS DISTINCT FROM d AND e",
                "(a IS DISTINCT FROM b) AND ((c IS DISTINCT FROM d) AND e)",
            ),
            ("a IS DISTINCT FROM (b AND c)", "a IS DISTINCT FROM (b AND c)"),
            ("a IS DISTINCT FROM b + 1 AND c", "(a IS DISTINCT FROM b + 1) AND c"),
        ] {
            let shape = |sql: &str| strip(parse_expression(sql).unwrap().0);
            assert_eq!(shape(written), shape(meant), "{written}");
        }
    }

    /// Every operation in parentheses, and no others.
    fn strip(expr: super::Expr) -> String {
        use super::Expr;
        match expr {
            Expr::Nested(inner) => strip(*inner),
            Expr::BinaryOp { left, op, right } => format!("({} {op} {})", strip(*left), strip(*right)),
            Expr::UnaryOp { op, expr } => format!("({op} {})", strip(*expr)),
            Expr::IsDistinctFrom(l, r) => format!("({} DF {})", strip(*l), strip(*r)),
            Expr::IsNotDistinctFrom(l, r) => format!("({} NDF {})", strip(*l), strip(*r)),
            other => other.to_string(),
        }
    }
}
