//! Whose requests these are, asked anew for each request, so that keys can change while the process runs.

use std::{
    fmt,
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

use super::{
    env_file::read_env_file,
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
        S3Credentials::File { path, profile } => {
            let profile = profile.clone();
            Some(KeyInFile::new(path, move |path| key_of_profile(path, &profile)))
        }
        S3Credentials::Variables { path, id, secret, session_token } => {
            let (id, secret, token) = (id.clone(), secret.clone(), session_token.clone());
            Some(KeyInFile::new(path, move |path| key_of_variables(path, &id, &secret, token.as_deref())))
        }
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

/// A key in a file. It is read again when the file's time of change is another, which costs a look at the file
/// for each request.
struct KeyInFile {
    path: PathBuf,
    read: Box<ReadKey>,
    last: Mutex<Option<(SystemTime, Arc<AwsCredential>)>>,
}

/// Reads the key, or says what is missing.
type ReadKey = dyn Fn(&Path) -> Result<S3Key, String> + Send + Sync;

impl KeyInFile {
    fn new(path: &Path, read: impl Fn(&Path) -> Result<S3Key, String> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), read: Box::new(read), last: Mutex::default() })
    }
}

impl fmt::Debug for KeyInFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyInFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for KeyInFile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let failed = |detail: String| object_store::Error::Generic {
            store: "S3",
            source: format!("{}: {detail}", self.path.display()).into(),
        };
        let changed = std::fs::metadata(&self.path)
            .and_then(|metadata| metadata.modified())
            .map_err(|error| failed(error.to_string()))?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, credential)) = &*last
            && *at == changed
        {
            return Ok(Arc::clone(credential));
        }
        let credential = Arc::new(credential(&(self.read)(&self.path).map_err(failed)?));
        *last = Some((changed, Arc::clone(&credential)));
        Ok(credential)
    }
}

fn key_of_profile(path: &Path, profile: &str) -> Result<S3Key, String> {
    let found = SharedProfile::read(path, profile).map_err(|error| error.to_string())?;
    found
        .and_then(|profile| profile.key)
        .ok_or_else(|| format!("there is no access key of the profile {profile}"))
}

fn key_of_variables(
    path: &Path,
    id: &str,
    secret: &str,
    session_token: Option<&str>,
) -> Result<S3Key, String> {
    let mut variables = read_env_file(path).map_err(|error| error.to_string())?;
    let mut take = |name: &str| variables.remove(name).filter(|value| !value.is_empty());
    let mut need = |name: &str| take(name).ok_or_else(|| format!("it does not set {name}"));
    let (id, secret) = (need(id)?, need(secret)?);
    Ok(S3Key { id, secret, session_token: session_token.and_then(take) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FILE: &str = "[default]\naws_access_key_id = one\naws_secret_access_key=s1\n";

    fn write_later(file: &Path, text: &str) {
        std::fs::write(file, text).unwrap();
        let opened = std::fs::File::options().write(true).open(file).unwrap();
        let later = opened.metadata().unwrap().modified().unwrap() + Duration::from_secs(1);
        opened.set_modified(later).unwrap();
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again() {
        crate::s3::client::install_tls();
        let file = tempfile::NamedTempFile::new().unwrap();
        let variables = "KEY_ID=one\nKEY='s1'\n";
        let path = file.path().to_owned();
        let sources = [
            (FILE, S3Credentials::File { path: path.clone(), profile: "default".to_owned() }),
            (
                variables,
                S3Credentials::Variables {
                    path: path.clone(),
                    id: "KEY_ID".to_owned(),
                    secret: "KEY".to_owned(),
                    session_token: Some("TOKEN".to_owned()),
                },
            ),
        ];
        for (text, source) in sources {
            std::fs::write(&path, text).unwrap();
            let provider = provider(&source, "r", &reqwest::Client::new()).unwrap().unwrap();
            assert_eq!(provider.get_credential().await.unwrap().key_id, "one");
            write_later(&path, &text.replace("one", "new"));
            assert_eq!(provider.get_credential().await.unwrap().key_id, "new");
            write_later(&path, "");
            std::fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH)
                .unwrap();
            let error = provider.get_credential().await.unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
