//! What sqlparser does not read of constraints: INCLUDE and WITH of a key, the columns of ON DELETE SET NULL. They travel in
//! the place of an index's name, which PostgreSQL's constraints do not have.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rewrite::word;

/// What begins each part of the name: no client can write it.
const MARK: char = '\u{3}';

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyDetails {
    pub include: Vec<String>,
    pub options: Vec<(String, String)>,
    /// Of ON DELETE SET NULL or SET DEFAULT.
    pub set_columns: Vec<String>,
}

/// The details that a name stands for; `Err`: somebody wrote a name there.
pub fn read(name: Option<&Ident>) -> Result<KeyDetails, &Ident> {
    let mut details = KeyDetails::default();
    let Some(name) = name else { return Ok(details) };
    let Some(parts) = name.value.strip_prefix(MARK) else { return Err(name) };
    for part in parts.split(MARK) {
        let mut chars = part.chars();
        match (chars.next(), chars.as_str()) {
            (Some('i'), column) => details.include.push(column.to_owned()),
            (Some('s'), column) => details.set_columns.push(column.to_owned()),
            (_, option) => {
                let (name, value) = option.split_once('=').unwrap_or((option, "true"));
                details.options.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    Ok(details)
}

/// Where the parenthesis that opens at `open` closes.
pub(super) fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    (open..tokens.len()).find(|at| {
        match tokens[*at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    })
}

fn folded(token: &Token) -> String {
    match token {
        Token::Word(w) if w.quote_style.is_some() => w.value.clone(),
        Token::SingleQuotedString(text) => text.to_lowercase(),
        other => other.to_string().to_lowercase(),
    }
}

/// Takes `( … )` that opens at `open` out of the tokens, as parts of a name of one kind.
fn take_list(tokens: &mut Vec<TokenWithSpan>, from: usize, open: usize, kind: char, name: &mut String) -> bool {
    let opens = tokens.get(open).is_some_and(|t| t.token == Token::LParen);
    let Some(close) = closing(tokens, open).filter(|close| opens && *close > open + 1) else { return false };
    let items = tokens[open + 1..close].split(|t| t.token == Token::Comma);
    let columns = items.clone().all(|item| matches!(item, [t] if matches!(t.token, Token::Word(_))));
    if kind != 'o' && !columns {
        return false;
    }
    for item in items {
        name.push(MARK);
        name.push(kind);
        name.extend(item.iter().map(|t| folded(&t.token)));
    }
    tokens.drain(from..=close);
    true
}

/// The columns behind ON DELETE SET NULL or SET DEFAULT of the foreign key whose columns end at `close`.
fn take_set_columns(tokens: &mut Vec<TokenWithSpan>, close: usize, name: &mut String) {
    let mut depth = 0i32;
    for at in close + 1..tokens.len() {
        match tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 => return,
            _ => {}
        }
        if depth < 0 {
            return;
        }
        let is = |ahead: usize, text: &str| tokens.get(at + ahead).is_some_and(|t| word(t, text));
        if is(0, "delete") && is(1, "set") && (is(2, "null") || is(2, "default")) {
            take_list(tokens, at + 3, at + 3, 's', name);
            return;
        }
    }
}

pub(super) fn mark(tokens: &mut Vec<TokenWithSpan>) {
    let first = |text: &str| tokens.first().is_some_and(|t| word(t, text));
    let table = tokens.iter().take(4).any(|t| word(t, "table"));
    if !table || !(first("create") || first("alter")) {
        return;
    }
    let mut at = 1;
    while at + 1 < tokens.len() {
        let is = |at: usize, text: &str| tokens.get(at).is_some_and(|t| word(t, text));
        let foreign = is(at, "key") && is(at - 1, "foreign");
        let key = is(at, "unique") || is(at, "key") && is(at - 1, "primary");
        let mut open = at + 1;
        if is(open, "nulls") {
            open += if is(open + 1, "not") { 3 } else { 2 };
        }
        at += 1;
        if !(key || foreign) || tokens.get(open).is_none_or(|t| t.token != Token::LParen) {
            continue;
        }
        let Some(close) = closing(tokens, open) else { return };
        let mut name = String::new();
        if foreign {
            take_set_columns(tokens, close, &mut name);
        } else {
            let next = |tokens: &[TokenWithSpan], text: &str| tokens.get(close + 1).is_some_and(|t| word(t, text));
            if next(tokens, "include") {
                take_list(tokens, close + 1, close + 2, 'i', &mut name);
            }
            if next(tokens, "with") {
                take_list(tokens, close + 1, close + 2, 'o', &mut name);
            }
        }
        if !name.is_empty() {
            let span = tokens[open].span;
            tokens.insert(open, TokenWithSpan::new(Token::make_word(&name, Some('"')), span));
        }
        at = open + 1;
    }
}
