//! Domains: their conditions, bound, and the conversion of values to them.

use std::collections::HashMap;
use std::sync::Arc;

use sqlparser::ast::{self, Expr};
use sqlparser::tokenizer::Span;

use super::{Binder, Expects};
use crate::catalog::{Oid, TableDef, TypeDef};
use crate::domain::{DomainRule, Parts};
use crate::error::{Error, Result};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::sql::parse::parse_expression;
use crate::sql::rel::QueryExpr;
use crate::sql::scope::{Scope, ScopeColumn, ScopeRelation};
use crate::types::user::UserKind;
use crate::types::{PgType, TypeOid};

impl Binder {
    /// The names that a domain's condition may use: VALUE, a value of its base type.
    pub fn value_scope(&mut self, base: PgType, collation: Option<Oid>) -> Scope {
        let id = self.fresh();
        if collation.is_some() {
            self.note_collation(id, collation);
        }
        let column = ScopeColumn { name: "value".into(), id, ty: base, table: 0, attribute: 1, visible: true };
        let relation = ScopeRelation::new(String::new(), 0, vec![column]);
        Scope { relations: vec![relation], ..Scope::default() }
    }

    /// What the domains say that a type is or holds; `None`: nothing.
    pub(super) fn domain_of(&mut self, ty: PgType) -> Result<Option<Arc<DomainRule>>> {
        match ty.oid.user_kind() {
            Some(UserKind::Domain | UserKind::Composite) if self.environment.catalog.holds_domains(ty.oid) => {
                self.domain_rule(Oid(ty.oid.0)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What values of a type that is no domain must fulfil in their parts.
    fn rule_of_parts(&mut self, ty: TypeOid) -> Result<Parts> {
        let catalog = self.environment.catalog.clone();
        if !catalog.holds_domains(ty) {
            return Ok(Parts::None);
        }
        if let Some(element) = ty.user_element() {
            return Ok(Parts::Elements(self.domain_rule(Oid(element.0))?));
        }
        let fields = catalog.domain_fields(ty).into_iter();
        Ok(Parts::Fields(fields.map(|(i, ty)| Ok((i, self.domain_rule(Oid(ty.0))?))).collect::<Result<_>>()?))
    }

    /// A domain with its conditions bound, or an array over one, or a row type with fields of them.
    pub fn domain_rule(&mut self, oid: Oid) -> Result<Arc<DomainRule>> {
        let catalog = self.environment.catalog.clone();
        let ty = TypeOid(oid.0);
        if ty.user_scalar() != Some(UserKind::Domain) {
            let (schema, name) = catalog.type_name(ty).unwrap_or((Oid(0), String::new()));
            return Ok(Arc::new(DomainRule {
                oid: oid.0,
                schema: catalog.schema_name(schema).to_owned(),
                name,
                shown: crate::types::names::format_type(ty, -1),
                base: catalog.base_type(ty.into()),
                not_null: false,
                checks: Vec::new(),
                parts: self.rule_of_parts(ty)?,
            }));
        }
        self.collations.noticed |=
            catalog.types.get(&oid).and_then(|d| d.domain()).is_some_and(|d| d.collation.is_some());
        let missing = || Error::internal("a domain is not in the catalog");
        let def = catalog.types.get(&oid).ok_or_else(missing)?;
        let domain = def.domain().ok_or_else(missing)?;
        let mut rule = DomainRule {
            oid: oid.0,
            schema: catalog.schema_name(def.schema).to_owned(),
            name: def.name.clone(),
            shown: crate::types::names::format_type(TypeOid(oid.0), -1),
            base: domain.base,
            not_null: false,
            checks: Vec::new(),
            parts: Parts::None,
        };
        let mut chain: Vec<&TypeDef> = vec![&**def];
        while let Some(over) = chain.last().and_then(|d| d.domain()).and_then(|d| d.over)
            && TypeOid(over.0).user_scalar() == Some(UserKind::Domain)
        {
            chain.push(catalog.types.get(&over).ok_or_else(missing)?);
        }
        if let Some(last) = chain.last().and_then(|d| d.domain()) {
            rule.parts = self.rule_of_parts(last.over.map_or(last.base.oid, |over| TypeOid(over.0)))?;
        }
        for domain in chain.iter().rev().filter_map(|d| d.domain()) {
            rule.not_null |= domain.not_null;
            for check in &domain.checks {
                let (expr, source) = parse_expression(&check.expression)?;
                let bound = self.isolated(source, |b| {
                    let scope = b.value_scope(domain.base, domain.collation);
                    b.in_scope(&scope, Expects::Other("CHECK"), |b| b.boolean(&expr, "CHECK"))
                })?;
                rule.checks.push((check.name.clone(), bound));
            }
        }
        Ok(Arc::new(rule))
    }

    /// Columns of a table in a scope.
    pub(super) fn note_table_domains(&mut self, def: &TableDef, columns: &[ScopeColumn]) {
        for (attnum, domain) in def.live_columns().filter_map(|c| Some((c.attnum, c.domain?))) {
            let column = columns.iter().find(|c| c.attribute == attnum);
            self.domains.extend(column.map(|c| (c.id, domain)));
        }
    }

    /// Columns that are copies of others.
    pub(super) fn note_copied_domains(&mut self, map: &HashMap<ColumnId, ColumnId>) {
        if self.domains.is_empty() {
            return;
        }
        for (old, new) in map {
            if let Some(domain) = self.domains.get(old).copied() {
                self.domains.insert(*new, domain);
            }
        }
    }

    /// A column of a set operation: of a domain if both sides are.
    pub(super) fn note_common_domain(&mut self, output: ColumnId, left: ColumnId, right: ColumnId) {
        if let Some(domain) = self.domains.get(&left).copied()
            && self.domains.get(&right) == Some(&domain)
        {
            self.domains.insert(output, domain);
        }
    }

    /// The domain that the type of an item of a select list is. Bound expressions are of base types, and a cast from a domain to
    /// its base type leaves no trace in them: how it was written tells.
    pub(super) fn domain_written(&mut self, expr: &Expr, bound: &ScalarExpr) -> Option<Oid> {
        match (expr, &bound.kind) {
            (Expr::Nested(inner), _) => self.domain_written(inner, bound),
            (Expr::Identifier(_) | Expr::CompoundIdentifier(_), ExprKind::Column { id, .. }) => {
                self.domains.get(id).copied()
            }
            (Expr::Subquery(_), ExprKind::Query(query)) => match &**query {
                QueryExpr::Scalar { column, .. } => self.domains.get(column).copied(),
                _ => None,
            },
            (
                Expr::Cast { data_type, .. } | Expr::TypedString(ast::TypedString { data_type, .. }),
                ExprKind::Domain { .. },
            ) => {
                let ty = self.bind_type(data_type).ok()?;
                (ty.oid.user_kind() == Some(UserKind::Domain)).then_some(Oid(ty.oid.0))
            }
            _ => None,
        }
    }

    /// A row whose fields were read as the base types of their domains.
    pub(super) fn as_its_domains_say(&mut self, value: ScalarExpr) -> Result<ScalarExpr> {
        let ty = value.ty;
        Ok(match self.domain_of(ty)? {
            Some(rule) => ScalarExpr::new(ExprKind::Domain { arg: Box::new(value), rule }, ty),
            None => value,
        })
    }

    /// A value as one of the domain: converted to its base type, and checked when it is computed.
    pub(super) fn cast_to_domain(
        &mut self,
        value: ScalarExpr,
        rule: Arc<DomainRule>,
        span: Span,
    ) -> Result<ScalarExpr> {
        let base = rule.base;
        let literal = value.ty.oid == TypeOid::UNKNOWN;
        let arg = self.coerce_explicit(value, base, span)?;
        // The parts of a literal are read, and checked, where it stands.
        if let (true, ExprKind::Const(value)) = (literal, &arg.kind)
            && TypeOid(rule.oid).user_scalar() != Some(UserKind::Domain)
        {
            rule.check(value, &self.environment.eval).map_err(|e| self.source.locate(e, span))?;
        }
        Ok(ScalarExpr::new(ExprKind::Domain { arg: Box::new(arg), rule }, base))
    }
}
