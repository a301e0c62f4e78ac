//! Relations in the binder's words: what a name means on a search path, tables' and views' shapes.

use super::names::CatalogView;
use super::{relations, sequence};
use crate::settings;
use kalamdb_commons::{ColumnId, NamespaceId, Result, SqlType, TableId};
use kalamdb_sql::bind::{
    ColumnShape, Names, RelationKind, RelationShape, SeenConstant, SeenRelation, StoredQuery, UniqueShape, ValueSource,
};
use kalamdb_sql::function::CatalogNames;
use kalamdb_sql::types::Style;
use kalamdb_store::catalog::Named;
use kalamdb_store::{ColumnDef, Identity, IndexKeyPart, TableDef, Use, ViewDef};
use std::sync::{Arc, LazyLock};

static PLAIN: LazyLock<Style> = LazyLock::new(Style::default);

impl CatalogView {
    /// The relation that a name means in a namespace.
    fn shape_in(&self, namespace: &str, name: &str) -> Option<RelationShape> {
        if let Some(shape) = relations().by_name(namespace, name) {
            return Some(shape.clone());
        }
        let namespace = self.catalog().namespace_by_name(namespace)?;
        match self.catalog().relation_by_name(namespace.id, name)? {
            Named::Table(id) => Some(shape_of(self.catalog().table(id)?, namespace.name.as_str())),
            Named::View(id) => Some(view_shape(self.catalog().view(id)?, namespace.name.as_str())),
            Named::Sequence(id) => Some(sequence::shape_of(self.catalog().sequence(id)?, namespace.name.as_str())),
            Named::Index(..) => None,
        }
    }
}

/// Constants are read by PostgreSQL's defaults: for what is printed.
impl Names for CatalogView {
    fn relation(&self, namespace: Option<&str>, name: &str) -> Result<Option<RelationShape>> {
        if let Some(namespace) = namespace {
            return Ok(self.shape_in(namespace, name));
        }
        Ok(self.searched().iter().find_map(|namespace| self.shape_in(namespace, name)))
    }

    fn relation_by_id(&self, id: TableId) -> Option<RelationShape> {
        if let Some(shape) = relations().by_oid(id) {
            return Some(shape.clone());
        }
        let space = |id: NamespaceId| self.catalog().namespace(id).map(|space| space.name.to_string());
        if let Some(table) = self.catalog().table(id) {
            return Some(shape_of(table, &space(table.namespace)?));
        }
        if let Some(view) = self.catalog().view(id) {
            return Some(view_shape(view, &space(view.namespace)?));
        }
        let def = self.catalog().sequence(id)?;
        Some(sequence::shape_of(def, &space(def.namespace)?))
    }

    fn namespace(&self, name: &str) -> Option<NamespaceId> {
        self.catalog().namespace_by_name(name).map(|namespace| namespace.id)
    }

    fn style(&self) -> &Style {
        &PLAIN
    }

    fn catalog(&self) -> &dyn CatalogNames {
        self
    }
}

/// The default of an IDENTITY column: its sequence's next value.
pub fn default_of(identity: &Identity) -> String {
    format!("nextval('{}'::regclass)", identity.sequence)
}

/// A table in the binder's words.
pub fn shape_of(table: &TableDef, namespace: &str) -> RelationShape {
    let column = |column: &ColumnDef| ColumnShape {
        id: column.id,
        name: column.name.to_string(),
        ty: column.ty,
        not_null: column.not_null,
        default: match &column.identity {
            Some(identity) => Some(default_of(identity)),
            None => column.default.clone(),
        },
        domain: column.domain,
        source: match column {
            ColumnDef { generated: Some(_), .. } => ValueSource::Generated,
            ColumnDef { identity: Some(identity), .. } if identity.always => ValueSource::AlwaysIdentity,
            ColumnDef { identity: Some(_), .. } => ValueSource::Identity,
            _ => ValueSource::Given,
        },
    };
    let key = |key: &kalamdb_store::KeyDef| (key.name.clone(), key.columns.clone());
    let primary_key: Option<(String, Vec<ColumnId>)> = table.primary_key.as_ref().map(key);
    RelationShape {
        table: table.id,
        namespace: namespace.to_string(),
        name: table.name.to_string(),
        schema_version: table.schema_version,
        kind: RelationKind::Table(table.kind),
        columns: table.live_columns().map(column).collect(),
        primary_key,
        uniques: table.indexes.iter().filter(|index| index.unique).map(unique_shape).collect(),
        view: None,
    }
}

fn unique_shape(index: &kalamdb_store::IndexDef) -> UniqueShape {
    let (mut columns, mut expressions) = (Vec::new(), Vec::new());
    for key in &index.keys {
        match &key.what {
            IndexKeyPart::Column(id) => columns.push(*id),
            IndexKeyPart::Expression { text, .. } => expressions.push(text.clone()),
        }
    }
    let constraint = index.constraint.map(|_| index.name.clone());
    UniqueShape { id: index.id, constraint, columns, expressions, predicate: index.predicate.clone() }
}

/// A view in the binder's words.
pub fn view_shape(view: &ViewDef, namespace: &str) -> RelationShape {
    let column = |(at, column): (usize, &kalamdb_store::ViewColumn)| ColumnShape {
        id: ColumnId(at as i16 + 1),
        name: column.name.to_string(),
        ty: column.ty,
        not_null: false,
        default: None,
        domain: view.domain_of(ColumnId(at as i16 + 1)),
        source: ValueSource::Given,
    };
    RelationShape {
        table: view.id,
        namespace: namespace.to_string(),
        name: view.name.to_string(),
        schema_version: view.schema_version,
        kind: RelationKind::View,
        columns: view.columns.iter().enumerate().map(column).collect(),
        primary_key: None,
        uniques: Vec::new(),
        view: Some(Arc::new(stored_query(view))),
    }
}

/// A view's query in the binder's words.
pub fn stored_query(view: &ViewDef) -> StoredQuery {
    let seen = |seen: &kalamdb_store::SeenName| SeenRelation {
        namespace: seen.namespace.clone(),
        name: seen.name.clone(),
        relation: seen.relation,
        columns: seen.columns.clone(),
    };
    let type_named = |using: &Use| match using {
        Use::TypeNamed { parts, ty } => Some((parts.clone(), *ty)),
        _ => None,
    };
    let constant = |using: &Use| match using {
        Use::Constant { text, ty, value } => {
            Some(SeenConstant { text: text.clone(), ty: SqlType::from_stored(*ty)?, value: *value })
        }
        _ => None,
    };
    StoredQuery {
        text: view.query.clone(),
        names: view.names.iter().map(seen).collect(),
        types: view.uses.iter().filter_map(type_named).collect(),
        constants: view.uses.iter().filter_map(constant).collect(),
        style: settings::style_of(&view.settings),
        owner: (!is_invoker(view)).then_some(view.owner),
    }
}

/// Whether a view reads by the rights of who asks (`security_invoker`).
pub fn is_invoker(view: &ViewDef) -> bool {
    let value = view.options.iter().find_map(|option| option.strip_prefix("security_invoker="));
    value.is_some_and(|value| matches!(value, "true" | "on" | "yes" | "1"))
}
