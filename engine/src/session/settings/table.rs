//! The table of settings: name, type, default, range, who may change it and what setting it does here.
//!
//! Invariant: a setting is either obeyed, or has exactly the values that describe what Lockstep does anyway, or tells
//! the client that it has no effect. Names, types, ranges and descriptions are those of PostgreSQL 15.

/// What values a setting takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Bool,
    Int { unit: Unit, min: i64, max: i64 },
    Real { min: f64, max: f64 },
    Enum(&'static [&'static str]),
    Text,
}

/// Unit of an integer setting's stored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    None,
    Milliseconds,
    Seconds,
    Bytes,
    Kilobytes,
    /// PostgreSQL's pages.
    Pages,
}

/// What a new value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Obeyed.
    Works,
    /// Any value describes the same behaviour, because what it governs does not exist here or does not differ.
    Moot,
    /// Accepted for the sake of scripts; a NOTICE says that it changes nothing.
    NoEffect,
    /// Only the default can be had; another value is 0A000.
    OnlyDefault,
    /// Shows a fact; cannot be set (55P02).
    ReadOnly,
}

#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    /// Sent to the client at start and on change (ParameterStatus).
    pub report: bool,
    pub effect: Effect,
    pub category: &'static str,
    pub description: &'static str,
}

const fn setting(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    effect: Effect,
    category: &'static str,
    description: &'static str,
) -> Setting {
    Setting { name, kind, default, report: false, effect, category, description }
}

const fn reported(mut s: Setting) -> Setting {
    s.report = true;
    s
}

const I32: i64 = i32::MAX as i64;
const MS: Kind = Kind::Int { unit: Unit::Milliseconds, min: 0, max: I32 };
const COST: Kind = Kind::Real { min: 0.0, max: f64::MAX };
const ISOLATION: Kind = Kind::Enum(&["serializable", "repeatable read", "read committed", "read uncommitted"]);
const BEHAVIOR: &str = "Client Connection Defaults / Statement Behavior";
const LOCALE: &str = "Client Connection Defaults / Locale and Formatting";
const COMPAT: &str = "Version and Platform Compatibility / Previous PostgreSQL Versions";
const PRESET: &str = "Preset Options";
const METHOD: &str = "Query Tuning / Planner Method Configuration";
const COSTS: &str = "Query Tuning / Planner Cost Constants";
const PLANNER: &str = "Query Tuning / Other Planner Options";
const MEMORY: &str = "Resource Usage / Memory";
const ASYNC: &str = "Resource Usage / Asynchronous Behavior";
const LOGGING: &str = "Reporting and Logging / What to Log";

const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { unit: Unit::None, min, max }
}

const fn sized(unit: Unit, min: i64, max: i64) -> Kind {
    Kind::Int { unit, min, max }
}

use Effect::{Moot, NoEffect, OnlyDefault, ReadOnly, Works};

/// Sorted by name without regard to case: [`find`] searches in halves, and SHOW ALL lists in this order.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = &[
    reported(setting("application_name", Kind::Text, "", Works, LOGGING, "Sets the application name to be reported in statistics and logs.")),
    setting("array_nulls", Kind::Bool, "on", OnlyDefault, COMPAT, "Enable input of NULL elements in arrays."),
    setting("autovacuum", Kind::Bool, "on", ReadOnly, "Autovacuum", "Starts the autovacuum subprocess."),
    setting("backslash_quote", Kind::Enum(&["safe_encoding", "on", "off"]), "safe_encoding", Moot, COMPAT, "Sets whether \"\\'\" is allowed in string literals."),
    setting("block_size", int(8192, 8192), "8192", ReadOnly, PRESET, "Shows the size of a disk block."),
    setting("bytea_output", Kind::Enum(&["escape", "hex"]), "hex", Works, BEHAVIOR, "Sets the output format for bytea."),
    setting("check_function_bodies", Kind::Bool, "on", Moot, BEHAVIOR, "Check routine bodies during CREATE FUNCTION and CREATE PROCEDURE."),
    reported(setting("client_encoding", Kind::Text, "UTF8", Works, LOCALE, "Sets the client's character set encoding.")),
    setting("client_min_messages", Kind::Enum(&["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]), "notice", Works, BEHAVIOR, "Sets the message levels that are sent to the client."),
    setting("constraint_exclusion", Kind::Enum(&["partition", "on", "off"]), "partition", Moot, PLANNER, "Enables the planner to use constraints to optimize queries."),
    setting("cpu_index_tuple_cost", COST, "0.005", NoEffect, COSTS, "Sets the planner's estimate of the cost of processing each index entry during an index scan."),
    setting("cpu_operator_cost", COST, "0.0025", NoEffect, COSTS, "Sets the planner's estimate of the cost of processing each operator or function call."),
    setting("cpu_tuple_cost", COST, "0.01", NoEffect, COSTS, "Sets the planner's estimate of the cost of processing each tuple (row)."),
    reported(setting("DateStyle", Kind::Text, "ISO, MDY", Works, LOCALE, "Sets the display format for date and time values.")),
    setting("deadlock_timeout", sized(Unit::Milliseconds, 1, I32), "1000", Moot, "Lock Management", "Sets the time to wait on a lock before checking for deadlock."),
    setting("default_statistics_target", int(1, 10000), "100", NoEffect, PLANNER, "Sets the default statistics target."),
    setting("default_table_access_method", Kind::Text, "heap", Works, BEHAVIOR, "Sets the default table access method for new tables."),
    setting("default_tablespace", Kind::Text, "", OnlyDefault, BEHAVIOR, "Sets the default tablespace to create tables and indexes in."),
    setting("default_text_search_config", Kind::Text, "pg_catalog.simple", OnlyDefault, LOCALE, "Sets default text search configuration."),
    setting("default_toast_compression", Kind::Enum(&["pglz", "lz4"]), "pglz", Moot, BEHAVIOR, "Sets the default compression method for compressible values."),
    setting("default_transaction_deferrable", Kind::Bool, "off", Works, BEHAVIOR, "Sets the default deferrable status of new transactions."),
    setting("default_transaction_isolation", ISOLATION, "read committed", Works, BEHAVIOR, "Sets the transaction isolation level of each new transaction."),
    reported(setting("default_transaction_read_only", Kind::Bool, "off", Works, BEHAVIOR, "Sets the default read-only status of new transactions.")),
    setting("effective_cache_size", sized(Unit::Pages, 1, I32), "524288", NoEffect, COSTS, "Sets the planner's assumption about the total size of the data caches."),
    setting("effective_io_concurrency", int(0, 1000), "1", NoEffect, ASYNC, "Number of simultaneous requests that can be handled efficiently by the disk subsystem."),
    setting("enable_bitmapscan", Kind::Bool, "on", NoEffect, METHOD, "Enables the planner's use of bitmap-scan plans."),
    setting("enable_hashagg", Kind::Bool, "on", NoEffect, METHOD, "Enables the planner's use of hashed aggregation plans."),
    setting("enable_hashjoin", Kind::Bool, "on", NoEffect, METHOD, "Enables the planner's use of hash join plans."),
    setting("enable_indexonlyscan", Kind::Bool, "on", NoEffect, METHOD, "Enables the planner's use of index-only-scan plans."),
    setting("enable_indexscan", Kind::Bool, "on", NoEffect, METHOD, "Enables the planner's use of index-scan plans."),
    setting("enable_material", Kind::Bool, "on", NoEffect, METHOD, "Enables the planner's use of materialization."),
    setting("enable_mergejoin", Kind::Bool, "on", NoEffect, METHOD, "Enables the planner's use of merge join plans."),
    setting("enable_nestloop", Kind::Bool, "on", NoEffect, METHOD, "Enables the planner's use of nested-loop join plans."),
    setting("enable_partition_pruning", Kind::Bool, "on", NoEffect, METHOD, "Enables plan-time and execution-time partition pruning."),
    setting("enable_seqscan", Kind::Bool, "on", NoEffect, METHOD, "Enables the planner's use of sequential-scan plans."),
    setting("enable_sort", Kind::Bool, "on", NoEffect, METHOD, "Enables the planner's use of explicit sort steps."),
    setting("escape_string_warning", Kind::Bool, "on", Moot, COMPAT, "Warn about backslash escapes in ordinary string literals."),
    setting("extra_float_digits", int(-15, 3), "1", Works, LOCALE, "Sets the number of digits displayed for floating-point values."),
    setting("from_collapse_limit", int(1, I32), "8", NoEffect, PLANNER, "Sets the FROM-list size beyond which subqueries are not collapsed."),
    setting("fsync", Kind::Bool, "on", ReadOnly, "Write-Ahead Log / Settings", "Forces synchronization of updates to disk."),
    setting("geqo", Kind::Bool, "on", NoEffect, "Query Tuning / Genetic Query Optimizer", "Enables genetic query optimization."),
    setting("hash_mem_multiplier", Kind::Real { min: 1.0, max: 1000.0 }, "2", NoEffect, MEMORY, "Multiple of work_mem to use for hash tables."),
    setting("hot_standby", Kind::Bool, "on", ReadOnly, "Replication / Standby Servers", "Allows connections and queries during recovery."),
    setting("idle_in_transaction_session_timeout", MS, "0", Works, BEHAVIOR, "Sets the maximum allowed idle time between queries, when in a transaction."),
    setting("idle_session_timeout", MS, "0", Works, BEHAVIOR, "Sets the maximum allowed idle time between queries, when not in a transaction."),
    reported(setting("in_hot_standby", Kind::Bool, "off", ReadOnly, PRESET, "Shows whether hot standby is currently active.")),
    reported(setting("integer_datetimes", Kind::Bool, "on", ReadOnly, PRESET, "Shows whether datetimes are integer based.")),
    reported(setting("IntervalStyle", Kind::Enum(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]), "postgres", Works, LOCALE, "Sets the display format for interval values.")),
    reported(setting("is_superuser", Kind::Bool, "on", ReadOnly, PRESET, "Shows whether the current user is a superuser.")),
    setting("jit", Kind::Bool, "off", Moot, PLANNER, "Allow JIT compilation."),
    setting("join_collapse_limit", int(1, I32), "8", NoEffect, PLANNER, "Sets the FROM-list size beyond which JOIN constructs are not flattened."),
    setting("lc_collate", Kind::Text, "C", ReadOnly, PRESET, "Shows the collation order locale."),
    setting("lc_ctype", Kind::Text, "C", ReadOnly, PRESET, "Shows the character classification and case conversion locale."),
    setting("lc_messages", Kind::Text, "C", Works, LOCALE, "Sets the language in which messages are displayed."),
    setting("lc_monetary", Kind::Text, "C", Works, LOCALE, "Sets the locale for formatting monetary amounts."),
    setting("lc_numeric", Kind::Text, "C", Works, LOCALE, "Sets the locale for formatting numbers."),
    setting("lc_time", Kind::Text, "C", Works, LOCALE, "Sets the locale for formatting date and time values."),
    setting("listen_addresses", Kind::Text, "", ReadOnly, "Connections and Authentication / Connection Settings", "Sets the host name or IP address(es) to listen to."),
    setting("lock_timeout", MS, "0", Works, BEHAVIOR, "Sets the maximum allowed duration of any wait for a lock."),
    setting("lockstep.max_staleness", MS, "0", Works, "Customized Options", "Lets a standby answer from its own state while that is known to be no older; 0 asks the primary first."),
    setting("lockstep.point_path", Kind::Bool, "on", Works, "Customized Options", "Runs short statements on the point path; off sends every statement through the general planner."),
    setting("lockstep.read_after", Kind::Text, "", Works, "Customized Options", "Makes reads wait until this node has applied the given position, as lockstep_position() returns it."),
    setting("lockstep.route_writes", Kind::Bool, "off", Works, "Customized Options", "On a standby, carries statements and transactions that may write to the primary."),
    setting("log_duration", Kind::Bool, "off", NoEffect, LOGGING, "Logs the duration of each completed SQL statement."),
    setting("log_min_duration_statement", sized(Unit::Milliseconds, -1, I32), "-1", NoEffect, "Reporting and Logging / When to Log", "Sets the minimum execution time above which all statements will be logged."),
    setting("log_min_messages", Kind::Enum(&["debug5", "debug4", "debug3", "debug2", "debug1", "info", "notice", "warning", "error", "log", "fatal", "panic"]), "warning", NoEffect, "Reporting and Logging / When to Log", "Sets the message levels that are logged."),
    setting("log_statement", Kind::Enum(&["none", "ddl", "mod", "all"]), "none", NoEffect, LOGGING, "Sets the type of statements logged."),
    setting("maintenance_work_mem", sized(Unit::Kilobytes, 1024, I32), "65536", NoEffect, MEMORY, "Sets the maximum memory to be used for maintenance operations."),
    setting("max_connections", int(1, 262143), "100", ReadOnly, "Connections and Authentication / Connection Settings", "Sets the maximum number of concurrent connections."),
    setting("max_function_args", int(100, 100), "100", ReadOnly, PRESET, "Shows the maximum number of function arguments."),
    setting("max_identifier_length", int(63, 63), "63", ReadOnly, PRESET, "Shows the maximum identifier length."),
    setting("max_index_keys", int(32, 32), "32", ReadOnly, PRESET, "Shows the maximum number of index keys."),
    setting("max_locks_per_transaction", int(10, I32), "64", ReadOnly, "Lock Management", "Sets the maximum number of locks per transaction."),
    setting("max_parallel_workers", int(0, 1024), "8", NoEffect, ASYNC, "Sets the maximum number of parallel workers that can be active at one time."),
    setting("max_parallel_workers_per_gather", int(0, 1024), "2", NoEffect, ASYNC, "Sets the maximum number of parallel processes per executor node."),
    setting("max_prepared_transactions", int(0, 262143), "0", ReadOnly, "Resource Usage / Memory", "Sets the maximum number of simultaneously prepared transactions."),
    setting("min_parallel_index_scan_size", sized(Unit::Pages, 0, 715827882), "64", NoEffect, COSTS, "Sets the minimum amount of index data for a parallel scan."),
    setting("min_parallel_table_scan_size", sized(Unit::Pages, 0, 715827882), "1024", NoEffect, COSTS, "Sets the minimum amount of table data for a parallel scan."),
    setting("parallel_setup_cost", COST, "1000", NoEffect, COSTS, "Sets the planner's estimate of the cost of starting up worker processes for parallel query."),
    setting("parallel_tuple_cost", COST, "0.1", NoEffect, COSTS, "Sets the planner's estimate of the cost of passing each tuple (row) from worker to leader backend."),
    setting("password_encryption", Kind::Enum(&["scram-sha-256"]), "scram-sha-256", Works, "Connections and Authentication / Authentication", "Chooses the algorithm for encrypting passwords."),
    setting("plan_cache_mode", Kind::Enum(&["auto", "force_generic_plan", "force_custom_plan"]), "auto", NoEffect, PLANNER, "Controls the planner's selection of custom or generic plan."),
    setting("port", int(1, 65535), "5432", ReadOnly, "Connections and Authentication / Connection Settings", "Sets the TCP port the server listens on."),
    setting("quote_all_identifiers", Kind::Bool, "off", OnlyDefault, COMPAT, "When generating SQL fragments, quote all identifiers."),
    setting("random_page_cost", COST, "4", NoEffect, COSTS, "Sets the planner's estimate of the cost of a nonsequentially fetched disk page."),
    setting("row_security", Kind::Bool, "on", Moot, BEHAVIOR, "Enable row security."),
    setting("search_path", Kind::Text, "\"$user\", public", Works, BEHAVIOR, "Sets the schema search order for names that are not schema-qualified."),
    setting("seq_page_cost", COST, "1", NoEffect, COSTS, "Sets the planner's estimate of the cost of a sequentially fetched disk page."),
    reported(setting("server_encoding", Kind::Text, "UTF8", ReadOnly, PRESET, "Shows the server (database) character set encoding.")),
    reported(setting("server_version", Kind::Text, SERVER_VERSION, ReadOnly, PRESET, "Shows the server version.")),
    setting("server_version_num", int(150000, 150999), SERVER_VERSION_NUM, ReadOnly, PRESET, "Shows the server version as an integer."),
    reported(setting("session_authorization", Kind::Text, "", ReadOnly, "Ungrouped", "Sets the session user name.")),
    setting("session_replication_role", Kind::Enum(&["origin", "replica", "local"]), "origin", OnlyDefault, BEHAVIOR, "Sets the session's behavior for triggers and rewrite rules."),
    setting("shared_buffers", sized(Unit::Pages, 16, 1073741823), "16384", ReadOnly, MEMORY, "Sets the number of shared memory buffers used by the server."),
    setting("ssl", Kind::Bool, "off", ReadOnly, "Connections and Authentication / SSL", "Enables SSL connections."),
    reported(setting("standard_conforming_strings", Kind::Bool, "on", OnlyDefault, COMPAT, "Causes '...' strings to treat backslashes literally.")),
    setting("statement_timeout", MS, "0", Works, BEHAVIOR, "Sets the maximum allowed duration of any statement."),
    setting("synchronize_seqscans", Kind::Bool, "on", Moot, COMPAT, "Enable synchronized sequential scans."),
    setting("synchronous_commit", Kind::Enum(&["local", "remote_write", "remote_apply", "on", "off"]), "on", Works, "Write-Ahead Log / Settings", "Sets the current transaction's synchronization level."),
    setting("temp_buffers", sized(Unit::Pages, 100, 1073741823), "1024", NoEffect, MEMORY, "Sets the maximum number of temporary buffers used by each session."),
    reported(setting("TimeZone", Kind::Text, "UTC", Works, LOCALE, "Sets the time zone for displaying and interpreting time stamps.")),
    setting("track_activities", Kind::Bool, "on", OnlyDefault, "Statistics / Cumulative Query and Index Statistics", "Collects information about executing commands."),
    setting("transaction_deferrable", Kind::Bool, "off", Works, BEHAVIOR, "Whether to defer a read-only serializable transaction until it can be executed with no possible serialization failures."),
    setting("transaction_isolation", ISOLATION, "read committed", Works, BEHAVIOR, "Sets the current transaction's isolation level."),
    setting("transaction_read_only", Kind::Bool, "off", Works, BEHAVIOR, "Sets the current transaction's read-only status."),
    setting("transform_null_equals", Kind::Bool, "off", OnlyDefault, "Version and Platform Compatibility / Other Platforms and Clients", "Treats \"expr=NULL\" as \"expr IS NULL\"."),
    setting("wal_level", Kind::Enum(&["minimal", "replica", "logical"]), "replica", ReadOnly, "Write-Ahead Log / Settings", "Sets the level of information written to the WAL."),
    setting("work_mem", sized(Unit::Kilobytes, 64, I32), "4096", NoEffect, MEMORY, "Sets the maximum memory to be used for query workspaces."),
    setting("xmlbinary", Kind::Enum(&["base64", "hex"]), "base64", Moot, BEHAVIOR, "Sets how binary values are to be encoded in XML."),
    setting("xmloption", Kind::Enum(&["content", "document"]), "content", Moot, BEHAVIOR, "Sets whether XML data in implicit parsing and serialization operations is to be considered as documents or content fragments."),
];

/// The PostgreSQL version whose behaviour clients may expect.
pub const SERVER_VERSION: &str = "15.18";
pub const SERVER_VERSION_NUM: &str = "150018";

/// Index of a setting in [`SETTINGS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingId(pub usize);

/// Looks a name up without regard to case.
pub fn find(name: &str) -> Option<SettingId> {
    SETTINGS
        .binary_search_by(|s| {
            s.name.bytes().map(|b| b.to_ascii_lowercase()).cmp(name.bytes().map(|b| b.to_ascii_lowercase()))
        })
        .ok()
        .map(SettingId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_at_its_place() {
        for (i, s) in SETTINGS.iter().enumerate() {
            assert_eq!(find(&s.name.to_uppercase()), Some(SettingId(i)), "{}", s.name);
        }
        assert_eq!(find("no_such_setting"), None);
    }
}
