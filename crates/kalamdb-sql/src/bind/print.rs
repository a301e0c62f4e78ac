//! Whole queries in PostgreSQL's own form: what `pg_get_viewdef` prints.
//!
//! Two passes over each level: first its relations get names that no relation around has (`t`, `t_1`), then its clauses
//! are printed over the same scope that binding uses. Every column is told with its relation, and a renamed one keeps
//! its old name as that of the result.

use super::bound::{Col, ColId};
use super::deparse::{Node, Printer, Shown, foreign, glue, joined, margin, quoted};
use super::from::{Part, name_parts};
use super::output_name::output_name;
use super::scope::{Clause, Item, ItemColumn, Level};
use super::{Binder, expr, syntax, walk};
use crate::parse;
use kalamdb_commons::{ColumnId, Result, SqlError, SqlType, TableId};
use sqlparser::ast::{self, Expr, JoinConstraint, JoinOperator, Query, SelectItem, SetExpr, TableFactor};
use std::collections::VecDeque;

/// How much a level of a query stands in.
const STEP: usize = 8;
/// How much the further items of a list do.
const ITEM: usize = 4;

/// What is being printed.
struct Out {
    text: String,
    level: usize,
}

impl Out {
    /// A clause's first word on a line of its own.
    fn line(&mut self, word: &str, plus: usize) {
        self.text.truncate(self.text.trim_end_matches(' ').len());
        self.text.push('\n');
        self.text.push_str(&" ".repeat(margin(self.level) + plus));
        self.text.push_str(word);
    }

    /// The same, one step out.
    fn clause(&mut self, word: &str, plus: usize) {
        self.level = self.level.saturating_sub(STEP);
        self.line(word, plus);
        self.level += STEP;
    }

    fn push(&mut self, text: &str) {
        if text.starts_with('\n') {
            self.text.truncate(self.text.trim_end_matches(' ').len());
        }
        self.text.push_str(text);
    }
}

/// An output column's expression and name.
struct Target<'e> {
    what: What<'e>,
    name: String,
}

enum What<'e> {
    Expr(&'e Expr),
    Column(Col),
}

fn no_names(_: ColId) -> Option<String> {
    None
}

impl<'p, 'a> Printer<'p, 'a> {
    /// Prints queries.
    pub fn of_query(binder: &'p mut Binder<'a>, pretty: bool) -> Self {
        Printer { pretty, query: true, ..Printer::new(binder, &no_names) }
    }

    /// A view's query; its columns have these names.
    pub fn view(&mut self, query: &Query, columns: &[String]) -> Result<String> {
        self.binder.levels.clear();
        let text = self.statement(query, Some(columns), true, 0)?;
        Ok(format!("{text};"))
    }

    /// A query that begins at a level.
    fn statement(&mut self, query: &Query, names: Option<&[String]>, named: bool, level: usize) -> Result<String> {
        stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || {
            let mut out = Out { text: String::new(), level };
            let indent = std::mem::replace(&mut self.indent, level);
            self.named = named;
            self.whole(query, names, &mut out)?;
            self.indent = indent;
            Ok(out.text)
        })
    }

    fn whole(&mut self, query: &Query, names: Option<&[String]>, out: &mut Out) -> Result<()> {
        let Some(with) = &query.with else { return self.body(query, names, out) };
        self.binder.levels.push(Level::new(Clause::Select));
        // The names of the query itself come before those inside its WITH.
        if let SetExpr::Select(select) = query.body.as_ref() {
            let names = with.cte_tables.iter().map(|cte| parse::fold(&cte.alias.name)).collect::<Vec<_>>();
            self.refs = Some(self.name_relations(&select.from, &names)?);
        }
        let refs = self.refs.take();
        let named = self.named;
        out.level += STEP;
        out.push(" ");
        for (at, cte) in with.cte_tables.iter().enumerate() {
            out.push(match (at, with.recursive) {
                (0, true) => "WITH RECURSIVE ",
                (0, false) => "WITH ",
                _ => ", ",
            });
            self.cte(cte, with.recursive, out)?;
        }
        out.level -= STEP;
        out.line("", 0);
        self.refs = refs;
        self.named = named;
        self.body(query, names, out)?;
        self.binder.levels.pop();
        Ok(())
    }

    fn cte(&mut self, cte: &ast::Cte, recursive: bool, out: &mut Out) -> Result<()> {
        out.push(&quoted(&parse::fold(&cte.alias.name)));
        if !cte.alias.columns.is_empty() {
            let names = cte.alias.columns.iter().map(|column| quoted(&parse::fold(&column.name)));
            out.push(&format!("({})", names.collect::<Vec<_>>().join(", ")));
        }
        out.push(match cte.materialized {
            None => " AS (",
            Some(ast::CteAsMaterialized::Materialized) => " AS MATERIALIZED (",
            Some(ast::CteAsMaterialized::NotMaterialized) => " AS NOT MATERIALIZED (",
        });
        let with = ast::With {
            with_token: ast::helpers::attached_token::AttachedToken::empty(),
            recursive,
            cte_tables: vec![cte.clone()],
        };
        out.line("", 0);
        // A recursive query sees itself, another one what stands before it.
        if recursive {
            self.binder.with_clause(&with)?;
        }
        let text = self.statement(&cte.query, None, true, out.level)?;
        if !recursive {
            self.binder.with_clause(&with)?;
        }
        out.push(&text);
        out.line(")", 0);
        Ok(())
    }

    /// What follows WITH.
    fn body(&mut self, query: &Query, names: Option<&[String]>, out: &mut Out) -> Result<()> {
        match query.body.as_ref() {
            SetExpr::Select(select) => self.select(select, query, names, out),
            SetExpr::Query(inner) if is_plain(query) => self.whole(inner, names, out),
            SetExpr::SetOperation { .. } => {
                let types = self.types_of(query)?;
                self.set_operation(&query.body, names, &types, out)?;
                out.level += STEP;
                let order = self.numbered(query)?;
                self.tail(query, order, out)?;
                out.level -= STEP;
                Ok(())
            }
            SetExpr::Values(values) => {
                out.level += STEP;
                out.push(" ");
                self.binder.levels.push(Level::new(Clause::Values));
                let text = self.values(values, None)?;
                match names
                    .filter(|names| names.iter().enumerate().any(|(at, name)| *name != format!("column{}", at + 1)))
                {
                    None => out.push(&text),
                    Some(names) => {
                        // As a relation, so that its columns can have names.
                        for (at, name) in names.iter().enumerate() {
                            match at {
                                0 => out.push("SELECT "),
                                _ => {
                                    out.push(",");
                                    out.clause("", ITEM);
                                }
                            }
                            out.push(&format!("\"*VALUES*\".column{} AS {}", at + 1, quoted(name)));
                        }
                        out.clause(" FROM ", 2);
                        out.push(&format!("({text}) \"*VALUES*\""));
                    }
                }
                let order = self.numbered(query)?;
                self.tail(query, order, out)?;
                self.binder.levels.pop();
                out.level -= STEP;
                Ok(())
            }
            SetExpr::Table(table) => {
                let text = match (&table.schema_name, &table.table_name) {
                    (Some(schema), Some(name)) => {
                        format!("{}.{}", quoted(&parse::fold(schema)), quoted(&parse::fold(name)))
                    }
                    (_, Some(name)) => quoted(&parse::fold(name)),
                    _ => return foreign("such a query"),
                };
                let mut star = *parse::stored_query(&format!("SELECT * FROM {text}"))?;
                star.order_by.clone_from(&query.order_by);
                star.limit_clause.clone_from(&query.limit_clause);
                star.fetch.clone_from(&query.fetch);
                self.body(&star, names, out)
            }
            _ => foreign("such a query"),
        }
    }

    /// The types of a query's columns.
    fn types_of(&mut self, query: &Query) -> Result<Vec<SqlType>> {
        let derived = self.binder.query(query, true)?;
        Ok(derived.columns.iter().map(|column| column.col.ty.ty).collect())
    }

    fn values(&mut self, values: &ast::Values, types: Option<&[SqlType]>) -> Result<String> {
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let mut rows: Vec<Vec<String>> = vec![Vec::new(); values.rows.len()];
        for at in 0..width {
            let items = values.rows.iter().filter_map(|row| row.content.get(at));
            let items = self.all(items)?;
            let mut ty = super::coerce::common(items.iter().map(|item| item.ty.ty)).unwrap_or(SqlType::Text);
            if let Some(types) = types
                && ty == SqlType::Unknown
            {
                ty = types.get(at).copied().unwrap_or(ty);
            }
            for (row, item) in rows.iter_mut().zip(items) {
                row.push(if item.is_unknown() { self.typed(item, ty)?.text } else { item.text });
            }
        }
        let rows: Vec<String> = rows.into_iter().map(|row| format!("({})", joined(row, ","))).collect();
        Ok(format!("VALUES {}", rows.join(", ")))
    }

    fn set_operation(
        &mut self,
        body: &SetExpr,
        names: Option<&[String]>,
        types: &[SqlType],
        out: &mut Out,
    ) -> Result<()> {
        let SetExpr::SetOperation { left, op, set_quantifier, right } = body else {
            return self.arm(body, names, types, out);
        };
        let all = *set_quantifier == ast::SetQuantifier::All;
        let wraps = match nested(left) {
            Some(SetExpr::SetOperation { op: inner, set_quantifier, .. }) => {
                inner != op || (*set_quantifier == ast::SetQuantifier::All) != all
            }
            _ => false,
        };
        if wraps {
            out.push("(");
            out.level += STEP;
            out.line("", 0);
        }
        let named = self.named;
        self.set_operation(nested(left).unwrap_or(left), names, types, out)?;
        self.named = named;
        if wraps {
            out.line(") ", 0);
            out.level -= STEP;
        } else {
            out.line("", 0);
        }
        let word = match op {
            ast::SetOperator::Union => "UNION ",
            ast::SetOperator::Intersect => "INTERSECT ",
            _ => "EXCEPT ",
        };
        out.push(word);
        if all {
            out.push("ALL ");
        }
        let wraps = nested(right).is_some();
        if wraps {
            out.push("(");
            out.level += STEP;
        }
        out.line("", 0);
        let named = std::mem::replace(&mut self.named, false);
        self.set_operation(nested(right).unwrap_or(right), names, types, out)?;
        self.named = named;
        if wraps {
            out.level -= STEP;
            out.line(")", 0);
        }
        Ok(())
    }

    /// An arm that is no set operation itself.
    fn arm(&mut self, body: &SetExpr, names: Option<&[String]>, types: &[SqlType], out: &mut Out) -> Result<()> {
        let taken = self.wanted.replace(types.to_vec());
        match body {
            SetExpr::Query(inner) => {
                out.push("(");
                let named = self.named;
                let text = self.statement(inner, names, named, out.level)?;
                out.push(&text);
                out.push(")");
            }
            SetExpr::Values(values) => {
                out.push(" ");
                self.binder.levels.push(Level::new(Clause::Values));
                let text = self.values(values, Some(types))?;
                self.binder.levels.pop();
                out.push(&text);
            }
            body => {
                let query = parse::stored_query("SELECT")?;
                let query = Query { body: Box::new(body.clone()), ..*query };
                let indent = std::mem::replace(&mut self.indent, out.level);
                self.body(&query, names, out)?;
                self.indent = indent;
            }
        }
        self.wanted = taken;
        Ok(())
    }

    /// ORDER BY of what is no plain SELECT: by the columns' places.
    fn numbered(&mut self, query: &Query) -> Result<Vec<String>> {
        let Some(order_by) = &query.order_by else { return Ok(Vec::new()) };
        let ast::OrderByKind::Expressions(items) = &order_by.kind else { return foreign("ORDER BY ALL") };
        let own = self.names_of(&query.body);
        let place = |item: &ast::OrderByExpr| {
            let text = match &item.expr {
                Expr::Identifier(ident) => {
                    let name = parse::fold(ident);
                    let at = own.iter().position(|other| *other == name);
                    at.map(|at| (at + 1).to_string())
                }
                Expr::Value(value) => Some(value.value.to_string()),
                _ => None,
            };
            match text {
                Some(text) => Ok(format!("{text}{}", direction(&item.options))),
                None => foreign("such an ORDER BY"),
            }
        };
        items.iter().map(place).collect()
    }

    /// What the columns of a query's body are called by themselves.
    fn names_of(&mut self, body: &SetExpr) -> Vec<String> {
        match body {
            SetExpr::SetOperation { left, .. } => self.names_of(left),
            SetExpr::Query(inner) => self.names_of(&inner.body),
            SetExpr::Values(values) => {
                let width = values.rows.first().map_or(0, |row| row.content.len());
                (1..=width).map(|at| format!("column{at}")).collect()
            }
            body => {
                let Ok(empty) = parse::stored_query("SELECT") else { return Vec::new() };
                let query = Query { body: Box::new(body.clone()), ..*empty };
                let columns = self.binder.query(&query, true).map(|derived| derived.columns).unwrap_or_default();
                columns.into_iter().map(|column| column.name).collect()
            }
        }
    }

    fn tail(&mut self, query: &Query, order: Vec<String>, out: &mut Out) -> Result<()> {
        if !order.is_empty() {
            out.clause(" ORDER BY ", 1);
            out.push(&joined(order, ", "));
        }
        let (limit, offset) = match &query.limit_clause {
            None => (None, None),
            Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(_) => return foreign("such a LIMIT"),
        };
        if let Some(offset) = offset {
            let shown = self.show(offset)?;
            out.clause(" OFFSET ", 0);
            let text = if shown.is_unknown() { self.typed(shown, SqlType::Int8)?.text } else { shown.text };
            out.push(&text);
        }
        if let Some(fetch) = &query.fetch {
            if fetch.with_ties || fetch.percent {
                return foreign("such a FETCH");
            }
            out.clause(" LIMIT ", 0);
            let text = match &fetch.quantity {
                Some(quantity) => self.show(quantity)?.text,
                None => "1".to_owned(),
            };
            out.push(&text);
        }
        if let Some(limit) = limit {
            let shown = self.show(limit)?;
            out.clause(" LIMIT ", 0);
            let text = match shown.unknown_text() {
                Some(None) => "ALL".to_owned(),
                Some(_) => self.typed(shown, SqlType::Int8)?.text,
                None => shown.text,
            };
            out.push(&text);
        }
        if !query.locks.is_empty() {
            return foreign("FOR UPDATE");
        }
        Ok(())
    }

    fn select(&mut self, select: &ast::Select, query: &Query, names: Option<&[String]>, out: &mut Out) -> Result<()> {
        let wanted = self.wanted.take();
        let named = std::mem::replace(&mut self.named, true);
        out.level += STEP;
        let indent = std::mem::replace(&mut self.indent, out.level);
        out.push(" SELECT ");
        self.binder.levels.push(Level::new(Clause::From));
        let mut refs = match self.refs.take() {
            Some(refs) => refs,
            None => self.name_relations(&select.from, &[])?,
        };
        let from = self.from(&select.from, &mut refs, out.level)?;
        self.binder.level().clause = Clause::Select;
        self.binder.named_windows(&select.named_window)?;
        let targets = self.list_targets(&select.projection)?;
        match &select.distinct {
            Some(ast::Distinct::Distinct) => out.push("DISTINCT "),
            Some(ast::Distinct::On(keys)) => {
                let mut texts = Vec::new();
                for key in keys {
                    texts.push(self.sort_item(key, &targets, true)?);
                }
                out.push(&format!("DISTINCT ON ({}) ", joined(texts, ", ")));
            }
            _ => {}
        }
        out.text.truncate(out.text.trim_end_matches(' ').len());
        self.print_targets(&targets, names, named, wanted.as_deref(), out)?;
        out.push(&from);
        if let Some(selection) = &select.selection {
            self.condition(" WHERE ", 1, selection, Clause::Where, out)?;
        }
        self.group_by(&select.group_by, &targets, out)?;
        if let Some(having) = &select.having {
            self.condition(" HAVING ", 0, having, Clause::Having, out)?;
        }
        self.windows(&select.named_window, out)?;
        let order = match &query.order_by {
            None => Vec::new(),
            Some(order_by) => {
                let ast::OrderByKind::Expressions(items) = &order_by.kind else { return foreign("ORDER BY ALL") };
                self.binder.level().clause = Clause::OrderBy;
                let mut order = Vec::new();
                for item in items {
                    order.push(format!("{}{}", self.sort_item(&item.expr, &targets, true)?, direction(&item.options)));
                }
                order
            }
        };
        self.tail(query, order, out)?;
        self.binder.levels.pop();
        self.taken.pop();
        self.indent = indent;
        out.level -= STEP;
        Ok(())
    }

    fn condition(&mut self, word: &str, plus: usize, expr: &Expr, clause: Clause, out: &mut Out) -> Result<()> {
        self.binder.level().clause = clause;
        let shown = self.show(expr)?;
        let text = self.typed(shown, SqlType::Bool)?.text;
        out.clause(word, plus);
        out.push(&text);
        Ok(())
    }

    // The select list.

    fn list_targets<'e>(&mut self, items: &'e [SelectItem]) -> Result<Vec<Target<'e>>> {
        let mut targets = Vec::new();
        let star = |item: &Item, targets: &mut Vec<Target<'e>>| {
            targets.extend(
                item.columns.iter().map(|column| Target { what: What::Column(column.col), name: column.name.clone() }),
            );
        };
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    targets.push(Target { what: What::Expr(expr), name: output_name(expr) });
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    targets.push(Target { what: What::Expr(expr), name: parse::fold(alias) });
                }
                SelectItem::Wildcard(_) => {
                    let visible: Vec<_> =
                        self.binder.level().visible.iter().filter(|v| v.columns).map(|v| v.item.clone()).collect();
                    visible.iter().for_each(|item| star(item, &mut targets));
                }
                SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let (namespace, relation) = name_parts(name)?;
                    let (_, item) = self.binder.relation_in_scope(namespace.as_deref(), &relation, None)?;
                    star(&item, &mut targets);
                }
                _ => return foreign("such a select list"),
            }
        }
        Ok(targets)
    }

    fn print_targets(
        &mut self,
        targets: &[Target<'_>],
        names: Option<&[String]>,
        named: bool,
        wanted: Option<&[SqlType]>,
        out: &mut Out,
    ) -> Result<()> {
        for (at, target) in targets.iter().enumerate() {
            let mut text = String::new();
            let mut own = None;
            match &target.what {
                What::Column(col) => {
                    text = self.column_text(*col)?;
                    own = Some(self.own_name(*col, &text));
                }
                What::Expr(expr) => {
                    let shown = self.show(expr)?;
                    let ty = match wanted.and_then(|types| types.get(at)) {
                        Some(ty) if shown.is_unknown() => *ty,
                        _ => shown.ty.ty,
                    };
                    if let Some(col) = self.plain_column(expr)? {
                        own = Some(self.own_name(col, &shown.text));
                    }
                    text.push_str(&self.typed(shown, ty)?.text);
                }
            }
            let name = names.and_then(|names| names.get(at)).unwrap_or(&target.name);
            let shows = match &own {
                Some(own) => own != name,
                None => named || name != "?column?",
            };
            if shows {
                text = format!("{text} AS {}", quoted(name));
            }
            if at > 0 {
                out.push(",");
            }
            if text.starts_with('\n') {
                out.push(&text);
            } else {
                if at > 0 {
                    out.clause("", ITEM);
                } else {
                    out.push(" ");
                }
                out.push(&text);
            }
        }
        Ok(())
    }

    /// The column that an expression is, if it is nothing but one.
    fn plain_column(&mut self, expr: &Expr) -> Result<Option<Col>> {
        Ok(match expr::bare(expr) {
            Expr::Identifier(ident) => {
                if ident.quote_style.is_none() && self.binder.bare_function(&ident.value)?.is_some() {
                    return Ok(None);
                }
                self.binder.find_column(&parse::fold(ident), None)?.map(|found| found.col)
            }
            Expr::CompoundIdentifier(parts) => Some(self.binder.compound(parts)?.col),
            _ => None,
        })
    }

    /// A printed column's own name.
    fn own_name(&self, col: Col, text: &str) -> String {
        self.plain.get(&col.id).cloned().unwrap_or_else(|| text.to_owned())
    }

    fn column_text(&self, col: Col) -> Result<String> {
        match self.columns.get(&col.id) {
            Some(text) => Ok(text.clone()),
            None => foreign("such a column"),
        }
    }

    /// An item of ORDER BY, GROUP BY or DISTINCT ON: the column of the list that it means, or itself.
    fn sort_item(&mut self, expr: &Expr, targets: &[Target<'_>], names_first: bool) -> Result<String> {
        let mut meant = None;
        match expr {
            Expr::Identifier(ident) => {
                let name = parse::fold(ident);
                let in_from = self
                    .binder
                    .level()
                    .visible
                    .iter()
                    .any(|v| v.columns && v.item.columns.iter().any(|column| column.name == name));
                if names_first || !in_from {
                    meant = targets.iter().find(|target| target.name == name);
                }
            }
            Expr::Value(value) => {
                if let ast::Value::Number(text, _) = &value.value {
                    let place = text.to_string().parse::<usize>().ok();
                    meant = place.and_then(|place| targets.get(place.checked_sub(1)?));
                }
            }
            _ => {}
        }
        let shown = match meant.map(|target| &target.what) {
            Some(What::Column(col)) => return self.column_text(*col),
            Some(What::Expr(expr)) => self.sorted_expr(expr)?,
            None => self.sorted_expr(expr)?,
        };
        Ok(shown)
    }

    fn sorted_expr(&mut self, expr: &Expr) -> Result<String> {
        let is_call = matches!(expr::bare(expr), Expr::Function(call) if !is_worded(call))
            || matches!(
                expr::bare(expr),
                Expr::Ceil { .. }
                    | Expr::Floor { .. }
                    | Expr::Extract { .. }
                    | Expr::Substring { .. }
                    | Expr::Trim { .. }
                    | Expr::Position { .. }
                    | Expr::Overlay { .. }
            );
        let is_column = self.plain_column(expr)?.is_some();
        let is_const = matches!(expr::bare(expr), Expr::Value(_));
        let shown = self.show(expr)?;
        let shown = self.known(shown)?;
        Ok(match is_call || (self.pretty && !is_column && !is_const) {
            true => glue(&["(", &shown.text, ")"]),
            false => shown.text,
        })
    }

    fn group_by(&mut self, group_by: &ast::GroupByExpr, targets: &[Target<'_>], out: &mut Out) -> Result<()> {
        let ast::GroupByExpr::Expressions(items, _) = group_by else { return foreign("GROUP BY ALL") };
        if items.is_empty() {
            return Ok(());
        }
        self.binder.level().clause = Clause::GroupBy;
        let with_sets =
            items.iter().any(|item| matches!(item, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_)));
        let mut texts = Vec::new();
        for item in items {
            match expr::row_items(item) {
                Some(parts) if with_sets && parts.is_empty() => texts.push("()".to_owned()),
                Some(parts) if !with_sets => {
                    for part in parts {
                        texts.push(self.sort_item(part, targets, false)?);
                    }
                }
                _ => texts.push(self.grouping(item, targets)?),
            }
        }
        out.clause(" GROUP BY ", 1);
        out.push(&joined(texts, ", "));
        Ok(())
    }

    fn grouping(&mut self, item: &Expr, targets: &[Target<'_>]) -> Result<String> {
        let sets = |printer: &mut Self, sets: &[Vec<Expr>], bare: bool| -> Result<String> {
            let mut texts = Vec::new();
            for set in sets {
                if let [one] = set.as_slice()
                    && matches!(one, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_))
                {
                    texts.push(printer.grouping(one, targets)?);
                    continue;
                }
                let mut items = Vec::new();
                for part in set.iter().flat_map(|part| expr::row_items(part).unwrap_or_else(|| vec![part])) {
                    items.push(printer.sort_item(part, targets, false)?);
                }
                let plain = bare && items.len() == 1;
                let text = joined(items, ", ");
                texts.push(if plain { text } else { format!("({text})") });
            }
            Ok(texts.join(", "))
        };
        match item {
            Expr::Rollup(parts) => Ok(format!("ROLLUP({})", sets(self, parts, true)?)),
            Expr::Cube(parts) => Ok(format!("CUBE({})", sets(self, parts, true)?)),
            Expr::GroupingSets(parts) => Ok(format!("GROUPING SETS ({})", sets(self, parts, false)?)),
            other => match expr::row_items(other) {
                Some(_) => sets(self, std::slice::from_ref(&vec![other.clone()]), true),
                None => self.sort_item(other, targets, false),
            },
        }
    }

    // Windows and aggregates.

    fn windows(&mut self, windows: &[ast::NamedWindowDefinition], out: &mut Out) -> Result<()> {
        if windows.is_empty() {
            return Ok(());
        }
        self.binder.level().clause = Clause::Window;
        let mut texts = Vec::new();
        for ast::NamedWindowDefinition(name, definition) in windows {
            let ast::NamedWindowExpr::WindowSpec(spec) = definition else { return foreign("such a window") };
            texts.push(format!("{} AS {}", quoted(&parse::fold(name)), self.window(spec)?));
        }
        out.clause(" WINDOW ", 1);
        out.push(&joined(texts, ", "));
        Ok(())
    }

    fn window(&mut self, spec: &ast::WindowSpec) -> Result<String> {
        let mut parts = Vec::new();
        if let Some(base) = &spec.window_name {
            parts.push(quoted(&parse::fold(base)));
        }
        if !spec.partition_by.is_empty() {
            let mut keys = Vec::new();
            for key in &spec.partition_by {
                keys.push(self.sorted_expr(key)?);
            }
            parts.push(format!("PARTITION BY {}", joined(keys, ", ")));
        }
        if !spec.order_by.is_empty() {
            parts.push(format!("ORDER BY {}", self.order_keys(&spec.order_by)?));
        }
        if let Some(frame) = &spec.window_frame {
            let units = match frame.units {
                ast::WindowFrameUnits::Rows => "ROWS",
                ast::WindowFrameUnits::Range => "RANGE",
                ast::WindowFrameUnits::Groups => "GROUPS",
            };
            let start = self.frame_bound(&frame.start_bound)?;
            parts.push(match &frame.end_bound {
                None => format!("{units} {start}"),
                Some(end) => format!("{units} BETWEEN {start} AND {}", self.frame_bound(end)?),
            });
        }
        Ok(format!("({})", joined(parts, " ")))
    }

    fn frame_bound(&mut self, bound: &ast::WindowFrameBound) -> Result<String> {
        Ok(match bound {
            ast::WindowFrameBound::CurrentRow => "CURRENT ROW".to_owned(),
            ast::WindowFrameBound::Preceding(None) => "UNBOUNDED PRECEDING".to_owned(),
            ast::WindowFrameBound::Following(None) => "UNBOUNDED FOLLOWING".to_owned(),
            ast::WindowFrameBound::Preceding(Some(offset)) => format!("{} PRECEDING", self.offset(offset)?),
            ast::WindowFrameBound::Following(Some(offset)) => format!("{} FOLLOWING", self.offset(offset)?),
        })
    }

    fn offset(&mut self, offset: &Expr) -> Result<String> {
        let shown = self.show(offset)?;
        Ok(if shown.is_unknown() { self.typed(shown, SqlType::Interval)?.text } else { shown.text })
    }

    fn order_keys(&mut self, items: &[ast::OrderByExpr]) -> Result<String> {
        let mut keys = Vec::new();
        for item in items {
            keys.push(format!("{}{}", self.sorted_expr(&item.expr)?, direction(&item.options)));
        }
        Ok(joined(keys, ", "))
    }

    /// An aggregate's or window function's call.
    pub(super) fn aggregate(&mut self, name: &str, call: &ast::Function) -> Result<Shown> {
        let mut before = "";
        let mut inside = String::new();
        let clause = std::mem::replace(&mut self.binder.level().clause, Clause::Select);
        if let ast::FunctionArguments::List(list) = &call.args {
            if list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct) {
                before = "DISTINCT ";
            }
            for clause in &list.clauses {
                match clause {
                    ast::FunctionArgumentClause::OrderBy(keys) => {
                        inside = format!(" ORDER BY {}", self.order_keys(keys)?);
                    }
                    _ => return foreign("such a call"),
                }
            }
        }
        let is_star = syntax::is_star(call);
        let (args, ty) = match is_star {
            true => ("*".to_owned(), SqlType::Int8),
            false => {
                let mut given = self.aggregate_arguments(call)?;
                let direct = given.len();
                for key in &call.within_group {
                    let shown = self.show(&key.expr)?;
                    given.push(shown);
                }
                let (mut texts, ty) = self.aggregate_types(name, given)?;
                texts.truncate(direct);
                (joined(texts, ", "), ty)
            }
        };
        let mut text = format!("{}({before}{args}{inside})", quoted(name));
        if !call.within_group.is_empty() {
            text = format!("{text} WITHIN GROUP (ORDER BY {})", self.order_keys(&call.within_group)?);
        }
        if let Some(filter) = &call.filter {
            let shown = self.show(filter)?;
            text = format!("{text} FILTER (WHERE {})", self.typed(shown, SqlType::Bool)?.text);
        }
        match &call.over {
            None => {}
            Some(ast::WindowType::NamedWindow(window)) => {
                text = format!("{text} OVER {}", quoted(&parse::fold(window)))
            }
            Some(ast::WindowType::WindowSpec(spec)) => text = format!("{text} OVER {}", self.window(spec)?),
        }
        self.binder.level().clause = clause;
        Ok(Shown::new(text, ty))
    }

    fn aggregate_arguments(&mut self, call: &ast::Function) -> Result<Vec<Shown>> {
        let ast::FunctionArguments::List(list) = &call.args else { return Ok(Vec::new()) };
        let mut given = Vec::new();
        for arg in &list.args {
            given.push(match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => self.show(expr)?,
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::QualifiedWildcard(name)) => {
                    let (_, relation) = name_parts(name)?;
                    self.whole_row(&relation)?
                }
                _ => return foreign("such an argument"),
            });
        }
        Ok(given)
    }

    fn aggregate_types(&mut self, name: &str, given: Vec<Shown>) -> Result<(Vec<String>, SqlType)> {
        use crate::function::Kind;
        let fits = |function: &crate::function::Function| matches!(function.kind, Kind::Aggregate(_) | Kind::Window(_));
        let stand_ins = given.iter().map(|arg| (arg.stand_in(), None)).collect();
        let chosen = self.binder.resolve_among(name, stand_ins, &fits, None)?;
        let types: Vec<SqlType> = chosen.args.iter().map(|arg| arg.ty().ty).collect();
        let texts = given.into_iter().zip(types).map(|(arg, ty)| self.typed(arg, ty).map(|arg| arg.text));
        Ok((texts.collect::<Result<_>>()?, chosen.returns.ty))
    }

    // Subqueries.

    /// What stands in queries alone.
    pub(super) fn in_query(&mut self, expr: &Expr) -> Result<Shown> {
        match expr {
            Expr::Subquery(query) => {
                let ty = self.types_of(query)?.first().copied().unwrap_or(SqlType::Text);
                let text = self.statement(query, None, false, self.indent)?;
                Ok(Shown::new(format!("({text})"), ty).of(Node::Test))
            }
            Expr::Exists { subquery, negated } => {
                let text = self.statement(subquery, None, false, self.indent)?;
                let test = Shown::new(format!("(EXISTS ({text}))"), SqlType::Bool).of(Node::Test);
                Ok(if *negated { self.negated(&test) } else { test })
            }
            Expr::In { expr: operand, target: ast::InTarget::Subquery(query), negated, .. } => {
                let test = self.over_query(operand, " IN ", "=", query)?;
                Ok(if *negated { self.negated(&test) } else { test })
            }
            _ => foreign("such an expression"),
        }
    }

    /// `(operand word (query))`
    pub(super) fn over_query(&mut self, operand: &Expr, word: &str, op: &str, query: &Query) -> Result<Shown> {
        let types = self.types_of(query)?;
        let left = match expr::row_items(operand) {
            Some(items) => {
                let mut texts = Vec::new();
                for (item, ty) in items.into_iter().zip(&types) {
                    let shown = self.show(item)?;
                    texts.push(if shown.is_unknown() { self.typed(shown, *ty)?.text } else { shown.text });
                }
                format!("({})", joined(texts, ", "))
            }
            None => {
                let shown = self.show(operand)?;
                let ty = types.first().copied().unwrap_or(SqlType::Text);
                let right = Shown::new("", ty);
                self.sides(shown, op, right)?.0.text
            }
        };
        let text = self.statement(query, None, false, self.indent)?;
        Ok(Shown::new(glue(&["(", &left, word, "(", &text, "))"]), SqlType::Bool).of(Node::Test))
    }

    /// A relation's whole row.
    pub(super) fn whole_row(&mut self, name: &str) -> Result<Shown> {
        let Some((_, item)) = self.binder.find_relation(None, name, None)? else { return foreign("such a name") };
        match item.columns.first().and_then(|column| self.rows.get(&column.col.id)) {
            Some(relation) if self.query => Ok(Shown::new(format!("{relation}.*"), SqlType::Record)),
            _ => foreign("a whole row"),
        }
    }

    /// ARRAY(query)
    pub(super) fn array_query(&mut self, query: &Query) -> Result<Shown> {
        let ty = self.types_of(query)?.first().and_then(|ty| ty.array()).unwrap_or(SqlType::TextArray);
        let text = self.statement(query, None, false, self.indent)?;
        Ok(Shown::new(format!("ARRAY({text})"), ty).of(Node::Test))
    }

    // FROM.

    /// The names of a level's relations, in order; none is one of a relation around.
    fn name_relations(&mut self, from: &[ast::TableWithJoins], ctes: &[String]) -> Result<VecDeque<String>> {
        let mut wanted = Vec::new();
        from.iter().try_for_each(|table| self.wanted_names(table, ctes, &mut wanted))?;
        let mut own: Vec<String> = Vec::new();
        for name in wanted {
            let is_taken = |name: &String| own.contains(name) || self.taken.iter().any(|level| level.contains(name));
            let mut chosen = name.clone();
            let mut number = 0;
            while is_taken(&chosen) {
                number += 1;
                chosen = format!("{name}_{number}");
            }
            own.push(chosen);
        }
        self.taken.push(own.clone());
        Ok(own.into())
    }

    fn wanted_names(&mut self, table: &ast::TableWithJoins, ctes: &[String], names: &mut Vec<String>) -> Result<()> {
        self.wanted_name(&table.relation, ctes, names)?;
        table.joins.iter().try_for_each(|join| self.wanted_name(&join.relation, ctes, names))
    }

    fn wanted_name(&mut self, factor: &TableFactor, ctes: &[String], names: &mut Vec<String>) -> Result<()> {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.wanted_names(table_with_joins, ctes, names)?;
                names.extend(alias.iter().map(|alias| parse::fold(&alias.name)));
                return Ok(());
            }
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. }
            | TableFactor::UNNEST { alias: Some(alias), .. } => names.push(parse::fold(&alias.name)),
            TableFactor::Table { name, args: None, .. } => {
                let (namespace, relation) = name_parts(name)?;
                if namespace.is_none() && ctes.contains(&relation) {
                    names.push(relation);
                    return Ok(());
                }
                names.push(match self.table_named(namespace.as_deref(), &relation)? {
                    Some(shape) => shape.name,
                    None => relation,
                });
            }
            TableFactor::Table { name, .. } | TableFactor::Function { name, .. } => names.push(name_parts(name)?.1),
            TableFactor::UNNEST { .. } => names.push("unnest".to_owned()),
            _ => return foreign("such a FROM item"),
        }
        Ok(())
    }

    /// The relation that a name means, as it is now; `None` for a WITH query.
    fn table_named(&mut self, namespace: Option<&str>, name: &str) -> Result<Option<super::RelationShape>> {
        if namespace.is_none() && self.binder.has_cte(name) {
            return Ok(None);
        }
        let Some(shape) = self.binder.names.relation(namespace, name)? else { return foreign("such a relation") };
        Ok(self.binder.names.relation_by_id(shape.table))
    }

    fn from(&mut self, from: &[ast::TableWithJoins], refs: &mut VecDeque<String>, level: usize) -> Result<String> {
        let mut out = Out { text: String::new(), level };
        for (at, item) in from.iter().enumerate() {
            let (text, part) = self.joined_tables(item, refs, level)?;
            self.binder.enter(part.visible);
            if at == 0 {
                out.clause(" FROM ", 2);
            } else {
                out.push(",");
                if !text.starts_with('\n') {
                    out.clause("", ITEM);
                }
            }
            out.push(&text);
        }
        Ok(out.text)
    }

    fn joined_tables(
        &mut self,
        table: &ast::TableWithJoins,
        refs: &mut VecDeque<String>,
        level: usize,
    ) -> Result<(String, Part)> {
        let before = self.binder.level().visible.len();
        let (mut text, mut left) = self.factor(&table.relation, refs, level)?;
        for join in &table.joins {
            let current = self.binder.level();
            current.visible.truncate(before);
            self.binder.enter(left.visible.clone());
            let (right_text, right) = self.factor(&join.relation, refs, level)?;
            self.binder.level().visible.truncate(before);
            let nested = matches!(&join.relation, TableFactor::NestedJoin { alias: None, .. });
            let (word, constraint) = join_words(&join.join_operator)?;
            let visible: Vec<_> = left.visible.iter().chain(&right.visible).cloned().collect();
            let on = match constraint {
                JoinConstraint::On(on) => {
                    let all = std::mem::take(&mut self.binder.level().visible);
                    self.binder.enter(visible);
                    self.binder.level().clause = Clause::JoinOn;
                    let shown = self.show(on)?;
                    let shown = self.typed(shown, SqlType::Bool)?;
                    self.binder.level().visible = all;
                    self.binder.level().clause = Clause::From;
                    Some(shown.text)
                }
                _ => None,
            };
            let shared = shared_columns(constraint, &left, &right)?;
            let merged = self.binder.join(left, right, &join.join_operator)?;
            left = merged;
            self.name_merged(&left);
            let mut out = Out { text, level };
            let is_cross = on.is_none() && shared.is_empty();
            out.clause(if is_cross && word == " JOIN " { " CROSS JOIN " } else { word }, ITEM);
            out.push(&if self.pretty && nested { format!("({right_text})") } else { right_text });
            if !shared.is_empty() {
                let names: Vec<String> = shared.iter().map(|name| quoted(name)).collect();
                out.push(&format!(" USING ({})", names.join(", ")));
            } else if let Some(on) = on {
                out.push(&if self.pretty { format!(" ON {on}") } else { format!(" ON ({on})") });
            } else if word != " JOIN " {
                out.push(" ON TRUE");
            }
            text = if self.pretty { out.text } else { format!("({})", out.text) };
        }
        self.binder.level().visible.truncate(before);
        Ok((text, left))
    }

    /// A column that USING made of two has no relation.
    fn name_merged(&mut self, part: &Part) {
        for item in part.visible.iter().filter(|v| v.columns && !v.relation).map(|v| v.item.clone()) {
            for column in &item.columns {
                self.columns.entry(column.col.id).or_insert_with(|| quoted(&column.name));
                self.plain.entry(column.col.id).or_insert_with(|| column.name.clone());
            }
        }
    }

    fn factor(&mut self, factor: &TableFactor, refs: &mut VecDeque<String>, level: usize) -> Result<(String, Part)> {
        if let TableFactor::NestedJoin { table_with_joins, alias } = factor {
            let (text, part) = self.joined_tables(table_with_joins, refs, level)?;
            let Some(alias) = alias else { return Ok((text, part)) };
            let name = refs.pop_front().unwrap_or_default();
            let part = self.binder.aliased_join(part, alias)?;
            let item = part.visible.last().map(|v| v.item.clone()).unwrap_or_default();
            let renamed = self.name_columns(&item, &name, None);
            let list = self.alias_list(renamed || !alias.columns.is_empty(), &item);
            let text = if self.pretty { format!("({text})") } else { text };
            return Ok((format!("{text} {}{list}", quoted(&name)), part));
        }
        let name = refs.pop_front().unwrap_or_default();
        let part = self.binder.table_factor(factor)?;
        let item = part.visible.last().map(|v| v.item.clone()).unwrap_or_default();
        let text = match factor {
            TableFactor::Table { name: written, alias, args: None, .. } => {
                let (namespace, relation) = name_parts(written)?;
                match self.table_named(namespace.as_deref(), &relation)? {
                    Some(now) => {
                        let aliases = alias.as_ref().map_or(&[][..], |alias| &alias.columns);
                        let renamed = self.name_columns(&item, &name, Some((&now, aliases.len())));
                        let list = self.alias_list(renamed, &item);
                        let table = self.relation_text(now.table, &now.namespace, &now.name);
                        let shows = alias.is_some() || renamed || name != now.name;
                        if shows { format!("{table} {}{list}", quoted(&name)) } else { table }
                    }
                    None => {
                        let renamed = self.name_columns(&item, &name, None);
                        let has_aliases = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                        let list = self.alias_list(renamed || has_aliases, &item);
                        let cte = quoted(&relation);
                        let shows = alias.is_some() || name != relation || !list.is_empty();
                        if shows { format!("{cte} {}{list}", quoted(&name)) } else { cte }
                    }
                }
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let hidden = std::mem::replace(&mut self.binder.level().hidden, !lateral);
                let text = self.statement(subquery, None, true, level)?;
                self.binder.level().hidden = hidden;
                let renamed = self.name_columns(&item, &name, None);
                let has_aliases = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                let list = self.alias_list(renamed || has_aliases, &item);
                let lateral = if *lateral { "LATERAL " } else { "" };
                format!("{lateral}({text}) {}{list}", quoted(&name))
            }
            factor => {
                let call = self.function_text(factor)?;
                self.name_columns(&item, &name, None);
                let columns: Vec<String> = item.columns.iter().map(|column| quoted(&column.name)).collect();
                let own = &self.binder.level().own;
                let lateral = walk::free_columns(&part.rel).iter().any(|col| own.contains(&col.id));
                let lateral = if lateral { "LATERAL " } else { "" };
                format!("{lateral}{call} {}({})", quoted(&name), columns.join(", "))
            }
        };
        Ok((text, part))
    }

    fn function_text(&mut self, factor: &TableFactor) -> Result<String> {
        let (name, args, ordinality) = match factor {
            TableFactor::Table { name, args: Some(args), with_ordinality, .. } => (name, &args.args, with_ordinality),
            TableFactor::Function { name, args, with_ordinality, .. } => (name, args, with_ordinality),
            TableFactor::UNNEST { array_exprs, with_ordinality, .. } => {
                let shown = self.all(array_exprs)?;
                let mut texts = Vec::new();
                for item in shown {
                    texts.push(self.known(item)?.text);
                }
                let word = if texts.len() > 1 { "UNNEST" } else { "unnest" };
                let ordinality = if *with_ordinality { " WITH ORDINALITY" } else { "" };
                return Ok(format!("{word}({}){ordinality}", joined(texts, ", ")));
            }
            _ => return foreign("such a FROM item"),
        };
        let (_, function) = name_parts(name)?;
        let exprs = args.iter().map(|arg| match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr),
            _ => foreign("such an argument"),
        });
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        let shown = self.all(exprs)?;
        let text = if function == "unnest" && shown.len() > 1 {
            let texts: Vec<String> = shown.into_iter().map(|item| item.text).collect();
            format!("UNNEST({})", texts.join(", "))
        } else {
            self.call(&function, shown)?.text
        };
        Ok(format!("{text}{}", if *ordinality { " WITH ORDINALITY" } else { "" }))
    }

    /// What an item's columns are printed as; whether a table's have other names than its own.
    fn name_columns(&mut self, item: &Item, name: &str, table: Option<(&super::RelationShape, usize)>) -> bool {
        let relation = quoted(name);
        let mut renamed = false;
        for (at, column) in item.columns.iter().enumerate() {
            let mut shown = column.name.clone();
            let mut number = 0;
            let taken = |name: &String, printer: &Self| {
                item.columns[..at].iter().any(|other| printer.plain.get(&other.col.id) == Some(name))
            };
            while table.is_none() && taken(&shown, self) {
                number += 1;
                shown = format!("{}_{number}", column.name);
                renamed = true;
            }
            if let Some((now, aliases)) = table {
                let own = column.origin.and_then(|(_, id)| now.columns.iter().find(|other| other.id == id));
                if let Some(own) = own {
                    if at >= aliases {
                        shown.clone_from(&own.name);
                    }
                    renamed |= shown != own.name;
                }
            }
            self.columns.insert(column.col.id, format!("{relation}.{}", quoted(&shown)));
            self.plain.insert(column.col.id, shown);
            self.rows.insert(column.col.id, relation.clone());
        }
        for (system, id, col) in &item.system {
            if *id != ColumnId::ROW_KEY {
                self.columns.insert(col.id, format!("{relation}.{system}"));
                self.plain.insert(col.id, (*system).to_owned());
            }
        }
        renamed
    }

    /// `(a, b)`, of all columns, where they are told.
    fn alias_list(&self, told: bool, item: &Item) -> String {
        if !told {
            return String::new();
        }
        let name = |column: &ItemColumn| self.plain.get(&column.col.id).unwrap_or(&column.name).clone();
        let names: Vec<String> = item.columns.iter().map(|column| quoted(&name(column))).collect();
        format!("({})", names.join(", "))
    }

    /// A relation's name, with its namespace where the search path does not lead to it.
    fn relation_text(&self, id: TableId, namespace: &str, name: &str) -> String {
        let full = || format!("{}.{}", quoted(namespace), quoted(name));
        if self.binder.has_cte(name) {
            return full();
        }
        self.binder.names.catalog().relation_name(id.0).unwrap_or_else(full)
    }
}

/// Whether a query is nothing but its body.
fn is_plain(query: &Query) -> bool {
    query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none()
}

/// The set operation that an arm in brackets is.
fn nested(body: &SetExpr) -> Option<&SetExpr> {
    match body {
        SetExpr::SetOperation { .. } => Some(body),
        SetExpr::Query(query) if is_plain(query) => nested(&query.body),
        _ => None,
    }
}

fn is_worded(call: &ast::Function) -> bool {
    [
        "coalesce",
        "nullif",
        "greatest",
        "least",
        "row",
        "current_timestamp",
        "current_time",
        "localtimestamp",
        "localtime",
    ]
    .iter()
    .any(|name| syntax::is_plain(call, name))
}

fn direction(options: &ast::OrderByOptions) -> &'static str {
    match (options.sort == Some(ast::OrderBySort::Desc), options.nulls_first) {
        (false, Some(true)) => " NULLS FIRST",
        (false, _) => "",
        (true, Some(false)) => " DESC NULLS LAST",
        (true, _) => " DESC",
    }
}

fn join_words(operator: &JoinOperator) -> Result<(&'static str, &JoinConstraint)> {
    Ok(match operator {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) | JoinOperator::CrossJoin(constraint) => {
            (" JOIN ", constraint)
        }
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (" LEFT JOIN ", constraint),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (" RIGHT JOIN ", constraint),
        JoinOperator::FullOuter(constraint) => (" FULL JOIN ", constraint),
        _ => return Err(SqlError::unsupported("such a join")),
    })
}

/// The columns of USING or NATURAL.
fn shared_columns(constraint: &JoinConstraint, left: &Part, right: &Part) -> Result<Vec<String>> {
    let columns = |part: &Part| -> Vec<String> {
        let shown = part.visible.iter().filter(|v| v.columns);
        shown.flat_map(|v| v.item.columns.iter().map(|column| column.name.clone())).collect()
    };
    match constraint {
        JoinConstraint::Using(names) => names.iter().map(|name| Ok(name_parts(name)?.1)).collect(),
        JoinConstraint::Natural => {
            let right = columns(right);
            Ok(columns(left).into_iter().filter(|name| right.contains(name)).collect())
        }
        _ => Ok(Vec::new()),
    }
}
