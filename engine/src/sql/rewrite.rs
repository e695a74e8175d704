//! Rewrites of the token stream where PostgreSQL's grammar and sqlparser's differ in form but not in meaning.

mod joins;
pub mod only;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

pub(super) fn word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(text))
}

/// Statements of PostgreSQL that have no counterpart here and that sqlparser does not read either.
pub(super) fn unsupported(tokens: &[TokenWithSpan]) -> Option<String> {
    const STATEMENTS: &[&[&str]] = &[
        &["do"],
        &["load"],
        &["reassign"],
        &["security", "label"],
        &["import", "foreign"],
        &["create", "transient"],
        &["create", "publication"],
        &["create", "subscription"],
        &["create", "domain"],
        &["create", "language"],
        &["create", "foreign"],
        &["create", "rule"],
        &["create", "event"],
        &["create", "tablespace"],
        &["create", "text"],
        &["create", "access"],
        &["create", "conversion"],
        &["create", "cast"],
        &["create", "transform"],
        &["create", "trigger"],
        &["create", "extension"],
        &["create", "type"],
        &["create", "server"],
        &["alter", "publication"],
        &["alter", "subscription"],
        &["alter", "domain"],
        &["alter", "type"],
        &["alter", "default"],
        &["alter", "foreign"],
        &["alter", "event"],
        &["alter", "extension"],
        &["alter", "language"],
        &["alter", "large"],
        &["alter", "rule"],
        &["alter", "system"],
        &["alter", "tablespace"],
        &["alter", "text"],
        &["alter", "trigger"],
    ];
    if makes_typed_table(tokens) {
        return Some("a table of a composite type".to_owned());
    }
    if excludes(tokens) {
        return Some("an EXCLUDE constraint".to_owned());
    }
    let words = STATEMENTS
        .iter()
        .find(|words| words.iter().enumerate().all(|(i, w)| tokens.get(i).is_some_and(|t| word(t, w))))?;
    Some(words.join(" ").to_uppercase())
}

/// `CREATE TABLE t OF type`.
fn makes_typed_table(tokens: &[TokenWithSpan]) -> bool {
    let table = tokens.iter().take(4).position(|t| word(t, "table"));
    let Some(table) = table.filter(|_| tokens.first().is_some_and(|t| word(t, "create"))) else { return false };
    let mut name = table + if tokens.get(table + 1).is_some_and(|t| word(t, "if")) { 4 } else { 1 };
    while tokens.get(name + 1).is_some_and(|t| t.token == Token::Period) {
        name += 2;
    }
    tokens.get(name + 1).is_some_and(|t| word(t, "of"))
}

/// `EXCLUDE USING gist (…)` or `EXCLUDE (…)` in the definition of a table.
fn excludes(tokens: &[TokenWithSpan]) -> bool {
    let defines = tokens.first().is_some_and(|t| word(t, "create") || word(t, "alter"));
    let table = || tokens.iter().take(4).any(|t| word(t, "table"));
    let begins = |before: &[TokenWithSpan]| match before {
        [.., constraint, _] if word(constraint, "constraint") => true,
        [.., last] => matches!(last.token, Token::LParen | Token::Comma) || word(last, "add"),
        [] => false,
    };
    let named = |(at, pair): (usize, &[TokenWithSpan])| match pair {
        [first, next] if word(first, "exclude") => {
            (word(next, "using") || next.token == Token::LParen) && begins(tokens.get(..at).unwrap_or_default())
        }
        _ => false,
    };
    defines && table() && tokens.windows(2).enumerate().any(named)
}

/// `TRIM(LEADING FROM x)` becomes `ltrim(x)`: sqlparser wants the characters there.
fn rewrite_trims(tokens: &mut Vec<TokenWithSpan>) {
    let mut i = 0;
    while i + 2 < tokens.len() {
        if word(&tokens[i], "trim") && tokens[i + 1].token == Token::LParen {
            let sides = [("leading", "ltrim"), ("trailing", "rtrim"), ("both", "btrim")];
            let side = sides.iter().find(|(side, _)| word(&tokens[i + 2], side));
            let from = if side.is_some() { i + 3 } else { i + 2 };
            if tokens.get(from).is_some_and(|t| word(t, "from")) {
                tokens[i].token = Token::make_word(side.map_or("btrim", |(_, function)| function), None);
                tokens.drain(i + 2..=from);
            }
        }
        i += 1;
    }
}

/// The name that stands for KEY in a row lock's OF: no client can write it.
pub(super) const KEY_MARK: &str = "\u{1}key";

/// sqlparser knows two row locks of PostgreSQL's four: FOR NO KEY UPDATE OF t becomes FOR UPDATE OF mark.t, FOR KEY SHARE
/// becomes FOR SHARE OF mark.
fn mark_key_locks(tokens: &mut Vec<TokenWithSpan>) {
    let mut i = 0;
    while i + 2 < tokens.len() {
        let no_key = word(&tokens[i + 1], "no") && word(&tokens[i + 2], "key");
        let key = word(&tokens[i + 1], "key") && word(&tokens[i + 2], "share");
        if !word(&tokens[i], "for") || !(no_key || key) {
            i += 1;
            continue;
        }
        tokens.drain(i + 1..if no_key { i + 3 } else { i + 2 });
        let span = tokens[i].span;
        let mark = TokenWithSpan::new(Token::make_word(KEY_MARK, Some('"')), span);
        // Behind FOR and UPDATE or SHARE.
        let at = (i + 2).min(tokens.len());
        if tokens.get(at).is_some_and(|t| word(t, "of")) {
            tokens.splice(at + 1..at + 1, [mark, TokenWithSpan::new(Token::Period, span)]);
        } else {
            tokens.splice(at..at, [TokenWithSpan::new(Token::make_keyword("OF"), span), mark]);
        }
        i = at;
    }
}

/// sqlparser reads no USING in PostgreSQL's CREATE TABLE: it becomes a storage parameter that no client can write.
fn mark_strategy(tokens: &mut Vec<TokenWithSpan>) {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|t| word(t, text));
    let temporary = usize::from(is(1, "temp") || is(1, "temporary"));
    if !is(0, "create") || !is(1 + temporary, "table") {
        return;
    }
    let mut depth = 0;
    let found = tokens.iter().position(|token| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        depth == 0 && ["using", "as", "with", "on", "tablespace"].iter().any(|w| word(token, w))
    });
    let Some(at) = found.filter(|at| is(*at, "using")) else { return };
    let Some(Token::Word(name)) = tokens.get(at + 1).map(|t| t.token.clone()) else { return };
    let name = if name.quote_style.is_some() { name.value } else { name.value.to_ascii_lowercase() };
    let span = tokens[at].span;
    let merged = is(at + 2, "with") && tokens.get(at + 3).is_some_and(|t| t.token == Token::LParen);
    let mut new = vec![
        Token::make_keyword("WITH"),
        Token::LParen,
        Token::make_word(crate::ddl::strategy::MARK, Some('"')),
        Token::Eq,
        Token::SingleQuotedString(name),
    ];
    new.push(if merged { Token::Comma } else { Token::RParen });
    let end = if merged { at + 4 } else { at + 2 };
    tokens.splice(at..end, new.into_iter().map(|token| TokenWithSpan::new(token, span)));
}

/// What begins and divides the name of a column that is none: LIKE in CREATE TABLE, relation and options as text.
pub const LIKE_MARK: char = '\u{2}';

/// `LIKE t INCLUDING …` among the elements of CREATE TABLE becomes a column with a name that no client can write.
fn mark_likes(tokens: &mut Vec<TokenWithSpan>) {
    if !tokens.first().is_some_and(|t| word(t, "create")) || !tokens.iter().take(4).any(|t| word(t, "table")) {
        return;
    }
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        let begins = depth == 1 && matches!(tokens[at].token, Token::LParen | Token::Comma);
        at += 1;
        if !begins || !tokens.get(at).is_some_and(|t| word(t, "like")) {
            continue;
        }
        let ends = |t: &TokenWithSpan| matches!(t.token, Token::Comma | Token::RParen);
        let Some(length) = tokens[at..].iter().position(ends) else { return };
        let option = |t: &TokenWithSpan| word(t, "including") || word(t, "excluding");
        let name = tokens[at + 1..at + length].iter().take_while(|t| !option(t)).count();
        let text = |tokens: &[TokenWithSpan], between: &str| {
            tokens.iter().map(|t| t.token.to_string()).collect::<Vec<_>>().join(between)
        };
        let mark = format!(
            "{LIKE_MARK}{}{LIKE_MARK}{}",
            text(&tokens[at + 1..at + 1 + name], ""),
            text(&tokens[at + 1 + name..at + length], " ")
        );
        let span = tokens[at].span;
        let new = [Token::make_word(&mark, Some('"')), Token::make_word("int", None)];
        tokens.splice(at..at + length, new.into_iter().map(|token| TokenWithSpan::new(token, span)));
    }
}

/// Options of an identity column's sequence, which sqlparser reads in one order only.
fn order_identity_options(tokens: &mut Vec<TokenWithSpan>) {
    const ORDER: [&str; 6] = ["increment", "minvalue", "maxvalue", "start", "cache", "cycle"];
    let mut at = 0;
    while at + 1 < tokens.len() {
        let opens = word(&tokens[at], "identity") && tokens[at + 1].token == Token::LParen;
        at += 1;
        if !opens {
            continue;
        }
        let Some(length) = tokens[at..].iter().position(|t| t.token == Token::RParen) else { return };
        let mut options: Vec<(usize, Vec<TokenWithSpan>)> = Vec::new();
        let mut negated = None;
        for token in &tokens[at + 1..at + length] {
            if word(token, "no") {
                negated = Some(token.clone());
                continue;
            }
            match (ORDER.iter().position(|name| word(token, name)), options.last_mut()) {
                (Some(place), _) => options.push((place, negated.take().into_iter().chain([token.clone()]).collect())),
                (None, Some((_, option))) => option.push(token.clone()),
                // Something that sqlparser will refuse.
                (None, None) => return,
            }
        }
        options.sort_by_key(|(place, _)| *place);
        let ordered: Vec<TokenWithSpan> = options.into_iter().flat_map(|(_, option)| option).collect();
        if ordered.len() == length - 1 {
            tokens.splice(at + 1..at + length, ordered);
        }
    }
}

/// CREATE UNLOGGED TABLE, which sqlparser does not know, becomes CREATE TRANSIENT TABLE, which PostgreSQL does not know.
fn mark_unlogged(tokens: &mut [TokenWithSpan]) {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|t| word(t, text));
    if is(0, "create") && is(1, "unlogged") && is(2, "table") {
        tokens[1].token = Token::make_keyword("TRANSIENT");
    }
}

/// Whether the text of CREATE TABLE AS ends in WITH NO DATA, which [`rewrite`] takes away.
pub fn is_without_data(text: &str) -> bool {
    let mut words = text.split_whitespace().rev().map(|w| w.trim_end_matches(';').to_lowercase());
    let end: Vec<String> = words.by_ref().filter(|w| !w.is_empty()).take(3).collect();
    end == ["data", "no", "with"]
}

/// WITH [NO] DATA at the end of CREATE TABLE AS.
fn strip_with_data(tokens: &mut Vec<TokenWithSpan>) {
    let create = tokens.first().is_some_and(|t| word(t, "create"));
    let ends = |words: &[&str]| {
        let at = tokens.len().saturating_sub(words.len());
        words.iter().zip(&tokens[at..]).all(|(w, t)| word(t, w))
    };
    let count = if ends(&["with", "no", "data"]) {
        3
    } else if ends(&["with", "data"]) {
        2
    } else {
        return;
    };
    if create {
        tokens.truncate(tokens.len() - count);
    }
}

/// What begins the name of a constraint that is none: the target of ON CONFLICT as PostgreSQL reads it and sqlparser does
/// not, elements and predicate as text.
pub const TARGET_MARK: char = '\u{1}';

/// `ON CONFLICT (lower(a), b) WHERE c DO …` becomes ON CONSTRAINT with a name that no client can write.
fn mark_conflict_target(tokens: &mut Vec<TokenWithSpan>) {
    let Some(at) = (1..tokens.len()).find(|i| word(&tokens[i - 1], "on") && word(&tokens[*i], "conflict")) else {
        return;
    };
    let open = at + 1;
    if tokens.get(open).is_none_or(|t| t.token != Token::LParen) {
        return;
    }
    let mut depth = 0;
    let close = (open..tokens.len()).find(|i| {
        match tokens[*i].token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let Some(close) = close else { return };
    let predicate = tokens.get(close + 1).is_some_and(|t| word(t, "where"));
    let names = tokens[open + 1..close].iter().all(|t| matches!(&t.token, Token::Word(_) | Token::Comma));
    let two_words = tokens[open + 1..close].windows(2).any(|w| w.iter().all(|t| matches!(t.token, Token::Word(_))));
    if names && !two_words && !predicate {
        return;
    }
    let text = |tokens: &[TokenWithSpan]| tokens.iter().map(|t| t.token.to_string()).collect::<Vec<_>>().join(" ");
    let mut end = close + 1;
    let mut name = format!("{TARGET_MARK}{}", text(&tokens[open + 1..close]));
    if predicate {
        let action = |i: &usize| {
            word(&tokens[*i], "do") && tokens.get(i + 1).is_some_and(|t| word(t, "nothing") || word(t, "update"))
        };
        let Some(found) = (end + 1..tokens.len()).find(action) else { return };
        name.push(TARGET_MARK);
        name.push_str(&text(&tokens[end + 1..found]));
        end = found;
    }
    let span = tokens[open].span;
    let new = [Token::make_keyword("ON"), Token::make_keyword("CONSTRAINT"), Token::make_word(&name, Some('"'))];
    tokens.splice(open..end, new.into_iter().map(|token| TokenWithSpan::new(token, span)));
}

/// Where `words` stand in the tokens.
fn find_words(tokens: &[TokenWithSpan], words: &[&str], from: usize) -> Option<usize> {
    (from..tokens.len())
        .find(|at| words.iter().enumerate().all(|(i, text)| tokens.get(at + i).is_some_and(|t| word(t, text))))
}

/// OVERRIDING SYSTEM VALUE becomes a column, behind the others or alone, that no client can write.
fn mark_overriding(tokens: &mut Vec<TokenWithSpan>) {
    use crate::dml::insert::{OVERRIDING_SYSTEM, OVERRIDING_USER};
    for (kind, mark) in [("system", OVERRIDING_SYSTEM), ("user", OVERRIDING_USER)] {
        let mut from = 1;
        while let Some(at) = find_words(tokens, &["overriding", kind, "value"], from) {
            let span = tokens[at].span;
            let listed = tokens[at - 1].token == Token::RParen;
            tokens.drain(at..at + 3);
            let first = if listed { Token::Comma } else { Token::LParen };
            let mut new = vec![first, Token::make_word(mark, Some('"'))];
            new.extend((!listed).then_some(Token::RParen));
            let place = if listed { at - 1 } else { at };
            tokens.splice(place..place, new.into_iter().map(|token| TokenWithSpan::new(token, span)));
            from = at + 1;
        }
    }
}

/// `WITH (security_barrier)` is `WITH (security_barrier = true)`.
fn complete_view_options(tokens: &mut Vec<TokenWithSpan>) {
    let begins =
        |at: &usize| word(&tokens[*at], "with") && tokens.get(at + 1).is_some_and(|t| t.token == Token::LParen);
    let body = tokens.iter().position(|t| word(t, "as")).unwrap_or(0);
    let Some(mut at) = (0..body).find(begins).map(|at| at + 2) else { return };
    while at + 1 < tokens.len() {
        let alone = matches!(tokens[at].token, Token::Word(_))
            && matches!(tokens[at - 1].token, Token::LParen | Token::Comma)
            && matches!(tokens[at + 1].token, Token::RParen | Token::Comma);
        if alone {
            let span = tokens[at].span;
            let value = [Token::Eq, Token::make_keyword("TRUE")];
            tokens.splice(at + 1..at + 1, value.into_iter().map(|token| TokenWithSpan::new(token, span)));
        }
        if matches!(tokens[at].token, Token::RParen) {
            return;
        }
        at += 1;
    }
}

/// sqlparser reads no WITH CHECK OPTION: it becomes a storage parameter of the view that no client can write.
fn mark_check_option(tokens: &mut Vec<TokenWithSpan>) {
    let view = tokens.iter().take(6).any(|t| word(t, "view")) && tokens.first().is_some_and(|t| word(t, "create"));
    if !view {
        return;
    }
    complete_view_options(tokens);
    let ends = |words: &[&str]| {
        let start = tokens.len().checked_sub(words.len())?;
        (find_words(tokens, words, start) == Some(start)).then_some(start)
    };
    let found = [
        (ends(&["with", "local", "check", "option"]), "local"),
        (ends(&["with", "cascaded", "check", "option"]), "cascaded"),
        (ends(&["with", "check", "option"]), "cascaded"),
    ];
    let Some((start, kind)) = found.into_iter().find_map(|(start, kind)| Some((start?, kind))) else { return };
    tokens.truncate(start);
    let Some(at) = tokens.iter().position(|t| word(t, "as")) else { return };
    let span = tokens[at].span;
    let listed = tokens[..at].iter().rposition(|t| word(t, "with")).filter(|w| *w + 1 < at);
    let mark = [
        Token::make_word(crate::ddl::view::CHECK_MARK, Some('"')),
        Token::Eq,
        Token::SingleQuotedString(kind.to_owned()),
    ];
    let new: Vec<Token> = match listed {
        // Behind the other parameters.
        Some(_) => std::iter::once(Token::Comma).chain(mark).collect(),
        None => [Token::make_keyword("WITH"), Token::LParen].into_iter().chain(mark).chain([Token::RParen]).collect(),
    };
    let place = if listed.is_some() { at - 1 } else { at };
    tokens.splice(place..place, new.into_iter().map(|token| TokenWithSpan::new(token, span)));
}

/// MERGE's DO NOTHING and INSERT DEFAULT VALUES become an UPDATE or INSERT of a column that no client can write.
fn mark_merge(tokens: &mut Vec<TokenWithSpan>) {
    use crate::dml::merge::{DEFAULTS_MARK, NOTHING_MARK};
    if find_words(tokens, &["merge"], 0).is_none() {
        return;
    }
    let insert = |mark: &str| {
        let mark = Token::make_word(mark, Some('"'));
        let one = || Token::Number("0".into(), false);
        vec![
            Token::make_keyword("INSERT"),
            Token::LParen,
            mark,
            Token::RParen,
            Token::make_keyword("VALUES"),
            Token::LParen,
            one(),
            Token::RParen,
        ]
    };
    let update = |mark: &str| {
        let mark = Token::make_word(mark, Some('"'));
        vec![
            Token::make_keyword("UPDATE"),
            Token::make_keyword("SET"),
            mark,
            Token::Eq,
            Token::Number("0".into(), false),
        ]
    };
    let mut unmatched = false;
    let mut at = 0;
    while at < tokens.len() {
        let is = |ahead: usize, text: &str| tokens.get(at + ahead).is_some_and(|t| word(t, text));
        if is(0, "when") {
            unmatched = is(1, "not");
        }
        let new = if is(0, "then") && is(1, "do") && is(2, "nothing") {
            if unmatched { insert(NOTHING_MARK) } else { update(NOTHING_MARK) }
        } else if is(0, "then") && is(1, "insert") && is(2, "default") && is(3, "values") {
            insert(DEFAULTS_MARK)
        } else {
            at += 1;
            continue;
        };
        let end = if is(1, "do") { at + 3 } else { at + 4 };
        let span = tokens[at].span;
        tokens.splice(at + 1..end, new.into_iter().map(|token| TokenWithSpan::new(token, span)));
        at += 1;
    }
}

/// The name under which an argument written VARIADIC travels: no client can write it.
pub(super) const VARIADIC_MARK: &str = "\u{1}variadic";

/// The function that stands for ROWS FROM.
pub(crate) const ROWS_FROM: &str = "\u{1}rows_from";

/// sqlparser knows neither `f(VARIADIC x)` nor `ROWS FROM (…)`: they become a named argument and a function.
fn mark_calls(tokens: &mut Vec<TokenWithSpan>) {
    let mut i = 0;
    while i + 1 < tokens.len() {
        let before = i.checked_sub(1).and_then(|at| tokens.get(at)).map(|t| &t.token);
        let begins = matches!(before, Some(Token::LParen | Token::Comma));
        if word(&tokens[i], "variadic") && begins {
            let span = tokens[i].span;
            tokens[i].token = Token::make_word(VARIADIC_MARK, Some('"'));
            tokens.insert(i + 1, TokenWithSpan::new(Token::RArrow, span));
        }
        // `name := value` is `name => value`.
        if begins && matches!(tokens[i].token, Token::Word(_)) && tokens[i + 1].token == Token::Assignment {
            tokens[i + 1].token = Token::RArrow;
        }
        let rows = word(&tokens[i], "rows") && word(&tokens[i + 1], "from");
        if rows && tokens.get(i + 2).is_some_and(|t| t.token == Token::LParen) {
            tokens[i].token = Token::make_word(ROWS_FROM, Some('"'));
            tokens.remove(i + 1);
        }
        i += 1;
    }
}

/// Types whose names sqlparser does not read before a string: `inet '::1'` becomes a cast.
const LITERAL_TYPES: &[&str] = &[
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "money",
    "jsonpath",
    "name",
    "oid",
    "bpchar",
    "varbit",
    "pg_lsn",
    "xid",
    "xid8",
    "pg_snapshot",
    "txid_snapshot",
    "int2vector",
    "oidvector",
    "regclass",
    "regtype",
    "regproc",
    "regprocedure",
    "regoper",
    "regoperator",
    "regrole",
    "regnamespace",
    "regcollation",
    "char",
    "int4range",
    "int8range",
    "numrange",
    "daterange",
    "tsrange",
    "tstzrange",
    "int4multirange",
    "int8multirange",
    "nummultirange",
    "datemultirange",
    "tsmultirange",
    "tstzmultirange",
];

fn cast_literals(tokens: &mut Vec<TokenWithSpan>) {
    let mut i = 0;
    while i + 1 < tokens.len() {
        let typed = match &tokens[i].token {
            Token::Word(w) => match w.quote_style {
                None => w.value != "char" && LITERAL_TYPES.contains(&w.value.to_ascii_lowercase().as_str()),
                Some(_) => w.value == "char",
            },
            _ => false,
        };
        let before = i.checked_sub(1).and_then(|at| tokens.get(at));
        let qualified = before.is_some_and(|t| matches!(t.token, Token::Period) || word(t, "as"));
        if typed && !qualified && matches!(tokens[i + 1].token, Token::SingleQuotedString(_)) {
            let (name, text) = (tokens[i].clone(), tokens[i + 1].clone());
            let at = |token: Token| TokenWithSpan::new(token, text.span);
            let cast = [
                at(Token::make_keyword("CAST")),
                at(Token::LParen),
                text.clone(),
                at(Token::make_keyword("AS")),
                name,
                at(Token::RParen),
            ];
            tokens.splice(i..i + 2, cast);
            i += 6;
        } else {
            i += 1;
        }
    }
}

/// The field that stands for all fields of a row.
pub(super) const ALL_MARK: &str = "\u{1}all";

/// `(row).*`, which sqlparser reads of names alone, becomes a field access.
fn mark_row_stars(tokens: &mut [TokenWithSpan]) {
    for i in 2..tokens.len() {
        if tokens[i].token == Token::Mul
            && tokens[i - 1].token == Token::Period
            && matches!(tokens[i - 2].token, Token::RParen | Token::RBracket)
        {
            tokens[i].token = Token::make_word(ALL_MARK, Some('"'));
        }
    }
}

/// `f(…) AS (a int, b text)` gets the function's name as its alias, which sqlparser wants there.
fn name_column_definitions(tokens: &mut Vec<TokenWithSpan>) {
    const QUERIES: &[&str] = &["select", "values", "with", "table", "insert", "update", "delete", "merge"];
    let mut i = 0;
    while i + 4 < tokens.len() {
        let listed = tokens[i].token == Token::RParen
            && word(&tokens[i + 1], "as")
            && tokens[i + 2].token == Token::LParen
            && matches!(tokens[i + 3].token, Token::Word(_))
            && !QUERIES.iter().any(|w| word(&tokens[i + 3], w))
            && matches!(tokens[i + 4].token, Token::Word(_));
        if listed && let Some(name) = called_before(&tokens[..i]) {
            let name = TokenWithSpan::new(name, tokens[i + 1].span);
            tokens.insert(i + 2, name);
        }
        i += 1;
    }
}

/// The name of the function whose arguments end here.
fn called_before(tokens: &[TokenWithSpan]) -> Option<Token> {
    let mut depth = 0;
    let open = tokens.iter().rposition(|t| {
        match t.token {
            Token::RParen => depth += 1,
            Token::LParen => depth -= 1,
            _ => {}
        }
        depth < 0
    })?;
    let name = &tokens.get(open.checked_sub(1)?)?.token;
    matches!(name, Token::Word(_)).then(|| name.clone())
}

/// `CREATE RECURSIVE VIEW name (columns) AS query` is short for a view over a recursive WITH query of its name.
fn expand_recursive_view(tokens: &mut Vec<TokenWithSpan>) {
    let Some(at) = tokens.iter().take(5).position(|t| word(t, "recursive")) else { return };
    let view = tokens.first().is_some_and(|t| word(t, "create")) && tokens.get(at + 1).is_some_and(|t| word(t, "view"));
    let Some(open) = tokens.iter().position(|t| t.token == Token::LParen).filter(|_| view) else { return };
    let Some(close) = tokens.iter().position(|t| t.token == Token::RParen) else { return };
    let Some(name) = tokens.get(open - 1).cloned() else { return };
    if close < open || !tokens.get(close + 1).is_some_and(|t| word(t, "as")) {
        return;
    }
    let span = name.span;
    let plain = |token: Token| TokenWithSpan::new(token, span);
    let columns: Vec<TokenWithSpan> = tokens[open..=close].to_vec();
    let mut query = tokens.split_off(close + 2);
    let mut end = Vec::new();
    while query.last().is_some_and(|t| matches!(t.token, Token::SemiColon | Token::EOF)) {
        end.extend(query.pop());
    }
    tokens.extend([plain(Token::make_keyword("WITH")), plain(Token::make_keyword("RECURSIVE")), name.clone()]);
    tokens.extend(columns.iter().cloned());
    tokens.extend([plain(Token::make_keyword("AS")), plain(Token::LParen)]);
    tokens.append(&mut query);
    tokens.extend([plain(Token::RParen), plain(Token::make_keyword("SELECT"))]);
    tokens.extend(columns.get(1..columns.len() - 1).unwrap_or_default().iter().cloned());
    tokens.extend([plain(Token::make_keyword("FROM")), name]);
    tokens.extend(end.into_iter().rev());
    tokens.remove(at);
}

/// A frame's `'1 day'::interval PRECEDING`: sqlparser reads a string there as the start of an interval, so it gets parentheses.
fn mark_frame_offsets(tokens: &mut Vec<TokenWithSpan>) {
    let mut i = 0;
    while i + 3 < tokens.len() {
        let cast = matches!(tokens[i].token, Token::SingleQuotedString(_))
            && tokens[i + 1].token == Token::DoubleColon
            && matches!(tokens[i + 2].token, Token::Word(_))
            && (word(&tokens[i + 3], "preceding") || word(&tokens[i + 3], "following"));
        if cast {
            let (begin, end) = (tokens[i].span, tokens[i + 2].span);
            tokens.insert(i + 3, TokenWithSpan::new(Token::RParen, end));
            tokens.insert(i, TokenWithSpan::new(Token::LParen, begin));
            i += 5;
        }
        i += 1;
    }
}

/// The expression that tokens of a statement are; `None`: they are none.
pub fn expression_of(tokens: &[TokenWithSpan]) -> Option<sqlparser::ast::Expr> {
    let source = super::parse::Source::new("");
    super::parse::with_parser(&source, rewrite(tokens.to_vec()), |p| p.parse_expr()).ok()
}

pub(super) fn rewrite(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let routine = matches!(tokens.first(), Some(t) if word(t, "create") || word(t, "alter") || word(t, "drop"))
        && tokens.iter().any(|t| word(t, "function") || word(t, "procedure"));
    if !routine {
        super::spellings::respell(&mut tokens);
        only::mark(&mut tokens);
        joins::parenthesise(&mut tokens);
        super::current_of::mark(&mut tokens);
        super::exclusion::mark(&mut tokens);
        super::traversal::mark(&mut tokens);
        mark_calls(&mut tokens);
        super::subscripted::rewrite(&mut tokens);
        cast_literals(&mut tokens);
        mark_frame_offsets(&mut tokens);
        mark_row_stars(&mut tokens);
        super::stars::parenthesise(&mut tokens);
        name_column_definitions(&mut tokens);
        expand_recursive_view(&mut tokens);
    }
    rewrite_trims(&mut tokens);
    mark_unlogged(&mut tokens);
    order_identity_options(&mut tokens);
    mark_likes(&mut tokens);
    strip_with_data(&mut tokens);
    mark_strategy(&mut tokens);
    mark_conflict_target(&mut tokens);
    mark_key_locks(&mut tokens);
    mark_overriding(&mut tokens);
    mark_check_option(&mut tokens);
    super::key_details::mark(&mut tokens);
    super::query_tail::end_with_locks(&mut tokens);
    super::query_tail::rewrite_fetch(&mut tokens);
    super::query_tail::drop_idle_locks(&mut tokens);
    mark_merge(&mut tokens);
    let body = tokens.iter().any(|t| word(t, "function") || word(t, "procedure"));
    for token in &mut tokens {
        // sqlparser takes a dollar-quoted string only in some places where a string may stand.
        if let Token::DollarQuotedString(s) = &token.token
            && !body
        {
            token.token = Token::SingleQuotedString(s.value.clone());
        }
        // PostgreSQL reserves none of these; sqlparser reads them as the start of something else.
        if let Token::Word(w) = &mut token.token
            && w.quote_style.is_none()
            && matches!(w.keyword, Keyword::STRUCT | Keyword::MAP | Keyword::TRY_CAST | Keyword::SAFE_CAST)
        {
            w.keyword = Keyword::NoKeyword;
        }
    }
    tokens
}
