//! Where a query of WITH RECURSIVE may name itself: once, in its second term, and not where what it finds could shrink as it
//! finds more (as src/backend/parser/parse_cte.c has it).

use std::ops::ControlFlow;

use sqlparser::ast::{self, JoinOperator, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor, Visit, Visitor};

use super::fold;
use crate::error::{Error, Result, SqlState};
use crate::sql::Source;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Allowed,
    FirstTerm,
    Subquery,
    OuterJoin,
    Intersect,
    Except,
}

impl Place {
    fn shown(self) -> &'static str {
        match self {
            Place::Allowed => "",
            Place::FirstTerm => "its non-recursive term",
            Place::Subquery => "a subquery",
            Place::OuterJoin => "an outer join",
            Place::Intersect => "INTERSECT",
            Place::Except => "EXCEPT",
        }
    }
}

/// 42P19 for a union that does.
pub(super) fn check(
    source: &Source,
    name: &str,
    with: Option<&ast::With>,
    left: &SetExpr,
    right: &SetExpr,
) -> Result<()> {
    let mut walk = Walk { source, name, place: Place::FirstTerm, hidden: Vec::new(), found: 0 };
    walk.body(left)?;
    (walk.place, walk.found) = (Place::Allowed, 0);
    walk.body(right)?;
    walk.place = Place::Subquery;
    with.map_or(Ok(()), |with| with.cte_tables.iter().try_for_each(|cte| walk.query(&cte.query)))
}

struct Walk<'a> {
    source: &'a Source,
    name: &'a str,
    place: Place,
    /// Names that queries of WITH on the way have.
    hidden: Vec<String>,
    found: usize,
}

impl Walk<'_> {
    fn at(&mut self, place: Place, walk: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let outer = std::mem::replace(&mut self.place, place);
        let out = walk(self);
        self.place = outer;
        out
    }

    fn query(&mut self, query: &ast::Query) -> Result<()> {
        let outer = self.hidden.len();
        if let Some(with) = &query.with {
            if with.recursive {
                self.hidden.extend(with.cte_tables.iter().map(|cte| fold(&cte.alias.name)));
            }
            for cte in &with.cte_tables {
                self.query(&cte.query)?;
                self.hidden.push(fold(&cte.alias.name));
            }
        }
        self.body(&query.body)?;
        self.expressions(&query.order_by)?;
        self.expressions(&query.limit_clause)?;
        self.hidden.truncate(outer);
        Ok(())
    }

    fn body(&mut self, body: &SetExpr) -> Result<()> {
        match body {
            SetExpr::Query(query) => self.query(query),
            SetExpr::Select(select) => {
                select.from.iter().try_for_each(|item| self.joined(item))?;
                self.expressions(&ast::Select { from: Vec::new(), ..(**select).clone() })
            }
            SetExpr::Values(values) => self.expressions(values),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let all = matches!(set_quantifier, SetQuantifier::All);
                let (first, second) = match op {
                    _ if self.place != Place::Allowed => (self.place, self.place),
                    SetOperator::Intersect if all => (Place::Intersect, Place::Intersect),
                    SetOperator::Except if all => (Place::Except, Place::Except),
                    SetOperator::Except => (Place::Allowed, Place::Except),
                    _ => (Place::Allowed, Place::Allowed),
                };
                self.at(first, |walk| walk.body(left))?;
                self.at(second, |walk| walk.body(right))
            }
            _ => Ok(()),
        }
    }

    fn joined(&mut self, item: &ast::TableWithJoins) -> Result<()> {
        use JoinOperator as J;
        let leaves_out_right =
            |join: &ast::Join| matches!(join.join_operator, J::Left(_) | J::LeftOuter(_) | J::FullOuter(_));
        let leaves_out_left =
            |join: &ast::Join| matches!(join.join_operator, J::Right(_) | J::RightOuter(_) | J::FullOuter(_));
        let factors = std::iter::once((&item.relation, false));
        let factors = factors.chain(item.joins.iter().map(|join| (&join.relation, leaves_out_right(join))));
        for (at, (factor, nullable)) in factors.enumerate() {
            let nullable = nullable || item.joins.iter().skip(at).any(leaves_out_left);
            let place = if nullable && self.place == Place::Allowed { Place::OuterJoin } else { self.place };
            self.at(place, |walk| walk.factor(factor))?;
        }
        item.joins.iter().try_for_each(|join| self.expressions(&join.join_operator))
    }

    fn factor(&mut self, factor: &TableFactor) -> Result<()> {
        match factor {
            TableFactor::Table { name, args: None, .. } => self.relation(name),
            TableFactor::Table { args: Some(args), .. } => self.expressions(args),
            TableFactor::Function { args, .. } => self.expressions(args),
            TableFactor::Derived { subquery, .. } => self.query(subquery),
            TableFactor::NestedJoin { table_with_joins, .. } => self.joined(table_with_joins),
            other => self.expressions(other),
        }
    }

    /// What is named here stands in subqueries of expressions.
    fn expressions(&mut self, part: &impl Visit) -> Result<()> {
        self.at(Place::Subquery, |walk| match part.visit(walk) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        })
    }

    fn relation(&mut self, name: &ast::ObjectName) -> Result<()> {
        let (name, _) = crate::sql::rewrite::only::split(name);
        let [part] = name.0.as_slice() else { return Ok(()) };
        let own = part.as_ident().is_some_and(|ident| fold(ident) == self.name);
        if !own || self.hidden.iter().any(|hidden| hidden == self.name) {
            return Ok(());
        }
        self.found += 1;
        let place = match self.place {
            Place::Allowed if self.found > 1 => "more than once".to_owned(),
            Place::Allowed => return Ok(()),
            place => format!("within {}", place.shown()),
        };
        let message = format!("recursive reference to query \"{}\" must not appear {place}", self.name);
        Err(self.source.locate(Error::new(SqlState::InvalidRecursion, message), part.span()))
    }
}

impl Visitor for Walk<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Error> {
        let names = query.with.iter().flat_map(|with| &with.cte_tables);
        self.hidden.extend(names.map(|cte| fold(&cte.alias.name)));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Error> {
        let own = query.with.as_ref().map_or(0, |with| with.cte_tables.len());
        self.hidden.truncate(self.hidden.len() - own);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<Error> {
        match self.relation(relation) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}
