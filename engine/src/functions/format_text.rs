//! `format('%s %I %L %1$s %-10s %*s', …)` (varlena.c, `text_format`).

use std::iter::Peekable;
use std::str::Chars;

use super::Call;
use super::strings::{LENGTH_MAX, invalid_parameter, quote_ident, quote_literal, shown};
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;

/// One specifier, from behind its `%`.
#[derive(Debug, Default)]
struct Specifier {
    /// Argument to show; `None`: the next one.
    argument: Option<usize>,
    left: bool,
    width: Width,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Width {
    #[default]
    None,
    Fixed(i32),
    /// Of an argument; `None`: the next one.
    Argument(Option<usize>),
}

fn unterminated() -> Error {
    invalid_parameter("unterminated format() type specifier").hint("For a single \"%\" use \"%%\".")
}

fn number(chars: &mut Peekable<Chars<'_>>) -> Result<Option<i32>> {
    let mut value: Option<i32> = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        let next = value.unwrap_or(0).checked_mul(10).and_then(|v| v.checked_add(digit as i32));
        value = Some(next.ok_or_else(|| Error::new(SqlState::NumericValueOutOfRange, "number is out of range"))?);
        chars.next();
    }
    Ok(value)
}

/// An argument's number, which counts from one.
fn argument(number: i32) -> Result<usize> {
    match usize::try_from(number) {
        Ok(0) | Err(_) => Err(invalid_parameter("format specifies argument 0, but arguments are numbered from 1")),
        Ok(number) => Ok(number),
    }
}

fn specifier(chars: &mut Peekable<Chars<'_>>) -> Result<Specifier> {
    let mut specifier = Specifier::default();
    let first = number(chars)?;
    if let Some(first) = first {
        if chars.peek() != Some(&'$') {
            specifier.width = Width::Fixed(first);
            return Ok(specifier);
        }
        chars.next();
        specifier.argument = Some(argument(first)?);
    }
    while chars.peek() == Some(&'-') {
        specifier.left = true;
        chars.next();
    }
    if chars.peek() == Some(&'*') {
        chars.next();
        let from = number(chars)?;
        specifier.width = match from {
            None => Width::Argument(None),
            Some(from) => {
                if chars.next() != Some('$') {
                    return Err(invalid_parameter("width argument position must be ended by \"$\""));
                }
                Width::Argument(Some(argument(from)?))
            }
        };
    } else if let Some(width) = number(chars)? {
        specifier.width = Width::Fixed(width);
    }
    Ok(specifier)
}

fn too_few() -> Error {
    invalid_parameter("too few arguments for format()")
}

/// The value of a width: an argument that is an integer, or is written like one.
fn width_of(call: &Call<'_>, args: &[Datum], at: usize) -> Result<i32> {
    match args.get(at).ok_or_else(too_few)? {
        Datum::Null => Ok(0),
        Datum::Int4(width) => Ok(*width),
        Datum::Int2(width) => Ok(i32::from(*width)),
        other => match crate::types::text::parse(
            &shown(call, other, at)?,
            crate::types::TypeOid::INT4.into(),
            &call.context.format,
        )? {
            Datum::Int4(width) => Ok(width),
            _ => Ok(0),
        },
    }
}

pub(super) fn format(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(Datum::Text(template)) = args.first() else { return Ok(Datum::Null) };
    let mut out = String::new();
    let mut next = 1;
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.peek().ok_or_else(unterminated)? == &'%' {
            chars.next();
            out.push('%');
            continue;
        }
        let specifier = specifier(&mut chars)?;
        let kind = chars.next().ok_or_else(unterminated)?;
        if !matches!(kind, 's' | 'I' | 'L') {
            return Err(invalid_parameter(format!("unrecognized format() type specifier \"{kind}\""))
                .hint("For a single \"%\" use \"%%\"."));
        }
        let (mut width, mut left) = (0i64, specifier.left);
        match specifier.width {
            Width::None => {}
            Width::Fixed(fixed) => width = fixed.into(),
            Width::Argument(at) => {
                let at = at.unwrap_or(next);
                width = width_of(call, args, at)?.into();
                next = at + 1;
            }
        }
        if width < 0 {
            (width, left) = (-width, true);
        }
        let at = specifier.argument.unwrap_or(next);
        next = at + 1;
        let value = args.get(at).ok_or_else(too_few)?;
        pad(&text_of(call, value, at, kind)?, width as usize, left, &mut out)?;
    }
    Ok(Datum::from(out))
}

fn text_of(call: &Call<'_>, value: &Datum, at: usize, kind: char) -> Result<String> {
    Ok(match (kind, value.is_null()) {
        ('I', true) => {
            return Err(Error::new(
                SqlState::NullValueNotAllowed,
                "null values cannot be formatted as an SQL identifier",
            ));
        }
        ('L', true) => "NULL".to_string(),
        (_, true) => String::new(),
        ('I', _) => quote_ident(&shown(call, value, at)?),
        ('L', _) => quote_literal(&shown(call, value, at)?),
        _ => shown(call, value, at)?,
    })
}

fn pad(text: &str, width: usize, left: bool, out: &mut String) -> Result<()> {
    let missing = width.saturating_sub(text.chars().count());
    let added = missing.saturating_add(text.len());
    if out.len().saturating_add(added) > LENGTH_MAX {
        return Err(Error::new(SqlState::ProgramLimitExceeded, "out of memory")
            .detail(format!("Cannot enlarge string buffer containing {} bytes by {added} more bytes.", out.len())));
    }
    if left {
        out.push_str(text);
    }
    out.extend(std::iter::repeat_n(' ', missing));
    if !left {
        out.push_str(text);
    }
    Ok(())
}
