//! What KalamDB claims to have: every function, aggregate, window function, operator and cast of its catalog that
//! PostgreSQL's has too, as a statement with parameters.

use crate::forms::FORMS;
use crate::pipe::Pipe;
use crate::values;
use std::collections::{HashMap, HashSet};

/// What is not called, with the reason. `…` at the end stands for anything.
const LEFT_OUT: &[(&str, &str)] = &[
    ("version", "names the server"),
    ("inet_…", "shows the connection"),
    ("pg_backend_pid", "shows the connection"),
    ("pg_listening_channels", "shows the connection"),
    ("pg_postmaster_start_time", "shows the server's time"),
    ("pg_conf_load_time", "shows the server's time"),
    ("now", "shows the time"),
    ("statement_timestamp", "shows the time"),
    ("transaction_timestamp", "shows the time"),
    ("current_…", "shows session and settings"),
    ("session_user", "shows the session"),
    ("pg_stat_…", "counts what the server did"),
    ("pg_column_size", "shows how values are stored"),
    ("pg_database_size", "shows the data"),
    ("pg_relation_…", "shows the data"),
    ("pg_table_size", "shows the data"),
    ("pg_indexes_size", "shows the data"),
    ("pg_total_relation_size", "shows the data"),
    ("pg_tablespace_…", "shows the data"),
    ("pg_get_…", "shows objects, and the servers hold others: see the SQL records of the catalog"),
    ("pg_index…", "shows objects"),
    ("pg_partition_…", "shows objects"),
    ("pg_jit_available", "shows how the server was built"),
    ("obj_description", "shows objects"),
    ("col_description", "shows objects"),
    ("shobj_description", "shows objects"),
    ("has_…", "answers for the user, and the users differ"),
    ("pg_has_role", "answers for the user, and the users differ"),
    ("row_security_active", "answers for the user, and the users differ"),
    ("acldefault", "answers for the user, and the users differ"),
    ("txid_…", "numbers transactions"),
    ("pg_current_xact_id", "numbers transactions"),
];

/// A parameter.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its type, by `pg_type.typname`.
    pub ty: String,
    /// Its type's OID.
    pub oid: u32,
    /// Texts that mean something here.
    pub words: &'static [&'static str],
}

/// A statement that asks for one thing that KalamDB says to have.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What is asked for, as the lists name it: `lpad(text,int4,text)`, `int4 + int8`, `CAST(text AS date)`.
    pub name: String,
    /// The select list; `$1` and so on are parameters.
    pub list: String,
    /// What stands behind it.
    pub tail: String,
    /// The parameters.
    pub parameters: Vec<Parameter>,
    /// Whether the same is also asked for in another way, so that few rows suffice.
    pub brief: bool,
}

impl Claim {
    /// The statement that gives each column twice: as text and in binary.
    pub fn statement(&self) -> String {
        format!("SELECT {0}, {0}{1}", self.list, self.tail)
    }
}

/// What both catalogs say, and how to write it.
struct Catalog {
    /// Type names by OID.
    types: HashMap<u32, String>,
    /// Type OIDs by name.
    oids: HashMap<String, u32>,
    claims: Vec<Claim>,
    seen: HashSet<String>,
}

/// Everything there is to ask for. Types and OIDs are those of PostgreSQL; what KalamDB has beyond it is left out.
pub fn all(ours: &mut Pipe<'_>, theirs: &mut Pipe<'_>) -> Vec<Claim> {
    let oid = |text: &Option<String>| -> u32 { text.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0) };
    let known = theirs.table("SELECT oid, typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace");
    let types: HashMap<u32, String> =
        known.into_iter().map(|row| (oid(&row[0]), row[1].clone().unwrap_or_default())).collect();
    let oids = types.iter().map(|(oid, name)| (name.clone(), *oid)).collect();
    let mut catalog = Catalog { types, oids, claims: Vec::new(), seen: HashSet::new() };
    catalog.operators(ours);
    catalog.casts(ours);
    catalog.forms();
    catalog.functions(ours, theirs);
    catalog.claims
}

impl Catalog {
    fn parameter(&self, ty: &str, words: &'static [&'static str]) -> Option<Parameter> {
        let oid = *self.oids.get(ty)?;
        values::edges(ty).map(|_| Parameter { ty: ty.to_owned(), oid, words })
    }

    fn add(&mut self, name: String, list: String, tail: String, parameters: Vec<Parameter>, brief: bool) {
        if self.seen.insert(name.clone()) {
            self.claims.push(Claim { name, list, tail, parameters, brief });
        }
    }

    /// The types to try for a signature: itself, or what its polymorphic types may stand for.
    fn concrete(&self, types: &[u32]) -> Vec<Vec<String>> {
        let names: Vec<&str> = types.iter().map(|oid| self.types.get(oid).map_or("", String::as_str)).collect();
        let is_polymorphic = |name: &str| name.starts_with("any");
        if !names.iter().any(|name| is_polymorphic(name)) {
            return vec![names.iter().map(|name| (*name).to_owned()).collect()];
        }
        let stands_for = |name: &str, element: &str| match name {
            "anyelement" | "anynonarray" | "anycompatible" | "anycompatiblenonarray" | "any" => element.to_owned(),
            "anyarray" | "anycompatiblearray" => format!("_{element}"),
            other => other.to_owned(),
        };
        ["int4", "text"].iter().map(|element| names.iter().map(|name| stands_for(name, element)).collect()).collect()
    }

    fn operators(&mut self, ours: &mut Pipe<'_>) {
        let rows = ours.table(
            "SELECT oprname, oprleft, oprright, coalesce(proname, '') FROM pg_operator LEFT JOIN pg_proc p ON p.oid = oprcode \
             ORDER BY pg_operator.oid",
        );
        for row in rows {
            let [Some(name), Some(left), Some(right), Some(function)] = &row[..] else { continue };
            let operands: Vec<u32> = [left, right].into_iter().filter_map(|oid| oid.parse().ok()).collect();
            let operands: Vec<u32> = operands.into_iter().filter(|oid| *oid != 0).collect();
            for types in self.concrete(&operands) {
                let parameters: Option<Vec<Parameter>> = (types.iter().enumerate())
                    .map(|(at, ty)| self.parameter(ty, values::words(function, at + 1)))
                    .collect();
                let Some(parameters) = parameters else { continue };
                let (shown, list) = match &types[..] {
                    [left, right] => (format!("{left} {name} {right}"), format!("$1 {name} $2")),
                    [right] => (format!("{name} {right}"), format!("{name} $1")),
                    _ => continue,
                };
                self.add(shown, list, String::new(), parameters, false);
            }
        }
    }

    fn casts(&mut self, ours: &mut Pipe<'_>) {
        let rows = ours.table("SELECT castsource, casttarget FROM pg_cast ORDER BY 1, 2");
        let listed = rows.iter().filter_map(|row| {
            let name = |at: usize| {
                let oid: u32 = row[at].as_deref()?.parse().ok()?;
                self.types.get(&oid).cloned()
            };
            Some((name(0)?, name(1)?))
        });
        let mut casts: Vec<(String, String)> = listed.collect();
        // Through the text form: every type has these.
        let rows = ours.table("SELECT typname FROM pg_type WHERE typtype = 'b' AND oid < 10000 ORDER BY oid");
        for row in rows {
            let Some(ty) = row[0].clone().filter(|ty| self.oids.contains_key(ty)) else { continue };
            casts.push(("text".to_owned(), ty.clone()));
            casts.push((ty.clone(), "text".to_owned()));
            casts.push((ty.clone(), "varchar".to_owned()));
            casts.push((ty, "bpchar".to_owned()));
        }
        let arrays =
            [("_int4", "_int8"), ("_int8", "_int4"), ("_int4", "_text"), ("_text", "_int4"), ("_float8", "_numeric")];
        casts.extend(arrays.map(|(from, to)| (from.to_owned(), to.to_owned())));
        for (source, target) in casts {
            let words =
                if matches!(source.as_str(), "text" | "varchar" | "bpchar") { values::spellings(&target) } else { &[] };
            let Some(parameter) = self.parameter(&source, words) else { continue };
            let written = type_written(&target);
            let name = format!("CAST({source} AS {target})");
            self.add(name, format!("CAST($1 AS {written})"), String::new(), vec![parameter], false);
        }
    }

    fn forms(&mut self) {
        for (form, types) in FORMS {
            let parameters: Option<Vec<Parameter>> = types
                .iter()
                .map(|ty| {
                    let (ty, words) = ty.split_once(':').unwrap_or((ty, ""));
                    let (function, place) = words.split_once(' ').unwrap_or((words, "1"));
                    self.parameter(ty, values::words(function, place.parse().expect("a place")))
                })
                .collect();
            let parameters = parameters.unwrap_or_else(|| panic!("values for the types of {form}"));
            let mut name = (*form).to_owned();
            for (at, parameter) in parameters.iter().enumerate().rev() {
                name = name.replace(&format!("${}", at + 1), &parameter.ty);
            }
            self.add(name, (*form).to_owned(), String::new(), parameters, false);
        }
    }

    fn functions(&mut self, ours: &mut Pipe<'_>, theirs: &mut Pipe<'_>) {
        // What takes the server's own structures or C strings cannot be called; input functions are behind every
        // parameter.
        let callable = "SELECT oid FROM pg_proc WHERE NOT proargtypes::oid[] && '{internal,cstring}'::regtype[]::oid[] \
                        AND pronamespace = 'pg_catalog'::regnamespace";
        let there: HashSet<String> = theirs.table(callable).into_iter().filter_map(|mut row| row[0].take()).collect();
        let direct: HashMap<String, (String, usize)> = theirs
            .table("SELECT aggfnoid::oid, aggkind, aggnumdirectargs FROM pg_aggregate")
            .into_iter()
            .filter_map(|row| match &row[..] {
                [Some(oid), Some(kind), Some(direct)] => Some((oid.clone(), (kind.clone(), direct.parse().ok()?))),
                _ => None,
            })
            .collect();
        let behind: HashSet<String> = ours
            .table("SELECT oprcode::oid FROM pg_operator")
            .into_iter()
            .filter_map(|mut row| row[0].take())
            .collect();
        let rows = ours.table(
            "SELECT oid, proname, prokind, CASE WHEN proretset THEN prorettype::regtype::text END, provariadic, \
             pronargdefaults, proargtypes FROM pg_proc WHERE provolatile <> 'v' ORDER BY proname, oid",
        );
        for row in rows {
            let [Some(oid), Some(name), Some(kind), set, Some(variadic), Some(defaults), Some(types)] = &row[..] else {
                continue;
            };
            if !there.contains(oid) || is_left_out(name) {
                continue;
            }
            let types: Vec<u32> = types.split_whitespace().filter_map(|oid| oid.parse().ok()).collect();
            let defaults: usize = defaults.parse().unwrap_or(0);
            for mut types in self.shapes(&types, variadic.parse().unwrap_or(0), defaults) {
                match kind.as_str() {
                    "a" => self.aggregate(name, &mut types, direct.get(oid)),
                    "w" => self.window(name, &types),
                    _ => self.function(name, &types, set.as_deref(), behind.contains(oid)),
                }
            }
        }
    }

    /// The argument lists of a function: with and without defaults, with none to two variadic arguments.
    fn shapes(&self, types: &[u32], variadic: u32, defaults: usize) -> Vec<Vec<u32>> {
        if variadic == 0 {
            return (types.len() - defaults..=types.len()).map(|count| types[..count].to_vec()).collect();
        }
        let element = self
            .types
            .get(&variadic)
            .and_then(|name| name.strip_prefix('_'))
            .map_or(variadic, |name| self.oids.get(name).copied().unwrap_or(variadic));
        let fixed = &types[..types.len() - 1];
        // Variadic arguments of any types are of several.
        let any = self.types.get(&variadic).is_some_and(|name| name == "any");
        let named = |name: &str| self.oids.get(name).copied().unwrap_or(0);
        let tails = if any {
            vec![
                vec![named("text")],
                vec![named("text"), named("int4")],
                vec![named("float8"), named("text")],
                vec![named("timestamptz"), named("_int4")],
            ]
        } else {
            vec![vec![element], vec![element, element]]
        };
        tails.into_iter().map(|tail| [fixed, &tail].concat()).collect()
    }

    fn parameters(&self, name: &str, types: &[String]) -> Option<Vec<Parameter>> {
        let key = match (name, types.first().map(String::as_str), types.len()) {
            ("to_char", Some("int4" | "int8" | "float4" | "float8" | "numeric"), _) => "to_char(number)",
            ("regexp_replace", _, 6) => "regexp_replace(6)",
            _ => name,
        };
        types.iter().enumerate().map(|(at, ty)| self.parameter(ty, values::words(key, at + 1))).collect()
    }

    fn function(&mut self, name: &str, types: &[u32], set: Option<&str>, brief: bool) {
        for types in self.concrete(types) {
            let Some(parameters) = self.parameters(name, &types) else { continue };
            let places: Vec<String> = (1..=types.len()).map(|place| format!("${place}")).collect();
            let call = format!("{}({})", called(name), places.join(", "));
            let shown = format!("{name}({})", types.join(","));
            if set == Some("record") {
                self.add(shown, "r.*".to_owned(), format!(" FROM {call} r LIMIT 20"), parameters, brief);
            } else {
                // In FROM, PostgreSQL makes all rows before it gives the first.
                let tail = if set.is_some() { " LIMIT 20" } else { "" };
                self.add(shown, call, tail.to_owned(), parameters, brief);
            }
        }
    }

    fn aggregate(&mut self, name: &str, types: &mut [u32], facts: Option<&(String, usize)>) {
        const ROWS: usize = 4;
        let Some((kind, direct)) = facts else { return };
        for types in self.concrete(types) {
            let Some(given) = self.parameters(name, &types) else { continue };
            let (before, within) = given.split_at(if kind == "n" { 0 } else { *direct });
            let mut parameters = before.to_vec();
            let places: Vec<String> = (1..=before.len()).map(|place| format!("${place}")).collect();
            let mut rows = Vec::new();
            for _ in 0..ROWS {
                let mut row = Vec::new();
                for parameter in within {
                    parameters.push(parameter.clone());
                    row.push(format!("${}", parameters.len()));
                }
                rows.push(format!("({})", if row.is_empty() { "1".to_owned() } else { row.join(", ") }));
            }
            let columns: Vec<String> = (0..within.len().max(1)).map(|at| format!("c{at}")).collect();
            let call = match (kind.as_str(), within.len()) {
                ("n", 0) => format!("{name}(*)"),
                ("n", _) => format!("{name}({})", columns.join(", ")),
                _ => format!("{name}({}) WITHIN GROUP (ORDER BY {})", places.join(", "), columns.join(", ")),
            };
            let tail = format!(" FROM (VALUES {}) v({})", rows.join(", "), columns.join(", "));
            self.add(format!("{name}({})", types.join(",")), call, tail, parameters, false);
        }
    }

    fn window(&mut self, name: &str, types: &[u32]) {
        for types in self.concrete(types) {
            let Some(given) = self.parameters(name, &types) else { continue };
            // The first argument of a polymorphic one is the column; what follows is constant.
            let column = types.first().filter(|ty| ty.as_str() != "int4" || types.len() > 1).cloned();
            let column = if name == "ntile" { None } else { column.or_else(|| types.first().cloned()) };
            let ordered = column.clone().unwrap_or_else(|| "int4".to_owned());
            let Some(ordered) = self.parameter(&ordered, &[]) else { continue };
            let mut parameters = vec![ordered; 4];
            let mut arguments = Vec::new();
            for (at, parameter) in given.into_iter().enumerate() {
                if at == 0 && column.is_some() {
                    arguments.push("x".to_owned());
                } else {
                    parameters.push(parameter);
                    arguments.push(format!("${}", parameters.len()));
                }
            }
            let call = format!("{name}({}) OVER (ORDER BY x)", arguments.join(", "));
            let tail = " FROM (VALUES ($1), ($2), ($3), ($4)) v(x) ORDER BY x".to_owned();
            self.add(format!("{name}({}) OVER", types.join(",")), call, tail, parameters, false);
        }
    }
}

fn is_left_out(name: &str) -> bool {
    LEFT_OUT.iter().any(|(pattern, _)| match pattern.strip_suffix('…') {
        Some(start) => name.starts_with(start),
        None => name == *pattern,
    })
}

/// A function's name as a call writes it where the name alone means something else in the grammar.
fn called(name: &str) -> String {
    let is_word = matches!(
        name,
        "overlay"
            | "position"
            | "substring"
            | "extract"
            | "normalize"
            | "overlaps"
            | "timestamp"
            | "time"
            | "interval"
            | "char"
            | "bpchar"
            | "varchar"
            | "numeric"
            | "int2"
            | "int4"
            | "int8"
            | "float4"
            | "float8"
            | "bool"
            | "like"
            | "notlike"
            | "text"
            | "date"
            | "timestamptz"
            | "name"
            | "oid"
            | "regclass"
            | "json"
            | "jsonb"
            | "is_normalized"
            | "timezone"
    );
    if is_word { format!("pg_catalog.\"{name}\"") } else { name.to_owned() }
}

/// A type as SQL writes it.
pub fn type_written(name: &str) -> String {
    match name.strip_prefix('_') {
        Some(element) => format!("{}[]", type_written(element)),
        None if name == "char" => "\"char\"".to_owned(),
        None => name.to_owned(),
    }
}
