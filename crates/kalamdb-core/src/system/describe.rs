//! pg_describe_object: any object of the catalog in words.

use super::names::CatalogView;
use super::relational::default_oid;
use super::{objects, shape_of};
use kalamdb_commons::{Oid, PgType, Result, SqlError, SqlState, SqlType, TableId};
use kalamdb_sql::function::{self, CatalogNames};
use kalamdb_store::{TableDef, TypeKind};

/// What an object is called; `None` when there is no such object.
///
/// # Errors
/// XX000 for a class that is none.
pub(super) fn described(view: &CatalogView, class: Oid, object: Oid, column: i32) -> Result<Option<String>> {
    let catalog = view.catalog();
    let named = |kind: &str, name: Option<String>| name.map(|name| format!("{kind} {name}"));
    Ok(match class {
        0 => None,
        1259 if column != 0 => described_column(view, object, column),
        1259 => described_relation(view, object),
        1247 => {
            let built_in = SqlType::from_oid(object).map(|ty| PgType::new(ty).to_string());
            named("type", built_in.or_else(|| view.type_name(object)))
        }
        1255 => function::by_oid(object)
            .map(|found| format!("function {}({})", found.name, types_listed(found.args.iter().copied().map(Some)))),
        2617 => function::all_operators()
            .find(|operator| operator.oid == object)
            .map(|found| format!("operator {}({})", found.name, types_listed([found.left, Some(found.right)]))),
        2606 => described_constraint(view, object),
        2604 => catalog.tables().find_map(|table| {
            let column = table.live_columns().find(|column| default_oid(table, column.id) == object)?;
            let table = described_relation(view, table.id.0)?;
            Some(format!("default value for column {} of {table}", column.name))
        }),
        2618 => {
            let ruled = catalog.views().find(|of| of.rule == object);
            ruled.and_then(|of| described_relation(view, of.id.0)).map(|of| format!("rule _RETURN on {of}"))
        }
        2615 => named("schema", view.namespace_name(object)),
        1260 => named("role", view.role_name(object)),
        3079 => {
            let found = objects::EXTENSIONS.iter().find(|extension| extension.oid == object);
            named("extension", found.map(|extension| extension.name.to_string()))
        }
        class if shape_of(TableId(class)).is_some_and(|shape| shape.namespace == "pg_catalog") => None,
        class => {
            let message = format!("unrecognized object class: {class}");
            return Err(SqlError::new(SqlState::INTERNAL_ERROR, message));
        }
    })
}

fn types_listed(types: impl IntoIterator<Item = Option<SqlType>>) -> String {
    let names = types.into_iter().map(|ty| ty.map_or_else(|| "NONE".to_string(), |ty| PgType::new(ty).to_string()));
    names.collect::<Vec<_>>().join(",")
}

fn described_relation(view: &CatalogView, oid: Oid) -> Option<String> {
    let (catalog, id) = (view.catalog(), TableId(oid));
    let kind = match shape_of(id) {
        Some(shape) if shape.kind == 'v' => "view",
        Some(_) => "table",
        None if catalog.table(id).is_some() => "table",
        None if catalog.view(id).is_some() => "view",
        None if catalog.sequence(id).is_some() => "sequence",
        None => "index",
    };
    view.relation_name(oid).map(|name| format!("{kind} {name}"))
}

fn described_column(view: &CatalogView, relation: Oid, number: i32) -> Option<String> {
    let (catalog, id) = (view.catalog(), TableId(relation));
    let place = usize::try_from(number).ok()?.checked_sub(1)?;
    let name = if let Some(shape) = shape_of(id) {
        shape.columns.get(place)?.0.to_string()
    } else if let Some(found) = catalog.view(id) {
        found.columns.get(place)?.name.to_string()
    } else {
        let table = catalog.table(id)?;
        table.live_columns().find(|column| i32::from(column.id.0) == number)?.name.to_string()
    };
    Some(format!("column {name} of {}", described_relation(view, relation)?))
}

fn described_constraint(view: &CatalogView, oid: Oid) -> Option<String> {
    let of_table = |table: &TableDef| {
        let key = table.primary_key.iter().filter(|key| key.constraint == oid).map(|key| key.name.to_string());
        let uniques = table.indexes.iter().filter(|index| index.constraint == Some(oid));
        let checks = table.checks.iter().filter(|check| check.id == oid).map(|check| check.name.to_string());
        let references = table.foreign_keys.iter().filter(|key| key.id == oid).map(|key| key.name.to_string());
        let name = key.chain(uniques.map(|index| index.name.to_string())).chain(checks).chain(references).next()?;
        Some(format!("constraint {name} on {}", described_relation(view, table.id.0)?))
    };
    let of_domains = || {
        view.catalog().data_types().find_map(|def| match &def.kind {
            TypeKind::Domain { checks, .. } => checks.iter().find(|check| check.id == oid),
            TypeKind::Enum(_) => None,
        })
    };
    let found = view.catalog().tables().find_map(|table| of_table(table));
    found.or_else(|| of_domains().map(|check| format!("constraint {}", check.name)))
}
