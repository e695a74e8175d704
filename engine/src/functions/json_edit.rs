//! Changing jsonb at a path: `jsonb_set`, `jsonb_insert`, `#-` and their kin (jsonfuncs.c's setPath).

use super::args;
use super::registry::Implementations;
use super::strings::invalid_parameter;
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;
use crate::types::json::{self, Json};

/// What happens where the path ends.
enum Change {
    Set { value: Json, create: bool },
    Insert { value: Json, after: bool },
    Delete,
}

impl Change {
    /// The value for a place that is not there yet.
    fn created(&self) -> Option<Json> {
        match self {
            Change::Set { value, create: true } | Change::Insert { value, .. } => Some(value.clone()),
            _ => None,
        }
    }
}

fn edit(document: Json, steps: &[Datum], level: usize, change: &Change) -> Result<Json> {
    let last = level + 1 == steps.len();
    let step = match steps.get(level) {
        None => return Ok(document),
        Some(Datum::Text(step)) => step,
        Some(_) => {
            return Err(Error::new(
                SqlState::NullValueNotAllowed,
                format!("path element at position {} is null", level + 1),
            ));
        }
    };
    match document {
        Json::Object(members) => edit_object(members, step, last, steps, level, change),
        Json::Array(items) => {
            let index: i32 = step.trim_start().parse().map_err(|_| {
                Error::new(
                    SqlState::InvalidTextRepresentation,
                    format!("path element at position {} is not an integer: \"{step}\"", level + 1),
                )
            })?;
            edit_array(items, i64::from(index), last, steps, level, change)
        }
        scalar => Ok(scalar),
    }
}

fn edit_object(
    mut members: Vec<(String, Json)>,
    key: &str,
    last: bool,
    steps: &[Datum],
    level: usize,
    change: &Change,
) -> Result<Json> {
    let Some(at) = members.iter().rposition(|(name, _)| name == key) else {
        if let (true, Some(value)) = (last, change.created()) {
            members.push((key.to_string(), value));
        }
        return Ok(Json::Object(members));
    };
    let (name, old) = members.remove(at);
    match change {
        _ if !last => members.insert(at, (name, edit(old, steps, level + 1, change)?)),
        Change::Insert { .. } => {
            return Err(invalid_parameter("cannot replace existing key")
                .hint("Try using the function jsonb_set to replace key value."));
        }
        Change::Set { value, .. } => members.insert(at, (name, value.clone())),
        Change::Delete => {}
    }
    Ok(Json::Object(members))
}

fn edit_array(
    mut items: Vec<Json>,
    index: i64,
    last: bool,
    steps: &[Datum],
    level: usize,
    change: &Change,
) -> Result<Json> {
    let count = items.len() as i64;
    let at = if index < 0 { count + index } else { index };
    if !(0..count).contains(&at) {
        // Before the first element and behind the last one a new value is added.
        if let (true, Some(value)) = (last, change.created()) {
            items.insert(if at < 0 { 0 } else { items.len() }, value);
        }
        return Ok(Json::Array(items));
    }
    let at = at as usize;
    match change {
        _ if !last => {
            let old = items.remove(at);
            items.insert(at, edit(old, steps, level + 1, change)?);
        }
        Change::Insert { value, after } => items.insert(at + usize::from(*after), value.clone()),
        Change::Set { value, .. } => {
            items.remove(at);
            items.insert(at, value.clone());
        }
        Change::Delete => drop(items.remove(at)),
    }
    Ok(Json::Array(items))
}

/// Changes the first argument at the path in the second one.
fn change(args: &[Datum], change: Change) -> Result<Datum> {
    let document = json::parse(args::text(args.first())?)?;
    let steps = args::array(args.get(1))?;
    if !matches!(document, Json::Object(_) | Json::Array(_)) {
        let verb = if matches!(change, Change::Delete) { "delete" } else { "set" };
        return Err(invalid_parameter(format!("cannot {verb} path in scalar")));
    }
    let empty = match &document {
        Json::Object(members) => members.is_empty(),
        Json::Array(items) => items.is_empty(),
        _ => false,
    };
    // Nothing is there that could change.
    if empty && matches!(change, Change::Delete | Change::Set { create: false, .. }) {
        return printed(document);
    }
    printed(edit(document, steps, 0, &change)?)
}

fn printed(value: Json) -> Result<Datum> {
    let mut out = Vec::new();
    value.sorted().write_spaced(&mut out);
    String::from_utf8(out).map(Datum::from).map_err(|e| Error::internal(e.to_string()))
}

fn set(args: &[Datum]) -> Result<Datum> {
    let value = json::parse(args::text(args.get(2))?)?;
    change(args, Change::Set { value, create: args::boolean(args.get(3))? })
}

/// `jsonb_set_lax`: the last argument says what a NULL does.
fn set_lax(args: &[Datum]) -> Result<Datum> {
    let [target, path, value, create, treatment] = args else {
        return Err(Error::internal("jsonb_set_lax wants five arguments"));
    };
    if [target, path, create].iter().any(|arg| arg.is_null()) {
        return Ok(Datum::Null);
    }
    let Datum::Text(treatment) = treatment else {
        return Err(unknown_treatment());
    };
    if !value.is_null() {
        return set(args);
    }
    match treatment.as_ref() {
        "raise_exception" => Err(Error::new(SqlState::NullValueNotAllowed, "JSON value must not be null")
            .detail("Exception was raised because null_value_treatment is \"raise_exception\".")
            .hint(
                "To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is not passed.",
            )),
        "use_json_null" => change(args, Change::Set { value: Json::Null, create: args::boolean(Some(create))? }),
        "delete_key" => change(args, Change::Delete),
        "return_target" => Ok(target.clone()),
        _ => Err(unknown_treatment()),
    }
}

fn unknown_treatment() -> Error {
    invalid_parameter(
        "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"",
    )
}

fn delete_keys(args: &[Datum]) -> Result<Datum> {
    let document = json::parse(args::text(args.first())?)?;
    let keys = args::array(args.get(1))?;
    let listed = |name: &str| keys.iter().any(|key| matches!(key, Datum::Text(key) if key.as_ref() == name));
    printed(match document {
        Json::Object(members) => Json::Object(members.into_iter().filter(|(name, _)| !listed(name)).collect()),
        Json::Array(items) => {
            Json::Array(items.into_iter().filter(|i| !matches!(i, Json::String(s) if listed(s))).collect())
        }
        _ => return Err(invalid_parameter("cannot delete from scalar")),
    })
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("jsonb_set", |_, args| set(args)),
        ("jsonb_set_lax", |_, args| set_lax(args)),
        ("jsonb_insert", |_, args| {
            let value = json::parse(args::text(args.get(2))?)?;
            change(args, Change::Insert { value, after: args::boolean(args.get(3))? })
        }),
        ("jsonb_delete_path", |_, args| change(args, Change::Delete)),
        ("jsonb_delete_array", |_, args| delete_keys(args)),
    ]);
}
