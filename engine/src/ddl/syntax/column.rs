//! Syntax of ALTER COLUMN that sqlparser does not read.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::SyntaxError;
use super::cursor::Cursor;
use super::sequence::{self, SequenceOptions};

#[derive(Debug, Clone)]
pub enum ColumnChange {
    DropIdentity {
        if_exists: bool,
    },
    DropExpression {
        if_exists: bool,
    },
    /// SET GENERATED, SET of options of its sequence, RESTART.
    Identity {
        always: Option<bool>,
        options: SequenceOptions,
    },
    /// ADD GENERATED … AS IDENTITY.
    AddIdentity {
        always: bool,
        options: SequenceOptions,
    },
    /// SET STATISTICS.
    Statistics(i64),
    /// STORAGE and options: how PostgreSQL keeps and counts values.
    Physical(&'static str),
    /// SET COMPRESSION: name of the method, or `default`.
    Compression(String),
}

/// What follows ALTER COLUMN name, if it is none of sqlparser's.
pub(super) fn change(c: &mut Cursor<'_>) -> Result<Option<ColumnChange>, SyntaxError> {
    if c.nth_is(0, "add") && c.nth_is(1, "generated") {
        return add_identity(c).map(Some);
    }
    if c.accept("drop") {
        let identity = c.accept("identity");
        if !identity && !c.accept("expression") {
            return Ok(None);
        }
        let if_exists = c.if_exists()?;
        return Ok(Some(match identity {
            true => ColumnChange::DropIdentity { if_exists },
            false => ColumnChange::DropExpression { if_exists },
        }));
    }
    if c.nth_is(0, "set") && c.nth_is(1, "compression") {
        c.at += 2;
        return Ok(Some(ColumnChange::Compression(crate::ddl::names::ident(&c.identifier()?))));
    }
    if c.nth_is(0, "set") && c.nth_is(1, "statistics") {
        c.at += 2;
        return Ok(Some(ColumnChange::Statistics(c.integer()?)));
    }
    if c.nth_is(0, "set") || c.nth_is(0, "reset") {
        if c.nth_is(1, "storage") {
            c.at = c.tokens.len();
            return Ok(Some(ColumnChange::Physical("STORAGE")));
        }
        if matches!(c.tokens.get(c.at + 1).map(|t| &t.token), Some(Token::LParen)) {
            c.at = c.tokens.len();
            return Ok(Some(ColumnChange::Physical("options")));
        }
    }
    let sequence = ["generated", "increment", "minvalue", "maxvalue", "start", "restart", "cache", "cycle", "no"];
    let identity = (c.nth_is(0, "set") && sequence.iter().any(|word| c.nth_is(1, word))) || c.nth_is(0, "restart");
    if !identity {
        return Ok(None);
    }
    let (mut always, mut options) = (None, SequenceOptions::default());
    while c.at < c.tokens.len() {
        c.accept("set");
        if c.accept("generated") {
            always = Some(c.accept("always"));
            if always == Some(false) {
                c.expect("by")?;
                c.expect("default")?;
            }
            continue;
        }
        // One option, up to the next SET or RESTART.
        let start = c.at;
        let next = |t: &TokenWithSpan| matches!(&t.token, Token::Word(w) if matches!(w.value.to_lowercase().as_str(), "set" | "restart"));
        let length = c.tokens[start..].iter().skip(1).position(next).map_or(c.tokens.len() - start, |n| n + 1);
        let mut one = Cursor { tokens: &c.tokens[..start + length], at: start };
        let given = sequence::options(&mut one)?;
        options.increment = given.increment.or(options.increment);
        options.min = given.min.or(options.min);
        options.max = given.max.or(options.max);
        options.start = given.start.or(options.start);
        options.restart = given.restart.or(options.restart);
        options.cache = given.cache.or(options.cache);
        options.cycle = given.cycle.or(options.cycle);
        c.at = start + length;
    }
    Ok(Some(ColumnChange::Identity { always, options }))
}

fn add_identity(c: &mut Cursor<'_>) -> Result<ColumnChange, SyntaxError> {
    c.expect("add")?;
    c.expect("generated")?;
    let always = c.accept("always");
    if !always {
        c.expect("by")?;
        c.expect("default")?;
    }
    c.expect("as")?;
    c.expect("identity")?;
    let mut options = SequenceOptions::default();
    if c.accept_token(&Token::LParen) {
        let end = c.tokens.len().saturating_sub(1);
        if c.tokens.get(end).is_none_or(|t| t.token != Token::RParen) {
            return Err(c.tokens.len());
        }
        let mut inner = Cursor { tokens: &c.tokens[..end], at: c.at };
        options = sequence::options(&mut inner)?;
        c.at = end + 1;
    }
    Ok(ColumnChange::AddIdentity { always, options })
}
