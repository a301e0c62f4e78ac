//! The table itself, and the ways into it.

use super::{Cast, Function, Operator};
use kalamdb_commons::{Oid, SqlType};
use rustc_hash::FxHashMap;
use std::sync::LazyLock;

struct Table {
    functions: Vec<&'static Function>,
    by_name: FxHashMap<&'static str, Vec<&'static Function>>,
    by_oid: FxHashMap<Oid, &'static Function>,
    operators: FxHashMap<&'static str, Vec<&'static Operator>>,
    casts: FxHashMap<(SqlType, SqlType), &'static Cast>,
}

static FUNCTIONS: &[&[Function]] = &[
    super::aggregate::FUNCTIONS,
    super::aggregate::ordered::FUNCTIONS,
    super::aggregate::hypothetical::FUNCTIONS,
    super::arithmetic::FUNCTIONS,
    super::array::FUNCTIONS,
    super::bits::FUNCTIONS,
    super::casts::FUNCTIONS,
    super::compare::FUNCTIONS,
    super::datetime::FUNCTIONS,
    super::degrees::FUNCTIONS,
    super::domain::FUNCTIONS,
    super::enumeration::FUNCTIONS,
    super::field::FUNCTIONS,
    super::identifier::FUNCTIONS,
    super::inout::FUNCTIONS,
    super::json::FUNCTIONS,
    super::jsonpath::FUNCTIONS,
    super::like::FUNCTIONS,
    super::math::FUNCTIONS,
    super::normal::FUNCTIONS,
    super::overlaps::FUNCTIONS,
    super::picture::FUNCTIONS,
    super::privilege::FUNCTIONS,
    super::record::FUNCTIONS,
    super::regular::FUNCTIONS,
    super::sequence::FUNCTIONS,
    super::series::FUNCTIONS,
    super::session::FUNCTIONS,
    super::string::FUNCTIONS,
    super::system::FUNCTIONS,
    super::network::FUNCTIONS,
    super::template::FUNCTIONS,
    super::timetz::FUNCTIONS,
    super::unsigned::FUNCTIONS,
    super::vector::FUNCTIONS,
    super::window::FUNCTIONS,
];
static OPERATORS: &[&[Operator]] = &[
    super::operators::OPERATORS,
    super::network::OPERATORS,
    super::timetz::OPERATORS,
    super::unsigned::OPERATORS,
    super::vector::OPERATORS,
];
static CASTS: &[&[Cast]] =
    &[super::casts::CASTS, super::network::CASTS, super::timetz::CASTS, super::unsigned::CASTS, super::vector::CASTS];

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut functions: Vec<&'static Function> = FUNCTIONS.iter().flat_map(|chapter| chapter.iter()).collect();
    functions.sort_by_key(|function| function.oid);
    let mut by_name: FxHashMap<&'static str, Vec<&'static Function>> = FxHashMap::default();
    for function in &functions {
        by_name.entry(function.name).or_default().push(function);
    }
    let mut operators: FxHashMap<&'static str, Vec<&'static Operator>> = FxHashMap::default();
    for operator in OPERATORS.iter().flat_map(|chapter| chapter.iter()) {
        operators.entry(operator.name).or_default().push(operator);
    }
    Table {
        by_oid: functions.iter().map(|function| (function.oid, *function)).collect(),
        functions,
        by_name,
        operators,
        casts: casts().map(|cast| ((cast.source, cast.target), cast)).collect(),
    }
});

/// Every function, by OID.
pub fn all() -> &'static [&'static Function] {
    &TABLE.functions
}

/// The functions of a name.
pub fn by_name(name: &str) -> &'static [&'static Function] {
    TABLE.by_name.get(name).map_or(&[], Vec::as_slice)
}

/// The function with an OID.
pub fn by_oid(oid: Oid) -> Option<&'static Function> {
    TABLE.by_oid.get(&oid).copied()
}

/// The operators of a name, prefix operators among them.
pub fn operators(name: &str) -> &'static [&'static Operator] {
    TABLE.operators.get(name).map_or(&[], Vec::as_slice)
}

/// Every operator.
pub fn all_operators() -> impl Iterator<Item = &'static Operator> {
    OPERATORS.iter().flat_map(|chapter| chapter.iter())
}

/// The cast from one type to another, if `pg_cast` has it. Casts through the text form to and from the string types
/// are not in the list: any type has them (to a string on assignment, from a string when written).
pub fn cast(source: SqlType, target: SqlType) -> Option<&'static Cast> {
    TABLE.casts.get(&(source, target)).copied()
}

/// Every cast.
pub fn casts() -> impl Iterator<Item = &'static Cast> {
    CASTS.iter().flat_map(|chapter| chapter.iter())
}

/// The function that makes a value of this type fit the modifier in `Call::returns` (`varchar(3)`, `numeric(10,2)`,
/// `timestamp(0)`); its one argument is the value. A written cast (`explicit`) cuts strings silently, an assignment
/// raises 22001. `None` for a type without modifiers.
pub fn length_cast(ty: SqlType, explicit: bool) -> Option<&'static Function> {
    let oid = match (ty, explicit) {
        (SqlType::Varchar, true) => 9010,
        (SqlType::Varchar, false) => 9011,
        (SqlType::Bpchar, true) => 9012,
        (SqlType::Bpchar, false) => 9013,
        (SqlType::Numeric, _) => 9014,
        (SqlType::Timestamp, _) => 9015,
        (SqlType::Timestamptz, _) => 9016,
        (SqlType::Time, _) => 9017,
        (SqlType::Interval, _) => 9018,
        (SqlType::Timetz, _) => 9019,
        (SqlType::Vector, _) => 9641,
        _ => return None,
    };
    by_oid(oid)
}

/// The function from integer to an oid type or back: the same bits, of another Arrow type.
pub fn bits_function(from: SqlType, to: SqlType) -> Option<&'static Function> {
    match (from, to) {
        (SqlType::Int4, to) if to.is_oid_like() => by_oid(9021),
        (from, SqlType::Int4) if from.is_oid_like() => by_oid(9022),
        _ => None,
    }
}

/// The function that makes a value's sort key: what the engine may compare, sort, group and join by where the Arrow
/// order of the values is not PostgreSQL's. `None` when it is.
pub fn sort_key(ty: SqlType) -> Option<&'static Function> {
    super::compare::key_function(ty).and_then(by_oid)
}

/// The type to which both operands of a comparison of two types are cast: the wider one.
pub fn comparison_type(left: SqlType, right: SqlType) -> SqlType {
    use SqlType::*;
    match (left, right) {
        (a, b) if a == b => a,
        (Int8, _) | (_, Int8) => Int8,
        (Int4, _) | (_, Int4) => Int4,
        (Float8 | Float4, _) => Float8,
        (Timestamptz, _) | (_, Timestamptz) => Timestamptz,
        (Timestamp, _) | (_, Timestamp) => Timestamp,
        (Name, _) | (_, Name) => Text,
        (a, _) => a,
    }
}
