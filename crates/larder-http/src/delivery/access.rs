//! Who may read: anyone in a public bucket; in a private one whoever has a signed URL, a key, or sits
//! at this machine without keys.

use http::request::Parts;
use larder_assets::{Action, Bucket, Visibility, links::Signer};
use larder_core::{Code, Fault};

use crate::{app::Context, auth, path::query_value};

/// By which right bytes are read; decides who may cache them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Anyone's.
    Public,
    /// A signature's, until this many seconds from now.
    Signed {
        /// Seconds until it ends; `None` for one that does not.
        seconds_left: Option<u64>,
    },
    /// A credential's.
    Credential {
        /// That of sitting at this machine.
        by_machine: bool,
        /// It may do everything.
        is_admin: bool,
    },
}

/// The expiry in a query, in Unix seconds.
///
/// # Errors
/// `exp` is no number.
fn expiry(parts: &Parts) -> Result<Option<i64>, Fault> {
    let Some(text) = query_value(parts.uri.query(), "exp") else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Fault::new(Code::SignatureInvalid, "exp is no number of Unix seconds")
            .remedy("use the URL exactly as it was handed out")
    })
}

/// A signature that is right; whether its maker may sign is not known yet.
pub(super) struct Signed {
    signer: Signer,
    expires: Option<i64>,
}

/// Checks a signature, before anything is looked up. `sent` is the path as it came, `canonical` as
/// Larder spells it: signed is the path as its maker wrote it, and clients and proxies may spell its
/// escapes otherwise.
pub(super) fn check(
    context: &Context,
    sent: &str,
    canonical: &str,
    parts: &Parts,
    signature: &str,
) -> Result<Signed, Fault> {
    let links = context.app.larder().links();
    let expires = expiry(parts)?;
    let signer = match links.verify(sent, expires, signature) {
        Err(fault) if fault.code == Code::SignatureInvalid && sent != canonical => {
            links.verify(canonical, expires, signature)?
        }
        outcome => outcome?,
    };
    Ok(Signed { signer, expires })
}

impl Signed {
    /// The right that the signature gives to read this key.
    ///
    /// # Errors
    /// The key that signed does not work any more or may not sign for this place; a private bucket's
    /// signature without an end, or with one too far away.
    pub(super) async fn right(self, context: &Context, bucket: &Bucket, key: &str) -> Result<Right, Fault> {
        let larder = context.app.larder();
        if let Signer::Key(id) = self.signer {
            larder.signer(id).await?.may(Action::Sign, Some(&bucket.name), Some(key)).map_err(|_| {
                Fault::new(Code::SignatureInvalid, "the key that signed this URL may not sign for this place")
                    .remedy("ask for a new URL where you got it")
            })?;
        }
        let now = larder.ambient().now().as_millis() / 1_000;
        let seconds_left = self.expires.map(|at| u64::try_from(at - now).unwrap_or_default());
        let is_bounded =
            seconds_left.is_some_and(|seconds| seconds <= larder.settings().signed_url_life_max.as_secs());
        if bucket.policy.visibility == Visibility::Private && !is_bounded {
            return Err(Fault::new(
                Code::SignatureInvalid,
                "a signed URL of a private bucket ends within 7 days",
            )
            .remedy("sign it with an exp of at most 7 days from now"));
        }
        Ok(Right::Signed { seconds_left })
    }
}

/// The right of a request without signature.
pub(super) async fn unsigned(
    context: &Context,
    parts: &Parts,
    bucket: &Bucket,
    key: &str,
) -> Result<Right, Fault> {
    if bucket.policy.visibility == Visibility::Public {
        return Ok(Right::Public);
    }
    credential(context, parts, bucket, key).await
}

/// The right of whoever sends this, by credential alone.
pub(super) async fn credential(
    context: &Context,
    parts: &Parts,
    bucket: &Bucket,
    key: &str,
) -> Result<Right, Fault> {
    let caller = auth::identify(context, parts).await?;
    caller.principal.may(Action::Read, Some(&bucket.name), Some(key)).map_err(|fault| match fault.code {
        Code::Unauthenticated => {
            Fault::new(Code::Unauthenticated, format!("the bucket {} is private", bucket.name))
                .remedy("use a signed URL (POST /api/v1/sign), or send Authorization: Bearer with a key")
        }
        _ => fault,
    })?;
    let is_admin = caller.principal.may(Action::Admin, None, None).is_ok();
    Ok(Right::Credential { by_machine: caller.by_machine, is_admin })
}
