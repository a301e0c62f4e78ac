//! The way through a physical plan: each node in PostgreSQL's words.

use super::super::apply::{Answer, ApplyExec};
use super::super::distinct_on::DistinctOnExec;
use super::super::frames::FramesExec;
use super::super::lock_rows::LockRowsExec;
use super::super::padded::PaddedExec;
use super::super::plan_once::OnceSubquery;
use super::super::project_set::ProjectSetExec;
use super::super::provider::{KeySpan, Keys, ScanExec};
use super::super::values::ValuesExec;
use super::expression::{quoted, span_condition};
use super::print::{Fact, Node};
use super::{ExplainOptions, Inners, place};
use datafusion::common::JoinType;
use datafusion::physical_expr::PhysicalExpr;
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
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec, WindowExpr};
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};
use kalamdb_sql::lower::column_name;
use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

/// The way through a plan, with the names of the columns that were met.
pub(super) struct Walk<'a> {
    inners: &'a Inners,
    statistics: StatisticsContext,
    /// What the plan calls `c<number>`, in words.
    pub(super) names: HashMap<String, String>,
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
    pub(super) fn new(options: &ExplainOptions, inners: &'a Inners, plan: &Arc<dyn ExecutionPlan>) -> Walk<'a> {
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
    pub(super) fn whole(
        mut self,
        plan: &Arc<dyn ExecutionPlan>,
        inits: &[(OnceSubquery, Arc<dyn ExecutionPlan>)],
    ) -> Node {
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
        if plan.downcast_ref::<ValuesExec>().is_some() {
            return Node::new("Values Scan on \"*VALUES*\"");
        }
        if let Some(set) = plan.downcast_ref::<ProjectSetExec>() {
            return self.project_set(set, plan);
        }
        if let Some(window) = plan.downcast_ref::<WindowAggExec>() {
            return self.window(window.input(), window.window_expr());
        }
        if let Some(frames) = plan.downcast_ref::<FramesExec>() {
            return self.frames(frames);
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
            None => scan.kind(),
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
        let applied = &apply.operator.work.inner;
        let inners = self.inners;
        let inner = inners.get(&place(applied)).map(|inner| {
            self.depth += 1;
            let node = self.node(inner);
            self.depth -= 1;
            node
        });
        let inner = inner.unwrap_or_else(|| Node::new("Result"));
        if let Answer::Rows { outer_join } = applied.answer() {
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
        let label = format!("{}SubPlan {}", if applied.is_correlated() { "" } else { "hashed " }, self.subplans);
        let shown = match applied.answer() {
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

    fn window(&mut self, input: &Arc<dyn ExecutionPlan>, calls: &[Arc<dyn WindowExpr>]) -> Node {
        let input = self.node(input);
        let made: Vec<(String, String)> =
            calls.iter().map(|call| (call.name().to_owned(), self.window_call(call.as_ref()))).collect();
        self.names.extend(made);
        Node::over("WindowAgg", "Outer", input)
    }

    fn frames(&mut self, frames: &FramesExec) -> Node {
        let input = self.node(&frames.input);
        for (column, name, args) in frames.operator.shown() {
            let args: Vec<String> = args.iter().map(|arg| self.expr(arg)).collect();
            let args = if name == "count" && args == ["1"] { "*".to_owned() } else { args.join(", ") };
            self.names.insert(column, format!("{name}({args}) OVER (?)"));
        }
        Node::over("WindowAgg", "Outer", input)
    }

    fn project_set(&mut self, set: &ProjectSetExec, plan: &Arc<dyn ExecutionPlan>) -> Node {
        let children = plan.children();
        let input = children.first().map(|input| self.node(input)).unwrap_or_else(|| Node::new("Result"));
        let functions = set.operator.functions();
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
