//! UNION, INTERSECT, EXCEPT: one type for each pair of columns, PostgreSQL's equality, ALL as multisets.

use super::bound::{
    Col, CompareOp, Exclusion, Frame, FrameBound, FrameUnits, Rel, Scalar, SetOp, Subquery, SubqueryKind, WindowCall,
};
use super::expr::not;
use super::operator::{is_keyed, key};
use super::scope::ItemColumn;
use super::select::Derived;
use super::{Binder, coerce, walk};
use crate::function::{self, CastContext};
use kalamdb_commons::{PgType, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{SetExpr, SetOperator, SetQuantifier};

impl Binder<'_> {
    pub(super) fn set_operation(
        &mut self,
        left: &SetExpr,
        op: SetOperator,
        quantifier: &SetQuantifier,
        right: &SetExpr,
    ) -> Result<Derived> {
        let (op, word) = match op {
            SetOperator::Union => (SetOp::Union, "UNION"),
            SetOperator::Intersect => (SetOp::Intersect, "INTERSECT"),
            SetOperator::Except | SetOperator::Minus => (SetOp::Except, "EXCEPT"),
        };
        let all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::Distinct | SetQuantifier::None => false,
            _ => return Err(SqlError::unsupported(format!("{word} BY NAME"))),
        };
        let left = self.arm(left)?;
        let right = self.arm(right)?;
        let (left, right, types) = self.level_arms(left, right, word)?;
        self.combine(op, all, left, right, types)
    }

    /// UNION of two bound arms.
    pub(super) fn union(&mut self, all: bool, left: Derived, right: Derived) -> Result<Derived> {
        let (left, right, types) = self.level_arms(left, right, "UNION")?;
        self.combine(SetOp::Union, all, left, right, types)
    }

    /// Both arms with columns of the same types.
    pub(super) fn level_arms(
        &mut self,
        mut left: Derived,
        mut right: Derived,
        word: &str,
    ) -> Result<(Derived, Derived, Vec<PgType>)> {
        if left.columns.len() != right.columns.len() {
            let message = format!("each {word} query must have the same number of columns");
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
        }
        let mut types = Vec::with_capacity(left.columns.len());
        for index in 0..left.columns.len() {
            let (l, r) = (left.columns[index].col.ty, right.columns[index].col.ty);
            let ty = coerce::common([l.ty, r.ty].into_iter()).map_err(|(l, r)| coerce::unmatched(word, l, r))?;
            let typmod = if l == r { l.typmod } else { -1 };
            types.push(PgType { ty, typmod });
        }
        self.level_arm(&mut left, &types, word)?;
        self.level_arm(&mut right, &types, word)?;
        Ok((left, right, types))
    }

    /// Casts an arm's columns. Unknown ones are changed where they are made: a literal is read, a parameter settled.
    pub(super) fn level_arm(&mut self, arm: &mut Derived, types: &[PgType], word: &str) -> Result<()> {
        let mut made: Vec<(Col, Scalar)> = Vec::new();
        for (index, ty) in types.iter().enumerate() {
            let column = &mut arm.columns[index];
            let col = column.col;
            if col.ty.ty == ty.ty {
                continue;
            }
            if col.ty.ty == SqlType::Unknown && self.retype(&mut arm.rel, col, ty.ty)? {
                // The same literal may stand in several columns: it is one type for all of them.
                arm.columns.iter_mut().filter(|c| c.col.id == col.id).for_each(|c| c.col.ty = ty.ty.into());
                continue;
            }
            let from = col.ty.ty;
            let cast = match self.coerce(Scalar::Column(col), ty.ty.into(), CastContext::Implicit, None)? {
                Some(cast) => cast,
                None => {
                    let message = format!("{word} could not convert type {from} to {}", ty.ty);
                    return Err(SqlError::new(SqlState::CANNOT_COERCE, message));
                }
            };
            let new = self.col(ty.ty.into(), true);
            made.push((new, cast));
            let column = &mut arm.columns[index];
            column.col = new;
            column.origin = None;
        }
        if !made.is_empty() {
            let input = std::mem::replace(&mut arm.rel, Rel::OneRow);
            arm.rel = Rel::Extend { input: Box::new(input), columns: made };
        }
        Ok(())
    }

    /// Gives an unknown column a type where it is made; whether it was a literal or a parameter.
    pub(super) fn retype(&mut self, rel: &mut Rel, col: Col, ty: SqlType) -> Result<bool> {
        let Some(old) = definition(rel, col) else { return Ok(false) };
        if !matches!(old, Scalar::Const(..) | Scalar::Param(..)) {
            return Ok(false);
        }
        let new = self.implicit(old, ty, None)?;
        walk::retype(rel, col.id, &new);
        Ok(true)
    }

    fn combine(&mut self, op: SetOp, all: bool, left: Derived, right: Derived, types: Vec<PgType>) -> Result<Derived> {
        let names: Vec<String> = left.columns.iter().map(|column| column.name.clone()).collect();
        for ty in &types {
            if !all || op != SetOp::Union {
                super::aggregate::unequal(*ty)?;
            }
        }
        for (l, r) in left.columns.iter().zip(&right.columns) {
            self.same_shapes(l.col, r.col, !all || op != SetOp::Union)?;
        }
        let (rel, columns) = if all && op != SetOp::Union {
            self.multiset(op, left, right, &types)?
        } else {
            let keyed = !all && types.iter().any(|ty| is_keyed(*ty));
            self.plain(op, all, keyed, left, right, &types)
        };
        // A modifier stays when both sides have it.
        let shown = columns.into_iter().zip(&types).map(|(col, ty)| Col { ty: *ty, ..col });
        let columns = names.into_iter().zip(shown).map(|(name, col)| ItemColumn { name, col, origin: None }).collect();
        Ok(Derived { rel, columns })
    }

    fn plain(
        &mut self,
        op: SetOp,
        all: bool,
        keyed: bool,
        left: Derived,
        right: Derived,
        types: &[PgType],
    ) -> (Rel, Vec<Col>) {
        if keyed && op != SetOp::Union {
            return self.by_key(op, left, right);
        }
        let ids = |arm: &Derived| arm.columns.iter().map(|column| column.col.id).collect::<Vec<_>>();
        let (left_ids, right_ids) = (ids(&left), ids(&right));
        let columns: Vec<Col> = types
            .iter()
            .enumerate()
            .map(|(index, ty)| {
                let nullable = left.columns[index].col.nullable || right.columns[index].col.nullable;
                let col = self.col(*ty, nullable);
                self.note_record(&Scalar::Column(left.columns[index].col), col);
                col
            })
            .collect();
        let rel = Rel::SetOperation {
            op,
            all: all || keyed,
            left: (Box::new(left.rel), left_ids),
            right: (Box::new(right.rel), right_ids),
            columns: columns.clone(),
        };
        // UNION of values compared by a key: all rows, then one for each key.
        if keyed { self.distinct_rel(rel, &columns) } else { (rel, columns) }
    }

    /// INTERSECT and EXCEPT of values that are compared by a key.
    fn by_key(&mut self, op: SetOp, left: Derived, right: Derived) -> (Rel, Vec<Col>) {
        let cols: Vec<Col> = left.columns.iter().map(|column| column.col).collect();
        let others: Vec<Col> = right.columns.iter().map(|column| column.col).collect();
        let tests = cols
            .iter()
            .zip(&others)
            .map(|(l, r)| {
                let (l, r) = (key(Scalar::Column(*l)), key(Scalar::Column(*r)));
                Scalar::Compare(CompareOp::NotDistinct, Box::new(l), Box::new(r))
            })
            .collect();
        let inner = Rel::Filter { input: Box::new(right.rel), predicate: Scalar::And(tests) };
        let there = Scalar::Subquery(Box::new(Subquery {
            kind: SubqueryKind::Exists,
            rel: inner,
            columns: Vec::new(),
            ty: SqlType::Bool.into(),
        }));
        let predicate = if op == SetOp::Intersect { there } else { not(there) };
        let rel = Rel::Filter { input: Box::new(left.rel), predicate };
        self.distinct_rel(rel, &cols)
    }

    /// INTERSECT ALL and EXCEPT ALL: equal rows are numbered, and the number counts as a column.
    fn multiset(&mut self, op: SetOp, left: Derived, right: Derived, types: &[PgType]) -> Result<(Rel, Vec<Col>)> {
        let left = self.numbered(left)?;
        let right = self.numbered(right)?;
        let mut types = types.to_vec();
        types.push(SqlType::Int8.into());
        let keyed = types.iter().any(|ty| is_keyed(*ty));
        let (rel, mut columns) = self.plain(op, false, keyed, left, right, &types);
        columns.pop();
        Ok((rel, columns))
    }

    fn numbered(&mut self, mut arm: Derived) -> Result<Derived> {
        let function = function::by_name("row_number")
            .first()
            .copied()
            .ok_or_else(|| SqlError::unsupported("INTERSECT ALL and EXCEPT ALL"))?;
        let number = self.col(SqlType::Int8.into(), false);
        let call = WindowCall {
            function,
            args: Vec::new(),
            filter: None,
            partition_by: arm.columns.iter().map(|column| key(Scalar::Column(column.col))).collect(),
            order_by: Vec::new(),
            frame: Frame {
                units: FrameUnits::Rows,
                start: FrameBound::UnboundedPreceding,
                end: FrameBound::UnboundedFollowing,
                exclude: Exclusion::NoOthers,
                range_by: None,
            },
            ty: SqlType::Int8.into(),
        };
        arm.rel = Rel::Window { input: Box::new(arm.rel), calls: vec![(number, call)] };
        arm.columns.push(ItemColumn { name: String::new(), col: number, origin: None });
        Ok(arm)
    }
}

/// The scalar behind a column, through nodes that only pass it on.
fn definition(rel: &Rel, col: Col) -> Option<Scalar> {
    match rel {
        Rel::Extend { input, columns } => match columns.iter().find(|(made, _)| made.id == col.id) {
            Some((_, scalar)) => Some(scalar.clone()),
            None => definition(input, col),
        },
        Rel::Narrow { input, .. }
        | Rel::Filter { input, .. }
        | Rel::Sort { input, .. }
        | Rel::Limit { input, .. }
        | Rel::LockRows { input, .. } => definition(input, col),
        _ => None,
    }
}
