//! Settings of the store: which one it is, and how an S3 bucket is reached.

use super::{Alias, Belongs, Kind, Setting, foreign};
use crate::config::{Config, FromRaw, Raw, address, store::STORES};

const DJANGO: &str = "Django storages";
const AWS: &str = "AWS tools and SDKs";
const FLY: &str = "Fly.io, Tigris";
const S3: &str = "applications with plain S3 names";
const MINIO: &str = "MinIO";
const SWITCH: &str = "applications with a switch for development";

const USE_LOCAL_STORAGE: Alias = foreign("USE_LOCAL_STORAGE", SWITCH)
    .yielding()
    .meaning("`true` is `local`, `false` is `s3`; `MEDIA_STORAGE_BACKEND` wins over it", |_, text| {
        Ok(Raw::text(if bool::from_raw(&Raw::text(text))? { "local" } else { "s3" }))
    });

const fn address_of(name: &'static str, style: &'static str) -> Alias {
    foreign(name, style).of(Belongs::Aws).meaning("", read_address)
}

fn read_address(_: &Config, text: &str) -> Result<Raw, String> {
    address::web(text).map(|url| Raw::text(address::spelling(&url)))
}

#[rustfmt::skip] // One setting reads as one block.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        path: "store.backend", kind: Kind::Choice(STORES), default: Some("auto"),
        aliases: &[foreign("MEDIA_STORAGE_BACKEND", SWITCH), USE_LOCAL_STORAGE],
        doc: "Where new bytes go: to the local disk, to a second folder (`local2`, in `store.second_root`), to an S3 bucket (`minio` and `tigris` are S3 stores that need less said), or to the memory of the process (for tests). `auto` takes S3 if credentials for it are there, else the local disk. What lies in another store that is configured is read where it is; `larder migrate` moves it.",
        set: |config, raw| raw.read_into(&mut config.store.choice),
    },
    Setting {
        path: "store.root", kind: Kind::Path, default: None, aliases: &[foreign("MEDIA_ROOT", "Django").of(Belongs::Local)],
        doc: "Folder of the local store, one sub-folder a bucket; `<data_dir>/media` unless set.",
        set: |config, raw| raw.read_into(&mut config.store.root),
    },
    Setting {
        path: "store.second_root", kind: Kind::Path, default: None, aliases: &[],
        doc: "Folder of a second local store, called `local2`, to move to another disk: `larder migrate --from local --to local2`, after `store.backend` was switched.",
        set: |config, raw| raw.read_into(&mut config.store.second_root),
    },
    Setting {
        path: "store.public_url", kind: Kind::Url, default: None,
        aliases: &[
            address_of("CDN_BASE_URL", "applications behind a CDN").of(Belongs::S3),
            address_of("CLOUDFRONT_DOMAIN", "CloudFront").of(Belongs::S3),
            address_of("AWS_S3_CUSTOM_DOMAIN", DJANGO).of(Belongs::S3),
            Alias { takes: address::is_whole, doc: "a whole URL; a path is `delivery.media_path`", ..address_of("MEDIA_URL", "Django").of(Belongs::S3).yielding() },
        ],
        doc: "The address of the S3 bucket for the public, which a CDN or a domain of your own gives it; a bare domain means `https:`. The address of Larder itself is `public_url`.",
        set: |config, raw| {
            config.store.public_url = Option::<String>::from_raw(raw)?.map(|text| address::web(&text)).transpose()?;
            Ok(())
        },
    },
    Setting {
        path: "store.s3.profile", kind: Kind::Choice(&["aws", "minio", "tigris"]), default: None, aliases: &[],
        doc: "The kind of server, which decides region, endpoint and addressing where they are not set; `minio` stands for any server that is given by its address. Unset, `store.backend` or the host of the endpoint tells it; a key id that begins with `tid_` is one of Tigris.",
        set: |config, raw| raw.read_into(&mut config.store.s3.profile),
    },
    Setting {
        path: "store.s3.bucket", kind: Kind::Text, default: None,
        aliases: &[
            foreign("AWS_STORAGE_BUCKET_NAME", DJANGO).of(Belongs::Aws),
            foreign("S3_BUCKET_NAME", S3).of(Belongs::S3),
            foreign("S3_BUCKET_ORIGINALS", S3).of(Belongs::S3),
            foreign("BUCKET_NAME", FLY).of(Belongs::Aws),
            foreign("MINIO_BUCKET_NAME", MINIO).of(Belongs::Minio),
        ],
        doc: "The S3 bucket; `s3://bucket/prefix` names the prefix too.",
        set: |config, raw| raw.read_into(&mut config.store.s3.bucket),
    },
    Setting {
        path: "store.s3.variants_bucket", kind: Kind::Text, default: None,
        aliases: &[foreign("S3_BUCKET_THUMBNAILS", S3).of(Belongs::S3)],
        doc: "Another S3 bucket of the same server for variants; unset, they lie beside the originals.",
        set: |config, raw| raw.read_into(&mut config.store.s3.variants_bucket),
    },
    Setting {
        path: "store.s3.prefix", kind: Kind::Text, default: None, aliases: &[],
        doc: "Folder in the S3 bucket below which everything lies.",
        set: |config, raw| raw.read_into(&mut config.store.s3.prefix),
    },
    Setting {
        path: "store.s3.endpoint", kind: Kind::Url, default: None,
        aliases: &[
            address_of("AWS_S3_ENDPOINT_URL", DJANGO),
            address_of("AWS_ENDPOINT_URL_S3", "AWS tools and SDKs, Fly.io"),
            address_of("S3_ENDPOINT_URL", S3).of(Belongs::S3),
            foreign("MINIO_ENDPOINT", MINIO).of(Belongs::Minio).meaning(
                "`host:port` alone is `http:`, but `https:` where the port is 443 or missing",
                |_, text| address::minio(text).map(|url| Raw::text(address::spelling(&url))),
            ),
            Alias { doc: "those for S3 alone win over it", ..address_of("AWS_ENDPOINT_URL", AWS).yielding() },
        ],
        doc: "Address of the server; for AWS the region tells it.",
        set: |config, raw| {
            config.store.s3.endpoint = Option::<String>::from_raw(raw)?.map(|text| address::web(&text)).transpose()?;
            Ok(())
        },
    },
    Setting {
        path: "store.s3.region", kind: Kind::Text, default: None,
        aliases: &[
            foreign("AWS_S3_REGION_NAME", DJANGO).of(Belongs::Aws),
            foreign("AWS_REGION", "AWS tools and SDKs, Fly.io").of(Belongs::Aws),
            foreign("AWS_DEFAULT_REGION", AWS).of(Belongs::Aws),
            foreign("S3_REGION", S3).of(Belongs::S3),
        ],
        doc: "Region of the bucket, kept as it is given. Unset, it is that of an endpoint of AWS or of the credentials' profile, else `auto` for Tigris and `us-east-1` for all others.",
        set: |config, raw| raw.read_into(&mut config.store.s3.region),
    },
    Setting {
        path: "store.s3.access_key_id", kind: Kind::KeyId, default: None,
        aliases: &[
            foreign("AWS_ACCESS_KEY_ID", AWS).of(Belongs::Aws),
            foreign("S3_ACCESS_KEY_ID", S3).of(Belongs::S3),
            foreign("MINIO_ACCESS_KEY", MINIO).of(Belongs::Minio),
        ],
        doc: "The public part of the access key.",
        set: |config, raw| raw.read_into(&mut config.store.s3.access_key_id),
    },
    Setting {
        path: "store.s3.secret_access_key", kind: Kind::Secret, default: None,
        aliases: &[
            foreign("AWS_SECRET_ACCESS_KEY", AWS).of(Belongs::Aws),
            foreign("S3_SECRET_ACCESS_KEY", S3).of(Belongs::S3),
            foreign("MINIO_SECRET_KEY", MINIO).of(Belongs::Minio),
        ],
        doc: "The secret part of the access key.",
        set: |config, raw| raw.read_into(&mut config.store.s3.secret_access_key),
    },
    Setting {
        path: "store.s3.session_token", kind: Kind::Secret, default: None,
        aliases: &[foreign("AWS_SESSION_TOKEN", AWS).of(Belongs::Aws)],
        doc: "The token of a temporary access key.",
        set: |config, raw| raw.read_into(&mut config.store.s3.session_token),
    },
    Setting {
        path: "store.s3.credentials_file", kind: Kind::Path, default: None,
        aliases: &[foreign("AWS_SHARED_CREDENTIALS_FILE", AWS).of(Belongs::Aws)],
        doc: "File of profiles with access keys, in the format of the AWS tools; `~/.aws/credentials` unless set. It is read again when it changes, so that keys are replaced without a restart. Only used where no access key is set.",
        set: |config, raw| raw.read_into(&mut config.store.s3.credentials_file),
    },
    Setting {
        path: "store.s3.credentials_profile", kind: Kind::Text, default: None,
        aliases: &[foreign("AWS_PROFILE", AWS).of(Belongs::Aws)],
        doc: "The profile in that file; `default` unless set.",
        set: |config, raw| raw.read_into(&mut config.store.s3.credentials_profile),
    },
    Setting {
        path: "store.s3.anonymous", kind: Kind::Flag, default: Some("false"), aliases: &[],
        doc: "Sends requests without a signature: for a bucket that anyone may use. No credentials are looked for.",
        set: |config, raw| raw.read_into(&mut config.store.s3.anonymous),
    },
    Setting {
        path: "store.s3.public_bucket", kind: Kind::Flag, default: None,
        aliases: &[foreign("S3_PUBLIC_BUCKET", S3).of(Belongs::S3)],
        doc: "Whether anyone may read the bucket at the store itself. Set, it decides the visibility of the shipped buckets, unless `[buckets.…]` says otherwise.",
        set: |config, raw| raw.read_into(&mut config.store.s3.public_bucket),
    },
    Setting {
        path: "store.s3.addressing", kind: Kind::Choice(&["auto", "path", "virtual"]), default: Some("auto"), aliases: &[],
        doc: "Where in a URL the bucket stands: `https://host/bucket/key` or `https://bucket.host/key`. `auto` is `path` for MinIO and for names that are no host names, else `virtual`.",
        set: |config, raw| raw.read_into(&mut config.store.s3.addressing),
    },
    Setting {
        path: "store.s3.encryption", kind: Kind::Choice(&["none", "AES256", "aws:kms"]), default: Some("none"), aliases: &[],
        doc: "What the store is asked to encrypt objects with; `none` leaves it to the bucket.",
        set: |config, raw| raw.read_into(&mut config.store.s3.encryption),
    },
    Setting {
        path: "store.s3.kms_key_id", kind: Kind::Text, default: None, aliases: &[],
        doc: "Key of `aws:kms`, by id or ARN; the account's own unless set.",
        set: |config, raw| raw.read_into(&mut config.store.s3.kms_key_id),
    },
    Setting {
        path: "store.s3.checksum", kind: Kind::Choice(&["none", "sha256"]), default: Some("none"), aliases: &[],
        doc: "Checksum that the store is asked to keep with each object. What is sent is checked by its SHA-256 in any case.",
        set: |config, raw| raw.read_into(&mut config.store.s3.checksum),
    },
    Setting {
        path: "store.s3.ca_file", kind: Kind::Path, default: None,
        aliases: &[foreign("AWS_CA_BUNDLE", AWS).of(Belongs::S3)],
        doc: "Certificates in PEM of an authority that the system does not know.",
        set: |config, raw| raw.read_into(&mut config.store.s3.ca_file),
    },
    Setting {
        path: "store.s3.require_tls", kind: Kind::Flag, default: Some("false"), aliases: &[],
        doc: "Refuses an endpoint with `http:`, unless it is one of this machine. Without, there is a warning.",
        set: |config, raw| raw.read_into(&mut config.store.s3.require_tls),
    },
    Setting {
        path: "store.s3.create", kind: Kind::Flag, default: Some("false"), aliases: &[],
        doc: "Whether a bucket that is not there is made at start.",
        set: |config, raw| raw.read_into(&mut config.store.s3.create),
    },
    Setting {
        path: "store.s3.connect_within", kind: Kind::Duration, default: Some("5s"), aliases: &[],
        doc: "Time within which a connection to the store must be there.",
        set: |config, raw| raw.read_into(&mut config.store.s3.connect_within),
    },
    Setting {
        path: "store.s3.answer_within", kind: Kind::Duration, default: Some("30s"), aliases: &[],
        doc: "Time within which the next bytes of its answer must arrive.",
        set: |config, raw| raw.read_into(&mut config.store.s3.answer_within),
    },
    Setting {
        path: "store.s3.retries", kind: Kind::Count, default: Some("4"), aliases: &[],
        doc: "How often a request that failed for a passing reason is sent again.",
        set: |config, raw| raw.read_into(&mut config.store.s3.retries),
    },
    Setting {
        path: "store.s3.retry_within", kind: Kind::Duration, default: Some("30s"), aliases: &[],
        doc: "Time after which a request is not sent again.",
        set: |config, raw| raw.read_into(&mut config.store.s3.retry_within),
    },
];
