//! `/m`: heads, conditions, ranges, cache lifetimes and who may read.

mod support;

use http::Method;
use larder_assets::Action;
use serde_json::json;
use support::{House, pictures};

/// A house with `media/a/b.jpg`, and the file's bytes.
async fn furnished() -> (House, bytes::Bytes) {
    let house = House::new().await;
    let picture = pictures::jpeg(64, 48);
    house.store("media", "a/b.jpg", &picture).await;
    (house, picture)
}

#[tokio::test]
async fn a_public_original_is_answered_with_every_header_it_needs() {
    let (house, picture) = furnished().await;
    let answer = house.get("/m/media/a/b.jpg").stranger().send().await.is(200);
    assert_eq!(answer.body, picture);
    for (name, value) in [
        ("content-type", "image/jpeg"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("cache-control", "public, max-age=300"),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert_eq!(answer.header("content-length"), picture.len().to_string());
    assert!(answer.header("etag").starts_with('"') && answer.header("last-modified").ends_with("GMT"));
    assert_eq!(answer.header("x-request-id").len(), 16);

    let head = house.ask(Method::HEAD, "/m/media/a/b.jpg").stranger().send().await.is(200);
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-length"), picture.len().to_string());
    assert_eq!(head.header("etag"), answer.header("etag"));
}

#[tokio::test]
async fn conditions_spare_bytes() {
    let (house, picture) = furnished().await;
    let first = house.get("/m/media/a/b.jpg").send().await.is(200);
    let (etag, date) = (first.header("etag"), first.header("last-modified"));

    let same = house.get("/m/media/a/b.jpg").header("if-none-match", etag).send().await.is(304);
    assert!(same.body.is_empty());
    for name in ["etag", "cache-control", "last-modified", "vary"] {
        assert_eq!(same.header(name), first.header(name), "{name}");
    }
    house.get("/m/media/a/b.jpg").header("if-modified-since", date).send().await.is(304);
    house
        .get("/m/media/a/b.jpg")
        .header("if-match", "\"other\"")
        .send()
        .await
        .refused(412, "precondition_failed");
    let other = house.get("/m/media/a/b.jpg").header("if-none-match", "\"other\"").send().await.is(200);
    assert_eq!(other.body, picture);
}

#[tokio::test]
async fn ranges_are_cut_out() {
    let (house, picture) = furnished().await;
    let size = picture.len();
    let ask = |range: &str| house.get("/m/media/a/b.jpg").header("range", range).send();

    let one = ask("bytes=10-19").await.is(206);
    assert_eq!(one.body, picture.slice(10..20));
    assert_eq!(one.header("content-range"), format!("bytes 10-19/{size}"));
    assert_eq!(one.header("content-length"), "10");

    let suffix = ask("bytes=-7").await.is(206);
    assert_eq!(suffix.body, picture.slice(size - 7..));

    let nothing = ask(&format!("bytes={size}-")).await;
    nothing.refused(416, "range_not_satisfiable");
    assert_eq!(nothing.header("content-range"), format!("bytes */{size}"));

    ask("bytes=9-1").await.is(200);
    ask("lines=1-2").await.is(200);
    let etag = one.header("etag");
    let holds =
        house.get("/m/media/a/b.jpg").header("range", "bytes=0-1").header("if-range", etag).send().await;
    holds.is(206);
    let stale =
        house.get("/m/media/a/b.jpg").header("range", "bytes=0-1").header("if-range", "\"x\"").send().await;
    assert_eq!(stale.is(200).body, picture);
    // Ranges are defined for GET alone.
    house.ask(Method::HEAD, "/m/media/a/b.jpg").header("range", "bytes=0-1").send().await.is(200);
}

#[tokio::test]
async fn several_ranges_come_as_parts() {
    let (house, picture) = furnished().await;
    let answer = house.get("/m/media/a/b.jpg").header("range", "bytes=0-9,200-209,-5").send().await.is(206);
    let boundary =
        answer.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap().to_owned();
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    let size = picture.len();
    let mut expected = Vec::new();
    for (at, range) in [0..10, 200..210, size - 5..size].into_iter().enumerate() {
        let lead = if at == 0 { "" } else { "\r\n" };
        expected.extend_from_slice(
            format!(
                "{lead}--{boundary}\r\nContent-Type: image/jpeg\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n",
                range.start,
                range.end - 1
            )
            .as_bytes(),
        );
        expected.extend_from_slice(&picture[range]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn a_large_original_is_streamed_whole_and_in_parts() {
    let house = House::new().await;
    let picture = pictures::jpeg(1_600, 1_200);
    assert!(picture.len() > 300_000, "{} bytes are kept in memory", picture.len());
    house.store("media", "large.jpg", &picture).await;
    assert_eq!(house.get("/m/media/large.jpg").send().await.is(200).body, picture);
    let part = house.get("/m/media/large.jpg").header("range", "bytes=100000-299999").send().await.is(206);
    assert_eq!(part.body, picture.slice(100_000..300_000));
    let parts =
        house.get("/m/media/large.jpg").header("range", "bytes=0-99,200000-200099").send().await.is(206);
    assert_eq!(parts.header("content-length"), parts.body.len().to_string());
}

#[tokio::test]
async fn cache_lifetimes_follow_the_version() {
    let (house, _) = furnished().await;
    let asset = house.get("/api/v1/buckets/media/objects?prefix=a/").send().await.json();
    let url = asset["items"][0]["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("/m/media/a/b.jpg?v="), "{url}");
    let control = |path: String| {
        let house = &house;
        async move { house.get(&path).stranger().send().await.is(200).header("cache-control").to_owned() }
    };
    assert_eq!(control(url).await, "public, max-age=31536000, immutable");
    assert_eq!(control("/m/media/a/b.jpg?v=0000".into()).await, "public, max-age=60, must-revalidate");
    assert_eq!(control("/m/media/a/b.jpg".into()).await, "public, max-age=300");
}

#[tokio::test]
async fn private_originals_need_a_right() {
    let house = House::new().await;
    let picture = pictures::jpeg(64, 48);
    let asset = house.store("private", "secret.jpg", &picture).await;
    let url = asset["url"].as_str().unwrap();
    assert!(url.contains("sig=larder.") && url.contains("exp="), "{url}");

    let refused = house.get("/m/private/secret.jpg").stranger().send().await;
    refused.refused(401, "unauthenticated");
    assert_eq!(refused.header("cache-control"), "no-store");
    // Whether something lies there is not told.
    house.get("/m/private/nothing.jpg").stranger().send().await.refused(401, "unauthenticated");

    let signed = house.get(url).stranger().send().await.is(200);
    assert_eq!(signed.body, picture);
    let control = signed.header("cache-control");
    assert!(control.starts_with("private, max-age=3") && control.ends_with(", immutable"), "{control}");
    let tampered = url.replace("/secret.jpg", "/other.jpg");
    house.get(&tampered).stranger().send().await.refused(403, "signature_invalid");

    let reader = house.key(&[Action::Read]).await;
    let by_key = house.get("/m/private/secret.jpg").stranger().bearer(&reader).send().await.is(200);
    assert_eq!(by_key.header("cache-control"), "private, no-store");
    let lister = house.key(&[Action::List]).await;
    house.get("/m/private/secret.jpg").stranger().bearer(&lister).send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn downloads_are_named_and_documents_never_shown_in_place() {
    let house = House::new().await;
    let form = support::Form::default().field("key", "x/photo.jpg").file(
        "Ferien \u{fc}.jpg",
        "image/jpeg",
        &pictures::jpeg(16, 16),
    );
    house.post("/api/v1/uploads").form(form).send().await.is(202);
    house.work().await;
    let shown = house.get("/m/media/x/photo.jpg").send().await.is(200);
    assert_eq!(shown.header("content-disposition").split(';').next(), Some("inline"));
    let saved = house.get("/m/media/x/photo.jpg?download").send().await.is(200);
    assert_eq!(
        saved.header("content-disposition"),
        "attachment; filename=\"Ferien _.jpg\"; filename*=UTF-8''Ferien%20%C3%BC.jpg"
    );
    let renamed = house.get("/m/media/x/photo.jpg?download=new+name.jpg").send().await.is(200);
    assert_eq!(renamed.header("content-disposition"), "attachment; filename=\"new name.jpg\"");

    house.put("/api/v1/buckets/files/objects/page.html", "<script>alert(1)</script>").send().await.is(201);
    let page = house.get("/m/files/page.html").send().await.is(200);
    assert!(page.header("content-disposition").starts_with("attachment"), "{:?}", page.headers);
    assert_eq!(page.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn awkward_keys_are_decoded_once_and_hostile_ones_refused() {
    let house = House::new().await;
    let picture = pictures::jpeg(16, 16);
    for key in [
        "a%20b%2520c.jpg",
        "%E6%97%A5%E6%9C%AC/%C3%BC.jpg",
        "a//b.jpg",
        "deep/%2Fslash.jpg",
        "plus+and%26.jpg",
    ] {
        house.store("media", key, &picture).await;
        assert_eq!(house.get(&format!("/m/media/{key}")).send().await.is(200).body, picture, "{key}");
        let listed = house
            .get(&format!("/api/v1/buckets/media/objects?prefix={}", key.replace('+', "%2B")))
            .send()
            .await;
        assert_eq!(listed.json()["items"].as_array().unwrap().len(), 1, "{key}");
    }
    for path in [
        "/m/media/../catalog.db",
        "/m/media/%2e%2e%2fcatalog.db",
        "/m/media/.larder/staging/x",
        "/m/media/x%00",
    ] {
        house.get(path).send().await.refused(400, "invalid_key");
    }
    for path in ["/m/media", "/m/media/"] {
        assert!(house.get(path).send().await.status.is_client_error(), "{path}");
    }
    house.get("/m/nobody/x").send().await.refused(404, "bucket_not_found");
    house.get("/m/media/nothing.jpg").send().await.refused(404, "asset_not_found");
    let posted = house.post("/m/media/a.jpg").send().await;
    posted.refused(405, "method_not_allowed");
    assert_eq!(posted.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn a_store_that_is_cut_off_is_503_until_it_is_back() {
    let house = House::new().await;
    // Larger than what is kept in memory.
    let picture = pictures::jpeg(1_600, 1_200);
    house.store("media", "large.jpg", &picture).await;
    house.get("/m/media/large.jpg").send().await.is(200);
    house.store.cut();
    let failed = house.get("/m/media/large.jpg").send().await;
    failed.refused(503, "backend_unavailable");
    assert_eq!(failed.header("retry-after"), "5");
    assert_eq!(failed.header("cache-control"), "no-store");
    let ready = house.get("/readyz").send().await.is(200).json();
    assert_eq!(ready["status"], "degraded");
    assert_eq!(ready["store"]["code"], "backend_unavailable");
    house.store.mend();
    assert_eq!(house.get("/m/media/large.jpg").send().await.is(200).body, picture);
    assert_eq!(house.get("/readyz").send().await.json()["status"], "ok");
}

#[tokio::test]
async fn nginx_is_told_where_the_file_lies() {
    use larder_http::{AppOptions, Sendfile};
    let options = AppOptions { sendfile: Some(Sendfile::XSendfile), ..AppOptions::default() };
    let house = House::build(support::Plan { options, ..Default::default() }).await;
    let picture = pictures::jpeg(1_600, 1_200);
    house.store("media", "large.jpg", &picture).await;
    let answer = house.get("/m/media/large.jpg").send().await.is(200);
    assert!(answer.body.is_empty());
    assert_eq!(std::fs::read(answer.header("x-sendfile")).unwrap(), picture);
    assert_eq!(answer.header("content-type"), "image/jpeg");
}

#[tokio::test]
async fn the_path_that_an_application_used_before_leads_to_its_bucket() {
    use larder_http::{AppOptions, PathAlias};
    let alias = PathAlias::new("/files/", "media".parse().unwrap()).unwrap();
    let options = AppOptions { alias: Some(alias), ..AppOptions::default() };
    let public_url = Some("https://x.example/shop");
    let admin = "correct-horse-battery-staple";
    let house =
        House::build(support::Plan { options, public_url, admin_key: Some(admin), ..Default::default() })
            .await;
    let picture = pictures::jpeg(64, 48);
    let place = "/api/v1/buckets/media/objects/a/b%20c.jpg";
    house.put(place, picture.clone()).bearer(admin).send().await.is(201);
    let direct = house.get("/m/media/a/b%20c.jpg").stranger().send().await.is(200);
    for path in ["/files/a/b%20c.jpg", "/shop/files/a/b%20c.jpg"] {
        let answer = house.get(path).stranger().send().await.is(200);
        assert_eq!(answer.body, picture, "{path}");
        for name in ["etag", "cache-control", "content-security-policy", "content-type", "vary"] {
            assert_eq!(answer.header(name), direct.header(name), "{path} {name}");
        }
    }
    house.get("/files/none.jpg").stranger().send().await.is(404);
    house.get("/files/").stranger().send().await.is(404);
    house.get("/filesystem/a").stranger().send().await.is(404);
    // What may not be read at its place may not be read here either.
    house.ask(Method::PUT, "/files/a/b.jpg").stranger().send().await.is(405);
}

#[tokio::test]
async fn an_alias_opens_no_private_bucket_and_takes_its_signatures() {
    use larder_http::{AppOptions, PathAlias};
    let alias = PathAlias::new("/files/", "private".parse().unwrap()).unwrap();
    let options = AppOptions { alias: Some(alias), ..AppOptions::default() };
    let house = House::build(support::Plan { options, ..Default::default() }).await;
    house.store("private", "a.jpg", &pictures::jpeg(64, 48)).await;
    let refused = house.get("/m/private/a.jpg").stranger().send().await.status;
    assert_eq!(house.get("/files/a.jpg").stranger().send().await.status, refused);
    let signed = house
        .ask(Method::POST, "/api/v1/sign")
        .json(&json!({ "bucket": "private", "key": "a.jpg" }))
        .send()
        .await
        .is(200)
        .json();
    let url = signed["url"].as_str().unwrap();
    let through_alias = url.replace("/m/private/", "/files/");
    assert_ne!(url, through_alias);
    house.get(&through_alias).stranger().send().await.is(200);
}

#[tokio::test]
async fn a_head_has_no_body_also_when_it_is_refused() {
    let house = House::new().await;
    for path in ["/m/media/none.jpg", "/i/_/p:x/media/none.jpg.jpg", "/api/v1/buckets/media/objects/none.jpg"]
    {
        let got = house.get(path).send().await;
        let head = house.ask(Method::HEAD, path).send().await;
        assert_eq!((head.status, head.body.len()), (got.status, 0), "{path}");
        // The body names the request, so that its length may differ by that alone.
        assert_eq!(head.header("content-length"), got.body.len().to_string(), "{path}");
        let is_delivery = !path.starts_with("/api");
        assert_eq!(got.header("content-security-policy").starts_with("sandbox"), is_delivery, "{path}");
    }
}

#[tokio::test]
async fn a_bucket_that_strips_serves_originals_without_their_place() {
    let house = House::new().await;
    let policy = serde_json::json!({ "visibility": "public", "gps": "strip" });
    house.ask(Method::PUT, "/api/v1/buckets/places").json(&policy).send().await.is(201);
    // One that is kept in memory, and one that is made for each reader.
    for (key, side) in [("small.jpg", 64), ("large.jpg", 1_600)] {
        let picture = pictures::jpeg_with_gps(side, side);
        let asset = house.store("places", key, &picture).await;
        assert_eq!(asset["has_gps"], true);
        let path = format!("/m/places/{key}");
        let first = house.get(&path).stranger().send().await.is(200);
        assert!(!first.body.windows(4).any(|window| window == b"Exif"));
        assert!(first.header("etag").ends_with("-stripped\""));
        let again = house.get(&path).stranger().send().await.is(200);
        assert_eq!(again.body, first.body);
        let none = house.get(&path).header("if-none-match", first.header("etag")).stranger();
        none.send().await.is(304);
    }
}

#[tokio::test]
async fn an_original_that_tells_its_place_and_cannot_be_stripped_is_not_served() {
    let house = House::new().await;
    let policy = json!({ "visibility": "public", "gps": "strip" });
    house.ask(Method::PUT, "/api/v1/buckets/shy").json(&policy).send().await.is(201);
    house.store("shy", "a.tif", &pictures::tiff_with_a_place()).await;
    house.get("/m/shy/a.tif").stranger().send().await.refused(403, "forbidden");
    house.store("shy", "b.jpg", &pictures::jpeg(8, 8)).await;
    house.get("/m/shy/b.jpg").stranger().send().await.is(200);
}
