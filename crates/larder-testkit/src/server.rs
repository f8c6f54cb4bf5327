//! Starts the built `larder` binary and speaks to it from outside, as its users do.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Time within which a server has to be ready. Generous: test machines are busy.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Time within which a server that was told to stop has to end.
const STOPPED_WITHIN: Duration = Duration::from_secs(40);

/// A server to be started.
#[derive(Debug)]
pub struct Starter {
    binary: PathBuf,
    data_dir: Option<PathBuf>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    for_people: bool,
}

/// A running server. It is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: String,
    data_dir: PathBuf,
    binary: PathBuf,
    environment: Vec<(String, String)>,
    log: Arc<Mutex<String>>,
    /// Removed at the end, if the data directory is ours.
    _own: Option<TempDir>,
}

impl Starter {
    /// Starts `binary`, which a test names with `env!("CARGO_BIN_EXE_larder")`, on a free port with a
    /// data directory of its own.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            data_dir: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            for_people: false,
        }
    }

    /// Uses this data directory, which stays.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Adds an argument behind `serve`.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Lets it say that it is ready as it does to people, in lines that [`Server::log`] holds.
    #[must_use]
    pub fn for_people(mut self) -> Self {
        self.for_people = true;
        self
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    /// It ends or does not get ready in time; the message holds its log.
    pub fn start(self) -> Server {
        let own = self.data_dir.is_none().then(|| TempDir::new().expect("a temporary folder"));
        let data_dir = match (&self.data_dir, &own) {
            (Some(path), _) => path.clone(),
            (None, Some(dir)) => dir.path().to_owned(),
            (None, None) => unreachable!("one of the two is there"),
        };
        let mut child = command(&self.binary)
            .env("LARDER_LISTEN", "127.0.0.1:0")
            .arg("serve")
            .args((!self.for_people).then_some("--json"))
            .arg("--data-dir")
            .arg(&data_dir)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let log = Arc::new(Mutex::new(String::new()));
        keep_log(child.stderr.take().expect("standard error is piped"), Arc::clone(&log));
        let ready = first_line(child.stdout.take().expect("standard output is piped"));
        let address = match self.for_people {
            true => address_in_banner(&log),
            false => {
                let line = ready.recv_timeout(READY_WITHIN).unwrap_or_default();
                let answer: Value = serde_json::from_str(&line).unwrap_or_default();
                answer["address"].as_str().map(str::to_owned)
            }
        };
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server is not ready; its log:\n{}", text(&log));
        };
        let Self { binary, environment, .. } = self;
        Server { address, child, data_dir, binary, environment, log, _own: own }
    }
}

impl Server {
    /// Its address, such as `http://127.0.0.1:40123`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address of a path, or the URL itself if it is whole already.
    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.address) }
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        text(&self.log)
    }

    /// A command of the same binary that speaks to this server.
    pub fn cli(&self) -> Command {
        let mut command = command(&self.binary);
        command.env("LARDER_SERVER", &self.address);
        command
    }

    /// A command of the same binary that opens this server's data directory itself, with the same
    /// environment.
    pub fn cli_beside(&self) -> Command {
        let mut command = command(&self.binary);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("LARDER_DATA_DIR", &self.data_dir);
        command
    }

    /// The most memory it ever held (`VmHWM`), in bytes.
    ///
    /// # Panics
    /// The process has ended, or this is no Linux.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.status_line("VmHWM:")
    }

    /// The memory that it holds (`VmRSS`), in bytes.
    ///
    /// # Panics
    /// The process has ended, or this is no Linux.
    pub fn memory_bytes(&self) -> u64 {
        self.status_line("VmRSS:")
    }

    fn status_line(&self, name: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of proc(5)");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        kilobytes * 1_024
    }

    /// Sends a signal by name, such as `TERM`.
    ///
    /// # Panics
    /// `kill` is not there.
    pub fn signal(&self, name: &str) {
        let told = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(told.expect("kill(1) is there").success(), "the server has ended already");
    }

    /// Tells it to stop and waits for its end; answers the exit code.
    ///
    /// # Panics
    /// It does not end in time.
    pub fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        let deadline = Instant::now() + STOPPED_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the server does not stop; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as a power cut would (SIGKILL).
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            // The log is half of what one needs to understand a failed test.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("log of the server at {}:\n{}\n", self.address, self.log()).as_bytes(),
            );
        }
    }
}

/// The binary with an environment that holds no setting of the person who runs the tests.
pub fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    let foreign = [
        "PORT",
        "DATABASE_URL",
        "MEDIA_",
        "USE_LOCAL_STORAGE",
        "IMAGE_",
        "ENABLE_IMAGE",
        "MAX_",
        "AWS_",
        "S3_",
        "MINIO_",
        "BUCKET_NAME",
        "CDN_BASE_URL",
        "CLOUDFRONT_DOMAIN",
    ];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("LARDER_") || foreign.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// What a finished command printed, for messages of tests.
pub fn printed(output: &Output) -> String {
    format!(
        "{}\nstdout:\n{}\nstderr:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn keep_log(stderr: impl Read + Send + 'static, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// Sends the first line; what follows is read away, so that the writer never blocks.
fn first_line(stdout: impl Read + Send + 'static) -> std::sync::mpsc::Receiver<String> {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        if let Some(line) = lines.next() {
            // Nobody waits any more if the time was over.
            let _ = send.send(line);
        }
        lines.for_each(drop);
    });
    receive
}

/// Waits for the line `… listens on <address>` of the log, and for the lines of the banner behind it.
fn address_in_banner(log: &Mutex<String>) -> Option<String> {
    let start = Instant::now();
    while start.elapsed() < READY_WITHIN {
        let so_far = text(log);
        if let Some((_, rest)) = so_far.split_once("listens on ")
            && rest.contains("\n  data ")
        {
            // The banner is one write; what is still on its way comes within this time.
            std::thread::sleep(Duration::from_millis(100));
            return rest.split([',', '\n']).next().map(str::to_owned);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

fn text(log: &Mutex<String>) -> String {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
