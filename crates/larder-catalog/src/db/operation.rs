//! A caller's transaction, on its way to a writer and back.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::sync::oneshot;

use crate::{
    error::{Error, Result},
    tx::Tx,
};

/// Longest time of one transaction's own code. It holds the writer, and nothing but database work
/// belongs in it; 30 s is far above the slowest sweep and far below giving up on the process.
pub(crate) const OPERATION_TIME_MAX: Duration = Duration::from_secs(30);

/// A transaction whose result type is hidden, so that a writer can hold many.
pub(crate) trait Operation: Send {
    /// Runs the caller's code. The result is kept until [`Self::settle`].
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<()>>;

    /// Answers the caller: with the kept result, or with what went wrong.
    fn settle(self: Box<Self>, outcome: Result<()>);
}

/// An operation with its type.
pub(crate) struct Work<F, T> {
    code: Option<F>,
    value: Option<T>,
    answer: oneshot::Sender<Result<T>>,
}

impl<F, T> Work<F, T> {
    /// The operation, and where its answer arrives.
    pub(crate) fn new(code: F) -> (Self, oneshot::Receiver<Result<T>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { code: Some(code), value: None, answer }, receiver)
    }
}

impl<F, T> Operation for Work<F, T>
where
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send,
    T: Send,
{
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Some(code) = self.code.take() else {
                return Err(Error::internal("a transaction was run twice"));
            };
            // One caller's panic must not take the writer, or the others of its group, down.
            let whole = async {
                let value = code(&mut *tx).await?;
                tx.write_counts().await?;
                Ok::<_, Error>(value)
            };
            let guarded = AssertUnwindSafe(whole).catch_unwind();
            let outcome = match tokio::time::timeout(OPERATION_TIME_MAX, guarded).await {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => Err(Error::internal(panic_text(&*panic))),
                Err(_) => Err(Error::unavailable(format!(
                    "a transaction took longer than {} s",
                    OPERATION_TIME_MAX.as_secs()
                ))),
            };
            let failed = tx.take_failed();
            let value = outcome?;
            if failed {
                return Err(Error::internal("a transaction went on after one of its statements had failed"));
            }
            self.value = Some(value);
            Ok(())
        })
    }

    fn settle(self: Box<Self>, outcome: Result<()>) {
        let missing = || Err(Error::internal("a transaction ended without a result"));
        let result = match outcome {
            Ok(()) => self.value.map_or_else(missing, Ok),
            Err(error) => Err(error),
        };
        // A caller that went away does not care; its transaction stands or falls all the same.
        let _ = self.answer.send(result);
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    format!("a transaction's code panicked: {text}")
}
