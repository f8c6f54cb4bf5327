//! Which store it is: the file, `MEDIA_STORAGE_BACKEND`, `USE_LOCAL_STORAGE`, and what is found, in this order.

use super::{
    StoreBackend, StoreChoice,
    access::{Access, Sources},
};
use crate::config::{
    Config, ConfigError, Origin,
    environment::{Given, Overlay},
    settings::Setting,
};

/// How to stay on the local disk where nothing is selected.
const STAY_LOCAL: &str = "set USE_LOCAL_STORAGE=true to keep bytes on the local disk";

/// The store and why it is that one.
#[derive(Debug)]
pub struct Selection {
    /// The store.
    pub backend: StoreBackend,
    /// Why, for people: `because … says so`.
    pub reason: String,
    /// What else is worth a line at start.
    pub notice: Option<String>,
}

impl Selection {
    fn new(backend: StoreBackend, reason: impl Into<String>) -> Self {
        Self { backend, reason: reason.into(), notice: None }
    }

    /// Selects the store by what is set. Names of other applications are not applied yet, but for those of
    /// `store.backend`.
    ///
    /// # Errors
    /// Credentials without a bucket, half of a key, or a bucket that nobody has credentials for.
    pub fn of(config: &Config, overlay: &Overlay<'_>) -> Result<Self, ConfigError> {
        let backend = match config.store.choice {
            StoreChoice::Auto => return detect(config, overlay),
            StoreChoice::Local => StoreBackend::Local,
            StoreChoice::Local2 => StoreBackend::Local2,
            StoreChoice::Memory => StoreBackend::Memory,
            StoreChoice::S3 | StoreChoice::Minio | StoreChoice::Tigris => StoreBackend::S3,
        };
        let by =
            config.origins.get("store.backend").map_or_else(|| "store.backend".to_owned(), Origin::to_string);
        Ok(Self::new(backend, format!("because {by} says so")))
    }
}

fn detect(config: &Config, overlay: &Overlay<'_>) -> Result<Selection, ConfigError> {
    let given = |path| overlay.given(config, Setting::at(path));
    let bucket = given("store.s3.bucket");
    let key = match (given("store.s3.access_key_id"), given("store.s3.secret_access_key")) {
        (Some(id), Some(_)) => Some(id),
        (None, None) => None,
        (Some(half), None) => return Err(half_a_key(config, &half, "store.s3.secret_access_key")),
        (None, Some(half)) => return Err(half_a_key(config, &half, "store.s3.access_key_id")),
    };
    match (key, bucket) {
        (None, None) => Ok(Selection::new(StoreBackend::Local, "the default: no S3 store is configured")),
        (Some(key), Some(bucket)) => {
            let reason = format!("because {} and {} are set", key.name, bucket.name);
            Ok(Selection::new(StoreBackend::S3, reason))
        }
        (Some(key), None) => Err(ConfigError::new(
            format!("{} is set, but no bucket is named", key.name),
            format!(
                "name the bucket with {}, or {STAY_LOCAL}",
                Setting::at("store.s3.bucket").names_for(config.store.choice)
            ),
        )),
        (None, Some(bucket)) if config.store.s3.anonymous => {
            let reason = format!("because {} names a bucket, without credentials", bucket.name);
            Ok(Selection::new(StoreBackend::S3, reason))
        }
        (None, Some(bucket)) => match sources(config, overlay).find()? {
            Some(access) => {
                let reason = format!("because {} names a bucket, for {}", bucket.name, access.label());
                Ok(Selection::new(StoreBackend::S3, reason))
            }
            None => without_credentials(config, &bucket),
        },
    }
}

/// Where credentials are looked for that are not set themselves.
pub fn sources<'a>(config: &Config, overlay: &Overlay<'a>) -> Sources<'a> {
    let given = |path| overlay.given(config, Setting::at(path));
    let named = |path| given(path).map(|given| (given.text, given.name));
    let endpoint = given("store.s3.endpoint").map(|endpoint| endpoint.text);
    let is_aws = |text: &str| {
        let url = crate::config::address::web(text).ok();
        let host = url.as_ref().and_then(|url| url.host_str());
        host.is_some_and(|host| larder_store::Profile::of_host(host) == larder_store::Profile::Aws)
    };
    let other_kind = matches!(config.store.choice, StoreChoice::Minio | StoreChoice::Tigris);
    let roles = !other_kind && endpoint.as_deref().is_none_or(is_aws);
    Sources {
        environment: overlay.environment(),
        file: named("store.s3.credentials_file").map(|(text, name)| (text.into(), name)),
        profile: named("store.s3.credentials_profile"),
        // MinIO has names of its own, so that a person's keys of AWS are not sent there.
        usual_file: config.store.choice != StoreChoice::Minio,
        roles,
    }
}

/// A bucket is named and nothing opens it. Whoever says so to Larder itself means it; a name that another
/// application uses may be left over on a machine for development.
fn without_credentials(config: &Config, bucket: &Given) -> Result<Selection, ConfigError> {
    let key = |path: &str| Setting::at(path).names_for(config.store.choice);
    let found_nothing = format!(
        "{} names a bucket, but there are no credentials: no access key, no profile in ~/.aws/credentials, no role",
        bucket.name
    );
    let set = format!("set {} and {}", key("store.s3.access_key_id"), key("store.s3.secret_access_key"));
    if bucket.own {
        return Err(ConfigError::new(found_nothing, format!("{set}, or store.backend = \"local\"")));
    }
    let mut selection =
        Selection::new(StoreBackend::Local, "the default: no credentials for an S3 store were found");
    selection.notice = Some(format!(
        "{found_nothing}; bytes lie on the local disk. {set} to use the bucket; MEDIA_STORAGE_BACKEND=s3 makes it an error that they are missing"
    ));
    Ok(selection)
}

/// One part of an access key is set and the other is not.
pub fn half_a_key(config: &Config, half: &Given, missing: &str) -> ConfigError {
    // The name that belongs to the one that is there.
    let partner = match half.name.as_str() {
        "AWS_ACCESS_KEY_ID" => "AWS_SECRET_ACCESS_KEY".to_owned(),
        "AWS_SECRET_ACCESS_KEY" => "AWS_ACCESS_KEY_ID".to_owned(),
        "S3_ACCESS_KEY_ID" => "S3_SECRET_ACCESS_KEY".to_owned(),
        "S3_SECRET_ACCESS_KEY" => "S3_ACCESS_KEY_ID".to_owned(),
        "MINIO_ACCESS_KEY" => "MINIO_SECRET_KEY".to_owned(),
        "MINIO_SECRET_KEY" => "MINIO_ACCESS_KEY".to_owned(),
        _ if half.own => Setting::at(missing).variable(),
        _ => Setting::at(missing).names_for(config.store.choice),
    };
    let or = match config.store.choice {
        StoreChoice::Auto if !half.own => format!(", or {STAY_LOCAL}"),
        _ => String::new(),
    };
    ConfigError::new(
        format!("{} is set, and the other half of the access key is not", half.name),
        format!("set {partner} too{or}"),
    )
}

/// How the key is found where none is set: as `Access`, or an error that says where it was looked for.
pub fn access(config: &Config, overlay: &Overlay<'_>) -> Result<Access, ConfigError> {
    let found = sources(config, overlay).find()?;
    found.ok_or_else(|| {
        let names = |path: &str| Setting::at(path).names_for(config.store.choice);
        let looked = match config.store.choice {
            StoreChoice::Minio => "no access key is set",
            StoreChoice::Tigris => "no access key is set, and there is no profile in ~/.aws/credentials",
            _ => "no access key is set, there is no profile in ~/.aws/credentials and no role of AWS",
        };
        // They are there, but by the names of another store.
        let elsewhere = overlay.ignored(config).into_iter().find(|name| name.contains("ACCESS_KEY"));
        let hint = elsewhere.map_or_else(String::new, |name| {
            format!("; {name} is not for this store: MEDIA_STORAGE_BACKEND=s3 takes it, with any endpoint")
        });
        ConfigError::new(
            format!("the store is S3 ({}), but {looked}", config.store.reason),
            format!(
                "set {} and {}{hint}",
                names("store.s3.access_key_id"),
                names("store.s3.secret_access_key")
            ),
        )
    })
}
