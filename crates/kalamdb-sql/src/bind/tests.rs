//! SQL to output names, types and parameter types, or an error: as PostgreSQL 15 answers (`cases.txt`).
//!
//! A case is a line of SQL and below it, indented, either `name type, …` with `($ type,…)` for parameters, or
//! `! SQLSTATE @position message`.

use super::bound::Bound;
use super::*;
use crate::function::{CatalogNames, PrivilegeObject};
use crate::types::Style;
use kalamdb_commons::{Oid, SqlState};

const CASES: &str = include_str!("cases.txt");

struct Scene {
    style: Style,
    relations: Vec<RelationShape>,
}

fn relation(oid: Oid, namespace: &str, name: &str, columns: &str, key: &[i16]) -> RelationShape {
    let columns = columns.split(", ").enumerate().map(|(index, column)| {
        let mut words = column.splitn(3, ' ');
        let name = words.next().unwrap_or_default().to_owned();
        let ty = words.next().unwrap_or_default();
        let default = words.next().map(str::to_owned);
        let expr = crate::parse::expression(&format!("null::{ty}")).expect("a type");
        let ast::Expr::Cast { data_type, .. } = expr else { panic!("{ty}") };
        let id = ColumnId(index as i16 + 1);
        ColumnShape {
            id,
            name,
            ty: crate::parse::type_of(&data_type).expect("a type"),
            not_null: key.contains(&id.0),
            default,
            source: ValueSource::Given,
            domain: None,
        }
    });
    let system = namespace == "pg_catalog";
    RelationShape {
        table: TableId(oid),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        schema_version: 1,
        kind: if system { RelationKind::System } else { RelationKind::Table(TableType::Shared) },
        columns: columns.collect(),
        uniques: Vec::new(),
        view: None,
        primary_key: (!key.is_empty()).then(|| (format!("{name}_pkey"), key.iter().map(|id| ColumnId(*id)).collect())),
    }
}

fn scene() -> Scene {
    let customer = "id int, email text, name varchar(20), balance numeric(12,2), joined timestamptz now(), tags text[], active bool true";
    Scene {
        style: Style::default(),
        relations: vec![
            relation(16384, "bindtest", "customer", customer, &[1]),
            relation(
                16385,
                "bindtest",
                "orders",
                "id bigint, customer_id int, total numeric, placed date, note text, data jsonb",
                &[1],
            ),
            relation(
                16386,
                "bindtest",
                "item",
                "order_id bigint, line smallint, qty int, price float8, code char(3)",
                &[1, 2],
            ),
            relation(16387, "bindtest", "nokey", "a int, b text", &[]),
            relation(1259, "pg_catalog", "pg_class", "oid oid, relname name, relnamespace oid, relkind \"char\"", &[]),
            relation(2615, "pg_catalog", "pg_namespace", "oid oid, nspname name", &[]),
            relation(
                1247,
                "pg_catalog",
                "pg_type",
                "oid oid, typname name, typtype \"char\", typcategory \"char\"",
                &[],
            ),
            relation(1249, "pg_catalog", "pg_attribute", "attrelid oid, attname name, atttypid oid, attnum int2", &[]),
            relation(2610, "pg_catalog", "pg_index", "indexrelid oid, indrelid oid, indkey int2vector", &[]),
        ],
    }
}

impl Names for Scene {
    fn relation(&self, namespace: Option<&str>, name: &str) -> Result<Option<RelationShape>> {
        let fits = |shape: &&RelationShape| {
            shape.name == name && namespace.is_none_or(|namespace| shape.namespace == namespace)
        };
        Ok(self.relations.iter().find(fits).cloned())
    }
    fn relation_by_id(&self, id: TableId) -> Option<RelationShape> {
        self.relations.iter().find(|shape| shape.table == id).cloned()
    }
    fn namespace(&self, name: &str) -> Option<NamespaceId> {
        matches!(name, "bindtest" | "public" | "pg_catalog").then_some(NamespaceId(1))
    }
    fn style(&self) -> &Style {
        &self.style
    }
    fn catalog(&self) -> &dyn CatalogNames {
        self
    }
}

impl CatalogNames for Scene {
    fn relation_by_name(&self, parts: &[String]) -> Option<TableId> {
        let name = parts.last()?;
        self.relations.iter().find(|shape| shape.name == *name).map(|shape| shape.table)
    }
    fn relation_name(&self, oid: Oid) -> Option<String> {
        self.relations.iter().find(|shape| shape.table.0 == oid).map(|shape| shape.name.clone())
    }
    fn namespace_by_name(&self, _: &str) -> Option<Oid> {
        None
    }
    fn namespace_name(&self, _: Oid) -> Option<String> {
        None
    }
    fn role_by_name(&self, _: &str) -> Option<Oid> {
        None
    }
    fn role_name(&self, _: Oid) -> Option<String> {
        None
    }
    fn relation_is_visible(&self, _: Oid) -> Option<bool> {
        None
    }
    fn index_definition(&self, _: Oid, _: i32, _: bool) -> Option<String> {
        None
    }
    fn constraint_definition(&self, _: Oid, _: bool) -> Option<String> {
        None
    }
    fn view_definition(&self, _: Oid, _: bool) -> Option<String> {
        None
    }
    fn description(&self, _: Oid, _: &str, _: i32) -> Option<String> {
        None
    }
    fn relation_size(&self, _: Oid) -> Option<i64> {
        None
    }
    fn has_privilege(&self, _: Oid, _: PrivilegeObject, _: &str) -> Result<Option<bool>> {
        Ok(None)
    }
    fn search_path(&self, _: bool) -> Vec<String> {
        Vec::new()
    }
}

fn bound(sql: &str, scene: &Scene) -> Result<Bound> {
    let mut parsed = crate::parse::parse(sql)?;
    let parsed = parsed.remove(0);
    bind(&parsed.statement, &parsed.text, &[], scene)
}

fn answer(sql: &str, scene: &Scene) -> String {
    match bound(sql, scene) {
        Ok(bound) => {
            let outputs: Vec<String> =
                bound.outputs.iter().map(|output| format!("{} {}", output.name, output.ty)).collect();
            let parameters: Vec<String> = bound.parameters.iter().map(|ty| ty.ty.to_string()).collect();
            let parameters =
                if parameters.is_empty() { String::new() } else { format!(" ($ {})", parameters.join(",")) };
            match (outputs.is_empty(), parameters.is_empty()) {
                (true, true) => "(nothing)".to_owned(),
                _ => format!("{}{parameters}", outputs.join(", ")),
            }
        }
        Err(error) => {
            let position = error.position().map_or_else(String::new, |position| format!(" @{position}"));
            format!("! {}{position} {}", error.state(), error.message())
        }
    }
}

/// The same sentence; the same place where both give one.
fn agrees(expected: &str, actual: &str) -> bool {
    let parts = |text: &str| {
        let mut words: Vec<String> = text.trim().split(' ').map(str::to_owned).collect();
        let placed = text.trim().starts_with('!') && words.get(2).is_some_and(|word| word.starts_with('@'));
        let place = placed.then(|| words.remove(2));
        (words.join(" "), place)
    };
    let ((expected, place), (actual, other)) = (parts(expected), parts(actual));
    expected == actual && (place.is_none() || other.is_none() || place == other)
}

#[test]
fn binds_as_postgresql_does() {
    let scene = scene();
    let mut lines = CASES.lines().filter(|line| !line.trim().is_empty() || line.starts_with("    ")).peekable();
    let (mut count, mut wrong) = (0, Vec::new());
    while let Some(sql) = lines.next() {
        if sql.starts_with('#') || sql.trim().is_empty() {
            continue;
        }
        let expected = lines.next_if(|line| line.starts_with("    ")).unwrap_or_default();
        let actual = answer(sql, &scene);
        count += 1;
        if !agrees(expected, &actual) {
            wrong.push(format!("{sql}\n  expected {}\n  actual   {actual}", expected.trim()));
        }
    }
    assert!(count > 300, "only {count} cases were read");
    assert!(wrong.is_empty(), "{} of {count} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn scans_make_what_is_used() {
    let scene = scene();
    let bound = bound("select email from customer where id = 1", &scene).expect("it binds");
    let columns: Vec<i16> = bound.needs[0].columns.iter().map(|id| id.0).collect();
    assert_eq!(columns, [1, 2]);
    assert!(!bound.needs[0].with_deleted);
}

#[test]
fn naming_deleted_reads_tombstones() {
    let scene = scene();
    let bound = bound("select id from customer where _deleted", &scene).expect("it binds");
    assert!(bound.needs[0].with_deleted);
}

#[test]
fn outputs_know_their_origin() {
    let scene = scene();
    let bound = bound("select c.name, c.id + 1 from customer c", &scene).expect("it binds");
    assert_eq!(bound.outputs[0].origin, Some((TableId(16384), ColumnId(3))));
    assert_eq!(bound.outputs[1].origin, None);
}

#[test]
fn a_wide_constant_keeps_the_column_bare() {
    let scene = scene();
    let bound = bound("select id from customer where id = 5000000000 or id = 5::bigint", &scene).expect("it binds");
    let BoundKind::Query(rel) = &bound.kind else { panic!("a query") };
    let mut bare = 0;
    walk::deep_rel(rel, &mut |scalar| {
        if let Scalar::Compare(_, left, right) = scalar
            && matches!((left.as_ref(), right.as_ref()), (Scalar::Column(_), Scalar::Const(..)))
        {
            bare += 1;
        }
    });
    assert_eq!(bare, 1);
}

#[test]
fn defaults_are_checked() {
    let scene = scene();
    let state = |text: &str, ty: SqlType| bind_default(text, "c", ty.into(), &scene).map_err(|error| error.state());
    assert!(state("now()", SqlType::Timestamptz).is_ok());
    assert!(state("'a'", SqlType::Text).is_ok());
    assert_eq!(state("other", SqlType::Text).err(), Some(SqlState::FEATURE_NOT_SUPPORTED));
    assert_eq!(state("(select 1)", SqlType::Int4).err(), Some(SqlState::FEATURE_NOT_SUPPORTED));
    assert_eq!(state("now()", SqlType::Int4).err(), Some(SqlState::DATATYPE_MISMATCH));
    assert_eq!(state("count(*)", SqlType::Int4).err(), Some(SqlState::GROUPING_ERROR));
    assert_eq!(state("$1", SqlType::Int4).err(), Some(SqlState::UNDEFINED_PARAMETER));
}

/// What is stored of conditions, as PostgreSQL 15 prints them (`deparse.txt`). Read back, they print the same, but for
/// an array's cast, which goes to its items then, as in PostgreSQL.
#[test]
fn stored_conditions_are_printed_as_postgresql_does() {
    let scene = scene();
    let columns = "a int, b bigint, n numeric(10,2), t text, v varchar(10), c char(3), dt date, ts timestamptz, f float8, s smallint, bo bool, arr int[], j jsonb";
    let shape = relation(16400, "bindtest", "d", columns, &[]);
    let names = |id: ColumnId| shape.columns.iter().find(|column| column.id == id).map(|column| column.name.clone());
    let print = |text: &str| match canonical_row(text, &shape, Purpose::Check, &names, &scene) {
        Ok(text) => text,
        Err(error) => format!("! {error}"),
    };
    let mut lines = include_str!("deparse.txt").lines();
    let mut wrong = Vec::new();
    while let (Some(given), Some(expected)) = (lines.next(), lines.next()) {
        let expected = expected.trim_start().replace("\\n", "\n");
        let printed = print(given);
        if printed != expected {
            wrong.push(format!("{given}\n  is  {printed}\n  not {expected}"));
            continue;
        }
        let again = print(&printed);
        if print(&again) != again || (again != printed && !printed.contains("])::")) {
            wrong.push(format!("{given}\n  read back {again}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn stored_conditions_refuse_what_no_row_decides() {
    let scene = scene();
    let shape = relation(16400, "bindtest", "d", "a int, b text", &[]);
    let fault = |text: &str| {
        let error = bind_row(text, &shape, Purpose::Check, &scene).err();
        error.map(|error| format!("{} {}", error.state().code(), error.message()))
    };
    assert_eq!(fault("a > 0"), None);
    assert_eq!(fault("a").as_deref(), Some("42804 argument of CHECK must be type boolean, not type integer"));
    assert_eq!(fault("a in (select 1)").as_deref(), Some("0A000 cannot use subquery in check constraint"));
    assert_eq!(fault("sum(a) > 1").as_deref(), Some("42803 aggregate functions are not allowed in check constraints"));
    assert_eq!(
        fault("_seq > 1").as_deref(),
        Some("42P10 system column \"_seq\" reference in check constraint is invalid")
    );
    assert_eq!(fault("other > 1").as_deref(), Some("42703 column \"other\" does not exist"));
}

#[test]
fn stored_defaults_are_printed_as_postgresql_does() {
    let scene = scene();
    let print = |text: &str, ty: SqlType| canonical_default(text, "c", ty.into(), &scene).unwrap_or_default();
    assert_eq!(print("'x'", SqlType::Text), "'x'::text");
    assert_eq!(print("'5'", SqlType::Int4), "5");
    assert_eq!(print("'5'", SqlType::Int8), "'5'::bigint");
    assert_eq!(print("-1", SqlType::Int4), "'-1'::integer");
    assert_eq!(print("1 + 2", SqlType::Int4), "(1 + 2)");
    assert_eq!(print("current_timestamp", SqlType::Timestamptz), "CURRENT_TIMESTAMP");
    assert_eq!(print("now()", SqlType::Timestamptz), "now()");
    assert_eq!(print("'2020-01-01'", SqlType::Date), "'2020-01-01'::date");
    assert_eq!(print("'a' || 'b'", SqlType::Text), "('a'::text || 'b'::text)");
    assert_eq!(print("5", SqlType::Text), "5");
}

/// Whatever can be read is bound or refused, at a place inside the text; and never as an error of our own.
#[test]
fn fuzz_bind() {
    let scene = scene();
    let own = CASES.lines().filter(|line| !line.starts_with("    ")).map(|line| line.into());
    let inputs = crate::fuzz::corpus(include_str!("../../../../tests/fuzz/sql.txt")).into_iter().chain(own).collect();
    crate::fuzz::run("bind", inputs, |input| {
        let Ok(parsed) = crate::parse::parse(&String::from_utf8_lossy(input)) else { return "unread".to_owned() };
        let answers = parsed.iter().map(|it| match bind(&it.statement, &it.text, &[], &scene) {
            Ok(bound) => format!("{:?} {}", std::mem::discriminant(&bound.kind), bound.outputs.len()),
            Err(error) => {
                let place = error.position().unwrap_or(1);
                assert!((1..=it.text.chars().count() + 1).contains(&place), "{place} is no place in {:?}", it.text);
                assert_ne!(error.state(), SqlState::INTERNAL_ERROR, "{error}");
                format!("{} {}", error.state().code(), crate::fuzz::unquoted(error.message()))
            }
        });
        answers.collect::<Vec<_>>().join("; ")
    });
}
