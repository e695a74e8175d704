//! to_char of numbers and to_number.

use super::args::row;
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;
use crate::types::numeric::Numeric;

/// A number's template, taken apart.
#[derive(Debug, Default)]
struct Template {
    /// `9`, `0`, `,`/`G` and literals, in order, before and behind the point.
    integer: Vec<Item>,
    fraction: Vec<Item>,
    point: bool,
    fill: bool,
    /// Where the sign goes.
    sign: Sign,
    ordinal: Option<bool>,
    scientific: bool,
    /// Digits that V shifts.
    shift: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Sign {
    /// A blank or a minus before the first digit.
    #[default]
    Default,
    /// `S` before or behind the number.
    Leading,
    Trailing,
    /// `MI`: a minus or a blank where it stands.
    Minus {
        leading: bool,
    },
    /// `PL`: a plus or a blank.
    Plus {
        leading: bool,
    },
    /// `SG`: a plus or a minus.
    Both {
        leading: bool,
    },
    /// `PR`: angle brackets.
    Brackets,
}

#[derive(Debug, Clone, PartialEq)]
enum Item {
    Nine,
    Zero,
    Group,
    Literal(String),
}

fn invalid(message: &str) -> Error {
    Error::new(SqlState::SyntaxError, message)
}

fn parse_template(text: &str) -> Result<Template> {
    let mut template = Template { fill: true, ..Template::default() };
    let mut rest = text;
    let mut any_digit = false;
    while let Some(c) = rest.chars().next() {
        let upper: String = rest.chars().take(4).collect::<String>().to_ascii_uppercase();
        let take = |n: usize| rest.get(n..).unwrap_or("");
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            push(&mut template, Item::Literal(quoted[..end].to_string()));
            rest = quoted.get(end + 1..).unwrap_or("");
            continue;
        }
        let leading = !any_digit;
        if upper.starts_with("EEEE") {
            template.scientific = true;
            rest = take(4);
        } else if upper.starts_with("FM") {
            template.fill = false;
            rest = take(2);
        } else if upper.starts_with("MI") {
            template.sign = Sign::Minus { leading };
            rest = take(2);
        } else if upper.starts_with("PL") {
            template.sign = Sign::Plus { leading };
            rest = take(2);
        } else if upper.starts_with("SG") {
            template.sign = Sign::Both { leading };
            rest = take(2);
        } else if upper.starts_with("PR") {
            template.sign = Sign::Brackets;
            rest = take(2);
        } else if upper.starts_with("RN") {
            return Err(Error::unsupported("the number format RN"));
        } else if rest.starts_with("TH") || rest.starts_with("th") {
            template.ordinal = Some(rest.starts_with('T'));
            rest = take(2);
        } else {
            rest = take(c.len_utf8());
            match c {
                '9' | '0' => {
                    any_digit = true;
                    if let Some(shift) = &mut template.shift {
                        *shift += 1;
                    }
                    push(&mut template, if c == '9' { Item::Nine } else { Item::Zero });
                }
                '.' | 'D' | 'd' => {
                    if template.point {
                        return Err(invalid("multiple decimal points"));
                    }
                    template.point = true;
                }
                ',' | 'G' | 'g' => push(&mut template, Item::Group),
                'V' | 'v' => template.shift = Some(0),
                'S' | 's' => template.sign = if leading { Sign::Leading } else { Sign::Trailing },
                'L' | 'l' => push(&mut template, Item::Literal(" ".into())),
                other => push(&mut template, Item::Literal(other.to_string())),
            }
        }
    }
    Ok(template)
}

fn push(template: &mut Template, item: Item) {
    if template.point { template.fraction.push(item) } else { template.integer.push(item) }
}

fn digits(items: &[Item]) -> usize {
    items.iter().filter(|i| matches!(i, Item::Nine | Item::Zero)).count()
}

/// The number by the template; `#` where its integer part does not fit.
fn format(value: &Numeric, text: &str) -> Result<String> {
    let template = parse_template(text)?;
    if template.scientific {
        return Ok(scientific(value, &template));
    }
    let places = digits(&template.integer);
    let scale = digits(&template.fraction);
    let shifted = match template.shift {
        Some(shift) => value.mul(&Numeric::from(10i64.pow(shift.min(18) as u32))),
        None => value.clone(),
    };
    let rounded = shifted.round(scale as i64);
    let negative = rounded.signum() < 0;
    let plain = rounded.abs().to_string();
    let (integer, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let integer = if integer == "0" { "" } else { integer };
    let overflow = integer.len() > places || !value.is_finite();
    Ok(layout(&template, integer, fraction, overflow, negative))
}

fn layout(template: &Template, integer: &str, fraction: &str, overflow: bool, negative: bool) -> String {
    let places = digits(&template.integer);
    let first_zero = template
        .integer
        .iter()
        .filter(|i| matches!(i, Item::Nine | Item::Zero))
        .position(|i| *i == Item::Zero)
        .unwrap_or(usize::MAX);
    let missing = places.saturating_sub(integer.len());
    let mut number = String::new();
    let mut lead = String::new();
    let mut at = 0;
    let mut started = false;
    let mut source = integer.chars();
    for item in &template.integer {
        match item {
            Item::Nine | Item::Zero => {
                let digit = if overflow {
                    Some('#')
                } else if at >= missing {
                    source.next()
                } else if at >= first_zero {
                    Some('0')
                } else {
                    None
                };
                match digit {
                    Some(digit) => {
                        started = true;
                        number.push(digit);
                    }
                    // The last place of a template without a point shows a zero.
                    None if at + 1 == places && !template.point => {
                        started = true;
                        number.push('0');
                    }
                    None => lead.push(' '),
                }
                at += 1;
            }
            Item::Group if started => number.push(','),
            Item::Group => lead.push(' '),
            Item::Literal(text) if started => number.push_str(text),
            Item::Literal(text) => lead.push_str(text),
        }
    }
    if template.point {
        number.push('.');
        let mut source = fraction.chars();
        let mut tail = String::new();
        let last_zero = template.fraction.iter().filter(|i| matches!(i, Item::Nine | Item::Zero)).rposition_zero();
        for item in &template.fraction {
            match item {
                Item::Nine | Item::Zero => tail.push(if overflow { '#' } else { source.next().unwrap_or('0') }),
                Item::Group => tail.push(','),
                Item::Literal(text) => tail.push_str(text),
            }
        }
        if !template.fill && !overflow {
            // FM drops trailing zeros that a 9 stands for.
            let keep = last_zero.map_or(0, |z| z + 1);
            while tail.len() > keep && tail.ends_with('0') {
                tail.pop();
            }
        }
        number.push_str(&tail);
    }
    let ordinal = match template.ordinal {
        Some(upper) if !negative && fraction.is_empty() => ordinal(integer, upper),
        _ => "",
    };
    let (lead, number) =
        if template.fill { (lead, number) } else { (lead.trim_start_matches(' ').to_string(), number) };
    let blank = if template.fill { " " } else { "" };
    match template.sign {
        Sign::Default => format!("{lead}{}{number}{ordinal}", if negative { "-" } else { blank }),
        Sign::Leading => format!("{lead}{}{number}{ordinal}", if negative { "-" } else { "+" }),
        Sign::Trailing => format!("{lead}{number}{ordinal}{}", if negative { "-" } else { "+" }),
        Sign::Minus { leading: true } => format!("{}{lead}{number}{ordinal}", if negative { "-" } else { blank }),
        Sign::Minus { leading: false } => format!("{lead}{number}{ordinal}{}", if negative { "-" } else { blank }),
        Sign::Both { leading: true } => format!("{}{lead}{number}{ordinal}", if negative { "-" } else { "+" }),
        Sign::Both { leading: false } => format!("{lead}{number}{ordinal}{}", if negative { "-" } else { "+" }),
        Sign::Plus { leading } => {
            let minus = if negative { "-" } else { blank };
            let plus = if negative { blank } else { "+" };
            if leading {
                format!("{plus}{lead}{minus}{number}{ordinal}")
            } else {
                format!("{lead}{minus}{number}{ordinal}{plus}")
            }
        }
        Sign::Brackets if negative => format!("{lead}<{number}{ordinal}>"),
        Sign::Brackets => format!("{lead}{blank}{number}{ordinal}{blank}"),
    }
}

trait LastZero {
    fn rposition_zero(self) -> Option<usize>;
}

impl<'a, I: Iterator<Item = &'a Item>> LastZero for I {
    /// Index of the last `0` among the digit positions.
    fn rposition_zero(self) -> Option<usize> {
        self.enumerate().filter(|(_, i)| **i == Item::Zero).map(|(at, _)| at).last()
    }
}

fn ordinal(integer: &str, upper: bool) -> &'static str {
    let two = integer.get(integer.len().saturating_sub(2)..).unwrap_or("");
    let suffix = match (two, integer.chars().last()) {
        ("11" | "12" | "13", _) => ["th", "TH"],
        (_, Some('1')) => ["st", "ST"],
        (_, Some('2')) => ["nd", "ND"],
        (_, Some('3')) => ["rd", "RD"],
        _ => ["th", "TH"],
    };
    suffix[usize::from(upper)]
}

fn scientific(value: &Numeric, template: &Template) -> String {
    let scale = digits(&template.fraction);
    if !value.is_finite() {
        return " ".to_string() + &"#".repeat(scale + 6);
    }
    let text = format!("{:.scale$e}", value.to_f64());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    let blank = if value.signum() < 0 || !template.fill { "" } else { " " };
    format!("{blank}{mantissa}e{sign}{:02}", exponent.abs())
}

/// Reads digits, sign and point out of a text by a template.
fn to_number(text: &str, template: &str) -> Result<Datum> {
    if template.is_empty() {
        return Ok(Datum::Null);
    }
    let parsed = parse_template(template)?;
    let mut number = String::new();
    let mut negative = false;
    for c in text.chars() {
        match c {
            '0'..='9' => number.push(c),
            '.' if parsed.point && !number.contains('.') => number.push('.'),
            '-' | '<' => negative = true,
            _ => {}
        }
    }
    let limit = digits(&parsed.integer);
    let (integer, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let integer: String = integer.chars().take(limit.max(1)).collect();
    let fraction: String = fraction.chars().take(digits(&parsed.fraction)).collect();
    if integer.is_empty() && fraction.is_empty() {
        return Err(Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type numeric: \" \""));
    }
    let sign = if negative { "-" } else { "" };
    let shown = if fraction.is_empty() { format!("{sign}{integer}") } else { format!("{sign}{integer}.{fraction}") };
    Numeric::parse(&shown).map(Datum::from)
}

/// A float with 15 (6) significant digits, as to_char takes it.
fn of_float(value: f64, digits: usize) -> Numeric {
    if digits == 15 { Numeric::from_f64(value) } else { Numeric::from_f32(value as f32) }
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("numeric_to_char", row!(|v: numeric, f: text| format(v, f).map(Datum::from))),
        ("int4_to_char", row!(|v: int4, f: text| format(&Numeric::from(v), f).map(Datum::from))),
        ("int8_to_char", row!(|v: int8, f: text| format(&Numeric::from(v), f).map(Datum::from))),
        ("float4_to_char", row!(|v: float4, f: text| format(&of_float(v.into(), 6), f).map(Datum::from))),
        ("float8_to_char", row!(|v: float8, f: text| format(&of_float(v, 15), f).map(Datum::from))),
        ("numeric_to_number", row!(|t: text, f: text| to_number(t, f))),
    ]);
}
