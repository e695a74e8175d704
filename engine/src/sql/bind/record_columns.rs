//! Functions in FROM whose columns the statement defines: `json_to_record(…) AS t(a int, b text)` and its kin.

use sqlparser::ast;
use sqlparser::tokenizer::Span;

use super::{Binder, Expects, fold, resolve};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::functions::json_populate;
use crate::sql::rel::{Output, Rel, SetCall};
use crate::sql::scope::{Scope, ScopeColumn};
use crate::types::{Datum, TypeOid};

const FUNCTIONS: [&str; 4] = ["json_to_record", "json_to_recordset", "jsonb_to_record", "jsonb_to_recordset"];

impl Binder {
    /// `None`: it is another function, and its columns are its own.
    pub(super) fn record_columns(
        &mut self,
        function: &str,
        args: &[&ast::Expr],
        (ordinality, alias): (bool, Option<&ast::TableAlias>),
        left: &Scope,
        span: Span,
    ) -> Result<Option<(Rel, Scope, bool)>> {
        let syntax = |message: &str| Error::new(SqlState::SyntaxError, message);
        let defined = alias.filter(|a| a.columns.iter().any(|c| c.data_type.is_some()));
        let record = FUNCTIONS.contains(&function);
        let alias = match (record, defined) {
            (false, None) => return Ok(None),
            (false, Some(alias)) => {
                let error = syntax("a column definition list is only allowed for functions returning \"record\"");
                let at = alias.columns.first().map_or(span, |c| c.name.span);
                return Err(self.source.locate(error, at));
            }
            (true, None) => {
                let error = syntax("a column definition list is required for functions returning \"record\"");
                return Err(self.source.locate(error, span));
            }
            (true, Some(alias)) => alias,
        };
        if ordinality {
            return Err(syntax("WITH ORDINALITY cannot be used with a column definition list")
                .hint("Put the column definition list inside ROWS FROM()."));
        }
        self.scopes.push(left.clone());
        let outer = std::mem::replace(&mut self.expects, Expects::From);
        let bound = self.record_rows(function, args, alias, span);
        self.expects = outer;
        self.scopes.pop();
        let (rel, columns) = bound?;
        let scope = self.relation_scope(fold(&alias.name), None, columns, None)?;
        let lateral = rel.is_correlated();
        Ok(Some((rel, scope, lateral)))
    }

    fn record_rows(
        &mut self,
        function: &str,
        args: &[&ast::Expr],
        alias: &ast::TableAlias,
        span: Span,
    ) -> Result<(Rel, Vec<ScopeColumn>)> {
        let args = args.iter().map(|a| self.expr(a)).collect::<Result<Vec<_>>>()?;
        let types: Vec<TypeOid> = args.iter().map(|a| a.ty.oid).collect();
        let resolved = self.set_function(function, &types, span)?;
        let args = self.coerce_call_args(&resolved, args, span)?;
        let document = args.into_iter().next().ok_or_else(|| Error::internal("json_to_record without a document"))?;
        let of = || ScalarExpr::constant(Datum::from(function), TypeOid::TEXT);
        let (id, ty) = (self.fresh(), document.ty);
        let rel = if resolved.kind == resolve::Kind::Set {
            let outputs = vec![Output { id, ty }];
            let call = SetCall { function: json_populate::documents(), args: vec![document, of()], outputs };
            Rel::Series { input: Box::new(Rel::Unit), calls: vec![call], ordinality: None }
        } else {
            Rel::Unit.project(vec![(id, document)])
        };
        let (mut values, mut columns) = (Vec::new(), Vec::new());
        for column in &alias.columns {
            let Some(written) = &column.data_type else {
                return Err(self.syntax_at(&column.name.value, column.name.span));
            };
            let declared = self.bind_type(written)?;
            let domain = self.domain_of(declared)?;
            let base = domain.as_ref().map_or(declared, |rule| rule.base);
            let name = fold(&column.name);
            let args =
                vec![ScalarExpr::column(id, ty), ScalarExpr::constant(Datum::from(name.as_str()), TypeOid::TEXT), of()];
            let mut value = ScalarExpr::new(ExprKind::Call { function: json_populate::member(), args }, base);
            if let Some(rule) = domain {
                value = ScalarExpr::new(ExprKind::Domain { arg: Box::new(value), rule }, base);
            }
            let own = self.fresh();
            columns.push(ScopeColumn { name, id: own, ty: base, table: 0, attribute: 0, visible: true });
            values.push((own, value));
        }
        Ok((rel.project(values), columns))
    }
}
