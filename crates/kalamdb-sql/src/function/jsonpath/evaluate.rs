//! Walks a path expression over a value.
//!
//! Each accessor passes what it finds to the next one, so that a walk ends early where only the existence of an item
//! is asked for. Errors are of two kinds: those that conditions turn into unknown and silent calls into NULL, and
//! those that nothing keeps back.

use super::super::size::json_end;
use super::super::{Nowhere, Surroundings};
use super::item::{Item, Pair};
use super::moment::Moment;
use crate::types::json::Json;
use crate::types::jsonpath::{Arithmetic, Comparison, Expr, Head, JsonPath, Method, Predicate, Sign, Step};
use crate::types::{Style, from_text};
use kalamdb_commons::numeric::arithmetic::Op;
use kalamdb_commons::{Datum, Numeric, Result, SqlError, SqlState, SqlType};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

/// What knows the time zone.
#[derive(Clone, Copy)]
pub(super) struct Zones<'a> {
    pub(super) style: &'a Style,
    pub(super) around: &'a dyn Surroundings,
    /// Whether it may be used.
    pub(super) usable: bool,
}

/// Why a walk stops.
#[derive(Debug)]
enum Stop {
    /// An error that conditions and silent calls keep back: empty where nobody will see it.
    Soft(Option<SqlError>),
    Hard(SqlError),
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Stop::Hard(error)
    }
}

type Walk<T> = std::result::Result<T, Stop>;
/// Where found items go; without it the question is whether there is one.
type Found<'f, 'a> = Option<&'f mut Vec<Item<'a>>>;

/// Where the ids of `.keyvalue()` count from.
#[derive(Clone, Copy)]
struct Base {
    id: i64,
    shift: i64,
}

const IDS_PER_BASE: i64 = 10_000_000_000;
/// Levels of `.**`: the one of the leaves.
const LEAVES: u32 = u32::MAX;

/// One evaluation.
pub(super) struct Evaluation<'a> {
    path: &'a JsonPath,
    target: &'a Json,
    variables: Option<&'a Json>,
    zones: Zones<'a>,
    current: Item<'a>,
    /// Whether structural errors are errors.
    structural: bool,
    throws: bool,
    /// The length of the array whose subscript is computed.
    array_len: Option<usize>,
    base: Base,
    next_id: i64,
    /// Where arrays and objects are in PostgreSQL's form of their document, by their address.
    places: Option<HashMap<*const Json, i64>>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(
        path: &'a JsonPath,
        target: &'a Json,
        variables: Option<&'a Json>,
        throws: bool,
        zones: Zones<'a>,
    ) -> Self {
        Evaluation {
            path,
            target,
            variables,
            zones,
            current: Item::from(target),
            structural: path.strict,
            throws,
            array_len: None,
            base: Base { id: 0, shift: 0 },
            next_id: if variables.is_some() { 2 } else { 1 },
            places: None,
        }
    }

    /// What the path finds. A silent evaluation gives what it found before an error.
    pub(super) fn query(mut self) -> Result<Vec<Item<'a>>> {
        let mut found = Vec::new();
        match self.walk(&self.path.root, 0, Item::from(self.target), Some(&mut found)) {
            Ok(_) => Ok(found),
            Err(stop) => self.report(stop).map(|()| found),
        }
    }

    /// Whether the path finds anything; `None` for an error that is kept back.
    pub(super) fn exists(mut self) -> Result<Option<bool>> {
        let target = Item::from(self.target);
        // Strict paths are walked to their end, for there may be errors.
        let found = if self.path.strict {
            let mut found = Vec::new();
            self.walk(&self.path.root, 0, target, Some(&mut found)).map(|_| !found.is_empty())
        } else {
            self.walk(&self.path.root, 0, target, None)
        };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(stop) => self.report(stop).map(|()| None),
        }
    }

    fn report(&self, stop: Stop) -> Result<()> {
        match stop {
            Stop::Soft(None) => Ok(()),
            Stop::Soft(Some(error)) | Stop::Hard(error) => Err(error),
        }
    }

    fn is_lax(&self) -> bool {
        !self.path.strict
    }

    fn soft<T>(&self, state: SqlState, message: impl FnOnce() -> String) -> Walk<T> {
        Err(Stop::Soft(self.throws.then(|| SqlError::new(state, message()))))
    }

    /// An error of structure: nothing is found where those are ignored.
    fn misfit(&self, state: SqlState, message: impl FnOnce() -> String) -> Walk<bool> {
        if self.structural { self.soft(state, message) } else { Ok(false) }
    }

    /// Evaluates an expression from its head (0) or an accessor (from 1) on. Arrays are unwrapped for accessors of
    /// objects in lax mode.
    fn walk(&mut self, expr: &'a Expr, at: usize, item: Item<'a>, found: Found<'_, 'a>) -> Walk<bool> {
        self.walk_unwrapping(expr, at, item, found, self.is_lax())
    }

    fn walk_unwrapping(
        &mut self,
        expr: &'a Expr,
        at: usize,
        item: Item<'a>,
        found: Found<'_, 'a>,
        unwrap: bool,
    ) -> Walk<bool> {
        stacker::maybe_grow(128 * 1024, 1024 * 1024, || match at {
            0 => self.head(expr, item, found),
            _ => self.step(expr, at, item, found, unwrap),
        })
    }

    /// Passes an item to the accessor behind `at`, or to what was found.
    fn next(&mut self, expr: &'a Expr, at: usize, item: Item<'a>, found: Found<'_, 'a>) -> Walk<bool> {
        if at < expr.steps.len() {
            return self.walk(expr, at + 1, item, found);
        }
        if let Some(found) = found {
            found.push(item);
        }
        Ok(true)
    }

    fn head(&mut self, expr: &'a Expr, item: Item<'a>, found: Found<'_, 'a>) -> Walk<bool> {
        let base = self.base;
        let value = match &expr.head {
            Head::Root => {
                self.base = Base { id: 0, shift: 0 };
                Item::from(self.target)
            }
            Head::Current => self.current.clone(),
            Head::Null => Item::Null,
            Head::Bool(value) => Item::Bool(*value),
            Head::Number(text) => Item::Number(text.as_str().into()),
            Head::String(text) => Item::String(text.as_str().into()),
            Head::Variable(name) => self.variable(name)?,
            Head::Last => {
                let Some(length) = self.array_len else {
                    return Err(Stop::Hard(SqlError::internal("evaluating jsonpath LAST outside of array subscript")));
                };
                Item::Number((length as i64 - 1).to_string().into())
            }
            Head::Arithmetic(operator, left, right) => self.arithmetic(*operator, left, right, &item)?,
            Head::Sign(sign, operand) => return self.signed(expr, *sign, operand, item, found),
            Head::Predicate(predicate) => {
                if found.is_none() && expr.steps.is_empty() {
                    // Its value exists whatever it is, and errors are values too; only the hard ones remain.
                    self.condition(predicate, &item)?;
                    return Ok(true);
                }
                self.condition(predicate, &item)?.map_or(Item::Null, Item::Bool)
            }
        };
        let walked = self.next(expr, 0, value, found);
        self.base = base;
        walked
    }

    fn variable(&mut self, name: &str) -> Walk<Item<'a>> {
        match self.variables.and_then(|variables| variables.get(name)) {
            Some(value) => {
                self.base = Base { id: 1, shift: 0 };
                Ok(Item::from(value))
            }
            None => {
                let message = format!("could not find jsonpath variable \"{name}\"");
                Err(Stop::Hard(SqlError::new(SqlState::UNDEFINED_OBJECT, message)))
            }
        }
    }

    fn step(&mut self, expr: &'a Expr, at: usize, item: Item<'a>, found: Found<'_, 'a>, unwrap: bool) -> Walk<bool> {
        let Some(step) = expr.steps.get(at - 1) else { return Ok(false) };
        let unwraps = matches!(step, Step::Member(_) | Step::AnyMember | Step::Filter(_) | Step::Datetime(_))
            || matches!(step, Step::Method(method) if !matches!(method, Method::Type | Method::Size));
        if unwraps && unwrap && item.is_array() {
            return self.inside(Some((expr, at)), &item, found, (1, 1, 1), false, false);
        }
        match step {
            Step::Member(name) if item.is_object() => match item.member(name) {
                Some(value) => self.next(expr, at, value, found),
                None => self.misfit(SqlState::SQL_JSON_MEMBER_NOT_FOUND, || {
                    format!("JSON object does not contain key \"{name}\"")
                }),
            },
            Step::Member(_) => self.misfit(SqlState::SQL_JSON_MEMBER_NOT_FOUND, || {
                "jsonpath member accessor can only be applied to an object".into()
            }),
            Step::AnyMember if item.is_object() => self.children(expr, at, &item, found),
            Step::AnyMember => self.misfit(SqlState::SQL_JSON_OBJECT_NOT_FOUND, || {
                "jsonpath wildcard member accessor can only be applied to an object".into()
            }),
            Step::AnyItem if item.is_array() => self.children(expr, at, &item, found),
            Step::AnyItem if self.is_lax() => self.next(expr, at, item, found),
            Step::AnyItem => self.misfit(SqlState::SQL_JSON_ARRAY_NOT_FOUND, || {
                "jsonpath wildcard array accessor can only be applied to an array".into()
            }),
            Step::Items(subscripts) => {
                let length = match item.items() {
                    Some(items) => items.len(),
                    None if self.is_lax() => 1,
                    None => {
                        return self.misfit(SqlState::SQL_JSON_ARRAY_NOT_FOUND, || {
                            "jsonpath array accessor can only be applied to an array".into()
                        });
                    }
                };
                let outer = self.array_len.replace(length);
                let walked = self.items(expr, at, subscripts, &item, length, found);
                self.array_len = outer;
                walked
            }
            Step::Filter(condition) => {
                let outer = std::mem::replace(&mut self.current, item.clone());
                let verdict = self.truth(condition, &item);
                self.current = outer;
                if verdict? == Some(true) { self.next(expr, at, item, found) } else { Ok(false) }
            }
            Step::Descend { first, last } => {
                let (first, last) = (first.unwrap_or(LEAVES), last.unwrap_or(LEAVES));
                self.descend(expr, at, item, found, first, last)
            }
            Step::Method(method) => self.method(expr, at, *method, item, found),
            Step::Datetime(template) => self.datetime(expr, at, template.as_deref(), &item, found),
        }
    }

    /// All items or members, passed to the next accessor.
    fn children(&mut self, expr: &'a Expr, at: usize, item: &Item<'a>, found: Found<'_, 'a>) -> Walk<bool> {
        let next = (at < expr.steps.len()).then_some((expr, at + 1));
        self.inside(next, item, found, (1, 1, 1), false, self.is_lax())
    }

    fn descend(
        &mut self,
        expr: &'a Expr,
        at: usize,
        item: Item<'a>,
        mut found: Found<'_, 'a>,
        first: u32,
        last: u32,
    ) -> Walk<bool> {
        let mut any = false;
        if first == 0 {
            let structural = std::mem::replace(&mut self.structural, false);
            let walked = self.next(expr, at, item.clone(), found.as_deref_mut());
            self.structural = structural;
            any = walked?;
            if any && found.is_none() {
                return Ok(true);
            }
        }
        if item.is_array() || item.is_object() {
            let next = (at < expr.steps.len()).then_some((expr, at + 1));
            return self.inside(next, &item, found, (1, first, last), true, self.is_lax());
        }
        Ok(any)
    }

    /// What an array or object holds, at the levels from first to last, passed to an accessor or to what was found.
    fn inside(
        &mut self,
        next: Option<(&'a Expr, usize)>,
        item: &Item<'a>,
        mut found: Found<'_, 'a>,
        (level, first, last): (u32, u32, u32),
        ignore_structure: bool,
        unwrap_next: bool,
    ) -> Walk<bool> {
        let mut any = false;
        if level > last {
            return Ok(false);
        }
        let mut place = 0;
        while let Some((_, held)) = item.held(place) {
            place += 1;
            let nested = held.is_array() || held.is_object();
            if level >= first || (first == LEAVES && last == LEAVES && !nested) {
                match next {
                    Some((expr, at)) => {
                        let structural = self.structural;
                        self.structural &= !ignore_structure;
                        let walked = self.walk_unwrapping(expr, at, held.clone(), found.as_deref_mut(), unwrap_next);
                        self.structural = structural;
                        any = walked?;
                        if any && found.is_none() {
                            return Ok(true);
                        }
                    }
                    None => match &mut found {
                        Some(found) => found.push(held.clone()),
                        None => return Ok(true),
                    },
                }
            }
            if level < last && nested {
                let levels = (level + 1, first, last);
                any = stacker::maybe_grow(128 * 1024, 1024 * 1024, || {
                    self.inside(next, &held, found.as_deref_mut(), levels, ignore_structure, unwrap_next)
                })?;
                if any && found.is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(any)
    }

    fn items(
        &mut self,
        expr: &'a Expr,
        at: usize,
        subscripts: &'a [(Expr, Option<Expr>)],
        item: &Item<'a>,
        length: usize,
        mut found: Found<'_, 'a>,
    ) -> Walk<bool> {
        let mut any = false;
        let length = length as i64;
        for (from, to) in subscripts {
            let first = self.subscript(from, item)?;
            let last = match to {
                Some(to) => self.subscript(to, item)?,
                None => first,
            };
            if self.structural && (first < 0 || first > last || last >= length) {
                return self
                    .soft(SqlState::INVALID_SQL_JSON_SUBSCRIPT, || "jsonpath array subscript is out of bounds".into());
            }
            any = false;
            for place in first.max(0)..=last.min(length - 1) {
                let value = match item.items() {
                    Some(items) => match items.get(place as usize) {
                        Some(value) => Item::from(value),
                        None => continue,
                    },
                    None => item.clone(),
                };
                any = self.next(expr, at, value, found.as_deref_mut())?;
                if any && found.is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(any)
    }

    fn subscript(&mut self, expr: &'a Expr, item: &Item<'a>) -> Walk<i64> {
        let mut found = Vec::new();
        self.walk(expr, 0, item.clone(), Some(&mut found))?;
        let [Item::Number(text)] = found.as_slice() else {
            return self.soft(SqlState::INVALID_SQL_JSON_SUBSCRIPT, || {
                "jsonpath array subscript is not a single numeric value".into()
            });
        };
        match number(text)?.trunc(0).to_i32() {
            Ok(place) => Ok(place.into()),
            Err(_) => self.soft(SqlState::INVALID_SQL_JSON_SUBSCRIPT, || {
                "jsonpath array subscript is out of integer range".into()
            }),
        }
    }

    /// The items of an expression; arrays among them as their items, where lax mode unwraps.
    fn operand(&mut self, expr: &'a Expr, item: &Item<'a>, unwrap: bool) -> Walk<Vec<Item<'a>>> {
        let mut found = Vec::new();
        self.walk(expr, 0, item.clone(), Some(&mut found))?;
        if !unwrap || !self.is_lax() || !found.iter().any(Item::is_array) {
            return Ok(found);
        }
        let mut flat = Vec::with_capacity(found.len());
        for item in found {
            match item.items() {
                Some(items) => flat.extend(items.iter().map(Item::from)),
                None => flat.push(item),
            }
        }
        Ok(flat)
    }

    /// As [`Evaluation::operand`]; `None` for an error, which conditions take for unknown.
    fn quiet<T>(&mut self, ask: impl FnOnce(&mut Self) -> Walk<T>) -> Walk<Option<T>> {
        let throws = std::mem::replace(&mut self.throws, false);
        let answer = ask(self);
        self.throws = throws;
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(Stop::Soft(_)) => Ok(None),
            Err(hard) => Err(hard),
        }
    }

    fn arithmetic(&mut self, operator: Arithmetic, left: &'a Expr, right: &'a Expr, item: &Item<'a>) -> Walk<Item<'a>> {
        let left = self.operand(left, item, true)?;
        let right = self.operand(right, item, true)?;
        let single = |side: &str, found: &[Item<'a>]| match found {
            [Item::Number(text)] => Ok(number(text)?),
            _ => self.soft(SqlState::SINGLETON_SQL_JSON_ITEM_REQUIRED, || {
                let sign = operator.sign();
                format!("{side} operand of jsonpath operator {sign} is not a single numeric value")
            }),
        };
        let (left, right) = (single("left", &left)?, single("right", &right)?);
        let op = match operator {
            Arithmetic::Add => Op::Add,
            Arithmetic::Subtract => Op::Sub,
            Arithmetic::Multiply => Op::Mul,
            Arithmetic::Divide => Op::Div,
            Arithmetic::Modulo => Op::Rem,
        };
        match left.apply(op, &right) {
            Ok(value) => Ok(Item::Number(value.to_string().into())),
            Err(error) => Err(Stop::Soft(self.throws.then_some(error))),
        }
    }

    fn signed(
        &mut self,
        expr: &'a Expr,
        sign: Sign,
        operand: &'a Expr,
        item: Item<'a>,
        mut found: Found<'_, 'a>,
    ) -> Walk<bool> {
        let mut any = false;
        let asks_only = found.is_none() && expr.steps.is_empty();
        for value in self.operand(operand, &item, true)? {
            let Item::Number(text) = value else {
                if asks_only {
                    continue;
                }
                return self.soft(SqlState::SQL_JSON_NUMBER_NOT_FOUND, || {
                    let sign = if sign == Sign::Minus { '-' } else { '+' };
                    format!("operand of unary jsonpath operator {sign} is not a numeric value")
                });
            };
            if asks_only {
                return Ok(true);
            }
            let text = if sign == Sign::Minus { number(&text)?.negate().to_string().into() } else { text };
            if self.next(expr, 0, Item::Number(text), found.as_deref_mut())? {
                if found.is_none() {
                    return Ok(true);
                }
                any = true;
            }
        }
        Ok(any)
    }

    /// An expression that is a condition.
    fn truth(&mut self, expr: &'a Expr, item: &Item<'a>) -> Walk<Option<bool>> {
        match &expr.head {
            Head::Predicate(predicate) if expr.steps.is_empty() => {
                stacker::maybe_grow(128 * 1024, 1024 * 1024, || self.condition(predicate, item))
            }
            _ => Err(Stop::Hard(SqlError::internal("invalid boolean jsonpath item type"))),
        }
    }

    /// True, false or unknown.
    fn condition(&mut self, predicate: &'a Predicate, item: &Item<'a>) -> Walk<Option<bool>> {
        Ok(match predicate {
            Predicate::And(left, right) => match self.truth(left, item)? {
                Some(false) => Some(false),
                left => match self.truth(right, item)? {
                    Some(true) => left,
                    right => right,
                },
            },
            Predicate::Or(left, right) => match self.truth(left, item)? {
                Some(true) => Some(true),
                left => match self.truth(right, item)? {
                    Some(false) => left,
                    right => right,
                },
            },
            Predicate::Not(inner) => self.truth(inner, item)?.map(|value| !value),
            Predicate::IsUnknown(inner) => Some(self.truth(inner, item)?.is_none()),
            Predicate::Exists(inner) => {
                if self.is_lax() {
                    return self.quiet(|walk| walk.walk(inner, 0, item.clone(), None));
                }
                self.quiet(|walk| walk.operand(inner, item, false))?.map(|found| !found.is_empty())
            }
            Predicate::Compare(comparison, left, right) => {
                let zones = self.zones;
                self.pairs(left, Some((right, true)), item, |a, b| compare(*comparison, a, b, zones))?
            }
            Predicate::StartsWith(left, initial) => {
                self.pairs(left, Some((initial, false)), item, |whole, initial| {
                    Ok(match (whole, initial) {
                        (Item::String(whole), Item::String(initial)) => Some(whole.starts_with(initial.as_ref())),
                        _ => None,
                    })
                })?
            }
            Predicate::LikeRegex(left, pattern) => self.pairs(left, None, item, |text, _| {
                Ok(match text {
                    Item::String(text) => Some(pattern.regex.is_match(text)),
                    _ => None,
                })
            })?,
        })
    }

    /// Whether a test holds for a pair of the two sides' items. Strict mode looks at all of them.
    fn pairs(
        &mut self,
        left: &'a Expr,
        right: Option<(&'a Expr, bool)>,
        item: &Item<'a>,
        test: impl Fn(&Item<'a>, &Item<'a>) -> Result<Option<bool>>,
    ) -> Walk<Option<bool>> {
        let Some(lefts) = self.quiet(|walk| walk.operand(left, item, true))? else { return Ok(None) };
        let rights = match right {
            Some((right, unwrap)) => {
                let Some(found) = self.quiet(|walk| walk.operand(right, item, unwrap))? else { return Ok(None) };
                found
            }
            None => vec![Item::Null],
        };
        let (mut unknown, mut holds) = (false, false);
        for left in &lefts {
            for right in &rights {
                match test(left, right)? {
                    Some(true) if self.is_lax() => return Ok(Some(true)),
                    Some(true) => holds = true,
                    None if self.is_lax() => unknown = true,
                    None => return Ok(None),
                    Some(false) => {}
                }
            }
        }
        Ok(if holds { Some(true) } else { (!unknown).then_some(false) })
    }

    fn method(
        &mut self,
        expr: &'a Expr,
        at: usize,
        method: Method,
        item: Item<'a>,
        found: Found<'_, 'a>,
    ) -> Walk<bool> {
        let name = method.name();
        let value = match method {
            Method::Type => Item::String(item.type_name().into()),
            Method::Size => match item.items() {
                Some(items) => Item::Number(items.len().to_string().into()),
                None if self.is_lax() => Item::Number("1".into()),
                None => {
                    return self.misfit(SqlState::SQL_JSON_ARRAY_NOT_FOUND, || {
                        format!("jsonpath item method .{name}() can only be applied to an array")
                    });
                }
            },
            Method::Double => self.double(item)?,
            Method::Ceiling | Method::Floor | Method::Abs => {
                let Item::Number(text) = &item else {
                    return self.soft(SqlState::NON_NUMERIC_SQL_JSON_ITEM, || {
                        format!("jsonpath item method .{name}() can only be applied to a numeric value")
                    });
                };
                let value = number(text)?;
                let value = match method {
                    Method::Ceiling => value.ceil(),
                    Method::Floor => value.floor(),
                    _ => value.abs(),
                };
                Item::Number(value.to_string().into())
            }
            Method::KeyValue => return self.key_value(expr, at, &item, found),
        };
        self.next(expr, at, value, found)
    }

    fn double(&self, item: Item<'a>) -> Walk<Item<'a>> {
        let read = |text: &str| match from_text(text, SqlType::Float8.into(), self.zones.style, &Nowhere) {
            Ok(Datum::Float8(value)) => Some(value),
            _ => None,
        };
        match &item {
            Item::Number(text) if read(text).is_some() => Ok(item),
            Item::Number(_) => self.soft(SqlState::NON_NUMERIC_SQL_JSON_ITEM, || {
                "numeric argument of jsonpath item method .double() is out of range for type double precision".into()
            }),
            Item::String(text) => match read(text).filter(|value| value.is_finite()) {
                Some(value) => Ok(Item::Number(Numeric::from_f64(value).to_string().into())),
                None => self.soft(SqlState::NON_NUMERIC_SQL_JSON_ITEM, || {
                    "string argument of jsonpath item method .double() is not a valid representation of a double \
                     precision number"
                        .into()
                }),
            },
            _ => self.soft(SqlState::NON_NUMERIC_SQL_JSON_ITEM, || {
                "jsonpath item method .double() can only be applied to a string or numeric value".into()
            }),
        }
    }

    fn datetime(
        &mut self,
        expr: &'a Expr,
        at: usize,
        template: Option<&str>,
        item: &Item<'a>,
        found: Found<'_, 'a>,
    ) -> Walk<bool> {
        let state = SqlState::INVALID_ARGUMENT_FOR_SQL_JSON_DATETIME_FUNCTION;
        let Item::String(text) = item else {
            return self.soft(state, || "jsonpath item method .datetime() can only be applied to a string".into());
        };
        let moment = match template {
            Some(template) => match Moment::by_template(text, template) {
                Ok(moment) => moment,
                Err(error) => return Err(Stop::Soft(self.throws.then_some(error))),
            },
            None => match Moment::iso(text) {
                Some(moment) => moment,
                None => {
                    let error = || {
                        SqlError::new(state, format!("datetime format is not recognized: \"{text}\""))
                            .with_hint("Use a datetime template argument to specify the input data format.")
                    };
                    return Err(Stop::Soft(self.throws.then(error)));
                }
            },
        };
        self.next(expr, at, Item::Moment(moment), found)
    }

    /// `.keyvalue()`: an object for each member, with an id of the object that it was taken from.
    fn key_value(&mut self, expr: &'a Expr, at: usize, item: &Item<'a>, mut found: Found<'_, 'a>) -> Walk<bool> {
        if !item.is_object() {
            return self.soft(SqlState::SQL_JSON_OBJECT_NOT_FOUND, || {
                "jsonpath item method .keyvalue() can only be applied to an object".into()
            });
        }
        let place = match item {
            Item::Inside(value) => self.place(value) + self.base.shift,
            _ => 0,
        };
        let id = place + self.base.id * IDS_PER_BASE;
        let mut any = false;
        let mut member = 0;
        while let Some((key, value)) = item.held(member) {
            member += 1;
            if found.is_none() && at >= expr.steps.len() {
                return Ok(true);
            }
            let pair = Rc::new(Pair { id, key, value });
            let outer = self.base;
            self.base = Base { id: self.next_id, shift: self.shift_of(&pair) };
            self.next_id += 1;
            let walked = self.next(expr, at, Item::Pair(pair), found.as_deref_mut());
            self.base = outer;
            any = walked?;
            if any && found.is_none() {
                return Ok(true);
            }
        }
        Ok(any)
    }

    /// Where an array or object is in its document.
    fn place(&mut self, value: &'a Json) -> i64 {
        let (target, variables) = (self.target, self.variables);
        let places = self.places.get_or_insert_with(|| {
            let mut places = HashMap::new();
            let mut tell = |value: &'a Json, place: usize| {
                places.insert(std::ptr::from_ref(value), place as i64);
            };
            json_end(target, 0, &mut tell);
            if let Some(variables) = variables {
                json_end(variables, 0, &mut tell);
            }
            places
        });
        places.get(&std::ptr::from_ref(value)).copied().unwrap_or(0)
    }

    /// How far a pair's value is, in the pair, from where it is in its document.
    fn shift_of(&mut self, pair: &Pair<'a>) -> i64 {
        let Item::Inside(value) = pair.value else { return 0 };
        let stands_for = Json::Array(Vec::new());
        let made = Json::object(vec![
            ("id".into(), Json::Number(pair.id.to_string())),
            ("key".into(), Json::String(pair.key.to_string())),
            ("value".into(), stands_for),
        ]);
        let mut inside = 0;
        json_end(&made, 0, &mut |value, place| {
            if matches!(value, Json::Array(_)) {
                inside = place as i64;
            }
        });
        inside - self.place(value)
    }
}

fn number(text: &str) -> Result<Numeric> {
    Numeric::parse(text).ok_or_else(|| SqlError::internal("a jsonb number is none"))
}

/// A comparison of two items; unknown for those that cannot be compared.
fn compare(comparison: Comparison, a: &Item<'_>, b: &Item<'_>, zones: Zones<'_>) -> Result<Option<bool>> {
    let order = match (a, b) {
        (Item::Null, Item::Null) => Ordering::Equal,
        // null is equal to itself alone.
        (Item::Null, _) | (_, Item::Null) => return Ok(Some(comparison == Comparison::NotEqual)),
        (Item::Bool(a), Item::Bool(b)) => a.cmp(b),
        (Item::String(a), Item::String(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Item::Number(a), Item::Number(b)) => match (a.parse::<i64>(), b.parse::<i64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => number(a)?.compare(&number(b)?),
        },
        (Item::Moment(a), Item::Moment(b)) => match a.compare(*b, zones)? {
            Some(order) => order,
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }))
}
