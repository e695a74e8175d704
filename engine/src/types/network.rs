//! inet, cidr, macaddr and macaddr8: their text, and bytes that sort like the values (network.c, mac.c, mac8.c).
//!
//! Invariant: a value is a `Datum::Bytea`. A network address is its family (2 or 3, as on the wire), the network's bytes,
//! the length of the mask, and all bytes of the address; a hardware address is its six or eight bytes.

use std::sync::Arc;

use super::{Datum, TypeOid};
use crate::error::{Error, Result, SqlState};

/// Family bytes of PostgreSQL's binary form.
pub const V4: u8 = 2;
pub const V6: u8 = 3;

/// An address with the length of its mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inet {
    pub v6: bool,
    pub bits: u8,
    /// Of IPv4 the first four.
    bytes: [u8; 16],
}

impl Inet {
    /// `None`: no address has so many bytes, or so long a mask.
    pub fn new(address: &[u8], bits: u8) -> Option<Inet> {
        let mut bytes = [0; 16];
        bytes.get_mut(..address.len())?.copy_from_slice(address);
        let v6 = match address.len() {
            4 => false,
            16 => true,
            _ => return None,
        };
        (usize::from(bits) <= address.len() * 8).then_some(Inet { v6, bits, bytes })
    }

    pub fn address(&self) -> &[u8] {
        if self.v6 { &self.bytes } else { self.bytes.first_chunk::<4>().map_or(&[], |b| b.as_slice()) }
    }

    pub fn max_bits(&self) -> u8 {
        if self.v6 { 128 } else { 32 }
    }

    /// Every byte with that of the mask.
    pub fn masked(&self, with: impl Fn(u8, u8) -> u8) -> Inet {
        let mut out = *self;
        for (i, byte) in out.bytes.iter_mut().enumerate().take(self.address().len()) {
            let ones = usize::from(self.bits).saturating_sub(i * 8).min(8);
            *byte = with(*byte, !(0xffu16 >> ones) as u8);
        }
        out
    }

    pub fn network(&self) -> Inet {
        self.masked(|byte, mask| byte & mask)
    }

    pub fn with_bits(self, bits: u8) -> Inet {
        Inet { bits, ..self }
    }

    /// The same with another address of its family.
    pub fn with_address(self, number: u128) -> Inet {
        let mut bytes = [0; 16];
        if self.v6 {
            bytes = number.to_be_bytes();
        } else {
            bytes[..4].copy_from_slice(&(number as u32).to_be_bytes());
        }
        Inet { bytes, ..self }
    }

    pub fn number(&self) -> u128 {
        self.address().iter().fold(0, |n, b| n << 8 | u128::from(*b))
    }

    /// Whether the first `bits` bits are those of another address of the family.
    pub fn same_prefix(&self, other: &Inet, bits: u8) -> bool {
        self.with_bits(bits).network().bytes == other.with_bits(bits).network().bytes
    }

    pub fn encode(&self) -> Datum {
        let mut out = vec![if self.v6 { V6 } else { V4 }];
        out.extend_from_slice(self.network().address());
        out.push(self.bits);
        out.extend_from_slice(self.address());
        Datum::Bytea(Arc::from(out))
    }

    pub fn decode(bytes: &[u8]) -> Option<Inet> {
        let length = if *bytes.first()? == V4 { 4 } else { 16 };
        let bits = *bytes.get(1 + length)?;
        Inet::new(bytes.get(2 + length..)?, bits)
    }

    /// The address, with the mask if it is shorter than the address or always.
    pub fn shown(&self, always: bool) -> String {
        let address = self.host();
        if always || self.bits != self.max_bits() { format!("{address}/{}", self.bits) } else { address }
    }

    pub fn host(&self) -> String {
        if !self.v6 {
            return self.address().iter().map(u8::to_string).collect::<Vec<_>>().join(".");
        }
        show_v6(&self.bytes)
    }
}

fn words(bytes: &[u8; 16]) -> [u16; 8] {
    let mut words = [0; 8];
    for (word, pair) in words.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *word = u16::from_be_bytes(*pair);
    }
    words
}

/// The longest run of zero words of at least two: where it begins and how long it is.
fn longest_run(words: &[u16]) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize)> = None;
    let mut at = 0;
    while at < words.len() {
        let length = words.iter().skip(at).take_while(|w| **w == 0).count();
        if length > best.map_or(1, |b| b.1) {
            best = Some((at, length));
        }
        at += length.max(1);
    }
    best
}

fn show_v6(bytes: &[u8; 16]) -> String {
    let words = words(bytes);
    let run = longest_run(&words);
    let dotted = match run {
        Some((0, 6)) => true,
        Some((0, 5)) => words[5] == 0xffff,
        _ => false,
    };
    let mut out = String::new();
    let count = if dotted { 6 } else { 8 };
    let mut i = 0;
    while i < count {
        if let Some((start, length)) = run
            && i == start
        {
            out.push_str("::");
            i += length;
            continue;
        }
        if !out.is_empty() && !out.ends_with(':') {
            out.push(':');
        }
        out.push_str(&format!("{:x}", words[i]));
        i += 1;
    }
    if dotted {
        if !out.ends_with(':') {
            out.push(':');
        }
        out.push_str(&bytes[12..].iter().map(u8::to_string).collect::<Vec<_>>().join("."));
    }
    out
}

/// `abbrev(cidr)`: the bytes that the mask covers.
pub fn abbreviate_cidr(value: &Inet) -> String {
    let bits = usize::from(value.bits);
    if !value.v6 {
        let count = bits.div_ceil(8);
        let shown: Vec<String> = value.address().iter().take(count).map(u8::to_string).collect();
        let shown = if shown.is_empty() { "0".to_string() } else { shown.join(".") };
        return format!("{shown}/{bits}");
    }
    let all = words(&value.network().bytes);
    let significant = bits.div_ceil(16);
    if bits <= 16 || significant == 8 || all.iter().take(significant).all(|w| *w == 0) {
        return format!("{}/{bits}", value.network().host());
    }
    let shown: Vec<String> = all.iter().take(significant).map(|w| format!("{w:x}")).collect();
    let plain = shown.join(":");
    match longest_run(&all[..significant]) {
        Some(_) => format!("{}/{bits}", value.network().host()),
        None => format!("{plain}/{bits}"),
    }
}

fn invalid(type_name: &str, text: &str) -> Error {
    Error::new(SqlState::InvalidTextRepresentation, format!("invalid input syntax for type {type_name}: \"{text}\""))
}

/// Reads an inet or a cidr (22P02).
pub fn parse(text: &str, cidr: bool) -> Result<Datum> {
    let name = if cidr { "cidr" } else { "inet" };
    let value = if text.contains(':') { read_v6(text) } else { read_v4(text, cidr) };
    let value = value.ok_or_else(|| invalid(name, text))?;
    if cidr && value.network() != value {
        return Err(Error::new(SqlState::InvalidTextRepresentation, format!("invalid cidr value: \"{text}\""))
            .detail("Value has bits set to right of mask."));
    }
    Ok(value.encode())
}

fn read_bits(text: &str, max: u8) -> Option<u8> {
    let digits = !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse::<u8>().ok().filter(|bits| digits && *bits <= max)
}

fn read_v6(text: &str) -> Option<Inet> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, read_bits(bits, 128)?),
        None => (text, 128),
    };
    let address: std::net::Ipv6Addr = address.parse().ok()?;
    Inet::new(&address.octets(), bits)
}

/// Missing bytes are zero if a mask says how many count; a cidr without one takes it from the address's class.
fn read_v4(text: &str, cidr: bool) -> Option<Inet> {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(read_bits(mask, 32)?)),
        None => (text, None),
    };
    let mut bytes = [0u8; 4];
    let mut count = 0;
    for part in address.split('.') {
        let digits = !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
        *bytes.get_mut(count)? = part.parse().ok().filter(|_| digits)?;
        count += 1;
    }
    let bits = match mask {
        Some(bits) if cidr || count == 4 || usize::from(bits).div_ceil(8) <= count => bits,
        Some(_) => return None,
        None if count == 4 => 32,
        None if !cidr => return None,
        None => {
            let class = match bytes[0] {
                240.. => 32,
                224.. => 8,
                192.. => 24,
                128.. => 16,
                _ => 8,
            };
            class.max(count as u8 * 8)
        }
    };
    Inet::new(&bytes, bits)
}

/// Six bytes in pairs of hexadecimal digits.
pub fn parse_macaddr(text: &str) -> Result<Datum> {
    let body = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let parts: Vec<&str> = body.split([':', '-', '.']).collect();
    let separators: Vec<char> = body.chars().filter(|c| matches!(c, ':' | '-' | '.')).collect();
    let uniform = separators.windows(2).all(|w| w[0] == w[1]);
    let hexadecimal = parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_hexdigit()));
    let fits = match parts.len() {
        6 => separators.first() != Some(&'.'),
        3 => separators.first() != Some(&':') && parts.iter().all(|p| p.len() == 4),
        2 => separators.first() != Some(&'.') && parts.iter().all(|p| p.len() == 6),
        1 => body.len() == 12,
        _ => false,
    };
    if !uniform || !hexadecimal || !fits {
        return Err(invalid("macaddr", text));
    }
    let mut bytes = Vec::new();
    for part in parts.iter() {
        if parts.len() == 6 {
            let byte = u8::from_str_radix(part, 16).map_err(|_| {
                Error::new(
                    SqlState::NumericValueOutOfRange,
                    format!("invalid octet value in \"macaddr\" value: \"{text}\""),
                )
            })?;
            bytes.push(byte);
        } else {
            bytes.extend(pairs(part).ok_or_else(|| invalid("macaddr", text))?);
        }
    }
    Ok(Datum::Bytea(Arc::from(bytes)))
}

fn pairs(digits: &str) -> Option<Vec<u8>> {
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(digits.get(i..i + 2)?, 16).ok()).collect()
}

/// Six or eight bytes; six become eight by FF FE in their middle.
pub fn parse_macaddr8(text: &str) -> Result<Datum> {
    let body = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let mut bytes = Vec::new();
    let mut spacer = None;
    let mut rest = body;
    while !rest.is_empty() {
        let pair = rest.get(..2).and_then(pairs).ok_or_else(|| invalid("macaddr8", text))?;
        bytes.extend(pair);
        rest = rest.get(2..).unwrap_or_default();
        if let Some(c) = rest.chars().next().filter(|c| matches!(c, ':' | '-' | '.')) {
            if spacer.is_some_and(|s| s != c) || rest.len() == 1 {
                return Err(invalid("macaddr8", text));
            }
            spacer = Some(c);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    match bytes.as_slice() {
        [a, b, c, d, e, f] => Ok(Datum::Bytea(Arc::from([*a, *b, *c, 0xff, 0xfe, *d, *e, *f]))),
        [_, _, _, _, _, _, _, _] => Ok(Datum::Bytea(Arc::from(bytes))),
        _ => Err(invalid("macaddr8", text)),
    }
}

/// The text of a value of one of the types.
pub fn write(bytes: &[u8], ty: TypeOid, out: &mut Vec<u8>) {
    match ty {
        TypeOid::INET | TypeOid::CIDR => {
            if let Some(value) = Inet::decode(bytes) {
                out.extend_from_slice(value.shown(ty == TypeOid::CIDR).as_bytes());
            }
        }
        _ => {
            let shown: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
            out.extend_from_slice(shown.join(":").as_bytes());
        }
    }
}
