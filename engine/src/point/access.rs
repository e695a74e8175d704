//! How a short statement finds its rows: the columns of an index that its condition pins.
//!
//! Invariants:
//! 1. The rows found are a superset of those that the condition accepts; the condition is evaluated on each of them
//!    unless [`PointAccess::exact`].
//! 2. Key values name no columns and call nothing volatile, so they are the same for every row.

use std::ops::Bound;
use std::sync::Arc;

use crate::catalog::{IndexDef, Oid, TableDef};
use crate::error::Result;
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::expr_eval::{NoColumns, eval};
use crate::functions::{EvalContext, Volatility};
use crate::session::Session;
use crate::session::settings::Methods;
use crate::sql::Scope;
use crate::sql::rel::{Scan, SortKey};
use crate::storage::{IndexRange, RowKey, Table};
use crate::system::deparse::quote_ident;
use crate::system::expression::{self, Names, Style};
use crate::txn::RowImage;
use crate::types::compare::compare;
use crate::types::text::FormatSettings;
use crate::types::{Datum, PgType, TypeOid};

/// Rows above which a lookup is left to the general path.
const ROWS_MAX: usize = 1000;
/// The same when the session discourages reading whole tables (`enable_seqscan`).
const DISCOURAGED_SCAN_ROWS_MAX: usize = 64 * ROWS_MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Eq,
    Lt,
    Le,
    Gt,
    Ge,
}

/// One conjunct `column op value`, or `expression op value`.
struct Pin {
    /// 0: an expression.
    attnum: i16,
    /// As an index stores it.
    expression: String,
    comparison: Comparison,
    value: ScalarExpr,
    conjunct: usize,
}

/// Equalities on the first columns of an index, and perhaps a range on the next one.
#[derive(Debug, Clone)]
pub struct PointAccess {
    index: Oid,
    index_name: String,
    primary: bool,
    unique: bool,
    prefix: Vec<(ScalarExpr, PgType)>,
    lower: Bound<(ScalarExpr, PgType)>,
    upper: Bound<(ScalarExpr, PgType)>,
    /// The index leaves out rows of which the condition does not hold in any case.
    partial: bool,
    /// The query wants no more than the first rows of the index's order (of the reverse order, if true).
    walk: Option<bool>,
    /// The condition is nothing but the key: rows that are found satisfy it.
    pub exact: bool,
    rows_max: usize,
}

/// The key of one row, or rows that an index has.
pub enum Found {
    Key(RowKey),
    Rows(Vec<RowImage>),
    Nothing,
    TooMany,
}

impl PointAccess {
    /// `wanted`: the order in which the query wants its first rows, empty if it wants all of them.
    pub fn choose(
        scan: &Scan,
        filter: Option<&ScalarExpr>,
        wanted: &[SortKey],
        def: &TableDef,
        methods: Methods,
    ) -> Option<PointAccess> {
        if scan.system || (filter.is_none() && wanted.is_empty()) || !methods.index_scan {
            return None;
        }
        let mut conjuncts = Vec::new();
        if let Some(filter) = filter {
            flatten(filter, &mut conjuncts);
        }
        let attribute = |id: ColumnId| scan.columns.iter().find(|c| c.output.id == id).map(|c| c.attnum);
        let mut pins: Vec<Pin> = conjuncts.iter().enumerate().filter_map(|(i, c)| pin(c, i, &attribute, def)).collect();
        let computed = def.indexes.iter().any(|i| i.computed.is_some());
        let names = RowNames { attribute: &attribute, def };
        if computed {
            pins.extend(conjuncts.iter().enumerate().filter_map(|(i, c)| expression_pin(c, i, &names)));
        }
        let usable = def.indexes.iter().filter(|index| index.is_ordered() && implied(index, &conjuncts, &names));
        let order = Order { keys: wanted, attribute: &attribute };
        let candidates = usable.filter_map(|index| Self::over(index, &pins, &order, def, conjuncts.len(), methods));
        candidates.max_by_key(|a| (a.primary, a.unique && a.is_point(def), a.prefix.len(), a.walk.is_some(), a.partial))
    }

    fn over(
        index: &IndexDef,
        pins: &[Pin],
        order: &Order<'_>,
        def: &TableDef,
        conjuncts: usize,
        methods: Methods,
    ) -> Option<PointAccess> {
        let mut prefix = Vec::new();
        let mut lower = Bound::Unbounded;
        let mut upper = Bound::Unbounded;
        let mut used = Vec::new();
        let mut bounds = 0;
        for column in &index.columns {
            let ty = match &column.expression {
                Some(expression) => expression.ty,
                None => def.attribute(column.attnum)?.ty,
            };
            let text = column.expression.as_ref().map_or("", |e| &e.text);
            let mine =
                |p: &&Pin| p.attnum == column.attnum && p.expression == text && same_family(ty.oid, p.value.ty.oid);
            let equal = pins.iter().find(|p| mine(p) && p.comparison == Comparison::Eq);
            if let Some(pin) = equal {
                prefix.push((pin.value.clone(), ty));
                used.push(pin.conjunct);
                continue;
            }
            for pin in pins.iter().filter(mine) {
                let value = (pin.value.clone(), ty);
                bounds += 1;
                match pin.comparison {
                    Comparison::Gt => lower = Bound::Excluded(value),
                    Comparison::Ge => lower = Bound::Included(value),
                    Comparison::Lt => upper = Bound::Excluded(value),
                    Comparison::Le => upper = Bound::Included(value),
                    Comparison::Eq => {}
                }
            }
            break;
        }
        let whole = prefix.len() == index.columns.len();
        let sides = [&lower, &upper].into_iter().filter(|side| !matches!(side, Bound::Unbounded)).count();
        // Rows that a part of the condition would leave out must not count as the first ones.
        let complete = used.len() + sides == conjuncts && bounds == sides;
        let walk = if complete { order.along(index, prefix.len(), def) } else { None };
        // The order of the primary key is built when it is first asked for, which one open end is not worth. Of a partial
        // index all may be wanted.
        let narrow = match index.is_key() {
            true => !prefix.is_empty() || sides == 2 || (sides == 1 && !methods.full_scan),
            false => !prefix.is_empty() || sides > 0 || index.predicate.is_some(),
        };
        if !narrow && walk.is_none() {
            return None;
        }
        Some(PointAccess {
            index: index.oid,
            index_name: index.name.clone(),
            primary: index.is_key() && whole,
            unique: index.unique,
            partial: index.predicate.is_some(),
            walk,
            exact: whole && used.len() == conjuncts,
            rows_max: if methods.full_scan { ROWS_MAX } else { DISCOURAGED_SCAN_ROWS_MAX },
            prefix,
            lower,
            upper,
        })
    }

    fn is_point(&self, def: &TableDef) -> bool {
        def.index(self.index).is_some_and(|i| i.columns.len() == self.prefix.len())
    }

    /// Whether the rows come in the order of the query, so that its limit may be told to [`Self::find`].
    pub fn is_walk(&self) -> bool {
        self.walk.is_some()
    }

    /// Whether it names one row by its key, without reading anything.
    pub fn is_primary(&self) -> bool {
        self.primary
    }

    pub fn explain(&self, def: &TableDef) -> Vec<String> {
        let what = match (self.primary, self.is_point(def)) {
            (true, _) => "primary key lookup",
            (false, true) => "index lookup",
            (false, false) if self.is_walk() => "index order",
            (false, false) => "index range",
        };
        vec![format!("Point path: {what} using {} on {}", self.index_name, def.name)]
    }

    /// What the index has for these parameters; no more than `limit` rows if [`Self::is_walk`].
    pub fn find(
        &self,
        session: &mut Session,
        table: &Arc<Table>,
        params: &[Datum],
        context: &EvalContext,
        limit: usize,
    ) -> Result<Found> {
        let mut prefix = Vec::with_capacity(self.prefix.len());
        for (expr, ty) in &self.prefix {
            match key_value(expr, *ty, params, context)? {
                Key::Value(value) => prefix.push(value),
                Key::Never => return Ok(Found::Nothing),
                Key::Unfit => return Ok(Found::TooMany),
            }
        }
        if self.primary {
            table.store.activity.key_lookups.add(1);
            return Ok(table.key(&prefix).map_or(Found::Nothing, Found::Key));
        }
        if !table.is_ordered(self.index) {
            return Ok(Found::TooMany);
        }
        let (Some(lower), Some(upper)) = (bound(&self.lower, params, context)?, bound(&self.upper, params, context)?)
        else {
            return Ok(Found::TooMany);
        };
        let range = IndexRange { prefix, lower, upper, reverse: self.walk.unwrap_or(false) };
        let limit = if self.is_walk() { limit.min(self.rows_max + 1) } else { self.rows_max + 1 };
        let rows = session.transaction()?.lookup(table, self.index, &range, limit)?;
        Ok(if rows.len() > self.rows_max { Found::TooMany } else { Found::Rows(rows) })
    }
}

/// The order in which a query wants its first rows.
struct Order<'a> {
    keys: &'a [SortKey],
    attribute: &'a dyn Fn(ColumnId) -> Option<i16>,
}

impl Order<'_> {
    /// Whether a walk along an index gives the order, its first `pinned` columns being equal everywhere: whether it goes
    /// backwards.
    fn along(&self, index: &IndexDef, pinned: usize, def: &TableDef) -> Option<bool> {
        let mut reverse = None;
        let mut next = index.columns.get(pinned..)?.iter();
        for key in self.keys {
            let ExprKind::Column { id, depth: 0 } = &key.expr.kind else { return None };
            let attnum = (self.attribute)(*id)?;
            if index.columns.iter().take(pinned).any(|c| c.attnum == attnum) {
                continue;
            }
            let column = next.next().filter(|c| c.attnum == attnum)?;
            let attribute = def.attribute(attnum)?;
            let backwards = key.descending != column.descending;
            let nulls_fit = attribute.not_null || key.nulls_first == (column.nulls_first != backwards);
            if !walks_in_order(attribute.ty.oid) || !nulls_fit || *reverse.get_or_insert(backwards) != backwards {
                return None;
            }
        }
        reverse
    }
}

/// Types whose values an index has in the order of ORDER BY.
fn walks_in_order(ty: TypeOid) -> bool {
    matches!(
        ty,
        TypeOid::INT2
            | TypeOid::INT4
            | TypeOid::INT8
            | TypeOid::OID
            | TypeOid::TEXT
            | TypeOid::VARCHAR
            | TypeOid::NAME
            | TypeOid::UUID
            | TypeOid::DATE
            | TypeOid::TIME
            | TypeOid::TIMESTAMP
            | TypeOid::TIMESTAMPTZ
            | TypeOid::NUMERIC
            | TypeOid::BOOL
    )
}

enum Key {
    Value(Datum),
    /// NULL, or a number that the column can't hold: equal to nothing.
    Never,
    /// Of another family than the column: not for this path.
    Unfit,
}

fn key_value(expr: &ScalarExpr, ty: PgType, params: &[Datum], context: &EvalContext) -> Result<Key> {
    let value = match &expr.kind {
        ExprKind::Param(i) => params.get(*i).cloned().unwrap_or(Datum::Null),
        ExprKind::Const(value) => value.clone(),
        _ => eval(expr, &NoColumns, params, context)?,
    };
    Ok(fit(value, ty))
}

/// A value as the column's own type.
fn fit(value: Datum, ty: PgType) -> Key {
    let number = match &value {
        Datum::Null => return Key::Never,
        Datum::Int2(n) => Some(i64::from(*n)),
        Datum::Int4(n) => Some(i64::from(*n)),
        Datum::Int8(n) => Some(*n),
        _ => None,
    };
    let fitted = match (number, ty.oid) {
        (Some(n), TypeOid::INT2) => i16::try_from(n).ok().map(Datum::Int2),
        (Some(n), TypeOid::INT4) => i32::try_from(n).ok().map(Datum::Int4),
        (Some(n), TypeOid::INT8) => Some(Datum::Int8(n)),
        (Some(_), _) => return Key::Unfit,
        (None, _) => Some(value),
    };
    fitted.map_or(Key::Never, Key::Value)
}

/// `None` when the bound is not for this path.
fn bound(bound: &Bound<(ScalarExpr, PgType)>, params: &[Datum], context: &EvalContext) -> Result<Option<Bound<Datum>>> {
    let value = |(expr, ty): &(ScalarExpr, PgType)| {
        key_value(expr, *ty, params, context).map(|key| match key {
            Key::Value(value) => Some(value),
            _ => None,
        })
    };
    Ok(match bound {
        Bound::Unbounded => Some(Bound::Unbounded),
        Bound::Included(e) => value(e)?.map(Bound::Included),
        Bound::Excluded(e) => value(e)?.map(Bound::Excluded),
    })
}

fn flatten<'a>(expr: &'a ScalarExpr, out: &mut Vec<&'a ScalarExpr>) {
    match &expr.kind {
        ExprKind::And(list) => list.iter().for_each(|e| flatten(e, out)),
        _ => out.push(expr),
    }
}

/// `column op value` or `value op column`, of one type family.
fn pin(expr: &ScalarExpr, conjunct: usize, attribute: &dyn Fn(ColumnId) -> Option<i16>, def: &TableDef) -> Option<Pin> {
    let ExprKind::Call { function, args } = &expr.kind else { return None };
    let [left, right] = args.as_slice() else { return None };
    let comparison = comparison_of(function.name)?;
    let (column, value, comparison) = match (plain_column(left), plain_column(right)) {
        (Some(column), None) => (column, right, comparison),
        (None, Some(column)) => (column, left, flip(comparison)),
        _ => return None,
    };
    let attnum = attribute(column)?;
    let ty = def.attribute(attnum)?.ty;
    if !is_constant(value) || !same_family(ty.oid, value.ty.oid) {
        return None;
    }
    Some(Pin { attnum, expression: String::new(), comparison, value: value.clone(), conjunct })
}

/// A column, seen through casts that leave the value as it is.
fn plain_column(expr: &ScalarExpr) -> Option<ColumnId> {
    match &expr.kind {
        ExprKind::Column { id, depth: 0 } => Some(*id),
        ExprKind::Cast(cast) if cast.arg.ty.oid == TypeOid::VARCHAR && cast.to.oid == TypeOid::TEXT => {
            plain_column(&cast.arg)
        }
        _ => None,
    }
}

fn same_family(a: TypeOid, b: TypeOid) -> bool {
    let family = |t: TypeOid| match t {
        TypeOid::INT2 | TypeOid::INT4 | TypeOid::INT8 => TypeOid::INT8,
        TypeOid::VARCHAR => TypeOid::TEXT,
        t => t,
    };
    family(a) == family(b)
}

fn flip(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Eq => Comparison::Eq,
        Comparison::Lt => Comparison::Gt,
        Comparison::Le => Comparison::Ge,
        Comparison::Gt => Comparison::Lt,
        Comparison::Ge => Comparison::Le,
    }
}

/// The comparison that a function of pg_proc computes, for the types whose index order is the comparison's.
fn comparison_of(name: &str) -> Option<Comparison> {
    const TYPES: &[&str] = &[
        "int2",
        "int4",
        "int8",
        "int24",
        "int42",
        "int28",
        "int82",
        "int48",
        "int84",
        "text",
        "bpchar",
        "bool",
        "bytea",
        "oid",
        "char",
        "name",
        "uuid_",
        "date_",
        "time_",
        "timestamp_",
        "timestamptz_",
        "numeric_",
        "text_",
    ];
    let (stem, comparison) = [
        ("eq", Comparison::Eq),
        ("lt", Comparison::Lt),
        ("le", Comparison::Le),
        ("gt", Comparison::Gt),
        ("ge", Comparison::Ge),
    ]
    .into_iter()
    .find_map(|(suffix, comparison)| Some((name.strip_suffix(suffix)?, comparison)))?;
    TYPES.contains(&stem).then_some(comparison)
}

/// `expression op value`, for indexes on expressions.
fn expression_pin(expr: &ScalarExpr, conjunct: usize, names: &RowNames<'_>) -> Option<Pin> {
    let ExprKind::Call { function, args } = &expr.kind else { return None };
    let [left, right] = args.as_slice() else { return None };
    let comparison = comparison_of(function.name)?;
    let (side, value, comparison) = match (is_constant(left), is_constant(right)) {
        (false, true) => (left, right, comparison),
        (true, false) => (right, left, flip(comparison)),
        _ => return None,
    };
    let side = uncast(side);
    if matches!(side.kind, ExprKind::Column { .. }) {
        return None;
    }
    let expression = names.text(side)?;
    Some(Pin { attnum: 0, expression, comparison, value: value.clone(), conjunct })
}

/// Without a cast that leaves the value as it is.
fn uncast(expr: &ScalarExpr) -> &ScalarExpr {
    match &expr.kind {
        ExprKind::Cast(cast)
            if cast.arg.ty.oid == TypeOid::VARCHAR && cast.to.oid == TypeOid::TEXT && !cast.explicit =>
        {
            &cast.arg
        }
        _ => crate::functions::collation::uncollated(expr).map_or(expr, uncast),
    }
}

/// What a statement's expressions call the columns of its table: as stored definitions do.
struct RowNames<'a> {
    attribute: &'a dyn Fn(ColumnId) -> Option<i16>,
    def: &'a TableDef,
}

impl Names for RowNames<'_> {
    fn column(&self, id: ColumnId) -> Option<String> {
        Some(quote_ident(&self.def.attribute((self.attribute)(id)?)?.name))
    }
}

impl RowNames<'_> {
    /// The text that a definition would have; `None` for an expression that none could hold.
    fn text(&self, expr: &ScalarExpr) -> Option<String> {
        let style = Style { layout: expression::Layout::Stored, format: &FormatSettings::default(), indent: 0 };
        expression::write(expr, self, style, false).ok()
    }
}

/// Whether an index has every row that a condition accepts: it is not partial, or each part of its predicate follows from
/// a part of the condition.
fn implied(index: &IndexDef, conjuncts: &[&ScalarExpr], names: &RowNames<'_>) -> bool {
    if index.predicate.is_none() {
        return true;
    }
    let Some(predicate) = index.computed.as_ref().and_then(|c| c.predicate.as_ref()) else { return false };
    let Ok(bound) = &predicate.expr else { return false };
    let attribute = |id: ColumnId| predicate.attribute_of(id);
    let own = RowNames { attribute: &attribute, def: names.def };
    let mut parts = Vec::new();
    flatten(bound, &mut parts);
    parts.into_iter().all(|part| conjuncts.iter().any(|known| follows(part, &own, known, names)))
}

/// Whether `part` of a predicate is true wherever `known` is.
fn follows(part: &ScalarExpr, own: &RowNames<'_>, known: &ScalarExpr, names: &RowNames<'_>) -> bool {
    let (part, known) = (plain_condition(part), plain_condition(known));
    let (Some(text), Some(known_text)) = (own.text(&part), names.text(&known)) else {
        return follows_by_value(&part, own, &known, names);
    };
    text == known_text || follows_by_value(&part, own, &known, names)
}

/// `a = true` and `a IS TRUE` as `a`, `a = false` and `a IS FALSE` as `NOT a`.
fn plain_condition(expr: &ScalarExpr) -> ScalarExpr {
    let not = |arg: &ScalarExpr| ScalarExpr::new(ExprKind::Not(Box::new(arg.clone())), TypeOid::BOOL);
    match &expr.kind {
        ExprKind::Call { function, args } if function.name == "booleq" => match args.as_slice() {
            [arg, ScalarExpr { kind: ExprKind::Const(Datum::Bool(value)), .. }]
            | [ScalarExpr { kind: ExprKind::Const(Datum::Bool(value)), .. }, arg] => {
                if *value {
                    arg.clone()
                } else {
                    not(arg)
                }
            }
            _ => expr.clone(),
        },
        ExprKind::IsBool { arg, value: Some(value), negated: false } => {
            if *value {
                (**arg).clone()
            } else {
                not(arg)
            }
        }
        _ => expr.clone(),
    }
}

/// NOT NULL follows from any strict comparison, a membership from an equality, a range from a narrower one.
fn follows_by_value(part: &ScalarExpr, own: &RowNames<'_>, known: &ScalarExpr, names: &RowNames<'_>) -> bool {
    let compared = comparison(known);
    let sides = |known: &ScalarExpr| -> Vec<String> {
        match &known.kind {
            ExprKind::Call { function, args } if function.strict => {
                args.iter().filter_map(|a| names.text(uncast(a))).collect()
            }
            ExprKind::InList { arg, negated: false, .. } => names.text(uncast(arg)).into_iter().collect(),
            _ => Vec::new(),
        }
    };
    match &part.kind {
        ExprKind::IsNull { arg, negated: true } => {
            own.text(uncast(arg)).is_some_and(|text| sides(known).contains(&text))
        }
        ExprKind::InList { arg, list, negated: false } => match compared {
            Some((side, Comparison::Eq, value)) => {
                let same =
                    own.text(uncast(arg)).is_some_and(|text| names.text(uncast(side)).is_some_and(|t| t == text));
                same && list.iter().any(|item| matches!(&item.kind, ExprKind::Const(d) if d == value))
            }
            _ => false,
        },
        _ => match (comparison(part), compared) {
            (Some((side, wanted, bound)), Some((known_side, given, value))) => {
                let ty = side.ty;
                let same = own.text(uncast(side)).is_some_and(|text| names.text(uncast(known_side)) == Some(text));
                same && std::mem::discriminant(bound) == std::mem::discriminant(value)
                    && range_follows(wanted, given, compare(value, bound, ty))
            }
            _ => false,
        },
    }
}

/// Whether `x wanted bound` follows from `x given value`, `order` being that of value and bound.
fn range_follows(wanted: Comparison, given: Comparison, order: std::cmp::Ordering) -> bool {
    use Comparison::{Eq, Ge, Gt, Le, Lt};
    match (wanted, given) {
        (Eq, Eq) => order.is_eq(),
        (Gt, Gt) => order.is_ge(),
        (Gt, Ge | Eq) => order.is_gt(),
        (Ge, Gt | Ge | Eq) => order.is_ge(),
        (Lt, Lt) => order.is_le(),
        (Lt, Le | Eq) => order.is_lt(),
        (Le, Lt | Le | Eq) => order.is_le(),
        _ => false,
    }
}

/// `side op constant`.
fn comparison(expr: &ScalarExpr) -> Option<(&ScalarExpr, Comparison, &Datum)> {
    let ExprKind::Call { function, args } = &expr.kind else { return None };
    let [left, right] = args.as_slice() else { return None };
    let op = comparison_of(function.name)?;
    match (&left.kind, &right.kind) {
        (_, ExprKind::Const(value)) if !value.is_null() => Some((left, op, value)),
        (ExprKind::Const(value), _) if !value.is_null() => Some((right, flip(op), value)),
        _ => None,
    }
}

/// Whether the rows that `condition` accepts are all in an index; both over the same table, the condition over `scope`.
pub fn covers(index: &IndexDef, condition: Option<&ScalarExpr>, scope: &Scope, def: &TableDef) -> bool {
    let attribute = |id: ColumnId| scope.attribute_of(id);
    let names = RowNames { attribute: &attribute, def };
    let mut conjuncts = Vec::new();
    condition.into_iter().for_each(|c| flatten(c, &mut conjuncts));
    implied(index, &conjuncts, &names)
}

/// Whether an expression has one value for the whole statement.
pub fn is_constant(expr: &ScalarExpr) -> bool {
    fn walk(expr: &mut ScalarExpr) -> bool {
        let own = match &expr.kind {
            ExprKind::Column { .. } | ExprKind::Query(_) => false,
            ExprKind::Call { function, .. } => {
                function.volatility != Volatility::Volatile && !crate::dml::sequence::is_session_call(function)
            }
            _ => true,
        };
        own && crate::dml::sequence::children(&mut expr.kind).into_iter().all(walk)
    }
    walk(&mut expr.clone())
}
