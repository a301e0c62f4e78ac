//! ON CONFLICT's target: which unique indexes it means.

use super::bound::Arbiter;
use super::from::name_parts;
use super::stored::canonical_conjuncts;
use super::{Binder, Purpose, RelationShape, UniqueShape, canonical_row};
use crate::parse;
use crate::statement::{IndexElement, IndexedValue};
use kalamdb_commons::{ColumnId, Result, SqlError, SqlState};
use sqlparser::ast;
use std::collections::HashSet;

impl Binder<'_> {
    /// What a target means: never nothing.
    pub(super) fn arbiters(&self, target: &ast::ConflictTarget, shape: &RelationShape) -> Result<Vec<Arbiter>> {
        match target {
            ast::ConflictTarget::Columns { columns, predicate } => {
                let given = predicate
                    .as_ref()
                    .map(|predicate| canonical_conjuncts(predicate, shape, Purpose::IndexPredicate, self.names));
                self.inferred(columns, &given.transpose()?.unwrap_or_default(), shape)
            }
            ast::ConflictTarget::OnConstraint(name) => {
                let (_, name) = name_parts(name)?;
                if shape.primary_key.as_ref().is_some_and(|(constraint, _)| *constraint == name) {
                    return Ok(vec![Arbiter::Key]);
                }
                let named = |unique: &&UniqueShape| unique.constraint.as_ref() == Some(&name);
                let found = shape.uniques.iter().find(named).map(|unique| vec![Arbiter::Index(unique.id)]);
                found.ok_or_else(|| {
                    let message = format!("constraint \"{name}\" for table \"{}\" does not exist", shape.name);
                    SqlError::new(SqlState::UNDEFINED_OBJECT, message)
                })
            }
        }
    }

    fn inferred(&self, elements: &[ast::Ident], given: &[String], shape: &RelationShape) -> Result<Vec<Arbiter>> {
        let mut columns: HashSet<ColumnId> = HashSet::new();
        let mut expressions: HashSet<String> = HashSet::new();
        for ident in elements {
            let value = if ident.quote_style == Some(parse::ELEMENT_QUOTE) {
                element_value(parse::conflict_element(&ident.value)?)?
            } else {
                IndexedValue::Column(parse::fold(ident))
            };
            match value {
                IndexedValue::Column(name) => {
                    let column = shape.columns.iter().find(|column| column.name == name).ok_or_else(|| {
                        let message = format!("column \"{name}\" does not exist");
                        SqlError::new(SqlState::UNDEFINED_COLUMN, message).at(self.ident_position(ident))
                    })?;
                    columns.insert(column.id);
                }
                IndexedValue::Expression(text) => {
                    let name_of = |id: ColumnId| shape.columns.iter().find(|c| c.id == id).map(|c| c.name.clone());
                    let text = canonical_row(&text, shape, Purpose::IndexKey, &name_of, self.names)?;
                    // A column in brackets is that column.
                    match shape.columns.iter().find(|column| super::deparse::quoted(&column.name) == text) {
                        Some(column) => columns.insert(column.id),
                        None => expressions.insert(text),
                    };
                }
            }
        }
        let mut found = Vec::new();
        if let Some((_, key)) = &shape.primary_key
            && expressions.is_empty()
            && key.iter().copied().collect::<HashSet<_>>() == columns
        {
            found.push(Arbiter::Key);
        }
        for unique in &shape.uniques {
            let fits = unique.columns.iter().copied().collect::<HashSet<_>>() == columns
                && unique.expressions.iter().cloned().collect::<HashSet<_>>() == expressions;
            let implied = match &unique.predicate {
                None => true,
                Some(text) => {
                    let predicate = parse::expression(text)?;
                    let wanted = canonical_conjuncts(&predicate, shape, Purpose::IndexPredicate, self.names)?;
                    wanted.iter().all(|conjunct| given.contains(conjunct))
                }
            };
            if fits && implied {
                found.push(Arbiter::Index(unique.id));
            }
        }
        if found.is_empty() {
            let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
            return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
        Ok(found)
    }
}

/// What an element names: an index is inferred whatever its order.
fn element_value(element: IndexElement) -> Result<IndexedValue> {
    if element.descending || element.nulls_first.is_some() {
        let what = if element.nulls_first.is_some() { "NULLS FIRST/LAST" } else { "ASC/DESC" };
        let message = format!("{what} is not allowed in ON CONFLICT clause");
        return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    Ok(element.value)
}
