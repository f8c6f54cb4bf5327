//! Answers over HTTP/2 that their peer does not take.
//!
//! A peer of HTTP/2 that opens no window holds an answer without any write waiting for it, and
//! can answer pings meanwhile. Such an answer is given up: its stream is reset, the connection and its
//! other streams stay.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::rt::Executor;
use tokio::time::{Instant, sleep};

tokio::task_local! {
    /// Of the stream that this task serves; connections of HTTP/1 have none.
    static STREAM: Arc<Stream>;
}

/// Serves each stream in a task of its own, which ends when the peer took nothing of its answer for
/// too long.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    stalled_max: Duration,
}

impl Streams {
    pub(super) fn new(stalled_max: Duration) -> Self {
        Self { stalled_max }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, serving: F) {
        let (stream, stalled_max) = (Arc::new(Stream::default()), self.stalled_max);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = STREAM.scope(Arc::clone(&stream), serving) => {}
                () = stream.stalled(stalled_max) => {
                    tracing::debug!("a stream was reset: its peer takes nothing of the answer");
                }
            }
        });
    }
}

/// Since when the answer of a stream waits for its peer.
#[derive(Debug, Default)]
struct Stream(Mutex<Option<Instant>>);

impl Stream {
    /// Ready when the peer took nothing for `longest`, or a little later.
    async fn stalled(&self, longest: Duration) {
        loop {
            let waits_since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match waits_since.map(|since| since.elapsed()) {
                Some(waited) if waited >= longest => return,
                Some(waited) => sleep(longest - waited).await,
                None => sleep(longest).await,
            }
        }
    }
}

/// Notes that bytes of this task's answer are there for the peer to take.
pub(super) fn offered() {
    note(Some(Instant::now()));
}

/// Notes that the peer has room, or that nothing is there to be taken.
pub(super) fn asked() {
    note(None);
}

fn note(waits_since: Option<Instant>) {
    // Outside of a stream's task there is nobody to tell.
    let _ = STREAM.try_with(|stream| *stream.0.lock().unwrap_or_else(PoisonError::into_inner) = waits_since);
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// Whether an answer that does `work` is given up.
    async fn is_given_up(work: impl Future<Output = ()> + Send + 'static) -> bool {
        let (done, ended) = oneshot::channel();
        Streams::new(Duration::from_secs(60)).execute(async move {
            work.await;
            let _ = done.send(());
        });
        ended.await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_answer_that_waits_for_its_peer_is_given_up() {
        assert!(!is_given_up(sleep(Duration::from_secs(600))).await, "a handler may take its time");
        assert!(
            is_given_up(async {
                offered();
                sleep(Duration::from_secs(600)).await;
            })
            .await
        );
        assert!(
            !is_given_up(async {
                for _ in 0..20 {
                    offered();
                    sleep(Duration::from_secs(50)).await;
                }
            })
            .await,
            "a slow peer is waited for"
        );
        assert!(
            !is_given_up(async {
                offered();
                asked();
                sleep(Duration::from_secs(600)).await;
            })
            .await,
            "a body without news is not the peer's fault"
        );
    }
}
