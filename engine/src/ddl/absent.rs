//! DROP of kinds of objects that cannot be made here: there is none of them, and that is what PostgreSQL says then.

use sqlparser::ast::{Ident, ObjectName};

use super::DdlContext;
use super::names::{self, Name};
use super::syntax::{Cursor, Extra, SyntaxError};
use crate::error::{Error, Result, SqlState};
use crate::txn::Transaction;

#[derive(Debug, Clone)]
pub struct DropAbsent {
    /// As messages have it.
    kind: &'static str,
    tag: &'static str,
    names: Vec<ObjectName>,
    if_exists: bool,
    /// ON of rules, triggers and policies.
    on: Option<ObjectName>,
    /// USING of operator classes and families.
    method: Option<Ident>,
}

/// Words behind DROP, the kind in messages, the command's tag.
const KINDS: &[(&[&str], &str, &str)] = &[
    (&["rule"], "rule", "DROP RULE"),
    (&["trigger"], "trigger", "DROP TRIGGER"),
    (&["policy"], "policy", "DROP POLICY"),
    (&["publication"], "publication", "DROP PUBLICATION"),
    (&["subscription"], "subscription", "DROP SUBSCRIPTION"),
    (&["event", "trigger"], "event trigger", "DROP EVENT TRIGGER"),
    (&["server"], "server", "DROP SERVER"),
    (&["foreign", "data", "wrapper"], "foreign-data wrapper", "DROP FOREIGN DATA WRAPPER"),
    (&["foreign", "table"], "foreign table", "DROP FOREIGN TABLE"),
    (&["text", "search", "parser"], "text search parser", "DROP TEXT SEARCH PARSER"),
    (&["text", "search", "dictionary"], "text search dictionary", "DROP TEXT SEARCH DICTIONARY"),
    (&["text", "search", "template"], "text search template", "DROP TEXT SEARCH TEMPLATE"),
    (&["text", "search", "configuration"], "text search configuration", "DROP TEXT SEARCH CONFIGURATION"),
    (&["conversion"], "conversion", "DROP CONVERSION"),
    (&["language"], "language", "DROP LANGUAGE"),
    (&["procedural", "language"], "language", "DROP LANGUAGE"),
    (&["operator", "class"], "operator class", "DROP OPERATOR CLASS"),
    (&["operator", "family"], "operator family", "DROP OPERATOR FAMILY"),
];

/// Names of these kinds that PostgreSQL comes with: to drop one is refused elsewhere.
fn comes_with_it(kind: &str, name: &str) -> bool {
    match kind {
        "language" => matches!(name, "sql" | "c" | "internal" | "plpgsql"),
        "operator class" | "operator family" => name.ends_with("_ops"),
        "conversion" => name.contains("_to_"),
        "text search parser" => name == "default",
        "text search template" => matches!(name, "simple" | "synonym" | "ispell" | "thesaurus" | "snowball"),
        "text search dictionary" => name == "simple" || name.ends_with("_stem"),
        "text search configuration" => name == "simple" || name.ends_with("ish"),
        _ => false,
    }
}

/// Behind DROP. The cursor stays where it was when it is something else.
pub fn parse(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    let start = c.at;
    let matches = |words: &[&str]| words.iter().enumerate().all(|(i, word)| c.nth_is(i, word));
    let Some((words, kind, tag)) = KINDS.iter().find(|(words, ..)| matches(words)) else { return Ok(None) };
    c.at += words.len();
    let if_exists = c.if_exists()?;
    let names = c.list(Cursor::object_name)?;
    let related = matches!(*kind, "rule" | "trigger" | "policy");
    let on = match related {
        true => {
            c.expect("on")?;
            Some(c.object_name()?)
        }
        false => None,
    };
    let method = match kind.starts_with("operator") {
        true => {
            c.expect("using")?;
            Some(c.identifier()?)
        }
        false => None,
    };
    c.cascade();
    let built_in = names.iter().filter_map(|n| n.0.last()?.as_ident()).any(|n| comes_with_it(kind, &names::ident(n)));
    if built_in {
        c.at = start;
        return Ok(Some(Extra::Unsupported(tag)));
    }
    Ok(Some(Extra::DropAbsent(Box::new(DropAbsent { kind, tag, names, if_exists, on, method }))))
}

pub fn drop(absent: &DropAbsent, tx: &Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let catalog = tx.catalog();
    let path = context.path(&catalog);
    if let Some(method) = &absent.method {
        let method = names::ident(method);
        if !matches!(method.as_str(), "btree" | "hash" | "gist" | "gin" | "spgist" | "brin") {
            let message = format!("access method \"{method}\" does not exist");
            return Err(Error::new(SqlState::UndefinedObject, message));
        }
    }
    // What is said of each name, and whether something behind it is missing already.
    for name in &absent.names {
        let on = absent.on.as_ref().map(|on| Name::new(on, &catalog)).transpose()?;
        let written = Name::new(name, &catalog)?;
        let schema = on.as_ref().and_then(|on| on.schema.as_ref()).or(written.schema.as_ref());
        let missing_schema = schema.filter(|s| catalog.schema(s).is_none());
        let (state, message) = match (&on, missing_schema) {
            (_, Some(schema)) => (SqlState::InvalidSchemaName, format!("schema \"{schema}\" does not exist")),
            (Some(on), None) if on.find(&catalog, &path).is_none() => {
                (SqlState::UndefinedTable, format!("relation \"{on}\" does not exist"))
            }
            (Some(on), None) => {
                let what = if absent.kind == "rule" { "relation" } else { "table" };
                let message = format!("{} \"{written}\" for {what} \"{}\" does not exist", absent.kind, on.name);
                (SqlState::UndefinedObject, message)
            }
            (None, None) => {
                let mut message = format!("{} \"{written}\" does not exist", absent.kind);
                if let Some(method) = &absent.method {
                    message.push_str(&format!(" for access method \"{}\"", names::ident(method)));
                }
                (SqlState::UndefinedObject, message)
            }
        };
        if absent.kind == "foreign table" && written.find(&catalog, &path).is_some() {
            let message = format!("\"{}\" is not a foreign table", written.name);
            return Err(Error::new(SqlState::WrongObjectType, message));
        }
        if !absent.if_exists {
            return Err(Error::new(state, message));
        }
        context.notice(SqlState::SuccessfulCompletion, format!("{message}, skipping"));
    }
    Ok(absent.tag.to_owned())
}
