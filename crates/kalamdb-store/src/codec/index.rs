//! The keys of index entries.
//!
//! An entry's key inside its index is the forms of its values in the index's order. Each begins with a byte that says
//! where NULL stands, so that a range is a range of bytes in either direction:
//!
//! ```text
//! 00  NULL, where NULLs come first     01 + form  a value     02  NULL, where NULLs come last
//! ```
//!
//! The form is the one that primary keys have; DESC turns its bytes over.

use super::CodecError;
use super::key::{self, KeyColumn, KeyRange, after_prefix};
use arrow_array::ArrayRef;
use kalamdb_commons::{Datum, SqlType};
use std::ops::Bound;

const NULL_FIRST: u8 = 0;
const VALUE: u8 = 1;
const NULL_LAST: u8 = 2;

/// How one value of an index is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexOrder {
    /// What is sorted: a type that keys can have.
    pub ty: SqlType,
    /// DESC
    pub descending: bool,
    /// NULLS FIRST
    pub nulls_first: bool,
}

impl IndexOrder {
    fn null(self) -> u8 {
        if self.nulls_first { NULL_FIRST } else { NULL_LAST }
    }

    /// The form of one value.
    ///
    /// # Errors
    /// [`CodecError::KeyType`], [`CodecError::WrongDatum`].
    pub fn form(self, datum: &Datum) -> Result<Vec<u8>, CodecError> {
        if datum.is_null() {
            return Ok(vec![self.null()]);
        }
        let mut out = vec![VALUE];
        out.extend(key::encode([(self.ty, datum)])?);
        if self.descending {
            turn(&mut out[1..]);
        }
        Ok(out)
    }
}

fn turn(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
}

/// Makes entries' keys from columns of values.
pub struct IndexEncoder<'a> {
    parts: Vec<(KeyColumn<'a>, IndexOrder)>,
}

impl<'a> IndexEncoder<'a> {
    /// For an index with this order, from one array for each of its values.
    ///
    /// # Errors
    /// [`CodecError::KeyType`], [`CodecError::WrongDatum`].
    pub fn new(order: &[IndexOrder], arrays: &[&'a ArrayRef]) -> Result<Self, CodecError> {
        let parts = order.iter().zip(arrays).map(|(order, array)| Ok((KeyColumn::new(order.ty, array)?, *order)));
        Ok(Self { parts: parts.collect::<Result<_, _>>()? })
    }

    /// The key of a row, and whether a NULL is in it.
    ///
    /// # Errors
    /// [`CodecError::WrongDatum`].
    pub fn encode(&self, row: usize) -> Result<(Vec<u8>, bool), CodecError> {
        let mut out = Vec::with_capacity(12 * self.parts.len());
        let mut has_null = false;
        for (column, order) in &self.parts {
            if column.array().is_null(row) {
                out.push(order.null());
                has_null = true;
                continue;
            }
            out.push(VALUE);
            let from = out.len();
            column.put(&mut out, row)?;
            if order.descending {
                turn(&mut out[from..]);
            }
        }
        Ok((out, has_null))
    }
}

/// The range of an index's keys whose first values are `prefix` and whose next one lies between two bounds. Without a
/// bound NULLs are in it, with one they are not.
///
/// # Errors
/// As [`IndexOrder::form`].
pub fn range(
    order: &[IndexOrder],
    prefix: &[Datum],
    low: &Bound<Datum>,
    high: &Bound<Datum>,
) -> Result<KeyRange, CodecError> {
    let mut start = Vec::new();
    for (order, datum) in order.iter().zip(prefix) {
        start.extend(order.form(datum)?);
    }
    let whole = KeyRange::of_prefix(&start);
    let Some(next) = order.get(prefix.len()) else { return Ok(whole) };
    let (low, high) = if next.descending { (high, low) } else { (low, high) };
    if matches!((low, high), (Bound::Unbounded, Bound::Unbounded)) {
        return Ok(whole);
    }
    let with = |datum: &Datum| -> Result<Vec<u8>, CodecError> { Ok([&start[..], &next.form(datum)?].concat()) };
    let values = KeyRange::of_prefix(&[&start[..], &[VALUE]].concat());
    let from = match low {
        Bound::Unbounded => values.start,
        Bound::Included(low) => with(low)?,
        // A form is never all FF: it begins with a byte of its own.
        Bound::Excluded(low) => after_prefix(&with(low)?).unwrap_or_default(),
    };
    let end = match high {
        Bound::Unbounded => values.end,
        Bound::Included(high) => after_prefix(&with(high)?),
        Bound::Excluded(high) => Some(with(high)?),
    };
    Ok(KeyRange { start: from, end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kalamdb_commons::PgType;
    use std::cmp::Ordering;

    fn int(value: Option<i32>) -> Datum {
        value.map_or(Datum::Null, Datum::Int4)
    }

    /// Keys are ordered as ORDER BY would order the values, in every combination of directions.
    #[test]
    fn keys_are_ordered_as_values() {
        let values = [None, Some(i32::MIN), Some(-1), Some(0), Some(7), Some(i32::MAX)];
        for descending in [false, true] {
            for nulls_first in [false, true] {
                let order = IndexOrder { ty: SqlType::Int4, descending, nulls_first };
                for a in values {
                    for b in values {
                        let wanted = match (a, b) {
                            (None, None) => Ordering::Equal,
                            (None, _) => {
                                if nulls_first {
                                    Ordering::Less
                                } else {
                                    Ordering::Greater
                                }
                            }
                            (_, None) => {
                                if nulls_first {
                                    Ordering::Greater
                                } else {
                                    Ordering::Less
                                }
                            }
                            (Some(a), Some(b)) => {
                                if descending {
                                    b.cmp(&a)
                                } else {
                                    a.cmp(&b)
                                }
                            }
                        };
                        let (x, y) = (order.form(&int(a)).expect("a key"), order.form(&int(b)).expect("a key"));
                        assert_eq!(x.cmp(&y), wanted, "{a:?} {b:?} {descending} {nulls_first}");
                    }
                }
            }
        }
    }

    /// A range holds exactly the values between its bounds, and NULLs only when it has none.
    #[test]
    fn ranges_hold_what_they_say() {
        let values = [None, Some(1), Some(2), Some(3), Some(4)];
        let bounds =
            |value: i32| [Bound::Unbounded, Bound::Included(int(Some(value))), Bound::Excluded(int(Some(value)))];
        for descending in [false, true] {
            for nulls_first in [false, true] {
                let order = [IndexOrder { ty: SqlType::Int4, descending, nulls_first }];
                for low in bounds(2) {
                    for high in bounds(3) {
                        let range = range(&order, &[], &low, &high).expect("a range");
                        for value in values {
                            let inside = match value {
                                None => matches!((&low, &high), (Bound::Unbounded, Bound::Unbounded)),
                                Some(value) => {
                                    let above = match &low {
                                        Bound::Included(_) => value >= 2,
                                        Bound::Excluded(_) => value > 2,
                                        Bound::Unbounded => true,
                                    };
                                    let below = match &high {
                                        Bound::Included(_) => value <= 3,
                                        Bound::Excluded(_) => value < 3,
                                        Bound::Unbounded => true,
                                    };
                                    above && below
                                }
                            };
                            let key = order[0].form(&int(value)).expect("a key");
                            assert_eq!(range.contains(&key), inside, "{value:?} {low:?} {high:?} {order:?}");
                        }
                    }
                }
            }
        }
    }

    /// Texts of which one begins the other keep their order when they are turned over, also before another value.
    #[test]
    fn turned_texts_stay_apart() {
        let order = IndexOrder { ty: SqlType::Text, descending: true, nulls_first: true };
        let form = |text: &str| order.form(&Datum::text(text)).expect("a key");
        assert!(form("a") > form("ab"));
        assert!(form("") > form("a"));
        assert!(form("a\0") < form("a"));
        let _ = PgType::new(SqlType::Text);
    }
}
