//! Settings of how jobs are run, bytes served, addresses fetched and events logged.

use larder_assets::jobs::QUEUES;

use super::{Kind, Setting, foreign};
use crate::config::{FromRaw, address};

#[rustfmt::skip] // One setting reads as one block.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        path: "worker.concurrency", kind: Kind::Count, default: None, aliases: &[],
        doc: "Jobs that a process runs at a time; one more than processors unless set, so that one can wait for the disk while the others compute.",
        set: |config, raw| raw.read_into(&mut config.worker.concurrency),
    },
    Setting {
        path: "worker.queues", kind: Kind::List, default: Some(""), aliases: &[],
        doc: "Queues that this process serves, of `intake` and `maintenance`; empty is all of them.",
        set: |config, raw| {
            let queues = Vec::<String>::from_raw(raw)?;
            if let Some(unknown) = queues.iter().find(|name| !QUEUES.contains(&name.as_str())) {
                return Err(format!("there is no queue \"{unknown}\"; there are {}", QUEUES.join(" and ")));
            }
            config.worker.queues = queues;
            Ok(())
        },
    },
    Setting {
        path: "delivery.sendfile", kind: Kind::Choice(&["off", "x-accel-redirect", "x-sendfile"]), default: Some("off"), aliases: &[],
        doc: "Lets the web server in front send the bytes of local files: `x-accel-redirect` for nginx (internal location `/.larder-files/` on the store's root), `x-sendfile` for Apache and alike. That server has to be able to read the files: set `store.root` to a folder outside the data directory, which nobody but its owner may enter. [delivery.md](delivery.md) has the lines that the web server needs.",
        set: |config, raw| raw.read_into(&mut config.delivery.sendfile),
    },
    Setting {
        path: "delivery.media_path", kind: Kind::Text, default: None,
        aliases: &[foreign("MEDIA_URL", "Django").taking("a path; a whole URL is `store.public_url`", |text| !address::is_whole(text))],
        doc: "A second path for originals, such as `/media/` or `/static/`: requests below it are answered as those below `/m/<delivery.media_bucket>/`.",
        set: |config, raw| {
            let path = Option::<String>::from_raw(raw)?;
            if let Some(path) = &path {
                larder_http::PathAlias::new(path, config.delivery.media_bucket.clone())?;
            }
            config.delivery.media_path = path;
            Ok(())
        },
    },
    Setting {
        path: "delivery.media_bucket", kind: Kind::Text, default: Some("media"), aliases: &[],
        doc: "The bucket whose originals `delivery.media_path` serves.",
        set: |config, raw| {
            config.delivery.media_bucket =
                String::from_raw(raw)?.parse().map_err(|error: larder_core::KeyError| error.to_string())?;
            Ok(())
        },
    },
    Setting {
        path: "delivery.hot_cache", kind: Kind::Bytes, default: Some("16 MiB"), aliases: &[],
        doc: "Memory for small bodies that are fetched often.",
        set: |config, raw| raw.read_into(&mut config.delivery.hot_cache),
    },
    Setting {
        path: "cache.memory", kind: Kind::Bytes, default: Some("32 MiB"), aliases: &[],
        doc: "Memory for what was read from a remote store; `0` for none. `delivery.hot_cache` holds small bodies before it.",
        set: |config, raw| raw.read_into(&mut config.cache.memory),
    },
    Setting {
        path: "cache.disk", kind: Kind::Bytes, default: Some("1 GiB"), aliases: &[],
        doc: "Room on the local disk for what a server read from a remote store; `0` for none. It survives restarts.",
        set: |config, raw| raw.read_into(&mut config.cache.disk),
    },
    Setting {
        path: "cache.dir", kind: Kind::Path, default: None, aliases: &[],
        doc: "Folder of the cache on the disk; `<data_dir>/cache` unless set. One server uses it at a time; another one with the same folder caches in memory only.",
        set: |config, raw| raw.read_into(&mut config.cache.dir),
    },
    Setting {
        path: "import.allow_networks", kind: Kind::List, default: Some(""), aliases: &[],
        doc: "Networks such as `10.0.0.0/8` that imports by URL may reach although they are not public.",
        set: |config, raw| raw.read_into(&mut config.import.allow_networks),
    },
    Setting {
        path: "log.level", kind: Kind::Text, default: Some("info"), aliases: &[],
        doc: "`error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,larder_http=debug`.",
        set: |config, raw| raw.read_into(&mut config.log.level),
    },
    Setting {
        path: "log.format", kind: Kind::Choice(&["text", "json"]), default: Some("text"), aliases: &[],
        doc: "Log lines on standard error: text for people, or one JSON object a line.",
        set: |config, raw| raw.read_into(&mut config.log.format),
    },
];
