//! Names, types, operators and parameters: a parsed statement becomes a [`bound::Bound`] tree.
//!
//! Looks names up and grants nothing. What it cannot do is 0A000, never a guess.

mod aggregate;
mod arbiter;
pub mod bound;
mod call;
mod coerce;
mod cte;
pub mod deparse;
mod expr;
mod from;
mod group_by;
mod insert;
mod literal;
mod lock;
mod operator;
mod output_name;
mod param;
mod pretty;
mod print;
mod prune;
mod record;
mod scope;
mod select;
mod set_op;
mod step;
mod stored;
mod subquery;
mod syntax;
mod target;
#[cfg(test)]
mod tests;
mod update;
mod user_type;
mod view;
pub mod walk;
mod window;

pub use deparse::Purpose;
pub use pretty::pretty;
pub use stored::{
    RowExpression, assigned, bind_generated, bind_row, bind_transform, canonical_conjuncts, canonical_default,
    canonical_row, expression_name, relabelled, relations_named, shown_stored, types_named,
};
pub use view::{QueryToStore, SeenConstant, SeenRelation, StoredQuery, bind_view, print_view};

pub use user_type::{bind_domain_check, canonical_domain_check, judged};

use crate::statement::{Name, Statement};
use bound::{Bound, BoundCopy, BoundKind, Col, ColId, Need, NeedId, Output, Scalar, Step};
use kalamdb_commons::{
    ColumnId, Datum, NamespaceId, Oid, PgType, Result, SqlError, SqlType, TableId, TableType, UserId,
};
use param::Params;
use scope::{Clause, Level};
use sqlparser::ast::{self, Spanned};
use std::collections::HashMap;
use std::sync::Arc;

/// What the binder may ask about names. Core implements it over one catalog and one search path.
pub trait Names {
    /// The relation that a name means: `None` as the namespace means the search path (pg_catalog first unless the
    /// path says otherwise). `Ok(None)`: there is none (42P01 is the binder's); 3F000 for a missing namespace.
    fn relation(&self, namespace: Option<&str>, name: &str) -> Result<Option<RelationShape>>;
    /// A relation by its id: what a stored query's names mean.
    fn relation_by_id(&self, id: TableId) -> Option<RelationShape>;
    /// Whether a namespace exists (for better errors).
    fn namespace(&self, name: &str) -> Option<NamespaceId>;
    /// `kalam.*` and other settings that change binding, e.g. `TimeZone`, `DateStyle` for literals.
    fn style(&self) -> &crate::types::Style;
    /// The objects that a `'name'::regclass` and kin constant means: answered at execution, but a constant may be
    /// folded by asking here.
    fn catalog(&self) -> &dyn crate::function::CatalogNames;
    /// What a user's type's name means.
    fn user_type(&self, parts: &[String]) -> Option<crate::function::UserType> {
        self.catalog().user_type(parts)
    }
    /// Reads a constant: its meaning may be the catalog's.
    ///
    /// # Errors
    /// As [`crate::types::from_text`].
    fn constant(&self, text: &str, ty: PgType) -> Result<Datum> {
        crate::types::from_text(text, ty, self.style(), self.catalog())
    }
}

/// A relation as the binder sees it: made of plain words.
#[derive(Debug, Clone)]
pub struct RelationShape {
    /// Its id.
    pub table: TableId,
    /// Its namespace's name.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its schema version.
    pub schema_version: u32,
    /// A table, or a relation that is computed (pg_catalog, system).
    pub kind: RelationKind,
    /// Its live columns, in order (system columns are added by the binder by name).
    pub columns: Vec<ColumnShape>,
    /// The primary key's columns and its constraint's name.
    pub primary_key: Option<(String, Vec<ColumnId>)>,
    /// Its unique indexes: what ON CONFLICT may go by.
    pub uniques: Vec<UniqueShape>,
    /// A view's query.
    pub view: Option<Arc<StoredQuery>>,
}

/// A unique index as the binder sees it.
#[derive(Debug, Clone)]
pub struct UniqueShape {
    /// Its OID.
    pub id: Oid,
    /// The name of the constraint that it stands behind.
    pub constraint: Option<String>,
    /// Its columns.
    pub columns: Vec<ColumnId>,
    /// Its expressions, as they are stored.
    pub expressions: Vec<String>,
    /// Its predicate, as it is stored.
    pub predicate: Option<String>,
}

/// What kind of relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// Rows in the store.
    Table(TableType),
    /// Computed from the catalog and the running server; read-only.
    System,
    /// A query with a name.
    View,
    /// A sequence: one row that says where it stands.
    Sequence,
}

/// A column as the binder sees it.
#[derive(Debug, Clone)]
pub struct ColumnShape {
    /// Its stable number.
    pub id: ColumnId,
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: PgType,
    /// NOT NULL.
    pub not_null: bool,
    /// Its default, as SQL text.
    pub default: Option<String>,
    /// Where its values come from, if not from its default alone.
    pub source: ValueSource,
    /// The domain that its type is declared by.
    pub domain: Option<Oid>,
}

/// Where a column's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueSource {
    /// Statements, or its default.
    #[default]
    Given,
    /// GENERATED BY DEFAULT AS IDENTITY
    Identity,
    /// GENERATED ALWAYS AS IDENTITY: values are refused without OVERRIDING.
    AlwaysIdentity,
    /// GENERATED ALWAYS AS (…) STORED
    Generated,
}

/// Binds a query, INSERT, UPDATE or DELETE. `declared` are the parameter types that the client gave (`None`: infer).
///
/// # Errors
/// PostgreSQL's, with positions in characters of the statement's own text.
pub fn bind(statement: &Statement, text: &str, declared: &[Option<SqlType>], names: &dyn Names) -> Result<Bound> {
    let mut binder = Binder::new(text, declared, names);
    let bound = match binder.statement(statement) {
        Ok((kind, outputs)) => binder.finish(kind, outputs),
        Err(error) => Err(error),
    };
    bound.map_err(|error| named(error, names))
}

/// An error with the names of users' types.
pub fn named(error: SqlError, names: &dyn Names) -> SqlError {
    error.rewritten(&|text| text.contains("pg_catalog.\"").then(|| stored::with_type_names(text, names.catalog())))
}

/// Binds a query that stands inside another statement (DECLARE, COPY, LISTEN … FOR, EXPLAIN).
///
/// # Errors
/// As [`bind`].
pub fn bind_query(query: &ast::Query, text: &str, declared: &[Option<SqlType>], names: &dyn Names) -> Result<Bound> {
    let mut binder = Binder::new(text, declared, names);
    let bound = match binder.statement_query(query) {
        Ok((kind, outputs)) => binder.finish(kind, outputs),
        Err(error) => Err(error),
    };
    bound.map_err(|error| named(error, names))
}

/// Binds a DEFAULT's text for a column of type `ty`: what CREATE TABLE checks and INSERT evaluates.
///
/// # Errors
/// PostgreSQL's: 42804 for a wrong type, 0A000 for column references and subqueries.
pub fn bind_default(text: &str, column: &str, ty: PgType, names: &dyn Names) -> Result<Scalar> {
    let expr = crate::parse::expression(text)?;
    let mut binder = Binder::new(text, &[], names);
    let scalar = binder.default_scalar(&expr, column, ty).map_err(|error| named(error, names))?;
    binder.no_parameters()?;
    Ok(scalar)
}

/// Binds what a column gets that no value is given for: its default or its domain's, or NULL, as far as its domain
/// takes it.
///
/// # Errors
/// As [`bind_default`].
pub fn bind_column_default(column: &ColumnShape, names: &dyn Names) -> Result<Scalar> {
    let mut binder = Binder::new("", &[], names);
    let scalar = binder.column_default(column).map_err(|error| self::named(error, names))?;
    binder.no_parameters()?;
    Ok(scalar)
}

/// Binds the arguments of EXECUTE to the types that the prepared statement's parameters have.
///
/// # Errors
/// 42601 for a wrong number of them, 42804 for a wrong type; `text` is the statement's own.
pub fn bind_constants(
    exprs: &[ast::Expr],
    types: &[PgType],
    statement: &str,
    text: &str,
    names: &dyn Names,
) -> Result<Vec<Scalar>> {
    if exprs.len() != types.len() {
        let message = format!("wrong number of parameters for prepared statement \"{statement}\"");
        let detail = format!("Expected {} parameters but got {}.", types.len(), exprs.len());
        return Err(SqlError::new(kalamdb_commons::SqlState::SYNTAX_ERROR, message).with_detail(detail));
    }
    let mut binder = Binder::new(text, &[], names);
    binder.levels.push(Level::new(Clause::Execute));
    let bound = exprs.iter().zip(types).enumerate().map(|(index, (expr, ty))| {
        let position = binder.position(expr);
        let scalar = binder.expr(expr)?;
        let given = scalar.ty();
        binder.assign(scalar, *ty, position)?.ok_or_else(|| {
            let number = index + 1;
            let message =
                format!("parameter ${number} of type {} cannot be coerced to the expected type {}", given.ty, ty.ty);
            SqlError::new(kalamdb_commons::SqlState::DATATYPE_MISMATCH, message)
                .with_hint("You will need to rewrite or cast the expression.")
                .at(position)
        })
    });
    let bound = bound.collect::<Result<Vec<_>>>()?;
    binder.no_parameters()?;
    Ok(bound)
}

/// Binds the target of COPY … FROM: an empty list of columns means all.
///
/// # Errors
/// 42P01, 42703, 42701.
pub fn bind_copy(
    name: &Name,
    columns: &[String],
    condition: Option<&ast::Expr>,
    text: &str,
    names: &dyn Names,
) -> Result<BoundCopy> {
    Binder::new(text, &[], names).copy(name, columns, condition)
}

/// A place in the statement's text: characters from 1.
pub(crate) type Position = Option<usize>;

/// What one statement's binding gathers.
pub(crate) struct Binder<'a> {
    names: &'a dyn Names,
    text: &'a str,
    /// How many characters stand before each line: long lists of values ask for many places.
    lines: std::cell::OnceCell<Vec<usize>>,
    next_col: u32,
    next_work: u32,
    needs: Vec<Need>,
    /// The queries of WITH that are carried out by themselves, as far as they are bound.
    steps: Vec<Step>,
    params: Params,
    /// The queries around the place being bound, outermost first.
    levels: Vec<Level>,
    /// What a column is called in errors: its relation and its name.
    labels: HashMap<ColId, (String, String)>,
    /// The fields of columns that are row values, as far as they are known.
    records: HashMap<ColId, record::Shape>,
    /// Where whole rows of which relations were named, for the name in 42803.
    whole_rows: HashMap<usize, String>,
    /// The columns that were named.
    seen: view::Seen,
    /// The relations that were named, with the numbers of their columns.
    named: Vec<(TableId, Vec<(ColumnId, ColId)>)>,
    /// The views around, whose queries are being bound.
    expanding: Vec<TableId>,
    /// By whose rights the needs are judged: inside a view, its owner's.
    judged_as: Option<UserId>,
}

fn line_starts(text: &str) -> Vec<usize> {
    let breaks = text.chars().enumerate().filter(|(_, ch)| *ch == '\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(breaks).collect()
}

/// Where an expression begins. A span is the union of all spans inside, and a chain would be walked at each level.
fn expr_start(expr: &ast::Expr) -> sqlparser::tokenizer::Location {
    let mut first = expr;
    while let ast::Expr::BinaryOp { left, .. } = first {
        first = left;
    }
    match first.span().start {
        start if start.line == 0 => expr.span().start,
        start => start,
    }
}

impl<'a> Binder<'a> {
    fn new(text: &'a str, declared: &[Option<SqlType>], names: &'a dyn Names) -> Self {
        Binder {
            names,
            text,
            lines: std::cell::OnceCell::new(),
            next_col: 0,
            next_work: 0,
            needs: Vec::new(),
            steps: Vec::new(),
            params: Params::new(declared),
            levels: Vec::new(),
            labels: HashMap::new(),
            records: HashMap::new(),
            whole_rows: HashMap::new(),
            seen: view::Seen::new(),
            named: Vec::new(),
            expanding: Vec::new(),
            judged_as: None,
        }
    }

    /// A new column.
    fn col(&mut self, ty: PgType, nullable: bool) -> Col {
        self.next_col += 1;
        Col { id: ColId(self.next_col), ty, nullable }
    }

    fn position(&self, node: &(impl Spanned + 'static)) -> Position {
        let expr = (node as &dyn std::any::Any).downcast_ref::<ast::Expr>();
        self.location(expr.map_or_else(|| node.span().start, expr_start))
    }

    fn ident_position(&self, ident: &ast::Ident) -> Position {
        self.location(ident.span.start)
    }

    /// A stored default's tree has places in its own text, which nobody sees.
    fn location(&self, start: sqlparser::tokenizer::Location) -> Position {
        if start.line == 0 || start.column == 0 || self.text.is_empty() {
            return None;
        }
        let lines = self.lines.get_or_init(|| line_starts(self.text));
        let before = lines.get(usize::try_from(start.line - 1).ok()?)?;
        Some(before + usize::try_from(start.column).ok()?)
    }

    fn need(&mut self, shape: &RelationShape, action: bound::Action) -> NeedId {
        self.needs.push(Need {
            table: shape.table,
            schema_version: shape.schema_version,
            action,
            columns: Default::default(),
            with_deleted: false,
            judged_as: self.judged_as,
        });
        NeedId(self.needs.len() - 1)
    }

    /// The innermost query's scope.
    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::new(Clause::Select));
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    /// Runs `f` with another clause in force.
    fn within<T>(&mut self, clause: Clause, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = std::mem::replace(&mut self.level().clause, clause);
        let result = f(self);
        self.level().clause = before;
        result
    }

    fn statement(&mut self, statement: &Statement) -> Result<(BoundKind, Vec<Output>)> {
        match statement {
            Statement::Query(query) => self.statement_query(query),
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete { delete, purge } => self.delete(delete, *purge),
            Statement::With { with, change } => {
                self.levels.push(Level::new(Clause::Select));
                self.with_clause(with)?;
                let bound = self.statement(change)?;
                self.levels.pop();
                Ok(bound)
            }
            _ => Err(SqlError::unsupported("binding of such a statement")),
        }
    }

    fn statement_query(&mut self, query: &ast::Query) -> Result<(BoundKind, Vec<Output>)> {
        let derived = self.query(query, true)?;
        let outputs = derived.columns.iter().map(|column| column.output()).collect();
        Ok((BoundKind::Query(derived.rel), outputs))
    }

    fn finish(mut self, mut kind: BoundKind, outputs: Vec<Output>) -> Result<Bound> {
        self.params.check_tree(&kind)?;
        for step in &self.steps {
            self.params.check_tree(&step.kind)?;
        }
        let parameters = self.params.finish()?;
        step::inline(&mut kind, &mut self.steps);
        step::mark_read(&kind, &mut self.steps);
        prune::prune(&mut kind, &outputs, &mut self.needs);
        for step in &mut self.steps {
            prune::prune(&mut step.kind, &step.outputs, &mut self.needs);
        }
        Ok(Bound { kind, parameters, outputs, needs: self.needs, steps: self.steps })
    }

    fn no_parameters(&self) -> Result<()> {
        match self.params.first() {
            Some(number) => Err(param::absent(number)),
            None => Ok(()),
        }
    }
}
