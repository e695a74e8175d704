//! DDL that sqlparser 0.62 has no tree for, or reads in one fixed order of options: sequences, roles, renaming and
//! moving of relations that are not tables.
//!
//! [`parse`] looks at the tokens of one statement and leaves alone what is sqlparser's.

pub mod access;
pub mod collation;
mod column;
mod cursor;
pub mod databases;
pub mod policy;
mod role;
mod sequence;
pub mod statistics;
mod strategy;
pub mod user_type;

use sqlparser::ast::{CommentObject, Ident, ObjectName};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::absent::{self, DropAbsent};
use super::aggregate_syntax::{self, CreateAggregate};
use super::routine_syntax::{self, CreateRoutine, RoutineChange, RoutineKind, RoutineName};
pub use column::ColumnChange;
pub(super) use cursor::Cursor;
pub use role::RoleOptions;
pub use sequence::SequenceOptions;
pub use strategy::StrategyDefinition;

/// A statement of DDL outside sqlparser's trees.
#[derive(Debug, Clone)]
pub enum Extra {
    CreateSequence {
        name: ObjectName,
        temporary: bool,
        if_not_exists: bool,
        options: SequenceOptions,
    },
    AlterSequence {
        name: ObjectName,
        if_exists: bool,
        options: SequenceOptions,
    },
    AlterRelation {
        kind: RelationKind,
        name: ObjectName,
        if_exists: bool,
        change: RelationChange,
    },
    CreateRole {
        name: Ident,
        options: RoleOptions,
    },
    AlterRole {
        name: Ident,
        options: RoleOptions,
    },
    RenameRole {
        name: Ident,
        to: Ident,
    },
    /// ALTER COLUMN in forms that sqlparser lacks.
    AlterColumn {
        table: ObjectName,
        if_exists: bool,
        only: bool,
        column: Ident,
        change: ColumnChange,
    },
    /// ALTER TABLE INHERIT and NO INHERIT.
    Inherit {
        table: ObjectName,
        if_exists: bool,
        parent: ObjectName,
        inherit: bool,
    },
    /// `None`: as it was.
    AlterConstraint {
        table: ObjectName,
        if_exists: bool,
        name: Ident,
        deferrable: Option<bool>,
        deferred: Option<bool>,
    },
    /// ALTER TABLE SET LOGGED or UNLOGGED.
    SetPersistence {
        table: ObjectName,
        if_exists: bool,
        unlogged: bool,
    },
    /// ALTER TABLE RESET of storage parameters.
    ResetOptions {
        table: ObjectName,
        if_exists: bool,
        options: Vec<String>,
    },
    /// ALTER VIEW SET or RESET of options.
    AlterViewOptions {
        view: ObjectName,
        if_exists: bool,
        set: Vec<(String, String)>,
        reset: Vec<String>,
    },
    CreateRoutine(Box<CreateRoutine>),
    CreateAggregate(Box<CreateAggregate>),
    DropAbsent(Box<DropAbsent>),
    DropRoutines {
        kind: RoutineKind,
        names: Vec<RoutineName>,
        if_exists: bool,
        cascade: bool,
    },
    AlterRoutine {
        kind: RoutineKind,
        name: RoutineName,
        change: RoutineChange,
    },
    CommentOnRoutine {
        kind: RoutineKind,
        name: RoutineName,
        comment: Option<String>,
    },
    /// REFRESH MATERIALIZED VIEW.
    Refresh {
        name: ObjectName,
        concurrently: bool,
        with_data: bool,
    },
    /// One statement as several: actions of ALTER TABLE, elements of CREATE SCHEMA.
    Several {
        tag: &'static str,
        statements: Vec<crate::sql::Statement>,
    },
    Comment {
        object: CommentObject,
        name: ObjectName,
        comment: Option<String>,
    },
    CommentOnConstraint {
        constraint: Ident,
        table: ObjectName,
        comment: Option<String>,
    },
    CreateStrategy {
        name: Ident,
        if_not_exists: bool,
        definition: StrategyDefinition,
    },
    /// CREATE ACCESS METHOD … TYPE TABLE, as pg_dump writes a strategy.
    CreateAccessMethod {
        name: Ident,
    },
    AlterStrategy {
        name: Ident,
        definition: StrategyDefinition,
    },
    RenameStrategy {
        name: Ident,
        to: Ident,
    },
    DropStrategy {
        /// REPLICATION STRATEGY or ACCESS METHOD.
        kind: &'static str,
        names: Vec<Ident>,
        if_exists: bool,
        cascade: bool,
    },
    /// CREATE TABLE name USING strategy, without columns.
    UseStrategy {
        table: ObjectName,
        if_not_exists: bool,
        strategy: Ident,
    },
    /// `None`: DEFAULT.
    SetStrategy {
        table: ObjectName,
        if_exists: bool,
        strategy: Option<Ident>,
    },
    AlterIndex {
        name: ObjectName,
        if_exists: bool,
        change: IndexChange,
    },
    /// ALTER TABLE and ALTER MATERIALIZED VIEW SET TABLESPACE.
    SetTablespace {
        table: ObjectName,
        if_exists: bool,
        tablespace: Ident,
    },
    DropIndexConcurrently {
        name: ObjectName,
        if_exists: bool,
        cascade: bool,
    },
    Type(Box<user_type::TypeStatement>),
    Policy(Box<policy::PolicyStatement>),
    Statistics(Box<statistics::StatisticsStatement>),
    RowSecurity {
        table: ObjectName,
        if_exists: bool,
        change: policy::RowSecurityChange,
    },
    Database(Box<databases::DatabaseStatement>),
    Collation(Box<collation::CollationStatement>),
    /// Roles and privileges.
    Access(Box<access::AccessStatement>),
    /// PostgreSQL has it, Lockstep does not; reads like "CREATE UNLOGGED TABLE".
    Unsupported(&'static str),
}

impl Extra {
    /// The command, if it may not run inside a transaction block.
    pub fn outside_blocks(&self) -> Option<&'static str> {
        match self {
            Extra::DropIndexConcurrently { .. } => Some("DROP INDEX CONCURRENTLY"),
            _ => None,
        }
    }
}

/// What ALTER INDEX changes besides the name.
#[derive(Debug, Clone)]
pub enum IndexChange {
    SetOptions(Vec<(String, String)>),
    ResetOptions(Vec<String>),
    SetTablespace(Ident),
    /// ALTER COLUMN number SET STATISTICS.
    Statistics {
        column: i64,
        target: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    Table,
    View,
    MaterializedView,
    Sequence,
    Index,
}

#[derive(Debug, Clone)]
pub enum RelationChange {
    Rename(Ident),
    SetSchema(Ident),
    Owner(Ident),
    RenameColumn(Ident, Ident),
}

/// A token at which the statement cannot go on; its index.
pub type SyntaxError = usize;

/// The statement, if it is one of these.
pub fn parse(tokens: &[TokenWithSpan]) -> Result<Option<Extra>, SyntaxError> {
    let mut c = Cursor { tokens, at: 0 };
    let extra = match c.next_word().as_deref() {
        Some("create") => create(&mut c)?,
        Some("alter") => alter(&mut c)?,
        Some("refresh") if c.accept("materialized") => Some(refresh(&mut c)?),
        Some("drop") if c.accept("type") => user_type::drop(&mut c, false)?,
        Some("drop") if c.accept("extension") => user_type::drop_extension(&mut c)?,
        Some("drop") if c.accept("domain") => user_type::drop(&mut c, true)?,
        Some("drop") if c.accept("collation") => collation::drop(&mut c)?,
        Some("drop") if c.accept("policy") => Some(policy::drop(&mut c)?),
        Some("drop") if c.accept("statistics") => Some(statistics::drop(&mut c)?),
        Some("drop") if c.accept("database") => databases::drop(&mut c)?,
        Some("drop") => match access::drop(&mut c)? {
            None => match absent::parse(&mut c)? {
                None => strategy::drop(&mut c)?,
                found => found,
            },
            found => found,
        },
        Some("grant") => access::grant(&mut c, true)?,
        Some("revoke") => access::grant(&mut c, false)?,
        Some("reassign") => access::reassign(&mut c)?,
        Some("comment") if c.accept("on") => comment(&mut c)?,
        _ => None,
    };
    match extra {
        Some(Extra::Unsupported(_)) | None => Ok(extra),
        Some(_) if c.at < tokens.len() => Err(c.at),
        Some(_) => Ok(extra),
    }
}

/// COMMENT ON the objects that can have one here; text in any of PostgreSQL's quotes.
fn comment(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    if let Some(kind) = routine_syntax::kind(c) {
        let name = routine_syntax::routine_name(c)?;
        return Ok(Some(Extra::CommentOnRoutine { kind, name, comment: comment_text(c)? }));
    }
    let object = match c.next_word().as_deref() {
        Some("constraint") => {
            let constraint = c.identifier()?;
            c.expect("on")?;
            let table = c.object_name()?;
            let comment = comment_text(c)?;
            return Ok(Some(Extra::CommentOnConstraint { constraint, table, comment }));
        }
        Some("policy") => return policy::comment(c).map(Some),
        Some("statistics") => return statistics::comment(c).map(Some),
        Some("table") => CommentObject::Table,
        Some("column") => CommentObject::Column,
        Some("view") => CommentObject::View,
        Some("materialized") if c.accept("view") => CommentObject::MaterializedView,
        Some("index") => CommentObject::Index,
        Some("sequence") => CommentObject::Sequence,
        Some("schema") => CommentObject::Schema,
        Some("database") => CommentObject::Database,
        Some("role") => CommentObject::Role,
        Some("type") => CommentObject::Type,
        Some("domain") => CommentObject::Domain,
        Some("extension") => CommentObject::Extension,
        Some("collation") => CommentObject::Collation,
        _ => return Ok(None),
    };
    let name = c.object_name()?;
    let comment = comment_text(c)?;
    Ok(Some(Extra::Comment { object, name, comment }))
}

fn refresh(c: &mut Cursor<'_>) -> Result<Extra, SyntaxError> {
    c.expect("view")?;
    let concurrently = c.accept("concurrently");
    let name = c.object_name()?;
    let mut with_data = true;
    if c.accept("with") {
        with_data = !c.accept("no");
        c.expect("data")?;
    }
    Ok(Extra::Refresh { name, concurrently, with_data })
}

fn comment_text(c: &mut Cursor<'_>) -> Result<Option<String>, SyntaxError> {
    c.expect("is")?;
    Ok(if c.accept("null") { None } else { Some(c.string()?) })
}

fn create(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    let replace = c.nth_is(0, "or") && c.nth_is(1, "replace");
    let at = if replace { 2 } else { 0 };
    if c.nth_is(at, "function") || c.nth_is(at, "procedure") {
        let procedure = c.nth_is(at, "procedure");
        c.at += at + 1;
        return routine_syntax::create(c, replace, procedure).map(Some);
    }
    if c.nth_is(at, "aggregate") {
        c.at += at + 1;
        return aggregate_syntax::create(c, replace).map(Some);
    }
    let temporary = c.accept("temp") || c.accept("temporary");
    Ok(match c.next_word().as_deref() {
        Some("sequence") => {
            let if_not_exists = c.accept("if");
            if if_not_exists {
                c.expect("not")?;
                c.expect("exists")?;
            }
            let name = c.object_name()?;
            let options = sequence::options(c)?;
            Some(Extra::CreateSequence { name, temporary, if_not_exists, options })
        }
        Some("unlogged") if c.nth_is(0, "sequence") => Some(Extra::Unsupported("CREATE UNLOGGED SEQUENCE")),
        Some("type") if !temporary => user_type::create(c)?,
        Some("extension") if !temporary => user_type::create_extension(c)?,
        Some("domain") if !temporary => user_type::create_domain(c)?,
        Some("replication") if !temporary => {
            c.expect("strategy")?;
            let if_not_exists = if_not_exists(c)?;
            let name = c.identifier()?;
            Some(Extra::CreateStrategy { name, if_not_exists, definition: strategy::definition(c)? })
        }
        Some("access") if c.accept("method") => {
            let name = c.identifier()?;
            c.expect("type")?;
            if !c.accept("table") {
                return Ok(Some(Extra::Unsupported("CREATE ACCESS METHOD … TYPE INDEX")));
            }
            c.expect("handler")?;
            c.object_name()?;
            Some(Extra::CreateAccessMethod { name })
        }
        Some("table") if !temporary => strategy::of_table(c),
        Some("database") => databases::create(c)?,
        Some("policy") if !temporary => Some(policy::create(c)?),
        Some("statistics") if !temporary => Some(statistics::create(c)?),
        Some("collation") if !temporary => collation::create(c)?,
        Some(kind @ ("role" | "user" | "group")) if !(kind == "user" && c.nth_is(0, "mapping")) => {
            let name = c.identifier()?;
            let mut options = role::options(c)?;
            options.login = options.login.or((kind == "user").then_some(true));
            Some(Extra::CreateRole { name, options })
        }
        _ => None,
    })
}

fn if_not_exists(c: &mut Cursor<'_>) -> Result<bool, SyntaxError> {
    let written = c.accept("if");
    if written {
        c.expect("not")?;
        c.expect("exists")?;
    }
    Ok(written)
}

fn alter(c: &mut Cursor<'_>) -> Result<Option<Extra>, SyntaxError> {
    if let Some(kind) = routine_syntax::kind(c) {
        return routine_syntax::alter(c, kind).map(Some);
    }
    let kind = match c.next_word().as_deref() {
        Some("sequence") => RelationKind::Sequence,
        Some("view") => RelationKind::View,
        Some("materialized") if c.accept("view") => RelationKind::MaterializedView,
        Some("index") => RelationKind::Index,
        Some("table") => RelationKind::Table,
        Some(word @ ("role" | "user" | "group")) if !(word == "user" && c.nth_is(0, "mapping")) => {
            return role::alter(c);
        }
        Some("database") => return databases::alter(c),
        Some("policy") => return policy::alter(c).map(Some),
        Some("statistics") => return statistics::alter(c).map(Some),
        Some("default") if c.accept("privileges") => return access::default_privileges(c),
        Some("replication") => return strategy::alter(c),
        Some("type") => return user_type::alter(c),
        Some("collation") => return collation::alter(c),
        Some("domain") => return user_type::alter_domain(c),
        Some("extension") => return Ok(Some(Extra::Unsupported("ALTER EXTENSION"))),
        _ => return Ok(None),
    };
    let if_exists = c.if_exists()?;
    let only = c.accept("only");
    let name = c.object_name()?;
    c.accept_token(&Token::Mul);
    let change = relation_change(c, kind)?;
    if kind == RelationKind::Table {
        // The rest of ALTER TABLE is sqlparser's.
        return match change {
            Some(change @ RelationChange::SetSchema(_)) => {
                Ok(Some(Extra::AlterRelation { kind, name, if_exists, change }))
            }
            _ => table_leftovers(c, name, if_exists, only),
        };
    }
    match (change, kind) {
        (Some(change), _) => Ok(Some(Extra::AlterRelation { kind, name, if_exists, change })),
        (None, RelationKind::Sequence) => {
            let options = sequence::options(c)?;
            Ok(Some(Extra::AlterSequence { name, if_exists, options }))
        }
        (None, RelationKind::MaterializedView) => Ok(Some(Extra::Unsupported("this form of ALTER MATERIALIZED VIEW"))),
        (None, RelationKind::View) if c.nth_is(0, "reset") => {
            c.at += 1;
            let reset = option_names(c)?;
            Ok(Some(Extra::AlterViewOptions { view: name, if_exists, set: Vec::new(), reset }))
        }
        (None, RelationKind::View) if c.nth_is(0, "set") => {
            c.at += 1;
            let set = option_values(c)?;
            Ok(Some(Extra::AlterViewOptions { view: name, if_exists, set, reset: Vec::new() }))
        }
        (None, RelationKind::View) => Ok(Some(Extra::Unsupported("this form of ALTER VIEW"))),
        (None, _) => index_change(c, name, if_exists).map(Some),
    }
}

/// Forms of ALTER INDEX that no other relation has.
fn index_change(c: &mut Cursor<'_>, name: ObjectName, if_exists: bool) -> Result<Extra, SyntaxError> {
    let start = c.at;
    let change = match c.next_word().as_deref() {
        Some("set") if c.accept("tablespace") => IndexChange::SetTablespace(c.identifier()?),
        Some("set") => IndexChange::SetOptions(option_values(c)?),
        Some("reset") => IndexChange::ResetOptions(option_names(c)?),
        Some("alter") => {
            c.accept("column");
            let column = c.integer()?;
            c.expect("set")?;
            c.expect("statistics")?;
            IndexChange::Statistics { column, target: c.integer()? }
        }
        Some("attach") if !if_exists => return Ok(Extra::Unsupported("ALTER INDEX ATTACH PARTITION")),
        Some("no" | "depends") if !if_exists => return Ok(Extra::Unsupported("ALTER INDEX DEPENDS ON EXTENSION")),
        _ => return Err(start),
    };
    Ok(Extra::AlterIndex { name, if_exists, change })
}

/// What can be done to any relation. The cursor stays where it was when it is something else.
fn relation_change(c: &mut Cursor<'_>, kind: RelationKind) -> Result<Option<RelationChange>, SyntaxError> {
    let start = c.at;
    if c.accept("rename") {
        if c.accept("to") {
            return Ok(Some(RelationChange::Rename(c.identifier()?)));
        }
        if kind == RelationKind::View {
            c.accept("column");
            let from = c.identifier()?;
            c.expect("to")?;
            return Ok(Some(RelationChange::RenameColumn(from, c.identifier()?)));
        }
    } else if c.accept("set") && c.accept("schema") {
        return Ok(Some(RelationChange::SetSchema(c.identifier()?)));
    } else if c.accept("owner") {
        c.expect("to")?;
        return Ok(Some(RelationChange::Owner(c.identifier()?)));
    }
    c.at = start;
    Ok(None)
}

/// Forms of ALTER TABLE that sqlparser lacks.
fn table_leftovers(
    c: &mut Cursor<'_>,
    table: ObjectName,
    if_exists: bool,
    only: bool,
) -> Result<Option<Extra>, SyntaxError> {
    if c.accept("set") {
        return Ok(match c.next_word().as_deref() {
            Some("tablespace") => Some(Extra::SetTablespace { table, if_exists, tablespace: c.identifier()? }),
            Some(word @ ("logged" | "unlogged")) => {
                Some(Extra::SetPersistence { table, if_exists, unlogged: word == "unlogged" })
            }
            Some("access") => {
                c.expect("method")?;
                let strategy = Some(c.identifier()?);
                Some(Extra::SetStrategy { table, if_exists, strategy })
            }
            Some("replication") => {
                c.expect("strategy")?;
                let strategy = if c.accept("default") { None } else { Some(c.identifier()?) };
                Some(Extra::SetStrategy { table, if_exists, strategy })
            }
            Some("without") => Some(Extra::Unsupported("ALTER TABLE SET WITHOUT CLUSTER or OIDS")),
            _ => None,
        });
    }
    if let Some(change) = policy::row_security(c)? {
        return Ok(Some(Extra::RowSecurity { table, if_exists, change }));
    }
    if c.accept("reset") {
        let options = option_names(c)?;
        return Ok(Some(Extra::ResetOptions { table, if_exists, options }));
    }
    if c.accept("cluster") {
        return Ok(Some(Extra::Unsupported("ALTER TABLE CLUSTER ON")));
    }
    if c.nth_is(0, "inherit") || (c.nth_is(0, "no") && c.nth_is(1, "inherit")) {
        let inherit = !c.accept("no");
        c.expect("inherit")?;
        return Ok(Some(Extra::Inherit { table, if_exists, parent: c.object_name()?, inherit }));
    }
    if c.accept("alter") {
        if c.accept("constraint") {
            return alter_constraint(c, table, if_exists).map(Some);
        }
        c.accept("column");
        let column = c.identifier()?;
        let change = column::change(c)?;
        return Ok(change.map(|change| Extra::AlterColumn { table, if_exists, only, column, change }));
    }
    Ok(None)
}

/// `(name, namespace.name, …)`.
fn option_names(c: &mut Cursor<'_>) -> Result<Vec<String>, SyntaxError> {
    c.expect_token(&Token::LParen)?;
    let mut names = Vec::new();
    loop {
        let mut name = c.identifier()?.value.to_lowercase();
        if c.accept_token(&Token::Period) {
            name = format!("{name}.{}", c.identifier()?.value.to_lowercase());
        }
        names.push(name);
        if !c.accept_token(&Token::Comma) {
            c.expect_token(&Token::RParen)?;
            return Ok(names);
        }
    }
}

/// `(name = value, name, …)`; without a value it is true.
fn option_values(c: &mut Cursor<'_>) -> Result<Vec<(String, String)>, SyntaxError> {
    c.expect_token(&Token::LParen)?;
    let mut options = Vec::new();
    loop {
        let name = c.identifier()?.value.to_lowercase();
        let mut value = "true".to_owned();
        if c.accept_token(&Token::Eq) {
            let token = c.tokens.get(c.at).ok_or(c.at)?;
            value = match &token.token {
                Token::SingleQuotedString(text) => text.to_lowercase(),
                Token::Word(_) | Token::Number(..) => token.token.to_string().to_lowercase(),
                _ => return Err(c.at),
            };
            c.at += 1;
        }
        options.push((name, value));
        if !c.accept_token(&Token::Comma) {
            c.expect_token(&Token::RParen)?;
            return Ok(options);
        }
    }
}

fn alter_constraint(c: &mut Cursor<'_>, table: ObjectName, if_exists: bool) -> Result<Extra, SyntaxError> {
    let name = c.identifier()?;
    let (mut deferrable, mut deferred) = (None, None);
    while c.at < c.tokens.len() {
        let start = c.at;
        match c.next_word().as_deref() {
            Some("not") => {
                c.expect("deferrable")?;
                deferrable = Some(false);
            }
            Some("deferrable") => deferrable = Some(true),
            Some("initially") if c.accept("deferred") => deferred = Some(true),
            Some("initially") if c.accept("immediate") => deferred = Some(false),
            _ => return Err(start),
        }
    }
    Ok(Extra::AlterConstraint { table, if_exists, name, deferrable, deferred })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::catalog::Policy;
    use crate::sql::{Statement, parse as parse_sql};

    fn extra(sql: &str) -> Extra {
        match parse_sql(sql).unwrap().remove(0).statement {
            Statement::Ddl(extra) => *extra,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sequences_in_any_order_of_options() {
        let sql =
            "CREATE SEQUENCE s AS integer START WITH 5 INCREMENT BY -1 NO MINVALUE MAXVALUE 10 CACHE 1 OWNED BY t.a";
        let Extra::CreateSequence { options: o, .. } = extra(sql) else { panic!() };
        assert_eq!(
            (o.start, o.increment, o.min, o.max, o.cache),
            (Some(5), Some(-1), Some(None), Some(Some(10)), Some(1))
        );
        assert_eq!(o.ty.as_deref(), Some("integer"));
        let Extra::AlterSequence { options: o, .. } = extra("alter sequence if exists s restart") else { panic!() };
        assert_eq!(o.restart, Some(None));
    }

    #[test]
    fn strategies_with_and_without_commas_and_quotes() {
        for sql in [
            "CREATE REPLICATION STRATEGY \"s\" REPLICATE TO \"node1\" \"node2\" \"node3\" USING RANDOM",
            "create replication strategy if not exists s replicate to node1, node2, node3 using random with (factor = 2)",
            "CREATE REPLICATION STRATEGY s REPLICATE TO node1 node2, \"node3\" USING ROW;",
        ] {
            let Extra::CreateStrategy { definition, name, .. } = extra(sql) else { panic!("{sql}") };
            let nodes: Vec<&str> = definition.nodes.iter().map(|node| node.value.as_str()).collect();
            assert_eq!((name.value.as_str(), nodes), ("s", vec!["node1", "node2", "node3"]), "{sql}");
        }
        assert!(matches!(extra("ALTER REPLICATION STRATEGY s RENAME TO r"), Extra::RenameStrategy { .. }));
        assert!(matches!(
            extra("ALTER REPLICATION STRATEGY s REPLICATE TO a USING REGION"),
            Extra::AlterStrategy { definition: StrategyDefinition { policy: Policy::Region, .. }, .. }
        ));
        let Extra::DropStrategy { names, if_exists: true, cascade: true, .. } =
            extra("DROP REPLICATION STRATEGY IF EXISTS s, \"T\" CASCADE")
        else {
            panic!()
        };
        assert_eq!(names.len(), 2);
        assert!(matches!(
            extra("CREATE TABLE IF NOT EXISTS a.t USING \"s\""),
            Extra::UseStrategy { if_not_exists: true, .. }
        ));
        assert!(matches!(
            extra("ALTER TABLE t SET REPLICATION STRATEGY default"),
            Extra::SetStrategy { strategy: None, .. }
        ));
        assert!(matches!(extra("ALTER TABLE t SET ACCESS METHOD s"), Extra::SetStrategy { strategy: Some(_), .. }));
        for (wrong, at) in [
            ("create replication strategy s replicate to using random", "\"using\""),
            ("create replication strategy s replicate to a, using random", "\"using\""),
            ("create replication strategy s replicate to a using chance", "\"chance\""),
            ("create replication strategy s replicate to a", "end of input"),
            ("create replication strategy s replicate to a using row with (factor 3)", "\"3\""),
            ("alter table t set replication strategy s t", "\"t\""),
        ] {
            let error = parse_sql(wrong).unwrap_err();
            assert_eq!(error.state().code(), "42601", "{wrong}");
            assert!(error.message().ends_with(at), "{wrong}: {}", error.message());
        }
    }

    #[test]
    fn roles_and_relations() {
        let Extra::CreateRole { options: o, .. } =
            extra("CREATE USER u WITH NOCREATEDB PASSWORD 'x' VALID UNTIL 'infinity'")
        else {
            panic!()
        };
        assert_eq!((o.login, o.create_database), (Some(true), Some(false)));
        assert_eq!(o.password, Some(Some("x".into())));
        assert!(matches!(
            extra("ALTER TABLE t RESET (fillfactor, toast.autovacuum_enabled)"),
            Extra::ResetOptions { options, .. } if options == ["fillfactor", "toast.autovacuum_enabled"]
        ));
        assert!(matches!(
            extra("ALTER TABLE t SET SCHEMA s"),
            Extra::AlterRelation { kind: RelationKind::Table, change: RelationChange::SetSchema(_), .. }
        ));
        assert!(matches!(extra("ALTER VIEW v RENAME TO w"), Extra::AlterRelation { kind: RelationKind::View, .. }));
        let sqlparsers = parse_sql("ALTER TABLE t ADD COLUMN a int").unwrap().remove(0).statement;
        assert!(matches!(sqlparsers, Statement::Sql(_)));
        assert_eq!(parse_sql("CREATE ROLE r FOO").unwrap_err().state().code(), "42601");
    }
}
