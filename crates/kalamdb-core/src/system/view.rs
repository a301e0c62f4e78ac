//! Views in the catalog: pg_views, pg_rewrite, their rows in pg_class and pg_attribute, and information_schema's.

use super::relational::namespace_name;
use super::{Facts, Rows, SHAPES, cells};
use crate::settings::DATABASE_NAME;
use kalamdb_auth::authorize::RowAction;
use kalamdb_commons::{Role, TableId};
use kalamdb_sql::function::CatalogNames;
use kalamdb_store::{Use, ViewDef};

/// Makes the rows of one of pg_catalog's; `false` when it is not among them.
pub(super) fn make(name: &str, facts: &Facts, rows: &mut Rows) -> bool {
    match name {
        "pg_views" => list(facts, rows),
        "pg_rewrite" => rules(facts, rows),
        _ => return false,
    }
    true
}

/// Makes the rows of one of information_schema's; `false` when it is not among them.
pub(super) fn make_standard(name: &str, facts: &Facts, rows: &mut Rows) -> bool {
    match name {
        "views" => views(facts, rows),
        "view_table_usage" => table_usage(facts, rows),
        "view_column_usage" => column_usage(facts, rows),
        _ => return false,
    }
    true
}

impl Facts {
    /// Whether the asker may read the view.
    pub(super) fn sees_view(&self, view: &ViewDef) -> bool {
        (self.judge.rows)(&self.identity, RowAction::Select, &super::names::facts_of_view(view, &self.identity))
    }

    /// Whether the asker has the owner's rights to it.
    fn owns_view(&self, view: &ViewDef) -> bool {
        view.owner == self.identity.user || self.identity.role >= Role::Dba
    }
}

fn list(facts: &Facts, rows: &mut Rows) {
    let names = facts.names();
    for shape in SHAPES.iter().filter(|shape| shape.kind == 'v') {
        rows.push(cells![schemaname: shape.namespace, viewname: shape.name, viewowner: "root"]);
    }
    for view in facts.catalog.views() {
        rows.push(cells![
            schemaname: namespace_name(facts, view.namespace), viewname: view.name.as_str(),
            viewowner: facts.catalog.user(view.owner).map(|user| user.name.to_string()),
            definition: names.view_definition(view.id.0, false),
        ]);
    }
}

fn rules(facts: &Facts, rows: &mut Rows) {
    for view in facts.catalog.views() {
        rows.push(cells![
            oid: view.rule, rulename: "_RETURN", ev_class: view.id.0, ev_type: '1', ev_enabled: 'O',
            is_instead: true, ev_qual: "<>", ev_action: "<>",
        ]);
    }
}

fn views(facts: &Facts, rows: &mut Rows) {
    let names = facts.names();
    for view in facts.catalog.views().filter(|view| facts.sees_view(view)) {
        let definition = facts.owns_view(view).then(|| names.view_definition(view.id.0, false)).flatten();
        rows.push(cells![
            table_catalog: DATABASE_NAME, table_schema: namespace_name(facts, view.namespace),
            table_name: view.name.as_str(), view_definition: definition, check_option: "NONE", is_updatable: "NO",
            is_insertable_into: "NO", is_trigger_updatable: "NO", is_trigger_deletable: "NO",
            is_trigger_insertable_into: "NO",
        ]);
    }
}

/// A relation's namespace and name, and whether its owner's rights are the asker's.
fn used(facts: &Facts, id: TableId) -> Option<(String, String, bool)> {
    let is_dba = facts.identity.role >= Role::Dba;
    if let Some(table) = facts.catalog.table(id) {
        let owns = table.owner == facts.identity.user || is_dba;
        return Some((namespace_name(facts, table.namespace), table.name.to_string(), owns));
    }
    if let Some(view) = facts.catalog.view(id) {
        return Some((namespace_name(facts, view.namespace), view.name.to_string(), facts.owns_view(view)));
    }
    let shape = super::shape_of(id)?;
    Some((shape.namespace.to_string(), shape.name.to_string(), is_dba))
}

fn table_usage(facts: &Facts, rows: &mut Rows) {
    for view in facts.catalog.views() {
        for using in &view.uses {
            let Use::Relation(id) = using else { continue };
            if let Some((schema, name, true)) = used(facts, *id) {
                rows.push(cells![
                    view_catalog: DATABASE_NAME, view_schema: namespace_name(facts, view.namespace),
                    view_name: view.name.as_str(), table_catalog: DATABASE_NAME, table_schema: schema,
                    table_name: name,
                ]);
            }
        }
    }
}

fn column_usage(facts: &Facts, rows: &mut Rows) {
    for view in facts.catalog.views() {
        for using in &view.uses {
            let Use::Column(id, column) = using else { continue };
            let Some((schema, name, true)) = used(facts, *id) else { continue };
            let of_table = facts.catalog.table(*id).and_then(|table| table.column(*column));
            let at = usize::try_from(column.0 - 1).ok();
            let of_view = || {
                let view = facts.catalog.view(*id)?;
                Some(view.columns.get(at?)?.name.to_string())
            };
            let of_system = || Some(super::shape_of(*id)?.columns.get(at?)?.0.to_string());
            let column = of_table.map(|column| column.name.to_string()).or_else(of_view).or_else(of_system);
            rows.push(cells![
                view_catalog: DATABASE_NAME, view_schema: namespace_name(facts, view.namespace),
                view_name: view.name.as_str(), table_catalog: DATABASE_NAME, table_schema: schema, table_name: name,
                column_name: column,
            ]);
        }
    }
}
