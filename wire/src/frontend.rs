//! Messages from the client, decoded in place.
//!
//! pgwire's own decoders are not used here: in 0.42 they panic on a truncated body, replace invalid UTF-8 silently and
//! copy every string. Its encoders are the test's client and its constants are the vocabulary.
//!
//! Invariant 1: no byte of a client can cause a panic or an allocation larger than the message itself.

use engine::error::{Error, Result, SqlState};
use pgwire::messages::{copy, extendedquery, simplequery, startup, terminate};

pub(crate) const QUERY: u8 = simplequery::MESSAGE_TYPE_BYTE_QUERY;
pub(crate) const PARSE: u8 = extendedquery::MESSAGE_TYPE_BYTE_PARSE;
pub(crate) const BIND: u8 = extendedquery::MESSAGE_TYPE_BYTE_BIND;
pub(crate) const DESCRIBE: u8 = extendedquery::MESSAGE_TYPE_BYTE_DESCRIBE;
pub(crate) const EXECUTE: u8 = extendedquery::MESSAGE_TYPE_BYTE_EXECUTE;
pub(crate) const CLOSE: u8 = extendedquery::MESSAGE_TYPE_BYTE_CLOSE;
pub(crate) const FLUSH: u8 = extendedquery::MESSAGE_TYPE_BYTE_FLUSH;
pub(crate) const SYNC: u8 = extendedquery::MESSAGE_TYPE_BYTE_SYNC;
pub(crate) const FUNCTION_CALL: u8 = b'F';
pub(crate) const TERMINATE: u8 = terminate::MESSAGE_TYPE_BYTE_TERMINATE;
pub(crate) const COPY_DATA: u8 = copy::MESSAGE_TYPE_BYTE_COPY_DATA;
pub(crate) const COPY_DONE: u8 = copy::MESSAGE_TYPE_BYTE_COPY_DONE;
pub(crate) const COPY_FAIL: u8 = copy::MESSAGE_TYPE_BYTE_COPY_FAIL;
pub(crate) const PASSWORD: u8 = startup::MESSAGE_TYPE_BYTE_PASSWORD_MESSAGE_FAMILY;

/// Bytes of the short messages, as PostgreSQL's PQ_SMALL_MESSAGE_LIMIT.
const SHORT_MESSAGE_BYTES_MAX: usize = 10_000;

/// The longest message of a type (length word included), `None` for a type that clients do not send.
pub(crate) fn length_max(kind: u8, configured: usize) -> Option<usize> {
    match kind {
        QUERY | PARSE | BIND | FUNCTION_CALL | COPY_DATA => Some(configured),
        DESCRIBE | EXECUTE | CLOSE | FLUSH | SYNC | TERMINATE | COPY_DONE | COPY_FAIL => {
            Some(configured.min(SHORT_MESSAGE_BYTES_MAX))
        }
        _ => None,
    }
}

fn violation(message: &str) -> Error {
    Error::new(SqlState::ProtocolViolation, message)
}

/// A cursor over one message's body; strings are UTF-8.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Reader(body)
    }

    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, tail) =
            self.0.split_at_checked(length).ok_or_else(|| violation("insufficient data left in message"))?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk().ok_or_else(|| violation("insufficient data left in message"))?;
        self.0 = tail;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// A string that ends with a zero byte.
    pub fn string(&mut self) -> Result<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(|| violation("invalid string in message"))?;
        let text = utf8(self.bytes(end)?)?;
        self.u8()?;
        Ok(text)
    }

    /// A value behind its length, `None` for NULL.
    fn value(&mut self) -> Result<Option<&'a [u8]>> {
        match self.i32()? {
            -1 => Ok(None),
            // A negative length is a huge one, as in PostgreSQL: there are never that many bytes.
            length => self.bytes(length as u32 as usize).map(Some),
        }
    }

    /// The message must end here.
    pub fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(violation("invalid message format")) }
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Text of the client (22021 with PostgreSQL's message if it is no UTF-8 or holds a zero byte).
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str> {
    let wrong_at = match std::str::from_utf8(bytes) {
        Ok(text) => match bytes.iter().position(|byte| *byte == 0) {
            None => return Ok(text),
            Some(at) => at,
        },
        Err(error) => {
            let valid = error.valid_up_to();
            bytes.iter().take(valid).position(|byte| *byte == 0).unwrap_or(valid)
        }
    };
    let wrong = bytes.get(wrong_at..).unwrap_or_default();
    let length = match wrong.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    let shown: Vec<String> = wrong.iter().take(length).map(|byte| format!("0x{byte:02x}")).collect();
    Err(Error::new(
        SqlState::CharacterNotInRepertoire,
        format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
    ))
}

/// A Parse message.
#[derive(Debug)]
pub(crate) struct Parse<'a> {
    pub name: &'a str,
    pub sql: &'a str,
    pub parameter_types: Vec<u32>,
}

impl<'a> Parse<'a> {
    pub fn decode(body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let (name, sql) = (reader.string()?, reader.string()?);
        let count = reader.u16()?;
        let mut types = Reader::new(reader.bytes(4 * usize::from(count))?);
        reader.end()?;
        let mut parameter_types = Vec::with_capacity(usize::from(count));
        while !types.is_empty() {
            parameter_types.push(types.i32()? as u32);
        }
        Ok(Parse { name, sql, parameter_types })
    }
}

/// A Bind message: its lists as they lie in the message, with their counts checked.
#[derive(Debug)]
pub(crate) struct Bind<'a> {
    pub portal: &'a str,
    pub statement: &'a str,
    pub parameter_formats: Formats<'a>,
    pub parameters: usize,
    values: Reader<'a>,
}

impl<'a> Bind<'a> {
    pub fn decode(body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let (portal, statement) = (reader.string()?, reader.string()?);
        let parameter_formats = Formats::decode(&mut reader)?;
        let parameters = usize::from(reader.u16()?);
        Ok(Bind { portal, statement, parameter_formats, parameters, values: reader })
    }

    /// The next parameter, `None` for NULL. To be called `parameters` times, then [`Self::result_formats`].
    pub fn next_value(&mut self) -> Result<Option<&'a [u8]>> {
        self.values.value()
    }

    pub fn result_formats(mut self) -> Result<Formats<'a>> {
        let formats = Formats::decode(&mut self.values)?;
        self.values.end()?;
        Ok(formats)
    }
}

/// A FunctionCall message, with its lists as [`Bind`]'s.
#[derive(Debug)]
pub(crate) struct FunctionCall<'a> {
    /// OID of the function.
    pub function: u32,
    pub formats: Formats<'a>,
    pub arguments: usize,
    values: Reader<'a>,
}

impl<'a> FunctionCall<'a> {
    pub fn decode(body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let function = reader.i32()? as u32;
        let formats = Formats::decode(&mut reader)?;
        let arguments = usize::from(reader.u16()?);
        Ok(FunctionCall { function, formats, arguments, values: reader })
    }

    /// The next argument, `None` for NULL. To be called `arguments` times, then [`Self::result_format`].
    pub fn next_value(&mut self) -> Result<Option<&'a [u8]>> {
        self.values.value()
    }

    pub fn result_format(mut self) -> Result<Format> {
        let code = self.values.i16()?;
        self.values.end()?;
        Format::decode(code)
    }
}

/// A list of format codes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Formats<'a>(&'a [u8]);

impl<'a> Formats<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self> {
        let count = reader.u16()?;
        reader.bytes(2 * usize::from(count)).map(Formats)
    }

    pub fn len(self) -> usize {
        self.0.len() / 2
    }

    /// The codes in turn; of a single one, that one.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.0.chunks_exact(2).map(|pair| match pair {
            [high, low] => i16::from_be_bytes([*high, *low]),
            _ => 0,
        })
    }
}

/// Format of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Binary,
}

impl Format {
    pub fn decode(code: i16) -> Result<Format> {
        match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            _ => Err(Error::new(SqlState::InvalidParameterValue, format!("unsupported format code: {code}"))),
        }
    }

    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// What a Describe or Close message names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Statement(&'a str),
    Portal(&'a str),
}

impl<'a> Target<'a> {
    /// `message` is the message's name in PostgreSQL's words: DESCRIBE or CLOSE.
    pub fn decode(body: &'a [u8], message: &str) -> Result<Self> {
        let mut reader = Reader::new(body);
        let kind = reader.u8()?;
        let name = reader.string()?;
        reader.end()?;
        match kind {
            extendedquery::TARGET_TYPE_BYTE_STATEMENT => Ok(Target::Statement(name)),
            extendedquery::TARGET_TYPE_BYTE_PORTAL => Ok(Target::Portal(name)),
            other => Err(Error::new(SqlState::ProtocolViolation, format!("invalid {message} message subtype {other}"))),
        }
    }
}

/// An Execute message: the portal and the row limit (0 for none; a negative one is none, as in PostgreSQL).
pub(crate) fn decode_execute(body: &[u8]) -> Result<(&str, usize)> {
    let mut reader = Reader::new(body);
    let portal = reader.string()?;
    let limit = reader.i32()?;
    reader.end()?;
    Ok((portal, usize::try_from(limit).unwrap_or(0)))
}

/// A message that is one string: Query, CopyFail.
pub(crate) fn decode_string(body: &[u8]) -> Result<&str> {
    let mut reader = Reader::new(body);
    let text = reader.string()?;
    reader.end()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn invalid_text_is_reported_as_postgresql_does() {
        let message = |bytes: &[u8]| utf8(bytes).unwrap_err().message().to_owned();
        let prefix = "invalid byte sequence for encoding \"UTF8\": ";
        assert_eq!(message(b"ab\xff"), format!("{prefix}0xff"));
        assert_eq!(message(b"\xc3("), format!("{prefix}0xc3 0x28"));
        assert_eq!(message(b"\xe2\x82"), format!("{prefix}0xe2 0x82"));
        assert_eq!(message(b"a\0b\xff"), format!("{prefix}0x00"));
        assert_eq!(utf8("ü€😀".as_bytes()).unwrap(), "ü€😀");
    }

    /// Invariant 1: every truncation of every message is an error, not a panic.
    #[test]
    fn truncated_messages_are_refused() {
        let bind = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x04abcd\xff\xff\xff\xff\0\x01\0\0";
        let decode = |body: &[u8]| -> Result<usize> {
            let mut bind = Bind::decode(body)?;
            for _ in 0..bind.parameters {
                bind.next_value()?;
            }
            bind.result_formats().map(|formats| formats.len())
        };
        assert_eq!(decode(bind).unwrap(), 1);
        for end in 0..bind.len() {
            let error = decode(&bind[..end]).unwrap_err();
            assert_eq!(error.state(), SqlState::ProtocolViolation, "{end}");
        }
        let parse = b"s\0SELECT $1\0\0\x01\0\0\0\x17";
        assert_eq!(Parse::decode(parse).unwrap().parameter_types, [23]);
        for end in 0..parse.len() {
            assert!(Parse::decode(&parse[..end]).is_err(), "{end}");
        }
        let mut long = parse.to_vec();
        long.push(0);
        assert_eq!(Parse::decode(&long).unwrap_err().message(), "invalid message format");
        assert!(Target::decode(b"Xname\0", "DESCRIBE").is_err());
        assert_eq!(Target::decode(b"Sname\0", "CLOSE").unwrap(), Target::Statement("name"));
        assert!(decode_execute(b"p\0\0\0\0").is_err());
    }
}
