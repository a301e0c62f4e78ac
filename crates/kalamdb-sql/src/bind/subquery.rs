//! Subqueries in expressions. Their trees refer to outer columns by number; nothing else marks them as correlated.

use super::bound::{Col, Rel, Scalar, Subquery, SubqueryKind};
use super::scope::ItemColumn;
use super::{Binder, Position, record, walk};
use kalamdb_commons::{Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{Expr, Query};

fn single(columns: &[ItemColumn]) -> Result<Col> {
    match columns {
        [column] => Ok(column.col),
        _ => Err(SqlError::new(SqlState::SYNTAX_ERROR, "subquery must return only one column")),
    }
}

fn subquery(kind: SubqueryKind, rel: Rel, columns: Vec<Col>, ty: SqlType) -> Scalar {
    Scalar::Subquery(Box::new(Subquery { kind, rel, columns, ty: ty.into() }))
}

impl Binder<'_> {
    pub(super) fn exists(&mut self, query: &Query) -> Result<Scalar> {
        let derived = self.query(query, true)?;
        Ok(subquery(SubqueryKind::Exists, derived.rel, Vec::new(), SqlType::Bool))
    }

    pub(super) fn scalar_subquery(&mut self, query: &Query) -> Result<Scalar> {
        let derived = self.query(query, true)?;
        let col = single(&derived.columns).map_err(|error| error.at(self.bracket_position(query)))?;
        let inner = Subquery { kind: SubqueryKind::Scalar, rel: derived.rel, columns: vec![col], ty: col.ty };
        Ok(Scalar::Subquery(Box::new(inner)))
    }

    pub(super) fn array_subquery(&mut self, query: &Query) -> Result<Scalar> {
        let derived = self.query(query, true)?;
        let col = single(&derived.columns)?;
        let is_array = super::coerce::true_element(col.ty.ty).is_some();
        let array = if is_array { Some(col.ty.ty) } else { col.ty.ty.array() };
        let array = array.ok_or_else(|| {
            let message = format!("could not find array type for data type {}", col.ty.ty);
            SqlError::new(SqlState::UNDEFINED_OBJECT, message)
        })?;
        Ok(subquery(SubqueryKind::Array, derived.rel, vec![col], array))
    }

    /// A subquery of one row as so many scalars: one copy of it for each column.
    pub(super) fn row_subquery(&mut self, query: &Query, width: usize) -> Result<Vec<Scalar>> {
        let derived = self.query(query, true)?;
        if derived.columns.len() < width {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "subquery has too few columns"));
        }
        if derived.columns.len() > width {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "subquery has too many columns"));
        }
        let columns: Vec<Col> = derived.columns.iter().map(|column| column.col).collect();
        let mut scalars = Vec::with_capacity(width);
        for index in 0..width {
            let (mut rel, mut list) = (derived.rel.clone(), columns.clone());
            walk::renumber(&mut rel, &mut [&mut list], &mut self.next_col, &mut self.next_work);
            let col = list[index];
            let inner = Subquery { kind: SubqueryKind::Scalar, rel, columns: vec![col], ty: col.ty };
            scalars.push(Scalar::Subquery(Box::new(inner)));
        }
        Ok(scalars)
    }

    pub(super) fn in_subquery(&mut self, operand: &Expr, query: &Query) -> Result<Scalar> {
        let place = self.in_query_position(query);
        self.quantified_subquery(operand, "=", query, false, place)
    }

    /// `x op ANY (SELECT …)` and ALL; `x` may be a row value.
    pub(super) fn quantified_subquery(
        &mut self,
        operand: &Expr,
        name: &str,
        query: &Query,
        all: bool,
        place: Position,
    ) -> Result<Scalar> {
        let left = self.expr(operand)?;
        let lefts = match record::fields(&left) {
            Some(fields) if record::is_row(operand) => fields.to_vec(),
            _ => vec![left],
        };
        let derived = self.query(query, true)?;
        let columns: Vec<Col> = derived.columns.iter().map(|column| column.col).collect();
        if columns.len() < lefts.len() {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "subquery has too few columns").at(place));
        }
        if columns.len() > lefts.len() {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "subquery has too many columns").at(place));
        }
        let rights = columns.iter().map(|col| Scalar::Column(*col)).collect();
        let test = if lefts.len() == 1 {
            let (left, right) = (lefts, rights);
            self.pairwise(name, left, right)
        } else {
            self.compare_rows(name, lefts, rights)
        };
        let test = test.map_err(|error| error.at(place))?;
        Ok(subquery(SubqueryKind::Quantified { test: Box::new(test), all }, derived.rel, columns, SqlType::Bool))
    }

    fn pairwise(&mut self, name: &str, left: Vec<Scalar>, right: Vec<Scalar>) -> Result<Scalar> {
        match left.into_iter().zip(right).next() {
            Some((left, right)) => self.binary(name, left, right, None),
            None => Err(SqlError::internal("a comparison without operands")),
        }
    }
}
