//! A session's settings (GUCs): their values, and what transactions do to them.
//!
//! Invariants:
//! 1. ROLLBACK undoes every SET since BEGIN, ROLLBACK TO every SET since the savepoint; SET LOCAL ends with its
//!    transaction however that ends (PostgreSQL manual, SET).
//! 2. The typed fields of [`Values`] always agree with the texts.

pub mod table;
mod users;
pub mod value;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Oid;
use crate::error::{Error, Notice, NoticeLevel, Result, SqlState};
use crate::txn::{CommitLevel, Freshness, Position};
use crate::types::text::{FormatSettings, IntervalStyle};
pub use users::{User, Users};

use table::{Effect, Kind, SETTINGS, SettingId, find};

/// Isolation level of a transaction. READ UNCOMMITTED behaves like READ COMMITTED, as in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    pub fn text(self) -> &'static str {
        match self {
            Isolation::ReadUncommitted => "read uncommitted",
            Isolation::ReadCommitted => "read committed",
            Isolation::RepeatableRead => "repeatable read",
            Isolation::Serializable => "serializable",
        }
    }

    pub fn parse(text: &str) -> Option<Isolation> {
        [Isolation::ReadUncommitted, Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable]
            .into_iter()
            .find(|i| i.text() == text)
    }
}

/// The modes of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionModes {
    pub isolation: Isolation,
    pub read_only: bool,
    pub deferrable: bool,
}

/// One consistent set of values.
#[derive(Debug, Clone)]
pub struct Values {
    /// By [`SettingId`], canonical texts.
    texts: Vec<Arc<str>>,
    /// `prefix.name` settings that clients define by setting them.
    custom: BTreeMap<String, Arc<str>>,
    /// Who the session is.
    pub users: Users,
    pub format: FormatSettings,
    pub search_path: Arc<[String]>,
    /// default_table_access_method: the replication strategy of new tables.
    pub default_strategy: Arc<str>,
    pub statement_timeout: Option<Duration>,
    pub lock_timeout: Option<Duration>,
    pub idle_in_transaction_timeout: Option<Duration>,
    pub idle_session_timeout: Option<Duration>,
    pub default_modes: TransactionModes,
    /// `None`: only errors.
    pub min_messages: Option<NoticeLevel>,
    pub point_path: bool,
    pub methods: Methods,
    pub freshness: Freshness,
    pub commit_level: CommitLevel,
    pub route_writes: bool,
    /// Off: what policies would restrict is refused.
    pub row_security: bool,
}

impl Values {
    fn defaults() -> Values {
        let mut values = Values {
            texts: SETTINGS.iter().map(|s| Arc::from(s.default)).collect(),
            custom: BTreeMap::new(),
            users: Users::new(User { oid: Oid(0), name: "".into(), superuser: false }),
            format: FormatSettings::default(),
            search_path: Arc::from([]),
            default_strategy: "".into(),
            statement_timeout: None,
            lock_timeout: None,
            idle_in_transaction_timeout: None,
            idle_session_timeout: None,
            default_modes: TransactionModes {
                isolation: Isolation::ReadCommitted,
                read_only: false,
                deferrable: false,
            },
            min_messages: Some(NoticeLevel::Notice),
            point_path: true,
            methods: Methods::default(),
            freshness: Freshness::default(),
            commit_level: CommitLevel::default(),
            route_writes: false,
            row_security: true,
        };
        for id in 0..SETTINGS.len() {
            values.retype(SettingId(id));
        }
        values
    }

    /// How the point path may find rows; `None`: it is switched off.
    pub fn point_methods(&self) -> Option<Methods> {
        self.point_path.then_some(self.methods)
    }

    fn text(&self, id: SettingId) -> &str {
        self.texts.get(id.0).map_or("", |t| t)
    }

    /// Writes a canonical text and the typed field that goes with it.
    fn put(&mut self, id: SettingId, text: &str) {
        if let Some(slot) = self.texts.get_mut(id.0) {
            *slot = Arc::from(text);
            self.retype(id);
        }
    }

    fn retype(&mut self, id: SettingId) {
        let text: Arc<str> = self.texts[id.0].clone();
        let on = || &*text == "on";
        let timeout = || text.parse::<u64>().ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        match SETTINGS[id.0].name {
            "TimeZone" => {
                if let Ok(found) = value::parse_time_zone(&text) {
                    self.format.time_zone = found.zone;
                    self.format.zone_abbreviation = found.abbreviation.into();
                }
            }
            "DateStyle" => {
                if let Ok((style, order)) = value::parse_date_style(&text, None) {
                    self.format.date_style = style;
                    self.format.date_order = order;
                }
            }
            "IntervalStyle" => {
                self.format.interval_style = match &*text {
                    "postgres_verbose" => IntervalStyle::PostgresVerbose,
                    "sql_standard" => IntervalStyle::SqlStandard,
                    "iso_8601" => IntervalStyle::Iso8601,
                    _ => IntervalStyle::Postgres,
                }
            }
            "extra_float_digits" => self.format.extra_float_digits = text.parse().unwrap_or(1),
            "bytea_output" => self.format.bytea_hex = &*text == "hex",
            "default_table_access_method" => self.default_strategy = text,
            "search_path" => self.search_path = value::split_identifiers(&text).unwrap_or_default().into(),
            "row_security" => self.row_security = &*text == "on",
            "statement_timeout" => self.statement_timeout = timeout(),
            "lock_timeout" => self.lock_timeout = timeout(),
            "idle_in_transaction_session_timeout" => self.idle_in_transaction_timeout = timeout(),
            "idle_session_timeout" => self.idle_session_timeout = timeout(),
            "default_transaction_isolation" => {
                if let Some(isolation) = Isolation::parse(&text) {
                    self.default_modes.isolation = isolation;
                }
            }
            "default_transaction_read_only" => self.default_modes.read_only = on(),
            "default_transaction_deferrable" => self.default_modes.deferrable = on(),
            "client_min_messages" => {
                self.min_messages = match &*text {
                    "log" => Some(NoticeLevel::Log),
                    "info" => Some(NoticeLevel::Info),
                    "notice" => Some(NoticeLevel::Notice),
                    "warning" => Some(NoticeLevel::Warning),
                    "error" => None,
                    _ => Some(NoticeLevel::Debug),
                }
            }
            "lockstep.point_path" => self.point_path = on(),
            "enable_hashjoin" => self.methods.hash_join = on(),
            "enable_mergejoin" => self.methods.merge_join = on(),
            "enable_indexscan" => self.methods.index_scan = on(),
            "enable_seqscan" => self.methods.full_scan = on(),
            "enable_sort" => self.methods.sort = on(),
            "synchronous_commit" => self.commit_level = CommitLevel::parse(&text),
            "lockstep.route_writes" => self.route_writes = on(),
            "lockstep.max_staleness" => self.freshness.max_staleness = timeout(),
            "lockstep.read_after" => self.freshness.after = Position::parse(&text).unwrap_or_default(),
            _ => {}
        }
    }
}

/// Ways to run a query that a session discourages: such a one is taken only where there is no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods {
    pub hash_join: bool,
    pub merge_join: bool,
    pub index_scan: bool,
    pub full_scan: bool,
    pub sort: bool,
}

impl Default for Methods {
    fn default() -> Methods {
        Methods { hash_join: true, merge_join: true, index_scan: true, full_scan: true, sort: true }
    }
}

impl Methods {
    /// Whether rows with equal keys are found by hashing.
    pub fn hashes_joins(self) -> bool {
        self.hash_join || !self.merge_join
    }
}

/// A place in the history of the values, for savepoints.
#[derive(Debug, Clone)]
pub struct SettingsMark {
    lasting: Arc<Values>,
    current: Arc<Values>,
}

/// One row of SHOW ALL and pg_settings.
#[derive(Debug, Clone)]
pub struct SettingRow {
    pub name: String,
    /// As pg_settings shows it: the bare number.
    pub setting: String,
    /// As SHOW prints it.
    pub shown: String,
    pub unit: Option<&'static str>,
    pub category: &'static str,
    pub description: &'static str,
    pub context: &'static str,
    pub vartype: &'static str,
    pub source: &'static str,
    pub min: Option<String>,
    pub max: Option<String>,
    pub values: Option<&'static [&'static str]>,
    pub boot: String,
    pub reset: String,
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// What RESET goes back to: the defaults with the startup parameters.
    reset: Arc<Values>,
    /// What SET (not SET LOCAL) made of it: survives COMMIT.
    lasting: Arc<Values>,
    /// What is in force.
    current: Arc<Values>,
    /// Modes of the running (or next) transaction: `transaction_isolation` and its like.
    pub modes: TransactionModes,
    /// True while this node is a standby.
    pub standby: bool,
    /// Names whose reported value may have changed.
    reported: Vec<(SettingId, String)>,
    /// What `reported` was made from. Holding the values makes every SET a new allocation, so that equal pointers
    /// mean equal values.
    reported_for: Option<(Arc<Values>, bool)>,
    notices: Vec<Notice>,
    /// The server lets commits be acknowledged before a majority has them.
    early_commits: bool,
    /// Every setting is reported, with the custom ones that were: for a session that serves another node's client.
    reported_custom: Option<BTreeMap<String, Arc<str>>>,
}

/// What a session on a standby keeps to itself when its statements are carried to the primary.
const NOT_CARRIED: [&str; 5] = [
    "lockstep.max_staleness",
    "lockstep.route_writes",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
];

fn is_carried(setting: &table::Setting) -> bool {
    setting.effect != Effect::ReadOnly && !NOT_CARRIED.contains(&setting.name)
}

impl Settings {
    /// Names and values that differ from `before`, or from the defaults: what a session elsewhere has to be told.
    pub fn differing(&self, before: Option<&Values>) -> Vec<(String, String)> {
        let mut changed = Vec::new();
        for (i, setting) in SETTINGS.iter().enumerate().filter(|(_, setting)| is_carried(setting)) {
            let now = self.current.text(SettingId(i));
            if before.map_or(setting.default, |before| before.text(SettingId(i))) != now {
                changed.push((setting.name.to_owned(), now.to_owned()));
            }
        }
        // SET SESSION AUTHORIZATION comes first, and forgets the role.
        if let Some(at) = changed.iter().position(|(name, _)| name == "session_authorization") {
            let session = changed.remove(at);
            changed.retain(|(name, _)| name != "role");
            let role = self.current.users.role.as_ref().map_or("none", |role| &*role.name);
            changed.splice(0..0, [session, ("role".to_owned(), role.to_owned())]);
        }
        let known = |name: &String| before.and_then(|before| before.custom.get(name));
        let custom = self.current.custom.iter().filter(|(name, text)| known(name) != Some(text));
        changed.extend(custom.map(|(name, text)| (name.clone(), text.to_string())));
        changed
    }

    /// Takes a value over that a session elsewhere reported. What cannot be set here is a fact there, and none here.
    pub fn adopt(&mut self, name: &str, text: &str) {
        if find(name).is_some_and(|id| !is_carried(&SETTINGS[id.0])) {
            return;
        }
        let notices = self.notices.len();
        let _ = self.set(name, text, false);
        self.notices.truncate(notices);
    }

    /// From here on every setting is reported.
    pub fn report_all(&mut self) {
        self.reported_custom = Some(BTreeMap::new());
    }

    /// Defaults for `user`, then what ALTER DATABASE and ALTER ROLE stored, then the startup parameters (and `options`, as in `-c name=value`). `early_commits`: whether
    /// `synchronous_commit` may be off or local. `facts`: of this node, which only SHOW tells.
    pub fn new(
        user: User,
        stored: &[&[(String, String)]],
        parameters: &[(String, String)],
        early_commits: bool,
        facts: &[(&str, String)],
    ) -> Result<Settings> {
        let mut start = Values::defaults();
        for (name, text) in facts {
            if let Some(id) = find(name) {
                start.put(id, text);
            }
        }
        let mut settings = Settings { early_commits, ..Settings::starting_with(start) };
        settings.begin_as(user);
        for (name, text) in stored.iter().copied().flatten() {
            // What was stored and is no longer right does not keep anybody out.
            if let Err(report) = settings.set(name, text, false) {
                settings.notices.push(Notice { level: NoticeLevel::Warning, report });
            }
        }
        let mut all = Vec::new();
        for (name, text) in parameters {
            match name.as_str() {
                "options" => all.extend(parse_options(text)?),
                // Asks for a replication connection; `wire` refuses what it does not speak.
                "replication" => {
                    if value::parse_bool(text) != Some(false) {
                        return Err(Error::unsupported("the replication protocol"));
                    }
                }
                _ if name.starts_with("_pq_.") => {}
                _ => all.push((name.clone(), text.clone())),
            }
        }
        for (name, text) in all {
            settings.set(&name, &text, false)?;
        }
        settings.reset = settings.current.clone();
        settings.modes = settings.current.default_modes;
        Ok(settings)
    }

    /// Of no session: what is not changed has its default.
    pub fn detached() -> Settings {
        Settings::starting_with(Values::defaults())
    }

    fn starting_with(start: Values) -> Settings {
        let start = Arc::new(start);
        Settings {
            modes: start.default_modes,
            reset: start.clone(),
            lasting: start.clone(),
            current: start,
            standby: false,
            reported: Vec::new(),
            reported_for: None,
            notices: Vec::new(),
            early_commits: true,
            reported_custom: None,
        }
    }

    /// Whether ALTER ROLE … RESET may name a setting (42704).
    pub fn check_name(name: &str) -> Result<()> {
        match find(name).is_some() || name.contains('.') && !name.to_lowercase().starts_with("lockstep.") {
            true => Ok(()),
            false => Err(unrecognized(name)),
        }
    }

    /// Name and value as ALTER ROLE … SET stores them, if a session could set them. Errors: as [`Self::set`].
    pub fn check_stored(name: &str, text: &str) -> Result<(String, String)> {
        if !matches!(name, "role" | "session_authorization") {
            Settings::detached().set(name, text, false)?;
        }
        let name = find(name).map_or_else(|| name.to_owned(), |id| SETTINGS[id.0].name.to_owned());
        Ok((name, text.to_owned()))
    }

    pub fn values(&self) -> &Arc<Values> {
        &self.current
    }

    /// SET and SET LOCAL (`local`), set_config. Errors: 42704, 22023, 55P02, 0A000.
    pub fn set(&mut self, name: &str, text: &str, local: bool) -> Result<()> {
        let Some(id) = find(name) else {
            return self.set_custom(name, Some(text), local);
        };
        let setting = &SETTINGS[id.0];
        if setting.effect == Effect::ReadOnly {
            return Err(Error::new(
                SqlState::CantChangeRuntimeParam,
                format!("parameter \"{}\" cannot be changed", setting.name),
            ));
        }
        let current = self.current.users.current();
        if setting.superuser && !current.superuser && current.oid != Oid(0) {
            let message = format!("permission denied to set parameter \"{}\"", setting.name);
            return Err(Error::new(SqlState::InsufficientPrivilege, message));
        }
        let canonical = match setting.name {
            "DateStyle" => {
                let now = (self.current.format.date_style, self.current.format.date_order);
                value::date_style_text(value::parse_date_style(text, Some(now))?)
            }
            _ => value::canonical(setting, text)?,
        };
        match setting.name {
            "transaction_isolation" | "transaction_read_only" | "transaction_deferrable" => {
                return self.set_mode(setting.name, &canonical);
            }
            _ => {}
        }
        if setting.effect == Effect::OnlyDefault && canonical != setting.default {
            return Err(Error::unsupported(format!("the value \"{canonical}\" of parameter \"{}\"", setting.name))
                .hint(format!("Only \"{}\" is supported.", setting.default)));
        }
        if setting.name == "synchronous_commit" {
            self.check_commit_level(&canonical)?;
        }
        if setting.effect == Effect::NoEffect && canonical != self.current.text(id) {
            self.notices.push(Notice {
                level: NoticeLevel::Notice,
                report: Error::new(
                    SqlState::SuccessfulCompletion,
                    format!("parameter \"{}\" has no effect", setting.name),
                ),
            });
        }
        self.write(id, &canonical, local);
        Ok(())
    }

    fn check_commit_level(&mut self, text: &str) -> Result<()> {
        if CommitLevel::parse(text).is_early() && !self.early_commits {
            let message = format!("synchronous_commit = {text} is not allowed on this cluster");
            return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message)
                .detail("A commit could be lost after it was acknowledged.")
                .hint("Start the nodes with --allow-local-commit to allow that."));
        }
        if text == "remote_write" {
            let message = "synchronous_commit = remote_write is treated as on";
            self.notices.push(Notice {
                level: NoticeLevel::Notice,
                report: Error::new(SqlState::SuccessfulCompletion, message),
            });
        }
        Ok(())
    }

    fn write(&mut self, id: SettingId, text: &str, local: bool) {
        if self.current.text(id) != text {
            Arc::make_mut(&mut self.current).put(id, text);
        }
        if !local && self.lasting.text(id) != text {
            Arc::make_mut(&mut self.lasting).put(id, text);
        }
    }

    fn set_mode(&mut self, name: &str, text: &str) -> Result<()> {
        match name {
            "transaction_isolation" => {
                if let Some(isolation) = Isolation::parse(text) {
                    self.modes.isolation = isolation;
                }
            }
            "transaction_read_only" => {
                if text == "off" && self.standby {
                    return Err(Error::new(
                        SqlState::FeatureNotSupported,
                        "cannot set transaction read-write mode during recovery",
                    ));
                }
                self.modes.read_only = text == "on";
            }
            _ => self.modes.deferrable = text == "on",
        }
        Ok(())
    }

    /// Custom settings have a dot in their name; `None` resets to nothing.
    fn set_custom(&mut self, name: &str, text: Option<&str>, local: bool) -> Result<()> {
        let valid = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii())
        };
        let lower = name.to_lowercase();
        if !lower.contains('.') || lower.starts_with("lockstep.") {
            return Err(unrecognized(name));
        }
        if !lower.split('.').all(valid) {
            return Err(Error::new(SqlState::InvalidName, format!("invalid configuration parameter name \"{name}\""))
                .detail("Custom parameter names must be two or more simple identifiers separated by dots."));
        }
        let write = |values: &mut Arc<Values>| {
            Arc::make_mut(values).custom.insert(lower.clone(), Arc::from(text.unwrap_or_default()));
        };
        write(&mut self.current);
        if !local {
            write(&mut self.lasting);
        }
        Ok(())
    }

    /// RESET name, SET name TO DEFAULT.
    pub fn reset(&mut self, name: &str, local: bool) -> Result<()> {
        let Some(id) = find(name) else {
            let before = self.reset.custom.get(&name.to_lowercase()).cloned();
            return self.set_custom(name, before.as_deref(), local);
        };
        let setting = &SETTINGS[id.0];
        match (setting.effect, setting.name) {
            (_, "transaction_isolation") => self.modes.isolation = self.current.default_modes.isolation,
            (_, "transaction_read_only") => self.modes.read_only = self.current.default_modes.read_only,
            (_, "transaction_deferrable") => self.modes.deferrable = self.current.default_modes.deferrable,
            (_, "session_authorization" | "role") => {}
            (Effect::ReadOnly, name) => {
                return Err(Error::new(
                    SqlState::CantChangeRuntimeParam,
                    format!("parameter \"{name}\" cannot be changed"),
                ));
            }
            _ => {
                let text = self.reset.text(id).to_string();
                self.write(id, &text, local);
            }
        }
        Ok(())
    }

    /// RESET ALL: it leaves the session who it is.
    pub fn reset_all(&mut self) {
        let (users, lasting) = (self.current.users.clone(), self.lasting.users.clone());
        let reset = self.reset.clone();
        self.restore(reset.clone(), reset);
        self.set_users(lasting, false);
        self.set_users(users, true);
    }

    /// The value as SHOW and current_setting print it; 42704.
    pub fn show(&self, name: &str) -> Result<String> {
        match find(name) {
            Some(id) => Ok(self.shown(id)),
            None => {
                self.current.custom.get(&name.to_lowercase()).map(|t| t.to_string()).ok_or_else(|| unrecognized(name))
            }
        }
    }

    fn raw(&self, id: SettingId) -> String {
        match SETTINGS[id.0].name {
            "transaction_isolation" => self.modes.isolation.text().into(),
            "transaction_read_only" => value::bool_text(self.modes.read_only || self.standby).into(),
            "transaction_deferrable" => value::bool_text(self.modes.deferrable).into(),
            "in_hot_standby" => value::bool_text(self.standby).into(),
            _ => self.current.text(id).to_string(),
        }
    }

    fn shown(&self, id: SettingId) -> String {
        value::display(&SETTINGS[id.0], &self.raw(id))
    }

    /// The canonical name of a setting, as SHOW names its column.
    pub fn canonical_name(name: &str) -> String {
        find(name).map_or_else(|| name.to_lowercase(), |id| SETTINGS[id.0].name.to_string())
    }

    /// Everything, sorted by name.
    pub fn rows(&self) -> Vec<SettingRow> {
        let row = |i: usize| {
            let s = &SETTINGS[i];
            let id = SettingId(i);
            let (vartype, min, max, values) = match s.kind {
                Kind::Bool => ("bool", None, None, None),
                Kind::Int { min, max, .. } => ("integer", Some(min.to_string()), Some(max.to_string()), None),
                Kind::Real { min, max, .. } => ("real", Some(value::real_text(min)), Some(value::real_text(max)), None),
                Kind::Enum(values) => ("enum", None, None, Some(values)),
                Kind::Text => ("string", None, None, None),
            };
            SettingRow {
                name: s.name.into(),
                setting: self.raw(id),
                shown: self.shown(id),
                unit: value::unit_name(s),
                category: s.category,
                description: s.description,
                context: match s.effect {
                    Effect::ReadOnly => "internal",
                    _ if s.superuser => "superuser",
                    _ => "user",
                },
                vartype,
                source: match s.effect == Effect::ReadOnly || self.current.text(id) == s.default {
                    true => "default",
                    false => "session",
                },
                min,
                max,
                values,
                boot: s.default.into(),
                reset: self.reset.text(id).into(),
            }
        };
        (0..SETTINGS.len()).map(row).collect()
    }

    /// Values to report (ParameterStatus): all at first, later what changed since the last call.
    pub fn take_changes(&mut self) -> Vec<(String, String)> {
        let unchanged =
            |(values, standby): &(Arc<Values>, bool)| Arc::ptr_eq(values, &self.current) && *standby == self.standby;
        if self.reported_for.as_ref().is_some_and(unchanged) {
            return Vec::new();
        }
        self.reported_for = Some((self.current.clone(), self.standby));
        let mut changes = Vec::new();
        let first = self.reported.is_empty();
        let all = self.reported_custom.is_some();
        for (i, setting) in SETTINGS.iter().enumerate().filter(|(_, s)| s.report || all && is_carried(s)) {
            let id = SettingId(i);
            let now = self.shown(id);
            if first {
                self.reported.push((id, now.clone()));
                changes.push((setting.name.to_string(), now));
            } else if let Some((_, last)) = self.reported.iter_mut().find(|(r, _)| *r == id)
                && *last != now
            {
                *last = now.clone();
                changes.push((setting.name.to_string(), now));
            }
        }
        if let Some(reported) = &mut self.reported_custom
            && *reported != self.current.custom
        {
            let new = self.current.custom.iter().filter(|(name, text)| reported.get(*name) != Some(*text));
            changes.extend(new.map(|(name, text)| (name.clone(), text.to_string())));
            *reported = self.current.custom.clone();
        }
        changes
    }

    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub fn mark(&self) -> SettingsMark {
        SettingsMark { lasting: self.lasting.clone(), current: self.current.clone() }
    }

    pub fn roll_back(&mut self, mark: &SettingsMark) {
        self.restore(mark.lasting.clone(), mark.current.clone());
    }

    /// SET LOCAL ends with the transaction.
    pub fn commit(&mut self) {
        self.restore(self.lasting.clone(), self.lasting.clone());
    }

    /// Goes back to other values. A custom setting that was ever set stays known, with nothing in it.
    fn restore(&mut self, mut lasting: Arc<Values>, mut current: Arc<Values>) {
        for values in [&mut lasting, &mut current] {
            let known = self.current.custom.keys().filter(|name| !values.custom.contains_key(*name));
            let known: Vec<String> = known.cloned().collect();
            if !known.is_empty() {
                Arc::make_mut(values).custom.extend(known.into_iter().map(|name| (name, Arc::from(""))));
            }
        }
        self.lasting = lasting;
        self.current = current;
    }
}

fn unrecognized(name: &str) -> Error {
    Error::new(SqlState::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
}

/// `-c name=value --name=value`, with backslashes before spaces (libpq's `options`).
fn parse_options(text: &str) -> Result<Vec<(String, String)>> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.extend(chars.next()),
            c if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let pair = if word == "-c" {
            words.next().unwrap_or_default()
        } else if let Some(pair) = word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
            pair.to_string()
        } else {
            return Err(Error::new(
                SqlState::SyntaxError,
                format!("invalid command-line argument for server process: {word}"),
            ));
        };
        match pair.split_once('=') {
            Some((name, text)) => settings.push((name.replace('-', "_"), text.to_string())),
            None => {
                return Err(Error::new(SqlState::SyntaxError, format!("-c {pair} requires a value")));
            }
        }
    }
    Ok(settings)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings(parameters: &[(&str, &str)]) -> Result<Settings> {
        let parameters: Vec<_> = parameters.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        let user = User { oid: Oid(10), name: "ada".into(), superuser: true };
        Settings::new(user, &[], &parameters, false, &[("max_connections", "7".to_owned())])
    }

    #[test]
    fn startup_parameters_and_options() {
        let s = settings(&[
            ("client_encoding", "utf-8"),
            ("options", "-c statement_timeout=2s --search-path=a,\\ b -capplication_name=x"),
        ])
        .unwrap();
        assert_eq!(s.show("statement_timeout").unwrap(), "2s");
        assert_eq!(&*s.values().search_path, ["a", "b"]);
        assert_eq!(s.show("session_authorization").unwrap(), "ada");
        assert_eq!(s.show("max_connections").unwrap(), "7");
        assert_eq!(settings(&[("no_such", "1")]).unwrap_err().state(), SqlState::UndefinedObject);
    }

    #[test]
    fn transactions_undo_and_local_ends() {
        let mut s = settings(&[]).unwrap();
        s.set("statement_timeout", "1s", false).unwrap();
        let begin = s.mark();
        s.set("statement_timeout", "5s", true).unwrap();
        s.set("application_name", "p", false).unwrap();
        assert_eq!(s.show("statement_timeout").unwrap(), "5s");
        s.commit();
        assert_eq!(s.show("statement_timeout").unwrap(), "1s");
        assert_eq!(s.show("application_name").unwrap(), "p");
        s.roll_back(&begin);
        assert_eq!(s.show("application_name").unwrap(), "");
        assert_eq!(s.values().statement_timeout, Some(Duration::from_secs(1)));
    }

    #[test]
    fn reports_what_changed() {
        let mut s = settings(&[]).unwrap();
        assert!(s.take_changes().iter().any(|(n, v)| n == "server_encoding" && v == "UTF8"));
        s.set("timezone", "Europe/Berlin", false).unwrap();
        s.set("statement_timeout", "1", false).unwrap();
        assert_eq!(s.take_changes(), [("TimeZone".to_string(), "Europe/Berlin".to_string())]);
        s.standby = true;
        assert_eq!(s.take_changes(), [("in_hot_standby".to_string(), "on".to_string())]);
    }

    #[test]
    fn nothing_is_ignored_silently() {
        let mut s = settings(&[]).unwrap();
        let refused = s.set("synchronous_commit", "off", false).unwrap_err();
        assert_eq!(refused.state(), SqlState::ObjectNotInPrerequisiteState);
        s.set("synchronous_commit", "remote_write", false).unwrap();
        assert_eq!(s.take_notices().len(), 1);
        assert_eq!(s.set("server_version", "9", false).unwrap_err().state(), SqlState::CantChangeRuntimeParam);
        s.set("work_mem", "1MB", false).unwrap();
        assert_eq!(s.take_notices().len(), 1);
        s.set("myapp.user", "x", false).unwrap();
        assert_eq!(s.show("MyApp.User").unwrap(), "x");
        assert!(s.show("myapp.other").is_err());
    }
}
