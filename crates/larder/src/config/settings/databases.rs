//! Settings of the databases that applications keep in the store.

use super::{Kind, Setting};

#[rustfmt::skip] // One setting reads as one block.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        path: "databases.prefixes", kind: Kind::List, default: Some("org-data/{id}"), aliases: &[],
        doc: "Where in the store databases of `larder db` lie that `larder serve` looks after; a name in braces stands for any one folder. In a bucket these are whole paths, as in the URLs of `larder db`: `store.s3.prefix` is no part of them. The replicated catalogue is looked after without being named. An empty list is none. Where nothing lies there, it costs a listing each hour.",
        set: |config, raw| raw.read_into(&mut config.databases.prefixes),
    },
    Setting {
        path: "databases.backup", kind: Kind::Schedule, default: Some("0 * * * *"), aliases: &[],
        doc: "When the newest version of each database gets a mark that keeps it, if it has changed. Marks of the last 24 hours stay, then the last of each of seven days and four weeks.",
        set: |config, raw| raw.read_into(&mut config.databases.backup),
    },
    Setting {
        path: "databases.verify", kind: Kind::Schedule, default: Some("17 3 * * *"), aliases: &[],
        doc: "When each database is read in full and restored for trial, in the data directory; those that are whole and that nobody holds are then rid of versions that are not kept. It moves all bytes of all databases once.",
        set: |config, raw| raw.read_into(&mut config.databases.verify),
    },
];
