//! Digests that a client announces for its body: `Content-Digest` and `Repr-Digest` (RFC 9530),
//! `Content-MD5` (RFC 1864) and the checksum headers of S3.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, header};
use larder_core::{Code, Fault};

/// What was announced, in lower-case hex.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) sha256: Option<String>,
    pub(crate) md5: Option<String>,
}

/// Reads the headers. Algorithms that Larder does not compute are passed over, as RFC 9530, section 2,
/// allows.
///
/// # Errors
/// A digest is malformed, or two of them differ; a `Content-Encoding`, since then body and file have
/// different digests and types.
pub(crate) fn announced(headers: &HeaderMap) -> Result<Announced, Fault> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        return Err(Fault::new(Code::UnsupportedType, "the body has a Content-Encoding")
            .remedy("send the file's own bytes, without Content-Encoding"));
    }
    let mut announced = Announced::default();
    for name in ["content-digest", "repr-digest"] {
        for value in headers.get_all(HeaderName::from_static(name)) {
            let text = value.to_str().map_err(|_| malformed(name))?;
            for (algorithm, digest) in dictionary(text).ok_or_else(|| malformed(name))? {
                match algorithm {
                    "sha-256" => agree(&mut announced.sha256, digest, 32, name)?,
                    "md5" => agree(&mut announced.md5, digest, 16, name)?,
                    _ => {}
                }
            }
        }
    }
    if let Some(value) = headers.get("content-md5") {
        agree(&mut announced.md5, value.to_str().unwrap_or("?"), 16, "content-md5")?;
    }
    if let Some(value) = headers.get("x-amz-checksum-sha256") {
        agree(&mut announced.sha256, value.to_str().unwrap_or("?"), 32, "x-amz-checksum-sha256")?;
    }
    Ok(announced)
}

/// The members of a structured field dictionary whose values are byte sequences (RFC 9651, section
/// 3.2): `sha-256=:…:, md5=:…:`.
fn dictionary(text: &str) -> Option<Vec<(&str, &str)>> {
    text.split(',').map(parse_member).collect()
}

fn parse_member(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.trim().split_once('=')?;
    Some((name, value.strip_prefix(':')?.strip_suffix(':')?))
}

fn agree(known: &mut Option<String>, base64: &str, length: usize, name: &'static str) -> Result<(), Fault> {
    let bytes = STANDARD.decode(base64.trim()).ok().filter(|bytes| bytes.len() == length);
    let digest = hex::encode(bytes.ok_or_else(|| malformed(name))?);
    match known {
        Some(other) if *other != digest => {
            Err(Fault::new(Code::InvalidRequest, "two headers announce different digests of the body")
                .remedy("send one digest"))
        }
        _ => {
            *known = Some(digest);
            Ok(())
        }
    }
}

fn malformed(name: &str) -> Fault {
    Fault::new(Code::InvalidRequest, format!("the header {name} holds no digest in Base64"))
        .remedy("send Content-Digest: sha-256=:<Base64 of the 32 bytes>:")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const SHA: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    const SHA_HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const MD5: &str = "1B2M2Y8AsgTpgAmY7PhCfg==";
    const MD5_HEX: &str = "d41d8cd98f00b204e9800998ecf8427e";

    fn read(headers: &[(&'static str, &str)]) -> Result<Announced, Code> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        announced(&headers.collect()).map_err(|fault| fault.code)
    }

    #[test]
    fn digests_are_read_from_every_header() {
        let sha = Some(SHA_HEX.to_owned());
        let md5 = Some(MD5_HEX.to_owned());
        let both = format!("sha-512=:AAAA:, sha-256=:{SHA}: , md5=:{MD5}:");
        assert_eq!(read(&[]), Ok(Announced::default()));
        assert_eq!(
            read(&[("content-digest", &both)]),
            Ok(Announced { sha256: sha.clone(), md5: md5.clone() })
        );
        let repr = format!("sha-256=:{SHA}:");
        assert_eq!(read(&[("repr-digest", &repr)]), Ok(Announced { sha256: sha.clone(), md5: None }));
        assert_eq!(read(&[("content-md5", MD5)]), Ok(Announced { sha256: None, md5 }));
        assert_eq!(read(&[("x-amz-checksum-sha256", SHA)]), Ok(Announced { sha256: sha, md5: None }));
    }

    #[test]
    fn malformed_and_differing_digests_are_refused() {
        let other = format!("sha-256=:{}:", STANDARD.encode([1; 32]));
        let repr = format!("sha-256=:{SHA}:");
        for headers in [
            &[("content-digest", "sha-256=abc")][..],
            &[("content-digest", "sha-256=:AAAA:")],
            &[("content-digest", "nonsense")],
            &[("content-md5", SHA)],
            &[("content-digest", other.as_str()), ("repr-digest", repr.as_str())],
        ] {
            assert_eq!(read(headers), Err(Code::InvalidRequest), "{headers:?}");
        }
        assert_eq!(read(&[("content-encoding", "gzip")]), Err(Code::UnsupportedType));
    }
}
