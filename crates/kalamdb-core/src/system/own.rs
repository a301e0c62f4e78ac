//! The tables of the namespace `system`, with who may see which row of them.

use super::relational::namespace_name;
use super::{Facts, Rows, at, at_maybe, cells};
use crate::settings::{SETTINGS, SettingKind, Unit};
use kalamdb_auth::authorize::{SystemTable, Visible, visible};
use kalamdb_commons::{Datum, TableId, TableType, UserId};
use kalamdb_store::{Login, TableDef};
use serde_json::json;

/// Makes the rows of one of them; `false` when it is not among them.
pub(super) fn make(name: &str, facts: &Facts, rows: &mut Rows) -> bool {
    match name {
        "users" => users(facts, rows),
        "namespaces" => namespaces(facts, rows),
        "tables" => tables(facts, rows),
        "table_schemas" => schemas(facts, rows),
        "storages" => storages(facts, rows),
        "jobs" => jobs(facts, rows),
        "live_queries" => live_queries(facts, rows),
        "sessions" => sessions(facts, rows),
        "segments" => segments(facts, rows),
        "stats" => stats(facts, rows),
        "settings" => settings(facts, rows),
        _ => return false,
    }
    true
}

/// Whether the asker may see a row that belongs to `owner`.
fn sees(facts: &Facts, table: SystemTable, owner: Option<UserId>) -> bool {
    match visible(&facts.identity, table) {
        Visible::All => true,
        Visible::Own => owner == Some(facts.identity.user),
        Visible::Nothing => false,
    }
}

fn owner_name(facts: &Facts, id: UserId) -> Option<String> {
    facts.catalog.user(id).map(|user| user.name.to_string())
}

fn users(facts: &Facts, rows: &mut Rows) {
    for user in facts.catalog.users().filter(|user| sees(facts, SystemTable::Users, Some(user.id))) {
        let (auth_type, provider, subject) = match &user.login {
            Login::Internal => ("internal", None, None),
            Login::Password { .. } => ("password", None, None),
            Login::Oauth { provider, subject } => ("oauth", Some(provider.as_str()), Some(subject.as_str())),
        };
        rows.push(cells![
            user_id: user.id.0, username: user.name.as_str(), role: user.role.as_str(), email: user.email.clone(),
            auth_type: auth_type, auth_provider: provider, auth_subject: subject, storage_mode: "table",
            storage_id: Datum::Null, metadata: user.metadata.clone(), failed_login_attempts: 0i32,
            created_at: at(user.created_at), updated_at: at(user.updated_at), deleted_at: at_maybe(user.deleted_at),
        ]);
    }
}

fn namespaces(facts: &Facts, rows: &mut Rows) {
    if !sees(facts, SystemTable::Namespaces, None) {
        return;
    }
    for namespace in facts.catalog.namespaces() {
        let count = facts.catalog.tables_of(namespace.id).count();
        rows.push(cells![
            namespace_id: namespace.id.0, name: namespace.name.as_str(), description: namespace.description.clone(),
            owner: owner_name(facts, namespace.owner), table_count: count as i64, created_at: at(namespace.created_at),
        ]);
    }
}

/// JSON as jsonb prints it.
fn jsonb(value: &serde_json::Value) -> String {
    let text = value.to_string();
    kalamdb_sql::types::json::Json::parse(&text).map_or(text, |json| json.to_string())
}

/// A table's options as JSON.
fn options(table: &TableDef) -> String {
    let mut options = serde_json::Map::new();
    if table.kind == TableType::Stream {
        options.insert("ttl_seconds".to_string(), json!(table.options.ttl_seconds));
    } else {
        options.insert("deleted_retention_hours".to_string(), json!(table.options.deleted_retention_hours));
    }
    if let Some(policy) = table.options.flush_policy {
        let rows = policy.rows.map(|rows| format!("rows:{rows}"));
        let interval = policy.interval_seconds.map(|seconds| format!("interval:{seconds}"));
        let text = rows.into_iter().chain(interval).collect::<Vec<_>>().join(",");
        options.insert("flush_policy".to_string(), json!(text));
    }
    jsonb(&serde_json::Value::Object(options))
}

fn tables(facts: &Facts, rows: &mut Rows) {
    for table in facts.catalog.tables().filter(|table| sees(facts, SystemTable::Tables, Some(table.owner))) {
        let access = (table.kind == TableType::Shared).then_some(table.access.as_str());
        let storage = (table.kind != TableType::Stream).then_some(table.storage.as_str());
        rows.push(cells![
            table_id: table.id.0, namespace: namespace_name(facts, table.namespace), table_name: table.name.as_str(),
            table_type: table.kind.as_str(), access_level: access, storage_id: storage,
            owner: owner_name(facts, table.owner), schema_version: table.schema_version as i32,
            options: options(table), created_at: at(table.created_at), updated_at: at(table.updated_at),
        ]);
    }
}

fn schemas(facts: &Facts, rows: &mut Rows) {
    let seen =
        |id: TableId| facts.catalog.table(id).filter(|table| sees(facts, SystemTable::TableSchemas, Some(table.owner)));
    for older in facts.store.table_history() {
        if seen(older.id).is_some_and(|now| older.schema_version < now.schema_version) {
            push_schema(facts, rows, &older);
        }
    }
    facts.catalog.tables().filter(|table| seen(table.id).is_some()).for_each(|table| push_schema(facts, rows, table));
}

/// One version of a table.
fn push_schema(facts: &Facts, rows: &mut Rows, table: &TableDef) {
    let columns: Vec<_> = table
        .live_columns()
        .map(|column| {
            json!({"name": column.name.as_str(), "type": facts.shown_stored(&column.ty.to_string()), "not_null": column.not_null,
                   "default": column.default.as_deref().map(|text| facts.shown_stored(text)),
                   "generated": column.generated, "identity": column.identity.map(|identity| {
                       if identity.always { "ALWAYS" } else { "BY DEFAULT" }
                   })})
        })
        .collect();
    rows.push(cells![
        table_id: table.id.0, schema_version: table.schema_version as i32,
        definition: jsonb(&json!({ "columns": columns })), created_at: at(table.updated_at),
    ]);
}

fn storages(facts: &Facts, rows: &mut Rows) {
    if sees(facts, SystemTable::Storages, None) {
        rows.push(cells![
            storage_id: "local", name: "local", description: "the data directory", storage_type: "filesystem",
            location: "segments", shared_tables_template: "{namespace}/{tableName}",
            user_tables_template: "{namespace}/{tableName}/{shard}", created_at: at(facts.started_at),
            updated_at: at(facts.started_at),
        ]);
    }
}

fn jobs(facts: &Facts, rows: &mut Rows) {
    for job in facts.jobs.iter().filter(|_| sees(facts, SystemTable::Jobs, None)) {
        rows.push(cells![
            job_id: job.job_id.as_str(), job_type: job.job_type.as_str(), namespace: job.namespace.clone(),
            table_name: job.table_name.clone(), status: job.status.as_str(), progress: job.progress.clone(),
            parameters: job.parameters.clone(), result: job.result.clone(), error: job.error.clone(),
            attempts: job.attempts, node_id: 0i32, created_at: at(job.created_at),
            started_at: at_maybe(job.started_at), finished_at: at_maybe(job.finished_at),
        ]);
    }
}

fn relation_name(facts: &Facts, table: TableId) -> Option<String> {
    let table = facts.catalog.table(table)?;
    Some(format!("{}.{}", namespace_name(facts, table.namespace), table.name))
}

fn live_queries(facts: &Facts, rows: &mut Rows) {
    for query in facts.live.iter().filter(|query| sees(facts, SystemTable::LiveQueries, Some(query.user))) {
        rows.push(cells![
            live_id: query.live_id.as_str(), session_id: query.pid, user_id: query.user.0,
            channel: query.channel.as_str(), relation: relation_name(facts, query.table), query: query.text.as_str(),
            state: query.state, queued: query.queued as i64, delivered: query.delivered as i64,
            overflowed: query.overflowed as i64, last_seq: query.last_seq.0 as i64, created_at: at(query.created_at),
            node_id: 0i32,
        ]);
    }
}

fn sessions(facts: &Facts, rows: &mut Rows) {
    for session in facts.sessions.iter().filter(|session| sees(facts, SystemTable::Sessions, Some(session.user))) {
        rows.push(cells![
            session_id: session.pid, user_id: session.user.0, role: session.role.as_str(), door: "pgwire",
            remote_addr: session.address.map(|address| address.to_string()),
            application: session.application.as_str(), state: session.activity.as_str(),
            transaction_started_at: at_maybe(session.transaction_started_at), query: session.query.as_str(),
            started_at: at(session.started_at),
        ]);
    }
}

fn segments(facts: &Facts, rows: &mut Rows) {
    for table in facts.catalog.tables().filter(|table| sees(facts, SystemTable::Segments, Some(table.owner))) {
        // A manifest that cannot be read shows as no segments here; reading the table tells the error.
        for segment in facts.store.read_view().cold(table.id).unwrap_or_default() {
            let (record, deleted) = (&segment.record, segment.deletes.len());
            rows.push(cells![
                segment_id: record.id.0 as i64, namespace: namespace_name(facts, table.namespace),
                table_name: table.name.as_str(), path: record.path.as_str(), rows: record.rows as i64,
                bytes: record.bytes as i64, min_key: Datum::Bytes(record.min_key.clone().into()),
                max_key: Datum::Bytes(record.max_key.clone().into()), min_seq: record.min_seq.0 as i64,
                max_seq: record.max_seq.0 as i64, deleted_rows: deleted as i64,
                schema_version: record.schema_version as i32, created_at: at(record.created_at),
            ]);
        }
    }
}

fn stats(facts: &Facts, rows: &mut Rows) {
    if sees(facts, SystemTable::Stats, None) {
        rows.push(cells![name: "sessions", value: facts.sessions.len() as i64, unit: "sessions"]);
        rows.push(cells![name: "live_queries", value: facts.live.len() as i64, unit: "queries"]);
        for (name, value, unit) in facts.store.stats() {
            rows.push(cells![name: name, value: value, unit: unit]);
        }
    }
}

fn settings(facts: &Facts, rows: &mut Rows) {
    for setting in SETTINGS {
        let value = facts.settings.get(setting.name).unwrap_or_default();
        let unit = match setting.kind {
            SettingKind::Integer(_, _, Unit::Ms) => Some("ms"),
            SettingKind::Integer(_, _, Unit::Kb) => Some("kB"),
            _ => None,
        };
        let source = if value == setting.default { "default" } else { "session" };
        rows.push(cells![
            name: setting.name, value: value, unit: unit, source: source, description: setting.description,
        ]);
    }
}
