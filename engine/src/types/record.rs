//! Rows as values: how they lie in memory, PostgreSQL's `record_in` and `record_out`, and their order.
//!
//! A row is bytes that describe themselves: type, then of each field its type, perhaps its name, and its value. So a row of a
//! query, which has no type in any catalog, can be shown, compared and taken apart like one of a table.
//!
//! | bytes | meaning |
//! |---|---|
//! | 4 | type: RECORD or a composite type |
//! | 4 | number of fields; the highest bit: with names |
//! | per field: 4, 4 | type, modifier |
//! | (4, n) | name |
//! | 4, n | value, as the log writes it |
//!
//! Invariant: rows of one type have their fields in the type's order; a row that was stored before the type got another field is
//! shorter.

use std::cmp::Ordering;
use std::sync::Arc;

use super::text::{self, FormatSettings};
use super::user::UserKind;
use super::{Datum, PgType, TypeOid, codec, compare};
use crate::error::{Error, Result, SqlState};

const NAMED: u32 = 1 << 31;

/// A field of a row.
#[derive(Debug, Clone)]
pub struct Field {
    /// Empty in a row of a named type.
    pub name: String,
    pub ty: PgType,
    pub value: Datum,
}

/// A row taken apart.
#[derive(Debug, Clone)]
pub struct RowValue {
    pub ty: TypeOid,
    pub fields: Vec<Field>,
}

impl TypeOid {
    /// Whether values of the type are rows.
    pub fn is_row(self) -> bool {
        self == TypeOid::RECORD || self.user_scalar() == Some(UserKind::Composite)
    }
}

fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// A row of these values.
pub fn encode(ty: TypeOid, names: Option<&[String]>, values: &[(Datum, PgType)]) -> Datum {
    let mut out = Vec::with_capacity(8 + values.len() * 20);
    out.extend_from_slice(&ty.0.to_le_bytes());
    let flag = if names.is_some() { NAMED } else { 0 };
    out.extend_from_slice(&(values.len() as u32 | flag).to_le_bytes());
    let mut body = Vec::new();
    for (i, (value, ty)) in values.iter().enumerate() {
        out.extend_from_slice(&ty.oid.0.to_le_bytes());
        out.extend_from_slice(&ty.typmod.to_le_bytes());
        if let Some(names) = names {
            push_bytes(names.get(i).map_or(&[][..], |n| n.as_bytes()), &mut out);
        }
        body.clear();
        codec::put(&mut body, value);
        push_bytes(&body, &mut out);
    }
    Datum::Bytea(Arc::from(out))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n).ok_or_else(|| Error::internal("a row is cut off"))?;
        self.0 = rest;
        Ok(head)
    }

    fn u32(&mut self) -> Result<u32> {
        let bytes = self.take(4)?.try_into().map_err(|_| Error::internal("a row is cut off"))?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let n = self.u32()? as usize;
        self.take(n)
    }
}

/// Takes a row apart.
pub fn decode(row: &[u8]) -> Result<RowValue> {
    let mut reader = Reader(row);
    let ty = TypeOid(reader.u32()?);
    let count = reader.u32()?;
    let mut fields = Vec::new();
    for _ in 0..count & !NAMED {
        let oid = TypeOid(reader.u32()?);
        let typmod = reader.u32()? as i32;
        let name =
            if count & NAMED != 0 { String::from_utf8_lossy(reader.bytes()?).into_owned() } else { String::new() };
        let value = codec::read(&mut reader.bytes()?).ok_or_else(|| Error::internal("a row is cut off"))?;
        fields.push(Field { name, ty: PgType::new(oid, typmod), value });
    }
    Ok(RowValue { ty, fields })
}

/// `(1,"a b",)`: NULL is nothing at all, the empty string is `""`.
pub fn write(row: &[u8], format: &FormatSettings) -> String {
    let mut out = String::from("(");
    let row = decode(row).unwrap_or(RowValue { ty: TypeOid::RECORD, fields: Vec::new() });
    for (i, field) in row.fields.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        if !field.value.is_null() {
            quote(&text::to_string(&field.value, field.ty, format), &mut out);
        }
    }
    // What the type got since the row was stored is NULL.
    for i in row.fields.len()..format.types.attribute_count(row.ty) {
        out.push_str(if i > 0 { "," } else { "" });
    }
    out.push(')');
    out
}

fn quote(field: &str, out: &mut String) {
    let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',') || c.is_ascii_whitespace() || c == '\x0b';
    if !field.is_empty() && !field.contains(special) {
        out.push_str(field);
        return;
    }
    out.push('"');
    for c in field.chars() {
        if matches!(c, '"' | '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('"');
}

fn malformed(text: &str, detail: &str) -> Error {
    Error::new(SqlState::InvalidTextRepresentation, format!("malformed record literal: \"{text}\"")).detail(detail)
}

/// Reads a row of a composite type (22P02).
pub fn parse(text: &str, ty: TypeOid, format: &FormatSettings) -> Result<Datum> {
    if ty == TypeOid::RECORD {
        return Err(Error::new(SqlState::FeatureNotSupported, "input of anonymous composite types is not implemented"));
    }
    let types = format.types.attributes(ty)?;
    let blank = |c: char| c.is_ascii_whitespace() || c == '\x0b';
    let body = text.trim_start_matches(blank);
    let mut rest =
        body.strip_prefix('(').ok_or_else(|| malformed(text, "Missing left parenthesis."))?.chars().peekable();
    let mut values = Vec::with_capacity(types.len());
    for (i, (_, ty)) in types.iter().enumerate() {
        if i > 0 && rest.next_if_eq(&',').is_none() {
            return Err(malformed(text, "Too few columns."));
        }
        values.push((field(&mut rest, text)?.map_or(Ok(Datum::Null), |f| text::parse(&f, *ty, format))?, *ty));
    }
    match rest.next() {
        Some(')') => {}
        _ => return Err(malformed(text, "Too many columns.")),
    }
    if rest.any(|c| !blank(c)) {
        return Err(malformed(text, "Junk after right parenthesis."));
    }
    Ok(encode(ty, None, &values))
}

/// One field's text; `None`: nothing is written, which is NULL.
fn field(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, text: &str) -> Result<Option<String>> {
    let ended = || malformed(text, "Unexpected end of input.");
    if matches!(rest.peek(), Some(',' | ')')) {
        return Ok(None);
    }
    let mut out = String::new();
    let mut quoted = false;
    while quoted || !matches!(rest.peek(), Some(',' | ')')) {
        match rest.next().ok_or_else(ended)? {
            '\\' => out.push(rest.next().ok_or_else(ended)?),
            '"' if !quoted => quoted = true,
            '"' if rest.next_if_eq(&'"').is_some() => out.push('"'),
            '"' => quoted = false,
            c => out.push(c),
        }
    }
    Ok(Some(out))
}

/// `record_cmp` of rows whose fields have the same types: the first difference decides, NULL being greatest.
pub fn order(a: &[u8], b: &[u8]) -> Ordering {
    let (Ok(a_row), Ok(b_row)) = (decode(a), decode(b)) else { return a.cmp(b) };
    let pairs = a_row.fields.iter().zip(&b_row.fields);
    let difference = pairs.map(|(a, b)| compare::compare(&a.value, &b.value, a.ty)).find(|o| o.is_ne());
    difference.unwrap_or_else(|| a_row.fields.len().cmp(&b_row.fields.len()))
}

/// Bytes that sort like rows of one type.
pub fn push_key(row: &[u8], out: &mut Vec<u8>) {
    for field in decode(row).map(|r| r.fields).unwrap_or_default() {
        compare::encode_key(&field.value, field.ty, out);
    }
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_as_record_out_does_it() {
        let shown = |values: &[(Datum, PgType)]| match encode(TypeOid::RECORD, None, values) {
            Datum::Bytea(row) => write(&row, &FormatSettings::default()),
            _ => String::new(),
        };
        let text = |s: &str| (Datum::from(s), TypeOid::TEXT.into());
        let row = [
            (Datum::Int4(1), TypeOid::INT4.into()),
            text("a b"),
            text(""),
            (Datum::Null, TypeOid::TEXT.into()),
            text("x\"y\\z"),
            text("(,)"),
            text("plain"),
        ];
        assert_eq!(shown(&row), r#"(1,"a b","",,"x""y\\z","(,)",plain)"#);
        assert_eq!(shown(&[]), "()");
    }
}
