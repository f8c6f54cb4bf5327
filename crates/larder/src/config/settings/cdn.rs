//! Settings of the caches in front.

use larder_assets::cdn::HookKind;
use larder_http::TagHeader;

use super::{Kind, Setting};
use crate::config::FromRaw;

/// The kinds of hook, and none.
const HOOKS: &[&str] = &["off", "generic", "fastly", "cloudfront"];

#[rustfmt::skip] // One setting reads as one block.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        path: "cdn.purge", kind: Kind::Choice(HOOKS), default: Some("off"), aliases: &[],
        doc: "Who is told to forget what was replaced, deleted or closed: `generic` is a POST of JSON to an address of yours, `fastly` and `cloudfront` are those CDNs. [cdn.md](cdn.md) says what each needs.",
        set: |config, raw| {
            let name = String::from_raw(raw)?.to_ascii_lowercase();
            config.cdn.purge = HookKind::named(&name);
            if config.cdn.purge.is_none() && name != "off" {
                return Err(format!("\"{name}\" is none of {}", HOOKS.join(", ")));
            }
            Ok(())
        },
    },
    Setting {
        path: "cdn.purge_url", kind: Kind::Url, default: None, aliases: &[],
        doc: "Where the purges of `generic` are sent. It has to be a public address on port 80 or 443, or lie in a network of `import.allow_networks`. For the others, another address of the provider's API.",
        set: |config, raw| raw.read_into(&mut config.cdn.purge_url),
    },
    Setting {
        path: "cdn.purge_service", kind: Kind::Text, default: None, aliases: &[],
        doc: "Id of the Fastly service, or of the CloudFront distribution.",
        set: |config, raw| raw.read_into(&mut config.cdn.purge_service),
    },
    Setting {
        path: "cdn.purge_token", kind: Kind::Secret, default: None, aliases: &[],
        doc: "The token of Fastly's API (`purge_select`); for `generic` it is sent as `Authorization: Bearer`.",
        set: |config, raw| raw.read_into(&mut config.cdn.purge_token),
    },
    Setting {
        path: "cdn.purge_secret", kind: Kind::Secret, default: None, aliases: &[],
        doc: "For `generic`: the key of the HMAC-SHA256 of the body, which is sent as `X-Larder-Signature: sha256=<hex>`.",
        set: |config, raw| raw.read_into(&mut config.cdn.purge_secret),
    },
    Setting {
        path: "cdn.tag_headers", kind: Kind::List, default: Some("Cache-Tag,Surrogate-Key"), aliases: &[],
        doc: "Headers in which public answers of `/m` and `/i` name their tags, `a-<asset id>` and `b-<bucket>`: `Cache-Tag` of Cloudflare, `Surrogate-Key` of Fastly, `xkey` of Varnish, `Edge-Cache-Tag` of Akamai. Empty sends none.",
        set: |config, raw| {
            let names = Vec::<String>::from_raw(raw)?;
            config.cdn.tag_headers = names.iter().map(|name| TagHeader::new(name)).collect::<Result<_, _>>()?;
            Ok(())
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_hook_can_be_chosen() {
        let kinds = larder_assets::cdn::HOOKS.iter().map(|kind| kind.name);
        let choices: Vec<&str> = ["off"].into_iter().chain(kinds).collect();
        assert_eq!(choices, HOOKS);
    }
}
