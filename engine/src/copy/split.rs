//! From bytes to lines and fields: the text and csv formats of COPY FROM (PostgreSQL's copyfromparse.c).
//!
//! Invariants:
//! 1. Input may be cut anywhere; a line is handed on only when it is whole.
//! 2. Every line ends as the first one did.

use memchr::{memchr2, memchr3};

use super::options::{CopyOptions, Format};
use crate::error::{Error, Result, SqlState};

/// One field of a line: where its value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Null,
    /// As it stands in the line.
    Line(usize, usize),
    /// Unescaped, in the scratch buffer.
    Scratch(usize, usize),
}

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Unknown,
    Newline,
    Return,
    Both,
}

/// Cuts the input into lines.
pub struct Lines {
    ending: Ending,
    csv: bool,
    quote: u8,
    escape: u8,
    buffer: Vec<u8>,
    /// Start of what was not handed on yet.
    start: usize,
    /// How far a line end was looked for, and whether that place is inside quotes.
    scanned: usize,
    quoted: bool,
    /// Nothing counts after `\.`.
    pub ended: bool,
    pub number: u64,
}

impl Lines {
    pub fn new(options: &CopyOptions) -> Lines {
        Lines {
            ending: Ending::Unknown,
            csv: options.format == Format::Csv,
            quote: options.quote,
            escape: options.escape,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            quoted: false,
            ended: false,
            number: 0,
        }
    }

    pub fn push(&mut self, data: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        if !self.ended {
            self.buffer.extend_from_slice(data);
        }
    }

    /// The next whole line without its end; with `last` the rest counts as one. 22P04 for one that ends otherwise than the first.
    pub fn next(&mut self, last: bool) -> Result<Option<(usize, usize)>> {
        if self.ended {
            return Ok(None);
        }
        let start = self.start;
        let end = match if self.csv { self.csv_end(last)? } else { self.text_end(last)? } {
            Some((end, next)) => {
                self.start = next;
                self.scanned = next;
                end
            }
            None if last && start < self.buffer.len() => {
                self.start = self.buffer.len();
                self.scanned = self.start;
                self.buffer.len()
            }
            None => return Ok(None),
        };
        if self.buffer.get(start..end) == Some(b"\\.") {
            self.ended = true;
            return Ok(None);
        }
        self.number += 1;
        Ok(Some((start, end)))
    }

    pub fn slice(&self, (start, end): (usize, usize)) -> &[u8] {
        self.buffer.get(start..end).unwrap_or(&[])
    }

    pub fn in_quotes(&self) -> bool {
        self.quoted
    }

    /// The line that a line feed or a carriage return at `place` ends, and where the next one starts. `None`: what follows
    /// must be known, and has not come yet.
    fn end_at(&mut self, place: usize, last: bool) -> Result<Option<(usize, usize)>> {
        let next = self.buffer.get(place + 1);
        let (ending, length) = match (self.buffer.get(place), self.ending) {
            (Some(b'\n'), Ending::Unknown | Ending::Newline) => (Ending::Newline, 1),
            (Some(b'\r'), Ending::Return) => (Ending::Return, 1),
            (Some(b'\r'), Ending::Unknown | Ending::Both) => match next {
                Some(b'\n') => (Ending::Both, 2),
                None if !last => {
                    self.scanned = place;
                    return Ok(None);
                }
                _ if self.ending == Ending::Both => return Err(self.stray(place)),
                _ => (Ending::Return, 1),
            },
            _ => return Err(self.stray(place)),
        };
        self.ending = ending;
        Ok(Some((place, place + length)))
    }

    /// A line feed or a carriage return that ends no line.
    fn stray(&self, place: usize) -> Error {
        let (name, escape) = match self.buffer.get(place) {
            Some(b'\n') => ("newline", "\\n"),
            _ => ("carriage return", "\\r"),
        };
        let bad = |message: String| Error::new(SqlState::BadCopyFileFormat, message);
        if self.buffer.get(self.start..place) == Some(b"\\.") {
            bad("end-of-copy marker does not match previous newline style".into())
        } else if self.csv {
            bad(format!("unquoted {name} found in data")).hint(format!("Use quoted CSV field to represent {name}."))
        } else {
            bad(format!("literal {name} found in data")).hint(format!("Use \"{escape}\" to represent {name}."))
        }
    }

    /// A line end that no backslash precedes.
    fn text_end(&mut self, last: bool) -> Result<Option<(usize, usize)>> {
        loop {
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(at) = memchr2(b'\n', b'\r', rest) else {
                self.scanned = self.buffer.len();
                return Ok(None);
            };
            let end = self.scanned + at;
            let line = self.buffer.get(self.start..end).unwrap_or_default();
            let backslashes = line.iter().rev().take_while(|b| **b == b'\\').count();
            if backslashes % 2 == 0 {
                return self.end_at(end, last);
            }
            self.scanned = end + 1;
        }
    }

    /// A line end outside quotes.
    fn csv_end(&mut self, last: bool) -> Result<Option<(usize, usize)>> {
        loop {
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            let found = match self.quoted {
                false => memchr3(b'\n', b'\r', self.quote, rest),
                true => memchr2(self.quote, self.escape, rest),
            };
            let Some(at) = found else {
                self.scanned = self.buffer.len();
                return Ok(None);
            };
            let place = self.scanned + at;
            let byte = self.buffer.get(place).copied().unwrap_or_default();
            if !self.quoted && matches!(byte, b'\n' | b'\r') {
                return self.end_at(place, last);
            }
            if self.quoted && byte == self.escape && self.escape != self.quote {
                // The escaped byte may still be on its way.
                if self.buffer.len() <= place + 1 {
                    return Ok(None);
                }
                self.scanned = place + 2;
                continue;
            }
            // A doubled quote closes and opens again: the same in the end.
            self.quoted = !self.quoted;
            self.scanned = place + 1;
        }
    }
}

/// Cuts a line of the text format into fields. `scratch` receives what had to be unescaped. True: the line ended with `\.`, and
/// with it the data. 22P04 for a `\.` elsewhere.
pub fn text_fields(line: &[u8], options: &CopyOptions, fields: &mut Vec<Field>, scratch: &mut Vec<u8>) -> Result<bool> {
    fields.clear();
    scratch.clear();
    let delimiter = options.delimiter;
    let mut start = 0;
    loop {
        let rest = line.get(start..).unwrap_or(&[]);
        let stop = memchr2(delimiter, b'\\', rest).map_or(line.len(), |i| start + i);
        if line.get(stop) != Some(&b'\\') {
            let raw = line.get(start..stop).unwrap_or(&[]);
            fields.push(if raw == options.null { Field::Null } else { Field::Line(start, stop) });
            if stop >= line.len() {
                return Ok(false);
            }
            start = stop + 1;
            continue;
        }
        let Some(end) = unescape(line, start, delimiter, scratch, options, fields)? else { return Ok(true) };
        if end >= line.len() {
            return Ok(false);
        }
        start = end + 1;
    }
}

/// One field with backslashes, from `start`; answers where it ends, `None` for the end of the data.
fn unescape(
    line: &[u8],
    start: usize,
    delimiter: u8,
    scratch: &mut Vec<u8>,
    options: &CopyOptions,
    fields: &mut Vec<Field>,
) -> Result<Option<usize>> {
    let from = scratch.len();
    let mut at = start;
    let mut ended = false;
    while let Some(byte) = line.get(at).copied() {
        if byte == delimiter {
            break;
        }
        at += 1;
        if byte != b'\\' {
            scratch.push(byte);
            continue;
        }
        let Some(escaped) = line.get(at).copied() else {
            scratch.push(b'\\');
            break;
        };
        at += 1;
        let digit = |b: u8, base: u32| (b as char).to_digit(base).map(|d| d as u8);
        match escaped {
            b'b' => scratch.push(8),
            b'f' => scratch.push(12),
            b'n' => scratch.push(b'\n'),
            b'r' => scratch.push(b'\r'),
            b't' => scratch.push(b'\t'),
            b'v' => scratch.push(11),
            b'0'..=b'7' => {
                let mut value = escaped - b'0';
                for _ in 0..2 {
                    match line.get(at).and_then(|b| digit(*b, 8)) {
                        Some(d) => {
                            value = value.wrapping_mul(8).wrapping_add(d);
                            at += 1;
                        }
                        None => break,
                    }
                }
                scratch.push(value);
            }
            b'x' if line.get(at).is_some_and(|b| digit(*b, 16).is_some()) => {
                let mut value = 0u8;
                for _ in 0..2 {
                    match line.get(at).and_then(|b| digit(*b, 16)) {
                        Some(d) => {
                            value = value.wrapping_mul(16).wrapping_add(d);
                            at += 1;
                        }
                        None => break,
                    }
                }
                scratch.push(value);
            }
            b'.' if at < line.len() => {
                return Err(Error::new(SqlState::BadCopyFileFormat, "end-of-copy marker corrupt"));
            }
            b'.' => {
                at -= 2;
                ended = true;
                break;
            }
            other => scratch.push(other),
        }
    }
    let raw = line.get(start..at).unwrap_or(&[]);
    if raw == options.null {
        scratch.truncate(from);
        fields.push(Field::Null);
    } else {
        fields.push(Field::Scratch(from, scratch.len()));
    }
    Ok((!ended).then_some(at))
}

/// Cuts a line of the csv format into fields.
pub fn csv_fields(line: &[u8], options: &CopyOptions, fields: &mut Vec<Field>, scratch: &mut Vec<u8>) -> Result<()> {
    fields.clear();
    scratch.clear();
    let (delimiter, quote, escape) = (options.delimiter, options.quote, options.escape);
    let mut start = 0;
    loop {
        let rest = line.get(start..).unwrap_or(&[]);
        let stop = memchr2(delimiter, quote, rest).map_or(line.len(), |i| start + i);
        if line.get(stop) != Some(&quote) {
            let raw = line.get(start..stop).unwrap_or(&[]);
            fields.push(if raw == options.null { Field::Null } else { Field::Line(start, stop) });
            if stop >= line.len() {
                return Ok(());
            }
            start = stop + 1;
            continue;
        }
        let from = scratch.len();
        scratch.extend_from_slice(line.get(start..stop).unwrap_or(&[]));
        let mut at = stop;
        let mut quoted = false;
        while at < line.len() {
            if !quoted {
                let rest = line.get(at..).unwrap_or(&[]);
                let next = memchr2(delimiter, quote, rest).map_or(line.len(), |i| at + i);
                scratch.extend_from_slice(line.get(at..next).unwrap_or(&[]));
                at = next;
                match line.get(at) {
                    Some(byte) if *byte == quote => {
                        quoted = true;
                        at += 1;
                    }
                    _ => break,
                }
                continue;
            }
            let rest = line.get(at..).unwrap_or(&[]);
            let next = memchr3(quote, escape, quote, rest).map_or(line.len(), |i| at + i);
            scratch.extend_from_slice(line.get(at..next).unwrap_or(&[]));
            at = next;
            let Some(byte) = line.get(at).copied() else { break };
            let after = line.get(at + 1).copied();
            if byte == escape && after.is_some_and(|b| b == quote || b == escape) {
                scratch.extend(after);
                at += 2;
            } else if byte == quote {
                quoted = false;
                at += 1;
            } else {
                scratch.push(byte);
                at += 1;
            }
        }
        if quoted {
            return Err(Error::new(SqlState::BadCopyFileFormat, "unterminated CSV quoted field"));
        }
        fields.push(Field::Scratch(from, scratch.len()));
        if at >= line.len() {
            return Ok(());
        }
        start = at + 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(list: &[(&str, &str)]) -> CopyOptions {
        let list = list.iter().map(|(n, v)| (n.to_string(), vec![v.to_string()])).collect();
        CopyOptions::parse(&list, true).unwrap()
    }

    fn split(input: &str, options: &CopyOptions, cut: usize) -> Vec<Vec<Option<String>>> {
        let mut lines = Lines::new(options);
        let (mut fields, mut scratch, mut out) = (Vec::new(), Vec::new(), Vec::new());
        let mut take = |lines: &mut Lines, last: bool| {
            while let Some(at) = lines.next(last).unwrap() {
                let line = lines.slice(at);
                match options.format {
                    Format::Csv => csv_fields(line, options, &mut fields, &mut scratch).unwrap(),
                    _ => lines.ended = text_fields(line, options, &mut fields, &mut scratch).unwrap(),
                }
                let line = lines.slice(at);
                let text = |f: &Field| match *f {
                    Field::Null => None,
                    Field::Line(a, b) => Some(String::from_utf8(line[a..b].to_vec()).unwrap()),
                    Field::Scratch(a, b) => Some(String::from_utf8(scratch[a..b].to_vec()).unwrap()),
                };
                out.push(fields.iter().map(text).collect());
            }
        };
        for chunk in input.as_bytes().chunks(cut) {
            lines.push(chunk);
            take(&mut lines, false);
        }
        take(&mut lines, true);
        out
    }

    #[test]
    fn text_lines_cut_anywhere() {
        let o = options(&[]);
        let input = "1\t\\N\ta\\tb\n\\\\N\t\tx\\\ny\t\\x41\\102\n\\.\nignored";
        let expected = [vec![Some("1"), None, Some("a\tb")], vec![Some("\\N"), Some(""), Some("x\ny"), Some("AB")]];
        for cut in 1..input.len() {
            let got = split(input, &o, cut);
            let got: Vec<Vec<Option<&str>>> = got.iter().map(|l| l.iter().map(|f| f.as_deref()).collect()).collect();
            assert_eq!(got, expected, "cut {cut}");
        }
    }

    #[test]
    fn lines_end_as_the_first_one() {
        let values = |input: &str, cut| -> Vec<String> {
            split(input, &options(&[]), cut).into_iter().flatten().map(Option::unwrap_or_default).collect()
        };
        for cut in 1..6 {
            for input in ["a\rb\r", "a\r\nb\r\n", "a\nb", "a\r\nb\\.\r\nc"] {
                assert_eq!(values(input, cut), ["a", "b"], "{input:?} cut {cut}");
            }
        }
        let refused = |input: &str, list: &[(&str, &str)]| {
            let mut lines = Lines::new(&options(list));
            lines.push(input.as_bytes());
            loop {
                match lines.next(true) {
                    Ok(Some(_)) => {}
                    Ok(None) => return String::new(),
                    Err(error) => return error.message().to_owned(),
                }
            }
        };
        let csv = [("format", "csv")];
        assert_eq!(refused("a\nb\r\n", &[]), "literal carriage return found in data");
        assert_eq!(refused("a\r\nb\n", &[]), "literal newline found in data");
        assert_eq!(refused("a\r\nb\rc", &[]), "literal carriage return found in data");
        assert_eq!(refused("a\r\n\\.\n", &[]), "end-of-copy marker does not match previous newline style");
        assert_eq!(refused("a\n\"x\r\"\nb\r\n", &csv), "unquoted carriage return found in data");
        assert_eq!(refused("a\rb\n", &csv), "unquoted newline found in data");
        assert_eq!(refused("a\\\r\nb\n", &[]), "");
    }

    #[test]
    fn csv_lines_cut_anywhere() {
        let o = options(&[("format", "csv")]);
        let input = "1,,\"a \"\"quoted\"\", b\"\n\"two\nlines\",\"\",x\"y\"z\n";
        let expected =
            [vec![Some("1"), None, Some("a \"quoted\", b")], vec![Some("two\nlines"), Some(""), Some("xyz")]];
        for cut in 1..input.len() {
            let got = split(input, &o, cut);
            let got: Vec<Vec<Option<&str>>> = got.iter().map(|l| l.iter().map(|f| f.as_deref()).collect()).collect();
            assert_eq!(got, expected, "cut {cut}");
        }
    }
}
