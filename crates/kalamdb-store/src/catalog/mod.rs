//! The catalog: every definition, as one immutable value with structural sharing.
//!
//! A reader holds an `Arc` of it and looks things up without a lock; a change makes a new value that shares all but a
//! few nodes with the old one. Four namespaces are there from the start, three of them in code only.

pub mod stored;

use crate::definition::{Change, NamespaceDef, TableDef, UserDef};
use imbl::HashMap;
use kalamdb_commons::ids::{INFORMATION_SCHEMA, PG_CATALOG, PUBLIC, ROOT, SYSTEM};
use kalamdb_commons::{NamespaceId, NamespaceName, TableId, TableName, UserId, UserName};
use std::sync::Arc;

/// Every definition at one moment.
#[derive(Clone, Default)]
pub struct Catalog {
    version: u64,
    namespaces: HashMap<NamespaceId, Arc<NamespaceDef>>,
    namespace_names: HashMap<NamespaceName, NamespaceId>,
    tables: HashMap<TableId, Arc<TableDef>>,
    /// By namespace first, so that a look-up needs no key to be made and a namespace's tables are together.
    table_names: HashMap<NamespaceId, HashMap<TableName, TableId>>,
    users: HashMap<UserId, Arc<UserDef>>,
    /// Users that were not dropped: a dropped one's name can be given again.
    user_names: HashMap<UserName, UserId>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog")
            .field("version", &self.version)
            .field("tables", &self.tables.len())
            .finish_non_exhaustive()
    }
}

/// The namespaces that are made by code, not by rows.
const BUILT_IN: [(NamespaceId, &str, &str); 3] = [
    (PG_CATALOG, "pg_catalog", "system catalog schema"),
    (INFORMATION_SCHEMA, "information_schema", "the standard's view of the catalog"),
    (SYSTEM, "system", "what the server knows about itself"),
];

/// The namespace `public`, as a new data directory has it.
pub fn public(created_at: i64) -> NamespaceDef {
    NamespaceDef {
        id: PUBLIC,
        name: NamespaceName::from("public"),
        owner: ROOT,
        description: Some("standard public schema".to_string()),
        created_at,
    }
}

impl Catalog {
    /// The catalog of an empty data directory, without `public`.
    pub fn built_in() -> Self {
        let mut catalog = Self::default();
        for (id, name, description) in BUILT_IN {
            catalog.put_namespace(NamespaceDef {
                id,
                name: NamespaceName::from(name),
                owner: ROOT,
                description: Some(description.to_string()),
                created_at: 0,
            });
        }
        catalog
    }

    /// Rises with each change. Within one server's life equal numbers of published catalogs mean equal content.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A namespace by its id.
    pub fn namespace(&self, id: NamespaceId) -> Option<&Arc<NamespaceDef>> {
        self.namespaces.get(&id)
    }
    /// A namespace by its name.
    pub fn namespace_by_name(&self, name: &str) -> Option<&Arc<NamespaceDef>> {
        self.namespaces.get(self.namespace_names.get(name)?)
    }
    /// All namespaces, in no order.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<NamespaceDef>> {
        self.namespaces.values()
    }
    /// A table by its id.
    pub fn table(&self, id: TableId) -> Option<&Arc<TableDef>> {
        self.tables.get(&id)
    }
    /// A table by its name.
    pub fn table_by_name(&self, namespace: NamespaceId, name: &str) -> Option<&Arc<TableDef>> {
        self.tables.get(self.table_names.get(&namespace)?.get(name)?)
    }
    /// All tables, in no order.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableDef>> {
        self.tables.values()
    }
    /// The tables of a namespace, in no order.
    pub fn tables_of(&self, namespace: NamespaceId) -> impl Iterator<Item = &Arc<TableDef>> {
        let names = self.table_names.get(&namespace).into_iter().flat_map(|names| names.values());
        names.filter_map(|id| self.tables.get(id))
    }
    /// A user by its id, dropped ones too.
    pub fn user(&self, id: UserId) -> Option<&Arc<UserDef>> {
        self.users.get(&id)
    }
    /// A user by its name; dropped ones have none.
    pub fn user_by_name(&self, name: &str) -> Option<&Arc<UserDef>> {
        self.users.get(self.user_names.get(name)?)
    }
    /// All users, dropped ones too, in no order.
    pub fn users(&self) -> impl Iterator<Item = &Arc<UserDef>> {
        self.users.values()
    }

    /// The catalog with these changes.
    pub fn with<'a>(&self, changes: impl IntoIterator<Item = &'a Change>) -> Self {
        let mut catalog = self.clone();
        for change in changes {
            catalog.apply(change);
        }
        catalog
    }

    /// Makes one change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::PutNamespace(def) => self.put_namespace(def.clone()),
            Change::DropNamespace(id) => {
                if let Some(def) = self.namespaces.remove(id) {
                    self.namespace_names.remove(&def.name);
                    self.table_names.remove(id);
                }
            }
            Change::PutTable(def) => self.put_table(def.clone()),
            Change::DropTable(id) => {
                if let Some(def) = self.tables.remove(id) {
                    self.forget_name(&def);
                }
            }
            Change::TruncateTable(_) => {}
            Change::PutUser(def) => self.put_user(def.clone()),
        }
        self.version += 1;
    }

    fn put_namespace(&mut self, def: NamespaceDef) {
        if let Some(old) = self.namespaces.get(&def.id) {
            self.namespace_names.remove(&old.name);
        }
        self.namespace_names.insert(def.name.clone(), def.id);
        self.namespaces.insert(def.id, Arc::new(def));
    }

    fn put_table(&mut self, def: TableDef) {
        if let Some(old) = self.tables.get(&def.id).cloned() {
            self.forget_name(&old);
        }
        self.table_names.entry(def.namespace).or_default().insert(def.name.clone(), def.id);
        self.tables.insert(def.id, Arc::new(def));
    }

    fn forget_name(&mut self, def: &TableDef) {
        if let Some(names) = self.table_names.get_mut(&def.namespace) {
            names.remove(&def.name);
        }
    }

    fn put_user(&mut self, def: UserDef) {
        if let Some(old) = self.users.get(&def.id) {
            if self.user_names.get(&old.name) == Some(&def.id) {
                self.user_names.remove(&old.name);
            }
        }
        if def.deleted_at.is_none() {
            self.user_names.insert(def.name.clone(), def.id);
        }
        self.users.insert(def.id, Arc::new(def));
    }
}
