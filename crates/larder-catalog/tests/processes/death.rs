//! A process is killed in the middle of writing.

use larder_catalog::{Catalog, JobState};
use larder_core::{Ambient, UploadId};

use crate::child;

/// Acknowledged transactions before the kill.
const ACKNOWLEDGED: usize = 300;

async fn what_was_acknowledged_survives_a_kill(target: &str) {
    let catalog = Catalog::open(&child::target(target), Ambient::system()).await.unwrap();
    catalog.migrate().await.unwrap();
    for _ in 0..3 {
        let mut writer = child::start("write", target);
        let mut stored = Vec::new();
        for line in child::lines(&mut writer, "stored ") {
            stored.push(line.parse::<UploadId>().unwrap());
            if stored.len() == ACKNOWLEDGED {
                // SIGKILL; lines that are already in the pipe are acknowledged as well.
                writer.kill().unwrap();
            }
        }
        writer.wait().unwrap();
        assert!(stored.len() >= ACKNOWLEDGED);
        let reopened = Catalog::open(&child::target(target), Ambient::system()).await.unwrap();
        for id in stored {
            assert!(reopened.upload(id).await.unwrap().is_some(), "upload {id} was acknowledged");
            let jobs = reopened.active_jobs_about(&id.to_string()).await.unwrap();
            assert_eq!(jobs.len(), 1, "an upload and its job are stored together");
            assert_eq!(jobs[0].state, JobState::Queued);
        }
        child::store(&reopened, child::upload(&Ambient::system())).await.expect("it can be written again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    what_was_acknowledged_survives_a_kill(directory.path().to_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill_on_postgresql() {
    let database = larder_testkit::postgres::database().await;
    what_was_acknowledged_survives_a_kill(&database.url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_state_file_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let target = child::target(directory.path().to_str().unwrap());
    let ambient = Ambient::system();
    let upload = child::upload(&ambient);
    let id = upload.id;
    {
        let catalog = Catalog::open(&target, ambient.clone()).await.unwrap();
        catalog.migrate().await.unwrap();
        child::store(&catalog, upload).await.unwrap();
        catalog.report_upload_progress(id, 1, None).await.unwrap();
        catalog.close().await;
    }
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(directory.path().join(file));
    }
    let catalog = Catalog::open(&target, ambient).await.unwrap();
    assert!(catalog.upload(id).await.unwrap().is_some());
    assert_eq!(catalog.upload_progress(id).await.unwrap(), None);
    catalog.report_upload_progress(id, 2, None).await.unwrap();
    assert!(catalog.status().await.unwrap().pending.is_empty());
}
