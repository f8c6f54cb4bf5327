//! Uploads by every door of this crate: forms in any order, raw bodies, batches, repeats, waiting,
//! watching, and what is refused.

mod support;

use std::time::Duration;

use larder_assets::Action;
use serde_json::json;
use support::{Form, House, pictures};

#[tokio::test]
async fn a_form_becomes_an_asset_with_its_variants() {
    let house = House::new().await;
    let form = Form::default()
        .field("bucket", "media")
        .field("key", "keep/42/beach.jpg")
        .field("owner", "anna")
        .field("tags", "beach, summer")
        .field("metadata", r#"{"keep":42}"#)
        .file("IMG 1.jpg", "image/jpeg", &pictures::jpeg(640, 480));
    let accepted = house.post("/api/v1/uploads").form(form).send().await.is(202);
    let location = accepted.header("location").to_owned();
    let upload = accepted.json();
    assert_eq!(location, format!("/api/v1/uploads/{}", upload["id"].as_str().unwrap()));
    assert_eq!((&upload["status"], &upload["error"]), (&json!("pending"), &json!(null)));

    house.work().await;
    let done = house.get(&location).send().await.is(200).json();
    assert_eq!((&done["status"], &done["progress_percentage"]), (&json!("completed"), &json!(100)));
    let asset = &done["asset"];
    assert_eq!(asset["key"], "keep/42/beach.jpg");
    assert_eq!((&asset["width"], &asset["height"]), (&json!(640), &json!(480)));
    assert_eq!((&asset["owner"], &asset["tags"]), (&json!("anna"), &json!(["beach", "summer"])));
    assert_eq!(asset["metadata"], json!({ "keep": 42 }));
    assert_eq!(asset["original_filename"], "IMG 1.jpg");
    let variants = done["variants"].as_object().unwrap();
    assert_eq!(variants.keys().collect::<Vec<_>>(), ["keep-large", "keep-medium", "keep-small"]);
    assert_eq!(
        (&variants["keep-medium"]["width"], &variants["keep-medium"]["height"]),
        (&json!(300), &json!(225))
    );
}

#[tokio::test]
async fn fields_may_follow_the_file() {
    let house = House::new().await;
    let form = Form::default()
        .file("a.jpg", "image/jpeg", &pictures::jpeg(32, 32))
        .field("bucket", "private")
        .field("key", "late.jpg");
    house.post("/api/v1/uploads").form(form).send().await.is(202);
    house.work().await;
    house.get("/api/v1/buckets/private/objects/late.jpg").send().await.is(200);

    // The bucket's own limit counts, though the file came before its name.
    let form =
        Form::default().file("a.bin", "application/octet-stream", &[7; 200_001]).field("bucket", "files");
    house.post("/api/v1/uploads").form(form).send().await.refused(413, "file_too_large");
    let form =
        Form::default().file("a.bin", "application/octet-stream", &[7; 200_000]).field("bucket", "files");
    house.post("/api/v1/uploads").form(form).send().await.is(202);
}

#[tokio::test]
async fn a_raw_body_takes_the_same_as_query() {
    let house = House::new().await;
    let picture = pictures::jpeg(32, 24);
    let path = "/api/v1/uploads?bucket=media&key=raw%2Fa.jpg&owner=bob&tags=x,y&metadata=%7B%22a%22%3A1%7D&filename=b.jpg";
    let accepted =
        house.post(path).header("content-type", "image/jpeg").body(picture.clone()).send().await.is(202);
    house.work().await;
    let done = house.get(accepted.header("location")).send().await.json();
    assert_eq!(done["asset"]["key"], "raw/a.jpg");
    assert_eq!((&done["asset"]["owner"], &done["asset"]["metadata"]), (&json!("bob"), &json!({ "a": 1 })));
    assert_eq!(done["asset"]["original_filename"], "b.jpg");
    // Without a key the bucket's template makes one; without a bucket it is `media`.
    let plain = house.post("/api/v1/uploads").body(pictures::jpeg(33, 24)).send().await.is(202);
    house.work().await;
    let done = house.get(plain.header("location")).send().await.json();
    assert_eq!(done["bucket"], "media");
    assert!(done["asset"]["key"].as_str().unwrap().ends_with(".jpg"));
}

#[tokio::test]
async fn announced_digests_are_checked() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use sha2::{Digest, Sha256};
    let house = House::new().await;
    let picture = pictures::jpeg(32, 32);
    let right = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(&picture)));
    let wrong = format!("sha-256=:{}:", STANDARD.encode([0; 32]));
    let send = |digest: String| {
        house.post("/api/v1/uploads").header("content-digest", &digest).body(picture.clone()).send()
    };
    send(wrong).await.refused(400, "digest_mismatch");
    send("sha-256=no".to_owned()).await.refused(400, "invalid_request");
    send(right).await.is(202);
    let gzip = house.post("/api/v1/uploads").header("content-encoding", "gzip").body(picture).send().await;
    gzip.refused(415, "unsupported_type");
}

#[tokio::test]
async fn several_files_are_a_batch_in_which_each_stands_for_itself() {
    let house = House::new().await;
    let form = Form::default()
        .file("a.jpg", "image/jpeg", &pictures::jpeg(32, 32))
        .file("evil.png", "image/png", b"\x7FELF\x02\x01\x01 and more")
        .file("b.png", "image/png", &pictures::png(40, 30))
        .field("owner", "anna");
    let answer = house.post("/api/v1/uploads").form(form).send().await.is(202).json();
    let items = answer["items"].as_array().unwrap();
    let names: Vec<_> = items.iter().map(|item| item["file_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.jpg", "evil.png", "b.png"]);
    assert_eq!(items[0]["upload"]["owner"], "anna");
    assert_eq!(items[1]["problem"]["status"], 415);
    assert!(items[2]["upload"]["id"].is_string());

    let all_bad = Form::default().file("x.png", "image/png", b"hello").file("y.png", "image/png", b"world");
    let none = house.post("/api/v1/uploads").form(all_bad).send().await;
    none.refused(415, "type_mismatch");
    assert_eq!(none.header("content-type"), "application/problem+json");
    let none = none.json();
    assert_eq!(
        (&none["items"][0]["file_name"], &none["items"][1]["file_name"]),
        (&json!("x.png"), &json!("y.png"))
    );
    assert_eq!(none["items"][1]["problem"]["status"], 415);
    let keyed = Form::default()
        .file("a.jpg", "image/jpeg", &pictures::jpeg(8, 8))
        .file("b.jpg", "image/jpeg", &pictures::jpeg(9, 8))
        .field("key", "one.jpg");
    house.post("/api/v1/uploads").form(keyed).send().await.refused(400, "invalid_request");
    let many = (0..101).fold(Form::default(), |form, _| form.file("a.jpg", "image/jpeg", b"x"));
    house.post("/api/v1/uploads").form(many).send().await.refused(413, "batch_too_large");
}

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer() {
    let house = House::new().await;
    let picture = pictures::jpeg(32, 32);
    let send = |body: bytes::Bytes, key: &'static str| {
        house.post("/api/v1/uploads").header("idempotency-key", key).body(body).send()
    };
    let first = send(picture.clone(), "one").await.is(202);
    house.work().await;
    let second = send(picture.clone(), "one").await.is(202);
    assert_eq!(first.json()["id"], second.json()["id"]);
    assert_eq!(first.header("location"), second.header("location"));
    send(pictures::jpeg(33, 32), "one").await.refused(422, "idempotency_key_reused");
    assert_ne!(send(picture.clone(), "two").await.json()["id"], first.json()["id"]);
    send(picture.clone(), "").await.refused(400, "invalid_request");
    let page = house.get("/api/v1/uploads?bucket=media").send().await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);

    // Another credential's key is another key.
    let writer = house.key(&[Action::Write]).await;
    let other = house.post("/api/v1/uploads").bearer(&writer).header("idempotency-key", "one").body(picture);
    assert_ne!(other.send().await.is(202).json()["id"], first.json()["id"]);
}

#[tokio::test]
async fn waiting_answers_the_result_or_that_it_is_not_there_yet() {
    let house = House::new().await;
    let work = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        house.work().await;
    };
    let sent = house.post("/api/v1/uploads?wait=20").body(pictures::jpeg(32, 32)).send();
    let (answer, ()) = tokio::join!(sent, work);
    let upload = answer.is(201).json();
    assert_eq!(upload["status"], "completed");

    // Nobody works: 202 after the time.
    let late = house.post("/api/v1/uploads?wait=1").body(pictures::jpeg(31, 32)).send().await.is(202);
    assert_eq!(late.json()["status"], "pending");
    house
        .post("/api/v1/uploads?wait=61")
        .body(pictures::jpeg(31, 32))
        .send()
        .await
        .refused(400, "invalid_request");
    // Too long is too long everywhere.
    let path = format!("/api/v1/uploads/{}?wait=61", upload["id"].as_str().unwrap());
    house.get(&path).send().await.refused(400, "invalid_request");
}

#[tokio::test]
async fn a_batch_is_waited_for_until_all_of_it_has_ended() {
    let house = House::new().await;
    let whole = pictures::png(200, 200);
    let form = Form::default()
        .file("a.jpg", "image/jpeg", &pictures::jpeg(32, 32))
        .file("broken.png", "image/png", &whole[..whole.len() - 100])
        .file("b.png", "image/png", &pictures::png(40, 30));
    let work = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        house.work().await;
    };
    let sent = house.post("/api/v1/uploads?wait=20").form(form).send();
    let (answer, ()) = tokio::join!(sent, work);
    let items = answer.is(201).json()["items"].clone();
    assert_eq!(items[0]["upload"]["status"], "completed");
    assert_eq!(items[1]["problem"]["code"], "undecodable_image");
    assert_eq!(items[2]["upload"]["status"], "completed");
}

#[tokio::test]
async fn a_picture_that_does_not_decode_fails_with_the_same_problem_either_way() {
    let house = House::new().await;
    let whole = pictures::png(200, 200);
    let broken = whole.slice(..whole.len() - 100);
    let sent = house.post("/api/v1/uploads").body(broken.clone()).send().await;
    let later = match sent.status.as_u16() {
        202 => {
            house.work().await;
            let done = house.get(sent.header("location")).send().await.json();
            assert_eq!(done["status"], "failed");
            done["error"].clone()
        }
        _ => sent.json(),
    };
    assert_eq!((&later["code"], &later["status"]), (&json!("undecodable_image"), &json!(422)));
    assert!(later["title"].is_string() && later["remedy"].is_string());
    let direct = house.put("/api/v1/buckets/media/objects/broken.png", broken).send().await;
    direct.refused(422, "undecodable_image");
    house.get("/m/media/broken.png").send().await.refused(404, "asset_not_found");
}

#[tokio::test]
async fn an_upload_can_be_watched_to_its_end() {
    let house = House::new().await;
    let sent = house.post("/api/v1/uploads").body(pictures::jpeg(320, 240)).send().await.is(202);
    let path = format!("{}/events", sent.header("location"));
    let work = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        house.work().await;
    };
    let watch = house.get(&path).send();
    let (watched, ()) =
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(watch, work) }).await.unwrap();
    let watched = watched.is(200);
    assert_eq!(watched.header("content-type"), "text/event-stream");
    let text = watched.text();
    let states: Vec<serde_json::Value> = text
        .split("\n\n")
        .filter_map(|event| event.split_once("event: upload\ndata: "))
        .map(|(_, data)| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(states.first().unwrap()["status"], "pending");
    let last = states.last().unwrap();
    assert_eq!(last["status"], "completed");
    assert_eq!(last, &house.get(sent.header("location")).send().await.json());
    // A browser connects again by itself, and is told to stop.
    let seen = text.rsplit("id: ").next().unwrap().lines().next().unwrap();
    house.get(&path).header("last-event-id", seen).send().await.is(204);
    house.get(&path).header("last-event-id", "pending-1").send().await.is(200);
    house
        .get("/api/v1/uploads/0199aaaa-0000-7000-8000-000000000000/events")
        .send()
        .await
        .refused(404, "upload_not_found");
}

#[tokio::test]
async fn wrong_requests_say_what_is_wrong() {
    let house = House::new().await;
    let picture = pictures::jpeg(8, 8);
    let text = |answer: support::Answer| answer.json()["detail"].as_str().unwrap().to_owned();

    let unknown = house.post("/api/v1/uploads?bukket=x").body(picture.clone()).send().await;
    unknown.refused(400, "invalid_request");
    assert!(text(unknown).contains("bukket"));
    let form = Form::default().field("bukket", "x").file("a.jpg", "image/jpeg", &picture);
    let unknown = house.post("/api/v1/uploads").form(form).send().await;
    assert!(text(unknown).contains("bukket"));
    house
        .post("/api/v1/uploads")
        .form(Form::default().field("bucket", "media"))
        .send()
        .await
        .refused(400, "invalid_request");
    house.post("/api/v1/uploads").body("").send().await.refused(400, "empty_file");
    house
        .post("/api/v1/uploads?bucket=nobody")
        .body(picture.clone())
        .send()
        .await
        .refused(404, "bucket_not_found");
    house.post("/api/v1/uploads?key=..%2Fx").body(picture.clone()).send().await.refused(400, "invalid_key");
    house
        .post("/api/v1/uploads?metadata=%5B1%5D")
        .body(picture.clone())
        .send()
        .await
        .refused(400, "invalid_request");
    house.post("/api/v1/uploads").body("plain text").send().await.refused(415, "unsupported_type");
    house
        .post("/api/v1/uploads?filename=a.png")
        .body(picture.clone())
        .send()
        .await
        .refused(415, "type_mismatch");
    let cut = Form::default().file("a.jpg", "image/jpeg", &picture).cut_off();
    let cut =
        house.post("/api/v1/uploads").header("content-type", "multipart/form-data; boundary=XX").body(cut);
    cut.send().await.refused(400, "body_incomplete");
    house.get("/api/v1/uploads/nonsense").send().await.refused(400, "invalid_request");
    let none = house.get("/api/v1/uploads").send().await.json();
    assert_eq!(none["items"], json!([]), "nothing of a refused request remains");
}

#[tokio::test]
async fn imports_go_where_they_may() {
    let house = House::new().await;
    let body = json!({ "url": "http://127.0.0.1:9/x.jpg" });
    let sent = house.post("/api/v1/uploads/import").json(&body).send().await;
    let problem = match sent.status.as_u16() {
        202 => {
            house.work().await;
            house.get(sent.header("location")).send().await.json()["error"].clone()
        }
        _ => sent.json(),
    };
    assert_eq!(problem["code"], "address_refused", "{problem}");
    house
        .post("/api/v1/uploads/import")
        .json(&json!({ "url": "no url" }))
        .send()
        .await
        .refused(400, "invalid_request");
    let unknown = house
        .post("/api/v1/uploads/import")
        .json(&json!({ "url": "http://x.example/", "bukket": 1 }))
        .send()
        .await;
    unknown.refused(400, "invalid_request");
    assert_eq!(unknown.json()["errors"][0]["pointer"], "#/bukket");
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let house = House::new().await;
    let chunks: Vec<Result<bytes::Bytes, std::io::Error>> =
        vec![Ok(pictures::jpeg(64, 64).slice(..200)), Err(std::io::ErrorKind::ConnectionReset.into())];
    let body = larder_http::RequestBody::from_stream(futures::stream::iter(chunks));
    house.post("/api/v1/uploads").stream(body).send().await.refused(400, "body_incomplete");
    let page = house.get("/api/v1/uploads").send().await.json();
    assert_eq!(page["items"], json!([]));
}

#[tokio::test]
async fn a_part_whose_head_never_ends_is_refused_before_much_of_it_is_read() {
    let house = House::new().await;
    for beginning in ["no boundary", "--XX\r\nContent-Disposition: form-data; name=\"file\"; x=\""] {
        let read = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = std::sync::Arc::clone(&read);
        let endless = futures::stream::repeat_with(move || {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            bytes::Bytes::from_static(&[b'a'; 1_024])
        });
        let beginning = bytes::Bytes::from_static(beginning.as_bytes());
        let chunks = futures::StreamExt::chain(futures::stream::iter([beginning]), endless);
        let chunks = futures::StreamExt::map(chunks, Ok::<_, std::io::Error>);
        house
            .post("/api/v1/uploads")
            .header("content-type", "multipart/form-data; boundary=XX")
            .stream(larder_http::RequestBody::from_stream(chunks))
            .send()
            .await
            .refused(400, "invalid_request");
        let read = read.load(std::sync::atomic::Ordering::Relaxed);
        assert!(read < 100, "{read} KiB were read");
    }
}

#[tokio::test]
async fn what_is_said_of_a_file_has_the_same_limits_at_every_door() {
    let house = House::new().await;
    let picture = pictures::jpeg(16, 16);
    let id = house.store("media", "a.jpg", &picture).await["id"].as_str().unwrap().to_owned();
    let long = "x".repeat(20_000);
    let owner = "o".repeat(600);
    let wrong = [
        json!({ "metadata": { "text": long } }),
        json!({ "owner": owner }),
        json!({ "tags": ["t".repeat(200)] }),
        json!({ "expires_at": "2020-01-01T00:00:00Z" }),
    ];
    for said in wrong {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in said.as_object().unwrap() {
            let text = match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Array(tags) => tags[0].as_str().unwrap().to_owned(),
                other => other.to_string(),
            };
            query.append_pair(name, &text);
        }
        let query = query.finish();
        let posted = house.post(&format!("/api/v1/uploads?{query}")).body(picture.clone()).send().await;
        posted.refused(400, "invalid_request");
        let put = house.put(&format!("/api/v1/buckets/media/objects/b.jpg?{query}"), picture.clone());
        put.send().await.refused(400, "invalid_request");
        let patched =
            house.ask(http::Method::PATCH, &format!("/api/v1/assets/{id}")).json(&said).send().await;
        patched.refused(400, "invalid_request");
        let mut import = said.clone();
        import["url"] = json!("http://example.com/x.jpg");
        let imported = house.post("/api/v1/uploads/import").json(&import).send().await;
        imported.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_repeat_with_another_expiry_is_another_request() {
    let house = House::new().await;
    let send = |query: &str| {
        house
            .post(&format!("/api/v1/uploads{query}"))
            .header("idempotency-key", "one")
            .body(pictures::jpeg(16, 16))
            .send()
    };
    send("?expires_at=2099-01-01T00:00:00Z").await.is(202);
    send("?expires_at=2099-01-01T00:00:00Z").await.is(202);
    send("?expires_at=2098-01-01T00:00:00Z").await.refused(422, "idempotency_key_reused");
}
