//! The select list, and what is named by it: ORDER BY and DISTINCT ON.

use super::aggregate::{first, sort_key, unequal};
use super::bound::{Col, ColId, Rel, Scalar, SortKey};
use super::expr::bare;
use super::operator::{is_keyed, key};
use super::output_name::output_name;
use super::scope::{Clause, Item};
use super::{Binder, Position, record, walk};
use crate::parse;
use kalamdb_commons::{ColumnId, Result, SqlError, SqlState, TableId};
use sqlparser::ast::{self, Expr, Query, SelectItem};

/// PostgreSQL's limit of result columns (`MaxTupleAttributeNumber`).
const COLUMNS_MAX: usize = 1664;

/// One item of the select list, or a hidden one that ORDER BY needs.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) scalar: Scalar,
    pub(super) origin: Option<(TableId, ColumnId)>,
    pub(super) position: Position,
    pub(super) hidden: bool,
}

/// A key of ORDER BY: which target, and how.
pub(super) struct OrderKey {
    pub(super) target: usize,
    pub(super) options: ast::OrderByOptions,
    pub(super) position: Position,
}

pub(super) fn reference(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message)
}

impl Binder<'_> {
    /// The select list, stars expanded.
    pub(super) fn targets(&mut self, items: &[SelectItem]) -> Result<Vec<Target>> {
        let mut targets = Vec::with_capacity(items.len());
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) if record::expanded(expr).is_some() => {
                    self.expand(expr, &mut targets)?;
                }
                SelectItem::UnnamedExpr(expr) => targets.push(self.target(expr, None)?),
                SelectItem::ExprWithAlias { expr, alias } => targets.push(self.target(expr, Some(alias))?),
                SelectItem::Wildcard(options) => {
                    plain_star(options)?;
                    let position = self.location(options.wildcard_token.0.span.start);
                    let visible: Vec<_> =
                        self.level().visible.iter().filter(|v| v.columns).map(|v| v.item.clone()).collect();
                    if visible.is_empty() {
                        let message = "SELECT * with no tables specified is not valid";
                        return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(position));
                    }
                    for item in visible {
                        self.star(&item, position, &mut targets);
                    }
                }
                SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    plain_star(options)?;
                    let position = self.position(name);
                    let (namespace, relation) = super::from::name_parts(name)?;
                    let (_, item) = self.relation_in_scope(namespace.as_deref(), &relation, position)?;
                    self.star(&item, position, &mut targets);
                }
                SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::Expr(_), _) => {
                    return Err(SqlError::unsupported("such a star"));
                }
                SelectItem::ExprWithAliases { .. } => return Err(SqlError::unsupported("several names for one item")),
            }
        }
        if targets.len() > COLUMNS_MAX {
            let message = format!("target lists can have at most {COLUMNS_MAX} entries");
            return Err(SqlError::new(SqlState::TOO_MANY_COLUMNS, message));
        }
        Ok(targets)
    }

    /// `(row).*`: a target for each field.
    fn expand(&mut self, expr: &Expr, targets: &mut Vec<Target>) -> Result<()> {
        let Some(row) = record::expanded(expr) else { return Ok(()) };
        let position = self.position(&row);
        let fields = self.composite(&row).map_err(|error| error.at(position))?;
        targets.extend(fields.into_iter().map(|(name, scalar)| Target {
            name,
            scalar,
            origin: None,
            position,
            hidden: false,
        }));
        Ok(())
    }

    fn star(&mut self, item: &Item, position: Position, targets: &mut Vec<Target>) {
        for column in &item.columns {
            self.seen.insert(column.col.id);
            self.level().mentions.push((column.col.id, position));
            targets.push(Target {
                name: column.name.clone(),
                scalar: Scalar::Column(column.col),
                origin: column.origin,
                position,
                hidden: false,
            });
        }
    }

    fn target(&mut self, expr: &Expr, alias: Option<&ast::Ident>) -> Result<Target> {
        let name = alias.map_or_else(|| output_name(expr), parse::fold);
        let position = self.position(expr);
        // A plain column keeps its origin.
        let found = match bare(expr) {
            Expr::Identifier(ident) => {
                let position = self.ident_position(ident);
                let keyword = ident.quote_style.is_none() && self.bare_function(&ident.value)?.is_some();
                if keyword { None } else { self.find_column(&parse::fold(ident), position)? }
            }
            Expr::CompoundIdentifier(parts) => Some(self.compound(parts)?),
            _ => None,
        };
        if let Some(found) = found {
            return Ok(Target {
                name,
                scalar: Scalar::Column(found.col),
                origin: found.origin,
                position,
                hidden: false,
            });
        }
        let scalar = self.expr(expr)?;
        Ok(Target { name, scalar, origin: None, position, hidden: false })
    }

    pub(super) fn order_by(&mut self, query: &Query, targets: &mut Vec<Target>) -> Result<Vec<OrderKey>> {
        let Some(order_by) = &query.order_by else { return Ok(Vec::new()) };
        let ast::OrderByKind::Expressions(items) = &order_by.kind else {
            return Err(SqlError::unsupported("ORDER BY ALL"));
        };
        if order_by.interpolate.is_some() {
            return Err(SqlError::unsupported("INTERPOLATE"));
        }
        let mut keys: Vec<OrderKey> = Vec::with_capacity(items.len());
        for item in items {
            let position = self.position(&item.expr);
            let target = self.named_target(&item.expr, "ORDER BY", true, targets)?;
            let scalar = self.known(targets[target].scalar.clone(), position)?;
            super::aggregate::unordered(scalar.ty()).map_err(|error| error.at(position))?;
            targets[target].scalar = scalar;
            // The same key a second time changes nothing.
            if !keys.iter().any(|key| key.target == target) {
                keys.push(OrderKey { target, options: item.options.clone(), position });
            }
        }
        Ok(keys)
    }

    /// The target that an item of ORDER BY, GROUP BY or DISTINCT ON means; a new hidden one if there is none.
    pub(super) fn named_target(
        &mut self,
        expr: &Expr,
        clause: &str,
        names_first: bool,
        targets: &mut Vec<Target>,
    ) -> Result<usize> {
        let position = self.position(expr);
        match expr {
            Expr::Identifier(ident) => {
                let name = parse::fold(ident);
                let in_from = !names_first && self.column_in_from(&name);
                if !in_from {
                    let mut found: Option<usize> = None;
                    for (index, target) in targets.iter().enumerate().filter(|(_, t)| !t.hidden && t.name == name) {
                        match found {
                            Some(before) if !walk::equal(&targets[before].scalar, &target.scalar) => {
                                let message = format!("{clause} \"{name}\" is ambiguous");
                                return Err(SqlError::new(SqlState::AMBIGUOUS_COLUMN, message).at(position));
                            }
                            Some(_) => {}
                            None => found = Some(index),
                        }
                    }
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
            }
            Expr::Value(value) => match &value.value {
                ast::Value::Number(text, _) => {
                    let Ok(place) = text.to_string().parse::<usize>() else {
                        return Err(SqlError::new(SqlState::SYNTAX_ERROR, format!("non-integer constant in {clause}"))
                            .at(position));
                    };
                    let visible = targets.iter().filter(|target| !target.hidden).count();
                    if place == 0 || place > visible {
                        let message = format!("{clause} position {place} is not in select list");
                        return Err(reference(message).at(position));
                    }
                    return Ok(place - 1);
                }
                ast::Value::Placeholder(_) => {}
                _ => {
                    let message = format!("non-integer constant in {clause}");
                    return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(position));
                }
            },
            _ => {}
        }
        let scalar = self.expr(expr)?;
        if let Some(index) = targets.iter().position(|target| walk::equal(&target.scalar, &scalar)) {
            return Ok(index);
        }
        targets.push(Target { name: String::new(), scalar, origin: None, position, hidden: true });
        Ok(targets.len() - 1)
    }

    /// In GROUP BY a column of FROM wins over an output name.
    fn column_in_from(&mut self, name: &str) -> bool {
        self.level().visible.iter().any(|v| v.columns && v.item.columns.iter().any(|column| column.name == name))
    }

    /// The targets as columns: those that are columns already stay what they are.
    pub(super) fn extend(&mut self, input: Rel, targets: &[Target]) -> (Rel, Vec<Col>) {
        // A column of the query around is made here too: the tree above knows only what its nodes make.
        let below: std::collections::HashSet<ColId> = input.columns().iter().map(|col| col.id).collect();
        let mut made: Vec<(Col, Scalar)> = Vec::new();
        let mut cols = Vec::with_capacity(targets.len());
        for target in targets {
            let col = match &target.scalar {
                Scalar::Column(col) if below.contains(&col.id) => *col,
                scalar => match made.iter().find(|(_, other)| walk::equal(other, scalar) && !walk::is_volatile(scalar))
                {
                    Some((col, _)) => *col,
                    None => {
                        let nullable = !matches!(scalar, Scalar::Const(datum, _) if !datum.is_null());
                        let col = self.col(scalar.ty(), nullable);
                        self.note_record(scalar, col);
                        made.push((col, scalar.clone()));
                        col
                    }
                },
            };
            cols.push(col);
        }
        let rel = if made.is_empty() { input } else { Rel::Extend { input: Box::new(input), columns: made } };
        (rel, cols)
    }

    /// DISTINCT ON: its expressions' targets.
    pub(super) fn distinct_on(
        &mut self,
        select: &ast::Select,
        targets: &mut Vec<Target>,
        order: &[OrderKey],
    ) -> Result<Option<Vec<usize>>> {
        let Some(ast::Distinct::On(exprs)) = &select.distinct else { return Ok(None) };
        let mut on: Vec<usize> = Vec::new();
        for expr in exprs {
            let position = self.position(expr);
            let index =
                self.within(Clause::DistinctOn, |binder| binder.named_target(expr, "DISTINCT ON", true, targets))?;
            targets[index].scalar = self.known(targets[index].scalar.clone(), position)?;
            unequal(targets[index].scalar.ty()).map_err(|error| error.at(position))?;
            if !on.contains(&index) {
                on.push(index);
            }
        }
        let leading = order.iter().take_while(|key| on.contains(&key.target)).count();
        if leading < on.len().min(order.len()) {
            let message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
            let position = exprs.first().and_then(|expr| self.position(expr));
            return Err(reference(message).at(position));
        }
        Ok(Some(on))
    }

    /// Rows that differ in these columns, by PostgreSQL's equality; the columns that stand for them above.
    pub(super) fn distinct_rel(&mut self, input: Rel, cols: &[Col]) -> (Rel, Vec<Col>) {
        let mut kept: Vec<Col> = Vec::new();
        for col in cols {
            if !kept.iter().any(|other| other.id == col.id) {
                kept.push(*col);
            }
        }
        if !kept.iter().any(|col| is_keyed(col.ty)) {
            let narrow = Rel::Narrow { input: Box::new(input), columns: kept };
            return (Rel::Distinct { input: Box::new(narrow), on: None }, cols.to_vec());
        }
        let mut keys = Vec::new();
        let mut aggregates = Vec::new();
        let mut above: Vec<(ColId, Col)> = Vec::new();
        for col in kept {
            if is_keyed(col.ty) {
                let by = key(Scalar::Column(col));
                keys.push((self.col(by.ty(), col.nullable), by));
                let display = self.col(col.ty, col.nullable);
                self.note_record(&Scalar::Column(col), display);
                aggregates.push((display, first(Scalar::Column(col))));
                above.push((col.id, display));
            } else {
                let shown = self.col(col.ty, col.nullable);
                keys.push((shown, Scalar::Column(col)));
                above.push((col.id, shown));
            }
        }
        let moved = cols.iter().map(|col| above.iter().find(|(id, _)| *id == col.id).map_or(*col, |(_, new)| *new));
        let moved = moved.collect();
        (Rel::Aggregate { input: Box::new(input), keys, sets: None, aggregates }, moved)
    }

    pub(super) fn sorted(&mut self, rel: Rel, order: &[OrderKey], cols: &[Col], on: Option<Vec<usize>>) -> Result<Rel> {
        let mut keys = Vec::with_capacity(order.len());
        for item in order.iter() {
            keys.push(sort_key(Scalar::Column(cols[item.target]), &item.options).map_err(|e| e.at(item.position))?);
        }
        let Some(on) = on else {
            return Ok(if keys.is_empty() { rel } else { Rel::Sort { input: Box::new(rel), keys } });
        };
        // The rows of one group must stand together: what ORDER BY does not name comes behind it.
        let mut all = keys.clone();
        for index in &on {
            if !order.iter().any(|item| item.target == *index) {
                let expr = key(Scalar::Column(cols[*index]));
                all.push(SortKey { expr, descending: false, nulls_first: false });
            }
        }
        let sorted = Rel::Sort { input: Box::new(rel), keys: all };
        let on = on.iter().map(|index| key(Scalar::Column(cols[*index]))).collect();
        let rel = Rel::Distinct { input: Box::new(sorted), on: Some(on) };
        Ok(if keys.is_empty() { rel } else { Rel::Sort { input: Box::new(rel), keys } })
    }
}

fn plain_star(options: &ast::WildcardAdditionalOptions) -> Result<()> {
    if options.opt_ilike.is_some()
        || options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some()
        || options.opt_alias.is_some()
    {
        return Err(SqlError::unsupported("a star with options"));
    }
    Ok(())
}
