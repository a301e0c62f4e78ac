//! Failed logins wait, longer each time, by user and by address.
//!
//! A wait begins after a few free failures and doubles to a minute: a guesser gets a handful of tries an hour at each
//! name, and one who mistyped notices nothing. It is kept in memory, bounded; a restart forgives. The surprising thing:
//! it is asked *before* a password is looked at, so that the answer to a right one does not come sooner.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// Failures that cost nothing, by user.
const FREE_BY_USER: u32 = 5;
/// Failures that cost nothing, by address: many users may share one.
const FREE_BY_ADDRESS: u32 = 20;
/// The first wait; each further failure doubles it.
const WAIT_MIN_US: i64 = 1_000_000;
/// The longest wait: longer would let anybody lock anybody out.
const WAIT_MAX_US: i64 = 60_000_000;
/// After so long without a failure, all is forgiven.
const FORGIVEN_AFTER_US: i64 = 3_600_000_000;
/// Entries of each kind: about 2 MiB together. When full, the entry with the oldest failure goes.
const ENTRIES_MAX: usize = 10_000;

/// The counters. One for a server.
#[derive(Debug, Default)]
pub struct Throttle {
    users: Mutex<Counters<String>>,
    addresses: Mutex<Counters<IpAddr>>,
}

/// A login must wait. It is told as every other failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// When to try again, microseconds since 1970 UTC.
    pub until_us: i64,
}

impl Throttle {
    /// Whether this user may try now from this address.
    ///
    /// # Errors
    /// [`Throttled`]
    pub fn admit(&self, user: &str, address: IpAddr, now_us: i64) -> Result<(), Throttled> {
        let user_until = self.users.lock().waits_until(user, now_us, FREE_BY_USER);
        let address_until = self.addresses.lock().waits_until(&address, now_us, FREE_BY_ADDRESS);
        match user_until.max(address_until) {
            until_us if until_us > now_us => Err(Throttled { until_us }),
            _ => Ok(()),
        }
    }

    /// Notes a failed login; the number of this user's failures in a row.
    pub fn failed(&self, user: &str, address: IpAddr, now_us: i64) -> u32 {
        self.addresses.lock().count(address, now_us);
        self.users.lock().count(user.to_owned(), now_us)
    }

    /// Notes a login: the user's failures are forgiven. The address's are not, or one good account would buy guesses
    /// at all others.
    pub fn succeeded(&self, user: &str) {
        self.users.lock().entries.remove(user);
    }

    /// Forgives a user (`ALTER USER … UNLOCK`).
    pub fn unlock(&self, user: &str) {
        self.succeeded(user);
    }
}

#[derive(Debug)]
struct Counters<K> {
    entries: HashMap<K, Failures>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Failures {
    count: u32,
    last_us: i64,
}

impl<K> Default for Counters<K> {
    fn default() -> Self {
        Self { entries: HashMap::new() }
    }
}

impl<K: Hash + Eq + Clone> Counters<K> {
    fn waits_until<Q: ?Sized + Hash + Eq>(&self, key: &Q, now_us: i64, free: u32) -> i64
    where
        K: std::borrow::Borrow<Q>,
    {
        match self.entries.get(key) {
            Some(failures) if !failures.is_forgiven(now_us) => failures.last_us.saturating_add(failures.wait_us(free)),
            _ => i64::MIN,
        }
    }

    fn count(&mut self, key: K, now_us: i64) -> u32 {
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(&key) {
            self.make_room(now_us);
        }
        let failures = self.entries.entry(key).or_default();
        if failures.is_forgiven(now_us) {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last_us = now_us;
        failures.count
    }

    fn make_room(&mut self, now_us: i64) {
        self.entries.retain(|_, failures| !failures.is_forgiven(now_us));
        if self.entries.len() < ENTRIES_MAX {
            return;
        }
        let oldest = self.entries.iter().min_by_key(|(_, failures)| failures.last_us).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.entries.remove(&key);
        }
    }
}

impl Failures {
    fn is_forgiven(&self, now_us: i64) -> bool {
        now_us.saturating_sub(self.last_us) > FORGIVEN_AFTER_US
    }

    fn wait_us(&self, free: u32) -> i64 {
        match self.count.checked_sub(free) {
            None | Some(0) => 0,
            Some(over) => WAIT_MIN_US.saturating_mul(1 << (over - 1).min(16)).min(WAIT_MAX_US),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const SECOND: i64 = 1_000_000;

    fn address(n: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, n))
    }

    #[test]
    fn waits_double_and_end() {
        let throttle = Throttle::default();
        for _ in 0..FREE_BY_USER {
            throttle.failed("alice", address(1), 0);
        }
        assert_eq!(throttle.admit("alice", address(1), 1), Ok(()));
        throttle.failed("alice", address(1), 0);
        assert_eq!(throttle.admit("alice", address(2), 1), Err(Throttled { until_us: SECOND }));
        assert_eq!(throttle.admit("bob", address(1), 1), Ok(()));
        assert_eq!(throttle.admit("alice", address(2), SECOND), Ok(()));
        throttle.failed("alice", address(1), SECOND);
        assert_eq!(throttle.admit("alice", address(2), SECOND), Err(Throttled { until_us: 3 * SECOND }));
        for _ in 0..100 {
            throttle.failed("alice", address(1), 0);
        }
        assert_eq!(throttle.admit("alice", address(2), 1), Err(Throttled { until_us: WAIT_MAX_US }));
        assert_eq!(throttle.admit("alice", address(2), FORGIVEN_AFTER_US + 1), Ok(()));
    }

    #[test]
    fn a_login_forgives_the_user_and_not_the_address() {
        let throttle = Throttle::default();
        for n in 0..=FREE_BY_ADDRESS {
            throttle.failed(&format!("user{n}"), address(1), 0);
        }
        throttle.succeeded("user1");
        assert!(throttle.admit("user1", address(1), 1).is_err());
        assert_eq!(throttle.admit("user1", address(2), 1), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..ENTRIES_MAX + 100 {
            throttle.failed(&format!("user{n}"), address(1), n as i64);
        }
        let users = throttle.users.lock();
        assert_eq!(users.entries.len(), ENTRIES_MAX);
        assert!(!users.entries.contains_key("user0"));
    }
}
