//! Uploads whose bytes are coming in at this moment, in this process. They have no record yet, so
//! that an upload costs one commit; whoever lists uploads sees them from here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use larder_core::{BucketName, ObjectKey, Timestamp, UploadId};

use super::{Incoming, stage::Received};
use crate::view::UploadView;

#[derive(Debug, Default, Clone)]
pub(crate) struct InFlight(Arc<Mutex<HashMap<UploadId, Entry>>>);

#[derive(Debug)]
struct Entry {
    bucket: BucketName,
    key: Option<ObjectKey>,
    file_name: Option<String>,
    owner: Option<String>,
    total: Option<u64>,
    received: Received,
    since: Timestamp,
}

/// One upload that is coming in; leaves the list on drop.
#[derive(Debug)]
pub(crate) struct Arrival {
    id: UploadId,
    received: Received,
    list: InFlight,
}

impl Arrival {
    pub(crate) fn received(&self) -> Received {
        self.received.clone()
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.list.lock().remove(&self.id);
    }
}

impl InFlight {
    pub(crate) fn begin(&self, id: UploadId, incoming: &Incoming, now: Timestamp) -> Arrival {
        let received = Received::default();
        let entry = Entry {
            bucket: incoming.bucket.clone(),
            key: incoming.key.clone(),
            file_name: incoming.file_name.clone(),
            owner: incoming.owner.clone(),
            total: incoming.declared_bytes,
            received: received.clone(),
            since: now,
        };
        self.lock().insert(id, entry);
        Arrival { id, received, list: self.clone() }
    }

    pub(crate) fn get(&self, id: UploadId, now: Timestamp) -> Option<UploadView> {
        self.lock().get(&id).map(|entry| entry.view(id, now))
    }

    pub(crate) fn contains(&self, id: UploadId) -> bool {
        self.lock().contains_key(&id)
    }

    /// All of them, the newest first.
    pub(crate) fn list(&self, now: Timestamp) -> Vec<UploadView> {
        let mut views: Vec<_> = self.lock().iter().map(|(id, entry)| entry.view(*id, now)).collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.id));
        views
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<UploadId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn view(&self, id: UploadId, now: Timestamp) -> UploadView {
        let received = self.received.load(Ordering::Relaxed);
        UploadView {
            id,
            status: "pending".to_owned(),
            stage: "receiving".to_owned(),
            progress_percentage: receiving_percentage(received, self.total),
            bytes_received: received,
            bytes_total: self.total,
            error: None,
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            original_filename: self.file_name.clone(),
            owner: self.owner.clone(),
            asset: None,
            variants: Default::default(),
            created_at: self.since,
            updated_at: now,
            finished_at: None,
        }
    }
}

/// Receiving is the first half of an upload's progress.
fn receiving_percentage(received: u64, total: Option<u64>) -> u8 {
    match total {
        Some(total) if total > 0 => (received.min(total) * 50 / total) as u8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receiving_is_the_first_half_of_the_progress() {
        assert_eq!(receiving_percentage(0, Some(10)), 0);
        assert_eq!(receiving_percentage(5, Some(10)), 25);
        assert_eq!(receiving_percentage(20, Some(10)), 50);
        assert_eq!(receiving_percentage(5, None), 0);
    }
}
