//! json and jsonb (PostgreSQL manual 9.16).
//!
//! jsonb is worked on as a tree. json keeps its text, so what is taken out of one is a piece of that text.

use super::rows::{by_datum, f, fail, k, text_of, x};
use super::{Call, Function, Kind, SetRows};
use crate::types::json::{Json, write_string};
use arrow_array::ArrayRef;
use kalamdb_commons::array::{Brackets, Dimension, dimensions_of};
use kalamdb_commons::{Datum, Numeric, PgType, RecordDatum, RecordField, Result, SqlError, SqlState, SqlType};
use serde_json::value::RawValue;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(3478 "jsonb_object_field" (j: Jsonb, key: Text) -> Jsonb { Ok(member(j, key)?.map(|found| found.to_string())) }),
    f!(3214 "jsonb_object_field_text" (j: Jsonb, key: Text) -> Text { Ok(member(j, key)?.and_then(plain)) }),
    f!(3215 "jsonb_array_element" (j: Jsonb, at: Int4) -> Jsonb { Ok(element(j, at)?.map(|found| found.to_string())) }),
    f!(3216 "jsonb_array_element_text" (j: Jsonb, at: Int4) -> Text { Ok(element(j, at)?.and_then(plain)) }),
    x!(3217 variadic "jsonb_extract_path" (Jsonb, Text) -> Jsonb = |args, call| by_path(args, call, |j, path| Ok(descend(&Json::parse(j)?, path).map(|found| found.to_string())))),
    x!(3940 variadic "jsonb_extract_path_text" (Jsonb, Text) -> Text = |args, call| by_path(args, call, |j, path| Ok(descend(&Json::parse(j)?, path).cloned().and_then(plain)))),
    f!(3947 "json_object_field" (j: Json, key: Text) -> Json { raw_member(j, key) }),
    f!(3948 "json_object_field_text" (j: Json, key: Text) -> Text { raw_member(j, key)?.map_or(Ok(None), |raw| raw_plain(&raw)) }),
    f!(3949 "json_array_element" (j: Json, at: Int4) -> Json { raw_element(j, at) }),
    f!(3950 "json_array_element_text" (j: Json, at: Int4) -> Text { raw_element(j, at)?.map_or(Ok(None), |raw| raw_plain(&raw)) }),
    x!(3951 variadic "json_extract_path" (Json, Text) -> Json = |args, call| by_path(args, call, raw_descend)),
    x!(3953 variadic "json_extract_path_text" (Json, Text) -> Text = |args, call| by_path(args, call, |j, path| raw_descend(j, path)?.map_or(Ok(None), |raw| raw_plain(&raw)))),
    f!(4046 "jsonb_contains" (a: Jsonb, b: Jsonb) -> Bool { Ok(contains(&Json::parse(a)?, &Json::parse(b)?)) }),
    f!(4050 "jsonb_contained" (a: Jsonb, b: Jsonb) -> Bool { Ok(contains(&Json::parse(b)?, &Json::parse(a)?)) }),
    f!(4047 "jsonb_exists" (a: Jsonb, key: Text) -> Bool { Ok(exists(&Json::parse(a)?, key)) }),
    x!(4048 "jsonb_exists_any" (Jsonb, TextArray) -> Bool = |args, call| by_datum(args, call, |row| {
        let value = tree(&row[0])?;
        Ok(Datum::Bool(texts(&row[1]).iter().flatten().any(|key| exists(&value, key))))
    })),
    x!(4049 "jsonb_exists_all" (Jsonb, TextArray) -> Bool = |args, call| by_datum(args, call, |row| {
        let value = tree(&row[0])?;
        Ok(Datum::Bool(texts(&row[1]).iter().flatten().all(|key| exists(&value, key))))
    })),
    f!(3301 "jsonb_concat" (a: Jsonb, b: Jsonb) -> Jsonb { Ok(concat(Json::parse(a)?, Json::parse(b)?).to_string()) }),
    f!(3302 "jsonb_delete" (a: Jsonb, key: Text) -> Jsonb { Ok(without(Json::parse(a)?, &[key])?.to_string()) }),
    x!(3343 variadic "jsonb_delete" (Jsonb, Text) -> Jsonb = |args, call| by_path(args, call, |j, keys| {
        let keys: Vec<&str> = keys.iter().flatten().map(String::as_str).collect();
        Ok(Some(without(Json::parse(j)?, &keys)?.to_string()))
    })),
    f!(3303 "jsonb_delete" (a: Jsonb, at: Int4) -> Jsonb { Ok(without_item(Json::parse(a)?, at)?.to_string()) }),
    x!(3304 "jsonb_delete_path" (Jsonb, TextArray) -> Jsonb = |args, call| by_path(args, call, |j, path| {
        Ok(Some(edit(Json::parse(j)?, path, &Edit::Delete)?.to_string()))
    })),
    x!(3305 defaults(1) "jsonb_set" (Jsonb, TextArray, Jsonb, Bool) -> Jsonb = |args, call| by_datum(args, call, |row| {
        let new = tree(&row[2])?;
        let create = row.get(3) != Some(&Datum::Bool(false));
        edit(tree(&row[0])?, &texts(&row[1]), &Edit::Set { new, create }).map(|value| Datum::text(value.to_string()))
    })),
    x!(5054 lax defaults(2) "jsonb_set_lax" (Jsonb, TextArray, Jsonb, Bool, Text) -> Jsonb = |args, call| by_datum(args, call, set_lax)),
    x!(3579 defaults(1) "jsonb_insert" (Jsonb, TextArray, Jsonb, Bool) -> Jsonb = |args, call| by_datum(args, call, |row| {
        let new = tree(&row[2])?;
        let after = row.get(3) == Some(&Datum::Bool(true));
        edit(tree(&row[0])?, &texts(&row[1]), &Edit::Insert { new, after }).map(|value| Datum::text(value.to_string()))
    })),
    f!(3262 "jsonb_strip_nulls" (a: Jsonb) -> Jsonb { Ok(strip_nulls(Json::parse(a)?).to_string()) }),
    f!(3261 "json_strip_nulls" (a: Json) -> Json { Ok(compact(&strip_nulls(Json::parse(a)?))) }),
    f!(3306 "jsonb_pretty" (a: Jsonb) -> Text { Ok(pretty(&Json::parse(a)?)) }),
    f!(3210 "jsonb_typeof" (a: Jsonb) -> Text { Ok(kind(&Json::parse(a)?)) }),
    f!(3968 "json_typeof" (a: Json) -> Text { Ok(kind(&Json::parse(a)?)) }),
    f!(3207 "jsonb_array_length" (a: Jsonb) -> Int4 { array_length(a) }),
    f!(3956 "json_array_length" (a: Json) -> Int4 { array_length(a) }),

    x!(3176 stable "to_json" (Anyelement) -> Json = |args, call| by_datum(args, call, |row| json_text(&row[0], call.arg_types[0], Some(call)).map(Datum::text))),
    x!(3787 stable "to_jsonb" (Anyelement) -> Jsonb = |args, call| by_datum(args, call, |row| Ok(Datum::text(json_value(&row[0], call.arg_types[0], Some(call))?.to_string())))),
    x!(3153 stable "array_to_json" (Anyarray) -> Json = |args, call| by_datum(args, call, |row| json_text(&row[0], call.arg_types[0], Some(call)).map(Datum::text))),
    x!(3155 stable "row_to_json" (Record) -> Json = |args, call| by_datum(args, call, |row| json_text(&row[0], call.arg_types[0], Some(call)).map(Datum::text))),
    x!(3156 stable "row_to_json" (Record, Bool) -> Json = |args, call| by_datum(args, call, |row| match (&row[0], &row[1]) {
        (Datum::Record(record), Datum::Bool(true)) => record_text(record, ",\n ", Some(call)).map(Datum::text),
        (record, _) => json_text(record, call.arg_types[0], Some(call)).map(Datum::text),
    })),
    x!(3198 stable lax variadic "json_build_array" (Any) -> Json = |args, call| by_datum(args, call, |row| build_array(row, call))),
    x!(3199 stable lax "json_build_array" () -> Json = |args, call| by_datum(args, call, |row| build_array(row, call))),
    x!(3200 stable lax variadic "json_build_object" (Any) -> Json = |args, call| by_datum(args, call, |row| build_object(row, call))),
    x!(3201 stable lax "json_build_object" () -> Json = |args, call| by_datum(args, call, |row| build_object(row, call))),
    x!(3271 stable lax variadic "jsonb_build_array" (Any) -> Jsonb = |args, call| by_datum(args, call, |row| build_array_b(row, call))),
    x!(3272 stable lax "jsonb_build_array" () -> Jsonb = |args, call| by_datum(args, call, |row| build_array_b(row, call))),
    x!(3273 stable lax variadic "jsonb_build_object" (Any) -> Jsonb = |args, call| by_datum(args, call, |row| build_object_b(row, call))),
    x!(3274 stable lax "jsonb_build_object" () -> Jsonb = |args, call| by_datum(args, call, |row| build_object_b(row, call))),
    x!(3263 "jsonb_object" (TextArray) -> Jsonb = |args, call| by_datum(args, call, |row| Ok(Datum::text(Json::object(pairs(row)?).to_string())))),
    x!(3264 "jsonb_object" (TextArray, TextArray) -> Jsonb = |args, call| by_datum(args, call, |row| Ok(Datum::text(Json::object(pairs(row)?).to_string())))),
    x!(3202 "json_object" (TextArray) -> Json = |args, call| by_datum(args, call, |row| Ok(Datum::text(object_text(pairs(row)?))))),
    x!(3203 "json_object" (TextArray, TextArray) -> Json = |args, call| by_datum(args, call, |row| Ok(Datum::text(object_text(pairs(row)?))))),

    k!(3219 "jsonb_array_elements" (Jsonb) -> Jsonb = Kind::Set(|args, _| Ok(rows(items(&args, "elements")?.into_iter().map(|item| vec![Datum::text(item.to_string())]))))),
    k!(3465 "jsonb_array_elements_text" (Jsonb) -> Text = Kind::Set(|args, _| Ok(rows(items(&args, "elements")?.into_iter().map(|item| vec![text_or_null(plain(item))]))))),
    k!(3955 "json_array_elements" (Json) -> Json = Kind::Set(|args, _| Ok(rows(raw_items(&args)?.into_iter().map(|item| vec![Datum::text(item)]))))),
    k!(3969 "json_array_elements_text" (Json) -> Text = Kind::Set(|args, _| {
        let texts = raw_items(&args)?.iter().map(|item| raw_plain(item)).collect::<Result<Vec<_>>>()?;
        Ok(rows(texts.into_iter().map(|item| vec![text_or_null(item)])))
    })),
    k!(3208 columns(&[("key", SqlType::Text), ("value", SqlType::Jsonb)]) "jsonb_each" (Jsonb) -> Record = Kind::Set(|args, _| Ok(rows(members(&args, "jsonb_each")?.into_iter().map(|(key, value)| vec![Datum::text(key), Datum::text(value.to_string())]))))),
    k!(3932 columns(&[("key", SqlType::Text), ("value", SqlType::Text)]) "jsonb_each_text" (Jsonb) -> Record = Kind::Set(|args, _| Ok(rows(members(&args, "jsonb_each_text")?.into_iter().map(|(key, value)| vec![Datum::text(key), text_or_null(plain(value))]))))),
    k!(3958 columns(&[("key", SqlType::Text), ("value", SqlType::Json)]) "json_each" (Json) -> Record = Kind::Set(|args, _| Ok(rows(raw_pairs(&args, "json_each")?.into_iter().map(|(key, value)| vec![Datum::text(key), Datum::text(value)]))))),
    k!(3959 columns(&[("key", SqlType::Text), ("value", SqlType::Text)]) "json_each_text" (Json) -> Record = Kind::Set(|args, _| {
        let pairs = raw_pairs(&args, "json_each_text")?.into_iter().map(|(key, value)| Ok((key, raw_plain(&value)?))).collect::<Result<Vec<_>>>()?;
        Ok(rows(pairs.into_iter().map(|(key, value)| vec![Datum::text(key), text_or_null(value)])))
    })),
    k!(3931 "jsonb_object_keys" (Jsonb) -> Text = Kind::Set(|args, _| Ok(rows(members(&args, "jsonb_object_keys")?.into_iter().map(|(key, _)| vec![Datum::text(key)]))))),
    k!(3957 "json_object_keys" (Json) -> Text = Kind::Set(|args, _| Ok(rows(raw_pairs(&args, "json_object_keys")?.into_iter().map(|(key, _)| vec![Datum::text(key)]))))),
];

fn rows(rows: impl Iterator<Item = Vec<Datum>> + Send + 'static) -> SetRows {
    Box::new(rows.map(Ok))
}

fn text_or_null(text: Option<String>) -> Datum {
    text.map_or(Datum::Null, Datum::text)
}

fn tree(datum: &Datum) -> Result<Json> {
    Json::parse(datum.as_str().unwrap_or("null"))
}

/// The items of a text[].
pub(super) fn texts(datum: &Datum) -> Vec<Option<String>> {
    match datum {
        Datum::Array(array) => array.items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        Datum::Text(text) => vec![Some(text.to_string())],
        _ => Vec::new(),
    }
}

/// The text of `->>`: a string's characters, NULL for null, otherwise the JSON text.
fn plain(value: Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

fn member(text: &str, key: &str) -> Result<Option<Json>> {
    Ok(Json::parse(text)?.get(key).cloned())
}

/// The place that an index means, from the end when negative.
fn place(at: i64, length: usize) -> Option<usize> {
    let place = if at < 0 { at + length as i64 } else { at };
    usize::try_from(place).ok().filter(|place| *place < length)
}

fn element(text: &str, at: i32) -> Result<Option<Json>> {
    Ok(match Json::parse(text)? {
        Json::Array(mut items) => place(at.into(), items.len()).map(|place| items.swap_remove(place)),
        // A scalar at the top is stored as an array of one.
        scalar if !matches!(scalar, Json::Object(_)) => place(at.into(), 1).map(|_| scalar),
        _ => None,
    })
}

/// Calls with the json text and the path: one text[], or any number of texts.
fn by_path(
    args: &[ArrayRef],
    call: &Call<'_>,
    body: fn(&str, &[Option<String>]) -> Result<Option<String>>,
) -> Result<ArrayRef> {
    by_datum(args, call, |row| {
        let path: Vec<Option<String>> = row[1..].iter().flat_map(texts).collect();
        Ok(text_or_null(body(row[0].as_str().unwrap_or_default(), &path)?))
    })
}

fn descend<'a>(value: &'a Json, path: &[Option<String>]) -> Option<&'a Json> {
    path.iter().try_fold(value, |value, step| {
        let step = step.as_deref()?;
        match value {
            Json::Object(_) => value.get(step),
            Json::Array(items) => items.get(place(step.trim().parse().ok()?, items.len())?),
            _ => None,
        }
    })
}

/// The members of a json object, as written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Visit).map(Members)
    }
}

fn raw_object(text: &str) -> Option<Vec<(String, &RawValue)>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str::<Members<'_>>(text).ok().map(|members| members.0)
}

fn raw_array(text: &str) -> Option<Vec<&RawValue>> {
    if !text.trim_start().starts_with('[') {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn raw_member(text: &str, key: &str) -> Result<Option<String>> {
    let members = raw_object(text).unwrap_or_default();
    Ok(members.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.get().to_owned()))
}

fn raw_element(text: &str, at: i32) -> Result<Option<String>> {
    let items = raw_array(text).unwrap_or_default();
    Ok(place(at.into(), items.len()).map(|place| items[place].get().to_owned()))
}

fn raw_plain(text: &str) -> Result<Option<String>> {
    let trimmed = text.trim();
    if trimmed == "null" {
        return Ok(None);
    }
    if trimmed.starts_with('"') {
        return Ok(plain(Json::parse(trimmed)?));
    }
    Ok(Some(trimmed.to_owned()))
}

fn raw_descend(text: &str, path: &[Option<String>]) -> Result<Option<String>> {
    let mut value = text.to_owned();
    for step in path {
        let Some(step) = step else { return Ok(None) };
        let found = if value.trim_start().starts_with('[') {
            match step.trim().parse::<i32>() {
                Ok(at) => raw_element(&value, at)?,
                Err(_) => None,
            }
        } else {
            raw_member(&value, step)?
        };
        match found {
            Some(found) => value = found,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

/// jsonb's equality: numbers by value.
fn equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => {
            a == b || matches!((Numeric::parse(a), Numeric::parse(b)), (Some(a), Some(b)) if a.compare(&b).is_eq())
        }
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((ka, va), (kb, vb))| ka == kb && equal(va, vb))
        }
        _ => a == b,
    }
}

/// `@>`: objects by keys, arrays as sets; an array at the top also contains a plain scalar.
fn contains(whole: &Json, part: &Json) -> bool {
    if let (Json::Array(items), Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_)) = (whole, part) {
        return items.iter().any(|item| equal(item, part));
    }
    contains_inside(whole, part)
}

fn contains_inside(whole: &Json, part: &Json) -> bool {
    match (whole, part) {
        (Json::Object(_), Json::Object(members)) => {
            members.iter().all(|(key, value)| whole.get(key).is_some_and(|found| contains_inside(found, value)))
        }
        (Json::Array(items), Json::Array(wanted)) => {
            wanted.iter().all(|wanted| items.iter().any(|item| contains_inside(item, wanted)))
        }
        (Json::Object(_) | Json::Array(_), _) | (_, Json::Object(_) | Json::Array(_)) => false,
        _ => equal(whole, part),
    }
}

fn exists(value: &Json, key: &str) -> bool {
    match value {
        Json::Object(_) => value.get(key).is_some(),
        Json::Array(items) => items.iter().any(|item| matches!(item, Json::String(text) if text == key)),
        Json::String(text) => text == key,
        _ => false,
    }
}

fn concat(a: Json, b: Json) -> Json {
    match (a, b) {
        (Json::Object(mut a), Json::Object(b)) => {
            a.extend(b);
            Json::object(a)
        }
        (a, b) => {
            let items = |value| if let Json::Array(items) = value { items } else { vec![value] };
            let mut all = items(a);
            all.extend(items(b));
            Json::Array(all)
        }
    }
}

/// `jsonb_set` that says what an SQL NULL as the new value means.
fn set_lax(row: &[Datum]) -> Result<Datum> {
    if row[0].is_null() || row[1].is_null() || row[3].is_null() {
        return Ok(Datum::Null);
    }
    let treatment = row[4].as_str().unwrap_or_default();
    if !matches!(treatment, "delete_key" | "return_target" | "use_json_null" | "raise_exception") {
        let message = "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \
                       \"raise_exception\"";
        return fail(SqlState::INVALID_PARAMETER_VALUE, message);
    }
    let create = row[3] == Datum::Bool(true);
    let what = match (row[2].is_null(), treatment) {
        (false, _) => Edit::Set { new: tree(&row[2])?, create },
        (true, "use_json_null") => Edit::Set { new: Json::Null, create },
        (true, "delete_key") => Edit::Delete,
        (true, "return_target") => return Ok(row[0].clone()),
        _ => {
            return Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "JSON value must not be null")
                .with_detail("Exception was raised because null_value_treatment is \"raise_exception\".")
                .with_hint(
                    "To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is not passed.",
                ));
        }
    };
    edit(tree(&row[0])?, &texts(&row[1]), &what).map(|value| Datum::text(value.to_string()))
}

fn scalar_edit<T>(what: &str) -> Result<T> {
    fail(SqlState::INVALID_PARAMETER_VALUE, format!("cannot {what} scalar"))
}

fn without(value: Json, keys: &[&str]) -> Result<Json> {
    Ok(match value {
        Json::Object(members) => {
            Json::Object(members.into_iter().filter(|(key, _)| !keys.contains(&key.as_str())).collect())
        }
        Json::Array(items) => {
            let kept = |item: &Json| !matches!(item, Json::String(text) if keys.contains(&text.as_str()));
            Json::Array(items.into_iter().filter(kept).collect())
        }
        _ => return scalar_edit("delete from"),
    })
}

fn without_item(value: Json, at: i32) -> Result<Json> {
    match value {
        Json::Array(mut items) => {
            if let Some(place) = place(at.into(), items.len()) {
                items.remove(place);
            }
            Ok(Json::Array(items))
        }
        Json::Object(_) => fail(SqlState::INVALID_PARAMETER_VALUE, "cannot delete from object using integer index"),
        _ => scalar_edit("delete from"),
    }
}

/// What is done at the end of a path.
enum Edit {
    Set { new: Json, create: bool },
    Insert { new: Json, after: bool },
    Delete,
}

fn edit(value: Json, path: &[Option<String>], what: &Edit) -> Result<Json> {
    if !matches!(value, Json::Object(_) | Json::Array(_)) {
        return scalar_edit(if matches!(what, Edit::Delete) { "delete path in" } else { "set path in" });
    }
    edit_at(value, path, 1, what)
}

fn edit_at(value: Json, path: &[Option<String>], depth: usize, what: &Edit) -> Result<Json> {
    let Some((step, rest)) = path.split_first() else { return Ok(value) };
    let Some(step) = step.as_deref() else {
        let message = format!("path element at position {depth} is null");
        return fail(SqlState::NULL_VALUE_NOT_ALLOWED, message);
    };
    match value {
        Json::Object(members) => edit_member(members, step, rest, depth, what),
        Json::Array(items) => edit_item(items, step, rest, depth, what),
        scalar => Ok(scalar),
    }
}

fn edit_member(
    mut members: Vec<(String, Json)>,
    step: &str,
    rest: &[Option<String>],
    depth: usize,
    what: &Edit,
) -> Result<Json> {
    let found = members.iter().position(|(key, _)| key == step);
    match (found, rest.is_empty(), what) {
        (Some(at), false, _) => {
            let old = std::mem::replace(&mut members[at].1, Json::Null);
            members[at].1 = edit_at(old, rest, depth + 1, what)?;
        }
        (None, false, _) => {}
        (Some(at), true, Edit::Delete) => {
            members.remove(at);
        }
        (Some(at), true, Edit::Set { new, .. }) => members[at].1 = new.clone(),
        (Some(_), true, Edit::Insert { .. }) => {
            let error = SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "cannot replace existing key");
            return Err(error.with_hint("Try using the function jsonb_set to replace key value."));
        }
        (None, true, Edit::Set { new, create: true } | Edit::Insert { new, .. }) => {
            members.push((step.to_owned(), new.clone()));
            return Ok(Json::object(members));
        }
        (None, true, _) => {}
    }
    Ok(Json::Object(members))
}

fn edit_item(mut items: Vec<Json>, step: &str, rest: &[Option<String>], depth: usize, what: &Edit) -> Result<Json> {
    let Ok(index) = step.trim().parse::<i64>() else {
        let message = format!("path element at position {depth} is not an integer: \"{step}\"");
        return fail(SqlState::INVALID_TEXT_REPRESENTATION, message);
    };
    let found = place(index, items.len());
    // Outside the array: in front for a negative index, else behind.
    let edge = if index < 0 { 0 } else { items.len() };
    match (found, rest.is_empty(), what) {
        (Some(at), false, _) => {
            let old = std::mem::replace(&mut items[at], Json::Null);
            items[at] = edit_at(old, rest, depth + 1, what)?;
        }
        (None, false, _) => {}
        (Some(at), true, Edit::Delete) => {
            items.remove(at);
        }
        (Some(at), true, Edit::Set { new, .. }) => items[at] = new.clone(),
        (Some(at), true, Edit::Insert { new, after }) => items.insert(at + usize::from(*after), new.clone()),
        (None, true, Edit::Set { new, create: true } | Edit::Insert { new, .. }) => items.insert(edge, new.clone()),
        (None, true, _) => {}
    }
    Ok(Json::Array(items))
}

fn strip_nulls(value: Json) -> Json {
    match value {
        Json::Object(members) => Json::Object(
            members
                .into_iter()
                .filter(|(_, value)| *value != Json::Null)
                .map(|(key, value)| (key, strip_nulls(value)))
                .collect(),
        ),
        Json::Array(items) => Json::Array(items.into_iter().map(strip_nulls).collect()),
        other => other,
    }
}

/// Without blanks.
fn compact(value: &Json) -> String {
    match value {
        Json::Array(items) => format!("[{}]", items.iter().map(compact).collect::<Vec<_>>().join(",")),
        Json::Object(members) => {
            let members = members.iter().map(|(key, value)| format!("{}:{}", quoted(key), compact(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        scalar => scalar.to_string(),
    }
}

fn pretty(value: &Json) -> String {
    let mut out = String::new();
    pretty_at(value, 0, &mut out);
    out
}

fn pretty_at(value: &Json, depth: usize, out: &mut String) {
    let indent = |out: &mut String, depth: usize| out.extend(std::iter::repeat_n("    ", depth));
    let (open, close, count) = match value {
        Json::Object(members) => ('{', '}', members.len()),
        Json::Array(items) => ('[', ']', items.len()),
        scalar => return out.push_str(&scalar.to_string()),
    };
    out.push(open);
    out.push('\n');
    for place in 0..count {
        indent(out, depth + 1);
        match value {
            Json::Object(members) => {
                out.push_str(&Json::String(members[place].0.clone()).to_string());
                out.push_str(": ");
                pretty_at(&members[place].1, depth + 1, out);
            }
            Json::Array(items) => pretty_at(&items[place], depth + 1, out),
            _ => {}
        }
        out.push_str(if place + 1 < count { ",\n" } else { "\n" });
    }
    indent(out, depth);
    out.push(close);
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn array_length(text: &str) -> Result<i32> {
    match Json::parse(text)? {
        Json::Array(items) => Ok(items.len() as i32),
        Json::Object(_) => fail(SqlState::INVALID_PARAMETER_VALUE, "cannot get array length of a non-array"),
        _ => fail(SqlState::INVALID_PARAMETER_VALUE, "cannot get array length of a scalar"),
    }
}

fn items(args: &[Datum], what: &str) -> Result<Vec<Json>> {
    match tree(&args[0])? {
        Json::Array(items) => Ok(items),
        Json::Object(_) => fail(SqlState::INVALID_PARAMETER_VALUE, format!("cannot extract {what} from an object")),
        _ => fail(SqlState::INVALID_PARAMETER_VALUE, format!("cannot extract {what} from a scalar")),
    }
}

fn raw_items(args: &[Datum]) -> Result<Vec<String>> {
    let text = args[0].as_str().unwrap_or_default();
    match raw_array(text) {
        Some(items) => Ok(items.iter().map(|item| item.get().to_owned()).collect()),
        None => items(args, "elements").map(|_| Vec::new()),
    }
}

fn no_object<T>(value: &Json, function: &str) -> Result<T> {
    let each = function.contains("each");
    let what = match value {
        _ if each => "a non-object",
        Json::Array(_) => "an array",
        _ => "a scalar",
    };
    fail(SqlState::INVALID_PARAMETER_VALUE, format!("cannot call {function} on {what}"))
}

fn members(args: &[Datum], function: &str) -> Result<Vec<(String, Json)>> {
    match tree(&args[0])? {
        Json::Object(members) => Ok(members),
        other => no_object(&other, function),
    }
}

fn raw_pairs(args: &[Datum], function: &str) -> Result<Vec<(String, String)>> {
    match raw_object(args[0].as_str().unwrap_or_default()) {
        Some(members) => Ok(members.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect()),
        None => no_object(&tree(&args[0])?, function),
    }
}

/// jsonb → boolean.
pub(super) fn scalar_bool(text: &str) -> Result<bool> {
    match Json::parse(text)? {
        Json::Bool(value) => Ok(value),
        other => Err(super::casts::cannot_cast(jsonb_kind(&other), "boolean")),
    }
}

/// jsonb → a number type.
pub(super) fn scalar_numeric(text: &str, type_name: &str) -> Result<Numeric> {
    match Json::parse(text)? {
        Json::Number(text) => Numeric::from_text(&text).map_err(|error| error.report(&text)),
        other => Err(super::casts::cannot_cast(jsonb_kind(&other), type_name)),
    }
}

fn jsonb_kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "jsonb null",
        Json::Bool(_) => "jsonb boolean",
        Json::Number(_) => "jsonb numeric",
        Json::String(_) => "jsonb string",
        Json::Array(_) => "jsonb array",
        Json::Object(_) => "jsonb object",
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    // Writing into a String cannot fail.
    let _ = write_string(text, &mut out);
    out
}

/// The text of a value outside a call, where the session is not known.
fn value_text(datum: &Datum, ty: PgType, call: Option<&Call<'_>>) -> Result<String> {
    match call {
        Some(call) => text_of(datum, ty, call),
        None => super::nowhere::text_of(datum, ty),
    }
}

/// What `to_json` makes of a value.
pub(super) fn json_text(datum: &Datum, ty: PgType, call: Option<&Call<'_>>) -> Result<String> {
    use SqlType::*;
    if let Datum::Array(array) = datum {
        let element = array.element.into();
        if array.items.is_empty() {
            return Ok("[]".to_owned());
        }
        let brackets = Brackets::new(array.shape.as_ref(), array.items.len());
        let mut out = String::new();
        for (place, item) in array.items.iter().enumerate() {
            out.push_str(if place > 0 { "," } else { "" });
            out.extend(std::iter::repeat_n('[', brackets.opening(place)));
            out.push_str(&json_text(item, element, call)?);
            out.extend(std::iter::repeat_n(']', brackets.closing(place)));
        }
        return Ok(out);
    }
    if let Datum::Record(record) = datum {
        return record_text(record, ",", call);
    }
    Ok(match (datum, ty.ty) {
        (Datum::Null, _) => "null".to_owned(),
        (Datum::Bool(value), _) => value.to_string(),
        (Datum::Text(text), Json | Jsonb) => text.to_string(),
        (_, Int2 | Int4 | Int8 | Float4 | Float8 | Numeric) => {
            let text = value_text(datum, ty, call)?;
            // NaN and the infinities are no JSON numbers.
            if text.ends_with(|c: char| c.is_ascii_digit()) { text } else { quoted(&text) }
        }
        (_, Date | Timestamp | Timestamptz) => quoted(&iso_text(datum, ty, call)?),
        _ => quoted(&value_text(datum, ty, call)?),
    })
}

/// The key that a value makes: its JSON form without quotes.
pub(super) fn json_key(datum: &Datum, ty: PgType, call: Option<&Call<'_>>) -> Result<String> {
    if ty.ty.is_array() || matches!(ty.ty, SqlType::Record | SqlType::Json | SqlType::Jsonb) {
        let message = "key value must be scalar, not array, composite, or json";
        return fail(SqlState::INVALID_PARAMETER_VALUE, message);
    }
    if let Datum::Text(text) = datum {
        return Ok(text.to_string());
    }
    let text = json_text(datum, ty, call)?;
    match text.starts_with('"') {
        true => Ok(plain(Json::parse(&text)?).unwrap_or_default()),
        false => Ok(text),
    }
}

/// `{"a":1,"b":"x"}`
fn record_text(record: &RecordDatum, separator: &str, call: Option<&Call<'_>>) -> Result<String> {
    let member =
        |field: &RecordField| Ok(format!("{}:{}", quoted(&field.name), json_text(&field.value, field.ty, call)?));
    let members = record.fields.iter().map(member).collect::<Result<Vec<_>>>()?;
    Ok(format!("{{{}}}", members.join(separator)))
}

/// Dates and times as XML Schema writes them, whatever DateStyle says.
fn iso_text(datum: &Datum, ty: PgType, call: Option<&Call<'_>>) -> Result<String> {
    let style = crate::types::Style {
        time_zone: call.map_or(crate::types::Style::default().time_zone, |call| call.around.style().time_zone.clone()),
        ..crate::types::Style::default()
    };
    let mut text = crate::types::to_text(datum, ty, &style, &super::nowhere::Nowhere)?;
    if ty.ty == SqlType::Date || !text.contains(' ') {
        return Ok(text);
    }
    if let Some(at) = text.find(' ') {
        text.replace_range(at..=at, "T");
    }
    if ty.ty == SqlType::Timestamptz
        && let Some(sign) = text.rfind(['+', '-'])
        && !text[sign..].contains(':')
    {
        text.insert_str(sign + 3, ":00");
    }
    Ok(text)
}

/// Items as arrays inside arrays.
fn nested(items: &mut dyn Iterator<Item = Result<Json>>, dimensions: &[Dimension]) -> Result<Json> {
    let Some((outer, inner)) = dimensions.split_first() else { return items.next().unwrap_or(Ok(Json::Null)) };
    (0..outer.length).map(|_| nested(items, inner)).collect::<Result<_>>().map(Json::Array)
}

/// What `to_jsonb` makes of a value.
pub(super) fn json_value(datum: &Datum, ty: PgType, call: Option<&Call<'_>>) -> Result<Json> {
    if let Datum::Array(array) = datum {
        let element = array.element.into();
        let mut items = array.items.iter().map(|item| json_value(item, element, call));
        let dimensions = dimensions_of(array.shape.as_ref(), array.items.len(), 1);
        if dimensions.is_empty() {
            return Ok(Json::Array(Vec::new()));
        }
        return nested(&mut items, &dimensions);
    }
    if let Datum::Record(record) = datum {
        let member = |field: &RecordField| Ok((field.name.to_string(), json_value(&field.value, field.ty, call)?));
        return Ok(Json::object(record.fields.iter().map(member).collect::<Result<_>>()?));
    }
    match (datum, ty.ty) {
        (Datum::Text(text), SqlType::Text | SqlType::Varchar | SqlType::Unknown) => Ok(Json::String(text.to_string())),
        _ => Json::parse(&json_text(datum, ty, call)?),
    }
}

fn build_array(row: &[Datum], call: &Call<'_>) -> Result<Datum> {
    let items = row.iter().zip(call.arg_types).map(|(item, ty)| json_text(item, *ty, Some(call)));
    Ok(Datum::text(format!("[{}]", items.collect::<Result<Vec<_>>>()?.join(", "))))
}

fn build_array_b(row: &[Datum], call: &Call<'_>) -> Result<Datum> {
    let items = row.iter().zip(call.arg_types).map(|(item, ty)| json_value(item, *ty, Some(call)));
    Ok(Datum::text(Json::Array(items.collect::<Result<_>>()?).to_string()))
}

fn even(row: &[Datum], function: &str) -> Result<()> {
    if row.len() % 2 == 0 {
        return Ok(());
    }
    let error = SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "argument list must have even number of elements");
    Err(error.with_hint(format!("The arguments of {function}() must consist of alternating keys and values.")))
}

fn build_object(row: &[Datum], call: &Call<'_>) -> Result<Datum> {
    even(row, "json_build_object")?;
    let mut members = Vec::with_capacity(row.len() / 2);
    for (place, pair) in row.chunks_exact(2).enumerate() {
        if pair[0].is_null() {
            let message = format!("argument {} cannot be null", 2 * place + 1);
            return Err(
                SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).with_hint("Object keys should be text.")
            );
        }
        let types = &call.arg_types[2 * place..];
        let key = quoted(&json_key(&pair[0], types[0], Some(call))?);
        members.push(format!("{key} : {}", json_text(&pair[1], types[1], Some(call))?));
    }
    Ok(Datum::text(format!("{{{}}}", members.join(", "))))
}

fn build_object_b(row: &[Datum], call: &Call<'_>) -> Result<Datum> {
    even(row, "jsonb_build_object")?;
    let mut members = Vec::with_capacity(row.len() / 2);
    for (place, pair) in row.chunks_exact(2).enumerate() {
        if pair[0].is_null() {
            let message = format!("argument {}: key must not be null", 2 * place + 1);
            return fail(SqlState::INVALID_PARAMETER_VALUE, message);
        }
        let types = &call.arg_types[2 * place..];
        members.push((json_key(&pair[0], types[0], Some(call))?, json_value(&pair[1], types[1], Some(call))?));
    }
    Ok(Datum::text(Json::object(members).to_string()))
}

/// The members that one array of alternating keys and values, or two arrays, describe.
fn pairs(row: &[Datum]) -> Result<Vec<(String, Json)>> {
    let (keys, values): (Vec<_>, Vec<_>) = match row {
        [both] => {
            let both = texts(both);
            if both.len() % 2 == 1 {
                return fail(SqlState::ARRAY_SUBSCRIPT_ERROR, "array must have even number of elements");
            }
            both.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).unzip()
        }
        _ => (texts(&row[0]), texts(&row[1])),
    };
    if keys.len() != values.len() {
        return fail(SqlState::ARRAY_SUBSCRIPT_ERROR, "mismatched array dimensions");
    }
    keys.into_iter()
        .zip(values)
        .map(|(key, value)| match key {
            Some(key) => Ok((key, value.map_or(Json::Null, Json::String))),
            None => fail(SqlState::NULL_VALUE_NOT_ALLOWED, "null value not allowed for object key"),
        })
        .collect()
}

fn object_text(members: Vec<(String, Json)>) -> String {
    let members: Vec<String> = members.iter().map(|(key, value)| format!("{} : {value}", quoted(key))).collect();
    format!("{{{}}}", members.join(", "))
}

/// A jsonb value's key: bytes in jsonb's order (null, string, number, boolean, array, object; longer arrays and
/// objects above shorter ones).
pub(super) fn sort_key(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 8);
    match Json::parse(text)? {
        // An empty array at the top sorts below everything in PostgreSQL, by an accident kept for good.
        Json::Array(items) if items.is_empty() => out.push(0),
        value => write_key(&value, &mut out),
    }
    Ok(out)
}

fn write_key(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => out.push(1),
        Json::String(text) => {
            out.push(2);
            super::compare::write_bytes(text.as_bytes(), out);
        }
        Json::Number(text) => {
            out.push(3);
            let bytes = Numeric::parse(text).map(|number| number.to_bytes()).unwrap_or_default();
            // A numeric's key says itself where it ends.
            out.extend_from_slice(Numeric::key(&bytes));
        }
        Json::Bool(value) => out.extend([4, u8::from(*value)]),
        Json::Array(items) => {
            out.push(5);
            out.extend((items.len() as u32).to_be_bytes());
            items.iter().for_each(|item| write_key(item, out));
        }
        Json::Object(members) => {
            out.push(6);
            out.extend((members.len() as u32).to_be_bytes());
            for (key, value) in members {
                super::compare::write_bytes(key.as_bytes(), out);
                write_key(value, out);
            }
        }
    }
}
