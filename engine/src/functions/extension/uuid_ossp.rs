//! uuid-ossp (contrib/uuid-ossp): UUIDs of the versions 1, 3, 4 and 5 (RFC 4122).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::Rng as _;
use ring::digest;

use crate::error::Result;
use crate::functions::args;
use crate::functions::registry::Implementations;
use crate::types::Datum;

/// Name spaces of the RFC; they differ in their fourth byte.
const NAME_SPACE: [u8; 16] =
    [0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];

fn name_space(number: u8) -> Datum {
    let mut space = NAME_SPACE;
    space[3] = number;
    Datum::Uuid(space)
}

fn stamped(mut uuid: [u8; 16], version: u8) -> Datum {
    uuid[6] = uuid[6] & 0x0f | version << 4;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    Datum::Uuid(uuid)
}

/// 100 ns since 15 October 1582, growing from call to call.
fn ticks() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = now.as_nanos() as u64 / 100 + 0x01b2_1dd2_1381_4000;
    let before = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
    before.map_or(now, |last| now.max(last + 1))
}

/// Version 1. The node is a random one with the multicast bit, which no network card has.
fn by_time() -> Datum {
    let ticks = ticks();
    let mut uuid = [0u8; 16];
    uuid[..4].copy_from_slice(&(ticks as u32).to_be_bytes());
    uuid[4..6].copy_from_slice(&((ticks >> 32) as u16).to_be_bytes());
    uuid[6..8].copy_from_slice(&((ticks >> 48) as u16).to_be_bytes());
    rand::rng().fill(&mut uuid[8..]);
    uuid[10] |= 1;
    stamped(uuid, 1)
}

fn space(arg: Option<&Datum>) -> Result<[u8; 16]> {
    match arg {
        Some(Datum::Uuid(space)) => Ok(*space),
        _ => Err(crate::error::Error::internal("a function wants a uuid")),
    }
}

fn by_name(args: &[Datum], version: u8) -> Result<Datum> {
    let named = [&space(args.first())?[..], args::text(args.get(1))?.as_bytes()].concat();
    let mut uuid = [0u8; 16];
    match version {
        3 => uuid = crate::functions::md5::digest(&named),
        _ => {
            let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &named);
            uuid.iter_mut().zip(sum.as_ref()).for_each(|(to, from)| *to = *from);
        }
    }
    Ok(stamped(uuid, version))
}

pub fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("uuid_nil", |_, _| Ok(Datum::Uuid([0; 16]))),
        ("uuid_ns_dns", |_, _| Ok(name_space(0x10))),
        ("uuid_ns_url", |_, _| Ok(name_space(0x11))),
        ("uuid_ns_oid", |_, _| Ok(name_space(0x12))),
        ("uuid_ns_x500", |_, _| Ok(name_space(0x14))),
        ("uuid_generate_v1", |_, _| Ok(by_time())),
        ("uuid_generate_v1mc", |_, _| Ok(by_time())),
        ("uuid_generate_v3", |_, args| by_name(args, 3)),
        ("uuid_generate_v4", |_, _| Ok(Datum::Uuid(*uuid::Uuid::new_v4().as_bytes()))),
        ("uuid_generate_v5", |_, args| by_name(args, 5)),
    ]);
}
