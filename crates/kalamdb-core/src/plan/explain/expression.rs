//! Physical expressions in PostgreSQL's words.

use super::super::interrupt::Listening;
use super::super::provider::KeySpan;
use super::STANDS_FOR;
use super::walk::Walk;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NegativeExpr,
    NotExpr, TryCastExpr,
};
use datafusion::physical_expr::window::SlidingAggregateWindowExpr;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_plan::windows::{PlainAggregateWindowExpr, StandardWindowExpr, WindowExpr, WindowUDFExpr};
use kalamdb_commons::{Datum, Numeric, PgType, SqlType};
use kalamdb_sql::types;
use std::ops::Bound;
use std::sync::Arc;

impl Walk<'_> {
    /// A column in words. `c9[sum]` is a state of `c9` between a partial aggregate and its end.
    pub(super) fn column(&self, name: &str) -> String {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        match name.split_once('[').and_then(|(call, _)| self.names.get(call)) {
            Some(call) => format!("PARTIAL {call}"),
            None => name.to_owned(),
        }
    }

    /// An expression, as PostgreSQL writes it.
    pub(super) fn expr(&self, expr: &Arc<dyn PhysicalExpr>) -> String {
        stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || self.expr_one(expr))
    }

    fn expr_one(&self, expr: &Arc<dyn PhysicalExpr>) -> String {
        if let Some(column) = expr.downcast_ref::<Column>() {
            return self.column(column.name());
        }
        if let Some(value) = expr.downcast_ref::<Literal>() {
            return self.literal(value);
        }
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            let op = match binary.op() {
                Operator::NotEq => "<>".to_owned(),
                op => op.to_string(),
            };
            return format!("({} {op} {})", self.expr(binary.left()), self.expr(binary.right()));
        }
        if let Some(listening) = expr.downcast_ref::<Listening>() {
            return self.expr(listening.inner());
        }
        if let Some(not) = expr.downcast_ref::<NotExpr>() {
            return format!("(NOT {})", self.expr(not.arg()));
        }
        if let Some(is) = expr.downcast_ref::<IsNullExpr>() {
            return format!("({} IS NULL)", self.expr(is.arg()));
        }
        if let Some(is) = expr.downcast_ref::<IsNotNullExpr>() {
            return format!("({} IS NOT NULL)", self.expr(is.arg()));
        }
        if let Some(negative) = expr.downcast_ref::<NegativeExpr>() {
            return format!("(- {})", self.expr(negative.arg()));
        }
        // The engine's casts change how a value is kept, not what it is.
        if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            return self.expr(cast.expr());
        }
        if let Some(cast) = expr.downcast_ref::<TryCastExpr>() {
            return self.expr(cast.expr());
        }
        if let Some(list) = expr.downcast_ref::<InListExpr>() {
            let op = if list.negated() { "<> ALL" } else { "= ANY" };
            return format!("({} {op} (ARRAY[{}]))", self.expr(list.expr()), self.exprs(list.list()));
        }
        if let Some(like) = expr.downcast_ref::<LikeExpr>() {
            let op = match (like.negated(), like.case_insensitive()) {
                (false, false) => "~~",
                (false, true) => "~~*",
                (true, false) => "!~~",
                (true, true) => "!~~*",
            };
            return format!("({} {op} {})", self.expr(like.expr()), self.expr(like.pattern()));
        }
        if let Some(case) = expr.downcast_ref::<CaseExpr>() {
            return self.case(case);
        }
        if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
            return match (call.name(), call.args()) {
                // A row value's names and its presence are nothing that was written.
                ("row", [_, _, fields @ ..]) => format!("ROW({})", self.exprs(fields)),
                (name, args) => format!("{name}({})", self.exprs(args)),
            };
        }
        expr.to_string()
    }

    pub(super) fn exprs(&self, exprs: &[Arc<dyn PhysicalExpr>]) -> String {
        exprs.iter().map(|expr| self.expr(expr)).collect::<Vec<_>>().join(", ")
    }

    fn case(&self, case: &CaseExpr) -> String {
        let mut text = "CASE".to_owned();
        if let Some(of) = case.expr() {
            text += &format!(" {}", self.expr(of));
        }
        for (when, then) in case.when_then_expr() {
            text += &format!(" WHEN {} THEN {}", self.expr(when), self.expr(then));
        }
        if let Some(otherwise) = case.else_expr() {
            text += &format!(" ELSE {}", self.expr(otherwise));
        }
        text + " END"
    }

    fn literal(&self, literal: &Literal) -> String {
        let field = literal.return_field(&arrow_schema::Schema::empty());
        match field.ok().and_then(|field| field.metadata().get(STANDS_FOR).cloned()) {
            Some(column) => self.column(&column),
            None => value_text(literal.value()),
        }
    }

    pub(super) fn aggregate_call(&self, call: &AggregateFunctionExpr) -> String {
        let name = call.fun().name();
        let args: Vec<String> = call.expressions().iter().map(|arg| self.expr(arg)).collect();
        // A constant for the rows that a call counts is no argument that anybody wrote.
        let args = if name == "count" && args == ["1"] { "*".to_owned() } else { args.join(", ") };
        format!("{name}({}{args})", if call.is_distinct() { "DISTINCT " } else { "" })
    }

    pub(super) fn window_call(&self, call: &dyn WindowExpr) -> String {
        let any = call.as_any();
        let aggregate =
            any.downcast_ref::<PlainAggregateWindowExpr>().map(PlainAggregateWindowExpr::get_aggregate_expr).or_else(
                || any.downcast_ref::<SlidingAggregateWindowExpr>().map(SlidingAggregateWindowExpr::get_aggregate_expr),
            );
        if let Some(aggregate) = aggregate {
            return format!("{} OVER (?)", self.aggregate_call(aggregate));
        }
        let function = any.downcast_ref::<StandardWindowExpr>().map(StandardWindowExpr::get_standard_func_expr);
        let function = function.and_then(|function| function.as_any().downcast_ref::<WindowUDFExpr>());
        let name = function.map_or("window", |function| function.fun().name());
        let args: Vec<String> = call.expressions().iter().map(|arg| self.expr(arg)).collect();
        format!("{name}({}) OVER (?)", args.join(", "))
    }

    pub(super) fn sort_keys(&self, keys: &[PhysicalSortExpr]) -> Vec<String> {
        keys.iter()
            .map(|key| {
                let (descending, nulls_first) = (key.options.descending, key.options.nulls_first);
                let nulls = match (descending, nulls_first) {
                    (true, false) => " NULLS LAST",
                    (false, true) => " NULLS FIRST",
                    _ => "",
                };
                format!("{}{}{nulls}", self.expr(&key.expr), if descending { " DESC" } else { "" })
            })
            .collect()
    }
}

fn value_text(value: &ScalarValue) -> String {
    if value.is_null() {
        return "NULL".to_owned();
    }
    match value {
        ScalarValue::Boolean(_) => value.to_string(),
        value if value.data_type().is_numeric() => value.to_string(),
        value => format!("'{}'", value.to_string().replace('\'', "''")),
    }
}

pub(super) fn span_condition(columns: &[(String, PgType)], span: &KeySpan) -> String {
    let equal = columns.iter().zip(&span.prefix);
    let mut parts: Vec<String> =
        equal.map(|((name, ty), value)| format!("({name} = {})", datum_text(value, *ty))).collect();
    if let Some((name, ty)) = columns.get(span.prefix.len()) {
        match &span.low {
            Bound::Included(low) => parts.push(format!("({name} >= {})", datum_text(low, *ty))),
            Bound::Excluded(low) => parts.push(format!("({name} > {})", datum_text(low, *ty))),
            Bound::Unbounded => {}
        }
        match &span.high {
            Bound::Included(high) => parts.push(format!("({name} <= {})", datum_text(high, *ty))),
            Bound::Excluded(high) => parts.push(format!("({name} < {})", datum_text(high, *ty))),
            Bound::Unbounded => {}
        }
    }
    match parts.as_slice() {
        [] => "true".to_owned(),
        [one] => one.clone(),
        many => format!("({})", many.join(" AND ")),
    }
}

/// Digits behind the point of a number in a condition.
const SCALE_TOLD_MAX: u16 = 100;

fn datum_text(datum: &Datum, ty: PgType) -> String {
    match datum {
        Datum::Text(text) => format!("'{}'", text.replace('\'', "''")),
        // A sort key, which is the number without its display scale.
        Datum::Bytes(key) if ty.ty == SqlType::Numeric => {
            let with = |scale: u16| Numeric::from_bytes(&[&key[..], &scale.to_be_bytes()].concat());
            let number = (0..=SCALE_TOLD_MAX).find_map(with);
            number.map_or_else(|| "?".to_owned(), |number| number.to_string())
        }
        // A sort key too.
        Datum::Bytes(key) if ty.ty == SqlType::Vector => {
            let elements = key.as_chunks::<4>().0.iter().map(|ordered| {
                let bits = u32::from_be_bytes(*ordered);
                f32::from_bits(if bits >> 31 == 1 { bits ^ 1 << 31 } else { !bits })
            });
            shown_bytes(&Datum::Bytes(kalamdb_commons::vector::of(elements).into()), ty)
        }
        Datum::Bytes(_) if ty.ty.is_bytes() && ty.ty != SqlType::Bytea => shown_bytes(datum, ty),
        Datum::Uuid(bytes) => format!("'{}'", uuid::Uuid::from_bytes(*bytes)),
        datum => types::scalar_value(datum, ty).map_or_else(|_| "?".to_owned(), |value| value_text(&value)),
    }
}

fn shown_bytes(datum: &Datum, ty: PgType) -> String {
    let text = types::to_text(datum, ty, &types::Style::default(), &kalamdb_sql::function::Nowhere);
    text.map_or_else(|_| "?".to_owned(), |text| format!("'{text}'"))
}

pub(super) fn quoted(name: &str) -> String {
    let is_plain = |part: &str| {
        part.chars().next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$')
    };
    if name.split('.').all(is_plain) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
