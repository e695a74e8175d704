//! CREATE and ALTER DOMAIN.

use std::sync::Arc;

use sqlparser::ast::{Expr, ObjectName};

use super::names::{self, Name};
use super::syntax::user_type::{DomainChange, NewCheck, NewDomain};
use super::{DdlContext, allocate_many, constraint, expression, lock, privilege, put, user_type};
use crate::catalog::{ColumnDef, DomainCheck, DomainDef, NamedType, Object, Oid, TableDef, TypeBody, TypeDef};
use crate::domain::DomainRule;
use crate::error::{Error, Result, SqlState};
use crate::txn::{TableLock, Transaction};
use crate::types::user::UserKind;
use crate::types::{PgType, TypeOid};

pub fn create(new: &NewDomain, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let syntax = |message: &str| Error::new(SqlState::SyntaxError, message);
    let (schema, name) = user_type::place(&new.name, tx, context)?;
    let over = expression::column_domain(&new.ty, tx, context)?;
    let base = expression::column_type(&new.ty, &name, tx, context).map_err(|e| match e.state() {
        SqlState::InvalidTableDefinition => Error::new(
            SqlState::DatatypeMismatch,
            format!("\"{}\" is not a valid base type for a domain", new.ty.to_string().to_lowercase()),
        ),
        _ => e,
    })?;
    if new.defaults.len() > 1 {
        return Err(syntax("multiple default expressions"));
    }
    if new.not_null && new.null {
        return Err(syntax("conflicting NULL/NOT NULL constraints"));
    }
    if let Some(what) = new.impossible {
        return Err(syntax(&format!("{what} constraints not possible for domains")));
    }
    let default = match new.defaults.first() {
        Some(expr) => expression::default(expr, &name, base, tx, context)?,
        None => None,
    };
    let collation = match &new.collation {
        Some(name) => super::collation::chosen(name, base, tx, context).map_err(Error::unlocated)?,
        None => super::collation::of_domain(over, &tx.catalog()),
    };
    let number = allocate_many(tx, 1 + new.checks.len() as u32)?;
    let mut domain = DomainDef { base, over, not_null: new.not_null, collation, default, checks: Vec::new() };
    for (i, check) in new.checks.iter().enumerate() {
        let check = define_check(check, Oid(number.0 + 1 + i as u32), &name, &domain, tx, context)?;
        domain.checks.push(check);
    }
    let oid = UserKind::Domain.oid(number)?;
    let body = TypeBody::Domain(domain);
    let def = TypeDef { oid, schema, name, owner: context.user, body, extension: None, comment: None };
    put(tx, Object::Type(Arc::new(def)))?;
    Ok("CREATE DOMAIN".to_owned())
}

/// A condition in its normal form, under the name that it has or is given.
fn define_check(
    new: &NewCheck,
    oid: Oid,
    domain: &str,
    existing: &DomainDef,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<DomainCheck> {
    let taken = |name: &str| existing.checks.iter().any(|c| c.name == name);
    let name = match new.name.as_ref().map(names::ident) {
        Some(name) if taken(&name) => {
            return Err(Error::new(
                SqlState::DuplicateObject,
                format!("constraint \"{name}\" for domain \"{domain}\" already exists"),
            ));
        }
        Some(name) => name,
        None => names::choose(domain, None, "check", taken),
    };
    let expression = expression::domain_check(&new.expr, existing.base, existing.collation, tx, context)?;
    Ok(DomainCheck { oid, name, expression })
}

pub async fn alter(
    name: &ObjectName,
    change: &DomainChange,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER DOMAIN".to_owned();
    let catalog = tx.catalog();
    let written = Name::new(name, &catalog)?;
    let mut def = match user_type::find(&written, &catalog, context)? {
        Some(NamedType::Own(def)) if def.domain().is_some() => (*def).clone(),
        Some(_) => return Err(Error::new(SqlState::WrongObjectType, format!("{written} is not a domain"))),
        None => return Err(user_type::undefined(&written)),
    };
    if let DomainChange::Type(change) = change {
        user_type::alter(name, change, tx, context)?;
        return Ok(tag);
    }
    privilege::check_owner(&catalog, context.user, def.owner, "type", &def.name)?;
    if let DomainChange::NotNull(true) | DomainChange::AddCheck { .. } = change
        && let Some(range) = catalog.range_over_domain(def.oid)
    {
        return Err(Error::unsupported(format!("a condition of a domain that range type \"{}\" is over", range.name)));
    }
    let (shown, oid) = (def.name.clone(), def.oid);
    let TypeBody::Domain(domain) = &mut def.body else { return Err(Error::internal("a domain is none")) };
    match change {
        DomainChange::Default(expr) => domain.default = default(expr.as_ref(), &shown, domain.base, tx, context)?,
        DomainChange::NotNull(not_null) => domain.not_null = *not_null,
        DomainChange::AddCheck { not_valid: true, .. } => return Err(Error::unsupported("NOT VALID constraints")),
        DomainChange::AddCheck { check, .. } => {
            let number = allocate_many(tx, 1)?;
            let check = define_check(check, number, &shown, domain, tx, context)?;
            domain.checks.push(check);
        }
        DomainChange::DropConstraint { name, if_exists } => {
            let name = names::ident(name);
            let before = domain.checks.len();
            domain.checks.retain(|c| c.name != name);
            if domain.checks.len() == before {
                let message = format!("constraint \"{name}\" of domain \"{shown}\" does not exist");
                if !if_exists {
                    return Err(Error::new(SqlState::UndefinedObject, message));
                }
                context.notice(SqlState::SuccessfulCompletion, format!("{message}, skipping"));
            }
        }
        DomainChange::RenameConstraint(from, to) => {
            let (from, to) = (names::ident(from), names::ident(to));
            if domain.checks.iter().any(|c| c.name == to) {
                return Err(Error::new(
                    SqlState::DuplicateObject,
                    format!("constraint \"{to}\" for domain {shown} already exists"),
                ));
            }
            find_check(domain, &from, &shown)?.name = to;
        }
        DomainChange::ValidateConstraint(name) => {
            find_check(domain, &names::ident(name), &shown)?;
        }
        DomainChange::Type(_) => {}
    }
    put(tx, Object::Type(Arc::new(def)))?;
    if matches!(change, DomainChange::NotNull(true) | DomainChange::AddCheck { .. }) {
        validate(oid, tx, context).await?;
    }
    Ok(tag)
}

fn default(
    expr: Option<&Expr>,
    domain: &str,
    base: PgType,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<Option<String>> {
    expr.map_or(Ok(None), |expr| expression::default(expr, domain, base, tx, context))
}

fn find_check<'a>(domain: &'a mut DomainDef, name: &str, shown: &str) -> Result<&'a mut DomainCheck> {
    domain.checks.iter_mut().find(|c| c.name == name).ok_or_else(|| {
        Error::new(SqlState::UndefinedObject, format!("constraint \"{name}\" of domain \"{shown}\" does not exist"))
    })
}

/// Rows that are there must fulfil what a domain demands now.
async fn validate(domain: Oid, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<()> {
    let catalog = tx.catalog();
    let tables: Vec<Arc<TableDef>> = catalog.tables.values().cloned().collect();
    for table in tables {
        let declared = |c: &ColumnDef| c.domain.map_or(c.ty.oid, |domain| TypeOid(domain.0));
        if let Some(column) = table.live_columns().find(|c| catalog.is_made_of_domain(declared(c), domain)) {
            let name = catalog.types.get(&domain).map_or("", |def| &def.name);
            return Err(Error::new(
                SqlState::FeatureNotSupported,
                format!("cannot alter type \"{name}\" because column \"{}.{}\" uses it", table.name, column.name),
            ));
        }
        let over = |d: Option<Oid>| d.filter(|d| catalog.is_domain_over(*d, domain));
        let columns: Vec<(usize, Oid)> =
            table.live_columns().filter_map(|c| Some((c.attnum as usize - 1, over(c.domain)?))).collect();
        if columns.is_empty() {
            continue;
        }
        // Nobody may write a row that was not asked for the new condition.
        lock(tx, table.oid, TableLock::Share, context).await?;
        let rules = columns.iter().map(|(i, d)| Ok((*i, expression::domain_rule(*d, tx, context)?)));
        let rules: Vec<(usize, Arc<DomainRule>)> = rules.collect::<Result<_>>()?;
        let eval = context.eval.clone();
        let schema = catalog.schema_name(table.schema).to_owned();
        constraint::for_each_row(&table, tx, |row| {
            for (i, rule) in &rules {
                let Some(value) = row.get(*i) else { continue };
                let column = table.columns.get(*i).map_or("", |c| &c.name);
                let what = match value.is_null() && rule.not_null {
                    true => (SqlState::NotNullViolation, "null values"),
                    false if rule.violated(value, &eval)?.is_some() => {
                        (SqlState::CheckViolation, "values that violate the new constraint")
                    }
                    false => continue,
                };
                let message = format!("column \"{column}\" of table \"{}\" contains {}", table.name, what.1);
                return Err(Error::new(what.0, message).table(&schema, &table.name).column(column));
            }
            Ok(())
        })?;
    }
    Ok(())
}
