//! ARRAY constructors, and subscripts of arrays, names and jsonb.

use sqlparser::ast::{self, Expr, Spanned};
use sqlparser::tokenizer::Span;

use super::Binder;
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::functions::array_shape::{element_function, slice_function};
use crate::types::{Datum, PgType, TypeOid};

/// A subscript as it is written.
enum Written<'a> {
    Index(&'a Expr),
    Slice(Option<&'a Expr>, Option<&'a Expr>),
}

impl Binder {
    pub(super) fn array(&mut self, elements: &[Expr], span: Span) -> Result<ScalarExpr> {
        if elements.is_empty() {
            let error = Error::new(SqlState::IndeterminateDatatype, "cannot determine type of empty array")
                .hint("Explicitly cast to the desired type, for example ARRAY[]::integer[].");
            return Err(self.source.locate(error, span));
        }
        let mut items = Vec::new();
        for element in elements {
            items.push((self.expr(element)?, element.span()));
        }
        let (items, ty) = self.unify(items, "ARRAY", span)?;
        // Arrays of arrays are arrays with a dimension more.
        let array = match ty.oid.element().filter(|_| ty.oid.array().is_none()) {
            Some(_) => ty.oid,
            None => ty.oid.array().ok_or_else(|| {
                let name = super::resolve::type_name(ty);
                Error::new(SqlState::UndefinedObject, format!("could not find array type for data type {name}"))
            })?,
        };
        Ok(ScalarExpr::new(ExprKind::Array(items), PgType::new(array, ty.typmod)))
    }

    /// `ARRAY[…]::type[]`: the type reaches the elements, so that ARRAY[]::int[] and ARRAY['1']::int[] work.
    pub(super) fn array_as(&mut self, elements: &[Expr], to: PgType, element: TypeOid) -> Result<ScalarExpr> {
        let mut items = Vec::new();
        for item in elements {
            items.push(match item {
                Expr::Array(inner) => self.array_as(&inner.elem, to, element)?,
                item => {
                    let bound = self.expr(item)?;
                    let target = if bound.ty.oid.element().is_some() { to } else { PgType::new(element, to.typmod) };
                    self.coerce_explicit(bound, target, item.span())?
                }
            });
        }
        Ok(ScalarExpr::new(ExprKind::Array(items), to))
    }

    /// Applies the subscripts at the front of a chain; the rest of the chain is given back.
    pub(super) fn subscripts<'a>(
        &mut self,
        value: ScalarExpr,
        chain: &'a [ast::AccessExpr],
        span: Span,
    ) -> Result<(ScalarExpr, &'a [ast::AccessExpr])> {
        let mut written = Vec::new();
        let mut rest = chain;
        while let Some((ast::AccessExpr::Subscript(subscript), after)) = rest.split_first() {
            written.push(match subscript {
                ast::Subscript::Index { index } => Written::Index(index),
                ast::Subscript::Slice { lower_bound, upper_bound, stride: None } => {
                    Written::Slice(lower_bound.as_ref(), upper_bound.as_ref())
                }
                ast::Subscript::Slice { stride: Some(stride), .. } => return Err(self.syntax_at(":", stride.span())),
            });
            rest = after;
        }
        let value = match value.ty.oid {
            TypeOid::JSONB => self.json_subscripts(value, &written, span)?,
            // A name is a fixed array of "char".
            TypeOid::NAME => self.array_subscripts(value, TypeOid::CHAR, &written, span)?,
            TypeOid::POINT | TypeOid::LINE => self.array_subscripts(value, TypeOid::FLOAT8, &written, span)?,
            TypeOid::LSEG | TypeOid::BOX => self.array_subscripts(value, TypeOid::POINT, &written, span)?,
            oid => match oid.element() {
                Some(element) => self.array_subscripts(value, element, &written, span)?,
                None => {
                    let name = super::resolve::type_name(value.ty);
                    let error = Error::new(
                        SqlState::DatatypeMismatch,
                        format!("cannot subscript type {name} because it does not support subscripting"),
                    );
                    return Err(self.source.locate(error, span));
                }
            },
        };
        Ok((value, rest))
    }

    pub(super) fn integer_subscript(&mut self, index: &Expr) -> Result<ScalarExpr> {
        let bound = self.expr(index)?;
        match self.coerce(bound, TypeOid::INT4.into(), super::coerce::Situation::Assignment, index.span())? {
            Some(index) => Ok(index),
            None => {
                let error = Error::new(SqlState::DatatypeMismatch, "array subscript must have type integer");
                Err(self.source.locate(error, index.span()))
            }
        }
    }

    fn array_subscripts(
        &mut self,
        array: ScalarExpr,
        element: TypeOid,
        written: &[Written<'_>],
        span: Span,
    ) -> Result<ScalarExpr> {
        if written.len() > crate::types::array::DIMENSIONS_MAX {
            let error = crate::types::array::too_many_dimensions(written.len());
            return Err(self.source.locate(error, span));
        }
        if let [Written::Index(index)] = written {
            let index = Box::new(self.integer_subscript(index)?);
            return Ok(ScalarExpr::new(ExprKind::Subscript { array: Box::new(array), index }, element));
        }
        if array.ty.oid.element().is_none() {
            return Err(Error::new(SqlState::DatatypeMismatch, "slices of fixed-length arrays not implemented"));
        }
        let (ty, oid) = (array.ty, array.ty.oid);
        let mut args = vec![array];
        if written.iter().all(|w| matches!(w, Written::Index(_))) {
            for subscript in written {
                if let Written::Index(index) = subscript {
                    args.push(self.integer_subscript(index)?);
                }
            }
            let function = element_function(oid, element, written.len());
            return Ok(ScalarExpr::new(ExprKind::Call { function, args }, PgType::new(element, ty.typmod)));
        }
        // One slice among them makes all of them slices, `i` being `1:i`.
        let mut marks = String::new();
        let mut bounds = Vec::new();
        let one = || ScalarExpr::constant(Datum::Int4(1), TypeOid::INT4);
        for subscript in written {
            let (lower, upper) = match subscript {
                Written::Index(index) => (Some(one()), Some(self.integer_subscript(index)?)),
                Written::Slice(lower, upper) => (
                    lower.map(|e| self.integer_subscript(e)).transpose()?,
                    upper.map(|e| self.integer_subscript(e)).transpose()?,
                ),
            };
            marks.push(if lower.is_some() { 'l' } else { '-' });
            marks.push(if upper.is_some() { 'u' } else { '-' });
            bounds.push(lower.unwrap_or_else(one));
            bounds.push(upper.unwrap_or_else(one));
        }
        args.push(ScalarExpr::constant(Datum::from(marks.as_str()), TypeOid::TEXT));
        args.extend(bounds);
        let ret = match oid {
            TypeOid::INT2VECTOR => TypeOid::INT2_ARRAY,
            TypeOid::OIDVECTOR => TypeOid::OID_ARRAY,
            oid => oid,
        };
        let function = slice_function(oid, written.len());
        Ok(ScalarExpr::new(ExprKind::Call { function, args }, PgType::new(ret, ty.typmod)))
    }

    /// `j['a'][0]` is `j #> '{a,0}'`.
    fn json_subscripts(&mut self, value: ScalarExpr, written: &[Written<'_>], span: Span) -> Result<ScalarExpr> {
        let mut steps = Vec::new();
        for subscript in written {
            let Written::Index(index) = subscript else {
                let error = Error::new(SqlState::DatatypeMismatch, "jsonb subscript does not support slices");
                return Err(self.source.locate(error, span));
            };
            steps.push(self.json_step(index)?);
        }
        let path = ScalarExpr::new(ExprKind::Array(steps), TypeOid::TEXT_ARRAY);
        self.operator("#>", Some(value), path, span)
    }

    /// A subscript of jsonb: text, or an integer written as text.
    pub(super) fn json_step(&mut self, index: &Expr) -> Result<ScalarExpr> {
        use super::coerce::Situation;
        let bound = self.expr(index)?;
        let ty = bound.ty;
        let text = TypeOid::TEXT.into();
        if ty.oid == TypeOid::UNKNOWN {
            return self.coerce_implicit(bound, text, index.span());
        }
        if let Some(number) = self.coerce(bound.clone(), TypeOid::INT4.into(), Situation::Implicit, index.span())? {
            return self.coerce_explicit(number, text, index.span());
        }
        match self.coerce(bound, text, Situation::Implicit, index.span())? {
            Some(step) => Ok(step),
            None => {
                let name = super::resolve::type_name(ty);
                let error = Error::new(SqlState::DatatypeMismatch, format!("subscript type {name} is not supported"))
                    .hint("jsonb subscript must be coercible to either integer or text.");
                Err(self.source.locate(error, index.span()))
            }
        }
    }
}
