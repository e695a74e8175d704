//! Functions and operators of inet, cidr, macaddr and macaddr8.

use super::args::{self, row};
use super::registry::Implementations;
use super::strings::invalid_parameter;
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;
use crate::types::network::{Inet, V4, V6, abbreviate_cidr};

fn inet(arg: Option<&Datum>) -> Result<Inet> {
    Inet::decode(args::bytea(arg)?).ok_or_else(|| Error::internal("bytes that are no network address"))
}

fn pair(args: &[Datum]) -> Result<(Inet, Inet)> {
    Ok((inet(args.first())?, inet(args.get(1))?))
}

/// Whether `inner` lies in `outer`; equal masks count if `or_equal`.
fn within(inner: &Inet, outer: &Inet, or_equal: bool) -> bool {
    let narrower = if or_equal { inner.bits >= outer.bits } else { inner.bits > outer.bits };
    inner.v6 == outer.v6 && narrower && inner.same_prefix(outer, outer.bits)
}

fn combine(args: &[Datum], what: &str, with: fn(u128, u128) -> u128) -> Result<Datum> {
    let (a, b) = pair(args)?;
    if a.v6 != b.v6 {
        return Err(invalid_parameter(format!("cannot {what} inet values of different sizes")));
    }
    Ok(a.with_bits(a.bits.max(b.bits)).with_address(with(a.number(), b.number())).encode())
}

fn moved(value: Inet, by: i128) -> Result<Datum> {
    let out_of_range = || Error::new(SqlState::NumericValueOutOfRange, "result is out of range");
    let number = if by < 0 {
        value.number().checked_sub(by.unsigned_abs())
    } else {
        value.number().checked_add(by.unsigned_abs())
    };
    let number = number.filter(|n| value.v6 || *n <= u128::from(u32::MAX)).ok_or_else(out_of_range)?;
    Ok(value.with_address(number).encode())
}

fn set_mask(args: &[Datum], cidr: bool) -> Result<Datum> {
    let (value, bits) = (inet(args.first())?, args::int4(args.get(1))?);
    let bits = match bits {
        -1 => value.max_bits(),
        bits => u8::try_from(bits)
            .ok()
            .filter(|b| *b <= value.max_bits())
            .ok_or_else(|| invalid_parameter(format!("invalid mask length: {bits}")))?,
    };
    let set = value.with_bits(bits);
    Ok(if cidr { set.network() } else { set }.encode())
}

fn merge(args: &[Datum]) -> Result<Datum> {
    let (a, b) = pair(args)?;
    if a.v6 != b.v6 {
        return Err(invalid_parameter("cannot merge addresses from different families"));
    }
    let differing = a.number() ^ b.number();
    let spare = if a.v6 { 0 } else { 96 };
    let common = (differing.leading_zeros() - spare) as u8;
    Ok(a.with_bits(common.min(a.bits).min(b.bits)).network().encode())
}

fn difference(args: &[Datum]) -> Result<Datum> {
    let (a, b) = pair(args)?;
    if a.v6 != b.v6 {
        return Err(invalid_parameter("cannot subtract inet values of different sizes"));
    }
    let (x, y) = (a.number(), b.number());
    let out_of_range = || Error::new(SqlState::NumericValueOutOfRange, "result is out of range");
    let magnitude = i64::try_from(x.abs_diff(y)).map_err(|_| out_of_range())?;
    Ok(Datum::Int8(if x < y { -magnitude } else { magnitude }))
}

fn each_byte(args: &[Datum], with: fn(u8, u8) -> u8) -> Result<Datum> {
    let (a, b) = (args::bytea(args.first())?, args::bytea(args.get(1)).unwrap_or(&[0; 8]));
    Ok(Datum::from(a.iter().zip(b).map(|(x, y)| with(*x, *y)).collect::<Vec<u8>>()))
}

fn truncated(bytes: &[u8]) -> Datum {
    Datum::from(bytes.iter().enumerate().map(|(i, b)| if i < 3 { *b } else { 0 }).collect::<Vec<u8>>())
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("inet_abbrev", |_, a| Ok(Datum::from(inet(a.first())?.shown(false)))),
        ("cidr_abbrev", |_, a| Ok(Datum::from(abbreviate_cidr(&inet(a.first())?)))),
        ("network_show", |_, a| Ok(Datum::from(inet(a.first())?.shown(true)))),
        ("network_host", |_, a| Ok(Datum::from(inet(a.first())?.host()))),
        ("network_family", |_, a| Ok(Datum::Int4(if inet(a.first())?.v6 { 6 } else { 4 }))),
        ("network_masklen", |_, a| Ok(Datum::Int4(inet(a.first())?.bits.into()))),
        ("network_broadcast", |_, a| Ok(inet(a.first())?.masked(|byte, mask| byte | !mask).encode())),
        ("network_network", |_, a| Ok(inet(a.first())?.network().encode())),
        ("network_netmask", |_, a| {
            let value = inet(a.first())?;
            Ok(value.masked(|_, mask| mask).with_bits(value.max_bits()).encode())
        }),
        ("network_hostmask", |_, a| {
            let value = inet(a.first())?;
            Ok(value.masked(|_, mask| !mask).with_bits(value.max_bits()).encode())
        }),
        ("inet_to_cidr", |_, a| Ok(inet(a.first())?.network().encode())),
        ("inet_set_masklen", |_, a| set_mask(a, false)),
        ("cidr_set_masklen", |_, a| set_mask(a, true)),
        ("inet_same_family", |_, a| pair(a).map(|(x, y)| Datum::Bool(x.v6 == y.v6))),
        ("inet_merge", |_, a| merge(a)),
        ("network_sub", |_, a| pair(a).map(|(x, y)| Datum::Bool(within(&x, &y, false)))),
        ("network_subeq", |_, a| pair(a).map(|(x, y)| Datum::Bool(within(&x, &y, true)))),
        ("network_sup", |_, a| pair(a).map(|(x, y)| Datum::Bool(within(&y, &x, false)))),
        ("network_supeq", |_, a| pair(a).map(|(x, y)| Datum::Bool(within(&y, &x, true)))),
        ("network_overlap", |_, a| {
            pair(a).map(|(x, y)| Datum::Bool(x.v6 == y.v6 && x.same_prefix(&y, x.bits.min(y.bits))))
        }),
        ("inetnot", |_, a| {
            let value = inet(a.first())?;
            Ok(value.with_address(!value.number()).encode())
        }),
        ("inetand", |_, a| combine(a, "AND", |x, y| x & y)),
        ("inetor", |_, a| combine(a, "OR", |x, y| x | y)),
        ("inetpl", |_, a| moved(inet(a.first())?, args::int8(a.get(1))?.into())),
        ("#2631", |_, a| moved(inet(a.get(1))?, args::int8(a.first())?.into())),
        ("inetmi_int8", |_, a| moved(inet(a.first())?, -i128::from(args::int8(a.get(1))?))),
        ("inetmi", |_, a| difference(a)),
        ("inet_send", |_, a| inet(a.first()).map(|v| Datum::from(sent(&v, false)))),
        ("cidr_send", |_, a| inet(a.first()).map(|v| Datum::from(sent(&v, true)))),
        ("macaddr_not", |_, a| each_byte(a, |x, _| !x)),
        ("macaddr_and", |_, a| each_byte(a, |x, y| x & y)),
        ("macaddr_or", |_, a| each_byte(a, |x, y| x | y)),
        ("macaddr_trunc", row!(|m: bytea| Ok(truncated(m)))),
        ("macaddr8_not", |_, a| each_byte(a, |x, _| !x)),
        ("macaddr8_and", |_, a| each_byte(a, |x, y| x & y)),
        ("macaddr8_or", |_, a| each_byte(a, |x, y| x | y)),
        ("macaddr8_trunc", row!(|m: bytea| Ok(truncated(m)))),
        (
            "macaddr8_set7bit",
            row!(|m: bytea| {
                let set = |(i, b): (usize, &u8)| if i == 0 { *b | 2 } else { *b };
                Ok(Datum::from(m.iter().enumerate().map(set).collect::<Vec<u8>>()))
            }),
        ),
        (
            "macaddrtomacaddr8",
            row!(|m: bytea| match m {
                [a, b, c, d, e, f] => Ok(Datum::from(vec![*a, *b, *c, 0xff, 0xfe, *d, *e, *f])),
                _ => Err(Error::internal("a macaddr of another length")),
            }),
        ),
        (
            "macaddr8tomacaddr",
            row!(|m: bytea| match m {
                [a, b, c, 0xff, 0xfe, d, e, f] => Ok(Datum::from(vec![*a, *b, *c, *d, *e, *f])),
                _ => Err(Error::new(
                    SqlState::NumericValueOutOfRange,
                    "macaddr8 data out of range to convert to macaddr",
                )
                .hint("Only addresses that have FF and FE as values in the 4th and 5th bytes from the left, for example xx:xx:xx:ff:fe:xx:xx:xx, are eligible to be converted from macaddr8 to macaddr.")),
            }),
        ),
    ]);
}

/// The binary form: family, mask, whether it is a cidr, length, bytes.
pub fn sent(value: &Inet, cidr: bool) -> Vec<u8> {
    let address = value.address();
    let family = if value.v6 { V6 } else { V4 };
    [&[family, value.bits, cidr.into(), address.len() as u8], address].concat()
}
