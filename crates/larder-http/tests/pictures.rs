//! `/i`: presets, signatures, recipes, and formats by `Accept`.

mod support;

use larder_assets::Action;
use larder_image::Format;
use serde_json::json;
use support::{House, pictures};

async fn furnished() -> House {
    let house = House::new().await;
    house.store("media", "a.jpg", &pictures::jpeg(640, 480)).await;
    house.store("media", "b.png", &pictures::png(320, 200)).await;
    house
}

#[tokio::test]
async fn an_open_preset_is_served_to_anyone() {
    let house = furnished().await;
    let answer = house.get("/i/_/p:keep-small/media/a.jpg.jpg").stranger().send().await.is(200);
    assert_eq!(answer.header("content-type"), "image/jpeg");
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    assert_eq!(&answer.body[..2], b"\xFF\xD8");
    let again = house.get("/i/_/p:keep-small/media/a.jpg.jpg").header("if-none-match", answer.header("etag"));
    again.stranger().send().await.is(304);
}

#[tokio::test]
async fn everything_else_needs_a_signature() {
    let house = furnished().await;
    for path in [
        "/i/_/p:keep-large/media/a.jpg.jpg",
        "/i/_/resize:inside:100x100/media/a.jpg.webp",
        "/i/larder.AAAA/resize:inside:100x100/media/a.jpg.webp",
        "/i/nonsense/p:keep-small/media/a.jpg.jpg",
        "/i/_/p:keep-small/private/a.jpg.jpg",
    ] {
        house.get(path).stranger().send().await.refused(403, "signature_invalid");
    }
}

#[tokio::test]
async fn signed_recipes_are_made_on_demand() {
    let house = furnished().await;
    let body = json!({ "bucket": "media", "key": "a.jpg", "recipe": "resize:inside:100x100,quality:70", "extension": "webp" });
    let signed = house.post("/api/v1/sign").json(&body).send().await.is(200).json();
    let url = signed["url"].as_str().unwrap();
    let answer = house.get(url).stranger().send().await.is(200);
    assert_eq!(answer.header("content-type"), "image/webp");
    // Another spelling of the same escapes is the same URL.
    let respelt = url.replace("a.jpg.webp", "%61.jpg.webp").replace("resize:", "resize%3A");
    house.get(&respelt).stranger().send().await.is(200);
    for (from, to) in [("100x100", "999x999"), ("a.jpg.webp", "b.png.webp"), ("exp=", "exp=9")] {
        house.get(&url.replace(from, to)).stranger().send().await.refused(403, "signature_invalid");
    }
}

#[tokio::test]
async fn a_key_signs_within_its_scope_and_only_while_it_works() {
    let house = furnished().await;
    let signer = house.key(&[Action::Sign]).await;
    let id = signer.split('_').nth(1).unwrap().to_owned();
    let body = json!({ "bucket": "media", "key": "a.jpg", "preset": "keep-large", "expires_in_seconds": 60 });
    let signed = house.post("/api/v1/sign").bearer(&signer).json(&body).send().await.is(200).json();
    let url = signed["url"].as_str().unwrap();
    assert!(url.contains(&id) && url.contains("/p:keep-large/media/a.jpg.jpg?exp="), "{url}");
    house.get(url).stranger().send().await.is(200);
    house.larder.revoke_key(id.parse().unwrap()).await.unwrap();
    house.get(url).stranger().send().await.refused(403, "signature_invalid");

    let too_long = json!({ "bucket": "media", "key": "a.jpg", "expires_in_seconds": 604_801 });
    let admin = house.key(&[Action::Admin]).await;
    house.post("/api/v1/sign").bearer(&admin).json(&too_long).send().await.refused(400, "invalid_request");
    let reader = house.key(&[Action::Read]).await;
    house.post("/api/v1/sign").bearer(&reader).json(&body).send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn accept_decides_and_caches_are_told() {
    let house = furnished().await;
    let slow = house.get("/i/_/p:keep-small/media/a.jpg.auto").stranger();
    slow.header("accept", "image/avif,image/webp").send().await.is(200);
    house.work().await;
    let table = [
        ("/i/_/p:keep-small/media/a.jpg.auto", "image/avif,image/webp,*/*;q=0.8", "image/avif"),
        ("/i/_/p:keep-small/media/a.jpg.auto", "image/webp,*/*", "image/webp"),
        ("/i/_/p:keep-small/media/a.jpg.auto", "*/*", "image/jpeg"),
        ("/i/_/p:keep-small/media/b.png.auto", "*/*", "image/png"),
    ];
    for (path, accept, expected) in table {
        let answer = house.get(path).stranger().header("accept", accept).send().await.is(200);
        assert_eq!(answer.header("content-type"), expected, "{accept}");
        let vary: Vec<_> =
            answer.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
        assert!(vary.contains(&"Accept"), "{vary:?}");
    }
    let fixed = house.get("/i/_/p:keep-small/media/a.jpg.jpg").stranger().send().await.is(200);
    assert!(!fixed.headers.get_all("vary").iter().any(|value| value == "Accept"));
}

#[tokio::test]
async fn a_picture_too_large_for_the_best_format_comes_in_the_next() {
    let house = House::new().await;
    house.store("media", "large.jpg", &pictures::jpeg(2_000, 1_200)).await;
    let accept = "image/avif,image/webp,*/*;q=0.8";
    for (recipe, expected) in [
        ("quality:80", "image/webp"),
        ("trim:3,quality:80", "image/webp"),
        ("resize:inside:200x0,quality:80", "image/avif"),
    ] {
        let body = json!({ "bucket": "media", "key": "large.jpg", "recipe": recipe, "extension": "auto" });
        let signed = house.post("/api/v1/sign").json(&body).send().await.is(200).json();
        let url = signed["url"].as_str().unwrap();
        house.get(url).stranger().header("accept", accept).send().await.is(200);
        house.work().await;
        let answer = house.get(url).stranger().header("accept", accept).send().await.is(200);
        assert_eq!(answer.header("content-type"), expected, "{recipe}");
    }
}

#[tokio::test]
async fn nobody_waits_for_avif_and_what_is_shown_meanwhile_is_kept_for_a_minute() {
    if !Format::Avif.is_slow() {
        return;
    }
    let house = furnished().await;
    let path = "/i/_/p:keep-small/media/a.jpg.auto";
    let both = "image/avif,image/webp,*/*;q=0.8";
    let ask = |accept: &str| house.get(path).stranger().header("accept", accept).send();
    let first = ask(both).await.is(200);
    assert_eq!(
        (first.header("content-type"), first.header("cache-control")),
        ("image/webp", "public, max-age=60")
    );
    assert_eq!(first.header("vary"), "Accept");
    let alone = ask("image/avif").await.is(200);
    assert_eq!(
        (alone.header("content-type"), alone.header("cache-control")),
        ("image/jpeg", "public, max-age=60")
    );
    let other = ask("image/webp").await.is(200);
    assert_eq!(other.header("cache-control"), "public, max-age=300", "a client without AVIF has its best");
    let head = house.ask(http::Method::HEAD, path).stranger().header("accept", both).send().await.is(200);
    assert_eq!(
        (head.header("etag"), head.header("cache-control")),
        (first.header("etag"), "public, max-age=60")
    );
    let known =
        house.get(path).stranger().header("accept", both).header("if-none-match", first.header("etag"));
    let known = known.send().await.is(304);
    assert_eq!((known.header("cache-control"), known.header("vary")), ("public, max-age=60", "Accept"));
    let versioned = format!("{path}?v=0123456789abcdef");
    let versioned = house.get(&versioned).stranger().header("accept", both).send().await.is(200);
    assert_eq!(versioned.header("cache-control"), "public, max-age=60");

    let jobs = house.get("/api/v1/jobs?kind=variants&state=queued").send().await.json();
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1, "however many ask: {jobs}");
    assert!(jobs["items"][0]["priority"].as_i64().unwrap() < 0, "uploads come first");
    house.work().await;
    let known =
        house.get(path).stranger().header("accept", both).header("if-none-match", first.header("etag"));
    let made = known.send().await.is(200);
    assert_eq!(
        (made.header("content-type"), made.header("cache-control")),
        ("image/avif", "public, max-age=300")
    );
    let jobs = house.get("/api/v1/jobs?kind=variants&state=queued").send().await.json();
    assert_eq!(jobs["items"], json!([]));
}

#[tokio::test]
async fn avif_that_cannot_be_made_is_not_tried_for_each_reader() {
    if !Format::Avif.is_slow() {
        return;
    }
    let house = furnished().await;
    let path = "/i/_/p:keep-small/media/a.jpg.auto";
    let both = "image/avif,image/webp,*/*;q=0.8";
    let ask = || house.get(path).stranger().header("accept", both).send();
    ask().await.is(200);
    let larder = &house.larder;
    let avif = larder.recipe_of_preset("keep-small").await.unwrap();
    let avif = avif.with_format(larder_image::OutputFormat::named("avif").unwrap()).unwrap();
    let listed = house.get("/api/v1/buckets/media/objects?prefix=a.jpg").send().await.json();
    let id: larder_core::AssetId = listed["items"][0]["id"].as_str().unwrap().parse().unwrap();
    let records = larder.catalog().variants(id).await.unwrap();
    let record = records.into_iter().find(|variant| variant.recipe == avif.to_string()).unwrap();
    let fault = larder_core::Fault::new(larder_core::Code::ImageLimitExceeded, "too much memory");
    let failed = larder_catalog::VariantResult::Failed(fault);
    larder
        .catalog()
        .commit(larder_catalog::Class::Durable, move |tx| {
            Box::pin(async move { tx.finish_variant(record.id, failed).await })
        })
        .await
        .unwrap();
    house.work().await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    for _ in 0..2 {
        let answer = ask().await.is(200);
        assert_eq!(
            (answer.header("content-type"), answer.header("cache-control")),
            ("image/webp", "public, max-age=300")
        );
    }
    let jobs = house.get("/api/v1/jobs?kind=variants&state=queued").send().await.json();
    assert_eq!(jobs["items"], json!([]));
    house
        .get("/i/_/p:keep-small/media/a.jpg.avif")
        .stranger()
        .send()
        .await
        .refused(422, "image_limit_exceeded");
}

#[tokio::test]
async fn impossible_pictures_are_refused() {
    let house = furnished().await;
    house.get("/i/_/p:keep-small/media/a.jpg.exe").send().await.refused(400, "invalid_recipe");
    house.get("/i/_/p:nothing/media/a.jpg.jpg").send().await.refused(403, "signature_invalid");
    house.get("/i/_/p:keep-small/media/none.jpg.jpg").send().await.refused(404, "asset_not_found");
    house.get("/i/_/p:keep-small/media/nothing").send().await.refused(404, "route_not_found");
    let body = json!({ "bucket": "media", "key": "a.jpg", "recipe": "explode:9" });
    house.post("/api/v1/sign").json(&body).send().await.refused(400, "invalid_recipe");
    let body = json!({ "bucket": "media", "key": "a.jpg", "recipe": "resize:inside:9x9,format:png", "extension": "webp" });
    for extension in ["exe", "webp/../x", "a?b"] {
        let odd =
            json!({ "bucket": "media", "key": "a.jpg", "preset": "keep-small", "extension": extension });
        house.post("/api/v1/sign").json(&odd).send().await.refused(400, "invalid_recipe");
    }
    let url = house.post("/api/v1/sign").json(&body).send().await.json();
    house.get(url["url"].as_str().unwrap()).send().await.refused(400, "invalid_recipe");
}

#[tokio::test]
async fn urls_of_answers_work_as_they_are() {
    let house = furnished().await;
    for (bucket, key) in [("media", "a.jpg"), ("media", "b.png")] {
        let listed = house.get(&format!("/api/v1/buckets/{bucket}/objects?prefix={key}")).send().await.json();
        let asset = &listed["items"][0];
        house.get(asset["url"].as_str().unwrap()).stranger().send().await.is(200);
        let variants =
            house.get(&format!("/api/v1/assets/{}/variants", asset["id"].as_str().unwrap())).send().await;
        let variants = variants.is(200).json();
        assert_eq!(variants["items"].as_array().unwrap().len(), 3);
        for variant in variants["items"].as_array().unwrap() {
            assert_eq!(variant["status"], "ready", "{variant}");
            let picture = house.get(variant["url"].as_str().unwrap()).stranger().send().await.is(200);
            assert_eq!(picture.header("content-type"), variant["content_type"].as_str().unwrap());
            assert_eq!(picture.body.len() as u64, variant["size_bytes"].as_u64().unwrap());
            assert!(picture.header("cache-control").contains("immutable"), "{variant}");
        }
    }
}

#[tokio::test]
async fn a_variant_is_immutable_under_its_url_until_its_preset_changes() {
    let house = furnished().await;
    let listed = house.get("/api/v1/buckets/media/objects?prefix=a.jpg").send().await.json();
    let path = format!("/api/v1/assets/{}/variants", listed["items"][0]["id"].as_str().unwrap());
    let small = async || {
        let variants = house.get(&path).send().await.json();
        let all = variants["items"].as_array().unwrap().clone();
        let ready = all
            .into_iter()
            .filter(|one| one["preset"] == "keep-small")
            .max_by_key(|one| one["created_at"].as_str().unwrap().to_owned());
        ready.unwrap()["url"].as_str().unwrap().to_owned()
    };
    let control =
        async |url: &str| house.get(url).stranger().send().await.is(200).header("cache-control").to_owned();
    let url = small().await;
    assert_eq!(control(&url).await, "public, max-age=31536000, immutable");
    let before = house.get(&url).stranger().send().await.body;

    let recipe = json!({ "recipe": "resize:inside:90x90,format:jpeg" });
    house.ask(http::Method::PUT, "/api/v1/presets/keep-small").json(&recipe).send().await.is(200);
    // The very next request through this process is answered by the new recipe, and says that it may change.
    assert_eq!(control(&url).await, "public, max-age=60, must-revalidate");
    assert_ne!(house.get(&url).stranger().send().await.body, before);
    house.work().await;
    let fresh = small().await;
    assert_ne!(fresh, url);
    assert_eq!(control(&fresh).await, "public, max-age=31536000, immutable");
}
