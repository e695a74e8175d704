//! Syntax of the options of sequences.

use sqlparser::ast::ObjectName;

use super::SyntaxError;
use super::cursor::Cursor;

/// Options of a sequence that were written; the others keep their value.
#[derive(Debug, Clone, Default)]
pub struct SequenceOptions {
    /// SEQUENCE NAME, of an identity column's.
    pub name: Option<ObjectName>,
    /// Name of the type.
    pub ty: Option<String>,
    pub increment: Option<i64>,
    /// `Some(None)`: NO MINVALUE.
    pub min: Option<Option<i64>>,
    pub max: Option<Option<i64>>,
    pub start: Option<i64>,
    /// `Some(None)`: RESTART without a value.
    pub restart: Option<Option<i64>>,
    pub cache: Option<i64>,
    pub cycle: Option<bool>,
    /// `Some(None)`: OWNED BY NONE.
    pub owned_by: Option<Option<ObjectName>>,
}

pub(super) fn options(c: &mut Cursor<'_>) -> Result<SequenceOptions, SyntaxError> {
    let mut o = SequenceOptions::default();
    while c.at < c.tokens.len() {
        let start = c.at;
        match c.next_word().as_deref() {
            Some("as") => o.ty = Some(c.object_name()?.to_string().to_lowercase()),
            Some("increment") => {
                c.accept("by");
                o.increment = Some(c.integer()?);
            }
            Some("minvalue") => o.min = Some(Some(c.integer()?)),
            Some("maxvalue") => o.max = Some(Some(c.integer()?)),
            Some("start") => {
                c.accept("with");
                o.start = Some(c.integer()?);
            }
            Some("restart") => {
                let with = c.accept("with");
                let value = if with || c.is_number() { Some(c.integer()?) } else { None };
                o.restart = Some(value);
            }
            Some("cache") => o.cache = Some(c.integer()?),
            Some("cycle") => o.cycle = Some(true),
            Some("sequence") if c.accept("name") => o.name = Some(c.object_name()?),
            Some("no") => match c.next_word().as_deref() {
                Some("minvalue") => o.min = Some(None),
                Some("maxvalue") => o.max = Some(None),
                Some("cycle") => o.cycle = Some(false),
                _ => return Err(c.at.saturating_sub(1)),
            },
            Some("owned") => {
                c.expect("by")?;
                o.owned_by = Some(if c.accept("none") { None } else { Some(c.object_name()?) });
            }
            _ => return Err(start),
        }
    }
    Ok(o)
}
