//! point, lseg, box, line, path, polygon and circle: their values, their text and their bytes (geo_ops.c).
//!
//! Invariant: a value is a `Datum::Bytea` of PostgreSQL's binary form: float8 in network order; a path begins with whether
//! it is closed and the number of its points, a polygon with that number. A box has its upper right corner first. Paths
//! and polygons have a point at least, circles no radius below zero.

use std::sync::Arc;

use super::compare::compare_floats;
use super::{Datum, TypeOid, float, plane};
use crate::error::{Error, Result, SqlState};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

/// A segment between two points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lseg(pub Point, pub Point);

/// A rectangle along the axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rectangle {
    pub high: Point,
    pub low: Point,
}

/// `a·x + b·y + c = 0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    pub a: f64,
    pub b: f64,
    pub c: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Circle {
    pub center: Point,
    pub radius: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    pub closed: bool,
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    pub points: Vec<Point>,
}

/// A value of one of the types as bytes.
pub trait Shape: Sized {
    fn decode(bytes: &[u8]) -> Option<Self>;
    fn put(&self, out: &mut Vec<u8>);

    fn encode(&self) -> Datum {
        let mut out = Vec::with_capacity(32);
        self.put(&mut out);
        Datum::Bytea(Arc::from(out))
    }
}

fn numbers<const N: usize>(bytes: &[u8]) -> Option<[f64; N]> {
    let mut out = [0.0; N];
    let (chunks, rest) = bytes.as_chunks::<8>();
    if chunks.len() != N || !rest.is_empty() {
        return None;
    }
    out.iter_mut().zip(chunks).for_each(|(to, from)| *to = f64::from_be_bytes(*from));
    Some(out)
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[f64]) {
    numbers.iter().for_each(|n| out.extend_from_slice(&n.to_be_bytes()));
}

impl Point {
    pub const fn new(x: f64, y: f64) -> Point {
        Point { x, y }
    }
}

impl Shape for Point {
    fn decode(bytes: &[u8]) -> Option<Point> {
        numbers(bytes).map(|[x, y]| Point { x, y })
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_numbers(out, &[self.x, self.y]);
    }
}

impl Shape for Lseg {
    fn decode(bytes: &[u8]) -> Option<Lseg> {
        numbers(bytes).map(|[a, b, c, d]| Lseg(Point::new(a, b), Point::new(c, d)))
    }

    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
}

impl Rectangle {
    /// Of any two opposite corners.
    pub fn of(a: Point, b: Point) -> Rectangle {
        let order = |a: f64, b: f64| if compare_floats(a, b).is_gt() { (a, b) } else { (b, a) };
        let ((right, left), (top, bottom)) = (order(a.x, b.x), order(a.y, b.y));
        Rectangle { high: Point::new(right, top), low: Point::new(left, bottom) }
    }
}

impl Shape for Rectangle {
    fn decode(bytes: &[u8]) -> Option<Rectangle> {
        Lseg::decode(bytes).map(|Lseg(high, low)| Rectangle { high, low })
    }

    fn put(&self, out: &mut Vec<u8>) {
        self.high.put(out);
        self.low.put(out);
    }
}

impl Shape for Line {
    fn decode(bytes: &[u8]) -> Option<Line> {
        numbers(bytes).map(|[a, b, c]| Line { a, b, c })
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_numbers(out, &[self.a, self.b, self.c]);
    }
}

impl Shape for Circle {
    fn decode(bytes: &[u8]) -> Option<Circle> {
        numbers(bytes).map(|[x, y, radius]| Circle { center: Point::new(x, y), radius })
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_numbers(out, &[self.center.x, self.center.y, self.radius]);
    }
}

fn read_points(bytes: &[u8]) -> Option<Vec<Point>> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    let (points, rest) = rest.as_chunks::<16>();
    if count == 0 || points.len() != count || !rest.is_empty() {
        return None;
    }
    points.iter().map(|p| Point::decode(p)).collect()
}

fn put_points(points: &[Point], out: &mut Vec<u8>) {
    out.extend_from_slice(&(points.len() as i32).to_be_bytes());
    points.iter().for_each(|p| p.put(out));
}

impl Shape for Path {
    fn decode(bytes: &[u8]) -> Option<Path> {
        let (closed, rest) = bytes.split_first()?;
        Some(Path { closed: *closed != 0, points: read_points(rest)? })
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.closed.into());
        put_points(&self.points, out);
    }
}

impl Shape for Polygon {
    fn decode(bytes: &[u8]) -> Option<Polygon> {
        read_points(bytes).map(|points| Polygon { points })
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_points(&self.points, out);
    }
}

/// A coordinate of a point or line, or an end of a segment or box; NULL for one that there is not.
pub fn part(bytes: &[u8], at: i32, width: usize) -> Datum {
    let from = usize::try_from(at).ok().and_then(|at| at.checked_mul(width));
    match from.and_then(|from| bytes.get(from..from.checked_add(width)?)) {
        Some(point) if width == 16 => Datum::Bytea(Arc::from(point)),
        Some(number) => numbers(number).map_or(Datum::Null, |[v]: [f64; 1]| Datum::Float8(v)),
        None => Datum::Null,
    }
}

pub fn is_geometric(ty: TypeOid) -> bool {
    use TypeOid as T;
    matches!(ty, T::POINT | T::LSEG | T::BOX | T::LINE | T::PATH | T::POLYGON | T::CIRCLE)
}

/// Reads a value of one of the types from PostgreSQL's binary form, all of it (22P03).
pub fn receive(bytes: &[u8], ty: TypeOid) -> Result<Datum> {
    use TypeOid as T;
    let invalid = |message: &str| Error::new(SqlState::InvalidBinaryRepresentation, message);
    let value = match ty {
        T::POINT => Point::decode(bytes).map(|v| v.encode()),
        T::LSEG => Lseg::decode(bytes).map(|v| v.encode()),
        T::BOX => Rectangle::decode(bytes).map(|v| Rectangle::of(v.high, v.low).encode()),
        T::CIRCLE => match Circle::decode(bytes) {
            Some(circle) if circle.radius < 0.0 => {
                return Err(invalid("invalid radius in external \"circle\" value"));
            }
            circle => circle.map(|v| v.encode()),
        },
        T::LINE => match Line::decode(bytes) {
            Some(line) if plane::is_zero(line.a) && plane::is_zero(line.b) => {
                return Err(invalid("invalid line specification: A and B cannot both be zero"));
            }
            line => line.map(|v| v.encode()),
        },
        T::PATH => Path::decode(bytes).map(|v| v.encode()),
        _ => Polygon::decode(bytes).map(|v| v.encode()),
    };
    value.ok_or_else(|| match ty {
        T::PATH => invalid("invalid number of points in external \"path\" value"),
        T::POLYGON => invalid("invalid number of points in external \"polygon\" value"),
        _ => Error::new(SqlState::ProtocolViolation, "insufficient data left in message"),
    })
}

/// The text of a value of one of the types.
pub fn write(bytes: &[u8], ty: TypeOid, extra_digits: i32, out: &mut Vec<u8>) {
    use TypeOid as T;
    let number = |value: f64, out: &mut Vec<u8>| float::write_f64(value, extra_digits, out);
    let points = |points: &[Point], (open, close): (&str, &str), out: &mut Vec<u8>| {
        out.extend_from_slice(open.as_bytes());
        for (i, point) in points.iter().enumerate() {
            out.extend_from_slice(if i > 0 { b",(" } else { b"(" });
            number(point.x, out);
            out.push(b',');
            number(point.y, out);
            out.push(b')');
        }
        out.extend_from_slice(close.as_bytes());
    };
    match ty {
        T::POINT => Point::decode(bytes).into_iter().for_each(|v| points(&[v], ("", ""), out)),
        T::LSEG => Lseg::decode(bytes).into_iter().for_each(|v| points(&[v.0, v.1], ("[", "]"), out)),
        T::BOX => Rectangle::decode(bytes).into_iter().for_each(|v| points(&[v.high, v.low], ("", ""), out)),
        T::PATH => Path::decode(bytes)
            .into_iter()
            .for_each(|v| points(&v.points, if v.closed { ("(", ")") } else { ("[", "]") }, out)),
        T::POLYGON => Polygon::decode(bytes).into_iter().for_each(|v| points(&v.points, ("(", ")"), out)),
        T::CIRCLE => {
            if let Some(circle) = Circle::decode(bytes) {
                points(&[circle.center], ("<", ","), out);
                number(circle.radius, out);
                out.push(b'>');
            }
        }
        _ => {
            if let Some(line) = Line::decode(bytes) {
                for (before, value) in [(b'{', line.a), (b',', line.b), (b',', line.c)] {
                    out.push(before);
                    number(value, out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Reads a value of one of the types (22P02, 22003).
pub fn parse(text: &str, ty: TypeOid) -> Result<Datum> {
    use TypeOid as T;
    let name = match ty {
        T::POINT => "point",
        T::LSEG => "lseg",
        T::BOX => "box",
        T::PATH => "path",
        T::POLYGON => "polygon",
        T::CIRCLE => "circle",
        _ => "line",
    };
    let mut reader = Reader { rest: text, text, name };
    let value = match ty {
        T::POINT => reader.pair()?.encode(),
        T::LSEG => {
            let points = reader.path(true, 2)?.1;
            reader.two(&points)?.encode()
        }
        T::BOX => {
            let points = reader.path(false, 2)?.1;
            let Lseg(a, b) = reader.two(&points)?;
            Rectangle::of(a, b).encode()
        }
        T::PATH => reader.whole_path()?.encode(),
        T::POLYGON => {
            let count = reader.count()?;
            Polygon { points: reader.path(false, count)?.1 }.encode()
        }
        T::CIRCLE => reader.circle()?.encode(),
        _ => reader.line()?.encode(),
    };
    if reader.rest.is_empty() { Ok(value) } else { Err(reader.invalid()) }
}

/// What is left of a text.
struct Reader<'a> {
    rest: &'a str,
    text: &'a str,
    name: &'static str,
}

fn space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

impl Reader<'_> {
    fn invalid(&self) -> Error {
        Error::new(
            SqlState::InvalidTextRepresentation,
            format!("invalid input syntax for type {}: \"{}\"", self.name, self.text),
        )
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(space);
    }

    fn take(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, c: char) -> Result<()> {
        if self.take(c) { Ok(()) } else { Err(self.invalid()) }
    }

    /// The longest float at the front, spaces around it.
    fn number(&mut self) -> Result<f64> {
        self.skip_spaces();
        let length = float_length(self.rest);
        let (digits, rest) = self.rest.split_at(length);
        if digits.is_empty() {
            return Err(self.invalid());
        }
        let value = float::parse_f64(digits)
            .map_err(|e| if e.state() == SqlState::InvalidTextRepresentation { self.invalid() } else { e })?;
        self.rest = rest.trim_start_matches(space);
        Ok(value)
    }

    fn pair(&mut self) -> Result<Point> {
        self.skip_spaces();
        let enclosed = self.take('(');
        let x = self.number()?;
        self.expect(',')?;
        let y = self.number()?;
        if enclosed {
            self.expect(')')?;
            self.skip_spaces();
        }
        Ok(Point { x, y })
    }

    /// Points and whether they were written as an open path.
    fn path(&mut self, may_be_open: bool, count: usize) -> Result<(bool, Vec<Point>)> {
        self.skip_spaces();
        let mut depth = 0;
        let open = self.rest.starts_with('[');
        if open {
            if !may_be_open {
                return Err(self.invalid());
            }
            depth = 1;
            self.take('[');
        } else if let Some(inner) = self.rest.strip_prefix('(') {
            let inner = inner.trim_start_matches(space);
            // A parenthesis around all: another one follows, or there is no other.
            if inner.starts_with('(') || !inner.contains('(') {
                depth = 1;
                self.rest = inner;
            }
        }
        let mut points = Vec::with_capacity(count.min(self.rest.len() / 2 + 1));
        for _ in 0..count {
            points.push(self.pair()?);
            self.take(',');
        }
        while depth > 0 {
            if !(self.take(')') || (open && depth == 1 && self.take(']'))) {
                return Err(self.invalid());
            }
            depth -= 1;
            self.skip_spaces();
        }
        Ok((open, points))
    }

    /// How many pairs the commas make.
    fn count(&self) -> Result<usize> {
        let commas = self.text.bytes().filter(|b| *b == b',').count();
        if commas % 2 == 1 { Ok(commas.div_ceil(2)) } else { Err(self.invalid()) }
    }

    fn two(&self, points: &[Point]) -> Result<Lseg> {
        match points {
            [a, b] => Ok(Lseg(*a, *b)),
            _ => Err(self.invalid()),
        }
    }

    fn whole_path(&mut self) -> Result<Path> {
        let count = self.count()?;
        self.skip_spaces();
        let enclosed = self.rest.rfind('(') == Some(0);
        if enclosed {
            self.take('(');
        }
        let (open, points) = self.path(true, count)?;
        if enclosed {
            self.expect(')')?;
            self.skip_spaces();
        }
        Ok(Path { closed: !open, points })
    }

    fn circle(&mut self) -> Result<Circle> {
        self.skip_spaces();
        let mut depth = 0;
        if self.take('<') {
            depth = 1;
        } else if let Some(inner) = self.rest.strip_prefix('(') {
            let inner = inner.trim_start_matches(space);
            if inner.starts_with('(') {
                depth = 1;
                self.rest = inner;
            }
        }
        let center = self.pair()?;
        self.take(',');
        let radius = self.number()?;
        if radius < 0.0 {
            return Err(self.invalid());
        }
        while depth > 0 {
            if !(self.take(')') || (depth == 1 && self.take('>'))) {
                return Err(self.invalid());
            }
            depth -= 1;
            self.skip_spaces();
        }
        Ok(Circle { center, radius })
    }

    fn line(&mut self) -> Result<Line> {
        let specification =
            |what: &str| Error::new(SqlState::InvalidTextRepresentation, format!("invalid line specification: {what}"));
        self.skip_spaces();
        if self.take('{') {
            let a = self.number()?;
            self.expect(',')?;
            let b = self.number()?;
            self.expect(',')?;
            let c = self.number()?;
            self.expect('}')?;
            self.skip_spaces();
            if !self.rest.is_empty() {
                return Err(self.invalid());
            }
            if plane::is_zero(a) && plane::is_zero(b) {
                return Err(specification("A and B cannot both be zero"));
            }
            return Ok(Line { a, b, c });
        }
        let points = self.path(true, 2)?.1;
        let Lseg(a, b) = self.two(&points)?;
        if !self.rest.is_empty() {
            return Err(self.invalid());
        }
        if plane::same_point(a, b) {
            return Err(specification("must be two distinct points"));
        }
        plane::line_through(a, b)
    }
}

/// Bytes of the float that C's strtod would read at the front.
fn float_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize, hexadecimal: bool| {
        let ok = |b: &&u8| if hexadecimal { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
        bytes.iter().skip(from).take_while(ok).count()
    };
    let at = |i: usize| bytes.get(i).map_or(0, u8::to_ascii_lowercase);
    let sign = usize::from(matches!(at(0), b'+' | b'-'));
    for word in ["infinity", "inf", "nan"] {
        if text.get(sign..sign + word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word)) {
            return sign + word.len();
        }
    }
    let hexadecimal = at(sign) == b'0' && at(sign + 1) == b'x' && digits(sign + 2, true) > 0;
    let mut end = if hexadecimal { sign + 2 } else { sign };
    let whole = digits(end, hexadecimal);
    end += whole;
    if at(end) == b'.' {
        let fraction = digits(end + 1, hexadecimal);
        if whole + fraction == 0 {
            return 0;
        }
        end += 1 + fraction;
    } else if whole == 0 {
        return 0;
    }
    if at(end) == if hexadecimal { b'p' } else { b'e' } {
        let sign = usize::from(matches!(at(end + 1), b'+' | b'-'));
        let exponent = digits(end + 1 + sign, false);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}
