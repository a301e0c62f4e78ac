//! Operators: which one is meant (PostgreSQL manual 10.2), and how it is carried out.

use super::bound::{ColId, CompareOp, Each, Gather, Scalar};
use super::call::{Resolution, select};
use super::{Binder, Position, coerce, literal, walk};
use crate::function::{self, CastContext, Operator, Work};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};

const HINT: &str = "No operator matches the given name and argument types. You might need to add explicit type casts.";

/// The binary operator that these operand types mean.
pub(super) fn resolve(name: &str, left: SqlType, right: SqlType) -> Resolution<&'static Operator> {
    let candidates: Vec<&'static Operator> =
        function::operators(name).iter().copied().filter(|operator| operator.left.is_some()).collect();
    let types = |operator: &Operator| vec![operator.left.unwrap_or(SqlType::Any), operator.right];
    // With one operand unknown, first assume the other's type (manual 10.2, 2a).
    let assumed = match (left, right) {
        (SqlType::Unknown, SqlType::Unknown) => None,
        (SqlType::Unknown, known) => Some((known, known)),
        (known, SqlType::Unknown) => Some((known, known)),
        both => Some(both),
    };
    if let Some((left, right)) = assumed
        && let Some(exact) = candidates.iter().find(|o| o.left == Some(left) && o.right == right)
    {
        return Resolution::One(*exact);
    }
    select(&candidates, types, &[left, right])
}

impl Binder<'_> {
    /// `left op right`.
    pub(super) fn binary(&mut self, name: &str, left: Scalar, right: Scalar, position: Position) -> Result<Scalar> {
        let (operator, left, right) = self.operands(name, left, right, position)?;
        self.perform(operator, Some(left), right, position)
    }

    /// The operator and its operands, cast to its types.
    pub(super) fn operands(
        &mut self,
        name: &str,
        left: Scalar,
        right: Scalar,
        position: Position,
    ) -> Result<(&'static Operator, Scalar, Scalar)> {
        let (l, r) = (left.ty().ty, right.ty().ty);
        let operator = match resolve(name, l, r) {
            Resolution::One(operator) => operator,
            Resolution::None => return Err(undefined(&format!("{l} {name} {r}")).at(position)),
            Resolution::Many => return Err(ambiguous(&format!("{l} {name} {r}")).at(position)),
        };
        let wanted = [operator.left.unwrap_or(SqlType::Any), operator.right];
        let actual = super::call::actual_types(&wanted, &[l, r], operator.returns)
            .ok_or_else(|| undefined(&format!("{l} {name} {r}")).at(position))?;
        let left = self.implicit(left, actual.args[0], position)?;
        let right = self.implicit(right, actual.args[1], position)?;
        Ok((operator, left, right))
    }

    /// A prefix operator.
    pub(super) fn prefix(&mut self, name: &str, operand: Scalar, position: Position) -> Result<Scalar> {
        let given = operand.ty().ty;
        let candidates: Vec<&'static Operator> =
            function::operators(name).iter().copied().filter(|operator| operator.left.is_none()).collect();
        let operator = match select(&candidates, |operator| vec![operator.right], &[given]) {
            Resolution::One(operator) => operator,
            Resolution::None => return Err(undefined(&format!("{name} {given}")).at(position)),
            Resolution::Many => return Err(ambiguous(&format!("{name} {given}")).at(position)),
        };
        let operand = self.implicit(operand, operator.right, position)?;
        self.perform(operator, None, operand, position)
    }

    /// Carries an operator out on operands of its types.
    pub(super) fn perform(
        &mut self,
        operator: &'static Operator,
        left: Option<Scalar>,
        right: Scalar,
        position: Position,
    ) -> Result<Scalar> {
        match (&operator.work, left) {
            (Work::Function(oid), left) => {
                let function = function::by_oid(*oid)
                    .ok_or_else(|| SqlError::internal(format!("operator {} has no function", operator.name)))?;
                let mut wanted: Vec<SqlType> = operator.left.into_iter().collect();
                wanted.push(operator.right);
                let args: Vec<Scalar> = left.into_iter().chain([right]).collect();
                let given: Vec<SqlType> = args.iter().map(|arg| arg.ty().ty).collect();
                let returns = super::call::actual_types(&wanted, &given, operator.returns)
                    .map_or(operator.returns, |actual| actual.returns);
                Ok(Scalar::Call { function, args, ty: returns.into() })
            }
            (Work::Compare(op), Some(left)) => self.compare(*op, left, right, false, position),
            (Work::CompareKeys(op), Some(left)) => self.compare(*op, left, right, true, position),
            (_, None) => Err(SqlError::internal("a comparison with one operand")),
        }
    }

    /// The engine's comparison: both sides of one Arrow type, by their keys where their own order is another.
    fn compare(
        &mut self,
        op: CompareOp,
        left: Scalar,
        right: Scalar,
        keys: bool,
        position: Position,
    ) -> Result<Scalar> {
        let (left, right) = self.level_operands(left, right, position)?;
        let (left, right) = if keys { (key(left), key(right)) } else { (left, right) };
        Ok(Scalar::Compare(op, Box::new(left), Box::new(right)))
    }

    /// Two operands brought to one type. A constant is brought to the column's type when it fits, so that a key or
    /// an index on the column stays of use.
    fn level_operands(&mut self, left: Scalar, right: Scalar, position: Position) -> Result<(Scalar, Scalar)> {
        let (l, r) = (left.ty().ty, right.ty().ty);
        if l == r {
            return Ok((left, right));
        }
        if let Scalar::Const(datum, _) = &right
            && l.is_integer()
            && let Some(datum) = literal::converted(datum, l)
        {
            return Ok((left, Scalar::Const(datum, l.into())));
        }
        if let Scalar::Const(datum, _) = &left
            && r.is_integer()
            && let Some(datum) = literal::converted(datum, r)
        {
            return Ok((Scalar::Const(datum, r.into()), right));
        }
        let ty = function::comparison_type(l, r);
        Ok((self.implicit_widening(left, ty, position)?, self.implicit_widening(right, ty, position)?))
    }

    fn implicit_widening(&mut self, scalar: Scalar, ty: SqlType, position: Position) -> Result<Scalar> {
        let from = scalar.ty().ty;
        match self.coerce(scalar, ty.into(), CastContext::Assignment, position)? {
            Some(scalar) => Ok(scalar),
            None => Err(SqlError::internal(format!("{from} and {ty} cannot be compared"))),
        }
    }

    /// `left = right` of any types.
    pub(super) fn equals(&mut self, left: Scalar, right: Scalar, position: Position) -> Result<Scalar> {
        self.binary("=", left, right, position)
    }

    /// IS [NOT] DISTINCT FROM: the `=` that the types have, made two-valued.
    pub(super) fn distinct(
        &mut self,
        left: Scalar,
        right: Scalar,
        negated: bool,
        position: Position,
    ) -> Result<Scalar> {
        let (operator, left, right) = self.operands("=", left, right, position)?;
        match self.perform(operator, Some(left.clone()), right.clone(), position)? {
            Scalar::Compare(CompareOp::Eq, left, right) => {
                let op = if negated { CompareOp::NotDistinct } else { CompareOp::Distinct };
                Ok(Scalar::Compare(op, left, right))
            }
            test => {
                let both_null = Scalar::And(vec![Scalar::IsNull(Box::new(left)), Scalar::IsNull(Box::new(right))]);
                let same = Scalar::Coalesce(vec![test, both_null], SqlType::Bool.into());
                Ok(if negated { same } else { Scalar::Not(Box::new(same)) })
            }
        }
    }

    /// `x IN (a, b, …)`.
    pub(super) fn in_list(
        &mut self,
        operand: Scalar,
        items: Vec<(Scalar, Position)>,
        position: Position,
    ) -> Result<Scalar> {
        // The items that are no columns share one type with the operand if there is one (`transformAExprIn`).
        let fixed = |scalar: &Scalar| walk::columns_used(scalar).is_empty();
        let types = items.iter().map(|(item, _)| item).filter(|item| fixed(item)).map(|item| item.ty().ty);
        let shared = coerce::common(std::iter::once(operand.ty().ty).chain(types)).ok();
        let several = items.iter().filter(|(item, _)| fixed(item)).count() > 1;
        let mut tests = Vec::with_capacity(items.len());
        for (item, place) in items {
            let item = match shared {
                Some(ty) if several && fixed(&item) && ty != SqlType::Record => self.implicit(item, ty, place)?,
                _ => item,
            };
            tests.push(self.equals(operand.clone(), item, position)?);
        }
        Ok(gathered(tests))
    }

    /// `left op ANY (array)` and `left op ALL (array)`.
    pub(super) fn any_all(
        &mut self,
        name: &str,
        left: Scalar,
        array: Scalar,
        all: bool,
        position: Position,
    ) -> Result<Scalar> {
        let given = array.ty().ty;
        let element = match given.element() {
            Some(element) => element,
            None if given == SqlType::Unknown => SqlType::Unknown,
            None => {
                let message = "op ANY/ALL (array) requires array on right side";
                return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message).at(position));
            }
        };
        let operator = match resolve(name, left.ty().ty, element) {
            Resolution::One(operator) => operator,
            Resolution::None => {
                return Err(undefined(&format!("{} {name} {element}", left.ty().ty)).at(position));
            }
            Resolution::Many => {
                return Err(ambiguous(&format!("{} {name} {element}", left.ty().ty)).at(position));
            }
        };
        if operator.returns != SqlType::Bool {
            let message = "op ANY/ALL (array) requires operator to yield boolean";
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message).at(position));
        }
        let wanted = [operator.left.unwrap_or(SqlType::Any), operator.right];
        let actual = super::call::actual_types(&wanted, &[left.ty().ty, element], operator.returns)
            .ok_or_else(|| undefined(&format!("{} {name} {element}", left.ty().ty)).at(position))?;
        let left = self.implicit(left, actual.args[0], position)?;
        let array = if given == SqlType::Unknown {
            let ty = actual.args[1].array().ok_or_else(|| {
                let message = format!("could not find array type for data type {}", actual.args[1]);
                SqlError::new(SqlState::UNDEFINED_OBJECT, message).at(position)
            })?;
            self.implicit(array, ty, position)?
        } else {
            array
        };
        let element = array.ty().ty.element().unwrap_or(SqlType::Text);
        if let Scalar::Array(items, _) = &array
            && items.iter().all(|item| !item.ty().ty.is_array())
            && !items.is_empty()
        {
            return self.any_of_items((operator, actual.args[1]), left, items.clone(), all, position);
        }
        let item = self.col(element.into(), true);
        let right = self.implicit(Scalar::Column(item), actual.args[1], position)?;
        let expr = self.perform(operator, Some(left), right, position)?;
        let gather = if all { Gather::All } else { Gather::Any };
        Ok(Scalar::Each(Box::new(Each { array, item, expr, gather })))
    }

    /// ANY over `ARRAY[a, b]`: the same as comparing with each.
    fn any_of_items(
        &mut self,
        (operator, ty): (&'static Operator, SqlType),
        left: Scalar,
        items: Vec<Scalar>,
        all: bool,
        position: Position,
    ) -> Result<Scalar> {
        let mut tests = Vec::with_capacity(items.len());
        for item in items {
            let right = self.implicit(item, ty, position)?;
            tests.push(self.perform(operator, Some(left.clone()), right, position)?);
        }
        Ok(if all { Scalar::And(tests) } else { gathered(tests) })
    }
}

/// ORs; an IN list when all are equalities with one operand.
pub(super) fn gathered(mut tests: Vec<Scalar>) -> Scalar {
    if tests.len() == 1 {
        return tests.remove(0);
    }
    let first = match tests.first() {
        Some(Scalar::Compare(CompareOp::Eq, left, _)) => left.as_ref().clone(),
        _ => return Scalar::Or(tests),
    };
    let same = |test: &Scalar| matches!(test, Scalar::Compare(CompareOp::Eq, left, _) if walk::equal(left, &first));
    if !tests.iter().all(same) {
        return Scalar::Or(tests);
    }
    let items = tests.into_iter().filter_map(|test| match test {
        Scalar::Compare(_, _, right) => Some(*right),
        _ => None,
    });
    let items = items.collect();
    Scalar::InList(Box::new(first), items)
}

/// What is compared, sorted, grouped and joined in a value's place: the value, or its key.
pub(super) fn key(scalar: Scalar) -> Scalar {
    match function::sort_key(scalar.ty().ty) {
        Some(function) => {
            let ty = function.returns.into();
            Scalar::Call { function, args: vec![scalar], ty }
        }
        None => scalar,
    }
}

/// Whether values of a type are compared by a key.
pub(super) fn is_keyed(ty: PgType) -> bool {
    function::sort_key(ty.ty).is_some()
}

/// A boolean constant.
pub(super) fn constant(value: bool) -> Scalar {
    Scalar::Const(Datum::Bool(value), SqlType::Bool.into())
}

/// The column with a number in a list.
pub(super) fn is_column(scalar: &Scalar, id: ColId) -> bool {
    matches!(scalar, Scalar::Column(col) if col.id == id)
}

fn undefined(shown: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {shown}")).with_hint(HINT)
}

fn ambiguous(shown: &str) -> SqlError {
    SqlError::new(SqlState::AMBIGUOUS_FUNCTION, format!("operator is not unique: {shown}"))
        .with_hint("Could not choose a best candidate operator. You might need to add explicit type casts.")
}
