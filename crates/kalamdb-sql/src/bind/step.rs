//! Queries in WITH that are carried out by themselves: those that write, each a statement of its own, and volatile ones
//! that several places read. Their names read what they returned.

use super::bound::{BoundKind, Col, OnConflict, Output, Rel, Returning, Scalar, Step};
use super::cte::recursion;
use super::scope::{Clause, ItemColumn, Level};
use super::select::Derived;
use super::{Binder, Position, walk};
use kalamdb_commons::{Result, SqlError, SqlState};
use sqlparser::ast::{self, SetExpr};

/// Whether a query's body writes.
pub(super) fn is_change(body: &SetExpr) -> bool {
    matches!(body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

impl Binder<'_> {
    /// A data-modifying query of WITH; what stands for its rows, or why nothing can.
    pub(super) fn step(
        &mut self,
        name: &str,
        query: &ast::Query,
        recursive: bool,
        position: Position,
    ) -> Result<std::result::Result<Derived, SqlError>> {
        if self.levels.len() > 1 {
            let message = "WITH clause containing a data-modifying statement must be at the top level";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(position));
        }
        self.levels.push(Level::new(Clause::Select));
        if recursive {
            let message = format!("recursive query \"{name}\" must not contain data-modifying statements");
            self.bar(name, recursion(message).at(position));
        }
        if let Some(with) = &query.with {
            self.with_clause(with)?;
        }
        let (kind, outputs) = match query.body.as_ref() {
            SetExpr::Insert(ast::Statement::Insert(insert)) => self.insert(insert)?,
            SetExpr::Update(ast::Statement::Update(update)) => self.update(update)?,
            SetExpr::Delete(ast::Statement::Delete(delete)) => self.delete(delete, false)?,
            SetExpr::Merge(_) => return Err(SqlError::unsupported("MERGE")),
            _ => return Err(SqlError::internal("a step that writes nothing")),
        };
        self.levels.pop();
        let step = self.steps.len();
        let returns = match &kind {
            BoundKind::Query(_) => false,
            BoundKind::Insert(insert) => insert.returning.is_some(),
            BoundKind::Update(update) => update.returning.is_some(),
            BoundKind::Delete(delete) => delete.returning.is_some(),
        };
        let mut columns = Vec::with_capacity(outputs.len());
        let mut made = Vec::with_capacity(outputs.len());
        for (place, output) in outputs.iter().enumerate() {
            let col = self.col(output.ty, true);
            if let Some(shape) = self.records.get(&output.col).cloned() {
                self.records.insert(col.id, shape);
            }
            columns.push(ItemColumn { name: output.name.clone(), col, origin: output.origin });
            made.push((place, col));
        }
        self.steps.push(Step { name: name.to_owned(), kind, outputs, is_read: false });
        if !returns {
            let message = format!("WITH query \"{name}\" does not have a RETURNING clause");
            return Ok(Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)));
        }
        Ok(Ok(Derived { rel: Rel::Made { step, columns: made }, columns }))
    }
}

impl Binder<'_> {
    /// A query that is carried out once, and what stands for its rows.
    pub(super) fn once(&mut self, name: &str, derived: Derived) -> Derived {
        let step = self.steps.len();
        let outputs: Vec<Output> = derived.columns.iter().map(ItemColumn::output).collect();
        let mut columns = derived.columns;
        let mut made = Vec::with_capacity(columns.len());
        for (place, column) in columns.iter_mut().enumerate() {
            let col = self.col(column.col.ty, true);
            self.note_record(&Scalar::Column(column.col), col);
            column.col = col;
            made.push((place, col));
        }
        self.steps.push(Step { name: name.to_owned(), kind: BoundKind::Query(derived.rel), outputs, is_read: false });
        Derived { rel: Rel::Made { step, columns: made }, columns }
    }
}

/// A query that one place reads, once, needs no step of its own: there it stands, and gives no more rows than asked.
pub(super) fn inline(kind: &mut BoundKind, steps: &mut [Step]) {
    let mut uses = vec![0_usize; steps.len()];
    steps_of(kind, &mut |step| uses[step] += 1);
    steps.iter().for_each(|step| steps_of(&step.kind, &mut |read| uses[read] += 1));
    for at in 0..steps.len() {
        let BoundKind::Query(rel) = &steps[at].kind else { continue };
        if uses[at] != 1 {
            continue;
        }
        let (rel, outputs) = (rel.clone(), steps[at].outputs.clone());
        let mut done = false;
        let mut place = |source: &mut Rel| put(source, at, &rel, &outputs, &mut done);
        source_of(kind, &mut place);
        steps.iter_mut().skip(at + 1).for_each(|step| source_of(&mut step.kind, &mut place));
        if done {
            steps[at].kind = BoundKind::Query(Rel::OneRow);
        }
    }
}

fn source_of(kind: &mut BoundKind, f: &mut dyn FnMut(&mut Rel)) {
    match kind {
        BoundKind::Query(rel) => f(rel),
        BoundKind::Insert(insert) => f(&mut insert.source),
        BoundKind::Update(update) => f(&mut update.source),
        BoundKind::Delete(delete) => f(&mut delete.source),
    }
}

/// Not into subqueries, lateral sides and recursions, which may run many times.
fn put(rel: &mut Rel, step: usize, with: &Rel, outputs: &[Output], done: &mut bool) {
    match rel {
        Rel::Made { step: read, columns } if *read == step => {
            let named = columns.iter().map(|(place, col)| {
                let output = &outputs[*place];
                (*col, Scalar::Column(Col { id: output.col, ty: output.ty, nullable: true }))
            });
            *rel = Rel::Extend { columns: named.collect(), input: Box::new(with.clone()) };
            *done = true;
        }
        Rel::Join { left, lateral: true, .. } => put(left, step, with, outputs, done),
        Rel::Recursive { .. } => {}
        rel => walk::inputs_mut(rel, &mut |input| put(input, step, with, outputs, done)),
    }
}

/// Notes which steps the statement reads, be it by others that it reads.
pub(super) fn mark_read(kind: &BoundKind, steps: &mut [Step]) {
    let mut read = Vec::new();
    steps_of(kind, &mut |step| read.push(step));
    while let Some(at) = read.pop() {
        let Some(step) = steps.get_mut(at).filter(|step| !step.is_read) else { continue };
        step.is_read = true;
        steps_of(&step.kind, &mut |step| read.push(step));
    }
}

fn steps_of(kind: &BoundKind, f: &mut dyn FnMut(usize)) {
    match kind {
        BoundKind::Query(rel) => walk::steps_read(rel, f),
        BoundKind::Insert(insert) => {
            walk::steps_read(&insert.source, f);
            returned(&insert.returning, f);
            if let Some(OnConflict::DoUpdate { set, condition, .. }) = &insert.on_conflict {
                set.iter().map(|(_, scalar)| scalar).chain(condition).for_each(|scalar| of_scalar(scalar, f));
            }
        }
        BoundKind::Update(update) => {
            walk::steps_read(&update.source, f);
            returned(&update.returning, f);
        }
        BoundKind::Delete(delete) => {
            walk::steps_read(&delete.source, f);
            returned(&delete.returning, f);
        }
    }
}

fn returned(returning: &Option<Returning>, f: &mut dyn FnMut(usize)) {
    returning.iter().flat_map(|returning| &returning.exprs).for_each(|(_, scalar)| of_scalar(scalar, f));
}

fn of_scalar(scalar: &Scalar, f: &mut dyn FnMut(usize)) {
    walk::steps_read_by(scalar, f);
}
