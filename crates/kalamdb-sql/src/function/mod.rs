//! PostgreSQL's functions, operators and casts: one table that binding, execution and pg_catalog all read.
//!
//! Operators and casts name functions; functions have an OID, argument types and an implementation over Arrow. By
//! chapter of the manual's part 9, a file each. An implementation that needs to know who asks or when uses
//! [`Surroundings`], handed over once for each statement.

mod aggregate;
mod arithmetic;
mod array;
mod bits;
mod casts;
mod compare;
mod datetime;
mod degrees;
mod digest;
mod domain;
mod enumeration;
mod field;
mod identifier;
pub mod in_range;
mod inout;
mod invoke;
mod json;
mod jsonpath;
mod keyword;
mod like;
mod math;
mod names;
mod network;
mod normal;
pub mod nowhere;
mod operators;
mod overlaps;
mod picture;
mod privilege;
pub(crate) mod record;
mod regular;
mod rows;
mod sequence;
mod series;
mod session;
mod size;
mod string;
mod system;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod timetz;
mod transcendental;
mod unsigned;
mod vector;
mod window;

pub(crate) use aggregate::hypothetical::{is_hypothetical, order_word};
pub use domain::DOMAIN_VIOLATION;
pub use invoke::{AroundExtension, sql_error, to_udf, to_udf_around};
pub use nowhere::Nowhere;
pub(crate) use regular::compiled as regular_expression;
pub use sequence::NEXTVAL;
pub use table::{
    all, all_operators, bits_function, by_name, by_oid, cast, casts, comparison_type, length_cast, operators, sort_key,
};

use arrow_array::ArrayRef;
use datafusion_expr::{AggregateUDF, WindowUDF};
use kalamdb_commons::{Datum, Oid, PgType, Result, SqlState, SqlType, TableId, UserId};
use std::sync::Arc;

/// One row of the function table (`pg_proc`).
pub struct Function {
    /// `pg_proc.oid`: PostgreSQL's where it has the function.
    pub oid: Oid,
    /// Its name.
    pub name: &'static str,
    /// Argument types; the polymorphic ones (`anyelement`, `anyarray`, `any`) among them.
    pub args: &'static [SqlType],
    /// How many of the last arguments may be left out.
    pub defaults: usize,
    /// VARIADIC: the last of `args` is the element type and may repeat (also zero times for `any`).
    pub variadic: bool,
    /// The result type, maybe polymorphic.
    pub returns: SqlType,
    /// For a set- or record-returning function with OUT columns: their names and types.
    pub columns: &'static [(&'static str, SqlType)],
    /// Whether a NULL argument makes the result NULL without a call: the implementation of a strict function never
    /// sees NULL items.
    pub strict: bool,
    /// Whether an argument that is the same for all rows comes as an array of one item, where a scalar function's
    /// arguments are otherwise all as long as there are rows.
    pub constants_once: bool,
    /// When it may be folded.
    pub volatility: Volatility,
    /// What it does.
    pub kind: Kind,
}

/// When a call gives the same result (PostgreSQL manual 38.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Volatility {
    /// Always.
    Immutable,
    /// Within a statement. May be folded at execution only.
    Stable,
    /// Never.
    Volatile,
}

/// The implementation.
pub enum Kind {
    /// Arrow arrays, all `rows` long, to an array `rows` long of the result type's Arrow type.
    Scalar(fn(&[ArrayRef], &Call<'_>) -> Result<ArrayRef>),
    /// One of the engine's (or our own) aggregate implementations, made for the actual argument types.
    Aggregate(fn(&[PgType]) -> Arc<AggregateUDF>),
    /// A window function.
    Window(fn(&[PgType]) -> Arc<WindowUDF>),
    /// Set-returning: argument values of one input row to rows, made one at a time.
    Set(fn(Vec<Datum>, &Call<'_>) -> Result<SetRows>),
    /// A value of the session or the moment, without arguments: bound as `Scalar::Session`.
    Session(SessionValue),
}

/// The rows of a set-returning function.
pub type SetRows = Box<dyn Iterator<Item = Result<Vec<Datum>>> + Send>;

/// What a call knows beside its arguments.
pub struct Call<'a> {
    /// The number of rows.
    pub rows: usize,
    /// The actual argument types.
    pub arg_types: &'a [PgType],
    /// The actual result type, with its modifier (a cast to varchar(3) reads it here).
    pub returns: PgType,
    /// Settings, identity, catalog.
    pub around: &'a dyn Surroundings,
}

/// Values that depend on the session or the moment. They never enter a cached plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum SessionValue {
    /// `now()`, `transaction_timestamp()`, CURRENT_TIMESTAMP: the transaction's start.
    Now,
    /// `statement_timestamp()`
    StatementTimestamp,
    /// CURRENT_DATE in the session's time zone.
    CurrentDate,
    /// CURRENT_TIME
    CurrentTime,
    /// LOCALTIME: in the session's time zone.
    LocalTime,
    /// LOCALTIMESTAMP
    LocalTimestamp,
    /// `current_user`, USER, `current_role`: the effective user's name (type name).
    CurrentUser,
    /// `session_user`
    SessionUser,
    /// `current_user_id()`
    CurrentUserId,
    /// `current_database()`, current_catalog
    CurrentDatabase,
    /// `current_schema()`, current_schema: NULL when no schema of the path exists
    CurrentSchema,
    /// `pg_backend_pid()`
    BackendPid,
    /// `version()`
    Version,
    /// `inet_client_addr()`, NULL for none
    ClientAddress,
    /// `inet_client_port()`, NULL for none
    ClientPort,
    /// `inet_server_addr()`, NULL for none
    ServerAddress,
    /// `inet_server_port()`, NULL for none
    ServerPort,
}

/// An operator (`pg_operator`).
pub struct Operator {
    /// `pg_operator.oid`
    pub oid: Oid,
    /// `+`, `||`, `~~` …
    pub name: &'static str,
    /// `None` for a prefix operator.
    pub left: Option<SqlType>,
    /// The right operand.
    pub right: SqlType,
    /// The result.
    pub returns: SqlType,
    /// How it is carried out.
    pub work: Work,
}

/// How an operator or a comparison is carried out.
pub enum Work {
    /// By a function of the table (by OID).
    Function(Oid),
    /// By the engine's comparison of two operands of one Arrow type (`bind::bound::CompareOp`). When the operator's
    /// two types differ (int4 = int8), both operands are first cast to [`comparison_type`].
    Compare(crate::bind::bound::CompareOp),
    /// By the engine's comparison of the operands' *sort keys* (see [`sort_key`]), after the casts of `Compare`.
    CompareKeys(crate::bind::bound::CompareOp),
}

/// A cast (`pg_cast`).
pub struct Cast {
    /// From.
    pub source: SqlType,
    /// To.
    pub target: SqlType,
    /// When it is applied without being asked for.
    pub context: CastContext,
    /// How.
    pub method: CastMethod,
}

/// When a cast is applied without being asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CastContext {
    /// In any expression.
    Implicit,
    /// When assigned to a column.
    Assignment,
    /// Only when written.
    Explicit,
}

/// How a cast is done.
#[derive(Clone, Copy, Debug)]
pub enum CastMethod {
    /// By a function of the table (by OID), which reads the target's modifier from `Call::returns`.
    Function(Oid),
    /// The Arrow values are the same.
    Relabel,
    /// Through the text form: output function of the source, input function of the target.
    ThroughText,
}

/// What functions may ask of the session and the catalog. Core implements it.
pub trait Surroundings: Send + Sync + std::fmt::Debug {
    /// How values are printed and read: time zone, DateStyle …
    fn style(&self) -> &crate::types::Style;
    /// `current_setting`; `None` for an unknown name.
    fn setting(&self, name: &str) -> Option<String>;
    /// `set_config`, with no value for the default; what SHOW says afterwards.
    fn set_setting(&self, name: &str, value: Option<&str>, local: bool) -> Result<String>;
    /// The effective user.
    fn current_user(&self) -> UserId;
    /// The start of the transaction and of the statement, microseconds since 1970 UTC.
    fn transaction_start(&self) -> i64;
    /// See above.
    fn statement_start(&self) -> i64;
    /// `SNOWFLAKE_ID()`
    fn snowflake_id(&self) -> i64;
    /// Names for OIDs and back, privileges, definitions: the catalog's answers.
    fn catalog(&self) -> &dyn CatalogNames;
    /// `pg_notify(channel, payload)`: delivered at commit.
    fn notify(&self, channel: &str, payload: &str) -> Result<()>;
    /// `pg_listening_channels()`
    fn listening_channels(&self) -> Vec<String>;
    /// `pg_cancel_backend` / `pg_terminate_backend`; whether such a session exists.
    fn signal_backend(&self, pid: i32, terminate: bool) -> Result<bool>;
    /// `nextval`
    fn next_value(&self, sequence: Oid) -> Result<i64> {
        let _ = sequence;
        nowhere::no_session()
    }
    /// `currval`
    fn current_value(&self, sequence: Oid) -> Result<i64> {
        let _ = sequence;
        nowhere::no_session()
    }
    /// `lastval`
    fn last_value(&self) -> Result<i64> {
        nowhere::no_session()
    }
    /// `setval`
    fn set_value(&self, sequence: Oid, value: i64, is_called: bool) -> Result<i64> {
        let _ = (sequence, value, is_called);
        nowhere::no_session()
    }
    /// `pg_sequence_last_value`: the number that was given last, if any was and the session may know.
    fn given_value(&self, sequence: Oid) -> Result<Option<i64>> {
        let _ = sequence;
        nowhere::no_session()
    }
    /// Advisory locks: the session-level or transaction-level lock `key`; `false` when `wait` is false and it is held.
    fn advisory_lock(&self, request: AdvisoryLock) -> Result<bool>;
    /// `pg_sleep`: waits, unless the statement is ended (57014).
    fn sleep(&self, time: std::time::Duration) -> Result<()>;
    /// A WARNING for the client.
    fn warn(&self, state: SqlState, message: &str);
    /// `pg_blocking_pids`: the sessions that keep this one waiting.
    fn blocking_backends(&self, pid: i32) -> Vec<i32>;
    /// The number of the transaction: a later one's is larger, and no two are the same, whatever becomes of the server.
    fn transaction_number(&self) -> Result<u64>;
    /// `current_query()`: the text that the client sent.
    fn query_text(&self) -> &str;
}

/// What is asked of an advisory lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvisoryLock {
    /// The key (two int4 keys are packed and marked).
    pub key: (i64, bool),
    /// What to do.
    pub act: AdvisoryAct,
    /// Shared instead of exclusive.
    pub shared: bool,
    /// For the transaction instead of the session.
    pub transaction: bool,
}

/// What to do with an advisory lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvisoryAct {
    /// Take it, and wait for it if need be.
    Lock,
    /// Take it if it is free.
    TryLock,
    /// Give it back.
    Unlock,
    /// Give all of the session's back.
    UnlockAll,
}

/// Look-ups of names and OIDs for functions such as `format_type`, `pg_get_indexdef`, `'x'::regclass`.
pub trait CatalogNames: Send + Sync {
    /// The relation (table, index, view) that a possibly qualified, already split name means on the search path.
    fn relation_by_name(&self, parts: &[String]) -> Option<TableId>;
    /// `regclass` output: the name, qualified unless visible on the search path.
    fn relation_name(&self, oid: Oid) -> Option<String>;
    /// The namespace's OID.
    fn namespace_by_name(&self, name: &str) -> Option<Oid>;
    /// The namespace's name.
    fn namespace_name(&self, oid: Oid) -> Option<String>;
    /// The labels of an enum, in order, each with its rank; empty for another type.
    fn enum_labels(&self, oid: Oid) -> Vec<(i64, String)> {
        let _ = oid;
        Vec::new()
    }
    /// The label that has a rank.
    fn enum_label(&self, oid: Oid, rank: i64) -> Option<String> {
        self.enum_labels(oid).into_iter().find(|(known, _)| *known == rank).map(|(_, label)| label)
    }
    /// The rank of a label.
    fn enum_rank(&self, oid: Oid, label: &str) -> Option<i64> {
        self.enum_labels(oid).into_iter().find(|(_, known)| known == label).map(|(rank, _)| rank)
    }
    /// 55P04 for a label that must not be used before the transaction that added it has committed.
    fn check_label(&self, oid: Oid, rank: i64) -> Result<()> {
        let _ = (oid, rank);
        Ok(())
    }
    /// A user's type by its already split name on the search path.
    fn user_type(&self, parts: &[String]) -> Option<UserType> {
        let _ = parts;
        None
    }
    /// A domain by its OID.
    fn domain(&self, oid: Oid) -> Option<DomainFacts> {
        let _ = oid;
        None
    }
    /// The name of a type that is not built in, qualified unless visible.
    fn type_name(&self, oid: Oid) -> Option<String> {
        let _ = oid;
        None
    }
    /// The database's OID.
    fn database_by_name(&self, name: &str) -> Option<Oid> {
        let _ = name;
        None
    }
    /// `pg_database_size`: bytes.
    fn database_size(&self, oid: Oid) -> Option<i64> {
        let _ = oid;
        None
    }
    /// A relation's column by name: its number.
    fn column_by_name(&self, relation: Oid, name: &str) -> Option<i16> {
        let _ = (relation, name);
        None
    }
    /// Whether a relation has a column of this number.
    fn has_column(&self, relation: Oid, number: i16) -> bool {
        let _ = (relation, number);
        false
    }
    /// The user's OID.
    fn role_by_name(&self, name: &str) -> Option<Oid>;
    /// The user's name.
    fn role_name(&self, oid: Oid) -> Option<String>;
    /// Whether the relation is visible without qualification.
    fn relation_is_visible(&self, oid: Oid) -> Option<bool>;
    /// `pg_get_indexdef(oid, column, pretty)`
    fn index_definition(&self, oid: Oid, column: i32, pretty: bool) -> Option<String>;
    /// `pg_get_constraintdef(oid, pretty)`
    fn constraint_definition(&self, oid: Oid, pretty: bool) -> Option<String>;
    /// `pg_get_viewdef(oid)`
    fn view_definition(&self, oid: Oid, pretty: bool) -> Option<String>;
    /// A sequence's definition.
    fn sequence(&self, oid: Oid) -> Option<SequenceFacts> {
        let _ = oid;
        None
    }
    /// `pg_get_serial_sequence`: the sequence that belongs to a table's column; `Err` when there is no such column.
    fn serial_sequence(&self, table: TableId, column: &str) -> Result<Option<String>> {
        let _ = (table, column);
        Ok(None)
    }
    /// `pg_describe_object`: `None` when there is no such object, XX000 when there is no such class.
    fn object_description(&self, class: Oid, object: Oid, column: i32) -> Result<Option<String>> {
        let _ = (class, object, column);
        Ok(None)
    }
    /// `obj_description` / `col_description` (column 0 for the object itself)
    fn description(&self, oid: Oid, catalog: &str, column: i32) -> Option<String>;
    /// `pg_table_size` and kin: bytes.
    fn relation_size(&self, oid: Oid) -> Option<i64>;
    /// `has_table_privilege` and kin: `None` when the object does not exist.
    fn has_privilege(&self, user: Oid, object: PrivilegeObject, privilege: &str) -> Result<Option<bool>>;
    /// `current_schemas(include_implicit)`
    fn search_path(&self, include_implicit: bool) -> Vec<String>;
}

/// A user's type.
#[derive(Clone, Debug, PartialEq)]
pub struct UserType {
    /// Its OID.
    pub oid: Oid,
    /// The OID of the array over it.
    pub array: Oid,
    /// What values are: an enum, or what is below a domain.
    pub ty: PgType,
    /// Whether it is a domain.
    pub is_domain: bool,
}

/// What a domain asks of its values.
#[derive(Clone, Debug, PartialEq)]
pub struct DomainFacts {
    /// Its name as errors show it.
    pub name: String,
    /// Its own name and its namespace's, for the fields of errors.
    pub place: (String, String),
    /// The type below it.
    pub base: PgType,
    /// NOT NULL
    pub not_null: bool,
    /// DEFAULT, as SQL text.
    pub default: Option<String>,
    /// The conditions: names, and SQL text over `VALUE`.
    pub checks: Vec<(String, String)>,
}

/// What a sequence is declared to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceFacts {
    /// smallint, integer or bigint.
    pub ty: SqlType,
    /// START
    pub start: i64,
    /// MINVALUE
    pub min: i64,
    /// MAXVALUE
    pub max: i64,
    /// INCREMENT
    pub increment: i64,
    /// CYCLE
    pub cycle: bool,
    /// CACHE
    pub cache: i64,
}

/// The object of a privilege question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivilegeObject {
    /// A relation.
    Relation(Oid),
    /// A column of one.
    Column(Oid, i16),
    /// A namespace.
    Namespace(Oid),
    /// The database.
    Database,
}

impl Function {
    /// A strict, immutable function without the rarer facts, which the methods below add.
    pub(crate) const fn new(
        oid: Oid,
        name: &'static str,
        args: &'static [SqlType],
        returns: SqlType,
        kind: Kind,
    ) -> Self {
        Function {
            oid,
            name,
            args,
            defaults: 0,
            variadic: false,
            returns,
            columns: &[],
            strict: true,
            constants_once: false,
            volatility: Volatility::Immutable,
            kind,
        }
    }

    pub(crate) const fn stable(mut self) -> Self {
        self.volatility = Volatility::Stable;
        self
    }

    pub(crate) const fn volatile(mut self) -> Self {
        self.volatility = Volatility::Volatile;
        self
    }

    /// Called with NULL arguments too.
    pub(crate) const fn lax(mut self) -> Self {
        self.strict = false;
        self
    }

    /// Constants come as arrays of one item.
    pub(crate) const fn constants_once(mut self) -> Self {
        self.constants_once = true;
        self
    }

    pub(crate) const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }

    pub(crate) const fn defaults(mut self, count: usize) -> Self {
        self.defaults = count;
        self
    }

    pub(crate) const fn columns(mut self, columns: &'static [(&'static str, SqlType)]) -> Self {
        self.columns = columns;
        self
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.name, self.oid)
    }
}
