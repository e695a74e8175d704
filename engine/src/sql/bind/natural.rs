//! NATURAL joins of texts that are kept, with the columns that they merged when they were written.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SetExpr, TableFactor,
    TableWithJoins, Value, VisitorMut,
};

/// Turns NATURAL into USING; by the place in memory of each join's constraint, which has to be where it was bound.
pub(super) struct Spelled<'a>(pub &'a HashMap<usize, Vec<String>>);

impl VisitorMut for Spelled<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.body(&mut query.body);
        ControlFlow::Continue(())
    }
}

impl Spelled<'_> {
    fn body(&self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            // A query in parentheses is visited by itself.
            _ => {}
        }
    }

    fn select(&self, select: &mut Select) {
        select.from.iter_mut().for_each(|item| self.item(item));
    }

    fn item(&self, item: &mut TableWithJoins) {
        self.factor(&mut item.relation);
        for join in &mut item.joins {
            self.factor(&mut join.relation);
            self.join(&mut join.join_operator);
        }
    }

    fn factor(&self, factor: &mut TableFactor) {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            self.item(table_with_joins);
        }
    }

    fn join(&self, operator: &mut JoinOperator) {
        let inner = matches!(operator, JoinOperator::Join(_) | JoinOperator::Inner(_));
        let (JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)) = operator
        else {
            return;
        };
        let Some(names) = self.0.get(&(std::ptr::from_ref(constraint) as usize)) else { return };
        let name = |name: &String| ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]);
        match names.as_slice() {
            [] if inner => *operator = JoinOperator::CrossJoin(JoinConstraint::None),
            [] => *constraint = JoinConstraint::On(Expr::value(Value::Boolean(true))),
            names => *constraint = JoinConstraint::Using(names.iter().map(name).collect()),
        }
    }
}
