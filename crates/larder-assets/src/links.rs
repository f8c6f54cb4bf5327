//! Every URL that Larder hands out, and the signatures on them.
//!
//! Only `public_url` decides what URLs look like; the `Host` of a request never does, since it comes
//! from whoever asks. Making a URL asks no store, so it works while the store is down.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use larder_core::{
    Ambient, BucketName, Code, Fault, KeyId, ObjectKey, Timestamp,
    limits::{SIGNED_URL_LIFE, SIGNED_URL_LIFE_MAX},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use url::Url;

use crate::{policy::Visibility, secrets::Secrets};

/// The key id under which Larder signs the URLs of its own answers.
pub const OWN_KEY: &str = "larder";

/// Characters that stay as they are in a path: the unreserved ones of RFC 3986, section 2.3, and the
/// slash, which separates segments of a key as it does in the URL.
const KEPT_IN_PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// How many hex digits stand for a version in `?v=`.
pub const VERSION_CHARS: usize = 16;

/// Who signed a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// Larder itself, for an answer of its API.
    Larder,
    /// The holder of this API key, or somebody who was given its signing key.
    Key(KeyId),
}

/// Makes and checks URLs.
#[derive(Debug, Clone)]
pub struct Links {
    base: Option<Url>,
    secrets: Secrets,
    ambient: Ambient,
    life: Duration,
    life_max: Duration,
}

impl Links {
    /// Links below `public_url`, or relative to the root (`/m/…`) if there is none.
    pub fn new(public_url: Option<Url>, secrets: Secrets, ambient: Ambient) -> Self {
        Self { base: public_url, secrets, ambient, life: SIGNED_URL_LIFE, life_max: SIGNED_URL_LIFE_MAX }
    }

    /// Sets how long signed URLs in answers live, and how long any signed URL may.
    #[must_use]
    pub fn with_lives(mut self, life: Duration, life_max: Duration) -> Self {
        (self.life, self.life_max) = (life.min(life_max), life_max);
        self
    }

    /// How long signed URLs in answers live.
    pub fn life(&self) -> Duration {
        self.life
    }

    /// The path part of `public_url` without a trailing slash; empty if Larder lies at the root.
    pub fn path_prefix(&self) -> &str {
        self.base.as_ref().map_or("", |url| url.path().trim_end_matches('/'))
    }

    /// A full URL for a path of Larder's, which begins with a slash and may carry a query.
    pub fn absolute(&self, path: &str) -> String {
        match &self.base {
            Some(base) => format!("{}{path}", base.as_str().trim_end_matches('/')),
            None => path.to_owned(),
        }
    }

    /// The URL of an asset's present bytes. Versioned, so that caches may keep it for a year; for a
    /// private bucket signed instead.
    pub fn asset(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        sha256: &str,
        visibility: Visibility,
    ) -> String {
        let path = format!("/m/{bucket}/{}", encode_path(key.as_str()));
        match visibility {
            Visibility::Public => self.absolute(&format!("{path}?v={}", version(sha256))),
            Visibility::Private => {
                let signed = self.sign(&path, OWN_KEY, self.expiry(self.life));
                self.absolute(&format!("{signed}&v={}", version(sha256)))
            }
        }
    }

    /// The URL under which a variant is served: `recipe` is a canonical recipe or `p:<preset>`.
    /// `open` says that the bucket serves this preset without a signature.
    pub fn variant(&self, bucket: &BucketName, key: &ObjectKey, source: &VariantLink<'_>) -> String {
        let rest = format!("/{}/{bucket}/{}.{}", source.recipe, encode_path(key.as_str()), source.extension);
        if source.open {
            return self.absolute(&format!("/i/_{rest}?v={}", source.version));
        }
        // Signed links of a public bucket do not expire: their bytes are public anyway, and the
        // signature only keeps strangers from ordering recipes of their own.
        let expires = (source.visibility == Visibility::Private).then(|| self.expiry(self.life));
        let signature = self.signature(OWN_KEY, &rest, expires);
        let query = match expires {
            Some(expires) => format!("exp={expires}&v={}", source.version),
            None => format!("v={}", source.version),
        };
        self.absolute(&format!("/i/{signature}{rest}?{query}"))
    }

    /// `path` with `exp` and `sig`, good for reading until `expires` (Unix seconds). `path` begins
    /// with `/m/` and is percent-encoded.
    pub fn sign(&self, path: &str, key_id: &str, expires: i64) -> String {
        format!("{path}?exp={expires}&sig={}", self.signature(key_id, path, Some(expires)))
    }

    /// `path` with `exp` and `sig`, good for putting bytes of this type and number there until `expires`
    /// (Unix seconds).
    pub fn sign_put(&self, path: &str, content_type: &str, size_bytes: u64, expires: i64) -> String {
        let mac = self.secrets.sign(OWN_KEY, &put_text(path, content_type, size_bytes, expires));
        format!("{path}?exp={expires}&sig={OWN_KEY}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// Checks the signature of a put, as [`verify`](Self::verify) does that of a read.
    ///
    /// # Errors
    /// [`Code::SignatureInvalid`], also for another type or number of bytes than it was made for;
    /// [`Code::SignatureExpired`].
    pub fn verify_put(
        &self,
        path: &str,
        content_type: &str,
        size_bytes: u64,
        expires: i64,
        signature: &str,
    ) -> Result<(), Fault> {
        let given = signature.strip_prefix(OWN_KEY).and_then(|rest| rest.strip_prefix('.'));
        let given = given.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).unwrap_or_default();
        let expected = self.secrets.sign(OWN_KEY, &put_text(path, content_type, size_bytes, expires));
        if !crate::secrets::equal_in_constant_time(&given, &expected) {
            let detail =
                "the signature does not fit the URL, Content-Type and Content-Length of this request";
            return Err(Fault::new(Code::SignatureInvalid, detail)
                .remedy("send the headers that came with the URL, and as many bytes as were declared"));
        }
        self.check_time(expires)
    }

    fn check_time(&self, expires: i64) -> Result<(), Fault> {
        if Timestamp::from_millis(expires.saturating_mul(1_000)) > self.ambient.now() {
            return Ok(());
        }
        Err(Fault::new(Code::SignatureExpired, "this signed URL has expired")
            .remedy("ask for a new one where you got it"))
    }

    /// `/i/<signature>` + `rest`, where `rest` is `/<recipe>/<bucket>/<key>.<extension>`.
    pub fn sign_variant(&self, rest: &str, key_id: &str, expires: Option<i64>) -> String {
        let signature = self.signature(key_id, rest, expires);
        match expires {
            Some(expires) => format!("/i/{signature}{rest}?exp={expires}"),
            None => format!("/i/{signature}{rest}"),
        }
    }

    /// The instant a signed URL expires that is made now, in Unix seconds; at most the
    /// longest life ahead.
    pub fn expiry(&self, life: Duration) -> i64 {
        self.ambient.now().plus(life.min(self.life_max)).as_millis() / 1_000
    }

    /// Checks the signature of a read: `path` as it was signed (percent-encoded, without any
    /// `public_url` prefix; for `/i/` the part after the signature), `expires` from its `exp`.
    ///
    /// The comparison takes constant time and happens before anything is looked up.
    ///
    /// # Errors
    /// [`Code::SignatureInvalid`] or, for a right signature whose time is over,
    /// [`Code::SignatureExpired`].
    pub fn verify(&self, path: &str, expires: Option<i64>, signature: &str) -> Result<Signer, Fault> {
        let invalid = || {
            Fault::new(Code::SignatureInvalid, "the signature of this URL is wrong")
                .remedy("use the URL exactly as it was handed out, or sign it again")
        };
        let (key_id, given) = signature.split_once('.').ok_or_else(invalid)?;
        let signer = match key_id {
            OWN_KEY => Signer::Larder,
            text => Signer::Key(text.parse().map_err(|_| invalid())?),
        };
        let given = URL_SAFE_NO_PAD.decode(given).map_err(|_| invalid())?;
        let expected = self.secrets.sign(key_id, &signed_text(path, expires));
        if !crate::secrets::equal_in_constant_time(&given, &expected) {
            return Err(invalid());
        }
        expires.map_or(Ok(()), |expires| self.check_time(expires))?;
        Ok(signer)
    }

    fn signature(&self, key_id: &str, path: &str, expires: Option<i64>) -> String {
        let mac = self.secrets.sign(key_id, &signed_text(path, expires));
        format!("{key_id}.{}", URL_SAFE_NO_PAD.encode(mac))
    }
}

/// What [`Links::variant`] needs to know of a variant.
#[derive(Debug, Clone, Copy)]
pub struct VariantLink<'a> {
    /// A canonical recipe, or `p:<preset>`.
    pub recipe: &'a str,
    /// The output's extension without its dot.
    pub extension: &'a str,
    /// What [`variant_version`] says of source and recipe.
    pub version: &'a str,
    /// Whether the bucket serves this preset unsigned.
    pub open: bool,
    /// Of the bucket.
    pub visibility: Visibility,
}

/// What is signed: the verb keeps a read token from ever writing; the expiry can't be taken off.
fn signed_text(path: &str, expires: Option<i64>) -> String {
    match expires {
        Some(expires) => format!("GET\n{path}\n{expires}"),
        None => format!("GET\n{path}\n"),
    }
}

/// What is signed for a put; no reading address has this form.
fn put_text(path: &str, content_type: &str, size_bytes: u64, expires: i64) -> String {
    format!("PUT\n{path}\n{expires}\n{size_bytes}\n{content_type}")
}

/// The value of `?v=` for what a recipe makes of bytes of this SHA-256. The URL of a preset names the
/// preset and not its recipe, so that its version must tell both apart.
pub fn variant_version(source_sha256: &str, recipe_digest: &str) -> String {
    let digest = Sha256::new().chain_update(source_sha256).chain_update(recipe_digest).finalize();
    hex::encode(&digest[..VERSION_CHARS / 2])
}

/// The value of `?v=` for bytes of this SHA-256.
pub fn version(sha256: &str) -> &str {
    sha256.get(..VERSION_CHARS).unwrap_or(sha256)
}

/// Percent-encodes a key for the path of a URL, leaving its slashes.
pub fn encode_path(key: &str) -> String {
    utf8_percent_encode(key, KEPT_IN_PATH).to_string()
}

#[cfg(test)]
mod tests {
    use larder_core::ManualClock;

    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn links(base: Option<&str>) -> (Links, std::sync::Arc<ManualClock>) {
        let clock = ManualClock::at(Timestamp::from_millis(1_772_366_400_000));
        let ambient = Ambient::repeatable(clock.clone(), 1);
        let secrets = Secrets::new(*b"0123456789abcdef").unwrap();
        (Links::new(base.map(|text| text.parse().unwrap()), secrets, ambient), clock)
    }

    #[test]
    fn a_variant_has_a_version_of_its_source_and_its_recipe() {
        let one = variant_version(SHA, "0011223344556677");
        assert_eq!(one.len(), VERSION_CHARS);
        assert_eq!(one, variant_version(SHA, "0011223344556677"));
        assert_ne!(one, variant_version(SHA, "0011223344556678"));
        assert_ne!(one, variant_version(&SHA.replace('0', "f"), "0011223344556677"));
        assert_ne!(one, version(SHA));
    }

    fn parts(url: &str) -> (String, Option<i64>, String) {
        let (path, query) = url.split_once('?').unwrap();
        let value = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        (path.to_owned(), value("exp").map(|text| text.parse().unwrap()), value("sig").unwrap())
    }

    #[test]
    fn a_public_asset_has_a_versioned_url_below_public_url() {
        let (links, _) = links(Some("https://x.example/media/"));
        let url =
            links.asset(&"photos".parse().unwrap(), &"a b/ü.jpg".parse().unwrap(), SHA, Visibility::Public);
        assert_eq!(url, "https://x.example/media/m/photos/a%20b/%C3%BC.jpg?v=0123456789abcdef");
        assert_eq!(links.path_prefix(), "/media");
    }

    #[test]
    fn a_signed_url_is_bound_to_its_path_and_expiry() {
        let (links, clock) = links(None);
        let url =
            links.asset(&"photos".parse().unwrap(), &"a.jpg".parse().unwrap(), SHA, Visibility::Private);
        let (path, expires, signature) = parts(&url);
        assert_eq!(links.verify(&path, expires, &signature), Ok(Signer::Larder));
        let refused = |path: &str, expires| links.verify(path, expires, &signature).unwrap_err().code;
        assert_eq!(refused("/m/photos/b.jpg", expires), Code::SignatureInvalid);
        assert_eq!(refused(&path, expires.map(|at| at + 1)), Code::SignatureInvalid);
        assert_eq!(refused(&path, None), Code::SignatureInvalid);
        clock.advance(SIGNED_URL_LIFE + Duration::from_secs(1));
        assert_eq!(refused(&path, expires), Code::SignatureExpired);
    }

    #[test]
    fn a_signed_put_is_bound_to_type_size_and_time_and_never_reads() {
        let (links, clock) = links(None);
        let expires = links.expiry(Duration::from_secs(60));
        let url = links.sign_put("/x", "image/jpeg", 7, expires);
        let (path, _, signature) = parts(&url);
        assert_eq!(links.verify_put(&path, "image/jpeg", 7, expires, &signature), Ok(()));
        let code = |path, content_type, bytes, expires| {
            links.verify_put(path, content_type, bytes, expires, &signature).unwrap_err().code
        };
        assert_eq!(code("/y", "image/jpeg", 7, expires), Code::SignatureInvalid);
        assert_eq!(code("/x", "image/png", 7, expires), Code::SignatureInvalid);
        assert_eq!(code("/x", "image/jpeg", 8, expires), Code::SignatureInvalid);
        assert_eq!(code("/x", "image/jpeg", 7, expires + 1), Code::SignatureInvalid);
        assert_eq!(links.verify("/x", Some(expires), &signature).unwrap_err().code, Code::SignatureInvalid);
        clock.advance(Duration::from_secs(61));
        assert_eq!(code("/x", "image/jpeg", 7, expires), Code::SignatureExpired);
    }

    #[test]
    fn malformed_signatures_are_refused() {
        let (links, _) = links(None);
        for signature in ["", "larder", "larder.", "larder.@@", "nobody.AAAA", "larder.AAAA"] {
            assert_eq!(links.verify("/m/a/b", None, signature).unwrap_err().code, Code::SignatureInvalid);
        }
    }

    #[test]
    fn a_signed_life_is_never_longer_than_the_limit() {
        let (links, clock) = links(None);
        let expires = links.expiry(Duration::from_secs(365 * 86_400));
        let now = larder_core::Clock::now(&*clock).as_millis() / 1_000;
        assert_eq!(expires - now, SIGNED_URL_LIFE_MAX.as_secs() as i64);
    }
}
