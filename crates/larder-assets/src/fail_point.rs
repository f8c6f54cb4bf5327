//! Places at which a test can end the process as if the power had failed.
//!
//! With the feature `fail-points`, the process kills itself with SIGKILL when it reaches the point
//! that `LARDER_FAIL_POINT` names. Without the feature nothing of this is in the binary.

/// Every fail point, in the order in which an upload meets them. Tests go through this list.
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

/// Marks that execution has come to the place `name`.
#[cfg(feature = "fail-points")]
pub fn reached(name: &str) {
    debug_assert!(ALL.contains(&name), "{name} is missing in the list of fail points");
    if std::env::var("LARDER_FAIL_POINT").is_ok_and(|wanted| wanted == name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Marks that execution has come to the place `name`; does nothing in this build.
#[cfg(not(feature = "fail-points"))]
#[inline]
pub fn reached(_name: &str) {}
