//! Constraints as pg_catalog and information_schema tell them.

use super::index;
use super::relational::{namespace_name, quoted};
use super::{Facts, Rows, cells, list};
use crate::settings::DATABASE_NAME;
use kalamdb_commons::{ColumnId, Datum, Oid, SqlType, TableId};
use kalamdb_store::{CheckDef, ConstraintTiming, ForeignKeyDef, ReferentialAction, TableDef};
use std::sync::Arc;

/// What `pg_get_constraintdef` prints. `relation` gives a table's name, qualified where the search path does not find it.
pub fn definition(
    table: &TableDef,
    oid: Oid,
    pretty: bool,
    parent: &dyn Fn(TableId) -> Option<(String, Arc<TableDef>)>,
) -> Option<String> {
    if let Some(index) = table.indexes.iter().find(|index| index.constraint == Some(oid)) {
        return Some(index::constraint_definition(table, index));
    }
    if let Some(check) = table.checks.iter().find(|check| check.id == oid) {
        return Some(check_definition(check, pretty));
    }
    if let Some(key) = table.foreign_keys.iter().find(|key| key.id == oid) {
        let (name, parent) = parent(key.parent)?;
        return Some(foreign_key_definition(table, key, &name, &parent));
    }
    let key = table.primary_key.as_ref().filter(|key| key.constraint == oid)?;
    Some(format!("PRIMARY KEY ({})", column_list(table, &key.columns)))
}

fn column_list(table: &TableDef, columns: &[ColumnId]) -> String {
    let named = columns.iter().filter_map(|id| table.column(*id)).map(|column| quoted(column.name.as_str()));
    named.collect::<Vec<_>>().join(", ")
}

fn check_definition(check: &CheckDef, pretty: bool) -> String {
    let text = check.expression.as_str();
    let mut out = match pretty {
        true => format!("CHECK ({})", kalamdb_sql::bind::pretty(text)),
        false => format!("CHECK ({text})"),
    };
    if check.no_inherit {
        out.push_str(" NO INHERIT");
    }
    if !check.validated {
        out.push_str(" NOT VALID");
    }
    out
}

fn foreign_key_definition(table: &TableDef, key: &ForeignKeyDef, name: &str, parent: &TableDef) -> String {
    let mut out = format!(
        "FOREIGN KEY ({}) REFERENCES {name}({})",
        column_list(table, &key.columns),
        column_list(parent, &key.parent_columns)
    );
    if key.match_full {
        out.push_str(" MATCH FULL");
    }
    for (event, action) in [("UPDATE", &key.on_update), ("DELETE", &key.on_delete)] {
        if *action == ReferentialAction::NoAction {
            continue;
        }
        out.push_str(&format!(" ON {event} {}", rule(action)));
        if let ReferentialAction::SetNull(columns) | ReferentialAction::SetDefault(columns) = action
            && !columns.is_empty()
        {
            out.push_str(&format!(" ({})", column_list(table, columns)));
        }
    }
    match key.timing {
        ConstraintTiming::Immediate => {}
        ConstraintTiming::Deferrable => out.push_str(" DEFERRABLE"),
        ConstraintTiming::Deferred => out.push_str(" DEFERRABLE INITIALLY DEFERRED"),
    }
    if !key.validated {
        out.push_str(" NOT VALID");
    }
    out
}

/// An action as SQL says it.
fn rule(action: &ReferentialAction) -> &'static str {
    match action {
        ReferentialAction::NoAction => "NO ACTION",
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull(_) => "SET NULL",
        ReferentialAction::SetDefault(_) => "SET DEFAULT",
    }
}

/// An action as pg_constraint tells it.
fn code(action: &ReferentialAction) -> char {
    match action {
        ReferentialAction::NoAction => 'a',
        ReferentialAction::Restrict => 'r',
        ReferentialAction::Cascade => 'c',
        ReferentialAction::SetNull(_) => 'n',
        ReferentialAction::SetDefault(_) => 'd',
    }
}

fn numbers(columns: &[ColumnId]) -> Datum {
    list(SqlType::Int2, columns.iter().map(|id| Datum::Int2(id.0)))
}

/// What a row of pg_constraint says of all kinds.
struct Constraint<'a> {
    oid: Oid,
    name: &'a str,
    kind: char,
    timing: ConstraintTiming,
    validated: bool,
    index: Oid,
    no_inherit: bool,
    columns: Vec<ColumnId>,
}

/// The rows of pg_constraint for a table.
pub(super) fn push_constraints(rows: &mut Rows, table: &TableDef) {
    let mut push = |it: Constraint<'_>, foreign: Option<&ForeignKeyDef>, condition: Option<&str>| {
        let action = |action: fn(&ForeignKeyDef) -> char| foreign.map_or(' ', action);
        let set = foreign.and_then(|key| match &key.on_delete {
            ReferentialAction::SetNull(columns) | ReferentialAction::SetDefault(columns) if !columns.is_empty() => {
                Some(numbers(columns))
            }
            _ => None,
        });
        rows.push(cells![
            oid: it.oid, conname: it.name, connamespace: table.namespace.0, contype: it.kind,
            condeferrable: it.timing != ConstraintTiming::Immediate,
            condeferred: it.timing == ConstraintTiming::Deferred, convalidated: it.validated, conrelid: table.id.0,
            contypid: 0u32, conindid: it.index, conparentid: 0u32, confrelid: foreign.map_or(0, |key| key.parent.0),
            confupdtype: action(|key| code(&key.on_update)), confdeltype: action(|key| code(&key.on_delete)),
            confmatchtype: action(|key| if key.match_full { 'f' } else { 's' }), conislocal: true, coninhcount: 0i32,
            connoinherit: it.no_inherit, conkey: if it.columns.is_empty() { Datum::Null } else { numbers(&it.columns) },
            confkey: foreign.map_or(Datum::Null, |key| numbers(&key.parent_columns)),
            confdelsetcols: set.unwrap_or_default(), conbin: condition.map_or(Datum::Null, Datum::text),
        ]);
    };
    let kept = |oid, name, kind, index, columns| Constraint {
        oid,
        name,
        kind,
        timing: ConstraintTiming::Immediate,
        validated: true,
        index,
        no_inherit: true,
        columns,
    };
    for check in &table.checks {
        let constraint = Constraint {
            validated: check.validated,
            no_inherit: check.no_inherit,
            ..kept(check.id, &check.name, 'c', 0, check.columns.clone())
        };
        push(constraint, None, Some(&check.expression));
    }
    if let Some(key) = &table.primary_key {
        push(kept(key.constraint, &key.name, 'p', key.index, key.columns.clone()), None, None);
    }
    for index in &table.indexes {
        let Some(constraint) = index.constraint else { continue };
        push(kept(constraint, &index.name, 'u', index.id, index.columns().unwrap_or_default()), None, None);
    }
    for key in &table.foreign_keys {
        let constraint = Constraint {
            timing: key.timing,
            validated: key.validated,
            ..kept(key.id, &key.name, 'f', key.parent_index, key.columns.clone())
        };
        push(constraint, Some(key), None);
    }
}

/// A constraint as information_schema tells it.
struct Shown<'a> {
    namespace: String,
    table: &'a Arc<TableDef>,
    name: String,
    kind: &'static str,
    columns: Vec<ColumnId>,
    nulls_distinct: Option<&'static str>,
    timing: ConstraintTiming,
    foreign: Option<&'a ForeignKeyDef>,
}

fn yes(value: bool) -> &'static str {
    if value { "YES" } else { "NO" }
}

/// The constraints of every shown table, but for NOT NULL.
fn shown(facts: &Facts) -> Vec<Shown<'_>> {
    let of_table = |table| {
        let table: &Arc<TableDef> = table;
        let namespace = namespace_name(facts, table.namespace);
        let shown = |name: &str, kind, columns| Shown {
            namespace: namespace.clone(),
            table,
            name: name.to_string(),
            kind,
            columns,
            nulls_distinct: None,
            timing: ConstraintTiming::Immediate,
            foreign: None,
        };
        let mut all = Vec::new();
        for check in &table.checks {
            all.push(shown(&check.name, "CHECK", check.columns.clone()));
        }
        if let Some(key) = &table.primary_key {
            all.push(shown(&key.name, "PRIMARY KEY", key.columns.clone()));
        }
        for index in table.indexes.iter().filter(|index| index.constraint.is_some()) {
            let nulls_distinct = Some(yes(!index.nulls_not_distinct));
            let columns = index.columns().unwrap_or_default();
            all.push(Shown { nulls_distinct, ..shown(&index.name, "UNIQUE", columns) });
        }
        for key in &table.foreign_keys {
            let constraint = shown(&key.name, "FOREIGN KEY", key.columns.clone());
            all.push(Shown { timing: key.timing, foreign: Some(key), ..constraint });
        }
        all
    };
    facts.catalog.tables().filter(|table| facts.is_accessible(table)).flat_map(of_table).collect()
}

/// NOT NULL, which is a constraint there under a made name: namespace, table, name, column.
fn not_null(facts: &Facts) -> Vec<(String, &Arc<TableDef>, String, String)> {
    let of_table = |table| {
        let table: &Arc<TableDef> = table;
        let namespace = namespace_name(facts, table.namespace);
        let strict = table.live_columns().filter(|column| column.not_null);
        let named = strict.map(move |column| {
            let name = format!("{}_{}_{}_not_null", table.namespace.0, table.id.0, column.id.0);
            (namespace.clone(), table, name, column.name.to_string())
        });
        named.collect::<Vec<_>>()
    };
    facts.catalog.tables().filter(|table| facts.is_accessible(table)).flat_map(of_table).collect()
}

/// `table_constraints`
pub(super) fn table_constraints(facts: &Facts, rows: &mut Rows) {
    for it in shown(facts) {
        rows.push(cells![
            constraint_catalog: DATABASE_NAME, constraint_schema: it.namespace.as_str(), constraint_name: it.name,
            table_catalog: DATABASE_NAME, table_schema: it.namespace.as_str(), table_name: it.table.name.as_str(),
            constraint_type: it.kind, is_deferrable: yes(it.timing != ConstraintTiming::Immediate),
            initially_deferred: yes(it.timing == ConstraintTiming::Deferred), enforced: "YES",
            nulls_distinct: it.nulls_distinct,
        ]);
    }
    for (namespace, table, name, _) in not_null(facts) {
        rows.push(cells![
            constraint_catalog: DATABASE_NAME, constraint_schema: namespace.as_str(), constraint_name: name,
            table_catalog: DATABASE_NAME, table_schema: namespace.as_str(), table_name: table.name.as_str(),
            constraint_type: "CHECK", is_deferrable: "NO", initially_deferred: "NO", enforced: "YES",
        ]);
    }
}

/// The columns of a unique index or primary key, by its OID.
fn index_columns(table: &TableDef, index: Oid) -> Vec<ColumnId> {
    match &table.primary_key {
        Some(key) if key.index == index => key.columns.clone(),
        _ => table.index(index).and_then(kalamdb_store::IndexDef::columns).unwrap_or_default(),
    }
}

/// `key_column_usage`
pub(super) fn key_columns(facts: &Facts, rows: &mut Rows) {
    for it in shown(facts).iter().filter(|it| it.kind != "CHECK") {
        let referenced = it.foreign.and_then(|key| {
            let parent = facts.catalog.table(key.parent)?;
            Some((key, index_columns(parent, key.parent_index)))
        });
        for (at, column) in it.columns.iter().filter_map(|id| it.table.column(*id)).enumerate() {
            let place = referenced.as_ref().and_then(|(key, columns)| {
                let parent = key.parent_columns.get(at)?;
                columns.iter().position(|id| id == parent).map(|place| place as i32 + 1)
            });
            rows.push(cells![
                constraint_catalog: DATABASE_NAME, constraint_schema: it.namespace.as_str(),
                constraint_name: it.name.as_str(), table_catalog: DATABASE_NAME,
                table_schema: it.namespace.as_str(), table_name: it.table.name.as_str(),
                column_name: column.name.as_str(), ordinal_position: at as i32 + 1,
                position_in_unique_constraint: place,
            ]);
        }
    }
}

/// `constraint_column_usage`: of a foreign key the referenced columns.
pub(super) fn constraint_columns(facts: &Facts, rows: &mut Rows) {
    for it in shown(facts) {
        let (table, columns) = match it.foreign {
            None => (it.table, &it.columns),
            Some(key) => match facts.catalog.table(key.parent) {
                Some(parent) => (parent, &key.parent_columns),
                None => continue,
            },
        };
        for column in columns.iter().filter_map(|id| table.column(*id)) {
            rows.push(cells![
                table_catalog: DATABASE_NAME, table_schema: namespace_name(facts, table.namespace),
                table_name: table.name.as_str(), column_name: column.name.as_str(),
                constraint_catalog: DATABASE_NAME, constraint_schema: it.namespace.as_str(),
                constraint_name: it.name.as_str(),
            ]);
        }
    }
}

/// `constraint_table_usage`: of a foreign key the referenced table.
pub(super) fn constraint_tables(facts: &Facts, rows: &mut Rows) {
    for it in shown(facts).iter().filter(|it| it.kind != "CHECK") {
        let table = match it.foreign {
            None => it.table,
            Some(key) => match facts.catalog.table(key.parent) {
                Some(parent) => parent,
                None => continue,
            },
        };
        rows.push(cells![
            table_catalog: DATABASE_NAME, table_schema: namespace_name(facts, table.namespace),
            table_name: table.name.as_str(), constraint_catalog: DATABASE_NAME,
            constraint_schema: it.namespace.as_str(), constraint_name: it.name.as_str(),
        ]);
    }
}

/// `check_constraints`
pub(super) fn check_constraints(facts: &Facts, rows: &mut Rows) {
    for table in facts.catalog.tables().filter(|table| facts.is_accessible(table)) {
        for check in &table.checks {
            let definition = check_definition(check, false);
            rows.push(cells![
                constraint_catalog: DATABASE_NAME, constraint_schema: namespace_name(facts, table.namespace),
                constraint_name: check.name.as_str(), check_clause: definition.trim_start_matches("CHECK "),
            ]);
        }
    }
    for (namespace, _, name, column) in not_null(facts) {
        rows.push(cells![
            constraint_catalog: DATABASE_NAME, constraint_schema: namespace, constraint_name: name,
            check_clause: format!("{column} IS NOT NULL"),
        ]);
    }
}

/// `referential_constraints`
pub(super) fn referential_constraints(facts: &Facts, rows: &mut Rows) {
    for it in shown(facts) {
        let Some(key) = it.foreign else { continue };
        let Some(parent) = facts.catalog.table(key.parent) else { continue };
        // An index that is no constraint has no name here.
        let primary = parent.primary_key.as_ref().filter(|primary| primary.index == key.parent_index);
        let unique = parent.index(key.parent_index).filter(|index| index.constraint.is_some());
        let name = primary.map(|key| key.name.clone()).or_else(|| unique.map(|index| index.name.clone()));
        let told = name.is_some();
        rows.push(cells![
            constraint_catalog: DATABASE_NAME, constraint_schema: it.namespace.as_str(),
            constraint_name: it.name.as_str(), unique_constraint_catalog: told.then_some(DATABASE_NAME),
            unique_constraint_schema: told.then(|| namespace_name(facts, parent.namespace)),
            unique_constraint_name: name, match_option: if key.match_full { "FULL" } else { "NONE" },
            update_rule: rule(&key.on_update), delete_rule: rule(&key.on_delete),
        ]);
    }
}
