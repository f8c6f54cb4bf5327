//! `larder jobs`: watch, retry and cancel.

use std::time::Duration;

use larder_assets::{JobQuery, JobView};
use larder_core::JobId;
use serde_json::{json, to_value};

use super::{Context, place};
use crate::{
    backend::Backend,
    cli::Jobs,
    failure::{Exit, Failure},
};

/// Jobs of a list.
const LISTED: u32 = 100;

/// Time between two looks with `--watch`.
const EVERY: Duration = Duration::from_secs(1);

/// Lists, shows, retries or cancels.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Jobs) -> Result<Exit, Failure> {
    match arguments {
        Jobs::Ls { state, kind, queue, watch } => {
            let query = JobQuery {
                state: state.clone(),
                kind: kind.clone(),
                queue: queue.clone(),
                limit: LISTED,
                ..JobQuery::default()
            };
            list(context, larder, &query, *watch).await
        }
        Jobs::Show { id, watch } => show(context, larder, place::id(id)?, *watch).await,
        Jobs::Workers => workers(context, larder).await,
        Jobs::Queues => queues(context, larder).await,
        Jobs::Retry { id } => changed(context, "queued again", &larder.retry_job(place::id(id)?).await?),
        Jobs::Cancel { id } => changed(context, "cancelled", &larder.cancel_job(place::id(id)?).await?),
    }
}

async fn list(
    context: &Context,
    larder: &dyn Backend,
    query: &JobQuery,
    watch: bool,
) -> Result<Exit, Failure> {
    loop {
        let page = larder.jobs(query).await?;
        context.output.answer(&to_value(&page).unwrap_or_default(), |output| {
            let mut table = output
                .table(["id", "kind", "queue", "state", "done", "attempts", "subject", "error"])
                .numbers([4, 5]);
            for job in &page.items {
                table.row([
                    job.id.to_string(),
                    job.kind.clone(),
                    job.queue.clone(),
                    job.state.clone(),
                    format!("{} %", job.progress_percentage),
                    format!("{}/{}", job.attempts, job.max_attempts),
                    job.subject.clone().unwrap_or_else(|| "-".to_owned()),
                    job.error.as_ref().map_or_else(String::new, |fault| fault.code.to_string()),
                ]);
            }
            output.print_table(&table, "there is no such job")
        })?;
        if !watch {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(EVERY).await;
        context.output.line("")?;
    }
}

async fn workers(context: &Context, larder: &dyn Backend) -> Result<Exit, Failure> {
    let workers = larder.workers().await?;
    context.output.answer(&json!({ "items": workers, "next": null }), |output| {
        let mut table =
            output.table(["worker", "machine", "process", "queues", "since", "seen"]).numbers([2]);
        for worker in &workers {
            table.row([
                worker.id.clone(),
                worker.host.clone(),
                worker.pid.to_string(),
                worker.queues.join(", "),
                worker.started_at.to_string(),
                worker.seen_at.to_string(),
            ]);
        }
        output.print_table(&table, "nobody runs jobs")
    })?;
    Ok(Exit::Done)
}

async fn queues(context: &Context, larder: &dyn Backend) -> Result<Exit, Failure> {
    let queues = larder.queues().await?;
    context.output.answer(&json!({ "items": queues, "next": null }), |output| {
        let mut table = output.table(["queue", "state", "jobs", "oldest due"]).numbers([2]);
        for queue in &queues {
            table.row([
                queue.queue.clone(),
                queue.state.clone(),
                queue.jobs.to_string(),
                queue.oldest_run_at.to_string(),
            ]);
        }
        output.print_table(&table, "there is no job")
    })?;
    Ok(Exit::Done)
}

async fn show(context: &Context, larder: &dyn Backend, id: JobId, watch: bool) -> Result<Exit, Failure> {
    let mut last = None;
    loop {
        let job = larder.job(id).await?;
        let ended = matches!(job.state.as_str(), "done" | "dead" | "cancelled");
        if last.as_ref() != Some(&job) {
            print(context, &job)?;
        }
        if !watch || ended {
            return Ok(if watch && job.state != "done" { Exit::Failed } else { Exit::Done });
        }
        last = Some(job);
        tokio::time::sleep(EVERY).await;
    }
}

fn print(context: &Context, job: &JobView) -> Result<(), Failure> {
    context.output.answer(&to_value(job).unwrap_or_default(), |output| {
        let stage = job.stage.as_deref().map_or_else(String::new, |stage| format!(", {stage}"));
        output.line(format!(
            "{} {} ({}): {} {} %{stage}, attempt {} of {}",
            job.kind, job.id, job.queue, job.state, job.progress_percentage, job.attempts, job.max_attempts
        ))?;
        if let Some(fault) = &job.error {
            output.line(format!("  {}: {}", fault.code, fault.detail))?;
        }
        for attempt in &job.history {
            let outcome = &attempt.outcome;
            let worker = &attempt.worker;
            output.line(format!(
                "  attempt {} from {} by {worker}: {outcome}",
                attempt.attempt, attempt.started_at
            ))?;
        }
        Ok(())
    })
}

fn changed(context: &Context, what: &str, job: &JobView) -> Result<Exit, Failure> {
    context.output.answer(&to_value(job).unwrap_or_default(), |output| {
        output.line(format!("{} {} is {what}: {}", job.kind, job.id, job.state))
    })?;
    Ok(Exit::Done)
}
