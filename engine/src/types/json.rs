//! JSON: a parser that keeps numbers exact, and the two ways PostgreSQL prints it.

use std::io::Write;

use super::numeric::Numeric;
use crate::error::{Error, Result, SqlState};

/// Deepest nesting that is read; deeper input answers 54001, as PostgreSQL's stack limit does.
const DEPTH_MAX: usize = 1000;

/// Bytes of the line that an error shows, at most.
const CONTEXT_BYTES: usize = 50;

/// Stack that one level of nesting may need, and what is added when less is left.
const STACK_RED_ZONE: usize = 64 << 10;
const STACK_SEGMENT: usize = 1 << 20;

/// A parsed JSON value. Objects keep the order and the duplicates of their text.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(Numeric),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Parses JSON text (22P02).
pub fn parse(text: &str) -> Result<Json> {
    document(Parser { text, at: 0, string_start: 0, any_number: false })
}

fn document(mut parser: Parser<'_>) -> Result<Json> {
    let value = parser.value(0)?;
    parser.space();
    if parser.at < parser.text.len() {
        let token = parser.token();
        return Err(parser.invalid(format!("Expected end of input, but found \"{token}\"."), parser.at + token.len()));
    }
    Ok(value)
}

/// Checks json input; the text itself is the value, so its numbers may be of any size.
pub fn validate(text: &str) -> Result<()> {
    document(Parser { text, at: 0, string_start: 0, any_number: true }).map(|_| ())
}

/// The text that PostgreSQL prints for this text read as jsonb.
pub fn normalize(text: &str) -> Result<String> {
    let mut out = Vec::with_capacity(text.len());
    parse(text)?.sorted().write_spaced(&mut out);
    String::from_utf8(out).map_err(|e| Error::internal(e.to_string()))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// Where the string that is being read begins.
    string_start: usize,
    /// Numbers are checked for their form alone and read as zero.
    any_number: bool,
}

impl<'a> Parser<'a> {
    /// 22P02 with the text up to byte `end`, where the token at fault ends, as PostgreSQL shows it (report_json_context).
    fn invalid(&self, detail: String, end: usize) -> Error {
        let end = self.text.floor_char_boundary(end.min(self.text.len()));
        let at = self.at.min(end);
        let line_start = self.text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |i| i + 1);
        let line = self.text.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
        let mut start = line_start;
        while end - start >= CONTEXT_BYTES {
            start = self.text.ceil_char_boundary(start + 1);
        }
        if start - line_start <= 3 {
            start = line_start;
        }
        let prefix = if start > line_start { "..." } else { "" };
        let more = self.at < self.text.len() && !matches!(self.text.as_bytes().get(end), None | Some(b'\n' | b'\r'));
        let suffix = if more { "..." } else { "" };
        let shown = self.text.get(start..end).unwrap_or_default();
        Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type json")
            .detail(detail)
            .context(format!("JSON data, line {line}: {prefix}{shown}{suffix}"))
    }

    /// A string whose escapes make no character: the text is shown up to the token before it.
    fn invalid_string(&self, detail: &str) -> Error {
        let before = self.text.get(..self.string_start).unwrap_or_default();
        self.invalid(detail.into(), before.trim_end_matches([' ', '\t', '\n', '\r']).len())
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The token at the cursor, for messages.
    fn token(&self) -> &'a str {
        let rest = self.rest();
        let end = rest
            .char_indices()
            .find(|(_, c)| !c.is_alphanumeric() && *c != '_' && *c != '-' && *c != '.' && *c != '+')
            .map_or(rest.len(), |(i, c)| if i == 0 { c.len_utf8() } else { i });
        &rest[..end]
    }

    fn unexpected(&self, expected: &str) -> Error {
        let end = self.at + self.token().len();
        match self.peek() {
            None => self.invalid("The input string ended unexpectedly.".into(), self.at),
            Some(_) if expected.is_empty() => self.invalid(format!("Token \"{}\" is invalid.", self.token()), end),
            Some(_) => self.invalid(format!("Expected {expected}, but found \"{}\".", self.token()), end),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json> {
        stacker::maybe_grow(STACK_RED_ZONE, STACK_SEGMENT, || self.value_here(depth))
    }

    fn value_here(&mut self, depth: usize) -> Result<Json> {
        if depth > DEPTH_MAX {
            return Err(Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded"));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'}' | b']' | b',' | b':') => Err(self.unexpected("JSON value")),
            _ => {
                for (word, value) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
                    if self.token() == word {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.unexpected(""))
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json> {
        self.at += 1;
        let mut members = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected(if members.is_empty() { "string or \"}\"" } else { "string" }));
            }
            let key = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("\":\""));
            }
            self.at += 1;
            members.push((key, self.value(depth + 1)?));
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(members));
                }
                _ => return Err(self.unexpected("\",\" or \"}\"")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json> {
        self.at += 1;
        let mut elements = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(elements));
                }
                _ => return Err(self.unexpected("\",\" or \"]\"")),
            }
        }
    }

    fn number(&mut self) -> Result<Json> {
        let token = self.token();
        let body = token.strip_prefix('-').unwrap_or(token);
        let integer: &str = body.split(['.', 'e', 'E']).next().unwrap_or("");
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let fraction_ok = match body.split_once('.') {
            Some((_, fraction)) => digits(fraction.split(['e', 'E']).next().unwrap_or("")),
            None => true,
        };
        let valid = digits(integer) && (integer == "0" || !integer.starts_with('0')) && fraction_ok;
        if !valid {
            return Err(self.unexpected(""));
        }
        let number = match Numeric::parse(token) {
            Ok(number) => number,
            Err(error) if error.state() != SqlState::NumericValueOutOfRange => return Err(self.unexpected("")),
            Err(_) if self.any_number => Numeric::zero(),
            Err(error) => return Err(error),
        };
        self.at += token.len();
        Ok(Json::Number(number))
    }

    fn string(&mut self) -> Result<String> {
        self.string_start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let Some(stop) = rest.find(|c: char| c == '"' || c == '\\' || (c as u32) < 0x20) else {
                let token = self.text.get(self.string_start..).unwrap_or(rest);
                return Err(self.invalid(format!("Token \"{token}\" is invalid."), self.text.len()));
            };
            out.push_str(&rest[..stop]);
            self.at += stop;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                other => {
                    return Err(self.invalid(
                        format!("Character with value 0x{:02x} must be escaped.", other.unwrap_or(0)),
                        self.at,
                    ));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let code = self.text.as_bytes().get(self.at + 1).copied();
        self.at += 2;
        // Whatever follows the backslash is one byte, or an error.
        Ok(match code {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => {
                let shown = self.text.get(self.at - 1..).and_then(|s| s.chars().next()).unwrap_or(' ');
                self.at = self.at.min(self.text.len());
                let end = self.at - 1 + shown.len_utf8();
                return Err(self.invalid(format!("Escape sequence \"\\{shown}\" is invalid."), end));
            }
        })
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4);
        let code = digits
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|d| u32::from_str_radix(d, 16).ok())
            .ok_or_else(|| {
                let rest = self.rest();
                let good = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
                match rest.get(good..).and_then(|r| r.chars().next()) {
                    Some(bad) => self.invalid(
                        "\"\\u\" must be followed by four hexadecimal digits.".into(),
                        self.at + good + bad.len_utf8(),
                    ),
                    None => {
                        let token = self.text.get(self.string_start..).unwrap_or_default();
                        self.invalid(format!("Token \"{token}\" is invalid."), self.text.len())
                    }
                }
            })?;
        self.at += 4;
        Ok(code)
    }

    fn unicode(&mut self) -> Result<char> {
        let high = self.hex4()?;
        if high == 0 {
            return Err(Error::new(SqlState::UntranslatableCharacter, "unsupported Unicode escape sequence")
                .detail("\\u0000 cannot be converted to text."));
        }
        let code = if (0xd800..0xdc00).contains(&high) {
            if !self.rest().starts_with("\\u") {
                return Err(self.invalid_string("Unicode low surrogate must follow a high surrogate."));
            }
            self.at += 2;
            let low = self.hex4()?;
            if (0xd800..0xdc00).contains(&low) {
                return Err(self.invalid_string("Unicode high surrogate must not follow a high surrogate."));
            }
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.invalid_string("Unicode low surrogate must follow a high surrogate."));
            }
            0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
        } else {
            high
        };
        char::from_u32(code).ok_or_else(|| self.invalid_string("Unicode low surrogate must follow a high surrogate."))
    }
}

impl Json {
    /// As jsonb keeps it: keys sorted by length, then bytes; of duplicates the last.
    pub fn sorted(self) -> Json {
        match self {
            Json::Array(elements) => Json::Array(elements.into_iter().map(Json::sorted).collect()),
            Json::Object(members) => {
                let mut sorted: Vec<(String, Json)> = Vec::with_capacity(members.len());
                for (key, value) in members {
                    sorted.push((key, value.sorted()));
                }
                sorted.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
                sorted.reverse();
                let mut seen: Option<String> = None;
                sorted.retain(|(key, _)| {
                    let first = seen.as_deref() != Some(key);
                    seen = Some(key.clone());
                    first
                });
                sorted.reverse();
                Json::Object(sorted)
            }
            other => other,
        }
    }

    /// `{"a": 1, "b": [1, 2]}`: jsonb's form.
    pub fn write_spaced(&self, out: &mut Vec<u8>) {
        self.write(b", ", b": ", out);
    }

    /// `{"a":1,"b":[1,2]}`: what the json functions build.
    pub fn write_compact(&self, out: &mut Vec<u8>) {
        self.write(b",", b":", out);
    }

    fn write(&self, comma: &[u8], colon: &[u8], out: &mut Vec<u8>) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(true) => out.extend_from_slice(b"true"),
            Json::Bool(false) => out.extend_from_slice(b"false"),
            Json::Number(number) => {
                let _ = write!(out, "{number}");
            }
            Json::String(string) => write_string(string, out),
            Json::Array(elements) => {
                out.push(b'[');
                for (i, element) in elements.iter().enumerate() {
                    if i > 0 {
                        out.extend_from_slice(comma);
                    }
                    element.write(comma, colon, out);
                }
                out.push(b']');
            }
            Json::Object(members) => {
                out.push(b'{');
                for (i, (key, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.extend_from_slice(comma);
                    }
                    write_string(key, out);
                    out.extend_from_slice(colon);
                    value.write(comma, colon, out);
                }
                out.push(b'}');
            }
        }
    }

    /// What `json_typeof` answers.
    pub fn type_name(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Number(_) => "number",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        }
    }
}

/// A JSON string with its quotes.
pub fn write_string(string: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in string.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}
