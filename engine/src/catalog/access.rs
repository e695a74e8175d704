//! Who may do what: access control lists by object, membership of roles, default privileges, and settings of roles and
//! databases. The owner and a superuser are recognised before any list is looked at.
//!
//! Invariants:
//! 1. An object without a list has the default one of its kind; a list of its own is complete, the owner's part included.
//! 2. Membership has no cycle.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::acl::{Acl, AclItem, ObjectKind, PUBLIC, Rights, default_acl};
use super::{Catalog, Oid, Relation};
use crate::error::{Error, Result, SqlState};

/// The roles that PostgreSQL 15 defines.
pub const PREDEFINED_ROLES: [(u32, &str); 12] = [
    (6171, "pg_database_owner"),
    (6181, "pg_read_all_data"),
    (6182, "pg_write_all_data"),
    (3373, "pg_monitor"),
    (3374, "pg_read_all_settings"),
    (3375, "pg_read_all_stats"),
    (3377, "pg_stat_scan_tables"),
    (4569, "pg_read_server_files"),
    (4570, "pg_write_server_files"),
    (4571, "pg_execute_server_program"),
    (4200, "pg_signal_backend"),
    (4544, "pg_checkpoint"),
];

pub const DATABASE_OWNER: Oid = Oid(6171);
pub const READ_ALL_DATA: Oid = Oid(6181);
pub const WRITE_ALL_DATA: Oid = Oid(6182);
pub const MONITOR: Oid = Oid(3373);
pub const READ_ALL_SETTINGS: Oid = Oid(3374);
pub const READ_ALL_STATS: Oid = Oid(3375);
pub const STAT_SCAN_TABLES: Oid = Oid(3377);
pub const SIGNAL_BACKEND: Oid = Oid(4200);
pub const CHECKPOINT: Oid = Oid(4544);

/// An object, or one column of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AclTarget {
    pub kind: ObjectKind,
    pub object: Oid,
    /// Attribute number; 0 for the whole.
    pub column: i16,
}

impl AclTarget {
    pub fn new(kind: ObjectKind, object: Oid) -> AclTarget {
        // A sequence is a relation that knows other privileges.
        let kind = if kind == ObjectKind::Sequence { ObjectKind::Relation } else { kind };
        AclTarget { kind, object, column: 0 }
    }

    pub fn column(relation: Oid, attnum: i16) -> AclTarget {
        AclTarget { kind: ObjectKind::Column, object: relation, column: attnum }
    }
}

/// What new objects of a kind get: those of `role`, in one schema or (0) in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DefaultKey {
    pub role: Oid,
    pub schema: Oid,
    pub kind: ObjectKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub role: Oid,
    pub member: Oid,
    pub grantor: Oid,
    pub admin: bool,
}

/// One piece of it, as a record and a checkpoint carry it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Access {
    /// `None`: the default list again.
    Acl {
        target: AclTarget,
        acl: Option<Acl>,
    },
    Member(Membership),
    NotMember {
        role: Oid,
        member: Oid,
    },
    /// OID of the row in pg_default_acl.
    Default {
        key: DefaultKey,
        oid: Oid,
        acl: Option<Acl>,
    },
    /// ALTER ROLE … IN DATABASE … SET: of all databases or roles where the OID is 0.
    Settings {
        database: Oid,
        role: Oid,
        settings: Vec<(String, String)>,
    },
}

/// Names of settings and their values.
type SettingList = Arc<Vec<(String, String)>>;

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct AccessMap {
    acls: BTreeMap<AclTarget, Arc<Acl>>,
    members: BTreeMap<(Oid, Oid), Membership>,
    defaults: BTreeMap<DefaultKey, (Oid, Arc<Acl>)>,
    settings: BTreeMap<(Oid, Oid), SettingList>,
}

impl AccessMap {
    pub(super) fn apply(&mut self, change: Access) {
        match change {
            Access::Acl { target, acl: Some(acl) } => {
                self.acls.insert(target, Arc::new(acl));
            }
            Access::Acl { target, acl: None } => {
                self.acls.remove(&target);
            }
            Access::Member(membership) => {
                self.members.insert((membership.role, membership.member), membership);
            }
            Access::NotMember { role, member } => {
                self.members.remove(&(role, member));
            }
            Access::Default { key, oid, acl: Some(acl) } => {
                self.defaults.insert(key, (oid, Arc::new(acl)));
            }
            Access::Default { key, acl: None, .. } => {
                self.defaults.remove(&key);
            }
            Access::Settings { database, role, settings } if settings.is_empty() => {
                self.settings.remove(&(database, role));
            }
            Access::Settings { database, role, settings } => {
                self.settings.insert((database, role), Arc::new(settings));
            }
        }
    }

    /// All that hangs on an object that goes.
    pub(super) fn forget(&mut self, oid: Oid) {
        self.acls.retain(|target, _| target.object != oid);
        self.members.retain(|(role, member), _| *role != oid && *member != oid);
        self.defaults.retain(|key, _| key.role != oid && key.schema != oid);
        self.settings.retain(|(database, role), _| *database != oid && *role != oid);
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = Access> {
        let acls = self.acls.iter().map(|(target, acl)| Access::Acl { target: *target, acl: Some((**acl).clone()) });
        let members = self.members.values().map(|m| Access::Member(*m));
        let defaults = self.defaults.iter().map(|(key, (oid, acl))| Access::Default {
            key: *key,
            oid: *oid,
            acl: Some((**acl).clone()),
        });
        let settings = self.settings.iter().map(|((database, role), settings)| Access::Settings {
            database: *database,
            role: *role,
            settings: (**settings).clone(),
        });
        acls.chain(members).chain(defaults).chain(settings)
    }

    /// The object's own list.
    pub fn own_acl(&self, target: AclTarget) -> Option<&Arc<Acl>> {
        self.acls.get(&target)
    }

    pub fn acls(&self) -> impl Iterator<Item = (&AclTarget, &Arc<Acl>)> {
        self.acls.iter()
    }

    /// Columns of a relation that have a list, each with it.
    pub fn column_acls(&self, relation: Oid) -> impl Iterator<Item = (i16, &Arc<Acl>)> {
        let from = AclTarget::column(relation, i16::MIN);
        let to = AclTarget::column(relation, i16::MAX);
        self.acls.range(from..=to).map(|(target, acl)| (target.column, acl))
    }

    pub fn memberships(&self) -> impl Iterator<Item = &Membership> {
        self.members.values()
    }

    pub fn membership(&self, role: Oid, member: Oid) -> Option<&Membership> {
        self.members.get(&(role, member))
    }

    pub fn defaults(&self) -> impl Iterator<Item = (&DefaultKey, Oid, &Arc<Acl>)> {
        self.defaults.iter().map(|(key, (oid, acl))| (key, *oid, acl))
    }

    pub fn default_of(&self, key: DefaultKey) -> Option<(Oid, &Arc<Acl>)> {
        self.defaults.get(&key).map(|(oid, acl)| (*oid, acl))
    }

    pub fn settings(&self) -> impl Iterator<Item = (Oid, Oid, &Arc<Vec<(String, String)>>)> {
        self.settings.iter().map(|((database, role), settings)| (*database, *role, settings))
    }

    pub fn settings_of(&self, database: Oid, role: Oid) -> &[(String, String)] {
        self.settings.get(&(database, role)).map_or(&[], |settings| settings)
    }
}

impl Catalog {
    pub fn is_superuser(&self, role: Oid) -> bool {
        self.roles.get(&role).is_some_and(|r| r.superuser)
    }

    /// The role and all that it is a member of, directly or not; `inherited`: only through roles that inherit.
    fn roles_of(&self, role: Oid, inherited: bool) -> Vec<Oid> {
        let mut found = vec![role];
        let mut next = 0;
        while let Some(member) = found.get(next).copied() {
            next += 1;
            if inherited && !self.roles.get(&member).is_some_and(|r| r.inherit) {
                continue;
            }
            for membership in self.access.members.values().filter(|m| m.member == member) {
                if !found.contains(&membership.role) {
                    found.push(membership.role);
                }
            }
            if member == self.database.owner && !found.contains(&DATABASE_OWNER) {
                found.push(DATABASE_OWNER);
            }
        }
        found
    }

    /// Whether `role` may become `of` (SET ROLE).
    pub fn is_member(&self, role: Oid, of: Oid) -> bool {
        role == of || self.is_superuser(role) || self.roles_of(role, false).contains(&of)
    }

    /// As [`Self::is_member`], but superusers are not members of everything.
    pub fn is_real_member(&self, role: Oid, of: Oid) -> bool {
        role == of || self.roles_of(role, false).contains(&of)
    }

    /// Whether `role` has the privileges of `of` without SET ROLE.
    pub fn has_privileges_of(&self, role: Oid, of: Oid) -> bool {
        role == of || self.is_superuser(role) || self.roles_of(role, true).contains(&of)
    }

    /// Whether `role` may grant membership of `of`.
    pub fn is_admin_of(&self, role: Oid, of: Oid) -> bool {
        if self.is_superuser(role) {
            return true;
        }
        let through = self.roles_of(role, false);
        self.access.members.values().any(|m| m.role == of && m.admin && through.contains(&m.member))
    }

    /// The list in force for an object.
    pub fn acl(&self, target: AclTarget, kind: ObjectKind, owner: Oid) -> Acl {
        match self.access.own_acl(target) {
            Some(acl) => (**acl).clone(),
            None => default_acl(kind, owner),
        }
    }

    /// What a role may do with an object, and what it may grant on.
    pub fn rights(&self, role: Oid, target: AclTarget, kind: ObjectKind, owner: Oid) -> (Rights, Rights) {
        if self.is_superuser(role) {
            return (kind.all(), kind.all());
        }
        let acl = self.acl(target, kind, owner);
        self.rights_in(role, &acl, kind, owner)
    }

    /// [`Self::rights`] by a list, for a role that is no superuser.
    pub fn rights_in(&self, role: Oid, acl: &[AclItem], kind: ObjectKind, owner: Oid) -> (Rights, Rights) {
        let roles = if role == PUBLIC { Vec::new() } else { self.roles_of(role, true) };
        let mut rights = Rights::NONE;
        let mut grantable = if roles.contains(&owner) { kind.all() } else { Rights::NONE };
        for item in acl.iter().filter(|i| i.grantee == PUBLIC || roles.contains(&i.grantee)) {
            rights = rights.with(item.rights);
            grantable = grantable.with(item.grantable);
        }
        (rights, grantable)
    }

    /// What a role may do with a whole relation.
    pub fn relation_rights(&self, role: Oid, relation: &Relation) -> Rights {
        if self.is_superuser(role) {
            return Rights(u16::MAX);
        }
        let (kind, owner) = relation_kind(relation);
        if let Relation::System(system) = relation {
            return match self.rights_in(role, &system_acl(system.name, system.schema), kind, owner).0 {
                rights if system.name == "pg_settings" => rights.with(Rights::UPDATE),
                rights => rights.both(Rights::SELECT.with(Rights::REFERENCES).with(Rights::TRIGGER)),
            };
        }
        let target = AclTarget::new(kind, relation.oid());
        let mut rights = self.rights(role, target, kind, owner).0;
        let reads = Rights::SELECT;
        if !rights.has(reads) && self.has_privileges_of(role, READ_ALL_DATA) {
            rights = rights.with(reads);
        }
        let writes = Rights::INSERT.with(Rights::UPDATE).with(Rights::DELETE);
        if !rights.has(writes) && self.has_privileges_of(role, WRITE_ALL_DATA) {
            rights = rights.with(writes);
        }
        rights
    }

    /// What the lists of one column add.
    pub fn column_rights(&self, role: Oid, relation: &Relation, attnum: i16) -> Rights {
        let acl = match relation {
            Relation::System(system) if system.name == "pg_subscription" && attnum != 0 => {
                let open = system.column_name(attnum).is_some_and(|c| c != "subconninfo");
                return if open { Rights::SELECT } else { Rights::NONE };
            }
            _ => self.access.own_acl(AclTarget::column(relation.oid(), attnum)),
        };
        let (_, owner) = relation_kind(relation);
        acl.map_or(Rights::NONE, |acl| self.rights_in(role, acl, ObjectKind::Column, owner).0)
    }

    pub fn schema_rights(&self, role: Oid, schema: Oid) -> Rights {
        let Some(def) = self.schemas.get(&schema) else { return Rights::NONE };
        if schema.is_temporary() {
            // Nobody but its session sees it.
            return ObjectKind::Schema.all();
        }
        if self.is_superuser(role) || def.owner == role && self.access.own_acl(schema_target(schema)).is_none() {
            return ObjectKind::Schema.all();
        }
        let mut rights = self.rights(role, schema_target(schema), ObjectKind::Schema, def.owner).0;
        if !rights.has(Rights::USAGE)
            && (self.has_privileges_of(role, READ_ALL_DATA) || self.has_privileges_of(role, WRITE_ALL_DATA))
        {
            rights = rights.with(Rights::USAGE);
        }
        rights
    }

    pub fn database_rights(&self, role: Oid) -> Rights {
        let database = &self.database;
        self.rights(role, AclTarget::new(ObjectKind::Database, database.oid), ObjectKind::Database, database.owner).0
    }

    /// 42501 unless the role has the privileges of the owner.
    pub fn check_owner(&self, role: Oid, owner: Oid, kind: &str, name: &str) -> Result<()> {
        if role == owner || self.has_privileges_of(role, owner) {
            return Ok(());
        }
        Err(Error::new(SqlState::InsufficientPrivilege, format!("must be owner of {kind} {name}")))
    }

    /// The list that a new object starts with: `None` where ALTER DEFAULT PRIVILEGES did not change anything.
    pub fn initial_acl(&self, kind: ObjectKind, owner: Oid, schema: Oid) -> Option<Acl> {
        let key = |schema| DefaultKey { role: owner, schema, kind };
        let general = self.access.default_of(key(Oid(0))).map(|d| (**d.1).clone());
        let local = self.access.default_of(key(schema)).filter(|_| schema.0 != 0).map(|d| (**d.1).clone());
        if general.is_none() && local.is_none() {
            return None;
        }
        let usual = default_acl(kind, owner);
        let mut acl = general.unwrap_or_else(|| usual.clone());
        for item in local.into_iter().flatten() {
            match acl.iter_mut().find(|i| i.grantee == item.grantee && i.grantor == item.grantor) {
                Some(same) => {
                    same.rights = same.rights.with(item.rights);
                    same.grantable = same.grantable.with(item.grantable);
                }
                None => acl.push(item),
            }
        }
        acl.sort_unstable_by_key(item_order);
        (!same_items(&acl, &usual)).then_some(acl)
    }

    /// What still names a role, as DROP ROLE lists it, each with the OID of the object: owned objects are not part of it.
    pub fn granted_to(&self, role: Oid) -> Vec<(Oid, String)> {
        let mut lines: Vec<(Oid, String)> = Vec::new();
        for (target, acl) in self.access.acls() {
            // What an owner has on its own is told by that.
            if acl.iter().any(|i| i.grantee == role && i.grantor != role)
                && let Some(shown) = self.describe_target(target)
            {
                let line = (target.object, format!("privileges for {shown}"));
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        for policy in self.policies.values().filter(|p| p.roles.contains(&role)) {
            if let Some(table) = self.relation(policy.table) {
                let line = format!("target of policy {} on {}", policy.name, self.describe_relation(&table));
                lines.push((policy.oid, line));
            }
        }
        for (key, oid, acl) in self.access.defaults() {
            let name = self.roles.get(&key.role).map_or("", |r| &r.name);
            let place = match key.schema {
                Oid(0) => String::new(),
                schema => format!(" in schema {}", self.schema_name(schema)),
            };
            let what = format!("default privileges on new {} belonging to role {name}{place}", plural(key.kind));
            if key.role == role {
                lines.push((oid, format!("owner of {what}")));
            } else if acl.iter().any(|i| i.grantee == role || i.grantor == role) {
                lines.push((oid, format!("privileges for {what}")));
            }
        }
        lines
    }

    /// `table s.t`, the schema left out where it is public.
    fn describe_relation(&self, relation: &Relation) -> String {
        format!("{} {}{}", relation.kind_name(), self.shown_schema(relation.schema()), relation.name())
    }

    fn shown_schema(&self, schema: Oid) -> String {
        match schema {
            Oid::PUBLIC | Oid::PG_CATALOG => String::new(),
            schema => format!("{}.", self.schema_name(schema)),
        }
    }

    fn describe_target(&self, target: &AclTarget) -> Option<String> {
        match target.kind {
            ObjectKind::Relation => {
                let relation = self.relation(target.object)?;
                Some(self.describe_relation(&relation))
            }
            ObjectKind::Column => {
                let relation = self.relation(target.object)?;
                let column = match &relation {
                    Relation::Table(t) => t.attribute(target.column)?.name.clone(),
                    Relation::View(v) => v.columns.get(usize::try_from(target.column).ok()?.checked_sub(1)?)?.0.clone(),
                    _ => return None,
                };
                Some(format!("column {column} of {}", self.describe_relation(&relation)))
            }
            ObjectKind::Schema => Some(format!("schema {}", self.schemas.get(&target.object)?.name)),
            ObjectKind::Database => Some(format!("database {}", self.databases.get(&target.object)?.name)),
            ObjectKind::Function if let Some(routine) = self.routines.get(&target.object) => {
                let name = format!("{}{}", self.shown_schema(routine.schema), routine.signature());
                Some(format!("{} {name}", routine.kind_name()))
            }
            ObjectKind::Type if let Some(def) = self.types.get(&target.object) => {
                Some(format!("type {}{}", self.shown_schema(def.schema), def.name))
            }
            kind => Some(format!("{} {}", kind.word(), target.object.0)),
        }
    }
}

/// The kinds of default privileges, as messages name them.
pub fn plural(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Relation => "relations",
        ObjectKind::Sequence => "sequences",
        ObjectKind::Function => "functions",
        ObjectKind::Type => "types",
        _ => "schemas",
    }
}

/// The order of default privileges, and of the lists that come of them.
pub fn item_order(item: &AclItem) -> (Oid, Oid) {
    (item.grantee, item.grantor)
}

pub fn same_items(a: &[AclItem], b: &[AclItem]) -> bool {
    a.len() == b.len() && a.iter().all(|item| b.contains(item))
}

pub fn schema_target(schema: Oid) -> AclTarget {
    AclTarget::new(ObjectKind::Schema, schema)
}

/// The kind of a relation's list, and its owner.
pub fn relation_kind(relation: &Relation) -> (ObjectKind, Oid) {
    match relation {
        Relation::Table(t) | Relation::Index(t, _) => (ObjectKind::Relation, t.owner),
        Relation::View(v) => (ObjectKind::Relation, v.owner),
        Relation::Sequence(s) => (ObjectKind::Sequence, s.owner),
        Relation::System(_) => (ObjectKind::Relation, Oid::SUPERUSER),
    }
}

/// What PostgreSQL's initdb leaves on a system relation: everybody reads, but for what holds passwords and files.
pub fn system_acl(name: &str, schema: Oid) -> Acl {
    let mut acl = default_acl(ObjectKind::Relation, Oid::SUPERUSER);
    let mut item = |grantee, rights| {
        acl.push(AclItem { grantee, grantor: Oid::SUPERUSER, rights, grantable: Rights::NONE });
    };
    match name {
        "pg_authid"
        | "pg_config"
        | "pg_file_settings"
        | "pg_hba_file_rules"
        | "pg_ident_file_mappings"
        | "pg_largeobject"
        | "pg_replication_origin_status"
        | "pg_shadow"
        | "pg_statistic"
        | "pg_statistic_ext_data"
        | "pg_subscription"
        | "pg_user_mapping" => {}
        "pg_shmem_allocations" | "pg_backend_memory_contexts" => item(READ_ALL_STATS, Rights::SELECT),
        "pg_settings" => item(PUBLIC, Rights::SELECT.with(Rights::UPDATE)),
        // Helpers of information_schema that were never granted.
        name if schema == Oid::INFORMATION_SCHEMA
            && (name.starts_with("_pg_") || matches!(name, "sql_parts" | "transforms")) => {}
        _ => item(PUBLIC, Rights::SELECT),
    }
    acl
}

/// Whether everybody reads a system relation.
pub fn is_open(name: &str, schema: Oid) -> bool {
    system_acl(name, schema).iter().any(|item| item.grantee == PUBLIC)
}

/// Whether [`system_acl`] is what pg_class shows, or NULL.
pub fn has_system_acl(name: &str, schema: Oid) -> bool {
    schema != Oid::INFORMATION_SCHEMA || !(name.starts_with("_pg_") || matches!(name, "sql_parts" | "transforms"))
}
