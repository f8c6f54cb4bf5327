//! The async runtime: as small as the machine.

use crate::failure::Failure;

/// Threads for blocking calls (file I/O). The default of 512 would let a burst of uploads take as
/// many stacks and allocator arenas; the disk is saturated long before.
const BLOCKING_THREADS_MAX: usize = 32;

/// Runs `work` to its end on a runtime with one thread a processor.
///
/// # Errors
/// Those of `work`, or the runtime can't be set up.
pub fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from))
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::configuration(
                format!("no thread can be started: {error}"),
                "raise the limit of processes",
            )
        })?;
    let outcome = runtime.block_on(work);
    // What still blocks in the background must not keep the process.
    runtime.shutdown_background();
    outcome
}
