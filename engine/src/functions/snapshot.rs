//! What is in a `pg_snapshot`.

use super::args::{self, row};
use super::registry::Implementations;
use super::{Call, Rows};
use crate::error::Result;
use crate::types::Datum;
use crate::types::snapshot::TransactionSnapshot;

fn number(number: u64) -> Datum {
    Datum::Int8(number as i64)
}

fn running(_: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    let snapshot = TransactionSnapshot::parse(args::text(args.first())?)?;
    Ok(Box::new(snapshot.running.into_iter().map(|running| Ok(vec![number(running)]))))
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("pg_snapshot_xmin", row!(|a: text| Ok(number(TransactionSnapshot::parse(a)?.xmin)))),
        ("pg_snapshot_xmax", row!(|a: text| Ok(number(TransactionSnapshot::parse(a)?.xmax)))),
        (
            "pg_visible_in_snapshot",
            row!(|a: int8, b: text| Ok(Datum::Bool(TransactionSnapshot::parse(b)?.sees(a as u64)))),
        ),
    ]);
    implementations.set("pg_snapshot_xip", running);
}
