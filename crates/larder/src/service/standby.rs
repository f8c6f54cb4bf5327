//! A server that waits for the catalogue: meanwhile it answers reads from what the holder has written, and takes nothing.

use std::{sync::Arc, time::Duration};

use larder_assets::Larder;
use larder_catalog::Catalog;
use larder_core::{Ambient, Fault};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    open::{Opening, open_catalog, settings},
    replication::Follower,
    store::{OpenStore, with_others},
};
use crate::{config::Config, failure::Failure};

/// Time before something that failed is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// What standing by needs.
pub struct Standby<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The store.
    pub store: &'a OpenStore,
    /// Brings the catalogue.
    pub follower: Follower,
    /// Who holds it.
    pub holder: String,
    /// Told when that one has written.
    pub changed: &'a Notify,
    /// Cancelled when the catalogue is this process's.
    pub ended: CancellationToken,
}

impl Standby<'_> {
    /// Has reads answered by `serve`, which returns soon after `ended`. What fails is told, and tried again: standing by is
    /// no reason to end.
    pub async fn run(self, serve: &impl AsyncFn(Larder, CancellationToken)) {
        while !self.ended.is_cancelled() {
            match self.open().await {
                Ok(larder) => {
                    let turn = self.ended.child_token();
                    let following = async {
                        while self.moves_on().await && self.follow().await {}
                        turn.cancel();
                    };
                    tokio::join!(serve(larder.clone(), turn.clone()), following);
                    larder.catalog().close().await;
                }
                Err(failure) => {
                    tracing::warn!(
                        cause = failure.cause,
                        "nothing can be read from the catalogue on standby"
                    );
                    self.pauses().await;
                }
            }
        }
    }

    /// Waits before something that failed is tried again.
    async fn pauses(&self) {
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }

    /// Waits until the holder has written; false if the wait is over.
    async fn moves_on(&self) -> bool {
        tokio::select! {
            () = self.ended.cancelled() => false,
            () = self.changed.notified() => true,
        }
    }

    /// Whether it goes on; else the catalogue has to be opened anew.
    async fn follow(&self) -> bool {
        loop {
            match self.follower.pull_beside_readers().await {
                Ok(goes_on) => return goes_on,
                Err(failure) => tracing::warn!(cause = failure.cause, "the catalogue can't be followed"),
            }
            self.pauses().await;
            if self.ended.is_cancelled() {
                return false;
            }
        }
    }

    /// The catalogue as it is in the store, to read only. Nothing here may write to it: it would be another one.
    async fn open(&self) -> Result<Larder, Failure> {
        self.follower.pull().await?;
        let ambient = Ambient::system();
        let catalog = open_catalog(self.config, &ambient).await?;
        catalog.refuse_writes(format!("{} holds the catalogue, this server stands by", self.holder));
        match self.open_over(&catalog, ambient).await {
            Ok(larder) => Ok(larder),
            Err(failure) => {
                catalog.close().await;
                Err(failure)
            }
        }
    }

    async fn open_over(&self, catalog: &Catalog, ambient: Ambient) -> Result<Larder, Failure> {
        if !catalog.status().await.map_err(Fault::from)?.pending.is_empty() {
            return Err(Failure::configuration("it was written by an older Larder", "update that one first"));
        }
        let primary = Arc::clone(&self.store.store);
        let stores = with_others(self.config, Opening::Reader, primary, catalog, &ambient).await?;
        let settings = settings(self.config, self.store.circuit.clone(), &ambient)?;
        Ok(Larder::open_to_read(settings, catalog.clone(), stores, ambient).await?)
    }
}
