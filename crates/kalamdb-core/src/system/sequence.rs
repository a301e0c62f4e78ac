//! Sequences as the catalog shows them: pg_sequence, pg_sequences, information_schema.sequences, and the one row of a sequence itself.

use super::relational::{namespace_name, quoted};
use super::{Facts, Rows, Shape, Wanted, cells, wants};
use crate::settings::DATABASE_NAME;
use kalamdb_auth::authorize::SequenceAction;
use kalamdb_commons::{ColumnId, SqlType};
use kalamdb_sql::bind::{ColumnShape, RelationKind, RelationShape};
use kalamdb_store::{SequenceDef, SequencePlace, TableDef};

/// What a sequence shows as a relation.
pub(super) static SHAPE: Shape = Shape {
    namespace: "",
    name: "",
    oid: 0,
    kind: 'S',
    columns: &[
        ("last_value", SqlType::Int8, true),
        ("log_cnt", SqlType::Int8, true),
        ("is_called", SqlType::Bool, true),
    ],
};

/// A sequence in the binder's words.
pub fn shape_of(def: &SequenceDef, namespace: &str) -> RelationShape {
    let column = |(at, (name, ty, not_null)): (usize, &(&'static str, SqlType, bool))| ColumnShape {
        id: ColumnId(at as i16 + 1),
        name: (*name).to_string(),
        ty: (*ty).into(),
        not_null: *not_null,
        default: None,
        source: Default::default(),
        domain: None,
    };
    RelationShape {
        table: def.id,
        namespace: namespace.to_string(),
        name: def.name.to_string(),
        schema_version: 0,
        kind: RelationKind::Sequence,
        columns: SHAPE.columns.iter().enumerate().map(column).collect(),
        primary_key: None,
        uniques: Vec::new(),
        view: None,
    }
}

/// A sequence's one row.
pub(super) fn row(place: SequencePlace, rows: &mut Rows) {
    rows.push(cells![last_value: place.last, log_cnt: place.ahead, is_called: place.is_called]);
}

/// The columns that a sequence shows, for pg_attribute.
pub(super) fn columns() -> impl Iterator<Item = (i16, &'static str, SqlType)> {
    SHAPE.columns.iter().enumerate().map(|(at, (name, ty, _))| (at as i16 + 1, *name, *ty))
}

/// Makes the rows of one of them; `false` when it is not among them.
pub(super) fn make(name: &str, facts: &Facts, wanted: &Wanted, rows: &mut Rows) -> bool {
    match name {
        "pg_sequence" => sequences(facts, wanted, rows),
        "pg_sequences" => sequence_list(facts, rows),
        _ => return false,
    }
    true
}

fn sequences(facts: &Facts, wanted: &Wanted, rows: &mut Rows) {
    for def in facts.catalog.sequences().filter(|def| wants(wanted, def.id.0)) {
        rows.push(cells![
            seqrelid: def.id.0, seqtypid: def.ty.oid(), seqstart: def.start, seqincrement: def.increment,
            seqmax: def.max, seqmin: def.min, seqcache: def.cache, seqcycle: def.cycle,
        ]);
    }
}

fn sequence_list(facts: &Facts, rows: &mut Rows) {
    for def in facts.catalog.sequences() {
        let owner = facts.catalog.user(def.owner).map(|user| user.name.to_string());
        rows.push(cells![
            schemaname: namespace_name(facts, def.namespace), sequencename: def.name.as_str(), sequenceowner: owner,
            data_type: def.ty.oid(), start_value: def.start, min_value: def.min, max_value: def.max,
            increment_by: def.increment, cycle: def.cycle, cache_size: def.cache,
            last_value: facts.given_number(def),
        ]);
    }
}

/// information_schema.sequences: those that the asker may use; IDENTITY columns' own are left out, as PostgreSQL does.
pub(super) fn standard(facts: &Facts, rows: &mut Rows) {
    for def in facts.catalog.sequences().filter(|def| !def.identity) {
        if !facts.may_use(def, SequenceAction::Next) {
            continue;
        }
        let bits = match def.ty {
            SqlType::Int2 => 16,
            SqlType::Int4 => 32,
            _ => 64,
        };
        rows.push(cells![
            sequence_catalog: DATABASE_NAME, sequence_schema: namespace_name(facts, def.namespace),
            sequence_name: def.name.as_str(), data_type: def.ty.facts().sql_name, numeric_precision: bits,
            numeric_precision_radix: 2, numeric_scale: 0, start_value: def.start.to_string(),
            minimum_value: def.min.to_string(), maximum_value: def.max.to_string(),
            increment: def.increment.to_string(), cycle_option: if def.cycle { "YES" } else { "NO" },
        ]);
    }
}

/// The sequence that belongs to a table's column.
pub(super) fn of_column<'c>(
    catalog: &'c kalamdb_store::Catalog,
    table: &TableDef,
    column: ColumnId,
) -> Option<&'c SequenceDef> {
    let belongs = |def: &&std::sync::Arc<SequenceDef>| def.owned_by == Some((table.id, column));
    catalog.sequences().find(belongs).map(|def| &**def)
}

/// A qualified name.
pub(super) fn qualified(namespace: &str, name: &str) -> String {
    format!("{}.{}", quoted(namespace), quoted(name))
}
