//! Overload resolution (PostgreSQL manual 10.2 and 10.3), polymorphic types, and calls of functions.

use super::bound::{Scalar, SetCall};
use super::coerce::{accepts, is_polymorphic, true_element};
use super::scope::Clause;
use super::{Binder, Position, coerce, walk};
use crate::function::{self, Function, Kind};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};
use std::collections::HashSet;

/// The outcome of a search among candidates.
pub(super) enum Resolution<T> {
    /// The one that is meant.
    One(T),
    /// None fits.
    None,
    /// More than one fits equally well.
    Many,
}

/// The best of some candidates for argument types (`func_match_argtypes`, `func_select_candidate`).
pub(super) fn select<T: Copy>(candidates: &[T], types: impl Fn(T) -> Vec<SqlType>, given: &[SqlType]) -> Resolution<T> {
    let candidates: Vec<(T, Vec<SqlType>)> = candidates.iter().map(|c| (*c, types(*c))).collect();
    let exact = |wanted: &[SqlType]| wanted.iter().zip(given).all(|(wanted, given)| wanted == given);
    if let Some((one, _)) = candidates.iter().find(|(_, wanted)| wanted.len() == given.len() && exact(wanted)) {
        return Resolution::One(*one);
    }
    let mut fits: Vec<(T, Vec<SqlType>)> = candidates
        .into_iter()
        .filter(|(_, wanted)| wanted.len() == given.len() && accepts_all(wanted, given))
        .collect();
    let known: Vec<bool> = given.iter().map(|ty| *ty != SqlType::Unknown).collect();
    let keep_best = |fits: &mut Vec<(T, Vec<SqlType>)>, score: &dyn Fn(usize, SqlType) -> bool| {
        let count = |wanted: &[SqlType]| {
            wanted.iter().enumerate().filter(|(index, ty)| known[*index] && score(*index, **ty)).count()
        };
        let best = fits.iter().map(|(_, wanted)| count(wanted)).max().unwrap_or(0);
        fits.retain(|(_, wanted)| count(wanted) == best);
    };
    if fits.len() > 1 {
        keep_best(&mut fits, &|index, ty| ty == given[index]);
    }
    if fits.len() > 1 {
        keep_best(&mut fits, &|index, ty| {
            ty == given[index] || (ty.facts().preferred && ty.facts().category == given[index].facts().category)
        });
    }
    if fits.len() > 1 && known.contains(&false) {
        fits = by_category(fits, &known, given);
    }
    match fits.as_slice() {
        [] => Resolution::None,
        [(one, _)] => Resolution::One(*one),
        _ => Resolution::Many,
    }
}

/// Whether a candidate can be called with these types, polymorphic ones agreeing with each other.
fn accepts_all(wanted: &[SqlType], given: &[SqlType]) -> bool {
    wanted.iter().zip(given).all(|(wanted, given)| accepts(*wanted, *given))
        && actual_types(wanted, given, SqlType::Void).is_some()
}

/// The rules for unknown arguments: their category, preferring strings; then the known arguments' one type.
fn by_category<T: Copy>(mut fits: Vec<(T, Vec<SqlType>)>, known: &[bool], given: &[SqlType]) -> Vec<(T, Vec<SqlType>)> {
    let unknown: Vec<usize> = (0..known.len()).filter(|index| !known[*index]).collect();
    let category = |ty: SqlType| ty.facts().category;
    let mut chosen: Vec<(usize, char, bool)> = Vec::new();
    let mut resolved = true;
    for index in &unknown {
        let types: Vec<SqlType> = fits.iter().map(|(_, wanted)| wanted[*index]).collect();
        let slot = if types.iter().any(|ty| category(*ty) == 'S') {
            'S'
        } else if types.iter().all(|ty| category(*ty) == category(types[0])) {
            category(types[0])
        } else {
            resolved = false;
            break;
        };
        let preferred = types.iter().any(|ty| category(*ty) == slot && ty.facts().preferred);
        chosen.push((*index, slot, preferred));
    }
    if resolved {
        let narrowed: Vec<_> = fits
            .iter()
            .filter(|(_, wanted)| {
                chosen.iter().all(|(index, slot, preferred)| {
                    category(wanted[*index]) == *slot && (!preferred || wanted[*index].facts().preferred)
                })
            })
            .cloned()
            .collect();
        if !narrowed.is_empty() {
            fits = narrowed;
        }
    }
    if fits.len() > 1 {
        let mut types = given.iter().filter(|ty| **ty != SqlType::Unknown);
        if let Some(first) = types.next()
            && types.all(|ty| ty == first)
        {
            let assumed = vec![*first; given.len()];
            let fitting = |(_, wanted): &&(T, Vec<SqlType>)| accepts_all(wanted, &assumed);
            let narrowed: Vec<_> = fits.iter().filter(fitting).cloned().collect();
            if narrowed.len() == 1 {
                fits = narrowed;
            }
        }
    }
    fits
}

/// The types of a call after polymorphic ones are settled.
pub(super) struct Actual {
    pub(super) args: Vec<SqlType>,
    pub(super) returns: SqlType,
}

/// Settles anyelement, anyarray and kin (`enforce_generic_type_consistency`); `None` when they contradict.
pub(super) fn actual_types(wanted: &[SqlType], given: &[SqlType], returns: SqlType) -> Option<Actual> {
    if !wanted.iter().copied().any(is_polymorphic) {
        return Some(Actual { args: wanted.to_vec(), returns });
    }
    let element = element_type(wanted, given)?;
    let compatible = compatible_type(wanted, given)?;
    let settle = |ty: SqlType| match ty {
        SqlType::Anyelement | SqlType::Anynonarray | SqlType::Anyenum => Some(element),
        SqlType::Anyarray => element.array(),
        SqlType::Anycompatible => Some(compatible),
        SqlType::Anycompatiblearray => compatible.array(),
        other => Some(other),
    };
    let args = wanted.iter().zip(given).map(|(wanted, given)| match wanted {
        // A vector type may stand for an array of its elements.
        SqlType::Anyarray if given.is_array() && true_element(*given).is_none() => Some(*given),
        wanted => settle(*wanted),
    });
    Some(Actual { args: args.collect::<Option<_>>()?, returns: settle(returns)? })
}

fn element_type(wanted: &[SqlType], given: &[SqlType]) -> Option<SqlType> {
    let mut element: Option<SqlType> = None;
    for (wanted, given) in wanted.iter().zip(given) {
        let this = match wanted {
            SqlType::Anyelement | SqlType::Anynonarray | SqlType::Anyenum => *given,
            SqlType::Anyarray if *given == SqlType::Unknown => SqlType::Unknown,
            SqlType::Anyarray => given.element()?,
            _ => continue,
        };
        if this == SqlType::Unknown {
            continue;
        }
        if element.is_some_and(|before| before != this) {
            return None;
        }
        element = Some(this);
    }
    // Without a known enum there is no type that anyenum could stand for.
    if element.is_none() && wanted.contains(&SqlType::Anyenum) {
        return None;
    }
    Some(element.unwrap_or(SqlType::Text))
}

/// Whether nothing says what anyelement or anyarray is.
fn is_undetermined(wanted: &[SqlType], given: &[SqlType]) -> bool {
    let mut polymorphic = wanted
        .iter()
        .zip(given)
        .filter(|(wanted, _)| matches!(wanted, SqlType::Anyelement | SqlType::Anynonarray | SqlType::Anyarray))
        .peekable();
    polymorphic.peek().is_some() && polymorphic.all(|(_, given)| *given == SqlType::Unknown)
}

fn compatible_type(wanted: &[SqlType], given: &[SqlType]) -> Option<SqlType> {
    let types = wanted.iter().zip(given).filter_map(|(wanted, given)| match wanted {
        SqlType::Anycompatible => Some(*given),
        SqlType::Anycompatiblearray => Some(given.element().unwrap_or(*given)),
        _ => None,
    });
    coerce::common(types).ok()
}

/// The argument types of a function for a call with `count` arguments: defaults left out, VARIADIC repeated.
fn types_for(function: &Function, count: usize) -> Option<Vec<SqlType>> {
    let declared = function.args.len();
    if function.variadic && declared > 0 {
        let last = function.args[declared - 1];
        let fixed = declared - 1;
        if count < declared {
            return None;
        }
        let mut types = function.args[..fixed].to_vec();
        types.resize(count, last);
        return Some(types);
    }
    (declared - function.defaults.min(declared)..=declared).contains(&count).then(|| function.args[..count].to_vec())
}

/// What stands for an argument that was left out, as `pg_proc.dat` says.
fn default_argument(function: &Function, ty: SqlType) -> Scalar {
    let datum = match ty {
        SqlType::Bool => Datum::Bool(matches!(function.name, "jsonb_set" | "jsonb_set_lax" | "parse_ident")),
        SqlType::Jsonb => Datum::text("{}"),
        SqlType::Int4 => Datum::Int4(0),
        SqlType::Int8 => Datum::Int8(0),
        SqlType::Float8 => Datum::Float8(0.0),
        SqlType::Text if function.name == "jsonb_set_lax" => Datum::text("use_json_null"),
        SqlType::Text => Datum::text("NFC"),
        _ => Datum::Null,
    };
    Scalar::Const(datum, ty.into())
}

/// A resolved function with its arguments, cast.
pub(super) struct Chosen {
    pub(super) function: &'static Function,
    pub(super) args: Vec<Scalar>,
    pub(super) returns: PgType,
}

impl Binder<'_> {
    /// The function that a name and arguments mean, arguments cast to its types.
    pub(super) fn resolve_call(
        &mut self,
        name: &str,
        args: Vec<(Scalar, Position)>,
        position: Position,
    ) -> Result<Chosen> {
        self.resolve_among(name, args, &|_| true, position)
    }

    /// As [`Binder::resolve_call`], among the functions of one kind.
    pub(super) fn resolve_among(
        &mut self,
        name: &str,
        args: Vec<(Scalar, Position)>,
        fits: &dyn Fn(&Function) -> bool,
        position: Position,
    ) -> Result<Chosen> {
        let given: Vec<SqlType> = args.iter().map(|(arg, _)| arg.ty().ty).collect();
        let candidates: Vec<&'static Function> = function::by_name(name)
            .iter()
            .copied()
            .filter(|function| fits(function) && types_for(function, given.len()).is_some())
            .collect();
        // An exact match without defaults or repetition wins over one with them.
        let plain: Vec<&'static Function> =
            candidates.iter().copied().filter(|f| !f.variadic && f.args.len() == given.len()).collect();
        let types = |function: &'static Function| types_for(function, given.len()).unwrap_or_default();
        let resolution = match select(&plain, types, &given) {
            Resolution::None => select(&candidates, types, &given),
            found => found,
        };
        let function = match resolution {
            Resolution::One(function) => function,
            Resolution::Many => return Err(not_unique(name, &given).at(position)),
            Resolution::None => return Err(undefined(name, &given).at(position)),
        };
        let wanted = types(function);
        if is_undetermined(&wanted, &given) {
            let message = "could not determine polymorphic type because input has type unknown";
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
        }
        let actual =
            actual_types(&wanted, &given, function.returns).ok_or_else(|| undefined(name, &given).at(position))?;
        let mut cast = Vec::with_capacity(args.len());
        for ((arg, place), ty) in args.into_iter().zip(&actual.args) {
            cast.push(self.implicit(arg, *ty, place)?);
        }
        if !function.variadic {
            cast.extend(function.args.iter().skip(cast.len()).map(|ty| default_argument(function, *ty)));
        }
        Ok(Chosen { function, args: cast, returns: actual.returns.into() })
    }

    /// A call by name of a function that is known to be scalar (special syntax).
    pub(super) fn call(&mut self, name: &str, args: Vec<(Scalar, Position)>, position: Position) -> Result<Scalar> {
        let chosen = self.resolve_call(name, args, position)?;
        self.scalar_call(chosen, position)
    }

    /// A scalar, session or set function as an expression.
    pub(super) fn scalar_call(&mut self, chosen: Chosen, position: Position) -> Result<Scalar> {
        let Chosen { function, args, returns } = chosen;
        match function.kind {
            Kind::Scalar(_) => Ok(Scalar::Call { function, args, ty: returns }),
            Kind::Session(value) => Ok(Scalar::Session(value, returns)),
            Kind::Set(_) => {
                let columns = self.set_call(function, args, returns, position)?;
                Ok(Scalar::Column(columns[0]))
            }
            Kind::Aggregate(_) => Err(SqlError::internal("an aggregate where none was looked for")),
            Kind::Window(_) => {
                let message = format!("window function {} requires an OVER clause", function.name);
                Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message).at(position))
            }
        }
    }

    /// A set-returning function among expressions: its columns, made by a `ProjectSet` below them.
    pub(super) fn set_call(
        &mut self,
        function: &'static Function,
        args: Vec<Scalar>,
        returns: PgType,
        position: Position,
    ) -> Result<Vec<super::bound::Col>> {
        let clause = self.level().clause;
        if !clause.allows_sets() {
            let message = match clause {
                Clause::AggregateArgument => "aggregate function calls cannot contain set-returning function calls",
                Clause::WindowArgument => "window function calls cannot contain set-returning function calls",
                _ => "",
            };
            let message = match message {
                "" => format!("set-returning functions are not allowed in {}", clause.name()),
                message => message.to_owned(),
            };
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(position));
        }
        let columns = self.set_columns(function, &args, returns);
        let cols: Vec<_> = columns.iter().map(|(_, col)| *col).collect();
        self.level().sets.push((cols.clone(), SetCall { function, args }));
        Ok(cols)
    }

    /// New columns for a set-returning function's result.
    pub(super) fn set_columns(
        &mut self,
        function: &'static Function,
        args: &[Scalar],
        returns: PgType,
    ) -> Vec<(String, super::bound::Col)> {
        if function.columns.is_empty() {
            // The name of the OUT parameter where PostgreSQL's function has one.
            let name = if function.name.contains("_array_elements") { "value" } else { function.name };
            return vec![(name.to_owned(), self.col(returns, true))];
        }
        let given: Vec<SqlType> = args.iter().map(|arg| arg.ty().ty).collect();
        let wanted = types_for(function, given.len()).unwrap_or_default();
        let element = element_type(&wanted, &given).unwrap_or(SqlType::Text);
        let settle = |ty: SqlType| match ty {
            SqlType::Anyelement | SqlType::Anynonarray => element,
            SqlType::Anyarray => element.array().unwrap_or(SqlType::TextArray),
            other => other,
        };
        function.columns.iter().map(|(name, ty)| ((*name).to_owned(), self.col(settle(*ty).into(), true))).collect()
    }
}

/// The set calls that make these columns, or what those read, and the others.
pub(super) fn below(
    sets: Vec<(Vec<super::bound::Col>, SetCall)>,
    wanted: &[super::bound::ColId],
) -> (Vec<(Vec<super::bound::Col>, SetCall)>, Vec<(Vec<super::bound::Col>, SetCall)>) {
    let mut wanted: HashSet<_> = wanted.iter().copied().collect();
    loop {
        let before = wanted.len();
        for (cols, call) in &sets {
            if cols.iter().any(|col| wanted.contains(&col.id)) {
                wanted.extend(call.args.iter().flat_map(walk::columns_used).map(|col| col.id));
            }
        }
        if wanted.len() == before {
            break;
        }
    }
    sets.into_iter().partition(|(cols, _)| cols.iter().any(|col| wanted.contains(&col.id)))
}

/// Set calls in the order of their dependencies: each stage reads only the ones before.
pub(super) fn stages(sets: Vec<(Vec<super::bound::Col>, SetCall)>) -> Vec<Vec<(Vec<super::bound::Col>, SetCall)>> {
    let mut waiting = sets;
    let mut stages = Vec::new();
    while !waiting.is_empty() {
        let made: HashSet<_> = waiting.iter().flat_map(|(cols, _)| cols.iter().map(|col| col.id)).collect();
        let (later, now): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, call)| walk::reads_any(call, &made));
        if now.is_empty() {
            // No call reads its own columns, so this cannot be; still, nothing may be lost.
            stages.push(later);
            break;
        }
        stages.push(now);
        waiting = later;
    }
    stages
}

pub(super) fn shown(name: &str, given: &[SqlType]) -> String {
    let types: Vec<String> = given.iter().map(ToString::to_string).collect();
    format!("{name}({})", types.join(", "))
}

pub(super) fn undefined(name: &str, given: &[SqlType]) -> SqlError {
    let message = format!("function {} does not exist", shown(name, given));
    SqlError::new(SqlState::UNDEFINED_FUNCTION, message)
        .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

fn not_unique(name: &str, given: &[SqlType]) -> SqlError {
    let message = format!("function {} is not unique", shown(name, given));
    SqlError::new(SqlState::AMBIGUOUS_FUNCTION, message)
        .with_hint("Could not choose a best candidate function. You might need to add explicit type casts.")
}
