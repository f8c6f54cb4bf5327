//! The table of every setting.

use larder_assets::jobs::QUEUES;
use larder_image::OutputFormat;

use super::{Config, FromRaw, Raw, sections::ImageFormat};

/// One setting: its name in the file, its meaning, and how it is set.
pub struct Setting {
    /// Its place in the file: `a.b` is `b` in the table `[a]`.
    pub path: &'static str,
    /// What is expected, for the documentation and for messages.
    pub kind: Kind,
    /// Its default as text; none where the setting is optional.
    pub default: Option<&'static str>,
    /// What it decides.
    pub doc: &'static str,
    /// Other environment names for it.
    pub aliases: &'static [Alias],
    set: fn(&mut Config, &Raw) -> Result<(), String>,
}

/// What a setting expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Address and port.
    Address,
    /// A path in the file system.
    Path,
    /// An `http:` or `https:` URL.
    Url,
    /// Text that is never printed.
    Secret,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A format that pictures are encoded in.
    Format,
    /// A size in bytes.
    Bytes,
    /// A span of time.
    Duration,
    /// A whole number.
    Count,
    /// True or false.
    Flag,
    /// Several texts.
    List,
    /// Any text.
    Text,
}

impl Kind {
    /// What to write, for people.
    pub fn expects(self) -> String {
        match self {
            Self::Address => "address and port, such as `127.0.0.1:8000`".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Url => "URL".to_owned(),
            Self::Secret => "secret text".to_owned(),
            Self::Choice(words) => choice(words.iter().copied()),
            Self::Format => choice(ImageFormat::all().map(OutputFormat::name)),
            Self::Bytes => "size in bytes, or with a unit such as `10 MiB`".to_owned(),
            Self::Duration => {
                "duration in seconds, or with a unit such as `90s`, `15m`, `24h`, `7d`".to_owned()
            }
            Self::Count => "whole number".to_owned(),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::List => "list of texts; in the environment separated by commas".to_owned(),
            Self::Text => "text".to_owned(),
        }
    }
}

fn choice<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// How strong an alias is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// A name that other applications use too: the file wins over it.
    Foreign,
    /// A name that the platform sets for this very process: it wins over the file.
    Platform,
}

/// Another environment name of a setting.
pub struct Alias {
    /// The variable.
    pub name: &'static str,
    /// Whether it wins over the file.
    pub strength: Strength,
    /// What its values mean, where they differ from the setting's.
    pub doc: &'static str,
    /// Turns its text into the setting's value.
    pub read: fn(&Config, &str) -> Result<Raw, String>,
}

impl Setting {
    /// The setting at `path`.
    ///
    /// # Panics
    /// No setting has this path: only for paths written in the code, held by a test.
    pub fn at(path: &str) -> &'static Self {
        SETTINGS.iter().find(|setting| setting.path == path).expect("the path of a setting")
    }

    /// The environment variable: `LARDER_A__B` for `a.b`.
    pub fn variable(&self) -> String {
        format!("LARDER_{}", self.path.replace('.', "__").to_uppercase())
    }

    /// Sets it.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn set(&self, config: &mut Config, raw: &Raw) -> Result<(), String> {
        (self.set)(config, raw)
    }

    /// The remedy for a value that can't be read.
    pub fn expectation(&self) -> String {
        let default = self.default.map_or_else(String::new, |text| format!(" (default: {text})"));
        format!("{} expects: {}{default}", self.path, self.kind.expects().replace('`', ""))
    }
}

fn same(_: &Config, text: &str) -> Result<Raw, String> {
    Ok(Raw::text(text))
}

const fn foreign(name: &'static str) -> Alias {
    Alias { name, strength: Strength::Foreign, doc: "", read: same }
}

const PORT: Alias = Alias {
    name: "PORT",
    strength: Strength::Platform,
    doc: "the port alone; the address stays",
    read: |config, text| {
        let port = u16::from_raw(&Raw::text(text))?;
        Ok(Raw::text(std::net::SocketAddr::new(config.listen.ip(), port).to_string()))
    },
};

const USE_LOCAL_STORAGE: Alias = Alias {
    name: "USE_LOCAL_STORAGE",
    strength: Strength::Foreign,
    doc: "`true` is `local`, `false` is `s3`; `MEDIA_STORAGE_BACKEND` wins over it",
    read: |_, text| Ok(Raw::text(if bool::from_raw(&Raw::text(text))? { "local" } else { "s3" })),
};

const MAX_IMAGE_FILE_SIZE_MB: Alias = Alias {
    name: "MAX_IMAGE_FILE_SIZE_MB",
    strength: Strength::Foreign,
    doc: "in MiB",
    read: |_, text| Ok(Raw::text(format!("{} MiB", u32::from_raw(&Raw::text(text))?))),
};

/// Every setting, in the order of the documentation. Tables of free names (`[buckets.…]`,
/// `[presets]`) are not settings and are read beside them.
#[rustfmt::skip] // One setting reads as one block.
pub const SETTINGS: &[Setting] = &[
    Setting {
        path: "listen", kind: Kind::Address, default: Some("127.0.0.1:8000"), aliases: &[PORT],
        doc: "Where the server listens. Beyond loopback it starts only when a key exists.",
        set: |config, raw| raw.read_into(&mut config.listen),
    },
    Setting {
        path: "data_dir", kind: Kind::Path, default: Some("./larder-data"), aliases: &[],
        doc: "Folder of the catalogue, the bytes and the generated secret; created when missing. A relative path starts at the working directory.",
        set: |config, raw| raw.read_into(&mut config.data_dir),
    },
    Setting {
        path: "database_url", kind: Kind::Secret, default: None, aliases: &[foreign("DATABASE_URL")],
        doc: "`postgres://…` for a catalogue that several machines share; everything lies in its schema `larder`. Unset, or `sqlite:`, is SQLite in the data directory.",
        set: |config, raw| raw.read_into(&mut config.database_url),
    },
    Setting {
        path: "public_url", kind: Kind::Url, default: None, aliases: &[],
        doc: "The address under which clients reach the server, with its path prefix if there is one. All URLs in answers begin with it; the `Host` of a request is never used. Unset, URLs in answers are paths, such as `/m/media/a.jpg`; `larder url` prints them with the address of the server.",
        set: |config, raw| raw.read_into(&mut config.public_url),
    },
    Setting {
        path: "secret", kind: Kind::Secret, default: None, aliases: &[],
        doc: "Master secret from which signing keys are derived, at least 16 characters. Unset, one is generated in `<data_dir>/secret`; with PostgreSQL it must be set. Changing it makes every signed URL invalid.",
        set: |config, raw| raw.read_into(&mut config.secret),
    },
    Setting {
        path: "admin_key", kind: Kind::Secret, default: None, aliases: &[],
        doc: "A bearer token that may do everything, at least 16 characters; for the first start beyond loopback and for automation.",
        set: |config, raw| raw.read_into(&mut config.admin_key),
    },
    Setting {
        path: "store.backend", kind: Kind::Choice(&["local", "local2", "memory"]), default: Some("local"),
        aliases: &[
            Alias {
                name: "MEDIA_STORAGE_BACKEND", strength: Strength::Foreign,
                doc: "`s3` and `minio` are refused: not in this version", read: same,
            },
            USE_LOCAL_STORAGE,
        ],
        doc: "Where new bytes go: files on the local disk, files in a second folder (`store.second_root`), or the memory of the process (for tests). What lies in another store that is configured is read where it is; `larder migrate` moves it.",
        set: |config, raw| raw.read_into(&mut config.store.backend),
    },
    Setting {
        path: "store.root", kind: Kind::Path, default: None, aliases: &[foreign("MEDIA_ROOT")],
        doc: "Folder of the local store, one sub-folder a bucket; `<data_dir>/media` unless set.",
        set: |config, raw| raw.read_into(&mut config.store.root),
    },
    Setting {
        path: "store.second_root", kind: Kind::Path, default: None, aliases: &[],
        doc: "Folder of a second local store, called `local2`, to move to another disk: `larder migrate --from local --to local2`, after `store.backend` was switched.",
        set: |config, raw| raw.read_into(&mut config.store.second_root),
    },
    Setting {
        path: "images.format", kind: Kind::Format, default: None,
        aliases: &[foreign("IMAGE_FORMAT")],
        doc: "Output format of the shipped presets (`artwork-*`, `keep-*`, `design-*`); each keeps its own unless set.",
        set: |config, raw| raw.read_into(&mut config.images.format),
    },
    Setting {
        path: "images.quality", kind: Kind::Count, default: None, aliases: &[foreign("IMAGE_QUALITY")],
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
        path: "images.optimize", kind: Kind::Flag, default: Some("true"), aliases: &[foreign("ENABLE_IMAGE_OPTIMIZATION")],
        doc: "Whether buckets make their presets when a picture comes in. `false`: variants are made on demand only.",
        set: |config, raw| raw.read_into(&mut config.images.optimize),
    },
    Setting {
        path: "limits.upload_bytes", kind: Kind::Bytes, default: Some("104857600"), aliases: &[foreign("MAX_UPLOAD_SIZE")],
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
        path: "delivery.hot_cache", kind: Kind::Bytes, default: Some("16 MiB"), aliases: &[],
        doc: "Memory for small bodies that are fetched often.",
        set: |config, raw| raw.read_into(&mut config.delivery.hot_cache),
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
