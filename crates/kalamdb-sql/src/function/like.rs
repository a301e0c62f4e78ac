//! LIKE, ILIKE and SIMILAR TO (PostgreSQL manual 9.7.1, 9.7.2). Regular expressions are in [`super::regular`].

use super::rows::{self, Read as _, Text, f, fail, x};
use super::{Call, Function};
use arrow_array::{Array, ArrayRef, BooleanArray};
use kalamdb_commons::{Result, SqlError, SqlState};
use memchr::memmem;
use std::sync::Arc;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    x!(850 "textlike" (Text, Text) -> Bool = |args, call| like(args, call, Fold::Exact, true)),
    x!(851 "textnlike" (Text, Text) -> Bool = |args, call| like(args, call, Fold::Exact, false)),
    x!(1631 "bpcharlike" (Bpchar, Text) -> Bool = |args, call| like(args, call, Fold::Exact, true)),
    x!(1632 "bpcharnlike" (Bpchar, Text) -> Bool = |args, call| like(args, call, Fold::Exact, false)),
    x!(858 "namelike" (Name, Text) -> Bool = |args, call| like(args, call, Fold::Exact, true)),
    x!(859 "namenlike" (Name, Text) -> Bool = |args, call| like(args, call, Fold::Exact, false)),
    x!(1633 "texticlike" (Text, Text) -> Bool = |args, call| like(args, call, Fold::Lower, true)),
    x!(1634 "texticnlike" (Text, Text) -> Bool = |args, call| like(args, call, Fold::Lower, false)),
    x!(1660 "bpchariclike" (Bpchar, Text) -> Bool = |args, call| like(args, call, Fold::Lower, true)),
    x!(1661 "bpcharicnlike" (Bpchar, Text) -> Bool = |args, call| like(args, call, Fold::Lower, false)),
    x!(1635 "nameiclike" (Name, Text) -> Bool = |args, call| like(args, call, Fold::Lower, true)),
    x!(1636 "nameicnlike" (Name, Text) -> Bool = |args, call| like(args, call, Fold::Lower, false)),
    x!(1569 "like" (Text, Text) -> Bool = |args, call| like(args, call, Fold::Exact, true)),
    x!(1570 "notlike" (Text, Text) -> Bool = |args, call| like(args, call, Fold::Exact, false)),
    f!(1637 "like_escape" (pattern: Text, escape: Text) -> Text { like_escape(pattern, escape) }),
    f!(1987 "similar_to_escape" (pattern: Text) -> Text { similar_to_escape(pattern, "\\") }),
    f!(1986 "similar_to_escape" (pattern: Text, escape: Text) -> Text { similar_to_escape(pattern, escape) }),
];

/// Whether case counts.
#[derive(Clone, Copy, PartialEq)]
enum Fold {
    Exact,
    Lower,
}

fn like(args: &[ArrayRef], call: &Call<'_>, fold: Fold, positive: bool) -> Result<ArrayRef> {
    let [texts, patterns] = rows::arity(args)?;
    let (texts, patterns) = (Text::read(texts)?, Text::read(patterns)?);
    let mut newest: Option<(&str, Matcher)> = None;
    let mut verdicts = Vec::with_capacity(call.rows);
    for row in 0..texts.len() {
        let pattern = patterns.value(row);
        // The pattern is nearly always one for all rows.
        if newest.as_ref().is_none_or(|(known, _)| *known != pattern) {
            newest = Some((pattern, Matcher::new(&folded(pattern, fold))));
        }
        let Some((_, matcher)) = &newest else { continue };
        let text = texts.value(row);
        let matched = match fold {
            Fold::Exact => matcher.matches(text)?,
            Fold::Lower => matcher.matches(&folded(text, fold))?,
        };
        verdicts.push(matched == positive);
    }
    Ok(Arc::new(BooleanArray::from(verdicts)))
}

/// LIKE of binary strings: a byte is what a character is elsewhere.
pub(super) fn bytes_match(bytes: &[u8], pattern: &[u8]) -> Result<bool> {
    let text = |bytes: &[u8]| -> String { bytes.iter().copied().map(char::from).collect() };
    Matcher::new(&text(pattern)).matches(&text(bytes))
}

fn folded(text: &str, fold: Fold) -> String {
    match fold {
        Fold::Exact => text.to_owned(),
        Fold::Lower => super::string::lower(text),
    }
}

/// A pattern made ready. The common shapes are searches for plain text.
enum Matcher {
    Equal(String),
    Starts(String),
    Ends(String),
    Contains(memmem::Finder<'static>),
    General(Vec<Step>),
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    /// This character.
    Char(char),
    /// `_`
    One,
    /// `%`
    Any,
    /// An escape at the end of the pattern: an error when the text gets so far.
    Dangling,
}

impl Matcher {
    fn new(pattern: &str) -> Matcher {
        let mut steps = Vec::with_capacity(pattern.len());
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            steps.push(match c {
                '%' if steps.last() == Some(&Step::Any) => continue,
                '%' => Step::Any,
                '_' => Step::One,
                '\\' => chars.next().map_or(Step::Dangling, Step::Char),
                c => Step::Char(c),
            });
        }
        let plain = |steps: &[Step]| -> Option<String> {
            steps.iter().map(|step| if let Step::Char(c) = step { Some(*c) } else { None }).collect()
        };
        let shape = match steps.as_slice() {
            [Step::Any, middle @ .., Step::Any] => {
                plain(middle).map(|text| Matcher::Contains(memmem::Finder::new(text.as_bytes()).into_owned()))
            }
            [Step::Any, rest @ ..] => plain(rest).map(Matcher::Ends),
            [rest @ .., Step::Any] => plain(rest).map(Matcher::Starts),
            all => plain(all).map(Matcher::Equal),
        };
        shape.unwrap_or(Matcher::General(steps))
    }

    fn matches(&self, text: &str) -> Result<bool> {
        match self {
            Matcher::Equal(whole) => Ok(text == whole),
            Matcher::Starts(start) => Ok(text.starts_with(start.as_str())),
            Matcher::Ends(end) => Ok(text.ends_with(end.as_str())),
            Matcher::Contains(finder) => Ok(finder.find(text.as_bytes()).is_some()),
            Matcher::General(steps) => general(steps, text),
        }
    }
}

/// Only the newest `%` can give more: so the work is at most text times pattern.
fn general(steps: &[Step], text: &str) -> Result<bool> {
    let (mut place, mut rest) = (0, text);
    let mut retry: Option<(usize, &str)> = None;
    loop {
        let mut chars = rest.chars();
        let fits = match steps.get(place) {
            Some(Step::Any) => {
                place += 1;
                retry = Some((place, rest));
                continue;
            }
            None if rest.is_empty() => return Ok(true),
            None => false,
            Some(_) if rest.is_empty() => return Ok(false),
            Some(Step::Dangling) => {
                let message = "LIKE pattern must not end with escape character";
                return fail(SqlState::INVALID_ESCAPE_SEQUENCE, message);
            }
            Some(Step::One) => chars.next().is_some(),
            Some(Step::Char(c)) => chars.next() == Some(*c),
        };
        if fits {
            place += 1;
            rest = chars.as_str();
            continue;
        }
        // One more character for the newest `%`.
        let Some((behind, from)) = retry else { return Ok(false) };
        let mut chars = from.chars();
        if chars.next().is_none() {
            return Ok(false);
        }
        retry = Some((behind, chars.as_str()));
        (place, rest) = (behind, chars.as_str());
    }
}

fn invalid_escape() -> SqlError {
    SqlError::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
        .with_hint("Escape string must be empty or one character.")
}

/// The escape character; `None` for none.
fn escape_char(escape: &str) -> Result<Option<char>> {
    let mut chars = escape.chars();
    match (chars.next(), chars.next()) {
        (first, None) => Ok(first),
        _ => Err(invalid_escape()),
    }
}

/// A pattern with another escape character as one with a backslash.
fn like_escape(pattern: &str, escape: &str) -> Result<String> {
    let escape = escape_char(escape)?;
    if escape == Some('\\') {
        return Ok(pattern.to_owned());
    }
    let mut out = String::with_capacity(pattern.len() + 4);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => {
                out.push('\\');
                out.extend(chars.next());
            }
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// A SIMILAR TO pattern as a regular expression (PostgreSQL manual 9.7.2). A doubled `escape"` marks what
/// `substring` is to give.
pub(super) fn similar_to_escape(pattern: &str, escape: &str) -> Result<String> {
    let escape = escape_char(escape).map_err(|_| {
        SqlError::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
            .with_hint("Escape string must be empty or one character.")
    })?;
    let mut out = String::from("^(?:");
    let mut in_set = false;
    let mut separators = 0;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            match chars.next() {
                Some('"') if !in_set => {
                    match separators {
                        0 => out.push_str("){1,1}?("),
                        1 => out.push_str("){1,1}(?:"),
                        _ => {
                            let message =
                                "SQL regular expression may not contain more than two escape-double-quote separators";
                            return fail(SqlState::INVALID_USE_OF_ESCAPE_CHARACTER, message);
                        }
                    }
                    separators += 1;
                }
                Some(next) if next.is_alphanumeric() => out.push(next),
                Some(next) => out.extend(['\\', next]),
                None => {}
            }
            continue;
        }
        match c {
            ']' if in_set => {
                in_set = false;
                out.push(c);
            }
            '\\' => out.push_str("\\\\"),
            c if in_set => out.push(c),
            '[' => {
                in_set = true;
                out.push(c);
                // A `]` or `^]` at the beginning belongs to the set.
                if chars.peek() == Some(&'^') {
                    out.extend(chars.next());
                }
                if chars.peek() == Some(&']') {
                    out.extend(chars.next());
                }
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '.' | '^' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}
