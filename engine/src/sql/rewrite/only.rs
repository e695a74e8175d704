//! `ONLY name` and `name *` where a table stands, which sqlparser does not read: ONLY becomes a first part of the name that no
//! client can write, the star says what holds without it and goes.

use std::borrow::Cow;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::word;

const MARK: &str = "\u{1}only";

/// The name itself, and whether the rows of the table alone are meant.
pub fn split(name: &ObjectName) -> (Cow<'_, ObjectName>, bool) {
    match name.0.split_first() {
        Some((first, rest)) if first.as_ident().is_some_and(|i| i.value == MARK) => {
            (Cow::Owned(ObjectName(rest.to_vec())), true)
        }
        _ => (Cow::Borrowed(name), false),
    }
}

/// The name with the mark, if one is wanted.
pub fn join(mut name: ObjectName, only: bool) -> ObjectName {
    if only {
        name.0.insert(0, ObjectNamePart::Identifier(Ident::with_quote('"', MARK)));
    }
    name
}

/// What is known of a level of parentheses.
#[derive(Default, Clone, Copy)]
struct Level {
    /// A statement stands in it: its FROM names tables.
    query: bool,
    /// The place is in a list of tables.
    from: bool,
}

pub(super) fn mark(tokens: &mut Vec<TokenWithSpan>) {
    if !tokens.iter().any(|t| word(t, "only") || t.token == Token::Mul) {
        return;
    }
    if tokens.first().is_some_and(|t| word(t, "alter")) && tokens.get(1).is_some_and(|t| word(t, "table")) {
        return drop_altered_star(tokens);
    }
    if tokens.first().is_some_and(|t| word(t, "truncate")) {
        return;
    }
    let mut levels = vec![Level::default()];
    let mut at = 0;
    while at < tokens.len() {
        let Some(level) = levels.last_mut() else { return };
        let before = at.checked_sub(1).and_then(|i| tokens.get(i));
        let follows = |text: &str| before.is_some_and(|t| word(t, text));
        let token = &tokens[at];
        let is = |text: &str| word(token, text);
        let mut begins = false;
        match &token.token {
            Token::LParen => {
                let inner = match level.from && (follows("from") || follows("join") || before.is_some_and(is_divider)) {
                    // A join in parentheses.
                    true => Level { query: true, from: true },
                    false => Level::default(),
                };
                begins = inner.from;
                levels.push(inner);
            }
            Token::RParen => {
                levels.pop();
            }
            Token::Comma => begins = level.from,
            Token::Word(w) if w.quote_style.is_none() => {
                if is("from") {
                    begins = level.query && !follows("distinct");
                    level.from = begins;
                } else if is("join") || (is("into") && level.query) || (is("using") && level.query) {
                    begins = true;
                    level.from = true;
                } else if is("update") {
                    begins = !follows("for") && !follows("do") && !follows("key") && !follows("on");
                    level.query |= begins;
                } else if ["select", "delete", "insert", "merge"].iter().any(|w| is(w)) {
                    level.query = true;
                    level.from = false;
                } else if ENDS.iter().any(|w| is(w)) {
                    level.from = false;
                }
            }
            _ => {}
        }
        at += 1;
        if begins {
            mark_table(tokens, at);
        }
    }
}

/// Words behind which no list of tables goes on.
const ENDS: [&str; 16] = [
    "where",
    "group",
    "having",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "window",
    "union",
    "intersect",
    "except",
    "set",
    "values",
    "returning",
    "when",
];

fn is_divider(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Comma | Token::LParen)
}

/// A table may be named at `at`.
fn mark_table(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let only = tokens.get(at).is_some_and(|t| word(t, "only"));
    if only {
        tokens.remove(at);
        let nested = tokens.get(at).is_some_and(|t| t.token == Token::LParen);
        let close = name_end(tokens, at + 1);
        if nested && tokens.get(close).is_some_and(|t| t.token == Token::RParen) {
            tokens.remove(close);
            tokens.remove(at);
        }
    }
    let end = name_end(tokens, at);
    let query =
        ["select", "with", "values", "table"].iter().any(|first| tokens.get(at).is_some_and(|t| word(t, first)));
    if end == at || query {
        return;
    }
    if !only && tokens.get(end).is_some_and(|t| t.token == Token::Mul) {
        tokens.remove(end);
    }
    if only {
        let span = tokens[at].span;
        let mark = [Token::make_word(MARK, Some('"')), Token::Period];
        tokens.splice(at..at, mark.into_iter().map(|token| TokenWithSpan::new(token, span)));
    }
}

/// Behind the name that begins at `at`; `at` itself if none does.
fn name_end(tokens: &[TokenWithSpan], at: usize) -> usize {
    let is_word = |at: usize| matches!(tokens.get(at).map(|t| &t.token), Some(Token::Word(_)));
    if !is_word(at) {
        return at;
    }
    let mut end = at + 1;
    while tokens.get(end).is_some_and(|t| t.token == Token::Period) && is_word(end + 1) {
        end += 2;
    }
    end
}

/// `ALTER TABLE [IF EXISTS] [ONLY] name * …`
fn drop_altered_star(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 2;
    if tokens.get(at).is_some_and(|t| word(t, "if")) {
        at += 2;
    }
    if tokens.get(at).is_some_and(|t| word(t, "only")) {
        at += 1;
    }
    let end = name_end(tokens, at);
    if tokens.get(end).is_some_and(|t| t.token == Token::Mul) {
        tokens.remove(end);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::sql::parse::{Statement, parse};

    fn read(sql: &str) -> String {
        match parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}")).remove(0).statement {
            Statement::Sql(statement) => statement.to_string().replace("\"\u{1}only\".", "ONLY "),
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn tables_alone_are_marked_and_stars_behind_tables_go() {
        for (sql, read_as) in [
            ("select * from only t", "SELECT * FROM ONLY t"),
            ("select * from only (s.t) x", "SELECT * FROM ONLY s.t x"),
            ("select a * b from t * x, u*", "SELECT a * b FROM t x, u"),
            ("select * from t* p join only u using (a)", "SELECT * FROM t p JOIN ONLY u USING(a)"),
            ("select extract(year from a * 2) from t", "SELECT EXTRACT(YEAR FROM a * 2) FROM t"),
            ("select 1 is distinct from a * 2 from t", "SELECT 1 IS DISTINCT FROM a * 2 FROM t"),
            ("select (select 1 from only t), x from u*", "SELECT (SELECT 1 FROM ONLY t), x FROM u"),
            ("update only t set a = b * 2", "UPDATE ONLY t SET a = b * 2"),
            ("delete from t* where a = 1", "DELETE FROM t WHERE a = 1"),
            ("delete from only t using only u where a = 1", "DELETE FROM ONLY t USING ONLY u WHERE a = 1"),
            ("select * from t fetch first 1 row only", "SELECT * FROM t FETCH FIRST 1 ROWS ONLY"),
            ("select * from t for update", "SELECT * FROM t FOR UPDATE"),
            ("select * from (select * from t*) s", "SELECT * FROM (SELECT * FROM t) s"),
            ("select * from a join (select * from t) s on true", "SELECT * FROM a JOIN (SELECT * FROM t) s ON true"),
            ("select * from a, (select * from only t) s", "SELECT * FROM a, (SELECT * FROM ONLY t) s"),
            (
                "select * from ((select * from t) s join u on true)",
                "SELECT * FROM ((SELECT * FROM t) s JOIN u ON true)",
            ),
            (
                "select 1 from t join u on a * 2 = f(b, c * 3), only v, w*",
                "SELECT 1 FROM t JOIN u ON a * 2 = f(b, c * 3), ONLY v, w",
            ),
        ] {
            assert_eq!(read(sql), read_as);
        }
    }
}
