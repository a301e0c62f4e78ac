//! time with time zone (PostgreSQL manual 9.9): casts, arithmetic, zones.

use super::datetime::{DAY_US, date_to_timestamp, in_range, is_finite, offset_at, zone_named, zone_of};
use super::operators::between as o;
use super::rows::{f, k, x};
use super::{Call, Cast, CastContext, CastMethod, Function, Kind, Operator, Work};
use crate::bind::bound::CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
use crate::types::TimeZone;
use crate::types::datetime::Timetz;
use datafusion_functions_aggregate::min_max;
use kalamdb_commons::{Result, SqlType};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(call; 1388 stable "timetz" (a: Timestamptz) -> Timetz { Ok(is_finite(a).then(|| Timetz::at(a, &call.around.style().time_zone))) }),
    f!(call; 2047 stable "timetz" (a: Time) -> Timetz { Ok(Timetz::of_time(a, call.around.transaction_start(), call.around.style())) }),
    f!(2046 "time" (a: Timetz) -> Time { Ok(a.us) }),
    f!(1969 "timetz" (a: Timetz, n: Int4) -> Timetz { Ok(rounded(a, n)) }),
    f!(call; 9019 "kalam_fit" (a: Timetz) -> Timetz { Ok(rounded(a, call.returns.typmod)) }),
    f!(1749 "timetz_pl_interval" (a: Timetz, b: Interval) -> Timetz { Ok(plus(a, b.us)) }),
    f!(1750 "timetz_mi_interval" (a: Timetz, b: Interval) -> Timetz { Ok(plus(a, -(b.us % DAY_US))) }),
    f!(2547 "interval_pl_timetz" (b: Interval, a: Timetz) -> Timetz { Ok(plus(a, b.us)) }),
    f!(1297 "datetimetz_pl" (day: Date, a: Timetz) -> Timestamptz { on(day, a) }),
    f!(1298 "timetzdate_pl" (a: Timetz, day: Date) -> Timestamptz { on(day, a) }),
    f!(1359 "timestamptz" (day: Date, a: Timetz) -> Timestamptz { on(day, a) }),
    f!(call; 2037 stable "timezone" (zone: Text, a: Timetz) -> Timetz { Ok(moved(a, &zone_named(zone)?, call)) }),
    f!(call; 2038 "timezone" (zone: Interval, a: Timetz) -> Timetz { Ok(moved(a, &zone_of(zone, call)?, call)) }),
    k!(2124 lax "max" (Timetz) -> Timetz = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(2140 lax "min" (Timetz) -> Timetz = Kind::Aggregate(|_| min_max::min_udaf())),
    x!(1271 lax "overlaps" (Timetz, Timetz, Timetz, Timetz) -> Bool = super::overlaps::overlaps),
];

#[rustfmt::skip]
pub(super) static OPERATORS: &[Operator] = {
    use SqlType::{Bool, Date, Interval, Timestamptz, Timetz};
    use Work::{Compare, Function};
    &[
        o(1361, "+", Date, Timetz, Timestamptz, Function(1297)), o(1366, "+", Timetz, Date, Timestamptz, Function(1298)),
        o(1802, "+", Timetz, Interval, Timetz, Function(1749)), o(1803, "-", Timetz, Interval, Timetz, Function(1750)),
        o(2552, "+", Interval, Timetz, Timetz, Function(2547)),
        o(1550, "=", Timetz, Timetz, Bool, Compare(Eq)), o(1551, "<>", Timetz, Timetz, Bool, Compare(Ne)),
        o(1552, "<", Timetz, Timetz, Bool, Compare(Lt)), o(1553, "<=", Timetz, Timetz, Bool, Compare(Le)),
        o(1554, ">", Timetz, Timetz, Bool, Compare(Gt)), o(1555, ">=", Timetz, Timetz, Bool, Compare(Ge)),
    ]
};

const fn c(source: SqlType, target: SqlType, context: CastContext, function: u32) -> Cast {
    Cast { source, target, context, method: CastMethod::Function(function) }
}

pub(super) static CASTS: &[Cast] = {
    use CastContext::{Assignment, Implicit};
    use SqlType::{Time, Timestamptz, Timetz};
    &[
        c(Time, Timetz, Implicit, 2047),
        c(Timestamptz, Timetz, Assignment, 1388),
        c(Timetz, Time, Assignment, 2046),
        c(Timetz, Timetz, Implicit, 1969),
    ]
};

fn rounded(a: Timetz, digits: i32) -> Timetz {
    Timetz { us: super::datetime::round_us(a.us, digits), ..a }
}

fn plus(a: Timetz, us: i64) -> Timetz {
    Timetz { us: (a.us + us % DAY_US).rem_euclid(DAY_US), ..a }
}

/// The instant of a day.
fn on(day: i32, a: Timetz) -> Result<i64> {
    let midnight = date_to_timestamp(day)?;
    if is_finite(midnight) { in_range(midnight.checked_add(a.utc())) } else { Ok(midnight) }
}

/// The same moment as another zone's clock shows it, by the offset that is in force now.
fn moved(a: Timetz, zone: &TimeZone, call: &Call<'_>) -> Timetz {
    a.moved(-offset_at(call.around.transaction_start(), zone))
}
