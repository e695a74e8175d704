//! Spellings of PostgreSQL that sqlparser does not read, as those that it does.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rewrite::word;

pub(super) fn respell(tokens: &mut Vec<TokenWithSpan>) {
    table_command(tokens);
    order_using(tokens);
    is_null(tokens);
    substring_similar(tokens);
    if tokens.first().is_some_and(|t| word(t, "create")) {
        without_oids(tokens);
        named_columns(tokens);
        nulls_distinct(tokens);
    }
    no_inherit(tokens);
}

fn keyword(text: &str, at: &TokenWithSpan) -> TokenWithSpan {
    TokenWithSpan::new(Token::make_keyword(text), at.span)
}

fn is(tokens: &[TokenWithSpan], at: usize, token: &Token) -> bool {
    tokens.get(at).is_some_and(|t| t.token == *token)
}

/// `TABLE t` is `SELECT * FROM t`.
fn table_command(tokens: &mut Vec<TokenWithSpan>) {
    let [first, next, ..] = tokens.as_slice() else { return };
    if word(first, "table") && matches!(next.token, Token::Word(_)) {
        let star = TokenWithSpan::new(Token::Mul, first.span);
        let select = [keyword("SELECT", first), star, keyword("FROM", first)];
        tokens.splice(..1, select);
    }
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
    let queried =
        tokens.get(close + 1).is_some_and(|t| word(t, "as")) && tokens.get(query).is_some_and(|t| !word(t, "execute"));
    if !queried {
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
