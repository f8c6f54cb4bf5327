//! The queue: every job exactly once, whoever dies.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use larder_catalog::{
    Claim, Enqueued, JOB_CRASHES_MAX, JobFilter, JobState, Lease, NewJob, Outcome, Result, Retry,
};
use larder_core::{Code, Fault, JobId};
use serde_json::json;

use crate::engine::{Engine, bucket, for_each_engine};

const LEASE: Duration = Duration::from_secs(30);

for_each_engine! {
    a_job_is_enqueued_with_its_record_or_not_at_all,
    a_claimed_job_is_not_claimed_again,
    jobs_come_by_priority_then_by_time,
    a_delayed_job_waits_for_its_time,
    a_stale_lease_changes_nothing,
    a_job_is_taken_over_after_its_lease_and_a_heartbeat_prevents_that,
    a_dead_worker_is_found_behind_any_number_of_living_ones,
    a_job_whose_workers_vanish_again_and_again_is_dead,
    a_job_that_was_enqueued_again_is_queued_even_if_it_fails_but_not_if_it_crashes,
    a_failed_job_is_retried_until_its_attempts_are_used_up,
    an_unavailable_store_costs_no_attempt,
    a_unique_key_holds_while_queued_or_running,
    a_running_job_that_is_enqueued_again_runs_once_more,
    a_queued_job_is_cancelled_at_once_and_a_running_one_is_asked,
    a_dead_job_is_retried_by_hand,
    progress_shows_in_the_job,
    the_history_tells_each_attempt,
    jobs_list_with_filters_and_pages,
    queues_are_counted_and_a_backlog_is_bounded,
    eight_workers_drain_five_hundred_jobs_exactly_once,
    old_jobs_are_forgotten_with_their_attempts,
}

fn queues() -> Vec<String> {
    vec!["variants".into(), "ingest".into()]
}

async fn enqueue(engine: &Engine, job: NewJob) -> Enqueued {
    engine.write(move |tx| Box::pin(tx.enqueue(job))).await.unwrap()
}

async fn claim(engine: &Engine) -> Option<Claim> {
    engine.catalog.claim("w1", &queues(), LEASE).await.unwrap()
}

async fn finish(engine: &Engine, lease: Lease) -> Result<()> {
    engine.write(move |tx| Box::pin(async move { tx.finish_job(lease).await })).await
}

async fn fail(engine: &Engine, lease: Lease, retry: Retry) -> Result<JobState> {
    let fault = Fault::new(Code::BackendUnavailable, "the store is away");
    engine.write(move |tx| Box::pin(async move { tx.fail_job(lease, &fault, retry).await })).await
}

async fn state(engine: &Engine, id: JobId) -> JobState {
    engine.catalog.job(id).await.unwrap().expect("the job exists").state
}

fn job() -> NewJob {
    NewJob::new("variants", "variants")
}

async fn a_job_is_enqueued_with_its_record_or_not_at_all(engine: Engine) {
    let upload = engine.upload("media");
    let failed: Result<()> = engine
        .write(move |tx| {
            Box::pin(async move {
                tx.enqueue(job().subject(upload.id)).await?;
                tx.insert_upload(&upload).await?;
                tx.insert_upload(&upload).await
            })
        })
        .await;
    assert!(failed.unwrap_err().is_precondition());
    assert_eq!(claim(&engine).await, None);
}

async fn a_claimed_job_is_not_claimed_again(engine: Engine) {
    let new = job().args(&json!({"asset": 7})).unwrap().bucket(bucket("media")).subject("a-1").priority(3);
    let enqueued = enqueue(&engine, new).await;
    assert!(!enqueued.existed);
    let claimed = claim(&engine).await.expect("a job");
    assert_eq!(claimed.job.id, enqueued.id);
    assert_eq!((claimed.job.state, claimed.job.attempts, claimed.lease.number), (JobState::Running, 1, 1));
    assert_eq!((claimed.job.args, claimed.job.subject.as_deref()), (json!({"asset": 7}), Some("a-1")));
    assert_eq!(claim(&engine).await, None);
    let other = engine.other_process().await;
    assert_eq!(other.claim("w2", &queues(), LEASE).await.unwrap(), None);
    assert_eq!(engine.catalog.claim("w2", &["other".into()], LEASE).await.unwrap(), None);
    finish(&engine, claimed.lease).await.unwrap();
    assert_eq!(state(&engine, enqueued.id).await, JobState::Done);
    assert_eq!(claim(&engine).await, None);
}

async fn jobs_come_by_priority_then_by_time(engine: Engine) {
    let mut expected = Vec::new();
    for (priority, delay) in [(0, 1), (5, 2), (0, 0), (-1, 0), (5, 1)] {
        let at = engine.now().plus(Duration::from_secs(delay));
        expected.push((-priority, delay, enqueue(&engine, job().priority(priority).run_at(at)).await.id));
    }
    engine.advance(Duration::from_secs(10));
    expected.sort_unstable();
    let mut order = Vec::new();
    while let Some(claimed) = claim(&engine).await {
        order.push(claimed.job.id);
    }
    assert_eq!(order, expected.into_iter().map(|(_, _, id)| id).collect::<Vec<_>>());
}

async fn a_delayed_job_waits_for_its_time(engine: Engine) {
    let at = engine.now().plus(Duration::from_secs(60));
    enqueue(&engine, job().run_at(at)).await;
    engine.advance(Duration::from_millis(59_999));
    assert_eq!(claim(&engine).await, None);
    engine.advance(Duration::from_millis(1));
    assert!(claim(&engine).await.is_some());
}

async fn a_stale_lease_changes_nothing(engine: Engine) {
    let id = enqueue(&engine, job()).await.id;
    let first = claim(&engine).await.unwrap().lease;
    engine.advance(LEASE);
    assert_eq!(engine.catalog.take_over_expired().await.unwrap().requeued, [id]);
    assert!(finish(&engine, first).await.unwrap_err().is_precondition());
    let second = claim(&engine).await.unwrap().lease;
    assert!(second.number > first.number);
    let before = engine.catalog.job(id).await.unwrap();
    assert!(finish(&engine, first).await.unwrap_err().is_precondition());
    assert!(fail(&engine, first, Retry::Dead).await.unwrap_err().is_precondition());
    let late = engine.write(move |tx| Box::pin(async move { tx.confirm_lease(first).await })).await;
    assert!(late.unwrap_err().is_precondition());
    let until = engine.now().plus(LEASE);
    assert!(engine.catalog.heartbeat(first, until, None, None).await.unwrap_err().is_precondition());
    assert_eq!(engine.catalog.job(id).await.unwrap(), before);
    finish(&engine, second).await.unwrap();
}

async fn a_job_is_taken_over_after_its_lease_and_a_heartbeat_prevents_that(engine: Engine) {
    let id = enqueue(&engine, job()).await.id;
    let lease = claim(&engine).await.unwrap().lease;
    engine.advance(LEASE - Duration::from_millis(1));
    assert!(engine.catalog.take_over_expired().await.unwrap().requeued.is_empty());
    engine.catalog.heartbeat(lease, engine.now().plus(LEASE), None, None).await.unwrap();
    engine.advance(Duration::from_secs(20));
    assert!(engine.catalog.take_over_expired().await.unwrap().requeued.is_empty());
    engine.advance(Duration::from_secs(20));
    let other = engine.other_process().await;
    let (here, there) = tokio::join!(engine.catalog.take_over_expired(), other.take_over_expired());
    let mut taken = here.unwrap().requeued;
    taken.extend(there.unwrap().requeued);
    assert_eq!(taken, [id], "each vanished worker counts once");
    let again = claim(&engine).await.unwrap();
    assert_eq!((again.job.attempts, again.job.crashes, again.lease.number), (1, 1, 2));
}

/// Jobs that take long and live come first in every look, since their leases began earlier.
async fn a_dead_worker_is_found_behind_any_number_of_living_ones(engine: Engine) {
    const LIVING: usize = 230;
    for _ in 0..LIVING {
        enqueue(&engine, job()).await;
        claim(&engine).await.unwrap();
        // Some share the end of their lease, so that pages end between equals.
        if engine.ambient.random_unit() < 0.1 {
            engine.advance(Duration::from_millis(1));
        }
    }
    engine.advance(Duration::from_secs(10));
    let lost = enqueue(&engine, job()).await.id;
    claim(&engine).await.unwrap();
    engine.advance(Duration::from_secs(25));
    let running = JobFilter { state: Some(JobState::Running), limit: 1_000, ..JobFilter::default() };
    for living in engine.catalog.jobs(&running).await.unwrap().items {
        if living.id != lost {
            let lease = Lease { job: living.id, number: living.lease };
            engine.catalog.heartbeat(lease, engine.now().plus(LEASE), None, None).await.unwrap();
        }
    }
    engine.advance(Duration::from_secs(10));
    assert_eq!(engine.catalog.take_over_expired().await.unwrap().requeued, [lost]);
    let dead = |worker: &str| worker == "w1";
    assert_eq!(engine.catalog.take_over_dead(dead).await.unwrap().requeued.len(), LIVING);
}

async fn a_job_whose_workers_vanish_again_and_again_is_dead(engine: Engine) {
    let id = enqueue(&engine, job().max_attempts(10)).await.id;
    for crash in 1..=JOB_CRASHES_MAX {
        claim(&engine).await.expect("a job");
        engine.advance(LEASE);
        let taken = engine.catalog.take_over_expired().await.unwrap();
        let last = crash == JOB_CRASHES_MAX;
        assert_eq!((taken.requeued.len(), taken.dead.len()), if last { (0, 1) } else { (1, 0) });
    }
    let dead = engine.catalog.job(id).await.unwrap().unwrap();
    assert_eq!((dead.state, dead.error.unwrap().code), (JobState::Dead, Code::ProcessingCrashed));
    assert_eq!(claim(&engine).await, None);
}

async fn a_job_that_was_enqueued_again_is_queued_even_if_it_fails_but_not_if_it_crashes(engine: Engine) {
    let id = enqueue(&engine, job().unique_rerun("u")).await.id;
    let lease = claim(&engine).await.unwrap().lease;
    enqueue(&engine, job().unique_rerun("u")).await;
    assert_eq!(fail(&engine, lease, Retry::Dead).await.unwrap(), JobState::Queued);
    for _ in 0..JOB_CRASHES_MAX {
        claim(&engine).await.expect("a job");
        enqueue(&engine, job().unique_rerun("u")).await;
        engine.advance(LEASE);
        engine.catalog.take_over_expired().await.unwrap();
    }
    assert_eq!(state(&engine, id).await, JobState::Dead);
}

async fn a_failed_job_is_retried_until_its_attempts_are_used_up(engine: Engine) {
    let id = enqueue(&engine, job()).await.id;
    for attempt in 1..=3 {
        let claimed = claim(&engine).await.expect("a job");
        assert_eq!(claimed.job.attempts, attempt);
        let at = engine.now().plus(Duration::from_secs(4));
        let state = fail(&engine, claimed.lease, Retry::At(at)).await.unwrap();
        assert_eq!(state, if attempt < 3 { JobState::Queued } else { JobState::Dead });
        assert_eq!(claim(&engine).await, None);
        engine.advance(Duration::from_secs(4));
    }
    let dead = engine.catalog.job(id).await.unwrap().unwrap();
    assert_eq!((dead.state, dead.finished_at.is_some()), (JobState::Dead, true));
    assert_eq!(dead.error.unwrap().code, Code::BackendUnavailable);
}

async fn an_unavailable_store_costs_no_attempt(engine: Engine) {
    enqueue(&engine, job()).await;
    for _ in 0..5 {
        let claimed = claim(&engine).await.expect("a job");
        assert_eq!(claimed.job.attempts, 1);
        fail(&engine, claimed.lease, Retry::AtWithoutAttempt(engine.now())).await.unwrap();
    }
    let claimed = claim(&engine).await.unwrap();
    assert_eq!(claimed.lease.number, 6);
    assert_eq!(fail(&engine, claimed.lease, Retry::Dead).await.unwrap(), JobState::Dead);
}

async fn a_unique_key_holds_while_queued_or_running(engine: Engine) {
    let first = enqueue(&engine, job().unique("asset-1")).await;
    assert_eq!(enqueue(&engine, job().unique("asset-1")).await, Enqueued { id: first.id, existed: true });
    assert!(!enqueue(&engine, job().unique("asset-2").run_at(engine.now().plus(LEASE))).await.existed);
    let lease = claim(&engine).await.unwrap().lease;
    assert!(enqueue(&engine, job().unique("asset-1")).await.existed);
    finish(&engine, lease).await.unwrap();
    let next = enqueue(&engine, job().unique("asset-1")).await;
    assert!(!next.existed);
    assert_ne!(next.id, first.id);

    let other = engine.other_process().await;
    let tries = (0..10).map(|number| {
        let catalog = if number % 2 == 0 { engine.catalog.clone() } else { other.clone() };
        async move {
            let job = job().unique("asset-3");
            catalog.commit(larder_catalog::Class::Durable, move |tx| Box::pin(tx.enqueue(job))).await.unwrap()
        }
    });
    let enqueued = futures::future::join_all(tries).await;
    assert_eq!(enqueued.iter().filter(|one| !one.existed).count(), 1);
    assert!(enqueued.iter().all(|one| one.id == enqueued[0].id));
}

async fn a_running_job_that_is_enqueued_again_runs_once_more(engine: Engine) {
    let id = enqueue(&engine, job().unique_rerun("asset-1")).await.id;
    enqueue(&engine, job().unique_rerun("asset-1")).await;
    let lease = claim(&engine).await.unwrap().lease;
    assert_eq!(enqueue(&engine, job().unique_rerun("asset-1")).await, Enqueued { id, existed: true });
    finish(&engine, lease).await.unwrap();
    let again = claim(&engine).await.expect("it was enqueued again while it ran");
    assert_eq!((again.job.id, again.job.attempts), (id, 1));
    finish(&engine, again.lease).await.unwrap();
    assert_eq!(claim(&engine).await, None);
    assert_eq!(state(&engine, id).await, JobState::Done);
}

async fn a_queued_job_is_cancelled_at_once_and_a_running_one_is_asked(engine: Engine) {
    let cancel =
        async |id: JobId| engine.write(move |tx| Box::pin(async move { tx.cancel_job(id).await })).await;
    let queued = enqueue(&engine, job()).await.id;
    assert_eq!(cancel(queued).await.unwrap().state, JobState::Cancelled);
    assert_eq!(claim(&engine).await, None);
    assert!(cancel(queued).await.unwrap_err().is_precondition());

    let running = enqueue(&engine, job()).await.id;
    let lease = claim(&engine).await.unwrap().lease;
    let until = engine.now().plus(LEASE);
    assert!(!engine.catalog.heartbeat(lease, until, None, None).await.unwrap().cancel_requested);
    assert!(cancel(running).await.unwrap().cancel_requested);
    assert!(engine.catalog.heartbeat(lease, until, None, None).await.unwrap().cancel_requested);
    // A failure that would be retried ends a job that is to stop.
    assert_eq!(fail(&engine, lease, Retry::At(engine.now())).await.unwrap(), JobState::Cancelled);
    let absent = JobId::new(&engine.ambient);
    assert!(cancel(absent).await.unwrap_err().is_not_found());
}

async fn a_dead_job_is_retried_by_hand(engine: Engine) {
    let retry =
        async |id: JobId| engine.write(move |tx| Box::pin(async move { tx.retry_job(id).await })).await;
    let id = enqueue(&engine, job().unique("u")).await.id;
    assert!(retry(id).await.unwrap_err().is_precondition());
    let lease = claim(&engine).await.unwrap().lease;
    fail(&engine, lease, Retry::Dead).await.unwrap();
    let successor = enqueue(&engine, job().unique("u")).await.id;
    assert!(retry(id).await.unwrap_err().is_precondition(), "another job has its key");
    let lease = claim(&engine).await.unwrap().lease;
    assert_eq!(lease.job, successor);
    finish(&engine, lease).await.unwrap();
    let queued = retry(id).await.unwrap();
    assert_eq!((queued.state, queued.attempts, queued.error), (JobState::Queued, 0, None));
    let again = claim(&engine).await.unwrap();
    assert_eq!((again.job.id, again.lease.number), (id, 2));
}

async fn progress_shows_in_the_job(engine: Engine) {
    let id = enqueue(&engine, job()).await.id;
    let lease = claim(&engine).await.unwrap().lease;
    let until = engine.now().plus(LEASE);
    engine.catalog.heartbeat(lease, until, Some(0.25), Some("resize")).await.unwrap();
    let running = engine.catalog.job(id).await.unwrap().unwrap();
    assert_eq!((running.progress, running.stage.as_deref()), (Some(0.25), Some("resize")));
    finish(&engine, lease).await.unwrap();
    assert_eq!(engine.catalog.job(id).await.unwrap().unwrap().progress, None);
}

async fn the_history_tells_each_attempt(engine: Engine) {
    let id = enqueue(&engine, job()).await.id;
    let lease = claim(&engine).await.unwrap().lease;
    engine.advance(Duration::from_secs(1));
    fail(&engine, lease, Retry::At(engine.now())).await.unwrap();
    claim(&engine).await.unwrap();
    engine.advance(LEASE);
    engine.catalog.take_over_expired().await.unwrap();
    let lease = claim(&engine).await.unwrap().lease;
    let attempts = engine.catalog.job_attempts(id).await.unwrap();
    assert_eq!(
        attempts.iter().map(|attempt| attempt.outcome).collect::<Vec<_>>(),
        [Outcome::Retried, Outcome::Lost, Outcome::Running]
    );
    assert_eq!(attempts[0].ended_at, Some(attempts[0].started_at.plus(Duration::from_secs(1))));
    assert_eq!(attempts[0].error.as_ref().unwrap().code, Code::BackendUnavailable);
    finish(&engine, lease).await.unwrap();
    let attempts = engine.catalog.job_attempts(id).await.unwrap();
    assert_eq!((attempts[2].outcome, attempts[2].worker.as_str()), (Outcome::Done, "w1"));
}

async fn jobs_list_with_filters_and_pages(engine: Engine) {
    for number in 0..5 {
        let queue = if number == 2 { "ingest" } else { "variants" };
        enqueue(&engine, NewJob::new("k", queue).subject(format!("s{number}"))).await;
    }
    let mut filter = JobFilter { limit: 2, ..JobFilter::default() };
    let mut seen = 0;
    loop {
        let page = engine.catalog.jobs(&filter).await.unwrap();
        seen += page.items.len();
        match page.next {
            Some(next) => filter.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, 5);
    let all = JobFilter { limit: 9, ..JobFilter::default() };
    for (filter, expected) in [
        (JobFilter { queue: Some("ingest".into()), ..all.clone() }, 1),
        (JobFilter { subject: Some("s4".into()), ..all.clone() }, 1),
        (JobFilter { state: Some(JobState::Running), ..all.clone() }, 0),
        (JobFilter { kind: Some("k".into()), ..all.clone() }, 5),
        (JobFilter { bucket: Some(bucket("media")), ..all }, 0),
    ] {
        assert_eq!(engine.catalog.jobs(&filter).await.unwrap().items.len(), expected, "{filter:?}");
    }
    assert_eq!(engine.catalog.active_jobs_about("s4").await.unwrap().len(), 1);
}

async fn queues_are_counted_and_a_backlog_is_bounded(engine: Engine) {
    for number in 0..6 {
        let (name, priority) = if number % 3 == 0 { ("artwork", 1) } else { ("media", 0) };
        enqueue(&engine, job().bucket(bucket(name)).priority(priority)).await;
    }
    claim(&engine).await.unwrap();
    let counts = engine.catalog.queue_counts().await.unwrap();
    let counts: HashMap<JobState, u64> = counts.into_iter().map(|count| (count.state, count.jobs)).collect();
    assert_eq!(counts, HashMap::from([(JobState::Queued, 5), (JobState::Running, 1)]));
    assert_eq!(engine.catalog.backlog(&bucket("media"), 100).await.unwrap(), Some(4));
    assert_eq!(engine.catalog.backlog(&bucket("media"), 3).await.unwrap(), Some(3));
    assert_eq!(engine.catalog.backlog(&bucket("keeps"), 3).await.unwrap(), Some(0));
    enqueue(&engine, job().bucket(bucket("keeps")).priority(-10)).await;
    assert_eq!(engine.catalog.backlog(&bucket("keeps"), 3).await.unwrap(), Some(0), "nobody waits for it");
}

async fn eight_workers_drain_five_hundred_jobs_exactly_once(engine: Engine) {
    const JOBS: usize = 500;
    engine
        .write(|tx| {
            Box::pin(async move {
                for number in 0..JOBS {
                    tx.enqueue(job().args(&json!({ "n": number }))?).await?;
                }
                Ok(())
            })
        })
        .await
        .unwrap();
    let other = engine.other_process().await;
    let done: Arc<Mutex<HashMap<JobId, u32>>> = Arc::default();
    let workers = (0..8).map(|number| {
        let catalog = if number % 2 == 0 { engine.catalog.clone() } else { other.clone() };
        let done = Arc::clone(&done);
        tokio::spawn(async move {
            while let Some(claimed) = catalog.claim(&format!("w{number}"), &queues(), LEASE).await.unwrap() {
                let lease = claimed.lease;
                catalog
                    .commit(larder_catalog::Class::Durable, move |tx| {
                        Box::pin(async move { tx.finish_job(lease).await })
                    })
                    .await
                    .unwrap();
                *done.lock().unwrap().entry(lease.job).or_default() += 1;
            }
        })
    });
    for worker in futures::future::join_all(workers).await {
        worker.unwrap();
    }
    // A worker stops when it finds the queue empty or all that is due taken by others.
    while let Some(claimed) = claim(&engine).await {
        finish(&engine, claimed.lease).await.unwrap();
        *done.lock().unwrap().entry(claimed.lease.job).or_default() += 1;
    }
    let done = done.lock().unwrap();
    assert_eq!(done.len(), JOBS);
    assert!(done.values().all(|times| *times == 1));
}

async fn old_jobs_are_forgotten_with_their_attempts(engine: Engine) {
    let id = enqueue(&engine, job()).await.id;
    let lease = claim(&engine).await.unwrap().lease;
    finish(&engine, lease).await.unwrap();
    let kept = enqueue(&engine, job()).await.id;
    engine.advance(Duration::from_secs(1));
    let before = engine.now();
    let forgotten = engine
        .write(move |tx| Box::pin(async move { tx.forget_jobs_ended_before(before, 100).await }))
        .await
        .unwrap();
    assert_eq!(forgotten, 1);
    assert_eq!(engine.catalog.job(id).await.unwrap(), None);
    assert!(engine.catalog.job_attempts(id).await.unwrap().is_empty());
    assert_eq!(state(&engine, kept).await, JobState::Queued);
}

/// Claiming must not slow down with the backlog: the index gives the next job without sorting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_job_comes_from_an_index_on_sqlite() {
    let engine = Engine::sqlite().await;
    let plan = engine
        .explain(
            "SELECT id FROM jobs WHERE state = 'queued' AND queue = ?1 AND run_at <= ?2 \
             ORDER BY priority DESC, run_at, id LIMIT 1",
        )
        .await;
    assert!(plan.contains("jobs_due") && !plan.contains("TEMP B-TREE"), "{plan}");
}
