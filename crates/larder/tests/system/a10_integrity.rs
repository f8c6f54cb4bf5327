//! A10: files of other applications are adopted where they lie, a lost catalogue is rebuilt from the
//! store, and catalogue and store are compared and mended.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use larder_image::{Deadline, ImageLimits, Recipe, Source, inspect};
use larder_testkit::{
    fixtures,
    server::{Server, printed},
};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    client::{ask, client, finished, json_of, larder, lose_the_catalogue, server, upload},
    store::folder,
};

fn webp(jpeg: &[u8], within: Option<(u32, u32)>) -> Vec<u8> {
    let recipe: Recipe = match within {
        Some((width, height)) => {
            format!("resize:inside:{width}x{height},format:webp,quality:60").parse().unwrap()
        }
        None => "format:webp,quality:60".parse().unwrap(),
    };
    let deadline = || Deadline::after(Duration::from_secs(60));
    let recipes = [recipe];
    let decoded = Source::open(jpeg, &ImageLimits::default()).unwrap().decode(&recipes, deadline()).unwrap();
    decoded.render(&recipes, deadline()).remove(0).unwrap().bytes
}

fn beside(data: &Path, arguments: &[&str]) -> Command {
    let mut command = larder();
    command.env("LARDER_DATA_DIR", data).args(arguments);
    command
}

/// The answer of a command that may say that problems remain, and its exit code.
fn told(command: &mut Command) -> (i32, Value) {
    let output = command.arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {}", printed(&output)));
    (output.status.code().unwrap(), value)
}

/// Everything that the API says of buckets, presets, assets, variants and the trash, but for URLs, whose
/// signatures end at another second.
async fn everything(client: &Client, server: &Server) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let mut paths: Vec<String> = ["/api/v1/buckets", "/api/v1/presets"].map(str::to_owned).into();
    for bucket in ["media", "artwork"] {
        for deleted in [false, true] {
            let path = format!("/api/v1/buckets/{bucket}/objects?limit=1000&deleted={deleted}");
            let (status, page) = ask(client, Method::GET, &server.url(&path), None).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            for asset in page["items"].as_array().unwrap().iter().filter(|_| !deleted) {
                paths.push(format!("/api/v1/assets/{}/variants", asset["id"].as_str().unwrap()));
            }
            paths.push(path);
        }
    }
    for path in paths {
        let (status, mut answer) = ask(client, Method::GET, &server.url(&path), None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        without_urls(&mut answer);
        all.insert(path, answer);
    }
    all
}

fn without_urls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("url");
            members.values_mut().for_each(without_urls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_urls),
        _ => {}
    }
}

async fn bytes(client: &Client, url: &str) -> (String, Vec<u8>) {
    let response = client.get(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{url}");
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    (content_type, response.bytes().await.unwrap().to_vec())
}

async fn every_original_is_whole(client: &Client, server: &Server, all: &BTreeMap<String, Value>) -> usize {
    let mut count = 0;
    for (path, page) in all.iter().filter(|(path, _)| path.ends_with("deleted=false")) {
        for asset in page["items"].as_array().unwrap() {
            let at = format!("/m/{}/{}", asset["bucket"].as_str().unwrap(), asset["key"].as_str().unwrap());
            let (content_type, body) = bytes(client, &server.url(&at)).await;
            assert_eq!(content_type, asset["content_type"], "{path}");
            assert_eq!(hex::encode(Sha256::digest(&body)), asset["sha256"], "{at}");
            count += 1;
        }
    }
    count
}

#[tokio::test]
async fn a10_adopted_folders_are_served_and_survive_the_loss_of_the_catalogue() {
    let data = TempDir::new().unwrap();
    let root = folder(data.path());
    let (pages, posters) = (fixtures::covers_and_pages(), fixtures::posters_in_sizes(webp));
    fixtures::write_tree(&root, &pages);
    fixtures::write_tree(&root, &posters);
    let (running, client) = (server().data_dir(data.path()).start(), client());

    // Through the server, as a job that is followed; and once more, which registers nothing twice.
    let (code, report) = told(running.cli().args(["adopt", "--bucket", "media"]));
    assert_eq!(
        (code, &report["adopted"], &report["refused"]),
        (0, &json!(pages.len()), &json!(0)),
        "{report}"
    );
    let (code, report) = told(running.cli().args(["adopt", "--bucket", "media"]));
    assert_eq!(
        (code, &report["adopted"], &report["present"]),
        (0, &json!(0), &json!(pages.len())),
        "{report}"
    );
    // On the data directory, beside the server.
    let mut arguments = vec!["adopt", "--bucket", "artwork", "--prefix", "series", "--original", "original"];
    for rule in
        ["artwork-large=large", "artwork-medium=medium", "artwork-small=small", "artwork-thumbnail=thumbnail"]
    {
        arguments.extend(["--variant", rule]);
    }
    let (code, report) = told(running.cli_beside().args(&arguments));
    assert_eq!((code, &report["adopted"], &report["variants"]), (0, &json!(2), &json!(8)), "{report}");

    // Served with the right bytes and types; a variant is made on demand, another is the adopted file.
    for (place, expected) in &pages {
        let (content_type, body) = bytes(&client, &running.url(&format!("/m/{place}"))).await;
        assert!(content_type == "image/jpeg" && body == *expected, "{place}");
    }
    let poster = &posters[0].0;
    assert_eq!(
        bytes(&client, &running.url(&format!("/m/artwork/{poster}"))).await,
        ("image/webp".to_owned(), posters[0].1.clone())
    );
    let url_of = |asset: &str, preset: &str| {
        let link = json_of(running.cli().args(["url", asset, "--preset", preset]));
        link["url"].as_str().unwrap().to_owned()
    };
    let url = running.url(&url_of(&format!("artwork/{poster}"), "artwork-small"));
    assert_eq!(bytes(&client, &url).await.1, posters[3].1, "the adopted small.webp");
    let url = running.url(&url_of("media/series/naruto/cover.jpg", "artwork-thumbnail"));
    let (content_type, made) = bytes(&client, &url).await;
    assert_eq!(content_type, "image/webp");
    assert_eq!(inspect(&made, &ImageLimits::default()).unwrap().oriented_size(), (113, 169));

    // Life goes on: metadata, a new version, an upload with its variants, the trash, a bucket's rules.
    let at = |key: &str| running.url(&format!("/api/v1/buckets/media/objects/{key}"));
    let (_, asset) = ask(
        &client,
        Method::GET,
        &running.url("/api/v1/buckets/media/objects?prefix=series/naruto/cover"),
        None,
    )
    .await;
    let id = asset["items"][0]["id"].as_str().unwrap();
    let patch = json!({ "metadata": { "album": 7 }, "tags": ["x"], "owner": "u-1" });
    let patched =
        client.patch(running.url(&format!("/api/v1/assets/{id}"))).json(&patch).send().await.unwrap();
    assert_eq!(patched.status(), StatusCode::OK);
    let replaced = client
        .put(at("series/one-piece/cover.jpg"))
        .body(fixtures::unlike(77, 200, 300))
        .send()
        .await
        .unwrap();
    assert_eq!(replaced.status(), StatusCode::OK);
    let (_, accepted) = upload(&client, &running, "media", "beach.jpg", fixtures::unlike(5, 640, 480)).await;
    finished(&client, &running, accepted["id"].as_str().unwrap()).await;
    let key = "series/naruto/vol1/ch1/";
    let (_, page) =
        ask(&client, Method::GET, &running.url(&format!("/api/v1/buckets/media/objects?prefix={key}")), None)
            .await;
    let victim = page["items"][0]["key"].as_str().unwrap();
    assert_eq!(client.delete(at(victim)).send().await.unwrap().status(), StatusCode::OK);
    let policy = json!({ "visibility": "public", "presets": ["artwork"], "backlog_max": 5 });
    let rules = client.put(running.url("/api/v1/buckets/media")).json(&policy).send().await.unwrap();
    assert_eq!(rules.status(), StatusCode::OK);
    // The replaced cover's variants come by a job.
    settled(&client, &running).await;

    let before = everything(&client, &running).await;
    let originals = every_original_is_whole(&client, &running, &before).await;
    assert_eq!(running.stop(), Some(0));
    lose_the_catalogue(data.path());

    let (code, told_dry) = told(&mut beside(data.path(), &["reindex", "--dry-run"]));
    assert_eq!((code, &told_dry["assets"]), (0, &json!(originals)), "{told_dry}");
    let (code, report) = told(&mut beside(data.path(), &["reindex", "--verify"]));
    assert_eq!((code, &report["assets"], &report["deleted"]), (0, &json!(originals), &json!(1)), "{report}");
    assert_eq!(
        (&report["by_path"]["adopted"], &report["variants_dropped"]),
        (&json!(0), &json!(0)),
        "{report}"
    );
    let (code, refused) = {
        let output = beside(data.path(), &["reindex", "--json"]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(code == Some(1) && refused.contains("--merge"), "{refused}");

    let running = server().data_dir(data.path()).start();
    let after = everything(&client, &running).await;
    for (path, answer) in &before {
        assert_eq!(after.get(path), Some(answer), "{path}");
    }
    assert_eq!(after.len(), before.len());
    assert_eq!(every_original_is_whole(&client, &running, &after).await, originals);
    let (code, report) = told(running.cli().args(["scrub", "--full"]));
    assert_eq!((code, &report["problems"]), (0, &json!(0)), "{report}");
}

/// Waits until no job waits or runs.
async fn settled(client: &Client, server: &Server) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (_, queues) = ask(client, Method::GET, &server.url("/api/v1/queues"), None).await;
        let busy = |queue: &Value| matches!(queue["state"].as_str(), Some("queued" | "running"));
        if !queues["items"].as_array().unwrap().iter().any(busy) {
            return;
        }
        assert!(Instant::now() < deadline, "{queues}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a10_a_killed_server_and_its_lost_catalogue_take_no_record_older_than_a_few_seconds_along() {
    let data = TempDir::new().unwrap();
    let (running, client) = (server().data_dir(data.path()).start(), client());
    let url = running.url("/api/v1/buckets/media/objects/a/b.jpg");
    let put = client.put(url).body(fixtures::unlike(1, 300, 200)).send().await.unwrap();
    let asset: Value = put.json().await.unwrap();
    let patch = json!({ "metadata": { "album": 7 } });
    let path = format!("/api/v1/assets/{}", asset["id"].as_str().unwrap());
    client.patch(running.url(&path)).json(&patch).send().await.unwrap();
    settled(&client, &running).await;
    // Twice as long as the promised two seconds, and some for a busy machine.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (_, before) = ask(&client, Method::GET, &running.url(&path), None).await;
    running.kill();
    lose_the_catalogue(data.path());
    let (code, report) = told(&mut beside(data.path(), &["reindex"]));
    assert_eq!((code, &report["assets"], &report["variants"]), (0, &json!(1), &json!(4)), "{report}");
    let running = server().data_dir(data.path()).start();
    let (_, after) = ask(&client, Method::GET, &running.url(&path), None).await;
    let [mut before, mut after] = [before, after];
    without_urls(&mut before);
    without_urls(&mut after);
    assert_eq!((before["metadata"]["album"].clone(), before), (json!(7), after));
}

#[tokio::test]
async fn a10_scrub_finds_each_kind_of_planted_damage_and_mends_what_it_says() {
    let data = TempDir::new().unwrap();
    let files = TempDir::new().unwrap();
    for (number, name) in ["gone", "cut", "moved", "sound"].into_iter().enumerate() {
        std::fs::write(files.path().join(format!("{name}.jpg")), fixtures::unlike(number as u64, 400, 300))
            .unwrap();
    }
    let source = format!("{}/", files.path().display());
    let put = beside(data.path(), &["put", &source, "--bucket", "media"]).output().unwrap();
    assert!(put.status.success(), "{}", printed(&put));
    let root = folder(data.path()).join("media");
    let (code, report) = told(&mut beside(data.path(), &["scrub", "--full"]));
    assert_eq!((code, &report["problems"], &report["assets"]), (0, &json!(0), &json!(4)), "{report}");

    std::fs::remove_file(root.join("gone.jpg")).unwrap();
    let cut = std::fs::read(root.join("cut.jpg")).unwrap();
    std::fs::write(root.join("cut.jpg"), &cut[..cut.len() / 2]).unwrap();
    std::fs::create_dir(root.join("elsewhere")).unwrap();
    std::fs::rename(root.join("moved.jpg"), root.join("elsewhere/renamed.jpg")).unwrap();
    std::fs::write(root.join("stray.jpg"), fixtures::unlike(9, 100, 80)).unwrap();
    let variants = root.join("_variants/sound.jpg");
    let variant = std::fs::read_dir(&variants).unwrap().next().unwrap().unwrap().path();
    let made = std::fs::read(&variant).unwrap();
    std::fs::remove_file(&variant).unwrap();

    let (code, report) =
        told(&mut beside(data.path(), &["scrub", "media", "--sample", "5%", "--rate", "50MiB"]));
    assert_eq!(code, 1);
    let mut found: Vec<String> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            format!("{} {}", finding["problem"].as_str().unwrap(), finding["place"].as_str().unwrap())
        })
        .filter(|finding| !finding.starts_with("variant_missing"))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "original_damaged media/cut.jpg",
            "original_missing media/gone.jpg",
            "original_moved media/moved.jpg",
            "orphan media/stray.jpg",
        ],
        "{report}"
    );
    assert_eq!(report["problems"], 5, "{report}");
    let output = beside(data.path(), &["scrub", "media", "--repair", "--adopt"]).output().unwrap();
    let table = printed(&output);
    assert_eq!(output.status.code(), Some(1), "two originals are lost: {table}");
    for line in ["moved back", "made again", "adopted", "5 problems, 3 mended"] {
        assert!(table.contains(line), "{line}: {table}");
    }
    assert_eq!(std::fs::read(&variant).unwrap(), made);
    assert!(root.join("moved.jpg").exists() && !root.join("elsewhere/renamed.jpg").exists());

    let (running, client) = (server().data_dir(data.path()).start(), client());
    let (status, problem) = ask(&client, Method::GET, &running.url("/m/media/cut.jpg"), None).await;
    assert_eq!((status.as_u16(), &problem["code"]), (500, &json!("stored_bytes_corrupt")), "{problem}");
    let (_, stray) = bytes(&client, &running.url("/m/media/stray.jpg")).await;
    assert_eq!(stray, fixtures::unlike(9, 100, 80));
    // A backup brings them back; the server's own scrub takes the marks off.
    std::fs::write(root.join("cut.jpg"), &cut).unwrap();
    std::fs::copy(files.path().join("gone.jpg"), root.join("gone.jpg")).unwrap();
    let (code, report) = told(running.cli().args(["scrub", "--repair"]));
    assert_eq!((code, &report["problems"], &report["repaired"]), (0, &json!(2), &json!(2)), "{report}");
    assert_eq!(bytes(&client, &running.url("/m/media/cut.jpg")).await.1, cut);
}
