//! Where operators end, as PostgreSQL's scanner has it (src/backend/parser/scan.l): an operator is all operator characters that
//! stand together, but for the signs at its end unless it holds a character that SQL's own operators lack: `a>-1` is `a > -1`,
//! while `a!=-1` holds an operator `!=-`.
//!
//! The dialect lets sqlparser put neither signs nor what begins a comment into an operator that it does not know; such operators
//! are put together here.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::parse::Source;

const CHARACTERS: &[u8] = b"~!@#^&|`?+-*/%<>=";
/// Those that SQL's own operators lack.
const BEYOND_SQL: &[u8] = b"~!@#^&|`?%";

/// Makes one token of those that are one operator.
pub(super) fn join(source: &Source, tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at + 1 < tokens.len() {
        let mut texts = Vec::new();
        if adjoin(&tokens[at], &tokens[at + 1]) {
            texts.extend(operator(source, &tokens[at]));
        }
        while !texts.is_empty()
            && let [last, next, ..] = &tokens[at + texts.len() - 1..]
            && adjoin(last, next)
            && let Some(text) = operator(source, next)
        {
            texts.push(text);
        }
        let count = parts(&texts.concat(), &texts);
        if count > 1 {
            let end = tokens[at + count - 1].span.end;
            tokens[at].token = Token::CustomBinaryOperator(texts[..count].concat());
            tokens[at].span.end = end;
            tokens.drain(at + 1..at + count);
        }
        at += 1;
    }
}

/// How many of the tokens with these texts are the first operator of a run.
fn parts(run: &str, texts: &[&str]) -> usize {
    let length = first_operator(run).len();
    let mut end = 0;
    texts.iter().take_while(|text| (end + text.len() <= length).then(|| end += text.len()).is_some()).count()
}

fn first_operator(run: &str) -> &str {
    let signless = run.trim_end_matches(['+', '-']);
    match run.bytes().any(|b| BEYOND_SQL.contains(&b)) {
        true => run,
        // Signs alone are operators of one character.
        false => run.get(..signless.len().max(1)).unwrap_or(run),
    }
}

fn adjoin(first: &TokenWithSpan, next: &TokenWithSpan) -> bool {
    first.span.end == next.span.start && may_be_operator(&first.token) && may_be_operator(&next.token)
}

/// Spares most tokens a look at their text.
fn may_be_operator(token: &Token) -> bool {
    use Token as T;
    !matches!(
        token,
        T::Word(_) | T::Number(..) | T::SingleQuotedString(_) | T::Comma | T::LParen | T::RParen | T::Period
    )
}

fn operator<'a>(source: &'a Source, token: &TokenWithSpan) -> Option<&'a str> {
    let text = source.slice(token.span);
    (!text.is_empty() && text.bytes().all(|b| CHARACTERS.contains(&b))).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::first_operator;

    #[test]
    fn operators_end_where_postgresql_ends_them() {
        for (run, operator) in [
            ("-+", "-"),
            ("+-+", "+"),
            (">-", ">"),
            ("->>-", "->>"),
            ("<->-", "<->"),
            ("*<=", "*<="),
            ("!=-", "!=-"),
            ("^-", "^-"),
            ("-|-", "-|-"),
            ("?-", "?-"),
        ] {
            assert_eq!(first_operator(run), operator, "{run}");
        }
    }
}
