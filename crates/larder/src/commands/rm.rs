//! `larder rm`: delete, never silently nothing.

use larder_assets::{AssetQuery, Deleted};
use larder_core::{BucketName, Code, Fault, ObjectKey, text::display_bytes};
use serde_json::json;

use super::{Context, place};
use crate::{
    backend::{Backend, PAGE_ITEMS},
    cli::Rm,
    failure::{Exit, Failure},
};

/// An asset that is to be deleted.
struct Victim {
    bucket: BucketName,
    key: ObjectKey,
    size_bytes: u64,
}

/// Deletes.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Rm) -> Result<Exit, Failure> {
    let output = &context.output;
    let mut missing = 0_usize;
    let mut victims = Vec::new();
    for text in &arguments.assets {
        let found = if arguments.prefix { below(larder, text).await? } else { exactly(larder, text).await? };
        if found.is_empty() {
            missing += 1;
            output.failure(&Failure::new(
                Code::AssetNotFound,
                format!("there is nothing to delete at {text}"),
                "list the bucket to see its keys; --prefix deletes everything that begins with the text",
            ));
        }
        victims.extend(found);
    }
    let bytes: u64 = victims.iter().map(|victim| victim.size_bytes).sum();
    if arguments.dry_run {
        for victim in &victims {
            output.json(
                &json!({ "bucket": victim.bucket, "key": victim.key, "size_bytes": victim.size_bytes }),
            )?;
            output.line(format!("would delete {}/{}", victim.bucket, victim.key))?;
        }
        output.note(format!("{} assets, {}; nothing was deleted", victims.len(), display_bytes(bytes)));
        return Ok(exit(victims.len(), missing));
    }
    if victims.is_empty() {
        return Ok(Exit::Failed);
    }
    confirm(context, arguments, victims.len(), bytes).await?;
    let mut failed = missing;
    let mut done = 0;
    for victim in &victims {
        match larder.delete(&victim.bucket, &victim.key, arguments.purge).await {
            Ok(deleted) => {
                done += 1;
                print(context, &deleted)?;
            }
            Err(fault) => {
                failed += 1;
                output.failure(&named(victim, fault));
            }
        }
    }
    Ok(exit(done, failed))
}

/// Deleting by prefix, and for good, is asked back: one word too few can mean a whole bucket.
async fn confirm(context: &Context, arguments: &Rm, count: usize, bytes: u64) -> Result<(), Failure> {
    if arguments.yes || !(arguments.prefix || arguments.purge) {
        return Ok(());
    }
    let fate = if arguments.purge { "for good" } else { "into the trash" };
    let question = format!("delete {count} assets ({}) {fate}?", display_bytes(bytes));
    if context.output.confirm(&question).await {
        return Ok(());
    }
    Err(Failure::usage(
        format!("not confirmed: {count} assets, {}, nothing was deleted", display_bytes(bytes)),
        "give --yes, or look first with --dry-run",
    ))
}

async fn exactly(larder: &dyn Backend, text: &str) -> Result<Vec<Victim>, Failure> {
    let (bucket, key) = place::asset(text)?;
    let found = larder.asset_at(&bucket, &key).await?;
    Ok(found.map(|asset| Victim { bucket, key, size_bytes: asset.size_bytes }).into_iter().collect())
}

async fn below(larder: &dyn Backend, text: &str) -> Result<Vec<Victim>, Failure> {
    let (bucket, prefix) = place::prefix(text)?;
    let mut query = AssetQuery { prefix: Some(prefix), limit: PAGE_ITEMS, ..AssetQuery::default() };
    let mut victims = Vec::new();
    loop {
        let page = larder.assets(&bucket, &query).await?;
        victims.extend(page.items.into_iter().map(|asset| Victim {
            bucket: asset.bucket,
            key: asset.key,
            size_bytes: asset.size_bytes,
        }));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(victims),
        }
    }
}

fn print(context: &Context, deleted: &Deleted) -> Result<(), Failure> {
    context.output.json(deleted)?;
    let fate = match deleted.restore_until {
        Some(until) => format!("can be restored until {until}"),
        None => "gone for good".to_owned(),
    };
    context.output.line(format!("deleted {}/{} ({fate})", deleted.bucket, deleted.key))
}

fn named(victim: &Victim, fault: Fault) -> Failure {
    let mut failure = Failure::from(fault);
    failure.cause = format!("{}/{}: {}", victim.bucket, victim.key, failure.cause);
    failure
}

fn exit(done: usize, failed: usize) -> Exit {
    match (done, failed) {
        (_, 0) => Exit::Done,
        (0, _) => Exit::Failed,
        _ => Exit::Partly,
    }
}
