//! The settings of a session: PostgreSQL's names, values checked when set, transactional like everything else.
//!
//! One table says what exists. A setting that clients send and that changes nothing here is marked `Harmless`: it is
//! checked, kept and shown, so that a pool or driver meets what it expects (this table is the one list of them).

use kalamdb_commons::{Result, SqlError, SqlState};
use kalamdb_sql::types::{DateFormat, DateOrder, DateStyle, IntervalStyle, Style, TimeZone};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The OID of the one database: PostgreSQL's of `postgres`.
pub const DATABASE_OID: u32 = 5;
/// The one database's name.
pub const DATABASE_NAME: &str = "kalamdb";
/// The name that tools connect to by default; it means the same database.
pub const DATABASE_ALIAS: &str = "postgres";

/// What `version()` says.
pub fn version_text() -> String {
    format!("PostgreSQL 15.0 (KalamDB {}) on {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
}

/// A row of the table of settings.
pub struct Setting {
    /// Its name, as SHOW ALL prints it.
    pub name: &'static str,
    /// The built-in value.
    pub default: &'static str,
    /// What values it takes.
    pub kind: SettingKind,
    /// Whether clients are told of changes (ParameterStatus).
    pub reported: bool,
    /// Who reads it.
    pub effect: Effect,
    /// One sentence for people.
    pub description: &'static str,
}

/// What values a setting takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SettingKind {
    /// on, off and PostgreSQL's other spellings.
    Bool,
    /// An integer within bounds, with a unit that may be written (`5s` for milliseconds).
    Integer(i64, i64, Unit),
    /// A floating-point number.
    Real,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text.
    Text,
    /// TimeZone, DateStyle, client_encoding, search_path: checked by code of their own.
    Special,
}

/// The unit of an integer setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A plain number.
    None,
    /// Milliseconds.
    Ms,
    /// Kilobytes.
    Kb,
}

/// Who reads a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// KalamDB acts on it.
    Effective,
    /// Nobody: kept because clients send it, and nothing is lost by not acting on it.
    Harmless,
    /// It cannot be changed (55P02).
    Fixed,
}

use Effect::{Effective, Fixed, Harmless};
use SettingKind::{Bool, Integer, Real, Special, Text, Word};

const fn row(
    name: &'static str,
    default: &'static str,
    kind: SettingKind,
    reported: bool,
    effect: Effect,
    description: &'static str,
) -> Setting {
    Setting { name, default, kind, reported, effect, description }
}

const MS: SettingKind = Integer(0, i32::MAX as i64, Unit::Ms);
const KB: SettingKind = Integer(0, i32::MAX as i64, Unit::Kb);
const LEVELS: &[&str] =
    &["debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "notice", "warning", "error", "info"];
const ISOLATION: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];

/// Every setting, by name.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = &[
    row("application_name", "", Text, true, Effective, "The name the client gives itself."),
    row("backend_flush_after", "0", Integer(0, 2048, Unit::Kb), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("backslash_quote", "safe_encoding", Word(&["safe_encoding", "on", "off"]), false, Harmless, "Whether \\' is allowed in string literals."),
    row("block_size", "8192", Text, false, Fixed, "The size of a disk block that clients expect to see."),
    row("bytea_output", "hex", Word(&["escape", "hex"]), false, Effective, "The output format of bytea."),
    row("check_function_bodies", "on", Bool, false, Harmless, "Checks routine bodies when they are created."),
    row("client_connection_check_interval", "0", Integer(0, 2_147_483_647, Unit::Ms), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("client_encoding", "UTF8", Special, true, Effective, "The client's character set encoding: UTF8."),
    row("client_min_messages", "notice", Word(LEVELS), false, Effective, "The least message level sent to the client."),
    row("commit_delay", "0", Integer(0, 100_000, Unit::None), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("commit_siblings", "5", Integer(0, 1000, Unit::None), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("composite_type_mismatch", "error", Word(&["error", "warn", "disabled"]), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("compute_query_id", "auto", Word(&["auto", "regress", "on", "off"]), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("constraint_exclusion", "partition", Word(&["partition", "on", "off"]), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("cpu_index_tuple_cost", "0.005", Real, false, Harmless, "The planner's cost."),
    row("cpu_operator_cost", "0.0025", Real, false, Harmless, "The planner's cost."),
    row("cpu_tuple_cost", "0.01", Real, false, Harmless, "The planner's cost."),
    row("cursor_tuple_fraction", "0.1", Real, false, Harmless, "The planner's guess of how much of a cursor is read."),
    row("DateStyle", "ISO, MDY", Special, true, Effective, "The display format of dates, and how ambiguous ones are read."),
    row("deadlock_timeout", "1000", MS, false, Harmless, "Deadlocks are found when the wait begins."),
    row("default_statistics_target", "100", Integer(1, 10_000, Unit::None), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("default_table_access_method", "heap", Word(&["heap"]), false, Harmless, "The table access method clients expect to see."),
    row("default_tablespace", "", Text, false, Harmless, "The default tablespace."),
    row("default_text_search_config", "pg_catalog.simple", Text, false, Harmless, "The default text search configuration."),
    row("default_toast_compression", "pglz", Word(&["pglz", "lz4"]), false, Harmless, "The compression of long values that clients expect to see."),
    row("default_transaction_deferrable", "off", Bool, false, Effective, "New transactions are deferrable."),
    row("default_transaction_isolation", "read committed", Word(ISOLATION), false, Effective, "The isolation level of new transactions."),
    row("default_transaction_read_only", "off", Bool, true, Effective, "New transactions are read-only."),
    row("effective_cache_size", "4194304", Integer(8, 17_179_869_176, Unit::Kb), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("effective_io_concurrency", "1", Integer(0, 1000, Unit::None), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("enable_async_append", "on", Bool, false, Harmless, "The planner's use of async append."),
    row("enable_bitmapscan", "on", Bool, false, Harmless, "The planner's use of bitmap scans."),
    row("enable_gathermerge", "on", Bool, false, Harmless, "The planner's use of gathermerge."),
    row("enable_hashagg", "on", Bool, false, Harmless, "The planner's use of hashed aggregation."),
    row("enable_hashjoin", "on", Bool, false, Harmless, "The planner's use of hash joins."),
    row("enable_incremental_sort", "on", Bool, false, Harmless, "The planner's use of incremental sort."),
    row("enable_indexonlyscan", "on", Bool, false, Harmless, "The planner's use of index-only scans."),
    row("enable_indexscan", "on", Bool, false, Harmless, "The planner's use of index scans."),
    row("enable_material", "on", Bool, false, Harmless, "The planner's use of material."),
    row("enable_memoize", "on", Bool, false, Harmless, "The planner's use of memoize."),
    row("enable_mergejoin", "on", Bool, false, Harmless, "The planner's use of merge joins."),
    row("enable_nestloop", "on", Bool, false, Harmless, "The planner's use of nested-loop joins."),
    row("enable_parallel_append", "on", Bool, false, Harmless, "The planner's use of parallel append."),
    row("enable_parallel_hash", "on", Bool, false, Harmless, "The planner's use of parallel hash."),
    row("enable_partition_pruning", "on", Bool, false, Harmless, "The planner's use of partition pruning."),
    row("enable_partitionwise_aggregate", "off", Bool, false, Harmless, "The planner's use of partitionwise aggregate."),
    row("enable_partitionwise_join", "off", Bool, false, Harmless, "The planner's use of partitionwise join."),
    row("enable_seqscan", "on", Bool, false, Harmless, "The planner's use of sequential scans."),
    row("enable_sort", "on", Bool, false, Harmless, "The planner's use of explicit sorts."),
    row("enable_tidscan", "on", Bool, false, Harmless, "The planner's use of tidscan."),
    row("escape_string_warning", "on", Bool, false, Harmless, "Warns about backslashes in ordinary string literals."),
    row("exit_on_error", "off", Bool, false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("extra_float_digits", "1", Integer(-15, 3, Unit::None), false, Effective, "The digits shown for floating-point values."),
    row("force_parallel_mode", "off", Word(&["off", "on", "regress"]), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("from_collapse_limit", "8", Integer(1, i32::MAX as i64, Unit::None), false, Harmless, "The planner's limit for collapsing subqueries."),
    row("geqo", "on", Bool, false, Harmless, "Genetic query optimisation."),
    row("geqo_effort", "5", Integer(1, 10, Unit::None), false, Harmless, "Genetic query optimisation."),
    row("geqo_generations", "0", Integer(0, 2_147_483_647, Unit::None), false, Harmless, "Genetic query optimisation."),
    row("geqo_pool_size", "0", Integer(0, 2_147_483_647, Unit::None), false, Harmless, "Genetic query optimisation."),
    row("geqo_seed", "0", Real, false, Harmless, "Genetic query optimisation."),
    row("geqo_selection_bias", "2", Real, false, Harmless, "Genetic query optimisation."),
    row("geqo_threshold", "12", Integer(2, 2_147_483_647, Unit::None), false, Harmless, "Genetic query optimisation."),
    row("gin_fuzzy_search_limit", "0", Integer(0, 2_147_483_647, Unit::None), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("gin_pending_list_limit", "4096", Integer(64, 2_147_483_647, Unit::Kb), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("hash_mem_multiplier", "2", Real, false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("hot_standby_feedback", "off", Bool, false, Harmless, "Feedback of a standby."),
    row("idle_in_transaction_session_timeout", "0", MS, false, Effective, "Ends a session that idles in a transaction so long; 0 is never."),
    row("idle_session_timeout", "0", MS, false, Effective, "Ends an idle session after so long; 0 is never."),
    row("in_hot_standby", "off", Bool, true, Fixed, "Whether the server is a hot standby."),
    row("integer_datetimes", "on", Bool, true, Fixed, "Dates and times are integers."),
    row("IntervalStyle", "postgres", Word(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]), true, Effective, "The display format of intervals."),
    row("jit", "off", Bool, false, Harmless, "Just-in-time compilation."),
    row("jit_above_cost", "100000", Real, false, Harmless, "Just-in-time compilation."),
    row("jit_inline_above_cost", "500000", Real, false, Harmless, "Just-in-time compilation."),
    row("jit_optimize_above_cost", "500000", Real, false, Harmless, "Just-in-time compilation."),
    row("join_collapse_limit", "8", Integer(1, i32::MAX as i64, Unit::None), false, Harmless, "The planner's limit for flattening joins."),
    row("kalam.fast_path", "on", Bool, false, Effective, "Reads by a whole key go around the planner."),
    row("lc_collate", "C", Text, false, Fixed, "The collation order: bytes."),
    row("lc_ctype", "C.UTF-8", Text, false, Fixed, "Character classification."),
    row("lc_messages", "C", Text, false, Harmless, "The language of messages."),
    row("lc_monetary", "C", Text, false, Harmless, "The locale of monetary amounts."),
    row("lc_numeric", "C", Text, false, Harmless, "The locale of numbers."),
    row("lc_time", "C", Text, false, Harmless, "The locale of dates."),
    row("listen_addresses", "127.0.0.1", Text, false, Fixed, "Where the server listens."),
    row("lo_compat_privileges", "off", Bool, false, Harmless, "Privilege checks of large objects."),
    row("lock_timeout", "0", MS, false, Effective, "The longest wait for a lock; 0 is for ever."),
    row("log_duration", "off", Bool, false, Harmless, "What the server's log says."),
    row("log_error_verbosity", "default", Word(&["terse", "default", "verbose"]), false, Harmless, "What the server's log says."),
    row("log_lock_waits", "off", Bool, false, Harmless, "What the server's log says."),
    row("log_min_duration_sample", "-1", Integer(-1, 2_147_483_647, Unit::Ms), false, Harmless, "What the server's log says."),
    row("log_min_duration_statement", "-1", Integer(-1, 2_147_483_647, Unit::Ms), false, Harmless, "What the server's log says."),
    row("log_min_error_statement", "error", Word(&["debug5", "debug4", "debug3", "debug2", "debug1", "info", "notice", "warning", "error", "log", "fatal", "panic"]), false, Harmless, "What the server's log says."),
    row("log_min_messages", "warning", Word(&["debug5", "debug4", "debug3", "debug2", "debug1", "info", "notice", "warning", "error", "log", "fatal", "panic"]), false, Harmless, "What the server's log says."),
    row("log_parameter_max_length", "-1", Text, false, Harmless, "What the server's log says."),
    row("log_parameter_max_length_on_error", "0", Text, false, Harmless, "What the server's log says."),
    row("log_parser_stats", "off", Bool, false, Harmless, "What the server's log says."),
    row("log_planner_stats", "off", Bool, false, Harmless, "What the server's log says."),
    row("log_replication_commands", "off", Bool, false, Harmless, "What the server's log says."),
    row("log_statement", "none", Word(&["none", "ddl", "mod", "all"]), false, Harmless, "Which statements are logged."),
    row("log_statement_sample_rate", "1", Real, false, Harmless, "What the server's log says."),
    row("log_statement_stats", "off", Bool, false, Harmless, "What the server's log says."),
    row("log_temp_files", "-1", Integer(-1, 2_147_483_647, Unit::Kb), false, Harmless, "What the server's log says."),
    row("log_transaction_sample_rate", "0", Real, false, Harmless, "What the server's log says."),
    row("logical_decoding_work_mem", "65536", Integer(64, 2_147_483_647, Unit::Kb), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("maintenance_io_concurrency", "10", Integer(0, 1000, Unit::None), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("maintenance_work_mem", "65536", KB, false, Harmless, "Memory for maintenance."),
    row("max_connections", "100", Text, false, Fixed, "The most concurrent connections."),
    row("max_identifier_length", "63", Text, false, Fixed, "The longest identifier."),
    row("max_index_keys", "32", Text, false, Fixed, "The most index columns."),
    row("max_parallel_maintenance_workers", "2", Integer(0, 1024, Unit::None), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("max_parallel_workers", "8", Integer(0, 1024, Unit::None), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("max_parallel_workers_per_gather", "2", Integer(0, 1024, Unit::None), false, Harmless, "Parallel workers of a plan node."),
    row("min_parallel_index_scan_size", "512", Integer(0, 5_726_623_056, Unit::Kb), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("min_parallel_table_scan_size", "8192", Integer(0, 5_726_623_056, Unit::Kb), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("parallel_leader_participation", "on", Bool, false, Harmless, "Whether the leader works too."),
    row("parallel_setup_cost", "1000", Real, false, Harmless, "The planner's cost."),
    row("parallel_tuple_cost", "0.1", Real, false, Harmless, "The planner's cost."),
    row("password_encryption", "scram-sha-256", Word(&["md5", "scram-sha-256"]), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("plan_cache_mode", "auto", Word(&["auto", "force_generic_plan", "force_custom_plan"]), false, Harmless, "Generic or custom plans."),
    row("quote_all_identifiers", "off", Bool, false, Harmless, "Quotes all identifiers in generated SQL."),
    row("random_page_cost", "4", Real, false, Harmless, "The planner's cost of a random page."),
    row("recursive_worktable_factor", "10", Real, false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("role", "none", Text, false, Harmless, "The current role."),
    row("row_security", "on", Bool, false, Harmless, "Row security."),
    row("search_path", "\"$user\", public", Special, false, Effective, "The namespaces searched for names."),
    row("seq_page_cost", "1", Real, false, Harmless, "The planner's cost of a sequential page."),
    row("server_encoding", "UTF8", Text, true, Fixed, "The server's encoding."),
    row("server_version", "15.0", Text, true, Fixed, "The PostgreSQL version whose behaviour this server has."),
    row("server_version_num", "150000", Text, false, Fixed, "The same as a number."),
    row("session_replication_role", "origin", Word(&["origin", "replica", "local"]), false, Harmless, "The behaviour of triggers and rules."),
    row("standard_conforming_strings", "on", Bool, true, Fixed, "Ordinary string literals treat backslashes literally."),
    row("statement_timeout", "0", MS, false, Effective, "The longest a statement may run; 0 is for ever."),
    row("stats_fetch_consistency", "cache", Word(&["none", "cache", "snapshot"]), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("synchronize_seqscans", "on", Bool, false, Harmless, "Synchronised sequential scans."),
    row("synchronous_commit", "on", Word(&["local", "remote_write", "remote_apply", "on", "off"]), false, Effective, "Whether COMMIT waits for the disk."),
    row("tcp_keepalives_count", "0", Integer(0, 2_147_483_647, Unit::None), false, Harmless, "The connection's keep-alive."),
    row("tcp_keepalives_idle", "0", Integer(0, i32::MAX as i64, Unit::None), false, Harmless, "The idle time before a keep-alive."),
    row("tcp_keepalives_interval", "0", Text, false, Harmless, "The connection's keep-alive."),
    row("tcp_user_timeout", "0", Integer(0, 2_147_483_647, Unit::Ms), false, Harmless, "The connection's keep-alive."),
    row("temp_buffers", "1024", Integer(100, 1_073_741_823, Unit::None), false, Harmless, "Buffers of temporary tables."),
    row("temp_tablespaces", "", Text, false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("TimeZone", "UTC", Special, true, Effective, "The zone in which timestamps are shown and read."),
    row("timezone_abbreviations", "Default", Text, false, Harmless, "A file of zone abbreviations."),
    row("track_activities", "on", Bool, false, Harmless, "Statistics that PostgreSQL collects."),
    row("track_counts", "on", Bool, false, Harmless, "Statistics that PostgreSQL collects."),
    row("track_functions", "none", Word(&["none", "pl", "all"]), false, Harmless, "Statistics that PostgreSQL collects."),
    row("track_io_timing", "off", Bool, false, Harmless, "Statistics that PostgreSQL collects."),
    row("track_wal_io_timing", "off", Bool, false, Harmless, "Statistics that PostgreSQL collects."),
    row("transaction_deferrable", "off", Bool, false, Effective, "Whether this transaction is deferrable."),
    row("transaction_isolation", "read committed", Word(ISOLATION), false, Effective, "This transaction's isolation level."),
    row("transaction_read_only", "off", Bool, false, Effective, "Whether this transaction is read-only."),
    row("transform_null_equals", "off", Bool, false, Fixed, "Treats expr = NULL as expr IS NULL."),
    row("update_process_title", "on", Bool, false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("vacuum_cost_delay", "0", Real, false, Harmless, "Vacuum's delay."),
    row("vacuum_cost_limit", "200", Integer(1, 10_000, Unit::None), false, Harmless, "Vacuum's work."),
    row("vacuum_cost_page_dirty", "20", Integer(0, 10_000, Unit::None), false, Harmless, "Vacuum's work."),
    row("vacuum_cost_page_hit", "1", Integer(0, 10_000, Unit::None), false, Harmless, "Vacuum's work."),
    row("vacuum_cost_page_miss", "2", Integer(0, 10_000, Unit::None), false, Harmless, "Vacuum's work."),
    row("vacuum_failsafe_age", "1600000000", Integer(0, 2_100_000_000, Unit::None), false, Harmless, "Vacuum's work."),
    row("vacuum_freeze_min_age", "50000000", Integer(0, 1_000_000_000, Unit::None), false, Harmless, "Vacuum's work."),
    row("vacuum_freeze_table_age", "150000000", Integer(0, 2_000_000_000, Unit::None), false, Harmless, "Vacuum's work."),
    row("vacuum_multixact_failsafe_age", "1600000000", Integer(0, 2_100_000_000, Unit::None), false, Harmless, "Vacuum's work."),
    row("vacuum_multixact_freeze_min_age", "5000000", Integer(0, 1_000_000_000, Unit::None), false, Harmless, "Vacuum's work."),
    row("vacuum_multixact_freeze_table_age", "150000000", Integer(0, 2_000_000_000, Unit::None), false, Harmless, "Vacuum's work."),
    row("wal_level", "replica", Text, false, Fixed, "The level of the log that clients expect to see."),
    row("work_mem", "65536", Integer(64, i32::MAX as i64, Unit::Kb), false, Harmless, "Memory of a query's operators; the server's pool decides."),
    row("xmlbinary", "base64", Word(&["base64", "hex"]), false, Harmless, "Of PostgreSQL's own machinery; kept because clients set it."),
    row("xmloption", "content", Word(&["content", "document"]), false, Harmless, "Documents or content."),
];

/// Finds a setting by its name in any case.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
}

type Values = Arc<BTreeMap<String, String>>;

/// A session's settings: what the session set, and what this transaction set for itself, over the defaults.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    start: Values,
    session: Values,
    local: Values,
    /// The custom names (with a dot) that were ever set: they stay known, with an empty value.
    custom: Arc<BTreeSet<String>>,
    /// What follows from the values, for this user's name, until one of them changes.
    derived: Option<(String, Arc<Derived>)>,
}

/// What every statement asks of the settings, worked out once for each change of them.
#[derive(Debug)]
pub struct Derived {
    /// How values are printed and read.
    pub style: Style,
    /// What binding reads of the settings.
    pub basis: Basis,
    /// The values that clients are told of.
    pub reported: Vec<(&'static str, String)>,
    /// statement_timeout
    pub statement_timeout: Option<Duration>,
    /// lock_timeout
    pub lock_timeout: Option<Duration>,
    /// idle_session_timeout
    pub idle_session_timeout: Option<Duration>,
    /// idle_in_transaction_session_timeout
    pub idle_in_transaction_timeout: Option<Duration>,
    /// Whether COMMIT waits for the disk (synchronous_commit).
    pub is_synchronous: bool,
    /// kalam.fast_path
    pub has_fast_path: bool,
    /// default_transaction_isolation
    pub default_isolation: String,
    /// default_transaction_read_only
    pub default_read_only: bool,
}

/// What a binding depended on beside the text.
#[derive(Clone, PartialEq, Debug)]
pub struct Basis {
    /// The namespaces of search_path.
    pub search_path: Vec<String>,
    /// TimeZone, DateStyle and IntervalStyle: constants were read by them.
    pub style: String,
}

/// What ROLLBACK and ROLLBACK TO bring back.
#[derive(Clone, Debug)]
pub struct SettingsMark {
    session: Values,
    local: Values,
}

impl Settings {
    /// The value in force; `None` for an unknown name. A name with a dot is a custom one and exists once set.
    pub fn get(&self, name: &str) -> Option<String> {
        let key = name.to_ascii_lowercase();
        let set = self.local.get(&key).or_else(|| self.session.get(&key)).or_else(|| self.start.get(&key));
        let default = || find(name).map(|setting| setting.default.to_string());
        set.cloned().or_else(default).or_else(|| self.custom.contains(&key).then(String::new))
    }

    /// A boolean setting of the table.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "on")
    }

    /// A duration setting of the table in milliseconds; `None` for 0, "never".
    fn duration(&self, name: &str) -> Option<Duration> {
        let ms: u64 = self.get(name)?.parse().ok()?;
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// SET. The normalised value is returned.
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for a bad value, 55P02 for a setting that cannot be changed.
    pub fn set(&mut self, name: &str, value: &str, local: bool) -> Result<String> {
        let (key, value) = checked(name, value)?;
        self.derived = None;
        if find(&key).is_none() && !self.custom.contains(&key) {
            Arc::make_mut(&mut self.custom).insert(key.clone());
        }
        if local {
            Arc::make_mut(&mut self.local).insert(key, value.clone());
        } else {
            Arc::make_mut(&mut self.local).remove(&key);
            Arc::make_mut(&mut self.session).insert(key, value.clone());
        }
        Ok(value)
    }

    /// Sets a value of the startup message: what RESET goes back to.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub fn set_at_start(&mut self, name: &str, value: &str) -> Result<()> {
        let (key, value) = checked(name, value)?;
        self.derived = None;
        Arc::make_mut(&mut self.start).insert(key, value);
        Ok(())
    }

    /// The value that RESET goes back to.
    ///
    /// # Errors
    /// 42704
    pub fn default_of(&self, name: &str) -> Result<String> {
        let mut settings = self.clone();
        settings.reset(name)?;
        Ok(settings.get(name).unwrap_or_default())
    }

    /// RESET and SET … TO DEFAULT.
    ///
    /// # Errors
    /// 42704 for an unknown name.
    pub fn reset(&mut self, name: &str) -> Result<()> {
        if find(name).is_none() && !name.contains('.') {
            return Err(unknown(name));
        }
        let key = name.to_ascii_lowercase();
        self.derived = None;
        Arc::make_mut(&mut self.local).remove(&key);
        Arc::make_mut(&mut self.session).remove(&key);
        Ok(())
    }

    /// RESET ALL
    pub fn reset_all(&mut self) {
        self.derived = None;
        // This transaction's own characteristics are not settings of the session.
        let keep = |key: &String| key.starts_with("transaction_");
        Arc::make_mut(&mut self.local).retain(|key, _| keep(key));
        Arc::make_mut(&mut self.session).clear();
    }

    /// What a rollback brings back.
    pub fn mark(&self) -> SettingsMark {
        SettingsMark { session: self.session.clone(), local: self.local.clone() }
    }

    /// Goes back to a mark.
    pub fn back_to(&mut self, mark: &SettingsMark) {
        if Arc::ptr_eq(&self.session, &mark.session) && Arc::ptr_eq(&self.local, &mark.local) {
            return;
        }
        self.derived = None;
        self.session = mark.session.clone();
        self.local = mark.local.clone();
    }

    /// The transaction has ended: SET LOCAL's values go.
    pub fn end_local(&mut self) {
        if !self.local.is_empty() {
            self.derived = None;
            self.local = Values::default();
        }
    }

    /// What every statement asks, for a session of this user.
    pub fn derived(&mut self, user: &str) -> Arc<Derived> {
        if let Some((whose, derived)) = &self.derived
            && whose == user
        {
            return derived.clone();
        }
        let get = |name| self.get(name).unwrap_or_default();
        let derived = Arc::new(Derived {
            style: self.style(),
            basis: Basis {
                search_path: self.search_path(user),
                style: format!("{} {} {}", get("TimeZone"), get("DateStyle"), get("IntervalStyle")),
            },
            reported: self.reported(),
            statement_timeout: self.duration("statement_timeout"),
            lock_timeout: self.duration("lock_timeout"),
            idle_session_timeout: self.duration("idle_session_timeout"),
            idle_in_transaction_timeout: self.duration("idle_in_transaction_session_timeout"),
            is_synchronous: get("synchronous_commit") != "off",
            has_fast_path: self.is_on("kalam.fast_path"),
            default_isolation: get("default_transaction_isolation"),
            default_read_only: self.is_on("default_transaction_read_only"),
        });
        self.derived = Some((user.to_string(), derived.clone()));
        derived
    }

    /// The values that clients are told of.
    fn reported(&self) -> Vec<(&'static str, String)> {
        let reported = SETTINGS.iter().filter(|setting| setting.reported);
        reported.map(|setting| (setting.name, self.get(setting.name).unwrap_or_default())).collect()
    }

    /// The namespaces of search_path, in order; `"$user"` is the user's name.
    fn search_path(&self, user: &str) -> Vec<String> {
        let path = self.get("search_path").unwrap_or_default();
        let names = split_names(&path);
        names.into_iter().map(|name| if name == "$user" { user.to_string() } else { name }).collect()
    }

    /// How values are printed and read.
    fn style(&self) -> Style {
        let get = |name| self.get(name).unwrap_or_default();
        Style {
            time_zone: time_zone(&get("TimeZone")).unwrap_or(TimeZone::Named(chrono_tz::UTC)),
            date_style: date_style(&get("DateStyle"), ISO_MDY).unwrap_or(ISO_MDY),
            interval_style: interval_style(&get("IntervalStyle")),
            bytea_escape: get("bytea_output") == "escape",
            extra_float_digits: get("extra_float_digits").parse().unwrap_or(1),
        }
    }
}

/// How values are read under these: TimeZone, DateStyle, IntervalStyle.
pub fn style_of([zone, date, interval]: &[String; 3]) -> Style {
    Style {
        time_zone: time_zone(zone).unwrap_or(TimeZone::Named(chrono_tz::UTC)),
        date_style: date_style(date, ISO_MDY).unwrap_or(ISO_MDY),
        interval_style: interval_style(interval),
        ..Style::default()
    }
}

fn interval_style(text: &str) -> IntervalStyle {
    match text {
        "postgres_verbose" => IntervalStyle::PostgresVerbose,
        "sql_standard" => IntervalStyle::SqlStandard,
        "iso_8601" => IntervalStyle::Iso8601,
        _ => IntervalStyle::Postgres,
    }
}

const ISO_MDY: DateStyle = DateStyle { format: DateFormat::Iso, order: DateOrder::Mdy };

fn unknown(name: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

/// The key and the normalised value.
fn checked(name: &str, value: &str) -> Result<(String, String)> {
    let key = name.to_ascii_lowercase();
    let Some(setting) = find(name) else {
        // PostgreSQL manual 20.16: a two-part name is a customised option of whoever uses it.
        return if name.contains('.') { Ok((key, value.to_string())) } else { Err(unknown(name)) };
    };
    let normal = normalise(setting, value)?;
    if setting.effect == Fixed && normal != setting.default {
        return Err(SqlError::new(
            SqlState::CANT_CHANGE_RUNTIME_PARAM,
            format!("parameter \"{}\" cannot be changed", setting.name),
        ));
    }
    Ok((key, normal))
}

fn normalise(setting: &Setting, value: &str) -> Result<String> {
    let bad = || {
        SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("invalid value for parameter \"{}\": \"{value}\"", setting.name),
        )
    };
    match setting.kind {
        Bool => boolean(value).map(|on| if on { "on" } else { "off" }.to_string()).ok_or_else(|| {
            SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("parameter \"{}\" requires a Boolean value", setting.name),
            )
        }),
        Integer(low, high, unit) => {
            let number = integer(value, unit).ok_or_else(|| {
                let is_number = value.trim().starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
                match unit {
                    Unit::Ms if is_number => bad().with_hint(
                        "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".",
                    ),
                    Unit::Kb if is_number => {
                        bad().with_hint("Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".")
                    }
                    _ => bad(),
                }
            })?;
            let is_narrow = high <= i64::from(i32::MAX);
            if is_narrow && i32::try_from(number).is_err() {
                return Err(bad().with_hint("Value exceeds integer range."));
            }
            if !(low..=high).contains(&number) {
                let shown = match unit {
                    Unit::None => "",
                    Unit::Ms => " ms",
                    Unit::Kb => " kB",
                };
                let name = setting.name;
                return Err(SqlError::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("{number}{shown} is outside the valid range for parameter \"{name}\" ({low} .. {high})"),
                ));
            }
            Ok(number.to_string())
        }
        Real => value.trim().parse::<f64>().map(|number| number.to_string()).map_err(|_| bad()),
        Word(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(value.trim())) {
            Some(word) => Ok((*word).to_string()),
            // PostgreSQL takes a boolean's spellings for synchronous_commit and its kin.
            None => match boolean(value) {
                Some(on) if words.contains(&"on") => Ok(if on { "on" } else { "off" }.to_string()),
                _ => Err(bad().with_hint(format!("Available values: {}.", words.join(", ")))),
            },
        },
        Text => Ok(value.to_string()),
        Special => match setting.name {
            "TimeZone" => time_zone(value).map(|zone| zone_name(&zone)).ok_or_else(bad),
            "DateStyle" => date_style(value, ISO_MDY).map(date_style_text).ok_or_else(bad),
            "client_encoding" => match encoding_word(value).as_str() {
                "utf8" | "unicode" => Ok("UTF8".to_string()),
                // What psql asks for where no locale is set: no conversion. Text is UTF-8 here, so that is the same.
                "sqlascii" => Ok("SQL_ASCII".to_string()),
                _ => Err(bad().with_hint("KalamDB speaks UTF8 only.")),
            },
            _ => Ok(value.to_string()),
        },
    }
}

/// An encoding's name without what PostgreSQL passes over: anything but letters and digits (`'utf-8'`, UTF_8).
fn encoding_word(value: &str) -> String {
    value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// PostgreSQL's spellings of a boolean: any unambiguous beginning.
fn boolean(value: &str) -> Option<bool> {
    let value = value.trim().to_ascii_lowercase();
    let begins = |word: &str, least: usize| value.len() >= least && word.starts_with(&value);
    match value.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        _ if begins("true", 1) || begins("yes", 1) || begins("on", 2) => Some(true),
        _ if begins("false", 1) || begins("no", 1) || begins("off", 2) => Some(false),
        _ => None,
    }
}

/// A number in the setting's unit, from a number with an optional unit of its own.
fn integer(value: &str, unit: Unit) -> Option<i64> {
    let value = value.trim();
    let split = value.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(value.len());
    let (number, suffix) = value.split_at(split);
    let number: f64 = number.trim().parse().ok()?;
    let factor = match (unit, suffix.trim()) {
        (_, "") => 1.0,
        (Unit::Ms, "us") => 0.001,
        (Unit::Ms, "ms") => 1.0,
        (Unit::Ms, "s") => 1_000.0,
        (Unit::Ms, "min") => 60_000.0,
        (Unit::Ms, "h") => 3_600_000.0,
        (Unit::Ms, "d") => 86_400_000.0,
        (Unit::Kb, "B") => 1.0 / 1024.0,
        (Unit::Kb, "kB") => 1.0,
        (Unit::Kb, "MB") => 1024.0,
        (Unit::Kb, "GB") => 1_048_576.0,
        (Unit::Kb, "TB") => 1_073_741_824.0,
        _ => return None,
    };
    let scaled = (number * factor).round();
    // Beyond 2^53 the number is outside every setting's range anyway.
    (scaled.abs() < 9.0e15).then_some(scaled as i64)
}

/// Splits `a, "B", c` as PostgreSQL's SplitIdentifierString does.
pub fn split_names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = list.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut end = quoted.len();
            let mut chars = quoted.char_indices().peekable();
            while let Some((at, c)) = chars.next() {
                if c != '"' {
                    name.push(c);
                } else if chars.peek().is_some_and(|(_, next)| *next == '"') {
                    name.push('"');
                    chars.next();
                } else {
                    end = at + 1;
                    break;
                }
            }
            names.push(name);
            rest = quoted[end.min(quoted.len())..].trim_start();
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let name = rest[..end].trim().to_lowercase();
            if !name.is_empty() {
                names.push(name);
            }
            rest = &rest[end..];
        }
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    names
}

/// Reads a time zone: an IANA name in any case, hours east (`-7`, `2.5`), or a POSIX offset (`UTC+3`, `+02:00`:
/// PostgreSQL manual B.5 counts these west of Greenwich).
pub fn time_zone(text: &str) -> Option<TimeZone> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("utc") || text.eq_ignore_ascii_case("default") || text.eq_ignore_ascii_case("local") {
        return Some(TimeZone::Named(chrono_tz::UTC));
    }
    if let Some(zone) = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(text)) {
        return Some(TimeZone::Named(*zone));
    }
    if let Ok(hours) = text.parse::<f64>() {
        let seconds = (hours * 3600.0).round();
        return (seconds.abs() <= 604_800.0).then(|| fixed(seconds as i32));
    }
    posix_offset(text).map(|west| fixed(-west))
}

fn posix_offset(text: &str) -> Option<i32> {
    // An abbreviation stands in front, plain or as `<+02>`.
    let offset = match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => text.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    let (sign, digits) = match offset.as_bytes().first()? {
        b'+' => (1, &offset[1..]),
        b'-' => (-1, &offset[1..]),
        _ => return None,
    };
    let mut parts = digits.split(':').map(|part| part.parse::<i32>().ok());
    let hours = parts.next()??;
    let minutes = parts.next().unwrap_or(Some(0))?;
    let seconds = parts.next().unwrap_or(Some(0))?;
    (hours <= 167 && (0..60).contains(&minutes)).then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

fn fixed(seconds_east: i32) -> TimeZone {
    let sign = if seconds_east < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds_east.abs() / 3600, seconds_east.abs() / 60 % 60);
    // PostgreSQL shows `<+02>-02`: the abbreviation, then the POSIX offset.
    let name = match minutes {
        0 => format!("<{sign}{hours:02}>{}{hours:02}", if sign == '-' { '+' } else { '-' }),
        _ => format!("<{sign}{hours:02}:{minutes:02}>{}{hours:02}:{minutes:02}", if sign == '-' { '+' } else { '-' }),
    };
    TimeZone::Fixed(seconds_east, name)
}

fn zone_name(zone: &TimeZone) -> String {
    match zone {
        TimeZone::Named(zone) => zone.name().to_string(),
        // Its own name is read again as what it is: digits behind the abbreviation count west of Greenwich.
        TimeZone::Fixed(_, name) => name.clone(),
    }
}

fn date_style(text: &str, now: DateStyle) -> Option<DateStyle> {
    let mut style = now;
    for word in text.split(',').map(|word| word.trim().to_ascii_lowercase()) {
        match word.as_str() {
            "iso" => style.format = DateFormat::Iso,
            "sql" => style.format = DateFormat::Sql,
            "german" => style = DateStyle { format: DateFormat::German, order: DateOrder::Dmy },
            word if word.starts_with("postgres") => style.format = DateFormat::Postgres,
            "mdy" | "us" | "noneuro" | "noneuropean" => style.order = DateOrder::Mdy,
            "dmy" | "euro" | "european" => style.order = DateOrder::Dmy,
            "ymd" => style.order = DateOrder::Ymd,
            "default" => style = ISO_MDY,
            _ => return None,
        }
    }
    Some(style)
}

fn date_style_text(style: DateStyle) -> String {
    let format = match style.format {
        DateFormat::Iso => "ISO",
        DateFormat::Sql => "SQL",
        DateFormat::Postgres => "Postgres",
        DateFormat::German => "German",
    };
    let order = match style.order {
        DateOrder::Mdy => "MDY",
        DateOrder::Dmy => "DMY",
        DateOrder::Ymd => "YMD",
    };
    format!("{format}, {order}")
}

/// What SHOW prints: durations and sizes with the largest unit that fits, as PostgreSQL does.
pub fn shown(setting: &Setting, value: &str) -> String {
    let (Integer(_, _, unit), Ok(number)) = (setting.kind, value.parse::<i64>()) else { return value.to_string() };
    let units: &[(i64, &str)] = match unit {
        Unit::None => return value.to_string(),
        Unit::Ms => &[(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")],
        Unit::Kb => &[(1_048_576, "GB"), (1024, "MB"), (1, "kB")],
    };
    if number <= 0 {
        return value.to_string();
    }
    let fit = units.iter().find(|(size, _)| number % size == 0);
    fit.map_or_else(|| value.to_string(), |(size, name)| format!("{}{name}", number / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_normalised_as_postgresql_does() {
        let cases = [
            ("statement_timeout", "5s", "5000"),
            ("work_mem", "4MB", "4096"),
            ("synchronous_commit", "false", "off"),
            ("timezone", "europe/berlin", "Europe/Berlin"),
            ("datestyle", "dmy", "ISO, DMY"),
            ("client_encoding", "utf-8", "UTF8"),
            ("timezone", "-7", "<-07>+07"),
            ("timezone", "<-07>+07", "<-07>+07"),
            ("timezone", "3.5", "<+03:30>-03:30"),
        ];
        for (name, given, kept) in cases {
            let mut settings = Settings::default();
            assert_eq!(settings.set(name, given, false).as_deref(), Ok(kept), "{name} = {given}");
        }
    }

    #[test]
    fn a_rollback_takes_set_back() {
        let mut settings = Settings::default();
        let mark = settings.mark();
        settings.set("statement_timeout", "1s", false).map(drop).unwrap_or_default();
        settings.back_to(&mark);
        assert_eq!(settings.get("statement_timeout").as_deref(), Some("0"));
    }

    #[test]
    fn names_split_with_quotes() {
        assert_eq!(split_names(r#""$user", Public, "A""b""#), ["$user", "public", "A\"b"]);
    }
}
