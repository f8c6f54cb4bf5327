//! Who may: this machine without keys, keys within their scope, pages of other origins.

mod support;

use futures::{StreamExt, stream};
use http::Method;
use larder_assets::{Action, NewKey, Scope};
use larder_http::RequestBody;
use serde_json::json;
use support::{House, Plan, pictures};

const BUCKETS: &str = "/api/v1/buckets";

#[tokio::test]
async fn without_keys_this_machine_is_the_administrator_and_nobody_else() {
    let house = House::new().await;
    house.get(BUCKETS).send().await.is(200);
    for host in ["localhost", "127.0.0.1:8000", "[::1]:8000"] {
        house.get(BUCKETS).header("host", host).send().await.is(200);
    }
    house.get(BUCKETS).from("[::1]:9999").send().await.is(200);
    for host in ["evil.example", "evil.example:8000", "localhost.evil.example"] {
        house.get(BUCKETS).header("host", host).send().await.refused(401, "unauthenticated");
    }
    for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"] {
        house.get(BUCKETS).header(name, "for=10.0.0.1").send().await.refused(401, "unauthenticated");
    }
    // nginx in its first configuration: HTTP/1.0, and no header that says so.
    let proxied = house.get(BUCKETS).version(http::Version::HTTP_10).send().await;
    proxied.refused(401, "unauthenticated");
    let refused = house.get(BUCKETS).from("10.0.0.1:9999").send().await;
    refused.refused(401, "unauthenticated");
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
}

#[tokio::test]
async fn a_public_url_or_a_key_ends_the_rights_of_this_machine() {
    let public = House::build(Plan { public_url: Some("https://media.example"), ..Plan::default() }).await;
    public.get(BUCKETS).send().await.refused(401, "unauthenticated");
    let configured = House::build(Plan { admin_key: Some("a-long-admin-secret"), ..Plan::default() }).await;
    configured.get(BUCKETS).send().await.refused(401, "unauthenticated");
    configured.get(BUCKETS).stranger().bearer("a-long-admin-secret").send().await.is(200);
    let house = House::new().await;
    let key = house.key(&[Action::Read]).await;
    house.get(BUCKETS).send().await.refused(401, "unauthenticated");
    house.get("/api/v1/presets").bearer(&key).send().await.is(200);
}

#[tokio::test]
async fn the_end_of_the_last_key_does_not_open_what_it_closed() {
    let house = House::new().await;
    let expired = NewKey {
        name: "brief".to_owned(),
        scope: Scope::admin(),
        expires_in: Some(larder_core::text::Span::seconds(0)),
    };
    house.larder.create_key(expired).await.unwrap();
    house.get(BUCKETS).send().await.refused(401, "unauthenticated");

    let house = House::new().await;
    let key = house.key(&[Action::Admin]).await;
    house.larder.revoke_key(key.split('_').nth(1).unwrap().parse().unwrap()).await.unwrap();
    house.get(BUCKETS).send().await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn pages_of_other_origins_do_not_write_with_the_rights_of_this_machine() {
    let house = House::new().await;
    let path = "/api/v1/buckets/media/objects/x.jpg";
    let put = || house.put(path, pictures::jpeg(8, 8));
    put().header("origin", "https://evil.example").send().await.refused(403, "cross_origin");
    put().header("origin", "null").send().await.refused(403, "cross_origin");
    put().header("sec-fetch-site", "cross-site").send().await.refused(403, "cross_origin");
    put().header("origin", "http://localhost:8000").send().await.is(201);
    // Reading is possible for the browser, but the page does not get to see it.
    let read = house.get(BUCKETS).header("origin", "https://app.example").send().await.is(200);
    assert_eq!(read.header("access-control-allow-origin"), "");
    // A key that the page sends is no borrowed right.
    let key = house.key(&[Action::Admin]).await;
    put().header("origin", "https://app.example").bearer(&key).send().await.is(200);
}

#[tokio::test]
async fn keys_do_what_their_scope_says() {
    let house = House::new().await;
    let picture = pictures::jpeg(8, 8);
    house.store("media", "keep/42/a.jpg", &picture).await;
    let scope = |actions: &[Action], prefixes: &[&str]| Scope {
        buckets: vec!["media".to_owned()],
        prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        actions: actions.to_vec(),
    };
    let reader = house.key_for(scope(&[Action::Read, Action::List], &["keep/42/"])).await;
    let ask = |method: Method, path: &str| house.ask(method, path).bearer(&reader);
    ask(Method::GET, "/api/v1/buckets/media/objects/keep/42/a.jpg").send().await.is(200);
    ask(Method::GET, "/api/v1/buckets/media/objects?prefix=keep/42/").send().await.is(200);
    for path in [
        "/api/v1/buckets/media/objects/keep/43/a.jpg",
        "/api/v1/buckets/media/objects",
        "/api/v1/buckets/private/objects",
    ] {
        ask(Method::GET, path).send().await.refused(403, "forbidden");
    }
    ask(Method::DELETE, "/api/v1/buckets/media/objects/keep/42/a.jpg").send().await.refused(403, "forbidden");
    for path in ["/api/v1/keys", "/api/v1/jobs", "/api/v1/queues", "/api/v1/workers"] {
        ask(Method::GET, path).send().await.refused(403, "forbidden");
    }
    // What a key may not see does not exist for it.
    let other =
        house.larder.asset_at(&"media".parse().unwrap(), &"keep/42/a.jpg".parse().unwrap()).await.unwrap();
    let private =
        house.key_for(Scope { buckets: vec!["private".to_owned()], ..scope(&[Action::Read], &[]) }).await;
    let hidden = house.get(&format!("/api/v1/assets/{}", other.id)).bearer(&private).send().await;
    hidden.refused(404, "asset_not_found");

    let writer = house.key_for(scope(&[Action::Write], &["keep/42/"])).await;
    let form = support::Form::default().field("bucket", "media").field("key", "keep/42/b.jpg").file(
        "b.jpg",
        "image/jpeg",
        &picture,
    );
    let sent = house.post("/api/v1/uploads").bearer(&writer).form(form).send().await.is(202);
    house.work().await;
    house.get(sent.header("location")).bearer(&writer).send().await.is(200);
    house
        .get("/api/v1/buckets/media/objects/keep/42/b.jpg")
        .bearer(&writer)
        .send()
        .await
        .refused(403, "forbidden");
    let form = support::Form::default().field("bucket", "media").field("key", "keep/43/b.jpg").file(
        "b.jpg",
        "image/jpeg",
        &picture,
    );
    house.post("/api/v1/uploads").bearer(&writer).form(form).send().await.refused(403, "forbidden");
    for wrong in ["lk_nonsense", "x"] {
        house.get(BUCKETS).bearer(wrong).send().await.refused(401, "unauthenticated");
    }
    house.get(BUCKETS).header("authorization", "Basic YTpi").send().await.refused(401, "unauthenticated");
}

/// A body that fails the test when it is read.
fn untouchable() -> RequestBody {
    let chunk = stream::once(async { panic!("the body was read before the request was permitted") });
    RequestBody::from_stream(chunk.map(|(): ()| Ok::<_, std::io::Error>(bytes::Bytes::new())))
}

#[tokio::test]
async fn what_is_not_permitted_is_refused_before_its_body_is_read() {
    let house = House::new().await;
    let reader = house.key(&[Action::Read]).await;
    for (method, path) in [
        (Method::POST, "/api/v1/uploads"),
        (Method::POST, "/api/v1/uploads/import"),
        (Method::PUT, "/api/v1/buckets/media/objects/a.jpg"),
        (Method::PUT, "/api/v1/buckets/fresh"),
        (Method::PUT, "/api/v1/presets/fresh"),
        (Method::POST, "/api/v1/keys"),
        (Method::POST, "/api/v1/gc/sweep"),
    ] {
        house
            .ask(method.clone(), path)
            .stranger()
            .stream(untouchable())
            .send()
            .await
            .refused(401, "unauthenticated");
        if path != "/api/v1/uploads/import" {
            let refused = house.ask(method, path).bearer(&reader).stream(untouchable()).send().await;
            refused.refused(403, "forbidden");
        }
    }
    let form =
        house.post("/api/v1/uploads").header("content-type", "multipart/form-data; boundary=XX").stranger();
    form.stream(untouchable()).send().await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_form_is_not_read_for_whoever_may_write_nothing_of_it() {
    let house = House::new().await;
    let scope = |actions: &[Action]| Scope {
        buckets: vec!["media".to_owned()],
        prefixes: vec!["keep/42/".to_owned()],
        actions: actions.to_vec(),
    };
    let (reader, writer) =
        (house.key_for(scope(&[Action::Read])).await, house.key_for(scope(&[Action::Write])).await);
    let form = |query: &str, secret: &str| {
        house
            .post(&format!("/api/v1/uploads{query}"))
            .bearer(secret)
            .header("content-type", "multipart/form-data; boundary=XX")
            .stream(untouchable())
            .send()
    };
    form("", &reader).await.refused(403, "forbidden");
    form("?bucket=private", &writer).await.refused(403, "forbidden");
    form("?bucket=media&key=keep/43/a.jpg", &writer).await.refused(403, "forbidden");
    // With the bucket in the query the key may still be named by a field.
    let named = support::Form::default().field("key", "keep/42/a.jpg").file(
        "a.jpg",
        "image/jpeg",
        &pictures::jpeg(8, 8),
    );
    house.post("/api/v1/uploads?bucket=media").bearer(&writer).form(named).send().await.is(202);
}

#[tokio::test]
async fn origins_of_the_bucket_may_read_on_every_door() {
    let house = House::new().await;
    house.store("media", "a.jpg", &pictures::jpeg(32, 32)).await;
    let admin = house.key(&[Action::Admin]).await;
    let doors =
        ["/m/media/a.jpg", "/i/_/p:keep-small/media/a.jpg.jpg", "/api/v1/buckets/media/objects/a.jpg"];
    for path in doors {
        let preflight = house.ask(Method::OPTIONS, path).stranger().header("origin", "https://app.example");
        let preflight = preflight.header("access-control-request-method", "PUT").send().await.is(204);
        assert_eq!(preflight.header("access-control-allow-origin"), "https://app.example", "{path}");
        assert!(preflight.header("access-control-allow-methods").contains("PUT"));
        assert!(preflight.header("access-control-allow-headers").contains("authorization"));

        let granted =
            house.get(path).bearer(&admin).header("origin", "https://app.example").send().await.is(200);
        assert_eq!(granted.header("access-control-allow-origin"), "https://app.example", "{path}");
        assert!(granted.header("access-control-expose-headers").contains("ETag"));
        let other =
            house.get(path).bearer(&admin).header("origin", "https://evil.example").send().await.is(200);
        assert_eq!(other.header("access-control-allow-origin"), "", "{path}");
    }
    let refused = house.ask(Method::OPTIONS, "/m/media/a.jpg").header("origin", "https://evil.example");
    let refused = refused.header("access-control-request-method", "GET").send().await.is(204);
    assert_eq!(refused.header("access-control-allow-methods"), "");
    // Errors can be read by the page too.
    let missing =
        house.get("/m/media/none.jpg").stranger().header("origin", "https://app.example").send().await;
    assert_eq!(missing.header("access-control-allow-origin"), "https://app.example");
    house.put("/api/v1/buckets/files/objects/x", "x").bearer(&admin).send().await.is(201);
    let any = house.get("/m/files/x").stranger().header("origin", "https://any.example").send().await.is(200);
    assert_eq!(any.header("access-control-allow-origin"), "*");
    // Uploads name their bucket in the body; any bucket's page may ask.
    let upload =
        house.ask(Method::OPTIONS, "/api/v1/uploads").stranger().header("origin", "https://app.example");
    let upload = upload.header("access-control-request-method", "POST").send().await.is(204);
    assert!(upload.header("access-control-allow-methods").contains("POST"));
}

#[tokio::test]
async fn a_prefix_of_public_url_is_known_to_links_and_taken_off_requests() {
    let plan = Plan {
        public_url: Some("https://x.example/y/media"),
        admin_key: Some("a-long-admin-secret"),
        ..Plan::default()
    };
    let house = House::build(plan).await;
    let secret = "a-long-admin-secret";
    let picture = pictures::jpeg(32, 32);
    // A proxy may have taken the prefix off, or not.
    for (prefix, key) in [("", "one.jpg"), ("/y/media", "two.jpg")] {
        let path = format!("{prefix}/api/v1/buckets/private/objects/{key}");
        let stored = house.put(&path, picture.clone()).stranger().bearer(secret).send().await.is(201);
        assert_eq!(
            stored.header("location"),
            format!("https://x.example/y/media/api/v1/buckets/private/objects/{key}")
        );
        let url = stored.json()["url"].as_str().unwrap().to_owned();
        let below = url.strip_prefix("https://x.example").unwrap();
        assert!(below.starts_with("/y/media/m/private/"), "{url}");
        house.get(below).stranger().send().await.is(200);
        house.get(below.strip_prefix("/y/media").unwrap()).stranger().send().await.is(200);
        // Host has no say in it.
        let listed = house.get(&format!("{prefix}/api/v1/buckets/private/objects?prefix={key}"));
        let listed =
            listed.stranger().header("host", "evil.example").bearer(secret).send().await.is(200).json();
        assert!(listed["items"][0]["url"].as_str().unwrap().starts_with("https://x.example/y/media/m/"));
    }
    let body = json!({ "bucket": "private", "key": "one.jpg" });
    let signed =
        house.post("/y/media/api/v1/sign").stranger().bearer(secret).json(&body).send().await.is(200).json();
    assert!(signed["url"].as_str().unwrap().starts_with("https://x.example/y/media/m/private/one.jpg?exp="));
    house.get("/y/mediathek/healthz").send().await.refused(404, "route_not_found");
    house.get("/y/media/healthz").send().await.is(200);
}
