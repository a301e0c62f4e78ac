//! information_schema (ISO/IEC 9075-11), as PostgreSQL's manual, chapter 37, says it: of tables it shows those that
//! the asker may read or write.

use super::relational::namespace_name;
use super::{Facts, Rows, SHAPES, cells, constraint};
use crate::settings::DATABASE_NAME;
use kalamdb_commons::{ColumnId, PgType, SqlType};
use kalamdb_store::SequenceDef;

/// Makes the rows of one of them; `false` when it is not among them.
pub(super) fn make(name: &str, facts: &Facts, rows: &mut Rows) -> bool {
    match name {
        "tables" => tables(facts, rows),
        "sequences" => super::sequence::standard(facts, rows),
        "domains" => super::user_type::domains(facts, rows),
        "columns" => columns(facts, rows),
        "schemata" => schemata(facts, rows),
        "table_constraints" => constraint::table_constraints(facts, rows),
        "key_column_usage" => constraint::key_columns(facts, rows),
        "constraint_column_usage" => constraint::constraint_columns(facts, rows),
        "constraint_table_usage" => constraint::constraint_tables(facts, rows),
        "check_constraints" => constraint::check_constraints(facts, rows),
        "referential_constraints" => constraint::referential_constraints(facts, rows),
        "information_schema_catalog_name" => rows.push(cells![catalog_name: DATABASE_NAME]),
        "character_sets" => rows.push(cells![
            character_set_name: "UTF8", character_repertoire: "UCS", form_of_use: "UTF8",
            default_collate_catalog: DATABASE_NAME, default_collate_schema: "pg_catalog", default_collate_name: "C",
        ]),
        "applicable_roles" | "administrable_role_authorizations" => {}
        "enabled_roles" => rows.push(cells![role_name: facts.identity.name.as_str()]),
        _ => return false,
    }
    true
}

fn yes(value: bool) -> &'static str {
    if value { "YES" } else { "NO" }
}

fn tables(facts: &Facts, rows: &mut Rows) {
    for shape in SHAPES {
        rows.push(cells![
            table_catalog: DATABASE_NAME, table_schema: shape.namespace, table_name: shape.name,
            table_type: if shape.kind == 'r' { "BASE TABLE" } else { "VIEW" }, is_insertable_into: "NO", is_typed: "NO",
        ]);
    }
    for table in facts.catalog.tables().filter(|table| facts.is_accessible(table)) {
        rows.push(cells![
            table_catalog: DATABASE_NAME, table_schema: namespace_name(facts, table.namespace),
            table_name: table.name.as_str(), table_type: "BASE TABLE", is_insertable_into: "YES", is_typed: "NO",
        ]);
    }
    for view in facts.catalog.views().filter(|view| facts.sees_view(view)) {
        rows.push(cells![
            table_catalog: DATABASE_NAME, table_schema: namespace_name(facts, view.namespace),
            table_name: view.name.as_str(), table_type: "VIEW", is_insertable_into: "NO", is_typed: "NO",
        ]);
    }
}

fn schemata(facts: &Facts, rows: &mut Rows) {
    for namespace in facts.catalog.namespaces() {
        let owner = facts.catalog.user(namespace.owner).map(|user| user.name.to_string());
        rows.push(cells![
            catalog_name: DATABASE_NAME, schema_name: namespace.name.as_str(), schema_owner: owner,
        ]);
    }
}

struct Column<'a> {
    namespace: &'a str,
    table: &'a str,
    name: &'a str,
    position: i32,
    default: Option<&'a str>,
    not_null: bool,
    ty: PgType,
    updatable: bool,
    /// GENERATED … AS IDENTITY: its word, and its sequence.
    identity: Option<(&'static str, &'a SequenceDef)>,
    generated: Option<&'a str>,
    /// The namespace and the name of a user's type.
    user_type: Option<(String, String)>,
    /// The same of a domain.
    domain: Option<(String, String)>,
}

/// The namespace and the name of a user's type, or of the array over it.
fn user_type_place(facts: &Facts, ty: SqlType) -> Option<(String, String)> {
    let (namespace, name) = type_place(facts, ty.user_type()?)?;
    Some(match ty {
        SqlType::EnumArray(_) => (namespace, format!("_{name}")),
        _ => (namespace, name),
    })
}

fn push_column(rows: &mut Rows, column: &Column<'_>) {
    let ty = column.ty.ty;
    let data_type = match ty {
        ty if ty.facts().name.starts_with('_') => "ARRAY".to_string(),
        SqlType::Enum(_) => "USER-DEFINED".to_string(),
        ty => ty.facts().sql_name.to_string(),
    };
    let (precision, radix, scale) = match ty {
        SqlType::Int2 => (Some(16), Some(2), Some(0)),
        SqlType::Int4 => (Some(32), Some(2), Some(0)),
        SqlType::Int8 => (Some(64), Some(2), Some(0)),
        SqlType::Float4 => (Some(24), Some(2), None),
        SqlType::Float8 => (Some(53), Some(2), None),
        SqlType::Numeric => match column.ty.precision_scale() {
            Some((precision, scale)) => (Some(i32::from(precision)), Some(10), Some(i32::from(scale))),
            None => (None, Some(10), None),
        },
        _ => (None, None, None),
    };
    let is_time =
        matches!(ty, SqlType::Timestamp | SqlType::Timestamptz | SqlType::Time | SqlType::Timetz | SqlType::Interval);
    let octets = match ty {
        SqlType::Text | SqlType::Varchar | SqlType::Bpchar => {
            Some(column.ty.char_length().map_or(1_073_741_824, |length| (length as i32).saturating_mul(4)))
        }
        _ => None,
    };
    let datetime_precision = match ty {
        SqlType::Date => Some(0),
        _ if is_time => Some(if column.ty.typmod >= 0 { column.ty.typmod } else { 6 }),
        _ => None,
    };
    let identity = |fact: fn(&SequenceDef) -> i64| column.identity.map(|(_, def)| fact(def).to_string());
    rows.push(cells![
        table_catalog: DATABASE_NAME, table_schema: column.namespace, table_name: column.table,
        column_name: column.name, ordinal_position: column.position, column_default: column.default,
        is_nullable: yes(!column.not_null), data_type: data_type,
        character_maximum_length: column.ty.char_length().map(|length| length as i32),
        character_octet_length: octets, numeric_precision: precision, numeric_precision_radix: radix,
        numeric_scale: scale, datetime_precision: datetime_precision, udt_catalog: DATABASE_NAME,
        udt_schema: column.user_type.as_ref().map_or("pg_catalog", |(namespace, _)| namespace.as_str()),
        udt_name: column.user_type.as_ref().map_or(ty.facts().name, |(_, name)| name.as_str()),
        domain_catalog: column.domain.as_ref().map(|_| DATABASE_NAME),
        domain_schema: column.domain.as_ref().map(|(namespace, _)| namespace.as_str()),
        domain_name: column.domain.as_ref().map(|(_, name)| name.as_str()),
        dtd_identifier: column.position.to_string(),
        is_self_referencing: "NO", is_identity: yes(column.identity.is_some()),
        identity_generation: column.identity.map(|(word, _)| word),
        identity_start: identity(|def| def.start), identity_increment: identity(|def| def.increment),
        identity_maximum: identity(|def| def.max), identity_minimum: identity(|def| def.min),
        identity_cycle: yes(column.identity.is_some_and(|(_, def)| def.cycle)),
        is_generated: if column.generated.is_some() { "ALWAYS" } else { "NEVER" },
        generation_expression: column.generated,
        is_updatable: yes(column.updatable),
    ]);
}

/// The namespace and the name of a user's type.
fn type_place(facts: &Facts, oid: u32) -> Option<(String, String)> {
    let def = facts.catalog.data_type(oid)?;
    Some((namespace_name(facts, def.namespace), def.name.clone()))
}

fn columns(facts: &Facts, rows: &mut Rows) {
    for shape in SHAPES {
        for (at, (name, ty, not_null)) in shape.columns.iter().enumerate() {
            push_column(
                rows,
                &Column {
                    namespace: shape.namespace,
                    table: shape.name,
                    name,
                    position: at as i32 + 1,
                    default: None,
                    not_null: *not_null,
                    ty: PgType::new(*ty),
                    updatable: false,
                    identity: None,
                    generated: None,
                    user_type: None,
                    domain: None,
                },
            );
        }
    }
    for view in facts.catalog.views().filter(|view| facts.sees_view(view)) {
        let namespace = namespace_name(facts, view.namespace);
        for (at, column) in view.columns.iter().enumerate() {
            push_column(
                rows,
                &Column {
                    namespace: &namespace,
                    table: view.name.as_str(),
                    name: column.name.as_str(),
                    position: at as i32 + 1,
                    default: None,
                    not_null: false,
                    ty: column.ty,
                    updatable: false,
                    identity: None,
                    generated: None,
                    user_type: user_type_place(facts, column.ty.ty),
                    domain: view.domain_of(ColumnId(at as i16 + 1)).and_then(|oid| type_place(facts, oid)),
                },
            );
        }
    }
    for table in facts.catalog.tables().filter(|table| facts.is_accessible(table)) {
        let namespace = namespace_name(facts, table.namespace);
        for column in table.live_columns() {
            let default = column.default.as_deref().map(|text| facts.shown_stored(text));
            let generated = column.generated.as_deref().map(|text| facts.shown_stored(text));
            push_column(
                rows,
                &Column {
                    namespace: &namespace,
                    table: table.name.as_str(),
                    name: column.name.as_str(),
                    position: i32::from(column.id.0),
                    default: default.as_deref(),
                    not_null: column.not_null || facts.domain_refuses_null(column.domain),
                    ty: column.ty,
                    updatable: true,
                    identity: column.identity.as_ref().and_then(|identity| {
                        let word = if identity.always { "ALWAYS" } else { "BY DEFAULT" };
                        Some((word, &**facts.catalog.sequence(identity.sequence)?))
                    }),
                    generated: generated.as_deref(),
                    user_type: user_type_place(facts, column.ty.ty),
                    domain: column.domain.and_then(|oid| type_place(facts, oid)),
                },
            );
        }
    }
}
