//! x
use super::Call;
use kalamdb_commons::Result;
pub(super) fn time_of_day_text(_: &Call<'_>) -> Result<String> { Ok(String::new()) }
