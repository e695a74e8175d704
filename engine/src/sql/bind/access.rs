//! What a statement does with which columns of which relations, and as whom: collected while it is bound, judged once when
//! it is planned. A superuser, and the owner of a relation without a list of privileges, leave no trace.
//!
//! Invariants:
//! 1. A relation counts once for each place where it is named, with the columns that were named through that place.
//! 2. What a view reads, it reads as its owner (PostgreSQL manual, 41.5); a view with `security_invoker` as the user of the
//!    statement, whatever view encloses it.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Binder;
use crate::catalog::access::{AclTarget, relation_kind};
use crate::catalog::acl::{ObjectKind, Rights};
use crate::catalog::{Catalog, Oid, Relation, RoutineDef, ViewDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::ColumnId;
use crate::functions::{Function, Kind};
use crate::sql::scope::ScopeColumn;

/// One place of a statement.
#[derive(Debug, Clone)]
struct Use {
    relation: Relation,
    user: Oid,
    required: Rights,
    selected: BTreeSet<i16>,
    inserted: BTreeSet<i16>,
    updated: BTreeSet<i16>,
}

#[derive(Debug)]
pub(super) struct Uses {
    pub user: Oid,
    list: Vec<Use>,
    /// For each call of a routine that the user may not call.
    denied_calls: Vec<Error>,
    columns: HashMap<ColumnId, Vec<(usize, i16)>>,
    /// The relation that the statement changes.
    target: Option<usize>,
    /// The views through which it does, the innermost first.
    through: Vec<Through>,
    /// The table under them.
    beneath: Option<usize>,
    /// Columns of the outermost of them: to read one reads all that the views name.
    shown: HashSet<ColumnId>,
}

/// A view through which the target is changed.
#[derive(Debug)]
struct Through {
    at: Option<usize>,
    /// For each of its columns the one of the table, 0 for an expression.
    columns: Vec<i16>,
}

impl Uses {
    pub fn of(user: Oid) -> Uses {
        Uses {
            user,
            list: Vec::new(),
            denied_calls: Vec::new(),
            columns: HashMap::new(),
            target: None,
            through: Vec::new(),
            beneath: None,
            shown: HashSet::new(),
        }
    }
}

/// The columns of relations that a text names; whole rows name all of theirs.
#[derive(Debug, Default)]
pub(super) struct Named {
    of: HashMap<ColumnId, (Oid, i16)>,
    columns: BTreeSet<(Oid, i16)>,
}

impl Binder {
    /// From here on, columns that are named are noted; not those that views and functions in the text name.
    pub fn note_named(&mut self) {
        self.named = Some(Named::default());
    }

    /// The columns of tables and views that were named since, by relation and attribute number.
    pub fn take_named(&mut self) -> Vec<(Oid, i16)> {
        self.named.take().map_or_else(Vec::new, |named| named.columns.into_iter().collect())
    }

    fn is_trusted(&self, relation: &Relation) -> bool {
        let (user, catalog) = (self.uses_of.user, &self.environment.catalog);
        let (kind, owner) = relation_kind(relation);
        if let Relation::System(system) = relation
            && crate::catalog::access::is_open(system.name, system.schema)
        {
            return true;
        }
        user == owner && catalog.access.own_acl(AclTarget::new(kind, relation.oid())).is_none()
            || catalog.is_superuser(user)
    }

    /// FROM names a relation; `columns` is how.
    pub(super) fn note_relation(&mut self, relation: &Relation, columns: &[ScopeColumn], required: Rights) {
        if let (Some(named), Relation::Table(_) | Relation::View(_)) = (&mut self.named, relation) {
            named.of.extend(columns.iter().map(|c| (c.id, (relation.oid(), c.attribute))));
        }
        if self.is_trusted(relation) {
            return;
        }
        let at = self.push_use(relation, required);
        self.note_columns(at, columns);
    }

    fn push_use(&mut self, relation: &Relation, required: Rights) -> usize {
        self.uses_of.list.push(Use {
            relation: relation.clone(),
            user: self.uses_of.user,
            required,
            selected: BTreeSet::new(),
            inserted: BTreeSet::new(),
            updated: BTreeSet::new(),
        });
        self.uses_of.list.len() - 1
    }

    fn note_columns(&mut self, at: usize, columns: &[ScopeColumn]) {
        for column in columns {
            self.uses_of.columns.entry(column.id).or_default().push((at, column.attribute));
        }
    }

    /// The table that the statement changes: INSERT, UPDATE, DELETE; its columns are those of the scopes that follow.
    pub fn begin_target(&mut self, table: &std::sync::Arc<crate::catalog::TableDef>, required: Rights) -> Result<()> {
        self.end_target();
        self.uses_of.target = self.use_unless_trusted(&Relation::Table(table.clone()), required);
        self.begin_policed(table, self.uses_of.user)
    }

    fn use_unless_trusted(&mut self, relation: &Relation, required: Rights) -> Option<usize> {
        (!self.is_trusted(relation)).then(|| self.push_use(relation, required))
    }

    /// As whom a view reads.
    pub(super) fn user_of_view(&self, view: &ViewDef) -> Oid {
        if view.invoker { self.environment.search_path.user } else { view.owner }
    }

    /// What follows changes tables that inherit from the target: the target's privileges are enough.
    pub fn end_target(&mut self) {
        self.uses_of.target = None;
        self.uses_of.beneath = None;
        self.uses_of.through.clear();
        self.uses_of.shown.clear();
        self.policed = None;
    }

    /// 0A000 for a target under row security that is changed with its heirs.
    pub fn check_family(&self, only: bool) -> Result<()> {
        if only || !self.has_policed_target() { Ok(()) } else { Err(super::inherited::policed_family()) }
    }

    /// [`Self::begin_target`] of a table that is changed through views, the innermost first. What the statement does with the
    /// outermost view, each view does with what lies under it.
    pub fn begin_target_through<'v>(
        &mut self,
        table: &std::sync::Arc<crate::catalog::TableDef>,
        views: impl DoubleEndedIterator<Item = &'v std::sync::Arc<ViewDef>>,
        required: Rights,
    ) -> Result<()> {
        let user = self.uses_of.user;
        let mut through = Vec::new();
        for view in views.rev() {
            let at = self.use_unless_trusted(&Relation::View(view.clone()), required);
            through.push(Through { at, columns: Vec::new() });
            self.uses_of.user = self.user_of_view(view);
        }
        through.reverse();
        let begun = self.begin_target(table, required);
        if !through.is_empty() {
            // The columns that are named are the view's.
            self.uses_of.beneath = self.uses_of.target.take();
            self.uses_of.through = through;
        }
        self.uses_of.user = user;
        begun
    }

    /// A view through which the target is changed: the table's columns behind its own, and which columns of what lies under it
    /// its text names. `level` counts from the innermost.
    pub(super) fn note_view_level(&mut self, level: usize, columns: Vec<i16>, named: impl Iterator<Item = i16>) {
        let under = match level.checked_sub(1) {
            None => self.uses_of.beneath,
            Some(inner) => self.uses_of.through.get(inner).and_then(|t| t.at),
        };
        let Some(through) = self.uses_of.through.get_mut(level) else { return };
        through.columns = columns;
        if let Some(found) = under.and_then(|at| self.uses_of.list.get_mut(at)) {
            found.selected.extend(named);
        }
    }

    /// Columns of the view through which the target is changed.
    pub(super) fn note_view_columns(&mut self, columns: &[ScopeColumn]) {
        self.note_policed(columns);
        let Some(view) = self.uses_of.through.last().map(|t| t.at) else { return };
        self.uses_of.shown.extend(columns.iter().map(|c| c.id));
        let Some(at) = view else { return };
        for (i, column) in columns.iter().enumerate() {
            self.uses_of.columns.entry(column.id).or_default().push((at, i as i16 + 1));
        }
    }

    /// Columns of the view that stand for the row that was not inserted: they are read from the view alone.
    pub(super) fn hide_view_columns(&mut self, columns: &[ScopeColumn]) {
        for column in columns {
            self.uses_of.shown.remove(&column.id);
        }
    }

    /// The outermost view is read.
    fn read_under_view(&mut self) {
        let inner = self.uses_of.through.iter().rev().skip(1).filter_map(|t| t.at);
        for at in inner.chain(self.uses_of.beneath) {
            if let Some(found) = self.uses_of.list.get_mut(at) {
                found.required = found.required.with(Rights::SELECT);
            }
        }
    }

    /// A scope of the target's columns.
    pub(super) fn note_target_columns(&mut self, table: Oid, columns: &[ScopeColumn]) {
        if let Some(at) = self.uses_of.target
            && self.uses_of.list.get(at).is_some_and(|u| u.relation.oid() == table)
        {
            self.note_columns(at, columns);
        }
    }

    /// The target's columns that are written (attribute numbers), or read to find what a row conflicts with.
    pub fn require(&mut self, rights: Rights, columns: impl IntoIterator<Item = i16>) {
        if let Some(policed) = self.policed.as_mut().filter(|_| rights == Rights::SELECT) {
            policed.read = true;
        }
        let columns: Vec<i16> = columns.into_iter().collect();
        let uses = &mut self.uses_of;
        if rights == Rights::SELECT && !uses.through.is_empty() {
            if let Some(view) = uses.through.last()
                && let Some(found) = view.at.and_then(|at| uses.list.get_mut(at))
            {
                found.note(rights, view.own(&columns));
            }
            return self.read_under_view();
        }
        for view in &uses.through {
            if let Some(found) = view.at.and_then(|at| uses.list.get_mut(at)) {
                found.note(rights, view.own(&columns));
            }
        }
        if let Some(found) = uses.target.or(uses.beneath).and_then(|at| uses.list.get_mut(at)) {
            found.note(rights, columns.iter().copied());
        }
    }

    /// Columns of the rows that the statement changes.
    pub(super) fn note_policed(&mut self, columns: &[ScopeColumn]) {
        if let Some(policed) = &mut self.policed {
            policed.columns.extend(columns.iter().map(|c| c.id));
        }
    }

    /// A column was named.
    pub(super) fn note_column(&mut self, id: ColumnId) {
        if let Some(policed) = &mut self.policed {
            policed.read |= policed.columns.contains(&id);
        }
        if let Some(named) = &mut self.named {
            named.columns.extend(named.of.get(&id));
        }
        if self.uses_of.shown.contains(&id) {
            self.read_under_view();
        }
        if self.uses_of.columns.is_empty() {
            return;
        }
        for (at, attnum) in self.uses_of.columns.get(&id).into_iter().flatten() {
            if let Some(found) = self.uses_of.list.get_mut(*at) {
                found.required = found.required.with(Rights::SELECT);
                found.selected.insert(*attnum);
            }
        }
    }

    /// FOR UPDATE locks rows of the relation behind a column.
    pub(super) fn note_lock(&mut self, id: ColumnId) {
        for (at, _) in self.uses_of.columns.get(&id).into_iter().flatten() {
            if let Some(found) = self.uses_of.list.get_mut(*at) {
                found.required = found.required.with(Rights::UPDATE);
            }
        }
    }

    /// A routine is called: as the user of the statement, in a view too.
    pub(super) fn note_call(&mut self, routine: &RoutineDef) {
        self.note_execution(routine.oid, routine.owner, routine.kind_name(), &routine.name);
    }

    /// A function that is built in is called by name.
    pub(super) fn note_built_in(&mut self, function: &Function) {
        let kind = if function.kind == Kind::Aggregate { "aggregate" } else { "function" };
        self.note_execution(Oid(function.oid), Oid::SUPERUSER, kind, function.name);
    }

    fn note_execution(&mut self, oid: Oid, owner: Oid, word: &str, name: &str) {
        let (user, catalog) = (self.environment.search_path.user, &self.environment.catalog);
        let (kind, target) = (ObjectKind::Function, AclTarget::new(ObjectKind::Function, oid));
        // By the default list everybody may.
        if catalog.access.own_acl(target).is_some() && !catalog.rights(user, target, kind, owner).0.has(Rights::EXECUTE)
        {
            let message = format!("permission denied for {word} {name}");
            self.uses_of.denied_calls.push(Error::new(SqlState::InsufficientPrivilege, message));
        }
    }

    /// 42501 if the statement, as far as it is bound, is not allowed.
    pub fn check_privileges(&self) -> Result<()> {
        let catalog = &self.environment.catalog;
        match self.uses_of.list.iter().find(|u| !u.is_allowed(catalog)) {
            None => self.uses_of.denied_calls.first().map_or(Ok(()), |denied| Err(denied.clone())),
            Some(denied) => Err(permission_denied(&denied.relation)),
        }
    }
}

/// `permission denied for table t`.
pub fn permission_denied(relation: &Relation) -> Error {
    let message = format!("permission denied for {} {}", relation.kind_name(), relation.name());
    Error::new(SqlState::InsufficientPrivilege, message)
}

impl Through {
    /// Its columns that are those of the table.
    fn own(&self, columns: &[i16]) -> impl Iterator<Item = i16> {
        (1..).zip(&self.columns).filter(|(_, base)| columns.contains(base)).map(|(own, _)| own)
    }
}

impl Use {
    fn note(&mut self, rights: Rights, columns: impl Iterator<Item = i16>) {
        self.required = self.required.with(rights);
        match rights {
            Rights::INSERT => self.inserted.extend(columns),
            Rights::UPDATE => self.updated.extend(columns),
            _ => self.selected.extend(columns),
        }
    }

    fn is_allowed(&self, catalog: &Catalog) -> bool {
        let missing = self.required.without(catalog.relation_rights(self.user, &self.relation));
        if missing.is_none() {
            return true;
        }
        let by_column = Rights::SELECT.with(Rights::INSERT).with(Rights::UPDATE);
        if !missing.without(by_column).is_none() {
            return false;
        }
        [(Rights::SELECT, &self.selected), (Rights::INSERT, &self.inserted), (Rights::UPDATE, &self.updated)]
            .into_iter()
            .filter(|(right, _)| missing.has(*right))
            .all(|(right, columns)| {
                let has = |attnum: i16| catalog.column_rights(self.user, &self.relation, attnum).has(right);
                match columns.is_empty() {
                    true => live_columns(&self.relation).into_iter().any(has),
                    false => columns.iter().all(|attnum| has(*attnum)),
                }
            })
    }
}

/// Attribute numbers of a relation.
pub fn live_columns(relation: &Relation) -> Vec<i16> {
    let first = |count: usize| (1..=count as i16).collect();
    match relation {
        Relation::Table(t) => t.live_columns().map(|c| c.attnum).collect(),
        Relation::View(v) => first(v.columns.len()),
        Relation::System(s) => first(s.columns.len()),
        Relation::Sequence(_) => first(3),
        Relation::Index(..) => Vec::new(),
    }
}
