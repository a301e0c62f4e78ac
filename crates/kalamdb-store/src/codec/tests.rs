//! Round trips with a generator: what goes in comes out, and keys keep the order of values.

use super::arrow::BatchBuilder;
use super::key::{self, KeyEncoder, KeyRange};
use super::row::{self, RowEncoder, RowView};
use crate::definition::{ColumnDef, KeyDef, TableDef, TableOptions};
use kalamdb_commons::array::{Dimension, Shape};
use kalamdb_commons::{
    AccessLevel, ArrayDatum, ColumnId, Datum, Interval, NamespaceId, Numeric, PgType, Scope, Seq, SqlType, TableId,
    TableType, UserId,
};
use proptest::prelude::*;
use std::cmp::Ordering;

/// A table with one column for each type, numbered from 1, and the first as its key.
pub(crate) fn table(types: &[PgType], key: &[i16], kind: TableType) -> TableDef {
    TableDef {
        id: TableId(70_000),
        namespace: NamespaceId(2200),
        name: "t".into(),
        kind,
        access: AccessLevel::Private,
        storage: "local".into(),
        owner: UserId(10),
        options: TableOptions::default(),
        schema_version: 1,
        columns: types.iter().enumerate().map(|(place, ty)| column(place as i16 + 1, *ty)).collect(),
        primary_key: Some(KeyDef {
            constraint: 70_001,
            index: 70_002,
            name: "t_pkey".into(),
            columns: key.iter().map(|id| ColumnId(*id)).collect(),
        }),
        indexes: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        row_type: 70_003,
        created_at: 0,
        updated_at: 0,
    }
}

pub(crate) fn column(id: i16, ty: PgType) -> ColumnDef {
    ColumnDef {
        id: ColumnId(id),
        name: format!("c{id}").as_str().into(),
        ty,
        not_null: false,
        default: None,
        identity: None,
        generated: None,
        domain: None,
        missing: Datum::Null,
        dropped: false,
    }
}

/// numeric(12,2)
pub(crate) const MONEY: PgType = PgType { ty: SqlType::Numeric, typmod: ((12 << 16) | 2) + 4 };

/// Every type that a column can have.
pub(crate) fn all_types() -> Vec<PgType> {
    use SqlType::*;
    let scalars = [
        Int8,
        Bool,
        Int2,
        Int4,
        Float4,
        Float8,
        Numeric,
        Text,
        Varchar,
        Bpchar,
        Name,
        Char,
        Bytea,
        Vector,
        Date,
        Time,
        Timestamp,
        Timestamptz,
        Interval,
        Uuid,
        Oid,
        Regclass,
        Jsonb,
        Int4Array,
        TextArray,
        NumericArray,
        BoolArray,
        UuidArray,
        TimestamptzArray,
        ByteaArray,
        IntervalArray,
    ];
    scalars.into_iter().map(PgType::new).chain([MONEY]).collect()
}

fn numeric() -> BoxedStrategy<Numeric> {
    prop_oneof![
        8 => (any::<i64>(), 0u16..12).prop_map(|(digits, scale)| Numeric::finite(digits.into(), scale)),
        2 => (-30i64..30, 0u16..4).prop_map(|(digits, scale)| Numeric::finite(digits.into(), scale)),
        1 => Just(Numeric::NaN),
        1 => Just(Numeric::Infinity),
        1 => Just(Numeric::NegInfinity),
    ]
    .boxed()
}

fn bytes() -> BoxedStrategy<Vec<u8>> {
    // Few different bytes, so that prefixes and escapes meet.
    proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xFE), Just(0xFF), any::<u8>()], 0..6).boxed()
}

/// An array of the items: a usual one, one that counts from 5, one of three dimensions.
fn shaped(element: SqlType, items: Vec<Datum>, kind: i32) -> ArrayDatum {
    let length = items.len() as i32;
    let dimensions = match kind {
        0 => vec![],
        1 => vec![Dimension::new(5, length)],
        _ => vec![Dimension::new(1, 1), Dimension::new(-2, length), Dimension::new(0, 1)],
    };
    ArrayDatum { element, items, shape: Shape::of(&dimensions, 1) }
}

/// A value of the type, never NULL.
pub(crate) fn value(ty: PgType) -> BoxedStrategy<Datum> {
    use SqlType::*;
    if let Some(element) = ty.ty.element() {
        let items = proptest::collection::vec(nullable(element.into()), 0..5);
        return (items, 0..3).prop_map(move |(items, kind)| shaped(element, items, kind).into()).boxed();
    }
    match ty.ty {
        Bool => any::<bool>().prop_map(Datum::Bool).boxed(),
        Int2 => any::<i16>().prop_map(Datum::Int2).boxed(),
        Int4 => prop_oneof![any::<i32>(), -3i32..3].prop_map(Datum::Int4).boxed(),
        Int8 => prop_oneof![any::<i64>(), -3i64..3].prop_map(Datum::Int8).boxed(),
        Float4 => prop_oneof![any::<f32>(), Just(0.0), Just(-0.0)].prop_map(Datum::Float4).boxed(),
        Float8 => prop_oneof![any::<f64>(), Just(0.0), Just(-0.0)].prop_map(Datum::Float8).boxed(),
        Numeric if ty.typmod >= 0 => (-99_999_999_999i64..99_999_999_999)
            .prop_map(|cents| Datum::Numeric(kalamdb_commons::Numeric::finite(cents.into(), 2)))
            .boxed(),
        Numeric => numeric().prop_map(Datum::Numeric).boxed(),
        Bytea => bytes().prop_map(|bytes| Datum::Bytes(bytes.into())).boxed(),
        Vector => proptest::collection::vec(prop_oneof![-9e9f32..9e9, Just(0.0), Just(-0.0)], 1..4)
            .prop_map(|elements| Datum::Bytes(kalamdb_commons::vector::of(elements).into()))
            .boxed(),
        Date => any::<i32>().prop_map(Datum::Date).boxed(),
        Time => (0i64..86_400_000_000).prop_map(Datum::Time).boxed(),
        Timestamp => any::<i64>().prop_map(Datum::Timestamp).boxed(),
        Timestamptz => any::<i64>().prop_map(Datum::Timestamptz).boxed(),
        // Arrow counts nanoseconds: what does not fit into them is another issue's.
        Interval => (any::<i32>(), any::<i32>(), -9_000_000_000_000_000i64..9_000_000_000_000_000)
            .prop_map(|(months, days, us)| Datum::Interval(self::Interval { months, days, us }))
            .boxed(),
        Uuid => any::<[u8; 16]>().prop_map(Datum::Uuid).boxed(),
        Oid | Regclass => any::<u32>().prop_map(Datum::Oid).boxed(),
        Bpchar => "[ab ]{0,3}".prop_map(Datum::text).boxed(),
        _ => "[a\\x00é-]{0,4}".prop_map(Datum::text).boxed(),
    }
}

pub(crate) fn nullable(ty: PgType) -> BoxedStrategy<Datum> {
    prop_oneof![1 => Just(Datum::Null), 4 => value(ty)].boxed()
}

/// A row of the types.
pub(crate) fn row_of(types: &[PgType]) -> BoxedStrategy<Vec<Datum>> {
    types.iter().map(|ty| nullable(*ty)).collect::<Vec<_>>().boxed()
}

/// Equal as stored values: NaN is itself, and -0 is not 0.
pub(crate) fn same(a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::Float4(a), Datum::Float4(b)) => a.to_bits() == b.to_bits(),
        (Datum::Float8(a), Datum::Float8(b)) => a.to_bits() == b.to_bits(),
        (Datum::Numeric(a), Datum::Numeric(b)) => a.to_bytes() == b.to_bytes(),
        (Datum::Array(a), Datum::Array(b)) => {
            a.element == b.element
                && a.shape == b.shape
                && a.items.len() == b.items.len()
                && a.items.iter().zip(&b.items).all(|(a, b)| same(a, b))
        }
        (a, b) => a == b,
    }
}

/// PostgreSQL's order of two key values of one type.
fn order(a: &Datum, b: &Datum) -> Ordering {
    let float = |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (a, b) => a.cmp(&b),
    };
    match (a, b) {
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        (Datum::Float4(a), Datum::Float4(b)) => float(f64::from(*a), f64::from(*b)),
        (Datum::Float8(a), Datum::Float8(b)) => float(*a, *b),
        (Datum::Numeric(a), Datum::Numeric(b)) => a.compare(b),
        (Datum::Text(a), Datum::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Datum::Bytes(a), Datum::Bytes(b)) => a.cmp(b),
        (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
        (Datum::Date(a), Datum::Date(b)) => a.cmp(b),
        (Datum::Time(a), Datum::Time(b)) => a.cmp(b),
        (Datum::Timestamp(a), Datum::Timestamp(b)) | (Datum::Timestamptz(a), Datum::Timestamptz(b)) => a.cmp(b),
        (a, b) => a.as_i64().cmp(&b.as_i64()),
    }
}

/// As [`order`]; blanks at the end of char(n) do not count.
fn order_of_type(ty: PgType, a: &Datum, b: &Datum) -> Ordering {
    match (ty.ty, a, b) {
        (SqlType::Vector, Datum::Bytes(a), Datum::Bytes(b)) => {
            let (a, b) = (kalamdb_commons::vector::elements(a), kalamdb_commons::vector::elements(b));
            a.partial_cmp(b).unwrap_or(Ordering::Equal)
        }
        (SqlType::Bpchar, Datum::Text(a), Datum::Text(b)) => a.trim_end_matches(' ').cmp(b.trim_end_matches(' ')),
        _ => order(a, b),
    }
}

fn key_types() -> Vec<PgType> {
    all_types().into_iter().filter(|ty| key::check_type(ty.ty).is_ok()).collect()
}

/// Up to three key columns, and two keys of them whose first columns are often the same.
fn two_keys() -> impl Strategy<Value = (Vec<PgType>, Vec<Datum>, Vec<Datum>)> {
    proptest::collection::vec(proptest::sample::select(key_types()), 1..4).prop_flat_map(|types| {
        let key = || types.iter().map(|ty| value(*ty)).collect::<Vec<_>>();
        (Just(types.clone()), key(), key(), 0..=types.len()).prop_map(|(types, a, mut b, same)| {
            b[..same].clone_from_slice(&a[..same]);
            (types, a, b)
        })
    })
}

fn encode_key(types: &[PgType], values: &[Datum]) -> Vec<u8> {
    key::encode(types.iter().map(|ty| ty.ty).zip(values)).expect("generated values are of their types")
}

fn build(def: &TableDef, columns: &[ColumnId], rows: &[Vec<u8>]) -> arrow_array::RecordBatch {
    let mut builder = BatchBuilder::new(def, columns).expect("storable columns");
    for row in rows {
        builder.push(b"key", row).expect("a row that was just made");
    }
    builder.finish().expect("columns of one length")
}

fn ids(def: &TableDef) -> Vec<ColumnId> {
    def.columns.iter().map(|column| column.id).collect()
}

fn stored(def: &TableDef, values: &[Datum]) -> Vec<u8> {
    let values: Vec<_> = ids(def).into_iter().zip(values.iter().cloned()).collect();
    row::encode(def, &values).expect("generated values are of their types")
}

proptest! {
    #[test]
    fn keys_order_as_values((types, a, b) in two_keys()) {
        let values = types.iter().zip(a.iter().zip(&b));
        let expected = values.map(|(ty, (a, b))| order_of_type(*ty, a, b)).find(|order| order.is_ne());
        let keys = (encode_key(&types, &a), encode_key(&types, &b));
        prop_assert_eq!(keys.0.cmp(&keys.1), expected.unwrap_or(Ordering::Equal));
    }

    #[test]
    fn a_key_is_in_the_range_of_its_first_columns((types, a, _) in two_keys(), columns in 0usize..3) {
        let columns = columns.min(types.len());
        let range = KeyRange::of_prefix(&encode_key(&types[..columns], &a[..columns]));
        prop_assert!(range.contains(&encode_key(&types, &a)));
        prop_assert!(KeyRange::point(&encode_key(&types, &a)).contains(&encode_key(&types, &a)));
    }

    #[test]
    fn rows_come_back(values in row_of(&all_types())) {
        let def = table(&all_types(), &[1], TableType::Shared);
        let mut row = stored(&def, &values);
        row::stamp(&mut row, Seq(77), 88);
        let view = RowView::new(&row)?;
        prop_assert_eq!((view.seq(), view.updated_us(), view.schema_version()), (Some(Seq(77)), Some(88), 1));
        for (column, expected) in def.columns.iter().zip(&values) {
            let datum = view.datum(column)?;
            prop_assert!(same(&datum, expected), "{:?} became {:?}", expected, datum);
        }
    }

    /// stored rows -> Arrow -> stored rows, and keys from Arrow as from values.
    #[test]
    fn batches_come_back(rows in proptest::collection::vec(row_of(&all_types()), 1..5)) {
        let def = table(&all_types(), &[1], TableType::Shared);
        let rows: Vec<Vec<u8>> = rows.iter().map(|values| stored(&def, values)).collect();
        let batch = build(&def, &ids(&def), &rows);
        prop_assert_eq!(row::encode_batch(&def, &batch, &ids(&def))?, rows.clone());
        // A cut batch has offsets of its own.
        let last = rows.len() - 1;
        let cut = batch.slice(last, 1);
        prop_assert_eq!(&RowEncoder::new(&def, &cut, &ids(&def))?.encode(0)?, &rows[last]);
    }

    #[test]
    fn keys_from_batches_are_the_same(values in key_types().iter().map(|ty| value(*ty)).collect::<Vec<_>>()) {
        let types = key_types();
        let every: Vec<i16> = (1..=types.len() as i16).collect();
        let def = table(&types, &every, TableType::Shared);
        let batch = build(&def, &ids(&def), &[stored(&def, &values)]);
        let from_batch = KeyEncoder::new(&def, &batch, &ids(&def))?.encode(0)?;
        prop_assert_eq!(from_batch, encode_key(&types, &values));
    }

    #[test]
    fn damaged_rows_are_errors(row in proptest::collection::vec(any::<u8>(), 0..80)) {
        let def = table(&all_types(), &[1], TableType::Shared);
        if let Ok(view) = RowView::new(&row) {
            for column in &def.columns {
                let _ = view.datum(column);
            }
        }
        let mut builder = BatchBuilder::new(&def, &ids(&def))?;
        let _ = builder.push(b"", &row);
    }
}

/// A row that is older than a column reads as its missing value, a dropped column is gone, a row of long values works.
#[test]
fn columns_come_and_go() {
    let mut def = table(&[SqlType::Int4.into(), SqlType::Text.into()], &[1], TableType::Shared);
    let long = Datum::text("x".repeat(100_000));
    let old = row::encode(&def, &[(ColumnId(1), Datum::Int4(7)), (ColumnId(2), long.clone())]).expect("a row");
    assert_eq!(RowView::new(&old).and_then(|view| view.datum(&def.columns[1])), Ok(long));

    def.columns[1].dropped = true;
    def.columns.push(ColumnDef { missing: Datum::Int4(5), ..column(3, SqlType::Int4.into()) });
    def.schema_version = 2;
    let new = row::encode(&def, &[(ColumnId(1), Datum::Int4(8)), (ColumnId(2), Datum::text("gone"))]).expect("a row");
    let view = RowView::new(&old).expect("a row");
    assert_eq!(view.datum(&def.columns[2]), Ok(Datum::Int4(5)));
    let view = RowView::new(&new).expect("a row");
    assert_eq!(view.datum(&def.columns[2]), Ok(Datum::Null));
    assert_eq!(view.datum(&def.columns[1]), Ok(Datum::Null));

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;
    let batch = build(&def, &[ColumnId(3), ColumnId::SEQ, ColumnId::DELETED], &[old, new]);
    let added: Vec<_> = batch.column(0).as_primitive::<Int32Type>().iter().collect();
    assert_eq!(added, [Some(5), None]);
    assert_eq!(batch.column(1).null_count(), 2, "uncommitted rows have no _seq");
}

#[test]
fn prefixes_and_tombstones() {
    let table = TableId(0x0102_0304);
    assert_eq!(key::prefix(table, Scope::Shared), [1, 2, 3, 4]);
    assert_eq!(key::prefix(table, Scope::User(UserId(5))), [1, 2, 3, 4, 0, 0, 0, 5]);
    assert_eq!(key::split_tombstone(&key::tombstone(b"k", Seq(9))), Some((&b"k"[..], Seq(9))));
    assert_eq!(key::after_prefix(&[1, 0xFF, 0xFF]), Some(vec![2]));
    assert_eq!(key::after_prefix(&[0xFF]), None);
    let range = KeyRange { start: vec![5], end: None }.behind(&[1, 0xFF]);
    assert_eq!(range, KeyRange { start: vec![1, 0xFF, 5], end: Some(vec![2]) });
    assert!(range.intersect(&KeyRange { start: vec![3], end: None }).is_empty());
}
