//! Which catalogue writes its records to a store.

use larder_core::{Code, Fault};
use larder_store::{Condition, PutOptions, StoreExt};
use serde::{Deserialize, Serialize};

use super::places;
use crate::larder::Larder;

/// Bytes of the file that names the owner; more is none of ours.
const OWNER_BYTES_MAX: u64 = 4_096;

/// Whose records lie in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// This catalogue's.
    Ours,
    /// Another catalogue's: this one writes nothing.
    Foreign(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    larder_meta: u32,
    catalogue: String,
}

impl Larder {
    /// Whether `catalogue` may write its records to the store; where nobody does yet, it becomes the
    /// owner.
    pub(crate) async fn claim_meta(&self, catalogue: &str) -> Result<Ownership, Fault> {
        for _ in 0..2 {
            if let Some(owner) = self.meta_owner().await? {
                return Ok(match owner == catalogue {
                    true => Ownership::Ours,
                    false => Ownership::Foreign(owner),
                });
            }
            match self.put_owner(catalogue, Condition::IfAbsent).await {
                Err(larder_store::Error::Precondition { .. }) => {}
                put => {
                    put?;
                    return Ok(Ownership::Ours);
                }
            }
        }
        Err(Fault::new(Code::Conflict, "another process took the store's records at the same moment")
            .remedy("try again"))
    }

    /// Makes `catalogue` the owner, whoever was it before.
    pub(crate) async fn take_meta(&self, catalogue: &str) -> Result<(), Fault> {
        Ok(self.put_owner(catalogue, Condition::None).await?)
    }

    /// The catalogue whose records lie in the store; `None` if none ever wrote there.
    pub(crate) async fn meta_owner(&self) -> Result<Option<String>, Fault> {
        let opened = match self.stores().primary().open(&places::owner()?, Default::default()).await {
            Err(larder_store::Error::NotFound { .. }) => return Ok(None),
            opened => opened?,
        };
        let bytes = opened.body.read_all(OWNER_BYTES_MAX).await?;
        let owner: Owner = serde_json::from_slice(&bytes).map_err(|error| {
            Fault::new(Code::StoredBytesCorrupt, "the file .larder/meta/owner.json in the store is damaged")
                .remedy("run `larder reindex --merge`, which makes it anew")
                .caused_by(error)
        })?;
        Ok(Some(owner.catalogue))
    }

    async fn put_owner(&self, catalogue: &str, condition: Condition) -> Result<(), larder_store::Error> {
        let owner = serde_json::json!(Owner { larder_meta: 1, catalogue: catalogue.to_owned() });
        let at = places::owner().map_err(|fault| larder_store::Error::Invalid { detail: fault.detail })?;
        let options = PutOptions { condition, ..PutOptions::default() };
        self.stores().primary().put_bytes(&at, owner.to_string(), options).await.map(drop)
    }
}
