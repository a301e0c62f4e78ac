//! Decimal digits into a buffer, two at a time, without a formatter in between.

use bytes::{BufMut, BytesMut};

const PAIRS: &[u8; 200] = b"00010203040506070809101112131415161718192021222324252627282930313233343536373839\
4041424344454647484950515253545556575859606162636465666768697071727374757677787980818283848586878889\
90919293949596979899";

/// Appends an unsigned number.
pub(super) fn put_u64(mut value: u64, out: &mut BytesMut) {
    let mut buffer = [0_u8; 20];
    let mut start = buffer.len();
    while value >= 100 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        start -= 2;
        buffer[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if value >= 10 {
        let pair = value as usize * 2;
        start -= 2;
        buffer[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        start -= 1;
        buffer[start] = b'0' + value as u8;
    }
    out.put_slice(&buffer[start..]);
}

/// Appends a number with its sign.
pub(super) fn put_i64(value: i64, out: &mut BytesMut) {
    if value < 0 {
        out.put_u8(b'-');
    }
    put_u64(value.unsigned_abs(), out);
}

/// Appends at least two digits.
pub(super) fn put_2(value: u32, out: &mut BytesMut) {
    match value {
        0..100 => out.put_slice(&PAIRS[value as usize * 2..value as usize * 2 + 2]),
        _ => put_u64(u64::from(value), out),
    }
}

/// Appends at least `width` digits, zeros in front.
pub(super) fn put_padded(value: u64, width: u32, out: &mut BytesMut) {
    let digits = value.checked_ilog10().map_or(1, |log| log + 1);
    out.put_bytes(b'0', width.saturating_sub(digits) as usize);
    put_u64(value, out);
}

/// Appends a point and up to six digits of microseconds, without trailing zeros; nothing for 0.
pub(super) fn put_fraction(mut us: u32, out: &mut BytesMut) {
    if us == 0 {
        return;
    }
    let mut width = 6;
    while us % 10 == 0 {
        us /= 10;
        width -= 1;
    }
    out.put_u8(b'.');
    put_padded(u64::from(us), width, out);
}
