//! Who the session is: SET ROLE, SET SESSION AUTHORIZATION, and what follows from them for names and privileges.

use std::sync::Arc;

use super::Session;
use super::settings::{User, Users};
use crate::catalog::access::AclTarget;
use crate::catalog::acl::{ObjectKind, Rights};
use crate::catalog::{Catalog, Oid, RoleDef, SearchPath, SequenceDef};
use crate::error::{Error, Result, SqlState};

impl User {
    pub fn of(role: &RoleDef) -> User {
        User { oid: role.oid, name: role.name.as_str().into(), superuser: role.superuser }
    }
}

impl Session {
    /// The current user.
    pub(crate) fn user(&self) -> Oid {
        self.settings.values().users.current().oid
    }

    /// The search path as the current user sees it.
    pub(crate) fn search_path(&self, catalog: &Catalog) -> SearchPath {
        let values = self.settings.values();
        catalog.search_path(&values.search_path, &values.users.current().name)
    }

    /// SET ROLE and SET SESSION AUTHORIZATION; `None`: to the role that logged in. Errors: 22023, 42501.
    pub(crate) fn set_user(&mut self, what: &str, name: Option<&str>, local: bool) -> Result<()> {
        let catalog = self.catalog();
        let users = self.settings.values().users.clone();
        let find = |name: &str| {
            let missing = || Error::new(SqlState::InvalidParameterValue, format!("role \"{name}\" does not exist"));
            catalog.role(name).ok_or_else(missing)
        };
        let users = if what == "role" {
            let role = match name {
                None | Some("none") => None,
                Some(name) => Some(find(name)?),
            };
            if let Some(role) = role
                && !catalog.is_member(users.session.oid, role.oid)
            {
                let message = format!("permission denied to set role \"{}\"", role.name);
                return Err(Error::new(SqlState::InsufficientPrivilege, message));
            }
            Users { role: role.map(|role| User::of(role)), ..users }
        } else {
            let session = match name {
                None => users.authenticated.clone(),
                Some(name) => User::of(find(name)?),
            };
            if session.oid != users.authenticated.oid && !users.authenticated.superuser {
                return Err(Error::new(
                    SqlState::InsufficientPrivilege,
                    "permission denied to set session authorization",
                ));
            }
            Users { session, role: None, ..users }
        };
        self.settings.set_users(users, local);
        Ok(())
    }
}

/// 42501 unless the user may use the sequence in one of these ways.
pub fn check_sequence(catalog: &Catalog, user: Oid, sequence: &SequenceDef, any: Rights) -> Result<()> {
    let target = AclTarget::new(ObjectKind::Sequence, sequence.oid);
    if user == sequence.owner && catalog.access.own_acl(target).is_none() || catalog.is_superuser(user) {
        return Ok(());
    }
    let relation = crate::catalog::Relation::Sequence(Arc::new(sequence.clone()));
    let rights = catalog.relation_rights(user, &relation);
    if rights.both(any).is_none() {
        return Err(crate::sql::permission_denied(&relation));
    }
    Ok(())
}
