//! In which order a walk joins: filters, projections and joins become one pool of pieces, of which the one with the fewest rows
//! comes next, looked up by its keys where a condition gives some.
//!
//! Invariants:
//! 1. A piece comes after those whose columns it names; each condition is evaluated where its last column is set.
//! 2. What an outer join adds filters nothing; so it may come after any inner piece, and conditions on its columns after it.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::{Walk, is_column};
use crate::catalog::Oid;
use crate::error::{Error, Result};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::functions::Function;
use crate::functions::collation::uncollated;
use crate::sql::rel::{JoinKind, QueryExpr, Rel, SetCall};
use crate::system::RowSet;
use crate::types::{Datum, TypeOid};

pub(super) struct Plan {
    /// Conditions that name none of the plan's columns.
    pub before: Vec<ScalarExpr>,
    pub stages: Vec<Stage>,
}

pub(super) struct Stage {
    pub step: Step,
    pub conditions: Vec<ScalarExpr>,
}

pub(super) enum Step {
    /// `relation`: of the system, if some of its columns are figures of the moment.
    Rows {
        rows: Arc<RowSet>,
        columns: Vec<(ColumnId, usize)>,
        relation: Option<Oid>,
        keys: Option<(usize, Keys)>,
    },
    /// Runs again for each row.
    Each(Rel),
    /// Its rows, or NULLs if there are none.
    Outer {
        plan: Plan,
        gives: Vec<ColumnId>,
    },
    Compute(Vec<(ColumnId, ScalarExpr)>),
    Series {
        calls: Vec<SetCall>,
        ordinality: Option<ColumnId>,
    },
}

pub(super) enum Keys {
    One(ScalarExpr),
    List(Vec<ScalarExpr>),
    Array(ScalarExpr),
    /// The expression over the rows of a query.
    Query(Arc<Rel>, ScalarExpr),
}

struct Piece {
    step: Step,
    needs: HashSet<ColumnId>,
    gives: Vec<ColumnId>,
}

#[derive(Default)]
struct Pool {
    pieces: Vec<Piece>,
    conditions: Vec<ScalarExpr>,
    /// Columns that are others under a new name.
    renamed: HashMap<ColumnId, ScalarExpr>,
}

fn named(expr: &ScalarExpr) -> HashSet<ColumnId> {
    let mut found = HashSet::new();
    expr.free_columns(&mut found);
    found
}

impl Pool {
    fn add(&mut self, walk: &Walk<'_>, rel: Rel) -> Result<()> {
        match rel {
            Rel::Unit => {}
            Rel::Filter { input, predicate } => {
                self.conditions.extend(predicate.conjuncts());
                self.add(walk, *input)?;
            }
            Rel::Join { left, right, kind: JoinKind::Inner, condition, .. } => {
                self.conditions.extend(condition.into_iter().flat_map(ScalarExpr::conjuncts));
                self.add(walk, *left)?;
                self.add(walk, *right)?;
            }
            Rel::Join { left, right, kind: JoinKind::Left, condition, .. } => {
                self.add(walk, *left)?;
                self.outer(walk, *right, condition)?;
            }
            Rel::Join { left, right, kind: JoinKind::Right, condition, .. } => {
                self.add(walk, *right)?;
                self.outer(walk, *left, condition)?;
            }
            Rel::Project { input, mut columns } => {
                self.add(walk, *input)?;
                columns.retain(|(id, expr)| !is_column(expr, *id) && walk.named.contains(id));
                let needs = columns.iter().flat_map(|(_, e)| named(e)).collect();
                for (id, expr) in &columns {
                    if let ExprKind::Column { .. } = expr.kind {
                        let mut expr = expr.clone();
                        expr.substitute(&self.renamed);
                        self.renamed.insert(*id, expr);
                    }
                }
                let gives = columns.iter().map(|(id, _)| *id).collect();
                self.pieces.push(Piece { step: Step::Compute(columns), needs, gives });
            }
            Rel::Series { input, calls, ordinality } => {
                self.add(walk, *input)?;
                let needs = calls.iter().flat_map(|c| c.args.iter().flat_map(named)).collect();
                let gives = calls.iter().flat_map(|c| c.outputs.iter().map(|o| o.id)).chain(ordinality).collect();
                self.pieces.push(Piece { step: Step::Series { calls, ordinality }, needs, gives });
            }
            Rel::Scan(scan) => {
                let Some(rows) = walk.context.tables.system_set(scan.table)? else { return Err(walk.give_up()) };
                let columns: Vec<(ColumnId, usize)> = scan
                    .columns
                    .iter()
                    .filter(|c| walk.named.contains(&c.output.id))
                    .map(|c| (c.output.id, usize::try_from(c.attnum - 1).unwrap_or(usize::MAX)))
                    .collect();
                let gives = columns.iter().map(|(id, _)| *id).collect();
                let figures = crate::system::by_oid(scan.table).is_some_and(|r| r.has_figures());
                let step = Step::Rows { rows, columns, relation: figures.then_some(scan.table), keys: None };
                self.pieces.push(Piece { step, needs: HashSet::new(), gives });
            }
            other => {
                let gives: Vec<ColumnId> = other.outputs().iter().map(|o| o.id).collect();
                let mut needs = HashSet::new();
                other.free_columns(&mut needs);
                let step = if needs.is_empty() { walk.kept(other, &gives)? } else { Step::Each(other) };
                self.pieces.push(Piece { step, needs, gives });
            }
        }
        Ok(())
    }

    fn outer(&mut self, walk: &Walk<'_>, rel: Rel, condition: Option<ScalarExpr>) -> Result<()> {
        let gives: Vec<ColumnId> = rel.outputs().iter().map(|o| o.id).collect();
        let conditions: Vec<ScalarExpr> = condition.into_iter().flat_map(ScalarExpr::conjuncts).collect();
        let mut needs: HashSet<ColumnId> = conditions.iter().flat_map(named).collect();
        rel.free_columns(&mut needs);
        gives.iter().for_each(|id| {
            needs.remove(id);
        });
        let plan = Plan::new(walk, rel, conditions)?;
        self.pieces.push(Piece { step: Step::Outer { plan, gives: gives.clone() }, needs, gives });
        Ok(())
    }
}

impl Walk<'_> {
    /// The rows of a tree that names nothing outside, found once.
    fn kept(&self, rel: Rel, gives: &[ColumnId]) -> Result<Step> {
        let gives: Vec<ColumnId> = gives.iter().copied().filter(|id| self.named.contains(id)).collect();
        let rel = Rc::new(rel);
        self.trees.borrow_mut().push(rel.clone());
        let mut columns = vec![Vec::new(); gives.len()];
        let mut count = 0;
        self.run(&rel, &mut || {
            columns
                .iter_mut()
                .zip(self.take(&gives))
                .for_each(|(column, value): (&mut Vec<Datum>, _)| column.push(value));
            count += 1;
            Ok(true)
        })?;
        let places = gives.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        Ok(Step::Rows { rows: Arc::new(RowSet::new(columns, count)), columns: places, relation: None, keys: None })
    }
}

impl Plan {
    pub fn new(walk: &Walk<'_>, rel: Rel, conditions: Vec<ScalarExpr>) -> Result<Plan> {
        let mut pool = Pool { conditions, ..Pool::default() };
        pool.add(walk, rel)?;
        let Pool { mut pieces, mut conditions, renamed } = pool;
        conditions.iter_mut().for_each(|c| c.substitute(&renamed));
        let given: HashSet<ColumnId> = pieces.iter().flat_map(|p| p.gives.iter().copied()).collect();
        let mut open: Vec<(ScalarExpr, HashSet<ColumnId>)> = conditions
            .into_iter()
            .map(|c| {
                let needs = named(&c).intersection(&given).copied().collect();
                (c, needs)
            })
            .collect();
        // Subqueries are looked at last.
        open.sort_by_key(|(c, _)| c.has_subquery());
        let params = &*walk.context.params;
        let mut done = HashSet::new();
        let before = settled(&mut open, &done);
        let mut stages = Vec::with_capacity(pieces.len());
        while !pieces.is_empty() {
            let ready = |p: &Piece| p.needs.iter().all(|id| done.contains(id) || !given.contains(id));
            let best =
                pieces.iter().enumerate().filter(|(_, p)| ready(p)).min_by_key(|(_, p)| cost(p, &open, &done, params));
            let Some(best) = best.map(|(i, _)| i) else {
                return Err(Error::internal("pieces of a walk need one another"));
            };
            let mut piece = pieces.remove(best);
            if let Step::Rows { rows, columns, keys, .. } = &mut piece.step
                && let Some((at, column, found, exact)) = best_keys(rows, columns, &open, &done, params)
            {
                *keys = Some((column, found));
                if exact {
                    open.remove(at);
                }
            }
            done.extend(piece.gives);
            stages.push(Stage { step: piece.step, conditions: settled(&mut open, &done) });
        }
        Ok(Plan { before, stages })
    }
}

type Open = [(ScalarExpr, HashSet<ColumnId>)];

/// Takes the conditions whose columns are all set.
fn settled(open: &mut Vec<(ScalarExpr, HashSet<ColumnId>)>, done: &HashSet<ColumnId>) -> Vec<ScalarExpr> {
    let (now, later): (Vec<_>, Vec<_>) = std::mem::take(open).into_iter().partition(|(_, needs)| needs.is_subset(done));
    *open = later;
    now.into_iter().map(|(c, _)| c).collect()
}

/// Inner pieces come before computed columns and those before outer joins.
fn cost(piece: &Piece, open: &Open, done: &HashSet<ColumnId>, params: &[Datum]) -> (u8, usize) {
    match &piece.step {
        Step::Rows { rows, columns, .. } => match best_keys(rows, columns, open, done, params) {
            Some((_, column, keys, _)) => {
                let several = if let Keys::One(_) = keys { 1 } else { 4 };
                (0, rows.rows_per_key(column) * several)
            }
            None => {
                let own = |needs: &HashSet<ColumnId>| {
                    !needs.is_empty() && needs.iter().all(|id| done.contains(id) || piece.gives.contains(id))
                };
                let filtered = open.iter().any(|(_, needs)| own(needs));
                (0, if filtered { rows.count().div_ceil(3) } else { rows.count() })
            }
        },
        Step::Each(_) => (0, 100),
        Step::Series { .. } => (0, 8),
        Step::Compute(_) => (1, 0),
        Step::Outer { .. } => (2, 0),
    }
}

/// The condition (its index, and whether the look-up is all of it) whose keys leave the fewest rows.
fn best_keys(
    rows: &RowSet,
    columns: &[(ColumnId, usize)],
    open: &Open,
    done: &HashSet<ColumnId>,
    params: &[Datum],
) -> Option<(usize, usize, Keys, bool)> {
    let own: HashMap<ColumnId, usize> = columns.iter().copied().collect();
    let found = open.iter().enumerate().filter_map(|(at, (condition, needs))| {
        // All else that it names is set.
        let mut ours = needs.iter().filter(|id| !done.contains(id));
        let (only, none) = (ours.next()?, ours.next());
        let column = *own.get(only).filter(|_| none.is_none())?;
        let (keys, exact) = keys_of(condition, *only, params)?;
        Some((at, column, keys, exact))
    });
    found.min_by_key(|(_, column, keys, _)| (if let Keys::One(_) = keys { 1 } else { 4 }) * rows.rows_per_key(*column))
}

/// What `id` has to be equal to for the condition to hold; whether that is all that the condition says.
fn keys_of(condition: &ScalarExpr, id: ColumnId, params: &[Datum]) -> Option<(Keys, bool)> {
    match &condition.kind {
        ExprKind::Call { function, args } => {
            let [left, right] = args.as_slice() else { return None };
            let is_ours = |e: &ScalarExpr| column_of(e) == Some(id);
            if compares_keys(function) {
                let other = match (is_ours(left), is_ours(right)) {
                    (true, false) => right,
                    (false, true) => left,
                    _ => return None,
                };
                return (!named(other).contains(&id)).then(|| (Keys::One(other.clone()), true));
            }
            let pattern = match &bare(right).kind {
                ExprKind::Const(pattern) => pattern,
                ExprKind::Param(number) => params.get(*number)?,
                _ => return None,
            };
            let Datum::Text(pattern) = pattern else { return None };
            let literal = is_ours(left).then(|| literal(function, pattern)).flatten()?;
            Some((Keys::One(ScalarExpr::constant(Datum::from(literal), TypeOid::TEXT)), false))
        }
        ExprKind::InList { arg, list, negated: false } => {
            let plain = column_of(arg) == Some(id) && has_keys(arg.ty.oid) && list.iter().all(|e| named(e).is_empty());
            plain.then(|| (Keys::List(list.clone()), true))
        }
        ExprKind::AnyAll { arg, operator, array, all: false } => {
            let plain = column_of(arg) == Some(id) && compares_keys(operator) && !named(array).contains(&id);
            plain.then(|| (Keys::Array((**array).clone()), true))
        }
        ExprKind::Query(query) => {
            let QueryExpr::Quantified { rel, condition, all: false } = &**query else { return None };
            let ExprKind::Call { function, args } = &condition.kind else { return None };
            let [left, right] = args.as_slice() else { return None };
            let mut within = named(right);
            rel.free_columns(&mut within);
            let plain = column_of(left) == Some(id) && compares_keys(function) && !within.contains(&id);
            plain.then(|| (Keys::Query(rel.clone(), right.clone()), true))
        }
        _ => None,
    }
}

/// An expression without its COLLATE: a comparison that minds it is by another function.
fn bare(expr: &ScalarExpr) -> &ScalarExpr {
    uncollated(expr).map_or(expr, bare)
}

/// The column that an expression is, a cast between kinds of text aside.
fn column_of(expr: &ScalarExpr) -> Option<ColumnId> {
    match &bare(expr).kind {
        ExprKind::Column { id, .. } => Some(*id),
        ExprKind::Cast(cast) if cast.to.oid == TypeOid::TEXT && is_text(cast.arg.ty.oid) => column_of(&cast.arg),
        _ => None,
    }
}

fn is_text(ty: TypeOid) -> bool {
    matches!(ty, TypeOid::TEXT | TypeOid::NAME | TypeOid::VARCHAR)
}

fn has_keys(ty: TypeOid) -> bool {
    use TypeOid as T;
    is_text(ty)
        || matches!(
            ty,
            T::OID | T::INT2 | T::INT4 | T::INT8 | T::BOOL | T::CHAR | T::REGCLASS | T::REGTYPE | T::REGPROC
        )
}

/// Equality that [`crate::system::RowKey`] has.
fn compares_keys(function: &Function) -> bool {
    let symbols = "oideq int2eq int4eq int8eq int24eq int42eq int28eq int82eq int48eq int84eq texteq nameeq nameeqtext texteqname \
                   chareq booleq";
    symbols.split(' ').any(|symbol| symbol == function.symbol)
}

/// The only text that a pattern without wildcards matches: `^(text)$` of psql, `text` of LIKE.
fn literal<'p>(function: &Function, pattern: &'p str) -> Option<&'p str> {
    let text = match function.symbol {
        "textregexeq" | "nameregexeq" => pattern.strip_prefix("^(")?.strip_suffix(")$")?,
        "textlike" | "namelike" => pattern,
        _ => return None,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == ' ' || (c == '_' && function.symbol.ends_with("regexeq"));
    (!text.is_empty() && text.chars().all(plain)).then_some(text)
}
