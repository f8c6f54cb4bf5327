//! `larder url`: a link to an asset or one of its variants.

use larder_assets::Visibility;
use serde_json::json;

use super::{Context, place};
use crate::{
    backend::{Backend, LinkRequest},
    cli::Link,
    failure::{Exit, Failure},
};

/// Makes the link. Of a public bucket's asset it is the plain one unless a life is asked for.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Link) -> Result<Exit, Failure> {
    let (bucket, key) = place::asset(&arguments.asset)?;
    let of_asset = arguments.preset.is_none() && arguments.recipe.is_none();
    if of_asset && arguments.expires.is_none() {
        let asset = larder.asset_at(&bucket, &key).await?;
        let asset = asset.ok_or_else(|| {
            Failure::new(
                larder_core::Code::AssetNotFound,
                format!("there is no asset {key} in the bucket {bucket}"),
                "list the bucket to see its keys",
            )
        })?;
        if larder.bucket(&bucket).await?.policy.visibility == Visibility::Public {
            return print(context, larder, &asset.url, None);
        }
    }
    let request = LinkRequest {
        bucket,
        key,
        preset: arguments.preset.clone(),
        recipe: arguments.recipe.clone(),
        expires_in_seconds: arguments.expires.map(|span| span.0.as_secs()),
    };
    let signed = larder.sign(&request).await?;
    print(context, larder, &signed.url, Some(signed.expires_at.to_string()))
}

/// A link is to be opened somewhere: one that names no server gets the address of this one.
fn print(
    context: &Context,
    larder: &dyn Backend,
    url: &str,
    expires_at: Option<String>,
) -> Result<Exit, Failure> {
    let url = if url.starts_with('/') { format!("{}{url}", larder.address()) } else { url.to_owned() };
    context.output.answer(&json!({ "url": url, "expires_at": expires_at }), |output| output.line(&url))?;
    Ok(Exit::Done)
}
