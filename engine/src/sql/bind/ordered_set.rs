//! Ordered-set and hypothetical-set aggregates: `f(direct) WITHIN GROUP (ORDER BY …)` (manual, sections 9.21 and 4.2.7).

use sqlparser::ast::{self, Spanned};
use sqlparser::tokenizer::Span;

use super::Binder;
use super::resolve;
use crate::error::{Error, Result, SqlState};
use crate::expr::ScalarExpr;
use crate::functions::{Function, Kind, registry, resolve::resolve_among};
use crate::sql::rel::SortKey;
use crate::types::TypeOid;

/// Whether the aggregate of this name takes its rows in an order.
pub(crate) fn is_ordered_set(name: &str) -> bool {
    matches!(name, "percentile_cont" | "percentile_disc" | "mode") || is_hypothetical(name)
}

fn is_hypothetical(name: &str) -> bool {
    matches!(name, "rank" | "dense_rank" | "percent_rank" | "cume_dist")
}

impl Binder {
    /// The aggregate, its direct arguments and its sort keys.
    pub(super) fn ordered_set(
        &mut self,
        name: &str,
        mut direct: Vec<ScalarExpr>,
        keys: &[ast::OrderByExpr],
        span: Span,
    ) -> Result<(resolve::Resolved, Vec<ScalarExpr>, Vec<SortKey>)> {
        if !is_ordered_set(name) {
            let ordered = keys.iter().map(|key| self.expr(&key.expr)).collect::<Result<Vec<_>>>()?;
            let types: Vec<TypeOid> = direct.iter().chain(&ordered).map(|a| a.ty.oid).collect();
            resolve::function(name, &types, false).map_err(|e| self.source.locate(e, span))?;
            let error = Error::new(
                SqlState::WrongObjectType,
                format!("{name} is not an ordered-set aggregate, so it cannot have WITHIN GROUP"),
            );
            return Err(self.source.locate(error, span));
        }
        let mut ordered = keys.iter().map(|key| self.expr(&key.expr)).collect::<Result<Vec<_>>>()?;
        for key in &ordered {
            self.refuse_language(key, name)?;
        }
        if is_hypothetical(name) {
            if direct.len() != ordered.len() {
                let types: Vec<TypeOid> = direct.iter().chain(&ordered).map(|a| a.ty.oid).collect();
                let shown = crate::functions::resolve::signature(name, &types);
                let error = Error::new(SqlState::UndefinedFunction, format!("function {shown} does not exist")).hint(
                    format!(
                        "To use the hypothetical-set aggregate {name}, the number of hypothetical direct arguments (here {}) \
                         must match the number of ordering columns (here {}).",
                        direct.len(),
                        ordered.len()
                    ),
                );
                return Err(self.source.locate(error, span));
            }
            for (argument, (value, key)) in direct.iter_mut().zip(ordered.iter_mut().zip(keys)) {
                let pair = vec![(value.clone(), key.expr.span()), (argument.clone(), span)];
                let (mut pair, _) = self.unify(pair, "WITHIN GROUP", span)?;
                if let (Some(a), Some(v)) = (pair.pop(), pair.pop()) {
                    (*argument, *value) = (a, v);
                }
            }
        }
        let types: Vec<TypeOid> = direct.iter().chain(&ordered).map(|a| a.ty.oid).collect();
        let overloads: Vec<_> = registry().lookup(name).iter().filter(|f| f.kind == Kind::Aggregate).cloned().collect();
        let found = resolve_among(&overloads, name, &types, false).map_err(|e| self.source.locate(e, span))?;
        let crate::functions::Resolution::Function(found) = found else {
            return Err(Error::internal("an ordered-set aggregate that is a cast"));
        };
        let resolved = resolve::Resolved {
            ty: result_type(&found.function, found.ret, ordered.first()),
            args: found.args,
            kind: resolve::Kind::Aggregate,
            variadic_from: usize::MAX,
            function: found.function,
        };
        let given = direct.len();
        direct.append(&mut ordered);
        let mut args = self.coerce_call_args(&resolved, direct, span)?;
        let mut sort = Vec::new();
        for (expr, key) in args.split_off(given).into_iter().zip(keys) {
            let expr = self.resolve_unknown(expr)?;
            sort.push(self.make_sort_key(expr, &key.options, key.expr.span())?);
        }
        Ok((resolved, args, sort))
    }
}

fn result_type(function: &Function, ret: TypeOid, ordered: Option<&ScalarExpr>) -> crate::types::PgType {
    match (function.ret, ordered) {
        (TypeOid::ANYELEMENT, Some(value)) if value.ty.oid == ret => value.ty,
        _ => ret.into(),
    }
}

/// What a call without WITHIN GROUP, or with OVER, answers.
pub(super) fn misused(name: &str, over: bool) -> Error {
    if over {
        return Error::new(
            SqlState::FeatureNotSupported,
            format!("OVER is not supported for ordered-set aggregate {name}"),
        );
    }
    Error::new(SqlState::WrongObjectType, format!("WITHIN GROUP is required for ordered-set aggregate {name}"))
}
