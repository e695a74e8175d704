//! Syntax of the options of roles.

use sqlparser::ast::Ident;

use super::cursor::Cursor;
use super::{Extra, SyntaxError, access};

/// Options of a role that were written.
#[derive(Debug, Clone, Default)]
pub struct RoleOptions {
    pub superuser: Option<bool>,
    pub login: Option<bool>,
    pub create_database: Option<bool>,
    pub create_role: Option<bool>,
    pub inherit: Option<bool>,
    pub replication: Option<bool>,
    pub bypass_row_security: Option<bool>,
    pub connection_limit: Option<i32>,
    /// `Some(None)`: PASSWORD NULL.
    pub password: Option<Option<String>>,
    pub valid_until: Option<String>,
    /// IN ROLE: roles that it becomes a member of.
    pub in_roles: Vec<Ident>,
    /// ROLE, USER: its first members.
    pub members: Vec<Ident>,
    /// ADMIN: members that may grant it.
    pub admins: Vec<Ident>,
}

pub(super) fn alter(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    let name = c.identifier()?;
    if c.accept("rename") {
        c.expect("to")?;
        return Ok(Some(Extra::RenameRole { name, to: c.identifier()? }));
    }
    if c.nth_is(0, "set") || c.nth_is(0, "reset") || c.nth_is(0, "in") {
        let mut database = None;
        if c.accept("in") {
            c.expect("database")?;
            database = Some(c.identifier()?);
        }
        let everybody = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
        return access::setting(c, (!everybody).then_some(name), database);
    }
    if c.nth_is(0, "add") || c.nth_is(0, "drop") {
        return access::group_members(c, name);
    }
    let options = options(c)?;
    Ok(Some(Extra::AlterRole { name, options }))
}

pub(super) fn options(c: &mut Cursor<'_>) -> Result<RoleOptions, SyntaxError> {
    let mut o = RoleOptions::default();
    c.accept("with");
    while c.at < c.tokens.len() {
        let start = c.at;
        let word = c.next_word().ok_or(start)?;
        let (flag, on) = match word.strip_prefix("no") {
            Some(rest) if !rest.is_empty() => (rest.to_owned(), false),
            _ => (word, true),
        };
        match flag.as_str() {
            "superuser" => o.superuser = Some(on),
            "login" => o.login = Some(on),
            "createdb" => o.create_database = Some(on),
            "createrole" => o.create_role = Some(on),
            "inherit" => o.inherit = Some(on),
            "replication" => o.replication = Some(on),
            "bypassrls" => o.bypass_row_security = Some(on),
            "connection" if on => {
                c.expect("limit")?;
                o.connection_limit = Some(i32::try_from(c.integer()?).map_err(|_| c.at)?);
            }
            "encrypted" if on => {
                c.expect("password")?;
                o.password = Some(Some(c.string()?));
            }
            "password" if on => o.password = Some(if c.accept("null") { None } else { Some(c.string()?) }),
            "valid" if on => {
                c.expect("until")?;
                o.valid_until = Some(c.string()?);
            }
            "in" if on => {
                if !c.accept("role") {
                    c.expect("group")?;
                }
                o.in_roles.extend(c.list(Cursor::identifier)?);
            }
            "role" | "user" if on => o.members.extend(c.list(Cursor::identifier)?),
            "admin" if on => o.admins.extend(c.list(Cursor::identifier)?),
            "sysid" if on => {
                c.integer()?;
            }
            _ => return Err(start),
        }
    }
    Ok(o)
}
