//! CREATE, ALTER and DROP of the types that users make.
//!
//! A value that is added or renamed changes the catalog alone: columns hold positions ([`crate::types::user`]). Unlike PostgreSQL's,
//! a value that a transaction has added may be used in it at once: rolling back takes the rows with it.

use std::sync::Arc;

use sqlparser::ast::ObjectName;

use super::names::{self, Name};
use super::syntax::user_type::{NewAttribute, TypeChange, TypeStatement};
use super::{DdlContext, allocate_many, drop, expression, ownership, privilege, put};
use crate::catalog::{
    Attribute, Catalog, EnumValue, NamedType, Object, Oid, Place, TypeBody, TypeDef, insert_value, position,
};
use crate::error::{Error, Result, SqlState};
use crate::system::deparse::quote_literal;
use crate::txn::Transaction;
use crate::types::TypeOid;
use crate::types::user::UserKind;

pub async fn execute(statement: &TypeStatement, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    match statement {
        TypeStatement::CreateEnum { name, labels } => create_enum(name, labels, tx, context),
        TypeStatement::CreateComposite { name, attributes } => create_composite(name, attributes, tx, context),
        TypeStatement::CreateRange { name, options } => super::range_type::create(name, options, tx, context),
        TypeStatement::Alter { name, change } => alter(name, change, tx, context),
        TypeStatement::CreateExtension { name, if_not_exists, schema, version } => {
            super::extension::create(name, *if_not_exists, schema.as_ref(), version.as_deref(), tx, context)
        }
        TypeStatement::DropExtension { names, if_exists, cascade } => {
            super::extension::drop_extensions(names, *if_exists, *cascade, tx, context).await
        }
        TypeStatement::CreateDomain(new) => super::domain::create(new, tx, context),
        TypeStatement::AlterDomain { name, change } => super::domain::alter(name, change, tx, context).await,
        TypeStatement::Drop { names, if_exists, cascade, domain } => {
            drop_types(names, *domain, *if_exists, *cascade, tx, context).await
        }
    }
}

/// Where a new type goes, its name being free there.
pub fn place(name: &ObjectName, tx: &Transaction, context: &DdlContext<'_>) -> Result<(Oid, String)> {
    let catalog = tx.catalog();
    let name = Name::new(name, &catalog)?;
    let schema = name.creation_schema(&catalog, &context.path(&catalog))?;
    privilege::check_create(&catalog, context.user, schema)?;
    catalog.check_type_name_is_free(schema, &name.name)?;
    Ok((schema, name.name))
}

fn create_enum(
    name: &ObjectName,
    labels: &[String],
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let (schema, name) = place(name, tx, context)?;
    let first = allocate_many(tx, labels.len() as u32 + 1)?;
    let oid = UserKind::Enum.oid(first)?;
    let mut values: Vec<EnumValue> = Vec::with_capacity(labels.len());
    for (i, label) in labels.iter().enumerate() {
        check_label(label)?;
        if values.iter().any(|v| v.label == *label) {
            return Err(Error::new(
                SqlState::UniqueViolation,
                "duplicate key value violates unique constraint \"pg_enum_typid_label_index\"",
            )
            .detail(format!("Key (enumtypid, enumlabel)=({}, {label}) already exists.", oid.0))
            .table("pg_catalog", "pg_enum")
            .constraint("pg_enum_typid_label_index"));
        }
        let position = position(&values, Place::Last)?;
        let oid = Oid(first.0 + 1 + i as u32);
        insert_value(&mut values, EnumValue { oid, position, order: 0.0, label: label.clone() });
    }
    let body = TypeBody::Enum(values);
    let def = TypeDef { oid, schema, name, owner: context.user, body, extension: None, comment: None };
    put(tx, Object::Type(Arc::new(def)))?;
    Ok("CREATE TYPE".to_owned())
}

fn create_composite(
    name: &ObjectName,
    attributes: &[NewAttribute],
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let catalog = tx.catalog();
    let qualified = Name::new(name, &catalog)?;
    let home = qualified.creation_schema(&catalog, &context.path(&catalog))?;
    if names::is_taken(&catalog, home, &qualified.name) {
        return Err(Error::new(SqlState::DuplicateTable, format!("relation \"{}\" already exists", qualified.name)));
    }
    let (schema, name) = place(name, tx, context)?;
    let mut found: Vec<Attribute> = Vec::with_capacity(attributes.len());
    for new in attributes {
        let attribute = define(new, tx, context)?;
        if found.iter().any(|a| a.name == attribute.name) {
            let message = format!("column \"{}\" specified more than once", attribute.name);
            return Err(Error::new(SqlState::DuplicateColumn, message));
        }
        found.push(attribute);
    }
    let oid = UserKind::Composite.oid(allocate_many(tx, 1)?)?;
    let body = TypeBody::Composite(found);
    let def = TypeDef { oid, schema, name, owner: context.user, body, extension: None, comment: None };
    put(tx, Object::Type(Arc::new(def)))?;
    Ok("CREATE TYPE".to_owned())
}

fn define(new: &NewAttribute, tx: &Transaction, context: &DdlContext<'_>) -> Result<Attribute> {
    let name = names::ident(&new.name);
    super::column::check_name(&name)?;
    let domain = expression::column_domain(&new.ty, tx, context)?;
    let ty = expression::column_type(&new.ty, &name, tx, context)?;
    let collation = match &new.collation {
        Some(written) => super::collation::chosen(written, ty, tx, context)?,
        None => super::collation::of_domain(domain, &tx.catalog()),
    };
    let catalog = tx.catalog();
    if collation.and_then(|oid| catalog.collation(oid)).is_some_and(|c| c.language().is_some()) {
        return Err(Error::unsupported("an attribute with the collation of a language"));
    }
    Ok(Attribute { name, ty, domain, collation })
}

/// Changes the attributes of a composite type. Rows that are stored keep the fields they have: one may be added to them, none
/// taken away or changed.
fn alter_attributes(
    def: &mut TypeDef,
    change: &TypeChange,
    tx: &Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let catalog = tx.catalog();
    let ty = TypeOid(def.oid.0);
    let shown = def.name.clone();
    let TypeBody::Composite(attributes) = &mut def.body else {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{shown}\" is not a composite type")));
    };
    let missing = |name: &str| {
        let message = format!("column \"{name}\" of relation \"{shown}\" does not exist");
        Error::new(SqlState::UndefinedColumn, message)
    };
    let unused = || match catalog.column_of_type(ty) {
        Some((table, column)) => Err(Error::new(
            SqlState::FeatureNotSupported,
            format!("cannot alter type \"{shown}\" because column \"{table}.{column}\" uses it"),
        )),
        None => Ok(()),
    };
    let exists = |attributes: &[Attribute], name: &str| match attributes.iter().any(|a| a.name == name) {
        true => Err(Error::new(
            SqlState::DuplicateColumn,
            format!("column \"{name}\" of relation \"{shown}\" already exists"),
        )),
        false => Ok(()),
    };
    match change {
        TypeChange::AddAttribute(new) => {
            let attribute = define(new, tx, context)?;
            exists(attributes, &attribute.name)?;
            if catalog.row_holds(attribute.ty.oid, ty) {
                return Err(itself(&shown));
            }
            attributes.push(attribute);
        }
        TypeChange::DropAttribute { name, if_exists, .. } => {
            let name = names::ident(name);
            match attributes.iter().position(|a| a.name == name) {
                Some(at) => {
                    unused()?;
                    attributes.remove(at);
                }
                None if *if_exists => {
                    let message = format!("column \"{name}\" of relation \"{shown}\" does not exist, skipping");
                    context.notice(SqlState::SuccessfulCompletion, message);
                }
                None => return Err(missing(&name)),
            }
        }
        TypeChange::AlterAttribute(new) => {
            let new = define(new, tx, context)?;
            unused()?;
            if catalog.row_holds(new.ty.oid, ty) {
                return Err(itself(&shown));
            }
            let found = attributes.iter_mut().find(|a| a.name == new.name).ok_or_else(|| missing(&new.name))?;
            found.ty = new.ty;
            found.domain = new.domain;
            found.collation = new.collation;
        }
        TypeChange::RenameAttribute(from, to) => {
            let (from, to) = (names::ident(from), names::ident(to));
            exists(attributes, &to)?;
            let found = attributes.iter_mut().find(|a| a.name == from).ok_or_else(|| missing(&from))?;
            found.name = to;
        }
        _ => return Err(Error::internal("no change of an attribute")),
    }
    Ok(())
}

/// 42P16: rows would have no end.
pub fn itself(name: &str) -> Error {
    Error::new(SqlState::InvalidTableDefinition, format!("composite type {name} cannot be made a member of itself"))
}

/// DROP … CASCADE of an attribute's type. 0A000 while columns hold rows with it.
pub fn remove_attribute(ty: Oid, at: usize, tx: &mut Transaction) -> Result<()> {
    let catalog = tx.catalog();
    let Some(mut def) = catalog.types.get(&ty).map(|def| (**def).clone()) else { return Ok(()) };
    if let Some((table, column)) = catalog.column_of_type(TypeOid(ty.0)) {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            format!("cannot alter type \"{}\" because column \"{table}.{column}\" uses it", def.name),
        ));
    }
    if let TypeBody::Composite(attributes) = &mut def.body
        && at < attributes.len()
    {
        attributes.remove(at);
    }
    put(tx, Object::Type(Arc::new(def)))
}

fn check_label(label: &str) -> Result<()> {
    if label.len() <= 63 {
        return Ok(());
    }
    Err(Error::new(SqlState::InvalidName, format!("invalid enum label \"{label}\""))
        .detail("Labels must be 63 bytes or less."))
}

/// A type by its name (42704), arrays and built-in ones refused.
pub fn open(name: &ObjectName, tx: &Transaction, context: &DdlContext<'_>) -> Result<Arc<TypeDef>> {
    let catalog = tx.catalog();
    let name = Name::new(name, &catalog)?;
    match find(&name, &catalog, context)? {
        Some(NamedType::Own(def)) => Ok(def),
        Some(NamedType::Row(relation)) => {
            let shown = relation.name();
            Err(Error::new(SqlState::WrongObjectType, format!("{shown} is a table's row type"))
                .hint("Use ALTER TABLE instead."))
        }
        None => Err(undefined(&name)),
    }
}

pub fn undefined(name: &Name) -> Error {
    Error::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"))
}

pub fn find(name: &Name, catalog: &Catalog, context: &DdlContext<'_>) -> Result<Option<NamedType>> {
    let path = context.path(catalog);
    let schemas = match &name.schema {
        Some(schema) => vec![catalog.resolve_schema(schema)?.oid],
        None => path.schemas,
    };
    Ok(schemas.iter().find_map(|schema| catalog.type_in(*schema, &name.name)))
}

pub fn alter(
    name: &ObjectName,
    change: &TypeChange,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER TYPE".to_owned();
    let catalog = tx.catalog();
    if let TypeChange::AddValue { .. } | TypeChange::RenameValue { .. } = change {
        let shown = Name::new(name, &catalog)?;
        let found = find(&shown, &catalog, context)?.ok_or_else(|| undefined(&shown))?;
        if !found.oid().is_enum() {
            let path = context.path(&catalog);
            let shown = catalog.type_shown(found.oid(), &path.schemas).unwrap_or_default();
            return Err(Error::new(SqlState::WrongObjectType, format!("{shown} is not an enum")));
        }
    }
    let mut def = (*open(name, tx, context)?).clone();
    privilege::check_owner(&catalog, context.user, def.owner, "type", &def.name)?;
    match change {
        TypeChange::AddValue { label, if_not_exists, place } => {
            if !add_value(&mut def, label, *if_not_exists, place.as_ref(), tx, context)? {
                return Ok(tag);
            }
        }
        TypeChange::RenameValue { from, to } => rename_value(&mut def, from, to, &catalog)?,
        TypeChange::AddAttribute(_)
        | TypeChange::DropAttribute { .. }
        | TypeChange::AlterAttribute(_)
        | TypeChange::RenameAttribute(..) => alter_attributes(&mut def, change, tx, context)?,
        TypeChange::Rename(to) => {
            let to = names::ident(to);
            catalog.check_type_name_is_free(def.schema, &to)?;
            def.name = to;
        }
        TypeChange::Owner(role) => {
            def.owner = ownership::new_owner(role, def.owner, def.schema, &catalog, context)?;
        }
        TypeChange::SetSchema(schema) => {
            let to = ownership::new_schema(schema, def.schema, &catalog, context)?;
            if to != def.schema && catalog.type_in(to, &def.name).is_some() {
                return Err(Error::new(
                    SqlState::DuplicateObject,
                    format!("type \"{}\" already exists in schema \"{}\"", def.name, catalog.schema_name(to)),
                ));
            }
            def.schema = to;
        }
    }
    put(tx, Object::Type(Arc::new(def)))?;
    Ok(tag)
}

/// `false`: the value is there, IF NOT EXISTS was said.
fn add_value(
    def: &mut TypeDef,
    label: &str,
    if_not_exists: bool,
    neighbour: Option<&(String, bool)>,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<bool> {
    check_label(label)?;
    let TypeBody::Enum(values) = &mut def.body else { return Err(Error::internal("an enum has no values")) };
    if values.iter().any(|v| v.label == label) {
        let message = format!("enum label \"{label}\" already exists");
        if if_not_exists {
            context.notice(SqlState::DuplicateObject, format!("{message}, skipping"));
            return Ok(false);
        }
        return Err(Error::new(SqlState::DuplicateObject, message));
    }
    let place = match neighbour {
        None => Place::Last,
        Some((neighbour, before)) => {
            let at = values.iter().position(|v| v.label == *neighbour).ok_or_else(|| no_label(neighbour))?;
            if *before { Place::Before(at) } else { Place::After(at) }
        }
    };
    let position = position(values, place)?;
    let oid = allocate_many(tx, 1)?;
    insert_value(values, EnumValue { oid, position, order: 0.0, label: label.to_owned() });
    Ok(true)
}

fn no_label(label: &str) -> Error {
    Error::new(SqlState::InvalidParameterValue, format!("\"{label}\" is not an existing enum label"))
}

fn rename_value(def: &mut TypeDef, from: &str, to: &str, catalog: &Catalog) -> Result<()> {
    check_label(to)?;
    let oid = TypeOid(def.oid.0);
    let TypeBody::Enum(values) = &mut def.body else { return Err(Error::internal("an enum has no values")) };
    let at = values.iter().position(|v| v.label == from).ok_or_else(|| no_label(from))?;
    if values.iter().any(|v| v.label == to) {
        return Err(Error::new(SqlState::DuplicateObject, format!("enum label \"{to}\" already exists")));
    }
    // Views are kept as text, labels included.
    let literal = quote_literal(from);
    if let Some(view) = catalog.types_views(oid).into_iter().find(|v| v.query.contains(&literal)) {
        return Err(Error::unsupported("to rename a value of an enum that a view names")
            .detail(format!("View \"{}\" names it.", view.name))
            .hint("Drop the view and create it again afterwards."));
    }
    if let Some(value) = values.get_mut(at) {
        value.label = to.to_owned();
    }
    Ok(())
}

async fn drop_types(
    names: &[ObjectName],
    domain: bool,
    if_exists: bool,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let mut types: Vec<Arc<TypeDef>> = Vec::new();
    for name in names {
        let catalog = tx.catalog();
        let name = Name::new(name, &catalog)?;
        let missing_schema = name.schema.as_ref().filter(|s| catalog.schema(s).is_none());
        let found = match missing_schema {
            Some(_) if if_exists => None,
            _ => find(&name, &catalog, context)?,
        };
        match found {
            Some(NamedType::Own(def)) if domain && def.domain().is_none() => {
                return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a domain", def.name)));
            }
            Some(NamedType::Own(def)) => {
                ownership::check_may_drop(&catalog, context.user, (def.owner, def.schema), "type", &def.name)?;
                if let Some(extension) = def.extension.and_then(|e| catalog.extensions.get(&e)) {
                    let extension = &extension.name;
                    return Err(Error::new(
                        SqlState::DependentObjectsStillExist,
                        format!("cannot drop type {} because extension {extension} requires it", def.name),
                    )
                    .hint(format!("You can drop extension {extension} instead.")));
                }
                if let Some(range) = TypeOid(def.oid.0).user_range() {
                    let shown =
                        |ty: TypeOid| catalog.type_shown(ty, &context.path(&catalog).schemas).unwrap_or_default();
                    let (own, range) = (shown(TypeOid(def.oid.0)), shown(range));
                    let message = format!("cannot drop type {own} because type {range} requires it");
                    return Err(Error::new(SqlState::DependentObjectsStillExist, message)
                        .hint(format!("You can drop type {range} instead.")));
                }
                if !types.iter().any(|t| t.oid == def.oid) {
                    types.push(def);
                }
            }
            Some(NamedType::Row(relation)) => {
                let (kind, shown) = (relation.kind_name(), relation.name());
                return Err(Error::new(
                    SqlState::DependentObjectsStillExist,
                    format!("cannot drop type {shown} because {kind} {shown} requires it"),
                )
                .hint(format!("You can drop {kind} {shown} instead.")));
            }
            None if if_exists => {
                let message = match missing_schema {
                    Some(schema) => format!("schema \"{schema}\" does not exist, skipping"),
                    None => format!("type \"{}\" does not exist, skipping", name.name),
                };
                context.notice(SqlState::SuccessfulCompletion, message);
            }
            None if name.schema.is_none() && crate::types::names::lookup_sql(&name.name).is_some() => {
                return Err(Error::new(
                    SqlState::DependentObjectsStillExist,
                    format!("cannot drop type {} because it is required by the database system", name.name),
                ));
            }
            None => return Err(undefined(&name)),
        }
    }
    drop::drop_types(types, cascade, tx, context).await?;
    Ok(if domain { "DROP DOMAIN" } else { "DROP TYPE" }.to_owned())
}
