//! Syntax of replication strategies.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::{Extra, SyntaxError, if_not_exists};
use crate::catalog::Policy;
use crate::ddl::routine_syntax;

/// REPLICATE TO … USING … WITH (…).
#[derive(Debug, Clone)]
pub struct StrategyDefinition {
    pub nodes: Vec<Ident>,
    pub policy: Policy,
    /// Name and value.
    pub options: Vec<(String, i64)>,
}

/// CREATE TABLE with a strategy and nothing else; whatever else it is, is sqlparser's to read.
pub(super) fn of_table(c: &mut Cursor<'_>) -> Option<Extra> {
    let if_not_exists = if_not_exists(c).ok()?;
    let table = c.object_name().ok()?;
    if !c.accept("using") {
        return None;
    }
    let strategy = c.identifier().ok()?;
    (c.at == c.tokens.len()).then_some(Extra::UseStrategy { table, if_not_exists, strategy })
}

/// The commas between nodes may be left out.
pub(super) fn definition(c: &mut Cursor<'_>) -> Result<StrategyDefinition, SyntaxError> {
    c.expect("replicate")?;
    c.expect("to")?;
    let mut nodes = Vec::new();
    loop {
        if c.nth_is(0, "using") {
            return Err(c.at);
        }
        nodes.push(c.identifier()?);
        if !c.accept_token(&Token::Comma) && c.accept("using") {
            break;
        }
    }
    let start = c.at;
    let policy = match c.next_word().as_deref() {
        Some("random") => Policy::Random,
        Some("row") => Policy::Row,
        Some("region") => Policy::Region,
        _ => return Err(start),
    };
    let mut options = Vec::new();
    if c.accept("with") {
        c.expect_token(&Token::LParen)?;
        loop {
            let name = crate::ddl::names::ident(&c.identifier()?);
            c.expect_token(&Token::Eq)?;
            options.push((name, c.integer()?));
            if !c.accept_token(&Token::Comma) {
                break;
            }
        }
        c.expect_token(&Token::RParen)?;
    }
    Ok(StrategyDefinition { nodes, policy, options })
}

pub(super) fn alter(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    c.expect("strategy")?;
    let name = c.identifier()?;
    if c.accept("rename") {
        c.expect("to")?;
        return Ok(Some(Extra::RenameStrategy { name, to: c.identifier()? }));
    }
    Ok(Some(Extra::AlterStrategy { name, definition: definition(c)? }))
}

pub(super) fn drop(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    if let Some(kind) = routine_syntax::kind(c) {
        return routine_syntax::drop(c, kind).map(Some);
    }
    if c.nth_is(0, "index") && c.nth_is(1, "concurrently") {
        c.at += 2;
        let if_exists = c.if_exists()?;
        let name = c.object_name()?;
        let cascade = c.cascade();
        return Ok(Some(Extra::DropIndexConcurrently { name, if_exists, cascade }));
    }
    let kind = if c.nth_is(0, "replication") && c.nth_is(1, "strategy") {
        "REPLICATION STRATEGY"
    } else if c.nth_is(0, "access") && c.nth_is(1, "method") {
        "ACCESS METHOD"
    } else {
        return Ok(None);
    };
    c.at += 2;
    let if_exists = c.if_exists()?;
    let names = c.list(Cursor::identifier)?;
    let cascade = c.cascade();
    Ok(Some(Extra::DropStrategy { kind, names, if_exists, cascade }))
}
