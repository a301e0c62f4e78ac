//! Rows of arguments for a claim: all combinations of edges where they are few, else each edge at least once, and
//! random values.

use crate::claims::{Claim, Parameter, type_written};
use crate::pipe::Value;
use crate::values;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};

/// How many rows a claim gets.
const ROWS: usize = 80;
/// How many a function gets whose operator is tried too.
const ROWS_BRIEF: usize = 8;
/// How many of them are random.
const RANDOM: usize = 24;

/// One row of arguments as text.
pub type Row = Vec<Option<String>>;

/// The rows for a claim. They depend on its name and the seed alone, so that another claim changes nothing here.
pub fn rows(claim: &Claim, seed: u64) -> Vec<Row> {
    let parameters = &claim.parameters;
    if parameters.is_empty() {
        return vec![Vec::new()];
    }
    let random = &mut StdRng::seed_from_u64(seed ^ hash(&claim.name));
    let edges: Vec<Vec<Option<String>>> = parameters.iter().map(edges).collect();
    let most = if claim.brief { ROWS_BRIEF } else { ROWS };
    let mut rows: Vec<Row> = Vec::new();
    // NULL in each place.
    for place in 0..parameters.len().min(4) {
        let mut row: Row = edges.iter().map(|edges| edges.choose(random).cloned().flatten()).collect();
        row[place] = None;
        rows.push(row);
    }
    let combinations = edges.iter().fold(1_usize, |product, edges| product.saturating_mul(edges.len()));
    if combinations <= most {
        for number in 0..combinations {
            let mut rest = number;
            let row = edges.iter().map(|edges| {
                let value = edges[rest % edges.len()].clone();
                rest /= edges.len();
                value
            });
            rows.push(row.collect());
        }
    } else {
        let longest = edges.iter().map(Vec::len).max().unwrap_or(0);
        let count = if claim.brief { most } else { longest.max(most - RANDOM) };
        let mut orders: Vec<Vec<Option<String>>> = edges.clone();
        for at in 0..count {
            for order in &mut orders {
                if at % order.len() == 0 {
                    order.shuffle(random);
                }
            }
            rows.push(orders.iter().map(|order| order[at % order.len()].clone()).collect());
        }
    }
    for _ in 0..if claim.brief { 0 } else { RANDOM } {
        let row = parameters.iter().zip(&edges).map(|(parameter, edges)| {
            let drawn = if parameter.words.is_empty() { values::random(&parameter.ty, random) } else { None };
            match drawn {
                Some(value) if random.random_range(0..4) > 0 => Some(value),
                _ => edges.choose(random).cloned().flatten(),
            }
        });
        rows.push(row.collect());
    }
    rows
}

fn edges(parameter: &Parameter) -> Vec<Option<String>> {
    let own = values::edges(&parameter.ty).unwrap_or_default();
    // Where words mean something, a few other texts will do.
    let own = if parameter.words.is_empty() { own } else { &own[..own.len().min(4)] };
    parameter.words.iter().chain(own).map(|text| Some((*text).to_owned())).collect()
}

/// FNV-1a: the same in every build.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A row as a Bind message wants it.
pub fn bound(row: &Row) -> Vec<Value> {
    row.iter().map(|value| value.as_ref().map(|text| text.as_bytes().into())).collect()
}

/// The claim's statement with the arguments written into it.
pub fn written(claim: &Claim, row: &Row) -> String {
    let statement = format!("SELECT {}{}", claim.list, claim.tail);
    let mut written = String::new();
    let mut rest = statement.as_str();
    while let Some(at) = rest.find('$') {
        written.push_str(&rest[..at]);
        let digits: String = rest[at + 1..].chars().take_while(char::is_ascii_digit).collect();
        match digits
            .parse::<usize>()
            .ok()
            .and_then(|place| Some((row.get(place - 1)?, claim.parameters.get(place - 1)?)))
        {
            Some((value, parameter)) => written.push_str(&literal(value.as_deref(), parameter)),
            None => written.push_str(&rest[at..=at + digits.len()]),
        }
        rest = &rest[at + 1 + digits.len()..];
    }
    written.push_str(rest);
    written
}

fn literal(value: Option<&str>, parameter: &Parameter) -> String {
    let ty = type_written(&parameter.ty);
    let Some(text) = value else { return format!("NULL::{ty}") };
    if text.chars().any(char::is_control) {
        let escaped: String = text
            .chars()
            .map(|letter| match letter {
                '\'' => "''".to_owned(),
                '\\' => "\\\\".to_owned(),
                '\t' => "\\t".to_owned(),
                '\n' => "\\n".to_owned(),
                other if other.is_control() => format!("\\x{:02x}", u32::from(other)),
                other => other.to_string(),
            })
            .collect();
        return format!("E'{escaped}'::{ty}");
    }
    format!("'{}'::{ty}", text.replace('\'', "''"))
}
