//! The error that a client sees: PostgreSQL's fields, in PostgreSQL's style.
//!
//! Every layer has an error enum of its own whose variants can be acted on; it becomes a `SqlError` once, on its
//! way out. Nothing ever looks into the text.

use crate::sqlstate::SqlState;
use std::fmt;

/// A result whose error is for the client.
pub type Result<T, E = SqlError> = std::result::Result<T, E>;

/// One error report (PostgreSQL manual 55.8, "Error and Notice Message Fields").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    fields: Box<Fields>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    state: SqlState,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<usize>,
    schema: Option<String>,
    table: Option<String>,
    column: Option<String>,
    data_type: Option<String>,
    constraint: Option<String>,
    context: Option<String>,
    placeless: bool,
}

macro_rules! field {
    ($(#[$doc:meta])* $with:ident, $field:ident) => {
        $(#[$doc])*
        pub fn $with(mut self, text: impl Into<String>) -> Self {
            self.fields.$field = Some(text.into());
            self
        }
        /// The field, if it was set.
        pub fn $field(&self) -> Option<&str> {
            self.fields.$field.as_deref()
        }
    };
}

impl SqlError {
    /// An error with its SQLSTATE and primary message (lower case, no full stop, names in double quotes).
    pub fn new(state: SqlState, message: impl Into<String>) -> Self {
        Self {
            fields: Box::new(Fields {
                state,
                message: message.into(),
                detail: None,
                hint: None,
                position: None,
                schema: None,
                table: None,
                column: None,
                data_type: None,
                constraint: None,
                context: None,
                placeless: false,
            }),
        }
    }

    /// 0A000: something that KalamDB does not do (yet). `what` is the subject: "MERGE", "foreign keys".
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{what} is not supported"))
    }

    /// XX000: an error of ours that a client cannot cause. The text is for the log and the bug report.
    pub fn internal(what: impl fmt::Display) -> Self {
        Self::new(SqlState::INTERNAL_ERROR, what.to_string())
    }

    /// 22021: these bytes are no text in UTF-8, or have a zero byte, which no text has. The first that are wrong are shown:
    /// as many as their first promises.
    pub fn not_utf8(bytes: &[u8]) -> Self {
        let valid = match std::str::from_utf8(bytes) {
            Ok(_) => bytes.len(),
            Err(error) => error.valid_up_to(),
        };
        let first = bytes[..valid].iter().position(|byte| *byte == 0).unwrap_or(valid);
        let promised = match bytes.get(first) {
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf7) => 4,
            _ => 1,
        };
        let shown: Vec<String> = bytes[first..].iter().take(promised).map(|byte| format!("0x{byte:02x}")).collect();
        let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
        Self::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message)
    }

    /// The SQLSTATE.
    pub fn state(&self) -> SqlState {
        self.fields.state
    }
    /// The primary message.
    pub fn message(&self) -> &str {
        &self.fields.message
    }
    /// The place in the statement's text, in characters from 1.
    pub fn position(&self) -> Option<usize> {
        self.fields.position
    }
    /// Sets the place (characters from 1) unless one is known already: the innermost place wins.
    pub fn at(mut self, position: Option<usize>) -> Self {
        if !self.fields.placeless {
            self.fields.position = self.fields.position.or(position);
        }
        self
    }

    /// An error that PostgreSQL finds when it runs the statement, found earlier here: it has no place in the text.
    pub fn without_place(mut self) -> Self {
        self.fields.placeless = true;
        self.fields.position = None;
        self
    }

    /// Puts the place elsewhere: a statement's own count becomes the script's.
    pub fn moved_to(mut self, position: usize) -> Self {
        self.fields.position = Some(position);
        self
    }

    /// The same with its texts rewritten: names put where the catalog's numbers stand.
    pub fn rewritten(mut self, rewrite: &dyn Fn(&str) -> Option<String>) -> Self {
        let fields = &mut self.fields;
        if let Some(message) = rewrite(&fields.message) {
            fields.message = message;
        }
        for text in [&mut fields.detail, &mut fields.hint].into_iter().flatten() {
            if let Some(rewritten) = rewrite(text) {
                *text = rewritten;
            }
        }
        self
    }

    field! { /** Adds the detail. */ with_detail, detail }
    field! { /** Adds the hint. */ with_hint, hint }
    field! { /** Names the schema. */ with_schema, schema }
    field! { /** Names the table. */ with_table, table }
    field! { /** Names the column. */ with_column, column }
    field! { /** Names the data type. */ with_data_type, data_type }
    field! { /** Names the constraint. */ with_constraint, constraint }
    field! { /** Says where it happened (COPY: line and column). */ with_context, context }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.fields.message, self.fields.state)
    }
}

impl std::error::Error for SqlError {}
