//! SELECT and VALUES: clauses in PostgreSQL's order of analysis, nodes in its order of execution.

use super::aggregate::{Grouped, first, sort_key, unequal};
use super::bound::{
    Action, AggregateCall, Col, ColId, LockStrength, LockTarget, LockWait, Rel, Scalar, SetOp, SortKey,
};
use super::expr::{bare, row_items};
use super::operator::{is_keyed, key};
use super::output_name::output_name;
use super::scope::{Clause, Item, ItemColumn, Level};
use super::{Binder, Position, call, literal, record, walk};
use crate::parse;
use kalamdb_commons::{ColumnId, Datum, Result, SqlError, SqlState, SqlType, TableId};
use sqlparser::ast::{self, Expr, Query, SelectItem, SetExpr};
use std::rc::Rc;

/// PostgreSQL's limit of result columns (`MaxTupleAttributeNumber`).
const COLUMNS_MAX: usize = 1664;

/// A bound query: its tree and its columns.
#[derive(Debug, Clone)]
pub(super) struct Derived {
    pub(super) rel: Rel,
    pub(super) columns: Vec<ItemColumn>,
}

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
struct OrderKey {
    target: usize,
    options: ast::OrderByOptions,
    position: Position,
}

fn reference(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message)
}

impl Binder<'_> {
    /// A query. `resolve`: what is still unknown in its list becomes text.
    pub(super) fn query(&mut self, query: &Query, resolve: bool) -> Result<Derived> {
        stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || self.query_one(query, resolve))
    }

    fn query_one(&mut self, query: &Query, resolve: bool) -> Result<Derived> {
        if query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
        {
            return Err(SqlError::unsupported("such a clause"));
        }
        let Some(with) = &query.with else { return self.body(&query.body, query, resolve) };
        self.levels.push(Level::new(Clause::Select));
        self.with_clause(with)?;
        let derived = self.body(&query.body, query, resolve)?;
        self.levels.pop();
        Ok(derived)
    }

    fn body(&mut self, body: &SetExpr, query: &Query, resolve: bool) -> Result<Derived> {
        match body {
            SetExpr::Select(select) => self.select(select, query, resolve),
            SetExpr::Values(values) => {
                let derived = self.values(values)?;
                self.ordered(derived, query)
            }
            SetExpr::Query(inner) => {
                let derived = self.query(inner, resolve)?;
                self.ordered(derived, query)
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let derived = self.set_operation(left, *op, set_quantifier, right)?;
                self.ordered(derived, query)
            }
            SetExpr::Table(table) => {
                let derived = self.whole_table(table)?;
                self.ordered(derived, query)
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(SqlError::unsupported("a data-modifying statement inside a query"))
            }
        }
    }

    /// An arm of a set operation: without ORDER BY of its own.
    pub(super) fn arm(&mut self, body: &SetExpr) -> Result<Derived> {
        let query = Query {
            with: None,
            body: Box::new(body.clone()),
            order_by: None,
            limit_clause: None,
            fetch: None,
            locks: Vec::new(),
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators: Vec::new(),
        };
        self.query(&query, false)
    }

    fn whole_table(&mut self, table: &ast::Table) -> Result<Derived> {
        let parts: Vec<ast::ObjectNamePart> = table
            .schema_name
            .iter()
            .chain(&table.table_name)
            .map(|ident| ast::ObjectNamePart::Identifier(ident.clone()))
            .collect();
        let factor = ast::TableFactor::Table {
            name: ast::ObjectName(parts),
            alias: None,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_directives: Vec::new(),
            inheritance: None,
        };
        self.levels.push(Level::new(Clause::From));
        let rel = self.from_clause(&[ast::TableWithJoins { relation: factor, joins: Vec::new() }])?;
        let level = self.levels.pop();
        let columns =
            level.iter().flat_map(|level| &level.visible).flat_map(|v| v.item.columns.iter().cloned()).collect();
        Ok(Derived { rel, columns })
    }

    /// VALUES: each column of one type.
    fn values(&mut self, values: &ast::Values) -> Result<Derived> {
        self.levels.push(Level::new(Clause::Values));
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let mut columns: Vec<Vec<(Scalar, Position)>> = vec![Vec::new(); width];
        for row in &values.rows {
            if row.content.len() != width {
                let position = row.content.first().and_then(|expr| self.position(expr));
                return Err(
                    SqlError::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length").at(position)
                );
            }
            for (column, expr) in columns.iter_mut().zip(&row.content) {
                let placed = self.placed(expr)?;
                column.push(placed);
            }
        }
        let mut rows: Vec<Vec<Scalar>> = vec![Vec::with_capacity(width); values.rows.len()];
        let mut cols = Vec::with_capacity(width);
        for column in columns {
            let (scalars, ty) = self.unify(column, "VALUES")?;
            let col = self.col(ty, true);
            if let Some(first) = scalars.first() {
                self.note_record(first, col);
            }
            cols.push(col);
            for (row, scalar) in rows.iter_mut().zip(scalars) {
                row.push(scalar);
            }
        }
        self.levels.pop();
        let columns = cols
            .iter()
            .enumerate()
            .map(|(index, col)| ItemColumn { name: format!("column{}", index + 1), col: *col, origin: None })
            .collect();
        Ok(Derived { rel: Rel::Values { columns: cols, rows }, columns })
    }

    /// ORDER BY and LIMIT around something that is no plain SELECT: only its result columns can be named.
    fn ordered(&mut self, derived: Derived, query: &Query) -> Result<Derived> {
        if !query.locks.is_empty() {
            let what = match query.body.as_ref() {
                SetExpr::Values(_) => "VALUES",
                _ => "UNION/INTERSECT/EXCEPT",
            };
            return Err(not_with(what));
        }
        let Derived { mut rel, columns } = derived;
        let mut targets: Vec<Target> = columns
            .iter()
            .map(|column| Target {
                name: column.name.clone(),
                scalar: Scalar::Column(column.col),
                origin: column.origin,
                position: None,
                hidden: false,
            })
            .collect();
        let count = targets.len();
        let is_set = matches!(query.body.as_ref(), SetExpr::SetOperation { .. });
        self.levels.push(Level::new(Clause::OrderBy));
        let item = Item { columns: columns.clone(), ..Item::default() };
        self.enter(vec![super::scope::Visible { item: Rc::new(item), columns: true, relation: false }]);
        let keys = self.order_by(query, &mut targets)?;
        if is_set && targets.len() > count {
            let message = "invalid UNION/INTERSECT/EXCEPT ORDER BY clause";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                .with_detail("Only result column names can be used, not expressions or functions.")
                .with_hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.")
                .at(targets[count].position));
        }
        let limit = self.limit(query)?;
        self.levels.pop();
        if !keys.is_empty() {
            let keys = keys
                .iter()
                .map(|k| sort_key(targets[k.target].scalar.clone(), &k.options).map_err(|e| e.at(k.position)))
                .collect::<Result<_>>()?;
            rel = Rel::Sort { input: Box::new(rel), keys };
        }
        Ok(Derived { rel: limited(rel, limit), columns })
    }

    fn select(&mut self, select: &ast::Select, query: &Query, resolve: bool) -> Result<Derived> {
        refuse_foreign(select)?;
        self.levels.push(Level::new(Clause::From));
        let mut rel = self.from_clause(&select.from)?;
        self.level().clause = Clause::Select;
        self.named_windows(&select.named_window)?;
        let mut targets = self.targets(&select.projection)?;
        if let Some(selection) = &select.selection {
            let predicate = self.within(Clause::Where, |binder| {
                let (scalar, position) = binder.placed(selection)?;
                binder.boolean(scalar, "WHERE", position)
            })?;
            rel = Rel::Filter { input: Box::new(rel), predicate };
        }
        let mut having = match &select.having {
            None => None,
            Some(having) => Some(self.within(Clause::Having, |binder| {
                let (scalar, position) = binder.placed(having)?;
                binder.boolean(scalar, "HAVING", position)
            })?),
        };
        let order = self.within(Clause::OrderBy, |binder| binder.order_by(query, &mut targets))?;
        let grouping = self.within(Clause::GroupBy, |binder| binder.group_by(&select.group_by, &mut targets))?;
        let on = self.distinct_on(select, &mut targets, &order)?;
        let limit = self.limit(query)?;
        if resolve {
            for target in &mut targets {
                target.scalar = self.known(target.scalar.clone(), target.position)?;
            }
        }
        let distinct = matches!(select.distinct, Some(ast::Distinct::Distinct));
        if distinct {
            for target in &mut targets {
                target.scalar = self.known(target.scalar.clone(), target.position)?;
                unequal(target.scalar.ty()).map_err(|error| error.at(target.position))?;
            }
            if let Some(key) = order.iter().find(|key| targets[key.target].hidden) {
                let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                return Err(reference(message).at(key.position));
            }
        }
        let level = self.level();
        let grouped =
            grouping.is_some() || having.is_some() || !level.aggregates.is_empty() || !level.groupings.is_empty();
        self.refuse_locks(query, select, grouped, distinct || on.is_some())?;
        if grouped {
            rel = self.aggregate_node(rel, grouping.unwrap_or_default(), &mut targets, having.as_mut())?;
        }
        if let Some(having) = having {
            rel = Rel::Filter { input: Box::new(rel), predicate: having };
        }
        let windows = std::mem::take(&mut self.level().windows);
        if !windows.is_empty() {
            rel = Rel::Window { input: Box::new(rel), calls: windows };
        }
        for calls in call::stages(std::mem::take(&mut self.level().sets)) {
            rel = Rel::ProjectSet { input: Box::new(rel), calls, ordinality: None };
        }
        let (extended, mut cols) = self.extend(rel, &targets);
        rel = extended;
        if distinct {
            let (distinct, made) = self.distinct_rel(rel, &cols);
            rel = distinct;
            cols = made;
        }
        rel = self.sorted(rel, &order, &cols, on)?;
        rel = self.lock_rows(rel, query)?;
        rel = limited(rel, limit);
        self.levels.pop();
        let columns: Vec<ItemColumn> = targets
            .into_iter()
            .zip(&cols)
            .filter(|(target, _)| !target.hidden)
            .map(|(target, col)| ItemColumn { name: target.name, col: *col, origin: target.origin })
            .collect();
        Ok(Derived { rel: narrowed(rel, &columns), columns })
    }

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
                let keyword = ident.quote_style.is_none() && self.bare_function(&ident.value, position)?.is_some();
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

    fn order_by(&mut self, query: &Query, targets: &mut Vec<Target>) -> Result<Vec<OrderKey>> {
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
    fn named_target(
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

    /// GROUP BY: the keys, and the sets of them when there is more than one.
    fn group_by(&mut self, group_by: &ast::GroupByExpr, targets: &mut Vec<Target>) -> Result<Option<Groups>> {
        let ast::GroupByExpr::Expressions(items, modifiers) = group_by else {
            return Err(SqlError::unsupported("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(SqlError::unsupported("GROUP BY … WITH"));
        }
        if items.is_empty() {
            return Ok(None);
        }
        let mut groups = Groups::default();
        let plain = |expr: &Expr| {
            !matches!(expr, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_))
                && row_items(expr).is_none_or(|items| !items.is_empty())
        };
        let simple = items.iter().all(plain);
        let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
        for item in items {
            let choices = self.grouping_sets(item, &mut groups, targets)?;
            sets = sets
                .iter()
                .flat_map(|set| choices.iter().map(move |choice| [set.as_slice(), choice.as_slice()].concat()))
                .collect();
        }
        for set in &mut sets {
            set.sort_unstable();
            set.dedup();
        }
        groups.sets = (!simple).then_some(sets);
        Ok(Some(groups))
    }

    /// What one item of GROUP BY contributes: the alternative lists of keys.
    fn grouping_sets(
        &mut self,
        item: &Expr,
        groups: &mut Groups,
        targets: &mut Vec<Target>,
    ) -> Result<Vec<Vec<usize>>> {
        let mut list = |binder: &mut Self, exprs: &[Expr]| -> Result<Vec<usize>> {
            exprs.iter().map(|expr| binder.group_key(expr, groups, targets)).collect()
        };
        match item {
            Expr::Rollup(parts) => {
                let parts = parts.iter().map(|part| list(self, part)).collect::<Result<Vec<_>>>()?;
                Ok((0..=parts.len()).rev().map(|count| parts[..count].concat()).collect())
            }
            Expr::Cube(parts) => {
                if parts.len() > 12 {
                    return Err(SqlError::new(SqlState::TOO_MANY_COLUMNS, "CUBE is limited to 12 elements"));
                }
                let parts = parts.iter().map(|part| list(self, part)).collect::<Result<Vec<_>>>()?;
                let all = (1_usize << parts.len()) - 1;
                Ok((0..=all)
                    .rev()
                    .map(|mask| {
                        let chosen =
                            parts.iter().enumerate().filter(|(index, _)| mask & (1 << (parts.len() - 1 - index)) != 0);
                        chosen.flat_map(|(_, part)| part.iter().copied()).collect()
                    })
                    .collect())
            }
            Expr::GroupingSets(parts) => {
                let mut sets = Vec::new();
                for part in parts {
                    match part.as_slice() {
                        [inner] if is_nested_set(inner) => {
                            sets.extend(self.grouping_sets(&as_set(inner), groups, targets)?);
                        }
                        exprs => {
                            let keys = exprs
                                .iter()
                                .map(|expr| self.group_key(expr, groups, targets))
                                .collect::<Result<_>>()?;
                            sets.push(keys);
                        }
                    }
                }
                Ok(sets)
            }
            other => match row_items(other) {
                Some(items) => {
                    let keys =
                        items.into_iter().map(|expr| self.group_key(expr, groups, targets)).collect::<Result<_>>()?;
                    Ok(vec![keys])
                }
                None => Ok(vec![vec![self.group_key(other, groups, targets)?]]),
            },
        }
    }

    fn group_key(&mut self, expr: &Expr, groups: &mut Groups, targets: &mut Vec<Target>) -> Result<usize> {
        let position = self.position(expr);
        let before = targets.len();
        let index = self.named_target(expr, "GROUP BY", false, targets)?;
        let scalar = self.known(targets[index].scalar.clone(), position)?;
        targets[index].scalar = scalar.clone();
        if targets.len() > before {
            targets.pop();
        }
        unequal(scalar.ty()).map_err(|error| error.at(position))?;
        let mut made = self.level().aggregates.iter().map(|(col, _)| col.id).collect::<Vec<_>>();
        made.extend(self.level().windows.iter().map(|(col, _)| col.id));
        let sets: Vec<ColId> = self.level().sets.iter().flat_map(|(cols, _)| cols.iter().map(|col| col.id)).collect();
        for col in walk::columns_used(&scalar) {
            if made.contains(&col.id) {
                let message = "aggregate functions are not allowed in GROUP BY";
                return Err(SqlError::new(SqlState::GROUPING_ERROR, message).at(position));
            }
            if sets.contains(&col.id) {
                return Err(SqlError::unsupported("GROUP BY a set-returning function").at(position));
            }
        }
        if let Some(index) = groups.keys.iter().position(|key| walk::equal(key, &scalar)) {
            return Ok(index);
        }
        groups.keys.push(scalar);
        Ok(groups.keys.len() - 1)
    }

    /// The grouping itself, and everything above it put in its terms.
    fn aggregate_node(
        &mut self,
        input: Rel,
        groups: Groups,
        targets: &mut [Target],
        having: Option<&mut Scalar>,
    ) -> Result<Rel> {
        let mut keys: Vec<(Col, Scalar)> = Vec::new();
        let mut shown: Vec<(Col, AggregateCall)> = Vec::new();
        let mut grouped = Grouped::default();
        for scalar in &groups.keys {
            if !is_keyed(scalar.ty()) {
                let col = self.col(scalar.ty(), true);
                keys.push((col, scalar.clone()));
                grouped.keys.push((scalar.clone(), Scalar::Column(col)));
                continue;
            }
            // Grouped by the key; a value of the group is shown.
            let by = key(scalar.clone());
            let key_col = self.col(by.ty(), true);
            keys.push((key_col, by));
            let display = self.col(scalar.ty(), true);
            self.note_record(scalar, display);
            shown.push((display, first(scalar.clone())));
            let above = match groups.sets {
                None => Scalar::Column(display),
                // Outside its grouping set the key is NULL, and so must be what is shown.
                Some(_) => Scalar::Case {
                    branches: vec![(
                        Scalar::IsNull(Box::new(Scalar::Column(key_col))),
                        Scalar::Const(Datum::Null, scalar.ty()),
                    )],
                    otherwise: Some(Box::new(Scalar::Column(display))),
                    ty: scalar.ty(),
                },
            };
            grouped.keys.push((scalar.clone(), above));
        }
        grouped.determined = self.determined(&groups);
        for target in targets.iter_mut() {
            let mut scalar = target.scalar.clone();
            self.regroup(&mut scalar, &mut grouped)?;
            if !walk::equal(&scalar, &target.scalar) {
                target.scalar = scalar;
            }
        }
        if let Some(having) = having {
            self.regroup(having, &mut grouped)?;
        }
        self.regroup_calls(&mut grouped)?;
        let groupings = self.settle_groupings(&groups)?;
        let mut aggregates = std::mem::take(&mut self.level().aggregates);
        aggregates.extend(shown);
        if groupings.is_empty() {
            return Ok(Rel::Aggregate { input: Box::new(input), keys, sets: groups.sets, aggregates });
        }
        let Some(sets) = groups.sets else {
            // One set of all keys leaves none out.
            let columns = groupings.into_iter().map(|(col, _)| (col, integer(0))).collect();
            let rel = Rel::Aggregate { input: Box::new(input), keys, sets: None, aggregates };
            return Ok(Rel::Extend { input: Box::new(rel), columns });
        };
        Ok(self.set_by_set(&input, &keys, &sets, &aggregates, &groupings))
    }

    /// With GROUPING each set is an aggregation of its own over a copy of the input, and says which keys it lacks.
    fn set_by_set(
        &mut self,
        input: &Rel,
        keys: &[(Col, Scalar)],
        sets: &[Vec<usize>],
        aggregates: &[(Col, AggregateCall)],
        groupings: &[(Col, Vec<usize>)],
    ) -> Rel {
        let columns: Vec<Col> = keys
            .iter()
            .map(|(col, _)| *col)
            .chain(aggregates.iter().map(|(col, _)| *col))
            .chain(groupings.iter().map(|(col, _)| *col))
            .collect();
        let ids = |cols: &[Col]| cols.iter().map(|col| col.id).collect::<Vec<ColId>>();
        let mut united: Option<(Rel, Vec<Col>)> = None;
        for set in sets {
            let (there, lacking): (Vec<usize>, Vec<usize>) = (0..keys.len()).partition(|index| set.contains(index));
            let node = Rel::Aggregate {
                input: Box::new(input.clone()),
                keys: there.iter().map(|index| keys[*index].clone()).collect(),
                sets: None,
                aggregates: aggregates.to_vec(),
            };
            let mut made: Vec<(Col, Scalar)> = lacking
                .iter()
                .map(|index| keys[*index].0)
                .map(|col| (col, Scalar::Const(Datum::Null, col.ty)))
                .collect();
            made.extend(groupings.iter().map(|(col, asked)| (*col, integer(lacking_bits(asked, set)))));
            let mut rel = Rel::Extend { input: Box::new(node), columns: made };
            let mut cols = columns.clone();
            walk::renumber(&mut rel, &mut [&mut cols], &mut self.next_col, &mut self.next_work);
            united = Some(match united {
                None => (rel, cols),
                Some((left, left_cols)) => {
                    let fresh: Vec<Col> = columns.iter().map(|col| self.col(col.ty, true)).collect();
                    let union = Rel::SetOperation {
                        op: SetOp::Union,
                        all: true,
                        left: (Box::new(left), ids(&left_cols)),
                        right: (Box::new(rel), ids(&cols)),
                        columns: fresh.clone(),
                    };
                    (union, fresh)
                }
            });
        }
        let (rel, cols) = united.unwrap_or((Rel::OneRow, Vec::new()));
        let columns = columns.into_iter().zip(cols).map(|(col, from)| (col, Scalar::Column(from))).collect();
        Rel::Extend { input: Box::new(rel), columns }
    }

    fn regroup_calls(&mut self, grouped: &mut Grouped) -> Result<()> {
        let mut windows = std::mem::take(&mut self.level().windows);
        let mut sets = std::mem::take(&mut self.level().sets);
        let mut fault = Ok(());
        for (_, call) in &mut windows {
            walk::window_scalars_mut(call, &mut |scalar| {
                if fault.is_ok() {
                    fault = self.regroup(scalar, grouped);
                }
            });
        }
        for scalar in sets.iter_mut().flat_map(|(_, call)| &mut call.args) {
            if fault.is_ok() {
                fault = self.regroup(scalar, grouped);
            }
        }
        self.level().windows = windows;
        self.level().sets = sets;
        fault
    }

    /// GROUPING(a, b) asks about keys: now they are known.
    fn settle_groupings(&mut self, groups: &Groups) -> Result<Vec<(Col, Vec<usize>)>> {
        let mut settled = Vec::new();
        for (col, args) in std::mem::take(&mut self.level().groupings) {
            let mut asked = Vec::with_capacity(args.len());
            for (arg, position) in args {
                match groups.keys.iter().position(|key| walk::equal(key, &arg)) {
                    Some(index) => asked.push(index),
                    None => {
                        let message =
                            "arguments to GROUPING must be grouping expressions of the associated query level";
                        return Err(SqlError::new(SqlState::GROUPING_ERROR, message).at(position));
                    }
                }
            }
            settled.push((col, asked));
        }
        Ok(settled)
    }

    /// Columns of tables whose whole primary key is grouped by (in every set): the key determines them.
    fn determined(&mut self, groups: &Groups) -> std::collections::HashSet<ColId> {
        let everywhere = |index: usize| groups.sets.as_ref().is_none_or(|sets| sets.iter().all(|s| s.contains(&index)));
        let by: Vec<ColId> = groups
            .keys
            .iter()
            .enumerate()
            .filter(|(index, _)| everywhere(*index))
            .filter_map(|(_, key)| match key {
                Scalar::Column(col) => Some(col.id),
                _ => None,
            })
            .collect();
        let items = self.level().visible.iter().map(|v| v.item.clone()).collect::<Vec<_>>();
        items
            .iter()
            .filter(|item| !item.primary_key.is_empty() && item.primary_key.iter().all(|id| by.contains(id)))
            .flat_map(|item| super::from::item_ids(item))
            .collect()
    }

    /// DISTINCT ON: its expressions' targets.
    fn distinct_on(
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

    fn sorted(&mut self, rel: Rel, order: &[OrderKey], cols: &[Col], on: Option<Vec<usize>>) -> Result<Rel> {
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

    /// LIMIT, OFFSET and FETCH: count and offset.
    fn limit(&mut self, query: &Query) -> Result<(Option<Scalar>, Option<Scalar>)> {
        let (mut count, mut offset) = (None, None);
        match &query.limit_clause {
            None => {}
            Some(ast::LimitClause::LimitOffset { limit, offset: skip, limit_by }) if limit_by.is_empty() => {
                if let Some(limit) = limit {
                    count = Some(self.limit_value(limit, Clause::Limit)?);
                }
                if let Some(skip) = skip {
                    offset = Some(self.limit_value(&skip.value, Clause::Offset)?);
                }
            }
            Some(_) => return Err(SqlError::unsupported("such a LIMIT clause")),
        }
        if let Some(fetch) = &query.fetch {
            if fetch.with_ties || fetch.percent {
                return Err(SqlError::unsupported("FETCH FIRST … WITH TIES"));
            }
            count = Some(match &fetch.quantity {
                Some(quantity) => self.limit_value(quantity, Clause::Limit)?,
                None => literal::bigint(1),
            });
        }
        Ok((count, offset))
    }

    fn limit_value(&mut self, expr: &Expr, clause: Clause) -> Result<Scalar> {
        let (scalar, position) = self.within(clause, |binder| binder.placed(expr))?;
        let own = &self.level().own;
        if walk::columns_used(&scalar).iter().any(|col| own.contains(&col.id)) {
            let message = format!("argument of {} must not contain variables", clause.name());
            return Err(reference(message).at(position));
        }
        self.to_bigint(scalar, clause.name(), position)
    }

    fn refuse_locks(&mut self, query: &Query, select: &ast::Select, grouped: bool, distinct: bool) -> Result<()> {
        if query.locks.is_empty() {
            return Ok(());
        }
        let level = self.level();
        if distinct {
            return Err(not_with("DISTINCT clause"));
        }
        if !matches!(&select.group_by, ast::GroupByExpr::Expressions(items, _) if items.is_empty()) {
            return Err(not_with("GROUP BY clause"));
        }
        if select.having.is_some() {
            return Err(not_with("HAVING clause"));
        }
        if grouped {
            return Err(not_with("aggregate functions"));
        }
        if !level.windows.is_empty() {
            return Err(not_with("window functions"));
        }
        if !level.sets.is_empty() {
            return Err(not_with("set-returning functions in the target list"));
        }
        Ok(())
    }

    /// FOR UPDATE and its kin.
    fn lock_rows(&mut self, rel: Rel, query: &Query) -> Result<Rel> {
        let mut targets: Vec<LockTarget> = Vec::new();
        for lock in &query.locks {
            let (strength, of) = lock_clause(lock);
            let wait = match lock.nonblock {
                None => LockWait::Wait,
                Some(ast::NonBlock::Nowait) => LockWait::NoWait,
                Some(ast::NonBlock::SkipLocked) => LockWait::SkipLocked,
            };
            let items: Vec<Rc<Item>> = match &of {
                Some(name) => {
                    let (_, relation) = super::from::name_parts(name)?;
                    let position = self.position(name);
                    let found = self.level().visible.iter().find(|v| v.relation && v.item.name == relation).cloned();
                    let Some(found) = found else {
                        let message = format!("relation \"{relation}\" in FOR UPDATE clause not found in FROM clause");
                        return Err(SqlError::new(SqlState::UNDEFINED_TABLE, message).at(position));
                    };
                    if found.item.need.is_none() {
                        return Err(SqlError::unsupported("FOR UPDATE of what is no table").at(position));
                    }
                    vec![found.item]
                }
                None => self.level().visible.iter().map(|v| v.item.clone()).collect(),
            };
            for item in items {
                self.lock_item(&item, strength, wait, &mut targets)?;
            }
        }
        if targets.is_empty() {
            return Ok(rel);
        }
        Ok(Rel::LockRows { input: Box::new(rel), targets })
    }

    fn lock_item(
        &mut self,
        item: &Item,
        strength: LockStrength,
        wait: LockWait,
        targets: &mut Vec<LockTarget>,
    ) -> Result<()> {
        let Some(need) = item.need else {
            if item.name.is_empty() || item.columns.iter().all(|column| column.origin.is_none()) {
                return Ok(());
            }
            return Err(SqlError::unsupported("FOR UPDATE of a subquery"));
        };
        let Some(key) = item.row_key else {
            return Err(SqlError::unsupported("FOR UPDATE of a system table"));
        };
        if item.padded {
            let message = "FOR UPDATE cannot be applied to the nullable side of an outer join";
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        self.needs[need.0].action = Action::Lock;
        match targets.iter_mut().find(|target| target.need == need) {
            // The strongest of several clauses holds; NOWAIT wins over waiting.
            Some(target) => {
                target.strength = target.strength.max(strength);
                if target.wait == LockWait::Wait {
                    target.wait = wait;
                }
            }
            None => targets.push(LockTarget { need, key: key.id, strength, wait }),
        }
        Ok(())
    }
}

/// How strongly a clause locks, and which relation it names. The weaker strengths are marks before the name.
fn lock_clause(lock: &ast::LockClause) -> (LockStrength, Option<ast::ObjectName>) {
    let parts = lock.of.as_ref().map(|name| name.0.as_slice()).unwrap_or_default();
    let first = parts.first().and_then(|part| part.as_ident());
    let mark =
        first.filter(|ident| ident.quote_style == Some(parse::LOCK_MARK_QUOTE)).map(|ident| ident.value.as_str());
    let (strength, named) = match (lock.lock_type, mark) {
        (_, Some(parse::NO_KEY_UPDATE)) => (LockStrength::NoKeyUpdate, &parts[1..]),
        (_, Some(parse::KEY_SHARE)) => (LockStrength::KeyShare, &parts[1..]),
        (ast::LockType::Share, _) => (LockStrength::Share, parts),
        (ast::LockType::Update, _) => (LockStrength::Update, parts),
    };
    (strength, (!named.is_empty()).then(|| ast::ObjectName(named.to_vec())))
}

/// GROUP BY as read.
#[derive(Debug, Default)]
struct Groups {
    keys: Vec<Scalar>,
    /// Places in `keys`; `None` for one set of all.
    sets: Option<Vec<Vec<usize>>>,
}

/// GROUPING's bits, the last argument the lowest: set for a key that the grouping set lacks.
fn lacking_bits(asked: &[usize], set: &[usize]) -> i32 {
    asked.iter().fold(0, |bits, index| (bits << 1) | i32::from(!set.contains(index)))
}

fn integer(value: i32) -> Scalar {
    Scalar::Const(Datum::Int4(value), SqlType::Int4.into())
}

fn is_nested_set(expr: &Expr) -> bool {
    match expr {
        Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_) => true,
        Expr::Function(call) => super::syntax::is_plain(call, "rollup") || super::syntax::is_plain(call, "cube"),
        _ => false,
    }
}

/// ROLLUP and CUBE inside GROUPING SETS come from the parser as calls.
fn as_set(expr: &Expr) -> Expr {
    let Expr::Function(call) = expr else { return expr.clone() };
    let parts: Vec<Vec<Expr>> = super::syntax::arguments(call)
        .unwrap_or_default()
        .into_iter()
        .map(|arg| match row_items(arg) {
            Some(items) => items.into_iter().cloned().collect(),
            None => vec![arg.clone()],
        })
        .collect();
    if super::syntax::is_plain(call, "rollup") { Expr::Rollup(parts) } else { Expr::Cube(parts) }
}

fn not_with(what: &str) -> SqlError {
    SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("FOR UPDATE is not allowed with {what}"))
}

fn limited(rel: Rel, (count, offset): (Option<Scalar>, Option<Scalar>)) -> Rel {
    if count.is_none() && offset.is_none() {
        return rel;
    }
    Rel::Limit { input: Box::new(rel), offset, count }
}

/// The query's columns only.
fn narrowed(rel: Rel, columns: &[ItemColumn]) -> Rel {
    let mut kept: Vec<Col> = Vec::new();
    for column in columns {
        if !kept.iter().any(|other| other.id == column.col.id) {
            kept.push(column.col);
        }
    }
    Rel::Narrow { input: Box::new(rel), columns: kept }
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

/// Clauses of other dialects.
fn refuse_foreign(select: &ast::Select) -> Result<()> {
    let foreign = select.top.is_some()
        || select.exclude.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.qualify.is_some()
        || select.value_table_mode.is_some()
        || select.flavor != ast::SelectFlavor::Standard;
    if foreign {
        return Err(SqlError::unsupported("such a SELECT"));
    }
    if select.into.is_some() {
        return Err(SqlError::unsupported("SELECT INTO"));
    }
    Ok(())
}
