//! Sequences (PostgreSQL manual 9.17). The numbers are the session's to give.

use super::rows::{f, k};
use super::{Function, Kind, names};
use kalamdb_commons::{Datum, Oid, SqlError, SqlState, SqlType, TableId};

/// The OID of `nextval`.
pub const NEXTVAL: Oid = 1574;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(call; 1574 volatile "nextval" (sequence: Regclass) -> Int8 { call.around.next_value(sequence) }),
    f!(call; 1575 volatile "currval" (sequence: Regclass) -> Int8 { call.around.current_value(sequence) }),
    f!(call; 1576 volatile "setval" (sequence: Regclass, value: Int8) -> Int8 { call.around.set_value(sequence, value, true) }),
    f!(call; 1765 volatile "setval" (sequence: Regclass, value: Int8, called: Bool) -> Int8 { call.around.set_value(sequence, value, called) }),
    f!(call; 2559 volatile "lastval" () -> Int8 { call.around.last_value() }),
    f!(call; 4032 volatile "pg_sequence_last_value" (sequence: Regclass) -> Int8 { call.around.given_value(sequence) }),
    f!(call; 1665 stable "pg_get_serial_sequence" (table: Text, column: Text) -> Text {
        call.around.catalog().serial_sequence(TableId(names::relation(table, call)?), column)
    }),
    k!(3078 stable columns(&[
        ("start_value", SqlType::Int8), ("minimum_value", SqlType::Int8), ("maximum_value", SqlType::Int8),
        ("increment", SqlType::Int8), ("cycle_option", SqlType::Bool), ("cache_size", SqlType::Int8),
        ("data_type", SqlType::Oid),
    ]) "pg_sequence_parameters" (Oid) -> Record = Kind::Set(|args, call| {
        let oid = match args.first() {
            Some(Datum::Oid(oid)) => *oid,
            _ => 0,
        };
        let missing = || match call.around.catalog().relation_name(oid) {
            Some(name) => SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a sequence")),
            None => SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation with OID {oid} does not exist")),
        };
        let facts = call.around.catalog().sequence(oid).ok_or_else(missing)?;
        let row = vec![
            Datum::Int8(facts.start), Datum::Int8(facts.min), Datum::Int8(facts.max), Datum::Int8(facts.increment),
            Datum::Bool(facts.cycle), Datum::Int8(facts.cache), Datum::Oid(facts.ty.oid()),
        ];
        Ok(Box::new(std::iter::once(Ok(row))))
    })),
];
