//! Who asks: a bearer key, this machine, or nobody.

use http::{HeaderMap, header, request::Parts};
use larder_assets::Principal;
use larder_core::{Code, Fault};

use crate::{app::Context, loopback};

/// Whoever asks, before any byte of a body is read.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// The rights come from sitting at this machine and not from a credential. Such answers are kept
    /// from pages of other origins, since browsers of this machine have the rights too.
    pub(crate) by_machine: bool,
}

/// Marks an answer that was given by the rights of this machine; see [`Caller::by_machine`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByMachine;

/// Finds out who sends this request.
///
/// # Errors
/// [`Code::Unauthenticated`] for a credential that is none of ours or not any more;
/// [`Code::CrossOrigin`] for another origin's page that writes with the rights of this machine. A
/// request without credential is no error: it is nobody's.
pub(crate) async fn identify(context: &Context, parts: &Parts) -> Result<Caller, Fault> {
    let larder = context.app.larder();
    if let Some(secret) = bearer(&parts.headers)? {
        let principal = larder.authenticate(secret).await?;
        return Ok(Caller { principal, by_machine: false });
    }
    if is_at_this_machine(context, parts).await? {
        loopback::refuse_foreign_write(parts)?;
        return Ok(Caller { principal: Principal::local_admin(), by_machine: true });
    }
    Ok(Caller { principal: Principal::anonymous(), by_machine: false })
}

/// The rule of a laptop without configuration: while there is no key, requests of this machine are
/// an administrator's.
async fn is_at_this_machine(context: &Context, parts: &Parts) -> Result<bool, Fault> {
    let larder = context.app.larder();
    Ok(loopback::is_direct(context.peer, parts)
        && loopback::names_this_machine(parts)
        && larder.settings().public_url.is_none()
        && !larder.any_key_configured().await?)
}

/// The secret of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let secret = value.to_str().ok().and_then(|text| {
        let (scheme, secret) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
    });
    match secret {
        Some(secret) if !secret.is_empty() => Ok(Some(secret)),
        _ => Err(Fault::new(Code::Unauthenticated, "the header Authorization holds no bearer key")
            .remedy("send Authorization: Bearer followed by the key's secret")),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn bearer_secrets_are_read_by_their_scheme() {
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
            bearer(&headers).map(|secret| secret.map(str::to_owned)).map_err(|fault| fault.code)
        };
        assert_eq!(read("Bearer lk_1"), Ok(Some("lk_1".to_owned())));
        assert_eq!(read("bearer  lk_1 "), Ok(Some("lk_1".to_owned())));
        for wrong in ["Basic YTpi", "Bearer", "Bearer ", "lk_1", ""] {
            assert_eq!(read(wrong), Err(Code::Unauthenticated), "{wrong}");
        }
        assert_eq!(bearer(&HeaderMap::new()).unwrap(), None);
    }
}
