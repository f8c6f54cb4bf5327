//! When there is a new map, and the hint where it is.

use std::sync::Arc;

use super::Session;
use crate::{
    error::Result,
    fail_point,
    format::{Head, PageMap, SinceMap},
};

/// Entries that change pages since the last map after which there is a new one.
const CHANGES_PER_MAP: u32 = 64;

/// As many that change none: they are small, and a map of the same pages says little new.
const OTHERS_PER_MAP: u32 = 256;

/// The part of a database that entries since the last map may take, if that is more than [`MAP_AFTER_BYTES`].
const MAP_AFTER_PART: u64 = 10;

/// Bytes of entries that are read in any case.
const MAP_AFTER_BYTES: u64 = 1 << 20;

impl Session {
    /// After an entry: writes a map if what was written since the last one is a lot to read, and the hint where to
    /// begin.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store). Nothing is lost: both only make reading faster.
    pub async fn map_if_due(&mut self) -> Result<()> {
        let newest = &self.newest;
        let SinceMap { changes, others, bytes } = newest.since;
        if newest.page_size == 0 {
            return Ok(());
        }
        // It has all pages.
        if newest.changed_at == newest.seq && changes == 0 {
            return self.write_head(false).await;
        }
        let bytes_max = (newest.size_bytes() / MAP_AFTER_PART).max(MAP_AFTER_BYTES);
        if changes >= CHANGES_PER_MAP || others >= OTHERS_PER_MAP || bytes > bytes_max {
            self.write_map().await?;
        }
        Ok(())
    }

    /// Writes a map of the newest version, and the hint that it is there.
    pub(crate) async fn write_map(&mut self) -> Result<()> {
        fail_point::reached("db.map");
        let mut map = PageMap::clone(&self.newest);
        map.since = SinceMap::default();
        self.remote.put_map(&map).await?;
        fail_point::reached("db.mapped");
        Arc::make_mut(&mut self.newest).since = SinceMap::default();
        self.write_head(true).await
    }

    async fn write_head(&self, is_map: bool) -> Result<()> {
        let head = Head { database: self.newest.database, seq: self.newest.seq, is_map };
        self.remote.put_head(&head).await?;
        fail_point::reached("db.headed");
        Ok(())
    }
}
