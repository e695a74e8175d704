//! `EXCLUDE …` of a window frame, which sqlparser does not read: in the token stream it becomes a last key of the window's order
//! that no client can write. The binder takes it out again.

use sqlparser::ast::{self, Expr};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rel::Exclusion;
use super::rewrite::word;

const MARKS: [(&[&str], &str, Exclusion); 4] = [
    (&["no", "others"], "\u{1}no others", Exclusion::NoOthers),
    (&["current", "row"], "\u{1}current row", Exclusion::CurrentRow),
    (&["group"], "\u{1}group", Exclusion::Group),
    (&["ties"], "\u{1}ties", Exclusion::Ties),
];

pub(super) fn mark(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 1;
    while at < tokens.len() {
        let fits = |words: &[&str]| {
            words.iter().enumerate().all(|(i, text)| tokens.get(at + 1 + i).is_some_and(|t| word(t, text)))
                && tokens.get(at + 1 + words.len()).is_some_and(|t| t.token == Token::RParen)
        };
        let found = MARKS.iter().find(|(words, ..)| fits(words)).filter(|_| word(&tokens[at], "exclude"));
        if let Some((words, mark, _)) = found
            && let Some((frame, ordered)) = frame_before(tokens, at)
        {
            let span = tokens[at].span;
            tokens.drain(at..at + 1 + words.len());
            let mut new = match ordered {
                true => vec![Token::Comma],
                false => vec![Token::make_keyword("ORDER"), Token::make_keyword("BY")],
            };
            new.push(Token::make_word(mark, Some('"')));
            tokens.splice(frame..frame, new.into_iter().map(|token| TokenWithSpan::new(token, span)));
        }
        at += 1;
    }
}

/// Where the frame begins that ends here, and whether the window has an order.
fn frame_before(tokens: &[TokenWithSpan], end: usize) -> Option<(usize, bool)> {
    let (mut depth, mut frame) = (0, None);
    for at in (0..end).rev() {
        match tokens[at].token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return frame.map(|frame| (frame, false)),
            Token::LParen => depth -= 1,
            _ if depth > 0 => {}
            _ if frame.is_none() && ["rows", "range", "groups"].iter().any(|units| word(&tokens[at], units)) => {
                frame = Some(at);
            }
            _ if word(&tokens[at], "order") && tokens.get(at + 1).is_some_and(|t| word(t, "by")) => {
                return frame.map(|frame| (frame, true));
            }
            _ => {}
        }
    }
    None
}

/// Takes the mark out of an order.
pub fn take(order_by: &mut Vec<ast::OrderByExpr>) -> Exclusion {
    let of = |key: &ast::OrderByExpr| match &key.expr {
        Expr::Identifier(name) => {
            MARKS.iter().find(|(_, mark, _)| name.value == *mark).map(|(.., exclusion)| *exclusion)
        }
        _ => None,
    };
    match order_by.last().and_then(of) {
        Some(exclusion) => {
            order_by.pop();
            exclusion
        }
        None => Exclusion::NoOthers,
    }
}
