//! Views: a stored query stands in FROM as a subquery does, and its names mean what they meant when it was stored.
//!
//! With the text the catalog keeps which relation each name meant, with the columns and their names of then. So no
//! rename changes a view, `SELECT *` is what it was, and a relation of the same name that comes later is another one.

use super::bound::{BoundKind, ColId, Need};
use super::deparse::Printer;
use super::from::Part;
use super::scope::{Item, ItemColumn, Visible};
use super::{Binder, ColumnShape, Names, Position, RelationKind, RelationShape};
use crate::function::{CatalogNames, UserType};
use crate::parse;
use crate::types::{self, Style};
use kalamdb_commons::{
    ColumnId, Datum, NamespaceId, Oid, PgType, Result, SqlError, SqlState, SqlType, TableId, UserId,
};
use sqlparser::ast;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// A view's query as it is kept.
#[derive(Debug, Clone)]
pub struct StoredQuery {
    /// Its text.
    pub text: String,
    /// What its names mean.
    pub names: Vec<SeenRelation>,
    /// What the names of users' types in it mean.
    pub types: Vec<(Vec<String>, Oid)>,
    /// What the constants in it mean that the catalog gave a meaning.
    pub constants: Vec<SeenConstant>,
    /// How its constants are read.
    pub style: Style,
    /// By whose rights it reads; `None`: by the asker's.
    pub owner: Option<UserId>,
}

/// What a relation's name meant when a query was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenRelation {
    /// The namespace, where it was written.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// What it meant.
    pub relation: TableId,
    /// The columns that were there, with the names that they had.
    pub columns: Vec<(ColumnId, String)>,
}

/// What a constant meant when a query was stored: an enum's label, `'name'::regclass` and kin.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenConstant {
    /// Its text.
    pub text: String,
    /// Its type.
    pub ty: SqlType,
    /// A label's rank, or an OID.
    pub value: i64,
}

/// A query that is to be stored.
#[derive(Debug, Clone)]
pub struct QueryToStore {
    /// The names and types of its columns.
    pub columns: Vec<(String, PgType)>,
    /// The domains that its columns are of, in the columns' order.
    pub domains: Vec<Option<Oid>>,
    /// What its names mean.
    pub names: Vec<SeenRelation>,
    /// What the names of users' types in it mean.
    pub types: Vec<(Vec<String>, Oid)>,
    /// What the constants in it mean that the catalog gave a meaning.
    pub constants: Vec<SeenConstant>,
    /// The columns that it names, `*` included.
    pub used: Vec<(TableId, ColumnId)>,
    /// What it reads.
    pub needs: Vec<Need>,
}

/// Reads a query that becomes a view.
///
/// # Errors
/// The binder's; 42P02 for parameters.
pub fn bind_view(query: &ast::Query, text: &str, names: &dyn Names) -> Result<QueryToStore> {
    let recorder =
        Recorder { inner: names, seen: RefCell::default(), types: RefCell::default(), constants: RefCell::default() };
    let mut binder = Binder::new(text, &[], &recorder);
    let derived = binder.query(query, true)?;
    binder.no_parameters()?;
    if binder.steps.iter().any(|step| !matches!(step.kind, BoundKind::Query(_))) {
        let message = "views must not contain data-modifying statements in WITH";
        return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    let columns = derived.columns.iter().map(|column| (column.name.clone(), column.col.ty)).collect();
    let domain = |column: &ItemColumn| {
        let (relation, id) = column.origin?;
        names.relation_by_id(relation)?.columns.iter().find(|column| column.id == id)?.domain
    };
    let domains = derived.columns.iter().map(domain).collect();
    let mut used: Vec<(TableId, ColumnId)> = Vec::new();
    for (table, named) in &binder.named {
        used.extend(named.iter().filter(|(_, col)| binder.seen.contains(col)).map(|(id, _)| (*table, *id)));
    }
    let needs = std::mem::take(&mut binder.needs);
    used.sort_unstable_by_key(|(table, column)| (table.0, column.0));
    used.dedup();
    Ok(QueryToStore {
        columns,
        domains,
        names: recorder.seen.into_inner(),
        types: recorder.types.into_inner(),
        constants: recorder.constants.into_inner(),
        used,
        needs,
    })
}

/// A stored query as PostgreSQL prints it (`pg_get_viewdef`), with the relations' and columns' names of now. `columns`
/// are the view's own names.
///
/// # Errors
/// The binder's; 0A000 for what cannot be printed yet.
pub fn print_view(stored: &StoredQuery, columns: &[String], pretty: bool, names: &dyn Names) -> Result<String> {
    let query = parse::stored_query(&stored.text)?;
    let known = StoredNames { inner: names, stored };
    let mut binder = Binder::new("", &[], &known);
    Printer::of_query(&mut binder, pretty).view(&query, columns)
}

/// Remembers what was asked.
struct Recorder<'n> {
    inner: &'n dyn Names,
    seen: RefCell<Vec<SeenRelation>>,
    types: RefCell<Vec<(Vec<String>, Oid)>>,
    constants: RefCell<Vec<SeenConstant>>,
}

impl Names for Recorder<'_> {
    fn relation(&self, namespace: Option<&str>, name: &str) -> Result<Option<RelationShape>> {
        let found = self.inner.relation(namespace, name)?;
        if let Some(shape) = &found {
            let mut seen = self.seen.borrow_mut();
            if !seen.iter().any(|other| other.namespace.as_deref() == namespace && other.name == name) {
                seen.push(SeenRelation {
                    namespace: namespace.map(str::to_owned),
                    name: name.to_owned(),
                    relation: shape.table,
                    columns: shape.columns.iter().map(|column| (column.id, column.name.clone())).collect(),
                });
            }
        }
        Ok(found)
    }

    fn relation_by_id(&self, id: TableId) -> Option<RelationShape> {
        self.inner.relation_by_id(id)
    }

    fn namespace(&self, name: &str) -> Option<NamespaceId> {
        self.inner.namespace(name)
    }

    fn style(&self) -> &Style {
        self.inner.style()
    }

    fn catalog(&self) -> &dyn CatalogNames {
        self.inner.catalog()
    }

    fn user_type(&self, parts: &[String]) -> Option<UserType> {
        let found = self.inner.user_type(parts)?;
        let mut types = self.types.borrow_mut();
        if !types.iter().any(|(other, _)| other == parts) {
            types.push((parts.to_vec(), found.oid));
        }
        Some(found)
    }

    fn constant(&self, text: &str, ty: PgType) -> Result<Datum> {
        let datum = self.inner.constant(text, ty)?;
        let value = match (&datum, ty.ty) {
            (Datum::Int8(rank), SqlType::Enum(_)) => Some(*rank),
            (Datum::Oid(oid), SqlType::Regclass | SqlType::Regtype) => Some(i64::from(*oid)),
            _ => None,
        };
        if let Some(value) = value.filter(|_| stored_constant(&self.constants.borrow(), text, ty.ty).is_none()) {
            self.constants.borrow_mut().push(SeenConstant { text: text.to_owned(), ty: ty.ty, value });
        }
        Ok(datum)
    }
}

/// What a constant meant, if it is among these.
fn stored_constant(constants: &[SeenConstant], text: &str, ty: SqlType) -> Option<i64> {
    constants.iter().find(|seen| seen.ty == ty && seen.text == text).map(|seen| seen.value)
}

/// What names meant when a query was stored.
struct StoredNames<'n> {
    inner: &'n dyn Names,
    stored: &'n StoredQuery,
}

impl Names for StoredNames<'_> {
    fn relation(&self, namespace: Option<&str>, name: &str) -> Result<Option<RelationShape>> {
        let mut seen = self.stored.names.iter();
        let Some(seen) = seen.find(|seen| seen.namespace.as_deref() == namespace && seen.name == name) else {
            return Ok(None);
        };
        let Some(mut shape) = self.inner.relation_by_id(seen.relation) else { return Ok(None) };
        let now = std::mem::take(&mut shape.columns);
        shape.name.clone_from(&seen.name);
        if let Some(namespace) = namespace {
            namespace.clone_into(&mut shape.namespace);
        }
        shape.columns = seen
            .columns
            .iter()
            .filter_map(|(id, name)| {
                let column = now.iter().find(|column| column.id == *id)?;
                Some(ColumnShape { name: name.clone(), ..column.clone() })
            })
            .collect();
        Ok(Some(shape))
    }

    fn relation_by_id(&self, id: TableId) -> Option<RelationShape> {
        self.inner.relation_by_id(id)
    }

    fn namespace(&self, name: &str) -> Option<NamespaceId> {
        self.inner.namespace(name)
    }

    fn style(&self) -> &Style {
        &self.stored.style
    }

    fn catalog(&self) -> &dyn CatalogNames {
        self.inner.catalog()
    }

    fn user_type(&self, parts: &[String]) -> Option<UserType> {
        let meant = self.stored.types.iter().find(|(seen, _)| seen == parts);
        match meant {
            Some((_, oid)) => self.catalog().user_type(&["pg_catalog".to_owned(), oid.to_string()]),
            None => self.catalog().user_type(parts),
        }
    }

    fn constant(&self, text: &str, ty: PgType) -> Result<Datum> {
        match (stored_constant(&self.stored.constants, text, ty.ty), ty.ty) {
            (Some(rank), SqlType::Enum(_)) => Ok(Datum::Int8(rank)),
            (Some(oid), _) => Ok(Datum::Oid(Oid::try_from(oid).unwrap_or_default())),
            (None, _) => types::from_text(text, ty, self.style(), self.catalog()),
        }
    }
}

impl Binder<'_> {
    /// A view in FROM: its query, bound in a scope of its own.
    pub(super) fn view(
        &mut self,
        shape: &RelationShape,
        alias: Option<&ast::TableAlias>,
        position: Position,
    ) -> Result<Part> {
        let stored = shape.view.clone().ok_or_else(|| SqlError::internal("a view without a query"))?;
        if self.expanding.contains(&shape.table) {
            let message = format!("infinite recursion detected in rules for relation \"{}\"", shape.name);
            return Err(SqlError::new(SqlState::INVALID_OBJECT_DEFINITION, message).at(position));
        }
        let need = self.need(shape, super::bound::Action::Select);
        self.needs[need.0].columns = shape.columns.iter().map(|column| column.id).collect();
        let query = parse::stored_query(&stored.text)?;
        let known = StoredNames { inner: self.names, stored: &stored };
        let mut inner = Binder::new("", &[], &known);
        inner.next_col = self.next_col;
        inner.next_work = self.next_work;
        inner.needs = std::mem::take(&mut self.needs);
        inner.labels = std::mem::take(&mut self.labels);
        inner.records = std::mem::take(&mut self.records);
        inner.steps = std::mem::take(&mut self.steps);
        inner.judged_as = stored.owner;
        inner.expanding = std::mem::take(&mut self.expanding);
        inner.expanding.push(shape.table);
        let derived = inner.query(&query, true);
        inner.expanding.pop();
        let Binder { next_col, next_work, needs, labels, records, steps, expanding, .. } = inner;
        self.next_col = next_col;
        self.next_work = next_work;
        self.needs = needs;
        self.labels = labels;
        self.records = records;
        self.steps = steps;
        self.expanding = expanding;
        let derived = derived?;
        // A stored query that names the view may know fewer columns than the view has now.
        let columns = shape.columns.iter().map(|column| {
            let made = usize::try_from(column.id.0 - 1).ok().and_then(|at| derived.columns.get(at));
            let made = made.ok_or_else(|| SqlError::internal("a view without one of its columns"))?;
            Ok(ItemColumn { name: column.name.clone(), col: made.col, origin: Some((shape.table, column.id)) })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let mut item = Item { name: shape.name.clone(), columns, ..Item::default() };
        self.name_relation(
            shape.table,
            item.columns.iter().filter_map(|column| Some((column.origin?.1, column.col.id))),
        );
        match alias {
            Some(alias) => {
                item.name = parse::fold(&alias.name);
                self.rename_columns(&mut item, alias)?;
            }
            None => item.namespace = Some(shape.namespace.clone()),
        }
        self.label(&item);
        Ok(Part { rel: derived.rel, visible: vec![Visible { item: Rc::new(item), columns: true, relation: true }] })
    }

    /// Remembers that the query itself names a relation, for what it depends on.
    pub(super) fn name_relation(&mut self, table: TableId, columns: impl Iterator<Item = (ColumnId, ColId)>) {
        self.named.push((table, columns.collect()));
    }
}

/// What INSERT, UPDATE and DELETE say to a view.
pub(super) fn refuse_view(shape: &RelationShape, verb: &str) -> Result<()> {
    if shape.kind != RelationKind::View {
        return Ok(());
    }
    let (doing, into) = match verb {
        "INSERT" => ("inserting into", "insert into"),
        "UPDATE" => ("updating", "update"),
        _ => ("deleting from", "delete from"),
    };
    Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("cannot {into} view \"{}\"", shape.name))
        .with_detail(format!("{verb} of views is not supported."))
        .with_hint(format!("Write to the table itself instead of {doing} the view.")))
}

/// The columns that a query names.
pub(super) type Seen = HashSet<ColId>;
