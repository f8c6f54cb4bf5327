//! The hook that tells caches in front what to forget, as it is configured.

use std::sync::Arc;

use larder_assets::cdn::{Hidden, HookOptions, PurgeHook};
use larder_store::{AwsSigner, S3Credentials, S3Key};

use super::{Config, ConfigError};

impl Config {
    /// The hook, if one is set.
    ///
    /// # Errors
    /// It lacks a setting; the message names it.
    pub fn purge_hook(&self) -> Result<Option<Arc<dyn PurgeHook>>, ConfigError> {
        let Some(kind) = self.cdn.purge else { return Ok(None) };
        let hidden = |secret: &super::Secret| Hidden::new(secret.expose());
        let aws = match kind.name {
            "cloudfront" => self.aws_signer()?,
            _ => None,
        };
        let options = HookOptions {
            url: self.cdn.purge_url.clone(),
            service: self.cdn.purge_service.clone(),
            token: self.cdn.purge_token.as_ref().map(hidden),
            secret: self.cdn.purge_secret.as_ref().map(hidden),
            aws,
        };
        let wrong = |problem| ConfigError::new(problem, "docs/cdn.md says what each kind of hook needs");
        kind.build(&options).map(Some).map_err(wrong)
    }

    /// Signs with the credentials of the bucket, with an access key that is set without one, or with what
    /// the environment offers.
    fn aws_signer(&self) -> Result<Option<AwsSigner>, ConfigError> {
        let s3 = &self.store.s3;
        let credentials = match (&self.store.s3_options, &s3.access_key_id, &s3.secret_access_key) {
            (Some(options), ..) => options.credentials.clone(),
            (None, Some(id), Some(secret)) => S3Credentials::Static(S3Key {
                id: id.clone(),
                secret: secret.expose().to_owned(),
                session_token: s3.session_token.as_ref().map(|token| token.expose().to_owned()),
            }),
            _ => S3Credentials::Environment,
        };
        AwsSigner::new(&credentials, "us-east-1").map_err(|error| {
            ConfigError::new(
                format!("cdn.purge is cloudfront, and its credentials can't be used: {error}"),
                "set store.s3.access_key_id and store.s3.secret_access_key, or name a role",
            )
        })
    }
}
