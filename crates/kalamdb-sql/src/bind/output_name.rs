//! The name of a select item without AS (PostgreSQL's `FigureColname`).

use super::syntax::trim_name;
use crate::parse;
use sqlparser::ast::{AccessExpr, BinaryOperator, CeilFloorKind, Expr, Query, SelectItem, SetExpr};

/// How much a name counts: a type's name gives way to a column's or a function's.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Strength {
    Weak,
    Strong,
}

/// The name that the client sees.
pub(super) fn output_name(expr: &Expr) -> String {
    figure(expr).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

fn figure(expr: &Expr) -> Option<(String, Strength)> {
    let strong = |name: &str| Some((name.to_owned(), Strength::Strong));
    match expr {
        Expr::Identifier(ident) => Some((parse::fold(ident), Strength::Strong)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| (parse::fold(ident), Strength::Strong)),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(ident)) => Some(parse::fold(ident)),
                _ => None,
            });
            field.map(|name| (name, Strength::Strong)).or_else(|| figure(root))
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Function(function) => {
            let last = function.name.0.last().and_then(|part| part.as_ident())?;
            Some((parse::fold(last), Strength::Strong))
        }
        Expr::Cast { expr: inner, data_type, .. } => match figure(inner) {
            Some((name, Strength::Strong)) => Some((name, Strength::Strong)),
            _ => Some((type_name(data_type), Strength::Weak)),
        },
        Expr::TypedString(typed) => Some((type_name(&typed.data_type), Strength::Weak)),
        Expr::Interval(_) => Some(("interval".to_owned(), Strength::Weak)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, Strength::Strong)) => Some((name, Strength::Strong)),
            _ => Some(("case".to_owned(), Strength::Weak)),
        },
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Subquery(query) => subquery_name(query),
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Ceil { field: CeilFloorKind::DateTimeField(_), .. } => strong("ceil"),
        Expr::Floor { field: CeilFloorKind::DateTimeField(_), .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::IsNormalized { negated: false, .. } => strong("is_normalized"),
        Expr::BinaryOp { op: BinaryOperator::Overlaps, .. } => strong("overlaps"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Substring { shorthand, .. } => strong(if *shorthand { "substr" } else { "substring" }),
        Expr::Trim { trim_where, .. } => strong(trim_name(trim_where.as_ref())),
        _ => None,
    }
}

/// A scalar subquery is called as its one column.
fn subquery_name(query: &Query) -> Option<(String, Strength)> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Query(query) => body = query.body.as_ref(),
            SetExpr::SetOperation { left, .. } => body = left.as_ref(),
            SetExpr::Values(_) => return Some(("column1".to_owned(), Strength::Strong)),
            SetExpr::Select(select) => {
                return match select.projection.first()? {
                    SelectItem::UnnamedExpr(expr) => Some((output_name(expr), Strength::Strong)),
                    SelectItem::ExprWithAlias { alias, .. } => Some((parse::fold(alias), Strength::Strong)),
                    _ => None,
                };
            }
            _ => return None,
        }
    }
}

/// A type's own name, an array's element's.
fn type_name(ty: &sqlparser::ast::DataType) -> String {
    match parse::type_of(ty) {
        Ok(ty) => {
            let name = ty.ty.facts().name;
            name.strip_prefix('_').unwrap_or(name).to_owned()
        }
        Err(_) => match parse::user_type_name(ty) {
            Some((mut parts, _)) => parts.pop().unwrap_or_default(),
            None => "?column?".to_owned(),
        },
    }
}
