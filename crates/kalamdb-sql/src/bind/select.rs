//! SELECT and VALUES: clauses in PostgreSQL's order of analysis, nodes in its order of execution.

use super::aggregate::{sort_key, unequal};
use super::bound::{Col, ColId, CompareOp, Frame, FrameBound, FrameUnits, Rel, Scalar, SortKey, WindowCall};
use super::lock::not_with;
use super::scope::{Clause, Item, ItemColumn, Level};
use super::target::{OrderKey, Target, reference};
use super::{Binder, Position, call, literal, walk};
use crate::function::{self, Kind};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, Expr, Query, SetExpr};
use std::collections::HashSet;
use std::rc::Rc;

/// A bound query: its tree and its columns.
#[derive(Debug, Clone)]
pub(super) struct Derived {
    pub(super) rel: Rel,
    pub(super) columns: Vec<ItemColumn>,
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
        let columns: Vec<ItemColumn> =
            level.iter().flat_map(|level| &level.visible).flat_map(|v| v.item.columns.iter().cloned()).collect();
        self.seen.extend(columns.iter().map(|column| column.col.id));
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
        let keys: Vec<SortKey> = keys
            .iter()
            .map(|k| sort_key(targets[k.target].scalar.clone(), &k.options).map_err(|e| e.at(k.position)))
            .collect::<Result<_>>()?;
        if !keys.is_empty() {
            rel = Rel::Sort { input: Box::new(rel), keys: keys.clone() };
        }
        Ok(Derived { rel: self.limited(rel, limit, query, &keys)?, columns })
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
        let below = grouping.as_ref().map(|groups| groups.made_by_sets.clone()).unwrap_or_default();
        if !below.is_empty() {
            let sets = std::mem::take(&mut self.level().sets);
            let (below, above) = call::below(sets, &below);
            self.level().sets = above;
            for calls in call::stages(below) {
                rel = Rel::ProjectSet { input: Box::new(rel), calls, ordinality: None };
            }
        }
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
        let sets = std::mem::take(&mut self.level().sets);
        // As in PostgreSQL: what nothing is ordered by is made of the rows in their order.
        let made: HashSet<ColId> = sets.iter().flat_map(|(cols, _)| cols.iter().map(|col| col.id)).collect();
        let reads_sets =
            |key: &OrderKey| walk::columns_used(&targets[key.target].scalar).iter().any(|col| made.contains(&col.id));
        let sorts_first =
            !sets.is_empty() && !order.is_empty() && !distinct && on.is_none() && !order.iter().any(reads_sets);
        if sorts_first {
            let keys = order
                .iter()
                .map(|k| sort_key(targets[k.target].scalar.clone(), &k.options).map_err(|e| e.at(k.position)))
                .collect::<Result<_>>()?;
            rel = Rel::Sort { input: Box::new(rel), keys };
        }
        for calls in call::stages(sets) {
            rel = Rel::ProjectSet { input: Box::new(rel), calls, ordinality: None };
        }
        let (extended, mut cols) = self.extend(rel, &targets);
        rel = extended;
        if distinct {
            let (distinct, made) = self.distinct_rel(rel, &cols);
            rel = distinct;
            cols = made;
        }
        if !sorts_first {
            rel = self.sorted(rel, &order, &cols, on)?;
        }
        let ties = order.iter().map(|key| (cols[key.target], key.options.clone()));
        let ties = ties.map(|(col, options)| sort_key(Scalar::Column(col), &options)).collect::<Result<Vec<_>>>()?;
        rel = self.lock_rows(rel, query)?;
        rel = self.limited(rel, limit, query, &ties)?;
        self.levels.pop();
        let columns: Vec<ItemColumn> = targets
            .into_iter()
            .zip(&cols)
            .filter(|(target, _)| !target.hidden)
            .map(|(target, col)| ItemColumn { name: target.name, col: *col, origin: target.origin })
            .collect();
        Ok(Derived { rel: narrowed(rel, &columns), columns })
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
            if fetch.percent {
                return Err(SqlError::unsupported("FETCH FIRST … PERCENT"));
            }
            if fetch.with_ties && query.order_by.is_none() {
                let message = "WITH TIES cannot be specified without ORDER BY clause";
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
            }
            if fetch.with_ties && query.locks.iter().any(|lock| lock.nonblock == Some(ast::NonBlock::SkipLocked)) {
                let message = "SKIP LOCKED and WITH TIES options cannot be used together";
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
            }
            count = Some(match &fetch.quantity {
                Some(quantity) => self.limit_value(quantity, Clause::Limit)?,
                None => literal::bigint(1),
            });
        }
        Ok((count, offset))
    }

    /// LIMIT and OFFSET over rows that come in the order of these keys.
    fn limited(
        &mut self,
        rel: Rel,
        (count, offset): (Option<Scalar>, Option<Scalar>),
        query: &Query,
        keys: &[SortKey],
    ) -> Result<Rel> {
        let with_ties = query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties);
        match count {
            Some(count) if with_ties => self.with_ties(rel, count, offset, keys),
            None if offset.is_none() => Ok(rel),
            count => Ok(Rel::Limit { input: Box::new(rel), offset, count }),
        }
    }

    /// WITH TIES: beside the counted rows those that are equal to the last of them. Their rank says so.
    fn with_ties(&mut self, rel: Rel, count: Scalar, offset: Option<Scalar>, keys: &[SortKey]) -> Result<Rel> {
        let state = SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE;
        match &count {
            Scalar::Const(Datum::Null, _) => {
                let message = "row count cannot be null in FETCH FIRST ... WITH TIES clause";
                return Err(SqlError::new(state, message));
            }
            Scalar::Const(Datum::Int8(count), _) if *count < 0 => {
                return Err(SqlError::new(state, "LIMIT must not be negative"));
            }
            _ => {}
        }
        let bigint = PgType::from(SqlType::Int8);
        let mut calls = Vec::new();
        for name in ["rank", "row_number"] {
            let function =
                function::by_name(name).iter().copied().find(|function| matches!(function.kind, Kind::Window(_)));
            let function = function.ok_or_else(|| SqlError::internal("no ranking function"))?;
            let frame = Frame {
                units: FrameUnits::Range,
                start: FrameBound::UnboundedPreceding,
                end: FrameBound::CurrentRow,
                exclude: super::bound::Exclusion::NoOthers,
                range_by: None,
            };
            let call = WindowCall {
                function,
                args: Vec::new(),
                filter: None,
                partition_by: Vec::new(),
                order_by: keys.to_vec(),
                frame,
                ty: bigint,
            };
            calls.push((self.col(bigint, false), call));
        }
        let (rank, number) = (Scalar::Column(calls[0].0), Scalar::Column(calls[1].0));
        let window = Rel::Window { input: Box::new(rel), calls };
        let zero = literal::bigint(0);
        let compare =
            |op, left: &Scalar, right: &Scalar| Scalar::Compare(op, Box::new(left.clone()), Box::new(right.clone()));
        let mut tests = vec![compare(CompareOp::Gt, &count, &zero)];
        let last = match offset {
            None => count,
            Some(offset) => {
                let offset = Scalar::Coalesce(vec![offset, zero], bigint);
                tests.push(compare(CompareOp::Gt, &number, &offset));
                self.binary("+", count, offset, None)?
            }
        };
        tests.push(compare(CompareOp::Le, &rank, &last));
        let kept = Rel::Filter { input: Box::new(window), predicate: Scalar::And(tests) };
        Ok(Rel::Sort { input: Box::new(kept), keys: keys.to_vec() })
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
