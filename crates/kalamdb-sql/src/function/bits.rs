//! Binary strings (PostgreSQL manual 9.5): single bits and bytes, OVERLAY, LIKE.

use super::rows::{f, fail, range};
use super::{Function, like};
use kalamdb_commons::{Result, SqlState};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(721 "get_byte" (a: Bytea, n: Int4) -> Int4 { byte_place(a, i64::from(n)).map(|at| i32::from(a[at])) }),
    f!(722 "set_byte" (a: Bytea, n: Int4, byte: Int4) -> Bytea { set_byte(a, n, byte) }),
    f!(723 "get_bit" (a: Bytea, n: Int8) -> Int4 { bit_place(a, n).map(|(at, bit)| i32::from(a[at] >> bit & 1)) }),
    f!(724 "set_bit" (a: Bytea, n: Int8, bit: Int4) -> Bytea { set_bit(a, n, bit) }),
    f!(6163 "bit_count" (a: Bytea) -> Int8 { Ok(a.iter().map(|byte| i64::from(byte.count_ones())).sum::<i64>()) }),
    f!(749 "overlay" (a: Bytea, new: Bytea, from: Int4, n: Int4) -> Bytea { overlay(a, new, from, n) }),
    f!(752 "overlay" (a: Bytea, new: Bytea, from: Int4) -> Bytea { overlay(a, new, from, new.len() as i32) }),
    f!(2005 "bytealike" (a: Bytea, pattern: Bytea) -> Bool { like::bytes_match(a, pattern) }),
    f!(2006 "byteanlike" (a: Bytea, pattern: Bytea) -> Bool { like::bytes_match(a, pattern).map(|matched| !matched) }),
    f!(2007 "like" (a: Bytea, pattern: Bytea) -> Bool { like::bytes_match(a, pattern) }),
    f!(2008 "notlike" (a: Bytea, pattern: Bytea) -> Bool { like::bytes_match(a, pattern).map(|matched| !matched) }),
];

/// The place of a byte, counted from 0.
fn byte_place(bytes: &[u8], n: i64) -> Result<usize> {
    match usize::try_from(n) {
        Ok(at) if at < bytes.len() => Ok(at),
        _ => {
            let last = bytes.len() as i64 - 1;
            fail(SqlState::ARRAY_SUBSCRIPT_ERROR, format!("index {n} out of valid range, 0..{last}"))
        }
    }
}

/// The byte of a bit, and its place in it: the lowest bit of the first byte is the first.
fn bit_place(bytes: &[u8], n: i64) -> Result<(usize, u32)> {
    match usize::try_from(n) {
        Ok(bit) if bit / 8 < bytes.len() => Ok((bit / 8, (bit % 8) as u32)),
        _ => {
            let last = bytes.len() as i64 * 8 - 1;
            fail(SqlState::ARRAY_SUBSCRIPT_ERROR, format!("index {n} out of valid range, 0..{last}"))
        }
    }
}

fn set_byte(bytes: &[u8], n: i32, byte: i32) -> Result<Vec<u8>> {
    let at = byte_place(bytes, i64::from(n))?;
    let mut bytes = bytes.to_vec();
    bytes[at] = byte as u8;
    Ok(bytes)
}

fn set_bit(bytes: &[u8], n: i64, bit: i32) -> Result<Vec<u8>> {
    let (at, place) = bit_place(bytes, n)?;
    if !(0..=1).contains(&bit) {
        return fail(SqlState::INVALID_PARAMETER_VALUE, "new bit must be 0 or 1");
    }
    let mut bytes = bytes.to_vec();
    bytes[at] = bytes[at] & !(1 << place) | (bit as u8) << place;
    Ok(bytes)
}

/// Puts other bytes in the place of `n` bytes from a place that counts from 1.
fn overlay(bytes: &[u8], new: &[u8], from: i32, n: i32) -> Result<Vec<u8>> {
    if from <= 0 {
        return fail(SqlState::SUBSTRING_ERROR, "negative substring length not allowed");
    }
    let behind = from.checked_add(n).ok_or_else(|| range("integer"))?;
    let before = &bytes[..bytes.len().min(from as usize - 1)];
    let behind = &bytes[bytes.len().min(usize::try_from(behind - 1).unwrap_or(0))..];
    super::string::bounded(before.len() + new.len() + behind.len())?;
    Ok([before, new, behind].concat())
}
