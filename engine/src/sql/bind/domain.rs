//! Domains: their conditions, bound, and the conversion of values to them.

use std::sync::Arc;

use sqlparser::tokenizer::Span;

use super::{Binder, Expects};
use crate::catalog::{Oid, TypeDef};
use crate::domain::DomainRule;
use crate::error::{Error, Result};
use crate::expr::{ExprKind, ScalarExpr};
use crate::sql::parse::parse_expression;
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
        let relation = ScopeRelation {
            name: String::new(),
            schema: None,
            columns: vec![column],
            real_name: None,
            table: 0,
            scalar: false,
            lateral_ok: true,
            nullable: false,
            updated: None,
        };
        Scope { relations: vec![relation], ..Scope::default() }
    }

    /// The domain that a type is; `None`: it is another kind of type.
    pub(super) fn domain_of(&mut self, ty: PgType) -> Result<Option<Arc<DomainRule>>> {
        match ty.oid.user_scalar() {
            Some(UserKind::Domain) => self.domain_rule(Oid(ty.oid.0)).map(Some),
            _ => Ok(None),
        }
    }

    /// A domain with its conditions bound.
    pub fn domain_rule(&mut self, oid: Oid) -> Result<Arc<DomainRule>> {
        let catalog = self.environment.catalog.clone();
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
        };
        let mut chain: Vec<&TypeDef> = vec![&**def];
        while let Some(over) = chain.last().and_then(|d| d.domain()).and_then(|d| d.over) {
            chain.push(catalog.types.get(&over).ok_or_else(missing)?);
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

    /// A value as one of the domain: converted to its base type, and checked when it is computed.
    pub(super) fn cast_to_domain(
        &mut self,
        value: ScalarExpr,
        rule: Arc<DomainRule>,
        span: Span,
    ) -> Result<ScalarExpr> {
        let base = rule.base;
        let arg = self.coerce_explicit(value, base, span)?;
        Ok(ScalarExpr::new(ExprKind::Domain { arg: Box::new(arg), rule }, base))
    }
}
