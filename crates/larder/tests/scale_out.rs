//! K1, K2: two processes on one PostgreSQL and one folder share the work, and one of them can be
//! killed at any time.

mod support;

use std::{collections::BTreeMap, time::Duration};

use larder_testkit::{
    fixtures, postgres,
    server::{Server, Starter},
};
use support::{Home, get, upload};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn start(database: &str, home: &Home, name: &str) -> Server {
    Starter::new(env!("CARGO_BIN_EXE_larder"))
        .data_dir(home.path().join(name))
        .env("LARDER_DATABASE_URL", database)
        .env("LARDER_SECRET", SECRET)
        .env("MEDIA_ROOT", home.path().join("media").display().to_string())
        .start()
}

#[tokio::test]
async fn k2_two_processes_share_the_work_and_one_finishes_what_the_other_left() {
    let database = postgres::database().await;
    let home = Home::new();
    let one = start(&database.url, &home, "one");
    let two = start(&database.url, &home, "two");
    let mut ids = Vec::new();
    for seed in 0..24 {
        let address = if seed % 2 == 0 { one.address() } else { two.address() };
        ids.push(upload(address, fixtures::unlike(seed, 900, 700)).await.expect("an upload"));
    }
    // Killed with jobs in its hands: nothing else happens on it any more.
    let killed = one.pid();
    one.kill();
    for seed in 24..30 {
        ids.push(upload(two.address(), fixtures::unlike(seed, 900, 700)).await.expect("an upload"));
    }
    let mut workers: BTreeMap<String, usize> = BTreeMap::new();
    for id in &ids {
        let upload = support::completed(two.address(), id).await;
        support::every_picture_is_there(two.address(), &upload, "after one process was killed").await;
    }
    support::settled(two.address()).await;
    let jobs = get(&format!("{}/api/v1/jobs?limit=500", two.address())).await;
    for job in jobs["items"].as_array().expect("items") {
        let job = get(&format!("{}/api/v1/jobs/{}", two.address(), job["id"].as_str().expect("an id"))).await;
        for attempt in job["history"].as_array().into_iter().flatten() {
            let pid = attempt["worker"].as_str().and_then(|name| name.split('/').nth(2)).unwrap_or_default();
            *workers.entry(pid.to_owned()).or_default() += 1;
        }
    }
    assert!(workers.contains_key(&killed.to_string()), "the first took its share: {workers:?}");
    assert!(workers.contains_key(&two.pid().to_string()), "the second took its share: {workers:?}");
    // The file that the first was writing when it ended goes with the next sweep.
    support::sweep_uploads(two.address()).await;
    home.nothing_is_left_over(two.address(), "two processes").await;
}

#[tokio::test]
async fn k2_racing_readers_of_two_processes_get_the_same_bytes_of_a_variant_made_on_demand() {
    let database = postgres::database().await;
    let home = Home::new();
    let one = start(&database.url, &home, "one");
    let two = start(&database.url, &home, "two");
    let id = upload(one.address(), fixtures::unlike(7, 640, 480)).await.expect("an upload");
    let done = support::completed(one.address(), &id).await;
    let key = done["asset"]["key"].as_str().expect("a key");
    let signed = |server: &Server, side: u32| {
        let (address, key) = (server.address().to_owned(), key.to_owned());
        async move {
            let recipe = format!("resize:cover:{side}x{side},format:webp,quality:80");
            let request = serde_json::json!({ "bucket": "media", "key": key, "recipe": recipe });
            let answer =
                support::client().post(format!("{address}/api/v1/sign")).json(&request).send().await.unwrap();
            let answer: serde_json::Value = answer.json().await.unwrap();
            let url = answer["url"].as_str().unwrap_or_else(|| panic!("{answer}"));
            let url = if url.starts_with('/') { format!("{address}{url}") } else { url.to_owned() };
            let response = support::client().get(url).send().await.unwrap();
            assert_eq!(response.status(), 200);
            let etag = response.headers()["etag"].to_str().unwrap().to_owned();
            (etag, support::digest(&response.bytes().await.unwrap()))
        }
    };
    for side in 50..60 {
        let (here, there) = tokio::join!(signed(&one, side), signed(&two, side));
        assert_eq!(here, there);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(support::files(&home.path().join("media/.larder/staging")).len(), 0);
}
