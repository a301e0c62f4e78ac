//! LISTEN, UNLISTEN, NOTIFY, and the statements that start and end live queries.

use super::around::check_message;
use super::{Guard, Outcome, query};
use crate::error;
use crate::plan;
use crate::relation::Relation;
use crate::reply::{Rows, RowsTag};
use crate::resolve::{self, permit};
use crate::standing::{ListenChange, Prepared, Standing};
use kalamdb_auth::Identity;
use kalamdb_auth::authorize::AdminAction;
use kalamdb_commons::{ColumnId, Datum, Result, SqlError, SqlState};
use kalamdb_live::Follow;
use kalamdb_sql::Statement;
use kalamdb_sql::bind::bound::{Bound, BoundKind, Col, ColId, Rel, Scalar};
use kalamdb_sql::bind::walk;
use kalamdb_sql::predicate::{Values, check_live_safe};
use std::collections::HashMap;
use std::sync::Arc;

/// Channels of this prefix describe a live query by their name.
const SELF_DESCRIBING: &str = "live:";

/// LISTEN
///
/// # Errors
/// 22023 for an empty name; 0A000 for a self-describing channel.
pub(super) fn listen(standing: &mut Standing, channel: &str) -> Result<Outcome> {
    check_message(channel, "")?;
    if channel.starts_with(SELF_DESCRIBING) {
        return Err(
            SqlError::unsupported("a self-describing live channel").with_hint("Use LISTEN name FOR SELECT ....")
        );
    }
    standing.pend_listen(ListenChange::Listen(channel.to_string()));
    Ok(Outcome::Command("LISTEN".to_string()))
}

/// UNLISTEN
///
/// # Errors
/// None.
pub(super) fn unlisten(standing: &mut Standing, channel: Option<&str>) -> Result<Outcome> {
    standing.pend_listen(match channel {
        Some(channel) => ListenChange::Unlisten(channel.to_string()),
        None => ListenChange::UnlistenAll,
    });
    Ok(Outcome::Command("UNLISTEN".to_string()))
}

/// NOTIFY
///
/// # Errors
/// 22023
pub(super) fn notify(standing: &mut Standing, channel: &str, payload: &str) -> Result<Outcome> {
    check_message(channel, payload)?;
    standing.pend_notify(channel, payload);
    Ok(Outcome::Command("NOTIFY".to_string()))
}

/// SUBSCRIBE's options.
///
/// # Errors
/// 22023 for an unknown one; 0A000 for `from_seq` and `last_rows`.
pub(super) fn subscribe_options(options: &[(String, String)]) -> Result<()> {
    for (name, value) in options {
        match name.as_str() {
            "batch_size" if value.parse::<u32>().is_ok_and(|rows| rows > 0) => {}
            "batch_size" => {
                return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "batch_size takes a number from 1"));
            }
            "from_seq" | "last_rows" => return Err(SqlError::unsupported(format!("the option {name} of SUBSCRIBE"))),
            _ => {
                return Err(SqlError::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("unrecognized option \"{name}\" of SUBSCRIBE"),
                ));
            }
        }
    }
    Ok(())
}

/// KILL LIVE QUERY
///
/// # Errors
/// 42501, 42704
pub(super) fn kill(standing: &mut Standing, id: &str) -> Result<Outcome> {
    let identity = standing.identity.clone();
    let allowed = |owner| {
        let is_own = owner == identity.user;
        permit(&identity, AdminAction::KillLiveQuery { is_own }, "live query").is_ok()
    };
    match standing.hall.live.kill(id, allowed) {
        Some(true) => Ok(Outcome::Command("KILL LIVE QUERY".to_string())),
        Some(false) => Err(error::denied(format!("live query {id}"))),
        None => Err(SqlError::new(SqlState::UNDEFINED_OBJECT, format!("live query \"{id}\" does not exist"))),
    }
}

/// What a live query follows, taken out of its bound tree.
pub(super) struct Followed {
    pub relation: Arc<Relation>,
    pub columns: Vec<(ColumnId, Col)>,
    pub predicate: Option<Scalar>,
    pub outputs: Vec<(String, Scalar)>,
}

/// Reads a query over one relation: its scan, predicate and select list, over the scan's columns.
///
/// # Errors
/// 0A000 for any other query.
pub(super) fn followed(bound: &Bound, relations: &[Arc<Relation>]) -> Result<Followed> {
    let wider = || {
        SqlError::unsupported("a live query over more than one relation, or with grouping, ordering or a limit")
            .with_hint("Follow one relation: SELECT … FROM t WHERE ….")
    };
    let BoundKind::Query(rel) = &bound.kind else { return Err(wider()) };
    if !bound.steps.is_empty() {
        return Err(wider());
    }
    let mut made: HashMap<ColId, Scalar> = HashMap::new();
    let mut predicates = Vec::new();
    let mut at = rel;
    let columns = loop {
        match at {
            Rel::Narrow { input, .. } => at = input,
            Rel::Extend { input, columns } => {
                made.extend(columns.iter().map(|(col, scalar)| (col.id, scalar.clone())));
                at = input;
            }
            Rel::Filter { input, predicate } => {
                predicates.push(predicate.clone());
                at = input;
            }
            Rel::Scan { columns, .. } => break columns.clone(),
            _ => return Err(wider()),
        }
    };
    let [relation] = relations else { return Err(wider()) };
    let resolve = |scalar: &Scalar| inlined(scalar, &made);
    let predicate = match predicates.len() {
        0 => None,
        1 => predicates.pop().map(|predicate| resolve(&predicate)),
        _ => Some(Scalar::And(predicates.iter().map(resolve).collect())),
    };
    let all_columns: HashMap<ColId, Col> = rel.columns().into_iter().map(|col| (col.id, col)).collect();
    let mut outputs = Vec::with_capacity(bound.outputs.len());
    for output in &bound.outputs {
        let col =
            all_columns.get(&output.col).copied().ok_or_else(|| SqlError::internal("an output without a column"))?;
        outputs.push((output.name.clone(), resolve(&Scalar::Column(col))));
    }
    for scalar in predicate.iter().chain(outputs.iter().map(|(_, scalar)| scalar)) {
        check_live_safe(scalar)?;
    }
    Ok(Followed { relation: relation.clone(), columns, predicate, outputs })
}

/// The scalar with the columns that a projection made replaced by what they are made of.
fn inlined(scalar: &Scalar, made: &HashMap<ColId, Scalar>) -> Scalar {
    let mut scalar = scalar.clone();
    walk::rewrite(&mut scalar, &mut |inner| match inner {
        Scalar::Column(col) => made.get(&col.id).map(|source| inlined(source, made)),
        _ => None,
    });
    scalar
}

impl Followed {
    /// What `live` is told.
    ///
    /// # Errors
    /// 0A000 for a computed relation.
    pub fn follow(&self, identity: &Arc<Identity>, channel: &str, text: &str, values: Values) -> Result<Follow> {
        let (table, scope) = self.relation.followed_place()?;
        Ok(Follow {
            may_read: resolve::reader(identity),
            channel: channel.to_string(),
            table,
            scope,
            text: text.to_string(),
            predicate: self.predicate.clone(),
            outputs: self.outputs.clone(),
            columns: self.columns.clone(),
            parameters: values.parameters,
            session: values.session,
            around: values.around,
        })
    }
}

/// A change of the user's rights ends a live query that runs; one that came while it was starting is seen here.
///
/// # Errors
/// 40001
pub(super) fn same_user(standing: &Standing) -> Result<()> {
    match standing.is_user_current() {
        true => Ok(()),
        false => Err(SqlError::new(
            SqlState::T_R_SERIALIZATION_FAILURE,
            "the user changed while the live query was starting",
        )),
    }
}

/// LISTEN … FOR, LIVE SELECT, SUBSCRIBE: the initial rows, and what follows on the channel.
///
/// # Errors
/// 42501, 0A000 for what cannot be followed, 42710 for a channel that follows something else.
pub(super) async fn follow(
    standing: &mut Standing,
    channel: Option<&String>,
    prepared: &Arc<Prepared>,
    values: Arc<Vec<Datum>>,
    guard: &Guard,
) -> Result<Outcome> {
    let (prepared, relations) = query::relations(standing, prepared).await?;
    let bound = prepared.bound.clone().ok_or_else(|| SqlError::internal("a live query without a bound tree"))?;
    let followed = followed(&bound, &relations)?;
    let channel = match channel {
        Some(channel) => channel.clone(),
        None => {
            // The generated name is what KILL and UNLISTEN take; the client learns it by this notice.
            let channel = format!("live_{}", standing.hall.snowflake.next());
            standing.notice(format!("live query on channel \"{channel}\""));
            channel
        }
    };
    let text = match &prepared.parsed.statement {
        Statement::ListenFor { text, .. } | Statement::Live { text, .. } | Statement::Subscribe { text, .. } => text,
        _ => &prepared.parsed.text,
    };
    check_message(&channel, "")?;
    let with = super::write::values_of(standing, &bound, &values);
    let follow = followed.follow(&standing.identity, &channel, text, with)?;
    let (view, query) = standing.outbox.follow(follow).await?;
    standing.listen_count += 1;
    standing.pend_listen(ListenChange::Follow(query));
    same_user(standing)?;
    // The initial rows are those of the registration's state, not of this transaction's snapshot.
    let mut execution = query::execution(standing, &bound, &relations, values, guard)?;
    execution.leaves = super::query::sources(standing, &relations, &view)?;
    let BoundKind::Query(rel) = &bound.kind else { return Err(SqlError::internal("not a query")) };
    let outputs: Vec<ColId> = bound.outputs.iter().map(|output| output.col).collect();
    let stream = plan::run(rel, &outputs, execution).await?;
    let columns = prepared.columns.clone().unwrap_or_else(|| Arc::from([]));
    let batches = guard.clone().watch_stream(stream);
    Ok(Outcome::Rows(Rows { columns, batches, tag: RowsTag::Counted("SELECT") }))
}
