//! COLLATE, and which collation an expression has (manual, section 24.2.1): written, or derived from what the expression is made of.
//! A comparison under the collation of a language becomes one of keys ([`crate::functions::collation`]).
//!
//! Invariants:
//! 1. A statement in which nothing has another collation than its type's is bound as if there were no collations.
//! 2. Where strings are equal only if their bytes are, equality stays a comparison of strings: indexes and joins find them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlparser::ast;
use sqlparser::tokenizer::Span;

use super::{Binder, fold};
use crate::catalog::Oid;
use crate::catalog::collation::Collation;
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::functions::comparison::{Test, test_of};
use crate::functions::{Function, collation as functions, registry};
use crate::sql::rel::{Aggregate, QueryExpr};
use crate::types::collation::DEFAULT;
use crate::types::{Datum, PgType, TypeOid, names};

const CHOOSE: &str = "Use the COLLATE clause to set the collation explicitly.";
const APPLY: &str = "You can choose the collation by applying the COLLATE clause to one or both expressions.";

/// What is known of the collations of a statement.
#[derive(Default)]
pub(super) struct Collations {
    /// Anything has another collation than its type's.
    pub noticed: bool,
    /// Columns with another than their type's; `None`: it could not be determined.
    columns: HashMap<ColumnId, Option<Oid>>,
    /// Columns of a select list that were written with one.
    explicit: HashSet<ColumnId>,
    /// Where COLLATE was written.
    written: HashMap<Oid, Span>,
}

/// A collation, and how it came to be an expression's.
#[derive(Debug, Clone, Copy)]
enum Derived {
    /// The type has none, or it could not be determined.
    None,
    Implicit(Oid),
    /// Two parts disagree; the second one stands there.
    Conflict(Oid, Oid, Option<Span>),
    Explicit(Oid),
}

/// How strings compare under a language's rules.
#[derive(Debug, Clone)]
pub(super) struct Language {
    locale: String,
    deterministic: bool,
}

/// What a function does with the collation of its arguments.
#[derive(Clone, Copy, PartialEq)]
enum Sensitive {
    Comparison(Test),
    Like,
    Ilike,
    Regex,
    Search,
    Case(&'static str),
    /// Looks for strings in arrays.
    Elements,
    /// Compares strings, and only their bytes are compared here.
    Bytes,
    /// Compares what has strings in it.
    Other,
}

impl Sensitive {
    /// As messages name it.
    fn purpose(self) -> String {
        match self {
            Sensitive::Like => "LIKE".to_owned(),
            Sensitive::Ilike => "ILIKE".to_owned(),
            Sensitive::Regex => "regular expression".to_owned(),
            Sensitive::Case(name) => format!("{name}() function"),
            _ => "string comparison".to_owned(),
        }
    }
}

pub(super) fn is_string(ty: PgType) -> bool {
    matches!(ty.oid, TypeOid::TEXT | TypeOid::VARCHAR | TypeOid::BPCHAR | TypeOid::NAME)
}

fn is_strings(ty: PgType) -> bool {
    ty.oid.element().is_some_and(|element| is_string(element.into()))
}

/// The collation that values of a type have of themselves.
pub(crate) fn of_type(ty: TypeOid) -> Option<Oid> {
    match names::layout(ty).map_or(0, |l| l.collation) {
        0 => None,
        oid => Some(Oid(oid)),
    }
}

fn sensitivity(function: &Function, args: &[ScalarExpr]) -> Option<Sensitive> {
    let strings = args.iter().any(|a| is_string(a.ty) || is_strings(a.ty));
    let other = args.iter().any(|a| a.ty.oid == TypeOid::CITEXT || a.ty.oid.is_row());
    if let Some(test) = test_of(function.symbol) {
        return match (strings, other) {
            (true, _) => Some(Sensitive::Comparison(test)),
            (_, true) => Some(Sensitive::Other),
            _ => None,
        };
    }
    if !strings {
        return function.symbol.starts_with("record_").then_some(Sensitive::Other).filter(|_| other);
    }
    match function.symbol {
        "textlike" | "textnlike" | "bpcharlike" | "bpcharnlike" | "namelike" | "namenlike" => Some(Sensitive::Like),
        "texticlike" | "texticnlike" | "bpchariclike" | "bpcharicnlike" | "nameiclike" | "nameicnlike" => {
            Some(Sensitive::Ilike)
        }
        "lower" => Some(Sensitive::Case("lower")),
        "upper" => Some(Sensitive::Case("upper")),
        "initcap" => Some(Sensitive::Case("initcap")),
        "textpos" | "replace_text" | "split_part" | "text_starts_with" | "text_to_array" | "text_to_table"
        | "text_to_array_null" | "text_to_table_null" => Some(Sensitive::Search),
        "arraycontains"
        | "arraycontained"
        | "arrayoverlap"
        | "array_position"
        | "array_position_start"
        | "array_positions"
        | "array_remove"
        | "array_replace" => Some(Sensitive::Elements),
        "bttextcmp" | "text_larger" | "text_smaller" | "bpchar_larger" | "bpchar_smaller" | "bpcharcmp"
        | "btarraycmp" | "width_bucket_array" => Some(Sensitive::Bytes),
        symbol if symbol.contains("regex") || symbol.starts_with("textregex") || symbol.starts_with("regexp") => {
            Some(Sensitive::Regex)
        }
        _ => None,
    }
}

fn operator_of(test: Test) -> &'static str {
    match test {
        Test::Eq => "=",
        Test::Ne => "<>",
        Test::Lt => "<",
        Test::Le => "<=",
        Test::Gt => ">",
        Test::Ge => ">=",
    }
}

/// The comparison of bytes, or of arrays of them.
fn compares(test: Test, arrays: bool) -> Result<Arc<Function>> {
    let ty = if arrays { TypeOid::ANYARRAY } else { TypeOid::BYTEA };
    let found = registry().operator(operator_of(test), Some(ty), ty).map(|o| o.function.clone());
    found.ok_or_else(|| Error::internal("bytes do not compare"))
}

fn text_constant(text: &str) -> ScalarExpr {
    ScalarExpr::constant(Datum::from(text), TypeOid::TEXT)
}

fn pseudo(function: &Arc<Function>, args: Vec<ScalarExpr>, ty: impl Into<PgType>) -> ScalarExpr {
    ScalarExpr::new(ExprKind::Call { function: function.clone(), args }, ty)
}

impl Language {
    /// What to compare instead of a string, or of an array of them.
    fn key(&self, expr: ScalarExpr) -> ScalarExpr {
        let exact = ScalarExpr::constant(Datum::Bool(self.deterministic), TypeOid::BOOL);
        match is_strings(expr.ty) {
            true => pseudo(&functions::KEYS, vec![expr, text_constant(&self.locale), exact], TypeOid(1001)),
            false => pseudo(&functions::KEY, vec![expr, text_constant(&self.locale), exact], TypeOid::BYTEA),
        }
    }

    fn extreme(&self, expr: ScalarExpr) -> ScalarExpr {
        pseudo(&functions::EXTREME, vec![expr, text_constant(&self.locale)], TypeOid::BYTEA)
    }
}

fn extreme_text(key: ScalarExpr, ty: PgType) -> ScalarExpr {
    pseudo(&functions::EXTREME_TEXT, vec![key], ty)
}

impl Binder {
    /// `expr COLLATE name`.
    pub(super) fn collate(&mut self, arg: &ast::Expr, name: &ast::ObjectName) -> Result<ScalarExpr> {
        let bound = self.known(arg)?;
        let at = ast::Spanned::span(name);
        let word = self.source.between(ast::Spanned::span(arg), at, "COLLATE");
        let word = word.or_else(|| self.source.between(ast::Spanned::span(arg), at, "collate")).unwrap_or(at);
        let collation = self.find_collation(name).map_err(|e| self.source.locate(e, word))?;
        if of_type(bound.ty.oid).is_none() {
            return Err(self.source.locate(not_collatable(bound.ty), word));
        }
        self.collations.noticed = true;
        self.collations.written.insert(collation.oid(), word);
        let shown = self.environment.catalog.collation_shown(&collation, &self.environment.search_path);
        let (number, ty) = (ScalarExpr::constant(Datum::Oid(collation.oid().0), TypeOid::OID), bound.ty);
        Ok(pseudo(&functions::COLLATE, vec![bound, number, text_constant(&shown)], ty))
    }

    pub(crate) fn find_collation(&self, name: &ast::ObjectName) -> Result<Collation> {
        let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
        let (schema, last) = match parts.as_slice() {
            [name] => (None, name),
            [schema, name] => (Some(schema.as_str()), name),
            _ => return Err(Error::new(SqlState::SyntaxError, "improper qualified name")),
        };
        self.environment.catalog.find_collation(schema, last, &self.environment.search_path)
    }

    /// The column of a relation has this collation.
    pub(super) fn note_collation(&mut self, id: ColumnId, collation: Option<Oid>) {
        self.collations.noticed = true;
        self.collations.columns.insert(id, collation);
    }

    /// Columns of a table in a scope.
    pub(super) fn note_table_collations(
        &mut self,
        def: &crate::catalog::TableDef,
        columns: &[crate::sql::scope::ScopeColumn],
    ) {
        for (column, collation) in def.live_columns().filter_map(|c| Some((c.attnum, c.collation?))) {
            let ids: Vec<ColumnId> = columns.iter().filter(|c| c.attribute == column).map(|c| c.id).collect();
            ids.into_iter().for_each(|id| self.note_collation(id, Some(collation)));
        }
    }

    /// A column that stands for an expression.
    pub(super) fn note_expression(&mut self, id: ColumnId, expr: &ScalarExpr) -> Result<()> {
        if !self.collations.noticed {
            return Ok(());
        }
        let Some(own) = of_type(expr.ty.oid) else {
            // A key that has the string in it has the string's collation, too.
            if let Derived::Implicit(oid) | Derived::Explicit(oid) = self.derive_key(expr)? {
                self.note_collation(id, Some(oid));
            }
            return Ok(());
        };
        let derived = self.derive(expr)?;
        if let Derived::Explicit(_) = derived {
            self.collations.explicit.insert(id);
        }
        match derived {
            Derived::Implicit(oid) | Derived::Explicit(oid) if oid == own => {}
            Derived::Implicit(oid) | Derived::Explicit(oid) => self.note_collation(id, Some(oid)),
            Derived::None | Derived::Conflict(..) => self.note_collation(id, None),
        }
        Ok(())
    }

    /// Columns that copies of others.
    pub(super) fn note_copies(&mut self, map: &HashMap<ColumnId, ColumnId>) {
        self.note_copied_domains(map);
        if !self.collations.noticed {
            return;
        }
        for (old, new) in map {
            if let Some(collation) = self.collations.columns.get(old).copied() {
                self.collations.columns.insert(*new, collation);
            }
        }
    }

    /// Columns of a set-returning function's rows.
    pub(super) fn note_rows(&mut self, args: &[ScalarExpr], outputs: &[crate::sql::rel::Output]) {
        if !self.collations.noticed {
            return;
        }
        // Two that were written disagree: said where the call is used.
        let Ok(derived) = self.merge(args) else { return };
        for output in outputs.iter().filter(|o| of_type(o.ty.oid).is_some()) {
            match derived {
                Derived::Implicit(oid) | Derived::Explicit(oid) if oid.0 != DEFAULT => {
                    self.note_collation(output.id, Some(oid));
                }
                Derived::Conflict(..) => self.note_collation(output.id, None),
                _ => {}
            }
        }
    }

    /// The collation of a column of a query: `None` where it could not be determined.
    pub(super) fn column_collation(&self, id: ColumnId, ty: PgType) -> Option<Oid> {
        match self.collations.columns.get(&id) {
            Some(collation) => *collation,
            None => of_type(ty.oid),
        }
    }

    pub(super) fn noted_collation(&self, id: ColumnId) -> Option<Option<Oid>> {
        self.collations.columns.get(&id).copied()
    }

    pub(super) fn shown_name(&self, oid: Oid) -> String {
        self.environment.catalog.collation(oid).map_or_else(String::new, |c| c.name().to_owned())
    }

    /// Where the first column of an expression was named.
    fn place_of(&self, expr: &ScalarExpr) -> Option<Span> {
        match &expr.kind {
            ExprKind::Column { id, .. } => {
                self.uses.iter().rev().find(|(column, ..)| column == id).map(|(_, span, _)| *span)
            }
            _ => expr.children().into_iter().find_map(|child| self.place_of(child)),
        }
    }

    fn merge<'a>(&self, parts: impl IntoIterator<Item = &'a ScalarExpr>) -> Result<Derived> {
        let mut state = Derived::None;
        for part in parts {
            state = self.combined(state, self.derive(part)?, || self.place_of(part))?;
        }
        Ok(state)
    }

    /// 42P21 for two that were written.
    fn combined(&self, state: Derived, new: Derived, at: impl Fn() -> Option<Span>) -> Result<Derived> {
        use Derived::{Conflict, Explicit, Implicit, None as Nothing};
        Ok(match (state, new) {
            (state, Nothing) => state,
            (Nothing, new) => new,
            (Explicit(a), Explicit(b)) if a != b => {
                let (a_name, b_name) = (self.shown_name(a), self.shown_name(b));
                let message = format!("collation mismatch between explicit collations \"{a_name}\" and \"{b_name}\"");
                let error = Error::new(SqlState::CollationMismatch, message);
                return Err(match self.collations.written.get(&b) {
                    Some(span) => self.source.locate(error, *span),
                    None => error,
                });
            }
            (Explicit(a), _) | (_, Explicit(a)) => Explicit(a),
            (Conflict(a, b, span), _) | (_, Conflict(a, b, span)) => Conflict(a, b, span),
            (Implicit(a), Implicit(b)) if a == b || b.0 == DEFAULT => Implicit(a),
            (Implicit(a), Implicit(b)) if a.0 == DEFAULT => Implicit(b),
            (Implicit(a), Implicit(b)) => Conflict(a, b, at()),
        })
    }

    /// The collation of the strings in keys of [`functions::EXTREME`].
    fn derive_key(&self, key: &ScalarExpr) -> Result<Derived> {
        let items = match &key.kind {
            ExprKind::Column { id, .. } => {
                return Ok(self.noted_collation(*id).flatten().map_or(Derived::None, Derived::Implicit));
            }
            ExprKind::Call { function, args } if Arc::ptr_eq(function, &functions::EXTREME) => {
                return self.merge(args.first());
            }
            ExprKind::Greatest(items) | ExprKind::Least(items) => items.as_slice(),
            ExprKind::Query(query) => match &**query {
                QueryExpr::Aggregate(call) => call.args.as_slice(),
                QueryExpr::Window(call) => call.args.as_slice(),
                _ => &[],
            },
            _ => &[],
        };
        let mut state = Derived::None;
        for item in items {
            state = self.combined(state, self.derive_key(item)?, || None)?;
        }
        Ok(state)
    }

    /// The collation of an expression, if it is not its type's.
    pub fn collation_of(&self, expr: &ScalarExpr) -> Result<Option<Oid>> {
        let own = of_type(expr.ty.oid);
        Ok(match self.derive(expr)? {
            Derived::Implicit(oid) | Derived::Explicit(oid) => Some(oid).filter(|oid| Some(*oid) != own),
            Derived::None | Derived::Conflict(..) => None,
        })
    }

    fn derive(&self, expr: &ScalarExpr) -> Result<Derived> {
        let Some(own) = of_type(expr.ty.oid) else { return Ok(Derived::None) };
        let from = |parts: Derived| match parts {
            Derived::None => Derived::Implicit(own),
            parts => parts,
        };
        let column = |id: ColumnId| match self.collations.columns.get(&id) {
            Some(Some(collation)) => Derived::Implicit(*collation),
            Some(None) => Derived::None,
            None => Derived::Implicit(own),
        };
        Ok(match &expr.kind {
            ExprKind::Column { id, .. } => column(*id),
            ExprKind::Call { function, args } if Arc::ptr_eq(function, &functions::COLLATE) => {
                match args.get(1).map(|a| &a.kind) {
                    Some(ExprKind::Const(Datum::Oid(oid))) => Derived::Explicit(Oid(*oid)),
                    _ => return Err(Error::internal("COLLATE without a collation")),
                }
            }
            ExprKind::Call { function, args } if Arc::ptr_eq(function, &functions::EXTREME_TEXT) => {
                match args.first() {
                    Some(key) => from(self.derive_key(key)?),
                    None => Derived::Implicit(own),
                }
            }
            // The key's other arguments are its own.
            ExprKind::Call { function, args } if functions::shown(function, args).is_some() => {
                from(self.merge(args.first())?)
            }
            ExprKind::Call { args, .. } => from(self.merge(args)?),
            ExprKind::Cast(cast) => from(self.derive(&cast.arg)?),
            ExprKind::Domain { arg, rule } => {
                let domain = self.environment.catalog.types.get(&Oid(rule.oid)).and_then(|def| def.domain());
                match domain.and_then(|domain| domain.collation) {
                    Some(collation) => Derived::Implicit(collation),
                    None => from(self.derive(arg)?),
                }
            }
            ExprKind::Case { whens, otherwise, .. } => {
                from(self.merge(whens.iter().map(|(_, value)| value).chain(otherwise.as_deref()))?)
            }
            ExprKind::Coalesce(items) | ExprKind::Greatest(items) | ExprKind::Least(items) | ExprKind::Array(items) => {
                from(self.merge(items)?)
            }
            ExprKind::NullIf { left, right, .. } => from(self.merge([&**left, &**right])?),
            ExprKind::Subscript { array, .. } => from(self.derive(array)?),
            ExprKind::Query(query) => match &**query {
                QueryExpr::Aggregate(call) => from(self.merge(&call.args)?),
                QueryExpr::Window(call) => from(self.merge(&call.args)?),
                QueryExpr::Series(call) => from(self.merge(&call.args)?),
                QueryExpr::Scalar { column: id, .. } | QueryExpr::Array { column: id, .. } => column(*id),
                _ => Derived::None,
            },
            _ => Derived::Implicit(own),
        })
    }

    /// The language that expressions compare in; `None`: they compare bytes. 42P22 if it is not certain.
    fn language<'a>(&self, parts: impl IntoIterator<Item = &'a ScalarExpr>, purpose: &str) -> Result<Option<Language>> {
        let mut collatable = false;
        let mut state = Derived::None;
        for part in parts {
            collatable |= of_type(part.ty.oid).is_some();
            state = self.combined(state, self.derive(part)?, || None)?;
        }
        match state {
            Derived::Implicit(oid) | Derived::Explicit(oid) => Ok(self.language_of(oid)),
            Derived::None if !collatable => Ok(None),
            Derived::None | Derived::Conflict(..) => Err(indeterminate(purpose)),
        }
    }

    fn language_of(&self, oid: Oid) -> Option<Language> {
        let collation = self.environment.catalog.collation(oid)?;
        let (locale, deterministic) = collation.language()?;
        Some(Language { locale: locale.to_owned(), deterministic })
    }

    /// A call, its arguments compared as their collation says.
    pub(super) fn collated_call(
        &mut self,
        function: Arc<Function>,
        args: Vec<ScalarExpr>,
        ty: PgType,
    ) -> Result<ScalarExpr> {
        let plain = |args| ScalarExpr::new(ExprKind::Call { function: function.clone(), args }, ty);
        let Some(sensitive) = sensitivity(&function, &args).filter(|_| self.collations.noticed) else {
            return Ok(plain(args));
        };
        if sensitive == Sensitive::Other {
            self.refuse_inside(&args)?;
            return Ok(plain(args));
        }
        let Some(language) = self.language(&args, &sensitive.purpose())? else { return Ok(plain(args)) };
        let refuse = |what: &str| match language.deterministic {
            true => Ok(()),
            false => Err(Error::new(
                SqlState::FeatureNotSupported,
                format!("nondeterministic collations are not supported for {what}"),
            )),
        };
        let second = |mut args: Vec<ScalarExpr>| {
            args.insert(1, text_constant(&language.locale));
            args
        };
        match sensitive {
            Sensitive::Comparison(Test::Eq | Test::Ne) if language.deterministic => Ok(plain(args)),
            Sensitive::Comparison(test) => {
                let arrays = args.iter().any(|a| is_strings(a.ty));
                let function = compares(test, arrays)?;
                let args = args.into_iter().map(|a| language.key(a)).collect();
                Ok(ScalarExpr::new(ExprKind::Call { function, args }, ty))
            }
            Sensitive::Like => refuse("LIKE").map(|()| plain(args)),
            Sensitive::Ilike => {
                refuse("ILIKE")?;
                let negated = function.symbol.contains("nlike");
                let own = if negated { &functions::NOT_ILIKE } else { &functions::ILIKE };
                Ok(pseudo(own, second(args), ty))
            }
            Sensitive::Regex => refuse("regular expressions").map(|()| plain(args)),
            Sensitive::Search => {
                // Without a separator nothing is searched for.
                let split = matches!(function.symbol, "text_to_array" | "text_to_table");
                let separator = args.get(1).map(|a| match &a.kind {
                    ExprKind::Cast(cast) => &cast.arg.kind,
                    kind => kind,
                });
                if !(split && matches!(separator, Some(ExprKind::Const(Datum::Null)))) {
                    refuse("substring searches")?;
                }
                Ok(plain(args))
            }
            Sensitive::Case(name) => {
                let own = match name {
                    "lower" => &functions::LOWER,
                    "upper" => &functions::UPPER,
                    _ => &functions::INITCAP,
                };
                Ok(pseudo(own, second(args), ty))
            }
            Sensitive::Elements if language.deterministic => Ok(plain(args)),
            Sensitive::Elements | Sensitive::Bytes | Sensitive::Other => {
                Err(Error::unsupported(format!("{}() under the collation of a language", function.name)))
            }
        }
    }

    /// 0A000 where whole rows, or strings of citext, would have to compare as a language says.
    fn refuse_inside(&self, args: &[ScalarExpr]) -> Result<()> {
        for arg in args {
            let parts = match &arg.kind {
                ExprKind::Row(items, _) => items.as_slice(),
                _ => std::slice::from_ref(arg),
            };
            for part in parts.iter().filter(|p| of_type(p.ty.oid).is_some()) {
                if let Derived::Implicit(oid) | Derived::Explicit(oid) = self.derive(part)?
                    && self.language_of(oid).is_some()
                {
                    return Err(Error::unsupported(
                        "comparing whole rows, or citext, under the collation of a language",
                    ));
                }
            }
        }
        Ok(())
    }

    /// What a sort key is sorted by: `span` is the key's.
    pub(super) fn ordered(&mut self, expr: ScalarExpr, span: Span) -> Result<ScalarExpr> {
        if !self.collations.noticed || of_type(expr.ty.oid).is_none() {
            return Ok(expr);
        }
        match self.derive(&expr)? {
            Derived::Conflict(a, b, at) => Err(self.mismatch(a, b, at.unwrap_or(span))),
            Derived::None => Err(indeterminate("string comparison")),
            Derived::Implicit(oid) | Derived::Explicit(oid) => match self.language_of(oid) {
                None => Ok(expr),
                Some(language) if is_string(expr.ty) || is_strings(expr.ty) => Ok(language.key(expr)),
                Some(_) => {
                    self.refuse_inside(std::slice::from_ref(&expr))?;
                    Ok(expr)
                }
            },
        }
    }

    fn mismatch(&self, a: Oid, b: Oid, at: Span) -> Error {
        let (a, b) = (self.shown_name(a), self.shown_name(b));
        let message = format!("collation mismatch between implicit collations \"{a}\" and \"{b}\"");
        self.source.locate(Error::new(SqlState::CollationMismatch, message).hint(APPLY), at)
    }

    /// The language of an expression whose collation holds different strings equal.
    fn blurred(&self, expr: &ScalarExpr) -> Result<Option<Language>> {
        if !self.collations.noticed || !(is_string(expr.ty) || is_strings(expr.ty)) {
            return Ok(None);
        }
        match self.derive(expr)? {
            Derived::Conflict(a, b, at) => Err(self.mismatch(a, b, at.unwrap_or_else(Span::empty))),
            Derived::None => Err(indeterminate("string comparison")),
            Derived::Implicit(oid) | Derived::Explicit(oid) => {
                Ok(self.language_of(oid).filter(|language| !language.deterministic))
            }
        }
    }

    /// What rows are partitioned or counted by.
    pub(super) fn distinguished(&mut self, expr: ScalarExpr) -> Result<ScalarExpr> {
        Ok(match self.blurred(&expr)? {
            Some(language) => language.key(expr),
            None => expr,
        })
    }

    /// What rows are grouped by, shown as the first of its values.
    pub(super) fn grouped(&mut self, expr: ScalarExpr) -> Result<ScalarExpr> {
        Ok(match self.blurred(&expr)? {
            Some(_) if is_strings(expr.ty) => {
                return Err(Error::unsupported("grouping arrays under a nondeterministic collation"));
            }
            Some(language) => {
                let ty = expr.ty;
                pseudo(&functions::GROUPED, vec![expr, text_constant(&language.locale)], ty)
            }
            None => expr,
        })
    }

    /// Whether different strings of one of these columns are equal.
    pub(super) fn any_blurred(&self, columns: impl IntoIterator<Item = (ColumnId, PgType)>) -> Result<bool> {
        if !self.collations.noticed {
            return Ok(false);
        }
        for (id, ty) in columns {
            if self.blurred(&ScalarExpr::column(id, ty))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// GREATEST and LEAST, IN: the operands in a form that compares as their collation says, and how the result is read.
    pub(super) fn extreme(
        &mut self,
        items: Vec<ScalarExpr>,
        ty: PgType,
        make: impl FnOnce(Vec<ScalarExpr>) -> ExprKind,
    ) -> Result<ScalarExpr> {
        if self.collations.noticed
            && is_string(ty)
            && let Some(language) = self.language(&items, "string comparison")?
        {
            let keys = items.into_iter().map(|item| language.extreme(item)).collect();
            return Ok(extreme_text(ScalarExpr::new(make(keys), TypeOid::BYTEA), ty));
        }
        Ok(ScalarExpr::new(make(items), ty))
    }

    /// The operands of IN.
    pub(super) fn listed(&mut self, arg: ScalarExpr, list: Vec<ScalarExpr>) -> Result<(ScalarExpr, Vec<ScalarExpr>)> {
        if self.collations.noticed
            && is_string(arg.ty)
            && let Some(language) = self.language(std::iter::once(&arg).chain(&list), "string comparison")?
            && !language.deterministic
        {
            return Ok((language.key(arg), list.into_iter().map(|item| language.key(item)).collect()));
        }
        Ok((arg, list))
    }

    /// `arg op ANY (array)`: the operands and the operator.
    pub(super) fn each(
        &mut self,
        arg: ScalarExpr,
        operator: Arc<Function>,
        array: ScalarExpr,
    ) -> Result<(ScalarExpr, Arc<Function>, ScalarExpr)> {
        if !self.collations.noticed || !is_string(arg.ty) {
            return Ok((arg, operator, array));
        }
        // What the operator does with two strings.
        let pair = [arg.clone(), arg.clone()];
        let Some(sensitive) = sensitivity(&operator, &pair) else { return Ok((arg, operator, array)) };
        let language = self.language([&arg, &array], &sensitive.purpose())?;
        match (sensitive, language) {
            (_, None) | (Sensitive::Comparison(Test::Eq | Test::Ne), Some(Language { deterministic: true, .. })) => {
                Ok((arg, operator, array))
            }
            (Sensitive::Comparison(test), Some(language)) => {
                Ok((language.key(arg), compares(test, false)?, language.key(array)))
            }
            (Sensitive::Like, Some(Language { deterministic: true, .. })) => Ok((arg, operator, array)),
            _ => Err(Error::unsupported("this operator with ANY or ALL under the collation of a language")),
        }
    }

    /// An aggregate whose result or whose DISTINCT depends on how its arguments compare.
    pub(super) fn collated_aggregate(&mut self, mut call: Aggregate) -> Result<ScalarExpr> {
        let ty = call.ty;
        let query = |call: Aggregate, ty: PgType| super::expr::query(QueryExpr::Aggregate(call), ty);
        if !self.collations.noticed || !call.args.iter().any(|a| is_string(a.ty) || is_strings(a.ty)) {
            return Ok(query(call, ty));
        }
        if matches!(call.function.name, "min" | "max") && is_string(ty) {
            if let Some(language) = self.language(&call.args, "string comparison")? {
                call.args = call.args.into_iter().map(|a| language.extreme(a)).collect();
                call.ty = TypeOid::BYTEA.into();
                return Ok(extreme_text(query(call, TypeOid::BYTEA.into()), ty));
            }
            return Ok(query(call, ty));
        }
        let compares = matches!(call.function.name, "min" | "max") || call.distinct;
        for arg in &mut call.args {
            if !compares {
                break;
            }
            let counted = call.function.name == "count";
            match self.blurred(arg)? {
                Some(language) if counted => {
                    let taken = std::mem::replace(arg, ScalarExpr::constant(Datum::Null, TypeOid::TEXT));
                    *arg = language.key(taken);
                }
                Some(_) => {
                    return Err(Error::unsupported("DISTINCT in this aggregate under a nondeterministic collation"));
                }
                None => {}
            }
        }
        if matches!(call.function.name, "min" | "max") && self.language(&call.args, "string comparison")?.is_some() {
            return Err(Error::unsupported("the extreme of arrays under the collation of a language"));
        }
        Ok(query(call, ty))
    }

    /// As an aggregate over a window.
    pub(super) fn window_extreme(
        &mut self,
        function: &Function,
        args: Vec<ScalarExpr>,
        ty: PgType,
    ) -> Result<(Vec<ScalarExpr>, PgType)> {
        if self.collations.noticed
            && matches!(function.name, "min" | "max")
            && is_string(ty)
            && let Some(language) = self.language(&args, "string comparison")?
        {
            return Ok((args.into_iter().map(|a| language.extreme(a)).collect(), TypeOid::BYTEA.into()));
        }
        Ok((args, ty))
    }

    /// What [`Self::window_extreme`] changed, as the string that it is.
    pub(super) fn read_extreme(value: ScalarExpr, ty: PgType) -> ScalarExpr {
        if value.ty == ty { value } else { extreme_text(value, ty) }
    }

    /// Ordered-set aggregates answer with values of their keys.
    pub(super) fn refuse_language(&mut self, expr: &ScalarExpr, what: &str) -> Result<()> {
        if self.collations.noticed && self.language([expr], "string comparison")?.is_some() {
            return Err(Error::unsupported(format!("{what} under the collation of a language")));
        }
        Ok(())
    }

    /// The collation of a column of a set operation. `certain`: 42P21 if the sides disagree.
    pub(super) fn common_collation(
        &mut self,
        output: ColumnId,
        sides: [(ColumnId, PgType); 2],
        certain: bool,
        span: Span,
    ) -> Result<()> {
        if !self.collations.noticed {
            return Ok(());
        }
        let [(_, ty), _] = sides;
        let Some(own) = of_type(ty.oid) else { return Ok(()) };
        let mut state = Derived::None;
        for (id, ty) in sides {
            let side = match self.derive(&ScalarExpr::column(id, ty))? {
                Derived::Implicit(oid) if self.collations.explicit.contains(&id) => Derived::Explicit(oid),
                side => side,
            };
            state = self.combined(state, side, || None)?;
        }
        match state {
            Derived::Conflict(a, b, _) if certain => Err(self.mismatch(a, b, span)),
            Derived::Implicit(oid) | Derived::Explicit(oid) => {
                if oid != own {
                    self.note_collation(output, Some(oid));
                }
                Ok(())
            }
            _ => {
                self.note_collation(output, None);
                Ok(())
            }
        }
    }

    /// pg_collation_for(expression).
    pub(super) fn collation_for(&self, arg: &ScalarExpr) -> Result<ScalarExpr> {
        if arg.ty.oid == TypeOid::UNKNOWN {
            return Ok(ScalarExpr::constant(Datum::Null, TypeOid::TEXT));
        }
        if of_type(arg.ty.oid).is_none() {
            return Err(not_collatable(arg.ty));
        }
        let shown = match self.derive(arg)? {
            Derived::Implicit(oid) | Derived::Explicit(oid) => self.environment.catalog.collation(oid),
            _ => None,
        };
        let catalog = &self.environment.catalog;
        let shown = shown.map(|c| catalog.collation_shown(&c, &self.environment.search_path));
        Ok(ScalarExpr::constant(shown.map_or(Datum::Null, Datum::from), TypeOid::TEXT))
    }
}

/// 42804
pub(crate) fn not_collatable(ty: PgType) -> Error {
    let message = format!("collations are not supported by type {}", names::format_type(ty.oid, -1));
    Error::new(SqlState::DatatypeMismatch, message)
}

fn indeterminate(purpose: &str) -> Error {
    Error::new(SqlState::IndeterminateCollation, format!("could not determine which collation to use for {purpose}"))
        .hint(CHOOSE)
}
