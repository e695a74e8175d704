//! No input makes a type, a function, an operator or a cast panic, and none is answered with XX000. Every type reads odd
//! texts, every implemented function is called with odd and extreme values, every value is cast to every type and goes
//! through every form of a value (text, key, Arrow memory). `LOCKSTEP_SEED` chooses other random ones than every run takes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{EvalContext, cast_value, registry};
use crate::error::{Result, SqlState};
use crate::types::arrow::{ColumnReader, to_array};
use crate::types::calendar::{DATE_MAX, DATE_MIN, TIMESTAMP_MAX, TIMESTAMP_MIN};
use crate::types::range::{self, Bound, Kind, Range};
use crate::types::text::{DateOrder, DateStyle, FormatSettings, IntervalStyle, parse, to_string};
use crate::types::{Datum, Interval, PgType, TypeOid, compare};

/// Texts that have broken readers before: cut in a character, beyond a range, ended early.
#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "", " ", "é", "日本語", "\u{1F600}", ":é531", "é:1", "1é", "-é", "P1é", "PT1é", "{é", "{\"é", "{a,é}", "\"\\é\"",
    "{\"a\":\"\\é", "\\é", "\\x é", "\\xé0", "[1:é]={1}", "é-01-01", "2020-é-01", "2020-01-01Té", "10:é", "é/é", "+é",
    "0", "1", "-1", "+1", "--1", "1.", ".5", ".", "1e5", "1e", "1e-5", "1e400", "1e-400", "1e131071", "1e131072",
    "1e-16383", "1e-16384", "1e9223372036854775807", "1e-9223372036854775808", "1e-99999999999999999999",
    "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "99999999999999999999999999999999999999", "nan", "inf", "-infinity", "infinity", "true",
    "2020-02-29", "2020-02-30", "9223372036854775807-01-01", "9223372036854775807-001", "5874897-12-31",
    "4714-11-24 BC", "4714-11-23 BC", "2147483647-12-31 BC", "J2147483647", "J9223372036854775807", "294276-12-31",
    "294247-01-10 04:00:54.775807", "2020-01-01 24:00:00", "2020-01-01 99:99:99", "2020-01-01 999999",
    "2020-01-01 00:00+99999999999999999:00", "2020-01-01 00:00:00+9223372036854775807", "10:20:30.999999999999999999",
    "9223372036854775807:00", "00:9223372036854775807", "040506-99", "y9223372036854775807m1d1", "P9223372036854775807Y",
    "PT9223372036854775807H", "P1e300D", "PT1e-400S", "9223372036854775807 us", "-9223372036854775808 us",
    "-9223372036854775808 us ago", "-2147483648 days ago", "-178956970 years -8 mons ago", "1-12", "-1--1", "1 2 3",
    "178956971 years", "2562047788015215:30:08", "0/0", "FFFFFFFF/FFFFFFFF", "{}", "{1,2,NULL}", "{{1}}", "{", "}", "[",
    "[]", "null", "{\"a\": [1, {\"b\": null}]}", "\"\\ud83d\"", "\"\\ud83d\\u00", "\"\\u", "1 é", "\\", "\\1", "\\777",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{a0eebc99", "numeric(99999999999999999999)", "numeric(é", "é[]", "[]]",
    "YYYY-MM-DD HH24:MI:SS.US", "é\"é", "\"é", "9.99EEEE", "FM999é", "V9999999999", "RN", "(", "[é", "(?<é>", "\\u00e",
    "%", "_", "%é_", "\\%", "hex", "base64", "escape", "UTF8", "UTC", "+15:59:59", "XYZ+167:59", "America/New_York",
    "epoch", "julian", "millennium", "timezone_hour", "%s", "%1$*2$s", "%99999999999s", "%-é", "%5$s", "%*1",
];

/// Digits behind a point, nesting and lengths beyond what any type holds.
fn long_texts() -> Vec<String> {
    vec![
        format!("0.{}1", "0".repeat(16_383)),
        format!("{}.5", "9".repeat(131_072)),
        "9".repeat(131_073),
        "[".repeat(2_000),
        format!("{}1{}", "[".repeat(900), "]".repeat(900)),
        "{\"a\":".repeat(1_500),
        "1 ".repeat(300),
        "é".repeat(300),
        format!("10:20:30.{}", "9".repeat(200)),
        format!("9.{}EEEE", "9".repeat(70_000)),
        format!("FM{}", "9".repeat(5_000)),
    ]
}

fn types() -> Vec<PgType> {
    use TypeOid as T;
    let modified = [
        (T::NUMERIC, PgType::numeric_typmod(5, 2)),
        (T::NUMERIC, PgType::numeric_typmod(3, -2)),
        (T::NUMERIC, PgType::numeric_typmod(2, 4)),
        (T::NUMERIC, PgType::numeric_typmod(1000, 1000)),
        (T::NUMERIC, PgType::numeric_typmod(1, -1000)),
        (T::VARCHAR, 4 + 2),
        (T::BPCHAR, 4 + 3),
        (T::TIME, 0),
        (T::TIMESTAMP, 0),
        (T::TIMESTAMPTZ, 3),
        (T::INTERVAL, (0x7fff << 16) | 1),
        (T::INTERVAL, (4 << 16) | 0xffff),
        (T::INTERVAL, (0x1800 << 16) | 2),
        (T::INTERVAL, (0x0408 << 16) | 0xffff),
    ];
    let plain = [
        T::BOOL,
        T::BYTEA,
        T::CHAR,
        T::NAME,
        T::INT8,
        T::INT2,
        T::INT4,
        T::TEXT,
        T::OID,
        T::XID,
        T::CID,
        T::XID8,
        T::JSON,
        T::JSONB,
        T::FLOAT4,
        T::FLOAT8,
        T::NUMERIC,
        T::VARCHAR,
        T::BPCHAR,
        T::DATE,
        T::TIME,
        T::TIMESTAMP,
        T::TIMESTAMPTZ,
        T::INTERVAL,
        T::UUID,
        T::PG_LSN,
        T::REGTYPE,
        T::REGCLASS,
        T::INT2VECTOR,
        T::OIDVECTOR,
        T::INT4_ARRAY,
        T::TEXT_ARRAY,
        T::NUMERIC_ARRAY,
        T::TIMESTAMPTZ_ARRAY,
        T::INTERVAL_ARRAY,
        T::FLOAT8_ARRAY,
        T::BYTEA_ARRAY,
        T::JSONB_ARRAY,
    ];
    plain.into_iter().map(PgType::from).chain(modified.map(|(oid, typmod)| PgType::new(oid, typmod))).collect()
}

/// Settings under which texts mean something else.
fn formats() -> Vec<FormatSettings> {
    let plain = FormatSettings::default;
    vec![
        plain(),
        FormatSettings {
            time_zone: chrono_tz::America::New_York.into(),
            date_order: DateOrder::Dmy,
            date_style: DateStyle::Postgres,
            interval_style: IntervalStyle::SqlStandard,
            extra_float_digits: -15,
            bytea_hex: false,
            ..plain()
        },
        FormatSettings {
            time_zone: chrono_tz::Pacific::Kiritimati.into(),
            date_order: DateOrder::Ymd,
            date_style: DateStyle::German,
            interval_style: IntervalStyle::Iso8601,
            ..plain()
        },
        FormatSettings { date_style: DateStyle::Sql, interval_style: IntervalStyle::PostgresVerbose, ..plain() },
    ]
}

/// What a failed attempt is told by.
#[derive(Default)]
struct Faults(BTreeMap<String, String>);

impl Faults {
    /// Runs one attempt; a panic or XX000 is a fault of `group`, told once with its first example.
    fn attempt<T>(
        &mut self,
        group: &str,
        example: impl FnOnce() -> String,
        run: impl FnOnce() -> Result<T>,
    ) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) if error.state() != SqlState::InternalError => {}
            Ok(Err(error)) => {
                self.0.entry(group.to_string()).or_insert_with(|| format!("{}: XX000 {}", example(), error.message()));
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default();
                self.0.entry(group.to_string()).or_insert_with(|| format!("{}: panic {text}", example()));
            }
        }
        None
    }

    fn check(self) {
        let told: Vec<String> = self.0.iter().map(|(group, example)| format!("{group}: {example}")).collect();
        assert!(told.is_empty(), "{} faults:\n{}", told.len(), told.join("\n"));
    }
}

fn seeded() -> StdRng {
    let seed = std::env::var("LOCKSTEP_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    println!("LOCKSTEP_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

/// A text made of pieces of the odd ones.
fn random_text(rng: &mut StdRng) -> String {
    let mut text = String::new();
    for _ in 0..rng.random_range(1..4) {
        let source = TEXTS[rng.random_range(0..TEXTS.len())];
        let length = source.chars().count();
        let (from, count) = (rng.random_range(0..=length), rng.random_range(0..=length));
        text.extend(source.chars().skip(from).take(count));
        if rng.random_ratio(1, 3) {
            text.push(['é', ' ', ':', '-', '.', '0', 'T'][rng.random_range(0..7)]);
        }
    }
    text
}

#[test]
fn no_text_breaks_a_type() {
    let mut rng = seeded();
    let mut texts: Vec<String> = TEXTS.iter().map(|t| t.to_string()).chain(long_texts()).collect();
    texts.extend((0..1_500).map(|_| random_text(&mut rng)));
    let mut faults = Faults::default();
    let formats = formats();
    for ty in types() {
        for (at, text) in texts.iter().enumerate() {
            let format = &formats[at % formats.len()];
            let group = format!("input of {}/{}", ty.oid.0, ty.typmod);
            let value = faults.attempt(&group, || shown(text), || parse(text, ty, format));
            if let Some(value) = value {
                let group = format!("output of {}/{}", ty.oid.0, ty.typmod);
                faults.attempt(&group, || shown(text), || every_form(&value, ty, &formats));
            }
        }
    }
    faults.check();
}

/// Text in every style, key, and Arrow memory and back.
fn every_form(value: &Datum, ty: PgType, formats: &[FormatSettings]) -> Result<()> {
    for format in formats {
        to_string(value, ty, format);
    }
    compare::encode_key(value, ty, &mut Vec::new());
    assert!(compare::compare(value, value, ty).is_eq());
    // Arrow's intervals are shorter: that is an error, not another value.
    if let Ok(array) = to_array([value], ty) {
        let back = ColumnReader::new(array.as_ref(), ty)?.get(0);
        assert!(compare::compare(&back, value, ty).is_eq(), "{back:?} instead of {value:?}");
    }
    Ok(())
}

/// Extreme and odd values of a type.
fn values(oid: TypeOid) -> Vec<Datum> {
    use TypeOid as T;
    let texts = |list: &[&str]| -> Vec<Datum> { list.iter().map(|t| Datum::from(*t)).collect() };
    let parsed = |list: &[&str]| -> Vec<Datum> {
        list.iter().map(|t| parse(t, oid.into(), &FormatSettings::default()).unwrap()).collect()
    };
    match oid {
        T::BOOL => vec![Datum::Bool(true), Datum::Bool(false)],
        T::INT2 => [i16::MIN, -1, 0, 1, 2, 31, i16::MAX].map(Datum::Int2).to_vec(),
        T::INT4 | T::ANYELEMENT | T::ANYNONARRAY => {
            [i32::MIN, i32::MIN + 1, -100, -1, 0, 1, 2, 7, 63, 100, 1000, i32::MAX - 1, i32::MAX]
                .map(Datum::Int4)
                .to_vec()
        }
        T::INT8 => [i64::MIN, i64::MIN + 1, i64::from(i32::MIN), -1, 0, 1, 5, 64, i64::from(i32::MAX) + 1, i64::MAX]
            .map(Datum::Int8)
            .to_vec(),
        T::XID8 | T::PG_LSN => [0, 1, -1, i64::MIN, i64::MAX].map(Datum::Int8).to_vec(),
        T::FLOAT4 => {
            [0.0, -0.0, 1.5, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]
                .map(Datum::Float4)
                .to_vec()
        }
        T::FLOAT8 => [
            0.0,
            -0.0,
            1.0,
            -1.5,
            0.5,
            1e15,
            1e19,
            -1e19,
            f64::MAX,
            f64::MIN,
            5e-324,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            9.3e18,
            2147483647.5,
        ]
        .map(Datum::Float8)
        .to_vec(),
        T::NUMERIC => parsed(&[
            "0",
            "0.000",
            "1",
            "-1",
            "0.5",
            "-2.5",
            "2",
            "10",
            "1e-1000",
            "-1e30",
            "99999999999999999999.99999",
            "NaN",
            "Infinity",
            "-Infinity",
            "9223372036854775808",
            "-2147483648",
            "2147483647",
            "3000000001",
            "1.0000000001",
            "1e400",
            "0.99999999999999999999",
        ]),
        T::TEXT | T::ANY => {
            let mut all = texts(TEXTS);
            all.extend(["a", "abc", "héllo wörld", "x".repeat(100).as_str()].map(Datum::from));
            all
        }
        T::VARCHAR | T::BPCHAR => texts(&["", "a", "é ", "日本語", "  "]),
        T::NAME => texts(&["", "a", "é", &"n".repeat(63)]),
        T::CHAR => texts(&["", "a", "\\377", "\\200"]),
        T::CSTRING | T::UNKNOWN => texts(&["", "é", "1"]),
        T::BYTEA => [&b""[..], b"\0", b"a\\b", b"\xff\xfe", b"0123456789"].map(|b| Datum::from(b.to_vec())).to_vec(),
        T::DATE => {
            [i32::MIN, i32::MAX, DATE_MIN as i32, DATE_MAX as i32, -1, 0, 18_321, 106_751_990].map(Datum::Date).to_vec()
        }
        T::TIME => [0, 1, 86_399_999_999, 86_400_000_000, 45_296_789_000].map(Datum::Time).to_vec(),
        T::TIMESTAMP => instants().map(Datum::Timestamp).to_vec(),
        T::TIMESTAMPTZ => instants().map(Datum::Timestamptz).to_vec(),
        T::INTERVAL => [
            Interval::new(0, 0, 0),
            Interval::new(1, -1, 1),
            Interval::new(-13, 40, -90_000_000_000),
            Interval::new(i32::MIN, i32::MIN, i64::MIN),
            Interval::new(i32::MAX, i32::MAX, i64::MAX),
            Interval::new(0, i32::MAX, i64::MAX),
            Interval::new(0, i32::MIN, 0),
            Interval::new(0, 0, i64::MIN),
            Interval::new(0, 0, 3_600_000_000),
            Interval::new(0, 1, 0),
            Interval::new(i32::MIN, 0, 0),
        ]
        .map(Datum::Interval)
        .to_vec(),
        T::UUID => vec![Datum::Uuid([0; 16]), Datum::Uuid([255; 16])],
        T::JSON | T::JSONB => {
            texts(&["null", "[]", "{}", "\"é\"", "[1, \"é\", null, [2]]", "{\"a\": {\"é\": [1]}, \"b\": 1}", "-1.5e3"])
        }
        oid if oid.is_range() || oid.is_multirange() => ranges(oid),
        oid if oid.element().is_some() => {
            let element = match oid {
                T::ANYARRAY => T::INT4,
                _ => oid.element().unwrap(),
            };
            let all = values(element);
            let nulls = !matches!(oid, T::INT2VECTOR | T::OIDVECTOR);
            let mut arrays =
                vec![Vec::new(), all.iter().take(1).cloned().collect(), all.iter().take(9).cloned().collect()];
            if nulls {
                arrays.push(vec![Datum::Null]);
                arrays.push(vec![all[0].clone(), Datum::Null, all[all.len() - 1].clone()]);
            }
            arrays.into_iter().map(Datum::from).collect()
        }
        oid if PgType::from(oid).arrow() == arrow::datatypes::DataType::UInt32 => {
            [0, 1, 23, u32::MAX].map(Datum::Oid).to_vec()
        }
        _ => Vec::new(),
    }
}

/// The empty one, all, and those between the extremes of the bounds.
fn ranges(ty: TypeOid) -> Vec<Datum> {
    let range = ty.multirange_range().unwrap_or(ty);
    let subtype = range.range_subtype().unwrap();
    let kind = Kind::new(range, subtype);
    let mut bounds: Vec<Option<Datum>> = values(subtype).into_iter().map(Some).collect();
    bounds.sort_by(|a, b| compare::compare(a.as_ref().unwrap(), b.as_ref().unwrap(), subtype.into()));
    bounds.insert(0, None);
    bounds.push(None);
    let pair = |at: usize, to: usize, inclusive| {
        kind.make(Bound::lower(bounds[at].clone(), true), Bound::upper(bounds[to].clone(), inclusive))
    };
    let last = bounds.len() - 1;
    let pairs = [(0, last), (0, 1), (1, 2), (1, last - 1), (2, 3), (last - 2, last - 1), (last - 1, last)];
    let found = pairs.into_iter().flat_map(|(at, to)| [pair(at, to, true), pair(at, to, false)]);
    let found: Vec<Range> = found.flatten().chain([Range::EMPTY]).collect();
    match ty.is_range() {
        true => found.iter().map(range::encode).collect(),
        false => {
            let several = found.windows(3).map(|ranges| kind.canonical(ranges.to_vec()));
            several.flatten().chain([Vec::new()]).map(|ranges| range::encode_multirange(&ranges)).collect()
        }
    }
}

fn instants() -> [i64; 10] {
    let (min, max) = (TIMESTAMP_MIN, TIMESTAMP_MAX);
    [i64::MIN, i64::MAX, min, min + 1, max - 1, max, -1, 0, 1_582_979_696_789_000, 1_730_611_800_000_000]
}

/// The type that a polymorphic argument gets here.
fn actual(declared: TypeOid) -> TypeOid {
    match declared {
        TypeOid::ANYELEMENT | TypeOid::ANYNONARRAY => TypeOid::INT4,
        TypeOid::ANYARRAY => TypeOid::INT4_ARRAY,
        TypeOid::ANY => TypeOid::TEXT,
        // anycompatible and its kin.
        TypeOid(5077) | TypeOid(5079) => TypeOid::INT4,
        TypeOid(5078) => TypeOid::INT4_ARRAY,
        // anyrange, anymultirange, and those of anycompatible.
        TypeOid(3831) | TypeOid(5080) => TypeOid::INT4RANGE,
        TypeOid(4537) | TypeOid(4538) => TypeOid::INT4MULTIRANGE,
        other => other,
    }
}

/// Results of these are as long as their argument says: they get small ones beside the refused.
fn too_large(symbol: &str, args: &[Datum]) -> bool {
    let long = |value: &Datum| matches!(value, Datum::Int4(n) if (1 << 20..1 << 30).contains(n));
    matches!(symbol, "repeat" | "lpad" | "rpad" | "array_fill") && args.iter().any(long)
}

#[test]
fn no_arguments_break_a_function() {
    const CALLS: usize = 60;
    let mut rng = seeded();
    let mut faults = Faults::default();
    let contexts: Vec<EvalContext> =
        formats().into_iter().map(|format| EvalContext { format, ..EvalContext::default() }).collect();
    let mut called = 0;
    for function in registry().functions() {
        if function.scalar.is_none() && function.set.is_none() {
            continue;
        }
        let types: Vec<PgType> = function.args.iter().map(|a| PgType::from(actual(*a))).collect();
        let pools: Vec<Vec<Datum>> = types.iter().map(|t| values(t.oid)).collect();
        if pools.iter().any(Vec::is_empty) {
            continue;
        }
        called += 1;
        let ret = PgType::from(actual(function.ret));
        let every: usize = pools.iter().map(Vec::len).product();
        // All combinations where they are few; else random ones.
        let calls = every.min(CALLS);
        for call in 0..calls {
            let mut left = call;
            let mut args = Vec::with_capacity(pools.len());
            for pool in &pools {
                let null = !function.strict && rng.random_ratio(1, 20);
                let at = if every <= CALLS { left % pool.len() } else { rng.random_range(0..pool.len()) };
                left /= pool.len();
                args.push(if null { Datum::Null } else { pool[at].clone() });
            }
            if too_large(function.symbol, &args) {
                continue;
            }
            let context = &contexts[call % contexts.len()];
            let group = format!("{}({})", function.symbol, function.oid);
            let example = || shown(&format!("{args:?}"));
            let formats = [FormatSettings::default()];
            if function.returns_set {
                faults.attempt(&group, example, || {
                    function.rows(context, &types, ret, &args)?.take(20).try_for_each(|row| row.map(|_| ()))
                });
            } else {
                faults.attempt(&group, example, || {
                    let value = function.call(context, &types, ret, &args)?;
                    every_form(&value, ret, &formats)
                });
            }
        }
    }
    assert!(called > 700, "{called}");
    faults.check();
}

#[test]
fn no_value_breaks_a_cast() {
    let mut rng = seeded();
    let mut faults = Faults::default();
    let contexts: Vec<EvalContext> =
        formats().into_iter().map(|format| EvalContext { format, ..EvalContext::default() }).collect();
    for from in types().into_iter().filter(|t| t.typmod < 0) {
        for to in types() {
            for value in values(from.oid) {
                // Of the many texts a few for each type.
                if from.oid == TypeOid::TEXT && rng.random_ratio(3, 4) {
                    continue;
                }
                let context = &contexts[rng.random_range(0..contexts.len())];
                let group = format!("cast {} to {}/{}", from.oid.0, to.oid.0, to.typmod);
                let explicit = rng.random();
                faults.attempt(
                    &group,
                    || shown(&format!("{value:?}")),
                    || {
                        let cast = cast_value(&value, from, to, explicit, context)?;
                        every_form(&cast, to, &[])
                    },
                );
            }
        }
    }
    faults.check();
}
