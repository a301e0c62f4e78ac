//! Leaves: what stands behind a scan, and the scan as a node of the engine's plan.
//!
//! A [`Source`] is one relation as one statement may see it: partition, snapshot and permission are inside it and
//! cannot be asked for. It gives its rows as [`Part`]s (hot rows, each cold segment, a computed batch), read one after
//! the other. A scan asks for the columns it needs and, where the filters allow, for ranges of the primary key only.

use super::access::{IndexShape, Path, PathValue, Paths};
use super::error::{arrow_error, external};
use super::pushdown::{self, Constraint};
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef, SortOptions};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, DFSchema, Statistics};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as EngineResult;
use datafusion::execution::TaskContext;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr};
use datafusion::physical_expr::{
    EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr, create_physical_expr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions, SendableRecordBatchStream,
};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use kalamdb_commons::{ColumnId, Datum, Oid, PgType, Result, SqlError, SqlType};
use kalamdb_sql::bind::bound::{Col, ColId};
use kalamdb_sql::function::sort_key;
use kalamdb_sql::lower::column_name;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

/// Batches that wait between the thread that reads the store and the plan: one being made, one being used.
const BATCHES_AHEAD: usize = 2;
/// So few keys are read where the plan runs: a hop to another thread would cost more than the reads.
const KEYS_READ_INLINE: usize = 64;
/// How many rows of a scan a row's look-up by an index costs, where it is one look into the engine.
pub const LOOK_UP_COST: usize = 8;
/// So few rows are always looked up.
const FEW_ROWS: usize = 64;
/// So many entries are counted at most: with more of them than that the index is used if the table is much larger.
const COUNTED_MAX: usize = 20_000;

/// One relation as one statement may see it.
pub trait Source: Send + Sync + fmt::Debug {
    /// Its name, for EXPLAIN.
    fn name(&self) -> String;

    /// What reading it is called, for EXPLAIN.
    fn scan_kind(&self) -> &'static str {
        "Seq Scan"
    }

    /// A column's name, for EXPLAIN.
    fn column_name(&self, column: ColumnId) -> String {
        format!("column{}", column.0)
    }

    /// Its primary key, if it has one that ranges can be asked of.
    fn key(&self) -> Option<KeyShape> {
        None
    }

    /// The indexes that it can be read by.
    fn indexes(&self) -> Vec<IndexShape> {
        Vec::new()
    }

    /// Whether the rows with the lowest and with the highest keys can be read without the others.
    fn has_edges(&self) -> bool {
        false
    }

    /// How many rows could be read one after the other in the time of a look-up.
    fn look_up_cost(&self) -> usize {
        LOOK_UP_COST
    }

    /// How many rows an access would read, as far as `limit`; `None` when nobody knows.
    ///
    /// # Errors
    /// The store's.
    fn count(&self, _access: &Access, _keys: &Keys, _limit: usize) -> Result<Option<usize>> {
        Ok(None)
    }

    /// About how many rows it has; `None` when nobody knows.
    fn estimated_rows(&self) -> Option<u64>;

    /// Whether all its rows come in the order of the primary key.
    fn is_ordered(&self) -> bool {
        false
    }

    /// The rows, in parts that are read one after the other. Returns at once: work is inside the parts.
    ///
    /// Each batch has the requested columns in the requested order, of their types' Arrow types.
    ///
    /// # Errors
    /// Those of a relation that is computed here.
    fn scan(&self, request: ScanRequest) -> Result<Vec<Part>>;
}

/// A primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyShape {
    /// The name of its index, for EXPLAIN.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<ColumnId>,
}

/// What a scan asks for.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    /// The columns, in this order; system columns may be among them.
    pub columns: Vec<ColumnId>,
    /// What `keys` are keys of.
    pub access: Access,
    /// Which keys. The rows must be exactly those.
    pub keys: Keys,
    /// No more rows than this are needed. More may come.
    pub limit: Option<usize>,
    /// The most rows in a batch.
    pub batch_rows: usize,
}

/// The way to rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Access {
    /// By the primary key, in no order.
    Key,
    /// By the primary key, in no order: only the rows at one end of the keys, and perhaps some more.
    Edge {
        /// How many.
        rows: usize,
        /// Those with the highest keys.
        backwards: bool,
    },
    /// By an index, in its order or backwards.
    Index {
        /// Its OID.
        index: Oid,
        /// The types that the values in the keys have: those of sort keys where the values' own have no order.
        types: Vec<SqlType>,
        /// From its end.
        backwards: bool,
    },
}

/// Which keys of a relation.
#[derive(Debug, Clone, PartialEq)]
pub enum Keys {
    /// All.
    All,
    /// Those in any of these; none when it is empty. They do not overlap.
    Spans(Vec<KeySpan>),
}

/// A range of keys: the first key columns have these values, the next one lies between two bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct KeySpan {
    /// Values of the first key columns; none of them NULL.
    pub prefix: Vec<Datum>,
    /// The lower bound of the column behind the prefix.
    pub low: Bound<Datum>,
    /// Its upper bound.
    pub high: Bound<Datum>,
}

/// Some of a relation's rows.
pub enum Part {
    /// Computed already.
    Ready(Vec<RecordBatch>),
    /// Read by calls that may block: made and driven away from the async threads, unless few keys are asked for.
    Blocking(Box<dyn FnOnce() -> Result<Blocking> + Send>),
    /// Read asynchronously.
    Stream(BoxStream<'static, Result<RecordBatch>>),
}

/// Batches by calls that may block.
pub type Blocking = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

impl Keys {
    /// How many keys at most, if each span is one key of a key of `width` columns.
    fn points(&self, width: usize) -> Option<usize> {
        match self {
            Keys::Spans(spans) if spans.iter().all(|span| span.prefix.len() == width) => Some(spans.len()),
            _ => None,
        }
    }
}

/// A relation at one place of a statement: the columns it makes there and what stands behind it.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    source: Arc<dyn Source>,
    columns: Vec<(ColumnId, Col)>,
    schema: SchemaRef,
    paths: Paths,
}

impl Leaf {
    pub(super) fn new(source: Arc<dyn Source>, columns: Vec<(ColumnId, Col)>) -> Leaf {
        let fields: Vec<Field> =
            columns.iter().map(|(_, col)| Field::new(column_name(col.id), col.ty.ty.arrow(), true)).collect();
        let paths = Paths::new(&*source, &columns);
        Leaf { source, columns, schema: Arc::new(Schema::new(fields)), paths }
    }

    /// The primary key, if it can be asked for.
    fn key(&self) -> Option<&Path> {
        self.paths.paths.iter().find(|path| path.index.is_none())
    }

    /// What a filter says about one of the columns, or about what an index is sorted by.
    fn constraint(&self, filter: &Expr) -> Option<Constraint> {
        let column = |name: &str| self.schema.index_of(name).ok();
        pushdown::logical(filter, &|expr| self.paths.place(expr, &column).or_else(|| self.widened(expr)))
    }

    /// The place of an integer column that is widened, so that it can be compared with a wider value.
    fn widened(&self, expr: &Expr) -> Option<usize> {
        let Expr::ScalarFunction(call) = expr else { return None };
        let [Expr::Column(column)] = call.args.as_slice() else { return None };
        let place = self.schema.index_of(column.name()).ok()?;
        let widens = match self.columns[place].1.ty.ty {
            SqlType::Int2 => matches!(call.name(), "int4" | "int8"),
            SqlType::Int4 => call.name() == "int8",
            _ => false,
        };
        widens.then_some(place)
    }

    /// Whether reading these rows one by one costs more than reading all.
    fn is_worth(&self, path: &Path, keys: &Keys) -> EngineResult<Looked> {
        let Some(access) = path.access(false) else { return Ok(Looked { is_worth: true, rows: None }) };
        if path.unique && keys.points(path.width).is_some_and(|points| points <= KEYS_READ_INLINE) {
            return Ok(Looked { is_worth: true, rows: None });
        }
        let Some(all) = self.source.estimated_rows().and_then(|rows| usize::try_from(rows).ok()) else {
            return Ok(Looked { is_worth: true, rows: None });
        };
        let cost = self.source.look_up_cost();
        let limit = (all / cost).clamp(FEW_ROWS, COUNTED_MAX);
        let rows = self.source.count(&access, keys, limit).map_err(external)?;
        Ok(Looked { is_worth: rows.is_none_or(|rows| rows < limit || all > limit * cost), rows })
    }

    /// The most rows that are looked up one by one instead of reading and sorting all.
    fn ordered_max(&self) -> usize {
        let all = self.source.estimated_rows().and_then(|rows| usize::try_from(rows).ok()).unwrap_or(usize::MAX);
        (all / self.source.look_up_cost()).clamp(FEW_ROWS, COUNTED_MAX)
    }
}

/// What a look into an index has told.
struct Looked {
    is_worth: bool,
    rows: Option<usize>,
}

impl Path {
    /// How an index is asked for.
    fn access(&self, backwards: bool) -> Option<Access> {
        let types = self.values.iter().map(|value| value.ty.ty).collect();
        self.index.map(|index| Access::Index { index, types, backwards })
    }
}

#[async_trait]
impl TableProvider for Leaf {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let constraints: Vec<Option<Constraint>> = filters.iter().map(|filter| self.constraint(filter)).collect();
        let projection = projection.cloned().unwrap_or_else(|| (0..self.columns.len()).collect());
        let given: Vec<&Expr> = filters.iter().collect();
        let mut way = Way::all();
        let mut used = vec![false; filters.len()];
        if let Some(at) = self.paths.choose(&given, &constraints) {
            let path = &self.paths.paths[at];
            let (keys, mut said) = pushdown::keys(&path.types(), &constraints).map_err(external)?;
            let looked = self.is_worth(path, &keys)?;
            if looked.is_worth {
                for (said, filter) in said.iter_mut().zip(filters) {
                    *said |= path.implies(filter);
                }
                way = Way { path: Some(at), keys, backwards: false, edge: None, rows: looked.rows };
                used = said;
            }
        }
        let rest: Vec<Expr> =
            filters.iter().zip(used).filter(|(_, used)| !used).map(|(filter, _)| filter.clone()).collect();
        let Some(rest) = conjunction(rest) else {
            return Ok(Arc::new(ScanExec::new(Arc::new(self.clone()), projection, way, limit)?));
        };
        // A filter that was promised and is too much for ranges (lists whose product is huge) is applied here.
        let all = (0..self.columns.len()).collect();
        let scan = Arc::new(ScanExec::new(Arc::new(self.clone()), all, way, None)?);
        let schema = DFSchema::try_from(self.schema.as_ref().clone())?;
        let planning = PhysicalPlanningContext::default();
        let rest = create_physical_expr(&rest, &schema, &ExecutionProps::new(), &planning)?;
        let filtered = Arc::new(FilterExec::try_new(rest, scan)?);
        let exprs = projection.into_iter().map(|place| {
            let name = self.schema.field(place).name().clone();
            (Arc::new(Column::new(&name, place)) as Arc<dyn PhysicalExpr>, name)
        });
        Ok(Arc::new(ProjectionExec::try_new(exprs.collect::<Vec<_>>(), filtered)?))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        let constraints: Vec<Option<Constraint>> = filters.iter().map(|filter| self.constraint(filter)).collect();
        let path = self.paths.choose(filters, &constraints).map(|at| &self.paths.paths[at]);
        let places = path.map(Path::places).unwrap_or_default();
        let reach = pushdown::reach(&places, constraints.iter().flatten());
        let answer = |(filter, constraint): (&&Expr, &Option<Constraint>)| {
            let within = constraint.as_ref().is_some_and(|one| pushdown::is_within(&places, reach, one));
            match within || path.is_some_and(|path| path.implies(filter)) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Unsupported,
            }
        };
        Ok(filters.iter().zip(&constraints).map(answer).collect())
    }
}

/// Which rows a scan reads, and how.
#[derive(Debug, Clone)]
struct Way {
    /// The place of the path; `None`: all rows.
    path: Option<usize>,
    keys: Keys,
    backwards: bool,
    /// No more rows than these at the beginning, or backwards at the end, of a primary key are needed.
    edge: Option<usize>,
    /// How many rows, where that was looked up.
    rows: Option<usize>,
}

impl Way {
    fn all() -> Way {
        Way { path: None, keys: Keys::All, backwards: false, edge: None, rows: None }
    }
}

/// How a scan has the first rows of an order.
#[derive(Debug)]
pub(super) enum InOrder {
    /// It gives them first, in this order.
    Sorted(ScanExec),
    /// They are among those that it gives.
    Among(ScanExec),
}

/// A scan of a leaf.
#[derive(Debug, Clone)]
pub(super) struct ScanExec {
    leaf: Arc<Leaf>,
    projection: Vec<usize>,
    way: Way,
    limit: Option<usize>,
    /// What a join above will know about the keys once its other side was read.
    later: Vec<Arc<dyn PhysicalExpr>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    fn new(leaf: Arc<Leaf>, projection: Vec<usize>, way: Way, limit: Option<usize>) -> EngineResult<ScanExec> {
        let schema = Arc::new(leaf.schema.project(&projection)?);
        let mut equivalences = EquivalenceProperties::new(schema.clone());
        if leaf.source.is_ordered() {
            // The order of a key is the order of its columns as far as these are there and Arrow agrees about them.
            let key = leaf.key().map(Path::places).unwrap_or_default();
            let order = key
                .iter()
                .map_while(|place| projection.iter().position(|projected| projected == place))
                .map_while(|at| {
                    let ty = leaf.columns[projection[at]].1.ty.ty;
                    sort_key(ty).is_none().then(|| {
                        let column = Arc::new(Column::new(schema.field(at).name(), at));
                        PhysicalSortExpr::new(column, SortOptions { descending: false, nulls_first: false })
                    })
                });
            equivalences.add_ordering(order.collect::<Vec<_>>());
        }
        let properties = PlanProperties::new(
            equivalences,
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(ScanExec {
            leaf,
            projection,
            way,
            limit,
            later: Vec::new(),
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// The relation's name.
    pub(super) fn kind(&self) -> &'static str {
        self.leaf.source.scan_kind()
    }

    pub(super) fn relation(&self) -> String {
        self.leaf.source.name()
    }

    /// The path that is read by.
    fn path(&self) -> Option<&Path> {
        match (self.way.path, self.later.is_empty()) {
            (Some(at), _) => self.leaf.paths.paths.get(at),
            // What a join finds out is about the first of these that it is about.
            (None, false) => self.leaf.paths.paths.iter().find(|path| self.is_asked_later(path)),
            (None, true) => None,
        }
    }

    /// The index whose ranges are read, unless all rows are.
    pub(super) fn index(&self) -> Option<String> {
        self.path().map(|path| path.name.clone())
    }

    /// Whether rows come from an index's end.
    pub(super) fn is_backwards(&self) -> bool {
        self.way.backwards
    }

    /// The keys that are read, as far as they are known before the plan runs.
    pub(super) fn keys(&self) -> &Keys {
        &self.way.keys
    }

    /// The path's first values, as far as the statement reads them.
    pub(super) fn key_columns(&self) -> Vec<(String, PgType)> {
        let values = self.path().map(|path| path.values.as_slice()).unwrap_or_default();
        values.iter().map(|value| (value.shown.clone(), value.own)).collect()
    }

    /// So many first rows in this order of its columns (place, DESC, NULLS FIRST), if an index has it; or, of the
    /// primary key's order, a scan that has these rows among others, in no order.
    pub(super) fn in_order(&self, wanted: &[(usize, bool, bool)], rows: usize) -> Option<InOrder> {
        if !self.later.is_empty() || matches!(&self.way.keys, Keys::Spans(spans) if spans.len() > 1) {
            return None;
        }
        let wanted: Vec<(usize, bool, bool)> = wanted
            .iter()
            .map(|(at, descending, nulls_first)| Some((*self.projection.get(*at)?, *descending, *nulls_first)))
            .collect::<Option<_>>()?;
        let fixed = match &self.way.keys {
            Keys::Spans(spans) => spans.first().map_or(0, |span| span.prefix.len()),
            Keys::All => 0,
        };
        let candidates = match self.way.path {
            Some(at) => at..at + 1,
            None => 0..self.leaf.paths.paths.len(),
        };
        let keys = match &self.way.keys {
            Keys::All => {
                Keys::Spans(vec![KeySpan { prefix: Vec::new(), low: Bound::Unbounded, high: Bound::Unbounded }])
            }
            keys => keys.clone(),
        };
        let by = |at, backwards, edge| {
            let way = Way { path: Some(at), keys, backwards, edge, rows: self.way.rows };
            ScanExec { way, ..self.clone() }
        };
        for at in candidates {
            let path = &self.leaf.paths.paths[at];
            let of_index = path.index.is_some();
            let usable = match of_index {
                true => rows <= self.leaf.ordered_max() && (self.way.path.is_some() || path.predicate.is_empty()),
                false => self.leaf.source.has_edges(),
            };
            if !usable {
                continue;
            }
            if let Some(backwards) = direction(path, fixed, &wanted) {
                return Some(match of_index {
                    true => InOrder::Sorted(by(at, backwards, None)),
                    false => InOrder::Among(by(at, backwards, Some(rows))),
                });
            }
        }
        None
    }

    /// The relation's columns at this place of the statement: their numbers and their names.
    pub(super) fn column_names(&self) -> Vec<(ColId, String)> {
        self.leaf.columns.iter().map(|(id, col)| (col.id, self.leaf.source.column_name(*id))).collect()
    }

    /// About how many rows it gives.
    pub(super) fn estimated_rows(&self) -> Option<usize> {
        let all = self.leaf.source.estimated_rows().and_then(|rows| usize::try_from(rows).ok());
        let path = self.way.path.and_then(|at| self.leaf.paths.paths.get(at));
        let unique = path.filter(|path| path.unique).map(|path| path.width);
        let points = unique.and_then(|width| self.way.keys.points(width));
        let rows = match (&self.way.keys, points, self.way.rows) {
            (_, _, Some(rows)) => Some(rows),
            (Keys::All, ..) => all,
            (_, Some(points), None) => Some(all.map_or(points, |all| points.min(all.max(1)))),
            // A range without statistics: a third of the rows, as PostgreSQL assumes of an inequality.
            (Keys::Spans(spans), None, None) => all.map(|all| if spans.is_empty() { 0 } else { all.div_ceil(3) }),
        };
        match (rows, self.limit.or(self.way.edge)) {
            (Some(rows), Some(limit)) => Some(rows.min(limit)),
            (rows, limit) => rows.or(limit),
        }
    }

    /// Whether a join will say something about a path's first value.
    fn is_asked_later(&self, path: &Path) -> bool {
        let Some(first) = path.values.first().filter(|value| value.column == Some(value.place)) else { return false };
        path.predicate.is_empty() && self.later.iter().any(|filter| self.is_about(filter, first.place))
    }

    fn is_about(&self, filter: &Arc<dyn PhysicalExpr>, place: usize) -> bool {
        let about = |expr: &Arc<dyn PhysicalExpr>| {
            expr.downcast_ref::<Column>().is_some_and(|column| self.projection.get(column.index()) == Some(&place))
        };
        filter
            .downcast_ref::<DynamicFilterPhysicalExpr>()
            .is_some_and(|filter| filter.children().into_iter().any(about))
    }

    /// The rows to read, with what a join has found out since.
    fn way_now(&self) -> EngineResult<Way> {
        if self.later.is_empty() {
            return Ok(self.way.clone());
        }
        let mut constraints = Vec::new();
        for filter in &self.later {
            let known = match filter.downcast_ref::<DynamicFilterPhysicalExpr>() {
                Some(filter) => filter.current()?,
                None => filter.clone(),
            };
            pushdown::physical(&known, &|at| self.projection.get(at).copied(), &mut constraints);
        }
        let constraints: Vec<Option<Constraint>> = constraints.into_iter().map(Some).collect();
        let Some(at) = self.leaf.paths.choose(&[], &constraints) else { return Ok(Way::all()) };
        let path = &self.leaf.paths.paths[at];
        let (keys, _) = pushdown::keys(&path.types(), &constraints).map_err(external)?;
        if keys == Keys::All || !self.leaf.is_worth(path, &keys)?.is_worth {
            return Ok(Way::all());
        }
        Ok(Way { path: Some(at), keys, backwards: false, edge: None, rows: None })
    }

    fn open(&self) -> EngineResult<BoxStream<'static, EngineResult<RecordBatch>>> {
        let way = self.way_now()?;
        if way.keys == Keys::Spans(Vec::new()) {
            return Ok(stream::empty().boxed());
        }
        let path = way.path.and_then(|at| self.leaf.paths.paths.get(at));
        let points = path.and_then(|path| way.keys.points(path.width));
        let inline = points.is_some_and(|points| points <= KEYS_READ_INLINE);
        let request = ScanRequest {
            columns: self.projection.iter().map(|place| self.leaf.columns[*place].0).collect(),
            access: match (path.and_then(|path| path.access(way.backwards)), way.edge) {
                (Some(access), _) => access,
                (None, Some(rows)) => Access::Edge { rows, backwards: way.backwards },
                (None, None) => Access::Key,
            },
            keys: way.keys,
            limit: self.limit,
            batch_rows: self.limit.map_or(super::engine::BATCH_ROWS, |limit| limit.clamp(1, super::engine::BATCH_ROWS)),
        };
        let parts = self.leaf.source.scan(request).map_err(external)?;
        let schema = self.schema();
        let rows = stream::iter(parts).flat_map(move |part| batches(part, inline));
        Ok(rows.map(move |batch| relabelled(batch.map_err(external)?, &schema)).boxed())
    }
}

/// Whether an index gives rows in an order when so many of its first values are fixed, and in which direction.
fn direction(path: &Path, fixed: usize, wanted: &[(usize, bool, bool)]) -> Option<bool> {
    let fixed_columns: Vec<Option<usize>> = path.values.iter().take(fixed).map(|value| value.column).collect();
    let wanted = wanted.iter().filter(|(place, ..)| !fixed_columns.contains(&Some(*place)));
    let mut backwards = None;
    for (at, (place, descending, nulls_first)) in wanted.enumerate() {
        let value = path.values.get(fixed + at).filter(|value| value.column == Some(*place))?;
        let turned = value.descending != *descending;
        // A primary key has no NULLs.
        let other_nulls = path.index.is_some() && turned != (value.nulls_first != *nulls_first);
        if other_nulls || backwards.is_some_and(|known| known != turned) {
            return None;
        }
        backwards = Some(turned);
    }
    Some(backwards.unwrap_or(false))
}

/// A part's batches; `inline`: what blocks is read on the asking thread.
pub fn batches(part: Part, inline: bool) -> BoxStream<'static, Result<RecordBatch>> {
    match part {
        Part::Ready(batches) => stream::iter(batches.into_iter().map(Ok)).boxed(),
        Part::Stream(batches) => batches,
        Part::Blocking(open) if inline => {
            stream::once(async move { open() }).map_ok(stream::iter).try_flatten().boxed()
        }
        Part::Blocking(open) => elsewhere(open),
    }
}

/// Drives blocking reads on a thread for such. Dropping the stream ends them at the next batch.
fn elsewhere(open: Box<dyn FnOnce() -> Result<Blocking> + Send>) -> BoxStream<'static, Result<RecordBatch>> {
    let start = move || {
        let (sender, receiver) = tokio::sync::mpsc::channel(BATCHES_AHEAD);
        let reader = tokio::task::spawn_blocking(move || {
            let batches = match open() {
                Ok(batches) => batches,
                Err(error) => {
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            };
            for batch in batches {
                let failed = batch.is_err();
                if sender.blocking_send(batch).is_err() || failed {
                    return;
                }
            }
        });
        (receiver, Some(reader))
    };
    stream::once(async move { start() })
        .flat_map(|state| {
            stream::unfold(state, |(mut receiver, mut reader)| async move {
                if let Some(batch) = receiver.recv().await {
                    return Some((batch, (receiver, reader)));
                }
                // The end of the channel is the end of the rows only if the reader did not die.
                match reader.take()?.await {
                    Ok(()) => None,
                    Err(error) => Some((Err(SqlError::internal(error)), (receiver, None))),
                }
            })
        })
        .boxed()
}

/// The batch under the plan's column names.
fn relabelled(batch: RecordBatch, schema: &SchemaRef) -> EngineResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options);
    rows.map_err(|error| external(arrow_error(error)))
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanExec: {} keys={:?} limit={:?}", self.relation(), self.way.keys, self.limit)
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        // A join fills its filter only if it finds it in a scan below.
        for filter in &self.later {
            if f(filter)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> EngineResult<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let scan = self.clone();
        let mut left = self.limit.unwrap_or(usize::MAX);
        // Opened when it is first pulled: by then a join above knows its keys.
        let rows = stream::once(async move { scan.open() })
            .try_flatten()
            .map_ok(move |batch| {
                let batch = if batch.num_rows() > left { batch.slice(0, left) } else { batch };
                left -= batch.num_rows();
                (batch, left)
            })
            .scan(false, |done, batch| {
                let go_on = !*done;
                if let Ok((_, left)) = &batch {
                    *done = *left == 0;
                }
                std::future::ready(go_on.then_some(batch))
            })
            .map_ok(move |(batch, _)| batch.record_output(&metrics));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> EngineResult<Arc<Statistics>> {
        let schema = self.schema();
        let mut statistics = Statistics::new_unknown(&schema);
        if let Some(rows) = self.estimated_rows() {
            statistics.num_rows = Precision::Inexact(rows);
            statistics.total_byte_size = Precision::Inexact(rows.saturating_mul(16 * schema.fields().len().max(1)));
            // A whole key is different in each row.
            if let Some(Path { width: 1, values, .. }) = self.leaf.key()
                && let [PathValue { place, .. }] = values.as_slice()
                && let Some(at) = self.projection.iter().position(|projected| projected == place)
            {
                statistics.column_statistics[at] = ColumnStatistics {
                    distinct_count: Precision::Inexact(rows),
                    null_count: Precision::Inexact(0),
                    ..ColumnStatistics::new_unknown()
                };
            }
        }
        Ok(Arc::new(statistics))
    }

    fn supports_limit_pushdown(&self) -> bool {
        false
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(ScanExec { limit, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        filters: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> EngineResult<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        // Taken as a hint: the join tests its rows itself. Only a scan of all keys looks at it, and a scan with a
        // limit must not, since it would stop at other rows.
        let mut taken = Vec::new();
        if self.way.keys == Keys::All && self.limit.is_none() {
            let firsts = self.leaf.paths.paths.iter().filter(|path| path.predicate.is_empty());
            let firsts =
                firsts.filter_map(|path| path.values.first().filter(|value| value.column == Some(value.place)));
            let firsts: Vec<usize> = firsts.map(|value| value.place).collect();
            for parent in &filters.parent_filters {
                if firsts.iter().any(|place| self.is_about(&parent.filter, *place)) {
                    taken.push(parent.filter.clone());
                }
            }
        }
        let answers = vec![PushedDown::No; filters.parent_filters.len()];
        let propagation = FilterPushdownPropagation::with_parent_pushdown_result(answers);
        if taken.is_empty() {
            return Ok(propagation);
        }
        let mut scan = self.clone();
        scan.later.extend(taken);
        Ok(propagation.with_updated_node(Arc::new(scan) as Arc<dyn ExecutionPlan>))
    }
}

/// Rows that are known: VALUES, and whatever else is computed before the plan.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) scan_kind: &'static str,
    pub(super) columns: Vec<ColumnId>,
    pub(super) rows: RecordBatch,
}

/// The numbers of the columns of known rows, in order.
pub(super) fn known_places(count: usize) -> Vec<ColumnId> {
    (1..).map(ColumnId).take(count).collect()
}

impl Known {
    /// What a step of the statement has returned.
    ///
    /// # Errors
    /// XX000 for batches that have other columns.
    pub(super) fn of(name: &str, types: &[PgType], batches: &[RecordBatch]) -> Result<Known> {
        let field = |(at, ty): (usize, &PgType)| Field::new(format!("r{at}"), ty.ty.arrow(), true);
        let schema = Arc::new(Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>()));
        let same = batches.iter().map(|rows| batch(schema.clone(), rows.columns().to_vec(), rows.num_rows()));
        let same = same.collect::<Result<Vec<_>>>()?;
        let count = batches.iter().map(RecordBatch::num_rows).sum();
        let rows = match types.is_empty() {
            // There is nothing to put one behind the other.
            true => batch(schema, Vec::new(), count)?,
            false => arrow_select::concat::concat_batches(&schema, &same).map_err(arrow_error)?,
        };
        Ok(Known { name: name.to_owned(), scan_kind: "CTE Scan", columns: known_places(types.len()), rows })
    }
}

impl Source for Known {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn scan_kind(&self) -> &'static str {
        self.scan_kind
    }

    fn estimated_rows(&self) -> Option<u64> {
        Some(self.rows.num_rows() as u64)
    }

    fn scan(&self, request: ScanRequest) -> Result<Vec<Part>> {
        let places: Vec<usize> =
            request.columns.iter().filter_map(|id| self.columns.iter().position(|column| column == id)).collect();
        let rows = self.rows.project(&places).map_err(arrow_error)?;
        let count = rows.num_rows();
        let step = request.batch_rows.max(1);
        let batches = (0..count).step_by(step).map(|from| rows.slice(from, step.min(count - from)));
        Ok(vec![Part::Ready(batches.collect())])
    }
}

/// A batch of some arrays, that may be none.
pub(super) fn batch(schema: SchemaRef, arrays: Vec<arrow_array::ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, arrays, &options).map_err(arrow_error)
}
