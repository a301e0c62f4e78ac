//! Channels: names that sessions listen on.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Who listens where.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    listeners: HashMap<Arc<str>, BTreeSet<i32>>,
}

impl Channels {
    /// A session listens; twice is once.
    pub fn listen(&mut self, channel: &str, pid: i32) {
        match self.listeners.get_mut(channel) {
            Some(pids) => {
                pids.insert(pid);
            }
            None => {
                self.listeners.insert(Arc::from(channel), BTreeSet::from([pid]));
            }
        }
    }

    /// A session stops listening.
    pub fn unlisten(&mut self, channel: &str, pid: i32) {
        if let Some(pids) = self.listeners.get_mut(channel) {
            pids.remove(&pid);
            if pids.is_empty() {
                self.listeners.remove(channel);
            }
        }
    }

    /// A session stops listening everywhere.
    pub fn unlisten_all(&mut self, pid: i32) {
        self.listeners.retain(|_, pids| {
            pids.remove(&pid);
            !pids.is_empty()
        });
    }

    /// The channel's one name and its listeners.
    pub fn listeners(&self, channel: &str) -> Option<(&Arc<str>, &BTreeSet<i32>)> {
        self.listeners.get_key_value(channel)
    }

    /// The channels of a session, in order.
    pub fn of(&self, pid: i32) -> Vec<String> {
        let mut channels: Vec<String> =
            self.listeners.iter().filter(|(_, pids)| pids.contains(&pid)).map(|(name, _)| name.to_string()).collect();
        channels.sort();
        channels
    }
}
