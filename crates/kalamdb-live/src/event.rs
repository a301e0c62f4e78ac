//! Events and their JSON.
//!
//! A payload is one object `{"op", "seq", "row"}`; an update adds `"changed"`. Numbers are JSON numbers, numeric keeps
//! every digit, timestamps are ISO 8601, jsonb stands as it is, arrays are arrays, everything else is its text.

use arrow_array::ArrayRef;
use kalamdb_commons::{Datum, PgType, Seq, SqlType};
use kalamdb_sql::function::CatalogNames;
use kalamdb_sql::types::{Style, datum_at, to_text};
use std::fmt::Write;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Insert,
    Update,
    Delete,
}

impl Op {
    fn as_str(self) -> &'static str {
        match self {
            Op::Insert => "insert",
            Op::Update => "update",
            Op::Delete => "delete",
        }
    }
}

/// One event of a live query.
#[derive(Debug, Clone)]
pub struct Change {
    /// `insert`, `update`, `delete`, or a control event: `overflow`, `schema`, `ended`.
    pub op: &'static str,
    /// Its position.
    pub seq: Seq,
    /// The select list's values, arrays of one item; `None` for a control event.
    pub columns: Option<Vec<ArrayRef>>,
    /// Whether it is its commit's last for this query.
    pub commit_ends: bool,
    /// Whether nothing follows.
    pub is_last: bool,
    pub(crate) values: Vec<Datum>,
    pub(crate) changed: Vec<usize>,
    pub(crate) reason: Option<&'static str>,
}

impl Change {
    pub(crate) fn row(op: Op, seq: Seq, columns: Vec<ArrayRef>, values: Vec<Datum>, changed: Vec<usize>) -> Self {
        Self {
            op: op.as_str(),
            seq,
            columns: Some(columns),
            commit_ends: false,
            is_last: false,
            values,
            changed,
            reason: None,
        }
    }

    pub(crate) fn control(op: &'static str, seq: Seq, reason: Option<&'static str>, is_last: bool) -> Self {
        Self {
            op,
            seq,
            columns: None,
            commit_ends: true,
            is_last,
            values: Vec::new(),
            changed: Vec::new(),
            reason,
        }
    }

    /// About how much memory it holds.
    pub(crate) fn bytes(&self) -> usize {
        let columns = self.columns.iter().flatten().map(|array| array.get_array_memory_size().min(4096));
        256 + columns.sum::<usize>()
    }

    /// The payload of a notification.
    pub(crate) fn json(&self, names: &[String], types: &[PgType]) -> String {
        let mut out = String::with_capacity(64 + self.values.len() * 24);
        // Writing to a String cannot fail.
        let _ = write!(out, "{{\"op\":\"{}\",\"seq\":{}", self.op, self.seq.0);
        if self.columns.is_some() {
            out.push_str(",\"row\":{");
            for (at, value) in self.values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                string(&mut out, &names[at]);
                out.push(':');
                json_value(&mut out, value, types[at]);
            }
            out.push('}');
        }
        if self.op == "update" {
            out.push_str(",\"changed\":[");
            for (place, at) in self.changed.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                string(&mut out, &names[*at]);
            }
            out.push(']');
        }
        if let Some(reason) = self.reason {
            out.push_str(",\"reason\":");
            string(&mut out, reason);
        }
        out.push('}');
        out
    }
}

/// The values of one row.
pub(crate) fn datums_at(columns: &[ArrayRef], row: usize, types: &[PgType]) -> Vec<Datum> {
    columns.iter().zip(types).map(|(array, ty)| datum_at(array.as_ref(), row, *ty)).collect()
}

fn string(out: &mut String, text: &str) {
    // A string always has a JSON form.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

fn json_value(out: &mut String, value: &Datum, ty: PgType) {
    match value {
        Datum::Null => out.push_str("null"),
        Datum::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Datum::Float4(value) if !value.is_finite() => string(out, &text(&Datum::Float4(*value), ty)),
        Datum::Float8(value) if !value.is_finite() => string(out, &text(&Datum::Float8(*value), ty)),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Float4(_) | Datum::Float8(_) => {
            out.push_str(&text(value, ty));
        }
        Datum::Oid(number) if ty.ty == SqlType::Oid => {
            let _ = write!(out, "{number}");
        }
        Datum::Numeric(number) => {
            let text = number.to_string();
            match text.starts_with(|c: char| c.is_ascii_digit() || c == '-') && !text.ends_with('y') {
                true => out.push_str(&text),
                false => string(out, &text),
            }
        }
        Datum::Text(json) if matches!(ty.ty, SqlType::Json | SqlType::Jsonb) => out.push_str(json),
        Datum::Timestamp(_) | Datum::Timestamptz(_) => string(out, &iso(&text(value, ty))),
        Datum::Array(array) => {
            out.push('[');
            for (at, item) in array.items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                json_value(out, item, PgType::new(array.element));
            }
            out.push(']');
        }
        value => string(out, &text(value, ty)),
    }
}

fn text(value: &Datum, ty: PgType) -> String {
    to_text(value, ty, &Style::default(), &NoNames)
}

/// `2024-05-06 07:08:09+00` as ISO 8601 has it.
fn iso(text: &str) -> String {
    let text = text.replacen(' ', "T", 1);
    match text.strip_suffix("+00") {
        Some(local) => format!("{local}+00:00"),
        None => text,
    }
}

/// Payloads print numbers for OIDs: names would depend on who reads.
struct NoNames;

impl CatalogNames for NoNames {
    fn relation_by_name(&self, _: &[String]) -> Option<kalamdb_commons::TableId> {
        None
    }
    fn relation_name(&self, _: u32) -> Option<String> {
        None
    }
    fn namespace_by_name(&self, _: &str) -> Option<u32> {
        None
    }
    fn namespace_name(&self, _: u32) -> Option<String> {
        None
    }
    fn role_by_name(&self, _: &str) -> Option<u32> {
        None
    }
    fn role_name(&self, _: u32) -> Option<String> {
        None
    }
    fn relation_is_visible(&self, _: u32) -> Option<bool> {
        None
    }
    fn index_definition(&self, _: u32, _: i32) -> Option<String> {
        None
    }
    fn constraint_definition(&self, _: u32) -> Option<String> {
        None
    }
    fn view_definition(&self, _: u32) -> Option<String> {
        None
    }
    fn description(&self, _: u32, _: &str, _: i32) -> Option<String> {
        None
    }
    fn relation_size(&self, _: u32) -> Option<i64> {
        None
    }
    fn has_privilege(
        &self,
        _: u32,
        _: kalamdb_sql::function::PrivilegeObject,
        _: &str,
    ) -> kalamdb_commons::Result<Option<bool>> {
        Ok(None)
    }
    fn search_path(&self, _: bool) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_loses_nothing() {
        let values = vec![Datum::Int8(9_007_199_254_740_993), Datum::text("a\"b"), Datum::Null];
        let types = [SqlType::Int8, SqlType::Text, SqlType::Text].map(PgType::new);
        let names = ["id", "body", "note"].map(String::from);
        let change = Change::row(Op::Update, Seq(7), Vec::new(), values, vec![1, 2]);
        assert_eq!(
            change.json(&names, &types),
            r#"{"op":"update","seq":7,"row":{"id":9007199254740993,"body":"a\"b","note":null},"changed":["body","note"]}"#
        );
    }
}
