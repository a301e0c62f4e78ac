//! The ways to a relation's rows besides reading all: its primary key and its indexes.
//!
//! An index is chosen for what the filters say about its first values; a partial one only where its own condition is
//! among the filters. Expressions are compared as the engine's trees, which both sides are lowered to.

use super::provider::Source;
use super::pushdown::{self, Constraint};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Expr;
use kalamdb_commons::{ColumnId, Oid, PgType};
use kalamdb_sql::bind::bound::{Col, Scalar};
use kalamdb_sql::bind::walk;
use kalamdb_sql::function::sort_key;
use kalamdb_sql::lower;
use kalamdb_sql::predicate::Sessionless;
use std::sync::Arc;

/// An index that rows can be found by.
#[derive(Debug, Clone)]
pub struct IndexShape {
    /// Its OID.
    pub id: Oid,
    /// Its name, for EXPLAIN.
    pub name: String,
    /// Whether at most one row has each key without NULL.
    pub unique: bool,
    /// What it is sorted by.
    pub keys: Vec<IndexedKey>,
    /// The conditions, all of which hold for its rows.
    pub predicate: Vec<Scalar>,
    /// The columns as `keys` and `predicate` see them.
    pub columns: Arc<[(ColumnId, Col)]>,
}

/// One value that an index is sorted by.
#[derive(Debug, Clone)]
pub struct IndexedKey {
    /// The value.
    pub value: Scalar,
    /// Its name, for EXPLAIN.
    pub shown: String,
    /// DESC
    pub descending: bool,
    /// NULLS FIRST
    pub nulls_first: bool,
}

/// A way to a relation's rows at one place of a statement.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pub name: String,
    /// The index; `None`: the primary key.
    pub index: Option<Oid>,
    pub unique: bool,
    /// How many values it is sorted by.
    pub width: usize,
    /// The first of them, as far as the statement reads what they are made of.
    pub values: Vec<PathValue>,
    /// Conditions that must be among the filters.
    pub predicate: Vec<Expr>,
}

/// One value that a path is sorted by.
#[derive(Debug, Clone)]
pub(super) struct PathValue {
    /// What constraints call it: a column's place, or behind those an expression's.
    pub place: usize,
    pub ty: PgType,
    /// The value's own type, where `ty` is that of its sort key.
    pub own: PgType,
    pub shown: String,
    pub descending: bool,
    pub nulls_first: bool,
    /// The column, if it is one, perhaps by its sort key.
    pub column: Option<usize>,
}

/// All ways to a relation.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    pub paths: Vec<Path>,
    /// Expressions that indexes are sorted by; their places are behind the columns'.
    exprs: Vec<Expr>,
    columns: usize,
}

/// How good a way is: whole unique keys first, then more equal values, then a range; then one whose own
/// condition leaves rows out, and the primary key.
type Score = (bool, usize, bool, bool, bool);

impl Paths {
    /// Those of a source whose columns are these.
    pub fn new(source: &dyn Source, columns: &[(ColumnId, Col)]) -> Paths {
        let mut paths = Paths { paths: Vec::new(), exprs: Vec::new(), columns: columns.len() };
        if let Some(key) = source.key() {
            let place = |id: &ColumnId| columns.iter().position(|(column, _)| column == id);
            let values = key.columns.iter().map_while(|id| {
                let place = place(id)?;
                Some(PathValue {
                    place,
                    ty: columns[place].1.ty,
                    own: columns[place].1.ty,
                    shown: source.column_name(*id),
                    descending: false,
                    nulls_first: false,
                    column: Some(place),
                })
            });
            paths.paths.push(Path {
                name: key.name.clone(),
                index: None,
                unique: true,
                width: key.columns.len(),
                values: values.collect(),
                predicate: Vec::new(),
            });
        }
        for index in source.indexes() {
            paths.add(&index, columns);
        }
        paths
    }

    fn add(&mut self, index: &IndexShape, columns: &[(ColumnId, Col)]) {
        let mut predicate = Vec::with_capacity(index.predicate.len());
        for condition in &index.predicate {
            match moved(condition, index, columns).and_then(|condition| lowered(&condition)) {
                Some(condition) => predicate.push(condition),
                // It reads a column that the statement does not: no filter can say it.
                None => return,
            }
        }
        let mut values = Vec::with_capacity(index.keys.len());
        for key in &index.keys {
            let Some(scalar) = moved(&key.value, index, columns) else { break };
            let column = match &scalar {
                Scalar::Column(col) => columns.iter().position(|(_, known)| known.id == col.id),
                _ => None,
            };
            let own = scalar.ty();
            let comparable = match sort_key(scalar.ty().ty) {
                Some(function) => Scalar::Call { function, args: vec![scalar], ty: PgType::new(function.returns) },
                None => scalar,
            };
            let ty = comparable.ty();
            let place = match (&comparable, column) {
                (Scalar::Column(_), Some(place)) => place,
                _ => match lowered(&comparable) {
                    Some(expr) => self.expr_place(expr),
                    None => break,
                },
            };
            let shown = key.shown.clone();
            let (descending, nulls_first) = (key.descending, key.nulls_first);
            values.push(PathValue { place, ty, own, shown, descending, nulls_first, column });
        }
        let (name, width) = (index.name.clone(), index.keys.len());
        self.paths.push(Path { name, index: Some(index.id), unique: index.unique, width, values, predicate });
    }

    fn expr_place(&mut self, expr: Expr) -> usize {
        let at = self.exprs.iter().position(|known| *known == expr).unwrap_or_else(|| {
            self.exprs.push(expr);
            self.exprs.len() - 1
        });
        self.columns + at
    }

    /// What constraints call an expression: a column, or what an index is sorted by.
    pub fn place(&self, expr: &Expr, column: &dyn Fn(&str) -> Option<usize>) -> Option<usize> {
        match expr {
            Expr::Column(found) => column(found.name()),
            _ if self.exprs.is_empty() => None,
            expr => {
                let expr = unqualified(expr.clone());
                self.exprs.iter().position(|known| *known == expr).map(|at| self.columns + at)
            }
        }
    }

    /// The best way for these filters and what they say about its values.
    pub fn choose(&self, filters: &[&Expr], constraints: &[Option<Constraint>]) -> Option<usize> {
        let mut best: Option<(Score, usize)> = None;
        for (at, path) in self.paths.iter().enumerate() {
            if let Some(score) = path.score(filters, constraints)
                && best.is_none_or(|(known, _)| score > known)
            {
                best = Some((score, at));
            }
        }
        best.map(|(_, at)| at)
    }
}

impl Path {
    /// The places of its first values.
    pub fn places(&self) -> Vec<usize> {
        self.values.iter().map(|value| value.place).collect()
    }

    /// Their places and types.
    pub fn types(&self) -> Vec<(usize, PgType)> {
        self.values.iter().map(|value| (value.place, value.ty)).collect()
    }

    /// Whether a filter is one that its rows satisfy anyway.
    pub fn implies(&self, filter: &Expr) -> bool {
        !self.predicate.is_empty() && self.predicate.contains(&unqualified(filter.clone()))
    }

    fn score(&self, filters: &[&Expr], constraints: &[Option<Constraint>]) -> Option<Score> {
        if !self.predicate.is_empty() {
            let given: Vec<Expr> = filters.iter().map(|filter| unqualified((*filter).clone())).collect();
            if !self.predicate.iter().all(|condition| given.contains(condition)) {
                return None;
            }
        }
        let places = self.places();
        let reach = pushdown::reach(&places, constraints.iter().flatten());
        let bounded = |constraint: &Constraint| places.get(reach).is_some_and(|place| constraint.is_about(*place));
        let ranged = constraints.iter().flatten().any(bounded);
        (reach > 0 || ranged).then_some({
            let whole = self.unique && reach == self.width;
            (whole, reach, ranged, !self.predicate.is_empty(), self.index.is_none())
        })
    }
}

/// An index's expression over the statement's columns; `None` when it reads one that is not there.
fn moved(scalar: &Scalar, index: &IndexShape, columns: &[(ColumnId, Col)]) -> Option<Scalar> {
    let mut scalar = scalar.clone();
    let mut complete = true;
    walk::rewrite(&mut scalar, &mut |inner| match inner {
        Scalar::Column(col) => {
            let id = index.columns.iter().find(|(_, known)| known.id == col.id).map(|(id, _)| *id);
            let here = columns.iter().find(|(column, _)| Some(*column) == id);
            complete &= here.is_some();
            here.map(|(_, col)| Scalar::Column(*col))
        }
        _ => None,
    });
    complete.then_some(scalar)
}

fn lowered(scalar: &Scalar) -> Option<Expr> {
    lower::lower(scalar, &mut Sessionless).ok().map(unqualified)
}

/// An expression without the relations' names: a column's own is unique.
fn unqualified(expr: Expr) -> Expr {
    let plain = expr.clone().transform(|expr| {
        Ok(match expr {
            Expr::Column(column) if column.relation.is_some() => {
                Transformed::yes(Expr::Column(datafusion::common::Column::new_unqualified(column.name)))
            }
            Expr::Alias(alias) => Transformed::yes(*alias.expr),
            other => Transformed::no(other),
        })
    });
    plain.map_or(expr, |plain| plain.data)
}
