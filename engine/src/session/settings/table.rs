//! The table of settings: name, type, default, range, who may change it and what setting it does here.
//!
//! Invariant: a setting is either obeyed, or has exactly the values that describe what Lockstep does anyway, or tells
//! the client that it has no effect. Names, types, ranges and descriptions are those of PostgreSQL 15.

/// What values a setting takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Bool,
    Int { unit: Unit, min: i64, max: i64 },
    Real { unit: Unit, min: f64, max: f64 },
    Enum(&'static [&'static str]),
    Text,
}

/// Unit of a number's stored value.
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
    /// Any value describes the same behaviour, because what it governs does not exist here (bitmap scans, the cost of reading
    /// pages in VACUUM) or does not differ (nested loops are what is left where nothing else can be had).
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
    /// Only superusers may set it.
    pub superuser: bool,
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
    Setting { name, kind, default, report: false, effect, superuser: false, category, description }
}

const fn reported(mut s: Setting) -> Setting {
    s.report = true;
    s
}

const fn superuser(mut s: Setting) -> Setting {
    s.superuser = true;
    s
}

const I32: i64 = i32::MAX as i64;
const MS: Kind = Kind::Int { unit: Unit::Milliseconds, min: 0, max: I32 };
const COST: Kind = real(0.0, f64::MAX);
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

const fn real(min: f64, max: f64) -> Kind {
    Kind::Real { unit: Unit::None, min, max }
}

const fn sized(unit: Unit, min: i64, max: i64) -> Kind {
    Kind::Int { unit, min, max }
}

use Effect::{Moot, NoEffect, OnlyDefault, ReadOnly, Works};

/// Sorted by name without regard to case: [`find`] searches in halves, and SHOW ALL lists in this order.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = &[
    superuser(setting("allow_in_place_tablespaces", Kind::Bool, "off", NoEffect, "Developer Options", "Allows tablespaces directly inside pg_tblspc, for testing.")),
    superuser(setting("allow_system_table_mods", Kind::Bool, "off", NoEffect, "Developer Options", "Allows modifications of the structure of system tables.")),
    reported(setting("application_name", Kind::Text, "", Works, LOGGING, "Sets the application name to be reported in statistics and logs.")),
    setting("array_nulls", Kind::Bool, "on", OnlyDefault, COMPAT, "Enable input of NULL elements in arrays."),
    setting("autovacuum", Kind::Bool, "on", ReadOnly, "Autovacuum", "Starts the autovacuum subprocess."),
    setting("backend_flush_after", sized(Unit::Pages, 0, 256), "0", NoEffect, ASYNC, "Number of pages after which previously performed writes are flushed to disk."),
    setting("backslash_quote", Kind::Enum(&["safe_encoding", "on", "off"]), "safe_encoding", Moot, COMPAT, "Sets whether \"\\'\" is allowed in string literals."),
    superuser(setting("backtrace_functions", Kind::Text, "", NoEffect, "Developer Options", "Log backtrace for errors in these functions.")),
    setting("block_size", int(8192, 8192), "8192", ReadOnly, PRESET, "Shows the size of a disk block."),
    setting("bytea_output", Kind::Enum(&["escape", "hex"]), "hex", Works, BEHAVIOR, "Sets the output format for bytea."),
    setting("check_function_bodies", Kind::Bool, "on", Works, BEHAVIOR, "Check routine bodies during CREATE FUNCTION and CREATE PROCEDURE."),
    setting("client_connection_check_interval", sized(Unit::Milliseconds, 0, I32), "0", NoEffect, "Connections and Authentication / Connection Settings", "Sets the time interval between checks for disconnection while running queries."),
    reported(setting("client_encoding", Kind::Text, "UTF8", Works, LOCALE, "Sets the client's character set encoding.")),
    setting("client_min_messages", Kind::Enum(&["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]), "notice", Works, BEHAVIOR, "Sets the message levels that are sent to the client."),
    superuser(setting("commit_delay", int(0, 100000), "0", NoEffect, "Write-Ahead Log / Settings", "Sets the delay in microseconds between transaction commit and flushing WAL to disk.")),
    setting("commit_siblings", int(0, 1000), "5", NoEffect, "Write-Ahead Log / Settings", "Sets the minimum number of concurrent open transactions required before performing commit_delay."),
    superuser(setting("compute_query_id", Kind::Enum(&["auto", "regress", "on", "off"]), "auto", NoEffect, "Statistics / Monitoring", "Enables in-core computation of query identifiers.")),
    setting("constraint_exclusion", Kind::Enum(&["partition", "on", "off"]), "partition", Moot, PLANNER, "Enables the planner to use constraints to optimize queries."),
    setting("cpu_index_tuple_cost", COST, "0.005", NoEffect, COSTS, "Sets the planner's estimate of the cost of processing each index entry during an index scan."),
    setting("cpu_operator_cost", COST, "0.0025", NoEffect, COSTS, "Sets the planner's estimate of the cost of processing each operator or function call."),
    setting("cpu_tuple_cost", COST, "0.01", NoEffect, COSTS, "Sets the planner's estimate of the cost of processing each tuple (row)."),
    setting("cursor_tuple_fraction", real(0.0, 1.0), "0.1", NoEffect, PLANNER, "Sets the planner's estimate of the fraction of a cursor's rows that will be retrieved."),
    setting("data_checksums", Kind::Bool, "on", ReadOnly, PRESET, "Shows whether data checksums are turned on for this cluster."),
    reported(setting("DateStyle", Kind::Text, "ISO, MDY", Works, LOCALE, "Sets the display format for date and time values.")),
    superuser(setting("deadlock_timeout", sized(Unit::Milliseconds, 1, I32), "1000", Moot, "Lock Management", "Sets the time to wait on a lock before checking for deadlock.")),
    setting("debug_assertions", Kind::Bool, "off", ReadOnly, PRESET, "Shows whether the running server has assertion checks enabled."),
    superuser(setting("debug_discard_caches", int(0, 0), "0", NoEffect, "Developer Options", "Aggressively flush system caches for debugging purposes.")),
    setting("debug_pretty_print", Kind::Bool, "on", NoEffect, LOGGING, "Indents parse and plan tree displays."),
    setting("debug_print_parse", Kind::Bool, "off", NoEffect, LOGGING, "Logs each query's parse tree."),
    setting("debug_print_plan", Kind::Bool, "off", NoEffect, LOGGING, "Logs each query's execution plan."),
    setting("debug_print_rewritten", Kind::Bool, "off", NoEffect, LOGGING, "Logs each query's rewritten parse tree."),
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
    setting("enable_async_append", Kind::Bool, "on", Moot, METHOD, "Enables the planner's use of async append plans."),
    setting("enable_bitmapscan", Kind::Bool, "on", Moot, METHOD, "Enables the planner's use of bitmap-scan plans."),
    setting("enable_gathermerge", Kind::Bool, "on", Moot, METHOD, "Enables the planner's use of gather merge plans."),
    setting("enable_hashagg", Kind::Bool, "on", NoEffect, METHOD, "Enables the planner's use of hashed aggregation plans."),
    setting("enable_hashjoin", Kind::Bool, "on", Works, METHOD, "Enables the planner's use of hash join plans."),
    setting("enable_incremental_sort", Kind::Bool, "on", Moot, METHOD, "Enables the planner's use of incremental sort steps."),
    setting("enable_indexonlyscan", Kind::Bool, "on", Moot, METHOD, "Enables the planner's use of index-only-scan plans."),
    setting("enable_indexscan", Kind::Bool, "on", Works, METHOD, "Enables the planner's use of index-scan plans."),
    setting("enable_material", Kind::Bool, "on", Moot, METHOD, "Enables the planner's use of materialization."),
    setting("enable_memoize", Kind::Bool, "on", Moot, METHOD, "Enables the planner's use of memoization."),
    setting("enable_mergejoin", Kind::Bool, "on", Works, METHOD, "Enables the planner's use of merge join plans."),
    setting("enable_nestloop", Kind::Bool, "on", Moot, METHOD, "Enables the planner's use of nested-loop join plans."),
    setting("enable_parallel_append", Kind::Bool, "on", Moot, METHOD, "Enables the planner's use of parallel append plans."),
    setting("enable_parallel_hash", Kind::Bool, "on", Moot, METHOD, "Enables the planner's use of parallel hash plans."),
    setting("enable_partition_pruning", Kind::Bool, "on", Moot, METHOD, "Enables plan-time and execution-time partition pruning."),
    setting("enable_partitionwise_aggregate", Kind::Bool, "off", Moot, METHOD, "Enables partitionwise aggregation and grouping."),
    setting("enable_partitionwise_join", Kind::Bool, "off", Moot, METHOD, "Enables partitionwise join."),
    setting("enable_seqscan", Kind::Bool, "on", Works, METHOD, "Enables the planner's use of sequential-scan plans."),
    setting("enable_sort", Kind::Bool, "on", Works, METHOD, "Enables the planner's use of explicit sort steps."),
    setting("enable_tidscan", Kind::Bool, "on", Moot, METHOD, "Enables the planner's use of TID scan plans."),
    setting("escape_string_warning", Kind::Bool, "on", Moot, COMPAT, "Warn about backslash escapes in ordinary string literals."),
    setting("extra_float_digits", int(-15, 3), "1", Works, LOCALE, "Sets the number of digits displayed for floating-point values."),
    setting("force_parallel_mode", Kind::Enum(&["off", "on", "regress"]), "off", NoEffect, "Developer Options", "Forces use of parallel query facilities."),
    setting("from_collapse_limit", int(1, I32), "8", NoEffect, PLANNER, "Sets the FROM-list size beyond which subqueries are not collapsed."),
    setting("fsync", Kind::Bool, "on", ReadOnly, "Write-Ahead Log / Settings", "Forces synchronization of updates to disk."),
    setting("geqo", Kind::Bool, "on", Moot, "Query Tuning / Genetic Query Optimizer", "Enables genetic query optimization."),
    setting("geqo_effort", int(1, 10), "5", Moot, "Query Tuning / Genetic Query Optimizer", "GEQO: effort is used to set the default for other GEQO parameters."),
    setting("geqo_generations", int(0, I32), "0", Moot, "Query Tuning / Genetic Query Optimizer", "GEQO: number of iterations of the algorithm."),
    setting("geqo_pool_size", int(0, I32), "0", Moot, "Query Tuning / Genetic Query Optimizer", "GEQO: number of individuals in the population."),
    setting("geqo_seed", real(0.0, 1.0), "0", Moot, "Query Tuning / Genetic Query Optimizer", "GEQO: seed for random path selection."),
    setting("geqo_selection_bias", real(1.5, 2.0), "2", Moot, "Query Tuning / Genetic Query Optimizer", "GEQO: selective pressure within the population."),
    setting("geqo_threshold", int(2, I32), "12", Moot, "Query Tuning / Genetic Query Optimizer", "Sets the threshold of FROM items beyond which GEQO is used."),
    setting("gin_fuzzy_search_limit", int(0, I32), "0", NoEffect, "Client Connection Defaults / Other Defaults", "Sets the maximum allowed result for exact search by GIN."),
    setting("gin_pending_list_limit", sized(Unit::Kilobytes, 64, I32), "4096", NoEffect, BEHAVIOR, "Sets the maximum size of the pending list for GIN index."),
    setting("hash_mem_multiplier", real(1.0, 1000.0), "2", NoEffect, MEMORY, "Multiple of work_mem to use for hash tables."),
    setting("hot_standby", Kind::Bool, "on", ReadOnly, "Replication / Standby Servers", "Allows connections and queries during recovery."),
    setting("idle_in_transaction_session_timeout", MS, "0", Works, BEHAVIOR, "Sets the maximum allowed idle time between queries, when in a transaction."),
    setting("idle_session_timeout", MS, "0", Works, BEHAVIOR, "Sets the maximum allowed idle time between queries, when not in a transaction."),
    superuser(setting("ignore_checksum_failure", Kind::Bool, "off", NoEffect, "Developer Options", "Continues processing after a checksum failure.")),
    reported(setting("in_hot_standby", Kind::Bool, "off", ReadOnly, PRESET, "Shows whether hot standby is currently active.")),
    reported(setting("integer_datetimes", Kind::Bool, "on", ReadOnly, PRESET, "Shows whether datetimes are integer based.")),
    reported(setting("IntervalStyle", Kind::Enum(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]), "postgres", Works, LOCALE, "Sets the display format for interval values.")),
    reported(setting("is_superuser", Kind::Bool, "on", ReadOnly, PRESET, "Shows whether the current user is a superuser.")),
    setting("jit", Kind::Bool, "off", Moot, PLANNER, "Allow JIT compilation."),
    setting("jit_above_cost", real(-1.0, f64::MAX), "100000", Moot, COSTS, "Perform JIT compilation if query is more expensive."),
    setting("jit_debugging_support", Kind::Bool, "off", ReadOnly, "Developer Options", "Register JIT-compiled functions with debugger."),
    superuser(setting("jit_dump_bitcode", Kind::Bool, "off", NoEffect, "Developer Options", "Write out LLVM bitcode to facilitate JIT debugging.")),
    setting("jit_expressions", Kind::Bool, "on", Moot, "Developer Options", "Allow JIT compilation of expressions."),
    setting("jit_inline_above_cost", real(-1.0, f64::MAX), "500000", Moot, COSTS, "Perform JIT inlining if query is more expensive."),
    setting("jit_optimize_above_cost", real(-1.0, f64::MAX), "500000", Moot, COSTS, "Optimize JIT-compiled functions if query is more expensive."),
    setting("jit_profiling_support", Kind::Bool, "off", ReadOnly, "Developer Options", "Register JIT-compiled functions with perf profiler."),
    setting("jit_tuple_deforming", Kind::Bool, "on", Moot, "Developer Options", "Allow JIT compilation of tuple deforming."),
    setting("join_collapse_limit", int(1, I32), "8", NoEffect, PLANNER, "Sets the FROM-list size beyond which JOIN constructs are not flattened."),
    setting("lc_collate", Kind::Text, "C", ReadOnly, PRESET, "Shows the collation order locale."),
    setting("lc_ctype", Kind::Text, "C", ReadOnly, PRESET, "Shows the character classification and case conversion locale."),
    superuser(setting("lc_messages", Kind::Text, "C", Works, LOCALE, "Sets the language in which messages are displayed.")),
    setting("lc_monetary", Kind::Text, "C", Works, LOCALE, "Sets the locale for formatting monetary amounts."),
    setting("lc_numeric", Kind::Text, "C", Works, LOCALE, "Sets the locale for formatting numbers."),
    setting("lc_time", Kind::Text, "C", Works, LOCALE, "Sets the locale for formatting date and time values."),
    setting("listen_addresses", Kind::Text, "", ReadOnly, "Connections and Authentication / Connection Settings", "Sets the host name or IP address(es) to listen to."),
    superuser(setting("lo_compat_privileges", Kind::Bool, "off", NoEffect, COMPAT, "Enables backward compatibility mode for privilege checks on large objects.")),
    setting("lock_timeout", MS, "0", Works, BEHAVIOR, "Sets the maximum allowed duration of any wait for a lock."),
    setting("lockstep.max_staleness", MS, "0", Works, "Customized Options", "Lets a standby answer from its own state while that is known to be no older; 0 asks the primary first."),
    setting("lockstep.point_path", Kind::Bool, "on", Works, "Customized Options", "Runs short statements on the point path; off sends every statement through the general planner."),
    setting("lockstep.read_after", Kind::Text, "", Works, "Customized Options", "Makes reads wait until this node has applied the given position, as lockstep_position() returns it."),
    setting("lockstep.route_writes", Kind::Bool, "off", Works, "Customized Options", "On a standby, carries statements and transactions that may write to the primary."),
    setting("log_connections", Kind::Bool, "off", ReadOnly, LOGGING, "Logs each successful connection."),
    setting("log_disconnections", Kind::Bool, "off", ReadOnly, LOGGING, "Logs end of a session, including duration."),
    superuser(setting("log_duration", Kind::Bool, "off", NoEffect, LOGGING, "Logs the duration of each completed SQL statement.")),
    superuser(setting("log_error_verbosity", Kind::Enum(&["terse", "default", "verbose"]), "default", NoEffect, LOGGING, "Sets the verbosity of logged messages.")),
    superuser(setting("log_executor_stats", Kind::Bool, "off", NoEffect, "Statistics / Monitoring", "Writes executor performance statistics to the server log.")),
    superuser(setting("log_lock_waits", Kind::Bool, "off", NoEffect, LOGGING, "Logs long lock waits.")),
    superuser(setting("log_min_duration_sample", sized(Unit::Milliseconds, -1, I32), "-1", NoEffect, "Reporting and Logging / When to Log", "Sets the minimum execution time above which a sample of statements will be logged. Sampling is determined by log_statement_sample_rate.")),
    superuser(setting("log_min_duration_statement", sized(Unit::Milliseconds, -1, I32), "-1", NoEffect, "Reporting and Logging / When to Log", "Sets the minimum execution time above which all statements will be logged.")),
    superuser(setting("log_min_error_statement", Kind::Enum(&["debug5", "debug4", "debug3", "debug2", "debug1", "info", "notice", "warning", "error", "log", "fatal", "panic"]), "error", NoEffect, "Reporting and Logging / When to Log", "Causes all statements generating error at or above this level to be logged.")),
    superuser(setting("log_min_messages", Kind::Enum(&["debug5", "debug4", "debug3", "debug2", "debug1", "info", "notice", "warning", "error", "log", "fatal", "panic"]), "warning", NoEffect, "Reporting and Logging / When to Log", "Sets the message levels that are logged.")),
    superuser(setting("log_parameter_max_length", sized(Unit::Bytes, -1, 1073741823), "-1", NoEffect, LOGGING, "Sets the maximum length in bytes of data logged for bind parameter values when logging statements.")),
    setting("log_parameter_max_length_on_error", sized(Unit::Bytes, -1, 1073741823), "0", NoEffect, LOGGING, "Sets the maximum length in bytes of data logged for bind parameter values when logging statements, on error."),
    superuser(setting("log_parser_stats", Kind::Bool, "off", NoEffect, "Statistics / Monitoring", "Writes parser performance statistics to the server log.")),
    superuser(setting("log_planner_stats", Kind::Bool, "off", NoEffect, "Statistics / Monitoring", "Writes planner performance statistics to the server log.")),
    superuser(setting("log_replication_commands", Kind::Bool, "off", NoEffect, LOGGING, "Logs each replication command.")),
    superuser(setting("log_statement", Kind::Enum(&["none", "ddl", "mod", "all"]), "none", NoEffect, LOGGING, "Sets the type of statements logged.")),
    superuser(setting("log_statement_sample_rate", real(0.0, 1.0), "1", NoEffect, "Reporting and Logging / When to Log", "Fraction of statements exceeding log_min_duration_sample to be logged.")),
    superuser(setting("log_statement_stats", Kind::Bool, "off", NoEffect, "Statistics / Monitoring", "Writes cumulative performance statistics to the server log.")),
    superuser(setting("log_temp_files", sized(Unit::Kilobytes, -1, I32), "-1", NoEffect, LOGGING, "Log the use of temporary files larger than this number of kilobytes.")),
    superuser(setting("log_transaction_sample_rate", real(0.0, 1.0), "0", NoEffect, "Reporting and Logging / When to Log", "Sets the fraction of transactions from which to log all statements.")),
    setting("logical_decoding_work_mem", sized(Unit::Kilobytes, 64, I32), "65536", NoEffect, MEMORY, "Sets the maximum memory to be used for logical decoding."),
    setting("maintenance_io_concurrency", int(0, 1000), "10", NoEffect, ASYNC, "A variant of effective_io_concurrency that is used for maintenance work."),
    setting("maintenance_work_mem", sized(Unit::Kilobytes, 1024, I32), "65536", NoEffect, MEMORY, "Sets the maximum memory to be used for maintenance operations."),
    setting("max_connections", int(1, 262143), "100", ReadOnly, "Connections and Authentication / Connection Settings", "Sets the maximum number of concurrent connections."),
    setting("max_function_args", int(100, 100), "100", ReadOnly, PRESET, "Shows the maximum number of function arguments."),
    setting("max_identifier_length", int(63, 63), "63", ReadOnly, PRESET, "Shows the maximum identifier length."),
    setting("max_index_keys", int(32, 32), "32", ReadOnly, PRESET, "Shows the maximum number of index keys."),
    setting("max_locks_per_transaction", int(10, I32), "64", ReadOnly, "Lock Management", "Sets the maximum number of locks per transaction."),
    setting("max_parallel_maintenance_workers", int(0, 1024), "2", NoEffect, ASYNC, "Sets the maximum number of parallel processes per maintenance operation."),
    setting("max_parallel_workers", int(0, 1024), "8", NoEffect, ASYNC, "Sets the maximum number of parallel workers that can be active at one time."),
    setting("max_parallel_workers_per_gather", int(0, 1024), "2", NoEffect, ASYNC, "Sets the maximum number of parallel processes per executor node."),
    setting("max_prepared_transactions", int(0, 262143), "0", ReadOnly, "Resource Usage / Memory", "Sets the maximum number of simultaneously prepared transactions."),
    superuser(setting("max_stack_depth", sized(Unit::Kilobytes, 100, I32), "100", NoEffect, MEMORY, "Sets the maximum stack depth, in kilobytes.")),
    setting("min_parallel_index_scan_size", sized(Unit::Pages, 0, 715827882), "64", NoEffect, COSTS, "Sets the minimum amount of index data for a parallel scan."),
    setting("min_parallel_table_scan_size", sized(Unit::Pages, 0, 715827882), "1024", NoEffect, COSTS, "Sets the minimum amount of table data for a parallel scan."),
    setting("parallel_leader_participation", Kind::Bool, "on", NoEffect, ASYNC, "Controls whether Gather and Gather Merge also run subplans."),
    setting("parallel_setup_cost", COST, "1000", NoEffect, COSTS, "Sets the planner's estimate of the cost of starting up worker processes for parallel query."),
    setting("parallel_tuple_cost", COST, "0.1", NoEffect, COSTS, "Sets the planner's estimate of the cost of passing each tuple (row) from worker to leader backend."),
    setting("password_encryption", Kind::Enum(&["scram-sha-256"]), "scram-sha-256", Works, "Connections and Authentication / Authentication", "Chooses the algorithm for encrypting passwords."),
    setting("plan_cache_mode", Kind::Enum(&["auto", "force_generic_plan", "force_custom_plan"]), "auto", NoEffect, PLANNER, "Controls the planner's selection of custom or generic plan."),
    setting("port", int(1, 65535), "5432", ReadOnly, "Connections and Authentication / Connection Settings", "Sets the TCP port the server listens on."),
    setting("quote_all_identifiers", Kind::Bool, "off", OnlyDefault, COMPAT, "When generating SQL fragments, quote all identifiers."),
    setting("random_page_cost", COST, "4", NoEffect, COSTS, "Sets the planner's estimate of the cost of a nonsequentially fetched disk page."),
    setting("recursive_worktable_factor", real(0.001, 1000000.0), "10", NoEffect, PLANNER, "Sets the planner's estimate of the average size of a recursive query's working table."),
    setting("role", Kind::Text, "none", Works, "Ungrouped", "Sets the current role."),
    setting("row_security", Kind::Bool, "on", Works, BEHAVIOR, "Enable row security."),
    setting("search_path", Kind::Text, "\"$user\", public", Works, BEHAVIOR, "Sets the schema search order for names that are not schema-qualified."),
    setting("seq_page_cost", COST, "1", NoEffect, COSTS, "Sets the planner's estimate of the cost of a sequentially fetched disk page."),
    reported(setting("server_encoding", Kind::Text, "UTF8", ReadOnly, PRESET, "Shows the server (database) character set encoding.")),
    reported(setting("server_version", Kind::Text, SERVER_VERSION, ReadOnly, PRESET, "Shows the server version.")),
    setting("server_version_num", int(150000, 150999), SERVER_VERSION_NUM, ReadOnly, PRESET, "Shows the server version as an integer."),
    reported(setting("session_authorization", Kind::Text, "", Works, "Ungrouped", "Sets the session user name.")),
    superuser(setting("session_replication_role", Kind::Enum(&["origin", "replica", "local"]), "origin", OnlyDefault, BEHAVIOR, "Sets the session's behavior for triggers and rewrite rules.")),
    setting("shared_buffers", sized(Unit::Pages, 16, 1073741823), "16384", ReadOnly, MEMORY, "Sets the number of shared memory buffers used by the server."),
    setting("ssl", Kind::Bool, "off", ReadOnly, "Connections and Authentication / SSL", "Enables SSL connections."),
    reported(setting("standard_conforming_strings", Kind::Bool, "on", OnlyDefault, COMPAT, "Causes '...' strings to treat backslashes literally.")),
    setting("statement_timeout", MS, "0", Works, BEHAVIOR, "Sets the maximum allowed duration of any statement."),
    setting("stats_fetch_consistency", Kind::Enum(&["none", "cache", "snapshot"]), "cache", NoEffect, "Statistics / Cumulative Query and Index Statistics", "Sets the consistency of accesses to statistics data."),
    setting("synchronize_seqscans", Kind::Bool, "on", Moot, COMPAT, "Enable synchronized sequential scans."),
    setting("synchronous_commit", Kind::Enum(&["local", "remote_write", "remote_apply", "on", "off"]), "on", Works, "Write-Ahead Log / Settings", "Sets the current transaction's synchronization level."),
    setting("tcp_keepalives_count", int(0, I32), "0", NoEffect, "Connections and Authentication / Connection Settings", "Maximum number of TCP keepalive retransmits."),
    setting("tcp_keepalives_idle", sized(Unit::Seconds, 0, I32), "0", NoEffect, "Connections and Authentication / Connection Settings", "Time between issuing TCP keepalives."),
    setting("tcp_keepalives_interval", sized(Unit::Seconds, 0, I32), "0", NoEffect, "Connections and Authentication / Connection Settings", "Time between TCP keepalive retransmits."),
    setting("tcp_user_timeout", sized(Unit::Milliseconds, 0, I32), "0", NoEffect, "Connections and Authentication / Connection Settings", "TCP user timeout."),
    setting("temp_buffers", sized(Unit::Pages, 100, 1073741823), "1024", NoEffect, MEMORY, "Sets the maximum number of temporary buffers used by each session."),
    superuser(setting("temp_file_limit", sized(Unit::Kilobytes, -1, I32), "-1", NoEffect, "Resource Usage / Disk", "Limits the total size of all temporary files used by each process.")),
    setting("temp_tablespaces", Kind::Text, "", NoEffect, BEHAVIOR, "Sets the tablespace(s) to use for temporary tables and sort files."),
    reported(setting("TimeZone", Kind::Text, "UTC", Works, LOCALE, "Sets the time zone for displaying and interpreting time stamps.")),
    setting("trace_notify", Kind::Bool, "off", NoEffect, "Developer Options", "Generates debugging output for LISTEN and NOTIFY."),
    setting("trace_sort", Kind::Bool, "off", NoEffect, "Developer Options", "Emit information about resource usage in sorting."),
    superuser(setting("track_activities", Kind::Bool, "on", OnlyDefault, "Statistics / Cumulative Query and Index Statistics", "Collects information about executing commands.")),
    superuser(setting("track_counts", Kind::Bool, "on", NoEffect, "Statistics / Cumulative Query and Index Statistics", "Collects statistics on database activity.")),
    superuser(setting("track_functions", Kind::Enum(&["none", "pl", "all"]), "none", NoEffect, "Statistics / Cumulative Query and Index Statistics", "Collects function-level statistics on database activity.")),
    superuser(setting("track_io_timing", Kind::Bool, "off", NoEffect, "Statistics / Cumulative Query and Index Statistics", "Collects timing statistics for database I/O activity.")),
    superuser(setting("track_wal_io_timing", Kind::Bool, "off", NoEffect, "Statistics / Cumulative Query and Index Statistics", "Collects timing statistics for WAL I/O activity.")),
    setting("transaction_deferrable", Kind::Bool, "off", Works, BEHAVIOR, "Whether to defer a read-only serializable transaction until it can be executed with no possible serialization failures."),
    setting("transaction_isolation", ISOLATION, "read committed", Works, BEHAVIOR, "Sets the current transaction's isolation level."),
    setting("transaction_read_only", Kind::Bool, "off", Works, BEHAVIOR, "Sets the current transaction's read-only status."),
    setting("transform_null_equals", Kind::Bool, "off", OnlyDefault, "Version and Platform Compatibility / Other Platforms and Clients", "Treats \"expr=NULL\" as \"expr IS NULL\"."),
    superuser(setting("update_process_title", Kind::Bool, "on", NoEffect, "Reporting and Logging / Process Title", "Updates the process title to show the active SQL command.")),
    setting("vacuum_cost_delay", Kind::Real { unit: Unit::Milliseconds, min: 0.0, max: 100.0 }, "0", Moot, "Resource Usage / Cost-Based Vacuum Delay", "Vacuum cost delay in milliseconds."),
    setting("vacuum_cost_limit", int(1, 10000), "200", Moot, "Resource Usage / Cost-Based Vacuum Delay", "Vacuum cost amount available before napping."),
    setting("vacuum_cost_page_dirty", int(0, 10000), "20", Moot, "Resource Usage / Cost-Based Vacuum Delay", "Vacuum cost for a page dirtied by vacuum."),
    setting("vacuum_cost_page_hit", int(0, 10000), "1", Moot, "Resource Usage / Cost-Based Vacuum Delay", "Vacuum cost for a page found in the buffer cache."),
    setting("vacuum_cost_page_miss", int(0, 10000), "2", Moot, "Resource Usage / Cost-Based Vacuum Delay", "Vacuum cost for a page not found in the buffer cache."),
    setting("vacuum_failsafe_age", int(0, 2100000000), "1600000000", NoEffect, BEHAVIOR, "Age at which VACUUM should trigger failsafe to avoid a wraparound outage."),
    setting("vacuum_freeze_min_age", int(0, 1000000000), "50000000", NoEffect, BEHAVIOR, "Minimum age at which VACUUM should freeze a table row."),
    setting("vacuum_freeze_table_age", int(0, 2000000000), "150000000", NoEffect, BEHAVIOR, "Age at which VACUUM should scan whole table to freeze tuples."),
    setting("vacuum_multixact_failsafe_age", int(0, 2100000000), "1600000000", NoEffect, BEHAVIOR, "Multixact age at which VACUUM should trigger failsafe to avoid a wraparound outage."),
    setting("vacuum_multixact_freeze_min_age", int(0, 1000000000), "5000000", NoEffect, BEHAVIOR, "Minimum age at which VACUUM should freeze a MultiXactId in a table row."),
    setting("vacuum_multixact_freeze_table_age", int(0, 2000000000), "150000000", NoEffect, BEHAVIOR, "Multixact age at which VACUUM should scan whole table to freeze tuples."),
    superuser(setting("wal_compression", Kind::Enum(&["pglz", "lz4", "zstd", "on", "off"]), "off", NoEffect, "Write-Ahead Log / Settings", "Compresses full-page writes written in WAL file with specified method.")),
    superuser(setting("wal_init_zero", Kind::Bool, "on", NoEffect, "Write-Ahead Log / Settings", "Writes zeroes to new WAL files before first use.")),
    setting("wal_level", Kind::Enum(&["minimal", "replica", "logical"]), "replica", ReadOnly, "Write-Ahead Log / Settings", "Sets the level of information written to the WAL."),
    superuser(setting("wal_recycle", Kind::Bool, "on", NoEffect, "Write-Ahead Log / Settings", "Recycles WAL files by renaming them.")),
    setting("wal_sender_timeout", sized(Unit::Milliseconds, 0, I32), "60000", NoEffect, "Replication / Sending Servers", "Sets the maximum time to wait for WAL replication."),
    setting("wal_skip_threshold", sized(Unit::Kilobytes, 0, I32), "2048", NoEffect, "Write-Ahead Log / Settings", "Minimum size of new file to fsync instead of writing WAL."),
    setting("work_mem", sized(Unit::Kilobytes, 64, I32), "4096", NoEffect, MEMORY, "Sets the maximum memory to be used for query workspaces."),
    setting("xmlbinary", Kind::Enum(&["base64", "hex"]), "base64", Moot, BEHAVIOR, "Sets how binary values are to be encoded in XML."),
    setting("xmloption", Kind::Enum(&["content", "document"]), "content", Moot, BEHAVIOR, "Sets whether XML data in implicit parsing and serialization operations is to be considered as documents or content fragments."),
    superuser(setting("zero_damaged_pages", Kind::Bool, "off", NoEffect, "Developer Options", "Continues processing past damaged page headers.")),
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
