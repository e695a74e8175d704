//! Users' aggregates: the rows are collected by `array_agg`, and folded here, where the array is a value of a row.
//!
//! Invariant: the expressions of a rule name columns alone: the state is column 0, the arguments of a row those from 1 on.

use crate::catalog::Oid;
use crate::error::{Error, Result};
use crate::expr::{ColumnId, ScalarExpr};
use crate::expr_eval::{ColumnSource, NoColumns, eval};
use crate::functions::EvalContext;
use crate::types::{Datum, PgType, record};

/// The state and what is given.
struct Given(Vec<Datum>);

impl ColumnSource for Given {
    fn column(&self, id: ColumnId) -> Option<Datum> {
        self.0.get(id.0 as usize).cloned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct FoldRule {
    /// In pg_proc.
    pub oid: Oid,
    /// Name and arguments: for showing the call.
    pub schema: String,
    pub name: String,
    pub arguments: usize,
    /// Each member of the array is a row of the arguments, not the argument itself.
    pub in_rows: bool,
    pub initial: ScalarExpr,
    pub transition: ScalarExpr,
    /// Not called for rows with a NULL; the first row without one is the state if there is no initial one.
    pub transition_strict: bool,
    pub finish: Option<ScalarExpr>,
    pub finish_strict: bool,
    pub result: PgType,
}

impl FoldRule {
    /// The aggregate of the rows in an array; NULL stands for none.
    pub fn fold(&self, rows: &Datum, context: &EvalContext) -> Result<Datum> {
        let mut state = eval(&self.initial, &NoColumns, &[], context)?;
        let mut begun = !self.transition_strict || !state.is_null();
        let items = match rows {
            Datum::Array(items) => Some(items),
            _ => None,
        };
        for item in items.into_iter().flat_map(|items| items.iter()) {
            let args = self.arguments_of(item)?;
            if self.transition_strict {
                if args.iter().any(Datum::is_null) {
                    continue;
                }
                if !begun {
                    state = args.into_iter().next().unwrap_or(Datum::Null);
                    begun = true;
                    continue;
                }
                if state.is_null() {
                    continue;
                }
            }
            let given = Given(std::iter::once(state).chain(args).collect());
            state = eval(&self.transition, &given, &[], context)?;
        }
        match &self.finish {
            None => Ok(state),
            Some(_) if self.finish_strict && state.is_null() => Ok(Datum::Null),
            Some(finish) => {
                let extra = std::iter::repeat_n(Datum::Null, self.arguments);
                let given = Given(std::iter::once(state).chain(extra).collect());
                eval(finish, &given, &[], context)
            }
        }
    }

    fn arguments_of(&self, item: &Datum) -> Result<Vec<Datum>> {
        if self.arguments == 0 {
            return Ok(Vec::new());
        }
        match item {
            Datum::Bytea(row) if self.in_rows => {
                Ok(record::decode(row)?.fields.into_iter().map(|field| field.value).collect())
            }
            _ if self.in_rows => Err(Error::internal("the arguments of an aggregate that are no row")),
            item => Ok(vec![item.clone()]),
        }
    }
}
