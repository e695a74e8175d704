//! A domain's conditions, bound: what a value must fulfil to be one of the domain. Its values are the base type's. Arrays over
//! domains and rows with fields of them have such rules, too.

use std::sync::Arc;

use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ScalarExpr};
use crate::expr_eval::{ColumnSource, eval};
use crate::functions::EvalContext;
use crate::types::{Datum, PgType, record};

/// The conditions of one domain and of those that it is over.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainRule {
    /// The type's OID in pg_type.
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// As messages name it.
    pub shown: String,
    pub base: PgType,
    pub not_null: bool,
    /// Names and conditions, the base's first; any column in them is VALUE.
    pub checks: Vec<(String, ScalarExpr)>,
    /// What the parts of a value must fulfil; of a type that is no domain it is all there is.
    pub parts: Parts,
}

/// Rules of a value's parts.
#[derive(Debug, Clone, PartialEq)]
pub enum Parts {
    None,
    /// Of each element of an array, NULL too.
    Elements(Arc<DomainRule>),
    /// Of fields of a row.
    Fields(Vec<(usize, Arc<DomainRule>)>),
}

impl Parts {
    fn is_free(&self) -> bool {
        match self {
            Parts::None => true,
            Parts::Elements(rule) => rule.is_free(),
            Parts::Fields(rules) => rules.iter().all(|(_, rule)| rule.is_free()),
        }
    }

    fn check(&self, value: &Datum, context: &EvalContext) -> Result<()> {
        match (self, value) {
            (Parts::Elements(rule), Datum::Array(array)) => array.iter().try_for_each(|e| rule.check(e, context)),
            (Parts::Fields(rules), Datum::Bytea(row)) => {
                let row = record::decode(row)?;
                rules.iter().try_for_each(|(i, rule)| {
                    rule.check(row.fields.get(*i).map_or(&Datum::Null, |field| &field.value), context)
                })
            }
            _ => Ok(()),
        }
    }
}

struct Value<'a>(&'a Datum);

impl ColumnSource for Value<'_> {
    fn column(&self, _: ColumnId) -> Option<Datum> {
        Some(self.0.clone())
    }
}

impl DomainRule {
    /// Whether any value of the base type is one of the domain.
    pub fn is_free(&self) -> bool {
        !self.not_null && self.checks.is_empty() && self.parts.is_free()
    }

    /// 23502 or 23514 for what is no value of the domain.
    pub fn check(&self, value: &Datum, context: &EvalContext) -> Result<()> {
        self.parts.check(value, context)?;
        if self.not_null && value.is_null() {
            let message = format!("domain {} does not allow null values", self.shown);
            return Err(self.named(Error::new(SqlState::NotNullViolation, message)));
        }
        match self.violated(value, context)? {
            None => Ok(()),
            Some(name) => {
                let message = format!("value for domain {} violates check constraint \"{name}\"", self.shown);
                Err(self.named(Error::new(SqlState::CheckViolation, message)).constraint(name))
            }
        }
    }

    /// The first condition that a value does not fulfil.
    pub fn violated(&self, value: &Datum, context: &EvalContext) -> Result<Option<&str>> {
        for (name, check) in &self.checks {
            if eval(check, &Value(value), &[], context)? == Datum::Bool(false) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn named(&self, error: Error) -> Error {
        error.schema(&self.schema).data_type(&self.name)
    }
}
