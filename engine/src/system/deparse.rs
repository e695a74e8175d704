//! From bound expressions and definitions back to text, as PostgreSQL's `ruleutils.c` writes it: what pg_get_expr,
//! pg_get_constraintdef and pg_get_indexdef answer.
//!
//! Two forms: the *stored* one is what the catalog keeps and binds again (constants of regclass as the OID's digits, so that a
//! rename does not break them), the *shown* one has names in their place ([`shown`]).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use sqlparser::ast::{self, VisitMut, VisitorMut};

use crate::catalog::{Catalog, ConstraintDef, ConstraintKind, IndexDef, Oid, ReferentialAction, SearchPath, TableDef};
use crate::error::{Error, Result};
use crate::expr::{ExprKind, ScalarExpr};
use crate::functions::{Operator, registry};
use crate::sql::Scope;
use crate::sql::parse::parse_expression;
use crate::types::text::{self, FormatSettings};
use crate::types::{Datum, PgType, TypeOid, names};

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
    let mut out = String::new();
    Writer { scope }.write(expr, false, &mut out)?;
    Ok(out)
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

fn walk(expr: &ScalarExpr, visit: &mut impl FnMut(&ScalarExpr)) {
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
        | K::Row(args) => args.iter().for_each(|a| walk(a, visit)),
        K::Cast(cast) => walk(&cast.arg, visit),
        K::Not(arg) | K::IsNull { arg, .. } | K::IsBool { arg, .. } => walk(arg, visit),
        K::IsDistinct { left, right, .. } | K::NullIf { left, right, .. } => {
            walk(left, visit);
            walk(right, visit);
        }
        K::Case { whens, otherwise } => {
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

/// Operators by the function that computes them.
static OPERATORS: LazyLock<HashMap<u32, Arc<Operator>>> = LazyLock::new(|| {
    let mut map = HashMap::new();
    for operator in registry().operators() {
        map.entry(operator.function.oid).or_insert_with(|| operator.clone());
    }
    map
});

struct Writer<'a> {
    scope: &'a Scope,
}

impl Writer<'_> {
    /// `implicit`: casts that nobody wrote are shown, as in arguments of operators and functions.
    fn write(&self, expr: &ScalarExpr, implicit: bool, out: &mut String) -> Result<()> {
        use ExprKind as K;
        match &expr.kind {
            K::Const(value) => constant(value, expr.ty, out),
            K::Column { id, .. } => {
                let mut columns = self.scope.relations.iter().flat_map(|r| &r.columns);
                let column = columns.find(|c| c.id == *id);
                let column = column.ok_or_else(|| Error::internal("a column is not in scope"))?;
                out.push_str(&quote_ident(&column.name));
            }
            K::Call { function, args } => match (OPERATORS.get(&function.oid), args.as_slice()) {
                (Some(operator), [left, right]) => {
                    self.infix(left, &operator_text(operator.name), right, out)?;
                }
                (Some(operator), [arg]) if operator.left.is_none() => {
                    out.push('(');
                    out.push_str(operator.name);
                    out.push(' ');
                    self.write(arg, true, out)?;
                    out.push(')');
                }
                _ => self.list(&quote_ident(function.name), args, true, out)?,
            },
            K::Cast(cast) if !cast.explicit && !implicit => self.write(&cast.arg, implicit, out)?,
            K::Cast(cast) => {
                out.push('(');
                self.write(&cast.arg, false, out)?;
                out.push_str(")::");
                out.push_str(&type_name(cast.to));
            }
            K::And(args) => self.joined(args, " AND ", out)?,
            K::Or(args) => self.joined(args, " OR ", out)?,
            K::Not(arg) => {
                out.push_str("(NOT ");
                self.write(arg, false, out)?;
                out.push(')');
            }
            K::IsNull { arg, negated } => self.postfix(arg, if *negated { "IS NOT NULL" } else { "IS NULL" }, out)?,
            K::IsBool { arg, value, negated } => {
                let what = match value {
                    Some(true) => "TRUE",
                    Some(false) => "FALSE",
                    None => "UNKNOWN",
                };
                self.postfix(arg, &format!("IS {}{what}", if *negated { "NOT " } else { "" }), out)?;
            }
            K::IsDistinct { left, right, negated } => {
                let operator = if *negated { "IS NOT DISTINCT FROM" } else { "IS DISTINCT FROM" };
                self.infix(left, operator, right, out)?;
            }
            K::Case { whens, otherwise } => self.case(whens, otherwise.as_deref(), out)?,
            K::Coalesce(args) => self.list("COALESCE", args, true, out)?,
            K::Greatest(args) => self.list("GREATEST", args, true, out)?,
            K::Least(args) => self.list("LEAST", args, true, out)?,
            K::Row(args) => self.list("ROW", args, true, out)?,
            K::NullIf { left, right, .. } => {
                out.push_str("NULLIF(");
                self.write(left, true, out)?;
                out.push_str(", ");
                self.write(right, true, out)?;
                out.push(')');
            }
            K::InList { arg, list, negated } => {
                out.push('(');
                self.write(arg, true, out)?;
                out.push_str(if *negated { " <> ALL (" } else { " = ANY (" });
                self.array(list, out)?;
                out.push_str("))");
            }
            K::AnyAll { arg, operator, array, all } => {
                let name = OPERATORS.get(&operator.oid).map_or("=", |o| o.name);
                out.push('(');
                self.write(arg, true, out)?;
                out.push_str(&format!(" {name} {} (", if *all { "ALL" } else { "ANY" }));
                self.write(array, true, out)?;
                out.push_str("))");
            }
            K::Array(args) if args.is_empty() => out.push_str(&format!("ARRAY[]::{}", type_name(expr.ty))),
            K::Array(args) => self.array(args, out)?,
            K::Subscript { array, index } => {
                let plain = matches!(array.kind, K::Column { .. });
                out.push_str(if plain { "" } else { "(" });
                self.write(array, true, out)?;
                out.push_str(if plain { "[" } else { ")[" });
                self.write(index, false, out)?;
                out.push(']');
            }
            K::Param(_) => return Err(Error::unsupported("a parameter in a stored expression")),
            K::Query(_) => return Err(Error::unsupported("a subquery or aggregate in a stored expression")),
        }
        Ok(())
    }

    fn infix(&self, left: &ScalarExpr, operator: &str, right: &ScalarExpr, out: &mut String) -> Result<()> {
        out.push('(');
        self.write(left, true, out)?;
        out.push(' ');
        out.push_str(operator);
        out.push(' ');
        self.write(right, true, out)?;
        out.push(')');
        Ok(())
    }

    fn postfix(&self, arg: &ScalarExpr, what: &str, out: &mut String) -> Result<()> {
        out.push('(');
        self.write(arg, true, out)?;
        out.push(' ');
        out.push_str(what);
        out.push(')');
        Ok(())
    }

    fn joined(&self, args: &[ScalarExpr], separator: &str, out: &mut String) -> Result<()> {
        out.push('(');
        for (i, arg) in args.iter().enumerate() {
            out.push_str(if i > 0 { separator } else { "" });
            self.write(arg, false, out)?;
        }
        out.push(')');
        Ok(())
    }

    fn list(&self, name: &str, args: &[ScalarExpr], implicit: bool, out: &mut String) -> Result<()> {
        out.push_str(name);
        out.push('(');
        for (i, arg) in args.iter().enumerate() {
            out.push_str(if i > 0 { ", " } else { "" });
            self.write(arg, implicit, out)?;
        }
        out.push(')');
        Ok(())
    }

    fn array(&self, items: &[ScalarExpr], out: &mut String) -> Result<()> {
        out.push_str("ARRAY[");
        for (i, item) in items.iter().enumerate() {
            out.push_str(if i > 0 { ", " } else { "" });
            self.write(item, true, out)?;
        }
        out.push(']');
        Ok(())
    }

    fn case(&self, whens: &[(ScalarExpr, ScalarExpr)], otherwise: Option<&ScalarExpr>, out: &mut String) -> Result<()> {
        out.push_str("CASE");
        for (condition, value) in whens {
            out.push_str(" WHEN ");
            self.write(condition, false, out)?;
            out.push_str(" THEN ");
            self.write(value, true, out)?;
        }
        if let Some(otherwise) = otherwise {
            out.push_str(" ELSE ");
            self.write(otherwise, true, out)?;
        }
        out.push_str(" END");
        Ok(())
    }
}

fn operator_text(name: &str) -> String {
    name.to_owned()
}

/// As PostgreSQL's `get_const_expr`.
fn constant(value: &Datum, ty: PgType, out: &mut String) {
    match (value, ty.oid) {
        (Datum::Null, _) => out.push_str(&format!("NULL::{}", type_name(ty))),
        (Datum::Int4(n), _) if *n >= 0 => out.push_str(&n.to_string()),
        (Datum::Bool(b), _) => out.push_str(if *b { "true" } else { "false" }),
        (Datum::Oid(n), _) if ty.oid != TypeOid::OID => {
            out.push_str(&format!("'{n}'::{}", type_name(ty)));
        }
        (value, TypeOid::NUMERIC) => {
            let text = text::to_string(value, ty, &FormatSettings::default());
            let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            if plain && ty.typmod < 0 {
                out.push_str(&text);
            } else {
                out.push_str(&format!("'{text}'::numeric"));
            }
        }
        (value, _) => {
            let text = text::to_string(value, ty, &FormatSettings::default());
            let shown = match ty.oid {
                TypeOid::BPCHAR => "bpchar".to_owned(),
                TypeOid::VARCHAR => "character varying".to_owned(),
                _ => type_name(ty),
            };
            out.push_str(&format!("{}::{shown}", quote_literal(&text)));
        }
    }
}

/// A stored expression with the names of its regclass constants: what pg_get_expr shows.
pub fn shown(stored: &str, catalog: &Catalog, path: &SearchPath) -> String {
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
pub fn constraint_def(table: &TableDef, constraint: &ConstraintDef, catalog: &Catalog, path: &SearchPath) -> String {
    let names = |table: &TableDef, attnums: &[i16]| {
        let names = attnums.iter().filter_map(|a| table.attribute(*a)).map(|c| quote_ident(&c.name));
        names.collect::<Vec<_>>().join(", ")
    };
    let index_columns = |oid: &Oid| {
        let attnums: Vec<i16> = table.index(*oid).map_or_else(Vec::new, |i| i.attnums().collect());
        names(table, &attnums)
    };
    match &constraint.kind {
        ConstraintKind::PrimaryKey { index } => format!("PRIMARY KEY ({})", index_columns(index)),
        ConstraintKind::Unique { index } => format!("UNIQUE ({})", index_columns(index)),
        ConstraintKind::Check { expression, .. } => {
            let text = shown(expression, catalog, path);
            format!("CHECK ({})", if text.starts_with('(') { text } else { format!("({text})") })
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
            out
        }
    }
}

/// pg_get_indexdef of a whole index; the table's name is always qualified, as PostgreSQL does it outside psql.
pub fn index_def(table: &TableDef, index: &IndexDef, catalog: &Catalog) -> String {
    let columns: Vec<String> = (0..index.columns.len()).filter_map(|i| index_column(table, index, i)).collect();
    let mut out = format!(
        "CREATE {}INDEX {} ON {}.{} USING {} ({})",
        if index.unique { "UNIQUE " } else { "" },
        quote_ident(&index.name),
        quote_ident(catalog.schema_name(table.schema)),
        quote_ident(&table.name),
        if index.hash { "hash" } else { "btree" },
        columns.join(", ")
    );
    if !index.options.is_empty() {
        let options: Vec<String> = index.options.iter().map(|(n, v)| format!("{n}='{v}'")).collect();
        out.push_str(&format!(" WITH ({})", options.join(", ")));
    }
    out
}

/// A column of an index with its direction.
fn index_column(table: &TableDef, index: &IndexDef, at: usize) -> Option<String> {
    let column = index.columns.get(at)?;
    let mut out = quote_ident(&table.attribute(column.attnum)?.name);
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
pub fn index_column_name(table: &TableDef, index: &IndexDef, number: usize) -> Option<String> {
    let column = index.columns.get(number.checked_sub(1)?)?;
    Some(quote_ident(&table.attribute(column.attnum)?.name))
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
        let catalog = Catalog::bootstrap("postgres", "postgres");
        let path = catalog.search_path(&["public"], "postgres");
        assert_eq!(shown("nextval('1'::regclass)", &catalog, &path), "nextval('1'::regclass)");
        assert_eq!(shown("(a > 0)", &catalog, &path), "(a > 0)");
    }
}
