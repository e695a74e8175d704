//! Quoted constants and names whose text is not what stands between the quotes: `E'…'`, `U&'…'`, `U&"…"`, and constants
//! that go on in the next line (PostgreSQL manual, "Lexical Structure").
//!
//! sqlparser's tokenizer reads none of them as PostgreSQL does: it knows no bytes, pairs of surrogates or UESCAPE, and takes
//! the next line for an alias. So they are read here, and it gets others of the same length in their places.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::parse::Source;
use crate::error::{Error, Result, SqlState};

/// Puts in for the characters of a constant.
const FILLING: char = 'x';

/// A text for the tokenizer, and the tokens that it lacks, by the byte of their quote: where they begin, and what they are.
pub(super) struct Plain<'a> {
    pub text: Cow<'a, str>,
    tokens: HashMap<usize, (usize, Token)>,
}

impl Plain<'_> {
    /// Gives tokens what stands in the source.
    pub fn restore(mut self, source: &Source, tokens: &mut [TokenWithSpan]) -> Result<()> {
        if self.tokens.is_empty() {
            return Ok(());
        }
        for token in tokens {
            let quoted = match &token.token {
                Token::SingleQuotedString(_) => true,
                Token::Word(word) => word.quote_style.is_some(),
                _ => false,
            };
            if quoted
                && let Some(byte) = source.byte(token.span.start)
                && let Some((start, whole)) = self.tokens.remove(&byte)
            {
                token.token = whole;
                token.span.start = source.location(start).unwrap_or(token.span.start);
            }
        }
        match self.tokens.is_empty() {
            true => Ok(()),
            false => Err(Error::internal("a quoted constant was lost")),
        }
    }
}

/// Reads what the tokenizer would misread.
pub(super) fn plain(source: &Source) -> Result<Plain<'_>> {
    let mut reader = Reader::new(source);
    if !reader.may_concern() {
        return Ok(Plain { text: Cow::Borrowed(source.text()), tokens: HashMap::new() });
    }
    reader.read()?;
    let text = match reader.tokens.is_empty() {
        true => Cow::Borrowed(source.text()),
        false => Cow::Owned(reader.out + reader.text.get(reader.copied..).unwrap_or("")),
    };
    Ok(Plain { text, tokens: reader.tokens })
}

struct Reader<'a> {
    source: &'a Source,
    text: &'a str,
    at: usize,
    out: String,
    /// Up to which byte the text is in `out`.
    copied: usize,
    tokens: HashMap<usize, (usize, Token)>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source) -> Self {
        Reader { source, text: source.text(), at: 0, out: String::new(), copied: 0, tokens: HashMap::new() }
    }

    /// Whether there is anything that looks as if it could be such a constant.
    fn may_concern(&self) -> bool {
        let bytes = self.text.as_bytes();
        let prefixed = |i: usize| i > 0 && matches!(bytes[i - 1], b'e' | b'E' | b'&');
        let followed = |i: usize| {
            let blank = bytes.iter().skip(i + 1).take_while(|b| b.is_ascii_whitespace()).count();
            match bytes.get(i + 1 + blank) {
                Some(b'\'') => blank > 0,
                next => matches!(next, Some(b'-' | b'/')),
            }
        };
        let quotes = bytes.iter().enumerate().filter(|(_, b)| matches!(b, b'\'' | b'"'));
        quotes.into_iter().any(|(i, b)| prefixed(i) || (*b == b'\'' && followed(i)))
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn read(&mut self) -> Result<()> {
        while self.at < self.text.len() {
            match (self.byte(0), self.byte(1)) {
                (b'-', b'-') => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                (b'/', b'*') => self.skip_comment(),
                (b'$', _) => self.skip_dollar_quoted(),
                (b'\'', _) => self.constant(0, Token::SingleQuotedString)?,
                (b'b' | b'B', b'\'') => self.constant(1, Token::SingleQuotedByteStringLiteral)?,
                (b'x' | b'X', b'\'') => self.constant(1, Token::HexStringLiteral)?,
                (b'n' | b'N', b'\'') => self.constant(1, Token::NationalStringLiteral)?,
                (b'"', _) => {
                    self.at += 1;
                    self.quoted(b'"');
                }
                (b'e' | b'E', b'\'') => self.escaped()?,
                (b'u' | b'U', b'&') if matches!(self.byte(2), b'\'' | b'"') => self.unicode()?,
                (b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'0'..=b'9' | 0x80.., _) => {
                    let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | 0x80..);
                    self.at += self.rest().bytes().take_while(word).count();
                }
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    fn skip_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.text.len() {
            match (self.byte(0), self.byte(1)) {
                (b'/', b'*') => depth += 1,
                (b'*', b'/') => depth -= 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_dollar_quoted(&mut self) {
        let rest = self.rest();
        let tag = rest.bytes().skip(1).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | 0x80..)).count();
        let length = tag + 2;
        let opens = rest.as_bytes().get(tag + 1) == Some(&b'$') && !rest.as_bytes()[1].is_ascii_digit();
        let body = opens.then(|| (rest.get(..length), rest.get(length..)));
        self.at += match body {
            Some((Some(quote), Some(body))) => length + body.find(quote).map_or(body.len(), |end| end + length),
            _ => 1,
        };
    }

    /// Reads on behind the closing quote; where the text before it stands, in which quotes are doubled. `None`: it does not
    /// end, which the tokenizer will say.
    fn quoted(&mut self, quote: u8) -> Option<Range<usize>> {
        let start = self.at;
        while let Some(found) = self.text.as_bytes().get(self.at..)?.iter().position(|b| *b == quote) {
            let end = self.at + found;
            self.at = end + 1;
            if self.byte(0) != quote {
                return Some(start..end);
            }
            self.at += 1;
        }
        self.at = self.text.len();
        None
    }

    /// Where the parts of a constant stand whose first quote was read.
    fn parts(&mut self) -> Option<Vec<Range<usize>>> {
        let mut parts = vec![self.quoted(b'\'')?];
        while let Some(next) = self.next_part(self.at) {
            self.at = next;
            parts.push(self.quoted(b'\'')?);
        }
        Some(parts)
    }

    /// Behind a closing quote at `from`: the byte after the quote that opens the next part of the same constant.
    fn next_part(&self, from: usize) -> Option<usize> {
        let rest = self.text.get(from..)?;
        let mut at = 0;
        let mut line = false;
        loop {
            let blank = rest.get(at..)?;
            let trimmed = blank.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
            let skipped = blank.len() - trimmed.len();
            line |= blank.get(..skipped)?.contains(['\n', '\r']);
            at += skipped;
            // A comment may stand at the end of each line.
            match trimmed.starts_with("--") {
                true => at += trimmed.find('\n')?,
                false => break,
            }
        }
        (line && rest.get(at..)?.starts_with('\'')).then_some(from + at + 1)
    }

    /// A constant without escapes, whose quote stands behind `prefix` bytes.
    fn constant(&mut self, prefix: usize, token: fn(String) -> Token) -> Result<()> {
        let start = self.at;
        self.at += prefix + 1;
        let Some(parts) = self.parts() else { return Ok(()) };
        self.nothing_follows()?;
        if parts.len() > 1 {
            let text = parts.into_iter().filter_map(|part| self.text.get(part)).collect::<String>();
            self.replace(start, prefix, token(text.replace("''", "'")));
        }
        Ok(())
    }

    /// Two constants in one line are not one, and nothing else either.
    fn nothing_follows(&self) -> Result<()> {
        let mut behind = Reader { at: self.at, ..Reader::new(self.source) };
        loop {
            behind.at = self.text.len() - behind.rest().trim_start().len();
            match (behind.byte(0), behind.byte(1)) {
                (b'-', b'-') => behind.at += behind.rest().find('\n').unwrap_or(behind.rest().len()),
                (b'/', b'*') => behind.skip_comment(),
                _ => break,
            }
        }
        let prefix = match (behind.byte(0), behind.byte(1), behind.byte(2)) {
            (b'\'', _, _) => 0,
            (b'e' | b'E' | b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'', _) => 1,
            (b'u' | b'U', b'&', b'\'') => 2,
            _ => return Ok(()),
        };
        let start = behind.at;
        behind.at += prefix + 1;
        behind.quoted(b'\'');
        Err(self.near("syntax error", start, behind.at))
    }

    /// Puts one of the same length in the place of what was read since `start`, whose quote stands behind `prefix` bytes.
    fn replace(&mut self, start: usize, prefix: usize, token: Token) {
        let read = self.text.get(start..self.at).unwrap_or("");
        self.out.push_str(self.text.get(self.copied..start).unwrap_or(""));
        let quote = if matches!(token, Token::Word(_)) { '"' } else { '\'' };
        let last = read.chars().count().saturating_sub(1);
        let filled = read.chars().enumerate().map(|(i, c)| match c {
            // What stands before it must not take it for its own.
            _ if i < prefix => ' ',
            _ if i == prefix || i == last => quote,
            '\n' => '\n',
            _ => FILLING,
        });
        self.out.extend(filled);
        self.copied = self.at;
        self.tokens.insert(start + prefix, (start, token));
    }

    fn error(&self, state: SqlState, message: &str, byte: usize) -> Error {
        let error = Error::new(state, message);
        match self.source.location(byte) {
            Some(at) => self.source.locate(error, Span::new(at, at)),
            None => error,
        }
    }

    fn near(&self, message: &str, from: usize, to: usize) -> Error {
        let near = self.text.get(from..to).unwrap_or("");
        self.error(SqlState::SyntaxError, &format!("{message} at or near \"{near}\""), from)
    }

    /// `E'…'`: escapes may be bytes, which have to be UTF-8 together.
    fn escaped(&mut self) -> Result<()> {
        let start = self.at;
        self.at += 2;
        let mut bytes = Vec::new();
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else { return Ok(()) };
            match (c, rest.as_bytes().get(1)) {
                ('\'', Some(b'\'')) => {
                    bytes.push(b'\'');
                    self.at += 2;
                }
                ('\'', _) => match self.next_part(self.at + 1) {
                    Some(next) => self.at = next,
                    None => break,
                },
                ('\\', Some(_)) => self.escape(&mut bytes)?,
                ('\\', None) => return Ok(()),
                _ => {
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += c.len_utf8();
                }
            }
        }
        self.at += 1;
        self.nothing_follows()?;
        let text = utf8(bytes)?;
        self.replace(start, 1, Token::EscapedStringLiteral(text));
        Ok(())
    }

    /// What stands at a backslash.
    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let digits = |from: usize, most: usize, radix: u32| {
            let digit = |b: &u8| char::from(*b).is_digit(radix);
            let found = self.text.as_bytes().get(from..).unwrap_or(&[]);
            let count = found.iter().take(most).take_while(|b| digit(b)).count();
            (count, self.text.get(from..from + count).and_then(|d| u32::from_str_radix(d, radix).ok()).unwrap_or(0))
        };
        let next = self.byte(1);
        let (length, byte) = match next {
            b'b' => (2, 8),
            b'f' => (2, 12),
            b'n' => (2, b'\n'),
            b'r' => (2, b'\r'),
            b't' => (2, b'\t'),
            b'0'..=b'7' => {
                let (count, value) = digits(self.at + 1, 3, 8);
                (1 + count, value as u8)
            }
            b'x' if char::from(self.byte(2)).is_ascii_hexdigit() => {
                let (count, value) = digits(self.at + 2, 2, 16);
                (2 + count, value as u8)
            }
            b'u' | b'U' => {
                let c = self.code_points()?;
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => {
                // The character itself.
                let c = self.rest().chars().nth(1).unwrap_or('\\');
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                self.at += 1 + c.len_utf8();
                return Ok(());
            }
        };
        bytes.push(byte);
        self.at += length;
        Ok(())
    }

    /// `\uXXXX` or `\UXXXXXXXX`, or two that are a pair of surrogates.
    fn code_points(&mut self) -> Result<char> {
        let first = self.at;
        let value = self.code_point()?;
        if let Some(c) = char::from_u32(value).filter(|c| *c != '\0') {
            return Ok(c);
        }
        if !(0xD800..0xDC00).contains(&value) {
            let pair = (0xDC00..0xE000).contains(&value);
            let what = if pair { "invalid Unicode surrogate pair" } else { "invalid Unicode escape value" };
            return Err(self.near(what, first, self.at));
        }
        let second = self.at;
        if self.byte(0) == b'\\' && matches!(self.byte(1), b'u' | b'U') {
            let low = self.code_point()?;
            if (0xDC00..0xE000).contains(&low)
                && let Some(c) = char::from_u32(0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00))
            {
                return Ok(c);
            }
            return Err(self.near("invalid Unicode surrogate pair", second, self.at));
        }
        let end = second + self.rest().chars().next().map_or(0, char::len_utf8);
        Err(self.near("invalid Unicode surrogate pair", second, end))
    }

    fn code_point(&mut self) -> Result<u32> {
        let count = if self.byte(1) == b'u' { 4 } else { 8 };
        let digits =
            self.text.get(self.at + 2..self.at + 2 + count).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(value) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            let error = self.error(SqlState::InvalidEscapeSequence, "invalid Unicode escape", self.at);
            return Err(error.hint("Unicode escapes must be \\uXXXX or \\UXXXXXXXX."));
        };
        self.at += 2 + count;
        Ok(value)
    }

    /// `U&'…'` or `U&"…"`, with UESCAPE behind it or not.
    fn unicode(&mut self) -> Result<()> {
        let start = self.at;
        let quote = self.byte(2);
        self.at += 3;
        let parts = if quote == b'\'' { self.parts() } else { self.quoted(quote).map(|part| vec![part]) };
        let Some(parts) = parts else { return Ok(()) };
        let end = self.at - 1;
        let escape = self.uescape()?;
        let text =
            self.decoded(Characters { text: self.text, parts: &parts, at: 0, quote: char::from(quote) }, end, escape)?;
        if quote == b'\'' {
            self.nothing_follows()?;
            self.replace(start, 2, Token::UnicodeStringLiteral(text));
        } else {
            let word = Word { value: text, quote_style: Some('"'), keyword: Keyword::NoKeyword };
            self.replace(start, 2, Token::Word(word));
        }
        Ok(())
    }

    /// The escape character that UESCAPE names behind a constant; a backslash without it.
    fn uescape(&mut self) -> Result<char> {
        const WORD: &str = "uescape";
        let rest = self.rest().trim_start();
        let named = rest.get(..WORD.len()).is_some_and(|word| word.eq_ignore_ascii_case(WORD));
        let behind = rest.get(WORD.len()..).unwrap_or("");
        if !named || behind.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$')) {
            return Ok('\\');
        }
        let value = behind.trim_start();
        let at = self.text.len() - value.len();
        if !value.starts_with('\'') {
            let word =
                value.chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum::<usize>();
            let end = at + word.max(value.chars().next().map_or(0, char::len_utf8));
            return Err(self.near("UESCAPE must be followed by a simple string literal", at, end));
        }
        self.at = at + 1;
        let Some(text) = self.quoted(b'\'') else { return Ok('\\') };
        let mut chars = self.text.get(text).unwrap_or("").chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_ascii_hexdigit() && !c.is_ascii_whitespace() && !matches!(c, '+' | '"') => Ok(c),
            _ => Err(self.near("invalid Unicode escape character", at, self.at)),
        }
    }

    /// The text of a Unicode constant whose last quote is byte `end`.
    fn decoded(&self, mut text: Characters<'_>, end: usize, escape: char) -> Result<String> {
        let place = |text: &Characters<'_>| text.clone().next().map_or(end, |(byte, _)| byte);
        let unpaired = |place| Err(self.error(SqlState::SyntaxError, "invalid Unicode surrogate pair", place));
        let (mut out, mut high) = (String::new(), None);
        loop {
            let at = place(&text);
            let Some((_, c)) = text.next() else { break };
            let doubled = c == escape && text.clone().next().is_some_and(|(_, next)| next == escape);
            if c != escape || doubled {
                if high.is_some() {
                    return unpaired(at);
                }
                out.push(c);
                if doubled {
                    text.next();
                }
                continue;
            }
            let long = text.clone().next().is_some_and(|(_, next)| next == '+');
            let count = if long { 6 } else { 4 };
            let digits: String = text.clone().skip(usize::from(long)).map(|(_, c)| c).take(count).collect();
            let value = match digits.len() == count && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                true => u32::from_str_radix(&digits, 16).ok(),
                false => None,
            };
            let Some(value) = value else {
                let error = self.error(SqlState::SyntaxError, "invalid Unicode escape", at);
                return Err(error.hint("Unicode escapes must be \\XXXX or \\+XXXXXX."));
            };
            text.nth(count + usize::from(long) - 1);
            match (high.take(), value) {
                (None, 0) | (_, 0x11_0000..) => {
                    return Err(self.error(SqlState::SyntaxError, "invalid Unicode escape value", at));
                }
                (None, 0xD800..0xDC00) => high = Some(value),
                (Some(high), 0xDC00..0xE000) => {
                    out.extend(char::from_u32(0x10000 + ((high - 0xD800) << 10) + (value - 0xDC00)));
                }
                (Some(_), _) | (None, 0xDC00..0xE000) => return unpaired(at),
                (None, value) => out.extend(char::from_u32(value)),
            }
        }
        if high.is_some() { unpaired(end) } else { Ok(out) }
    }
}

/// The characters of a constant's parts with the bytes where they stand, doubled quotes as one.
#[derive(Clone)]
struct Characters<'a> {
    text: &'a str,
    parts: &'a [Range<usize>],
    /// Bytes of the first part that were read.
    at: usize,
    quote: char,
}

impl Iterator for Characters<'_> {
    type Item = (usize, char);

    fn next(&mut self) -> Option<(usize, char)> {
        loop {
            let (part, rest) = self.parts.split_first()?;
            let byte = part.start + self.at;
            match self.text.get(byte..part.end)?.chars().next() {
                Some(c) => {
                    self.at += if c == self.quote { 2 } else { c.len_utf8() };
                    return Some((byte, c));
                }
                None => (self.parts, self.at) = (rest, 0),
            }
        }
    }
}

/// 22021 if they are not UTF-8, or have a NUL.
fn utf8(bytes: Vec<u8>) -> Result<String> {
    let invalid = |at: usize, length: usize, bytes: &[u8]| {
        let shown: Vec<String> = bytes.iter().skip(at).take(length).map(|b| format!("0x{b:02x}")).collect();
        let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
        Error::new(SqlState::CharacterNotInRepertoire, message)
    };
    let valid = std::str::from_utf8(&bytes).map_or_else(|e| e.valid_up_to(), str::len);
    if let Some(at) = bytes.iter().take(valid).position(|b| *b == 0) {
        return Err(invalid(at, 1, &bytes));
    }
    String::from_utf8(bytes).map_err(|e| {
        let bytes = e.as_bytes();
        // As many as the first one announces.
        let length = match bytes.get(valid).copied().unwrap_or(0) {
            0xC0..0xE0 => 2,
            0xE0..0xF0 => 3,
            0xF0..0xF8 => 4,
            _ => 1,
        };
        invalid(valid, length, bytes)
    })
}
