//! What a request leaves behind: one line in the log, and figures at `/metrics`.

use std::{sync::OnceLock, time::Duration};

use http::{Response, request::Parts};
use http_body::Body;
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::sleep;

use crate::{app::Context, body::ResponseBody, delivery::Door};

const REQUESTS: &str = "larder_http_requests_total";
const DURATION: &str = "larder_http_request_duration_seconds";

/// Upper bounds in seconds: a hot variant takes tens of microseconds, a large synchronous PUT seconds.
const BUCKETS: &[f64] =
    &[0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// How often samples of histograms are folded into their buckets, so that they take no memory while
/// nobody asks for `/metrics`.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

static PROMETHEUS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// The route that an answer belongs to, as its pattern in the table; in the answer's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RouteName(pub(crate) &'static str);

/// Installs the recorder of this process, once. Where an embedding program installed another one, its
/// figures go there and `/metrics` says so.
pub(crate) fn install() {
    PROMETHEUS.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS)
            .ok()?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok()?;
        describe_counter!(REQUESTS, "Requests answered, by route, method and status");
        describe_histogram!(DURATION, "Seconds from a request's head to its answer's head, by route");
        Some(handle)
    });
}

/// The figures in the text format of Prometheus; `None` where another recorder has them.
pub(crate) fn render() -> Option<String> {
    PROMETHEUS.get()?.as_ref().map(PrometheusHandle::render)
}

/// Keeps the memory of histograms bounded; never ends.
pub(crate) async fn upkeep() {
    loop {
        sleep(UPKEEP_EVERY).await;
        if let Some(Some(handle)) = PROMETHEUS.get() {
            handle.run_upkeep();
        }
    }
}

/// Counts and logs an answer whose head is ready.
pub(crate) fn answered(context: &Context, parts: &Parts, response: &Response<ResponseBody>, took: Duration) {
    let status = response.status();
    let door = Door::of(parts.uri.path());
    let route = match door {
        Some(door) => door.route(),
        None => response.extensions().get().map_or("none", |route: &RouteName| route.0),
    };
    match door {
        Some(door) if status.is_success() || status.is_redirection() => {
            meter(door).record(route, parts.method.as_str(), status.as_u16(), took);
        }
        _ => {
            count(route, known_method(parts.method.as_str()), status.as_u16()).increment(1);
            histogram!(DURATION, "route" => route).record(took);
        }
    }
    let sent = response.body().size_hint().exact().unwrap_or_default();
    let app = &context.app;
    app.figures().count(app.larder(), parts.uri.path(), status.as_u16(), sent, took);
    let (method, path) = (&parts.method, loggable(door, parts.uri.path()));
    let (status, request_id) = (status.as_u16(), context.request_id.as_str());
    let (peer, took_us) = (context.peer.address, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    if door.is_some() && status < 400 {
        tracing::debug!(target: "larder::access", request_id, %method, path, status, took_us, %peer, "answered");
    } else {
        tracing::info!(target: "larder::access", request_id, %method, path, status, took_us, %peer, "answered");
    }
}

/// The path without query and signature: a signed URL is as good as a key while it lasts.
fn loggable(door: Option<Door>, path: &str) -> &str {
    match door {
        Some(Door::Picture) => {
            path.get(3..).and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or("/i")
        }
        _ => path,
    }
}

fn count(route: &'static str, method: &'static str, status: u16) -> Counter {
    counter!(REQUESTS, "route" => route, "method" => method, "status" => status.to_string())
}

/// Methods become labels, so strangers must not choose them.
fn known_method(method: &str) -> &'static str {
    const KNOWN: &[&str] = &["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.iter().find(|known| **known == method).copied().unwrap_or("other")
}

/// Statuses of successful delivery, in the order of [`Meter::answers`].
const DELIVERED: [u16; 3] = [200, 206, 304];

/// The figures of one door, looked up once: most requests go through here.
#[derive(Default)]
struct Meter {
    duration: OnceLock<Histogram>,
    /// For GET, then HEAD, by [`DELIVERED`].
    answers: [[OnceLock<Counter>; DELIVERED.len()]; 2],
}

impl Meter {
    fn record(&self, route: &'static str, method: &str, status: u16, took: Duration) {
        let method_at = usize::from(method == "HEAD");
        match DELIVERED.iter().position(|known| *known == status) {
            Some(at) => {
                let slot = &self.answers[method_at][at];
                slot.get_or_init(|| count(route, known_method(method), status)).increment(1);
            }
            None => count(route, known_method(method), status).increment(1),
        }
        self.duration.get_or_init(|| histogram!(DURATION, "route" => route)).record(took);
    }
}

fn meter(door: Door) -> &'static Meter {
    static ORIGINALS: OnceLock<Meter> = OnceLock::new();
    static PICTURES: OnceLock<Meter> = OnceLock::new();
    let slot = match door {
        Door::Original => &ORIGINALS,
        Door::Picture => &PICTURES,
    };
    slot.get_or_init(Meter::default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_stay_out_of_the_log() {
        let path = "/i/larder.c2VjcmV0/p:keep-small/media/a.jpg.webp";
        assert_eq!(loggable(Some(Door::Picture), path), "/p:keep-small/media/a.jpg.webp");
        assert_eq!(loggable(Some(Door::Picture), "/i/c2VjcmV0"), "/i");
        assert_eq!(loggable(None, "/api/v1/keys"), "/api/v1/keys");
    }

    #[test]
    fn methods_that_strangers_invent_share_one_label() {
        assert_eq!(known_method("GET"), "GET");
        assert_eq!(known_method("BREW"), "other");
    }
}
