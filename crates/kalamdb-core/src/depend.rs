//! Who depends on whom: the one walk that DROP, ALTER and pg_depend ask.
//!
//! A kind of dependence is one arm of [`dependents`]. Nothing is stored beside the definitions themselves: what a view
//! uses, a foreign key refers to or a sequence is owned by says it already.

use crate::system::names::CatalogView;
use kalamdb_commons::{ColumnId, NamespaceId, Oid, TableId};
use kalamdb_sql::bind::{relations_named, types_named};
use kalamdb_sql::function::CatalogNames;
use kalamdb_store::catalog::Named;
use kalamdb_store::{Catalog, ColumnDef, TypeKind, Use};

/// Something that can be dropped or depended on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// A namespace.
    Namespace(NamespaceId),
    /// A table.
    Table(TableId),
    /// A table's column.
    Column(TableId, ColumnId),
    /// A column's default.
    Default(TableId, ColumnId),
    /// A view.
    View(TableId),
    /// A sequence.
    Sequence(TableId),
    /// A user's type.
    Type(Oid),
    /// A table's constraint.
    Constraint(TableId, Oid),
}

/// How something depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bond {
    /// It keeps the other from being dropped, unless CASCADE takes it along.
    Normal,
    /// It goes along without a word.
    Automatic,
}

/// Something that goes, because of something else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fallen {
    /// What goes.
    pub object: Object,
    /// What it depends on.
    pub because: Object,
    /// How.
    pub bond: Bond,
}

impl Object {
    /// Its OID, a column's being its table's.
    pub fn oid(self) -> Oid {
        match self {
            Object::Namespace(id) => id.0,
            Object::Table(id) | Object::Column(id, _) | Object::Default(id, _) => id.0,
            Object::View(id) | Object::Sequence(id) => id.0,
            Object::Type(oid) | Object::Constraint(_, oid) => oid,
        }
    }

    /// What it is a part of, and goes with.
    fn wholes(self) -> Vec<Object> {
        match self {
            Object::Constraint(table, _) | Object::Column(table, _) => vec![Object::Table(table)],
            Object::Default(table, column) => vec![Object::Table(table), Object::Column(table, column)],
            _ => Vec::new(),
        }
    }

    /// What messages call it, the relations by the path of who asks.
    pub fn description(self, catalog: &Catalog, names: &CatalogView) -> String {
        let relation = |id: TableId| names.relation_name(id.0).unwrap_or_else(|| id.to_string());
        match self {
            Object::Namespace(id) => format!("schema {}", names.namespace_name(id.0).unwrap_or_default()),
            Object::Table(id) => format!("table {}", relation(id)),
            Object::Column(id, column) | Object::Default(id, column) => {
                let table = catalog.table(id).and_then(|table| table.column(column));
                let name = table.map(|column| column.name.to_string()).unwrap_or_default();
                let what = if matches!(self, Object::Default(..)) { "default value for column" } else { "column" };
                format!("{what} {} of table {}", kalamdb_sql::bind::deparse::quoted(&name), relation(id))
            }
            Object::Constraint(id, oid) => {
                let key = catalog.table(id).and_then(|table| table.foreign_keys.iter().find(|key| key.id == oid));
                let name = key.map(|key| kalamdb_sql::bind::deparse::quoted(&key.name)).unwrap_or_default();
                format!("constraint {name} on table {}", relation(id))
            }
            Object::View(id) => format!("view {}", relation(id)),
            Object::Sequence(id) => format!("sequence {}", relation(id)),
            Object::Type(oid) => format!("type {}", names.type_name(oid).unwrap_or_else(|| oid.to_string())),
        }
    }
}

/// What depends on something directly.
pub(crate) fn dependents(catalog: &Catalog, on: Object) -> Vec<(Object, Bond)> {
    let mut found: Vec<(Object, Bond)> = Vec::new();
    match on {
        Object::Namespace(id) => {
            found.extend(catalog.relations_of(id).filter_map(|(_, named)| {
                let object = match named {
                    Named::Table(id) => Object::Table(id),
                    Named::View(id) => Object::View(id),
                    Named::Sequence(id) => Object::Sequence(id),
                    Named::Index(..) => return None,
                };
                Some((object, Bond::Normal))
            }));
            let types = catalog.data_types().filter(|def| def.namespace == id);
            found.extend(types.map(|def| (Object::Type(def.id), Bond::Normal)));
        }
        Object::Table(id) | Object::View(id) => {
            found.extend(catalog.views_over(id).map(|view| (Object::View(view.id), Bond::Normal)));
            found.extend(views_naming(catalog, |using| using.relation_named() == Some(id)));
            for child in catalog.referencing(id).filter(|child| child.id != id) {
                let keys = child.foreign_keys.iter().filter(|key| key.parent == id);
                found.extend(keys.map(|key| (Object::Constraint(child.id, key.id), Bond::Normal)));
            }
            let owned = catalog.sequences().filter(|sequence| sequence.owned_by.is_some_and(|(table, _)| table == id));
            found.extend(owned.map(|sequence| (Object::Sequence(sequence.id), Bond::Automatic)));
            found.extend(defaults_naming(catalog, |text| relations_named(text).contains(&id.0)));
        }
        Object::Column(table, column) => {
            let using = catalog.views_over(table).filter(|view| view.uses.contains(&Use::Column(table, column)));
            found.extend(using.map(|view| (Object::View(view.id), Bond::Normal)));
            let owned = catalog.sequences().filter(|sequence| sequence.owned_by == Some((table, column)));
            found.extend(owned.map(|sequence| (Object::Sequence(sequence.id), Bond::Automatic)));
        }
        Object::Sequence(id) => {
            found.extend(catalog.views_over(id).map(|view| (Object::View(view.id), Bond::Normal)));
            found.extend(views_naming(catalog, |using| using.relation_named() == Some(id)));
            found.extend(defaults_naming(catalog, |text| relations_named(text).contains(&id.0)));
        }
        Object::Type(oid) => {
            found.extend(views_naming(catalog, |using| using.type_named() == Some(oid)));
            let names = |text: &str| types_named(text).contains(&oid);
            for table in catalog.tables() {
                let is_of_it = |column: &&ColumnDef| {
                    column.ty.ty.user_type() == Some(oid)
                        || column.domain == Some(oid)
                        || column.generated.as_deref().is_some_and(names)
                };
                let columns = table.live_columns().filter(is_of_it);
                found.extend(columns.map(|column| (Object::Column(table.id, column.id), Bond::Normal)));
            }
            found.extend(defaults_naming(catalog, names));
            let domains = catalog.data_types().filter(|def| match &def.kind {
                TypeKind::Domain { base, .. } => base.ty.user_type() == Some(oid),
                TypeKind::Enum(_) => false,
            });
            found.extend(domains.map(|def| (Object::Type(def.id), Bond::Normal)));
        }
        Object::Default(..) | Object::Constraint(..) => {}
    }
    found
}

/// The views whose query names something. What has a type only because a column that it reads has it, goes with that.
fn views_naming(catalog: &Catalog, names: impl Fn(&Use) -> bool) -> Vec<(Object, Bond)> {
    let using = catalog.views().filter(|view| view.uses.iter().any(&names));
    using.map(|view| (Object::View(view.id), Bond::Normal)).collect()
}

/// The columns' defaults whose text names something.
fn defaults_naming(catalog: &Catalog, names: impl Fn(&str) -> bool) -> Vec<(Object, Bond)> {
    let mut found = Vec::new();
    for table in catalog.tables() {
        let naming = table.live_columns().filter(|column| column.default.as_deref().is_some_and(&names));
        found.extend(naming.map(|column| (Object::Default(table.id, column.id), Bond::Normal)));
    }
    found
}

/// All that goes with these, in the order in which PostgreSQL tells of it. Whatever depends on something stands behind
/// it: from the end on they can be dropped.
pub(crate) fn falling(catalog: &Catalog, roots: &[Object]) -> Vec<Fallen> {
    let mut walk = Walk { catalog, met: roots.to_vec(), fallen: Vec::new() };
    // PostgreSQL tells of what depends on the last one first.
    for root in roots {
        walk.go(*root);
    }
    let Walk { met, mut fallen, .. } = walk;
    // Parts go with their whole, whichever was met first.
    fallen.retain(|found| !found.object.wholes().iter().any(|whole| met.contains(whole)));
    fallen.reverse();
    fallen
}

struct Walk<'c> {
    catalog: &'c Catalog,
    met: Vec<Object>,
    fallen: Vec<Fallen>,
}

impl Walk<'_> {
    /// The newest first, what depends before what it depends on.
    fn go(&mut self, on: Object) {
        let mut next = dependents(self.catalog, on);
        next.sort_by_key(|(object, _)| std::cmp::Reverse(object.oid()));
        for (object, bond) in next {
            if object.wholes().iter().any(|whole| self.met.contains(whole)) {
                continue;
            }
            if self.met.contains(&object) {
                // What goes without a word for one reason does so for all.
                if bond == Bond::Automatic
                    && let Some(known) = self.fallen.iter_mut().find(|known| known.object == object)
                {
                    known.bond = bond;
                }
                continue;
            }
            self.met.push(object);
            self.go(object);
            self.fallen.push(Fallen { object, because: on, bond });
        }
    }
}
