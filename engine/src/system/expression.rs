//! Bound expressions as text, as `ruleutils.c` of PostgreSQL writes them: what the catalog keeps of DEFAULT and CHECK, and what
//! pg_get_expr and pg_get_constraintdef show of it.
//!
//! Invariant: the text of [`Layout::Stored`] binds to the same expression again.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::deparse::quote_ident;
use crate::catalog::stored_type_name;
use crate::error::{Error, Result};
use crate::expr::{Cast, ColumnId, ExprKind as K, ScalarExpr};
use crate::expr_fold::FoldRule;
use crate::functions::array_shape::{ELEMENT, SLICE};
use crate::functions::collation::{self, Shown};
use crate::functions::range;
use crate::functions::{CastContext, CastPath, Function, Operator, find_cast, registry};
use crate::sql::Scope;
use crate::sql::bind::is_ordered_set;
use crate::sql::rel::{Aggregate, FrameBound, FrameUnits, QueryExpr, Rel, SortKey, WindowCall};
use crate::types::text::{self, FormatSettings};
use crate::types::{Datum, PgType, TypeOid, names as types, user};

/// How an expression is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// For the catalog: on one line, constants of the reg types as numbers, so that a rename does not break them.
    Stored,
    /// Parentheses around everything, as `pg_get_expr(…)` shows it.
    Full,
    /// Parentheses where they are needed, as `pg_get_expr(…, true)` shows it.
    Pretty,
}

/// Columns that CASE is indented by.
const INDENT: usize = 4;

/// What an expression's text calls the things that it names.
pub trait Names {
    fn column(&self, id: ColumnId) -> Option<String>;

    /// `t.*`, if these are the columns of one relation.
    fn whole_row(&self, _: &[ScalarExpr]) -> Option<String> {
        None
    }

    /// The text of a subquery, indented by nothing.
    fn subquery(&self, _: &Arc<Rel>) -> Option<&str> {
        None
    }
}

/// A table's columns, without its name.
impl Names for Scope {
    fn column(&self, id: ColumnId) -> Option<String> {
        let mut columns = self.relations.iter().flat_map(|r| &r.columns);
        columns.find(|c| c.id == id).map(|c| quote_ident(&c.name))
    }
}

/// How and where an expression is written.
#[derive(Clone, Copy)]
pub struct Style<'a> {
    pub layout: Layout,
    /// For constants.
    pub format: &'a FormatSettings,
    /// Columns from the left of what begins a line.
    pub indent: usize,
}

/// The text of an expression. `implicit`: conversions that nobody wrote are shown at the top, too.
pub fn write(expr: &ScalarExpr, names: &dyn Names, style: Style<'_>, implicit: bool) -> Result<String> {
    let Style { layout, format, indent } = style;
    let mut writer = Writer { names, layout, format, indent, out: String::new() };
    writer.write(expr, implicit)?;
    Ok(writer.out)
}

/// Operators by the function that computes them.
static OPERATORS: LazyLock<HashMap<u32, Arc<Operator>>> = LazyLock::new(|| {
    let mut map = HashMap::new();
    for operator in registry().operators() {
        map.entry(operator.function.oid).or_insert_with(|| operator.clone());
    }
    map
});

/// The operator that a call is written with: infix with two arguments, a prefix with one.
fn operator_of(function: &Function, args: usize) -> Option<&'static str> {
    // Called by its name more often than by its operator.
    if function.name == "starts_with" {
        return None;
    }
    let operator = OPERATORS.get(&function.oid)?;
    (args == if operator.left.is_some() { 2 } else { 1 }).then_some(operator.name)
}

/// What stands around an expression, as far as it decides about parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    /// An operator, the argument being its first one or not.
    Operator {
        name: &'static str,
        first: bool,
    },
    And,
    Or,
    Not,
    /// A conversion by a function.
    Conversion,
    /// Any other test, and conversions that call no function.
    Other,
}

struct Writer<'a> {
    names: &'a dyn Names,
    layout: Layout,
    format: &'a FormatSettings,
    indent: usize,
    out: String,
}

impl Writer<'_> {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// A type; stored text has the number of one that a user made.
    fn type_name(&self, ty: PgType) -> String {
        let stored = (self.layout == Layout::Stored).then(|| stored_type_name(ty.oid)).flatten();
        stored.unwrap_or_else(|| types::format_modified(ty))
    }

    /// A parenthesis that only the layouts with all of them have.
    fn full(&mut self, parenthesis: char) {
        if self.layout != Layout::Pretty {
            self.out.push(parenthesis);
        }
    }

    /// A keyword at the beginning of a line.
    fn line(&mut self, word: &str) {
        if self.layout == Layout::Stored {
            self.push(word);
            return;
        }
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', self.indent));
        self.push(word);
    }

    /// `get_rule_expr_paren`: in parentheses where precedence asks for them.
    fn inside(&mut self, expr: &ScalarExpr, implicit: bool, around: Around) -> Result<()> {
        let needed = self.layout == Layout::Pretty && !is_simple(expr, around);
        self.push(if needed { "(" } else { "" });
        self.write(expr, implicit)?;
        self.push(if needed { ")" } else { "" });
        Ok(())
    }

    /// `get_rule_expr`. `implicit`: conversions that nobody wrote are shown.
    fn write(&mut self, expr: &ScalarExpr, implicit: bool) -> Result<()> {
        match &expr.kind {
            K::Const(value) => self.constant(value, expr.ty, true),
            K::Column { id, .. } => {
                let name = self.names.column(*id);
                self.push(&name.ok_or_else(|| Error::internal("a column is not in scope"))?);
            }
            K::Call { function, args } => match collation::shown(function, args) {
                Some(shown) => self.collated(&shown, implicit)?,
                None if expr.ty.oid.user_kind().is_some() && range::is_constructor(function) => {
                    let shown = (self.layout != Layout::Stored).then(|| user::constructor(expr.ty.oid)).flatten();
                    let name = shown.unwrap_or_else(|| self.type_name(expr.ty.oid.into()));
                    self.list(&name, args)?;
                }
                None => self.call(function, args)?,
            },
            K::Cast(cast) => self.cast(cast, implicit)?,
            K::Domain { arg, rule } => {
                self.full('(');
                self.inside(arg, false, Around::Other)?;
                self.full(')');
                self.push("::");
                self.push(&self.type_name(TypeOid(rule.oid).into()));
            }
            K::And(args) => self.joined(args, " AND ", Around::And)?,
            K::Or(args) => self.joined(args, " OR ", Around::Or)?,
            K::Not(arg) => {
                self.full('(');
                self.push("NOT ");
                self.inside(arg, false, Around::Not)?;
                self.full(')');
            }
            K::IsNull { arg, negated } => self.postfix(arg, true, if *negated { "IS NOT NULL" } else { "IS NULL" })?,
            K::IsBool { arg, value, negated } => {
                let what = match value {
                    Some(true) => "TRUE",
                    Some(false) => "FALSE",
                    None => "UNKNOWN",
                };
                self.postfix(arg, false, &format!("IS {}{what}", if *negated { "NOT " } else { "" }))?;
            }
            K::IsDistinct { left, right, negated } => {
                // PostgreSQL knows IS NOT DISTINCT FROM as the negation of the other.
                if *negated {
                    self.full('(');
                    self.push("NOT ");
                }
                self.infix(left, "IS DISTINCT FROM", right)?;
                if *negated {
                    self.full(')');
                }
            }
            K::Case { .. } | K::Row(..) if let Some(star) = self.whole_row(expr) => self.push(&star),
            K::Case { whens, otherwise, simple } => self.case(expr.ty, whens, otherwise.as_deref(), *simple)?,
            K::Coalesce(args) => self.list("COALESCE", args)?,
            K::Greatest(args) => self.list("GREATEST", args)?,
            K::Least(args) => self.list("LEAST", args)?,
            K::Row(args, _) => self.list("ROW", args)?,
            K::NullIf { left, right, .. } => {
                self.push("NULLIF(");
                self.write(left, true)?;
                self.push(", ");
                self.write(right, true)?;
                self.push(")");
            }
            K::InList { arg, list, negated } => self.in_list(arg, list, *negated)?,
            K::AnyAll { arg, operator, array, all } => {
                let name = OPERATORS.get(&operator.oid).map_or("=", |o| o.name);
                self.any_all(name, *all, arg, |w| w.inside(array, true, Around::Other))?;
            }
            K::Array(args) if args.is_empty() => self.push(&format!("ARRAY[]::{}", self.type_name(expr.ty))),
            K::Array(args) => self.array(args)?,
            K::Subscript { array, index } => {
                let plain = matches!(array.kind, K::Column { .. });
                self.push(if plain { "" } else { "(" });
                self.write(array, true)?;
                self.push(if plain { "[" } else { ")[" });
                self.write(index, false)?;
                self.push("]");
            }
            K::Param(_) => return Err(Error::unsupported("a parameter in a stored expression")),
            K::Fold { rows, rule } => self.fold(rows, rule)?,
            K::Query(query) => self.query(query)?,
        }
        Ok(())
    }

    /// The row of a relation, or NULL where an outer join found none.
    fn whole_row(&self, expr: &ScalarExpr) -> Option<String> {
        match &expr.kind {
            K::Row(items, Some(_)) => self.names.whole_row(items),
            K::Case { whens, otherwise: Some(row), simple: false } => match (whens.as_slice(), &row.kind) {
                ([(_, missing)], K::Row(..)) if matches!(missing.kind, K::Const(Datum::Null)) => self.whole_row(row),
                _ => None,
            },
            _ => None,
        }
    }

    fn query(&mut self, query: &QueryExpr) -> Result<()> {
        match query {
            QueryExpr::Aggregate(call) => self.aggregate(call),
            QueryExpr::Window(call) => self.window(call),
            QueryExpr::Series(call) => self.list(&quote_ident(call.function.name), &call.args),
            QueryExpr::Grouping(args) => self.list("GROUPING", args),
            QueryExpr::Scalar { rel, .. } => self.subquery("(", rel, ")"),
            QueryExpr::Array { rel, .. } => self.subquery("ARRAY(", rel, ")"),
            QueryExpr::Exists { rel } => self.subquery("(EXISTS (", rel, "))"),
            QueryExpr::Quantified { rel, condition, all } => {
                let comparisons = match &condition.kind {
                    K::And(parts) => parts.as_slice(),
                    _ => std::slice::from_ref(&**condition),
                };
                let sides: Option<Vec<_>> = comparisons.iter().map(operands).collect();
                let sides = sides.ok_or_else(|| Error::unsupported("this comparison of rows with a subquery"))?;
                let name = sides.first().map_or("=", |(name, _)| *name);
                self.push("(");
                self.push(if sides.len() > 1 { "(" } else { "" });
                for (i, (_, left)) in sides.iter().enumerate() {
                    self.push(if i > 0 { ", " } else { "" });
                    self.write(left, true)?;
                }
                self.push(if sides.len() > 1 { ")" } else { "" });
                let word = match (name, all) {
                    ("=", false) => " IN (".to_owned(),
                    (name, false) => format!(" {name} ANY ("),
                    (name, true) => format!(" {name} ALL ("),
                };
                self.subquery(&word, rel, "))")
            }
        }
    }

    fn subquery(&mut self, before: &str, rel: &Arc<Rel>, after: &str) -> Result<()> {
        let text = self.names.subquery(rel).ok_or_else(|| Error::unsupported("a subquery in a stored expression"))?;
        self.out.push_str(before);
        self.out.push_str(&indented(text, self.indent));
        self.out.push_str(after);
        Ok(())
    }

    /// A users' aggregate, whose arguments `array_agg` collects.
    fn fold(&mut self, rows: &ScalarExpr, rule: &FoldRule) -> Result<()> {
        let arguments = |args: &[ScalarExpr]| match args {
            _ if rule.arguments == 0 => Vec::new(),
            [ScalarExpr { kind: K::Row(items, _), .. }] if rule.in_rows => items.clone(),
            args => args.to_vec(),
        };
        match &rows.kind {
            K::Query(query) => match &**query {
                QueryExpr::Aggregate(call) => {
                    let call = Aggregate { args: arguments(&call.args), ..call.clone() };
                    self.aggregate_named(&rule.name, &call)
                }
                QueryExpr::Window(call) => {
                    let call = WindowCall { args: arguments(&call.args), ..call.clone() };
                    self.window_named(&rule.name, &call)
                }
                _ => Err(Error::unsupported("this form of a stored aggregate")),
            },
            _ => Err(Error::unsupported("this form of a stored aggregate")),
        }
    }

    fn aggregate(&mut self, call: &Aggregate) -> Result<()> {
        self.aggregate_named(call.function.name, call)
    }

    fn aggregate_named(&mut self, name: &str, call: &Aggregate) -> Result<()> {
        self.push(&quote_ident(name));
        self.push(if call.distinct { "(DISTINCT " } else { "(" });
        let ordered_set = is_ordered_set(call.function.name);
        self.push(if call.args.is_empty() && !ordered_set { "*" } else { "" });
        self.items(&call.args)?;
        if !call.order_by.is_empty() {
            self.push(if ordered_set { ") WITHIN GROUP (ORDER BY " } else { " ORDER BY " });
            self.sort_keys(&call.order_by)?;
        }
        self.push(")");
        self.filter(call.filter.as_ref())
    }

    fn filter(&mut self, filter: Option<&ScalarExpr>) -> Result<()> {
        if let Some(filter) = filter {
            self.push(" FILTER (WHERE ");
            self.write(filter, false)?;
            self.push(")");
        }
        Ok(())
    }

    fn window(&mut self, call: &WindowCall) -> Result<()> {
        self.window_named(call.function.name, call)
    }

    fn window_named(&mut self, name: &str, call: &WindowCall) -> Result<()> {
        self.push(&quote_ident(name));
        self.push("(");
        self.push(if call.aggregate && call.args.is_empty() { "*" } else { "" });
        self.items(&call.args)?;
        self.push(")");
        self.filter(call.filter.as_ref())?;
        self.push(" OVER (");
        let mut parts = 0;
        if !call.partition_by.is_empty() {
            self.push("PARTITION BY ");
            for (i, key) in call.partition_by.iter().enumerate() {
                self.push(if i > 0 { ", " } else { "" });
                self.key(key)?;
            }
            parts += 1;
        }
        if !call.order_by.is_empty() {
            self.push(if parts > 0 { " ORDER BY " } else { "ORDER BY " });
            self.sort_keys(&call.order_by)?;
            parts += 1;
        }
        let usual = call.frame.units == FrameUnits::Range
            && matches!(call.frame.start, FrameBound::UnboundedPreceding)
            && matches!(call.frame.end, FrameBound::CurrentRow);
        if !usual {
            let units = match call.frame.units {
                FrameUnits::Rows => "ROWS",
                FrameUnits::Range => "RANGE",
                FrameUnits::Groups => "GROUPS",
            };
            self.push(if parts > 0 { " " } else { "" });
            self.push(units);
            self.push(" BETWEEN ");
            self.frame_bound(&call.frame.start)?;
            self.push(" AND ");
            self.frame_bound(&call.frame.end)?;
        }
        self.push(")");
        Ok(())
    }

    fn frame_bound(&mut self, bound: &FrameBound) -> Result<()> {
        match bound {
            FrameBound::UnboundedPreceding => self.push("UNBOUNDED PRECEDING"),
            FrameBound::CurrentRow => self.push("CURRENT ROW"),
            FrameBound::UnboundedFollowing => self.push("UNBOUNDED FOLLOWING"),
            FrameBound::Preceding(offset) => {
                self.write(offset, false)?;
                self.push(" PRECEDING");
            }
            FrameBound::Following(offset) => {
                self.write(offset, false)?;
                self.push(" FOLLOWING");
            }
        }
        Ok(())
    }

    fn sort_keys(&mut self, keys: &[SortKey]) -> Result<()> {
        for (i, key) in keys.iter().enumerate() {
            self.push(if i > 0 { ", " } else { "" });
            self.key(&key.expr)?;
            self.push(direction(key.descending, key.nulls_first));
        }
        Ok(())
    }

    /// A key of GROUP BY, ORDER BY or PARTITION BY.
    fn key(&mut self, key: &ScalarExpr) -> Result<()> {
        let text = key_text(key, self.names, self.style())?;
        self.push(&text);
        Ok(())
    }

    fn style(&self) -> Style<'_> {
        Style { layout: self.layout, format: self.format, indent: self.indent }
    }

    fn call(&mut self, function: &Function, args: &[ScalarExpr]) -> Result<()> {
        if let (ELEMENT | SLICE, [array, rest @ ..]) = (function.symbol, args) {
            return self.subscripts(array, rest);
        }
        match (operator_of(function, args.len()), args) {
            (Some(name), [left, right]) => self.infix(left, name, right),
            (Some(name), [arg]) => {
                self.full('(');
                self.push(name);
                self.push(" ");
                self.inside(arg, true, Around::Other)?;
                self.full(')');
                Ok(())
            }
            _ => match self.syntax(function, args)? {
                true => Ok(()),
                false => self.list(&quote_ident(function.name), args),
            },
        }
    }

    /// What the binder made of a collation, as it was written.
    fn collated(&mut self, shown: &Shown<'_>, implicit: bool) -> Result<()> {
        match shown {
            Shown::Expr(expr) => self.write(expr, implicit),
            Shown::Collate(arg, oid, name) => {
                self.full('(');
                self.inside(arg, true, Around::Other)?;
                self.push(" COLLATE ");
                self.push(&match self.layout {
                    Layout::Stored => crate::catalog::stored_collation_name(*oid),
                    _ => (*name).to_owned(),
                });
                self.full(')');
                Ok(())
            }
            Shown::Call(name, arg) => self.list(name, std::slice::from_ref(*arg)),
            Shown::Infix(left, name, right) => self.infix(left, name, right),
        }
    }

    /// `a[1][2]`, `a[1:2][:3]`: see [`crate::functions::array_shape`].
    fn subscripts(&mut self, array: &ScalarExpr, rest: &[ScalarExpr]) -> Result<()> {
        let plain = matches!(array.kind, K::Column { .. });
        self.push(if plain { "" } else { "(" });
        self.write(array, true)?;
        self.push(if plain { "" } else { ")" });
        let Some((K::Const(Datum::Text(marks)), bounds)) = rest.split_first().map(|(m, b)| (&m.kind, b)) else {
            for index in rest {
                self.push("[");
                self.write(index, false)?;
                self.push("]");
            }
            return Ok(());
        };
        for (pair, bounds) in marks.as_bytes().chunks(2).zip(bounds.chunks(2)) {
            for (i, (mark, bound)) in pair.iter().zip(bounds).enumerate() {
                self.push(if i == 0 { "[" } else { ":" });
                if *mark != b'-' {
                    self.write(bound, false)?;
                }
            }
            self.push("]");
        }
        Ok(())
    }

    /// Functions that SQL has a syntax of its own for. False: it is none.
    fn syntax(&mut self, function: &Function, args: &[ScalarExpr]) -> Result<bool> {
        match (function.name, args) {
            ("row_field", [row, _, ScalarExpr { kind: K::Const(Datum::Text(name)), .. }]) => {
                self.push("(");
                self.write(row, true)?;
                self.push(").");
                self.push(&quote_ident(name));
            }
            ("row_is_null", [row, ScalarExpr { kind: K::Const(Datum::Bool(negated)), .. }]) => {
                self.postfix(row, true, if *negated { "IS NOT NULL" } else { "IS NULL" })?;
            }
            ("current_user" | "session_user", []) => self.push(&function.name.to_uppercase()),
            (name, []) if name.starts_with("CURRENT_") || name.starts_with("LOCAL") => self.push(name),
            ("SUBSTRING", [text, from, rest @ ..]) => {
                self.push("SUBSTRING(");
                self.write(text, false)?;
                self.push(" FROM ");
                self.write(from, false)?;
                for count in rest {
                    self.push(" FOR ");
                    self.write(count, false)?;
                }
                self.push(")");
            }
            // In the catalog they are calls, which sqlparser reads without ado.
            _ if self.layout == Layout::Stored => return Ok(false),
            ("extract", [ScalarExpr { kind: K::Const(Datum::Text(field)), .. }, value]) => {
                self.push(&format!("EXTRACT({field} FROM "));
                self.write(value, false)?;
                self.push(")");
            }
            ("timezone", [zone, value]) => {
                self.push("(");
                self.inside(value, false, Around::Conversion)?;
                self.push(" AT TIME ZONE ");
                self.inside(zone, false, Around::Conversion)?;
                self.push(")");
            }
            ("position", [text, what]) => {
                self.push("POSITION((");
                self.write(what, false)?;
                self.push(") IN (");
                self.write(text, false)?;
                self.push("))");
            }
            ("overlay", [text, what, from, rest @ ..]) => {
                self.push("OVERLAY(");
                self.write(text, false)?;
                self.push(" PLACING ");
                self.write(what, false)?;
                self.push(" FROM ");
                self.write(from, false)?;
                for count in rest {
                    self.push(" FOR ");
                    self.write(count, false)?;
                }
                self.push(")");
            }
            ("btrim", [text, rest @ ..]) => {
                self.push("TRIM(BOTH");
                for what in rest {
                    self.push(" ");
                    self.write(what, false)?;
                }
                self.push(" FROM ");
                self.write(text, false)?;
                self.push(")");
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn cast(&mut self, cast: &Cast, implicit: bool) -> Result<()> {
        let around = if converts(cast) { Around::Conversion } else { Around::Other };
        if let K::Call { function, args } = &cast.arg.kind
            && args.is_empty()
            && (function.name.starts_with("CURRENT_") || function.name.starts_with("LOCAL"))
        {
            // CURRENT_DATE and its kin are bound as conversions of the time.
            self.push(function.name);
            if cast.to.typmod >= 0 {
                self.push(&format!("({})", cast.to.typmod));
            }
            return Ok(());
        }
        if !cast.explicit && !implicit {
            return self.inside(&cast.arg, false, around);
        }
        match &cast.arg.kind {
            // A constant takes its type from the cast.
            K::Const(value) if cast.arg.ty.oid == cast.to.oid || reg_text(cast) => {
                self.constant(value, cast.arg.ty, false);
            }
            _ => {
                self.full('(');
                self.inside(&cast.arg, false, around)?;
                self.full(')');
            }
        }
        self.push("::");
        self.push(&self.type_name(cast.to));
        Ok(())
    }

    fn infix(&mut self, left: &ScalarExpr, name: &'static str, right: &ScalarExpr) -> Result<()> {
        self.full('(');
        self.inside(left, true, Around::Operator { name, first: true })?;
        self.push(" ");
        self.push(name);
        self.push(" ");
        self.inside(right, true, Around::Operator { name, first: false })?;
        self.full(')');
        Ok(())
    }

    fn postfix(&mut self, arg: &ScalarExpr, implicit: bool, what: &str) -> Result<()> {
        self.full('(');
        self.inside(arg, implicit, Around::Other)?;
        self.push(" ");
        self.push(what);
        self.full(')');
        Ok(())
    }

    fn joined(&mut self, args: &[ScalarExpr], separator: &str, around: Around) -> Result<()> {
        self.full('(');
        for (i, arg) in args.iter().enumerate() {
            self.push(if i > 0 { separator } else { "" });
            self.inside(arg, false, around)?;
        }
        self.full(')');
        Ok(())
    }

    fn list(&mut self, name: &str, args: &[ScalarExpr]) -> Result<()> {
        self.push(name);
        self.push("(");
        self.items(args)?;
        self.push(")");
        Ok(())
    }

    fn array(&mut self, items: &[ScalarExpr]) -> Result<()> {
        self.push("ARRAY[");
        self.items(items)?;
        self.push("]");
        Ok(())
    }

    fn items(&mut self, items: &[ScalarExpr]) -> Result<()> {
        for (i, item) in items.iter().enumerate() {
            self.push(if i > 0 { ", " } else { "" });
            self.write(item, true)?;
        }
        Ok(())
    }

    /// `left op ANY (…)` or `ALL`.
    fn any_all(
        &mut self,
        name: &str,
        all: bool,
        left: &ScalarExpr,
        right: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.full('(');
        self.inside(left, true, Around::Other)?;
        self.push(&format!(" {name} {} (", if all { "ALL" } else { "ANY" }));
        right(self)?;
        self.push(")");
        self.full(')');
        Ok(())
    }

    /// IN is `= ANY (ARRAY[…])`. Where values compare as text, the array is converted whole.
    fn in_list(&mut self, arg: &ScalarExpr, list: &[ScalarExpr], negated: bool) -> Result<()> {
        let name = if negated { "<>" } else { "=" };
        if arg.ty.oid != TypeOid::VARCHAR {
            return self.any_all(name, negated, arg, |w| w.array(list));
        }
        let cast = Cast { arg: arg.clone(), to: TypeOid::TEXT.into(), explicit: true };
        let left = ScalarExpr::new(K::Cast(Box::new(cast)), TypeOid::TEXT);
        self.any_all(name, negated, &left, |w| {
            w.full('(');
            w.array(list)?;
            w.full(')');
            w.push("::text[]");
            Ok(())
        })
    }

    fn case(
        &mut self,
        ty: PgType,
        whens: &[(ScalarExpr, ScalarExpr)],
        otherwise: Option<&ScalarExpr>,
        simple: bool,
    ) -> Result<()> {
        self.line("CASE");
        self.indent += INDENT;
        if let (true, Some((condition, _))) = (simple, whens.first())
            && let Some((operand, _)) = comparison(condition)
        {
            self.push(" ");
            // What makes the operand comparable belongs to the comparison.
            match &operand.kind {
                K::Cast(cast) if !cast.explicit => self.write(&cast.arg, true)?,
                _ => self.write(operand, true)?,
            }
        }
        for (condition, value) in whens {
            self.push(if self.layout == Layout::Stored { " " } else { "" });
            self.line("WHEN ");
            match comparison(condition) {
                Some((_, right)) if simple => self.write(right, false)?,
                _ => self.write(condition, false)?,
            }
            self.push(" THEN ");
            self.write(value, true)?;
        }
        self.push(if self.layout == Layout::Stored { " " } else { "" });
        self.line("ELSE ");
        match otherwise {
            Some(otherwise) => self.write(otherwise, true)?,
            None => self.constant(&Datum::Null, ty, true),
        }
        self.push(if self.layout == Layout::Stored { " " } else { "" });
        self.indent -= INDENT;
        self.line("END");
        Ok(())
    }

    /// `get_const_expr`; without `label` the text alone.
    fn constant(&mut self, value: &Datum, ty: PgType, label: bool) {
        let shown = match (value, self.layout) {
            (Datum::Null, _) => "NULL".to_owned(),
            (Datum::Oid(n), Layout::Stored) => n.to_string(),
            _ => text::to_string(value, ty, self.format),
        };
        let digits = shown.starts_with(|c: char| c.is_ascii_digit());
        let bare = match (value, ty.oid) {
            (Datum::Bool(_), _) => {
                self.push(if shown == "t" { "true" } else { "false" });
                return;
            }
            (Datum::Null, _) => false,
            (_, TypeOid::INT4) => digits,
            (_, TypeOid::NUMERIC) => digits && shown.contains(['.', 'e', 'E']) && ty.typmod < 0,
            _ => false,
        };
        if bare || value.is_null() {
            self.push(&shown);
        } else {
            self.push(&format!("'{}'", shown.replace('\'', "''")));
        }
        if label && !bare {
            self.push("::");
            self.push(&match ty.oid {
                TypeOid::BPCHAR => "bpchar".to_owned(),
                TypeOid::VARCHAR => "character varying".to_owned(),
                TypeOid::NUMERIC => "numeric".to_owned(),
                _ => self.type_name(ty),
            });
        }
    }
}

/// A key of GROUP BY, ORDER BY or PARTITION BY: what looks like a function is set in parentheses.
pub fn key_text(key: &ScalarExpr, names: &dyn Names, style: Style<'_>) -> Result<String> {
    let key = match &key.kind {
        K::Call { function, args } => match collation::shown(function, args) {
            Some(Shown::Expr(expr)) => expr,
            _ => key,
        },
        _ => key,
    };
    let call = match &key.kind {
        K::Call { function, args } if matches!(collation::shown(function, args), Some(Shown::Collate(..))) => false,
        K::Call { function, args } => operator_of(function, args.len()).is_none(),
        K::Cast(cast) => converts(cast),
        K::Query(query) => matches!(**query, QueryExpr::Aggregate(_) | QueryExpr::Window(_)),
        _ => false,
    };
    let text = write(key, names, style, true)?;
    let bare = matches!(key.kind, K::Column { .. }) || !(call || style.layout == Layout::Pretty);
    Ok(if bare { text } else { format!("({text})") })
}

/// What follows a sort key that does not sort the usual way.
pub fn direction(descending: bool, nulls_first: bool) -> &'static str {
    match (descending, nulls_first) {
        (false, false) => "",
        (false, true) => " NULLS FIRST",
        (true, true) => " DESC",
        (true, false) => " DESC NULLS LAST",
    }
}

/// A text with its lines further right.
pub fn indented(text: &str, by: usize) -> String {
    text.replace('\n', &format!("\n{}", " ".repeat(by)))
}

/// The operator and the left side of a comparison.
fn operands(comparison: &ScalarExpr) -> Option<(&'static str, &ScalarExpr)> {
    match &comparison.kind {
        K::Call { function, args } => Some((operator_of(function, args.len())?, args.first()?)),
        _ => None,
    }
}

/// Operands of a condition of a simple CASE.
fn comparison(condition: &ScalarExpr) -> Option<(&ScalarExpr, &ScalarExpr)> {
    match &condition.kind {
        K::Call { args, .. } => match args.as_slice() {
            [left, right] => Some((left, right)),
            _ => None,
        },
        _ => None,
    }
}

/// A name that is looked up when the expression runs: `'t'::regclass`.
fn reg_text(cast: &Cast) -> bool {
    matches!(cast.arg.kind, K::Const(Datum::Text(_)))
        && matches!(
            cast.to.oid,
            TypeOid::REGCLASS | TypeOid::REGTYPE | TypeOid::REGPROC | TypeOid::REGNAMESPACE | TypeOid::REGROLE
        )
}

/// Whether a cast calls a function; others only rename the type or go through text.
fn converts(cast: &Cast) -> bool {
    let from = cast.arg.ty.oid;
    from == cast.to.oid
        || cast.to.typmod >= 0
        || matches!(find_cast(from, cast.to.oid, CastContext::Explicit), Some(CastPath::Function(_)))
}

/// `isSimpleNode`: whether an expression needs no parentheses where it stands.
fn is_simple(expr: &ScalarExpr, around: Around) -> bool {
    match &expr.kind {
        K::Call { function, args } if collation::shown(function, args).is_some() => {
            match collation::shown(function, args) {
                Some(Shown::Expr(expr)) => is_simple(expr, around),
                Some(Shown::Collate(..)) => false,
                Some(Shown::Infix(..)) => is_separated(around),
                _ => true,
            }
        }
        K::Call { function, args } => match operator_of(function, args.len()) {
            None => true,
            Some(name) => match around {
                Around::Operator { name: outer, first } => args.len() == 2 && binds_tighter(name, outer, first),
                _ => is_separated(around),
            },
        },
        K::Cast(cast) => converts(cast) || is_simple(&cast.arg, Around::Other),
        K::And(_) | K::Not(_) => matches!(around, Around::And | Around::Or),
        K::Or(_) => around == Around::Or,
        K::IsDistinct { negated: true, .. } => matches!(around, Around::And | Around::Or),
        K::IsNull { .. } | K::IsBool { .. } | K::IsDistinct { .. } => is_separated(around),
        K::InList { .. } | K::AnyAll { .. } => false,
        K::Query(query) => match &**query {
            QueryExpr::Aggregate(_) | QueryExpr::Window(_) | QueryExpr::Series(_) | QueryExpr::Grouping(_) => true,
            _ => is_separated(around),
        },
        _ => true,
    }
}

/// AND, OR and NOT bind less than any operator or test.
fn is_separated(around: Around) -> bool {
    matches!(around, Around::And | Around::Or | Around::Not)
}

/// Only the arithmetic operators are known well enough to leave parentheses out between two operators.
fn binds_tighter(name: &str, outer: &str, first: bool) -> bool {
    let priority = |name: &str| match name.chars().next() {
        Some('+' | '-') if name.len() == 1 => Some(1),
        Some('*' | '/' | '%') if name.len() == 1 => Some(2),
        _ => None,
    };
    match (priority(name), priority(outer)) {
        (Some(inner), Some(outer)) => inner > outer || (inner == outer && first),
        _ => false,
    }
}
