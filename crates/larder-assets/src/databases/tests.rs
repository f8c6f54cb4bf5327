//! What a run finds, does and keeps.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use larder_catalog::{Class, Lease};
use larder_core::{Ambient, FaultKind, JobId};
use larder_dbsync::{PushOptions, Remote, Session, Wanted, backup, push, unwatched};
use larder_store::{ListOptions, LocalStore, PutOptions, Store, StoreExt};
use larder_testkit::faulty_store::{Faults, FaultyStore};

use super::{
    DatabaseSettings, DatabaseView, Pattern, VerifyStatus,
    find::{Found, find},
};
use crate::{
    home::Home,
    jobs::{JobContext, JobKind, QUEUES},
    larder::Larder,
};

/// A Larder beside a store with databases.
struct Lab {
    larder: Larder,
    store: Arc<dyn Store>,
    faults: Faults,
    folder: tempfile::TempDir,
    _home: Home,
}

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("bucket");
        std::fs::create_dir(&root).unwrap();
        let (store, faults) = FaultyStore::new(LocalStore::open(&root, Ambient::system()).unwrap());
        let store: Arc<dyn Store> = Arc::new(store);
        let home = Home::memory();
        let settings = DatabaseSettings::new(
            Arc::clone(&store),
            patterns(&["org-data/{id}"]),
            folder.path().join("scratch"),
        );
        let settings = DatabaseSettings { url_base: "s3://bucket/".to_owned(), ..settings };
        let larder = home.larder_with(|all| all.databases = Some(settings)).await;
        Self { larder, store, faults, folder, _home: home }
    }

    fn remote(&self, prefix: &str) -> Remote {
        Remote::new(Arc::clone(&self.store), prefix, Ambient::system()).unwrap()
    }

    fn local(&self, prefix: &str) -> PathBuf {
        self.folder.path().join(prefix.replace('/', "-"))
    }

    /// Adds a row to a database, which is made if need be, and pushes it.
    async fn change(&self, prefix: &str) {
        let path = self.local(prefix);
        let connection = rusqlite::Connection::open(&path).unwrap();
        let add = "CREATE TABLE IF NOT EXISTS t(text TEXT); INSERT INTO t VALUES (hex(randomblob(500)));";
        connection.execute_batch(add).unwrap();
        push(&self.remote(prefix), &path, PushOptions::default(), &unwatched()).await.unwrap();
    }

    /// Runs the job of this kind; what it reported, or why it failed.
    async fn run(&self, kind: &str) -> Result<serde_json::Value, larder_core::Fault> {
        let id = match kind {
            "backup_databases" => self.larder.enqueue_database_backup().await?,
            _ => self.larder.enqueue_database_verification().await?,
        };
        let (context, lease) = self.claim(id).await;
        let outcome = (JobKind::named(kind).unwrap().run)(serde_json::json!({}), context).await;
        self.larder
            .catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.finish_job(lease).await }))
            .await
            .unwrap();
        outcome?;
        self.larder.report(id).await
    }

    async fn claim(&self, id: JobId) -> (JobContext, Lease) {
        let queues: Vec<String> = QUEUES.iter().map(|queue| (*queue).to_owned()).collect();
        let lease = std::time::Duration::from_secs(60);
        let claim = self.larder.catalog().claim("test", &queues, lease).await.unwrap().unwrap();
        assert_eq!(claim.job.id, id);
        (JobContext::new(self.larder.clone(), claim.job, claim.lease), claim.lease)
    }

    async fn view(&self, prefix: &str) -> DatabaseView {
        let all = self.larder.databases().await.unwrap().items;
        all.into_iter().find(|view| view.prefix == prefix).unwrap_or_else(|| panic!("{prefix}"))
    }

    async fn objects(&self) -> Vec<String> {
        let page = self.store.list(ListOptions::default()).await.unwrap();
        page.entries.into_iter().map(|entry| entry.place.to_string()).collect()
    }

    /// Flips a bit at the end of an object.
    fn damage(&self, name: &str) {
        let path = self.folder.path().join("bucket").join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 9;
        bytes[last] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

async fn found(lab: &Lab, texts: &[&str]) -> Vec<String> {
    let Found { prefixes, is_cut } = find(&*lab.store, &patterns(texts)).await.unwrap();
    assert!(!is_cut);
    prefixes.into_iter().collect()
}

#[tokio::test]
async fn databases_are_found_by_their_log_and_nothing_else_is_taken_for_one() {
    let lab = Lab::new().await;
    assert_eq!(found(&lab, &["org-data/{id}"]).await, Vec::<String>::new());
    for prefix in
        ["org-data/1", "org-data/2", "org-data/2/inner", "other/x", "tenants/a/dbs/b", ".larder/catalog"]
    {
        lab.change(prefix).await;
    }
    for other in ["org-data/readme.txt", "org-data/3/log/app.log", "org-data/4/photo.jpg", "org-data/5.db"] {
        lab.store.put_bytes(&other.parse().unwrap(), "x", PutOptions::default()).await.unwrap();
    }
    assert_eq!(found(&lab, &["org-data/{id}"]).await, ["org-data/1", "org-data/2"]);
    assert_eq!(found(&lab, &["org-data/{id}", "org-data/1", "other/x"]).await.len(), 3, "once each");
    assert_eq!(found(&lab, &["tenants/{tenant}/dbs/{db}"]).await, ["tenants/a/dbs/b"]);
    assert_eq!(found(&lab, &[".larder/catalog", "org-data/9"]).await, [".larder/catalog"]);
}

#[tokio::test]
async fn backups_are_made_of_what_changed_and_shown() {
    let lab = Lab::new().await;
    let report = lab.run("backup_databases").await.unwrap();
    assert_eq!((&report["databases"], &report["made"]), (&0.into(), &0.into()));
    lab.change("org-data/1").await;
    lab.change("org-data/2").await;
    backup(&lab.remote("org-data/1"), "by-hand", &Wanted::Newest).await.unwrap();
    let report = lab.run("backup_databases").await.unwrap();
    assert_eq!((&report["databases"], &report["made"]), (&2.into(), &2.into()));
    let (before, first) = (lab.objects().await, lab.view("org-data/1").await);
    let made = first.backup.clone().unwrap();
    assert!(made.name.starts_with("scheduled-") && made.seq == 1, "{first:?}");
    assert!(first.is_there && first.pages.is_some_and(|pages| pages > 1) && first.backup_error.is_none());
    assert_eq!(
        (first.url.as_str(), first.seq, first.verify.is_none()),
        ("s3://bucket/org-data/1", Some(1), true)
    );
    let asked = lab.faults.log().len();
    let report = lab.run("backup_databases").await.unwrap();
    // One listing finds them; then is there a log, the hint, what is after it, the entry, the marks, the last mark.
    let asked = lab.faults.log().len() - asked;
    assert!(asked <= 1 + 2 * 6, "{asked} requests");
    assert_eq!(
        (&report["made"], lab.objects().await),
        (&0.into(), before),
        "nothing changed, nothing is written"
    );
    let again = lab.view("org-data/1").await;
    assert!(again.backup == Some(made) && again.backed_up_at > first.backed_up_at, "{again:?}");
}

#[tokio::test]
async fn damage_is_named_and_the_other_databases_are_looked_at_all_the_same() {
    let lab = Lab::new().await;
    for prefix in ["org-data/1", "org-data/2", "org-data/3"] {
        lab.change(prefix).await;
    }
    lab.damage("org-data/2/log/0000000000000001");
    let report = lab.run("verify_databases").await.unwrap();
    assert_eq!((&report["whole"], &report["damaged"]), (&2.into(), &serde_json::json!(["org-data/2"])));
    let damaged = lab.view("org-data/2").await;
    let verify = damaged.verify.unwrap();
    assert_eq!((verify.status, damaged.whole_at), (VerifyStatus::Damaged, None));
    assert!(verify.problems[0].contains("org-data/2/log/0000000000000001"), "{verify:?}");
    assert_eq!(damaged.collect, None, "nothing is removed of what is damaged");
    let whole = lab.view("org-data/3").await;
    assert_eq!(whole.verify.map(|verify| (verify.status, verify.seq)), Some((VerifyStatus::Whole, 1)));
    assert!(whole.whole_at.is_some() && whole.collect.is_some_and(|collect| collect.skipped.is_none()));
    let left = std::fs::read_dir(lab.folder.path().join("scratch")).unwrap().count();
    assert_eq!(left, 0, "what was restored for trial is gone");
    // A backup needs no more than the newest entry's head, and is no less welcome for damage.
    assert_eq!(lab.run("backup_databases").await.unwrap()["made"], 3);
}

#[tokio::test]
async fn a_held_database_is_verified_and_left_to_its_holder() {
    let lab = Lab::new().await;
    lab.change("org-data/1").await;
    let mut session = Session::open(lab.remote("org-data/1"), None, false).await.unwrap();
    session.claim(&mut |_| Ok(())).await.unwrap();
    let before = lab.objects().await;
    assert_eq!(lab.run("verify_databases").await.unwrap()["whole"], 1);
    let skipped = lab.view("org-data/1").await.collect.unwrap().skipped.unwrap();
    assert!(skipped.contains("holds it"), "{skipped}");
    assert_eq!(lab.objects().await, before);
    session.renew().await.unwrap();
    lab.run("backup_databases").await.unwrap();
    let view = lab.view("org-data/1").await;
    assert!(view.held_by.is_some() && view.backup.is_some(), "{view:?}");
}

#[tokio::test]
async fn a_database_that_is_gone_is_told_and_one_that_is_away_is_not_taken_for_gone() {
    let lab = Lab::new().await;
    lab.change("org-data/1").await;
    lab.change("org-data/2").await;
    lab.run("backup_databases").await.unwrap();
    lab.run("verify_databases").await.unwrap();
    lab.faults.cut();
    for kind in ["backup_databases", "verify_databases"] {
        assert_eq!(lab.run(kind).await.unwrap_err().kind(), FaultKind::Unavailable, "{kind}");
    }
    assert!(lab.view("org-data/2").await.is_there);
    lab.faults.mend();
    std::fs::remove_dir_all(lab.folder.path().join("bucket/org-data/2")).unwrap();
    assert_eq!(lab.run("backup_databases").await.unwrap()["gone"], serde_json::json!(["org-data/2"]));
    assert_eq!(lab.run("backup_databases").await.unwrap()["gone"], serde_json::json!([]), "once");
    lab.run("verify_databases").await.unwrap();
    let view = lab.view("org-data/2").await;
    assert!(!view.is_there && view.backup.is_some(), "{view:?}");
    assert_eq!(view.verify.map(|verify| verify.status), Some(VerifyStatus::Failed));
    assert!(lab.view("org-data/1").await.is_there);
}

#[tokio::test]
async fn where_none_are_looked_after_a_run_is_refused() {
    let home = Home::memory();
    let larder = home.larder().await;
    let refused = larder.enqueue_database_backup().await.unwrap_err();
    assert!(refused.remedy.contains("databases.prefixes"), "{refused:?}");
    assert!(larder.databases().await.unwrap().items.is_empty());
    assert!(!Path::new("/nowhere").exists());
}
