//! Connections: real sockets, slow and silent peers, both versions of HTTP, stopping.

mod support;

use std::{net::SocketAddr, time::Duration};

use larder_http::{AppOptions, ServerLimits, serve};
use support::{House, Plan, pictures};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};

struct Running {
    house: House,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl Running {
    async fn start(limits: ServerLimits) -> Self {
        let options = AppOptions { limits, ..AppOptions::default() };
        let house = House::build(Plan { options, ..Plan::default() }).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let app = house.app.clone();
        let server = tokio::spawn(async move {
            serve(listener, app, async {
                let _ = stopped.await;
            })
            .await;
        });
        Self { house, address, stop: Some(stop), server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends the text and reads until the server closes.
    async fn talk(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is an end too.
    let _ =
        timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn impatient() -> ServerLimits {
    let short = Duration::from_millis(300);
    ServerLimits { headers_within: short, body_idle_max: short, ..ServerLimits::default() }
}

#[tokio::test]
async fn silent_and_dripping_peers_are_cut_off() {
    let running = Running::start(impatient()).await;
    for beginning in
        ["", "G", "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut stream = running.connect().await;
        let began = Instant::now();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        read_all(&mut stream).await;
        let took = began.elapsed();
        assert!(
            took > Duration::from_millis(200) && took < Duration::from_secs(5),
            "{beginning:?} took {took:?}"
        );
    }
    // One byte now and then does not count as a head.
    let mut stream = running.connect().await;
    let began = Instant::now();
    let dripping = async {
        for byte in
            b"GET / HTTP/1.1\r\nHost: localhost:8000\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                .iter()
        {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("a dripping head was waited for");
    };
    timeout(Duration::from_secs(6), dripping).await.expect("cut off");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_408() {
    let running = Running::start(impatient()).await;
    let head = "POST /api/v1/uploads HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: 1000\r\n\r\nabc";
    let answer = running.talk(head).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"request_timeout\""), "{answer}");
}

#[tokio::test]
async fn a_refused_client_can_read_why_while_it_still_sends() {
    let running = Running::start(ServerLimits::default()).await;
    let mut stream = running.connect().await;
    let head = "PUT /api/v1/buckets/files/objects/x HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: 5000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let sending = tokio::spawn(async move {
        let chunk = vec![7; 50_000];
        for _ in 0..100 {
            if writing.write_all(&chunk).await.is_err() {
                break;
            }
        }
    });
    let mut bytes = Vec::new();
    let _ = timeout(Duration::from_secs(10), reading.read_to_end(&mut bytes)).await.unwrap();
    let answer = String::from_utf8_lossy(&bytes);
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("file_too_large"), "{answer}");
    sending.await.unwrap();
}

#[tokio::test]
async fn a_body_is_asked_for_only_when_it_is_permitted() {
    let running = Running::start(ServerLimits::default()).await;
    let ask = |host: &str| {
        format!(
            "PUT /api/v1/buckets/files/objects/x HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\n\
             Content-Length: 3\r\nConnection: close\r\n\r\n"
        )
    };
    let refused = running.talk(&ask("evil.example")).await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let mut stream = running.connect().await;
    stream.write_all(ask("localhost:8000").as_bytes()).await.unwrap();
    let mut first = [0; 25];
    timeout(Duration::from_secs(5), stream.read_exact(&mut first)).await.unwrap().unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_on_one_port() {
    let running = Running::start(ServerLimits::default()).await;
    let picture = pictures::jpeg(1_600, 1_200);
    running.house.store("media", "large.jpg", &picture).await;
    let url = format!("http://localhost:{}/m/media/large.jpg", running.address.port());
    let to = |builder: reqwest::ClientBuilder| {
        builder.no_proxy().resolve("localhost", running.address).build().unwrap()
    };
    for (client, version) in [
        (to(reqwest::Client::builder().http1_only()), http::Version::HTTP_11),
        (to(reqwest::Client::builder().http2_prior_knowledge()), http::Version::HTTP_2),
    ] {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        assert_eq!(answer.bytes().await.unwrap(), picture);
    }
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let running = Running::start(ServerLimits::default()).await;
    let two = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answers = running.talk(two).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let running = Running::start(ServerLimits { connections_max: 1, ..impatient() }).await;
    let _silent = running.connect().await;
    // The silent one is cut off; then the next is answered.
    let answer = running.talk("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn stopping_lets_requests_end_and_sends_watchers_away() {
    let mut running =
        Running::start(ServerLimits { grace: Duration::from_secs(5), ..ServerLimits::default() }).await;
    let upload =
        running.house.post("/api/v1/uploads").body(pictures::jpeg(16, 16)).send().await.is(202).json();
    let path = format!("/api/v1/uploads/{}/events", upload["id"].as_str().unwrap());
    let mut watcher = running.connect().await;
    watcher
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost:8000\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut begun = [0; 12];
    watcher.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    let idle = running.connect().await;
    // A request that is on its way in is answered.
    let mut slow = running.connect().await;
    let head = "PUT /api/v1/buckets/files/objects/slow HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: 6\r\n\r\nabc";
    slow.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;

    running.stop.take().unwrap().send(()).unwrap();
    let text = read_all(&mut watcher).await;
    assert!(text.contains("event: upload"), "{text}");
    slow.write_all(b"def").await.unwrap();
    let answer = read_all(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    drop(idle);
    timeout(Duration::from_secs(8), running.server).await.expect("the server ends").unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
    bytes.extend_from_slice(payload);
    bytes
}

#[tokio::test]
async fn an_answer_that_its_peer_never_takes_is_given_up_over_http2_too() {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const ACK: u8 = 1;
    let limits = ServerLimits { answer_stalled_max: Duration::from_millis(300), ..impatient() };
    let running = Running::start(limits).await;
    running.house.store("media", "large.jpg", &pictures::jpeg(1_600, 1_200)).await;
    let mut stream = running.connect().await;
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // No window for any stream: SETTINGS_INITIAL_WINDOW_SIZE is 0.
    hello.extend(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    // GET, http, then path and authority as literals (RFC 7541, section 6.2.2).
    let path = b"/m/media/large.jpg";
    let mut head = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    head.extend_from_slice(path);
    head.extend_from_slice(b"\x01\x09localhost");
    hello.extend(frame(HEADERS, 0x05, 1, &head));
    stream.write_all(&hello).await.unwrap();

    // Every ping is answered, as a peer that holds the connection on purpose would.
    let hold = async {
        let (mut answered, mut was_reset) = (false, false);
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            stream.read_exact(&mut payload).await.unwrap();
            answered |= head[3] == HEADERS;
            was_reset |= head[3] == RESET;
            let reply = match (head[3], head[4] & ACK) {
                (SETTINGS, 0) => frame(SETTINGS, ACK, 0, &[]),
                (PING, 0) => frame(PING, ACK, 0, &payload),
                _ => continue,
            };
            if stream.write_all(&reply).await.is_err() {
                break;
            }
        }
        (answered, was_reset)
    };
    let outcome = timeout(Duration::from_secs(8), hold).await.expect("the connection ends");
    assert_eq!(outcome, (true, true));
}

#[tokio::test]
async fn a_client_that_reads_only_after_sending_everything_can_read_why_it_is_refused() {
    let running = Running::start(ServerLimits::default()).await;
    let mut stream = running.connect().await;
    let head = "PUT /api/v1/buckets/files/objects/x HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: 40000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![7; 50_000];
    for _ in 0..800 {
        stream.write_all(&chunk).await.expect("the server reads on");
    }
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("file_too_large"), "{answer}");
}

#[tokio::test]
async fn waiting_ends_when_the_process_begins_to_stop() {
    let mut running = Running::start(ServerLimits::default()).await;
    let picture = pictures::jpeg(16, 16);
    let mut stream = running.connect().await;
    let head = format!(
        "POST /api/v1/uploads?wait=60 HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: {}\r\n\r\n",
        picture.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&picture).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    running.stop.take().unwrap().send(()).unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
}
