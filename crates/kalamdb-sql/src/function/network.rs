//! Network addresses (PostgreSQL manual 9.12): inet, cidr, macaddr, macaddr8.

use super::operators::o;
use super::rows::{f, fail, k};
use super::{Cast, CastContext, CastMethod, Function, Kind, Operator, Work};
use crate::bind::bound::CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
use crate::types::network::Network;
use datafusion_functions_aggregate::min_max;
use kalamdb_commons::{Result, SqlState, SqlType};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(598 "abbrev" (a: Inet) -> Text { Ok(a.text()) }),
    f!(599 "abbrev" (a: Cidr) -> Text { Ok(a.abbreviated()) }),
    f!(605 "set_masklen" (a: Inet, bits: Int4) -> Inet { Ok(Network { bits: length(a, bits)?, ..a }) }),
    f!(635 "set_masklen" (a: Cidr, bits: Int4) -> Cidr { Ok(a.network(length(a, bits)?)) }),
    f!(683 "network" (a: Inet) -> Cidr { Ok(a.network(a.bits)) }),
    f!(696 "netmask" (a: Inet) -> Inet { Ok(Network { address: a.mask(), bits: a.width(), ..a }) }),
    f!(697 "masklen" (a: Inet) -> Int4 { Ok(i32::from(a.bits)) }),
    f!(698 "broadcast" (a: Inet) -> Inet { Ok(Network { address: a.address | (a.all() & !a.mask()), ..a }) }),
    f!(699 "host" (a: Inet) -> Text { Ok(a.host()) }),
    f!(711 "family" (a: Inet) -> Int4 { Ok(if a.is_v6 { 6 } else { 4 }) }),
    f!(730 "text" (a: Inet) -> Text { Ok(a.full_text()) }),
    f!(1362 "hostmask" (a: Inet) -> Inet { Ok(Network { address: a.all() & !a.mask(), bits: a.width(), ..a }) }),
    f!(1715 "cidr" (a: Inet) -> Cidr { Ok(a.network(a.bits)) }),
    f!(927 "network_sub" (a: Inet, b: Inet) -> Bool { Ok(a.bits > b.bits && within(a, b)) }),
    f!(928 "network_subeq" (a: Inet, b: Inet) -> Bool { Ok(within(a, b)) }),
    f!(929 "network_sup" (a: Inet, b: Inet) -> Bool { Ok(a.bits < b.bits && within(b, a)) }),
    f!(930 "network_supeq" (a: Inet, b: Inet) -> Bool { Ok(within(b, a)) }),
    f!(3551 "network_overlap" (a: Inet, b: Inet) -> Bool { Ok(within(a, b) || within(b, a)) }),
    f!(2627 "inetnot" (a: Inet) -> Inet { Ok(Network { address: a.all() & !a.address, ..a }) }),
    f!(2628 "inetand" (a: Inet, b: Inet) -> Inet { both(a, b, "AND", a.address & b.address) }),
    f!(2629 "inetor" (a: Inet, b: Inet) -> Inet { both(a, b, "OR", a.address | b.address) }),
    f!(2630 "inetpl" (a: Inet, n: Int8) -> Inet { moved(a, i128::from(n)) }),
    f!(2631 "int8pl_inet" (n: Int8, a: Inet) -> Inet { moved(a, i128::from(n)) }),
    f!(2632 "inetmi_int8" (a: Inet, n: Int8) -> Inet { moved(a, i128::from(n.wrapping_neg())) }),
    f!(2633 "inetmi" (a: Inet, b: Inet) -> Int8 { between(a, b) }),
    f!(4063 "inet_merge" (a: Inet, b: Inet) -> Cidr { merged(a, b) }),
    f!(4071 "inet_same_family" (a: Inet, b: Inet) -> Bool { Ok(a.is_v6 == b.is_v6) }),
    k!(3564 lax "max" (Inet) -> Inet = Kind::Aggregate(|_| min_max::max_udaf())),
    k!(3565 lax "min" (Inet) -> Inet = Kind::Aggregate(|_| min_max::min_udaf())),

    f!(753 "trunc" (a: Macaddr) -> Macaddr { Ok([&a[..3], &[0; 3]].concat()) }),
    f!(3144 "macaddr_not" (a: Macaddr) -> Macaddr { Ok(each(a, a, |a, _| !a)) }),
    f!(3145 "macaddr_and" (a: Macaddr, b: Macaddr) -> Macaddr { Ok(each(a, b, |a, b| a & b)) }),
    f!(3146 "macaddr_or" (a: Macaddr, b: Macaddr) -> Macaddr { Ok(each(a, b, |a, b| a | b)) }),
    f!(4112 "trunc" (a: Macaddr8) -> Macaddr8 { Ok([&a[..3], &[0; 5]].concat()) }),
    f!(4120 "macaddr8_not" (a: Macaddr8) -> Macaddr8 { Ok(each(a, a, |a, _| !a)) }),
    f!(4121 "macaddr8_and" (a: Macaddr8, b: Macaddr8) -> Macaddr8 { Ok(each(a, b, |a, b| a & b)) }),
    f!(4122 "macaddr8_or" (a: Macaddr8, b: Macaddr8) -> Macaddr8 { Ok(each(a, b, |a, b| a | b)) }),
    f!(4123 "macaddr8" (a: Macaddr) -> Macaddr8 { Ok([&a[..3], &[0xff, 0xfe], &a[3..]].concat()) }),
    f!(4124 "macaddr" (a: Macaddr8) -> Macaddr { shortened(a) }),
    f!(4125 "macaddr8_set7bit" (a: Macaddr8) -> Macaddr8 { Ok([&[a[0] | 2][..], &a[1..]].concat()) }),
];

#[rustfmt::skip]
pub(super) static OPERATORS: &[Operator] = {
    use SqlType::{Bool, Inet, Int8, Macaddr, Macaddr8};
    use Work::{Compare, Function};
    &[
        o(931, "<<", Some(Inet), Inet, Bool, Function(927)), o(932, "<<=", Some(Inet), Inet, Bool, Function(928)),
        o(933, ">>", Some(Inet), Inet, Bool, Function(929)), o(934, ">>=", Some(Inet), Inet, Bool, Function(930)),
        o(3552, "&&", Some(Inet), Inet, Bool, Function(3551)), o(2634, "~", None, Inet, Inet, Function(2627)),
        o(2635, "&", Some(Inet), Inet, Inet, Function(2628)), o(2636, "|", Some(Inet), Inet, Inet, Function(2629)),
        o(2637, "+", Some(Inet), Int8, Inet, Function(2630)), o(2638, "+", Some(Int8), Inet, Inet, Function(2631)),
        o(2639, "-", Some(Inet), Int8, Inet, Function(2632)), o(2640, "-", Some(Inet), Inet, Int8, Function(2633)),
        o(1201, "=", Some(Inet), Inet, Bool, Compare(Eq)), o(1202, "<>", Some(Inet), Inet, Bool, Compare(Ne)),
        o(1203, "<", Some(Inet), Inet, Bool, Compare(Lt)), o(1204, "<=", Some(Inet), Inet, Bool, Compare(Le)),
        o(1205, ">", Some(Inet), Inet, Bool, Compare(Gt)), o(1206, ">=", Some(Inet), Inet, Bool, Compare(Ge)),
        o(1220, "=", Some(Macaddr), Macaddr, Bool, Compare(Eq)), o(1221, "<>", Some(Macaddr), Macaddr, Bool, Compare(Ne)),
        o(1222, "<", Some(Macaddr), Macaddr, Bool, Compare(Lt)), o(1223, "<=", Some(Macaddr), Macaddr, Bool, Compare(Le)),
        o(1224, ">", Some(Macaddr), Macaddr, Bool, Compare(Gt)), o(1225, ">=", Some(Macaddr), Macaddr, Bool, Compare(Ge)),
        o(3147, "~", None, Macaddr, Macaddr, Function(3144)), o(3148, "&", Some(Macaddr), Macaddr, Macaddr, Function(3145)),
        o(3149, "|", Some(Macaddr), Macaddr, Macaddr, Function(3146)),
        o(3362, "=", Some(Macaddr8), Macaddr8, Bool, Compare(Eq)), o(3363, "<>", Some(Macaddr8), Macaddr8, Bool, Compare(Ne)),
        o(3364, "<", Some(Macaddr8), Macaddr8, Bool, Compare(Lt)), o(3365, "<=", Some(Macaddr8), Macaddr8, Bool, Compare(Le)),
        o(3366, ">", Some(Macaddr8), Macaddr8, Bool, Compare(Gt)), o(3367, ">=", Some(Macaddr8), Macaddr8, Bool, Compare(Ge)),
        o(3368, "~", None, Macaddr8, Macaddr8, Function(4120)), o(3369, "&", Some(Macaddr8), Macaddr8, Macaddr8, Function(4121)),
        o(3370, "|", Some(Macaddr8), Macaddr8, Macaddr8, Function(4122)),
    ]
};

const fn c(source: SqlType, target: SqlType, context: CastContext, method: CastMethod) -> Cast {
    Cast { source, target, context, method }
}

pub(super) static CASTS: &[Cast] = {
    use CastContext::{Assignment, Implicit};
    use CastMethod::{Function, Relabel};
    use SqlType::{Bpchar, Cidr, Inet, Macaddr, Macaddr8, Text, Varchar};
    &[
        c(Cidr, Inet, Implicit, Relabel),
        c(Inet, Cidr, Assignment, Function(1715)),
        c(Cidr, Text, Assignment, Function(730)),
        c(Inet, Text, Assignment, Function(730)),
        c(Cidr, Varchar, Assignment, Function(730)),
        c(Inet, Varchar, Assignment, Function(730)),
        c(Cidr, Bpchar, Assignment, Function(730)),
        c(Inet, Bpchar, Assignment, Function(730)),
        c(Macaddr, Macaddr8, Implicit, Function(4123)),
        c(Macaddr8, Macaddr, Implicit, Function(4124)),
    ]
};

/// A mask's length; -1 is all of an address.
fn length(of: Network, bits: i32) -> Result<u8> {
    match u8::try_from(bits) {
        Ok(bits) if bits <= of.width() => Ok(bits),
        _ if bits == -1 => Ok(of.width()),
        _ => fail(SqlState::INVALID_PARAMETER_VALUE, format!("invalid mask length: {bits}")),
    }
}

/// Whether the first is in the second's network, and its own no larger.
fn within(a: Network, b: Network) -> bool {
    a.is_v6 == b.is_v6 && a.bits >= b.bits && a.network(b.bits) == b.network(b.bits)
}

fn both(a: Network, b: Network, verb: &str, address: u128) -> Result<Network> {
    if a.is_v6 != b.is_v6 {
        return fail(SqlState::INVALID_PARAMETER_VALUE, format!("cannot {verb} inet values of different sizes"));
    }
    Ok(Network { bits: a.bits.max(b.bits), address, ..a })
}

fn out_of_range<T>() -> Result<T> {
    fail(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "result is out of range")
}

fn moved(a: Network, by: i128) -> Result<Network> {
    match a.address.checked_add_signed(by).filter(|address| *address <= a.all()) {
        Some(address) => Ok(Network { address, ..a }),
        None => out_of_range(),
    }
}

fn between(a: Network, b: Network) -> Result<i64> {
    if a.is_v6 != b.is_v6 {
        return fail(SqlState::INVALID_PARAMETER_VALUE, "cannot subtract inet values of different sizes");
    }
    let (greater, is_negative) = (a.address.abs_diff(b.address), a.address < b.address);
    let difference = i128::try_from(greater).map(|difference| if is_negative { -difference } else { difference });
    difference.ok().and_then(|difference| i64::try_from(difference).ok()).map_or_else(out_of_range, Ok)
}

/// The smallest network with both in it.
fn merged(a: Network, b: Network) -> Result<Network> {
    if a.is_v6 != b.is_v6 {
        return fail(SqlState::INVALID_PARAMETER_VALUE, "cannot merge addresses from different families");
    }
    Ok(a.network(a.common_bits(b, a.bits.min(b.bits))))
}

fn each(a: &[u8], b: &[u8], act: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| act(*a, *b)).collect()
}

/// The six octets of a macaddr8 that was made of them.
fn shortened(a: &[u8]) -> Result<Vec<u8>> {
    if a.get(3..5) != Some(&[0xff, 0xfe]) {
        let message = "macaddr8 data out of range to convert to macaddr";
        return Err(kalamdb_commons::SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message).with_hint(
            "Only addresses that have FF and FE as values in the 4th and 5th bytes from the left, for example \
             xx:xx:xx:ff:fe:xx:xx:xx, are eligible to be converted from macaddr8 to macaddr.",
        ));
    }
    Ok([&a[..3], &a[5..]].concat())
}
