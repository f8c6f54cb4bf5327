//! Variants: makes what a bucket wants of a picture, from one decode.

use async_trait::async_trait;
use larder_core::{AssetId, Fault, UploadId};
use serde::{Deserialize, Serialize};

use super::{Ended, Job, JobContext};
use crate::{larder::Larder, variants::recipe_digest};

/// Arguments of the job.
#[derive(Debug, Serialize, Deserialize)]
pub struct MakeVariants {
    /// The asset.
    pub asset_id: AssetId,
    /// The upload that waits for them.
    #[serde(default)]
    pub upload_id: Option<UploadId>,
    /// Recipes to make, in their normal form; those of the bucket's presets unless given.
    #[serde(default)]
    pub recipes: Option<Vec<String>>,
}

#[async_trait]
impl Job for MakeVariants {
    const NAME: &'static str = "variants";
    const DOC: &'static str = "makes the variants of a picture that its bucket asks for";
    const QUEUE: &'static str = "intake";
    // Before the next file is decoded: this one lies decoded in memory.
    const PRIORITY: i64 = 10;

    fn unique_key(&self) -> Option<String> {
        let asset = self.asset_id;
        Some(match (&self.recipes, self.upload_id) {
            (Some(recipes), _) => format!("{asset}:{}", recipe_digest(&recipes.join("\n"))),
            // Jobs for different uploads of one asset both have to complete theirs.
            (None, Some(upload)) => format!("{asset}:{upload}"),
            (None, None) => asset.to_string(),
        })
    }

    async fn run(self, context: JobContext) -> Result<Ended, Fault> {
        context.larder().make_wanted_variants(&self, &context).await
    }

    async fn gave_up(self, larder: &Larder, fault: &Fault) -> Result<(), Fault> {
        larder.give_variants_up(&self, fault).await
    }
}
