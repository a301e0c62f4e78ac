//! Operator classes: which types an index can sort by, under PostgreSQL's names and OIDs.

use super::{Rows, Wanted, cells};
use kalamdb_commons::ids::{PG_CATALOG, ROOT};
use kalamdb_commons::{Oid, SqlType};
use kalamdb_store::IndexMethod;

/// The access methods' OIDs, PostgreSQL's.
pub const BTREE: Oid = 403;
/// USING hash
pub const HASH: Oid = 405;

/// An operator class.
#[derive(Debug, Clone, Copy)]
pub struct OperatorClass {
    /// Its OID.
    pub oid: Oid,
    /// Its name.
    pub name: &'static str,
    /// The access method.
    pub method: Oid,
    /// The type that it is for.
    pub input: SqlType,
    /// Whether it is that type's default.
    pub is_default: bool,
    /// Its family.
    pub family: Oid,
}

const fn class(
    oid: Oid,
    name: &'static str,
    method: Oid,
    input: SqlType,
    is_default: bool,
    family: Oid,
) -> OperatorClass {
    OperatorClass { oid, name, method, input, is_default, family }
}

#[rustfmt::skip]
const CLASSES: &[OperatorClass] = {
    use SqlType::*;
    &[
        class(1978, "int4_ops", BTREE, Int4, true, 1976), class(1979, "int2_ops", BTREE, Int2, true, 1976),
        class(1981, "oid_ops", BTREE, Oid, true, 1989), class(3122, "date_ops", BTREE, Date, true, 434),
        class(3123, "float8_ops", BTREE, Float8, true, 1970), class(3124, "int8_ops", BTREE, Int8, true, 1976),
        class(3125, "numeric_ops", BTREE, Numeric, true, 1988), class(3126, "text_ops", BTREE, Text, true, 1994),
        class(3127, "timestamptz_ops", BTREE, Timestamptz, true, 434),
        class(3128, "timestamp_ops", BTREE, Timestamp, true, 434),
        class(4217, "text_pattern_ops", BTREE, Text, false, 2095),
        class(4218, "varchar_pattern_ops", BTREE, Text, false, 2095),
        class(4219, "bpchar_pattern_ops", BTREE, Bpchar, false, 2097),
        class(10000, "array_ops", BTREE, Anyarray, true, 397), class(10003, "bool_ops", BTREE, Bool, true, 424),
        class(10004, "bpchar_ops", BTREE, Bpchar, true, 426), class(10006, "bytea_ops", BTREE, Bytea, true, 428),
        class(10007, "char_ops", BTREE, Char, true, 429), class(10012, "float4_ops", BTREE, Float4, true, 1970),
        class(10022, "interval_ops", BTREE, Interval, true, 1982), class(10028, "name_ops", BTREE, Name, true, 1994),
        class(10038, "time_ops", BTREE, Time, true, 1996), class(10044, "varchar_ops", BTREE, Text, false, 1994),
        class(10065, "uuid_ops", BTREE, Uuid, true, 2968), class(10088, "jsonb_ops", BTREE, Jsonb, true, 4033),
        class(10001, "array_ops", HASH, Anyarray, true, 627), class(10005, "bpchar_ops", HASH, Bpchar, true, 427),
        class(10008, "char_ops", HASH, Char, true, 431), class(10011, "date_ops", HASH, Date, true, 435),
        class(10013, "float4_ops", HASH, Float4, true, 1971), class(10014, "float8_ops", HASH, Float8, true, 1971),
        class(10019, "int2_ops", HASH, Int2, true, 1977), class(10020, "int4_ops", HASH, Int4, true, 1977),
        class(10021, "int8_ops", HASH, Int8, true, 1977), class(10023, "interval_ops", HASH, Interval, true, 1983),
        class(10029, "name_ops", HASH, Name, true, 1995), class(10030, "numeric_ops", HASH, Numeric, true, 1998),
        class(10031, "oid_ops", HASH, Oid, true, 1990), class(10037, "text_ops", HASH, Text, true, 1995),
        class(10039, "time_ops", HASH, Time, true, 1997), class(10040, "timestamptz_ops", HASH, Timestamptz, true, 1999),
        class(10045, "varchar_ops", HASH, Text, false, 1995), class(10046, "timestamp_ops", HASH, Timestamp, true, 2040),
        class(10048, "bool_ops", HASH, Bool, true, 2222), class(10049, "bytea_ops", HASH, Bytea, true, 2223),
        class(10056, "text_pattern_ops", HASH, Text, false, 2229),
        class(10057, "varchar_pattern_ops", HASH, Text, false, 2229),
        class(10058, "bpchar_pattern_ops", HASH, Bpchar, false, 2231), class(10066, "uuid_ops", HASH, Uuid, true, 2969),
        class(10041, "timetz_ops", BTREE, Timetz, true, 2000), class(10042, "timetz_ops", HASH, Timetz, true, 2001),
        class(10015, "inet_ops", BTREE, Inet, true, 1974), class(10016, "inet_ops", HASH, Inet, true, 1975),
        class(10009, "cidr_ops", BTREE, Inet, false, 1974), class(10010, "cidr_ops", HASH, Inet, false, 1975),
        class(10024, "macaddr_ops", BTREE, Macaddr, true, 1984), class(10025, "macaddr_ops", HASH, Macaddr, true, 1985),
        class(10026, "macaddr8_ops", BTREE, Macaddr8, true, 3371), class(10027, "macaddr8_ops", HASH, Macaddr8, true, 3372),
        class(10053, "xid8_ops", BTREE, Xid8, true, 5067), class(10052, "xid8_ops", HASH, Xid8, true, 5032),
        class(10067, "pg_lsn_ops", BTREE, PgLsn, true, 3253), class(10068, "pg_lsn_ops", HASH, PgLsn, true, 3254),
        class(9671, "vector_ops", BTREE, Vector, true, 9672),
        class(10089, "jsonb_ops", HASH, Jsonb, true, 4034),
        class(10069, "enum_ops", BTREE, Anyenum, true, 3522), class(10070, "enum_ops", HASH, Anyenum, true, 3523),
    ]
};

/// The families that the classes belong to: OID, name, access method.
#[rustfmt::skip]
const FAMILIES: &[(Oid, &str, Oid)] = &[
    (397, "array_ops", BTREE), (424, "bool_ops", BTREE), (426, "bpchar_ops", BTREE), (427, "bpchar_ops", HASH),
    (428, "bytea_ops", BTREE), (429, "char_ops", BTREE), (431, "char_ops", HASH), (434, "datetime_ops", BTREE),
    (435, "date_ops", HASH), (627, "array_ops", HASH), (1970, "float_ops", BTREE), (1971, "float_ops", HASH),
    (1976, "integer_ops", BTREE), (1977, "integer_ops", HASH), (1982, "interval_ops", BTREE),
    (1983, "interval_ops", HASH), (1988, "numeric_ops", BTREE), (1989, "oid_ops", BTREE), (1990, "oid_ops", HASH),
    (1994, "text_ops", BTREE), (1995, "text_ops", HASH), (1996, "time_ops", BTREE), (1997, "time_ops", HASH),
    (1998, "numeric_ops", HASH), (1999, "timestamptz_ops", HASH), (2040, "timestamp_ops", HASH),
    (2095, "text_pattern_ops", BTREE), (2097, "bpchar_pattern_ops", BTREE), (2222, "bool_ops", HASH),
    (2223, "bytea_ops", HASH), (2229, "text_pattern_ops", HASH), (2231, "bpchar_pattern_ops", HASH),
    (2968, "uuid_ops", BTREE), (2969, "uuid_ops", HASH), (3522, "enum_ops", BTREE), (3523, "enum_ops", HASH),
    (4033, "jsonb_ops", BTREE), (4034, "jsonb_ops", HASH), (9672, "vector_ops", BTREE),
    (1974, "network_ops", BTREE), (1975, "network_ops", HASH), (1984, "macaddr_ops", BTREE),
    (1985, "macaddr_ops", HASH), (2000, "timetz_ops", BTREE), (2001, "timetz_ops", HASH), (3253, "pg_lsn_ops", BTREE),
    (3254, "pg_lsn_ops", HASH), (3371, "macaddr8_ops", BTREE), (3372, "macaddr8_ops", HASH), (5032, "xid8_ops", HASH),
    (5067, "xid8_ops", BTREE),
];

/// The OID of an access method.
pub fn method_oid(method: IndexMethod) -> Oid {
    match method {
        IndexMethod::Btree => BTREE,
        IndexMethod::Hash => HASH,
    }
}

/// The name of an access method.
pub fn method_name(method: IndexMethod) -> &'static str {
    match method {
        IndexMethod::Btree => "btree",
        IndexMethod::Hash => "hash",
    }
}

/// Whether values of a type can go where a class wants its input type.
fn accepts(class: &OperatorClass, ty: SqlType) -> bool {
    match class.input {
        SqlType::Text => matches!(ty, SqlType::Text | SqlType::Varchar),
        SqlType::Oid => ty.is_oid_like(),
        SqlType::Inet => matches!(ty, SqlType::Inet | SqlType::Cidr),
        SqlType::Anyarray => ty.is_array(),
        SqlType::Anyenum => matches!(ty, SqlType::Enum(_)),
        input => input == ty,
    }
}

/// The default class of a type.
pub fn default_for(method: Oid, ty: SqlType) -> Option<&'static OperatorClass> {
    CLASSES.iter().find(|class| class.method == method && class.is_default && accepts(class, ty))
}

/// A class by its name, and whether it takes the type.
pub fn by_name(method: Oid, name: &str, ty: SqlType) -> Option<(&'static OperatorClass, bool)> {
    let class = CLASSES.iter().find(|class| class.method == method && class.name == name)?;
    Some((class, accepts(class, ty)))
}

/// A class's name.
pub fn name_of(oid: Oid) -> Option<&'static str> {
    CLASSES.iter().find(|class| class.oid == oid).map(|class| class.name)
}

/// The rows of pg_opclass.
pub(super) fn rows(wanted: &Wanted, rows: &mut Rows) {
    for class in CLASSES.iter().filter(|class| wanted.as_ref().is_none_or(|wanted| wanted.contains(&class.oid))) {
        rows.push(cells![
            oid: class.oid, opcmethod: class.method, opcname: class.name, opcnamespace: PG_CATALOG.0, opcowner: ROOT.0,
            opcfamily: class.family, opcintype: class.input.oid(), opcdefault: class.is_default, opckeytype: 0u32,
        ]);
    }
}

/// The rows of pg_opfamily.
pub(super) fn families(rows: &mut Rows) {
    for (oid, name, method) in FAMILIES {
        rows.push(cells![
            oid: *oid, opfmethod: *method, opfname: *name, opfnamespace: PG_CATALOG.0, opfowner: ROOT.0,
        ]);
    }
}
