//! What two servers' answers differ in.

use crate::pipe::{Answer, Column, Value, values};

/// In what way KalamDB's answer differs from PostgreSQL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One of them does not know the call at all, or they refuse it with other SQLSTATEs.
    Claim,
    /// The result has another type, modifier or name.
    Type,
    /// Another value.
    Value,
    /// The same value as text, another in binary.
    Binary,
    /// KalamDB fails where PostgreSQL answers.
    Refused,
    /// KalamDB answers where PostgreSQL fails.
    Accepted,
    /// Both fail, with other SQLSTATEs.
    State,
    /// Both fail with the same SQLSTATE and other words.
    Message,
    /// KalamDB ended the connection.
    Lost,
}

const NAMES: [(Kind, &str); 9] = [
    (Kind::Claim, "claim"),
    (Kind::Type, "type"),
    (Kind::Value, "value"),
    (Kind::Binary, "binary"),
    (Kind::Refused, "refused"),
    (Kind::Accepted, "accepted"),
    (Kind::State, "state"),
    (Kind::Message, "message"),
    (Kind::Lost, "lost"),
];

impl Kind {
    /// Its name in the lists.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
    /// The kind of this name.
    pub fn named(name: &str) -> Option<Kind> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// What the answers to Parse and Describe differ in.
pub fn prepared(ours: &Result<Vec<Column>, Answer>, theirs: &Result<Vec<Column>, Answer>) -> Option<Kind> {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours != theirs).then_some(Kind::Type),
        (Err(ours), Err(theirs)) => match answered(ours, theirs) {
            Some(Kind::State) => Some(Kind::Claim),
            other => other,
        },
        (Err(Answer::Lost), Ok(_)) => Some(Kind::Lost),
        _ => Some(Kind::Claim),
    }
}

/// The state of a statement that ran out of its time, which says something about the machine alone.
const QUERY_CANCELED: &str = "57014";

/// What the answers to one row of arguments differ in.
pub fn answered(ours: &Answer, theirs: &Answer) -> Option<Kind> {
    match (ours, theirs) {
        (Answer::Lost, _) => Some(Kind::Lost),
        (Answer::Failed(state, _), _) | (_, Answer::Failed(state, _)) if state == QUERY_CANCELED => None,
        (Answer::Failed(state, message), Answer::Failed(state_there, message_there)) => {
            if state != state_there {
                Some(Kind::State)
            } else {
                (message != message_there).then_some(Kind::Message)
            }
        }
        (Answer::Failed(..), _) => Some(Kind::Refused),
        (Answer::Rows(_), Answer::Failed(..) | Answer::Lost) => Some(Kind::Accepted),
        (Answer::Rows(ours), Answer::Rows(theirs)) if ours == theirs => None,
        (Answer::Rows(ours), Answer::Rows(theirs)) => {
            let text = |rows: &[Vec<u8>]| -> Vec<Vec<Value>> {
                rows.iter()
                    .map(|row| {
                        let mut values = values(row);
                        values.truncate(values.len() / 2);
                        values
                    })
                    .collect()
            };
            Some(if text(ours) == text(theirs) { Kind::Binary } else { Kind::Value })
        }
    }
}
