//! Casts: which exist, when they come unasked, and the one type that several expressions share.
//!
//! PostgreSQL manual, chapter 10; `find_coercion_pathway` and `select_common_type` are the rules' names there.

use super::bound::{Each, Gather, Scalar};
use super::{Binder, Position, literal};
use crate::function::{self, CastContext, CastMethod, Function};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};

/// How one type becomes another.
#[derive(Debug, Clone)]
pub(super) enum Path {
    Same,
    Relabel,
    Function(&'static Function),
    ThroughText,
    /// Item by item.
    Items(Box<Path>),
}

/// The cast from one type to another, if there is one in this context.
pub(super) fn path(from: SqlType, to: SqlType, context: CastContext) -> Option<Path> {
    if from == to {
        return Some(Path::Same);
    }
    if let Some(cast) = function::cast(from, to) {
        return (cast.context <= context).then(|| match cast.method {
            CastMethod::Relabel => Path::Relabel,
            CastMethod::ThroughText => Path::ThroughText,
            CastMethod::Function(oid) => function::by_oid(oid).map_or(Path::ThroughText, Path::Function),
        });
    }
    // A vector type becomes an array of its elements, and nothing becomes a vector unasked.
    if let (Some(from), Some(to)) = (from.element(), true_element(to)) {
        return path(from, to, context).map(|path| match path {
            Path::Same => Path::Relabel,
            Path::ThroughText => Path::ThroughText,
            other => Path::Items(Box::new(other)),
        });
    }
    let to_string = context >= CastContext::Assignment && to.facts().category == 'S';
    let from_string = context >= CastContext::Explicit && from.facts().category == 'S';
    (to_string || from_string).then_some(Path::ThroughText)
}

/// The element of a real array type (the two vector types are not).
pub(super) fn true_element(ty: SqlType) -> Option<SqlType> {
    ty.element().filter(|_| ty.facts().name.starts_with('_'))
}

/// A pseudo-type that stands for several.
pub(super) fn is_polymorphic(ty: SqlType) -> bool {
    matches!(
        ty,
        SqlType::Anyelement
            | SqlType::Anyarray
            | SqlType::Anynonarray
            | SqlType::Anyenum
            | SqlType::Anycompatible
            | SqlType::Anycompatiblearray
    )
}

/// Whether an argument of one type can be given where another is wanted (`can_coerce_type`, implicitly).
pub(super) fn accepts(wanted: SqlType, given: SqlType) -> bool {
    match wanted {
        _ if wanted == given => true,
        SqlType::Any | SqlType::Anyelement | SqlType::Anycompatible => true,
        _ if given == SqlType::Unknown => true,
        SqlType::Anyarray | SqlType::Anycompatiblearray => given.is_array(),
        SqlType::Anynonarray => !given.is_array(),
        SqlType::Anyenum => matches!(given, SqlType::Enum(_)),
        _ => path(given, wanted, CastContext::Implicit).is_some(),
    }
}

/// One type for several (`select_common_type`); the two that do not fit otherwise.
pub(super) fn common(types: impl Iterator<Item = SqlType>) -> Result<SqlType, (SqlType, SqlType)> {
    let mut chosen = SqlType::Unknown;
    for ty in types.filter(|ty| *ty != SqlType::Unknown) {
        if chosen == SqlType::Unknown {
            chosen = ty;
        } else if ty != chosen {
            if ty.facts().category != chosen.facts().category {
                return Err((chosen, ty));
            }
            if !chosen.facts().preferred && accepts(ty, chosen) && !accepts(chosen, ty) {
                chosen = ty;
            }
        }
    }
    Ok(if chosen == SqlType::Unknown { SqlType::Text } else { chosen })
}

impl Binder<'_> {
    /// The expression as `to`, modifier applied; `None` when there is no such cast.
    pub(super) fn coerce(
        &mut self,
        scalar: Scalar,
        to: PgType,
        context: CastContext,
        position: Position,
    ) -> Result<Option<Scalar>> {
        let explicit = context == CastContext::Explicit;
        // What a bare number counts depends on the fields: the input function must know them.
        if let Scalar::Const(Datum::Text(text), PgType { ty: SqlType::Unknown, .. }) = &scalar
            && to.ty == SqlType::Interval
        {
            return self.typed_literal(text, to, position).map(Some);
        }
        let Some(scalar) = self.convert(scalar, to.ty, context, position)? else { return Ok(None) };
        self.fit(scalar, to, explicit).map(Some).map_err(SqlError::without_place)
    }

    /// As [`Binder::coerce`], for an assignment to a column.
    pub(super) fn assign(&mut self, scalar: Scalar, to: PgType, position: Position) -> Result<Option<Scalar>> {
        self.coerce(scalar, to, CastContext::Assignment, position)
    }

    /// As [`Binder::coerce`], implicitly, where resolution has found already that it can be done.
    pub(super) fn implicit(&mut self, scalar: Scalar, to: SqlType, position: Position) -> Result<Scalar> {
        let from = scalar.ty().ty;
        match self.convert(scalar, to, CastContext::Implicit, position)? {
            Some(scalar) => Ok(scalar),
            None => Err(cannot_cast(from, to).at(position)),
        }
    }

    /// A cast as written.
    pub(super) fn cast(&mut self, scalar: Scalar, to: PgType, position: Position) -> Result<Scalar> {
        let from = scalar.ty().ty;
        match self.coerce(scalar, to, CastContext::Explicit, position)? {
            // `x::varchar` of a varchar(20) has no length.
            Some(scalar) if scalar.ty().ty == to.ty && scalar.ty() != to => Ok(Scalar::Relabel(Box::new(scalar), to)),
            Some(scalar) => Ok(scalar),
            None => Err(cannot_cast(from, to.ty).at(position)),
        }
    }

    /// The type alone, without a modifier.
    fn convert(
        &mut self,
        scalar: Scalar,
        to: SqlType,
        context: CastContext,
        position: Position,
    ) -> Result<Option<Scalar>> {
        if matches!(to, SqlType::Any) || scalar.ty().ty == to {
            return Ok(Some(scalar));
        }
        // The server's own structures: not even NULL is one.
        if to == SqlType::Internal {
            return Ok(None);
        }
        match scalar {
            Scalar::Const(Datum::Null, PgType { ty: SqlType::Unknown, .. }) => {
                return Ok(Some(Scalar::Const(Datum::Null, to.into())));
            }
            Scalar::Const(Datum::Text(text), PgType { ty: SqlType::Unknown, .. }) => {
                return self.typed_literal(&text, to.into(), position).map(Some);
            }
            Scalar::Param(number, PgType { ty: SqlType::Unknown, .. }) => {
                self.settle_parameter(number, to, position)?;
                return Ok(Some(Scalar::Param(number, to.into())));
            }
            _ => {}
        }
        let from = scalar.ty().ty;
        if from == SqlType::Unknown {
            return Ok(Some(Scalar::ThroughText(Box::new(scalar), to.into())));
        }
        let Some(path) = path(from, to, context) else { return Ok(None) };
        Ok(Some(self.follow(scalar, &path, to)))
    }

    fn follow(&mut self, scalar: Scalar, path: &Path, to: SqlType) -> Scalar {
        if let Scalar::Const(datum, from) = &scalar
            && !matches!(from.ty, SqlType::Bpchar | SqlType::Char)
            && let Some(datum) = literal::converted(datum, to)
        {
            return Scalar::Const(datum, to.into());
        }
        match path {
            Path::Same => scalar,
            Path::Relabel => Scalar::Relabel(Box::new(scalar), to.into()),
            Path::ThroughText => Scalar::ThroughText(Box::new(scalar), to.into()),
            // pg_cast takes smallint to the oid types by the function to integer: the same bits.
            Path::Function(function) if function.returns == SqlType::Int4 && to != SqlType::Int4 => {
                Scalar::Relabel(Box::new(call_of(function, vec![scalar], SqlType::Int4.into(), true)), to.into())
            }
            Path::Function(function) => call_of(function, vec![scalar], to.into(), true),
            Path::Items(inner) => self
                .each_item(scalar, to.into(), |binder, item, ty| Ok(binder.follow(item, inner, ty.ty)))
                .unwrap_or(Scalar::Const(Datum::Null, to.into())),
        }
    }

    /// An array whose items are converted one by one.
    pub(super) fn each_item(
        &mut self,
        array: Scalar,
        to: PgType,
        convert: impl Fn(&mut Self, Scalar, PgType) -> Result<Scalar>,
    ) -> Result<Scalar> {
        let from = array.ty().ty.element().unwrap_or(SqlType::Text);
        let element = PgType { ty: true_element(to.ty).unwrap_or(SqlType::Text), typmod: to.typmod };
        let is_flat = |items: &[Scalar]| items.iter().all(|item| true_element(item.ty().ty).is_none());
        if matches!(&array, Scalar::Array(items, _) if is_flat(items))
            && let Scalar::Array(items, _) = array
        {
            let items = items.into_iter().map(|item| convert(self, item, element)).collect::<Result<_>>()?;
            return Ok(Scalar::Array(items, to));
        }
        let item = self.col(PgType { ty: from, typmod: array.ty().typmod }, true);
        let expr = convert(self, Scalar::Column(item), element)?;
        Ok(Scalar::Each(Box::new(Each { array, item, expr, gather: Gather::Array(to) })))
    }

    /// Applies a modifier: varchar(n), numeric(p,s), timestamp(n) …
    pub(super) fn fit(&mut self, scalar: Scalar, to: PgType, explicit: bool) -> Result<Scalar> {
        if to.typmod < 0 || scalar.ty().typmod == to.typmod || scalar.ty().ty != to.ty {
            return Ok(scalar);
        }
        match &scalar {
            Scalar::Const(Datum::Null, _) => return Ok(Scalar::Const(Datum::Null, to)),
            Scalar::Const(Datum::Text(text), _) => {
                if let Some(datum) = literal::fitted_text(text, to, explicit)? {
                    return Ok(Scalar::Const(datum, to));
                }
            }
            Scalar::Const(Datum::Numeric(value), _) => {
                if let Some((precision, scale)) = to.precision_scale() {
                    return Ok(Scalar::Const(Datum::Numeric(value.with_precision(precision, scale)?), to));
                }
            }
            _ => {}
        }
        if true_element(to.ty).is_some() {
            return self.each_item(scalar, to, |binder, item, ty| binder.fit(item, ty, explicit));
        }
        match function::length_cast(to.ty, explicit) {
            Some(function) => Ok(call_of(function, vec![scalar], to, explicit)),
            None => Ok(scalar),
        }
    }

    /// Expressions brought to one type (CASE, COALESCE, ARRAY, VALUES …); `construct` names it in errors.
    pub(super) fn unify(&mut self, scalars: Vec<(Scalar, Position)>, construct: &str) -> Result<(Vec<Scalar>, PgType)> {
        let ty = match common(scalars.iter().map(|(scalar, _)| scalar.ty().ty)) {
            Ok(ty) => ty,
            Err((left, right)) => {
                let position = scalars.iter().find(|(scalar, _)| scalar.ty().ty == right).and_then(|(_, p)| *p);
                return Err(unmatched(construct, left, right).at(position));
            }
        };
        // A modifier survives when all agree on it.
        let first = scalars.first().map_or(PgType::new(ty), |(scalar, _)| scalar.ty());
        let typmod = if scalars.iter().all(|(scalar, _)| scalar.ty() == first) { first.typmod } else { -1 };
        let target = PgType { ty, typmod };
        let mut unified = Vec::with_capacity(scalars.len());
        for (scalar, position) in scalars {
            let from = scalar.ty().ty;
            match self.convert(scalar, ty, CastContext::Implicit, position)? {
                Some(scalar) => unified.push(scalar),
                None => {
                    let message = format!("{construct} could not convert type {from} to {ty}");
                    return Err(SqlError::new(SqlState::CANNOT_COERCE, message).at(position));
                }
            }
        }
        Ok((unified, target))
    }

    /// A boolean, for WHERE and its kin: `argument of WHERE must be type boolean, not type integer`.
    pub(super) fn boolean(&mut self, scalar: Scalar, construct: &str, position: Position) -> Result<Scalar> {
        self.of_type(scalar, SqlType::Bool, construct, position)
    }

    /// An argument of a construct that takes one type only, by assignment cast.
    pub(super) fn of_type(
        &mut self,
        scalar: Scalar,
        ty: SqlType,
        construct: &str,
        position: Position,
    ) -> Result<Scalar> {
        let from = scalar.ty().ty;
        match self.convert(scalar, ty, CastContext::Assignment, position)? {
            Some(scalar) => Ok(scalar),
            None => {
                let message = format!("argument of {construct} must be type {ty}, not type {from}");
                Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message).at(position))
            }
        }
    }

    /// What is left "unknown" in a select list is text.
    pub(super) fn known(&mut self, scalar: Scalar, position: Position) -> Result<Scalar> {
        if scalar.ty().ty == SqlType::Unknown { self.implicit(scalar, SqlType::Text, position) } else { Ok(scalar) }
    }
}

/// A call of a cast's function: some take the modifier and whether the cast was written.
fn call_of(function: &'static Function, mut args: Vec<Scalar>, ty: PgType, explicit: bool) -> Scalar {
    if function.args.len() >= 2 {
        args.push(Scalar::Const(Datum::Int4(ty.typmod), SqlType::Int4.into()));
    }
    if function.args.len() >= 3 {
        args.push(Scalar::Const(Datum::Bool(explicit), SqlType::Bool.into()));
    }
    Scalar::Call { function, args, ty }
}

fn cannot_cast(from: SqlType, to: SqlType) -> SqlError {
    SqlError::new(SqlState::CANNOT_COERCE, format!("cannot cast type {from} to {to}"))
}

/// 42804 of `select_common_type`.
pub(super) fn unmatched(construct: &str, left: SqlType, right: SqlType) -> SqlError {
    SqlError::new(SqlState::DATATYPE_MISMATCH, format!("{construct} types {left} and {right} cannot be matched"))
}
