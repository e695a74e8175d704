//! SEARCH and CYCLE behind a recursive query of WITH, which sqlparser does not read: in the token stream they become columns
//! at the end of the query's list of names, each clause behind a mark that no client can write. The binder takes them out
//! again.

use std::borrow::Cow;

use sqlparser::ast::{self, Ident};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::rewrite::word;

const DEPTH: &str = "\u{1}search depth";
const BREADTH: &str = "\u{1}search breadth";
const CYCLE: &str = "\u{1}cycle";
const SET: &str = "\u{1}set";
const TO: &str = "\u{1}to ";
const USING: &str = "\u{1}using";

/// SEARCH.
#[derive(Debug, Clone)]
pub struct Search {
    pub span: Span,
    pub breadth: bool,
    pub columns: Vec<Ident>,
    pub sequence: Ident,
}

/// CYCLE.
#[derive(Debug, Clone)]
pub struct Cycle {
    pub span: Span,
    pub columns: Vec<Ident>,
    pub mark: Ident,
    /// Text of a constant.
    pub value: String,
    pub default: String,
    pub path: Ident,
}

/// The clauses of one query.
#[derive(Debug, Clone, Default)]
pub struct Traversal {
    pub search: Option<Search>,
    pub cycle: Option<Cycle>,
}

/// Takes the clauses out of a query's names.
pub fn take(cte: &mut Cow<'_, ast::Cte>) -> Option<Traversal> {
    let at = cte.alias.columns.iter().position(|c| matches!(c.name.value.as_str(), DEPTH | BREADTH | CYCLE))?;
    let mut names = cte.to_mut().alias.columns.split_off(at).into_iter().map(|c| c.name).peekable();
    let mut out = Traversal::default();
    while let Some(clause) = names.next() {
        let mut listed = Vec::new();
        while let Some(name) = names.next_if(|name| name.value != SET) {
            listed.push(name);
        }
        names.next();
        let set = names.next()?;
        if clause.value == CYCLE {
            let mut constant = |usual: &str| {
                let given = names.next_if(|name| name.value.starts_with(TO));
                given.and_then(|name| name.value.strip_prefix(TO).map(str::to_owned)).unwrap_or(usual.to_owned())
            };
            let (value, default) = (constant("true"), constant("false"));
            names.next();
            let path = names.next()?;
            out.cycle = Some(Cycle { span: clause.span, columns: listed, mark: set, value, default, path });
        } else {
            let breadth = clause.value == BREADTH;
            out.search = Some(Search { span: clause.span, breadth, columns: listed, sequence: set });
        }
    }
    Some(out)
}

/// The name that a column of the clauses has inside the step, counted from 0.
pub fn inner_name(at: usize) -> String {
    format!("\u{1}way{at}")
}

pub(super) fn mark(tokens: &mut Vec<TokenWithSpan>) {
    if !tokens.iter().any(|t| word(t, "search") || word(t, "cycle")) {
        return;
    }
    let mut at = 1;
    while at < tokens.len() {
        if tokens[at - 1].token == Token::RParen
            && let Some((end, marks)) = clauses(tokens, at)
            && let Some((place, listed)) = names_before(tokens, at - 1)
        {
            let span = tokens[at].span;
            tokens.drain(at..end);
            let comma = || TokenWithSpan::new(Token::Comma, span);
            let mut new: Vec<TokenWithSpan> = Vec::with_capacity(marks.len() * 2 + 1);
            for mark in marks {
                new.extend([comma(), mark]);
            }
            if !listed {
                new[0].token = Token::LParen;
                new.push(TokenWithSpan::new(Token::RParen, span));
            }
            at += new.len();
            tokens.splice(place..place, new);
        }
        at += 1;
    }
}

/// The clauses that begin at `at`: where they end, and what stands for them.
fn clauses(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, Vec<TokenWithSpan>)> {
    let mut reader = Reader { tokens, at, marks: Vec::new() };
    let searches = reader.word("search");
    if searches {
        let breadth = reader.word("breadth");
        if !(breadth || reader.word("depth")) || !reader.word("first") || !reader.word("by") {
            return None;
        }
        reader.mark(at, if breadth { BREADTH } else { DEPTH });
        reader.names()?;
        reader.set()?;
    }
    let cycle = reader.at;
    if reader.word("cycle") {
        reader.mark(cycle, CYCLE);
        reader.names()?;
        reader.set()?;
        if reader.word("to") {
            reader.constant("default")?;
            reader.constant("using")?;
        } else if !reader.word("using") {
            return None;
        }
        reader.mark(cycle, USING);
        reader.name()?;
    } else if !searches {
        return None;
    }
    Some((reader.at, reader.marks))
}

struct Reader<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
    marks: Vec<TokenWithSpan>,
}

impl Reader<'_> {
    fn word(&mut self, text: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|t| word(t, text));
        self.at += usize::from(found);
        found
    }

    fn mark(&mut self, at: usize, text: &str) {
        if let Some(token) = self.tokens.get(at) {
            self.marks.push(TokenWithSpan::new(Token::make_word(text, Some('"')), token.span));
        }
    }

    fn name(&mut self) -> Option<()> {
        let token = self.tokens.get(self.at).filter(|t| matches!(t.token, Token::Word(_)))?;
        self.marks.push(token.clone());
        self.at += 1;
        Some(())
    }

    fn names(&mut self) -> Option<()> {
        self.name()?;
        while self.tokens.get(self.at).is_some_and(|t| t.token == Token::Comma) {
            self.at += 1;
            self.name()?;
        }
        Some(())
    }

    fn set(&mut self) -> Option<()> {
        let at = self.at;
        if !self.word("set") {
            return None;
        }
        self.mark(at, SET);
        self.name()
    }

    /// A constant up to the word `end`.
    fn constant(&mut self, end: &str) -> Option<()> {
        let first = self.at;
        let length = self.tokens.get(first..)?.iter().position(|t| word(t, end))?;
        let texts: Vec<String> = self.tokens.get(first..first + length)?.iter().map(|t| t.token.to_string()).collect();
        self.mark(first, &format!("{TO}{}", texts.join(" ")));
        self.at = first + length + 1;
        Some(())
    }
}

/// Where further names of the query belong whose text ends at `close`, and whether it has any.
fn names_before(tokens: &[TokenWithSpan], close: usize) -> Option<(usize, bool)> {
    let mut depth = 0;
    let open = (0..=close).rev().find(|at| {
        match tokens[*at].token {
            Token::RParen => depth += 1,
            Token::LParen => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    let mut before = open.checked_sub(1)?;
    if word(&tokens[before], "materialized") {
        before = before.checked_sub(1)?;
        if word(&tokens[before], "not") {
            before = before.checked_sub(1)?;
        }
    }
    let last = tokens.get(before.checked_sub(1)?)?;
    word(&tokens[before], "as").then_some(())?;
    match last.token {
        Token::RParen => Some((before - 1, true)),
        Token::Word(_) => Some((before, false)),
        _ => None,
    }
}
