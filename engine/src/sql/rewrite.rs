//! Rewrites of the token stream where PostgreSQL's grammar and sqlparser's differ in form but not in meaning.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

fn word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(text))
}

/// FOR NO KEY UPDATE and FOR KEY SHARE become FOR UPDATE and FOR SHARE: row locks come in two strengths here, and the
/// stronger one is always right.
pub(super) fn rewrite(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut i = 0;
    while i + 2 < tokens.len() {
        if word(&tokens[i], "for") {
            if word(&tokens[i + 1], "no") && word(&tokens[i + 2], "key") {
                tokens.drain(i + 1..i + 3);
            } else if word(&tokens[i + 1], "key") && word(&tokens[i + 2], "share") {
                tokens.remove(i + 1);
            }
        }
        i += 1;
    }
    for token in &mut tokens {
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
