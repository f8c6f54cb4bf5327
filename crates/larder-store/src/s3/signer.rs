//! Requests to other services of AWS than S3, signed with the same credentials.

use http::{HeaderMap, Method};
use object_store::{
    aws::{AwsAuthorizer, AwsCredentialProvider},
    client::{HttpRequest, HttpRequestBody},
};
use sha2::{Digest, Sha256};
use url::Url;

use super::{client::install_tls, credentials, options::S3Credentials};
use crate::error::BoxError;

/// Signs requests by AWS Signature Version 4. Cheap to clone; roles are asked for anew when they end.
#[derive(Debug, Clone)]
pub struct AwsSigner {
    provider: AwsCredentialProvider,
}

impl AwsSigner {
    /// A signer with the credentials of a bucket; `None` if there are none.
    ///
    /// # Errors
    /// The environment's own settings contradict each other.
    pub fn new(credentials: &S3Credentials, region: &str) -> Result<Option<Self>, BoxError> {
        install_tls();
        let http = reqwest::Client::builder().no_proxy().build()?;
        let provider = credentials::provider(credentials, region, &http)?;
        Ok(provider.map(|provider| Self { provider }))
    }

    /// The headers to send with a POST of `body` to `url`, for a service such as `cloudfront` in a region.
    ///
    /// # Errors
    /// There are no credentials any more, or they can't be had.
    pub async fn post(
        &self,
        (service, region): (&str, &str),
        url: &Url,
        headers: HeaderMap,
        body: &[u8],
    ) -> Result<HeaderMap, BoxError> {
        let credential = self.provider.get_credential().await?;
        let mut request: HttpRequest = http::Request::new(HttpRequestBody::empty());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.as_str().parse()?;
        *request.headers_mut() = headers;
        let digest = Sha256::digest(body);
        AwsAuthorizer::new(&credential, service, region).try_authorize(&mut request, Some(&digest))?;
        Ok(request.into_parts().0.headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::options::S3Key;

    #[tokio::test]
    async fn a_request_to_another_service_carries_its_name_and_the_digest_of_its_body() {
        let key = S3Key { id: "AKIDEXAMPLE".to_owned(), secret: "s".to_owned(), session_token: None };
        let signer = AwsSigner::new(&S3Credentials::Static(key), "eu-central-1").unwrap().unwrap();
        let url: Url =
            "https://cloudfront.amazonaws.com/2020-05-31/distribution/E1/invalidation".parse().unwrap();
        let headers =
            signer.post(("cloudfront", "us-east-1"), &url, HeaderMap::new(), b"<x/>").await.unwrap();
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{authorization}");
        assert!(authorization.contains("/us-east-1/cloudfront/aws4_request"), "{authorization}");
        assert_eq!(headers["x-amz-content-sha256"], hex::encode(Sha256::digest(b"<x/>")));
        assert!(AwsSigner::new(&S3Credentials::Anonymous, "r").unwrap().is_none());
    }
}
