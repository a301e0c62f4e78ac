//! Aggregates (PostgreSQL manual 9.21). The engine's own where they answer as PostgreSQL does, ours otherwise.

mod fold;
mod gather;
pub(super) mod hypothetical;
pub(super) mod ordered;
mod regression;
mod sums;
pub(super) mod vectors;

pub(super) use fold::ANY;

use super::compare::key_of;
use super::json::{json_key, json_text, json_value};
use super::rows::{fail, k};
use super::{Function, Kind};
use crate::types;
use crate::types::json::{Json, write_string};
use arrow_array::{Array, ArrayRef};
use datafusion_common::ScalarValue;
use datafusion_expr::AggregateUDF;
use datafusion_functions_aggregate::{bit_and_or_xor, bool_and_or, count, min_max};
pub(super) use fold::folded;
use gather::gathered;
use kalamdb_commons::{Datum, PgType, Result, SqlState, SqlType};
use regression::*;
use std::sync::Arc;
use sums::*;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    k!(2803 lax "count" () -> Int8 = Kind::Aggregate(|_| count::count_udaf())),
    // DISTINCT goes by sort keys where a type has one: the plan gives them as the argument then.
    k!(2147 lax "count" (Any) -> Int8 = Kind::Aggregate(|_| count::count_udaf())),

    k!(2109 lax "sum" (Int2) -> Int8 = Kind::Aggregate(folded_short::<OfInt2>)),
    k!(2108 lax "sum" (Int4) -> Int8 = Kind::Aggregate(folded_short::<OfInt4>)),
    k!(2107 lax "sum" (Int8) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt8, Total>>("sum", types))),
    k!(2114 lax "sum" (Numeric) -> Numeric = Kind::Aggregate(|types| folded::<Numerics<Total>>("sum", types))),
    k!(2110 lax "sum" (Float4) -> Float4 = Kind::Aggregate(|types| folded::<RealSum>("sum", types))),
    k!(2111 lax "sum" (Float8) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat8, Total>>("sum", types))),
    k!(2113 lax "sum" (Interval) -> Interval = Kind::Aggregate(|types| folded::<Intervals<false>>("sum", types))),
    k!(2102 lax "avg" (Int2) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt2, Mean>>("avg", types))),
    k!(2101 lax "avg" (Int4) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt4, Mean>>("avg", types))),
    k!(2100 lax "avg" (Int8) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt8, Mean>>("avg", types))),
    k!(2103 lax "avg" (Numeric) -> Numeric = Kind::Aggregate(|types| folded::<Numerics<Mean>>("avg", types))),
    k!(2104 lax "avg" (Float4) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat4, Mean>>("avg", types))),
    k!(2105 lax "avg" (Float8) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat8, Mean>>("avg", types))),
    k!(2106 lax "avg" (Interval) -> Interval = Kind::Aggregate(|types| folded::<Intervals<true>>("avg", types))),
    k!(2643 lax "var_samp" (Int2) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt2, VarianceSample>>("var_samp", types))),
    k!(2642 lax "var_samp" (Int4) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt4, VarianceSample>>("var_samp", types))),
    k!(2641 lax "var_samp" (Int8) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt8, VarianceSample>>("var_samp", types))),
    k!(2646 lax "var_samp" (Numeric) -> Numeric = Kind::Aggregate(|types| folded::<Numerics<VarianceSample>>("var_samp", types))),
    k!(2644 lax "var_samp" (Float4) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat4, VarianceSample>>("var_samp", types))),
    k!(2645 lax "var_samp" (Float8) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat8, VarianceSample>>("var_samp", types))),
    k!(2150 lax "variance" (Int2) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt2, VarianceSample>>("variance", types))),
    k!(2149 lax "variance" (Int4) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt4, VarianceSample>>("variance", types))),
    k!(2148 lax "variance" (Int8) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt8, VarianceSample>>("variance", types))),
    k!(2153 lax "variance" (Numeric) -> Numeric = Kind::Aggregate(|types| folded::<Numerics<VarianceSample>>("variance", types))),
    k!(2151 lax "variance" (Float4) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat4, VarianceSample>>("variance", types))),
    k!(2152 lax "variance" (Float8) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat8, VarianceSample>>("variance", types))),
    k!(2720 lax "var_pop" (Int2) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt2, VariancePopulation>>("var_pop", types))),
    k!(2719 lax "var_pop" (Int4) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt4, VariancePopulation>>("var_pop", types))),
    k!(2718 lax "var_pop" (Int8) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt8, VariancePopulation>>("var_pop", types))),
    k!(2723 lax "var_pop" (Numeric) -> Numeric = Kind::Aggregate(|types| folded::<Numerics<VariancePopulation>>("var_pop", types))),
    k!(2721 lax "var_pop" (Float4) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat4, VariancePopulation>>("var_pop", types))),
    k!(2722 lax "var_pop" (Float8) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat8, VariancePopulation>>("var_pop", types))),
    k!(2156 lax "stddev" (Int2) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt2, DeviationSample>>("stddev", types))),
    k!(2155 lax "stddev" (Int4) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt4, DeviationSample>>("stddev", types))),
    k!(2154 lax "stddev" (Int8) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt8, DeviationSample>>("stddev", types))),
    k!(2159 lax "stddev" (Numeric) -> Numeric = Kind::Aggregate(|types| folded::<Numerics<DeviationSample>>("stddev", types))),
    k!(2157 lax "stddev" (Float4) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat4, DeviationSample>>("stddev", types))),
    k!(2158 lax "stddev" (Float8) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat8, DeviationSample>>("stddev", types))),
    k!(2714 lax "stddev_samp" (Int2) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt2, DeviationSample>>("stddev_samp", types))),
    k!(2713 lax "stddev_samp" (Int4) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt4, DeviationSample>>("stddev_samp", types))),
    k!(2712 lax "stddev_samp" (Int8) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt8, DeviationSample>>("stddev_samp", types))),
    k!(2717 lax "stddev_samp" (Numeric) -> Numeric = Kind::Aggregate(|types| folded::<Numerics<DeviationSample>>("stddev_samp", types))),
    k!(2715 lax "stddev_samp" (Float4) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat4, DeviationSample>>("stddev_samp", types))),
    k!(2716 lax "stddev_samp" (Float8) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat8, DeviationSample>>("stddev_samp", types))),
    k!(2726 lax "stddev_pop" (Int2) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt2, DeviationPopulation>>("stddev_pop", types))),
    k!(2725 lax "stddev_pop" (Int4) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt4, DeviationPopulation>>("stddev_pop", types))),
    k!(2724 lax "stddev_pop" (Int8) -> Numeric = Kind::Aggregate(|types| folded::<Integers<OfInt8, DeviationPopulation>>("stddev_pop", types))),
    k!(2729 lax "stddev_pop" (Numeric) -> Numeric = Kind::Aggregate(|types| folded::<Numerics<DeviationPopulation>>("stddev_pop", types))),
    k!(2727 lax "stddev_pop" (Float4) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat4, DeviationPopulation>>("stddev_pop", types))),
    k!(2728 lax "stddev_pop" (Float8) -> Float8 = Kind::Aggregate(|types| folded::<Floats<OfFloat8, DeviationPopulation>>("stddev_pop", types))),
    k!(2117 lax "max" (Int2) -> Int2 = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2116 lax "max" (Int4) -> Int4 = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2115 lax "max" (Int8) -> Int8 = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2118 lax "max" (Oid) -> Oid = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2119 lax "max" (Float4) -> Float4 = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2120 lax "max" (Float8) -> Float8 = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2130 lax "max" (Numeric) -> Numeric = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2129 lax "max" (Text) -> Text = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2122 lax "max" (Date) -> Date = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2123 lax "max" (Time) -> Time = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2126 lax "max" (Timestamp) -> Timestamp = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2127 lax "max" (Timestamptz) -> Timestamptz = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2244 lax "max" (Bpchar) -> Bpchar = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2128 lax "max" (Interval) -> Interval = Kind::Aggregate(|types| by_key(types, true))),
    k!(3526 lax "max" (Anyenum) -> Anyenum = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2050 lax "max" (Anyarray) -> Anyarray = Kind::Aggregate(|types| by_key(types, true))),
    k!(2133 lax "min" (Int2) -> Int2 = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2132 lax "min" (Int4) -> Int4 = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2131 lax "min" (Int8) -> Int8 = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2134 lax "min" (Oid) -> Oid = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2135 lax "min" (Float4) -> Float4 = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2136 lax "min" (Float8) -> Float8 = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2146 lax "min" (Numeric) -> Numeric = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2145 lax "min" (Text) -> Text = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2138 lax "min" (Date) -> Date = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2139 lax "min" (Time) -> Time = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2142 lax "min" (Timestamp) -> Timestamp = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2143 lax "min" (Timestamptz) -> Timestamptz = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2245 lax "min" (Bpchar) -> Bpchar = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2144 lax "min" (Interval) -> Interval = Kind::Aggregate(|types| by_key(types, false))),
    k!(3527 lax "min" (Anyenum) -> Anyenum = Kind::Aggregate(|_| min_max::min_udaf())),
    k!(2051 lax "min" (Anyarray) -> Anyarray = Kind::Aggregate(|types| by_key(types, false))),
    k!(2517 lax "bool_and" (Bool) -> Bool = Kind::Aggregate(|_| bool_and_or::bool_and_udaf())),
    k!(2519 lax "every" (Bool) -> Bool = Kind::Aggregate(|_| bool_and_or::bool_and_udaf())),
    k!(2518 lax "bool_or" (Bool) -> Bool = Kind::Aggregate(|_| bool_and_or::bool_or_udaf())),
    k!(2236 lax "bit_and" (Int2) -> Int2 = Kind::Aggregate(|_| bit_and_or_xor::bit_and_udaf())),
    k!(2238 lax "bit_and" (Int4) -> Int4 = Kind::Aggregate(|_| bit_and_or_xor::bit_and_udaf())),
    k!(2240 lax "bit_and" (Int8) -> Int8 = Kind::Aggregate(|_| bit_and_or_xor::bit_and_udaf())),
    k!(2237 lax "bit_or" (Int2) -> Int2 = Kind::Aggregate(|_| bit_and_or_xor::bit_or_udaf())),
    k!(2239 lax "bit_or" (Int4) -> Int4 = Kind::Aggregate(|_| bit_and_or_xor::bit_or_udaf())),
    k!(2241 lax "bit_or" (Int8) -> Int8 = Kind::Aggregate(|_| bit_and_or_xor::bit_or_udaf())),
    k!(6164 lax "bit_xor" (Int2) -> Int2 = Kind::Aggregate(|_| bit_and_or_xor::bit_xor_udaf())),
    k!(6165 lax "bit_xor" (Int4) -> Int4 = Kind::Aggregate(|_| bit_and_or_xor::bit_xor_udaf())),
    k!(6166 lax "bit_xor" (Int8) -> Int8 = Kind::Aggregate(|_| bit_and_or_xor::bit_xor_udaf())),
    k!(2818 lax "regr_count" (Float8, Float8) -> Int8 = Kind::Aggregate(|types| folded::<PairCount>("regr_count", types))),
    k!(2829 lax "corr" (Float8, Float8) -> Float8 = Kind::Aggregate(|types| folded::<Pairs<Correlation>>("corr", types))),
    k!(2827 lax "covar_pop" (Float8, Float8) -> Float8 = Kind::Aggregate(|types| folded::<Pairs<CovariancePopulation>>("covar_pop", types))),
    k!(2828 lax "covar_samp" (Float8, Float8) -> Float8 = Kind::Aggregate(|types| folded::<Pairs<CovarianceSample>>("covar_samp", types))),
    k!(2825 lax "regr_slope" (Float8, Float8) -> Float8 = Kind::Aggregate(|types| folded::<Pairs<Slope>>("regr_slope", types))),
    k!(2826 lax "regr_intercept" (Float8, Float8) -> Float8 = Kind::Aggregate(|types| folded::<Pairs<Intercept>>("regr_intercept", types))),
    k!(2824 lax "regr_r2" (Float8, Float8) -> Float8 = Kind::Aggregate(|types| folded::<Pairs<Determination>>("regr_r2", types))),
    k!(2822 lax "regr_avgx" (Float8, Float8) -> Float8 = Kind::Aggregate(|types| folded::<Pairs<MeanX>>("regr_avgx", types))),
    k!(2823 lax "regr_avgy" (Float8, Float8) -> Float8 = Kind::Aggregate(|types| folded::<Pairs<MeanY>>("regr_avgy", types))),
    k!(2819 lax "regr_sxx" (Float8, Float8) -> Float8 = Kind::Aggregate(|types| folded::<Pairs<SquaresX>>("regr_sxx", types))),
    k!(2820 lax "regr_syy" (Float8, Float8) -> Float8 = Kind::Aggregate(|types| folded::<Pairs<SquaresY>>("regr_syy", types))),
    k!(2821 lax "regr_sxy" (Float8, Float8) -> Float8 = Kind::Aggregate(|types| folded::<Pairs<Products>>("regr_sxy", types))),

    k!(3538 lax "string_agg" (Text, Text) -> Text = Kind::Aggregate(|types| gathered("string_agg", types, SqlType::Text, joined_text))),
    k!(3545 lax "string_agg" (Bytea, Bytea) -> Bytea = Kind::Aggregate(|types| gathered("string_agg", types, SqlType::Bytea, joined_bytes))),
    k!(2335 lax "array_agg" (Anynonarray) -> Anyarray = Kind::Aggregate(array_of)),
    k!(4053 lax "array_agg" (Anyarray) -> Anyarray = Kind::Aggregate(array_of)),
    k!(3175 lax "json_agg" (Anyelement) -> Json = Kind::Aggregate(|types| gathered("json_agg", types, SqlType::Json, json_array))),
    k!(3267 lax "jsonb_agg" (Anyelement) -> Jsonb = Kind::Aggregate(|types| gathered("jsonb_agg", types, SqlType::Jsonb, jsonb_array))),
    k!(3197 lax "json_object_agg" (Any, Any) -> Json = Kind::Aggregate(|types| gathered("json_object_agg", types, SqlType::Json, json_object))),
    k!(3270 lax "jsonb_object_agg" (Any, Any) -> Jsonb = Kind::Aggregate(|types| gathered("jsonb_object_agg", types, SqlType::Jsonb, jsonb_object))),
];

fn folded_short<T: Integer>(types: &[PgType]) -> Arc<AggregateUDF> {
    folded::<ShortSum<T>>("sum", types)
}

/// The largest or smallest by key, for types whose Arrow order is not PostgreSQL's; of equal ones the last.
fn extreme(columns: &[ArrayRef], types: &[PgType], largest: bool) -> Result<ScalarValue> {
    let column = &columns[0];
    let mut best: Option<(Vec<u8>, usize)> = None;
    for row in 0..column.len() {
        let datum = types::datum_at(column.as_ref(), row, types[0]);
        if datum.is_null() {
            continue;
        }
        let key = key_of(&datum, types[0].ty)?;
        let better = best.as_ref().is_none_or(|(known, _)| if largest { key >= *known } else { key <= *known });
        if better {
            best = Some((key, row));
        }
    }
    let value = match best {
        Some((_, row)) => ScalarValue::try_from_array(column, row),
        None => ScalarValue::try_from(&types[0].ty.arrow()),
    };
    value.map_err(super::sql_error)
}

fn by_key(types: &[PgType], largest: bool) -> Arc<AggregateUDF> {
    if largest {
        gathered("max", types, types[0].ty, |columns, types| extreme(columns, types, true))
    } else {
        gathered("min", types, types[0].ty, |columns, types| extreme(columns, types, false))
    }
}

fn datums<'a>(column: &'a ArrayRef, ty: PgType) -> impl Iterator<Item = Datum> + 'a {
    (0..column.len()).map(move |row| types::datum_at(column.as_ref(), row, ty))
}

/// Values joined, each but the first with its own separator before it; NULL values are left out.
fn joined_text(columns: &[ArrayRef], types: &[PgType]) -> Result<ScalarValue> {
    let mut out: Option<String> = None;
    for (value, separator) in datums(&columns[0], types[0]).zip(datums(&columns[1], types[1])) {
        let Some(value) = value.as_str() else { continue };
        match &mut out {
            None => out = Some(value.to_owned()),
            Some(out) => {
                let separator = separator.as_str().unwrap_or_default();
                super::string::bounded(out.len() + separator.len() + value.len())?;
                out.extend([separator, value]);
            }
        }
    }
    Ok(ScalarValue::Utf8(out))
}

fn joined_bytes(columns: &[ArrayRef], types: &[PgType]) -> Result<ScalarValue> {
    let mut out: Option<Vec<u8>> = None;
    for pair in datums(&columns[0], types[0]).zip(datums(&columns[1], types[1])) {
        let (Datum::Bytes(value), separator) = pair else { continue };
        match (&mut out, separator) {
            (None, _) => out = Some(value.to_vec()),
            (Some(out), Datum::Bytes(separator)) => {
                super::string::bounded(out.len() + separator.len() + value.len())?;
                out.extend(separator.iter().chain(value.iter()));
            }
            (Some(out), _) => {
                super::string::bounded(out.len() + value.len())?;
                out.extend(value.iter());
            }
        }
    }
    Ok(ScalarValue::Binary(out))
}

/// An array of the values; arrays become one dimension more.
fn array_of(types: &[PgType]) -> Arc<AggregateUDF> {
    gathered("array_agg", types, array_type(types), |columns, types| {
        if columns[0].is_empty() {
            return ScalarValue::try_from(&array_type(types).arrow()).map_err(super::sql_error);
        }
        // An array type whose arrays have one dimension, which gathered arrays have not.
        if matches!(types[0].ty, SqlType::Int2vector | SqlType::Oidvector) {
            return fail(SqlState::DATATYPE_MISMATCH, format!("array is not a valid {}", types[0]));
        }
        let array = crate::lower::gathered(&columns[0], types[0])?;
        ScalarValue::try_from_array(&array, 0).map_err(super::sql_error)
    })
}

fn array_type(types: &[PgType]) -> SqlType {
    match types.first() {
        Some(ty) if ty.ty.facts().name.starts_with('_') => ty.ty,
        Some(PgType { ty: vector @ (SqlType::Int2vector | SqlType::Oidvector), .. }) => *vector,
        ty => ty.and_then(|ty| ty.ty.array()).unwrap_or(SqlType::TextArray),
    }
}

/// `[a, b]`; NULL for no rows. Items that are arrays or records have a line each, unless they are NULL.
fn json_array(columns: &[ArrayRef], types: &[PgType]) -> Result<ScalarValue> {
    let has_lines = types[0].ty.is_array() || types[0].ty == SqlType::Record;
    let mut text = String::new();
    for item in datums(&columns[0], types[0]) {
        text.push_str(match text.is_empty() {
            true => "[",
            false if has_lines && !item.is_null() => ", \n ",
            false => ", ",
        });
        text.push_str(&json_text(&item, types[0], None)?);
    }
    Ok(ScalarValue::Utf8((!text.is_empty()).then(|| text + "]")))
}

fn jsonb_array(columns: &[ArrayRef], types: &[PgType]) -> Result<ScalarValue> {
    let items = datums(&columns[0], types[0]).map(|item| json_value(&item, types[0], None));
    let items = items.collect::<Result<Vec<_>>>()?;
    Ok(ScalarValue::Utf8((!items.is_empty()).then(|| Json::Array(items).to_string())))
}

fn field_name(key: &Datum, ty: PgType) -> Result<String> {
    if key.is_null() {
        return fail(SqlState::INVALID_PARAMETER_VALUE, "field name must not be null");
    }
    json_key(key, ty, None)
}

/// `{ "a" : 1, "b" : 2 }`; NULL for no rows.
fn json_object(columns: &[ArrayRef], types: &[PgType]) -> Result<ScalarValue> {
    let mut members = Vec::with_capacity(columns[0].len());
    for (key, value) in datums(&columns[0], types[0]).zip(datums(&columns[1], types[1])) {
        let mut member = String::new();
        // Writing into a String cannot fail.
        let _ = write_string(&field_name(&key, types[0])?, &mut member);
        members.push(format!("{member} : {}", json_text(&value, types[1], None)?));
    }
    Ok(ScalarValue::Utf8((!members.is_empty()).then(|| format!("{{ {} }}", members.join(", ")))))
}

fn jsonb_object(columns: &[ArrayRef], types: &[PgType]) -> Result<ScalarValue> {
    let mut members = Vec::with_capacity(columns[0].len());
    for (key, value) in datums(&columns[0], types[0]).zip(datums(&columns[1], types[1])) {
        members.push((field_name(&key, types[0])?, json_value(&value, types[1], None)?));
    }
    Ok(ScalarValue::Utf8((!members.is_empty()).then(|| Json::object(members).to_string())))
}
