//! OIDs with names: regclass and its kin. Names are the catalog's, seen through [`CatalogNames`].

use super::digits::put_u64;
use super::number::{read_oid, read_unsigned};
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
    match ty {
        SqlType::Oid => return read_oid(text, ty.facts().sql_name).map(Datum::Oid),
        SqlType::Xid | SqlType::Cid => return Ok(Datum::Oid(read_unsigned(text) as u32)),
        _ => {}
    }
    let name = trim(text);
    if name == "-" && !matches!(ty, SqlType::Regoper | SqlType::Regoperator) {
        return Ok(Datum::Oid(0));
    }
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return read_oid(name, "oid").map(Datum::Oid);
    }
    let missing = |state, kind: &str, shown: &str| SqlError::new(state, format!("{kind} \"{shown}\" does not exist"));
    let found = match ty {
        SqlType::Regtype => return regtype(name, names).map(Datum::Oid),
        SqlType::Regclass => {
            let parts = qualified(split_name(name)?, ty, names)?;
            let found = names.relation_by_name(&parts).map(|table| table.0);
            found.ok_or_else(|| missing(SqlState::UNDEFINED_TABLE, "relation", &parts.join(".")))
        }
        SqlType::Regnamespace => {
            let name = single(name)?;
            names.namespace_by_name(&name).ok_or_else(|| missing(SqlState::UNDEFINED_SCHEMA, "schema", &name))
        }
        SqlType::Regrole => {
            let name = single(name)?;
            names.role_by_name(&name).ok_or_else(|| missing(SqlState::UNDEFINED_OBJECT, "role", &name))
        }
        SqlType::Regproc => {
            function_by_name(name, names)?.ok_or_else(|| missing(SqlState::UNDEFINED_FUNCTION, "function", name))
        }
        SqlType::Regprocedure => {
            procedure_by_signature(name, names)?.ok_or_else(|| missing(SqlState::UNDEFINED_FUNCTION, "function", name))
        }
        SqlType::Regcollation => {
            let parts = qualified(split_name(name)?, ty, names)?;
            let known =
                COLLATIONS.iter().find(|(_, shown)| Some(shown.trim_matches('"')) == parts.last().map(String::as_str));
            known.filter(|_| parts.len() == 1 || parts[0] == "pg_catalog").map(|(oid, _)| *oid).ok_or_else(|| {
                let message = format!("collation \"{}\" for encoding \"UTF8\" does not exist", parts.join("."));
                SqlError::new(SqlState::UNDEFINED_OBJECT, message)
            })
        }
        SqlType::Regoper => operator_by_name(name, names),
        SqlType::Regoperator => operator_by_signature(name, names),
        _ => Err(SqlError::internal(format!("{ty} is no kind of OID"))),
    };
    found.map(Datum::Oid)
}

/// A qualified name whose database is left out and whose namespace exists.
fn qualified(mut parts: Vec<String>, ty: SqlType, names: &dyn CatalogNames) -> Result<Vec<String>> {
    let shown = parts.join(".");
    if parts.len() > 3 {
        let kind = if ty == SqlType::Regclass { "relation" } else { "qualified" };
        let message = format!("improper {kind} name (too many dotted names): {shown}");
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
    }
    if parts.len() == 3 {
        // One server serves one database, which has two names.
        if !matches!(parts[0].as_str(), "kalamdb" | "postgres") {
            let quote = if ty == SqlType::Regclass { "\"" } else { "" };
            let message = format!("cross-database references are not implemented: {quote}{shown}{quote}");
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        parts.remove(0);
    }
    if parts.len() == 2 && names.namespace_by_name(&parts[0]).is_none() {
        return Err(SqlError::new(SqlState::UNDEFINED_SCHEMA, format!("schema \"{}\" does not exist", parts[0])));
    }
    Ok(parts)
}

/// A type's OID; a table's name is its row type's in PostgreSQL, which is not there.
fn regtype(name: &str, names: &dyn CatalogNames) -> Result<u32> {
    if name.is_empty() {
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, "invalid type name \"\""));
    }
    let found = type_by_name(name).map(|ty| ty.ty.oid());
    if let (Err(error), Some(oid)) = (&found, user_type_oid(name, names))
        && error.state() == SqlState::UNDEFINED_OBJECT
    {
        return Ok(oid);
    }
    found.map_err(|error| {
        if error.state() != SqlState::UNDEFINED_OBJECT {
            return error;
        }
        // A namespace that is not there is told first.
        let parts = split_name(name).and_then(|parts| qualified(parts, SqlType::Regtype, names));
        match parts {
            Err(earlier) if earlier.state() != SqlState::INVALID_NAME => earlier,
            _ => error,
        }
    })
}

fn no_operator(text: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {text}"))
}

/// The operators that a name means: `+`, `pg_catalog.+`.
fn operators_named(text: &str, names: &dyn CatalogNames) -> Result<&'static [&'static function::Operator]> {
    let parts = qualified(split_name(text)?, SqlType::Regoper, names)?;
    let built_in = parts.len() == 1 || parts[0] == "pg_catalog";
    Ok(parts.last().filter(|_| built_in).map_or(&[], |name| function::operators(name)))
}

fn operator_by_name(text: &str, names: &dyn CatalogNames) -> Result<u32> {
    match operators_named(text, names)? {
        [] => Err(no_operator(text)),
        [one] => Ok(one.oid),
        _ => Err(SqlError::new(SqlState::AMBIGUOUS_FUNCTION, format!("more than one operator named {text}"))),
    }
}

fn operator_by_signature(text: &str, names: &dyn CatalogNames) -> Result<u32> {
    let (name, args) = signature(text)?;
    let types: Vec<Option<SqlType>> =
        args.iter()
            .map(|arg| {
                if trim(arg).eq_ignore_ascii_case("none") { Ok(None) } else { type_by_name(arg).map(|ty| Some(ty.ty)) }
            })
            .collect::<Result<_>>()?;
    let (left, right) = match types.as_slice() {
        [_] => {
            return Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, "missing argument")
                .with_hint("Use NONE to denote the missing argument of a unary operator."));
        }
        [left, right] => (*left, *right),
        _ => {
            return Err(SqlError::new(SqlState::TOO_MANY_ARGUMENTS, "too many arguments")
                .with_hint("Provide two argument types for operator."));
        }
    };
    let found = operators_named(name, names)?.iter().find(|known| known.left == left && Some(known.right) == right);
    found.map(|operator| operator.oid).ok_or_else(|| no_operator(text))
}

/// A name and the texts of the types in the brackets behind it.
fn signature(text: &str) -> Result<(&str, Vec<&str>)> {
    let wrong = |message: &str| SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message);
    let (name, rest) = text.split_once('(').ok_or_else(|| wrong("expected a left parenthesis"))?;
    let inner = rest.strip_suffix(')').ok_or_else(|| wrong("expected a right parenthesis"))?;
    if trim(inner).is_empty() {
        return Ok((name, Vec::new()));
    }
    // Commas inside brackets and quotes are the type's own.
    let (mut args, mut depth, mut quoted, mut start) = (Vec::new(), 0, false, 0);
    for (at, ch) in inner.char_indices() {
        match ch {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                args.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    args.push(&inner[start..]);
    if args.iter().any(|arg| trim(arg).is_empty()) {
        return Err(wrong("expected a type name"));
    }
    Ok((name, args))
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
fn built_in(text: &str, names: &dyn CatalogNames) -> Result<Option<String>> {
    let mut parts = qualified(split_name(text)?, SqlType::Regproc, names)?;
    Ok(match parts.as_slice() {
        [_] => parts.pop(),
        [namespace, _] if namespace == "pg_catalog" => parts.pop(),
        _ => None,
    })
}

fn function_by_name(text: &str, names: &dyn CatalogNames) -> Result<Option<u32>> {
    let Some(name) = built_in(text, names)? else { return Ok(None) };
    match function::by_name(&name) {
        [] => Ok(None),
        [one] => Ok(Some(one.oid)),
        _ => {
            Err(SqlError::new(SqlState::AMBIGUOUS_FUNCTION, format!("more than one function named \"{}\"", trim(text))))
        }
    }
}

fn procedure_by_signature(text: &str, names: &dyn CatalogNames) -> Result<Option<u32>> {
    let (name, args) = signature(text)?;
    let Some(name) = built_in(name, names)? else { return Ok(None) };
    let args: Vec<SqlType> = args.into_iter().map(|arg| type_by_name(arg).map(|ty| ty.ty)).collect::<Result<_>>()?;
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
        Err(error) if error.state() == SqlState::SYNTAX_ERROR => {
            // A mark that begins no type is where PostgreSQL stops; the parser goes on to what stands behind the name.
            match trim(text).chars().next().filter(|first| !first.is_alphanumeric() && !"_\"".contains(*first)) {
                Some(first) => Err(syntax(format!("syntax error at or near \"{first}\""))),
                None => Err(syntax(error.message().to_owned())),
            }
        }
        Err(error) => Err(error),
    }
}

/// The OID of a user's type, or of the array over it, by its name.
pub fn user_type_oid(text: &str, names: &dyn CatalogNames) -> Option<u32> {
    let (text, is_array) = match trim(text).strip_suffix("[]") {
        Some(element) => (element, true),
        None => (trim(text), false),
    };
    let found = names.user_type(&split_name(text).ok()?)?;
    Some(if is_array { found.array } else { found.oid })
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
                // PostgreSQL qualifies a name that alone would be ambiguous.
                let several = function::operators(operator.name).len() > 1;
                return Some(format!("{}{}", if several { "pg_catalog." } else { "" }, operator.name));
            }
            let left = operator.left.map_or_else(|| "NONE".to_owned(), |ty| PgType::new(ty).to_string());
            Some(format!("{}({left},{})", operator.name, PgType::new(operator.right)))
        }
        _ => None,
    }
}

/// The name of one OID; `None` where digits are printed.
pub(super) fn shown(ty: SqlType, oid: u32, names: &dyn CatalogNames) -> Option<String> {
    if oid == 0 && !matches!(ty, SqlType::Oid | SqlType::Xid | SqlType::Cid | SqlType::Regoper | SqlType::Regoperator) {
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
            let is_operator = matches!(self.ty, SqlType::Regoper | SqlType::Regoperator);
            return out.put_slice(if is_operator { b"0" } else { b"-" });
        }
        match name_of(self.ty, oid, self.names.as_ref()) {
            Some(name) => out.put_slice(name.as_bytes()),
            None => put_u64(u64::from(oid), out),
        }
    }
}
