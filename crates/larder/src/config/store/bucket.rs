//! The options of the S3 store, made of what is set and of what its server implies.

use std::path::Path;

use larder_store::{Addressing, Encryption, Profile, S3Credentials, S3Key, S3Options};
use url::Url;

use super::{
    EncryptionChoice, StoreChoice,
    access::Access,
    selection::{access, half_a_key},
};
use crate::config::{
    Config, ConfigError, Origin,
    address::{is_loopback, spelling},
    environment::{ENV_FILE, Overlay},
    settings::Setting,
};

/// Letters of a bucket's name (Amazon S3 User Guide, "General purpose bucket naming rules").
const BUCKET_CHARS: std::ops::RangeInclusive<usize> = 3..=63;

/// Bytes of a prefix, so that room is left for keys below it: S3 allows 1,024 in all.
const PREFIX_BYTES_MAX: usize = 256;

/// What access keys of Tigris begin with.
const TIGRIS_KEY: &str = "tid_";

/// Makes the options of the selected bucket, and notes in the configuration what was not set but follows.
///
/// # Errors
/// A value is missing or wrong, or two of them don't go together; each is named as it was set.
pub fn options(config: &mut Config, overlay: &Overlay<'_>) -> Result<S3Options, ConfigError> {
    let profile = profile(config)?;
    let (credentials, file_region) = credentials(config, overlay)?;
    let (bucket, prefix) = bucket(config)?;
    let variants_bucket = variants_bucket(config, &bucket)?;
    let endpoint = endpoint(config, profile, &bucket)?;
    let region = region(config, profile, endpoint.as_ref(), file_region)?;
    let s3 = &config.store.s3;
    let encryption = match (s3.encryption, &s3.kms_key_id) {
        (EncryptionChoice::None, None) => None,
        (EncryptionChoice::Aes256, None) => Some(Encryption::Aes256),
        (EncryptionChoice::Kms, key_id) => Some(Encryption::Kms { key_id: key_id.clone() }),
        (_, Some(_)) => {
            return Err(ConfigError::new(
                format!(
                    "{} is set, but store.s3.encryption is not aws:kms",
                    name(config, "store.s3.kms_key_id")
                ),
                "set store.s3.encryption = \"aws:kms\", or leave the key out",
            ));
        }
    };
    if let Some(file) = &s3.ca_file {
        check_ca_file(config, file)?;
    }
    let mut options = S3Options::new(profile, bucket, credentials);
    options.variants_bucket = variants_bucket;
    options.prefix = prefix;
    options.endpoint = endpoint;
    options.region = region;
    options.addressing = s3.addressing.unwrap_or_else(|| addressing(profile, &options));
    options.encryption = encryption;
    options.checksum = s3.checksum;
    options.ca_file.clone_from(&s3.ca_file);
    options.require_tls = s3.require_tls;
    options.create = s3.create;
    options.connect_within = s3.connect_within.0;
    options.answer_within = s3.answer_within.0;
    options.retries = s3.retries;
    options.retry_within = s3.retry_within.0;
    note_what_follows(config, profile, &options);
    Ok(options)
}

/// How a setting was set, for messages.
fn name(config: &Config, path: &'static str) -> String {
    let setting = Setting::at(path);
    config.origins.get(path).map_or_else(|| path.to_owned(), |origin| setting.told_by(origin))
}

fn profile(config: &Config) -> Result<Profile, ConfigError> {
    let s3 = &config.store.s3;
    let by_store = match config.store.choice {
        StoreChoice::Minio => Some(Profile::Minio),
        StoreChoice::Tigris => Some(Profile::Tigris),
        _ => None,
    };
    if let (Some(store), Some(profile)) = (by_store, s3.profile)
        && store != profile
    {
        return Err(ConfigError::new(
            format!(
                "{} is {}, but {} is {}",
                name(config, "store.backend"),
                store.name(),
                name(config, "store.s3.profile"),
                profile.name()
            ),
            "leave one of them out; store.backend = \"s3\" goes with any profile",
        ));
    }
    let by_host = s3.endpoint.as_ref().and_then(Url::host_str).map(Profile::of_host);
    let is_tigris_key = s3.access_key_id.as_ref().is_some_and(|id| id.starts_with(TIGRIS_KEY));
    Ok(s3.profile.or(by_store).or(by_host).unwrap_or(if is_tigris_key {
        Profile::Tigris
    } else {
        Profile::Aws
    }))
}

/// Whose requests these are, with the region that belongs to a person's profile.
fn credentials(
    config: &mut Config,
    overlay: &Overlay<'_>,
) -> Result<(S3Credentials, Option<(String, String)>), ConfigError> {
    let given = |path| overlay.given(config, Setting::at(path));
    let (id, secret) = (given("store.s3.access_key_id"), given("store.s3.secret_access_key"));
    match (&id, &secret) {
        (Some(half), None) => return Err(half_a_key(config, half, "store.s3.secret_access_key")),
        (None, Some(half)) => return Err(half_a_key(config, half, "store.s3.access_key_id")),
        _ => {}
    }
    if let Some(id) = id.filter(|_| config.store.s3.anonymous) {
        return Err(ConfigError::new(
            format!("{} is set, and {} is true", id.name, name(config, "store.s3.anonymous")),
            "leave one of them out: requests are signed with the key, or by nobody",
        ));
    }
    let s3 = &config.store.s3;
    if let (Some(id), Some(secret)) = (&s3.access_key_id, &s3.secret_access_key) {
        // A token that another application's key came with does not belong to one of our own.
        let origins = &config.origins;
        let foreign = |path: &str| matches!(origins.get(path), Some(Origin::Variable(_)));
        let is_of_key = !foreign("store.s3.session_token")
            || origins.get("store.s3.access_key_id") == Some(&Origin::Variable("AWS_ACCESS_KEY_ID"));
        let session_token = s3.session_token.as_ref().filter(|_| is_of_key);
        let key = S3Key {
            id: id.clone(),
            secret: secret.expose().to_owned(),
            session_token: session_token.map(|token| token.expose().to_owned()),
        };
        if s3.session_token.is_some() && !is_of_key {
            config
                .notices
                .push("ignored, since it belongs to AWS_ACCESS_KEY_ID: AWS_SESSION_TOKEN".to_owned());
            config.unset("store.s3.session_token");
            config.store.s3.session_token = None;
        }
        return Ok((watched(config, overlay, key)?, None));
    }
    if s3.anonymous {
        return Ok((S3Credentials::Anonymous, None));
    }
    let access = access(config, overlay)?;
    let label = access.label();
    let (credentials, region) = match access {
        Access::Profile { file, name, region } => {
            let region = region.map(|(region, by)| (region, by.display().to_string()));
            config.follows("store.s3.credentials_file", file.display().to_string(), "found");
            config.follows("store.s3.credentials_profile", name.clone(), "found");
            (S3Credentials::File { path: file, profile: name }, region)
        }
        Access::WebIdentity | Access::Container | Access::Machine => (S3Credentials::Environment, None),
    };
    config.follows("store.s3.access_key_id", format!("of {label}"), "found");
    Ok((credentials, region))
}

/// A key that stands in the environment file is read there, again and again, so that it can be replaced without
/// a restart. One that the process's own environment sets over it can't change.
fn watched(config: &Config, overlay: &Overlay<'_>, key: S3Key) -> Result<S3Credentials, ConfigError> {
    let Some(file) = overlay.environment().get(ENV_FILE) else { return Ok(S3Credentials::Static(key)) };
    let path = Path::new(file);
    let Ok(variables) = larder_store::read_env_file(path) else { return Ok(S3Credentials::Static(key)) };
    let named = |setting: &'static str, value: &str| {
        let variable = match config.origins.get(setting)? {
            Origin::Variable(name) => (*name).to_owned(),
            Origin::Overlay(name) => name.clone(),
            _ => return None,
        };
        (variables.get(&variable).map(String::as_str) == Some(value)).then_some(variable)
    };
    let (id, secret) =
        (named("store.s3.access_key_id", &key.id), named("store.s3.secret_access_key", &key.secret));
    let token = key.session_token.as_deref().map(|token| named("store.s3.session_token", token));
    Ok(match (id, secret, token) {
        (Some(id), Some(secret), None) => {
            S3Credentials::Variables { path: path.to_owned(), id, secret, session_token: None }
        }
        (Some(id), Some(secret), Some(Some(token))) => {
            S3Credentials::Variables { path: path.to_owned(), id, secret, session_token: Some(token) }
        }
        _ => S3Credentials::Static(key),
    })
}

/// The bucket's name and the prefix in it.
fn bucket(config: &Config) -> Result<(String, String), ConfigError> {
    let s3 = &config.store.s3;
    let Some(text) = &s3.bucket else {
        let local = match config.origins.get("store.backend") {
            Some(Origin::File(_)) => "store.backend = \"local\"",
            Some(Origin::Variable(name)) if *name == "USE_LOCAL_STORAGE" => "USE_LOCAL_STORAGE=true",
            Some(Origin::Variable(_)) => "MEDIA_STORAGE_BACKEND=local",
            _ => "LARDER_STORE__BACKEND=local",
        };
        return Err(ConfigError::new(
            format!("the store is S3 ({}), but no bucket is named", config.store.reason),
            format!(
                "name the bucket with {}, or set {local}",
                Setting::at("store.s3.bucket").names_for(config.store.choice)
            ),
        ));
    };
    let by = name(config, "store.s3.bucket");
    let (bucket, folder) = match text.strip_prefix("s3://") {
        Some(place) => place.split_once('/').unwrap_or((place, "")),
        None => (text.as_str(), ""),
    };
    check_bucket(bucket, &by)?;
    let prefix = s3.prefix.as_deref().unwrap_or_default().trim_matches('/');
    let folder = folder.trim_matches('/');
    if !folder.is_empty() && !prefix.is_empty() && folder != prefix {
        return Err(ConfigError::new(
            format!(
                "{by} ({folder}) and {} ({prefix}) disagree on the prefix",
                name(config, "store.s3.prefix")
            ),
            "leave one of them out",
        ));
    }
    let (prefix, by) =
        if prefix.is_empty() { (folder, by) } else { (prefix, name(config, "store.s3.prefix")) };
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | ".." | ".larder") && !segment.chars().any(char::is_control)
    };
    if !prefix.is_empty() && (!prefix.split('/').all(is_segment) || prefix.len() > PREFIX_BYTES_MAX) {
        return Err(ConfigError::new(
            format!("{by}: \"{prefix}\" is no folder of a bucket"),
            format!("write names with / between them, such as media/files, at most {PREFIX_BYTES_MAX} bytes"),
        ));
    }
    Ok((bucket.to_owned(), prefix.to_owned()))
}

fn variants_bucket(config: &Config, bucket: &str) -> Result<Option<String>, ConfigError> {
    let other = config.store.s3.variants_bucket.as_deref().filter(|other| *other != bucket);
    if let Some(other) = other {
        check_bucket(other, &name(config, "store.s3.variants_bucket"))?;
    }
    Ok(other.map(str::to_owned))
}

fn check_bucket(bucket: &str, by: &str) -> Result<(), ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if BUCKET_CHARS.contains(&bucket.len()) && bucket.bytes().all(is_plain) && !bucket.contains("..") {
        return Ok(());
    }
    Err(ConfigError::new(
        format!("{by}: \"{bucket}\" is no name of an S3 bucket"),
        "write the bucket's name alone, 3 to 63 of a-z, 0-9, - and ., or s3://bucket/prefix",
    ))
}

fn endpoint(config: &mut Config, profile: Profile, bucket: &str) -> Result<Option<Url>, ConfigError> {
    let Some(endpoint) = config.store.s3.endpoint.clone().or_else(|| profile.endpoint()) else {
        if profile == Profile::Minio {
            return Err(ConfigError::new(
                "the store is a MinIO server, but its address is not set",
                format!(
                    "set {}, such as http://127.0.0.1:9000",
                    Setting::at("store.s3.endpoint").names_for(config.store.choice)
                ),
            ));
        }
        return Ok(None);
    };
    let by = name(config, "store.s3.endpoint");
    // A server of one's own may have a name that begins like a bucket's.
    let is_for_many = profile != Profile::Minio;
    if is_for_many && endpoint.host_str().is_some_and(|host| host.starts_with(&format!("{bucket}."))) {
        return Err(ConfigError::new(
            format!("{by}: {endpoint} holds the name of the bucket"),
            "give the address of the server alone; the bucket is put in front of it where that is wanted",
        ));
    }
    if endpoint.scheme() == "http" && !is_loopback(&endpoint) {
        if config.store.s3.require_tls {
            return Err(ConfigError::new(
                format!("{by}: {} is not encrypted, and store.s3.require_tls is set", spelling(&endpoint)),
                "use https:, or unset store.s3.require_tls where the network is trusted",
            ));
        }
        config.notices.push(format!(
            "{by}: {} is not encrypted: whoever is on the way can read what is stored; use https:, or keep it to a trusted network",
            spelling(&endpoint)
        ));
    }
    Ok(Some(endpoint))
}

fn region(
    config: &mut Config,
    profile: Profile,
    endpoint: Option<&Url>,
    file_region: Option<(String, String)>,
) -> Result<String, ConfigError> {
    let region = match (&config.store.s3.region, region_of_host(endpoint), file_region) {
        (Some(region), ..) => region.clone(),
        (None, Some(region), _) => {
            config.follows("store.s3.region", region.clone(), "the endpoint");
            region
        }
        (None, None, Some((region, by))) if profile == Profile::Aws => {
            config.follows("store.s3.region", region.clone(), &by);
            region
        }
        _ => {
            config.follows("store.s3.region", profile.region().to_owned(), &of(profile));
            profile.region().to_owned()
        }
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !region.bytes().all(is_plain) || (profile == Profile::Aws && region == "auto") {
        return Err(ConfigError::new(
            format!("{}: AWS has no region \"{region}\"", name(config, "store.s3.region")),
            "write the region of the bucket, such as eu-central-1",
        ));
    }
    Ok(region)
}

/// `eu-west-1` of `s3.eu-west-1.amazonaws.com`.
fn region_of_host(endpoint: Option<&Url>) -> Option<String> {
    let host = endpoint?.host_str()?;
    let labels: Vec<&str> =
        host.strip_suffix(".cn").unwrap_or(host).strip_suffix(".amazonaws.com")?.split('.').collect();
    match labels.as_slice() {
        ["s3", region] | ["s3", "dualstack", region] => Some((*region).to_owned()),
        _ => None,
    }
}

/// Path style where the name can't be a label of a host, or no certificate of the server would hold for it.
fn addressing(profile: Profile, options: &S3Options) -> Addressing {
    let is_label = |name: &String| {
        !name.starts_with('-')
            && !name.ends_with('-')
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let buckets = [Some(&options.bucket), options.variants_bucket.as_ref()];
    match buckets.into_iter().flatten().all(is_label) {
        true => profile.addressing(),
        false => Addressing::Path,
    }
}

fn check_ca_file(config: &Config, file: &Path) -> Result<(), ConfigError> {
    let cause = match std::fs::read(file) {
        Ok(bytes) if bytes.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----") => {
            return Ok(());
        }
        Ok(_) => "holds no certificate in PEM".to_owned(),
        Err(error) => format!("can't be read: {error}"),
    };
    Err(ConfigError::new(
        format!("{}: {} {cause}", name(config, "store.s3.ca_file"), file.display()),
        "name a file with the certificates of the authority, as the server's operator gives it",
    ))
}

fn of(profile: Profile) -> String {
    format!("the profile {}", profile.name())
}

/// Notes for `larder config` what was not set but is used.
fn note_what_follows(config: &mut Config, profile: Profile, options: &S3Options) {
    let set = |config: &Config, path| config.origins.contains_key(path) && config.shown.contains_key(path);
    if !set(config, "store.s3.profile") {
        let why = match config.store.choice {
            StoreChoice::Minio | StoreChoice::Tigris => "store.backend",
            _ if config.store.s3.endpoint.is_some() => "the endpoint",
            _ if profile == Profile::Tigris => "the access key",
            _ => "default",
        };
        config.follows("store.s3.profile", profile.name().to_owned(), why);
    }
    if !set(config, "store.s3.endpoint")
        && let Some(endpoint) = &options.endpoint
    {
        config.follows("store.s3.endpoint", spelling(endpoint), &of(profile));
    }
    if config.store.s3.addressing.is_none() {
        let (word, why) = match options.addressing {
            Addressing::Path if profile.addressing() != Addressing::Path => {
                ("path", "the bucket's name".to_owned())
            }
            Addressing::Path => ("path", of(profile)),
            Addressing::VirtualHost => ("virtual", of(profile)),
        };
        config.follows("store.s3.addressing", word.to_owned(), &why);
    }
    if config.store.s3.bucket.as_ref().is_some_and(|bucket| *bucket != options.bucket) {
        let by = name(config, "store.s3.bucket");
        config.follows("store.s3.bucket", options.bucket.clone(), &by);
        if !options.prefix.is_empty() {
            config.follows("store.s3.prefix", options.prefix.clone(), &by);
        }
    }
}
