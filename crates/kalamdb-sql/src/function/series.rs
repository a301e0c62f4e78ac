//! Set-returning functions that make series (PostgreSQL manual 9.25).

use super::datetime::{plus, plus_zoned};
use super::rows::{fail, k};
use super::{Call, Function, Kind, SetRows};
use kalamdb_commons::numeric::arithmetic::Op;
use kalamdb_commons::{Datum, Interval, Numeric, Result, SqlState};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    k!(1067 "generate_series" (Int4, Int4) -> Int4 = Kind::Set(|args, _| integers(&args, |value| Datum::Int4(value as i32)))),
    k!(1066 "generate_series" (Int4, Int4, Int4) -> Int4 = Kind::Set(|args, _| integers(&args, |value| Datum::Int4(value as i32)))),
    k!(1069 "generate_series" (Int8, Int8) -> Int8 = Kind::Set(|args, _| integers(&args, Datum::Int8))),
    k!(1068 "generate_series" (Int8, Int8, Int8) -> Int8 = Kind::Set(|args, _| integers(&args, Datum::Int8))),
    k!(3260 "generate_series" (Numeric, Numeric) -> Numeric = Kind::Set(|args, _| numerics(&args))),
    k!(3259 "generate_series" (Numeric, Numeric, Numeric) -> Numeric = Kind::Set(|args, _| numerics(&args))),
    k!(938 "generate_series" (Timestamp, Timestamp, Interval) -> Timestamp = Kind::Set(|args, _| timestamps(&args))),
    k!(939 stable "generate_series" (Timestamptz, Timestamptz, Interval) -> Timestamptz = Kind::Set(|args, call| zoned(&args, call))),
];

fn no_step<T>() -> Result<T> {
    fail(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero")
}

fn integers(args: &[Datum], datum: fn(i64) -> Datum) -> Result<SetRows> {
    let step = args.get(2).map_or(Some(1), Datum::as_i64);
    let (Some(from), Some(to), Some(step)) = (args[0].as_i64(), args[1].as_i64(), step) else {
        return Ok(Box::new(std::iter::empty()));
    };
    if step == 0 {
        return no_step();
    }
    // Past the type's end the series is over, without an error.
    let next = move |value: &i64| value.checked_add(step);
    let inside = move |value: &i64| if step > 0 { *value <= to } else { *value >= to };
    Ok(Box::new(std::iter::successors(Some(from), next).take_while(inside).map(move |value| Ok(vec![datum(value)]))))
}

fn numerics(args: &[Datum]) -> Result<SetRows> {
    let one = Datum::Numeric(Numeric::from(1_i64));
    let (Datum::Numeric(from), Datum::Numeric(to), Datum::Numeric(step)) =
        (&args[0], &args[1], args.get(2).unwrap_or(&one))
    else {
        return Ok(Box::new(std::iter::empty()));
    };
    for (value, what) in [(from, "start value"), (to, "stop value"), (step, "step size")] {
        if !value.is_finite() {
            let shown = if *value == Numeric::NaN { "NaN" } else { "infinity" };
            return fail(SqlState::INVALID_PARAMETER_VALUE, format!("{what} cannot be {shown}"));
        }
    }
    if step.is_zero() {
        return no_step();
    }
    let (to, step) = (to.clone(), step.clone());
    let mut newest = Some(from.clone());
    Ok(Box::new(std::iter::from_fn(move || {
        let value = newest.take()?;
        let order = value.compare(&to);
        if if step.sign() > 0 { order.is_gt() } else { order.is_lt() } {
            return None;
        }
        newest = value.apply(Op::Add, &step).ok();
        Some(Ok(vec![Datum::Numeric(value)]))
    })))
}

/// Steps from `from` while not beyond `to`.
fn moments(
    from: i64,
    to: i64,
    step: Interval,
    datum: fn(i64) -> Datum,
    next: impl Fn(i64) -> Result<i64> + Send + 'static,
) -> Result<SetRows> {
    let month = i128::from(super::datetime::DAY_US) * 30;
    let length = i128::from(step.months) * month
        + i128::from(step.days) * i128::from(super::datetime::DAY_US)
        + i128::from(step.us);
    if length == 0 {
        return no_step();
    }
    let mut newest = Some(Ok(from));
    Ok(Box::new(std::iter::from_fn(move || {
        let value = match newest.take()? {
            Ok(value) => value,
            Err(error) => return Some(Err(error)),
        };
        if if length > 0 { value > to } else { value < to } {
            return None;
        }
        newest = Some(next(value));
        Some(Ok(vec![datum(value)]))
    })))
}

fn timestamps(args: &[Datum]) -> Result<SetRows> {
    let (Datum::Timestamp(from), Datum::Timestamp(to), Datum::Interval(step)) = (&args[0], &args[1], &args[2]) else {
        return Ok(Box::new(std::iter::empty()));
    };
    let step = *step;
    moments(*from, *to, step, Datum::Timestamp, move |value| plus(value, step))
}

fn zoned(args: &[Datum], call: &Call<'_>) -> Result<SetRows> {
    let (Datum::Timestamptz(from), Datum::Timestamptz(to), Datum::Interval(step)) = (&args[0], &args[1], &args[2])
    else {
        return Ok(Box::new(std::iter::empty()));
    };
    let (step, zone) = (*step, call.around.style().time_zone.clone());
    moments(*from, *to, step, Datum::Timestamptz, move |value| plus_zoned(value, step, &zone))
}
