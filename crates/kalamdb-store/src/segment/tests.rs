//! Segments written and read back, pruned and looked up.

use super::read::{SegmentScan, key_prefix, overlaps};
use super::write::{SegmentWriter, columns};
use super::{ColdSegment, Deletes, SegmentError, SegmentRecord, Segments};
use crate::codec::arrow::BatchBuilder;
use crate::codec::key::{self, Edge, KeyRange};
use crate::codec::row::{self, RowView};
use crate::codec::tests::{MONEY, all_types, column, same, table, value};
use crate::definition::{ColumnDef, Partition, TableDef};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use futures::TryStreamExt;
use kalamdb_commons::{ColumnId, Datum, Numeric, PgType, Scope, SegmentId, Seq, SqlType, TableType, UserId};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use std::sync::Arc;

type Stored = (Vec<u8>, Vec<u8>);

fn segments() -> (tempfile::TempDir, Segments) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let segments = Segments::local(dir.path(), uuid::Uuid::nil(), 1).expect("a storage");
    (dir, segments)
}

async fn write(
    segments: &Segments,
    def: &TableDef,
    as_text: BTreeSet<ColumnId>,
    rows: &[Stored],
) -> Result<Option<SegmentRecord>, SegmentError> {
    let id = SegmentId(3);
    let path = segments.path("pub/lic", "..", def.id, id);
    let mut writer = SegmentWriter::create(segments, Arc::new(def.clone()), id, path, as_text)?;
    for chunk in rows.chunks(1000) {
        let mut builder = BatchBuilder::new(def, &columns(def))?;
        for (key, row) in chunk {
            builder.push(key, row)?;
        }
        if let Err(error) = writer.write(&builder.finish()?).await {
            writer.abandon(segments).await;
            return Err(error);
        }
    }
    writer.finish(segments).await
}

/// Rows with an int8 key from 0, `step` apart, for the scope.
fn numbered(def: &TableDef, scope: Scope, count: i64, step: i64) -> Vec<Stored> {
    (0..count)
        .map(|number| {
            let id = Datum::Int8(number * step);
            let key = key::encode([(SqlType::Int8, &id)]).expect("a key");
            let text = Datum::text(format!("row {number}"));
            let mut row = row::encode(def, &[(ColumnId(1), id), (ColumnId(2), text)]).expect("a row");
            row::stamp(&mut row, Seq(1000 + number as u64), 5);
            ([key_prefix(scope), key].concat(), row)
        })
        .collect()
}

fn part(def: &TableDef, scope: Scope) -> Partition {
    Partition { table: Arc::new(def.clone()), scope }
}

async fn ids_of(
    segments: &Segments,
    def: &TableDef,
    scope: Scope,
    range: &KeyRange,
    segment: &ColdSegment,
) -> Vec<i64> {
    let scan = segments.scan(&part(def, scope), range, segment, &[ColumnId(1)], 999, None).await;
    numbers(scan.expect("a scan")).await
}

async fn numbers(scan: SegmentScan) -> Vec<i64> {
    let batches: Vec<_> = scan.try_collect().await.expect("batches");
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn bound(id: i64) -> Vec<u8> {
    key::encode([(SqlType::Int8, &Datum::Int8(id))]).expect("a key")
}

#[tokio::test]
async fn every_type_comes_back() {
    let (_dir, segments) = segments();
    let def = table(&all_types(), &[1], TableType::Shared);
    let mut runner = TestRunner::deterministic();
    let mut rows = std::collections::BTreeMap::new();
    for number in 0..300u64 {
        let values: Vec<(ColumnId, Datum)> = def
            .columns
            .iter()
            .map(|column| {
                let generated = value(column.ty).new_tree(&mut runner).expect("a value").current();
                let null = column.id != ColumnId(1) && (number + column.id.0 as u64).is_multiple_of(5);
                (column.id, if null { Datum::Null } else { generated })
            })
            .collect();
        let mut row = row::encode(&def, &values).expect("a row");
        row::stamp(&mut row, Seq(number + 1), number as i64 * 7);
        rows.insert(key::encode([(SqlType::Int8, &values[0].1)]).expect("a key"), row);
    }
    let rows: Vec<Stored> = rows.into_iter().collect();
    let record = write(&segments, &def, BTreeSet::new(), &rows).await.expect("written").expect("rows");
    assert_eq!(record.rows, rows.len() as u64);
    assert!(record.path.starts_with("pub%2Flic/%2E%2E/70000-"), "{}", record.path);
    let segment = ColdSegment { record: Arc::new(record), deletes: Arc::default(), replaced: Arc::default() };

    for (number, (key, row)) in rows.iter().enumerate() {
        let found = segments.get(&def, Scope::Shared, key, &segment).await.expect("read").expect("there");
        assert_eq!(found.row_number as usize, number);
        let (found, expected) = (RowView::new(&found.row).expect("a row"), RowView::new(row).expect("a row"));
        assert_eq!((found.seq(), found.updated_us()), (expected.seq(), expected.updated_us()));
        for column in &def.columns {
            let (found, expected) = (found.datum(column).expect("a value"), expected.datum(column).expect("a value"));
            assert!(same(&found, &expected), "{}: {expected:?} became {found:?}", column.ty);
        }
    }
    let absent = key::encode([(SqlType::Int8, &Datum::Int8(123_456_789))]).expect("a key");
    assert_eq!(segments.get(&def, Scope::Shared, &absent, &segment).await.expect("read"), None);
}

#[tokio::test]
async fn a_range_of_keys_is_a_range_of_rows() {
    let (_dir, segments) = segments();
    let def = table(&[SqlType::Int8.into(), SqlType::Text.into()], &[1], TableType::User);
    let (ann, bob, eve) = (Scope::User(UserId(7)), Scope::User(UserId(8)), Scope::User(UserId(9)));
    let mut rows = numbered(&def, ann, 10_000, 2);
    // More than a row group, and than a page.
    rows.extend(numbered(&def, bob, 150_000, 2));
    let record = write(&segments, &def, BTreeSet::new(), &rows).await.expect("written").expect("rows");
    assert_eq!((record.min_seq, record.max_seq), (Seq(1000), Seq(150_999)));
    let whole = ColdSegment { record: Arc::new(record), deletes: Arc::default(), replaced: Arc::default() };

    let all = ids_of(&segments, &def, ann, &KeyRange::all(), &whole).await;
    assert_eq!((all.len(), all.first(), all.last()), (10_000, Some(&0), Some(&19_998)));
    assert_eq!(ids_of(&segments, &def, bob, &KeyRange::all(), &whole).await.len(), 150_000);
    assert!(ids_of(&segments, &def, eve, &KeyRange::all(), &whole).await.is_empty());
    assert!(!overlaps(&whole.record, eve, &KeyRange::all()));

    for (from, to) in [(0, 1), (-5, 4), (16_383, 16_390), (262_140, 262_148), (299_990, 900_000), (5, 5)] {
        let range = KeyRange { start: bound(from), end: Some(bound(to)) };
        let expected: Vec<i64> = (from..to).filter(|id| id % 2 == 0 && (0..300_000).contains(id)).collect();
        assert_eq!(ids_of(&segments, &def, bob, &range, &whole).await, expected, "{from} to {to}");
    }

    // Positional deletes: rows 10,000 up are bob's.
    let deletes: Deletes = (10_001..10_011).chain([159_999]).collect();
    let cut = ColdSegment { deletes: Arc::new(deletes), ..whole.clone() };
    let left = ids_of(&segments, &def, bob, &KeyRange::all(), &cut).await;
    assert_eq!((left.len(), left[0], left[1], left.last()), (149_989, 0, 22, Some(&299_996)));
    assert_eq!(segments.get(&def, bob, &bound(4), &cut).await.expect("read"), None);
    assert!(segments.get(&def, bob, &bound(22), &cut).await.expect("read").is_some());
    assert_eq!(segments.get(&def, bob, &bound(3), &whole).await.expect("read"), None);

    let keys = [[key_prefix(ann), bound(4)].concat(), [key_prefix(bob), bound(5)].concat()];
    assert_eq!(segments.locate(&whole.record, &keys).await.expect("read"), [Some(2), None]);

    // Only the rows at an end.
    for (edge, expected) in [
        (Edge::First(3), vec![0, 22, 24]),
        (Edge::Last(3), vec![299_992, 299_994, 299_996]),
        (Edge::First(0), vec![]),
        (Edge::Last(1_000_000), left.clone()),
    ] {
        let scan = segments.scan(&part(&def, bob), &KeyRange::all(), &cut, &[ColumnId(1)], 999, Some(edge)).await;
        assert_eq!(numbers(scan.expect("a scan")).await, expected, "{edge:?}");
    }

    // The row's key comes back without the user number.
    let scan =
        segments.scan(&part(&def, bob), &KeyRange::point(&bound(8)), &whole, &[ColumnId::ROW_KEY], 10, None).await;
    let batch = scan.expect("a scan").try_next().await.expect("read").expect("a batch");
    assert_eq!(batch.column(0).as_binary::<i32>().value(0), bound(8));
}

#[tokio::test]
async fn a_column_that_came_later_is_missing_and_a_renamed_one_is_itself() {
    let (_dir, segments) = segments();
    let mut def = table(&[SqlType::Int8.into(), SqlType::Text.into()], &[1], TableType::Shared);
    let rows = numbered(&def, Scope::Shared, 3, 1);
    let record = write(&segments, &def, BTreeSet::new(), &rows).await.expect("written").expect("rows");
    let segment = ColdSegment { record: Arc::new(record), deletes: Arc::default(), replaced: Arc::default() };
    def.columns[1].name = "renamed".into();
    def.columns.push(ColumnDef { missing: Datum::Int4(5), ..column(3, SqlType::Int4.into()) });
    let wanted = [ColumnId(3), ColumnId(2), ColumnId::DELETED, ColumnId::TABLEOID];
    let scan =
        segments.scan(&part(&def, Scope::Shared), &KeyRange::all(), &segment, &wanted, 10, None).await.expect("a scan");
    let batch = scan.try_collect::<Vec<_>>().await.expect("read").remove(0);
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[5, 5, 5]);
    assert_eq!(batch.column(1).as_string::<i32>().value(2), "row 2");
    // No column of the file at all.
    let scan =
        segments.scan(&part(&def, Scope::Shared), &KeyRange::all(), &segment, &[], 10, None).await.expect("a scan");
    assert_eq!(scan.try_collect::<Vec<_>>().await.expect("read")[0].num_rows(), 3);
}

#[tokio::test]
async fn a_decimal_column_with_nan_becomes_text() {
    let (_dir, segments) = segments();
    let def = table(&[PgType::new(SqlType::Int8), MONEY], &[1], TableType::Shared);
    let id = Datum::Int8(1);
    let key = key::encode([(SqlType::Int8, &id)]).expect("a key");
    let nan = Datum::Numeric(Numeric::NaN);
    let mut row = row::encode(&def, &[(ColumnId(1), id), (ColumnId(2), nan.clone())]).expect("a row");
    row::stamp(&mut row, Seq(1), 1);
    let rows = [(key.clone(), row)];
    let refused = write(&segments, &def, BTreeSet::new(), &rows).await;
    assert!(matches!(refused, Err(SegmentError::NoDecimal(ColumnId(2)))));
    let as_text = BTreeSet::from([ColumnId(2)]);
    let record = write(&segments, &def, as_text, &rows).await.expect("written").expect("rows");
    let segment = ColdSegment { record: Arc::new(record), deletes: Arc::default(), replaced: Arc::default() };
    let found = segments.get(&def, Scope::Shared, &key, &segment).await.expect("read").expect("there");
    let found = RowView::new(&found.row).and_then(|row| row.datum(&def.columns[1])).expect("a value");
    assert!(same(&found, &nan));
}
