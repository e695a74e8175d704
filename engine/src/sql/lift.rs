//! Taking the literals out of a short statement's text, so that one plan serves all texts that differ in them alone.
//! Most drivers of scripting languages, and psql, put their values into the text.
//!
//! The text that remains has `$1`, `$2`, … in their places. [`is_liftable`] says whether it means the same: a parameter
//! of the literal's type stands where PostgreSQL treats both alike. Of other texts some literals may be taken out, and the
//! others left where they are ([`Lifted::text_without`]).
//!
//! Invariants:
//! 1. The remaining text with the literals put back is the original text, but for blanks and a semicolon at its end.
//! 2. Two literals of different types give different keys.

use std::ops::Range;

use smallvec::SmallVec;
use sqlparser::ast::{self, BinaryOperator, Expr, SetExpr, UnaryOperator, Value};

use super::Statement;
use crate::error::{Error, Result};
use crate::types::text::{self, FormatSettings};
use crate::types::{Datum, TypeOid};

/// Longer texts are bulk data, which has no need of it.
const TEXT_MAX: usize = 4096;
const LITERALS_MAX: usize = 64;

/// A set of literals by their number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiteralSet(u64);

impl LiteralSet {
    pub const ALL: LiteralSet = LiteralSet(u64::MAX);

    pub fn has(self, number: usize) -> bool {
        self.0 >> number & 1 == 1
    }

    pub fn includes(self, other: LiteralSet) -> bool {
        other.0 & !self.0 == 0
    }

    pub fn union(self, other: LiteralSet) -> LiteralSet {
        LiteralSet(self.0 | other.0)
    }

    pub fn complement(self) -> LiteralSet {
        LiteralSet(!self.0)
    }
}

/// A literal of the text, of the type that PostgreSQL gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    Int4(i32),
    Int8(i64),
    /// Digits with a decimal point.
    Numeric(String),
    /// Quoted: of unknown type.
    Text(String),
}

/// A statement's text without its literals.
#[derive(Debug)]
pub struct Lifted {
    /// The remaining text, NUL, and a letter for each literal's type.
    key: String,
    /// Bytes of the remaining text in the key.
    length: usize,
    pub literals: SmallVec<[Literal; 8]>,
    /// Where each of them stood, with its sign.
    places: SmallVec<[Range<usize>; 8]>,
}

impl Lifted {
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn text(&self) -> &str {
        self.key.get(..self.length).unwrap_or("")
    }

    /// The original text with the literals of `free` alone taken out.
    pub fn text_without(&self, sql: &str, free: LiteralSet) -> String {
        let mut out = String::with_capacity(sql.len());
        let (mut from, mut taken) = (0, 0);
        for (_, place) in self.places.iter().enumerate().filter(|(i, _)| free.has(*i)) {
            taken += 1;
            out.push_str(sql.get(from..place.start).unwrap_or(""));
            out.push_str(&format!("${taken}"));
            from = place.end;
        }
        out.push_str(sql.get(from..).unwrap_or(""));
        out
    }

    /// The literals that are others in `other`, which has the same key.
    pub fn differing(&self, other: &[Literal]) -> LiteralSet {
        let differs = self.literals.iter().zip(other).enumerate().filter(|(_, (a, b))| a != b);
        LiteralSet(differs.fold(0, |set, (i, _)| set | 1 << i))
    }
}

/// Those of `literals` that `set` has.
pub fn chosen(literals: &[Literal], set: LiteralSet) -> impl Iterator<Item = &Literal> {
    literals.iter().enumerate().filter(move |(i, _)| set.has(*i)).map(|(_, literal)| literal)
}

/// Types of the parameters that stand for literals; 0 for those to be inferred.
pub fn types<'l>(literals: impl IntoIterator<Item = &'l Literal>) -> Vec<TypeOid> {
    let ty = |literal: &Literal| match literal {
        Literal::Int4(_) => TypeOid::INT4,
        Literal::Int8(_) => TypeOid::INT8,
        Literal::Numeric(_) => TypeOid::NUMERIC,
        Literal::Text(_) => TypeOid(0),
    };
    literals.into_iter().map(ty).collect()
}

/// Literals as values of the parameters' types.
pub fn values<'l>(
    literals: impl IntoIterator<Item = &'l Literal>,
    types: &[TypeOid],
    format: &FormatSettings,
) -> Result<Vec<Datum>> {
    let value = |(literal, ty): (&Literal, &TypeOid)| match (literal, *ty) {
        (Literal::Int4(n), TypeOid::INT4) => Ok(Datum::Int4(*n)),
        (Literal::Int8(n), TypeOid::INT8) => Ok(Datum::Int8(*n)),
        (Literal::Int4(n), ty) => text::parse(&n.to_string(), ty.into(), format),
        (Literal::Int8(n), ty) => text::parse(&n.to_string(), ty.into(), format),
        // Names are looked up where the text is bound; other text than digits there is an error, or none, by rules of its own.
        (Literal::Text(name), ty)
            if (text::is_reg(ty) || ty == TypeOid::REGTYPE) && !name.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Err(Error::internal("a name among the parameters"))
        }
        (Literal::Numeric(digits) | Literal::Text(digits), ty) => text::parse(digits, ty.into(), format),
    };
    literals.into_iter().zip(types).map(value).collect()
}

/// Whether a text may be read as a moment that passes: as a date or a time it is another one with each statement.
pub fn names_moment(text: &str) -> bool {
    let text = text.to_lowercase();
    ["now", "today", "tomorrow", "yesterday"].iter().any(|word| text.contains(word))
}

/// What stood before, as far as it decides what a minus is.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Start,
    /// An operator that cannot be part of a longer one with a minus, a comma or an opening parenthesis.
    Opening,
    Other,
}

/// Takes the literals out; `None`: the text has something that this reader leaves to the parser.
pub fn lift(sql: &str) -> Option<Lifted> {
    if sql.len() > TEXT_MAX {
        return None;
    }
    let bytes = sql.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let mut out = String::with_capacity(sql.len() + 16);
    let mut literals = SmallVec::<[Literal; 8]>::new();
    let mut places = SmallVec::<[Range<usize>; 8]>::new();
    let mut before = Before::Start;
    let mut i = 0;
    while i < bytes.len() {
        let start = i;
        match at(i) {
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.push(char::from(at(i)));
                i += 1;
                continue;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => {
                while matches!(at(i), b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$' | 0x80..) {
                    i += 1;
                }
                // B'…', N'…', U&'…', but E'…'
                if at(i) == b'\'' && matches!(sql.get(start..i)?, "e" | "E") {
                    i = escaped(sql, i)?;
                } else if at(i) == b'\'' || (at(i) == b'&' && matches!(at(i + 1), b'\'' | b'"')) {
                    return None;
                }
                out.push_str(sql.get(start..i)?);
                before = Before::Other;
            }
            b'"' => {
                i += 1;
                while at(i) != b'"' {
                    if i >= bytes.len() {
                        return None;
                    }
                    i += 1;
                }
                i += 1;
                out.push_str(sql.get(start..i)?);
                before = Before::Other;
            }
            b'\'' => {
                let (value, end) = quoted(sql, i)?;
                i = end;
                push(&mut out, &mut literals, Literal::Text(value))?;
                places.push(start..i);
                before = Before::Other;
            }
            b'0'..=b'9' => {
                let (literal, end) = number(sql, i, false)?;
                i = end;
                push(&mut out, &mut literals, literal)?;
                places.push(start..i);
                before = Before::Other;
            }
            b'-' if at(i + 1) == b'-' => return None,
            b'-' if before == Before::Opening && at(i + 1).is_ascii_digit() => {
                let (literal, end) = number(sql, i + 1, true)?;
                i = end;
                push(&mut out, &mut literals, literal)?;
                places.push(start..i);
                before = Before::Other;
            }
            b'/' if at(i + 1) == b'*' => return None,
            b'.' if at(i + 1).is_ascii_digit() => return None,
            b'(' | b',' | b'=' | b'<' | b'>' | b'+' | b'-' | b'*' | b'/' => {
                out.push(char::from(at(i)));
                i += 1;
                before = Before::Opening;
            }
            b')' | b'.' | b'[' | b']' | b':' => {
                out.push(char::from(at(i)));
                i += 1;
                before = Before::Other;
            }
            // An operator that has one of these may end with a minus.
            b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'?' => {
                while OPERATOR.contains(&at(i)) {
                    if matches!((at(i), at(i + 1)), (b'-', b'-') | (b'/', b'*')) {
                        return None;
                    }
                    i += 1;
                }
                out.push_str(sql.get(start..i)?);
                before = Before::Other;
            }
            b';' if bytes.iter().skip(i + 1).all(u8::is_ascii_whitespace) => break,
            _ => return None,
        }
    }
    if before == Before::Start {
        return None;
    }
    let length = out.len();
    out.push('\0');
    out.extend(literals.iter().map(|literal| match literal {
        Literal::Int4(_) => 'i',
        Literal::Int8(_) => 'l',
        Literal::Numeric(_) => 'n',
        Literal::Text(_) => 't',
    }));
    Some(Lifted { key: out, length, literals, places })
}

fn push(out: &mut String, literals: &mut SmallVec<[Literal; 8]>, literal: Literal) -> Option<()> {
    if literals.len() == LITERALS_MAX {
        return None;
    }
    literals.push(literal);
    out.push('$');
    if literals.len() >= 10 {
        out.push(char::from(b'0' + (literals.len() / 10) as u8));
    }
    out.push(char::from(b'0' + (literals.len() % 10) as u8));
    Some(())
}

/// Characters of operators.
const OPERATOR: &[u8] = b"+-*/<>=~!@#%^&|?";

/// Where the string constant with escapes ends whose quote is at `start`, if they are of the plain kind. It stays in the text.
fn escaped(sql: &str, start: usize) -> Option<usize> {
    let bytes = sql.as_bytes();
    let mut i = start + 1;
    loop {
        match (bytes.get(i)?, bytes.get(i + 1)) {
            (b'\\', Some(b'n' | b't' | b'r' | b'\\' | b'\'')) | (b'\'', Some(b'\'')) => i += 2,
            (b'\\', _) => return None,
            (b'\'', _) => break,
            _ => i += 1,
        }
    }
    let goes_on = sql.get(i + 1..)?.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('\'');
    (!goes_on && !names_moment(sql.get(start..i)?)).then_some(i + 1)
}

/// The string constant that opens at `start`, and where it ends.
fn quoted(sql: &str, start: usize) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut from = start + 1;
    loop {
        let end = from + sql.get(from..)?.find('\'')?;
        value.push_str(sql.get(from..end)?);
        from = end + 1;
        match sql.as_bytes().get(from) {
            Some(b'\'') => {
                value.push('\'');
                from += 1;
            }
            _ => break,
        }
    }
    // A constant that goes on in the next line.
    let rest = sql.get(from..)?.trim_start_matches([' ', '\t', '\n', '\r']);
    (!rest.starts_with('\'') && !value.contains('\0')).then_some((value, from))
}

/// The digits at `start`, and where they end. The sign counts for the type.
fn number(sql: &str, start: usize, negative: bool) -> Option<(Literal, usize)> {
    let rest = sql.as_bytes().get(start..)?;
    let whole = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = whole;
    if rest.get(whole) == Some(&b'.') {
        let fraction = rest.iter().skip(whole + 1).take_while(|b| b.is_ascii_digit()).count();
        if fraction == 0 {
            return None;
        }
        end += 1 + fraction;
    }
    if matches!(rest.get(end), Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' | b'$' | 0x80..)) {
        return None;
    }
    let digits = sql.get(start..start + end)?;
    let sign = if negative { "-" } else { "" };
    let literal = if end > whole {
        Literal::Numeric(format!("{sign}{digits}"))
    } else {
        let value: i64 = digits.parse().ok()?;
        let signed = if negative { -value } else { value };
        match i32::try_from(signed) {
            Ok(signed) => Literal::Int4(signed),
            Err(_) => Literal::Int8(signed),
        }
    };
    Some((literal, start + end))
}

/// Whether the remaining text of a lifted statement, parsed, means what the original does: each of its `count`
/// parameters is compared with a column, assigned to one, added to one, or counts rows.
pub fn is_liftable(statement: &Statement, count: usize) -> bool {
    let Statement::Sql(statement) = statement else { return false };
    let found = match &**statement {
        ast::Statement::Query(query) if query.with.is_none() => match &*query.body {
            SetExpr::Select(select) => {
                select.selection.as_ref().map_or(0, in_condition) + query.limit_clause.as_ref().map_or(0, in_limit)
            }
            _ => 0,
        },
        ast::Statement::Insert(insert) => match insert.source.as_ref().map(|source| &*source.body) {
            Some(SetExpr::Values(values)) if values.rows.len() == 1 => {
                values.rows.iter().flat_map(|row| row.iter()).filter(|e| is_parameter(e)).count()
            }
            _ => 0,
        },
        ast::Statement::Update(update) => {
            let assigned: usize = update.assignments.iter().map(|a| in_value(&a.value)).sum();
            assigned + update.selection.as_ref().map_or(0, in_condition)
        }
        ast::Statement::Delete(delete) => delete.selection.as_ref().map_or(0, in_condition),
        _ => 0,
    };
    found == count
}

fn is_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

/// Parameters of a condition that stand beside a column.
fn in_condition(expr: &Expr) -> usize {
    use BinaryOperator as Op;
    match expr {
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } => in_condition(inner),
        Expr::BinaryOp { left, op: Op::And | Op::Or, right } => in_condition(left) + in_condition(right),
        Expr::BinaryOp { left, op: Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq, right } => {
            let beside = (is_column(left) && is_parameter(right)) || (is_parameter(left) && is_column(right));
            usize::from(beside)
        }
        Expr::InList { expr, list, .. } if is_column(expr) && list.iter().all(is_parameter) => list.len(),
        Expr::Between { expr, low, high, .. } if is_column(expr) && is_parameter(low) && is_parameter(high) => 2,
        _ => 0,
    }
}

/// `$n`, or a column and `$n` added or subtracted.
fn in_value(expr: &Expr) -> usize {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, right } => {
            usize::from(is_column(left) && is_parameter(right))
        }
        _ => usize::from(is_parameter(expr)),
    }
}

fn in_limit(limit: &ast::LimitClause) -> usize {
    let ast::LimitClause::LimitOffset { limit, offset, limit_by } = limit else { return 0 };
    if !limit_by.is_empty() {
        return 0;
    }
    let counts = [limit.as_ref(), offset.as_ref().map(|offset| &offset.value)];
    counts.into_iter().flatten().filter(|count| is_parameter(count)).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sql::parse;

    fn lifted(sql: &str) -> (String, Vec<Literal>) {
        let lifted = lift(sql).unwrap_or_else(|| panic!("{sql} is left alone"));
        (lifted.text().to_owned(), lifted.literals.to_vec())
    }

    fn text(value: &str) -> Literal {
        Literal::Text(value.into())
    }

    #[test]
    fn literals_are_taken_out_with_their_types() {
        let (rest, literals) = lifted("SELECT abalance FROM pgbench_accounts WHERE aid = 4711;");
        assert_eq!(rest, "SELECT abalance FROM pgbench_accounts WHERE aid = $1");
        assert_eq!(literals, [Literal::Int4(4711)]);
        let (rest, literals) =
            lifted("update t set a = a + -5, b='it''s \\ ', c = -1.50 where \"x\"\"1\" >= 2147483648");
        assert_eq!(rest, "update t set a = a + $1, b=$2, c = $3 where \"x\"\"1\" >= $4");
        let numeric = Literal::Numeric("-1.50".into());
        assert_eq!(literals, [Literal::Int4(-5), text("it's \\ "), numeric, Literal::Int8(2147483648)]);
        // The smallest integer is one, with its minus.
        assert_eq!(lifted("DELETE FROM t WHERE a = -2147483648").1, [Literal::Int4(-2147483648)]);
        assert_eq!(
            lifted("SELECT a FROM t WHERE a -5 = b"),
            ("SELECT a FROM t WHERE a -$1 = b".into(), vec![Literal::Int4(5)])
        );
        assert_eq!(lifted("select x1 from t2 where é='ü'"), ("select x1 from t2 where é=$1".into(), vec![text("ü")]));
        assert_eq!(lifted("select E'\\n', 'x', a ~ 'b' || @-5").0, "select E'\\n', $1, a ~ $2 || @-$3");
        assert_eq!(lifted("select a =@-5").0, "select a =@-$1");
        let values = (1..=12).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        assert!(lifted(&format!("INSERT INTO t VALUES ({values})")).0.ends_with("$9,$10,$11,$12)"));
    }

    #[test]
    fn some_literals_are_taken_out() {
        let sql = "select a[1] from t where b = '7' and c > -2;";
        let (one, other) = (lift(sql).unwrap(), lift("select a[1] from t where b='8' and c > -3").unwrap());
        assert_ne!(one.key(), other.key());
        let other = lift("select a[1] from t where b = '8' and c > -3").unwrap();
        let free = one.differing(&other.literals);
        assert_eq!(one.text_without(sql, free), "select a[1] from t where b = $1 and c > $2;");
        assert_eq!(chosen(&one.literals, free).cloned().collect::<Vec<_>>(), [text("7"), Literal::Int4(-2)]);
        assert_eq!(one.text_without(sql, one.differing(&one.literals)), sql);
    }

    #[test]
    fn what_needs_the_real_parser_is_left_alone() {
        for sql in [
            "",
            " ",
            "SELECT 1 -- one",
            "SELECT /* one */ 1",
            "SELECT $1",
            "SELECT $$a$$",
            "SELECT E'\\n' '\\n'",
            "SELECT E'tod\\x61y'",
            "SELECT e'today'",
            "SELECT E'a\\'",
            "SELECT U&'\\0041'",
            "SELECT u&\"\\0041\" FROM t",
            "SELECT date'2024-01-01'",
            "SELECT 'a'\n'b'",
            "SELECT 'a",
            "SELECT \"a",
            "SELECT 1e5",
            "SELECT 1.",
            "SELECT .5",
            "SELECT 0x1F",
            "SELECT 1_000",
            "SELECT 99999999999999999999",
            "SELECT 1; SELECT 2",
            "SELECT @--5",
            "SELECT a ||/* */ 'b'",
        ] {
            assert!(lift(sql).is_none(), "{sql}");
        }
        assert!(lift(&format!("SELECT '{}'", "a".repeat(TEXT_MAX))).is_none());
    }

    #[test]
    fn parameters_replace_literals_only_where_they_mean_the_same() {
        let liftable = |sql: &str| {
            let lifted = lift(sql).unwrap();
            parse(lifted.text()).is_ok_and(|parsed| is_liftable(&parsed[0].statement, lifted.literals.len()))
        };
        for sql in [
            "SELECT a FROM t WHERE a = 1 AND (b > 'x' OR NOT 5 <= t.c) LIMIT 3 OFFSET 1",
            "SELECT a FROM t WHERE a IN (1, 2) AND b BETWEEN 1 AND 2",
            "INSERT INTO t (a, b) VALUES (1, 'x')",
            "INSERT INTO t VALUES (1, DEFAULT, now()) ON CONFLICT DO NOTHING",
            "UPDATE t SET a = 1, b = b - 2 WHERE c = 'x'",
            "DELETE FROM t WHERE a = 1",
            "SELECT a FROM t",
        ] {
            assert!(liftable(sql), "{sql}");
        }
        for sql in [
            "SELECT 1",
            "SELECT a FROM t ORDER BY 1",
            "SELECT a FROM t GROUP BY 1",
            "SELECT a FROM t WHERE a + 1 = 2",
            "SELECT a FROM t WHERE a = '1'::int",
            "SELECT a FROM t WHERE a = -5::int2",
            "SELECT a FROM t WHERE lower(a) = 'x'",
            "SELECT a FROM t WHERE 1 = 1",
            "SELECT a FROM t WHERE a = 1 UNION SELECT 1",
            "WITH x AS (SELECT 1) SELECT a FROM t WHERE a = 1",
            "INSERT INTO t VALUES (1), ('2')",
            "INSERT INTO t SELECT 1",
            "INSERT INTO t VALUES (1) RETURNING a + 1",
            "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1",
            "UPDATE t SET a = 1 + 1",
            "UPDATE t SET a = 1 WHERE a = (SELECT 1)",
            "CREATE TABLE t (a numeric(3, 1))",
            "SET work_mem = 1",
        ] {
            assert!(!liftable(sql), "{sql}");
        }
    }
}
