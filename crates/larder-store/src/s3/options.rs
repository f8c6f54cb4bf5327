//! How a bucket is reached, and what is asked of it.

use std::{fmt, path::PathBuf, time::Duration};

use url::Url;

/// Everything that has to be known of an S3 bucket.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// Name of the bucket.
    pub bucket: String,
    /// Bucket of the same server in which variants lie; `None` for the same one.
    pub variants_bucket: Option<String>,
    /// Folder in the bucket below which all places lie, without slashes at its ends; empty for the whole
    /// bucket.
    pub prefix: String,
    /// Address of the server; `None` for AWS, where the region tells it.
    pub endpoint: Option<Url>,
    /// Region, which is part of every signature.
    pub region: String,
    /// Where in a URL the bucket stands.
    pub addressing: Addressing,
    /// Whose requests these are.
    pub credentials: S3Credentials,
    /// What the store is asked to encrypt objects with.
    pub encryption: Option<Encryption>,
    /// The checksum that the store is asked to keep with each object, beside the SHA-256 by which it checks
    /// every body that it gets.
    pub checksum: Option<S3Checksum>,
    /// Where everybody reads the bucket: a CDN or another domain before it.
    pub public_url: Option<Url>,
    /// Whether everybody may read the bucket at its own address.
    pub is_public: bool,
    /// Certificates in PEM of an authority that the system does not know.
    pub ca_file: Option<PathBuf>,
    /// Whether plain `http:` is refused for servers other than this machine.
    pub require_tls: bool,
    /// Whether buckets that are not there are made when the store is opened.
    pub create: bool,
    /// Time within which a connection must be there.
    pub connect_within: Duration,
    /// Time within which the next byte of an answer must arrive.
    pub answer_within: Duration,
    /// How often a request that failed for a passing reason is sent again.
    pub retries: u32,
    /// Time after which a request is not sent again.
    pub retry_within: Duration,
}

impl S3Options {
    /// Options with the defaults of a profile.
    pub fn new(profile: Profile, bucket: impl Into<String>, credentials: S3Credentials) -> Self {
        Self {
            bucket: bucket.into(),
            variants_bucket: None,
            prefix: String::new(),
            endpoint: profile.endpoint(),
            region: profile.region().to_owned(),
            addressing: profile.addressing(),
            credentials,
            encryption: None,
            checksum: None,
            public_url: None,
            is_public: false,
            ca_file: None,
            require_tls: false,
            create: false,
            connect_within: Duration::from_secs(5),
            answer_within: Duration::from_secs(30),
            retries: 4,
            retry_within: Duration::from_secs(30),
        }
    }
}

/// A kind of server, which decides what need not be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Amazon S3.
    Aws,
    /// MinIO, and any other server that is given by its address.
    Minio,
    /// Tigris, as on Fly.io.
    Tigris,
}

impl Profile {
    /// Its name in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Minio => "minio",
            Self::Tigris => "tigris",
        }
    }

    /// The profile whose host this is: those of AWS and Tigris are known by their names, any other server is
    /// taken for one like MinIO.
    pub fn of_host(host: &str) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let below = |domain: &str| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if below("amazonaws.com") || below("amazonaws.com.cn") {
            Self::Aws
        } else if below("tigris.dev") || below("t3.storage.dev") || below("tigrisfiles.io") {
            Self::Tigris
        } else {
            Self::Minio
        }
    }

    /// The profile's address, if it has one for all.
    pub fn endpoint(self) -> Option<Url> {
        match self {
            Self::Aws | Self::Minio => None,
            Self::Tigris => Some(Url::parse("https://fly.storage.tigris.dev").expect("a valid URL")),
        }
    }

    /// The region where none is given.
    pub fn region(self) -> &'static str {
        match self {
            Self::Aws | Self::Minio => "us-east-1",
            Self::Tigris => "auto",
        }
    }

    /// How its buckets are addressed.
    pub fn addressing(self) -> Addressing {
        match self {
            Self::Aws | Self::Tigris => Addressing::VirtualHost,
            Self::Minio => Addressing::Path,
        }
    }
}

/// Where in a URL the bucket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// `https://bucket.host/key`.
    VirtualHost,
    /// `https://host/bucket/key`.
    Path,
}

/// Whose requests these are.
#[derive(Debug, Clone)]
pub enum S3Credentials {
    /// A key that was given.
    Static(S3Key),
    /// A profile of a shared credentials file (`~/.aws/credentials`), read again when the file changes.
    File {
        /// The file.
        path: PathBuf,
        /// The profile's name in it.
        profile: String,
    },
    /// Variables of a file of `NAME=value` lines ([`read_env_file`](crate::read_env_file)), read again when
    /// the file changes.
    Variables {
        /// The file.
        path: PathBuf,
        /// Name of the variable that holds the key's public part.
        id: String,
        /// Of the one with its secret part.
        secret: String,
        /// Of the one with the token of temporary credentials.
        session_token: Option<String>,
    },
    /// What the environment of the process offers: web identity, the role of a container or of the machine.
    Environment,
    /// None: requests are not signed.
    Anonymous,
}

/// An access key.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Key {
    /// Its public part.
    pub id: String,
    /// Its secret part; never printed.
    pub secret: String,
    /// Token of temporary credentials; never printed.
    pub session_token: Option<String>,
}

impl fmt::Debug for S3Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Encryption at rest, by the store (`x-amz-server-side-encryption`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// Keys of the store: `AES256`.
    Aes256,
    /// Keys of the key management service: `aws:kms`.
    Kms {
        /// The key's id or ARN; `None` for the account's own.
        key_id: Option<String>,
    },
}

/// A checksum that the store keeps with an object (`x-amz-checksum-…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Checksum {
    /// `x-amz-checksum-sha256`.
    Sha256,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_by_whole_labels_of_their_names() {
        let table = [
            ("s3.eu-central-1.amazonaws.com", Profile::Aws),
            ("S3.CN-NORTH-1.amazonaws.com.cn", Profile::Aws),
            ("fly.storage.tigris.dev", Profile::Tigris),
            ("t3.storage.dev", Profile::Tigris),
            ("amazonaws.com.evil.example", Profile::Minio),
            ("notamazonaws.com", Profile::Minio),
            ("localhost", Profile::Minio),
        ];
        for (host, profile) in table {
            assert_eq!(Profile::of_host(host), profile, "{host}");
        }
    }
}
