//! What the committer checks of a write set before it takes it: that what it was made for is still so.
//!
//! Row conflicts are not among it: those were settled under the rows' locks.

use super::snapshot::Manifest;
use super::write_set::WriteSet;
use crate::catalog::Catalog;
use crate::error::StoreError;

/// Why a write set is not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A flush moved rows: the places must be looked up again, then it can be handed in again.
    PlacesMoved,
    Error(StoreError),
}

/// Checks against the newest state, earlier members of the same group included.
pub(super) fn check(set: &WriteSet, catalog: &Catalog, manifest: &Manifest) -> Result<(), Refusal> {
    for (id, writes) in &set.tables {
        if let Some(version) = writes.schema_version {
            if catalog.table(*id).is_none_or(|def| def.schema_version != version) {
                return Err(Refusal::Error(StoreError::SchemaChanged(*id)));
            }
        }
        if writes.place_number.is_some_and(|number| number != manifest.place_number(*id)) {
            return Err(Refusal::PlacesMoved);
        }
    }
    Ok(())
}
