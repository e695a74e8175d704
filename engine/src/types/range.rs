//! Ranges and multiranges: which there are, how they lie in memory, their text, their order, and what two bounds make
//! (rangetypes.c, multirangetypes.c).
//!
//! A range is bytes that describe themselves, so that it can be compared wherever it is found, whoever made its type:
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | PostgreSQL's flags: 1 empty, 2 and 4 lower and upper bound inclusive, 8 and 16 lower and upper bound infinite |
//! | 4 | type of the bounds, if one has a value |
//! | n, n | the finite bounds, as the log writes values |
//!
//! A multirange is its ranges one after the other.
//!
//! Invariants:
//! 1. The lower bound is not above the upper one; equal bounds are both inclusive; infinite ones never are.
//! 2. Ranges of a discrete type are `[a,b)`. So equal ranges differ at most in how equal bounds are written (1.0 and 1.00).
//! 3. The ranges of a multirange are not empty, in their order, and neither touch nor overlap.

use std::cmp::Ordering;
use std::sync::Arc;

use super::text::{self, FormatSettings};
use super::user::{self, UserKind};
use super::{Datum, TypeOid, calendar, codec, compare};
use crate::error::{Error, Result, SqlState};

pub const EMPTY: u8 = 1;
pub const LOWER_INCLUSIVE: u8 = 2;
pub const UPPER_INCLUSIVE: u8 = 4;
pub const LOWER_INFINITE: u8 = 8;
pub const UPPER_INFINITE: u8 = 16;

/// Range, subtype, multirange.
const BUILTIN: [(TypeOid, TypeOid, TypeOid); 6] = [
    (TypeOid::INT4RANGE, TypeOid::INT4, TypeOid::INT4MULTIRANGE),
    (TypeOid::INT8RANGE, TypeOid::INT8, TypeOid::INT8MULTIRANGE),
    (TypeOid::NUMRANGE, TypeOid::NUMERIC, TypeOid::NUMMULTIRANGE),
    (TypeOid::DATERANGE, TypeOid::DATE, TypeOid::DATEMULTIRANGE),
    (TypeOid::TSRANGE, TypeOid::TIMESTAMP, TypeOid::TSMULTIRANGE),
    (TypeOid::TSTZRANGE, TypeOid::TIMESTAMPTZ, TypeOid::TSTZMULTIRANGE),
];

impl TypeOid {
    pub fn is_range(self) -> bool {
        BUILTIN.iter().any(|b| b.0 == self) || self.user_scalar() == Some(UserKind::Range)
    }

    pub fn is_multirange(self) -> bool {
        BUILTIN.iter().any(|b| b.2 == self) || self.user_scalar() == Some(UserKind::Multirange)
    }

    /// The multirange over a range type.
    pub fn multirange(self) -> Option<TypeOid> {
        let builtin = BUILTIN.iter().find(|b| b.0 == self).map(|b| b.2);
        builtin.or_else(|| self.user_multirange())
    }

    /// The type of a multirange's ranges.
    pub fn multirange_range(self) -> Option<TypeOid> {
        let builtin = BUILTIN.iter().find(|b| b.2 == self).map(|b| b.0);
        builtin.or_else(|| self.user_range())
    }

    /// The type of a range's bounds, as far as the statement at hand knows it.
    pub fn range_subtype(self) -> Option<TypeOid> {
        let builtin = BUILTIN.iter().find(|b| b.0 == self).map(|b| b.1);
        builtin.or_else(|| user::subtype(self))
    }
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// `None`: infinite.
    pub value: Option<Datum>,
    pub inclusive: bool,
    pub lower: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// UNKNOWN where no bound has a value.
    pub subtype: TypeOid,
    /// `None`: empty.
    pub bounds: Option<(Bound, Bound)>,
}

impl Bound {
    pub fn lower(value: Option<Datum>, inclusive: bool) -> Bound {
        Bound { value, inclusive, lower: true }
    }

    pub fn upper(value: Option<Datum>, inclusive: bool) -> Bound {
        Bound { value, inclusive, lower: false }
    }

    /// What ends where this begins, or the other way round.
    pub fn flipped(&self) -> Bound {
        Bound { value: self.value.clone(), inclusive: !self.inclusive, lower: !self.lower }
    }

    /// `range_cmp_bound_values`: by the values alone.
    pub fn compare_values(&self, other: &Bound, subtype: TypeOid) -> Ordering {
        let below = |bound: &Bound| if bound.lower { Ordering::Less } else { Ordering::Greater };
        match (&self.value, &other.value) {
            (None, None) if self.lower == other.lower => Ordering::Equal,
            (None, _) => below(self),
            (_, None) => below(other).reverse(),
            (Some(a), Some(b)) => compare::compare(a, b, subtype.into()),
        }
    }

    /// `range_cmp_bounds`: which bound comes first on the line.
    pub fn compare(&self, other: &Bound, subtype: TypeOid) -> Ordering {
        let order = self.compare_values(other, subtype);
        if order.is_ne() || self.value.is_none() {
            return order;
        }
        let inside = |bound: &Bound| if bound.lower { Ordering::Greater } else { Ordering::Less };
        match (self.inclusive, other.inclusive) {
            (true, true) => Ordering::Equal,
            (false, false) if self.lower == other.lower => Ordering::Equal,
            (false, _) => inside(self),
            (true, false) => inside(other).reverse(),
        }
    }
}

impl Range {
    pub const EMPTY: Range = Range { subtype: TypeOid::UNKNOWN, bounds: None };

    pub fn is_empty(&self) -> bool {
        self.bounds.is_none()
    }

    pub fn flags(&self) -> u8 {
        let Some((lower, upper)) = &self.bounds else { return EMPTY };
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        flag(lower.inclusive, LOWER_INCLUSIVE)
            | flag(upper.inclusive, UPPER_INCLUSIVE)
            | flag(lower.value.is_none(), LOWER_INFINITE)
            | flag(upper.value.is_none(), UPPER_INFINITE)
    }
}

/// What must be known of a range type to make its values.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub subtype: TypeOid,
    discrete: bool,
}

impl Kind {
    /// Of a range or multirange type with bounds of this type.
    pub fn new(ty: TypeOid, subtype: TypeOid) -> Kind {
        use TypeOid as T;
        let discrete =
            [T::INT4RANGE, T::INT8RANGE, T::DATERANGE, T::INT4MULTIRANGE, T::INT8MULTIRANGE, T::DATEMULTIRANGE];
        Kind { subtype, discrete: discrete.contains(&ty) }
    }

    /// `make_range`: 22000 for bounds in the wrong order.
    pub fn make(self, mut lower: Bound, mut upper: Bound) -> Result<Range> {
        let order = lower.compare_values(&upper, self.subtype);
        if order.is_gt() {
            let message = "range lower bound must be less than or equal to range upper bound";
            return Err(Error::new(SqlState::DataException, message));
        }
        if order.is_eq() && !(lower.inclusive && upper.inclusive) {
            return Ok(Range::EMPTY);
        }
        lower.inclusive &= lower.value.is_some();
        upper.inclusive &= upper.value.is_some();
        if !self.discrete {
            return Ok(self.whole(lower, upper));
        }
        if !lower.inclusive
            && let Some(value) = lower.value.as_mut().filter(|v| !is_infinite(v))
        {
            *value = following(value)?;
            lower.inclusive = true;
        }
        if upper.inclusive
            && let Some(value) = upper.value.as_mut().filter(|v| !is_infinite(v))
        {
            *value = following(value)?;
            upper.inclusive = false;
        }
        let nothing = lower.compare_values(&upper, self.subtype).is_eq() && !(lower.inclusive && upper.inclusive);
        Ok(if nothing { Range::EMPTY } else { self.whole(lower, upper) })
    }

    fn whole(self, lower: Bound, upper: Bound) -> Range {
        let known = lower.value.is_some() || upper.value.is_some();
        Range { subtype: if known { self.subtype } else { TypeOid::UNKNOWN }, bounds: Some((lower, upper)) }
    }

    /// `bounds_adjacent`: whether nothing lies between an upper bound and a lower one, and they share nothing.
    pub fn adjacent(self, upper: &Bound, lower: &Bound) -> Result<bool> {
        match upper.compare_values(lower, self.subtype) {
            Ordering::Less if self.discrete => Ok(self.make(upper.flipped(), lower.flipped())?.is_empty()),
            Ordering::Equal => Ok(upper.inclusive != lower.inclusive),
            _ => Ok(false),
        }
    }

    /// `multirange_canonicalize`.
    pub fn canonical(self, mut ranges: Vec<Range>) -> Result<Vec<Range>> {
        ranges.sort_by(|a, b| order(a, b, self.subtype));
        let mut out: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            let Some((lower, upper)) = &range.bounds else { continue };
            let Some((last_lower, last_upper)) = out.last().and_then(|last| last.bounds.as_ref()) else {
                out.push(range);
                continue;
            };
            if !self.adjacent(last_upper, lower)? && last_upper.compare(lower, self.subtype).is_lt() {
                out.push(range);
                continue;
            }
            let begin = if last_lower.compare(lower, self.subtype).is_lt() { last_lower } else { lower };
            let end = if last_upper.compare(upper, self.subtype).is_gt() { last_upper } else { upper };
            let merged = self.make(begin.clone(), end.clone())?;
            if let Some(last) = out.last_mut() {
                *last = merged;
            }
        }
        Ok(out)
    }
}

fn is_infinite(value: &Datum) -> bool {
    matches!(value, Datum::Date(i32::MIN | i32::MAX))
}

/// The next value of a discrete type.
fn following(value: &Datum) -> Result<Datum> {
    let overflow = |name: &str| Error::new(SqlState::NumericValueOutOfRange, format!("{name} out of range"));
    match value {
        Datum::Int4(v) => v.checked_add(1).map(Datum::Int4).ok_or_else(|| overflow("integer")),
        Datum::Int8(v) => v.checked_add(1).map(Datum::Int8).ok_or_else(|| overflow("bigint")),
        Datum::Date(v) => calendar::checked_date(i64::from(*v) + 1).map(Datum::Date),
        other => Err(Error::internal(format!("a discrete range of {other:?}"))),
    }
}

/// `range_cmp` of two ranges whose bounds have this type: the empty one first.
fn order(a: &Range, b: &Range, subtype: TypeOid) -> Ordering {
    match (&a.bounds, &b.bounds) {
        (None, None) => Ordering::Equal,
        (None, _) => Ordering::Less,
        (_, None) => Ordering::Greater,
        (Some(a), Some(b)) => a.0.compare(&b.0, subtype).then_with(|| a.1.compare(&b.1, subtype)),
    }
}

fn known_subtype(ranges: &[&[Range]]) -> TypeOid {
    let mut all = ranges.iter().copied().flatten().map(|r| r.subtype);
    all.find(|s| *s != TypeOid::UNKNOWN).unwrap_or(TypeOid::UNKNOWN)
}

/// Order of two values of one range or multirange type.
pub fn compare(a: &[u8], b: &[u8], ty: TypeOid) -> Ordering {
    let (Ok(a_ranges), Ok(b_ranges)) = (ranges(a, ty), ranges(b, ty)) else { return a.cmp(b) };
    let subtype = known_subtype(&[&a_ranges, &b_ranges]);
    let difference = a_ranges.iter().zip(&b_ranges).map(|(a, b)| order(a, b, subtype)).find(|o| o.is_ne());
    difference.unwrap_or_else(|| a_ranges.len().cmp(&b_ranges.len()))
}

/// Bytes that sort like the values of one range or multirange type; none is the beginning of another.
pub fn push_key(bytes: &[u8], ty: TypeOid, out: &mut Vec<u8>) {
    for range in ranges(bytes, ty).unwrap_or_default() {
        let Some((lower, upper)) = &range.bounds else {
            out.push(1);
            continue;
        };
        out.push(2);
        let mut push = |bound: &Bound, infinite: u8| match &bound.value {
            None => out.push(infinite),
            Some(value) => {
                out.push(1);
                compare::encode_key(value, range.subtype.into(), out);
                out.push(u8::from(bound.inclusive != bound.lower));
            }
        };
        push(lower, 0);
        push(upper, 2);
    }
    if ty.is_multirange() {
        out.push(0);
    }
}

pub fn put(range: &Range, out: &mut Vec<u8>) {
    out.push(range.flags());
    let Some((lower, upper)) = &range.bounds else { return };
    if lower.value.is_some() || upper.value.is_some() {
        out.extend_from_slice(&range.subtype.0.to_le_bytes());
    }
    for value in [&lower.value, &upper.value].into_iter().flatten() {
        codec::put(out, value);
    }
}

pub fn encode(range: &Range) -> Datum {
    let mut out = Vec::with_capacity(24);
    put(range, &mut out);
    Datum::Bytea(Arc::from(out))
}

/// A multirange of ranges that [`Kind::canonical`] gave.
pub fn encode_multirange(ranges: &[Range]) -> Datum {
    let mut out = Vec::with_capacity(ranges.len() * 24);
    ranges.iter().for_each(|range| put(range, &mut out));
    Datum::Bytea(Arc::from(out))
}

fn read(bytes: &mut &[u8]) -> Option<Range> {
    let (flags, rest) = bytes.split_first()?;
    *bytes = rest;
    if flags & EMPTY != 0 {
        return Some(Range::EMPTY);
    }
    let mut subtype = TypeOid::UNKNOWN;
    if flags & LOWER_INFINITE == 0 || flags & UPPER_INFINITE == 0 {
        let (number, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        subtype = TypeOid(u32::from_le_bytes(*number));
    }
    let mut value = |infinite: u8| match flags & infinite {
        0 => codec::read(bytes).map(Some),
        _ => Some(None),
    };
    let lower = Bound::lower(value(LOWER_INFINITE)?, flags & LOWER_INCLUSIVE != 0);
    let upper = Bound::upper(value(UPPER_INFINITE)?, flags & UPPER_INCLUSIVE != 0);
    Some(Range { subtype, bounds: Some((lower, upper)) })
}

fn cut_off() -> Error {
    Error::internal("a range is cut off")
}

pub fn decode(mut bytes: &[u8]) -> Result<Range> {
    read(&mut bytes).filter(|_| bytes.is_empty()).ok_or_else(cut_off)
}

pub fn decode_multirange(mut bytes: &[u8]) -> Result<Vec<Range>> {
    let mut ranges = Vec::new();
    while !bytes.is_empty() {
        ranges.push(read(&mut bytes).ok_or_else(cut_off)?);
    }
    Ok(ranges)
}

/// The range that a value is, or the ranges of a multirange.
fn ranges(bytes: &[u8], ty: TypeOid) -> Result<Vec<Range>> {
    if ty.is_multirange() { decode_multirange(bytes) } else { Ok(vec![decode(bytes)?]) }
}

/// Appends the text of a range or multirange.
pub fn write(bytes: &[u8], ty: TypeOid, format: &FormatSettings, out: &mut Vec<u8>) {
    if !ty.is_multirange() {
        return write_range(&decode(bytes).unwrap_or(Range::EMPTY), format, out);
    }
    out.push(b'{');
    for (i, range) in decode_multirange(bytes).unwrap_or_default().iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_range(range, format, out);
    }
    out.push(b'}');
}

fn write_range(range: &Range, format: &FormatSettings, out: &mut Vec<u8>) {
    let Some((lower, upper)) = &range.bounds else { return out.extend_from_slice(b"empty") };
    let bound = |bound: &Bound, out: &mut Vec<u8>| {
        if let Some(value) = &bound.value {
            quote(&text::to_string(value, range.subtype.into(), format), out);
        }
    };
    out.push(if lower.inclusive { b'[' } else { b'(' });
    bound(lower, out);
    out.push(b',');
    bound(upper, out);
    out.push(if upper.inclusive { b']' } else { b')' });
}

fn quote(text: &str, out: &mut Vec<u8>) {
    let special = |b: u8| matches!(b, b'"' | b'\\' | b'(' | b')' | b'[' | b']' | b',') || is_space(b);
    if !text.is_empty() && !text.bytes().any(special) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    for b in text.bytes() {
        if matches!(b, b'"' | b'\\') {
            out.push(b);
        }
        out.push(b);
    }
    out.push(b'"');
}

fn is_space(b: u8) -> bool {
    b.is_ascii_whitespace() || b == 0x0b
}

fn skip_spaces(text: &str) -> &str {
    text.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(is_space))
}

/// Type of the bounds of a range or multirange type (42704 if the catalog does not know it).
pub fn subtype_of(ty: TypeOid, format: &FormatSettings) -> Result<TypeOid> {
    let range = ty.multirange_range().unwrap_or(ty);
    match range.user_kind() {
        None => range.range_subtype().ok_or_else(|| Error::internal(format!("{} is no range type", ty.0))),
        // Stored text is read without a catalog.
        Some(_) => format.types.range_subtype(range).or_else(|error| range.range_subtype().ok_or(error)),
    }
}

/// Reads a range or multirange (22P02, and what the bounds' type says).
pub fn parse(text: &str, ty: TypeOid, format: &FormatSettings) -> Result<Datum> {
    let kind = Kind::new(ty, subtype_of(ty, format)?);
    if ty.is_multirange() {
        return parse_multirange(text, kind, format);
    }
    parse_range(text, kind, format).map(|range| encode(&range))
}

fn malformed(what: &str, text: &str, detail: &str) -> Error {
    Error::new(SqlState::InvalidTextRepresentation, format!("malformed {what} literal: \"{text}\"")).detail(detail)
}

/// What follows the word "empty" at the front, in any case.
fn after_empty(text: &str) -> Option<&str> {
    let (word, rest) = text.split_at_checked(5)?;
    word.eq_ignore_ascii_case("empty").then_some(rest)
}

fn parse_range(text: &str, kind: Kind, format: &FormatSettings) -> Result<Range> {
    let malformed = |detail: &str| malformed("range", text, detail);
    let body = skip_spaces(text);
    if let Some(rest) = after_empty(body) {
        return match skip_spaces(rest) {
            "" => Ok(Range::EMPTY),
            _ => Err(malformed("Junk after \"empty\" key word.")),
        };
    }
    let (lower_inclusive, body) = match (body.strip_prefix('['), body.strip_prefix('(')) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(malformed("Missing left parenthesis or bracket.")),
    };
    let mut rest = body.chars().peekable();
    let lower = parse_bound(&mut rest, text)?;
    if rest.next_if_eq(&',').is_none() {
        return Err(malformed("Missing comma after lower bound."));
    }
    let upper = parse_bound(&mut rest, text)?;
    let upper_inclusive = match rest.next() {
        Some(']') => true,
        Some(')') => false,
        _ => return Err(malformed("Too many commas.")),
    };
    if rest.any(|c| !u8::try_from(c).is_ok_and(is_space)) {
        return Err(malformed("Junk after right parenthesis or bracket."));
    }
    let read = |bound: Option<String>| bound.map(|text| text::parse(&text, kind.subtype.into(), format)).transpose();
    let (lower, upper) = (read(lower)?, read(upper)?);
    kind.make(Bound::lower(lower, lower_inclusive), Bound::upper(upper, upper_inclusive))
}

/// One bound's text; `None`: nothing is written.
fn parse_bound(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, text: &str) -> Result<Option<String>> {
    let ends = |c: Option<&char>| matches!(c, Some(',' | ')' | ']'));
    if ends(rest.peek()) {
        return Ok(None);
    }
    let ended = || malformed("range", text, "Unexpected end of input.");
    let (mut out, mut quoted) = (String::new(), false);
    while quoted || !ends(rest.peek()) {
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

/// Bytes of the range at the front, its last bracket included; `None`: it does not end.
fn range_length(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (i, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            // A doubled quote ends one part and begins the next.
            b'"' => quoted = !quoted,
            b']' | b')' if !quoted => return Some(i + 1),
            _ => {}
        }
    }
    None
}

fn parse_multirange(text: &str, kind: Kind, format: &FormatSettings) -> Result<Datum> {
    let malformed = |detail: &str| malformed("multirange", text, detail);
    let mut rest = skip_spaces(text).strip_prefix('{').ok_or_else(|| malformed("Missing left brace."))?;
    let mut found = Vec::new();
    let mut first = true;
    loop {
        rest = skip_spaces(rest);
        match rest.bytes().next() {
            None => return Err(malformed("Unexpected end of input.")),
            Some(b'}') if first => break,
            Some(b'[' | b'(') => {
                let length = range_length(rest).ok_or_else(|| malformed("Unexpected end of input."))?;
                let (range, behind) = rest.split_at(length);
                found.push(parse_range(range, kind, format)?);
                rest = behind;
            }
            Some(_) => rest = after_empty(rest).ok_or_else(|| malformed("Expected range start."))?,
        }
        first = false;
        rest = skip_spaces(rest);
        match rest.bytes().next() {
            Some(b',') => rest = rest.get(1..).unwrap_or_default(),
            Some(b'}') => break,
            None => return Err(malformed("Unexpected end of input.")),
            Some(_) => return Err(malformed("Expected comma or end of multirange.")),
        }
    }
    if !skip_spaces(rest.get(1..).unwrap_or_default()).is_empty() {
        return Err(malformed("Junk after closing right brace."));
    }
    kind.canonical(found).map(|ranges| encode_multirange(&ranges))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Each list is in PostgreSQL's order, all different.
    const ORDERED: [(TypeOid, &[&str]); 3] = [
        (TypeOid::INT4RANGE, &["empty", "(,5)", "(,)", "[1,2)", "[1,3)", "[1,)", "[2,3)"]),
        (
            TypeOid::NUMRANGE,
            &["empty", "(,1)", "(,1]", "(,)", "[1,1]", "[1,2)", "[1,2.0]", "(1,2)", "(1,2]", "(1,)", "[10,11)"],
        ),
        (TypeOid::NUMMULTIRANGE, &["{}", "{(,1)}", "{[1,2)}", "{[1,2),[3,4)}", "{[1,2),[3,4]}", "{[1,2]}"]),
    ];

    #[test]
    fn order_and_keys_agree() {
        let format = FormatSettings::default();
        for (ty, texts) in ORDERED {
            let values: Vec<Vec<u8>> = texts
                .iter()
                .map(|t| match parse(t, ty, &format).unwrap() {
                    Datum::Bytea(v) => v.to_vec(),
                    _ => Vec::new(),
                })
                .collect();
            let key = |v: &[u8]| {
                let mut key = Vec::new();
                push_key(v, ty, &mut key);
                key
            };
            for (i, a) in values.iter().enumerate() {
                for (j, b) in values.iter().enumerate() {
                    assert_eq!(compare(a, b, ty), i.cmp(&j), "{} {}", texts[i], texts[j]);
                    assert_eq!(key(a).cmp(&key(b)), i.cmp(&j), "keys {} {}", texts[i], texts[j]);
                }
            }
        }
    }
}
