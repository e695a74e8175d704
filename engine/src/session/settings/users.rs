//! Who a session is: the role that logged in, the session user (SET SESSION AUTHORIZATION) and the current one (SET ROLE).
//! They are kept with the settings, so that transactions undo them like any SET.

use std::sync::Arc;

use super::table::find;
use super::{Settings, Values, value};
use crate::catalog::Oid;

/// A role, as the session last knew it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub oid: Oid,
    pub name: Arc<str>,
    pub superuser: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    /// Who logged in.
    pub authenticated: User,
    pub session: User,
    /// `None`: SET ROLE NONE.
    pub role: Option<User>,
}

impl Users {
    pub fn new(user: User) -> Users {
        Users { authenticated: user.clone(), session: user, role: None }
    }

    /// The current user.
    pub fn current(&self) -> &User {
        self.role.as_ref().unwrap_or(&self.session)
    }
}

impl Values {
    fn put_users(&mut self, users: Users) {
        let role = users.role.as_ref().map_or("none", |role| &*role.name).to_owned();
        let superuser = value::bool_text(users.current().superuser);
        let texts = [("session_authorization", &*users.session.name), ("is_superuser", superuser), ("role", &role)];
        for (name, text) in texts {
            if let Some(id) = find(name) {
                self.put(id, text);
            }
        }
        self.users = users;
    }
}

impl Settings {
    /// At the start of the session.
    pub(super) fn begin_as(&mut self, user: User) {
        let users = Users::new(user);
        for values in [&mut self.reset, &mut self.lasting, &mut self.current] {
            Arc::make_mut(values).put_users(users.clone());
        }
    }

    /// SET ROLE and SET SESSION AUTHORIZATION.
    pub fn set_users(&mut self, users: Users, local: bool) {
        if self.current.users != users {
            Arc::make_mut(&mut self.current).put_users(users.clone());
        }
        if !local && self.lasting.users != users {
            Arc::make_mut(&mut self.lasting).put_users(users);
        }
    }

    /// DISCARD ALL: who logged in again.
    pub fn reset_users(&mut self) {
        let users = Users::new(self.current.users.authenticated.clone());
        self.set_users(users, false);
    }
}
