//! A server that looks after databases: backups and verifications by schedule, shown by its API and its metrics.

use std::{
    path::Path,
    process::{Child, Stdio},
    time::{Duration, SystemTime},
};

use larder_store::{PutOptions, S3Options, S3Store, StoreExt};
use larder_testkit::{
    s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, moto},
    server::{Server, Starter},
};
use reqwest::{Client, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::lab::{Lab, larder, said};

/// A bucket with the environment to reach it.
struct Bucket {
    options: S3Options,
    environment: Vec<(String, String)>,
}

impl Bucket {
    fn new() -> Self {
        let options = moto::bucket();
        let endpoint = options.endpoint.as_ref().unwrap().as_str().trim_end_matches('/').to_owned();
        let environment = [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
            ("AWS_ENDPOINT_URL_S3", &endpoint),
            ("AWS_REGION", "us-east-1"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { options, environment }
    }

    fn url(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", self.options.bucket)
    }

    fn lab(&self) -> Lab {
        let mut lab = Lab::new();
        lab.environment.clone_from(&self.environment);
        lab
    }

    /// One that looks after the databases of others only, unless it is told otherwise.
    fn server(&self) -> Starter {
        let starter = Starter::new(env!("CARGO_BIN_EXE_larder"))
            .env("BUCKET_NAME", &self.options.bucket)
            .env("LARDER_CATALOG__REPLICATE", "off");
        self.environment.iter().fold(starter, |starter, (name, value)| starter.env(name, value))
    }
}

/// A server, asked as `curl` does.
struct Asked {
    server: Server,
    client: Client,
}

impl Asked {
    fn new(server: Server) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { server, client: Client::new() }
    }

    async fn text(&self, path: &str) -> String {
        let answer = self.client.get(self.server.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    /// What is said of the database at a prefix; null if it is not known.
    async fn database(&self, prefix: &str) -> Value {
        let all = self.json("/api/v1/databases").await;
        let mut all = all["items"].as_array().unwrap().iter();
        all.find(|item| item["prefix"] == prefix).cloned().unwrap_or_default()
    }

    /// Waits until what is said of a database is as wanted.
    async fn until(&self, prefix: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..600 {
            last = self.database(prefix).await;
            if wanted(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{prefix}: {last}\n{}", self.server.log());
    }

    /// Has a run done now, and answers what it reported.
    async fn run(&self, what: &str) -> Value {
        let url = self.server.url(&format!("/api/v1/databases/{what}"));
        let answer = self.client.post(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let place = answer.headers()["location"].to_str().unwrap().to_owned();
        for _ in 0..600 {
            let job = self.json(&place).await;
            match job["state"].as_str() {
                Some("done") => return self.json(&format!("{place}/report")).await,
                Some("dead") => panic!("{job}"),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("{what} does not end: {}", self.server.log());
    }
}

/// The names of the backups of a database.
fn backups(lab: &Lab, url: &str) -> Vec<String> {
    let listed = lab.ends(&["ls", url, "--json"], 0);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let backups = listed["backups"].as_array().unwrap().iter();
    backups.map(|backup| backup["name"].as_str().unwrap().to_owned()).collect()
}

/// A program that holds a database; let go when it ends.
struct Holder(Child);

impl Holder {
    fn start(lab: &Lab, file: &str, url: &str) -> Self {
        let child =
            lab.db(&["replicate", file, url]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self(child)
    }

    fn end(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

async fn flip_a_bit(bucket: &Bucket, key: &str) {
    let store = S3Store::connect(&bucket.options, larder_core::Ambient::system()).await.unwrap();
    let place = key.parse().unwrap();
    let mut bytes = store.read_all(&place, 1 << 20).await.unwrap().to_vec();
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    store.put_bytes(&place, bytes, PutOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_a_server_backs_databases_up_and_tells_what_is_damaged() {
    let bucket = Bucket::new();
    let lab = bucket.lab();
    let (first, second) = (bucket.url("org-data/1"), bucket.url("org-data/2"));
    lab.create("a.db", 300);
    lab.create("b.db", 300);
    lab.ends(&["push", "a.db", &first], 0);
    lab.ends(&["push", "b.db", &second], 0);
    // Every second: as often as a server looks, which is every ten.
    let server = bucket.server().env("LARDER_DATABASES__BACKUP", "* * * * * *").start();
    let server = Asked::new(server);

    let seen = server.until("org-data/1", |database| database["backup"].is_object()).await;
    assert_eq!(
        (&seen["url"], &seen["seq"], &seen["is_there"]),
        (&first.as_str().into(), &1.into(), &true.into())
    );
    assert!(seen["next_backup_at"].is_string() && seen["next_verify_at"].is_string(), "{seen}");
    let name = seen["backup"]["name"].as_str().unwrap();
    assert_eq!(backups(&lab, &first), [name]);
    server.until("org-data/2", |database| database["backup"].is_object()).await;

    // Nothing changed: it was looked at again, and nothing was written.
    let again = server.until("org-data/1", |database| database["backed_up_at"] != seen["backed_up_at"]).await;
    assert_eq!((&again["backup"], backups(&lab, &first).len()), (&seen["backup"], 1));

    lab.add("a.db", "a change");
    lab.ends(&["push", "a.db", &first], 0);
    let changed = server.until("org-data/1", |database| database["backup"] != seen["backup"]).await;
    assert_eq!((&changed["backup"]["seq"], backups(&lab, &first).len()), (&2.into(), 2));
    lab.ends(&["restore", &first, "before.db", "--name", name, "--verify", "full"], 0);
    assert_eq!((lab.rows("before.db").len(), lab.rows("a.db").len()), (300, 301));

    let report = server.run("verify").await;
    assert_eq!((&report["databases"], &report["whole"]), (&2.into(), &2.into()), "{report}");
    let whole = server.text("/metrics").await;
    assert!(whole.contains("larder_database_damaged{database=\"org-data/2\"} 0\n"), "{whole}");

    flip_a_bit(&bucket, "org-data/2/log/0000000000000001").await;
    let holder = Holder::start(&lab, "a.db", &first);
    server.until("org-data/1", |database| database["held_by"].is_string()).await;
    let report = server.run("verify").await;
    assert_eq!((&report["whole"], &report["damaged"][0]), (&1.into(), &"org-data/2".into()), "{report}");
    let damaged = server.database("org-data/2").await;
    assert_eq!(damaged["verify"]["status"], "damaged");
    let problem = damaged["verify"]["problems"][0].as_str().unwrap();
    assert!(problem.contains("org-data/2/log/0000000000000001"), "{problem}");
    let figures = server.text("/metrics").await;
    assert!(figures.contains("larder_database_damaged{database=\"org-data/2\"} 1\n"), "{figures}");
    assert!(figures.contains("larder_databases_damaged 1\n"), "{figures}");
    assert!(
        figures.contains("larder_database_backup_timestamp_seconds{database=\"org-data/1\"} 1"),
        "{figures}"
    );
    assert!(server.server.log().contains("is damaged"), "{}", server.server.log());
    let held = server.database("org-data/1").await;
    assert!(held["collect"]["skipped"].as_str().unwrap().contains("holds it"), "{held}");
    assert_eq!(held["verify"]["status"], "whole");
    // Its holder was not disturbed.
    holder.end();
    lab.ends(&["ls", &first], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_old_backups_by_schedule_go_and_those_made_by_hand_stay() {
    let lab = Lab::new();
    let data = lab.path("data");
    let starter = Starter::new(env!("CARGO_BIN_EXE_larder")).data_dir(&data);
    let starter =
        starter.env("LARDER_DATABASES__BACKUP", "off").env("LARDER_DATABASES__PREFIXES", "dbs/{name}");
    let url = data.join("media/dbs/app").display().to_string();
    lab.create("a.db", 20);
    std::fs::create_dir_all(&data).unwrap();
    lab.ends(&["push", "a.db", &url], 0);
    let old = ["scheduled-20200101-000000", "scheduled-20200101-010000", "scheduled-20200101-020000"];
    for name in old.into_iter().chain(["by-hand", "backup-20200101-000000"]) {
        lab.ends(&["backup", &url, "--name", name], 0);
        let hour = old.iter().position(|there| *there == name).unwrap_or(0) as u64;
        age(&Path::new(&url).join("keep").join(name), hour);
    }
    lab.add("a.db", "a change");
    lab.ends(&["push", "a.db", &url], 0);
    let server = Asked::new(starter.start());
    let report = server.run("backup").await;
    assert_eq!(
        (&report["databases"], &report["made"], &report["removed"]),
        (&1.into(), &1.into(), &2.into())
    );
    let left = backups(&lab, &url);
    assert_eq!(left[..3], ["backup-20200101-000000", "by-hand", "scheduled-20200101-020000"], "{left:?}");
    assert!(left.len() == 4 && left[3].starts_with("scheduled-20"), "{left:?}");
    assert_eq!(server.run("verify").await["whole"], 1);

    let database = server.database("dbs/app").await;
    assert_eq!((&database["url"], &database["next_backup_at"]), (&url.as_str().into(), &Value::Null));
    let schedules = server.json("/api/v1/schedules").await;
    let of =
        |name: &str| schedules["items"].as_array().unwrap().iter().find(|one| one["name"] == name).cloned();
    assert_eq!(of("verify_databases").unwrap()["cron"], "17 3 * * *");
    assert!(of("backup_databases").is_none_or(|schedule| schedule["enabled"] == false), "{schedules}");
    assert!(of("collect").unwrap()["next_at"].is_string());
}

/// Makes a mark as old as one of so many hours into the first day of 2020.
fn age(mark: &Path, hour: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800 + hour * 3_600);
    std::fs::File::options().append(true).open(mark).unwrap().set_modified(time).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_the_replicated_catalogue_is_looked_after_without_being_named() {
    let bucket = Bucket::new();
    let server = bucket
        .server()
        .env("LARDER_SECRET", "a secret that is long enough")
        .env("LARDER_CATALOG__REPLICATE", "interval")
        .env("LARDER_DATABASES__PREFIXES", "")
        .env("LARDER_STORE__S3__PREFIX", "below/this")
        .start();
    let server = Asked::new(server);
    assert_eq!(server.run("backup").await["made"], 1);
    assert_eq!(server.run("verify").await["whole"], 1);
    let catalogue = server.database("below/this/.larder/catalog").await;
    assert!(catalogue["held_by"].is_string() && catalogue["backup"].is_object(), "{catalogue}");
    assert!(catalogue["collect"]["skipped"].as_str().unwrap().contains("holds it"), "{catalogue}");
    let lab = bucket.lab();
    assert_eq!(backups(&lab, &bucket.url("below/this/.larder/catalog")).len(), 1);
}

#[test]
fn g5_what_is_no_schedule_and_no_path_is_refused_at_start() {
    for (name, wrong) in [("LARDER_DATABASES__VERIFY", "nightly"), ("LARDER_DATABASES__PREFIXES", "org-{id}")]
    {
        let refused = larder().args(["config", "--check"]).env(name, wrong).output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        assert!(said(&refused).contains(name) && said(&refused).contains(wrong), "{}", said(&refused));
    }
}
