//! Spellings of PostgreSQL that sqlparser does not read, as those that it does.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rewrite::word;

pub(super) fn respell(tokens: &mut Vec<TokenWithSpan>) {
    table_command(tokens);
    named_operators(tokens);
    order_using(tokens);
    aliases_of_using(tokens);
    is_null(tokens);
    substring_similar(tokens);
    quantified_patterns(tokens);
    symmetric_ranges(tokens);
    collation_of(tokens);
    distinct_sets(tokens);
    nested_sets(tokens);
    grouping_elements(tokens);
    interval_precision(tokens);
    called_users(tokens);
    called_keywords(tokens);
    quantified_values(tokens);
    if tokens.first().is_some_and(|t| word(t, "create")) {
        without_oids(tokens);
        executed_queries(tokens);
        named_columns(tokens);
        nulls_distinct(tokens);
    }
    no_inherit(tokens);
    compression(tokens);
}

fn keyword(text: &str, at: &TokenWithSpan) -> TokenWithSpan {
    TokenWithSpan::new(Token::make_keyword(text), at.span)
}

fn is(tokens: &[TokenWithSpan], at: usize, token: &Token) -> bool {
    tokens.get(at).is_some_and(|t| t.token == *token)
}

/// `ANY (VALUES …)` and `ANY ((SELECT …) UNION …)`: sqlparser looks for SELECT there, and finds a subquery within further
/// parentheses.
fn quantified_values(tokens: &mut Vec<TokenWithSpan>) {
    for at in (0..tokens.len().saturating_sub(2)).rev() {
        let quantifier = ["any", "all", "some"].iter().any(|w| word(&tokens[at], w));
        let combined = || {
            let inner = super::key_details::closing(tokens, at + 2);
            let next = inner.and_then(|inner| tokens.get(inner + 1));
            next.is_some_and(|t| ["union", "intersect", "except"].iter().any(|w| word(t, w)))
        };
        let opens = is(tokens, at + 1, &Token::LParen);
        if quantifier && opens && (word(&tokens[at + 2], "values") || is(tokens, at + 2, &Token::LParen) && combined())
        {
            let Some(close) = super::key_details::closing(tokens, at + 1) else { return };
            tokens.insert(close, tokens[close].clone());
            tokens.insert(at + 1, tokens[at + 1].clone());
        }
    }
}

/// `pg_catalog.substring(…)`: the name of a function, and not what sqlparser reads behind the keyword.
fn called_keywords(tokens: &mut [TokenWithSpan]) {
    const SPECIAL: [&str; 8] = ["ceil", "extract", "floor", "interval", "overlay", "position", "substring", "trim"];
    for at in 1..tokens.len().saturating_sub(1) {
        if tokens[at - 1].token == Token::Period
            && is(tokens, at + 1, &Token::LParen)
            && let Some(name) = SPECIAL.iter().find(|name| word(&tokens[at], name))
        {
            tokens[at].token = Token::make_word(name, Some('"'));
        }
    }
}

/// `pg_catalog.current_user()`, where sqlparser takes the second word for SQL's CURRENT_USER: is that.
fn called_users(tokens: &mut Vec<TokenWithSpan>) {
    for at in (0..tokens.len().saturating_sub(4)).rev() {
        let user = |t: &TokenWithSpan| word(t, "current_user") || word(t, "session_user");
        // What was taken out behind `at` may leave less than this.
        if tokens.get(at + 2).is_some_and(user)
            && word(&tokens[at], "pg_catalog")
            && is(tokens, at + 1, &Token::Period)
            && is(tokens, at + 3, &Token::LParen)
            && is(tokens, at + 4, &Token::RParen)
        {
            tokens.drain(at + 3..=at + 4);
            tokens.drain(at..=at + 1);
        }
    }
}

/// What begins the name of a collation that is none: how a column is compressed.
pub const COMPRESSION_MARK: &str = "\u{1}compression ";

/// `a text COMPRESSION pglz` in the definition of a column becomes a collation with a name that no client can write.
fn compression(tokens: &mut [TokenWithSpan]) {
    let creates = tokens.first().is_some_and(|t| word(t, "create"));
    let alters = tokens.first().is_some_and(|t| word(t, "alter"));
    if !(creates || alters) || !tokens.iter().take(4).any(|t| word(t, "table")) {
        return;
    }
    let mut depth = 0usize;
    for at in 1..tokens.len() {
        match tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        // Columns of CREATE TABLE are in parentheses, those of ALTER TABLE behind ADD.
        let begins = match creates {
            true => depth == 1 && matches!(tokens[at].token, Token::LParen | Token::Comma),
            false => depth == 0 && word(&tokens[at], "add"),
        };
        if begins
            && let Some(clause) = compression_of_column(tokens, at + 1)
            && let Token::Word(method) = &tokens[clause + 1].token
        {
            let quoted = method.quote_style.is_some();
            let method = if quoted { method.value.clone() } else { method.value.to_lowercase() };
            tokens[clause + 1].token = Token::make_word(&format!("{COMPRESSION_MARK}{method}"), Some('"'));
            tokens[clause].token = Token::make_keyword("COLLATE");
        }
    }
}

/// Where the clause stands in what may be the definition of a column: right behind its type.
fn compression_of_column(tokens: &[TokenWithSpan], mut at: usize) -> Option<usize> {
    const NO_COLUMN: [&str; 12] = [
        "constraint",
        "like",
        "primary",
        "unique",
        "check",
        "foreign",
        "exclude",
        "select",
        "with",
        "values",
        "table",
        "not",
    ];
    const BEHIND_TYPE: [&str; 11] = [
        "collate",
        "constraint",
        "not",
        "null",
        "default",
        "primary",
        "unique",
        "check",
        "references",
        "generated",
        "storage",
    ];
    let is_word = |at: usize| matches!(tokens.get(at).map(|t| &t.token), Some(Token::Word(_)));
    let among = |at: usize, words: &[&str]| tokens.get(at).is_some_and(|t| words.iter().any(|w| word(t, w)));
    if among(at, &["column"]) && is_word(at + 1) {
        at += 1;
    }
    if among(at, &["if"]) && among(at + 1, &["not"]) && among(at + 2, &["exists"]) {
        at += 3;
    }
    // The column's name, and at least one word of its type.
    if !is_word(at) || among(at, &NO_COLUMN) || !is_word(at + 1) {
        return None;
    }
    at += 2;
    let mut depth = 0usize;
    loop {
        match &tokens.get(at)?.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            Token::Period => {}
            Token::Word(_) if among(at, &["compression"]) => return is_word(at + 1).then_some(at),
            Token::Word(_) if !among(at, &BEHIND_TYPE) => {}
            _ => return None,
        }
        at += 1;
    }
}

/// `TABLE t`, where a query may stand, is `SELECT * FROM t`.
fn table_command(tokens: &mut Vec<TokenWithSpan>) {
    // Of each level of parentheses: whether a query may follow what stands behind WITH or INSERT INTO.
    let mut levels = vec![false];
    // CREATE … AS and PREPARE … AS.
    let mut defines = tokens.first().is_some_and(|t| word(t, "create") || word(t, "prepare"));
    let mut at = 0;
    while at + 1 < tokens.len() {
        let before = at.checked_sub(1).map(|i| &tokens[i]);
        let follows = |words: &[&str]| before.is_some_and(|t| words.iter().any(|w| word(t, w)));
        let begins = before.is_none_or(|t| t.token == Token::LParen);
        let combines = |t: &TokenWithSpan| ["union", "intersect", "except"].iter().any(|w| word(t, w));
        let combined =
            before.is_some_and(combines) || (follows(&["all", "distinct"]) && at >= 2 && combines(&tokens[at - 2]));
        match tokens[at].token {
            Token::LParen => levels.push(false),
            Token::RParen => drop(levels.pop()),
            _ => {}
        }
        let top = levels.len() == 1;
        if let Some(leads) = levels.last_mut() {
            *leads |= (begins && word(&tokens[at], "with")) || (word(&tokens[at], "into") && follows(&["insert"]));
            if ["select", "values", "update", "delete", "merge", "set"].iter().any(|w| word(&tokens[at], w)) {
                *leads = false;
                defines &= !top;
            }
        }
        let leads = levels.last() == Some(&true)
            && before.is_some_and(|t| matches!(t.token, Token::RParen | Token::Word(_)) && !word(t, "create"));
        let query = begins || leads || combined || (defines && top && follows(&["as"]));
        if query && word(&tokens[at], "table") && names_table(&tokens[at + 1]) {
            let first = &tokens[at];
            let star = TokenWithSpan::new(Token::Mul, first.span);
            let select = [keyword("SELECT", first), star, keyword("FROM", first)];
            tokens.splice(at..=at, select);
        }
        at += 1;
    }
}

/// Whether a word may be the name of a table, or ONLY before one, and is not what goes on behind a column named `table`.
fn names_table(token: &TokenWithSpan) -> bool {
    const RESERVED: [&str; 19] = [
        "from",
        "where",
        "group",
        "having",
        "window",
        "union",
        "intersect",
        "except",
        "order",
        "limit",
        "offset",
        "fetch",
        "for",
        "into",
        "as",
        "on",
        "using",
        "and",
        "or",
    ];
    matches!(token.token, Token::Word(_)) && !RESERVED.iter().any(|w| word(token, w))
}

/// `a int UNIQUE NULLS NOT DISTINCT` in CREATE TABLE is a constraint behind the column: sqlparser reads it there alone.
fn nulls_distinct(tokens: &mut Vec<TokenWithSpan>) {
    if !tokens.iter().take(4).any(|t| word(t, "table")) {
        return;
    }
    let (mut depth, mut column, mut moved) = (0, None, Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let ends = match tokens[at].token {
            Token::LParen => {
                depth += 1;
                if depth == 1 {
                    column = tokens.get(at + 1).cloned();
                }
                false
            }
            Token::RParen => {
                depth -= 1;
                depth == 0
            }
            Token::Comma => depth == 1,
            _ => false,
        };
        if ends {
            let count = moved.len();
            tokens.splice(at..at, std::mem::take(&mut moved));
            at += count;
            column = tokens.get(at + 1).cloned();
        }
        let not = usize::from(tokens.get(at + 2).is_some_and(|t| word(t, "not")));
        let fits = depth == 1
            && word(&tokens[at], "unique")
            && tokens.get(at + 1).is_some_and(|t| word(t, "nulls"))
            && tokens.get(at + 2 + not).is_some_and(|t| word(t, "distinct"));
        if let Some(name) = column.as_ref().filter(|c| fits && c.span != tokens[at].span && !word(c, "constraint")) {
            let behind = |token: Token| TokenWithSpan::new(token, name.span);
            let written: Vec<TokenWithSpan> = tokens.drain(at..at + 3 + not).collect();
            moved.push(behind(Token::Comma));
            moved.extend(written);
            moved.extend([behind(Token::LParen), name.clone(), behind(Token::RParen)]);
            continue;
        }
        at += 1;
    }
}

/// `ORDER BY a USING <` is ascending, `USING >` descending.
fn order_using(tokens: &mut Vec<TokenWithSpan>) {
    let mut i = 1;
    while i + 1 < tokens.len() {
        let direction = match tokens[i + 1].token {
            Token::Lt => Some("ASC"),
            Token::Gt => Some("DESC"),
            _ => None,
        };
        if let Some(direction) = direction.filter(|_| word(&tokens[i], "using")) {
            tokens[i].token = Token::make_keyword(direction);
            tokens.remove(i + 1);
        }
        i += 1;
    }
}

/// `a ISNULL` is `a IS NULL`.
fn is_null(tokens: &mut Vec<TokenWithSpan>) {
    let mut i = 1;
    while i < tokens.len() {
        let behind_operand = match &tokens[i - 1].token {
            Token::Word(w) => w.keyword == Keyword::NoKeyword || w.quote_style.is_some(),
            Token::RParen | Token::RBracket | Token::Number(..) | Token::SingleQuotedString(_) => true,
            _ => false,
        };
        let called = is(tokens, i + 1, &Token::LParen) || is(tokens, i + 1, &Token::Period);
        if behind_operand && !called && word(&tokens[i], "isnull") && !word(&tokens[i - 1], "as") {
            let null = keyword("NULL", &tokens[i]);
            tokens[i].token = Token::make_keyword("IS");
            tokens.insert(i + 1, null);
        }
        i += 1;
    }
}

/// `OPERATOR(pg_catalog.&>)` with one token for the operator; what stands before an operand, behind USING or before ANY is the
/// operator alone: sqlparser reads none of these.
fn named_operators(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 4 < tokens.len() {
        if !(word(&tokens[at], "operator") && is(tokens, at + 1, &Token::LParen)) {
            at += 1;
            continue;
        }
        let mut first = at + 2;
        while is(tokens, first + 1, &Token::Period) {
            first += 2;
        }
        let Some(length) = tokens[first..].iter().position(|t| t.token == Token::RParen) else { return };
        let is_name = |t: &TokenWithSpan| {
            !matches!(
                t.token,
                Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::Comma | Token::LParen
            )
        };
        if !tokens[first..first + length].iter().all(is_name) {
            // A call of a function of this name.
            at += 1;
            continue;
        }
        if length > 1 {
            let name: String = tokens[first..first + length].iter().map(|t| t.token.to_string()).collect();
            tokens[first].token = Token::CustomBinaryOperator(name);
            tokens.drain(first + 1..first + length);
        }
        let standard = first == at + 4 && word(&tokens[at + 2], "pg_catalog");
        let quantified = ["any", "some", "all"].iter().any(|w| tokens.get(first + 2).is_some_and(|t| word(t, w)));
        let sorts = at > 0 && word(&tokens[at - 1], "using");
        if standard && length > 0 && (quantified || sorts || !ends_operand(tokens, at)) {
            tokens.drain(first + 1..=first + 1);
            tokens.drain(at..first);
        }
        at += 1;
    }
}

/// Words behind which an operand begins.
const BEFORE_OPERAND: [Keyword; 16] = [
    Keyword::SELECT,
    Keyword::DISTINCT,
    Keyword::ALL,
    Keyword::WHERE,
    Keyword::HAVING,
    Keyword::ON,
    Keyword::BY,
    Keyword::RETURNING,
    Keyword::CASE,
    Keyword::WHEN,
    Keyword::THEN,
    Keyword::ELSE,
    Keyword::AND,
    Keyword::OR,
    Keyword::NOT,
    Keyword::BETWEEN,
];

/// Whether an operand ends before `at`.
fn ends_operand(tokens: &[TokenWithSpan], at: usize) -> bool {
    match at.checked_sub(1).map(|before| &tokens[before].token) {
        Some(Token::Word(w)) => w.quote_style.is_some() || !BEFORE_OPERAND.contains(&w.keyword),
        Some(Token::RParen | Token::RBracket | Token::Number(..) | Token::Placeholder(_)) => true,
        Some(Token::SingleQuotedString(_) | Token::DollarQuotedString(_) | Token::EscapedStringLiteral(_)) => true,
        _ => false,
    }
}

/// What begins the last name of USING's list that is none: the alias of the join.
pub const USING_MARK: &str = "\u{1}as ";

/// `JOIN t USING (a) AS j`: the alias becomes a last name of the list that no client can write.
fn aliases_of_using(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 5 < tokens.len() {
        at += 1;
        if !(word(&tokens[at - 1], "using") && is(tokens, at, &Token::LParen)) {
            continue;
        }
        let Some(length) = tokens[at..].iter().position(|t| t.token == Token::RParen) else { return };
        let close = at + length;
        let listed = tokens[at + 1..close].iter().enumerate().all(|(i, t)| match i % 2 {
            0 => matches!(t.token, Token::Word(_)),
            _ => t.token == Token::Comma,
        });
        let alias = match (tokens.get(close + 1), tokens.get(close + 2).map(|t| &t.token)) {
            (Some(after), Some(Token::Word(alias))) if listed && length % 2 == 0 && word(after, "as") => alias,
            _ => continue,
        };
        let name = if alias.quote_style.is_some() { alias.value.clone() } else { alias.value.to_ascii_lowercase() };
        let with = |token: Token| TokenWithSpan::new(token, tokens[close + 2].span);
        let mark = [with(Token::Comma), with(Token::make_word(&format!("{USING_MARK}{name}"), Some('"')))];
        tokens.drain(close + 1..close + 3);
        tokens.splice(close..close, mark);
    }
}

/// The function that stands for EXECUTE.
pub const EXECUTE_MARK: &str = "\u{1}execute";

/// `CREATE TABLE t AS EXECUTE p (1)` becomes a query that calls a function which no client can write, with the name first.
fn executed_queries(tokens: &mut Vec<TokenWithSpan>) {
    let table = tokens.iter().take(4).any(|t| word(t, "table"));
    let found = tokens.windows(3).position(|three| {
        word(&three[0], "as") && word(&three[1], "execute") && matches!(three[2].token, Token::Word(_))
    });
    let Some(at) = found.filter(|_| table).map(|at| at + 1) else { return };
    let Token::Word(name) = &tokens[at + 1].token else { return };
    let name = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_ascii_lowercase() };
    let with = |token: Token| TokenWithSpan::new(token, tokens[at + 1].span);
    let given = is(tokens, at + 2, &Token::LParen);
    let mut call = vec![
        with(Token::make_keyword("SELECT")),
        with(Token::make_word(EXECUTE_MARK, Some('"'))),
        with(Token::LParen),
        with(Token::SingleQuotedString(name)),
        with(if given { Token::Comma } else { Token::RParen }),
    ];
    tokens.splice(at..at + if given { 3 } else { 2 }, call.drain(..));
}

/// `interval(2) '1 second'` is `CAST('1 second' AS interval(2))`.
fn interval_precision(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 4 < tokens.len() {
        let typed = word(&tokens[at], "interval")
            && tokens[at + 1].token == Token::LParen
            && matches!(tokens[at + 2].token, Token::Number(..))
            && tokens[at + 3].token == Token::RParen
            && matches!(tokens[at + 4].token, Token::SingleQuotedString(_));
        if typed {
            let text = tokens.remove(at + 4);
            let with = |token: Token| TokenWithSpan::new(token, text.span);
            tokens.insert(at + 4, with(Token::RParen));
            let head =
                [with(Token::make_keyword("CAST")), with(Token::LParen), text.clone(), with(Token::make_keyword("AS"))];
            tokens.splice(at..at, head);
            at += 4;
        }
        at += 1;
    }
}

/// `ROLLUP ((a)::int, b)` is `ROLLUP (((a)::int), b)`: sqlparser takes what begins with a parenthesis for a list.
fn grouping_elements(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        let before = &tokens[at - 1];
        let listed = word(before, "rollup") || word(before, "cube") || word(before, "sets");
        at += 1;
        if !listed || tokens[at - 1].token != Token::LParen {
            continue;
        }
        let mut first = at;
        while let Some(length) = tokens[first..].iter().scan(0, element_goes_on).position(|goes_on| !goes_on) {
            let (mut end, last) = (first + length, tokens[first + length].token == Token::RParen);
            let open = tokens[first].token == Token::LParen;
            if open && super::key_details::closing(tokens, first).is_some_and(|close| close + 1 < end) {
                let (start, stop) = (tokens[first].span, tokens[end].span);
                tokens.insert(end, TokenWithSpan::new(Token::RParen, stop));
                tokens.insert(first, TokenWithSpan::new(Token::LParen, start));
                end += 2;
            }
            first = end + 1;
            if last {
                break;
            }
        }
    }
}

/// Whether an element of a list has not ended at this token; `depth` of parentheses within it.
fn element_goes_on(depth: &mut usize, token: &TokenWithSpan) -> Option<bool> {
    let ends = *depth == 0 && matches!(token.token, Token::RParen | Token::Comma);
    match token.token {
        Token::LParen | Token::LBracket => *depth += 1,
        Token::RParen | Token::RBracket => *depth = depth.saturating_sub(1),
        _ => {}
    }
    Some(!ends)
}

/// `GROUPING SETS (a, ROLLUP (b, c), GROUPING SETS (d))` is `GROUPING SETS (a, (b, c), (b), (), d)`.
fn nested_sets(tokens: &mut Vec<TokenWithSpan>) {
    for at in (0..tokens.len().saturating_sub(2)).rev() {
        if !(word(&tokens[at], "grouping") && word(&tokens[at + 1], "sets") && is(tokens, at + 2, &Token::LParen)) {
            continue;
        }
        let Some(close) = super::key_details::closing(tokens, at + 2) else { return };
        let list = &tokens[at + 3..close];
        if ["rollup", "cube", "grouping"].iter().any(|nested| list.iter().any(|t| word(t, nested))) {
            let mut sets = Vec::new();
            add_sets(list, &mut sets);
            let comma = TokenWithSpan::new(Token::Comma, tokens[at].span);
            tokens.splice(at + 3..close, sets.join(&comma));
        }
    }
}

/// Most elements of a CUBE.
const CUBE_MAX: usize = 12;

fn add_sets(list: &[TokenWithSpan], sets: &mut Vec<Vec<TokenWithSpan>>) {
    for element in elements(list) {
        match element {
            [first, second, open, inner @ .., _]
                if word(first, "grouping") && word(second, "sets") && open.token == Token::LParen =>
            {
                add_sets(inner, sets);
            }
            [name, open, inner @ .., _] if word(name, "rollup") && open.token == Token::LParen => {
                let parts = elements(inner);
                sets.extend((0..=parts.len()).rev().map(|count| set_of(name, parts.iter().copied().take(count))));
            }
            [name, open, inner @ .., _] if word(name, "cube") && open.token == Token::LParen => {
                let parts = elements(inner);
                if parts.len() > CUBE_MAX {
                    sets.push(element.to_vec());
                    continue;
                }
                sets.extend((0..1usize << parts.len()).rev().map(|mask| {
                    let chosen = parts.iter().rev().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
                    let mut chosen: Vec<_> = chosen.map(|(_, part)| *part).collect();
                    chosen.reverse();
                    set_of(name, chosen.into_iter())
                }));
            }
            other => sets.push(other.to_vec()),
        }
    }
}

/// The elements of a list.
fn elements(list: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let mut depth = 0;
    let mut ends = |token: &TokenWithSpan| !element_goes_on(&mut depth, token).unwrap_or(true);
    list.split(|token| ends(token)).filter(|element| !element.is_empty()).collect()
}

/// One set of these elements, each an expression or several in parentheses.
fn set_of<'a>(at: &TokenWithSpan, parts: impl Iterator<Item = &'a [TokenWithSpan]>) -> Vec<TokenWithSpan> {
    let with = |token: Token| TokenWithSpan::new(token, at.span);
    let plain = |part: &'a [TokenWithSpan]| match part {
        [open, inner @ .., _]
            if open.token == Token::LParen && super::key_details::closing(part, 0) == Some(part.len() - 1) =>
        {
            inner
        }
        _ => part,
    };
    let parts: Vec<&[TokenWithSpan]> = parts.map(plain).collect();
    [vec![with(Token::LParen)], parts.join(&with(Token::Comma)), vec![with(Token::RParen)]].concat()
}

/// What stands first in GROUP BY DISTINCT: no client can write it.
pub const DISTINCT_SETS: &str = "\u{1}distinct";

/// `GROUP BY ALL a` is `GROUP BY a`; `GROUP BY DISTINCT a` has a mark before `a`.
fn distinct_sets(tokens: &mut Vec<TokenWithSpan>) {
    for at in (0..tokens.len().saturating_sub(3)).rev() {
        if !(word(&tokens[at], "group") && word(&tokens[at + 1], "by")) {
            continue;
        }
        let span = tokens[at + 2].span;
        if word(&tokens[at + 2], "distinct") {
            tokens[at + 2].token = Token::make_word(DISTINCT_SETS, Some('"'));
            tokens.insert(at + 3, TokenWithSpan::new(Token::Comma, span));
        } else if word(&tokens[at + 2], "all") && !matches!(tokens[at + 3].token, Token::RParen | Token::SemiColon) {
            tokens.remove(at + 2);
        }
    }
}

/// `a NOT LIKE ALL (…)` is `a !~~ ALL (…)`.
fn quantified_patterns(tokens: &mut Vec<TokenWithSpan>) {
    for at in (1..tokens.len().saturating_sub(2)).rev() {
        let quantified = ["any", "all", "some"].iter().any(|w| word(&tokens[at + 1], w));
        if !quantified || !is(tokens, at + 2, &Token::LParen) {
            continue;
        }
        let negated = word(&tokens[at - 1], "not");
        let operator = match (word(&tokens[at], "like"), word(&tokens[at], "ilike"), negated) {
            (true, _, false) => Token::DoubleTilde,
            (true, _, true) => Token::ExclamationMarkDoubleTilde,
            (_, true, false) => Token::DoubleTildeAsterisk,
            (_, true, true) => Token::ExclamationMarkDoubleTildeAsterisk,
            _ => continue,
        };
        tokens[at].token = operator;
        if negated {
            tokens.remove(at - 1);
        }
    }
}

/// The function that the first bound of BETWEEN SYMMETRIC is an argument of: no client can write it.
pub const SYMMETRIC: &str = "\u{1}symmetric";

/// `x BETWEEN ASYMMETRIC a AND b` is `x BETWEEN a AND b`.
fn symmetric_ranges(tokens: &mut Vec<TokenWithSpan>) {
    for at in (0..tokens.len().saturating_sub(3)).rev() {
        if !word(&tokens[at], "between") {
            continue;
        }
        if word(&tokens[at + 1], "asymmetric") {
            tokens.remove(at + 1);
        } else if word(&tokens[at + 1], "symmetric") {
            let mut depth = 0i32;
            let ends = |token: &TokenWithSpan| {
                match token.token {
                    Token::LParen | Token::LBracket => depth += 1,
                    Token::RParen | Token::RBracket => depth -= 1,
                    _ if word(token, "case") => depth += 1,
                    _ if word(token, "end") => depth -= 1,
                    _ => {}
                }
                depth < 0 || (depth == 0 && word(token, "and"))
            };
            let Some(length) = tokens[at + 2..].iter().position(ends) else { return };
            let (start, end) = (tokens[at + 1].span, tokens[at + 2 + length].span);
            tokens.insert(at + 2 + length, TokenWithSpan::new(Token::RParen, end));
            tokens[at + 1].token = Token::make_word(SYMMETRIC, Some('"'));
            tokens.insert(at + 2, TokenWithSpan::new(Token::LParen, start));
        }
    }
}

/// `COLLATION FOR (a)` is `pg_collation_for(a)`.
fn collation_of(tokens: &mut Vec<TokenWithSpan>) {
    for at in (0..tokens.len().saturating_sub(2)).rev() {
        if word(&tokens[at], "collation") && word(&tokens[at + 1], "for") && is(tokens, at + 2, &Token::LParen) {
            tokens[at].token = Token::make_word("pg_collation_for", None);
            tokens.remove(at + 1);
        }
    }
}

/// `substring(a SIMILAR b ESCAPE c)` is `substring(a, b, c)`.
fn substring_similar(tokens: &mut [TokenWithSpan]) {
    for i in 0..tokens.len() {
        if !word(&tokens[i], "substring") || !is(tokens, i + 1, &Token::LParen) {
            continue;
        }
        let mut depth = 0usize;
        let mut similar = false;
        for at in i + 1..tokens.len() {
            match &tokens[at].token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 1 => break,
                Token::RParen => depth -= 1,
                Token::Word(_) if depth == 1 => {
                    let begins = word(&tokens[at], "similar") && !tokens.get(at + 1).is_some_and(|t| word(t, "to"));
                    if begins || (similar && word(&tokens[at], "escape")) {
                        similar = true;
                        tokens[at].token = Token::Comma;
                    }
                }
                _ => {}
            }
        }
    }
}

/// `CHECK (…) NO INHERIT` becomes `CHECK (…) ENFORCED`, which PostgreSQL does not know and the tree has a place for.
fn no_inherit(tokens: &mut Vec<TokenWithSpan>) {
    let defines = tokens.first().is_some_and(|t| word(t, "create") || word(t, "alter"));
    if !defines || !tokens.iter().take(4).any(|t| word(t, "table")) {
        return;
    }
    let creates = word(&tokens[0], "create");
    let mut at = 1;
    while at < tokens.len() {
        // The rows of a new table satisfy everything.
        let behind = tokens[at - 1].token == Token::RParen || word(&tokens[at - 1], "enforced");
        if creates && behind && word(&tokens[at], "not") && tokens.get(at + 1).is_some_and(|t| word(t, "valid")) {
            tokens.drain(at..at + 2);
            continue;
        }
        // Whoever writes it gets a syntax error.
        if word(&tokens[at], "enforced") && (tokens[at - 1].token == Token::RParen || word(&tokens[at - 1], "not")) {
            tokens[at].token = Token::make_word("enforced", Some('"'));
        }
        let follows = tokens[at - 1].token == Token::RParen || word(&tokens[at - 1], "valid");
        if follows && word(&tokens[at], "no") && tokens.get(at + 1).is_some_and(|t| word(t, "inherit")) {
            let mark = keyword("ENFORCED", &tokens[at]);
            tokens.drain(at..at + 2);
            let behind_valid = word(&tokens[at - 1], "valid") && at >= 2 && word(&tokens[at - 2], "not");
            tokens.insert(if behind_valid { at - 2 } else { at }, mark);
        }
        at += 1;
    }
}

/// WITHOUT OIDS says what every table is.
fn without_oids(tokens: &mut Vec<TokenWithSpan>) {
    let at = tokens.windows(2).position(|w| matches!(w, [a, b] if word(a, "without") && word(b, "oids")));
    if let Some(at) = at {
        tokens.drain(at..at + 2);
    }
}

/// `CREATE TABLE t (a, b) AS query` is `CREATE TABLE t AS SELECT * FROM (query) AS t (a, b)`.
fn named_columns(tokens: &mut Vec<TokenWithSpan>) {
    let Some(table) = tokens.iter().take(4).position(|t| word(t, "table")) else { return };
    let mut at = table + 1;
    if tokens.get(at).is_some_and(|t| word(t, "if")) {
        at += 3;
    }
    let mut last = at;
    while is(tokens, last + 1, &Token::Period) {
        last += 2;
    }
    let open = last + 1;
    let Some(Token::Word(name)) = tokens.get(last).map(|t| &t.token) else { return };
    if !is(tokens, open, &Token::LParen) {
        return;
    }
    let name = name.clone();
    let mut close = open + 1;
    loop {
        if !matches!(tokens.get(close).map(|t| &t.token), Some(Token::Word(_))) {
            return;
        }
        match tokens.get(close + 1).map(|t| &t.token) {
            Some(Token::Comma) => close += 2,
            Some(Token::RParen) => break,
            _ => return,
        }
    }
    close += 1;
    let query = close + 2;
    if !tokens.get(close + 1).is_some_and(|t| word(t, "as")) {
        return;
    }
    // What follows the query: WITH [NO] DATA.
    let mut end = tokens.len();
    if end >= 2 && word(&tokens[end - 1], "data") {
        let no = usize::from(word(&tokens[end - 2], "no"));
        if tokens.get(end - 2 - no).is_some_and(|t| word(t, "with")) {
            end -= 2 + no;
        }
    }
    let here = tokens[query].clone();
    let there = |token: Token| TokenWithSpan::new(token, here.span);
    let list: Vec<TokenWithSpan> = tokens[open..=close].to_vec();
    let mut behind = vec![there(Token::RParen), keyword("AS", &here), there(Token::Word(name))];
    behind.extend(list);
    tokens.splice(end..end, behind);
    let before = [keyword("SELECT", &here), there(Token::Mul), keyword("FROM", &here), there(Token::LParen)];
    tokens.splice(query..query, before);
    tokens.drain(open..=close);
}
