//! `larder get`: bytes out, their digest checked.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use futures::StreamExt;
use larder_core::{Code, text::display_bytes};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Context, place, shown, unfinished::Unfinished};
use crate::{
    backend::{Backend, Download},
    cli::Get,
    failure::{Exit, Failure},
    output::Progress,
};

/// Fetches the asset.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Get) -> Result<Exit, Failure> {
    let (bucket, key) = place::asset(&arguments.asset)?;
    let target = Target::of(arguments, key.file_name())?;
    let download = larder.download(&bucket, &key).await?;
    let progress = context.output.progress(download.size_bytes.unwrap_or(0), "bytes");
    let is_copy = download.digest_start.is_none();
    let outcome = match &target {
        Target::Standard => receive(download, &mut io::stdout().lock(), Failure::from, &progress).await,
        Target::File(path) => to_file(download, path, &progress).await,
    };
    progress.finish();
    let Received { size_bytes, sha256 } = outcome?;
    if is_copy {
        context.output.note("this is a copy without its GPS position; the original has other bytes");
    }
    if let Target::File(path) = &target {
        let answer = json!({ "file": path, "size_bytes": size_bytes, "sha256": sha256 });
        context.output.answer(&answer, |output| {
            output.line(format!("{}  {}", shown(path), display_bytes(size_bytes)))
        })?;
    }
    Ok(Exit::Done)
}

/// What came.
struct Received {
    size_bytes: u64,
    sha256: String,
}

/// Where the bytes go.
#[derive(Debug)]
enum Target {
    Standard,
    File(PathBuf),
}

impl Target {
    fn of(arguments: &Get, name: &str) -> Result<Self, Failure> {
        let path = match &arguments.output {
            Some(path) if path.as_os_str() == "-" => return Ok(Self::Standard),
            Some(path) if path.is_dir() => path.join(name),
            Some(path) => path.clone(),
            None => PathBuf::from(name),
        };
        if path.exists() && !arguments.force {
            return Err(Failure::usage(
                format!("{} exists", shown(&path)),
                "give --force to overwrite it, or another --output",
            ));
        }
        Ok(Self::File(path))
    }
}

/// Writes beside the file and renames, so that a broken download never looks like a whole file.
async fn to_file(download: Download, path: &Path, progress: &Progress) -> Result<Received, Failure> {
    let unwritable = |error| Failure::file(path, "written", error);
    let mut file = Unfinished::of(path).map_err(unwritable)?;
    let received = receive(download, &mut file, unwritable, progress).await?;
    file.finish().map_err(unwritable)?;
    Ok(received)
}

async fn receive(
    mut download: Download,
    target: &mut impl Write,
    unwritable: impl Fn(io::Error) -> Failure,
    progress: &Progress,
) -> Result<Received, Failure> {
    let mut hasher = Sha256::new();
    let mut size_bytes = 0;
    while let Some(chunk) = download.body.next().await {
        let chunk = chunk.map_err(|error| {
            let failure = Failure::new(Code::BackendUnavailable, "the bytes broke off", "try again");
            failure.because_of(error.as_ref())
        })?;
        hasher.update(&chunk);
        target.write_all(&chunk).map_err(&unwritable)?;
        size_bytes += chunk.len() as u64;
        progress.advance(chunk.len() as u64);
    }
    target.flush().map_err(&unwritable)?;
    let sha256 = hex::encode(hasher.finalize());
    match download.digest_start {
        Some(said) if !sha256.starts_with(&said) => Err(Failure::new(
            Code::StoredBytesCorrupt,
            format!(
                "the bytes have the digest {sha256}, and one that begins with {said} was announced for them"
            ),
            "try again; if it stays, restore the asset from a backup",
        )),
        _ => Ok(Received { size_bytes, sha256 }),
    }
}
