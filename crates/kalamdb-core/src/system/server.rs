//! What pg_catalog says of the server: databases, roles, settings, sessions, statistics.

use super::{Facts, Rows, at, at_maybe, cells, list};
use crate::settings::{DATABASE_NAME, DATABASE_OID};
use crate::settings::{Effect, SETTINGS, SettingKind, Unit};
use kalamdb_commons::ids::ROOT;
use kalamdb_commons::{Datum, Interval, Role, SqlType};
use kalamdb_sql::types::datetime::zone;
use kalamdb_store::UserDef;

/// Makes the rows of one of them; `false` when it is not among them.
pub(super) fn make(name: &str, facts: &Facts, rows: &mut Rows) -> bool {
    match name {
        "pg_database" => databases(rows),
        "pg_tablespace" => tablespaces(rows),
        "pg_roles" | "pg_authid" => roles(facts, name == "pg_roles", rows),
        "pg_user" | "pg_shadow" => users(facts, rows),
        "pg_settings" => setting_rows(facts, rows),
        "pg_timezone_names" => zones(rows),
        "pg_prepared_statements" => prepared_statements(facts, rows),
        "pg_cursors" => cursors(facts, rows),
        "pg_stat_activity" => activity(facts, rows),
        "pg_locks" => advisory_locks(facts, rows),
        "pg_stat_user_tables" | "pg_stat_all_tables" => table_statistics(facts, rows),
        "pg_stat_database" => {
            rows.push(cells![datid: DATABASE_OID, datname: DATABASE_NAME, numbackends: facts.sessions.len() as i32]);
        }
        _ => return false,
    }
    true
}

fn databases(rows: &mut Rows) {
    rows.push(cells![
        oid: DATABASE_OID, datname: DATABASE_NAME, datdba: ROOT.0, encoding: 6i32, datlocprovider: 'c',
        datistemplate: false, datallowconn: true, datconnlimit: -1i32, datfrozenxid: 0u32, datminmxid: 0u32,
        dattablespace: 1663u32, datcollate: "C", datctype: "C.UTF-8",
    ]);
}

/// The zones that TimeZone takes, as they stand now.
fn zones(rows: &mut Rows) {
    let now = kalamdb_commons::clock::now_us();
    for name in zone::names() {
        let zone::Moment { abbreviation, offset, is_dst } = zone::at(name, now);
        let offset = Datum::Interval(Interval { us: i64::from(offset) * 1_000_000, ..Interval::default() });
        rows.push(cells![name: name, abbrev: abbreviation, utc_offset: offset, is_dst: is_dst]);
    }
}

/// Of the asking session, as in PostgreSQL.
fn prepared_statements(facts: &Facts, rows: &mut Rows) {
    // The protocol's unnamed statement is not told.
    for statement in facts.prepared.iter().filter(|statement| !statement.name.is_empty()) {
        let types = statement.parameters.iter().map(|ty| Datum::Oid(ty.oid()));
        rows.push(cells![
            name: statement.name.as_str(), statement: statement.statement.as_str(),
            prepare_time: at(statement.prepared_at), parameter_types: list(SqlType::Regtype, types),
            from_sql: statement.by_sql, generic_plans: 0i64, custom_plans: statement.executed,
        ]);
    }
}

fn cursors(facts: &Facts, rows: &mut Rows) {
    for cursor in &facts.cursors {
        rows.push(cells![
            name: cursor.name.as_str(), statement: cursor.statement.as_str(), is_holdable: cursor.is_holdable,
            is_binary: cursor.is_binary, is_scrollable: cursor.is_scrollable, creation_time: at(cursor.created_at),
        ]);
    }
}

fn tablespaces(rows: &mut Rows) {
    for (oid, name) in [(1663u32, "pg_default"), (1664, "pg_global")] {
        rows.push(cells![oid: oid, spcname: name, spcowner: ROOT.0]);
    }
}

/// Users as roles, by those who may see them: everybody sees names (PostgreSQL's pg_roles), nobody secrets.
fn visible_users(facts: &Facts) -> Vec<UserDef> {
    facts.catalog.users().filter(|user| user.deleted_at.is_none()).map(|user| (**user).clone()).collect()
}

fn roles(facts: &Facts, masked: bool, rows: &mut Rows) {
    for user in visible_users(facts) {
        let is_dba = user.role >= Role::Dba;
        let row = cells![
            oid: user.id.0, rolname: user.name.as_str(), rolsuper: user.role == Role::System, rolinherit: true,
            rolcreaterole: is_dba, rolcreatedb: false, rolcanlogin: true, rolreplication: false, rolbypassrls: false,
            rolconnlimit: -1i32, rolpassword: masked.then_some("********"),
        ];
        rows.push(row);
    }
}

fn users(facts: &Facts, rows: &mut Rows) {
    for user in visible_users(facts) {
        rows.push(cells![
            usename: user.name.as_str(), usesysid: user.id.0, usecreatedb: false,
            usesuper: user.role == Role::System, userepl: false, usebypassrls: false, passwd: "********",
        ]);
    }
}

fn setting_rows(facts: &Facts, rows: &mut Rows) {
    for setting in SETTINGS {
        let value = facts.settings.get(setting.name).unwrap_or_default();
        let (vartype, low, high) = match setting.kind {
            SettingKind::Bool => ("bool", None, None),
            SettingKind::Integer(low, high, _) => ("integer", Some(low.to_string()), Some(high.to_string())),
            SettingKind::Real => ("real", None, None),
            SettingKind::Word(_) => ("enum", None, None),
            SettingKind::Text | SettingKind::Special => ("string", None, None),
        };
        let unit = match setting.kind {
            SettingKind::Integer(_, _, Unit::Ms) => Some("ms"),
            SettingKind::Integer(_, _, Unit::Kb) => Some("kB"),
            _ => None,
        };
        let words = match setting.kind {
            SettingKind::Word(words) => list(SqlType::Text, words.iter().map(|word| Datum::text(*word))),
            _ => Datum::Null,
        };
        let source = if value == setting.default { "default" } else { "session" };
        rows.push(cells![
            name: setting.name, setting: value, unit: unit, category: "KalamDB", short_desc: setting.description,
            context: if setting.effect == Effect::Fixed { "internal" } else { "user" }, vartype: vartype,
            source: source, min_val: low, max_val: high, enumvals: words, boot_val: setting.default,
            reset_val: setting.default, pending_restart: false,
        ]);
    }
}

fn activity(facts: &Facts, rows: &mut Rows) {
    for session in &facts.sessions {
        let may_see = session.user == facts.identity.user || facts.identity.role >= Role::Dba;
        let query = if may_see { session.query.clone() } else { "<insufficient privilege>".to_string() };
        rows.push(cells![
            datid: DATABASE_OID, datname: DATABASE_NAME, pid: session.pid, usesysid: session.user.0,
            usename: session.user_name.as_str(), application_name: session.application.as_str(),
            client_addr: session
                .address
                .filter(|_| may_see)
                .map_or(Datum::Null, |address| kalamdb_sql::types::inet_of(address.ip())),
            client_port: session.address.filter(|_| may_see).map(|address| i32::from(address.port())),
            backend_start: at(session.started_at), xact_start: at_maybe(session.transaction_started_at),
            query_start: at_maybe(session.query_started_at), state_change: at(session.state_changed_at),
            state: session.activity.as_str(), query: query, backend_type: "client backend",
        ]);
    }
}

/// Advisory locks; those of rows and tables are not shown.
fn advisory_locks(facts: &Facts, rows: &mut Rows) {
    for lock in &facts.advisory_locks {
        let (key, is_two) = lock.key;
        rows.push(cells![
            locktype: "advisory", database: DATABASE_OID, classid: (key >> 32) as u32, objid: key as u32,
            objsubid: Datum::Int2(if is_two { 2 } else { 1 }), pid: lock.pid,
            mode: if lock.shared { "ShareLock" } else { "ExclusiveLock" }, granted: lock.granted, fastpath: false,
        ]);
    }
}

fn table_statistics(facts: &Facts, rows: &mut Rows) {
    for table in facts.catalog.tables() {
        rows.push(cells![
            relid: table.id.0, schemaname: super::relational::namespace_name(facts, table.namespace),
            relname: table.name.as_str(), n_live_tup: facts.row_count(table).unwrap_or_default() as i64,
            n_dead_tup: 0i64, seq_scan: 0i64, seq_tup_read: 0i64,
        ]);
    }
}
