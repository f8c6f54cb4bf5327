//! A place in which a decoder may panic that cannot unwind.
//!
//! The AV1 decoder is Rust, but its only door is functions with the C calling convention, through
//! which a panic does not unwind: it would end the process. So each decode runs on a thread of its
//! own. A panic unwinds as far as that door, freeing what lies behind it; there the runtime calls the
//! panic hook a last time before it would abort, and the hook reports to the waiting caller and keeps
//! the thread for ever. What the decoder still held stays lost; after [`LOST_MAX`] such threads the
//! format is refused until the next start.
//!
//! A lost thread also keeps the hook in use: programs that change the panic hook do so before the
//! first picture.

use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;

use crate::guard::guarded;
use crate::{Deadline, Error, Format};

/// Threads that may be lost. Each keeps what is left of one decode, its context and its planes.
const LOST_MAX: usize = 16;

/// Stack of a decoding thread: enough for the decoder's frames, of which the deepest have tables of
/// some hundred KiB.
const STACK_BYTES: usize = 8 << 20;

static LOST: AtomicUsize = AtomicUsize::new(0);
static HOOK: Once = Once::new();

/// What a decoding thread has for the case that it panics.
struct Report {
    /// Tells the caller that the thread is lost; dropped when it is not.
    lost: Sender<String>,
    /// The message of the panic that is unwinding.
    message: String,
}

thread_local! {
    static REPORT: RefCell<Option<Report>> = const { RefCell::new(None) };
}

/// Runs `work` in a cell and waits for it until the deadline. Work that goes on longer is abandoned
/// and ends by itself.
pub(super) fn run<T: Send + 'static>(
    deadline: Deadline,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if LOST.load(Ordering::Relaxed) >= LOST_MAX {
        return Err(Error::unsupported("AVIF, after the decoder failed too often, until the next start,"));
    }
    HOOK.call_once(install);
    let (lost, reports) = mpsc::channel();
    let (done, results) = mpsc::channel();
    let body = move || {
        REPORT.set(Some(Report { lost, message: String::new() }));
        let result = guarded(Format::Avif, work);
        // The result first: the caller looks for it when the report's sender is gone.
        let _ = done.send(result);
        REPORT.set(None);
    };
    let spawned = thread::Builder::new().name("avif".into()).stack_size(STACK_BYTES).spawn(body);
    spawned.map_err(|error| Error::internal(format!("no thread for the AV1 decoder: {error}")))?;
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
        let in_a_cell = REPORT.try_with(|report| match report.try_borrow_mut() {
            Ok(mut report) => report.as_mut().is_some_and(|report| report.note(info)),
            Err(_) => false,
        });
        if !in_a_cell.unwrap_or(false) {
            previous(info);
        }
    }));
}

impl Report {
    /// Notes a panic that unwinds; does not return from one that cannot.
    fn note(&mut self, info: &PanicHookInfo<'_>) -> bool {
        let text = info.payload_as_str().unwrap_or_default();
        if !text.contains("cannot unwind") && !text.contains("during cleanup") {
            self.message = info.to_string();
            return true;
        }
        LOST.fetch_add(1, Ordering::Relaxed);
        let _ = self.lost.send(std::mem::take(&mut self.message));
        loop {
            thread::park();
        }
    }
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
        let goes_on = run(deadline, || Ok(7)) == Ok(7) && LOST.load(Ordering::Relaxed) == 1;
        std::process::exit(if told && goes_on { PASSED } else { 1 });
    }

    #[test]
    fn a_panic_that_unwinds_loses_nothing() {
        let deadline = Deadline::after(Duration::from_secs(60));
        let result = run::<()>(deadline, || panic!("shallow"));
        assert_eq!(result, Err(Error::Panicked { format: Format::Avif, message: "shallow".into() }));
        assert_eq!(LOST.load(Ordering::Relaxed), 0);
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
