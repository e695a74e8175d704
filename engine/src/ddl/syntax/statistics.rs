//! Syntax of CREATE, ALTER, DROP and COMMENT ON STATISTICS.

use sqlparser::ast::{Expr, Ident, ObjectName};
use sqlparser::tokenizer::Token;

use super::{Cursor, Extra, SyntaxError};

#[derive(Debug, Clone)]
pub enum StatisticsStatement {
    Create {
        name: ObjectName,
        if_not_exists: bool,
        kinds: Vec<Ident>,
        elements: Vec<Element>,
        table: ObjectName,
        /// What FROM has besides one relation.
        more: Option<MoreRelations>,
    },
    Alter {
        name: ObjectName,
        if_exists: bool,
        change: StatisticsChange,
    },
    Drop {
        names: Vec<ObjectName>,
        if_exists: bool,
    },
    Comment {
        name: ObjectName,
        comment: Option<String>,
    },
}

/// What statistics are of.
#[derive(Debug, Clone)]
pub enum Element {
    Column(Ident),
    Expression(Box<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoreRelations {
    Listed,
    /// A join.
    Other,
}

#[derive(Debug, Clone)]
pub enum StatisticsChange {
    Rename(Ident),
    Owner(Ident),
    SetSchema(Ident),
    SetTarget(i64),
}

fn statement(statement: StatisticsStatement) -> Result<Extra, SyntaxError> {
    Ok(Extra::Statistics(Box::new(statement)))
}

/// Behind CREATE STATISTICS.
pub(super) fn create(c: &mut Cursor<'_>) -> Result<Extra, SyntaxError> {
    let if_not_exists = super::if_not_exists(c)?;
    if c.nth_is(0, "on") {
        return Err(c.at);
    }
    let name = c.object_name()?;
    let mut kinds = Vec::new();
    if c.accept_token(&Token::LParen) {
        kinds = c.list(Cursor::identifier)?;
        c.expect_token(&Token::RParen)?;
    }
    c.expect("on")?;
    let mut elements = vec![element(c)?];
    while c.accept_token(&Token::Comma) {
        elements.push(element(c)?);
    }
    c.expect("from")?;
    let table = c.object_name()?;
    let more = match c.tokens.get(c.at) {
        None => None,
        Some(token) if token.token == Token::Comma => Some(MoreRelations::Listed),
        Some(_) if ["join", "cross", "inner", "left", "right", "full", "natural"].iter().any(|w| c.nth_is(0, w)) => {
            Some(MoreRelations::Other)
        }
        Some(_) => return Err(c.at),
    };
    if more.is_some() {
        c.at = c.tokens.len();
    }
    statement(StatisticsStatement::Create { name, if_not_exists, kinds, elements, table, more })
}

/// A column, a call, or an expression in parentheses.
fn element(c: &mut Cursor<'_>) -> Result<Element, SyntaxError> {
    let start = c.at;
    let mut depth = 0usize;
    while let Some(token) = c.tokens.get(c.at) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1).ok_or(c.at)?,
            Token::Comma if depth == 0 => break,
            _ if depth == 0 && c.nth_is(0, "from") => break,
            _ => {}
        }
        c.at += 1;
    }
    let tokens = c.tokens.get(start..c.at).unwrap_or_default();
    match tokens {
        [] => return Err(start),
        [only] => {
            let Token::Word(word) = &only.token else { return Err(start) };
            return Ok(Element::Column(word.clone().into_ident(only.span)));
        }
        [.., last] if last.token != Token::RParen => return Err(start + 1),
        _ => {}
    }
    crate::sql::rewrite::expression_of(tokens).map(|expr| Element::Expression(Box::new(expr))).ok_or(start)
}

/// Behind ALTER STATISTICS.
pub(super) fn alter(c: &mut Cursor<'_>) -> Result<Extra, SyntaxError> {
    let if_exists = c.if_exists()?;
    let name = c.object_name()?;
    let at = c.at;
    let change = match c.next_word().as_deref() {
        Some("rename") if !if_exists => {
            c.expect("to")?;
            StatisticsChange::Rename(c.identifier()?)
        }
        Some("owner") if !if_exists => {
            c.expect("to")?;
            StatisticsChange::Owner(c.identifier()?)
        }
        Some("set") if c.accept("statistics") => StatisticsChange::SetTarget(c.integer()?),
        Some("set") if !if_exists => {
            c.expect("schema")?;
            StatisticsChange::SetSchema(c.identifier()?)
        }
        _ => return Err(at),
    };
    statement(StatisticsStatement::Alter { name, if_exists, change })
}

/// Behind DROP STATISTICS.
pub(super) fn drop(c: &mut Cursor<'_>) -> Result<Extra, SyntaxError> {
    let if_exists = c.if_exists()?;
    let names = c.list(Cursor::object_name)?;
    // Nothing depends on statistics.
    c.cascade();
    statement(StatisticsStatement::Drop { names, if_exists })
}

/// Behind COMMENT ON STATISTICS.
pub(super) fn comment(c: &mut Cursor<'_>) -> Result<Extra, SyntaxError> {
    let name = c.object_name()?;
    let comment = super::comment_text(c)?;
    statement(StatisticsStatement::Comment { name, comment })
}
