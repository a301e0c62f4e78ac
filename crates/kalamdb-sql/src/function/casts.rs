//! Casts (`pg_cast`) and their functions.
//!
//! Casts between a type and the string types that are not listed here go through the text form. A cast to a type with
//! a modifier is two steps: to the type, then [`super::length_cast`].

use super::rows::{self, Text, Write as _, f, interval_native, range, x};
use super::{Call, Cast, CastContext, CastMethod, Function, datetime, json, names};
use crate::types::datetime::interval::fit as fit_interval;
use crate::types::string::{byte_char, cut_name, fit, shown_char};
use arrow_array::ArrayRef;
use kalamdb_commons::numeric::key::Small;
use kalamdb_commons::{Interval, Numeric, PgType, Result, SqlError, SqlState, SqlType};
use std::borrow::Cow;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(481 "int8" (a: Int4) -> Int8 { Ok(i64::from(a)) }),
    f!(754 "int8" (a: Int2) -> Int8 { Ok(i64::from(a)) }),
    f!(313 "int4" (a: Int2) -> Int4 { Ok(i32::from(a)) }),
    f!(480 "int4" (a: Int8) -> Int4 { i32::try_from(a).map_err(|_| range("integer")) }),
    f!(714 "int2" (a: Int8) -> Int2 { i16::try_from(a).map_err(|_| range("smallint")) }),
    f!(314 "int2" (a: Int4) -> Int2 { i16::try_from(a).map_err(|_| range("smallint")) }),
    f!(238 "int2" (a: Float4) -> Int2 { whole::<i16>(f64::from(a), "smallint") }),
    f!(237 "int2" (a: Float8) -> Int2 { whole::<i16>(a, "smallint") }),
    f!(319 "int4" (a: Float4) -> Int4 { whole::<i32>(f64::from(a), "integer") }),
    f!(317 "int4" (a: Float8) -> Int4 { whole::<i32>(a, "integer") }),
    f!(653 "int8" (a: Float4) -> Int8 { whole::<i64>(f64::from(a), "bigint") }),
    f!(483 "int8" (a: Float8) -> Int8 { whole::<i64>(a, "bigint") }),
    f!(1783 "int2" (a: Numeric) -> Int2 { a.to_i16() }),
    f!(1744 "int4" (a: Numeric) -> Int4 { a.to_i32() }),
    f!(1779 "int8" (a: Numeric) -> Int8 { a.to_i64() }),
    f!(236 "float4" (a: Int2) -> Float4 { Ok(f32::from(a)) }),
    f!(318 "float4" (a: Int4) -> Float4 { Ok(a as f32) }),
    f!(652 "float4" (a: Int8) -> Float4 { Ok(a as f32) }),
    f!(312 "float4" (a: Float8) -> Float4 { narrow(a) }),
    f!(1745 "float4" (a: Numeric) -> Float4 { a.to_f32() }),
    f!(235 "float8" (a: Int2) -> Float8 { Ok(f64::from(a)) }),
    f!(316 "float8" (a: Int4) -> Float8 { Ok(f64::from(a)) }),
    f!(482 "float8" (a: Int8) -> Float8 { Ok(a as f64) }),
    f!(311 "float8" (a: Float4) -> Float8 { Ok(f64::from(a)) }),
    f!(1746 "float8" (a: Numeric) -> Float8 { a.to_f64() }),
    f!(1782 "numeric" (a: Int2) -> Numeric { Ok(integer(a.into())) }),
    f!(1740 "numeric" (a: Int4) -> Numeric { Ok(integer(a.into())) }),
    f!(1781 "numeric" (a: Int8) -> Numeric { Ok(integer(a.into())) }),
    f!(1742 "numeric" (a: Float4) -> Numeric { Ok(Numeric::from_f32(a)) }),
    f!(1743 "numeric" (a: Float8) -> Numeric { Ok(Numeric::from_f64(a)) }),
    f!(2558 "int4" (a: Bool) -> Int4 { Ok(i32::from(a)) }),
    f!(2557 "bool" (a: Int4) -> Bool { Ok(a != 0) }),
    f!(2971 "text" (a: Bool) -> Text { Ok(if a { "true" } else { "false" }) }),
    f!(1287 "oid" (a: Int8) -> Oid { u32::try_from(a).map_err(|_| range("OID")) }),
    f!(1288 "int8" (a: Oid) -> Int8 { Ok(i64::from(a)) }),

    f!(406 "text" (a: Name) -> Text { Ok(a) }),
    f!(946 "text" (a: Char) -> Text { Ok(shown_char(a)) }),
    f!(401 "text" (a: Bpchar) -> Text { Ok(a.trim_end_matches(' ')) }),
    f!(1401 "varchar" (a: Name) -> Varchar { Ok(a) }),
    f!(408 "bpchar" (a: Name) -> Bpchar { Ok(a) }),
    f!(860 "bpchar" (a: Char) -> Bpchar { Ok(shown_char(a)) }),
    f!(407 "name" (a: Text) -> Name { Ok(cut_name(a)) }),
    f!(1400 "name" (a: Varchar) -> Name { Ok(cut_name(a)) }),
    f!(409 "name" (a: Bpchar) -> Name { Ok(cut_name(a.trim_end_matches(' '))) }),
    f!(944 "char" (a: Text) -> Char { Ok(byte_char(a)) }),
    f!(78 "char" (a: Int4) -> Char { char_of(a) }),
    f!(77 "int4" (a: Char) -> Int4 { Ok(a.chars().next().map_or(0, |c| c as u32 as u8 as i8 as i32)) }),
    f!(call; 1079 stable "regclass" (a: Text) -> Regclass { names::relation(a, call) }),

    f!(669 "varchar" (a: Varchar, n: Int4, explicit: Bool) -> Varchar { fit_to(a, SqlType::Varchar, n, explicit) }),
    f!(668 "bpchar" (a: Bpchar, n: Int4, explicit: Bool) -> Bpchar { fit_to(a, SqlType::Bpchar, n, explicit) }),
    f!(1703 "numeric" (a: Numeric, n: Int4) -> Numeric { fit_numeric(a, n) }),
    f!(1961 "timestamp" (a: Timestamp, n: Int4) -> Timestamp { datetime::round_checked(a, n) }),
    f!(1967 "timestamptz" (a: Timestamptz, n: Int4) -> Timestamptz { datetime::round_checked(a, n) }),
    f!(1968 "time" (a: Time, n: Int4) -> Time { Ok(datetime::round_us(a, n)) }),
    f!(1200 "interval" (a: Interval, n: Int4) -> Interval { interval_native(fit_interval(a, n)) }),
    x!(9010 "kalam_fit" (Varchar) -> Varchar = |args, call| fit_text(args, call, true)),
    x!(9011 "kalam_fit_assigned" (Varchar) -> Varchar = |args, call| fit_text(args, call, false)),
    x!(9012 "kalam_fit" (Bpchar) -> Bpchar = |args, call| fit_text(args, call, true)),
    x!(9013 "kalam_fit_assigned" (Bpchar) -> Bpchar = |args, call| fit_text(args, call, false)),
    f!(call; 9014 "kalam_fit" (a: Numeric) -> Numeric { fit_numeric(a, call.returns.typmod) }),
    f!(call; 9015 "kalam_fit" (a: Timestamp) -> Timestamp { Ok(datetime::round_timestamp(a, call.returns.typmod)) }),
    f!(call; 9016 "kalam_fit" (a: Timestamptz) -> Timestamptz { Ok(datetime::round_timestamp(a, call.returns.typmod)) }),
    f!(call; 9017 "kalam_fit" (a: Time) -> Time { Ok(datetime::round_us(a, call.returns.typmod)) }),
    f!(call; 9018 "kalam_fit" (a: Interval) -> Interval { interval_native(fit_interval(a, call.returns.typmod)) }),

    f!(9021 "kalam_bits" (a: Int4) -> Oid { Ok(a as u32) }),
    f!(9022 "kalam_bits" (a: Oid) -> Int4 { Ok(a as i32) }),

    f!(2024 "timestamp" (a: Date) -> Timestamp { datetime::date_to_timestamp(a) }),
    f!(call; 1174 stable "timestamptz" (a: Date) -> Timestamptz { datetime::to_utc(datetime::date_to_timestamp(a)?, call) }),
    f!(call; 2028 stable "timestamptz" (a: Timestamp) -> Timestamptz { datetime::to_utc(a, call) }),
    f!(2029 "date" (a: Timestamp) -> Date { datetime::timestamp_to_date(a) }),
    f!(1316 "time" (a: Timestamp) -> Time { Ok(datetime::time_of_day(a)) }),
    f!(call; 1178 stable "date" (a: Timestamptz) -> Date { datetime::timestamp_to_date(datetime::to_local(a, call)?) }),
    f!(call; 2019 stable "time" (a: Timestamptz) -> Time { Ok(datetime::time_of_day(datetime::to_local(a, call)?)) }),
    f!(call; 2027 stable "timestamp" (a: Timestamptz) -> Timestamp { datetime::timestamp_of(a, &call.around.style().time_zone) }),
    f!(1370 "interval" (a: Time) -> Interval { interval_native(Interval { us: a, ..Interval::default() }) }),
    f!(1419 "time" (a: Interval) -> Time { Ok(a.us.rem_euclid(datetime::DAY_US)) }),

    f!(3556 "bool" (a: Jsonb) -> Bool { json::scalar_bool(a) }),
    f!(3449 "numeric" (a: Jsonb) -> Numeric { json::scalar_numeric(a, "numeric") }),
    f!(3450 "int2" (a: Jsonb) -> Int2 { json::scalar_numeric(a, "smallint")?.to_i16() }),
    f!(3451 "int4" (a: Jsonb) -> Int4 { json::scalar_numeric(a, "integer")?.to_i32() }),
    f!(3452 "int8" (a: Jsonb) -> Int8 { json::scalar_numeric(a, "bigint")?.to_i64() }),
    f!(3453 "float4" (a: Jsonb) -> Float4 { json::scalar_numeric(a, "real")?.to_f32() }),
    f!(2580 "float8" (a: Jsonb) -> Float8 { json::scalar_numeric(a, "double precision")?.to_f64() }),
];

const fn c(source: SqlType, target: SqlType, context: CastContext, method: CastMethod) -> Cast {
    Cast { source, target, context, method }
}

#[rustfmt::skip]
pub(super) static CASTS: &[Cast] = {
    use CastContext::*;
    use CastMethod::*;
    use SqlType::*;
    &[
    c(Bool, Int4, Explicit, Function(2558)),
    c(Bool, Bpchar, Assignment, Function(2971)),
    c(Bool, Text, Assignment, Function(2971)),
    c(Bool, Varchar, Assignment, Function(2971)),
    c(Char, Int4, Explicit, Function(77)),
    c(Char, Varchar, Assignment, Function(946)),
    c(Char, Text, Implicit, Function(946)),
    c(Char, Bpchar, Assignment, Function(860)),
    c(Name, Bpchar, Assignment, Function(408)),
    c(Name, Text, Implicit, Function(406)),
    c(Name, Varchar, Assignment, Function(1401)),
    c(Int8, Regtype, Implicit, Function(1287)),
    c(Int8, Regoper, Implicit, Function(1287)),
    c(Int8, Float8, Implicit, Function(482)),
    c(Int8, Regoperator, Implicit, Function(1287)),
    c(Int8, Int4, Assignment, Function(480)),
    c(Int8, Regproc, Implicit, Function(1287)),
    c(Int8, Regrole, Implicit, Function(1287)),
    c(Int8, Regnamespace, Implicit, Function(1287)),
    c(Int8, Float4, Implicit, Function(652)),
    c(Int8, Regcollation, Implicit, Function(1287)),
    c(Int8, Oid, Implicit, Function(1287)),
    c(Int8, Int2, Assignment, Function(714)),
    c(Int8, Numeric, Implicit, Function(1781)),
    c(Int8, Regprocedure, Implicit, Function(1287)),
    c(Int8, Regclass, Implicit, Function(1287)),
    c(Int2, Regproc, Implicit, Function(313)),
    c(Int2, Regtype, Implicit, Function(313)),
    c(Int2, Regcollation, Implicit, Function(313)),
    c(Int2, Regoperator, Implicit, Function(313)),
    c(Int2, Oid, Implicit, Function(313)),
    c(Int2, Numeric, Implicit, Function(1782)),
    c(Int2, Regclass, Implicit, Function(313)),
    c(Int2, Int4, Implicit, Function(313)),
    c(Int2, Regprocedure, Implicit, Function(313)),
    c(Int2, Float4, Implicit, Function(236)),
    c(Int2, Int8, Implicit, Function(754)),
    c(Int2, Regrole, Implicit, Function(313)),
    c(Int2, Float8, Implicit, Function(235)),
    c(Int2, Regnamespace, Implicit, Function(313)),
    c(Int2, Regoper, Implicit, Function(313)),
    c(Int4, Regclass, Implicit, Relabel),
    c(Int4, Regcollation, Implicit, Relabel),
    c(Int4, Regrole, Implicit, Relabel),
    c(Int4, Char, Explicit, Function(78)),
    c(Int4, Regnamespace, Implicit, Relabel),
    c(Int4, Int8, Implicit, Function(481)),
    c(Int4, Int2, Assignment, Function(314)),
    c(Int4, Regtype, Implicit, Relabel),
    c(Int4, Regoperator, Implicit, Relabel),
    c(Int4, Regoper, Implicit, Relabel),
    c(Int4, Regproc, Implicit, Relabel),
    c(Int4, Regprocedure, Implicit, Relabel),
    c(Int4, Bool, Explicit, Function(2557)),
    c(Int4, Numeric, Implicit, Function(1740)),
    c(Int4, Oid, Implicit, Relabel),
    c(Int4, Float4, Implicit, Function(318)),
    c(Int4, Float8, Implicit, Function(316)),
    c(Regproc, Int4, Assignment, Relabel),
    c(Regproc, Int8, Assignment, Function(1288)),
    c(Regproc, Oid, Implicit, Relabel),
    c(Regproc, Regprocedure, Implicit, Relabel),
    c(Text, Bpchar, Implicit, Relabel),
    c(Text, Name, Implicit, Function(407)),
    c(Text, Char, Assignment, Function(944)),
    c(Text, Varchar, Implicit, Relabel),
    c(Text, Regclass, Implicit, Function(1079)),
    c(Oid, Regclass, Implicit, Relabel),
    c(Oid, Regprocedure, Implicit, Relabel),
    c(Oid, Regoper, Implicit, Relabel),
    c(Oid, Regcollation, Implicit, Relabel),
    c(Oid, Regoperator, Implicit, Relabel),
    c(Oid, Regproc, Implicit, Relabel),
    c(Oid, Int8, Assignment, Function(1288)),
    c(Oid, Regrole, Implicit, Relabel),
    c(Oid, Regtype, Implicit, Relabel),
    c(Oid, Int4, Assignment, Relabel),
    c(Oid, Regnamespace, Implicit, Relabel),
    c(Json, Jsonb, Assignment, ThroughText),
    c(PgNodeTree, Text, Implicit, Relabel),
    c(Float4, Int2, Assignment, Function(238)),
    c(Float4, Int8, Assignment, Function(653)),
    c(Float4, Float8, Implicit, Function(311)),
    c(Float4, Numeric, Assignment, Function(1742)),
    c(Float4, Int4, Assignment, Function(319)),
    c(Float8, Numeric, Assignment, Function(1743)),
    c(Float8, Int8, Assignment, Function(483)),
    c(Float8, Int2, Assignment, Function(237)),
    c(Float8, Int4, Assignment, Function(317)),
    c(Float8, Float4, Assignment, Function(312)),
    c(Bpchar, Bpchar, Implicit, Function(668)),
    c(Bpchar, Varchar, Implicit, Function(401)),
    c(Bpchar, Text, Implicit, Function(401)),
    c(Bpchar, Char, Assignment, Function(944)),
    c(Bpchar, Name, Implicit, Function(409)),
    c(Varchar, Text, Implicit, Relabel),
    c(Varchar, Name, Implicit, Function(1400)),
    c(Varchar, Bpchar, Implicit, Relabel),
    c(Varchar, Regclass, Implicit, Function(1079)),
    c(Varchar, Varchar, Implicit, Function(669)),
    c(Varchar, Char, Assignment, Function(944)),
    c(Date, Timestamp, Implicit, Function(2024)),
    c(Date, Timestamptz, Implicit, Function(1174)),
    c(Time, Time, Implicit, Function(1968)),
    c(Time, Interval, Implicit, Function(1370)),
    c(Timestamp, Timestamptz, Implicit, Function(2028)),
    c(Timestamp, Date, Assignment, Function(2029)),
    c(Timestamp, Time, Assignment, Function(1316)),
    c(Timestamp, Timestamp, Implicit, Function(1961)),
    c(Timestamptz, Date, Assignment, Function(1178)),
    c(Timestamptz, Time, Assignment, Function(2019)),
    c(Timestamptz, Timestamp, Assignment, Function(2027)),
    c(Timestamptz, Timestamptz, Implicit, Function(1967)),
    c(Interval, Interval, Implicit, Function(1200)),
    c(Interval, Time, Assignment, Function(1419)),
    c(Numeric, Int8, Assignment, Function(1779)),
    c(Numeric, Int2, Assignment, Function(1783)),
    c(Numeric, Int4, Assignment, Function(1744)),
    c(Numeric, Numeric, Implicit, Function(1703)),
    c(Numeric, Float8, Implicit, Function(1746)),
    c(Numeric, Float4, Implicit, Function(1745)),
    c(Regprocedure, Int4, Assignment, Relabel),
    c(Regprocedure, Oid, Implicit, Relabel),
    c(Regprocedure, Int8, Assignment, Function(1288)),
    c(Regprocedure, Regproc, Implicit, Relabel),
    c(Regoper, Regoperator, Implicit, Relabel),
    c(Regoper, Int8, Assignment, Function(1288)),
    c(Regoper, Oid, Implicit, Relabel),
    c(Regoper, Int4, Assignment, Relabel),
    c(Regoperator, Int4, Assignment, Relabel),
    c(Regoperator, Oid, Implicit, Relabel),
    c(Regoperator, Int8, Assignment, Function(1288)),
    c(Regoperator, Regoper, Implicit, Relabel),
    c(Regclass, Int8, Assignment, Function(1288)),
    c(Regclass, Oid, Implicit, Relabel),
    c(Regclass, Int4, Assignment, Relabel),
    c(Regtype, Int8, Assignment, Function(1288)),
    c(Regtype, Int4, Assignment, Relabel),
    c(Regtype, Oid, Implicit, Relabel),
    c(Jsonb, Json, Assignment, ThroughText),
    c(Jsonb, Int2, Explicit, Function(3450)),
    c(Jsonb, Int8, Explicit, Function(3452)),
    c(Jsonb, Int4, Explicit, Function(3451)),
    c(Jsonb, Bool, Explicit, Function(3556)),
    c(Jsonb, Float4, Explicit, Function(3453)),
    c(Jsonb, Numeric, Explicit, Function(3449)),
    c(Jsonb, Float8, Explicit, Function(2580)),
    c(Regnamespace, Int4, Assignment, Relabel),
    c(Regnamespace, Int8, Assignment, Function(1288)),
    c(Regnamespace, Oid, Implicit, Relabel),
    c(Regrole, Int4, Assignment, Relabel),
    c(Regrole, Oid, Implicit, Relabel),
    c(Regrole, Int8, Assignment, Function(1288)),
    c(Regcollation, Int8, Assignment, Function(1288)),
    c(Regcollation, Int4, Assignment, Relabel),
    c(Regcollation, Oid, Implicit, Relabel),
    ]
};

/// The nearest integer, halves to even, as the processor rounds.
fn whole<T: TryFrom<i64>>(value: f64, type_name: &str) -> Result<T> {
    let rounded = value.round_ties_even();
    // 2^63 is the first float beyond bigint.
    if rounded.is_nan() || !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
        return Err(range(type_name));
    }
    T::try_from(rounded as i64).map_err(|_| range(type_name))
}

fn narrow(value: f64) -> Result<f32> {
    let narrowed = super::arithmetic::finite(value as f32, value.is_infinite())?;
    super::arithmetic::not_vanished(narrowed, value == 0.0)
}

/// The byte form of an integer.
pub(super) fn integer(value: i128) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    Small { mantissa: value, scale: 0 }.write(&mut out);
    out
}

fn char_of(value: i32) -> Result<String> {
    match i8::try_from(value) {
        Ok(0) => Ok(String::new()),
        Ok(byte) => Ok(char::from(byte as u8).to_string()),
        Err(_) => Err(range("\"char\"")),
    }
}

/// varchar(n) and char(n): `n` is the modifier.
fn fit_to(text: &str, ty: SqlType, typmod: i32, explicit: bool) -> Result<String> {
    // Only padding makes a text longer.
    if ty == SqlType::Bpchar {
        super::string::bounded(usize::try_from(typmod).unwrap_or(0))?;
    }
    fit(text, PgType { ty, typmod }, explicit).map(Cow::into_owned)
}

fn fit_text(args: &[ArrayRef], call: &Call<'_>, explicit: bool) -> Result<ArrayRef> {
    use rows::{Builder as _, Push as _, Read as _};
    let [text] = rows::arity(args)?;
    let text = Text::read(text)?;
    let mut out = Text::builder(call.rows);
    for row in 0..call.rows {
        out.push(fit(Text::item(text, row), call.returns, explicit)?);
    }
    Ok(out.done(call))
}

fn fit_numeric(value: Numeric, typmod: i32) -> Result<Numeric> {
    match (PgType { ty: SqlType::Numeric, typmod }).precision_scale() {
        Some((precision, scale)) => value.with_precision(precision, scale),
        None => Ok(value),
    }
}

/// Says that a value cannot be cast (22023).
pub(super) fn cannot_cast(what: &str, type_name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("cannot cast {what} to type {type_name}"))
}
