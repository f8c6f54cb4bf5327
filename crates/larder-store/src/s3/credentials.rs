//! Whose requests these are, asked anew for each request, so that keys can change while the process runs.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use async_trait::async_trait;
use object_store::{
    ClientOptions, CredentialProvider, StaticCredentialProvider,
    aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider},
    client::{HttpClient, HttpConnector},
};

use super::{
    options::{S3Credentials, S3Key},
    shared_profile::SharedProfile,
};

/// Who gives the credentials; `None` for requests that are not signed.
///
/// # Errors
/// The environment's own settings contradict each other.
pub(super) fn provider(
    credentials: &S3Credentials,
    region: &str,
    http: &reqwest::Client,
) -> object_store::Result<Option<AwsCredentialProvider>> {
    Ok(match credentials {
        S3Credentials::Anonymous => None,
        S3Credentials::Static(key) => Some(Arc::new(StaticCredentialProvider::new(credential(key)))),
        S3Credentials::File { path, profile } => Some(Arc::new(SharedFile {
            path: path.clone(),
            profile: profile.clone(),
            read: Mutex::default(),
        })),
        S3Credentials::Environment => {
            let store = AmazonS3Builder::from_env()
                .with_bucket_name("any")
                .with_region(region)
                .with_http_connector(OwnClient(http.clone()))
                .build()?;
            Some(Arc::clone(store.credentials()))
        }
    })
}

fn credential(key: &S3Key) -> AwsCredential {
    AwsCredential { key_id: key.id.clone(), secret_key: key.secret.clone(), token: key.session_token.clone() }
}

/// Gives the store's own client to the library that asks for tokens of roles.
#[derive(Debug)]
pub(super) struct OwnClient(pub(super) reqwest::Client);

impl HttpConnector for OwnClient {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// A profile of a shared credentials file. It is read again when the file's time of change is another, which
/// costs a look at the file for each request.
#[derive(Debug)]
struct SharedFile {
    path: PathBuf,
    profile: String,
    read: Mutex<Option<(SystemTime, Arc<AwsCredential>)>>,
}

#[async_trait]
impl CredentialProvider for SharedFile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let failed = |detail: String| object_store::Error::Generic {
            store: "S3",
            source: format!("{}: {detail}", self.path.display()).into(),
        };
        let changed = std::fs::metadata(&self.path)
            .and_then(|metadata| metadata.modified())
            .map_err(|error| failed(error.to_string()))?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, credential)) = &*read
            && *at == changed
        {
            return Ok(Arc::clone(credential));
        }
        let found =
            SharedProfile::read(&self.path, &self.profile).map_err(|error| failed(error.to_string()))?;
        let Some(key) = found.and_then(|profile| profile.key) else {
            return Err(failed(format!("there is no access key of the profile {}", self.profile)));
        };
        let credential = Arc::new(credential(&key));
        *read = Some((changed, Arc::clone(&credential)));
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FILE: &str = "[default]\naws_access_key_id = one\naws_secret_access_key=s1\n";

    #[tokio::test]
    async fn a_changed_file_is_read_again() {
        crate::s3::client::install_tls();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), FILE).unwrap();
        let source = S3Credentials::File { path: file.path().to_owned(), profile: "default".to_owned() };
        let provider = provider(&source, "r", &reqwest::Client::new()).unwrap().unwrap();
        assert_eq!(provider.get_credential().await.unwrap().key_id, "one");
        std::fs::write(file.path(), FILE.replace("= one", "= new")).unwrap();
        let opened = std::fs::File::options().write(true).open(file.path()).unwrap();
        let later = opened.metadata().unwrap().modified().unwrap() + Duration::from_secs(1);
        opened.set_modified(later).unwrap();
        assert_eq!(provider.get_credential().await.unwrap().key_id, "new");
    }
}
