//! CREATE AGGREGATE, from tokens: the form with an argument list and the older one with BASETYPE.

use sqlparser::ast::{DataType, ObjectName};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::routine_syntax::{WrittenArg, arguments};
use super::syntax::{Cursor, Extra, SyntaxError};

#[derive(Debug, Clone)]
pub struct CreateAggregate {
    pub name: ObjectName,
    pub or_replace: bool,
    /// `None`: BASETYPE says it.
    pub args: Option<Vec<WrittenArg>>,
    /// ORDER BY between the arguments.
    pub ordered: bool,
    pub attributes: Vec<Attribute>,
}

/// `name = value`.
#[derive(Debug, Clone)]
pub struct Attribute {
    pub name: String,
    pub value: AttributeValue,
}

#[derive(Debug, Clone, Default)]
pub struct AttributeValue {
    /// As it was written: a string without its quotes.
    pub text: String,
    /// If it can be one.
    pub name: Option<ObjectName>,
    pub ty: Option<DataType>,
}

/// Behind CREATE [OR REPLACE] AGGREGATE.
pub fn create(c: &mut Cursor<'_>, or_replace: bool) -> Result<Extra, SyntaxError> {
    let name = c.object_name()?;
    let behind = group(c.tokens, c.at)?;
    let newer = matches!(c.tokens.get(behind).map(|t| &t.token), Some(Token::LParen));
    let mut ordered = false;
    let args = if newer {
        let (args, has_order) = aggregate_arguments(c)?;
        ordered = has_order;
        Some(args)
    } else {
        None
    };
    let attributes = attributes(c)?;
    Ok(Extra::CreateAggregate(Box::new(CreateAggregate { name, or_replace, args, ordered, attributes })))
}

/// Where the parenthesis that opens at `at` ends: the index behind it.
fn group(tokens: &[TokenWithSpan], at: usize) -> Result<usize, SyntaxError> {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(at) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => return Ok(i + 1),
            Token::RParen => depth = depth.saturating_sub(1),
            _ if depth == 0 => return Err(i),
            _ => {}
        }
    }
    Err(tokens.len())
}

/// `(*)`, or arguments with their modes and names; ORDER BY makes an ordered-set aggregate of it.
pub fn aggregate_arguments(c: &mut Cursor<'_>) -> Result<(Vec<WrittenArg>, bool), SyntaxError> {
    let end = group(c.tokens, c.at)?;
    if matches!(c.tokens.get(c.at + 1).map(|t| &t.token), Some(Token::Mul)) && end == c.at + 3 {
        c.at = end;
        return Ok((Vec::new(), false));
    }
    let ordered = (c.at + 1..end).find(|i| c.nth_is(i - c.at, "order") && c.nth_is(i + 1 - c.at, "by"));
    let Some(order) = ordered else { return arguments(c).map(|args| (args, false)) };
    // Direct arguments and aggregated ones, one list after the other.
    let close = c.tokens.get(end - 1).ok_or(end)?.clone();
    let part = |from: usize, to: usize| -> Result<Vec<WrittenArg>, SyntaxError> {
        let open = c.tokens.get(c.at).ok_or(c.at)?.clone();
        let inner = c.tokens.get(from..to).unwrap_or_default().iter().cloned();
        let tokens: Vec<TokenWithSpan> = std::iter::once(open).chain(inner).chain([close.clone()]).collect();
        let mut cursor = Cursor { tokens: &tokens, at: 0 };
        arguments(&mut cursor).map_err(|_| from)
    };
    let mut args = part(c.at + 1, order)?;
    args.extend(part(order + 2, end - 1)?);
    c.at = end;
    Ok((args, true))
}

fn attributes(c: &mut Cursor<'_>) -> Result<Vec<Attribute>, SyntaxError> {
    c.expect_token(&Token::LParen)?;
    let mut out = Vec::new();
    loop {
        let name = c.identifier()?;
        let name = crate::ddl::names::ident(&name);
        let value = if c.accept_token(&Token::Eq) { value(c)? } else { AttributeValue::default() };
        out.push(Attribute { name, value });
        if !c.accept_token(&Token::Comma) {
            c.expect_token(&Token::RParen)?;
            return Ok(out);
        }
    }
}

/// Tokens up to the comma or parenthesis that ends the value.
fn value(c: &mut Cursor<'_>) -> Result<AttributeValue, SyntaxError> {
    let start = c.at;
    let mut depth = 0usize;
    while let Some(token) = c.tokens.get(c.at) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => break,
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 => break,
            _ => {}
        }
        c.at += 1;
    }
    let tokens = c.tokens.get(start..c.at).unwrap_or_default();
    if tokens.is_empty() {
        return Err(start);
    }
    let text = match tokens {
        [TokenWithSpan { token: Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text), .. }] => {
            text.clone()
        }
        _ => tokens.iter().map(|t| t.token.to_string()).collect(),
    };
    let mut cursor = Cursor { tokens, at: 0 };
    let name = cursor.object_name().ok();
    // A function may be written with its arguments, which say nothing.
    let name = name.filter(|_| cursor.at == tokens.len() || group(tokens, cursor.at) == Ok(tokens.len()));
    let ty = super::routine_syntax::data_type_of(tokens);
    Ok(AttributeValue { text, name, ty })
}
