//! jsonpath: the syntax tree of a path and its text form (PostgreSQL's jsonpath_gram.y, jsonpath_scan.l, jsonpath.c). A
//! value of the type is its canonical text; [`parsed`] gives the tree.

mod parse;

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::rc::Rc;

use super::json::write_string;
use super::numeric::Numeric;
use crate::error::Result;

/// A path with its mode.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    pub strict: bool,
    pub root: Item,
}

/// A primary with the accessors that follow it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub head: Box<Head>,
    pub accessors: Vec<Accessor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Head {
    Null,
    Bool(bool),
    Number(Numeric),
    String(String),
    Variable(String),
    Root,
    Current,
    Last,
    Arithmetic(Arithmetic, Item, Item),
    Plus(Item),
    Minus(Item),
    And(Item, Item),
    Or(Item, Item),
    Not(Item),
    IsUnknown(Item),
    Exists(Item),
    Compare(Comparison, Item, Item),
    StartsWith(Item, Item),
    LikeRegex { item: Item, pattern: String, flags: Flags },
}

/// Flags of LIKE_REGEX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    pub insensitive: bool,
    pub dot_all: bool,
    pub multiline: bool,
    pub extended: bool,
    pub quoted: bool,
}

/// Levels of `.**{…}`; `None` is `last`.
pub type Level = Option<u32>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Type,
    Size,
    Abs,
    Floor,
    Ceiling,
    Double,
    KeyValue,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Method::Type => "type",
            Method::Size => "size",
            Method::Abs => "abs",
            Method::Floor => "floor",
            Method::Ceiling => "ceiling",
            Method::Double => "double",
            Method::KeyValue => "keyvalue",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Accessor {
    Key(String),
    AnyKey,
    AnyArray,
    Index(Vec<(Item, Option<Item>)>),
    Any(Level, Level),
    Method(Method),
    Datetime(Option<String>),
    Filter(Item),
}

/// Reads a path (22P02, 42601).
pub fn read(text: &str) -> Result<Path> {
    parse::path(text)
}

thread_local! {
    /// The path used last: one path usually meets many documents.
    static LAST: RefCell<Option<(String, Rc<Path>)>> = const { RefCell::new(None) };
}

/// The tree of a value of the type.
pub fn parsed(text: &str) -> Result<Rc<Path>> {
    let known = LAST.with_borrow(|last| last.as_ref().filter(|(t, _)| t == text).map(|(_, path)| Rc::clone(path)));
    if let Some(path) = known {
        return Ok(path);
    }
    let path = Rc::new(read(text)?);
    LAST.with_borrow_mut(|last| *last = Some((text.to_string(), Rc::clone(&path))));
    Ok(path)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.strict {
            f.write_str("strict ")?;
        }
        show(&self.root, f, true)
    }
}

impl Head {
    /// How closely it binds its operands.
    fn priority(&self) -> u8 {
        match self {
            Head::Or(..) => 0,
            Head::And(..) => 1,
            Head::Compare(..) | Head::StartsWith(..) => 2,
            Head::Arithmetic(Arithmetic::Add | Arithmetic::Subtract, ..) => 3,
            Head::Arithmetic(..) => 4,
            Head::Plus(_) | Head::Minus(_) => 5,
            _ => 6,
        }
    }

    pub fn is_predicate(&self) -> bool {
        matches!(
            self,
            Head::And(..)
                | Head::Or(..)
                | Head::Not(_)
                | Head::IsUnknown(_)
                | Head::Exists(_)
                | Head::Compare(..)
                | Head::StartsWith(..)
                | Head::LikeRegex { .. }
        )
    }
}

impl Comparison {
    fn sign(self) -> &'static str {
        match self {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }
}

impl Arithmetic {
    pub fn sign(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
            Arithmetic::Modulo => "%",
        }
    }
}

fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut out = Vec::new();
    write_string(text, &mut out);
    f.write_str(&String::from_utf8_lossy(&out))
}

fn show(item: &Item, f: &mut fmt::Formatter<'_>, brackets: bool) -> fmt::Result {
    let head = &*item.head;
    let operand = |operand: &Item, f: &mut fmt::Formatter<'_>| {
        let inner = if operand.accessors.is_empty() { operand.head.priority() } else { head_priority(operand) };
        show(operand, f, inner <= head.priority())
    };
    // What has accessors stands in brackets whatever the caller wants.
    let brackets = brackets || !item.accessors.is_empty();
    let around = |f: &mut fmt::Formatter<'_>, inner: &mut dyn FnMut(&mut fmt::Formatter<'_>) -> fmt::Result| {
        if brackets {
            f.write_char('(')?;
        }
        inner(f)?;
        if brackets { f.write_char(')') } else { Ok(()) }
    };
    let infix = |f: &mut fmt::Formatter<'_>, left: &Item, sign: &str, right: &Item| {
        around(f, &mut |f| {
            operand(left, f)?;
            write!(f, " {sign} ")?;
            operand(right, f)
        })
    };
    match head {
        Head::Null => f.write_str("null")?,
        Head::Bool(value) => write!(f, "{value}")?,
        Head::Number(value) if item.accessors.is_empty() => write!(f, "{value}")?,
        Head::Number(value) => write!(f, "({value})")?,
        Head::String(text) => quoted(text, f)?,
        Head::Variable(name) => {
            f.write_char('$')?;
            quoted(name, f)?;
        }
        Head::Root => f.write_char('$')?,
        Head::Current => f.write_char('@')?,
        Head::Last => f.write_str("last")?,
        Head::Arithmetic(operator, left, right) => infix(f, left, operator.sign(), right)?,
        Head::And(left, right) => infix(f, left, "&&", right)?,
        Head::Or(left, right) => infix(f, left, "||", right)?,
        Head::Compare(comparison, left, right) => infix(f, left, comparison.sign(), right)?,
        Head::StartsWith(left, right) => infix(f, left, "starts with", right)?,
        Head::Plus(arg) | Head::Minus(arg) => around(f, &mut |f| {
            f.write_char(if matches!(head, Head::Plus(_)) { '+' } else { '-' })?;
            operand(arg, f)
        })?,
        Head::Not(arg) => {
            f.write_str("!(")?;
            show(arg, f, false)?;
            f.write_char(')')?;
        }
        Head::IsUnknown(arg) => {
            f.write_char('(')?;
            show(arg, f, false)?;
            f.write_str(") is unknown")?;
        }
        Head::Exists(arg) => {
            f.write_str("exists (")?;
            show(arg, f, false)?;
            f.write_char(')')?;
        }
        Head::LikeRegex { item: arg, pattern, flags } => around(f, &mut |f| {
            operand(arg, f)?;
            f.write_str(" like_regex ")?;
            quoted(pattern, f)?;
            let letters: String = [
                (flags.insensitive, 'i'),
                (flags.dot_all, 's'),
                (flags.multiline, 'm'),
                (flags.extended, 'x'),
                (flags.quoted, 'q'),
            ]
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, c)| *c)
            .collect();
            if letters.is_empty() { Ok(()) } else { write!(f, " flag \"{letters}\"") }
        })?,
    }
    item.accessors.iter().try_for_each(|accessor| show_accessor(accessor, f))
}

fn head_priority(item: &Item) -> u8 {
    item.head.priority()
}

fn show_accessor(accessor: &Accessor, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match accessor {
        Accessor::Key(key) => {
            f.write_char('.')?;
            quoted(key, f)
        }
        Accessor::AnyKey => f.write_str(".*"),
        Accessor::AnyArray => f.write_str("[*]"),
        Accessor::Index(list) => {
            f.write_char('[')?;
            for (i, (from, to)) in list.iter().enumerate() {
                if i > 0 {
                    f.write_char(',')?;
                }
                show(from, f, false)?;
                if let Some(to) = to {
                    f.write_str(" to ")?;
                    show(to, f, false)?;
                }
            }
            f.write_char(']')
        }
        Accessor::Any(Some(0), None) => f.write_str(".**"),
        Accessor::Any(first, last) => {
            let level = |level: &Level| level.map_or("last".to_string(), |n| n.to_string());
            match first == last {
                true => write!(f, ".**{{{}}}", level(first)),
                false => write!(f, ".**{{{} to {}}}", level(first), level(last)),
            }
        }
        Accessor::Method(method) => write!(f, ".{}()", method.name()),
        Accessor::Datetime(None) => f.write_str(".datetime()"),
        Accessor::Datetime(Some(template)) => {
            f.write_str(".datetime(")?;
            quoted(template, f)?;
            f.write_char(')')
        }
        Accessor::Filter(predicate) => {
            f.write_str("?(")?;
            show(predicate, f, false)?;
            f.write_char(')')
        }
    }
}
