//! A place in which a decoder may panic that must not unwind.
//!
//! The AV1 decoder is Rust, but its only door is functions with the C calling convention, through
//! which a panic does not unwind: it would end the process. So each decode runs on a thread of its
//! own. When that thread panics, the panic hook reports it to the waiting caller and then keeps the
//! thread for ever, before any unwinding begins. What the thread held stays lost; after
//! [`LOST_MAX`] such threads the format is refused until the next start. A lost thread also keeps the
//! hook in use: programs that change the panic hook do so before the first picture.

use std::cell::Cell;
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;

use crate::{Deadline, Error, Format};

/// Threads that may be lost. Each keeps the memory of one decode; four are half of a small machine.
const LOST_MAX: usize = 4;

/// Stack of a decoding thread: the decoder's own default for its workers is 1 MiB with C frames.
const STACK_BYTES: usize = 8 << 20;

static LOST: AtomicUsize = AtomicUsize::new(0);
static HOOK: Once = Once::new();

thread_local! {
    /// How a decoding thread tells its caller that it is lost.
    static REPORT: Cell<Option<Sender<String>>> = const { Cell::new(None) };
}

/// Runs `work` in a cell and waits for it until the deadline. Work that goes on longer is abandoned
/// and ends by itself.
pub(super) fn run<T: Send + 'static>(
    deadline: Deadline,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if LOST.load(Ordering::Relaxed) >= LOST_MAX {
        return Err(Error::internal("the AV1 decoder has failed too often; restart to use it again"));
    }
    HOOK.call_once(install);
    let (lost, reports) = mpsc::channel();
    let (done, results) = mpsc::channel();
    let body = move || {
        REPORT.set(Some(lost));
        let result = work();
        // Dropped here, so that the caller learns of the end before the thread has ended.
        REPORT.take();
        let _ = done.send(result);
    };
    let spawned = thread::Builder::new().name("avif".into()).stack_size(STACK_BYTES).spawn(body);
    spawned.map_err(|error| Error::internal(format!("no thread for the AV1 decoder: {error}")))?;
    // The sender of reports is dropped when the work is done: one channel tells of both ends.
    match reports.recv_timeout(deadline.remaining()) {
        Ok(message) => Err(Error::Panicked { format: Format::Avif, message }),
        Err(RecvTimeoutError::Timeout) => Err(Error::TimedOut),
        Err(RecvTimeoutError::Disconnected) => {
            results.recv().unwrap_or_else(|_| Err(Error::internal("the AV1 decoder gave no answer")))
        }
    }
}

/// Puts our hook before the one that is there, which keeps seeing every other thread's panics.
fn install() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let Some(report) = REPORT.try_with(Cell::take).ok().flatten() else { return previous(info) };
        LOST.fetch_add(1, Ordering::Relaxed);
        let _ = report.send(info.to_string());
        drop(report);
        loop {
            thread::park();
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    extern "C" fn panics_behind_a_c_function() {
        panic!("deep inside");
    }

    /// The lost thread keeps the panic hook in use, which the test harness wants to change at its end:
    /// the test proper runs in a process of its own, which ends without asking the harness.
    #[test]
    fn a_panic_that_could_not_unwind_is_an_error_for_its_caller_alone() {
        let this = std::env::current_exe().unwrap();
        let name = "formats::avif::cell::tests::in_a_process_of_its_own";
        let status = Command::new(this).args(["--ignored", "--exact", name]).status().unwrap();
        assert_eq!(status.code(), Some(PASSED));
    }

    const PASSED: i32 = 42;

    #[test]
    #[ignore = "run by the test above"]
    fn in_a_process_of_its_own() {
        let deadline = Deadline::after(Duration::from_secs(60));
        let result = run::<()>(deadline, || {
            panics_behind_a_c_function();
            Ok(())
        });
        let told = matches!(result, Err(Error::Panicked { message, .. }) if message.contains("deep inside"));
        let goes_on = run(deadline, || Ok(7)) == Ok(7);
        std::process::exit(if told && goes_on { PASSED } else { 1 });
    }

    #[test]
    fn work_beyond_the_deadline_is_abandoned() {
        let deadline = Deadline::after(Duration::from_millis(20));
        let result = run(deadline, || {
            thread::sleep(Duration::from_millis(500));
            Ok(())
        });
        assert_eq!(result, Err(Error::TimedOut));
    }
}
