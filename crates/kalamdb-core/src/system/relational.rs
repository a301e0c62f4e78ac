//! pg_class, pg_attribute, pg_attrdef, pg_index, pg_constraint, pg_type, pg_namespace, pg_description: the relations
//! that describe relations.

use super::constraint::push_constraints;
use super::index::{collation_of, definition, names_of, push_index};
use super::operator_class::{BTREE, default_for, method_oid};
use super::{Facts, Rows, SHAPES, Shape, Wanted, cells, list, sequence, wants};
use kalamdb_commons::ids::{INFORMATION_SCHEMA, PG_CATALOG, PUBLIC, ROOT, SYSTEM};
use kalamdb_commons::sql_type::{TYPES, TypeFacts};
use kalamdb_commons::{ColumnId, Datum, NamespaceId, PgType, SqlType, TableId};
use kalamdb_store::{ColumnDef, IndexDef, IndexMethod, KeyDef, TableDef};

/// The access methods' OIDs, PostgreSQL's.
const HEAP: u32 = 2;
/// The system columns that DESCRIBE shows: `_seq`, `_updated`, `_deleted`.
const SYSTEM_COLUMNS: [(ColumnId, &str, SqlType); 3] = [
    (ColumnId::SEQ, "_seq", SqlType::Int8),
    (ColumnId::UPDATED, "_updated", SqlType::Timestamptz),
    (ColumnId::DELETED, "_deleted", SqlType::Bool),
];

/// Makes the rows of one of them; `false` when it is not among them.
pub(super) fn make(name: &str, facts: &Facts, wanted: &Wanted, rows: &mut Rows) -> bool {
    match name {
        "pg_namespace" => namespaces(facts, rows),
        "pg_class" => classes(facts, wanted, rows),
        "pg_attribute" => attributes(facts, wanted, rows),
        "pg_attrdef" => defaults(facts, wanted, rows),
        "pg_index" => indexes(facts, wanted, rows),
        "pg_constraint" => constraints(facts, wanted, rows),
        "pg_type" => types(facts, wanted, rows),
        "pg_enum" => super::user_type::labels(facts, rows),
        "pg_description" => descriptions(facts, rows),
        "pg_shdescription" => shared_descriptions(facts, rows),
        "pg_tables" => tables(facts, rows),
        "pg_indexes" => index_list(facts, rows),
        _ => return false,
    }
    true
}

/// The OID of a computed relation's namespace.
pub(super) fn shape_namespace(shape: &Shape) -> NamespaceId {
    match shape.namespace {
        "pg_catalog" => PG_CATALOG,
        "information_schema" => INFORMATION_SCHEMA,
        _ => SYSTEM,
    }
}

/// A namespace's name, the computed ones' too.
pub(super) fn namespace_name(facts: &Facts, id: NamespaceId) -> String {
    facts.catalog.namespace(id).map(|namespace| namespace.name.to_string()).unwrap_or_default()
}

fn namespaces(facts: &Facts, rows: &mut Rows) {
    for namespace in facts.catalog.namespaces() {
        let acl = match namespace.id {
            PUBLIC | PG_CATALOG | INFORMATION_SCHEMA => {
                list(SqlType::Aclitem, [Datum::text("root=UC/root"), Datum::text("=U/root")])
            }
            _ => Datum::Null,
        };
        rows.push(cells![
            oid: namespace.id.0, nspname: namespace.name.as_str(), nspowner: namespace.owner.0, nspacl: acl,
        ]);
    }
}

/// What one row of pg_class says beside its constants.
struct Class<'a> {
    oid: u32,
    name: &'a str,
    namespace: u32,
    row_type: u32,
    owner: u32,
    method: u32,
    kind: char,
    columns: usize,
    rows: f32,
    has_index: bool,
    checks: usize,
    has_triggers: bool,
    options: Datum,
}

fn push_class(rows: &mut Rows, class: Class<'_>) {
    rows.push(cells![
        oid: class.oid, relname: class.name, relnamespace: class.namespace, reltype: class.row_type, reloftype: 0u32,
        relowner: class.owner, relam: class.method, relfilenode: class.oid, reltablespace: 0u32,
        relpages: (class.rows / 64.0).ceil() as i32, reltuples: class.rows, relallvisible: 0i32, reltoastrelid: 0u32,
        relhasindex: class.has_index, relisshared: false, relpersistence: 'p', relkind: class.kind,
        relnatts: class.columns as i16, relchecks: class.checks as i16,
        relhasrules: class.kind == 'v' && class.row_type != 0, relhastriggers: class.has_triggers,
        relhassubclass: false, relrowsecurity: false, relforcerowsecurity: false, relispopulated: true,
        relreplident: if class.kind == 'r' { 'd' } else { 'n' }, relispartition: false, relrewrite: 0u32,
        relfrozenxid: 0u32, relminmxid: 0u32, reloptions: class.options,
    ]);
}

fn classes(facts: &Facts, wanted: &Wanted, rows: &mut Rows) {
    for shape in SHAPES.iter().filter(|shape| wants(wanted, shape.oid)) {
        push_class(
            rows,
            Class {
                oid: shape.oid,
                name: shape.name,
                namespace: shape_namespace(shape).0,
                row_type: 0,
                owner: ROOT.0,
                method: if shape.kind == 'r' { HEAP } else { 0 },
                kind: shape.kind,
                columns: shape.columns.len(),
                rows: 0.0,
                has_index: false,
                checks: 0,
                has_triggers: false,
                options: Datum::Null,
            },
        );
    }
    for view in facts.catalog.views().filter(|view| wants(wanted, view.id.0)) {
        push_class(
            rows,
            Class {
                oid: view.id.0,
                name: view.name.as_str(),
                namespace: view.namespace.0,
                row_type: view.row_type,
                owner: view.owner.0,
                method: 0,
                kind: 'v',
                columns: view.columns.len(),
                rows: -1.0,
                has_index: false,
                options: options_of(&view.options),
                checks: 0,
                has_triggers: false,
            },
        );
    }
    for def in facts.catalog.sequences().filter(|def| wants(wanted, def.id.0)) {
        push_class(
            rows,
            Class {
                oid: def.id.0,
                name: def.name.as_str(),
                namespace: def.namespace.0,
                row_type: 0,
                owner: def.owner.0,
                method: 0,
                kind: 'S',
                columns: sequence::SHAPE.columns.len(),
                checks: 0,
                rows: 1.0,
                has_index: false,
                has_triggers: false,
                options: Datum::Null,
            },
        );
    }
    for table in facts.catalog.tables() {
        if wants(wanted, table.id.0) {
            let options = options_of(&table.options.reloptions);
            push_class(
                rows,
                Class {
                    oid: table.id.0,
                    name: table.name.as_str(),
                    namespace: table.namespace.0,
                    row_type: table.row_type,
                    owner: table.owner.0,
                    method: HEAP,
                    kind: 'r',
                    columns: table.columns.len(),
                    rows: facts.row_count(table).map_or(-1.0, |count| count as f32),
                    has_index: table.primary_key.is_some() || !table.indexes.is_empty(),
                    checks: table.checks.len(),
                    has_triggers: has_triggers(facts, table),
                    options,
                },
            );
        }
        if let Some(key) = table.primary_key.as_ref().filter(|key| wants(wanted, key.index)) {
            push_class(
                rows,
                Class {
                    oid: key.index,
                    name: &key.name,
                    namespace: table.namespace.0,
                    row_type: 0,
                    owner: table.owner.0,
                    method: BTREE,
                    kind: 'i',
                    columns: key.columns.len(),
                    rows: 0.0,
                    has_index: false,
                    checks: 0,
                    has_triggers: false,
                    options: Datum::Null,
                },
            );
        }
        for index in table.indexes.iter().filter(|index| wants(wanted, index.id)) {
            push_class(
                rows,
                Class {
                    oid: index.id,
                    name: &index.name,
                    namespace: table.namespace.0,
                    row_type: 0,
                    owner: table.owner.0,
                    method: method_oid(index.method),
                    kind: 'i',
                    columns: index.keys.len() + index.include.len(),
                    rows: 0.0,
                    has_index: false,
                    checks: 0,
                    has_triggers: false,
                    options: options_of(&index.reloptions),
                },
            );
        }
    }
}

fn options_of(options: &[String]) -> Datum {
    match options {
        [] => Datum::Null,
        some => list(SqlType::Text, some.iter().map(|option| Datum::text(option.as_str()))),
    }
}

/// What one row of pg_attribute says beside its constants.
struct Attribute<'a> {
    relation: u32,
    name: &'a str,
    ty: PgType,
    number: i16,
    not_null: bool,
    has_default: bool,
    /// The domain that its type is declared by.
    domain: Option<u32>,
    identity: &'static str,
    generated: &'static str,
    dropped: bool,
    /// Where it is not the type's own.
    collation: Option<u32>,
}

impl<'a> Attribute<'a> {
    /// That of a column with nothing but a name and a type.
    fn plain(relation: u32, number: i16, name: &'a str, ty: PgType) -> Self {
        Attribute {
            relation,
            name,
            ty,
            number,
            not_null: false,
            has_default: false,
            domain: None,
            identity: "",
            generated: "",
            dropped: false,
            collation: None,
        }
    }
}

fn push_attribute(rows: &mut Rows, attribute: &Attribute<'_>) {
    let type_facts = attribute.ty.ty.facts();
    let is_text =
        matches!(type_facts.category, 'S') || type_facts.ty.element().is_some_and(|e| e.facts().category == 'S');
    rows.push(cells![
        attrelid: attribute.relation, attname: attribute.name,
        atttypid: if attribute.dropped { 0 } else { attribute.domain.unwrap_or(attribute.ty.ty.oid()) }, attstattarget: -1i32,
        attlen: type_facts.len, attnum: attribute.number, attndims: i32::from(type_facts.name.starts_with('_')),
        attcacheoff: -1i32, atttypmod: if attribute.domain.is_some() { -1 } else { attribute.ty.typmod }, attbyval: type_facts.by_value, attalign: type_facts.align,
        attstorage: type_facts.storage, attcompression: "", attnotnull: attribute.not_null,
        atthasdef: attribute.has_default, atthasmissing: false, attidentity: attribute.identity,
        attgenerated: attribute.generated,
        attisdropped: attribute.dropped, attislocal: true, attinhcount: 0i32,
        attcollation: attribute.collation.unwrap_or(match is_text {
            true if type_facts.ty == SqlType::Name => 950,
            true => 100,
            false => 0,
        }),
    ]);
}

fn attributes(facts: &Facts, wanted: &Wanted, rows: &mut Rows) {
    for shape in SHAPES.iter().filter(|shape| wants(wanted, shape.oid)) {
        for (at, (name, ty, not_null)) in shape.columns.iter().enumerate() {
            let plain = Attribute::plain(shape.oid, at as i16 + 1, name, PgType::new(*ty));
            let attribute = Attribute { not_null: *not_null, ..plain };
            push_attribute(rows, &attribute);
        }
    }
    for def in facts.catalog.sequences().filter(|def| wants(wanted, def.id.0)) {
        for (number, name, ty) in sequence::columns() {
            let attribute = Attribute { not_null: true, ..Attribute::plain(def.id.0, number, name, ty.into()) };
            push_attribute(rows, &attribute);
        }
    }
    for view in facts.catalog.views().filter(|view| wants(wanted, view.id.0)) {
        for (at, column) in view.columns.iter().enumerate() {
            let number = at as i16 + 1;
            let plain = Attribute::plain(view.id.0, number, column.name.as_str(), column.ty);
            let attribute = Attribute { domain: view.domain_of(ColumnId(number)), ..plain };
            push_attribute(rows, &attribute);
        }
    }
    for table in facts.catalog.tables() {
        if wants(wanted, table.id.0) {
            table.columns.iter().for_each(|column| push_column(rows, table.id, column, column.id.0));
            for (id, name, ty) in SYSTEM_COLUMNS {
                let attribute = Attribute::plain(table.id.0, id.0, name, ty.into());
                push_attribute(rows, &attribute);
            }
        }
        if let Some(key) = table.primary_key.as_ref().filter(|key| wants(wanted, key.index)) {
            for (at, column) in key.columns.iter().filter_map(|id| table.column(*id)).enumerate() {
                let plain = ColumnDef { default: None, identity: None, generated: None, ..column.clone() };
                push_column(rows, TableId(key.index), &plain, at as i16 + 1);
            }
        }
        for index in table.indexes.iter().filter(|index| wants(wanted, index.id)) {
            push_index_attributes(rows, table, index);
        }
    }
}

fn push_index_attributes(rows: &mut Rows, table: &TableDef, index: &IndexDef) {
    // A hash index holds hashes.
    let held = |ty: PgType| if index.method == IndexMethod::Hash { PgType::new(SqlType::Int4) } else { ty };
    let collated = |key: &kalamdb_store::IndexKey, ty: PgType| key.collation.unwrap_or_else(|| collation_of(ty.ty));
    let keys = index.keys.iter().map(|key| {
        let ty = super::index::key_type(table, key);
        (held(ty), Some(collated(key, ty)))
    });
    let columns = index.include.iter().filter_map(|id| table.column(*id)).map(|column| (column.ty, Some(0)));
    for (at, (name, (ty, collation))) in names_of(table, index).iter().zip(keys.chain(columns)).enumerate() {
        let attribute = Attribute { collation, ..Attribute::plain(index.id, at as i16 + 1, name, ty) };
        push_attribute(rows, &attribute);
    }
}

fn push_column(rows: &mut Rows, relation: TableId, column: &ColumnDef, number: i16) {
    let dropped = format!("........pg.dropped.{number}........");
    let attribute = Attribute {
        relation: relation.0,
        name: if column.dropped { &dropped } else { column.name.as_str() },
        ty: column.ty,
        number,
        not_null: column.not_null && !column.dropped,
        has_default: (column.default.is_some() || column.generated.is_some()) && !column.dropped,
        domain: column.domain,
        identity: match &column.identity {
            Some(identity) if identity.always => "a",
            Some(_) => "d",
            None => "",
        },
        generated: if column.generated.is_some() { "s" } else { "" },
        dropped: column.dropped,
        collation: None,
    };
    push_attribute(rows, &attribute);
}

/// The OID of a column's default: derived, since a default has no other life than its column's. Defaults' OIDs are
/// only compared with each other.
pub(super) fn default_oid(table: &TableDef, column: ColumnId) -> u32 {
    table.id.0.wrapping_mul(1600).wrapping_add(column.0 as u32)
}

fn defaults(facts: &Facts, wanted: &Wanted, rows: &mut Rows) {
    for table in facts.catalog.tables().filter(|table| wants(wanted, table.id.0)) {
        for column in table.live_columns() {
            if let Some(default) = column.default.as_ref().or(column.generated.as_ref()) {
                rows.push(cells![
                    oid: default_oid(table, column.id), adrelid: table.id.0, adnum: column.id.0,
                    adbin: facts.shown_stored(default),
                ]);
            }
        }
    }
}

fn vector(element: SqlType, items: impl IntoIterator<Item = Datum>) -> Datum {
    list(element, items)
}

/// The default btree operator class of a column's type.
fn operator_class(ty: SqlType) -> u32 {
    default_for(BTREE, ty).map_or(0, |class| class.oid)
}

fn key_types<'a>(table: &'a TableDef, key: &'a KeyDef) -> impl Iterator<Item = &'a ColumnDef> {
    key.columns.iter().filter_map(|id| table.column(*id))
}

fn indexes(facts: &Facts, wanted: &Wanted, rows: &mut Rows) {
    for table in facts.catalog.tables().filter(|table| wants(wanted, table.id.0)) {
        table.indexes.iter().for_each(|index| push_index(rows, table, index));
        let Some(key) = &table.primary_key else { continue };
        let count = key.columns.len();
        let collation = |column: &ColumnDef| Datum::Oid(if column.ty.ty.facts().category == 'S' { 100 } else { 0 });
        rows.push(cells![
            indexrelid: key.index, indrelid: table.id.0, indnatts: count as i16, indnkeyatts: count as i16,
            indisunique: true, indnullsnotdistinct: false, indisprimary: true, indisexclusion: false,
            indimmediate: true, indisclustered: false, indisvalid: true, indcheckxmin: false, indisready: true,
            indislive: true, indisreplident: false,
            indkey: vector(SqlType::Int2, key.columns.iter().map(|id| Datum::Int2(id.0))),
            indcollation: vector(SqlType::Oid, key_types(table, key).map(collation)),
            indclass: vector(SqlType::Oid, key_types(table, key).map(|column| Datum::Oid(operator_class(column.ty.ty)))),
            indoption: vector(SqlType::Int2, key.columns.iter().map(|_| Datum::Int2(0))),
        ]);
    }
}

fn constraints(facts: &Facts, wanted: &Wanted, rows: &mut Rows) {
    if wants(wanted, 0) {
        super::user_type::constraints(facts, rows);
    }
    for table in facts.catalog.tables().filter(|table| wants(wanted, table.id.0)) {
        push_constraints(rows, table);
    }
}

/// Whether PostgreSQL has triggers on the table: those behind foreign keys from it and to it.
fn has_triggers(facts: &Facts, table: &TableDef) -> bool {
    !table.foreign_keys.is_empty() || facts.catalog.referencing(table.id).next().is_some()
}

/// A type's input, output, receive and send functions, by PostgreSQL's naming.
fn io(facts: &TypeFacts, word: &str) -> String {
    if facts.name.starts_with('_') {
        return format!("array_{word}");
    }
    let underscored = [
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "interval",
        "numeric",
        "uuid",
        "vector",
        "json",
        "jsonb",
        "jsonpath",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
        "timetz",
        "pg_lsn",
        "pg_node_tree",
        "cash",
        "record",
        "cstring",
        "any",
        "anyarray",
        "void",
        "internal",
        "anyelement",
        "anynonarray",
        "anycompatible",
        "anycompatiblearray",
    ];
    if underscored.contains(&facts.name) {
        format!("{}_{word}", facts.name)
    } else {
        format!(
            "{}{}",
            facts.name,
            match word {
                "receive" => "recv",
                word => word,
            }
        )
    }
}

/// The collation of a type's values.
pub(super) fn collation(ty: SqlType) -> u32 {
    match ty.facts().category {
        'S' if ty == SqlType::Name => 950,
        'S' => 100,
        _ => 0,
    }
}

fn push_type(rows: &mut Rows, facts: &TypeFacts) {
    let oid_of = |name: String| kalamdb_sql::function::by_name(&name).first().map_or(0, |function| function.oid);
    let recv = io(facts, "recv");
    // A name's items are bytes.
    let element = if facts.ty == SqlType::Name { Some(SqlType::Char) } else { facts.element };
    rows.push(cells![
        oid: facts.oid, typname: facts.name, typnamespace: PG_CATALOG.0, typowner: ROOT.0, typlen: facts.len,
        typbyval: facts.by_value, typtype: facts.kind, typcategory: facts.category, typispreferred: facts.preferred,
        typisdefined: true, typdelim: ',', typrelid: 0u32,
        typsubscript: oid_of(match element {
            Some(_) if facts.len == -1 => "array_subscript_handler".to_string(),
            Some(_) => "raw_array_subscript_handler".to_string(),
            None => String::new(),
        }),
        typelem: element.map_or(0, SqlType::oid), typarray: facts.array.map_or(0, SqlType::oid),
        typinput: oid_of(io(facts, "in")), typoutput: oid_of(io(facts, "out")), typreceive: oid_of(recv),
        typsend: oid_of(io(facts, "send")), typmodin: 0u32, typmodout: 0u32, typanalyze: 0u32, typalign: facts.align,
        typstorage: facts.storage, typnotnull: false, typbasetype: 0u32, typtypmod: -1i32, typndims: 0i32,
        typcollation: collation(facts.element.unwrap_or(facts.ty)),
    ]);
}

fn types(facts: &Facts, wanted: &Wanted, rows: &mut Rows) {
    super::user_type::types(facts, wanted, rows);
    TYPES.iter().filter(|ty| wants(wanted, ty.oid)).for_each(|ty| push_type(rows, ty));
    let tables =
        facts.catalog.tables().map(|table| (table.row_type, table.id, &table.name, table.namespace, table.owner));
    let views = facts.catalog.views().map(|view| (view.row_type, view.id, &view.name, view.namespace, view.owner));
    for (oid, relation, name, namespace, owner) in tables.chain(views).filter(|(oid, ..)| wants(wanted, *oid)) {
        rows.push(cells![
            oid: oid, typname: name.as_str(), typnamespace: namespace.0,
            typowner: owner.0, typlen: -1i16, typbyval: false, typtype: 'c', typcategory: 'C',
            typispreferred: false, typisdefined: true, typdelim: ',', typrelid: relation.0, typsubscript: 0u32,
            typelem: 0u32, typarray: 0u32, typinput: 2290u32, typoutput: 2291u32, typreceive: 2402u32,
            typsend: 2403u32, typmodin: 0u32, typmodout: 0u32, typanalyze: 0u32, typalign: 'd', typstorage: 'x',
            typnotnull: false, typbasetype: 0u32, typtypmod: -1i32, typndims: 0i32, typcollation: 0u32,
        ]);
    }
}

fn descriptions(facts: &Facts, rows: &mut Rows) {
    for namespace in facts.catalog.namespaces() {
        if let Some(text) = &namespace.description {
            // 2615 is pg_namespace's own OID.
            rows.push(cells![objoid: namespace.id.0, classoid: 2615u32, objsubid: 0i32, description: text.as_str()]);
        }
    }
    for (about, text) in facts.catalog.comments().filter(|(about, _)| !SHARED_CLASSES.contains(&about.class)) {
        rows.push(cells![
            objoid: about.object, classoid: about.class, objsubid: i32::from(about.column), description: &**text,
        ]);
    }
}

/// pg_authid and pg_database: what is about their rows stands in pg_shdescription.
const SHARED_CLASSES: [u32; 2] = [1260, 1262];

fn shared_descriptions(facts: &Facts, rows: &mut Rows) {
    for (about, text) in facts.catalog.comments().filter(|(about, _)| SHARED_CLASSES.contains(&about.class)) {
        rows.push(cells![objoid: about.object, classoid: about.class, description: &**text]);
    }
}

fn tables(facts: &Facts, rows: &mut Rows) {
    let owner = |id| facts.catalog.user(id).map(|user| user.name.to_string());
    for shape in SHAPES.iter().filter(|shape| shape.kind == 'r') {
        rows.push(cells![
            schemaname: shape.namespace, tablename: shape.name, tableowner: owner(ROOT), hasindexes: false,
            hasrules: false, hastriggers: false, rowsecurity: false,
        ]);
    }
    for table in facts.catalog.tables() {
        rows.push(cells![
            schemaname: namespace_name(facts, table.namespace), tablename: table.name.as_str(),
            tableowner: owner(table.owner), hasindexes: table.primary_key.is_some() || !table.indexes.is_empty(), hasrules: false,
            hastriggers: has_triggers(facts, table), rowsecurity: false,
        ]);
    }
}

/// What `pg_get_indexdef` prints for a primary key.
pub(super) fn index_definition(namespace: &str, table: &TableDef, key: &KeyDef) -> String {
    let columns: Vec<String> = key_types(table, key).map(|column| quoted(column.name.as_str())).collect();
    format!(
        "CREATE UNIQUE INDEX {} ON {}.{} USING btree ({})",
        quoted(&key.name),
        quoted(namespace),
        quoted(table.name.as_str()),
        columns.join(", ")
    )
}

/// An identifier, quoted where it must be.
pub(super) fn quoted(name: &str) -> String {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$');
    if first && rest && !kalamdb_sql::parse::is_reserved(name) {
        return name.to_string();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn index_list(facts: &Facts, rows: &mut Rows) {
    for table in facts.catalog.tables() {
        if let Some(key) = &table.primary_key {
            let namespace = namespace_name(facts, table.namespace);
            let definition = index_definition(&namespace, table, key);
            rows.push(cells![
                schemaname: namespace, tablename: table.name.as_str(), indexname: key.name.as_str(),
                indexdef: definition,
            ]);
        }
        for index in &table.indexes {
            let namespace = namespace_name(facts, table.namespace);
            rows.push(cells![
                schemaname: namespace.as_str(), tablename: table.name.as_str(), indexname: index.name.as_str(),
                indexdef: definition(Some(&namespace), table, index, 0, false),
            ]);
        }
    }
}
