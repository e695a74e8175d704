//! Reading of jsonpath.
//!
//! Expressions and predicates share their parentheses: one ladder of precedences reads both, and each rung checks which of
//! the two it was given.

use super::{Accessor, Arithmetic, Comparison, Flags, Head, Item, Level, Method, Path};
use crate::error::{Error, Result, SqlState};
use crate::types::numeric::Numeric;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 200;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A word: an identifier or a keyword.
    Word(String),
    String(String),
    Variable(String),
    Number(String),
    /// One of the operators and brackets.
    Sign(&'static str),
}

pub(super) fn path(text: &str) -> Result<Path> {
    let tokens = Lexer { text, at: 0 }.all()?;
    if tokens.is_empty() {
        return Err(Error::new(
            SqlState::InvalidTextRepresentation,
            format!("invalid input syntax for type jsonpath: \"{text}\""),
        ));
    }
    let mut parser = Parser { text, tokens, at: 0, filters: 0, subscripts: 0, depth: 0 };
    let strict = parser.word("strict");
    if !strict {
        parser.word("lax");
    }
    let root = parser.expression(0)?;
    if parser.at < parser.tokens.len() {
        return Err(parser.unexpected());
    }
    Ok(Path { strict, root })
}

fn syntax(message: String) -> Error {
    Error::new(SqlState::SyntaxError, message)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

const SIGNS: &[&str] = &[
    "&&", "||", "**", "==", "!=", "<>", "<=", ">=", "?", "$", "@", ".", "*", "[", "]", "(", ")", "{", "}", ",", "+",
    "-", "/", "%", "=", "<", ">", "!", ":",
];

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn all(mut self) -> Result<Vec<(Token, usize)>> {
        let mut tokens = Vec::new();
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']).len();
            self.at += blank;
            let rest = self.rest();
            if let Some(comment) = rest.strip_prefix("/*") {
                let end = comment.find("*/").ok_or_else(|| self.failed("unexpected end of comment", ""))?;
                self.at += end + 4;
                continue;
            }
            let Some(c) = rest.chars().next() else { return Ok(tokens) };
            let start = self.at;
            let token = match c {
                '"' => Token::String(self.string()?),
                '$' if rest.get(1..).is_some_and(|r| r.starts_with('"')) => {
                    self.at += 1;
                    Token::Variable(self.string()?)
                }
                '$' if rest.get(1..).is_some_and(|r| r.starts_with(word_character)) => {
                    self.at += 1;
                    Token::Variable(self.name()?)
                }
                '0'..='9' => Token::Number(self.number()?),
                '.' if rest.get(1..).is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit())) => {
                    Token::Number(self.number()?)
                }
                _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                    Some(sign) => {
                        self.at += sign.len();
                        Token::Sign(sign)
                    }
                    None => Token::Word(self.name()?),
                },
            };
            tokens.push((token, start));
        }
    }

    fn failed(&self, what: &str, near: &str) -> Error {
        match near {
            "" => syntax(format!("{what} at end of jsonpath input")),
            near => syntax(format!("{what} at or near \"{near}\" of jsonpath input")),
        }
    }

    fn number(&mut self) -> Result<String> {
        let bytes = self.rest().as_bytes();
        let digits = |from: usize| bytes.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
        let mut end = digits(0);
        if bytes.first() == Some(&b'0') && end > 1 {
            let near = self.rest().get(..end).unwrap_or_default().to_string();
            return Err(self.failed("trailing junk after numeric literal", &near));
        }
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1) != Some(&b'.') {
            end += 1 + digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent == 0 {
                let near = self.rest().get(..end + 1 + sign).unwrap_or_default().to_string();
                return Err(self.failed("trailing junk after numeric literal", &near));
            }
            end += 1 + sign + exponent;
        }
        let text = self.rest().get(..end).unwrap_or_default().to_string();
        self.at += end;
        if let Some(c) = self.rest().chars().next().filter(|c| c.is_alphabetic() || *c == '_') {
            return Err(self.failed("trailing junk after numeric literal", &format!("{text}{c}")));
        }
        Ok(text)
    }

    /// An identifier, escapes resolved.
    fn name(&mut self) -> Result<String> {
        let mut out = String::new();
        while let Some(c) = self.rest().chars().next() {
            if c == '\\' {
                self.escape(&mut out)?;
            } else if word_character(c) {
                out.push(c);
                self.at += c.len_utf8();
            } else {
                break;
            }
        }
        if out.is_empty() {
            let near: String = self.rest().chars().take(1).collect();
            return Err(self.failed("syntax error", &near));
        }
        Ok(out)
    }

    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            match self.rest().chars().next() {
                None => return Err(self.failed("unterminated quoted string", "")),
                Some('"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some('\\') => self.escape(&mut out)?,
                Some(c) => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<()> {
        self.at += 1;
        let Some(c) = self.rest().chars().next() else { return Err(self.failed("unexpected end after backslash", "")) };
        self.at += c.len_utf8();
        match c {
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\x0b'),
            'x' => {
                let code = self.hexadecimal(2, "invalid hexadecimal character sequence")?;
                out.extend(char::from_u32(code).filter(|c| *c != '\0'));
            }
            'u' => {
                let mut code = self.unicode()?;
                if (0xD800..0xDC00).contains(&code) {
                    if !self.rest().starts_with("\\u") {
                        return Err(self.surrogate());
                    }
                    self.at += 2;
                    let low = self.unicode()?;
                    if !(0xDC00..0xE000).contains(&low) {
                        return Err(self.surrogate());
                    }
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                }
                match char::from_u32(code) {
                    Some('\0') => {
                        return Err(Error::new(
                            SqlState::UntranslatableCharacter,
                            "unsupported Unicode escape sequence",
                        )
                        .detail("\\u0000 cannot be converted to text."));
                    }
                    Some(c) => out.push(c),
                    None => return Err(self.surrogate()),
                }
            }
            c => out.push(c),
        }
        Ok(())
    }

    fn surrogate(&self) -> Error {
        Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type jsonpath")
            .detail("Unicode low surrogate must follow a high surrogate.")
    }

    fn unicode(&mut self) -> Result<u32> {
        if !self.rest().starts_with('{') {
            return self.hexadecimal(4, "invalid Unicode escape sequence");
        }
        self.at += 1;
        let digits = self.rest().bytes().take_while(u8::is_ascii_hexdigit).count();
        let code = self.hexadecimal(digits.clamp(1, 6), "invalid Unicode escape sequence")?;
        if !self.rest().starts_with('}') {
            return Err(self.failed("invalid Unicode escape sequence", self.rest()));
        }
        self.at += 1;
        Ok(code)
    }

    fn hexadecimal(&mut self, count: usize, what: &str) -> Result<u32> {
        let digits = self.rest().get(..count).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        let code = code.ok_or_else(|| self.failed(what, self.rest()))?;
        self.at += count;
        Ok(code)
    }
}

/// What may be part of a name without quotes.
fn word_character(c: char) -> bool {
    !matches!(
        c,
        '?' | '%'
            | '$'
            | '.'
            | '['
            | ']'
            | '{'
            | '}'
            | '('
            | ')'
            | '|'
            | '&'
            | '!'
            | '='
            | '<'
            | '>'
            | '@'
            | '#'
            | ','
            | '*'
            | ':'
            | '-'
            | '+'
            | '/'
            | '\\'
            | '"'
            | ' '
            | '\t'
            | '\n'
            | '\r'
            | '\x0c'
    )
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize)>,
    at: usize,
    /// Filters around this place: `@` is allowed.
    filters: usize,
    /// Subscripts around this place: `last` is allowed.
    subscripts: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(s)) if *s == sign);
        self.at += usize::from(found);
        found
    }

    fn is_word(&self, ahead: usize, word: &str) -> bool {
        match self.tokens.get(self.at + ahead) {
            // The literals are keywords in lower case only.
            Some((Token::Word(w), _)) if matches!(word, "null" | "true" | "false") => w == word,
            Some((Token::Word(w), _)) => w.eq_ignore_ascii_case(word),
            _ => false,
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(0, word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<()> {
        if self.sign(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Error {
        match self.tokens.get(self.at) {
            None => syntax("syntax error at end of jsonpath input".into()),
            Some((_, start)) => {
                let end = self.tokens.get(self.at + 1).map_or(self.text.len(), |(_, next)| *next);
                let near = self.text.get(*start..end).unwrap_or_default().trim_end();
                syntax(format!("syntax error at or near \"{near}\" of jsonpath input"))
            }
        }
    }

    fn wanted(&self, item: Item, predicate: bool) -> Result<Item> {
        let is = item.accessors.is_empty() && item.head.is_predicate();
        if is == predicate { Ok(item) } else { Err(self.unexpected()) }
    }

    /// Expressions from a level of binding up: 0 is OR, 1 AND, 2 comparisons, 3 sums, 4 products.
    fn expression(&mut self, level: u8) -> Result<Item> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded"));
        }
        let out = self.level(level);
        self.depth -= 1;
        out
    }

    fn level(&mut self, level: u8) -> Result<Item> {
        let plain = |head: Head| Item { head: Box::new(head), accessors: Vec::new() };
        match level {
            0 | 1 => {
                let sign = if level == 0 { "||" } else { "&&" };
                let mut left = self.level(level + 1)?;
                while self.sign(sign) {
                    let l = self.wanted(left, true)?;
                    let right = self.level(level + 1)?;
                    let right = self.wanted(right, true)?;
                    left = plain(if level == 0 { Head::Or(l, right) } else { Head::And(l, right) });
                }
                Ok(left)
            }
            2 => self.comparison(),
            3 | 4 => {
                let operators: &[(&str, Arithmetic)] = if level == 3 {
                    &[("+", Arithmetic::Add), ("-", Arithmetic::Subtract)]
                } else {
                    &[("*", Arithmetic::Multiply), ("/", Arithmetic::Divide), ("%", Arithmetic::Modulo)]
                };
                let mut left = self.level(level + 1)?;
                while let Some((_, operator)) = operators.iter().find(|(sign, _)| self.sign(sign)) {
                    let l = self.wanted(left, false)?;
                    let right = self.level(level + 1)?;
                    let right = self.wanted(right, false)?;
                    left = plain(Head::Arithmetic(*operator, l, right));
                }
                Ok(left)
            }
            _ => self.unary(),
        }
    }

    fn comparison(&mut self) -> Result<Item> {
        let plain = |head: Head| Item { head: Box::new(head), accessors: Vec::new() };
        let left = self.level(3)?;
        let signs = [
            ("==", Comparison::Equal),
            ("=", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<>", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        if let Some((_, comparison)) = signs.iter().find(|(sign, _)| self.sign(sign)) {
            let left = self.wanted(left, false)?;
            let right = self.level(3)?;
            let right = self.wanted(right, false)?;
            return Ok(plain(Head::Compare(*comparison, left, right)));
        }
        if self.is_word(0, "starts") && self.is_word(1, "with") {
            self.at += 2;
            let left = self.wanted(left, false)?;
            let right = match self.peek().cloned() {
                Some(Token::String(text)) => Head::String(text),
                Some(Token::Variable(name)) => Head::Variable(name),
                _ => return Err(self.unexpected()),
            };
            self.at += 1;
            return Ok(plain(Head::StartsWith(left, plain(right))));
        }
        if self.word("like_regex") {
            let item = self.wanted(left, false)?;
            let pattern = self.text_literal()?;
            let mut flags = Flags::default();
            if self.word("flag") {
                flags = read_flags(&self.text_literal()?)?;
            }
            let pattern_check = if flags.quoted { String::new() } else { pattern.clone() };
            crate::functions::check_regular_expression(&pattern_check)?;
            return Ok(plain(Head::LikeRegex { item, pattern, flags }));
        }
        Ok(left)
    }

    fn text_literal(&mut self) -> Result<String> {
        match self.peek().cloned() {
            Some(Token::String(text)) => {
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn unary(&mut self) -> Result<Item> {
        let plain = |head: Head| Item { head: Box::new(head), accessors: Vec::new() };
        for (sign, minus) in [("+", false), ("-", true)] {
            if self.sign(sign) {
                let arg = self.expression(5)?;
                let arg = self.wanted(arg, false)?;
                // A negative number is a number.
                if let (Head::Number(value), true) = (&*arg.head, arg.accessors.is_empty()) {
                    return Ok(plain(Head::Number(if minus { value.negate() } else { value.clone() })));
                }
                return Ok(plain(if minus { Head::Minus(arg) } else { Head::Plus(arg) }));
            }
        }
        if self.sign("!") {
            let delimited = matches!(self.peek(), Some(Token::Sign("("))) || self.is_word(0, "exists");
            if !delimited {
                return Err(self.unexpected());
            }
            let arg = self.expression(5)?;
            let arg = self.wanted(arg, true)?;
            return Ok(plain(Head::Not(arg)));
        }
        if self.is_word(0, "exists") && matches!(self.tokens.get(self.at + 1), Some((Token::Sign("("), _))) {
            self.at += 2;
            let arg = self.expression(0)?;
            let arg = self.wanted(arg, false)?;
            self.expect(")")?;
            return Ok(plain(Head::Exists(arg)));
        }
        if self.sign("(") {
            let inner = self.expression(0)?;
            self.expect(")")?;
            let predicate = inner.accessors.is_empty() && inner.head.is_predicate();
            if predicate && self.is_word(0, "is") && self.is_word(1, "unknown") {
                self.at += 2;
                return Ok(plain(Head::IsUnknown(inner)));
            }
            return self.accessors(inner);
        }
        let head = self.primary()?;
        self.accessors(plain(head))
    }

    fn primary(&mut self) -> Result<Head> {
        let head = match self.peek().cloned() {
            Some(Token::String(text)) => Head::String(text),
            Some(Token::Variable(name)) => Head::Variable(name),
            Some(Token::Number(text)) => Head::Number(Numeric::parse(&text)?),
            Some(Token::Sign("$")) => Head::Root,
            Some(Token::Sign("@")) if self.filters == 0 => {
                return Err(syntax("@ is not allowed in root expressions".into()));
            }
            Some(Token::Sign("@")) => Head::Current,
            Some(Token::Word(_)) if self.is_word(0, "last") && self.subscripts == 0 => {
                return Err(syntax("LAST is allowed only in array subscripts".into()));
            }
            Some(Token::Word(_)) if self.is_word(0, "last") => Head::Last,
            Some(Token::Word(word)) => match word.as_str() {
                "null" => Head::Null,
                "true" => Head::Bool(true),
                "false" => Head::Bool(false),
                _ => return Err(self.unexpected()),
            },
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(head)
    }

    fn accessors(&mut self, mut item: Item) -> Result<Item> {
        loop {
            let accessor = if self.sign("[") {
                if self.sign("*") {
                    self.expect("]")?;
                    Accessor::AnyArray
                } else {
                    self.subscripts += 1;
                    let list = self.indexes();
                    self.subscripts -= 1;
                    Accessor::Index(list?)
                }
            } else if self.sign("?") {
                self.expect("(")?;
                self.filters += 1;
                let predicate = self.expression(0);
                self.filters -= 1;
                let predicate = predicate?;
                let predicate = self.wanted(predicate, true)?;
                self.expect(")")?;
                Accessor::Filter(predicate)
            } else if self.sign(".") {
                self.after_dot()?
            } else {
                return Ok(item);
            };
            item.accessors.push(accessor);
        }
    }

    fn indexes(&mut self) -> Result<Vec<(Item, Option<Item>)>> {
        let mut list = Vec::new();
        loop {
            let from = self.expression(3)?;
            let to = if self.word("to") { Some(self.expression(3)?) } else { None };
            list.push((from, to));
            if !self.sign(",") {
                break;
            }
        }
        self.expect("]")?;
        Ok(list)
    }

    fn after_dot(&mut self) -> Result<Accessor> {
        if self.sign("**") {
            return self.levels();
        }
        if self.sign("*") {
            return Ok(Accessor::AnyKey);
        }
        let name = match self.peek().cloned() {
            Some(Token::String(text)) => {
                self.at += 1;
                return Ok(Accessor::Key(text));
            }
            Some(Token::Word(name)) => name,
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        if !matches!(self.peek(), Some(Token::Sign("("))) {
            return Ok(Accessor::Key(name));
        }
        let methods =
            [Method::Type, Method::Size, Method::Abs, Method::Floor, Method::Ceiling, Method::Double, Method::KeyValue];
        if name.eq_ignore_ascii_case("datetime") {
            self.at += 1;
            let template =
                if matches!(self.peek(), Some(Token::String(_))) { Some(self.text_literal()?) } else { None };
            self.expect(")")?;
            return Ok(Accessor::Datetime(template));
        }
        let Some(method) = methods.into_iter().find(|m| m.name().eq_ignore_ascii_case(&name)) else {
            return Err(self.unexpected());
        };
        self.at += 1;
        self.expect(")")?;
        Ok(Accessor::Method(method))
    }

    fn levels(&mut self) -> Result<Accessor> {
        if !self.sign("{") {
            return Ok(Accessor::Any(Some(0), None));
        }
        let first = self.one_level()?;
        let last = if self.word("to") { self.one_level()? } else { first };
        self.expect("}")?;
        Ok(Accessor::Any(first, last))
    }

    fn one_level(&mut self) -> Result<Level> {
        if self.word("last") {
            return Ok(None);
        }
        match self.peek().cloned() {
            Some(Token::Number(text)) => {
                let level = text.parse().map_err(|_| self.unexpected())?;
                self.at += 1;
                Ok(Some(level))
            }
            _ => Err(self.unexpected()),
        }
    }
}

fn read_flags(text: &str) -> Result<Flags> {
    let mut flags = Flags::default();
    for c in text.chars() {
        match c {
            'i' => flags.insensitive = true,
            's' => flags.dot_all = true,
            'm' => flags.multiline = true,
            'x' => flags.extended = true,
            'q' => flags.quoted = true,
            c => {
                return Err(Error::new(SqlState::SyntaxError, "invalid input syntax for type jsonpath")
                    .detail(format!("Unrecognized flag character \"{c}\" in LIKE_REGEX predicate.")));
            }
        }
    }
    if flags.extended && !flags.quoted {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            "XQuery \"x\" flag (expanded regular expressions) is not implemented",
        ));
    }
    Ok(flags)
}
