//! Addresses that speak for themselves: signed for one action on one object and for a time.
//!
//! AWS Signature Version 4 in query parameters ("Authenticating requests: using query parameters"). Written
//! here, since `object_store` signs no `Content-Length`, and without it an address for putting has no bound.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use larder_core::Timestamp;
use object_store::aws::AwsCredential;
use reqwest::Method;
use sha2::{Digest, Sha256};
use url::Url;

use super::endpoint::query;
use crate::store::SignedAction;

/// The address `object`, signed.
pub(super) fn sign(
    object: &Url,
    action: &SignedAction,
    region: &str,
    credential: &AwsCredential,
    now: Timestamp,
    life: Duration,
) -> Url {
    let (method, mut headers, mut pairs) = match action {
        SignedAction::Get { disposition } => {
            let asked = disposition.iter().map(|text| ("response-content-disposition", text.clone()));
            (Method::GET, Vec::new(), asked.collect::<Vec<_>>())
        }
        SignedAction::Put { content_type, size_bytes } => {
            let headers =
                vec![("content-length", size_bytes.to_string()), ("content-type", content_type.clone())];
            (Method::PUT, headers, Vec::new())
        }
    };
    let host = &object[url::Position::BeforeHost..url::Position::AfterPort];
    headers.push(("host", host.to_owned()));
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");

    let time = basic(now);
    let date = &time[..8];
    let scope = format!("{date}/{region}/s3/aws4_request");
    pairs.extend([
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("X-Amz-Credential", format!("{}/{scope}", credential.key_id)),
        ("X-Amz-Date", time.clone()),
        ("X-Amz-Expires", life.as_secs().to_string()),
        ("X-Amz-SignedHeaders", names.clone()),
    ]);
    pairs.extend(credential.token.iter().map(|token| ("X-Amz-Security-Token", token.clone())));
    pairs.sort();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let query = query(&pairs);

    let headers: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let request = format!("{method}\n{}\n{query}\n{headers}\n{names}\nUNSIGNED-PAYLOAD", object.path());
    let digest = hex::encode(Sha256::digest(request));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");

    let begin = format!("AWS4{}", credential.secret_key).into_bytes();
    let key = [date, region, "s3", "aws4_request"].iter().fold(begin, |key, part| hmac(&key, part));
    let signature = hex::encode(hmac(&key, &text));
    let mut signed = object.clone();
    signed.set_query(Some(&format!("{query}&X-Amz-Signature={signature}")));
    signed
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// ISO 8601 in its basic form, `20130524T000000Z`.
fn basic(now: Timestamp) -> String {
    let text = now.to_string();
    let seconds = text.split('.').next().unwrap_or_default();
    seconds.replace(['-', ':'], "") + "Z"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the documentation ("Authenticating requests: using query parameters").
    #[test]
    fn the_documented_example_has_the_documented_signature() {
        let credential = AwsCredential {
            key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            token: None,
        };
        let object = "https://examplebucket.s3.amazonaws.com/test.txt".parse().unwrap();
        let now = Timestamp::parse_http_date("Fri, 24 May 2013 00:00:00 GMT").unwrap();
        let get = SignedAction::Get { disposition: None };
        let signed = sign(&object, &get, "us-east-1", &credential, now, Duration::from_secs(86_400));
        assert_eq!(
            signed.as_str(),
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }
}
