//! `larder restore`: deleted assets back under their keys.

use larder_assets::{AssetQuery, AssetView};
use larder_core::{AssetId, Code};

use super::{Context, place};
use crate::{
    backend::{Backend, PAGE_ITEMS},
    cli::Restore,
    failure::{Exit, Failure},
};

/// Restores.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Restore) -> Result<Exit, Failure> {
    let output = &context.output;
    let (mut done, mut failed) = (0, 0);
    for text in &arguments.assets {
        match restore(larder, text).await {
            Ok(asset) => {
                done += 1;
                output.json(&asset)?;
                output.line(format!("restored {}/{}  {}", asset.bucket, asset.key, asset.id))?;
            }
            // What is no id and no key is a mistake in the command, not the end of one asset.
            Err(failure) if failure.exit == Exit::Usage => return Err(failure),
            Err(mut failure) => {
                failed += 1;
                failure.cause = format!("{text}: {}", failure.cause);
                output.failure(&failure);
            }
        }
    }
    Ok(match (done, failed) {
        (_, 0) => Exit::Done,
        (0, _) => Exit::Failed,
        _ => Exit::Partly,
    })
}

async fn restore(larder: &dyn Backend, text: &str) -> Result<AssetView, Failure> {
    let id = if text.contains('/') { last_deleted(larder, text).await? } else { place::id(text)? };
    Ok(larder.restore(id).await?)
}

/// The asset that was deleted last under a key.
async fn last_deleted(larder: &dyn Backend, text: &str) -> Result<AssetId, Failure> {
    let (bucket, key) = place::asset(text)?;
    let mut query = AssetQuery {
        prefix: Some(key.to_string()),
        deleted: true,
        limit: PAGE_ITEMS,
        ..AssetQuery::default()
    };
    let mut last: Option<AssetView> = None;
    loop {
        let page = larder.assets(&bucket, &query).await?;
        let of_key = page.items.into_iter().filter(|asset| asset.key == key);
        last = last.into_iter().chain(of_key).max_by_key(|asset| asset.deleted_at);
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    last.map(|asset| asset.id).ok_or_else(|| {
        Failure::new(
            Code::AssetNotFound,
            "nothing that was deleted under this key is in the trash",
            "list the trash of its bucket: larder ls --status deleted",
        )
    })
}
