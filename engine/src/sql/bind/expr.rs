//! Expressions: from syntax trees to [`ScalarExpr`].

use std::borrow::Cow;

use sqlparser::ast::{self, Expr, Spanned, UnaryOperator, Value};

use super::{Binder, fold};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::sql::rel::QueryExpr;
use crate::sql::rewrite::ALL_MARK;
use crate::sql::spellings::SYMMETRIC;
use crate::types::{Datum, PgType, TypeOid, names};

type Span = sqlparser::tokenizer::Span;

impl Binder {
    /// Binds an expression in the current scope. Literals and parameters of unknown type stay unknown.
    pub(super) fn expr(&mut self, expr: &Expr) -> Result<ScalarExpr> {
        self.depth += 1;
        if self.depth > super::MAX_DEPTH {
            return Err(super::too_deep());
        }
        let unsure = self.unsure;
        self.unsure |= is_conditional(expr);
        let out = recursive_bind(self, expr);
        self.unsure = unsure;
        self.depth -= 1;
        out
    }

    fn expr_inner(&mut self, expr: &Expr) -> Result<ScalarExpr> {
        match expr {
            Expr::Identifier(ident) => self.identifier(ident),
            Expr::CompoundIdentifier(parts) => self.column_reference(parts),
            Expr::Nested(inner) => self.expr(inner),
            Expr::Value(value) => self.literal(value),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, expr),
            Expr::UnaryOp { op, expr: arg } => self.unary(op, arg, expr.span()),
            Expr::IsNull(arg) => self.null_test(arg, false),
            Expr::IsNotNull(arg) => self.null_test(arg, true),
            Expr::IsTrue(arg) => self.bool_test(arg, Some(true), false, "IS TRUE"),
            Expr::IsNotTrue(arg) => self.bool_test(arg, Some(true), true, "IS NOT TRUE"),
            Expr::IsFalse(arg) => self.bool_test(arg, Some(false), false, "IS FALSE"),
            Expr::IsNotFalse(arg) => self.bool_test(arg, Some(false), true, "IS NOT FALSE"),
            Expr::IsUnknown(arg) => self.bool_test(arg, None, false, "IS UNKNOWN"),
            Expr::IsNotUnknown(arg) => self.bool_test(arg, None, true, "IS NOT UNKNOWN"),
            Expr::IsDistinctFrom(l, r) => self.distinct_test(l, r, false, expr.span()),
            Expr::IsNotDistinctFrom(l, r) => self.distinct_test(l, r, true, expr.span()),
            Expr::Between { expr: arg, negated, low, high } => self.between(arg, *negated, low, high, expr.span()),
            Expr::InList { expr: arg, list, negated } => self.in_list(arg, list, *negated, expr.span()),
            Expr::InSubquery { expr: arg, subquery, negated } => {
                let test = self.quantified(arg, "=", subquery, false, expr.span())?;
                Ok(negate(test, *negated))
            }
            Expr::AnyOp { left, compare_op, right, .. } => {
                self.any_all(left, &operator_name(compare_op), right, false, expr.span())
            }
            Expr::AllOp { left, compare_op, right } => {
                self.any_all(left, &operator_name(compare_op), right, true, expr.span())
            }
            Expr::Like { negated, expr: arg, pattern, escape_char, .. } => {
                self.like(if *negated { "!~~" } else { "~~" }, arg, pattern, escape_char.as_ref(), expr.span())
            }
            Expr::ILike { negated, expr: arg, pattern, escape_char, .. } => {
                self.like(if *negated { "!~~*" } else { "~~*" }, arg, pattern, escape_char.as_ref(), expr.span())
            }
            Expr::SimilarTo { negated, expr: arg, pattern, escape_char } => {
                let arg = self.expr(arg)?;
                let mut args = vec![self.expr(pattern)?];
                if let Some(escape) = escape_char {
                    args.push(self.literal(escape)?);
                }
                let pattern = self.call("similar_to_escape", args, expr.span())?;
                self.operator(if *negated { "!~" } else { "~" }, Some(arg), pattern, expr.span())
            }
            Expr::Cast { kind, expr: arg, data_type, .. } => match kind {
                ast::CastKind::Cast | ast::CastKind::DoubleColon => self.cast(arg, data_type),
                _ => Err(Error::unsupported("TRY_CAST")),
            },
            Expr::TypedString(typed) => {
                let mut ty = self.bind_type(&typed.data_type)?;
                // Before a constant these have the length that it has.
                if let ast::DataType::Bit(None) | ast::DataType::Char(None) | ast::DataType::Character(None) =
                    typed.data_type
                {
                    ty.typmod = -1;
                }
                let value = self.literal(&typed.value)?;
                if let Some(rule) = self.domain_of(ty)? {
                    return self.cast_to_domain(value, rule, typed.value.span);
                }
                self.coerce_explicit(value, ty, typed.value.span)
            }
            Expr::Interval(interval) => self.interval(interval, expr.span()),
            Expr::AtTimeZone { timestamp, time_zone } => {
                let args = vec![self.expr(time_zone)?, self.expr(timestamp)?];
                self.call("timezone", args, expr.span())
            }
            Expr::Extract { field, expr: arg, .. } => {
                let field = field.to_string().to_lowercase().trim_matches(['\'', '"']).to_string();
                let args = vec![text_constant(&field), self.expr(arg)?];
                self.call("extract", args, expr.span())
            }
            Expr::Ceil { expr: arg, .. } => {
                let arg = self.expr(arg)?;
                self.call("ceil", vec![arg], expr.span())
            }
            Expr::Floor { expr: arg, .. } => {
                let arg = self.expr(arg)?;
                self.call("floor", vec![arg], expr.span())
            }
            Expr::Position { expr: arg, r#in } => {
                let args = vec![self.expr(r#in)?, self.expr(arg)?];
                self.call("position", args, expr.span())
            }
            Expr::Substring { expr: arg, substring_from, substring_for, special, shorthand } => {
                let mut args = vec![self.expr(arg)?];
                match substring_from {
                    Some(from) => args.push(self.expr(from)?),
                    None => args.push(ScalarExpr::constant(Datum::Int4(1), TypeOid::INT4)),
                }
                if let Some(count) = substring_for {
                    args.push(self.expr(count)?);
                }
                if *shorthand {
                    return self.call("substr", args, expr.span());
                }
                let mut call = self.call("substring", args, expr.span())?;
                if let (ExprKind::Call { function, .. }, false) = (&mut call.kind, *special) {
                    *function = super::function::with_keywords(function);
                }
                Ok(call)
            }
            Expr::Trim { trim_where, trim_what, expr: arg, trim_characters } => {
                let mut args = vec![self.expr(arg)?];
                for what in trim_what.iter().map(|e| &**e).chain(trim_characters.iter().flatten()) {
                    args.push(self.expr(what)?);
                }
                let name = match trim_where {
                    None | Some(ast::TrimWhereField::Both) => "btrim",
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                };
                self.call(name, args, expr.span())
            }
            Expr::Overlay { expr: arg, overlay_what, overlay_from, overlay_for } => {
                let mut args = vec![self.expr(arg)?, self.expr(overlay_what)?, self.expr(overlay_from)?];
                if let Some(count) = overlay_for {
                    args.push(self.expr(count)?);
                }
                self.call("overlay", args, expr.span())
            }
            Expr::Collate { expr: arg, collation } => self.collate(arg, collation),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), expr.span())
            }
            Expr::Function(function) => self.function(function, expr.span()),
            Expr::Exists { subquery, negated } => {
                let test = self.exists(subquery, expr.span())?;
                Ok(negate(test, *negated))
            }
            Expr::Subquery(subquery) => self.scalar_subquery(subquery, expr.span()),
            Expr::Tuple(items) => {
                let items = self.spread(items)?.iter().map(|e| self.known(e)).collect::<Result<Vec<_>>>()?;
                Ok(ScalarExpr::new(ExprKind::Row(items, None), TypeOid::RECORD))
            }
            Expr::Array(array) => self.array(&array.elem, expr.span()),
            Expr::CompoundFieldAccess { root, access_chain } => self.field_access(root, access_chain),
            Expr::QualifiedWildcard(name, _) => {
                let (relation, depth) = self.starred(name)?;
                self.whole_row(&relation, depth, name.span())
            }
            Expr::Wildcard(token) => Err(self.syntax_at("*", token.0.span)),
            Expr::IsNormalized { expr: arg, form, negated } => self.normalized_test(arg, *form, *negated, expr.span()),
            Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => {
                Err(Error::unsupported("grouping sets outside GROUP BY"))
            }
            other => {
                let near = self.source.slice(other.span()).to_string();
                let error = Error::unsupported(format!("the expression {near}"));
                Err(self.source.locate(error, other.span()))
            }
        }
    }

    /// Like [`Self::expr`], an unknown type becoming text.
    pub(super) fn known(&mut self, expr: &Expr) -> Result<ScalarExpr> {
        let bound = self.expr(expr)?;
        self.resolve_unknown(bound)
    }

    /// A boolean; `clause` names the place in messages.
    pub(super) fn boolean(&mut self, expr: &Expr, clause: &str) -> Result<ScalarExpr> {
        let bound = self.expr(expr)?;
        self.coerce_to_boolean(bound, clause, expr.span())
    }

    pub(super) fn coerce_to_boolean(&mut self, bound: ScalarExpr, clause: &str, span: Span) -> Result<ScalarExpr> {
        if bound.ty.oid == TypeOid::UNKNOWN {
            return self.coerce_implicit(bound, TypeOid::BOOL.into(), span);
        }
        if bound.ty.oid != TypeOid::BOOL {
            let name = super::resolve::type_name(bound.ty);
            let error = Error::new(
                SqlState::DatatypeMismatch,
                format!("argument of {clause} must be type boolean, not type {name}"),
            );
            return Err(self.source.locate(error, span));
        }
        Ok(bound)
    }

    fn identifier(&mut self, ident: &ast::Ident) -> Result<ScalarExpr> {
        if ident.quote_style.is_none() {
            let name = ident.value.to_lowercase();
            if super::function::is_value_function(&name) {
                return self.call(&name, vec![], ident.span);
            }
            if name == "default" {
                let error = Error::new(SqlState::SyntaxError, "DEFAULT is not allowed in this context");
                return Err(self.source.locate(error, ident.span));
            }
        }
        self.column_reference(std::slice::from_ref(ident))
    }

    pub(super) fn literal(&mut self, value: &ast::ValueWithSpan) -> Result<ScalarExpr> {
        Ok(match &value.value {
            Value::Number(text, _) => number(text),
            Value::SingleQuotedString(s)
            | Value::EscapedStringLiteral(s)
            | Value::UnicodeStringLiteral(s)
            | Value::DollarQuotedString(ast::DollarQuotedString { value: s, .. }) => unknown(s),
            Value::NationalStringLiteral(s) => {
                let bound = unknown(s);
                self.coerce_explicit(bound, TypeOid::BPCHAR.into(), value.span)?
            }
            Value::Boolean(b) => ScalarExpr::constant(Datum::Bool(*b), TypeOid::BOOL),
            Value::Null => ScalarExpr::constant(Datum::Null, TypeOid::UNKNOWN),
            Value::Placeholder(name) => return self.parameter(name, value.span),
            Value::HexStringLiteral(digits) => self.bit_literal('x', digits, value.span)?,
            Value::SingleQuotedByteStringLiteral(digits) => self.bit_literal('b', digits, value.span)?,
            _ => {
                let near = self.source.slice(value.span).to_string();
                return Err(self.syntax_at(&near, value.span));
            }
        })
    }

    fn bit_literal(&self, kind: char, digits: &str, span: Span) -> Result<ScalarExpr> {
        let read = crate::types::bits::read(&format!("{kind}{digits}"));
        let digits = read.map_err(|e| self.source.locate(e, span))?;
        Ok(ScalarExpr::constant(Datum::from(digits), TypeOid::BIT))
    }

    fn parameter(&mut self, name: &str, span: Span) -> Result<ScalarExpr> {
        let number: usize = match name.strip_prefix('$').and_then(|n| n.parse().ok()) {
            Some(n) => n,
            None => return Err(self.syntax_at(name, span)),
        };
        if let Some(value) = self.frame_parameter(number) {
            return value.map_err(|e| self.source.locate(e, span));
        }
        if number == 0 || number > 65535 || self.no_params {
            let error = Error::new(SqlState::UndefinedParameter, format!("there is no parameter ${number}"));
            return Err(self.source.locate(error, span));
        }
        if self.params.len() < number {
            self.params.resize(number, None);
        }
        let ty = self.params.get(number - 1).copied().flatten().unwrap_or(TypeOid::UNKNOWN);
        if names::row(ty).is_some_and(|row| row.kind != b'p') && ty != TypeOid::UNKNOWN && !names::supported(ty) {
            let error = Error::unsupported(format!("type {}", super::resolve::type_name(ty.into())));
            return Err(self.source.locate(error, span));
        }
        Ok(ScalarExpr::new(ExprKind::Param(number - 1), ty))
    }

    fn binary(&mut self, left: &Expr, op: &ast::BinaryOperator, right: &Expr, whole: &Expr) -> Result<ScalarExpr> {
        use ast::BinaryOperator as B;
        match op {
            B::And | B::Or => {
                // A long chain is one list.
                let (mut operands, mut rest) = (Vec::new(), vec![right, left]);
                while let Some(next) = rest.pop() {
                    match next {
                        Expr::BinaryOp { left, op: inner, right } if inner == op => rest.extend([&**right, &**left]),
                        operand => operands.push(operand),
                    }
                }
                let clause = if *op == B::And { "AND" } else { "OR" };
                let parts = operands.into_iter().map(|e| self.boolean(e, clause)).collect::<Result<Vec<_>>>()?;
                let kind = if *op == B::And { ExprKind::And(parts) } else { ExprKind::Or(parts) };
                Ok(ScalarExpr::new(kind, TypeOid::BOOL))
            }
            _ => {
                if let Some(schema) = operator_schema(op) {
                    let found = self.environment.catalog.resolve_schema(&schema).map(|_| ());
                    found.map_err(|error| self.source.locate(error, whole.span()))?;
                }
                let name = operator_name(op);
                let rows = (self.row_items(left)?, self.row_items(right)?);
                if let (ast::BinaryOperator::Overlaps, Some([a, b]), Some([c, d])) =
                    (op, rows.0.as_deref(), rows.1.as_deref())
                {
                    let args = [a, b, c, d].into_iter().map(|e| self.expr(e)).collect::<Result<Vec<_>>>()?;
                    return self.call("overlaps", args, whole.span());
                }
                if let (Some(l), Some(r)) = &rows {
                    return self.row_comparison(&name, l, r, whole.span());
                }
                if let (Some(_), Expr::Subquery(query)) = (rows.0, right) {
                    return self.quantified(left, &name, query, false, whole.span());
                }
                let l = self.expr(left)?;
                let r = self.expr(right)?;
                let at = self.operator_span(left, right, &name);
                self.operator(&name, Some(l), r, at)
            }
        }
    }

    /// Where an infix operator stands: errors about operators point there.
    fn operator_span(&self, left: &Expr, right: &Expr, name: &str) -> Span {
        let (l, r) = (left.span(), right.span());
        self.source.between(l, r, name).unwrap_or(l)
    }

    fn unary(&mut self, op: &UnaryOperator, arg: &Expr, span: Span) -> Result<ScalarExpr> {
        match op {
            UnaryOperator::Not => {
                let arg = self.boolean(arg, "NOT")?;
                Ok(ScalarExpr::new(ExprKind::Not(Box::new(arg)), TypeOid::BOOL))
            }
            UnaryOperator::Minus => {
                // A negative constant is a constant, and its sign belongs to it: the smallest integers are integers.
                if let Some(text) = number_text(arg) {
                    return Ok(number(&format!("-{text}")));
                }
                if let Some(rotated) = minus_before_power(arg) {
                    return self.expr(&rotated);
                }
                let bound = self.expr(arg)?;
                self.operator("-", None, bound, span)
            }
            _ => {
                let bound = self.expr(arg)?;
                let name = op.to_string();
                self.operator(name.trim(), None, bound, span)
            }
        }
    }

    fn null_test(&mut self, arg: &Expr, negated: bool) -> Result<ScalarExpr> {
        let span = arg.span();
        let bound = self.expr(arg)?;
        let arg = match bound.kind {
            // The test says nothing about the parameter's type.
            ExprKind::Param(n) if bound.ty.oid == TypeOid::UNKNOWN => {
                self.untyped.push((n, span));
                bound
            }
            _ => self.resolve_unknown(bound)?,
        };
        let test = |arg| ScalarExpr::new(ExprKind::IsNull { arg: Box::new(arg), negated }, TypeOid::BOOL);
        match arg.kind {
            ExprKind::Row(items, _) => {
                let tests: Vec<_> = items.into_iter().map(test).collect();
                Ok(ScalarExpr::and(tests).unwrap_or_else(|| ScalarExpr::constant(Datum::Bool(true), TypeOid::BOOL)))
            }
            kind if arg.ty.oid.is_row() => {
                let negated = ScalarExpr::constant(Datum::Bool(negated), TypeOid::BOOL);
                let args = vec![ScalarExpr { kind, ty: arg.ty }, negated];
                let call = ExprKind::Call { function: crate::functions::rows::NULL_TEST.clone(), args };
                Ok(ScalarExpr::new(call, TypeOid::BOOL))
            }
            kind => Ok(test(ScalarExpr { kind, ty: arg.ty })),
        }
    }

    fn bool_test(&mut self, arg: &Expr, value: Option<bool>, negated: bool, clause: &str) -> Result<ScalarExpr> {
        let arg = self.boolean(arg, clause)?;
        Ok(ScalarExpr::new(ExprKind::IsBool { arg: Box::new(arg), value, negated }, TypeOid::BOOL))
    }

    fn distinct_test(&mut self, left: &Expr, right: &Expr, negated: bool, span: Span) -> Result<ScalarExpr> {
        if let (Some(l), Some(r)) = (self.row_items(left)?, self.row_items(right)?) {
            if l.len() != r.len() {
                let error = Error::new(SqlState::SyntaxError, "unequal number of entries in row expressions");
                return Err(self.source.locate(error, span));
            }
            let mut parts = Vec::new();
            for (l, r) in l.iter().zip(r.iter()) {
                let test = self.distinct_test(l, r, true, span)?;
                parts.push(test);
            }
            let same = ScalarExpr::and(parts).unwrap_or_else(|| ScalarExpr::constant(Datum::Bool(true), TypeOid::BOOL));
            return Ok(negate(same, !negated));
        }
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        let (left, right) = self.comparable(left, right, span)?;
        let kind = ExprKind::IsDistinct { left: Box::new(left), right: Box::new(right), negated };
        Ok(ScalarExpr::new(kind, TypeOid::BOOL))
    }

    /// Both operands in the types that `=` compares them in.
    pub(super) fn comparable(
        &mut self,
        left: ScalarExpr,
        right: ScalarExpr,
        span: Span,
    ) -> Result<(ScalarExpr, ScalarExpr)> {
        let equals = self.operator("=", Some(left), right, span)?;
        match equals.kind {
            ExprKind::Call { args, .. } => {
                let mut args = args.into_iter();
                match (args.next(), args.next()) {
                    (Some(l), Some(r)) => Ok((l, r)),
                    _ => Err(Error::internal("equality without operands")),
                }
            }
            _ => Err(Error::internal("equality is not a call")),
        }
    }

    fn between(&mut self, arg: &Expr, negated: bool, low: &Expr, high: &Expr, span: Span) -> Result<ScalarExpr> {
        if let Some(low) = symmetric_bound(low) {
            let sides =
                vec![self.between(arg, negated, low, high, span)?, self.between(arg, negated, high, low, span)?];
            let kind = if negated { ExprKind::And(sides) } else { ExprKind::Or(sides) };
            return Ok(ScalarExpr::new(kind, TypeOid::BOOL));
        }
        let arg = self.expr(arg)?;
        let low = self.expr(low)?;
        let high = self.expr(high)?;
        let (first, second) = if negated { ("<", ">") } else { (">=", "<=") };
        let a = self.operator(first, Some(arg.clone()), low, span)?;
        let b = self.operator(second, Some(arg), high, span)?;
        let kind = if negated { ExprKind::Or(vec![a, b]) } else { ExprKind::And(vec![a, b]) };
        Ok(ScalarExpr::new(kind, TypeOid::BOOL))
    }

    fn in_list(&mut self, arg: &Expr, list: &[Expr], negated: bool, span: Span) -> Result<ScalarExpr> {
        let rows = match self.row_items(arg)? {
            Some(items) => {
                let others: Option<Vec<_>> = list.iter().map(|item| self.row_items(item).transpose()).collect();
                others
                    .map(|others| Ok::<_, Error>((items, others.into_iter().collect::<Result<Vec<_>>>()?)))
                    .transpose()?
            }
            None => None,
        };
        // A row that is a value, not written out, compares as one.
        if let Some((items, others)) = rows {
            let tests = others.iter().map(|other| self.row_comparison("=", &items, other, span));
            let mut tests = tests.collect::<Result<Vec<_>>>()?;
            let any = match tests.len() {
                1 => tests.remove(0),
                _ => ScalarExpr::new(ExprKind::Or(tests), TypeOid::BOOL),
            };
            return Ok(negate(any, negated));
        }
        let arg = self.expr(arg)?;
        let list = list.iter().map(|e| self.expr(e)).collect::<Result<Vec<_>>>()?;
        if let [only] = list.as_slice() {
            let name = if negated { "<>" } else { "=" };
            return self.operator(name, Some(arg), only.clone(), span);
        }
        let types: Vec<TypeOid> = std::iter::once(&arg).chain(&list).map(|e| e.ty.oid).collect();
        if let Some(common) = super::resolve::common_type(&types) {
            // Finds out whether the type has an equality at all, and settles unknown types.
            let arg = self.coerce_implicit(arg, common.into(), span)?;
            let probe = ScalarExpr::constant(Datum::Null, common);
            self.operator("=", Some(arg.clone()), probe, span)?;
            let list =
                list.into_iter().map(|e| self.coerce_implicit(e, common.into(), span)).collect::<Result<Vec<_>>>()?;
            let (arg, list) = self.listed(arg, list)?;
            let kind = ExprKind::InList { arg: Box::new(arg), list, negated };
            return Ok(ScalarExpr::new(kind, TypeOid::BOOL));
        }
        let mut tests = Vec::new();
        for item in list {
            tests.push(self.operator("=", Some(arg.clone()), item, span)?);
        }
        Ok(negate(ScalarExpr::new(ExprKind::Or(tests), TypeOid::BOOL), negated))
    }

    /// `(a, b) op (c, d)`, as PostgreSQL defines it: = and <> by elements, the order operators lexicographically.
    pub(super) fn row_comparison(&mut self, op: &str, left: &[Expr], right: &[Expr], span: Span) -> Result<ScalarExpr> {
        let left = left.iter().map(|e| self.expr(e)).collect::<Result<Vec<_>>>()?;
        let right = right.iter().map(|e| self.expr(e)).collect::<Result<Vec<_>>>()?;
        self.compare_rows(op, left, right, span)
    }

    pub(super) fn compare_rows(
        &mut self,
        op: &str,
        left: Vec<ScalarExpr>,
        right: Vec<ScalarExpr>,
        span: Span,
    ) -> Result<ScalarExpr> {
        if left.len() != right.len() {
            let error = Error::new(SqlState::SyntaxError, "unequal number of entries in row expressions");
            return Err(self.source.locate(error, span));
        }
        let pairs: Vec<_> = left.into_iter().zip(right).collect();
        match op {
            "=" | "<>" => {
                let mut parts = Vec::new();
                for (l, r) in pairs {
                    parts.push(self.operator(op, Some(l), r, span)?);
                }
                let kind = if op == "=" { ExprKind::And(parts) } else { ExprKind::Or(parts) };
                Ok(ScalarExpr::new(kind, TypeOid::BOOL))
            }
            "<" | "<=" | ">" | ">=" => {
                let strict = op.trim_end_matches('=');
                let mut out: Option<ScalarExpr> = None;
                for (l, r) in pairs.into_iter().rev() {
                    out = Some(match out {
                        None => self.operator(op, Some(l), r, span)?,
                        Some(rest) => {
                            let less = self.operator(strict, Some(l.clone()), r.clone(), span)?;
                            let equal = self.operator("=", Some(l), r, span)?;
                            let tail = ScalarExpr::new(ExprKind::And(vec![equal, rest]), TypeOid::BOOL);
                            ScalarExpr::new(ExprKind::Or(vec![less, tail]), TypeOid::BOOL)
                        }
                    });
                }
                out.ok_or_else(|| Error::new(SqlState::FeatureNotSupported, "cannot compare rows of zero length"))
            }
            _ => Err(self.source.locate(Error::unsupported(format!("the operator {op} on rows")), span)),
        }
    }

    fn like(
        &mut self,
        operator: &str,
        arg: &Expr,
        pattern: &Expr,
        escape: Option<&ast::ValueWithSpan>,
        span: Span,
    ) -> Result<ScalarExpr> {
        let arg = self.expr(arg)?;
        let mut pattern = self.expr(pattern)?;
        if let Some(escape) = escape {
            let escape = self.literal(escape)?;
            pattern = self.call("like_escape", vec![pattern, escape], span)?;
        }
        self.operator(operator, Some(arg), pattern, span)
    }

    fn cast(&mut self, arg: &Expr, ty: &ast::DataType) -> Result<ScalarExpr> {
        let to = self.bind_type(ty)?;
        let span = arg.span();
        if let Some(rule) = self.domain_of(to)? {
            let bound = match (arg, rule.base.oid.element()) {
                (Expr::Array(array), Some(element)) => self.array_as(&array.elem, rule.base, element)?,
                _ => self.expr(arg)?,
            };
            return self.cast_to_domain(bound, rule, span);
        }
        if let Expr::Array(array) = arg
            && let Some(element) = to.oid.element()
        {
            return self.array_as(&array.elem, to, element);
        }
        let bound = self.expr(arg)?;
        if let ExprKind::Const(Datum::Text(stored)) = &bound.kind
            && super::types::is_numbered(ty)
        {
            // Without a catalog, labels are positions.
            return Ok(ScalarExpr::constant(crate::types::text::parse(stored, to, &Default::default())?, to));
        }
        self.coerce_explicit(bound, to, span)
    }

    fn interval(&mut self, interval: &ast::Interval, span: Span) -> Result<ScalarExpr> {
        let value = self.expr(&interval.value)?;
        let fields = match (&interval.leading_field, &interval.last_field) {
            (None, _) => None,
            (Some(a), None) => Some(a.to_string().to_lowercase()),
            (Some(a), Some(b)) => Some(format!("{} to {}", a.to_string().to_lowercase(), b.to_string().to_lowercase())),
        };
        // What sqlparser takes for the digits before the point of `SECOND(2)` are those behind it.
        let precision = interval.fractional_seconds_precision.or(interval.leading_precision);
        let typmod = super::types::interval_typmod(fields.as_deref(), precision)
            .ok_or_else(|| Error::new(SqlState::SyntaxError, "invalid interval fields"))?;
        self.coerce_explicit(value, PgType::new(TypeOid::INTERVAL, typmod), span)
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&Expr>,
        span: Span,
    ) -> Result<ScalarExpr> {
        let operand = operand.map(|e| self.known(e)).transpose()?;
        let mut whens = Vec::new();
        let mut values = Vec::new();
        for when in conditions {
            whens.push(match &operand {
                None => self.boolean(&when.condition, "CASE/WHEN")?,
                Some(operand) => {
                    let right = self.expr(&when.condition)?;
                    self.operator("=", Some(operand.clone()), right, when.condition.span())?
                }
            });
            values.push((self.expr(&when.result)?, when.result.span()));
        }
        let has_else = otherwise.is_some();
        // The common type is sought from ELSE on.
        if let Some(otherwise) = otherwise {
            values.insert(0, (self.expr(otherwise)?, otherwise.span()));
        }
        let (mut values, ty) = self.unify(values, "CASE", span)?;
        let otherwise = has_else.then(|| Box::new(values.remove(0)));
        let whens = whens.into_iter().zip(values).collect();
        Ok(ScalarExpr::new(ExprKind::Case { whens, otherwise, simple: operand.is_some() }, ty))
    }

    /// Coerces alternatives to their common type (manual, section 10.5).
    pub(super) fn unify(
        &mut self,
        values: Vec<(ScalarExpr, Span)>,
        what: &str,
        span: Span,
    ) -> Result<(Vec<ScalarExpr>, PgType)> {
        let types: Vec<TypeOid> = values.iter().map(|(e, _)| e.ty.oid).collect();
        let common = match super::resolve::common_type(&types) {
            Some(common) => common,
            None => {
                let mut known = types.iter().filter(|t| **t != TypeOid::UNKNOWN);
                let first = known.next().copied().unwrap_or(TypeOid::TEXT);
                let other = known.find(|t| super::resolve::common_type(&[first, **t]).is_none()).copied();
                let error = Error::new(
                    SqlState::DatatypeMismatch,
                    format!(
                        "{what} types {} and {} cannot be matched",
                        super::resolve::type_name(first.into()),
                        super::resolve::type_name(other.unwrap_or(first).into())
                    ),
                );
                let at = values.iter().find(|(e, _)| Some(e.ty.oid) == other).map_or(span, |(_, span)| *span);
                return Err(self.source.locate(error, at));
            }
        };
        // The modifier survives when all agree on it.
        let typmod = match values.first() {
            Some((first, _)) if values.iter().all(|(e, _)| e.ty == first.ty) && first.ty.oid == common => {
                first.ty.typmod
            }
            _ => -1,
        };
        let mut out = Vec::new();
        for (value, span) in values {
            out.push(self.coerce_implicit(value, common.into(), span)?);
        }
        Ok((out, PgType::new(common, typmod)))
    }

    fn field_access(&mut self, root: &Expr, chain: &[ast::AccessExpr]) -> Result<ScalarExpr> {
        let star = |access: &ast::AccessExpr| matches!(access, ast::AccessExpr::Dot(Expr::Identifier(i)) if i.value == ALL_MARK);
        if chain.iter().any(star) {
            return Err(self.source.locate(Error::unsupported("(row).* outside of a select list"), root.span()));
        }
        let mut value: Option<ScalarExpr> = None;
        let mut chain = chain;
        // `t.column[1]` arrives as a root with a leading path of names.
        if let Expr::Identifier(first) = root {
            let mut path = vec![first.clone()];
            while let Some((ast::AccessExpr::Dot(Expr::Identifier(ident)), rest)) = chain.split_first() {
                path.push(ident.clone());
                chain = rest;
            }
            if path.len() > 1 {
                value = Some(self.column_reference(&path)?);
            }
        }
        if let Some((ast::AccessExpr::Dot(Expr::Identifier(field)), rest)) = chain.split_first()
            && value.is_none()
            && let Some(bound) = self.row_field(root, &fold(field))?
        {
            value = Some(bound);
            chain = rest;
        }
        let mut value = match value {
            Some(value) => value,
            None => self.known(root)?,
        };
        while let Some(access) = chain.first() {
            match access {
                ast::AccessExpr::Subscript(_) => (value, chain) = self.subscripts(value, chain, root.span())?,
                ast::AccessExpr::Dot(Expr::Identifier(field)) if value.ty.oid.is_row() => {
                    value = self.composite_field(value, &fold(field), root.span())?;
                    chain = chain.get(1..).unwrap_or_default();
                }
                ast::AccessExpr::Dot(field) => {
                    let name = super::resolve::type_name(value.ty);
                    let error = Error::new(
                        SqlState::WrongObjectType,
                        format!("column notation .{field} applied to type {name}, which is not a composite type"),
                    );
                    return Err(self.source.locate(error, root.span()));
                }
            };
        }
        Ok(value)
    }

    pub(super) fn any_all(&mut self, left: &Expr, op: &str, right: &Expr, all: bool, span: Span) -> Result<ScalarExpr> {
        let mut right = right;
        while let Expr::Nested(inner) = right {
            right = inner;
        }
        if let Expr::Subquery(query) = right {
            return self.quantified(left, op, query, all, span);
        }
        let left = self.expr(left)?;
        let array = self.expr(right)?;
        let array_type = match array.ty.oid {
            TypeOid::UNKNOWN => match left.ty.oid {
                TypeOid::UNKNOWN => TypeOid::TEXT_ARRAY,
                oid => oid.array().unwrap_or(TypeOid::TEXT_ARRAY),
            },
            oid => oid,
        };
        let Some(element) = array_type.element() else {
            let error = Error::new(
                SqlState::WrongObjectType,
                format!("op {} (array) requires array on right side", if all { "ALL" } else { "ANY/ALL" })
                    .replace("ALL (array)", "ANY/ALL (array)"),
            );
            return Err(self.source.locate(error, span));
        };
        let resolved =
            super::resolve::operator(op, Some(left.ty.oid), element).map_err(|e| self.source.locate(e, span))?;
        let (Some(left_type), Some(right_type)) = (resolved.args.first(), resolved.args.get(1)) else {
            return Err(Error::internal("binary operator without operands"));
        };
        if resolved.ty.oid != TypeOid::BOOL {
            let error = Error::new(SqlState::WrongObjectType, "op ANY/ALL (array) requires operator to yield boolean");
            return Err(self.source.locate(error, span));
        }
        let left = self.coerce_implicit(left, PgType::from(*left_type), span)?;
        let array_type = right_type.array().unwrap_or(array_type);
        let array = self.coerce_implicit(array, array_type.into(), span)?;
        let (left, operator, array) = self.each(left, resolved.function, array)?;
        let kind = ExprKind::AnyAll { arg: Box::new(left), operator, array: Box::new(array), all };
        Ok(ScalarExpr::new(kind, TypeOid::BOOL))
    }

    pub(super) fn syntax_at(&self, near: &str, span: Span) -> Error {
        let error = Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{near}\""));
        self.source.locate(error, span)
    }
}

/// Whether some operand of it may not be evaluated.
fn is_conditional(expr: &Expr) -> bool {
    match expr {
        Expr::Case { .. } => true,
        Expr::BinaryOp { op, .. } => matches!(op, ast::BinaryOperator::And | ast::BinaryOperator::Or),
        Expr::Function(call) => {
            let name = call.name.0.last().and_then(|part| part.as_ident());
            name.is_some_and(|name| name.value.eq_ignore_ascii_case("coalesce"))
        }
        _ => false,
    }
}

/// Keeps the frame of the deep recursion small.
#[inline(never)]
fn recursive_bind(binder: &mut Binder, expr: &Expr) -> Result<ScalarExpr> {
    super::grow_stack(|| binder.expr_inner(expr))
}

pub(super) fn query(query: QueryExpr, ty: PgType) -> ScalarExpr {
    ScalarExpr::new(ExprKind::Query(query.into()), ty)
}

pub(super) fn negate(expr: ScalarExpr, negated: bool) -> ScalarExpr {
    if negated { ScalarExpr::new(ExprKind::Not(Box::new(expr)), TypeOid::BOOL) } else { expr }
}

pub(super) fn unknown(text: &str) -> ScalarExpr {
    ScalarExpr::constant(Datum::from(text), TypeOid::UNKNOWN)
}

pub(super) fn text_constant(text: &str) -> ScalarExpr {
    ScalarExpr::constant(Datum::from(text), TypeOid::TEXT)
}

/// `-a ^ b` is `(-a) ^ b`: sqlparser takes the sign for that of the power.
fn minus_before_power(arg: &Expr) -> Option<Expr> {
    let power = |expr: &Expr| matches!(expr, Expr::BinaryOp { op: ast::BinaryOperator::PGExp, .. });
    if !power(arg) {
        return None;
    }
    let mut rotated = arg.clone();
    let mut base = &mut rotated;
    while let Expr::BinaryOp { left, op: ast::BinaryOperator::PGExp, .. } = base {
        base = left;
    }
    let inner = std::mem::replace(base, Expr::Value(Value::Null.into()));
    *base = Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(inner) };
    Some(rotated)
}

/// The items of `(a, b)` or `ROW(a, b)`.
pub(super) fn written_items(expr: &Expr) -> Option<Cow<'_, [Expr]>> {
    match expr {
        Expr::Tuple(items) => Some(Cow::Borrowed(items)),
        Expr::Nested(inner) => written_items(inner),
        Expr::Function(call) => {
            let [ast::ObjectNamePart::Identifier(name)] = call.name.0.as_slice() else { return None };
            let ast::FunctionArguments::List(list) = &call.args else { return None };
            if name.quote_style.is_some() || !name.value.eq_ignore_ascii_case("row") || list.args.is_empty() {
                return None;
            }
            let item = |arg: &ast::FunctionArg| match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(item)) => Some(item.clone()),
                _ => None,
            };
            list.args.iter().map(item).collect::<Option<Vec<_>>>().map(Cow::Owned)
        }
        _ => None,
    }
}

/// The first bound of BETWEEN SYMMETRIC.
fn symmetric_bound(low: &Expr) -> Option<&Expr> {
    let Expr::Function(ast::Function { name, args: ast::FunctionArguments::List(list), .. }) = low else { return None };
    let marked = matches!(name.0.as_slice(), [part] if part.as_ident().is_some_and(|i| i.value == SYMMETRIC));
    match list.args.as_slice() {
        [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(bound))] if marked => Some(bound),
        _ => None,
    }
}

/// The schema of `OPERATOR(schema.+)`, if one is named.
fn operator_schema(op: &ast::BinaryOperator) -> Option<String> {
    let ast::BinaryOperator::PGCustomBinaryOperator(parts) = op else { return None };
    let [schema, _] = parts.as_slice() else { return None };
    let quoted = schema.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Some(quoted.map_or_else(|| schema.to_ascii_lowercase(), |name| name.replace("\"\"", "\"")))
}

pub(super) fn operator_name(op: &ast::BinaryOperator) -> String {
    use ast::BinaryOperator as B;
    match op {
        B::NotEq => "<>".into(),
        B::PGCustomBinaryOperator(parts) => match parts.last().map(String::as_str) {
            Some("!=") => "<>".into(),
            Some(name) => name.into(),
            None => String::new(),
        },
        B::Custom(name) => name.clone(),
        other => other.to_string(),
    }
}

/// int4 if it fits, else int8, else numeric.
/// The digits of an unsigned number, in parentheses or not.
fn number_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => Some(text),
            _ => None,
        },
        Expr::Nested(inner) => number_text(inner),
        _ => None,
    }
}

fn number(text: &str) -> ScalarExpr {
    let text = text.replace('_', "");
    if text.strip_prefix('-').unwrap_or(&text).bytes().all(|b| b.is_ascii_digit()) {
        if let Ok(n) = text.parse::<i32>() {
            return ScalarExpr::constant(Datum::Int4(n), TypeOid::INT4);
        }
        if let Ok(n) = text.parse::<i64>() {
            return ScalarExpr::constant(Datum::Int8(n), TypeOid::INT8);
        }
    }
    match crate::types::text::parse(&text, TypeOid::NUMERIC.into(), &Default::default()) {
        Ok(value) => ScalarExpr::constant(value, TypeOid::NUMERIC),
        // Left to a cast, which reports it.
        Err(_) => unknown(&text),
    }
}
