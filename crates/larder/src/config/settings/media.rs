//! Settings of what comes in: the shape of shipped pictures, and named maxima.

use super::{Alias, Kind, Setting, foreign};
use crate::config::{FromRaw, Raw};

const MAX_IMAGE_FILE_SIZE_MB: Alias = foreign("MAX_IMAGE_FILE_SIZE_MB", "image proxies")
    .meaning("in MiB", |_, text| Ok(Raw::text(format!("{} MiB", u32::from_raw(&Raw::text(text))?))));

#[rustfmt::skip] // One setting reads as one block.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        path: "images.format", kind: Kind::Format, default: None,
        aliases: &[foreign("IMAGE_FORMAT", "image proxies")],
        doc: "Output format of the shipped presets (`artwork-*`, `keep-*`, `design-*`); each keeps its own unless set.",
        set: |config, raw| raw.read_into(&mut config.images.format),
    },
    Setting {
        path: "images.quality", kind: Kind::Count, default: None, aliases: &[foreign("IMAGE_QUALITY", "image proxies")],
        doc: "Quality of the shipped presets, 1 to 100; each keeps its own (85) unless set.",
        set: |config, raw| {
            let quality = Option::<u8>::from_raw(raw)?;
            if quality.is_some_and(|quality| !(1..=100).contains(&quality)) {
                return Err("the quality lies outside 1 to 100".to_owned());
            }
            config.images.quality = quality;
            Ok(())
        },
    },
    Setting {
        path: "images.optimize", kind: Kind::Flag, default: Some("true"), aliases: &[foreign("ENABLE_IMAGE_OPTIMIZATION", "image proxies")],
        doc: "Whether buckets make their presets when a picture comes in. `false`: variants are made on demand only.",
        set: |config, raw| raw.read_into(&mut config.images.optimize),
    },
    Setting {
        path: "limits.upload_bytes", kind: Kind::Bytes, default: Some("104857600"), aliases: &[foreign("MAX_UPLOAD_SIZE", "Django")],
        doc: "Largest upload of any bucket; exactly this size is accepted. A bucket's `max_bytes` can only lower it.",
        set: |config, raw| raw.read_into(&mut config.limits.upload_bytes),
    },
    Setting {
        path: "limits.artwork_bytes", kind: Kind::Bytes, default: Some("10485760"), aliases: &[MAX_IMAGE_FILE_SIZE_MB],
        doc: "Largest picture of the shipped bucket `artwork`.",
        set: |config, raw| raw.read_into(&mut config.limits.artwork_bytes),
    },
    Setting {
        path: "limits.image_pixels", kind: Kind::Count, default: Some("100000000"), aliases: &[],
        doc: "Most pixels of one frame.",
        set: |config, raw| raw.read_into(&mut config.limits.image_pixels),
    },
    Setting {
        path: "limits.image_side_px", kind: Kind::Count, default: Some("65535"), aliases: &[],
        doc: "Most pixels a side.",
        set: |config, raw| raw.read_into(&mut config.limits.image_side_px),
    },
    Setting {
        path: "limits.image_frames", kind: Kind::Count, default: Some("8192"), aliases: &[],
        doc: "Most frames of an animation.",
        set: |config, raw| raw.read_into(&mut config.limits.image_frames),
    },
    Setting {
        path: "limits.image_total_pixels", kind: Kind::Count, default: Some("250000000"), aliases: &[],
        doc: "Most pixels over all frames of an animation.",
        set: |config, raw| raw.read_into(&mut config.limits.image_total_pixels),
    },
    Setting {
        path: "limits.decode_time", kind: Kind::Duration, default: Some("10s"), aliases: &[],
        doc: "Longest decode of one picture.",
        set: |config, raw| raw.read_into(&mut config.limits.decode_time),
    },
    Setting {
        path: "limits.decode_memory", kind: Kind::Bytes, default: Some("400000000"), aliases: &[],
        doc: "Memory that all decodes of the process may take together. A decode starts when its estimate fits; one that can never fit is refused at the header.",
        set: |config, raw| raw.read_into(&mut config.limits.decode_memory),
    },
    Setting {
        path: "limits.batch_items", kind: Kind::Count, default: Some("100"), aliases: &[],
        doc: "Most files of one request, and most items of one batch operation.",
        set: |config, raw| raw.read_into(&mut config.limits.batch_items),
    },
    Setting {
        path: "limits.json_bytes", kind: Kind::Bytes, default: Some("1 MiB"), aliases: &[],
        doc: "Largest JSON body of a request.",
        set: |config, raw| raw.read_into(&mut config.limits.json_bytes),
    },
    Setting {
        path: "limits.headers_within", kind: Kind::Duration, default: Some("30s"), aliases: &[],
        doc: "Time within which a client must have sent the head of its request; slower ones are cut off.",
        set: |config, raw| raw.read_into(&mut config.limits.headers_within),
    },
    Setting {
        path: "limits.body_idle", kind: Kind::Duration, default: Some("30s"), aliases: &[],
        doc: "Time within which the next bytes of a request's body must arrive.",
        set: |config, raw| raw.read_into(&mut config.limits.body_idle),
    },
    Setting {
        path: "limits.signed_url_life", kind: Kind::Duration, default: Some("1h"), aliases: &[],
        doc: "Life of a signed URL unless asked otherwise.",
        set: |config, raw| raw.read_into(&mut config.limits.signed_url_life),
    },
    Setting {
        path: "limits.signed_url_life_max", kind: Kind::Duration, default: Some("7d"), aliases: &[],
        doc: "Longest life of a signed URL.",
        set: |config, raw| raw.read_into(&mut config.limits.signed_url_life_max),
    },
    Setting {
        path: "limits.history", kind: Kind::Duration, default: Some("30d"), aliases: &[],
        doc: "How long ended jobs and uploads stay listed.",
        set: |config, raw| raw.read_into(&mut config.limits.history),
    },
    Setting {
        path: "limits.upload_life", kind: Kind::Duration, default: Some("24h"), aliases: &[],
        doc: "Age at which an upload that never became an asset expires. Assets never do by themselves.",
        set: |config, raw| raw.read_into(&mut config.limits.upload_life),
    },
    Setting {
        path: "limits.idempotency_life", kind: Kind::Duration, default: Some("24h"), aliases: &[],
        doc: "How long an answer is replayed for its `Idempotency-Key`.",
        set: |config, raw| raw.read_into(&mut config.limits.idempotency_life),
    },
];
