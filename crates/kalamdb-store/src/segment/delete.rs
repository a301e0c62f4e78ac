//! Positional deletes: which rows of a segment are gone.
//!
//! Each is a key of its own in the store (`segment id | row number`, no value), so that deleting a cold row costs one
//! small put and a snapshot sees exactly the deletes committed before it. In memory they are sorted row numbers.

use kalamdb_commons::SegmentId;

/// The deleted rows of one segment, ascending and each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletes {
    rows: Vec<u32>,
}

impl Deletes {
    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether this row is gone.
    pub fn contains(&self, row: u32) -> bool {
        self.rows.binary_search(&row).is_ok()
    }

    /// Adds one.
    pub fn insert(&mut self, row: u32) {
        if let Err(place) = self.rows.binary_search(&row) {
            self.rows.insert(place, row);
        }
    }

    /// Adds several.
    pub fn extend(&mut self, rows: impl IntoIterator<Item = u32>) {
        self.rows.extend(rows);
        self.rows.sort_unstable();
        self.rows.dedup();
    }

    /// Those from `start` up to but not including `end`.
    pub fn within(&self, start: u32, end: u32) -> &[u32] {
        let from = self.rows.partition_point(|row| *row < start);
        let to = self.rows.partition_point(|row| *row < end);
        &self.rows[from..to.max(from)]
    }

    /// The runs of rows from `start` up to `end` that are still there, as (first, one past the last).
    pub fn kept(&self, start: u32, end: u32) -> Vec<(u32, u32)> {
        let mut runs = Vec::new();
        let mut from = start;
        for row in self.within(start, end) {
            if *row > from {
                runs.push((from, *row));
            }
            from = row + 1;
        }
        if from < end {
            runs.push((from, end));
        }
        runs
    }
}

impl FromIterator<u32> for Deletes {
    fn from_iter<I: IntoIterator<Item = u32>>(rows: I) -> Self {
        let mut deletes = Self::default();
        deletes.extend(rows);
        deletes
    }
}

/// The store's key of a positional delete.
pub fn key(segment: SegmentId, row: u32) -> Vec<u8> {
    [segment.0.to_be_bytes().as_slice(), &row.to_be_bytes()].concat()
}

/// The prefix of all positional deletes of a segment.
pub fn prefix(segment: SegmentId) -> Vec<u8> {
    segment.0.to_be_bytes().to_vec()
}

/// Segment and row number of a positional delete's key.
pub fn split_key(key: &[u8]) -> Option<(SegmentId, u32)> {
    let (segment, row) = key.split_first_chunk::<8>()?;
    Some((SegmentId(u64::from_be_bytes(*segment)), u32::from_be_bytes(row.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_between_deletes() {
        let deletes: Deletes = [7, 0, 3, 4, 7].into_iter().collect();
        assert_eq!(deletes.len(), 4);
        assert_eq!(deletes.kept(0, 10), vec![(1, 3), (5, 7), (8, 10)]);
        assert_eq!(deletes.kept(3, 5), vec![]);
        assert_eq!(deletes.kept(5, 8), vec![(5, 7)]);
        assert_eq!(Deletes::default().kept(2, 2), vec![]);
        assert!(deletes.contains(4) && !deletes.contains(5));
        assert_eq!(split_key(&key(SegmentId(9), 77)), Some((SegmentId(9), 77)));
    }
}
