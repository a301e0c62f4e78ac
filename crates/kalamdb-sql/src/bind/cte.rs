//! WITH: queries that are bound once and stand wherever their name does; recursive ones by a work table.

use super::bound::{Col, JoinKind, Rel, Scalar, SetOp};
use super::from::Part;
use super::scope::{Clause, Item, ItemColumn, Level, Visible};
use super::select::Derived;
use super::step::is_change;
use super::{Binder, Position, walk};
use crate::parse;
use kalamdb_commons::{Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, SetExpr, SetOperator, SetQuantifier};
use std::rc::Rc;

/// A WITH query in scope.
#[derive(Debug, Clone)]
pub(super) struct Cte {
    name: String,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// Bound; the first use takes it as it is, others a renumbered copy.
    Bound { derived: Box<Derived>, used: bool },
    /// Being bound: the recursive term reads the last round's rows.
    Working { work: u32, columns: Vec<ItemColumn>, uses: usize, place: Position },
    /// Being bound, in a place where it must not be used: the error.
    Barred(SqlError),
}

pub(super) fn recursion(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_RECURSION, message)
}

impl Binder<'_> {
    pub(super) fn with_clause(&mut self, with: &ast::With) -> Result<()> {
        for cte in &with.cte_tables {
            let name = parse::fold(&cte.alias.name);
            let position = self.ident_position(&cte.alias.name);
            if self.level().ctes.iter().any(|other| other.name == name) {
                let message = format!("WITH query name \"{name}\" specified more than once");
                return Err(SqlError::new(SqlState::DUPLICATE_ALIAS, message).at(position));
            }
            if cte.from.is_some() {
                return Err(SqlError::unsupported("such a WITH query").at(position));
            }
            let mut derived = match () {
                () if is_change(&cte.query.body) => match self.step(&name, &cte.query, with.recursive, position)? {
                    Ok(derived) => derived,
                    Err(error) => {
                        self.bar(&name, error);
                        continue;
                    }
                },
                () if with.recursive => self.recursive(&name, cte)?,
                () => self.query(&cte.query, true)?,
            };
            rename(&mut derived.columns, &name, &cte.alias.columns).map_err(|error| error.at(position))?;
            if self.is_once(&derived) {
                derived = self.once(&name, derived);
            }
            let state = State::Bound { derived: Box::new(derived), used: false };
            self.level().ctes.push(Cte { name, state });
        }
        Ok(())
    }

    /// A name that is there and must not be used.
    pub(super) fn bar(&mut self, name: &str, error: SqlError) {
        self.level().ctes.push(Cte { name: name.to_owned(), state: State::Barred(error) });
    }

    /// WITH RECURSIVE: plain unless it is a UNION whose second arm reads the query itself.
    fn recursive(&mut self, name: &str, cte: &ast::Cte) -> Result<Derived> {
        let query = &cte.query;
        let form =
            format!("recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term");
        let plain = query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
        let union = match query.body.as_ref() {
            SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } if plain => {
                Some((left, set_quantifier, right))
            }
            _ => None,
        };
        let own_position = self.ident_position(&cte.alias.name);
        self.levels.push(Level::new(Clause::Select));
        self.level().ctes.push(Cte { name: name.to_owned(), state: State::Barred(recursion(form).at(own_position)) });
        let Some((left, quantifier, right)) = union else {
            let derived = self.query(query, true)?;
            self.levels.pop();
            return Ok(derived);
        };
        let all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::None | SetQuantifier::Distinct => false,
            _ => return Err(SqlError::unsupported("UNION BY NAME")),
        };
        if let Some(with) = &query.with {
            self.with_clause(with)?;
        }
        let early = format!("recursive reference to query \"{name}\" must not appear within its non-recursive term");
        self.set_state(name, State::Barred(recursion(early)));
        let mut seed = self.arm(left)?;
        let unresolved = seed.clone();
        for column in &mut seed.columns {
            if column.col.ty.ty == SqlType::Unknown {
                self.retype(&mut seed.rel, column.col, SqlType::Text)?;
                column.col.ty = SqlType::Text.into();
            }
        }
        let mut named = seed.columns.clone();
        rename(&mut named, name, &cte.alias.columns)?;
        self.next_work += 1;
        let work = self.next_work;
        self.set_state(name, State::Working { work, columns: named, uses: 0, place: None });
        let mut step = self.arm(right)?;
        let used = self.level().ctes.iter().find_map(|cte| match &cte.state {
            State::Working { uses, place, .. } if cte.name == name && *uses > 0 => Some(*place),
            _ => None,
        });
        self.levels.pop();
        let Some(place) = used else { return self.union(all, unresolved, step) };
        check_place(name, work, &step.rel).map_err(|error| error.at(place))?;
        self.check_step(name, &seed, &step)?;
        let types: Vec<_> = seed.columns.iter().map(|column| column.col.ty).collect();
        self.level_arm(&mut step, &types, "UNION")?;
        if !all && types.iter().any(|ty| super::operator::is_keyed(*ty)) {
            return Err(SqlError::unsupported("WITH RECURSIVE … UNION over values compared by a key"));
        }
        let columns: Vec<Col> = types.iter().map(|ty| self.col(*ty, true)).collect();
        let ids = |arm: &Derived| arm.columns.iter().map(|column| column.col.id).collect::<Vec<_>>();
        let (seed_ids, step_ids) = (ids(&seed), ids(&step));
        for (column, col) in seed.columns.iter().zip(&columns) {
            self.note_record(&Scalar::Column(column.col), *col);
        }
        let made = seed.columns.iter().zip(&columns);
        let made =
            made.map(|(column, col)| ItemColumn { name: column.name.clone(), col: *col, origin: None }).collect();
        let rel = Rel::Recursive {
            work,
            seed: (Box::new(seed.rel), seed_ids),
            step: (Box::new(step.rel), step_ids),
            all,
            columns,
        };
        Ok(Derived { rel, columns: made })
    }

    fn check_step(&self, name: &str, seed: &Derived, step: &Derived) -> Result<()> {
        if seed.columns.len() != step.columns.len() {
            let message = "each UNION query must have the same number of columns";
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
        }
        for (index, (from, to)) in seed.columns.iter().zip(&step.columns).enumerate() {
            let (seed, step) = (from.col.ty.ty, to.col.ty.ty);
            let overall = super::coerce::common([seed, step].into_iter())
                .map_err(|(l, r)| super::coerce::unmatched("UNION", l, r))?;
            if overall != seed {
                let message = format!(
                    "recursive query \"{name}\" column {} has type {seed} in non-recursive term but type {overall} overall",
                    index + 1
                );
                return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message)
                    .with_hint("Cast the output of the non-recursive term to the correct type."));
            }
        }
        Ok(())
    }

    /// Whether a query has to be carried out once for all its readers.
    fn is_once(&self, derived: &Derived) -> bool {
        let mut is_volatile = false;
        walk::deep_rel(&derived.rel, &mut |scalar| is_volatile |= walk::is_volatile_call(scalar));
        let in_recursion =
            self.levels.iter().flat_map(|level| &level.ctes).any(|cte| matches!(cte.state, State::Working { .. }));
        is_volatile && !in_recursion && walk::free_columns(&derived.rel).is_empty()
    }

    fn set_state(&mut self, name: &str, state: State) {
        if let Some(cte) = self.level().ctes.iter_mut().find(|cte| cte.name == name) {
            cte.state = state;
        }
    }

    /// Whether a WITH query has this name here.
    pub(super) fn has_cte(&self, name: &str) -> bool {
        self.levels.iter().any(|level| level.ctes.iter().any(|cte| cte.name == name))
    }

    /// A FROM item that names a WITH query.
    pub(super) fn cte_table(
        &mut self,
        name: &str,
        alias: Option<&ast::TableAlias>,
        position: Position,
    ) -> Result<Option<Part>> {
        let place = (0..self.levels.len()).rev().find_map(|depth| {
            let index = self.levels[depth].ctes.iter().position(|cte| cte.name == name)?;
            Some((depth, index))
        });
        let Some((depth, index)) = place else { return Ok(None) };
        let (rel, columns) = match &mut self.levels[depth].ctes[index].state {
            State::Barred(error) => return Err(error.clone().at(position)),
            State::Working { work, columns, uses, place } => {
                *uses += 1;
                *place = position;
                if *uses > 1 {
                    let message = format!("recursive reference to query \"{name}\" must not appear more than once");
                    return Err(recursion(message).at(position));
                }
                let (work, columns) = (*work, columns.clone());
                self.work_table(work, columns)
            }
            State::Bound { derived, used } => {
                let derived = derived.clone();
                let first = !std::mem::replace(used, true);
                if first { (derived.rel, derived.columns) } else { self.copy_of(*derived) }
            }
        };
        let mut item = Item { name: name.to_owned(), columns, ..Item::default() };
        if let Some(alias) = alias {
            item.name = parse::fold(&alias.name);
            self.rename_columns(&mut item, alias)?;
        }
        self.label(&item);
        Ok(Some(Part { rel, visible: vec![Visible { item: Rc::new(item), columns: true, relation: true }] }))
    }

    fn work_table(&mut self, work: u32, mut columns: Vec<ItemColumn>) -> (Rel, Vec<ItemColumn>) {
        for column in &mut columns {
            let col = self.col(column.col.ty, true);
            self.note_record(&Scalar::Column(column.col), col);
            column.col = col;
            column.origin = None;
        }
        let cols = columns.iter().map(|column| column.col).collect();
        (Rel::WorkTable { work, columns: cols }, columns)
    }

    /// The same query once more, with numbers of its own.
    fn copy_of(&mut self, derived: Derived) -> (Rel, Vec<ItemColumn>) {
        let Derived { mut rel, mut columns } = derived;
        let mut cols: Vec<Col> = columns.iter().map(|column| column.col).collect();
        walk::renumber(&mut rel, &mut [&mut cols], &mut self.next_col, &mut self.next_work);
        for (column, col) in columns.iter_mut().zip(cols) {
            self.note_record(&Scalar::Column(column.col), col);
            column.col = col;
        }
        (rel, columns)
    }
}

/// Whether a tree reads a work table, subqueries in expressions aside.
fn reads_work(rel: &Rel, work: u32) -> bool {
    let mut found = matches!(rel, Rel::WorkTable { work: read, .. } if *read == work);
    walk::inputs(rel, &mut |input| found |= reads_work(input, work));
    found
}

/// 42P19 where the last round's rows must not be read.
fn check_place(name: &str, work: u32, rel: &Rel) -> Result<()> {
    let barred = |side: &Rel, what: &str| match reads_work(side, work) {
        true => Err(recursion(format!("recursive reference to query \"{name}\" must not appear within {what}"))),
        false => Ok(()),
    };
    match rel {
        Rel::Aggregate { input, aggregates, .. } if !aggregates.is_empty() && reads_work(input, work) => {
            let message = "aggregate functions are not allowed in a recursive query's recursive term";
            return Err(recursion(message));
        }
        Rel::Join { kind, left, right, .. } => {
            if matches!(kind, JoinKind::Left | JoinKind::Full) {
                barred(right, "an outer join")?;
            }
            if matches!(kind, JoinKind::Right | JoinKind::Full) {
                barred(left, "an outer join")?;
            }
        }
        Rel::SetOperation { op: SetOp::Except, right, .. } => barred(&right.0, "EXCEPT")?,
        _ => {}
    }
    let mut result = Ok(());
    walk::inputs(rel, &mut |input| {
        if result.is_ok() {
            result = check_place(name, work, input);
        }
    });
    result
}

fn rename(columns: &mut [ItemColumn], name: &str, aliases: &[ast::TableAliasColumnDef]) -> Result<()> {
    if aliases.len() > columns.len() {
        let message = format!(
            "WITH query \"{name}\" has {} columns available but {} columns specified",
            columns.len(),
            aliases.len()
        );
        return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    for (column, alias) in columns.iter_mut().zip(aliases) {
        column.name = parse::fold(&alias.name);
    }
    Ok(())
}
