//! What clients meet while the store is away, and that nobody takes a part for the whole.

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::Method;
use larder_http::{RequestBody, serve};
use larder_store::{BreakerLimits, CircuitState};
use larder_testkit::faulty_store::{Failure, Operation, Rule};
use serde_json::Value;
use support::{Answer, House, Plan, pictures};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const PAUSE: Duration = Duration::from_millis(300);

/// A house whose store has a breaker, with a picture that stays in memory and one that does not.
struct Home {
    house: House,
    small: Bytes,
    large: Bytes,
    id: String,
}

impl Home {
    async fn new() -> Self {
        Self::with_pause(PAUSE).await
    }

    async fn with_pause(pause: Duration) -> Self {
        let limits = BreakerLimits { pause_min: pause, pause_max: pause, ..BreakerLimits::default() };
        let house = House::build(Plan { breaker: Some(limits), ..Plan::default() }).await;
        let (small, large) = (pictures::jpeg(64, 48), pictures::jpeg(1_600, 1_200));
        house.store("media", "small.jpg", &small).await;
        let id = house.store("media", "large.jpg", &large).await["id"].as_str().unwrap().to_owned();
        Self { house, small, large, id }
    }

    /// Asks until the circuit is open.
    async fn open_the_circuit(&self) {
        let circuit = self.house.larder.settings().store_circuit.clone().unwrap();
        for _ in 0..5 {
            assert_eq!(circuit.health().state, CircuitState::Closed);
            away(&self.house.get("/m/media/large.jpg").send().await);
        }
        assert_eq!(circuit.health().state, CircuitState::Open);
    }
}

#[track_caller]
fn away(answer: &Answer) {
    answer.refused(503, "backend_unavailable");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json()["title"], "Backend unavailable");
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=300).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a7_while_the_store_is_away_memory_and_records_are_served_and_the_rest_is_503() {
    let home = Home::new().await;
    let house = &home.house;
    let variant = "/i/_/p:keep-small/media/small.jpg.webp";
    house.get("/m/media/small.jpg").send().await.is(200);
    let made = house.get(variant).send().await.is(200).body;
    let etag = house.get("/m/media/large.jpg").send().await.is(200).header("etag").to_owned();
    house.store.cut();
    for _ in 0..3 {
        // Before and after the circuit opened alike.
        for _ in 0..2 {
            assert_eq!(house.get("/m/media/small.jpg").send().await.is(200).body, home.small);
            assert_eq!(house.get(variant).send().await.is(200).body, made);
            house.ask(Method::HEAD, "/m/media/small.jpg").send().await.is(200);
            house.get("/m/media/small.jpg").header("range", "bytes=1-5").send().await.is(206);
            let asset = house.get(&format!("/api/v1/assets/{}", home.id)).send().await.is(200).json();
            assert_eq!(asset["key"], "large.jpg");
            house.get("/api/v1/buckets/media/objects").send().await.is(200);

            away(&house.get("/m/media/large.jpg").send().await);
            away(&house.get("/api/v1/buckets/media/objects/large.jpg").send().await);
            away(&house.get("/m/media/large.jpg").header("range", "bytes=0-5").send().await);
            assert_eq!(house.ask(Method::HEAD, "/m/media/large.jpg").send().await.status, 503);

            let unchanged =
                house.get("/m/media/large.jpg").header("if-none-match", &etag).send().await.is(304);
            assert_eq!((unchanged.header("etag"), unchanged.body.len()), (etag.as_str(), 0));
            away(&house.get("/m/media/large.jpg").header("if-none-match", "\"other\"").send().await);
            let overtaken = house.get("/m/media/large.jpg").header("if-match", "\"other\"").send().await;
            overtaken.refused(412, "precondition_failed");
        }
    }
    house.store.mend();
    tokio::time::sleep(PAUSE).await;
    assert_eq!(house.get("/m/media/large.jpg").send().await.is(200).body, home.large);
}

#[tokio::test]
async fn a7_a_stripped_original_in_memory_is_served_too_and_another_is_not_given_away() {
    let house = House::new().await;
    let policy = serde_json::json!({ "visibility": "public", "gps": "strip" });
    house.ask(Method::PUT, "/api/v1/buckets/places").json(&policy).send().await;
    let picture = pictures::jpeg_with_gps(32, 32);
    house.store("places", "read.jpg", &picture).await;
    house.store("places", "unread.jpg", &picture).await;
    let stripped = house.get("/m/places/read.jpg").send().await.is(200);
    house.store.cut();
    let again = house.get("/m/places/read.jpg").send().await.is(200);
    assert_eq!((&again.body, again.header("etag")), (&stripped.body, stripped.header("etag")));
    away(&house.get("/m/places/unread.jpg").send().await);
    let known = house.get("/m/places/unread.jpg").header("if-none-match", stripped.header("etag"));
    known.send().await.is(304);
}

#[tokio::test]
async fn a7_readiness_tells_since_when_and_only_operators_why() {
    let home = Home::new().await;
    let house = &home.house;
    assert_eq!(house.get("/readyz").send().await.is(200).json()["store_error"], Value::Null);
    house.store.cut();
    home.open_the_circuit().await;
    let since = house.larder.settings().store_circuit.as_ref().unwrap().health().outage.unwrap().since;
    let ready = house.get("/readyz").send().await.is(200).json();
    assert_eq!((&ready["status"], &ready["catalog"]), (&Value::from("degraded"), &Value::Null));
    assert_eq!(ready["store"]["detail"], format!("the store has not answered since {since}"));
    assert_eq!(ready["store_error"], "a fault made by the test");
    let told = house.get("/readyz").stranger().send().await.is(200).json();
    assert_eq!((&told["store"]["detail"], told.get("store_error")), (&ready["store"]["detail"], None));
    house.store.mend();
    tokio::time::sleep(PAUSE).await;
    // Asking is the probe.
    assert_eq!(house.get("/readyz").send().await.is(200).json()["status"], "ok");
    house.get("/m/media/large.jpg").send().await.is(200);
}

/// A body that notes whether anybody asked for it.
fn untouched(bytes: &Bytes) -> (RequestBody, Arc<AtomicBool>) {
    let touched = Arc::new(AtomicBool::new(false));
    let (note, bytes) = (touched.clone(), bytes.clone());
    let body = stream::once(async move {
        note.store(true, Ordering::SeqCst);
        Ok::<_, std::io::Error>(bytes)
    });
    (RequestBody::from_stream(body), touched)
}

#[tokio::test]
async fn a7_uploads_are_refused_before_their_bytes_are_read_while_the_circuit_is_open() {
    let home = Home::new().await;
    let house = &home.house;
    house.store.cut();
    home.open_the_circuit().await;
    let put = "/api/v1/buckets/media/objects/new.jpg";
    let form = "multipart/form-data; boundary=XX";
    for (method, path, content_type) in [
        (Method::POST, "/api/v1/uploads?bucket=media", "image/jpeg"),
        (Method::PUT, put, "image/jpeg"),
        (Method::POST, "/api/v1/uploads?bucket=media", form),
    ] {
        let (body, touched) = untouched(&home.small);
        let refused = house.ask(method, path).header("content-type", content_type).stream(body).send().await;
        away(&refused);
        assert!(!touched.load(Ordering::SeqCst), "{path} {content_type}");
    }
    house.store.mend();
    tokio::time::sleep(PAUSE).await;
    house.put(put, home.small.clone()).send().await.is(201);
}

#[tokio::test]
async fn a7_an_upload_that_the_store_does_not_take_is_503_and_not_acknowledged() {
    for rule in [
        Rule::on(Operation::Put).fails(Failure::Unavailable),
        Rule::on(Operation::Put).fails_after_bytes(100, Failure::Busy(Duration::from_millis(6_500))),
        Rule::on(Operation::Put).truncates_after_bytes(100),
    ] {
        let house = House::new().await;
        house.store.add(rule.clone());
        let refused = house.post("/api/v1/uploads?bucket=media").body(pictures::jpeg(64, 48)).send().await;
        away(&refused);
        let expected = if format!("{rule:?}").contains("Busy") { "7" } else { "5" };
        assert_eq!(refused.header("retry-after"), expected, "{rule:?}");
        house.store.mend();
        house.work().await;
        assert_eq!(
            house.get("/api/v1/buckets/media/objects").send().await.json()["items"],
            serde_json::json!([])
        );
    }
}

async fn served(house: &House) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, house.app.clone(), std::future::pending()));
    address
}

/// Head and body as they come over the wire until the server closes; both empty if it closes at once.
async fn read_raw(address: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _ =
        timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.expect("the server closes");
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
    let body = bytes.split_off(end);
    (String::from_utf8(bytes).unwrap().to_ascii_lowercase(), body)
}

#[tokio::test]
async fn a7_a_body_that_breaks_off_in_the_store_is_never_a_whole_answer() {
    let house = House::new().await;
    let (small, large) = (pictures::jpeg(64, 48), pictures::jpeg(1_600, 1_200));
    house.store("media", "small.jpg", &small).await;
    house.store("media", "large.jpg", &large).await;
    let address = served(&house).await;
    let open = || Rule::on(Operation::Open);
    for rule in [open().truncates_after_bytes(500), open().fails_after_bytes(500, Failure::Unavailable)] {
        house.store.add(rule.clone());
        let (head, body) = read_raw(address, "/m/media/large.jpg").await;
        if !head.is_empty() {
            assert!(head.starts_with("http/1.1 200"), "{head}");
            assert!(head.contains(&format!("content-length: {}\r\n", large.len())), "{rule:?}: {head}");
        }
        assert!(large[..500].starts_with(&body), "{rule:?}: {} bytes", body.len());
        let whole =
            async { reqwest::get(format!("http://{address}/m/media/large.jpg")).await?.bytes().await };
        assert!(whole.await.is_err(), "{rule:?}: a client must see that it is not whole");
        // What is read before it is answered is refused, and a part of it is not kept for the next.
        let (head, body) = read_raw(address, "/m/media/small.jpg").await;
        assert!(head.starts_with("http/1.1 503"), "{rule:?}: {head} {}", String::from_utf8_lossy(&body));
        house.store.mend();
    }
    assert_eq!(read_raw(address, "/m/media/small.jpg").await.1, small);
    assert_eq!(read_raw(address, "/m/media/large.jpg").await.1, large);
}

#[tokio::test]
async fn a_wrong_fingerprint_in_an_answer_changes_no_byte_and_no_entity_tag() {
    let house = House::new().await;
    let picture = pictures::jpeg(64, 48);
    let etag = house.store("media", "small.jpg", &picture).await["etag"].as_str().unwrap().to_owned();
    house.store.add(Rule::on(Operation::Open).times(2).answers_a_wrong_fingerprint());
    for _ in 0..2 {
        let read = house.get("/m/media/small.jpg").send().await.is(200);
        assert_eq!((&read.body, read.header("etag")), (&picture, etag.as_str()));
    }
}

/// Counts warnings and errors.
struct Complaints(Arc<AtomicUsize>);

impl tracing::Subscriber for Complaints {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target().starts_with("larder") {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn i6_the_log_tells_of_an_outage_once_and_not_for_each_request() {
    let home = Home::with_pause(Duration::from_secs(3_600)).await;
    let complaints = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Complaints(complaints.clone()));
    home.house.store.cut();
    home.open_the_circuit().await;
    let told = complaints.swap(0, Ordering::SeqCst);
    assert_eq!(told, 6, "five requests that failed, and that the circuit opened");
    for _ in 0..20 {
        away(&home.house.get("/m/media/large.jpg").send().await);
        away(&home.house.put("/api/v1/buckets/media/objects/new.jpg", home.small.clone()).send().await);
    }
    assert_eq!(complaints.load(Ordering::SeqCst), 0);
}
