//! EXPLAIN: the plan that would run, or with ANALYZE has run, in the shape that PostgreSQL's readers know.
//!
//! The tree is planned exactly as it is for running. Without ANALYZE nothing is executed: subqueries that run first
//! stay parameters (`$0`), and so do outer columns in the inner plan of an `Apply`; some value that carries the
//! column's number stands for them where the physical plan needs one. Nodes that PostgreSQL does not have (filters,
//! projections) are told with the node below them.

use super::Execution;
use super::apply::{Answer, ApplyExec, Inner};
use super::distinct_on::DistinctOnExec;
use super::error::engine_error;
use super::interrupt::Listening;
use super::lock_rows::LockRowsExec;
use super::lower::Lowering;
use super::padded::PaddedExec;
use super::plan_once::{self, Once, OnceSubquery};
use super::project_set::ProjectSetExec;
use super::provider::{KeySpan, Keys, ScanExec};
use super::running::{Physical, Statement, filled_with, outer_column};
use datafusion::common::metadata::{FieldMetadata, ScalarAndMetadata};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NegativeExpr,
    NotExpr, TryCastExpr,
};
use datafusion::physical_expr::window::SlidingAggregateWindowExpr;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::partial_sort::PartialSortExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::windows::{
    BoundedWindowAggExec, PlainAggregateWindowExpr, StandardWindowExpr, WindowAggExec, WindowExpr, WindowUDFExpr,
};
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use kalamdb_commons::{Datum, Numeric, PgType, Result, SqlError, SqlType};
use kalamdb_sql::bind::bound::{ColId, Rel, SubqueryKind};
use kalamdb_sql::lower::column_name;
use kalamdb_sql::types;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The note on a value that stands for a column: the column's name in the plan.
const STANDS_FOR: &str = "column";

/// What EXPLAIN is asked for.
#[derive(Debug, Clone, Copy)]
pub struct ExplainOptions {
    /// Runs the plan too.
    pub analyze: bool,
    /// Estimates.
    pub costs: bool,
    /// Times, with `analyze`.
    pub timing: bool,
    /// Planning and execution times at the end.
    pub summary: bool,
    /// The columns of each node.
    pub verbose: bool,
    /// The form.
    pub format: ExplainFormat,
}

/// The forms of EXPLAIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainFormat {
    /// Indented lines.
    Text,
    /// One JSON document.
    Json,
}

/// Explains a tree: the lines of the answer (one for JSON).
///
/// # Errors
/// Those of planning, and with ANALYZE of running.
pub async fn explain(
    rel: &Rel,
    outputs: &[ColId],
    execution: Execution,
    options: ExplainOptions,
) -> Result<Vec<String>> {
    let (rel, outputs, engine) = (rel.clone(), outputs.to_vec(), execution.engine.clone());
    engine.on_threads(async move { explained(&rel, &outputs, execution, options).await }).await
}

async fn explained(rel: &Rel, outputs: &[ColId], execution: Execution, options: ExplainOptions) -> Result<Vec<String>> {
    let begin = Instant::now();
    let statement = Statement::new(execution);
    let once = if options.analyze { Once::Run } else { Once::Pretend };
    let (rel, first) = plan_once::with_values(rel, &statement, once).await?;
    let physical = planned(&rel, outputs, &statement).await?;
    let mut inners = Inners::new();
    collect_inner(&physical.plan, &mut inners).await?;
    let mut inits = Vec::with_capacity(first.len());
    for once_subquery in first {
        let plan = init_plan(&once_subquery, &statement).await?;
        collect_inner(&plan, &mut inners).await?;
        inits.push((once_subquery, plan));
    }
    let planning = begin.elapsed();
    // With ANALYZE the subqueries that run first were run while planning, as for any statement.
    let begin = Instant::now();
    if options.analyze {
        let plan = Physical { plan: physical.plan.clone(), large: physical.large };
        let mut rows = statement.stream(plan);
        while rows.try_next().await?.is_some() {}
    }
    let times = options.summary.then(|| (planning, options.analyze.then(|| begin.elapsed())));
    let root = Walk::new(&options, &inners, &physical.plan).whole(&physical.plan, &inits);
    match options.format {
        ExplainFormat::Text => Ok(text(&root, times, &options)),
        ExplainFormat::Json => document(&root, times, &options).map(|document| vec![document]),
    }
}

async fn planned(rel: &Rel, outputs: &[ColId], statement: &Arc<Statement>) -> Result<Physical> {
    let plan = Lowering { statement }.query(rel, outputs)?;
    let plan = with_stand_ins(&statement.optimized(plan)?)?;
    statement.physical(&plan).await
}

async fn init_plan(once: &OnceSubquery, statement: &Arc<Statement>) -> Result<Arc<dyn ExecutionPlan>> {
    let outputs: Vec<ColId> = match once.subquery.kind {
        SubqueryKind::Exists => Vec::new(),
        _ => once.subquery.columns.iter().take(1).map(|col| col.id).collect(),
    };
    Ok(planned(&once.subquery.rel, &outputs, statement).await?.plan)
}

/// The plan with a value for each placeholder, that says which column it stands for.
fn with_stand_ins(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let mut values: Vec<(ColId, ScalarAndMetadata)> = Vec::new();
    let found = plan.apply(|node| {
        for expr in node.expressions() {
            expr.apply(|inner| {
                if let Expr::Placeholder(placeholder) = inner
                    && let Some(id) = outer_column(placeholder)
                    && let Some(field) = &placeholder.field
                {
                    // Not NULL where possible: NULL would be no key to look for.
                    let value = match ScalarValue::new_default(field.data_type()) {
                        Ok(value) => value,
                        Err(_) => ScalarValue::try_from(field.data_type())?,
                    };
                    let note = BTreeMap::from([(STANDS_FOR.to_owned(), column_name(id))]);
                    values.push((id, ScalarAndMetadata::new(value, Some(FieldMetadata::new(note)))));
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found.map_err(engine_error)?;
    if values.is_empty() { Ok(plan.clone()) } else { filled_with(plan, values) }
}

/// The inner plans of each `Apply`, by the place of its inner side in memory.
type Inners = HashMap<usize, Arc<dyn ExecutionPlan>>;

fn place(inner: &Arc<Inner>) -> usize {
    Arc::as_ptr(inner) as usize
}

fn collect_inner<'a>(plan: &'a Arc<dyn ExecutionPlan>, inners: &'a mut Inners) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        if let Some(apply) = plan.downcast_ref::<ApplyExec>() {
            let inner = apply.inner();
            let template = with_stand_ins(inner.optimized().await?)?;
            let physical = inner.statement().physical(&template).await?;
            collect_inner(&physical.plan, inners).await?;
            inners.insert(place(inner), physical.plan);
        }
        for child in plan.children() {
            collect_inner(child, inners).await?;
        }
        Ok(())
    })
}

/// A node as PostgreSQL would tell it.
#[derive(Debug, Default)]
struct Node {
    /// "Node Type"
    kind: &'static str,
    /// The first line: the kind, and what it is about.
    title: String,
    /// What stands below the title.
    facts: Vec<(&'static str, Fact)>,
    /// What JSON says beside that.
    fields: Vec<(&'static str, String)>,
    output: Vec<String>,
    estimated: Option<usize>,
    actual: Option<usize>,
    /// "Parent Relationship", and for a subplan its name.
    role: &'static str,
    label: Option<String>,
    plans: Vec<Node>,
}

#[derive(Debug)]
enum Fact {
    Text(String),
    List(Vec<String>),
    Count(usize),
}

impl Node {
    fn new(kind: &'static str) -> Node {
        Node { kind, title: kind.to_owned(), ..Node::default() }
    }

    fn over(kind: &'static str, role: &'static str, child: Node) -> Node {
        Node::new(kind).with(role, child)
    }

    fn with(mut self, role: &'static str, child: Node) -> Node {
        self.plans.push(Node { role, ..child });
        self
    }

    fn fact(mut self, name: &'static str, text: String) -> Node {
        self.facts.push((name, Fact::Text(text)));
        self
    }

    fn list(mut self, name: &'static str, items: Vec<String>) -> Node {
        if !items.is_empty() {
            self.facts.push((name, Fact::List(items)));
        }
        self
    }

    fn subplan(&mut self, role: &'static str, label: String, plan: Node) {
        self.plans.push(Node { role, label: Some(label), ..plan });
    }
}

/// The way through a plan, with the names of the columns that were met.
struct Walk<'a> {
    inners: &'a Inners,
    statistics: StatisticsContext,
    /// What the plan calls `c<number>`, in words.
    names: HashMap<String, String>,
    /// How often each relation was met: the second is `t_1`.
    relations: HashMap<String, usize>,
    is_qualified: bool,
    is_analyzed: bool,
    /// Whether values in the outermost plan only stand for those of subqueries.
    has_stand_ins: bool,
    /// In an inner plan, whose metrics nobody keeps.
    depth: usize,
    subplans: usize,
}

impl<'a> Walk<'a> {
    fn new(options: &ExplainOptions, inners: &'a Inners, plan: &Arc<dyn ExecutionPlan>) -> Walk<'a> {
        let scans = scans(plan) + inners.values().map(scans).sum::<usize>();
        Walk {
            inners,
            statistics: StatisticsContext::new(),
            names: HashMap::new(),
            relations: HashMap::new(),
            is_qualified: options.verbose || scans > 1,
            is_analyzed: options.analyze,
            has_stand_ins: false,
            depth: 0,
            subplans: 0,
        }
    }

    /// The plan with the subqueries that run first.
    fn whole(mut self, plan: &Arc<dyn ExecutionPlan>, inits: &[(OnceSubquery, Arc<dyn ExecutionPlan>)]) -> Node {
        let mut told = Vec::with_capacity(inits.len());
        for (at, (once, init)) in inits.iter().enumerate() {
            self.depth += 1;
            told.push((format!("InitPlan {} (returns ${at})", at + 1), self.node(init)));
            self.depth -= 1;
            self.names.insert(column_name(once.mark), format!("${at}"));
        }
        self.has_stand_ins = !inits.is_empty() && !self.is_analyzed;
        let mut root = self.node(plan);
        let plans = std::mem::take(&mut root.plans);
        told.into_iter().for_each(|(label, init)| root.subplan("InitPlan", label, init));
        root.plans.extend(plans);
        root
    }

    fn node(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Node {
        // Plans nest as deep as the text does.
        let mut node = stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || self.bare(plan));
        if is_silent(plan) {
            return node;
        }
        node.output = self.outputs(plan);
        node.estimated = self.estimated(plan);
        node.actual = self.actual(plan).or(node.actual);
        // A node that stops by itself: PostgreSQL has a node of its own for that.
        let is_limit = node.kind == "Limit";
        match plan.fetch() {
            Some(fetch) if !is_limit => {
                let (output, estimated, actual) = (node.output.clone(), node.estimated, node.actual);
                let below = plan.children().first().copied().and_then(|child| self.estimated(child));
                node.estimated = below.or(estimated);
                let estimated = Some(estimated.map_or(fetch, |rows| rows.min(fetch)));
                Node { output, estimated, actual, ..Node::over("Limit", "Outer", node) }
            }
            _ => node,
        }
    }

    /// The node without what all have.
    fn bare(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Node {
        if let Some(scan) = plan.downcast_ref::<ScanExec>() {
            return self.scan(scan);
        }
        if let Some(filter) = plan.downcast_ref::<FilterExec>() {
            return self.filter(filter);
        }
        if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            return self.projection(projection);
        }
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            let kind = ("Hash Join", "Hash", "Hash Cond");
            return self.join(kind, (&join.left, &join.right), join.join_type, &join.on, join.filter.as_ref());
        }
        if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
            let kind = ("Merge Join", "Merge", "Merge Cond");
            return self.join(kind, (&join.left, &join.right), join.join_type, &join.on, join.filter.as_ref());
        }
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            return self.join(LOOP, (join.left(), join.right()), *join.join_type(), &[], join.filter());
        }
        if let Some(join) = plan.downcast_ref::<CrossJoinExec>() {
            return self.join(LOOP, (join.left(), join.right()), JoinType::Inner, &[], None);
        }
        if let Some(apply) = plan.downcast_ref::<ApplyExec>() {
            return self.apply(apply, plan);
        }
        if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
            return self.aggregate(aggregate);
        }
        if let Some(set) = plan.downcast_ref::<ProjectSetExec>() {
            return self.project_set(set, plan);
        }
        if let Some(window) = plan.downcast_ref::<WindowAggExec>() {
            return self.window(window.input(), window.window_expr());
        }
        if let Some(window) = plan.downcast_ref::<BoundedWindowAggExec>() {
            return self.window(window.input(), window.window_expr());
        }
        if plan.is::<UnionExec>() || plan.is::<InterleaveExec>() {
            return self.branches(Node::new("Append"), plan, ["Member", "Member"]);
        }
        if plan.is::<RecursiveQueryExec>() {
            return self.branches(Node::new("Recursive Union"), plan, ["Outer", "Inner"]);
        }
        if plan.is::<WorkTableExec>() {
            return self.work_table(plan);
        }
        self.plain(plan)
    }

    /// Nodes with at most one input and little to tell.
    fn plain(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Node {
        let inputs: Vec<Node> = plan.children().into_iter().map(|child| self.node(child)).collect();
        let mut inputs = inputs.into_iter();
        let Some(input) = inputs.next() else {
            let node =
                Node::new(if plan.is::<EmptyExec>() || plan.is::<PlaceholderRowExec>() { "Result" } else { "Scan" });
            return match node.kind {
                "Result" if plan.is::<EmptyExec>() => node.fact("One-Time Filter", "false".to_owned()),
                "Result" => node,
                _ => Node { title: words(plan.name()), ..node },
            };
        };
        if is_silent(plan) {
            return input;
        }
        if plan.is::<GlobalLimitExec>() || plan.is::<LocalLimitExec>() {
            // The input may have been told already where to stop.
            return if input.kind == "Limit" { input } else { Node::over("Limit", "Outer", input) };
        }
        if let Some(sort) = plan.downcast_ref::<SortExec>() {
            return Node::over("Sort", "Outer", input).list("Sort Key", self.sort_keys(sort.expr()));
        }
        if let Some(sort) = plan.downcast_ref::<PartialSortExec>() {
            return Node::over("Incremental Sort", "Outer", input).list("Sort Key", self.sort_keys(sort.expr()));
        }
        if plan.is::<SortPreservingMergeExec>() {
            return Node::over("Gather Merge", "Outer", input);
        }
        if plan.is::<CoalescePartitionsExec>() {
            return Node::over("Gather", "Outer", input);
        }
        if plan.is::<LockRowsExec>() {
            return Node::over("LockRows", "Outer", input);
        }
        if plan.is::<DistinctOnExec>() {
            return Node::over("Unique", "Outer", input);
        }
        let node = Node::over("Custom Scan", "Outer", input);
        let node = inputs.fold(node, |node, input| node.with("Member", input));
        Node { title: words(plan.name()), ..node }
    }

    fn scan(&mut self, scan: &ScanExec) -> Node {
        let relation = scan.relation();
        let times = self.relations.entry(relation.clone()).or_default();
        let alias = if *times == 0 { relation.clone() } else { format!("{relation}_{times}") };
        *times += 1;
        for (id, name) in scan.column_names() {
            let name = if self.is_qualified { format!("{}.{name}", quoted(&alias)) } else { name };
            self.names.insert(column_name(id), name);
        }
        let on =
            if alias == relation { quoted(&relation) } else { format!("{} {}", quoted(&relation), quoted(&alias)) };
        let index = scan.index();
        let kind = match &index {
            Some(_) => "Index Scan",
            None if relation == "*VALUES*" => "Values Scan",
            None => "Seq Scan",
        };
        let mut node = Node::new(kind);
        node.title = match &index {
            Some(index) if scan.is_backwards() => format!("{kind} Backward using {} on {on}", quoted(index)),
            Some(index) => format!("{kind} using {} on {on}", quoted(index)),
            None => format!("{kind} on {on}"),
        };
        if let Some(index) = index {
            node.fields.push(("Index Name", index));
        }
        node.fields.push(("Relation Name", relation));
        node.fields.push(("Alias", alias));
        match self.index_condition(scan) {
            Some(condition) => node.fact("Index Cond", condition),
            None => node,
        }
    }

    /// The ranges of keys that are read. Where values only stand for columns they are no keys that anybody asked for.
    fn index_condition(&self, scan: &ScanExec) -> Option<String> {
        let Keys::Spans(spans) = scan.keys() else { return None };
        if self.depth > 0 || self.has_stand_ins {
            return None;
        }
        // An index that is read from end to end has no condition.
        let whole = |span: &KeySpan| {
            span.prefix.is_empty() && matches!((&span.low, &span.high), (Bound::Unbounded, Bound::Unbounded))
        };
        if spans.iter().any(whole) {
            return None;
        }
        let columns = scan.key_columns();
        let mut told: Vec<String> = spans.iter().take(SPANS_TOLD).map(|span| span_condition(&columns, span)).collect();
        if let Some(more) = spans.len().checked_sub(SPANS_TOLD).filter(|more| *more > 0) {
            told.push(format!("… {more} more"));
        }
        Some(match told.as_slice() {
            [] => "false".to_owned(),
            [one] => one.clone(),
            many => format!("({})", many.join(" OR ")),
        })
    }

    fn filter(&mut self, filter: &FilterExec) -> Node {
        let input = self.node(filter.input());
        let below = input.actual;
        let predicate = self.expr(filter.predicate());
        // PostgreSQL filters the rows that a node makes; some nodes there cannot.
        let others =
            ["Limit", "WindowAgg", "Unique", "LockRows", "Append", "Sort", "ProjectSet", "Recursive Union", "Gather"];
        let is_host = !others.contains(&input.kind) && input.facts.iter().all(|(name, _)| *name != "Filter");
        let input = if is_host { input } else { Node::over("Subquery Scan", "Subquery", input) };
        let mut node = input.fact("Filter", predicate);
        let passed = filter.metrics().filter(|_| self.has_metrics()).and_then(|metrics| metrics.output_rows());
        if let (Some(below), Some(passed)) = (below, passed) {
            node.facts.push(("Rows Removed by Filter", Fact::Count(below.saturating_sub(passed))));
        }
        node
    }

    fn projection(&mut self, projection: &ProjectionExec) -> Node {
        let node = self.node(projection.input());
        let made: Vec<(String, String)> =
            projection.expr().iter().map(|made| (made.alias.clone(), self.expr(&made.expr))).collect();
        self.names.extend(made);
        node
    }

    /// A join. Its outer side comes first: the one whose rows stay, when those of one do.
    fn join(
        &mut self,
        (kind, method, condition): (&'static str, &'static str, &'static str),
        (left, right): (&Arc<dyn ExecutionPlan>, &Arc<dyn ExecutionPlan>),
        join_type: JoinType,
        on: &[(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)],
        filter: Option<&JoinFilter>,
    ) -> Node {
        // The engine's hash table is made of the left side, PostgreSQL's of the inner one.
        let is_hash = method == "Hash";
        let (left_is_outer, shown) = match join_type {
            JoinType::Inner => (!is_hash, "Inner"),
            JoinType::Full => (true, "Full"),
            JoinType::Left => (true, "Left"),
            JoinType::LeftSemi | JoinType::LeftMark => (true, "Semi"),
            JoinType::LeftAnti => (true, "Anti"),
            JoinType::Right => (false, "Left"),
            JoinType::RightSemi | JoinType::RightMark => (false, "Semi"),
            JoinType::RightAnti => (false, "Anti"),
        };
        let (left, right) = (self.node(left), self.node(right));
        let (outer, inner) = if left_is_outer { (left, right) } else { (right, left) };
        let on = on.iter().map(|(left, right)| {
            let (left, right) = (self.expr(left), self.expr(right));
            if left_is_outer { format!("({left} = {right})") } else { format!("({right} = {left})") }
        });
        let on: Vec<String> = on.collect();
        let mut node = Node::over(kind, "Outer", outer).with("Inner", inner);
        if shown != "Inner" {
            node.title = format!("{method} {shown} Join");
        }
        node.fields.push(("Join Type", shown.to_owned()));
        if !on.is_empty() {
            let all = on.join(" AND ");
            node = node.fact(condition, if on.len() == 1 { all } else { format!("({all})") });
        }
        match filter {
            Some(filter) => node.fact("Join Filter", self.expr(filter.expression())),
            None => node,
        }
    }

    /// An inner plan: a subplan of the node below, or the inner side of a lateral join.
    fn apply(&mut self, apply: &ApplyExec, plan: &Arc<dyn ExecutionPlan>) -> Node {
        let children = plan.children();
        let mut outer = match children.first() {
            Some(input) => self.node(input),
            None => Node::new("Result"),
        };
        let added: Vec<String> = {
            let known = children.first().map_or(0, |input| input.schema().fields().len());
            plan.schema().fields().iter().skip(known).map(|field| field.name().clone()).collect()
        };
        let inners = self.inners;
        let inner = inners.get(&place(apply.inner())).map(|inner| {
            self.depth += 1;
            let node = self.node(inner);
            self.depth -= 1;
            node
        });
        let inner = inner.unwrap_or_else(|| Node::new("Result"));
        if let Answer::Rows { outer_join } = apply.answer() {
            let (title, shown) = if outer_join { ("Nested Loop Left Join", "Left") } else { ("Nested Loop", "Inner") };
            // The inner plan's own names for the columns were made by its projection.
            let made: Vec<(String, String)> = added.iter().cloned().zip(inner.output.iter().cloned()).collect();
            self.names.extend(made);
            let mut node = Node::over("Nested Loop", "Outer", outer).with("Inner", inner);
            node.title = title.to_owned();
            node.fields.push(("Join Type", shown.to_owned()));
            return node;
        }
        self.subplans += 1;
        let label = format!("{}SubPlan {}", if apply.inner().is_correlated() { "" } else { "hashed " }, self.subplans);
        let shown = match apply.answer() {
            Answer::Exists => format!("EXISTS({label})"),
            Answer::Array => format!("ARRAY({label})"),
            Answer::Quantified { all } => format!("({} {label})", if all { "ALL" } else { "ANY" }),
            Answer::Scalar | Answer::Rows { .. } => format!("({label})"),
        };
        self.names.extend(added.into_iter().map(|name| (name, shown.clone())));
        outer.subplan("SubPlan", format!("SubPlan {}", self.subplans), inner);
        outer
    }

    fn aggregate(&mut self, aggregate: &AggregateExec) -> Node {
        let input = self.node(aggregate.input());
        let group = aggregate.group_expr();
        let keys: Vec<(String, String)> =
            group.expr().iter().map(|(key, name)| (name.clone(), self.expr(key))).collect();
        let calls: Vec<(String, String)> =
            aggregate.aggr_expr().iter().map(|call| (call.name().to_owned(), self.aggregate_call(call))).collect();
        let shown: Vec<String> = keys.iter().map(|(_, key)| key.clone()).collect();
        self.names.extend(keys);
        self.names.extend(calls);
        let is_sorted = *aggregate.input_order_mode() != InputOrderMode::Linear;
        let (title, strategy) = match (shown.is_empty(), is_sorted) {
            (true, _) => ("Aggregate", "Plain"),
            (false, true) => ("GroupAggregate", "Sorted"),
            (false, false) => ("HashAggregate", "Hashed"),
        };
        let (prefix, partial) = match aggregate.mode() {
            AggregateMode::Partial | AggregateMode::PartialReduce => ("Partial ", "Partial"),
            AggregateMode::Final | AggregateMode::FinalPartitioned => ("Finalize ", "Finalize"),
            AggregateMode::Single | AggregateMode::SinglePartitioned => ("", "Simple"),
        };
        let mut node = Node::over("Aggregate", "Outer", input).list("Group Key", shown);
        node.title = format!("{prefix}{title}");
        node.fields.push(("Strategy", strategy.to_owned()));
        node.fields.push(("Partial Mode", partial.to_owned()));
        node
    }

    fn aggregate_call(&self, call: &AggregateFunctionExpr) -> String {
        let name = call.fun().name();
        let args: Vec<String> = call.expressions().iter().map(|arg| self.expr(arg)).collect();
        // A constant for the rows that a call counts is no argument that anybody wrote.
        let args = if name == "count" && args == ["1"] { "*".to_owned() } else { args.join(", ") };
        format!("{name}({}{args})", if call.is_distinct() { "DISTINCT " } else { "" })
    }

    fn window(&mut self, input: &Arc<dyn ExecutionPlan>, calls: &[Arc<dyn WindowExpr>]) -> Node {
        let input = self.node(input);
        let made: Vec<(String, String)> =
            calls.iter().map(|call| (call.name().to_owned(), self.window_call(call.as_ref()))).collect();
        self.names.extend(made);
        Node::over("WindowAgg", "Outer", input)
    }

    fn window_call(&self, call: &dyn WindowExpr) -> String {
        let any = call.as_any();
        let aggregate =
            any.downcast_ref::<PlainAggregateWindowExpr>().map(PlainAggregateWindowExpr::get_aggregate_expr).or_else(
                || any.downcast_ref::<SlidingAggregateWindowExpr>().map(SlidingAggregateWindowExpr::get_aggregate_expr),
            );
        if let Some(aggregate) = aggregate {
            return format!("{} OVER (?)", self.aggregate_call(aggregate));
        }
        let function = any.downcast_ref::<StandardWindowExpr>().map(StandardWindowExpr::get_standard_func_expr);
        let function = function.and_then(|function| function.as_any().downcast_ref::<WindowUDFExpr>());
        let name = function.map_or("window", |function| function.fun().name());
        let args: Vec<String> = call.expressions().iter().map(|arg| self.expr(arg)).collect();
        format!("{name}({}) OVER (?)", args.join(", "))
    }

    fn project_set(&mut self, set: &ProjectSetExec, plan: &Arc<dyn ExecutionPlan>) -> Node {
        let children = plan.children();
        let input = children.first().map(|input| self.node(input)).unwrap_or_else(|| Node::new("Result"));
        let functions = set.functions();
        let known = children.first().map_or(0, |input| input.schema().fields().len());
        let name = functions.first().copied().unwrap_or("function");
        for field in plan.schema().fields().iter().skip(known) {
            let shown = if self.is_qualified { format!("{name}.{name}") } else { name.to_owned() };
            self.names.insert(field.name().clone(), shown);
        }
        let is_alone = input.kind == "Result" && input.plans.is_empty() && input.facts.is_empty();
        match functions.as_slice() {
            [function] if is_alone => {
                let mut node = Node::new("Function Scan");
                node.title = format!("Function Scan on {function}");
                node.fields.push(("Function Name", (*function).to_owned()));
                node
            }
            _ => Node::over("ProjectSet", "Outer", input),
        }
    }

    /// A node whose columns are its first input's under the same numbers.
    fn branches(&mut self, mut node: Node, plan: &Arc<dyn ExecutionPlan>, roles: [&'static str; 2]) -> Node {
        let mut first: Vec<String> = Vec::new();
        for (at, child) in plan.children().into_iter().enumerate() {
            let branch = self.node(child);
            if at == 0 {
                first.clone_from(&branch.output);
            }
            node = node.with(roles[at.min(1)], branch);
        }
        // Other inputs gave these numbers names of their own.
        let fields = plan.schema();
        self.names.extend(fields.fields().iter().map(|field| field.name().clone()).zip(first));
        node
    }

    fn work_table(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Node {
        for (at, field) in plan.schema().fields().iter().enumerate() {
            let name = format!("column{}", at + 1);
            let name = if self.is_qualified { format!("recursion.{name}") } else { name };
            self.names.insert(field.name().clone(), name);
        }
        Node::new("WorkTable Scan")
    }

    fn outputs(&self, plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
        plan.schema().fields().iter().map(|field| self.column(field.name())).collect()
    }

    fn estimated(&self, plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
        let statistics = self.statistics.compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
        statistics.num_rows.get_value().copied()
    }

    fn has_metrics(&self) -> bool {
        self.is_analyzed && self.depth == 0
    }

    fn actual(&self, plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
        if !self.has_metrics() {
            return None;
        }
        plan.metrics()?.output_rows()
    }

    fn sort_keys(&self, keys: &[PhysicalSortExpr]) -> Vec<String> {
        keys.iter()
            .map(|key| {
                let (descending, nulls_first) = (key.options.descending, key.options.nulls_first);
                let nulls = match (descending, nulls_first) {
                    (true, false) => " NULLS LAST",
                    (false, true) => " NULLS FIRST",
                    _ => "",
                };
                format!("{}{}{nulls}", self.expr(&key.expr), if descending { " DESC" } else { "" })
            })
            .collect()
    }

    /// A column in words. `c9[sum]` is a state of `c9` between a partial aggregate and its end.
    fn column(&self, name: &str) -> String {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        match name.split_once('[').and_then(|(call, _)| self.names.get(call)) {
            Some(call) => format!("PARTIAL {call}"),
            None => name.to_owned(),
        }
    }

    /// An expression, as PostgreSQL writes it.
    fn expr(&self, expr: &Arc<dyn PhysicalExpr>) -> String {
        stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || self.expr_one(expr))
    }

    fn expr_one(&self, expr: &Arc<dyn PhysicalExpr>) -> String {
        if let Some(column) = expr.downcast_ref::<Column>() {
            return self.column(column.name());
        }
        if let Some(value) = expr.downcast_ref::<Literal>() {
            return self.literal(value);
        }
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            let op = match binary.op() {
                Operator::NotEq => "<>".to_owned(),
                op => op.to_string(),
            };
            return format!("({} {op} {})", self.expr(binary.left()), self.expr(binary.right()));
        }
        if let Some(listening) = expr.downcast_ref::<Listening>() {
            return self.expr(listening.inner());
        }
        if let Some(not) = expr.downcast_ref::<NotExpr>() {
            return format!("(NOT {})", self.expr(not.arg()));
        }
        if let Some(is) = expr.downcast_ref::<IsNullExpr>() {
            return format!("({} IS NULL)", self.expr(is.arg()));
        }
        if let Some(is) = expr.downcast_ref::<IsNotNullExpr>() {
            return format!("({} IS NOT NULL)", self.expr(is.arg()));
        }
        if let Some(negative) = expr.downcast_ref::<NegativeExpr>() {
            return format!("(- {})", self.expr(negative.arg()));
        }
        // The engine's casts change how a value is kept, not what it is.
        if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            return self.expr(cast.expr());
        }
        if let Some(cast) = expr.downcast_ref::<TryCastExpr>() {
            return self.expr(cast.expr());
        }
        if let Some(list) = expr.downcast_ref::<InListExpr>() {
            let op = if list.negated() { "<> ALL" } else { "= ANY" };
            return format!("({} {op} (ARRAY[{}]))", self.expr(list.expr()), self.exprs(list.list()));
        }
        if let Some(like) = expr.downcast_ref::<LikeExpr>() {
            let op = match (like.negated(), like.case_insensitive()) {
                (false, false) => "~~",
                (false, true) => "~~*",
                (true, false) => "!~~",
                (true, true) => "!~~*",
            };
            return format!("({} {op} {})", self.expr(like.expr()), self.expr(like.pattern()));
        }
        if let Some(case) = expr.downcast_ref::<CaseExpr>() {
            return self.case(case);
        }
        if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
            return match (call.name(), call.args()) {
                // A row value's names and its presence are nothing that was written.
                ("row", [_, _, fields @ ..]) => format!("ROW({})", self.exprs(fields)),
                (name, args) => format!("{name}({})", self.exprs(args)),
            };
        }
        expr.to_string()
    }

    fn exprs(&self, exprs: &[Arc<dyn PhysicalExpr>]) -> String {
        exprs.iter().map(|expr| self.expr(expr)).collect::<Vec<_>>().join(", ")
    }

    fn case(&self, case: &CaseExpr) -> String {
        let mut text = "CASE".to_owned();
        if let Some(of) = case.expr() {
            text += &format!(" {}", self.expr(of));
        }
        for (when, then) in case.when_then_expr() {
            text += &format!(" WHEN {} THEN {}", self.expr(when), self.expr(then));
        }
        if let Some(otherwise) = case.else_expr() {
            text += &format!(" ELSE {}", self.expr(otherwise));
        }
        text + " END"
    }

    fn literal(&self, literal: &Literal) -> String {
        let field = literal.return_field(&arrow_schema::Schema::empty());
        match field.ok().and_then(|field| field.metadata().get(STANDS_FOR).cloned()) {
            Some(column) => self.column(&column),
            None => value_text(literal.value()),
        }
    }
}

/// Spans that EXPLAIN writes out; a list of thousands helps nobody.
const SPANS_TOLD: usize = 16;

/// A join without keys.
const LOOP: (&str, &str, &str) = ("Nested Loop", "Nested Loop", "Join Filter");

/// Nodes that move rows between threads or give way; PostgreSQL's plans have none.
fn is_silent(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<CooperativeExec>() || plan.is::<RepartitionExec>() || plan.is::<PaddedExec>()
}

fn scans(plan: &Arc<dyn ExecutionPlan>) -> usize {
    usize::from(plan.is::<ScanExec>()) + plan.children().into_iter().map(scans).sum::<usize>()
}

/// `SomeNodeExec` without its end.
fn words(name: &str) -> String {
    name.strip_suffix("Exec").unwrap_or(name).to_owned()
}

fn quoted(name: &str) -> String {
    let is_plain = |part: &str| {
        part.chars().next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$')
    };
    if name.split('.').all(is_plain) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn value_text(value: &ScalarValue) -> String {
    if value.is_null() {
        return "NULL".to_owned();
    }
    match value {
        ScalarValue::Boolean(_) => value.to_string(),
        value if value.data_type().is_numeric() => value.to_string(),
        value => format!("'{}'", value.to_string().replace('\'', "''")),
    }
}

fn span_condition(columns: &[(String, PgType)], span: &KeySpan) -> String {
    let equal = columns.iter().zip(&span.prefix);
    let mut parts: Vec<String> =
        equal.map(|((name, ty), value)| format!("({name} = {})", datum_text(value, *ty))).collect();
    if let Some((name, ty)) = columns.get(span.prefix.len()) {
        match &span.low {
            Bound::Included(low) => parts.push(format!("({name} >= {})", datum_text(low, *ty))),
            Bound::Excluded(low) => parts.push(format!("({name} > {})", datum_text(low, *ty))),
            Bound::Unbounded => {}
        }
        match &span.high {
            Bound::Included(high) => parts.push(format!("({name} <= {})", datum_text(high, *ty))),
            Bound::Excluded(high) => parts.push(format!("({name} < {})", datum_text(high, *ty))),
            Bound::Unbounded => {}
        }
    }
    match parts.as_slice() {
        [] => "true".to_owned(),
        [one] => one.clone(),
        many => format!("({})", many.join(" AND ")),
    }
}

/// Digits behind the point of a number in a condition.
const SCALE_TOLD_MAX: u16 = 100;

fn datum_text(datum: &Datum, ty: PgType) -> String {
    match datum {
        Datum::Text(text) => format!("'{}'", text.replace('\'', "''")),
        // A sort key, which is the number without its display scale.
        Datum::Bytes(key) if ty.ty == SqlType::Numeric => {
            let with = |scale: u16| Numeric::from_bytes(&[&key[..], &scale.to_be_bytes()].concat());
            let number = (0..=SCALE_TOLD_MAX).find_map(with);
            number.map_or_else(|| "?".to_owned(), |number| number.to_string())
        }
        Datum::Uuid(bytes) => format!("'{}'", uuid::Uuid::from_bytes(*bytes)),
        datum => types::scalar_value(datum, ty).map_or_else(|_| "?".to_owned(), |value| value_text(&value)),
    }
}

/// Planning's and running's time.
type Times = (Duration, Option<Duration>);

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn text(root: &Node, times: Option<Times>, options: &ExplainOptions) -> Vec<String> {
    let mut lines = Vec::new();
    node_lines(root, 0, options, &mut lines);
    if let Some((planning, running)) = times {
        lines.push(format!("Planning Time: {:.3} ms", milliseconds(planning)));
        if let Some(running) = running {
            lines.push(format!("Execution Time: {:.3} ms", milliseconds(running)));
        }
    }
    lines
}

/// The lines of a node. An indent is two spaces, and the arrow takes two of them, as in PostgreSQL.
fn node_lines(node: &Node, indent: usize, options: &ExplainOptions, lines: &mut Vec<String>) {
    let mut indent = indent;
    if let Some(label) = &node.label {
        lines.push(format!("{}{label}", "  ".repeat(indent)));
        indent += 1;
    }
    let mut line = "  ".repeat(indent);
    if indent > 0 {
        line += "->  ";
        indent += 2;
    }
    line += &node.title;
    if options.costs {
        line += &format!("  (cost=0.00..0.00 rows={} width=0)", node.estimated.unwrap_or(0));
    }
    if let Some(actual) = node.actual {
        line += &format!("{}(actual rows={actual} loops=1)", if options.costs { " " } else { "  " });
    }
    lines.push(line);
    indent += 1;
    let spaces = "  ".repeat(indent);
    if options.verbose && !node.output.is_empty() {
        lines.push(format!("{spaces}Output: {}", node.output.join(", ")));
    }
    for (name, fact) in &node.facts {
        lines.push(match fact {
            Fact::Text(text) => format!("{spaces}{name}: {text}"),
            Fact::List(items) => format!("{spaces}{name}: {}", items.join(", ")),
            Fact::Count(count) => format!("{spaces}{name}: {count}"),
        });
    }
    // PostgreSQL tells what runs first, then the inputs, then the subplans.
    let order = |role: &str| match role {
        "InitPlan" => 0,
        "SubPlan" => 2,
        _ => 1,
    };
    for at in 0..=2 {
        node.plans
            .iter()
            .filter(|plan| order(plan.role) == at)
            .for_each(|plan| node_lines(plan, indent, options, lines));
    }
}

fn document(root: &Node, times: Option<Times>, options: &ExplainOptions) -> Result<String> {
    let mut whole = Map::new();
    whole.insert("Plan".to_owned(), node_value(root, options));
    if let Some((planning, running)) = times {
        whole.insert("Planning Time".to_owned(), json!(milliseconds(planning)));
        if let Some(running) = running {
            whole.insert("Execution Time".to_owned(), json!(milliseconds(running)));
        }
    }
    serde_json::to_string_pretty(&Value::Array(vec![Value::Object(whole)])).map_err(SqlError::internal)
}

fn node_value(node: &Node, options: &ExplainOptions) -> Value {
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| {
        map.insert(name.to_owned(), value);
    };
    put("Node Type", json!(node.kind));
    if !node.role.is_empty() {
        put("Parent Relationship", json!(node.role));
    }
    if let Some(label) = &node.label {
        put("Subplan Name", json!(label));
    }
    for (name, value) in &node.fields {
        put(name, json!(value));
    }
    if options.costs {
        put("Startup Cost", json!(0.0));
        put("Total Cost", json!(0.0));
        put("Plan Rows", json!(node.estimated.unwrap_or(0)));
        put("Plan Width", json!(0));
    }
    if let Some(actual) = node.actual {
        put("Actual Rows", json!(actual));
        put("Actual Loops", json!(1));
    }
    if options.verbose {
        put("Output", json!(node.output));
    }
    for (name, fact) in &node.facts {
        put(
            name,
            match fact {
                Fact::Text(text) => json!(text),
                Fact::List(items) => json!(items),
                Fact::Count(count) => json!(count),
            },
        );
    }
    if !node.plans.is_empty() {
        put("Plans", Value::Array(node.plans.iter().map(|plan| node_value(plan, options)).collect()));
    }
    Value::Object(map)
}
