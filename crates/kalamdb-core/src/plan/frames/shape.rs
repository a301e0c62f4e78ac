//! Which rows a row's frame holds.

use arrow_array::ArrayRef;
use kalamdb_commons::{Datum, PgType, Result};
use kalamdb_sql::bind::bound::{Exclusion, FrameUnits};
use kalamdb_sql::function::in_range::{self, Place};
use kalamdb_sql::types::{self, Style};
use std::cmp::Ordering;
use std::ops::Range;

/// A frame's border, its offset a value.
#[derive(Debug, Clone)]
pub(in super::super) enum Bound {
    Start,
    Before(Datum),
    Current,
    After(Datum),
    End,
}

/// What RANGE offsets are added to.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct RangeBy {
    pub ty: PgType,
    pub descending: bool,
}

/// A frame.
#[derive(Debug, Clone)]
pub(in super::super) struct Frame {
    pub units: FrameUnits,
    pub start: Bound,
    pub end: Bound,
    pub exclude: Exclusion,
    /// For RANGE with offsets: the ORDER BY value.
    pub range_by: Option<RangeBy>,
}

/// A partition as its frames see it.
pub(super) struct Partition<'a> {
    pub rows: Range<usize>,
    /// The groups of peers, in order.
    pub peers: &'a [Range<usize>],
    /// The ORDER BY values, for RANGE with offsets.
    pub values: Option<&'a ArrayRef>,
}

/// The frames of a partition's rows, asked for from the first row to the last.
pub(super) struct Shapes<'a> {
    frame: &'a Frame,
    partition: &'a Partition<'a>,
    style: &'a Style,
    /// Where the values stand; empty without RANGE offsets.
    places: Vec<Option<Place>>,
    /// The rows whose value is not NULL.
    known: Range<usize>,
    /// The current row's group.
    group: usize,
}

impl<'a> Shapes<'a> {
    pub fn new(frame: &'a Frame, partition: &'a Partition<'a>, style: &'a Style) -> Shapes<'a> {
        let mut places = Vec::new();
        let mut known = partition.rows.clone();
        if let (Some(by), Some(values)) = (&frame.range_by, partition.values) {
            let place = |row| Place::of(&types::datum_at(values.as_ref(), row, by.ty));
            places = partition.rows.clone().map(place).collect();
            known.start += places.iter().take_while(|place| place.is_none()).count();
            known.end -= places.iter().rev().take_while(|place| place.is_none()).count();
            known.end = known.end.max(known.start);
        }
        Shapes { frame, partition, style, places, known, group: 0 }
    }

    /// The group of a row's peers.
    fn peers_of(&mut self, row: usize) -> Range<usize> {
        while self.partition.peers[self.group].end <= row {
            self.group += 1;
        }
        self.partition.peers[self.group].clone()
    }

    /// The frame of a row as up to three runs of rows; all are empty for an empty frame.
    ///
    /// # Errors
    /// 22008 when a RANGE offset leaves the type's range.
    pub fn of(&mut self, row: usize) -> Result<[Range<usize>; 3]> {
        let peers = self.peers_of(row);
        let frame = self.frame;
        let start = self.border(&frame.start, row, &peers, true)?;
        let end = self.border(&frame.end, row, &peers, false)?.max(start);
        let whole = start..end;
        let gap = match frame.exclude {
            Exclusion::NoOthers => return Ok([whole, end..end, end..end]),
            Exclusion::CurrentRow => row..row + 1,
            Exclusion::Group | Exclusion::Ties => peers,
        };
        let before = start..gap.start.clamp(start, end);
        let after = gap.end.clamp(start, end)..end;
        let own = match frame.exclude {
            Exclusion::Ties if whole.contains(&row) => row..row + 1,
            _ => before.end..before.end,
        };
        Ok([before, own, after])
    }

    fn border(&self, bound: &Bound, row: usize, peers: &Range<usize>, is_start: bool) -> Result<usize> {
        let Range { start: first, end: last } = self.partition.rows.clone();
        let (offset, back) = match bound {
            Bound::Start => return Ok(first),
            Bound::End => return Ok(last),
            Bound::Current => {
                let rows = if self.frame.units == FrameUnits::Rows { row..row + 1 } else { peers.clone() };
                return Ok(if is_start { rows.start } else { rows.end });
            }
            Bound::Before(offset) => (offset, true),
            Bound::After(offset) => (offset, false),
        };
        // More rows or groups than there are reach the partition's edge.
        let steps = match offset {
            Datum::Int8(count) => usize::try_from(*count).unwrap_or(usize::MAX),
            _ => 0,
        };
        Ok(match self.frame.units {
            FrameUnits::Rows => {
                let row = if is_start { row } else { row + 1 };
                let moved = if back { row.saturating_sub(steps) } else { row.saturating_add(steps) };
                moved.clamp(first, last)
            }
            FrameUnits::Groups => {
                let groups = self.partition.peers;
                let group = if back { self.group.checked_sub(steps) } else { self.group.checked_add(steps) };
                match group.and_then(|group| groups.get(group)) {
                    Some(group) if is_start => group.start,
                    Some(group) => group.end,
                    None if back => first,
                    None => last,
                }
            }
            FrameUnits::Range => self.ranged(offset, back, row, peers, is_start)?,
        })
    }

    /// The border by the ORDER BY values.
    fn ranged(&self, offset: &Datum, back: bool, row: usize, peers: &Range<usize>, is_start: bool) -> Result<usize> {
        let (Some(by), Some(values)) = (&self.frame.range_by, self.partition.values) else { return Ok(row) };
        let value = types::datum_at(values.as_ref(), row, by.ty);
        let Some(bound) =
            in_range::bound(&value, offset, back != by.descending, is_start != by.descending, self.style)?
        else {
            // NULL is the peer of NULL alone, at any distance.
            return Ok(if is_start { peers.start } else { peers.end });
        };
        let first = self.partition.rows.start;
        let places = &self.places[self.known.start - first..self.known.end - first];
        let before = places.partition_point(|place| {
            let Some(place) = place else { return false };
            let order = place.compare(&bound);
            let order = if by.descending { order.reverse() } else { order };
            order == Ordering::Less || (!is_start && order == Ordering::Equal)
        });
        Ok(self.known.start + before)
    }
}
