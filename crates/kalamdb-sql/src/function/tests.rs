//! The cases of `cases.txt`: a call, and what PostgreSQL 15 answers. Each call is SQL that PostgreSQL takes as well.
//!
//! `@sum('{1,2}'::int4[])` is an aggregate over the array's items; of a set-returning function all rows are shown.
//! Lines `SET TimeZone = 'x'` hold for what follows.

use super::invoke::{call, sql_error};
use super::{AdvisoryLock, Call, CatalogNames, Function, Kind, Nowhere, Surroundings, by_name};
use crate::types::{self, Style, TimeZone};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{Field, Schema};
use datafusion_expr::Accumulator;
use datafusion_expr::function::AccumulatorArgs;
use datafusion_physical_expr::expressions::Column;
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType, UserId};
use std::sync::Arc;
use std::time::Duration;

const CASES: &str = include_str!("cases.txt");

#[derive(Debug)]
struct Around(Style);

impl Surroundings for Around {
    fn style(&self) -> &Style {
        &self.0
    }
    fn setting(&self, _: &str) -> Option<String> {
        None
    }
    fn set_setting(&self, _: &str, value: Option<&str>, _: bool) -> Result<String> {
        Ok(value.unwrap_or_default().to_owned())
    }
    fn current_user(&self) -> UserId {
        UserId(10)
    }
    fn transaction_start(&self) -> i64 {
        0
    }
    fn statement_start(&self) -> i64 {
        0
    }
    fn snowflake_id(&self) -> i64 {
        1
    }
    fn catalog(&self) -> &dyn CatalogNames {
        &Nowhere
    }
    fn notify(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
    fn listening_channels(&self) -> Vec<String> {
        Vec::new()
    }
    fn signal_backend(&self, _: i32, _: bool) -> Result<bool> {
        Ok(false)
    }
    fn advisory_lock(&self, _: AdvisoryLock) -> Result<bool> {
        Ok(true)
    }
    fn sleep(&self, _: Duration) -> Result<()> {
        Ok(())
    }
    fn warn(&self, _: SqlState, _: &str) {}
    fn blocking_backends(&self, _: i32) -> Vec<i32> {
        Vec::new()
    }
    fn transaction_number(&self) -> Result<u64> {
        Ok(1)
    }
    fn query_text(&self) -> &str {
        ""
    }
}

/// `'text'::type` or `null::type`.
fn argument(text: &str, around: &Around) -> Result<(Datum, PgType)> {
    let (value, type_name) = text.rsplit_once("::").ok_or_else(|| SqlError::internal(format!("argument {text}")))?;
    let ty = types::oid::type_by_name(type_name)?;
    if value == "null" {
        return Ok((Datum::Null, ty));
    }
    let value = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(value).replace("''", "'");
    Ok((types::from_text(&value, ty, &around.0, &Nowhere)?, ty))
}

/// The arguments' texts: parted at commas outside quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(text[start..].trim());
    }
    parts
}

/// How well an argument's declared type takes the given one: 0 exactly, 1 by being polymorphic.
fn fits(declared: SqlType, given: SqlType) -> Option<u32> {
    use SqlType::*;
    match declared {
        _ if declared == given => Some(0),
        Any | Anyelement | Anycompatible => Some(1),
        Anynonarray if !given.is_array() => Some(1),
        Anyarray | Anycompatiblearray if given.is_array() => Some(1),
        Oid | Regclass if given.is_oid_like() => Some(1),
        _ => None,
    }
}

fn resolve(name: &str, types: &[PgType]) -> Result<&'static Function> {
    let score = |function: &&&'static Function| -> Option<u32> {
        let mut declared = function.args.to_vec();
        if function.variadic {
            let last = declared.pop()?;
            declared.resize(types.len(), last);
        }
        if declared.len() != types.len() {
            return None;
        }
        declared.iter().zip(types).map(|(declared, given)| fits(*declared, given.ty)).sum()
    };
    by_name(name)
        .iter()
        .filter(|function| score(function).is_some())
        .min_by_key(score)
        .copied()
        .ok_or_else(|| SqlError::internal(format!("no function {name}{types:?}")))
}

fn result_type(function: &Function, types: &[PgType]) -> PgType {
    use SqlType::*;
    let element = |ty: SqlType| ty.element().unwrap_or(ty);
    let some = |wanted: fn(SqlType) -> bool| types.iter().map(|ty| ty.ty).find(|ty| wanted(*ty));
    match function.returns {
        Anyelement | Anycompatible | Anynonarray => types.first().map_or(Text, |ty| element(ty.ty)).into(),
        Anyarray | Anycompatiblearray => {
            some(SqlType::is_array).or_else(|| types.first().and_then(|ty| ty.ty.array())).unwrap_or(TextArray).into()
        }
        returns => returns.into(),
    }
}

fn shown(datum: &Datum, ty: PgType, around: &Around) -> Result<String> {
    types::to_text(datum, ty, &around.0, &Nowhere)
}

fn answer(text: &str, around: &Around) -> Result<String> {
    if let Some(aggregate) = text.strip_prefix('@') {
        return aggregated(aggregate, around);
    }
    let (name, rest) = text.split_once('(').ok_or_else(|| SqlError::internal("no call"))?;
    let name = name.trim_start_matches("pg_catalog.").trim_matches('"');
    let args = rest.strip_suffix(')').unwrap_or(rest);
    let args = split(args).into_iter().map(|arg| argument(arg, around)).collect::<Result<Vec<_>>>()?;
    let types: Vec<PgType> = args.iter().map(|(_, ty)| *ty).collect();
    let function = resolve(name, &types)?;
    let returns = result_type(function, &types);
    if let Kind::Set(rows) = function.kind {
        let datums: Vec<Datum> = args.into_iter().map(|(datum, _)| datum).collect();
        let call = Call { rows: 1, arg_types: &types, returns, around };
        let columns: Vec<PgType> = match function.columns {
            [] => vec![returns],
            columns => columns
                .iter()
                .map(|(_, ty)| match ty {
                    SqlType::Anyelement => types[0].ty.element().unwrap_or(SqlType::Text).into(),
                    ty => PgType::new(*ty),
                })
                .collect(),
        };
        let lines = rows(datums, &call)?.map(|row| {
            let cells =
                row?.iter().zip(&columns).map(|(cell, ty)| shown(cell, *ty, around)).collect::<Result<Vec<_>>>()?;
            Ok(cells.join(","))
        });
        return Ok(lines.collect::<Result<Vec<_>>>()?.join(" | "));
    }
    // Three rows, the middle one NULL where that must not be looked at.
    let arrays = args
        .iter()
        .map(|(datum, ty)| {
            let middle = if function.strict { Datum::Null } else { datum.clone() };
            types::array_of(*ty, &[datum.clone(), middle, datum.clone()])
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    let result = call(function, &arrays, 3, &types, returns, around)?;
    assert_eq!(result.data_type(), &returns.ty.arrow(), "{text}");
    assert_eq!(result.len(), 3, "{text}");
    assert!(!function.strict || args.is_empty() || result.is_null(1) || returns.ty == SqlType::Void, "{text}");
    shown(&types::datum_at(result.as_ref(), 2, returns), returns, around)
}

/// All at once, in two parts that are merged, and with rows taken back: the answer must be one.
fn aggregated(text: &str, around: &Around) -> Result<String> {
    let (name, rest) = text.split_once('(').ok_or_else(|| SqlError::internal("no call"))?;
    let rest = rest.strip_suffix(')').unwrap_or(rest);
    let (distinct, rest) = rest.strip_prefix("distinct ").map_or((false, rest), |rest| (true, rest));
    let args = split(rest).into_iter().map(|arg| argument(arg, around)).collect::<Result<Vec<_>>>()?;
    let types: Vec<PgType> = args.iter().map(|(_, ty)| ty.ty.element().unwrap_or(ty.ty).into()).collect();
    let columns = args
        .iter()
        .zip(&types)
        .map(|((datum, _), ty)| match datum {
            Datum::Array(array) => types::array_of(*ty, &array.items),
            _ => types::array_of(*ty, &[]),
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    let function = resolve(name, &types)?;
    let returns = match function.returns {
        SqlType::Anyarray if name == "array_agg" => types[0].ty.array().unwrap_or(SqlType::TextArray).into(),
        _ => result_type(function, &types),
    };
    let Kind::Aggregate(make) = function.kind else { return Err(SqlError::internal("no aggregate")) };
    let udaf = make(&types);
    let fields: Vec<_> =
        types.iter().enumerate().map(|(n, ty)| Field::new(format!("c{n}"), ty.ty.arrow(), true)).collect();
    let schema = Schema::new(fields);
    let exprs: Vec<Arc<dyn datafusion_physical_expr::PhysicalExpr>> =
        (0..types.len()).map(|n| Arc::new(Column::new(&format!("c{n}"), n)) as _).collect();
    let expr_fields: Vec<_> = schema.fields().iter().cloned().collect();
    let made = |sliding: bool| -> Result<Box<dyn Accumulator>> {
        let args = accumulator_args(&schema, &exprs, &expr_fields, returns, distinct);
        if sliding { udaf.create_sliding_accumulator(args) } else { udaf.accumulator(args) }.map_err(sql_error)
    };
    let rows = columns[0].len();
    let text_of = |accumulator: &mut dyn Accumulator| -> Result<String> {
        let value = accumulator.evaluate().map_err(sql_error)?;
        let array = value.to_array().map_err(sql_error)?;
        assert_eq!(array.data_type(), &returns.ty.arrow(), "{text}");
        shown(&types::datum_at(array.as_ref(), 0, returns), returns, around)
    };
    let mut whole = made(false)?;
    whole.update_batch(&columns).map_err(sql_error)?;
    let answer = text_of(whole.as_mut())?;
    let part = |from: usize, to: usize| -> Vec<ArrayRef> {
        columns.iter().map(|column| column.slice(from, to - from)).collect()
    };
    let mut merged = made(false)?;
    for (from, to) in [(0, rows / 2), (rows / 2, rows)] {
        let mut half = made(false)?;
        half.update_batch(&part(from, to)).map_err(sql_error)?;
        let state = half.state().map_err(sql_error)?;
        let state = state.iter().map(|value| value.to_array()).collect::<Result<Vec<_>, _>>().map_err(sql_error)?;
        merged.merge_batch(&state).map_err(sql_error)?;
    }
    let again = text_of(merged.as_mut())?;
    // Floats may differ in the last digit.
    assert!(again == answer || matches!(returns.ty, SqlType::Float8), "{text}: merged {again}, whole {answer}");
    let mut sliding = made(true)?;
    if sliding.supports_retract_batch() && rows > 0 {
        // The first rows come and go, then all come: only rows of the window may count.
        sliding.update_batch(&part(0, rows / 2)).map_err(sql_error)?;
        sliding.update_batch(&columns).map_err(sql_error)?;
        sliding.retract_batch(&part(0, rows / 2)).map_err(sql_error)?;
        let again = text_of(sliding.as_mut())?;
        assert!(again == answer || matches!(returns.ty, SqlType::Float8), "{text}: moved {again}, whole {answer}");
    }
    if udaf.groups_accumulator_supported(accumulator_args(&schema, &exprs, &expr_fields, returns, distinct)) {
        grouped(&udaf, accumulator_args(&schema, &exprs, &expr_fields, returns, distinct), &columns, |value| {
            let again = shown(&types::datum_at(value, 1, returns), returns, around)?;
            assert!(
                again == answer || matches!(returns.ty, SqlType::Float8),
                "{text}: grouped {again}, whole {answer}"
            );
            Ok(())
        })?;
    }
    Ok(answer)
}

fn accumulator_args<'a>(
    schema: &'a Schema,
    exprs: &'a [Arc<dyn datafusion_physical_expr::PhysicalExpr>],
    expr_fields: &'a [arrow_schema::FieldRef],
    returns: PgType,
    is_distinct: bool,
) -> AccumulatorArgs<'a> {
    AccumulatorArgs {
        return_field: Arc::new(Field::new("r", returns.ty.arrow(), true)),
        schema,
        ignore_nulls: false,
        order_bys: &[],
        is_reversed: false,
        name: "a",
        is_distinct,
        exprs,
        expr_fields,
    }
}

/// All rows in the second of two groups: as they are, and each made a state that is merged.
fn grouped(
    udaf: &datafusion_expr::AggregateUDF,
    args: AccumulatorArgs<'_>,
    columns: &[ArrayRef],
    check: impl Fn(&dyn Array) -> Result<()>,
) -> Result<()> {
    use datafusion_expr::EmitTo;
    let groups = vec![1; columns[0].len()];
    let mut whole = udaf.create_groups_accumulator(args).map_err(sql_error)?;
    let states = whole.convert_to_state(columns, None).map_err(sql_error)?;
    whole.update_batch(columns, &groups, None, 2).map_err(sql_error)?;
    check(whole.evaluate(EmitTo::All).map_err(sql_error)?.as_ref())?;
    whole.merge_batch(&states, &groups, 2).map_err(sql_error)?;
    let states = whole.state(EmitTo::All).map_err(sql_error)?;
    whole.merge_batch(&states, &[0, 1], 2).map_err(sql_error)?;
    check(whole.evaluate(EmitTo::All).map_err(sql_error)?.as_ref())
}

#[test]
fn ordered_sets_pick_by_place() {
    let cases: [(&str, f64, &[f64], &str); 7] = [
        ("percentile_cont", 0.5, &[1.0, 2.0, 4.0], "2"),
        ("percentile_cont", 0.25, &[4.0, 1.0, 2.0], "1.5"),
        ("percentile_disc", 0.5, &[8.0, 1.0, 2.0, 4.0], "2"),
        ("percentile_disc", 0.0, &[2.0, 1.0], "1"),
        ("percentile_cont", 1.0, &[], ""),
        ("percentile_cont", 1.5, &[1.0], "22003"),
        ("mode", 0.0, &[1.0, 2.0, 2.0], "2"),
    ];
    let float: PgType = SqlType::Float8.into();
    for (name, percentile, values, expected) in cases {
        let direct = usize::from(name != "mode");
        let types = vec![float; direct + 1];
        let function = resolve(name, &types).unwrap_or_else(|error| panic!("{error}"));
        let Kind::Aggregate(make) = function.kind else { panic!("{name} is no aggregate") };
        let fields: Vec<_> = (0..types.len()).map(|n| Field::new(format!("c{n}"), float.ty.arrow(), true)).collect();
        let schema = Schema::new(fields);
        let expr_fields: Vec<_> = schema.fields().iter().cloned().collect();
        let column =
            |n: usize| Arc::new(Column::new(&format!("c{n}"), n)) as Arc<dyn datafusion_physical_expr::PhysicalExpr>;
        let exprs: Vec<_> = (0..types.len()).map(column).collect();
        let order = [datafusion_physical_expr::PhysicalSortExpr::new_default(column(direct))];
        let args =
            AccumulatorArgs { order_bys: &order, ..accumulator_args(&schema, &exprs, &expr_fields, float, false) };
        let mut accumulator = make(&types).accumulator(args).unwrap_or_else(|error| panic!("{error}"));
        let ordered: ArrayRef = Arc::new(arrow_array::Float64Array::from(values.to_vec()));
        let constant: ArrayRef = Arc::new(arrow_array::Float64Array::from(vec![percentile; values.len()]));
        let mut columns = vec![constant; direct];
        // The ordered argument, and once more as what the engine orders by.
        columns.extend([ordered.clone(), ordered]);
        accumulator.update_batch(&columns).unwrap_or_else(|error| panic!("{error}"));
        let found = match accumulator.evaluate() {
            Ok(value) if value.is_null() => String::new(),
            Ok(value) => value.to_string(),
            Err(error) => sql_error(error).state().code().to_owned(),
        };
        assert_eq!(found, expected, "{name} {percentile} of {values:?}");
    }
}

#[test]
fn calls_answer_as_postgresql() {
    let mut around = Around(Style::default());
    let (mut count, mut wrong) = (0, Vec::new());
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(zone) = line.strip_prefix("SET TimeZone = '") {
            let name = zone.trim_end_matches('\'');
            around.0.time_zone = TimeZone::Named(name.parse().unwrap_or(chrono_tz::UTC));
            continue;
        }
        let Some((text, expected)) = line.split_once(" → ") else { panic!("no expectation: {line}") };
        let found = match answer(text, &around) {
            Ok(found) => found,
            Err(error) => format!("ERROR {} {}", error.state().code(), error.message()),
        };
        count += 1;
        if found.replace('\n', "\\n") != expected {
            wrong.push(format!("{text}\n    expected {expected}\n    found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_is_consistent() {
    let mut seen = rustc_hash::FxHashSet::default();
    for function in super::all() {
        assert!(seen.insert(function.oid), "OID {} twice", function.oid);
    }
    for operator in super::all_operators() {
        if let super::Work::Function(oid) = operator.work {
            assert!(super::by_oid(oid).is_some(), "operator {} has no function", operator.oid);
        }
    }
    for cast in super::casts() {
        if let super::CastMethod::Function(oid) = cast.method {
            assert!(super::by_oid(oid).is_some(), "cast {:?} {:?} has no function", cast.source, cast.target);
        }
    }
}

/// Keys are ordered as the values are.
#[test]
fn keys_keep_the_order() {
    let around = Around(Style::default());
    let ordered: [(&str, &[&str]); 8] = [
        ("vector", &["[-2]", "[-1,5]", "[0]", "[0,0]", "[1e-40]", "[3]"]),
        ("numeric", &["-Infinity", "-10.5", "-1", "0", "0.5", "1", "10", "Infinity", "NaN"]),
        ("float8", &["-Infinity", "-1", "0", "1", "Infinity", "NaN"]),
        ("interval", &["-1 day", "0", "23:00", "1 day 00:00:01", "29 days", "1 mon 1 day", "1 year"]),
        ("int4[]", &["{}", "{-1}", "{1}", "{1,1}", "{1,2}", "{1,NULL}", "{2}", "{NULL}"]),
        ("text[]", &["{}", "{a}", "{a,b}", "{ab}", "{b}"]),
        ("bpchar", &["a", "ab ", "b   "]),
        (
            "jsonb",
            &[
                "[]",
                "null",
                "\"a\"",
                "\"b\"",
                "1",
                "2",
                "10.5",
                "false",
                "true",
                "[1]",
                "[2]",
                "[1, 1]",
                "{}",
                "{\"a\": 1}",
                "{\"a\": 2}",
                "{\"b\": 1}",
                "{\"a\": 1, \"b\": 1}",
            ],
        ),
    ];
    for (type_name, values) in ordered {
        let ty = types::oid::type_by_name(type_name).unwrap_or(SqlType::Text.into());
        let function = super::sort_key(ty.ty).unwrap_or_else(|| panic!("{type_name} has no key"));
        let datums: Vec<Datum> =
            values.iter().map(|value| types::from_text(value, ty, &around.0, &Nowhere).unwrap_or_default()).collect();
        let array = types::array_of(ty, &datums).unwrap_or_else(|error| panic!("{error}"));
        let returns = if ty.ty == SqlType::Float8 { ty } else { function.returns.into() };
        let keys =
            call(function, &[array], values.len(), &[ty], returns, &around).unwrap_or_else(|error| panic!("{error}"));
        let order = arrow_ord::sort::sort_to_indices(&keys, None, None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(order.values().to_vec(), (0..values.len() as u32).collect::<Vec<_>>(), "{type_name}");
    }
}
