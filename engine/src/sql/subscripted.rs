//! Assignments to parts of a column, `SET a[1] = x`, `SET c.f = x` and `INSERT INTO t (a[1]) VALUES (x)`, which sqlparser does not
//! read: in the token stream they become assignments to the column, `a = mark(a, x, steps…)`. The binder knows the mark.
//!
//! Invariant: several parts of one column become one assignment, each part applied to what those before it made.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rewrite::word;

/// The function that stands for an assignment to a part, and those that stand for its subscripts.
pub(super) const ASSIGN: &str = "\u{1}assign";
pub(super) const INDEX: &str = "\u{1}index";
pub(super) const SLICE: &str = "\u{1}slice";
pub(super) const FIELD: &str = "\u{1}field";
pub(super) const OPEN_END: &str = "\u{1}open";
/// Nothing yet of the column that a value is for.
pub(super) const TARGET: &str = "\u{1}target";

/// A step from a column to its part.
#[derive(Clone)]
enum Step {
    Subscript(Vec<TokenWithSpan>),
    Field(TokenWithSpan),
}

/// One `target = value`.
struct Assignment {
    column: Token,
    steps: Vec<Step>,
    value: Vec<TokenWithSpan>,
}

/// Rewrites the SET lists of UPDATE and of ON CONFLICT DO UPDATE.
pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>) {
    let subscripted =
        |w: &[TokenWithSpan]| matches!((&w[0].token, &w[1].token), (Token::Word(_), Token::LBracket | Token::Period));
    if !tokens.windows(2).any(subscripted) {
        return;
    }
    insert_values(tokens);
    let update = tokens.iter().position(|t| word(t, "update"));
    let Some(set) = update.and_then(|u| (u..tokens.len()).find(|i| word(&tokens[*i], "set"))) else { return };
    let Some(table) = target_name(tokens, set) else { return };
    let end = list_end(tokens, set + 1);
    let Some(parts) = assignments(&tokens[set + 1..end]) else { return };
    // `SET t.a = x` is a mistake that is told of where columns are looked for.
    let qualified = |p: &Assignment| matches!(p.steps.first(), Some(Step::Field(_))) && same_column(&p.column, &table);
    if parts.iter().all(|p| p.steps.is_empty()) || parts.iter().any(qualified) {
        return;
    }
    let written = write(parts, &table, tokens[set].span);
    tokens.splice(set + 1..end, written);
}

/// The tokens between the parenthesis at `open` and its end, split at commas; the index of the end.
fn members(tokens: &[TokenWithSpan], open: usize) -> Option<(Vec<Vec<TokenWithSpan>>, usize)> {
    let mut depth = 0;
    let mut out = vec![Vec::new()];
    for (i, token) in tokens.iter().enumerate().skip(open) {
        depth += depth_change(&token.token);
        match token.token {
            Token::RParen if depth == 0 => return Some((out, i)),
            Token::LParen if i == open => {}
            Token::Comma if depth == 1 => out.push(Vec::new()),
            _ => out.last_mut()?.push(token.clone()),
        }
    }
    None
}

/// A target: its column, and the steps behind it.
fn target(tokens: &[TokenWithSpan]) -> Option<(Token, Vec<Step>)> {
    let (column, steps, rest) = column_and_steps(tokens)?;
    rest.is_empty().then_some((column, steps))
}

/// The column and the steps that tokens begin with, and what follows.
fn column_and_steps(tokens: &[TokenWithSpan]) -> Option<(Token, Vec<Step>, &[TokenWithSpan])> {
    let (first, mut rest) = tokens.split_first()?;
    let column = matches!(first.token, Token::Word(_)).then(|| first.token.clone())?;
    let mut steps = Vec::new();
    loop {
        match rest.first().map(|t| &t.token) {
            Some(Token::LBracket) => {
                let mut depth = 0;
                let close = rest.iter().position(|t| {
                    depth += depth_change(&t.token);
                    depth == 0
                })?;
                steps.push(Step::Subscript(rest.get(1..close)?.to_vec()));
                rest = rest.get(close + 1..)?;
            }
            Some(Token::Period) => {
                let field = rest.get(1).filter(|t| matches!(t.token, Token::Word(_)))?;
                // Messages point at the column.
                steps.push(Step::Field(TokenWithSpan::new(field.token.clone(), first.span)));
                rest = rest.get(2..)?;
            }
            _ => return Some((column, steps, rest)),
        }
    }
}

/// `INSERT INTO t (a[1], a[2]) VALUES (x, y)` becomes `(a) VALUES (mark(mark(target, x, 1), y, 2))`.
fn insert_values(tokens: &mut Vec<TokenWithSpan>) {
    if let Some(written) = inserted(tokens) {
        *tokens = written;
    }
}

fn inserted(tokens: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    if !(word(tokens.first()?, "insert") && word(tokens.get(1)?, "into")) {
        return None;
    }
    let open = tokens.iter().position(|t| t.token == Token::LParen)?;
    let (targets, close) = members(tokens, open)?;
    let targets = targets.iter().map(|t| target(t)).collect::<Option<Vec<_>>>()?;
    if targets.iter().all(|(_, steps)| steps.is_empty()) || !word(tokens.get(close + 1)?, "values") {
        return None;
    }
    let span = tokens.get(open)?.span;
    let at = |token: Token| TokenWithSpan::new(token, span);
    let mark = |name: &str| TokenWithSpan::new(Token::make_word(name, Some('"')), span);
    let mut columns: Vec<Token> = Vec::new();
    for (column, _) in &targets {
        if !columns.iter().any(|known| same_column(known, column)) {
            columns.push(column.clone());
        }
    }
    let list = |members: Vec<Vec<TokenWithSpan>>| {
        let mut out = vec![at(Token::LParen)];
        for (i, member) in members.into_iter().enumerate() {
            out.extend((i > 0).then(|| at(Token::Comma)));
            out.extend(member);
        }
        out.push(at(Token::RParen));
        out
    };
    let mut out = tokens.get(..open)?.to_vec();
    out.extend(list(columns.iter().map(|c| vec![at(c.clone())]).collect()));
    out.push(tokens.get(close + 1)?.clone());
    let mut next = close + 2;
    loop {
        let (values, end) = members(tokens, next).filter(|_| tokens[next].token == Token::LParen)?;
        if values.len() != targets.len() {
            return None;
        }
        let mut row: Vec<Option<Vec<TokenWithSpan>>> = vec![None; columns.len()];
        for ((column, steps), value) in targets.iter().zip(values) {
            let slot = row.get_mut(columns.iter().position(|c| same_column(c, column))?)?;
            if steps.is_empty() {
                *slot = Some(value);
                continue;
            }
            let base = slot.take().unwrap_or_else(|| vec![mark(TARGET), at(Token::LParen), at(Token::RParen)]);
            let mut call = vec![mark(ASSIGN), at(Token::LParen)];
            call.extend(base);
            call.push(at(Token::Comma));
            call.extend(value);
            for step in steps {
                call.push(at(Token::Comma));
                call.extend(write_step(step.clone(), span));
            }
            call.push(at(Token::RParen));
            *slot = Some(call);
        }
        out.extend(list(row.into_iter().collect::<Option<Vec<_>>>()?));
        next = end + 1;
        if tokens.get(next).is_none_or(|t| t.token != Token::Comma) {
            break;
        }
        out.push(at(Token::Comma));
        next += 1;
    }
    out.extend(tokens.get(next..)?.iter().cloned());
    Some(out)
}

/// The name that columns of the statement's table are qualified by.
fn target_name(tokens: &[TokenWithSpan], set: usize) -> Option<Token> {
    let after = |keyword: &str| tokens.iter().position(|t| word(t, keyword)).map(|i| i + 1);
    let insert = tokens.first().is_some_and(|t| word(t, "insert")) || after("conflict").is_some();
    let mut at = if insert { after("into")? } else { after("update")? };
    if tokens.get(at).is_some_and(|t| word(t, "only")) {
        at += 1;
    }
    let mut name = tokens.get(at)?.token.clone();
    while tokens.get(at + 1).is_some_and(|t| t.token == Token::Period) {
        at += 2;
        name = tokens.get(at)?.token.clone();
    }
    let alias = if tokens.get(at + 1).is_some_and(|t| word(t, "as")) { at + 2 } else { at + 1 };
    match tokens.get(alias).map(|t| &t.token) {
        Some(token @ Token::Word(_)) if alias > at + 1 || !insert && alias < set => Some(token.clone()),
        _ => Some(name),
    }
}

fn depth_change(token: &Token) -> i32 {
    match token {
        Token::LParen | Token::LBracket => 1,
        Token::RParen | Token::RBracket => -1,
        _ => 0,
    }
}

/// Where the list that begins at `start` ends.
fn list_end(tokens: &[TokenWithSpan], start: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(start) {
        let ends = ["from", "where", "returning"].iter().any(|w| word(token, w));
        if depth < 0 || depth == 0 && ends && !is_distinct_from(tokens, i) {
            return i;
        }
        depth += depth_change(&token.token);
        if depth < 0 {
            return i;
        }
    }
    tokens.len()
}

fn is_distinct_from(tokens: &[TokenWithSpan], at: usize) -> bool {
    at.checked_sub(1).and_then(|i| tokens.get(i)).is_some_and(|t| word(t, "distinct"))
}

/// `None`: a target of another form (a list of columns).
fn assignments(tokens: &[TokenWithSpan]) -> Option<Vec<Assignment>> {
    let mut out = Vec::new();
    let mut rest = tokens;
    while !rest.is_empty() {
        let (column, steps, after) = column_and_steps(rest)?;
        let (equals, after) = after.split_first()?;
        if equals.token != Token::Eq {
            return None;
        }
        let mut depth = 0;
        let end = after.iter().position(|t| {
            depth += depth_change(&t.token);
            depth == 0 && t.token == Token::Comma
        });
        let end = end.unwrap_or(after.len());
        out.push(Assignment { column, steps, value: after.get(..end)?.to_vec() });
        rest = after.get(end + 1..).unwrap_or_default();
    }
    Some(out)
}

fn same_column(a: &Token, b: &Token) -> bool {
    match (a, b) {
        (Token::Word(a), Token::Word(b)) => {
            let fold = |w: &sqlparser::tokenizer::Word| match w.quote_style {
                Some(_) => w.value.clone(),
                None => w.value.to_lowercase(),
            };
            fold(a) == fold(b)
        }
        _ => false,
    }
}

fn write(parts: Vec<Assignment>, table: &Token, span: sqlparser::tokenizer::Span) -> Vec<TokenWithSpan> {
    let at = |token: Token| TokenWithSpan::new(token, span);
    let mark = |name: &str| TokenWithSpan::new(Token::make_word(name, Some('"')), span);
    let mut done: Vec<(Token, bool, Vec<TokenWithSpan>)> = Vec::new();
    for part in parts {
        if part.steps.is_empty() {
            done.push((part.column, false, part.value));
            continue;
        }
        let known = done.iter().position(|(column, parts, _)| *parts && same_column(column, &part.column));
        let base = match known {
            Some(i) => std::mem::take(&mut done[i].2),
            None => vec![at(table.clone()), at(Token::Period), at(part.column.clone())],
        };
        let mut call = vec![mark(ASSIGN), at(Token::LParen)];
        call.extend(base);
        call.push(at(Token::Comma));
        call.extend(part.value);
        for step in part.steps {
            call.push(at(Token::Comma));
            call.extend(write_step(step, span));
        }
        call.push(at(Token::RParen));
        match known {
            Some(i) => done[i].2 = call,
            None => done.push((part.column, true, call)),
        }
    }
    let mut out = Vec::new();
    for (i, (column, _, value)) in done.into_iter().enumerate() {
        if i > 0 {
            out.push(at(Token::Comma));
        }
        out.extend([at(column), at(Token::Eq)]);
        out.extend(value);
    }
    out
}

fn write_step(step: Step, span: sqlparser::tokenizer::Span) -> Vec<TokenWithSpan> {
    match step {
        Step::Subscript(tokens) => write_subscript(tokens, span),
        Step::Field(name) => {
            let at = |token: Token| TokenWithSpan::new(token, span);
            vec![at(Token::make_word(FIELD, Some('"'))), at(Token::LParen), name, at(Token::RParen)]
        }
    }
}

/// `i` or `l:u`, either end of which may be missing, as a call.
fn write_subscript(tokens: Vec<TokenWithSpan>, span: sqlparser::tokenizer::Span) -> Vec<TokenWithSpan> {
    let at = |token: Token| TokenWithSpan::new(token, span);
    let mark = |name: &str| TokenWithSpan::new(Token::make_word(name, Some('"')), span);
    let mut depth = 0;
    let colon = tokens.iter().position(|t| {
        depth += depth_change(&t.token);
        depth == 0 && t.token == Token::Colon
    });
    let end = |tokens: &[TokenWithSpan]| match tokens {
        [] => vec![mark(OPEN_END), at(Token::LParen), at(Token::RParen)],
        tokens => tokens.to_vec(),
    };
    let mut out = match colon {
        None => vec![mark(INDEX), at(Token::LParen)],
        Some(_) => vec![mark(SLICE), at(Token::LParen)],
    };
    match colon {
        None => out.extend(tokens),
        Some(colon) => {
            out.extend(end(&tokens[..colon]));
            out.push(at(Token::Comma));
            out.extend(end(&tokens[colon + 1..]));
        }
    }
    out.push(at(Token::RParen));
    out
}
