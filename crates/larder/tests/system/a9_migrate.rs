//! A9: what lies in one store moves to another while clients upload and read, through kills of the
//! process that moves it, there and back; nothing is lost, no request fails, and nothing is left where it
//! came from once that was asked for.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use larder_assets::fail_point;
use larder_testkit::{
    fixtures,
    s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, s3s_fs::S3sFs},
    server::{Server, Starter, printed},
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::client::{ask, client, json, json_of, larder, lines_of, server};

/// A store as this test knows it: how a process gets it, and what lies in it.
struct End {
    /// Its name in settings and records.
    name: &'static str,
    /// The environment that configures it beside others, without making it the primary.
    environment: fn(&Path) -> Vec<(String, String)>,
    /// Everything that lies in it, Larder's own folder left out.
    places: fn(&Path) -> Vec<String>,
}

const LOCAL: End =
    End { name: "local", environment: |_| Vec::new(), places: |home| files_below(&home.join("data/media")) };

const SECOND_FOLDER: End = End {
    name: "local2",
    environment: |home| {
        let root = home.join("second").display().to_string();
        vec![("LARDER_STORE__SECOND_ROOT".to_owned(), root)]
    },
    places: |home| files_below(&home.join("second")),
};

const BUCKET: End = End {
    name: "s3",
    environment: |_| {
        vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), ACCESS_KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), SECRET_ACCESS_KEY.to_owned()),
            ("AWS_STORAGE_BUCKET_NAME".to_owned(), "moved".to_owned()),
            ("AWS_S3_ENDPOINT_URL".to_owned(), s3_server().endpoint()),
        ]
    },
    places: |_| files_below(&s3_server().bucket("moved")),
};

/// Of this process, and so of one test.
fn s3_server() -> &'static S3sFs {
    static SERVER: OnceLock<S3sFs> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = S3sFs::start();
        server.bucket("moved");
        server
    })
}

fn files_below(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            let below = path.strip_prefix(root).expect("below the root").display().to_string();
            match path.is_dir() {
                // The lock, and the trash, are looked at by name.
                true if below == ".larder" => folders.push(path.join("trash")),
                true => folders.push(path),
                false => found.push(below),
            }
        }
    }
    found
}

/// A data directory with both stores.
struct Home {
    folder: TempDir,
    one: &'static End,
    two: &'static End,
}

impl Home {
    fn new(one: &'static End, two: &'static End) -> Self {
        Self { folder: TempDir::new().expect("a temporary folder"), one, two }
    }

    fn environment(&self, primary: &End) -> Vec<(String, String)> {
        let mut environment = (self.one.environment)(self.folder.path());
        environment.extend((self.two.environment)(self.folder.path()));
        environment.push(("LARDER_STORE__BACKEND".to_owned(), primary.name.to_owned()));
        // Beside a server that replicates the catalogue it would be that server that moves.
        environment.push(("LARDER_CATALOG__REPLICATE".to_owned(), "off".to_owned()));
        environment
    }

    fn start(&self, primary: &End) -> Server {
        let starter: Starter = server().data_dir(self.folder.path().join("data"));
        self.environment(primary)
            .into_iter()
            .fold(starter, |starter, (name, value)| starter.env(name, value))
            .start()
    }

    fn places(&self, end: &End) -> Vec<String> {
        (end.places)(self.folder.path())
    }

    /// `larder migrate` on the data directory, beside the server.
    fn migrate(&self, from: &End, to: &End) -> Command {
        let mut command = larder();
        command
            .env("LARDER_DATA_DIR", self.folder.path().join("data"))
            .envs(self.environment(to))
            .args(["migrate", "--from", from.name, "--to", to.name]);
        command
    }
}

/// What clients know: key to SHA-256.
#[derive(Default)]
struct Known {
    objects: Mutex<BTreeMap<String, String>>,
    failures: Mutex<Vec<String>>,
}

impl Known {
    fn all(&self) -> BTreeMap<String, String> {
        self.objects.lock().unwrap().clone()
    }
}

/// Clients that upload and read all the time, wherever the present server is.
struct Load {
    known: Arc<Known>,
    address: Arc<RwLock<String>>,
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<u64>>,
}

impl Load {
    fn begin(known: Arc<Known>, server: &Server) -> Self {
        let address = Arc::new(RwLock::new(server.address().to_owned()));
        let stop = Arc::new(AtomicBool::new(false));
        let numbers = Arc::new(AtomicU64::new(1));
        let clients = (0..4)
            .map(|_| {
                let (known, address, stop, numbers) =
                    (known.clone(), address.clone(), stop.clone(), numbers.clone());
                tokio::spawn(async move {
                    let client = client();
                    let mut requests = 0;
                    while !stop.load(Ordering::SeqCst) {
                        let number = numbers.fetch_add(1, Ordering::SeqCst);
                        let address = address.read().unwrap().clone();
                        let outcome = match number % 4 {
                            0 => upload(&client, &address, &known, &format!("live/{number}"), number).await,
                            _ => read_one(&client, &address, &known, number).await,
                        };
                        if let Err(problem) = outcome {
                            known.failures.lock().unwrap().push(problem);
                        }
                        requests += 1;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    requests
                })
            })
            .collect();
        Self { known, address, stop, clients }
    }

    /// Sends the clients to another server, and waits until none asks the former one any more.
    async fn turn_to(&self, server: &Server) {
        *self.address.write().unwrap() = server.address().to_owned();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        let mut requests = 0;
        for client in self.clients {
            requests += client.await.unwrap();
        }
        assert!(requests > 100, "there was load: {requests}");
        let failures = self.known.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{} requests failed: {:?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

async fn upload(client: &Client, address: &str, known: &Known, key: &str, number: u64) -> Result<(), String> {
    let bytes = fixtures::unlike(number, 48, 32);
    let url = format!("{address}/api/v1/buckets/moved/objects/{key}.jpg");
    let answer =
        client.put(&url).body(bytes.clone()).send().await.map_err(|error| format!("{url}: {error}"))?;
    if !answer.status().is_success() {
        return Err(format!("{url}: {} {}", answer.status(), answer.text().await.unwrap_or_default()));
    }
    known.objects.lock().unwrap().insert(format!("{key}.jpg"), digest(&bytes));
    Ok(())
}

async fn read_one(client: &Client, address: &str, known: &Known, number: u64) -> Result<(), String> {
    let wanted = {
        let objects = known.objects.lock().unwrap();
        let index = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) as usize % objects.len().max(1);
        objects.iter().nth(index).map(|(key, sha256)| (key.clone(), sha256.clone()))
    };
    let Some((key, sha256)) = wanted else { return Ok(()) };
    read(client, address, &key, &sha256).await
}

async fn read(client: &Client, address: &str, key: &str, sha256: &str) -> Result<(), String> {
    let url = format!("{address}/m/moved/{key}");
    let answer = client.get(&url).send().await.map_err(|error| format!("{url}: {error}"))?;
    let status = answer.status();
    let bytes = answer.bytes().await.map_err(|error| format!("{url}: {error}"))?;
    match status == StatusCode::OK && digest(&bytes) == sha256 {
        true => Ok(()),
        false => Err(format!("{url}: {status}, {} bytes of another digest", bytes.len())),
    }
}

async fn make_bucket(server: &Server) {
    let policy = json!({ "visibility": "public", "presets": [], "public_presets": ["keep-small"] });
    let url = server.url("/api/v1/buckets/moved");
    let made = client().put(url).json(&policy).send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.text().await.unwrap());
}

fn killed_after(command: &mut Command, time: Duration) {
    let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    std::thread::sleep(time);
    assert!(child.try_wait().unwrap().is_none(), "it was killed on the way");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Runs it until it kills itself at a fail point.
fn killed_at(command: &mut Command, point: &str) {
    let output = command.env("LARDER_FAIL_POINT", point).output().expect("it starts");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&output.status),
        Some(9),
        "{point}: {}",
        printed(&output)
    );
}

/// The last of the lines that it prints: behind the events, what came of it.
fn last_of(command: &mut Command) -> Value {
    lines_of(command).last().expect("a report").clone()
}

fn report_of(command: &mut Command) -> Value {
    let report = last_of(command);
    assert_eq!(report["failures"], json!([]), "{report}");
    report
}

/// Everything is moved one way: the primary is switched by a server that takes over, the process that
/// moves is killed twice, and what it left is removed.
async fn move_over(home: &Home, load: &Load, before: Server, from: &'static End, to: &'static End) -> Server {
    let after = home.start(to);
    load.turn_to(&after).await;
    assert_eq!(before.stop(), Some(0));
    let told = last_of(home.migrate(from, to).arg("--dry-run"));
    let total = told["remaining"]["objects"].as_u64().unwrap();
    assert!(total >= 390, "{told}");

    let slowly = ["--rate", "60000", "--concurrency", "4"];
    killed_after(home.migrate(from, to).args(slowly), Duration::from_secs(2));
    let rest = last_of(home.migrate(from, to).arg("--dry-run"))["remaining"]["objects"].as_u64().unwrap();
    assert!(rest < total, "some of it was moved before the kill: {rest} of {total}");
    killed_at(&mut home.migrate(from, to), "migrate.copied");
    let report = report_of(&mut home.migrate(from, to));
    assert_eq!(report["remaining"]["objects"], 0, "{report}");
    let repeated = report["adopted"].as_u64().unwrap();
    assert!(repeated <= 32, "what was under way at the kills is all that was copied before: {repeated}");

    // Readers that began before are through after the grace.
    std::thread::sleep(Duration::from_secs(2));
    let cleaned = report_of(home.migrate(from, to).args(["--cleanup", "--grace", "1s", "--verify"]));
    assert_eq!(cleaned["remaining"]["objects"], 0, "{cleaned}");
    assert_eq!(home.places(from), Vec::<String>::new(), "nothing is left in {}", from.name);
    after
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a9_a_live_site_moves_to_another_disk_and_back_through_kills_and_no_request_fails() {
    moves_there_and_back(&LOCAL, &SECOND_FOLDER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a9_a_live_site_moves_to_a_bucket_and_back_through_kills_and_no_request_fails() {
    moves_there_and_back(&LOCAL, &BUCKET).await;
}

async fn moves_there_and_back(one: &'static End, two: &'static End) {
    let home = Home::new(one, two);
    let (first, known) = (home.start(one), Arc::new(Known::default()));
    make_bucket(&first).await;
    let client = client();
    for number in 0..200 {
        upload(&client, first.address(), &known, &format!("old/{number}"), 100_000 + number).await.unwrap();
    }
    // Variants go with their originals, and their URLs stay good.
    let mut variants = BTreeMap::new();
    for number in 0..200 {
        let path = format!("/i/_/p:keep-small/moved/old/{number}.jpg.webp");
        let answer = client.get(first.url(&path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        variants.insert(path, digest(&answer.bytes().await.unwrap()));
    }
    // One in the trash, which can be brought back wherever it lies by then.
    let url = first.url("/api/v1/buckets/moved/objects/old/7.jpg");
    let (status, deleted) = ask(&client, Method::DELETE, &url, None).await;
    assert_eq!(status, StatusCode::OK, "{deleted}");
    let trashed = known.objects.lock().unwrap().remove("old/7.jpg").unwrap();

    let load = Load::begin(known.clone(), &first);
    let second = move_over(&home, &load, first, one, two).await;
    let third = move_over(&home, &load, second, two, one).await;
    load.end().await;

    for (key, sha256) in known.all() {
        read(&client, third.address(), &key, &sha256).await.unwrap();
    }
    for (path, sha256) in variants.iter().filter(|(path, _)| !path.contains("/7.jpg")) {
        let answer = client.get(third.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(digest(&answer.bytes().await.unwrap()), *sha256, "{path} is the same, not made again");
    }
    let undo = third.url(&format!("/api/v1/assets/{}/restore", deleted["id"].as_str().unwrap()));
    let (status, back) = ask(&client, Method::POST, &undo, None).await;
    assert_eq!(status, StatusCode::OK, "{back}");
    read(&client, third.address(), "old/7.jpg", &trashed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_a_kill_at_every_fail_point_of_a_move_leaves_nothing_that_is_not_mended() {
    let home = Home::new(&LOCAL, &SECOND_FOLDER);
    let (server, known) = (home.start(&SECOND_FOLDER), Arc::new(Known::default()));
    make_bucket(&server).await;
    let client = client();
    for number in 0..12 {
        upload(&client, server.address(), &known, &number.to_string(), number).await.unwrap();
    }
    let (mut from, mut to) = (&SECOND_FOLDER, &LOCAL);
    for point in fail_point::OF_MIGRATION {
        let clean_up = |home: &Home| {
            let mut command = home.migrate(from, to);
            command.args(["--cleanup", "--grace", "0s"]);
            command
        };
        if point.starts_with("cleanup.") {
            report_of(&mut home.migrate(from, to));
            killed_at(&mut clean_up(&home), point);
        } else {
            killed_at(&mut home.migrate(from, to), point);
            // The server sees no difference.
            for (key, sha256) in known.all() {
                read(&client, server.address(), &key, &sha256).await.unwrap();
            }
            let report = report_of(&mut home.migrate(from, to));
            assert_eq!(report["remaining"]["objects"], 0, "{point}: {report}");
        }
        report_of(&mut clean_up(&home));
        assert_eq!(home.places(from), Vec::<String>::new(), "{point}");
        assert_eq!(home.places(to).len(), 12, "{point}");
        // The keys that the killed process held are given back by whoever needs them next.
        for (key, sha256) in known.all() {
            read(&client, server.address(), &key, &sha256).await.unwrap();
        }
        (from, to) = (to, from);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_a_server_moves_it_as_a_job_and_says_what_it_could_not_move() {
    let home = Home::new(&LOCAL, &SECOND_FOLDER);
    let (server, known) = (home.start(&LOCAL), Arc::new(Known::default()));
    make_bucket(&server).await;
    let client = client();
    for number in 0..5 {
        upload(&client, server.address(), &known, &number.to_string(), number).await.unwrap();
    }
    let theirs = home.folder.path().join("second/moved");
    std::fs::create_dir_all(&theirs).unwrap();
    std::fs::write(theirs.join("3.jpg"), "of somebody").unwrap();
    let arguments = ["migrate", "--from", "local", "--to", "local2"];

    let told = json_of(server.cli().args(arguments).arg("--dry-run"));
    assert_eq!(
        (&told["originals"]["objects"], &told["from_is_primary"]),
        (&json!(5), &json!(true)),
        "{told}"
    );
    let failed = server.cli().args(arguments).output().unwrap();
    assert_eq!(failed.status.code(), Some(1), "{}", printed(&failed));
    let text = String::from_utf8_lossy(&failed.stderr);
    assert!(text.contains("1 objects could not be moved") && text.contains("moved/3.jpg"), "{text}");
    assert_eq!(std::fs::read(theirs.join("3.jpg")).unwrap(), b"of somebody");

    // Beside the server it says so as well, and by its exit code.
    let partly = home.migrate(&LOCAL, &SECOND_FOLDER).output().unwrap();
    assert_eq!(partly.status.code(), Some(3), "{}", printed(&partly));
    std::fs::remove_file(theirs.join("3.jpg")).unwrap();
    let job = json_of(server.cli().args(arguments));
    assert_eq!((&job["state"], &job["kind"]), (&json!("done"), &json!("migrate_store")), "{job}");
    for (key, sha256) in known.all() {
        read(&client, server.address(), &key, &sha256).await.unwrap();
    }
    let wrong = server.cli().args(["migrate", "--from", "local", "--to", "tape"]).output().unwrap();
    let text = String::from_utf8_lossy(&wrong.stderr);
    assert!(!wrong.status.success() && text.contains("no store \"tape\""), "{text}");
    let listed = client.get(server.url("/api/v1/jobs?kind=migrate_store")).send().await.unwrap();
    assert_eq!(json(listed).await["items"].as_array().unwrap().len(), 2);
}
