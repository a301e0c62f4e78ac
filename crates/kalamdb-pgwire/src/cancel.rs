//! Cancel requests: connections that carry one packet, get no answer, and are closed.
//!
//! Nobody is logged in here. The process id and the key are all the proof there is; core compares them.

use crate::frame::{Body, violation};
use bytes::Bytes;
use kalamdb_commons::Result;
use kalamdb_core::Database;

/// The code in the place of a protocol version that marks a cancel request.
pub(crate) const CANCEL_CODE: i32 = 80_877_102;
/// The lengths a key may have: four bytes in protocol 3.0, up to 256 in 3.2.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 4..=256;

/// Which session to stop, and the key to it.
#[derive(Debug, PartialEq)]
pub(crate) struct CancelRequest {
    pid: i32,
    key: Bytes,
}

impl CancelRequest {
    /// Reads what follows the code.
    ///
    /// # Errors
    /// 08P01 for a length that no key has.
    pub(crate) fn read(rest: Bytes) -> Result<Self> {
        let mut body = Body(rest);
        let pid = body.i32()?;
        if !KEY_BYTES.contains(&body.0.len()) {
            return Err(violation("invalid length of cancel request packet"));
        }
        Ok(CancelRequest { pid, key: body.0 })
    }

    /// Stops what the session runs, if the key is its key.
    pub(crate) fn carry_out(self, database: &Database) {
        database.cancel(self.pid, &self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_four_to_256_bytes() {
        let short = CancelRequest::read(Bytes::from_static(b"\0\0\0\x07abcd"));
        assert_eq!(short, Ok(CancelRequest { pid: 7, key: Bytes::from_static(b"abcd") }));
        for length in [0, 3, 257] {
            let mut packet = vec![0, 0, 0, 7];
            packet.resize(4 + length, 1);
            assert!(CancelRequest::read(packet.into()).is_err(), "{length}");
        }
        assert!(CancelRequest::read(Bytes::from_static(b"\0\0")).is_err());
    }
}
