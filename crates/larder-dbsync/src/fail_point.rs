//! Places at which a test can end the process as if the power had failed.
//!
//! With the feature `fail-points`, the process kills itself with SIGKILL when it reaches the point
//! that `LARDER_FAIL_POINT` names. Without the feature nothing of this is in the binary.

/// Every fail point, in the order in which a push meets them, then a pull, then a collection. Tests go through this
/// list.
pub const ALL: &[&str] = &[
    "db.snapshot",
    "db.pack",
    "db.packed",
    "db.entry",
    "db.committed",
    "db.map",
    "db.mapped",
    "db.headed",
    "db.noted",
    "db.fetched",
    "db.applying",
    "db.applied",
    "db.renaming",
    "db.renamed",
];

/// Those of a collection. Tests go through this list.
pub const OF_COLLECTION: &[&str] = &["db.rewritten", "db.kept", "db.floored", "db.collected"];

/// Marks that execution has come to the place `name`.
#[cfg(feature = "fail-points")]
pub fn reached(name: &str) {
    debug_assert!(
        ALL.contains(&name) || OF_COLLECTION.contains(&name),
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
