//! Access control lists: who was granted what, by whom (PostgreSQL manual, 5.7), and the arithmetic of GRANT and REVOKE.
//!
//! Invariants:
//! 1. An item has at least one privilege; grantee and grantor together name it once in its list.
//! 2. Grant options stand on grant options: without one, what was granted by it goes (CASCADE) or holds it (RESTRICT).

use serde::{Deserialize, Serialize};

use super::{Catalog, Oid};
use crate::error::{Error, Result, SqlState};

/// A set of privileges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rights(pub u16);

impl Rights {
    pub const NONE: Rights = Rights(0);
    pub const INSERT: Rights = Rights(1);
    pub const SELECT: Rights = Rights(1 << 1);
    pub const UPDATE: Rights = Rights(1 << 2);
    pub const DELETE: Rights = Rights(1 << 3);
    pub const TRUNCATE: Rights = Rights(1 << 4);
    pub const REFERENCES: Rights = Rights(1 << 5);
    pub const TRIGGER: Rights = Rights(1 << 6);
    pub const EXECUTE: Rights = Rights(1 << 7);
    pub const USAGE: Rights = Rights(1 << 8);
    pub const CREATE: Rights = Rights(1 << 9);
    pub const TEMPORARY: Rights = Rights(1 << 10);
    pub const CONNECT: Rights = Rights(1 << 11);
    pub const SET: Rights = Rights(1 << 12);
    pub const ALTER_SYSTEM: Rights = Rights(1 << 13);

    /// In PostgreSQL's order: letter in an aclitem and name.
    pub const NAMES: [(Rights, char, &'static str); 14] = [
        (Rights::INSERT, 'a', "INSERT"),
        (Rights::SELECT, 'r', "SELECT"),
        (Rights::UPDATE, 'w', "UPDATE"),
        (Rights::DELETE, 'd', "DELETE"),
        (Rights::TRUNCATE, 'D', "TRUNCATE"),
        (Rights::REFERENCES, 'x', "REFERENCES"),
        (Rights::TRIGGER, 't', "TRIGGER"),
        (Rights::EXECUTE, 'X', "EXECUTE"),
        (Rights::USAGE, 'U', "USAGE"),
        (Rights::CREATE, 'C', "CREATE"),
        (Rights::TEMPORARY, 'T', "TEMPORARY"),
        (Rights::CONNECT, 'c', "CONNECT"),
        (Rights::SET, 's', "SET"),
        (Rights::ALTER_SYSTEM, 'A', "ALTER SYSTEM"),
    ];

    pub const fn with(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    pub const fn without(self, other: Rights) -> Rights {
        Rights(self.0 & !other.0)
    }

    pub const fn both(self, other: Rights) -> Rights {
        Rights(self.0 & other.0)
    }

    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    pub const fn has(self, all: Rights) -> bool {
        self.0 & all.0 == all.0
    }

    /// The privilege of a name, in any case.
    pub fn named(name: &str) -> Option<Rights> {
        let known = Rights::NAMES.iter().find(|(_, _, known)| known.eq_ignore_ascii_case(name)).map(|known| known.0);
        known.or_else(|| name.eq_ignore_ascii_case("temp").then_some(Rights::TEMPORARY))
    }

    pub fn of_letter(letter: char) -> Option<Rights> {
        Rights::NAMES.iter().find(|(_, known, _)| *known == letter).map(|known| known.0)
    }
}

/// What an access control list belongs to. The letters are those of `acldefault` and pg_default_acl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKind {
    Column,
    Relation,
    Sequence,
    Database,
    Function,
    Language,
    Schema,
    Tablespace,
    Type,
    ForeignDataWrapper,
    ForeignServer,
    LargeObject,
    Parameter,
}

impl ObjectKind {
    pub fn of_letter(letter: &str) -> Option<ObjectKind> {
        Some(match letter {
            "c" => ObjectKind::Column,
            "r" => ObjectKind::Relation,
            "s" => ObjectKind::Sequence,
            "d" => ObjectKind::Database,
            "f" => ObjectKind::Function,
            "l" => ObjectKind::Language,
            "L" => ObjectKind::LargeObject,
            "n" => ObjectKind::Schema,
            "p" => ObjectKind::Parameter,
            "t" => ObjectKind::Tablespace,
            "F" => ObjectKind::ForeignDataWrapper,
            "S" => ObjectKind::ForeignServer,
            "T" => ObjectKind::Type,
            _ => return None,
        })
    }

    /// As errors name an object of the kind.
    pub fn word(self) -> &'static str {
        match self {
            ObjectKind::Column => "column",
            ObjectKind::Relation => "table",
            ObjectKind::Sequence => "sequence",
            ObjectKind::Database => "database",
            ObjectKind::Function => "function",
            ObjectKind::Language => "language",
            ObjectKind::Schema => "schema",
            ObjectKind::Tablespace => "tablespace",
            ObjectKind::Type => "type",
            ObjectKind::ForeignDataWrapper => "foreign-data wrapper",
            ObjectKind::ForeignServer => "foreign server",
            ObjectKind::LargeObject => "large object",
            ObjectKind::Parameter => "parameter",
        }
    }

    /// Every privilege that an object of the kind knows.
    pub fn all(self) -> Rights {
        match self {
            ObjectKind::Column => Rights(Rights::INSERT.0 | Rights::SELECT.0 | Rights::UPDATE.0 | Rights::REFERENCES.0),
            ObjectKind::Relation => Rights(0x7f),
            ObjectKind::Sequence => Rights(Rights::SELECT.0 | Rights::UPDATE.0 | Rights::USAGE.0),
            ObjectKind::Database => Rights(Rights::CREATE.0 | Rights::TEMPORARY.0 | Rights::CONNECT.0),
            ObjectKind::Function => Rights::EXECUTE,
            ObjectKind::Language | ObjectKind::Type | ObjectKind::ForeignDataWrapper | ObjectKind::ForeignServer => {
                Rights::USAGE
            }
            ObjectKind::Schema => Rights(Rights::USAGE.0 | Rights::CREATE.0),
            ObjectKind::Tablespace => Rights::CREATE,
            ObjectKind::LargeObject => Rights(Rights::SELECT.0 | Rights::UPDATE.0),
            ObjectKind::Parameter => Rights(Rights::SET.0 | Rights::ALTER_SYSTEM.0),
        }
    }

    /// What everybody may without any GRANT.
    fn public(self) -> Rights {
        match self {
            ObjectKind::Database => Rights(Rights::TEMPORARY.0 | Rights::CONNECT.0),
            ObjectKind::Function => Rights::EXECUTE,
            ObjectKind::Language | ObjectKind::Type => Rights::USAGE,
            _ => Rights::NONE,
        }
    }
}

/// One grantee's privileges from one grantor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclItem {
    /// 0: everybody.
    pub grantee: Oid,
    pub grantor: Oid,
    pub rights: Rights,
    /// Those that the grantee may grant on.
    pub grantable: Rights,
}

pub type Acl = Vec<AclItem>;

/// Everybody.
pub const PUBLIC: Oid = Oid(0);

/// The list of an object without one of its own.
pub fn default_acl(kind: ObjectKind, owner: Oid) -> Acl {
    let mut acl = Vec::new();
    let mut item = |grantee, rights: Rights| {
        if !rights.is_none() {
            acl.push(AclItem { grantee, grantor: owner, rights, grantable: Rights::NONE });
        }
    };
    item(PUBLIC, kind.public());
    if kind != ObjectKind::Column {
        item(owner, kind.all());
    }
    acl
}

/// One step of GRANT or REVOKE.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub grant: bool,
    pub grantee: Oid,
    pub grantor: Oid,
    pub rights: Rights,
    pub grantable: Rights,
    pub cascade: bool,
}

/// Applies a step. The owner holds all grant options without an item that says so. Errors: 0LP01, 2BP01.
pub fn update(acl: &mut Acl, change: Change, owner: Oid) -> Result<()> {
    if change.grant && !change.grantable.is_none() && change.grantor != owner {
        check_circular(acl, change, owner)?;
    }
    let at = acl.iter().position(|i| i.grantee == change.grantee && i.grantor == change.grantor);
    let at = match at {
        Some(at) => at,
        None => {
            let item = AclItem {
                grantee: change.grantee,
                grantor: change.grantor,
                rights: Rights::NONE,
                grantable: Rights::NONE,
            };
            acl.push(item);
            acl.len() - 1
        }
    };
    let Some(item) = acl.get_mut(at) else { return Ok(()) };
    let before = item.grantable;
    if change.grant {
        item.rights = item.rights.with(change.rights);
        item.grantable = item.grantable.with(change.grantable);
    } else {
        item.rights = item.rights.without(change.rights);
        item.grantable = item.grantable.without(change.grantable);
    }
    let now = item.grantable;
    if item.rights.is_none() && item.grantable.is_none() {
        acl.remove(at);
    }
    let lost = before.without(now);
    if !lost.is_none() && change.grantee != PUBLIC {
        revoke_dependent(acl, change.grantee, lost, owner, change.cascade)?;
    }
    Ok(())
}

/// Grant options of a role that stand in the list itself.
fn options_of(acl: &Acl, role: Oid, owner: Oid) -> Rights {
    if role == owner {
        return Rights(u16::MAX);
    }
    acl.iter().filter(|i| i.grantee == role).fold(Rights::NONE, |sum, i| sum.with(i.grantable))
}

/// A grant option must not come back to whom it came from.
fn check_circular(acl: &Acl, change: Change, owner: Oid) -> Result<()> {
    let mut without = acl.clone();
    // All that the grantee has given, directly or not, is taken away; the grantor must still have its option.
    while let Some(item) = without.iter().find(|i| i.grantee == change.grantee && !i.grantable.is_none()).copied() {
        let revoke = Change {
            grant: false,
            grantee: item.grantee,
            grantor: item.grantor,
            rights: item.rights,
            grantable: item.grantable,
            cascade: true,
        };
        update(&mut without, revoke, owner)?;
    }
    let left = options_of(&without, change.grantor, owner);
    if !left.has(change.grantable) {
        return Err(Error::new(
            SqlState::InvalidGrantOperation,
            "grant options cannot be granted back to your own grantor",
        ));
    }
    Ok(())
}

fn revoke_dependent(acl: &mut Acl, role: Oid, lost: Rights, owner: Oid, cascade: bool) -> Result<()> {
    if role == owner {
        return Ok(());
    }
    // Another grantor may have given the same option.
    let lost = lost.without(options_of(acl, role, owner));
    if lost.is_none() {
        return Ok(());
    }
    while let Some(item) = acl.iter().find(|i| i.grantor == role && !i.rights.both(lost).is_none()).copied() {
        if !cascade {
            return Err(Error::new(SqlState::DependentObjectsStillExist, "dependent privileges exist")
                .hint("Use CASCADE to revoke them too."));
        }
        let revoke = Change {
            grant: false,
            grantee: item.grantee,
            grantor: item.grantor,
            rights: item.rights.both(lost),
            grantable: item.grantable.both(lost),
            cascade,
        };
        update(acl, revoke, owner)?;
    }
    Ok(())
}

/// The list under a new owner: what the old one had and gave is the new one's.
pub fn change_owner(acl: &Acl, old: Oid, new: Oid) -> Acl {
    let moved = |role: Oid| if role == old { new } else { role };
    let mut out: Acl = Vec::with_capacity(acl.len());
    for item in acl {
        let item = AclItem { grantee: moved(item.grantee), grantor: moved(item.grantor), ..*item };
        match out.iter_mut().find(|i| i.grantee == item.grantee && i.grantor == item.grantor) {
            Some(same) => {
                same.rights = same.rights.with(item.rights);
                same.grantable = same.grantable.with(item.grantable);
            }
            None => out.push(item),
        }
    }
    out
}

/// `grantee=privileges/grantor`, as PostgreSQL prints an aclitem.
pub fn item_text(item: &AclItem, catalog: &Catalog) -> String {
    let mut out = match item.grantee {
        PUBLIC => String::new(),
        role => role_text(catalog, role),
    };
    out.push('=');
    for (right, letter, _) in Rights::NAMES {
        if item.rights.has(right) {
            out.push(letter);
            if item.grantable.has(right) {
                out.push('*');
            }
        }
    }
    out.push('/');
    out.push_str(&role_text(catalog, item.grantor));
    out
}

fn role_text(catalog: &Catalog, role: Oid) -> String {
    let name = catalog.roles.get(&role).map_or_else(|| role.0.to_string(), |r| r.name.clone());
    let safe = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if safe { name } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Reads an aclitem's text. `None`: it is none, or names a role that does not exist.
pub fn parse_item(text: &str, catalog: &Catalog) -> Option<AclItem> {
    let name = |text: &str| -> Option<Oid> {
        let plain = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).map(|t| t.replace("\"\"", "\""));
        catalog.role(plain.as_deref().unwrap_or(text)).map(|r| r.oid)
    };
    let (grantee, rest) = text.trim().rsplit_once('=')?;
    let (letters, grantor) = rest.split_once('/')?;
    let grantee = if grantee.is_empty() { PUBLIC } else { name(grantee)? };
    let mut item = AclItem { grantee, grantor: name(grantor)?, rights: Rights::NONE, grantable: Rights::NONE };
    let mut last = Rights::NONE;
    for letter in letters.chars() {
        if letter == '*' {
            item.grantable = item.grantable.with(last);
        } else {
            last = Rights::of_letter(letter)?;
            item.rights = item.rights.with(last);
        }
    }
    Some(item)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OWNER: Oid = Oid(1);

    fn step(grant: bool, grantee: u32, grantor: u32, option: bool, cascade: bool) -> Change {
        let grantable = if option { Rights::SELECT } else { Rights::NONE };
        let rights = Rights::SELECT;
        let grantable = if grant { grantable } else { Rights::SELECT };
        Change { grant, grantee: Oid(grantee), grantor: Oid(grantor), rights, grantable, cascade }
    }

    #[test]
    fn options_hold_what_was_granted_by_them() {
        let mut acl = default_acl(ObjectKind::Relation, OWNER);
        update(&mut acl, step(true, 2, 1, true, false), OWNER).unwrap();
        update(&mut acl, step(true, 3, 2, true, false), OWNER).unwrap();
        let back = update(&mut acl.clone(), step(true, 2, 3, true, false), OWNER).unwrap_err();
        assert_eq!(back.state(), SqlState::InvalidGrantOperation);
        let held = update(&mut acl.clone(), step(false, 2, 1, true, false), OWNER).unwrap_err();
        assert_eq!(held.state(), SqlState::DependentObjectsStillExist);
        update(&mut acl, step(false, 2, 1, true, true), OWNER).unwrap();
        assert_eq!(acl, default_acl(ObjectKind::Relation, OWNER));
    }
}
