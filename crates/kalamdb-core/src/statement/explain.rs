//! EXPLAIN

use super::query::Relations;
use super::{Guard, Outcome, carry_out, prepared, query, text_rows};
use crate::plan::{self, ExplainFormat, ExplainOptions};
use crate::reply::{OutputColumn, RowsTag};
use crate::standing::{Prepared, Standing};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlType};
use kalamdb_sql::Statement;
use kalamdb_sql::bind::bound::{BoundKind, ColId, NeedId, Output, Rel};
use kalamdb_sql::statement::Explain;
use std::sync::Arc;

/// EXPLAIN. With ANALYZE a query is run; a statement that writes is only explained without it.
///
/// # Errors
/// 0A000 for utility statements and EXPLAIN ANALYZE of a write; those of planning.
pub(super) async fn run(
    standing: &mut Standing,
    explain: &Explain,
    prepared: &Arc<Prepared>,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
) -> Result<Outcome> {
    if explain.live {
        return Err(SqlError::unsupported("EXPLAIN LIVE"));
    }
    let (prepared, values) = match &explain.statement {
        // EXPLAIN … EXECUTE name(…): the statement that the name stands for.
        Statement::Execute { name, arguments } => {
            let (inner, values) = prepared::execute(standing, name, arguments)?;
            (inner, Arc::new(values))
        }
        _ => (prepared.clone(), values),
    };
    let (prepared, relations) = query::relations(standing, &prepared).await?;
    let Some(bound) = prepared.bound.clone() else {
        return Err(SqlError::unsupported("EXPLAIN of this statement"));
    };
    if explain.analyze && (carry_out::writes(&bound.kind) || !bound.steps.is_empty()) {
        return Err(SqlError::unsupported("EXPLAIN ANALYZE of a statement that writes"));
    }
    let relations = relations.with_made(carry_out::unmade(&bound)?);
    let options = ExplainOptions {
        analyze: explain.analyze,
        verbose: explain.verbose,
        costs: explain.costs,
        timing: explain.analyze,
        summary: explain.summary,
        format: if explain.json { ExplainFormat::Json } else { ExplainFormat::Text },
    };
    let mut lines = {
        let execution = query::execution(standing, &bound, &relations, values.clone(), guard)?;
        one(&bound.kind, &bound.outputs, &relations, execution, options).await?
    };
    let mut behind = 1;
    for step in bound.steps.iter().filter(|step| (step.is_read || carry_out::writes(&step.kind)) && !explain.json) {
        let execution = query::execution(standing, &bound, &relations, values.clone(), guard)?;
        let mut told = one(&step.kind, &step.outputs, &relations, execution, options).await?;
        indent(&mut told, 2);
        told.insert(0, format!("  CTE {}", step.name));
        let count = told.len();
        lines.splice(behind..behind, told);
        behind += count;
    }
    if explain.json {
        let ty = PgType::new(SqlType::Json);
        let columns: Arc<[OutputColumn]> =
            Arc::from([OutputColumn { name: "QUERY PLAN".to_string(), ty, origin: None }]);
        let text = lines.join("\n");
        let batch = super::batch_of(vec![Arc::new(arrow_array::StringArray::from(vec![text]))], 1)?;
        return Ok(Outcome::Rows(super::rows_of(columns, vec![batch], RowsTag::Fixed("EXPLAIN".to_string()))));
    }
    let rows: Vec<_> = lines.into_iter().map(|line| vec![Some(line)]).collect();
    text_rows(&["QUERY PLAN"], &rows, "EXPLAIN")
}

/// The lines of one statement: its own, or of a step of its WITH.
async fn one(
    kind: &BoundKind,
    outputs: &[Output],
    relations: &Relations,
    execution: plan::Execution,
    options: ExplainOptions,
) -> Result<Vec<String>> {
    let (rel, head): (&Rel, Option<(&str, NeedId)>) = match kind {
        BoundKind::Query(rel) => (rel, None),
        BoundKind::Insert(insert) => (&insert.source, Some(("Insert", insert.need))),
        BoundKind::Update(update) => (&update.source, Some(("Update", update.need))),
        BoundKind::Delete(delete) => (&delete.source, Some(("Delete", delete.need))),
    };
    let outputs: Vec<ColId> = match kind {
        BoundKind::Query(_) => outputs.iter().map(|output| output.col).collect(),
        _ => rel.columns().iter().map(|col| col.id).collect(),
    };
    let mut lines = plan::explain(rel, &outputs, execution, options).await?;
    if let Some((verb, need)) = head
        && options.format == ExplainFormat::Text
    {
        indent(&mut lines, 0);
        lines.insert(0, format!("{verb} on {}", relations[need.0].name()));
    }
    Ok(lines)
}

/// Puts a node below another.
fn indent(lines: &mut [String], by: usize) {
    let spaces = " ".repeat(by);
    lines
        .iter_mut()
        .enumerate()
        .for_each(|(at, line)| *line = format!("{spaces}{}{line}", if at == 0 { "  ->  " } else { "      " }));
}
