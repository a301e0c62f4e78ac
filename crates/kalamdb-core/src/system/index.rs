//! Indexes as pg_catalog tells them: `pg_get_indexdef`, the columns' names, pg_index.

use super::operator_class::{self, default_for, method_name, method_oid};
use super::relational::quoted;
use super::{Rows, cells, list};
use kalamdb_commons::{ColumnId, Datum, Oid, PgType, SqlType};
use kalamdb_sql::bind::expression_name;
use kalamdb_store::{IndexDef, IndexKey, IndexKeyPart, IndexState, TableDef};

/// The collations that can be named: OID and name.
const COLLATIONS: [(Oid, &str); 3] = [(100, "default"), (950, "C"), (951, "POSIX")];

/// A collation by its name.
pub fn collation_by_name(name: &str) -> Option<Oid> {
    COLLATIONS.iter().find(|(_, known)| *known == name).map(|(oid, _)| *oid)
}

/// The collation that a type's values have: 0 for types that have none.
pub fn collation_of(ty: SqlType) -> Oid {
    let element = ty.element().unwrap_or(ty);
    match element {
        SqlType::Name => 950,
        element if element.facts().category == 'S' => 100,
        _ => 0,
    }
}

/// What an index key sorts: its type.
pub fn key_type(table: &TableDef, key: &IndexKey) -> PgType {
    match &key.what {
        IndexKeyPart::Column(id) => table.column(*id).map_or(PgType::new(SqlType::Unknown), |column| column.ty),
        IndexKeyPart::Expression { ty, .. } => *ty,
    }
}

/// A key or an included column as `pg_get_indexdef` prints it, without its order.
pub fn shown_key(table: &TableDef, what: &IndexKeyPart, pretty: bool) -> String {
    match what {
        IndexKeyPart::Column(id) => shown_column(table, *id),
        IndexKeyPart::Expression { text, .. } if is_call(text) => text.clone(),
        IndexKeyPart::Expression { text, .. } if pretty => format!("({})", kalamdb_sql::bind::pretty(text)),
        IndexKeyPart::Expression { text, .. } => format!("({text})"),
    }
}

fn shown_column(table: &TableDef, id: ColumnId) -> String {
    table.column(id).map(|column| quoted(column.name.as_str())).unwrap_or_default()
}

/// Where the bracket that opens first closes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, ch) in text.char_indices() {
        match (quote, ch) {
            (Some(open), ch) if open == ch => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(ch),
            (None, '(') => depth += 1,
            (None, ')') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Whether a printed expression is a function's call and nothing more: it needs no brackets.
fn is_call(text: &str) -> bool {
    let name = text.find('(').filter(|at| *at > 0).map(|at| &text[..at]);
    let is_name = |name: &str| {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '"');
        name.chars().all(plain)
    };
    name.is_some_and(is_name) && closing(text) == Some(text.len() - 1)
}

/// The names of an index's columns (`pg_attribute.attname`), those of INCLUDE behind the keys'.
pub fn column_names(table: &TableDef, keys: &[IndexKeyPart], include: &[ColumnId]) -> Vec<String> {
    let of_column = |id: ColumnId| table.column(id).map(|column| column.name.to_string()).unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    let wanted = keys.iter().map(|key| match key {
        IndexKeyPart::Column(id) => of_column(*id),
        IndexKeyPart::Expression { text, .. } => {
            expression_name(text).ok().flatten().unwrap_or_else(|| "expr".to_string())
        }
    });
    for name in wanted.chain(include.iter().map(|id| of_column(*id))).collect::<Vec<_>>() {
        let mut chosen = name.clone();
        let mut number = 0;
        while names.contains(&chosen) {
            number += 1;
            chosen = format!("{}{number}", cut(&name, 63 - number.to_string().len()));
        }
        names.push(chosen);
    }
    names
}

/// A name cut to so many bytes, at a character's border.
pub fn cut(name: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    &name[..end]
}

/// The names of an index's own columns.
pub fn names_of(table: &TableDef, index: &IndexDef) -> Vec<String> {
    let keys: Vec<IndexKeyPart> = index.keys.iter().map(|key| key.what.clone()).collect();
    column_names(table, &keys, &index.include)
}

/// What `pg_get_indexdef` prints: all (`column` 0) or one column.
pub fn definition(
    namespace: Option<&str>,
    table: &TableDef,
    index: &IndexDef,
    column: usize,
    pretty: bool,
) -> Option<String> {
    if column > 0 {
        // PostgreSQL: a column that there is not is told as nothing.
        return Some(match index.keys.get(column - 1) {
            Some(key) => shown_key(table, &key.what, pretty),
            None => {
                let included = index.include.get(column - 1 - index.keys.len());
                included.map(|id| shown_column(table, *id)).unwrap_or_default()
            }
        });
    }
    let keys: Vec<String> = index.keys.iter().map(|key| sorted_key(table, key, pretty)).collect();
    let name = match namespace {
        Some(namespace) => format!("{}.{}", quoted(namespace), quoted(table.name.as_str())),
        None => quoted(table.name.as_str()),
    };
    let mut out = format!(
        "CREATE {}INDEX {} ON {name} USING {} ({})",
        if index.unique { "UNIQUE " } else { "" },
        quoted(&index.name),
        method_name(index.method),
        keys.join(", ")
    );
    out.push_str(&tail(table, index));
    if !index.reloptions.is_empty() {
        let options: Vec<String> = index.reloptions.iter().map(|option| shown_option(option)).collect();
        out.push_str(&format!(" WITH ({})", options.join(", ")));
    }
    if let Some(predicate) = &index.predicate {
        match pretty {
            true => out.push_str(&format!(" WHERE {}", kalamdb_sql::bind::pretty(predicate))),
            false => out.push_str(&format!(" WHERE {predicate}")),
        }
    }
    Some(out)
}

/// INCLUDE and NULLS NOT DISTINCT.
fn tail(table: &TableDef, index: &IndexDef) -> String {
    let mut out = String::new();
    if !index.include.is_empty() {
        let columns: Vec<String> = index.include.iter().map(|id| shown_column(table, *id)).collect();
        out.push_str(&format!(" INCLUDE ({})", columns.join(", ")));
    }
    if index.nulls_not_distinct {
        out.push_str(" NULLS NOT DISTINCT");
    }
    out
}

fn shown_option(option: &str) -> String {
    match option.split_once('=') {
        Some((name, value)) => format!("{name}='{}'", value.replace('\'', "''")),
        None => option.to_string(),
    }
}

fn sorted_key(table: &TableDef, key: &IndexKey, pretty: bool) -> String {
    let mut out = shown_key(table, &key.what, pretty);
    if let Some((_, name)) = key.collation.and_then(|oid| COLLATIONS.iter().find(|(known, _)| *known == oid)) {
        out.push_str(&format!(" COLLATE {}", quoted(name)));
    }
    if let Some(name) = key.class.and_then(operator_class::name_of) {
        out.push_str(&format!(" {name}"));
    }
    match (key.descending, key.nulls_first) {
        (false, false) => {}
        (false, true) => out.push_str(" NULLS FIRST"),
        (true, true) => out.push_str(" DESC"),
        (true, false) => out.push_str(" DESC NULLS LAST"),
    }
    out
}

/// What `pg_get_constraintdef` prints for a UNIQUE constraint.
pub fn constraint_definition(table: &TableDef, index: &IndexDef) -> String {
    let columns: Vec<String> = index.keys.iter().map(|key| shown_key(table, &key.what, true)).collect();
    let nulls = if index.nulls_not_distinct { "NULLS NOT DISTINCT " } else { "" };
    let mut out = format!("UNIQUE {nulls}({})", columns.join(", "));
    if !index.include.is_empty() {
        let columns: Vec<String> = index.include.iter().map(|id| shown_column(table, *id)).collect();
        out.push_str(&format!(" INCLUDE ({})", columns.join(", ")));
    }
    out
}

/// The row of pg_index.
pub(super) fn push_index(rows: &mut Rows, table: &TableDef, index: &IndexDef) {
    let types: Vec<PgType> = index.keys.iter().map(|key| key_type(table, key)).collect();
    let column = |what: &IndexKeyPart| match what {
        IndexKeyPart::Column(id) => id.0,
        IndexKeyPart::Expression { .. } => 0,
    };
    let numbers = index.keys.iter().map(|key| column(&key.what)).chain(index.include.iter().map(|id| id.0));
    let collation = |(key, ty): (&IndexKey, &PgType)| Datum::Oid(key.collation.unwrap_or_else(|| collation_of(ty.ty)));
    let class = |(key, ty): (&IndexKey, &PgType)| {
        let default = default_for(method_oid(index.method), ty.ty).map_or(0, |class| class.oid);
        Datum::Oid(key.class.unwrap_or(default))
    };
    let option = |key: &IndexKey| Datum::Int2(i16::from(key.descending) | i16::from(key.nulls_first) << 1);
    let texts: Vec<&str> = index
        .keys
        .iter()
        .filter_map(|key| match &key.what {
            IndexKeyPart::Expression { text, .. } => Some(text.as_str()),
            IndexKeyPart::Column(_) => None,
        })
        .collect();
    let is_ready = index.state == IndexState::Ready;
    rows.push(cells![
        indexrelid: index.id, indrelid: table.id.0, indnatts: (index.keys.len() + index.include.len()) as i16,
        indnkeyatts: index.keys.len() as i16, indisunique: index.unique, indnullsnotdistinct: index.nulls_not_distinct,
        indisprimary: false, indisexclusion: false, indimmediate: true, indisclustered: false, indisvalid: is_ready,
        indcheckxmin: false, indisready: true, indislive: true, indisreplident: false,
        indkey: list(SqlType::Int2, numbers.map(Datum::Int2)),
        indcollation: list(SqlType::Oid, index.keys.iter().zip(&types).map(collation)),
        indclass: list(SqlType::Oid, index.keys.iter().zip(&types).map(class)),
        indoption: list(SqlType::Int2, index.keys.iter().map(option)),
        indexprs: if texts.is_empty() { Datum::Null } else { Datum::text(texts.join(", ")) },
        indpred: index.predicate.as_deref().map_or(Datum::Null, Datum::text),
    ]);
}
