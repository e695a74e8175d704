//! Several databases in one catalog: the root is the catalog of the first database and holds those of the others, each a
//! catalog of its own, below it. What a cluster has once (databases, roles, memberships, replication strategies) is in all.
//!
//! Invariants:
//! 1. A change names its database ([`CatalogChange::In`]) unless it is of the first one, or of what all share.
//! 2. OIDs are given out once for the whole cluster; only the schemas that every database begins with have the same in each.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::access::{Access, AclTarget};
use super::acl::ObjectKind;
use super::{Catalog, CatalogChange, DatabaseDef, Object, Oid, TableDef};
use crate::error::{Error, Result, SqlState};

impl Oid {
    /// The first database.
    pub const DATABASE: Oid = Oid(5);
    pub const TEMPLATE1: Oid = Oid(1);
    pub const TEMPLATE0: Oid = Oid(4);
}

impl DatabaseDef {
    pub fn new(oid: Oid, name: &str, owner: Oid) -> DatabaseDef {
        DatabaseDef {
            oid,
            name: name.to_owned(),
            owner,
            is_template: false,
            allows_connections: true,
            connection_limit: -1,
            comment: None,
        }
    }
}

impl Object {
    /// Whether the cluster has it once.
    pub fn is_shared(&self) -> bool {
        match self {
            Object::Database(_) | Object::Role(_) | Object::Strategy(_) => true,
            Object::Access(access) => match access {
                Access::Acl { target, .. } => is_shared_target(target),
                Access::Member(_) | Access::NotMember { .. } | Access::Settings { .. } => true,
                Access::Default { .. } => false,
            },
            _ => false,
        }
    }
}

fn is_shared_target(target: &AclTarget) -> bool {
    matches!(target.kind, ObjectKind::Database | ObjectKind::Tablespace | ObjectKind::Parameter)
}

impl CatalogChange {
    /// The change as the log carries it, made in a database.
    pub fn within(self, database: Oid, catalog: &Catalog) -> CatalogChange {
        let shared = match &self {
            CatalogChange::Put(object) => object.is_shared(),
            CatalogChange::Drop(oid) => catalog.is_shared(*oid),
            CatalogChange::NextOid(_) | CatalogChange::In(..) => true,
        };
        match shared || database == Oid::DATABASE {
            true => self,
            false => CatalogChange::In(database, Box::new(self)),
        }
    }

    /// The change itself, wherever it is made.
    pub fn inner(&self) -> &CatalogChange {
        match self {
            CatalogChange::In(_, change) => change.inner(),
            change => change,
        }
    }
}

impl Catalog {
    pub(super) fn is_root(&self) -> bool {
        self.database.oid == Oid::DATABASE
    }

    /// Whether an OID names something that all databases share.
    pub fn is_shared(&self, oid: Oid) -> bool {
        self.roles.contains_key(&oid) || self.databases.contains_key(&oid) || self.strategies.contains_key(&oid)
    }

    /// The catalog of a database, seen from the root; `None`: there is no such database.
    pub fn of_database(self: &Arc<Self>, database: Oid) -> Option<Arc<Catalog>> {
        match database == self.database.oid {
            true => Some(self.clone()),
            false => self.others.get(&database).cloned(),
        }
    }

    /// [`Self::of_database`], or what a session sees whose database was dropped: nothing.
    pub fn view(self: &Arc<Self>, database: Oid) -> Arc<Catalog> {
        self.of_database(database).unwrap_or_else(|| {
            let mut empty = Catalog::empty();
            empty.database = Arc::new(DatabaseDef::new(database, "", Oid::SUPERUSER));
            empty.share(self);
            Arc::new(empty)
        })
    }

    /// Whether any database has the table.
    pub fn any_table(&self, oid: Oid) -> Option<&Arc<TableDef>> {
        self.tables.get(&oid).or_else(|| self.others.values().find_map(|other| other.tables.get(&oid)))
    }

    /// Whether any database has the sequence.
    pub fn any_sequence(&self, oid: Oid) -> bool {
        self.sequences.contains_key(&oid) || self.others.values().any(|other| other.sequences.contains_key(&oid))
    }

    /// The tables of all databases.
    pub fn all_tables(&self) -> impl Iterator<Item = &Arc<TableDef>> {
        self.tables.values().chain(self.others.values().flat_map(|other| other.tables.values()))
    }

    /// Takes over what all databases share.
    fn share(&mut self, root: &Catalog) {
        for object in root.own_objects().into_iter().filter(Object::is_shared) {
            self.put(object);
        }
        self.next_oid = root.next_oid;
    }

    /// Makes room for a database, without anything in it.
    pub(super) fn open_database(&mut self, database: &Arc<DatabaseDef>) {
        match self.others.get_mut(&database.oid) {
            Some(other) => Arc::make_mut(other).database = database.clone(),
            None => {
                let mut other = Catalog::empty();
                other.database = database.clone();
                other.share(self);
                self.others.insert(database.oid, Arc::new(other));
            }
        }
    }

    /// Applies a change to the catalogs of the other databases, as far as it is theirs.
    pub(super) fn apply_to_others(&mut self, change: &CatalogChange) {
        let shared = match change {
            CatalogChange::Drop(oid) => self.is_shared(*oid),
            CatalogChange::NextOid(_) => true,
            CatalogChange::Put(_) | CatalogChange::In(..) => false,
        };
        if shared {
            self.others.values_mut().for_each(|other| Arc::make_mut(other).apply(change));
        }
    }

    /// Puts what all databases share into the catalogs of the others.
    pub(super) fn put_into_others(&mut self, object: &Object) {
        if !self.others.is_empty() && object.is_shared() {
            for other in self.others.values_mut() {
                let other = Arc::make_mut(other);
                other.put(object.clone());
                other.version += 1;
            }
        }
    }

    /// Applies a change that names its database.
    pub(super) fn apply_in(&mut self, database: Oid, change: &CatalogChange) {
        if database == self.database.oid {
            self.apply(change);
        } else if let Some(other) = self.others.get_mut(&database) {
            Arc::make_mut(other).apply(change);
        }
    }

    /// What the other databases have, for a checkpoint.
    pub(super) fn objects_of_others(&self) -> impl Iterator<Item = Object> {
        self.others.iter().flat_map(|(database, other)| {
            let own = other.own_objects().into_iter().filter(|object| !object.is_shared());
            own.map(move |object| Object::In(*database, Box::new(object)))
        })
    }

    /// OID of a database (3D000).
    pub fn find_database(&self, name: &str) -> Result<Oid> {
        let found = self.databases.values().find(|database| database.name == name);
        found
            .map(|database| database.oid)
            .ok_or_else(|| Error::new(SqlState::InvalidCatalogName, format!("database \"{name}\" does not exist")))
    }

    /// A database by OID (3D000).
    pub fn database_of(&self, oid: Oid) -> Result<&Arc<DatabaseDef>> {
        self.databases.get(&oid).ok_or_else(|| {
            Error::new(SqlState::InvalidCatalogName, format!("database with OID {} does not exist", oid.0))
        })
    }

    /// What a copy of the database has to have.
    pub fn objects_to_copy(&self) -> Vec<Object> {
        self.own_objects().into_iter().filter(|object| !object.is_shared()).collect()
    }

    /// What a new database begins with, in this order.
    pub fn first_objects() -> Vec<Object> {
        Catalog::first_schemas().into_iter().chain(Catalog::first_privileges()).collect()
    }
}

/// The other databases of a root.
pub type Others = BTreeMap<Oid, Arc<Catalog>>;
