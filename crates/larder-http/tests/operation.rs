//! What operators use: keys, buckets, presets, jobs, figures, health, the document.

mod support;

use std::time::Duration;

use http::Method;
use larder_assets::Action;
use larder_http::{AppOptions, ServerLimits};
use larder_store::{PutOptions, StoreExt};
use larder_testkit::faulty_store::{Operation, Rule};
use serde_json::{Value, json};
use support::{House, Plan, pictures};

#[tokio::test]
async fn keys_are_shown_once_rotated_and_revoked() {
    let house = House::new().await;
    let body = json!({ "name": "app", "scope": { "actions": ["admin"] }, "expires_in": "30d" });
    let issued = house.post("/api/v1/keys").json(&body).send().await.is(201).json();
    let secret = issued["secret"].as_str().unwrap().to_owned();
    let id = issued["key"]["id"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("lk_") && issued["key"]["expires_at"].is_string());
    // From now on this machine needs a key as well.
    house.get("/api/v1/keys").send().await.refused(401, "unauthenticated");
    let listed = house.get("/api/v1/keys").bearer(&secret).send().await.is(200);
    assert!(!listed.text().contains(&secret));

    let rotated =
        house.post(&format!("/api/v1/keys/{id}/rotate")).bearer(&secret).json(&json!({ "overlap": "1h" }));
    let rotated = rotated.send().await.is(201).json();
    let fresh = rotated["secret"].as_str().unwrap();
    house.get("/api/v1/keys").bearer(&secret).send().await.is(200);
    house.delete(&format!("/api/v1/keys/{id}")).bearer(fresh).send().await.is(200);
    house.get("/api/v1/keys").bearer(&secret).send().await.refused(401, "unauthenticated");
    let missing = "/api/v1/keys/0199aaaa-0000-7000-8000-000000000000";
    house.delete(missing).bearer(fresh).send().await.refused(404, "key_not_found");
    let none = json!({ "name": "app", "scope": { "actions": ["fly"] } });
    let none = house.post("/api/v1/keys").bearer(fresh).json(&none).send().await;
    assert_eq!(none.json()["errors"][0]["pointer"], "#/scope/actions/0");
}

#[tokio::test]
async fn buckets_are_made_replaced_and_removed() {
    let house = House::new().await;
    let path = "/api/v1/buckets/fresh";
    let policy = json!({ "visibility": "public", "max_bytes": "10 MiB", "cache": "1h", "presets": ["keep"] });
    let made = house.ask(Method::PUT, path).json(&policy).send().await.is(201);
    assert_eq!(made.header("location"), path);
    assert_eq!(made.json()["policy"]["max_bytes"], 10_485_760);
    let replaced = house.ask(Method::PUT, path).json(&json!({})).send().await.is(200).json();
    assert_eq!(replaced["policy"]["visibility"], "private");
    let names: Vec<_> = house.get("/api/v1/buckets").send().await.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| bucket["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["files", "fresh", "media", "private"]);
    house.get(path).send().await.is(200);

    let wrong = house.ask(Method::PUT, path).json(&json!({ "cors": { "orgins": [] } })).send().await;
    wrong.refused(400, "invalid_request");
    assert_eq!(wrong.json()["errors"][0]["pointer"], "#/cors/orgins");
    house
        .ask(Method::PUT, path)
        .json(&json!({ "presets": ["nothing"] }))
        .send()
        .await
        .refused(400, "invalid_request");
    house
        .ask(Method::PUT, "/api/v1/buckets/Bad")
        .json(&json!({}))
        .send()
        .await
        .refused(400, "invalid_bucket_name");
    house.put("/api/v1/buckets/fresh/objects/a.jpg", pictures::jpeg(8, 8)).send().await.is(201);
    house.delete(path).send().await.refused(409, "conflict");
    house.delete("/api/v1/buckets/fresh/objects/a.jpg?purge=true").send().await.is(200);
    house.delete(path).send().await.is(204);
    house.delete(path).send().await.refused(404, "bucket_not_found");
}

#[tokio::test]
async fn a_changed_preset_is_backfilled_by_a_job_that_can_be_watched() {
    let house = House::new().await;
    let asset = house.store("media", "a.jpg", &pictures::jpeg(640, 480)).await;
    let path = "/api/v1/presets/keep-small";
    let put = |recipe: &str| house.ask(Method::PUT, path).json(&json!({ "recipe": recipe })).send();
    let changed = put("resize:inside:100x100,format:jpeg").await.is(200).json();
    let job = changed["backfill"].as_str().unwrap().to_owned();
    assert_eq!(put("resize:inside:100x100,format:jpeg").await.is(200).json()["backfill"], json!(null));
    house.work().await;
    let done = house.get(&format!("/api/v1/jobs/{job}")).send().await.is(200).json();
    assert_eq!((&done["state"], &done["history"][0]["outcome"]), (&json!("done"), &json!("done")), "{done}");
    let watched = house.get(&format!("/api/v1/jobs/{job}/events")).send().await.is(200).text();
    assert!(watched.contains("event: job\ndata: {"), "{watched}");
    let seen = watched.rsplit("id: ").next().unwrap().lines().next().unwrap().to_owned();
    house.get(&format!("/api/v1/jobs/{job}/events")).header("last-event-id", &seen).send().await.is(204);
    let variants =
        house.get(&format!("/api/v1/assets/{}/variants", asset["id"].as_str().unwrap())).send().await.json();
    let widths: Vec<_> =
        variants["items"].as_array().unwrap().iter().map(|variant| variant["width"].clone()).collect();
    assert!(widths.contains(&json!(100)), "{variants}");

    house
        .ask(Method::PUT, "/api/v1/presets/fresh")
        .json(&json!({ "recipe": "resize:inside:9x9" }))
        .send()
        .await
        .is(201);
    house.delete("/api/v1/presets/fresh").send().await.is(204);
    house.get("/api/v1/presets/fresh").send().await.refused(404, "preset_not_found");
    put("explode").await.refused(400, "invalid_recipe");
    house.delete(path).send().await.refused(409, "conflict");
}

#[tokio::test]
async fn jobs_are_listed_cancelled_and_retried() {
    let house = House::new().await;
    house.post("/api/v1/uploads").body(pictures::jpeg(16, 16)).send().await.is(202);
    let queues = house.get("/api/v1/queues").send().await.is(200).json();
    assert_eq!((&queues["items"][0]["queue"], &queues["items"][0]["jobs"]), (&json!("intake"), &json!(1)));
    let listed = house.get("/api/v1/jobs?state=queued").send().await.is(200).json();
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    let cancelled = house.post(&format!("/api/v1/jobs/{id}/cancel")).send().await.is(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    // With its job the upload ended, and ended uploads do not come back.
    house.post(&format!("/api/v1/jobs/{id}/retry")).send().await.refused(409, "conflict");
    let recipe = json!({ "recipe": "resize:inside:90x90,format:jpeg" });
    let preset =
        house.ask(Method::PUT, "/api/v1/presets/keep-small").json(&recipe).send().await.is(200).json();
    let job = format!("/api/v1/jobs/{}", preset["backfill"].as_str().unwrap());
    house.post(&format!("{job}/cancel")).send().await.is(200);
    assert_eq!(house.post(&format!("{job}/retry")).send().await.is(200).json()["state"], "queued");
    house.get("/api/v1/jobs?state=odd").send().await.refused(400, "invalid_request");
    house.get("/api/v1/jobs/0199aaaa-0000-7000-8000-000000000000").send().await.refused(404, "job_not_found");
    assert_eq!(house.get("/api/v1/workers").send().await.is(200).json()["items"], json!([]));
}

#[tokio::test]
async fn figures_and_sweeps_say_how_much() {
    let house = House::new().await;
    let picture = pictures::jpeg(64, 64);
    house.store("media", "a.jpg", &picture).await;
    let stats = house.get("/api/v1/stats").send().await.is(200).json();
    assert_eq!((&stats["total_objects"], &stats["total_bytes"]), (&json!(1), &json!(picture.len())));
    let one = house.get("/api/v1/stats?bucket=media").send().await.is(200).json();
    assert_eq!(one["buckets"][0]["variants"].as_array().unwrap().len(), 3);
    house.get("/api/v1/stats?bucket=nobody").send().await.refused(404, "bucket_not_found");
    let dry = house.post("/api/v1/gc/sweep").json(&json!({ "dry_run": true })).send().await.is(200).json();
    assert_eq!((&dry["dry_run"], &dry["assets"]), (&json!(true), &json!(0)));
    // A misspelt word must not sweep for real.
    house
        .post("/api/v1/gc/sweep")
        .json(&json!({ "dryrun": true }))
        .send()
        .await
        .refused(400, "invalid_request");
}

#[tokio::test]
async fn metrics_are_for_operators() {
    let house = House::new().await;
    house.store("media", "a.jpg", &pictures::jpeg(16, 16)).await;
    house.get("/m/media/a.jpg").send().await.is(200);
    let text = house.get("/metrics").send().await.is(200).text();
    assert!(
        text.contains(r#"larder_http_requests_total{route="/m/{bucket}/{*key}",method="GET",status="200"}"#),
        "{text}"
    );
    assert!(text.contains("larder_http_request_duration_seconds_bucket"));
    // A scraper on this machine needs no Host of ours; one behind a proxy needs a key.
    house.get("/metrics").header("host", "10.0.0.5:8000").send().await.is(200);
    house.get("/metrics").header("x-forwarded-for", "1.2.3.4").send().await.refused(401, "unauthenticated");
    house.get("/metrics").stranger().send().await.refused(401, "unauthenticated");
    let (reader, admin) = (house.key(&[Action::Read]).await, house.key(&[Action::Admin]).await);
    house.get("/metrics").stranger().bearer(&reader).send().await.refused(403, "forbidden");
    house.get("/metrics").stranger().bearer(&admin).send().await.is(200);
}

#[tokio::test]
async fn anyone_finds_health_the_document_and_the_page() {
    let house = House::new().await;
    assert_eq!(house.get("/healthz").stranger().send().await.is(200).json(), json!({ "status": "ok" }));
    assert_eq!(house.get("/readyz").stranger().send().await.is(200).json()["status"], "ok");
    let document = house.get("/openapi.json").stranger().send().await.is(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let page = house.get("/").stranger().send().await.is(200);
    assert!(page.text().contains("/openapi.json") && page.header("content-type").starts_with("text/html"));
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_too() {
    let house = House::new().await;
    let answer = house.get("/api/v1/nothing").header("x-request-id", "trace-7").send().await;
    answer.refused(404, "route_not_found");
    assert_eq!(answer.header("x-request-id"), "trace-7");
    insta::assert_json_snapshot!(answer.json(), @r#"
    {
      "code": "route_not_found",
      "detail": "GET /api/v1/nothing is not part of this API",
      "instance": "/api/v1/nothing",
      "remedy": "see /openapi.json for what there is",
      "request_id": "trace-7",
      "status": 404,
      "title": "No such route",
      "type": "urn:larder:problem:route_not_found"
    }
    "#);
    let method = house.delete("/api/v1/buckets").send().await;
    method.refused(405, "method_not_allowed");
    assert!(method.header("allow").contains("GET"), "{:?}", method.headers);
    let text = house
        .ask(Method::PUT, "/api/v1/presets/x")
        .header("content-type", "text/plain")
        .body("x")
        .send()
        .await;
    text.refused(415, "unsupported_type");
    let large = format!("{{\"recipe\":\"{}\"}}", "x".repeat(1_048_577));
    let large =
        house.ask(Method::PUT, "/api/v1/presets/x").header("content-type", "application/json").body(large);
    large.send().await.refused(413, "file_too_large");
}

#[tokio::test]
async fn a_rotated_key_never_lives_longer_than_it_was_meant_to() {
    let house = House::new().await;
    let body = json!({ "name": "app", "scope": { "actions": ["admin"] }, "expires_in": "1h" });
    let issued = house.post("/api/v1/keys").json(&body).send().await.is(201).json();
    let (secret, id) = (issued["secret"].as_str().unwrap(), issued["key"]["id"].as_str().unwrap());
    let rotate = || {
        house
            .post(&format!("/api/v1/keys/{id}/rotate"))
            .bearer(secret)
            .json(&json!({ "overlap": "30d" }))
            .send()
    };
    rotate().await.is(201);
    let keys = house.get("/api/v1/keys").bearer(secret).send().await.json();
    let old = keys["items"].as_array().unwrap().iter().find(|key| key["id"] == id).unwrap().clone();
    assert_eq!(old["expires_at"], issued["key"]["expires_at"]);
    rotate().await.refused(409, "conflict");
    let keys = house.get("/api/v1/keys").bearer(secret).send().await.json();
    assert_eq!(keys["items"].as_array().unwrap().len(), 2, "a refused rotation leaves no key");
}

#[tokio::test]
async fn a_bucket_that_makes_more_presets_gets_their_variants() {
    let house = House::new().await;
    let id =
        house.store("private", "a.jpg", &pictures::jpeg(640, 480)).await["id"].as_str().unwrap().to_owned();
    let presets = async || {
        let variants = house.get(&format!("/api/v1/assets/{id}/variants")).send().await.json();
        let mut names: Vec<_> = variants["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|variant| variant["preset"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(presets().await, ["keep-small"]);
    let put =
        |policy: serde_json::Value| house.ask(Method::PUT, "/api/v1/buckets/private").json(&policy).send();
    put(json!({ "presets": ["keep-small", "keep-large"] })).await.is(200);
    house.work().await;
    assert_eq!(presets().await, ["keep-large", "keep-small"]);
    // Fewer, or the same, are nothing to be made.
    put(json!({ "presets": ["keep-small"] })).await.is(200);
    let queued = house.get("/api/v1/jobs?state=queued").send().await.json();
    assert_eq!(queued["items"], json!([]));
}

#[tokio::test]
async fn a_bucket_is_backfilled_on_request() {
    let house = House::new().await;
    house.store("private", "a.jpg", &pictures::jpeg(640, 480)).await;
    let path = "/api/v1/buckets/private/backfill";
    let job = house.post(path).send().await.is(202);
    assert_eq!(job.header("location"), format!("/api/v1/jobs/{}", job.json()["job_id"].as_str().unwrap()));
    house.work().await;
    let done = house.get(job.header("location")).send().await.json();
    assert_eq!((&done["kind"], &done["state"]), (&json!("backfill"), &json!("done")));
    house.post(path).json(&json!({ "preset": "keep-small" })).send().await.is(202);
    house.post(path).json(&json!({ "preset": "keep-large" })).send().await.refused(404, "preset_not_found");
    house.post("/api/v1/buckets/nobody/backfill").send().await.refused(404, "bucket_not_found");
    let reader = house.key(&[Action::Read, Action::Write]).await;
    house.post(path).bearer(&reader).send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn a_prefix_is_counted_and_then_deleted_by_a_job() {
    let house = House::new().await;
    let picture = pictures::jpeg(16, 16);
    for key in ["tmp/1.jpg", "tmp/2.jpg", "kept.jpg"] {
        house.store("media", key, &picture).await;
    }
    let path = "/api/v1/buckets/media/delete";
    let ask = |body: serde_json::Value| house.post(path).json(&body).send();
    let dry = ask(json!({ "prefix": "tmp/", "dry_run": true })).await.is(200).json();
    assert_eq!(dry, json!({ "dry_run": true, "assets": 2, "asset_bytes": 2 * picture.len() }));
    let old = ask(json!({ "prefix": "tmp/", "older_than": "1h", "dry_run": true })).await.is(200).json();
    assert_eq!(old["assets"], 0);
    ask(json!({ "prefix": "tmp/", "dryrun": true })).await.refused(400, "invalid_request");
    ask(json!({})).await.refused(400, "invalid_request");

    // One that was cancelled deletes nothing.
    let job = ask(json!({ "prefix": "tmp/" })).await.is(202);
    house.post(&format!("{}/cancel", job.header("location"))).send().await.is(200);
    house.work().await;
    house.get("/m/media/tmp/1.jpg").send().await.is(200);

    let job = ask(json!({ "prefix": "tmp/" })).await.is(202);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let late = house.put("/api/v1/buckets/media/objects/tmp/late.jpg", picture.clone()).send().await.is(201);
    assert_eq!(late.json()["key"], "tmp/late.jpg");
    house.work().await;
    let done = house.get(job.header("location")).send().await.json();
    assert_eq!((&done["kind"], &done["state"]), (&json!("delete_prefix"), &json!("done")), "{done}");
    let left = house.get("/api/v1/buckets/media/objects").send().await.json();
    let left: Vec<_> = left["items"].as_array().unwrap().iter().map(|asset| asset["key"].clone()).collect();
    assert_eq!(left, ["kept.jpg", "tmp/late.jpg"]);
    let deleted = house.get("/api/v1/buckets/media/objects?deleted=true").send().await.json();
    assert_eq!(deleted["items"].as_array().unwrap().len(), 2, "they can be restored");

    let narrow = larder_assets::Scope {
        buckets: vec!["media".to_owned()],
        prefixes: vec!["tmp/".to_owned()],
        actions: vec![Action::Delete],
    };
    let narrow = house.key_for(narrow).await;
    let ask = |prefix: &str| {
        house.post(path).bearer(&narrow).json(&json!({ "prefix": prefix, "dry_run": true })).send()
    };
    ask("tmp/").await.is(200);
    ask("").await.refused(403, "forbidden");
}

#[tokio::test]
async fn limits_of_batches_and_json_are_settings() {
    let limits = ServerLimits { json_bytes_max: 200, ..ServerLimits::default() };
    let options = AppOptions { limits, ..AppOptions::default() };
    let house = House::build(Plan { batch_items_max: Some(1), options, ..Plan::default() }).await;
    let long = json!({ "recipe": "x".repeat(200) });
    house.ask(Method::PUT, "/api/v1/presets/x").json(&long).send().await.refused(413, "file_too_large");
    let two = (0..2).fold(support::Form::default(), |form, _| form.file("a.jpg", "image/jpeg", b"x"));
    house.post("/api/v1/uploads").form(two).send().await.refused(413, "batch_too_large");
    let id = "0199aaaa-0000-7000-8000-000000000000";
    let one = json!({ "action": "delete", "id": id });
    let body = json!({ "operations": [&one, &one] });
    house.post("/api/v1/assets/batch").json(&body).send().await.refused(413, "batch_too_large");
}

#[tokio::test]
async fn a_store_that_hangs_is_found_out_in_time() {
    let house = House::new().await;
    house.store.add(Rule::on(Operation::Stat).delayed(Duration::from_secs(60)));
    let ready = tokio::time::timeout(Duration::from_secs(10), house.get("/readyz").send()).await;
    let ready = ready.expect("an answer in time").is(200).json();
    assert_eq!(
        (&ready["status"], &ready["store"]["code"]),
        (&json!("degraded"), &json!("backend_unavailable"))
    );
}

#[tokio::test]
async fn adoptions_and_scrubs_are_jobs_with_reports() {
    let house = House::new().await;
    let photo = larder_testkit::fixtures::jpeg(120, 80);
    let at = "media/old/a.jpg".parse().unwrap();
    house.larder.stores().primary().put_bytes(&at, photo.clone(), PutOptions::default()).await.unwrap();
    let scrub = async |body: Value| {
        let answer = house.post("/api/v1/scrub").json(&body).send().await.is(202);
        let job = answer.json()["job_id"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("location"), format!("/api/v1/jobs/{job}"));
        house.get(&format!("/api/v1/jobs/{job}/report")).send().await.refused(404, "job_not_found");
        house.work().await;
        house.get(&format!("/api/v1/jobs/{job}/report")).send().await.is(200).json()
    };
    let report = scrub(json!({ "sample": 1.0 })).await;
    assert_eq!((&report["problems"], &report["orphans"]), (&json!(1), &json!(1)), "{report}");
    let answer = house.post("/api/v1/adopt").json(&json!({ "bucket": "media" })).send().await.is(202);
    let job = answer.json()["job_id"].as_str().unwrap().to_owned();
    house.work().await;
    let report = house.get(&format!("/api/v1/jobs/{job}/report")).send().await.is(200).json();
    assert_eq!((&report["adopted"], &report["refused"]), (&json!(1), &json!(0)), "{report}");
    assert_eq!(house.get("/m/media/old/a.jpg").send().await.is(200).body, photo);
    assert_eq!(scrub(json!({})).await["problems"], 0);

    house
        .post("/api/v1/adopt")
        .json(&json!({ "bucket": "nowhere" }))
        .send()
        .await
        .refused(404, "bucket_not_found");
    house
        .post("/api/v1/adopt")
        .json(&json!({ "bucket": "media", "prefixx": "" }))
        .send()
        .await
        .refused(400, "invalid_request");
    let reader = house.key(&[Action::Read, Action::List]).await;
    house.post("/api/v1/scrub").bearer(&reader).send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn databases_in_the_store_are_shown_with_what_is_wrong_with_them() {
    let house = House::new().await;
    let all = house.get("/api/v1/databases").send().await.is(200).json();
    assert_eq!(all["items"], json!([]));
    assert!(!house.get("/metrics").send().await.is(200).text().contains("larder_database"));
    // An entry that is none.
    let place = "org-data/1/log/0000000000000001".parse().unwrap();
    house.larder.stores().primary().put_bytes(&place, "damaged", PutOptions::default()).await.unwrap();
    for what in ["backup", "verify"] {
        let asked = house.post(&format!("/api/v1/databases/{what}")).send().await.is(202);
        let again = house.post(&format!("/api/v1/databases/{what}")).send().await.is(202);
        assert_eq!(asked.json(), again.json(), "while one waits, it is the answer");
        house.work().await;
        let report = format!("/api/v1/jobs/{}/report", asked.json()["job_id"].as_str().unwrap());
        assert_eq!(house.get(&report).send().await.is(200).json()["databases"], 1);
    }
    let database = house.get("/api/v1/databases").send().await.is(200).json()["items"][0].clone();
    assert_eq!(
        (&database["prefix"], &database["verify"]["status"]),
        (&json!("org-data/1"), &json!("damaged"))
    );
    assert!(database["backup_error"].as_str().unwrap().contains("log/0000000000000001"), "{database}");
    assert!(
        database["verify"]["problems"][0].as_str().unwrap().contains("log/0000000000000001"),
        "{database}"
    );
    let figures = house.get("/metrics").send().await.is(200).text();
    assert!(figures.contains("larder_database_damaged{database=\"org-data/1\"} 1\n"), "{figures}");
    house.get("/api/v1/schedules").send().await.is(200);
    let body = json!({ "name": "app", "scope": { "actions": ["read", "list"] } });
    let reader = house.post("/api/v1/keys").json(&body).send().await.is(201).json();
    let secret = reader["secret"].as_str().unwrap();
    for path in ["/api/v1/databases", "/api/v1/schedules"] {
        house.get(path).bearer(secret).send().await.refused(403, "forbidden");
    }
    house.post("/api/v1/databases/verify").bearer(secret).send().await.refused(403, "forbidden");
}
