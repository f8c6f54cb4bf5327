//! Real S3 servers on loopback.
//!
//! None of them does all that S3 does, so tests use two: [`s3s_fs`] checks signatures, digests and signed URLs,
//! but keeps objects as files in folders and obeys conditions one after the other only; [`moto`] obeys
//! conditions and knows policies, CORS and lifecycles, but believes every signature.

pub mod moto;
pub mod proxy;
pub mod s3s_fs;

/// The access key of the servers.
pub const ACCESS_KEY_ID: &str = "larder-test";

/// Its secret.
pub const SECRET_ACCESS_KEY: &str = "larder-test-secret";

/// The access key, as options of a store have it.
pub fn key() -> larder_store::S3Credentials {
    larder_store::S3Credentials::Static(larder_store::S3Key {
        id: ACCESS_KEY_ID.to_owned(),
        secret: SECRET_ACCESS_KEY.to_owned(),
        session_token: None,
    })
}
