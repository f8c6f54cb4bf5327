//! `db backup`, `db export`: versions that are kept, and plain files for others.

use std::path::Path;

use larder_core::text::display_bytes;
use larder_dbsync::{
    Error, PullOptions, Remote, Wanted, backup as keep, backups, default_name, is_default_name, plain, pull,
    remove_backup, unwatched,
};
use larder_store::{ListOptions, Place, Store};
use serde_json::json;

use super::target::{Creates, Target};
use crate::{
    cli::DbBackup,
    commands::Context,
    failure::{Exit, Failure},
};

/// Where plain copies go unless a place is named.
const PLAIN_BACKUPS: &str = "backups/";

/// Keeps a version, puts a plain copy, or gives a backup up.
pub async fn backup(context: &Context, target: &Target, arguments: &DbBackup) -> Result<Exit, Failure> {
    let remote = target.open(context, Creates::No).await?;
    if let Some(name) = &arguments.remove {
        if !remove_backup(&remote, name).await? {
            return Err(Error::Absent { detail: format!("there is no backup \"{name}\"") }.into());
        }
        context
            .output
            .answer(&json!({ "removed": name }), |output| output.line(format!("removed {name}")))?;
        return Ok(Exit::Done);
    }
    let default = default_name(remote.ambient().now());
    let name = arguments.name.clone().unwrap_or(default);
    let wanted = arguments.seq.map_or(Wanted::Newest, Wanted::Seq);
    if let Some(to) = &arguments.to {
        let to = if to.is_empty() { target.sibling(PLAIN_BACKUPS) } else { Target::parse(to)? };
        return plain_backup(context, &remote, wanted, &to, &name, arguments.keep_last).await;
    }
    let made = keep(&remote, &name, &wanted).await?;
    let removed = match arguments.keep_last {
        Some(keep_last) => {
            let names = backups(&remote).await?.into_iter().map(|backup| backup.name).collect();
            let surplus = surplus(names, "", keep_last);
            for name in &surplus {
                remove_backup(&remote, name).await?;
            }
            surplus
        }
        None => Vec::new(),
    };
    let answer = json!({ "name": made.name, "seq": made.seq, "removed": removed });
    context.output.answer(&answer, |output| {
        output.line(format!("{} keeps version {}", made.name, made.seq))?;
        removed.iter().try_for_each(|name| output.line(format!("removed {name}")))
    })?;
    Ok(Exit::Done)
}

async fn plain_backup(
    context: &Context,
    remote: &Remote,
    wanted: Wanted,
    to: &Target,
    name: &str,
    keep_last: Option<usize>,
) -> Result<Exit, Failure> {
    let (store, place) = to.open_file(context, &format!("{name}.db")).await?;
    let bytes = put(remote, wanted, &*store, &place).await?;
    let folder = place.as_str().rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let mut removed = Vec::new();
    if let Some(keep_last) = keep_last {
        let mut names = Vec::new();
        let mut options = ListOptions::under(&folder);
        loop {
            let page = store.list(options.clone()).await.map_err(Error::from)?;
            names.extend(page.entries.iter().map(|entry| entry.place.as_str()[folder.len()..].to_owned()));
            match page.next {
                Some(next) => options.after = Some(next),
                None => break,
            }
        }
        removed = surplus(names, ".db", keep_last);
        for name in &removed {
            let place: Place =
                format!("{folder}{name}").parse().map_err(|error| Failure::usage(format!("{error}"), ""))?;
            store.remove(&place).await.map_err(Error::from)?;
        }
    }
    context.output.answer(
        &json!({ "plain": place.as_str(), "bytes": bytes, "removed": removed }),
        |output| {
            output.line(format!("{place} is a plain copy, {}", display_bytes(bytes)))?;
            removed.iter().try_for_each(|name| output.line(format!("removed {folder}{name}")))
        },
    )?;
    Ok(Exit::Done)
}

/// Backups of default names beyond the newest so many, the oldest first.
fn surplus(mut names: Vec<String>, ending: &str, keep_last: usize) -> Vec<String> {
    names.retain(|name| name.strip_suffix(ending).is_some_and(is_default_name));
    names.sort_unstable();
    names.truncate(names.len().saturating_sub(keep_last));
    names
}

/// Writes a version as a plain file.
pub async fn export(
    context: &Context,
    target: &Target,
    file: &Path,
    wanted: Wanted,
) -> Result<Exit, Failure> {
    let remote = target.open(context, Creates::No).await?;
    let name = file.to_string_lossy();
    let (place, bytes) = if name.starts_with("s3://") || name.starts_with("file://") {
        let default = format!("{}.db", default_name(remote.ambient().now()));
        let (store, place) = Target::parse(&name)?.open_file(context, &default).await?;
        let bytes = put(&remote, wanted, &*store, &place).await?;
        (place.to_string(), bytes)
    } else {
        if file.exists() {
            return Err(Failure::usage(
                format!("{} is there already", file.display()),
                "name another file; `larder db restore` changes one that is there",
            ));
        }
        let options = PullOptions { wanted, force: false, may_go_back: true };
        pull(&remote, file, &options, &unwatched()).await?;
        larder_dbsync::Sidecar::forget(file);
        let bytes = std::fs::metadata(file).map_err(|error| Failure::file(file, "read", error))?.len();
        (file.display().to_string(), bytes)
    };
    context.output.answer(&json!({ "plain": place, "bytes": bytes }), |output| {
        output.line(format!("{place} is a plain SQLite file, {}", display_bytes(bytes)))
    })?;
    Ok(Exit::Done)
}

/// Puts a version as a plain file, by way of a scratch file.
async fn put(remote: &Remote, wanted: Wanted, store: &dyn Store, place: &Place) -> Result<u64, Failure> {
    let folder =
        tempfile::tempdir().map_err(|error| Failure::file(&std::env::temp_dir(), "written", error))?;
    let scratch = folder.path().join("plain.db");
    let options = PullOptions { wanted, force: false, may_go_back: true };
    pull(remote, &scratch, &options, &unwatched()).await?;
    Ok(plain::put(store, place, &scratch).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_oldest_of_default_names_are_too_many() {
        let names = ["backup-20260301-120000", "before-the-move", "backup-20260302-120000", "backup-2026"];
        let names = || names.map(str::to_owned).to_vec();
        assert_eq!(surplus(names(), "", 1), ["backup-20260301-120000"]);
        assert_eq!(surplus(names(), "", 2), Vec::<String>::new());
        assert_eq!(surplus(names(), ".db", 0), Vec::<String>::new());
    }
}
