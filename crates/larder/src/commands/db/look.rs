//! `db ls`, `db verify`, `db gc`, `db unlock`.

use std::path::Path;

use larder_core::{Timestamp, text::display_bytes};
use larder_dbsync::{
    Along, CollectOptions, Error, Remote, Session, backups, collect_unheld, verify as verify_all,
};
use serde_json::{json, to_value};

use super::{
    steps::{Side, watch},
    target::{Creates, Target},
};
use crate::{
    cli::Writing,
    commands::Context,
    failure::{Exit, Failure},
};

fn time(time_ms: u64) -> String {
    Timestamp::from_millis(time_ms as i64).to_string()
}

/// Shows what is there.
pub async fn ls(context: &Context, target: &Target, all: bool) -> Result<Exit, Failure> {
    let remote = target.open(context, Creates::No).await?;
    let newest = remote.newest(None, &mut Along::default()).await?;
    let newest = newest
        .ok_or_else(|| Error::Absent { detail: format!("there is no database at {}", target.label()) })?;
    let (versions, backups) = (remote.versions().await?, backups(&remote).await?);
    if all {
        return list_versions(context, &remote, versions.into_keys()).await;
    }
    let (first, last) = (versions.keys().next().copied(), versions.keys().next_back().copied());
    let is_held = newest.lease.held_ms > 0;
    let answer = json!({
        "database": newest.database.to_string(),
        "seq": newest.seq,
        "changed_at": newest.changed_at,
        "time": time(newest.time_ms),
        "page_bytes": newest.page_size,
        "pages": newest.page_count(),
        "size_bytes": newest.size_bytes(),
        "root": newest.root.to_string(),
        "writer": newest.lease.owner,
        "is_held": is_held,
        "first_version": first,
        "last_version": last,
        "backups": backups,
    });
    context.output.answer(&answer, |output| {
        output.line(format!(
            "version {} of {}: {} pages, {}",
            newest.changed_at,
            time(newest.time_ms),
            newest.page_count(),
            display_bytes(newest.size_bytes())
        ))?;
        output.line(match is_held {
            true => format!("{} is writing it", newest.lease.owner),
            false => format!("last written by {}; nobody holds it", newest.lease.owner),
        })?;
        if let (Some(first), Some(last)) = (first, last) {
            output.line(format!("can be restored: {} versions from {first} to {last}", versions.len()))?;
        }
        let mut table = output.table(["backup", "version", "made"]).numbers([1]);
        for backup in &backups {
            table.row([backup.name.clone(), backup.seq.to_string(), time(backup.time_ms)]);
        }
        output.print_table(&table, "no backups")
    })?;
    Ok(Exit::Done)
}

async fn list_versions(
    context: &Context,
    remote: &Remote,
    versions: impl Iterator<Item = u64>,
) -> Result<Exit, Failure> {
    for seq in versions {
        let (changed, time_ms, owner) = match remote.entry(seq).await? {
            Some(fetched) => {
                let entry = fetched.head.entry;
                (entry.change.map(|change| change.pages.len()), entry.time_ms, entry.lease.owner)
            }
            None => match remote.map(seq).await? {
                Some(map) => (Some(map.page_count() as usize), map.time_ms, map.lease.owner),
                None => continue,
            },
        };
        // Entries that change nothing are versions like those before them.
        let Some(pages) = changed else { continue };
        let version = json!({ "seq": seq, "time": time(time_ms), "pages": pages, "writer": owner });
        context.output.answer(&version, |output| {
            output.line(format!("{seq:>8}  {}  {pages:>8} pages  {owner}", time(time_ms)))
        })?;
    }
    Ok(Exit::Done)
}

/// Reads everything.
pub async fn verify(context: &Context, target: &Target, scratch: &Path) -> Result<Exit, Failure> {
    let remote = target.open(context, Creates::No).await?;
    let report = verify_all(&remote, scratch, &watch(context.output, Side::Nowhere)).await?;
    context.output.answer(&to_value(&report).unwrap_or_default(), |output| {
        for problem in &report.problems {
            output.line(format!("damaged: {problem}"))?;
        }
        output.line(format!(
            "{} objects, {}: {}",
            report.objects,
            display_bytes(report.bytes),
            match report.problems.len() {
                0 => format!("all whole, version {} restored and looked through", report.seq),
                problems => format!("{problems} damaged"),
            }
        ))
    })?;
    Ok(if report.problems.is_empty() { Exit::Done } else { Exit::Corrupt })
}

/// Removes what is not kept.
pub async fn gc(
    context: &Context,
    target: &Target,
    options: &CollectOptions,
    writing: Writing,
) -> Result<Exit, Failure> {
    let remote = target.open(context, Creates::No).await?;
    let report = collect_unheld(&remote, options, writing.single_writer).await?;
    context.output.answer(&to_value(report).unwrap_or_default(), |output| {
        let done = if report.dry_run { "would be removed" } else { "removed" };
        output.line(format!(
            "{} objects {done}, {}; {} versions kept",
            report.removed,
            display_bytes(report.removed_bytes),
            report.versions
        ))
    })?;
    Ok(Exit::Done)
}

/// Takes the database from its holder.
pub async fn unlock(context: &Context, target: &Target) -> Result<Exit, Failure> {
    let remote = target.open(context, Creates::No).await?;
    let mut session = Session::open(remote, None, false).await?;
    let holder = session.unlock().await?;
    context.output.answer(&json!({ "was_held_by": holder }), |output| {
        output.line(match &holder {
            Some(holder) => format!("{} is free; it was held by {holder}", target.label()),
            None => format!("{} is free already", target.label()),
        })
    })?;
    Ok(Exit::Done)
}
