//! OIDs with names: regclass and its kin. Names are the catalog's, seen through [`CatalogNames`].

use super::digits::put_u64;
use super::number::read_oid;
use super::{Encoder, cell, trim};
use crate::function::{self, CatalogNames};
use arrow_array::{Array, UInt32Array};
use bytes::{BufMut, BytesMut};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};
use std::sync::Arc;

/// The collations that exist.
const COLLATIONS: &[(u32, &str)] = &[(100, "\"default\""), (950, "\"C\""), (951, "\"POSIX\""), (12_547, "ucs_basic")];

/// Reads any type that is an OID: digits, `-` for none, or a name.
pub(super) fn read(text: &str, ty: SqlType, names: &dyn CatalogNames) -> Result<Datum> {
    if matches!(ty, SqlType::Oid | SqlType::Xid | SqlType::Cid) {
        return read_oid(text, ty.facts().sql_name).map(Datum::Oid);
    }
    let name = trim(text);
    if name == "-" {
        return Ok(Datum::Oid(0));
    }
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return read_oid(name, "oid").map(Datum::Oid);
    }
    let missing = |state, kind: &str| Err(SqlError::new(state, format!("{kind} \"{name}\" does not exist")));
    let found = match ty {
        SqlType::Regtype => return type_by_name(name).map(|ty| Datum::Oid(ty.ty.oid())),
        SqlType::Regclass => names.relation_by_name(&split_name(name)?).map(|table| table.0),
        SqlType::Regnamespace => names.namespace_by_name(&single(name)?),
        SqlType::Regrole => names.role_by_name(&single(name)?),
        SqlType::Regproc => function_by_name(name)?,
        SqlType::Regprocedure => procedure_by_signature(name)?,
        SqlType::Regcollation => {
            let bare = split_name(name)?.pop().unwrap_or_default();
            COLLATIONS.iter().find(|(_, shown)| shown.trim_matches('"') == bare).map(|(oid, _)| *oid)
        }
        SqlType::Regoper | SqlType::Regoperator => return Err(SqlError::unsupported(format!("{ty} by name"))),
        _ => return Err(SqlError::internal(format!("{ty} is no kind of OID"))),
    };
    match (found, ty) {
        (Some(oid), _) => Ok(Datum::Oid(oid)),
        (None, SqlType::Regclass) => missing(SqlState::UNDEFINED_TABLE, "relation"),
        (None, SqlType::Regnamespace) => missing(SqlState::UNDEFINED_SCHEMA, "schema"),
        (None, SqlType::Regrole) => missing(SqlState::UNDEFINED_OBJECT, "role"),
        (None, SqlType::Regcollation) => Err(SqlError::new(
            SqlState::UNDEFINED_OBJECT,
            format!("collation \"{name}\" for encoding \"UTF8\" does not exist"),
        )),
        (None, _) => missing(SqlState::UNDEFINED_FUNCTION, "function"),
    }
}

/// Splits `a.B."c.d"` into folded parts.
///
/// # Errors
/// 42602
pub fn split_name(text: &str) -> Result<Vec<String>> {
    let invalid = || SqlError::new(SqlState::INVALID_NAME, "invalid name syntax");
    let mut parts = Vec::new();
    let mut rest = trim(text);
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_part(quoted).ok_or_else(invalid)?,
            None => {
                let end = rest.find(|ch: char| ch == '.' || ch.is_whitespace()).unwrap_or(rest.len());
                (rest[..end].to_lowercase(), &rest[end..])
            }
        };
        if part.is_empty() {
            return Err(invalid());
        }
        parts.push(super::string::cut_name(&part).to_owned());
        let after = after.trim_start();
        match after.strip_prefix('.') {
            Some(more) => rest = more.trim_start(),
            None if after.is_empty() => return Ok(parts),
            None => return Err(invalid()),
        }
    }
}

/// The part up to the closing quote, and what follows it.
fn quoted_part(quoted: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = quoted;
    loop {
        let end = rest.find('"')?;
        part.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, rest)),
        }
    }
}

fn single(text: &str) -> Result<String> {
    match split_name(text)?.as_mut_slice() {
        [name] => Ok(std::mem::take(name)),
        _ => Err(SqlError::new(SqlState::INVALID_NAME, "invalid name syntax")),
    }
}

/// The last part of a name that means something built in: alone or in pg_catalog.
fn built_in(text: &str) -> Result<Option<String>> {
    let mut parts = split_name(text)?;
    Ok(match parts.as_slice() {
        [_] => parts.pop(),
        [namespace, _] if namespace == "pg_catalog" => parts.pop(),
        _ => None,
    })
}

fn function_by_name(text: &str) -> Result<Option<u32>> {
    let Some(name) = built_in(text)? else { return Ok(None) };
    match function::by_name(&name) {
        [] => Ok(None),
        [one] => Ok(Some(one.oid)),
        _ => {
            Err(SqlError::new(SqlState::AMBIGUOUS_FUNCTION, format!("more than one function named \"{}\"", trim(text))))
        }
    }
}

fn procedure_by_signature(text: &str) -> Result<Option<u32>> {
    let Some((name, args)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) else {
        return Err(SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, "expected a left parenthesis"));
    };
    let Some(name) = built_in(name)? else { return Ok(None) };
    let args = args.split(',').filter(|arg| !arg.trim().is_empty());
    let args: Vec<SqlType> = args.map(|arg| type_by_name(arg).map(|ty| ty.ty)).collect::<Result<_>>()?;
    Ok(function::by_name(&name).iter().find(|function| function.args == args).map(|function| function.oid))
}

/// The type that a written type name means (`int4`, `character varying(20)`, `text[]`, `pg_catalog."char"`).
///
/// # Errors
/// 42704 when there is none, 42601 when it is no type name.
pub fn type_by_name(text: &str) -> Result<PgType> {
    let syntax = |message: String| {
        SqlError::new(SqlState::SYNTAX_ERROR, message).with_context(format!("invalid type name \"{text}\""))
    };
    // A NULL of the type is an expression that the parser reads in one way only.
    match crate::parse::expression(&format!("CAST(NULL AS {text})")) {
        Ok(sqlparser::ast::Expr::Cast { data_type, .. }) => crate::parse::type_of(&data_type),
        Ok(_) => Err(syntax(format!("syntax error at or near \"{}\"", trim(text)))),
        Err(error) if error.state() == SqlState::SYNTAX_ERROR => Err(syntax(error.message().to_owned())),
        Err(error) => Err(error),
    }
}

/// Puts an identifier in quotes when it needs them.
pub fn quoted_ident(name: &str) -> std::borrow::Cow<'_, str> {
    let plain = name
        .bytes()
        .enumerate()
        .all(|(at, byte)| matches!(byte, b'a'..=b'z' | b'_') || (at > 0 && matches!(byte, b'0'..=b'9' | b'$')));
    // PostgreSQL quotes dollar signs, and every keyword that is not unreserved.
    if plain && !name.is_empty() && !name.contains('$') && !is_reserved(name) {
        return name.into();
    }
    format!("\"{}\"", name.replace('"', "\"\"")).into()
}

/// PostgreSQL 15's keywords of the classes R, T and C (reserved, type or function name, column name).
fn is_reserved(name: &str) -> bool {
    RESERVED.binary_search(&name).is_ok()
}

#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "between",
    "bigint", "binary", "bit", "boolean", "both", "case", "cast", "char", "character", "check", "coalesce",
    "collate", "collation", "column", "concurrently", "constraint", "create", "cross", "current_catalog",
    "current_date", "current_role", "current_schema", "current_time", "current_timestamp", "current_user", "dec",
    "decimal", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except", "exists", "extract",
    "false", "fetch", "float", "for", "foreign", "freeze", "from", "full", "grant", "greatest", "group", "grouping",
    "having", "ilike", "in", "initially", "inner", "inout", "int", "integer", "intersect", "interval", "into", "is",
    "isnull", "join", "lateral", "leading", "least", "left", "like", "limit", "localtime", "localtimestamp",
    "national", "natural", "nchar", "none", "normalize", "not", "notnull", "null", "nullif", "numeric", "offset",
    "on", "only", "or", "order", "out", "outer", "overlaps", "overlay", "placing", "position", "precision",
    "primary", "real", "references", "returning", "right", "row", "select", "session_user", "setof", "similar",
    "smallint", "some", "substring", "symmetric", "table", "tablesample", "then", "time", "timestamp", "to",
    "trailing", "treat", "trim", "true", "union", "unique", "user", "using", "values", "varchar", "variadic",
    "verbose", "when", "where", "window", "with", "xmlattributes", "xmlconcat", "xmlelement", "xmlexists",
    "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize", "xmltable",
];

/// The printed name of a function's OID: as regproc prints it.
pub fn function_name(oid: u32) -> Option<String> {
    let function = function::by_oid(oid)?;
    let name = quoted_ident(function.name);
    // PostgreSQL qualifies a name that alone would be ambiguous.
    let qualified = function::by_name(function.name).len() > 1;
    Some(if qualified { format!("pg_catalog.{name}") } else { name.into_owned() })
}

/// What an OID of a type is called.
fn name_of(ty: SqlType, oid: u32, names: &dyn CatalogNames) -> Option<String> {
    match ty {
        SqlType::Regclass => names.relation_name(oid),
        SqlType::Regtype => match SqlType::from_oid(oid) {
            Some(ty) => Some(ty.to_string()),
            None => names.type_name(oid),
        },
        SqlType::Regnamespace => names.namespace_name(oid).map(|name| quoted_ident(&name).into_owned()),
        SqlType::Regrole => names.role_name(oid).map(|name| quoted_ident(&name).into_owned()),
        SqlType::Regproc => function_name(oid),
        SqlType::Regprocedure => {
            let function = function::by_oid(oid)?;
            let args: Vec<String> = function.args.iter().map(ToString::to_string).collect();
            Some(format!("{}({})", quoted_ident(function.name), args.join(",")))
        }
        SqlType::Regcollation => COLLATIONS.iter().find(|(id, _)| *id == oid).map(|(_, name)| (*name).to_owned()),
        SqlType::Regoper | SqlType::Regoperator => {
            let operator = function::all_operators().find(|operator| operator.oid == oid)?;
            if ty == SqlType::Regoper {
                return Some(operator.name.to_owned());
            }
            let left = operator.left.map_or_else(|| "NONE".to_owned(), |ty| PgType::new(ty).to_string());
            Some(format!("{}({left},{})", operator.name, PgType::new(operator.right)))
        }
        _ => None,
    }
}

/// The name of one OID; `None` where digits are printed.
pub(super) fn shown(ty: SqlType, oid: u32, names: &dyn CatalogNames) -> Option<String> {
    if oid == 0 && !matches!(ty, SqlType::Oid | SqlType::Xid | SqlType::Cid | SqlType::Regoper) {
        return Some("-".to_owned());
    }
    name_of(ty, oid, names)
}

/// Prints a name, or digits for an OID that means nothing.
pub(super) struct NameText {
    pub ty: SqlType,
    pub names: Arc<dyn CatalogNames>,
}

impl Encoder for NameText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let oid = cell::<UInt32Array>(array).value(row);
        if oid == 0 {
            return out.put_slice(if self.ty == SqlType::Regoper { b"0" } else { b"-" });
        }
        match name_of(self.ty, oid, self.names.as_ref()) {
            Some(name) => out.put_slice(name.as_bytes()),
            None => put_u64(u64::from(oid), out),
        }
    }
}
