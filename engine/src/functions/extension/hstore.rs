//! hstore (contrib/hstore): keys with texts or NULLs. A value is its canonical text: keys by length and then by bytes, each once.

use std::collections::BTreeMap;

use crate::error::{Error, Result, SqlState};
use crate::functions::args::{self, row};
use crate::functions::registry::Implementations;
use crate::functions::{Call, Rows};
use crate::types::json;
use crate::types::{Datum, PgType, record, text};

/// Sorted as hstore sorts its keys.
type Key = (usize, String);
pub type Pairs = BTreeMap<Key, Option<String>>;

fn key(text: impl Into<String>) -> Key {
    let text = text.into();
    (text.len(), text)
}

fn syntax(near: &str, at: usize) -> Error {
    match near.chars().next() {
        None => Error::new(SqlState::SyntaxError, "syntax error in hstore: unexpected end of string"),
        Some(c) => Error::new(SqlState::SyntaxError, format!("syntax error in hstore, near \"{c}\" at position {at}")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn error(&self) -> Error {
        syntax(self.rest(), self.at)
    }

    fn expect(&mut self, what: &str) -> Result<()> {
        self.blanks();
        if !self.rest().starts_with(what) {
            return Err(self.error());
        }
        self.at += what.len();
        Ok(())
    }

    /// A key or a value, and whether it was quoted.
    fn word(&mut self, key: bool) -> Result<(String, bool)> {
        self.blanks();
        let mut out = String::new();
        let quoted = self.rest().starts_with('"');
        self.at += usize::from(quoted);
        loop {
            let Some(c) = self.rest().chars().next() else {
                if quoted || out.is_empty() {
                    return Err(self.error());
                }
                break;
            };
            match c {
                '"' if quoted => {
                    self.at += 1;
                    break;
                }
                '\\' => {
                    self.at += 1;
                    let escaped = self.rest().chars().next().ok_or_else(|| self.error())?;
                    out.push(escaped);
                    self.at += escaped.len_utf8();
                    continue;
                }
                '=' if !quoted && key && self.rest().starts_with("=>") => break,
                ',' if !quoted && !key => break,
                c if !quoted && c.is_whitespace() => break,
                c => out.push(c),
            }
            self.at += c.len_utf8();
        }
        if out.is_empty() && !quoted {
            return Err(self.error());
        }
        Ok((out, quoted))
    }
}

/// `hstore_in`; of a key that is there twice the first counts.
pub fn parse(text: &str) -> Result<Pairs> {
    let mut parser = Parser { text, at: 0 };
    let mut pairs = Pairs::new();
    parser.blanks();
    while !parser.rest().is_empty() {
        let (name, _) = parser.word(true)?;
        parser.expect("=>")?;
        let (value, quoted) = parser.word(false)?;
        let value = if !quoted && value.eq_ignore_ascii_case("null") { None } else { Some(value) };
        pairs.entry(key(name)).or_insert(value);
        parser.blanks();
        if parser.rest().is_empty() {
            break;
        }
        parser.expect(",")?;
        parser.blanks();
        if parser.rest().is_empty() {
            break;
        }
    }
    Ok(pairs)
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// `hstore_out`.
pub fn write(pairs: &Pairs) -> Datum {
    let mut out = String::new();
    for ((_, name), value) in pairs {
        out.push_str(if out.is_empty() { "" } else { ", " });
        quote(name, &mut out);
        out.push_str("=>");
        match value {
            Some(value) => quote(value, &mut out),
            None => out.push_str("NULL"),
        }
    }
    Datum::from(out)
}

fn hstore(arg: Option<&Datum>) -> Result<Pairs> {
    parse(args::text(arg)?)
}

fn texts(arg: Option<&Datum>) -> Result<Vec<Option<String>>> {
    let text = |d: &Datum| match d {
        Datum::Text(text) => Some(text.to_string()),
        _ => None,
    };
    Ok(args::array(arg)?.iter().map(text).collect())
}

fn array(items: impl Iterator<Item = Option<String>>) -> Datum {
    Datum::from(items.map(|t| t.map_or(Datum::Null, Datum::from)).collect::<Vec<_>>())
}

fn null_key() -> Error {
    Error::new(SqlState::NullValueNotAllowed, "null value not allowed for hstore key")
}

fn from_array(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let items = texts(args.first())?;
    if items.len() % 2 == 1 {
        return Err(Error::new(SqlState::ArraySubscriptError, "array must have even number of elements"));
    }
    let mut pairs = Pairs::new();
    let mut items = items.into_iter();
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        pairs.entry(key(name.ok_or_else(null_key)?)).or_insert(value);
    }
    Ok(write(&pairs))
}

fn from_arrays(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    if matches!(args.first(), None | Some(Datum::Null)) {
        return Ok(Datum::Null);
    }
    let names = texts(args.first())?;
    let values = match args.get(1) {
        None | Some(Datum::Null) => vec![None; names.len()],
        values => texts(values)?,
    };
    if names.len() != values.len() {
        return Err(Error::new(SqlState::ArraySubscriptError, "arrays must have same bounds"));
    }
    let mut pairs = Pairs::new();
    for (name, value) in names.into_iter().zip(values) {
        pairs.entry(key(name.ok_or_else(null_key)?)).or_insert(value);
    }
    Ok(write(&pairs))
}

fn from_text(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(Datum::Text(name)) = args.first() else { return Ok(Datum::Null) };
    let value = match args.get(1) {
        Some(Datum::Text(value)) => Some(value.to_string()),
        _ => None,
    };
    Ok(write(&Pairs::from([(key(&**name), value)])))
}

fn from_record(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(Datum::Bytea(row)) = args.first() else { return Ok(Datum::Null) };
    let row = record::decode(row)?;
    let names = call.context.format.types.attributes(row.ty).unwrap_or_default();
    let mut pairs = Pairs::new();
    for (i, field) in row.fields.iter().enumerate() {
        let named = names.get(i).map(|(name, _)| name.clone()).filter(|_| field.name.is_empty());
        let numbered = || if field.name.is_empty() { format!("f{}", i + 1) } else { field.name.clone() };
        let value = (!field.value.is_null()).then(|| text::to_string(&field.value, field.ty, &call.context.format));
        pairs.insert(key(named.unwrap_or_else(numbered)), value);
    }
    Ok(write(&pairs))
}

fn contains(whole: &Pairs, part: &Pairs) -> bool {
    part.iter().all(|(name, value)| whole.get(name) == Some(value))
}

fn slice(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let pairs = hstore(args.first())?;
    let names = texts(args.get(1))?.into_iter().flatten().map(key);
    Ok(write(&names.filter_map(|name| Some((name.clone(), pairs.get(&name)?.clone()))).collect()))
}

fn exists(args: &[Datum], all: bool) -> Result<Datum> {
    let pairs = hstore(args.first())?;
    let mut names = texts(args.get(1))?.into_iter().flatten().map(key);
    Ok(Datum::Bool(if all { names.all(|n| pairs.contains_key(&n)) } else { names.any(|n| pairs.contains_key(&n)) }))
}

/// As json; loosely: numbers and booleans stand bare.
fn to_json(args: &[Datum], loose: bool, binary: bool) -> Result<Datum> {
    let mut out = vec![b'{'];
    for ((_, name), value) in &hstore(args.first())? {
        if out.len() > 1 {
            out.extend_from_slice(b", ");
        }
        json::write_string(name, &mut out);
        out.extend_from_slice(b": ");
        match value {
            None => out.extend_from_slice(b"null"),
            Some(value) if loose && matches!(value.as_str(), "t" | "f") => {
                out.extend_from_slice(if value == "t" { b"true" } else { b"false" });
            }
            Some(value) if loose && is_number(value) => out.extend_from_slice(value.as_bytes()),
            Some(value) => json::write_string(value, &mut out),
        }
    }
    out.push(b'}');
    let text = String::from_utf8(out).map_err(|e| Error::internal(e.to_string()))?;
    Ok(Datum::from(if binary { json::normalize(&text)? } else { text }))
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    digits.starts_with(|c: char| c.is_ascii_digit()) && !leading_zero && json::validate(text).is_ok()
}

fn each(pairs: Pairs) -> Rows {
    let row =
        |((_, name), value): (Key, Option<String>)| Ok(vec![Datum::from(name), value.map_or(Datum::Null, Datum::from)]);
    Box::new(pairs.into_iter().map(row))
}

/// The row with the fields that an hstore names read from it.
fn populate(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let ty = call.types.first().map_or(call.ret.oid, |t| t.oid);
    let attributes = call.context.format.types.attributes(ty)?;
    let old = match args.first() {
        Some(Datum::Bytea(row)) => record::decode(row)?.fields,
        _ => Vec::new(),
    };
    let pairs = match args.get(1) {
        Some(Datum::Text(_)) => hstore(args.get(1))?,
        _ => return Ok(args.first().cloned().unwrap_or(Datum::Null)),
    };
    let mut values: Vec<(Datum, PgType)> = Vec::with_capacity(attributes.len());
    for (i, (name, ty)) in attributes.into_iter().enumerate() {
        let value = match pairs.get(&key(name)) {
            Some(Some(value)) => text::parse(value, ty, &call.context.format)?,
            Some(None) => Datum::Null,
            None => old.get(i).map_or(Datum::Null, |f| f.value.clone()),
        };
        values.push((value, ty));
    }
    Ok(record::encode(ty, None, &values))
}

pub fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("hstore_in", row!(|t: text| Ok(write(&parse(t)?)))),
        ("hstore_out", row!(|t: text| Ok(Datum::from(t)))),
        (
            "hstore_fetchval",
            row!(|h: text, name: text| { Ok(parse(h)?.remove(&key(name)).flatten().map_or(Datum::Null, Datum::from)) }),
        ),
        ("hstore_exists", row!(|h: text, name: text| Ok(Datum::Bool(parse(h)?.contains_key(&key(name)))))),
        (
            "hstore_defined",
            row!(|h: text, name: text| Ok(Datum::Bool(parse(h)?.remove(&key(name)).flatten().is_some()))),
        ),
        ("hstore_exists_any", |_, a| exists(a, false)),
        ("hstore_exists_all", |_, a| exists(a, true)),
        (
            "hstore_delete",
            row!(|h: text, name: text| {
                let mut pairs = parse(h)?;
                pairs.remove(&key(name));
                Ok(write(&pairs))
            }),
        ),
        ("hstore_delete_array", |_, a| {
            let mut pairs = hstore(a.first())?;
            texts(a.get(1))?.into_iter().flatten().for_each(|name| {
                pairs.remove(&key(name));
            });
            Ok(write(&pairs))
        }),
        (
            "hstore_delete_hstore",
            row!(|a: text, b: text| {
                let (mut pairs, other) = (parse(a)?, parse(b)?);
                pairs.retain(|name, value| other.get(name) != Some(&*value));
                Ok(write(&pairs))
            }),
        ),
        (
            "hstore_concat",
            row!(|a: text, b: text| {
                let mut pairs = parse(a)?;
                pairs.extend(parse(b)?);
                Ok(write(&pairs))
            }),
        ),
        ("hstore_contains", row!(|a: text, b: text| Ok(Datum::Bool(contains(&parse(a)?, &parse(b)?))))),
        ("hstore_contained", row!(|a: text, b: text| Ok(Datum::Bool(contains(&parse(b)?, &parse(a)?))))),
        ("hstore_slice_to_array", |_, a| {
            let pairs = hstore(a.first())?;
            let found = |name: Option<String>| pairs.get(&key(name?)).cloned().flatten();
            Ok(array(texts(a.get(1))?.into_iter().map(found)))
        }),
        ("hstore_slice_to_hstore", slice),
        ("hstore_from_text", from_text),
        ("hstore_from_array", from_array),
        ("hstore_from_arrays", from_arrays),
        ("hstore_from_record", from_record),
        ("hstore_populate_record", populate),
        ("hstore_to_json", |_, a| to_json(a, false, false)),
        ("hstore_to_json_loose", |_, a| to_json(a, true, false)),
        ("hstore_to_jsonb", |_, a| to_json(a, false, true)),
        ("hstore_to_jsonb_loose", |_, a| to_json(a, true, true)),
        (
            "hstore_to_array",
            row!(|h: text| { Ok(array(parse(h)?.into_iter().flat_map(|((_, name), value)| [Some(name), value]))) }),
        ),
        ("hstore_akeys", row!(|h: text| Ok(array(parse(h)?.into_keys().map(|(_, name)| Some(name)))))),
        ("hstore_avals", row!(|h: text| Ok(array(parse(h)?.into_values())))),
    ]);
    implementations.set("hstore_skeys", |_, a| {
        let one = |(_, name): Key| Ok(vec![Datum::from(name)]);
        Ok(Box::new(hstore(a.first())?.into_keys().map(one)))
    });
    implementations.set("hstore_svals", |_, a| {
        let one = |value: Option<String>| Ok(vec![value.map_or(Datum::Null, Datum::from)]);
        Ok(Box::new(hstore(a.first())?.into_values().map(one)))
    });
    implementations.set("hstore_each", |_, a| Ok(each(hstore(a.first())?)));
}
