//! Arrays as values, and their text form (`{1,2,NULL,"a b"}`, `[0:1][1:2]={{1,2},{3,4}}`) with that of int2vector and
//! oidvector (`1 2 3`).
//!
//! Invariants:
//! 1. The product of the dimensions' lengths is the number of elements; an empty array has no dimension.
//! 2. The last dimension runs fastest.

use std::ops::Deref;

use smallvec::SmallVec;

use super::text::{FormatSettings, parse, write};
use super::{Datum, PgType, TypeOid, names};
use crate::error::{Error, Result, SqlState};

/// Most dimensions of an array.
pub const DIMENSIONS_MAX: usize = 6;
/// Most elements of an array: PostgreSQL's MaxArraySize.
pub const ELEMENTS_MAX: i64 = 134_217_727;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dimension {
    pub lower: i32,
    pub length: i32,
}

impl Dimension {
    pub fn upper(self) -> i32 {
        self.lower.saturating_add(self.length - 1)
    }
}

/// The elements of an array with its shape.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ArrayValue {
    dims: SmallVec<[Dimension; 1]>,
    items: Vec<Datum>,
}

/// One dimension that begins at 1.
impl From<Vec<Datum>> for ArrayValue {
    fn from(items: Vec<Datum>) -> Self {
        ArrayValue::with_lower(items, 1)
    }
}

impl FromIterator<Datum> for ArrayValue {
    fn from_iter<T: IntoIterator<Item = Datum>>(items: T) -> Self {
        ArrayValue::from(items.into_iter().collect::<Vec<_>>())
    }
}

/// The elements.
impl Deref for ArrayValue {
    type Target = [Datum];

    fn deref(&self) -> &[Datum] {
        &self.items
    }
}

impl ArrayValue {
    /// One dimension.
    pub fn with_lower(items: Vec<Datum>, lower: i32) -> Self {
        let mut dims = SmallVec::new();
        if !items.is_empty() {
            dims.push(Dimension { lower, length: items.len() as i32 });
        }
        ArrayValue { dims, items }
    }

    /// `None` if shape and elements disagree.
    pub fn shaped(dims: impl IntoIterator<Item = Dimension>, items: Vec<Datum>) -> Option<Self> {
        let dims: SmallVec<[Dimension; 1]> = dims.into_iter().collect();
        if items.is_empty() {
            return dims
                .iter()
                .any(|d| d.length == 0)
                .then(ArrayValue::default)
                .or(dims.is_empty().then(ArrayValue::default));
        }
        let count = dims.iter().try_fold(1i64, |n, d| (d.length > 0).then(|| n.checked_mul(d.length.into()))?)?;
        let fits = !dims.is_empty() && dims.len() <= DIMENSIONS_MAX && usize::try_from(count) == Ok(items.len());
        fits.then_some(ArrayValue { dims, items })
    }

    /// The same shape over other elements, as many.
    pub fn map<E>(&self, each: impl FnMut(&Datum) -> std::result::Result<Datum, E>) -> std::result::Result<Self, E> {
        let items = self.items.iter().map(each).collect::<std::result::Result<Vec<_>, E>>()?;
        Ok(ArrayValue { dims: self.dims.clone(), items })
    }

    pub fn dims(&self) -> &[Dimension] {
        &self.dims
    }

    /// The dimensions under another lower bound of the first one.
    pub fn rebased(&self, lower: i32) -> Self {
        let mut copy = self.clone();
        if let Some(first) = copy.dims.first_mut() {
            first.lower = lower;
        }
        copy
    }

    pub fn into_items(self) -> Vec<Datum> {
        self.items
    }

    /// Where an element lies, if the subscripts are within the bounds and as many as there are dimensions.
    pub fn offset(&self, subscripts: &[i32]) -> Option<usize> {
        if subscripts.len() != self.dims.len() || self.dims.is_empty() {
            return None;
        }
        let mut at = 0usize;
        for (dimension, subscript) in self.dims.iter().zip(subscripts) {
            let step = i64::from(*subscript) - i64::from(dimension.lower);
            if !(0..i64::from(dimension.length)).contains(&step) {
                return None;
            }
            at = at * dimension.length as usize + step as usize;
        }
        Some(at)
    }

    /// What the lower bound of the first dimension is in an array of type `ty` (int2vector and oidvector begin at 0).
    pub fn first_lower(&self, ty: TypeOid) -> i32 {
        match ty {
            TypeOid::INT2VECTOR | TypeOid::OIDVECTOR => 0,
            _ => self.dims.first().map_or(1, |d| d.lower),
        }
    }
}

pub fn too_many_elements() -> Error {
    Error::new(SqlState::ProgramLimitExceeded, format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})"))
}

pub fn too_many_dimensions(count: usize) -> Error {
    Error::new(
        SqlState::ProgramLimitExceeded,
        format!("number of array dimensions ({count}) exceeds the maximum allowed ({DIMENSIONS_MAX})"),
    )
}

fn malformed(text: &str, detail: &str) -> Error {
    Error::new(SqlState::InvalidTextRepresentation, format!("malformed array literal: \"{text}\"")).detail(detail)
}

fn unexpected(text: &str, c: char) -> Error {
    malformed(text, &format!("Unexpected \"{c}\" character."))
}

/// Reads an array, dimensions written before it included.
pub fn parse_array(text: &str, element: PgType, format: &FormatSettings) -> Result<ArrayValue> {
    let mut rest = text.trim_start_matches(space);
    let mut written: SmallVec<[Dimension; 1]> = SmallVec::new();
    while let Some(after) = rest.strip_prefix('[') {
        if written.len() == DIMENSIONS_MAX {
            return Err(too_many_dimensions(DIMENSIONS_MAX + 1));
        }
        let (dimension, after) = parse_bounds(text, after)?;
        written.push(dimension);
        rest = after.trim_start_matches(space);
    }
    if written.is_empty() {
        if !rest.starts_with('{') {
            return Err(malformed(text, "Array value must start with \"{\" or dimension information."));
        }
    } else {
        rest = rest.strip_prefix('=').ok_or_else(|| malformed(text, "Missing \"=\" after array dimensions."))?;
        rest = rest.trim_start_matches(space);
        if !rest.starts_with('{') {
            return Err(malformed(text, "Array contents must start with \"{\"."));
        }
    }
    let mut braces = Braces { text, element, format, items: Vec::new(), lengths: Vec::new(), counts: Vec::new() };
    braces.read(rest)?;
    let lengths = braces.lengths.iter().map(|l| l.unwrap_or(0));
    if written.is_empty() {
        let dims: Vec<Dimension> = lengths.map(|length| Dimension { lower: 1, length }).collect();
        return ArrayValue::shaped(dims, braces.items).ok_or_else(|| unmatched(text));
    }
    if !lengths.eq(written.iter().map(|d| d.length)) {
        return Err(malformed(text, "Specified array dimensions do not match array contents."));
    }
    ArrayValue::shaped(written, braces.items).ok_or_else(|| unmatched(text))
}

fn unmatched(text: &str) -> Error {
    malformed(text, "Multidimensional arrays must have sub-arrays with matching dimensions.")
}

fn space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// `1:3]` or `3]`, and what follows it.
fn parse_bounds<'a>(text: &str, after: &'a str) -> Result<(Dimension, &'a str)> {
    let number = |s: &'a str| {
        let end = s.find(|c: char| !c.is_ascii_digit() && c != '-' && c != '+').unwrap_or(s.len());
        s.split_at(end)
    };
    // C's atoi: what is no number is zero.
    let value = |s: &str| s.parse::<i64>().unwrap_or(0).clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    let (first, rest) = number(after);
    if first.is_empty() {
        return Err(malformed(text, "\"[\" must introduce explicitly-specified array dimensions."));
    }
    let (lower, upper, rest) = match rest.strip_prefix(':') {
        Some(rest) => {
            let (second, rest) = number(rest);
            if second.is_empty() {
                return Err(malformed(text, "Missing array dimension value."));
            }
            (value(first), value(second), rest)
        }
        None => (1, value(first), rest),
    };
    let rest = rest.strip_prefix(']').ok_or_else(|| malformed(text, "Missing \"]\" after array dimensions."))?;
    if upper < lower {
        return Err(Error::new(SqlState::ArraySubscriptError, "upper bound cannot be less than lower bound"));
    }
    let length = i64::from(upper) - i64::from(lower) + 1;
    let length = i32::try_from(length).ok().filter(|l| i64::from(*l) <= ELEMENTS_MAX).ok_or_else(too_many_elements)?;
    Ok((Dimension { lower, length }, rest))
}

/// What was read last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Open,
    Bare,
    Quoted,
    Delimiter,
    Close,
    DelimiterAfterClose,
}

/// Reading between braces.
struct Braces<'a> {
    text: &'a str,
    element: PgType,
    format: &'a FormatSettings,
    items: Vec<Datum>,
    /// Length of each dimension once a brace of its level has closed.
    lengths: Vec<Option<i32>>,
    /// Members so far of each open level.
    counts: Vec<i32>,
}

impl Braces<'_> {
    fn read(&mut self, body: &str) -> Result<()> {
        let mut seen = Seen::Nothing;
        let mut item = String::new();
        let mut trailing = 0;
        let mut chars = body.char_indices();
        let delimiter = char::from(names::delimiter(self.element.oid));
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    if !matches!(seen, Seen::Open | Seen::Delimiter) {
                        return Err(malformed(self.text, "Unexpected array element."));
                    }
                    seen = Seen::Quoted;
                    loop {
                        match chars.next() {
                            Some((_, '"')) => break,
                            Some((_, '\\')) => item.push(chars.next().ok_or_else(|| self.ended())?.1),
                            Some((_, c)) => item.push(c),
                            None => return Err(self.ended()),
                        }
                    }
                }
                '{' => {
                    if !matches!(seen, Seen::Nothing | Seen::Open | Seen::DelimiterAfterClose) {
                        return Err(unexpected(self.text, c));
                    }
                    seen = Seen::Open;
                    self.counts.push(0);
                    if self.counts.len() > DIMENSIONS_MAX {
                        return Err(too_many_dimensions(self.counts.len()));
                    }
                    if self.lengths.len() < self.counts.len() {
                        if !self.items.is_empty() {
                            return Err(unmatched(self.text));
                        }
                        self.lengths.push(None);
                    }
                }
                c if c == delimiter || c == '}' => {
                    let empty = c == '}' && seen == Seen::Open && self.counts.len() == 1;
                    match seen {
                        Seen::Bare | Seen::Quoted => {
                            self.finish(&mut item, seen == Seen::Quoted, std::mem::take(&mut trailing))?;
                        }
                        Seen::Close => {}
                        _ if empty => {}
                        _ => return Err(unexpected(self.text, c)),
                    }
                    if c == delimiter {
                        seen = if seen == Seen::Close { Seen::DelimiterAfterClose } else { Seen::Delimiter };
                        continue;
                    }
                    seen = Seen::Close;
                    self.close()?;
                    if self.counts.is_empty() {
                        let after = body.get(at + 1..).unwrap_or_default();
                        if !after.chars().all(space) {
                            return Err(malformed(self.text, "Junk after closing right brace."));
                        }
                        return Ok(());
                    }
                }
                c if space(c) => {
                    if seen == Seen::Bare {
                        item.push(c);
                        trailing += c.len_utf8();
                    }
                }
                c => {
                    if !matches!(seen, Seen::Open | Seen::Bare | Seen::Delimiter) {
                        return Err(match c {
                            '\\' => unexpected(self.text, c),
                            _ => malformed(self.text, "Unexpected array element."),
                        });
                    }
                    seen = Seen::Bare;
                    trailing = 0;
                    item.push(if c == '\\' { chars.next().ok_or_else(|| self.ended())?.1 } else { c });
                }
            }
        }
        Err(self.ended())
    }

    fn ended(&self) -> Error {
        malformed(self.text, "Unexpected end of input.")
    }

    /// Takes a member of the innermost level.
    fn finish(&mut self, item: &mut String, quoted: bool, trailing: usize) -> Result<()> {
        if self.counts.len() != self.lengths.len() {
            return Err(unmatched(self.text));
        }
        if !quoted {
            item.truncate(item.len() - trailing);
        }
        let null = !quoted && item.eq_ignore_ascii_case("null");
        self.items.push(if null { Datum::Null } else { parse(item, self.element, self.format)? });
        item.clear();
        if let Some(count) = self.counts.last_mut() {
            *count += 1;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some(count) = self.counts.pop() else { return Err(malformed(self.text, "Unmatched \"}\" character.")) };
        let level = self.counts.len();
        match self.lengths.get_mut(level) {
            Some(Some(known)) if *known != count => return Err(unmatched(self.text)),
            Some(length) => *length = Some(count),
            None => {}
        }
        if let Some(outer) = self.counts.last_mut() {
            *outer += 1;
        }
        Ok(())
    }
}

/// Reads `1 2 3`.
pub fn parse_vector(text: &str, element: PgType, format: &FormatSettings) -> Result<ArrayValue> {
    text.split_ascii_whitespace().map(|t| parse(t, element, format)).collect()
}

pub fn write_vector(items: &[Datum], element: PgType, format: &FormatSettings, out: &mut Vec<u8>) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        write(item, element, format, out);
    }
}

pub fn write_array(array: &ArrayValue, element: PgType, format: &FormatSettings, out: &mut Vec<u8>) {
    if array.is_empty() {
        out.extend_from_slice(b"{}");
        return;
    }
    if array.dims.iter().any(|d| d.lower != 1) {
        for dimension in &array.dims {
            out.extend_from_slice(format!("[{}:{}]", dimension.lower, dimension.upper()).as_bytes());
        }
        out.push(b'=');
    }
    let delimiter = names::delimiter(element.oid);
    let mut text = Vec::new();
    let mut member = |item: &Datum, out: &mut Vec<u8>| {
        if item.is_null() {
            return out.extend_from_slice(b"NULL");
        }
        text.clear();
        write(item, element, format, &mut text);
        if !needs_quotes(&text, delimiter) {
            return out.extend_from_slice(&text);
        }
        out.push(b'"');
        for byte in &text {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        out.push(b'"');
    };
    nest(&array.dims, &array.items, (b'{', b'}', delimiter), out, &mut member);
}

/// Writes members between nested brackets, the third byte between neighbours.
pub fn nest(
    dims: &[Dimension],
    items: &[Datum],
    brackets: (u8, u8, u8),
    out: &mut Vec<u8>,
    member: &mut dyn FnMut(&Datum, &mut Vec<u8>),
) {
    out.push(brackets.0);
    let inner = dims.get(1..).unwrap_or_default();
    let width = inner.iter().map(|d| d.length as usize).product::<usize>().max(1);
    for (i, part) in items.chunks(width).enumerate() {
        if i > 0 {
            out.push(brackets.2);
        }
        match (inner, part) {
            ([], [item]) => member(item, out),
            _ => nest(inner, part, brackets, out, member),
        }
    }
    out.push(brackets.1);
}

fn needs_quotes(text: &[u8], delimiter: u8) -> bool {
    text.is_empty()
        || text.eq_ignore_ascii_case(b"null")
        || text.iter().any(|b| {
            *b == delimiter || matches!(b, b'"' | b'\\' | b'{' | b'}' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
        })
}
