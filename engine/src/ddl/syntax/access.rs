//! Syntax of roles and privileges: GRANT and REVOKE of privileges and of roles, ALTER DEFAULT PRIVILEGES, REASSIGN and DROP
//! OWNED, DROP ROLE, memberships, settings of roles and databases.

use sqlparser::ast::{Ident, ObjectName};
use sqlparser::tokenizer::Token;

use super::{Cursor, Extra, SyntaxError};
use crate::ddl::routine_syntax::{RoutineKind, RoutineName, routine_name};

/// Statements about roles and privileges.
#[derive(Debug, Clone)]
pub enum AccessStatement {
    Privileges(GrantPrivileges),
    Roles(GrantRoles),
    /// ALTER DEFAULT PRIVILEGES: of these roles, in these schemas, an abbreviated GRANT or REVOKE.
    Defaults {
        roles: Vec<Ident>,
        schemas: Vec<Ident>,
        change: GrantPrivileges,
    },
    Reassign {
        from: Vec<Ident>,
        to: Ident,
    },
    DropOwned {
        roles: Vec<Ident>,
        cascade: bool,
    },
    DropRoles {
        roles: Vec<Ident>,
        if_exists: bool,
    },
    /// ALTER GROUP … ADD or DROP USER.
    GroupMembers {
        group: Ident,
        add: bool,
        members: Vec<Ident>,
    },
    Setting {
        role: Option<Ident>,
        database: Option<Ident>,
        change: SettingChange,
    },
}

/// Of ALTER ROLE and ALTER DATABASE.
#[derive(Debug, Clone)]
pub enum SettingChange {
    Set {
        name: String,
        values: Vec<String>,
    },
    FromCurrent(String),
    /// SET … TO DEFAULT and RESET.
    Reset(String),
    ResetAll,
}

#[derive(Debug, Clone)]
pub struct GrantPrivileges {
    pub grant: bool,
    /// WITH GRANT OPTION, GRANT OPTION FOR.
    pub option: bool,
    /// Empty: ALL. Each with the columns that were written behind it (ALL with columns has the name "all").
    pub privileges: Vec<(String, Vec<Ident>)>,
    pub objects: Objects,
    pub grantees: Vec<Ident>,
    pub granted_by: Option<Ident>,
    pub cascade: bool,
}

#[derive(Debug, Clone)]
pub enum Objects {
    Tables(Vec<ObjectName>),
    Sequences(Vec<ObjectName>),
    Databases(Vec<Ident>),
    Schemas(Vec<Ident>),
    Types(Vec<ObjectName>),
    Domains(Vec<ObjectName>),
    Functions(RoutineKind, Vec<RoutineName>),
    Languages(Vec<Ident>),
    Tablespaces(Vec<Ident>),
    /// ALL TABLES IN SCHEMA and its like; the kind's plural.
    AllIn(&'static str, Vec<Ident>),
    /// Of default privileges.
    New(&'static str),
    /// There are none of the kind here.
    Other(&'static str),
}

#[derive(Debug, Clone)]
pub struct GrantRoles {
    pub grant: bool,
    /// WITH ADMIN OPTION, ADMIN OPTION FOR.
    pub option: bool,
    pub roles: Vec<Ident>,
    pub grantees: Vec<Ident>,
    pub granted_by: Option<Ident>,
}

type Parsed = Result<Option<Extra>, SyntaxError>;

fn statement(statement: AccessStatement) -> Parsed {
    Ok(Some(Extra::Access(Box::new(statement))))
}

/// Behind GRANT or REVOKE.
pub(super) fn grant(c: &mut Cursor<'_>, grant: bool) -> Parsed {
    let mut option = false;
    if !grant {
        for (word, admin) in [("grant", false), ("admin", true)] {
            if c.nth_is(0, word) && c.nth_is(1, "option") && c.nth_is(2, "for") {
                c.at += 3;
                option = true;
                if admin {
                    return roles(c, grant, option);
                }
            }
        }
    }
    let start = c.at;
    let privileges = privileges(c)?;
    if c.accept("on") {
        let objects = objects(c)?;
        return statement(AccessStatement::Privileges(grantees(c, grant, option, privileges, objects)?));
    }
    c.at = start;
    roles(c, grant, option)
}

fn privileges(c: &mut Cursor<'_>) -> Result<Vec<(String, Vec<Ident>)>, SyntaxError> {
    let mut privileges = Vec::new();
    loop {
        let word = crate::ddl::names::ident(&c.identifier()?);
        let name = match word.as_str() {
            "all" => {
                c.accept("privileges");
                "all".to_owned()
            }
            "alter" if c.accept("system") => "alter system".to_owned(),
            _ => word,
        };
        let mut columns = Vec::new();
        if c.accept_token(&Token::LParen) {
            columns = c.list(Cursor::identifier)?;
            c.expect_token(&Token::RParen)?;
        }
        privileges.push((name, columns));
        if !c.accept_token(&Token::Comma) {
            break;
        }
    }
    if let [(name, columns)] = privileges.as_slice()
        && name == "all"
        && columns.is_empty()
    {
        privileges.clear();
    }
    Ok(privileges)
}

fn objects(c: &mut Cursor<'_>) -> Result<Objects, SyntaxError> {
    const KINDS: [&str; 5] = ["tables", "sequences", "functions", "procedures", "routines"];
    if c.nth_is(0, "all") && KINDS.iter().any(|kind| c.nth_is(1, kind)) {
        c.at += 1;
        let word = c.next_word().unwrap_or_default();
        let kind = KINDS.into_iter().find(|kind| *kind == word).unwrap_or("tables");
        c.expect("in")?;
        c.expect("schema")?;
        return Ok(Objects::AllIn(kind, c.list(Cursor::identifier)?));
    }
    let start = c.at;
    // A table may have the name of a kind: then no other name follows.
    let next_is_name = matches!(c.tokens.get(c.at + 1).map(|t| &t.token), Some(Token::Word(_)))
        && !c.nth_is(1, "to")
        && !c.nth_is(1, "from");
    if next_is_name {
        match c.next_word().as_deref() {
            Some("table") => return Ok(Objects::Tables(c.list(Cursor::object_name)?)),
            Some("sequence") => return Ok(Objects::Sequences(c.list(Cursor::object_name)?)),
            Some("database") => return Ok(Objects::Databases(c.list(Cursor::identifier)?)),
            Some("schema") => return Ok(Objects::Schemas(c.list(Cursor::identifier)?)),
            Some("type") => return Ok(Objects::Types(c.list(Cursor::object_name)?)),
            Some("domain") => return Ok(Objects::Domains(c.list(Cursor::object_name)?)),
            Some("language") => return Ok(Objects::Languages(c.list(Cursor::identifier)?)),
            Some("tablespace") => return Ok(Objects::Tablespaces(c.list(Cursor::identifier)?)),
            Some("function") => return Ok(Objects::Functions(RoutineKind::Function, c.list(routine_name)?)),
            Some("procedure") => return Ok(Objects::Functions(RoutineKind::Procedure, c.list(routine_name)?)),
            Some("routine") => return Ok(Objects::Functions(RoutineKind::Routine, c.list(routine_name)?)),
            Some("parameter") => {
                c.list(Cursor::object_name)?;
                return Ok(Objects::Other("GRANT ON PARAMETER"));
            }
            Some("large") => {
                c.expect("object")?;
                c.integer()?;
                return Ok(Objects::Other("large objects"));
            }
            Some("foreign") => {
                if !c.accept("server") {
                    c.expect("data")?;
                    c.expect("wrapper")?;
                }
                c.list(Cursor::identifier)?;
                return Ok(Objects::Other("foreign data"));
            }
            _ => {}
        }
    }
    c.at = start;
    Ok(Objects::Tables(c.list(Cursor::object_name)?))
}

/// `TO grantees WITH GRANT OPTION` or `FROM grantees CASCADE`.
fn grantees(
    c: &mut Cursor<'_>,
    grant: bool,
    mut option: bool,
    privileges: Vec<(String, Vec<Ident>)>,
    objects: Objects,
) -> Result<GrantPrivileges, SyntaxError> {
    c.expect(if grant { "to" } else { "from" })?;
    let grantees = roles_list(c)?;
    if grant && c.accept("with") {
        c.expect("grant")?;
        c.expect("option")?;
        option = true;
    }
    let granted_by = granted_by(c)?;
    let cascade = !grant && c.cascade();
    Ok(GrantPrivileges { grant, option, privileges, objects, grantees, granted_by, cascade })
}

fn granted_by(c: &mut Cursor<'_>) -> Result<Option<Ident>, SyntaxError> {
    if !c.accept("granted") {
        return Ok(None);
    }
    c.expect("by")?;
    c.identifier().map(Some)
}

fn roles_list(c: &mut Cursor<'_>) -> Result<Vec<Ident>, SyntaxError> {
    let mut all = Vec::new();
    loop {
        c.accept("group");
        all.push(c.identifier()?);
        if !c.accept_token(&Token::Comma) {
            return Ok(all);
        }
    }
}

fn roles(c: &mut Cursor<'_>, grant: bool, mut option: bool) -> Parsed {
    let roles = c.list(Cursor::identifier)?;
    c.expect(if grant { "to" } else { "from" })?;
    let grantees = roles_list(c)?;
    if grant && c.accept("with") {
        c.expect("admin")?;
        c.expect("option")?;
        option = true;
    }
    let granted_by = granted_by(c)?;
    if !grant {
        c.cascade();
    }
    statement(AccessStatement::Roles(GrantRoles { grant, option, roles, grantees, granted_by }))
}

/// Behind ALTER DEFAULT PRIVILEGES.
pub(super) fn default_privileges(c: &mut Cursor<'_>) -> Parsed {
    let (mut roles, mut schemas) = (Vec::new(), Vec::new());
    loop {
        if c.accept("for") {
            if !c.accept("role") {
                c.expect("user")?;
            }
            roles.extend(c.list(Cursor::identifier)?);
        } else if c.accept("in") {
            c.expect("schema")?;
            schemas.extend(c.list(Cursor::identifier)?);
        } else {
            break;
        }
    }
    let grant = c.accept("grant");
    let mut option = false;
    if !grant {
        c.expect("revoke")?;
        if c.nth_is(0, "grant") && c.nth_is(1, "option") {
            c.at += 2;
            c.expect("for")?;
            option = true;
        }
    }
    let privileges = privileges(c)?;
    c.expect("on")?;
    let start = c.at;
    let kind = match c.next_word().as_deref() {
        Some("tables") => "tables",
        Some("sequences") => "sequences",
        Some("functions" | "routines") => "functions",
        Some("types") => "types",
        Some("schemas") => "schemas",
        _ => return Err(start),
    };
    let change = grantees(c, grant, option, privileges, Objects::New(kind))?;
    statement(AccessStatement::Defaults { roles, schemas, change })
}

/// Behind REASSIGN.
pub(super) fn reassign(c: &mut Cursor<'_>) -> Parsed {
    c.expect("owned")?;
    c.expect("by")?;
    let from = c.list(Cursor::identifier)?;
    c.expect("to")?;
    statement(AccessStatement::Reassign { from, to: c.identifier()? })
}

/// DROP ROLE and DROP OWNED, behind DROP; `None`: something else is dropped.
pub(super) fn drop(c: &mut Cursor<'_>) -> Parsed {
    let start = c.at;
    match c.next_word().as_deref() {
        Some("owned") => {
            c.expect("by")?;
            let roles = c.list(Cursor::identifier)?;
            let cascade = c.cascade();
            statement(AccessStatement::DropOwned { roles, cascade })
        }
        Some(kind @ ("role" | "user" | "group")) if !(kind == "user" && c.nth_is(0, "mapping")) => {
            let if_exists = c.if_exists()?;
            statement(AccessStatement::DropRoles { roles: c.list(Cursor::identifier)?, if_exists })
        }
        _ => {
            c.at = start;
            Ok(None)
        }
    }
}

/// `ADD USER a, b` and `DROP USER …` behind ALTER GROUP name.
pub(super) fn group_members(c: &mut Cursor<'_>, group: Ident) -> Parsed {
    let add = c.accept("add");
    if !add {
        c.expect("drop")?;
    }
    c.expect("user")?;
    statement(AccessStatement::GroupMembers { group, add, members: c.list(Cursor::identifier)? })
}

/// SET or RESET behind ALTER ROLE name or ALTER DATABASE name.
pub(super) fn setting(c: &mut Cursor<'_>, role: Option<Ident>, database: Option<Ident>) -> Parsed {
    if c.accept("reset") {
        if c.accept("all") {
            return statement(AccessStatement::Setting { role, database, change: SettingChange::ResetAll });
        }
        let name = match c.accept("transaction") {
            true => {
                c.expect("isolation")?;
                c.expect("level")?;
                "transaction_isolation".to_owned()
            }
            false => setting_name(c)?,
        };
        return statement(AccessStatement::Setting { role, database, change: SettingChange::Reset(name) });
    }
    c.expect("set")?;
    if let Some(change) = special_setting(c)? {
        return statement(AccessStatement::Setting { role, database, change });
    }
    let name = setting_name(c)?;
    let change = if c.accept("from") {
        c.expect("current")?;
        SettingChange::FromCurrent(name)
    } else {
        if !c.accept("to") {
            c.expect_token(&Token::Eq)?;
        }
        if c.accept("default") {
            SettingChange::Reset(name)
        } else {
            let mut values = vec![setting_value(c)?];
            while c.accept_token(&Token::Comma) {
                values.push(setting_value(c)?);
            }
            SettingChange::Set { name, values }
        }
    };
    statement(AccessStatement::Setting { role, database, change })
}

/// The forms without TO: TIME ZONE, ROLE, SESSION AUTHORIZATION, NAMES, SCHEMA.
fn special_setting(c: &mut Cursor<'_>) -> Result<Option<SettingChange>, SyntaxError> {
    let start = c.at;
    let name = match c.next_word().as_deref() {
        Some("time") if c.accept("zone") => "timezone",
        Some("role") => "role",
        Some("session") if c.accept("authorization") => "session_authorization",
        Some("names") => "client_encoding",
        Some("schema") => "search_path",
        _ => "",
    };
    if name.is_empty() || c.nth_is(0, "to") || c.is_eq() || c.nth_is(0, "from") {
        c.at = start;
        return Ok(None);
    }
    let name = name.to_owned();
    let none = name == "client_encoding" && (c.at >= c.tokens.len() || c.accept("default"));
    let default = matches!(&*name, "timezone" | "session_authorization") && c.accept("default");
    if none || default || name == "timezone" && c.accept("local") {
        return Ok(Some(SettingChange::Reset(name)));
    }
    let value = match name == "search_path" {
        true => c.string()?,
        false => setting_value(c)?,
    };
    Ok(Some(SettingChange::Set { name, values: vec![value] }))
}

fn setting_name(c: &mut Cursor<'_>) -> Result<String, SyntaxError> {
    if c.nth_is(0, "session") && c.nth_is(1, "authorization") {
        c.at += 2;
        return Ok("session_authorization".to_owned());
    }
    if c.accept("time") {
        c.expect("zone")?;
        return Ok("timezone".to_owned());
    }
    let name = c.object_name()?;
    let parts: Vec<String> =
        name.0.iter().filter_map(|part| part.as_ident()).map(|part| part.value.to_lowercase()).collect();
    Ok(parts.join("."))
}

pub(super) fn setting_value(c: &mut Cursor<'_>) -> Result<String, SyntaxError> {
    if let Ok(text) = c.string() {
        return Ok(text);
    }
    let start = c.at;
    let sign = if c.accept_token(&Token::Minus) { "-" } else { "" };
    match c.tokens.get(c.at).map(|t| &t.token) {
        Some(Token::Number(digits, _)) => {
            c.at += 1;
            Ok(format!("{sign}{digits}"))
        }
        Some(Token::Word(word)) if sign.is_empty() => {
            c.at += 1;
            Ok(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_ascii_lowercase() })
        }
        _ => Err(start),
    }
}
