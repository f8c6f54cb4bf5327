//! One connection from its first byte to its end.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use larder_store::BoxError;
use tokio::{net::TcpStream, time::sleep};

use super::{
    ServerLimits,
    idle_body::IdleBody,
    io::GuardedIo,
    taken::{self, Streams},
};
use crate::{
    app::{App, Peer},
    body::{RequestBody, ResponseBody},
};

/// Bytes that the head of a request may have: room for long signed URLs, cookies of other
/// applications on the same host, and no more.
const HEAD_BYTES_MAX: usize = 64 * 1_024;

/// Requests at the same time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// Serves one connection until it ends, is cut, or the app stops.
pub(super) async fn serve(stream: TcpStream, address: SocketAddr, app: App, limits: Arc<ServerLimits>) {
    // Answers are written whole; waiting for more to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::new());
    let io = TokioIo::new(GuardedIo::new(stream, limits.answer_stalled_max));
    let peer = Peer { address };
    let service = {
        let (app, activity, limits) = (app.clone(), Arc::clone(&activity), Arc::clone(&limits));
        service_fn(move |request: Request<Incoming>| {
            let in_flight = InFlight::begin(&activity);
            let (app, body_idle_max) = (app.clone(), limits.body_idle_max);
            async move {
                let request = request.map(|body| request_body(body, body_idle_max));
                let response: Response<ResponseBody> = app.answer(request, peer).await;
                taken::offered();
                Ok::<_, Infallible>(response.map(|body| CountedBody { body, _in_flight: in_flight }))
            }
        })
    };
    let builder = builder(&limits);
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let mut cut = std::pin::pin!(idle(&activity, limits.headers_within));
    let mut asked_to_end = false;
    let stopping = app.stopping().clone();
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%address, %error, "connection ended");
                }
                return;
            }
            () = &mut cut => {
                tracing::debug!(%address, "connection cut: no request came in time");
                return;
            }
            () = stopping.cancelled(), if !asked_to_end => {
                asked_to_end = true;
                connection.as_mut().graceful_shutdown();
            }
            () = app.cut().cancelled() => return,
        }
    }
}

fn builder(limits: &ServerLimits) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams::new(limits.answer_stalled_max));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers_within)
        .max_buf_size(HEAD_BYTES_MAX * 2)
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(limits.headers_within)
        .keep_alive_timeout(limits.headers_within);
    builder
}

fn request_body(body: Incoming, idle_max: Duration) -> RequestBody {
    match body.is_end_stream() {
        true => RequestBody::empty(),
        false => RequestBody::new(IdleBody::new(body, idle_max)),
    }
}

/// Ready when no request was in flight for `longest`.
async fn idle(activity: &Activity, longest: Duration) {
    loop {
        let quiet = activity.quiet_for();
        if activity.is_idle() && quiet >= longest {
            return;
        }
        sleep(if activity.is_idle() { longest - quiet } else { longest }).await;
    }
}

/// How busy a connection is.
struct Activity {
    began: Instant,
    in_flight: AtomicUsize,
    /// Milliseconds after `began` at which the last request ended.
    ended_at_ms: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self { began: Instant::now(), in_flight: AtomicUsize::new(0), ended_at_ms: AtomicU64::new(0) }
    }

    fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }

    fn quiet_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.ended_at_ms.load(Ordering::Acquire)))
    }
}

/// A request from its head to the last byte of its answer.
struct InFlight(Arc<Activity>);

impl InFlight {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.ended_at_ms.store(now, Ordering::Release);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body that counts as in flight until it is written or given up.
struct CountedBody {
    body: ResponseBody,
    _in_flight: InFlight,
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        taken::asked();
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            taken::offered();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
