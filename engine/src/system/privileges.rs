//! Privileges, memberships and settings of roles as relations: pg_auth_members, pg_default_acl, pg_db_role_setting, pg_init_privs,
//! and the privilege views of information_schema.

use super::relations::role_name;
use super::rows::row;
use super::{RowSink, RowSource, SystemContext};
use crate::catalog::access::{AclTarget, has_system_acl, relation_kind, system_acl};
use crate::catalog::acl::{Acl, AclItem, ObjectKind, PUBLIC, Rights, default_acl, item_text};
use crate::catalog::{Catalog, Oid, Relation};
use crate::error::Result;
use crate::sql::live_columns;

pub const SOURCES: &[(&str, RowSource)] = &[
    ("pg_catalog.pg_auth_members", auth_members),
    ("pg_catalog.pg_default_acl", default_acls),
    ("pg_catalog.pg_db_role_setting", role_settings),
    ("pg_catalog.pg_group", groups),
    ("pg_catalog.pg_init_privs", init_privileges),
    ("information_schema.table_privileges", |c, s| table_privileges(c, s, false)),
    ("information_schema.role_table_grants", |c, s| table_privileges(c, s, true)),
    ("information_schema.column_privileges", |c, s| column_privileges(c, s, false)),
    ("information_schema.role_column_grants", |c, s| column_privileges(c, s, true)),
    ("information_schema.usage_privileges", |c, s| usage_privileges(c, s, false)),
    ("information_schema.role_usage_grants", |c, s| usage_privileges(c, s, true)),
    ("information_schema.applicable_roles", |c, s| applicable_roles(c, s, false)),
    ("information_schema.administrable_role_authorizations", |c, s| applicable_roles(c, s, true)),
    ("information_schema.enabled_roles", enabled_roles),
];

/// A list as aclitem[]; `None`: the object has none of its own.
pub fn texts(acl: Option<&Acl>, catalog: &Catalog) -> Option<Vec<String>> {
    acl.map(|acl| acl.iter().map(|item| item_text(item, catalog)).collect())
}

/// What pg_class shows of a relation of the system.
pub fn system_texts(name: &str, schema: Oid, catalog: &Catalog) -> Option<Vec<String>> {
    has_system_acl(name, schema).then(|| system_acl(name, schema)).and_then(|acl| texts(Some(&acl), catalog))
}

fn auth_members(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for m in context.catalog.access.memberships() {
        row!(sink; m.role, m.member, m.grantor, m.admin);
    }
    Ok(())
}

fn default_acls(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for (key, oid, acl) in context.catalog.access.defaults() {
        let letter = match key.kind {
            ObjectKind::Sequence => 'S',
            ObjectKind::Function => 'f',
            ObjectKind::Type => 'T',
            ObjectKind::Schema => 'n',
            _ => 'r',
        };
        row!(sink; oid, key.role, key.schema, letter, texts(Some(acl), &context.catalog));
    }
    Ok(())
}

fn role_settings(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for (database, role, settings) in context.catalog.access.settings() {
        row!(sink; database, role, config(settings));
    }
    Ok(())
}

/// `name=value` of each setting, as the catalogs keep them.
pub fn config(settings: &[(String, String)]) -> Option<Vec<String>> {
    match settings {
        [] => None,
        some => Some(some.iter().map(|(name, value)| format!("{name}={value}")).collect()),
    }
}

fn groups(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for role in context.catalog.roles.values().filter(|r| !r.login) {
        let members: Vec<Oid> =
            context.catalog.access.memberships().filter(|m| m.role == role.oid).map(|m| m.member).collect();
        row!(sink; &role.name, role.oid, members);
    }
    Ok(())
}

/// What the cluster began with, so that pg_dump writes only what was changed since.
fn init_privileges(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for relation in super::all() {
        if let Some(acl) = system_texts(relation.name, relation.schema, catalog) {
            row!(sink; relation.oid, super::relations::PG_CLASS, 0i32, 'i', acl);
        }
    }
    for schema in [Oid::PG_CATALOG, Oid::INFORMATION_SCHEMA] {
        let mut acl = default_acl(ObjectKind::Schema, Oid::SUPERUSER);
        let grantor = Oid::SUPERUSER;
        acl.push(AclItem { grantee: PUBLIC, grantor, rights: Rights::USAGE, grantable: Rights::NONE });
        row!(sink; schema, super::relations::PG_NAMESPACE, 0i32, 'i', texts(Some(&acl), catalog));
    }
    Ok(())
}

/// Privileges one by one, as the standard's views have them.
pub(super) struct Granted<'a> {
    pub grantor: &'a str,
    pub grantee: &'a str,
    pub privilege: &'static str,
    pub grantable: &'static str,
}

fn is_enabled(context: &SystemContext, role: Oid) -> bool {
    context.catalog.has_privileges_of(context.user, role)
}

pub(super) fn explode<'a>(
    context: &'a SystemContext,
    acl: &'a Acl,
    owner: Oid,
    allowed: Rights,
    roles_only: bool,
) -> impl Iterator<Item = Granted<'a>> {
    let catalog = &context.catalog;
    let seen = move |item: &&AclItem| {
        let enabled = is_enabled(context, item.grantor) || item.grantee != PUBLIC && is_enabled(context, item.grantee);
        enabled || item.grantee == PUBLIC && !roles_only
    };
    acl.iter().filter(seen).flat_map(move |item| {
        let grantee = if item.grantee == PUBLIC { "PUBLIC" } else { role_name(catalog, item.grantee) };
        let owns = item.grantee != PUBLIC && catalog.has_privileges_of(item.grantee, owner);
        let named = Rights::NAMES.iter().filter(move |known| item.rights.has(known.0) && allowed.has(known.0));
        named.map(move |(right, _, privilege)| Granted {
            grantor: role_name(catalog, item.grantor),
            grantee,
            privilege,
            grantable: if owns || item.grantable.has(*right) { "YES" } else { "NO" },
        })
    })
}

/// Tables and views, each with its list.
fn lists(context: &SystemContext) -> Vec<(Relation, Acl, Oid)> {
    let catalog = &context.catalog;
    let system = super::all().iter().map(|r| {
        let acl = system_texts(r.name, r.schema, catalog).map(|_| system_acl(r.name, r.schema));
        let acl = acl.unwrap_or_else(|| default_acl(ObjectKind::Relation, Oid::SUPERUSER));
        (Relation::System(r), acl, Oid::SUPERUSER)
    });
    let tables = catalog.tables.values().cloned().map(Relation::Table);
    let views = catalog.views.values().cloned().map(Relation::View);
    let own = tables.chain(views).map(|relation| {
        let (kind, owner) = relation_kind(&relation);
        let acl = catalog.acl(AclTarget::new(kind, relation.oid()), kind, owner);
        (relation, acl, owner)
    });
    system.chain(own).collect()
}

fn table_privileges(context: &SystemContext, sink: &mut RowSink, roles_only: bool) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for (relation, acl, owner) in lists(context) {
        for g in explode(context, &acl, owner, ObjectKind::Relation.all(), roles_only) {
            let hierarchy = if g.privilege == "SELECT" { "YES" } else { "NO" };
            row!(sink;
                g.grantor, g.grantee, database, catalog.schema_name(relation.schema()), relation.name(), g.privilege,
                g.grantable, hierarchy);
        }
    }
    Ok(())
}

fn column_privileges(context: &SystemContext, sink: &mut RowSink, roles_only: bool) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for (relation, acl, owner) in lists(context) {
        for attnum in live_columns(&relation) {
            let name = match &relation {
                Relation::Table(t) => t.attribute(attnum).map(|c| c.name.clone()),
                Relation::View(v) => v.columns.get(attnum as usize - 1).map(|c| c.0.clone()),
                Relation::System(s) => s.column_name(attnum).map(str::to_owned),
                _ => None,
            };
            let own = catalog.access.own_acl(AclTarget::column(relation.oid(), attnum));
            // The whole relation's privileges and the column's own, each once.
            let mut both = acl.clone();
            for item in own.iter().flat_map(|acl| acl.iter()) {
                match both.iter_mut().find(|i| i.grantee == item.grantee && i.grantor == item.grantor) {
                    Some(same) => {
                        same.rights = same.rights.with(item.rights);
                        same.grantable = same.grantable.with(item.grantable);
                    }
                    None => both.push(*item),
                }
            }
            for g in explode(context, &both, owner, ObjectKind::Column.all(), roles_only) {
                row!(sink;
                    g.grantor, g.grantee, database, catalog.schema_name(relation.schema()), relation.name(), name.as_ref(),
                    g.privilege, g.grantable);
            }
        }
    }
    Ok(())
}

/// USAGE of domains and sequences. Collations, which everybody may use, come first as in PostgreSQL.
fn usage_privileges(context: &SystemContext, sink: &mut RowSink, roles_only: bool) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    if !roles_only {
        for (schema, name) in super::fixed::collation_names(catalog) {
            let own = catalog.schema(&schema).and_then(|s| catalog.collation_in(s.oid, &name));
            let owner = match own {
                Some(crate::catalog::Collation::Own(c)) => c.owner,
                _ => Oid::SUPERUSER,
            };
            row!(sink; role_name(catalog, owner), "PUBLIC", database, schema, name, "COLLATION", "USAGE", "NO");
        }
    }
    for t in catalog.types.values().filter(|t| t.domain().is_some()) {
        let acl = catalog.acl(AclTarget::new(ObjectKind::Type, t.oid), ObjectKind::Type, t.owner);
        for g in explode(context, &acl, t.owner, Rights::USAGE, roles_only) {
            row!(sink;
                g.grantor, g.grantee, database, catalog.schema_name(t.schema), &t.name, "DOMAIN", g.privilege,
                g.grantable);
        }
    }
    for s in catalog.sequences.values() {
        let acl = catalog.acl(AclTarget::new(ObjectKind::Sequence, s.oid), ObjectKind::Sequence, s.owner);
        for g in explode(context, &acl, s.owner, Rights::USAGE, roles_only) {
            row!(sink;
                g.grantor, g.grantee, database, catalog.schema_name(s.schema), &s.name, "SEQUENCE", g.privilege,
                g.grantable);
        }
    }
    Ok(())
}

fn applicable_roles(context: &SystemContext, sink: &mut RowSink, admin_only: bool) -> Result<()> {
    let catalog = &context.catalog;
    for m in catalog.access.memberships().filter(|m| !admin_only || m.admin) {
        if is_enabled(context, m.member) {
            let grantable = if m.admin { "YES" } else { "NO" };
            row!(sink; role_name(catalog, m.member), role_name(catalog, m.role), grantable);
        }
    }
    Ok(())
}

fn enabled_roles(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for role in context.catalog.roles.values().filter(|r| is_enabled(context, r.oid)) {
        row!(sink; &role.name);
    }
    Ok(())
}
