//! `db run`, `db replicate`: a database that is followed while it is used.

use std::{path::Path, process::ExitStatus};

use larder_core::text::display_bytes;
use larder_dbsync::{
    CollectOptions, CollectWhile, Error, Event, FileLock, Finished, PullOptions, Remote, ReplicateOptions,
    Replicator, Session, Waiting, Wanted, Watch, pull,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    child::{Program, exit_of},
    moves::{Brought, pull_or_adopt},
    retention,
    steps::{Side, watch},
    target::{Creates, Target},
};
use crate::{
    cli::{Collecting, DbReplicate, DbRun, Writing},
    commands::Context,
    failure::{Exit, Failure},
    service::stop,
};

/// Runs a program on a database.
pub async fn run(
    context: &Context,
    target: &Target,
    file: &Path,
    arguments: &DbRun,
) -> Result<Exit, Failure> {
    let output = &context.output;
    let watch = watch(*output, Side::Err);
    let remote = target.open(context, Creates::Yes).await?;
    output.note(format!("connected to {}", target.label()));
    let (mut session, _lock) = take(remote, file, &watch, arguments.writing).await?;
    if let Err(failure) = bring(context, &mut session, file, arguments.create, &watch).await {
        session.release().await?;
        return Err(failure);
    }
    let collect = collect(arguments.collecting);
    let options = ReplicateOptions { interval: arguments.interval.0, renew: true, collect };
    let replicator = Replicator::begin(session, file, options, watch.clone()).await?;
    let program = Program::start(&arguments.command);
    let mut program = match program {
        Ok(program) => program,
        Err(failure) => {
            replicator.finish().await?;
            return Err(failure);
        }
    };
    let name = arguments.command[0].to_string_lossy();
    output.note(format!("running {name}"));
    if arguments.discard_on_failure {
        return run_all_or_nothing(context, replicator, program, file, &watch).await;
    }
    let (status, replicated) = accompany(context, replicator, &mut program).await?;
    tell_end(context, &name, status);
    conclude(context, target, status, replicated)
}

fn collect(Collecting { no_gc, keeping }: Collecting) -> Option<CollectWhile> {
    let options = CollectOptions { retention: retention(keeping), ..CollectOptions::default() };
    (!no_gc).then(|| CollectWhile { options, ..CollectWhile::default() })
}

/// Waits for the database and takes it.
///
/// The lock is to be kept as long as the session: by it, who begins after a kill of this process knows that it is dead.
async fn take(
    remote: Remote,
    file: &Path,
    watch: &Watch,
    writing: Writing,
) -> Result<(Session, Option<FileLock>), Failure> {
    let lock = FileLock::try_take(file)?;
    let mut session = Session::open(remote, None, writing.single_writer).await?;
    if let Some(lock) = &lock {
        lock.tell(&mut session);
    }
    session
        .claim(&mut |waiting| {
            if let Waiting::For(owner) = waiting {
                watch(&Event::Waiting { owner: owner.to_owned() });
            }
            Ok(())
        })
        .await?;
    if let Some(lock) = &lock {
        lock.record(&session)?;
    }
    watch(&Event::Claimed { seq: session.newest().seq });
    Ok((session, lock))
}

/// Makes the file the newest version, if it is not ahead of that.
async fn bring(
    context: &Context,
    session: &mut Session,
    file: &Path,
    create: bool,
    watch: &Watch,
) -> Result<(), Failure> {
    let (remote, options) = (session.remote().clone(), PullOptions::default());
    let brought = session.holding(pull_or_adopt(&remote, file, &options, watch)).await?;
    match brought {
        Ok(Brought::Version(report)) if report.is_ahead => {
            context
                .output
                .note(format!("{} has changes that were not pushed: they go along", file.display()));
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(Error::Absent { .. }) if create || file.exists() => Ok(()),
        Err(error @ Error::Absent { .. }) => {
            let mut failure = Failure::from(error);
            failure.remedy =
                "push a database there first, or give --create if the program makes it".to_owned();
            Err(failure)
        }
        Err(error) => Err(error.into()),
    }
}

/// Replicates while the program runs, and what is left when it has ended.
async fn accompany(
    context: &Context,
    mut replicator: Replicator,
    program: &mut Program,
) -> Result<(ExitStatus, Result<Finished, Error>), Failure> {
    let ended = CancellationToken::new();
    let (outcome, status) = {
        let following = replicator.run(ended.cancelled());
        tokio::pin!(following);
        tokio::select! {
            status = program.wait() => {
                ended.cancel();
                (following.await, Some(status?))
            }
            outcome = &mut following => (outcome, None),
        }
    };
    let status = match status {
        Some(status) => status,
        None => {
            if let Err(error) = &outcome {
                context.output.note(format!("larder: {error}: ending the program"));
            }
            let status = program.end().await;
            status.ok_or_else(|| Failure::configuration("the program can't be waited for", ""))?
        }
    };
    let replicated = match outcome {
        Ok(()) => replicator.finish().await,
        Err(error) => Err(error),
    };
    Ok((status, replicated))
}

/// The program's own code if it failed, else ours.
fn conclude(
    context: &Context,
    target: &Target,
    status: ExitStatus,
    replicated: Result<Finished, Error>,
) -> Result<Exit, Failure> {
    let exit = exit_of(status);
    match replicated {
        Ok(finished) => {
            let total = finished.total;
            context.output.json_note(&json!({
                "event": "finished", "seq": finished.seq, "commits": total.commits, "pages": total.pages,
                "sent_bytes": total.sent_bytes, "exit": exit.code(),
            }));
            context.output.note(format!(
                "{} is version {}: {} commits, {} pages, {} sent",
                target.label(),
                finished.seq,
                total.commits,
                total.pages,
                display_bytes(total.sent_bytes)
            ));
            Ok(exit)
        }
        Err(error) => {
            let mut failure = Failure::from(error);
            // A push that fails at the end leaves the file with more than the store has, whatever the reason.
            failure.exit = if exit == Exit::Done { Exit::Parted } else { exit };
            Err(failure)
        }
    }
}

fn tell_end(context: &Context, name: &str, status: ExitStatus) {
    context.output.note(match exit_of(status) {
        Exit::Done => format!("{name} ended well"),
        exit => format!("{name} ended with code {}", exit.code()),
    });
}

/// Pushes only if the program succeeds; else the file becomes what it was.
async fn run_all_or_nothing(
    context: &Context,
    mut replicator: Replicator,
    mut program: Program,
    file: &Path,
    watch: &Watch,
) -> Result<Exit, Failure> {
    let ended = CancellationToken::new();
    let (outcome, status) = {
        let holding = replicator.hold(ended.cancelled());
        tokio::pin!(holding);
        tokio::select! {
            status = program.wait() => {
                ended.cancel();
                (holding.await, Some(status?))
            }
            outcome = &mut holding => (outcome, None),
        }
    };
    let status = match status {
        Some(status) => Some(status),
        None => program.end().await,
    };
    outcome?;
    let exit = status.map_or(Exit::Failed, exit_of);
    if let Some(status) = status {
        tell_end(context, "the program", status);
    }
    if exit == Exit::Done {
        let finished =
            replicator.finish().await.map_err(|error| Failure { exit: Exit::Parted, ..error.into() })?;
        context.output.note(format!("version {} is in the store", finished.seq));
        return Ok(exit);
    }
    let remote = replicator.session().remote().clone();
    let is_new = replicator.session().newest().page_size == 0;
    replicator.abandon().await?;
    if is_new {
        context.output.note(format!("nothing was pushed; {} is as the program left it", file.display()));
        return Ok(exit);
    }
    let options = PullOptions { wanted: Wanted::Newest, force: true, may_go_back: true };
    let report = pull(&remote, file, &options, watch).await?;
    context.output.note(format!("nothing was pushed; {} is version {} again", file.display(), report.seq));
    Ok(exit)
}

/// Replicates until a signal or the end of a program.
pub async fn replicate(
    context: &Context,
    file: &Path,
    target: &Target,
    arguments: &DbReplicate,
) -> Result<Exit, Failure> {
    let command = &arguments.command;
    let side = if command.is_empty() { Side::Out } else { Side::Err };
    let watch = watch(context.output, side);
    let remote = target.open(context, Creates::Yes).await?;
    context.output.note(format!("connected to {}", target.label()));
    let (session, _lock) = take(remote, file, &watch, arguments.writing).await?;
    let collect = collect(arguments.collecting);
    let options = ReplicateOptions { interval: arguments.interval.0, renew: false, collect };
    let mut replicator = Replicator::begin(session, file, options, watch.clone()).await?;
    context.output.note(format!("replicating {} to {}", file.display(), target.label()));
    if !command.is_empty() {
        let mut program = Program::start(command)?;
        let (status, replicated) = accompany(context, replicator, &mut program).await?;
        tell_end(context, &command[0].to_string_lossy(), status);
        return conclude(context, target, status, replicated);
    }
    let stopping = stop::on_signals()?;
    replicator.run(stopping.cancelled()).await?;
    let finished = replicator.finish().await?;
    context.output.note(format!("{} is version {}", target.label(), finished.seq));
    Ok(Exit::Done)
}
