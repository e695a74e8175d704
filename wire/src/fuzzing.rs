//! What fuzzers feed: the decoders of what a client sends. Compiled for tests and for `fuzz/` alone.
//!
//! Whatever the bytes are, the answer is an error or a value: no panic, no allocation that the input does not pay for.

use engine::types::TypeOid;
use engine::types::text::FormatSettings;

use crate::frontend::{self, Bind, Format, Parse, Reader, Target};
use crate::handshake;
use crate::scram::{Exchange, Verifier};
use crate::values::parameter;

/// Every type that a parameter may have.
const TYPES: &[TypeOid] = &[
    TypeOid::BOOL,
    TypeOid::INT2,
    TypeOid::INT4,
    TypeOid::INT8,
    TypeOid::FLOAT4,
    TypeOid::FLOAT8,
    TypeOid::NUMERIC,
    TypeOid::TEXT,
    TypeOid::BYTEA,
    TypeOid::DATE,
    TypeOid::TIME,
    TypeOid::TIMESTAMP,
    TypeOid::TIMESTAMPTZ,
    TypeOid::INTERVAL,
    TypeOid::UUID,
    TypeOid::JSONB,
    TypeOid::INT4_ARRAY,
    TypeOid::TEXT_ARRAY,
    TypeOid::NUMERIC_ARRAY,
];

/// A stream of messages after the handshake.
pub fn messages(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(([kind, length @ ..], after)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(body) = length.checked_sub(4).and_then(|length| after.get(..length)) else { return };
        if frontend::length_max(*kind, 1 << 20).is_none_or(|max| length > max) {
            return;
        }
        message(*kind, body);
        rest = after.get(body.len()..).unwrap_or_default();
    }
}

fn message(kind: u8, body: &[u8]) {
    match kind {
        frontend::PARSE => drop(Parse::decode(body)),
        frontend::BIND => drop(bind(body)),
        frontend::DESCRIBE | frontend::CLOSE => drop(Target::decode(body, "DESCRIBE")),
        frontend::EXECUTE => drop(frontend::decode_execute(body)),
        frontend::QUERY | frontend::COPY_FAIL => drop(frontend::decode_string(body)),
        _ => {}
    }
}

fn bind(body: &[u8]) -> engine::Result<()> {
    let mut bind = Bind::decode(body)?;
    let formats: Vec<i16> = bind.parameter_formats.iter().collect();
    for number in 0..bind.parameters {
        let value = bind.next_value()?;
        let code = formats.get(number).or(formats.first()).copied().unwrap_or(0);
        if let (Some(value), Ok(format), Some(ty)) = (value, Format::decode(code), TYPES.get(number % TYPES.len())) {
            let _ = parameter::read(value, format, *ty, &FormatSettings::default(), number + 1);
        }
    }
    bind.result_formats().map(drop)
}

/// One parameter: the first byte is its type, the second its format.
pub fn value(bytes: &[u8]) {
    if let Some(([ty, format], value)) = bytes.split_first_chunk::<2>()
        && let Some(ty) = TYPES.get(usize::from(*ty) % TYPES.len())
    {
        let format = if format % 2 == 0 { Format::Text } else { Format::Binary };
        let _ = parameter::read(value, format, *ty, &FormatSettings::default(), 1);
    }
}

/// The two messages of SCRAM, parted by a byte 0xff, the startup options and a stored verifier.
pub fn authentication(bytes: &[u8]) {
    let cut = bytes.iter().position(|byte| *byte == 0xff).unwrap_or(bytes.len());
    let (first, second) = bytes.split_at(cut);
    let exchange = Exchange::new("postgres", None, b"secret");
    if let Ok((challenge, _)) = exchange.challenge(first) {
        let _ = challenge.verify(second.get(1..).unwrap_or_default());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = handshake::parse_options(text);
        let _ = Verifier::parse(text);
    }
    let mut reader = Reader::new(bytes);
    while reader.string().is_ok() {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "../../fuzz/mutate.rs"]
mod mutate;

#[cfg(test)]
mod tests {
    use super::mutate::Target;
    use super::*;

    /// As `fuzz/fuzz_targets/wire.rs` chooses.
    fn target(function: u8) -> Target {
        Target { name: "wire", function: Some((function, 3)) }
    }

    fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend((body.len() as u32 + 4).to_be_bytes());
        message.extend(body);
        message
    }

    #[test]
    fn no_message_ends_the_process() {
        let bind = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x04abcd\xff\xff\xff\xff\0\x01\0\0";
        let values = b"\0\0\0\x01\0\x01\0\x03\0\0\0\x01\x01\0\0\0\x02\x01\x02\0\0\0\x04\x01\x02\x03\x04\0\0";
        let one = [
            framed(frontend::PARSE, b"s\0SELECT $1\0\0\x01\0\0\0\x17"),
            framed(frontend::BIND, bind),
            framed(frontend::BIND, values),
            framed(frontend::DESCRIBE, b"Ss\0"),
            framed(frontend::EXECUTE, b"p\0\0\0\0\x05"),
            framed(frontend::QUERY, "SELECT 'ü'\0".as_bytes()),
            framed(frontend::SYNC, b""),
        ];
        let mut seeds = one.to_vec();
        seeds.push(one.concat());
        target(0).feed(&seeds, messages);
    }

    #[test]
    fn no_parameter_ends_the_process() {
        let mut seeds = Vec::new();
        for ty in 0..TYPES.len() as u8 {
            for text in [
                "t",
                "-12",
                "1e400",
                "123456789012345678901234567890.5",
                "2024-02-29 12:34:56.789+02",
                "{1,NULL,{2}}",
                "1 year 2 mons -3 days 04:05:06",
                "\\x00ff",
                "{\"a\": [1, null]}",
                "infinity",
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            ] {
                seeds.push([&[ty, 0], text.as_bytes()].concat());
            }
            for binary in [
                &[0, 3, 0, 1, 0, 0, 0, 2, 0, 1, 9, 0x29, 0x11, 0x22][..],
                &[
                    0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 7, 0xff, 0xff,
                    0xff, 0xff,
                ],
                &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 2],
                &[1, b'{', b'}'],
            ] {
                seeds.push([&[ty, 1], binary].concat());
            }
        }
        target(1).feed(&seeds, value);
    }

    #[test]
    fn no_authentication_ends_the_process() {
        let first =
            b"SCRAM-SHA-256\0\0\0\0\x14n,,n=u,r=rOprNGfwEbeR\xffc=biws,r=rOprNGfwEbeR,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
        let verifier = b"SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2E=$c3RvcmVk:c2VydmVy";
        let options = b"-c search_path=a\\ b --statement-timeout=5 -cwork_mem=1";
        target(2).feed(&[first.to_vec(), verifier.to_vec(), options.to_vec()], authentication);
    }
}
