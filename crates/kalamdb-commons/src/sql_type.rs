//! PostgreSQL's types as a closed set, with the facts of `pg_type` that binding and the catalog read.
//!
//! A type is an OID and a modifier; arrays are types of their own, as in `pg_type`. The Arrow type of each is fixed
//! here, so that storage, functions and the protocol cannot disagree.

use crate::ids::FIRST_USER_OID;
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The facts of one row of `pg_type`.
#[derive(Debug)]
pub struct TypeFacts {
    /// The type.
    pub ty: SqlType,
    /// `pg_type.oid`.
    pub oid: u32,
    /// `typname`.
    pub name: &'static str,
    /// What `format_type` prints without a modifier.
    pub sql_name: &'static str,
    /// `typlen`: bytes, or -1 for varlena, -2 for a C string.
    pub len: i16,
    /// `typbyval`.
    pub by_value: bool,
    /// `typcategory`.
    pub category: char,
    /// `typispreferred`.
    pub preferred: bool,
    /// `typalign`.
    pub align: char,
    /// `typstorage`.
    pub storage: char,
    /// `typtype`: `b` base, `p` pseudo.
    pub kind: char,
    /// The array type over this one.
    pub array: Option<SqlType>,
    /// For an array (and the two vector types): its element.
    pub element: Option<SqlType>,
}

/// A built-in type, or one of the enums that users make.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
#[repr(u32)]
#[allow(missing_docs)] // the names are pg_type's
pub enum SqlType {
    Bool = 16,
    BoolArray = 1000,
    Bytea = 17,
    ByteaArray = 1001,
    Char = 18,
    CharArray = 1002,
    Name = 19,
    NameArray = 1003,
    Int8 = 20,
    Int8Array = 1016,
    Int2 = 21,
    Int2Array = 1005,
    Int2vector = 22,
    Int2vectorArray = 1006,
    Int4 = 23,
    Int4Array = 1007,
    Regproc = 24,
    RegprocArray = 1008,
    Text = 25,
    TextArray = 1009,
    Oid = 26,
    OidArray = 1028,
    Tid = 27,
    TidArray = 1010,
    Xid = 28,
    XidArray = 1011,
    Cid = 29,
    CidArray = 1012,
    Oidvector = 30,
    OidvectorArray = 1013,
    Json = 114,
    JsonArray = 199,
    PgNodeTree = 194,
    Float4 = 700,
    Float4Array = 1021,
    Float8 = 701,
    Float8Array = 1022,
    Unknown = 705,
    Aclitem = 1033,
    AclitemArray = 1034,
    Bpchar = 1042,
    BpcharArray = 1014,
    Varchar = 1043,
    VarcharArray = 1015,
    Date = 1082,
    DateArray = 1182,
    Time = 1083,
    TimeArray = 1183,
    Timestamp = 1114,
    TimestampArray = 1115,
    Timestamptz = 1184,
    TimestamptzArray = 1185,
    Interval = 1186,
    IntervalArray = 1187,
    Numeric = 1700,
    NumericArray = 1231,
    Regprocedure = 2202,
    RegprocedureArray = 2207,
    Regoper = 2203,
    RegoperArray = 2208,
    Regoperator = 2204,
    RegoperatorArray = 2209,
    Regclass = 2205,
    RegclassArray = 2210,
    Regtype = 2206,
    RegtypeArray = 2211,
    Record = 2249,
    RecordArray = 2287,
    Cstring = 2275,
    CstringArray = 1263,
    Any = 2276,
    Anyarray = 2277,
    Void = 2278,
    Internal = 2281,
    Anyelement = 2283,
    Anynonarray = 2776,
    Anyenum = 3500,
    Uuid = 2950,
    UuidArray = 2951,
    Jsonb = 3802,
    JsonbArray = 3807,
    Jsonpath = 4072,
    JsonpathArray = 4073,
    Regnamespace = 4089,
    RegnamespaceArray = 4090,
    Regrole = 4096,
    RegroleArray = 4097,
    Regcollation = 4191,
    RegcollationArray = 4192,
    Anycompatible = 5077,
    Anycompatiblearray = 5078,
    Timetz = 1266,
    TimetzArray = 1270,
    Inet = 869,
    InetArray = 1041,
    Cidr = 650,
    CidrArray = 651,
    Macaddr = 829,
    MacaddrArray = 1040,
    Macaddr8 = 774,
    Macaddr8Array = 775,
    Xid8 = 5069,
    Xid8Array = 271,
    PgLsn = 3220,
    PgLsnArray = 3221,
    // Not in PostgreSQL, where an extension brings it. Numbers below 10000 that PostgreSQL leaves to others.
    Vector = 9600,
    VectorArray = 9601,
    /// A user's enum, by its OID, which is even.
    Enum(u32) = 1,
    /// The array over a user's enum: by the enum's OID; its own is the next one.
    EnumArray(u32) = 2,
}

#[rustfmt::skip]
/// The facts that all enums share; name and OID are the catalog's.
static ENUM: TypeFacts = TypeFacts { ty: SqlType::Enum(0), oid: 0, name: "enum", sql_name: "enum", len: 4, by_value: true, category: 'E', preferred: false, align: 'i', storage: 'p', kind: 'e', array: None, element: None };
#[rustfmt::skip]
/// The facts that all arrays over enums share.
static ENUM_ARRAY: TypeFacts = TypeFacts { ty: SqlType::EnumArray(0), oid: 0, name: "_enum", sql_name: "enum[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: None };

/// Every type, as `pg_type` lists them.
#[rustfmt::skip]
pub static TYPES: &[TypeFacts] = &[
    TypeFacts { ty: SqlType::Bool, oid: 16, name: "bool", sql_name: "boolean", len: 1, by_value: true, category: 'B', preferred: true, align: 'c', storage: 'p', kind: 'b', array: Some(SqlType::BoolArray), element: None },
    TypeFacts { ty: SqlType::BoolArray, oid: 1000, name: "_bool", sql_name: "boolean[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Bool) },
    TypeFacts { ty: SqlType::Bytea, oid: 17, name: "bytea", sql_name: "bytea", len: -1, by_value: false, category: 'U', preferred: false, align: 'i', storage: 'x', kind: 'b', array: Some(SqlType::ByteaArray), element: None },
    TypeFacts { ty: SqlType::ByteaArray, oid: 1001, name: "_bytea", sql_name: "bytea[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Bytea) },
    TypeFacts { ty: SqlType::Char, oid: 18, name: "char", sql_name: "\"char\"", len: 1, by_value: true, category: 'Z', preferred: false, align: 'c', storage: 'p', kind: 'b', array: Some(SqlType::CharArray), element: None },
    TypeFacts { ty: SqlType::CharArray, oid: 1002, name: "_char", sql_name: "\"char\"[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Char) },
    TypeFacts { ty: SqlType::Name, oid: 19, name: "name", sql_name: "name", len: 64, by_value: false, category: 'S', preferred: false, align: 'c', storage: 'p', kind: 'b', array: Some(SqlType::NameArray), element: None },
    TypeFacts { ty: SqlType::NameArray, oid: 1003, name: "_name", sql_name: "name[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Name) },
    TypeFacts { ty: SqlType::Int8, oid: 20, name: "int8", sql_name: "bigint", len: 8, by_value: true, category: 'N', preferred: false, align: 'd', storage: 'p', kind: 'b', array: Some(SqlType::Int8Array), element: None },
    TypeFacts { ty: SqlType::Int8Array, oid: 1016, name: "_int8", sql_name: "bigint[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'd', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Int8) },
    TypeFacts { ty: SqlType::Int2, oid: 21, name: "int2", sql_name: "smallint", len: 2, by_value: true, category: 'N', preferred: false, align: 's', storage: 'p', kind: 'b', array: Some(SqlType::Int2Array), element: None },
    TypeFacts { ty: SqlType::Int2Array, oid: 1005, name: "_int2", sql_name: "smallint[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Int2) },
    TypeFacts { ty: SqlType::Int2vector, oid: 22, name: "int2vector", sql_name: "int2vector", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::Int2vectorArray), element: Some(SqlType::Int2) },
    TypeFacts { ty: SqlType::Int2vectorArray, oid: 1006, name: "_int2vector", sql_name: "int2vector[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Int2vector) },
    TypeFacts { ty: SqlType::Int4, oid: 23, name: "int4", sql_name: "integer", len: 4, by_value: true, category: 'N', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::Int4Array), element: None },
    TypeFacts { ty: SqlType::Int4Array, oid: 1007, name: "_int4", sql_name: "integer[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Int4) },
    TypeFacts { ty: SqlType::Regproc, oid: 24, name: "regproc", sql_name: "regproc", len: 4, by_value: true, category: 'N', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::RegprocArray), element: None },
    TypeFacts { ty: SqlType::RegprocArray, oid: 1008, name: "_regproc", sql_name: "regproc[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Regproc) },
    TypeFacts { ty: SqlType::Text, oid: 25, name: "text", sql_name: "text", len: -1, by_value: false, category: 'S', preferred: true, align: 'i', storage: 'x', kind: 'b', array: Some(SqlType::TextArray), element: None },
    TypeFacts { ty: SqlType::TextArray, oid: 1009, name: "_text", sql_name: "text[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Text) },
    TypeFacts { ty: SqlType::Oid, oid: 26, name: "oid", sql_name: "oid", len: 4, by_value: true, category: 'N', preferred: true, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::OidArray), element: None },
    TypeFacts { ty: SqlType::OidArray, oid: 1028, name: "_oid", sql_name: "oid[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Oid) },
    TypeFacts { ty: SqlType::Tid, oid: 27, name: "tid", sql_name: "tid", len: 6, by_value: false, category: 'U', preferred: false, align: 's', storage: 'p', kind: 'b', array: Some(SqlType::TidArray), element: None },
    TypeFacts { ty: SqlType::TidArray, oid: 1010, name: "_tid", sql_name: "tid[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Tid) },
    TypeFacts { ty: SqlType::Xid, oid: 28, name: "xid", sql_name: "xid", len: 4, by_value: true, category: 'U', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::XidArray), element: None },
    TypeFacts { ty: SqlType::XidArray, oid: 1011, name: "_xid", sql_name: "xid[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Xid) },
    TypeFacts { ty: SqlType::Cid, oid: 29, name: "cid", sql_name: "cid", len: 4, by_value: true, category: 'U', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::CidArray), element: None },
    TypeFacts { ty: SqlType::CidArray, oid: 1012, name: "_cid", sql_name: "cid[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Cid) },
    TypeFacts { ty: SqlType::Oidvector, oid: 30, name: "oidvector", sql_name: "oidvector", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::OidvectorArray), element: Some(SqlType::Oid) },
    TypeFacts { ty: SqlType::OidvectorArray, oid: 1013, name: "_oidvector", sql_name: "oidvector[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Oidvector) },
    TypeFacts { ty: SqlType::Json, oid: 114, name: "json", sql_name: "json", len: -1, by_value: false, category: 'U', preferred: false, align: 'i', storage: 'x', kind: 'b', array: Some(SqlType::JsonArray), element: None },
    TypeFacts { ty: SqlType::JsonArray, oid: 199, name: "_json", sql_name: "json[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Json) },
    TypeFacts { ty: SqlType::PgNodeTree, oid: 194, name: "pg_node_tree", sql_name: "pg_node_tree", len: -1, by_value: false, category: 'Z', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: None },
    TypeFacts { ty: SqlType::Float4, oid: 700, name: "float4", sql_name: "real", len: 4, by_value: true, category: 'N', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::Float4Array), element: None },
    TypeFacts { ty: SqlType::Float4Array, oid: 1021, name: "_float4", sql_name: "real[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Float4) },
    TypeFacts { ty: SqlType::Float8, oid: 701, name: "float8", sql_name: "double precision", len: 8, by_value: true, category: 'N', preferred: true, align: 'd', storage: 'p', kind: 'b', array: Some(SqlType::Float8Array), element: None },
    TypeFacts { ty: SqlType::Float8Array, oid: 1022, name: "_float8", sql_name: "double precision[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'd', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Float8) },
    TypeFacts { ty: SqlType::Unknown, oid: 705, name: "unknown", sql_name: "unknown", len: -2, by_value: false, category: 'X', preferred: false, align: 'c', storage: 'p', kind: 'p', array: None, element: None },
    TypeFacts { ty: SqlType::Aclitem, oid: 1033, name: "aclitem", sql_name: "aclitem", len: 12, by_value: false, category: 'U', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::AclitemArray), element: None },
    TypeFacts { ty: SqlType::AclitemArray, oid: 1034, name: "_aclitem", sql_name: "aclitem[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Aclitem) },
    TypeFacts { ty: SqlType::Bpchar, oid: 1042, name: "bpchar", sql_name: "character", len: -1, by_value: false, category: 'S', preferred: false, align: 'i', storage: 'x', kind: 'b', array: Some(SqlType::BpcharArray), element: None },
    TypeFacts { ty: SqlType::BpcharArray, oid: 1014, name: "_bpchar", sql_name: "character[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Bpchar) },
    TypeFacts { ty: SqlType::Varchar, oid: 1043, name: "varchar", sql_name: "character varying", len: -1, by_value: false, category: 'S', preferred: false, align: 'i', storage: 'x', kind: 'b', array: Some(SqlType::VarcharArray), element: None },
    TypeFacts { ty: SqlType::VarcharArray, oid: 1015, name: "_varchar", sql_name: "character varying[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Varchar) },
    TypeFacts { ty: SqlType::Date, oid: 1082, name: "date", sql_name: "date", len: 4, by_value: true, category: 'D', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::DateArray), element: None },
    TypeFacts { ty: SqlType::DateArray, oid: 1182, name: "_date", sql_name: "date[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Date) },
    TypeFacts { ty: SqlType::Time, oid: 1083, name: "time", sql_name: "time without time zone", len: 8, by_value: true, category: 'D', preferred: false, align: 'd', storage: 'p', kind: 'b', array: Some(SqlType::TimeArray), element: None },
    TypeFacts { ty: SqlType::TimeArray, oid: 1183, name: "_time", sql_name: "time without time zone[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'd', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Time) },
    TypeFacts { ty: SqlType::Timestamp, oid: 1114, name: "timestamp", sql_name: "timestamp without time zone", len: 8, by_value: true, category: 'D', preferred: false, align: 'd', storage: 'p', kind: 'b', array: Some(SqlType::TimestampArray), element: None },
    TypeFacts { ty: SqlType::TimestampArray, oid: 1115, name: "_timestamp", sql_name: "timestamp without time zone[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'd', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Timestamp) },
    TypeFacts { ty: SqlType::Timestamptz, oid: 1184, name: "timestamptz", sql_name: "timestamp with time zone", len: 8, by_value: true, category: 'D', preferred: true, align: 'd', storage: 'p', kind: 'b', array: Some(SqlType::TimestamptzArray), element: None },
    TypeFacts { ty: SqlType::TimestamptzArray, oid: 1185, name: "_timestamptz", sql_name: "timestamp with time zone[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'd', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Timestamptz) },
    TypeFacts { ty: SqlType::Interval, oid: 1186, name: "interval", sql_name: "interval", len: 16, by_value: false, category: 'T', preferred: true, align: 'd', storage: 'p', kind: 'b', array: Some(SqlType::IntervalArray), element: None },
    TypeFacts { ty: SqlType::IntervalArray, oid: 1187, name: "_interval", sql_name: "interval[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'd', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Interval) },
    TypeFacts { ty: SqlType::Numeric, oid: 1700, name: "numeric", sql_name: "numeric", len: -1, by_value: false, category: 'N', preferred: false, align: 'i', storage: 'm', kind: 'b', array: Some(SqlType::NumericArray), element: None },
    TypeFacts { ty: SqlType::NumericArray, oid: 1231, name: "_numeric", sql_name: "numeric[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Numeric) },
    TypeFacts { ty: SqlType::Regprocedure, oid: 2202, name: "regprocedure", sql_name: "regprocedure", len: 4, by_value: true, category: 'N', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::RegprocedureArray), element: None },
    TypeFacts { ty: SqlType::RegprocedureArray, oid: 2207, name: "_regprocedure", sql_name: "regprocedure[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Regprocedure) },
    TypeFacts { ty: SqlType::Regoper, oid: 2203, name: "regoper", sql_name: "regoper", len: 4, by_value: true, category: 'N', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::RegoperArray), element: None },
    TypeFacts { ty: SqlType::RegoperArray, oid: 2208, name: "_regoper", sql_name: "regoper[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Regoper) },
    TypeFacts { ty: SqlType::Regoperator, oid: 2204, name: "regoperator", sql_name: "regoperator", len: 4, by_value: true, category: 'N', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::RegoperatorArray), element: None },
    TypeFacts { ty: SqlType::RegoperatorArray, oid: 2209, name: "_regoperator", sql_name: "regoperator[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Regoperator) },
    TypeFacts { ty: SqlType::Regclass, oid: 2205, name: "regclass", sql_name: "regclass", len: 4, by_value: true, category: 'N', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::RegclassArray), element: None },
    TypeFacts { ty: SqlType::RegclassArray, oid: 2210, name: "_regclass", sql_name: "regclass[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Regclass) },
    TypeFacts { ty: SqlType::Regtype, oid: 2206, name: "regtype", sql_name: "regtype", len: 4, by_value: true, category: 'N', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::RegtypeArray), element: None },
    TypeFacts { ty: SqlType::RegtypeArray, oid: 2211, name: "_regtype", sql_name: "regtype[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Regtype) },
    TypeFacts { ty: SqlType::Record, oid: 2249, name: "record", sql_name: "record", len: -1, by_value: false, category: 'P', preferred: false, align: 'd', storage: 'x', kind: 'p', array: Some(SqlType::RecordArray), element: None },
    TypeFacts { ty: SqlType::RecordArray, oid: 2287, name: "_record", sql_name: "record[]", len: -1, by_value: false, category: 'P', preferred: false, align: 'd', storage: 'x', kind: 'p', array: None, element: Some(SqlType::Record) },
    TypeFacts { ty: SqlType::Cstring, oid: 2275, name: "cstring", sql_name: "cstring", len: -2, by_value: false, category: 'P', preferred: false, align: 'c', storage: 'p', kind: 'p', array: Some(SqlType::CstringArray), element: None },
    TypeFacts { ty: SqlType::CstringArray, oid: 1263, name: "_cstring", sql_name: "cstring[]", len: -1, by_value: false, category: 'P', preferred: false, align: 'i', storage: 'x', kind: 'p', array: None, element: Some(SqlType::Cstring) },
    TypeFacts { ty: SqlType::Any, oid: 2276, name: "any", sql_name: "\"any\"", len: 4, by_value: true, category: 'P', preferred: false, align: 'i', storage: 'p', kind: 'p', array: None, element: None },
    TypeFacts { ty: SqlType::Anyarray, oid: 2277, name: "anyarray", sql_name: "anyarray", len: -1, by_value: false, category: 'P', preferred: false, align: 'd', storage: 'x', kind: 'p', array: None, element: None },
    TypeFacts { ty: SqlType::Void, oid: 2278, name: "void", sql_name: "void", len: 4, by_value: true, category: 'P', preferred: false, align: 'i', storage: 'p', kind: 'p', array: None, element: None },
    TypeFacts { ty: SqlType::Internal, oid: 2281, name: "internal", sql_name: "internal", len: 8, by_value: true, category: 'P', preferred: false, align: 'd', storage: 'p', kind: 'p', array: None, element: None },
    TypeFacts { ty: SqlType::Anyelement, oid: 2283, name: "anyelement", sql_name: "anyelement", len: 4, by_value: true, category: 'P', preferred: false, align: 'i', storage: 'p', kind: 'p', array: None, element: None },
    TypeFacts { ty: SqlType::Anynonarray, oid: 2776, name: "anynonarray", sql_name: "anynonarray", len: 4, by_value: true, category: 'P', preferred: false, align: 'i', storage: 'p', kind: 'p', array: None, element: None },
    TypeFacts { ty: SqlType::Anyenum, oid: 3500, name: "anyenum", sql_name: "anyenum", len: 4, by_value: true, category: 'P', preferred: false, align: 'i', storage: 'p', kind: 'p', array: None, element: None },
    TypeFacts { ty: SqlType::Uuid, oid: 2950, name: "uuid", sql_name: "uuid", len: 16, by_value: false, category: 'U', preferred: false, align: 'c', storage: 'p', kind: 'b', array: Some(SqlType::UuidArray), element: None },
    TypeFacts { ty: SqlType::UuidArray, oid: 2951, name: "_uuid", sql_name: "uuid[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Uuid) },
    TypeFacts { ty: SqlType::Jsonb, oid: 3802, name: "jsonb", sql_name: "jsonb", len: -1, by_value: false, category: 'U', preferred: false, align: 'i', storage: 'x', kind: 'b', array: Some(SqlType::JsonbArray), element: None },
    TypeFacts { ty: SqlType::JsonbArray, oid: 3807, name: "_jsonb", sql_name: "jsonb[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Jsonb) },
    TypeFacts { ty: SqlType::Jsonpath, oid: 4072, name: "jsonpath", sql_name: "jsonpath", len: -1, by_value: false, category: 'U', preferred: false, align: 'i', storage: 'x', kind: 'b', array: Some(SqlType::JsonpathArray), element: None },
    TypeFacts { ty: SqlType::JsonpathArray, oid: 4073, name: "_jsonpath", sql_name: "jsonpath[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Jsonpath) },
    TypeFacts { ty: SqlType::Regnamespace, oid: 4089, name: "regnamespace", sql_name: "regnamespace", len: 4, by_value: true, category: 'N', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::RegnamespaceArray), element: None },
    TypeFacts { ty: SqlType::RegnamespaceArray, oid: 4090, name: "_regnamespace", sql_name: "regnamespace[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Regnamespace) },
    TypeFacts { ty: SqlType::Regrole, oid: 4096, name: "regrole", sql_name: "regrole", len: 4, by_value: true, category: 'N', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::RegroleArray), element: None },
    TypeFacts { ty: SqlType::RegroleArray, oid: 4097, name: "_regrole", sql_name: "regrole[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Regrole) },
    TypeFacts { ty: SqlType::Regcollation, oid: 4191, name: "regcollation", sql_name: "regcollation", len: 4, by_value: true, category: 'N', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::RegcollationArray), element: None },
    TypeFacts { ty: SqlType::RegcollationArray, oid: 4192, name: "_regcollation", sql_name: "regcollation[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Regcollation) },
    TypeFacts { ty: SqlType::Anycompatible, oid: 5077, name: "anycompatible", sql_name: "anycompatible", len: 4, by_value: true, category: 'P', preferred: false, align: 'i', storage: 'p', kind: 'p', array: None, element: None },
    TypeFacts { ty: SqlType::Anycompatiblearray, oid: 5078, name: "anycompatiblearray", sql_name: "anycompatiblearray", len: -1, by_value: false, category: 'P', preferred: false, align: 'd', storage: 'x', kind: 'p', array: None, element: None },
    TypeFacts { ty: SqlType::Timetz, oid: 1266, name: "timetz", sql_name: "time with time zone", len: 12, by_value: false, category: 'D', preferred: false, align: 'd', storage: 'p', kind: 'b', array: Some(SqlType::TimetzArray), element: None },
    TypeFacts { ty: SqlType::TimetzArray, oid: 1270, name: "_timetz", sql_name: "time with time zone[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'd', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Timetz) },
    TypeFacts { ty: SqlType::Inet, oid: 869, name: "inet", sql_name: "inet", len: -1, by_value: false, category: 'I', preferred: true, align: 'i', storage: 'm', kind: 'b', array: Some(SqlType::InetArray), element: None },
    TypeFacts { ty: SqlType::InetArray, oid: 1041, name: "_inet", sql_name: "inet[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Inet) },
    TypeFacts { ty: SqlType::Cidr, oid: 650, name: "cidr", sql_name: "cidr", len: -1, by_value: false, category: 'I', preferred: false, align: 'i', storage: 'm', kind: 'b', array: Some(SqlType::CidrArray), element: None },
    TypeFacts { ty: SqlType::CidrArray, oid: 651, name: "_cidr", sql_name: "cidr[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Cidr) },
    TypeFacts { ty: SqlType::Macaddr, oid: 829, name: "macaddr", sql_name: "macaddr", len: 6, by_value: false, category: 'U', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::MacaddrArray), element: None },
    TypeFacts { ty: SqlType::MacaddrArray, oid: 1040, name: "_macaddr", sql_name: "macaddr[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Macaddr) },
    TypeFacts { ty: SqlType::Macaddr8, oid: 774, name: "macaddr8", sql_name: "macaddr8", len: 8, by_value: false, category: 'U', preferred: false, align: 'i', storage: 'p', kind: 'b', array: Some(SqlType::Macaddr8Array), element: None },
    TypeFacts { ty: SqlType::Macaddr8Array, oid: 775, name: "_macaddr8", sql_name: "macaddr8[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Macaddr8) },
    TypeFacts { ty: SqlType::Xid8, oid: 5069, name: "xid8", sql_name: "xid8", len: 8, by_value: true, category: 'U', preferred: false, align: 'd', storage: 'p', kind: 'b', array: Some(SqlType::Xid8Array), element: None },
    TypeFacts { ty: SqlType::Xid8Array, oid: 271, name: "_xid8", sql_name: "xid8[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'd', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Xid8) },
    TypeFacts { ty: SqlType::PgLsn, oid: 3220, name: "pg_lsn", sql_name: "pg_lsn", len: 8, by_value: true, category: 'U', preferred: false, align: 'd', storage: 'p', kind: 'b', array: Some(SqlType::PgLsnArray), element: None },
    TypeFacts { ty: SqlType::PgLsnArray, oid: 3221, name: "_pg_lsn", sql_name: "pg_lsn[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'd', storage: 'x', kind: 'b', array: None, element: Some(SqlType::PgLsn) },
    TypeFacts { ty: SqlType::Vector, oid: 9600, name: "vector", sql_name: "vector", len: -1, by_value: false, category: 'U', preferred: false, align: 'i', storage: 'e', kind: 'b', array: Some(SqlType::VectorArray), element: None },
    TypeFacts { ty: SqlType::VectorArray, oid: 9601, name: "_vector", sql_name: "vector[]", len: -1, by_value: false, category: 'A', preferred: false, align: 'i', storage: 'x', kind: 'b', array: None, element: Some(SqlType::Vector) },
];

impl SqlType {
    /// The type with this OID, if KalamDB has it.
    pub fn from_oid(oid: u32) -> Option<SqlType> {
        TYPES.iter().find(|facts| facts.oid == oid).map(|facts| facts.ty)
    }

    /// The type with this `pg_type.typname` (`int4`, `_text`).
    pub fn from_name(name: &str) -> Option<SqlType> {
        TYPES.iter().find(|facts| facts.name == name).map(|facts| facts.ty)
    }

    /// The type with this OID in a stored definition or value: an enum's is even, its array's the next one.
    pub fn from_stored(oid: u32) -> Option<SqlType> {
        match oid {
            0..FIRST_USER_OID => SqlType::from_oid(oid),
            _ if oid % 2 == 0 => Some(SqlType::Enum(oid)),
            _ => Some(SqlType::EnumArray(oid - 1)),
        }
    }

    /// Its OID.
    pub fn oid(self) -> u32 {
        match self {
            SqlType::Enum(oid) => oid,
            SqlType::EnumArray(oid) => oid + 1,
            built_in => built_in.facts().oid,
        }
    }

    /// The OID of a user's type that stands in this one.
    pub fn user_type(self) -> Option<u32> {
        match self {
            SqlType::Enum(oid) | SqlType::EnumArray(oid) => Some(oid),
            _ => None,
        }
    }

    /// Its row of `pg_type`.
    pub fn facts(self) -> &'static TypeFacts {
        match self {
            SqlType::Enum(_) => return &ENUM,
            SqlType::EnumArray(_) => return &ENUM_ARRAY,
            _ => {}
        }
        // Every other variant comes from the table, so the search ends.
        TYPES.iter().find(|facts| facts.ty == self).unwrap_or(&TYPES[0])
    }

    /// The array over this type.
    pub fn array(self) -> Option<SqlType> {
        match self {
            SqlType::Enum(oid) => Some(SqlType::EnumArray(oid)),
            other => other.facts().array,
        }
    }

    /// The element of an array or vector type.
    pub fn element(self) -> Option<SqlType> {
        match self {
            SqlType::EnumArray(oid) => Some(SqlType::Enum(oid)),
            other => other.facts().element,
        }
    }

    /// Whether this is an array (the two vector types count: their subscripts start at 0).
    pub fn is_array(self) -> bool {
        self.element().is_some()
    }

    /// text, varchar, char(n), name and "unknown": values that are text and compare as text.
    pub fn is_string(self) -> bool {
        matches!(
            self,
            SqlType::Text | SqlType::Varchar | SqlType::Bpchar | SqlType::Name | SqlType::Unknown | SqlType::Cstring
        )
    }

    /// smallint, integer, bigint.
    pub fn is_integer(self) -> bool {
        matches!(self, SqlType::Int2 | SqlType::Int4 | SqlType::Int8)
    }

    /// oid and the types that are an OID with a name (`regclass` …), and xid, cid.
    pub fn is_oid_like(self) -> bool {
        use SqlType::*;
        matches!(
            self,
            Oid | Regclass
                | Regtype
                | Regproc
                | Regprocedure
                | Regoper
                | Regoperator
                | Regnamespace
                | Regrole
                | Regcollation
                | Xid
                | Cid
        )
    }

    /// bytea, and the types whose values are bytes in a form of their own ([`crate::Datum::Bytes`]).
    pub fn is_bytes(self) -> bool {
        self == SqlType::Bytea || self.is_ordered_bytes() || self == SqlType::Vector
    }

    /// Types whose bytes are in the order of their values and equal only for equal ones; bytea is not among them
    /// although it is so.
    pub fn is_ordered_bytes(self) -> bool {
        use SqlType::*;
        matches!(self, Timetz | Inet | Cidr | Macaddr | Macaddr8 | Xid8 | PgLsn)
    }

    /// The Arrow type of a column of this type.
    ///
    /// numeric is Binary in the memcomparable form of [`crate::Numeric`], record Binary that says itself what its
    /// fields are; char, json, jsonb and jsonpath (normalised) are Utf8; oid and its kin are UInt32; timestamps count
    /// microseconds; vectors are Binary as [`crate::vector`] says, arrays as [`crate::array`] does.
    pub fn arrow(self) -> DataType {
        use SqlType::*;
        if let Some(element) = self.element() {
            return crate::array::arrow_type(element.arrow());
        }
        match self {
            Bool => DataType::Boolean,
            Int2 => DataType::Int16,
            Int4 => DataType::Int32,
            // An enum's value is the place of its label among all, which no change of the type moves.
            Int8 | Enum(_) => DataType::Int64,
            Float4 => DataType::Float32,
            Float8 => DataType::Float64,
            Numeric | Record => DataType::Binary,
            bytes if bytes.is_bytes() => DataType::Binary,
            Date => DataType::Date32,
            Time => DataType::Time64(TimeUnit::Microsecond),
            Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Uuid => DataType::FixedSizeBinary(16),
            Void => DataType::Null,
            oid_like if oid_like.is_oid_like() => DataType::UInt32,
            _ => DataType::Utf8,
        }
    }
}

/// Stored definitions hold a type's OID, which never changes; its place in the enum does.
impl From<SqlType> for u32 {
    fn from(ty: SqlType) -> u32 {
        ty.oid()
    }
}

impl TryFrom<u32> for SqlType {
    type Error = String;

    fn try_from(oid: u32) -> Result<Self, String> {
        SqlType::from_stored(oid).ok_or_else(|| format!("no type has the OID {oid}"))
    }
}

/// A user's type is written `pg_catalog."OID"`: what stored expressions say, whatever the type is called. Where people
/// read it the catalog's name takes that place.
impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlType::Enum(oid) => return write!(f, "pg_catalog.\"{oid}\""),
            SqlType::EnumArray(oid) => return write!(f, "pg_catalog.\"{oid}\"[]"),
            _ => {}
        }
        f.write_str(self.facts().sql_name)
    }
}

/// A type with its modifier, as a column has it (`varchar(20)`, `numeric(10,2)`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct PgType {
    /// The type.
    pub ty: SqlType,
    /// `atttypmod`: -1 for none. varchar(n), char(n): n + 4. numeric(p,s): ((p << 16) | s) + 4.
    /// timestamp(n), time(n), timetz(n), vector(n): n. interval: [`IntervalFields`].
    pub typmod: i32,
}

impl PgType {
    /// The type without a modifier.
    pub const fn new(ty: SqlType) -> Self {
        Self { ty, typmod: -1 }
    }

    /// The length n of varchar(n) and char(n), in characters.
    pub fn char_length(self) -> Option<usize> {
        matches!(self.ty, SqlType::Varchar | SqlType::Bpchar | SqlType::VarcharArray | SqlType::BpcharArray)
            .then_some(self.typmod)
            .filter(|typmod| *typmod >= 4)
            .and_then(|typmod| usize::try_from(typmod - 4).ok())
    }

    /// Precision and scale of numeric(p,s). The scale may be negative (PostgreSQL 15).
    pub fn precision_scale(self) -> Option<(u16, i16)> {
        if !matches!(self.ty, SqlType::Numeric | SqlType::NumericArray) || self.typmod < 4 {
            return None;
        }
        let packed = self.typmod - 4;
        // PostgreSQL 15 keeps the scale in 11 bits, two's complement.
        let scale = ((packed & 0x7ff) ^ 1024) - 1024;
        Some((((packed >> 16) & 0xffff) as u16, scale as i16))
    }
}

impl From<SqlType> for PgType {
    fn from(ty: SqlType) -> Self {
        Self::new(ty)
    }
}

/// Which fields an interval type keeps, as its modifier says it: bits by field, in the upper half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IntervalFields(u16);

impl std::ops::BitOr for IntervalFields {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl IntervalFields {
    /// Years.
    pub const YEAR: Self = Self(1 << 2);
    /// Months.
    pub const MONTH: Self = Self(1 << 1);
    /// Days.
    pub const DAY: Self = Self(1 << 3);
    /// Hours.
    pub const HOUR: Self = Self(1 << 10);
    /// Minutes.
    pub const MINUTE: Self = Self(1 << 11);
    /// Seconds.
    pub const SECOND: Self = Self(1 << 12);
    /// All: no restriction.
    const FULL: Self = Self(0x7fff);
    /// The precision that says nothing.
    const ANY_PRECISION: i32 = 0xffff;

    /// The modifier of an interval type.
    pub fn typmod(fields: Option<Self>, digits: Option<u8>) -> i32 {
        if fields.is_none() && digits.is_none() {
            return -1;
        }
        i32::from(fields.unwrap_or(Self::FULL).0) << 16 | digits.map_or(Self::ANY_PRECISION, i32::from)
    }

    /// The fields and the digits behind the second of a modifier; `None` where it does not restrict them.
    pub fn of(typmod: i32) -> (Option<Self>, Option<u8>) {
        if typmod < 0 {
            return (None, None);
        }
        let fields = Self(((typmod >> 16) & 0x7fff) as u16);
        let digits = u8::try_from(typmod & 0xffff).ok().filter(|digits| *digits <= 6);
        ((fields != Self::FULL && fields.0 != 0).then_some(fields), digits)
    }

    /// `first TO last`, if the standard has it.
    pub fn between(first: Self, last: Self) -> Option<Self> {
        let (times, date) = ([Self::DAY, Self::HOUR, Self::MINUTE, Self::SECOND], Self::YEAR | Self::MONTH);
        if (first, last) == (Self::YEAR, Self::MONTH) {
            return Some(date);
        }
        let from = times.iter().position(|field| *field == first)?;
        let to = times.iter().position(|field| *field == last)?;
        (from < to).then(|| times[from..=to].iter().fold(Self(0), |sum, field| sum | *field))
    }

    /// Whether a field is among them.
    pub fn has(self, field: Self) -> bool {
        self.0 & field.0 != 0
    }

    /// The least of the fields.
    pub fn last(self) -> Self {
        let order = [Self::SECOND, Self::MINUTE, Self::HOUR, Self::DAY, Self::MONTH];
        order.into_iter().find(|field| self.has(*field)).unwrap_or(Self::YEAR)
    }

    /// `day to second`.
    fn name(self) -> String {
        let order = [Self::YEAR, Self::MONTH, Self::DAY, Self::HOUR, Self::MINUTE, Self::SECOND];
        let names = ["year", "month", "day", "hour", "minute", "second"];
        let mut held = order.iter().zip(names).filter(|(field, _)| self.has(**field)).map(|(_, name)| name);
        match (held.next(), held.next_back()) {
            (Some(first), Some(last)) => format!("{first} to {last}"),
            (first, _) => first.unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Display for PgType {
    /// As PostgreSQL's `format_type` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scalar, brackets) = match self.ty.element() {
            Some(element) if self.ty.facts().name.starts_with('_') => (element, "[]"),
            _ => (self.ty, ""),
        };
        let scalar_type = PgType { ty: scalar, typmod: self.typmod };
        match (scalar, scalar_type.char_length(), scalar_type.precision_scale()) {
            (_, Some(length), _) => write!(f, "{scalar}({length}){brackets}"),
            (_, _, Some((precision, scale))) => write!(f, "numeric({precision},{scale}){brackets}"),
            (SqlType::Timestamp | SqlType::Timestamptz | SqlType::Time | SqlType::Timetz, ..) if self.typmod >= 0 => {
                let (name, zone) = scalar.facts().sql_name.split_once(' ').unwrap_or((scalar.facts().sql_name, ""));
                write!(f, "{name}({}) {zone}{brackets}", self.typmod)
            }
            (SqlType::Interval, ..) if self.typmod >= 0 => {
                let (fields, digits) = IntervalFields::of(self.typmod);
                f.write_str("interval")?;
                if let Some(fields) = fields {
                    write!(f, " {}", fields.name())?;
                }
                if let Some(digits) = digits {
                    write!(f, "({digits})")?;
                }
                f.write_str(brackets)
            }
            (SqlType::Vector, ..) if self.typmod >= 0 => write!(f, "vector({}){brackets}", self.typmod),
            (SqlType::Bpchar, ..) if self.typmod == -1 => write!(f, "bpchar{brackets}"),
            _ => write!(f, "{scalar}{brackets}"),
        }
    }
}
