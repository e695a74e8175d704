//! CREATE, ALTER and DROP POLICY, and the actions of ALTER TABLE for row level security.

use sqlparser::ast::{Expr, Ident, ObjectName};
use sqlparser::tokenizer::Token;

use super::{Cursor, Extra, SyntaxError};
use crate::catalog::PolicyCommand;

#[derive(Debug, Clone)]
pub struct PolicyStatement {
    pub name: Ident,
    pub table: ObjectName,
    pub change: PolicyChange,
}

#[derive(Debug, Clone)]
pub enum PolicyChange {
    Create {
        permissive: bool,
        command: PolicyCommand,
        terms: PolicyTerms,
    },
    Alter(PolicyTerms),
    Rename(Ident),
    Drop {
        if_exists: bool,
    },
    Comment(Option<String>),
    /// What stands behind AS is neither of the two kinds.
    UnknownKind(Ident),
}

/// What was written of a policy.
#[derive(Debug, Clone)]
pub struct PolicyTerms {
    pub roles: Option<Vec<Ident>>,
    pub using: Option<Expr>,
    pub check: Option<Expr>,
}

/// One of ENABLE, DISABLE, FORCE and NO FORCE ROW LEVEL SECURITY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowSecurityChange {
    Enable(bool),
    Force(bool),
}

impl RowSecurityChange {
    /// As messages name it.
    pub fn action(self) -> &'static str {
        match self {
            RowSecurityChange::Enable(true) => "ENABLE ROW SECURITY",
            RowSecurityChange::Enable(false) => "DISABLE ROW SECURITY",
            RowSecurityChange::Force(true) => "FORCE ROW SECURITY",
            RowSecurityChange::Force(false) => "NO FORCE ROW SECURITY",
        }
    }
}

fn statement(name: Ident, table: ObjectName, change: PolicyChange) -> Extra {
    Extra::Policy(Box::new(PolicyStatement { name, table, change }))
}

fn named(c: &mut Cursor<'_>) -> Result<(Ident, ObjectName), SyntaxError> {
    let name = c.identifier()?;
    c.expect("on")?;
    Ok((name, c.object_name()?))
}

/// Behind CREATE POLICY.
pub(super) fn create(c: &mut Cursor<'_>) -> Result<Extra, SyntaxError> {
    let (name, table) = named(c)?;
    let mut permissive = true;
    if c.accept("as") {
        let kind = c.identifier()?;
        let is = |word: &str| kind.quote_style.is_none() && kind.value.eq_ignore_ascii_case(word);
        permissive = is("permissive");
        if !permissive && !is("restrictive") {
            c.at = c.tokens.len();
            return Ok(statement(name, table, PolicyChange::UnknownKind(kind)));
        }
    }
    let mut command = PolicyCommand::All;
    if c.accept("for") {
        let at = c.at;
        command = match c.next_word().as_deref() {
            Some("all") => PolicyCommand::All,
            Some("select") => PolicyCommand::Select,
            Some("insert") => PolicyCommand::Insert,
            Some("update") => PolicyCommand::Update,
            Some("delete") => PolicyCommand::Delete,
            _ => return Err(at),
        };
    }
    let terms = terms(c)?;
    Ok(statement(name, table, PolicyChange::Create { permissive, command, terms }))
}

/// Behind ALTER POLICY.
pub(super) fn alter(c: &mut Cursor<'_>) -> Result<Extra, SyntaxError> {
    if c.nth_is(0, "if") {
        // Only RENAME has it, and there it makes no difference that anybody could see.
        return Err(c.at);
    }
    let (name, table) = named(c)?;
    if c.accept("rename") {
        c.expect("to")?;
        let to = c.identifier()?;
        return Ok(statement(name, table, PolicyChange::Rename(to)));
    }
    let terms = terms(c)?;
    Ok(statement(name, table, PolicyChange::Alter(terms)))
}

/// Behind DROP POLICY.
pub(super) fn drop(c: &mut Cursor<'_>) -> Result<Extra, SyntaxError> {
    let if_exists = c.if_exists()?;
    let (name, table) = named(c)?;
    c.cascade();
    Ok(statement(name, table, PolicyChange::Drop { if_exists }))
}

/// Behind COMMENT ON POLICY.
pub(super) fn comment(c: &mut Cursor<'_>) -> Result<Extra, SyntaxError> {
    let (name, table) = named(c)?;
    let comment = super::comment_text(c)?;
    Ok(statement(name, table, PolicyChange::Comment(comment)))
}

fn terms(c: &mut Cursor<'_>) -> Result<PolicyTerms, SyntaxError> {
    let mut terms = PolicyTerms { roles: None, using: None, check: None };
    if c.accept("to") {
        terms.roles = Some(c.list(Cursor::identifier)?);
    }
    if c.accept("using") {
        terms.using = Some(condition(c)?);
    }
    if c.accept("with") {
        c.expect("check")?;
        terms.check = Some(condition(c)?);
    }
    Ok(terms)
}

/// An expression in parentheses.
fn condition(c: &mut Cursor<'_>) -> Result<Expr, SyntaxError> {
    c.expect_token(&Token::LParen)?;
    let start = c.at;
    let mut depth = 1;
    while depth > 0 {
        match c.tokens.get(c.at).ok_or(c.at)?.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        c.at += 1;
    }
    let inner = c.tokens.get(start..c.at - 1).unwrap_or_default();
    // What sqlparser does not read as it stands is spelled in its way first.
    crate::sql::rewrite::expression_of(inner).ok_or(start)
}

/// The action, if ALTER TABLE goes on with one of these.
pub(super) fn row_security(c: &mut Cursor<'_>) -> Result<Option<RowSecurityChange>, SyntaxError> {
    let change = match (c.nth_is(0, "no"), c.nth_is(usize::from(c.nth_is(0, "no")), "force")) {
        (no, true) => RowSecurityChange::Force(!no),
        _ if c.nth_is(1, "row") && c.nth_is(0, "enable") => RowSecurityChange::Enable(true),
        _ if c.nth_is(1, "row") && c.nth_is(0, "disable") => RowSecurityChange::Enable(false),
        _ => return Ok(None),
    };
    c.at += if change == RowSecurityChange::Force(false) { 2 } else { 1 };
    c.expect("row")?;
    c.expect("level")?;
    c.expect("security")?;
    Ok(Some(change))
}
