//! All that can be said: one closed enum.
//!
//! Queries and DML keep the parser's tree (the binder reads it); everything else is a small struct of its own. Names
//! are folded already: `Name` parts are what the catalog holds.

use kalamdb_commons::{PgType, Role};
pub use sqlparser::ast;

/// A possibly qualified name with its place in the text (characters from 1).
#[derive(Debug, Clone, PartialEq)]
pub struct Name {
    /// The namespace, if it was given. `kalamdb.ns.t` is accepted and loses its database.
    pub namespace: Option<String>,
    /// The last part.
    pub name: String,
    /// Where it stands.
    pub position: Option<usize>,
}

/// One statement.
#[derive(Debug, Clone)]
pub enum Statement {
    /// SELECT, VALUES, TABLE, WITH … (without data-modifying parts).
    Query(Box<ast::Query>),
    /// INSERT (a leading WITH is inside `ast::Insert::source`, or 0A000).
    Insert(Box<ast::Insert>),
    /// UPDATE
    Update(Box<ast::Update>),
    /// WITH before UPDATE or DELETE. (Before INSERT it belongs to the rows' query.)
    With {
        /// The parser's tree.
        with: Box<ast::With>,
        /// The UPDATE or DELETE.
        change: Box<Statement>,
    },
    /// DELETE; `purge` is WITH (PURGE).
    Delete {
        /// The parser's tree.
        delete: Box<ast::Delete>,
        /// WITH (PURGE)
        purge: bool,
    },
    /// COPY
    Copy(Box<Copy>),
    /// EXPLAIN
    Explain(Box<Explain>),

    /// CREATE NAMESPACE | SCHEMA
    CreateNamespace {
        /// Its name.
        name: String,
        /// IF NOT EXISTS
        if_not_exists: bool,
        /// AUTHORIZATION
        owner: Option<String>,
    },
    /// ALTER NAMESPACE n SET DESCRIPTION
    DescribeNamespace {
        /// Its name.
        name: String,
        /// The text.
        description: String,
    },
    /// DROP NAMESPACE | SCHEMA
    DropNamespace {
        /// Their names.
        names: Vec<String>,
        /// IF EXISTS
        if_exists: bool,
        /// CASCADE
        cascade: bool,
    },
    /// CREATE EXTENSION
    CreateExtension {
        /// Its name.
        name: String,
        /// IF NOT EXISTS
        if_not_exists: bool,
    },
    /// DROP EXTENSION
    DropExtension {
        /// Their names.
        names: Vec<String>,
        /// IF EXISTS
        if_exists: bool,
    },
    /// CREATE TABLE in its kinds.
    CreateTable(Box<CreateTable>),
    /// CREATE TABLE … AS, SELECT … INTO
    CreateTableAs(Box<CreateTableAs>),
    /// DROP TABLE
    DropTable {
        /// Which.
        names: Vec<Name>,
        /// IF EXISTS
        if_exists: bool,
        /// CASCADE
        cascade: bool,
    },
    /// ALTER TABLE
    AlterTable(Box<AlterTable>),
    /// CREATE INDEX
    CreateIndex(Box<CreateIndex>),
    /// DROP INDEX
    DropIndex {
        /// Which.
        names: Vec<Name>,
        /// IF EXISTS
        if_exists: bool,
        /// CONCURRENTLY
        concurrently: bool,
        /// CASCADE
        cascade: bool,
    },
    /// ALTER INDEX
    AlterIndex {
        /// Which.
        name: Name,
        /// IF EXISTS
        if_exists: bool,
        /// What.
        action: AlterIndexAction,
    },
    /// REINDEX
    Reindex(Reindexed),
    /// CREATE VIEW
    CreateView(Box<CreateView>),
    /// DROP VIEW
    DropView {
        /// Which.
        names: Vec<Name>,
        /// IF EXISTS
        if_exists: bool,
        /// CASCADE
        cascade: bool,
    },
    /// ALTER VIEW
    AlterView {
        /// Which.
        name: Name,
        /// IF EXISTS
        if_exists: bool,
        /// What.
        action: AlterViewAction,
    },
    /// COMMENT ON
    Comment {
        /// What about.
        about: Commented,
        /// The text; `None` takes it away.
        text: Option<String>,
    },
    /// CREATE TYPE … AS ENUM
    CreateEnum {
        /// Its name.
        name: Name,
        /// Its labels, in order.
        labels: Vec<String>,
    },
    /// CREATE DOMAIN
    CreateDomain(Box<CreateDomain>),
    /// ALTER TYPE, and what ALTER DOMAIN shares with it.
    AlterType {
        /// Which.
        name: Name,
        /// What.
        action: AlterTypeAction,
    },
    /// ALTER DOMAIN
    AlterDomain {
        /// Which.
        name: Name,
        /// What.
        action: AlterDomainAction,
    },
    /// DROP TYPE, DROP DOMAIN
    DropType {
        /// Which.
        names: Vec<Name>,
        /// DOMAIN
        domain: bool,
        /// IF EXISTS
        if_exists: bool,
        /// CASCADE
        cascade: bool,
    },
    /// CREATE SEQUENCE
    CreateSequence {
        /// Its name.
        name: Name,
        /// IF NOT EXISTS
        if_not_exists: bool,
        /// Its options, in order.
        options: Vec<SequenceOption>,
    },
    /// ALTER SEQUENCE
    AlterSequence {
        /// Which.
        name: Name,
        /// IF EXISTS
        if_exists: bool,
        /// What.
        action: AlterSequenceAction,
    },
    /// DROP SEQUENCE
    DropSequence {
        /// Which.
        names: Vec<Name>,
        /// IF EXISTS
        if_exists: bool,
        /// CASCADE
        cascade: bool,
    },
    /// TRUNCATE
    Truncate {
        /// Which.
        names: Vec<Name>,
        /// RESTART IDENTITY
        restart: bool,
        /// CASCADE
        cascade: bool,
    },
    /// VACUUM (accepted; upkeep decides)
    Vacuum {
        /// Which; none for all.
        names: Vec<Name>,
        /// ANALYZE too.
        analyze: bool,
    },
    /// ANALYZE
    Analyze {
        /// Which; none for all.
        names: Vec<Name>,
    },

    /// BEGIN, START TRANSACTION
    Begin(TransactionModes),
    /// COMMIT, END
    Commit {
        /// AND CHAIN
        chain: bool,
    },
    /// ROLLBACK, ABORT
    Rollback {
        /// AND CHAIN
        chain: bool,
    },
    /// SAVEPOINT
    Savepoint(String),
    /// RELEASE
    Release(String),
    /// ROLLBACK TO
    RollbackTo(String),
    /// SET TRANSACTION
    SetTransaction(TransactionModes),
    /// SET CONSTRAINTS
    SetConstraints {
        /// Which; `None`: ALL.
        names: Option<Vec<Name>>,
        /// DEFERRED, else IMMEDIATE.
        deferred: bool,
    },
    /// SET SESSION CHARACTERISTICS AS TRANSACTION
    SetCharacteristics(TransactionModes),
    /// SET [SESSION | LOCAL] name = value; `USE n` is `search_path`.
    Set {
        /// Its name, lower case.
        name: String,
        /// The values; empty for DEFAULT.
        values: Vec<String>,
        /// LOCAL
        local: bool,
    },
    /// RESET name; `None`: ALL
    Reset(Option<String>),
    /// SHOW name; `None`: ALL
    ShowSetting(Option<String>),

    /// PREPARE
    Prepare {
        /// The name.
        name: String,
        /// Declared types; `None` is "unknown".
        types: Vec<Option<PgType>>,
        /// The statement.
        statement: Box<Statement>,
        /// The inner statement's own text (its positions count from there).
        text: String,
    },
    /// EXECUTE
    Execute {
        /// The name.
        name: String,
        /// The arguments: constant expressions.
        arguments: Vec<ast::Expr>,
    },
    /// DEALLOCATE; `None`: ALL
    Deallocate(Option<String>),
    /// DECLARE CURSOR
    Declare(Box<Declare>),
    /// FETCH, MOVE
    Fetch {
        /// The cursor.
        cursor: String,
        /// How far.
        direction: FetchDirection,
        /// MOVE: no rows are sent.
        moving: bool,
    },
    /// CLOSE; `None`: ALL
    Close(Option<String>),
    /// DISCARD
    Discard(Discard),

    /// LISTEN channel
    Listen(String),
    /// LISTEN channel FOR SELECT …
    ListenFor {
        /// The channel.
        channel: String,
        /// The query.
        query: Box<ast::Query>,
        /// The query's own text.
        text: String,
    },
    /// LIVE SELECT …
    Live {
        /// The query.
        query: Box<ast::Query>,
        /// The query's own text.
        text: String,
    },
    /// SUBSCRIBE TO t [WHERE …] OPTIONS (…)
    Subscribe {
        /// `SELECT * FROM t WHERE …`
        query: Box<ast::Query>,
        /// That query's text.
        text: String,
        /// The options, names lower case.
        options: Vec<(String, String)>,
    },
    /// UNLISTEN; `None`: *
    Unlisten(Option<String>),
    /// NOTIFY
    Notify {
        /// The channel.
        channel: String,
        /// The payload; empty without one.
        payload: String,
    },
    /// KILL LIVE QUERY
    KillLiveQuery(String),
    /// KILL JOB
    KillJob(String),

    /// CREATE USER (ours and PostgreSQL's CREATE USER | ROLE)
    CreateUser(Box<CreateUser>),
    /// ALTER USER
    AlterUser {
        /// Whose; `CURRENT_USER` is `None`.
        name: Option<String>,
        /// What.
        change: AlterUser,
    },
    /// DROP USER | ROLE
    DropUser {
        /// Whose.
        names: Vec<String>,
        /// IF EXISTS
        if_exists: bool,
    },
    /// EXECUTE AS USER 'u' ( … )
    ExecuteAs {
        /// The user.
        user: String,
        /// The statement.
        statement: Box<Statement>,
        /// Its text.
        text: String,
    },

    /// STORAGE FLUSH TABLE t, FLUSH TABLE t
    FlushTable(Name),
    /// STORAGE FLUSH ALL [IN ns], FLUSH ALL TABLES
    FlushAll(Option<String>),
    /// SHOW NAMESPACES, TABLES …
    ShowObjects(ShowObjects),
    /// DESCRIBE t [HISTORY]
    Describe {
        /// Which.
        name: Name,
        /// HISTORY
        history: bool,
    },
    /// LOCK TABLE
    Lock {
        /// Which.
        names: Vec<Name>,
        /// The mode's words, e.g. "access exclusive".
        mode: String,
        /// NOWAIT
        nowait: bool,
    },
    /// A statement that is known and not supported (yet): the subject for 0A000 ("MERGE", "COMMENT ON").
    Unsupported(String),
    /// An empty statement between semicolons.
    Empty,
}

/// What COMMENT ON is about.
#[derive(Debug, Clone)]
pub enum Commented {
    /// A relation, called so.
    Relation(RelationWord, Name),
    /// A column of a table or view.
    Column {
        /// The relation.
        relation: Name,
        /// The column.
        column: String,
    },
    /// A table's constraint.
    Constraint {
        /// Its name.
        name: String,
        /// The table.
        table: Name,
    },
    /// SCHEMA, NAMESPACE
    Namespace(String),
    /// DATABASE
    WholeDatabase(String),
    /// ROLE, USER
    Role(String),
    /// TYPE
    Type(Name),
    /// DOMAIN
    Domain(Name),
}

/// What a statement calls a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationWord {
    /// TABLE
    Table,
    /// VIEW
    View,
    /// INDEX
    Index,
    /// SEQUENCE
    Sequence,
}

/// CREATE VIEW
#[derive(Debug, Clone)]
pub struct CreateView {
    /// Its name.
    pub name: Name,
    /// OR REPLACE
    pub or_replace: bool,
    /// The names of its first columns.
    pub columns: Vec<String>,
    /// WITH ( … )
    pub options: Vec<(String, String)>,
    /// The query. Its places count from the statement's text.
    pub query: Box<ast::Query>,
    /// The query's own text.
    pub text: String,
}

/// What ALTER VIEW does.
#[derive(Debug, Clone)]
pub enum AlterViewAction {
    /// RENAME TO
    Rename(String),
    /// RENAME [COLUMN] … TO
    RenameColumn {
        /// Which.
        column: String,
        /// Its new name.
        to: String,
    },
    /// SET ( … )
    Set(Vec<(String, String)>),
    /// RESET ( … )
    Reset(Vec<String>),
    /// OWNER TO; `None`: CURRENT_USER
    Owner(Option<String>),
    /// SET SCHEMA
    SetSchema(String),
}

/// COPY.
#[derive(Debug, Clone)]
pub struct Copy {
    /// What.
    pub subject: CopySubject,
    /// The direction.
    pub direction: CopyDirection,
    /// The options.
    pub options: CopyOptions,
    /// FROM … WHERE, with the text that its places count in.
    pub condition: Option<Box<ast::Expr>>,
}

/// What is copied.
#[derive(Debug, Clone)]
pub enum CopySubject {
    /// A table and some of its columns (none: all).
    Table {
        /// Which.
        name: Name,
        /// The columns.
        columns: Vec<String>,
    },
    /// A query, with its own text.
    Query(Box<ast::Query>, String),
    /// INSERT, UPDATE or DELETE with RETURNING, with its own text.
    Change(Box<Statement>, String),
    /// LIVE SELECT, with the query's own text.
    Live(Box<ast::Query>, String),
}

/// Where COPY goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyDirection {
    /// FROM STDIN
    In,
    /// TO STDOUT
    Out,
}

/// COPY's options (PostgreSQL manual, COPY). `Default` is text format.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CopyOptions {
    /// FORMAT
    pub format: CopyFormat,
    /// DELIMITER
    pub delimiter: Option<u8>,
    /// NULL
    pub null: Option<String>,
    /// HEADER
    pub header: CopyHeader,
    /// QUOTE
    pub quote: Option<u8>,
    /// ESCAPE
    pub escape: Option<u8>,
    /// FORCE_QUOTE; `Some(vec![])` is *
    pub force_quote: Option<Vec<String>>,
    /// FORCE_NOT_NULL
    pub force_not_null: Vec<String>,
    /// FORCE_NULL
    pub force_null: Vec<String>,
}

/// COPY's formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyFormat {
    /// text
    #[default]
    Text,
    /// csv
    Csv,
    /// binary
    Binary,
}

/// COPY's HEADER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyHeader {
    /// No header line.
    #[default]
    None,
    /// HEADER
    Line,
    /// HEADER MATCH
    Match,
}

/// EXPLAIN.
#[derive(Debug, Clone)]
pub struct Explain {
    /// The statement.
    pub statement: Statement,
    /// Its text.
    pub text: String,
    /// ANALYZE
    pub analyze: bool,
    /// VERBOSE
    pub verbose: bool,
    /// FORMAT JSON (else text)
    pub json: bool,
    /// COSTS, on unless turned off.
    pub costs: bool,
    /// SUMMARY: planning and execution times; with ANALYZE unless turned off.
    pub summary: bool,
    /// EXPLAIN LIVE
    pub live: bool,
}

/// CREATE TABLE.
#[derive(Debug, Clone)]
pub struct CreateTable {
    /// Its name.
    pub name: Name,
    /// USER | SHARED | STREAM, if said before TABLE.
    pub kind: Option<kalamdb_commons::TableType>,
    /// IF NOT EXISTS
    pub if_not_exists: bool,
    /// The columns.
    pub columns: Vec<ColumnSpec>,
    /// The primary key: constraint name, columns.
    pub primary_key: Option<(Option<String>, Vec<String>)>,
    /// The UNIQUE constraints, in order.
    pub uniques: Vec<UniqueSpec>,
    /// CHECK and FOREIGN KEY, of columns and of the table, as they were said.
    pub constraints: Vec<ConstraintSpec>,
    /// WITH ( … ), names lower case.
    pub options: Vec<(String, String)>,
    /// LIKE, in order.
    pub likes: Vec<TableLike>,
}

/// LIKE in CREATE TABLE: another relation's columns.
#[derive(Debug, Clone)]
pub struct TableLike {
    /// Before how many of the table's own columns they stand.
    pub at: usize,
    /// Whose.
    pub source: Name,
    /// What comes along besides names, types and NOT NULL.
    pub including: Vec<Included>,
}

/// What LIKE takes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "PostgreSQL's words")]
pub enum Included {
    Comments,
    Constraints,
    Defaults,
    Generated,
    Identity,
    Indexes,
    /// STATISTICS, STORAGE, COMPRESSION: there is none.
    Other,
}

/// CREATE TABLE … AS, SELECT … INTO.
#[derive(Debug, Clone)]
pub struct CreateTableAs {
    /// The table, without columns.
    pub table: CreateTable,
    /// The names of its first columns.
    pub columns: Vec<String>,
    /// Where its columns and rows come from.
    pub query: SourceQuery,
    /// WITH DATA (the default)
    pub with_data: bool,
}

/// A query, or a prepared one.
#[derive(Debug, Clone)]
pub enum SourceQuery {
    /// The query. Its places count from the statement's text.
    Query(Box<ast::Query>),
    /// EXECUTE
    Execute {
        /// The prepared statement's name.
        name: String,
        /// Its arguments.
        arguments: Vec<ast::Expr>,
    },
}

/// CREATE INDEX.
#[derive(Debug, Clone)]
pub struct CreateIndex {
    /// Its name; `None`: one is chosen.
    pub name: Option<String>,
    /// The table.
    pub table: Name,
    /// UNIQUE
    pub unique: bool,
    /// CONCURRENTLY
    pub concurrently: bool,
    /// IF NOT EXISTS
    pub if_not_exists: bool,
    /// USING
    pub method: String,
    /// What it is sorted by.
    pub elements: Vec<IndexElement>,
    /// INCLUDE
    pub include: Vec<String>,
    /// NULLS NOT DISTINCT
    pub nulls_not_distinct: bool,
    /// WITH ( … ), names lower case.
    pub options: Vec<(String, String)>,
    /// WHERE, as text.
    pub predicate: Option<String>,
}

/// One element of an index, or of ON CONFLICT's target.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexElement {
    /// What is sorted.
    pub value: IndexedValue,
    /// Where it stands in the statement.
    pub position: Option<usize>,
    /// COLLATE
    pub collation: Option<String>,
    /// The operator class.
    pub class: Option<String>,
    /// DESC
    pub descending: bool,
    /// NULLS FIRST or LAST, if said.
    pub nulls_first: Option<bool>,
}

/// What an index sorts.
#[derive(Debug, Clone, PartialEq)]
pub enum IndexedValue {
    /// A column.
    Column(String),
    /// An expression, as text.
    Expression(String),
}

/// A UNIQUE constraint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UniqueSpec {
    /// Its name; `None`: one is chosen.
    pub name: Option<String>,
    /// Its columns.
    pub columns: Vec<String>,
    /// INCLUDE
    pub include: Vec<String>,
    /// NULLS NOT DISTINCT
    pub nulls_not_distinct: bool,
    /// WITH ( … ), names lower case.
    pub options: Vec<(String, String)>,
    /// USING INDEX: a unique index that is there.
    pub using_index: Option<String>,
}

/// What ALTER INDEX does.
#[derive(Debug, Clone)]
pub enum AlterIndexAction {
    /// RENAME TO
    Rename(String),
    /// SET ( … )
    Set(Vec<(String, String)>),
    /// RESET ( … )
    Reset(Vec<String>),
}

/// What REINDEX looks at.
#[derive(Debug, Clone)]
pub enum Reindexed {
    /// INDEX
    Index(Name),
    /// TABLE
    Table(Name),
    /// SCHEMA
    Namespace(String),
    /// DATABASE and SYSTEM: all that there is.
    Everything(String),
}

/// A written type.
#[derive(Debug, Clone, PartialEq)]
pub enum TypeName {
    /// One of PostgreSQL's.
    BuiltIn(PgType),
    /// Another, which a user may have made.
    Named {
        /// Its name.
        parts: Vec<String>,
        /// Whether the array over it is meant.
        is_array: bool,
        /// Where it stands.
        position: Option<usize>,
    },
}

/// CREATE DOMAIN
#[derive(Debug, Clone)]
pub struct CreateDomain {
    /// Its name.
    pub name: Name,
    /// The type below it.
    pub base: TypeName,
    /// DEFAULT, as SQL text.
    pub default: Option<String>,
    /// NOT NULL
    pub not_null: bool,
    /// CHECK, in order: names, if said, and SQL text over VALUE.
    pub checks: Vec<(Option<String>, String)>,
}

/// What ALTER TYPE does.
#[derive(Debug, Clone)]
pub enum AlterTypeAction {
    /// ADD VALUE
    AddValue {
        /// The label.
        label: String,
        /// IF NOT EXISTS
        if_not_exists: bool,
        /// BEFORE (true) or AFTER another label.
        beside: Option<(bool, String)>,
    },
    /// RENAME VALUE
    RenameValue {
        /// The label.
        from: String,
        /// Its new text.
        to: String,
    },
    /// RENAME TO
    Rename(String),
    /// SET SCHEMA
    SetNamespace(String),
}

/// What ALTER DOMAIN does.
#[derive(Debug, Clone)]
pub enum AlterDomainAction {
    /// SET DEFAULT, or DROP DEFAULT (`None`)
    SetDefault(Option<String>),
    /// SET NOT NULL, or DROP NOT NULL (false)
    SetNotNull(bool),
    /// ADD [CONSTRAINT name] CHECK ( … ) [NOT VALID]
    AddCheck {
        /// The constraint's name.
        name: Option<String>,
        /// The condition, as SQL text over VALUE.
        text: String,
        /// NOT VALID
        not_valid: bool,
    },
    /// DROP CONSTRAINT
    DropConstraint {
        /// Which.
        name: String,
        /// IF EXISTS
        if_exists: bool,
    },
    /// RENAME CONSTRAINT
    RenameConstraint {
        /// Which.
        name: String,
        /// Its new name.
        to: String,
    },
    /// VALIDATE CONSTRAINT
    Validate(String),
    /// RENAME TO
    Rename(String),
    /// SET SCHEMA
    SetNamespace(String),
}

/// An option of CREATE and ALTER SEQUENCE, and of an IDENTITY column.
#[derive(Debug, Clone, PartialEq)]
pub enum SequenceOption {
    /// AS
    As(PgType),
    /// INCREMENT [BY]
    Increment(i64),
    /// MINVALUE; `None`: NO MINVALUE
    MinValue(Option<i64>),
    /// MAXVALUE; `None`: NO MAXVALUE
    MaxValue(Option<i64>),
    /// START [WITH]
    Start(i64),
    /// RESTART [[WITH] n]
    Restart(Option<i64>),
    /// CACHE
    Cache(i64),
    /// CYCLE, NO CYCLE
    Cycle(bool),
    /// OWNED BY table.column; `None`: NONE
    OwnedBy(Option<(Name, String)>),
    /// SEQUENCE NAME: what the sequence of an IDENTITY column is called.
    Name(Name),
}

/// What ALTER SEQUENCE does.
#[derive(Debug, Clone)]
pub enum AlterSequenceAction {
    /// New options.
    Options(Vec<SequenceOption>),
    /// RENAME TO
    Rename(String),
    /// SET SCHEMA
    SetNamespace(String),
}

/// A column's definition.
#[derive(Debug, Clone)]
pub struct ColumnSpec {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: TypeName,
    /// NOT NULL (a primary key's columns are so too).
    pub not_null: bool,
    /// DEFAULT: the parser's tree and its SQL text.
    pub default: Option<(ast::Expr, String)>,
    /// SERIAL and its kin: a sequence comes with it.
    pub serial: bool,
    /// GENERATED … AS IDENTITY
    pub identity: Option<IdentitySpec>,
    /// GENERATED ALWAYS AS ( … ) STORED: the SQL text, and where it stands.
    pub generated: Option<(String, Option<usize>)>,
}

/// GENERATED … AS IDENTITY
#[derive(Debug, Clone, PartialEq)]
pub struct IdentitySpec {
    /// ALWAYS, or BY DEFAULT.
    pub always: bool,
    /// Its sequence's options.
    pub options: Vec<SequenceOption>,
}

impl ColumnSpec {
    /// A column of a name and a type.
    pub fn plain(name: String, ty: TypeName) -> ColumnSpec {
        ColumnSpec { name, ty, not_null: false, default: None, serial: false, identity: None, generated: None }
    }
}

/// CHECK or FOREIGN KEY.
#[derive(Debug, Clone)]
pub enum ConstraintSpec {
    /// CHECK
    Check(CheckSpec),
    /// FOREIGN KEY or REFERENCES
    ForeignKey(Box<ForeignKeySpec>),
}

/// CHECK.
#[derive(Debug, Clone)]
pub struct CheckSpec {
    /// Its name.
    pub name: Option<String>,
    /// The condition's text.
    pub text: String,
    /// NO INHERIT
    pub no_inherit: bool,
    /// NOT VALID
    pub not_valid: bool,
}

/// FOREIGN KEY.
#[derive(Debug, Clone)]
pub struct ForeignKeySpec {
    /// Its name.
    pub name: Option<String>,
    /// The referencing columns.
    pub columns: Vec<String>,
    /// The referenced table.
    pub parent: Name,
    /// The referenced columns; none: the primary key.
    pub parent_columns: Vec<String>,
    /// MATCH FULL
    pub match_full: bool,
    /// ON UPDATE
    pub on_update: ReferentialAct,
    /// ON DELETE
    pub on_delete: ReferentialAct,
    /// DEFERRABLE
    pub deferrable: bool,
    /// INITIALLY DEFERRED
    pub deferred: bool,
    /// NOT VALID
    pub not_valid: bool,
}

/// What a foreign key does when the referenced row goes or changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferentialAct {
    /// NO ACTION
    NoAction,
    /// RESTRICT
    Restrict,
    /// CASCADE
    Cascade,
    /// SET NULL; none named: all of the key.
    SetNull(Vec<String>),
    /// SET DEFAULT; none named: all of the key.
    SetDefault(Vec<String>),
}

/// ALTER TABLE.
#[derive(Debug, Clone)]
pub struct AlterTable {
    /// Which.
    pub name: Name,
    /// IF EXISTS
    pub if_exists: bool,
    /// What, in order.
    pub actions: Vec<AlterAction>,
}

/// One action of ALTER TABLE.
#[derive(Debug, Clone)]
pub enum AlterAction {
    /// ADD [CONSTRAINT name] PRIMARY KEY (columns)
    AddPrimaryKey {
        /// The constraint's name.
        name: Option<String>,
        /// The columns.
        columns: Vec<String>,
    },
    /// ADD [CONSTRAINT name] UNIQUE …
    AddUnique(UniqueSpec),
    /// ADD [CONSTRAINT name] PRIMARY KEY USING INDEX i
    AddPrimaryKeyUsing {
        /// The constraint's name.
        name: Option<String>,
        /// The index.
        index: String,
    },
    /// ADD COLUMN
    AddColumn {
        /// The column.
        column: ColumnSpec,
        /// IF NOT EXISTS
        if_not_exists: bool,
        /// PRIMARY KEY, said with the column: it comes only if the column does.
        key: Option<Box<AlterAction>>,
        /// UNIQUE, said with the column: as with the key.
        uniques: Vec<UniqueSpec>,
        /// CHECK and REFERENCES, said with the column: as with the key.
        constraints: Vec<ConstraintSpec>,
    },
    /// DROP COLUMN
    DropColumn {
        /// The column.
        name: String,
        /// IF EXISTS
        if_exists: bool,
        /// CASCADE
        cascade: bool,
    },
    /// DROP CONSTRAINT
    DropConstraint {
        /// The constraint.
        name: String,
        /// IF EXISTS
        if_exists: bool,
        /// CASCADE
        cascade: bool,
    },
    /// ADD [CONSTRAINT name] CHECK or FOREIGN KEY
    AddConstraint(ConstraintSpec),
    /// VALIDATE CONSTRAINT
    ValidateConstraint {
        /// The constraint.
        name: String,
    },
    /// ALTER CONSTRAINT
    AlterConstraint {
        /// The constraint.
        name: String,
        /// DEFERRABLE
        deferrable: bool,
        /// INITIALLY DEFERRED
        deferred: bool,
    },
    /// ALTER COLUMN … SET DEFAULT, or DROP DEFAULT (`None`)
    SetDefault {
        /// The column.
        name: String,
        /// The parser's tree and its SQL text.
        default: Option<(ast::Expr, String)>,
    },
    /// ALTER COLUMN … ADD GENERATED … AS IDENTITY
    AddIdentity {
        /// The column.
        name: String,
        /// What it becomes.
        identity: IdentitySpec,
    },
    /// ALTER COLUMN … SET GENERATED …, SET option, RESTART
    SetIdentity {
        /// The column.
        name: String,
        /// ALWAYS, or BY DEFAULT, if said.
        always: Option<bool>,
        /// Its sequence's new options.
        options: Vec<SequenceOption>,
    },
    /// ALTER COLUMN … DROP IDENTITY
    DropIdentity {
        /// The column.
        name: String,
        /// IF EXISTS
        if_exists: bool,
    },
    /// ALTER COLUMN … DROP EXPRESSION
    DropExpression {
        /// The column.
        name: String,
        /// IF EXISTS
        if_exists: bool,
    },
    /// ALTER COLUMN … SET NOT NULL
    SetNotNull {
        /// The column.
        name: String,
    },
    /// ALTER COLUMN … DROP NOT NULL
    DropNotNull {
        /// The column.
        name: String,
    },
    /// ALTER COLUMN … [SET DATA] TYPE … [USING …]
    SetType {
        /// The column.
        name: String,
        /// Its new type.
        ty: TypeName,
        /// What its values become, as SQL text.
        using: Option<String>,
    },
    /// OWNER TO
    Owner {
        /// Whose it is from then on; `None`: CURRENT_USER.
        to: Option<String>,
    },
    /// SET SCHEMA: the only action of its statement.
    SetSchema {
        /// Where it goes.
        to: String,
    },
    /// RENAME COLUMN: the only action of its statement, as the two below.
    RenameColumn {
        /// The column.
        name: String,
        /// Its new name.
        to: String,
    },
    /// RENAME CONSTRAINT
    RenameConstraint {
        /// The constraint.
        name: String,
        /// Its new name.
        to: String,
    },
    /// RENAME TO
    Rename {
        /// The table's new name.
        to: String,
    },
    /// SET ( … )
    SetOptions(Vec<(String, String)>),
    /// Understood, and not supported: the subject for 0A000.
    Unsupported(String),
}

impl AlterAction {
    /// What errors call it.
    pub fn words(&self) -> &'static str {
        match self {
            AlterAction::AddPrimaryKey { .. }
            | AlterAction::AddConstraint(_)
            | AlterAction::AddUnique(_)
            | AlterAction::AddPrimaryKeyUsing { .. } => "ADD CONSTRAINT",
            AlterAction::AddColumn { .. } => "ADD COLUMN",
            AlterAction::DropColumn { .. } => "DROP COLUMN",
            AlterAction::DropConstraint { .. } => "DROP CONSTRAINT",
            AlterAction::SetDefault { .. } => "ALTER COLUMN ... SET DEFAULT",
            AlterAction::AddIdentity { .. } => "ALTER COLUMN ... ADD IDENTITY",
            AlterAction::SetIdentity { .. } => "ALTER COLUMN ... SET",
            AlterAction::DropIdentity { .. } => "ALTER COLUMN ... DROP IDENTITY",
            AlterAction::DropExpression { .. } => "ALTER COLUMN ... DROP EXPRESSION",
            AlterAction::SetNotNull { .. } => "ALTER COLUMN ... SET NOT NULL",
            AlterAction::DropNotNull { .. } => "ALTER COLUMN ... DROP NOT NULL",
            AlterAction::RenameColumn { .. } | AlterAction::RenameConstraint { .. } | AlterAction::Rename { .. } => {
                "RENAME"
            }
            AlterAction::ValidateConstraint { .. } => "VALIDATE CONSTRAINT",
            AlterAction::AlterConstraint { .. } => "ALTER CONSTRAINT",
            AlterAction::SetOptions(_) => "SET",
            AlterAction::SetType { .. } => "ALTER COLUMN ... SET DATA TYPE",
            AlterAction::Owner { .. } => "OWNER TO",
            AlterAction::SetSchema { .. } => "SET SCHEMA",
            AlterAction::Unsupported(_) => "",
        }
    }
}

/// The modes of BEGIN and SET TRANSACTION.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionModes {
    /// ISOLATION LEVEL
    pub isolation: Option<IsolationLevel>,
    /// READ ONLY (true) or READ WRITE
    pub read_only: Option<bool>,
    /// DEFERRABLE
    pub deferrable: Option<bool>,
}

/// The isolation levels as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolationLevel {
    /// Treated as READ COMMITTED, as in PostgreSQL.
    ReadUncommitted,
    /// READ COMMITTED
    ReadCommitted,
    /// REPEATABLE READ
    RepeatableRead,
    /// SERIALIZABLE
    Serializable,
}

/// DECLARE.
#[derive(Debug, Clone)]
pub struct Declare {
    /// The cursor.
    pub name: String,
    /// SCROLL (Some(true)), NO SCROLL (Some(false))
    pub scroll: Option<bool>,
    /// WITH HOLD
    pub hold: bool,
    /// BINARY
    pub binary: bool,
    /// INSENSITIVE
    pub insensitive: bool,
    /// The query.
    pub query: Box<ast::Query>,
    /// Its text.
    pub text: String,
}

/// FETCH's directions; `i64::MAX` is ALL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchDirection {
    /// NEXT, FORWARD [n | ALL], n
    Forward(i64),
    /// PRIOR, BACKWARD [n | ALL]
    Backward(i64),
    /// FIRST, LAST (-1), ABSOLUTE n
    Absolute(i64),
    /// RELATIVE n
    Relative(i64),
}

/// DISCARD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// ALL
    All,
    /// PLANS
    Plans,
    /// SEQUENCES
    Sequences,
    /// TEMP
    Temp,
}

/// CREATE USER.
#[derive(Debug, Clone)]
pub struct CreateUser {
    /// The name.
    pub name: String,
    /// IF NOT EXISTS
    pub if_not_exists: bool,
    /// How the user logs in; `None` is INTERNAL: not at all.
    pub login: Option<UserLogin>,
    /// ROLE (default: user)
    pub role: Role,
    /// EMAIL
    pub email: Option<String>,
    /// METADATA
    pub metadata: Option<String>,
}

/// How a user logs in. `Debug` shows no secret.
#[derive(Clone)]
pub enum UserLogin {
    /// WITH PASSWORD
    Password(String),
    /// WITH OAUTH '{"provider": …, "subject": …}': the JSON text.
    Oauth(String),
}

impl std::fmt::Debug for UserLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UserLogin::Password(_) => f.write_str("Password(…)"),
            UserLogin::Oauth(_) => f.write_str("Oauth(…)"),
        }
    }
}

/// ALTER USER.
#[derive(Debug, Clone)]
pub enum AlterUser {
    /// SET PASSWORD, [WITH] PASSWORD, or OAUTH
    Login(UserLogin),
    /// ROLE
    Role(Role),
    /// EMAIL
    Email(String),
    /// METADATA
    Metadata(String),
    /// UNLOCK
    Unlock,
}

/// SHOW of our objects.
#[derive(Debug, Clone, PartialEq)]
pub enum ShowObjects {
    /// SHOW NAMESPACES
    Namespaces,
    /// SHOW TABLES [IN ns]
    Tables(Option<String>),
    /// SHOW STORAGES
    Storages,
    /// SHOW JOBS
    Jobs,
    /// SHOW LIVE QUERIES
    LiveQueries,
    /// SHOW MANIFEST FOR TABLE t
    Manifest(Name),
    /// SHOW STATS FOR TABLE t
    Stats(Name),
}
