//! The server about itself: catalog look-ups, settings, sizes, sessions (PostgreSQL manual 9.26, 9.27).

use super::privilege::role;
use super::rows::{by_datum, f, fail, k, x};
use super::{Call, Function, Kind, SessionValue, Volatility, names};
use crate::types::oid::{quoted_ident, split_name, type_by_name, user_type_oid};
use arrow_array::ArrayRef;
use kalamdb_commons::{Datum, Numeric, Oid, PgType, Result, SqlError, SqlState, SqlType};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    k!(1299 stable "now" () -> Timestamptz = Kind::Session(SessionValue::Now)),
    k!(2647 stable "transaction_timestamp" () -> Timestamptz = Kind::Session(SessionValue::Now)),
    k!(2648 stable "statement_timestamp" () -> Timestamptz = Kind::Session(SessionValue::StatementTimestamp)),
    k!(745 stable "current_user" () -> Name = Kind::Session(SessionValue::CurrentUser)),
    k!(746 stable "session_user" () -> Name = Kind::Session(SessionValue::SessionUser)),
    k!(861 stable "current_database" () -> Name = Kind::Session(SessionValue::CurrentDatabase)),
    k!(1402 stable "current_schema" () -> Name = Kind::Session(SessionValue::CurrentSchema)),
    k!(2026 stable "pg_backend_pid" () -> Int4 = Kind::Session(SessionValue::BackendPid)),
    k!(89 stable "version" () -> Text = Kind::Session(SessionValue::Version)),
    k!(2196 stable lax "inet_client_addr" () -> Inet = Kind::Session(SessionValue::ClientAddress)),
    k!(9100 stable "current_user_id" () -> Oid = Kind::Session(SessionValue::CurrentUserId)),
    k!(2198 stable lax "inet_server_addr" () -> Inet = Kind::Session(SessionValue::ServerAddress)),
    k!(2197 stable lax "inet_client_port" () -> Int4 = Kind::Session(SessionValue::ClientPort)),
    k!(2199 stable lax "inet_server_port" () -> Int4 = Kind::Session(SessionValue::ServerPort)),

    x!(2077 stable "current_setting" (Text) -> Text = current_setting),
    x!(3294 stable "current_setting" (Text, Bool) -> Text = current_setting),
    x!(2078 volatile lax "set_config" (Text, Text, Bool) -> Text = set_config),
    x!(1403 stable "current_schemas" (Bool) -> NameArray = |args, call| by_datum(args, call, |row| {
        let path = call.around.catalog().search_path(row[0] == Datum::Bool(true));
        Ok(super::array::array(path.into_iter().map(Datum::text).collect(), SqlType::NameArray.into()))
    })),

    x!(1081 stable lax "format_type" (Oid, Int4) -> Text = |args, call| by_datum(args, call, |row| Ok(format_type(row, call)))),
    x!(1619 stable lax "pg_typeof" (Any) -> Regtype = |args, call| by_datum(args, call, |_| Ok(Datum::Oid(call.arg_types.first().map_or(SqlType::Unknown, |ty| ty.ty).oid())))),
    x!(3162 stable lax "pg_collation_for" (Any) -> Text = |args, call| by_datum(args, call, |_| collation_of(call))),
    x!(1269 stable "pg_column_size" (Any) -> Int4 = |args, call| by_datum(args, call, |row| Ok(super::size::of(&row[0], call.arg_types[0]).map_or(Datum::Null, Datum::Int4)))),
    x!(438 lax variadic "num_nulls" (Any) -> Int4 = |args, call| by_datum(args, call, |row| Ok(Datum::Int4(row.iter().filter(|item| item.is_null()).count() as i32)))),
    x!(440 lax variadic "num_nonnulls" (Any) -> Int4 = |args, call| by_datum(args, call, |row| Ok(Datum::Int4(row.iter().filter(|item| !item.is_null()).count() as i32)))),
    f!(266 "nameconcatoid" (name: Name, id: Oid) -> Name { Ok(format!("{name}_{id}")) }),

    f!(1716 stable "pg_get_expr" (expression: PgNodeTree, _relation: Oid) -> Text { Ok(expression) }),
    f!(2509 stable "pg_get_expr" (expression: PgNodeTree, _relation: Oid, pretty: Bool) -> Text { Ok(if pretty { crate::bind::pretty(expression) } else { expression.to_string() }) }),
    f!(call; 1643 stable "pg_get_indexdef" (id: Oid) -> Text { Ok(call.around.catalog().index_definition(id, 0, false)) }),
    f!(call; 2507 stable "pg_get_indexdef" (id: Oid, column: Int4, pretty: Bool) -> Text { Ok(call.around.catalog().index_definition(id, column, pretty)) }),
    f!(call; 1387 stable "pg_get_constraintdef" (id: Oid) -> Text { Ok(call.around.catalog().constraint_definition(id, false)) }),
    f!(call; 2508 stable "pg_get_constraintdef" (id: Oid, pretty: Bool) -> Text { Ok(call.around.catalog().constraint_definition(id, pretty)) }),
    f!(call; 1641 stable "pg_get_viewdef" (id: Oid) -> Text { Ok(call.around.catalog().view_definition(id, false)) }),
    f!(call; 2506 stable "pg_get_viewdef" (id: Oid, pretty: Bool) -> Text { Ok(call.around.catalog().view_definition(id, pretty)) }),
    f!(call; 3159 stable "pg_get_viewdef" (id: Oid, _wrap: Int4) -> Text { Ok(call.around.catalog().view_definition(id, true)) }),
    f!(call; 1640 stable "pg_get_viewdef" (name: Text) -> Text { Ok(call.around.catalog().view_definition(names::relation(name, call)?, false)) }),
    f!(call; 2505 stable "pg_get_viewdef" (name: Text, pretty: Bool) -> Text { Ok(call.around.catalog().view_definition(names::relation(name, call)?, pretty)) }),
    f!(call; 1642 stable "pg_get_userbyid" (id: Oid) -> Name { Ok(call.around.catalog().role_name(id).unwrap_or_else(|| format!("unknown (OID={id})"))) }),
    f!(2165 stable "pg_get_function_result" (id: Oid) -> Text { Ok(super::by_oid(id).map(result_text)) }),
    f!(2162 stable "pg_get_function_arguments" (id: Oid) -> Text { Ok(super::by_oid(id).map(argument_text)) }),
    f!(2232 stable "pg_get_function_identity_arguments" (id: Oid) -> Text { Ok(super::by_oid(id).map(argument_text)) }),
    f!(6197 stable "pg_get_function_sqlbody" (_id: Oid) -> Text { Ok(None::<String>) }),
    f!(3808 stable "pg_get_function_arg_default" (_id: Oid, _n: Int4) -> Text { Ok(None::<String>) }),
    f!(2098 stable "pg_get_functiondef" (id: Oid) -> Text { super::by_oid(id).map(definition_text).transpose() }),
    f!(1662 stable "pg_get_triggerdef" (_id: Oid) -> Text { Ok(None::<String>) }),
    f!(2730 stable "pg_get_triggerdef" (_id: Oid, _pretty: Bool) -> Text { Ok(None::<String>) }),
    f!(1573 stable "pg_get_ruledef" (_id: Oid) -> Text { Ok(None::<String>) }),
    f!(2504 stable "pg_get_ruledef" (_id: Oid, _pretty: Bool) -> Text { Ok(None::<String>) }),
    f!(3415 stable "pg_get_statisticsobjdef" (_id: Oid) -> Text { Ok(None::<String>) }),
    f!(6174 stable "pg_get_statisticsobjdef_columns" (_id: Oid) -> Text { Ok(None::<String>) }),
    f!(3352 stable "pg_get_partkeydef" (_id: Oid) -> Text { Ok(None::<String>) }),
    f!(3408 stable "pg_get_partition_constraintdef" (_id: Oid) -> Text { Ok(None::<String>) }),
    f!(6120 stable "pg_get_replica_identity_index" (_id: Regclass) -> Regclass { Ok(None::<u32>) }),
    f!(call; 1215 stable "obj_description" (id: Oid, catalog: Name) -> Text { Ok(call.around.catalog().description(id, catalog, 0)) }),
    f!(call; 1348 stable "obj_description" (id: Oid) -> Text { Ok(call.around.catalog().description(id, "pg_class", 0)) }),
    f!(call; 1216 stable "col_description" (id: Oid, column: Int4) -> Text { Ok(call.around.catalog().description(id, "pg_class", column)) }),
    f!(call; 1993 stable "shobj_description" (id: Oid, catalog: Name) -> Text { Ok(call.around.catalog().description(id, catalog, 0)) }),
    f!(call; 3537 stable "pg_describe_object" (class: Oid, object: Oid, column: Int4) -> Text { call.around.catalog().object_description(class, object, column) }),
    f!(call; 2079 stable "pg_table_is_visible" (id: Oid) -> Bool { Ok(call.around.catalog().relation_is_visible(id)) }),
    f!(call; 2080 stable "pg_type_is_visible" (id: Oid) -> Bool { Ok((SqlType::from_oid(id).is_some() || call.around.catalog().type_name(id).is_some()).then_some(true)) }),
    f!(2081 stable "pg_function_is_visible" (id: Oid) -> Bool { Ok(super::by_oid(id).map(|_| true)) }),
    f!(2082 stable "pg_operator_is_visible" (id: Oid) -> Bool { Ok(super::all_operators().any(|operator| operator.oid == id).then_some(true)) }),
    f!(2083 stable "pg_opclass_is_visible" (id: Oid) -> Bool { Ok((1..BUILT_IN_END).contains(&id).then_some(true)) }),
    f!(3829 stable "pg_opfamily_is_visible" (id: Oid) -> Bool { Ok((1..BUILT_IN_END).contains(&id).then_some(true)) }),
    f!(2093 stable "pg_conversion_is_visible" (_id: Oid) -> Bool { Ok(None::<bool>) }),
    f!(3403 stable "pg_statistics_obj_is_visible" (_id: Oid) -> Bool { Ok(None::<bool>) }),
    f!(3756 stable "pg_ts_parser_is_visible" (_id: Oid) -> Bool { Ok(None::<bool>) }),
    f!(3757 stable "pg_ts_dict_is_visible" (_id: Oid) -> Bool { Ok(None::<bool>) }),
    f!(3768 stable "pg_ts_template_is_visible" (_id: Oid) -> Bool { Ok(None::<bool>) }),
    f!(3758 stable "pg_ts_config_is_visible" (_id: Oid) -> Bool { Ok(None::<bool>) }),
    f!(3815 stable "pg_collation_is_visible" (id: Oid) -> Bool { Ok(matches!(id, 100 | 950 | 951).then_some(true)) }),
    f!(call; 3495 stable "to_regclass" (name: Text) -> Regclass { Ok(split_name(name).ok().and_then(|parts| call.around.catalog().relation_by_name(&parts)).map(|table| table.0)) }),
    f!(call; 3493 stable "to_regtype" (name: Text) -> Regtype {
        Ok(type_by_name(name).ok().map(|ty| ty.ty.oid()).or_else(|| user_type_oid(name, call.around.catalog())))
    }),
    f!(call; 4086 stable "to_regnamespace" (name: Text) -> Regnamespace { Ok(only_name(name).and_then(|name| call.around.catalog().namespace_by_name(&name))) }),
    f!(call; 4093 stable "to_regrole" (name: Text) -> Regrole { Ok(only_name(name).and_then(|name| call.around.catalog().role_by_name(&name))) }),
    f!(3494 stable "to_regproc" (name: Text) -> Regproc { Ok(built_in(name).and_then(|name| match super::by_name(&name) { [one] => Some(one.oid), _ => None })) }),
    f!(4195 stable "to_regcollation" (name: Text) -> Regcollation { Ok(built_in(name).and_then(|name| match name.as_str() { "default" => Some(100), "C" => Some(950), "POSIX" => Some(951), _ => None })) }),

    f!(call; 2997 volatile "pg_table_size" (id: Regclass) -> Int8 { Ok(call.around.catalog().relation_size(id)) }),
    f!(call; 2325 volatile "pg_relation_size" (id: Regclass) -> Int8 { Ok(call.around.catalog().relation_size(id)) }),
    f!(call; 2332 volatile "pg_relation_size" (id: Regclass, fork: Text) -> Int8 { fork_size(id, fork, call) }),
    f!(call; 2286 volatile "pg_total_relation_size" (id: Regclass) -> Int8 { Ok(call.around.catalog().relation_size(id)) }),
    f!(call; 2998 volatile "pg_indexes_size" (id: Regclass) -> Int8 { Ok(call.around.catalog().relation_size(id).map(|_| 0)) }),
    f!(call; 2168 volatile "pg_database_size" (name: Name) -> Int8 { Ok(call.around.catalog().database_size(database(name, call)?)) }),
    f!(call; 2324 volatile "pg_database_size" (id: Oid) -> Int8 { Ok(call.around.catalog().database_size(id)) }),
    f!(call; 2323 volatile "pg_tablespace_size" (name: Name) -> Int8 { Ok(tablespace_size(tablespace(name)?, call)) }),
    f!(call; 2322 volatile "pg_tablespace_size" (id: Oid) -> Int8 { Ok(tablespace_size(id, call)) }),
    f!(3778 stable "pg_tablespace_location" (_id: Oid) -> Text { Ok("") }),
    f!(2999 stable "pg_relation_filenode" (id: Regclass) -> Oid { Ok(Some(id)) }),
    f!(3034 stable "pg_relation_filepath" (_id: Regclass) -> Text { Ok(None::<String>) }),
    f!(2288 "pg_size_pretty" (bytes: Int8) -> Text { Ok(size_pretty(bytes)) }),
    f!(3166 "pg_size_pretty" (bytes: Numeric) -> Text { numeric_size_pretty(bytes) }),
    f!(3334 "pg_size_bytes" (text: Text) -> Int8 { size_bytes(text) }),

    f!(1597 stable "pg_encoding_to_char" (id: Int4) -> Name { Ok(match id { 0 => "SQL_ASCII", 6 => "UTF8", 8 => "LATIN1", _ => "" }) }),
    f!(1264 stable "pg_char_to_encoding" (name: Name) -> Int4 { Ok(match name.to_ascii_lowercase().replace(['-', '_'], "").as_str() { "sqlascii" => 0, "utf8" | "unicode" => 6, "latin1" | "iso88591" => 8, _ => -1 }) }),
    f!(1039 stable "getdatabaseencoding" () -> Name { Ok("UTF8") }),
    f!(3810 volatile "pg_is_in_recovery" () -> Bool { Ok(false) }),
    f!(3073 volatile "pg_is_wal_replay_paused" () -> Bool { Ok(false) }),
    f!(2854 stable "pg_my_temp_schema" () -> Oid { Ok(0) }),
    f!(2855 stable "pg_is_other_temp_schema" (_id: Oid) -> Bool { Ok(false) }),
    f!(call; 2560 stable "pg_postmaster_start_time" () -> Timestamptz { start_time(call) }),
    f!(call; 2034 stable "pg_conf_load_time" () -> Timestamptz { start_time(call) }),
    f!(6121 stable "pg_relation_is_publishable" (_id: Regclass) -> Bool { Ok(true) }),
    f!(3842 stable "pg_relation_is_updatable" (_id: Regclass, _triggers: Bool) -> Int4 { Ok(28) }),
    f!(3843 stable "pg_column_is_updatable" (_id: Regclass, _column: Int2, _triggers: Bool) -> Bool { Ok(true) }),
    f!(636 stable "pg_indexam_has_property" (_am: Oid, _property: Text) -> Bool { Ok(None::<bool>) }),
    f!(637 stable "pg_index_has_property" (_index: Regclass, _property: Text) -> Bool { Ok(None::<bool>) }),
    f!(638 stable "pg_index_column_has_property" (_index: Regclass, _column: Int4, _property: Text) -> Bool { Ok(None::<bool>) }),
    f!(315 volatile "pg_jit_available" () -> Bool { Ok(false) }),

    f!(2621 volatile "pg_reload_conf" () -> Bool { Ok(true) }),
    f!(3348 stable "txid_current_if_assigned" () -> Int8 { Err::<i64, _>(SqlError::unsupported("txid_current_if_assigned")) }),
    f!(3163 stable "pg_trigger_depth" () -> Int4 { Ok(0) }),


    k!(1686 stable columns(&[("word", SqlType::Text), ("catcode", SqlType::Char), ("barelabel", SqlType::Bool), ("catdesc", SqlType::Text), ("baredesc", SqlType::Text)]) "pg_get_keywords" () -> Record = Kind::Set(|_, _| Ok(Box::new(super::keyword::rows())))),
    k!(3425 volatile "pg_partition_ancestors" (Regclass) -> Regclass = Kind::Set(|_, _| Ok(Box::new(std::iter::empty())))),
    k!(3423 volatile columns(&[("relid", SqlType::Regclass), ("parentrelid", SqlType::Regclass), ("isleaf", SqlType::Bool), ("level", SqlType::Int4)]) "pg_partition_tree" (Regclass) -> Record = Kind::Set(|_, _| Ok(Box::new(std::iter::empty())))),
    k!(2289 stable columns(&[("option_name", SqlType::Text), ("option_value", SqlType::Text)]) "pg_options_to_table" (TextArray) -> Record = Kind::Set(|args, _| {
        let options: Option<Vec<String>> = super::json::texts(&args[0]).into_iter().collect();
        let Some(options) = options else {
            return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "null array element not allowed in this context");
        };
        Ok(Box::new(options.into_iter().map(|option| match option.split_once('=') {
            Some((name, value)) => Ok(vec![Datum::text(name), Datum::text(value)]),
            None => Ok(vec![Datum::text(option), Datum::Null]),
        })))
    })),
    k!(1689 stable columns(&[("grantor", SqlType::Oid), ("grantee", SqlType::Oid), ("privilege_type", SqlType::Text), ("is_grantable", SqlType::Bool)]) "aclexplode" (AclitemArray) -> Record = Kind::Set(|args, call| {
        let rows = super::array::items(&args[0]).iter().filter_map(Datum::as_str).map(|item| exploded(item, call));
        Ok(Box::new(rows.collect::<Result<Vec<_>>>()?.into_iter().flatten().map(Ok)))
    })),
    x!(3943 "acldefault" (Char, Oid) -> AclitemArray = |args, call| by_datum(args, call, |row| Ok(acl_default(row, call)))),
    f!(1928 stable "pg_stat_get_numscans" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(1929 stable "pg_stat_get_tuples_returned" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(1930 stable "pg_stat_get_tuples_fetched" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(1931 stable "pg_stat_get_tuples_inserted" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(1932 stable "pg_stat_get_tuples_updated" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(1933 stable "pg_stat_get_tuples_deleted" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(1972 stable "pg_stat_get_tuples_hot_updated" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(2878 stable "pg_stat_get_live_tuples" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(2879 stable "pg_stat_get_dead_tuples" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3177 stable "pg_stat_get_mod_since_analyze" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(5053 stable "pg_stat_get_ins_since_vacuum" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(1934 stable "pg_stat_get_blocks_fetched" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(1935 stable "pg_stat_get_blocks_hit" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(2781 stable "pg_stat_get_last_vacuum_time" (_id: Oid) -> Timestamptz { Ok(None::<i64>) }),
    f!(2782 stable "pg_stat_get_last_autovacuum_time" (_id: Oid) -> Timestamptz { Ok(None::<i64>) }),
    f!(2783 stable "pg_stat_get_last_analyze_time" (_id: Oid) -> Timestamptz { Ok(None::<i64>) }),
    f!(2784 stable "pg_stat_get_last_autoanalyze_time" (_id: Oid) -> Timestamptz { Ok(None::<i64>) }),
    f!(3054 stable "pg_stat_get_vacuum_count" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3055 stable "pg_stat_get_autovacuum_count" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3056 stable "pg_stat_get_analyze_count" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3057 stable "pg_stat_get_autoanalyze_count" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(1942 stable "pg_stat_get_db_xact_commit" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(1943 stable "pg_stat_get_db_xact_rollback" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(1944 stable "pg_stat_get_db_blocks_fetched" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(1945 stable "pg_stat_get_db_blocks_hit" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(2758 stable "pg_stat_get_db_tuples_returned" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(2759 stable "pg_stat_get_db_tuples_fetched" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(2760 stable "pg_stat_get_db_tuples_inserted" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(2761 stable "pg_stat_get_db_tuples_updated" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(2762 stable "pg_stat_get_db_tuples_deleted" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3065 stable "pg_stat_get_db_conflict_tablespace" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3066 stable "pg_stat_get_db_conflict_lock" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3067 stable "pg_stat_get_db_conflict_snapshot" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3068 stable "pg_stat_get_db_conflict_bufferpin" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3069 stable "pg_stat_get_db_conflict_startup_deadlock" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3070 stable "pg_stat_get_db_conflict_all" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3152 stable "pg_stat_get_db_deadlocks" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3426 stable "pg_stat_get_db_checksum_failures" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3428 stable "pg_stat_get_db_checksum_last_failure" (_id: Oid) -> Timestamptz { Ok(None::<i64>) }),
    f!(3074 stable "pg_stat_get_db_stat_reset_time" (_id: Oid) -> Timestamptz { Ok(None::<i64>) }),
    f!(3150 stable "pg_stat_get_db_temp_files" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3151 stable "pg_stat_get_db_temp_bytes" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(2844 stable "pg_stat_get_db_blk_read_time" (_id: Oid) -> Float8 { Ok(0_f64) }),
    f!(2845 stable "pg_stat_get_db_blk_write_time" (_id: Oid) -> Float8 { Ok(0_f64) }),
    f!(6185 stable "pg_stat_get_db_session_time" (_id: Oid) -> Float8 { Ok(0_f64) }),
    f!(6186 stable "pg_stat_get_db_active_time" (_id: Oid) -> Float8 { Ok(0_f64) }),
    f!(6187 stable "pg_stat_get_db_idle_in_transaction_time" (_id: Oid) -> Float8 { Ok(0_f64) }),
    f!(6188 stable "pg_stat_get_db_sessions" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(6189 stable "pg_stat_get_db_sessions_abandoned" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(6190 stable "pg_stat_get_db_sessions_fatal" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(6191 stable "pg_stat_get_db_sessions_killed" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(2769 stable "pg_stat_get_bgwriter_timed_checkpoints" () -> Int8 { Ok(0_i64) }),
    f!(2770 stable "pg_stat_get_bgwriter_requested_checkpoints" () -> Int8 { Ok(0_i64) }),
    f!(2771 stable "pg_stat_get_bgwriter_buf_written_checkpoints" () -> Int8 { Ok(0_i64) }),
    f!(2772 stable "pg_stat_get_bgwriter_buf_written_clean" () -> Int8 { Ok(0_i64) }),
    f!(2773 stable "pg_stat_get_bgwriter_maxwritten_clean" () -> Int8 { Ok(0_i64) }),
    f!(3075 stable "pg_stat_get_bgwriter_stat_reset_time" () -> Timestamptz { Ok(None::<i64>) }),
    f!(3160 stable "pg_stat_get_checkpoint_write_time" () -> Float8 { Ok(0_f64) }),
    f!(3161 stable "pg_stat_get_checkpoint_sync_time" () -> Float8 { Ok(0_f64) }),
    f!(2775 stable "pg_stat_get_buf_written_backend" () -> Int8 { Ok(0_i64) }),
    f!(3063 stable "pg_stat_get_buf_fsync_backend" () -> Int8 { Ok(0_i64) }),
    f!(2859 stable "pg_stat_get_buf_alloc" () -> Int8 { Ok(0_i64) }),
    f!(2978 stable "pg_stat_get_function_calls" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(2979 stable "pg_stat_get_function_total_time" (_id: Oid) -> Float8 { Ok(0_f64) }),
    f!(2980 stable "pg_stat_get_function_self_time" (_id: Oid) -> Float8 { Ok(0_f64) }),
    f!(3037 stable "pg_stat_get_xact_numscans" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3038 stable "pg_stat_get_xact_tuples_returned" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3039 stable "pg_stat_get_xact_tuples_fetched" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3040 stable "pg_stat_get_xact_tuples_inserted" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3041 stable "pg_stat_get_xact_tuples_updated" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3042 stable "pg_stat_get_xact_tuples_deleted" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3043 stable "pg_stat_get_xact_tuples_hot_updated" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3044 stable "pg_stat_get_xact_blocks_fetched" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3045 stable "pg_stat_get_xact_blocks_hit" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3046 stable "pg_stat_get_xact_function_calls" (_id: Oid) -> Int8 { Ok(0_i64) }),
    f!(3047 stable "pg_stat_get_xact_function_total_time" (_id: Oid) -> Float8 { Ok(0_f64) }),
    f!(3048 stable "pg_stat_get_xact_function_self_time" (_id: Oid) -> Float8 { Ok(0_f64) }),
    f!(3788 stable "pg_stat_get_snapshot_timestamp" () -> Timestamptz { Ok(None::<i64>) }),
];

fn current_setting(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    by_datum(args, call, |row| {
        let name = row[0].as_str().unwrap_or_default();
        match call.around.setting(name) {
            Some(value) => Ok(Datum::text(value)),
            None if row.get(1) == Some(&Datum::Bool(true)) => Ok(Datum::Null),
            None => {
                let message = format!("unrecognized configuration parameter \"{name}\"");
                fail(SqlState::UNDEFINED_OBJECT, message)
            }
        }
    })
}

fn set_config(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    by_datum(args, call, |row| {
        let Some(name) = row[0].as_str() else {
            return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "SET requires parameter name");
        };
        let local = row[2] == Datum::Bool(true);
        call.around.set_setting(name, row[1].as_str(), local).map(Datum::text)
    })
}

fn format_type(row: &[Datum], call: &Call<'_>) -> Datum {
    let Datum::Oid(oid) = row[0] else { return Datum::Null };
    let typmod = row[1].as_i64().and_then(|typmod| i32::try_from(typmod).ok());
    Datum::text(match SqlType::from_oid(oid) {
        // Without a modifier, not even -1, the name is the standard's.
        Some(SqlType::Bpchar) if typmod.is_none() => "character".to_owned(),
        Some(ty) => PgType { ty, typmod: typmod.unwrap_or(-1) }.to_string(),
        None if oid == 0 => "-".to_owned(),
        None => call.around.catalog().type_name(oid).unwrap_or_else(|| "???".to_owned()),
    })
}

/// Where the numbers of objects end that every server has.
const BUILT_IN_END: Oid = 16_384;

fn collation_of(call: &Call<'_>) -> Result<Datum> {
    let Some(ty) = call.arg_types.first().map(|ty| ty.ty) else { return Ok(Datum::Null) };
    match ty.element().unwrap_or(ty) {
        SqlType::Unknown => Ok(Datum::Null),
        SqlType::Name => Ok(Datum::text("\"C\"")),
        string if string.is_string() => Ok(Datum::text("\"default\"")),
        _ => fail(SqlState::DATATYPE_MISMATCH, format!("collations are not supported by type {ty}")),
    }
}

/// Rows have no forks beside the main one.
fn fork_size(relation: Oid, fork: &str, call: &Call<'_>) -> Result<Option<i64>> {
    let size = call.around.catalog().relation_size(relation);
    match fork {
        "main" => Ok(size),
        "fsm" | "vm" | "init" => Ok(size.map(|_| 0)),
        _ => Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "invalid fork name")
            .with_hint("Valid fork names are \"main\", \"fsm\", \"vm\", and \"init\".")),
    }
}

/// The database of a name.
///
/// # Errors
/// 3D000
pub(super) fn database(name: &str, call: &Call<'_>) -> Result<Oid> {
    call.around
        .catalog()
        .database_by_name(name)
        .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_DATABASE, format!("database \"{name}\" does not exist")))
}

/// The tablespace of a name.
///
/// # Errors
/// 42704
pub(super) fn tablespace(name: &str) -> Result<Oid> {
    let found = TABLESPACES.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, oid)| *oid)
        .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_OBJECT, format!("tablespace \"{name}\" does not exist")))
}

/// The tablespaces that every server has.
pub(super) const TABLESPACES: &[(&str, Oid)] = &[("pg_default", 1663), ("pg_global", 1664)];

fn tablespace_size(id: Oid, call: &Call<'_>) -> Option<i64> {
    let catalog = call.around.catalog();
    match id {
        1663 => catalog.database_size(catalog.database_by_name("kalamdb")?),
        1664 => Some(0),
        _ => None,
    }
}

fn result_text(function: &'static Function) -> String {
    let set = if matches!(function.kind, Kind::Set(_)) { "SETOF " } else { "" };
    format!("{set}{}", PgType::new(function.returns))
}

/// The statement that would make the function again.
fn definition_text(function: &'static Function) -> Result<String> {
    if matches!(function.kind, Kind::Aggregate(_)) {
        let message = format!("\"{}\" is an aggregate function", function.name);
        return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
    }
    let window = if matches!(function.kind, Kind::Window(_)) { " WINDOW" } else { "" };
    let volatility = match function.volatility {
        Volatility::Immutable => " IMMUTABLE",
        Volatility::Stable => " STABLE",
        Volatility::Volatile => "",
    };
    let strict = if function.strict { " STRICT" } else { "" };
    let (name, args, returns) = (function.name, argument_text(function), result_text(function));
    Ok(format!(
        "CREATE OR REPLACE FUNCTION pg_catalog.{}({args})\n RETURNS {returns}\n LANGUAGE internal\n\
         {window}{volatility} PARALLEL SAFE{strict}\nAS $function${name}$function$\n",
        quoted_ident(name)
    ))
}

fn argument_text(function: &'static Function) -> String {
    let args: Vec<String> = function.args.iter().map(|ty| PgType::new(*ty).to_string()).collect();
    args.join(", ")
}

fn only_name(text: &str) -> Option<String> {
    match split_name(text).ok()?.as_mut_slice() {
        [name] => Some(std::mem::take(name)),
        _ => None,
    }
}

fn built_in(text: &str) -> Option<String> {
    let mut parts = split_name(text).ok()?;
    let known = parts.len() == 1 || (parts.len() == 2 && parts[0] == "pg_catalog");
    known.then(|| parts.pop()).flatten()
}

/// Units grow by 1024; a number is shown in the next unit when it has more than four digits in this one.
fn size_pretty(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let mut size = i128::from(bytes);
    if size.abs() < 10 * 1024 {
        return format!("{size} bytes");
    }
    // One bit more than shown, for rounding.
    size /= 512;
    let limit = 20 * 1024 - 1;
    let mut unit = 1;
    while size.abs() >= limit && unit + 1 < UNITS.len() {
        size /= 1024;
        unit += 1;
    }
    format!("{} {}", (size + size.signum()) / 2, UNITS[unit])
}

/// As [`size_pretty`]: a fraction is shown as long as the unit is the byte.
fn numeric_size_pretty(bytes: Numeric) -> Result<String> {
    let below = |size: &Numeric, limit: i64| size.abs().compare(&Numeric::from(limit)).is_lt();
    if !bytes.is_finite() || below(&bytes, 10 * 1024) {
        return Ok(format!("{bytes} bytes"));
    }
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    // One bit more than shown, for rounding.
    let mut size = bytes.div_trunc(&Numeric::from(512_i64))?;
    let mut unit = 0;
    while !below(&size, 20 * 1024 - 1) && unit + 1 < UNITS.len() {
        size = size.div_trunc(&Numeric::from(1024_i64))?;
        unit += 1;
    }
    let half = Numeric::from(if size.sign() < 0 { -1_i64 } else { 1 });
    let rounded = size.apply(kalamdb_commons::numeric::arithmetic::Op::Add, &half)?.div_trunc(&Numeric::from(2_i64))?;
    Ok(format!("{rounded} {}", UNITS[unit]))
}

fn size_bytes(text: &str) -> Result<i64> {
    let invalid = || SqlError::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid size: \"{text}\""));
    let trimmed = text.trim();
    let end = trimmed
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && matches!(c, '-' | '+'))))
        .map_or(trimmed.len(), |(at, _)| at);
    let number = Numeric::parse(&trimmed[..end]).ok_or_else(invalid)?;
    let power: u32 = match trimmed[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => 0,
        "kb" => 10,
        "mb" => 20,
        "gb" => 30,
        "tb" => 40,
        "pb" => 50,
        other => {
            return Err(invalid()
                .with_detail(format!("Invalid size unit: \"{other}\"."))
                .with_hint("Valid units are \"bytes\", \"B\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\"."));
        }
    };
    number.apply(kalamdb_commons::numeric::arithmetic::Op::Mul, &Numeric::from(1_i64 << power))?.to_i64()
}

/// The server's start, which the session tells as a setting in microseconds.
fn start_time(call: &Call<'_>) -> Result<i64> {
    call.around
        .setting("kalam.start_time_us")
        .and_then(|us| us.parse().ok())
        .ok_or_else(|| SqlError::unsupported("the server's start time"))
}

const RIGHTS: &[(char, &str)] = &[
    ('r', "SELECT"),
    ('w', "UPDATE"),
    ('a', "INSERT"),
    ('d', "DELETE"),
    ('D', "TRUNCATE"),
    ('x', "REFERENCES"),
    ('t', "TRIGGER"),
    ('X', "EXECUTE"),
    ('U', "USAGE"),
    ('C', "CREATE"),
    ('c', "CONNECT"),
    ('T', "TEMPORARY"),
    ('s', "SET"),
    ('A', "ALTER SYSTEM"),
];

/// The rows of one `grantee=rights/grantor`.
fn exploded(item: &str, call: &Call<'_>) -> Result<Vec<Vec<Datum>>> {
    let malformed = || SqlError::internal(format!("malformed access privilege {item}"));
    let (grantee, rest) = item.rsplit_once('=').ok_or_else(malformed)?;
    let (rights, grantor) = rest.split_once('/').ok_or_else(malformed)?;
    let who = |name: &str| -> Result<Oid> {
        if name.is_empty() { Ok(0) } else { role(&Datum::text(name.trim_matches('"')), call) }
    };
    let (grantee, grantor) = (who(grantee)?, who(grantor)?);
    let mut rows = Vec::new();
    let mut rights = rights.chars().peekable();
    while let Some(right) = rights.next() {
        let grantable = rights.next_if_eq(&'*').is_some();
        if let Some((_, name)) = RIGHTS.iter().find(|(letter, _)| *letter == right) {
            rows.push(vec![Datum::Oid(grantor), Datum::Oid(grantee), Datum::text(*name), Datum::Bool(grantable)]);
        }
    }
    Ok(rows)
}

/// What a new object's owner (and everybody) may.
fn acl_default(row: &[Datum], call: &Call<'_>) -> Datum {
    let Datum::Oid(owner) = row[1] else { return Datum::Null };
    let owner = call.around.catalog().role_name(owner).unwrap_or_else(|| owner.to_string());
    let owner = crate::types::oid::quoted_ident(&owner).into_owned();
    let (rights, public) = match row[0].as_str().unwrap_or_default() {
        "r" => ("arwdDxt", ""),
        "s" => ("rwU", ""),
        "d" => ("CTc", "Tc"),
        "f" => ("X", "X"),
        "l" => ("U", "U"),
        "n" => ("UC", ""),
        "t" => ("C", ""),
        "T" => ("U", "U"),
        _ => ("", ""),
    };
    let mut items = Vec::new();
    if !public.is_empty() {
        items.push(Datum::text(format!("={public}/{owner}")));
    }
    items.push(Datum::text(format!("{owner}={rights}/{owner}")));
    super::array::array(items, SqlType::AclitemArray.into())
}
