//! From text to bound statements: parse once, resolve names and types as PostgreSQL does.

/// What only the general path can evaluate: aggregates, windows, set-returning calls, subqueries.
#[derive(Debug)]
pub enum QueryExpr {}
