//! Jobs that come by schedule. Each firing happens once, however many workers look.

use std::str::FromStr;

use croner::Cron;
use larder_assets::{
    Larder,
    jobs::{JobKind, KINDS},
};
use larder_catalog::{Class, NewJob, ScheduleRecord};
use larder_core::{Fault, Timestamp};

/// Schedules looked at in one go; there is one per kind of job at most.
const BATCH: u32 = 100;

/// Stores the schedules of all kinds of jobs.
pub(crate) async fn declare(larder: &Larder) -> Result<(), Fault> {
    let known = larder.catalog().schedules().await?;
    let now = larder.ambient().now();
    let mut missing = Vec::new();
    for kind in KINDS {
        let Some(cron) = kind.schedule else { continue };
        if known.iter().any(|schedule| schedule.name == kind.name && schedule.cron == cron) {
            continue;
        }
        missing.push(ScheduleRecord {
            name: kind.name.to_owned(),
            cron: cron.to_owned(),
            kind: kind.name.to_owned(),
            args: serde_json::json!({}),
            next_at: next_after(cron, now)?,
            last_at: None,
            enabled: true,
        });
    }
    if missing.is_empty() {
        return Ok(());
    }
    larder
        .catalog()
        .commit(Class::Durable, move |tx| {
            Box::pin(async move {
                for schedule in &missing {
                    tx.upsert_schedule(schedule).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(())
}

/// Enqueues what is due.
pub(crate) async fn fire(larder: &Larder) -> Result<(), Fault> {
    let now = larder.ambient().now();
    for schedule in larder.catalog().due_schedules(now, BATCH).await? {
        let Some(kind) = JobKind::named(&schedule.kind) else { continue };
        let next_at = next_after(&schedule.cron, now)?;
        let job = NewJob::new(kind.name, kind.queue).args(&schedule.args)?.unique(format!("{}:", kind.name));
        larder
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    if tx.claim_firing(&schedule, next_at).await? {
                        tx.enqueue(job).await?;
                    }
                    Ok(())
                })
            })
            .await?;
    }
    Ok(())
}

/// The first firing after an instant, in UTC.
fn next_after(cron: &str, after: Timestamp) -> Result<Timestamp, Fault> {
    let wrong = |error: croner::errors::CronError| {
        Fault::internal(format!("the schedule \"{cron}\" can't be read")).caused_by(error)
    };
    let cron = Cron::from_str(cron).map_err(wrong)?;
    let after = jiff::Timestamp::from_millisecond(after.as_millis())
        .map_err(|error| Fault::internal("the clock shows an impossible time").caused_by(error))?;
    let next = cron.find_next_occurrence(&after.to_zoned(jiff::tz::TimeZone::UTC), false).map_err(wrong)?;
    Ok(Timestamp::from_millis(next.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_schedule_has_a_next_firing() {
        let now = Timestamp::from_millis(1_772_366_400_000);
        for kind in KINDS.iter().filter_map(|kind| kind.schedule) {
            assert!(next_after(kind, now).unwrap() > now, "{kind}");
        }
        assert_eq!(next_after("*/10 * * * *", now).unwrap().to_string(), "2026-03-01T12:10:00.000Z");
    }
}
