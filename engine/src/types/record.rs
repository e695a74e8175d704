//! Rows as values: PostgreSQL's `record_out`. Lockstep has no other form of them: a row is made from its fields and shown.

use super::text::{self, FormatSettings};
use super::{Datum, PgType};

/// `(1,"a b",)`: NULL is nothing at all, the empty string is `""`.
pub fn write(fields: &[(Datum, PgType)], format: &FormatSettings) -> String {
    let mut out = String::from("(");
    for (i, (value, ty)) in fields.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        if !value.is_null() {
            quote(&text::to_string(value, *ty, format), &mut out);
        }
    }
    out.push(')');
    out
}

fn quote(field: &str, out: &mut String) {
    let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',') || c.is_ascii_whitespace() || c == '\x0b';
    if !field.is_empty() && !field.contains(special) {
        out.push_str(field);
        return;
    }
    out.push('"');
    for c in field.chars() {
        if matches!(c, '"' | '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TypeOid;

    #[test]
    fn fields_are_quoted_as_record_out_does_it() {
        let text = |s: &str| (Datum::from(s), TypeOid::TEXT.into());
        let row = [
            (Datum::Int4(1), TypeOid::INT4.into()),
            text("a b"),
            text(""),
            (Datum::Null, TypeOid::TEXT.into()),
            text("x\"y\\z"),
            text("(,)"),
            text("plain"),
        ];
        assert_eq!(write(&row, &FormatSettings::default()), r#"(1,"a b","",,"x""y\\z","(,)",plain)"#);
        assert_eq!(write(&[], &FormatSettings::default()), "()");
    }
}
