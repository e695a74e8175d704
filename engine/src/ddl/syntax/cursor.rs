//! The tokens of a statement, and where reading them has come to.

use sqlparser::ast::{DataType, Ident, ObjectName, ObjectNamePart};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::SyntaxError;
use crate::sql::dialect::PostgreSql15;

pub(in crate::ddl) struct Cursor<'a> {
    pub tokens: &'a [TokenWithSpan],
    pub at: usize,
}

impl Cursor<'_> {
    pub(super) fn word_at(&self, at: usize) -> Option<String> {
        match &self.tokens.get(at)?.token {
            Token::Word(w) if w.quote_style.is_none() => Some(w.value.to_lowercase()),
            _ => None,
        }
    }

    pub fn next_word(&mut self) -> Option<String> {
        let word = self.word_at(self.at);
        self.at += 1;
        word
    }

    pub fn nth_is(&self, ahead: usize, word: &str) -> bool {
        self.word_at(self.at + ahead).as_deref() == Some(word)
    }

    pub fn accept(&mut self, word: &str) -> bool {
        let found = self.nth_is(0, word);
        self.at += usize::from(found);
        found
    }

    pub fn accept_token(&mut self, token: &Token) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|t| t.token == *token);
        self.at += usize::from(found);
        found
    }

    pub fn expect(&mut self, word: &str) -> Result<(), SyntaxError> {
        if self.accept(word) { Ok(()) } else { Err(self.at) }
    }

    pub fn expect_token(&mut self, token: &Token) -> Result<(), SyntaxError> {
        if self.accept_token(token) { Ok(()) } else { Err(self.at) }
    }

    /// `[IF EXISTS]`
    pub fn if_exists(&mut self) -> Result<bool, SyntaxError> {
        let found = self.accept("if");
        if found {
            self.expect("exists")?;
        }
        Ok(found)
    }

    /// `[CASCADE | RESTRICT]`: whether it is CASCADE.
    pub fn cascade(&mut self) -> bool {
        let found = self.accept("cascade");
        if !found {
            self.accept("restrict");
        }
        found
    }

    /// One or more, with commas between them.
    pub fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, SyntaxError>) -> Result<Vec<T>, SyntaxError> {
        let mut all = vec![item(self)?];
        while self.accept_token(&Token::Comma) {
            all.push(item(self)?);
        }
        Ok(all)
    }

    pub fn identifier(&mut self) -> Result<Ident, SyntaxError> {
        match self.tokens.get(self.at) {
            Some(TokenWithSpan { token: Token::Word(w), span }) => {
                self.at += 1;
                Ok(w.clone().into_ident(*span))
            }
            _ => Err(self.at),
        }
    }

    pub fn object_name(&mut self) -> Result<ObjectName, SyntaxError> {
        let mut parts = vec![ObjectNamePart::Identifier(self.identifier()?)];
        while self.accept_token(&Token::Period) {
            parts.push(ObjectNamePart::Identifier(self.identifier()?));
        }
        Ok(ObjectName(parts))
    }

    pub fn string(&mut self) -> Result<String, SyntaxError> {
        let text = match self.tokens.get(self.at).map(|t| &t.token) {
            Some(Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s)) => s.clone(),
            Some(Token::DollarQuotedString(s)) => s.value.clone(),
            _ => return Err(self.at),
        };
        self.at += 1;
        Ok(text)
    }

    /// A type, as sqlparser reads it.
    pub(super) fn data_type(&mut self) -> Result<DataType, SyntaxError> {
        self.with_parser(|parser| parser.parse_data_type())
    }

    pub(super) fn with_parser<T>(
        &mut self,
        production: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T, SyntaxError> {
        let rest = self.tokens.get(self.at..).unwrap_or_default().to_vec();
        let dialect = PostgreSql15::new(rest.len());
        let mut parser = Parser::new(&dialect).with_recursion_limit(100).with_tokens_with_locations(rest);
        let found = production(&mut parser).map_err(|_| self.at)?;
        self.at += parser.index();
        Ok(found)
    }

    pub(super) fn nth_is_paren(&self) -> bool {
        matches!(self.tokens.get(self.at).map(|t| &t.token), Some(Token::LParen))
    }

    pub(super) fn is_eq(&self) -> bool {
        matches!(self.tokens.get(self.at).map(|t| &t.token), Some(Token::Eq))
    }

    pub(super) fn is_number(&self) -> bool {
        let sign = matches!(self.tokens.get(self.at).map(|t| &t.token), Some(Token::Minus | Token::Plus));
        matches!(self.tokens.get(self.at + usize::from(sign)).map(|t| &t.token), Some(Token::Number(..)))
    }

    pub(super) fn integer(&mut self) -> Result<i64, SyntaxError> {
        let start = self.at;
        let sign = if self.accept_token(&Token::Minus) { "-" } else { "" };
        if sign.is_empty() {
            self.accept_token(&Token::Plus);
        }
        let Some(Token::Number(digits, _)) = self.tokens.get(self.at).map(|t| &t.token) else {
            return Err(self.at);
        };
        self.at += 1;
        format!("{sign}{digits}").parse().map_err(|_| start)
    }
}
