//! Stored expressions in PostgreSQL's own form: what `pg_get_constraintdef`, `pg_get_expr` and kin print.
//!
//! The parser's tree is printed with the types that binding gives its parts: every cast that is made unasked is
//! written, every operator has brackets, every constant says its type where its form alone does not. So the text
//! means the same whatever the settings of who reads it, and it is read back as any other expression is.

use super::call::{Resolution, actual_types};
use super::scope::Clause;
use super::syntax::{self, arguments};
use super::{Binder, coerce, expr, literal, operator};
use crate::bind::bound::{ColId, Scalar};
use crate::function::{self, Kind};
use crate::parse;
use crate::types::{Style, to_text};
use kalamdb_commons::ids::FIRST_USER_OID;
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlType};
use sqlparser::ast::{self, AccessExpr, BinaryOperator, Expr, Subscript, UnaryOperator};
use std::collections::{HashMap, VecDeque};

/// How much a CASE's branches stand in.
const INDENT: usize = 4;

/// Whether a name must be quoted although it is made of plain letters: words that the grammar gives a meaning to in
/// some places (PostgreSQL manual, appendix C), beside the reserved ones.
#[rustfmt::skip]
const SPECIAL: &[&str] = &[
    "authorization", "between", "bigint", "binary", "bit", "boolean", "char", "character", "coalesce", "collation",
    "concurrently", "cross", "current_schema", "dec", "decimal", "exists", "extract", "float", "freeze", "full",
    "greatest", "grouping", "ilike", "inner", "inout", "int", "integer", "interval", "is", "isnull", "join", "least",
    "left", "like", "national", "natural", "nchar", "none", "normalize", "notnull", "nullif", "numeric", "out",
    "outer", "overlaps", "overlay", "position", "precision", "real", "right", "row", "setof", "similar", "smallint",
    "substring", "tablesample", "time", "timestamp", "treat", "trim", "values", "varchar", "verbose", "xmlattributes",
    "xmlconcat", "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot",
    "xmlserialize", "xmltable",
];

/// An identifier, quoted where it must be (`quote_ident`).
pub fn quoted(name: &str) -> String {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if first && rest && !parse::is_reserved(name) && SPECIAL.binary_search(&name).is_err() {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a constant.
fn quoted_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A printed part.
pub(super) struct Shown {
    pub(super) text: String,
    pub(super) ty: PgType,
    /// A string (or NULL, `None`) that has no type yet.
    unknown: Option<Option<String>>,
    node: Node,
}

/// What a part is, for the pretty form, which leaves out the brackets that nobody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// Needs none anywhere.
    Simple,
    /// An operator's call; of two operands where the operator is a single character.
    Operator(Option<char>),
    /// AND
    And,
    /// OR
    Or,
    /// NOT
    Not,
    /// A test or a subquery.
    Test,
    /// Needs them always.
    Other,
}

/// What stands around a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    /// An operator, on the left side of it or not.
    Operator(Option<char>, bool),
    /// AND, OR
    Junction,
    /// NOT
    Not,
    /// A cast or something else without brackets of its own.
    Other,
}

fn needs_brackets(node: Node, around: Around) -> bool {
    let strength = |op: Option<char>| op.and_then(|op| "+-*/%".find(op)).map(|at| at > 1);
    match (node, around) {
        (Node::Simple, _) => false,
        (Node::Operator(op), Around::Operator(outer, first)) => match (strength(op), strength(outer)) {
            (Some(inner), Some(outer)) if inner == outer => !first,
            (Some(inner), Some(_)) => !inner,
            _ => true,
        },
        (Node::And | Node::Not, Around::Junction) => false,
        (Node::Operator(_) | Node::Test, Around::Junction | Around::Not) => false,
        _ => true,
    }
}

fn single(name: &str) -> Option<char> {
    let mut chars = name.chars();
    chars.next().filter(|_| chars.next().is_none())
}

impl Shown {
    pub(super) fn new(text: impl Into<String>, ty: impl Into<PgType>) -> Shown {
        Shown { text: text.into(), ty: ty.into(), unknown: None, node: Node::Simple }
    }

    fn boolean(text: impl Into<String>) -> Shown {
        Shown::new(text, SqlType::Bool)
    }

    pub(super) fn of(self, node: Node) -> Shown {
        Shown { node, ..self }
    }

    /// Whether it is a string or NULL without a type.
    pub(super) fn is_unknown(&self) -> bool {
        self.unknown.is_some()
    }

    /// That string.
    pub(super) fn unknown_text(&self) -> Option<Option<&str>> {
        self.unknown.as_ref().map(Option::as_deref)
    }

    /// Something of this type for the search among operators and functions.
    pub(super) fn stand_in(&self) -> Scalar {
        match &self.unknown {
            Some(Some(text)) => literal::unknown(Datum::text(text.as_str())),
            _ => Scalar::Const(Datum::Null, self.ty),
        }
    }
}

/// How far a clause or a branch stands in: from 40 on it begins anew, in smaller steps.
pub(super) fn margin(level: usize) -> usize {
    const FULL: usize = 40;
    if level < FULL { level } else { (FULL + (level - FULL) / 4) % FULL }
}

/// Prints expressions of one binder's scope.
pub(super) struct Printer<'p, 'a> {
    /// Whose scope.
    pub binder: &'p mut Binder<'a>,
    /// What a column is called.
    pub names: &'p dyn Fn(ColId) -> Option<String>,
    /// How deep the clauses and CASEs around are.
    pub indent: usize,
    /// Only the brackets that are needed.
    pub pretty: bool,
    /// A query's columns as they are printed.
    pub columns: HashMap<ColId, String>,
    /// Their names alone.
    pub plain: HashMap<ColId, String>,
    /// Their relations' names.
    pub rows: HashMap<ColId, String>,
    /// The names that the next SELECT's relations have.
    pub refs: Option<VecDeque<String>>,
    /// Whether somebody reads the names of the next SELECT's columns.
    pub named: bool,
    /// The types that the next arm's columns have where they have none of their own.
    pub wanted: Option<Vec<SqlType>>,
    /// The relations' names of the queries around, outermost first.
    pub taken: Vec<Vec<String>>,
    /// Whether it prints a query, in which subqueries and aggregates may stand.
    pub query: bool,
    /// Whether relations that users made are written by their OIDs, which renames do not change.
    pub by_oid: bool,
}

impl<'p, 'a> Printer<'p, 'a> {
    /// Prints an expression over one row, whose columns have these names.
    pub fn new(binder: &'p mut Binder<'a>, names: &'p dyn Fn(ColId) -> Option<String>) -> Self {
        Printer {
            binder,
            names,
            indent: 0,
            pretty: false,
            columns: HashMap::new(),
            plain: HashMap::new(),
            rows: HashMap::new(),
            refs: None,
            named: true,
            wanted: None,
            taken: Vec::new(),
            query: false,
            by_oid: false,
        }
    }
}

pub(super) fn foreign<T>(what: &str) -> Result<T> {
    Err(SqlError::unsupported(format!("{what} in a stored expression")))
}

/// Parts put together: a CASE begins on a line of its own, and no blank stands before the line's end.
pub(super) fn glue(parts: &[&str]) -> String {
    let mut out = String::new();
    for part in parts {
        if part.starts_with('\n') {
            out.truncate(out.trim_end_matches(' ').len());
        }
        out.push_str(part);
    }
    out
}

pub(super) fn joined(items: Vec<String>, by: &str) -> String {
    let mut parts: Vec<&str> = Vec::with_capacity(items.len() * 2);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            parts.push(by);
        }
        parts.push(item);
    }
    glue(&parts)
}

impl Printer<'_, '_> {
    /// The whole, of a type if one is wanted of a bare constant.
    pub fn print(&mut self, expr: &Expr, wanted: Option<SqlType>) -> Result<String> {
        let shown = self.show(expr)?;
        let ty = match wanted {
            Some(ty) if shown.unknown.is_some() => ty,
            _ => shown.ty.ty,
        };
        Ok(self.typed(shown, ty)?.text)
    }

    /// A written type. What a domain asks is not written down.
    fn type_meant(&self, written: &ast::DataType) -> Result<PgType> {
        let meant = self.binder.type_meant(written)?;
        match meant.domain {
            Some(_) => foreign("a domain"),
            None => Ok(meant.ty),
        }
    }

    /// Around a part that has brackets in the plain form.
    pub(super) fn outer(&self, parts: &[&str]) -> String {
        let text = glue(parts);
        if self.pretty { text } else { glue(&["(", &text, ")"]) }
    }

    /// A part where others stand around it.
    pub(super) fn inner(&self, shown: &Shown, around: Around) -> String {
        if self.pretty && needs_brackets(shown.node, around) {
            return glue(&["(", &shown.text, ")"]);
        }
        shown.text.clone()
    }

    pub(super) fn show(&mut self, expr: &Expr) -> Result<Shown> {
        stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || self.show_one(expr))
    }

    /// A part where this type is needed: the cast is written.
    pub(super) fn typed(&mut self, shown: Shown, to: SqlType) -> Result<Shown> {
        let to = if to == SqlType::Unknown { SqlType::Text } else { to };
        match &shown.unknown {
            Some(None) => return Ok(Shown::new(format!("NULL::{}", PgType::new(to)), to)),
            Some(Some(text)) if !coerce::is_polymorphic(to) && to != SqlType::Any => {
                return Ok(match self.binder.typed_literal(text, to.into(), None)? {
                    Scalar::Const(datum, ty) => Shown::new(self.constant(&datum, ty)?, ty),
                    _ => Shown::new(format!("{}::{}", quoted_text(text), PgType::new(to)), to),
                });
            }
            Some(Some(text)) => return Ok(Shown::new(format!("{}::text", quoted_text(text)), SqlType::Text)),
            None => {}
        }
        if shown.ty.ty == to || to == SqlType::Any || coerce::is_polymorphic(to) {
            return Ok(shown);
        }
        Ok(self.written_cast(&shown, to.into()))
    }

    fn written_cast(&self, shown: &Shown, to: PgType) -> Shown {
        let simple = shown.node == Node::Simple;
        let arg = self.inner(shown, Around::Other);
        let arg = self.outer(&[&arg]);
        Shown::new(glue(&[&arg, &format!("::{to}")]), to).of(if simple { Node::Simple } else { Node::Other })
    }

    /// A constant that has its type.
    fn constant(&mut self, datum: &Datum, ty: PgType) -> Result<String> {
        if datum.is_null() {
            return Ok(format!("NULL::{ty}"));
        }
        let text = match datum {
            Datum::Oid(oid) if self.by_oid && ty.ty == SqlType::Regclass && *oid >= FIRST_USER_OID => oid.to_string(),
            _ => to_text(datum, ty, &Style::default(), self.binder.names.catalog())?,
        };
        let bare = match ty.ty {
            SqlType::Bool => return Ok(if *datum == Datum::Bool(true) { "true" } else { "false" }.to_owned()),
            SqlType::Int4 => text.starts_with(|c: char| c.is_ascii_digit()),
            SqlType::Numeric => text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.'),
            _ => false,
        };
        Ok(if bare { text } else { format!("{}::{ty}", quoted_text(&text)) })
    }

    pub(super) fn all<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) -> Result<Vec<Shown>> {
        exprs.into_iter().map(|expr| self.show(expr)).collect()
    }

    /// Parts brought to one type.
    fn unified(&mut self, parts: Vec<Shown>) -> Result<(Vec<String>, SqlType)> {
        let ty = coerce::common(parts.iter().map(|part| part.ty.ty))
            .map_err(|(left, right)| coerce::unmatched("CASE", left, right))?;
        let texts = parts.into_iter().map(|part| self.typed(part, ty).map(|part| part.text));
        Ok((texts.collect::<Result<_>>()?, ty))
    }

    fn show_one(&mut self, expr: &Expr) -> Result<Shown> {
        match expr {
            Expr::Identifier(ident) => self.identifier(ident),
            Expr::CompoundIdentifier(parts) => {
                let found = self.binder.compound(parts)?;
                self.column(found.col.id, found.col.ty)
            }
            Expr::Nested(inner) => self.show(inner),
            Expr::Value(value) => match self.binder.value(value)? {
                Scalar::Const(Datum::Null, PgType { ty: SqlType::Unknown, .. }) => {
                    Ok(Shown { unknown: Some(None), ..Shown::new("", SqlType::Unknown) })
                }
                Scalar::Const(Datum::Text(text), PgType { ty: SqlType::Unknown, .. }) => {
                    let unknown = Some(Some(text.to_string()));
                    Ok(Shown { unknown, ..Shown::new("", SqlType::Unknown) })
                }
                Scalar::Const(datum, ty) => Ok(Shown::new(self.constant(&datum, ty)?, ty)),
                _ => foreign("a parameter"),
            },
            Expr::TypedString(typed) => {
                let ty = self.type_meant(&typed.data_type)?;
                let value = self.show(&Expr::Value(typed.value.clone()))?;
                self.cast(value, ty)
            }
            Expr::Interval(interval) => match self.binder.interval(interval)? {
                Scalar::Const(datum, ty) => Ok(Shown::new(self.constant(&datum, ty)?, ty)),
                _ => foreign("such an interval"),
            },
            Expr::Cast { expr: inner, data_type, .. } => {
                let ty = self.type_meant(data_type)?;
                if let (Expr::Array(array), Some(element)) = (expr::bare(inner), coerce::true_element(ty.ty)) {
                    let items = self.all(&array.elem)?;
                    let item_ty = PgType { ty: element, typmod: ty.typmod };
                    let items = items.into_iter().map(|item| self.cast(item, item_ty).map(|item| item.text));
                    let items = items.collect::<Result<Vec<_>>>()?;
                    let text = format!("ARRAY[{}]", joined(items, ", "));
                    let empty = array.elem.is_empty();
                    return Ok(Shown::new(if empty { format!("{text}::{ty}") } else { text }, ty));
                }
                let shown = self.show(inner)?;
                self.cast(shown, ty)
            }
            Expr::UnaryOp { op, expr: operand } => self.unary(op, operand),
            Expr::BinaryOp { left, op, right } => self.binary_op(left, op, right),
            Expr::IsTrue(inner) => self.test(inner, "IS TRUE"),
            Expr::IsNotTrue(inner) => self.test(inner, "IS NOT TRUE"),
            Expr::IsFalse(inner) => self.test(inner, "IS FALSE"),
            Expr::IsNotFalse(inner) => self.test(inner, "IS NOT FALSE"),
            Expr::IsUnknown(inner) => self.test(inner, "IS UNKNOWN"),
            Expr::IsNotUnknown(inner) => self.test(inner, "IS NOT UNKNOWN"),
            Expr::IsNull(inner) => self.null_test(inner, "IS NULL"),
            Expr::IsNotNull(inner) => self.null_test(inner, "IS NOT NULL"),
            Expr::IsDistinctFrom(left, right) => {
                self.operator_as(left, "=", "IS DISTINCT FROM", right).map(|shown| shown.of(Node::Test))
            }
            Expr::IsNotDistinctFrom(left, right) => {
                let inner = self.operator_as(left, "=", "IS DISTINCT FROM", right)?.of(Node::Test);
                Ok(self.negated(&inner))
            }
            Expr::In { expr: operand, target: ast::InTarget::List(items), negated, .. } => {
                self.in_list(operand, items, *negated)
            }
            Expr::Between { expr: operand, negated, low, high } => {
                let (first, word, second) = if *negated { ("<", "OR", ">") } else { (">=", "AND", "<=") };
                let first = self.operator_as(operand, first, first, low)?;
                let second = self.operator_as(operand, second, second, high)?;
                let (first, second) = (self.inner(&first, Around::Junction), self.inner(&second, Around::Junction));
                let node = if *negated { Node::Or } else { Node::And };
                Ok(Shown::boolean(self.outer(&[&first, " ", word, " ", &second])).of(node))
            }
            Expr::Like { negated, any: false, expr: operand, pattern, escape_char } => {
                self.like(operand, if *negated { "!~~" } else { "~~" }, pattern, escape_char.as_deref())
            }
            Expr::ILike { negated, any: false, expr: operand, pattern, escape_char } => {
                self.like(operand, if *negated { "!~~*" } else { "~~*" }, pattern, escape_char.as_deref())
            }
            Expr::SimilarTo { negated, expr: operand, pattern, escape_char } => {
                let left = self.show(operand)?;
                let args = std::iter::once(pattern.as_ref()).chain(escape_char.as_deref());
                let args = self.all(args)?;
                let right = self.call("similar_to_escape", args)?;
                let name = if *negated { "!~" } else { "~" };
                self.operation(left, name, name, right)
            }
            Expr::AnyOp { left, compare_op, right, .. } => self.quantified(left, compare_op, right, "ANY"),
            Expr::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, "ALL"),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Array(array) => {
                let items = self.all(&array.elem)?;
                let (items, ty) = self.unified(items)?;
                let array = ty.array().ok_or_else(|| SqlError::internal("an array of no type"))?;
                Ok(Shown::new(format!("ARRAY[{}]", joined(items, ", ")), array))
            }
            Expr::Collate { expr: operand, collation } => {
                let shown = self.show(operand)?;
                let shown = self.known(shown)?;
                let name = collation.0.last().and_then(|part| part.as_ident()).map(parse::fold).unwrap_or_default();
                let arg = self.inner(&shown, Around::Other);
                let text = self.outer(&[&arg, &format!(" COLLATE {}", quoted(&name))]);
                Ok(Shown::new(text, shown.ty).of(Node::Other))
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                let args = self.all([time_zone.as_ref(), timestamp.as_ref()])?;
                let (mut args, ty) = self.worded("timezone", args)?;
                let (timestamp, zone) = (args.pop().unwrap_or_default(), args.pop().unwrap_or_default());
                Ok(Shown::new(glue(&["(", &timestamp, " AT TIME ZONE ", &zone, ")"]), ty))
            }
            Expr::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            Expr::Function(function) => self.function(function),
            _ => self.special(expr),
        }
    }

    fn column(&mut self, id: ColId, ty: PgType) -> Result<Shown> {
        if let Some(text) = self.columns.get(&id) {
            return Ok(Shown::new(text.clone(), ty));
        }
        match (self.names)(id) {
            Some(name) => Ok(Shown::new(quoted(&name), ty)),
            None => foreign("such a column"),
        }
    }

    fn identifier(&mut self, ident: &ast::Ident) -> Result<Shown> {
        if ident.quote_style.is_none()
            && let Some(scalar) = self.binder.bare_function(&ident.value)?
        {
            return Ok(Shown::new(ident.value.to_ascii_uppercase(), scalar.ty()));
        }
        match self.binder.find_column(&parse::fold(ident), None)? {
            Some(found) => self.column(found.col.id, found.col.ty),
            None => self.whole_row(&parse::fold(ident)),
        }
    }

    pub(super) fn known(&mut self, shown: Shown) -> Result<Shown> {
        let ty = shown.ty.ty;
        self.typed(shown, ty)
    }

    /// A cast as written.
    fn cast(&mut self, shown: Shown, to: PgType) -> Result<Shown> {
        if shown.unknown.is_some() {
            let typed = self.typed(shown, to.ty)?;
            if to.typmod < 0 {
                return Ok(typed);
            }
            // The constant is a value of the type without its modifier.
            let text = match typed.text.strip_suffix(&format!("::{}", PgType::new(to.ty))) {
                Some(value) => format!("{value}::{to}"),
                None => format!("({})::{to}", typed.text),
            };
            return Ok(Shown::new(text, to));
        }
        if shown.ty == to || (shown.ty.ty == to.ty && to.typmod < 0) {
            return Ok(Shown { ty: to, ..shown });
        }
        Ok(self.written_cast(&shown, to))
    }

    fn unary(&mut self, op: &UnaryOperator, operand: &Expr) -> Result<Shown> {
        match op {
            UnaryOperator::Not => {
                let inner = self.show(operand)?;
                let inner = self.typed(inner, SqlType::Bool)?;
                Ok(self.negated(&inner))
            }
            UnaryOperator::Minus if matches!(operand, Expr::Value(value) if matches!(value.value, ast::Value::Number(..))) =>
            {
                let Expr::Value(value) = operand else { return foreign("such a number") };
                let ast::Value::Number(text, _) = &value.value else { return foreign("such a number") };
                match literal::number(&format!("-{text}"))? {
                    Scalar::Const(datum, ty) => Ok(Shown::new(self.constant(&datum, ty)?, ty)),
                    _ => foreign("such a number"),
                }
            }
            op => {
                let name = op.to_string();
                let inner = self.show(operand)?;
                let scalar = self.binder.prefix(&name, inner.stand_in(), None)?;
                let wanted = match &scalar {
                    Scalar::Call { args, .. } => args.first().map_or(inner.ty.ty, |arg| arg.ty().ty),
                    _ => inner.ty.ty,
                };
                let inner = self.typed(inner, wanted)?;
                let arg = self.inner(&inner, Around::Operator(None, true));
                Ok(Shown::new(self.outer(&[&name, " ", &arg]), scalar.ty()).of(Node::Operator(None)))
            }
        }
    }

    pub(super) fn negated(&self, inner: &Shown) -> Shown {
        let inner = self.inner(inner, Around::Not);
        Shown::boolean(self.outer(&["NOT ", &inner])).of(Node::Not)
    }

    fn binary_op(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Shown> {
        if let BinaryOperator::And | BinaryOperator::Or = op {
            let mut sides = vec![right];
            let mut first = left;
            // A chain leans to the left, with brackets or without.
            while let Expr::BinaryOp { left, op: inner, right } = expr::bare(first)
                && inner == op
            {
                sides.push(right);
                first = left;
            }
            sides.push(first);
            let mut texts = Vec::with_capacity(sides.len());
            for side in sides.into_iter().rev() {
                let side = self.show(side)?;
                let side = self.typed(side, SqlType::Bool)?;
                let is_same = side.node == Node::Or && *op == BinaryOperator::Or;
                texts.push(if is_same { side.text } else { self.inner(&side, Around::Junction) });
            }
            return Ok(self.junction(texts, *op == BinaryOperator::And));
        }
        let name = expr::symbol(op)?;
        if let (Some(left), Some(right)) = (expr::row_items(left), expr::row_items(right)) {
            return self.rows(&left, &name, &right);
        }
        self.operator_as(left, &name, &name, right)
    }

    /// Parts with AND or OR between.
    fn junction(&self, texts: Vec<String>, and: bool) -> Shown {
        let (word, node) = if and { (" AND ", Node::And) } else { (" OR ", Node::Or) };
        Shown::boolean(self.outer(&[&joined(texts, word)])).of(node)
    }

    fn rows(&mut self, left: &[&Expr], name: &str, right: &[&Expr]) -> Result<Shown> {
        let pairs: Vec<_> = left.iter().zip(right).collect();
        match name {
            "=" | "<>" => {
                let tests = pairs.into_iter().map(|(left, right)| self.operator_as(left, name, name, right));
                let tests = tests.collect::<Result<Vec<_>>>()?;
                let tests = tests.iter().map(|test| self.inner(test, Around::Junction)).collect();
                Ok(self.junction(tests, name == "="))
            }
            _ => {
                let (mut lefts, mut rights) = (Vec::new(), Vec::new());
                for (left, right) in pairs {
                    let (left, right) = (self.show(left)?, self.show(right)?);
                    let (left, right, _) = self.sides(left, name, right)?;
                    lefts.push(left.text);
                    rights.push(right.text);
                }
                let text = format!("(ROW({}) {name} ROW({}))", joined(lefts, ", "), joined(rights, ", "));
                Ok(Shown::boolean(text).of(Node::Other))
            }
        }
    }

    fn operator_as(&mut self, left: &Expr, name: &str, word: &str, right: &Expr) -> Result<Shown> {
        let (left, right) = (self.show(left)?, self.show(right)?);
        self.operation(left, name, word, right)
    }

    /// `(left word right)`, of the operator `name`.
    fn operation(&mut self, left: Shown, name: &str, word: &str, right: Shown) -> Result<Shown> {
        let (left, right, ty) = self.sides(left, name, right)?;
        let word = if word == "!=" { "<>" } else { word };
        let op = single(word);
        let left = self.inner(&left, Around::Operator(op, true));
        let right = self.inner(&right, Around::Operator(op, false));
        Ok(Shown::new(self.outer(&[&left, " ", word, " ", &right]), ty).of(Node::Operator(op)))
    }

    /// Two operands as an operator takes them, and what it gives.
    pub(super) fn sides(&mut self, left: Shown, name: &str, right: Shown) -> Result<(Shown, Shown, SqlType)> {
        let (l, r) = (left.ty.ty, right.ty.ty);
        let found = match operator::resolve(name, l, r) {
            Resolution::One(found) => found,
            _ => return foreign("such an operator"),
        };
        let wanted = [found.left.unwrap_or(SqlType::Any), found.right];
        let Some(actual) = actual_types(&wanted, &[l, r], found.returns) else {
            return foreign("such an operator");
        };
        let left = self.typed(left, actual.args[0])?;
        let right = self.typed(right, actual.args[1])?;
        Ok((left, right, actual.returns))
    }

    fn test(&mut self, inner: &Expr, word: &str) -> Result<Shown> {
        let inner = self.show(inner)?;
        let inner = self.typed(inner, SqlType::Bool)?;
        let inner = self.inner(&inner, Around::Other);
        Ok(Shown::boolean(self.outer(&[&inner, " ", word])).of(Node::Test))
    }

    fn null_test(&mut self, inner: &Expr, word: &str) -> Result<Shown> {
        let inner = self.show(inner)?;
        let inner = self.known(inner)?;
        let inner = self.inner(&inner, Around::Other);
        Ok(Shown::boolean(self.outer(&[&inner, " ", word])).of(Node::Test))
    }

    fn in_list(&mut self, operand: &Expr, items: &[Expr], negated: bool) -> Result<Shown> {
        let (name, quantifier) = if negated { ("<>", "ALL") } else { ("=", "ANY") };
        if expr::row_items(operand).is_some() {
            let tests = items.iter().map(|item| {
                let (Some(left), Some(right)) = (expr::row_items(operand), expr::row_items(item)) else {
                    return foreign("such a list");
                };
                self.rows(&left, name, &right)
            });
            let tests = tests.collect::<Result<Vec<_>>>()?;
            let tests = tests.iter().map(|test| self.inner(test, Around::Junction)).collect();
            return Ok(self.junction(tests, negated));
        }
        let mut fixed = Vec::new();
        let mut moving = Vec::new();
        for item in items {
            let shown = self.show(item)?;
            let scalar = self.binder.expr(item)?;
            let is_fixed = super::walk::columns_used(&scalar).is_empty();
            if is_fixed { fixed.push(shown) } else { moving.push(shown) }
        }
        let left = self.show(operand)?.ty.ty;
        let types = std::iter::once(left).chain(fixed.iter().map(|item| item.ty.ty));
        let shared = coerce::common(types).ok().filter(|_| fixed.len() > 1);
        let mut tests = Vec::new();
        match shared {
            Some(shared) => {
                let texts = fixed.into_iter().map(|item| self.typed(item, shared).map(|item| item.text));
                let array = format!("ARRAY[{}]", joined(texts.collect::<Result<Vec<_>>>()?, ", "));
                let test = self.over_array(operand, name, Shown::new(array, shared), quantifier)?;
                tests.push(Shown::boolean(test).of(Node::Other));
            }
            None => moving = fixed.into_iter().chain(moving).collect(),
        }
        for item in moving {
            let left = self.show(operand)?;
            tests.push(self.operation(left, name, name, item)?);
        }
        if tests.len() == 1 {
            return Ok(tests.remove(0));
        }
        let tests = tests.iter().map(|test| self.inner(test, Around::Junction)).collect();
        Ok(self.junction(tests, negated))
    }

    /// `(operand name ANY (array))`; the array is shown with its *element's* type.
    fn over_array(&mut self, operand: &Expr, name: &str, array: Shown, quantifier: &str) -> Result<String> {
        let left = self.show(operand)?;
        let element = array.ty.ty;
        let found = match operator::resolve(name, left.ty.ty, element) {
            Resolution::One(found) => found,
            _ => return foreign("such an operator"),
        };
        let wanted = [found.left.unwrap_or(SqlType::Any), found.right];
        let Some(actual) = actual_types(&wanted, &[left.ty.ty, element], found.returns) else {
            return foreign("such an operator");
        };
        let left = self.typed(left, actual.args[0])?;
        let left = self.inner(&left, Around::Other);
        let array = match (&array.unknown, actual.args[1].array()) {
            (Some(_), Some(ty)) => self.typed(array, ty)?,
            (None, Some(ty)) if element != actual.args[1] => self.written_cast(&array, ty.into()),
            _ => array,
        };
        let array = self.inner(&array, Around::Other);
        Ok(self.outer(&[&left, " ", name, " ", quantifier, " (", &array, ")"]))
    }

    fn quantified(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr, quantifier: &str) -> Result<Shown> {
        let name = expr::symbol(op)?;
        if let (true, Expr::Subquery(query)) = (self.query, expr::bare(right)) {
            let word = match (name.as_str(), quantifier) {
                ("=", "ANY") => " IN ".to_owned(),
                _ => format!(" {name} {quantifier} "),
            };
            return self.over_query(left, &word, &name, query);
        }
        let mut array = self.show(right)?;
        if array.unknown.is_none() {
            array.ty = array.ty.ty.element().unwrap_or(SqlType::Text).into();
        }
        Ok(Shown::boolean(self.over_array(left, &name, array, quantifier)?).of(Node::Other))
    }

    fn like(&mut self, operand: &Expr, name: &str, pattern: &Expr, escape: Option<&Expr>) -> Result<Shown> {
        let left = self.show(operand)?;
        let right = match escape {
            None => self.show(pattern)?,
            Some(escape) => {
                let args = self.all([pattern, escape])?;
                self.call("like_escape", args)?
            }
        };
        self.operation(left, name, name, right)
    }

    fn case(&mut self, operand: Option<&Expr>, whens: &[ast::CaseWhen], otherwise: Option<&Expr>) -> Result<Shown> {
        let margin = " ".repeat(margin(self.indent));
        self.indent += INDENT;
        let inner = " ".repeat(self::margin(self.indent));
        let operand_shown = operand.map(|operand| self.show(operand)).transpose()?;
        let mut results = vec![match otherwise {
            Some(otherwise) => self.show(otherwise)?,
            None => Shown { unknown: Some(None), ..Shown::new("", SqlType::Unknown) },
        }];
        let mut conditions = Vec::with_capacity(whens.len());
        for when in whens {
            let condition = self.show(&when.condition)?;
            conditions.push(match operand {
                Some(operand) => {
                    let left = self.show(operand)?;
                    let ty = left.ty.ty;
                    let right = if condition.unknown.is_some() { self.typed(condition, ty)? } else { condition };
                    right.text
                }
                None => self.typed(condition, SqlType::Bool)?.text,
            });
            results.push(self.show(&when.result)?);
        }
        let (results, ty) = self.unified(results)?;
        self.indent -= INDENT;
        let operand = match operand_shown {
            Some(operand) => format!(" {}", self.known(operand)?.text),
            None => String::new(),
        };
        let mut out = glue(&["\n", &margin, "CASE", &operand]);
        for (condition, result) in conditions.iter().zip(&results[1..]) {
            out = glue(&[&out, "\n", &inner, "WHEN ", condition, " THEN ", result]);
        }
        out = glue(&[&out, "\n", &inner, "ELSE ", &results[0], "\n", &margin, "END"]);
        Ok(Shown::new(out, ty))
    }

    fn access(&mut self, root: &Expr, chain: &[AccessExpr]) -> Result<Shown> {
        let shown = self.show(root)?;
        let plain = matches!(root, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        let mut ty = shown.ty;
        let mut out = if plain { shown.text } else { format!("({})", shown.text) };
        for access in chain {
            let AccessExpr::Subscript(subscript) = access else { return foreign("a field") };
            let mut bound = |expr: &Expr| -> Result<String> {
                let shown = self.show(expr)?;
                let ty = if ty.ty == SqlType::Jsonb && shown.unknown.is_some() { SqlType::Text } else { shown.ty.ty };
                let ty = if ty == SqlType::Unknown { SqlType::Int4 } else { ty };
                Ok(self.typed(shown, ty)?.text)
            };
            match subscript {
                Subscript::Index { index } => {
                    out = format!("{out}[{}]", bound(index)?);
                    ty = match ty.ty {
                        SqlType::Name => SqlType::Char.into(),
                        array => array.element().map_or(ty, PgType::new),
                    };
                }
                Subscript::Slice { lower_bound, upper_bound, stride: None } => {
                    let low = lower_bound.as_ref().map(&mut bound).transpose()?.unwrap_or_default();
                    let high = upper_bound.as_ref().map(&mut bound).transpose()?.unwrap_or_default();
                    out = format!("{out}[{low}:{high}]");
                }
                Subscript::Slice { .. } => return foreign("a slice with a stride"),
            }
        }
        Ok(Shown::new(out, ty))
    }

    /// The arguments of a function by name, as it takes them, and what it gives.
    pub(super) fn arguments(&mut self, name: &str, args: Vec<Shown>) -> Result<(Vec<String>, SqlType)> {
        let stand_ins = args.iter().map(|arg| (arg.stand_in(), None)).collect();
        let chosen = self.binder.resolve_call(name, stand_ins, None)?;
        let types: Vec<SqlType> = chosen.args.iter().map(|arg| arg.ty().ty).collect();
        let texts = args.into_iter().zip(types).map(|(arg, ty)| self.typed(arg, ty).map(|arg| arg.text));
        Ok((texts.collect::<Result<_>>()?, chosen.returns.ty))
    }

    pub(super) fn call(&mut self, name: &str, args: Vec<Shown>) -> Result<Shown> {
        let (args, ty) = self.arguments(name, args)?;
        Ok(Shown::new(format!("{}({})", quoted(name), joined(args, ", ")), ty))
    }

    fn function(&mut self, call: &ast::Function) -> Result<Shown> {
        let (name, plain) = self.binder.function_name(call)?;
        if self.query
            && (call.over.is_some() || call.filter.is_some() || !call.within_group.is_empty() || is_aggregate(&name))
        {
            return self.aggregate(&name, call);
        }
        if call.over.is_some() || call.filter.is_some() {
            return foreign("such a call");
        }
        if let (true, ast::FunctionArguments::None) = (plain, &call.args) {
            return match self.binder.bare_function(&name)? {
                Some(scalar) => Ok(Shown::new(name.to_ascii_uppercase(), scalar.ty())),
                None => foreign("such a call"),
            };
        }
        if let (true, ast::FunctionArguments::Subquery(query)) = (self.query, &call.args) {
            return self.array_query(query);
        }
        let given = self.all(arguments(call)?)?;
        if plain && self.query && name == "grouping" {
            let texts = given.into_iter().map(|item| item.text).collect();
            return Ok(Shown::new(format!("GROUPING({})", joined(texts, ", ")), SqlType::Int4));
        }
        if plain {
            match name.as_str() {
                "coalesce" | "greatest" | "least" => {
                    let (items, ty) = self.unified(given)?;
                    return Ok(Shown::new(format!("{}({})", name.to_ascii_uppercase(), joined(items, ", ")), ty));
                }
                "nullif" => {
                    let mut given = given;
                    let (Some(right), Some(left)) = (given.pop(), given.pop()) else { return foreign("such a call") };
                    let ty = left.ty;
                    let (left, right, _) = self.sides(left, "=", right)?;
                    return Ok(Shown::new(format!("NULLIF({}, {})", left.text, right.text), ty));
                }
                "row" => {
                    let items = given.into_iter().map(|item| self.known(item).map(|item| item.text));
                    let text = format!("ROW({})", joined(items.collect::<Result<Vec<_>>>()?, ", "));
                    return Ok(Shown::new(text, SqlType::Record));
                }
                "current_timestamp" | "current_time" | "localtimestamp" | "localtime" => {
                    let ty = self.binder.function(call)?.ty();
                    let digits = given.first().map(|digits| format!("({})", digits.text)).unwrap_or_default();
                    return Ok(Shown::new(format!("{}{digits}", name.to_ascii_uppercase()), ty));
                }
                _ => {}
            }
        }
        let stand_ins = given.iter().map(|arg| (arg.stand_in(), None)).collect::<Vec<_>>();
        match self.binder.resolve_call(&name, stand_ins, None) {
            Ok(_) => self.call(&name, given),
            // A type's name used as a function.
            Err(error) => match (SqlType::from_name(&name), given.len()) {
                (Some(ty), 1) => {
                    let arg = given.into_iter().next().ok_or(error)?;
                    self.cast(arg, ty.into())
                }
                _ => Err(error),
            },
        }
    }

    /// A call in SQL's own words, which hide casts.
    fn worded(&mut self, name: &str, args: Vec<Shown>) -> Result<(Vec<String>, SqlType)> {
        let hidden: Vec<Option<String>> =
            args.iter().map(|arg| arg.unknown.is_none().then(|| arg.text.clone())).collect();
        let (texts, ty) = self.arguments(name, args)?;
        Ok((texts.into_iter().zip(hidden).map(|(text, hidden)| hidden.unwrap_or(text)).collect(), ty))
    }

    fn special(&mut self, expr: &Expr) -> Result<Shown> {
        match expr {
            Expr::Extract { field, expr: operand, .. } => {
                let field = match field {
                    ast::DateTimeField::Custom(ident) => ident.value.to_ascii_lowercase(),
                    other => other.to_string().to_ascii_lowercase(),
                };
                let unknown = Some(Some(field.clone()));
                let word = Shown { unknown, ..Shown::new("", SqlType::Unknown) };
                let operand = self.show(operand)?;
                let (args, ty) = self.worded("extract", vec![word, operand])?;
                Ok(Shown::new(format!("EXTRACT({field} FROM {})", args[1]), ty))
            }
            Expr::Ceil { expr: operand, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                let args = self.all([operand.as_ref()])?;
                self.call("ceil", args)
            }
            Expr::Floor { expr: operand, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                let args = self.all([operand.as_ref()])?;
                self.call("floor", args)
            }
            Expr::Position { expr: part, r#in } => {
                let args = self.all([r#in.as_ref(), part.as_ref()])?;
                let (args, ty) = self.worded("position", args)?;
                Ok(Shown::new(format!("POSITION(({}) IN ({}))", args[1], args[0]), ty))
            }
            Expr::Overlay { expr: whole, overlay_what, overlay_from, overlay_for } => {
                let args = [whole.as_ref(), overlay_what.as_ref(), overlay_from.as_ref()];
                let args = self.all(args.into_iter().chain(overlay_for.as_deref()))?;
                let (args, ty) = self.worded("overlay", args)?;
                let length = args.get(3).map(|length| format!(" FOR {length}")).unwrap_or_default();
                let text = format!("OVERLAY({} PLACING {} FROM {}{length})", args[0], args[1], args[2]);
                Ok(Shown::new(text, ty))
            }
            Expr::Substring { expr: whole, substring_from, substring_for, special, shorthand } => {
                let args = std::iter::once(whole.as_ref()).chain(substring_from.as_deref());
                if *special || *shorthand {
                    let args = self.all(args.chain(substring_for.as_deref()))?;
                    return self.call(if *shorthand { "substr" } else { "substring" }, args);
                }
                if substring_from.is_none() {
                    return foreign("SUBSTRING … FOR without FROM");
                }
                let args = self.all(args.chain(substring_for.as_deref()))?;
                let (args, ty) = self.worded("substring", args)?;
                let length = args.get(2).map(|length| format!(" FOR {length}")).unwrap_or_default();
                Ok(Shown::new(format!("SUBSTRING({} FROM {}{length})", args[0], args[1]), ty))
            }
            Expr::Trim { trim_where, trim_what, expr: whole, trim_characters } => {
                let what = trim_what.as_deref().into_iter().chain(trim_characters.iter().flatten());
                let args = self.all(std::iter::once(whole.as_ref()).chain(what))?;
                let (args, ty) = self.worded(syntax::trim_name(trim_where.as_ref()), args)?;
                let place = match trim_where {
                    None | Some(ast::TrimWhereField::Both) => "BOTH",
                    Some(ast::TrimWhereField::Leading) => "LEADING",
                    Some(ast::TrimWhereField::Trailing) => "TRAILING",
                };
                let what = args.get(1).map(|what| format!(" {what}")).unwrap_or_default();
                Ok(Shown::new(format!("TRIM({place}{what} FROM {})", args[0]), ty))
            }
            _ if self.query => self.in_query(expr),
            _ => foreign("such an expression"),
        }
    }
}

fn is_aggregate(name: &str) -> bool {
    let functions = function::by_name(name);
    !functions.is_empty() && functions.iter().all(|function| matches!(function.kind, Kind::Aggregate(_)))
}

/// What a stored expression is for: it decides what may stand in it, and what errors call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// CHECK
    Check,
    /// An index's WHERE.
    IndexPredicate,
    /// What an index sorts by.
    IndexKey,
    /// GENERATED ALWAYS AS (…)
    Generated,
    /// ALTER COLUMN … TYPE … USING
    Transform,
}

impl Purpose {
    pub(super) fn clause(self) -> Clause {
        match self {
            Purpose::Check => Clause::Check,
            Purpose::IndexPredicate => Clause::IndexPredicate,
            Purpose::IndexKey => Clause::IndexKey,
            Purpose::Generated => Clause::Generated,
            Purpose::Transform => Clause::Transform,
        }
    }

    /// In the singular, for 0A000 and 42P10.
    pub(super) fn name(self) -> &'static str {
        match self {
            Purpose::Check => "check constraint",
            Purpose::IndexPredicate => "index predicate",
            Purpose::IndexKey => "index expression",
            Purpose::Generated => "column generation expression",
            Purpose::Transform => "transform expression",
        }
    }
}
