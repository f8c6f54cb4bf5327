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
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Once};
use std::thread;

use crate::guard::guarded;
use crate::{Deadline, Error, Format};

/// Threads that may be lost. Each keeps what is left of one decode, its context and its planes.
const LOST_MAX: usize = 16;

/// Stack of a decoding thread: enough for the decoder's frames, of which the deepest have tables of
/// some hundred KiB.
const STACK_BYTES: usize = 8 << 20;

/// Threads that may still work for callers who have gone. Nobody has memory reserved for them.
const ABANDONED_MAX: usize = 2;

static ABANDONED: AtomicUsize = AtomicUsize::new(0);
static LOST: AtomicUsize = AtomicUsize::new(0);
static HOOK: Once = Once::new();

/// What a decoding thread has for the case that it panics.
struct Report {
    /// Tells the caller that the thread is lost; dropped when it is not.
    lost: Sender<String>,
    /// The message of the panic that is unwinding.
    message: String,
    stay: Arc<Stay>,
}

/// Whether somebody waits for a thread, and whether it still works.
#[derive(Default)]
struct Stay(AtomicU8);

const WAITED_FOR: u8 = 0;
const LEFT: u8 = 1;
const ENDED: u8 = 2;

impl Stay {
    /// The caller goes.
    fn leave(&self) {
        ABANDONED.fetch_add(1, Ordering::SeqCst);
        if self.0.compare_exchange(WAITED_FOR, LEFT, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            ABANDONED.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// The thread has done its work.
    fn end(&self) {
        if self.0.swap(ENDED, Ordering::SeqCst) == LEFT {
            ABANDONED.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

thread_local! {
    static REPORT: RefCell<Option<Report>> = const { RefCell::new(None) };
}

/// Runs `work` in a cell and waits for it until the deadline. Work that goes on longer is abandoned
/// and ends by itself; while [`ABANDONED_MAX`] do, no more is begun.
pub(super) fn run<T: Send + 'static>(
    deadline: Deadline,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if LOST.load(Ordering::Relaxed) >= LOST_MAX {
        return Err(Error::unsupported("AVIF, after the decoder failed too often, until the next start,"));
    }
    if ABANDONED.load(Ordering::SeqCst) >= ABANDONED_MAX {
        return Err(Error::TimedOut);
    }
    HOOK.call_once(install);
    let stay = Arc::<Stay>::default();
    let theirs = stay.clone();
    let (lost, reports) = mpsc::channel();
    let (done, results) = mpsc::channel();
    let body = move || {
        REPORT.set(Some(Report { lost, message: String::new(), stay: theirs.clone() }));
        let result = guarded(Format::Avif, work);
        theirs.end();
        // The result first: the caller looks for it when the report's sender is gone.
        let _ = done.send(result);
        REPORT.set(None);
    };
    let spawned = thread::Builder::new().name("avif".into()).stack_size(STACK_BYTES).spawn(body);
    spawned.map_err(|error| Error::internal(format!("no thread for the AV1 decoder: {error}")))?;
    match reports.recv_timeout(deadline.remaining()) {
        Ok(message) => Err(Error::Panicked { format: Format::Avif, message }),
        Err(RecvTimeoutError::Timeout) => {
            stay.leave();
            Err(Error::TimedOut)
        }
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
        self.stay.end();
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
    fn work_beyond_the_deadline_is_abandoned_and_bounded() {
        let soon = || Deadline::after(Duration::from_millis(20));
        let (go_on, waits) = mpsc::channel::<()>();
        let waits = Arc::new(std::sync::Mutex::new(waits));
        for _ in 0..ABANDONED_MAX {
            let waits = waits.clone();
            let result = run(soon(), move || waits.lock().unwrap().recv().map_err(|_| Error::TimedOut));
            assert_eq!(result, Err(Error::TimedOut));
        }
        let later = || Deadline::after(Duration::from_secs(60));
        assert_eq!(run(later(), || Ok(7)), Err(Error::TimedOut), "two are still at work");
        drop(go_on);
        while ABANDONED.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(run(later(), || Ok(7)), Ok(7));
    }
}
