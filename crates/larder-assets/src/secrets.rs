//! Keys derived from the one master secret.
//!
//! URL-signing keys are HKDF-SHA256 (RFC 5869) of the master secret with a label and the key id, so
//! the catalogue holds nothing that could sign, and N processes with the same secret agree.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The fewest bytes a master secret must have.
pub const SECRET_BYTES_MIN: usize = 16;

/// The master secret; never printed.
#[derive(Clone)]
pub struct Secrets {
    master: Vec<u8>,
}

impl Secrets {
    /// Uses `master` as the master secret.
    ///
    /// # Errors
    /// Fewer than [`SECRET_BYTES_MIN`] bytes: the text says so.
    pub fn new(master: impl Into<Vec<u8>>) -> Result<Self, String> {
        let master = master.into();
        if master.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "the secret has {} bytes, at least {SECRET_BYTES_MIN} are needed",
                master.len()
            ));
        }
        Ok(Self { master })
    }

    /// The URL-signing key of the API key `key_id`, in lower-case hex as it is handed out.
    pub fn signing_key(&self, key_id: &str) -> String {
        let mut derived = [0; 32];
        let label = format!("larder url signing v1:{key_id}");
        // 32 bytes are far below HKDF's limit of 255 hashes, so expansion can't fail.
        Hkdf::<Sha256>::new(None, &self.master)
            .expand(label.as_bytes(), &mut derived)
            .unwrap_or_else(|_| unreachable!("32 bytes are a possible length"));
        hex::encode(derived)
    }

    /// HMAC-SHA256 of `message` under the signing key of `key_id`.
    pub fn sign(&self, key_id: &str, message: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.signing_key(key_id).as_bytes())
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(message.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(redacted)")
    }
}

/// The form in which a bearer secret is stored: SHA-256 in hex. Bearer secrets are random and long,
/// so a slow password hash would only slow down requests.
pub fn digest_of_bearer(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// Compares two texts in a time that depends on their lengths only.
pub fn equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_keys_differ_by_key_id_and_master() {
        let one = Secrets::new(*b"0123456789abcdef").unwrap();
        let two = Secrets::new(*b"0123456789abcdeg").unwrap();
        assert_ne!(one.signing_key("a"), one.signing_key("b"));
        assert_ne!(one.signing_key("a"), two.signing_key("a"));
        assert_eq!(one.sign("a", "/m/x"), one.sign("a", "/m/x"));
    }

    #[test]
    fn a_secret_is_long_enough_and_never_printed() {
        assert!(Secrets::new(*b"short").is_err());
        let secrets = Secrets::new(*b"0123456789abcdef").unwrap();
        assert!(!format!("{secrets:?}").contains("0123"));
    }
}
