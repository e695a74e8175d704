//! Nodes of a walk that gather rows before they push them: order, groups, numbers, duplicates.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::{Emit, INT8, Walk};
use crate::error::{Result, SqlState};
use crate::expr::{ColumnId, ScalarExpr};
use crate::query::lower::row_count_of;
use crate::sql::rel::{Aggregate, Output, Rel, SetCall, SortKey, WindowCall};
use crate::types::compare::{compare, encode_key};
use crate::types::{Datum, PgType, TypeOid};

/// Whether an aggregate is computed here.
pub(super) fn can_aggregate(call: &Aggregate) -> bool {
    let first = call.args.first().map(|a| a.ty.oid);
    match call.function.name {
        "count" | "bool_and" | "bool_or" | "every" => true,
        "min" | "max" => first.is_some_and(|ty| ty.element().is_none() && !ty.is_row()),
        "string_agg" => first == Some(TypeOid::TEXT),
        "array_agg" => first.is_some_and(|ty| ty.element().is_none()),
        _ => false,
    }
}

fn ids(outputs: &[Output]) -> Vec<ColumnId> {
    outputs.iter().map(|o| o.id).collect()
}

/// Bytes that are equal when the values are.
fn identity(values: &[Datum], types: impl Iterator<Item = PgType>) -> Vec<u8> {
    let mut key = Vec::with_capacity(values.len() * 8);
    values.iter().zip(types).for_each(|(value, ty)| encode_key(value, ty, &mut key));
    key
}

fn order(a: &[Datum], b: &[Datum], keys: &[SortKey]) -> Ordering {
    let one = |((a, b), key): ((&Datum, &Datum), &SortKey)| match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) => {
            if key.nulls_first {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (false, true) => {
            if key.nulls_first {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (false, false) if key.descending => compare(b, a, key.expr.ty),
        (false, false) => compare(a, b, key.expr.ty),
    };
    a.iter().zip(b).zip(keys).map(one).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

/// The arguments of an aggregate on one row, with the keys of its order.
type Given = (Vec<Datum>, Vec<Datum>);

/// One group: its values, and for each aggregate its arguments with the keys of its order.
struct Group {
    values: Vec<Datum>,
    calls: Vec<Vec<Given>>,
}

impl Walk<'_> {
    /// The columns of a node that something names.
    fn carried(&self, rel: &Rel) -> Vec<ColumnId> {
        rel.outputs().iter().map(|o| o.id).filter(|id| self.named.contains(id)).collect()
    }

    fn keys(&self, keys: &[SortKey]) -> Result<Vec<Datum>> {
        keys.iter().map(|key| self.value(&key.expr)).collect()
    }

    pub(super) fn sorted(&self, input: &Rel, keys: &[SortKey], emit: &mut Emit<'_>) -> Result<bool> {
        let columns = self.carried(input);
        let mut rows = Vec::new();
        self.run(input, &mut || {
            rows.push((self.keys(keys)?, self.take(&columns)));
            Ok(true)
        })?;
        rows.sort_by(|(a, _), (b, _)| order(a, b, keys));
        for (_, row) in rows {
            self.put(&columns, row);
            if !emit()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn limited(
        &self,
        input: &Rel,
        offset: Option<&ScalarExpr>,
        count: Option<&ScalarExpr>,
        emit: &mut Emit<'_>,
    ) -> Result<bool> {
        let number = |expr: Option<&ScalarExpr>, clause, state| match expr {
            None => Ok(None),
            Some(expr) => row_count_of(self.value(expr)?, clause, state),
        };
        let offset = number(offset, "OFFSET", SqlState::InvalidRowCountInOffsetClause)?;
        let count = number(count, "LIMIT", SqlState::InvalidRowCountInLimitClause)?;
        let (mut skip, mut room) = (offset.unwrap_or(0), count.unwrap_or(i64::MAX));
        if room == 0 {
            return Ok(true);
        }
        let mut wanted = true;
        self.run(input, &mut || {
            if skip > 0 {
                skip -= 1;
                return Ok(true);
            }
            wanted = emit()?;
            room -= 1;
            Ok(wanted && room > 0)
        })?;
        Ok(wanted)
    }

    pub(super) fn distinct(&self, input: &Rel, emit: &mut Emit<'_>) -> Result<bool> {
        let outputs = input.outputs();
        let columns = ids(&outputs);
        let mut seen = HashSet::new();
        self.run(input, &mut || {
            let new = seen.insert(identity(&self.take(&columns), outputs.iter().map(|o| o.ty)));
            if new { emit() } else { Ok(true) }
        })
    }

    pub(super) fn union(
        &self,
        all: bool,
        left: (&Rel, &[ColumnId]),
        right: (&Rel, &[ColumnId]),
        outputs: &[Output],
        emit: &mut Emit<'_>,
    ) -> Result<bool> {
        let columns = ids(outputs);
        let mut seen = HashSet::new();
        for (rel, from) in [left, right] {
            let more = self.run(rel, &mut || {
                let row = self.take(from);
                if !all && !seen.insert(identity(&row, outputs.iter().map(|o| o.ty))) {
                    return Ok(true);
                }
                self.put(&columns, row);
                emit()
            })?;
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn numbered(&self, input: &Rel, calls: &[(ColumnId, WindowCall)], emit: &mut Emit<'_>) -> Result<bool> {
        let columns = self.carried(input);
        let mut rows = Vec::new();
        let mut places: Vec<Vec<(Vec<u8>, Vec<Datum>)>> = vec![Vec::new(); calls.len()];
        self.run(input, &mut || {
            for ((_, call), places) in calls.iter().zip(&mut places) {
                let parts = call.partition_by.iter().map(|e| self.value(e)).collect::<Result<Vec<_>>>()?;
                let part = identity(&parts, call.partition_by.iter().map(|e| e.ty));
                places.push((part, self.keys(&call.order_by)?));
            }
            rows.push((self.take(&columns), vec![Datum::Null; calls.len()]));
            Ok(true)
        })?;
        let mut sequence: Vec<usize> = (0..rows.len()).collect();
        for (at, ((_, call), places)) in calls.iter().zip(&places).enumerate() {
            let place = |row: usize| places.get(row).map_or((&[][..], &[][..]), |(part, keys)| (&part[..], &keys[..]));
            sequence.sort_by(|a, b| {
                let ((part_a, keys_a), (part_b, keys_b)) = (place(*a), place(*b));
                part_a.cmp(part_b).then_with(|| order(keys_a, keys_b, &call.order_by))
            });
            let (mut number, mut before) = (0, None);
            for row in &sequence {
                let part = place(*row).0;
                number = if before == Some(part) { number + 1 } else { 1 };
                before = Some(part);
                if let Some(slot) = rows.get_mut(*row).and_then(|(_, numbers)| numbers.get_mut(at)) {
                    *slot = Datum::Int8(number);
                }
            }
        }
        let numbers: Vec<ColumnId> = calls.iter().map(|(id, _)| *id).collect();
        for row in sequence {
            let Some((values, own)) = rows.get_mut(row).map(std::mem::take) else { continue };
            self.put(&columns, values);
            self.put(&numbers, own);
            if !emit()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn aggregated(
        &self,
        input: &Rel,
        groups: &[(ColumnId, ScalarExpr)],
        aggregates: &[(ColumnId, Aggregate)],
        emit: &mut Emit<'_>,
    ) -> Result<bool> {
        let mut found: Vec<Group> = Vec::new();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        if groups.is_empty() {
            found.push(Group { values: Vec::new(), calls: vec![Vec::new(); aggregates.len()] });
            places.insert(Vec::new(), 0);
        }
        self.run(input, &mut || {
            let values = groups.iter().map(|(_, e)| self.value(e)).collect::<Result<Vec<_>>>()?;
            let place = *places.entry(identity(&values, groups.iter().map(|(_, e)| e.ty))).or_insert_with(|| {
                found.push(Group { values, calls: vec![Vec::new(); aggregates.len()] });
                found.len() - 1
            });
            let Some(group) = found.get_mut(place) else { return Ok(true) };
            for ((_, call), rows) in aggregates.iter().zip(&mut group.calls) {
                if call.filter.as_ref().is_none_or(|f| matches!(self.value(f), Ok(Datum::Bool(true)))) {
                    let args = call.args.iter().map(|e| self.value(e)).collect::<Result<Vec<_>>>()?;
                    rows.push((args, self.keys(&call.order_by)?));
                } else if let Some(filter) = &call.filter {
                    self.value(filter)?;
                }
            }
            Ok(true)
        })?;
        for group in found {
            groups.iter().zip(group.values).for_each(|((id, _), value)| self.set(*id, value));
            for ((id, call), rows) in aggregates.iter().zip(group.calls) {
                self.set(*id, aggregate(call, rows));
            }
            if !emit()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn series(&self, calls: &[SetCall], ordinality: Option<ColumnId>, emit: &mut Emit<'_>) -> Result<bool> {
        let mut open = Vec::with_capacity(calls.len());
        for call in calls {
            let args = call.args.iter().map(|e| self.value(e)).collect::<Result<Vec<_>>>()?;
            let types: Vec<PgType> = call.args.iter().map(|e| e.ty).collect();
            let ret = match call.outputs.as_slice() {
                [only] => only.ty,
                _ => TypeOid::RECORD.into(),
            };
            open.push((call, call.function.rows(&self.context.eval, &types, ret, &args)?));
        }
        for number in 1.. {
            self.step()?;
            let mut any = false;
            for (call, rows) in &mut open {
                let row = rows.next().transpose()?;
                any |= row.is_some();
                let row = row.unwrap_or_default().into_iter().chain(std::iter::repeat(Datum::Null));
                call.outputs.iter().zip(row).for_each(|(output, value)| self.set(output.id, value));
            }
            if !any {
                break;
            }
            if let Some(id) = ordinality {
                self.set(id, Datum::Int8(number));
            }
            if !emit()? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn aggregate(call: &Aggregate, mut rows: Vec<Given>) -> Datum {
    rows.sort_by(|(_, a), (_, b)| order(a, b, &call.order_by));
    if call.distinct {
        if call.order_by.is_empty() {
            let types: Vec<PgType> = call.args.iter().map(|a| a.ty).collect();
            let all = |a: &[Datum], b: &[Datum]| {
                let one = |((a, b), ty): ((&Datum, &Datum), &PgType)| compare(a, b, *ty);
                a.iter().zip(b).zip(&types).map(one).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
            };
            rows.sort_by(|(a, _), (b, _)| all(a, b));
        }
        let mut seen = HashSet::new();
        rows.retain(|(args, _)| seen.insert(identity(args, call.args.iter().map(|a| a.ty))));
    }
    let first = |row: &Given| row.0.first().cloned().unwrap_or(Datum::Null);
    let known = || rows.iter().map(first).filter(|value| !value.is_null());
    let ty = call.args.first().map_or(INT8.into(), |a| a.ty);
    match call.function.name {
        "count" if call.args.is_empty() => Datum::Int8(rows.len() as i64),
        "count" => Datum::Int8(known().count() as i64),
        "min" => known().min_by(|a, b| compare(a, b, ty)).unwrap_or(Datum::Null),
        "max" => known().max_by(|a, b| compare(a, b, ty)).unwrap_or(Datum::Null),
        "bool_or" => known().map(|v| v == Datum::Bool(true)).reduce(|a, b| a | b).map_or(Datum::Null, Datum::Bool),
        "bool_and" | "every" => {
            known().map(|v| v == Datum::Bool(true)).reduce(|a, b| a & b).map_or(Datum::Null, Datum::Bool)
        }
        "array_agg" if rows.is_empty() => Datum::Null,
        "array_agg" => Datum::from(rows.iter().map(first).collect::<Vec<_>>()),
        _ => joined(&rows),
    }
}

/// string_agg: each text but the first behind its own delimiter.
fn joined(rows: &[Given]) -> Datum {
    let mut out: Option<String> = None;
    for (args, _) in rows {
        let [Datum::Text(value), rest @ ..] = args.as_slice() else { continue };
        let out = match &mut out {
            None => out.insert(String::new()),
            Some(text) => {
                if let [Datum::Text(delimiter)] = rest {
                    text.push_str(delimiter);
                }
                text
            }
        };
        out.push_str(value);
    }
    out.map_or(Datum::Null, |text| Datum::from(text.as_str()))
}
