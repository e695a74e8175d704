//! Taking arguments apart: what a row function's signature promises, checked once more on the way in.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::types::array::ArrayValue;
use crate::types::numeric::Numeric;
use crate::types::{Datum, Interval};

/// A row function from named, typed arguments: `row!(|a: int4, b: int4| …)` where the body is a `Result<Datum>`.
macro_rules! row {
    (|$($name:ident : $take:ident),*| $body:expr) => {
        |_call: &crate::functions::Call<'_>, args: &[crate::types::Datum]| -> crate::error::Result<crate::types::Datum> {
            let mut rest = args.iter();
            $(let $name = crate::functions::args::$take(rest.next())?;)*
            let _ = rest;
            $body
        }
    };
    ($call:ident, |$($name:ident : $take:ident),*| $body:expr) => {
        |$call: &crate::functions::Call<'_>, args: &[crate::types::Datum]| -> crate::error::Result<crate::types::Datum> {
            let mut rest = args.iter();
            $(let $name = crate::functions::args::$take(rest.next())?;)*
            let _ = rest;
            $body
        }
    };
}
pub(crate) use row;

fn wrong(wanted: &str, got: Option<&Datum>) -> Error {
    Error::internal(format!("a function wants {wanted} and got {got:?}"))
}

macro_rules! takers {
    ($($name:ident: $variant:ident -> $ty:ty),* $(,)?) => { $(
        pub(crate) fn $name(arg: Option<&Datum>) -> Result<$ty> {
            match arg {
                Some(Datum::$variant(v)) => Ok(*v),
                other => Err(wrong(stringify!($name), other)),
            }
        }
    )* };
}

takers! {
    boolean: Bool -> bool,
    int2: Int2 -> i16,
    int4: Int4 -> i32,
    int8: Int8 -> i64,
    float4: Float4 -> f32,
    float8: Float8 -> f64,
    oid: Oid -> u32,
    date: Date -> i32,
    time: Time -> i64,
    interval: Interval -> Interval,
}

/// A timestamp with or without time zone.
pub(crate) fn timestamp(arg: Option<&Datum>) -> Result<i64> {
    match arg {
        Some(Datum::Timestamp(v) | Datum::Timestamptz(v)) => Ok(*v),
        other => Err(wrong("timestamp", other)),
    }
}

pub(crate) fn numeric(arg: Option<&Datum>) -> Result<&Numeric> {
    match arg {
        Some(Datum::Numeric(v)) => Ok(v),
        other => Err(wrong("numeric", other)),
    }
}

pub(crate) fn text(arg: Option<&Datum>) -> Result<&str> {
    match arg {
        Some(Datum::Text(v)) => Ok(v),
        other => Err(wrong("text", other)),
    }
}

pub(crate) fn bytea(arg: Option<&Datum>) -> Result<&[u8]> {
    match arg {
        Some(Datum::Bytea(v)) => Ok(v),
        other => Err(wrong("bytea", other)),
    }
}

pub(crate) fn array(arg: Option<&Datum>) -> Result<&Arc<ArrayValue>> {
    match arg {
        Some(Datum::Array(v)) => Ok(v),
        other => Err(wrong("array", other)),
    }
}

/// Any value, NULL too.
pub(crate) fn any(arg: Option<&Datum>) -> Result<&Datum> {
    arg.ok_or_else(|| wrong("a value", arg))
}

macro_rules! into_datum {
    ($($ty:ty => $variant:ident),* $(,)?) => { $(
        impl From<$ty> for Datum {
            fn from(value: $ty) -> Self { Datum::$variant(value) }
        }
    )* };
}

into_datum! { bool => Bool, i16 => Int2, i64 => Int8, f32 => Float4, f64 => Float8, i32 => Int4, Interval => Interval }

impl From<String> for Datum {
    fn from(value: String) -> Self {
        Datum::Text(Arc::from(value))
    }
}

impl From<Vec<u8>> for Datum {
    fn from(value: Vec<u8>) -> Self {
        Datum::Bytea(Arc::from(value))
    }
}

impl From<Vec<Datum>> for Datum {
    fn from(value: Vec<Datum>) -> Self {
        Datum::Array(Arc::new(value.into()))
    }
}
