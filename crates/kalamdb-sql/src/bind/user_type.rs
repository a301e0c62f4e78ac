//! Types that users made, where a type's name stands.

use super::bound::{Col, ColId, Each, Gather, Scalar};
use super::deparse::Printer;
use super::scope::{Clause, Item, ItemColumn, Level, Visible};
use super::{Binder, Names, walk};
use crate::function::{self, DOMAIN_VIOLATION, DomainFacts, UserType};
use crate::parse;
use kalamdb_commons::{Datum, Oid, PgType, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{DataType, Expr};
use std::rc::Rc;

/// What a type's name means.
pub(super) struct Meant {
    /// The type of the values.
    pub ty: PgType,
    /// The domain that they have to satisfy.
    pub domain: Option<Oid>,
}

impl Binder<'_> {
    /// What a written type means: PostgreSQL's own names come first.
    pub(super) fn type_meant(&self, written: &DataType) -> Result<Meant> {
        let error = match parse::type_of(written) {
            Ok(ty) => return Ok(Meant { ty, domain: None }),
            Err(error) => error,
        };
        let Some((parts, is_array)) = parse::user_type_name(written) else { return Err(error) };
        let Some(found) = self.names.user_type(&parts) else { return Err(error) };
        meant(&found, is_array)
    }
}

impl Binder<'_> {
    /// A value that has to satisfy a domain, judged: it is made once, whatever the conditions ask of it.
    pub(super) fn within_domain(&mut self, scalar: Scalar, domain: Option<Oid>) -> Result<Scalar> {
        let Some(oid) = domain else { return Ok(scalar) };
        let Some(facts) = self.names.catalog().domain(oid) else { return Ok(scalar) };
        if !facts.not_null && facts.checks.is_empty() {
            return Ok(scalar);
        }
        if matches!(scalar, Scalar::Const(..) | Scalar::Column(_)) {
            return self.judged(scalar, oid, &facts);
        }
        let ty = scalar.ty();
        let Some(array) = ty.ty.array() else {
            return Err(SqlError::unsupported(format!("such a value of a domain over {ty}")));
        };
        let array = PgType { ty: array, typmod: ty.typmod };
        let item = self.col(ty, true);
        let expr = self.judged(Scalar::Column(item), oid, &facts)?;
        let each = Each { array: Scalar::Array(vec![scalar], array), item, expr, gather: Gather::Array(array) };
        let first = Scalar::Const(Datum::Int4(1), SqlType::Int4.into());
        Ok(Scalar::Subscript(Box::new(Scalar::Each(Box::new(each))), vec![first], ty))
    }

    /// The value, or the error of the first condition that it does not satisfy.
    fn judged(&mut self, value: Scalar, oid: Oid, facts: &DomainFacts) -> Result<Scalar> {
        let ty = value.ty();
        let function = function::by_oid(DOMAIN_VIOLATION)
            .ok_or_else(|| SqlError::internal("the function of domains is not in the table"))?;
        let violation = |constraint: &str| Scalar::Call {
            function,
            args: vec![
                Scalar::Const(Datum::Oid(oid), SqlType::Oid.into()),
                Scalar::Const(Datum::text(constraint), SqlType::Text.into()),
            ],
            ty,
        };
        let mut branches = Vec::new();
        if facts.not_null {
            branches.push((Scalar::IsNull(Box::new(value.clone())), violation("")));
        }
        for (name, text) in &facts.checks {
            // Only what is false is refused.
            let condition = self.domain_condition(text, &value)?;
            branches.push((Scalar::Not(Box::new(condition)), violation(name)));
        }
        Ok(Scalar::Case { branches, otherwise: Some(Box::new(value)), ty })
    }

    /// A domain's condition over a value.
    fn domain_condition(&mut self, text: &str, value: &Scalar) -> Result<Scalar> {
        let expr = parse::expression(text)?;
        let col = self.col(value.ty(), true);
        // It sees none of the statement around, and its places are in a text of its own.
        let levels = std::mem::replace(&mut self.levels, vec![Level::new(Clause::Check)]);
        let own = std::mem::take(&mut self.text);
        let condition = self.over_value(&expr, col);
        self.levels = levels;
        self.text = own;
        Ok(walk::replace(&condition?, col.id, value))
    }

    fn over_value(&mut self, expr: &Expr, col: Col) -> Result<Scalar> {
        let column = ItemColumn { name: "value".to_owned(), col, origin: None };
        let item = Item { columns: vec![column], ..Item::default() };
        self.enter(vec![Visible { item: Rc::new(item), columns: true, relation: false }]);
        let scalar = self.expr(expr)?;
        if walk::has_subquery(&scalar) {
            let message = "cannot use subquery in check constraint";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        self.boolean(scalar, "CHECK", None)
    }
}

/// A domain's condition over a value of its base type: the value's column, and the condition.
///
/// # Errors
/// PostgreSQL's: 42703, 42804, 0A000 for subqueries and sets.
pub fn bind_domain_check(text: &str, base: PgType, names: &dyn Names) -> Result<(Col, Scalar)> {
    let expr = parse::expression(text)?;
    let mut binder = Binder::new("", &[], names);
    let col = binder.col(base, true);
    binder.levels.push(Level::new(Clause::Check));
    let condition = binder.over_value(&expr, col).map_err(|error| super::named(error, names))?;
    binder.no_parameters()?;
    Ok((col, condition))
}

/// A value as far as a domain takes it: 23502 or 23514 comes out of the rest when it is computed.
///
/// # Errors
/// Those of the domain's conditions.
pub fn judged(value: Scalar, domain: Oid, names: &dyn Names) -> Result<Scalar> {
    Binder::new("", &[], names).within_domain(value, Some(domain))
}

/// The same as PostgreSQL prints it.
///
/// # Errors
/// As [`bind_domain_check`]; 0A000 for what cannot be written down.
pub fn canonical_domain_check(text: &str, base: PgType, names: &dyn Names) -> Result<String> {
    let expr = parse::expression(text)?;
    let mut binder = Binder::new("", &[], names);
    let col = binder.col(base, true);
    binder.levels.push(Level::new(Clause::Check));
    binder.over_value(&expr, col)?;
    let called = |id: ColId| (id == col.id).then(|| "value".to_owned());
    Printer { by_oid: true, ..Printer::new(&mut binder, &called) }.print(&expr, Some(SqlType::Bool))
}

/// What a user's type, or the array over it, means.
pub(super) fn meant(found: &UserType, is_array: bool) -> Result<Meant> {
    match (is_array, found.is_domain) {
        (false, is_domain) => Ok(Meant { ty: found.ty, domain: is_domain.then_some(found.oid) }),
        (true, true) => Err(SqlError::unsupported("an array of a domain")),
        (true, false) => match found.ty.ty.array() {
            Some(ty) => Ok(Meant { ty: ty.into(), domain: None }),
            None => Err(SqlError::internal("a type without an array")),
        },
    }
}
