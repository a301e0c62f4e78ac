//! EXPLAIN.

use super::Execution;
use kalamdb_commons::{Result, SqlError};
use kalamdb_sql::bind::bound::{ColId, Rel};

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
pub async fn explain(rel: &Rel, outputs: &[ColId], execution: Execution, options: ExplainOptions) -> Result<Vec<String>> {
    let _ = (rel, outputs, execution, options);
    Err(SqlError::unsupported("EXPLAIN"))
}
