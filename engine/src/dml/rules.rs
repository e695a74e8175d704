//! What a table demands of its rows: defaults, generated columns, NOT NULL, CHECK; and the errors when it is not met.

use std::sync::Arc;

use super::row_expr::{RowColumns, RowExpr};
use crate::catalog::acl::Rights;
use crate::catalog::{Catalog, ConstraintKind, Oid, Relation, TableDef};
use crate::domain::DomainRule;
use crate::error::{Error, Result, SqlState};
use crate::functions::EvalContext;
use crate::session::{Row, Session};
use crate::sql::bind::row_security::{CheckTime, TargetChange};
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
    /// What policies ask of rows that are written.
    policies: Vec<PolicyRule>,
    /// What errors may show of a row.
    shown: Shown,
    /// In which order errors show columns: that of the table which the statement names. `None`: its own.
    order: Option<Vec<usize>>,
    /// Columns that the statement gives values to, which its user knows.
    written: Vec<usize>,
}

/// What of a row its user may see (PostgreSQL's ExecBuildSlotValueDescription).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    All,
    /// By index.
    Columns(Vec<usize>),
    /// The table is under row security.
    Nothing,
}

/// Whether a user may be shown values of these columns of a table.
pub fn shows_columns(catalog: &Catalog, user: Oid, def: &Arc<TableDef>, columns: &[i16]) -> bool {
    Shown::of(catalog, user, def).shows(columns.iter().copied())
}

impl Shown {
    fn shows(&self, mut columns: impl Iterator<Item = i16>) -> bool {
        match self {
            Shown::All => true,
            Shown::Columns(shown) => columns.all(|a| usize::try_from(a - 1).is_ok_and(|i| shown.contains(&i))),
            Shown::Nothing => false,
        }
    }

    fn of(catalog: &Catalog, user: Oid, def: &Arc<TableDef>) -> Shown {
        if catalog.is_under_row_security(user, def) {
            return Shown::Nothing;
        }
        let relation = Relation::Table(def.clone());
        if user == def.owner || catalog.relation_rights(user, &relation).has(Rights::SELECT) {
            return Shown::All;
        }
        let readable = |attnum: &i16| catalog.column_rights(user, &relation, *attnum).has(Rights::SELECT);
        Shown::Columns(def.live_columns().map(|c| c.attnum).filter(readable).map(|a| a as usize - 1).collect())
    }
}

impl TableRules {
    /// For values that are of the columns' types already: a domain's conditions are no more asked for.
    pub fn without_domains(self) -> TableRules {
        TableRules { domains: Vec::new(), ..self }
    }

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
            policies: Vec::new(),
            shown: Shown::of(catalog, session.user(), def),
            written: Vec::new(),
            order: None,
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

    /// The statement names a table from which this one inherits: DEFAULT means what it means there, and errors show its columns.
    pub fn speak_as(&mut self, named: &TableRules) {
        let place = |name: &str| self.def.column(name).map(|own| own.attnum as usize - 1);
        self.order = Some(named.def.live_columns().filter_map(|c| place(&c.name)).collect());
        self.shown = match &named.shown {
            Shown::Columns(columns) => {
                let names = columns.iter().filter_map(|i| named.def.columns.get(*i));
                Shown::Columns(names.filter_map(|c| place(&c.name)).collect())
            }
            other => other.clone(),
        };
        for (column, default) in
            named.def.columns.iter().zip(&named.defaults).filter(|(c, _)| !c.dropped && !c.generated)
        {
            if let Some(own) = self.def.column(&column.name)
                && let Some(slot) = self.defaults.get_mut(own.attnum as usize - 1)
            {
                *slot = default.clone();
            }
        }
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
            || !self.policies.is_empty()
    }

    pub fn not_null_columns(&self) -> &[usize] {
        &self.not_null
    }

    /// Makes a row complete and checks it: generated columns, policies, NOT NULL, CHECK, views, in PostgreSQL's order.
    pub async fn settle(&self, session: &mut Session, row: &mut Row, time: CheckTime, params: &[Datum]) -> Result<()> {
        let context = session.eval_context();
        self.generate(row, &context)?;
        if self.policies.is_empty() {
            return self.constrain(row, &context);
        }
        Box::pin(self.check_policies(session, row, time, params)).await?;
        self.constrain(row, &context)
    }

    /// [`Self::settle`] for what a foreign key does, which no policy forbids.
    pub fn finish(&self, row: &mut [Datum], context: &EvalContext) -> Result<()> {
        self.generate(row, context)?;
        self.constrain(row, context)
    }

    /// Computes the generated columns; values of domains must be theirs.
    fn generate(&self, row: &mut [Datum], context: &EvalContext) -> Result<()> {
        for (i, expr) in &self.generated {
            let value = expr.eval_now(row, &[], context)?;
            if let Some(slot) = row.get_mut(*i) {
                *slot = value;
            }
        }
        for (i, domain) in &self.domains {
            domain.check(row.get(*i).unwrap_or(&Datum::Null), context)?;
        }
        Ok(())
    }

    /// NOT NULL, CHECK, and what views check.
    fn constrain(&self, row: &[Datum], context: &EvalContext) -> Result<()> {
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
                .details(self.failing_row(row, context))
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
                .details(self.failing_row(row, context)));
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

    /// Adds what the policies of the table ask of rows that the statement writes.
    pub fn add_policies(&mut self, binder: &mut Binder, change: TargetChange, parameters: usize) -> Result<()> {
        let Some((scope, checks)) = binder.target_checks(change)? else { return Ok(()) };
        let columns = Arc::new(RowColumns::of_scope(&scope));
        for check in checks {
            let condition = RowExpr::with_queries(check.expr, &scope, &columns, parameters, binder)?;
            self.policies.push(PolicyRule { time: check.time, policy: check.policy, condition });
        }
        Ok(())
    }

    /// The statement gives these columns, by index, values that its user knows.
    pub fn note_written(&mut self, columns: impl Iterator<Item = usize>) {
        self.written.extend(columns);
    }

    /// Whether policies hold subqueries that are computed while rows are written.
    pub fn has_row_queries(&self) -> bool {
        self.policies.iter().any(|p| p.condition.is_query())
    }

    /// 42501 for a row that policies do not allow.
    pub async fn check_policies(
        &self,
        session: &mut Session,
        row: &[Datum],
        time: CheckTime,
        params: &[Datum],
    ) -> Result<()> {
        for rule in self.policies.iter().filter(|rule| rule.time == time) {
            if rule.condition.eval(session, row, params).await? != Datum::Bool(true) {
                return Err(rule.violated(&self.def.name));
            }
        }
        Ok(())
    }

    pub fn null_violation(&self, column: usize, row: &[Datum], context: &EvalContext) -> Error {
        let name = self.def.columns.get(column).map_or("", |c| &c.name);
        Error::new(
            SqlState::NotNullViolation,
            format!("null value in column \"{name}\" of relation \"{}\" violates not-null constraint", self.def.name),
        )
        .details(self.failing_row(row, context))
        .table(&self.schema, &self.def.name)
        .column(name)
    }

    /// `Failing row contains (1, null).`, as far as it may be shown.
    fn failing_row(&self, row: &[Datum], context: &EvalContext) -> Option<String> {
        let visible = |i: usize| match &self.shown {
            Shown::All => true,
            Shown::Columns(columns) => columns.contains(&i) || self.written.contains(&i),
            Shown::Nothing => false,
        };
        let all = || (0..self.def.columns.len()).collect();
        let places: Vec<usize> = self.order.clone().unwrap_or_else(all);
        let columns = || {
            let found = places.iter().filter_map(|i| Some((*i, (self.def.columns.get(*i)?, row.get(*i)?))));
            found.filter(|(i, (c, _))| !c.dropped && visible(*i)).map(|(_, pair)| pair)
        };
        let names = match &self.shown {
            Shown::All => String::new(),
            _ if columns().next().is_none() => return None,
            _ => format!("({}) = ", columns().map(|(c, _)| c.name.as_str()).collect::<Vec<_>>().join(", ")),
        };
        let shown = columns().map(|(column, value)| {
            if value.is_null() {
                return "null".to_string();
            }
            let text = text::to_string(value, column.ty, &context.format);
            match text.len() > 64 {
                true => format!("{}...", crate::session::settings::value::clip(&text, 64)),
                false => text,
            }
        });
        Some(format!("Failing row contains {names}({}).", shown.collect::<Vec<_>>().join(", ")))
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
        match row.filter(|_| self.shown.shows(index.attnums())) {
            Some(row) => {
                let key = crate::ddl::key_text(&self.def, index, row, &self.catalog, context);
                error.detail(format!("Key {key} already exists."))
            }
            None => error,
        }
    }
}

/// One condition of policies.
struct PolicyRule {
    time: CheckTime,
    /// The restrictive policy that it is; `None`: all permissive ones together.
    policy: Option<String>,
    condition: RowExpr,
}

impl PolicyRule {
    fn violated(&self, table: &str) -> Error {
        let row = match self.time {
            CheckTime::MergeUpdate | CheckTime::MergeDelete => "target row",
            _ => "new row",
        };
        let name = self.policy.as_ref().map_or_else(String::new, |name| format!(" \"{name}\""));
        let which = match self.time {
            CheckTime::Insert | CheckTime::Update => "",
            _ => " (USING expression)",
        };
        let message = format!("{row} violates row-level security policy{name}{which} for table \"{table}\"");
        Error::new(SqlState::InsufficientPrivilege, message)
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
