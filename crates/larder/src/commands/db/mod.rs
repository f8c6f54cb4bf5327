//! `larder db`: a SQLite database to and from a bucket.

mod backup;
mod child;
mod follow;
mod look;
mod moves;
mod steps;
mod target;

use std::path::{Path, PathBuf};

use larder_dbsync::{CollectOptions, Retention, Wanted};

use self::target::Target;
use super::Context;
use crate::{
    cli::{Db, DbVersion, Keeping},
    failure::{Exit, Failure},
};

/// Runs one of the commands.
pub async fn run(context: &Context, command: Db) -> Result<Exit, Failure> {
    if context.server().is_some() {
        return Err(Failure::usage(
            "a database is carried with the credentials of this environment, not over a server",
            "leave --server and LARDER_SERVER away",
        ));
    }
    match command {
        Db::Push { places, force, writing } => {
            let (file, target) = file_first(context, &places)?;
            moves::push(context, &file, &target, force, writing).await
        }
        Db::Pull { places, version, force } => {
            let (target, file) = file_last(context, &places)?;
            moves::pull(context, &target, &file, wanted(version), force).await
        }
        Db::Restore { places, version, verify, force } => {
            let (target, file) = file_last(context, &places)?;
            moves::restore(context, &target, &file, wanted(version), verify, force).await
        }
        Db::Export { places, version } => {
            let (target, file) = file_last(context, &places)?;
            backup::export(context, &target, &file, wanted(version)).await
        }
        Db::Run(arguments) => {
            let (target, file) = file_last(context, &arguments.places)?;
            follow::run(context, &target, &file, &arguments).await
        }
        Db::Replicate(arguments) => {
            let (file, target) = file_first(context, &arguments.places)?;
            follow::replicate(context, &file, &target, &arguments).await
        }
        Db::Backup(arguments) => {
            let target = Target::given(context, arguments.url.as_deref())?;
            backup::backup(context, &target, &arguments).await
        }
        Db::Ls { url, versions } => {
            look::ls(context, &Target::given(context, url.as_deref())?, versions).await
        }
        Db::Verify { url, scratch } => {
            let scratch = scratch.unwrap_or_else(std::env::temp_dir);
            look::verify(context, &Target::given(context, url.as_deref())?, &scratch).await
        }
        Db::Gc { url, keeping, min_age, dry_run, writing } => {
            let options = CollectOptions { retention: retention(keeping), age_min: min_age.0, dry_run };
            look::gc(context, &Target::given(context, url.as_deref())?, &options, writing).await
        }
        Db::Unlock { url } => look::unlock(context, &Target::given(context, url.as_deref())?).await,
    }
}

/// `FILE [URL]`.
fn file_first(context: &Context, places: &[String]) -> Result<(PathBuf, Target), Failure> {
    let target = Target::given(context, places.get(1).map(String::as_str))?;
    Ok((file(&places[0])?, target))
}

/// `[URL] FILE`.
fn file_last(context: &Context, places: &[String]) -> Result<(Target, PathBuf), Failure> {
    match places {
        [url, name] => Ok((Target::parse(url)?, file(name)?)),
        [name] => Ok((Target::of_environment(context)?, file(name)?)),
        _ => Err(Failure::usage("a URL and a file are needed", "see larder db --help")),
    }
}

fn file(name: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(name);
    match name.is_empty() || path.is_dir() {
        true => Err(Failure::usage(format!("\"{name}\" is no file"), "name the file of the database")),
        false => Ok(path.to_owned()),
    }
}

fn retention(Keeping { keep, daily, weekly }: Keeping) -> Retention {
    Retention { keep: keep.0, daily, weekly }
}

fn wanted(version: DbVersion) -> Wanted {
    match version {
        DbVersion { at: Some(time), .. } => Wanted::At(time.as_millis().max(0) as u64),
        DbVersion { seq: Some(seq), .. } => Wanted::Seq(seq),
        DbVersion { name: Some(name), .. } => Wanted::Name(name),
        _ => Wanted::Newest,
    }
}
