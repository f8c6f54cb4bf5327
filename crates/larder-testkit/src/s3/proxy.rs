//! A proxy before a server that spoils what passes: slow, failing and disobedient stores.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use url::Url;

/// What the proxy does to what passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// Nothing.
    Honest,
    /// Requests lose the headers of their conditions, so that the server answers 200 to all of them.
    IgnoresConditions,
    /// One request after the other: what the server looks up before it writes still holds when it does.
    OneAtATime,
    /// Each request waits.
    Delays(Duration),
    /// The server is not asked at all: this head and body are the answer.
    Answers(String),
    /// Requests whose first line contains this do all they should, and then the answer gets lost.
    LosesAnswersTo(String),
    /// Answers break off after so many bytes.
    CutsAnswersAfter(usize),
    /// Connections are taken and nothing is ever said.
    Hangs,
}

/// A proxy that runs as long as this lives. It speaks HTTP/1.1 with one request per connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct State {
    upstream: String,
    manner: std::sync::Mutex<(Manner, u64)>,
    requests: AtomicU64,
    turn: tokio::sync::Mutex<()>,
}

impl State {
    /// What happens to the next request; spent after as many times as was said.
    fn draw(&self) -> Manner {
        let mut manner = self.manner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match manner.1 {
            0 => Manner::Honest,
            times => {
                manner.1 = times.saturating_sub(u64::from(times != u64::MAX));
                manner.0.clone()
            }
        }
    }
}

impl Proxy {
    /// Starts a proxy before a server.
    ///
    /// # Panics
    /// It can't listen.
    pub async fn start(upstream: &Url, manner: Manner) -> Self {
        Self::start_blocking(upstream, manner)
    }

    /// [`start`](Self::start) where nothing is asynchronous.
    ///
    /// # Panics
    /// It can't listen.
    pub fn start_blocking(upstream: &Url, manner: Manner) -> Self {
        let host = upstream.host_str().expect("the server has a host");
        let port = upstream.port_or_known_default().expect("the server has a port");
        let state = Arc::new(State {
            upstream: format!("{host}:{port}"),
            manner: (manner, u64::MAX).into(),
            requests: AtomicU64::new(0),
            turn: tokio::sync::Mutex::new(()),
        });
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime for a proxy");
            runtime.block_on(async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
                let listener = listener.expect("a port for a proxy");
                let _ = tell.send(listener.local_addr());
                let accept = async {
                    while let Ok((client, _)) = listener.accept().await {
                        let state = Arc::clone(&shared);
                        tokio::spawn(async move {
                            let _ = serve(client, &state).await;
                        });
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        let address = told.recv().expect("the proxy runs").expect("the proxy has an address");
        Self { address, state, stop: Some(stop) }
    }

    /// Where it listens.
    ///
    /// # Panics
    /// Never: an address makes a URL.
    pub fn endpoint(&self) -> Url {
        format!("http://{}", self.address).parse().expect("an address makes a URL")
    }

    /// From now on, every request.
    ///
    /// # Panics
    /// A thread panicked while it changed this.
    pub fn set(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = (manner, u64::MAX);
    }

    /// The next `times` requests; those after them pass as they are.
    ///
    /// # Panics
    /// A thread panicked while it changed this.
    pub fn set_for(&self, times: u64, manner: Manner) {
        *self.state.manner.lock().unwrap() = (manner, times);
    }

    /// How many requests came so far.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

async fn serve(mut client: TcpStream, state: &State) -> io::Result<()> {
    let _ = client.set_nodelay(true);
    let mut buffer = BytesMut::new();
    let Some(end) = read_head(&mut client, &mut buffer).await? else { return Ok(()) };
    state.requests.fetch_add(1, Ordering::SeqCst);
    let body = buffer.split_off(end);
    let head = String::from_utf8_lossy(&buffer).into_owned();
    let first = head.lines().next().unwrap_or_default().to_owned();
    let manner = state.draw();
    let _turn = match manner {
        Manner::OneAtATime => Some(state.turn.lock().await),
        _ => None,
    };
    match &manner {
        Manner::Hangs => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            return Ok(());
        }
        Manner::Delays(pause) => tokio::time::sleep(*pause).await,
        Manner::Answers(answer) => {
            drain(&mut client, &head, body.len()).await?;
            client.write_all(answer.as_bytes()).await?;
            return client.shutdown().await;
        }
        _ => {}
    }
    let ignored = |line: &str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        manner == Manner::IgnoresConditions && matches!(name.as_str(), "if-match" | "if-none-match")
    };
    // The answer ends with the connection, so that it can be passed on without being understood.
    let mut passed: String = head
        .trim_end()
        .lines()
        .filter(|line| !ignored(line) && !line.to_ascii_lowercase().starts_with("connection:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    passed.push_str("Connection: close\r\n\r\n");
    let mut server = TcpStream::connect(&state.upstream).await?;
    let _ = server.set_nodelay(true);
    server.write_all(passed.as_bytes()).await?;
    server.write_all(&body).await?;
    let loses = matches!(&manner, Manner::LosesAnswersTo(part) if first.contains(part.as_str()));
    let limit = match manner {
        Manner::CutsAnswersAfter(bytes) => bytes,
        _ => usize::MAX,
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let upload = tokio::io::copy(&mut from_client, &mut to_server);
    let download = async {
        let mut chunk = vec![0; 65_536];
        let mut sent = 0;
        loop {
            let length = from_server.read(&mut chunk).await?;
            if length == 0 || sent >= limit {
                return Ok::<_, io::Error>(());
            }
            let length = length.min(limit - sent);
            sent += length;
            if !loses {
                to_client.write_all(&chunk[..length]).await?;
            }
        }
    };
    tokio::select! {
        outcome = download => outcome?,
        // The client hung up, or sends no more: the answer still comes.
        _ = async { upload.await.ok(); std::future::pending::<()>().await } => {}
    }
    client.shutdown().await
}

/// Reads until the empty line and says where the body begins; `None` if the client hangs up before.
async fn read_head(client: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(Some(end + 4));
        }
        if client.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Takes the rest of a body, so that the client is ready to read.
async fn drain(client: &mut TcpStream, head: &str, mut seen: usize) -> io::Result<()> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut chunk = vec![0; 65_536];
    while seen < length.unwrap_or(0) {
        match client.read(&mut chunk).await? {
            0 => return Ok(()),
            length => seen += length,
        }
    }
    Ok(())
}
