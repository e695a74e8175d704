//! = <> < <= > >= of every type and of the pairs of types that PostgreSQL compares without a cast.

use std::cmp::Ordering;

use super::registry::Implementations;
use super::{Call, EvalContext, RowFunction};
use crate::error::Result;
use crate::types::calendar::{local_to_utc, utc_to_local};
use crate::types::interval::MICROS_PER_DAY;
use crate::types::{Datum, PgType, TypeOid, compare};

/// What a comparison asks of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Test {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Test {
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Test::Eq => order.is_eq(),
            Test::Ne => order.is_ne(),
            Test::Lt => order.is_lt(),
            Test::Le => order.is_le(),
            Test::Gt => order.is_gt(),
            Test::Ge => order.is_ge(),
        }
    }

    /// The test with its sides exchanged.
    pub fn flipped(self) -> Test {
        match self {
            Test::Lt => Test::Gt,
            Test::Le => Test::Ge,
            Test::Gt => Test::Lt,
            Test::Ge => Test::Le,
            same => same,
        }
    }
}

/// Order of two values that may be of different types of one family.
pub fn compare_mixed(a: &Datum, b: &Datum, types: (PgType, PgType), context: &EvalContext) -> Ordering {
    use Datum as D;
    let integer = |d: &Datum| match d {
        D::Int2(v) => Some(i64::from(*v)),
        D::Int4(v) => Some(i64::from(*v)),
        D::Int8(v) => Some(*v),
        D::Oid(v) => Some(i64::from(*v)),
        _ => None,
    };
    let float = |d: &Datum| match d {
        D::Float4(v) => Some(f64::from(*v)),
        D::Float8(v) => Some(*v),
        _ => None,
    };
    if std::mem::discriminant(a) == std::mem::discriminant(b) {
        return compare::compare(a, b, types.0);
    }
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return a.cmp(&b);
    }
    if let (Some(a), Some(b)) = (float(a), float(b)) {
        return compare::compare_floats(a, b);
    }
    // The order of local and zoned time is by instant; dates begin at midnight.
    match (a, b) {
        (D::Date(_) | D::Timestamp(_), D::Timestamptz(b)) => local_instant(a, context).cmp(b),
        (D::Timestamptz(a), D::Date(_) | D::Timestamp(_)) => a.cmp(&local_instant(b, context)),
        (D::Date(a), D::Timestamp(b)) => date_micros(*a).cmp(b),
        (D::Timestamp(a), D::Date(b)) => a.cmp(&date_micros(*b)),
        _ => compare::compare(a, b, types.0),
    }
}

/// Midnight of a date; the infinities stay infinite, days beyond the range of timestamps clamp to them.
pub fn date_micros(days: i32) -> i64 {
    match days {
        i32::MIN => i64::MIN,
        i32::MAX => i64::MAX,
        days => i64::from(days).saturating_mul(MICROS_PER_DAY).clamp(i64::MIN + 1, i64::MAX - 1),
    }
}

fn local_instant(value: &Datum, context: &EvalContext) -> i64 {
    let local = match value {
        Datum::Date(days) => date_micros(*days),
        Datum::Timestamp(micros) => *micros,
        _ => 0,
    };
    zoned(local, context)
}

/// A local time of the session's zone as an instant.
pub fn zoned(local: i64, context: &EvalContext) -> i64 {
    match local {
        i64::MIN | i64::MAX => local,
        local => local_to_utc(context.format.time_zone, local),
    }
}

/// An instant as local time of the session's zone.
pub fn local(utc: i64, context: &EvalContext) -> i64 {
    match utc {
        i64::MIN | i64::MAX => utc,
        utc => utc_to_local(context.format.time_zone, utc),
    }
}

fn decide(call: &Call<'_>, args: &[Datum], test: Test) -> Result<Datum> {
    let types = match call.types {
        [a, b, ..] => (*a, *b),
        _ => (TypeOid::TEXT.into(), TypeOid::TEXT.into()),
    };
    match args {
        [a, b] => Ok(Datum::Bool(test.holds(compare_mixed(a, b, types, call.context)))),
        _ => Err(crate::error::Error::internal("a comparison wants two values")),
    }
}

/// The comparison that a C symbol stands for.
pub fn test_of(symbol: &str) -> Option<Test> {
    SYMBOLS.iter().find(|(names, _, _)| names.split_ascii_whitespace().any(|n| n == symbol)).map(|(_, test, _)| *test)
}

const SYMBOLS: &[(&str, Test, RowFunction)] = &[
    (
        "booleq chareq nameeq int2eq int4eq int8eq int24eq int42eq int28eq int82eq int48eq int84eq oideq texteq xideq cideq \
         nameeqtext texteqname float4eq float8eq float48eq float84eq oidvectoreq bpchareq aclitem_eq date_eq time_eq timestamp_eq \
         interval_eq numeric_eq byteaeq date_eq_timestamp date_eq_timestamptz timestamp_eq_date timestamptz_eq_date \
         timestamp_eq_timestamptz timestamptz_eq_timestamp uuid_eq pg_lsn_eq tideq jsonb_eq array_eq xid8eq network_eq macaddr_eq macaddr8_eq \
         timetz_eq biteq cash_eq enum_eq citext_eq hstore_eq \
         range_eq multirange_eq",
        Test::Eq,
        |call, args| decide(call, args, Test::Eq),
    ),
    (
        "boolne charne namene int2ne int4ne int8ne int24ne int42ne int28ne int82ne int48ne int84ne oidne textne xidneq \
         namenetext textnename float4ne float8ne float48ne float84ne oidvectorne bpcharne date_ne time_ne timestamp_ne \
         interval_ne numeric_ne byteane date_ne_timestamp date_ne_timestamptz timestamp_ne_date timestamptz_ne_date \
         timestamp_ne_timestamptz timestamptz_ne_timestamp uuid_ne pg_lsn_ne tidne jsonb_ne array_ne xid8ne network_ne macaddr_ne macaddr8_ne \
         timetz_ne bitne cash_ne enum_ne citext_ne hstore_ne \
         range_ne multirange_ne",
        Test::Ne,
        |call, args| decide(call, args, Test::Ne),
    ),
    (
        "boollt charlt namelt int2lt int4lt int8lt int24lt int42lt int28lt int82lt int48lt int84lt oidlt text_lt \
         namelttext textltname float4lt float8lt float48lt float84lt oidvectorlt bpcharlt date_lt time_lt timestamp_lt \
         interval_lt numeric_lt bytealt date_lt_timestamp date_lt_timestamptz timestamp_lt_date timestamptz_lt_date \
         timestamp_lt_timestamptz timestamptz_lt_timestamp uuid_lt pg_lsn_lt tidlt jsonb_lt array_lt xid8lt network_lt macaddr_lt macaddr8_lt \
         timetz_lt bitlt cash_lt enum_lt citext_lt hstore_lt \
         range_lt multirange_lt",
        Test::Lt,
        |call, args| decide(call, args, Test::Lt),
    ),
    (
        "boolle charle namele int2le int4le int8le int24le int42le int28le int82le int48le int84le oidle text_le \
         nameletext textlename float4le float8le float48le float84le oidvectorle bpcharle date_le time_le timestamp_le \
         interval_le numeric_le byteale date_le_timestamp date_le_timestamptz timestamp_le_date timestamptz_le_date \
         timestamp_le_timestamptz timestamptz_le_timestamp uuid_le pg_lsn_le tidle jsonb_le array_le xid8le network_le macaddr_le macaddr8_le \
         timetz_le bitle cash_le enum_le citext_le hstore_le \
         range_le multirange_le",
        Test::Le,
        |call, args| decide(call, args, Test::Le),
    ),
    (
        "boolgt chargt namegt int2gt int4gt int8gt int24gt int42gt int28gt int82gt int48gt int84gt oidgt text_gt \
         namegttext textgtname float4gt float8gt float48gt float84gt oidvectorgt bpchargt date_gt time_gt timestamp_gt \
         interval_gt numeric_gt byteagt date_gt_timestamp date_gt_timestamptz timestamp_gt_date timestamptz_gt_date \
         timestamp_gt_timestamptz timestamptz_gt_timestamp uuid_gt pg_lsn_gt tidgt jsonb_gt array_gt xid8gt network_gt macaddr_gt macaddr8_gt \
         timetz_gt bitgt cash_gt enum_gt citext_gt hstore_gt \
         range_gt multirange_gt",
        Test::Gt,
        |call, args| decide(call, args, Test::Gt),
    ),
    (
        "boolge charge namege int2ge int4ge int8ge int24ge int42ge int28ge int82ge int48ge int84ge oidge text_ge \
         namegetext textgename float4ge float8ge float48ge float84ge oidvectorge bpcharge date_ge time_ge timestamp_ge \
         interval_ge numeric_ge byteage date_ge_timestamp date_ge_timestamptz timestamp_ge_date timestamptz_ge_date \
         timestamp_ge_timestamptz timestamptz_ge_timestamp uuid_ge pg_lsn_ge tidge jsonb_ge array_ge xid8ge network_ge macaddr_ge macaddr8_ge \
         timetz_ge bitge cash_ge enum_ge citext_ge hstore_ge \
         range_ge multirange_ge",
        Test::Ge,
        |call, args| decide(call, args, Test::Ge),
    ),
];

pub(super) fn register(implementations: &mut Implementations) {
    for (names, _, function) in SYMBOLS {
        for name in names.split_ascii_whitespace() {
            implementations.scalar(name, *function);
        }
    }
}
