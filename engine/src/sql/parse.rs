//! From text to syntax trees, once. sqlparser reads queries, DML and DDL; statements that it reads differently from
//! PostgreSQL (transactions, settings, cursors, COPY, EXPLAIN, maintenance) have a small parser of their own in
//! [`super::utility`].
//!
//! Invariants:
//! 1. No text can end the process: length and nesting are bounded (54001), every error is 42601 with a position.
//! 2. Positions are characters of the whole text from 1, as PostgreSQL counts them.

use std::sync::Arc;

use sqlparser::ast;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::dialect::PostgreSql15;
use super::utility::{self, Utility};
use crate::error::{Error, Result, SqlState};

/// Longest statement text, in bytes.
const MAX_TEXT: usize = 256 << 20;
/// Deepest nesting of expressions and queries.
const MAX_DEPTH: usize = 300;

/// The text that positions refer to.
#[derive(Debug, Clone)]
pub struct Source {
    text: Arc<str>,
    places: Arc<Places>,
}

/// Where things stand in a text, so that looking one up does not read all before it.
#[derive(Debug)]
struct Places {
    /// Character and byte offset of the start of each line.
    lines: Vec<(u32, usize)>,
    /// Byte offset of every [`MARK`]th character.
    marks: Vec<usize>,
}

const MARK: usize = 128;

impl Source {
    pub fn new(text: &str) -> Source {
        let (mut lines, mut marks) = (vec![(0, 0)], vec![0]);
        for (number, (byte, c)) in text.char_indices().enumerate() {
            if number % MARK == 0 && number > 0 {
                marks.push(byte);
            }
            if c == '\n' {
                lines.push((number as u32 + 1, byte + 1));
            }
        }
        Source { text: text.into(), places: Arc::new(Places { lines, marks }) }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Position of a place in characters from 1; `None` for a tree node without one.
    pub fn position(&self, at: Location) -> Option<u32> {
        let (start, _) = self.places.lines.get((at.line as usize).checked_sub(1)?)?;
        Some(start + at.column as u32)
    }

    pub(super) fn byte(&self, at: Location) -> Option<usize> {
        let character = self.position(at)?.saturating_sub(1) as usize;
        let Some(start) = self.places.marks.get(character / MARK) else { return Some(self.text.len()) };
        let rest = self.text.get(*start..)?;
        Some(start + rest.char_indices().nth(character % MARK).map_or(rest.len(), |(i, _)| i))
    }

    /// The text that a span covers.
    pub fn slice(&self, span: Span) -> &str {
        match (self.byte(span.start), self.byte(span.end)) {
            (Some(a), Some(b)) => self.text.get(a..b).unwrap_or(""),
            _ => "",
        }
    }

    /// The parenthesis that opens before a span.
    pub fn open_parenthesis(&self, span: Span) -> Span {
        let found = self.byte(span.start).and_then(|b| self.text.get(..b)).and_then(|t| t.rfind('('));
        found.and_then(|at| self.location(at)).map_or(span, |at| Span::new(at, at))
    }

    pub(super) fn location(&self, byte: usize) -> Option<Location> {
        let marks = self.places.marks.partition_point(|mark| *mark <= byte);
        let start = *self.places.marks.get(marks.checked_sub(1)?)?;
        let character = (marks - 1) * MARK + self.text.get(start..byte)?.chars().count();
        let lines = self.places.lines.partition_point(|(_, start)| *start <= byte);
        let (start, _) = self.places.lines.get(lines.checked_sub(1)?)?;
        Some(Location::new(lines as u64, (character - *start as usize) as u64 + 1))
    }

    /// The place of an infix operator: the first token between two spans, or the operator itself where more stands there (a
    /// cast's type is no part of its span).
    pub fn between(&self, left: Span, right: Span, operator: &str) -> Option<Span> {
        let (start, end) = (self.byte(left.end)?, self.byte(right.start)?);
        let gap = self.text.get(start..end)?;
        if let (true, Some(found)) = (gap.trim_start().starts_with("::"), gap.rfind(operator)) {
            let at = self.location(start + found)?;
            return Some(Span::new(at, at));
        }
        let skipped = gap.len() - gap.trim_start_matches(|c: char| c.is_whitespace() || c == ')').len();
        let at = self.location(start + skipped)?;
        Some(Span::new(at, at))
    }

    /// Where a keyword stands that comes right before a span.
    pub fn before(&self, span: Span, word: &str) -> Option<Location> {
        let before = self.text.get(..self.byte(span.start)?)?.trim_end();
        let at = before.len().checked_sub(word.len())?;
        before.get(at..).filter(|found| found.eq_ignore_ascii_case(word))?;
        self.location(at)
    }

    /// `error` with the position of `span`, if it has one.
    pub fn locate(&self, error: Error, span: Span) -> Error {
        match self.position(span.start) {
            Some(position) => error.at(position),
            None => error,
        }
    }

    pub(super) fn syntax_error(&self, token: &TokenWithSpan) -> Error {
        if token.token == Token::EOF {
            return self.end_of_input();
        }
        let near = self.slice(token.span);
        self.locate(Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{near}\"")), token.span)
    }

    pub(super) fn end_of_input(&self) -> Error {
        Error::new(SqlState::SyntaxError, END_OF_INPUT).at(self.text.chars().count() as u32 + 1)
    }
}

/// One statement of a text.
#[derive(Debug, Clone)]
pub struct Parsed {
    pub statement: Statement,
    /// The whole text, for positions.
    pub source: Source,
    /// This statement's own text.
    pub text: Arc<str>,
    /// Highest `$n` in the statement.
    pub parameters: usize,
}

#[derive(Debug, Clone)]
pub enum Statement {
    /// Queries, DML, DDL.
    Sql(Box<ast::Statement>),
    Utility(Box<Utility>),
    /// DDL that sqlparser has no tree for.
    Ddl(Box<crate::ddl::Extra>),
}

const END_OF_INPUT: &str = "syntax error at end of input";

/// Splits `sql` into statements and parses each; empty statements are left out.
pub fn parse(sql: &str) -> Result<Vec<Parsed>> {
    if sql.len() > MAX_TEXT {
        return Err(Error::new(SqlState::ProgramLimitExceeded, "statement text is too long"));
    }
    let source = Source::new(sql);
    let tokens = tokenize(&source)?;
    split(tokens)
        .into_iter()
        .filter(|(tokens, _)| !tokens.is_empty())
        .map(|(tokens, end)| {
            let text = statement_text(&source, &tokens).into();
            let parameters = tokens.iter().filter_map(parameter_number).max().unwrap_or(0);
            let statement = parse_statement(&source, tokens).map_err(|e| ends_early(&source, e, end.as_ref()))?;
            // Those of PREPARE belong to the statement inside.
            let inner = match &statement {
                Statement::Utility(it) => matches!(**it, Utility::Prepare { .. }),
                Statement::Ddl(it) => matches!(**it, crate::ddl::Extra::CreateRoutine(_)),
                Statement::Sql(_) => false,
            };
            let parameters = if inner { 0 } else { parameters };
            Ok(Parsed { statement, source: source.clone(), text, parameters })
        })
        .collect()
}

/// Parses one expression, as stored for DEFAULT and CHECK.
pub fn parse_expression(sql: &str) -> Result<(ast::Expr, Source)> {
    let source = Source::new(sql);
    let tokens = tokenize(&source)?;
    let expr = with_parser(&source, super::rewrite::rewrite(tokens), |p| p.parse_expr())?;
    Ok((expr, source))
}

/// Parses one query, as stored for a view.
pub fn parse_query(sql: &str) -> Result<(Box<ast::Query>, Source)> {
    let source = Source::new(sql);
    let tokens = tokenize(&source)?;
    let query = with_parser(&source, super::rewrite::rewrite(tokens), |p| p.parse_query())?;
    Ok((query, source))
}

/// A query of ours as a part of a statement: errors in it are errors at `span`.
pub(super) fn parse_query_at(sql: &str, span: Span) -> Result<Box<ast::Query>> {
    let source = Source::new(sql);
    let tokens = tokenize(&source)?.into_iter().map(|token| TokenWithSpan::new(token.token, span)).collect();
    with_parser(&source, super::rewrite::rewrite(tokens), |p| p.parse_query())
}

fn parameter_number(token: &TokenWithSpan) -> Option<usize> {
    match &token.token {
        Token::Placeholder(p) => p.strip_prefix('$')?.parse().ok(),
        _ => None,
    }
}

fn statement_text<'a>(source: &'a Source, tokens: &[TokenWithSpan]) -> &'a str {
    match (tokens.first(), tokens.last()) {
        (Some(a), Some(b)) => source.slice(Span::new(a.span.start, b.span.end)),
        _ => "",
    }
}

/// Tokens without whitespace and comments.
fn tokenize(source: &Source) -> Result<Vec<TokenWithSpan>> {
    let dialect = PostgreSql15::new(0);
    let mut tokens = Vec::new();
    let plain = super::quoted::plain(source)?;
    Tokenizer::new(&dialect, &plain.text).tokenize_with_location_into_buf(&mut tokens).map_err(|e| {
        let near = source.byte(e.location).and_then(|b| source.text().get(b..)).unwrap_or("");
        let message = match e.message.as_str() {
            m if m.contains("nterminated") && m.contains("string") && !m.contains("dollar") => {
                format!("unterminated quoted string at or near \"{near}\"")
            }
            m if m.contains("comment") => format!("unterminated /* comment at or near \"{near}\""),
            m if m.contains("dollar-quoted") || m.contains("dollar quoted") => {
                format!("unterminated dollar-quoted string at or near \"{near}\"")
            }
            m if m.contains("close delimiter") => format!("unterminated quoted identifier at or near \"{near}\""),
            _ => format!("syntax error at or near \"{near}\""),
        };
        source.locate(Error::new(SqlState::SyntaxError, message), Span::new(e.location, e.location))
    })?;
    tokens.retain(|t| !matches!(t.token, Token::Whitespace(_)));
    plain.restore(source, &mut tokens)?;
    super::operators::join(source, &mut tokens);
    Ok(tokens)
}

/// A statement that lacks something ends at its semicolon, where it has one.
fn ends_early(source: &Source, error: Error, end: Option<&TokenWithSpan>) -> Error {
    match end {
        Some(end) if error.message() == END_OF_INPUT => source.syntax_error(end),
        _ => error,
    }
}

/// The tokens of each statement, and the semicolon behind them.
fn split(tokens: Vec<TokenWithSpan>) -> Vec<(Vec<TokenWithSpan>, Option<TokenWithSpan>)> {
    let mut out: Vec<(Vec<TokenWithSpan>, Option<TokenWithSpan>)> = vec![Default::default()];
    let mut depth = 0usize;
    // Inside BEGIN ATOMIC … END of a function: how many of its parts are open.
    let mut atomic = 0usize;
    for token in tokens {
        if let Token::Word(w) = &token.token
            && w.quote_style.is_none()
        {
            let is = |text: &str| w.value.eq_ignore_ascii_case(text);
            let last = out.last().and_then(|s| s.0.last()).map(|t| &t.token);
            let after_begin = matches!(last, Some(Token::Word(w)) if w.value.eq_ignore_ascii_case("begin"));
            let first = out.last().and_then(|s| s.0.first()).map(|t| &t.token);
            let create = matches!(first, Some(Token::Word(w)) if w.value.eq_ignore_ascii_case("create"));
            match atomic {
                0 if is("atomic") && after_begin && create => atomic = 1,
                0 => {}
                _ if is("case") => atomic += 1,
                _ if is("end") => atomic -= 1,
                _ => {}
            }
        }
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::SemiColon if depth == 0 && atomic == 0 => {
                if let Some(last) = out.last_mut() {
                    last.1 = Some(token);
                }
                out.push(Default::default());
                continue;
            }
            Token::EOF => continue,
            _ => {}
        }
        if let Some(last) = out.last_mut() {
            last.0.push(token);
        }
    }
    out
}

/// Parses the tokens of one statement.
pub(super) fn parse_statement(source: &Source, tokens: Vec<TokenWithSpan>) -> Result<Statement> {
    check_depth(source, &tokens)?;
    if let Some(several) = super::several::split(&tokens) {
        return several.parse(source, tokens);
    }
    parse_one(source, tokens)
}

/// Parses a statement as it is.
pub(super) fn parse_one(source: &Source, tokens: Vec<TokenWithSpan>) -> Result<Statement> {
    if let Some(utility) = utility::parse(source, &tokens)? {
        return Ok(Statement::Utility(Box::new(utility)));
    }
    match crate::ddl::syntax::parse(&tokens) {
        Ok(Some(ddl)) => return Ok(Statement::Ddl(Box::new(ddl))),
        Ok(None) => {}
        Err(at) => return Err(tokens.get(at).map_or_else(|| source.end_of_input(), |t| source.syntax_error(t))),
    }
    if let Some(what) = super::rewrite::unsupported(&tokens) {
        return Err(Error::unsupported(what));
    }
    let tokens = super::rewrite::rewrite(tokens);
    let statement = with_parser(source, tokens, |p| p.parse_statement())?;
    Ok(Statement::Sql(Box::new(select_into(statement))))
}

/// SELECT … INTO t as CREATE TABLE t AS SELECT …, which means the same.
fn select_into(statement: ast::Statement) -> ast::Statement {
    fn first_select(body: &mut ast::SetExpr) -> Option<&mut ast::Select> {
        match body {
            ast::SetExpr::Select(select) => Some(select),
            ast::SetExpr::SetOperation { left, .. } => first_select(left),
            _ => None,
        }
    }
    let ast::Statement::Query(mut query) = statement else { return statement };
    let Some(into) = first_select(&mut query.body).and_then(|select| select.into.take()) else {
        return ast::Statement::Query(query);
    };
    let builder = ast::helpers::stmt_create_table::CreateTableBuilder::new(into.name);
    builder.temporary(into.temporary).transient(into.unlogged).query(Some(query)).build().into()
}

/// Runs one of sqlparser's productions over all of `tokens`.
pub(super) fn with_parser<T: ast::VisitMut>(
    source: &Source,
    tokens: Vec<TokenWithSpan>,
    production: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Result<T> {
    let dialect = PostgreSql15::new(tokens.len());
    let concerned = super::precedence::concerns(&tokens);
    let starred = super::stars::concerns(&tokens);
    let long = tokens.len() >= super::chain::TOKENS_MIN;
    let mut parser = Parser::new(&dialect).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens);
    let mut out = production(&mut parser).map_err(|e| parser_error(source, &parser, e))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(source.syntax_error(&next));
    }
    if concerned {
        super::precedence::mend(&mut out);
    }
    if starred {
        super::stars::mend(&mut out);
    }
    if long && !super::chain::balance(&mut out) {
        return Err(too_deep());
    }
    Ok(out)
}

fn parser_error(source: &Source, parser: &Parser<'_>, error: ParserError) -> Error {
    let message = match error {
        ParserError::RecursionLimitExceeded => return too_deep(),
        ParserError::ParserError(m) | ParserError::TokenizerError(m) => m,
    };
    if message.contains("found: EOF") {
        return source.end_of_input();
    }
    if let Some(at) = location_in(&message) {
        let near = token_at(source, at);
        return source.locate(
            Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{near}\"")),
            Span::new(at, at),
        );
    }
    source.syntax_error(&parser.peek_token())
}

/// The word at a place whose token is not at hand.
fn token_at(source: &Source, at: Location) -> String {
    let rest = source.byte(at).and_then(|b| source.text().get(b..)).unwrap_or("");
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == '.';
    match rest.chars().next() {
        Some(c) if word(c) => rest.chars().take_while(|c| word(*c)).collect(),
        Some('\'') => {
            let end = rest.get(1..).and_then(|r| r.find('\'')).map_or(rest.len(), |i| i + 2);
            rest.get(..end).unwrap_or(rest).to_string()
        }
        Some(c) => c.to_string(),
        None => String::new(),
    }
}

fn location_in(message: &str) -> Option<Location> {
    let at = message.rfind(" at Line: ")?;
    let rest = message.get(at + " at Line: ".len()..)?;
    let (line, column) = rest.split_once(", Column: ")?;
    Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?))
}

fn too_deep() -> Error {
    Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
        .hint("Simplify the statement: it nests expressions or queries too deeply.")
}

/// Parentheses nest at most so deep that the recursive parser and all later passes stay within their stacks.
fn check_depth(source: &Source, tokens: &[TokenWithSpan]) -> Result<()> {
    let mut depth = 0usize;
    for token in tokens {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => {
                depth = depth.checked_sub(1).ok_or_else(|| source.syntax_error(token))?
            }
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::utility::{FetchDirection, Isolation};
    use super::*;

    fn utility(sql: &str) -> Utility {
        match parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}")).remove(0).statement {
            Statement::Utility(utility) => *utility,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn places_and_bytes_are_the_same_both_ways() {
        let text: String = (0..400).map(|i| ["a", "é", "\n", "日本", "x y"][i * i % 5]).collect();
        let source = Source::new(&text);
        let (mut line, mut column) = (1, 1);
        for (position, (byte, c)) in text.char_indices().enumerate() {
            let at = Location::new(line, column);
            assert_eq!(source.location(byte), Some(at));
            assert_eq!((source.byte(at), source.position(at)), (Some(byte), Some(position as u32 + 1)));
            (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        assert_eq!(source.byte(Location::new(line, column)), Some(text.len()));
        assert_eq!(source.byte(Location::new(line + 1, 1)), None);
    }

    #[test]
    fn texts_are_split_where_postgresql_splits_them() {
        let count = |sql| parse(sql).unwrap().len();
        assert_eq!(count(""), 0);
        assert_eq!(count(" ; ;; -- nothing"), 0);
        assert_eq!(count("select 1; select ';' ; select $$;$$"), 3);
        let second = parse("select 1;\n select $2, 'ä' ; ").unwrap().remove(1);
        assert_eq!((&*second.text, second.parameters), ("select $2, 'ä'", 2));
    }

    #[test]
    fn syntax_errors_name_the_token_and_its_place() {
        for (sql, message, position) in [
            ("selec 1", "syntax error at or near \"selec\"", 1),
            ("select 1 frm t where", "syntax error at or near \"t\"", 14),
            ("select 'ä' )", "syntax error at or near \")\"", 12),
            ("select 'abc", "unterminated quoted string at or near \"'abc\"", 8),
            ("select (1", "syntax error at end of input", 10),
            ("select 1)", "syntax error at or near \")\"", 9),
        ] {
            let e = parse(sql).unwrap_err();
            assert_eq!((e.state().code(), e.message()), ("42601", message), "{sql}");
            assert_eq!(e.report().position, Some(position), "{sql}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        for sql in [
            format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
            format!("select {}1", "- ".repeat(100_000)),
            format!("select {} 1", "not ".repeat(100_000)),
            format!("select {}1{}", "(select ".repeat(5_000), ")".repeat(5_000)),
            format!("select {}1", "case when ".repeat(20_000)),
        ] {
            let code = parse(&sql).unwrap_err().state().code();
            assert!(code == "54001" || code == "42601", "{code}");
        }
    }

    #[test]
    fn utility_statements() {
        let begin = utility("begin isolation level repeatable read, read only not deferrable");
        let Utility::Begin(modes) = begin else { panic!() };
        assert_eq!(modes.isolation, Some(Isolation::RepeatableRead));
        assert_eq!((modes.read_only, modes.deferrable), (Some(true), Some(false)));
        assert!(matches!(utility("rollback to savepoint a"), Utility::RollbackTo(n) if n == "a"));
        assert!(matches!(utility("commit and chain"), Utility::Commit { chain: true }));
        assert!(
            matches!(utility("show transaction isolation level"), Utility::Show(Some(n)) if n == "transaction_isolation")
        );
        assert!(matches!(utility("discard all"), Utility::Discard(n) if n == "ALL"));
        assert!(matches!(utility("close all"), Utility::Close(None)));
        let fetch = |sql| match utility(sql) {
            Utility::Fetch { cursor, direction, .. } => (cursor, direction),
            other => panic!("{other:?}"),
        };
        assert_eq!(fetch("fetch c"), ("c".into(), FetchDirection::Forward(1)));
        assert_eq!(fetch("fetch forward 100 from _psql_cursor"), ("_psql_cursor".into(), FetchDirection::Forward(100)));
        assert_eq!(fetch("fetch all in c"), ("c".into(), FetchDirection::ForwardAll));
        assert_eq!(fetch("fetch backward all c"), ("c".into(), FetchDirection::BackwardAll));
        assert!(matches!(
            utility("declare c no scroll cursor with hold for select 1"),
            Utility::Declare { hold: true, scroll: Some(false), .. }
        ));
        let set = |sql| match utility(sql) {
            Utility::Set { name, value, local } => (name, value, local),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            set("set local search_path to a, \"B\""),
            ("search_path".into(), Some(vec!["a".into(), "B".into()]), true)
        );
        assert_eq!(set("SET TIME ZONE 'UTC'"), ("timezone".into(), Some(vec!["UTC".into()]), false));
        assert_eq!(set("set x.y = default"), ("x.y".into(), None, false));
        let Utility::Copy(copy) = utility("copy t (a, b) from stdin with (format csv, header, null '')") else {
            panic!()
        };
        assert!(copy.from && copy.options.len() == 3);
        let Utility::Copy(copy) = utility("copy pgbench_accounts from stdin with (freeze on)") else { panic!() };
        assert_eq!(copy.options, [("freeze".to_string(), vec!["on".to_string()])]);
        assert!(matches!(utility("copy (select 1) to stdout csv header"), Utility::Copy(c) if !c.from));
        assert!(
            matches!(utility("vacuum analyze pgbench_branches"), Utility::Vacuum { tables, .. } if tables.len() == 1)
        );
        assert!(
            matches!(utility("explain (analyze, costs off) select 1"), Utility::Explain { options, .. } if options.len() == 2)
        );
        assert!(matches!(utility("explain (select 1)"), Utility::Explain { options, .. } if options.is_empty()));
        assert!(
            matches!(utility("prepare p (int, text) as select $1, $2"), Utility::Prepare { types, .. } if types.len() == 2)
        );
        assert!(matches!(utility("execute p (1, 'a')"), Utility::Execute { args, .. } if args.len() == 2));
        assert!(matches!(utility("lock table t in share row exclusive mode nowait"),
            Utility::Lock { mode, nowait: true, .. } if mode == "SHARE ROW EXCLUSIVE"));
    }

    #[test]
    fn what_clients_send_is_read() {
        for sql in [
            "select a operator(pg_catalog.~) '^(t)$' collate pg_catalog.default from t",
            "alter table t add primary key (id)",
            "create table t (a int) with (fillfactor=100)",
            "select 1 from t for no key update of t nowait",
            "select 1 from t for key share skip locked",
            "select pg_catalog.array_to_string(a, E'\\n')",
            "comment on table t is $x_y$text$x_y$",
            "truncate table a, b, c",
            "insert into t values (default, 1) on conflict (id) do update set a = excluded.a returning *",
            "select (array[1,2])[1], x::numeric(10,2)[], interval '1' day",
        ] {
            parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
        assert_eq!(parse("do $$ begin end $$").unwrap_err().state().code(), "0A000");
    }
}
