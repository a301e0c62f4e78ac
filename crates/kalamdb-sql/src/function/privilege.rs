//! Who may what: `has_table_privilege` and its kin (PostgreSQL manual 9.26). The catalog answers.

use super::rows::{by_datum, fail, x};
use super::{Call, Function, PrivilegeObject, names};
use crate::types;
use crate::types::oid::{split_name, type_by_name};
use arrow_array::ArrayRef;
use kalamdb_commons::{Datum, Oid, Result, SqlError, SqlState, SqlType};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    x!(1922 stable "has_table_privilege" (Name, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, true)),
    x!(1923 stable "has_table_privilege" (Name, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, true)),
    x!(1924 stable "has_table_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, true)),
    x!(1925 stable "has_table_privilege" (Oid, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, true)),
    x!(1926 stable "has_table_privilege" (Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, false)),
    x!(1927 stable "has_table_privilege" (Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, false)),
    x!(2181 stable "has_sequence_privilege" (Name, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, true)),
    x!(2182 stable "has_sequence_privilege" (Name, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, true)),
    x!(2183 stable "has_sequence_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, true)),
    x!(2184 stable "has_sequence_privilege" (Oid, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, true)),
    x!(2185 stable "has_sequence_privilege" (Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, false)),
    x!(2186 stable "has_sequence_privilege" (Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, false)),
    x!(3012 stable "has_column_privilege" (Name, Text, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Column, true)),
    x!(3013 stable "has_column_privilege" (Name, Text, Int2, Text) -> Bool = |args, call| has_privilege(args, call, What::Column, true)),
    x!(3014 stable "has_column_privilege" (Name, Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Column, true)),
    x!(3015 stable "has_column_privilege" (Name, Oid, Int2, Text) -> Bool = |args, call| has_privilege(args, call, What::Column, true)),
    x!(3016 stable "has_column_privilege" (Oid, Text, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Column, true)),
    x!(3017 stable "has_column_privilege" (Oid, Text, Int2, Text) -> Bool = |args, call| has_privilege(args, call, What::Column, true)),
    x!(3018 stable "has_column_privilege" (Oid, Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Column, true)),
    x!(3019 stable "has_column_privilege" (Oid, Oid, Int2, Text) -> Bool = |args, call| has_privilege(args, call, What::Column, true)),
    x!(3020 stable "has_column_privilege" (Text, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Column, false)),
    x!(3021 stable "has_column_privilege" (Text, Int2, Text) -> Bool = |args, call| has_privilege(args, call, What::Column, false)),
    x!(3022 stable "has_column_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Column, false)),
    x!(3023 stable "has_column_privilege" (Oid, Int2, Text) -> Bool = |args, call| has_privilege(args, call, What::Column, false)),
    x!(3024 stable "has_any_column_privilege" (Name, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, true)),
    x!(3025 stable "has_any_column_privilege" (Name, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, true)),
    x!(3026 stable "has_any_column_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, true)),
    x!(3027 stable "has_any_column_privilege" (Oid, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, true)),
    x!(3028 stable "has_any_column_privilege" (Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, false)),
    x!(3029 stable "has_any_column_privilege" (Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Table, false)),
    x!(2250 stable "has_database_privilege" (Name, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Database, true)),
    x!(2251 stable "has_database_privilege" (Name, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Database, true)),
    x!(2252 stable "has_database_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Database, true)),
    x!(2253 stable "has_database_privilege" (Oid, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Database, true)),
    x!(2254 stable "has_database_privilege" (Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Database, false)),
    x!(2255 stable "has_database_privilege" (Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Database, false)),
    x!(2256 stable "has_function_privilege" (Name, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Function, true)),
    x!(2257 stable "has_function_privilege" (Name, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Function, true)),
    x!(2258 stable "has_function_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Function, true)),
    x!(2259 stable "has_function_privilege" (Oid, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Function, true)),
    x!(2260 stable "has_function_privilege" (Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Function, false)),
    x!(2261 stable "has_function_privilege" (Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Function, false)),
    x!(2262 stable "has_language_privilege" (Name, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Language, true)),
    x!(2263 stable "has_language_privilege" (Name, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Language, true)),
    x!(2264 stable "has_language_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Language, true)),
    x!(2265 stable "has_language_privilege" (Oid, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Language, true)),
    x!(2266 stable "has_language_privilege" (Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Language, false)),
    x!(2267 stable "has_language_privilege" (Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Language, false)),
    x!(2268 stable "has_schema_privilege" (Name, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Schema, true)),
    x!(2269 stable "has_schema_privilege" (Name, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Schema, true)),
    x!(2270 stable "has_schema_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Schema, true)),
    x!(2271 stable "has_schema_privilege" (Oid, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Schema, true)),
    x!(2272 stable "has_schema_privilege" (Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Schema, false)),
    x!(2273 stable "has_schema_privilege" (Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Schema, false)),
    x!(2390 stable "has_tablespace_privilege" (Name, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Tablespace, true)),
    x!(2391 stable "has_tablespace_privilege" (Name, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Tablespace, true)),
    x!(2392 stable "has_tablespace_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Tablespace, true)),
    x!(2393 stable "has_tablespace_privilege" (Oid, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Tablespace, true)),
    x!(2394 stable "has_tablespace_privilege" (Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Tablespace, false)),
    x!(2395 stable "has_tablespace_privilege" (Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Tablespace, false)),
    x!(3000 stable "has_foreign_data_wrapper_privilege" (Name, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Wrapper, true)),
    x!(3001 stable "has_foreign_data_wrapper_privilege" (Name, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Wrapper, true)),
    x!(3002 stable "has_foreign_data_wrapper_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Wrapper, true)),
    x!(3003 stable "has_foreign_data_wrapper_privilege" (Oid, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Wrapper, true)),
    x!(3004 stable "has_foreign_data_wrapper_privilege" (Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Wrapper, false)),
    x!(3005 stable "has_foreign_data_wrapper_privilege" (Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Wrapper, false)),
    x!(3006 stable "has_server_privilege" (Name, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Server, true)),
    x!(3007 stable "has_server_privilege" (Name, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Server, true)),
    x!(3008 stable "has_server_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Server, true)),
    x!(3009 stable "has_server_privilege" (Oid, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Server, true)),
    x!(3010 stable "has_server_privilege" (Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Server, false)),
    x!(3011 stable "has_server_privilege" (Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Server, false)),
    x!(3138 stable "has_type_privilege" (Name, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Type, true)),
    x!(3139 stable "has_type_privilege" (Name, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Type, true)),
    x!(3140 stable "has_type_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Type, true)),
    x!(3141 stable "has_type_privilege" (Oid, Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Type, true)),
    x!(3142 stable "has_type_privilege" (Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Type, false)),
    x!(3143 stable "has_type_privilege" (Oid, Text) -> Bool = |args, call| has_privilege(args, call, What::Type, false)),
    x!(6205 stable "has_parameter_privilege" (Name, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Parameter, true)),
    x!(6206 stable "has_parameter_privilege" (Oid, Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Parameter, true)),
    x!(6207 stable "has_parameter_privilege" (Text, Text) -> Bool = |args, call| has_privilege(args, call, What::Parameter, false)),
    x!(2705 stable "pg_has_role" (Name, Name, Text) -> Bool = |args, call| by_datum(args, call, |row| has_role(Some(&row[0]), &row[1], &row[2], call))),
    x!(2706 stable "pg_has_role" (Name, Oid, Text) -> Bool = |args, call| by_datum(args, call, |row| has_role(Some(&row[0]), &row[1], &row[2], call))),
    x!(2707 stable "pg_has_role" (Oid, Name, Text) -> Bool = |args, call| by_datum(args, call, |row| has_role(Some(&row[0]), &row[1], &row[2], call))),
    x!(2708 stable "pg_has_role" (Oid, Oid, Text) -> Bool = |args, call| by_datum(args, call, |row| has_role(Some(&row[0]), &row[1], &row[2], call))),
    x!(2709 stable "pg_has_role" (Name, Text) -> Bool = |args, call| by_datum(args, call, |row| has_role(None, &row[0], &row[1], call))),
    x!(2710 stable "pg_has_role" (Oid, Text) -> Bool = |args, call| by_datum(args, call, |row| has_role(None, &row[0], &row[1], call))),
    x!(3298 stable "row_security_active" (Oid) -> Bool = |args, call| by_datum(args, call, |_| Ok(Datum::Bool(false)))),
    x!(3299 stable "row_security_active" (Text) -> Bool = |args, call| by_datum(args, call, |_| Ok(Datum::Bool(false)))),
];

/// What the question is about.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Table,
    Column,
    Schema,
    Database,
    /// These everybody may use, where they are.
    Function,
    Type,
    Language,
    Tablespace,
    Parameter,
    /// There are none.
    Wrapper,
    Server,
}

/// A role by name or OID.
///
/// # Errors
/// 42704
pub(super) fn role(datum: &Datum, call: &Call<'_>) -> Result<Oid> {
    match datum.as_str() {
        Some(name) => call
            .around
            .catalog()
            .role_by_name(name)
            .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist"))),
        None => Ok(datum.as_i64().and_then(|oid| Oid::try_from(oid).ok()).unwrap_or(0)),
    }
}

fn oid(datum: &Datum) -> Oid {
    datum.as_i64().and_then(|oid| Oid::try_from(oid).ok()).unwrap_or(0)
}

fn has_privilege(args: &[ArrayRef], call: &Call<'_>, what: What, with_user: bool) -> Result<ArrayRef> {
    by_datum(args, call, |row| {
        let (user, rest) = match (with_user, row) {
            (true, [user, rest @ ..]) => (role(user, call)?, rest),
            _ => (call.around.current_user().0, row),
        };
        let relation = |datum: &Datum| match datum.as_str() {
            Some(name) => names::relation(name, call),
            None => Ok(oid(datum)),
        };
        let object = match what {
            What::Table => PrivilegeObject::Relation(relation(&rest[0])?),
            What::Column => {
                let table = relation(&rest[0])?;
                let number = match rest[1].as_str() {
                    Some(name) => column(table, name, call)?,
                    None => rest[1].as_i64().and_then(|number| i16::try_from(number).ok()).unwrap_or(0),
                };
                if !call.around.catalog().has_column(table, number) {
                    return Ok(Datum::Null);
                }
                PrivilegeObject::Column(table, number)
            }
            What::Schema => PrivilegeObject::Namespace(schema(&rest[0], call)?),
            What::Database => {
                if !is_database(&rest[0], call)? {
                    return Ok(Datum::Null);
                }
                PrivilegeObject::Database
            }
            what => {
                let is_there = what == What::Parameter || exists(what, &rest[0], call)?;
                let privileges = rest[rest.len() - 1].as_str().unwrap_or_default();
                return any_of(privileges, what, |_| Ok(is_there.then_some(true)));
            }
        };
        any_of(rest[rest.len() - 1].as_str().unwrap_or_default(), what, |privilege| {
            call.around.catalog().has_privilege(user, object, privilege)
        })
    })
}

/// A column's number by name.
///
/// # Errors
/// 42703
fn column(table: Oid, name: &str, call: &Call<'_>) -> Result<i16> {
    let catalog = call.around.catalog();
    let Some(relation) = catalog.relation_name(table) else { return Ok(0) };
    catalog.column_by_name(table, name).ok_or_else(|| {
        let message = format!("column \"{name}\" of relation \"{relation}\" does not exist");
        SqlError::new(SqlState::UNDEFINED_COLUMN, message)
    })
}

fn is_database(datum: &Datum, call: &Call<'_>) -> Result<bool> {
    match datum.as_str() {
        Some(name) => super::system::database(name, call).map(|_| true),
        None => Ok(call.around.catalog().database_size(oid(datum)).is_some()),
    }
}

/// Whether an object is there; by a name that means nothing, an error says so.
///
/// # Errors
/// 42704, 42883
fn exists(what: What, datum: &Datum, call: &Call<'_>) -> Result<bool> {
    let missing = |kind: &str, name: &str| {
        Err(SqlError::new(SqlState::UNDEFINED_OBJECT, format!("{kind} \"{name}\" does not exist")))
    };
    let (name, id) = (datum.as_str(), oid(datum));
    match (what, name) {
        (What::Function, Some(name)) => {
            let ty = SqlType::Regprocedure.into();
            types::from_text(name, ty, call.around.style(), call.around.catalog()).map(|_| true)
        }
        (What::Function, None) => Ok(super::by_oid(id).is_some()),
        (What::Type, Some(name)) => type_by_name(name).map(|_| true),
        (What::Type, None) => Ok(SqlType::from_oid(id).is_some() || call.around.catalog().type_name(id).is_some()),
        (What::Language, Some(name)) if LANGUAGES.iter().any(|(known, _)| *known == name) => Ok(true),
        (What::Language, Some(name)) => missing("language", name),
        (What::Language, None) => Ok(LANGUAGES.iter().any(|(_, known)| *known == id)),
        (What::Tablespace, Some(name)) => super::system::tablespace(name).map(|_| true),
        (What::Tablespace, None) => Ok(super::system::TABLESPACES.iter().any(|(_, known)| *known == id)),
        (What::Wrapper, Some(name)) => missing("foreign-data wrapper", name),
        (What::Server, Some(name)) => missing("server", name),
        _ => Ok(false),
    }
}

/// The languages of `pg_language`.
const LANGUAGES: &[(&str, Oid)] = &[("internal", 12), ("sql", 14)];

fn schema(datum: &Datum, call: &Call<'_>) -> Result<Oid> {
    let Some(name) = datum.as_str() else { return Ok(oid(datum)) };
    let bare = split_name(name)?.pop().unwrap_or_default();
    call.around
        .catalog()
        .namespace_by_name(&bare)
        .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_SCHEMA, format!("schema \"{name}\" does not exist")))
}

/// `'SELECT, UPDATE WITH GRANT OPTION'`: true when any of them is held.
fn any_of(list: &str, what: What, mut held: impl FnMut(&str) -> Result<Option<bool>>) -> Result<Datum> {
    let known: &[&str] = match what {
        What::Table => &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "RULE", "USAGE"],
        What::Column => &["SELECT", "INSERT", "UPDATE", "REFERENCES"],
        What::Schema => &["CREATE", "USAGE"],
        What::Database => &["CREATE", "CONNECT", "TEMPORARY", "TEMP"],
        What::Function => &["EXECUTE"],
        What::Tablespace => &["CREATE"],
        What::Parameter => &["SET", "ALTER SYSTEM"],
        What::Language | What::Type | What::Wrapper | What::Server => &["USAGE"],
    };
    let mut any = false;
    for privilege in list.split(',') {
        let upper = privilege.trim().to_ascii_uppercase();
        let name = upper.strip_suffix("WITH GRANT OPTION").map_or(upper.as_str(), str::trim_end);
        if !known.contains(&name) {
            let message = format!("unrecognized privilege type: \"{}\"", privilege.trim());
            return fail(SqlState::INVALID_PARAMETER_VALUE, message);
        }
        match held(name)? {
            Some(yes) => any |= yes,
            None => return Ok(Datum::Null),
        }
    }
    Ok(Datum::Bool(any))
}

/// Roles are not members of others here, so a role has only itself.
fn has_role(user: Option<&Datum>, wanted: &Datum, privilege: &Datum, call: &Call<'_>) -> Result<Datum> {
    let user = match user {
        Some(user) => role(user, call)?,
        None => call.around.current_user().0,
    };
    let wanted = role(wanted, call)?;
    for privilege in privilege.as_str().unwrap_or_default().split(',') {
        let upper = privilege.trim().to_ascii_uppercase();
        let name = upper
            .strip_suffix("WITH ADMIN OPTION")
            .or_else(|| upper.strip_suffix("WITH GRANT OPTION"))
            .map_or(upper.as_str(), str::trim_end);
        if !matches!(name, "MEMBER" | "USAGE") {
            let message = format!("unrecognized privilege type: \"{}\"", privilege.trim());
            return fail(SqlState::INVALID_PARAMETER_VALUE, message);
        }
    }
    Ok(Datum::Bool(user == wanted || user == kalamdb_commons::ids::ROOT.0))
}
