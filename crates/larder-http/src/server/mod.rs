//! The accept loop: HTTP/1.1 and HTTP/2 without TLS on one port, and the limits that keep slow or
//! dead peers from holding the server's connections.
//!
//! A connection without a request in flight is cut after [`ServerLimits::headers_within`], whatever
//! the peer did or did not send; a request whose body stalls is answered 408; an answer that nobody
//! reads is given up. So every connection ends.

mod connection;
mod idle_body;
mod io;
mod taken;

use std::{future::Future, sync::Arc, time::Duration};

use larder_core::limits::{BODY_IDLE_MAX, HEADERS_WITHIN, JSON_BYTES_MAX};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::app::App;

/// What a peer may take of the server.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Connections at the same time; further ones wait in the listener's queue. 4,096 keeps well
    /// below the usual limit of open files together with the files being served.
    pub connections_max: usize,
    /// Time within which the head of a request must have come, counted from the connection's
    /// beginning or the end of the previous answer.
    pub headers_within: Duration,
    /// Time within which the next bytes of a request's body must come.
    pub body_idle_max: Duration,
    /// Time within which a peer must take some bytes of an answer: any over HTTP/1.1, a chunk over
    /// HTTP/2.
    pub answer_stalled_max: Duration,
    /// Bytes of a JSON body.
    pub json_bytes_max: usize,
    /// Time that running requests get when the server stops.
    pub grace: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            headers_within: HEADERS_WITHIN,
            body_idle_max: BODY_IDLE_MAX,
            answer_stalled_max: Duration::from_secs(60),
            json_bytes_max: JSON_BYTES_MAX,
            grace: Duration::from_secs(20),
        }
    }
}

/// Answers connections of `listener` until `shutdown` is ready, then lets running requests end
/// within the grace time of the app's [`ServerLimits`]. Watchers of events are sent away at once. Dropped before, it cuts
/// all connections.
pub async fn serve(listener: TcpListener, app: App, shutdown: impl Future<Output = ()> + Send) {
    let limits = Arc::new(app.options().limits.clone());
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let connections = TaskTracker::new();
    let upkeep = AbortOnDropHandle::new(tokio::spawn(crate::observe::upkeep()));
    let counting = AbortOnDropHandle::new(tokio::spawn(crate::figures::keep(app.clone())));
    let cut = app.cut_on_drop();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            // The semaphore is never closed; without a slot there is nothing to accept.
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (slot, listener.accept().await)
        };
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            (slot, accepted) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let serving = connection::serve(stream, peer, app.clone(), Arc::clone(&limits));
                    connections.spawn(async move {
                        serving.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Out of file descriptors: accepting again at once would spin.
                    sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop((listener, upkeep));
    app.begin_shutdown();
    connections.close();
    if tokio::time::timeout(limits.grace, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut at the end of the grace time");
    }
    drop(cut);
    connections.wait().await;
    drop(counting);
    app.figures().store(app.larder()).await;
}
