//! Which store comes of which environment. The blocks are those that applications document for themselves.

use std::io::Write;

use larder_store::{Addressing, Encryption, S3Checksum, S3Credentials, S3Options};

use super::*;

/// Keeps the tests from asking which machine they run on.
const NO_MACHINE: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");

/// A Django application on Tigris.
const TIGRIS_BY_DJANGO: &str = include_str!("../../tests/environments/tigris_by_django.env");

/// An image proxy on MinIO, with two buckets behind a CDN.
const IMAGE_PROXY: &str = include_str!("../../tests/environments/image_proxy.env");

/// An application on Fly.io: secrets, and `[env]` of its `fly.toml`.
const FLY: &str = include_str!("../../tests/environments/fly.env");

/// An application that switches between disk and AWS.
const SWITCHED: &str = include_str!("../../tests/environments/switched.env");

/// An application with three stores; the line that selects one is added.
const THREE_STORES: &str = include_str!("../../tests/environments/three_stores.env");

/// The assignments of a block, as a shell reads them.
fn block(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect()
}

fn load_with(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut toml = tempfile::NamedTempFile::new().unwrap();
    toml.write_all(file.as_bytes()).unwrap();
    let all = [NO_MACHINE].into_iter().chain(variables.iter().copied());
    let environment = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Config::load(Some(toml.path()), &environment, &[])
}

fn load(variables: &[(&str, &str)]) -> Config {
    load_with("", variables).unwrap()
}

fn block_and<'a>(text: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    block(text)
        .into_iter()
        .filter(|(name, _)| more.iter().all(|(other, _)| name != other))
        .chain(more.iter().copied())
        .collect()
}

fn s3(config: &Config) -> &S3Options {
    assert_eq!(config.store.backend, StoreBackend::S3, "{}", config.store_reason());
    config.store.s3_options.as_ref().unwrap()
}

fn refusal(file: &str, variables: &[(&str, &str)]) -> String {
    let error = load_with(file, variables).unwrap_err();
    format!("{}\n{}", error.cause, error.remedy)
}

/// Asserts that a text holds all of these.
#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}

fn static_key(options: &S3Options) -> (&str, &str) {
    match &options.credentials {
        S3Credentials::Static(key) => (&key.id, &key.secret),
        other => panic!("{other:?}"),
    }
}

/// A key and a bucket, with which everything else can be tried.
const KEY: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE00001"),
    ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ("BUCKET_NAME", "photos"),
];

fn with_key<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    KEY.iter().chain(more).copied().collect()
}

#[test]
fn the_block_of_a_django_application_on_tigris() {
    let config = load(&block(TIGRIS_BY_DJANGO));
    let options = s3(&config);
    assert_eq!((options.bucket.as_str(), options.region.as_str()), ("mangakg-media", "fra"));
    assert_eq!(options.endpoint.as_ref().unwrap().as_str(), "https://fly.storage.tigris.dev/");
    assert_eq!(options.addressing, Addressing::VirtualHost);
    assert_eq!(static_key(options), ("your_tigris_access_key", "your_tigris_secret_key"));
    assert_eq!(config.store.public_url.as_ref().unwrap().as_str(), "https://your-cdn-domain.com/");
    assert_eq!(config.following["store.s3.profile"].0, "tigris");
    assert_eq!(config.store_reason(), "because AWS_ACCESS_KEY_ID and AWS_STORAGE_BUCKET_NAME are set");
    assert_eq!(config.notices, [""; 0]);

    // What the same document calls required is half of what it takes: which bucket is ours is not known.
    let text = refusal("", &block(TIGRIS_BY_DJANGO)[..2]);
    holds(&text, &["AWS_ACCESS_KEY_ID is set, but no bucket is named"]);
    holds(&text, &["AWS_STORAGE_BUCKET_NAME", "S3_BUCKET_NAME", "BUCKET_NAME", "USE_LOCAL_STORAGE=true"]);
    let local = block_and(TIGRIS_BY_DJANGO, &[("USE_LOCAL_STORAGE", "true")]);
    assert_eq!(load(&local).store.backend, StoreBackend::Local);

    // The three secrets of its deployment; a key of Tigris is known by how it begins.
    let secrets = [
        ("AWS_ACCESS_KEY_ID", "tid_x"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_STORAGE_BUCKET_NAME", "bucket"),
    ];
    let config = load(&secrets);
    assert_eq!(s3(&config).endpoint.as_ref().unwrap().as_str(), "https://fly.storage.tigris.dev/");
    assert_eq!(s3(&config).region, "auto");
}

#[test]
fn the_block_of_an_image_proxy_on_minio() {
    let config = load(&block(IMAGE_PROXY));
    let options = s3(&config);
    assert_eq!(options.bucket, "tvdb-images-originals");
    assert_eq!(options.variants_bucket.as_deref(), Some("tvdb-images-thumbnails"));
    assert_eq!(options.endpoint.as_ref().unwrap().as_str(), "http://localhost:9000/");
    assert_eq!((options.region.as_str(), options.addressing), ("us-east-1", Addressing::Path));
    assert_eq!(static_key(options), ("your-access-key", "your-secret-key"));
    assert_eq!(config.store.public_url.as_ref().unwrap().as_str(), "https://cdn.example.com/");
    assert_eq!((config.images.quality, config.images.optimize), (Some(85), true));
    assert_eq!(config.limits.artwork_bytes.0, 10 * 1_048_576);
    assert_eq!(config.notices, [""; 0], "this machine needs no encryption on the way");

    // Its block for development names no bucket.
    let short = [
        ("S3_ENDPOINT_URL", "http://localhost:9000"),
        ("S3_ACCESS_KEY_ID", "minioadmin"),
        ("S3_SECRET_ACCESS_KEY", "minioadmin"),
    ];
    holds(
        &refusal("", &short),
        &["S3_ACCESS_KEY_ID is set", "no bucket", "S3_BUCKET_ORIGINALS", "USE_LOCAL_STORAGE=true"],
    );
}

#[test]
fn the_block_of_an_application_on_fly() {
    let config = load(&block(FLY));
    let options = s3(&config);
    assert_eq!((options.bucket.as_str(), options.region.as_str()), ("your-email-scheduler-bucket", "auto"));
    assert_eq!(options.endpoint.as_ref().unwrap().as_str(), "https://fly.storage.tigris.dev/");
    assert_eq!(config.notices, ["ignored, since media have no use for it: ORG_ID"]);
}

#[test]
fn the_block_of_an_application_that_switches() {
    // As it stands in the document: the switch wins over the credentials.
    let config = load(&block(SWITCHED));
    assert_eq!(config.store.backend, StoreBackend::Local);
    assert_eq!(config.store_reason(), "because USE_LOCAL_STORAGE says so");
    assert_eq!(config.notices.len(), 1, "{:?}", config.notices);
    holds(
        &config.notices[0],
        &["since the store is local: ", "AWS_ACCESS_KEY_ID", "S3_BUCKET_NAME", "AWS_REGION"],
    );
    holds(&config.notices[0], &["S3_PUBLIC_BUCKET", "CLOUDFRONT_DOMAIN", "LARDER_PUBLIC_URL"]);
    assert!(!config.notices[0].contains("USE_LOCAL_STORAGE"));

    let config = load(&block_and(SWITCHED, &[("USE_LOCAL_STORAGE", "false")]));
    let options = s3(&config);
    assert_eq!((options.bucket.as_str(), options.region.as_str()), ("customify-production", "us-east-1"));
    assert_eq!((&options.endpoint, options.addressing), (&None, Addressing::VirtualHost));
    assert_eq!(config.store.public_url.as_ref().unwrap().as_str(), "https://d123abc.cloudfront.net/");
    let media = |config: &Config| {
        let name = "media".parse().unwrap();
        config.reshaped(&name, shipped_policy(&name).unwrap()).visibility
    };
    assert_eq!(media(&config), larder_assets::Visibility::Public);
    let private =
        load(&block_and(SWITCHED, &[("USE_LOCAL_STORAGE", "false"), ("S3_PUBLIC_BUCKET", "false")]));
    assert_eq!(media(&private), larder_assets::Visibility::Private);

    // Its block for a test of S3, and what it advises when credentials are missing.
    let test = [
        ("AWS_ACCESS_KEY_ID", "your_key"),
        ("AWS_SECRET_ACCESS_KEY", "your_secret"),
        ("S3_BUCKET_NAME", "customify-dev"),
        ("USE_LOCAL_STORAGE", "false"),
    ];
    assert_eq!(s3(&load(&test)).region, "us-east-1");
    holds(&refusal("", &test[..2]), &["no bucket is named", "USE_LOCAL_STORAGE=true"]);
    holds(
        &refusal("", &test[2..]),
        &["because USE_LOCAL_STORAGE says so", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
    );
    holds(&refusal("", &[test[0], test[1], test[3]]), &["no bucket is named", "set USE_LOCAL_STORAGE=true"]);
    // Its defaults: a bucket without credentials.
    let config = load(&[("S3_BUCKET_NAME", "customify-production"), ("AWS_ACCESS_KEY_ID", "")]);
    assert_eq!(config.store.backend, StoreBackend::Local);
    holds(&config.notices[0], &["S3_BUCKET_NAME names a bucket", "local disk", "MEDIA_STORAGE_BACKEND=s3"]);
}

#[test]
fn the_block_of_an_application_with_three_stores() {
    let with = |word| block_and(THREE_STORES, &[("MEDIA_STORAGE_BACKEND", word)]);
    let local = load(&with("local"));
    assert_eq!(local.store_root(), PathBuf::from("/app/media"));
    holds(&local.notices[0], &["since the store is local: ", "MINIO_ENDPOINT", "AWS_STORAGE_BUCKET_NAME"]);
    assert!(!local.notices[0].contains("MEDIA_"), "{:?}", local.notices);
    assert_eq!(local.limits.upload_bytes.0, 104_857_600);

    let minio = load(&with("minio"));
    let options = s3(&minio);
    assert_eq!(options.bucket, "tinybeans-media");
    assert_eq!(options.endpoint.as_ref().unwrap().as_str(), "http://minio:9000/");
    assert_eq!((static_key(options), options.addressing), (("minioadmin", "minioadmin"), Addressing::Path));
    holds(&minio.notices[0], &["MINIO_ENDPOINT: http://minio:9000 is not encrypted"]);
    holds(&minio.notices[1], &["since the store is minio: ", "AWS_ACCESS_KEY_ID", "MEDIA_ROOT"]);
    assert!(!minio.notices[1].contains("MINIO_"), "{:?}", minio.notices);

    let aws = load(&with("S3"));
    let options = s3(&aws);
    assert_eq!((options.bucket.as_str(), options.endpoint.as_ref()), ("your-bucket", None));
    assert_eq!(static_key(options), ("your-key", "your-secret"));
    holds(&aws.notices[0], &["since the store is s3: ", "MINIO_ENDPOINT", "MEDIA_ROOT"]);
    for config in [&local, &minio, &aws] {
        assert_eq!(config.store_reason(), "because MEDIA_STORAGE_BACKEND says so");
        assert!(config.delivery.alias().is_some());
    }

    // As it stands, the line offers a choice.
    holds(
        &refusal("", &with("local|minio|s3")),
        &["MEDIA_STORAGE_BACKEND: \"local|minio|s3\" is no store", "minio, tigris"],
    );
    // Without the line two buckets are described.
    let text = refusal("", &block(THREE_STORES));
    holds(
        &text,
        &["AWS_STORAGE_BUCKET_NAME (your-bucket)", "MINIO_BUCKET_NAME (tinybeans-media)", "disagree"],
    );
    holds(&text, &["MEDIA_STORAGE_BACKEND=minio or s3", "LARDER_STORE__S3__BUCKET"]);
}

#[test]
fn without_any_name_of_a_block_the_store_is_local() {
    let config = load(&[]);
    assert_eq!((config.store.backend, config.notices.len()), (StoreBackend::Local, 0));
    // What is usual on a machine for development selects nothing.
    let config =
        load(&[("AWS_REGION", "eu-central-1"), ("AWS_DEFAULT_REGION", "us-west-1"), ("AWS_PROFILE", "none")]);
    assert_eq!(config.store_reason(), "the default: no S3 store is configured");
    assert_eq!(
        config.notices,
        ["ignored, since the store is local: AWS_REGION, AWS_DEFAULT_REGION, AWS_PROFILE"]
    );
}

#[test]
fn the_file_wins_then_the_backend_then_the_switch_then_what_is_found() {
    let both = [("MEDIA_STORAGE_BACKEND", "s3"), ("USE_LOCAL_STORAGE", "true")];
    let all = with_key(&both);
    let local = load_with("[store]\nbackend = \"local\"", &all).unwrap();
    assert_eq!(local.store.backend, StoreBackend::Local);
    assert!(local.store_reason().starts_with("because /"), "{}", local.store_reason());
    let own = load(&with_key(&[both[0], both[1], ("LARDER_STORE__BACKEND", "memory")]));
    assert_eq!(
        (own.store.backend, own.store_reason()),
        (StoreBackend::Memory, "because LARDER_STORE__BACKEND says so")
    );
    let backend = load(&all);
    assert_eq!(s3(&backend).bucket, "photos");
    assert_eq!(backend.notices, ["USE_LOCAL_STORAGE has no effect: MEDIA_STORAGE_BACKEND wins over it"]);
    assert_eq!(load(&with_key(&both[1..])).store.backend, StoreBackend::Local);
    assert_eq!(load(&with_key(&[])).store.backend, StoreBackend::S3);
    // A switch to anything but the disk is no contradiction.
    assert!(load(&[("MEDIA_STORAGE_BACKEND", "memory"), ("USE_LOCAL_STORAGE", "false")]).notices.is_empty());
    holds(
        &refusal("", &[("USE_LOCAL_STORAGE", "maybe")]),
        &["USE_LOCAL_STORAGE: ", "neither true nor false"],
    );
}

/// Every name of the table, with a value, and what it sets.
#[test]
fn every_name_sets_its_setting() {
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        ("s3", "AWS_STORAGE_BUCKET_NAME", "one", "store.s3.bucket", "one"),
        ("s3", "S3_BUCKET_NAME", "one", "store.s3.bucket", "one"),
        ("minio", "S3_BUCKET_ORIGINALS", "one", "store.s3.bucket", "one"),
        ("s3", "BUCKET_NAME", "one", "store.s3.bucket", "one"),
        ("minio", "MINIO_BUCKET_NAME", "one", "store.s3.bucket", "one"),
        ("s3", "S3_BUCKET_THUMBNAILS", "two", "store.s3.variants_bucket", "two"),
        ("s3", "AWS_S3_ENDPOINT_URL", "https://a.example/", "store.s3.endpoint", "https://a.example"),
        ("tigris", "AWS_ENDPOINT_URL_S3", "https://a.example", "store.s3.endpoint", "https://a.example"),
        ("minio", "S3_ENDPOINT_URL", "http://127.0.0.1:9000", "store.s3.endpoint", "http://127.0.0.1:9000"),
        ("minio", "MINIO_ENDPOINT", "127.0.0.1:9000", "store.s3.endpoint", "http://127.0.0.1:9000"),
        ("s3", "AWS_ENDPOINT_URL", "https://a.example", "store.s3.endpoint", "https://a.example"),
        ("s3", "AWS_S3_REGION_NAME", "fra", "store.s3.region", "fra"),
        ("s3", "AWS_REGION", "fra", "store.s3.region", "fra"),
        ("s3", "AWS_DEFAULT_REGION", "fra", "store.s3.region", "fra"),
        ("minio", "S3_REGION", "fra", "store.s3.region", "fra"),
        ("s3", "AWS_ACCESS_KEY_ID", "AKIDEXAMPLE00001", "store.s3.access_key_id", "****0001"),
        ("s3", "S3_ACCESS_KEY_ID", "AKIDEXAMPLE00001", "store.s3.access_key_id", "****0001"),
        ("minio", "MINIO_ACCESS_KEY", "minioadmin", "store.s3.access_key_id", "****"),
        ("s3", "AWS_SECRET_ACCESS_KEY", "hunter2", "store.s3.secret_access_key", "****"),
        ("s3", "S3_SECRET_ACCESS_KEY", "hunter2", "store.s3.secret_access_key", "****"),
        ("minio", "MINIO_SECRET_KEY", "hunter2", "store.s3.secret_access_key", "****"),
        ("s3", "AWS_SESSION_TOKEN", "hunter2", "store.s3.session_token", "****"),
        ("s3", "AWS_SHARED_CREDENTIALS_FILE", "/c", "store.s3.credentials_file", "/c"),
        ("s3", "AWS_PROFILE", "p", "store.s3.credentials_profile", "p"),
        ("s3", "S3_PUBLIC_BUCKET", "true", "store.s3.public_bucket", "true"),
        ("s3", "AWS_CA_BUNDLE", "", "store.s3.ca_file", ""),
        ("s3", "CDN_BASE_URL", "cdn.example", "store.public_url", "https://cdn.example"),
        ("minio", "CLOUDFRONT_DOMAIN", "cdn.example", "store.public_url", "https://cdn.example"),
        ("s3", "AWS_S3_CUSTOM_DOMAIN", "cdn.example", "store.public_url", "https://cdn.example"),
        ("s3", "MEDIA_URL", "https://cdn.example/media/", "store.public_url", "https://cdn.example/media"),
        ("local", "MEDIA_URL", "/media/", "delivery.media_path", "/media/"),
        ("local", "MEDIA_ROOT", "/srv", "store.root", "/srv"),
        ("local", "DATABASE_URL", "sqlite:", "database_url", "****"),
        ("local", "PORT", "81", "listen", "127.0.0.1:81"),
        ("local", "MAX_UPLOAD_SIZE", "5", "limits.upload_bytes", "5"),
        ("local", "MAX_IMAGE_FILE_SIZE_MB", "5", "limits.artwork_bytes", "5 MiB"),
        ("local", "IMAGE_FORMAT", "avif", "images.format", "avif"),
        ("local", "IMAGE_QUALITY", "5", "images.quality", "5"),
        ("local", "ENABLE_IMAGE_OPTIMIZATION", "false", "images.optimize", "false"),
    ];
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&authority, "-----BEGIN CERTIFICATE-----\n").unwrap();
    let authority = authority.path().to_str().unwrap();
    for (store, variable, value, path, expected) in cases {
        let (value, expected) =
            if *variable == "AWS_CA_BUNDLE" { (authority, authority) } else { (*value, *expected) };
        // What the store needs besides, by names that are no aliases.
        let needs = [
            ("store.s3.bucket", "LARDER_STORE__S3__BUCKET", "needed"),
            ("store.s3.endpoint", "LARDER_STORE__S3__ENDPOINT", "https://needed.example"),
            ("store.s3.access_key_id", "LARDER_STORE__S3__ACCESS_KEY_ID", "needed"),
            ("store.s3.secret_access_key", "LARDER_STORE__S3__SECRET_ACCESS_KEY", "needed"),
        ];
        let mut variables = vec![("MEDIA_STORAGE_BACKEND", *store), (*variable, value)];
        if *store != "local" {
            variables.extend(
                needs.iter().filter(|(need, ..)| need != path).map(|(_, name, value)| (*name, *value)),
            );
        }
        if *variable == "AWS_SESSION_TOKEN" {
            // A token goes with the key that it came with.
            variables.retain(|(name, _)| *name != "LARDER_STORE__S3__ACCESS_KEY_ID");
            variables.push(("AWS_ACCESS_KEY_ID", "needed"));
        }
        let config = load_with("", &variables).unwrap_or_else(|error| panic!("{variable}: {error}"));
        assert_eq!(config.shown.get(*path).map(String::as_str), Some(expected), "{variable}");
        assert_eq!(config.origins[path], Origin::Variable(variable), "{variable}");
        assert!(!format!("{config:?}").contains("hunter2"), "{variable}");
    }
    let tried: std::collections::BTreeSet<_> = cases.iter().map(|(_, name, ..)| *name).collect();
    let aliases =
        settings::all().filter(|setting| setting.path != "store.backend").flat_map(|setting| setting.aliases);
    for alias in aliases {
        assert!(tried.contains(alias.name), "{} is not tried", alias.name);
    }
}

#[test]
fn two_names_that_disagree_are_named_and_equal_ones_are_fine() {
    let region = |one: &str, other: &str| {
        load_with("", &with_key(&[("AWS_REGION", one), ("AWS_S3_REGION_NAME", other)]))
            .map_err(|error| format!("{}\n{}", error.cause, error.remedy))
    };
    assert_eq!(s3(&region("fra", "fra").unwrap()).region, "fra");
    let text = region("eu-central-1", "fra").unwrap_err();
    holds(&text, &["AWS_S3_REGION_NAME (fra) and AWS_REGION (eu-central-1) disagree on store.s3.region"]);
    holds(&text, &["unset one of them, or set LARDER_STORE__S3__REGION"]);

    let text = refusal("", &with_key(&[("S3_SECRET_ACCESS_KEY", "other-secret")]));
    holds(&text, &["AWS_SECRET_ACCESS_KEY and S3_SECRET_ACCESS_KEY disagree"]);
    assert!(!text.contains("hunter2") && !text.contains("other-secret"), "{text}");
    let text = refusal("", &with_key(&[("MINIO_ACCESS_KEY", "other-id")]));
    holds(&text, &["AWS_ACCESS_KEY_ID and MINIO_ACCESS_KEY disagree", "MEDIA_STORAGE_BACKEND=minio or s3"]);
    assert!(!text.contains("AKID") && !text.contains("other-id"), "{text}");
    holds(
        &refusal("", &with_key(&[("S3_BUCKET_NAME", "other")])),
        &["S3_BUCKET_NAME (other)", "BUCKET_NAME (photos)"],
    );
    let text =
        refusal("", &with_key(&[("CDN_BASE_URL", "https://a.example"), ("CLOUDFRONT_DOMAIN", "b.example")]));
    holds(&text, &["CDN_BASE_URL (https://a.example) and CLOUDFRONT_DOMAIN (https://b.example) disagree"]);

    // One meaning in two spellings.
    let same = [("CDN_BASE_URL", "https://a.example/"), ("CLOUDFRONT_DOMAIN", "a.example")];
    assert!(load_with("", &with_key(&same)).is_ok());
    let same = [
        ("AWS_ENDPOINT_URL_S3", "https://fly.storage.tigris.dev"),
        ("S3_ENDPOINT_URL", "https://fly.storage.tigris.dev/"),
    ];
    assert!(load_with("", &with_key(&same)).is_ok());
    // What wins makes the others irrelevant, also the file.
    let disagree = with_key(&[("AWS_REGION", "a"), ("S3_REGION", "b")]);
    assert!(load_with("[store.s3]\nregion = \"c\"", &disagree).is_ok_and(|config| s3(&config).region == "c"));
    let own: Vec<_> = disagree.into_iter().chain([("LARDER_STORE__S3__REGION", "d")]).collect();
    assert_eq!(s3(&load(&own)).region, "d");
    // A general name yields to the one for S3, and says so.
    let config = load(&with_key(&[
        ("AWS_ENDPOINT_URL", "https://a.example"),
        ("AWS_ENDPOINT_URL_S3", "https://b.example"),
    ]));
    assert_eq!(s3(&config).endpoint.as_ref().unwrap().as_str(), "https://b.example/");
    assert_eq!(config.notices, ["AWS_ENDPOINT_URL has no effect: AWS_ENDPOINT_URL_S3 wins over it"]);
    // Of stores that are not selected nothing is read.
    let wrong =
        [("MEDIA_STORAGE_BACKEND", "local"), ("S3_ENDPOINT_URL", "ftp://x"), ("S3_PUBLIC_BUCKET", "maybe")];
    assert!(load_with("", &wrong).is_ok());
}

#[test]
fn half_of_an_access_key_is_refused() {
    for (set, missing) in [
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
        ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"),
        ("MINIO_SECRET_KEY", "MINIO_ACCESS_KEY"),
    ] {
        let text = refusal("", &[(set, "hunter2")]);
        holds(
            &text,
            &[
                &format!("{set} is set, and the other half"),
                &format!("set {missing} too, or set USE_LOCAL_STORAGE=true"),
            ],
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = refusal("[store]\nbackend = \"s3\"\ns3.bucket = \"photos\"\ns3.access_key_id = \"x\"", &[]);
    holds(&text, &["store.s3.access_key_id in /", "set LARDER_STORE__S3__SECRET_ACCESS_KEY too"]);
}

#[test]
fn a_profile_or_role_counts_only_where_a_bucket_is_named() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    let file = home.path().join(".aws/credentials");
    std::fs::write(
        &file,
        "[default]\naws_access_key_id = A\naws_secret_access_key = hunter2\nregion = eu-north-1\n",
    )
    .unwrap();
    let at_home = ("HOME", home.path().to_str().unwrap());
    assert_eq!(load(&[at_home]).store_reason(), "the default: no S3 store is configured");
    let config = load(&[at_home, ("BUCKET_NAME", "photos")]);
    let S3Credentials::File { path, profile } = &s3(&config).credentials else { panic!("{:?}", s3(&config)) };
    assert_eq!((path, profile.as_str(), s3(&config).region.as_str()), (&file, "default", "eu-north-1"));
    let why = format!("because BUCKET_NAME names a bucket, for the profile default of {}", file.display());
    assert_eq!(config.store_reason(), why);
    let named =
        load(&[at_home, ("MEDIA_STORAGE_BACKEND", "s3"), ("LARDER_STORE__S3__BUCKET", "s3://photos/a/b/")]);
    assert_eq!((s3(&named).bucket.as_str(), s3(&named).prefix.as_str()), ("photos", "a/b"));
    holds(
        &refusal("", &[at_home, ("BUCKET_NAME", "photos"), ("AWS_PROFILE", "x")]),
        &["AWS_PROFILE: the profile x of "],
    );

    let web = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "arn")];
    assert_eq!(load(&web).store.backend, StoreBackend::Local);
    let config = load(&[web[0], web[1], ("BUCKET_NAME", "photos")]);
    assert!(matches!(s3(&config).credentials, S3Credentials::Environment));
    holds(config.store_reason(), &["BUCKET_NAME names a bucket, for the web identity"]);
    let container = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x");
    assert_eq!(load(&[container]).store.backend, StoreBackend::Local);
    holds(load(&[container, ("S3_BUCKET_NAME", "photos")]).store_reason(), &["the role of this container"]);
    // A role of AWS opens no bucket elsewhere.
    let elsewhere =
        [container, ("BUCKET_NAME", "photos"), ("AWS_ENDPOINT_URL_S3", "https://fly.storage.tigris.dev")];
    assert_eq!(load(&elsewhere).store.backend, StoreBackend::Local);
    let aws =
        [container, ("BUCKET_NAME", "photos"), ("AWS_ENDPOINT_URL_S3", "https://s3.eu-west-1.amazonaws.com")];
    assert_eq!(s3(&load(&aws)).region, "eu-west-1");

    // Said to Larder itself, a bucket without credentials is a mistake.
    holds(
        &refusal("[store.s3]\nbucket = \"photos\"", &[]),
        &["store.s3.bucket in /", "no credentials", "store.backend = \"local\""],
    );
    let text = refusal("", &[("MEDIA_STORAGE_BACKEND", "s3"), ("BUCKET_NAME", "photos")]);
    holds(&text, &["because MEDIA_STORAGE_BACKEND says so", "no role of AWS", "set AWS_ACCESS_KEY_ID"]);
    // A person's keys of AWS are not sent to MinIO.
    let minio = [
        at_home,
        ("MEDIA_STORAGE_BACKEND", "minio"),
        ("MINIO_ENDPOINT", "http://localhost:9000"),
        ("MINIO_BUCKET_NAME", "photos"),
    ];
    holds(&refusal("", &minio), &["no access key is set", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"]);
    let text = refusal("", &[minio[1], minio[2], minio[3], KEY[0], KEY[1]]);
    holds(&text, &["AWS_ACCESS_KEY_ID is not for this store", "MEDIA_STORAGE_BACKEND=s3"]);
}

#[test]
fn the_kind_of_server_decides_what_is_not_said() {
    let options = |more: &[(&str, &str)]| s3(&load(&with_key(more))).clone();
    let auto = options(&[]);
    assert_eq!(
        (auto.endpoint, auto.region.as_str(), auto.addressing),
        (None, "us-east-1", Addressing::VirtualHost)
    );
    let tigris = options(&[("MEDIA_STORAGE_BACKEND", "tigris")]);
    assert_eq!(
        (tigris.endpoint.unwrap().host_str().unwrap(), tigris.region.as_str()),
        ("fly.storage.tigris.dev", "auto")
    );
    let fra = options(&[("MEDIA_STORAGE_BACKEND", "tigris"), ("AWS_REGION", "fra")]);
    assert_eq!(fra.region, "fra");
    let other = options(&[("AWS_ENDPOINT_URL_S3", "https://s3.example")]);
    assert_eq!((other.addressing, other.region.as_str()), (Addressing::Path, "us-east-1"));
    let told =
        options(&[("AWS_ENDPOINT_URL_S3", "https://s3.example"), ("LARDER_STORE__S3__PROFILE", "tigris")]);
    assert_eq!((told.addressing, told.region.as_str()), (Addressing::VirtualHost, "auto"));
    let dotted = options(&[("BUCKET_NAME", "a.b.c")]);
    assert_eq!(dotted.addressing, Addressing::Path, "no certificate holds for two labels");
    let namesake = options(&[("AWS_ENDPOINT_URL_S3", "https://photos.example")]);
    assert_eq!(namesake.endpoint.unwrap().as_str(), "https://photos.example/");
    let forced = options(&[("LARDER_STORE__S3__ADDRESSING", "path")]);
    assert_eq!(forced.addressing, Addressing::Path);
    let text = refusal("[store]\nbackend = \"minio\"\ns3.profile = \"aws\"", &KEY);
    holds(&text, &["store.backend in /", "is minio, but store.s3.profile in /", "is aws"]);
}

#[test]
fn everything_that_is_set_arrives_in_the_options() {
    let file = r#"
[store.s3]
bucket = "photos"
variants_bucket = "photos-small"
prefix = "/media/"
region = "eu-central-1"
access_key_id = "A"
secret_access_key = "hunter2"
session_token = "t"
addressing = "path"
encryption = "aws:kms"
kms_key_id = "k"
checksum = "sha256"
require_tls = true
create = true
connect_within = "1s"
answer_within = "2s"
retries = 7
retry_within = "3s"
"#;
    let config = load_with(file, &[]).unwrap();
    let options = s3(&config);
    assert_eq!(
        (options.prefix.as_str(), options.variants_bucket.as_deref()),
        ("media", Some("photos-small"))
    );
    assert_eq!(options.encryption, Some(Encryption::Kms { key_id: Some("k".to_owned()) }));
    assert_eq!((options.checksum, options.addressing), (Some(S3Checksum::Sha256), Addressing::Path));
    assert!(options.require_tls && options.create);
    let seconds =
        [options.connect_within, options.answer_within, options.retry_within].map(|span| span.as_secs());
    assert_eq!((seconds, options.retries), ([1, 2, 3], 7));
    let S3Credentials::Static(key) = &options.credentials else { panic!() };
    assert_eq!(key.session_token.as_deref(), Some("t"));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.store_label(), "s3 photos/media at AWS, region eu-central-1");

    // A token of the environment does not go with a key of the file.
    let file = "[store.s3]\nbucket = \"photos\"\naccess_key_id = \"A\"\nsecret_access_key = \"b\"";
    let config = load_with(file, &[("AWS_SESSION_TOKEN", "hunter2")]).unwrap();
    let S3Credentials::Static(key) = &s3(&config).credentials else { panic!() };
    assert_eq!(key.session_token, None);
    assert_eq!(config.notices, ["ignored, since it belongs to AWS_ACCESS_KEY_ID: AWS_SESSION_TOKEN"]);
}

/// What is set, and what the refusal has to hold.
type Mistake<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn mistakes_name_the_variable_and_the_remedy() {
    let cases: &[Mistake<'_>] = &[
        (&[("BUCKET_NAME", "x")], &["BUCKET_NAME: \"x\" is no name of an S3 bucket", "3 to 63"]),
        (&[("BUCKET_NAME", "s3://photos/../x")], &["BUCKET_NAME: \"../x\" is no folder"]),
        (
            &[("BUCKET_NAME", "s3://photos/a"), ("LARDER_STORE__S3__PREFIX", "b")],
            &["BUCKET_NAME (a)", "LARDER_STORE__S3__PREFIX (b) disagree"],
        ),
        (&[("S3_BUCKET_THUMBNAILS", "a/b")], &["S3_BUCKET_THUMBNAILS: \"a/b\" is no name"]),
        (&[("AWS_S3_ENDPOINT_URL", "ftp://x")], &["AWS_S3_ENDPOINT_URL: ", "ftp:"]),
        (
            &[("AWS_S3_ENDPOINT_URL", "https://u:hunter2@x")],
            &["AWS_S3_ENDPOINT_URL: ", "settings of their own"],
        ),
        (
            &[("AWS_S3_ENDPOINT_URL", "https://photos.fly.storage.tigris.dev")],
            &["holds the name of the bucket"],
        ),
        (
            &[
                ("MEDIA_STORAGE_BACKEND", "minio"),
                ("MINIO_BUCKET_NAME", "photos"),
                ("MINIO_ACCESS_KEY", "a"),
                ("MINIO_SECRET_KEY", "b"),
            ],
            &["its address is not set", "MINIO_ENDPOINT"],
        ),
        (
            &[("S3_ENDPOINT_URL", "http://10.0.0.1:9000"), ("LARDER_STORE__S3__REQUIRE_TLS", "true")],
            &["S3_ENDPOINT_URL: http://10.0.0.1:9000 is not encrypted", "store.s3.require_tls"],
        ),
        (&[("AWS_REGION", "auto")], &["AWS_REGION: AWS has no region \"auto\""]),
        (&[("AWS_REGION", "eu central")], &["AWS_REGION: AWS has no region \"eu central\""]),
        (
            &[("LARDER_STORE__S3__KMS_KEY_ID", "k")],
            &["LARDER_STORE__S3__KMS_KEY_ID is set, but store.s3.encryption"],
        ),
        (
            &[("LARDER_STORE__S3__ENCRYPTION", "rot13")],
            &["LARDER_STORE__S3__ENCRYPTION: \"rot13\" is no encryption", "aws:kms"],
        ),
        (
            &[("LARDER_STORE__S3__PROFILE", "ceph")],
            &["LARDER_STORE__S3__PROFILE: \"ceph\" is no kind of server", "minio"],
        ),
        (&[("AWS_CA_BUNDLE", "/nowhere.pem")], &["AWS_CA_BUNDLE: /nowhere.pem can't be read"]),
        (&[("AWS_CA_BUNDLE", "/dev/null")], &["AWS_CA_BUNDLE: /dev/null holds no certificate"]),
        (&[("CDN_BASE_URL", "https://x/?a")], &["CDN_BASE_URL: ", "more than scheme"]),
        (&[("S3_PUBLIC_BUCKET", "maybe")], &["S3_PUBLIC_BUCKET: ", "neither true nor false"]),
        (&[("MEDIA_URL", "/api/")], &["MEDIA_URL: Larder itself answers below /api/"]),
        (&[("MEDIA_URL", "/")], &["MEDIA_URL: the root of the server"]),
        (&[("LARDER_DELIVERY__MEDIA_BUCKET", "API")], &["LARDER_DELIVERY__MEDIA_BUCKET: "]),
    ];
    for (variables, parts) in cases {
        let text = refusal(
            "",
            &block_and("AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\nBUCKET_NAME=photos", variables),
        );
        holds(&text, parts);
        assert!(!text.contains("hunter2"), "{text}");
    }
    holds(&refusal("[store]\nbackend = \"ftp\"", &[]), &[":2:11", "\"ftp\" is no store", "tigris"]);
}

#[test]
fn plain_http_is_warned_of_unless_it_stays_on_this_machine() {
    let notices = |url: &str| load(&with_key(&[("S3_ENDPOINT_URL", url)])).notices;
    assert_eq!(notices("http://localhost:9000"), [""; 0]);
    assert_eq!(notices("https://10.0.0.1:9000"), [""; 0]);
    holds(&notices("http://10.0.0.1:9000")[0], &["S3_ENDPOINT_URL: http://10.0.0.1:9000 is not encrypted"]);
    let strict =
        with_key(&[("S3_ENDPOINT_URL", "http://[::1]:9000"), ("LARDER_STORE__S3__REQUIRE_TLS", "true")]);
    assert!(load_with("", &strict).is_ok());
}

#[test]
fn addresses_of_another_store_have_no_effect_and_say_so() {
    let config =
        load(&[("LARDER_STORE__PUBLIC_URL", "cdn.example"), ("MEDIA_URL", "http://localhost:8000/static/")]);
    assert!(config.delivery.alias().is_none());
    holds(&config.notices[0], &["since the store is local: MEDIA_URL", "LARDER_PUBLIC_URL"]);
    holds(&config.notices[1], &["store.public_url has no effect"]);
    let sendfile = load(&with_key(&[("LARDER_DELIVERY__SENDFILE", "x-sendfile")]));
    holds(&sendfile.notices[0], &["delivery.sendfile has no effect"]);
}

#[test]
fn work_without_a_store_minds_no_mistake_in_it() {
    let environment: Environment =
        [("AWS_ACCESS_KEY_ID", "x"), ("S3_ENDPOINT_URL", "ftp://x"), ("IMAGE_QUALITY", "70")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    assert!(Config::load(None, &environment, &[]).is_err());
    assert_eq!(Config::load_without_store(None, &environment, &[]).unwrap().images.quality, Some(70));
}

#[test]
fn the_effective_configuration_is_shown_with_its_places_and_without_its_secrets() {
    let variables = with_key(&[
        ("AWS_ENDPOINT_URL_S3", "https://fly.storage.tigris.dev"),
        ("LARDER_ADMIN_KEY", "hunter2-hunter2-hunter2"),
        ("LARDER_SECRET", "hunter2-hunter2-hunter2"),
        ("DATABASE_URL", "postgres://u:hunter2@db/x"),
        ("LARDER_WORKER__QUEUES", "intake,maintenance"),
    ]);
    let shown = load(&variables).shown_settings();
    let line = |path: &str| {
        let one = shown.iter().find(|one| one.setting == path).unwrap();
        (one.value.as_deref().unwrap_or("none"), one.source, one.from.as_deref().unwrap_or("none"))
    };
    assert_eq!(line("listen"), ("127.0.0.1:8000", "default", "none"));
    assert_eq!(line("store.s3.bucket"), ("photos", "environment", "BUCKET_NAME"));
    assert_eq!(line("store.s3.region"), ("auto", "derived", "the profile tigris"));
    assert_eq!(line("store.s3.profile"), ("tigris", "derived", "the endpoint"));
    assert_eq!(line("store.s3.secret_access_key"), ("****", "environment", "AWS_SECRET_ACCESS_KEY"));
    assert_eq!(line("store.s3.access_key_id"), ("****0001", "environment", "AWS_ACCESS_KEY_ID"));
    assert_eq!(line("admin_key"), ("****", "environment", "LARDER_ADMIN_KEY"));
    assert_eq!(line("database_url"), ("PostgreSQL postgres://db/x", "environment", "DATABASE_URL"));
    assert_eq!(line("store.root"), ("none", "default", "none"));
    assert_eq!(shown.len(), settings::all().count());
    assert!(!serde_json::to_string(&shown).unwrap().contains("hunter2"));
    let local = load(&[]).shown_settings();
    let root = local.iter().find(|one| one.setting == "store.root").unwrap();
    assert_eq!((root.value.as_deref(), root.source), (Some("./larder-data/media"), "derived"));
}

#[test]
fn a15_a_key_in_the_environment_file_is_read_there_again_and_one_that_is_set_over_it_is_not() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"AWS_ACCESS_KEY_ID=AKIA1\nAWS_SECRET_ACCESS_KEY=s\n").unwrap();
    let path = file.path().to_str().unwrap();
    let of = |secret: &str| {
        let variables = [
            ("AWS_ACCESS_KEY_ID", "AKIA1"),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_STORAGE_BUCKET_NAME", "b-b"),
            ("LARDER_ENV_FILE", path),
        ];
        s3(&load(&variables)).credentials.clone()
    };
    let S3Credentials::Variables { path: at, id, secret, session_token } = of("s") else {
        panic!("the key is that of the file");
    };
    assert_eq!(
        (at.as_path(), id.as_str(), secret.as_str()),
        (file.path(), "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    );
    assert_eq!(session_token, None);
    assert!(matches!(of("other"), S3Credentials::Static(_)), "the process has another key");
}

#[test]
fn a1_a_bucket_for_anyone_needs_no_credentials() {
    let config = load(&[("LARDER_STORE__S3__BUCKET", "b-b"), ("LARDER_STORE__S3__ANONYMOUS", "true")]);
    assert!(matches!(s3(&config).credentials, S3Credentials::Anonymous));
    let both = [
        ("LARDER_STORE__S3__BUCKET", "b-b"),
        ("LARDER_STORE__S3__ANONYMOUS", "true"),
        ("AWS_ACCESS_KEY_ID", "AKIA1"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ];
    let text = refusal("", &both);
    assert!(text.contains("AWS_ACCESS_KEY_ID is set, and LARDER_STORE__S3__ANONYMOUS is true"), "{text}");
}
