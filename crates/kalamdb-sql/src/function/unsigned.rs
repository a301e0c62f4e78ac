//! xid8 and pg_lsn (PostgreSQL manual 8.20, 9.27): order, distances, the transaction's own number.

use super::operators::between as o;
use super::rows::{f, fail, k};
use super::{Cast, CastContext, CastMethod, Function, Kind, Operator, Work};
use crate::bind::bound::CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
use crate::types::unsigned::Unsigned;
use datafusion_functions_aggregate::min_max;
use kalamdb_commons::numeric::arithmetic::Op;
use kalamdb_commons::{Numeric, Result, SqlState, SqlType};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(5071 "xid" (a: Xid8) -> Xid { Ok(a.0 as u32) }),
    k!(5099 lax "max" (Xid8) -> Xid8 = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(5100 lax "min" (Xid8) -> Xid8 = Kind::Aggregate(|_| min_max::min_udaf())),
    f!(call; 5059 stable "pg_current_xact_id" () -> Xid8 { Ok(Unsigned(call.around.transaction_number()?)) }),
    f!(call; 2943 stable "txid_current" () -> Int8 { Ok(call.around.transaction_number()? as i64) }),
    f!(3237 "pg_lsn_mi" (a: PgLsn, b: PgLsn) -> Numeric { Ok(difference(a.0, b.0)) }),
    f!(3165 "pg_wal_lsn_diff" (a: PgLsn, b: PgLsn) -> Numeric { Ok(difference(a.0, b.0)) }),
    f!(5022 "pg_lsn_pli" (a: PgLsn, n: Numeric) -> PgLsn { moved(a, &n, Op::Add) }),
    f!(5023 "numeric_pl_pg_lsn" (n: Numeric, a: PgLsn) -> PgLsn { moved(a, &n, Op::Add) }),
    f!(5024 "pg_lsn_mii" (a: PgLsn, n: Numeric) -> PgLsn { moved(a, &n, Op::Sub) }),
    f!(6103 "pg_lsn" (n: Numeric) -> PgLsn { position(&n) }),
    k!(4189 lax "max" (PgLsn) -> PgLsn = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(4190 lax "min" (PgLsn) -> PgLsn = Kind::Aggregate(|_| min_max::min_udaf())),
];

#[rustfmt::skip]
pub(super) static OPERATORS: &[Operator] = {
    use SqlType::{Bool, Numeric, PgLsn, Xid8};
    use Work::{Compare, Function};
    &[
        o(5068, "=", Xid8, Xid8, Bool, Compare(Eq)), o(5072, "<>", Xid8, Xid8, Bool, Compare(Ne)),
        o(5073, "<", Xid8, Xid8, Bool, Compare(Lt)), o(5075, "<=", Xid8, Xid8, Bool, Compare(Le)),
        o(5074, ">", Xid8, Xid8, Bool, Compare(Gt)), o(5076, ">=", Xid8, Xid8, Bool, Compare(Ge)),
        o(3222, "=", PgLsn, PgLsn, Bool, Compare(Eq)), o(3223, "<>", PgLsn, PgLsn, Bool, Compare(Ne)),
        o(3224, "<", PgLsn, PgLsn, Bool, Compare(Lt)), o(3226, "<=", PgLsn, PgLsn, Bool, Compare(Le)),
        o(3225, ">", PgLsn, PgLsn, Bool, Compare(Gt)), o(3227, ">=", PgLsn, PgLsn, Bool, Compare(Ge)),
        o(3228, "-", PgLsn, PgLsn, Numeric, Function(3237)), o(5025, "+", PgLsn, Numeric, PgLsn, Function(5022)),
        o(5026, "+", Numeric, PgLsn, PgLsn, Function(5023)), o(5027, "-", PgLsn, Numeric, PgLsn, Function(5024)),
    ]
};

pub(super) static CASTS: &[Cast] = &[Cast {
    source: SqlType::Xid8,
    target: SqlType::Xid,
    context: CastContext::Explicit,
    method: CastMethod::Function(5071),
}];

fn difference(a: u64, b: u64) -> Numeric {
    Numeric::finite((i128::from(a) - i128::from(b)).into(), 0)
}

fn moved(a: Unsigned, by: &Numeric, op: Op) -> Result<Unsigned> {
    if matches!(by, Numeric::NaN) {
        let what = if matches!(op, Op::Add) { "add NaN to" } else { "subtract NaN from" };
        return fail(SqlState::FEATURE_NOT_SUPPORTED, format!("cannot {what} pg_lsn"));
    }
    position(&Numeric::finite(a.0.into(), 0).apply(op, by)?)
}

/// The position that a number says, rounded.
fn position(number: &Numeric) -> Result<Unsigned> {
    if !number.is_finite() {
        let what = if matches!(number, Numeric::NaN) { "NaN" } else { "infinity" };
        return fail(SqlState::FEATURE_NOT_SUPPORTED, format!("cannot convert {what} to pg_lsn"));
    }
    // What has more than a thousand digits is beyond 64 bits.
    let rounded = number.with_precision(1000, 0).ok().and_then(|rounded| u64::try_from(rounded.parts().0).ok());
    rounded
        .map_or_else(|| fail(SqlState::INVALID_PARAMETER_VALUE, "pg_lsn out of range"), |number| Ok(Unsigned(number)))
}
