//! Verification of all databases: everything is read, the newest version restored and looked through. Then what is not
//! kept is collected.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use larder_core::{Fault, Timestamp};
use larder_dbsync::{CollectOptions, Error, Event, Remote, Watch, collect_unheld, verify};
use serde::Serialize;

use super::{
    find::find,
    of_one,
    record::{VERIFIED, Verified},
    view::{CollectView, VerifyStatus, VerifyView},
};
use crate::{jobs::JobContext, larder::Larder};

/// What is told of a database that was verified once and is not found any more.
const GONE: &str = "it is no longer there";

/// Damaged objects that are named, at most; the others are counted.
const PROBLEMS_MAX: usize = 100;

/// What a run found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Databases that are there.
    pub databases: u64,
    /// Those that are whole.
    pub whole: u64,
    /// Those that are damaged.
    pub damaged: Vec<String>,
    /// Those that could not be verified.
    pub failed: Vec<String>,
    /// Objects that were removed, since nothing that is kept needs them.
    pub removed: u64,
    /// Bytes of them.
    pub removed_bytes: u64,
    /// There are more databases than are looked after.
    pub is_cut: bool,
}

impl Larder {
    /// Verifies all databases, and collects each that is whole and that nobody holds.
    ///
    /// # Errors
    /// The store does not answer, or denies access; the catalogue's; the job is to stop. Damage is in the report.
    pub(crate) async fn verify_databases(&self, job: &JobContext) -> Result<VerifyReport, Fault> {
        let settings = self.database_settings()?;
        let found = find(&*settings.store, &settings.patterns).await?;
        clear(&settings.scratch).await?;
        let mut known: BTreeMap<String, Verified> =
            self.database_records(VERIFIED).await?.into_iter().collect();
        let mut report = VerifyReport {
            databases: found.prefixes.len() as u64,
            is_cut: found.is_cut,
            ..VerifyReport::default()
        };
        for (at, prefix) in found.prefixes.iter().enumerate() {
            job.check()?;
            let before = known.remove(prefix).unwrap_or_default();
            let since = job.job().created_at;
            let is_done = before.verify.as_ref().is_some_and(|verify| verify.at >= since);
            let after = if is_done {
                // By an attempt of this very job that the store, or the process, cut off.
                before
            } else {
                let step = Step { job, prefix, at, of: found.prefixes.len() };
                let after = self.verify_one(&step, &settings.scratch, before).await?;
                self.keep_database_record(VERIFIED, prefix, &after).await?;
                after
            };
            count(&mut report, prefix, &after);
        }
        if !found.is_cut {
            self.note_gone(known).await?;
        }
        self.forget_old_database_records(VERIFIED).await?;
        Ok(report)
    }

    async fn note_gone(&self, known: BTreeMap<String, Verified>) -> Result<(), Fault> {
        for (prefix, record) in known {
            let Some(verify) = &record.verify else { continue };
            // Once: what is written again is never forgotten.
            if verify.error.as_deref() == Some(GONE) {
                continue;
            }
            tracing::error!(database = prefix, "a database that was verified before is no longer there");
            let error = Some(GONE.to_owned());
            let verify = VerifyView {
                at: self.ambient().now(),
                status: VerifyStatus::Failed,
                error,
                ..verify.clone()
            };
            let record = Verified { verify: Some(verify), ..record };
            self.keep_database_record(VERIFIED, &prefix, &record).await?;
        }
        Ok(())
    }

    async fn verify_one(&self, step: &Step<'_>, scratch: &Path, before: Verified) -> Result<Verified, Fault> {
        let (prefix, remote) = (step.prefix, self.database(step.prefix)?);
        let began = self.ambient().now();
        let first = step.job.unless_stopped(look(&remote, scratch, step)).await?;
        let verify = match &first.status {
            // A collection that ran meanwhile may have removed what was listed. What is damaged stays so.
            VerifyStatus::Damaged => step.job.unless_stopped(look(&remote, scratch, step)).await?,
            _ => first,
        };
        let mut after = Verified { verify: None, collect: None, ..before };
        match verify.status {
            VerifyStatus::Whole => {
                after.whole_at = Some(began);
                after.collect = Some(self.collect_one(&remote).await?);
            }
            VerifyStatus::Damaged => {
                tracing::error!(
                    database = prefix,
                    problems = verify.problem_count,
                    first = verify.problems.first(),
                    "a database in the store is damaged: restore an earlier version of it"
                );
            }
            VerifyStatus::Failed => {
                tracing::error!(database = prefix, error = verify.error, "a database could not be verified");
            }
        }
        after.verify = Some(VerifyView { at: self.ambient().now(), ..verify });
        Ok(after)
    }

    /// Not dropped when the job is to stop: it would leave the database held.
    async fn collect_one(&self, remote: &Remote) -> Result<CollectView, Fault> {
        let options =
            CollectOptions { retention: self.database_settings()?.retention, ..CollectOptions::default() };
        let at = self.ambient().now();
        let skipped = |why: String| CollectView { at, removed: 0, removed_bytes: 0, skipped: Some(why) };
        Ok(match collect_unheld(remote, &options, false).await {
            Ok(report) => CollectView {
                at,
                removed: report.removed,
                removed_bytes: report.removed_bytes,
                skipped: None,
            },
            Err(Error::Held { owner }) => skipped(format!("{owner} holds it")),
            Err(error) => skipped(of_one(error)?),
        })
    }
}

/// The database that is at hand.
struct Step<'a> {
    job: &'a JobContext,
    prefix: &'a str,
    at: usize,
    of: usize,
}

impl Step<'_> {
    /// Tells the job how far it is.
    fn watch(&self) -> Watch {
        let (job, prefix, at, of) = (self.job.clone(), self.prefix.to_owned(), self.at, self.of);
        let [total, done] = [const { AtomicU64::new(0) }; 2];
        Arc::new(move |event: &Event| {
            match event {
                Event::Checking { objects } => total.store(*objects, Ordering::Relaxed),
                Event::Checked { objects } => drop(done.fetch_add(*objects, Ordering::Relaxed)),
                _ => return,
            }
            let (total, done) = (total.load(Ordering::Relaxed), done.load(Ordering::Relaxed));
            let part = done as f64 / total.max(1) as f64;
            let stage = format!("{prefix}, {} of {of}: {done} of {total} objects", at + 1);
            job.progress((at as f64 + part.min(1.0)) / of as f64, &stage);
        })
    }
}

async fn look(remote: &Remote, scratch: &Path, step: &Step<'_>) -> Result<VerifyView, Fault> {
    let mut view = VerifyView {
        // Set when all is done.
        at: Timestamp::from_millis(0),
        status: VerifyStatus::Failed,
        seq: 0,
        objects: 0,
        bytes: 0,
        problems: Vec::new(),
        problem_count: 0,
        error: None,
    };
    match verify(remote, scratch, &step.watch()).await {
        Ok(mut report) => {
            (view.seq, view.objects, view.bytes) = (report.seq, report.objects, report.bytes);
            view.problem_count = report.problems.len() as u64;
            report.problems.truncate(PROBLEMS_MAX);
            view.problems = report.problems;
            view.status = match view.problem_count {
                0 => VerifyStatus::Whole,
                _ => VerifyStatus::Damaged,
            };
        }
        Err(error) => view.error = Some(of_one(error)?),
    }
    Ok(view)
}

fn count(report: &mut VerifyReport, prefix: &str, record: &Verified) {
    match record.verify.as_ref().map(|verify| &verify.status) {
        Some(VerifyStatus::Whole) => report.whole += 1,
        Some(VerifyStatus::Damaged) => report.damaged.push(prefix.to_owned()),
        _ => report.failed.push(prefix.to_owned()),
    }
    if let Some(collect) = &record.collect {
        report.removed += collect.removed;
        report.removed_bytes += collect.removed_bytes;
    }
}

/// Makes the folder, and removes what a killed process left in it: one job of this kind runs at a time.
async fn clear(scratch: &Path) -> Result<(), Fault> {
    let folder = scratch.to_owned();
    let cleared = tokio::task::spawn_blocking(move || {
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error);
        }
        std::fs::create_dir_all(&folder)
    });
    let cleared = cleared.await.map_err(|error| Fault::internal("a thread ended").caused_by(error))?;
    cleared.map_err(|error| Fault::internal(format!("{} can't be made", scratch.display())).caused_by(error))
}
