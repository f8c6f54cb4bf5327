//! C1 and B8: every valid file has the right size, everything else is refused, in bounded memory and
//! time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use larder_testkit::fixtures;
use reqwest::StatusCode;
use serde_json::Value;

use crate::client::{client, corpus, finished, server, upload};

/// Files on their way at a time.
const AT_A_TIME: usize = 8;

/// The most memory that the server may ever hold.
const MEMORY_BYTES_MAX: u64 = 600_000_000;

/// The longest that one file may take from its first byte to its end. The limit of a decode is 10 s;
/// eight files share the processors.
const FILE_WITHIN: Duration = Duration::from_secs(10);

/// A file and what is expected of it: its upright size, or refusal.
struct Case {
    name: String,
    bytes: Vec<u8>,
    expected: Option<(u64, u64)>,
}

fn cases() -> Vec<Case> {
    let Some(corpus) = corpus() else { return generated() };
    let table = std::fs::read_to_string(corpus.join("formats.tsv")).unwrap();
    let mut lines = table.lines();
    let heads: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let column = |name: &str| heads.iter().position(|head| *head == name).unwrap();
    let (file, class) = (column("file"), column("class"));
    let (width, height) = (column("width_oriented"), column("height_oriented"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let name = cells[file].to_owned();
            let bytes = std::fs::read(corpus.join("formats").join(&name)).unwrap();
            let size = || (cells[width].parse().unwrap(), cells[height].parse().unwrap());
            Case { name, bytes, expected: (cells[class] == "valid").then(size) }
        })
        .collect()
}

/// What stands in for the corpus where it is absent.
fn generated() -> Vec<Case> {
    let case = |name: &str, bytes: Vec<u8>, expected| Case { name: name.to_owned(), bytes, expected };
    let whole = fixtures::jpeg(640, 480);
    let mut cases = vec![
        case("whole.jpg", whole.clone(), Some((640, 480))),
        case("truncated.jpg", whole[..whole.len() / 2].to_vec(), None),
        case("program.png", [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 200]].concat(), None),
        case("claims.webp", claims_much(), None),
        case("empty.png", Vec::new(), None),
    ];
    cases.extend((0..8).map(|seed| {
        case(&format!("photo{seed}.jpg"), fixtures::unlike(seed, 4000, 3000), Some((4000, 3000)))
    }));
    cases
}

/// 34 bytes of WebP (RFC 9649, section 2.7) that claim 16383 x 16383 pixels.
fn claims_much() -> Vec<u8> {
    let mut file = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f".to_vec();
    file.extend([0xFE, 0xBF, 0xFF, 0x0F]);
    file.resize(34, 0);
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_the_corpus_comes_in_or_is_refused_within_memory_and_time() {
    let server = Arc::new(server().start());
    let client = client();
    let failures: Vec<String> = stream::iter(cases())
        .map(|case| {
            let (client, server) = (client.clone(), Arc::clone(&server));
            async move {
                let start = Instant::now();
                let (status, answer) = upload(&client, &server, "media", &case.name, case.bytes).await;
                let end = match status {
                    StatusCode::ACCEPTED => finished(&client, &server, answer["id"].as_str().unwrap()).await,
                    _ => answer,
                };
                let problem = judge(status, &end, case.expected);
                let took = start.elapsed();
                let late = (took > FILE_WITHIN).then(|| format!("took {took:?}"));
                problem.or(late).map(|problem| format!("{}: {problem}", case.name))
            }
        })
        .buffer_unordered(AT_A_TIME)
        .filter_map(|failure| async { failure })
        .collect()
        .await;
    assert!(failures.is_empty(), "{} files went wrong:\n{}", failures.len(), failures.join("\n"));
    let peak = server.peak_memory_bytes();
    assert!(peak < MEMORY_BYTES_MAX, "the server held {} MB", peak / 1_000_000);
}

/// What is wrong with an end, if anything is.
fn judge(status: StatusCode, end: &Value, expected: Option<(u64, u64)>) -> Option<String> {
    match expected {
        Some((width, height)) => {
            let size = (end["asset"]["width"].as_u64(), end["asset"]["height"].as_u64());
            let right = end["status"] == "completed" && size == (Some(width), Some(height));
            (!right).then(|| format!("expected {width}x{height}, got {status} {end}"))
        }
        None if status == StatusCode::ACCEPTED => {
            let refused =
                end["status"] == "failed" && end["error"]["code"].is_string() && end["asset"].is_null();
            (!refused).then(|| format!("expected a refusal, got {end}"))
        }
        None => {
            let refused = status.is_client_error() && end["code"].is_string();
            (!refused).then(|| format!("expected a refusal, got {status} {end}"))
        }
    }
}
