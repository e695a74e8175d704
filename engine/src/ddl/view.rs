//! Views: CREATE and CREATE OR REPLACE VIEW, and what happens to a view when something under it is renamed or moved.
//!
//! A view keeps the text of its query with every relation's name qualified and every `*` of its select list spelled
//! out, so that later columns do not join it.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    self, CreateTableOptions, CreateView, Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, VisitMut, VisitorMut,
};

use super::inherit::collation_shown;
use super::names::{self, Name};
use super::temporary::creation_schema;
use super::view_options;
use super::{DdlContext, allocate_many, expression, name_is_free, policy, privilege, put};
use crate::catalog::{Catalog, LATER, Object, Oid, Relation, SchemaDef, SearchPath, TableDef, ViewDef};
use crate::error::{Error, Result, SqlState};
use crate::sql::parse::parse_query;
use crate::sql::rewrite::only;
use crate::system::deparse::quote_ident;
use crate::txn::Transaction;
use crate::types::names as types;
use crate::types::user::row_type;
use crate::types::{PgType, TypeOid};

/// The name that stands for WITH CHECK OPTION in the tree: no client can write it.
pub const CHECK_MARK: &str = "\u{1}check";

/// CREATE MATERIALIZED VIEW: makes the empty table, which the caller then fills. `None`: it exists and IF NOT EXISTS was
/// said.
pub async fn create_materialized(
    create: &CreateView,
    columns: &[crate::session::Column],
    populated: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Option<Oid>> {
    tx.make_temporary(false);
    tx.begin_ddl().await?;
    check_supported(&CreateView { options: CreateTableOptions::None, ..create.clone() })?;
    let catalog = tx.catalog();
    let name = Name::new(&create.name, &catalog)?;
    let schema = name.creation_schema(&catalog, &context.path(&catalog))?;
    privilege::check_create(&catalog, context.user, schema)?;
    if !name_is_free(tx, schema, &name.name, create.if_not_exists, context)? {
        return Ok(None);
    }
    let options = super::table::table_options(&create.options)?;
    let options = super::table::storage_options(&options, super::table::OptionsOf::Table)?;
    let view = definition(create, columns, schema, name.name, tx, context)?;
    if view.depends_on.iter().any(|oid| oid.is_temporary()) {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            "materialized views must not use temporary tables or views",
        ));
    }
    let oid = allocate_many(tx, 4)?;
    let view = ViewDef { oid, row_type: row_type(oid), populated: Some(populated), ..view };
    let column = |(i, (name, ty)): (usize, &(String, PgType))| {
        let attnum = i as i16 + 1;
        let collation = view.collations.iter().find(|(number, _)| *number == attnum).map(|(_, oid)| *oid);
        crate::catalog::ColumnDef { collation, ..super::column::blank(attnum, name.clone(), *ty) }
    };
    let table = TableDef {
        oid,
        schema,
        name: view.name.clone(),
        owner: context.user,
        storage: oid,
        columns: view.columns.iter().enumerate().map(column).collect(),
        indexes: Vec::new(),
        constraints: Vec::new(),
        row_type: view.row_type,
        persistence: crate::catalog::Persistence::Permanent,
        materialized: Some(Arc::new(view)),
        options,
        comment: None,
        inheritance: Default::default(),
    };
    super::put_table(tx, table)?;
    Ok(Some(oid))
}

/// REFRESH MATERIALIZED VIEW, first half: the query whose rows replace those that are there.
pub async fn begin_refresh(
    name: &ObjectName,
    concurrently: bool,
    with_data: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Arc<ViewDef>> {
    let catalog = tx.catalog();
    let name = Name::new(name, &catalog)?;
    let relation = name.resolve(&catalog, &context.path(&catalog))?;
    let view = match &relation {
        Relation::Table(table) => table.materialized.clone().map(|view| (table, view)),
        _ => None,
    };
    let Some((table, view)) = view else {
        let message = format!("\"{}\" is not a materialized view", relation.name());
        return Err(Error::new(SqlState::WrongObjectType, message));
    };
    privilege::check_owner(&catalog, context.user, table.owner, "materialized view", &table.name)?;
    if concurrently && !with_data {
        return Err(Error::new(SqlState::SyntaxError, "CONCURRENTLY and WITH NO DATA options cannot be used together"));
    }
    if concurrently && view.populated == Some(false) {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            "CONCURRENTLY cannot be used when the materialized view is not populated",
        ));
    }
    if concurrently && !table.indexes.iter().any(|i| i.unique && i.is_plain()) {
        let shown = format!("{}.{}", catalog.schema_name(table.schema), table.name);
        return Err(Error::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!("cannot refresh materialized view \"{shown}\" concurrently"),
        )
        .hint("Create a unique index with no WHERE clause on one or more columns of the materialized view."));
    }
    // Other refreshes wait; readers go on until the new rows take the place of the old ones.
    super::lock(tx, table.oid, crate::txn::TableLock::Exclusive, context).await?;
    Ok(view)
}

/// Second half: an empty store, which the caller fills.
pub async fn replace_rows(oid: Oid, populated: bool, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<()> {
    tx.make_temporary(false);
    tx.begin_ddl().await?;
    super::lock(tx, oid, crate::txn::TableLock::AccessExclusive, context).await?;
    let catalog = tx.catalog();
    let table = catalog.tables.get(&oid);
    let (Some(table), Some(view)) = (table, table.and_then(|t| t.materialized.as_ref())) else {
        return Err(Error::new(SqlState::UndefinedTable, "the materialized view was dropped"));
    };
    let view = ViewDef { populated: Some(populated), ..(**view).clone() };
    let storage = super::allocate(tx)?;
    super::put_table(tx, TableDef { storage, materialized: Some(Arc::new(view)), ..(**table).clone() })
}

pub fn create(create: &CreateView, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let tag = "CREATE VIEW".to_owned();
    check_supported(create)?;
    let catalog = tx.catalog();
    let mut binder = expression::binder(context.source.clone(), tx, context);
    let bound = binder.bind_query(&create.query)?;
    let mut name = Name::new(&create.name, &catalog)?;
    let over_temporary = bound.reads.iter().any(|oid| oid.is_temporary());
    let temporary = create.temporary || (over_temporary && name.schema.is_none());
    let schema = creation_schema(&mut name, temporary, tx, context)?;
    if over_temporary && !schema.is_temporary() {
        return Err(Error::new(
            SqlState::InvalidTableDefinition,
            "cannot create temporary relation in non-temporary schema",
        ));
    }
    if over_temporary && !create.temporary {
        context.notice(SqlState::SuccessfulCompletion, format!("view \"{}\" will be a temporary view", name.name));
    }
    privilege::check_create(&catalog, context.user, schema)?;
    let old = match catalog.relation_in(schema, &name.name) {
        Some(Relation::View(old)) if create.or_replace => {
            privilege::check_owner(&catalog, context.user, old.owner, "view", &old.name)?;
            Some(old)
        }
        Some(other) if create.or_replace => {
            return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a view", other.name())));
        }
        _ => None,
    };
    if old.is_none() && !name_is_free(tx, schema, &name.name, create.if_not_exists, context)? {
        return Ok(tag);
    }
    if bound.columns.is_empty() {
        return Err(Error::unsupported("a view without columns"));
    }
    let view = definition(create, &bound.columns, schema, name.name, tx, context)?;
    let options = view_options::written(&create.options)?;
    let view = view_options::apply(&view, options)?;
    let view = match old {
        Some(old) => {
            let view = replacing(&old, view, &catalog)?;
            for at in old.columns.len()..view.columns.len() {
                column_added(view.oid, at as i16 + 1, tx)?;
            }
            view
        }
        None => {
            let oid = allocate_many(tx, 4)?;
            ViewDef { oid, row_type: row_type(oid), ..view }
        }
    };
    put(tx, Object::View(Arc::new(view)))?;
    Ok(tag)
}

/// The view that a query makes, without OIDs.
fn definition(
    create: &CreateView,
    bound: &[crate::session::Column],
    schema: Oid,
    name: String,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<ViewDef> {
    let mut columns: Vec<(String, PgType)> = bound.iter().map(|c| (c.name.clone(), text_for_unknown(c.ty))).collect();
    let selected: Vec<String> = columns.iter().map(|c| c.0.clone()).collect();
    if create.columns.len() > columns.len() {
        return Err(Error::new(SqlState::SyntaxError, "CREATE VIEW specifies more column names than columns"));
    }
    for (column, given) in columns.iter_mut().zip(&create.columns) {
        column.0 = names::ident(&given.name);
    }
    check_column_names(&columns)?;
    for (name, ty) in &columns {
        super::column::check_type(name, *ty)?;
    }
    let mut collations = Vec::new();
    let mut query = (*create.query).clone();
    let mut binder = expression::binder(context.source.clone(), tx, context);
    binder.note_named();
    for (i, derived) in binder.bind_kept(&mut query)?.collations {
        let undetermined = || {
            let name = columns.get(i).map_or("", |c| c.0.as_str());
            let message = format!("could not determine which collation to use for view column \"{name}\"");
            Error::new(SqlState::IndeterminateCollation, message)
                .hint("Use the COLLATE clause to set the collation explicitly.")
        };
        collations.push((i as i16 + 1, derived.ok_or_else(undetermined)?));
    }
    let (catalog, path) = (tx.catalog(), context.path(&tx.catalog()));
    expand_wildcards(&mut query, &selected, &catalog, &path, tx, context)?;
    let mut qualifier = Qualifier { catalog: &catalog, path: &path, local: Vec::new(), reads: Vec::new() };
    let _ = query.visit(&mut qualifier);
    let mut depends_on = qualifier.reads;
    let columns_read = binder.take_named();
    depends_on.extend(binder.relied_on().iter().collect::<BTreeSet<_>>());
    Ok(ViewDef {
        oid: Oid(0),
        schema,
        name,
        owner: context.user,
        query: query.to_string(),
        columns,
        collations,
        depends_on,
        columns_read,
        known_as: Vec::new(),
        populated: None,
        row_type: Oid(0),
        comment: None,
        check_option: None,
        column_comments: Vec::new(),
        options: Vec::new(),
        invoker: false,
    })
}

/// The columns of a view that are of domains, by index.
pub fn domains(view: &ViewDef, tx: &Transaction, context: &DdlContext<'_>) -> Result<Vec<(usize, Oid)>> {
    let (query, source) = parse_query(&view.query)?;
    let mut binder = expression::binder(source, tx, context);
    binder.know_as(view);
    Ok(binder.bind_query(&query)?.domains)
}

fn check_supported(create: &CreateView) -> Result<()> {
    if create.secure || create.or_alter || create.to.is_some() || create.params.is_some() || create.comment.is_some() {
        return Err(Error::unsupported("this form of CREATE VIEW"));
    }
    Ok(())
}

fn text_for_unknown(ty: PgType) -> PgType {
    if ty.oid == TypeOid::UNKNOWN { TypeOid::TEXT.into() } else { ty }
}

fn check_column_names(columns: &[(String, PgType)]) -> Result<()> {
    let mut seen = HashSet::new();
    match columns.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        Some((name, _)) => {
            Err(Error::new(SqlState::DuplicateColumn, format!("column \"{name}\" specified more than once")))
        }
        None => Ok(()),
    }
}

/// OR REPLACE keeps the OID and may only add columns at the end.
fn replacing(old: &ViewDef, new: ViewDef, catalog: &Catalog) -> Result<ViewDef> {
    let invalid = |message: String| Err(Error::new(SqlState::InvalidTableDefinition, message));
    if new.columns.len() < old.columns.len() {
        return invalid("cannot drop columns from view".to_owned());
    }
    for ((attnum, (old_name, old_ty)), (name, ty)) in (1..).zip(&old.columns).zip(&new.columns) {
        if old_name != name {
            return Err(Error::new(
                SqlState::InvalidTableDefinition,
                format!("cannot change name of view column \"{old_name}\" to \"{name}\""),
            )
            .hint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead."));
        }
        if old_ty != ty {
            let (from, to) = (crate::system::deparse::type_name(*old_ty), crate::system::deparse::type_name(*ty));
            return invalid(format!("cannot change data type of view column \"{name}\" from {from} to {to}"));
        }
        let (from, to) = (old.collation(attnum), new.collation(attnum));
        if from != to {
            let (from, to) = (collation_shown(from, catalog), collation_shown(to, catalog));
            return invalid(format!("cannot change collation of view column \"{name}\" from \"{from}\" to \"{to}\""));
        }
    }
    if new.depends_on.contains(&old.oid) {
        return Err(Error::new(
            SqlState::InvalidObjectDefinition,
            format!("infinite recursion detected in rules for relation \"{}\"", old.name),
        ));
    }
    Ok(ViewDef {
        oid: old.oid,
        row_type: old.row_type,
        comment: old.comment.clone(),
        column_comments: old.column_comments.clone(),
        owner: old.owner,
        ..new
    })
}

/// Spells out the `*` of the select lists; `names` are the query's columns.
fn expand_wildcards(
    query: &mut Query,
    names: &[String],
    catalog: &Catalog,
    path: &SearchPath,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<()> {
    expand_body(&mut query.body, query.with.as_ref(), names, catalog, path, tx, context)
}

fn expand_body(
    body: &mut SetExpr,
    with: Option<&ast::With>,
    names: &[String],
    catalog: &Catalog,
    path: &SearchPath,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<()> {
    match body {
        SetExpr::Select(select) => expand_select(select, names, catalog, path),
        SetExpr::Query(query) => expand_wildcards(query, names, catalog, path, tx, context),
        SetExpr::SetOperation { left, right, .. } => {
            for arm in [left, right] {
                if !has_wildcard(arm) {
                    continue;
                }
                // An arm has names of its own: they are those that it has as a query.
                let alone = Query { with: with.cloned(), ..query_of(arm) };
                let bound = expression::binder(context.source.clone(), tx, context).bind_query(&alone)?;
                let names: Vec<String> = bound.columns.iter().map(|c| c.name.clone()).collect();
                expand_body(arm, with, &names, catalog, path, tx, context)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn query_of(body: &SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body.clone()),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

fn has_wildcard(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.projection.iter().any(is_wildcard),
        SetExpr::Query(query) => has_wildcard(&query.body),
        SetExpr::SetOperation { left, right, .. } => has_wildcard(left) || has_wildcard(right),
        _ => false,
    }
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

fn expand_select(select: &mut Select, names: &[String], catalog: &Catalog, path: &SearchPath) -> Result<()> {
    let wildcards = select.projection.iter().filter(|i| is_wildcard(i)).count();
    if wildcards == 0 {
        return Ok(());
    }
    let others = select.projection.len() - wildcards;
    let mut items = Vec::with_capacity(names.len());
    let mut rest = names;
    let mut left = wildcards;
    for item in std::mem::take(&mut select.projection) {
        if !is_wildcard(&item) {
            rest = rest.get(1..).unwrap_or_default();
            items.push(item);
            continue;
        }
        left -= 1;
        let qualifier = match &item {
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                name.0.last().and_then(|p| p.as_ident()).cloned()
            }
            _ => None,
        };
        let count = if left == 0 && wildcards == 1 {
            names.len().checked_sub(others)
        } else {
            qualifier.as_ref().and_then(|q| relation_width(select, q, catalog, path))
        };
        let Some((expanded, after)) = count.and_then(|count| rest.split_at_checked(count)) else {
            return Err(Error::unsupported("a view with several * over joins: name the columns"));
        };
        rest = after;
        for name in expanded {
            let column = Ident::with_quote('"', name);
            items.push(SelectItem::UnnamedExpr(match &qualifier {
                Some(qualifier) => Expr::CompoundIdentifier(vec![qualifier.clone(), column]),
                None => Expr::Identifier(column),
            }));
        }
    }
    select.projection = items;
    Ok(())
}

/// Number of columns of the relation that an alias means, if it is a table or view.
fn relation_width(select: &Select, qualifier: &Ident, catalog: &Catalog, path: &SearchPath) -> Option<usize> {
    let factors =
        select.from.iter().flat_map(|t| std::iter::once(&t.relation).chain(t.joins.iter().map(|j| &j.relation)));
    for factor in factors {
        let TableFactor::Table { name, alias, .. } = factor else {
            continue;
        };
        let shown = match alias {
            Some(alias) => names::ident(&alias.name),
            None => names::parts(name).ok()?.pop()?,
        };
        if shown != names::ident(qualifier) {
            continue;
        }
        return match Name::new(&only::split(name).0, catalog).ok()?.find(catalog, path)? {
            Relation::Table(t) => Some(t.live_columns().count()),
            Relation::View(v) => Some(v.columns.len()),
            Relation::System(s) => Some(s.columns.len()),
            _ => None,
        };
    }
    None
}

/// Qualifies every relation that is not a CTE, and notes its OID.
struct Qualifier<'a> {
    catalog: &'a Catalog,
    path: &'a SearchPath,
    /// Names of CTEs, a set for each query that the visit is inside of.
    local: Vec<HashSet<String>>,
    reads: Vec<Oid>,
}

impl VisitorMut for Qualifier<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let ctes = query.with.iter().flat_map(|w| &w.cte_tables).map(|c| names::ident(&c.alias.name));
        self.local.push(ctes.collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.local.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { data_type, .. } => self.number_type(data_type),
            Expr::TypedString(typed) => self.number_type(&mut typed.data_type),
            Expr::Function(function) => self.qualify_routine(&mut function.name),
            Expr::Collate { collation, .. } => self.number_collation(collation),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } = factor {
            self.qualify_routine(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        let (written, only) = only::split(relation);
        let Ok(name) = Name::new(&written, self.catalog) else {
            return ControlFlow::Continue(());
        };
        if name.schema.is_none() && self.local.iter().any(|ctes| ctes.contains(&name.name)) {
            return ControlFlow::Continue(());
        }
        if let Some(found) = name.find(self.catalog, self.path) {
            if !self.reads.contains(&found.oid()) {
                self.reads.push(found.oid());
            }
            *relation = only::join(qualified(self.catalog.schema_name(found.schema()), found.name()), only);
        }
        ControlFlow::Continue(())
    }
}

impl Qualifier<'_> {
    /// A function that users made, under its full name.
    fn qualify_routine(&self, name: &mut ObjectName) {
        let Ok(parts) = names::parts(name) else { return };
        let [function] = parts.as_slice() else { return };
        if !crate::functions::registry().lookup(function).is_empty() {
            return;
        }
        if let Some(routine) = self.catalog.routines_named(None, function, self.path).first() {
            *name = qualified(self.catalog.schema_name(routine.schema), &routine.name);
        }
    }

    /// A collation goes by its number if a user made it.
    fn number_collation(&self, written: &mut ObjectName) {
        let Ok(name) = Name::new(written, self.catalog) else { return };
        if let Ok(found) = self.catalog.find_collation(name.schema.as_deref(), &name.name, self.path) {
            *written = match &found {
                crate::catalog::Collation::Builtin(builtin) => qualified("pg_catalog", builtin.name),
                crate::catalog::Collation::Own(own) => qualified("pg_catalog", &format!("~{}", own.oid.0)),
            };
        }
    }

    /// A type that a user made goes by its number, so that it may be renamed.
    fn number_type(&self, ty: &mut ast::DataType) {
        use ast::ArrayElemTypeDef as A;
        match ty {
            ast::DataType::Array(A::SquareBracket(element, _) | A::AngleBracket(element)) => self.number_type(element),
            ast::DataType::Custom(written, _) => {
                let Ok(name) = Name::new(written, self.catalog) else { return };
                let built_in = types::lookup(&name.name).or_else(|| types::lookup_sql(&name.name)).is_some();
                if name.schema.is_none() && built_in {
                    return;
                }
                if let Some(found) = self.catalog.find_type(name.schema.as_deref(), &name.name, self.path)
                    && found.user_kind().is_some()
                {
                    *written = qualified("pg_catalog", &format!("~{}", found.0));
                }
            }
            _ => {}
        }
    }
}

fn qualified(schema: &str, name: &str) -> ObjectName {
    let part = |text: &str| {
        let quoted = quote_ident(text).starts_with('"').then_some('"');
        ObjectNamePart::Identifier(Ident { quote_style: quoted, ..Ident::new(text) })
    };
    ObjectName(vec![part(schema), part(name)])
}

/// An expression as the only item of a query over a table, as it is stored: the text, and the relations that it reads.
pub fn qualified_item(
    expr: &Expr,
    table: &TableDef,
    catalog: &Catalog,
    path: &SearchPath,
) -> Result<(String, Vec<Oid>)> {
    let name = qualified(catalog.schema_name(table.schema), &table.name);
    let (mut query, _) = parse_query(&format!("SELECT true FROM {name}"))?;
    if let SetExpr::Select(select) = &mut *query.body {
        select.projection = vec![SelectItem::UnnamedExpr(expr.clone())];
    }
    let mut qualifier = Qualifier { catalog, path, local: Vec::new(), reads: Vec::new() };
    let _ = query.visit(&mut qualifier);
    Ok((query.to_string(), qualifier.reads))
}

/// A column gets another name: views that read it go on under the old one in their texts.
pub fn column_renamed(relation: Oid, attnum: i16, from: &str, tx: &mut Transaction) -> Result<()> {
    let catalog = tx.catalog();
    for view in catalog.views_on(relation) {
        if view.known_as.iter().any(|(oid, number, _)| (*oid, *number) == (relation, attnum)) {
            continue;
        }
        let mut view = (**view).clone();
        view.known_as.push((relation, attnum, from.to_owned()));
        put_view(view, tx)?;
    }
    policy::column_renamed(relation, attnum, from, tx)
}

/// A relation gets one more column: the texts of the views on it, and of policies that read it, mean none of that name.
pub fn column_added(relation: Oid, attnum: i16, tx: &mut Transaction) -> Result<()> {
    for view in tx.catalog().views_on(relation) {
        let mut view = (**view).clone();
        view.known_as.push((relation, attnum, LATER.to_owned()));
        put_view(view, tx)?;
    }
    policy::column_added(relation, attnum, tx)
}

/// A relation gets another name or schema: the views on it follow. `from` and `to`: schema and name.
pub fn relation_moved(relation: Oid, from: (Oid, &str), to: (Oid, &str), tx: &mut Transaction) -> Result<()> {
    let catalog = tx.catalog();
    let from = (catalog.schema_name(from.0), from.1);
    let to = (catalog.schema_name(to.0), to.1);
    for view in catalog.views_on(relation) {
        let mut view = (**view).clone();
        view.query = renamed(&view.query, from, to)?;
        put_view(view, tx)?;
    }
    policy::relation_moved(relation, from, to, tx)
}

/// Puts a view, or a table with the query of a materialized one.
fn put_view(view: ViewDef, tx: &mut Transaction) -> Result<()> {
    if view.populated.is_none() {
        return put(tx, Object::View(Arc::new(view)));
    }
    let table =
        tx.catalog().tables.get(&view.oid).map(|t| TableDef { materialized: Some(Arc::new(view)), ..(**t).clone() });
    table.map_or(Ok(()), |table| super::put_table(tx, table))
}

/// A schema gets another name.
pub fn schema_renamed(schema: &SchemaDef, to: &str, tx: &mut Transaction) -> Result<()> {
    let catalog = tx.catalog();
    for view in catalog.all_views() {
        let mut changed = (**view).clone();
        for oid in &view.depends_on {
            if let Some(relation) = catalog.relation(*oid).filter(|r| r.schema() == schema.oid) {
                let name = relation.name();
                changed.query = renamed(&changed.query, (&schema.name, name), (to, name))?;
            }
        }
        if changed.query != view.query {
            put_view(changed, tx)?;
        }
    }
    let moved = catalog.tables.values().filter(|t| t.schema == schema.oid).map(|t| (t.oid, &t.name));
    let views = catalog.views.values().filter(|v| v.schema == schema.oid).map(|v| (v.oid, &v.name));
    for (oid, name) in moved.chain(views) {
        policy::relation_moved(oid, (&schema.name, name), (to, name), tx)?;
    }
    Ok(())
}

/// The query with one relation under another name; references by its old name keep working through an alias.
pub fn renamed(query: &str, from: (&str, &str), to: (&str, &str)) -> Result<String> {
    struct Renamer<'a>((&'a str, &'a str), (&'a str, &'a str));
    impl VisitorMut for Renamer<'_> {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, alias, .. } = factor
                && let (plain, only) = only::split(name)
                && let Ok([schema, table]) = <[String; 2]>::try_from(names::parts(&plain).unwrap_or_default())
                && (schema.as_str(), table.as_str()) == self.0
            {
                *name = only::join(qualified(self.1.0, self.1.1), only);
                if alias.is_none() && self.0.1 != self.1.1 {
                    *alias = Some(ast::TableAlias {
                        explicit: false,
                        name: Ident::with_quote('"', table),
                        columns: Vec::new(),
                        at: None,
                    });
                }
            }
            ControlFlow::Continue(())
        }
    }
    let (mut query, _) = parse_query(query)?;
    let _ = query.visit(&mut Renamer(from, to));
    Ok(query.to_string())
}

/// ALTER VIEW RENAME COLUMN.
pub fn rename_column(view: &ViewDef, from: &str, to: &str, tx: &mut Transaction) -> Result<()> {
    let mut view = view.clone();
    if view.columns.iter().any(|(name, _)| name == to) {
        return Err(Error::new(
            SqlState::DuplicateColumn,
            format!("column \"{to}\" of relation \"{}\" already exists", view.name),
        ));
    }
    let Some(at) = view.columns.iter().position(|(name, _)| name == from) else {
        return Err(Error::new(SqlState::UndefinedColumn, format!("column \"{from}\" does not exist")));
    };
    column_renamed(view.oid, at as i16 + 1, from, tx)?;
    if let Some(column) = view.columns.get_mut(at) {
        column.0 = to.to_owned();
    }
    put(tx, Object::View(Arc::new(view)))
}
