//! What an S3 bucket adds to the contract: repetition, large objects, and failures that explain themselves.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use larder_core::{Ambient, Timestamp};
use larder_store::{
    Attributes, BucketSetup, Condition, Encryption, Error, Finding, ListOptions, OpenOptions, Place,
    PutOptions, S3Checksum, S3Credentials, S3Key, S3Options, S3Store, SetupOutcome, SignedAction, Store,
    StoreExt, UnfinishedOptions, Verdict, iam_policy,
};
use larder_testkit::s3::{
    moto,
    proxy::{Manner, Proxy},
    s3s_fs::S3sFs,
};

fn place(text: &str) -> Place {
    text.parse().unwrap()
}

fn ambient() -> Ambient {
    Ambient::system()
}

fn when(condition: Condition) -> PutOptions {
    PutOptions { condition, ..PutOptions::default() }
}

/// A bucket behind a proxy that is honest until it is told otherwise.
async fn behind_proxy(mut options: S3Options) -> (S3Store, Proxy) {
    let proxy = Proxy::start(options.endpoint.as_ref().unwrap(), Manner::Honest).await;
    options.endpoint = Some(proxy.endpoint());
    options.answer_within = Duration::from_secs(2);
    options.retry_within = Duration::from_secs(10);
    (S3Store::connect(&options, ambient()).await.unwrap(), proxy)
}

fn answer(status: &str, code: &str, more: &str) -> Manner {
    let body = format!("<Error><Code>{code}</Code><Message>by the test</Message></Error>");
    Manner::Answers(format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n{body}",
        body.len()
    ))
}

/// Megabytes that are not all alike.
fn pattern(bytes: usize) -> Bytes {
    (0..bytes).map(|index| (index / 1_000 + index % 251) as u8).collect()
}

fn chunked(bytes: &Bytes) -> larder_store::ByteStream {
    let chunks: Vec<_> = bytes.chunks(100_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks).boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_moment_is_sent_again() {
    let (store, proxy) = behind_proxy(moto::bucket()).await;
    store.put_bytes(&place("a"), "before", PutOptions::default()).await.unwrap();
    for manner in [
        answer("500 Internal Server Error", "InternalError", ""),
        answer("503 Slow Down", "SlowDown", ""),
        answer("429 Too Many Requests", "TooManyRequests", "Retry-After: 1\r\n"),
        Manner::CutsAnswersAfter(10),
    ] {
        proxy.set_for(2, manner.clone());
        let before = proxy.requests();
        store.put_bytes(&place("a"), "bytes", PutOptions::default()).await.unwrap();
        assert_eq!(proxy.requests() - before, 3, "{manner:?}");
        proxy.set_for(2, manner);
        assert_eq!(store.read_all(&place("a"), 10).await.unwrap(), "bytes");
    }
}

/// The answer got lost, the effect did not: repeating it is no conflict with oneself.
#[tokio::test(flavor = "multi_thread")]
async fn a_conditional_put_whose_answer_got_lost_knows_itself_again() {
    let (store, proxy) = behind_proxy(moto::bucket()).await;
    let a = place("a");
    proxy.set_for(1, Manner::LosesAnswersTo("PUT".to_owned()));
    let first = store.put_bytes(&a, "one", when(Condition::IfAbsent)).await.unwrap();
    assert_eq!(store.stat(&a).await.unwrap().fingerprint, first.fingerprint);
    proxy.set_for(1, Manner::LosesAnswersTo("PUT".to_owned()));
    let second =
        store.put_bytes(&a, "two", when(Condition::IfMatch(first.fingerprint.clone()))).await.unwrap();
    assert_eq!(store.read_all(&a, 10).await.unwrap(), "two");
    // And a real conflict is one, repeated or not.
    proxy.set_for(1, answer("500 Internal Server Error", "InternalError", ""));
    for condition in [Condition::IfAbsent, Condition::IfMatch(first.fingerprint)] {
        let refused = store.put_bytes(&a, "three", when(condition)).await;
        assert!(matches!(refused, Err(Error::Precondition { .. })), "{refused:?}");
    }
    assert_eq!(store.stat(&a).await.unwrap().fingerprint, second.fingerprint);
    assert!(store.stat(&a).await.unwrap().attributes.metadata.is_empty(), "the mark is nobody's business");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_read_on_where_it_broke() {
    let (store, proxy) = behind_proxy(moto::bucket()).await;
    let bytes = pattern(3 << 20);
    store.put(&place("a"), chunked(&bytes), PutOptions::default()).await.unwrap();
    proxy.set_for(3, Manner::CutsAnswersAfter(700_000));
    assert!(store.read_all(&place("a"), u64::MAX).await.unwrap() == bytes);
    proxy.set_for(2, Manner::CutsAnswersAfter(400_000));
    let range = OpenOptions { range: Some(1_000_000..2_000_000), ..OpenOptions::default() };
    let opened = store.open(&place("a"), range).await.unwrap();
    assert!(opened.body.read_all(u64::MAX).await.unwrap() == bytes[1_000_000..2_000_000]);
}

/// Never a mixture of two, and never fewer bytes without an error.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_replaced_while_their_body_broke_off_are_an_error() {
    let (store, proxy) = behind_proxy(moto::bucket()).await;
    let bytes = pattern(3 << 20);
    store.put(&place("a"), chunked(&bytes), PutOptions::default()).await.unwrap();
    proxy.set_for(1, Manner::CutsAnswersAfter(700_000));
    let mut body = store.open(&place("a"), OpenOptions::default()).await.unwrap().body.into_stream();
    let first = body.try_next().await.unwrap().unwrap();
    assert!(bytes.starts_with(&first));
    store.put(&place("a"), chunked(&pattern(3_000_000)), PutOptions::default()).await.unwrap();
    let error = body.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.downcast_ref::<Error>().is_some_and(|error| error.kind() == "unavailable"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_silent_is_unavailable_within_its_time() {
    let mut options = moto::bucket();
    let proxy = Proxy::start(options.endpoint.as_ref().unwrap(), Manner::Honest).await;
    options.endpoint = Some(proxy.endpoint());
    options.answer_within = Duration::from_millis(300);
    options.retry_within = Duration::from_secs(1);
    let store = S3Store::connect(&options, ambient()).await.unwrap();
    proxy.set(Manner::Hangs);
    let started = std::time::Instant::now();
    let error = store.stat(&place("a")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(proxy.requests() >= 2, "it was asked again");
}

/// On the server that checks digests and signatures, and on the other.
#[tokio::test(flavor = "multi_thread")]
async fn large_objects_go_in_parts_and_come_back_whole() {
    let server = S3sFs::start();
    for mut options in [server.options("large"), moto::bucket()] {
        options.checksum = Some(S3Checksum::Sha256);
        let store = S3Store::connect(&options, ambient()).await.unwrap();
        let bytes = pattern(20_000_001);
        let attributes = Attributes { content_type: Some("video/mp4".to_owned()), ..Attributes::default() };
        let put = PutOptions { attributes: attributes.clone(), ..PutOptions::default() };
        let stat = store.put(&place("big"), chunked(&bytes), put).await.unwrap();
        assert_eq!(stat.size_bytes, bytes.len() as u64);
        let found = store.stat(&place("big")).await.unwrap();
        assert_eq!((found.fingerprint, found.attributes), (stat.fingerprint, attributes));
        assert!(store.read_all(&place("big"), u64::MAX).await.unwrap() == bytes);
        assert!(store.rename(&place("big"), &place("moved"), Default::default()).await.is_ok());
        assert!(store.read_all(&place("moved"), u64::MAX).await.unwrap() == bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_obeys_its_condition_and_knows_itself_again() {
    let (store, proxy) = behind_proxy(moto::bucket()).await;
    let bytes = pattern(9 << 20);
    proxy.set_for(1, Manner::Honest);
    let put = |condition| store.put(&BIG, chunked(&bytes), when(condition));
    static BIG: std::sync::LazyLock<Place> = std::sync::LazyLock::new(|| "big".parse().unwrap());
    let first = put(Condition::IfAbsent).await.unwrap();
    let refused = put(Condition::IfAbsent).await;
    assert!(matches!(refused, Err(Error::Precondition { .. })), "{refused:?}");
    put(Condition::IfMatch(first.fingerprint)).await.unwrap();
    let none =
        store.remove_unfinished(UnfinishedOptions { begun_before: later(), dry_run: true }).await.unwrap();
    assert_eq!(none, 0, "what was refused was aborted");
}

fn later() -> Timestamp {
    ambient().now().plus(Duration::from_secs(3_600))
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_writer_that_died_are_found_and_removed_when_they_are_old() {
    let (store, proxy) = behind_proxy(moto::bucket()).await;
    let stalled = stream::iter([Ok(pattern(9 << 20))]).chain(stream::pending()).boxed();
    let target = place("never");
    {
        let mut put = std::pin::pin!(store.put(&target, stalled, PutOptions::default()));
        assert!(tokio::time::timeout(Duration::from_secs(2), &mut put).await.is_err());
        // It can't tell anyone any more.
        proxy.set(Manner::Hangs);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.set(Manner::Honest);
    let remove = |begun_before, dry_run| store.remove_unfinished(UnfinishedOptions { begun_before, dry_run });
    assert_eq!(remove(Timestamp::from_millis(0), false).await.unwrap(), 0, "a young one is spared");
    assert_eq!(remove(later(), true).await.unwrap(), 1);
    assert_eq!(remove(later(), false).await.unwrap(), 1);
    assert_eq!(remove(later(), true).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_got_wrong_is_said_with_its_remedy() {
    let server = S3sFs::start();
    let right = server.options("right");
    let key = |id: &str, secret: &str| {
        S3Credentials::Static(S3Key { id: id.to_owned(), secret: secret.to_owned(), session_token: None })
    };
    let (id, secret) = (larder_testkit::s3::ACCESS_KEY_ID, larder_testkit::s3::SECRET_ACCESS_KEY);
    let wrong_key = S3Options { credentials: key("nobody", secret), ..right.clone() };
    let wrong_secret = S3Options { credentials: key(id, "wrong"), ..right.clone() };
    let no_bucket = S3Options { bucket: "absent".to_owned(), ..right.clone() };
    let unsigned = S3Options { credentials: S3Credentials::Anonymous, ..right.clone() };
    let no_host =
        S3Options { endpoint: Some("http://no-such-host.invalid".parse().unwrap()), ..right.clone() };
    let tls = server.endpoint().replace("http:", "https:").parse().unwrap();
    let not_encrypted = S3Options { endpoint: Some(tls), ..right.clone() };
    for (options, cause, remedy) in [
        (wrong_key, "access key", "AWS_ACCESS_KEY_ID"),
        (wrong_secret, "secret key", "AWS_SECRET_ACCESS_KEY"),
        (no_bucket, "no bucket absent", "larder store setup"),
        (unsigned, "s3:ListBucket", "larder store policy"),
        (no_host, "is not known", "AWS_ENDPOINT_URL_S3"),
        (not_encrypted, "no encrypted connection", "store.s3.endpoint"),
    ] {
        let options = S3Options { retries: 1, ..options };
        match S3Store::connect(&options, ambient()).await {
            Err(Error::Refused { cause: said, remedy: told, .. }) => {
                assert!(said.contains(cause) && told.contains(remedy), "{cause}: {said}; {told}");
            }
            other => panic!("{cause}: {other:?}"),
        }
    }
    let gone = server.endpoint();
    drop(server);
    let options = S3Options { endpoint: Some(gone.parse().unwrap()), retries: 1, ..right };
    let error = S3Store::connect(&options, ambient()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "it may come back: {error:?}");
}

/// What a client does with an address: the status, and the body of a success.
async fn fetch(method: &str, url: &url::Url, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let client = reqwest::Client::new();
    let mut request = client.request(method.parse().unwrap(), url.clone()).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_addresses_do_one_thing_for_a_time() {
    let mut server = S3sFs::start();
    let options = S3Options { prefix: "site".to_owned(), ..server.options("signed") };
    let store = S3Store::connect(&options, ambient()).await.unwrap();
    let (target, hour) = (place("a b/ä+&.txt"), Duration::from_secs(3_600));
    // Made while the store is down.
    server.stop();
    let put = SignedAction::Put { content_type: "text/plain".to_owned(), size_bytes: 5 };
    let put = store.signed_url(&target, &put, hour).await.unwrap().unwrap();
    let get = SignedAction::Get { disposition: Some("attachment; filename=\"ü x.txt\"".to_owned()) };
    let get = store.signed_url(&target, &get, hour).await.unwrap().unwrap();
    let short = SignedAction::Get { disposition: None };
    let short = store.signed_url(&target, &short, Duration::from_secs(1)).await.unwrap().unwrap();
    server.restart();

    let text = [("content-type", "text/plain")];
    assert_eq!(fetch("PUT", &put, &[("content-type", "text/html")], "12345").await.0, 403, "another type");
    assert_eq!(fetch("PUT", &put, &text, "123456").await.0, 403, "another size");
    assert_eq!(fetch("PUT", &put, &text, "12345").await.0, 200);
    assert_eq!(fetch("GET", &get, &[], "").await, (200, "12345".to_owned()));
    assert_eq!(fetch("DELETE", &get, &[], "").await.0, 403, "another action");
    let mut other = get.clone();
    other.set_path(&other.path().replace("a%20b", "b"));
    assert_eq!(fetch("GET", &other, &[], "").await.0, 403, "another object");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fetch("GET", &short, &[], "").await.0, 403, "its time is over");
    assert_eq!(store.read_all(&target, 10).await.unwrap(), "12345");
}

#[tokio::test(flavor = "multi_thread")]
async fn public_addresses_are_the_cdns_else_the_buckets_own() {
    let server = S3sFs::start();
    let options = S3Options { prefix: "site".to_owned(), ..server.options("open") };
    let address = |options: S3Options| async move {
        let store = S3Store::connect(&options, ambient()).await.unwrap();
        store.public_url(&place("a b/c#.png")).map(String::from)
    };
    assert_eq!(address(options.clone()).await, None);
    let own = format!("{}/open/site/a%20b/c%23.png", server.endpoint());
    assert_eq!(address(S3Options { is_public: true, ..options.clone() }).await, Some(own));
    let cdn = Some("https://cdn.example.com/x/".parse().unwrap());
    let expected = "https://cdn.example.com/x/site/a%20b/c%23.png".to_owned();
    assert_eq!(address(S3Options { public_url: cdn, is_public: true, ..options }).await, Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_is_asked_for() {
    let mut options = moto::bucket();
    options.encryption = Some(Encryption::Aes256);
    let store = S3Store::connect(&options, ambient()).await.unwrap();
    store.put_bytes(&place("a"), "x", PutOptions::default()).await.unwrap();
    store.copy(&place("a"), &place("b"), Default::default()).await.unwrap();
    for name in ["a", "b"] {
        let url = format!("{}{}/{name}", options.endpoint.as_ref().unwrap(), options.bucket);
        // The server believes every signature, but wants to see one.
        let signature = "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, \
                         SignedHeaders=host, Signature=0";
        let output =
            std::process::Command::new("curl").args(["-sI", "-H", signature, &url]).output().unwrap();
        let head = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
        assert!(head.contains("x-amz-server-side-encryption: aes256"), "{head}");
    }
}

/// A bucket that others fill has keys that no place can name.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_no_places_are_told_and_spoil_no_listing() {
    let options = moto::bucket();
    let store = S3Store::connect(&options, ambient()).await.unwrap();
    store.put_bytes(&place("a"), "x", PutOptions::default()).await.unwrap();
    let root = format!("{}{}", options.endpoint.as_ref().unwrap(), options.bucket);
    for key in ["b//c", "folder/"] {
        let url = format!("{root}/{key}").parse().unwrap();
        let signature = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        assert_eq!(fetch("PUT", &url, &[("authorization", signature)], "x").await.0, 200, "{key}");
    }
    store.put_bytes(&place("z"), "x", PutOptions::default()).await.unwrap();
    let page = store.list(ListOptions::default()).await.unwrap();
    let places: Vec<_> = page.entries.iter().map(|entry| entry.place.as_str()).collect();
    assert_eq!(places, ["a", "z"]);
    assert_eq!(page.unnameable, ["b//c", "folder/"]);
}

/// All steps, on the server that has these settings; and what they set is what `check` then finds.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_made_and_set_up_and_looked_over() {
    let options = S3Options { bucket: format!("{}-new", moto::bucket().bucket), ..moto::bucket() };
    let setup = BucketSetup {
        cors_origins: vec!["https://app.example.com".to_owned()],
        public_read: false,
        encryption: Some(Encryption::Aes256),
        versioning: true,
        logging: None,
    };
    let steps = S3Store::set_up(&options, &setup, ambient()).await.unwrap();
    for step in &steps {
        assert!(matches!(step.outcome, SetupOutcome::Done), "{step:?}");
    }
    let names: Vec<_> = steps.iter().map(|step| step.name).collect();
    assert_eq!(names, ["bucket", "lifecycle", "cors", "encryption", "versioning"]);
    let again = S3Store::set_up(&options, &setup, ambient()).await.unwrap();
    assert!(matches!(again[0].outcome, SetupOutcome::Already), "{again:?}");

    let findings = S3Store::check(&options, ambient()).await.unwrap();
    for name in [
        "reach",
        "clock",
        "write",
        "read",
        "range",
        "conditions",
        "copy",
        "signed URL",
        "encryption",
        "CORS",
        "delete",
    ] {
        let found = findings.iter().find(|finding| finding.name == name).unwrap();
        assert!(matches!(found.verdict, Verdict::Good(_)), "{found:?}");
    }
}

/// Whether it is obeyed can't be seen here: the server knows no conditions of policies.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_bucket_says_so_and_keeps_larders_own_places_out() {
    let options = S3Options { prefix: "site".to_owned(), ..moto::bucket() };
    let setup = BucketSetup { public_read: true, ..BucketSetup::default() };
    let steps = S3Store::set_up(&options, &setup, ambient()).await.unwrap();
    let done =
        |name| steps.iter().any(|step| step.name == name && matches!(step.outcome, SetupOutcome::Done));
    assert!(done("public access") && done("public read"), "{steps:?}");
    let url = format!("{}{}?policy", options.endpoint.as_ref().unwrap(), options.bucket);
    let (status, policy) = fetch("GET", &url.parse().unwrap(), &[], "").await;
    assert_eq!(status, 200);
    for part in [format!("{}/site/*", options.bucket), format!("{}/site/.larder/*", options.bucket)] {
        assert!(policy.contains(&part), "{policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_does_not_have_is_said() {
    let server = S3sFs::start();
    let options = server.options("plain");
    let setup = BucketSetup { versioning: true, ..BucketSetup::default() };
    let steps = S3Store::set_up(&options, &setup, ambient()).await.unwrap();
    assert!(matches!(steps[0].outcome, SetupOutcome::Already), "{steps:?}");
    assert!(steps[1..].iter().all(|step| matches!(step.outcome, SetupOutcome::Ignored)), "{steps:?}");
    let wrong = S3Options { bucket: "absent".to_owned(), ..options };
    let findings = S3Store::check(&wrong, ambient()).await.unwrap();
    let [Finding { name: "reach", verdict: Verdict::Bad { cause, remedy } }] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert!(cause.contains("absent") && remedy.contains("larder store setup"), "{cause}; {remedy}");
}

#[test]
fn the_least_policy_names_the_prefix_and_no_more() {
    let policy = iam_policy("media", "site/one", false).to_string();
    assert!(policy.contains("arn:aws:s3:::media/site/one/*"), "{policy}");
    for action in ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket"] {
        assert!(policy.contains(action), "{action}");
    }
    assert!(!policy.contains("CreateBucket"));
    assert!(iam_policy("media", "", true).to_string().contains("s3:CreateBucket"));
}
