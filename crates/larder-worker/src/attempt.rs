//! One attempt at a job, from its claim to its stored end.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use larder_assets::{
    Larder,
    jobs::{Ended, JobContext, JobKind},
};
use larder_catalog::{Backoff, Claim, Class, JobState, Retry};
use larder_core::{Ambient, Code, Fault, FaultKind};
use larder_store::CircuitOpen;
use tokio_util::sync::CancellationToken;

/// How long a claim lasts without a heartbeat.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// How often a running job tells that it is alive: several may be lost before the lease is.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a job waits that could not run because something did not answer: at first about as long
/// as a hiccup lasts. Each try costs two durable commits and a row of history, so that jobs by the
/// thousand must not come back every few seconds while a store is away for hours; a minute is the most
/// that anybody waits once it is back.
const UNAVAILABLE: Backoff =
    Backoff { base: Duration::from_secs(2), factor: 2, cap: Duration::from_secs(60) };

/// Longest wait that a store may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Runs a claimed job to its end. Whatever happens inside ends this job only.
pub(crate) async fn run(larder: &Larder, claim: Claim, stopping: &CancellationToken) {
    let Some(kind) = JobKind::named(&claim.job.kind) else {
        tracing::error!(kind = claim.job.kind, job = %claim.job.id, "a newer version's job; this one can't run it");
        give_back(larder, &claim).await;
        return;
    };
    let context = JobContext::new(larder.clone(), claim.job.clone(), claim.lease);
    let began = std::time::Instant::now();
    let outcome = tokio::select! {
        outcome = AssertUnwindSafe((kind.run)(claim.job.args.clone(), context.clone())).catch_unwind() => {
            outcome.unwrap_or_else(|_| Err(Fault::internal("the job panicked")))
        }
        () = beat(larder, &context) => Err(Fault::new(Code::Conflict, "another worker has this job now")),
    };
    let seconds = began.elapsed().as_secs_f64();
    metrics::histogram!("larder_job_seconds", "kind" => kind.name).record(seconds);
    let word = match outcome {
        Ok(Ended::Recorded) => Ok("done"),
        Ok(Ended::Open) => finish(larder, &claim).await.map(|()| "done"),
        Err(fault) => fail(larder, kind, &claim, fault, stopping.is_cancelled()).await,
    };
    match word {
        Ok(word) => {
            metrics::counter!("larder_jobs_total", "kind" => kind.name, "outcome" => word).increment(1)
        }
        Err(fault) if fault.code == Code::Conflict => {
            tracing::info!(job = %claim.job.id, "the job was taken over; this worker lets it go");
        }
        Err(fault) => {
            tracing::warn!(job = %claim.job.id, %fault, "the job's end could not be stored; it will run again")
        }
    }
}

/// Tells that the job is alive until it no longer is ours.
async fn beat(larder: &Larder, context: &JobContext) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let (progress, stage) = context.reported();
        let until = larder.ambient().now().plus(LEASE);
        match larder.catalog().heartbeat(context.lease(), until, Some(progress), stage.as_deref()).await {
            Ok(answer) if answer.cancel_requested => context.cancel(),
            Ok(_) => {}
            Err(error) if error.is_precondition() => {
                // A job that stored its own end needs a moment to return.
                tokio::time::sleep(HEARTBEAT).await;
                context.lose();
                return;
            }
            Err(error) => tracing::warn!(%error, "a heartbeat could not be stored"),
        }
    }
}

async fn finish(larder: &Larder, claim: &Claim) -> Result<(), Fault> {
    let lease = claim.lease;
    larder
        .catalog()
        .commit(Class::Durable, move |tx| Box::pin(async move { tx.finish_job(lease).await }))
        .await?;
    Ok(())
}

async fn fail(
    larder: &Larder,
    kind: &JobKind,
    claim: &Claim,
    fault: Fault,
    stopping: bool,
) -> Result<&'static str, Fault> {
    let now = larder.ambient().now();
    let retry = match fault.kind() {
        FaultKind::Unavailable if stopping => Retry::AtWithoutAttempt(now),
        FaultKind::Unavailable => {
            Retry::AtWithoutAttempt(now.plus(wait(&fault, times_given_back(claim), larder.ambient())))
        }
        FaultKind::Invalid if fault.code == Code::Cancelled => Retry::Cancelled,
        FaultKind::Invalid | FaultKind::NotFound => Retry::Dead,
        _ => {
            let failures = u32::try_from(claim.job.attempts).unwrap_or(1);
            Retry::At(now.plus(Backoff::default().wait(failures, larder.ambient())))
        }
    };
    match fault.kind() {
        // The log was told when the circuit opened.
        FaultKind::Unavailable if CircuitOpen::is_cause_of(&fault) => {
            tracing::debug!(job = %claim.job.id, kind = kind.name, %fault, "a job waits")
        }
        FaultKind::Unavailable if fault.needs_an_operator() => {
            tracing::warn!(job = %claim.job.id, kind = kind.name, %fault, remedy = fault.remedy, "a job waits")
        }
        FaultKind::Unavailable => {
            tracing::info!(job = %claim.job.id, kind = kind.name, %fault, "a job waits")
        }
        _ => {
            tracing::warn!(job = %claim.job.id, kind = kind.name, %fault, source = ?fault.source, "a job failed")
        }
    }
    let (lease, stored) = (claim.lease, fault.clone());
    let state = larder
        .catalog()
        .commit(Class::Durable, move |tx| Box::pin(async move { tx.fail_job(lease, &stored, retry).await }))
        .await?;
    match state {
        JobState::Dead | JobState::Cancelled => {
            (kind.gave_up)(claim.job.args.clone(), larder.clone(), fault).await?;
            Ok("dead")
        }
        _ => Ok("retried"),
    }
}

/// How long a job waits for what does not answer. A store that says when it will be there is not asked
/// before; a little later, so that not all jobs come at the same moment. What lasts until an operator does
/// something is not asked sooner than the longest wait.
fn wait(fault: &Fault, times_given_back: u32, ambient: &Ambient) -> Duration {
    if fault.needs_an_operator() {
        return UNAVAILABLE.cap;
    }
    let own = UNAVAILABLE.wait(times_given_back + 1, ambient);
    let told = fault.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
    own.max(told + told.mul_f64(ambient.random_unit() / 4.0))
}

/// How often the job was given back before, without an attempt being counted.
fn times_given_back(claim: &Claim) -> u32 {
    u32::try_from(claim.job.lease - claim.job.attempts).unwrap_or_default()
}

async fn give_back(larder: &Larder, claim: &Claim) {
    let later = larder.ambient().now().plus(Duration::from_secs(60));
    let fault = Fault::internal(format!("this version knows no job of the kind {}", claim.job.kind));
    let lease = claim.lease;
    let outcome = larder
        .catalog()
        .commit(Class::Durable, move |tx| {
            Box::pin(async move { tx.fail_job(lease, &fault, Retry::AtWithoutAttempt(later)).await })
        })
        .await;
    if let Err(error) = outcome {
        tracing::warn!(%error, "an unknown job could not be given back");
    }
}
