//! The child's side.

use std::{
    io::{BufRead as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use larder_catalog::{Catalog, Class, NewJob, Target, UploadRecord, UploadStatus};
use larder_core::{Ambient, UploadId};
use serde_json::json;

const TASK: &str = "LARDER_CHILD_TASK";
const TARGET: &str = "LARDER_CHILD_TARGET";

/// Starts a child that does `task` with the catalogue at `target`: a directory, or an address.
pub fn start(task: &str, target: &str) -> Child {
    Command::new(std::env::current_exe().expect("our own path"))
        .args(["--exact", "child::child", "--ignored", "--nocapture"])
        .env(TASK, task)
        .env(TARGET, target)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts")
}

/// The lines that a child prints and that begin with `prefix`, until it ends.
pub fn lines(child: &mut Child, prefix: &'static str) -> impl Iterator<Item = String> + use<> {
    let output = child.stdout.take().expect("the child's output is a pipe");
    std::io::BufReader::new(output)
        .lines()
        .map_while(Result::ok)
        .filter_map(move |line| line.strip_prefix(prefix).map(str::to_owned))
}

/// The catalogue that `target` means.
pub fn target(text: &str) -> Target {
    if text.contains("://") {
        return Target::from_url(text).expect("an address");
    }
    let directory = Path::new(text);
    Target::Sqlite { catalog: directory.join("catalog.db"), state: directory.join("state.db") }
}

/// An upload that is stored nowhere yet.
pub fn upload(ambient: &Ambient) -> UploadRecord {
    let now = ambient.now();
    UploadRecord {
        id: UploadId::new(ambient),
        bucket: "media".parse().expect("a bucket name"),
        key: None,
        status: UploadStatus::Processing,
        stage: "inspecting".into(),
        progress_percentage: 0,
        bytes_received: 1,
        bytes_total: None,
        error: None,
        asset_id: None,
        asset_version: None,
        staging_place: None,
        staging_store: "local".into(),
        sha256: None,
        md5: None,
        size_bytes: None,
        content_type: None,
        declared_type: None,
        original_filename: None,
        owner: None,
        metadata: json!({}),
        tags: Vec::new(),
        door: "raw".into(),
        credential: None,
        created_at: now,
        updated_at: now,
        expires_at: now.plus(Duration::from_secs(60)),
        asset_expires_at: None,
        finished_at: None,
    }
}

/// Stores an upload and its job in one transaction.
pub async fn store(catalog: &Catalog, upload: UploadRecord) -> larder_catalog::Result<()> {
    catalog
        .commit(Class::Durable, move |tx| {
            Box::pin(async move {
                tx.insert_upload(&upload).await?;
                tx.enqueue(NewJob::new("ingest", "ingest").subject(upload.id)).await.map(drop)
            })
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is started by the other tests"]
async fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let target = target(&std::env::var(TARGET).expect("a target"));
    let ambient = Ambient::system();
    let catalog = Catalog::open(&target, ambient.clone()).await.expect("the catalogue opens");
    match task.as_str() {
        "migrate" => {
            let applied = catalog.migrate().await.expect("the catalogue migrates");
            say(&format!("migrated {}", applied.versions.len()));
        }
        "write" => {
            let writers = (0..8).map(|_| write_forever(catalog.clone(), ambient.clone()));
            futures::future::join_all(writers).await;
        }
        other => panic!("no task {other}"),
    }
}

async fn write_forever(catalog: Catalog, ambient: Ambient) {
    loop {
        let upload = upload(&ambient);
        let id = upload.id;
        store(&catalog, upload).await.expect("a commit");
        say(&format!("stored {id}"));
    }
}

/// Prints a line in one write, so that the lines of several tasks do not mix.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    output
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| output.flush())
        .expect("our output is open");
}
