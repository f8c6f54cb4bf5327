//! `larder migrate`: moves what lies in one store to another.

use std::{sync::OnceLock, time::Duration};

use larder_assets::{MigrateEvent, MigrateOptions, MigrateReport};
use larder_core::{JobId, text::display_bytes};
use serde_json::to_value;

use super::{Context, place};
use crate::{
    backend::{Backend, Migration},
    cli::Migrate,
    failure::{Exit, Failure},
    output::{Output, Progress},
};

/// Time between two looks at a job.
const EVERY: Duration = Duration::from_millis(500);

/// Moves, or removes what was left.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Migrate) -> Result<Exit, Failure> {
    let options = MigrateOptions {
        from: arguments.from.clone(),
        to: arguments.to.clone(),
        bucket: arguments.bucket.as_deref().map(place::bucket).transpose()?,
        prefix: arguments.prefix.clone(),
        concurrency: arguments.concurrency,
        rate_bytes: arguments.rate.map(|rate| rate.0),
        cleanup: arguments.cleanup,
        grace: arguments.cleanup.then_some(arguments.grace),
        verify: arguments.verify,
        dry_run: arguments.dry_run,
    };
    let output = &context.output;
    let bar = OnceLock::new();
    let watch = |event: &MigrateEvent| {
        show(output, &bar, event);
        Ok(())
    };
    let migration = larder.migrate(&options, &watch).await;
    if let Some(bar) = bar.get() {
        bar.finish();
    }
    match migration? {
        Migration::Done(report) => summary(output, &report),
        Migration::Job(job) => follow(output, larder, job).await,
    }
}

/// A bar on a terminal, an event a line with `--json`, and failures as they come.
fn show(output: &Output, bar: &OnceLock<Progress>, event: &MigrateEvent) {
    // A reader that has gone is told at the summary.
    let _ = output.json(event);
    match event {
        MigrateEvent::Begun { bytes, .. } => {
            bar.get_or_init(|| output.progress(*bytes, "bytes"));
        }
        MigrateEvent::Done { name, bytes, .. } => {
            if let Some(bar) = bar.get() {
                bar.at(name);
                bar.advance(*bytes);
            }
        }
        MigrateEvent::Skipped { .. } => {}
        MigrateEvent::Failed { name, error } => {
            let print = || output.note(format!("{name}: {error}"));
            bar.get().map_or_else(print, |bar| bar.suspend(print));
        }
    }
}

fn summary(output: &Output, report: &MigrateReport) -> Result<Exit, Failure> {
    output.answer(&to_value(report).unwrap_or_default(), |output| {
        let head = match (report.dry_run, report.cleanup) {
            (true, true) => "would be removed",
            (true, false) => "would be moved",
            (false, true) => "removed",
            (false, false) => "moved",
        };
        let mut table = output.table([head, "count", "bytes"]).numbers([1, 2]);
        let rows =
            [("assets", report.originals), ("in the trash", report.deleted), ("variants", report.variants)];
        for (what, count) in rows {
            table.row([what.to_owned(), count.objects.to_string(), display_bytes(count.bytes)]);
        }
        output.print_table(&table, "")?;
        for failure in &report.failures {
            output.line(format!("{} failed: {}", failure.objects, failure.code))?;
            for one in &failure.first {
                output.line(format!("  {}: {}", one.name, one.error))?;
            }
        }
        let remaining = report.remaining;
        if !report.dry_run && remaining.objects > 0 {
            let what = if report.cleanup { "copies that were left" } else { "objects" };
            output.line(format!(
                "{} {what} are in {} still, {}",
                remaining.objects,
                report.from,
                display_bytes(remaining.bytes)
            ))?;
        }
        if report.from_is_primary && !report.cleanup {
            output.note(format!(
                "new files still go to {}: set store.backend to {} and restart",
                report.from, report.to
            ));
        }
        Ok(())
    })?;
    match report.incomplete() {
        None => Ok(Exit::Done),
        Some(_) => Ok(Exit::Partly),
    }
}

/// Follows the job of a server to its end. Interrupted, the job goes on.
async fn follow(output: &Output, larder: &dyn Backend, id: JobId) -> Result<Exit, Failure> {
    output.note(format!("job {id} of the server moves them; it goes on if this is interrupted"));
    let bar = output.progress(100, "percent");
    let mut shown = 0;
    loop {
        let job = larder.job(id).await?;
        let done = u64::from(job.progress_percentage);
        bar.advance(done.saturating_sub(shown));
        shown = shown.max(done);
        bar.at(job.stage.as_deref().unwrap_or_default());
        if !matches!(job.state.as_str(), "done" | "dead" | "cancelled") {
            tokio::time::sleep(EVERY).await;
            continue;
        }
        bar.finish();
        output.answer(&to_value(&job).unwrap_or_default(), |output| {
            let stage = job.stage.as_deref().map_or_else(String::new, |stage| format!(": {stage}"));
            output.line(format!("job {id} is {}{stage}", job.state))
        })?;
        return match job.error {
            Some(fault) if job.state != "done" => Err(fault.into()),
            _ if job.state == "done" => Ok(Exit::Done),
            _ => Ok(Exit::Failed),
        };
    }
}
