//! The closed sets of words in definitions: roles, table types, access levels.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }
        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// The word as SQL and the system tables show it.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
            /// Reads the word, in any case.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str().eq_ignore_ascii_case(text))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a login may do. The order is the order of power.
    Role {
        /// Own rows, and what is public or granted.
        User = "user",
        /// Backends: may act as users and read private tables.
        Service = "service",
        /// Administers tables, users, storages.
        Dba = "dba",
        /// The operator; from loopback only unless configured otherwise.
        System = "system",
    }
}
words! {
    /// How a table's rows are partitioned and how long they live.
    TableType {
        /// One partition for each user.
        User = "user",
        /// One partition for all.
        Shared = "shared",
        /// One partition for each user; rows expire.
        Stream = "stream",
    }
}
words! {
    /// Who may use a SHARED table.
    AccessLevel {
        /// All may read; service and above write.
        Public = "public",
        /// Owner, service and above. The default.
        Private = "private",
        /// Service and above; others only by grant and policy.
        Restricted = "restricted",
    }
}
