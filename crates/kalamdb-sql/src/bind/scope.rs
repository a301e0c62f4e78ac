//! Scopes: which relations and columns a name can mean at each level of queries.

use super::bound::{AggregateCall, Col, ColId, NeedId, Output, SetCall, WindowCall};
use super::cte::Cte;
use super::window::NamedWindow;
use super::{Binder, Position};
use kalamdb_commons::{ColumnId, Result, SqlError, SqlState, TableId};
use std::collections::HashSet;
use std::rc::Rc;

/// The part of a statement that is being bound: it decides what may stand there, and what an error calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause {
    From,
    JoinOn,
    Where,
    GroupBy,
    Having,
    Select,
    OrderBy,
    DistinctOn,
    Limit,
    Offset,
    Values,
    InsertValues,
    UpdateSet,
    Returning,
    CopyWhere,
    Default,
    Check,
    IndexPredicate,
    IndexKey,
    Generated,
    /// ALTER COLUMN … TYPE … USING
    Transform,
    Execute,
    Filter,
    Window,
    /// Inside an aggregate's arguments.
    AggregateArgument,
    /// Inside a window function's arguments.
    WindowArgument,
}

impl Clause {
    /// How PostgreSQL's errors call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Clause::From => "functions in FROM",
            Clause::JoinOn => "JOIN conditions",
            Clause::Where => "WHERE",
            Clause::GroupBy => "GROUP BY",
            Clause::Having => "HAVING",
            Clause::Select => "SELECT",
            Clause::OrderBy => "ORDER BY",
            Clause::DistinctOn => "DISTINCT ON",
            Clause::Limit => "LIMIT",
            Clause::Offset => "OFFSET",
            Clause::Values | Clause::InsertValues => "VALUES",
            Clause::UpdateSet => "UPDATE",
            Clause::Returning => "RETURNING",
            Clause::CopyWhere => "COPY FROM WHERE conditions",
            Clause::Default => "DEFAULT expressions",
            Clause::Check => "check constraints",
            Clause::IndexPredicate => "index predicates",
            Clause::IndexKey => "index expressions",
            Clause::Generated => "column generation expressions",
            Clause::Transform => "transform expressions",
            Clause::Execute => "EXECUTE parameters",
            Clause::Filter => "FILTER",
            Clause::Window | Clause::WindowArgument => "window definitions",
            Clause::AggregateArgument => "aggregate function calls",
        }
    }

    pub(super) fn allows_aggregates(self) -> bool {
        matches!(
            self,
            Clause::Select
                | Clause::Having
                | Clause::OrderBy
                | Clause::DistinctOn
                | Clause::Window
                | Clause::WindowArgument
        )
    }

    pub(super) fn allows_windows(self) -> bool {
        matches!(self, Clause::Select | Clause::OrderBy | Clause::DistinctOn)
    }

    pub(super) fn allows_sets(self) -> bool {
        matches!(self, Clause::Select | Clause::OrderBy | Clause::GroupBy | Clause::DistinctOn | Clause::InsertValues)
    }
}

/// One query's scope, and what its expressions add to its tree.
#[derive(Debug)]
pub(super) struct Level {
    /// The relations of FROM, as far as they are visible now.
    pub(super) visible: Vec<Visible>,
    /// Relations that a join's condition must not name: known only to say so.
    pub(super) barred: Vec<Visible>,
    /// Whether queries inside see nothing of this level: a FROM item without LATERAL is being bound.
    pub(super) hidden: bool,
    /// All columns that this level's FROM makes.
    pub(super) own: HashSet<ColId>,
    /// WITH queries.
    pub(super) ctes: Vec<Cte>,
    pub(super) clause: Clause,
    pub(super) aggregates: Vec<(Col, AggregateCall)>,
    /// GROUPING(…): its column and the columns of the keys it asks about.
    pub(super) groupings: Vec<(Col, Vec<(super::bound::Scalar, Position)>)>,
    pub(super) windows: Vec<(Col, WindowCall)>,
    pub(super) sets: Vec<(Vec<Col>, SetCall)>,
    pub(super) named_windows: Vec<(String, NamedWindow)>,
    /// Uses of columns outside aggregates, for the place in 42803.
    pub(super) mentions: Vec<(ColId, Position)>,
}

impl Level {
    pub(super) fn new(clause: Clause) -> Self {
        Level {
            visible: Vec::new(),
            barred: Vec::new(),
            hidden: false,
            own: HashSet::new(),
            ctes: Vec::new(),
            clause,
            aggregates: Vec::new(),
            groupings: Vec::new(),
            windows: Vec::new(),
            sets: Vec::new(),
            named_windows: Vec::new(),
            mentions: Vec::new(),
        }
    }
}

/// A relation in scope and which of its names can be used.
#[derive(Debug, Clone)]
pub(super) struct Visible {
    pub(super) item: Rc<Item>,
    /// Whether its columns can be named without it.
    pub(super) columns: bool,
    /// Whether it can be named.
    pub(super) relation: bool,
}

/// A relation of FROM.
#[derive(Debug, Clone, Default)]
pub(super) struct Item {
    /// Its alias or name; empty for a join without alias.
    pub(super) name: String,
    /// A table's namespace, unless it has an alias.
    pub(super) namespace: Option<String>,
    pub(super) columns: Vec<ItemColumn>,
    /// Columns that only a name reaches.
    pub(super) system: Vec<(&'static str, ColumnId, Col)>,
    /// A table's need.
    pub(super) need: Option<NeedId>,
    /// A table's row key column, and its primary key's columns.
    pub(super) row_key: Option<Col>,
    pub(super) primary_key: Vec<ColId>,
    /// Whether an outer join may pad its rows with NULL.
    pub(super) padded: bool,
    /// For padded rows: a column that is NULL in them only.
    pub(super) marker: Option<Col>,
    /// Whether it is a function's single value: as a whole it is that value and no row.
    pub(super) scalar: bool,
}

/// A column of a relation in scope.
#[derive(Debug, Clone)]
pub(super) struct ItemColumn {
    pub(super) name: String,
    pub(super) col: Col,
    pub(super) origin: Option<(TableId, ColumnId)>,
}

impl ItemColumn {
    /// As a column of the statement's result.
    pub(super) fn output(&self) -> Output {
        Output { col: self.col.id, name: self.name.clone(), ty: self.col.ty, origin: self.origin }
    }
}

/// What a name was found to be.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) col: Col,
    pub(super) origin: Option<(TableId, ColumnId)>,
}

impl Item {
    pub(super) fn find(&self, name: &str) -> Vec<Found> {
        self.columns
            .iter()
            .filter(|column| column.name == name)
            .map(|column| Found { col: column.col, origin: column.origin })
            .collect()
    }

    fn find_system(&self, name: &str) -> Option<(ColumnId, Found)> {
        let (_, id, col) = self.system.iter().find(|(system, ..)| *system == name)?;
        Some((*id, Found { col: *col, origin: None }))
    }
}

fn undefined_column(message: String) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_COLUMN, message)
}

impl Binder<'_> {
    /// A column by its name alone.
    pub(super) fn column(&mut self, name: &str, position: Position) -> Result<Found> {
        match self.find_column(name, position)? {
            Some(found) => Ok(found),
            None if self.level().clause == Clause::Default => {
                let message = "cannot use column reference in DEFAULT expression";
                Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(position))
            }
            None => {
                self.refuse_system_column(name)?;
                let error = undefined_column(format!("column \"{name}\" does not exist")).at(position);
                Err(self.with_column_hint(error, None, name))
            }
        }
    }

    /// A column by its name alone, from the innermost query outwards.
    pub(super) fn find_column(&mut self, name: &str, position: Position) -> Result<Option<Found>> {
        for depth in (0..self.levels.len()).rev() {
            if let Some(found) = self.column_at(depth, name, position)? {
                self.mention(depth, found.col.id, position);
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn column_at(&mut self, depth: usize, name: &str, position: Position) -> Result<Option<Found>> {
        let level = &self.levels[depth];
        if level.hidden && depth + 1 < self.levels.len() {
            return Ok(None);
        }
        let mut found: Vec<Found> =
            level.visible.iter().filter(|v| v.columns).flat_map(|v| v.item.find(name)).collect();
        if found.is_empty() {
            let system: Vec<_> = level
                .visible
                .iter()
                .filter(|v| v.columns && v.relation)
                .filter_map(|v| v.item.find_system(name).map(|(id, found)| (id, found, v.item.need)))
                .collect();
            for (id, _, need) in &system {
                self.note_system(*id, *need);
            }
            found = system.into_iter().map(|(_, found, _)| found).collect();
        }
        if found.len() > 1 {
            let message = format!("column reference \"{name}\" is ambiguous");
            return Err(SqlError::new(SqlState::AMBIGUOUS_COLUMN, message).at(position));
        }
        Ok(found.pop())
    }

    /// `relation.column` or `namespace.relation.column`.
    pub(super) fn qualified_column(
        &mut self,
        namespace: Option<&str>,
        relation: &str,
        name: &str,
        position: Position,
    ) -> Result<Found> {
        let (depth, item) = self.relation_in_scope(namespace, relation, position)?;
        let mut found = item.find(name);
        if found.is_empty() {
            if let Some((id, system)) = item.find_system(name) {
                self.note_system(id, item.need);
                found.push(system);
            }
        }
        if found.len() > 1 {
            let message = format!("column reference \"{name}\" is ambiguous");
            return Err(SqlError::new(SqlState::AMBIGUOUS_COLUMN, message).at(position));
        }
        match found.pop() {
            Some(found) => {
                self.mention(depth, found.col.id, position);
                Ok(found)
            }
            None => {
                let error = undefined_column(format!("column {relation}.{name} does not exist")).at(position);
                Err(self.with_column_hint(error, Some(relation), name))
            }
        }
    }

    /// The relation that a qualifier means, and its level.
    pub(super) fn relation_in_scope(
        &mut self,
        namespace: Option<&str>,
        relation: &str,
        position: Position,
    ) -> Result<(usize, Rc<Item>)> {
        match self.find_relation(namespace, relation, position)? {
            Some(found) => Ok(found),
            None => Err(self.missing_relation(namespace, relation, position)),
        }
    }

    /// As [`Binder::relation_in_scope`]; `None` when there is none.
    pub(super) fn find_relation(
        &self,
        namespace: Option<&str>,
        relation: &str,
        position: Position,
    ) -> Result<Option<(usize, Rc<Item>)>> {
        let fits = |item: &Item| {
            item.name == relation && namespace.is_none_or(|namespace| item.namespace.as_deref() == Some(namespace))
        };
        for depth in (0..self.levels.len()).rev() {
            let level = &self.levels[depth];
            if level.hidden && depth + 1 < self.levels.len() {
                continue;
            }
            let mut found = level.visible.iter().filter(|v| v.relation && fits(&v.item));
            if let Some(visible) = found.next() {
                if found.next().is_some() {
                    let message = format!("table reference \"{relation}\" is ambiguous");
                    return Err(SqlError::new(SqlState::AMBIGUOUS_ALIAS, message).at(position));
                }
                return Ok(Some((depth, visible.item.clone())));
            }
        }
        Ok(None)
    }

    fn missing_relation(&self, namespace: Option<&str>, relation: &str, position: Position) -> SqlError {
        let known = self.levels.iter().flat_map(|level| level.visible.iter().chain(&level.barred));
        let there = known.into_iter().any(|v| v.item.name == relation);
        if there {
            let message = format!("invalid reference to FROM-clause entry for table \"{relation}\"");
            let detail = format!(
                "There is an entry for table \"{relation}\", but it cannot be referenced from this part of the query."
            );
            return SqlError::new(SqlState::UNDEFINED_TABLE, message).with_detail(detail).at(position);
        }
        let aliased = self.levels.iter().flat_map(|level| &level.visible).find(|v| {
            v.item.need.is_some_and(|need| {
                let table = self.needs[need.0].table;
                matches!(self.names.relation(namespace, relation), Ok(Some(shape)) if shape.table == table)
            })
        });
        if let Some(visible) = aliased {
            let message = format!("invalid reference to FROM-clause entry for table \"{relation}\"");
            let hint = format!("Perhaps you meant to reference the table alias \"{}\".", visible.item.name);
            return SqlError::new(SqlState::UNDEFINED_TABLE, message).with_hint(hint).at(position);
        }
        let message = format!("missing FROM-clause entry for table \"{relation}\"");
        SqlError::new(SqlState::UNDEFINED_TABLE, message).at(position)
    }

    /// Naming `_deleted` makes tombstones visible.
    fn note_system(&mut self, id: ColumnId, need: Option<NeedId>) {
        if let (ColumnId::DELETED, Some(need)) = (id, need) {
            self.needs[need.0].with_deleted = true;
        }
    }

    pub(super) fn mention(&mut self, depth: usize, id: ColId, position: Position) {
        self.seen.insert(id);
        let inside = self.levels[depth..].iter().any(|level| level.clause == Clause::AggregateArgument);
        if !inside {
            self.levels[depth].mentions.push((id, position));
        }
    }

    /// The level whose FROM makes a column; `None` for columns made otherwise.
    pub(super) fn level_of(&self, id: ColId) -> Option<usize> {
        (0..self.levels.len()).rev().find(|depth| self.levels[*depth].own.contains(&id))
    }

    /// PostgreSQL's "Perhaps you meant …": near names by edit distance.
    fn with_column_hint(&self, error: SqlError, relation: Option<&str>, name: &str) -> SqlError {
        let mut best: Vec<(usize, String)> = Vec::new();
        for visible in self.levels.iter().flat_map(|level| &level.visible) {
            let item = &visible.item;
            if item.name.is_empty() || relation.is_some_and(|relation| relation != item.name) {
                continue;
            }
            for column in &item.columns {
                let distance = edit_distance(name, &column.name);
                let limit = 3.min(column.name.chars().count() / 2);
                if distance <= limit {
                    best.push((distance, format!("\"{}.{}\"", item.name, column.name)));
                }
            }
        }
        let Some(least) = best.iter().map(|(distance, _)| *distance).min() else { return error };
        let mut nearest = best.iter().filter(|(distance, _)| *distance == least).map(|(_, shown)| shown.as_str());
        match (nearest.next(), nearest.next(), nearest.next()) {
            (Some(one), None, _) => error.with_hint(format!("Perhaps you meant to reference the column {one}.")),
            (Some(one), Some(two), None) => {
                error.with_hint(format!("Perhaps you meant to reference the column {one} or the column {two}."))
            }
            _ => error,
        }
    }
}

/// Levenshtein's distance.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let cost = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[right.len()]
}
