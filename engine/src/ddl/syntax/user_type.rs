//! CREATE TYPE and ALTER TYPE, which sqlparser reads only in part; DROP TYPE.

use sqlparser::ast::{DataType, Expr, Ident, ObjectName};
use sqlparser::tokenizer::Token;

use super::{Cursor, Extra, SyntaxError};

/// A statement about types that users make.
#[derive(Debug, Clone)]
pub enum TypeStatement {
    CreateEnum {
        name: ObjectName,
        labels: Vec<String>,
    },
    CreateComposite {
        name: ObjectName,
        attributes: Vec<NewAttribute>,
    },
    CreateRange {
        name: ObjectName,
        /// As they were written, a name each.
        options: Vec<(Ident, RangeOption)>,
    },
    CreateExtension {
        name: Ident,
        if_not_exists: bool,
        schema: Option<Ident>,
        version: Option<String>,
    },
    DropExtension {
        names: Vec<Ident>,
        if_exists: bool,
        cascade: bool,
    },
    CreateDomain(Box<NewDomain>),
    AlterDomain {
        name: ObjectName,
        change: Box<DomainChange>,
    },
    Alter {
        name: ObjectName,
        change: TypeChange,
    },
    /// `domain`: DROP DOMAIN.
    Drop {
        names: Vec<ObjectName>,
        if_exists: bool,
        cascade: bool,
        domain: bool,
    },
}

#[derive(Debug, Clone)]
pub enum RangeOption {
    Subtype(DataType),
    Name(ObjectName),
}

#[derive(Debug, Clone)]
pub struct NewAttribute {
    pub name: Ident,
    pub ty: DataType,
    pub collation: Option<ObjectName>,
}

#[derive(Debug, Clone)]
pub enum TypeChange {
    AddAttribute(NewAttribute),
    DropAttribute {
        name: Ident,
        if_exists: bool,
        cascade: bool,
    },
    AlterAttribute(NewAttribute),
    RenameAttribute(Ident, Ident),
    /// `place`: the neighbour, and whether the value goes before it.
    AddValue {
        label: String,
        if_not_exists: bool,
        place: Option<(String, bool)>,
    },
    RenameValue {
        from: String,
        to: String,
    },
    Rename(Ident),
    Owner(Ident),
    SetSchema(Ident),
}

#[derive(Debug, Clone)]
pub struct NewDomain {
    pub name: ObjectName,
    pub ty: DataType,
    /// As many as were written.
    pub defaults: Vec<Expr>,
    pub collation: Option<ObjectName>,
    pub not_null: bool,
    pub null: bool,
    pub checks: Vec<NewCheck>,
    /// What no domain can have: "primary key", "unique", "foreign key".
    pub impossible: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub struct NewCheck {
    pub name: Option<Ident>,
    pub expr: Expr,
}

#[derive(Debug, Clone)]
pub enum DomainChange {
    /// `None`: DROP DEFAULT.
    Default(Option<Expr>),
    NotNull(bool),
    AddCheck {
        check: NewCheck,
        not_valid: bool,
    },
    DropConstraint {
        name: Ident,
        if_exists: bool,
    },
    RenameConstraint(Ident, Ident),
    ValidateConstraint(Ident),
    /// What can be done to any type.
    Type(TypeChange),
}

/// An expression that ends where the next clause of a domain begins.
fn default(c: &mut Cursor<'_>) -> Result<Expr, SyntaxError> {
    let mut depth = 0usize;
    let mut ahead = 0;
    while let Some(token) = c.tokens.get(c.at + ahead) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let ends =
            ["not", "null", "check", "constraint", "default", "collate"].iter().any(|word| c.nth_is(ahead, word));
        if ahead > 0 && depth == 0 && ends {
            break;
        }
        ahead += 1;
    }
    let (whole, end) = (c.tokens, c.at + ahead);
    c.tokens = whole.get(..end).unwrap_or(whole);
    let found = c.with_parser(|parser| parser.parse_expr());
    c.tokens = whole;
    let expr = found?;
    if c.at < end { Err(c.at) } else { Ok(expr) }
}

fn check(c: &mut Cursor<'_>, name: Option<Ident>) -> Result<NewCheck, SyntaxError> {
    c.expect_token(&Token::LParen)?;
    let expr = c.with_parser(|parser| parser.parse_expr())?;
    c.expect_token(&Token::RParen)?;
    Ok(NewCheck { name, expr })
}

pub(super) fn create_domain(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    let name = c.object_name()?;
    c.accept("as");
    let ty = c.data_type()?;
    let mut new = NewDomain {
        name,
        ty,
        defaults: Vec::new(),
        collation: None,
        not_null: false,
        null: false,
        checks: Vec::new(),
        impossible: None,
    };
    while c.at < c.tokens.len() {
        let named = if c.accept("constraint") { Some(c.identifier()?) } else { None };
        let start = c.at;
        match c.next_word().as_deref() {
            Some("default") => new.defaults.push(default(c)?),
            Some("collate") => new.collation = Some(c.object_name()?),
            Some("not") => {
                c.expect("null")?;
                new.not_null = true;
            }
            Some("null") => new.null = true,
            Some("check") => new.checks.push(check(c, named)?),
            Some("primary") => {
                c.expect("key")?;
                new.impossible = Some("primary key");
            }
            Some("unique") => new.impossible = Some("unique"),
            Some("references") => {
                c.object_name()?;
                new.impossible = Some("foreign key");
            }
            _ => return Err(start),
        }
    }
    Ok(statement(TypeStatement::CreateDomain(Box::new(new))))
}

pub(super) fn alter_domain(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    let name = c.object_name()?;
    let start = c.at;
    let change = match c.next_word().as_deref() {
        Some("set") if c.accept("default") => DomainChange::Default(Some(default(c)?)),
        Some("set") if c.accept("not") => {
            c.expect("null")?;
            DomainChange::NotNull(true)
        }
        Some("set") if c.accept("schema") => DomainChange::Type(TypeChange::SetSchema(c.identifier()?)),
        Some("drop") if c.accept("default") => DomainChange::Default(None),
        Some("drop") if c.accept("not") => {
            c.expect("null")?;
            DomainChange::NotNull(false)
        }
        Some("drop") if c.accept("constraint") => {
            let if_exists = c.if_exists()?;
            let name = c.identifier()?;
            c.cascade();
            DomainChange::DropConstraint { name, if_exists }
        }
        Some("add") => {
            let named = if c.accept("constraint") { Some(c.identifier()?) } else { None };
            c.expect("check")?;
            let check = check(c, named)?;
            let not_valid = c.accept("not");
            if not_valid {
                c.expect("valid")?;
            }
            DomainChange::AddCheck { check, not_valid }
        }
        Some("rename") if c.accept("constraint") => {
            let from = c.identifier()?;
            c.expect("to")?;
            DomainChange::RenameConstraint(from, c.identifier()?)
        }
        Some("rename") if c.accept("to") => DomainChange::Type(TypeChange::Rename(c.identifier()?)),
        Some("validate") => {
            c.expect("constraint")?;
            DomainChange::ValidateConstraint(c.identifier()?)
        }
        Some("owner") => {
            c.expect("to")?;
            DomainChange::Type(TypeChange::Owner(c.identifier()?))
        }
        _ => return Err(start),
    };
    Ok(statement(TypeStatement::AlterDomain { name, change: Box::new(change) }))
}

fn statement(statement: TypeStatement) -> Option<Extra> {
    Some(Extra::Type(Box::new(statement)))
}

pub(super) fn create(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    let name = c.object_name()?;
    if c.at >= c.tokens.len() {
        return Ok(Some(Extra::Unsupported("CREATE TYPE of a shell type")));
    }
    if !c.accept("as") {
        return Ok(Some(Extra::Unsupported("CREATE TYPE of a base type")));
    }
    if c.accept("range") {
        return range(c, name);
    }
    if !c.accept("enum") {
        c.expect_token(&Token::LParen)?;
        let mut attributes = Vec::new();
        if !c.accept_token(&Token::RParen) {
            attributes.push(attribute(c)?);
            while c.accept_token(&Token::Comma) {
                attributes.push(attribute(c)?);
            }
            c.expect_token(&Token::RParen)?;
        }
        return Ok(statement(TypeStatement::CreateComposite { name, attributes }));
    }
    c.expect_token(&Token::LParen)?;
    let mut labels = Vec::new();
    if !c.accept_token(&Token::RParen) {
        labels.push(c.string()?);
        while c.accept_token(&Token::Comma) {
            labels.push(c.string()?);
        }
        c.expect_token(&Token::RParen)?;
    }
    Ok(statement(TypeStatement::CreateEnum { name, labels }))
}

/// `(SUBTYPE = …, …)`.
fn range(c: &mut Cursor<'_>, name: ObjectName) -> Result<Option<Extra>, SyntaxError> {
    c.expect_token(&Token::LParen)?;
    let mut options = Vec::new();
    loop {
        let key = c.identifier()?;
        c.expect_token(&Token::Eq)?;
        let value = match key.value.to_lowercase().as_str() {
            "subtype" => RangeOption::Subtype(c.data_type()?),
            _ => RangeOption::Name(c.object_name()?),
        };
        options.push((key, value));
        if !c.accept_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(statement(TypeStatement::CreateRange { name, options }))
}

fn attribute(c: &mut Cursor<'_>) -> Result<NewAttribute, SyntaxError> {
    let name = c.identifier()?;
    let ty = c.data_type()?;
    let collation = if c.accept("collate") { Some(c.object_name()?) } else { None };
    Ok(NewAttribute { name, ty, collation })
}

fn alter_attribute(c: &mut Cursor<'_>, word: &str) -> Result<TypeChange, SyntaxError> {
    let change = match word {
        "add" => TypeChange::AddAttribute(attribute(c)?),
        "drop" => {
            let if_exists = c.if_exists()?;
            TypeChange::DropAttribute { name: c.identifier()?, if_exists, cascade: false }
        }
        "alter" => {
            let name = c.identifier()?;
            if c.accept("set") {
                c.expect("data")?;
            }
            c.expect("type")?;
            let ty = c.data_type()?;
            let collation = if c.accept("collate") { Some(c.object_name()?) } else { None };
            TypeChange::AlterAttribute(NewAttribute { name, ty, collation })
        }
        _ => {
            let from = c.identifier()?;
            c.expect("to")?;
            TypeChange::RenameAttribute(from, c.identifier()?)
        }
    };
    if c.accept("cascade") {
        return Err(c.at.saturating_sub(1));
    }
    c.accept("restrict");
    Ok(change)
}

pub(super) fn alter(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    let name = c.object_name()?;
    let change = match c.next_word().as_deref() {
        Some("add") if c.accept("value") => {
            let if_not_exists = super::if_not_exists(c)?;
            let label = c.string()?;
            let place = match (c.accept("before"), c.accept("after")) {
                (true, _) => Some((c.string()?, true)),
                (_, true) => Some((c.string()?, false)),
                _ => None,
            };
            TypeChange::AddValue { label, if_not_exists, place }
        }
        Some("rename") if c.accept("value") => {
            let from = c.string()?;
            c.expect("to")?;
            TypeChange::RenameValue { from, to: c.string()? }
        }
        Some("rename") if c.accept("to") => TypeChange::Rename(c.identifier()?),
        Some("owner") => {
            c.expect("to")?;
            TypeChange::Owner(c.identifier()?)
        }
        Some("set") if c.accept("schema") => TypeChange::SetSchema(c.identifier()?),
        Some(word @ ("add" | "drop" | "alter" | "rename")) if c.accept("attribute") => alter_attribute(c, word)?,
        Some("set") => return Ok(Some(Extra::Unsupported("ALTER TYPE SET"))),
        _ => return Err(c.at.saturating_sub(1)),
    };
    Ok(statement(TypeStatement::Alter { name, change }))
}

pub(super) fn create_extension(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    let if_not_exists = super::if_not_exists(c)?;
    let name = c.identifier()?;
    c.accept("with");
    let (mut schema, mut version) = (None, None);
    while c.at < c.tokens.len() {
        if c.accept("schema") {
            schema = Some(c.identifier()?);
        } else if c.accept("version") {
            version = Some(c.string().or_else(|_| c.identifier().map(|i| i.value))?);
        } else {
            c.expect("cascade")?;
        }
    }
    Ok(statement(TypeStatement::CreateExtension { name, if_not_exists, schema, version }))
}

pub(super) fn drop_extension(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    let if_exists = c.if_exists()?;
    let names = c.list(Cursor::identifier)?;
    let cascade = c.cascade();
    Ok(statement(TypeStatement::DropExtension { names, if_exists, cascade }))
}

pub(super) fn drop(c: &mut Cursor<'_>, domain: bool) -> Result<Option<Extra>, SyntaxError> {
    let if_exists = c.if_exists()?;
    let names = c.list(Cursor::object_name)?;
    let cascade = c.cascade();
    Ok(statement(TypeStatement::Drop { names, if_exists, cascade, domain }))
}
