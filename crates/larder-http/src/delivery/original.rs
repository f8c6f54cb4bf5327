//! `/m/{bucket}/{key}`: an asset's own bytes.

use http::request::Parts;
use larder_assets::{links::encode_path, policy::GpsPolicy};
use larder_core::{BucketName, Code, Fault, ObjectKey};

use super::{
    Extra,
    access::{self, Right},
    respond,
};
use crate::{
    app::Context,
    call::Outcome,
    path::{decode, query_value},
};

pub(super) async fn deliver(context: &Context, parts: &Parts) -> Outcome {
    let larder = context.app.larder();
    let path = parts.uri.path();
    let (name, key) = place(path)?;
    let signature = query_value(parts.uri.query(), "sig");
    let signed = match &signature {
        Some(signature) => {
            let canonical = format!("/m/{name}/{}", encode_path(key.as_str()));
            Some(access::check(context, path, &canonical, parts, signature)?)
        }
        None => None,
    };
    let bucket = larder.bucket(&name).await?;
    let right = match signed {
        Some(signed) => signed.right(context, &bucket, key.as_str()).await?,
        None => access::unsigned(context, parts, &bucket, key.as_str()).await?,
    };
    let readable = match right {
        // The rule on GPS positions is not for the administrator.
        Right::Credential { is_admin: true, .. } if bucket.policy.gps == GpsPolicy::Refuse => {
            larder.read_untouched(&name, &key).await?
        }
        _ => larder.read_original(&name, &key).await?,
    };
    respond(context, parts, readable, Extra::of(right)).await
}

/// Bucket and key of a path below `/m/`.
fn place(path: &str) -> Result<(BucketName, ObjectKey), Fault> {
    let rest = path.strip_prefix("/m/").unwrap_or_default();
    let Some((bucket, key)) = rest.split_once('/') else {
        return Err(
            Fault::new(Code::RouteNotFound, "the path names no key").remedy("ask for /m/{bucket}/{key}")
        );
    };
    Ok((decode(bucket)?.parse()?, decode(key)?.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_once_and_hostile_ones_refused() {
        let key = |path: &str| place(path).map(|(_, key)| key.to_string()).map_err(|fault| fault.code);
        assert_eq!(key("/m/media/a/b.jpg"), Ok("a/b.jpg".to_owned()));
        assert_eq!(key("/m/media/a%2Fb.jpg"), Ok("a/b.jpg".to_owned()));
        assert_eq!(key("/m/media/a%252Fb.jpg"), Ok("a%2Fb.jpg".to_owned()));
        assert_eq!(key("/m/media/%E6%97%A5//x/"), Ok("日//x/".to_owned()));
        for path in [
            "/m/media/../x",
            "/m/media/%2e%2e/x",
            "/m/media/a/%2E%2E%2Fx",
            "/m/media//x",
            "/m/media/",
            "/m/media/a%00b",
            "/m/media/.larder/staging/x",
            "/m/media/%2elarder/x",
            "/m/media/_variants/x",
            "/m/media/%ff",
        ] {
            assert_eq!(key(path), Err(Code::InvalidKey), "{path}");
        }
        assert_eq!(key("/m/MEDIA/x"), Err(Code::InvalidBucketName));
        assert_eq!(key("/m/media"), Err(Code::RouteNotFound));
    }
}
