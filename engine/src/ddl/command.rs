//! How messages name the command that a statement is: `DROP STATISTICS`, `CREATE TABLE AS`, `GRANT ROLE`.

use sqlparser::ast::Statement;

/// Kinds of objects of two words and more.
const LONG_KINDS: &[&[&str]] = &[
    &["MATERIALIZED", "VIEW"],
    &["DEFAULT", "PRIVILEGES"],
    &["REPLICATION", "STRATEGY"],
    &["EVENT", "TRIGGER"],
    &["ACCESS", "METHOD"],
    &["FOREIGN", "TABLE"],
    &["FOREIGN", "DATA", "WRAPPER"],
    &["USER", "MAPPING"],
    &["LARGE", "OBJECT"],
    &["OPERATOR", "CLASS"],
    &["OPERATOR", "FAMILY"],
    &["TEXT", "SEARCH", "CONFIGURATION"],
    &["TEXT", "SEARCH", "DICTIONARY"],
    &["TEXT", "SEARCH", "PARSER"],
    &["TEXT", "SEARCH", "TEMPLATE"],
];

/// What may stand between CREATE and the kind of the object.
const MODIFIERS: &[&str] = &[
    "OR",
    "REPLACE",
    "TEMP",
    "TEMPORARY",
    "UNLOGGED",
    "LOCAL",
    "GLOBAL",
    "RECURSIVE",
    "UNIQUE",
    "TRUSTED",
    "PROCEDURAL",
];

/// The command of a statement that sqlparser has read, by its text.
pub fn of_statement(statement: &Statement, text: &str) -> String {
    match statement {
        Statement::CreateTable(create) if create.query.is_some() => {
            let created = words(text).next().is_some_and(|word| word == "CREATE");
            if created { "CREATE TABLE AS" } else { "SELECT INTO" }.to_owned()
        }
        _ => of_text(text),
    }
}

/// The command of a text.
pub fn of_text(text: &str) -> String {
    let words: Vec<String> = words(text).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((verb, rest)) = words.split_first() else { return "this statement".to_owned() };
    let whole = match *verb {
        "CREATE" | "ALTER" | "DROP" => return format!("{verb} {}", kind(rest)),
        "GRANT" | "REVOKE" => {
            // Privileges are on something, membership is not.
            let end = rest.iter().position(|word| matches!(*word, "TO" | "FROM")).unwrap_or(rest.len());
            let membership = !rest.iter().take(end).any(|word| *word == "ON");
            return if membership { format!("{verb} ROLE") } else { (*verb).to_owned() };
        }
        "REASSIGN" => "REASSIGN OWNED",
        "TRUNCATE" => "TRUNCATE TABLE",
        "REFRESH" => "REFRESH MATERIALIZED VIEW",
        "SECURITY" => "SECURITY LABEL",
        "IMPORT" => "IMPORT FOREIGN SCHEMA",
        other => other,
    };
    whole.to_owned()
}

/// The kind of the object behind a verb.
fn kind(words: &[&str]) -> String {
    let modifiers = words.iter().take_while(|word| MODIFIERS.contains(word)).count();
    let words = words.get(modifiers..).unwrap_or_default();
    if let Some(long) = LONG_KINDS.iter().find(|kind| words.starts_with(kind)) {
        return long.join(" ");
    }
    match words.first() {
        Some(&("USER" | "GROUP")) => "ROLE".to_owned(),
        Some(kind) => (*kind).to_owned(),
        None => String::new(),
    }
}

/// The words of a text in capitals, without what stands before the first one.
fn words(text: &str) -> impl Iterator<Item = String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = without_comments(text).split(move |c| !word(c)).filter(|w| !w.is_empty());
    words.map(str::to_ascii_uppercase)
}

fn without_comments(text: &str) -> &str {
    let mut rest = text.trim_start();
    loop {
        if let Some(line) = rest.strip_prefix("--") {
            rest = line.split_once('\n').map_or("", |(_, behind)| behind).trim_start();
        } else if rest.starts_with("/*") {
            rest = behind_comment(rest).trim_start();
        } else {
            return rest;
        }
    }
}

/// What stands behind a comment, which may hold others.
fn behind_comment(text: &str) -> &str {
    let mut depth = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::of_text;

    #[test]
    fn commands_are_named_as_postgresql_names_them() {
        for (text, command) in [
            ("drop statistics st", "DROP STATISTICS"),
            ("DROP STATISTICS IF EXISTS st", "DROP STATISTICS"),
            ("/* drop /* a */ b */ -- x\n create  unique index on t (a)", "CREATE INDEX"),
            ("create or replace view v as select 1", "CREATE VIEW"),
            ("CREATE TEMPORARY TABLE t (a int)", "CREATE TABLE"),
            ("create user u", "CREATE ROLE"),
            ("comment on statistics st is 'x'", "COMMENT"),
            ("grant select on t to r", "GRANT"),
            ("grant a to b", "GRANT ROLE"),
            ("revoke a from b", "REVOKE ROLE"),
            ("revoke all on t from b", "REVOKE"),
            ("drop materialized view m", "DROP MATERIALIZED VIEW"),
            ("refresh materialized view m", "REFRESH MATERIALIZED VIEW"),
            ("truncate t", "TRUNCATE TABLE"),
            ("drop owned by r", "DROP OWNED"),
            ("reassign owned by r to s", "REASSIGN OWNED"),
            ("drop function f(int)", "DROP FUNCTION"),
            ("alter default privileges grant select on tables to r", "ALTER DEFAULT PRIVILEGES"),
            ("alter table\"t\" add a int", "ALTER TABLE"),
        ] {
            assert_eq!(of_text(text), command, "{text}");
        }
    }
}
