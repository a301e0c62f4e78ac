//! Expressions that the catalog keeps over a table's row: CHECK, an index's predicate and keys, generated columns.

use super::bound::{Col, ColId, Scalar};
use super::deparse::{Printer, Purpose};
use super::insert::SYSTEM_COLUMNS;
use super::scope::{Level, Visible};
use super::{Binder, Names, RelationShape, bound, walk};
use crate::parse;
use kalamdb_commons::{ColumnId, Datum, PgType, Result, SqlError, SqlState};
use sqlparser::ast::Expr;
use std::rc::Rc;

/// An expression over one table's row.
#[derive(Debug, Clone)]
pub struct RowExpression {
    /// The expression.
    pub scalar: Scalar,
    /// The table's columns as it sees them.
    pub columns: Vec<(ColumnId, Col)>,
}

impl RowExpression {
    /// The columns that it reads, in the table's order.
    pub fn used(&self) -> Vec<ColumnId> {
        let used = walk::columns_used(&self.scalar);
        let is_used = |col: &Col| used.iter().any(|other| other.id == col.id);
        self.columns.iter().filter(|(_, col)| is_used(col)).map(|(id, _)| *id).collect()
    }
}

/// Binds an expression over a table's row.
///
/// # Errors
/// PostgreSQL's: 42703, 42804, 42803, 42P20, 0A000 for subqueries and sets, 42P10 for system columns.
pub fn bind_row(text: &str, shape: &RelationShape, purpose: Purpose, names: &dyn Names) -> Result<RowExpression> {
    let expr = parse::expression(text)?;
    let mut binder = Binder::new("", &[], names);
    binder.row_expression(&expr, shape, purpose)
}

/// The same as PostgreSQL prints it (`pg_get_expr`), with the columns' names that `name_of` gives: a table's column
/// may be about to be renamed. Reading the text back gives the same expression.
///
/// # Errors
/// As [`bind_row`]; 0A000 for what cannot be written down.
pub fn canonical_row(
    text: &str,
    shape: &RelationShape,
    purpose: Purpose,
    name_of: &dyn Fn(ColumnId) -> Option<String>,
    names: &dyn Names,
) -> Result<String> {
    let expr = parse::expression(text)?;
    let mut binder = Binder::new("", &[], names);
    let bound = binder.row_expression(&expr, shape, purpose)?;
    let columns = bound.columns;
    let called = |col: ColId| {
        let (id, _) = columns.iter().find(|(_, other)| other.id == col)?;
        name_of(*id)
    };
    let wanted = bound.scalar.ty().ty;
    Printer::new(&mut binder, &called).print(&expr, Some(wanted))
}

/// The conditions that an AND is made of, each as PostgreSQL prints it.
///
/// # Errors
/// As [`canonical_row`].
pub fn canonical_conjuncts(
    expr: &Expr,
    shape: &RelationShape,
    purpose: Purpose,
    names: &dyn Names,
) -> Result<Vec<String>> {
    let mut parts = Vec::new();
    conjuncts(expr, &mut parts);
    let print = |expr: &&Expr| {
        let mut binder = Binder::new("", &[], names);
        let bound = binder.row_expression(expr, shape, purpose)?;
        let called = |col: ColId| {
            let (id, _) = bound.columns.iter().find(|(_, other)| other.id == col)?;
            shape.columns.iter().find(|column| column.id == *id).map(|column| column.name.clone())
        };
        let wanted = bound.scalar.ty().ty;
        Printer::new(&mut binder, &called).print(expr, Some(wanted))
    };
    parts.iter().map(print).collect()
}

fn conjuncts<'e>(expr: &'e Expr, parts: &mut Vec<&'e Expr>) {
    match expr {
        Expr::Nested(inner) => conjuncts(inner, parts),
        Expr::BinaryOp { left, op: sqlparser::ast::BinaryOperator::And, right } => {
            conjuncts(left, parts);
            conjuncts(right, parts);
        }
        other => parts.push(other),
    }
}

/// What a stored expression is called where it needs a name, as a result column would be; `None` where that would be
/// `?column?`.
///
/// # Errors
/// As `parse::expression`.
pub fn expression_name(text: &str) -> Result<Option<String>> {
    let name = super::output_name::output_name(&parse::expression(text)?);
    Ok((name != "?column?").then_some(name))
}

/// What a column's values become when it gets another type: USING's expression, or an assignment of the old value.
///
/// # Errors
/// As [`bind_row`]; 42804 where there is no such cast.
pub fn bind_transform(
    using: Option<&str>,
    column: &str,
    ty: PgType,
    shape: &RelationShape,
    names: &dyn Names,
) -> Result<RowExpression> {
    let text = using.map_or_else(|| super::deparse::quoted(column), str::to_owned);
    let expr = parse::expression(&text)?;
    let mut binder = Binder::new("", &[], names);
    let RowExpression { scalar, columns } = binder.row_expression(&expr, shape, Purpose::Transform)?;
    if let Some(scalar) = binder.assign(scalar, ty, None)? {
        return Ok(RowExpression { scalar, columns });
    }
    Err(match using {
        Some(_) => {
            let message = format!(
                "result of USING clause for column \"{column}\" cannot be cast automatically to type {}",
                PgType::new(ty.ty)
            );
            SqlError::new(SqlState::DATATYPE_MISMATCH, message).with_hint("You might need to add an explicit cast.")
        }
        None => {
            let message = format!("column \"{column}\" cannot be cast automatically to type {}", PgType::new(ty.ty));
            let hint = format!("You might need to specify \"USING {}::{ty}\".", super::deparse::quoted(column));
            SqlError::new(SqlState::DATATYPE_MISMATCH, message).with_hint(hint)
        }
    })
}

/// A value as an assignment to a column takes it.
///
/// # Errors
/// 42804, and those of the cast.
pub fn assigned(value: Datum, from: PgType, column: &str, to: PgType, names: &dyn Names) -> Result<Scalar> {
    Binder::new("", &[], names).assign_column(Scalar::Const(value, from), column, to, None)
}

/// A DEFAULT's text as PostgreSQL prints it.
///
/// # Errors
/// As `bind_default`; 0A000 for what cannot be written down.
pub fn canonical_default(text: &str, column: &str, ty: PgType, names: &dyn Names) -> Result<String> {
    let expr = parse::expression(text)?;
    let mut binder = Binder::new("", &[], names);
    binder.default_scalar(&expr, column, ty)?;
    binder.no_parameters()?;
    binder.levels.push(Level::new(super::scope::Clause::Default));
    Printer::new(&mut binder, &|_| None).print(&expr, Some(ty.ty))
}

impl Binder<'_> {
    fn row_expression(&mut self, expr: &Expr, shape: &RelationShape, purpose: Purpose) -> Result<RowExpression> {
        let need = self.need(shape, bound::Action::Select);
        let (mut item, columns) = self.row_item(shape, need);
        item.system.clear();
        self.levels.push(Level::new(purpose.clause()));
        self.enter(vec![Visible { item: Rc::new(item), columns: true, relation: true }]);
        let scalar = self.expr(expr)?;
        if walk::has_subquery(&scalar) {
            let message = format!("cannot use subquery in {}", purpose.name());
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        let scalar = match purpose {
            Purpose::Check => self.boolean(scalar, "CHECK", None)?,
            Purpose::IndexPredicate => self.boolean(scalar, "WHERE", None)?,
            Purpose::IndexKey | Purpose::Generated | Purpose::Transform => self.known(scalar, None)?,
        };
        self.no_parameters()?;
        Ok(RowExpression { scalar, columns })
    }

    /// 42P10 for a system column in a stored expression.
    pub(super) fn refuse_system_column(&mut self, name: &str) -> Result<()> {
        let purpose = match self.level().clause {
            super::scope::Clause::Check => Purpose::Check,
            super::scope::Clause::IndexPredicate => Purpose::IndexPredicate,
            super::scope::Clause::IndexKey => Purpose::IndexKey,
            super::scope::Clause::Generated => Purpose::Generated,
            _ => return Ok(()),
        };
        if SYSTEM_COLUMNS.contains(&name) || matches!(name, "xmin" | "xmax" | "cmin" | "cmax" | "ctid") {
            let message = format!("system column \"{name}\" reference in {} is invalid", purpose.name());
            return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
        Ok(())
    }
}
