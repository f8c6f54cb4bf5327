//! What is told while it happens.

use std::sync::Arc;

use serde::Serialize;

/// A step of a synchronisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Somebody else is writing; it is waited for.
    Waiting {
        /// Who.
        owner: String,
    },
    /// The database is this writer's.
    Claimed {
        /// The entry by which.
        seq: u64,
    },
    /// Pages are brought from the store.
    Pulling {
        /// The version.
        seq: u64,
        /// Pages that differ.
        pages: u64,
        /// Pages of the database.
        of: u64,
        /// Bytes of a page.
        page_bytes: u64,
    },
    /// A plain file is brought from the store.
    Fetching {
        /// Where it lies.
        place: String,
        /// How large it is.
        bytes: u64,
    },
    /// Some of them came.
    Fetched {
        /// How many.
        pages: u64,
    },
    /// The local file is the version that was pulled.
    Pulled {
        /// The version.
        seq: u64,
    },
    /// Pages are in the store.
    Pushed {
        /// The version that they make.
        seq: u64,
        /// Pages that differed.
        pages: u64,
        /// Pages of the database.
        of: u64,
        /// Bytes that were sent.
        sent_bytes: u64,
    },
    /// There was nothing to push.
    Unchanged {
        /// The version that local file and store both are.
        seq: u64,
    },
    /// Something failed that is tried again.
    Retrying {
        /// What failed.
        error: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// Objects are looked through.
    Checking {
        /// How many there are.
        objects: u64,
    },
    /// Some of them were.
    Checked {
        /// How many.
        objects: u64,
    },
    /// Versions that are not kept were removed.
    Collected {
        /// Objects that went.
        objects: u64,
        /// Bytes of them.
        bytes: u64,
    },
    /// The database was let go.
    Released,
}

/// Is told of events. Called from several threads.
pub type Watch = Arc<dyn Fn(&Event) + Send + Sync>;

/// A watch that nobody looks at.
pub fn unwatched() -> Watch {
    Arc::new(|_| {})
}
