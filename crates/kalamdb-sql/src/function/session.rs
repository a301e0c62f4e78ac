//! What a session does to itself and to others: waiting, advisory locks, messages, signals (PostgreSQL manual 9.9.5,
//! 9.27.2, 9.27.10).

use super::rows::{by_datum, f, k, x};
use super::{AdvisoryAct, AdvisoryLock, Call, Function, Kind};
use kalamdb_commons::{Datum, Interval, Result, SqlType, clock};
use std::time::Duration;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(call; 2626 volatile "pg_sleep" (seconds: Float8) -> Void { sleep_us(seconds * 1e6, call) }),
    f!(call; 3935 volatile "pg_sleep_for" (time: Interval) -> Void { sleep_for(time, call) }),
    f!(call; 3936 volatile "pg_sleep_until" (moment: Timestamptz) -> Void { sleep_until(moment, call) }),
    f!(call; 817 volatile "current_query" () -> Text { Ok(Some(call.around.query_text().to_owned())) }),
    x!(2561 volatile "pg_blocking_pids" (Int4) -> Int4Array = |args, call| by_datum(args, call, |row| {
        let pids = match row[0] { Datum::Int4(pid) => call.around.blocking_backends(pid), _ => Vec::new() };
        Ok(super::array::array(pids.into_iter().map(Datum::Int4).collect(), SqlType::Int4Array.into()))
    })),
    f!(call; 2171 volatile "pg_cancel_backend" (pid: Int4) -> Bool { call.around.signal_backend(pid, false) }),
    f!(call; 2096 volatile defaults(1) "pg_terminate_backend" (pid: Int4, _timeout_ms: Int8) -> Bool { call.around.signal_backend(pid, true) }),
    f!(call; 3036 volatile lax "pg_notify" (channel: Text, payload: Text) -> Void { call.around.notify(channel, payload) }),
    f!(call; 2880 volatile "pg_advisory_lock" (key: Int8) -> Void { advisory_wait(whole(key), false, false, call) }),
    f!(call; 2886 volatile "pg_advisory_lock" (a: Int4, b: Int4) -> Void { advisory_wait(halves(a, b), false, false, call) }),
    f!(call; 2881 volatile "pg_advisory_lock_shared" (key: Int8) -> Void { advisory_wait(whole(key), true, false, call) }),
    f!(call; 2887 volatile "pg_advisory_lock_shared" (a: Int4, b: Int4) -> Void { advisory_wait(halves(a, b), true, false, call) }),
    f!(call; 3089 volatile "pg_advisory_xact_lock" (key: Int8) -> Void { advisory_wait(whole(key), false, true, call) }),
    f!(call; 3093 volatile "pg_advisory_xact_lock" (a: Int4, b: Int4) -> Void { advisory_wait(halves(a, b), false, true, call) }),
    f!(call; 3090 volatile "pg_advisory_xact_lock_shared" (key: Int8) -> Void { advisory_wait(whole(key), true, true, call) }),
    f!(call; 3094 volatile "pg_advisory_xact_lock_shared" (a: Int4, b: Int4) -> Void { advisory_wait(halves(a, b), true, true, call) }),
    f!(call; 2882 volatile "pg_try_advisory_lock" (key: Int8) -> Bool { advisory(whole(key), AdvisoryAct::TryLock, false, false, call) }),
    f!(call; 2888 volatile "pg_try_advisory_lock" (a: Int4, b: Int4) -> Bool { advisory(halves(a, b), AdvisoryAct::TryLock, false, false, call) }),
    f!(call; 2883 volatile "pg_try_advisory_lock_shared" (key: Int8) -> Bool { advisory(whole(key), AdvisoryAct::TryLock, true, false, call) }),
    f!(call; 2889 volatile "pg_try_advisory_lock_shared" (a: Int4, b: Int4) -> Bool { advisory(halves(a, b), AdvisoryAct::TryLock, true, false, call) }),
    f!(call; 3091 volatile "pg_try_advisory_xact_lock" (key: Int8) -> Bool { advisory(whole(key), AdvisoryAct::TryLock, false, true, call) }),
    f!(call; 3095 volatile "pg_try_advisory_xact_lock" (a: Int4, b: Int4) -> Bool { advisory(halves(a, b), AdvisoryAct::TryLock, false, true, call) }),
    f!(call; 3092 volatile "pg_try_advisory_xact_lock_shared" (key: Int8) -> Bool { advisory(whole(key), AdvisoryAct::TryLock, true, true, call) }),
    f!(call; 3096 volatile "pg_try_advisory_xact_lock_shared" (a: Int4, b: Int4) -> Bool { advisory(halves(a, b), AdvisoryAct::TryLock, true, true, call) }),
    f!(call; 2884 volatile "pg_advisory_unlock" (key: Int8) -> Bool { advisory(whole(key), AdvisoryAct::Unlock, false, false, call) }),
    f!(call; 2890 volatile "pg_advisory_unlock" (a: Int4, b: Int4) -> Bool { advisory(halves(a, b), AdvisoryAct::Unlock, false, false, call) }),
    f!(call; 2885 volatile "pg_advisory_unlock_shared" (key: Int8) -> Bool { advisory(whole(key), AdvisoryAct::Unlock, true, false, call) }),
    f!(call; 2891 volatile "pg_advisory_unlock_shared" (a: Int4, b: Int4) -> Bool { advisory(halves(a, b), AdvisoryAct::Unlock, true, false, call) }),
    f!(call; 2892 volatile "pg_advisory_unlock_all" () -> Void { advisory((0, false), AdvisoryAct::UnlockAll, false, false, call).map(|_| ()) }),
    k!(3035 stable "pg_listening_channels" () -> Text = Kind::Set(|_, call| {
        Ok(Box::new(call.around.listening_channels().into_iter().map(|channel| Ok(vec![Datum::text(channel)]))))
    })),
];

/// The longest wait; longer ones are as good as endless.
const SLEEP_MAX: Duration = Duration::from_secs(1 << 33);

fn sleep_us(us: f64, call: &Call<'_>) -> Result<()> {
    // Not a number and what is past are no wait.
    if us.is_nan() || us <= 0.0 {
        return Ok(());
    }
    let time = Duration::try_from_secs_f64(us / 1e6).unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
    call.around.sleep(time)
}

fn sleep_until(moment: i64, call: &Call<'_>) -> Result<()> {
    sleep_us(moment.saturating_sub(clock::now_us()) as f64, call)
}

/// Months and days are those that begin now.
fn sleep_for(time: Interval, call: &Call<'_>) -> Result<()> {
    let now = clock::now_us();
    let then = super::datetime::plus_zoned(now, time, &call.around.style().time_zone)?;
    sleep_us((then - now) as f64, call)
}

fn whole(key: i64) -> (i64, bool) {
    (key, false)
}

fn halves(a: i32, b: i32) -> (i64, bool) {
    ((i64::from(a) << 32) | i64::from(b as u32), true)
}

fn advisory(key: (i64, bool), act: AdvisoryAct, shared: bool, transaction: bool, call: &Call<'_>) -> Result<bool> {
    call.around.advisory_lock(AdvisoryLock { key, act, shared, transaction })
}

fn advisory_wait(key: (i64, bool), shared: bool, transaction: bool, call: &Call<'_>) -> Result<()> {
    advisory(key, AdvisoryAct::Lock, shared, transaction, call).map(drop)
}
