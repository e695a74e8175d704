//! Values against the bytes that PostgreSQL 15 sends for them, in every direction.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::types::Int32Type;
use arrow::array::*;
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, IntervalUnit, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use engine::error::SqlState;
use engine::session::Column;
use engine::types::numeric::Numeric;
use engine::types::text::{self, FormatSettings};
use engine::types::{Datum, Interval, PgType, TypeOid};

use super::column::BatchEncoder;
use super::datum::{DatumEncoder, write_row};
use super::parameter;
use crate::frontend::Format;

/// Type, value, text and `encode(…send(value), 'hex')`, as PostgreSQL 15 printed them with TimeZone UTC.
fn known() -> Vec<(TypeOid, Datum, &'static str, &'static str)> {
    use TypeOid as T;
    let numeric =
        |text: &str, scale| Datum::Numeric(Box::new(Numeric::Finite { mantissa: text.parse().unwrap(), scale }));
    let interval = |months, days, micros| Datum::Interval(Interval { months, days, micros });
    let uuid =
        Datum::Uuid([0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11]);
    let array = |values: &[Datum]| Datum::from(values.to_vec());
    let read = |ty: T, shown: &str| text::parse(shown, ty.into(), &FormatSettings::default()).unwrap();
    let (date, stamp) = (Datum::Date, Datum::Timestamp);
    vec![
        (T::BOOL, Datum::Bool(true), "t", "01"),
        (T::INT2, Datum::Int2(-2), "-2", "fffe"),
        (T::INT4, Datum::Int4(70000), "70000", "00011170"),
        (T::INT8, Datum::Int8(-5_000_000_000), "-5000000000", "fffffffed5fa0e00"),
        (T::FLOAT4, Datum::Float4(1.5), "1.5", "3fc00000"),
        (T::FLOAT8, Datum::Float8(-0.1), "-0.1", "bfb999999999999a"),
        (T::OID, Datum::Oid(u32::MAX), "4294967295", "ffffffff"),
        (T::XID, Datum::Oid(7), "7", "00000007"),
        (T::TEXT, "grüß".into(), "grüß", "6772c3bcc39f"),
        (T::VARCHAR, "x".into(), "x", "78"),
        (T::BPCHAR, "y ".into(), "y ", "7920"),
        (T::NAME, "n".into(), "n", "6e"),
        (T::CHAR, "c".into(), "c", "63"),
        (T::BYTEA, Datum::Bytea(Arc::from([0, 0xff])), "\\x00ff", "00ff"),
        (T::NUMERIC, numeric("150", 2), "1.50", "000200000000000200011388"),
        (T::DATE, date(10_956), "1999-12-31", "ffffffff"),
        (T::DATE, date(-165), "1969-07-20", "ffffd48e"),
        (T::DATE, date(i32::MAX), "infinity", "7fffffff"),
        (T::DATE, date(i32::MIN), "-infinity", "80000000"),
        (T::DATE, date(-2_440_550), "4713-01-01 BC", "ffda97cd"),
        (T::TIME, Datum::Time(86_399_999_999), "23:59:59.999999", "000000141dd75fff"),
        (T::TIME, Datum::Time(86_400_000_000), "24:00:00", "000000141dd76000"),
        (T::TIMESTAMP, stamp(1), "1970-01-01 00:00:00.000001", "fffca2fec4c82001"),
        (T::TIMESTAMP, stamp(i64::MAX), "infinity", "7fffffffffffffff"),
        (T::TIMESTAMPTZ, Datum::Timestamptz(1_795_435_200_000_000), "2026-11-23 12:00:00+00", "000303ef1a185000"),
        (T::TIMESTAMPTZ, Datum::Timestamptz(i64::MIN), "-infinity", "8000000000000000"),
        (
            T::INTERVAL,
            interval(14, 3, 14_706_789_000),
            "1 year 2 mons 3 days 04:05:06.789",
            "000000036c97ca88000000030000000e",
        ),
        (T::INTERVAL, interval(-1, 1, -1_000_000), "-1 mons +1 day -00:00:01", "fffffffffff0bdc000000001ffffffff"),
        (T::UUID, uuid.clone(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"),
        (T::JSON, "{\"a\": 1}".into(), "{\"a\": 1}", "7b2261223a20317d"),
        (T::JSONB, "{\"a\": 1}".into(), "{\"a\": 1}", "017b2261223a20317d"),
        (
            T::INT4_ARRAY,
            array(&[Datum::Int4(1), Datum::Null, Datum::Int4(3)]),
            "{1,NULL,3}",
            "00000001000000010000001700000003000000010000000400000001ffffffff0000000400000003",
        ),
        (
            T::TEXT_ARRAY,
            array(&["a".into(), Datum::Null, "b c".into()]),
            "{a,NULL,\"b c\"}",
            "00000001000000010000001900000003000000010000000161ffffffff00000003622063",
        ),
        (
            T::INT4_ARRAY,
            read(T::INT4_ARRAY, "[0:1][2:3]={{1,NULL},{3,4}}"),
            "[0:1][2:3]={{1,NULL},{3,4}}",
            "000000020000000100000017000000020000000000000002000000020000000400000001ffffffff00000004000000030000000400000004",
        ),
        (T::INET, read(T::INET, "10.1.2.3/8"), "10.1.2.3/8", "020800040a010203"),
        (T::CIDR, read(T::CIDR, "::/0"), "::/0", "0300011000000000000000000000000000000000"),
        (T::POINT, read(T::POINT, "(1,-2)"), "(1,-2)", "3ff0000000000000c000000000000000"),
        (
            T::BOX,
            read(T::BOX, "(0,0),(1,2)"),
            "(1,2),(0,0)",
            "3ff0000000000000400000000000000000000000000000000000000000000000",
        ),
        (T::PATH, read(T::PATH, "[(1,1)]"), "[(1,1)]", "00000000013ff00000000000003ff0000000000000"),
        (T::CIRCLE, read(T::CIRCLE, "<(1,1),2>"), "<(1,1),2>", "3ff00000000000003ff00000000000004000000000000000"),
        (T::INT4RANGE, read(T::INT4RANGE, "(1,)"), "[2,)", "120000000400000002"),
        (T::NUMRANGE, read(T::NUMRANGE, "EMPTY"), "empty", "01"),
        (
            T::INT4MULTIRANGE,
            read(T::INT4MULTIRANGE, "{[1,2], [7,9)}"),
            "{[1,3),[7,9)}",
            "00000002000000110200000004000000010000000400000003000000110200000004000000070000000400000009",
        ),
        (T::MACADDR, read(T::MACADDR, "08:00:2b:01:02:03"), "08:00:2b:01:02:03", "08002b010203"),
        (T::VARBIT, "10101".into(), "10101", "00000005a8"),
        (T::TIMETZ, read(T::TIMETZ, "04:05:06-08"), "04:05:06-08", "000000036c8bc08000007080"),
        (T::TID, read(T::TID, "(70000,7)"), "(70000,7)", "000111700007"),
        (T::MONEY, Datum::Int8(123_456), "$1,234.56", "000000000001e240"),
        (T::INT8_ARRAY, array(&[]), "{}", "000000000000000000000014"),
        (
            T::NUMERIC_ARRAY,
            array(&[numeric("150", 2), Datum::Numeric(Box::new(Numeric::NaN))]),
            "{1.50,NaN}",
            "0000000100000000000006a400000002000000010000000c0002000000000002000113880000000800000000c0000000",
        ),
        (
            T::INT2VECTOR,
            array(&[Datum::Int2(1), Datum::Int2(2), Datum::Int2(3)]),
            "1 2 3",
            "0000000100000000000000150000000300000000000000020001000000020002000000020003",
        ),
        (
            T::OIDVECTOR,
            array(&[Datum::Oid(25), Datum::Oid(26)]),
            "25 26",
            "00000001000000000000001a00000002000000000000000400000019000000040000001a",
        ),
        (
            T::TIMESTAMPTZ_ARRAY,
            array(&[Datum::Timestamptz(915_148_800_000_000)]),
            "{\"1999-01-01 00:00:00+00\"}",
            "0000000100000000000004a0000000010000000100000008ffffe35173ec2000",
        ),
        (
            T::UUID_ARRAY,
            array(&[uuid]),
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "000000010000000000000b86000000010000000100000010a0eebc999c0b4ef8bb6d6bb9bd380a11",
        ),
    ]
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn output_of_datums_is_postgresqls() {
    let settings = FormatSettings::default();
    for (oid, value, text, hex) in known() {
        for (format, expected) in [(Format::Text, text.as_bytes().to_vec()), (Format::Binary, unhex(hex))] {
            let encoder = DatumEncoder::choose(oid.into(), format).unwrap();
            let mut out = Vec::new();
            encoder.write(&value, &settings, &mut out).unwrap();
            assert_eq!(out, expected, "{oid:?} {value:?} {format:?}");
        }
    }
}

#[test]
fn input_of_parameters_is_postgresqls() {
    let settings = FormatSettings::default();
    for (oid, value, text, hex) in known() {
        let read = |bytes: &[u8], format| parameter::read(bytes, format, oid, &settings, 1);
        assert_eq!(read(&unhex(hex), Format::Binary).unwrap(), value, "{oid:?} {hex}");
        assert_eq!(read(text.as_bytes(), Format::Text).unwrap(), value, "{oid:?} {text}");
    }
}

#[test]
fn binary_parameters_of_a_wrong_length_are_refused() {
    let settings = FormatSettings::default();
    for (oid, _, _, hex) in known() {
        let bytes = unhex(hex);
        for end in 0..bytes.len() {
            // Some prefixes of a text are texts; none may panic, and fixed lengths are enforced.
            let result = parameter::read(&bytes[..end], Format::Binary, oid, &settings, 3);
            if super::type_length(oid) > 1 && oid != TypeOid::NAME {
                assert_eq!(result.unwrap_err().state(), SqlState::ProtocolViolation, "{oid:?} {end}");
            }
        }
        if super::type_length(oid) > 0 && !matches!(oid, TypeOid::NAME) {
            let mut long = bytes.clone();
            long.push(0);
            let error = parameter::read(&long, Format::Binary, oid, &settings, 3).unwrap_err();
            assert_eq!(error.state(), SqlState::InvalidBinaryRepresentation, "{oid:?}");
            assert_eq!(error.message(), "incorrect binary data format in bind parameter 3");
        }
    }
}

#[test]
fn types_without_binary_form_say_so() {
    let error = DatumEncoder::choose(TypeOid::ACLITEM.into(), Format::Binary).unwrap_err();
    assert_eq!(error.state(), SqlState::UndefinedFunction);
    assert_eq!(error.message(), "no binary output function available for type aclitem");
    let error = DatumEncoder::choose(TypeOid::ACLITEM_ARRAY.into(), Format::Binary).unwrap_err();
    assert_eq!(error.state(), SqlState::UndefinedFunction);
    assert!(DatumEncoder::choose(TypeOid::ACLITEM.into(), Format::Text).is_ok());
}

/// An array of the layout that [`PgType::arrow`] gives, of a value and a null.
fn arrow(ty: PgType, value: &Datum) -> ArrayRef {
    match (ty.arrow(), value) {
        (DataType::Boolean, Datum::Bool(v)) => Arc::new(BooleanArray::from(vec![Some(*v), None])),
        (DataType::Int16, Datum::Int2(v)) => Arc::new(Int16Array::from(vec![Some(*v), None])),
        (DataType::Int32, Datum::Int4(v)) => Arc::new(Int32Array::from(vec![Some(*v), None])),
        (DataType::Int64, Datum::Int8(v)) => Arc::new(Int64Array::from(vec![Some(*v), None])),
        (DataType::UInt32, Datum::Oid(v)) => Arc::new(UInt32Array::from(vec![Some(*v), None])),
        (DataType::Float32, Datum::Float4(v)) => Arc::new(Float32Array::from(vec![Some(*v), None])),
        (DataType::Float64, Datum::Float8(v)) => Arc::new(Float64Array::from(vec![Some(*v), None])),
        (DataType::Utf8, Datum::Text(v)) => Arc::new(StringArray::from(vec![Some(&**v), None])),
        (DataType::Binary, Datum::Bytea(v)) => Arc::new(BinaryArray::from(vec![Some(&**v), None])),
        (DataType::Binary, Datum::Numeric(v)) => Arc::new(BinaryArray::from(vec![Some(&v.encode()[..]), None])),
        (DataType::Date32, Datum::Date(v)) => Arc::new(Date32Array::from(vec![Some(*v), None])),
        (DataType::Time64(TimeUnit::Microsecond), Datum::Time(v)) => {
            Arc::new(Time64MicrosecondArray::from(vec![Some(*v), None]))
        }
        (DataType::Timestamp(_, zone), Datum::Timestamp(v) | Datum::Timestamptz(v)) => {
            Arc::new(TimestampMicrosecondArray::from(vec![Some(*v), None]).with_timezone_opt(zone))
        }
        (DataType::Interval(IntervalUnit::MonthDayNano), Datum::Interval(v)) => {
            let value = IntervalMonthDayNano::new(v.months, v.days, v.micros * 1000);
            Arc::new(IntervalMonthDayNanoArray::from(vec![Some(value), None]))
        }
        (DataType::FixedSizeBinary(16), Datum::Uuid(v)) => {
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some(v), None].into_iter(), 16).unwrap())
        }
        (DataType::Binary, Datum::Array(values)) => {
            let encoded = engine::types::codec::encode_array(values);
            Arc::new(BinaryArray::from(vec![Some(encoded.as_slice()), None]))
        }
        (data_type, value) => panic!("{data_type} {value:?}"),
    }
}

fn batch(ty: PgType, array: ArrayRef, format: Format) -> Vec<u8> {
    let schema = Schema::new(vec![Field::new("c", array.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![array]).unwrap();
    let column = Column { name: "c".into(), ty, table: 0, attribute: 0 };
    let settings = FormatSettings::default();
    let encoder = BatchEncoder::choose(&batch, &[column], std::iter::once(format), &settings).unwrap();
    let mut out = Vec::new();
    for row in 0..encoder.rows() {
        encoder.write_row(row, &mut out).unwrap();
    }
    out
}

/// Both ways to a row, from Arrow and from datums, give the same bytes.
#[test]
fn columns_agree_with_datums() {
    let settings = FormatSettings::default();
    for (oid, value, _, _) in known() {
        let ty = PgType::from(oid);
        for format in [Format::Text, Format::Binary] {
            let encoder = DatumEncoder::choose(ty, format).unwrap();
            let mut expected = Vec::new();
            for value in [value.clone(), Datum::Null] {
                let row = [value].into_iter().collect();
                write_row(&[encoder], &row, &settings, &mut expected).unwrap();
            }
            assert_eq!(batch(ty, arrow(ty, &value), format), expected, "{value:?} {format:?}");
        }
    }
}

#[test]
fn decimals_of_every_scale_agree_with_numerics() {
    let settings = FormatSettings::default();
    let ty = PgType::from(TypeOid::NUMERIC);
    let large = 10i128.pow(38) - 1;
    for mantissa in [0, 5, -5, 1234, -120_000, 999_999_999_999_999_999_999, large, -large] {
        for scale in [0, 1, 2, 4, 5, 19, 38] {
            let array = Decimal128Array::from(vec![mantissa]).with_precision_and_scale(38, scale).unwrap();
            let numeric = Datum::Numeric(Box::new(Numeric::Finite { mantissa: mantissa.into(), scale: scale as u16 }));
            for format in [Format::Text, Format::Binary] {
                let encoder = DatumEncoder::choose(ty, format).unwrap();
                let mut expected = Vec::new();
                let row = [numeric.clone()].into_iter().collect();
                write_row(&[encoder], &row, &settings, &mut expected).unwrap();
                assert_eq!(batch(ty, Arc::new(array.clone()), format), expected, "{numeric:?}");
            }
        }
    }
}

#[test]
fn other_layouts_of_strings_are_read() {
    let ty = PgType::from(TypeOid::TEXT);
    let plain = batch(ty, Arc::new(StringArray::from(vec![Some("ab"), None])), Format::Text);
    let view: ArrayRef = Arc::new(StringViewArray::from(vec![Some("ab"), None]));
    let large: ArrayRef = Arc::new(LargeStringArray::from(vec![Some("ab"), None]));
    let dictionary: DictionaryArray<Int32Type> = vec![Some("ab"), None].into_iter().collect();
    for array in [view, large, Arc::new(dictionary)] {
        assert_eq!(batch(ty, array, Format::Text), plain);
    }
    let nulls = batch(ty, Arc::new(NullArray::new(2)), Format::Binary);
    assert_eq!(nulls, unhex("0001ffffffff0001ffffffff"));
}

/// A reg type comes as a number, or as a name that the engine resolved.
#[test]
fn reg_types_come_as_numbers_or_names() {
    let ty = PgType::from(TypeOid::REGCLASS);
    let number: ArrayRef = Arc::new(UInt32Array::from(vec![1259]));
    let name: ArrayRef = Arc::new(StringArray::from(vec!["pg_class"]));
    assert_eq!(batch(ty, number, Format::Binary), unhex("000100000004000004eb"));
    assert_eq!(batch(ty, name, Format::Text), unhex("00010000000870675f636c617373"));
}

/// No bytes make a decoder panic.
#[test]
fn random_parameters_are_values_or_errors() {
    use rand::{Rng, SeedableRng};
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let settings = FormatSettings::default();
    let known = known();
    for _ in 0..20_000 {
        let (oid, _, text, hex) = &known[random.random_range(0..known.len())];
        let (mut bytes, format) =
            if random.random() { (unhex(hex), Format::Binary) } else { (text.as_bytes().to_vec(), Format::Text) };
        for _ in 0..random.random_range(1..4) {
            if bytes.is_empty() {
                break;
            }
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..3) {
                0 => bytes.truncate(at),
                1 => bytes[at] = random.random(),
                _ => bytes.insert(at, random.random()),
            }
        }
        let _ = parameter::read(&bytes, format, *oid, &settings, 1);
    }
}
