//! Values of one type that equal values of another, for keys whose two sides differ in type.

use std::borrow::Cow;

use super::numeric::Numeric;
use super::{Datum, PgType, TypeOid};

/// Whether [`equal_values`] knows the values of `to` that equal those of `from`, exactly and in both directions.
pub fn comparable(from: TypeOid, to: TypeOid) -> bool {
    let integer = |ty| matches!(ty, TypeOid::INT2 | TypeOid::INT4 | TypeOid::INT8);
    let text = |ty| matches!(ty, TypeOid::TEXT | TypeOid::VARCHAR | TypeOid::NAME);
    let float = |ty| matches!(ty, TypeOid::FLOAT4 | TypeOid::FLOAT8);
    from == to
        || (integer(from) && (integer(to) || to == TypeOid::NUMERIC))
        || (text(from) && text(to))
        || (float(from) && float(to))
}

/// The values, of types that are [`comparable`], as those of types `to` that equal them. `None`: one of them equals no value of
/// its new type.
pub fn equal_values<'v>(values: &'v [Datum], to: &[PgType]) -> Option<Cow<'v, [Datum]>> {
    if values.iter().zip(to).all(|(value, to)| is_of(value, to.oid)) {
        return Some(Cow::Borrowed(values));
    }
    values.iter().zip(to).map(|(value, to)| equal_value(value, to.oid)).collect::<Option<Vec<_>>>().map(Cow::Owned)
}

/// The wider of two types whose values `=` compares as they are. `None`: nothing is to be widened.
pub fn common(left: TypeOid, right: TypeOid) -> Option<TypeOid> {
    use TypeOid as T;
    const FAMILIES: [&[TypeOid]; 3] =
        [&[T::INT2, T::INT4, T::INT8], &[T::FLOAT4, T::FLOAT8], &[T::DATE, T::TIMESTAMP, T::TIMESTAMPTZ]];
    let wider = |family: &&[TypeOid]| {
        let place = |ty| family.iter().position(|member| *member == ty);
        family.get(place(left)?.max(place(right)?)).copied()
    };
    FAMILIES.iter().find_map(wider).filter(|_| left != right)
}

fn is_of(value: &Datum, ty: TypeOid) -> bool {
    match value {
        Datum::Int2(_) => ty == TypeOid::INT2,
        Datum::Int4(_) => ty == TypeOid::INT4,
        Datum::Int8(_) => ty == TypeOid::INT8,
        Datum::Numeric(_) => ty == TypeOid::NUMERIC,
        Datum::Float4(_) => ty == TypeOid::FLOAT4,
        Datum::Float8(_) => ty == TypeOid::FLOAT8,
        _ => true,
    }
}

fn equal_value(value: &Datum, to: TypeOid) -> Option<Datum> {
    let integer = match value {
        Datum::Int2(n) => Some(i64::from(*n)),
        Datum::Int4(n) => Some(i64::from(*n)),
        Datum::Int8(n) => Some(*n),
        // Rounded, which equals only what is whole.
        Datum::Numeric(n) => n.to_i64().filter(|whole| Numeric::from_i128((*whole).into(), 0) == **n),
        _ => None,
    };
    Some(match (value, to) {
        (Datum::Null, _) => Datum::Null,
        (_, TypeOid::INT2) => Datum::Int2(integer?.try_into().ok()?),
        (_, TypeOid::INT4) => Datum::Int4(integer?.try_into().ok()?),
        (_, TypeOid::INT8) => Datum::Int8(integer?),
        (Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_), TypeOid::NUMERIC) => {
            Datum::Numeric(Box::new(Numeric::from_i128(integer?.into(), 0)))
        }
        (Datum::Float4(n), TypeOid::FLOAT8) => Datum::Float8((*n).into()),
        (Datum::Float8(n), TypeOid::FLOAT4) => {
            let narrow = *n as f32;
            (f64::from(narrow) == *n || n.is_nan()).then_some(Datum::Float4(narrow))?
        }
        (value, _) => value.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_equals_of_other_types_or_none() {
        let numeric = |text: &str| Datum::Numeric(Box::new(Numeric::parse(text).expect("a number")));
        for (value, to, equal) in [
            (Datum::Int4(7), TypeOid::INT8, Some(Datum::Int8(7))),
            (Datum::Int8(7), TypeOid::INT2, Some(Datum::Int2(7))),
            (Datum::Int8(1 << 40), TypeOid::INT4, None),
            (numeric("7.00"), TypeOid::INT4, Some(Datum::Int4(7))),
            (numeric("7.01"), TypeOid::INT8, None),
            (numeric("NaN"), TypeOid::INT8, None),
            (numeric("1e30"), TypeOid::INT8, None),
            (Datum::Float4(0.5), TypeOid::FLOAT8, Some(Datum::Float8(0.5))),
            (Datum::Float8(0.1), TypeOid::FLOAT4, None),
            (Datum::Null, TypeOid::INT4, Some(Datum::Null)),
        ] {
            assert_eq!(equal_value(&value, to), equal, "{value:?} as {to:?}");
        }
        assert_eq!(equal_value(&Datum::Int2(-7), TypeOid::NUMERIC), Some(numeric("-7")));
    }
}
