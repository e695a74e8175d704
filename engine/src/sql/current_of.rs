//! `WHERE CURRENT OF cursor`, which sqlparser does not read: in the token stream it becomes a call that no client can write.

use sqlparser::ast::{self, Expr};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rewrite::word;

const MARK: &str = "\u{1}current_of";

pub(super) fn mark(tokens: &mut Vec<TokenWithSpan>) {
    let is = |tokens: &[TokenWithSpan], at: usize, text: &str| tokens.get(at).is_some_and(|t| word(t, text));
    let found = (0..tokens.len())
        .find(|at| is(tokens, *at, "where") && is(tokens, at + 1, "current") && is(tokens, at + 2, "of"));
    let Some(at) = found else { return };
    let Some(TokenWithSpan { token: Token::Word(name), span }) = tokens.get(at + 3).cloned() else { return };
    let name = if name.quote_style.is_some() { name.value } else { name.value.to_lowercase() };
    let call = [Token::make_word(MARK, Some('"')), Token::LParen, Token::SingleQuotedString(name), Token::RParen];
    tokens.splice(at + 1..at + 4, call.into_iter().map(|token| TokenWithSpan::new(token, span)));
}

/// The cursor that a condition names.
pub fn cursor(condition: Option<&Expr>) -> Option<&str> {
    let Some(Expr::Function(call)) = condition else { return None };
    if call.name.0.first()?.as_ident()?.value != MARK {
        return None;
    }
    let ast::FunctionArguments::List(list) = &call.args else { return None };
    match list.args.first()? {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            ast::Value::SingleQuotedString(name) => Some(name),
            _ => None,
        },
        _ => None,
    }
}
