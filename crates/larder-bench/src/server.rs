//! Starts the servers that are measured, each as its own process.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cpu;
use crate::http::Connection;

/// Longest wait for a server to be there.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Pause between two looks whether a server is there: short beside what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A running server; it is ended with this.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
    /// From the start of the process to its first good answer.
    pub ready_after: Duration,
}

/// How `larder serve` is started.
#[derive(Default)]
pub struct Larder<'a> {
    /// The processor that it is bound to; all of them otherwise.
    pub core: Option<usize>,
    pub arguments: &'a [&'a str],
}

impl Larder<'_> {
    /// Starts the release build that lies beside this program.
    pub fn start(&self, data_dir: &Path) -> Result<Server> {
        let mut command = bound_to(self.core, &larder_program()?);
        let address = free_address()?;
        // The defaults are measured, not what is set around this program.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LARDER_"))
        {
            command.env_remove(name);
        }
        command
            .arg("serve")
            .args(self.arguments)
            .args(["--listen", &address.to_string()])
            .env("LARDER_DATA_DIR", data_dir)
            .env("LARDER_LOG__LEVEL", "warn");
        Server::start(command, address, |address| {
            let answer = Connection::open(address).and_then(|mut client| client.get("/readyz"));
            answer.is_ok()
        })
    }
}

impl Server {
    /// Starts a command that serves at `address` and waits until `is_ready`.
    pub fn start(
        mut command: Command,
        address: SocketAddr,
        is_ready: fn(SocketAddr) -> bool,
    ) -> Result<Self> {
        let begin = Instant::now();
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{:?} did not start", command.get_program()))?;
        let mut server = Self { process, address, ready_after: Duration::ZERO };
        while !is_ready(address) {
            if let Some(status) = server.process.try_wait()? {
                bail!("{:?} ended ({status})", command.get_program());
            }
            if begin.elapsed() > READY_WITHIN {
                bail!("{:?} did not get ready", command.get_program());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        server.ready_after = begin.elapsed();
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// CPU seconds of the server's processes so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu::seconds_of(&cpu::family(self.pid()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.process.try_wait() {
            return;
        }
        // The way servers are asked to stop; nginx passes it on to its worker.
        let pid = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        let stopped = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
        if let Some(Err(error)) = stopped {
            eprintln!("a server did not stop: {error}");
        }
        if let Err(error) = self.process.wait() {
            eprintln!("a server did not end: {error}");
        }
    }
}

/// A command that runs on one processor, by util-linux's `taskset`, which becomes that program.
pub fn bound_to(core: Option<usize>, program: &Path) -> Command {
    match core {
        None => Command::new(program),
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", &core.to_string()]).arg(program);
            command
        }
    }
}

/// An address that nobody listens on now.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Whether somebody listens there.
pub fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

/// The release build of `larder`, which `cargo xtask bench` made beside this program, or what
/// `LARDER_PROGRAM` names.
pub fn larder_program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("LARDER_PROGRAM") {
        return Ok(program.into());
    }
    let program = std::env::current_exe()?.with_file_name("larder");
    if !program.is_file() {
        bail!("{} is not there; call `cargo xtask bench`, which builds it", program.display());
    }
    Ok(program)
}
