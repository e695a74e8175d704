//! Plans that simple queries share which differ in their literals alone.
//!
//! A short statement's literals all become parameters, if each stands where both mean the same ([`is_liftable`]). Of queries over
//! the system catalog, which psql and many tools send by the hundred, those literals become parameters in which two texts were
//! seen to differ; the others stay what they are. Whether that is right is not read off the text: the query is bound both ways,
//! and with the literals put in place of the parameters both trees must be the same one.
//!
//! Invariants:
//! 1. A plan is shared only under the catalog and the settings that it was bound under.
//! 2. Without the literals that are parameters, the texts that share a plan are the same.

use std::sync::{Arc, Weak};

use hashbrown::HashMap;

use super::Session;
use super::plan::{self, CACHE_MAX, Plan, Prepared};
use super::settings::Values;
use crate::catalog::Catalog;
use crate::dml;
use crate::error::Result;
use crate::sql::lift::{self, Lifted, Literal, LiteralSet, is_liftable};
use crate::sql::{BoundQuery, parse};
use crate::system;
use crate::types::Datum;

/// What is known of texts by their key: without their literals.
#[derive(Default)]
pub struct Lifts(HashMap<Box<str>, Shape>);

enum Shape {
    /// A plan of the point path; all literals are parameters.
    Short(Arc<Prepared>),
    /// Bound as it is.
    Own,
    /// The same, until it is known to be a query over the catalog.
    Unknown,
    /// A query over the catalog that ran once.
    Seen(Seen),
    Shared(Shared),
}

impl Shape {
    /// The catalog that it holds.
    fn catalog(&self) -> Option<&Arc<Catalog>> {
        match self {
            Shape::Short(prepared) | Shape::Shared(Shared { prepared, .. }) => Some(&prepared.catalog),
            Shape::Own | Shape::Unknown | Shape::Seen(_) => None,
        }
    }
}

struct Seen {
    literals: Vec<Literal>,
    catalog: Weak<Catalog>,
    values: Arc<Values>,
}

struct Shared {
    prepared: Arc<Prepared>,
    /// The literals that are parameters.
    free: LiteralSet,
    /// Those of the text that it was bound for.
    literals: Vec<Literal>,
}

impl Lifts {
    fn keep(&mut self, key: &str, shape: Shape) {
        // Plans of another catalog are of no use, and would keep it in memory.
        if let Some(catalog) = shape.catalog() {
            self.0.retain(|_, kept| kept.catalog().is_none_or(|of| Arc::ptr_eq(of, catalog)));
        }
        if self.0.len() >= CACHE_MAX {
            self.0.clear();
        }
        self.0.insert(key.into(), shape);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub fn shared(&self) -> usize {
        self.0.values().filter(|shape| matches!(shape, Shape::Shared(_))).count()
    }
}

impl Session {
    /// The plan that a simple query shares, and its literals as the plan's parameters. `None`: it has to be parsed and bound as it
    /// is, which also says what is wrong with it.
    pub(super) fn plan_lifted(&mut self, lifted: &Lifted) -> Option<(Arc<Prepared>, Vec<Datum>)> {
        let catalog = self.catalog();
        let current = |prepared: &Prepared| prepared.is_current(&catalog, self.settings.values());
        let all = |prepared: Arc<Prepared>| (prepared, LiteralSet::ALL);
        let (found, free) = match self.cache.lifted.0.get(lifted.key()) {
            Some(Shape::Short(found)) if current(found) => all(found.clone()),
            Some(Shape::Shared(shared)) => {
                let fits = current(&shared.prepared) && shared.free.includes(lifted.differing(&shared.literals));
                fits.then(|| (shared.prepared.clone(), shared.free))?
            }
            Some(Shape::Own | Shape::Unknown | Shape::Seen(_)) => return None,
            Some(Shape::Short(_)) | None => {
                // An error now, of a table that is not there, say, need not be one the next time.
                let planned = self.plan_without_literals(lifted).ok()?;
                let shape = planned.clone().map_or(Shape::Unknown, Shape::Short);
                self.cache.lifted.keep(lifted.key(), shape);
                all(planned?)
            }
        };
        if self.block.failed && !plan::ends_block(&found.parsed) {
            return None;
        }
        let context = self.eval_context();
        let values = lift::values(lift::chosen(&lifted.literals, free), &found.parameters, &context.format).ok()?;
        Some((found, values))
    }

    fn plan_without_literals(&mut self, lifted: &Lifted) -> Result<Option<Arc<Prepared>>> {
        let Some(parsed) = parse(lifted.text()).ok().and_then(|mut parsed| parsed.pop()) else { return Ok(None) };
        let block = plan::ends_block(&parsed) || plan::begins_block(&parsed);
        if !block && !is_liftable(&parsed.statement, lifted.literals.len()) {
            return Ok(None);
        }
        let prepared = self.plan_unchecked(Arc::new(parsed), lift::types(&lifted.literals))?;
        let short = match &prepared.plan {
            Plan::Query(plan) => plan.point.is_some(),
            Plan::Insert(plan) => matches!(plan.source, dml::insert::Source::Rows(_)),
            Plan::Update(plan) => plan.target.is_point(),
            Plan::Delete(plan) => plan.target.is_point(),
            Plan::Utility => block,
            Plan::Ddl | Plan::Empty | Plan::Merge(_) | Plan::Parts(_) => false,
        };
        // The general path plans by the literals.
        Ok((short && !prepared.names_moment).then_some(prepared))
    }

    /// Takes note of a query that was bound as it is: one over the catalog that comes again is bound for others too.
    pub(super) fn learn(&mut self, lifted: &Lifted, own: &Prepared) {
        let Some(bound) = over_catalog(own) else { return };
        let free = match self.cache.lifted.0.get(lifted.key()) {
            None | Some(Shape::Own | Shape::Short(_)) => return,
            Some(Shape::Shared(shared)) if shared.prepared.is_current(&own.catalog, &own.values) => {
                Some(shared.free.union(lifted.differing(&shared.literals)))
            }
            Some(Shape::Seen(seen)) => {
                let same = std::ptr::eq(seen.catalog.as_ptr(), Arc::as_ptr(&own.catalog))
                    && Arc::ptr_eq(&seen.values, &own.values);
                same.then(|| lifted.differing(&seen.literals))
            }
            Some(Shape::Shared(_) | Shape::Unknown) => None,
        };
        let literals = lifted.literals.to_vec();
        let shape = match free {
            // While the catalog changes all the time, nothing is bound twice.
            None => Shape::Seen(Seen { literals, catalog: Arc::downgrade(&own.catalog), values: own.values.clone() }),
            Some(free) => match self.plan_shared(lifted, free, own, bound) {
                Some(prepared) => Shape::Shared(Shared { prepared, free, literals }),
                None => Shape::Own,
            },
        };
        self.cache.lifted.keep(lifted.key(), shape);
    }

    /// The plan of a query with parameters for some of its literals, if it is the same plan.
    fn plan_shared(
        &mut self,
        lifted: &Lifted,
        free: LiteralSet,
        own: &Prepared,
        bound: &BoundQuery,
    ) -> Option<Arc<Prepared>> {
        // What stays in the text must mean the same at another time.
        let passes = |literal: &Literal| matches!(literal, Literal::Text(text) if lift::names_moment(text));
        if lift::chosen(&lifted.literals, free.complement()).any(passes) || names_own(own) {
            return None;
        }
        let text = lifted.text_without(own.parsed.source.text(), free);
        let parsed = parse(&text).ok()?.pop()?;
        let chosen = || lift::chosen(&lifted.literals, free);
        let prepared = self.plan_counted(Arc::new(parsed), lift::types(chosen()), Some(own.counted.clone())).ok()?;
        let shared = over_catalog(&prepared)?;
        let context = self.eval_context();
        let values = lift::values(chosen(), &prepared.parameters, &context.format).ok()?;
        let mut rel = shared.rel.clone();
        rel.put_parameters(&values);
        let same = rel == bound.rel
            && shared.outputs == bound.outputs
            && shared.columns == bound.columns
            && shared.reads == bound.reads
            && shared.collations == bound.collations
            && shared.domains == bound.domains;
        same.then_some(prepared)
    }
}

/// Whether a text may name a function or a view of a user: what they hold may mean something else at another time.
fn names_own(prepared: &Prepared) -> bool {
    let (text, catalog) = (prepared.parsed.text.to_lowercase(), &prepared.catalog);
    let named = |name: &str| text.contains(&name.to_lowercase());
    catalog.routines.values().any(|routine| named(&routine.name))
        || catalog.views.values().any(|view| named(&view.name))
}

/// The query of a statement that reads the system's relations alone, locks nothing and runs nothing before it.
fn over_catalog(prepared: &Prepared) -> Option<&BoundQuery> {
    let Plan::Query(plan) = &prepared.plan else { return None };
    let bound = &plan.bound;
    let plain = plan.point.is_none()
        && plan.locked_limit.is_none()
        && prepared.denied.is_none()
        && bound.locks.is_empty()
        && bound.locked.is_empty()
        && bound.runs.is_empty();
    let system = !bound.reads.is_empty() && bound.reads.iter().all(|oid| system::by_oid(*oid).is_some());
    (plain && system).then_some(bound)
}
