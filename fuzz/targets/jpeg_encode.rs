//! Fuzz target `jpeg_encode`; what it does is in `larder_image::fuzzing`, so that tests can replay it.
#![no_main]

libfuzzer_sys::fuzz_target!(init: larder_fuzz::keep_caught_panics_quiet(), |bytes: &[u8]| {
    larder_image::fuzzing::run("jpeg_encode", bytes);
});
