//! Fuzz target `db_note`; what it does is in `larder_dbsync::fuzzing`, so that tests can replay it.
#![no_main]

libfuzzer_sys::fuzz_target!(init: larder_fuzz::keep_caught_panics_quiet(), |bytes: &[u8]| {
    larder_dbsync::fuzzing::run("db_note", bytes);
});
