//! Users' types as the catalog shows them: pg_type, pg_enum, information_schema.domains.

use super::relational::{collation, namespace_name};
use super::{Facts, Rows, Wanted, cells, wants};
use crate::settings::DATABASE_NAME;
use kalamdb_sql::function;
use kalamdb_store::{TypeDef, TypeKind};

/// The OID of a function by its name.
fn function_oid(name: &str) -> u32 {
    function::by_name(name).first().map_or(0, |function| function.oid)
}

/// The rows of pg_type.
pub(super) fn types(facts: &Facts, wanted: &Wanted, rows: &mut Rows) {
    for def in facts.catalog.data_types() {
        if wants(wanted, def.id) {
            push(facts, def, rows);
        }
        if wants(wanted, def.array) {
            rows.push(cells![
                oid: def.array, typname: format!("_{}", def.name), typnamespace: def.namespace.0,
                typowner: def.owner.0, typlen: -1i16, typbyval: false, typtype: 'b', typcategory: 'A',
                typispreferred: false, typisdefined: true, typdelim: ',', typrelid: 0u32,
                typsubscript: function_oid("array_subscript_handler"), typelem: def.id, typarray: 0u32,
                typinput: function_oid("array_in"), typoutput: function_oid("array_out"),
                typreceive: function_oid("array_recv"), typsend: function_oid("array_send"), typmodin: 0u32,
                typmodout: 0u32, typanalyze: 0u32, typalign: 'i', typstorage: 'x', typnotnull: false,
                typbasetype: 0u32, typtypmod: -1i32, typndims: 0i32, typcollation: item_collation(def),
            ]);
        }
    }
}

/// The collation of a type's values, and of those in an array of them.
fn item_collation(def: &TypeDef) -> u32 {
    match &def.kind {
        TypeKind::Enum(_) => 0,
        TypeKind::Domain { base, .. } => collation(base.ty.element().unwrap_or(base.ty)),
    }
}

fn push(facts: &Facts, def: &TypeDef, rows: &mut Rows) {
    match &def.kind {
        TypeKind::Enum(_) => rows.push(cells![
            oid: def.id, typname: def.name.as_str(), typnamespace: def.namespace.0, typowner: def.owner.0,
            typlen: 4i16, typbyval: true, typtype: 'e', typcategory: 'E', typispreferred: false, typisdefined: true,
            typdelim: ',', typrelid: 0u32, typsubscript: 0u32, typelem: 0u32, typarray: def.array,
            typinput: function_oid("enum_in"), typoutput: function_oid("enum_out"),
            typreceive: function_oid("enum_recv"), typsend: function_oid("enum_send"), typmodin: 0u32,
            typmodout: 0u32, typanalyze: 0u32, typalign: 'i', typstorage: 'p', typnotnull: false, typbasetype: 0u32,
            typtypmod: -1i32, typndims: 0i32, typcollation: 0u32,
        ]),
        TypeKind::Domain { base, not_null, default, .. } => {
            let below = base.ty.facts();
            rows.push(cells![
                oid: def.id, typname: def.name.as_str(), typnamespace: def.namespace.0, typowner: def.owner.0,
                typlen: below.len, typbyval: below.by_value, typtype: 'd', typcategory: below.category,
                typispreferred: false, typisdefined: true, typdelim: ',', typrelid: 0u32, typsubscript: 0u32,
                typelem: 0u32, typarray: def.array, typinput: function_oid("domain_in"), typoutput: 0u32,
                typreceive: function_oid("domain_recv"), typsend: 0u32, typmodin: 0u32, typmodout: 0u32,
                typanalyze: 0u32, typalign: below.align, typstorage: below.storage, typnotnull: *not_null,
                typbasetype: base.ty.oid(), typtypmod: base.typmod, typndims: 0i32,
                typcollation: item_collation(def),
                typdefaultbin: default.as_deref().map(|text| facts.shown_stored(text)),
                typdefault: default.as_deref().map(|text| facts.shown_stored(text)),
            ]);
        }
    }
}

/// The rows of pg_enum.
pub(super) fn labels(facts: &Facts, rows: &mut Rows) {
    for def in facts.catalog.data_types() {
        let TypeKind::Enum(labels) = &def.kind else { continue };
        for label in labels {
            rows.push(cells![
                oid: label.id, enumtypid: def.id, enumsortorder: label.sort_order(), enumlabel: label.label.as_str(),
            ]);
        }
    }
}

/// The rows of pg_constraint that domains have.
pub(super) fn constraints(facts: &Facts, rows: &mut Rows) {
    for def in facts.catalog.data_types() {
        let TypeKind::Domain { checks, .. } = &def.kind else { continue };
        for check in checks {
            rows.push(cells![
                oid: check.id, conname: check.name.as_str(), connamespace: def.namespace.0, contype: 'c',
                condeferrable: false, condeferred: false, convalidated: check.validated, conrelid: 0u32,
                contypid: def.id, conindid: 0u32, conparentid: 0u32, confrelid: 0u32, confupdtype: " ",
                confdeltype: " ", confmatchtype: " ", conislocal: true, coninhcount: 0i32, connoinherit: false,
                conbin: facts.shown_stored(&shown_value(&check.expression)),
            ]);
        }
    }
}

/// A domain's condition as PostgreSQL prints it: its value is the word VALUE.
pub(super) fn shown_value(expression: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '"';
    let mut shown = String::with_capacity(expression.len());
    for (at, piece) in expression.split('\'').enumerate() {
        if at > 0 {
            shown.push('\'');
        }
        // Every other piece is inside a text.
        if at % 2 == 1 {
            shown.push_str(piece);
            continue;
        }
        let mut from = 0;
        for (start, word) in piece.match_indices("value") {
            let end = start + word.len();
            let alone = !piece[..start].ends_with(is_part) && !piece[end..].starts_with(is_part);
            shown.push_str(&piece[from..start]);
            shown.push_str(if alone { "VALUE" } else { word });
            from = end;
        }
        shown.push_str(&piece[from..]);
    }
    shown
}

/// information_schema.domains
pub(super) fn domains(facts: &Facts, rows: &mut Rows) {
    for def in facts.catalog.data_types() {
        let TypeKind::Domain { base, default, .. } = &def.kind else { continue };
        let shown = facts.shown_stored(&kalamdb_commons::PgType::new(base.ty).to_string());
        rows.push(cells![
            domain_catalog: DATABASE_NAME, domain_schema: namespace_name(facts, def.namespace),
            domain_name: def.name.as_str(),
            data_type: if base.ty.user_type().is_some() { "USER-DEFINED".to_string() } else { shown },
            character_maximum_length: base.char_length().map(|length| length as i32),
            domain_default: default.as_deref().map(|text| facts.shown_stored(text)), udt_catalog: DATABASE_NAME,
            udt_schema: "pg_catalog", udt_name: base.ty.facts().name, dtd_identifier: "1",
        ]);
    }
}
