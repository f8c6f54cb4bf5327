//! `larder put`: files and folders in.

mod digest;
mod plan;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use larder_assets::{AssetView, UploadView, VariantView};
use larder_core::{Ambient, BucketName, Code, Fault, Timestamp, limits::WAIT_MAX, text::display_bytes};
use serde::Serialize;
use serde_json::{Map, Value};

use self::plan::Item;
use super::{Context, place, shown};
use crate::{
    backend::{Backend, Sending},
    cli::Put,
    failure::{Exit, Failure},
    output::Progress,
};

/// Files on their way at a time: enough to keep hashing, network and disk busy at once.
const AT_A_TIME: usize = 4;

/// Pause between looks at an asset whose bytes were replaced.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What became of a file: a line of the `--json` stream.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    outcome: What,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload: Option<UploadView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asset: Option<AssetView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    variants: Vec<VariantView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Fault>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    /// New in the bucket.
    Stored,
    /// Other bytes lay under its key.
    Replaced,
    /// The bucket holds these bytes under this key.
    Skipped,
    /// Refused or broken off.
    Failed,
}

/// What is the same for all files.
struct Sender<'a> {
    larder: &'a dyn Backend,
    arguments: &'a Put,
    bucket: BucketName,
    metadata: Map<String, Value>,
    expires_at: Option<Timestamp>,
    progress: Progress,
}

/// Brings the files in.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Put) -> Result<Exit, Failure> {
    if let Some(tag) = arguments.tags.iter().find(|tag| tag.contains(',')) {
        return Err(Failure::usage(
            format!("the tag \"{tag}\" holds a comma"),
            "give --tag once for each tag",
        ));
    }
    let bucket = place::bucket(&arguments.bucket)?;
    // A bucket that is not there is one mistake, not one for each file.
    if_allowed(larder.bucket(&bucket).await.map(drop))?;
    let items = plan::items(arguments)?;
    if !arguments.no_wait {
        larder.run_jobs().await?;
    }
    let total = items.iter().map(|item| item.size_bytes).sum();
    let sender = Sender {
        larder,
        arguments,
        bucket,
        metadata: arguments
            .metadata
            .iter()
            .map(|pair| (pair.name.clone(), Value::from(pair.value.clone())))
            .collect(),
        expires_at: arguments.expires.map(|life| Ambient::system().now().plus(life.0)),
        progress: context.output.progress(total, "bytes"),
    };
    let sender = &sender;
    let mut reports = stream::iter(items).map(|item| sender.send(item)).buffer_unordered(AT_A_TIME);
    let mut counts = Counts::default();
    while let Some(report) = reports.next().await {
        counts.add(&report);
        sender.progress.suspend(|| print(context, &report))?;
    }
    sender.progress.finish();
    if counts.total() > 1 {
        context.output.note(counts.to_string());
    }
    Ok(counts.exit())
}

impl Sender<'_> {
    async fn send(&self, item: Item) -> Report {
        let file = shown(&item.path);
        self.progress.at(&file);
        match self.deliver(item).await {
            Ok(report) => Report { file, ..report },
            Err(fault) => Report {
                file,
                outcome: What::Failed,
                upload: None,
                asset: None,
                variants: Vec::new(),
                error: Some(fault),
            },
        }
    }

    async fn deliver(&self, item: Item) -> Result<Report, Fault> {
        let sha256 = digest::of_file(&item.path).await?;
        let present = match &item.key {
            // Without the right to look, the server still refuses a key that is taken.
            Some(key) => if_allowed(self.larder.asset_at(&self.bucket, key).await)?,
            None => None,
        };
        let Some(present) = present else {
            let key = item.key.clone();
            return match (self.store(item, sha256.clone()).await, key) {
                (Err(fault), Some(key)) if fault.code == Code::Conflict => {
                    // An upload that waited was faster, such as that of this command before it broke off.
                    match if_allowed(self.larder.asset_at(&self.bucket, &key).await)? {
                        Some(present) if present.sha256 == sha256 => self.skipped(present).await,
                        _ => Err(fault),
                    }
                }
                (outcome, _) => outcome,
            };
        };
        if present.sha256 == sha256 {
            self.progress.advance(item.size_bytes);
            return self.skipped(present).await;
        }
        if !self.arguments.replace {
            return Err(Fault::new(
                Code::Conflict,
                format!("{}/{} holds other bytes", present.bucket, present.key),
            )
            .remedy("give --replace to write over it, or another --key or --prefix"));
        }
        let asset = self.larder.replace(self.sending(item, sha256)).await?;
        let asset = if self.arguments.no_wait { asset } else { self.settled(asset).await? };
        let variants = if_allowed(self.larder.variants(asset.id).await)?;
        Ok(report(What::Replaced, None, Some(asset), variants))
    }

    async fn skipped(&self, present: AssetView) -> Result<Report, Fault> {
        let variants = if_allowed(self.larder.variants(present.id).await)?;
        Ok(report(What::Skipped, None, Some(present), variants))
    }

    async fn store(&self, item: Item, sha256: String) -> Result<Report, Fault> {
        let mut upload = self.larder.upload(self.sending(item, sha256)).await?;
        while !self.arguments.no_wait && !upload.is_finished() {
            upload = self.larder.wait(upload.id, WAIT_MAX).await?;
        }
        match upload.error.clone() {
            Some(fault) if upload.status == "failed" => Err(fault),
            _ => {
                let variants = upload.variants.values().cloned().collect();
                Ok(report(What::Stored, Some(upload.clone()), upload.asset, variants))
            }
        }
    }

    /// The asset, when its variants are made.
    async fn settled(&self, mut asset: AssetView) -> Result<AssetView, Fault> {
        while asset.status == "processing" {
            tokio::time::sleep(LOOK_AGAIN).await;
            match self.larder.asset_at(&asset.bucket, &asset.key).await? {
                Some(now) => asset = now,
                None => break,
            }
        }
        Ok(asset)
    }

    fn sending(&self, item: Item, sha256: String) -> Sending {
        let progress = self.progress.clone();
        Sending {
            path: item.path,
            size_bytes: item.size_bytes,
            sha256,
            bucket: self.bucket.clone(),
            key: item.key,
            owner: self.arguments.owner.clone(),
            tags: self.arguments.tags.clone(),
            metadata: self.metadata.clone(),
            expires_at: self.expires_at,
            on_bytes: Arc::new(move |bytes| progress.advance(bytes)),
        }
    }
}

/// What a key that may only write does not get to see is left out.
fn if_allowed<T: Default>(outcome: Result<T, Fault>) -> Result<T, Fault> {
    match outcome {
        Err(fault) if fault.code == Code::Forbidden => Ok(T::default()),
        other => other,
    }
}

fn report(
    outcome: What,
    upload: Option<UploadView>,
    asset: Option<AssetView>,
    variants: Vec<VariantView>,
) -> Report {
    Report { file: String::new(), outcome, upload, asset, variants, error: None }
}

fn print(context: &Context, report: &Report) -> Result<(), Failure> {
    let output = &context.output;
    output.json(report)?;
    if let Some(fault) = &report.error {
        output.note(format!("refused {}: {}", report.file, fault.detail));
        if !fault.remedy.is_empty() {
            output.note(format!("  remedy: {}", fault.remedy));
        }
        return Ok(());
    }
    let verb = match report.outcome {
        What::Stored => "stored",
        What::Replaced => "replaced",
        What::Skipped => "is there",
        What::Failed => "failed",
    };
    match (&report.asset, &report.upload) {
        (Some(asset), _) => {
            output.line(format!(
                "{verb} {}/{}  {}  {}",
                asset.bucket,
                asset.key,
                display_bytes(asset.size_bytes),
                asset.url
            ))?;
        }
        (None, Some(upload)) => output.line(format!("accepted {} as upload {}", report.file, upload.id))?,
        (None, None) => {}
    }
    for variant in &report.variants {
        let name = variant.preset.as_deref().unwrap_or(&variant.recipe);
        let size = match (variant.width, variant.height) {
            (Some(width), Some(height)) => format!("{width}x{height}"),
            _ => variant.status.clone(),
        };
        output.line(format!("  {name}  {size}  {}", variant.url))?;
    }
    Ok(())
}

/// How many files went how.
#[derive(Debug, Default)]
struct Counts {
    stored: usize,
    replaced: usize,
    skipped: usize,
    failed: usize,
}

impl Counts {
    fn add(&mut self, report: &Report) {
        match report.outcome {
            What::Stored => self.stored += 1,
            What::Replaced => self.replaced += 1,
            What::Skipped => self.skipped += 1,
            What::Failed => self.failed += 1,
        }
    }

    fn total(&self) -> usize {
        self.stored + self.replaced + self.skipped + self.failed
    }

    fn exit(&self) -> Exit {
        match self.failed {
            0 => Exit::Done,
            failed if failed == self.total() => Exit::Failed,
            _ => Exit::Partly,
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} stored, {} replaced, {} skipped (already there), {} failed",
            self.stored, self.replaced, self.skipped, self.failed
        )
    }
}
