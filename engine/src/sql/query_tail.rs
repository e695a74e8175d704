//! What may end a query in PostgreSQL and sqlparser does not read: FETCH of an expression, a row lock of no tables.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::key_details::closing;
use super::rewrite::word;

/// The number of rows of a FETCH … WITH TIES whose real number is an expression, in LIMIT.
pub(super) const EXPRESSION_WITH_TIES: &str = "00000000000000000000";

fn is(tokens: &[TokenWithSpan], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|t| word(t, text))
}

/// `FETCH FIRST (1) ROWS` is `FETCH FIRST 1 ROWS`; `FETCH FIRST (expression) ROWS ONLY` is `LIMIT (expression)`.
pub(super) fn rewrite_fetch(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 3 < tokens.len() {
        let opens = is(tokens, at, "fetch")
            && (is(tokens, at + 1, "first") || is(tokens, at + 1, "next"))
            && tokens[at + 2].token == Token::LParen;
        at += 1;
        if !opens {
            continue;
        }
        let open = at + 1;
        let Some(close) = closing(tokens, open) else { return };
        let rows = is(tokens, close + 1, "row") || is(tokens, close + 1, "rows");
        if close == open + 2 {
            tokens.remove(close);
            tokens.remove(open);
        } else if rows && is(tokens, close + 2, "only") {
            tokens.drain(close + 1..close + 3);
            tokens[at - 1].token = Token::make_keyword("LIMIT");
            tokens.remove(at);
        } else if rows && is(tokens, close + 2, "with") && is(tokens, close + 3, "ties") {
            // `LIMIT (expression) FETCH FIRST 0 ROWS WITH TIES`: see `Binder::tail`.
            tokens[at - 1].token = Token::make_keyword("LIMIT");
            let first = tokens.remove(at);
            let with = |token| TokenWithSpan { token, span: first.span };
            let words =
                [Token::make_keyword("FETCH"), first.token.clone(), Token::Number(EXPRESSION_WITH_TIES.into(), false)];
            tokens.splice(close..close, words.map(with));
        }
    }
}

/// FOR UPDATE of a query without FROM locks nothing; sqlparser reads FOR as the name of a column.
pub(super) fn drop_idle_locks(tokens: &mut Vec<TokenWithSpan>) {
    const STRENGTHS: [&[&str]; 4] = [&["update"], &["share"], &["no", "key", "update"], &["key", "share"]];
    let mut at = 1;
    while at < tokens.len() {
        let fits = |words: &&&[&str]| words.iter().enumerate().all(|(i, text)| is(tokens, at + 1 + i, text));
        let Some(strength) = STRENGTHS.iter().find(fits).filter(|_| is(tokens, at, "for")) else {
            at += 1;
            continue;
        };
        let mut end = at + 1 + strength.len();
        if is(tokens, end, "nowait") {
            end += 1;
        } else if is(tokens, end, "skip") && is(tokens, end + 1, "locked") {
            end += 2;
        }
        let ended = tokens.get(end).is_none_or(|t| t.token == Token::RParen);
        if ended && is_without_from(&tokens[..at]) {
            tokens.drain(at..end);
        } else {
            at = end;
        }
    }
}

/// Whether the query that these tokens end in has a select list and nothing else.
fn is_without_from(before: &[TokenWithSpan]) -> bool {
    let mut depth = 0i32;
    for token in before.iter().rev() {
        match &token.token {
            Token::RParen => depth += 1,
            Token::LParen => depth -= 1,
            _ if depth == 0 && word(token, "select") => return true,
            _ if depth == 0
                && ["from", "where", "values", "order", "limit", "offset", "table"].iter().any(|w| word(token, w)) =>
            {
                return false;
            }
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    false
}
