//! Queries at random, each valid by its types.
//!
//! Whatever SQL leaves open is avoided, so that a difference is a fault: numerics are trimmed (1.5 and 1.50 are equal
//! and print differently), a window is ordered by everything in scope, an ordered aggregate by its argument, and a LIMIT
//! stands over an order of all columns.

use crate::schema::{KINDS, Kind, Schema, Table, pick};
use rand::RngExt;
use rand::rngs::StdRng;

/// A query.
pub(crate) struct Query {
    pub(crate) sql: String,
    /// Whether its order is total.
    pub(crate) ordered: bool,
}

/// A query and what it falls into by a predicate.
pub(crate) struct Partitioned {
    pub(crate) whole: String,
    /// Where the predicate is true, false, and null.
    pub(crate) thirds: [String; 3],
    /// For how many rows it is true, counted without a WHERE.
    pub(crate) counted: String,
}

/// A column in scope.
#[derive(Debug, Clone)]
struct Column {
    text: String,
    kind: Kind,
}

/// The generator: what is in scope, and how much more it may nest.
pub(crate) struct Generator<'a> {
    random: &'a mut StdRng,
    tables: Vec<Table>,
    names: usize,
    /// Columns of the queries around this one, the innermost last.
    outer: Vec<Column>,
    nesting: usize,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(random: &'a mut StdRng, schema: &Schema) -> Self {
        Self { random, tables: schema.tables.clone(), names: 0, outer: Vec::new(), nesting: 0 }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    fn up_to(&mut self, count: usize) -> usize {
        self.random.random_range(0..count)
    }

    fn name(&mut self, letter: &str) -> String {
        self.names += 1;
        format!("{letter}{}", self.names)
    }

    fn kind(&mut self) -> Kind {
        KINDS[self.up_to(KINDS.len())]
    }

    fn kinds(&mut self) -> Vec<Kind> {
        (0..1 + self.up_to(4)).map(|_| self.kind()).collect()
    }

    /// A whole query.
    pub(crate) fn query(mut self) -> Query {
        let kinds = self.kinds();
        let mut with = String::new();
        if self.chance(20) {
            let cte = self.kinds();
            let body = self.select(&cte);
            let name = self.name("w");
            let hint = pick(self.random, &["", "MATERIALIZED ", "NOT MATERIALIZED "]);
            let columns: Vec<(String, Kind)> =
                cte.iter().enumerate().map(|(at, kind)| (format!("x{at}"), *kind)).collect();
            let list: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            with = format!("WITH {name} ({}) AS {hint}({body}) ", list.join(", "));
            self.tables.push(Table { name, columns });
        }
        let body = self.set_operation(&kinds);
        let ordered = self.chance(50);
        if !ordered {
            return Query { sql: format!("{with}{body}"), ordered };
        }
        let order: Vec<String> = (1..=kinds.len())
            .map(|at| format!("{at}{}", pick(self.random, &["", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST"])))
            .collect();
        let limit = match self.up_to(4) {
            0 => format!(" LIMIT {}", self.up_to(12)),
            1 => format!(" OFFSET {} LIMIT {}", self.up_to(5), self.up_to(12)),
            2 => format!(" FETCH FIRST {} ROWS ONLY", self.up_to(12)),
            _ => String::new(),
        };
        Query { sql: format!("{with}SELECT * FROM ({body}) AS q ORDER BY {}{limit}", order.join(", ")), ordered }
    }

    /// A query without aggregates, and its parts by a predicate.
    pub(crate) fn partitioned(mut self) -> Partitioned {
        let (from, scope) = self.from();
        let kinds = self.kinds();
        let outputs: Vec<String> = kinds.iter().map(|kind| self.expr(*kind, &scope, 2)).collect();
        let predicate = self.expr(Kind::Bool, &scope, 4);
        let select = format!("SELECT {} FROM {from}", outputs.join(", "));
        Partitioned {
            thirds: [
                format!("{select} WHERE {predicate}"),
                format!("{select} WHERE NOT ({predicate})"),
                format!("{select} WHERE ({predicate}) IS NULL"),
            ],
            counted: format!(
                "SELECT count(*) FILTER (WHERE p) FROM (SELECT ({predicate}) IS TRUE AS p FROM {from}) AS q"
            ),
            whole: select,
        }
    }

    fn set_operation(&mut self, kinds: &[Kind]) -> String {
        if !self.chance(15) {
            return self.select(kinds);
        }
        let (left, right) = (self.select(kinds), self.select(kinds));
        let operator = pick(self.random, &["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"]);
        format!("({left}) {operator} ({right})")
    }

    /// A SELECT with these output types, and output names `x0`, `x1`, ….
    fn select(&mut self, kinds: &[Kind]) -> String {
        let (from, scope) = self.from();
        let filter =
            if self.chance(60) { format!(" WHERE {}", self.expr(Kind::Bool, &scope, 3)) } else { String::new() };
        if self.chance(25) {
            return self.grouped(kinds, &from, &filter, &scope);
        }
        let mut outputs = Vec::new();
        for (at, kind) in kinds.iter().enumerate() {
            let value = if self.chance(12) { self.window(*kind, &scope) } else { self.expr(*kind, &scope, 3) };
            outputs.push(format!("{value} AS x{at}"));
        }
        let distinct = if self.chance(12) { "DISTINCT " } else { "" };
        format!("SELECT {distinct}{} FROM {from}{filter}", outputs.join(", "))
    }

    fn grouped(&mut self, kinds: &[Kind], from: &str, filter: &str, scope: &[Column]) -> String {
        let mut keys: Vec<Column> = Vec::new();
        for _ in 0..self.up_to(3) {
            let key = scope[self.up_to(scope.len())].clone();
            if !keys.iter().any(|known| known.text == key.text) {
                keys.push(key);
            }
        }
        let mut outputs = Vec::new();
        for (at, kind) in kinds.iter().enumerate() {
            let value = match keys.iter().find(|key| key.kind == *kind).cloned() {
                Some(key) if self.chance(60) => key.text,
                _ => self.aggregate(*kind, scope),
            };
            outputs.push(format!("{value} AS x{at}"));
        }
        let list: Vec<String> = keys.iter().map(|key| key.text.clone()).collect();
        let group = match (list.is_empty(), self.up_to(6)) {
            (true, _) => String::new(),
            (_, 0) => format!(" GROUP BY ROLLUP ({})", list.join(", ")),
            (_, 1) => format!(" GROUP BY GROUPING SETS (({}), ())", list.join(", ")),
            (_, 2) => format!(" GROUP BY CUBE ({})", list.join(", ")),
            _ => format!(" GROUP BY {}", list.join(", ")),
        };
        let having =
            if self.chance(25) { format!(" HAVING {}", self.aggregate(Kind::Bool, scope)) } else { String::new() };
        format!("SELECT {} FROM {from}{filter}{group}{having}", outputs.join(", "))
    }

    /// What stands in FROM, and its columns.
    fn from(&mut self) -> (String, Vec<Column>) {
        let (mut text, mut scope) = self.relation();
        for _ in 0..[0, 0, 0, 1, 1, 2][self.up_to(6)] {
            let (right, columns) = self.relation();
            let pairs: Vec<(Column, Column)> = scope
                .iter()
                .flat_map(|left| columns.iter().map(move |right| (left.clone(), right.clone())))
                .filter(|(left, right)| left.kind == right.kind && !matches!(left.kind, Kind::Jsonb | Kind::IntArray))
                .collect();
            let equality = match pairs.len() {
                0 => None,
                count => {
                    let (left, right) = &pairs[self.up_to(count)];
                    Some(format!("{} = {}", left.text, right.text))
                }
            };
            match (equality, self.up_to(7)) {
                (Some(equality), 0) => text = format!("{text} FULL JOIN {right} ON {equality}"),
                (Some(equality), 1 | 2) => {
                    let all: Vec<Column> = [scope.clone(), columns.clone()].concat();
                    let more = self.expr(Kind::Bool, &all, 1);
                    text = format!("{text} LEFT JOIN {right} ON {equality} AND {more}");
                }
                (Some(equality), 3) => text = format!("{text} RIGHT JOIN {right} ON {equality}"),
                (Some(equality), _) => text = format!("{text} JOIN {right} ON {equality}"),
                (None, _) => text = format!("{text} CROSS JOIN {right}"),
            }
            scope.extend(columns);
        }
        if self.chance(10) && self.nesting < 2 {
            let alias = self.name("l");
            let kinds = [self.kind()];
            let body = self.nested(&scope, |inner| inner.select(&kinds));
            let join = pick(self.random, &["CROSS JOIN LATERAL", "LEFT JOIN LATERAL"]);
            let on = if join.starts_with("LEFT") { " ON true" } else { "" };
            text = format!("{text} {join} ({body}) AS {alias}{on}");
            scope.push(Column { text: format!("{alias}.x0"), kind: kinds[0] });
        }
        (text, scope)
    }

    fn relation(&mut self) -> (String, Vec<Column>) {
        if self.nesting < 2 && self.chance(15) {
            let alias = self.name("s");
            let kinds = self.kinds();
            // A subquery in FROM sees nothing of its neighbours, and of the queries around what they see.
            let body = self.nested(&[], |inner| inner.select(&kinds));
            let scope =
                kinds.iter().enumerate().map(|(at, kind)| Column { text: format!("{alias}.x{at}"), kind: *kind });
            return (format!("({body}) AS {alias}"), scope.collect());
        }
        if self.chance(5) {
            let alias = self.name("g");
            let column = Column { text: format!("{alias}.n"), kind: Kind::Int };
            return (format!("generate_series(1, {}) AS {alias}(n)", 1 + self.up_to(6)), vec![column]);
        }
        let alias = self.name("a");
        let at = self.up_to(self.tables.len());
        let table = self.tables[at].clone();
        let scope = table.columns.iter().map(|(name, kind)| Column { text: format!("{alias}.{name}"), kind: *kind });
        (format!("{} AS {alias}", table.name), scope.collect())
    }

    /// Something inside, which sees `scope` as the columns around it.
    fn nested<T>(&mut self, scope: &[Column], inside: impl FnOnce(&mut Self) -> T) -> T {
        let known = self.outer.len();
        self.outer.extend_from_slice(scope);
        self.nesting += 1;
        let made = inside(self);
        self.nesting -= 1;
        self.outer.truncate(known);
        made
    }

    fn column(&mut self, kind: Kind, scope: &[Column]) -> Option<String> {
        let use_outer = !self.outer.is_empty() && self.chance(25);
        let place: Vec<Column> = if use_outer { self.outer.clone() } else { scope.to_vec() };
        let fitting: Vec<&Column> = place.iter().filter(|column| column.kind == kind).collect();
        (!fitting.is_empty()).then(|| fitting[self.up_to(fitting.len())].text.clone())
    }

    fn leaf(&mut self, kind: Kind, scope: &[Column]) -> String {
        if self.chance(5) {
            return format!("NULL::{}", kind.sql());
        }
        match self.column(kind, scope) {
            Some(column) if self.chance(80) => column,
            _ => kind.literal(self.random),
        }
    }

    /// An expression of a type.
    fn expr(&mut self, kind: Kind, scope: &[Column], depth: usize) -> String {
        if depth == 0 || self.chance(25) {
            return self.leaf(kind, scope);
        }
        if self.chance(12) {
            return self.of_any_kind(kind, scope, depth - 1);
        }
        match kind {
            Kind::Int => self.int(scope, depth - 1),
            Kind::Bigint => self.bigint(scope, depth - 1),
            Kind::Numeric => self.numeric(scope, depth - 1),
            Kind::Text => self.text(scope, depth - 1),
            Kind::Bool => self.bool(scope, depth - 1),
            Kind::Date => self.date(scope, depth - 1),
            Kind::Timestamp => self.timestamp(scope, depth - 1),
            Kind::IntArray => self.int_array(scope, depth - 1),
            Kind::Jsonb => self.jsonb(scope, depth - 1),
        }
    }

    fn of_any_kind(&mut self, kind: Kind, scope: &[Column], depth: usize) -> String {
        match self.up_to(6) {
            0 => {
                let (a, b) = (self.expr(kind, scope, depth), self.expr(kind, scope, depth));
                format!("COALESCE({a}, {b})")
            }
            1 => {
                let (a, b) = (self.expr(kind, scope, depth), self.expr(kind, scope, depth));
                format!("NULLIF({a}, {b})")
            }
            2 => {
                let when = self.expr(Kind::Bool, scope, depth);
                let (a, b) = (self.expr(kind, scope, depth), self.expr(kind, scope, depth));
                format!("CASE WHEN {when} THEN {a} ELSE {b} END")
            }
            3 => {
                let of = self.kind();
                let (x, y) = (self.expr(of, scope, depth), self.expr(of, scope, depth));
                let (a, b) = (self.expr(kind, scope, depth), self.expr(kind, scope, depth));
                let otherwise = if self.chance(50) { format!(" ELSE {b}") } else { String::new() };
                format!("CASE {x} WHEN {y} THEN {a}{otherwise} END")
            }
            4 if self.nesting < 2 => {
                let body = self.nested(scope, |inner| {
                    let (from, columns) = inner.from();
                    let filter = inner.expr(Kind::Bool, &columns, 2);
                    let value = inner.aggregate(kind, &columns);
                    format!("SELECT {value} FROM {from} WHERE {filter}")
                });
                format!("({body})")
            }
            _ => {
                let (a, b) = (self.expr(kind, scope, depth), self.expr(kind, scope, depth));
                format!("{}({a}, {b})", pick(self.random, &["GREATEST", "LEAST"]))
            }
        }
    }

    fn two(&mut self, kind: Kind, scope: &[Column], depth: usize) -> (String, String) {
        (self.expr(kind, scope, depth), self.expr(kind, scope, depth))
    }

    fn int(&mut self, scope: &[Column], depth: usize) -> String {
        match self.up_to(10) {
            0..=2 => {
                let (a, b) = self.two(Kind::Int, scope, depth);
                format!("({a} {} {b})", pick(self.random, &["+", "-", "*", "&", "|"]))
            }
            3 => {
                let (a, b) = self.two(Kind::Int, scope, depth);
                format!("({a} {} NULLIF({b}, 0))", pick(self.random, &["/", "%"]))
            }
            4 => format!("length({})", self.expr(Kind::Text, scope, depth)),
            5 => {
                format!("{}({})", pick(self.random, &["abs", "sign"]), self.expr(Kind::Int, scope, depth)) + "::integer"
            }
            6 => format!("cardinality({})", self.expr(Kind::IntArray, scope, depth)),
            7 => format!("({})[{}]", self.expr(Kind::IntArray, scope, depth), 1 + self.up_to(3)),
            8 => format!("EXTRACT(day FROM {})::integer", self.expr(Kind::Date, scope, depth)),
            _ => {
                let (a, b) = self.two(Kind::Text, scope, depth);
                format!("strpos({a}, {b})")
            }
        }
    }

    fn bigint(&mut self, scope: &[Column], depth: usize) -> String {
        match self.up_to(4) {
            0 => {
                let (a, b) = self.two(Kind::Bigint, scope, depth);
                format!("({a} {} {b})", pick(self.random, &["+", "-"]))
            }
            1 => format!("({} + {})", self.expr(Kind::Bigint, scope, depth), self.expr(Kind::Int, scope, depth)),
            2 => format!("{}::bigint", self.expr(Kind::Int, scope, depth)),
            _ => format!("abs({})", self.expr(Kind::Bigint, scope, depth)),
        }
    }

    fn numeric(&mut self, scope: &[Column], depth: usize) -> String {
        let value = match self.up_to(6) {
            0 | 1 => {
                let (a, b) = self.two(Kind::Numeric, scope, depth);
                format!("{a} {} {b}", pick(self.random, &["+", "-", "*"]))
            }
            2 => {
                let (a, b) = self.two(Kind::Numeric, scope, depth);
                format!("round({a} / NULLIF({b}, 0), 3)")
            }
            3 => format!(
                "{}({})",
                pick(self.random, &["floor", "ceil", "abs", "trunc"]),
                self.expr(Kind::Numeric, scope, depth)
            ),
            4 => format!("round({}, {})", self.expr(Kind::Numeric, scope, depth), self.up_to(3)),
            _ => format!("{}::numeric", self.expr(Kind::Bigint, scope, depth)),
        };
        format!("trim_scale({value})")
    }

    fn text(&mut self, scope: &[Column], depth: usize) -> String {
        match self.up_to(9) {
            0 | 1 => {
                let (a, b) = self.two(Kind::Text, scope, depth);
                format!("({a} || {b})")
            }
            2 => {
                let function = pick(self.random, &["upper", "lower", "btrim", "reverse", "initcap", "md5"]);
                format!("{function}({})", self.expr(Kind::Text, scope, depth))
            }
            3 => format!("substr({}, {}, {})", self.expr(Kind::Text, scope, depth), self.up_to(4), self.up_to(4)),
            4 => {
                let of = [Kind::Int, Kind::Bigint, Kind::Numeric, Kind::Date, Kind::Bool, Kind::Jsonb][self.up_to(6)];
                format!("({})::text", self.expr(of, scope, depth))
            }
            5 => {
                let (a, b) = self.two(Kind::Text, scope, depth);
                format!("replace({a}, {b}, 'q')")
            }
            6 => format!("({} ->> 'a')", self.expr(Kind::Jsonb, scope, depth)),
            7 => {
                let (a, n) = (self.expr(Kind::Text, scope, depth), self.up_to(5));
                format!("{}({a}, {n})", pick(self.random, &["left", "right", "repeat"]))
            }
            _ => format!("lpad({}, {}, 'xy')", self.expr(Kind::Text, scope, depth), self.up_to(6)),
        }
    }

    fn bool(&mut self, scope: &[Column], depth: usize) -> String {
        match self.up_to(17) {
            0..=2 => {
                let kind = self.kind();
                let (a, b) = self.two(kind, scope, depth);
                format!("({a} {} {b})", pick(self.random, &["=", "<>", "<", "<=", ">", ">="]))
            }
            3 | 4 => {
                let (a, b) = self.two(Kind::Bool, scope, depth);
                format!("({a} {} {b})", pick(self.random, &["AND", "OR"]))
            }
            5 => format!("(NOT {})", self.expr(Kind::Bool, scope, depth)),
            6 => {
                let kind = self.kind();
                let test = pick(self.random, &["IS NULL", "IS NOT NULL"]);
                format!("({} {test})", self.expr(kind, scope, depth))
            }
            7 => {
                let kind = self.kind();
                let (a, b) = self.two(kind, scope, depth);
                format!("({a} {} {b})", pick(self.random, &["IS DISTINCT FROM", "IS NOT DISTINCT FROM"]))
            }
            8 => {
                let kind = self.kind();
                let (a, b) = self.two(kind, scope, depth);
                let not = pick(self.random, &["", "NOT "]);
                format!("({a} {not}BETWEEN {b} AND {})", self.expr(kind, scope, depth))
            }
            9 => {
                let kind = self.kind();
                let list: Vec<String> = (0..1 + self.up_to(4)).map(|_| self.leaf(kind, scope)).collect();
                let not = pick(self.random, &["", "NOT "]);
                format!("({} {not}IN ({}))", self.expr(kind, scope, depth), list.join(", "))
            }
            10 => {
                let pattern = pick(self.random, &["'a%'", "'%b'", "'_'", "'%'", "''", "'x\\_y'", "'%日%'"]);
                let operator = pick(self.random, &["LIKE", "NOT LIKE", "ILIKE"]);
                format!("({} {operator} {pattern})", self.expr(Kind::Text, scope, depth))
            }
            11 | 12 if self.nesting < 2 => self.subquery_test(scope, depth),
            13 => {
                format!("({} = ANY ({}))", self.expr(Kind::Int, scope, depth), self.expr(Kind::IntArray, scope, depth))
            }
            14 => {
                let (a, b) = self.two(Kind::IntArray, scope, depth);
                format!("({a} {} {b})", pick(self.random, &["@>", "<@", "&&"]))
            }
            15 => {
                let (k, l) = (self.kind(), self.kind());
                let ((a, b), (c, d)) = (self.two(k, scope, depth), self.two(l, scope, depth));
                format!("(({a}, {c}) {} ({b}, {d}))", pick(self.random, &["=", "<>", "<", ">="]))
            }
            _ => {
                let test = pick(self.random, &["IS TRUE", "IS NOT TRUE", "IS FALSE", "IS UNKNOWN", "IS NOT UNKNOWN"]);
                format!("({} {test})", self.expr(Kind::Bool, scope, depth))
            }
        }
    }

    fn subquery_test(&mut self, scope: &[Column], depth: usize) -> String {
        let kind = self.kind();
        let value = self.expr(kind, scope, depth);
        let body = self.nested(scope, |inner| inner.select(&[kind]));
        match self.up_to(4) {
            0 => format!("({}EXISTS ({body}))", pick(self.random, &["", "NOT "])),
            1 | 2 => format!("({value} {}IN ({body}))", pick(self.random, &["", "NOT "])),
            _ => {
                let operator = pick(self.random, &["=", "<>", "<", ">="]);
                format!("({value} {operator} {} ({body}))", pick(self.random, &["ANY", "ALL"]))
            }
        }
    }

    fn date(&mut self, scope: &[Column], depth: usize) -> String {
        match self.up_to(3) {
            0 => format!(
                "({} {} {})",
                self.expr(Kind::Date, scope, depth),
                pick(self.random, &["+", "-"]),
                self.up_to(40)
            ),
            1 => format!("({})::date", self.expr(Kind::Timestamp, scope, depth)),
            _ => format!("COALESCE({}, {})", self.leaf(Kind::Date, scope), self.leaf(Kind::Date, scope)),
        }
    }

    fn timestamp(&mut self, scope: &[Column], depth: usize) -> String {
        match self.up_to(3) {
            0 => {
                let field = pick(self.random, &["month", "day", "hour", "week", "quarter"]);
                format!("date_trunc('{field}', {})", self.expr(Kind::Timestamp, scope, depth))
            }
            1 => {
                let span = pick(self.random, &["1 day", "1 month", "36 hours", "-1 year 2 months", "00:00:00.25"]);
                format!("({} + interval '{span}')", self.expr(Kind::Timestamp, scope, depth))
            }
            _ => format!("({})::timestamp", self.expr(Kind::Date, scope, depth)),
        }
    }

    fn int_array(&mut self, scope: &[Column], depth: usize) -> String {
        match self.up_to(5) {
            0 => {
                let (a, b) = self.two(Kind::IntArray, scope, depth);
                format!("({a} || {b})")
            }
            1 => format!(
                "array_append({}, {})",
                self.expr(Kind::IntArray, scope, depth),
                self.expr(Kind::Int, scope, depth)
            ),
            2 => {
                let (a, b) = self.two(Kind::Int, scope, depth);
                format!("ARRAY[{a}, {b}]")
            }
            3 => format!(
                "array_remove({}, {})",
                self.expr(Kind::IntArray, scope, depth),
                self.expr(Kind::Int, scope, depth)
            ),
            _ => format!("({})[1:{}]", self.expr(Kind::IntArray, scope, depth), 1 + self.up_to(3)),
        }
    }

    fn jsonb(&mut self, scope: &[Column], depth: usize) -> String {
        match self.up_to(5) {
            0 => format!("({} -> 'a')", self.expr(Kind::Jsonb, scope, depth)),
            1 => format!("({} -> {})", self.expr(Kind::Jsonb, scope, depth), self.up_to(3)),
            2 => {
                let kind = self.kind();
                format!("to_jsonb({})", self.expr(kind, scope, depth))
            }
            3 => {
                let (k, l) = (self.kind(), self.kind());
                format!("jsonb_build_array({}, {})", self.expr(k, scope, depth), self.expr(l, scope, depth))
            }
            _ => {
                let kind = self.kind();
                format!("jsonb_build_object('a', {})", self.expr(kind, scope, depth))
            }
        }
    }

    /// An aggregate, or an expression of aggregates, of a type.
    fn aggregate(&mut self, kind: Kind, scope: &[Column]) -> String {
        let filter =
            if self.chance(20) { format!(" FILTER (WHERE {})", self.plain(Kind::Bool, scope)) } else { String::new() };
        let distinct = if self.chance(20) { "DISTINCT " } else { "" };
        match kind {
            Kind::Int | Kind::Date | Kind::Timestamp => {
                format!("{}({distinct}{}){filter}", pick(self.random, &["min", "max"]), self.plain(kind, scope))
            }
            Kind::Bigint => match self.up_to(3) {
                0 => format!("count(*){filter}"),
                1 => {
                    let of = self.kind();
                    format!("count({distinct}{}){filter}", self.plain(of, scope))
                }
                _ => format!("sum({distinct}{}){filter}", self.plain(Kind::Int, scope)),
            },
            Kind::Numeric => {
                let (function, of) =
                    [("sum", Kind::Numeric), ("sum", Kind::Bigint), ("avg", Kind::Int), ("max", Kind::Numeric)]
                        [self.up_to(4)];
                format!("trim_scale(round({function}({distinct}{}){filter}, 6))", self.plain(of, scope))
            }
            Kind::Text => {
                let value = self.plain(Kind::Text, scope);
                match self.up_to(2) {
                    0 => format!("string_agg({value}, ',' ORDER BY {value}){filter}"),
                    _ => format!("max({distinct}{value}){filter}"),
                }
            }
            Kind::Bool => match self.up_to(2) {
                0 => format!(
                    "{}({}){filter}",
                    pick(self.random, &["bool_and", "bool_or"]),
                    self.plain(Kind::Bool, scope)
                ),
                _ => format!("(count(*){filter} > {})", self.up_to(10)),
            },
            Kind::IntArray => {
                let value = self.plain(Kind::Int, scope);
                format!("array_agg({distinct}{value} ORDER BY {value}){filter}")
            }
            Kind::Jsonb => {
                let of = self.kind();
                let value = self.plain(of, scope);
                format!("jsonb_agg({distinct}{value} ORDER BY {value}){filter}")
            }
        }
    }

    /// An expression of this query's columns alone, without subqueries: an aggregate over columns of the queries around
    /// it would be one of theirs.
    fn plain(&mut self, kind: Kind, scope: &[Column]) -> String {
        let nesting = std::mem::replace(&mut self.nesting, usize::MAX / 2);
        let outer = std::mem::take(&mut self.outer);
        // Without a column of this query PostgreSQL takes the aggregate for one of a query around it.
        let value = match self.column(kind, scope) {
            Some(column) if self.chance(70) => column,
            _ => self.expr(kind, scope, 1),
        };
        self.outer = outer;
        self.nesting = nesting;
        value
    }

    fn window(&mut self, kind: Kind, scope: &[Column]) -> String {
        let partition = scope[self.up_to(scope.len())].text.clone();
        let order: Vec<&str> = scope.iter().map(|column| column.text.as_str()).collect();
        let over = format!("(PARTITION BY {partition} ORDER BY {}", order.join(", "));
        let frame = pick(
            self.random,
            &[
                "",
                " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
                " ROWS UNBOUNDED PRECEDING",
                " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
            ],
        );
        match (kind, self.up_to(3)) {
            (Kind::Bigint, 0) => {
                format!("{}() OVER {over})", pick(self.random, &["row_number", "rank", "dense_rank"]))
            }
            (Kind::Bigint, _) => format!("sum({}) OVER {over}{frame})", self.plain(Kind::Int, scope)),
            (Kind::Numeric, _) => {
                format!("trim_scale(round(avg({}) OVER {over}{frame}), 6))", self.plain(Kind::Int, scope))
            }
            (_, 0) => {
                let value = self.plain(kind, scope);
                format!("{}({value}, {}) OVER {over})", pick(self.random, &["lag", "lead"]), self.up_to(3))
            }
            (_, 1) => {
                let value = self.plain(kind, scope);
                format!("{}({value}) OVER {over}{frame})", pick(self.random, &["first_value", "last_value"]))
            }
            _ => {
                let value = self.plain(Kind::Bigint, scope);
                let counted = format!("count({value}) OVER {over}{frame})");
                match kind {
                    Kind::Int => format!("({counted})::integer"),
                    Kind::Text => format!("({counted})::text"),
                    Kind::Bool => format!("({counted} > 1)"),
                    _ => {
                        let value = self.plain(kind, scope);
                        format!("first_value({value}) OVER {over})")
                    }
                }
            }
        }
    }
}
