//! LIKE, SIMILAR TO and regular expressions.
//!
//! Regular expressions are PostgreSQL's advanced ones put into the words of the `regex` crate, and of `fancy_regex` if they refer back
//! or look around. The automaton takes the first of several alternatives that
//! match at one place, PostgreSQL the longest.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use regex::RegexBuilder;

use super::args::{self, row};
use super::registry::Implementations;
use super::regular::{Compiled, Found, Settings};
use super::strings::invalid_parameter;
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;

/// Whether text matches a LIKE pattern with `\` as its escape.
pub(super) fn like(text: &str, pattern: &str, insensitive: bool) -> Result<bool> {
    if insensitive {
        return matches(&text.to_lowercase(), &pattern.to_lowercase());
    }
    matches(text, pattern)
}

fn matches(text: &str, pattern: &str) -> Result<bool> {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut t, mut p) = (0, 0);
    // Where to go on after a mismatch: behind the last %, one character further on.
    let mut back: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some('%') => {
                back = Some((t, p + 1));
                p += 1;
                continue;
            }
            Some('_') if t < text.len() => Some(1),
            Some('\\') if t < text.len() => {
                let literal = pattern.get(p + 1).ok_or_else(|| {
                    Error::new(SqlState::InvalidEscapeSequence, "LIKE pattern must not end with escape character")
                })?;
                (text.get(t) == Some(literal)).then_some(2)
            }
            Some(c) if text.get(t) == Some(c) => Some(1),
            None if t == text.len() => return Ok(true),
            _ => None,
        };
        match (step, back) {
            (Some(width), _) => {
                p += width;
                t += 1;
            }
            (None, Some((from, behind))) if from < text.len() => {
                back = Some((from + 1, behind));
                (t, p) = (from + 1, behind);
            }
            _ => return Ok(false),
        }
    }
}

/// A pattern with another escape (or none) as one with `\`.
fn like_escape(pattern: &str, escape: &str) -> Result<String> {
    let mut escapes = escape.chars();
    let (escape, rest) = (escapes.next(), escapes.next());
    if rest.is_some() {
        return Err(Error::new(SqlState::InvalidEscapeSequence, "invalid escape string")
            .hint("Escape string must be empty or one character."));
    }
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            out.push('\\');
            out.extend(chars.next());
        } else {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
    }
    Ok(out)
}

/// A SIMILAR TO pattern as a regular expression.
fn similar(pattern: &str, escape: Option<&str>) -> Result<String> {
    similar_with(pattern, escape, false)
}

/// Two separators, the escape before a quote, mark the part that `substring` gives. `lazy`: what stands before it matches as
/// little as it can, which PostgreSQL's own engine concludes from the braces.
fn similar_with(pattern: &str, escape: Option<&str>, lazy: bool) -> Result<String> {
    let escape = match escape {
        None => Some('\\'),
        Some(text) if text.chars().count() > 1 => {
            return Err(Error::new(SqlState::InvalidEscapeSequence, "invalid escape string")
                .hint("Escape string must be empty or one character."));
        }
        Some(text) => text.chars().next(),
    };
    let mut out = String::from("^(?:");
    let mut in_bracket = false;
    let mut separators = 0;
    let parted = escape.is_some_and(|e| pattern.contains(&format!("{e}\"")));
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let short = if lazy && parted && separators == 0 { "?" } else { "" };
        if Some(c) == escape {
            if let Some(literal) = chars.next() {
                if literal == '"' {
                    separators += 1;
                    out.push_str(match separators {
                        1 => "){1,1}?(",
                        2 => "){1,1}(?:",
                        _ => {
                            let message =
                                "SQL regular expression may not contain more than two escape-double-quote separators";
                            return Err(Error::new(SqlState::InvalidUseOfEscapeCharacter, message));
                        }
                    });
                    continue;
                }
                out.push('\\');
                out.push(literal);
            }
            continue;
        }
        match c {
            _ if in_bracket => {
                if c == '\\' {
                    out.push('\\');
                }
                out.push(c);
                in_bracket = c != ']';
            }
            '[' => {
                out.push('[');
                in_bracket = true;
            }
            '%' => out.push_str(&format!(".*{short}")),
            '*' | '+' | '?' | '}' => {
                out.push(c);
                out.push_str(short);
            }
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '\\' | '.' | '^' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}

/// Options of a regular expression function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Flags {
    insensitive: bool,
    global: bool,
    /// `.` does not match a newline.
    newline_dot: bool,
    /// `^` and `$` match at newlines.
    newline_anchors: bool,
    extended: bool,
    literal: bool,
}

fn flags(text: &str) -> Result<Flags> {
    let mut flags = Flags::default();
    for c in text.chars() {
        match c {
            'g' => flags.global = true,
            'i' => flags.insensitive = true,
            'c' => flags.insensitive = false,
            'n' | 'm' => (flags.newline_dot, flags.newline_anchors) = (true, true),
            's' => (flags.newline_dot, flags.newline_anchors) = (false, false),
            'p' => (flags.newline_dot, flags.newline_anchors) = (true, false),
            'w' => (flags.newline_dot, flags.newline_anchors) = (false, true),
            'x' => flags.extended = true,
            't' => flags.extended = false,
            'q' => flags.literal = true,
            'e' | 'b' => {}
            other => return Err(invalid_parameter(format!("invalid regular expression option: \"{other}\""))),
        }
    }
    Ok(flags)
}

thread_local! {
    static COMPILED: RefCell<HashMap<(String, Flags), Rc<Compiled>>> = RefCell::new(HashMap::new());
}
const COMPILED_MAX: usize = 128;

/// Longest program of a regular expression, in bytes.
const SIZE_MAX: usize = 4 << 20;

fn compile(pattern: &str, flags: Flags) -> Result<Rc<Compiled>> {
    let flags = Flags { global: false, ..flags };
    let key = (pattern.to_string(), flags);
    if let Some(found) = COMPILED.with_borrow(|c| c.get(&key).cloned()) {
        return Ok(found);
    }
    let mut translated = match flags.literal {
        true => Translated { text: regex::escape(pattern), ..Translated::default() },
        false => translate(pattern, false)?,
    };
    let regex = if translated.backtracks {
        translated = translate(pattern, true)?;
        let settings = Settings {
            insensitive: flags.insensitive,
            dot_matches_newline: !flags.newline_dot,
            anchors_at_newlines: flags.newline_anchors,
            extended: flags.extended,
            longest: !translated.lazy,
        };
        Compiled::backtracking(&translated.text, &settings).map_err(|e| invalid_regex(&e))?
    } else {
        let built = RegexBuilder::new(&translated.text)
            .case_insensitive(flags.insensitive)
            .dot_matches_new_line(!flags.newline_dot)
            .multi_line(flags.newline_anchors)
            .ignore_whitespace(flags.extended)
            .size_limit(SIZE_MAX)
            .build();
        Compiled::Automaton(built.map_err(|e| invalid_regex(&e.to_string()))?)
    };
    let regex = Rc::new(regex);
    COMPILED.with_borrow_mut(|c| {
        if c.len() >= COMPILED_MAX {
            c.clear();
        }
        c.insert(key, Rc::clone(&regex));
    });
    Ok(regex)
}

/// Whether a pattern can be compiled.
pub(super) fn check(pattern: &str) -> Result<()> {
    compile(pattern, Flags::default()).map(|_| ())
}

/// jsonpath's LIKE_REGEX: a newline is an ordinary character for `.` only with the flag s, for `^` and `$` unless m.
pub(super) fn like_regex(text: &str, pattern: &str, flags: &crate::types::jsonpath::Flags) -> Result<bool> {
    let flags = Flags {
        insensitive: flags.insensitive,
        newline_dot: !flags.dot_all,
        newline_anchors: flags.multiline,
        literal: flags.quoted,
        ..Flags::default()
    };
    compile(pattern, flags)?.is_match(text)
}

fn invalid_regex(detail: &str) -> Error {
    let reason = if detail.contains("unclosed group") || detail.contains("unopened group") {
        "parentheses () not balanced"
    } else if detail.contains("unclosed character class") {
        "brackets [] not balanced"
    } else if detail.contains("repetition operator missing") {
        "quantifier operand invalid"
    } else if detail.contains("invalid repetition count") || detail.contains("repetition quantifier") {
        "invalid repetition count(s)"
    } else if detail.contains("class range") {
        "invalid character range"
    } else if detail.contains("compiled regex exceeds") {
        "regular expression is too complex"
    } else if detail.contains("nvalid back") || detail.contains("ackref") || detail.contains("back reference") {
        "invalid backreference number"
    } else if detail.contains("ook-behind") || detail.contains("ookbehind") {
        return Error::unsupported("a look back of this form in a regular expression");
    } else {
        "invalid escape \\ sequence"
    };
    Error::new(SqlState::InvalidRegularExpression, format!("invalid regular expression: {reason}"))
}

/// An expression in the words of the crates.
#[derive(Default)]
struct Translated {
    text: String,
    /// It refers back or looks around.
    backtracks: bool,
    /// It has a quantifier that takes as little as it can.
    lazy: bool,
}

/// PostgreSQL's advanced regular expression in the words of the `regex` crate, or of `fancy_regex`, which calls borders of words
/// by other names.
fn translate(pattern: &str, fancy: bool) -> Result<Translated> {
    let pattern = match pattern.strip_prefix("***=") {
        Some(literal) => return Ok(Translated { text: regex::escape(literal), ..Translated::default() }),
        None => pattern.strip_prefix("***:").unwrap_or(pattern),
    };
    let (mut backtracks, mut lazy) = (false, false);
    // Open parentheses: whether each is inside of a constraint, where none captures.
    let mut open: Vec<bool> = Vec::new();
    let mut captured = 0usize;
    let mut out = String::with_capacity(pattern.len() + 8);
    let chars: Vec<char> = pattern.chars().collect();
    let mut i = 0;
    while let Some(c) = chars.get(i).copied() {
        i += 1;
        match c {
            '\\' => {
                let escaped = chars.get(i).copied().ok_or_else(|| invalid_regex(""))?;
                i += 1;
                match escaped {
                    'm' => out.push_str(if fancy { r"\<" } else { r"\b{start}" }),
                    'M' => out.push_str(if fancy { r"\>" } else { r"\b{end}" }),
                    'y' => out.push_str(r"\b"),
                    'Y' => out.push_str(r"\B"),
                    'Z' => out.push_str(r"\z"),
                    'e' => out.push_str(r"\x1b"),
                    'B' => out.push_str(r"\\"),
                    '1'..='9' => {
                        // More digits belong to it as long as there are so many groups.
                        let mut number = escaped as usize - '0' as usize;
                        while let Some(digit) = chars.get(i).and_then(|c| c.to_digit(10))
                            && number * 10 + digit as usize <= captured
                        {
                            number = number * 10 + digit as usize;
                            i += 1;
                        }
                        if number > captured || open.last() == Some(&true) {
                            return Err(invalid_regex("invalid backreference"));
                        }
                        backtracks = true;
                        out.push_str(&format!("(?:\\{number})"));
                    }
                    'u' => {
                        let digits: String = chars.iter().skip(i).take(4).collect();
                        i += 4;
                        out.push_str(&format!("\\u{{{digits}}}"));
                    }
                    c if c.is_alphanumeric() => out.extend(['\\', c]),
                    c => out.push_str(&regex::escape(&c.to_string())),
                }
            }
            '[' => i = bracket(&chars, i, &mut out)?,
            '(' if chars.get(i) == Some(&'?') && matches!(chars.get(i + 1), Some('=' | '!' | '<')) => {
                backtracks = true;
                open.push(true);
                out.push('(');
            }
            '(' => {
                let constrained = open.last() == Some(&true);
                open.push(constrained);
                let plain = chars.get(i) != Some(&'?');
                captured += usize::from(plain && !constrained);
                out.push_str(if plain && constrained { "(?:" } else { "(" });
            }
            ')' => {
                open.pop();
                out.push(')');
            }
            '?' if matches!(chars.get(i.wrapping_sub(2)), Some('*' | '+' | '?' | '}')) => {
                lazy = true;
                out.push('?');
            }
            '{' if !chars.get(i).is_some_and(char::is_ascii_digit) => out.push_str(r"\{"),
            '}' if !open_count(&out) => out.push_str(r"\}"),
            c => out.push(c),
        }
    }
    Ok(Translated { text: out, backtracks, lazy })
}

/// Whether a repetition count is open at the end of what was written.
fn open_count(out: &str) -> bool {
    out.rfind('{')
        .is_some_and(|at| !out[..at].ends_with('\\') && out[at + 1..].bytes().all(|b| b.is_ascii_digit() || b == b','))
}

/// A bracket expression from behind its `[`; returns where it ends.
fn bracket(chars: &[char], mut i: usize, out: &mut String) -> Result<usize> {
    out.push('[');
    if chars.get(i) == Some(&'^') {
        out.push('^');
        i += 1;
    }
    let mut first = true;
    loop {
        let c = chars.get(i).copied().ok_or_else(|| invalid_regex("unclosed character class"))?;
        i += 1;
        match c {
            ']' if !first => {
                out.push(']');
                return Ok(i);
            }
            ']' => out.push_str(r"\]"),
            '[' if matches!(chars.get(i), Some(':' | '.' | '=')) => {
                let kind = chars.get(i).copied().unwrap_or(':');
                let rest: String = chars.iter().skip(i + 1).collect();
                let end = rest.find(&format!("{kind}]")).ok_or_else(|| invalid_regex("unclosed character class"))?;
                let name = &rest[..end];
                i += 1 + name.chars().count() + 2;
                match kind {
                    ':' => out.push_str(&format!("[:{name}:]")),
                    _ => out.push_str(&regex::escape(name)),
                }
            }
            '[' | '&' | '~' => out.extend(['\\', c]),
            '\\' => {
                let escaped = chars.get(i).copied().ok_or_else(|| invalid_regex(""))?;
                i += 1;
                if escaped.is_alphanumeric() {
                    out.extend(['\\', escaped]);
                } else {
                    out.push_str(&regex::escape(&escaped.to_string()));
                }
            }
            '-' if chars.get(i) == Some(&'-') => out.push_str(r"\-"),
            c => out.push(c),
        }
        first = false;
    }
}

fn matches_regex(text: &str, pattern: &str, insensitive: bool) -> Result<bool> {
    compile(pattern, Flags { insensitive, ..Flags::default() })?.is_match(text)
}

/// The groups of a match, or the whole match if the expression has none.
fn groups(found: &Found<'_>) -> Datum {
    let text = |part: Option<&str>| part.map_or(Datum::Null, Datum::from);
    let items: Vec<Datum> = if found.len() > 1 {
        (1..found.len()).map(|i| text(found.part(i))).collect()
    } else {
        vec![text(found.part(0))]
    };
    Datum::from(items)
}

fn regexp_match(text: &str, pattern: &str, options: &str) -> Result<Datum> {
    let flags = flags(options)?;
    if flags.global {
        return Err(invalid_parameter("regexp_match() does not support the \"global\" option")
            .hint("Use the regexp_matches function instead."));
    }
    let regex = compile(pattern, flags)?;
    Ok(regex.first(text)?.map_or(Datum::Null, |found| groups(&found)))
}

fn regexp_matches(text: &str, pattern: &str, options: &str) -> Result<Vec<Datum>> {
    let flags = flags(options)?;
    let regex = compile(pattern, flags)?;
    let limit = if flags.global { usize::MAX } else { 1 };
    regex.all(text, 0).take(limit).map(|found| Ok(groups(&found?))).collect()
}

/// The replacement text of one match: `\1` to `\9`, `\&`, `\\`.
fn expand(template: &str, found: &Found<'_>, out: &mut String) {
    let mut chars = template.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('&') => out.push_str(found.part(0).unwrap_or_default()),
            Some(d) if d.is_ascii_digit() && d != '0' => {
                out.push_str(found.part(d as usize - '0' as usize).unwrap_or_default());
            }
            Some('\\') => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
}

/// Replaces match number `nth` (0: all) from character `start` on.
fn regexp_replace(text: &str, pattern: &str, with: &str, flags: Flags, start: i32, nth: i32) -> Result<Datum> {
    positive("start", start)?;
    if nth < 0 {
        return Err(invalid_parameter(format!("invalid value for parameter \"n\": {nth}")));
    }
    let regex = compile(pattern, flags)?;
    let Some(from) = search_start(text, start) else { return Ok(Datum::from(text)) };
    let mut out = String::from(&text[..from]);
    let mut last = from;
    for (i, found) in regex.all(text, from).enumerate() {
        let found = found?;
        if nth != 0 && i as i32 + 1 != nth {
            continue;
        }
        out.push_str(&text[last..found.start()]);
        expand(with, &found, &mut out);
        last = found.end();
        if nth != 0 {
            break;
        }
    }
    out.push_str(&text[last..]);
    Ok(Datum::from(out))
}

fn positive(name: &str, value: i32) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(invalid_parameter(format!("invalid value for parameter \"{name}\": {value}")))
}

/// Flags of a function that looks for one match or counts them.
fn single(function: &str, options: &str) -> Result<Flags> {
    let flags = flags(options)?;
    if flags.global {
        return Err(invalid_parameter(format!("{function}() does not support the \"global\" option")));
    }
    Ok(flags)
}

/// Byte offset of a character position from 1; `None` beyond the text's end.
fn search_start(text: &str, start: i32) -> Option<usize> {
    let skipped = usize::try_from(start).ok()?.checked_sub(1)?;
    let ends = std::iter::once(text.len());
    text.char_indices().map(|(at, _)| at).chain(ends).nth(skipped)
}

fn split(text: &str, pattern: &str, options: &str) -> Result<Vec<Datum>> {
    let flags = flags(options)?;
    if flags.global {
        return Err(invalid_parameter("regexp_split_to_array() does not support the \"global\" option"));
    }
    let regex = compile(pattern, flags)?;
    let mut parts = Vec::new();
    let (mut last, mut end) = (0, 0);
    for found in regex.all(text, 0) {
        let found = found?;
        // An empty match splits between characters, not at the ends nor behind another match.
        if found.start() < text.len() && found.end() > end {
            parts.push(Datum::from(&text[last..found.start()]));
            last = found.end();
        }
        end = found.end();
    }
    parts.push(Datum::from(&text[last..]));
    Ok(parts)
}

fn substring_regex(text: &str, pattern: &str) -> Result<Datum> {
    let regex = compile(pattern, Flags::default())?;
    let Some(found) = regex.first(text)? else { return Ok(Datum::Null) };
    let part = if found.len() > 1 { found.part(1) } else { found.part(0) };
    Ok(part.map_or(Datum::Null, Datum::from))
}

/// A match by number, from a position.
fn regexp_substr(text: &str, pattern: &str, start: i32, nth: i32, options: &str, group: i32) -> Result<Datum> {
    positive("start", start)?;
    positive("n", nth)?;
    let regex = compile(pattern, single("regexp_substr", options)?)?;
    let Some(from) = search_start(text, start) else { return Ok(Datum::Null) };
    let found = regex.all(text, from).nth(nth as usize - 1).transpose()?;
    let group = subexpression(group)?;
    Ok(found.and_then(|found| found.part(group)).map_or(Datum::Null, Datum::from))
}

fn regexp_count(text: &str, pattern: &str, start: i32, options: &str) -> Result<Datum> {
    positive("start", start)?;
    let regex = compile(pattern, single("regexp_count", options)?)?;
    let Some(from) = search_start(text, start) else { return Ok(Datum::Int4(0)) };
    let mut count = 0;
    for found in regex.all(text, from) {
        found?;
        count += 1;
    }
    Ok(Datum::Int4(count))
}

/// The number of a parenthesised part; 0 is the whole.
fn subexpression(group: i32) -> Result<usize> {
    usize::try_from(group).map_err(|_| invalid_parameter(format!("invalid value for parameter \"subexpr\": {group}")))
}

/// Where the search begins, which match counts, and whether its end is wanted.
struct Place {
    start: i32,
    nth: i32,
    end: i32,
}

fn regexp_instr(text: &str, pattern: &str, place: Place, options: &str, group: i32) -> Result<Datum> {
    let Place { start, nth, end } = place;
    positive("start", start)?;
    positive("n", nth)?;
    if !(0..=1).contains(&end) {
        return Err(invalid_parameter(format!("invalid value for parameter \"endoption\": {end}")));
    }
    let regex = compile(pattern, single("regexp_instr", options)?)?;
    let group = subexpression(group)?;
    let Some(from) = search_start(text, start) else { return Ok(Datum::Int4(0)) };
    let found = regex.all(text, from).nth(nth as usize - 1).transpose()?;
    let found = found.and_then(|found| found.place(group));
    let at = found.map(|place| if end == 1 { place.1 } else { place.0 });
    Ok(Datum::Int4(at.map_or(0, |at| text[..at].chars().count() as i32 + 1)))
}

macro_rules! like_row {
    ($negated:literal, $insensitive:literal) => {
        row!(|t: text, p: text| Ok(Datum::Bool(like(t, p, $insensitive)? != $negated)))
    };
}

/// Bytes match as characters of one byte each do.
macro_rules! bytes_like_row {
    ($negated:literal) => {
        row!(|t: bytea, p: bytea| {
            let latin = |bytes: &[u8]| bytes.iter().map(|b| char::from(*b)).collect::<String>();
            Ok(Datum::Bool(matches(&latin(t), &latin(p))? != $negated))
        })
    };
}

macro_rules! regex_row {
    ($negated:literal, $insensitive:literal) => {
        row!(|t: text, p: text| Ok(Datum::Bool(matches_regex(t, p, $insensitive)? != $negated)))
    };
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("textlike", like_row!(false, false)),
        ("textnlike", like_row!(true, false)),
        ("texticlike", like_row!(false, true)),
        ("texticnlike", like_row!(true, true)),
        ("bytealike", bytes_like_row!(false)),
        ("byteanlike", bytes_like_row!(true)),
        ("namelike", like_row!(false, false)),
        ("namenlike", like_row!(true, false)),
        ("nameiclike", like_row!(false, true)),
        ("nameicnlike", like_row!(true, true)),
        ("like_escape", row!(|p: text, e: text| like_escape(p, e).map(Datum::from))),
        ("similar_to_escape_1", row!(|p: text| similar(p, None).map(Datum::from))),
        ("similar_to_escape_2", row!(|p: text, e: text| similar(p, Some(e)).map(Datum::from))),
        ("textregexeq", regex_row!(false, false)),
        ("textregexne", regex_row!(true, false)),
        ("texticregexeq", regex_row!(false, true)),
        ("texticregexne", regex_row!(true, true)),
        ("nameregexeq", regex_row!(false, false)),
        ("nameregexne", regex_row!(true, false)),
        ("nameicregexeq", regex_row!(false, true)),
        ("nameicregexne", regex_row!(true, true)),
        ("regexp_like_no_flags", regex_row!(false, false)),
        (
            "regexp_like",
            row!(|t: text, p: text, f: text| Ok(Datum::Bool(compile(p, single("regexp_like", f)?)?.is_match(t)?))),
        ),
        ("textregexsubstr", row!(|t: text, p: text| substring_regex(t, p))),
        ("#2074", row!(|t: text, p: text, e: text| substring_regex(t, &similar_with(p, Some(e), true)?))),
        ("regexp_match_no_flags", row!(|t: text, p: text| regexp_match(t, p, ""))),
        ("regexp_match", row!(|t: text, p: text, f: text| regexp_match(t, p, f))),
        ("textregexreplace_noopt", row!(|t: text, p: text, w: text| regexp_replace(t, p, w, Flags::default(), 1, 1))),
        ("textregexreplace", row!(|t: text, p: text, w: text, f: text| {
            if f.bytes().next().is_some_and(|b| b.is_ascii_digit()) {
                return Err(invalid_parameter(format!("invalid regular expression option: \"{}\"", &f[..1]))
                    .hint("If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly."));
            }
            let flags = flags(f)?;
            regexp_replace(t, p, w, flags, 1, i32::from(!flags.global))
        })),
        ("textregexreplace_extended_no_n", row!(|t: text, p: text, w: text, s: int4| {
            regexp_replace(t, p, w, Flags::default(), s, 1)
        })),
        ("textregexreplace_extended_no_flags", row!(|t: text, p: text, w: text, s: int4, n: int4| {
            regexp_replace(t, p, w, Flags::default(), s, n)
        })),
        ("textregexreplace_extended", |_, a| {
            let int = |i: usize| args::int4(a.get(i));
            let text = |i: usize| args::text(a.get(i));
            positive("start", int(3)?)?;
            regexp_replace(text(0)?, text(1)?, text(2)?, flags(text(5)?)?, int(3)?, int(4)?)
        }),
        ("regexp_split_to_array_no_flags", row!(|t: text, p: text| split(t, p, "").map(Datum::from))),
        ("regexp_split_to_array", row!(|t: text, p: text, f: text| split(t, p, f).map(Datum::from))),
        ("regexp_count_no_start", row!(|t: text, p: text| regexp_count(t, p, 1, ""))),
        ("regexp_count_no_flags", row!(|t: text, p: text, s: int4| regexp_count(t, p, s, ""))),
        ("regexp_count", row!(|t: text, p: text, s: int4, f: text| regexp_count(t, p, s, f))),
        ("regexp_substr_no_start", row!(|t: text, p: text| regexp_substr(t, p, 1, 1, "", 0))),
        ("regexp_substr_no_n", row!(|t: text, p: text, s: int4| regexp_substr(t, p, s, 1, "", 0))),
        ("regexp_substr_no_flags", row!(|t: text, p: text, s: int4, n: int4| regexp_substr(t, p, s, n, "", 0))),
        ("regexp_substr_no_subexpr", row!(|t: text, p: text, s: int4, n: int4, f: text| regexp_substr(t, p, s, n, f, 0))),
        ("regexp_instr_no_start", row!(|t: text, p: text| regexp_instr(t, p, Place { start: 1, nth: 1, end: 0 }, "", 0))),
        ("regexp_instr_no_n", row!(|t: text, p: text, s: int4| regexp_instr(t, p, Place { start: s, nth: 1, end: 0 }, "", 0))),
        ("regexp_instr_no_endoption", row!(|t: text, p: text, s: int4, n: int4| regexp_instr(t, p, Place { start: s, nth: n, end: 0 }, "", 0))),
        (
            "regexp_instr_no_flags",
            row!(|t: text, p: text, s: int4, n: int4, e: int4| {
                regexp_instr(t, p, Place { start: s, nth: n, end: e }, "", 0)
            }),
        ),
        (
            "regexp_instr_no_subexpr",
            row!(|t: text, p: text, s: int4, n: int4, e: int4, f: text| {
                regexp_instr(t, p, Place { start: s, nth: n, end: e }, f, 0)
            }),
        ),
        (
            "regexp_instr",
            row!(|t: text, p: text, s: int4, n: int4, e: int4, f: text, g: int4| {
                regexp_instr(t, p, Place { start: s, nth: n, end: e }, f, g)
            }),
        ),
        (
            "regexp_substr",
            row!(|t: text, p: text, s: int4, n: int4, f: text, g: int4| regexp_substr(t, p, s, n, f, g)),
        ),
    ]);
    implementations.set("regexp_matches_no_flags", |_, a| {
        Ok(single_column(regexp_matches(args::text(a.first())?, args::text(a.get(1))?, "")?))
    });
    implementations.set("regexp_matches", |_, a| {
        Ok(single_column(regexp_matches(args::text(a.first())?, args::text(a.get(1))?, args::text(a.get(2))?)?))
    });
    implementations.set("regexp_split_to_table_no_flags", |_, a| {
        Ok(single_column(split(args::text(a.first())?, args::text(a.get(1))?, "")?))
    });
    implementations.set("regexp_split_to_table", |_, a| {
        Ok(single_column(split(args::text(a.first())?, args::text(a.get(1))?, args::text(a.get(2))?)?))
    });
}

/// Rows of one column.
pub(super) fn single_column(values: Vec<Datum>) -> super::Rows {
    Box::new(values.into_iter().map(|v| Ok(vec![v])))
}
