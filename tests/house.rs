//! The house's rules (docs/architecture/ARCHITECTURE.md), from `cargo metadata` and a scan of lines.
//!
//! A rule that fails here is changed in the map and in this file together, or the code is changed. Lengths of files
//! are printed and never fail.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use cargo_metadata::{DependencyKind, MetadataCommand};
use kalamdb_tests::place;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Rule 1: who may use whom.
const EDGES: &[(&str, &[&str])] = &[
    ("kalamdb-commons", &[]),
    ("kalamdb-sql", &["kalamdb-commons"]),
    ("kalamdb-auth", &["kalamdb-commons"]),
    ("kalamdb-store", &["kalamdb-commons"]),
    ("kalamdb-live", &["kalamdb-commons", "kalamdb-sql", "kalamdb-store"]),
    ("kalamdb-core", &["kalamdb-commons", "kalamdb-sql", "kalamdb-auth", "kalamdb-store", "kalamdb-live"]),
    ("kalamdb-pgwire", &["kalamdb-commons", "kalamdb-sql", "kalamdb-auth", "kalamdb-core"]),
    (
        "kalamdb-server",
        &[
            "kalamdb-commons",
            "kalamdb-sql",
            "kalamdb-auth",
            "kalamdb-store",
            "kalamdb-live",
            "kalamdb-core",
            "kalamdb-pgwire",
        ],
    ),
];

/// Rule 1: heavy crates, and where alone they may be.
const HEAVY: &[(&str, &[&str])] = &[
    ("sqlparser", &["kalamdb-sql"]),
    ("bcrypt", &["kalamdb-auth"]),
    ("jsonwebtoken", &["kalamdb-auth"]),
    ("rocksdb", &["kalamdb-store"]),
    ("parquet", &["kalamdb-store"]),
    ("object_store", &["kalamdb-store", "kalamdb-core"]),
    ("datafusion", &["kalamdb-core"]),
    ("datafusion-common", &["kalamdb-sql"]),
    ("datafusion-expr", &["kalamdb-sql"]),
    ("datafusion-physical-expr", &["kalamdb-sql"]),
    ("datafusion-functions-aggregate", &["kalamdb-sql"]),
    ("datafusion-functions-window", &["kalamdb-sql"]),
    ("pgwire", &["kalamdb-pgwire"]),
    ("rustls", &["kalamdb-pgwire"]),
    ("tokio-rustls", &["kalamdb-pgwire"]),
    ("clap", &["kalamdb-server"]),
    ("arrow-cast", &["kalamdb-sql", "kalamdb-store", "kalamdb-core"]),
    ("arrow-ord", &["kalamdb-sql", "kalamdb-store", "kalamdb-core"]),
    ("arrow-row", &["kalamdb-sql", "kalamdb-store", "kalamdb-core"]),
];

/// arrow's array, schema, buffer and select crates are vocabulary everywhere but here.
const ARROW_FREE: &[&str] = &["kalamdb-auth"];

/// Rule 7: names that say nothing.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc", "base", "manager"];

/// The rooms of two crates, in order: a room may use those before it.
const ROOMS: &[(&str, &[&str])] = &[
    ("kalamdb-store", &["error", "kv", "definition", "codec", "catalog", "segment", "txn", "upkeep", "store"]),
    (
        "kalamdb-core",
        &[
            "error",
            "settings",
            "snowflake",
            "advisory",
            "registry",
            "plan",
            "reply",
            "system",
            "depend",
            "index",
            "check",
            "generated",
            "relation",
            "sequence",
            "resolve",
            "point",
            "hall",
            "jobs",
            "referential",
            "standing",
            "statement",
            "session",
            "login",
            "database",
        ],
    ),
];

struct Source {
    krate: String,
    /// From the crate's `src/`.
    path: String,
    /// Without what stands behind the first `#[cfg(test)]`, and without comments.
    code: Vec<String>,
    text: String,
}

fn sources() -> Vec<Source> {
    let crates = place::repository().join("crates");
    let mut found = Vec::new();
    for krate in std::fs::read_dir(crates).expect("crates/").flatten() {
        let name = krate.file_name().to_string_lossy().into_owned();
        let src = krate.path().join("src");
        for path in rust_files(&src) {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let short = path.strip_prefix(&src).expect("below src").to_string_lossy().into_owned();
            let is_test = short.ends_with("tests.rs") || short.contains("/tests/");
            let code = if is_test { Vec::new() } else { code_of(&text) };
            found.push(Source { krate: name.clone(), path: short, code, text });
        }
    }
    assert!(found.len() > 20, "the crates were found");
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Lines of code: no comments, and nothing from a test module on (ours stand last).
fn code_of(text: &str) -> Vec<String> {
    let until_tests = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    until_tests.map(|line| line.split("//").next().unwrap_or_default().to_owned()).collect()
}

/// Where a word stands in non-test code, except in the allowed places (`crate/path` prefixes).
fn strays(sources: &[Source], word: &str, allowed: &[&str]) -> Vec<String> {
    let mut strays = Vec::new();
    for source in sources {
        let place = format!("{}/{}", source.krate, source.path);
        if allowed.iter().any(|prefix| place.starts_with(prefix)) {
            continue;
        }
        for (index, line) in source.code.iter().enumerate() {
            if has_word(line, word) {
                strays.push(format!("{place}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    strays
}

/// The word with no identifier character right before it; after it only when it ends in one.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |ch: char| ch.is_alphanumeric() || ch == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(is_part);
        let after = word.ends_with(is_part) && line[at + word.len()..].chars().next().is_some_and(is_part);
        !before && !after
    })
}

fn none(strays: Vec<String>, rule: &str) {
    assert!(strays.is_empty(), "{rule}:\n{}", strays.join("\n"));
}

#[test]
fn rule_1_edges_and_heavy_crates() {
    let metadata = MetadataCommand::new()
        .manifest_path(place::repository().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let ours: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let normal = package.dependencies.iter().filter(|it| it.kind == DependencyKind::Normal);
        let names: BTreeSet<&str> = normal.map(|it| it.name.as_str()).collect();
        let Some(allowed) = ours.get(name) else {
            if names.iter().any(|used| used.starts_with("kalamdb-") && *used != "kalamdb-tests") {
                wrong.push(format!("{name} links our crates"));
            }
            continue;
        };
        for used in names {
            if used.starts_with("kalamdb-") && !allowed.contains(&used) {
                wrong.push(format!("{name} uses {used}"));
            }
            if HEAVY.iter().any(|(heavy, homes)| *heavy == used && !homes.contains(&name)) {
                wrong.push(format!("{name} uses {used}, which lives elsewhere"));
            }
            if used.starts_with("arrow-") && ARROW_FREE.contains(&name) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    none(wrong, "the table of crates");
}

#[test]
fn rule_2_rocksdb_has_one_file_and_apply_one_caller() {
    let sources = sources();
    let allowed = ["kalamdb-store/kv/rocksdb.rs", "kalamdb-store/kv/mod.rs"];
    // Our own module is called so too.
    let crate_paths =
        strays(&sources, "rocksdb::", &allowed).into_iter().filter(|line| !line.contains("kv::rocksdb::"));
    none(crate_paths.collect(), "rocksdb::");
    let allowed = ["kalamdb-store/txn/committer", "kalamdb-store/kv/", "kalamdb-store/codec/"];
    let in_store: Vec<Source> = sources.into_iter().filter(|source| source.krate == "kalamdb-store").collect();
    let calls = strays(&in_store, "backend.apply(", &allowed);
    none(calls, "the backend's apply is the committer's");
}

#[test]
fn rule_3_permission_is_asked_in_one_place() {
    let sources = sources();
    let outside_auth = |word: &str| strays(&sources, word, &["kalamdb-auth/", "kalamdb-core/resolve.rs"]);
    none(outside_auth("authorize("), "authorize is called from resolve");
    none(outside_auth("authorize_admin("), "authorize_admin is called from resolve");
    none(outside_auth("authorize_sequence("), "authorize_sequence is called from resolve");
    let in_core: Vec<Source> = sources.into_iter().filter(|source| source.krate == "kalamdb-core").collect();
    for method in [".row_get(", ".row_scan(", ".row_put(", ".row_remove(", ".row_lock("] {
        none(
            strays(&in_core, method, &["kalamdb-core/relation.rs", "kalamdb-core/relation/"]),
            "row methods are called by a Relation",
        );
    }
    let relation = in_core.iter().find(|source| source.path == "relation.rs").expect("relation.rs");
    let mut inside = false;
    let mut open = Vec::new();
    for line in &relation.code {
        inside |= line.contains("struct Relation ");
        if inside && line.trim_start().starts_with("pub") && line.contains(':') && !line.contains("struct") {
            open.push(line.clone());
        }
        inside &= line != "}";
    }
    none(open, "a Relation has no public fields");
}

#[test]
fn rule_4_one_parser_and_no_error_text() {
    let sources = sources();
    // jsonb has a parser of its own: only files that know the SQL library can make its.
    let (with_library, _): (Vec<Source>, Vec<Source>) =
        sources.into_iter().partition(|it| it.text.contains("sqlparser"));
    none(strays(&with_library, "Parser::new(", &["kalamdb-sql/parse.rs"]), "the parser is made in parse.rs");
    none(strays(&with_library, "Tokenizer::new(", &["kalamdb-sql/parse"]), "text is tokenised by parse");
    let sources = self::sources();
    for word in
        [".to_string().contains(", ".message().contains(", ".message().starts_with(", "to_string().starts_with("]
    {
        none(strays(&sources, word, &[]), "errors are not classified by their text");
    }
}

#[test]
fn rule_5_the_database_is_met_at_the_doors() {
    let sources = sources();
    let allowed =
        ["kalamdb-core/database.rs", "kalamdb-core/lib.rs", "kalamdb-pgwire/", "kalamdb-api/", "kalamdb-server/"];
    let named: Vec<String> = strays(&sources, "Database", &allowed)
        .into_iter()
        // A variant or a type of another crate is another word.
        .filter(|line| !line.contains("::Database") && !line.ends_with(": Database,"))
        .collect();
    none(named, "Database is named in core::database, the doors and server");
    let doors: Vec<Source> =
        sources.into_iter().filter(|it| it.krate == "kalamdb-pgwire" || it.krate == "kalamdb-api").collect();
    none(strays(&doors, "kalamdb_store", &[]), "doors do not name store");
    none(strays(&doors, "kalamdb_live", &[]), "doors do not name live");
}

#[test]
fn rule_6_sockets_files_and_the_clock() {
    let sources = sources();
    none(strays(&sources, "tokio::net", &["kalamdb-pgwire/", "kalamdb-api/"]), "sockets are the doors'");
    none(strays(&sources, "std::fs", &["kalamdb-store/", "kalamdb-server/"]), "files are store's and server's");
    none(strays(&sources, "tokio::fs", &["kalamdb-store/", "kalamdb-server/"]), "files are store's and server's");
    for word in ["SystemTime", "Utc::now", "Local::now"] {
        none(strays(&sources, word, &["kalamdb-commons/clock.rs"]), "the wall clock has one reader");
    }
}

#[test]
fn rule_7_names_docs_and_unsafe() {
    let sources = sources();
    none(strays(&sources, "pub use kalamdb_", &[]), "no crate hands another on");
    let mut wrong = Vec::new();
    for source in &sources {
        let place = format!("{}/{}", source.krate, source.path);
        let mut parts = source.path.trim_end_matches(".rs").split('/');
        if parts.any(|part| EMPTY_NAMES.contains(&part)) {
            wrong.push(format!("{place}: a name that says nothing"));
        }
        if !source.text.starts_with("//!") {
            wrong.push(format!("{place}: does not open with //!"));
        }
        let is_root = source.path == "lib.rs" || source.path == "main.rs";
        if is_root && source.krate != "kalamdb-store" && !source.text.contains("forbid(unsafe_code)") {
            wrong.push(format!("{place}: does not forbid unsafe code"));
        }
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if has_word(code, "unsafe")
                && !code.contains("unsafe_code")
                && !lines[..index].iter().rev().take(4).any(|it| it.contains("// SAFETY:"))
            {
                wrong.push(format!("{place}:{}: unsafe without // SAFETY:", index + 1));
            }
        }
    }
    none(wrong, "names, docs, unsafe");
}

#[test]
fn rooms_use_those_before_them() {
    let sources = sources();
    let mut wrong = Vec::new();
    for (krate, rooms) in ROOMS {
        let room_of = |path: &str| {
            rooms.iter().position(|room| path == format!("{room}.rs") || path.starts_with(&format!("{room}/")))
        };
        for source in sources.iter().filter(|source| source.krate == *krate) {
            if source.path == "lib.rs" || source.path.ends_with("mod.rs") {
                continue;
            }
            let Some(own) = room_of(&source.path) else {
                wrong.push(format!("{krate}/{}: is in no room of the map", source.path));
                continue;
            };
            for (index, line) in source.code.iter().enumerate() {
                for (place, room) in rooms.iter().enumerate().skip(own + 1) {
                    if has_word(line, &format!("crate::{room}")) && room_of(&format!("{room}.rs")) == Some(place) {
                        wrong.push(format!("{krate}/{}:{}: looks down into {room}", source.path, index + 1));
                    }
                }
            }
        }
    }
    none(wrong, "the order of rooms");
}

/// Not a rule: the longest files, to be looked at now and then.
#[test]
fn lengths_are_printed() {
    let mut lengths: Vec<(usize, String)> =
        sources().iter().map(|it| (it.text.lines().count(), format!("{}/{}", it.krate, it.path))).collect();
    lengths.sort();
    for (lines, path) in lengths.iter().rev().take(10) {
        println!("{lines:6} {path}");
    }
}
