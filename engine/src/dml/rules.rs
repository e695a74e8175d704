//! What a table demands of its rows: defaults, generated columns, NOT NULL, CHECK; and the errors when it is not met.

use std::sync::Arc;

use super::row_expr::{RowColumns, RowExpr};
use crate::catalog::{Catalog, ConstraintKind, Oid, TableDef};
use crate::domain::DomainRule;
use crate::error::{Error, Result, SqlState};
use crate::functions::EvalContext;
use crate::session::Session;
use crate::sql::bind::view_target::ViewCondition;
use crate::sql::parse::parse_expression;
use crate::sql::{Binder, Scope};
use crate::txn::Duplicate;
use crate::types::text;
use crate::types::{Datum, TypeOid};

/// The rules of one table, bound.
pub struct TableRules {
    pub def: Arc<TableDef>,
    catalog: Arc<Catalog>,
    pub schema: String,
    /// By attnum - 1; `None`: NULL.
    pub defaults: Vec<Option<RowExpr>>,
    /// Stored generated columns: index and expression over the row.
    pub generated: Vec<(usize, RowExpr)>,
    not_null: Vec<usize>,
    checks: Vec<(String, RowExpr)>,
    /// What views through which the table is changed demand: the view, and its condition over the row.
    pub view_checks: Vec<(String, RowExpr)>,
    /// Columns whose values belong to domains that have conditions.
    domains: Vec<(usize, Arc<DomainRule>)>,
}

impl TableRules {
    pub fn bind(session: &mut Session, def: &Arc<TableDef>, catalog: &Arc<Catalog>) -> Result<TableRules> {
        let environment = session.environment(catalog);
        let bind = |text: &str, bound: &dyn Fn(&mut Binder, &sqlparser::ast::Expr, &Scope) -> Result<RowParts>| {
            let (expr, source) = parse_expression(text)?;
            let mut binder = Binder::new(environment.clone(), source, &[]);
            let scope = binder.table_scope(def, None);
            let parts = bound(&mut binder, &expr, &scope)?;
            Ok::<RowExpr, Error>(RowExpr::new(parts, &Arc::new(RowColumns::of_scope(&scope)), 0))
        };
        let mut rules = TableRules {
            def: def.clone(),
            catalog: catalog.clone(),
            schema: catalog.schema_name(def.schema).to_string(),
            defaults: Vec::with_capacity(def.columns.len()),
            generated: Vec::new(),
            not_null: Vec::new(),
            checks: Vec::new(),
            view_checks: Vec::new(),
            domains: Vec::new(),
        };
        for (i, column) in def.columns.iter().enumerate() {
            let mut default = None;
            if !column.dropped
                && let Some(text) = column.default.as_ref().or_else(|| catalog.domain_default(column.domain?))
            {
                let expr = bind(text, &|binder, expr, scope| {
                    let empty = Scope::default();
                    let scope = if column.generated { scope } else { &empty };
                    binder.bind_assignment(expr, scope, &column.name, column.ty)
                })?;
                match column.generated {
                    true => rules.generated.push((i, expr)),
                    false => default = Some(expr),
                }
            }
            if default.is_none() && column.identity.is_some() && !column.dropped {
                default = identity_default(catalog, def.oid, column.attnum);
            }
            rules.defaults.push(default);
            let holds = || catalog.holds_domains(column.ty.oid).then_some(Oid(column.ty.oid.0));
            if let Some(domain) = column.domain.or_else(holds).filter(|_| !column.dropped) {
                let mut binder = Binder::new(environment.clone(), crate::sql::Source::new(""), &[]);
                let rule = binder.domain_rule(domain)?;
                if !rule.is_free() {
                    rules.domains.push((i, rule));
                }
            }
            if column.not_null && !column.dropped {
                rules.not_null.push(i);
            }
        }
        for constraint in &def.constraints {
            if let ConstraintKind::Check { expression, .. } = &constraint.kind {
                let expr = bind(expression, &|binder, expr, scope| binder.bind_condition(expr, scope, "CHECK"))?;
                rules.checks.push((constraint.name.clone(), expr));
            }
        }
        // PostgreSQL checks constraints in the order of their names.
        rules.checks.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(rules)
    }

    /// Number of columns, dropped ones included.
    pub fn width(&self) -> usize {
        self.def.columns.len()
    }

    /// Whether batches must be looked at row by row.
    pub fn needs_rows(&self) -> bool {
        !self.checks.is_empty()
            || !self.generated.is_empty()
            || !self.view_checks.is_empty()
            || !self.domains.is_empty()
    }

    pub fn not_null_columns(&self) -> &[usize] {
        &self.not_null
    }

    /// Computes the generated columns and checks NOT NULL and CHECK.
    pub fn finish(&self, row: &mut [Datum], context: &EvalContext) -> Result<()> {
        for (i, expr) in &self.generated {
            let value = expr.eval_now(row, &[], context)?;
            if let Some(slot) = row.get_mut(*i) {
                *slot = value;
            }
        }
        for (i, domain) in &self.domains {
            domain.check(row.get(*i).unwrap_or(&Datum::Null), context)?;
        }
        for i in &self.not_null {
            if row.get(*i).is_none_or(Datum::is_null) {
                return Err(self.null_violation(*i, row, context));
            }
        }
        for (name, check) in &self.checks {
            if check.eval_now(row, &[], context)? == Datum::Bool(false) {
                return Err(Error::new(
                    SqlState::CheckViolation,
                    format!("new row for relation \"{}\" violates check constraint \"{name}\"", self.def.name),
                )
                .detail(self.failing_row(row, context))
                .table(&self.schema, &self.def.name)
                .constraint(name));
            }
        }
        for (view, check) in &self.view_checks {
            if check.eval_now(row, &[], context)? != Datum::Bool(true) {
                return Err(Error::new(
                    SqlState::WithCheckOptionViolation,
                    format!("new row violates check option for view \"{view}\""),
                )
                .detail(self.failing_row(row, context)));
            }
        }
        Ok(())
    }

    /// Adds the conditions that views check.
    pub fn add_view_checks(
        &mut self,
        conditions: Vec<ViewCondition>,
        columns: &Arc<RowColumns>,
        parameters: usize,
    ) -> Result<()> {
        for condition in conditions.into_iter().filter(|c| c.checked) {
            if super::insert::has_query(&condition.expr) {
                return Err(Error::unsupported("WITH CHECK OPTION of a view whose condition holds a subquery"));
            }
            self.view_checks.push((condition.view, RowExpr::new(condition.expr, columns, parameters)));
        }
        Ok(())
    }

    pub fn null_violation(&self, column: usize, row: &[Datum], context: &EvalContext) -> Error {
        let name = self.def.columns.get(column).map_or("", |c| &c.name);
        Error::new(
            SqlState::NotNullViolation,
            format!("null value in column \"{name}\" of relation \"{}\" violates not-null constraint", self.def.name),
        )
        .detail(self.failing_row(row, context))
        .table(&self.schema, &self.def.name)
        .column(name)
    }

    /// `Failing row contains (1, null).`
    fn failing_row(&self, row: &[Datum], context: &EvalContext) -> String {
        let shown = self.def.columns.iter().zip(row).filter(|(c, _)| !c.dropped).map(|(column, value)| {
            if value.is_null() {
                return "null".to_string();
            }
            let text = text::to_string(value, column.ty, &context.format);
            match text.len() > 64 {
                true => format!("{}...", crate::session::settings::value::clip(&text, 64)),
                false => text,
            }
        });
        format!("Failing row contains ({}).", shown.collect::<Vec<_>>().join(", "))
    }

    /// 23505 for a key that `row` shares with another.
    pub fn unique_violation(&self, duplicate: &Duplicate, row: Option<&[Datum]>, context: &EvalContext) -> Error {
        let Some(index) = self.def.index(duplicate.index) else {
            return Error::new(SqlState::UniqueViolation, "duplicate key value violates unique constraint");
        };
        let error = Error::new(
            SqlState::UniqueViolation,
            format!("duplicate key value violates unique constraint \"{}\"", index.name),
        )
        .table(&self.schema, &self.def.name)
        .constraint(&index.name);
        match row {
            Some(row) => {
                let key = crate::ddl::key_text(&self.def, index, row, &self.catalog, context);
                error.detail(format!("Key {key} already exists."))
            }
            None => error,
        }
    }
}

type RowParts = crate::expr::ScalarExpr;

/// `nextval` of the sequence behind an identity column.
fn identity_default(catalog: &Catalog, table: Oid, attnum: i16) -> Option<RowExpr> {
    let sequence = catalog.owned_sequences(table, Some(attnum)).next()?;
    let ty = catalog.tables.get(&table)?.attribute(attnum)?.ty;
    super::sequence::nextval_expr(sequence.oid, ty)
}

/// `(a, b)=(1, x)`
pub fn key_text(def: &TableDef, columns: &[i16], row: &[Datum], context: &EvalContext) -> String {
    let names: Vec<&str> = columns.iter().filter_map(|a| def.attribute(*a)).map(|c| c.name.as_str()).collect();
    let values: Vec<String> = columns
        .iter()
        .map(|a| {
            let value = row.get(*a as usize - 1).unwrap_or(&Datum::Null);
            let ty = def.attribute(*a).map_or(TypeOid::TEXT.into(), |c| c.ty);
            match value.is_null() {
                true => "null".into(),
                false => text::to_string(value, ty, &context.format),
            }
        })
        .collect();
    format!("({})=({})", names.join(", "), values.join(", "))
}
