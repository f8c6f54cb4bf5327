//! A process that works on the catalogue of a server of the same data directory.

use std::{os::unix::fs::MetadataExt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use larder_catalog::CommitBarrier;

use super::{
    presence,
    replication::{Serving, server_of},
};
use crate::config::Config;

/// The longest that a commit waits for the server's word.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Time between two looks for a server.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The server of the data directory, beside which jobs may be run: it alone brings a replicated catalogue here, and
/// replicates what is committed beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    server: presence::Server,
    /// How it is asked, if it replicates the catalogue. Jobs of a server that does not, since its bucket ignores conditions,
    /// go on without it.
    by: Option<Serving>,
    /// The file of the catalogue: another one is put in its place when somebody else took it over meanwhile.
    inode: u64,
}

impl Served {
    /// The one that is there now.
    pub fn find(config: &Config) -> Option<Self> {
        let server = presence::find(&config.data_dir)?;
        let inode = std::fs::metadata(config.data_dir.join("catalog.db")).ok()?.ino();
        Some(Self { server, by: server_of(&config.data_dir), inode })
    }

    /// What makes commits wait as those of the server do, if it replicates the catalogue.
    pub fn barrier(&self) -> Option<Arc<dyn CommitBarrier>> {
        Some(Arc::new(ServersBarrier::of(self.by.as_ref()?)))
    }

    /// Waits until it is there no more, if jobs depend on it.
    pub async fn ended(&self, config: &Config) {
        if self.by.is_none() {
            return std::future::pending().await;
        }
        while Self::find(config).as_ref() == Some(self) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits for one.
    pub async fn wait(config: &Config) -> Self {
        let mut is_told = false;
        loop {
            if let Some(served) = Self::find(config) {
                return served;
            }
            if !is_told {
                tracing::info!("waiting for the server, which holds the catalogue");
                is_told = true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Makes the commits of this process wait as those of its server do: it alone knows what is in the store. Without its
/// answer nothing that a job does next may rest on them.
struct ServersBarrier {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl ServersBarrier {
    fn of(serving: &Serving) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build();
        Self {
            client: client.unwrap_or_default(),
            url: format!("{}/api/v1/catalog/barrier", serving.address),
            key: serving.key.clone(),
        }
    }
}

impl CommitBarrier for ServersBarrier {
    fn passed(&self) -> BoxFuture<'_, larder_catalog::Result<()>> {
        Box::pin(async {
            let unavailable = larder_catalog::Error::unavailable;
            match self.client.post(&self.url).bearer_auth(&self.key).send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(unavailable(format!(
                    "the server that replicates the catalogue answered {}",
                    answer.status()
                ))),
                Err(error) => Err(unavailable(format!(
                    "the server that replicates the catalogue does not answer: {error}"
                ))),
            }
        })
    }
}
