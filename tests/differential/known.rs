//! The differences that are known: those that stay, with their reasons, and those that are still to be mended.
//!
//! Both lists must be true: an entry whose example gives the same on both servers fails the test.

use crate::compare::Kind;
use kalamdb_tests::place::repository;
use std::path::PathBuf;

/// A known difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known {
    /// The claim; `…` stands for anything.
    pub claim: String,
    /// What differs.
    pub kind: Kind,
    /// A statement that shows it.
    pub example: String,
}

impl Known {
    /// Whether this is that difference.
    pub fn covers(&self, claim: &str, kind: Kind) -> bool {
        self.kind == kind && matches(&self.claim, claim)
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// The manual's list: lines "- `claim`, kind: `example`. Reason."
pub fn reasoned() -> Vec<Known> {
    let path = repository().join("docs/architecture/DIFFERENCES.md");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let entries = text.lines().filter(|line| line.starts_with("- `"));
    entries
        .map(|line| {
            let parts: Vec<&str> = line.splitn(5, '`').collect();
            let [_, claim, kind, example, reason] = parts[..] else { panic!("a difference is not told: {line}") };
            let kind = kind.trim_matches([',', ':', ' ']);
            let kind = Kind::named(kind).unwrap_or_else(|| panic!("{kind:?} is no kind of difference: {line}"));
            assert!(reason.len() > 10, "a difference without a reason: {line}");
            Known { claim: claim.to_owned(), kind, example: example.to_owned() }
        })
        .collect()
}

fn open_path() -> PathBuf {
    repository().join("tests/differential/open.tsv")
}

/// The list of what is to be mended: lines of kind, claim, example.
pub fn open() -> Vec<Known> {
    let text = std::fs::read_to_string(open_path()).unwrap_or_default();
    let entries = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    entries
        .map(|line| {
            let parts: Vec<&str> = line.splitn(3, '\t').collect();
            let [kind, claim, example] = parts[..] else { panic!("a difference is not told: {line}") };
            let kind = Kind::named(kind).unwrap_or_else(|| panic!("{kind:?} is no kind of difference: {line}"));
            Known { claim: claim.to_owned(), kind, example: example.to_owned() }
        })
        .collect()
}

/// Writes that list anew.
pub fn write_open(mut entries: Vec<Known>) {
    entries.sort();
    entries.dedup_by(|a, b| a.claim == b.claim && a.kind == b.kind);
    let mut text = "# Differences from PostgreSQL 15 that are to be mended: kind, claim, example.\n".to_owned();
    for Known { claim, kind, example } in entries {
        text.push_str(&format!("{}\t{claim}\t{example}\n", kind.name()));
    }
    std::fs::write(open_path(), text).expect("the list can be written");
}
