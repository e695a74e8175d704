//! Statements that neither query nor change data or schema: their syntax (PostgreSQL 15 manual, part VI) and trees.

use sqlparser::ast;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::parse::{self, Source, Statement};
use crate::cluster::ClusterChange;
use crate::error::{Error, Result, SqlState};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// `ISOLATION LEVEL …`, `READ ONLY`, `DEFERRABLE`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransactionModes {
    pub isolation: Option<Isolation>,
    pub read_only: Option<bool>,
    pub deferrable: Option<bool>,
}

/// Where FETCH and MOVE go; counts may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchDirection {
    /// `NEXT`, `FORWARD n`, `n`
    Forward(i64),
    ForwardAll,
    Backward(i64),
    BackwardAll,
    Absolute(i64),
    Relative(i64),
}

#[derive(Debug, Clone)]
pub enum CopySource {
    Table { name: ast::ObjectName, columns: Vec<ast::Ident> },
    Query(Box<Statement>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyEnd {
    /// STDIN or STDOUT.
    Client,
    File(String),
    Program(String),
}

/// An option of COPY, EXPLAIN, VACUUM: lower-case name, and its value if one was written.
pub type Options = Vec<(String, Vec<String>)>;

#[derive(Debug, Clone)]
pub struct Copy {
    pub source: CopySource,
    /// FROM (into the table) or TO.
    pub from: bool,
    pub end: CopyEnd,
    pub options: Options,
    pub filter: Option<ast::Expr>,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one exists for a statement, and none is kept in numbers")]
pub enum Utility {
    Begin(TransactionModes),
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    PrepareTransaction(String),
    CommitPrepared(String),
    RollbackPrepared(String),
    SetTransaction(TransactionModes),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION
    SetCharacteristics(TransactionModes),
    SetConstraints {
        names: Option<Vec<ast::ObjectName>>,
        deferred: bool,
    },
    /// Lower-case name; `None`: DEFAULT. Values as written, without their quotes.
    Set {
        name: String,
        value: Option<Vec<String>>,
        local: bool,
    },
    /// `None`: ALL.
    Reset(Option<String>),
    /// `None`: ALL.
    Show(Option<String>),
    /// ALL, PLANS, SEQUENCES or TEMP, in upper case.
    Discard(String),
    Declare {
        name: String,
        binary: bool,
        scroll: Option<bool>,
        hold: bool,
        query: Box<Statement>,
    },
    Fetch {
        cursor: String,
        direction: FetchDirection,
        only_move: bool,
    },
    /// `None`: ALL.
    Close(Option<String>),
    Prepare {
        name: String,
        types: Vec<ast::DataType>,
        statement: Box<Statement>,
        text: String,
    },
    Execute {
        name: String,
        args: Vec<ast::Expr>,
    },
    /// `None`: ALL.
    Deallocate(Option<String>),
    Explain {
        options: Options,
        statement: Box<Statement>,
    },
    Copy(Copy),
    Vacuum {
        options: Options,
        tables: Vec<ast::ObjectName>,
    },
    Analyze {
        options: Options,
        tables: Vec<ast::ObjectName>,
    },
    Checkpoint,
    /// ALTER SYSTEM with a change of the cluster.
    AlterSystem(ClusterChange),
    Listen(String),
    /// `None`: `*`.
    Unlisten(Option<String>),
    Notify {
        channel: String,
        payload: Option<String>,
    },
    Lock {
        tables: Vec<ast::ObjectName>,
        mode: String,
        nowait: bool,
    },
    /// REINDEX and CLUSTER: the command's name and what follows it.
    Maintenance {
        command: String,
        tables: Vec<ast::ObjectName>,
    },
}

/// The utility statement that these tokens are, or `None` when they are for sqlparser.
pub(super) fn parse(source: &Source, tokens: &[TokenWithSpan]) -> Result<Option<Utility>> {
    let mut c = Cursor { source, tokens, at: 0 };
    let out = match c.first().as_deref() {
        Some("begin") => begin(&mut c)?,
        Some("start") if c.nth_is(1, "transaction") => begin(&mut c)?,
        Some("commit" | "end") => end(&mut c, true)?,
        Some("rollback" | "abort") => end(&mut c, false)?,
        Some("savepoint") => {
            c.at = 1;
            Utility::Savepoint(c.name()?)
        }
        Some("release") => {
            c.at = 1;
            c.accept("savepoint");
            Utility::Release(c.name()?)
        }
        Some("set") => set(&mut c)?,
        Some("reset") => {
            c.at = 1;
            Utility::Reset(setting_name(&mut c)?)
        }
        Some("show") => {
            c.at = 1;
            Utility::Show(setting_name(&mut c)?)
        }
        Some("discard") => {
            c.at = 1;
            let what = c.expect_one(&["all", "plans", "sequences", "temp", "temporary"])?;
            Utility::Discard(if what == "temporary" { "TEMP".into() } else { what.to_uppercase() })
        }
        Some("declare") => declare(&mut c)?,
        Some("fetch") => fetch(&mut c, false)?,
        Some("move") => fetch(&mut c, true)?,
        Some("close") => {
            c.at = 1;
            Utility::Close(c.name_or_all()?)
        }
        Some("prepare") => prepare(&mut c)?,
        Some("execute") => execute(&mut c)?,
        Some("deallocate") => {
            c.at = 1;
            c.accept("prepare");
            Utility::Deallocate(c.name_or_all()?)
        }
        Some("explain") => explain(&mut c)?,
        Some("copy") => copy(&mut c)?,
        Some("vacuum") => {
            let (options, tables) = maintenance(&mut c)?;
            Utility::Vacuum { options, tables }
        }
        Some("analyze" | "analyse") => {
            let (options, tables) = maintenance(&mut c)?;
            Utility::Analyze { options, tables }
        }
        Some("checkpoint") => {
            c.at = 1;
            Utility::Checkpoint
        }
        Some(command @ ("reindex" | "cluster")) => {
            let command = command.to_uppercase();
            c.at = 1;
            if c.is_token(&Token::LParen) {
                c.options()?;
            }
            c.accept_one(&["table", "index", "schema", "database", "system"]);
            c.accept("concurrently");
            c.accept("verbose");
            let tables = c.table_list()?;
            if c.accept("using") {
                c.name()?;
            }
            Utility::Maintenance { command, tables }
        }
        Some("listen") => {
            c.at = 1;
            Utility::Listen(c.name()?)
        }
        Some("unlisten") => {
            c.at = 1;
            Utility::Unlisten(if c.accept_token(&Token::Mul) { None } else { Some(c.name()?) })
        }
        Some("notify") => {
            c.at = 1;
            let channel = c.name()?;
            let payload = if c.accept_token(&Token::Comma) { Some(c.string()?) } else { None };
            Utility::Notify { channel, payload }
        }
        Some("lock") => lock(&mut c)?,
        Some("alter") if c.nth_is(1, "system") => match alter_system(&mut c)? {
            Some(change) => Utility::AlterSystem(change),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    c.finish()?;
    Ok(Some(out))
}

/// ALTER SYSTEM as far as it is about the cluster: ADD, REMOVE, PROMOTE, DEMOTE NODE. SET and RESET are not read here.
fn alter_system(c: &mut Cursor<'_>) -> Result<Option<ClusterChange>> {
    if c.nth_is(2, "force") && c.nth_is(3, "primary") && c.tokens.len() == 4 {
        let message = "ALTER SYSTEM FORCE PRIMARY is not supported on a node that runs";
        return Err(Error::new(SqlState::FeatureNotSupported, message)
            .hint("Stop this node, run lockstep force-primary with its --data-dir, and start it again."));
    }
    let node = c.nth_is(3, "node");
    let Some(verb) = c.tokens.get(2).and_then(unquoted).filter(|_| node) else { return Ok(None) };
    c.at = 4;
    Ok(Some(match verb.as_str() {
        "add" => {
            let peer_address = c.string()?;
            let learner = c.accept("as");
            if learner {
                c.expect("learner")?;
            }
            ClusterChange::AddNode { peer_address, learner }
        }
        "remove" => ClusterChange::RemoveNode { name: c.name_or_string()? },
        "promote" => ClusterChange::PromoteNode { name: c.name_or_string()? },
        "demote" => ClusterChange::DemoteNode { name: c.name_or_string()? },
        _ => return Ok(None),
    }))
}

struct Cursor<'a> {
    source: &'a Source,
    tokens: &'a [TokenWithSpan],
    at: usize,
}

fn unquoted(token: &TokenWithSpan) -> Option<String> {
    match &token.token {
        Token::Word(w) if w.quote_style.is_none() => Some(w.value.to_lowercase()),
        _ => None,
    }
}

impl<'a> Cursor<'a> {
    fn first(&self) -> Option<String> {
        self.tokens.first().and_then(unquoted)
    }

    fn nth_is(&self, ahead: usize, word: &str) -> bool {
        self.tokens.get(self.at + ahead).and_then(unquoted).as_deref() == Some(word)
    }

    fn peek(&self) -> Option<&'a TokenWithSpan> {
        self.tokens.get(self.at)
    }

    fn is_token(&self, token: &Token) -> bool {
        self.peek().is_some_and(|t| t.token == *token)
    }

    fn error(&self) -> Error {
        match self.peek() {
            Some(token) => self.source.syntax_error(token),
            None => self.source.end_of_input(),
        }
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.nth_is(0, word);
        self.at += usize::from(found);
        found
    }

    fn accept_one(&mut self, words: &[&str]) -> Option<String> {
        let word = unquoted(self.peek()?)?;
        if !words.contains(&word.as_str()) {
            return None;
        }
        self.at += 1;
        Some(word)
    }

    fn accept_token(&mut self, token: &Token) -> bool {
        let found = self.is_token(token);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        if self.accept(word) { Ok(()) } else { Err(self.error()) }
    }

    fn expect_one(&mut self, words: &[&str]) -> Result<String> {
        self.accept_one(words).ok_or_else(|| self.error())
    }

    fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.accept_token(token) { Ok(()) } else { Err(self.error()) }
    }

    fn identifier(&mut self) -> Result<ast::Ident> {
        match self.peek() {
            Some(TokenWithSpan { token: Token::Word(w), span }) => {
                self.at += 1;
                let mut ident = w.clone().into_ident(*span);
                if w.quote_style.is_none() {
                    ident.value = ident.value.to_lowercase();
                }
                Ok(ident)
            }
            _ => Err(self.error()),
        }
    }

    fn name(&mut self) -> Result<String> {
        Ok(self.identifier()?.value)
    }

    fn name_or_string(&mut self) -> Result<String> {
        self.string().or_else(|_| self.name())
    }

    fn name_or_all(&mut self) -> Result<Option<String>> {
        Ok(if self.accept("all") { None } else { Some(self.name()?) })
    }

    fn object_name(&mut self) -> Result<ast::ObjectName> {
        let mut parts = vec![ast::ObjectNamePart::Identifier(self.identifier()?)];
        while self.accept_token(&Token::Period) {
            parts.push(ast::ObjectNamePart::Identifier(self.identifier()?));
        }
        Ok(ast::ObjectName(parts))
    }

    fn identifier_list(&mut self) -> Result<Vec<ast::Ident>> {
        self.expect_token(&Token::LParen)?;
        let mut out = vec![self.identifier()?];
        while self.accept_token(&Token::Comma) {
            out.push(self.identifier()?);
        }
        self.expect_token(&Token::RParen)?;
        Ok(out)
    }

    fn table_list(&mut self) -> Result<Vec<ast::ObjectName>> {
        let mut out = Vec::new();
        while self.peek().is_some() {
            let only = self.accept("only");
            out.push(super::rewrite::only::join(self.object_name()?, only));
            self.accept_token(&Token::Mul);
            if self.is_token(&Token::LParen) {
                self.identifier_list()?;
            }
            if !self.accept_token(&Token::Comma) {
                break;
            }
        }
        Ok(out)
    }

    fn string(&mut self) -> Result<String> {
        match self.peek().map(|t| &t.token) {
            Some(Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s)) => {
                self.at += 1;
                Ok(s.clone())
            }
            Some(Token::DollarQuotedString(s)) => {
                self.at += 1;
                Ok(s.value.clone())
            }
            _ => Err(self.error()),
        }
    }

    fn integer(&mut self) -> Option<i64> {
        let negative = self.is_token(&Token::Minus);
        let token = self.tokens.get(self.at + usize::from(negative))?;
        let Token::Number(text, _) = &token.token else {
            return None;
        };
        let value: i64 = text.parse().ok()?;
        self.at += 1 + usize::from(negative);
        Some(if negative { -value } else { value })
    }

    /// A word, string or number as an option's value.
    fn value(&mut self) -> Result<String> {
        let sign = if self.accept_token(&Token::Minus) {
            "-"
        } else {
            self.accept_token(&Token::Plus);
            ""
        };
        match self.peek().map(|t| &t.token) {
            Some(Token::Number(n, _)) => {
                self.at += 1;
                Ok(format!("{sign}{n}"))
            }
            Some(Token::Word(w)) if sign.is_empty() => {
                self.at += 1;
                Ok(if w.quote_style.is_some() { w.value.clone() } else { w.value.to_ascii_lowercase() })
            }
            _ if sign.is_empty() => self.string(),
            _ => Err(self.error()),
        }
    }

    /// `(name [value], …)`
    fn options(&mut self) -> Result<Options> {
        self.expect_token(&Token::LParen)?;
        let mut out = Vec::new();
        loop {
            let name = self.name()?.to_lowercase();
            let mut values = Vec::new();
            if self.accept_token(&Token::LParen) {
                loop {
                    values.push(self.value()?);
                    if !self.accept_token(&Token::Comma) {
                        break;
                    }
                }
                self.expect_token(&Token::RParen)?;
            } else if self.accept_token(&Token::Mul) {
                values.push("*".into());
            } else if !self.is_token(&Token::Comma) && !self.is_token(&Token::RParen) {
                values.push(self.value()?);
            }
            out.push((name, values));
            if !self.accept_token(&Token::Comma) {
                break;
            }
        }
        self.expect_token(&Token::RParen)?;
        Ok(out)
    }

    fn rest(&mut self) -> Vec<TokenWithSpan> {
        let rest = self.tokens.get(self.at..).unwrap_or_default().to_vec();
        self.at = self.tokens.len();
        rest
    }

    /// The remaining tokens as a statement.
    fn statement(&mut self) -> Result<Box<Statement>> {
        let rest = self.rest();
        if rest.is_empty() {
            return Err(self.source.end_of_input());
        }
        Ok(Box::new(parse::parse_statement(self.source, rest)?))
    }

    /// Tokens up to the parenthesis that closes the one before the cursor; the cursor ends behind it.
    fn parenthesised(&mut self) -> Result<Vec<TokenWithSpan>> {
        let start = self.at;
        let mut depth = 1;
        while let Some(token) = self.peek() {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(self.tokens.get(start..self.at - 1).unwrap_or_default().to_vec());
            }
        }
        Err(self.error())
    }

    fn finish(&self) -> Result<()> {
        if self.at < self.tokens.len() { Err(self.error()) } else { Ok(()) }
    }
}

fn modes(c: &mut Cursor<'_>) -> Result<TransactionModes> {
    let mut out = TransactionModes::default();
    loop {
        if c.accept("isolation") {
            c.expect("level")?;
            out.isolation = Some(match c.expect_one(&["serializable", "repeatable", "read"])?.as_str() {
                "serializable" => Isolation::Serializable,
                "repeatable" => {
                    c.expect("read")?;
                    Isolation::RepeatableRead
                }
                _ => match c.expect_one(&["committed", "uncommitted"])?.as_str() {
                    "committed" => Isolation::ReadCommitted,
                    _ => Isolation::ReadUncommitted,
                },
            });
        } else if c.accept("read") {
            out.read_only = Some(c.expect_one(&["only", "write"])? == "only");
        } else if c.accept("not") {
            c.expect("deferrable")?;
            out.deferrable = Some(false);
        } else if c.accept("deferrable") {
            out.deferrable = Some(true);
        } else if c.peek().is_some() {
            return Err(c.error());
        } else {
            return Ok(out);
        }
        c.accept_token(&Token::Comma);
    }
}

fn begin(c: &mut Cursor<'_>) -> Result<Utility> {
    c.at = 1;
    c.accept_one(&["work", "transaction"]);
    Ok(Utility::Begin(modes(c)?))
}

fn chain(c: &mut Cursor<'_>) -> Result<bool> {
    if !c.accept("and") {
        return Ok(false);
    }
    let no = c.accept("no");
    c.expect("chain")?;
    Ok(!no)
}

fn end(c: &mut Cursor<'_>, commit: bool) -> Result<Utility> {
    c.at = 1;
    if c.accept("prepared") {
        let id = c.string()?;
        return Ok(if commit { Utility::CommitPrepared(id) } else { Utility::RollbackPrepared(id) });
    }
    c.accept_one(&["work", "transaction"]);
    if !commit && c.accept("to") {
        c.accept("savepoint");
        return Ok(Utility::RollbackTo(c.name()?));
    }
    let chain = chain(c)?;
    Ok(if commit { Utility::Commit { chain } } else { Utility::Rollback { chain } })
}

/// A setting's name as SHOW and RESET take it; `None` for ALL.
fn setting_name(c: &mut Cursor<'_>) -> Result<Option<String>> {
    if c.accept("all") {
        return Ok(None);
    }
    if c.accept("time") {
        c.expect("zone")?;
        return Ok(Some("timezone".into()));
    }
    if c.accept("transaction") {
        c.expect("isolation")?;
        c.expect("level")?;
        return Ok(Some("transaction_isolation".into()));
    }
    if c.nth_is(0, "session") && c.nth_is(1, "authorization") {
        c.at += 2;
        return Ok(Some("session_authorization".into()));
    }
    Ok(Some(dotted(c)?))
}

fn dotted(c: &mut Cursor<'_>) -> Result<String> {
    let mut name = c.name()?;
    while c.accept_token(&Token::Period) {
        name = format!("{name}.{}", c.name()?);
    }
    Ok(name.to_lowercase())
}

fn set(c: &mut Cursor<'_>) -> Result<Utility> {
    c.at = 1;
    if c.accept("constraints") {
        let names = if c.accept("all") {
            None
        } else {
            let mut names = vec![c.object_name()?];
            while c.accept_token(&Token::Comma) {
                names.push(c.object_name()?);
            }
            Some(names)
        };
        let deferred = c.expect_one(&["deferred", "immediate"])? == "deferred";
        return Ok(Utility::SetConstraints { names, deferred });
    }
    let local = c.accept("local");
    if !local && c.nth_is(0, "session") && !c.nth_is(1, "authorization") && !c.nth_is(1, "characteristics") {
        c.at += 1;
    }
    if c.nth_is(0, "session") && c.nth_is(1, "characteristics") {
        c.at += 2;
        c.expect("as")?;
        c.expect("transaction")?;
        return Ok(Utility::SetCharacteristics(modes(c)?));
    }
    if c.accept("transaction") {
        if c.nth_is(0, "snapshot") {
            return Err(Error::unsupported("SET TRANSACTION SNAPSHOT"));
        }
        return Ok(Utility::SetTransaction(modes(c)?));
    }
    let plain = |name: &str, value| Utility::Set { name: name.into(), value, local };
    if c.accept("time") {
        c.expect("zone")?;
        if c.accept("interval") {
            let text = c.string()?;
            let fields: Vec<String> = c.rest().iter().map(|t| t.token.to_string().to_lowercase()).collect();
            let fields = (!fields.is_empty()).then(|| fields.join(" "));
            let zone = crate::session::settings::value::time_zone_of_interval(&text, fields.as_deref())?;
            return Ok(plain("timezone", Some(vec![zone])));
        }
        let value = if c.accept_one(&["default", "local"]).is_some() { None } else { Some(vec![c.value()?]) };
        return Ok(plain("timezone", value));
    }
    if c.accept("names") {
        let value = if c.peek().is_none() || c.accept("default") { None } else { Some(vec![c.value()?]) };
        return Ok(plain("client_encoding", value));
    }
    if c.accept("schema") {
        return Ok(plain("search_path", Some(vec![c.string()?])));
    }
    if c.accept("role") {
        return Ok(plain("role", Some(vec![c.value()?])));
    }
    if c.accept("session") {
        c.expect("authorization")?;
        let value = if c.accept("default") { None } else { Some(vec![c.value()?]) };
        return Ok(plain("session_authorization", value));
    }
    let name = dotted(c)?;
    if !c.accept("to") {
        c.expect_token(&Token::Eq)?;
    }
    if c.accept("default") {
        return Ok(Utility::Set { name, value: None, local });
    }
    let mut values = vec![c.value()?];
    while c.accept_token(&Token::Comma) {
        values.push(c.value()?);
    }
    Ok(Utility::Set { name, value: Some(values), local })
}

fn declare(c: &mut Cursor<'_>) -> Result<Utility> {
    c.at = 1;
    let name = c.name()?;
    let (mut binary, mut scroll) = (false, None);
    while !c.accept("cursor") {
        match c.expect_one(&["binary", "asensitive", "insensitive", "no", "scroll"])?.as_str() {
            "binary" => binary = true,
            "scroll" => scroll = Some(true),
            "no" => {
                c.expect("scroll")?;
                scroll = Some(false);
            }
            _ => {}
        }
    }
    let mut hold = false;
    if let Some(word) = c.accept_one(&["with", "without"]) {
        c.expect("hold")?;
        hold = word == "with";
    }
    c.expect("for")?;
    let query = c.statement()?;
    Ok(Utility::Declare { name, binary, scroll, hold, query })
}

fn fetch(c: &mut Cursor<'_>, only_move: bool) -> Result<Utility> {
    c.at = 1;
    let count = |c: &mut Cursor<'_>| c.integer().ok_or_else(|| c.error());
    let direction = if let Some(n) = c.integer() {
        FetchDirection::Forward(n)
    } else if c.nth_is(1, "from") || c.nth_is(1, "in") || c.tokens.len() > c.at + 1 {
        let word =
            c.accept_one(&["next", "prior", "first", "last", "absolute", "relative", "all", "forward", "backward"]);
        match word.as_deref() {
            Some("next") | None => FetchDirection::Forward(1),
            Some("prior") => FetchDirection::Backward(1),
            Some("first") => FetchDirection::Absolute(1),
            Some("last") => FetchDirection::Absolute(-1),
            Some("absolute") => FetchDirection::Absolute(count(c)?),
            Some("relative") => FetchDirection::Relative(count(c)?),
            Some("all") => FetchDirection::ForwardAll,
            Some("forward") if c.accept("all") => FetchDirection::ForwardAll,
            Some("forward") => FetchDirection::Forward(c.integer().unwrap_or(1)),
            Some(_) if c.accept("all") => FetchDirection::BackwardAll,
            Some(_) => FetchDirection::Backward(c.integer().unwrap_or(1)),
        }
    } else {
        FetchDirection::Forward(1)
    };
    c.accept_one(&["from", "in"]);
    let cursor = c.name()?;
    Ok(Utility::Fetch { cursor, direction, only_move })
}

fn prepare(c: &mut Cursor<'_>) -> Result<Utility> {
    c.at = 1;
    if c.accept("transaction") {
        return Ok(Utility::PrepareTransaction(c.string()?));
    }
    let name = c.name()?;
    let mut types = Vec::new();
    if c.accept_token(&Token::LParen) {
        let tokens = c.parenthesised()?;
        types = parse::with_parser(c.source, tokens, |p| p.parse_comma_separated(|p| p.parse_data_type()))?;
    }
    c.expect("as")?;
    let text = match (c.peek(), c.tokens.last()) {
        (Some(a), Some(b)) => c.source.slice(sqlparser::tokenizer::Span::new(a.span.start, b.span.end)).to_string(),
        _ => String::new(),
    };
    let statement = c.statement()?;
    Ok(Utility::Prepare { name, types, statement, text })
}

fn execute(c: &mut Cursor<'_>) -> Result<Utility> {
    c.at = 1;
    let name = c.name()?;
    let mut args = Vec::new();
    if c.accept_token(&Token::LParen) {
        let tokens = c.parenthesised()?;
        args = parse::with_parser(c.source, tokens, |p| p.parse_comma_separated(|p| p.parse_expr()))?;
    }
    Ok(Utility::Execute { name, args })
}

fn explain(c: &mut Cursor<'_>) -> Result<Utility> {
    c.at = 1;
    let mut options = Vec::new();
    if c.is_token(&Token::LParen) && !c.nth_is(1, "select") && !c.nth_is(1, "with") && !c.nth_is(1, "values") {
        options = c.options()?;
    } else {
        while let Some(word) = c.accept_one(&["analyze", "analyse", "verbose"]) {
            options.push((word.replace("analyse", "analyze"), Vec::new()));
        }
    }
    Ok(Utility::Explain { options, statement: c.statement()? })
}

fn copy(c: &mut Cursor<'_>) -> Result<Utility> {
    c.at = 1;
    let mut options = Vec::new();
    if c.accept("binary") {
        options.push(("format".to_string(), vec!["binary".to_string()]));
    }
    let source = if c.accept_token(&Token::LParen) {
        let tokens = c.parenthesised()?;
        CopySource::Query(Box::new(parse::parse_statement(c.source, tokens)?))
    } else {
        let name = c.object_name()?;
        let columns = if c.is_token(&Token::LParen) { c.identifier_list()? } else { Vec::new() };
        CopySource::Table { name, columns }
    };
    let from = c.expect_one(&["from", "to"])? == "from";
    if from && matches!(source, CopySource::Query(_)) {
        c.at -= 1;
        return Err(c.error());
    }
    let end = if c.accept_one(&["stdin", "stdout"]).is_some() {
        CopyEnd::Client
    } else if c.accept("program") {
        CopyEnd::Program(c.string()?)
    } else {
        CopyEnd::File(c.string()?)
    };
    c.accept("with");
    if c.is_token(&Token::LParen) {
        options.extend(c.options()?);
    } else {
        old_copy_options(c, &mut options)?;
    }
    let mut filter = None;
    if from && c.accept("where") {
        let tokens = c.rest();
        filter = Some(parse::with_parser(c.source, tokens, |p| p.parse_expr())?);
    }
    Ok(Utility::Copy(Copy { source, from, end, options, filter }))
}

/// The syntax before PostgreSQL 9.0: `CSV HEADER DELIMITER AS ','`.
fn old_copy_options(c: &mut Cursor<'_>, options: &mut Options) -> Result<()> {
    let words =
        ["binary", "oids", "freeze", "csv", "header", "delimiter", "null", "quote", "escape", "force", "encoding"];
    while let Some(word) = c.accept_one(&words) {
        match word.as_str() {
            "binary" | "csv" => options.push(("format".into(), vec![word])),
            "freeze" | "header" => options.push((word, Vec::new())),
            "delimiter" | "null" | "quote" | "escape" => {
                c.accept("as");
                let value = c.string()?;
                options.push((word, vec![value]));
            }
            "encoding" => {
                let value = c.string()?;
                options.push((word, vec![value]));
            }
            "force" => {
                let not = c.accept("not");
                let what = if not { "null".to_string() } else { c.expect_one(&["quote", "null"])? };
                if not {
                    c.expect("null")?;
                }
                let mut columns = Vec::new();
                if c.accept_token(&Token::Mul) {
                    columns.push("*".to_string());
                } else {
                    columns.push(c.name()?);
                    while c.accept_token(&Token::Comma) {
                        columns.push(c.name()?);
                    }
                }
                let name = if not { "force_not_null".to_string() } else { format!("force_{what}") };
                options.push((name, columns));
            }
            _ => return Err(Error::unsupported("COPY with OIDS")),
        }
    }
    Ok(())
}

fn maintenance(c: &mut Cursor<'_>) -> Result<(Options, Vec<ast::ObjectName>)> {
    c.at = 1;
    let mut options = Vec::new();
    if c.is_token(&Token::LParen) {
        options = c.options()?;
    } else {
        while let Some(word) = c.accept_one(&["full", "freeze", "verbose", "analyze", "analyse"]) {
            options.push((word.replace("analyse", "analyze"), Vec::new()));
        }
    }
    Ok((options, c.table_list()?))
}

fn lock(c: &mut Cursor<'_>) -> Result<Utility> {
    c.at = 1;
    c.accept("table");
    let tables = c.table_list()?;
    let mut mode = Vec::new();
    if c.accept("in") {
        while !c.accept("mode") {
            mode.push(c.expect_one(&["access", "row", "share", "update", "exclusive"])?);
        }
    }
    let mode = if mode.is_empty() { "ACCESS EXCLUSIVE".to_string() } else { mode.join(" ").to_uppercase() };
    let nowait = c.accept("nowait");
    Ok(Utility::Lock { tables, mode, nowait })
}
