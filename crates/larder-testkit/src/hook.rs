//! A server that keeps what is sent to it, and answers what the test wants.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Most bytes of a request.
const REQUEST_BYTES_MAX: usize = 8 << 20;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method and path with query, such as `POST /purge`.
    pub target: String,
    /// Headers by their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// The value of a header; empty if it did not come.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A server on loopback that ends with this handle.
#[derive(Debug)]
pub struct HookServer {
    address: String,
    received: Arc<Mutex<Vec<Received>>>,
    status: Arc<AtomicU16>,
    accepting: tokio::task::JoinHandle<()>,
}

impl HookServer {
    /// Starts it; it answers 200.
    ///
    /// # Panics
    /// There is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let (received, status) = (Arc::<Mutex<Vec<Received>>>::default(), Arc::new(AtomicU16::new(200)));
        let (keep, answer) = (Arc::clone(&received), Arc::clone(&status));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (keep, answer) = (Arc::clone(&keep), Arc::clone(&answer));
                tokio::spawn(async move {
                    // A client that goes away sent nothing.
                    let _ = serve(stream, &keep, &answer).await;
                });
            }
        });
        Self { address, received, status, accepting }
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Answers with this status from now on.
    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// What came so far, and forgets it.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something came, and takes it.
    ///
    /// # Panics
    /// Nothing comes in time.
    pub async fn next(&self, within: Duration) -> Vec<Received> {
        let deadline = Instant::now() + within;
        loop {
            let came = self.take();
            if !came.is_empty() {
                return came;
            }
            assert!(Instant::now() < deadline, "nothing came to {}", self.address);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for HookServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    received: &Mutex<Vec<Received>>,
    status: &AtomicU16,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let request = loop {
        if let Some(request) = parse(&bytes) {
            break request;
        }
        if stream.read_buf(&mut bytes).await? == 0 || bytes.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
    };
    received.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    let status = status.load(Ordering::SeqCst);
    let head = format!("HTTP/1.1 {status} Told\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    stream.write_all(head.as_bytes()).await?;
    stream.shutdown().await
}

/// The request, once it is whole. Bodies have a length here.
fn parse(bytes: &[u8]) -> Option<Received> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let target = lines.next()?.rsplit_once(' ')?.0.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let body = bytes.get(end + 4..end + 4 + length)?.to_vec();
    Some(Received { target, headers, body })
}
