//! Tables as version 1 of the stored values had them: types by their place in a list, no indexes, no constraints.

use crate::definition::{self, KeyDef, TableOptions};
use crate::error::StoreError;
use kalamdb_commons::{
    AccessLevel, ColumnId, ColumnName, Datum, Interval, NamespaceId, Numeric, Oid, PgType, SqlType, StorageId, TableId,
    TableName, TableType, UserId,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The OIDs of the types, in the order that they had then.
const TYPES: [u32; 87] = [
    16, 1000, 17, 1001, 18, 1002, 19, 1003, 20, 1016, 21, 1005, 22, 1006, 23, 1007, 24, 1008, 25, 1009, 26, 1028, 27,
    1010, 28, 1011, 29, 1012, 30, 1013, 114, 199, 194, 700, 1021, 701, 1022, 705, 1033, 1034, 1042, 1014, 1043, 1015,
    1082, 1182, 1083, 1183, 1114, 1115, 1184, 1185, 1186, 1187, 1700, 1231, 2202, 2207, 2203, 2208, 2204, 2209, 2205,
    2210, 2206, 2211, 2249, 2287, 2275, 1263, 2276, 2277, 2278, 2283, 2776, 2950, 2951, 3802, 3807, 4089, 4090, 4096,
    4097, 4191, 4192, 5077, 5078,
];

/// A type, by its place among [`TYPES`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct TypePlace(u32);

impl TypePlace {
    fn into_now(self) -> Result<SqlType, StoreError> {
        let oid = usize::try_from(self.0).ok().and_then(|place| TYPES.get(place));
        oid.and_then(|oid| SqlType::from_oid(*oid))
            .ok_or_else(|| StoreError::Damaged(format!("a type: there is none at place {}", self.0)))
    }
}

/// A table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TableDef {
    id: TableId,
    namespace: NamespaceId,
    name: TableName,
    kind: TableType,
    access: AccessLevel,
    storage: StorageId,
    owner: UserId,
    options: TableOptions,
    schema_version: u32,
    columns: Vec<Column>,
    primary_key: Option<KeyDef>,
    row_type: Oid,
    created_at: i64,
    updated_at: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Column {
    id: ColumnId,
    name: ColumnName,
    ty: TypePlace,
    typmod: i32,
    not_null: bool,
    default: Option<String>,
    missing: Value,
    dropped: bool,
}

/// A value that a column gave to the rows from before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Value {
    Null,
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Float4(f32),
    Float8(f64),
    Numeric(Numeric),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    Timestamptz(i64),
    Interval(Interval),
    Uuid([u8; 16]),
    Oid(u32),
    Array(TypePlace, Vec<Value>),
}

impl TableDef {
    /// The same table as it is now.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a type that there was none of.
    pub(super) fn into_now(self) -> Result<definition::TableDef, StoreError> {
        Ok(definition::TableDef {
            id: self.id,
            namespace: self.namespace,
            name: self.name,
            kind: self.kind,
            access: self.access,
            storage: self.storage,
            owner: self.owner,
            options: self.options,
            schema_version: self.schema_version,
            columns: self.columns.into_iter().map(Column::into_now).collect::<Result<_, _>>()?,
            primary_key: self.primary_key,
            indexes: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            row_type: self.row_type,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

impl Column {
    fn into_now(self) -> Result<definition::ColumnDef, StoreError> {
        Ok(definition::ColumnDef {
            id: self.id,
            name: self.name,
            ty: PgType { ty: self.ty.into_now()?, typmod: self.typmod },
            not_null: self.not_null,
            default: self.default,
            identity: None,
            generated: None,
            domain: None,
            missing: self.missing.into_now()?,
            dropped: self.dropped,
        })
    }
}

impl Value {
    fn into_now(self) -> Result<Datum, StoreError> {
        Ok(match self {
            Value::Null => Datum::Null,
            Value::Bool(value) => Datum::Bool(value),
            Value::Int2(value) => Datum::Int2(value),
            Value::Int4(value) => Datum::Int4(value),
            Value::Int8(value) => Datum::Int8(value),
            Value::Float4(value) => Datum::Float4(value),
            Value::Float8(value) => Datum::Float8(value),
            Value::Numeric(value) => Datum::Numeric(value),
            Value::Text(value) => Datum::Text(value),
            Value::Bytes(value) => Datum::Bytes(value),
            Value::Date(value) => Datum::Date(value),
            Value::Time(value) => Datum::Time(value),
            Value::Timestamp(value) => Datum::Timestamp(value),
            Value::Timestamptz(value) => Datum::Timestamptz(value),
            Value::Interval(value) => Datum::Interval(value),
            Value::Uuid(value) => Datum::Uuid(value),
            Value::Oid(value) => Datum::Oid(value),
            Value::Array(element, items) => {
                let items = items.into_iter().map(Value::into_now).collect::<Result<_, _>>()?;
                kalamdb_commons::ArrayDatum::usual(element.into_now()?, items).into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::stored::decode_table;

    #[test]
    fn a_table_of_version_1_is_read() {
        let column = |id: i16, ty: u32, missing: Value| Column {
            id: ColumnId(id),
            name: ColumnName::new(format!("c{id}")),
            ty: TypePlace(ty),
            typmod: -1,
            not_null: id == 1,
            default: None,
            missing,
            dropped: false,
        };
        let old = TableDef {
            id: TableId(16_400),
            namespace: NamespaceId(2200),
            name: TableName::new("t"),
            kind: TableType::Shared,
            access: AccessLevel::Private,
            storage: StorageId::new("local"),
            owner: UserId(10),
            options: TableOptions::default(),
            schema_version: 3,
            columns: vec![
                column(1, 8, Value::Null),
                column(2, 19, Value::Array(TypePlace(18), vec![Value::Text("a".into()), Value::Null])),
                column(3, 75, Value::Uuid([7; 16])),
            ],
            primary_key: None,
            row_type: 16_401,
            created_at: 1,
            updated_at: 2,
        };
        let mut bytes = vec![1];
        bytes.extend(postcard::to_allocvec(&old).expect("bytes"));
        let now = decode_table(&bytes).expect("a table");
        let types: Vec<SqlType> = now.columns.iter().map(|column| column.ty.ty).collect();
        assert_eq!(types, [SqlType::Int8, SqlType::TextArray, SqlType::Uuid]);
        assert!(matches!(&now.columns[1].missing, Datum::Array(array) if array.element == SqlType::Text));
        assert_eq!(now.columns[2].missing, Datum::Uuid([7; 16]));
        assert_eq!((now.schema_version, now.updated_at), (3, 2));
        assert_eq!(decode_table(&crate::catalog::stored::encode(&now)).expect("a table"), now);
    }
}
