//! B8: clients that send too slowly are cut off.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{client::server, store::folder};

#[test]
fn b8_a_client_that_does_not_finish_its_head_is_cut_off() {
    let server = server().env("LARDER_LIMITS__HEADERS_WITHIN", "1s").start();
    let mut stream = TcpStream::connect(server.address().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let start = Instant::now();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
    let mut answer = Vec::new();
    // Either a 408 or nothing, but an end.
    let _ = stream.read_to_end(&mut answer);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(15), "{took:?}");
    let text = String::from_utf8_lossy(&answer);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
}

#[test]
fn b8_a_body_that_stalls_is_answered_408_and_leaves_nothing() {
    let server = server().env("LARDER_LIMITS__BODY_IDLE", "1s").start();
    let mut stream = TcpStream::connect(server.address().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
        .write_all(
            b"POST /api/v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n\xff\xd8\xff",
        )
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    assert!(text.contains("request_timeout"), "{text}");
    let staging = folder(server.data_dir()).join(".larder/staging");
    let left = std::fs::read_dir(&staging).map(|entries| entries.count()).unwrap_or(0);
    assert_eq!(left, 0, "nothing stays in {}", staging.display());
}
