//! pg_depend: what the definitions say of each other, as clients look it up.

use super::objects::OWN_EXTENSION;
use super::relational::default_oid;
use super::{Facts, Rows, SHAPES, cells};
use kalamdb_commons::ids::SYSTEM;
use kalamdb_sql::bind::{relations_named, types_named};
use kalamdb_store::{SequenceDef, TableDef, TypeDef, TypeKind, Use, ViewDef};
use std::collections::HashSet;

/// The OIDs of the system relations that list what depends.
const CLASS: u32 = 1259;
const TYPE: u32 = 1247;
const NAMESPACE: u32 = 2615;
const REWRITE: u32 = 2618;
const CONSTRAINT: u32 = 2606;
const DEFAULT: u32 = 2604;
const EXTENSION: u32 = 3079;

/// One end: class, object, column.
type End = (u32, u32, i32);

fn push(rows: &mut Rows, from: End, to: End, kind: char) {
    rows.push(cells![
        classid: from.0, objid: from.1, objsubid: from.2, refclassid: to.0, refobjid: to.1, refobjsubid: to.2,
        deptype: kind,
    ]);
}

/// Makes the rows of pg_depend; `false` for another relation.
pub(super) fn make(name: &str, facts: &Facts, rows: &mut Rows) -> bool {
    if name != "pg_depend" {
        return false;
    }
    of_extension(rows);
    facts.catalog.tables().for_each(|table| of_table(rows, table));
    facts.catalog.sequences().for_each(|def| of_sequence(rows, def));
    facts.catalog.data_types().for_each(|def| of_type(rows, def));
    facts.catalog.views().for_each(|view| of_view(rows, view));
    true
}

/// The namespace `system` and its relations.
fn of_extension(rows: &mut Rows) {
    let extension = (EXTENSION, OWN_EXTENSION, 0);
    push(rows, (NAMESPACE, SYSTEM.0, 0), extension, 'e');
    for shape in SHAPES.iter().filter(|shape| shape.namespace == "system") {
        push(rows, (CLASS, shape.oid, 0), extension, 'e');
    }
}

fn of_table(rows: &mut Rows, table: &TableDef) {
    let own = (CLASS, table.id.0, 0);
    push(rows, own, (NAMESPACE, table.namespace.0, 0), 'n');
    push(rows, (TYPE, table.row_type, 0), own, 'i');
    for column in table.live_columns() {
        let of_column = (CLASS, table.id.0, i32::from(column.id.0));
        if let Some(ty) = column.domain.or_else(|| column.ty.ty.user_type()) {
            push(rows, of_column, (TYPE, ty, 0), 'n');
        }
        let Some(text) = column.default.as_ref().or(column.generated.as_ref()) else { continue };
        let default = (DEFAULT, default_oid(table, column.id), 0);
        push(rows, default, of_column, 'a');
        relations_named(text).into_iter().for_each(|used| push(rows, default, (CLASS, used, 0), 'n'));
        types_named(text).into_iter().for_each(|used| push(rows, default, (TYPE, used, 0), 'n'));
    }
    let column = |id: &kalamdb_commons::ColumnId| (CLASS, table.id.0, i32::from(id.0));
    if let Some(key) = &table.primary_key {
        key.columns.iter().for_each(|id| push(rows, (CONSTRAINT, key.constraint, 0), column(id), 'a'));
        push(rows, (CLASS, key.index, 0), (CONSTRAINT, key.constraint, 0), 'i');
    }
    for index in &table.indexes {
        let columns = index.columns().unwrap_or_default();
        let from = match index.constraint {
            Some(constraint) => {
                push(rows, (CLASS, index.id, 0), (CONSTRAINT, constraint, 0), 'i');
                (CONSTRAINT, constraint, 0)
            }
            None => (CLASS, index.id, 0),
        };
        columns.iter().for_each(|id| push(rows, from, column(id), 'a'));
        if columns.is_empty() {
            push(rows, from, own, 'a');
        }
    }
}

fn of_sequence(rows: &mut Rows, def: &SequenceDef) {
    let own = (CLASS, def.id.0, 0);
    push(rows, own, (NAMESPACE, def.namespace.0, 0), 'n');
    if let Some((table, column)) = def.owned_by {
        push(rows, own, (CLASS, table.0, i32::from(column.0)), if def.identity { 'i' } else { 'a' });
    }
}

fn of_type(rows: &mut Rows, def: &TypeDef) {
    let own = (TYPE, def.id, 0);
    push(rows, own, (NAMESPACE, def.namespace.0, 0), 'n');
    if let TypeKind::Domain { base, .. } = &def.kind
        && let Some(base) = base.ty.user_type()
    {
        push(rows, own, (TYPE, base, 0), 'n');
    }
}

fn of_view(rows: &mut Rows, view: &ViewDef) {
    let own = (CLASS, view.id.0, 0);
    push(rows, own, (NAMESPACE, view.namespace.0, 0), 'n');
    push(rows, (TYPE, view.row_type, 0), own, 'i');
    let rule = (REWRITE, view.rule, 0);
    push(rows, rule, own, 'i');
    push(rows, rule, own, 'n');
    let mut named = HashSet::new();
    for using in &view.uses {
        let to = match using {
            // As in PostgreSQL, the columns say it where there are any.
            Use::Relation(id) if view.uses.iter().any(|other| matches!(other, Use::Column(of, _) if of == id)) => {
                continue;
            }
            Use::Relation(id) => (CLASS, id.0, 0),
            Use::Column(id, column) => (CLASS, id.0, i32::from(column.0)),
            Use::Domain(column, oid) => {
                push(rows, (CLASS, view.id.0, i32::from(column.0)), (TYPE, *oid, 0), 'n');
                continue;
            }
            Use::Type(_) => continue,
            Use::TypeNamed { .. } | Use::Constant { .. } => match (using.type_named(), using.relation_named()) {
                (Some(oid), _) if named.insert(oid) => (TYPE, oid, 0),
                (None, Some(id)) if named.insert(id.0) => (CLASS, id.0, 0),
                _ => continue,
            },
        };
        push(rows, rule, to, 'n');
    }
    for (at, column) in view.columns.iter().enumerate() {
        if let Some(oid) = column.ty.ty.user_type() {
            push(rows, (CLASS, view.id.0, at as i32 + 1), (TYPE, oid, 0), 'n');
        }
    }
}
