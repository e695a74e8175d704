//! Calls of the constructors of range and multirange types that users made: they have the names of their types.

use sqlparser::ast::FunctionArg;
use sqlparser::tokenizer::Span;

use super::{Binder, types};
use crate::catalog::Oid;
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::functions::{range, resolve};
use crate::types::{PgType, TypeOid};

impl Binder {
    /// The value that `floatrange(1, 2)` and the like are. `None`: the name is no such type's.
    pub(super) fn range_constructor(
        &mut self,
        parts: &[String],
        args: &[FunctionArg],
        span: Span,
    ) -> Result<Option<ScalarExpr>> {
        let Some(ty) = self.named_range(parts) else { return Ok(None) };
        let (subtype, range) = match ty.user_range() {
            Some(range) => (None, range),
            None => (self.environment.catalog.types.get(&Oid(ty.0)).and_then(|t| t.range()).map(|r| r.subtype), ty),
        };
        let name = parts.last().map_or("", String::as_str);
        let arguments = self.arguments(name, args, span)?;
        let mut bound = self.bind_arguments(&arguments.list)?;
        let given: Vec<TypeOid> = bound.iter().map(|a| a.ty.oid).collect();
        if let ([only], false) = (given.as_slice(), arguments.variadic)
            && (*only == TypeOid::UNKNOWN || *only == ty)
            && let Some(arg) = bound.pop()
        {
            return self.coerce_explicit(arg, ty.into(), span).map(Some);
        }
        let collected = ty.is_multirange() && (arguments.variadic || bound.len() > 1);
        let wanted = |at: usize| match subtype {
            Some(_) if at == 2 => Some(TypeOid::TEXT),
            Some(subtype) => Some(subtype),
            None if arguments.variadic => range.array(),
            None => Some(range),
        };
        let function =
            range::constructor(ty, bound.len(), collected).filter(|_| !arguments.variadic || bound.len() == 1);
        let fits = given.iter().enumerate().all(|(at, is)| wanted(at).is_some_and(|to| resolve::coercible(*is, to)));
        let Some(function) = function.filter(|_| fits) else {
            let shown = resolve::signature(&parts.join("."), &given);
            let error = Error::new(SqlState::UndefinedFunction, format!("function {shown} does not exist")).hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            );
            return Err(self.source.locate(error, span));
        };
        let mut converted = Vec::with_capacity(bound.len());
        for (at, arg) in bound.into_iter().enumerate() {
            let to = wanted(at).ok_or_else(|| Error::internal("a constructor without a type"))?;
            converted.push(self.coerce_implicit(arg, to.into(), span)?);
        }
        if collected && !arguments.variadic {
            let array = range.array().ok_or_else(|| Error::internal("a range type without an array"))?;
            converted = vec![ScalarExpr::new(ExprKind::Array(converted), array)];
        }
        let kind = ExprKind::Call { function, args: converted };
        Ok(Some(ScalarExpr::new(kind, PgType::from(ty))))
    }

    /// The range or multirange type of users that a function makes values of.
    fn named_range(&self, parts: &[String]) -> Option<TypeOid> {
        let (catalog, path) = (&self.environment.catalog, &self.environment.search_path);
        let found = match parts {
            [name] => catalog.constructed(None, name, path)?,
            [schema, name] if schema != "pg_catalog" => catalog.constructed(Some(schema), name, path)?,
            _ => types::numbered(parts)?,
        };
        (found.is_range() || found.is_multirange()).then_some(found)
    }
}
