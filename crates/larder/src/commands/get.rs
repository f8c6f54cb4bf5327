//! `larder get`: bytes out, their digest checked.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use futures::StreamExt;
use larder_core::{Code, text::display_bytes};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Context, place, shown};
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
    let size = download.asset.size_bytes;
    let progress = context.output.progress(size, "bytes");
    let sha256 = download.asset.sha256.clone();
    let outcome = match &target {
        Target::Standard => receive(download, &mut std::io::stdout().lock(), &progress).await,
        Target::File(path) => to_file(download, path, &progress).await,
    };
    progress.finish();
    outcome?;
    if let Target::File(path) = &target {
        let answer = json!({ "file": path, "size_bytes": size, "sha256": sha256 });
        context
            .output
            .answer(&answer, |output| output.line(format!("{}  {}", shown(path), display_bytes(size))))?;
    }
    Ok(Exit::Done)
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
async fn to_file(download: Download, path: &Path, progress: &Progress) -> Result<(), Failure> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".part");
    let temporary = PathBuf::from(temporary);
    let mut file =
        std::fs::File::create(&temporary).map_err(|error| Failure::file(&temporary, "written", error))?;
    let received = receive(download, &mut file, progress).await;
    let kept = received.and_then(|()| {
        std::fs::rename(&temporary, path).map_err(|error| Failure::file(path, "written", error))
    });
    if kept.is_err() {
        // The failure that counts is the one before.
        let _ = std::fs::remove_file(&temporary);
    }
    kept
}

async fn receive(
    mut download: Download,
    target: &mut impl Write,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut hasher = Sha256::new();
    while let Some(chunk) = download.body.next().await {
        let chunk = chunk.map_err(|error| {
            let failure = Failure::new(Code::BackendUnavailable, "the bytes broke off", "try again");
            failure.because_of(error.as_ref())
        })?;
        hasher.update(&chunk);
        target.write_all(&chunk)?;
        progress.advance(chunk.len() as u64);
    }
    target.flush()?;
    let found = hex::encode(hasher.finalize());
    if found == download.asset.sha256 {
        return Ok(());
    }
    Err(Failure::new(
        Code::StoredBytesCorrupt,
        format!("the bytes have the digest {found}, and the record says {}", download.asset.sha256),
        "try again; if it stays, restore the asset (a bucket that strips GPS positions serves a copy: read on its machine)",
    ))
}
