//! What may end a query in PostgreSQL and sqlparser does not read: FETCH of an expression, a row lock of no tables, or one before
//! LIMIT.

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

/// `FOR UPDATE LIMIT 1` is `LIMIT 1 FOR UPDATE`. Of the strengths, two are left here.
pub(super) fn end_with_locks(tokens: &mut [TokenWithSpan]) {
    let mut at = 0;
    while at < tokens.len() {
        let begin = at;
        while let Some(end) = lock_end(tokens, at) {
            at = end;
        }
        if at > begin && ["limit", "offset", "fetch"].iter().any(|w| is(tokens, at, w)) {
            let end = limit_end(tokens, at);
            tokens[begin..end].rotate_left(at - begin);
            at = end;
        }
        at = at.max(begin + 1);
    }
}

/// Behind the locking clause at `at`.
fn lock_end(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let strength = is(tokens, at + 1, "update") || is(tokens, at + 1, "share");
    let mut end = (is(tokens, at, "for") && strength).then_some(at + 2)?;
    if is(tokens, end, "of") {
        let names = |t: &&TokenWithSpan| {
            let ends = ["nowait", "skip", "for", "limit", "offset", "fetch"].iter().any(|w| word(t, w));
            !ends && matches!(t.token, Token::Word(_) | Token::Comma | Token::Period)
        };
        end += 1 + tokens[end + 1..].iter().take_while(names).count();
    }
    if is(tokens, end, "nowait") {
        end += 1;
    } else if is(tokens, end, "skip") && is(tokens, end + 1, "locked") {
        end += 2;
    }
    Some(end)
}

/// Behind the LIMIT, OFFSET and FETCH that begin at `at`.
fn limit_end(tokens: &[TokenWithSpan], at: usize) -> usize {
    let mut depth = 0i32;
    for end in at..tokens.len() {
        match tokens[end].token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        let ties = is(tokens, end, "with") && is(tokens, end + 1, "ties");
        let other = || ["on", "returning", "for", "with", "union"].iter().any(|w| is(tokens, end, w));
        if depth < 0 || (depth == 0 && !ties && other()) {
            return end;
        }
    }
    tokens.len()
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
