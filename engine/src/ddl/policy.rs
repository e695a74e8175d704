//! CREATE, ALTER, DROP and COMMENT ON POLICY, and which tables are under row security. What a policy says is kept as a view
//! keeps its query: see [`crate::catalog::PolicyExpression`].

use std::sync::Arc;

use sqlparser::ast::{Expr, Ident, ObjectName};

use super::names::{self, Name};
use super::syntax::policy::{PolicyChange, PolicyStatement, PolicyTerms, RowSecurityChange};
use super::{DdlContext, allocate, expression, grant, lock, open_table_if, privilege, put, system_relation, view};
use crate::catalog::acl::PUBLIC;
use crate::catalog::{
    Catalog, CatalogChange, LATER, Object, Oid, PolicyCommand, PolicyExpression, Relation, RowPolicy, TableDef,
};
use crate::error::{Error, Result, SqlState};
use crate::txn::{TableLock, Transaction};

pub async fn run(statement: &PolicyStatement, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let PolicyStatement { name, table, change } = statement;
    let name = names::ident(name);
    if let PolicyChange::UnknownKind(kind) = change {
        let message = format!("unrecognized row security option \"{}\"", names::ident(kind));
        let error = Error::new(SqlState::SyntaxError, message)
            .hint("Only PERMISSIVE or RESTRICTIVE policies are supported currently.");
        return Err(context.source.locate(error, kind.span));
    }
    if let PolicyChange::Create { command, terms, .. } = change {
        check_terms(*command, terms, "WITH CHECK cannot be applied to SELECT or DELETE")?;
    }
    let if_exists = matches!(change, PolicyChange::Drop { if_exists: true });
    let dropping = matches!(change, PolicyChange::Drop { .. } | PolicyChange::Comment(_));
    let Some(def) = open(table, (dropping, if_exists), tx, context).await? else { return Ok("DROP POLICY".to_owned()) };
    let known = tx.catalog().policy(def.oid, &name).cloned();
    let taken = |name: &str| {
        let message = format!("policy \"{name}\" for table \"{}\" already exists", def.name);
        Error::new(SqlState::DuplicateObject, message)
    };
    if let PolicyChange::Create { permissive, command, terms } = change {
        let roles = roles(terms.roles.as_deref(), &tx.catalog(), context)?;
        let (using, check) = expressions(terms, &def, tx, context)?;
        if known.is_some() {
            return Err(taken(&name));
        }
        let (oid, permissive, command) = (allocate(tx)?, *permissive, *command);
        let policy = RowPolicy { oid, name, table: def.oid, permissive, command, roles, using, check, comment: None };
        put(tx, Object::RowPolicy(Arc::new(policy)))?;
        return Ok("CREATE POLICY".to_owned());
    }
    let Some(known) = known else {
        if if_exists {
            let message = format!("policy \"{name}\" for relation \"{}\" does not exist, skipping", def.name);
            context.notice(SqlState::SuccessfulCompletion, message);
            return Ok("DROP POLICY".to_owned());
        }
        let message = format!("policy \"{name}\" for table \"{}\" does not exist", def.name);
        return Err(Error::new(SqlState::UndefinedObject, message));
    };
    let mut policy = (*known).clone();
    let tag = match change {
        PolicyChange::Drop { .. } => {
            tx.change_catalog(CatalogChange::Drop(policy.oid))?;
            return Ok("DROP POLICY".to_owned());
        }
        PolicyChange::Rename(to) => {
            let to = names::ident(to);
            if tx.catalog().policy(def.oid, &to).is_some() {
                return Err(taken(&to));
            }
            policy.name = to;
            "ALTER POLICY"
        }
        PolicyChange::Comment(comment) => {
            policy.comment = comment.clone().filter(|c| !c.is_empty());
            "COMMENT"
        }
        PolicyChange::Alter(terms) => {
            check_terms(policy.command, terms, "only USING expression allowed for SELECT, DELETE")?;
            if let Some(written) = &terms.roles {
                policy.roles = roles(Some(written), &tx.catalog(), context)?;
            }
            let (using, check) = expressions(terms, &def, tx, context)?;
            policy.using = using.or(policy.using);
            policy.check = check.or(policy.check);
            "ALTER POLICY"
        }
        PolicyChange::Create { .. } | PolicyChange::UnknownKind(_) => "CREATE POLICY",
    };
    put(tx, Object::RowPolicy(Arc::new(policy)))?;
    Ok(tag.to_owned())
}

/// The table, locked, as its owner; `dropping`: a policy of it.
async fn open(
    name: &ObjectName,
    (dropping, if_exists): (bool, bool),
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Option<Arc<TableDef>>> {
    let catalog = tx.catalog();
    let name = Name::new(name, &catalog)?;
    let Some(relation) = super::resolve_if(&name, if_exists, &catalog, context)? else { return Ok(None) };
    let owner = match &relation {
        Relation::Table(t) | Relation::Index(t, _) => t.owner,
        Relation::View(v) => v.owner,
        Relation::Sequence(s) => s.owner,
        Relation::System(_) => Oid::SUPERUSER,
    };
    let kind = if dropping { "relation" } else { relation.kind_name() };
    privilege::check_owner(&catalog, context.user, owner, kind, relation.name())?;
    let wrong = || Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a table", relation.name()));
    match &relation {
        Relation::System(_) => Err(system_relation(&relation)),
        Relation::Table(t) if t.materialized.is_some() => Err(wrong()),
        Relation::Table(t) if t.oid.is_temporary() => {
            Err(Error::unsupported("row level security of a temporary table"))
        }
        Relation::Table(t) => {
            lock(tx, t.oid, TableLock::AccessExclusive, context).await?;
            Ok(tx.catalog().tables.get(&t.oid).cloned())
        }
        _ => Err(wrong()),
    }
}

/// 42601 for a condition that the command has no use for.
fn check_terms(command: PolicyCommand, terms: &PolicyTerms, reading: &str) -> Result<()> {
    let wrong = |message: &str| Err(Error::new(SqlState::SyntaxError, message));
    match command {
        PolicyCommand::Select | PolicyCommand::Delete if terms.check.is_some() => wrong(reading),
        PolicyCommand::Insert if terms.using.is_some() => wrong("only WITH CHECK expression allowed for INSERT"),
        _ => Ok(()),
    }
}

fn roles(written: Option<&[Ident]>, catalog: &Catalog, context: &mut DdlContext<'_>) -> Result<Vec<Oid>> {
    let Some(written) = written else { return Ok(vec![PUBLIC]) };
    let mut roles = Vec::with_capacity(written.len());
    for name in written {
        let role = grant::grantee_oid(name, catalog, context)?;
        if role == PUBLIC {
            if written.len() > 1 {
                let report = Error::new(SqlState::InvalidParameterValue, "ignoring specified roles other than PUBLIC")
                    .hint("All roles are members of the PUBLIC role.");
                context.report(crate::error::NoticeLevel::Warning, report);
            }
            return Ok(vec![PUBLIC]);
        }
        roles.push(role);
    }
    Ok(roles)
}

type Expressions = (Option<PolicyExpression>, Option<PolicyExpression>);

fn expressions(
    terms: &PolicyTerms,
    table: &TableDef,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<Expressions> {
    let stored = |expr: &Option<Expr>| expr.as_ref().map(|e| stored(e, table, tx, context)).transpose();
    Ok((stored(&terms.using)?, stored(&terms.check)?))
}

fn stored(expr: &Expr, table: &TableDef, tx: &Transaction, context: &DdlContext<'_>) -> Result<PolicyExpression> {
    let mut binder = expression::binder(context.source.clone(), tx, context).without_parameters();
    binder.note_named();
    // PostgreSQL does not say where in the statement a condition is wrong.
    let (columns, nested, calls) = binder.bind_policy(expr, table).map_err(Error::nowhere)?;
    if binder.reads().iter().any(|oid| oid.is_temporary()) {
        return Err(Error::unsupported("a policy that reads a temporary relation"));
    }
    let catalog = tx.catalog();
    let (query, depends_on) = view::qualified_item(expr, table, &catalog, &context.path(&catalog))?;
    // What its subqueries read, and what the condition itself reads of its table.
    let mut columns_read = binder.take_named();
    columns_read.extend(columns.into_iter().map(|attnum| (table.oid, attnum)));
    columns_read.sort_unstable();
    columns_read.dedup();
    Ok(PolicyExpression { query, nested, depends_on, columns_read, calls, known_as: Vec::new() })
}

/// ALTER TABLE … ENABLE, DISABLE, FORCE and NO FORCE ROW LEVEL SECURITY.
pub async fn row_security(
    table: &ObjectName,
    if_exists: bool,
    change: RowSecurityChange,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER TABLE".to_owned();
    let catalog = tx.catalog();
    let name = Name::new(table, &catalog)?;
    let owned = |catalog: &Catalog, user: Oid, table: &Arc<TableDef>| {
        privilege::check_owner(catalog, user, table.owner, "table", &table.name)
    };
    if let Some(relation) = name.find(&catalog, &context.path(&catalog)) {
        let kind = match &relation {
            Relation::View(_) => Some("views"),
            Relation::Table(t) if t.materialized.is_some() => Some("materialized views"),
            Relation::Sequence(_) => Some("sequences"),
            Relation::Index(..) => Some("indexes"),
            Relation::Table(_) | Relation::System(_) => None,
        };
        if let Some(kind) = kind {
            let message =
                format!("ALTER action {} cannot be performed on relation \"{}\"", change.action(), relation.name());
            return Err(Error::new(SqlState::WrongObjectType, message)
                .detail(format!("This operation is not supported for {kind}.")));
        }
    }
    let Some(table) = open_table_if(&name, if_exists, TableLock::AccessExclusive, owned, tx, context).await? else {
        return Ok(tag);
    };
    if table.oid.is_temporary() {
        return Err(Error::unsupported("row level security of a temporary table"));
    }
    let mut security = tx.catalog().row_security_of(table.oid);
    match change {
        RowSecurityChange::Enable(on) => security.enabled = on,
        RowSecurityChange::Force(on) => security.forced = on,
    }
    put(tx, Object::RowSecurity(security))?;
    Ok(tag)
}

/// A column of a relation gets another name: policies that read it go on under the old one in their texts.
pub fn column_renamed(relation: Oid, attnum: i16, from: &str, tx: &mut Transaction) -> Result<()> {
    edit(tx, |expression| {
        let known = expression.known_as.iter().any(|(oid, number, _)| (*oid, *number) == (relation, attnum));
        if known || !expression.depends_on.contains(&relation) {
            return Ok(false);
        }
        expression.known_as.push((relation, attnum, from.to_owned()));
        Ok(true)
    })
}

/// A relation gets one more column: the texts of policies that read it mean none of that name.
pub fn column_added(relation: Oid, attnum: i16, tx: &mut Transaction) -> Result<()> {
    edit(tx, |expression| {
        let reads = expression.depends_on.contains(&relation);
        if reads {
            expression.known_as.push((relation, attnum, LATER.to_owned()));
        }
        Ok(reads)
    })
}

/// A relation, one of those in a schema that gets another name or all, is found elsewhere: schema and name, before and now.
pub fn relation_moved(relation: Oid, from: (&str, &str), to: (&str, &str), tx: &mut Transaction) -> Result<()> {
    edit(tx, |expression| {
        if !expression.depends_on.contains(&relation) {
            return Ok(false);
        }
        expression.query = view::renamed(&expression.query, from, to)?;
        Ok(true)
    })
}

/// Changes the expressions of policies; `change` says whether it did.
fn edit(tx: &mut Transaction, change: impl Fn(&mut PolicyExpression) -> Result<bool>) -> Result<()> {
    let catalog = tx.catalog();
    for policy in catalog.policies.values() {
        let mut edited = (**policy).clone();
        let mut changed = false;
        for expression in edited.expressions_mut() {
            changed |= change(expression)?;
        }
        if changed {
            put(tx, Object::RowPolicy(Arc::new(edited)))?;
        }
    }
    Ok(())
}

/// DROP OWNED: policies speak to these roles no more, and those that spoke to nobody else go.
pub fn forget_roles(roles: &[Oid], tx: &mut Transaction) -> Result<()> {
    let catalog = tx.catalog();
    for policy in catalog.policies.values().filter(|p| p.roles.iter().any(|role| roles.contains(role))) {
        let mut kept = (**policy).clone();
        kept.roles.retain(|role| !roles.contains(role));
        match kept.roles.is_empty() {
            true => tx.change_catalog(CatalogChange::Drop(policy.oid))?,
            false => put(tx, Object::RowPolicy(Arc::new(kept)))?,
        }
    }
    Ok(())
}
