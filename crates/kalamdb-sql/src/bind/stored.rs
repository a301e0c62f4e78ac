//! Expressions that the catalog keeps over a table's row: CHECK, an index's predicate and keys, generated columns.

use super::bound::{Col, ColId, Scalar};
use super::deparse::{Printer, Purpose};
use super::insert::SYSTEM_COLUMNS;
use super::scope::{Level, Visible};
use super::{Binder, Names, RelationShape, ValueSource, bound, walk};
use crate::function::CatalogNames;
use crate::parse;
use kalamdb_commons::{ColumnId, Datum, Oid, PgType, Result, SqlError, SqlState};
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

/// Binds a generated column's expression, of the column's type.
///
/// # Errors
/// As [`bind_row`]; 42P17 for one that reads a generated column, the row as a whole, or is not immutable.
pub fn bind_generated(
    text: &str,
    column: &str,
    ty: PgType,
    shape: &RelationShape,
    names: &dyn Names,
) -> Result<RowExpression> {
    let expr = parse::expression(text)?;
    let mut binder = Binder::new(text, &[], names);
    let mut bound = binder.row_expression(&expr, shape, Purpose::Generated)?;
    let refused = |message: String| SqlError::new(SqlState::INVALID_OBJECT_DEFINITION, message);
    let used = bound.used();
    let is_used = |other: &&super::ColumnShape| used.contains(&other.id) && other.source == ValueSource::Generated;
    if let Some(other) = shape.columns.iter().find(is_used) {
        let message = format!("cannot use generated column \"{}\" in column generation expression", other.name);
        return Err(refused(message).with_detail("A generated column cannot reference another generated column."));
    }
    if !walk::is_immutable(&bound.scalar) {
        return Err(refused("generation expression is not immutable".to_owned()));
    }
    let given = bound.scalar.ty().ty;
    bound.scalar = match binder.assign(bound.scalar, ty, None)? {
        Some(scalar) => scalar,
        None => {
            let message = format!("column \"{column}\" is of type {} but default expression is of type {given}", ty.ty);
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message)
                .with_hint("You will need to rewrite or cast the expression."));
        }
    };
    Ok(bound)
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
    (ty, domain): (PgType, Option<Oid>),
    shape: &RelationShape,
    names: &dyn Names,
) -> Result<RowExpression> {
    let text = using.map_or_else(|| super::deparse::quoted(column), str::to_owned);
    let expr = parse::expression(&text)?;
    let mut binder = Binder::new("", &[], names);
    let RowExpression { scalar, columns } = binder.row_expression(&expr, shape, Purpose::Transform)?;
    if let Some(scalar) = binder.assign(scalar, ty, None)? {
        return Ok(RowExpression { scalar: binder.within_domain(scalar, domain)?, columns });
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

/// A DEFAULT's text as PostgreSQL prints it, with the OIDs of relations where their names stand: see
/// [`shown_default`].
///
/// # Errors
/// As `bind_default`; 0A000 for what cannot be written down.
pub fn canonical_default(text: &str, column: &str, ty: PgType, names: &dyn Names) -> Result<String> {
    let expr = parse::expression(text)?;
    let mut binder = Binder::new("", &[], names);
    binder.default_scalar(&expr, column, ty)?;
    binder.no_parameters()?;
    binder.levels.push(Level::new(super::scope::Clause::Default));
    Printer { by_oid: true, ..Printer::new(&mut binder, &|_| None) }.print(&expr, Some(ty.ty))
}

/// The places of `'oid'::regclass` in a stored text: of the digits, and what they say.
fn regclass_places(text: &str) -> Vec<(std::ops::Range<usize>, Oid)> {
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find(['\'', '"']).map(|found| at + found) {
        let quote = &text[start..=start];
        let inner = start + 1;
        let Some(end) = text[inner..].find(quote).map(|found| inner + found) else { break };
        // A doubled quote only ends this piece and begins the next.
        let digits = &text[inner..end];
        if quote == "'"
            && text[end + 1..].starts_with("::regclass")
            && !text[..start].ends_with('\'')
            && let Ok(oid) = digits.parse()
        {
            places.push((inner..end, oid));
        }
        at = end + 1;
    }
    places
}

/// The relations that a stored default names.
pub fn relations_named(text: &str) -> Vec<Oid> {
    regclass_places(text).into_iter().map(|(_, oid)| oid).collect()
}

/// The places of `pg_catalog."OID"` in a text, and the OIDs.
fn type_places(text: &str) -> Vec<(std::ops::Range<usize>, Oid)> {
    const BEFORE: &str = "pg_catalog.\"";
    let found = text.match_indices(BEFORE).filter_map(|(start, _)| {
        let digits = start + BEFORE.len();
        let end = digits + text[digits..].find('"')?;
        Some((start..end + 1, text[digits..end].parse().ok()?))
    });
    found.collect()
}

/// The users' types that a stored text names.
pub fn types_named(text: &str) -> Vec<Oid> {
    type_places(text).into_iter().map(|(_, oid)| oid).collect()
}

/// A text with the names of users' types where their OIDs stand.
pub(super) fn with_type_names(text: &str, names: &dyn CatalogNames) -> String {
    let mut shown = text.to_owned();
    for (place, oid) in type_places(text).into_iter().rev() {
        if let Some(name) = names.type_name(oid) {
            shown.replace_range(place, &name);
        }
    }
    shown
}

/// A stored expression as people read it: with the names that its relations and types have now.
pub fn shown_stored(text: &str, names: &dyn CatalogNames) -> String {
    let mut shown = text.to_owned();
    for (place, oid) in regclass_places(text).into_iter().rev() {
        if let Some(name) = names.relation_name(oid) {
            shown.replace_range(place, &name.replace('\'', "''"));
        }
    }
    with_type_names(&shown, names)
}

/// A stored expression with another label of an enum in the place of one.
pub fn relabelled(text: &str, oid: Oid, from: &str, to: &str) -> String {
    let constant = |label: &str| format!("'{}'::pg_catalog.\"{oid}\"", label.replace('\'', "''"));
    text.replace(&constant(from), &constant(to))
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
