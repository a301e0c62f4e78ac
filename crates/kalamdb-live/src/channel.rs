//! Plain channels: who listens to what.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The sessions that listen to each channel.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    listeners: HashMap<Arc<str>, BTreeSet<i32>>,
}

impl Channels {
    /// LISTEN. Once is enough.
    pub fn listen(&mut self, channel: &str, pid: i32) {
        match self.listeners.get_mut(channel) {
            Some(pids) => {
                pids.insert(pid);
            }
            None => {
                self.listeners.insert(channel.into(), BTreeSet::from([pid]));
            }
        }
    }

    /// UNLISTEN. A channel that nobody listens to is forgotten.
    pub fn unlisten(&mut self, channel: &str, pid: i32) {
        if let Some(pids) = self.listeners.get_mut(channel) {
            pids.remove(&pid);
            if pids.is_empty() {
                self.listeners.remove(channel);
            }
        }
    }

    /// UNLISTEN *
    pub fn unlisten_all(&mut self, pid: i32) {
        self.listeners.retain(|_, pids| {
            pids.remove(&pid);
            !pids.is_empty()
        });
    }

    /// Who listens to a channel, and the channel's name as it is shared by all messages.
    pub fn listeners(&self, channel: &str) -> Option<(Arc<str>, Vec<i32>)> {
        let (name, pids) = self.listeners.get_key_value(channel)?;
        Some((name.clone(), pids.iter().copied().collect()))
    }

    /// Every session that listens to something.
    pub fn sessions(&self) -> BTreeSet<i32> {
        self.listeners.values().flatten().copied().collect()
    }

    /// The channels of a session, in no order.
    pub fn of(&self, pid: i32) -> Vec<String> {
        let theirs = self.listeners.iter().filter(|(_, pids)| pids.contains(&pid));
        theirs.map(|(name, _)| name.to_string()).collect()
    }
}
