//! UPDATE and DELETE: a tree that finds the rows, and what is done with each.

use super::bound::{Action, BoundDelete, BoundKind, BoundUpdate, Col, NeedId, Output, Rel, Scalar};
use super::expr::{bare, row_items};
use super::from::{cross, name_parts};
use super::insert::{SYSTEM_COLUMNS, is_default, no_column, refuse_system};
use super::scope::{Clause, Level, Visible};
use super::{Binder, ColumnShape, RelationKind, RelationShape, ValueSource, walk};
use crate::parse;
use kalamdb_commons::{ColumnId, Result, SqlError, SqlState, SqlType, TableType};
use sqlparser::ast::{self, AssignmentTarget, Expr, TableFactor, TableWithJoins};
use std::rc::Rc;

/// The cursor of WHERE CURRENT OF.
fn cursor_of(selection: Option<&Expr>) -> Option<String> {
    match selection {
        Some(Expr::Identifier(ident)) if ident.quote_style == Some(parse::CURSOR_QUOTE) => Some(ident.value.clone()),
        _ => None,
    }
}

/// 428C9: a column that gives itself its values can only be told to do so again.
fn only_default(column: &ColumnShape, detail: &str) -> SqlError {
    let message = format!("column \"{}\" can only be updated to DEFAULT", column.name);
    SqlError::new(SqlState::GENERATED_ALWAYS, message).with_detail(format!("Column \"{}\" {detail}.", column.name))
}

/// The target of UPDATE or DELETE in scope.
struct Aim {
    shape: RelationShape,
    alias: Option<String>,
    need: NeedId,
    columns: Vec<(ColumnId, Col)>,
    rel: Rel,
}

impl Binder<'_> {
    pub(super) fn update(&mut self, update: &ast::Update) -> Result<(BoundKind, Vec<Output>)> {
        let foreign = update.or.is_some()
            || update.on_cluster.is_some()
            || !update.order_by.is_empty()
            || update.limit.is_some()
            || update.settings.is_some()
            || update.output.is_some();
        if foreign {
            return Err(SqlError::unsupported("such an UPDATE"));
        }
        self.levels.push(Level::new(Clause::From));
        let aim = self.aim(&update.table, Action::Update)?;
        if matches!(aim.shape.kind, RelationKind::Table(TableType::Stream)) {
            return Err(SqlError::unsupported("UPDATE of a STREAM table"));
        }
        let from = match &update.from {
            None => &[][..],
            Some(ast::UpdateTableFromKind::AfterSet(from) | ast::UpdateTableFromKind::BeforeSet(from)) => from,
        };
        let (mut source, others) = self.sources(aim.rel, from)?;
        let assignments =
            self.within(Clause::UpdateSet, |binder| binder.assignments(&update.assignments, &aim.shape))?;
        let recheck = self.condition(update.selection.as_ref())?;
        self.levels.pop();
        self.needs[aim.need.0].columns.extend(assignments.iter().map(|(id, _)| *id));
        if assignments.iter().any(|(id, _)| *id == ColumnId::DELETED) {
            self.needs[aim.need.0].with_deleted = true;
        }
        let restarts = recheck.iter().chain(assignments.iter().map(|(_, scalar)| scalar)).any(walk::has_subquery);
        if let Some(predicate) = &recheck {
            source = Rel::Filter { input: Box::new(source), predicate: predicate.clone() };
        }
        let (source, set) = self.subqueries_below(source, assignments);
        let (returning, outputs) =
            self.returning(update.returning.as_deref(), &aim.shape, aim.alias.as_deref(), others)?;
        let current_of = cursor_of(update.selection.as_ref());
        let bound =
            BoundUpdate { need: aim.need, target: aim.columns, source, set, recheck, restarts, returning, current_of };
        Ok((BoundKind::Update(bound), outputs))
    }

    pub(super) fn delete(&mut self, delete: &ast::Delete, purge: bool) -> Result<(BoundKind, Vec<Output>)> {
        let foreign = !delete.tables.is_empty()
            || delete.on_cluster.is_some()
            || !delete.order_by.is_empty()
            || delete.limit.is_some()
            || delete.settings.is_some()
            || delete.output.is_some();
        let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
        let ([table], false) = (from.as_slice(), foreign) else {
            return Err(SqlError::unsupported("such a DELETE"));
        };
        self.levels.push(Level::new(Clause::From));
        let aim = self.aim(table, Action::Delete)?;
        let (mut source, others) = self.sources(aim.rel, delete.using.as_deref().unwrap_or_default())?;
        let recheck = self.condition(delete.selection.as_ref())?;
        self.levels.pop();
        if let Some(predicate) = &recheck {
            source = Rel::Filter { input: Box::new(source), predicate: predicate.clone() };
        }
        let restarts = recheck.as_ref().is_some_and(walk::has_subquery);
        let (returning, outputs) =
            self.returning(delete.returning.as_deref(), &aim.shape, aim.alias.as_deref(), others)?;
        let current_of = cursor_of(delete.selection.as_ref());
        let (need, target) = (aim.need, aim.columns);
        let bound = BoundDelete { need, target, source, recheck, restarts, returning, purge, current_of };
        Ok((BoundKind::Delete(bound), outputs))
    }

    fn aim(&mut self, table: &TableWithJoins, action: Action) -> Result<Aim> {
        let TableFactor::Table { name, alias, args: None, .. } = &table.relation else {
            return Err(SqlError::unsupported("such a target"));
        };
        if !table.joins.is_empty() {
            return Err(SqlError::unsupported("a join as the target"));
        }
        let position = self.position(name);
        let (namespace, relation) = name_parts(name)?;
        let shape = self.relation(namespace.as_deref(), &relation, position)?;
        refuse_system(&shape)?;
        super::view::refuse_view(&shape, if action == Action::Update { "UPDATE" } else { "DELETE" })?;
        let (rel, mut item) = self.scan(&shape, action);
        let alias = alias.as_ref().map(|alias| parse::fold(&alias.name));
        item.namespace = alias.is_none().then(|| shape.namespace.clone());
        if let Some(alias) = &alias {
            item.name = alias.clone();
        }
        let columns = match &rel {
            Rel::Scan { columns, .. } => columns.clone(),
            _ => Vec::new(),
        };
        let need = item.need.ok_or_else(|| SqlError::internal("a table without a need"))?;
        self.label(&item);
        self.enter(vec![Visible { item: Rc::new(item), columns: true, relation: true }]);
        Ok(Aim { shape, alias, need, columns, rel })
    }

    /// The target joined with FROM or USING; the relations beside the target.
    fn sources(&mut self, target: Rel, from: &[TableWithJoins]) -> Result<(Rel, Vec<Visible>)> {
        let mut rel = target;
        let mut others = Vec::new();
        for item in from {
            let part = self.table_with_joins(item)?;
            self.check_aliases(&part.visible)?;
            rel = cross(rel, part.rel);
            others.extend(part.visible.clone());
            self.enter(part.visible);
        }
        Ok((rel, others))
    }

    fn condition(&mut self, selection: Option<&Expr>) -> Result<Option<Scalar>> {
        let Some(selection) = selection else { return Ok(None) };
        if cursor_of(Some(selection)).is_some() {
            return Ok(None);
        }
        self.within(Clause::Where, |binder| {
            let (scalar, position) = binder.placed(selection)?;
            binder.boolean(scalar, "WHERE", position).map(Some)
        })
    }

    /// SET's assignments, cast to the columns' types.
    pub(super) fn assignments(
        &mut self,
        assignments: &[ast::Assignment],
        shape: &RelationShape,
    ) -> Result<Vec<(ColumnId, Scalar)>> {
        let mut set: Vec<(ColumnId, Scalar)> = Vec::new();
        for assignment in assignments {
            match &assignment.target {
                AssignmentTarget::ColumnName(name) => {
                    let column = self.assigned_column(name, shape, &set)?;
                    let scalar = self.assigned_value(&assignment.value, &column)?;
                    set.push((column.id, scalar));
                }
                AssignmentTarget::Tuple(names) => self.assigned_row(names, &assignment.value, shape, &mut set)?,
            }
        }
        Ok(set)
    }

    fn assigned_row(
        &mut self,
        names: &[ast::ObjectName],
        value: &Expr,
        shape: &RelationShape,
        set: &mut Vec<(ColumnId, Scalar)>,
    ) -> Result<()> {
        let mismatch = || {
            let message = "number of columns does not match number of values";
            SqlError::new(SqlState::SYNTAX_ERROR, message)
        };
        if let Expr::Subquery(query) = bare(value) {
            let position = self.position(value);
            let scalars = self.row_subquery(query, names.len()).map_err(|_| mismatch().at(position))?;
            for (name, scalar) in names.iter().zip(scalars) {
                let column = self.assigned_column(name, shape, set)?;
                match column.source {
                    ValueSource::AlwaysIdentity => {
                        return Err(only_default(&column, "is an identity column defined as GENERATED ALWAYS"));
                    }
                    ValueSource::Generated => return Err(only_default(&column, "is a generated column")),
                    _ => {}
                }
                let scalar = self.assign_to(scalar, &column, position)?;
                set.push((column.id, scalar));
            }
            return Ok(());
        }
        let values = match row_items(value) {
            Some(values) => values,
            None if names.len() == 1 => vec![value],
            None => {
                let message = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
                return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(self.position(value)));
            }
        };
        if values.len() != names.len() {
            return Err(mismatch().at(self.position(value)));
        }
        for (name, value) in names.iter().zip(values) {
            let column = self.assigned_column(name, shape, set)?;
            let scalar = self.assigned_value(value, &column)?;
            set.push((column.id, scalar));
        }
        Ok(())
    }

    fn assigned_value(&mut self, value: &Expr, column: &ColumnShape) -> Result<Scalar> {
        if is_default(value) {
            return self.column_default(column);
        }
        let detail = match column.source {
            ValueSource::AlwaysIdentity => "is an identity column defined as GENERATED ALWAYS",
            ValueSource::Generated => "is a generated column",
            _ => "",
        };
        if !detail.is_empty() {
            return Err(only_default(column, detail));
        }
        let (scalar, position) = self.placed(value)?;
        self.assign_to(scalar, column, position)
    }

    fn assigned_column(
        &mut self,
        name: &ast::ObjectName,
        shape: &RelationShape,
        set: &[(ColumnId, Scalar)],
    ) -> Result<ColumnShape> {
        let position = self.position(name);
        let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(parse::fold).collect();
        let [column] = parts.as_slice() else {
            let first = parts.first().map(String::as_str).unwrap_or_default();
            let error = no_column(first, &shape.name).at(position);
            return Err(if shape.columns.iter().any(|column| column.name == first) {
                SqlError::unsupported("assignment to a part of a column").at(position)
            } else {
                error.with_hint("SET target columns cannot be qualified with the relation name.")
            });
        };
        // DIALECT: SET _deleted = false restores a row.
        let found = match column.as_str() {
            "_deleted" => Some(ColumnShape {
                id: ColumnId::DELETED,
                name: column.clone(),
                ty: SqlType::Bool.into(),
                not_null: true,
                default: None,
                source: Default::default(),
                domain: None,
            }),
            other => shape.columns.iter().find(|column| column.name == other).cloned(),
        };
        let Some(found) = found else {
            if SYSTEM_COLUMNS.contains(&column.as_str()) {
                let message = format!("cannot assign to system column \"{column}\"");
                return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(position));
            }
            return Err(no_column(column, &shape.name).at(position));
        };
        if set.iter().any(|(id, _)| *id == found.id) {
            let message = format!("multiple assignments to same column \"{column}\"");
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(position));
        }
        Ok(found)
    }

    /// Values with subqueries are made by the source; a row that was changed meanwhile starts the statement again.
    fn subqueries_below(&mut self, source: Rel, set: Vec<(ColumnId, Scalar)>) -> (Rel, Vec<(ColumnId, Scalar)>) {
        let mut made: Vec<(Col, Scalar)> = Vec::new();
        let set = set
            .into_iter()
            .map(|(id, scalar)| {
                if !walk::has_subquery(&scalar) {
                    return (id, scalar);
                }
                let col = self.col(scalar.ty(), true);
                made.push((col, scalar));
                (id, Scalar::Column(col))
            })
            .collect();
        let source = if made.is_empty() { source } else { Rel::Extend { input: Box::new(source), columns: made } };
        (source, set)
    }
}
