//! Objects and assets: written, read, changed, deleted and brought back.

mod support;

use larder_assets::{Action, Scope};
use serde_json::json;
use support::{House, pictures};

#[tokio::test]
async fn an_object_is_created_replaced_and_read() {
    let house = House::new().await;
    let (one, two) = (pictures::jpeg(32, 32), pictures::jpeg(48, 32));
    let path = "/api/v1/buckets/media/objects/a/b.jpg";
    let created = house.put(path, one.clone()).header("content-type", "image/jpeg").send().await.is(201);
    assert_eq!(created.header("location"), path);
    let asset = created.json();
    assert_eq!(created.header("etag"), asset["etag"].as_str().unwrap());
    assert_eq!((&asset["version"], &asset["width"]), (&json!(1), &json!(32)));

    let replaced = house.put(&format!("{path}?owner=anna"), two.clone()).send().await.is(200).json();
    assert_eq!((&replaced["id"], &replaced["version"]), (&asset["id"], &json!(2)));
    assert_eq!((&replaced["width"], &replaced["owner"]), (&json!(48), &json!("anna")));

    let read = house.get(path).send().await.is(200);
    assert_eq!(read.body, two);
    assert_eq!(read.header("cache-control"), "private, no-store");
    house.get(path).header("if-none-match", read.header("etag")).send().await.is(304);
    assert_eq!(house.get(path).header("range", "bytes=0-3").send().await.is(206).body, two.slice(..4));
    let head = house.ask(http::Method::HEAD, path).send().await.is(200);
    assert_eq!(head.header("content-length"), two.len().to_string());
}

#[tokio::test]
async fn writes_can_be_conditional() {
    let house = House::new().await;
    let picture = pictures::jpeg(16, 16);
    let path = "/api/v1/buckets/media/objects/c.jpg";
    let put = || house.put(path, picture.clone());
    put().header("if-match", "*").send().await.refused(412, "precondition_failed");
    let etag = put().header("if-none-match", "*").send().await.is(201).header("etag").to_owned();
    put().header("if-none-match", "*").send().await.refused(412, "precondition_failed");
    put().header("if-match", "\"other\"").send().await.refused(412, "precondition_failed");
    put().header("if-match", &format!("W/{etag}")).send().await.refused(412, "precondition_failed");
    put().header("if-match", &format!("\"other\", {etag}")).send().await.is(200);
    put().header("if-match", "*").send().await.is(200);

    let delete = || house.delete(path);
    delete().header("if-match", "\"other\"").send().await.refused(412, "precondition_failed");
    delete().header("if-match", &etag).send().await.is(200);
    delete().send().await.refused(404, "asset_not_found");
}

#[tokio::test]
async fn a_deleted_asset_can_be_brought_back_until_it_is_purged() {
    let house = House::new().await;
    let picture = pictures::jpeg(32, 32);
    let asset = house.store("media", "d.jpg", &picture).await;
    let by_id = format!("/api/v1/assets/{}", asset["id"].as_str().unwrap());

    let deleted = house.delete(&by_id).send().await.is(200).json();
    assert_eq!((&deleted["purged"], &deleted["key"]), (&json!(false), &json!("d.jpg")));
    assert!(deleted["restore_until"].is_string());
    house.get("/m/media/d.jpg").send().await.refused(404, "asset_not_found");
    house.get(&by_id).send().await.refused(404, "asset_not_found");
    let trash = house.get("/api/v1/buckets/media/objects?deleted=true").send().await.json();
    assert_eq!(trash["items"][0]["id"], asset["id"]);

    house.post(&format!("{by_id}/restore")).send().await.is(200);
    assert_eq!(house.get("/m/media/d.jpg").send().await.is(200).body, picture);
    house.post(&format!("{by_id}/restore")).send().await.refused(404, "asset_not_found");

    let purged = house.delete("/api/v1/buckets/media/objects/d.jpg?purge=true").send().await.is(200).json();
    assert_eq!((&purged["purged"], &purged["restore_until"]), (&json!(true), &json!(null)));
    house.post(&format!("{by_id}/restore")).send().await.refused(404, "asset_not_found");
    house
        .delete("/api/v1/buckets/media/objects/d.jpg?purg=true")
        .send()
        .await
        .refused(400, "invalid_request");
}

#[tokio::test]
async fn records_change_as_the_patch_says() {
    let house = House::new().await;
    let asset = house.store("media", "e.jpg", &pictures::jpeg(16, 16)).await;
    let path = format!("/api/v1/assets/{}", asset["id"].as_str().unwrap());
    let patch = |value: serde_json::Value| house.ask(http::Method::PATCH, &path).json(&value).send();
    let changed =
        patch(json!({ "owner": "anna", "tags": ["a", "b"], "metadata": { "x": 1 } })).await.is(200).json();
    assert_eq!((&changed["owner"], &changed["tags"]), (&json!("anna"), &json!(["a", "b"])));
    let changed = patch(json!({ "owner": null })).await.is(200).json();
    assert_eq!((&changed["owner"], &changed["metadata"]), (&json!(null), &json!({ "x": 1 })));
    let refused = patch(json!({ "ownr": 1 })).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.json()["errors"][0]["pointer"], "#/ownr");
    patch(json!({ "tags": "a" })).await.refused(400, "invalid_request");

    let listed = house.get("/api/v1/buckets/media/objects?tag=a").send().await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let none = house.get("/api/v1/buckets/media/objects?owner=anna").send().await.json();
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn a_level_comes_in_pages_of_keys_and_common_prefixes() {
    let house = House::new().await;
    for name in ["a", "a/1", "a/2", "a/b/3", "a/b/4", "a/c/5", "a0", "b/6", "%C3%A4/7"] {
        house.put(&format!("/api/v1/buckets/files/objects/{name}"), name).send().await.is(201);
    }
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    for (prefix, expected) in [
        ("", vec!["a", "a/", "a0", "b/", "ä/"]),
        ("a/", vec!["a/1", "a/2", "a/b/", "a/c/"]),
        ("a/b/", vec!["a/b/3", "a/b/4"]),
        ("none", vec![]),
    ] {
        for limit in [1, 2, 3] {
            let first = format!("/api/v1/buckets/files/objects?prefix={prefix}&delimiter=/&limit={limit}");
            let (mut seen, mut path) = (Vec::new(), first.clone());
            loop {
                let page = house.get(&path).send().await.is(200).json();
                let keys = page["items"].as_array().unwrap().iter().map(|item| &item["key"]);
                let names = keys.chain(page["prefixes"].as_array().unwrap());
                let mut names: Vec<_> = names.map(|name| name.as_str().unwrap().to_owned()).collect();
                assert!(names.len() <= limit, "{names:?}");
                names.sort_unstable();
                seen.extend(names);
                let Some(next) = page["next"].as_str() else { break };
                path = format!("{first}&after={}", encoded(next));
            }
            assert_eq!(seen, expected, "{prefix} by {limit}");
        }
    }
    for wrong in ["", "-", "//", "%2F%2F"] {
        let refused = house.get(&format!("/api/v1/buckets/files/objects?delimiter={wrong}")).send().await;
        refused.refused(400, "invalid_request");
        assert!(refused.json()["detail"].as_str().unwrap().ends_with("is no delimiter of keys"));
    }
    let whole = house.get("/api/v1/buckets/files/objects").send().await.is(200).json();
    assert!(whole.get("prefixes").is_none(), "only where a delimiter was named");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let house = House::new().await;
    for name in ["a/1", "a/2", "a/3", "b/1"] {
        house.put(&format!("/api/v1/buckets/files/objects/{name}"), name).send().await.is(201);
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/buckets/files/objects?prefix=a/&limit=2".to_owned();
    loop {
        let page = house.get(&path).send().await.is(200).json();
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        let after: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        path = format!("/api/v1/buckets/files/objects?prefix=a/&limit=2&after={after}");
    }
    assert_eq!(seen, ["a/1", "a/2", "a/3"]);
    for wrong in ["limit=0", "limit=1001", "limit=x", "status=odd"] {
        let answer = house.get(&format!("/api/v1/buckets/files/objects?{wrong}")).send().await;
        answer.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn many_assets_are_handled_in_one_operation() {
    let house = House::new().await;
    let one = house.store("media", "1.jpg", &pictures::jpeg(16, 16)).await;
    let two = house.store("private", "2.jpg", &pictures::jpeg(16, 17)).await;
    let missing = "0199aaaa-0000-7000-8000-000000000000";
    let body = json!({ "operations": [
        { "action": "update", "id": one["id"], "patch": { "tags": ["x"] } },
        { "action": "delete", "id": two["id"] },
        { "action": "rebuild", "id": one["id"] },
        { "action": "purge", "id": missing },
    ] });
    // A key for one bucket does what it may; the rest is as if it were not there.
    let scope = Scope {
        buckets: vec!["media".to_owned()],
        prefixes: Vec::new(),
        actions: vec![Action::Read, Action::Write, Action::Delete],
    };
    let narrow = house.key_for(scope).await;
    let outcome = house.post("/api/v1/assets/batch").bearer(&narrow).json(&body).send().await.is(200).json();
    let ok: Vec<_> =
        outcome["items"].as_array().unwrap().iter().map(|item| item["ok"].as_bool().unwrap()).collect();
    assert_eq!(ok, [true, false, true, false]);
    assert_eq!(outcome["items"][1]["error"]["code"], "asset_not_found");
    assert!(outcome["items"][2]["job"].is_string());
    let admin = house.key(&[Action::Admin]).await;
    let outcome = house.post("/api/v1/assets/batch").bearer(&admin).json(&body).send().await.is(200).json();
    assert_eq!(outcome["items"][1]["ok"], true);

    let many: Vec<_> = (0..101).map(|_| json!({ "action": "delete", "id": missing })).collect();
    let many =
        house.post("/api/v1/assets/batch").bearer(&admin).json(&json!({ "operations": many })).send().await;
    many.refused(413, "batch_too_large");
    let odd = json!({ "operations": [{ "action": "explode", "id": missing }] });
    let odd = house.post("/api/v1/assets/batch").bearer(&admin).json(&odd).send().await;
    assert_eq!(odd.json()["errors"][0]["pointer"], "#/operations/0/action");
}

#[tokio::test]
async fn a_batch_of_which_nothing_worked_is_no_success() {
    let house = House::new().await;
    let missing = "0199aaaa-0000-7000-8000-000000000000";
    let body = json!({ "operations": [
        { "action": "delete", "id": missing },
        { "action": "rebuild", "id": missing },
    ] });
    let answer = house.post("/api/v1/assets/batch").json(&body).send().await;
    answer.refused(404, "asset_not_found");
    let items = answer.json()["items"].clone();
    assert_eq!((&items[0]["ok"], &items[1]["error"]["code"]), (&json!(false), &json!("asset_not_found")));
    let none = json!({ "operations": [] });
    house.post("/api/v1/assets/batch").json(&none).send().await.is(200);
}

#[tokio::test]
async fn an_asset_in_the_trash_can_be_purged_by_its_id() {
    let house = House::new().await;
    let id = house.store("media", "a.jpg", &pictures::jpeg(16, 16)).await["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/assets/{id}");
    house.delete(&path).send().await.is(200);
    house.delete(&path).send().await.refused(404, "asset_not_found");
    let other = house.store("media", "a.jpg", &pictures::jpeg(17, 16)).await;
    let stale =
        house.delete(&format!("{path}?purge=true")).header("if-match", other["etag"].as_str().unwrap());
    stale.send().await.refused(412, "precondition_failed");
    let purged = house.delete(&format!("{path}?purge=true")).send().await.is(200).json();
    assert_eq!((&purged["purged"], &purged["restore_until"]), (&json!(true), &json!(null)));
    house.post(&format!("{path}/restore")).send().await.refused(404, "asset_not_found");
    // The asset that has the key by now was not meant.
    house.get("/m/media/a.jpg").send().await.is(200);
}

#[tokio::test]
async fn an_asset_is_copied_with_what_is_known_of_it() {
    let house = House::new().await;
    let picture = pictures::jpeg(64, 48);
    let put = "/api/v1/buckets/media/objects/a.jpg?owner=anna&tags=x&metadata=%7B%22n%22%3A1%7D";
    let source = house.put(put, picture.clone()).send().await.is(201).json();
    let path = format!("/api/v1/assets/{}/copy", source["id"].as_str().unwrap());
    let copy = |body: serde_json::Value| house.post(&path).json(&body).send();
    let made = copy(json!({ "bucket": "private", "key": "b/c.jpg" })).await.is(201);
    assert_eq!(made.header("location"), "/api/v1/buckets/private/objects/b/c.jpg");
    let made = made.json();
    assert_ne!(made["id"], source["id"]);
    for member in ["sha256", "owner", "tags", "metadata", "width", "content_type"] {
        assert_eq!(made[member], source[member], "{member}");
    }
    assert_eq!(house.get("/api/v1/buckets/private/objects/b/c.jpg").send().await.is(200).body, picture);
    // A taken key is replaced on request only; the bucket is the source's unless named.
    copy(json!({ "key": "a.jpg" })).await.refused(409, "conflict");
    copy(json!({ "bucket": "private", "key": "b/c.jpg", "replace": true })).await.is(200);
    copy(json!({ "bucket": "nobody", "key": "x.jpg" })).await.refused(404, "bucket_not_found");

    let scope = |bucket: &str, actions: &[Action]| larder_assets::Scope {
        buckets: vec![bucket.to_owned()],
        prefixes: Vec::new(),
        actions: actions.to_vec(),
    };
    let body = json!({ "bucket": "private", "key": "d.jpg" });
    let reader = house.key_for(scope("media", &[Action::Read])).await;
    house.post(&path).bearer(&reader).json(&body).send().await.refused(403, "forbidden");
    let writer = house.key_for(scope("private", &[Action::Write])).await;
    house.post(&path).bearer(&writer).json(&body).send().await.refused(404, "asset_not_found");
}
