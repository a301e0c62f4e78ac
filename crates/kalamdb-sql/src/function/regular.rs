//! Regular expressions (PostgreSQL manual 9.7.3).
//!
//! PostgreSQL's advanced syntax is translated for an engine that runs in linear time; what such an engine cannot do
//! (back references, look-around) is 0A000. One difference stays: of several alternatives that match at one place
//! this engine takes the first written, PostgreSQL the longest.

use super::rows::{self, Read as _, Text, f, fail, k, x};
use super::{Call, Function, Kind, SetRows};
use arrow_array::{Array, ArrayRef, BooleanArray};
use kalamdb_commons::{ArrayDatum, Datum, Result, SqlError, SqlState, SqlType};
use regex::{Regex, RegexBuilder};
use std::cell::RefCell;
use std::sync::Arc;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    x!(1254 "textregexeq" (Text, Text) -> Bool = |args, call| test(args, call, false, true)),
    x!(1256 "textregexne" (Text, Text) -> Bool = |args, call| test(args, call, false, false)),
    x!(1238 "texticregexeq" (Text, Text) -> Bool = |args, call| test(args, call, true, true)),
    x!(1239 "texticregexne" (Text, Text) -> Bool = |args, call| test(args, call, true, false)),
    x!(79 "nameregexeq" (Name, Text) -> Bool = |args, call| test(args, call, false, true)),
    x!(1252 "nameregexne" (Name, Text) -> Bool = |args, call| test(args, call, false, false)),
    x!(1240 "nameicregexeq" (Name, Text) -> Bool = |args, call| test(args, call, true, true)),
    x!(1241 "nameicregexne" (Name, Text) -> Bool = |args, call| test(args, call, true, false)),
    x!(1658 "bpcharregexeq" (Bpchar, Text) -> Bool = |args, call| test(args, call, false, true)),
    x!(1659 "bpcharregexne" (Bpchar, Text) -> Bool = |args, call| test(args, call, false, false)),
    x!(1656 "bpcharicregexeq" (Bpchar, Text) -> Bool = |args, call| test(args, call, true, true)),
    x!(1657 "bpcharicregexne" (Bpchar, Text) -> Bool = |args, call| test(args, call, true, false)),
    f!(6263 "regexp_like" (text: Text, pattern: Text) -> Bool { Ok(compiled(pattern, "")?.is_match(text)) }),
    f!(6264 "regexp_like" (text: Text, pattern: Text, flags: Text) -> Bool { Ok(single(pattern, flags, "regexp_like")?.is_match(text)) }),
    f!(6254 "regexp_count" (text: Text, pattern: Text) -> Int4 { count(text, pattern, 1, "") }),
    f!(6255 "regexp_count" (text: Text, pattern: Text, start: Int4) -> Int4 { count(text, pattern, start, "") }),
    f!(6256 "regexp_count" (text: Text, pattern: Text, start: Int4, flags: Text) -> Int4 { count(text, pattern, start, flags) }),
    f!(2284 "regexp_replace" (text: Text, pattern: Text, by: Text) -> Text { replace(text, pattern, by, 1, Which::Nth(1), "") }),
    f!(2285 "regexp_replace" (text: Text, pattern: Text, by: Text, flags: Text) -> Text { replace_flagged(text, pattern, by, flags) }),
    f!(6253 "regexp_replace" (text: Text, pattern: Text, by: Text, start: Int4) -> Text { replace(text, pattern, by, start, Which::Nth(1), "") }),
    f!(6252 "regexp_replace" (text: Text, pattern: Text, by: Text, start: Int4, n: Int4) -> Text { replace(text, pattern, by, start, which(n)?, "") }),
    f!(6251 "regexp_replace" (text: Text, pattern: Text, by: Text, start: Int4, n: Int4, flags: Text) -> Text { replace(text, pattern, by, start, which(n)?, flags) }),
    f!(3396 "regexp_match" (text: Text, pattern: Text) -> TextArray { Ok(first_match(text, &compiled(pattern, "")?)) }),
    f!(3397 "regexp_match" (text: Text, pattern: Text, flags: Text) -> TextArray { Ok(first_match(text, &single(pattern, flags, "regexp_match")?)) }),
    f!(2767 "regexp_split_to_array" (text: Text, pattern: Text) -> TextArray { Ok(split(text, &compiled(pattern, "")?)) }),
    f!(2768 "regexp_split_to_array" (text: Text, pattern: Text, flags: Text) -> TextArray { Ok(split(text, &single(pattern, flags, "regexp_split_to_array")?)) }),
    f!(6265 "regexp_substr" (text: Text, pattern: Text) -> Text { nth(text, pattern, 1, 1, "", 0) }),
    f!(6266 "regexp_substr" (text: Text, pattern: Text, start: Int4) -> Text { nth(text, pattern, start, 1, "", 0) }),
    f!(6267 "regexp_substr" (text: Text, pattern: Text, start: Int4, n: Int4) -> Text { nth(text, pattern, start, n, "", 0) }),
    f!(6268 "regexp_substr" (text: Text, pattern: Text, start: Int4, n: Int4, flags: Text) -> Text { nth(text, pattern, start, n, flags, 0) }),
    f!(6269 "regexp_substr" (text: Text, pattern: Text, start: Int4, n: Int4, flags: Text, group: Int4) -> Text { nth(text, pattern, start, n, flags, group) }),
    f!(6257 "regexp_instr" (text: Text, pattern: Text) -> Int4 { place(text, pattern, 1, 1, "") }),
    f!(6258 "regexp_instr" (text: Text, pattern: Text, start: Int4) -> Int4 { place(text, pattern, start, 1, "") }),
    f!(6259 "regexp_instr" (text: Text, pattern: Text, start: Int4, n: Int4) -> Int4 { place(text, pattern, start, n, "") }),
    f!(2073 "substring" (text: Text, pattern: Text) -> Text { Ok(substring(text, &compiled(pattern, "")?)) }),
    f!(2074 "substring" (text: Text, pattern: Text, escape: Text) -> Text {
        Ok(substring(text, &compiled(&super::like::similar_to_escape(pattern, escape)?, "")?))
    }),
    k!(2763 "regexp_matches" (Text, Text) -> TextArray = Kind::Set(|args, _| matches(&args, ""))),
    k!(2764 "regexp_matches" (Text, Text, Text) -> TextArray = Kind::Set(|args, _| matches(&args, args[2].as_str().unwrap_or_default()))),
    k!(2765 "regexp_split_to_table" (Text, Text) -> Text = Kind::Set(|args, _| split_rows(&args, ""))),
    k!(2766 "regexp_split_to_table" (Text, Text, Text) -> Text = Kind::Set(|args, _| split_rows(&args, args[2].as_str().unwrap_or_default()))),
];

/// Compiled patterns of this thread: patterns are few, and compiling one costs as much as thousands of matches.
const CACHE_MAX: usize = 64;

thread_local! {
    static CACHE: RefCell<Vec<(String, String, Regex)>> = const { RefCell::new(Vec::new()) };
}

/// A pattern with flags, ready to match.
pub(crate) fn compiled(pattern: &str, flags: &str) -> Result<Regex> {
    CACHE.with_borrow_mut(|cache| {
        if let Some(at) = cache.iter().position(|(text, known, _)| text == pattern && known == flags) {
            // The newest is found first.
            cache[..=at].rotate_right(1);
            return Ok(cache[0].2.clone());
        }
        let regex = compile(pattern, flags)?;
        cache.truncate(CACHE_MAX - 1);
        cache.insert(0, (pattern.to_owned(), flags.to_owned(), regex.clone()));
        Ok(regex)
    })
}

/// As [`compiled`], where the `g` flag has no meaning.
fn single(pattern: &str, flags: &str, function: &str) -> Result<Regex> {
    if flags.contains('g') {
        let message = format!("{function}() does not support the \"global\" option");
        let error = SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message);
        return Err(match function {
            "regexp_match" => error.with_hint("Use the regexp_matches function instead."),
            _ => error,
        });
    }
    compiled(pattern, flags)
}

fn invalid<T>(why: &str) -> Result<T> {
    fail(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {why}"))
}

fn compile(pattern: &str, flags: &str) -> Result<Regex> {
    let mut ignore_case = false;
    let (mut dot_stops, mut lines) = (false, false);
    let mut expanded = false;
    let mut literal = false;
    let mut pattern = pattern;
    let mut all_flags = flags.to_owned();
    // Options at the pattern's start: `***=` (literal), `***:` and `(?flags)`.
    if let Some(rest) = pattern.strip_prefix("***=") {
        (literal, pattern) = (true, rest);
    } else {
        pattern = pattern.strip_prefix("***:").unwrap_or(pattern);
        let embedded = pattern.strip_prefix("(?").and_then(|rest| rest.split_once(')'));
        if let Some((letters, rest)) = embedded
            && !letters.is_empty()
            && letters.bytes().all(|byte| byte.is_ascii_lowercase())
        {
            all_flags.push_str(letters);
            pattern = rest;
        }
    }
    for flag in all_flags.chars() {
        match flag {
            'i' => ignore_case = true,
            'c' => ignore_case = false,
            'n' | 'm' => (dot_stops, lines) = (true, true),
            's' => (dot_stops, lines) = (false, false),
            'p' => (dot_stops, lines) = (true, false),
            'w' => (dot_stops, lines) = (false, true),
            'x' => expanded = true,
            't' => expanded = false,
            'q' => literal = true,
            'e' | 'b' | 'g' => {}
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                return fail(SqlState::INVALID_PARAMETER_VALUE, message);
            }
        }
    }
    let translated = if literal { regex::escape(pattern) } else { translate(pattern)? };
    let built = RegexBuilder::new(&translated)
        .case_insensitive(ignore_case)
        .dot_matches_new_line(!dot_stops)
        .multi_line(lines)
        .ignore_whitespace(expanded && !literal)
        .build();
    match built {
        Ok(regex) => Ok(regex),
        Err(regex::Error::CompiledTooBig(_)) => invalid("regular expression is too complex"),
        Err(_) => invalid("invalid escape \\ sequence"),
    }
}

/// PostgreSQL's advanced syntax in the engine's.
fn translate(pattern: &str) -> Result<String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    let mut depth = 0_usize;
    // Whether a quantifier may follow.
    let mut operand = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let Some(escaped) = chars.next() else { return invalid("invalid escape \\ sequence") };
                operand = true;
                match escaped {
                    'y' => out.push_str("\\b"),
                    'Y' => out.push_str("\\B"),
                    'm' => out.push_str("\\b{start}"),
                    'M' => out.push_str("\\b{end}"),
                    'Z' => out.push_str("\\z"),
                    'B' => out.push_str("\\\\"),
                    'a' => out.push_str("\\x07"),
                    'b' => out.push_str("\\x08"),
                    'e' => out.push_str("\\x1b"),
                    '1'..='9' => return Err(SqlError::unsupported("a back reference in a regular expression")),
                    'A' | 'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'n' | 'r' | 't' | 'f' | 'v' | 'u' | 'U' | 'x' => {
                        out.extend(['\\', escaped]);
                    }
                    '0' => out.push_str("\\x00"),
                    c if c.is_ascii_alphanumeric() => return invalid("invalid escape \\ sequence"),
                    c => out.push_str(&regex::escape(&c.to_string())),
                }
            }
            '[' => {
                bracket(&mut chars, &mut out)?;
                operand = true;
            }
            '(' => {
                depth += 1;
                operand = false;
                out.push('(');
                if chars.peek() == Some(&'?') {
                    chars.next();
                    match chars.next() {
                        Some(':') => out.push_str("?:"),
                        Some('=' | '!' | '<') => {
                            return Err(SqlError::unsupported("look-around in a regular expression"));
                        }
                        _ => return invalid("quantifier operand invalid"),
                    }
                }
            }
            ')' => {
                if depth == 0 {
                    return invalid("parentheses () not balanced");
                }
                depth -= 1;
                operand = true;
                out.push(')');
            }
            '*' | '+' | '?' => {
                if !operand {
                    return invalid("quantifier operand invalid");
                }
                out.push(c);
                lazy(&mut chars, &mut out);
                operand = false;
            }
            '{' if chars.peek().is_some_and(char::is_ascii_digit) => {
                if !operand {
                    return invalid("quantifier operand invalid");
                }
                out.push('{');
                repetition(&mut chars, &mut out)?;
                lazy(&mut chars, &mut out);
                operand = false;
            }
            '{' | '}' | ']' => {
                out.extend(['\\', c]);
                operand = true;
            }
            '|' | '^' => {
                out.push(c);
                operand = false;
            }
            c => {
                out.push(c);
                operand = true;
            }
        }
    }
    if depth > 0 {
        return invalid("parentheses () not balanced");
    }
    Ok(out)
}

/// The `?` behind a quantifier that makes it lazy.
fn lazy(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    if chars.peek() == Some(&'?') {
        out.extend(chars.next());
    }
}

fn repetition(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) -> Result<()> {
    let mut bounds = String::new();
    for c in chars.by_ref() {
        if c == '}' {
            let (low, high) = bounds.split_once(',').unwrap_or((&bounds, &bounds));
            let number = |text: &str| text.parse::<u32>().ok().filter(|bound| *bound <= 255);
            let ordered = match (number(low), number(high)) {
                (Some(low), Some(high)) => low <= high,
                (Some(_), None) => high.is_empty(),
                _ => false,
            };
            if !ordered {
                return invalid("invalid repetition count(s)");
            }
            out.push_str(&bounds);
            out.push('}');
            return Ok(());
        }
        bounds.push(c);
    }
    invalid("braces {} not balanced")
}

/// A bracket expression: what is special in the engine's and not in PostgreSQL's is escaped.
fn bracket(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) -> Result<()> {
    out.push('[');
    if chars.peek() == Some(&'^') {
        out.extend(chars.next());
    }
    if chars.peek() == Some(&']') {
        chars.next();
        out.push_str("\\]");
    }
    while let Some(c) = chars.next() {
        match c {
            ']' => {
                out.push(']');
                return Ok(());
            }
            '[' if matches!(chars.peek(), Some(':' | '.' | '=')) => {
                let Some(kind) = chars.next() else { break };
                let mut name = String::new();
                while let Some(c) = chars.next() {
                    if c == kind && chars.peek() == Some(&']') {
                        chars.next();
                        break;
                    }
                    name.push(c);
                }
                match kind {
                    ':' => {
                        out.push_str("[:");
                        out.push_str(&name);
                        out.push_str(":]");
                    }
                    _ => out.push_str(&regex::escape(&name)),
                }
            }
            '[' | '&' | '~' => out.extend(['\\', c]),
            '\\' => match chars.next() {
                Some(class @ ('d' | 'D' | 'w' | 'W' | 's' | 'S' | 'n' | 'r' | 't' | 'f' | 'v' | 'u' | 'U' | 'x')) => {
                    out.extend(['\\', class]);
                }
                Some(c) => out.push_str(&regex::escape(&c.to_string())),
                None => break,
            },
            '-' if chars.peek() == Some(&'-') => out.push_str("\\-"),
            c => out.push(c),
        }
    }
    invalid("brackets [] not balanced")
}

fn test(args: &[ArrayRef], call: &Call<'_>, ignore_case: bool, positive: bool) -> Result<ArrayRef> {
    let [texts, patterns] = rows::arity(args)?;
    let (texts, patterns) = (Text::read(texts)?, Text::read(patterns)?);
    let mut newest: Option<(&str, Regex)> = None;
    let mut verdicts = Vec::with_capacity(call.rows);
    for row in 0..texts.len() {
        let pattern = patterns.value(row);
        if newest.as_ref().is_none_or(|(known, _)| *known != pattern) {
            newest = Some((pattern, compiled(pattern, if ignore_case { "i" } else { "" })?));
        }
        let Some((_, regex)) = &newest else { continue };
        verdicts.push(regex.is_match(texts.value(row)) == positive);
    }
    Ok(Arc::new(BooleanArray::from(verdicts)))
}

/// The byte at which a search from a character begins.
fn start_byte(text: &str, start: i32) -> Result<usize> {
    if start < 1 {
        let message = format!("invalid value for parameter \"start\": {start}");
        return fail(SqlState::INVALID_PARAMETER_VALUE, message);
    }
    Ok(text.char_indices().nth(start as usize - 1).map_or(text.len(), |(at, _)| at))
}

fn count(text: &str, pattern: &str, start: i32, flags: &str) -> Result<i32> {
    let regex = single(pattern, flags, "regexp_count")?;
    let start = start_byte(text, start)?;
    Ok(regex.find_iter(&text[start..]).count() as i32)
}

/// Which of the matches.
#[derive(Clone, Copy)]
enum Which {
    All,
    Nth(usize),
}

fn which(n: i32) -> Result<Which> {
    match usize::try_from(n) {
        Ok(0) => Ok(Which::All),
        Ok(n) => Ok(Which::Nth(n)),
        Err(_) => fail(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"n\": {n}")),
    }
}

fn replace_flagged(text: &str, pattern: &str, by: &str, flags: &str) -> Result<String> {
    // regexp_replace(text, pattern, by, '2') is taken for a mistaken start position.
    if flags.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("invalid regular expression option: \"{}\"", flags.chars().take(1).collect::<String>());
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).with_hint(
            "If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly.",
        ));
    }
    let which = if flags.contains('g') { Which::All } else { Which::Nth(1) };
    replace(text, pattern, by, 1, which, flags)
}

fn replace(text: &str, pattern: &str, by: &str, start: i32, which: Which, flags: &str) -> Result<String> {
    let regex = compiled(pattern, flags)?;
    let start = start_byte(text, start)?;
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (place, groups) in regex.captures_iter(&text[start..]).enumerate() {
        let Some(whole) = groups.get(0) else { continue };
        if let Which::Nth(n) = which {
            if place + 1 < n {
                continue;
            }
        }
        out.push_str(&text[copied..start + whole.start()]);
        expand(by, &groups, &mut out);
        copied = start + whole.end();
        if matches!(which, Which::Nth(_)) {
            break;
        }
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

/// `\1` to `\9`, `\&` and `\\` in a replacement.
fn expand(by: &str, groups: &regex::Captures<'_>, out: &mut String) {
    let mut chars = by.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('&') => out.push_str(&groups[0]),
            Some('\\') => out.push('\\'),
            Some(digit @ '1'..='9') => {
                let group = digit as usize - '0' as usize;
                out.push_str(groups.get(group).map_or("", |group| group.as_str()));
            }
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
}

/// The groups of a match; the whole match when there are none.
fn groups_of(groups: &regex::Captures<'_>) -> Vec<Option<String>> {
    let from = usize::from(groups.len() > 1);
    (from..groups.len()).map(|group| groups.get(group).map(|group| group.as_str().to_owned())).collect()
}

fn first_match(text: &str, regex: &Regex) -> Option<Vec<Option<String>>> {
    regex.captures(text).map(|groups| groups_of(&groups))
}

fn matches(args: &[Datum], flags: &str) -> Result<SetRows> {
    let [Datum::Text(text), Datum::Text(pattern), ..] = args else { return Ok(Box::new(std::iter::empty())) };
    let regex = compiled(pattern, flags)?;
    let limit = if flags.contains('g') { usize::MAX } else { 1 };
    let rows: Vec<_> = regex.captures_iter(text).take(limit).map(|groups| groups_of(&groups)).collect();
    Ok(Box::new(rows.into_iter().map(|groups| {
        let items = groups.into_iter().map(|group| group.map_or(Datum::Null, Datum::text)).collect();
        Ok(vec![ArrayDatum::usual(SqlType::Text, items).into()])
    })))
}

/// The pieces between matches. An empty match at the start, the end or right behind another match parts nothing.
fn split(text: &str, regex: &Regex) -> Vec<Option<String>> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for found in regex.find_iter(text) {
        if found.is_empty() && (found.start() == from || found.start() == text.len()) {
            continue;
        }
        pieces.push(Some(text[from..found.start()].to_owned()));
        from = found.end();
    }
    pieces.push(Some(text[from..].to_owned()));
    pieces
}

fn split_rows(args: &[Datum], flags: &str) -> Result<SetRows> {
    let [Datum::Text(text), Datum::Text(pattern), ..] = args else { return Ok(Box::new(std::iter::empty())) };
    let regex = single(pattern, flags, "regexp_split_to_table")?;
    let rows = split(text, &regex);
    Ok(Box::new(rows.into_iter().map(|piece| Ok(vec![piece.map_or(Datum::Null, Datum::text)]))))
}

/// The first group, or the whole match when there is none.
fn substring(text: &str, regex: &Regex) -> Option<String> {
    let groups = regex.captures(text)?;
    let group = usize::from(groups.len() > 1);
    groups.get(group).map(|found| found.as_str().to_owned())
}

fn nth(text: &str, pattern: &str, start: i32, n: i32, flags: &str, group: i32) -> Result<Option<String>> {
    let regex = single(pattern, flags, "regexp_substr")?;
    let start = start_byte(text, start)?;
    let Which::Nth(n) = which(n)? else {
        return fail(SqlState::INVALID_PARAMETER_VALUE, "invalid value for parameter \"n\": 0");
    };
    let Ok(group) = usize::try_from(group) else {
        let message = format!("invalid value for parameter \"subexpr\": {group}");
        return fail(SqlState::INVALID_PARAMETER_VALUE, message);
    };
    let found = regex.captures_iter(&text[start..]).nth(n - 1);
    Ok(found.and_then(|groups| groups.get(group).map(|found| found.as_str().to_owned())))
}

fn place(text: &str, pattern: &str, start: i32, n: i32, flags: &str) -> Result<i32> {
    let regex = single(pattern, flags, "regexp_instr")?;
    let start = start_byte(text, start)?;
    let Which::Nth(n) = which(n)? else {
        return fail(SqlState::INVALID_PARAMETER_VALUE, "invalid value for parameter \"n\": 0");
    };
    let found = regex.find_iter(&text[start..]).nth(n - 1);
    Ok(found.map_or(0, |found| text[..start + found.start()].chars().count() as i32 + 1))
}
