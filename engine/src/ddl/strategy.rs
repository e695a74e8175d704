//! CREATE, ALTER and DROP REPLICATION STRATEGY, and the tables that use one.
//!
//! Invariant: a strategy that would leave a node without a table's rows is kept and refused where it is used (0A000), until
//! placement over groups is built: nothing is ever less replicated than it says.

use std::sync::Arc;

use sqlparser::ast::{CreateTableOptions, Expr, Ident, ObjectName, SqlOption, Statement, Value};

use super::names::{self, Name};
use super::syntax::{Extra, StrategyDefinition};
use super::{DdlContext, allocate, open_table, put};
use crate::catalog::{Catalog, CatalogChange, Member, Object, Oid, Placement, Reach, StrategyDef};
use crate::error::{Error, Result, SqlState};
use crate::txn::{TableLock, Transaction};

/// Name of the way in which tables without a strategy are kept: PostgreSQL's.
pub const DEFAULT: &str = "heap";

/// Whether a statement may need to know the members of the cluster.
pub fn asks_members(statement: &Extra) -> bool {
    matches!(
        statement,
        Extra::CreateStrategy { .. }
            | Extra::CreateAccessMethod { .. }
            | Extra::AlterStrategy { .. }
            | Extra::UseStrategy { .. }
            | Extra::SetStrategy { .. }
    )
}

/// As [`asks_members`], of a statement that sqlparser reads. `default`: the setting default_table_access_method.
pub fn asks_members_of(statement: &Statement, default: &str) -> bool {
    matches!(statement, Statement::CreateTable(create) if default != DEFAULT || written(&create.table_options).is_some())
}

fn check_superuser(verb: &str, name: &str, tx: &Transaction, context: &DdlContext<'_>) -> Result<()> {
    if context.is_superuser(&tx.catalog()) {
        return Ok(());
    }
    let message = format!("permission denied to {verb} replication strategy \"{name}\"");
    Err(Error::new(SqlState::InsufficientPrivilege, message)
        .hint(format!("Must be superuser to {verb} a replication strategy.")))
}

fn check_new_name(name: &str, catalog: &Catalog) -> Result<()> {
    if name == DEFAULT || catalog.strategy(name).is_some() {
        return Err(Error::new(SqlState::DuplicateObject, format!("replication strategy \"{name}\" already exists")));
    }
    Ok(())
}

fn find(name: &str, catalog: &Catalog) -> Result<Arc<StrategyDef>> {
    let missing = || Error::new(SqlState::UndefinedObject, format!("replication strategy \"{name}\" does not exist"));
    catalog.strategy(name).cloned().ok_or_else(missing)
}

/// 57P03 if the members are not known.
fn members<'a>(context: &'a DdlContext<'_>) -> Result<&'a [Member]> {
    match context.members.as_slice() {
        [] => Err(Error::new(SqlState::CannotConnectNow, "the members of the cluster are not known at the moment")),
        members => Ok(members),
    }
}

pub fn create(
    name: &Ident,
    if_not_exists: bool,
    definition: &StrategyDefinition,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "CREATE REPLICATION STRATEGY".to_owned();
    let name = names::ident(name);
    check_superuser("create", &name, tx, context)?;
    if if_not_exists && tx.catalog().strategy(&name).is_some() {
        let message = format!("replication strategy \"{name}\" already exists, skipping");
        context.notice(SqlState::DuplicateObject, message);
        return Ok(tag);
    }
    check_new_name(&name, &tx.catalog())?;
    let (nodes, factor) = checked(definition, context)?;
    let (oid, owner) = (allocate(tx)?, context.user);
    let strategy = StrategyDef { oid, name, owner, nodes, policy: definition.policy, factor, comment: None };
    say_reach(&strategy, context)?;
    put(tx, Object::Strategy(Arc::new(strategy)))?;
    Ok(tag)
}

/// What pg_dump writes for a strategy. The nodes of another cluster have other names: it becomes one over all voters.
pub fn create_access_method(name: &Ident, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let name = names::ident(name);
    check_superuser("create", &name, tx, context)?;
    check_new_name(&name, &tx.catalog())?;
    let voters = members(context)?.iter().filter(|member| member.voter);
    let nodes: Vec<String> = voters.map(|voter| voter.name.clone()).collect();
    let listed = nodes.join(", ");
    let (oid, owner) = (allocate(tx)?, context.user);
    let policy = crate::catalog::Policy::Random;
    put(
        tx,
        Object::Strategy(Arc::new(StrategyDef {
            oid,
            name: name.clone(),
            owner,
            nodes,
            policy,
            factor: None,
            comment: None,
        })),
    )?;
    context.notice(
        SqlState::SuccessfulCompletion,
        format!("access method \"{name}\" becomes a replication strategy over all voters: {listed}"),
    );
    Ok("CREATE ACCESS METHOD".to_owned())
}

/// The nodes and the factor of a definition: known nodes, each once, and not fewer than the factor.
fn checked(definition: &StrategyDefinition, context: &DdlContext<'_>) -> Result<(Vec<String>, Option<u32>)> {
    let known = members(context)?;
    let mut nodes: Vec<String> = Vec::new();
    for node in definition.nodes.iter().map(names::ident) {
        if !known.iter().any(|member| member.name == node) {
            let mut all: Vec<&str> = known.iter().map(|member| member.name.as_str()).collect();
            all.sort_unstable();
            return Err(Error::new(SqlState::UndefinedObject, format!("node \"{node}\" does not exist"))
                .detail(format!("The nodes of the cluster are {}.", all.join(", "))));
        }
        if nodes.contains(&node) {
            let message = format!("node \"{node}\" is named more than once");
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        nodes.push(node);
    }
    let factor = match written_factor(definition)? {
        None => None,
        Some(factor) if factor >= 1 && usize::try_from(factor).is_ok_and(|factor| factor <= nodes.len()) => {
            u32::try_from(factor).ok()
        }
        Some(factor) => {
            let message = format!("value {factor} out of bounds for option \"factor\"");
            return Err(Error::new(SqlState::InvalidParameterValue, message)
                .detail(format!("Valid values are between \"1\" and \"{}\", the number of nodes.", nodes.len())));
        }
    };
    Ok((nodes, factor))
}

/// The one option that there is.
fn written_factor(definition: &StrategyDefinition) -> Result<Option<i64>> {
    let mut factor = None;
    for (name, value) in &definition.options {
        let message = match name.as_str() {
            "factor" if factor.replace(*value).is_none() => continue,
            "factor" => "parameter \"factor\" specified more than once".to_owned(),
            other => format!("unrecognized parameter \"{other}\""),
        };
        return Err(Error::new(SqlState::InvalidParameterValue, message));
    }
    Ok(factor)
}

/// Says at once that a strategy cannot be used yet.
fn say_reach(strategy: &StrategyDef, context: &mut DdlContext<'_>) -> Result<()> {
    if let Some(why) = what_is_missing(strategy, members(context)?) {
        let message = format!("replication strategy \"{}\" is kept, no table can use it yet: {why}", strategy.name);
        context.notice(SqlState::SuccessfulCompletion, message);
    }
    Ok(())
}

/// Why a strategy cannot be used; `None`: it can.
fn what_is_missing(strategy: &StrategyDef, members: &[Member]) -> Option<String> {
    Some(match strategy.reach(members) {
        Reach::Everywhere => return None,
        Reach::Unknown(nodes) => format!("it names nodes that are not in the cluster: {}", nodes.join(", ")),
        Reach::Without(nodes) => {
            format!("it leaves out {}, and tables cannot be kept on a part of the voters yet", nodes.join(", "))
        }
        Reach::Fewer { factor, nodes } => {
            format!("it asks for {factor} of {nodes} nodes, and tables cannot be kept on a part of the nodes yet")
        }
        Reach::Split(policy) => format!("tables cannot be split over nodes yet, as USING {} asks", policy.text()),
    })
}

/// 0A000 if a strategy cannot be used, 42704 if its nodes are gone.
fn check_usable(strategy: &StrategyDef, context: &DdlContext<'_>) -> Result<()> {
    let members = members(context)?;
    let Some(why) = what_is_missing(strategy, members) else { return Ok(()) };
    let state = match strategy.reach(members) {
        Reach::Unknown(_) => SqlState::UndefinedObject,
        _ => SqlState::FeatureNotSupported,
    };
    let hint = "Every node carries every table; a strategy USING RANDOM over all voters can be used.";
    Err(Error::new(state, format!("replication strategy \"{}\" cannot be used: {why}", strategy.name)).hint(hint))
}

pub fn alter(
    name: &Ident,
    definition: &StrategyDefinition,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let name = names::ident(name);
    check_superuser("alter", &name, tx, context)?;
    let catalog = tx.catalog();
    let old = find(&name, &catalog)?;
    let (nodes, factor) = checked(definition, context)?;
    let new = StrategyDef { nodes, factor, policy: definition.policy, ..(*old).clone() };
    if let Some(table) = catalog.placed_by(old.oid).next() {
        check_usable(&new, context).map_err(|error| error.detail(format!("Table \"{}\" uses it.", table.name)))?;
    } else {
        say_reach(&new, context)?;
    }
    put(tx, Object::Strategy(Arc::new(new)))?;
    Ok("ALTER REPLICATION STRATEGY".to_owned())
}

pub fn rename(name: &Ident, to: &Ident, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let (name, to) = (names::ident(name), names::ident(to));
    check_superuser("alter", &name, tx, context)?;
    let catalog = tx.catalog();
    let old = find(&name, &catalog)?;
    check_new_name(&to, &catalog)?;
    put(tx, Object::Strategy(Arc::new(StrategyDef { name: to, ..(*old).clone() })))?;
    Ok("ALTER REPLICATION STRATEGY".to_owned())
}

/// `kind`: REPLICATION STRATEGY or ACCESS METHOD, for the tag.
pub fn drop_strategies(
    kind: &str,
    list: &[Ident],
    if_exists: bool,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    for name in list.iter().map(names::ident) {
        check_superuser("drop", &name, tx, context)?;
        let catalog = tx.catalog();
        if if_exists && catalog.strategy(&name).is_none() {
            let message = format!("replication strategy \"{name}\" does not exist, skipping");
            context.notice(SqlState::SuccessfulCompletion, message);
            continue;
        }
        if name == DEFAULT {
            let message = format!("cannot drop access method {name} because it is required by the database system");
            return Err(Error::new(SqlState::DependentObjectsStillExist, message));
        }
        let strategy = find(&name, &catalog)?;
        let lines: Vec<String> = catalog
            .placed_by(strategy.oid)
            .map(|table| format!("table {} depends on replication strategy {name}", table.name))
            .collect();
        if !lines.is_empty() && cascade {
            // It would drop the tables, as DROP ACCESS METHOD does in PostgreSQL: nobody means that.
            return Err(Error::unsupported(format!("DROP {kind} … CASCADE of a strategy that tables use")));
        }
        if !lines.is_empty() {
            let message = format!("cannot drop replication strategy {name} because other objects depend on it");
            return Err(Error::new(SqlState::DependentObjectsStillExist, message)
                .detail(lines.join("\n"))
                .hint("Use ALTER TABLE … SET REPLICATION STRATEGY to give the tables another one."));
        }
        tx.change_catalog(CatalogChange::Drop(strategy.oid))?;
    }
    Ok(format!("DROP {kind}"))
}

/// CREATE TABLE [IF NOT EXISTS] name USING strategy, without columns: for a table that exists.
pub async fn use_for_table(
    table: &ObjectName,
    if_not_exists: bool,
    strategy: &Ident,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let catalog = tx.catalog();
    let name = Name::new(table, &catalog)?;
    let exists = name.find(&catalog, &context.path(&catalog)).is_some();
    if !exists {
        let message = format!("relation \"{}\" does not exist", name.name);
        return Err(Error::new(SqlState::UndefinedTable, message)
            .hint("CREATE TABLE … USING without columns gives a strategy to a table that exists."));
    }
    if !if_not_exists {
        return Err(Error::new(SqlState::DuplicateTable, format!("relation \"{}\" already exists", name.name)));
    }
    set(table, false, Some(strategy), tx, context).await?;
    Ok("CREATE TABLE".to_owned())
}

/// ALTER TABLE … SET REPLICATION STRATEGY name | DEFAULT, and SET ACCESS METHOD.
pub async fn set_for_table(
    table: &ObjectName,
    if_exists: bool,
    strategy: Option<&Ident>,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    set(table, if_exists, strategy, tx, context).await?;
    Ok("ALTER TABLE".to_owned())
}

async fn set(
    table: &ObjectName,
    if_exists: bool,
    strategy: Option<&Ident>,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let name = Name::new(table, &tx.catalog())?;
    // Where the rows lie does not change: readers and writers go on.
    let Some(table) = open_table(&name, if_exists, TableLock::ShareUpdateExclusive, tx, context).await? else {
        return Ok(());
    };
    place(table.oid, strategy.map(names::ident).as_deref(), tx, context)
}

/// Gives a table its strategy, or takes it back.
fn place(table: Oid, strategy: Option<&str>, tx: &mut Transaction, context: &DdlContext<'_>) -> Result<()> {
    let catalog = tx.catalog();
    let strategy = match strategy.filter(|name| *name != DEFAULT) {
        None => None,
        Some(name) => {
            let strategy = find(name, &catalog)?;
            check_usable(&strategy, context)?;
            Some(strategy.oid)
        }
    };
    if catalog.placements.get(&table).copied() == strategy {
        return Ok(());
    }
    put(tx, Object::Placement(Placement { table, strategy }))
}

/// The strategy of a new table: the one written behind USING, or that of default_table_access_method.
pub fn place_new(
    table: Oid,
    options: &CreateTableOptions,
    tx: &mut Transaction,
    context: &DdlContext<'_>,
) -> Result<()> {
    match written(options) {
        Some(name) => place(table, Some(&name), tx, context),
        None => place(table, Some(context.default_strategy), tx, context),
    }
}

/// CREATE TABLE IF NOT EXISTS of a table that exists, with USING: the strategy is applied.
pub async fn place_existing(
    table: &ObjectName,
    options: &CreateTableOptions,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let Some(strategy) = written(options) else { return Ok(()) };
    set(table, false, Some(&Ident::with_quote('"', strategy)), tx, context).await
}

/// Name of the storage parameter that stands for USING: no client can write it.
pub const MARK: &str = "\u{1}strategy";

fn is_mark(option: &SqlOption) -> bool {
    matches!(option, SqlOption::KeyValue { key, .. } if key.value == MARK)
}

/// The strategy behind USING.
fn written(options: &CreateTableOptions) -> Option<String> {
    let CreateTableOptions::With(options) = options else { return None };
    options.iter().find_map(|option| match option {
        SqlOption::KeyValue { value: Expr::Value(value), .. } if is_mark(option) => match &value.value {
            Value::SingleQuotedString(name) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    })
}

/// The options without what stands for USING.
pub fn without_mark(options: &[SqlOption]) -> Vec<SqlOption> {
    options.iter().filter(|option| !is_mark(option)).cloned().collect()
}
