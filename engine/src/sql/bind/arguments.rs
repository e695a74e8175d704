//! Arguments of a call as they are written: by position, by name (manual, section 4.3), and VARIADIC.

use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr};
use sqlparser::tokenizer::Span;

use super::{Binder, fold};
use crate::error::{Error, Result, SqlState};
use crate::expr::ScalarExpr;
use crate::functions::{Function, registry};
use crate::sql::rewrite::VARIADIC_MARK;
use crate::types::{Datum, TypeOid};

/// One argument in its place.
pub(super) enum Argument<'a> {
    Written(&'a Expr),
    /// Left out between others that are there.
    Default(Datum, TypeOid),
}

/// The arguments of a call in the function's order.
pub(super) struct Arguments<'a> {
    pub list: Vec<Argument<'a>>,
    pub star: bool,
    /// The last one was written VARIADIC.
    pub variadic: bool,
}

impl<'a> Arguments<'a> {
    /// The expressions, if all are written.
    pub fn written(&self) -> Vec<&'a Expr> {
        self.list
            .iter()
            .filter_map(|a| match a {
                Argument::Written(expr) => Some(*expr),
                Argument::Default(..) => None,
            })
            .collect()
    }
}

impl Binder {
    pub(super) fn arguments<'a>(&mut self, name: &str, args: &'a [FunctionArg], span: Span) -> Result<Arguments<'a>> {
        let mut out = Arguments { list: Vec::new(), star: false, variadic: false };
        let mut named: Vec<(String, &Expr)> = Vec::new();
        for arg in args {
            let (key, value) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => {
                    out.star = true;
                    continue;
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if named.is_empty() && !out.variadic => {
                    out.list.push(Argument::Written(expr));
                    continue;
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) => {
                    let message = if out.variadic {
                        return Err(self.syntax_at(",", span));
                    } else {
                        "positional argument cannot follow named argument"
                    };
                    return Err(self.source.locate(Error::new(SqlState::SyntaxError, message), span));
                }
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => (fold(name), expr),
                FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
                    (fold(name), expr)
                }
                _ => return Err(self.source.locate(Error::unsupported("this form of an argument"), span)),
            };
            if key == VARIADIC_MARK {
                out.variadic = true;
                out.list.push(Argument::Written(value));
            } else if named.iter().any(|(other, _)| *other == key) {
                let error = Error::new(SqlState::SyntaxError, format!("argument name \"{key}\" used more than once"));
                return Err(self.source.locate(error, span));
            } else {
                named.push((key, value));
            }
        }
        if named.is_empty() {
            return Ok(out);
        }
        let given = out.list.len();
        match registry().lookup(name).iter().find_map(|f| arrange(f, given, &named)) {
            Some(rest) => out.list.extend(rest),
            None => {
                let mut shown = Vec::new();
                for (key, value) in &named {
                    shown.push(format!("{key} => {}", super::resolve::type_name(self.expr(value)?.ty)));
                }
                let error = Error::new(
                    SqlState::UndefinedFunction,
                    format!("function {name}({}) does not exist", shown.join(", ")),
                )
                .hint(
                    "No function matches the given name and argument types. You might need to add explicit type casts.",
                );
                return Err(self.source.locate(error, span));
            }
        }
        Ok(out)
    }

    pub(super) fn bind_arguments(&mut self, list: &[Argument<'_>]) -> Result<Vec<ScalarExpr>> {
        list.iter()
            .map(|argument| match argument {
                Argument::Written(expr) => self.expr(expr),
                Argument::Default(value, ty) => Ok(ScalarExpr::constant(value.clone(), *ty)),
            })
            .collect()
    }

    pub(super) fn normalized_test(
        &mut self,
        arg: &Expr,
        form: Option<ast::NormalizationForm>,
        negated: bool,
        span: Span,
    ) -> Result<ScalarExpr> {
        let form = form.map_or("NFC".to_string(), |f| f.to_string());
        let args = vec![self.expr(arg)?, super::expr::text_constant(&form)];
        let test = self.call("is_normalized", args, span)?;
        Ok(super::expr::negate(test, negated))
    }
}

/// The arguments behind the first `given` ones, if the function has all the names and defaults for what is left out.
fn arrange<'a>(function: &Function, given: usize, named: &[(String, &'a Expr)]) -> Option<Vec<Argument<'a>>> {
    let inputs: Vec<&str> = function
        .arg_names
        .iter()
        .enumerate()
        .filter(|(i, _)| function.arg_modes.get(*i).is_none_or(|m| matches!(m, b'i' | b'b' | b'v')))
        .map(|(_, name)| *name)
        .collect();
    let known = |key: &str| inputs.iter().skip(given).any(|name| *name == key);
    if !named.iter().all(|(key, _)| known(key)) {
        return None;
    }
    let last = inputs.iter().rposition(|name| named.iter().any(|(key, _)| key == name))?;
    (given..=last)
        .map(|i| {
            let name = inputs.get(i)?;
            match named.iter().find(|(key, _)| key == name) {
                Some((_, expr)) => Some(Argument::Written(expr)),
                None => function.default_arg(i).map(|(value, ty)| Argument::Default(value, ty)),
            }
        })
        .collect()
}
