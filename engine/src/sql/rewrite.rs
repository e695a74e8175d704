//! Rewrites of the token stream where PostgreSQL's grammar and sqlparser's differ in form but not in meaning.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

fn word(token: &TokenWithSpan, text: &str) -> bool {
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
        &["refresh", "materialized"],
        &["create", "materialized"],
        &["create", "publication"],
        &["create", "subscription"],
        &["create", "statistics"],
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
        &["create", "aggregate"],
        &["create", "transform"],
        &["create", "trigger"],
        &["create", "function"],
        &["create", "procedure"],
        &["create", "extension"],
        &["create", "type"],
        &["create", "policy"],
        &["create", "server"],
        &["alter", "publication"],
        &["alter", "subscription"],
        &["alter", "statistics"],
        &["alter", "domain"],
        &["alter", "type"],
        &["alter", "default"],
        &["alter", "function"],
        &["alter", "procedure"],
        &["alter", "materialized"],
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
        &["merge"],
        &["call"],
    ];
    let words = STATEMENTS
        .iter()
        .find(|words| words.iter().enumerate().all(|(i, w)| tokens.get(i).is_some_and(|t| word(t, w))))?;
    Some(words.join(" ").to_uppercase())
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
    let name = if name.quote_style.is_some() { name.value } else { name.value.to_lowercase() };
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

pub(super) fn rewrite(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    rewrite_trims(&mut tokens);
    mark_strategy(&mut tokens);
    mark_key_locks(&mut tokens);
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
