//! Server-sent events (HTML standard, section 9.2): uploads and jobs as they change.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{HeaderName, HeaderValue, Response, header};
use larder_assets::{Action, JobView, UploadView};
use larder_core::{JobId, UploadId};
use serde_json::Value;
use tokio::time::{Instant, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use super::{Access, Route, answers, jobs::is_ended, present, sends, uploads::readable};
use crate::{
    body::ResponseBody,
    call::{Call, Outcome, no_content},
    schema,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        tag: "uploads",
        access: Access::Scoped(Action::Read),
        summary: "Watch an upload",
        detail: "Server-sent events named `upload`, each with the same object as `GET /api/v1/uploads/{id}`: first \
                 the present state, then every change. The stream ends when the upload is finished; who connects again \
                 with the id of the last event is told to stop.",
        replies: &[
            sends(200, "the events", "text/event-stream", schema::text),
            answers(204, "nothing more will come"),
        ],
        ..Route::new("GET", "/api/v1/uploads/{id}/events", "upload_watch", |call| {
            Box::pin(watch_upload(call))
        })
    },
    Route {
        tag: "jobs",
        access: Access::Scoped(Action::Admin),
        summary: "Watch a job",
        detail: "Server-sent events named `job`, until the job has ended.",
        replies: &[
            sends(200, "the events", "text/event-stream", schema::text),
            answers(204, "nothing more will come"),
        ],
        ..Route::new("GET", "/api/v1/jobs/{id}/events", "job_watch", |call| Box::pin(watch_job(call)))
    },
];

/// How often a quiet stream says that it is alive: below the idle time-outs of common proxies (60 s).
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// How often a job is looked at for its watchers.
const JOB_POLL_EVERY: Duration = Duration::from_millis(500);

/// What a browser waits before it connects again.
const RETRY: &str = "retry: 2000\n\n";

async fn watch_upload(call: Call) -> Outcome {
    let id: UploadId = call.id()?;
    let upload = readable(&call, id).await?;
    if upload.is_finished() && has_seen(&call, &upload_state(&upload)) {
        return no_content();
    }
    let states = call
        .larder()
        .watch_upload(id)
        .await?
        .map(|upload| event("upload", &upload_state(&upload), &present::upload(&upload)));
    Ok(respond(states, call.context.app.stopping().clone()))
}

async fn watch_job(call: Call) -> Outcome {
    let id: JobId = call.id()?;
    let first = call.larder().job(id).await?;
    if is_ended(&first) && has_seen(&call, &job_state(&first)) {
        return no_content();
    }
    let larder = call.larder().clone();
    let states = stream::unfold(Some((first, false)), move |state| {
        let larder = larder.clone();
        async move {
            let (shown, is_repeat) = state?;
            if !is_repeat {
                let text = event("job", &job_state(&shown), &present::job(&shown));
                let ended = is_ended(&shown);
                return Some((text, (!ended).then_some((shown, true))));
            }
            loop {
                sleep(JOB_POLL_EVERY).await;
                // A job that was forgotten, or a catalogue that does not answer, ends the stream; the
                // browser connects again and learns why.
                let now = larder.job(id).await.ok()?;
                if now != shown {
                    let ended = is_ended(&now);
                    return Some((
                        event("job", &job_state(&now), &present::job(&now)),
                        (!ended).then_some((now, true)),
                    ));
                }
            }
        }
    });
    Ok(respond(states, call.context.app.stopping().clone()))
}

/// Whether a browser that connects again has the last event: 204 tells it to stop (HTML standard,
/// section 9.2.3).
fn has_seen(call: &Call, state: &str) -> bool {
    call.headers().get("last-event-id").is_some_and(|seen| seen.as_bytes() == state.as_bytes())
}

/// Names a state of an upload as the id of its event. The URLs in it differ each time they are made.
fn upload_state(upload: &UploadView) -> String {
    format!("{}-{}", upload.status, upload.updated_at.as_millis())
}

/// Names a state of a job as the id of its event.
fn job_state(job: &JobView) -> String {
    let ended = job.finished_at.map_or(0, larder_core::Timestamp::as_millis);
    format!("{}-{}-{ended}", job.state, job.attempts)
}

/// One event. JSON holds no line breaks, so that its data is one line.
fn event(name: &str, id: &str, data: &Value) -> Bytes {
    Bytes::from(format!("id: {id}\nevent: {name}\ndata: {data}\n\n"))
}

fn respond(
    events: impl Stream<Item = Bytes> + Send + 'static,
    stopping: CancellationToken,
) -> Response<ResponseBody> {
    let bytes = kept_alive(events).take_until(stopping.cancelled_owned()).map(Ok);
    let mut response = Response::new(ResponseBody::endless(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would hold events back until a buffer is full.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// The events with comments between them where nothing happens.
fn kept_alive(events: impl Stream<Item = Bytes> + Send + 'static) -> impl Stream<Item = Bytes> + Send {
    let ticks = interval_at(Instant::now() + KEEP_ALIVE_EVERY, KEEP_ALIVE_EVERY);
    let first = stream::iter([Bytes::from_static(RETRY.as_bytes())]);
    first.chain(stream::unfold((events.boxed(), ticks), |(mut events, mut ticks)| async move {
        let next = tokio::select! {
            biased;
            event = events.next() => event?,
            _ = ticks.tick() => Bytes::from_static(b": alive\n\n"),
        };
        Some((next, (events, ticks)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_says_that_it_is_alive_and_ends_with_its_events() {
        let slow = stream::once(async {
            sleep(Duration::from_secs(40)).await;
            event("upload", "done-1", &serde_json::json!({ "a": "x\ny" }))
        });
        let all: Vec<Bytes> = kept_alive(slow).collect().await;
        let all: Vec<&str> = all.iter().map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
        assert_eq!(
            all,
            [RETRY, ": alive\n\n", ": alive\n\n", "id: done-1\nevent: upload\ndata: {\"a\":\"x\\ny\"}\n\n"]
        );
    }
}
