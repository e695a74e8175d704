//! The options of COPY (PostgreSQL 15 manual, COPY), checked as PostgreSQL checks them.

use crate::catalog::TableDef;
use crate::error::{Error, Result, SqlState};
use crate::session::settings::value::parse_bool;
use crate::sql::utility::Options;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Csv,
    Binary,
}

/// The encoding of the data, where it is not that of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Latin1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    No,
    Yes,
    /// COPY FROM: the names must be those of the columns.
    Match,
}

#[derive(Debug, Clone)]
pub struct CopyOptions {
    pub format: Format,
    pub delimiter: u8,
    pub null: Vec<u8>,
    pub header: Header,
    pub quote: u8,
    pub escape: u8,
    pub force_quote: Columns,
    pub force_not_null: Columns,
    pub force_null: Columns,
    /// Changes nothing here, but is refused where PostgreSQL refuses it.
    pub freeze: bool,
    pub encoding: Encoding,
}

/// Columns that an option names.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    pub all: bool,
    pub names: Vec<String>,
}

impl Columns {
    pub fn contains(&self, name: &str) -> bool {
        self.all || self.names.iter().any(|n| n == name)
    }

    fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty()
    }

    fn parse(words: &[String]) -> Columns {
        match words {
            [star] if star == "*" => Columns { all: true, names: Vec::new() },
            names => Columns { all: false, names: names.to_vec() },
        }
    }
}

fn syntax(message: impl Into<String>) -> Error {
    Error::new(SqlState::SyntaxError, message)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidParameterValue, message)
}

fn boolean(name: &str, value: &[String]) -> Result<bool> {
    match value.first() {
        None => Ok(true),
        Some(word) => parse_bool(word).ok_or_else(|| syntax(format!("{name} requires a Boolean value"))),
    }
}

fn single_byte(name: &str, value: &[String]) -> Result<u8> {
    match value.first().map(|v| v.as_bytes()) {
        Some([byte]) => Ok(*byte),
        _ => Err(Error::new(SqlState::FeatureNotSupported, format!("COPY {name} must be a single one-byte character"))),
    }
}

/// What names of encodings PostgreSQL knows besides those that are read here.
const OTHER_ENCODINGS: &str = "abc alt big5 eucjis2004 euccn eucjp euckr euctw gb18030 gbk iso88592 iso88593 iso88594 iso88595 iso88596 \
     iso88597 iso88598 iso88599 iso885910 iso885913 iso885914 iso885915 iso885916 johab koi8 koi8r koi8u latin2 latin3 \
     latin4 latin5 latin6 latin7 latin8 latin9 latin10 muleinternal shiftjis shiftjis2004 sjis tcvn uhc vscii win \
     win866 win874 win932 win936 win949 win950 win1250 win1251 win1252 win1253 win1254 win1255 win1256 win1257 win1258";

fn parse_encoding(value: &[String]) -> Result<Encoding> {
    let Some(name) = value.first() else { return Err(syntax("encoding requires a parameter")) };
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    match plain.as_str() {
        // SQL_ASCII: as it comes, and what comes has to be the database's encoding.
        "utf8" | "unicode" | "sqlascii" => Ok(Encoding::Utf8),
        "latin1" | "iso88591" => Ok(Encoding::Latin1),
        other if OTHER_ENCODINGS.split_whitespace().any(|known| known == other) => {
            Err(Error::unsupported(format!("COPY with encoding \"{name}\"")))
        }
        _ => Err(invalid("argument to option \"encoding\" must be a valid encoding name")),
    }
}

impl CopyOptions {
    pub fn parse(options: &Options, from: bool) -> Result<CopyOptions> {
        let mut seen: Vec<&str> = Vec::new();
        let mut format = Format::Text;
        let (mut delimiter, mut null, mut quote, mut escape) = (None, None, None, None);
        let mut header = Header::No;
        let mut freeze = false;
        let mut encoding = Encoding::Utf8;
        let [mut force_quote, mut force_not_null, mut force_null] = [const { None }; 3];
        for (name, value) in options {
            if seen.contains(&name.as_str()) {
                return Err(syntax("conflicting or redundant options"));
            }
            seen.push(name);
            match name.as_str() {
                "format" | "delimiter" | "null" | "quote" | "escape" | "encoding" if value.is_empty() => {
                    return Err(syntax(format!("{name} requires a parameter")));
                }
                "force_quote" | "force_not_null" | "force_null" if value.is_empty() => {
                    let message = format!("argument to option \"{name}\" must be a list of column names");
                    return Err(invalid(message));
                }
                _ => {}
            }
            match name.as_str() {
                "format" => {
                    format = match value.first().map(|v| v.to_lowercase()).as_deref() {
                        Some("text") => Format::Text,
                        Some("csv") => Format::Csv,
                        Some("binary") => Format::Binary,
                        other => {
                            let other = other.unwrap_or("");
                            return Err(invalid(format!("COPY format \"{other}\" not recognized")));
                        }
                    }
                }
                "freeze" => {
                    freeze = boolean("freeze", value)?;
                    if freeze && !from {
                        return Err(Error::unsupported("COPY TO with FREEZE"));
                    }
                }
                "delimiter" => delimiter = Some(single_byte("delimiter", value)?),
                "null" => null = Some(value.first().cloned().unwrap_or_default().into_bytes()),
                "header" => {
                    header = match value.first().map(|v| v.to_lowercase()).as_deref() {
                        Some("match") if from => Header::Match,
                        Some("match") => return Err(syntax("cannot use \"match\" with HEADER in COPY TO")),
                        _ if boolean("header", value)? => Header::Yes,
                        _ => Header::No,
                    }
                }
                "quote" => quote = Some(single_byte("quote", value)?),
                "escape" => escape = Some(single_byte("escape", value)?),
                "force_quote" => force_quote = Some(Columns::parse(value)),
                "force_not_null" => force_not_null = Some(Columns::parse(value)),
                "force_null" => force_null = Some(Columns::parse(value)),
                "encoding" => encoding = parse_encoding(value)?,
                other => return Err(syntax(format!("option \"{other}\" not recognized"))),
            }
        }
        let csv = format == Format::Csv;
        if format == Format::Binary {
            let given = [(delimiter.is_some(), "DELIMITER"), (null.is_some(), "NULL")];
            if let Some((_, name)) = given.iter().find(|(given, _)| *given) {
                return Err(syntax(format!("cannot specify {name} in BINARY mode")));
            }
            if header != Header::No {
                return Err(Error::new(SqlState::FeatureNotSupported, "cannot specify HEADER in BINARY mode"));
            }
        }
        if !csv && let Some(what) = quote.map(|_| "quote").or(escape.map(|_| "escape")) {
            return Err(Error::new(SqlState::FeatureNotSupported, format!("COPY {what} available only in CSV mode")));
        }
        let options = CopyOptions {
            format,
            delimiter: delimiter.unwrap_or(if csv { b',' } else { b'\t' }),
            null: null.unwrap_or_else(|| if csv { Vec::new() } else { b"\\N".to_vec() }),
            header,
            quote: quote.unwrap_or(b'"'),
            escape: escape.or(quote).unwrap_or(b'"'),
            force_quote: force_quote.unwrap_or_default(),
            force_not_null: force_not_null.unwrap_or_default(),
            force_null: force_null.unwrap_or_default(),
            freeze,
            encoding,
        };
        options.check(from)?;
        Ok(options)
    }

    /// 42703 and 42P10 for columns that options name: they must be of the relation, and copied.
    pub fn check_columns(&self, relation: Option<&TableDef>, copied: &[&str]) -> Result<()> {
        for (columns, option) in [
            (&self.force_quote, "FORCE_QUOTE"),
            (&self.force_not_null, "FORCE_NOT_NULL"),
            (&self.force_null, "FORCE_NULL"),
        ] {
            if let Some(name) = columns.names.iter().find(|name| !copied.contains(&name.as_str())) {
                match relation {
                    Some(def) => def.resolve_column(name)?,
                    None => {
                        let message = format!("column \"{name}\" does not exist");
                        return Err(Error::new(SqlState::UndefinedColumn, message));
                    }
                };
                let message = format!("{option} column \"{name}\" not referenced by COPY");
                return Err(Error::new(SqlState::InvalidColumnReference, message));
            }
        }
        Ok(())
    }

    fn check(&self, from: bool) -> Result<()> {
        let csv = self.format == Format::Csv;
        if matches!(self.delimiter, b'\n' | b'\r') {
            return Err(invalid("COPY delimiter cannot be newline or carriage return"));
        }
        if self.null.iter().any(|b| matches!(b, b'\n' | b'\r')) {
            return Err(invalid("COPY null representation cannot use newline or carriage return"));
        }
        if !csv && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&self.delimiter) {
            return Err(invalid(format!("COPY delimiter cannot be \"{}\"", self.delimiter as char)));
        }
        if csv && self.delimiter == self.quote {
            return Err(invalid("COPY delimiter and quote must be different"));
        }
        for (columns, name, direction) in [
            (&self.force_quote, "force quote", !from),
            (&self.force_not_null, "force not null", from),
            (&self.force_null, "force null", from),
        ] {
            if columns.is_empty() {
                continue;
            }
            if !csv {
                return Err(Error::new(
                    SqlState::FeatureNotSupported,
                    format!("COPY {name} available only in CSV mode"),
                ));
            }
            if !direction {
                let only = if from { "TO" } else { "FROM" };
                return Err(Error::new(
                    SqlState::FeatureNotSupported,
                    format!("COPY {name} only available using COPY {only}"),
                ));
            }
        }
        if self.null.contains(&self.delimiter) {
            return Err(Error::new(
                SqlState::FeatureNotSupported,
                "COPY delimiter must not appear in the NULL specification",
            ));
        }
        if csv && self.null.contains(&self.quote) {
            return Err(Error::new(
                SqlState::FeatureNotSupported,
                "CSV quote character must not appear in the NULL specification",
            ));
        }
        Ok(())
    }
}
