//! Nodes as PostgreSQL would tell them: as lines and as JSON.

use super::ExplainOptions;
use kalamdb_commons::{Result, SqlError};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A node as PostgreSQL would tell it.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// "Node Type"
    pub(super) kind: &'static str,
    /// The first line: the kind, and what it is about.
    pub(super) title: String,
    /// What stands below the title.
    pub(super) facts: Vec<(&'static str, Fact)>,
    /// What JSON says beside that.
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) output: Vec<String>,
    pub(super) estimated: Option<usize>,
    pub(super) actual: Option<usize>,
    /// "Parent Relationship", and for a subplan its name.
    pub(super) role: &'static str,
    pub(super) label: Option<String>,
    pub(super) plans: Vec<Node>,
}

#[derive(Debug)]
pub(super) enum Fact {
    Text(String),
    List(Vec<String>),
    Count(usize),
}

impl Node {
    pub(super) fn new(kind: &'static str) -> Node {
        Node { kind, title: kind.to_owned(), ..Node::default() }
    }

    pub(super) fn over(kind: &'static str, role: &'static str, child: Node) -> Node {
        Node::new(kind).with(role, child)
    }

    pub(super) fn with(mut self, role: &'static str, child: Node) -> Node {
        self.plans.push(Node { role, ..child });
        self
    }

    pub(super) fn fact(mut self, name: &'static str, text: String) -> Node {
        self.facts.push((name, Fact::Text(text)));
        self
    }

    pub(super) fn list(mut self, name: &'static str, items: Vec<String>) -> Node {
        if !items.is_empty() {
            self.facts.push((name, Fact::List(items)));
        }
        self
    }

    pub(super) fn subplan(&mut self, role: &'static str, label: String, plan: Node) {
        self.plans.push(Node { role, label: Some(label), ..plan });
    }
}

/// Planning's and running's time.
pub(super) type Times = (Duration, Option<Duration>);

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

pub(super) fn text(root: &Node, times: Option<Times>, options: &ExplainOptions) -> Vec<String> {
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
        line += &format!(" (actual rows={actual} loops=1)");
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

pub(super) fn document(root: &Node, times: Option<Times>, options: &ExplainOptions) -> Result<String> {
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
