//! Enums: labels outside, the places of labels inside.

use super::{Encoder, cell};
use crate::function::CatalogNames;
use arrow_array::{Array, Int64Array};
use bytes::{BufMut, BytesMut};
use kalamdb_commons::{ArrayDatum, Datum, Oid, PgType, Result, SqlError, SqlState, SqlType};
use std::sync::Arc;

/// Reads a label.
pub(super) fn read(text: &str, oid: Oid, names: &dyn CatalogNames) -> Result<Datum> {
    match names.enum_rank(oid, text) {
        Some(rank) => {
            names.check_label(oid, rank)?;
            Ok(Datum::Int8(rank))
        }
        None => {
            let name = names.type_name(oid).unwrap_or_else(|| oid.to_string());
            let message = format!("invalid input value for enum {name}: \"{text}\"");
            Err(SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message))
        }
    }
}

/// Reads a value in binary form, of an enum too: its label.
///
/// # Errors
/// As [`super::from_binary`]; 22P02, 55P04.
pub fn from_binary(bytes: &[u8], ty: PgType, names: &dyn CatalogNames) -> Result<Datum> {
    let Some(oid) = ty.ty.user_type() else { return super::from_binary(bytes, ty) };
    let ranked = |item: &Datum| match item {
        Datum::Text(label) => read(label, oid, names),
        _ => Ok(Datum::Null),
    };
    match ty.ty {
        SqlType::Enum(_) => ranked(&super::from_binary(bytes, SqlType::Text.into())?),
        _ => match super::from_binary(bytes, SqlType::TextArray.into())? {
            Datum::Array(array) => {
                let items = array.items.iter().map(ranked).collect::<Result<_>>()?;
                Ok(ArrayDatum { element: SqlType::Enum(oid), items, shape: array.shape.clone() }.into())
            }
            other => Ok(other),
        },
    }
}

/// A label; a rank that has none any more is shown as a number.
fn label(rank: i64, oid: Oid, names: &dyn CatalogNames) -> String {
    names.enum_label(oid, rank).unwrap_or_else(|| rank.to_string())
}

/// A value of an enum, or of an array of it, with its labels as text.
pub(super) fn as_text(datum: &Datum, ty: SqlType, names: &dyn CatalogNames) -> (Datum, PgType) {
    let oid = ty.user_type().unwrap_or(0);
    let text = |item: &Datum| match item {
        Datum::Int8(rank) => Datum::text(label(*rank, oid, names)),
        _ => Datum::Null,
    };
    match datum {
        Datum::Array(array) => {
            let items = array.items.iter().map(text).collect();
            let array = ArrayDatum { element: SqlType::Text, items, shape: array.shape.clone() };
            (array.into(), SqlType::TextArray.into())
        }
        other => (text(other), SqlType::Text.into()),
    }
}

/// Writes labels: both forms are the same.
pub(super) struct LabelText {
    pub oid: Oid,
    pub names: Arc<dyn CatalogNames>,
}

impl Encoder for LabelText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let rank = cell::<Int64Array>(array).value(row);
        out.put_slice(label(rank, self.oid, self.names.as_ref()).as_bytes());
    }
}
