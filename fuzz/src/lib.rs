//! What every fuzz target does first.

/// Undoes the fuzzer's own panic hook, which ends the process at once. Panics of codecs are caught by
/// the code under test and refuse the file; the fuzzer still ends at a panic that reaches it.
pub fn keep_caught_panics_quiet() {
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
}
