//! Functions of jsonpath (PostgreSQL manual 9.16.2): what a path expression finds in a jsonb value.
//!
//! `item` is what paths find, `evaluate` walks an expression, `moment` has the dates and times of `.datetime()`.

mod evaluate;
mod item;
mod moment;

use super::rows::{by_datum, k, x};
use super::{Call, Function, Kind, SetRows};
use crate::types::json::Json;
use crate::types::jsonpath::JsonPath;
use arrow_array::ArrayRef;
use evaluate::{Evaluation, Zones};
use kalamdb_commons::{Datum, Result, SqlError, SqlState};
use std::cell::RefCell;
use std::rc::Rc;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    x!(4005 defaults(2) "jsonb_path_exists" (Jsonb, Jsonpath, Jsonb, Bool) -> Bool = |args, call| each(args, call, Zoned::No, exists)),
    x!(4009 defaults(2) "jsonb_path_match" (Jsonb, Jsonpath, Jsonb, Bool) -> Bool = |args, call| each(args, call, Zoned::No, is_match)),
    x!(4007 defaults(2) "jsonb_path_query_array" (Jsonb, Jsonpath, Jsonb, Bool) -> Jsonb = |args, call| each(args, call, Zoned::No, array)),
    x!(4008 defaults(2) "jsonb_path_query_first" (Jsonb, Jsonpath, Jsonb, Bool) -> Jsonb = |args, call| each(args, call, Zoned::No, first)),
    x!(1177 stable defaults(2) "jsonb_path_exists_tz" (Jsonb, Jsonpath, Jsonb, Bool) -> Bool = |args, call| each(args, call, Zoned::Yes, exists)),
    x!(2030 stable defaults(2) "jsonb_path_match_tz" (Jsonb, Jsonpath, Jsonb, Bool) -> Bool = |args, call| each(args, call, Zoned::Yes, is_match)),
    x!(1180 stable defaults(2) "jsonb_path_query_array_tz" (Jsonb, Jsonpath, Jsonb, Bool) -> Jsonb = |args, call| each(args, call, Zoned::Yes, array)),
    x!(2023 stable defaults(2) "jsonb_path_query_first_tz" (Jsonb, Jsonpath, Jsonb, Bool) -> Jsonb = |args, call| each(args, call, Zoned::Yes, first)),
    k!(4006 defaults(2) "jsonb_path_query" (Jsonb, Jsonpath, Jsonb, Bool) -> Jsonb = Kind::Set(|args, call| query(&args, call, Zoned::No))),
    k!(1179 stable defaults(2) "jsonb_path_query_tz" (Jsonb, Jsonpath, Jsonb, Bool) -> Jsonb = Kind::Set(|args, call| query(&args, call, Zoned::Yes))),
    x!(4010 "jsonb_path_exists_opr" (Jsonb, Jsonpath) -> Bool = |args, call| each(args, call, Zoned::No, exists)),
    x!(4011 "jsonb_path_match_opr" (Jsonb, Jsonpath) -> Bool = |args, call| each(args, call, Zoned::No, is_match)),
];

/// Whether times may be compared by the session's time zone.
#[derive(Clone, Copy, PartialEq)]
enum Zoned {
    Yes,
    No,
}

/// One call's arguments.
struct Question<'a> {
    target: Json,
    path: Rc<JsonPath>,
    variables: Option<Json>,
    silent: bool,
    zones: Zones<'a>,
}

/// Read paths of this thread: a path is the same for all rows, as a rule.
const CACHE_MAX: usize = 16;

thread_local! {
    static CACHE: RefCell<Vec<(String, Rc<JsonPath>)>> = const { RefCell::new(Vec::new()) };
}

fn read_path(text: &str) -> Result<Rc<JsonPath>> {
    CACHE.with_borrow_mut(|cache| {
        if let Some(at) = cache.iter().position(|(known, _)| known == text) {
            cache[..=at].rotate_right(1);
            return Ok(cache[0].1.clone());
        }
        let path = Rc::new(JsonPath::parse(text)?);
        cache.truncate(CACHE_MAX - 1);
        cache.insert(0, (text.to_owned(), path.clone()));
        Ok(path)
    })
}

impl<'a> Question<'a> {
    fn read(row: &[Datum], call: &'a Call<'_>, zoned: Zoned) -> Result<Self> {
        let text = |at: usize| row.get(at).and_then(Datum::as_str).unwrap_or("null");
        let variables = match row.get(2) {
            Some(_) => {
                let variables = Json::parse(text(2))?;
                if !matches!(variables, Json::Object(_)) {
                    let message = "\"vars\" argument is not an object";
                    return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
                        .with_detail("Jsonpath parameters should be encoded as key-value pairs of \"vars\" object."));
                }
                Some(variables)
            }
            None => None,
        };
        Ok(Question {
            target: Json::parse(text(0))?,
            path: read_path(text(1))?,
            variables,
            // The operators keep silent.
            silent: row.len() == 2 || row.get(3) == Some(&Datum::Bool(true)),
            zones: Zones { style: call.around.style(), around: call.around, usable: zoned == Zoned::Yes },
        })
    }

    fn evaluation(&self) -> Evaluation<'_> {
        Evaluation::new(&self.path, &self.target, self.variables.as_ref(), !self.silent, self.zones)
    }
}

fn each(
    args: &[ArrayRef],
    call: &Call<'_>,
    zoned: Zoned,
    answer: fn(&Question<'_>) -> Result<Datum>,
) -> Result<ArrayRef> {
    by_datum(args, call, |row| answer(&Question::read(row, call, zoned)?))
}

fn exists(question: &Question<'_>) -> Result<Datum> {
    Ok(question.evaluation().exists()?.map_or(Datum::Null, Datum::Bool))
}

fn is_match(question: &Question<'_>) -> Result<Datum> {
    let found = question.evaluation().query()?;
    match found.as_slice() {
        [item::Item::Bool(value)] => Ok(Datum::Bool(*value)),
        [item::Item::Null] => Ok(Datum::Null),
        _ if question.silent => Ok(Datum::Null),
        _ => Err(SqlError::new(SqlState::SINGLETON_SQL_JSON_ITEM_REQUIRED, "single boolean result is expected")),
    }
}

fn array(question: &Question<'_>) -> Result<Datum> {
    let found = question.evaluation().query()?;
    Ok(Datum::text(Json::Array(found.iter().map(item::Item::to_json).collect()).to_string()))
}

fn first(question: &Question<'_>) -> Result<Datum> {
    let found = question.evaluation().query()?;
    Ok(found.first().map_or(Datum::Null, |item| Datum::text(item.to_json().to_string())))
}

fn query(args: &[Datum], call: &Call<'_>, zoned: Zoned) -> Result<SetRows> {
    let question = Question::read(args, call, zoned)?;
    let found = question.evaluation().query()?;
    let rows: Vec<Datum> = found.iter().map(|item| Datum::text(item.to_json().to_string())).collect();
    Ok(Box::new(rows.into_iter().map(|row| Ok(vec![row]))))
}
