//! CREATE, ALTER, DROP and COMMENT ON STATISTICS. The objects are kept, shown and dumped; ANALYZE computes nothing for them, and
//! who makes one is told so.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{Expr, Ident, ObjectName, Visit, Visitor};

use super::names::{self, Name};
use super::syntax::statistics::{Element, MoreRelations, StatisticsChange, StatisticsStatement};
use super::{DdlContext, allocate, expression, lock, ownership, privilege, put, system_relation};
use crate::catalog::{
    Catalog, CatalogChange, Object, Oid, Relation, StatisticsDef, StatisticsExpression, StatisticsKind, TableDef,
};
use crate::error::{Error, Result, SqlState};
use crate::expr::ExprKind;
use crate::sql::parse::parse_expression;
use crate::system::deparse::{self, type_name};
use crate::txn::{TableLock, Transaction};
use crate::types::names::is_unordered;
use crate::types::{PgType, TypeOid};

/// Most columns and expressions of one, as in PostgreSQL.
const MOST_ELEMENTS: usize = 8;
const MOST_TARGET: i64 = 10_000;

pub async fn run(
    statement: &StatisticsStatement,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    match statement {
        StatisticsStatement::Create { name, if_not_exists, kinds, elements, table, more } => {
            create((name, *if_not_exists), kinds, elements, (table, *more), tx, context).await
        }
        StatisticsStatement::Alter { name, if_exists, change } => alter(name, *if_exists, change, tx, context),
        StatisticsStatement::Drop { names, if_exists } => drop(names, *if_exists, tx, context).await,
        StatisticsStatement::Comment { name, comment } => {
            let (catalog, def) = open(name, tx, context)?;
            check_owner(&def, name, &catalog, context)?;
            let comment = comment.clone().filter(|c| !c.is_empty());
            put(tx, Object::Statistics(Arc::new(StatisticsDef { comment, ..(*def).clone() })))?;
            Ok("COMMENT".to_owned())
        }
    }
}

async fn create(
    (name, if_not_exists): (&ObjectName, bool),
    kinds: &[Ident],
    elements: &[Element],
    (table, more): (&ObjectName, Option<MoreRelations>),
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "CREATE STATISTICS".to_owned();
    let refused = |message: &str| Err(Error::new(SqlState::FeatureNotSupported, message));
    if more == Some(MoreRelations::Other) {
        return refused("CREATE STATISTICS only supports relation names in the FROM clause");
    }
    let table = open_table(table, tx, context).await?;
    let bound: Vec<Bound> = match &table {
        Ok(table) => elements.iter().map(|e| bind(e, table, tx, context)).collect::<Result<_>>()?,
        Err(_) => Vec::new(),
    };
    if more.is_some() {
        return refused("only a single relation is allowed in CREATE STATISTICS");
    }
    let table = table?;
    let catalog = tx.catalog();
    let name = Name::new(name, &catalog)?;
    let schema = name.creation_schema(&catalog, &context.path(&catalog))?;
    privilege::check_create(&catalog, context.user, schema)?;
    if table.oid.is_temporary() || schema.is_temporary() {
        return Err(Error::unsupported("statistics of a temporary table"));
    }
    if catalog.statistics_in(schema, &name.name).is_some() {
        let message = format!("statistics object \"{}\" already exists", name.name);
        if !if_not_exists {
            return Err(Error::new(SqlState::DuplicateObject, message));
        }
        context.notice(SqlState::DuplicateObject, format!("{message}, skipping"));
        return Ok(tag);
    }
    let mut def = define(kinds, bound, &table)?;
    (def.oid, def.schema, def.name, def.owner) = (allocate(tx)?, schema, name.name, context.user);
    let message =
        format!("statistics object \"{}\" is kept as a definition: ANALYZE computes nothing for it", def.name);
    context.notice(SqlState::SuccessfulCompletion, message);
    put(tx, Object::Statistics(Arc::new(def)))?;
    Ok(tag)
}

/// The table, locked; the inner error is of what it is or whose, told behind mistakes in the expressions.
async fn open_table(
    name: &ObjectName,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Result<Arc<TableDef>>> {
    let catalog = tx.catalog();
    let relation = Name::new(name, &catalog)?.resolve(&catalog, &context.path(&catalog))?;
    let kind = match &relation {
        Relation::Table(_) => None,
        Relation::System(system) if !system.view => None,
        Relation::View(_) | Relation::System(_) => Some("views"),
        Relation::Sequence(_) => Some("sequences"),
        Relation::Index(..) => Some("indexes"),
    };
    if let Some(kind) = kind {
        let message = format!("cannot define statistics for relation \"{}\"", relation.name());
        return Ok(Err(Error::new(SqlState::WrongObjectType, message)
            .detail(format!("This operation is not supported for {kind}."))));
    }
    let Relation::Table(table) = &relation else { return Ok(Err(system_relation(&relation))) };
    let owned = privilege::check_owner(&catalog, context.user, table.owner, relation.kind_name(), &table.name);
    if let Err(error) = owned {
        return Ok(Err(error));
    }
    if !table.oid.is_temporary() {
        lock(tx, table.oid, TableLock::ShareUpdateExclusive, context).await?;
    }
    Ok(Ok(tx.catalog().tables.get(&table.oid).cloned().unwrap_or_else(|| table.clone())))
}

/// A column by its name or number, or another expression with its type.
enum Bound {
    Name(String),
    Column(i16),
    Expression(StatisticsExpression, PgType),
}

fn bind(element: &Element, table: &TableDef, tx: &Transaction, context: &DdlContext<'_>) -> Result<Bound> {
    let expr: &Expr = match element {
        Element::Column(name) => return Ok(Bound::Name(names::ident(name))),
        Element::Expression(expr) => expr,
    };
    let mut inner = expr;
    while let Expr::Nested(nested) = inner {
        inner = nested;
    }
    if let Expr::Identifier(name) = inner {
        return Ok(Bound::Name(names::ident(name)));
    }
    if reads_whole_rows(expr, table) {
        return Err(system_column());
    }
    let (bound, scope) = expression::over_table(expr, table, "statistics expressions", tx, context)?;
    if let ExprKind::Column { id, .. } = &bound.kind {
        return Ok(Bound::Column(scope.attribute_of(*id).unwrap_or_default()));
    }
    if bound.ty.oid == TypeOid::RECORD {
        return Err(Error::new(SqlState::InvalidTableDefinition, "expression has pseudo-type record"));
    }
    let mut reads = deparse::columns(&bound, &scope);
    reads.sort_unstable();
    reads.dedup();
    Ok(Bound::Expression(StatisticsExpression { text: deparse::stored(&bound, &scope)?, reads }, bound.ty))
}

/// Whether an expression names a system column of the table, or its rows as values.
fn reads_whole_rows(expr: &Expr, table: &TableDef) -> bool {
    struct Names<'a>(&'a TableDef);
    impl Visitor for Names<'_> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let last = match expr {
                Expr::Identifier(name) => Some(name),
                Expr::CompoundIdentifier(parts) => parts.last(),
                Expr::QualifiedWildcard(..) => return ControlFlow::Break(()),
                _ => None,
            };
            let Some(name) = last.map(names::ident) else { return ControlFlow::Continue(()) };
            let whole = matches!(expr, Expr::Identifier(_)) && name == self.0.name;
            match self.0.column(&name).is_none() && (whole || super::column::is_system(&name)) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Names(table)).is_break()
}

/// What is wanted of which columns and expressions; name and owner are the caller's.
fn define(kinds: &[Ident], elements: Vec<Bound>, table: &TableDef) -> Result<StatisticsDef> {
    let count = elements.len();
    if count > MOST_ELEMENTS {
        let message = format!("cannot have more than {MOST_ELEMENTS} columns in statistics");
        return Err(Error::new(SqlState::TooManyColumns, message));
    }
    let (mut columns, mut expressions) = (Vec::new(), Vec::new());
    for element in elements {
        let column = match &element {
            Bound::Name(name) => match table.column(name) {
                Some(column) => column,
                None if super::column::is_system(name) => return Err(system_column()),
                None => {
                    let message = format!("column \"{name}\" does not exist");
                    return Err(Error::new(SqlState::UndefinedColumn, message));
                }
            },
            Bound::Column(attnum) => table.attribute(*attnum).ok_or_else(system_column)?,
            Bound::Expression(expression, ty) => {
                if count > 1 && is_unordered(ty.oid) {
                    let what = "expression cannot be used in multivariate statistics";
                    return Err(no_order(what, ty.oid));
                }
                expressions.push(expression.clone());
                continue;
            }
        };
        if is_unordered(column.ty.oid) {
            return Err(no_order(&format!("column \"{}\" cannot be used in statistics", column.name), column.ty.oid));
        }
        columns.push(column.attnum);
    }
    let one_expression = count == 1 && expressions.len() == 1;
    if one_expression && !kinds.is_empty() {
        let message = "when building statistics on a single expression, statistics kinds may not be specified";
        return Err(Error::new(SqlState::FeatureNotSupported, message));
    }
    let mut wanted = Vec::new();
    for kind in kinds {
        let name = names::ident(kind);
        let found = StatisticsKind::ALL.into_iter().find(|k| k.name() == name);
        let unknown = || Error::new(SqlState::SyntaxError, format!("unrecognized statistics kind \"{name}\""));
        wanted.push(found.ok_or_else(unknown)?);
    }
    if kinds.is_empty() && !one_expression {
        wanted.extend(StatisticsKind::ALL);
    }
    wanted.sort_unstable();
    wanted.dedup();
    if count < 2 && !one_expression {
        let message = "extended statistics require at least 2 columns";
        return Err(Error::new(SqlState::InvalidObjectDefinition, message));
    }
    columns.sort_unstable();
    let twice =
        |what: &str| Error::new(SqlState::DuplicateColumn, format!("duplicate {what} in statistics definition"));
    if columns.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(twice("column name"));
    }
    if expressions.iter().enumerate().any(|(i, e)| expressions[..i].contains(e)) {
        return Err(twice("expression"));
    }
    Ok(StatisticsDef {
        oid: Oid(0),
        schema: Oid(0),
        name: String::new(),
        owner: Oid(0),
        table: table.oid,
        columns,
        expressions,
        kinds: wanted,
        target: -1,
        comment: None,
    })
}

fn no_order(what: &str, ty: TypeOid) -> Error {
    let message =
        format!("{what} because its type {} has no default btree operator class", type_name(PgType::from(ty)));
    Error::new(SqlState::FeatureNotSupported, message)
}

fn system_column() -> Error {
    Error::new(SqlState::FeatureNotSupported, "statistics creation on system columns is not supported")
}

fn open(name: &ObjectName, tx: &Transaction, context: &DdlContext<'_>) -> Result<(Arc<Catalog>, Arc<StatisticsDef>)> {
    let catalog = tx.catalog();
    let name = Name::new(name, &catalog)?;
    let def = catalog.find_statistics(name.schema.as_deref(), &name.name, &context.path(&catalog))?;
    Ok((catalog, def))
}

/// 42501, with the name as it was written.
fn check_owner(def: &StatisticsDef, written: &ObjectName, catalog: &Catalog, context: &DdlContext<'_>) -> Result<()> {
    let written = Name::new(written, catalog)?.to_string();
    privilege::check_owner(catalog, context.user, def.owner, "statistics object", &written)
}

/// The target that SET STATISTICS asks for (22023); one that is too high is lowered, with a warning.
pub fn target(wanted: i64, context: &mut DdlContext<'_>) -> Result<i32> {
    if wanted < -1 {
        let message = format!("statistics target {wanted} is too low");
        return Err(Error::new(SqlState::InvalidParameterValue, message));
    }
    if wanted > MOST_TARGET {
        context.warning(SqlState::InvalidParameterValue, format!("lowering statistics target to {MOST_TARGET}"));
    }
    Ok(wanted.min(MOST_TARGET) as i32)
}

fn alter(
    name: &ObjectName,
    if_exists: bool,
    change: &StatisticsChange,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER STATISTICS".to_owned();
    let target = match change {
        StatisticsChange::SetTarget(wanted) => Some(target(*wanted, context)?),
        _ => None,
    };
    let (catalog, def) = match open(name, tx, context) {
        Ok(found) => found,
        Err(error) if if_exists && error.state() == SqlState::UndefinedObject => {
            context.notice(SqlState::SuccessfulCompletion, format!("{}, skipping", error.message()));
            return Ok(tag);
        }
        Err(error) => return Err(error),
    };
    check_owner(&def, name, &catalog, context)?;
    let mut def = (*def).clone();
    let taken = |schema: Oid, name: &str| match catalog.statistics_in(schema, name) {
        Some(_) => Err(Error::new(
            SqlState::DuplicateObject,
            format!("statistics object \"{name}\" already exists in schema \"{}\"", catalog.schema_name(schema)),
        )),
        None => Ok(()),
    };
    match change {
        StatisticsChange::Rename(to) => {
            let to = names::ident(to);
            taken(def.schema, &to)?;
            privilege::check_create(&catalog, context.user, def.schema)?;
            def.name = to;
        }
        StatisticsChange::Owner(role) => {
            def.owner = ownership::new_owner(role, def.owner, def.schema, &catalog, context)?;
        }
        StatisticsChange::SetSchema(schema) => {
            let to = ownership::new_schema(schema, def.schema, &catalog, context)?;
            if to != def.schema {
                taken(to, &def.name)?;
            }
            def.schema = to;
        }
        StatisticsChange::SetTarget(_) => def.target = target.unwrap_or(-1),
    }
    put(tx, Object::Statistics(Arc::new(def)))?;
    Ok(tag)
}

async fn drop(
    names: &[ObjectName],
    if_exists: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let mut targets: Vec<Arc<StatisticsDef>> = Vec::new();
    for name in names {
        match open(name, tx, context) {
            Ok((catalog, def)) => {
                let (user, written) = (context.user, Name::new(name, &catalog)?.to_string());
                let of = (def.owner, def.schema);
                ownership::check_may_drop(&catalog, user, of, "statistics object", &written)?;
                targets.push(def);
            }
            Err(error) if if_exists => {
                let written = Name::new(name, &tx.catalog())?;
                let message = match error.state() {
                    SqlState::InvalidSchemaName => error.message().to_owned(),
                    _ => format!("statistics object \"{written}\" does not exist"),
                };
                context.notice(SqlState::SuccessfulCompletion, format!("{message}, skipping"));
            }
            Err(error) => return Err(error),
        }
    }
    for def in targets {
        lock(tx, def.table, TableLock::ShareUpdateExclusive, context).await?;
        tx.change_catalog(CatalogChange::Drop(def.oid))?;
    }
    Ok("DROP STATISTICS".to_owned())
}

/// A column gets another name.
pub fn column_renamed(table: Oid, attnum: i16, from: &str, to: &str, tx: &mut Transaction) -> Result<()> {
    let catalog = tx.catalog();
    for def in catalog.statistics_on(table) {
        if !def.expressions.iter().any(|e| e.reads.contains(&attnum)) {
            continue;
        }
        let mut def = (**def).clone();
        for expression in &mut def.expressions {
            expression.text = deparse::rename_column(&expression.text, from, to)?;
        }
        put(tx, Object::Statistics(Arc::new(def)))?;
    }
    Ok(())
}

/// A column of `table`, as it is now, has got another type: what is told of it is bound again, and may be refused.
pub fn column_retyped(table: &TableDef, attnum: i16, tx: &mut Transaction, context: &DdlContext<'_>) -> Result<()> {
    let catalog = tx.catalog();
    for def in catalog.statistics_on(table.oid).filter(|s| s.reads_column(attnum)) {
        let mut elements: Vec<Bound> = def.columns.iter().map(|attnum| Bound::Column(*attnum)).collect();
        for known in &def.expressions {
            let element = Element::Expression(Box::new(parse_expression(&known.text)?.0));
            elements.push(bind(&element, table, tx, context).map_err(Error::nowhere)?);
        }
        let kinds: Vec<Ident> = def.kinds.iter().map(|kind| Ident::new(kind.name())).collect();
        let new = define(&kinds, elements, table)?;
        let new = StatisticsDef { columns: new.columns, expressions: new.expressions, ..(**def).clone() };
        put(tx, Object::Statistics(Arc::new(new)))?;
    }
    Ok(())
}

/// A column goes, and what is told of it.
pub fn column_dropped(table: Oid, attnum: i16, tx: &mut Transaction) -> Result<()> {
    let catalog = tx.catalog();
    for def in catalog.statistics_on(table).filter(|s| s.reads_column(attnum)) {
        tx.change_catalog(CatalogChange::Drop(def.oid))?;
    }
    Ok(())
}

/// LIKE … INCLUDING STATISTICS: as of the source, under names that PostgreSQL would choose.
pub fn copy(
    source: &TableDef,
    target: &TableDef,
    mapped: impl Fn(&[i16]) -> Result<Vec<i16>>,
    comments: bool,
    tx: &mut Transaction,
) -> Result<()> {
    let catalog = tx.catalog();
    for def in catalog.statistics_on(source.oid) {
        if target.oid.is_temporary() {
            return Err(Error::unsupported("statistics of a temporary table"));
        }
        let mut new = (**def).clone();
        new.columns = mapped(&def.columns)?;
        new.columns.sort_unstable();
        for expression in &mut new.expressions {
            expression.reads = mapped(&expression.reads)?;
        }
        let columns = new.columns.iter().filter_map(|a| target.attribute(*a)).map(|c| c.name.as_str());
        let parts = names::joined(columns.chain(new.expressions.iter().map(|_| "expr")));
        let taken = |name: &str| tx.catalog().statistics_in(target.schema, name).is_some();
        new.name = names::choose(&target.name, Some(&parts), "stat", taken);
        (new.oid, new.schema, new.owner, new.table) = (allocate(tx)?, target.schema, target.owner, target.oid);
        new.comment = new.comment.filter(|_| comments);
        new.target = -1;
        put(tx, Object::Statistics(Arc::new(new)))?;
    }
    Ok(())
}
