//! Jobs that come by schedule. Each firing happens once, however many workers look.

use std::str::FromStr;

use croner::Cron;
use larder_assets::{
    Larder,
    jobs::{JobKind, KINDS},
};
use larder_catalog::{Class, NewJob, ScheduleRecord};
use larder_core::{Code, Fault, Timestamp};

/// Schedules looked at in one go; there is one per kind of job at most.
const BATCH: u32 = 100;

/// In the place of the time of a schedule that is switched off. It is stored all the same: a process that does not
/// replace schedules must not take it for one that is missing.
const OFF: &str = "off";

/// Stores the schedules of all kinds of jobs; those that are stored otherwise are changed only if it `replaces` them.
pub(crate) async fn declare(larder: &Larder, replaces: bool) -> Result<(), Fault> {
    let known = larder.catalog().schedules().await?;
    let now = larder.ambient().now();
    let mut missing = Vec::new();
    for kind in KINDS {
        let cron = (kind.schedule)(larder.settings());
        let stored = known.iter().find(|schedule| schedule.name == kind.name);
        let cron = match (&cron, stored) {
            (Some(cron), Some(stored)) if !replaces || stored.cron == *cron => continue,
            (None, None) => continue,
            (None, Some(stored)) if !replaces || !stored.enabled => continue,
            (cron, _) => cron.as_deref(),
        };
        missing.push(ScheduleRecord {
            name: kind.name.to_owned(),
            cron: cron.unwrap_or(OFF).to_owned(),
            kind: kind.name.to_owned(),
            args: serde_json::json!({}),
            next_at: cron.map_or(Ok(now), |cron| next_after(cron, now))?,
            last_at: None,
            enabled: cron.is_some(),
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

/// Checks that a time of a schedule can be read and comes at all.
///
/// # Errors
/// [`Code::InvalidRequest`] with what is wrong with it.
pub fn check(cron: &str) -> Result<(), Fault> {
    let refused = |error: croner::errors::CronError| {
        Fault::new(Code::InvalidRequest, format!("\"{cron}\" is no time of a schedule: {error}"))
            .remedy("write five fields as cron does, such as `0 * * * *` for every hour")
    };
    let parsed = Cron::from_str(cron).map_err(refused)?;
    let any = jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
    parsed.find_next_occurrence(&any, false).map(drop).map_err(refused)
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
    use larder_assets::{DatabaseSettings, Secrets, Settings};

    use super::*;

    #[test]
    fn what_is_no_time_of_a_schedule_is_refused() {
        for wrong in ["", "hourly", "61 * * * *", "0 0 31 2 *", "* * *"] {
            let fault = check(wrong).unwrap_err();
            assert!(fault.detail.contains(&format!("\"{wrong}\"")), "{fault}");
        }
        check("*/5 * * * * *").unwrap();
    }

    #[test]
    fn every_shipped_schedule_has_a_next_firing() {
        let now = Timestamp::from_millis(1_772_366_400_000);
        let folder = std::path::Path::new("/nowhere");
        let mut settings = Settings::new(Secrets::new(*b"0123456789abcdef").unwrap());
        let store = std::sync::Arc::new(larder_store::MemoryStore::new());
        settings.databases = Some(DatabaseSettings::new(store, Vec::new(), folder));
        let all: Vec<_> = KINDS.iter().filter_map(|kind| (kind.schedule)(&settings)).collect();
        assert!(all.len() > 6);
        for cron in all {
            assert!(next_after(&cron, now).unwrap() > now, "{cron}");
            check(&cron).unwrap();
        }
        assert_eq!(next_after("*/10 * * * *", now).unwrap().to_string(), "2026-03-01T12:10:00.000Z");
    }
}
