//! The functions that SQL writes in its own way: EXTRACT, SUBSTRING … FROM, TRIM, COALESCE, CURRENT_DATE and kin.

use super::bound::Scalar;
use super::expr::bare;
use super::{Binder, Position, literal};
use crate::function::{self, Kind, SessionValue};
use crate::parse;
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments};

/// Whether a call is of this unqualified, unquoted name.
pub(super) fn is_plain(function: &ast::Function, name: &str) -> bool {
    match function.name.0.as_slice() {
        [part] => {
            part.as_ident().is_some_and(|ident| ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case(name))
        }
        _ => false,
    }
}

/// The arguments of a call that are plain expressions.
pub(super) fn arguments(function: &ast::Function) -> Result<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else { return Ok(Vec::new()) };
    list.args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
            FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_)) => {
                Err(SqlError::unsupported("a whole-row reference"))
            }
            FunctionArg::Unnamed(_) => {
                let name = function.name.to_string();
                let message = format!("{name}(*) specified, but {name} is not an aggregate function");
                Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message))
            }
            _ => Err(SqlError::unsupported("a named argument")),
        })
        .collect()
}

/// Whether a call is `f(*)`.
pub(super) fn is_star(function: &ast::Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list)
        if matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]))
}

impl Binder<'_> {
    /// The keyword functions that stand without brackets.
    pub(super) fn bare_function(&mut self, name: &str) -> Result<Option<Scalar>> {
        let name = name.to_ascii_lowercase();
        let session = |value: SessionValue, ty: SqlType| Ok(Some(Scalar::Session(value, ty.into())));
        match name.as_str() {
            "current_timestamp" => session(SessionValue::Now, SqlType::Timestamptz),
            "localtimestamp" => session(SessionValue::LocalTimestamp, SqlType::Timestamp),
            "current_date" => session(SessionValue::CurrentDate, SqlType::Date),
            "localtime" => session(SessionValue::LocalTime, SqlType::Time),
            "current_time" => session(SessionValue::CurrentTime, SqlType::Timetz),
            "current_user" | "user" | "current_role" => session(SessionValue::CurrentUser, SqlType::Name),
            "session_user" => session(SessionValue::SessionUser, SqlType::Name),
            "current_catalog" => session(SessionValue::CurrentDatabase, SqlType::Name),
            "current_schema" => session(SessionValue::CurrentSchema, SqlType::Name),
            _ => Ok(None),
        }
    }

    /// The arguments of a call; `t.*` is a whole row.
    pub(super) fn bound_arguments(&mut self, call: &ast::Function) -> Result<Vec<(Scalar, Position)>> {
        let FunctionArguments::List(list) = &call.args else { return Ok(Vec::new()) };
        if let Some((FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. }, others)) = list.args.split_last()
            && parse::is_mark(name, parse::VARIADIC)
        {
            let mut args = Vec::with_capacity(list.args.len());
            for other in others {
                match other {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(self.placed(expr)?),
                    _ => return Err(SqlError::unsupported("such an argument")),
                }
            }
            let FunctionArgExpr::Expr(array) = arg else { return Err(SqlError::unsupported("such an argument")) };
            args.extend(self.spread(array)?);
            return Ok(args);
        }
        let whole = |arg: &FunctionArg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_)));
        if !list.args.iter().any(whole) {
            return arguments(call)?.into_iter().map(|arg| self.placed(arg)).collect();
        }
        list.args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
                    Ok((self.starred(name)?, self.position(name)))
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.placed(expr),
                _ => Err(SqlError::unsupported("such an argument")),
            })
            .collect()
    }

    /// The items of a VARIADIC argument: an array that is written out.
    fn spread(&mut self, array: &Expr) -> Result<Vec<(Scalar, Position)>> {
        let (array, position) = self.placed(array)?;
        if !array.ty().ty.is_array() {
            let message = "VARIADIC argument must be an array";
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message).at(position));
        }
        match array {
            Scalar::Array(items, _) => Ok(items.into_iter().map(|item| (item, position)).collect()),
            Scalar::Const(Datum::Array(array), ty) => {
                let element = ty.ty.element().unwrap_or(array.element);
                let items = array.items.into_iter().map(|item| (Scalar::Const(item, element.into()), position));
                Ok(items.collect())
            }
            _ => Err(SqlError::unsupported("VARIADIC with an array that is not written out").at(position)),
        }
    }

    /// A call of a function by name, in whatever shape.
    pub(super) fn function(&mut self, call: &ast::Function) -> Result<Scalar> {
        let position = self.position(&call.name);
        let (name, plain) = self.function_name(call)?;
        if !matches!(call.parameters, FunctionArguments::None) {
            return Err(SqlError::unsupported("a function with two lists of arguments").at(position));
        }
        if plain {
            if let Some(scalar) = self.keyword_call(&name, call, position)? {
                return Ok(scalar);
            }
        }
        if call.over.is_some() {
            return self.window_call(&name, call, position);
        }
        // `rank()` alone is the window function without its OVER.
        let is_window = function::is_hypothetical(&name) && call.within_group.is_empty() && syntax_arguments(call) == 0;
        let functions = function::by_name(&name);
        if !is_window && functions.iter().any(|function| matches!(function.kind, Kind::Aggregate(_))) {
            return self.aggregate(&name, call, position);
        }
        self.plain_call(&name, call, position)
    }

    /// The name, without pg_catalog; whether it was written alone and without quotes.
    pub(super) fn function_name(&self, call: &ast::Function) -> Result<(String, bool)> {
        let idents: Vec<&ast::Ident> = call.name.0.iter().filter_map(|part| part.as_ident()).collect();
        let names: Vec<String> = idents.iter().map(|ident| parse::fold(ident)).collect();
        match names.as_slice() {
            [name] => Ok((name.clone(), idents[0].quote_style.is_none())),
            [namespace, name] | [_, namespace, name] => match namespace.as_str() {
                "pg_catalog" | "information_schema" | "system" => Ok((name.clone(), false)),
                _ if self.names.namespace(namespace).is_some() => {
                    let message = format!("function {namespace}.{name} does not exist");
                    Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message).at(self.position(&call.name)))
                }
                _ => {
                    let message = format!("schema \"{namespace}\" does not exist");
                    Err(SqlError::new(SqlState::INVALID_SCHEMA_NAME, message).at(self.position(&call.name)))
                }
            },
            _ => Err(SqlError::unsupported("such a function name")),
        }
    }

    fn plain_call(&mut self, name: &str, call: &ast::Function, position: Position) -> Result<Scalar> {
        let misplaced = |what: &str| {
            let message = format!("{what} specified, but {name} is not an aggregate function");
            SqlError::new(SqlState::WRONG_OBJECT_TYPE, message).at(position)
        };
        if call.filter.is_some() {
            return Err(misplaced("FILTER"));
        }
        if !call.within_group.is_empty() {
            return Err(misplaced("WITHIN GROUP"));
        }
        if let FunctionArguments::List(list) = &call.args {
            if list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct) {
                return Err(misplaced("DISTINCT"));
            }
            if !list.clauses.is_empty() {
                return Err(misplaced("ORDER BY"));
            }
        }
        if is_star(call) {
            // PostgreSQL looks for a function without arguments first.
            self.resolve_call(name, Vec::new(), position)?;
        }
        let bound = self.bound_arguments(call).map_err(|error| error.at(position))?;
        if let Some(scalar) = self.cast_by_name(name, &bound, position)? {
            return Ok(scalar);
        }
        let chosen = self.resolve_call(name, bound, position)?;
        if !chosen.function.columns.is_empty() && chosen.returns.ty == SqlType::Record {
            let cols = self.set_call(chosen.function, chosen.args, chosen.returns, position)?;
            return Ok(self.function_row(chosen.function, &cols));
        }
        self.scalar_call(chosen, position)
    }

    /// `date('2020-01-01')`, `text(x)`: a type's name used as a function (manual 10.3, 3).
    fn cast_by_name(&mut self, name: &str, args: &[(Scalar, Position)], position: Position) -> Result<Option<Scalar>> {
        let ([(arg, _)], Some(ty)) = (args, SqlType::from_name(name)) else { return Ok(None) };
        let given = arg.ty().ty;
        let exact = function::by_name(name).iter().any(|function| function.args == [given]);
        if exact {
            return Ok(None);
        }
        let castable =
            given == SqlType::Unknown || super::coerce::path(given, ty, function::CastContext::Explicit).is_some();
        if !castable {
            return Ok(None);
        }
        self.cast(arg.clone(), ty.into(), position).map(Some)
    }

    /// Names that the grammar knows.
    fn keyword_call(&mut self, name: &str, call: &ast::Function, position: Position) -> Result<Option<Scalar>> {
        if let FunctionArguments::Subquery(query) = &call.args {
            if name == "array" {
                return self.array_subquery(query).map(Some);
            }
            if name == "row" {
                return self.row_call(call).map(Some);
            }
            // f((SELECT …)) loses its inner brackets in the parser.
            let arg = self.scalar_subquery(query)?;
            return self.call(name, vec![(arg, position)], position).map(Some);
        }
        if matches!(call.args, FunctionArguments::None) {
            return self.bare_function(name);
        }
        Ok(Some(match name {
            "coalesce" => self.coalesce_call(call, position)?,
            "nullif" => self.nullif(call, position)?,
            "greatest" | "least" => self.extreme(name, call, position)?,
            "grouping" => self.grouping(call, position)?,
            "row" => self.row_call(call)?,
            // NORMALIZE(text, NFD): the form is a word of the grammar.
            "normalize" => match arguments(call)?.as_slice() {
                [operand, Expr::Identifier(form)] if is_normal_form(form) => {
                    let operand = self.placed(operand)?;
                    let form = literal::unknown(Datum::text(form.value.to_ascii_uppercase()));
                    self.call("normalize", vec![operand, (form, None)], position)?
                }
                _ => return Ok(None),
            },
            "current_timestamp" | "current_time" | "localtimestamp" | "localtime" => {
                let scalar = self.bare_function(name)?;
                let Some(scalar) = scalar else { return Ok(None) };
                let digits = match arguments(call)?.as_slice() {
                    [Expr::Value(value)] => match &value.value {
                        ast::Value::Number(text, _) => text.to_string().parse::<i32>().ok(),
                        _ => None,
                    },
                    _ => None,
                };
                let ty = PgType { ty: scalar.ty().ty, typmod: digits.unwrap_or(6).min(6) };
                self.cast(scalar, ty, position)?
            }
            _ => return Ok(None),
        }))
    }

    /// `greatest()`: PostgreSQL's grammar wants an argument, and stumbles over the bracket.
    fn some_arguments(&self, call: &ast::Function, position: Position) -> Result<()> {
        if arguments(call)?.is_empty() {
            let skipped = position.map_or(0, |position| position - 1);
            let bracket = self.text.chars().skip(skipped).position(|ch| ch == ')').map(|at| skipped + at + 1);
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \")\"").at(bracket));
        }
        Ok(())
    }

    fn coalesce_call(&mut self, call: &ast::Function, position: Position) -> Result<Scalar> {
        let sets_before = self.level().sets.len();
        self.some_arguments(call, position)?;
        let items = self.bound_arguments(call)?;
        if self.level().sets.len() > sets_before {
            let message = "set-returning functions are not allowed in COALESCE";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                .with_hint("You might be able to move the set-returning function into a LATERAL FROM item."));
        }
        let (items, ty) = self.unify(items, "COALESCE")?;
        Ok(Scalar::Coalesce(items, ty))
    }

    fn nullif(&mut self, call: &ast::Function, position: Position) -> Result<Scalar> {
        let args = arguments(call)?;
        let [left, right] = args.as_slice() else {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \")\"").at(position));
        };
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        let (operator, left, right) = self.operands("=", left, right, position)?;
        let ty = left.ty();
        let same = self.perform(operator, Some(left.clone()), right, position)?;
        Ok(Scalar::Case { branches: vec![(same, Scalar::Const(Datum::Null, ty))], otherwise: Some(Box::new(left)), ty })
    }

    /// GREATEST and LEAST leave NULLs out: each argument is the answer if it is beaten by no other.
    fn extreme(&mut self, name: &str, call: &ast::Function, position: Position) -> Result<Scalar> {
        self.some_arguments(call, position)?;
        let items = self.bound_arguments(call)?;
        let (items, ty) = self.unify(items, if name == "greatest" { "GREATEST" } else { "LEAST" })?;
        let op = if name == "greatest" { ">=" } else { "<=" };
        let mut branches = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let mut tests = vec![super::expr::not(Scalar::IsNull(Box::new(item.clone())))];
            for (other, rival) in items.iter().enumerate() {
                if other != index {
                    let beats = self.binary(op, item.clone(), rival.clone(), position)?;
                    tests.push(Scalar::Or(vec![Scalar::IsNull(Box::new(rival.clone())), beats]));
                }
            }
            branches.push((Scalar::And(tests), item.clone()));
        }
        Ok(Scalar::Case { branches, otherwise: None, ty })
    }

    /// `DATE '2020-01-01'`.
    pub(super) fn typed_string(&mut self, ty: &ast::DataType, value: &ast::ValueWithSpan) -> Result<Scalar> {
        let meant = self.type_meant(ty)?;
        let scalar = self.value(value)?;
        let position = self.position(value);
        let scalar = self.cast(scalar, meant.ty, position)?;
        self.within_domain(scalar, meant.domain)
    }

    /// `INTERVAL '1' YEAR`: the fields are the type's modifier, which the input function reads.
    pub(super) fn interval(&mut self, interval: &ast::Interval) -> Result<Scalar> {
        let position = self.position(interval.value.as_ref());
        let Expr::Value(value) = bare(&interval.value) else {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"INTERVAL\""));
        };
        let Some(text) = value.value.clone().into_string() else {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"INTERVAL\""));
        };
        let digits = interval.fractional_seconds_precision.or(interval.leading_precision);
        let (from, to) = (interval.leading_field.as_ref(), interval.last_field.as_ref());
        let ty = parse::interval_literal(from, to, digits)?;
        self.cast(literal::unknown(Datum::text(text)), ty, position)
    }

    /// The syntax that only some expressions have.
    pub(super) fn special(&mut self, expr: &Expr) -> Result<Scalar> {
        let position = self.position(expr);
        let (name, args): (&str, Vec<&Expr>) = match expr {
            Expr::Extract { field, expr: operand, .. } => {
                let field = match field {
                    ast::DateTimeField::Custom(ident) => ident.value.clone(),
                    other => other.to_string(),
                };
                let field = literal::unknown(Datum::text(field.to_ascii_lowercase()));
                let operand = self.placed(operand)?;
                return self.call("extract", vec![(field, None), operand], position);
            }
            Expr::Ceil { expr: operand, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                ("ceil", vec![operand.as_ref()])
            }
            Expr::Floor { expr: operand, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                ("floor", vec![operand.as_ref()])
            }
            Expr::IsNormalized { expr: operand, form, negated } => {
                let form = form.map_or("NFC".to_owned(), |form| form.to_string());
                let operand = self.placed(operand)?;
                let form = literal::unknown(Datum::text(form));
                let verdict = self.call("is_normalized", vec![operand, (form, None)], position)?;
                return Ok(if *negated { Scalar::Not(Box::new(verdict)) } else { verdict });
            }
            Expr::Position { expr: part, r#in } => ("position", vec![r#in.as_ref(), part.as_ref()]),
            Expr::Overlay { expr: whole, overlay_what, overlay_from, overlay_for } => {
                let mut args = vec![whole.as_ref(), overlay_what.as_ref(), overlay_from.as_ref()];
                args.extend(overlay_for.as_deref());
                ("overlay", args)
            }
            Expr::Substring { expr: whole, substring_from, substring_for, shorthand, .. } => {
                let name = if *shorthand { "substr" } else { "substring" };
                if substring_from.is_none()
                    && let Some(count) = substring_for
                {
                    let one = Scalar::Const(Datum::Int4(1), SqlType::Int4.into());
                    let (whole, count) = (self.placed(whole)?, self.placed(count)?);
                    return self.call(name, vec![whole, (one, None), count], position);
                }
                let mut args = vec![whole.as_ref()];
                args.extend(substring_from.as_deref());
                args.extend(substring_for.as_deref());
                (name, args)
            }
            Expr::Trim { trim_where, trim_what, expr: whole, trim_characters } => {
                let mut args = vec![whole.as_ref()];
                args.extend(trim_what.as_deref());
                args.extend(trim_characters.iter().flatten());
                (trim_name(trim_where.as_ref()), args)
            }
            _ => return Err(SqlError::unsupported("such an expression").at(position)),
        };
        let mut bound = Vec::with_capacity(args.len());
        for arg in args {
            bound.push(self.placed(arg)?);
        }
        self.call(name, bound, position)
    }
}

fn is_normal_form(word: &ast::Ident) -> bool {
    let forms = ["NFC", "NFD", "NFKC", "NFKD"];
    word.quote_style.is_none() && forms.iter().any(|form| word.value.eq_ignore_ascii_case(form))
}

/// The function behind TRIM.
pub(super) fn trim_name(place: Option<&ast::TrimWhereField>) -> &'static str {
    match place {
        None | Some(ast::TrimWhereField::Both) => "btrim",
        Some(ast::TrimWhereField::Leading) => "ltrim",
        Some(ast::TrimWhereField::Trailing) => "rtrim",
    }
}

/// How many arguments were written.
fn syntax_arguments(call: &ast::Function) -> usize {
    match &call.args {
        FunctionArguments::List(list) => list.args.len(),
        _ => 0,
    }
}
