//! `db push`, `db pull`, `db restore`.

use std::path::Path;

use larder_core::{Timestamp, text::display_bytes};
use larder_dbsync::{
    Error, PullOptions, PullReport, PushOptions, Remote, Wanted, Watch, check_file, plain, pull as pull_into,
    push as push_from,
};
use serde_json::{json, to_value};

use super::{
    steps::{Side, watch},
    target::{Creates, Target},
};
use crate::{
    cli::{Check, Writing},
    commands::Context,
    failure::{Exit, Failure},
};

/// Pushes a file.
pub async fn push(
    context: &Context,
    file: &Path,
    target: &Target,
    force: bool,
    writing: Writing,
) -> Result<Exit, Failure> {
    let remote = target.open(context, Creates::Yes).await?;
    let options = PushOptions { force, single_writer: writing.single_writer };
    let report = push_from(&remote, file, options, &watch(context.output, Side::Nowhere)).await?;
    context.output.answer(&to_value(report).unwrap_or_default(), |output| {
        let target = target.label();
        output.line(match (report.is_behind, report.pages) {
            (true, _) => format!("nothing to push; {target} has version {}, to be pulled", report.seq),
            (false, 0) => format!("{target} has version {} already", report.seq),
            (false, pages) => format!(
                "{target} is version {} now: {pages} of {} pages, {} sent",
                report.seq,
                report.of,
                display_bytes(report.sent_bytes)
            ),
        })
    })?;
    Ok(Exit::Done)
}

/// Pulls into a file.
pub async fn pull(
    context: &Context,
    target: &Target,
    file: &Path,
    wanted: Wanted,
    force: bool,
) -> Result<Exit, Failure> {
    let remote = target.open(context, Creates::No).await?;
    let options = PullOptions { may_go_back: wanted != Wanted::Newest, wanted, force };
    let watch = watch(context.output, Side::Nowhere);
    match pull_or_adopt(&remote, file, &options, &watch).await? {
        Brought::Version(report) => tell(context, target, file, &report),
        Brought::Plain { place, bytes } => {
            let answer = json!({ "plain": place, "bytes": bytes });
            context.output.answer(&answer, |output| {
                let (file, bytes) = (file.display(), display_bytes(bytes));
                output.line(format!(
                    "{file} is the plain file {place}, {bytes}; `larder db push` makes it version 1"
                ))
            })?;
            Ok(Exit::Done)
        }
    }
}

/// What was brought.
pub enum Brought {
    /// A version of the log.
    Version(PullReport),
    /// A plain file, where there is no log yet.
    Plain {
        /// Where it lies.
        place: String,
        /// How large it is.
        bytes: u64,
    },
}

/// Pulls; where there is no log yet but a plain file, that is the database.
///
/// # Errors
/// As both.
pub async fn pull_or_adopt(
    remote: &Remote,
    file: &Path,
    options: &PullOptions,
    watch: &Watch,
) -> Result<Brought, Error> {
    let absent = match pull_into(remote, file, options, watch).await {
        Ok(report) => return Ok(Brought::Version(report)),
        Err(error @ Error::Absent { .. }) if options.wanted == Wanted::Newest && !file.exists() => error,
        Err(error) => return Err(error),
    };
    match plain::find(remote).await? {
        Some(place) => {
            let bytes = plain::fetch(remote, &place, file, watch).await?;
            Ok(Brought::Plain { place: place.to_string(), bytes })
        }
        None => Err(absent),
    }
}

/// Restores a version into a file.
pub async fn restore(
    context: &Context,
    target: &Target,
    file: &Path,
    wanted: Wanted,
    check: Option<Check>,
    force: bool,
) -> Result<Exit, Failure> {
    let remote = target.open(context, Creates::No).await?;
    let options = PullOptions { wanted, force, may_go_back: true };
    let report = pull_into(&remote, file, &options, &watch(context.output, Side::Nowhere)).await?;
    if let Some(check) = check {
        check_file(file, check == Check::Full).await?;
        context.output.note(format!("{} is whole", file.display()));
    }
    tell(context, target, file, &report)
}

fn tell(context: &Context, target: &Target, file: &Path, report: &PullReport) -> Result<Exit, Failure> {
    context.output.answer(&to_value(report).unwrap_or_default(), |output| {
        let (file, time) = (file.display(), Timestamp::from_millis(report.time_ms as i64));
        output.line(match (report.is_ahead, report.pages) {
            (true, _) => format!("{file} has changes to be pushed; {} has nothing newer", target.label()),
            (false, 0) => format!("{file} is version {} of {time} already", report.seq),
            (false, pages) => {
                format!(
                    "{file} is version {} of {time} now: {pages} of {} pages fetched",
                    report.seq, report.of
                )
            }
        })
    })?;
    Ok(Exit::Done)
}
