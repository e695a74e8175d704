//! CREATE, ALTER and DROP of FUNCTION and PROCEDURE, from tokens.

use sqlparser::ast::{DataType, Expr, Ident, ObjectName};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::syntax::{Cursor, Extra, RelationChange, SyntaxError};
use crate::catalog::ArgMode;
use crate::sql::parse::parse_expression;

#[derive(Debug, Clone)]
pub struct CreateRoutine {
    pub name: ObjectName,
    pub or_replace: bool,
    pub procedure: bool,
    pub args: Vec<WrittenArg>,
    /// RETURNS: SETOF, and the type. `None`: the OUT arguments say it.
    pub returns: Option<(bool, DataType)>,
    pub table: bool,
    pub attributes: Attributes,
    pub language: Option<String>,
    pub body: Option<Body>,
}

#[derive(Debug, Clone)]
pub enum Body {
    Text(String),
    /// `RETURN expression`.
    Return(String),
    /// Statements of BEGIN ATOMIC.
    Atomic(String),
}

/// Attributes that were written; the others keep their value.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    pub volatility: Option<char>,
    pub strict: Option<bool>,
    pub security_definer: Option<bool>,
    pub leakproof: Option<bool>,
    pub parallel: Option<char>,
    pub cost: Option<f32>,
    pub rows: Option<f32>,
}

#[derive(Debug, Clone)]
pub struct WrittenArg {
    pub name: Option<String>,
    pub mode: ArgMode,
    pub ty: DataType,
    pub default: Option<String>,
}

/// A routine as DROP and ALTER name it.
#[derive(Debug, Clone)]
pub struct RoutineName {
    pub name: ObjectName,
    /// `None`: no argument list.
    pub args: Option<Vec<WrittenArg>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoutineKind {
    Function,
    Procedure,
    Aggregate,
    /// Any of them.
    Routine,
}

impl RoutineKind {
    pub fn word(self) -> &'static str {
        match self {
            RoutineKind::Function => "function",
            RoutineKind::Procedure => "procedure",
            RoutineKind::Aggregate => "aggregate",
            RoutineKind::Routine => "routine",
        }
    }
}

#[derive(Debug, Clone)]
pub enum RoutineChange {
    Relation(RelationChange),
    Attributes(Attributes),
}

pub fn kind(c: &mut Cursor<'_>) -> Option<RoutineKind> {
    let found = [
        ("function", RoutineKind::Function),
        ("procedure", RoutineKind::Procedure),
        ("aggregate", RoutineKind::Aggregate),
        ("routine", RoutineKind::Routine),
    ];
    found.into_iter().find(|(word, _)| c.accept(word)).map(|(_, kind)| kind)
}

/// Behind CREATE [OR REPLACE] FUNCTION or PROCEDURE.
pub fn create(c: &mut Cursor<'_>, or_replace: bool, procedure: bool) -> Result<Extra, SyntaxError> {
    let name = c.object_name()?;
    let mut args = arguments(c)?;
    let mut routine = CreateRoutine {
        name,
        or_replace,
        procedure,
        args: Vec::new(),
        returns: None,
        table: false,
        attributes: Attributes::default(),
        language: None,
        body: None,
    };
    while c.at < c.tokens.len() {
        let start = c.at;
        if attribute(c, &mut routine.attributes)? {
            continue;
        }
        match c.next_word().as_deref() {
            Some("returns") if c.accept("table") => {
                let columns = arguments(c)?;
                args.extend(columns.into_iter().map(|a| WrittenArg { mode: ArgMode::Table, ..a }));
                routine.table = true;
            }
            Some("returns") => {
                let set = c.accept("setof");
                routine.returns = Some((set, data_type(c, &[])?));
            }
            Some("language") => {
                routine.language = Some(match c.string() {
                    Ok(text) => text.to_lowercase(),
                    Err(_) => crate::ddl::names::ident(&c.identifier()?),
                });
            }
            Some("as") => routine.body = Some(Body::Text(c.string()?)),
            Some("return") => {
                routine.body = Some(Body::Return(text(&c.tokens[c.at..])));
                c.at = c.tokens.len();
            }
            Some("begin") if c.accept("atomic") => {
                let end = c.tokens.len() - 1;
                if !c.tokens.last().is_some_and(|t| is_word(t, "end")) || end < c.at {
                    return Err(c.tokens.len());
                }
                routine.body = Some(Body::Atomic(text(&c.tokens[c.at..end])));
                c.at = c.tokens.len();
            }
            _ => return Err(start),
        }
    }
    routine.args = args;
    Ok(Extra::CreateRoutine(Box::new(routine)))
}

fn is_word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(text))
}

fn text(tokens: &[TokenWithSpan]) -> String {
    tokens.iter().map(|t| t.token.to_string()).collect::<Vec<_>>().join(" ")
}

/// One attribute that CREATE and ALTER share. False: it is something else.
fn attribute(c: &mut Cursor<'_>, a: &mut Attributes) -> Result<bool, SyntaxError> {
    type Words = (&'static [&'static str], fn(&mut Attributes));
    let words: [Words; 12] = [
        (&["immutable"], |a| a.volatility = Some('i')),
        (&["stable"], |a| a.volatility = Some('s')),
        (&["volatile"], |a| a.volatility = Some('v')),
        (&["strict"], |a| a.strict = Some(true)),
        (&["returns", "null", "on", "null", "input"], |a| a.strict = Some(true)),
        (&["called", "on", "null", "input"], |a| a.strict = Some(false)),
        (&["not", "leakproof"], |a| a.leakproof = Some(false)),
        (&["leakproof"], |a| a.leakproof = Some(true)),
        (&["security", "invoker"], |a| a.security_definer = Some(false)),
        (&["security", "definer"], |a| a.security_definer = Some(true)),
        (&["external", "security", "invoker"], |a| a.security_definer = Some(false)),
        (&["external", "security", "definer"], |a| a.security_definer = Some(true)),
    ];
    for (words, set) in words {
        if words.iter().enumerate().all(|(i, word)| c.nth_is(i, word)) {
            c.at += words.len();
            set(a);
            return Ok(true);
        }
    }
    if c.accept("parallel") {
        a.parallel = c.next_word().and_then(|w| w.chars().next());
        return Ok(true);
    }
    for (word, rows) in [("cost", false), ("rows", true)] {
        if c.accept(word) {
            let number = match c.tokens.get(c.at).map(|t| &t.token) {
                Some(Token::Number(digits, _)) => digits.parse().map_err(|_| c.at)?,
                _ => return Err(c.at),
            };
            c.at += 1;
            *(if rows { &mut a.rows } else { &mut a.cost }) = Some(number);
            return Ok(true);
        }
    }
    Ok(false)
}

/// `(mode name type DEFAULT …, …)`
pub fn arguments(c: &mut Cursor<'_>) -> Result<Vec<WrittenArg>, SyntaxError> {
    c.expect_token(&Token::LParen)?;
    let mut args = Vec::new();
    if c.accept_token(&Token::RParen) {
        return Ok(args);
    }
    loop {
        args.push(argument(c)?);
        if c.accept_token(&Token::RParen) {
            return Ok(args);
        }
        c.expect_token(&Token::Comma)?;
    }
}

fn argument(c: &mut Cursor<'_>) -> Result<WrittenArg, SyntaxError> {
    let mut mode = ArgMode::In;
    if c.accept("variadic") {
        mode = ArgMode::Variadic;
    } else if c.accept("in") {
        if c.accept("out") {
            mode = ArgMode::InOut;
        }
    } else if c.accept("out") {
        mode = ArgMode::Out;
    } else if c.accept("inout") {
        mode = ArgMode::InOut;
    }
    // The mode may stand behind the name.
    let modes = [("variadic", ArgMode::Variadic), ("out", ArgMode::Out), ("inout", ArgMode::InOut)];
    let mut first = None;
    if let Some((_, found)) = modes.into_iter().find(|(word, _)| c.nth_is(1, word)) {
        first = Some(crate::ddl::names::ident(&c.identifier()?));
        c.at += 1;
        mode = found;
    }
    // The type alone, or a name before it.
    let start = c.at;
    let length = c.tokens[start..].iter().scan(0, |depth, t| {
        match t.token {
            Token::LParen => *depth += 1,
            Token::RParen => *depth -= 1,
            _ => {}
        }
        let ends =
            *depth < 0 || (*depth == 0 && (matches!(t.token, Token::Comma | Token::Eq) || is_word(t, "default")));
        (!ends).then_some(())
    });
    let end = start + length.count();
    let named = end - start > 1 && data_type_of(&c.tokens[start + 1..end]).is_some();
    // `double precision`, `character varying`, `timestamp with time zone`: two words that are no name and type.
    let whole = data_type_of(&c.tokens[start..end]);
    let (name, ty) = match whole {
        Some(ty) if first.is_some() => (first, ty),
        Some(ty) if !named || is_known(&ty) => (None, ty),
        _ if named => {
            let name = crate::ddl::names::ident(&c.identifier()?);
            (Some(name), data_type_of(&c.tokens[start + 1..end]).ok_or(start)?)
        }
        _ => return Err(start),
    };
    c.at = end;
    let default = match c.accept("default") || c.accept_token(&Token::Eq) {
        false => None,
        true => {
            let start = c.at;
            let length = c.tokens[start..].iter().scan(0, |depth, t| {
                match t.token {
                    Token::LParen | Token::LBracket => *depth += 1,
                    Token::RParen | Token::RBracket => *depth -= 1,
                    _ => {}
                }
                (*depth >= 0 && !(*depth == 0 && t.token == Token::Comma)).then_some(())
            });
            c.at = start + length.count();
            Some(text(&c.tokens[start..c.at]))
        }
    };
    Ok(WrittenArg { name, mode, ty, default })
}

/// Types of several words.
fn is_known(ty: &DataType) -> bool {
    !matches!(ty, DataType::Custom(..))
}

/// A type up to the words that end it.
fn data_type(c: &mut Cursor<'_>, _: &[&str]) -> Result<DataType, SyntaxError> {
    let start = c.at;
    // The longest run of tokens that is a type.
    for end in (start + 1..=(start + 8).min(c.tokens.len())).rev() {
        if let Some(ty) = data_type_of(&c.tokens[start..end]) {
            c.at = end;
            return Ok(ty);
        }
    }
    Err(start)
}

pub(super) fn data_type_of(tokens: &[TokenWithSpan]) -> Option<DataType> {
    let first = tokens.first()?;
    if !matches!(first.token, Token::Word(_)) {
        return None;
    }
    let joined: String = tokens.iter().map(|t| t.token.to_string()).collect::<Vec<_>>().join(" ");
    match parse_expression(&format!("NULL::{joined}")).ok()?.0 {
        Expr::Cast { expr, data_type, .. } if matches!(*expr, Expr::Value(_)) => Some(data_type),
        _ => None,
    }
}

pub fn routine_name(c: &mut Cursor<'_>) -> Result<RoutineName, SyntaxError> {
    let name = c.object_name()?;
    let args = match c.tokens.get(c.at).map(|t| &t.token) {
        Some(Token::LParen) => Some(super::aggregate_syntax::aggregate_arguments(c)?.0),
        _ => None,
    };
    Ok(RoutineName { name, args })
}

/// Behind DROP FUNCTION.
pub fn drop(c: &mut Cursor<'_>, kind: RoutineKind) -> Result<Extra, SyntaxError> {
    let if_exists = c.if_exists()?;
    let names = c.list(routine_name)?;
    let cascade = c.cascade();
    Ok(Extra::DropRoutines { kind, names, if_exists, cascade })
}

/// Behind ALTER FUNCTION.
pub fn alter(c: &mut Cursor<'_>, kind: RoutineKind) -> Result<Extra, SyntaxError> {
    let name = routine_name(c)?;
    let ident = |c: &mut Cursor<'_>| -> Result<Ident, SyntaxError> { c.identifier() };
    let change = if c.accept("rename") {
        c.expect("to")?;
        RoutineChange::Relation(RelationChange::Rename(ident(c)?))
    } else if c.accept("owner") {
        c.expect("to")?;
        RoutineChange::Relation(RelationChange::Owner(ident(c)?))
    } else if c.nth_is(0, "set") && c.nth_is(1, "schema") {
        c.at += 2;
        RoutineChange::Relation(RelationChange::SetSchema(ident(c)?))
    } else {
        let mut attributes = Attributes::default();
        while c.at < c.tokens.len() && !c.nth_is(0, "restrict") {
            if !attribute(c, &mut attributes)? {
                return Err(c.at);
            }
        }
        c.accept("restrict");
        RoutineChange::Attributes(attributes)
    };
    Ok(Extra::AlterRoutine { kind, name, change })
}
