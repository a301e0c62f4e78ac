//! The bound tree: names are ids, every expression has its PostgreSQL type, every cast is explicit.
//!
//! Each column that any node makes has a number unique in the whole statement (`ColId`). A reference is that number,
//! wherever it stands; a reference that no node below makes is *outer* (correlated). So there are no qualifiers, no
//! ambiguities and no positions left to get wrong. Lowering names the columns `c<number>`.

use crate::function::{Function, SessionValue};
use kalamdb_commons::{ColumnId, Datum, Oid, PgType, TableId, UserId};
use std::collections::BTreeSet;

/// A statement after binding.
#[derive(Debug, Clone)]
pub struct Bound {
    /// What is to be done.
    pub kind: BoundKind,
    /// The types of `$1`, `$2` …
    pub parameters: Vec<PgType>,
    /// The result columns, in order; empty for a statement without a result set.
    pub outputs: Vec<Output>,
    /// The relations it touches and how. Scans name them by their place in this list.
    pub needs: Vec<Need>,
    /// The queries of its WITH that are carried out by themselves, in the order of the text. [`Rel::Made`] reads what
    /// they return.
    pub steps: Vec<Step>,
}

/// A query in WITH that is carried out once, whoever reads what it returns: one that writes, or one with volatile
/// functions that is read in several places.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// What is to be done.
    pub kind: BoundKind,
    /// What it returns.
    pub outputs: Vec<Output>,
    /// Whether the statement, or a step that does, reads what it returns: then it comes before. Others come after a
    /// statement that writes itself, as in PostgreSQL.
    pub is_read: bool,
}

/// The kinds of bound statements.
#[derive(Debug, Clone)]
pub enum BoundKind {
    /// SELECT, VALUES, TABLE: the tree makes (at least) the outputs' columns.
    Query(Rel),
    /// INSERT
    Insert(BoundInsert),
    /// UPDATE
    Update(BoundUpdate),
    /// DELETE
    Delete(BoundDelete),
}

/// One column of a result set.
#[derive(Debug, Clone)]
pub struct Output {
    /// The column in the tree (for RETURNING: see [`Returning`]).
    pub col: ColId,
    /// The name that the client sees; names may repeat.
    pub name: String,
    /// Its type.
    pub ty: PgType,
    /// The table column it is, if it is one unchanged (RowDescription's table OID and attribute number).
    pub origin: Option<(TableId, ColumnId)>,
}

/// A column's number, unique in one bound statement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ColId(pub u32);

/// The place of a need in [`Bound::needs`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NeedId(pub usize);

/// One relation that a statement touches, and what it does to it. `core::resolve` turns it into a relation.
#[derive(Debug, Clone, PartialEq)]
pub struct Need {
    /// The relation.
    pub table: TableId,
    /// The schema version that binding saw.
    pub schema_version: u32,
    /// What is done.
    pub action: Action,
    /// The columns read or written.
    pub columns: BTreeSet<ColumnId>,
    /// Whether `_deleted` is named: then tombstones are read too.
    pub with_deleted: bool,
    /// By whose rights it is judged, where that is not the asker: a view reads by its owner's. The rows are the
    /// asker's all the same.
    pub judged_as: Option<UserId>,
}

/// What a statement does to a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Reads rows.
    Select,
    /// Reads and locks rows (`FOR UPDATE` …).
    Lock,
    /// Adds rows.
    Insert,
    /// Changes rows.
    Update,
    /// Removes rows.
    Delete,
    /// Removes all rows.
    Truncate,
}

/// A relational node. What columns each makes is said with it; `Rel::columns` computes it.
#[derive(Debug, Clone)]
pub enum Rel {
    /// One row without columns.
    OneRow,
    /// A relation's rows: a leaf until a relation stands behind it. `ColumnId::ROW_KEY` makes the row's key (bytea).
    Scan {
        /// Which relation.
        need: NeedId,
        /// The columns it makes: the table's column and its number here, with its type.
        columns: Vec<(ColumnId, Col)>,
    },
    /// Rows of expressions (VALUES).
    Values {
        /// The columns.
        columns: Vec<Col>,
        /// The rows, each as long as `columns`.
        rows: Vec<Vec<Scalar>>,
    },
    /// The input's columns and new ones.
    Extend {
        /// The input.
        input: Box<Rel>,
        /// The new columns.
        columns: Vec<(Col, Scalar)>,
    },
    /// Only these of the input's columns (it ends a scope; a lowering may drop what is unused anyway).
    Narrow {
        /// The input.
        input: Box<Rel>,
        /// The kept columns.
        columns: Vec<Col>,
    },
    /// The rows for which the predicate is true.
    Filter {
        /// The input.
        input: Box<Rel>,
        /// boolean
        predicate: Scalar,
    },
    /// A join. Columns: left's, then right's (for `Semi` and `Anti`: left's only).
    Join {
        /// The kind.
        kind: JoinKind,
        /// The left side.
        left: Box<Rel>,
        /// The right side; when `lateral`, it may use the left's columns.
        right: Box<Rel>,
        /// The condition; constant true for a cross join.
        on: Scalar,
        /// LATERAL.
        lateral: bool,
    },
    /// Groups. Columns: the keys', then the aggregates'.
    Aggregate {
        /// The input.
        input: Box<Rel>,
        /// The group keys.
        keys: Vec<(Col, Scalar)>,
        /// GROUPING SETS over the keys' places; `None` for one set of all keys.
        sets: Option<Vec<Vec<usize>>>,
        /// The aggregates.
        aggregates: Vec<(Col, AggregateCall)>,
    },
    /// The input's columns and the window functions'.
    Window {
        /// The input.
        input: Box<Rel>,
        /// The calls.
        calls: Vec<(Col, WindowCall)>,
    },
    /// The input's columns and those of set-returning functions, run in lockstep for each row (PostgreSQL manual
    /// 38.5.9): shorter ones are padded with NULL. Without rows from any, the input row disappears, unless `outer`.
    ProjectSet {
        /// The input.
        input: Box<Rel>,
        /// The calls with the columns each makes.
        calls: Vec<(Vec<Col>, SetCall)>,
        /// WITH ORDINALITY: a bigint from 1.
        ordinality: Option<Col>,
    },
    /// DISTINCT over `on` (all the input's columns when `None`). With `on`, the first row of each group in the
    /// input's order is kept (DISTINCT ON; the input is a `Sort` then).
    Distinct {
        /// The input.
        input: Box<Rel>,
        /// DISTINCT ON's columns.
        on: Option<Vec<Scalar>>,
    },
    /// ORDER BY.
    Sort {
        /// The input.
        input: Box<Rel>,
        /// The keys.
        keys: Vec<SortKey>,
    },
    /// LIMIT and OFFSET; bigint, NULL means none.
    Limit {
        /// The input.
        input: Box<Rel>,
        /// OFFSET
        offset: Option<Scalar>,
        /// LIMIT
        count: Option<Scalar>,
    },
    /// UNION, INTERSECT, EXCEPT. Both sides were cast to the columns' types.
    SetOperation {
        /// Which.
        op: SetOp,
        /// ALL
        all: bool,
        /// The left side and which of its columns, in order.
        left: (Box<Rel>, Vec<ColId>),
        /// The right side and which of its columns, in order.
        right: (Box<Rel>, Vec<ColId>),
        /// The columns made.
        columns: Vec<Col>,
    },
    /// WITH RECURSIVE: `step` reads the last round's rows by `WorkTable` with the same `work`.
    Recursive {
        /// The number of the work table, unique in the statement.
        work: u32,
        /// The non-recursive term and which of its columns.
        seed: (Box<Rel>, Vec<ColId>),
        /// The recursive term and which of its columns.
        step: (Box<Rel>, Vec<ColId>),
        /// UNION ALL (else UNION: rows are made once).
        all: bool,
        /// The columns made.
        columns: Vec<Col>,
    },
    /// The rows of the last round of a `Recursive`.
    WorkTable {
        /// Its number.
        work: u32,
        /// The columns made, in the order of `Recursive::columns`.
        columns: Vec<Col>,
    },
    /// What a step of the statement's WITH has returned.
    Made {
        /// Its place in [`Bound::steps`].
        step: usize,
        /// The columns it makes: the place in the step's outputs and its number here.
        columns: Vec<(usize, Col)>,
    },
    /// FOR UPDATE and its kin: the rows of `need` are locked and re-checked before they go on.
    LockRows {
        /// The input; it carries `key`.
        input: Box<Rel>,
        /// The locked relations: the need (Action::Lock), the column with the row key, strength and waiting.
        targets: Vec<LockTarget>,
    },
}

/// One relation of FOR UPDATE.
#[derive(Debug, Clone)]
pub struct LockTarget {
    /// Whose rows.
    pub need: NeedId,
    /// The column that carries `ColumnId::ROW_KEY`.
    pub key: ColId,
    /// How strong.
    pub strength: LockStrength,
    /// What to do when somebody else holds it.
    pub wait: LockWait,
}

/// The row locks of PostgreSQL manual 13.3.2, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockStrength {
    /// FOR KEY SHARE
    KeyShare,
    /// FOR SHARE
    Share,
    /// FOR NO KEY UPDATE
    NoKeyUpdate,
    /// FOR UPDATE
    Update,
}

/// What a statement does that meets a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    /// Waits.
    Wait,
    /// 55P03
    NoWait,
    /// Leaves the row out.
    SkipLocked,
}

/// A column that a node makes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Col {
    /// Its number.
    pub id: ColId,
    /// Its type.
    pub ty: PgType,
    /// Whether it can be NULL.
    pub nullable: bool,
}

/// The joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// INNER and CROSS
    Inner,
    /// LEFT
    Left,
    /// RIGHT
    Right,
    /// FULL
    Full,
}

/// The set operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetOp {
    /// UNION
    Union,
    /// INTERSECT
    Intersect,
    /// EXCEPT
    Except,
}

/// One key of ORDER BY.
#[derive(Debug, Clone)]
pub struct SortKey {
    /// By what.
    pub expr: Scalar,
    /// DESC
    pub descending: bool,
    /// NULLS FIRST (PostgreSQL's default for DESC)
    pub nulls_first: bool,
}

/// An aggregate's call.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// The function; its kind is `Aggregate`.
    pub function: &'static Function,
    /// The arguments, cast to the function's types; empty for `count(*)`.
    pub args: Vec<Scalar>,
    /// DISTINCT
    pub distinct: bool,
    /// ORDER BY inside the call (for WITHIN GROUP: the group's).
    pub order_by: Vec<SortKey>,
    /// FILTER (WHERE …)
    pub filter: Option<Scalar>,
    /// The result type.
    pub ty: PgType,
}

/// A window function's call.
#[derive(Debug, Clone)]
pub struct WindowCall {
    /// The function; its kind is `Window` or `Aggregate`.
    pub function: &'static Function,
    /// The arguments.
    pub args: Vec<Scalar>,
    /// FILTER (aggregates only).
    pub filter: Option<Scalar>,
    /// PARTITION BY
    pub partition_by: Vec<Scalar>,
    /// ORDER BY
    pub order_by: Vec<SortKey>,
    /// The frame.
    pub frame: Frame,
    /// The result type.
    pub ty: PgType,
}

/// A window frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// ROWS, RANGE, GROUPS
    pub units: FrameUnits,
    /// Where it starts.
    pub start: FrameBound,
    /// Where it ends.
    pub end: FrameBound,
    /// EXCLUDE
    pub exclude: Exclusion,
    /// For RANGE with offsets: the one ORDER BY value, which the offsets are added to.
    pub range_by: Option<Scalar>,
}

/// What a frame leaves out (EXCLUDE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// NO OTHERS
    NoOthers,
    /// CURRENT ROW
    CurrentRow,
    /// GROUP: the row and its peers.
    Group,
    /// TIES: the row's peers, not the row.
    Ties,
}

/// A frame's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameUnits {
    /// ROWS
    Rows,
    /// RANGE
    Range,
    /// GROUPS
    Groups,
}

/// A frame's border.
#[derive(Debug, Clone)]
pub enum FrameBound {
    /// UNBOUNDED PRECEDING
    UnboundedPreceding,
    /// n PRECEDING
    Preceding(Box<Scalar>),
    /// CURRENT ROW
    CurrentRow,
    /// n FOLLOWING
    Following(Box<Scalar>),
    /// UNBOUNDED FOLLOWING
    UnboundedFollowing,
}

/// A set-returning function's call.
#[derive(Debug, Clone)]
pub struct SetCall {
    /// The function; its kind is `Set` (a scalar function in FROM is a set of one row).
    pub function: &'static Function,
    /// The arguments.
    pub args: Vec<Scalar>,
}

/// A scalar expression.
#[derive(Debug, Clone)]
pub enum Scalar {
    /// A column that a node below, or an outer query, makes.
    Column(Col),
    /// A constant; `PgType` may be anything the datum fits.
    Const(Datum, PgType),
    /// `$n`, from 1.
    Param(usize, PgType),
    /// A value of the session or the moment, filled in at each execution.
    Session(SessionValue, PgType),
    /// A function, an operator's function or a cast's function. Operands have the function's types.
    Call {
        /// The function; its kind is `Scalar`.
        function: &'static Function,
        /// The arguments.
        args: Vec<Scalar>,
        /// The result type (polymorphism resolved; casts to varchar(n) and the like carry the modifier here).
        ty: PgType,
    },
    /// A comparison of two operands of one type whose Arrow order is PostgreSQL's.
    Compare(CompareOp, Box<Scalar>, Box<Scalar>),
    /// AND
    And(Vec<Scalar>),
    /// OR
    Or(Vec<Scalar>),
    /// NOT
    Not(Box<Scalar>),
    /// IS NULL
    IsNull(Box<Scalar>),
    /// `x IN (a, b, …)`: all of one type.
    InList(Box<Scalar>, Vec<Scalar>),
    /// CASE WHEN … THEN … ELSE … END; results of one type. COALESCE, NULLIF, GREATEST come as `Call`s or as this.
    Case {
        /// WHEN (boolean), THEN
        branches: Vec<(Scalar, Scalar)>,
        /// ELSE
        otherwise: Option<Box<Scalar>>,
        /// The result type.
        ty: PgType,
    },
    /// COALESCE: arguments of one type, evaluated only as far as needed.
    Coalesce(Vec<Scalar>, PgType),
    /// ARRAY[…]: items of the element type, or arrays of the same type, which become one dimension more.
    Array(Vec<Scalar>, PgType),
    /// A relabelling that changes nothing in Arrow (varchar → text, oid → regclass).
    Relabel(Box<Scalar>, PgType),
    /// A cast through the text form: output function of the operand's type, input function of this one.
    ThroughText(Box<Scalar>, PgType),
    /// `a[i][j]`: array or vector, an integer for each subscript, the element's type.
    Subscript(Box<Scalar>, Vec<Scalar>, PgType),
    /// `a[l:u][m:v]`: array, integer bounds; the result's lower bounds are 1.
    Slice(Box<Scalar>, Vec<Bounds>),
    /// An expression for each item of an array: `x op ANY (array)`, array casts.
    Each(Box<Each>),
    /// A subquery in an expression.
    Subquery(Box<Subquery>),
}

/// The bounds of a slice's subscript; what is not given is the array's own.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// The first.
    pub low: Option<Scalar>,
    /// The last.
    pub high: Option<Scalar>,
}

/// An expression evaluated for each item of an array, and what becomes of the results.
#[derive(Debug, Clone)]
pub struct Each {
    /// The array.
    pub array: Scalar,
    /// The column that stands for the item inside `expr`.
    pub item: Col,
    /// Over the item and the columns around.
    pub expr: Scalar,
    /// How the results become one value.
    pub gather: Gather,
}

/// How the results of an [`Each`] become one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gather {
    /// `x op ANY (array)`: three-valued OR; NULL for a NULL array.
    Any,
    /// `x op ALL (array)`: three-valued AND; NULL for a NULL array.
    All,
    /// An array of the results, of this array type.
    Array(PgType),
}

/// A subquery in an expression. Its free columns are the outer query's.
#[derive(Debug, Clone)]
pub struct Subquery {
    /// How its rows become a value.
    pub kind: SubqueryKind,
    /// Its tree.
    pub rel: Rel,
    /// Which of its columns count.
    pub columns: Vec<Col>,
    /// The value's type.
    pub ty: PgType,
}

/// How a subquery's rows become a value.
#[derive(Debug, Clone)]
pub enum SubqueryKind {
    /// EXISTS
    Exists,
    /// The one row's one column; NULL without a row; 21000 with more.
    Scalar,
    /// `x = ANY (SELECT …)`, `x IN (…)`: `test` compares the operand (any outer expression) with `columns[0]`
    /// (several columns for row values) and is three-valued; `all` for ALL.
    Quantified {
        /// The comparison; it may use outer columns and `Subquery::columns`.
        test: Box<Scalar>,
        /// ALL instead of ANY.
        all: bool,
    },
    /// ARRAY(SELECT …)
    Array,
}

/// The comparisons that stay the engine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// =
    Eq,
    /// <>
    Ne,
    /// <
    Lt,
    /// <=
    Le,
    /// >
    Gt,
    /// >=
    Ge,
    /// IS DISTINCT FROM
    Distinct,
    /// IS NOT DISTINCT FROM
    NotDistinct,
}

/// INSERT.
#[derive(Debug, Clone)]
pub struct BoundInsert {
    /// The target.
    pub need: NeedId,
    /// The rows: this tree makes one column for each of the table's live columns (defaults and casts done).
    pub source: Rel,
    /// For each live column of the table, in order: its id, and the source's column.
    pub columns: Vec<(ColumnId, Col)>,
    /// ON CONFLICT.
    pub on_conflict: Option<OnConflict>,
    /// RETURNING.
    pub returning: Option<Returning>,
}

/// What decides whether a row is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arbiter {
    /// The primary key.
    Key,
    /// A unique index, by its OID.
    Index(Oid),
}

/// ON CONFLICT.
#[derive(Debug, Clone)]
pub enum OnConflict {
    /// DO NOTHING
    DoNothing {
        /// What it goes by; `None`: the key and all unique indexes.
        arbiters: Option<Vec<Arbiter>>,
    },
    /// DO UPDATE SET … WHERE …
    DoUpdate {
        /// What it goes by.
        arbiters: Vec<Arbiter>,
        /// The table's row as it is: the columns that stand for it in the expressions.
        existing: Vec<(ColumnId, Col)>,
        /// The proposed row (`excluded`).
        excluded: Vec<(ColumnId, Col)>,
        /// The assignments, over both.
        set: Vec<(ColumnId, Scalar)>,
        /// The condition, over both.
        condition: Option<Scalar>,
        /// The need for Action::Update on the target.
        need: NeedId,
    },
}

/// COPY … FROM: which columns the data bring, and what the others get.
#[derive(Debug, Clone)]
pub struct BoundCopy {
    /// The target.
    pub need: Need,
    /// The columns in the order of the data, with their types.
    pub columns: Vec<(ColumnId, PgType)>,
    /// For each other live column: its default (NULL without one), without columns of any row.
    pub defaults: Vec<(ColumnId, Scalar)>,
    /// WHERE: the new row's columns as the condition sees them, and the condition.
    pub condition: Option<(Vec<(ColumnId, Col)>, Scalar)>,
    /// The columns whose values have to satisfy a domain: the value's column, and the value judged.
    pub judged: Vec<(ColumnId, Col, Scalar)>,
}

/// UPDATE: a tree that finds the rows, and expressions that are evaluated again when a row was changed meanwhile.
#[derive(Debug, Clone)]
pub struct BoundUpdate {
    /// The target (Action::Update).
    pub need: NeedId,
    /// The target's columns as expressions see them, `ColumnId::ROW_KEY` among them.
    pub target: Vec<(ColumnId, Col)>,
    /// Joins, FROM items and WHERE done: one row for each pair of target row and FROM row. It makes `target`'s
    /// columns and all other columns that `set`, `recheck` and `returning` use.
    pub source: Rel,
    /// The assignments, over `source`'s columns, cast to the columns' types.
    pub set: Vec<(ColumnId, Scalar)>,
    /// The WHERE clause (and join conditions) over `source`'s columns, for the re-check on the newest row. `None`:
    /// no condition.
    pub recheck: Option<Scalar>,
    /// Whether `recheck` or `set` holds subqueries: then a changed row restarts the statement.
    pub restarts: bool,
    /// RETURNING.
    pub returning: Option<Returning>,
    /// WHERE CURRENT OF: the cursor whose row it is; the source finds it among all.
    pub current_of: Option<String>,
}

/// DELETE: as UPDATE, without assignments.
#[derive(Debug, Clone)]
pub struct BoundDelete {
    /// The target (Action::Delete).
    pub need: NeedId,
    /// The target's columns as expressions see them, `ColumnId::ROW_KEY` among them.
    pub target: Vec<(ColumnId, Col)>,
    /// As in [`BoundUpdate::source`].
    pub source: Rel,
    /// As in [`BoundUpdate::recheck`].
    pub recheck: Option<Scalar>,
    /// As in [`BoundUpdate::restarts`].
    pub restarts: bool,
    /// RETURNING.
    pub returning: Option<Returning>,
    /// WITH (PURGE): no tombstones.
    pub purge: bool,
    /// As in [`BoundUpdate::current_of`].
    pub current_of: Option<String>,
}

/// RETURNING: expressions over the row as it was written (for DELETE: as it was) and the FROM items' columns.
#[derive(Debug, Clone)]
pub struct Returning {
    /// The written row's columns as the expressions see them (numbers of their own).
    pub row: Vec<(ColumnId, Col)>,
    /// One for each of [`Bound::outputs`].
    pub exprs: Vec<(Col, Scalar)>,
}

impl Rel {
    /// The columns that this node makes.
    pub fn columns(&self) -> Vec<Col> {
        match self {
            Rel::OneRow => Vec::new(),
            Rel::Scan { columns, .. } => columns.iter().map(|(_, col)| *col).collect(),
            Rel::Made { columns, .. } => columns.iter().map(|(_, col)| *col).collect(),
            Rel::Values { columns, .. }
            | Rel::Narrow { columns, .. }
            | Rel::SetOperation { columns, .. }
            | Rel::Recursive { columns, .. }
            | Rel::WorkTable { columns, .. } => columns.clone(),
            Rel::Extend { input, columns } => with(input, columns.iter().map(|(col, _)| *col)),
            Rel::Filter { input, .. }
            | Rel::Distinct { input, .. }
            | Rel::Sort { input, .. }
            | Rel::Limit { input, .. }
            | Rel::LockRows { input, .. } => input.columns(),
            Rel::Join { left, right, kind, .. } => {
                let nullable = |cols: Vec<Col>, yes: bool| {
                    cols.into_iter().map(move |col| Col { nullable: col.nullable || yes, ..col })
                };
                let left_null = matches!(kind, JoinKind::Right | JoinKind::Full);
                let right_null = matches!(kind, JoinKind::Left | JoinKind::Full);
                nullable(left.columns(), left_null).chain(nullable(right.columns(), right_null)).collect()
            }
            Rel::Aggregate { keys, aggregates, .. } => {
                keys.iter().map(|(col, _)| *col).chain(aggregates.iter().map(|(col, _)| *col)).collect()
            }
            Rel::Window { input, calls } => with(input, calls.iter().map(|(col, _)| *col)),
            Rel::ProjectSet { input, calls, ordinality } => {
                with(input, calls.iter().flat_map(|(cols, _)| cols.iter().copied()).chain(*ordinality))
            }
        }
    }
}

fn with(input: &Rel, more: impl Iterator<Item = Col>) -> Vec<Col> {
    let mut columns = input.columns();
    columns.extend(more);
    columns
}

impl Scalar {
    /// The expression's type.
    pub fn ty(&self) -> PgType {
        use kalamdb_commons::SqlType;
        match self {
            Scalar::Column(col) => col.ty,
            Scalar::Const(_, ty)
            | Scalar::Param(_, ty)
            | Scalar::Session(_, ty)
            | Scalar::Call { ty, .. }
            | Scalar::Case { ty, .. }
            | Scalar::Coalesce(_, ty)
            | Scalar::Array(_, ty)
            | Scalar::ThroughText(_, ty)
            | Scalar::Subscript(_, _, ty)
            | Scalar::Relabel(_, ty) => *ty,
            Scalar::Slice(array, ..) => array.ty(),
            Scalar::Each(each) => match each.gather {
                Gather::Array(ty) => ty,
                Gather::Any | Gather::All => SqlType::Bool.into(),
            },
            Scalar::Subquery(subquery) => subquery.ty,
            Scalar::Compare(..)
            | Scalar::And(_)
            | Scalar::Or(_)
            | Scalar::Not(_)
            | Scalar::IsNull(_)
            | Scalar::InList(..) => SqlType::Bool.into(),
        }
    }

    /// The constant `true`.
    pub fn truth() -> Scalar {
        Scalar::Const(Datum::Bool(true), kalamdb_commons::SqlType::Bool.into())
    }
}
