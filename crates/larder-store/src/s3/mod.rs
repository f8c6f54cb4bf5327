//! An S3 bucket as a store.

mod options;
mod shared_profile;

pub use options::{Addressing, Encryption, Profile, S3Checksum, S3Credentials, S3Key, S3Options};
pub use shared_profile::SharedProfile;
