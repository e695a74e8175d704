//! Cuts the text of a date, a time or an interval into fields (datetime.c, `ParseDateTime`).

use super::{Bad, words};

/// Most fields of a text.
const FIELDS_MAX: usize = 25;
/// Bytes that the fields may have, a terminator behind each: of a date or a time, of a timestamp, of an interval.
pub(super) const TEXT_MAX: usize = 129;
pub(super) const TIMESTAMP_TEXT_MAX: usize = 128 + FIELDS_MAX;
pub const INTERVAL_TEXT_MAX: usize = 256;

/// What a field looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Digits, with a point perhaps.
    Number,
    /// Digits and colons.
    Time,
    /// Anything with delimiters inside: a date or the name of a zone.
    Date,
    String,
    /// A sign and letters.
    Special,
    /// A sign and digits: an offset, a signed number or years and months.
    Signed,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub kind: Kind,
    /// In lower case; ASCII.
    pub text: String,
}

struct Lexer<'a> {
    rest: &'a [u8],
    text: String,
}

impl Lexer<'_> {
    fn peek(&self) -> u8 {
        self.rest.first().copied().unwrap_or(0)
    }

    fn skip(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or(&[]);
    }

    fn take(&mut self) {
        self.text.push(char::from(self.peek().to_ascii_lowercase()));
        self.skip();
    }

    fn run(&mut self, accept: impl Fn(u8) -> bool) {
        while accept(self.peek()) {
            self.take();
        }
    }

    fn digits(&mut self) {
        self.run(|b| b.is_ascii_digit());
    }

    /// A field that begins with a digit.
    fn number(&mut self) -> Kind {
        self.digits();
        match self.peek() {
            b':' => {
                self.run(|b| b.is_ascii_digit() || b == b':' || b == b'.');
                Kind::Time
            }
            delimiter @ (b'-' | b'/' | b'.') => {
                self.take();
                if !self.peek().is_ascii_digit() {
                    self.run(|b| b.is_ascii_alphanumeric() || b == delimiter);
                    return Kind::Date;
                }
                self.digits();
                // The delimiters have to match in a date of three parts.
                if self.peek() == delimiter {
                    self.run(|b| b.is_ascii_digit() || b == delimiter);
                    return Kind::Date;
                }
                if delimiter == b'.' { Kind::Number } else { Kind::Date }
            }
            _ => Kind::Number,
        }
    }

    /// A field that begins with a letter: a word, a date with a month's name, or the name of a zone.
    fn word(&mut self) -> Kind {
        self.run(|b| b.is_ascii_alphabetic());
        let goes_on = match self.peek() {
            b'-' | b'/' | b'.' => true,
            b'+' | b'0'..=b'9' => words::word(&self.text).is_none(),
            _ => false,
        };
        if !goes_on {
            return Kind::String;
        }
        self.take();
        self.run(|b| matches!(b, b'+' | b'-' | b'/' | b'_' | b'.' | b':') || b.is_ascii_alphanumeric());
        Kind::Date
    }

    fn signed(&mut self) -> Result<Kind, Bad> {
        self.take();
        while is_space(self.peek()) {
            self.skip();
        }
        if self.peek().is_ascii_digit() {
            self.run(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-'));
            Ok(Kind::Signed)
        } else if self.peek().is_ascii_alphabetic() {
            self.run(|b| b.is_ascii_alphabetic());
            Ok(Kind::Special)
        } else {
            Err(Bad::Format)
        }
    }
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// The fields of a text of at most `length_max` bytes.
pub fn fields(text: &str, length_max: usize) -> Result<Vec<Field>, Bad> {
    let mut lexer = Lexer { rest: text.as_bytes(), text: String::new() };
    let mut fields: Vec<Field> = Vec::new();
    let mut length = 0;
    while !lexer.rest.is_empty() {
        let kind = match lexer.peek() {
            byte if is_space(byte) => {
                lexer.skip();
                continue;
            }
            _ if fields.len() >= FIELDS_MAX => return Err(Bad::Format),
            b'0'..=b'9' => lexer.number(),
            b'.' => {
                lexer.take();
                lexer.digits();
                Kind::Number
            }
            byte if byte.is_ascii_alphabetic() => lexer.word(),
            b'+' | b'-' => lexer.signed()?,
            byte if byte.is_ascii_punctuation() => {
                lexer.skip();
                continue;
            }
            _ => return Err(Bad::Format),
        };
        let text = std::mem::take(&mut lexer.text);
        length += text.len() + 1;
        if length > length_max {
            return Err(Bad::Format);
        }
        fields.push(Field { kind, text });
    }
    Ok(fields)
}

/// C's strtol: a sign and digits, and what stands behind them. The number is `None` where it is beyond the type.
pub fn leading<T: TryFrom<i128>>(text: &str) -> (Option<T>, &str) {
    let body = text.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(is_space));
    let digits = body.strip_prefix(['+', '-']).unwrap_or(body);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    if count == 0 {
        return (T::try_from(0).ok(), text);
    }
    let (number, rest) = digits.split_at(count);
    let limit = i128::from(u64::MAX);
    let magnitude = number.bytes().fold(0i128, |n, b| (n * 10 + i128::from(b - b'0')).min(limit));
    (T::try_from(if body.starts_with('-') { -magnitude } else { magnitude }).ok(), rest)
}

/// A fraction from its point on; a bare point is nothing.
pub fn fraction(text: &str) -> Result<f64, Bad> {
    let digits = text.strip_prefix('.').ok_or(Bad::Format)?;
    if digits.is_empty() {
        return Ok(0.0);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Bad::Format);
    }
    text.parse().map_err(|_| Bad::Format)
}

/// A fraction of a second in microseconds.
pub(super) fn fraction_micros(text: &str) -> Result<i64, Bad> {
    Ok((fraction(text)? * 1e6).round_ties_even() as i64)
}
