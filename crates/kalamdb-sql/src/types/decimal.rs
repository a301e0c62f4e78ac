//! numeric: from and to the memcomparable bytes that columns hold.

use super::{Encoder, cell};
use arrow_array::{Array, BinaryArray};
use bytes::{BufMut, BytesMut};
use kalamdb_commons::numeric::key::View;
use kalamdb_commons::{Datum, Numeric, PgType, Result};

/// Reads a numeric and makes it fit the modifier.
pub(super) fn read(text: &str, ty: PgType) -> Result<Datum> {
    fit(Numeric::from_text(text).map_err(|error| error.report(text))?, ty)
}

/// Makes a numeric fit the modifier.
pub(super) fn fit(value: Numeric, ty: PgType) -> Result<Datum> {
    Ok(Datum::Numeric(match ty.precision_scale() {
        Some((precision, scale)) => value.with_precision(precision, scale)?,
        None => value,
    }))
}

/// numeric as text.
pub(super) struct NumericText;
/// numeric as base-10000 digits.
pub(super) struct NumericBinary;

impl Encoder for NumericText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        if let Some(view) = View::new(cell::<BinaryArray>(array).value(row)) {
            view.write_text(|piece| out.put_slice(piece));
        }
    }
}
impl Encoder for NumericBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        if let Some(view) = View::new(cell::<BinaryArray>(array).value(row)) {
            view.write_wire(|piece| out.put_slice(piece));
        }
    }
}
