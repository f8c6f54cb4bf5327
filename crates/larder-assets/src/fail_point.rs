//! Places at which a test can end the process as if the power had failed.
//!
//! With the feature `fail-points`, the process kills itself with SIGKILL when it reaches the point
//! that `LARDER_FAIL_POINT` names. Without the feature nothing of this is in the binary.

/// Every fail point of a server, in the order in which an upload meets them, then a deletion. Tests go
/// through this list.
pub const ALL: &[&str] = &[
    "intake.staged",
    "intake.accepted",
    "decode.begun",
    "ingest.decoded",
    "commit.intent",
    "commit.moved",
    "commit.recorded",
    "variants.rendered",
    "variants.staged",
    "variants.moved",
    "variants.recorded",
    "delete.trashed",
    "delete.recorded",
];

/// Those of a move to another store, and of the removal of what it left. Tests go through this list.
pub const OF_MIGRATION: &[&str] = &["migrate.noted", "migrate.copied", "migrate.switched", "cleanup.removed"];

/// Those of a direct upload, before what it has in common with others. Tests go through this list.
pub const OF_DIRECT: &[&str] = &["direct.moved"];

/// Marks that execution has come to the place `name`.
#[cfg(feature = "fail-points")]
pub fn reached(name: &str) {
    debug_assert!(
        [ALL, OF_MIGRATION, OF_DIRECT].iter().any(|list| list.contains(&name)),
        "{name} is missing in the lists of fail points"
    );
    if std::env::var("LARDER_FAIL_POINT").is_ok_and(|wanted| wanted == name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Marks that execution has come to the place `name`; does nothing in this build.
#[cfg(not(feature = "fail-points"))]
#[inline]
pub fn reached(_name: &str) {}
