//! Expressions: one function for each shape of the parser's tree.

use super::bound::{Bounds, CompareOp, Scalar};
use super::scope::Found;
use super::{Binder, Position, literal, operator, record, syntax};
use crate::{parse, types};
use kalamdb_commons::array::DIMENSIONS_MAX;
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, AccessExpr, BinaryOperator, Expr, Subscript, UnaryOperator};

/// What stands between the brackets of a row value: `(a, b)` or `ROW(a, b)`.
pub(super) fn row_items(expr: &Expr) -> Option<Vec<&Expr>> {
    match expr {
        Expr::Tuple(items) => Some(items.iter().collect()),
        Expr::Nested(inner) => row_items(inner),
        Expr::Function(function) if syntax::is_plain(function, "row") => match &function.args {
            ast::FunctionArguments::List(list) => list
                .args
                .iter()
                .map(|arg| match arg {
                    ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
                    _ => None,
                })
                .collect(),
            _ => None,
        },
        _ => None,
    }
}

/// The expression without the brackets around it.
pub(super) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        other => other,
    }
}

impl Binder<'_> {
    /// An expression. What is "unknown" stays so.
    pub(super) fn expr(&mut self, expr: &Expr) -> Result<Scalar> {
        stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || {
            self.expr_one(expr).map_err(|error| error.at(self.position(expr)))
        })
    }

    /// An expression with its place.
    pub(super) fn placed(&mut self, expr: &Expr) -> Result<(Scalar, Position)> {
        Ok((self.expr(expr)?, self.position(expr)))
    }

    fn all_placed<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) -> Result<Vec<(Scalar, Position)>> {
        exprs.into_iter().map(|expr| self.placed(expr)).collect()
    }

    fn expr_one(&mut self, expr: &Expr) -> Result<Scalar> {
        match expr {
            Expr::Identifier(ident) => self.identifier(ident),
            Expr::CompoundIdentifier(parts) => {
                let found = self.compound(parts)?;
                Ok(Scalar::Column(found.col))
            }
            Expr::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            Expr::Nested(inner) => self.expr(inner),
            Expr::Value(value) => self.value(value),
            Expr::TypedString(typed) => self.typed_string(&typed.data_type, &typed.value),
            Expr::Interval(interval) => self.interval(interval),
            Expr::Function(function) => self.function(function),
            Expr::BinaryOp { left, op, right } => self.binary_op(left, op, right),
            Expr::UnaryOp { op, expr } => self.unary_op(op, expr),
            Expr::IsTrue(inner) => self.truth_test(inner, CompareOp::NotDistinct, true, "IS TRUE"),
            Expr::IsNotTrue(inner) => self.truth_test(inner, CompareOp::Distinct, true, "IS NOT TRUE"),
            Expr::IsFalse(inner) => self.truth_test(inner, CompareOp::NotDistinct, false, "IS FALSE"),
            Expr::IsNotFalse(inner) => self.truth_test(inner, CompareOp::Distinct, false, "IS NOT FALSE"),
            Expr::IsUnknown(inner) => self.unknown_test(inner, "IS UNKNOWN"),
            Expr::IsNotUnknown(inner) => Ok(not(self.unknown_test(inner, "IS NOT UNKNOWN")?)),
            Expr::IsNull(inner) => self.null_test(inner, false),
            Expr::IsNotNull(inner) => self.null_test(inner, true),
            Expr::IsDistinctFrom(left, right) => self.distinct_from(left, right, false),
            Expr::IsNotDistinctFrom(left, right) => self.distinct_from(left, right, true),
            Expr::In { expr, target, negated, global: false } => {
                let scalar = self.is_in(expr, target)?;
                Ok(if *negated { not(scalar) } else { scalar })
            }
            Expr::Between { expr, negated, low, high } => self.between(expr, low, high, *negated),
            Expr::Like { negated, any, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_deref(), if *negated { "!~~" } else { "~~" }, *any)
            }
            Expr::ILike { negated, any, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_deref(), if *negated { "!~~*" } else { "~~*" }, *any)
            }
            Expr::SimilarTo { negated, expr, pattern, escape_char } => {
                self.similar(expr, pattern, escape_char.as_deref(), *negated)
            }
            Expr::AnyOp { left, compare_op, right, .. } => self.quantified(left, compare_op, right, false),
            Expr::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, true),
            Expr::Cast {
                kind: kind @ (ast::CastKind::Cast | ast::CastKind::DoubleColon),
                expr,
                data_type,
                format: None,
            } => {
                let colons = *kind == ast::CastKind::DoubleColon;
                let meant = self.type_meant(data_type).map_err(|error| error.at(self.cast_places(expr, colons).1))?;
                let scalar = self.written_cast(expr, meant.ty, Some(colons))?;
                self.within_domain(scalar, meant.domain)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Exists { subquery, negated } => {
                let scalar = self.exists(subquery)?;
                Ok(if *negated { not(scalar) } else { scalar })
            }
            Expr::Subquery(query) => self.scalar_subquery(query),
            Expr::Array(array) => self.array(&array.elem, None),
            Expr::Collate { expr: inner, collation } => self.collate(inner, collation),
            Expr::AtTimeZone { timestamp, time_zone } => {
                let args = self.all_placed([time_zone.as_ref(), timestamp.as_ref()])?;
                self.call("timezone", args, self.position(expr))
            }
            Expr::Tuple(_) => self.written_row(expr),
            Expr::QualifiedWildcard(name, _) => self.starred(name),
            _ => self.special(expr),
        }
    }

    fn identifier(&mut self, ident: &ast::Ident) -> Result<Scalar> {
        let position = self.ident_position(ident);
        if ident.quote_style.is_none() {
            if ident.value.eq_ignore_ascii_case("default") {
                let message = "DEFAULT is not allowed in this context";
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(position));
            }
            if let Some(scalar) = self.bare_function(&ident.value)? {
                return Ok(scalar);
            }
        }
        if ident.quote_style.is_none() && parse::is_reserved(&ident.value) {
            let message = format!("syntax error at or near \"{}\"", ident.value);
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(position));
        }
        let name = parse::fold(ident);
        if let Some(found) = self.find_column(&name, position)? {
            return Ok(Scalar::Column(found.col));
        }
        if let Some((depth, item)) = self.find_relation(None, &name, position)? {
            return Ok(self.whole_row(depth, &item, position));
        }
        self.column(&name, position).map(|found| Scalar::Column(found.col))
    }

    /// `relation.column` and longer.
    pub(super) fn compound(&mut self, parts: &[ast::Ident]) -> Result<Found> {
        let position = parts.first().and_then(|part| self.ident_position(part));
        let names: Vec<String> = parts.iter().map(parse::fold).collect();
        match names.as_slice() {
            [column] => self.column(column, position),
            [relation, column] => self.qualified_column(None, relation, column, position),
            [namespace, relation, column] => self.qualified_column(Some(namespace), relation, column, position),
            [_, namespace, relation, column] => self.qualified_column(Some(namespace), relation, column, position),
            _ => {
                let message = format!("improper qualified name (too many dotted names): {}", names.join("."));
                Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(position))
            }
        }
    }

    /// `a.b[1]`, `(f(x)).field`, `a[1:2]`.
    fn access(&mut self, root: &Expr, chain: &[AccessExpr]) -> Result<Scalar> {
        let mut parts: Vec<ast::Ident> = match root {
            Expr::Identifier(ident) => vec![ident.clone()],
            Expr::CompoundIdentifier(parts) => parts.clone(),
            _ => Vec::new(),
        };
        let mut rest = chain;
        let mut scalar = if parts.is_empty() {
            self.expr(root)?
        } else {
            while let Some(AccessExpr::Dot(Expr::Identifier(part))) = rest.first() {
                parts.push(part.clone());
                rest = &rest[1..];
            }
            match parts.as_slice() {
                [one] => self.identifier(one)?,
                several => Scalar::Column(self.compound(several)?.col),
            }
        };
        while let Some(access) = rest.first() {
            match access {
                AccessExpr::Subscript(_) => {
                    let is_subscript = |access: &&AccessExpr| matches!(access, AccessExpr::Subscript(_));
                    let (run, behind) = rest.split_at(rest.iter().take_while(is_subscript).count());
                    scalar = self.subscripts(scalar, run)?;
                    rest = behind;
                }
                AccessExpr::Dot(Expr::Identifier(field)) => {
                    scalar = self.field(&scalar, field, root)?;
                    rest = &rest[1..];
                }
                AccessExpr::Dot(_) => return Err(SqlError::unsupported("a field of such an expression")),
            }
        }
        Ok(scalar)
    }

    /// `a[1][2]`, `a[1:2][3]`: all subscripts that follow each other belong together.
    fn subscripts(&mut self, whole: Scalar, run: &[AccessExpr]) -> Result<Scalar> {
        let subscripts: Vec<&Subscript> = run
            .iter()
            .filter_map(|access| match access {
                AccessExpr::Subscript(subscript) => Some(subscript),
                AccessExpr::Dot(_) => None,
            })
            .collect();
        if whole.ty().ty == SqlType::Jsonb {
            return subscripts.into_iter().try_fold(whole, |json, subscript| {
                let Subscript::Index { index } = subscript else {
                    let message = "jsonb subscript does not support slices";
                    return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
                };
                self.jsonb_subscript(json, index)
            });
        }
        let ty = whole.ty();
        if ty.ty == SqlType::Name {
            return self.name_subscripts(whole, &subscripts);
        }
        let Some(element) = ty.ty.element() else {
            let message = format!("cannot subscript type {} because it does not support subscripting", ty.ty);
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
        };
        if subscripts.len() > DIMENSIONS_MAX {
            return Err(types::too_many_dimensions(subscripts.len()));
        }
        let is_slice = subscripts.iter().any(|subscript| matches!(subscript, Subscript::Slice { .. }));
        if !is_slice {
            let mut places = Vec::with_capacity(subscripts.len());
            for subscript in subscripts {
                if let Subscript::Index { index } = subscript {
                    places.push(self.array_subscript(index)?);
                }
            }
            let element = PgType { ty: element, typmod: ty.typmod };
            return Ok(Scalar::Subscript(Box::new(whole), places, element));
        }
        let mut all = Vec::with_capacity(subscripts.len());
        for subscript in subscripts {
            all.push(match subscript {
                // Beside a slice, a single subscript means "up to".
                Subscript::Index { index } => {
                    let one = Scalar::Const(Datum::Int4(1), SqlType::Int4.into());
                    Bounds { low: Some(one), high: Some(self.array_subscript(index)?) }
                }
                Subscript::Slice { lower_bound, upper_bound, stride: None } => Bounds {
                    low: lower_bound.as_ref().map(|bound| self.array_subscript(bound)).transpose()?,
                    high: upper_bound.as_ref().map(|bound| self.array_subscript(bound)).transpose()?,
                },
                Subscript::Slice { .. } => return Err(SqlError::unsupported("a slice with a stride")),
            });
        }
        Ok(Scalar::Slice(Box::new(whole), all))
    }

    /// `name[i]`: a byte of it, counted from 0.
    fn name_subscripts(&mut self, whole: Scalar, subscripts: &[&Subscript]) -> Result<Scalar> {
        let mut places = Vec::with_capacity(subscripts.len());
        for subscript in subscripts {
            let Subscript::Index { index } = subscript else {
                let message = "slices of fixed-length arrays not implemented";
                return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            };
            places.push(self.array_subscript(index)?);
        }
        Ok(Scalar::Subscript(Box::new(whole), places, SqlType::Char.into()))
    }

    fn array_subscript(&mut self, expr: &Expr) -> Result<Scalar> {
        let (scalar, position) = self.placed(expr)?;
        self.of_type(scalar, SqlType::Int4, "array subscript", position).map_err(|error| {
            if error.state() != SqlState::DATATYPE_MISMATCH {
                return error;
            }
            SqlError::new(SqlState::DATATYPE_MISMATCH, "array subscript must have type integer").at(position)
        })
    }

    /// `jsonb[key]`: a number is a place in an array and a name in an object, whatever its type.
    fn jsonb_subscript(&mut self, value: Scalar, index: &Expr) -> Result<Scalar> {
        let (key, position) = self.placed(index)?;
        let given = key.ty().ty;
        let key = if given.is_integer() && given != SqlType::Int8 {
            Scalar::ThroughText(Box::new(key), SqlType::Text.into())
        } else {
            self.coerce(key, SqlType::Text.into(), crate::function::CastContext::Implicit, position)?.ok_or_else(
                || {
                    SqlError::new(SqlState::DATATYPE_MISMATCH, format!("subscript type {given} is not supported"))
                        .with_hint("jsonb subscript must be coercible to either integer or text.")
                        .at(position)
                },
            )?
        };
        let path = crate::function::by_name("jsonb_extract_path");
        let Some(function) = path.first() else { return Err(SqlError::internal("no jsonb_extract_path")) };
        Ok(Scalar::Call { function, args: vec![value, key], ty: SqlType::Jsonb.into() })
    }

    fn binary_op(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Scalar> {
        match op {
            BinaryOperator::And => self.connective(left, right, "AND"),
            BinaryOperator::Or => self.connective(left, right, "OR"),
            BinaryOperator::Overlaps => {
                let (Some(left), Some(right)) = (row_items(left), row_items(right)) else {
                    return Err(SqlError::unsupported("OVERLAPS of such operands"));
                };
                let args = self.all_placed(left.into_iter().chain(right))?;
                self.call("overlaps", args, None)
            }
            _ => {
                let name = symbol(op)?;
                let l = self.expr(left)?;
                self.compared(&name, left, &l, right).map_err(|error| {
                    let place = self.blame(&error, left, &name, right);
                    error.at(place)
                })
            }
        }
    }

    /// Where an error of an operator is: at the literal that could not be read, else at the operator.
    fn blame(&self, error: &SqlError, left: &Expr, name: &str, right: &Expr) -> Position {
        if error.state().code().starts_with("22") {
            let literal = if matches!(bare(right), Expr::Value(_)) { right } else { left };
            return self.position(literal);
        }
        self.operator_position(name, right).or_else(|| self.position(left))
    }

    /// The text before a node, without the brackets and signs that stand directly before it.
    fn before(&self, node: &Expr) -> Option<&str> {
        let end = self.byte_at(self.position(node)?);
        let mut before = trim_brackets(&self.text[..end]);
        for sign in signs(node) {
            before = trim_brackets(strip_word(before, &sign)?);
        }
        Some(before)
    }

    /// The parser keeps no place for an operator: it stands before the right operand, behind blanks and brackets.
    pub(super) fn operator_position(&self, name: &str, right: &Expr) -> Position {
        let before = self.before(right)?;
        let names: &[&str] = if name == "<>" { &["<>", "!="] } else { &[name] };
        let head = names.iter().find_map(|name| strip_word(before, name))?;
        Some(head.chars().count() + 1)
    }

    /// Where `op ANY (…)` has its operator.
    pub(super) fn quantifier_position(&self, name: &str, query: &ast::Query) -> Position {
        let before = self.before_query(query)?;
        let before = ["any", "all", "some"].iter().find_map(|word| strip_word(before, word))?.trim_end();
        strip_word(before, name).map(|head| head.chars().count() + 1)
    }

    /// Where `IN (SELECT …)` has its word.
    pub(super) fn in_query_position(&self, query: &ast::Query) -> Position {
        let before = strip_word(self.before_query(query)?, "in")?;
        let head = strip_word(before.trim_end(), "not").unwrap_or(before);
        Some(head.chars().count() + 1)
    }

    fn before_query(&self, query: &ast::Query) -> Option<&str> {
        let bracket = self.bracket_position(query)?;
        Some(trim_brackets(&self.text[..self.byte_at(bracket)]))
    }

    /// The bracket that opens a subquery.
    pub(super) fn bracket_position(&self, query: &ast::Query) -> Position {
        let start = self.position(query)?;
        let mut before = self.text[..self.byte_at(start)].trim_end();
        if matches!(query.body.as_ref(), ast::SetExpr::Values(_)) {
            before = strip_word(before, "values").map_or(before, str::trim_end);
        }
        match before.strip_suffix('(') {
            Some(head) => Some(head.chars().count() + 1),
            None => Some(start),
        }
    }

    /// The places of a cast: of the operator or the word CAST, and of the type's name.
    fn cast_places(&self, operand: &Expr, colons: bool) -> (Position, Position) {
        let Some(start) = self.position(operand) else { return (None, None) };
        let place = |at: usize| Some(self.text[..at].chars().count() + 1);
        let (word, skipped) = if colons { ("::", casts(operand)) } else { (" as ", 0) };
        let end = find_outside(&self.text[self.byte_at(start)..], word, brackets(operand), skipped);
        let end = end.map(|at| self.byte_at(start) + at);
        let name = end.map(|end| {
            let after = &self.text[end + word.len()..];
            end + word.len() + (after.len() - after.trim_start().len())
        });
        let operator = match colons {
            true => end.and_then(place),
            false => {
                self.before(operand).and_then(|before| strip_word(before, "cast")).and_then(|head| place(head.len()))
            }
        };
        (operator, name.and_then(place))
    }

    /// A place in characters from 1, in bytes from 0.
    fn byte_at(&self, position: usize) -> usize {
        self.text.char_indices().nth(position.saturating_sub(1)).map_or(self.text.len(), |(at, _)| at)
    }

    /// AND and OR, flat: a long chain must not nest.
    fn connective(&mut self, left: &Expr, right: &Expr, word: &str) -> Result<Scalar> {
        // Chains lean to the left: walked down once, not looked at again from each level.
        let mut sides = vec![right];
        let mut first = left;
        while let Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } = first
            && (word == "AND") == (*op == BinaryOperator::And)
        {
            sides.push(right);
            first = left;
        }
        sides.push(first);
        let mut items = Vec::with_capacity(sides.len());
        for side in sides.into_iter().rev() {
            let (scalar, position) = self.placed(side)?;
            let scalar = self.boolean(scalar, word, position)?;
            match (scalar, word) {
                (Scalar::And(inner), "AND") | (Scalar::Or(inner), "OR") => items.extend(inner),
                (scalar, _) => items.push(scalar),
            }
        }
        Ok(if word == "AND" { Scalar::And(items) } else { Scalar::Or(items) })
    }

    fn unary_op(&mut self, op: &UnaryOperator, operand: &Expr) -> Result<Scalar> {
        let name = match op {
            UnaryOperator::Not => {
                let (scalar, position) = self.placed(operand)?;
                return Ok(not(self.boolean(scalar, "NOT", position)?));
            }
            UnaryOperator::Minus => {
                if let Some(text) = negated_number(operand) {
                    return literal::number(&text);
                }
                "-".to_owned()
            }
            other => other.to_string(),
        };
        let (scalar, position) = self.placed(operand)?;
        self.prefix(&name, scalar, None).map_err(|error| {
            let place = self.operator_position(&name, operand).or(position);
            error.at(place)
        })
    }

    fn truth_test(&mut self, operand: &Expr, op: CompareOp, value: bool, construct: &str) -> Result<Scalar> {
        let (scalar, position) = self.placed(operand)?;
        let scalar = self.boolean(scalar, construct, position)?;
        Ok(Scalar::Compare(op, Box::new(scalar), Box::new(operator::constant(value))))
    }

    fn unknown_test(&mut self, operand: &Expr, construct: &str) -> Result<Scalar> {
        let (scalar, position) = self.placed(operand)?;
        let scalar = self.boolean(scalar, construct, position)?;
        Ok(Scalar::IsNull(Box::new(scalar)))
    }

    fn is_in(&mut self, operand: &Expr, target: &ast::InTarget) -> Result<Scalar> {
        match target {
            ast::InTarget::Subquery(query) => self.in_subquery(operand, query),
            ast::InTarget::List(items) => {
                let scalar = self.expr(operand)?;
                if record::is_row(operand) {
                    let tests = items.iter().map(|item| self.compared("=", operand, &scalar, item));
                    return Ok(operator::gathered(tests.collect::<Result<_>>()?));
                }
                let first = items.first().and_then(|item| self.position(item));
                let items = self.all_placed(items)?;
                self.in_list(scalar, items, None).map_err(|error| {
                    let place = self.in_position(first);
                    error.at(place)
                })
            }
            _ => Err(SqlError::unsupported("IN with such a list")),
        }
    }

    /// The word IN, or NOT IN, before the list's first item.
    fn in_position(&self, first: Position) -> Position {
        let end = self.text.char_indices().nth(first? - 1)?.0;
        let before = self.text[..end].trim_end_matches(|ch: char| ch.is_whitespace() || ch == '(').to_ascii_lowercase();
        let before = before.strip_suffix("in")?;
        let start = match before.trim_end().strip_suffix("not") {
            Some(head) => head.len(),
            None => before.len(),
        };
        Some(self.text[..start].chars().count() + 1)
    }

    fn between(&mut self, operand: &Expr, low: &Expr, high: &Expr, negated: bool) -> Result<Scalar> {
        let scalar = self.expr(operand)?;
        let above = self.compared(">=", operand, &scalar, low).map_err(|error| error.at(self.position(low)))?;
        let below = self.compared("<=", operand, &scalar, high).map_err(|error| error.at(self.position(high)))?;
        let both = Scalar::And(vec![above, below]);
        Ok(if negated { not(both) } else { both })
    }

    fn like(&mut self, operand: &Expr, pattern: &Expr, escape: Option<&Expr>, name: &str, any: bool) -> Result<Scalar> {
        if any {
            return self.quantified_named(operand, name, bare(pattern), false);
        }
        let left = self.expr(operand)?;
        let right = match escape {
            None => self.expr(pattern)?,
            Some(escape) => {
                let args = self.all_placed([pattern, escape])?;
                self.call("like_escape", args, self.position(pattern))?
            }
        };
        self.binary(name, left, right, None).map_err(|error| error.at(self.position(operand)))
    }

    fn similar(&mut self, operand: &Expr, pattern: &Expr, escape: Option<&Expr>, negated: bool) -> Result<Scalar> {
        let left = self.expr(operand)?;
        let args = self.all_placed(std::iter::once(pattern).chain(escape))?;
        let pattern = self.call("similar_to_escape", args, self.position(pattern))?;
        self.binary(if negated { "!~" } else { "~" }, left, pattern, None)
    }

    fn quantified(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr, all: bool) -> Result<Scalar> {
        let name = symbol(op)?;
        self.quantified_named(left, &name, right, all)
    }

    fn quantified_named(&mut self, left: &Expr, name: &str, right: &Expr, all: bool) -> Result<Scalar> {
        if let Expr::Subquery(query) = right {
            let place = self.quantifier_position(name, query);
            return self.quantified_subquery(left, name, query, all, place);
        }
        let operand = self.expr(left)?;
        let array = self.expr(right)?;
        self.any_all(name, operand, array, all, None).map_err(|error| error.at(self.position(left)))
    }

    /// A cast as written: a literal is read as the type, an array's items are cast one by one.
    /// `colons`: whether it is written so; `None` for one that is not written.
    fn written_cast(&mut self, operand: &Expr, ty: PgType, colons: Option<bool>) -> Result<Scalar> {
        if let (Expr::Array(array), Some(element)) = (bare(operand), super::coerce::true_element(ty.ty)) {
            return self.array(&array.elem, Some(PgType { ty: element, typmod: ty.typmod }));
        }
        let (scalar, position) = self.placed(operand)?;
        self.cast(scalar, ty, None).map_err(|error| match (error.state(), colons) {
            (SqlState::CANNOT_COERCE, Some(colons)) => error.at(self.cast_places(operand, colons).0),
            _ => error.at(position),
        })
    }

    /// ARRAY[…], of a wanted element type or the items' common one.
    fn array(&mut self, items: &[Expr], wanted: Option<PgType>) -> Result<Scalar> {
        if let Some(element) = wanted {
            let ty = PgType { ty: array_over(element.ty)?, typmod: element.typmod };
            let mut placed = Vec::with_capacity(items.len());
            for item in items {
                placed.push(match bare(item) {
                    Expr::Array(inner) => (self.array(&inner.elem, wanted)?, self.position(item)),
                    _ => self.placed(item)?,
                });
            }
            // One array among the items, and all are arrays of the same type.
            let nested = placed.iter().any(|(scalar, _)| super::coerce::true_element(scalar.ty().ty).is_some());
            let to = if nested { ty } else { element };
            let cast = |binder: &mut Self, (scalar, position): (Scalar, Position)| {
                binder.cast(scalar, to, None).map_err(|error| error.at(position))
            };
            let items = placed.into_iter().map(|item| cast(self, item)).collect::<Result<Vec<_>>>()?;
            return Ok(Scalar::Array(items, ty));
        }
        if items.is_empty() {
            return Err(SqlError::new(SqlState::INDETERMINATE_DATATYPE, "cannot determine type of empty array")
                .with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
        }
        if let Some(odd) = items.iter().find(|item| !is_bare_list(item))
            && items.iter().any(is_bare_list)
        {
            let message = format!("syntax error at or near \"{odd}\"");
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(self.position(odd)));
        }
        let placed = self.all_placed(items)?;
        let nested = placed.iter().any(|(scalar, _)| super::coerce::true_element(scalar.ty().ty).is_some());
        let (items, element) = self.unify(placed, "ARRAY")?;
        let ty = if nested { element.ty } else { array_over(element.ty)? };
        Ok(Scalar::Array(items, PgType { ty, typmod: element.typmod }))
    }

    fn case(&mut self, operand: Option<&Expr>, whens: &[ast::CaseWhen], otherwise: Option<&Expr>) -> Result<Scalar> {
        let sets_before = self.level().sets.len();
        let operand = match operand {
            Some(operand) => {
                let (scalar, position) = self.placed(operand)?;
                Some(self.known(scalar, position)?)
            }
            None => None,
        };
        let mut conditions = Vec::with_capacity(whens.len());
        let mut results = Vec::with_capacity(whens.len() + 1);
        for when in whens {
            let (condition, position) = self.placed(&when.condition)?;
            conditions.push(match &operand {
                Some(operand) => self.equals(operand.clone(), condition, position)?,
                None => self.boolean(condition, "CASE/WHEN", position)?,
            });
            results.push(self.placed(&when.result)?);
        }
        // PostgreSQL looks at ELSE first.
        match otherwise {
            Some(otherwise) => {
                let otherwise = self.placed(otherwise)?;
                results.insert(0, otherwise);
            }
            None => results.insert(0, (literal::unknown(Datum::Null), None)),
        }
        if self.level().sets.len() > sets_before {
            let message = "set-returning functions are not allowed in CASE";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                .with_hint("You might be able to move the set-returning function into a LATERAL FROM item."));
        }
        let (mut results, ty) = self.unify(results, "CASE")?;
        let otherwise = results.remove(0);
        Ok(Scalar::Case {
            branches: conditions.into_iter().zip(results).collect(),
            otherwise: Some(Box::new(otherwise)),
            ty,
        })
    }

    fn collate(&mut self, operand: &Expr, collation: &ast::ObjectName) -> Result<Scalar> {
        let scalar = self.expr(operand)?;
        let parts: Vec<String> = collation.0.iter().filter_map(|part| part.as_ident()).map(parse::fold).collect();
        let name = parts.last().map(String::as_str).unwrap_or_default();
        // All text is compared by its bytes, which is what these mean.
        if !matches!(name, "default" | "C" | "POSIX" | "ucs_basic" | "C.UTF-8") {
            let shown = parts.join(".");
            let message = format!("collation \"{shown}\" for encoding \"UTF8\" does not exist");
            return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message));
        }
        let ty = scalar.ty().ty;
        if !ty.is_string() && !ty.element().is_some_and(SqlType::is_string) {
            let message = format!("collations are not supported by type {ty}");
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
        }
        Ok(scalar)
    }
}

/// The digits of a number with a sign before it: a sign before a constant is the constant's own, so that the number's
/// type is found once the sign is there.
fn negated_number(operand: &Expr) -> Option<String> {
    match bare(operand) {
        Expr::Value(value) => match &value.value {
            ast::Value::Number(text, _) => Some(format!("-{text}")),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            let inner = negated_number(expr)?;
            Some(inner.strip_prefix('-').map_or_else(|| format!("-{inner}"), str::to_owned))
        }
        _ => None,
    }
}

fn trim_brackets(text: &str) -> &str {
    text.trim_end_matches(|ch: char| ch.is_whitespace() || ch == '(')
}

/// The text before a word or an operator that ends it.
fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let at = text.len().checked_sub(word.len())?;
    let ends = text.is_char_boundary(at) && text[at..].eq_ignore_ascii_case(word);
    ends.then(|| &text[..at])
}

/// The prefix operators before an expression's first operand, the innermost first.
fn signs(expr: &Expr) -> Vec<String> {
    match expr {
        Expr::UnaryOp { op, expr } => {
            let mut inner = signs(expr);
            inner.push(op.to_string());
            inner
        }
        Expr::BinaryOp { left: first, .. }
        | Expr::Nested(first)
        | Expr::Cast { kind: ast::CastKind::DoubleColon, expr: first, .. }
        | Expr::CompoundFieldAccess { root: first, .. }
        | Expr::IsNull(first)
        | Expr::IsNotNull(first) => signs(first),
        _ => Vec::new(),
    }
}

/// How many casts follow an expression's operand, and how many brackets open before it.
fn casts(expr: &Expr) -> usize {
    match expr {
        Expr::Cast { kind: ast::CastKind::DoubleColon, expr, .. } => casts(expr) + 1,
        _ => 0,
    }
}

fn brackets(expr: &Expr) -> usize {
    match expr {
        Expr::Nested(inner) => brackets(inner) + 1,
        Expr::Cast { kind: ast::CastKind::DoubleColon, expr: first, .. }
        | Expr::BinaryOp { left: first, .. }
        | Expr::CompoundFieldAccess { root: first, .. } => brackets(first),
        _ => 0,
    }
}

/// Where a mark stands outside brackets and quotes, behind `open` closing brackets, after `skipped` others.
fn find_outside(text: &str, mark: &str, open: usize, skipped: usize) -> Option<usize> {
    let (mut depth, mut left) = (open, skipped);
    let mut quote: Option<char> = None;
    for (at, ch) in text.char_indices() {
        match (quote, ch) {
            (Some(end), _) if end == ch => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(ch),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.checked_sub(1)?,
            _ if depth == 0 && text[at..].get(..mark.len()).is_some_and(|here| here.eq_ignore_ascii_case(mark)) => {
                match left.checked_sub(1) {
                    Some(fewer) => left = fewer,
                    None => return Some(at),
                }
            }
            _ => {}
        }
    }
    None
}

/// `[1, 2]` inside of `ARRAY[[1, 2], …]`.
fn is_bare_list(expr: &Expr) -> bool {
    matches!(expr, Expr::Array(ast::Array { named: false, .. }))
}

fn array_over(element: SqlType) -> Result<SqlType> {
    element.array().ok_or_else(|| {
        let message = format!("could not find array type for data type {element}");
        SqlError::new(SqlState::UNDEFINED_OBJECT, message)
    })
}

pub(super) fn not(scalar: Scalar) -> Scalar {
    Scalar::Not(Box::new(scalar))
}

/// The operator as `pg_operator` names it.
pub(super) fn symbol(op: &BinaryOperator) -> Result<String> {
    match op {
        BinaryOperator::PGCustomBinaryOperator(parts) => match parts.as_slice() {
            [name] => Ok(name.clone()),
            [namespace, name] if namespace.eq_ignore_ascii_case("pg_catalog") => Ok(name.clone()),
            [namespace, ..] => {
                Err(SqlError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{namespace}\" does not exist")))
            }
            [] => Err(SqlError::internal("an operator without a name")),
        },
        BinaryOperator::Is | BinaryOperator::IsNot | BinaryOperator::Xor => Err(SqlError::unsupported(op)),
        other => Ok(other.to_string()),
    }
}
