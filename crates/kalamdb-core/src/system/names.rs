//! Names and definitions by OID and back, as one session sees them: what functions such as `format_type` and casts to
//! `regclass` ask.

use super::binding::stored_query;
use super::relational::{index_definition, quoted};
use super::{constraint, index, relations, shape_of};
use crate::settings::DATABASE_OID;
use kalamdb_auth::Identity;
use kalamdb_auth::authorize::{ObjectFacts, RowAction};
use kalamdb_commons::{NamespaceId, Oid, Result, Role, SqlError, SqlState, TableId, TableType, UserId};
use kalamdb_sql::bind::print_view;
use kalamdb_sql::function::{CatalogNames, PrivilegeObject};
use kalamdb_store::catalog::Named;
use kalamdb_store::{Catalog, Described, Store, TableDef, ViewDef};
use std::sync::Arc;

/// One catalog, one search path, one identity.
#[derive(Clone)]
pub struct CatalogView {
    catalog: Arc<Catalog>,
    path: Vec<String>,
    identity: Arc<Identity>,
    store: Store,
    judge: Judge,
}

/// What clients may call the one database.
const DATABASE_NAMES: [&str; 2] = [crate::settings::DATABASE_NAME, "postgres"];

/// What the rules want to know of a table.
pub(crate) fn facts_of(table: &TableDef, identity: &Identity) -> ObjectFacts {
    ObjectFacts { kind: table.kind, access: table.access, is_owner: table.owner == identity.user, is_granted: false }
}

/// What the rules want to know of a view: it is judged as a SHARED table is.
pub(crate) fn facts_of_view(view: &ViewDef, identity: &Identity) -> ObjectFacts {
    ObjectFacts {
        kind: TableType::Shared,
        access: view.access,
        is_owner: view.owner == identity.user,
        is_granted: false,
    }
}

/// Answers `has_table_privilege`: what `resolve` would decide.
pub type Judge = fn(&Identity, RowAction, &ObjectFacts) -> bool;

impl CatalogView {
    /// As this identity with this search path sees this catalog.
    pub fn new(catalog: Arc<Catalog>, path: Vec<String>, identity: Arc<Identity>, store: Store, judge: Judge) -> Self {
        Self { catalog, path, identity, store, judge }
    }

    /// The definitions.
    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The namespaces that are searched, in order, pg_catalog included; only those that exist.
    pub(super) fn searched(&self) -> Vec<String> {
        let implicit = (!self.path.iter().any(|name| name == "pg_catalog")).then(|| "pg_catalog".to_string());
        let known = self.path.iter().filter(|name| self.catalog.namespace_by_name(name).is_some());
        implicit.into_iter().chain(known.cloned()).collect()
    }

    fn in_namespace(&self, namespace: &str, name: &str) -> Option<Oid> {
        if let Some(shape) = relations().by_name(namespace, name) {
            return Some(shape.table.0);
        }
        let id = self.catalog.namespace_by_name(namespace)?.id;
        self.catalog.relation_by_name(id, name).map(|named| match named {
            Named::Table(id) | Named::View(id) | Named::Sequence(id) => id.0,
            Named::Index(_, index) => index,
        })
    }

    /// A relation's (or index's) namespace and name.
    fn place(&self, oid: Oid) -> Option<(String, String)> {
        if let Some(shape) = shape_of(TableId(oid)) {
            return Some((shape.namespace.to_string(), shape.name.to_string()));
        }
        if let Some(table) = self.catalog.table(TableId(oid)) {
            return Some((self.namespace(table.namespace)?, table.name.to_string()));
        }
        if let Some(view) = self.catalog.view(TableId(oid)) {
            return Some((self.namespace(view.namespace)?, view.name.to_string()));
        }
        let table = self.catalog.table_of_part(oid)?;
        let (name, _) = table.index_names().find(|(_, id)| *id == oid)?;
        Some((self.namespace(table.namespace)?, name.to_string()))
    }

    fn namespace(&self, id: NamespaceId) -> Option<String> {
        self.catalog.namespace(id).map(|namespace| namespace.name.to_string())
    }

    /// Whether the session may know a table's size: one that is partitioned by user has no size of one user's rows.
    fn may_measure(&self, table: &TableDef) -> bool {
        let may_read = (self.judge)(&self.identity, RowAction::Select, &facts_of(table, &self.identity));
        self.identity.role >= Role::Dba || !table.is_per_user() && may_read
    }

    fn may(&self, user: Oid, of: impl Fn(&Identity) -> ObjectFacts, privilege: &str) -> Result<bool> {
        let identity = match self.catalog.user(UserId(user)) {
            Some(_) if user == self.identity.user.0 => (*self.identity).clone(),
            Some(user) => Identity { user: user.id, name: user.name.clone(), role: user.role },
            None => return Ok(false),
        };
        let facts = of(&identity);
        let mut granted = false;
        for word in privilege.split(',').map(|word| word.trim().to_ascii_uppercase()) {
            let action = match word.trim_end_matches(" WITH GRANT OPTION") {
                "SELECT" => RowAction::Select,
                "INSERT" => RowAction::Insert,
                "UPDATE" => RowAction::Update,
                "DELETE" => RowAction::Delete,
                "TRUNCATE" => RowAction::Truncate,
                "REFERENCES" | "TRIGGER" => continue,
                _ => {
                    return Err(SqlError::new(
                        SqlState::INVALID_PARAMETER_VALUE,
                        format!("unrecognized privilege type: \"{privilege}\""),
                    ));
                }
            };
            granted |= (self.judge)(&identity, action, &facts);
        }
        Ok(granted)
    }
}

impl CatalogNames for CatalogView {
    fn relation_by_name(&self, parts: &[String]) -> Option<TableId> {
        let oid = match parts {
            [name] => self.searched().iter().find_map(|namespace| self.in_namespace(namespace, name)),
            [namespace, name] | [_, namespace, name] => self.in_namespace(namespace, name),
            _ => None,
        };
        oid.map(TableId)
    }

    fn relation_name(&self, oid: Oid) -> Option<String> {
        let (namespace, name) = self.place(oid)?;
        Some(match self.relation_is_visible(oid) {
            Some(true) => quoted(&name),
            _ => format!("{}.{}", quoted(&namespace), quoted(&name)),
        })
    }

    fn namespace_by_name(&self, name: &str) -> Option<Oid> {
        self.catalog.namespace_by_name(name).map(|namespace| namespace.id.0)
    }

    fn namespace_name(&self, oid: Oid) -> Option<String> {
        self.namespace(NamespaceId(oid))
    }

    fn database_by_name(&self, name: &str) -> Option<Oid> {
        DATABASE_NAMES.contains(&name).then_some(DATABASE_OID)
    }

    fn database_size(&self, oid: Oid) -> Option<i64> {
        let of_table = |table: &TableDef| {
            let indexes: u64 = table.indexes.iter().map(|index| self.store.index_bytes(table.id, index.id)).sum();
            self.store.segment_bytes(table.id) + indexes
        };
        let bytes: u64 = self.catalog.tables().map(|table| of_table(table)).sum();
        (oid == DATABASE_OID).then(|| i64::try_from(bytes).unwrap_or(i64::MAX))
    }

    fn column_by_name(&self, relation: Oid, name: &str) -> Option<i16> {
        if let Some(shape) = shape_of(TableId(relation)) {
            let place = shape.columns.iter().position(|(column, ..)| *column == name)?;
            return i16::try_from(place + 1).ok();
        }
        if let Some(view) = self.catalog.view(TableId(relation)) {
            let place = view.columns.iter().position(|column| column.name.as_str() == name)?;
            return i16::try_from(place + 1).ok();
        }
        self.catalog.table(TableId(relation))?.column_by_name(name).map(|column| column.id.0)
    }

    fn has_column(&self, relation: Oid, number: i16) -> bool {
        let within = |count: usize| usize::try_from(number).is_ok_and(|number| (1..=count).contains(&number));
        if let Some(shape) = shape_of(TableId(relation)) {
            return within(shape.columns.len());
        }
        if let Some(view) = self.catalog.view(TableId(relation)) {
            return within(view.columns.len());
        }
        let table = self.catalog.table(TableId(relation));
        table.is_some_and(|table| table.live_columns().any(|column| column.id.0 == number))
    }

    fn role_by_name(&self, name: &str) -> Option<Oid> {
        self.catalog.user_by_name(name).map(|user| user.id.0)
    }

    fn role_name(&self, oid: Oid) -> Option<String> {
        self.catalog.user(UserId(oid)).map(|user| user.name.to_string())
    }

    fn relation_is_visible(&self, oid: Oid) -> Option<bool> {
        let (_, name) = self.place(oid)?;
        Some(self.relation_by_name(std::slice::from_ref(&name)) == Some(TableId(oid)))
    }

    fn index_definition(&self, oid: Oid, column: i32, pretty: bool) -> Option<String> {
        let table = self.catalog.table_of_part(oid)?;
        let column = usize::try_from(column).unwrap_or(0);
        if let Some(index) = table.index(oid) {
            let namespace = self.namespace(table.namespace)?;
            // The pretty form names the schema only where the search path does not find the table.
            let told = !pretty || self.relation_is_visible(table.id.0) != Some(true);
            return index::definition(told.then_some(namespace.as_str()), table, index, column, pretty);
        }
        let key = table.primary_key.as_ref().filter(|key| key.index == oid)?;
        match column {
            0 => Some(index_definition(&self.namespace(table.namespace)?, table, key)),
            column => {
                let column = key.columns.get(column - 1).and_then(|id| table.column(*id));
                Some(column.map(|column| quoted(column.name.as_str())).unwrap_or_default())
            }
        }
    }

    fn constraint_definition(&self, oid: Oid, pretty: bool) -> Option<String> {
        let table = self.catalog.table_of_part(oid)?;
        let parent = |id: TableId| Some((self.relation_name(id.0)?, self.catalog.table(id)?.clone()));
        constraint::definition(table, oid, pretty, &parent)
    }

    fn view_definition(&self, oid: Oid, pretty: bool) -> Option<String> {
        let view = self.catalog.view(TableId(oid))?;
        let columns: Vec<String> = view.columns.iter().map(|column| column.name.to_string()).collect();
        let printed = print_view(&stored_query(view), &columns, pretty, self);
        // What cannot be printed yet is shown as it was written.
        Some(printed.unwrap_or_else(|_| format!(" {};", view.query)))
    }

    fn description(&self, oid: Oid, catalog: &str, column: i32) -> Option<String> {
        if catalog == "pg_namespace" {
            let namespace = self.catalog.namespace(NamespaceId(oid)).filter(|_| column == 0)?;
            return namespace.description.clone();
        }
        let class = relations().by_name("pg_catalog", catalog)?.table.0;
        let about = Described { object: oid, class, column: i16::try_from(column).ok()? };
        self.catalog.comment(about).map(|text| text.to_string())
    }

    fn relation_size(&self, oid: Oid) -> Option<i64> {
        let table = self.catalog.table(TableId(oid));
        match table {
            Some(table) if self.may_measure(table) => {
                Some(i64::try_from(self.store.segment_bytes(table.id)).unwrap_or(i64::MAX))
            }
            Some(_) => None,
            None => match self.catalog.table_of_part(oid) {
                Some(table) if !self.may_measure(table) => None,
                Some(table) if table.index(oid).is_some() => {
                    Some(i64::try_from(self.store.index_bytes(table.id, oid)).unwrap_or(i64::MAX))
                }
                _ => self.place(oid).map(|_| 0),
            },
        }
    }

    fn has_privilege(&self, user: Oid, object: PrivilegeObject, privilege: &str) -> Result<Option<bool>> {
        match object {
            PrivilegeObject::Relation(oid) | PrivilegeObject::Column(oid, _) => {
                if shape_of(TableId(oid)).is_some() {
                    return Ok(Some(privilege.to_ascii_uppercase().contains("SELECT")));
                }
                if let Some(view) = self.catalog.view(TableId(oid)) {
                    return self.may(user, |identity| facts_of_view(view, identity), privilege).map(Some);
                }
                match self.catalog.table(TableId(oid)) {
                    Some(table) => self.may(user, |identity| facts_of(table, identity), privilege).map(Some),
                    None => Ok(None),
                }
            }
            PrivilegeObject::Namespace(oid) => match self.catalog.namespace(NamespaceId(oid)) {
                Some(namespace) => {
                    let usage = privilege.to_ascii_uppercase().contains("USAGE");
                    let role = self.catalog.user(UserId(user)).map(|user| user.role);
                    let owns = namespace.owner.0 == user || role >= Some(Role::Dba);
                    Ok(Some(usage || owns))
                }
                None => Ok(None),
            },
            PrivilegeObject::Database => Ok(Some(!privilege.to_ascii_uppercase().contains("CREATE"))),
        }
    }

    fn search_path(&self, include_implicit: bool) -> Vec<String> {
        let searched = self.searched();
        let named = self.path.iter().any(|name| name == "pg_catalog");
        searched.into_iter().filter(|name| include_implicit || named || name != "pg_catalog").collect()
    }
}
