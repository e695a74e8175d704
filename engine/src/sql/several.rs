//! Statements that are several: ALTER TABLE with more than one action, where sqlparser does not read one of them, and
//! CREATE SCHEMA with its elements.

use sqlparser::ast;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::parse::{Source, Statement, parse_one};
use crate::ddl::Extra;
use crate::error::{Error, Result};

/// Where a statement can be cut.
pub struct Several {
    tag: &'static str,
    /// Tokens that every part begins with.
    head: usize,
    /// Beginnings and ends of the parts.
    parts: Vec<(usize, usize)>,
}

fn word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(text))
}

/// The parts of a statement; `None`: it is one.
pub fn split(tokens: &[TokenWithSpan]) -> Option<Several> {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|t| word(t, text));
    if is(0, "alter") && is(1, "table") {
        return split_actions(tokens);
    }
    if is(0, "create") && is(1, "schema") {
        let mut depth = 0;
        let mut cuts = vec![0];
        for (at, token) in tokens.iter().enumerate().skip(2) {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 && (word(token, "create") || word(token, "grant")) {
                cuts.push(at);
            }
        }
        let ends = cuts.iter().skip(1).copied().chain([tokens.len()]);
        let parts: Vec<(usize, usize)> = cuts.iter().copied().zip(ends).collect();
        return (parts.len() > 1).then_some(Several { tag: "CREATE SCHEMA", head: 0, parts });
    }
    None
}

fn split_actions(tokens: &[TokenWithSpan]) -> Option<Several> {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|t| word(t, text));
    let mut at = 2;
    if is(at, "if") {
        at += 2;
    }
    if is(at, "only") {
        at += 1;
    }
    at += 1;
    while tokens.get(at).is_some_and(|t| t.token == Token::Period) {
        at += 2;
    }
    if tokens.get(at).is_some_and(|t| t.token == Token::Mul) {
        at += 1;
    }
    let head = at;
    let (mut depth, mut parts, mut start) = (0, Vec::new(), at);
    for (at, token) in tokens.iter().enumerate().skip(head) {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth -= 1,
            Token::Comma if depth == 0 => {
                parts.push((start, at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push((start, tokens.len()));
    (parts.len() > 1).then_some(Several { tag: "ALTER TABLE", head, parts })
}

impl Several {
    /// The whole if sqlparser reads it, else its parts one by one.
    pub fn parse(self, source: &Source, tokens: Vec<TokenWithSpan>) -> Result<Statement> {
        let whole = parse_one(source, tokens.clone());
        if whole.is_ok() {
            return whole;
        }
        let mut statements = Vec::with_capacity(self.parts.len());
        for (from, to) in &self.parts {
            let part: Vec<TokenWithSpan> = tokens[..self.head].iter().chain(&tokens[*from..*to]).cloned().collect();
            statements.push(parse_one(source, part)?);
        }
        if self.tag == "CREATE SCHEMA" {
            qualify(&mut statements)?;
        }
        Ok(Statement::Ddl(Box::new(Extra::Several { tag: self.tag, statements })))
    }
}

/// Elements of CREATE SCHEMA are made in it.
fn qualify(statements: &mut [Statement]) -> Result<()> {
    let Some((Statement::Sql(first), elements)) = statements.split_first_mut() else { return Ok(()) };
    let schema = match &**first {
        ast::Statement::CreateSchema { schema_name, .. } => match schema_name {
            ast::SchemaName::Simple(name) | ast::SchemaName::NamedAuthorization(name, _) => name.0.last().cloned(),
            ast::SchemaName::UnnamedAuthorization(role) => Some(ast::ObjectNamePart::Identifier(role.clone())),
        },
        _ => None,
    };
    let Some(schema) = schema else { return Ok(()) };
    let within = |name: &mut ast::ObjectName| {
        if name.0.len() == 1 {
            name.0.insert(0, schema.clone());
        }
    };
    for element in elements.iter_mut() {
        match element {
            Statement::Sql(statement) => match &mut **statement {
                ast::Statement::CreateTable(create) => within(&mut create.name),
                ast::Statement::CreateView(create) => within(&mut create.name),
                ast::Statement::CreateIndex(create) => within(&mut create.table_name),
                _ => return Err(Error::unsupported("this element of CREATE SCHEMA")),
            },
            Statement::Ddl(extra) => match &mut **extra {
                Extra::CreateSequence { name, .. } => within(name),
                _ => return Err(Error::unsupported("this element of CREATE SCHEMA")),
            },
            Statement::Utility(_) => return Err(Error::unsupported("this element of CREATE SCHEMA")),
        }
    }
    // What others may name comes first, as in PostgreSQL.
    elements.sort_by_key(|element| match element {
        Statement::Ddl(_) => 0,
        Statement::Sql(statement) => match &**statement {
            ast::Statement::CreateTable(_) => 1,
            ast::Statement::CreateView(_) => 2,
            _ => 3,
        },
        Statement::Utility(_) => 3,
    });
    Ok(())
}
