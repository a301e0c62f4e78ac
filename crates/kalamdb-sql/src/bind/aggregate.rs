//! Aggregates, GROUPING, and the change of expressions that stand above a grouping.

use super::bound::{AggregateCall, Col, ColId, Scalar, SortKey};
use super::operator::{is_keyed, key};
use super::scope::Clause;
use super::{Binder, Position, syntax, walk};
use crate::function::{self, CastContext, Function, Kind, Volatility};
use kalamdb_commons::{PgType, Result, SqlError, SqlState, SqlType};
use sqlparser::ast;
use std::collections::HashSet;

/// Any value of the group, the first that comes: what stands for a column that the group keys determine.
pub(super) static FIRST: Function = Function {
    oid: 0,
    name: "first_value",
    args: &[SqlType::Anyelement],
    defaults: 0,
    variadic: false,
    returns: SqlType::Anyelement,
    columns: &[],
    strict: false,
    constants_once: false,
    volatility: Volatility::Immutable,
    kind: Kind::Aggregate(|_| datafusion_functions_aggregate::first_last::first_value_udaf()),
};

/// A call of [`FIRST`].
pub(super) fn first(scalar: Scalar) -> AggregateCall {
    let ty = scalar.ty();
    AggregateCall { function: &FIRST, args: vec![scalar], distinct: false, order_by: Vec::new(), filter: None, ty }
}

/// What the grouping of a query gives to the expressions above it.
#[derive(Debug, Default)]
pub(super) struct Grouped {
    /// The expressions grouped by, each with what stands for it above.
    pub(super) keys: Vec<(Scalar, Scalar)>,
    /// Columns that the keys determine, made on demand.
    pub(super) dependent: Vec<(ColId, Col)>,
    /// Columns that may be used because a primary key is among the keys.
    pub(super) determined: HashSet<ColId>,
}

/// The arguments of an aggregate: JSON has labels where enums stand, and aggregates know none.
pub(super) fn labelled(name: &str, args: Vec<(Scalar, Position)>) -> Vec<(Scalar, Position)> {
    let label = |(arg, position): (Scalar, Position)| match arg.ty().ty {
        SqlType::Enum(_) => (Scalar::ThroughText(Box::new(arg), SqlType::Text.into()), position),
        _ => (arg, position),
    };
    if name.starts_with("json") { args.into_iter().map(label).collect() } else { args }
}

impl Binder<'_> {
    /// An aggregate's call: a column of the query that it belongs to.
    pub(super) fn aggregate(&mut self, name: &str, call: &ast::Function, position: Position) -> Result<Scalar> {
        let outside = self.level().clause;
        if call.null_treatment.is_some() {
            return Err(SqlError::unsupported("IGNORE NULLS").at(position));
        }
        let aggregate = self.within(Clause::AggregateArgument, |binder| binder.aggregate_call(name, call, position))?;
        let mut used: Vec<Col> = aggregate.args.iter().flat_map(walk::columns_used).collect();
        used.extend(aggregate.order_by.iter().flat_map(|key| walk::columns_used(&key.expr)));
        used.extend(aggregate.filter.iter().flat_map(walk::columns_used));
        let made: HashSet<ColId> =
            self.levels.iter().flat_map(|level| &level.aggregates).map(|(col, _)| col.id).collect();
        if used.iter().any(|col| made.contains(&col.id)) {
            let message = "aggregate function calls cannot be nested";
            return Err(SqlError::new(SqlState::GROUPING_ERROR, message).at(position));
        }
        // It belongs to the innermost query whose columns it reads; without columns, to its own.
        let depth = used.iter().filter_map(|col| self.level_of(col.id)).max().unwrap_or(self.levels.len() - 1);
        let clause = if depth + 1 == self.levels.len() { outside } else { self.levels[depth].clause };
        if !clause.allows_aggregates() {
            let message = match clause {
                Clause::AggregateArgument => "aggregate function calls cannot be nested".to_owned(),
                clause => format!("aggregate functions are not allowed in {}", clause.name()),
            };
            return Err(SqlError::new(SqlState::GROUPING_ERROR, message).at(position));
        }
        Ok(Scalar::Column(self.add_aggregate(depth, aggregate)))
    }

    /// The column of a call; the same call twice is made once.
    pub(super) fn add_aggregate(&mut self, depth: usize, call: AggregateCall) -> Col {
        let same = |other: &AggregateCall| {
            std::ptr::eq(other.function, call.function)
                && other.distinct == call.distinct
                && walk::all_equal(&other.args, &call.args)
                && walk::keys_equal(&other.order_by, &call.order_by)
                && match (&other.filter, &call.filter) {
                    (None, None) => true,
                    (Some(a), Some(b)) => walk::equal(a, b),
                    _ => false,
                }
        };
        if let Some((col, _)) = self.levels[depth].aggregates.iter().find(|(_, other)| same(other)) {
            return *col;
        }
        let nullable = call.function.name != "count";
        let col = self.col(call.ty, nullable);
        self.levels[depth].aggregates.push((col, call));
        col
    }

    fn aggregate_call(&mut self, name: &str, call: &ast::Function, position: Position) -> Result<AggregateCall> {
        let mut args = Vec::new();
        if !syntax::is_star(call) {
            args = self.bound_arguments(call)?;
            if args.is_empty() && call.within_group.is_empty() {
                let message = format!("{name}(*) must be used to call a parameterless aggregate function");
                return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message).at(position));
            }
        }
        let (mut distinct, mut order_by) = self.aggregate_clauses(name, call, position)?;
        let direct = args.len();
        if !call.within_group.is_empty() {
            if distinct {
                let message = "cannot use DISTINCT with WITHIN GROUP";
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(position));
            }
            for key in &call.within_group {
                args.push(self.placed(&key.expr)?);
            }
        }
        let filter = self.filter(call)?;
        if !call.within_group.is_empty() && function::is_hypothetical(name) {
            return self.hypothetical(name, call, args, filter, position);
        }
        let is_aggregate = |function: &Function| matches!(function.kind, Kind::Aggregate(_));
        let args = labelled(name, args);
        let chosen = self.resolve_among(name, args, &is_aggregate, position)?;
        let mut args = chosen.args;
        if !call.within_group.is_empty() {
            // They stay arguments: the rows are ordered by their keys.
            let ordered = args[direct..].to_vec();
            order_by = call
                .within_group
                .iter()
                .zip(ordered)
                .map(|(key, scalar)| sort_key(scalar, &key.options))
                .collect::<Result<_>>()?;
        }
        if !distinct {
            self.settle_json(chosen.function, &mut args)?;
        } else {
            distinct_argument(chosen.function, &mut args, &mut distinct);
        }
        if distinct && !order_by.iter().all(|k| args.iter().any(|arg| walk::equal(&key(arg.clone()), &k.expr))) {
            let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
            return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message).at(position));
        }
        Ok(AggregateCall { function: chosen.function, args, distinct, order_by, filter, ty: chosen.returns })
    }

    /// `rank(…) WITHIN GROUP (ORDER BY …)` and kin: each value is of its column's type.
    fn hypothetical(
        &mut self,
        name: &str,
        call: &ast::Function,
        mut args: Vec<(Scalar, Position)>,
        filter: Option<Scalar>,
        position: Position,
    ) -> Result<AggregateCall> {
        let columns = call.within_group.len();
        let direct = args.len() - columns;
        if direct != columns {
            let given: Vec<String> = args.iter().map(|(arg, _)| arg.ty().ty.to_string()).collect();
            let message = format!("function {name}({}) does not exist", given.join(", "));
            let hint = format!(
                "To use the hypothetical-set aggregate {name}, the number of hypothetical direct arguments (here \
                 {direct}) must match the number of ordering columns (here {columns})."
            );
            return Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(hint).at(position));
        }
        let ordered = args.split_off(direct);
        let (mut values, mut sorted, mut order_by) = (Vec::new(), Vec::new(), Vec::new());
        let mut word = String::new();
        for (((value, value_place), (column, place)), item) in args.into_iter().zip(ordered).zip(&call.within_group) {
            let common = super::coerce::common([value.ty().ty, column.ty().ty].into_iter())
                .map_err(|_| unmatched(name, &value, &column).at(value_place))?;
            values.push(self.implicit(value, common, value_place)?);
            let column = self.implicit(column, common, place)?;
            let key = sort_key(column.clone(), &item.options).map_err(|error| error.at(place))?;
            word.push_str(&function::order_word(key.descending, key.nulls_first));
            order_by.push(key);
            sorted.push(column);
        }
        let is_it = |function: &&&'static Function| matches!(function.kind, Kind::Aggregate(_));
        let function = function::by_name(name).iter().find(is_it);
        let Some(function) = function else { return Err(SqlError::internal(format!("{name} is no aggregate"))) };
        let word = Scalar::Const(kalamdb_commons::Datum::text(word), SqlType::Text.into());
        let args = std::iter::once(word).chain(values).chain(sorted).collect();
        Ok(AggregateCall { function, args, distinct: false, order_by, filter, ty: function.returns.into() })
    }

    fn aggregate_clauses(
        &mut self,
        name: &str,
        call: &ast::Function,
        position: Position,
    ) -> Result<(bool, Vec<SortKey>)> {
        let ast::FunctionArguments::List(list) = &call.args else { return Ok((false, Vec::new())) };
        let distinct = list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct);
        if distinct && syntax::is_star(call) {
            let message = format!("DISTINCT specified, but {name}(*) has no argument");
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, message).at(position));
        }
        let mut order_by = Vec::new();
        for clause in &list.clauses {
            match clause {
                ast::FunctionArgumentClause::OrderBy(keys) => order_by = self.sort_keys(keys)?,
                _ => return Err(SqlError::unsupported("such a clause in an aggregate's arguments").at(position)),
            }
        }
        Ok((distinct, order_by))
    }

    pub(super) fn filter(&mut self, call: &ast::Function) -> Result<Option<Scalar>> {
        let Some(filter) = &call.filter else { return Ok(None) };
        self.within(Clause::Filter, |binder| {
            let (scalar, position) = binder.placed(filter)?;
            binder.boolean(scalar, "FILTER", position).map(Some)
        })
    }

    /// ORDER BY of an aggregate or a window: expressions only, no ordinals and no output names.
    pub(super) fn sort_keys(&mut self, keys: &[ast::OrderByExpr]) -> Result<Vec<SortKey>> {
        keys.iter()
            .map(|item| {
                let (scalar, position) = self.placed(&item.expr)?;
                let scalar = self.known(scalar, position)?;
                sort_key(scalar, &item.options).map_err(|error| error.at(position))
            })
            .collect()
    }

    /// GROUPING(…): settled when the keys are known.
    pub(super) fn grouping(&mut self, call: &ast::Function, position: Position) -> Result<Scalar> {
        let clause = self.level().clause;
        if !clause.allows_aggregates() {
            let message = format!("grouping operations are not allowed in {}", clause.name());
            return Err(SqlError::new(SqlState::GROUPING_ERROR, message).at(position));
        }
        let mut args = Vec::new();
        for arg in syntax::arguments(call)? {
            args.push(self.placed(arg)?);
        }
        let col = self.col(SqlType::Int4.into(), false);
        self.level().groupings.push((col, args));
        Ok(Scalar::Column(col))
    }

    /// An expression as it stands above the grouping: keys by their columns, nothing else of FROM.
    pub(super) fn regroup(&mut self, scalar: &mut Scalar, grouped: &mut Grouped) -> Result<()> {
        let own = self.level().own.clone();
        let mut fault: Option<ColId> = None;
        let mut wanted: Vec<Col> = Vec::new();
        walk::rewrite(scalar, &mut |inner| {
            if let Some((_, above)) = grouped.keys.iter().find(|(key, _)| walk::equal(key, inner)) {
                return Some(above.clone());
            }
            if let Scalar::Column(col) = inner
                && own.contains(&col.id)
            {
                if !grouped.determined.contains(&col.id) {
                    fault = fault.or(Some(col.id));
                } else if !wanted.iter().any(|other| other.id == col.id) {
                    wanted.push(*col);
                }
            }
            None
        });
        if let Some(id) = fault {
            return Err(self.ungrouped(id, scalar));
        }
        for col in wanted {
            let above = match grouped.dependent.iter().find(|(id, _)| *id == col.id) {
                Some((_, above)) => *above,
                None => {
                    let above = self.col(col.ty, true);
                    self.level().aggregates.push((above, first(Scalar::Column(col))));
                    grouped.dependent.push((col.id, above));
                    above
                }
            };
            *scalar = walk::replace(scalar, col.id, &Scalar::Column(above));
        }
        Ok(())
    }

    fn ungrouped(&mut self, id: ColId, scalar: &Scalar) -> SqlError {
        let (relation, name) = self.labels.get(&id).cloned().unwrap_or_default();
        let position = self.level().mentions.iter().find(|(other, _)| *other == id).and_then(|(_, p)| *p);
        let shown = match position.and_then(|position| self.whole_rows.get(&position)) {
            Some(relation) => format!("{relation}.*"),
            None if relation.is_empty() => name,
            None => format!("{relation}.{name}"),
        };
        let message = if is_outside_subqueries(scalar, id) {
            format!("column \"{shown}\" must appear in the GROUP BY clause or be used in an aggregate function")
        } else {
            format!("subquery uses ungrouped column \"{shown}\" from outer query")
        };
        SqlError::new(SqlState::GROUPING_ERROR, message).at(position)
    }

    /// The type's implicit cast for an ordered-set or other argument, used where resolution was not.
    pub(super) fn to_bigint(&mut self, scalar: Scalar, construct: &str, position: Position) -> Result<Scalar> {
        let given = scalar.ty().ty;
        match self.coerce(scalar, SqlType::Int8.into(), CastContext::Assignment, position)? {
            Some(scalar) => Ok(scalar),
            None => {
                let message = format!("argument of {construct} must be type bigint, not type {given}");
                Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message).at(position))
            }
        }
    }
}

fn is_outside_subqueries(scalar: &Scalar, id: ColId) -> bool {
    if super::operator::is_column(scalar, id) {
        return true;
    }
    let mut found = false;
    walk::operands(scalar, &mut |operand| found |= is_outside_subqueries(operand, id));
    found
}

/// 42804 for a value and a column of types that nothing has in common.
fn unmatched(name: &str, value: &Scalar, column: &Scalar) -> SqlError {
    let message = format!("WITHIN GROUP types {} and {} cannot be matched for {name}", value.ty().ty, column.ty().ty);
    SqlError::new(SqlState::DATATYPE_MISMATCH, message)
}

/// A sort key with PostgreSQL's default for NULLs: they are larger than every value.
pub(super) fn sort_key(scalar: Scalar, options: &ast::OrderByOptions) -> Result<SortKey> {
    let descending = match &options.sort {
        None | Some(ast::OrderBySort::Asc) => false,
        Some(ast::OrderBySort::Desc) => true,
        Some(ast::OrderBySort::Using(name)) => match name.to_string().trim_matches('"') {
            "<" => false,
            ">" => true,
            other => {
                let message = format!("operator {other} is not a valid ordering operator");
                return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)
                    .with_hint("Ordering operators must be \"<\" or \">\" members of btree operator families."));
            }
        },
    };
    unordered(scalar.ty())?;
    Ok(SortKey { expr: key(scalar), descending, nulls_first: options.nulls_first.unwrap_or(descending) })
}

/// 42883 for types without an order.
pub(super) fn unordered(ty: PgType) -> Result<()> {
    if matches!(ty.ty, SqlType::Json | SqlType::Jsonpath | SqlType::Xid | SqlType::Void | SqlType::Aclitem)
        && !is_keyed(ty)
    {
        let message = format!("could not identify an ordering operator for type {}", ty.ty);
        return Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message)
            .with_hint("Use an explicit ordering operator or modify the query."));
    }
    Ok(())
}

/// 42883 for types without equality.
pub(super) fn unequal(ty: PgType) -> Result<()> {
    if matches!(ty.ty, SqlType::Json | SqlType::Jsonpath | SqlType::Void) && !is_keyed(ty) {
        let message = format!("could not identify an equality operator for type {}", ty.ty);
        return Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message));
    }
    Ok(())
}

/// DISTINCT compares by PostgreSQL's equality, the engine by the values' bytes. Where a value shows in the result the
/// aggregate itself compares by the sort keys.
fn distinct_argument(function: &Function, args: &mut [Scalar], distinct: &mut bool) {
    for arg in args.iter_mut() {
        let Some(by) = function::sort_key(arg.ty().ty) else { continue };
        match function.name {
            "min" | "max" | "bool_and" | "bool_or" | "every" => *distinct = false,
            "count" => *arg = key(arg.clone()),
            // A key that is a value of the type itself (±0 made one) stands for the value.
            _ if by.returns == arg.ty().ty => *arg = key(arg.clone()),
            _ => {}
        }
    }
}
