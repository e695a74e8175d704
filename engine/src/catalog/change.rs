//! How a catalog comes to be and changes: bootstrap, [`Catalog::apply`], OIDs, and the list of objects for checkpoints.
//!
//! Invariant: whatever `objects()` lists, `from_objects()` rebuilds, derived maps included.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::access::{self, Access, AccessMap, AclTarget, Membership};
use super::acl::{AclItem, ObjectKind, PUBLIC, Rights, default_acl};
use super::{Catalog, CatalogChange, DatabaseDef, Object, Oid, Placement, RoleDef, SchemaDef, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::types::TypeOid;
use crate::types::text::{self, FormatSettings};

impl Catalog {
    /// The catalog of a new cluster: `pg_catalog`, `information_schema` and `public`, one database beside the templates, one
    /// superuser beside the predefined roles.
    pub fn bootstrap(database: &str, superuser: &str) -> Catalog {
        let mut catalog = Catalog::empty();
        let mut first = DatabaseDef::new(Oid::DATABASE, database, Oid::SUPERUSER);
        first.comment = Some("default administrative connection database".into());
        catalog.put(Object::Database(Arc::new(first)));
        catalog.put(Object::Role(Arc::new(RoleDef {
            superuser: true,
            login: true,
            create_database: true,
            create_role: true,
            replication: true,
            bypass_row_security: true,
            ..RoleDef::new(Oid::SUPERUSER, superuser)
        })));
        for (oid, name) in access::PREDEFINED_ROLES {
            catalog.put(Object::Role(Arc::new(RoleDef::new(Oid(oid), name))));
        }
        for role in [access::READ_ALL_SETTINGS, access::READ_ALL_STATS, access::STAT_SCAN_TABLES] {
            let membership = Membership { role, member: access::MONITOR, grantor: Oid::SUPERUSER, admin: false };
            catalog.put(Object::Access(Access::Member(membership)));
        }
        Catalog::first_objects().into_iter().for_each(|object| catalog.put(object));
        for (oid, name, comment) in [
            (Oid::TEMPLATE1, "template1", "default template for new databases"),
            (Oid::TEMPLATE0, "template0", "unmodifiable empty database"),
        ] {
            let mut template = DatabaseDef::new(oid, name, Oid::SUPERUSER);
            template.is_template = true;
            template.allows_connections = oid == Oid::TEMPLATE1;
            template.comment = Some(comment.to_owned());
            catalog.put(Object::Database(Arc::new(template)));
            for object in Catalog::first_objects() {
                catalog.put(Object::In(oid, Box::new(object)));
            }
            // Only the owner may use a template otherwise than by connecting to it.
            let owner = Oid::SUPERUSER;
            let item = |grantee, rights| AclItem { grantee, grantor: owner, rights, grantable: Rights::NONE };
            let acl = vec![item(PUBLIC, Rights::CONNECT), item(owner, ObjectKind::Database.all())];
            let target = AclTarget::new(ObjectKind::Database, oid);
            catalog.put(Object::Access(Access::Acl { target, acl: Some(acl) }));
        }
        catalog.version = 1;
        catalog
    }

    pub(super) fn first_schemas() -> Vec<Object> {
        let schema = |oid, name: &str, owner, comment: Option<&str>| {
            let comment = comment.map(str::to_owned);
            Object::Schema(Arc::new(SchemaDef { oid, name: name.into(), owner, comment }))
        };
        vec![
            schema(Oid::PG_CATALOG, "pg_catalog", Oid::SUPERUSER, Some("system catalog schema")),
            schema(Oid::INFORMATION_SCHEMA, "information_schema", Oid::SUPERUSER, None),
            schema(Oid::PUBLIC, "public", access::DATABASE_OWNER, Some("standard public schema")),
        ]
    }

    /// What the first schemas are open for.
    pub(super) fn first_privileges() -> Vec<Object> {
        let open = |(schema, owner)| {
            let mut acl = default_acl(ObjectKind::Schema, owner);
            acl.push(AclItem { grantee: PUBLIC, grantor: owner, rights: Rights::USAGE, grantable: Rights::NONE });
            let target = AclTarget::new(ObjectKind::Schema, schema);
            Object::Access(Access::Acl { target, acl: Some(acl) })
        };
        let schemas = [
            (Oid::PG_CATALOG, Oid::SUPERUSER),
            (Oid::INFORMATION_SCHEMA, Oid::SUPERUSER),
            (Oid::PUBLIC, access::DATABASE_OWNER),
        ];
        schemas.into_iter().map(open).collect()
    }

    pub(super) fn empty() -> Catalog {
        Catalog {
            database: Arc::new(DatabaseDef::new(Oid::DATABASE, "", Oid::SUPERUSER)),
            databases: BTreeMap::new(),
            others: BTreeMap::new(),
            schemas: BTreeMap::new(),
            roles: BTreeMap::new(),
            tables: BTreeMap::new(),
            views: BTreeMap::new(),
            sequences: BTreeMap::new(),
            routines: BTreeMap::new(),
            strategies: BTreeMap::new(),
            types: BTreeMap::new(),
            extensions: BTreeMap::new(),
            collations: BTreeMap::new(),
            policies: BTreeMap::new(),
            statistics: BTreeMap::new(),
            row_security: BTreeMap::new(),
            placements: BTreeMap::new(),
            temporary: None,
            access: AccessMap::default(),
            next_oid: Oid::FIRST_NORMAL,
            version: 0,
            relations: HashMap::new(),
            type_names: HashMap::new(),
            schema_names: HashMap::new(),
            role_names: HashMap::new(),
            index_tables: BTreeMap::new(),
            referencing: HashMap::new(),
            children: HashMap::new(),
        }
    }

    /// Every object, in an order in which [`Catalog::from_objects`] may read them.
    pub fn objects(&self) -> Vec<Object> {
        let mut objects = self.own_objects();
        objects.extend(self.objects_of_others());
        objects
    }

    /// Without what the other databases have.
    pub(super) fn own_objects(&self) -> Vec<Object> {
        let others = self.databases.values().filter(|database| database.oid != self.database.oid);
        std::iter::once(Object::Database(self.database.clone()))
            .chain(others.cloned().map(Object::Database))
            .chain(self.roles.values().cloned().map(Object::Role))
            .chain(self.schemas.values().cloned().map(Object::Schema))
            .chain(self.extensions.values().cloned().map(Object::Extension))
            .chain(self.collations.values().cloned().map(Object::Collation))
            .chain(self.types.values().cloned().map(Object::Type))
            .chain(self.tables.values().cloned().map(Object::Table))
            .chain(self.tables.values().flat_map(|t| t.behind()))
            .chain(self.views.values().cloned().map(Object::View))
            .chain(self.sequences.values().cloned().map(Object::Sequence))
            .chain(self.routines.values().cloned().map(Object::Routine))
            .chain(self.strategies.values().cloned().map(Object::Strategy))
            .chain(
                self.placements
                    .iter()
                    .map(|(table, strategy)| Object::Placement(Placement { table: *table, strategy: Some(*strategy) })),
            )
            .chain(self.access.pieces().map(Object::Access))
            .chain(self.row_security.values().copied().map(Object::RowSecurity))
            .chain(self.policies.values().cloned().map(Object::RowPolicy))
            .chain(self.statistics.values().cloned().map(Object::Statistics))
            .collect()
    }

    /// The catalog of a checkpoint.
    pub fn from_objects(objects: impl IntoIterator<Item = Object>, next_oid: Oid, version: u64) -> Catalog {
        let mut catalog = Catalog::empty();
        for object in objects {
            catalog.put(object);
        }
        // What an index computes may call what comes later.
        catalog.compute_all();
        catalog.others.values_mut().for_each(|other| Arc::make_mut(other).compute_all());
        catalog.next_oid = catalog.next_oid.max(next_oid);
        catalog.apply_to_others(&CatalogChange::NextOid(catalog.next_oid));
        catalog.version = version;
        catalog
    }

    fn compute_all(&mut self) {
        let computed: Vec<_> = self.tables.values().map(|t| self.with_computed(t.clone())).collect();
        self.tables.extend(computed.into_iter().map(|t| (t.oid, t)));
    }

    /// Applies one step of DDL: on the private copy of the transaction that runs it, and on every node when it commits.
    pub fn apply(&mut self, change: &CatalogChange) {
        self.apply_to_others(change);
        match change {
            CatalogChange::Put(object) => {
                self.put(object.clone());
                if let Some(table) = self.tables.get(&object.oid()).filter(|t| t.indexes.iter().any(|i| !i.is_plain()))
                {
                    let table = self.with_computed(table.clone());
                    self.tables.insert(table.oid, table);
                }
            }
            CatalogChange::Drop(oid) => self.remove(*oid),
            CatalogChange::NextOid(oid) => self.next_oid = self.next_oid.max(*oid),
            CatalogChange::In(database, change) => self.apply_in(*database, change),
        }
        self.version += 1;
    }

    /// A fresh OID. The transaction commits [`CatalogChange::NextOid`] with its DDL.
    pub fn allocate_oid(&mut self) -> Result<Oid> {
        let oid = self.next_oid;
        let next = oid
            .0
            .checked_add(1)
            .ok_or_else(|| Error::new(SqlState::ProgramLimitExceeded, "all object identifiers are used up"))?;
        self.next_oid = Oid(next);
        Ok(oid)
    }

    /// `pg_temp` means this schema from here on.
    pub(crate) fn set_temporary_schema(&mut self, schema: Oid) {
        self.temporary = Some(schema);
        self.schema_names.insert("pg_temp".to_owned(), schema);
    }

    /// Schema of the session's temporary relations, if it has any.
    pub fn temporary_schema(&self) -> Option<Oid> {
        self.temporary
    }

    pub(super) fn put(&mut self, object: Object) {
        let object = match object {
            Object::In(database, object) if database == self.database.oid => *object,
            Object::In(database, object) => return self.apply_in(database, &CatalogChange::Put(*object)),
            object => object,
        };
        self.put_into_others(&object);
        if let Object::Placement(placement) = object {
            // The table stays as it is.
            match placement.strategy {
                Some(strategy) => self.placements.insert(placement.table, strategy),
                None => self.placements.remove(&placement.table),
            };
            return;
        }
        if let Object::RowSecurity(security) = object {
            self.row_security.insert(security.table, security);
            return;
        }
        if let Object::Heritage(heritage) = object {
            return self.put_heritage(&heritage);
        }
        if let Object::Compression(compressed) = object {
            return self.put_compression(&compressed);
        }
        if let Object::Access(access) = object {
            if let Access::Default { oid, .. } = &access {
                self.next_oid = self.next_oid.max(Oid(oid.0.saturating_add(1)));
            }
            return self.access.apply(access);
        }
        let oid = object.oid();
        self.forget_names(oid);
        if !oid.is_temporary() && TypeOid(oid.0).user_kind().is_none() {
            self.next_oid = self.next_oid.max(Oid(oid.0.saturating_add(1)));
        }
        match object {
            Object::Database(database) => {
                self.databases.insert(oid, database.clone());
                if oid == self.database.oid {
                    self.database = database;
                } else if self.is_root() {
                    self.open_database(&database);
                }
            }
            Object::Role(role) => {
                self.role_names.insert(role.name.clone(), oid);
                self.roles.insert(oid, role);
            }
            Object::Schema(schema) => {
                self.schema_names.insert(schema.name.clone(), oid);
                self.schemas.insert(oid, schema);
            }
            Object::View(view) => {
                self.relations.insert((view.schema, view.name.clone()), oid);
                self.views.insert(oid, view);
            }
            Object::Routine(routine) => {
                self.routines.insert(oid, routine);
            }
            Object::Sequence(sequence) => {
                self.relations.insert((sequence.schema, sequence.name.clone()), oid);
                self.sequences.insert(oid, sequence);
            }
            Object::Strategy(strategy) => {
                self.strategies.insert(oid, strategy);
            }
            Object::Extension(extension) => {
                self.extensions.insert(oid, extension);
            }
            Object::Collation(collation) => {
                self.collations.insert(oid, collation);
            }
            Object::Type(def) => {
                self.type_names.insert((def.schema, def.name.clone()), oid);
                self.types.insert(oid, def);
            }
            Object::RowPolicy(policy) => {
                self.policies.insert(oid, policy);
            }
            Object::Statistics(statistics) => {
                self.statistics.insert(oid, statistics);
            }
            Object::Placement(_)
            | Object::Access(_)
            | Object::RowSecurity(_)
            | Object::In(..)
            | Object::Heritage(_)
            | Object::Compression(_) => {}
            Object::Table(table) => {
                let table = with_missing_values(table);
                self.relations.insert((table.schema, table.name.clone()), oid);
                for index in &table.indexes {
                    self.relations.insert((table.schema, index.name.clone()), index.oid);
                    self.index_tables.insert(index.oid, oid);
                }
                for foreign_key in table.foreign_keys() {
                    let tables = self.referencing.entry(foreign_key.1.references).or_default();
                    if !tables.contains(&oid) {
                        tables.push(oid);
                    }
                }
                self.note_parents(&table);
                self.tables.insert(oid, table);
            }
        }
    }

    fn remove(&mut self, oid: Oid) {
        self.forget_names(oid);
        self.roles.remove(&oid);
        self.schemas.remove(&oid);
        self.tables.remove(&oid);
        self.views.remove(&oid);
        self.sequences.remove(&oid);
        self.routines.remove(&oid);
        self.strategies.remove(&oid);
        self.types.remove(&oid);
        self.extensions.remove(&oid);
        self.collations.remove(&oid);
        self.placements.remove(&oid);
        self.row_security.remove(&oid);
        self.policies.retain(|own, policy| *own != oid && policy.table != oid);
        self.statistics.retain(|own, statistics| *own != oid && statistics.table != oid);
        self.databases.remove(&oid);
        self.others.remove(&oid);
        self.access.forget(oid);
    }

    /// Takes the object's entries out of the derived maps.
    fn forget_names(&mut self, oid: Oid) {
        if let Some(role) = self.roles.get(&oid) {
            self.role_names.remove(&role.name);
        }
        if let Some(schema) = self.schemas.get(&oid) {
            self.schema_names.remove(&schema.name);
        }
        if let Some(def) = self.types.get(&oid) {
            self.type_names.remove(&(def.schema, def.name.clone()));
        }
        if let Some(view) = self.views.get(&oid) {
            self.relations.remove(&(view.schema, view.name.clone()));
        }
        if let Some(sequence) = self.sequences.get(&oid) {
            self.relations.remove(&(sequence.schema, sequence.name.clone()));
        }
        let Some(table) = self.tables.get(&oid).cloned() else {
            return;
        };
        self.forget_parents(&table);
        self.relations.remove(&(table.schema, table.name.clone()));
        for index in &table.indexes {
            self.relations.remove(&(table.schema, index.name.clone()));
            self.index_tables.remove(&index.oid);
        }
        for (_, foreign_key) in table.foreign_keys() {
            if let Some(tables) = self.referencing.get_mut(&foreign_key.references) {
                tables.retain(|t| *t != oid);
            }
        }
        self.referencing.retain(|_, tables| !tables.is_empty());
    }
}

/// Restores [`super::ColumnDef::missing`] from its text form: values do not travel in records as such.
fn with_missing_values(table: Arc<TableDef>) -> Arc<TableDef> {
    let stale = |c: &super::ColumnDef| c.missing.is_none() && c.missing_text.is_some();
    if !table.columns.iter().any(stale) {
        return table;
    }
    let mut table = (*table).clone();
    for column in table.columns.iter_mut().filter(|c| stale(c)) {
        let text = column.missing_text.as_deref().unwrap_or_default();
        match text::parse(text, column.ty, &FormatSettings::default()) {
            Ok(value) => column.missing = Some(value),
            Err(error) => {
                tracing::error!(table = table.name, column = column.name, %error, "cannot read a column's missing value")
            }
        }
    }
    Arc::new(table)
}

impl TableDef {
    /// What records and checkpoints carry of a table behind it.
    pub fn behind(&self) -> impl Iterator<Item = Object> + use<> {
        let heritage = self.heritage().map(|h| Object::Heritage(Arc::new(h)));
        heritage.into_iter().chain(self.compressed_columns().map(|c| Object::Compression(Arc::new(c))))
    }
}

impl Object {
    /// The table that it completes, put before.
    pub fn completes(&self) -> Option<Oid> {
        matches!(self, Object::Heritage(_) | Object::Compression(_)).then(|| self.oid())
    }

    pub fn oid(&self) -> Oid {
        match self {
            Object::Database(o) => o.oid,
            Object::Schema(o) => o.oid,
            Object::Role(o) => o.oid,
            Object::Table(o) => o.oid,
            Object::View(o) => o.oid,
            Object::Sequence(o) => o.oid,
            Object::Routine(o) => o.oid,
            Object::Strategy(o) => o.oid,
            Object::Placement(o) => o.table,
            Object::Type(o) => o.oid,
            Object::Extension(o) => o.oid,
            Object::Collation(o) => o.oid,
            Object::Access(_) => Oid(0),
            Object::In(_, o) => o.oid(),
            Object::RowPolicy(o) => o.oid,
            Object::Statistics(o) => o.oid,
            Object::RowSecurity(o) => o.table,
            Object::Heritage(o) => o.table,
            Object::Compression(o) => o.table,
        }
    }
}

impl RoleDef {
    /// What `CREATE ROLE name` makes.
    pub fn new(oid: Oid, name: &str) -> RoleDef {
        RoleDef {
            oid,
            name: name.into(),
            superuser: false,
            login: false,
            create_database: false,
            create_role: false,
            inherit: true,
            replication: false,
            bypass_row_security: false,
            connection_limit: -1,
            password: None,
            valid_until: None,
            comment: None,
        }
    }
}
