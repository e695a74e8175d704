#![allow(clippy::unwrap_used)]
use super::*;

fn n(text: &str) -> Numeric {
    Numeric::parse(text).unwrap()
}

#[test]
fn text_round_trip() {
    for text in ["0", "0.00", "-1.5", "123456789012345678901234567890.123", "NaN", "Infinity", "-Infinity", "0.0001"] {
        assert_eq!(n(text).to_string(), text);
    }
    assert_eq!(n("1e3").to_string(), "1000");
    assert_eq!(n("1.5e-3").to_string(), "0.0015");
    assert_eq!(n(" .5 ").to_string(), "0.5");
    for bad in ["", "1e", "1..2", "--1", "1 2", "abc", "e5", "."] {
        assert_eq!(Numeric::parse(bad).unwrap_err().state(), SqlState::InvalidTextRepresentation, "{bad}");
    }
    assert_eq!(Numeric::parse("1e200000").unwrap_err().state(), SqlState::NumericValueOutOfRange);
}

#[test]
fn bytes_sort_like_numbers() {
    let mut sorted = vec![Numeric::NegInfinity];
    let texts = [
        "-1e50",
        "-123456789.5",
        "-10001",
        "-10000",
        "-9999.99",
        "-1.01",
        "-1",
        "-0.5",
        "-0.00001",
        "0",
        "0.00001",
        "0.0001",
        "0.00011",
        "0.5",
        "0.99",
        "1",
        "1.0001",
        "1.01",
        "2",
        "10",
        "99",
        "100",
        "9999",
        "10000",
        "10001",
        "1e20",
        "1e37",
        "1e39",
        "1e50",
    ];
    sorted.extend(texts.iter().map(|t| n(t)));
    sorted.extend([Numeric::Infinity, Numeric::NaN]);
    for (i, a) in sorted.iter().enumerate() {
        for (j, b) in sorted.iter().enumerate() {
            assert_eq!(a.encode().cmp(&b.encode()), i.cmp(&j), "{a} {b}");
            assert_eq!(a.cmp(b), i.cmp(&j));
        }
        let back = Numeric::decode(&a.encode()).unwrap();
        assert_eq!(back.to_string(), a.to_string());
        // Display scale: only the last two bytes.
        if a.is_finite() {
            let wider = a.round(i64::from(a.scale()) + 3);
            assert_eq!(wider.key(), a.key());
            assert_eq!(Numeric::decode(&wider.encode()).unwrap().to_string(), wider.to_string());
        }
    }
}

#[test]
fn precision_and_scale() {
    assert_eq!(n("1.255").enforce(4, 2).unwrap().to_string(), "1.26");
    let error = n("1000").enforce(5, 2).unwrap_err();
    assert_eq!(error.state(), SqlState::NumericValueOutOfRange);
    assert_eq!(
        error.report().detail.as_deref(),
        Some("A field with precision 5, scale 2 must round to an absolute value less than 10^3.")
    );
    assert_eq!(n("1251").enforce(3, -2).unwrap().to_string(), "1300");
    assert_eq!(n("2.5").to_i128(1), Some(25));
    assert_eq!(n("2.55").to_i128(1), Some(26));
    assert_eq!(Numeric::from_f64(0.1 + 0.2).to_string(), "0.3");
    assert_eq!(Numeric::from_f64(1e20).to_string(), "100000000000000000000");
}
