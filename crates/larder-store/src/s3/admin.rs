//! Setting a bucket up: what an operator would else click together.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest, Md5};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    S3Store,
    client::Call,
    failure::Failure,
    options::{Encryption, S3Options},
};
use crate::error::{Error, Result};

/// Days after which the store itself removes the parts of uploads that never ended.
const UNFINISHED_DAYS: u32 = 2;

/// What a bucket shall be like. Nothing that is not asked for is changed.
#[derive(Debug, Clone, Default)]
pub struct BucketSetup {
    /// Origins, such as `https://app.example.com`, whose pages may read and upload directly; empty for none.
    pub cors_origins: Vec<String>,
    /// Whether everybody may read objects (all but Larder's own, below `.larder/`).
    pub public_read: bool,
    /// Whether each object is encrypted by default.
    pub encryption: Option<Encryption>,
    /// Whether old versions of objects are kept.
    pub versioning: bool,
    /// The bucket that receives the server-access log, and the prefix there.
    pub logging: Option<(String, String)>,
}

/// One step of setting up.
#[derive(Debug)]
pub struct SetupStep {
    /// What was to be done, such as `lifecycle`.
    pub name: &'static str,
    /// What became of it.
    pub outcome: SetupOutcome,
}

/// What became of a step.
#[derive(Debug)]
pub enum SetupOutcome {
    /// It is so now.
    Done,
    /// It was so before.
    Already,
    /// The provider does not know this setting.
    Ignored,
    /// It could not be done.
    Failed(Error),
}

impl S3Store {
    /// Makes the bucket if it is missing, and sets it up. Goes on after a step that fails, and may be repeated.
    ///
    /// # Errors
    /// Options that can't be right. What the store refuses is the outcome of its step.
    pub async fn set_up(
        options: &S3Options,
        setup: &BucketSetup,
        ambient: larder_core::Ambient,
    ) -> Result<Vec<SetupStep>> {
        let store = Self::unprobed(options, ambient)?;
        let mut steps = vec![SetupStep { name: "bucket", outcome: store.create_bucket().await }];
        if matches!(steps[0].outcome, SetupOutcome::Failed(_)) {
            return Ok(steps);
        }
        let bucket = store.client.endpoint().bucket().to_owned();
        let prefix = store.client.endpoint().key("");
        let mut documents = vec![("lifecycle", "lifecycle", "s3:PutLifecycleConfiguration", lifecycle())];
        if !setup.cors_origins.is_empty() {
            documents.push(("cors", "cors", "s3:PutBucketCORS", cors(&setup.cors_origins)));
        }
        if let Some(encryption) = &setup.encryption {
            documents.push((
                "encryption",
                "encryption",
                "s3:PutEncryptionConfiguration",
                encryption_document(encryption),
            ));
        }
        if setup.versioning {
            let document = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
            documents.push(("versioning", "versioning", "s3:PutBucketVersioning", document.to_owned()));
        }
        if let Some((target, log_prefix)) = &setup.logging {
            documents.push(("access log", "logging", "s3:PutBucketLogging", logging(target, log_prefix)));
        }
        if setup.public_read {
            let outcome = store.allow_public_policies().await;
            steps.push(SetupStep { name: "public access", outcome });
            let policy = public_policy(&bucket, &prefix).to_string();
            documents.push(("public read", "policy", "s3:PutBucketPolicy", policy));
        }
        for (name, subresource, action, document) in documents {
            let outcome = store.configure(subresource, action, document).await;
            steps.push(SetupStep { name, outcome });
        }
        Ok(steps)
    }

    /// CreateBucket.
    pub(super) async fn create_bucket(&self) -> SetupOutcome {
        const CREATE: &str = "s3:CreateBucket";
        let head = Call::new("s3:ListBucket", Method::HEAD, self.client.endpoint().root());
        if self.client.send(&head).await.is_ok() {
            return SetupOutcome::Already;
        }
        let region = self.client.region();
        let mut call = Call::new(CREATE, Method::PUT, self.client.endpoint().root());
        // AWS refuses the name of its oldest region here, and others know none.
        if !matches!(region, "us-east-1" | "auto" | "") {
            call = call.body(format!(
                "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
                quick_xml::escape::escape(region)
            ));
        }
        match self.client.send(&call).await {
            Ok(_) => SetupOutcome::Done,
            Err(failure) if matches!(failure.code(), "BucketAlreadyOwnedByYou") => SetupOutcome::Already,
            Err(failure) => SetupOutcome::Failed(self.admin_error(failure, CREATE)),
        }
    }

    /// DeletePublicAccessBlock: since 2023, AWS refuses public policies on new buckets.
    async fn allow_public_policies(&self) -> SetupOutcome {
        const ALLOW: &str = "s3:PutBucketPublicAccessBlock";
        let call = Call::new(ALLOW, Method::DELETE, self.client.endpoint().root());
        self.outcome(self.client.send(&call.query(&[("publicAccessBlock", "")])).await.map(drop), ALLOW)
    }

    /// Puts the document of a subresource of the bucket.
    async fn configure(&self, subresource: &str, action: &'static str, document: String) -> SetupOutcome {
        let call = Call::new(action, Method::PUT, self.client.endpoint().root())
            .query(&[(subresource, "")])
            .header("content-md5", &BASE64.encode(Md5::digest(document.as_bytes())))
            .body(document);
        self.outcome(self.client.send(&call).await.map(drop), action)
    }

    fn outcome(&self, sent: Result<(), Failure>, action: &'static str) -> SetupOutcome {
        match sent {
            Ok(()) => SetupOutcome::Done,
            Err(failure) if is_unknown(&failure) => SetupOutcome::Ignored,
            Err(failure) => SetupOutcome::Failed(self.admin_error(failure, action)),
        }
    }

    fn admin_error(&self, failure: Failure, action: &'static str) -> Error {
        failure.of(self.client.endpoint().bucket(), self.client.about(action))
    }
}

/// Whether a provider says that it does not have a setting.
pub(super) fn is_unknown(failure: &Failure) -> bool {
    matches!(failure.status(), Some(StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED))
        || matches!(failure.code(), "NotImplemented" | "MethodNotAllowed")
}

fn lifecycle() -> String {
    format!(
        "<LifecycleConfiguration><Rule><ID>larder-unfinished-uploads</ID><Status>Enabled</Status>\
         <Filter><Prefix></Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>{UNFINISHED_DAYS}\
         </DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>"
    )
}

fn cors(origins: &[String]) -> String {
    let mut rule = String::new();
    for origin in origins {
        // Writing to a text can't fail.
        let _ = write!(rule, "<AllowedOrigin>{}</AllowedOrigin>", quick_xml::escape::escape(origin));
    }
    format!(
        "<CORSConfiguration><CORSRule>{rule}<AllowedMethod>GET</AllowedMethod><AllowedMethod>HEAD</AllowedMethod>\
         <AllowedMethod>PUT</AllowedMethod><AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader>\
         <ExposeHeader>Content-Range</ExposeHeader><MaxAgeSeconds>3600</MaxAgeSeconds></CORSRule></CORSConfiguration>"
    )
}

fn encryption_document(encryption: &Encryption) -> String {
    let by = match encryption {
        Encryption::Aes256 => "<SSEAlgorithm>AES256</SSEAlgorithm>".to_owned(),
        Encryption::Kms { key_id } => {
            let key = key_id.as_ref().map(|id| {
                format!("<KMSMasterKeyID>{}</KMSMasterKeyID>", quick_xml::escape::escape(id.as_str()))
            });
            format!("<SSEAlgorithm>aws:kms</SSEAlgorithm>{}", key.unwrap_or_default())
        }
    };
    format!(
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>{by}\
         </ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
    )
}

fn logging(target: &str, prefix: &str) -> String {
    format!(
        "<BucketLoggingStatus><LoggingEnabled><TargetBucket>{}</TargetBucket><TargetPrefix>{}</TargetPrefix>\
         </LoggingEnabled></BucketLoggingStatus>",
        quick_xml::escape::escape(target),
        quick_xml::escape::escape(prefix)
    )
}

/// Everybody reads what lies below the prefix, but for Larder's own: staging holds files that nobody has
/// looked at, and the trash those that were deleted.
fn public_policy(bucket: &str, prefix: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "LarderPublicRead",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": format!("arn:aws:s3:::{bucket}/{prefix}*"),
            },
            {
                "Sid": "LarderOwn",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": format!("arn:aws:s3:::{bucket}/{prefix}.larder/*"),
                // Only for those who come without credentials.
                "Condition": { "StringEquals": { "aws:PrincipalType": "Anonymous" } },
            },
        ],
    })
}

/// The least that Larder's credentials must be allowed, as a policy of IAM; with `setup`, what
/// [`S3Store::set_up`] needs as well.
pub fn iam_policy(bucket: &str, prefix: &str, setup: bool) -> Value {
    let prefix = prefix.trim_matches('/');
    let objects = match prefix {
        "" => format!("arn:aws:s3:::{bucket}/*"),
        prefix => format!("arn:aws:s3:::{bucket}/{prefix}/*"),
    };
    let mut statements = vec![
        json!({
            "Sid": "LarderObjects",
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            "Resource": objects,
        }),
        json!({
            "Sid": "LarderBucket",
            "Effect": "Allow",
            "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"],
            "Resource": format!("arn:aws:s3:::{bucket}"),
        }),
    ];
    if setup {
        statements.push(json!({
            "Sid": "LarderSetup",
            "Effect": "Allow",
            "Action": [
                "s3:CreateBucket", "s3:PutBucketCORS", "s3:GetBucketCORS", "s3:PutBucketPolicy",
                "s3:PutBucketPublicAccessBlock", "s3:PutLifecycleConfiguration",
                "s3:PutEncryptionConfiguration", "s3:PutBucketVersioning", "s3:PutBucketLogging",
            ],
            "Resource": format!("arn:aws:s3:::{bucket}"),
        }));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}
