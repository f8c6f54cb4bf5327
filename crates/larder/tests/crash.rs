//! The power goes at any moment: what was acknowledged is there afterwards, with all its variants,
//! nothing half-made is visible, and nothing is left over in staging.
//!
//! `LARDER_CRASH_ROUNDS=200` makes the random part long.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use larder_assets::fail_point;
use larder_testkit::{
    fixtures,
    server::{Server, Starter},
};
use support::{Home, client, upload};

/// Rounds of the random part unless asked for otherwise: enough to meet most steps in a minute.
const ROUNDS: u64 = 12;

fn start(home: &Home) -> Server {
    Starter::new(env!("CARGO_BIN_EXE_larder")).data_dir(home.path()).start()
}

/// Waits until the process has ended by itself.
fn has_ended(server: &Server, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap_or_default();
        // A zombie has ended; we are the parent that has not looked yet.
        if stat.is_empty()
            || stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
        {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[tokio::test]
async fn a_kill_at_every_fail_point_loses_nothing_that_was_acknowledged() {
    for point in fail_point::ALL {
        let home = Home::new();
        let first = start(&home);
        let kept = upload(first.address(), fixtures::unlike(1, 320, 200)).await.expect("an upload");
        support::completed(first.address(), &kept).await;
        let deleted = upload(first.address(), fixtures::unlike(2, 320, 200)).await.expect("an upload");
        let deleted = support::completed(first.address(), &deleted).await;
        first.stop();

        let doomed = Starter::new(env!("CARGO_BIN_EXE_larder"))
            .data_dir(home.path())
            .env("LARDER_FAIL_POINT", *point)
            .start();
        let mut acknowledged = vec![kept];
        let is_deletion = point.starts_with("delete.");
        if is_deletion {
            let url =
                format!("{}/api/v1/assets/{}", doomed.address(), deleted["asset"]["id"].as_str().unwrap());
            let _ = client().delete(url).send().await;
        } else if let Ok(id) = upload(doomed.address(), fixtures::unlike(3, 800, 600)).await {
            acknowledged.push(id);
        }
        assert!(has_ended(&doomed, Duration::from_secs(30)), "{point} was not reached");
        doomed.kill();

        let after = start(&home);
        for id in &acknowledged {
            let upload = support::ended(after.address(), id).await;
            // A file on which a process died is first tried apart; here the next start has no fail
            // point, so it goes through.
            assert_eq!(upload["status"], "completed", "{point}: {upload}");
            support::every_picture_is_there(after.address(), &upload, &format!("after {point}")).await;
        }
        if is_deletion {
            support::is_whole_or_gone(after.address(), &deleted, point).await;
        }
        support::settled(after.address()).await;
        home.nothing_is_left_over(after.address(), point).await;
        after.stop();
    }
}

#[tokio::test]
async fn i2_a_file_that_ends_every_process_is_refused_and_the_server_lives() {
    let home = Home::new();
    let first = Starter::new(env!("CARGO_BIN_EXE_larder"))
        .data_dir(home.path())
        .env("LARDER_FAIL_POINT", "decode.begun")
        .start();
    let id = upload(first.address(), fixtures::unlike(1, 320, 200)).await.expect("an acknowledged upload");
    assert!(has_ended(&first, Duration::from_secs(30)));
    first.kill();
    let second = Starter::new(env!("CARGO_BIN_EXE_larder"))
        .data_dir(home.path())
        .env("LARDER_FAIL_POINT", "decode.begun")
        .start();
    let upload = support::ended(second.address(), &id).await;
    assert_eq!(
        (&upload["status"], &upload["error"]["code"]),
        (&"failed".into(), &"processing_crashed".into())
    );
    assert!(!has_ended(&second, Duration::from_millis(200)), "only the child died");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_under_load_lose_nothing_that_was_acknowledged() {
    let rounds =
        std::env::var("LARDER_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let home = Home::new();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let seed = Arc::new(AtomicU64::new(1));
    for round in 0..rounds {
        let server = start(&home);
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (address, acknowledged) = (server.address().to_owned(), acknowledged.clone());
                let (seed, stop) = (seed.clone(), stop.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        let file = fixtures::unlike(seed.fetch_add(1, Ordering::SeqCst), 160, 120);
                        match upload(&address, file).await {
                            Ok(id) => acknowledged.lock().unwrap().push(id),
                            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                        }
                    }
                })
            })
            .collect();
        // A spread of moments that is the same in each run, unlike what happens at them.
        tokio::time::sleep(Duration::from_millis(20 + (round * 7_919) % 700)).await;
        server.kill();
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.unwrap();
        }
    }
    let server = start(&home);
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > rounds as usize, "there was load: {}", acknowledged.len());
    for id in &acknowledged {
        let upload = support::ended(server.address(), id).await;
        assert_eq!(upload["status"], "completed", "{upload}");
        support::every_picture_is_there(server.address(), &upload, "after random kills").await;
    }
    support::settled(server.address()).await;
    home.nothing_is_left_over(server.address(), "random kills").await;
}
