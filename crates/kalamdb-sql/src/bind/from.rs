//! FROM: tables, subqueries, functions, joins, and what of them can be named.

use super::bound::{Action, Col, ColId, JoinKind, Rel, Scalar, SetCall};
use super::call::Chosen;
use super::operator::constant;
use super::scope::{Clause, Item, ItemColumn, Visible};
use super::{Binder, Position, RelationKind, RelationShape, coerce, syntax, walk};
use crate::function::Kind;
use crate::parse;
use kalamdb_commons::{ColumnId, PgType, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, Expr, FunctionArg, JoinConstraint, JoinOperator, TableFactor, TableWithJoins};
use std::rc::Rc;

/// A part of FROM: its tree and the relations in it.
pub(super) struct Part {
    pub(super) rel: Rel,
    pub(super) visible: Vec<Visible>,
}

/// The functions that stand in FROM without brackets (PostgreSQL's `func_expr_common_subexpr`).
const KEYWORD_ITEMS: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "user",
];

fn shown(item: Item) -> Visible {
    Visible { item: Rc::new(item), columns: true, relation: true }
}

/// The parts of a possibly qualified name; a database in front is dropped.
pub(super) fn name_parts(name: &ast::ObjectName) -> Result<(Option<String>, String)> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(parse::fold).collect();
    match parts.as_slice() {
        [name] => Ok((None, name.clone())),
        [namespace, name] => Ok((Some(namespace.clone()), name.clone())),
        [database, namespace, name] if database == "kalamdb" || database == "postgres" => {
            Ok((Some(namespace.clone()), name.clone()))
        }
        [_, _, _] => {
            let message = format!("cross-database references are not implemented: \"{}\"", parts.join("."));
            Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message))
        }
        _ => {
            let message = format!("improper relation name (too many dotted names): {}", parts.join("."));
            Err(SqlError::new(SqlState::SYNTAX_ERROR, message))
        }
    }
}

impl Binder<'_> {
    /// The FROM clause into the innermost scope; its tree.
    pub(super) fn from_clause(&mut self, from: &[TableWithJoins]) -> Result<Rel> {
        let mut rel: Option<Rel> = None;
        for item in from {
            let part = self.table_with_joins(item)?;
            self.check_aliases(&part.visible)?;
            rel = Some(match rel {
                None => part.rel,
                Some(left) => cross(left, part.rel),
            });
            self.enter(part.visible);
        }
        Ok(rel.unwrap_or(Rel::OneRow))
    }

    /// Makes relations visible in the innermost scope.
    pub(super) fn enter(&mut self, visible: Vec<Visible>) {
        let ids: Vec<ColId> = visible.iter().flat_map(|v| item_ids(&v.item)).collect();
        let level = self.level();
        level.own.extend(ids);
        level.visible.extend(visible);
    }

    /// 42712: two relations of one name.
    pub(super) fn check_aliases(&mut self, new: &[Visible]) -> Result<()> {
        let clashes = |a: &Visible, b: &Visible| {
            a.relation
                && b.relation
                && !a.item.name.is_empty()
                && a.item.name == b.item.name
                && !(a.item.namespace.is_some() && b.item.namespace.is_some() && a.item.namespace != b.item.namespace)
        };
        let level = self.level();
        for visible in new {
            if level.visible.iter().any(|other| clashes(other, visible)) {
                let message = format!("table name \"{}\" specified more than once", visible.item.name);
                return Err(SqlError::new(SqlState::DUPLICATE_ALIAS, message));
            }
        }
        Ok(())
    }

    pub(super) fn table_with_joins(&mut self, table: &TableWithJoins) -> Result<Part> {
        let before = self.level().visible.len();
        let mut left = self.table_factor(&table.relation)?;
        for join in &table.joins {
            // LATERAL items see what stands to their left.
            let level = self.level();
            level.visible.truncate(before);
            self.enter(left.visible.clone());
            let right = self.table_factor(&join.relation)?;
            self.level().visible.truncate(before);
            left = self.join(left, right, &join.join_operator)?;
        }
        self.level().visible.truncate(before);
        Ok(left)
    }

    pub(super) fn table_factor(&mut self, factor: &TableFactor) -> Result<Part> {
        match factor {
            TableFactor::Table {
                name, alias, args: None, sample: None, with_ordinality: false, version: None, ..
            } => self.table(name, alias.as_ref()),
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                self.table_function(name, &args.args, *with_ordinality, alias.as_ref())
            }
            TableFactor::Function { name, args, with_ordinality, alias, .. } => {
                self.table_function(name, args, *with_ordinality, alias.as_ref())
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
                self.unnest(array_exprs, *with_ordinality, alias.as_ref())
            }
            TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                self.derived_table(*lateral, subquery, alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let part = self.table_with_joins(table_with_joins)?;
                match alias {
                    None => Ok(part),
                    Some(alias) => self.aliased_join(part, alias),
                }
            }
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                Err(SqlError::unsupported("TABLESAMPLE"))
            }
            _ => Err(SqlError::unsupported("such a FROM item")),
        }
    }

    /// A table by name: a WITH query of that name comes first.
    fn table(&mut self, name: &ast::ObjectName, alias: Option<&ast::TableAlias>) -> Result<Part> {
        let position = self.position(name);
        let (namespace, relation) = name_parts(name).map_err(|error| error.at(position))?;
        if namespace.is_none()
            && let Some(part) = self.cte_table(&relation, alias, position)?
        {
            return Ok(part);
        }
        if namespace.is_none()
            && let [part] = name.0.as_slice()
            && let Some(ident) = part.as_ident().filter(|ident| ident.quote_style.is_none())
            && KEYWORD_ITEMS.contains(&relation.as_str())
            && let Some(value) = self.bare_function(&ident.value)?
        {
            return self.one_row_item(&relation, value, false, alias);
        }
        let shape = self.relation(namespace.as_deref(), &relation, position)?;
        if shape.kind == RelationKind::View {
            return self.view(&shape, alias, position);
        }
        let (rel, mut item) = self.scan(&shape, Action::Select);
        self.name_relation(
            shape.table,
            item.columns.iter().filter_map(|column| Some((column.origin?.1, column.col.id))),
        );
        match alias {
            Some(alias) => {
                item.name = parse::fold(&alias.name);
                item.namespace = None;
                self.rename_columns(&mut item, alias)?;
            }
            None => item.namespace = Some(shape.namespace.clone()),
        }
        self.label(&item);
        Ok(Part { rel, visible: vec![shown(item)] })
    }

    /// The relation that a name means.
    pub(super) fn relation(
        &mut self,
        namespace: Option<&str>,
        name: &str,
        position: Position,
    ) -> Result<RelationShape> {
        let found = self.names.relation(namespace, name).map_err(|error| error.at(position))?;
        found.ok_or_else(|| {
            let shown = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}.{name}"));
            SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{shown}\" does not exist")).at(position)
        })
    }

    /// A scan that makes all columns of a relation: what is not used is left out at the end.
    pub(super) fn scan(&mut self, shape: &RelationShape, action: Action) -> (Rel, Item) {
        let need = self.need(shape, action);
        let mut columns: Vec<(ColumnId, Col)> = Vec::new();
        let mut item = Item { name: shape.name.clone(), need: Some(need), ..Item::default() };
        for column in &shape.columns {
            let col = self.col(column.ty, !column.not_null);
            columns.push((column.id, col));
            item.columns.push(ItemColumn { name: column.name.clone(), col, origin: Some((shape.table, column.id)) });
        }
        let mut system = vec![("tableoid", ColumnId::TABLEOID, SqlType::Oid, false)];
        if matches!(shape.kind, RelationKind::Table(_)) {
            system.push(("_seq", ColumnId::SEQ, SqlType::Int8, true));
            system.push(("_updated", ColumnId::UPDATED, SqlType::Timestamptz, true));
            system.push(("_deleted", ColumnId::DELETED, SqlType::Bool, false));
            let key = self.col(SqlType::Bytea.into(), false);
            columns.push((ColumnId::ROW_KEY, key));
            item.row_key = Some(key);
        }
        for (name, id, ty, nullable) in system {
            let col = self.col(ty.into(), nullable);
            columns.push((id, col));
            item.system.push((name, id, col));
        }
        if let Some((_, key)) = &shape.primary_key {
            item.primary_key = key
                .iter()
                .filter_map(|id| columns.iter().find(|(column, _)| column == id).map(|(_, col)| col.id))
                .collect();
        }
        (Rel::Scan { need, columns }, item)
    }

    /// Remembers what errors call an item's columns.
    pub(super) fn label(&mut self, item: &Item) {
        for column in &item.columns {
            self.labels.insert(column.col.id, (item.name.clone(), column.name.clone()));
        }
        for (name, _, col) in &item.system {
            self.labels.insert(col.id, (item.name.clone(), (*name).to_owned()));
        }
    }

    /// `AS alias (a, b)`.
    pub(super) fn rename_columns(&mut self, item: &mut Item, alias: &ast::TableAlias) -> Result<()> {
        if alias.columns.len() > item.columns.len() {
            let message = format!(
                "table \"{}\" has {} columns available but {} columns specified",
                item.name,
                item.columns.len(),
                alias.columns.len()
            );
            return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message).at(self.ident_position(&alias.name)));
        }
        for (column, definition) in item.columns.iter_mut().zip(&alias.columns) {
            if definition.data_type.is_some() {
                return Err(SqlError::unsupported("a column definition list"));
            }
            column.name = parse::fold(&definition.name);
        }
        Ok(())
    }

    fn derived_table(&mut self, lateral: bool, query: &ast::Query, alias: Option<&ast::TableAlias>) -> Result<Part> {
        let Some(alias) = alias else {
            let what = if matches!(query.body.as_ref(), ast::SetExpr::Values(_)) { "VALUES" } else { "subquery" };
            let example = if what == "VALUES" { "(VALUES ...)" } else { "(SELECT ...)" };
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, format!("{what} in FROM must have an alias"))
                .with_hint(format!("For example, FROM {example} [AS] foo."))
                .at(self.bracket_position(query)));
        };
        let hidden = std::mem::replace(&mut self.level().hidden, !lateral);
        let derived = self.query(query, true)?;
        self.level().hidden = hidden;
        let mut item = Item { name: parse::fold(&alias.name), columns: derived.columns, ..Item::default() };
        self.rename_columns(&mut item, alias)?;
        self.label(&item);
        Ok(Part { rel: derived.rel, visible: vec![shown(item)] })
    }

    /// A function in FROM: a set of rows, or one row of one value.
    fn table_function(
        &mut self,
        name: &ast::ObjectName,
        args: &[FunctionArg],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
    ) -> Result<Part> {
        let position = self.position(name);
        let call = ast::Function {
            name: name.clone(),
            uses_odbc_syntax: false,
            parameters: ast::FunctionArguments::None,
            args: ast::FunctionArguments::List(ast::FunctionArgumentList {
                duplicate_treatment: None,
                args: args.to_vec(),
                clauses: Vec::new(),
            }),
            filter: None,
            null_treatment: None,
            over: None,
            within_group: Vec::new(),
        };
        if let [part] = name.0.as_slice()
            && part.as_ident().is_some_and(|ident| parse::is_mark(ident, parse::ROWS_FROM))
        {
            return self.rows_from(&call, ordinality, alias);
        }
        let (function, _) = self.function_name(&call)?;
        if function == "unnest" && args.len() > 1 {
            let exprs: Vec<Expr> = syntax::arguments(&call)?.into_iter().cloned().collect();
            return self.unnest(&exprs, ordinality, alias);
        }
        let bound =
            self.within(Clause::From, |binder| binder.bound_arguments(&call).map_err(|error| error.at(position)))?;
        let chosen = self.resolve_call(&function, bound, position)?;
        match chosen.function.kind {
            Kind::Set(_) => {
                known_columns(&chosen, position)?;
                let columns = self.set_columns(chosen.function, &chosen.args, chosen.returns);
                let call = SetCall { function: chosen.function, args: chosen.args };
                self.function_item(&function, vec![(columns, call)], ordinality, alias)
            }
            Kind::Aggregate(_) => {
                let message = "aggregate functions are not allowed in functions in FROM";
                Err(SqlError::new(SqlState::GROUPING_ERROR, message).at(position))
            }
            Kind::Window(_) => {
                let message = "window functions are not allowed in functions in FROM";
                Err(SqlError::new(SqlState::WINDOWING_ERROR, message).at(position))
            }
            Kind::Scalar(_) | Kind::Session(_) => {
                let scalar = self.scalar_call(chosen, position)?;
                self.one_row_item(&function, scalar, ordinality, alias)
            }
        }
    }

    /// `ROWS FROM (f(…), g(…))`: the functions' rows side by side.
    fn rows_from(&mut self, call: &ast::Function, ordinality: bool, alias: Option<&ast::TableAlias>) -> Result<Part> {
        let mut calls: Vec<(Vec<(String, Col)>, SetCall)> = Vec::new();
        for item in syntax::arguments(call)? {
            let position = self.position(item);
            let Expr::Function(function) = item else {
                return Err(SqlError::unsupported("such an item of ROWS FROM").at(position));
            };
            let (name, _) = self.function_name(function)?;
            let args = syntax::arguments(function).map(|args| args.into_iter().cloned().collect::<Vec<_>>());
            let arrays = match args {
                // Several arrays are as many functions.
                Ok(args) if name == "unnest" && args.len() > 1 => args,
                _ => Vec::new(),
            };
            for array in &arrays {
                let (arg, place) = self.within(Clause::From, |binder| binder.placed(array))?;
                let chosen = self.resolve_call("unnest", vec![(arg, place)], place)?;
                let columns = self.set_columns(chosen.function, &chosen.args, chosen.returns);
                calls.push((columns, SetCall { function: chosen.function, args: chosen.args }));
            }
            if !arrays.is_empty() {
                continue;
            }
            let bound = self
                .within(Clause::From, |binder| binder.bound_arguments(function).map_err(|error| error.at(position)))?;
            let chosen = self.resolve_call(&name, bound, position)?;
            match chosen.function.kind {
                Kind::Set(_) => known_columns(&chosen, position)?,
                Kind::Scalar(_) | Kind::Session(_) => {}
                Kind::Aggregate(_) => {
                    let message = "aggregate functions are not allowed in functions in FROM";
                    return Err(SqlError::new(SqlState::GROUPING_ERROR, message).at(position));
                }
                Kind::Window(_) => {
                    let message = "window functions are not allowed in functions in FROM";
                    return Err(SqlError::new(SqlState::WINDOWING_ERROR, message).at(position));
                }
            }
            let columns = match chosen.function.kind {
                Kind::Set(_) => self.set_columns(chosen.function, &chosen.args, chosen.returns),
                _ => vec![(name.clone(), self.col(chosen.returns, true))],
            };
            calls.push((columns, SetCall { function: chosen.function, args: chosen.args }));
        }
        let name = calls.first().map_or("", |(_, call)| call.function.name);
        self.function_item(name, calls, ordinality, alias)
    }

    /// `unnest(a, b, …)`: each array a column, side by side.
    fn unnest(&mut self, arrays: &[Expr], ordinality: bool, alias: Option<&ast::TableAlias>) -> Result<Part> {
        let mut calls = Vec::new();
        for array in arrays {
            let (arg, position) = self.within(Clause::From, |binder| binder.placed(array))?;
            let chosen = self.resolve_call("unnest", vec![(arg, position)], position)?;
            known_columns(&chosen, position)?;
            let columns = self.set_columns(chosen.function, &chosen.args, chosen.returns);
            calls.push((columns, SetCall { function: chosen.function, args: chosen.args }));
        }
        self.function_item("unnest", calls, ordinality, alias)
    }

    fn function_item(
        &mut self,
        name: &str,
        calls: Vec<(Vec<(String, Col)>, SetCall)>,
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
    ) -> Result<Part> {
        let ordinality = ordinality.then(|| self.col(SqlType::Int8.into(), false));
        let mut item = Item { name: name.to_owned(), ..Item::default() };
        let single = calls.len() == 1 && calls[0].0.len() == 1;
        let mut keeps_name = false;
        for (columns, call) in &calls {
            // A function with one unnamed result column is called as the function.
            let unnamed = call.function.columns.is_empty();
            for (column, col) in columns {
                // One with an OUT parameter has that name, and an alias leaves it.
                let unnamed = unnamed && column == call.function.name;
                keeps_name |= single && ordinality.is_none() && !unnamed && call.function.columns.is_empty();
                let name = match unnamed {
                    true if single => name,
                    true => call.function.name,
                    false => column,
                };
                item.columns.push(ItemColumn { name: name.to_owned(), col: *col, origin: None });
            }
        }
        if let Some(col) = ordinality {
            item.columns.push(ItemColumn { name: "ordinality".to_owned(), col, origin: None });
        }
        item.scalar = single && ordinality.is_none();
        self.alias_function(&mut item, alias, single && !keeps_name)?;
        let calls = calls.into_iter().map(|(columns, call)| (columns.into_iter().map(|(_, col)| col).collect(), call));
        let rel = Rel::ProjectSet { input: Box::new(Rel::OneRow), calls: calls.collect(), ordinality };
        Ok(Part { rel, visible: vec![shown(item)] })
    }

    fn one_row_item(
        &mut self,
        name: &str,
        scalar: Scalar,
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
    ) -> Result<Part> {
        let col = self.col(scalar.ty(), true);
        let mut item = Item { name: name.to_owned(), ..Item::default() };
        item.columns.push(ItemColumn { name: name.to_owned(), col, origin: None });
        let mut columns = vec![(col, scalar)];
        if ordinality {
            let ordinal = self.col(SqlType::Int8.into(), false);
            item.columns.push(ItemColumn { name: "ordinality".to_owned(), col: ordinal, origin: None });
            columns.push((ordinal, super::literal::bigint(1)));
        }
        item.scalar = !ordinality;
        self.alias_function(&mut item, alias, true)?;
        Ok(Part { rel: Rel::Extend { input: Box::new(Rel::OneRow), columns }, visible: vec![shown(item)] })
    }

    /// A function's alias; with `names_column` it is its single column's name too.
    fn alias_function(&mut self, item: &mut Item, alias: Option<&ast::TableAlias>, names_column: bool) -> Result<()> {
        if let Some(alias) = alias {
            item.name = parse::fold(&alias.name);
            if names_column && let Some(column) = item.columns.first_mut() {
                column.name = item.name.clone();
            }
            self.rename_columns(item, alias)?;
        }
        self.label(item);
        Ok(())
    }

    /// `(a JOIN b …) AS alias`: one relation of all columns.
    pub(super) fn aliased_join(&mut self, part: Part, alias: &ast::TableAlias) -> Result<Part> {
        // As a whole it is a row of its columns, never NULL.
        let mut item = Item { name: parse::fold(&alias.name), ..Item::default() };
        for visible in part.visible.iter().filter(|v| v.columns) {
            item.columns.extend(visible.item.columns.iter().cloned());
        }
        self.rename_columns(&mut item, alias)?;
        // Grouping and locking still reach the relations inside.
        let mut visible: Vec<Visible> =
            part.visible.into_iter().map(|v| Visible { columns: false, relation: false, ..v }).collect();
        visible.push(shown(item));
        Ok(Part { rel: part.rel, visible })
    }

    pub(super) fn join(&mut self, left: Part, right: Part, operator: &JoinOperator) -> Result<Part> {
        let (kind, constraint) = match operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (JoinKind::Inner, constraint),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (JoinKind::Left, constraint),
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (JoinKind::Right, constraint),
            JoinOperator::FullOuter(constraint) => (JoinKind::Full, constraint),
            JoinOperator::CrossJoin(constraint) => (JoinKind::Inner, constraint),
            _ => return Err(SqlError::unsupported("such a join")),
        };
        self.check_join_aliases(&left.visible, &right.visible)?;
        let outer: Vec<ColId> = walk::free_columns(&right.rel).iter().map(|col| col.id).collect();
        let lateral = left.rel.columns().iter().any(|col| outer.contains(&col.id));
        if lateral && matches!(kind, JoinKind::Right | JoinKind::Full) {
            let message = "invalid reference to FROM-clause entry in a LATERAL item";
            return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message)
                .with_detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference."));
        }
        let names = match constraint {
            JoinConstraint::Using(names) => using_names(names)?,
            JoinConstraint::Natural => shared_names(&left.visible, &right.visible),
            JoinConstraint::On(on) => return self.join_on(left, right, kind, lateral, Some(on)),
            JoinConstraint::None => return self.join_on(left, right, kind, lateral, None),
            JoinConstraint::UsingAlias(names, alias) => {
                let part = self.join_using(left, right, kind, lateral, using_names(names)?)?;
                return self.named_using(part, names.len(), alias);
            }
        };
        self.join_using(left, right, kind, lateral, names)
    }

    fn check_join_aliases(&self, left: &[Visible], right: &[Visible]) -> Result<()> {
        let names = |side: &[Visible]| {
            side.iter()
                .filter(|v| v.relation && !v.item.name.is_empty())
                .map(|v| (v.item.name.clone(), v.item.namespace.clone()))
                .collect::<Vec<_>>()
        };
        for (name, namespace) in names(right) {
            let clash = names(left).into_iter().any(|(other, other_namespace)| {
                other == name && !(namespace.is_some() && other_namespace.is_some() && namespace != other_namespace)
            });
            if clash {
                let message = format!("table name \"{name}\" specified more than once");
                return Err(SqlError::new(SqlState::DUPLICATE_ALIAS, message));
            }
        }
        Ok(())
    }

    /// After an outer join the padded side's columns can be NULL.
    fn nullable_sides(&mut self, left: Part, right: Part, kind: JoinKind) -> (Part, Part) {
        let left = if matches!(kind, JoinKind::Right | JoinKind::Full) { self.padded(left) } else { left };
        let right = if matches!(kind, JoinKind::Left | JoinKind::Full) { self.padded(right) } else { right };
        (left, right)
    }

    /// The nullable side: its whole rows need a column that tells padded rows from rows of NULLs.
    fn padded(&mut self, part: Part) -> Part {
        let mut made: Option<Col> = None;
        let mut visible = Vec::with_capacity(part.visible.len());
        for v in part.visible {
            let mut item = Item::clone(&v.item);
            item.columns.iter_mut().for_each(|column| column.col.nullable = true);
            item.system.iter_mut().for_each(|(_, _, col)| col.nullable = true);
            item.padded = true;
            let table = item.system.iter().find(|(_, id, _)| *id == ColumnId::TABLEOID).map(|(_, _, col)| *col);
            let marker = item
                .marker
                .or(table)
                .unwrap_or_else(|| *made.get_or_insert_with(|| self.col(SqlType::Bool.into(), false)));
            item.marker = Some(Col { nullable: true, ..marker });
            visible.push(Visible { item: Rc::new(item), ..v });
        }
        let rel = match made {
            Some(col) => Rel::Extend { input: Box::new(part.rel), columns: vec![(col, constant(true))] },
            None => part.rel,
        };
        Part { rel, visible }
    }

    fn join_on(&mut self, left: Part, right: Part, kind: JoinKind, lateral: bool, on: Option<&Expr>) -> Result<Part> {
        let (left, right) = self.nullable_sides(left, right, kind);
        let mut visible = left.visible;
        visible.extend(right.visible);
        let on = match on {
            None => constant(true),
            Some(on) => {
                // Only the two sides are visible in the condition, and the queries around.
                let ids: Vec<ColId> = visible.iter().flat_map(|v| item_ids(&v.item)).collect();
                let before = std::mem::replace(&mut self.level().visible, visible.clone());
                let barred = std::mem::replace(&mut self.level().barred, before.clone());
                self.level().own.extend(ids);
                let on = self.within(Clause::JoinOn, |binder| {
                    let (scalar, position) = binder.placed(on)?;
                    binder.boolean(scalar, "JOIN/ON", position)
                });
                self.level().visible = before;
                self.level().barred = barred;
                on?
            }
        };
        let rel = Rel::Join { kind, left: Box::new(left.rel), right: Box::new(right.rel), on, lateral };
        Ok(Part { rel, visible })
    }

    fn join_using(
        &mut self,
        left: Part,
        right: Part,
        kind: JoinKind,
        lateral: bool,
        names: Vec<(String, Position)>,
    ) -> Result<Part> {
        let mut tests = Vec::new();
        let mut merged: Vec<(String, ItemColumn, ItemColumn)> = Vec::new();
        for (name, position) in names {
            let l = using_column(&left.visible, &name, "left", position)?;
            let r = using_column(&right.visible, &name, "right", position)?;
            self.seen.extend([l.col.id, r.col.id]);
            let (left, right) = (Scalar::Column(l.col), Scalar::Column(r.col));
            let test = self.equals(left, right, position)?;
            tests.push(test);
            merged.push((name, l, r));
        }
        let on = match tests.len() {
            0 => constant(true),
            1 => tests.remove(0),
            _ => Scalar::And(tests),
        };
        let (left, right) = self.nullable_sides(left, right, kind);
        let (left_visible, right_visible) = (left.visible, right.visible);
        let rel = Rel::Join { kind, left: Box::new(left.rel), right: Box::new(right.rel), on, lateral };
        let mut item = Item::default();
        let mut made: Vec<(Col, Scalar)> = Vec::new();
        for (name, l, r) in &merged {
            let column = self.merged_column(kind, l, r, &mut made)?;
            let origin = if column.id == l.col.id { l.origin } else { None };
            let origin = if column.id == r.col.id { r.origin } else { origin };
            item.columns.push(ItemColumn { name: name.clone(), col: column, origin });
            self.labels.entry(column.id).or_insert((String::new(), name.clone()));
        }
        for visible in left_visible.iter().chain(&right_visible).filter(|v| v.columns) {
            let is_merged = |column: &ItemColumn| {
                merged.iter().any(|(_, l, r)| column.col.id == l.col.id || column.col.id == r.col.id)
            };
            item.columns.extend(visible.item.columns.iter().filter(|column| !is_merged(column)).cloned());
        }
        let rel = if made.is_empty() { rel } else { Rel::Extend { input: Box::new(rel), columns: made } };
        let mut visible: Vec<Visible> =
            left_visible.into_iter().chain(right_visible).map(|v| Visible { columns: false, ..v }).collect();
        visible.push(Visible { item: Rc::new(item), columns: true, relation: false });
        Ok(Part { rel, visible })
    }

    /// `USING (a, b) AS j`: the merged columns, which stand first, are a relation of that name too.
    fn named_using(&mut self, part: Part, merged: usize, alias: &ast::Ident) -> Result<Part> {
        let Part { rel, mut visible } = part;
        let columns = visible.last().map(|v| v.item.columns.iter().take(merged).cloned().collect()).unwrap_or_default();
        let item = Item { name: parse::fold(alias), columns, ..Item::default() };
        let named = Visible { item: Rc::new(item), columns: false, relation: true };
        if visible.iter().any(|v| v.relation && v.item.name == named.item.name) {
            let message = format!("table name \"{}\" specified more than once", named.item.name);
            return Err(SqlError::new(SqlState::DUPLICATE_ALIAS, message).at(self.ident_position(alias)));
        }
        visible.push(named);
        Ok(Part { rel, visible })
    }

    /// The column that USING makes of two.
    fn merged_column(
        &mut self,
        kind: JoinKind,
        left: &ItemColumn,
        right: &ItemColumn,
        made: &mut Vec<(Col, Scalar)>,
    ) -> Result<Col> {
        let ty = coerce::common([left.col.ty.ty, right.col.ty.ty].into_iter())
            .map_err(|(l, r)| coerce::unmatched("JOIN/USING", l, r))?;
        let typmod = if left.col.ty == right.col.ty { left.col.ty.typmod } else { -1 };
        let ty = PgType { ty, typmod };
        let mut sides = Vec::new();
        if kind != JoinKind::Right {
            sides.push(Col { nullable: left.col.nullable || kind == JoinKind::Full, ..left.col });
        }
        if matches!(kind, JoinKind::Right | JoinKind::Full) {
            sides.push(Col { nullable: right.col.nullable || kind == JoinKind::Full, ..right.col });
        }
        let mut cast = Vec::new();
        for side in sides {
            cast.push(self.implicit(Scalar::Column(side), ty.ty, None)?);
        }
        if let [Scalar::Column(col)] = cast.as_slice() {
            return Ok(*col);
        }
        let col = self.col(ty, true);
        made.push((col, if cast.len() == 1 { cast.remove(0) } else { Scalar::Coalesce(cast, ty) }));
        Ok(col)
    }
}

/// 42601: a function in FROM must say what columns it makes.
fn known_columns(chosen: &Chosen, position: Position) -> Result<()> {
    if chosen.returns.ty == SqlType::Record && chosen.function.columns.is_empty() {
        let message = "a column definition list is required for functions returning \"record\"";
        return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(position));
    }
    Ok(())
}

/// All column numbers of an item.
pub(super) fn item_ids(item: &Item) -> Vec<ColId> {
    let columns = item.columns.iter().map(|column| column.col.id);
    let more = [item.row_key, item.marker].into_iter().flatten().map(|col| col.id);
    columns.chain(item.system.iter().map(|(_, _, col)| col.id)).chain(more).collect()
}

/// Two trees side by side; the right one may read the left's columns.
pub(super) fn cross(left: Rel, right: Rel) -> Rel {
    let outer = walk::free_columns(&right);
    let lateral = left.columns().iter().any(|col| outer.iter().any(|free| free.id == col.id));
    Rel::Join { kind: JoinKind::Inner, left: Box::new(left), right: Box::new(right), on: constant(true), lateral }
}

fn using_names(names: &[ast::ObjectName]) -> Result<Vec<(String, Position)>> {
    let mut result: Vec<(String, Position)> = Vec::new();
    for name in names {
        let (_, name) = name_parts(name)?;
        if result.iter().any(|(other, _)| *other == name) {
            let message = format!("column name \"{name}\" appears more than once in USING clause");
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
        }
        result.push((name, None));
    }
    Ok(result)
}

/// NATURAL: the names that both sides have, in the left's order.
fn shared_names(left: &[Visible], right: &[Visible]) -> Vec<(String, Position)> {
    let columns = |side: &[Visible]| -> Vec<String> {
        side.iter().filter(|v| v.columns).flat_map(|v| v.item.columns.iter().map(|c| c.name.clone())).collect()
    };
    let right = columns(right);
    columns(left).into_iter().filter(|name| right.contains(name)).map(|name| (name, None)).collect()
}

fn using_column(side: &[Visible], name: &str, which: &str, position: Position) -> Result<ItemColumn> {
    let mut found = side.iter().filter(|v| v.columns).flat_map(|v| v.item.columns.iter()).filter(|c| c.name == name);
    match (found.next(), found.next()) {
        (Some(column), None) => Ok(column.clone()),
        (Some(_), Some(_)) => {
            let message = format!("common column name \"{name}\" appears more than once in {which} table");
            Err(SqlError::new(SqlState::AMBIGUOUS_COLUMN, message).at(position))
        }
        (None, _) => {
            let message = format!("column \"{name}\" specified in USING clause does not exist in {which} table");
            Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message).at(position))
        }
    }
}
