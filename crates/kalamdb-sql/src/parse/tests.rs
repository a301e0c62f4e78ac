//! Statements and errors as data: `cases.txt` holds the text, a line `----`, and what it is read as. With
//! `UPDATE_EXPECT=1` the file is written anew. The errors were compared with PostgreSQL 15's, places included.

use super::*;
use crate::statement::CopySubject;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/parse/cases.txt");

#[test]
fn cases() {
    let text = std::fs::read_to_string(CASES).expect("the cases are beside this file");
    let mut wrong = Vec::new();
    let mut out = String::new();
    for case in text.split("\n\n").filter(|case| !case.trim().is_empty()) {
        let (sql, expected) = case.split_once("\n----").unwrap_or((case, ""));
        let (sql, expected) = (sql.trim_start_matches('\n'), expected.trim_start_matches('\n'));
        let found = shown(sql);
        if found.trim_end() != expected.trim_end() {
            wrong.push(format!("{sql}\n  expected: {expected}\n  found:    {found}"));
        }
        out.push_str(&format!("{sql}\n----\n{found}\n\n"));
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(CASES, out).expect("the cases can be written");
    } else {
        assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    }
}

fn shown(sql: &str) -> String {
    match parse(sql) {
        Ok(parsed) => {
            parsed.iter().map(|one| format!("{} {}", one.offset, tree(&one.statement))).collect::<Vec<_>>().join("\n")
        }
        Err(error) => format!("{} {} at {}", error.state(), error.message(), error.position().map_or(0, |place| place)),
    }
}

/// The library's trees in its own words, the rest as `Debug` has it.
fn tree(statement: &Statement) -> String {
    match statement {
        Statement::Query(query) => format!("Query {query}"),
        Statement::Insert(insert) => format!("Insert {insert}"),
        Statement::Update(update) => format!("Update {update}"),
        Statement::Delete { delete, purge } => format!("Delete {delete} purge={purge}"),
        Statement::With { with, change } => format!("{with} / {}", tree(change)),
        Statement::Live { query, text } => format!("Live {query} / {text}"),
        Statement::ListenFor { channel, query, text } => format!("ListenFor {channel} {query} / {text}"),
        Statement::Subscribe { query, text, options } => format!("Subscribe {query} / {text} {options:?}"),
        Statement::Declare(it) => format!("Declare {} scroll={:?} hold={} {}", it.name, it.scroll, it.hold, it.query),
        Statement::Prepare { name, types, statement, text } => {
            let types: Vec<String> = types.iter().map(|ty| ty.map_or("unknown".into(), |ty| ty.to_string())).collect();
            format!("Prepare {name} ({}) {} / {text}", types.join(", "), tree(statement))
        }
        Statement::Execute { name, arguments } => {
            let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            format!("Execute {name} ({})", arguments.join(", "))
        }
        Statement::ExecuteAs { user, statement, text } => format!("ExecuteAs {user} {} / {text}", tree(statement)),
        Statement::Explain(it) => format!(
            "Explain analyze={} verbose={} json={} costs={} live={} {} / {}",
            it.analyze,
            it.verbose,
            it.json,
            it.costs,
            it.live,
            tree(&it.statement),
            it.text
        ),
        Statement::Copy(copy) => {
            let subject = match &copy.subject {
                CopySubject::Table { name, columns } => format!("{name:?} {columns:?}"),
                CopySubject::Query(query, _) => format!("({query})"),
                CopySubject::Change(change, _) => format!("({})", tree(change)),
                CopySubject::Live(query, _) => format!("(LIVE {query})"),
            };
            format!("Copy {subject} {:?} {:?}", copy.direction, copy.options)
        }
        Statement::CreateTable(it) => {
            let columns: Vec<String> = it.columns.iter().map(column).collect();
            let uniques: String = it.uniques.iter().map(|unique| format!(" {unique:?}")).collect();
            let constraints: String = it.constraints.iter().map(|constraint| format!(" {constraint:?}")).collect();
            format!(
                "CreateTable {:?} {:?} if_not_exists={} ({}) key={:?} {:?}{uniques}{constraints}",
                it.name,
                it.kind,
                it.if_not_exists,
                columns.join(", "),
                it.primary_key,
                it.options
            )
        }
        Statement::AlterTable(it) => {
            let actions: Vec<String> = it
                .actions
                .iter()
                .map(|action| match action {
                    crate::statement::AlterAction::AddColumn {
                        column: spec, if_not_exists, key, constraints, ..
                    } => {
                        let constraints: String = constraints.iter().map(|it| format!(" {it:?}")).collect();
                        format!("AddColumn {} if_not_exists={if_not_exists} key={key:?}{constraints}", column(spec))
                    }
                    crate::statement::AlterAction::SetDefault { name, default } => {
                        format!("SetDefault {name} {:?}", default.as_ref().map(|(_, text)| text))
                    }
                    other => format!("{other:?}"),
                })
                .collect();
            format!("AlterTable {:?} {}", it.name, actions.join(", "))
        }
        other => format!("{other:?}"),
    }
}

fn column(column: &crate::statement::ColumnSpec) -> String {
    let default = column.default.as_ref().map_or(String::new(), |(_, text)| format!(" DEFAULT {text}"));
    let ty = match &column.ty {
        crate::statement::TypeName::BuiltIn(ty) => ty.to_string(),
        other => format!("{other:?}"),
    };
    format!("{} {ty}{}{default}", column.name, if column.not_null { " NOT NULL" } else { "" })
}

/// Places count from the statement's own text, over lines and characters of more than one byte.
#[test]
fn places() {
    let parsed = parse("select 1;\n  select 'ä',\n   b").expect("two statements");
    assert_eq!((parsed[1].offset, parsed[1].text.as_str()), (12, "select 'ä',\n   b"));
    assert_eq!(position(&parsed[1].text, 2, 4), Some(16));
    assert_eq!(position(&parsed[1].text, 0, 0), None);
}

/// Depth is bounded, however it is made, and what is within the bound can be dropped.
#[test]
fn depth() {
    let state = |sql: String| parse(&sql).map(|_| ()).map_err(|error| error.state());
    let nested = |n: usize| format!("select {}1{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(state(nested(100)), Ok(()));
    assert_eq!(state(nested(100_000)), Err(SqlState::STATEMENT_TOO_COMPLEX));
    let chain = |n: usize| format!("select 1{}", " + 1".repeat(n));
    assert_eq!(state(chain(2_000)), Ok(()));
    assert_eq!(state(chain(100_000)), Err(SqlState::STATEMENT_TOO_COMPLEX));
    let rows = format!("insert into t values {}", vec!["(1 + 1, 'a'::text)"; 10_000].join(", "));
    assert_eq!(state(rows), Ok(()));
}

#[test]
fn names_are_folded_and_cut() {
    let ident = |value: &str, quote_style| fold(&ast::Ident { value: value.into(), quote_style, span: nowhere() });
    assert_eq!(ident("ABC", None), "abc");
    assert_eq!(ident("ABC", Some('"')), "ABC");
    assert_eq!(ident(&"ä".repeat(40), None).len(), 62);
}

/// Whatever is written is read or refused, at a place inside the text.
#[test]
fn fuzz_parse() {
    let own = include_str!("cases.txt").lines().filter(|line| !line.starts_with("    ")).map(|line| line.into());
    let inputs = crate::fuzz::corpus(include_str!("../../../../tests/fuzz/sql.txt")).into_iter().chain(own).collect();
    crate::fuzz::run("parse", inputs, |input| {
        let text = String::from_utf8_lossy(input);
        match parse(&text) {
            Ok(parsed) => parsed.iter().map(|it| format!("{:?}", std::mem::discriminant(&it.statement))).collect(),
            Err(error) => {
                let place = error.position().unwrap_or(1);
                assert!((1..=text.chars().count() + 1).contains(&place), "{place} is no place in {text:?}");
                format!("{} {}", error.state().code(), crate::fuzz::unquoted(error.message()))
            }
        }
    });
}
