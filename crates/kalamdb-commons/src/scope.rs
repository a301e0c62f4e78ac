//! Which partition of a table a statement sees.

use crate::ids::UserId;

/// A partition, fixed when a need becomes a relation, at each execution.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// The one partition of a SHARED table.
    Shared,
    /// One user's partition of a USER or STREAM table.
    User(UserId),
}
