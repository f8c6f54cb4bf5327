//! Whose requests these are, asked anew for each request, so that keys can change while the process runs.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use async_trait::async_trait;
use object_store::{
    ClientOptions, CredentialProvider, StaticCredentialProvider,
    aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider},
    client::{HttpClient, HttpConnector},
};

use super::options::{S3Credentials, S3Key};

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
        let key = read_profile(&self.path, &self.profile).map_err(failed)?;
        let credential = Arc::new(credential(&key));
        *read = Some((changed, Arc::clone(&credential)));
        Ok(credential)
    }
}

/// The keys of a profile, from a file as the AWS command line writes it (`~/.aws/credentials`).
///
/// # Errors
/// The file can't be read, or has no such profile, or the profile no key.
pub fn read_profile(path: &Path, profile: &str) -> Result<S3Key, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut inside = false;
    let mut found = false;
    let (mut id, mut secret, mut session_token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            // The file `config` writes "profile NAME", the file `credentials` the name alone.
            let name = name.trim();
            inside = name == profile || name.strip_prefix("profile ").map(str::trim) == Some(profile);
            found |= inside;
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| inside) else { continue };
        let value = Some(value.trim().to_owned());
        match name.trim().to_ascii_lowercase().as_str() {
            "aws_access_key_id" => id = value,
            "aws_secret_access_key" => secret = value,
            "aws_session_token" => session_token = value,
            _ => {}
        }
    }
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(S3Key { id, secret, session_token }),
        _ if found => Err(format!("the profile {profile} has no access key")),
        _ => Err(format!("there is no profile {profile}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FILE: &str = "[default]\naws_access_key_id = one\naws_secret_access_key=s1\n\n# other\n[profile two]\n\
                        aws_access_key_id=two\naws_secret_access_key = s=2\naws_session_token = t\n[three]\nregion=eu\n";

    #[test]
    fn profiles_are_read_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), FILE).unwrap();
        let key = |profile| read_profile(file.path(), profile);
        assert_eq!(key("default").unwrap().id, "one");
        let two = key("two").unwrap();
        assert_eq!((two.secret.as_str(), two.session_token.as_deref()), ("s=2", Some("t")));
        assert!(key("three").unwrap_err().contains("no access key"));
        assert!(key("four").unwrap_err().contains("no profile four"));
    }

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
