//! Backend messages, appended to the output.
//!
//! The few that every query needs are written here byte by byte; those of a connection's start come from the protocol
//! crate's message types. None of them can fail for what a session says.

use bytes::{BufMut, Bytes, BytesMut};
use kalamdb_commons::{PgType, SqlError, SqlState};
use kalamdb_core::{OutputColumn, TransactionStatus};
use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::copy::{CopyInResponse, CopyOutResponse};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};

/// How bad an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The statement failed.
    Error,
    /// The connection ends.
    Fatal,
}

/// Writes a message whose length is known once its body is written.
fn message(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind);
    let start = out.len();
    out.put_i32(0);
    body(out);
    patch_length(out, start);
}

/// Writes the distance from `start` to the end into the four bytes at `start`.
fn patch_length(out: &mut BytesMut, start: usize) {
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A zero-terminated string. A zero inside would end it early, so what follows one is left out.
fn text(out: &mut BytesMut, text: &str) {
    let end = memchr::memchr(0, text.as_bytes()).unwrap_or(text.len());
    out.put_slice(&text.as_bytes()[..end]);
    out.put_u8(0);
}

/// ErrorResponse with all of the error's fields.
pub(crate) fn error(out: &mut BytesMut, severity: Severity, error: &SqlError) {
    let word = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    message(out, b'E', |out| fields(out, word, error));
}

/// NoticeResponse: a notice when its SQLSTATE is that of success, else a warning.
pub(crate) fn notice(out: &mut BytesMut, notice: &SqlError) {
    let severity = if notice.state() == SqlState::SUCCESSFUL_COMPLETION { "NOTICE" } else { "WARNING" };
    message(out, b'N', |out| fields(out, severity, notice));
}

fn fields(out: &mut BytesMut, severity: &str, error: &SqlError) {
    let state = error.state();
    let position = error.position().map(|position| position.to_string());
    let all = [
        (b'S', Some(severity)),
        (b'V', Some(severity)),
        (b'C', Some(state.code())),
        (b'M', Some(error.message())),
        (b'D', error.detail()),
        (b'H', error.hint()),
        (b'P', position.as_deref()),
        (b'W', error.context()),
        (b's', error.schema()),
        (b't', error.table()),
        (b'c', error.column()),
        (b'd', error.data_type()),
        (b'n', error.constraint()),
    ];
    for (code, value) in all {
        if let Some(value) = value {
            out.put_u8(code);
            text(out, value);
        }
    }
    out.put_u8(0);
}

/// ReadyForQuery.
pub(crate) fn ready(out: &mut BytesMut, status: TransactionStatus) {
    let status = match status {
        TransactionStatus::Idle => b'I',
        TransactionStatus::InBlock => b'T',
        TransactionStatus::Failed => b'E',
    };
    message(out, b'Z', |out| out.put_u8(status));
}

/// CommandComplete.
pub(crate) fn command_complete(out: &mut BytesMut, tag: &str) {
    message(out, b'C', |out| text(out, tag));
}

/// The messages that have no body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bare {
    /// EmptyQueryResponse
    EmptyQuery,
    /// ParseComplete
    ParseComplete,
    /// BindComplete
    BindComplete,
    /// CloseComplete
    CloseComplete,
    /// NoData
    NoData,
    /// PortalSuspended
    PortalSuspended,
    /// CopyDone
    CopyDone,
}

/// A message without a body.
pub(crate) fn bare(out: &mut BytesMut, which: Bare) {
    let kind = match which {
        Bare::EmptyQuery => b'I',
        Bare::ParseComplete => b'1',
        Bare::BindComplete => b'2',
        Bare::CloseComplete => b'3',
        Bare::NoData => b'n',
        Bare::PortalSuspended => b's',
        Bare::CopyDone => b'c',
    };
    message(out, kind, |_| ());
}

/// RowDescription; one format for each column.
pub(crate) fn row_description(out: &mut BytesMut, columns: &[OutputColumn], formats: &[i16]) {
    message(out, b'T', |out| {
        out.put_u16(columns.len() as u16);
        for (place, column) in columns.iter().enumerate() {
            text(out, &column.name);
            let (table, number) = column.origin.map_or((0, 0), |(table, column)| (table.0, column.0));
            out.put_u32(table);
            out.put_i16(number);
            out.put_u32(column.ty.ty.oid());
            out.put_i16(column.ty.ty.facts().len);
            out.put_i32(column.ty.typmod);
            out.put_i16(formats.get(place).copied().unwrap_or(0));
        }
    });
}

/// ParameterDescription.
pub(crate) fn parameter_description(out: &mut BytesMut, types: &[PgType]) {
    message(out, b't', |out| {
        out.put_u16(types.len() as u16);
        for ty in types {
            out.put_u32(ty.ty.oid());
        }
    });
}

/// NotificationResponse.
pub(crate) fn notification(out: &mut BytesMut, pid: i32, channel: &str, payload: &[u8]) {
    message(out, b'A', |out| {
        out.put_i32(pid);
        text(out, channel);
        let end = memchr::memchr(0, payload).unwrap_or(payload.len());
        out.put_slice(&payload[..end]);
        out.put_u8(0);
    });
}

/// CopyData.
pub(crate) fn copy_data(out: &mut BytesMut, data: &[u8]) {
    message(out, b'd', |out| out.put_slice(data));
}

/// CopyInResponse: every column in the one format.
pub(crate) fn copy_in(out: &mut BytesMut, binary: bool, columns: usize) {
    let format = i16::from(binary);
    crate_message(
        out,
        Backend::CopyInResponse(CopyInResponse::new(format as i8, columns as i16, vec![format; columns])),
    );
}

/// CopyOutResponse.
pub(crate) fn copy_out(out: &mut BytesMut, binary: bool, columns: usize) {
    let format = i16::from(binary);
    let response = CopyOutResponse::new(format as i8, columns as i16, vec![format; columns]);
    crate_message(out, Backend::CopyOutResponse(response));
}

/// Authentication…
pub(crate) fn authentication(out: &mut BytesMut, request: Authentication) {
    crate_message(out, Backend::Authentication(request));
}

/// ParameterStatus.
pub(crate) fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    crate_message(out, Backend::ParameterStatus(ParameterStatus::new(name.to_string(), value.to_string())));
}

/// BackendKeyData.
pub(crate) fn backend_key(out: &mut BytesMut, pid: i32, key: Bytes) {
    crate_message(out, Backend::BackendKeyData(BackendKeyData::new(pid, SecretKey::Bytes(key))));
}

/// NegotiateProtocolVersion.
pub(crate) fn negotiate_version(out: &mut BytesMut, version: i32, options: Vec<String>) {
    crate_message(out, Backend::NegotiateProtocolVersion(NegotiateProtocolVersion::new(version, options)));
}

/// The crate refuses messages beyond libpq's limits (30,000 bytes for these); such a one is left out whole.
fn crate_message(out: &mut BytesMut, message: Backend) {
    let start = out.len();
    if let Err(error) = message.encode(out) {
        tracing::warn!(%error, "a message was too long to be sent");
        out.truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kalamdb_commons::SqlType;

    #[test]
    fn an_error_carries_its_fields_in_order() {
        let mut out = BytesMut::new();
        let duplicate = SqlError::new(SqlState::UNIQUE_VIOLATION, "duplicate key")
            .with_detail("Key (id)=(1) already exists.")
            .with_table("t")
            .with_constraint("t_pkey");
        error(&mut out, Severity::Error, &duplicate);
        let body = b"SERROR\0VERROR\0C23505\0Mduplicate key\0DKey (id)=(1) already exists.\0tt\0nt_pkey\0\0";
        assert_eq!(out[0], b'E');
        assert_eq!(out[1..5], (body.len() as u32 + 4).to_be_bytes());
        assert_eq!(out[5..], body[..]);
    }

    #[test]
    fn a_row_description_tells_table_type_and_format() {
        let mut out = BytesMut::new();
        let column = OutputColumn {
            name: "id".into(),
            ty: PgType::new(SqlType::Int4),
            origin: Some((kalamdb_commons::TableId(16384), kalamdb_commons::ColumnId(1))),
        };
        row_description(&mut out, &[column], &[1]);
        assert_eq!(out[..], b"T\0\0\0\x1b\0\x01id\0\0\0\x40\0\0\x01\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01"[..]);
    }

    #[test]
    fn a_zero_cannot_end_a_string_early_and_shift_the_rest() {
        let mut out = BytesMut::new();
        notification(&mut out, 7, "ch", b"a\0b");
        assert_eq!(out[..], b"A\0\0\0\x0d\0\0\0\x07ch\0a\0"[..]);
    }
}
