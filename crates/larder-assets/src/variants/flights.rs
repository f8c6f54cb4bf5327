//! Single flight: of all who ask for a variant that is not there, one makes it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use larder_core::AssetId;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The variants that are being made for readers in this process.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<(AssetId, String), Turn>>);

/// Held by whoever makes the variant.
type Turn = Arc<AsyncMutex<()>>;

impl Flights {
    /// Waits for one's turn to look whether the variant is there, and to make it if not.
    pub(crate) async fn board(&self, asset: AssetId, digest: &str) -> OwnedMutexGuard<()> {
        let key = (asset, digest.to_owned());
        let seat = {
            let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Seats that nobody sits on or waits for are gone.
            flights.retain(|_, seat| Arc::strong_count(seat) > 1);
            flights.entry(key).or_default().clone()
        };
        seat.lock_owned().await
    }
}
