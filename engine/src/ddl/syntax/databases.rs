//! Syntax of CREATE, ALTER and DROP DATABASE.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::Token;

use super::{Cursor, Extra, SyntaxError};

#[derive(Debug, Clone)]
pub enum DatabaseStatement {
    /// Options by name; `None`: DEFAULT.
    Create {
        name: Ident,
        options: Vec<(String, Option<String>)>,
    },
    Alter {
        name: Ident,
        options: Vec<(String, Option<String>)>,
    },
    Rename {
        name: Ident,
        to: Ident,
    },
    Owner {
        name: Ident,
        owner: Ident,
    },
    Drop {
        name: Ident,
        if_exists: bool,
        force: bool,
    },
}

type Parsed = Result<Option<Extra>, SyntaxError>;

fn statement(statement: DatabaseStatement) -> Parsed {
    Ok(Some(Extra::Database(Box::new(statement))))
}

/// Behind CREATE DATABASE.
pub(super) fn create(c: &mut Cursor<'_>) -> Parsed {
    let name = c.identifier()?;
    c.accept("with");
    statement(DatabaseStatement::Create { name, options: options(c)? })
}

/// Behind ALTER DATABASE.
pub(super) fn alter(c: &mut Cursor<'_>) -> Parsed {
    let name = c.identifier()?;
    if c.accept("rename") {
        c.expect("to")?;
        return statement(DatabaseStatement::Rename { name, to: c.identifier()? });
    }
    if c.accept("owner") {
        c.expect("to")?;
        return statement(DatabaseStatement::Owner { name, owner: c.identifier()? });
    }
    if c.nth_is(0, "set") && c.nth_is(1, "tablespace") {
        return Ok(Some(Extra::Unsupported("ALTER DATABASE SET TABLESPACE")));
    }
    if c.nth_is(0, "refresh") {
        return Ok(Some(Extra::Unsupported("ALTER DATABASE REFRESH COLLATION VERSION")));
    }
    if c.nth_is(0, "set") || c.nth_is(0, "reset") {
        return super::access::setting(c, None, Some(name));
    }
    c.accept("with");
    statement(DatabaseStatement::Alter { name, options: options(c)? })
}

/// Behind DROP DATABASE.
pub(super) fn drop(c: &mut Cursor<'_>) -> Parsed {
    let if_exists = c.if_exists()?;
    let name = c.identifier()?;
    let with = c.accept("with");
    let mut force = false;
    if with || c.nth_is_paren() {
        c.expect_token(&Token::LParen)?;
        loop {
            c.expect("force")?;
            force = true;
            if !c.accept_token(&Token::Comma) {
                break;
            }
        }
        c.expect_token(&Token::RParen)?;
    }
    statement(DatabaseStatement::Drop { name, if_exists, force })
}

fn options(c: &mut Cursor<'_>) -> Result<Vec<(String, Option<String>)>, SyntaxError> {
    let mut options = Vec::new();
    while c.at < c.tokens.len() {
        let start = c.at;
        let name = match c.next_word().ok_or(start)?.as_str() {
            "connection" => {
                c.expect("limit")?;
                "connection_limit".to_owned()
            }
            word => word.to_owned(),
        };
        c.accept_token(&Token::Eq);
        let value = if c.accept("default") { None } else { Some(super::access::setting_value(c)?) };
        options.push((name, value));
    }
    Ok(options)
}
