//! From definitions back to text, as PostgreSQL's `ruleutils.c` writes it: what pg_get_expr, pg_get_constraintdef and
//! pg_get_indexdef answer.
//!
//! An expression is kept in one form ([`stored`]) and bound again to be shown in another ([`Display`]).

use std::sync::{Arc, LazyLock};

use sqlparser::ast::{self, VisitMut, VisitorMut};

use super::expression::{self, Layout, Style};
use crate::catalog::{
    Catalog, ConstraintDef, ConstraintKind, DomainCheck, IndexDef, Oid, ReferentialAction, SearchPath, TableDef,
};
use crate::error::Result;
use crate::expr::{ExprKind, ScalarExpr};
use crate::functions::EvalContext;
use crate::sql::bind::row_security::Policing;
use crate::sql::parse::parse_expression;
use crate::sql::{Binder, Environment, Scope, Source};
use crate::types::text::{FormatSettings, RegNames};
use crate::types::user::UserTypes;
use crate::types::{PgType, names};

/// `format_type` of a type with its modifier.
pub fn type_name(ty: impl Into<PgType>) -> String {
    let ty = ty.into();
    names::format_type(ty.oid, ty.typmod)
}

/// Keywords with their category and whether they may be a bare label.
pub fn keywords() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    let lines = include_str!("keywords.txt").lines().filter(|l| !l.starts_with('#'));
    lines.filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next()? == "1"))
    })
}

static RESERVED: LazyLock<std::collections::HashSet<&'static str>> =
    LazyLock::new(|| keywords().filter(|k| k.1 != "U").map(|k| k.0).collect());

/// An identifier, in double quotes where it would be read differently without.
pub fn quote_ident(name: &str) -> String {
    let plain = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain && !RESERVED.contains(name) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub fn quote_literal(text: &str) -> String {
    let escaped = text.replace('\'', "''");
    if escaped.contains('\\') { format!("E'{}'", escaped.replace('\\', "\\\\")) } else { format!("'{escaped}'") }
}

/// A relation's name, qualified unless the search path finds it.
pub fn relation_name(oid: Oid, catalog: &Catalog, path: &SearchPath) -> Option<String> {
    let relation = catalog.relation(oid)?;
    let name = quote_ident(relation.name());
    Some(match catalog.is_visible(oid, path) {
        Some(true) => name,
        _ => format!("{}.{name}", quote_ident(catalog.schema_name(relation.schema()))),
    })
}

/// An expression as the catalog keeps it; columns by the names in `scope`.
pub fn stored(expr: &ScalarExpr, scope: &Scope) -> Result<String> {
    let style = Style { layout: Layout::Stored, format: &FormatSettings::default(), indent: 0 };
    expression::write(expr, scope, style, false)
}

/// Attribute numbers of the scope's columns that an expression reads.
pub fn columns(expr: &ScalarExpr, scope: &Scope) -> Vec<i16> {
    let mut found = Vec::new();
    walk(expr, &mut |e| {
        if let ExprKind::Column { id, .. } = &e.kind {
            found.extend(scope.attribute_of(*id));
        }
    });
    found
}

pub fn walk(expr: &ScalarExpr, visit: &mut impl FnMut(&ScalarExpr)) {
    visit(expr);
    use ExprKind as K;
    match &expr.kind {
        K::Const(_) | K::Param(_) | K::Column { .. } | K::Query(_) => {}
        K::Call { args, .. }
        | K::And(args)
        | K::Or(args)
        | K::Coalesce(args)
        | K::Greatest(args)
        | K::Least(args)
        | K::Array(args)
        | K::Row(args, _) => args.iter().for_each(|a| walk(a, visit)),
        K::Cast(cast) => walk(&cast.arg, visit),
        K::Domain { arg, .. } | K::Fold { rows: arg, .. } => walk(arg, visit),
        K::Not(arg) | K::IsNull { arg, .. } | K::IsBool { arg, .. } => walk(arg, visit),
        K::IsDistinct { left, right, .. } | K::NullIf { left, right, .. } => {
            walk(left, visit);
            walk(right, visit);
        }
        K::Case { whens, otherwise, .. } => {
            for (condition, value) in whens {
                walk(condition, visit);
                walk(value, visit);
            }
            otherwise.iter().for_each(|o| walk(o, visit));
        }
        K::InList { arg, list, .. } => {
            walk(arg, visit);
            list.iter().for_each(|a| walk(a, visit));
        }
        K::AnyAll { arg, array, .. } => {
            walk(arg, visit);
            walk(array, visit);
        }
        K::Subscript { array, index } => {
            walk(array, visit);
            walk(index, visit);
        }
    }
}

/// How stored definitions are shown.
pub struct Display<'a> {
    pub catalog: &'a Arc<Catalog>,
    pub path: &'a SearchPath,
    /// For the form of constants, and the names behind those of the reg types.
    pub eval: Arc<EvalContext>,
    /// Without the parentheses that are not needed.
    pub pretty: bool,
}

impl<'a> Display<'a> {
    /// With all parentheses and standard forms of values.
    pub fn plain(catalog: &'a Arc<Catalog>, path: &'a SearchPath) -> Display<'a> {
        Display { catalog, path, eval: Arc::default(), pretty: false }
    }

    /// A stored expression over the columns of a table: what pg_get_expr shows.
    pub fn expression(&self, stored: &str, table: Option<&TableDef>) -> String {
        let layout = if self.pretty { Layout::Pretty } else { Layout::Full };
        let shown = self.bind(stored, table).and_then(|(expr, scope)| {
            let types = UserTypes::of(self.catalog, self.path);
            let format = FormatSettings { reg_names: RegNames(None), types, ..self.eval.format.clone() };
            expression::write(&expr, &scope, Style { layout, format: &format, indent: 0 }, false)
        });
        // A text of an older form is shown as it is.
        name_relations(shown.as_deref().unwrap_or(stored), self.catalog, self.path)
    }

    /// A domain's condition.
    pub fn domain_check(&self, check: &DomainCheck) -> String {
        struct Value;
        impl expression::Names for Value {
            fn column(&self, _: crate::expr::ColumnId) -> Option<String> {
                Some("VALUE".into())
            }
        }
        let bind = || {
            let domains = self.catalog.types.values().filter_map(|t| t.domain());
            let base = domains.into_iter().find(|d| d.checks.iter().any(|c| c.oid == check.oid)).map(|d| d.base);
            let base = base.ok_or_else(|| crate::error::Error::internal("a condition of no domain"))?;
            let (expr, source) = parse_expression(&check.expression)?;
            let mut binder = self.binder(source);
            let scope = binder.value_scope(base, None);
            let bound = binder.bind_expr(&expr, &scope)?;
            let layout = if self.pretty { Layout::Pretty } else { Layout::Full };
            let types = UserTypes::of(self.catalog, self.path);
            let format = FormatSettings { reg_names: RegNames(None), types, ..self.eval.format.clone() };
            expression::write(&bound, &Value, Style { layout, format: &format, indent: 0 }, false)
        };
        bind().unwrap_or_else(|_| check.expression.clone())
    }

    /// A binder for stored texts.
    pub fn binder(&self, source: Source) -> Binder {
        let environment = Environment {
            catalog: self.catalog.clone(),
            search_path: self.path.clone(),
            eval: self.eval.clone(),
            policing: Policing::Unasked,
        };
        Binder::new(environment, source, &[]).without_parameters()
    }

    fn bind(&self, stored: &str, table: Option<&TableDef>) -> Result<(ScalarExpr, Scope)> {
        let (expr, source) = parse_expression(stored)?;
        let mut binder = self.binder(source);
        let scope = table.map(|t| binder.table_scope(t, None)).unwrap_or_default();
        let bound = binder.bind_expr(&expr, &scope)?;
        Ok((bound, scope))
    }
}

/// A text with the names of its regclass constants, whose OIDs are stored.
fn name_relations(stored: &str, catalog: &Catalog, path: &SearchPath) -> String {
    let mut out = String::with_capacity(stored.len());
    let mut rest = stored;
    while let Some(at) = rest.find("'::regclass") {
        let before = rest.get(..at).unwrap_or_default();
        let digits = before.rfind('\'').and_then(|quote| Some((quote, before.get(quote + 1..)?)));
        let name = digits.and_then(|(quote, digits)| {
            let name = relation_name(Oid(digits.parse().ok()?), catalog, path)?;
            Some((quote, name))
        });
        match name {
            Some((quote, name)) => {
                out.push_str(before.get(..=quote).unwrap_or_default());
                out.push_str(&name.replace('\'', "''"));
            }
            None => out.push_str(before),
        }
        out.push_str("'::regclass");
        rest = rest.get(at + "'::regclass".len()..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// A stored expression after a column was renamed.
pub fn rename_column(stored: &str, from: &str, to: &str) -> Result<String> {
    struct Renamer<'a>(&'a str, &'a str);
    impl VisitorMut for Renamer<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> std::ops::ControlFlow<()> {
            if let ast::Expr::Identifier(ident) = expr
                && ident.value == self.0
            {
                *ident = ast::Ident { value: self.1.to_owned(), ..ident.clone() };
                let quoted = quote_ident(self.1);
                ident.quote_style = quoted.starts_with('"').then_some('"');
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let (mut expr, _) = parse_expression(stored)?;
    let _ = expr.visit(&mut Renamer(from, to));
    Ok(expr.to_string())
}

/// pg_get_constraintdef.
pub fn constraint_def(table: &TableDef, constraint: &ConstraintDef, display: &Display<'_>) -> String {
    let mut out = constraint_body(table, constraint, display);
    if constraint.deferrable {
        out.push_str(" DEFERRABLE");
    }
    if constraint.initially_deferred {
        out.push_str(" INITIALLY DEFERRED");
    }
    if constraint.not_valid {
        out.push_str(" NOT VALID");
    }
    out
}

fn constraint_body(table: &TableDef, constraint: &ConstraintDef, display: &Display<'_>) -> String {
    let (catalog, path) = (display.catalog, display.path);
    let names = |table: &TableDef, attnums: &[i16]| {
        let names = attnums.iter().filter_map(|a| table.attribute(*a)).map(|c| quote_ident(&c.name));
        names.collect::<Vec<_>>().join(", ")
    };
    let index_columns = |oid: &Oid| {
        let attnums: Vec<i16> = table.index(*oid).map_or_else(Vec::new, |i| i.attnums().collect());
        names(table, &attnums)
    };
    let included = |oid: &Oid| match table.index(*oid).map(|i| names(table, &i.include)) {
        Some(names) if !names.is_empty() => format!(" INCLUDE ({names})"),
        _ => String::new(),
    };
    match &constraint.kind {
        ConstraintKind::PrimaryKey { index } => format!("PRIMARY KEY ({}){}", index_columns(index), included(index)),
        ConstraintKind::Unique { index } => {
            let nulls =
                if table.index(*index).is_some_and(|i| i.nulls_not_distinct) { " NULLS NOT DISTINCT" } else { "" };
            format!("UNIQUE{nulls} ({}){}", index_columns(index), included(index))
        }
        ConstraintKind::Check { expression, .. } => {
            let kept = if table.keeps_constraint(constraint.oid) { " NO INHERIT" } else { "" };
            format!("CHECK ({}){kept}", display.expression(expression, Some(table)))
        }
        ConstraintKind::ForeignKey(key) => {
            let to = catalog.tables.get(&key.references);
            let mut out = format!(
                "FOREIGN KEY ({}) REFERENCES {}({})",
                names(table, &key.columns),
                relation_name(key.references, catalog, path).unwrap_or_default(),
                to.map_or_else(String::new, |t| names(t, &key.referenced_columns))
            );
            if key.match_full {
                out.push_str(" MATCH FULL");
            }
            let action = |what: &str, action| match action {
                ReferentialAction::NoAction => String::new(),
                ReferentialAction::Restrict => format!(" ON {what} RESTRICT"),
                ReferentialAction::Cascade => format!(" ON {what} CASCADE"),
                ReferentialAction::SetNull => format!(" ON {what} SET NULL"),
                ReferentialAction::SetDefault => format!(" ON {what} SET DEFAULT"),
            };
            out.push_str(&action("UPDATE", key.on_update));
            out.push_str(&action("DELETE", key.on_delete));
            if !key.set_columns.is_empty() {
                out.push_str(&format!(" ({})", names(table, &key.set_columns)));
            }
            out
        }
    }
}

/// pg_get_indexdef of a whole index; the table's name is always qualified, as PostgreSQL does it outside psql.
pub fn index_def(table: &TableDef, index: &IndexDef, display: &Display<'_>) -> String {
    let catalog = display.catalog;
    let columns: Vec<String> =
        (0..index.columns.len()).filter_map(|i| index_column(table, index, i, display)).collect();
    let mut out = format!(
        "CREATE {}INDEX {} ON {}.{} USING {} ({})",
        if index.unique { "UNIQUE " } else { "" },
        quote_ident(&index.name),
        quote_ident(catalog.schema_name(table.schema)),
        quote_ident(&table.name),
        index.method.name(),
        columns.join(", ")
    );
    if !index.include.is_empty() {
        let names = index.include.iter().filter_map(|a| table.attribute(*a)).map(|c| quote_ident(&c.name));
        out.push_str(&format!(" INCLUDE ({})", names.collect::<Vec<_>>().join(", ")));
    }
    if index.nulls_not_distinct {
        out.push_str(" NULLS NOT DISTINCT");
    }
    if !index.options.is_empty() {
        // A value that is an identifier needs no quotes (PostgreSQL's `get_reloptions`).
        let quoted = |value: &str| match quote_ident(value) == value {
            true => value.to_owned(),
            false => quote_literal(value),
        };
        let options: Vec<String> = index.options.iter().map(|(n, v)| format!("{n}={}", quoted(v))).collect();
        out.push_str(&format!(" WITH ({})", options.join(", ")));
    }
    if let Some((predicate, _)) = &index.predicate {
        out.push_str(&format!(" WHERE {}", display.expression(predicate, Some(table))));
    }
    out
}

/// A column of an index with its direction.
fn index_column(table: &TableDef, index: &IndexDef, at: usize, display: &Display<'_>) -> Option<String> {
    let column = index.columns.get(at)?;
    let mut out = index_column_name(table, index, at + 1, display)?;
    if let Some(collation) = column.collation.filter(|c| Some(*c) != column.source_collation(table))
        && let Some(collation) = display.catalog.collation(collation)
    {
        out.push_str(" COLLATE ");
        out.push_str(&display.catalog.collation_shown(&collation, display.path));
    }
    if let Some(class) = &column.class {
        out.push(' ');
        out.push_str(class);
    }
    match (column.descending, column.nulls_first) {
        (false, false) | (true, true) => {}
        (false, true) => out.push_str(" NULLS FIRST"),
        (true, false) => out.push_str(" DESC NULLS LAST"),
    }
    if column.descending && column.nulls_first {
        out.push_str(" DESC");
    }
    Some(out)
}

/// One column of an index, from 1, without its direction.
pub fn index_column_name(table: &TableDef, index: &IndexDef, number: usize, display: &Display<'_>) -> Option<String> {
    let at = number.checked_sub(1)?;
    let Some(column) = index.columns.get(at) else {
        let included = index.include.get(at - index.columns.len())?;
        return Some(quote_ident(&table.attribute(*included)?.name));
    };
    Some(match &column.expression {
        Some(expression) => parenthesized(display.expression(&expression.text, Some(table))),
        None => quote_ident(&table.attribute(column.attnum)?.name),
    })
}

/// An expression where a column may stand.
pub fn parenthesized(text: String) -> String {
    if looks_like_function(&text) { text } else { format!("({text})") }
}

/// Whether an expression's text is a call by name, which needs no parentheses around it.
fn looks_like_function(text: &str) -> bool {
    let name = text.find('(').and_then(|at| text.get(..at)).unwrap_or_default();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '"');
    if name.is_empty() || !name.chars().all(plain) || !text.ends_with(')') {
        return false;
    }
    // The parenthesis that opens first closes last.
    let mut depth = 0i32;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if depth == 0 && c == ')' {
            return at + 1 == text.len();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted_where_needed() {
        for (name, quoted) in
            [("a", "a"), ("A", "\"A\""), ("user", "\"user\""), ("name", "name"), ("a b", "\"a b\""), ("1a", "\"1a\"")]
        {
            assert_eq!(quote_ident(name), quoted);
        }
        assert_eq!(quote_literal("it's"), "'it''s'");
    }

    #[test]
    fn regclass_constants_are_shown_by_name() {
        let catalog = Arc::new(Catalog::bootstrap("postgres", "postgres"));
        let path = catalog.search_path(&["public"], "postgres");
        let display = Display::plain(&catalog, &path);
        assert_eq!(display.expression("nextval('1'::regclass)", None), "nextval('1'::regclass)");
        assert_eq!(display.expression("nextval('1259'::regclass)", None), "nextval('pg_class'::regclass)");
    }
}
