//! A11: what was asked for, how it ended and how long it took, and what a month costs by a table of prices.

use std::time::{Duration, Instant};

use larder_testkit::fixtures;
use reqwest::{Method, StatusCode};

use crate::client::{ask, client, json_of, larder, server, stdout_of};

/// Figures are stored every ten seconds, on a busy machine a little later.
const STORED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a11_requests_errors_times_bytes_and_costs_are_told_by_bucket() {
    let home = tempfile::tempdir().unwrap();
    let server = server()
        .data_dir(home.path())
        .env("LARDER_BUCKETS__KEEPS__VISIBILITY", "public")
        .env("LARDER_BUCKETS__KEEPS__PRESETS", "[\"keep-small\"]")
        .env("LARDER_STATS__PRICES__GB_OUT", "1000000")
        .env("LARDER_STATS__PRICES__CURRENCY", "EUR")
        .start();
    let client = client();
    let photo = fixtures::jpeg(640, 480);
    let url = server.url("/api/v1/buckets/keeps/objects/a.jpg");
    assert_eq!(client.put(&url).body(photo.clone()).send().await.unwrap().status(), StatusCode::CREATED);
    for _ in 0..20 {
        let answer = client.get(server.url("/m/keeps/a.jpg")).send().await.unwrap();
        assert_eq!(answer.bytes().await.unwrap(), photo);
    }
    for key in ["none.jpg", "nothing.jpg"] {
        assert_eq!(ask(&client, Method::GET, &server.url(&format!("/m/keeps/{key}")), None).await.0, 404);
    }
    assert_eq!(ask(&client, Method::GET, &server.url("/m/nobodys/a.jpg"), None).await.0, 404);

    let deadline = Instant::now() + STORED_WITHIN;
    let statistics = loop {
        let (_, statistics) = ask(&client, Method::GET, &server.url("/api/v1/stats"), None).await;
        if statistics["requests"][0]["requests"] == 23 {
            break statistics;
        }
        assert!(Instant::now() < deadline, "{statistics}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let [keeps] = statistics["requests"].as_array().unwrap().as_slice() else { panic!("{statistics}") };
    assert_eq!(keeps["bucket"], "keeps", "names that strangers invent are not counted");
    assert_eq!((&keeps["requests"], &keeps["client_errors"]), (&23.into(), &2.into()), "{keeps}");
    assert_eq!(keeps["server_errors"], 0);
    assert!(keeps["bytes_out"].as_u64().unwrap() >= 20 * photo.len() as u64, "{keeps}");
    assert!(keeps["p95_ms"].as_f64().unwrap() >= keeps["p50_ms"].as_f64().unwrap(), "{keeps}");
    let cost = &statistics["cost"];
    assert_eq!(cost["currency"], "EUR");
    let bucket = cost["buckets"].as_array().unwrap().iter().find(|of| of["bucket"] == "keeps").unwrap();
    assert!(
        bucket["out"].as_f64().unwrap() > 1.0 && cost["total"].as_f64() >= bucket["out"].as_f64(),
        "{cost}"
    );
    let growth = &statistics["growth"].as_array().unwrap()[0];
    assert_eq!((&growth["bucket"], &growth["days"][0]["objects"]), (&"keeps".into(), &1.into()), "{growth}");

    let text = stdout_of(server.cli().args(["stats", "keeps"]));
    assert!(text.contains("requests of the last 30 days") && text.contains("a month in EUR"), "{text}");

    // What was counted since is stored when the server stops.
    assert_eq!(client.get(server.url("/m/keeps/a.jpg")).send().await.unwrap().status(), StatusCode::OK);
    server.stop();
    let after = json_of(larder().env("LARDER_DATA_DIR", home.path()).arg("stats"));
    assert_eq!(after["requests"][0]["requests"], 24, "{after}");
}
