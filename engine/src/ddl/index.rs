//! CREATE INDEX, and what all indexes share: which columns they may have, names, the check for duplicates.

use std::sync::Arc;

use sqlparser::ast::{self, CreateIndex, Expr, IndexType};

use super::names::{self, Name, choose, joined};
use super::{DdlContext, allocate, expression, name_is_free, open_table, put_table};
use crate::catalog::{Computed, IndexColumn, IndexDef, IndexExpression, IndexMethod, Oid, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::system::deparse::{self, type_name};
use crate::txn::{TableLock, Transaction};
use crate::types::{Datum, PgType, TypeOid, text};

/// Most columns of an index, as in PostgreSQL.
const MOST_COLUMNS: usize = 32;

pub async fn create(create: &CreateIndex, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let tag = "CREATE INDEX".to_owned();
    if !create.index_options.is_empty() || !create.alter_options.is_empty() {
        return Err(Error::unsupported("CREATE INDEX with these options"));
    }
    let method = method(create)?;
    check_method(create, method)?;
    let table_name = Name::new(&create.table_name, &tx.catalog())?;
    let table = open_table(&table_name, false, TableLock::Share, tx, context).await?;
    let Some(table) = table else {
        return Ok(tag);
    };
    context.check_settled(&table, "CREATE INDEX")?;
    let mut table = (*table).clone();
    let columns = columns(create, method, &table, tx, context)?;
    if columns.len() + create.include.len() > MOST_COLUMNS {
        return Err(too_many_columns());
    }
    let mut include = Vec::with_capacity(create.include.len());
    for name in &create.include {
        include.push(find_column(&table, &names::ident(name))?.attnum);
    }
    let predicate = match &create.predicate {
        Some(expr) => Some(predicate(expr, &table, tx, context)?),
        None => None,
    };
    let name = match &create.name {
        Some(name) => {
            let name = Name::new(name, &tx.catalog())?.name;
            if !name_is_free(tx, table.schema, &name, create.if_not_exists, context)? {
                return Ok(tag);
            }
            name
        }
        None => {
            let parts = column_names(&columns, &include, &table);
            choose_name(&table, Some(&joined(parts.iter().map(String::as_str))), "idx", tx)
        }
    };
    let options = super::table::storage_options(&with_options(&create.with)?, super::table::OptionsOf::Index(method))?;
    let mut index = IndexDef {
        include,
        unique: create.unique,
        method,
        predicate,
        nulls_not_distinct: create.unique && create.nulls_distinct == Some(false),
        options,
        ..IndexDef::new(allocate(tx)?, name, table.oid, columns)
    };
    index.computed = Computed::bind(&index, &table, &tx.catalog()).map(Arc::new);
    if index.unique || index.computed.is_some() {
        validate(&table, &index, tx, context)?;
    }
    if !index.is_ordered() {
        let message = format!("index \"{}\" is kept as a definition: queries do not use it", index.name);
        let why = format!("There is no structure behind access method \"{}\"; tables are read instead.", method.name());
        let report = Error::new(SqlState::SuccessfulCompletion, message).detail(why);
        context.report(crate::error::NoticeLevel::Notice, report);
    }
    table.indexes.push(Arc::new(index));
    put_table(tx, table)?;
    Ok(tag)
}

fn method(create: &CreateIndex) -> Result<IndexMethod> {
    Ok(match &create.using {
        None | Some(IndexType::BTree) => IndexMethod::Btree,
        Some(IndexType::Hash) => IndexMethod::Hash,
        Some(IndexType::GIN) => IndexMethod::Gin,
        Some(IndexType::GiST) => IndexMethod::Gist,
        Some(IndexType::SPGiST) => IndexMethod::SpGist,
        Some(IndexType::BRIN) => IndexMethod::Brin,
        Some(other) => {
            return Err(Error::new(
                SqlState::UndefinedObject,
                format!("access method \"{}\" does not exist", other.to_string().to_lowercase()),
            ));
        }
    })
}

/// What PostgreSQL's access methods cannot do.
fn check_method(create: &CreateIndex, method: IndexMethod) -> Result<()> {
    use IndexMethod::{Btree, Gist, Hash, SpGist};
    let refused = [
        (create.unique && method != Btree, "unique indexes"),
        (!create.include.is_empty() && !matches!(method, Btree | Gist | SpGist), "included columns"),
        (create.columns.len() > 1 && matches!(method, Hash | SpGist), "multicolumn indexes"),
    ];
    let what = refused.iter().find(|(asked, _)| *asked).map(|(_, what)| *what);
    let ordered = create.columns.iter().find_map(|c| {
        let options = &c.column.options;
        let order = options.asc.is_some().then_some("ASC/DESC options");
        order.or(options.nulls_first.is_some().then_some("NULLS FIRST/LAST options"))
    });
    match what.or(ordered.filter(|_| method != Btree)) {
        None => Ok(()),
        Some(what) => Err(Error::new(
            SqlState::FeatureNotSupported,
            format!("access method \"{}\" does not support {what}", method.name()),
        )),
    }
}

fn find_column<'a>(table: &'a TableDef, name: &str) -> Result<&'a crate::catalog::ColumnDef> {
    table.column(name).ok_or_else(|| Error::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist")))
}

fn columns(
    create: &CreateIndex,
    method: IndexMethod,
    table: &TableDef,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<Vec<IndexColumn>> {
    let mut columns = Vec::with_capacity(create.columns.len());
    for written in &create.columns {
        let mut expr = &written.column.expr;
        let nested = matches!(expr, Expr::Nested(_));
        while let Expr::Nested(inner) = expr {
            expr = inner;
        }
        let (expr, collation) = match expr {
            Expr::Collate { expr, collation } => (&**expr, Some(collation)),
            _ => (&written.column.expr, None),
        };
        let descending = written.column.options.asc == Some(false);
        let mut column = IndexColumn {
            attnum: 0,
            expression: None,
            descending,
            nulls_first: written.column.options.nulls_first.unwrap_or(descending),
            class: None,
            collation: None,
        };
        let ty = match expr {
            Expr::Identifier(name) => {
                let found = find_column(table, &names::ident(name))?;
                column.attnum = found.attnum;
                found.ty
            }
            expr => {
                let (attnum, expression, ty) = key_expression(expr, table, tx, context)?;
                (column.attnum, column.expression) = (attnum, expression);
                ty
            }
        };
        if let Some(collation) = collation {
            let chosen = super::collation::chosen(collation, ty, tx, context);
            let chosen = chosen.map_err(|e| if nested { e } else { e.unlocated() })?;
            // The type's own collation is written where the column has another.
            let own = column.source_collation(table);
            let default = || crate::sql::bind::collation::of_type(ty.oid).filter(|_| own.is_some());
            column.collation = chosen.or_else(default);
        }
        let class = written.operator_class.as_ref().map(|class| class.to_string());
        column.class = operator_class(class.as_deref(), ty, method)?;
        if let Some(class) = column.class.as_deref().filter(|class| class.ends_with("_pattern_ops"))
            && super::collation::is_blurred(column.collation_in(table), &tx.catalog())
        {
            return Err(Error::new(
                SqlState::FeatureNotSupported,
                format!("nondeterministic collations are not supported for operator class \"{class}\""),
            ));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// An expression of an index: a column in parentheses is that column.
fn key_expression(
    expr: &Expr,
    table: &TableDef,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<(i16, Option<IndexExpression>, PgType)> {
    let (bound, scope, collation) = expression::collated_over_table(expr, table, "index expressions", tx, context)?;
    if let crate::expr::ExprKind::Column { id, .. } = &bound.kind {
        let attnum = scope.attribute_of(*id).unwrap_or_default();
        return Ok((attnum, None, bound.ty));
    }
    if !expression::is_immutable(&bound) {
        return Err(Error::new(
            SqlState::InvalidObjectDefinition,
            "functions in index expression must be marked IMMUTABLE",
        ));
    }
    let ty = bound.ty;
    if crate::types::names::row(ty.oid).is_some_and(|t| t.kind == b'p') {
        return Err(Error::new(
            SqlState::InvalidTableDefinition,
            format!("column \"expr\" has pseudo-type {}", type_name(ty)),
        ));
    }
    let text = deparse::stored(&bound, &scope)?;
    let mut reads = deparse::columns(&bound, &scope);
    reads.sort_unstable();
    reads.dedup();
    let name = crate::sql::bind::expression_name(expr).unwrap_or_else(|| "expr".to_owned());
    Ok((0, Some(IndexExpression { text, name, ty, collation, reads }), ty))
}

fn predicate(expr: &Expr, table: &TableDef, tx: &Transaction, context: &DdlContext<'_>) -> Result<(String, Vec<i16>)> {
    let (bound, scope) = expression::condition_over_table(expr, table, "index predicates", tx, context)?;
    if !expression::is_immutable(&bound) {
        return Err(Error::new(
            SqlState::InvalidObjectDefinition,
            "functions in index predicate must be marked IMMUTABLE",
        ));
    }
    let mut reads = deparse::columns(&bound, &scope);
    reads.sort_unstable();
    reads.dedup();
    Ok((deparse::stored(&bound, &scope)?, reads))
}

/// A column of the table has another type, as ALTER COLUMN TYPE gives it: the indexes that read it are made anew as they are
/// written, so that their classes must fit the type and their expressions must mean something.
pub fn column_retyped(table: &mut TableDef, attnum: i16, tx: &Transaction, context: &DdlContext<'_>) -> Result<()> {
    let mut indexes = table.indexes.clone();
    for index in indexes.iter_mut().filter(|i| i.reads().any(|a| a == attnum)) {
        let mut new = (**index).clone();
        for column in &mut new.columns {
            let ty = match &mut column.expression {
                Some(expression) => {
                    let (expr, _) = crate::sql::parse::parse_expression(&expression.text)?;
                    let (_, bound, ty) = key_expression(&expr, table, tx, context).map_err(Error::nowhere)?;
                    let collation = bound.and_then(|bound| bound.collation);
                    (expression.ty, expression.collation) = (ty, collation);
                    ty
                }
                None => table.attribute(column.attnum).map_or(TypeOid::TEXT.into(), |c| c.ty),
            };
            if column.collation.is_some() && crate::sql::bind::collation::of_type(ty.oid).is_none() {
                let message = format!("collations are not supported by type {}", type_name(PgType::from(ty.oid)));
                return Err(Error::new(SqlState::DatatypeMismatch, message));
            }
            column.class = operator_class(column.class.as_deref(), ty, new.method)?;
        }
        if let Some((text, _)) = &new.predicate {
            let (expr, _) = crate::sql::parse::parse_expression(text)?;
            predicate(&expr, table, tx, context).map_err(Error::nowhere)?;
        }
        *index = Arc::new(new);
    }
    table.indexes = indexes;
    Ok(())
}

/// Names of an index's columns, each once.
pub fn column_names(columns: &[IndexColumn], include: &[i16], table: &TableDef) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    let of_column = |attnum: i16| table.attribute(attnum).map_or_else(String::new, |c| c.name.clone());
    let own = columns.iter().map(|c| match &c.expression {
        Some(expression) => expression.name.clone(),
        None => of_column(c.attnum),
    });
    for base in own.chain(include.iter().map(|a| of_column(*a))) {
        let mut name = base.clone();
        let mut number = 0;
        while names.contains(&name) {
            number += 1;
            name = format!("{base}{number}");
        }
        names.push(name);
    }
    names
}

/// The operator class as it is kept: nothing for the type's default one. Strings are ordered by their bytes, so the pattern
/// classes order them as the default one does.
pub(super) fn operator_class(class: Option<&str>, ty: PgType, method: IndexMethod) -> Result<Option<String>> {
    let Some(class) = class else {
        check_default_class(ty, method)?;
        return Ok(None);
    };
    let class = class.to_lowercase();
    let class = class.strip_prefix("pg_catalog.").unwrap_or(&class);
    let string = matches!(ty.oid, TypeOid::TEXT | TypeOid::VARCHAR | TypeOid::BPCHAR | TypeOid::NAME);
    let base = crate::types::names::row(ty.oid);
    let array = base.is_some_and(|t| t.category == b'A');
    let own = class.strip_suffix("_ops").is_some_and(|c| c == base.map_or("", |t| t.name));
    let pattern = matches!(class, "text_pattern_ops" | "varchar_pattern_ops" | "bpchar_pattern_ops");
    let ordered = matches!(method, IndexMethod::Btree | IndexMethod::Hash);
    match class {
        _ if ordered && pattern && string => return Ok(Some(class.to_owned())),
        "text_ops" | "varchar_ops" if ordered && string => return Ok(None),
        "array_ops" if array => return Ok(None),
        "range_ops" if ty.oid.is_range() && check_default_class(ty, method).is_ok() => return Ok(None),
        "multirange_ops" if ty.oid.is_multirange() && check_default_class(ty, method).is_ok() => return Ok(None),
        "jsonb_path_ops" if method == IndexMethod::Gin && ty.oid == TypeOid::JSONB => {
            return Ok(Some(class.to_owned()));
        }
        "cidr_ops" if ordered && ty.oid == TypeOid::INET => return Ok(Some(class.to_owned())),
        "inet_ops" if ordered && ty.oid == TypeOid::CIDR => return Ok(Some(class.to_owned())),
        "inet_ops" if method == IndexMethod::Gist && own => return Ok(Some(class.to_owned())),
        _ if own && check_default_class(ty, method).is_ok() => return Ok(None),
        _ if method == IndexMethod::Brin && class.ends_with("_minmax_ops") => return Ok(None),
        _ => {}
    }
    let known = class.strip_suffix("_ops").is_some_and(|c| crate::types::names::lookup(c).is_some()) || pattern;
    if known && ordered || class == "jsonb_path_ops" && method == IndexMethod::Gin {
        return Err(Error::new(
            SqlState::DatatypeMismatch,
            format!("operator class \"{class}\" does not accept data type {}", type_name(PgType::from(ty.oid))),
        ));
    }
    Err(Error::new(
        SqlState::UndefinedObject,
        format!("operator class \"{class}\" does not exist for access method \"{}\"", method.name()),
    ))
}

/// 42704 for a type that the access method has no default operator class for.
fn check_default_class(ty: PgType, method: IndexMethod) -> Result<()> {
    let array = crate::types::names::row(ty.oid).is_some_and(|t| t.category == b'A');
    let unordered = crate::types::names::is_unordered(ty.oid);
    let range = ty.oid.is_range() || ty.oid.is_multirange();
    let has = match method {
        IndexMethod::Btree | IndexMethod::Hash => !unordered,
        IndexMethod::Brin => {
            !unordered && !array && !ty.oid.is_multirange() && !matches!(ty.oid, TypeOid::BOOL | TypeOid::JSONB)
        }
        IndexMethod::Gin => array || ty.oid == TypeOid::JSONB,
        IndexMethod::SpGist => matches!(ty.oid, TypeOid::TEXT | TypeOid::VARCHAR) || ty.oid.is_range(),
        IndexMethod::Gist => range,
    };
    if has {
        return Ok(());
    }
    let name = type_name(PgType::from(ty.oid));
    let message = format!("data type {name} has no default operator class for access method \"{}\"", method.name());
    Err(Error::new(SqlState::UndefinedObject, message)
        .hint("You must specify an operator class for the index or define a default operator class for the data type."))
}

/// The column that an expression is; an error for anything else.
pub fn plain_column(expr: &Expr) -> Result<String> {
    match expr {
        Expr::Identifier(name) => Ok(names::ident(name)),
        other => Err(Error::new(SqlState::SyntaxError, format!("a column name was expected, not {other}"))),
    }
}

fn too_many_columns() -> Error {
    Error::new(SqlState::TooManyColumns, format!("cannot use more than {MOST_COLUMNS} columns in an index"))
}

/// Columns of a key: few enough, and of types that have an order.
pub fn check_columns(table: &TableDef, attnums: &[i16], included: usize) -> Result<()> {
    if attnums.len() + included > MOST_COLUMNS {
        return Err(too_many_columns());
    }
    let mut columns = attnums.iter().filter_map(|a| table.attribute(*a));
    columns.try_for_each(|column| check_default_class(column.ty, IndexMethod::Btree))
}

/// `table_columns_label`, numbered until it is free.
pub fn choose_name(table: &TableDef, columns: Option<&str>, label: &str, tx: &Transaction) -> String {
    let catalog = tx.catalog();
    choose(&table.name, columns, label, |name| {
        table.name == name
            || table.indexes.iter().any(|i| i.name == name)
            || names::is_taken(&catalog, table.schema, name)
    })
}

/// Computes the index of every stored row; 23505 if a unique one has a key twice.
pub fn validate(table: &TableDef, index: &IndexDef, tx: &mut Transaction, context: &DdlContext<'_>) -> Result<()> {
    let Some(stored) = tx.table(table.oid) else {
        return Ok(());
    };
    let Some(row) = tx.find_duplicate(&stored, index)? else {
        return Ok(());
    };
    let catalog = tx.catalog();
    let key = key_text(table, index, &row, &catalog, &context.eval);
    Err(Error::new(SqlState::UniqueViolation, format!("could not create unique index \"{}\"", index.name))
        .detail(format!("Key {key} is duplicated."))
        .table(catalog.schema_name(table.schema), &table.name)
        .constraint(&index.name))
}

/// `(a, lower(b))=(1, x)`: the key that a row has in an index.
pub fn key_text(
    table: &TableDef,
    index: &IndexDef,
    row: &[Datum],
    catalog: &Arc<crate::catalog::Catalog>,
    eval: &crate::functions::EvalContext,
) -> String {
    let path = catalog.search_path(&["public"], "");
    let display = deparse::Display { pretty: true, ..deparse::Display::plain(catalog, &path) };
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (at, column) in index.columns.iter().enumerate() {
        names.push(deparse::index_column_name(table, index, at + 1, &display).unwrap_or_default());
        let (value, ty) = match &column.expression {
            None => {
                let value = usize::try_from(column.attnum - 1).ok().and_then(|i| row.get(i)).cloned();
                (value, table.attribute(column.attnum).map_or(TypeOid::TEXT.into(), |c| c.ty))
            }
            Some(expression) => {
                let function = index.computed.as_ref().and_then(|c| c.expressions.get(at)?.as_ref());
                let cell = |c: usize| crate::storage::cell_of(row, c);
                (function.and_then(|f| f.value(&cell).ok()), expression.ty)
            }
        };
        let value = value.unwrap_or(Datum::Null);
        values.push(if value.is_null() { "null".to_owned() } else { text::to_string(&value, ty, &eval.format) });
    }
    format!("({})=({})", names.join(", "), values.join(", "))
}

/// Takes an index out of its table; the OID of the table.
pub fn remove(index: Oid, tx: &mut Transaction) -> Result<()> {
    let catalog = tx.catalog();
    let Some(table) = catalog.index_table(index) else {
        return Ok(());
    };
    let mut table = (**table).clone();
    table.indexes.retain(|i| i.oid != index);
    put_table(tx, table)
}

pub fn with_options(with: &[Expr]) -> Result<Vec<(String, String)>> {
    let option = |expr: &Expr| match expr {
        Expr::BinaryOp { left, op: ast::BinaryOperator::Eq, right } => {
            Ok((left.to_string().to_lowercase(), right.to_string().trim_matches('\'').to_lowercase()))
        }
        Expr::Identifier(name) => Ok((names::ident(name), "true".to_owned())),
        other => Err(Error::new(SqlState::SyntaxError, format!("invalid index option {other}"))),
    };
    with.iter().map(option).collect()
}
