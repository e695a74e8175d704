//! `t.*` where it is no item of a select list: the row of `t` as one value. sqlparser reads it as such in expressions, but neither
//! at the beginning of an item (`SELECT t.* IS NULL`) nor as an argument.

use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Select, SelectItem,
    SelectItemQualifiedWildcardKind, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rewrite::word;

/// Whether the tokens hold a star behind a name.
pub(super) fn concerns(tokens: &[TokenWithSpan]) -> bool {
    tokens.windows(2).any(|pair| matches!(pair, [a, b] if a.token == Token::Period && b.token == Token::Mul))
}

/// `t.* IS NULL` becomes `(t.*) IS NULL`, and so with all that may follow an operand.
pub(super) fn parenthesise(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 2;
    while at < tokens.len() {
        if let Some(begin) = star_behind(tokens, at)
            && tokens.get(at + 1).is_some_and(continues)
        {
            let span = tokens[at].span;
            tokens.insert(at + 1, TokenWithSpan::new(Token::RParen, span));
            tokens.insert(begin, TokenWithSpan::new(Token::LParen, tokens[begin].span));
            at += 2;
        }
        at += 1;
    }
}

/// Where the name begins of which the star at `at` is.
fn star_behind(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let mut begin = at;
    if tokens[at].token != Token::Mul {
        return None;
    }
    while begin >= 2 && tokens[begin - 1].token == Token::Period && matches!(tokens[begin - 2].token, Token::Word(_)) {
        begin -= 2;
    }
    (begin < at).then_some(begin)
}

/// Behind an item that is a star alone stands none of these.
fn continues(token: &TokenWithSpan) -> bool {
    const WORDS: [&str; 7] = ["is", "in", "not", "between", "like", "ilike", "operator"];
    match &token.token {
        Token::DoubleColon | Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq => true,
        Token::CustomBinaryOperator(_) => true,
        _ => WORDS.iter().any(|w| word(token, w)),
    }
}

/// Arguments become expressions, and a star in parentheses is one without.
pub(super) fn mend(tree: &mut impl VisitMut) {
    let _ = tree.visit(&mut Mender);
}

struct Mender;

impl VisitorMut for Mender {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Nested(inner) if matches!(**inner, Expr::QualifiedWildcard(..)) => {
                *expr = std::mem::replace(&mut **inner, Expr::Wildcard(AttachedToken::empty()));
            }
            Expr::Function(Function { args: FunctionArguments::List(list), .. }) => {
                for arg in &mut list.args {
                    if let FunctionArg::Unnamed(arg) = arg
                        && let FunctionArgExpr::QualifiedWildcard(name) = arg
                    {
                        let name = ObjectName(std::mem::take(&mut name.0));
                        *arg = FunctionArgExpr::Expr(Expr::QualifiedWildcard(name, AttachedToken::empty()));
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::QualifiedWildcard(name, _)) = item {
                let name = ObjectName(std::mem::take(&mut name.0));
                let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
                *item = SelectItem::QualifiedWildcard(kind, WildcardAdditionalOptions::default());
            }
        }
        ControlFlow::Continue(())
    }
}
