//! The catalog: every definition, as one immutable value with structural sharing.
//!
//! A reader holds an `Arc` of it and looks things up without a lock; a change makes a new value that shares all but a
//! few nodes with the old one. Four namespaces are there from the start, three of them in code only.

pub mod stored;
mod version_1;

use crate::definition::{Change, Described, NamespaceDef, SequenceDef, TableDef, TypeDef, TypeKind, UserDef, ViewDef};
use imbl::{HashMap, HashSet, OrdMap};
use kalamdb_commons::ids::{INFORMATION_SCHEMA, PG_CATALOG, PUBLIC, ROOT, SYSTEM};
use kalamdb_commons::{NamespaceId, NamespaceName, Oid, TableId, TableName, UserId, UserName};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every definition at one moment.
#[derive(Clone, Default)]
pub struct Catalog {
    version: u64,
    /// Another number after each change of a type.
    types_version: u64,
    namespaces: HashMap<NamespaceId, Arc<NamespaceDef>>,
    namespace_names: HashMap<NamespaceName, NamespaceId>,
    tables: HashMap<TableId, Arc<TableDef>>,
    views: HashMap<TableId, Arc<ViewDef>>,
    /// Which views a relation is used by.
    viewed: HashMap<TableId, HashSet<TableId>>,
    sequences: HashMap<TableId, Arc<SequenceDef>>,
    /// Tables, views, sequences and indexes share their names. By namespace first, so that a look-up needs no key to
    /// be made and a namespace's relations are together.
    relation_names: HashMap<NamespaceId, HashMap<TableName, Named>>,
    /// Which table an index or a constraint belongs to.
    parts: HashMap<Oid, TableId>,
    /// Which tables have a foreign key to a table, itself included.
    referencing: HashMap<TableId, HashSet<TableId>>,
    types: HashMap<Oid, Arc<TypeDef>>,
    /// The array types over them.
    array_types: HashMap<Oid, Oid>,
    /// The labels of enums.
    labels: HashMap<Oid, Oid>,
    type_names: HashMap<NamespaceId, HashMap<String, Oid>>,
    /// In order, so that the columns' stand behind their relation's.
    comments: OrdMap<Described, Arc<str>>,
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

/// What a relation's name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A table.
    Table(TableId),
    /// A view.
    View(TableId),
    /// A sequence.
    Sequence(TableId),
    /// An index of a table, by its OID.
    Index(TableId, Oid),
}

impl Named {
    /// The OID of what it is.
    pub fn oid(self) -> Oid {
        match self {
            Named::Table(id) | Named::View(id) | Named::Sequence(id) => id.0,
            Named::Index(_, id) => id,
        }
    }
}

/// The next number for [`Catalog::types_version`]: a transaction's own catalog and the published one never share one.
static TYPES_VERSION: AtomicU64 = AtomicU64::new(1);

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

/// The OIDs of a table, its indexes and its constraints.
fn parts_of(def: &TableDef) -> impl Iterator<Item = Oid> {
    std::iter::once(def.id.0).chain(def.index_names().map(|(_, id)| id)).chain(def.constraint_ids())
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

    /// Equal numbers mean that the types are the same, in whatever transaction's catalog.
    pub fn types_version(&self) -> u64 {
        self.types_version
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
    /// The schema version of a table or a view.
    pub fn schema_version(&self, id: TableId) -> Option<u32> {
        let table = self.tables.get(&id).map(|def| def.schema_version);
        table.or_else(|| self.views.get(&id).map(|def| def.schema_version))
    }
    /// What a relation's name means.
    pub fn relation_by_name(&self, namespace: NamespaceId, name: &str) -> Option<Named> {
        self.relation_names.get(&namespace)?.get(name).copied()
    }
    /// All names of relations in a namespace, in no order.
    pub fn relations_of(&self, namespace: NamespaceId) -> impl Iterator<Item = (&TableName, Named)> {
        self.relation_names.get(&namespace).into_iter().flatten().map(|(name, named)| (name, *named))
    }
    /// A table by its name.
    pub fn table_by_name(&self, namespace: NamespaceId, name: &str) -> Option<&Arc<TableDef>> {
        match self.relation_by_name(namespace, name)? {
            Named::Table(id) => self.tables.get(&id),
            _ => None,
        }
    }
    /// All tables, in no order.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableDef>> {
        self.tables.values()
    }
    /// The tables of a namespace, in no order.
    pub fn tables_of(&self, namespace: NamespaceId) -> impl Iterator<Item = &Arc<TableDef>> {
        self.relations_of(namespace).filter_map(|(_, named)| match named {
            Named::Table(id) => self.tables.get(&id),
            _ => None,
        })
    }
    /// The table that an index or a constraint belongs to, by its OID.
    pub fn table_of_part(&self, oid: Oid) -> Option<&Arc<TableDef>> {
        self.tables.get(self.parts.get(&oid)?)
    }
    /// The tables that have a foreign key to this one, itself perhaps among them.
    pub fn referencing(&self, table: TableId) -> impl Iterator<Item = &Arc<TableDef>> {
        let ids = self.referencing.get(&table).into_iter().flatten();
        ids.filter_map(|id| self.tables.get(id))
    }
    /// A view by its id.
    pub fn view(&self, id: TableId) -> Option<&Arc<ViewDef>> {
        self.views.get(&id)
    }
    /// The views whose queries name this relation.
    pub fn views_over(&self, relation: TableId) -> impl Iterator<Item = &Arc<ViewDef>> {
        let ids = self.viewed.get(&relation).into_iter().flatten();
        ids.filter_map(|id| self.views.get(id))
    }
    /// All views, in no order.
    pub fn views(&self) -> impl Iterator<Item = &Arc<ViewDef>> {
        self.views.values()
    }
    /// A sequence by its id.
    pub fn sequence(&self, id: TableId) -> Option<&Arc<SequenceDef>> {
        self.sequences.get(&id)
    }
    /// All sequences, in no order.
    pub fn sequences(&self) -> impl Iterator<Item = &Arc<SequenceDef>> {
        self.sequences.values()
    }
    /// A user's type by its OID.
    pub fn data_type(&self, id: Oid) -> Option<&Arc<TypeDef>> {
        self.types.get(&id)
    }
    /// A user's type by the OID of the array type over it.
    pub fn data_type_of_array(&self, array: Oid) -> Option<&Arc<TypeDef>> {
        self.types.get(self.array_types.get(&array)?)
    }
    /// An enum by the OID of one of its labels.
    pub fn enum_of_label(&self, label: Oid) -> Option<&Arc<TypeDef>> {
        self.types.get(self.labels.get(&label)?)
    }
    /// A user's type by its name.
    pub fn data_type_by_name(&self, namespace: NamespaceId, name: &str) -> Option<&Arc<TypeDef>> {
        self.types.get(self.type_names.get(&namespace)?.get(name)?)
    }
    /// All types that users made, in no order.
    pub fn data_types(&self) -> impl Iterator<Item = &Arc<TypeDef>> {
        self.types.values()
    }
    /// What COMMENT ON said about something.
    pub fn comment(&self, about: Described) -> Option<&Arc<str>> {
        self.comments.get(&about)
    }
    /// All comments, in order.
    pub fn comments(&self) -> impl Iterator<Item = (&Described, &Arc<str>)> {
        self.comments.iter()
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

    /// The comments that go when this change is made: those of what it drops.
    pub fn comments_going_with(&self, change: &Change) -> Vec<Described> {
        let objects: Vec<Oid> = match change {
            Change::DropNamespace(id) => vec![id.0],
            Change::DropTable(id) => self.tables.get(id).map(|def| parts_of(def).collect()).unwrap_or_default(),
            Change::DropView(id) | Change::DropSequence(id) => vec![id.0],
            Change::DropType(id) => vec![*id],
            Change::PutTable(def) => match self.tables.get(&def.id) {
                Some(old) => {
                    let kept: Vec<Oid> = parts_of(def).collect();
                    parts_of(old).filter(|part| !kept.contains(part)).collect()
                }
                None => Vec::new(),
            },
            _ => Vec::new(),
        };
        let of = |object: Oid| {
            // OIDs are never used again, whatever they name.
            let first = Described { object, class: 0, column: i16::MIN };
            let last = Described { object, class: Oid::MAX, column: i16::MAX };
            self.comments.range(first..=last).map(|(about, _)| *about)
        };
        objects.into_iter().flat_map(of).collect()
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
        for about in self.comments_going_with(change) {
            self.comments.remove(&about);
        }
        match change {
            Change::PutNamespace(def) => self.put_namespace(def.clone()),
            Change::DropNamespace(id) => {
                if let Some(def) = self.namespaces.remove(id) {
                    self.namespace_names.remove(&def.name);
                    self.relation_names.remove(id);
                    self.type_names.remove(id);
                }
            }
            Change::PutTable(def) => self.put_table(def.clone()),
            Change::DropTable(id) => {
                if let Some(def) = self.tables.remove(id) {
                    self.forget_parts(&def);
                }
            }
            Change::TruncateTable(_) => {}
            Change::PutUser(def) => self.put_user(def.clone()),
            Change::PutView(def) => {
                if let Some(old) = self.views.get(&def.id).cloned() {
                    self.forget_view(&old);
                }
                self.give_name(def.namespace, def.name.clone(), Named::View(def.id));
                for seen in &def.names {
                    self.viewed.entry(seen.relation).or_default().insert(def.id);
                }
                self.views.insert(def.id, Arc::new(def.clone()));
            }
            Change::DropView(id) => {
                if let Some(def) = self.views.remove(id) {
                    self.forget_view(&def);
                }
            }
            Change::PutSequence(def) => {
                if let Some(old) = self.sequences.get(&def.id).cloned() {
                    self.forget_name(old.namespace, &old.name, Named::Sequence(def.id));
                }
                self.give_name(def.namespace, def.name.clone(), Named::Sequence(def.id));
                self.sequences.insert(def.id, Arc::new(def.clone()));
            }
            Change::DropSequence(id) => {
                if let Some(def) = self.sequences.remove(id) {
                    self.forget_name(def.namespace, &def.name, Named::Sequence(*id));
                }
            }
            Change::PutType(def) => {
                self.types_version = TYPES_VERSION.fetch_add(1, Ordering::Relaxed);
                self.forget_type(def.id);
                self.array_types.insert(def.array, def.id);
                self.type_names.entry(def.namespace).or_default().insert(def.name.clone(), def.id);
                if let TypeKind::Enum(labels) = &def.kind {
                    self.labels.extend(labels.iter().map(|label| (label.id, def.id)));
                }
                self.types.insert(def.id, Arc::new(def.clone()));
            }
            Change::DropType(id) => {
                self.types_version = TYPES_VERSION.fetch_add(1, Ordering::Relaxed);
                self.forget_type(*id);
            }
            Change::Comment(about, Some(text)) => {
                self.comments.insert(*about, text.as_str().into());
            }
            Change::Comment(about, None) => {
                self.comments.remove(about);
            }
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
            self.forget_parts(&old);
        }
        self.give_name(def.namespace, def.name.clone(), Named::Table(def.id));
        for (name, id) in def.index_names() {
            self.give_name(def.namespace, TableName::new(name), Named::Index(def.id, id));
            self.parts.insert(id, def.id);
        }
        self.parts.extend(def.constraint_ids().map(|id| (id, def.id)));
        for key in &def.foreign_keys {
            self.referencing.entry(key.parent).or_default().insert(def.id);
        }
        self.tables.insert(def.id, Arc::new(def));
    }

    /// A table's names, and what points from its parts to it.
    fn forget_parts(&mut self, def: &TableDef) {
        self.forget_name(def.namespace, &def.name, Named::Table(def.id));
        for (name, id) in def.index_names() {
            self.forget_name(def.namespace, &TableName::new(name), Named::Index(def.id, id));
            self.parts.remove(&id);
        }
        for id in def.constraint_ids() {
            self.parts.remove(&id);
        }
        for key in &def.foreign_keys {
            if let Some(tables) = self.referencing.get_mut(&key.parent) {
                tables.remove(&def.id);
            }
        }
    }

    fn forget_view(&mut self, def: &ViewDef) {
        self.forget_name(def.namespace, &def.name, Named::View(def.id));
        for seen in &def.names {
            if let Some(views) = self.viewed.get_mut(&seen.relation) {
                views.remove(&def.id);
            }
        }
    }

    fn give_name(&mut self, namespace: NamespaceId, name: TableName, named: Named) {
        self.relation_names.entry(namespace).or_default().insert(name, named);
    }

    fn forget_name(&mut self, namespace: NamespaceId, name: &TableName, named: Named) {
        if let Some(names) = self.relation_names.get_mut(&namespace)
            && names.get(name) == Some(&named)
        {
            names.remove(name);
        }
    }

    fn forget_type(&mut self, id: Oid) {
        let Some(def) = self.types.remove(&id) else { return };
        self.array_types.remove(&def.array);
        if let Some(names) = self.type_names.get_mut(&def.namespace) {
            names.remove(&def.name);
        }
        if let TypeKind::Enum(labels) = &def.kind {
            for label in labels {
                self.labels.remove(&label.id);
            }
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
