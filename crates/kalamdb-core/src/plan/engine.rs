//! The one engine of a server: its memory, its spill directory, its threads and the rules that plans are made with.
//!
//! Everything here is made once. A statement takes one of two prepared states: small plans run in one partition, large
//! ones in two or more. All plans are made and run on threads of their own, so that no expression, however long it
//! takes, delays a point read, a notification or a cancel request.

use super::error::engine_error;
use super::rules;
use datafusion::execution::context::SessionConfig;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use kalamdb_commons::{Result, SqlError};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// Rows in a batch: large enough to be columnar, small enough that a client sees its first rows soon.
pub(super) const BATCH_ROWS: usize = 8192;
/// Above this estimate of rows read, a plan is large: below it, starting a second partition and another thread costs
/// more than it brings.
pub(super) const LARGE_PLAN_ROWS: u64 = 50_000;

/// Planning and the dropping of plans recurse as deep as statements nest. Only pages that are used cost memory.
pub const STACK_BYTES: usize = 64 << 20;
/// Threads for plans beside the processors' number: some may be held by one long call without a pause.
const THREADS_SPARE: usize = 6;

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Bytes that all running plans may hold together; beyond them they spill, and what cannot spill fails with 53200.
    pub memory_bytes: usize,
    /// Where plans spill to; emptied by nobody but the engine. `None`: the system's temporary directory.
    pub spill_dir: Option<PathBuf>,
    /// The partitions of a large plan.
    pub threads: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        // A quarter of a small server's memory; a core per partition, but never all of a large machine's.
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 8);
        Self { memory_bytes: 512 << 20, spill_dir: None, threads }
    }
}

/// The engine. A clone is the same engine.
#[derive(Clone)]
pub struct Engine {
    rooms: Arc<Rooms>,
}

struct Rooms {
    small: SessionState,
    large: SessionState,
    /// Taken only when dropped: a runtime must not be dropped where awaiting is going on.
    threads: Option<tokio::runtime::Runtime>,
}

impl Drop for Rooms {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine.
    ///
    /// # Errors
    /// When the spill directory cannot be used or the threads cannot be started.
    pub fn new(options: EngineOptions) -> Result<Engine> {
        let mode = match options.spill_dir {
            Some(dir) => DiskManagerMode::Directories(vec![dir]),
            None => DiskManagerMode::OsTmpDirectory,
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_bytes)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
            .build_arc()
            .map_err(engine_error)?;
        let threads = options.threads.max(1);
        let pool = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads + THREADS_SPARE)
            .thread_stack_size(STACK_BYTES)
            .thread_name("kalam-plan")
            .enable_all()
            .build()
            .map_err(SqlError::internal)?;
        let rooms =
            Rooms { small: state(1, runtime.clone()), large: state(threads.max(2), runtime), threads: Some(pool) };
        Ok(Engine { rooms: Arc::new(rooms) })
    }

    /// The state that a statement plans and runs with.
    pub(super) fn state(&self, large: bool) -> &SessionState {
        if large { &self.rooms.large } else { &self.rooms.small }
    }

    /// The threads for plans.
    pub(super) fn threads(&self) -> Option<tokio::runtime::Handle> {
        self.rooms.threads.as_ref().map(|threads| threads.handle().clone())
    }

    /// Does work on the threads for plans. Dropping the future ends it at its next pause.
    ///
    /// # Errors
    /// The work's; XX000 when it panicked.
    pub(super) async fn on_threads<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let Some(threads) = self.threads() else { return work.await };
        AbortOnDropHandle::new(threads.spawn(work)).await.map_err(SqlError::internal)?
    }

    /// The runtime of memory and spill files.
    pub(super) fn runtime(&self) -> &Arc<RuntimeEnv> {
        self.rooms.small.runtime_env()
    }

    /// Bytes that running plans hold now.
    pub fn memory_used(&self) -> usize {
        self.runtime().memory_pool.reserved()
    }
}

fn state(partitions: usize, runtime: Arc<RuntimeEnv>) -> SessionState {
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_round_robin_repartition(partitions > 1);
    let options = config.options_mut();
    // An optimizer rule that fails has found a bug; the client must not get an answer from half a rule.
    options.optimizer.skip_failed_rules = false;
    // The estimates of hot rows are no statistics of files.
    options.execution.collect_statistics = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_analyzer_rules(Vec::new())
        .with_optimizer_rules(rules::logical())
        .with_physical_optimizer_rules(rules::physical())
        .with_query_planner(Arc::new(rules::Planner))
        .build()
}

#[cfg(test)]
impl Engine {
    /// A small engine for tests.
    pub(super) fn for_tests() -> Engine {
        Engine::new(EngineOptions { threads: 2, ..EngineOptions::default() }).expect("an engine")
    }
}
