//! Background work: when it runs. What it does is the store's upkeep.
//!
//! A job is recorded before it works, one runs for each table and kind, and a job found running at start (a crash) is
//! taken up again.

use crate::hall::Hall;
use kalamdb_commons::{Result, SqlError, TableId, clock};
use kalamdb_store::{Catalog, JobRecord, TableDef, upkeep};
use std::sync::Arc;

/// How often a failed job is tried.
const ATTEMPTS_MAX: i32 = 3;

/// Starts a flush of a table, or names the one that runs.
///
/// # Errors
/// The store's, when the job cannot be recorded.
pub(crate) fn flush(hall: &Arc<Hall>, catalog: &Catalog, table: &Arc<TableDef>) -> Result<String> {
    let mut running = hall.running.flushes.lock();
    if let Some(job) = running.get(&table.id) {
        return Ok(job.clone());
    }
    let namespace = catalog.namespace(table.namespace).map(|namespace| namespace.name.to_string());
    let job = JobRecord {
        job_id: format!("FL{}", hall.snowflake.next()),
        job_type: "flush".to_string(),
        namespace,
        table_name: Some(table.name.to_string()),
        table: Some(table.id),
        status: "queued".to_string(),
        created_at: clock::now_us(),
        ..JobRecord::default()
    };
    hall.store.job_put(&job)?;
    running.insert(table.id, job.job_id.clone());
    let id = job.job_id.clone();
    tokio::spawn(run_flush(hall.clone(), table.id, job));
    Ok(id)
}

async fn run_flush(hall: Arc<Hall>, table: TableId, mut job: JobRecord) {
    job.started_at = Some(clock::now_us());
    loop {
        job.attempts += 1;
        job.status = "running".to_string();
        record(&hall, &job);
        match upkeep::flush::flush(hall.store.engine(), table).await {
            Ok(done) => {
                job.status = "completed".to_string();
                job.result = Some(format!("{} rows, {} bytes, {} segments", done.rows, done.bytes, done.segments));
                job.progress = Some("100 %".to_string());
                job.error = None;
                break;
            }
            Err(error) => {
                let error = SqlError::from(error);
                tracing::warn!(job = job.job_id, %error, "a flush failed");
                job.error = Some(error.message().to_string());
                if job.attempts >= ATTEMPTS_MAX {
                    job.status = "failed".to_string();
                    break;
                }
                job.status = "retrying".to_string();
                record(&hall, &job);
                tokio::time::sleep(std::time::Duration::from_secs(job.attempts.unsigned_abs().into())).await;
            }
        }
    }
    job.finished_at = Some(clock::now_us());
    record(&hall, &job);
    hall.running.flushes.lock().remove(&table);
}

fn record(hall: &Hall, job: &JobRecord) {
    if let Err(error) = hall.store.job_put(job) {
        tracing::error!(job = job.job_id, %error, "a job could not be recorded");
    }
}

/// Takes up the jobs that a crash interrupted.
pub(crate) fn resume(hall: &Arc<Hall>) {
    let catalog = hall.store.published().catalog.clone();
    for mut job in hall.store.jobs() {
        if !matches!(job.status.as_str(), "queued" | "running" | "retrying") {
            continue;
        }
        let table = job.table.filter(|table| job.job_type == "flush" && catalog.table(*table).is_some());
        match table {
            Some(table) => {
                hall.running.flushes.lock().insert(table, job.job_id.clone());
                tokio::spawn(run_flush(hall.clone(), table, job));
            }
            None => {
                job.status = "cancelled".to_string();
                job.finished_at = Some(clock::now_us());
                record(hall, &job);
            }
        }
    }
}

/// How often upkeep looks for what can go: leftovers of flushes, retired files, tombstones past their retention.
const TIDY_EVERY: std::time::Duration = std::time::Duration::from_secs(30);

/// Removes what a crash left of flushes, then tidies from time to time, until the store is closed. Before the first
/// flush: what one has begun would be taken for a crash's.
///
/// # Errors
/// The store's.
pub(crate) fn keep_tidy(hall: &Arc<Hall>) -> Result<()> {
    let abandoned = upkeep::Abandoned::of(hall.store.engine())?;
    let engine = Arc::downgrade(hall.store.engine());
    tokio::spawn(async move {
        if let Some(engine) = engine.upgrade()
            && let Err(error) = upkeep::recover(&engine, abandoned).await
        {
            tracing::warn!(%error, "interrupted flushes could not be cleaned up");
        }
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            // The store is held only while there is work: it must be closed when the server stops.
            let Some(engine) = engine.upgrade() else { return };
            match upkeep::tidy(&engine).await {
                Ok(_) => {}
                Err(kalamdb_store::StoreError::Closed) => return,
                Err(error) => tracing::warn!(%error, "upkeep could not tidy"),
            }
        }
    });
    Ok(())
}
