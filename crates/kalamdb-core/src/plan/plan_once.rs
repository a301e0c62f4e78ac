//! Subqueries that read nothing of the query around them: run once, before the plan is made.
//!
//! Their values stand in the plan as constants, so that `WHERE id = (SELECT max(id) …)` is a look-up by key. EXPLAIN
//! without ANALYZE runs nothing: there a parameter stands for each, as an outer column does in an inner plan.

use super::lower::Lowering;
use super::running::{Statement, outer_parameter, reads_outer_work};
use arrow_array::RecordBatch;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use kalamdb_commons::{ArrayDatum, Datum, PgType, Result, SqlError, SqlState};
use kalamdb_sql::bind::bound::{Col, ColId, Rel, Scalar, Subquery, SubqueryKind};
use kalamdb_sql::bind::walk;
use kalamdb_sql::types;
use std::borrow::Cow;
use std::sync::Arc;

/// What is done with the subqueries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Once {
    /// They are run.
    Run,
    /// A parameter with the mark's number stands for each, which no rule can take for a value.
    Pretend,
}

/// A subquery that runs once, and the column that stood for it while it was collected.
pub(super) struct OnceSubquery {
    pub(super) mark: ColId,
    pub(super) subquery: Subquery,
}

/// The tree with the values of the subqueries that run once, and these subqueries, innermost first.
///
/// # Errors
/// Those of the subqueries; 21000 for a scalar one with more than one row.
pub(super) async fn with_values<'a>(
    rel: &'a Rel,
    statement: &Arc<Statement>,
    once: Once,
) -> Result<(Cow<'a, Rel>, Vec<OnceSubquery>)> {
    let mut has_subquery = false;
    walk::deep_rel(rel, &mut |scalar| has_subquery |= matches!(scalar, Scalar::Subquery(_)));
    if !has_subquery {
        return Ok((Cow::Borrowed(rel), Vec::new()));
    }
    let mut rel = rel.clone();
    let mut found = Vec::new();
    collect_rel(&mut rel, statement, &mut found);
    let mut values: Vec<(ColId, Scalar)> = Vec::new();
    for once_subquery in &mut found {
        fill_rel(&mut once_subquery.subquery.rel, &values);
        let ty = once_subquery.subquery.ty;
        let value = match once {
            Once::Run => Scalar::Const(run(&once_subquery.subquery, statement).await?, ty),
            Once::Pretend => outer_parameter(Col { id: once_subquery.mark, ty, nullable: true }),
        };
        values.push((once_subquery.mark, value));
    }
    fill_rel(&mut rel, &values);
    Ok((Cow::Owned(rel), found))
}

fn collect_rel(rel: &mut Rel, statement: &Statement, found: &mut Vec<OnceSubquery>) {
    walk::inputs_mut(rel, &mut |input| collect_rel(input, statement, found));
    walk::scalars_mut(rel, &mut |scalar| collect(scalar, statement, found));
}

fn collect(scalar: &mut Scalar, statement: &Statement, found: &mut Vec<OnceSubquery>) {
    walk::operands_mut(scalar, &mut |operand| collect(operand, statement, found));
    let Scalar::Subquery(subquery) = scalar else { return };
    collect_rel(&mut subquery.rel, statement, found);
    let is_value = !matches!(subquery.kind, SubqueryKind::Quantified { .. });
    // A column that stands for a collected subquery is free too, and does no harm.
    let marks = |id: ColId| found.iter().any(|once| once.mark == id);
    let is_free = walk::free_columns(&subquery.rel).iter().all(|col| marks(col.id));
    if is_value && is_free && !reads_outer_work(&subquery.rel) {
        let mark = statement.column(subquery.ty);
        found.push(OnceSubquery { mark: mark.id, subquery: subquery.as_ref().clone() });
        *scalar = Scalar::Column(mark);
    }
}

fn fill_rel(rel: &mut Rel, values: &[(ColId, Scalar)]) {
    if values.is_empty() {
        return;
    }
    walk::rewrite_rel(rel, &mut |scalar| match scalar {
        Scalar::Column(col) => values.iter().find(|(mark, _)| *mark == col.id).map(|(_, value)| value.clone()),
        _ => None,
    });
}

fn run<'a>(subquery: &'a Subquery, statement: &'a Arc<Statement>) -> BoxFuture<'a, Result<Datum>> {
    Box::pin(async move {
        let outputs: Vec<ColId> = match subquery.kind {
            SubqueryKind::Exists => Vec::new(),
            _ => subquery.columns.iter().take(1).map(|col| col.id).collect(),
        };
        let plan = Lowering { statement }.query(&subquery.rel, &outputs)?;
        let plan = statement.optimized(plan)?;
        let physical = statement.physical(&plan).await?;
        let mut rows = statement.stream(physical);
        match subquery.kind {
            SubqueryKind::Exists => {
                while let Some(batch) = rows.try_next().await? {
                    if batch.num_rows() > 0 {
                        return Ok(Datum::Bool(true));
                    }
                }
                Ok(Datum::Bool(false))
            }
            SubqueryKind::Scalar => {
                let mut value = None;
                while let Some(batch) = rows.try_next().await? {
                    if batch.num_rows() + usize::from(value.is_some()) > 1 {
                        let message = "more than one row returned by a subquery used as an expression";
                        return Err(SqlError::new(SqlState::CARDINALITY_VIOLATION, message));
                    }
                    if batch.num_rows() == 1 {
                        value = items(&batch, subquery.ty)?.into_iter().next();
                    }
                }
                Ok(value.unwrap_or_default())
            }
            SubqueryKind::Array => {
                let element = element(subquery)?;
                let mut all = Vec::new();
                while let Some(batch) = rows.try_next().await? {
                    all.extend(items(&batch, element)?);
                }
                if !element.ty.is_array() {
                    return Ok(ArrayDatum::usual(element.ty, all).into());
                }
                let array = kalamdb_sql::lower::gathered(&types::array_of(element, &all)?, element)?;
                Ok(types::datum_at(array.as_ref(), 0, subquery.ty))
            }
            SubqueryKind::Quantified { .. } => Err(SqlError::internal("a quantified subquery has no value")),
        }
    })
}

fn element(subquery: &Subquery) -> Result<PgType> {
    let ty = subquery.columns.first().map(|col| col.ty);
    ty.ok_or_else(|| SqlError::internal("ARRAY over a subquery without a column"))
}

fn items(batch: &RecordBatch, ty: PgType) -> Result<Vec<Datum>> {
    let column = batch.columns().first().ok_or_else(|| SqlError::internal("a subquery without a column"))?;
    Ok((0..column.len()).map(|row| types::datum_at(column.as_ref(), row, ty)).collect())
}
