//! The server `moto`, shared by the tests of this user on this machine.

use std::{
    fs::{self, File},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use larder_store::{Profile, S3Options};

use super::key;

/// Names the program `moto_server`, where it lies elsewhere than `cargo xtask test` puts it.
const GIVEN_PROGRAM: &str = "LARDER_MOTO";

const START_WITHIN: Duration = Duration::from_secs(60);

/// A bucket of its own.
///
/// # Panics
/// The server is not installed or does not start.
pub fn bucket() -> S3Options {
    let endpoint = server();
    let name = format!("test-{:016x}", RandomState::new().build_hasher().finish());
    let mut options = S3Options::new(Profile::Minio, &name, key());
    options.endpoint = Some(endpoint.parse().unwrap());
    put(endpoint, &format!("/{name}")).unwrap_or_else(|error| panic!("a bucket of moto: {error}"));
    options
}

fn server() -> &'static str {
    static SERVER: OnceLock<(String, File)> = OnceLock::new();
    let (url, _) = SERVER.get_or_init(|| shared().unwrap_or_else(|error| panic!("moto for tests: {error}")));
    url
}

/// Takes part in the server: whoever comes first starts it, and it ends when nobody holds its lease any more.
fn shared() -> io::Result<(String, File)> {
    let user = fs::metadata("/proc/self")?.uid();
    let folder = std::env::temp_dir().join(format!("larder-test-moto-{user}"));
    fs::create_dir_all(&folder)?;
    let open = |name: &str| File::options().create(true).append(true).open(folder.join(name));
    let lease = open("lease")?;
    lease.lock_shared()?;
    let starting = open("starting")?;
    starting.lock()?;
    let address = folder.join("address");
    if let Ok(url) = fs::read_to_string(&address)
        && answers(&url)
    {
        return Ok((url, lease));
    }
    let url = start(&folder)?;
    fs::write(&address, &url)?;
    Ok((url, lease))
}

fn start(folder: &Path) -> io::Result<String> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let url = format!("http://127.0.0.1:{port}");
    let data = folder.join(format!("data-{port}"));
    let mut supervisor = Command::new("sh")
        .args(["-c", include_str!("../supervise.sh"), "supervise.sh"])
        .args([folder, data.as_path()])
        .arg(&url)
        .arg(program()?)
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own: what kills a test must not kill the server of the others.
        .process_group(0)
        .spawn()?;
    let started = Instant::now();
    while started.elapsed() < START_WITHIN {
        if answers(&url) {
            return Ok(url);
        }
        if supervisor.try_wait()?.is_some() {
            let log = fs::read_to_string(data.with_extension("log")).unwrap_or_default();
            return Err(io::Error::other(format!("the server ended:\n{log}")));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(io::Error::other(format!("the server did not answer within {} s", START_WITHIN.as_secs())))
}

/// Where `cargo xtask test` installs it: beside what is built.
fn program() -> io::Result<PathBuf> {
    if let Some(given) = std::env::var_os(GIVEN_PROGRAM) {
        return Ok(given.into());
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let program = target.join("tools/moto/bin/moto_server");
    if program.is_file() {
        return Ok(program);
    }
    Err(io::Error::other(format!(
        "{} is missing: `cargo xtask test` installs it, or name the program in {GIVEN_PROGRAM}",
        program.display()
    )))
}

fn answers(url: &str) -> bool {
    request(url, "GET", "/moto-api/").is_ok_and(|status| status < 500)
}

/// A request without body and signature.
fn put(url: &str, path: &str) -> io::Result<()> {
    match request(url, "PUT", path)? {
        200 => Ok(()),
        status => Err(io::Error::other(format!("PUT {path}: {status}"))),
    }
}

fn request(url: &str, method: &str, path: &str) -> io::Result<u16> {
    let host = url.strip_prefix("http://").unwrap_or(url);
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let status = std::str::from_utf8(&head[9..]).map_err(io::Error::other)?;
    status.parse().map_err(io::Error::other)
}
