//! EXPLAIN

use super::{Guard, Outcome, prepared, query, text_rows};
use crate::plan::{self, ExplainFormat, ExplainOptions};
use crate::reply::{OutputColumn, RowsTag};
use crate::standing::{Prepared, Standing};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlType};
use kalamdb_sql::Statement;
use kalamdb_sql::bind::bound::{BoundKind, ColId, NeedId, Rel};
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
    let (rel, head): (&Rel, Option<(&str, NeedId)>) = match &bound.kind {
        BoundKind::Query(rel) => (rel, None),
        BoundKind::Insert(insert) => (&insert.source, Some(("Insert", insert.need))),
        BoundKind::Update(update) => (&update.source, Some(("Update", update.need))),
        BoundKind::Delete(delete) => (&delete.source, Some(("Delete", delete.need))),
    };
    if explain.analyze && head.is_some() {
        return Err(SqlError::unsupported("EXPLAIN ANALYZE of a statement that writes"));
    }
    let outputs: Vec<ColId> = match &bound.kind {
        BoundKind::Query(_) => bound.outputs.iter().map(|output| output.col).collect(),
        _ => rel.columns().iter().map(|col| col.id).collect(),
    };
    let execution = query::execution(standing, &bound, &relations, values, guard)?;
    let target = head.map(|(verb, need)| (verb, relations[need.0].name()));
    let options = ExplainOptions {
        analyze: explain.analyze,
        verbose: explain.verbose,
        costs: explain.costs,
        timing: explain.analyze,
        summary: explain.analyze,
        format: if explain.json { ExplainFormat::Json } else { ExplainFormat::Text },
    };
    let mut lines = plan::explain(rel, &outputs, execution, options).await?;
    if let Some((verb, name)) = target
        && !explain.json
    {
        lines
            .iter_mut()
            .enumerate()
            .for_each(|(at, line)| *line = format!("{}{line}", if at == 0 { "  ->  " } else { "      " }));
        lines.insert(0, format!("{verb} on {name}"));
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
