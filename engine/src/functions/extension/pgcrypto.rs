//! pgcrypto (contrib/pgcrypto): digests, HMACs and random bytes. Encryption, PGP and password hashes answer 0A000.

use rand::RngCore as _;
use ring::{digest, hmac};

use crate::error::{Error, Result, SqlState};
use crate::functions::args::{self, row};
use crate::functions::registry::Implementations;
use crate::types::Datum;

fn bytes(arg: Option<&Datum>) -> Result<&[u8]> {
    match arg {
        Some(Datum::Text(text)) => Ok(text.as_bytes()),
        other => args::bytea(other),
    }
}

fn sha(name: &str) -> Option<(&'static digest::Algorithm, hmac::Algorithm)> {
    Some(match name {
        "sha1" => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        "sha256" => (&digest::SHA256, hmac::HMAC_SHA256),
        "sha384" => (&digest::SHA384, hmac::HMAC_SHA384),
        "sha512" => (&digest::SHA512, hmac::HMAC_SHA512),
        _ => return None,
    })
}

fn unknown(name: &str) -> Error {
    match name {
        "sha224" | "md5" => Error::unsupported(format!("the hash {name} here")),
        _ => Error::new(SqlState::InvalidParameterValue, format!("Cannot use \"{name}\": No such hash algorithm")),
    }
}

fn digest(args: &[Datum]) -> Result<Datum> {
    let data = bytes(args.first())?;
    let name = args::text(args.get(1))?.to_ascii_lowercase();
    Ok(match (name.as_str(), sha(&name)) {
        ("md5", _) => Datum::from(crate::functions::md5::digest(data).to_vec()),
        (_, Some((algorithm, _))) => Datum::from(digest::digest(algorithm, data).as_ref().to_vec()),
        (name, None) => return Err(unknown(name)),
    })
}

fn keyed(args: &[Datum]) -> Result<Datum> {
    let (data, key) = (bytes(args.first())?, bytes(args.get(1))?);
    let name = args::text(args.get(2))?.to_ascii_lowercase();
    let (_, algorithm) = sha(&name).ok_or_else(|| unknown(&name))?;
    Ok(Datum::from(hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec()))
}

fn random(count: i32) -> Result<Datum> {
    let count = usize::try_from(count).ok().filter(|n| (1..=1024).contains(n));
    let count = count.ok_or_else(|| Error::new(SqlState::ExternalRoutineInvocationException, "Length not in range"))?;
    let mut bytes = vec![0u8; count];
    rand::rng().fill_bytes(&mut bytes);
    Ok(Datum::from(bytes))
}

pub fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("pg_digest", |_, args| digest(args)),
        ("pg_hmac", |_, args| keyed(args)),
        ("pg_random_bytes", row!(|count: int4| random(count))),
    ]);
}
