//! Row values: `ROW(…)`, `(a, b)`, whole rows of FROM, their fields, comparisons of rows.
//!
//! A row value is a call of [`ROW`]: field access, IS NULL and comparisons look through it. Where it has become a
//! column, the binder remembers what its fields are.

use super::bound::{Col, Scalar};
use super::expr::{bare, not};
use super::scope::Item;
use super::{Binder, Position, coerce, operator, syntax};
use crate::function::record::{FIELD, IS_NOT_NULL, IS_NULL, JSON_FIELDS, ROW};
use crate::function::{self, Function};
use crate::parse;
use kalamdb_commons::{ArrayDatum, Datum, PgType, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, AccessExpr, Expr, FunctionArg, FunctionArgExpr, FunctionArguments};
use std::rc::Rc;

/// PostgreSQL's limit of fields (`MaxTupleAttributeNumber`).
const FIELDS_MAX: usize = 1664;

/// The fields of a row value: names and types.
pub(super) type Shape = Rc<[(String, PgType)]>;

/// Whether an expression is written as a row value: `(a, b)` or `ROW(…)`.
pub(super) fn is_row(expr: &Expr) -> bool {
    match expr {
        Expr::Tuple(_) => true,
        Expr::Nested(inner) => is_row(inner),
        Expr::Function(call) => syntax::is_plain(call, "row"),
        _ => false,
    }
}

/// The row value of `(row).*`.
pub(super) fn expanded(expr: &Expr) -> Option<Expr> {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else { return None };
    match access_chain.split_last()? {
        (AccessExpr::Dot(Expr::Identifier(star)), before) if parse::is_expansion(star) => Some(match before {
            [] => root.as_ref().clone(),
            before => Expr::CompoundFieldAccess { root: root.clone(), access_chain: before.to_vec() },
        }),
        _ => None,
    }
}

/// The fields of a row value that is made in this expression.
pub(super) fn fields(scalar: &Scalar) -> Option<&[Scalar]> {
    match scalar {
        Scalar::Call { function, args, .. } if std::ptr::eq(*function, &ROW) => args.get(2..),
        _ => None,
    }
}

fn names(scalar: &Scalar) -> Vec<String> {
    match scalar {
        Scalar::Call { args, .. } => match args.first() {
            Some(Scalar::Const(Datum::Array(names), _)) => {
                names.items.iter().map(|name| name.as_str().unwrap_or_default().to_owned()).collect()
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// A row value; `there` is NULL where there is no row.
pub(super) fn row(named: Vec<(String, Scalar)>, there: Scalar) -> Scalar {
    let names = named.iter().map(|(name, _)| Datum::text(name.as_str())).collect();
    let names = Datum::from(ArrayDatum::usual(SqlType::Text, names));
    let names = Scalar::Const(names, SqlType::TextArray.into());
    let args = [names, there].into_iter().chain(named.into_iter().map(|(_, field)| field)).collect();
    Scalar::Call { function: &ROW, args, ty: SqlType::Record.into() }
}

fn call(function: &'static Function, args: Vec<Scalar>, ty: SqlType) -> Scalar {
    Scalar::Call { function, args, ty: ty.into() }
}

impl Binder<'_> {
    /// `(a, b)` or `ROW(a, t.*)`.
    pub(super) fn written_row(&mut self, expr: &Expr) -> Result<Scalar> {
        match bare(expr) {
            Expr::Tuple(items) => {
                let fields = items.iter().map(|item| self.row_part(item)).collect::<Result<Vec<_>>>()?;
                numbered(fields.concat())
            }
            Expr::Function(call) => self.row_call(call),
            _ => Err(SqlError::internal("a row value of another form")),
        }
    }

    /// `ROW(…)`.
    pub(super) fn row_call(&mut self, call: &ast::Function) -> Result<Scalar> {
        let mut fields = Vec::new();
        match &call.args {
            FunctionArguments::None => {}
            // ROW((SELECT …)) loses its inner brackets in the parser.
            FunctionArguments::Subquery(query) => fields.push(self.scalar_subquery(query)?),
            FunctionArguments::List(list) => {
                for arg in &list.args {
                    match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => fields.extend(self.row_part(expr)?),
                        FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
                            fields.extend(self.all_fields(name)?);
                        }
                        _ => return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"*\"")),
                    }
                }
            }
        }
        numbered(fields)
    }

    /// An item of a row value; `t.*` is several.
    fn row_part(&mut self, expr: &Expr) -> Result<Vec<Scalar>> {
        if let Some(row) = expanded(expr) {
            return Ok(self.composite(&row)?.into_iter().map(|(_, field)| field).collect());
        }
        match expr {
            Expr::QualifiedWildcard(name, _) => self.all_fields(name),
            _ => Ok(vec![self.expr(expr)?]),
        }
    }

    fn all_fields(&mut self, name: &ast::ObjectName) -> Result<Vec<Scalar>> {
        let row = self.starred(name)?;
        Ok(fields(&row).map_or_else(|| vec![row.clone()], <[Scalar]>::to_vec))
    }

    /// `t.*` where one value stands: the whole row.
    pub(super) fn starred(&mut self, name: &ast::ObjectName) -> Result<Scalar> {
        let position = self.position(name);
        let (namespace, relation) = super::from::name_parts(name)?;
        let (depth, item) = self.relation_in_scope(namespace.as_deref(), &relation, position)?;
        Ok(self.whole_row(depth, &item, position))
    }

    /// A relation of FROM as a value. A function's single value is itself.
    pub(super) fn whole_row(&mut self, depth: usize, item: &Item, position: Position) -> Scalar {
        for column in &item.columns {
            self.mention(depth, column.col.id, position);
        }
        if let Some(position) = position {
            self.whole_rows.insert(position, item.name.clone());
        }
        if let ([column], true) = (item.columns.as_slice(), item.scalar) {
            return Scalar::Column(column.col);
        }
        let named = item.columns.iter().map(|column| (column.name.clone(), Scalar::Column(column.col))).collect();
        let there = match item.marker {
            Some(marker) if item.padded => Scalar::Column(marker),
            _ => operator::constant(true),
        };
        row(named, there)
    }

    /// What a set-returning function with several columns gives: NULL in a row that it no longer fills.
    pub(super) fn function_row(&mut self, function: &Function, cols: &[Col]) -> Scalar {
        let missing = cols.iter().map(|col| Scalar::IsNull(Box::new(Scalar::Column(*col)))).collect();
        let there = Scalar::Case {
            branches: vec![(Scalar::And(missing), Scalar::Const(Datum::Null, SqlType::Bool.into()))],
            otherwise: Some(Box::new(operator::constant(true))),
            ty: SqlType::Bool.into(),
        };
        let names = function.columns.iter().map(|(name, _)| (*name).to_owned());
        row(names.zip(cols.iter().map(|col| Scalar::Column(*col))).collect(), there)
    }

    /// The fields of a row value, as far as they are known before it is computed.
    fn shape(&self, scalar: &Scalar) -> Option<Shape> {
        match scalar {
            Scalar::Column(col) => self.records.get(&col.id).cloned(),
            Scalar::Subquery(subquery) => match subquery.columns.as_slice() {
                [col] if subquery.ty == col.ty => self.records.get(&col.id).cloned(),
                _ => None,
            },
            scalar => {
                let fields = fields(scalar)?;
                Some(names(scalar).into_iter().zip(fields.iter().map(Scalar::ty)).collect())
            }
        }
    }

    /// Remembers the fields of a row value that has become a column.
    pub(super) fn note_record(&mut self, scalar: &Scalar, col: Col) {
        if col.ty.ty == SqlType::Record
            && let Some(shape) = self.shape(scalar)
        {
            self.records.insert(col.id, shape);
        }
    }

    /// Row values of two arms of a set operation: what is compared must have fields of the same types, and what comes
    /// together in one column must be of one shape.
    pub(super) fn same_shapes(&self, left: Col, right: Col, compared: bool) -> Result<()> {
        let (Some(l), Some(r)) = (self.records.get(&left.id), self.records.get(&right.id)) else { return Ok(()) };
        let differs = |(_, ((_, a), (_, b))): &(usize, (&(String, PgType), &(String, PgType)))| a.ty != b.ty;
        let wrong = l.iter().zip(r.iter()).enumerate().find(differs);
        let message = match wrong {
            None if l.len() == r.len() => return Ok(()),
            _ if !compared => return Err(SqlError::unsupported("UNION ALL of row values with different columns")),
            None => "cannot compare record types with different numbers of columns".to_owned(),
            Some((place, ((_, l), (_, r)))) => {
                let (l, r) = (l.ty, r.ty);
                format!("cannot compare dissimilar column types {l} and {r} at record column {}", place + 1)
            }
        };
        Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message))
    }

    /// The fields of a composite expression with their names.
    pub(super) fn composite(&mut self, expr: &Expr) -> Result<Vec<(String, Scalar)>> {
        let scalar = self.expr(expr)?;
        if let Some(fields) = fields(&scalar) {
            return Ok(names(&scalar).into_iter().zip(fields.iter().cloned()).collect());
        }
        match self.shape(&scalar) {
            Some(shape) => {
                let one = |(place, (name, ty)): (usize, &(String, PgType))| (name.clone(), field(&scalar, place, *ty));
                Ok(shape.iter().enumerate().map(one).collect())
            }
            None if scalar.ty().ty == SqlType::Record => {
                Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, "record type has not been registered"))
            }
            None => {
                let message = format!("type {} is not composite", scalar.ty().ty);
                Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message))
            }
        }
    }

    /// `(value).name`.
    pub(super) fn field(&mut self, value: &Scalar, ident: &ast::Ident, root: &Expr) -> Result<Scalar> {
        let name = parse::fold(ident);
        let position = self.position(root);
        if parse::is_expansion(ident) {
            let message = "row expansion via \"*\" is not supported here";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(position));
        }
        let place = self.shape(value).and_then(|shape| {
            let place = shape.iter().position(|(field, _)| *field == name)?;
            Some((place, shape[place].1))
        });
        if let Some((place, ty)) = place {
            return Ok(match fields(value).and_then(|fields| fields.get(place)) {
                Some(field) => field.clone(),
                None => field(value, place, ty),
            });
        }
        let undefined = |message: String| Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message).at(position));
        match (value.ty().ty, bare(root)) {
            (SqlType::Record, Expr::Identifier(root)) if fields(value).is_some() => {
                undefined(format!("column {}.{name} does not exist", parse::fold(root)))
            }
            (SqlType::Record, _) => undefined(format!("could not identify column \"{name}\" in record data type")),
            (ty, _) => {
                let message = format!("column notation .{name} applied to type {ty}, which is not a composite type");
                Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message).at(position))
            }
        }
    }

    /// IS [NOT] NULL; of a row value: all its fields.
    pub(super) fn null_test(&mut self, operand: &Expr, negated: bool) -> Result<Scalar> {
        let test = |scalar: Scalar| {
            let test = Scalar::IsNull(Box::new(scalar));
            if negated { not(test) } else { test }
        };
        let scalar = self.expr(operand)?;
        if let Some(fields) = fields(&scalar) {
            return Ok(Scalar::And(fields.iter().cloned().map(test).collect()));
        }
        if scalar.ty().ty == SqlType::Record {
            return Ok(call(if negated { &IS_NOT_NULL } else { &IS_NULL }, vec![scalar], SqlType::Bool));
        }
        Ok(test(scalar))
    }

    /// Row values, field by field (manual 9.24.5): equality by AND, order by the first difference.
    pub(super) fn compare_rows(&mut self, name: &str, lefts: Vec<Scalar>, rights: Vec<Scalar>) -> Result<Scalar> {
        same_length(lefts.len(), rights.len())?;
        if lefts.is_empty() {
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, "cannot compare rows of zero length"));
        }
        let pairs: Vec<(Scalar, Scalar)> = lefts.into_iter().zip(rights).collect();
        match name {
            "=" | "<>" => {
                let mut tests = Vec::new();
                for (left, right) in pairs {
                    tests.push(self.binary(name, left, right, None)?);
                }
                Ok(if name == "=" { Scalar::And(tests) } else { Scalar::Or(tests) })
            }
            "<" | "<=" | ">" | ">=" => {
                let strict = &name[..1];
                let last = pairs.len() - 1;
                let mut result = None;
                for (index, (left, right)) in pairs.into_iter().enumerate().rev() {
                    if index == last {
                        result = Some(self.binary(name, left, right, None)?);
                        continue;
                    }
                    let before = self.binary(strict, left.clone(), right.clone(), None)?;
                    let same = self.binary("=", left, right, None)?;
                    let rest = result.take().unwrap_or_else(|| operator::constant(true));
                    result = Some(Scalar::Or(vec![before, Scalar::And(vec![same, rest])]));
                }
                Ok(result.unwrap_or_else(|| operator::constant(true)))
            }
            _ => Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("could not determine interpretation of row comparison operator {name}"),
            )),
        }
    }

    /// `left op right` of expressions: two written rows field by field, a row and a subquery of one row likewise.
    pub(super) fn compared(&mut self, name: &str, left: &Expr, bound: &Scalar, right: &Expr) -> Result<Scalar> {
        if is_row(left) {
            let lefts = fields(bound).unwrap_or_default().to_vec();
            if is_row(right) {
                let rights = self.written_row(right)?;
                return self.compare_rows(name, lefts, fields(&rights).unwrap_or_default().to_vec());
            }
            if let Expr::Subquery(query) = bare(right) {
                let rights = self.row_subquery(query, lefts.len())?;
                return self.compare_rows(name, lefts, rights);
            }
        }
        let right = self.expr(right)?;
        self.binary(name, bound.clone(), right, None)
    }

    /// IS [NOT] DISTINCT FROM.
    pub(super) fn distinct_from(&mut self, left: &Expr, right: &Expr, negated: bool) -> Result<Scalar> {
        let (l, r) = (self.expr(left)?, self.expr(right)?);
        if !is_row(left) || !is_row(right) {
            return self.distinct(l, r, negated, None);
        }
        let (lefts, rights) = (fields(&l).unwrap_or_default(), fields(&r).unwrap_or_default());
        same_length(lefts.len(), rights.len())?;
        let mut tests = Vec::new();
        for (left, right) in lefts.iter().zip(rights) {
            tests.push(self.distinct(left.clone(), right.clone(), negated, None)?);
        }
        Ok(if negated { Scalar::And(tests) } else { Scalar::Or(tests) })
    }

    /// The value that an aggregate makes JSON of, in a form that the session's settings no longer change.
    pub(super) fn settle_json(&mut self, function: &Function, args: &mut [Scalar]) -> Result<()> {
        if !matches!(function.name, "json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg") {
            return Ok(());
        }
        if let [name, _] = args
            && name.ty().ty != SqlType::Record
            && let (Some((to_json, ty)), Some(text)) = (json_form(name.ty().ty), function::by_oid(3953))
        {
            // The session's own text, without the quotes.
            let value = std::mem::replace(name, operator::constant(true));
            *name = call(text, vec![call(to_json, vec![value], ty)], SqlType::Text);
        }
        let Some(last) = args.last_mut() else { return Ok(()) };
        let ty = last.ty().ty;
        let value = std::mem::replace(last, operator::constant(true));
        *last = match coerce::true_element(ty) {
            Some(element) if json_form(element).is_some() => {
                let to = if element == SqlType::Record { SqlType::RecordArray } else { SqlType::JsonArray };
                self.each_item(value, to.into(), |_, item, _| Ok(as_json(item)))?
            }
            _ => as_json(value),
        };
        Ok(())
    }
}

/// What makes JSON of a type whose text depends on the session.
fn json_form(ty: SqlType) -> Option<(&'static Function, SqlType)> {
    match ty {
        SqlType::Record => Some((&JSON_FIELDS, SqlType::Record)),
        SqlType::Timestamptz
        | SqlType::Interval
        | SqlType::Bytea
        | SqlType::Float4
        | SqlType::Float8
        // A label is the catalog's.
        | SqlType::Enum(_) => {
            function::by_oid(3176).map(|function| (function, SqlType::Json))
        }
        ty if ty.is_oid_like() => function::by_oid(3176).map(|function| (function, SqlType::Json)),
        _ => None,
    }
}

fn as_json(scalar: Scalar) -> Scalar {
    match json_form(scalar.ty().ty) {
        Some((function, ty)) => call(function, vec![scalar], ty),
        None => scalar,
    }
}

/// A field of a row value that is computed elsewhere.
fn field(value: &Scalar, place: usize, ty: PgType) -> Scalar {
    let place = Scalar::Const(Datum::Int4(i32::try_from(place).unwrap_or(i32::MAX)), SqlType::Int4.into());
    Scalar::Call { function: &FIELD, args: vec![value.clone(), place], ty }
}

/// A row value whose fields are called f1, f2 …
fn numbered(fields: Vec<Scalar>) -> Result<Scalar> {
    if fields.len() > FIELDS_MAX {
        let message = format!("ROW expressions can have at most {FIELDS_MAX} entries");
        return Err(SqlError::new(SqlState::TOO_MANY_COLUMNS, message));
    }
    let named = fields.into_iter().enumerate().map(|(index, field)| (format!("f{}", index + 1), field)).collect();
    Ok(row(named, operator::constant(true)))
}

fn same_length(left: usize, right: usize) -> Result<()> {
    if left == right {
        return Ok(());
    }
    Err(SqlError::new(SqlState::SYNTAX_ERROR, "unequal number of entries in row expressions"))
}
