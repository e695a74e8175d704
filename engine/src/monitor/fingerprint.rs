//! The same statement under different constants: what two texts have in common, as a number and as a text.
//!
//! Constants are strings and numbers; comments and spacing do not count, nor does the case of what is not quoted. No
//! constant of any statement is ever kept: a password in CREATE ROLE is one.

/// Longest text that is kept of a statement, in bytes.
const TEXT_MAX: usize = 4096;

/// What makes statements the same; as pg_stat_statements.queryid, it is the same on all nodes.
pub fn fingerprint(text: &str) -> u64 {
    let mut hash = Hash(0xcbf2_9ce4_8422_2325);
    read(text, &mut hash);
    hash.0 ^ (hash.0 >> 29)
}

/// The statement with a parameter for each constant, numbered behind those that it has (`parameters`).
pub fn normalised(text: &str, parameters: usize) -> String {
    let mut out = Text { text: String::with_capacity(text.len().min(TEXT_MAX)), parameters };
    read(text, &mut out);
    out.text
}

/// What becomes of the pieces of a statement. Spacing comes as single blanks, and only between pieces.
trait Pieces {
    /// Letters, digits and signs outside quotes.
    fn plain(&mut self, piece: &str);
    /// A quoted name.
    fn name(&mut self, piece: &str);
    fn constant(&mut self);
}

struct Hash(u64);

impl Hash {
    fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

impl Pieces for Hash {
    fn plain(&mut self, piece: &str) {
        piece.bytes().for_each(|byte| self.add(byte.to_ascii_lowercase()));
    }

    fn name(&mut self, piece: &str) {
        piece.bytes().for_each(|byte| self.add(byte));
    }

    fn constant(&mut self) {
        // No byte of a text.
        self.add(0xff);
    }
}

struct Text {
    text: String,
    parameters: usize,
}

impl Text {
    fn push(&mut self, piece: &str) {
        let room = TEXT_MAX.saturating_sub(self.text.len());
        let end = (0..=room.min(piece.len())).rev().find(|end| piece.is_char_boundary(*end)).unwrap_or(0);
        self.text.push_str(piece.get(..end).unwrap_or_default());
    }
}

impl Pieces for Text {
    fn plain(&mut self, piece: &str) {
        self.push(piece);
    }

    fn name(&mut self, piece: &str) {
        self.push(piece);
    }

    fn constant(&mut self) {
        self.parameters += 1;
        let parameter = format!("${}", self.parameters);
        self.push(&parameter);
    }
}

/// Cuts a statement into its pieces. What PostgreSQL would not read is cut somehow; it never gets here.
fn read(text: &str, out: &mut impl Pieces) {
    let bytes = text.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let slice = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let (mut i, mut blank, mut begun) = (0, false, false);
    while i < bytes.len() {
        let start = i;
        match at(i) {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => {
                blank = true;
                i += 1;
                continue;
            }
            b'-' if at(i + 1) == b'-' => {
                i = memchr::memchr(b'\n', &bytes[i..]).map_or(bytes.len(), |end| i + end);
                blank = true;
                continue;
            }
            b'/' if at(i + 1) == b'*' => {
                i = end_of_comment(bytes, i);
                blank = true;
                continue;
            }
            _ => {}
        }
        if blank && begun {
            out.plain(" ");
        }
        (blank, begun) = (false, true);
        match at(i) {
            b'\'' => {
                i = end_of_quotes(bytes, i + 1, b'\'', false);
                out.constant();
            }
            b'"' => {
                i = end_of_quotes(bytes, i + 1, b'"', false);
                out.name(slice(start, i));
            }
            b'$' if at(i + 1).is_ascii_digit() => {
                i += 1;
                while at(i).is_ascii_digit() {
                    i += 1;
                }
                out.plain(slice(start, i));
            }
            b'$' => match end_of_dollars(bytes, i) {
                Some(end) => {
                    i = end;
                    out.constant();
                }
                None => {
                    i += 1;
                    out.plain("$");
                }
            },
            b'0'..=b'9' => {
                i = end_of_number(bytes, i);
                out.constant();
            }
            b'.' if at(i + 1).is_ascii_digit() => {
                i = end_of_number(bytes, i);
                out.constant();
            }
            first if is_word(first) => {
                while is_word(at(i)) || at(i).is_ascii_digit() || at(i) == b'$' {
                    i += 1;
                }
                // E'…', B'…', X'…', N'…', U&'…' and U&"…".
                let prefix = slice(start, i);
                let unicode = prefix.eq_ignore_ascii_case("u") && at(i) == b'&';
                let quote = i + usize::from(unicode);
                match at(quote) {
                    b'\'' if unicode || matches!(prefix, "e" | "E" | "b" | "B" | "x" | "X" | "n" | "N") => {
                        i = end_of_quotes(bytes, quote + 1, b'\'', prefix.eq_ignore_ascii_case("e"));
                        out.constant();
                    }
                    b'"' if unicode => {
                        i = end_of_quotes(bytes, quote + 1, b'"', false);
                        out.name(slice(start, i));
                    }
                    _ => out.plain(prefix),
                }
            }
            _ => {
                i += 1;
                out.plain(slice(start, i));
            }
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// Comments nest.
fn end_of_comment(bytes: &[u8], mut i: usize) -> usize {
    let mut depth = 0;
    while i < bytes.len() {
        match (bytes.get(i), bytes.get(i + 1)) {
            (Some(b'/'), Some(b'*')) => (depth, i) = (depth + 1, i + 2),
            (Some(b'*'), Some(b'/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i.min(bytes.len())
}

/// Behind the closing quote; a doubled one does not close.
fn end_of_quotes(bytes: &[u8], mut i: usize, quote: u8, escapes: bool) -> usize {
    while i < bytes.len() {
        match bytes.get(i) {
            Some(b'\\') if escapes => i += 2,
            Some(byte) if *byte == quote && bytes.get(i + 1) == Some(&quote) => i += 2,
            Some(byte) if *byte == quote => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

/// Behind `$tag$…$tag$`; `None`: it is not one.
fn end_of_dollars(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start + 1..)?;
    let length = rest.iter().position(|byte| *byte == b'$')?;
    let tag = rest.get(..length)?;
    if !tag.iter().all(|byte| is_word(*byte) || byte.is_ascii_digit()) {
        return None;
    }
    let mark = bytes.get(start..start + length + 2)?;
    let body = start + mark.len();
    let end = memchr::memmem::find(bytes.get(body..)?, mark);
    Some(end.map_or(bytes.len(), |end| body + end + mark.len()))
}

fn end_of_number(bytes: &[u8], mut i: usize) -> usize {
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let mut seen_point = false;
    loop {
        match at(i) {
            b'0'..=b'9' | b'_' => i += 1,
            // `1..2` is two numbers apart.
            b'.' if !seen_point && at(i + 1) != b'.' => (seen_point, i) = (true, i + 1),
            b'e' | b'E' if at(i + 1).is_ascii_digit() => i += 2,
            b'e' | b'E' if matches!(at(i + 1), b'+' | b'-') && at(i + 2).is_ascii_digit() => i += 3,
            _ => return i,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_spacing_comments_and_case_do_not_count() {
        for (one, other) in [
            ("select 1", "SELECT   2"),
            ("select * from t where a = 'x' and b = 1.5e-3", "select * from t -- c\n where a = 'it''s' and b = .7"),
            ("select $$a$$, E'\\'', x'ff'", "/* a /* b */ */ select $q$b 'x' $q$, e'', B'01'"),
            ("create role r password 'secret'", "create role r password 'other'"),
        ] {
            assert_eq!(fingerprint(one), fingerprint(other), "{one} | {other}");
            assert_eq!(normalised(one, 0).to_lowercase(), normalised(other, 0).to_lowercase());
        }
    }

    #[test]
    fn what_differs_is_told_apart() {
        for (one, other) in [
            ("select a from t", "select b from t"),
            ("select \"A\" from t", "select \"a\" from t"),
            ("select 1 + 2", "select 1 - 2"),
            ("select ab", "select a b"),
            ("select $1", "select $2"),
            ("select '1', 2", "select '1'"),
            ("select t1", "select t2"),
        ] {
            assert_ne!(fingerprint(one), fingerprint(other), "{one} | {other}");
        }
    }

    #[test]
    fn constants_become_parameters_behind_those_that_are_there() {
        let text = "select  a1, $1, 2 ,'x' from \"t 1\" where b = -3 and c > 1e5 and d = $2";
        assert_eq!(normalised(text, 2), "select a1, $1, $3 ,$4 from \"t 1\" where b = -$5 and c > $6 and d = $2");
        assert_eq!(normalised("create user u password 's3cr\"et'", 0), "create user u password $1");
        assert_eq!(normalised("select U&'d\\0061t', u&\"n\"", 0), "select $1, u&\"n\"");
    }

    #[test]
    fn long_and_broken_texts_end() {
        let long = format!("select {}", "ä, ".repeat(10_000));
        assert!(normalised(&long, 0).len() <= TEXT_MAX);
        for broken in ["select 'a", "select \"a", "/* a", "select $a$ b", "select E'\\", "$", "1.", "-", "select $a"] {
            fingerprint(broken);
            normalised(broken, 0);
        }
    }
}
