//! Names and definitions by OID and back, as one session sees them: what functions such as `format_type` and casts to
//! `regclass` ask.

use super::binding::stored_query;
use super::relational::{index_definition, quoted};
use super::{constraint, describe, index, relations, sequence, shape_of};
use crate::settings::DATABASE_OID;
use kalamdb_auth::Identity;
use kalamdb_auth::authorize::{ObjectFacts, RowAction, SequenceAction};
use kalamdb_commons::{
    NamespaceId, Oid, PgType, Result, Role, SqlError, SqlState, SqlType, TableId, TableType, UserId,
};
use kalamdb_sql::bind::print_view;
use kalamdb_sql::function::{CatalogNames, DomainFacts, PrivilegeObject, SequenceFacts, UserType};
use kalamdb_store::catalog::Named;
use kalamdb_store::{Catalog, Described, EnumLabel, Store, TableDef, TypeDef, TypeKind, ViewDef};
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

/// Answers `has_table_privilege` and its kin: what `resolve` would decide.
#[derive(Clone, Copy)]
pub struct Judge {
    /// Of a table's rows.
    pub rows: fn(&Identity, RowAction, &ObjectFacts) -> bool,
    /// Of a sequence, by its OID.
    pub sequence: fn(&Arc<Catalog>, &Identity, Oid, SequenceAction) -> bool,
}

/// The namespace and the name of a relation or index that is stored.
pub(super) fn place_of(catalog: &Catalog, oid: Oid) -> Option<(NamespaceId, String)> {
    if let Some(table) = catalog.table(TableId(oid)) {
        return Some((table.namespace, table.name.to_string()));
    }
    if let Some(sequence) = catalog.sequence(TableId(oid)) {
        return Some((sequence.namespace, sequence.name.to_string()));
    }
    if let Some(view) = catalog.view(TableId(oid)) {
        return Some((view.namespace, view.name.to_string()));
    }
    let table = catalog.table_of_part(oid)?;
    let (name, _) = table.index_names().find(|(_, id)| *id == oid)?;
    Some((table.namespace, name.to_string()))
}

impl CatalogView {
    /// As this identity with this search path sees this catalog.
    pub fn new(catalog: Arc<Catalog>, path: Vec<String>, identity: Arc<Identity>, store: Store, judge: Judge) -> Self {
        Self { catalog, path, identity, store, judge }
    }

    /// The definitions.
    pub fn catalog(&self) -> &Arc<Catalog> {
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
        let (namespace, name) = place_of(&self.catalog, oid)?;
        Some((self.namespace(namespace)?, name))
    }

    fn labels_of(&self, oid: Oid) -> &[EnumLabel] {
        match self.catalog.data_type(oid).map(|def| &def.kind) {
            Some(TypeKind::Enum(labels)) => labels,
            _ => &[],
        }
    }

    fn type_in(&self, namespace: &str, name: &str) -> Option<&Arc<TypeDef>> {
        let namespace = self.catalog.namespace_by_name(namespace)?.id;
        self.catalog.data_type_by_name(namespace, name)
    }

    /// The name of a table's row type.
    fn row_type_name(&self, oid: Oid) -> Option<String> {
        let table = self.catalog.tables().find(|table| table.row_type == oid)?;
        self.relation_name(table.id.0)
    }

    fn namespace(&self, id: NamespaceId) -> Option<String> {
        self.catalog.namespace(id).map(|namespace| namespace.name.to_string())
    }

    /// Whether the session may know a table's size: one that is partitioned by user has no size of one user's rows.
    fn may_measure(&self, table: &TableDef) -> bool {
        let may_read = (self.judge.rows)(&self.identity, RowAction::Select, &facts_of(table, &self.identity));
        self.identity.role >= Role::Dba || !table.is_per_user() && may_read
    }

    fn identity_of(&self, user: Oid) -> Option<Identity> {
        match self.catalog.user(UserId(user)) {
            Some(_) if user == self.identity.user.0 => Some((*self.identity).clone()),
            Some(user) => Some(Identity { user: user.id, name: user.name.clone(), role: user.role }),
            None => None,
        }
    }

    fn may_use(&self, user: Oid, sequence: Oid, privilege: &str) -> Result<bool> {
        let Some(identity) = self.identity_of(user) else { return Ok(false) };
        let mut granted = false;
        for word in privilege.split(',').map(|word| word.trim().to_ascii_uppercase()) {
            let action = match word.trim_end_matches(" WITH GRANT OPTION") {
                "USAGE" => SequenceAction::Next,
                "SELECT" => SequenceAction::Read,
                "UPDATE" => SequenceAction::Set,
                _ => {
                    let message = format!("unrecognized privilege type: \"{privilege}\"");
                    return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
                }
            };
            granted |= (self.judge.sequence)(&self.catalog, &identity, sequence, action);
        }
        Ok(granted)
    }

    fn may(&self, user: Oid, of: impl Fn(&Identity) -> ObjectFacts, privilege: &str) -> Result<bool> {
        let Some(identity) = self.identity_of(user) else { return Ok(false) };
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
            granted |= (self.judge.rows)(&identity, action, &facts);
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

    fn object_description(&self, class: Oid, object: Oid, column: i32) -> Result<Option<String>> {
        describe::described(self, class, object, column)
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

    fn type_name(&self, oid: Oid) -> Option<String> {
        let (def, brackets) = match self.catalog.data_type(oid) {
            Some(def) => (def, ""),
            None => match self.catalog.data_type_of_array(oid) {
                Some(def) => (def, "[]"),
                None => return self.row_type_name(oid),
            },
        };
        let found = self.user_type(std::slice::from_ref(&def.name)).map(|found| found.oid);
        let built_in = SqlType::from_name(&def.name).is_some();
        Some(match found == Some(def.id) && !built_in {
            true => format!("{}{brackets}", quoted(&def.name)),
            false => {
                format!("{}.{}{brackets}", quoted(&self.namespace(def.namespace)?), quoted(&def.name))
            }
        })
    }

    fn enum_labels(&self, oid: Oid) -> Vec<(i64, String)> {
        self.labels_of(oid).iter().map(|label| (label.rank, label.label.clone())).collect()
    }

    fn enum_label(&self, oid: Oid, rank: i64) -> Option<String> {
        let labels = self.labels_of(oid);
        labels.iter().find(|label| label.rank == rank).map(|label| label.label.clone())
    }

    fn enum_rank(&self, oid: Oid, label: &str) -> Option<i64> {
        self.labels_of(oid).iter().find(|known| known.label == label).map(|label| label.rank)
    }

    fn check_label(&self, oid: Oid, rank: i64) -> Result<()> {
        let published = self.store.published();
        let is_committed = match published.catalog.data_type(oid).map(|def| &def.kind) {
            Some(TypeKind::Enum(known)) => known.iter().any(|label| label.rank == rank),
            _ => false,
        };
        let added = self.labels_of(oid).iter().find(|label| label.rank == rank && label.is_added);
        let Some(EnumLabel { label, .. }) = added.filter(|_| !is_committed) else { return Ok(()) };
        let name = self.type_name(oid).unwrap_or_default();
        // SAFETY: this is PostgreSQL's word in a message, and no code.
        let message = format!("unsafe use of new value \"{label}\" of enum type {name}");
        Err(SqlError::new(SqlState::UNSAFE_NEW_ENUM_VALUE_USAGE, message)
            .with_hint("New enum values must be committed before they can be used."))
    }

    fn user_type(&self, parts: &[String]) -> Option<UserType> {
        let def = match parts {
            // What stored expressions say.
            [namespace, oid] if namespace == "pg_catalog" => self.catalog.data_type(oid.parse().ok()?)?,
            [name] => self.searched().iter().find_map(|namespace| self.type_in(namespace, name))?,
            [namespace, name] | [_, namespace, name] => self.type_in(namespace, name)?,
            _ => return None,
        };
        let (ty, is_domain) = match &def.kind {
            TypeKind::Enum(_) => (PgType::new(SqlType::Enum(def.id)), false),
            TypeKind::Domain { base, .. } => (*base, true),
        };
        Some(UserType { oid: def.id, array: def.array, ty, is_domain })
    }

    fn domain(&self, oid: Oid) -> Option<DomainFacts> {
        let def = self.catalog.data_type(oid)?;
        let TypeKind::Domain { base, not_null, default, checks } = &def.kind else { return None };
        Some(DomainFacts {
            name: self.type_name(oid)?,
            place: (self.namespace(def.namespace)?, def.name.clone()),
            base: *base,
            not_null: *not_null,
            default: default.clone(),
            checks: checks.iter().map(|check| (check.name.clone(), check.expression.clone())).collect(),
        })
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
        let domains = self.catalog.data_types().filter_map(|def| match &def.kind {
            TypeKind::Domain { checks, .. } => Some(checks),
            TypeKind::Enum(_) => None,
        });
        if let Some(check) = domains.flatten().find(|check| check.id == oid) {
            let shown = super::user_type::shown_value(&check.expression);
            let shown = kalamdb_sql::bind::shown_stored(&shown, self);
            let not_valid = if check.validated { "" } else { " NOT VALID" };
            return Some(format!("CHECK ({shown}){not_valid}"));
        }
        let table = self.catalog.table_of_part(oid)?;
        let parent = |id: TableId| Some((self.relation_name(id.0)?, self.catalog.table(id)?.clone()));
        constraint::definition(table, oid, pretty, &parent)
    }

    fn view_definition(&self, oid: Oid, pretty: bool) -> Option<String> {
        let view = self.catalog.view(TableId(oid))?;
        let columns: Vec<String> = view.columns.iter().map(|column| column.name.to_string()).collect();
        let printed = print_view(&stored_query(view), &columns, pretty, self);
        // What cannot be printed yet is shown as it was written.
        Some(match printed {
            Ok(printed) => kalamdb_sql::bind::shown_stored(&printed, self),
            Err(_) => format!(" {};", view.query),
        })
    }

    fn sequence(&self, oid: Oid) -> Option<SequenceFacts> {
        let def = self.catalog.sequence(TableId(oid))?;
        Some(SequenceFacts {
            ty: def.ty,
            start: def.start,
            min: def.min,
            max: def.max,
            increment: def.increment,
            cycle: def.cycle,
            cache: def.cache,
        })
    }

    fn serial_sequence(&self, table: TableId, column: &str) -> Result<Option<String>> {
        let Some(def) = self.catalog.table(table) else {
            return match self.place(table.0) {
                Some(_) => Ok(None),
                None => Err(SqlError::internal(format!("relation {table} is gone"))),
            };
        };
        let Some(found) = def.column_by_name(column) else {
            let message = format!("column \"{column}\" of relation \"{}\" does not exist", def.name);
            return Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message));
        };
        let Some(owned) = sequence::of_column(&self.catalog, def, found.id) else { return Ok(None) };
        let namespace = self.namespace(owned.namespace).unwrap_or_default();
        Ok(Some(sequence::qualified(&namespace, owned.name.as_str())))
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
                    None if self.catalog.sequence(TableId(oid)).is_some() => {
                        self.may_use(user, oid, privilege).map(Some)
                    }
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
