//! Events and their JSON.
//!
//! A payload is one object `{"op", "seq", "row"}`; an update adds `"changed"`. Numbers are JSON numbers and keep every
//! digit, timestamps are ISO 8601 in UTC, jsonb stands as it is, arrays are arrays, everything else is PostgreSQL's
//! text. The writers of a query's columns are chosen once; values go from Arrow into the text.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use bytes::BytesMut;
use kalamdb_commons::array::{Arrays, Brackets};
use kalamdb_commons::{Oid, PgType, Result, Seq, SqlType};
use kalamdb_sql::function::nowhere::Nowhere;
use kalamdb_sql::types::{Encoder, Format, Style, encoder};
use kalamdb_store::{Store, TypeKind};
use std::fmt::Write;
use std::sync::Arc;

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
    /// A delete's key columns that the select list has not.
    pub(crate) key: Vec<ArrayRef>,
    /// Places in the select list whose values an update changed.
    pub(crate) changed: Vec<usize>,
    pub(crate) reason: Option<&'static str>,
}

impl Change {
    pub(crate) fn row(op: Op, seq: Seq, columns: Vec<ArrayRef>, key: Vec<ArrayRef>, changed: Vec<usize>) -> Self {
        let (columns, op) = (Some(columns), op.as_str());
        Self { op, seq, columns, commit_ends: false, is_last: false, key, changed, reason: None }
    }

    pub(crate) fn control(op: &'static str, seq: Seq, reason: Option<&'static str>, is_last: bool) -> Self {
        Self { op, seq, columns: None, commit_ends: true, is_last, key: Vec::new(), changed: Vec::new(), reason }
    }

    /// About how much memory it holds, when its arrays are its own.
    pub(crate) fn bytes(&self) -> usize {
        let columns = self.columns.iter().flatten().chain(&self.key);
        256 + columns.map(|array| 64 + array.get_buffer_memory_size()).sum::<usize>()
    }
}

/// A query's columns as JSON.
pub(crate) struct Payload {
    /// The select list, then the key columns that it has not; names as JSON strings.
    columns: Vec<(String, Form)>,
}

impl Payload {
    /// For these columns: the select list, then the key columns that it has not.
    ///
    /// # Errors
    /// 42883 for a type that has no text form.
    pub fn new(columns: &[(String, PgType)], store: &Store) -> Result<Self> {
        let form = |(name, ty): &(String, PgType)| {
            let mut quoted = String::new();
            string(&mut quoted, name);
            Ok((quoted, Form::new(*ty, store)?))
        };
        Ok(Self { columns: columns.iter().map(form).collect::<Result<_>>()? })
    }

    /// The payload of an event.
    pub fn json(&self, change: &Change) -> String {
        let mut out = String::with_capacity(64 + self.columns.len() * 24);
        // Writing to a String cannot fail.
        let _ = write!(out, "{{\"op\":\"{}\",\"seq\":{}", change.op, change.seq.0);
        if let Some(columns) = &change.columns {
            out.push_str(",\"row\":{");
            for (at, ((name, form), array)) in self.columns.iter().zip(columns.iter().chain(&change.key)).enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(name);
                out.push(':');
                form.write(&mut out, array.as_ref(), 0);
            }
            out.push('}');
        }
        if change.op == Op::Update.as_str() {
            let names: Vec<&str> = change.changed.iter().map(|at| self.columns[*at].0.as_str()).collect();
            let _ = write!(out, ",\"changed\":[{}]", names.join(","));
        }
        if let Some(reason) = change.reason {
            out.push_str(",\"reason\":");
            string(&mut out, reason);
        }
        out.push('}');
        out
    }
}

/// How a column's values stand in JSON.
enum Form {
    Bool,
    /// A number; NaN and the infinities, which JSON has not, as strings.
    Number(Box<dyn Encoder>),
    /// json and jsonb.
    Json,
    /// timestamp and timestamptz: a string in ISO 8601.
    Moment(Box<dyn Encoder>),
    /// A string of PostgreSQL's text.
    Text(Box<dyn Encoder>),
    Array(Box<Form>),
    /// A label of an enum, as it is called now.
    Label(Oid, Store),
}

impl Form {
    fn new(ty: PgType, store: &Store) -> Result<Self> {
        use SqlType::*;
        // An OID is printed as its number: names would depend on who reads.
        let text = || encoder(ty, Format::Text, &Style::default(), Arc::new(Nowhere));
        if let Some(element) = ty.ty.element().filter(|_| ty.ty.facts().name.starts_with('_')) {
            return Ok(Form::Array(Box::new(Form::new(PgType { ty: element, typmod: ty.typmod }, store)?)));
        }
        Ok(match ty.ty {
            Bool => Form::Bool,
            Enum(oid) => Form::Label(oid, store.clone()),
            Int2 | Int4 | Int8 | Float4 | Float8 | Numeric | SqlType::Oid => Form::Number(text()?),
            Json | Jsonb => Form::Json,
            Timestamp | Timestamptz => Form::Moment(text()?),
            _ => Form::Text(text()?),
        })
    }

    fn write(&self, out: &mut String, array: &dyn Array, row: usize) {
        if array.is_null(row) {
            return out.push_str("null");
        }
        match self {
            Form::Bool => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
            Form::Json => out.push_str(array.as_string::<i32>().value(row)),
            Form::Number(encoder) => {
                let text = text_of(encoder.as_ref(), array, row);
                match text.ends_with(|last: char| last.is_ascii_digit()) {
                    true => out.push_str(&text),
                    false => string(out, &text),
                }
            }
            Form::Moment(encoder) => string(out, &iso(&text_of(encoder.as_ref(), array, row))),
            Form::Text(encoder) => string(out, &text_of(encoder.as_ref(), array, row)),
            Form::Label(oid, store) => string(out, &label_of(store, *oid, array, row)),
            Form::Array(item) => {
                // A column of arrays is one.
                let Some(arrays) = Arrays::new(array) else { return out.push_str("null") };
                let items = arrays.lists().value(row);
                if items.is_empty() {
                    return out.push_str("[]");
                }
                let brackets = Brackets::new(arrays.shape(row).as_ref(), items.len());
                for at in 0..items.len() {
                    out.push_str(if at > 0 { "," } else { "" });
                    out.extend(std::iter::repeat_n('[', brackets.opening(at)));
                    item.write(out, items.as_ref(), at);
                    out.extend(std::iter::repeat_n(']', brackets.closing(at)));
                }
            }
        }
    }
}

fn label_of(store: &Store, oid: Oid, array: &dyn Array, row: usize) -> String {
    let rank = array.as_primitive::<Int64Type>().value(row);
    let published = store.published();
    let labels = match published.catalog.data_type(oid).map(|def| &def.kind) {
        Some(TypeKind::Enum(labels)) => labels.as_slice(),
        _ => &[],
    };
    labels.iter().find(|label| label.rank == rank).map_or_else(|| rank.to_string(), |label| label.label.clone())
}

fn text_of(encoder: &dyn Encoder, array: &dyn Array, row: usize) -> String {
    let mut bytes = BytesMut::new();
    encoder.encode(array, row, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn string(out: &mut String, text: &str) {
    // A string always has a JSON form.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// `2024-05-06 07:08:09+00` as ISO 8601 has it.
fn iso(text: &str) -> String {
    let text = text.replacen(' ', "T", 1);
    match text.strip_suffix("+00") {
        Some(local) => format!("{local}+00:00"),
        None => text,
    }
}
