//! Parameters. An undeclared `$n` takes the type of the first place that asks for one, as an unknown literal would.

use super::bound::{BoundKind, OnConflict, Rel, Returning, Scalar};
use super::{Binder, Position, walk};
use kalamdb_commons::{PgType, Result, SqlError, SqlState, SqlType};

/// PostgreSQL's limit: the protocol counts them in 16 bits.
const NUMBER_MAX: usize = 65_535;

/// The types of a statement's parameters, as far as they are known.
#[derive(Debug)]
pub(super) struct Params {
    types: Vec<Option<SqlType>>,
    /// Where each was first used.
    places: Vec<Position>,
}

/// 42P02: there is no such parameter here.
pub(super) fn absent(number: usize) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter ${number}"))
}

fn indeterminate(state: SqlState, number: usize) -> SqlError {
    SqlError::new(state, format!("could not determine data type of parameter ${number}"))
}

impl Params {
    pub(super) fn new(declared: &[Option<SqlType>]) -> Self {
        let types: Vec<_> = declared.iter().map(|ty| ty.filter(|ty| !matches!(ty, SqlType::Unknown))).collect();
        Params { places: vec![None; types.len()], types }
    }

    pub(super) fn first(&self) -> Option<usize> {
        (!self.types.is_empty()).then_some(1)
    }

    /// All types, once the whole statement was seen.
    pub(super) fn finish(&self) -> Result<Vec<PgType>> {
        self.types
            .iter()
            .enumerate()
            .map(|(index, ty)| {
                let place = self.places[index];
                ty.map(PgType::new).ok_or_else(|| indeterminate(SqlState::INDETERMINATE_DATATYPE, index + 1).at(place))
            })
            .collect()
    }

    /// A use whose type stayed open beside one whose type is known: PostgreSQL does not go back either.
    pub(super) fn check_tree(&self, kind: &BoundKind) -> Result<()> {
        let mut open = None;
        for_each_scalar(kind, &mut |scalar| {
            if let Scalar::Param(number, ty) = scalar
                && ty.ty == SqlType::Unknown
                && self.types.get(number - 1).copied().flatten().is_some()
            {
                open = open.or(Some(*number));
            }
        });
        match open {
            Some(number) => Err(indeterminate(SqlState::AMBIGUOUS_PARAMETER, number).at(self.places[number - 1])),
            None => Ok(()),
        }
    }
}

fn for_each_scalar(kind: &BoundKind, f: &mut dyn FnMut(&Scalar)) {
    let mut deep_rel = |rel: &Rel| walk::deep_rel(rel, &mut |scalar| f(scalar));
    match kind {
        BoundKind::Query(rel) => deep_rel(rel),
        BoundKind::Insert(insert) => deep_rel(&insert.source),
        BoundKind::Update(update) => deep_rel(&update.source),
        BoundKind::Delete(delete) => deep_rel(&delete.source),
    }
    let mut deep = |scalar: &Scalar| walk::deep(scalar, &mut |scalar| f(scalar));
    let mut returned = |returning: &Option<Returning>| {
        returning.iter().flat_map(|returning| &returning.exprs).for_each(|(_, scalar)| deep(scalar));
    };
    match kind {
        BoundKind::Query(_) => {}
        BoundKind::Insert(insert) => {
            returned(&insert.returning);
            if let Some(OnConflict::DoUpdate { set, condition, .. }) = &insert.on_conflict {
                set.iter().map(|(_, scalar)| scalar).chain(condition).for_each(|scalar| {
                    walk::deep(scalar, &mut |scalar| f(scalar));
                });
            }
        }
        BoundKind::Update(update) => {
            returned(&update.returning);
            update.set.iter().for_each(|(_, scalar)| walk::deep(scalar, &mut |scalar| f(scalar)));
        }
        BoundKind::Delete(delete) => returned(&delete.returning),
    }
}

impl Binder<'_> {
    /// `$n` as written.
    pub(super) fn parameter(&mut self, text: &str, position: Position) -> Result<Scalar> {
        let number = text
            .strip_prefix('$')
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|number| (1..=NUMBER_MAX).contains(number))
            .ok_or_else(|| {
                SqlError::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter {text}")).at(position)
            })?;
        if self.params.types.len() < number {
            self.params.types.resize(number, None);
            self.params.places.resize(number, None);
        }
        let place = &mut self.params.places[number - 1];
        *place = place.or(position);
        let ty = self.params.types[number - 1].unwrap_or(SqlType::Unknown);
        Ok(Scalar::Param(number, ty.into()))
    }

    /// An untyped `$n` meets a place that wants `ty`.
    pub(super) fn settle_parameter(&mut self, number: usize, ty: SqlType, position: Position) -> Result<()> {
        let known = &mut self.params.types[number - 1];
        match known {
            None => {
                *known = Some(ty);
                Ok(())
            }
            Some(before) if *before == ty => Ok(()),
            Some(before) => {
                let message = format!("inconsistent types deduced for parameter ${number}");
                let detail = format!("{before} versus {ty}");
                Err(SqlError::new(SqlState::AMBIGUOUS_PARAMETER, message).with_detail(detail).at(position))
            }
        }
    }
}
