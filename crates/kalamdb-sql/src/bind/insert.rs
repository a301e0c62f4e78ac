//! INSERT and COPY's target: columns, defaults, assignment casts, ON CONFLICT, RETURNING.

use super::bound::{
    Action, BoundCopy, BoundInsert, BoundKind, Col, NeedId, OnConflict, Output, Rel, Returning, Scalar,
};
use super::from::name_parts;
use super::scope::{Clause, Item, Level, Visible};
use super::target::Target;
use super::{Binder, ColumnShape, Position, RelationKind, RelationShape, ValueSource, call, walk};
use crate::parse;
use crate::statement::Name;
use kalamdb_commons::{ColumnId, Datum, PgType, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, Expr, InsertOverriding, SelectItem, SetExpr};
use std::collections::HashSet;
use std::rc::Rc;

const REWRITE: &str = "You will need to rewrite or cast the expression.";

/// The names of system columns, which nobody assigns to.
pub(super) const SYSTEM_COLUMNS: &[&str] = &["_seq", "_updated", "_deleted", "tableoid"];

/// 42501: relations that statements of their own change.
pub(super) fn refuse_system(shape: &RelationShape) -> Result<()> {
    if matches!(shape.kind, RelationKind::System) {
        let message = format!("permission denied: \"{}\" is a system catalog", shape.name);
        return Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, message));
    }
    if matches!(shape.kind, RelationKind::Sequence) {
        let message = format!("cannot change sequence \"{}\"", shape.name);
        return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
    }
    Ok(())
}

/// DEFAULT as a value.
pub(super) fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

pub(super) fn no_column(name: &str, relation: &str) -> SqlError {
    let message = format!("column \"{name}\" of relation \"{relation}\" does not exist");
    SqlError::new(SqlState::UNDEFINED_COLUMN, message)
}

impl Binder<'_> {
    /// An expression as a column's new value, which has to satisfy the column's domain.
    pub(super) fn assign_to(&mut self, scalar: Scalar, column: &ColumnShape, position: Position) -> Result<Scalar> {
        let scalar = self.assign_column(scalar, &column.name, column.ty, position)?;
        self.within_domain(scalar, column.domain)
    }

    /// An expression as a column's new value.
    pub(super) fn assign_column(
        &mut self,
        scalar: Scalar,
        column: &str,
        ty: PgType,
        position: Position,
    ) -> Result<Scalar> {
        let given = scalar.ty().ty;
        match self.assign(scalar, ty, position)? {
            Some(scalar) => Ok(scalar),
            None => {
                let message = format!("column \"{column}\" is of type {} but expression is of type {given}", ty.ty);
                Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message).with_hint(REWRITE).at(position))
            }
        }
    }

    /// A DEFAULT's expression as a value of the column's type.
    pub(super) fn default_scalar(&mut self, expr: &Expr, column: &str, ty: PgType) -> Result<Scalar> {
        // It sees none of the statement around, and its places are in a text of its own.
        let levels = std::mem::replace(&mut self.levels, vec![Level::new(Clause::Default)]);
        let text = std::mem::take(&mut self.text);
        let scalar = self.expr(expr)?;
        self.levels = levels;
        self.text = text;
        if walk::has_subquery(&scalar) {
            let message = "cannot use subquery in DEFAULT expression";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        let given = scalar.ty().ty;
        match self.assign(scalar, ty, None)? {
            Some(scalar) => Ok(scalar),
            None => {
                let message =
                    format!("column \"{column}\" is of type {} but default expression is of type {given}", ty.ty);
                Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message).with_hint(REWRITE))
            }
        }
    }

    /// What a column gets that no value is given for.
    pub(super) fn column_default(&mut self, column: &ColumnShape) -> Result<Scalar> {
        let domain = column.domain.and_then(|oid| self.names.catalog().domain(oid));
        let default = column.default.clone().or(domain.and_then(|domain| domain.default));
        let scalar = match &default {
            None => Scalar::Const(Datum::Null, column.ty),
            Some(text) => {
                let expr = parse::expression(text)?;
                self.default_scalar(&expr, &column.name, column.ty)?
            }
        };
        self.within_domain(scalar, column.domain)
    }

    /// Whether a value for a column is to be dropped for the column's own.
    ///
    /// # Errors
    /// 428C9 for a value that the column does not take.
    fn overridden(column: &ColumnShape, overriding: Option<InsertOverriding>) -> Result<bool> {
        let refused = |detail: &str| {
            let message = format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name);
            let detail = format!("Column \"{}\" {detail}.", column.name);
            SqlError::new(SqlState::GENERATED_ALWAYS, message).with_detail(detail)
        };
        match (column.source, overriding) {
            (ValueSource::Given, _) => Ok(false),
            (ValueSource::Generated, _) => Err(refused("is a generated column")),
            (_, Some(InsertOverriding::User)) => Ok(true),
            (ValueSource::AlwaysIdentity, None) => Err(refused("is an identity column defined as GENERATED ALWAYS")
                .with_hint("Use OVERRIDING SYSTEM VALUE to override.")),
            _ => Ok(false),
        }
    }

    /// The columns that an INSERT or COPY names; all without a list.
    fn target_columns(&mut self, shape: &RelationShape, names: &[(String, Position)]) -> Result<Vec<ColumnShape>> {
        if names.is_empty() {
            return Ok(shape.columns.clone());
        }
        let mut columns: Vec<ColumnShape> = Vec::with_capacity(names.len());
        for (name, position) in names {
            let Some(column) = shape.columns.iter().find(|column| column.name == *name) else {
                if SYSTEM_COLUMNS.contains(&name.as_str()) {
                    let message = format!("cannot assign to system column \"{name}\"");
                    return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(*position));
                }
                return Err(no_column(name, &shape.name).at(*position));
            };
            if columns.iter().any(|other| other.id == column.id) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message).at(*position));
            }
            columns.push(column.clone());
        }
        Ok(columns)
    }

    pub(super) fn copy(mut self, name: &Name, columns: &[String], condition: Option<&Expr>) -> Result<BoundCopy> {
        let shape = self.relation(name.namespace.as_deref(), &name.name, name.position)?;
        refuse_system(&shape)?;
        let names: Vec<_> = columns.iter().map(|column| (column.clone(), None)).collect();
        let mut targets = self.target_columns(&shape, &names)?;
        if names.is_empty() {
            targets.retain(|column| column.source != ValueSource::Generated);
        } else if let Some(column) = targets.iter().find(|column| column.source == ValueSource::Generated) {
            let message = format!("column \"{}\" is a generated column", column.name);
            return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message)
                .with_detail("Generated columns cannot be used in COPY."));
        }
        let need = self.need(&shape, Action::Insert);
        let mut defaults = Vec::new();
        for column in &shape.columns {
            if !targets.iter().any(|target| target.id == column.id) {
                defaults.push((column.id, self.column_default(column)?));
            }
        }
        self.needs[need.0].columns = targets.iter().map(|column| column.id).collect();
        let mut judged = Vec::new();
        for column in targets.iter().filter(|column| column.domain.is_some()) {
            let col = self.col(column.ty, true);
            judged.push((column.id, col, self.within_domain(Scalar::Column(col), column.domain)?));
        }
        let columns = targets.iter().map(|column| (column.id, column.ty)).collect();
        let condition = match condition {
            None => None,
            Some(condition) => {
                let (item, row) = self.row_item(&shape, need);
                self.levels.push(Level::new(Clause::CopyWhere));
                self.enter(vec![Visible { item: Rc::new(item), columns: true, relation: true }]);
                let (scalar, position) = self.placed(condition)?;
                let scalar = self.boolean(scalar, "WHERE", position)?;
                self.levels.pop();
                self.no_parameters()?;
                if walk::has_subquery(&scalar) {
                    let message = "cannot use subquery in COPY FROM WHERE condition";
                    return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(position));
                }
                let used = walk::columns_used(&scalar);
                let row: Vec<_> = row.into_iter().filter(|(_, col)| used.iter().any(|u| u.id == col.id)).collect();
                if row.iter().any(|(id, _)| id.is_system() || *id == ColumnId::ROW_KEY) {
                    let message = "system columns are not supported in COPY FROM WHERE conditions";
                    return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message).at(position));
                }
                Some((row, scalar))
            }
        };
        let need = self.needs.remove(need.0);
        Ok(BoundCopy { need, columns, defaults, condition, judged })
    }

    pub(super) fn insert(&mut self, insert: &ast::Insert) -> Result<(BoundKind, Vec<Output>)> {
        refuse_foreign(insert)?;
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT into such a target"));
        };
        let position = self.position(name);
        let (namespace, relation) = name_parts(name)?;
        let shape = self.relation(namespace.as_deref(), &relation, position)?;
        refuse_system(&shape)?;
        super::view::refuse_view(&shape, "INSERT")?;
        let mut names = Vec::with_capacity(insert.columns.len());
        for column in &insert.columns {
            match column.0.as_slice() {
                [part] => match part.as_ident() {
                    Some(ident) => names.push((parse::fold(ident), self.ident_position(ident))),
                    None => return Err(SqlError::unsupported("such a target column")),
                },
                _ => return Err(SqlError::unsupported("INSERT into a part of a column")),
            }
        }
        let targets = self.target_columns(&shape, &names)?;
        let need = self.need(&shape, Action::Insert);
        self.needs[need.0].columns = targets.iter().map(|column| column.id).collect();
        let source = match &insert.source {
            None => self.default_row(&shape)?,
            Some(query) => self.insert_source(query, &shape, &targets, &names, insert.overriding)?,
        };
        let alias = insert.table_alias.as_ref().map(|alias| parse::fold(&alias.alias));
        let on_conflict = match &insert.on {
            None => None,
            Some(ast::OnInsert::OnConflict(conflict)) => Some(self.on_conflict(conflict, &shape, alias.as_deref())?),
            Some(_) => return Err(SqlError::unsupported("such an ON clause")),
        };
        let (returning, outputs) = self.returning(insert.returning.as_deref(), &shape, alias.as_deref(), Vec::new())?;
        let (source, columns) = source;
        let bound = BoundInsert { need, source, columns, on_conflict, returning };
        Ok((BoundKind::Insert(bound), outputs))
    }

    /// DEFAULT VALUES.
    fn default_row(&mut self, shape: &RelationShape) -> Result<(Rel, Vec<(ColumnId, Col)>)> {
        let mut row = Vec::with_capacity(shape.columns.len());
        for column in &shape.columns {
            row.push(self.column_default(column)?);
        }
        Ok(self.rows(shape, vec![row]))
    }

    fn rows(&mut self, shape: &RelationShape, rows: Vec<Vec<Scalar>>) -> (Rel, Vec<(ColumnId, Col)>) {
        let columns: Vec<(ColumnId, Col)> =
            shape.columns.iter().map(|column| (column.id, self.col(column.ty, true))).collect();
        let cols = columns.iter().map(|(_, col)| *col).collect();
        (Rel::Values { columns: cols, rows }, columns)
    }

    fn insert_source(
        &mut self,
        query: &ast::Query,
        shape: &RelationShape,
        targets: &[ColumnShape],
        names: &[(String, Position)],
        overriding: Option<InsertOverriding>,
    ) -> Result<(Rel, Vec<(ColumnId, Col)>)> {
        let plain = query.with.is_none()
            && query.order_by.is_none()
            && query.limit_clause.is_none()
            && query.fetch.is_none()
            && query.locks.is_empty();
        if let (SetExpr::Values(values), true) = (query.body.as_ref(), plain) {
            return self.insert_values(values, shape, targets, names, overriding);
        }
        // Its WITH is not the statement's own.
        self.levels.push(Level::new(Clause::Select));
        let derived = self.query(query, false)?;
        self.levels.pop();
        let position = self.position(query);
        self.check_width(derived.columns.len(), targets.len(), names, position)?;
        let mut rel = derived.rel;
        let mut made: Vec<(Col, Scalar)> = Vec::new();
        let mut columns: Vec<(ColumnId, Col)> = Vec::with_capacity(shape.columns.len());
        // One literal for two columns of different types: only the first can be read in its place.
        let mut retyped: Vec<Col> = Vec::new();
        for column in &shape.columns {
            let given = targets.iter().position(|t| t.id == column.id).and_then(|i| derived.columns.get(i));
            let given = match given {
                Some(_) if Self::overridden(column, overriding)? => None,
                given => given,
            };
            let value = match given {
                None => self.column_default(column)?,
                Some(given) => {
                    let mut col = given.col;
                    if let Some(other) = retyped.iter().find(|other| other.id == col.id) {
                        col = *other;
                    } else if col.ty.ty == SqlType::Unknown && self.retype(&mut rel, col, column.ty.ty)? {
                        col.ty = column.ty.ty.into();
                        retyped.push(col);
                    }
                    self.assign_to(Scalar::Column(col), column, position)?
                }
            };
            let col = match value {
                Scalar::Column(col) if !columns.iter().any(|(_, other)| other.id == col.id) => col,
                value => {
                    let col = self.col(column.ty, true);
                    made.push((col, value));
                    col
                }
            };
            columns.push((column.id, col));
        }
        if !made.is_empty() {
            rel = Rel::Extend { input: Box::new(rel), columns: made };
        }
        Ok((rel, columns))
    }

    fn check_width(
        &self,
        given: usize,
        targets: usize,
        names: &[(String, Position)],
        position: Position,
    ) -> Result<()> {
        if given > targets {
            let message = "INSERT has more expressions than target columns";
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(position));
        }
        if !names.is_empty() && given < targets {
            let message = "INSERT has more target columns than expressions";
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(names[given].1));
        }
        Ok(())
    }

    fn insert_values(
        &mut self,
        values: &ast::Values,
        shape: &RelationShape,
        targets: &[ColumnShape],
        names: &[(String, Position)],
        overriding: Option<InsertOverriding>,
    ) -> Result<(Rel, Vec<(ColumnId, Col)>)> {
        let single = values.rows.len() == 1;
        self.levels.push(Level::new(if single { Clause::InsertValues } else { Clause::Values }));
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let mut defaults: Vec<Option<Scalar>> = vec![None; shape.columns.len()];
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            let cells = &row.content;
            let place = |binder: &Self, index: usize| cells.get(index).and_then(|cell| binder.position(cell));
            if cells.len() != width {
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length")
                    .at(place(self, 0)));
            }
            self.check_width(cells.len(), targets.len(), names, place(self, targets.len()))?;
            let mut given: Vec<Option<Scalar>> = vec![None; shape.columns.len()];
            for (cell, target) in cells.iter().zip(targets) {
                let index = shape.columns.iter().position(|column| column.id == target.id).unwrap_or(0);
                if is_default(cell) {
                    continue;
                }
                let (scalar, position) = self.placed(cell)?;
                let scalar = self.assign_to(scalar, target, position)?;
                if !Self::overridden(target, overriding)? {
                    given[index] = Some(scalar);
                }
            }
            let mut complete = Vec::with_capacity(given.len());
            for (index, value) in given.into_iter().enumerate() {
                complete.push(match value {
                    Some(value) => value,
                    None => match &defaults[index] {
                        Some(default) => default.clone(),
                        None => {
                            let default = self.column_default(&shape.columns[index])?;
                            defaults[index] = Some(default.clone());
                            default
                        }
                    },
                });
            }
            rows.push(complete);
        }
        let sets = std::mem::take(&mut self.level().sets);
        self.levels.pop();
        if sets.is_empty() {
            return Ok(self.rows(shape, rows));
        }
        // VALUES (generate_series(1, 3)): one row of expressions is a select list.
        let mut rel = Rel::OneRow;
        for calls in call::stages(sets) {
            rel = Rel::ProjectSet { input: Box::new(rel), calls, ordinality: None };
        }
        let row = rows.pop().unwrap_or_default();
        let columns: Vec<(ColumnId, Col)> =
            shape.columns.iter().map(|column| (column.id, self.col(column.ty, true))).collect();
        let made = columns.iter().map(|(_, col)| *col).zip(row).collect();
        Ok((Rel::Extend { input: Box::new(rel), columns: made }, columns))
    }

    fn on_conflict(
        &mut self,
        conflict: &ast::OnConflict,
        shape: &RelationShape,
        alias: Option<&str>,
    ) -> Result<OnConflict> {
        let arbiters = match &conflict.conflict_target {
            None => None,
            Some(target) => Some(self.arbiters(target, shape)?),
        };
        let update = match &conflict.action {
            ast::OnConflictAction::DoNothing => return Ok(OnConflict::DoNothing { arbiters }),
            ast::OnConflictAction::DoUpdate(update) => update,
        };
        let Some(arbiters) = arbiters else {
            let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            return Err(
                SqlError::new(SqlState::SYNTAX_ERROR, message).with_hint("For example, ON CONFLICT (column_name).")
            );
        };
        let need = self.need(shape, Action::Update);
        let (mut target, existing) = self.row_item(shape, need);
        target.name = alias.unwrap_or(&shape.name).to_owned();
        target.namespace = alias.is_none().then(|| shape.namespace.clone());
        let (mut proposed, excluded) = self.row_item(shape, need);
        proposed.name = "excluded".to_owned();
        proposed.system.clear();
        self.label(&target);
        self.label(&proposed);
        self.levels.push(Level::new(Clause::UpdateSet));
        self.enter(
            [target, proposed]
                .into_iter()
                .map(|item| Visible { item: Rc::new(item), columns: true, relation: true })
                .collect(),
        );
        let set = self.assignments(&update.assignments, shape)?;
        let condition = match &update.selection {
            None => None,
            Some(selection) => Some(self.within(Clause::Where, |binder| {
                let (scalar, position) = binder.placed(selection)?;
                binder.boolean(scalar, "WHERE", position)
            })?),
        };
        self.levels.pop();
        self.needs[need.0].columns.extend(set.iter().map(|(id, _)| *id));
        Ok(OnConflict::DoUpdate { arbiters, existing, excluded, set, condition, need })
    }

    /// A relation's row as expressions see it, with numbers of its own.
    pub(super) fn row_item(&mut self, shape: &RelationShape, need: NeedId) -> (Item, Vec<(ColumnId, Col)>) {
        let before = self.needs.len();
        let (rel, mut item) = self.scan(shape, Action::Select);
        self.needs.truncate(before);
        item.need = Some(need);
        let columns = match rel {
            Rel::Scan { columns, .. } => columns,
            _ => Vec::new(),
        };
        (item, columns)
    }

    /// RETURNING over the written row and the FROM items.
    pub(super) fn returning(
        &mut self,
        items: Option<&[SelectItem]>,
        shape: &RelationShape,
        alias: Option<&str>,
        others: Vec<Visible>,
    ) -> Result<(Option<Returning>, Vec<Output>)> {
        let Some(items) = items else { return Ok((None, Vec::new())) };
        // Tombstones are never returned: naming `_deleted` here must not make the statement read them.
        let need = self.need(shape, Action::Select);
        let (mut item, row) = self.row_item(shape, need);
        item.name = alias.unwrap_or(&shape.name).to_owned();
        item.namespace = alias.is_none().then(|| shape.namespace.clone());
        self.label(&item);
        self.levels.push(Level::new(Clause::Returning));
        self.enter(vec![Visible { item: Rc::new(item), columns: true, relation: true }]);
        self.enter(others);
        let targets = self.targets(items)?;
        let mut exprs = Vec::with_capacity(targets.len());
        let mut outputs = Vec::with_capacity(targets.len());
        for Target { name, scalar, origin, position, .. } in targets {
            let scalar = self.known(scalar, position)?;
            let col = self.col(scalar.ty(), true);
            self.note_record(&scalar, col);
            outputs.push(Output { col: col.id, name, ty: scalar.ty(), origin });
            exprs.push((col, scalar));
        }
        self.levels.pop();
        let used: HashSet<_> = exprs.iter().flat_map(|(_, scalar)| walk::columns_used(scalar)).map(|c| c.id).collect();
        let read = row.iter().filter(|(_, col)| used.contains(&col.id)).map(|(id, _)| *id);
        self.needs[need.0].columns.extend(read);
        Ok((Some(Returning { row, exprs }), outputs))
    }
}

fn refuse_foreign(insert: &ast::Insert) -> Result<()> {
    let foreign = insert.or.is_some()
        || insert.ignore
        || insert.overwrite
        || !insert.assignments.is_empty()
        || insert.partitioned.is_some()
        || !insert.after_columns.is_empty()
        || insert.replace_into
        || insert.priority.is_some()
        || insert.insert_alias.is_some()
        || insert.settings.is_some()
        || insert.multi_table_insert_type.is_some()
        || insert.output.is_some();
    if foreign {
        return Err(SqlError::unsupported("such an INSERT"));
    }
    Ok(())
}
