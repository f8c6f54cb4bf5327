//! Settings of the process: addresses, folders, the catalogue and its secrets.

use super::{Alias, Kind, Setting, foreign};
use crate::config::{FromRaw, Raw};

const PORT: Alias =
    Alias::platform("PORT", "the platform").meaning("the port alone; the address stays", |config, text| {
        let port = u16::from_raw(&Raw::text(text))?;
        Ok(Raw::text(std::net::SocketAddr::new(config.listen.ip(), port).to_string()))
    });

#[rustfmt::skip] // One setting reads as one block.
pub(super) const SETTINGS: &[Setting] = &[
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
        path: "database_url", kind: Kind::Secret, default: None, aliases: &[foreign("DATABASE_URL", "Django, Rails, Fly.io")],
        doc: "`postgres://…` for a catalogue that several machines share; everything lies in its schema `larder`. Unset, or `sqlite:`, is SQLite in the data directory.",
        set: |config, raw| raw.read_into(&mut config.database_url),
    },
    Setting {
        path: "catalog.replicate", kind: Kind::Choice(&["auto", "off", "interval", "commit"]), default: Some("auto"), aliases: &[],
        doc: "Whether the SQLite catalogue is replicated to the S3 bucket of the store, so that a machine without a disk of its own loses nothing. `commit`: nothing is acknowledged before it is in the bucket. `interval`: what was acknowledged within `catalog.interval` is lost with the disk. `auto`: `commit` where a bucket keeps the bytes and honours `If-None-Match`, else `off`. Set `secret` as well: one that is generated lies in the data directory alone.",
        set: |config, raw| raw.read_into(&mut config.catalog.replicate),
    },
    Setting {
        path: "catalog.interval", kind: Kind::Duration, default: Some("1s"), aliases: &[],
        doc: "Time between two looks at the catalogue for `catalog.replicate`.",
        set: |config, raw| raw.read_into(&mut config.catalog.interval),
    },
    Setting {
        path: "catalog.lease", kind: Kind::Duration, default: Some("30s"), aliases: &[],
        doc: "Time of silence after which another server that waits takes the replicated catalogue over. A server that was killed and comes back on the same data directory does not wait.",
        set: |config, raw| raw.read_into(&mut config.catalog.lease),
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
];
