//! How fast the catalogue writes on this machine. Not a promise, so ignored; run it with
//! `cargo nextest run -p larder-catalog --test rates --run-ignored all --no-capture`.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use larder_catalog::{Catalog, Class, NewJob, Target, UploadRecord, UploadStatus};
use larder_core::{Ambient, UploadId};
use serde_json::json;

/// How long each figure is measured.
const MEASURED: Duration = Duration::from_secs(4);

fn upload(ambient: &Ambient) -> UploadRecord {
    let now = ambient.now();
    UploadRecord {
        id: UploadId::new(ambient),
        bucket: "media".parse().expect("a bucket name"),
        key: None,
        status: UploadStatus::Processing,
        stage: "inspecting".into(),
        progress_percentage: 0,
        bytes_received: 3_145_728,
        bytes_total: Some(3_145_728),
        error: None,
        asset_id: None,
        asset_version: None,
        staging_place: Some("0195f1e0-0000-7000-8000-000000000000".into()),
        staging_store: "local".into(),
        sha256: Some("ab".repeat(32)),
        md5: Some("cd".repeat(16)),
        size_bytes: Some(3_145_728),
        content_type: Some("image/jpeg".into()),
        declared_type: Some("image/jpeg".into()),
        original_filename: Some("IMG_2045.jpg".into()),
        owner: Some("user-1".into()),
        metadata: json!({}),
        tags: Vec::new(),
        door: "form".into(),
        credential: None,
        created_at: now,
        updated_at: now,
        expires_at: now.plus(Duration::from_secs(86_400)),
        asset_expires_at: None,
        finished_at: None,
    }
}

async fn store_uploads(catalog: Catalog, until: Instant) {
    while Instant::now() < until {
        let upload = upload(catalog.ambient());
        catalog
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    tx.insert_upload(&upload).await?;
                    tx.enqueue(NewJob::new("ingest", "ingest").subject(upload.id)).await
                })
            })
            .await
            .expect("a commit");
    }
}

async fn drain(catalog: Catalog, until: Instant) -> u64 {
    let mut done = 0;
    while Instant::now() < until {
        let claimed =
            catalog.claim("w", &["ingest".to_owned()], Duration::from_secs(30)).await.expect("a claim");
        let Some(claimed) = claimed else { break };
        catalog
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.finish_job(claimed.lease).await }))
            .await
            .expect("a commit");
        done += 1;
    }
    done
}

async fn measure(name: &str, target: &Target) {
    let catalog = Catalog::open(target, Ambient::system()).await.expect("the catalogue opens");
    catalog.migrate().await.expect("the catalogue migrates");
    for callers in [1, 4, 16, 64] {
        let before = catalog.commit_counters(Class::Durable);
        let start = Instant::now();
        let tasks = (0..callers).map(|_| tokio::spawn(store_uploads(catalog.clone(), start + MEASURED)));
        for task in futures::future::join_all(tasks).await {
            task.expect("no panic");
        }
        let seconds = start.elapsed().as_secs_f64();
        let after = catalog.commit_counters(Class::Durable);
        let (commits, operations) = (after.commits - before.commits, after.operations - before.operations);
        report(&format!(
            "{name}: upload + job, {callers} callers: {:.0} transactions/s in {:.0} commits/s ({:.1} a commit)",
            operations as f64 / seconds,
            commits as f64 / seconds,
            operations as f64 / commits as f64,
        ));
    }
    for workers in [1, 4] {
        let start = Instant::now();
        let tasks = (0..workers).map(|_| tokio::spawn(drain(catalog.clone(), start + MEASURED)));
        let done: u64 =
            futures::future::join_all(tasks).await.into_iter().map(|done| done.expect("no panic")).sum();
        report(&format!(
            "{name}: claim + finish, {workers} workers: {:.0} jobs/s",
            done as f64 / start.elapsed().as_secs_f64()
        ));
    }
}

fn report(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn commit_rates() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on a real disk");
    let target = Target::Sqlite {
        catalog: directory.path().join("catalog.db"),
        state: directory.path().join("state.db"),
    };
    measure("sqlite", &target).await;
    let database = larder_testkit::postgres::database().await;
    measure("postgresql", &Target::from_url(&database.url).expect("an address")).await;
}
