//! How keys and rows become bytes, and how stored rows become Arrow columns.
//!
//! Keys are memcomparable: `a < b` exactly when `key(a) < key(b)`, for composite keys too. Rows are found column by
//! column through the stable [`kalamdb_commons::ColumnId`], so a schema change rewrites nothing. The surprising
//! thing: a key cannot be decoded. Key columns stand in the row as well, and only the row is ever shown.

pub mod arrow;
pub mod index;
pub mod key;
pub mod row;
#[cfg(test)]
pub(crate) mod tests;

pub use crate::error::CodecError;
