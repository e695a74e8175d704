//! Templates of numbers: `to_char(number, …)` and `to_number` (formatting.c's NUM_processor).

use super::{Ordinal, ordinal};
use crate::error::{Error, Result, SqlState};
use crate::functions::args::row;
use crate::functions::arithmetic::overflow;
use crate::functions::registry::Implementations;
use crate::types::Datum;
use crate::types::numeric::Numeric;

/// Longest template; PostgreSQL's own limit is far above.
const TEMPLATE_MAX: usize = 1 << 20;
/// Significant digits of a double and of a float.
const DOUBLE_DIGITS: usize = 15;
const FLOAT_DIGITS: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Comma,
    Point,
    Zero,
    Nine,
    Blank,
    LocalePoint,
    Exponent,
    Fill,
    Group,
    Currency,
    Minus,
    Plus,
    Brackets,
    Roman(Ordinal),
    BothSigns,
    Sign,
    Th(Ordinal),
    Shift,
    /// Patterns that are read and do nothing (C, SP).
    Nothing,
}

/// In the order in which they are tried.
const KEYS: &[(&str, Key)] = &[
    (",", Key::Comma),
    (".", Key::Point),
    ("0", Key::Zero),
    ("9", Key::Nine),
    ("B", Key::Blank),
    ("C", Key::Nothing),
    ("D", Key::LocalePoint),
    ("EEEE", Key::Exponent),
    ("FM", Key::Fill),
    ("G", Key::Group),
    ("L", Key::Currency),
    ("MI", Key::Minus),
    ("PL", Key::Plus),
    ("PR", Key::Brackets),
    ("RN", Key::Roman(Ordinal::Upper)),
    ("SG", Key::BothSigns),
    ("SP", Key::Nothing),
    ("S", Key::Sign),
    ("TH", Key::Th(Ordinal::Upper)),
    ("V", Key::Shift),
    ("b", Key::Blank),
    ("c", Key::Nothing),
    ("d", Key::LocalePoint),
    ("eeee", Key::Exponent),
    ("fm", Key::Fill),
    ("g", Key::Group),
    ("l", Key::Currency),
    ("mi", Key::Minus),
    ("pl", Key::Plus),
    ("pr", Key::Brackets),
    ("rn", Key::Roman(Ordinal::Lower)),
    ("sg", Key::BothSigns),
    ("sp", Key::Nothing),
    ("s", Key::Sign),
    ("th", Key::Th(Ordinal::Lower)),
    ("v", Key::Shift),
];

#[derive(Debug, Clone, Copy)]
enum Node {
    Key(Key),
    Literal(char),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Anchor {
    #[default]
    None,
    Before,
    After,
}

/// A template and what its patterns say together.
#[derive(Debug, Clone, Default)]
struct Template {
    nodes: Vec<Node>,
    /// Digits before and behind the point.
    pre: usize,
    post: usize,
    sign: Anchor,
    /// Digits before the S.
    sign_at: usize,
    zero_start: usize,
    zero_end: usize,
    /// Digits behind the V.
    shift: usize,
    decimal: bool,
    zero: bool,
    blank: bool,
    fill: bool,
    locale_sign: bool,
    brackets: bool,
    minus: bool,
    plus: bool,
    roman: bool,
    shifts: bool,
    exponent: bool,
}

fn bad(message: &str) -> Error {
    Error::new(SqlState::SyntaxError, message)
}

impl Template {
    fn parse(text: &str) -> Result<Template> {
        let mut template = Template::default();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some((name, key)) = KEYS.iter().find(|(name, _)| rest.starts_with(name)) {
                rest = &rest[name.len()..];
                template.add(*key)?;
                template.nodes.push(Node::Key(*key));
                continue;
            }
            let mut chars = rest.chars();
            match chars.next() {
                Some('"') => {
                    while let Some(c) = chars.next() {
                        match c {
                            '"' => break,
                            '\\' => template.nodes.push(Node::Literal(chars.next().unwrap_or('\\'))),
                            c => template.nodes.push(Node::Literal(c)),
                        }
                    }
                }
                Some(c) => {
                    let c = if c == '\\' && chars.as_str().starts_with('"') { chars.next().unwrap_or(c) } else { c };
                    template.nodes.push(Node::Literal(c));
                }
                None => {}
            }
            rest = chars.as_str();
        }
        template.zero_start = template.zero_start.saturating_sub(1);
        Ok(template)
    }

    /// Takes one more pattern into account (NUMDesc_prepare).
    fn add(&mut self, key: Key) -> Result<()> {
        if self.exponent && key != Key::Exponent {
            return Err(bad("\"EEEE\" must be the last pattern used"));
        }
        match key {
            Key::Nine => {
                if self.brackets {
                    return Err(bad("\"9\" must be ahead of \"PR\""));
                }
                if self.shifts {
                    self.shift += 1;
                } else if self.decimal {
                    self.post += 1;
                } else {
                    self.pre += 1;
                }
            }
            Key::Zero => {
                if self.brackets {
                    return Err(bad("\"0\" must be ahead of \"PR\""));
                }
                if !self.zero && !self.decimal {
                    self.zero = true;
                    self.zero_start = self.pre + 1;
                }
                if self.decimal {
                    self.post += 1;
                } else {
                    self.pre += 1;
                }
                self.zero_end = self.pre + self.post;
            }
            Key::Blank => self.blank |= self.pre == 0 && self.post == 0 && !self.zero,
            Key::Point | Key::LocalePoint => {
                if self.decimal {
                    return Err(bad("multiple decimal points"));
                }
                if self.shifts {
                    return Err(bad("cannot use \"V\" and decimal point together"));
                }
                self.decimal = true;
            }
            Key::Fill => self.fill = true,
            Key::Sign => {
                if self.locale_sign {
                    return Err(bad("cannot use \"S\" twice"));
                }
                if self.plus || self.minus || self.brackets {
                    return Err(bad("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
                }
                self.locale_sign = true;
                if self.decimal {
                    self.sign = Anchor::After;
                } else {
                    self.sign = Anchor::Before;
                    self.sign_at = self.pre;
                }
            }
            Key::Minus if self.locale_sign => return Err(bad("cannot use \"S\" and \"MI\" together")),
            Key::Plus if self.locale_sign => return Err(bad("cannot use \"S\" and \"PL\" together")),
            Key::BothSigns if self.locale_sign => return Err(bad("cannot use \"S\" and \"SG\" together")),
            Key::Minus => self.minus = true,
            Key::Plus => self.plus = true,
            Key::BothSigns => (self.minus, self.plus) = (true, true),
            Key::Brackets => {
                if self.locale_sign || self.plus || self.minus {
                    return Err(bad("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
                }
                self.brackets = true;
            }
            Key::Roman(_) => self.roman = true,
            Key::Shift => {
                if self.decimal {
                    return Err(bad("cannot use \"V\" and decimal point together"));
                }
                self.shifts = true;
            }
            Key::Exponent => {
                if self.exponent {
                    return Err(bad("cannot use \"EEEE\" twice"));
                }
                let other = self.blank
                    || self.fill
                    || self.locale_sign
                    || self.brackets
                    || self.minus
                    || self.plus
                    || self.roman
                    || self.shifts;
                if other {
                    return Err(bad("\"EEEE\" is incompatible with other formats")
                        .detail("\"EEEE\" may only be used together with digit and decimal point patterns."));
                }
                self.exponent = true;
            }
            Key::Comma | Key::Group | Key::Currency | Key::Th(_) | Key::Nothing => {}
        }
        Ok(())
    }

    /// What stands for a number that does not fit.
    fn hashes(&self) -> String {
        format!("{}.{}", "#".repeat(self.pre), "#".repeat(self.post))
    }
}

/// A number as digits, ready for a template.
struct Digits {
    text: String,
    negative: bool,
    /// Places before the number that stay blank.
    blanks: usize,
}

impl Digits {
    /// From `-123.45`; what has more digits than the template becomes hashes.
    fn fit(shown: &str, template: &Template) -> Digits {
        let (negative, digits) = match shown.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, shown),
        };
        let before = digits.find('.').unwrap_or(digits.len());
        if before > template.pre {
            return Digits { text: template.hashes(), negative, blanks: 0 };
        }
        Digits { text: digits.to_string(), negative, blanks: template.pre - before }
    }

    fn raw(text: String) -> Digits {
        Digits { text, negative: false, blanks: 0 }
    }
}

/// The Roman numeral of 1 … 3999.
fn roman(number: i64) -> String {
    if !(1..=3999).contains(&number) {
        return "#".repeat(15);
    }
    const NUMERALS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut left = number;
    let mut out = String::new();
    for (value, numeral) in NUMERALS {
        while left >= value {
            out.push_str(numeral);
            left -= value;
        }
    }
    out
}

/// C's `%+.*e` with a blank for the plus.
fn scientific_float(value: f64, digits: usize) -> String {
    // A double has no digits beyond those; the rest are zeros.
    const DIGITS_MAX: usize = 1100;
    let exact = digits.min(DIGITS_MAX);
    let shown = format!("{value:.exact$e}");
    let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let zeros = "0".repeat(digits - exact);
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if value.is_sign_negative() { "" } else { " " };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{mantissa}{zeros}e{exponent_sign}{:02}", exponent.abs())
}

/// A numeric in scientific form (numeric_out_sci): the significand is rounded, not normalised again.
fn scientific(value: &Numeric, digits: usize) -> Result<String> {
    let shown = value.abs().to_string();
    let exponent: i64 = match shown.find(|c: char| ('1'..='9').contains(&c)) {
        None => 0,
        Some(first) => {
            let point = shown.find('.').unwrap_or(shown.len());
            if first < point { (point - first) as i64 - 1 } else { point as i64 - first as i64 }
        }
    };
    let ten = Numeric::parse(&format!("1e{exponent}"))?;
    let significand = value.div_scaled(&ten, digits.min(16_000) as u16)?;
    let sign = if exponent < 0 { '-' } else { '+' };
    let blank = if significand.to_string().starts_with('-') { "" } else { " " };
    Ok(format!("{blank}{significand}e{sign}{:02}", exponent.abs()))
}

fn not_finite(template: &Template) -> String {
    let mut out: Vec<char> = std::iter::repeat_n('#', template.pre + template.post + 6).collect();
    if let Some(first) = out.first_mut() {
        *first = ' ';
    }
    if let Some(point) = out.get_mut(template.pre + 1) {
        *point = '.';
    }
    out.into_iter().collect()
}

fn ten_to(n: usize) -> Result<Numeric> {
    Numeric::parse(&format!("1e{n}"))
}

fn from_numeric(value: &Numeric, template: &mut Template) -> Result<Digits> {
    if template.roman {
        let rounded = value.round(0);
        let number = match rounded.to_i64().and_then(|v| i32::try_from(v).ok()) {
            Some(number) => number.into(),
            None if value.is_nan() => return Err(cannot_convert("NaN")),
            None if !value.is_finite() => return Err(cannot_convert("infinity")),
            None => return Err(overflow("integer")),
        };
        return Ok(Digits::raw(roman(number)));
    }
    if template.exponent {
        let text = if value.is_finite() { scientific(value, template.post)? } else { not_finite(template) };
        return Ok(Digits::raw(text));
    }
    let shifted = if template.shifts {
        template.pre += template.shift;
        value.mul(&ten_to(template.shift)?)
    } else {
        value.clone()
    };
    Ok(Digits::fit(&shifted.round(template.post as i64).to_string(), template))
}

fn cannot_convert(what: &str) -> Error {
    Error::new(SqlState::FeatureNotSupported, format!("cannot convert {what} to integer"))
}

fn from_integer(value: i64, wide: bool, template: &mut Template) -> Result<Digits> {
    if template.roman {
        return Ok(Digits::raw(roman(value)));
    }
    if template.exponent {
        let text = if wide {
            scientific(&Numeric::from(value), template.post)?
        } else {
            scientific_float(value as f64, template.post)
        };
        return Ok(Digits::raw(text));
    }
    let mut value = value;
    if template.shifts {
        let factor = 10i64.checked_pow(template.shift as u32).ok_or_else(|| overflow("bigint"))?;
        value = value.checked_mul(factor).ok_or_else(|| overflow("bigint"))?;
        if !wide && i32::try_from(value).is_err() {
            return Err(overflow("integer"));
        }
        template.pre += template.shift;
    }
    let mut shown = value.to_string();
    if template.post > 0 {
        shown.push('.');
        shown.extend(std::iter::repeat_n('0', template.post));
    }
    Ok(Digits::fit(&shown, template))
}

fn fixed(value: f64, digits: usize) -> String {
    match value {
        v if v.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        v => format!("{v:.digits$}"),
    }
}

fn from_float(value: f64, significant: usize, template: &mut Template) -> Result<Digits> {
    if template.roman {
        let rounded = value.round_ties_even();
        return Ok(Digits::raw(roman(if rounded.is_finite() { rounded as i64 } else { 0 })));
    }
    if template.exponent {
        let finite = value.is_finite();
        let text = if finite { scientific_float(value, template.post) } else { not_finite(template) };
        return Ok(Digits::raw(text));
    }
    let mut value = value;
    if template.shifts {
        value *= 10f64.powi(template.shift as i32);
        template.pre += template.shift;
    }
    let before = fixed(value.abs(), 0).len();
    if before >= significant {
        template.post = 0;
    } else if before + template.post > significant {
        template.post = significant - before;
    }
    Ok(Digits::fit(&fixed(value, template.post), template))
}

/// A number on its way into a template (NUMProc).
struct Writer<'a> {
    template: Template,
    digits: &'a [u8],
    /// Next digit to write.
    at: usize,
    negative: bool,
    sign_written: bool,
    blanks: usize,
    /// Last digit that FM keeps.
    last_relevant: Option<usize>,
    /// Places of digits: done so far, and in all.
    place: usize,
    places: usize,
    inside: bool,
    out: String,
}

fn write(digits: &Digits, mut template: Template) -> Result<String> {
    if template.exponent {
        return Ok(digits.text.clone());
    }
    if template.roman {
        let nodes = std::mem::take(&mut template.nodes);
        template = Template { nodes, fill: template.fill, roman: true, ..Template::default() };
    }
    let negative = digits.negative;
    let sign_written = if template.plus || template.minus {
        !template.plus || template.minus
    } else {
        if !negative && template.brackets && template.fill {
            template.brackets = false;
        }
        if template.sign == Anchor::Before && template.pre == template.sign_at {
            template.sign = Anchor::After;
        }
        !template.roman && !negative && template.fill && !template.locale_sign
    };
    let last_relevant = (template.fill && template.decimal).then(|| last_relevant(digits, &template)).flatten();
    let mut places = (template.post + template.pre).saturating_sub(1);
    if !sign_written && digits.blanks == 0 {
        places += 1;
    }
    let nodes = template.nodes.clone();
    let mut writer = Writer {
        template,
        digits: digits.text.as_bytes(),
        at: 0,
        negative,
        sign_written,
        blanks: digits.blanks,
        last_relevant,
        place: 0,
        places,
        inside: false,
        out: String::new(),
    };
    for node in nodes {
        match node {
            Node::Literal(c) => writer.out.push(c),
            Node::Key(key) => writer.key(key, &digits.text)?,
        }
    }
    Ok(writer.out)
}

fn last_relevant(digits: &Digits, template: &Template) -> Option<usize> {
    let point = digits.text.find('.')?;
    let last = digits.text.bytes().rposition(|b| b != b'0');
    let last = last.unwrap_or(point).max(point);
    if template.zero_end > digits.blanks {
        let zero = (digits.text.len() - 1).min(template.zero_end - digits.blanks);
        return Some(last.max(zero));
    }
    Some(last)
}

impl Writer<'_> {
    fn blank_or(&mut self, shown: Option<char>) {
        match shown {
            Some(c) => self.out.push(c),
            None if self.template.fill => {}
            None => self.out.push(' '),
        }
    }

    fn key(&mut self, key: Key, text: &str) -> Result<()> {
        match key {
            Key::Nine | Key::Zero | Key::Point | Key::LocalePoint => self.digit(key),
            Key::Comma | Key::Group => self.blank_or(self.inside.then_some(',')),
            Key::Currency => self.out.push(' '),
            Key::Roman(case) => {
                let shown = if case == Ordinal::Lower { text.to_ascii_lowercase() } else { text.to_string() };
                let width = if self.template.fill { 0 } else { 15 };
                self.out.push_str(&format!("{shown:>width$}"));
            }
            Key::Th(case) => {
                let skip = self.template.roman || text.starts_with('#') || self.negative || self.template.decimal;
                if !skip {
                    self.out.push_str(ordinal(text, case)?);
                }
            }
            Key::Minus => self.blank_or(self.negative.then_some('-')),
            Key::Plus => self.blank_or((!self.negative).then_some('+')),
            Key::BothSigns => self.out.push(if self.negative { '-' } else { '+' }),
            _ => {}
        }
        Ok(())
    }

    /// "0.1" by "9.9" has a blank before its point.
    fn zero_before_point(&self) -> bool {
        !self.template.zero && self.at == 0 && self.digits.first() == Some(&b'0') && self.template.post != 0
    }

    fn point_is_last(&self) -> bool {
        self.last_relevant.is_some_and(|last| self.digits.get(last) == Some(&b'.'))
    }

    fn digit(&mut self, key: Key) {
        if self.template.roman {
            return;
        }
        self.inside = false;
        self.sign();
        let zero = self.template.zero;
        let blank = self.place < self.blanks;
        if blank && (self.template.zero_start > self.place || !zero) {
            if !self.template.fill {
                self.out.push(' ');
            }
        } else if blank {
            self.out.push('0');
            self.inside = true;
        } else {
            self.significant(key);
        }
        let mut end = self.places + usize::from(self.blanks > 0) + usize::from(self.template.decimal);
        if self.last_relevant == Some(self.at) {
            end = self.place;
        }
        if self.place + 1 == end {
            if self.sign_written && self.template.brackets {
                self.out.push(if self.negative { '>' } else { ' ' });
            } else if self.template.locale_sign && self.template.sign == Anchor::After {
                self.out.push(if self.negative { '-' } else { '+' });
            }
        }
        self.place += 1;
    }

    fn significant(&mut self, key: Key) {
        match self.digits.get(self.at) {
            Some(b'.') => self.out.push('.'),
            _ if self.last_relevant.is_some_and(|last| self.at > last) && key != Key::Zero => {}
            _ if self.zero_before_point() => {
                if !self.template.fill {
                    self.out.push(' ');
                } else if self.point_is_last() {
                    self.out.push('0');
                }
            }
            Some(digit) => {
                self.out.push(char::from(*digit));
                self.inside = true;
            }
            // The number has fewer places than its template: PostgreSQL writes a terminator there.
            None => {
                self.out.push('\0');
                self.inside = true;
            }
        }
        if self.at < self.digits.len() {
            self.at += 1;
        }
    }

    /// The sign stands before the first place that is written.
    fn sign(&mut self) {
        let starts = self.place >= self.blanks || (self.template.zero && self.template.zero_start == self.place);
        if self.sign_written || !starts || (self.zero_before_point() && !self.point_is_last()) {
            return;
        }
        if self.template.locale_sign {
            if self.template.sign == Anchor::Before {
                self.out.push(if self.negative { '-' } else { '+' });
                self.sign_written = true;
            }
        } else if self.template.brackets {
            self.out.push(if self.negative { '<' } else { ' ' });
            self.sign_written = true;
        } else {
            if self.negative {
                self.out.push('-');
            } else if !self.template.fill {
                self.out.push(' ');
            }
            self.sign_written = true;
        }
    }
}

/// Runs a number through a template.
fn to_char(template: &str, digits: impl FnOnce(&mut Template) -> Result<Digits>) -> Result<Datum> {
    if template.is_empty() || template.len() > TEMPLATE_MAX {
        return Ok(Datum::from(""));
    }
    let mut parsed = Template::parse(template)?;
    let digits = digits(&mut parsed)?;
    let mut text = write(&digits, parsed)?;
    if let Some(end) = text.find('\0') {
        text.truncate(end);
    }
    Ok(Datum::from(text))
}

/// Text on its way out of a template.
struct Scanner<'a> {
    template: &'a Template,
    input: &'a [u8],
    at: usize,
    /// Sign (a blank: none) and digits.
    sign: u8,
    number: Vec<u8>,
    before: usize,
    behind: usize,
    point: bool,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn skip_character(&mut self) {
        self.at += 1;
        while self.peek().is_some_and(|b| b & 0xc0 == 0x80) {
            self.at += 1;
        }
    }

    fn skip_other(&mut self, count: usize) {
        for _ in 0..count {
            match self.peek() {
                None => break,
                Some(b) if b"0123456789.,+-".contains(&b) => break,
                Some(_) => self.skip_character(),
            }
        }
    }

    /// A place of a digit or the point; leaves the cursor on what it took.
    fn digit(&mut self, key: Key) {
        if self.peek() == Some(b' ') {
            self.at += 1;
        }
        let Some(next) = self.peek() else { return };
        if self.sign == b' ' && matches!(key, Key::Zero | Key::Nine) && self.before + self.behind == 0 {
            let anchored = self.template.locale_sign && self.template.sign == Anchor::Before;
            match next {
                b'-' | b'+' => {
                    self.sign = next;
                    self.at += 1;
                }
                b'<' if self.template.brackets && !anchored => {
                    self.sign = b'-';
                    self.at += 1;
                }
                _ => {}
            }
        }
        let Some(next) = self.peek() else { return };
        let mut taken = false;
        if next.is_ascii_digit() {
            if self.point && self.behind == self.template.post {
                return;
            }
            self.number.push(next);
            if self.point {
                self.behind += 1;
            } else {
                self.before += 1;
            }
            taken = true;
        } else if self.template.decimal && !self.point && next == b'.' {
            self.number.push(b'.');
            self.point = true;
            taken = true;
        }
        if self.sign != b' ' || self.before + self.behind == 0 {
            return;
        }
        // A sign behind the last digit.
        if self.template.locale_sign && taken {
            if let Some(sign @ (b'-' | b'+')) = self.input.get(self.at + 1).copied() {
                self.sign = sign;
                self.at += 1;
            }
        } else if !taken && (self.template.plus || self.template.minus) && matches!(next, b'-' | b'+') {
            self.sign = next;
        }
    }

    fn key(&mut self, key: Key) {
        match key {
            Key::Nine | Key::Zero | Key::Point | Key::LocalePoint => self.digit(key),
            Key::Comma | Key::Group => {
                // Nothing has been written yet: FM skips the separator.
                if self.template.fill || self.peek() != Some(b',') {
                    return;
                }
            }
            Key::Currency => return self.skip_other(1),
            Key::Th(_) => {
                if !(self.template.roman || self.sign == b'-' || self.template.decimal) {
                    self.skip_other(2);
                }
                return;
            }
            Key::Minus if self.peek() == Some(b'-') => self.sign = b'-',
            Key::Plus if self.peek() == Some(b'+') => self.sign = b'+',
            Key::BothSigns if matches!(self.peek(), Some(b'-' | b'+')) => self.sign = self.peek().unwrap_or(b' '),
            Key::Minus | Key::Plus | Key::BothSigns => return self.skip_other(1),
            _ => return,
        }
        self.at += 1;
    }
}

fn to_number(text: &str, template: &str) -> Result<Datum> {
    if template.is_empty() || template.len() > TEMPLATE_MAX {
        return Ok(Datum::Null);
    }
    let template = Template::parse(template)?;
    if template.exponent {
        return Err(Error::new(SqlState::FeatureNotSupported, "\"EEEE\" not supported for input"));
    }
    if template.roman {
        return Err(Error::new(SqlState::FeatureNotSupported, "\"RN\" not supported for input"));
    }
    let mut scanner = Scanner {
        template: &template,
        input: text.as_bytes(),
        at: 0,
        sign: b' ',
        number: Vec::new(),
        before: 0,
        behind: 0,
        point: false,
    };
    for node in &template.nodes {
        if scanner.at >= scanner.input.len() {
            break;
        }
        match node {
            Node::Key(key) => scanner.key(*key),
            Node::Literal(_) => scanner.skip_character(),
        }
    }
    let digits = String::from_utf8_lossy(&scanner.number).into_owned();
    let shown = format!("{}{}", char::from(scanner.sign), digits.strip_suffix('.').unwrap_or(&digits));
    let scale = scanner.behind;
    let precision = template.pre + template.shift + scale;
    let value = Numeric::parse(&shown)?.enforce(precision.min(1000) as u16, scale.min(1000) as i16)?;
    if !template.shifts {
        return Ok(Datum::from(value));
    }
    // PostgreSQL multiplies by 10^-n as its power function gives it: sixteen digits behind the point.
    let factor = Numeric::from(10i32).power(&Numeric::from(-(template.shift as i64)))?;
    Ok(Datum::from(value.mul(&factor)))
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("numeric_to_char", row!(|v: numeric, f: text| to_char(f, |t| from_numeric(v, t)))),
        ("int4_to_char", row!(|v: int4, f: text| to_char(f, |t| from_integer(v.into(), false, t)))),
        ("int8_to_char", row!(|v: int8, f: text| to_char(f, |t| from_integer(v, true, t)))),
        ("float4_to_char", row!(|v: float4, f: text| to_char(f, |t| from_float(v.into(), FLOAT_DIGITS, t)))),
        ("float8_to_char", row!(|v: float8, f: text| to_char(f, |t| from_float(v, DOUBLE_DIGITS, t)))),
        ("numeric_to_number", row!(|text: text, f: text| to_number(text, f))),
    ]);
}
