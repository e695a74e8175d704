//! Syntax of CREATE, ALTER and DROP COLLATION.

use sqlparser::ast::{Ident, ObjectName};
use sqlparser::tokenizer::Token;

use super::{Cursor, Extra, SyntaxError};

#[derive(Debug, Clone)]
pub enum CollationStatement {
    Create {
        name: ObjectName,
        if_not_exists: bool,
        /// Name and value as they were written.
        options: Vec<(String, String)>,
        from: Option<ObjectName>,
    },
    Alter {
        name: ObjectName,
        change: CollationChange,
    },
    Drop {
        names: Vec<ObjectName>,
        if_exists: bool,
        cascade: bool,
    },
}

#[derive(Debug, Clone)]
pub enum CollationChange {
    Rename(Ident),
    Owner(Ident),
    SetSchema(Ident),
    RefreshVersion,
}

type Parsed = Result<Option<Extra>, SyntaxError>;

fn statement(statement: CollationStatement) -> Parsed {
    Ok(Some(Extra::Collation(Box::new(statement))))
}

/// Behind CREATE COLLATION.
pub(super) fn create(c: &mut Cursor<'_>) -> Parsed {
    let if_not_exists = super::if_not_exists(c)?;
    let name = c.object_name()?;
    let (mut options, mut from) = (Vec::new(), None);
    if c.accept("from") {
        from = Some(c.object_name()?);
        return statement(CollationStatement::Create { name, if_not_exists, options, from });
    }
    c.expect_token(&Token::LParen)?;
    loop {
        let option = super::super::names::ident(&c.identifier()?);
        let value = match c.accept_token(&Token::Eq) {
            true if option == "from" => {
                from = Some(c.object_name()?);
                String::new()
            }
            true => c.string().or_else(|_| super::access::setting_value(c))?,
            false => "true".to_owned(),
        };
        options.push((option, value));
        if !c.accept_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    statement(CollationStatement::Create { name, if_not_exists, options, from })
}

/// Behind ALTER COLLATION.
pub(super) fn alter(c: &mut Cursor<'_>) -> Parsed {
    let name = c.object_name()?;
    let at = c.at;
    let change = match c.next_word().as_deref() {
        Some("rename") => {
            c.expect("to")?;
            CollationChange::Rename(c.identifier()?)
        }
        Some("owner") => {
            c.expect("to")?;
            CollationChange::Owner(c.identifier()?)
        }
        Some("set") => {
            c.expect("schema")?;
            CollationChange::SetSchema(c.identifier()?)
        }
        Some("refresh") => {
            c.expect("version")?;
            CollationChange::RefreshVersion
        }
        _ => return Err(at),
    };
    statement(CollationStatement::Alter { name, change })
}

/// Behind DROP COLLATION.
pub(super) fn drop(c: &mut Cursor<'_>) -> Parsed {
    let if_exists = c.if_exists()?;
    let names = c.list(Cursor::object_name)?;
    let cascade = c.cascade();
    statement(CollationStatement::Drop { names, if_exists, cascade })
}
