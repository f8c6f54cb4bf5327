//! A real PostgreSQL server for tests, and a fresh database on it for each.
//!
//! One server serves all test processes of a machine's user: nextest runs each test in a process
//! of its own, and a server for each would take longer than the tests. The first process starts it,
//! `supervise.sh` ends it some twenty seconds after the last one has gone, in whichever way that
//! went. `LARDER_TEST_POSTGRES=postgres://user@host:port/postgres` uses a given server instead.
//!
//! The server syncs as in production (`fsync`, `synchronous_commit`). A machine without PostgreSQL
//! fails these tests: leaving them out would let half of the catalogue go untested.

use std::{
    fs::{self, File, Permissions},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// Names a server to use instead of starting one.
pub const GIVEN_SERVER: &str = "LARDER_TEST_POSTGRES";

/// The programs that make and ask databases.
const CLIENTS: &[&str] = &["createdb", "dropdb", "psql"];

/// The programs that make and run a server.
const SERVERS: &[&str] = &["initdb", "postgres"];

/// How long a server may take to start: a loaded machine of two cores needs a few seconds.
const START_WITHIN: Duration = Duration::from_secs(60);

/// How often a port that was free is tried, since another process may take it in between.
const START_ATTEMPTS: usize = 5;

/// A database of a test's own, empty at first and dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    /// Where it is: `postgres://user@127.0.0.1:port/name`.
    pub url: String,
    name: String,
    server: &'static Server,
}

/// A fresh database on the shared server, which is started if it does not run.
///
/// # Panics
/// If there is no PostgreSQL, or it does not start.
pub async fn database() -> TestDatabase {
    tokio::task::spawn_blocking(database_blocking).await.expect("a server starts without a panic")
}

/// As [`database`], for tests without a runtime.
///
/// # Panics
/// As [`database`].
pub fn database_blocking() -> TestDatabase {
    let server = server();
    let name = format!("test_{:016x}", random());
    server.run("createdb", &["--template=template0", &name]).unwrap_or_else(|error| panic!("{error}"));
    let (base, _) = server.url.rsplit_once('/').expect("the address of a server has a path");
    TestDatabase { url: format!("{base}/{name}"), name, server }
}

impl TestDatabase {
    /// Runs SQL with `psql` and gives what it prints, columns parted by `|`.
    ///
    /// # Panics
    /// If it fails.
    pub fn psql(&self, sql: &str) -> String {
        self.server.psql(&self.url, sql).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for TestDatabase {
    /// Does not wait: dropping a database takes a checkpoint, and nothing depends on its end.
    fn drop(&mut self) {
        let maintenance = format!("--maintenance-db={}", self.server.url);
        let _ = self
            .server
            .program("dropdb")
            .args(["--force", "--if-exists", &maintenance, &self.name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
    }
}

#[derive(Debug)]
struct Server {
    /// The address of the database `postgres`.
    url: String,
    programs: PathBuf,
    /// Holds the shared lock for as long as the process lives.
    _lease: Option<File>,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var(GIVEN_SERVER) {
        Ok(url) => Server { url, programs: find_programs(CLIENTS), _lease: None },
        Err(_) => shared_server(find_programs(&[CLIENTS, SERVERS].concat()))
            .unwrap_or_else(|error| panic!("PostgreSQL for tests: {error}")),
    })
}

/// Takes part in the server of this user on this machine.
fn shared_server(programs: PathBuf) -> io::Result<Server> {
    let user = fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid());
    let folder = std::env::temp_dir().join(format!("larder-test-postgres-{user}"));
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, Permissions::from_mode(0o711))?;

    let lease = open_lock(&folder.join("lease"))?;
    lease.lock_shared()?;
    let starting = open_lock(&folder.join("starting"))?;
    starting.lock()?;

    let address = folder.join("address");
    if let Ok(url) = fs::read_to_string(&address) {
        let server = Server { url, programs: programs.clone(), _lease: None };
        if server.answers() {
            return Ok(Server { _lease: Some(lease), ..server });
        }
    }
    let server = (0..START_ATTEMPTS)
        .find_map(|_| start(&folder, &programs).transpose())
        .unwrap_or_else(|| Err(io::Error::other("every port was taken")))?;
    fs::write(&address, &server.url)?;
    Ok(Server { _lease: Some(lease), ..server })
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// Makes an empty cluster and removes those that a reboot left.
fn make_data(folder: &Path, programs: &Path) -> io::Result<PathBuf> {
    for old in fs::read_dir(folder)?.flatten() {
        if old.file_name().to_string_lossy().starts_with("data-") {
            let _ = fs::remove_dir_all(old.path()).or_else(|_| fs::remove_file(old.path()));
        }
    }
    let data = folder.join(format!("data-{:016x}", random()));
    fs::create_dir(&data)?;
    if let Some(user) = Demotion::needed()? {
        chown(&data, Some(user.uid), Some(user.gid))?;
    }
    let output = unprivileged(&programs.join("initdb"))?
        .args(["--auth=trust", "--username=larder", "--encoding=UTF8", "--locale=C", "--no-sync"])
        .args(["--no-instructions", "--pgdata"])
        .arg(&data)
        .current_dir("/")
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("initdb: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(data)
}

/// Starts a server with new data on a free port; `None` if that was taken meanwhile.
fn start(folder: &Path, programs: &Path) -> io::Result<Option<Server>> {
    let data = &make_data(folder, programs)?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let url = format!("postgres://larder@127.0.0.1:{port}/postgres");
    let server = unprivileged(&programs.join("postgres"))?;
    let mut supervisor = Command::new("sh")
        .args(["-c", include_str!("supervise.sh"), "supervise.sh"])
        .args([folder, data.as_path()])
        .arg(&url)
        .arg(server.get_program())
        .args(server.get_args())
        .arg("-D")
        .arg(data)
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""])
        .args(["-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "max_connections=300"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own: what kills a test must not kill the server of the others.
        .process_group(0)
        .spawn()?;

    let server = Server { url, programs: programs.to_owned(), _lease: None };
    let started = Instant::now();
    while started.elapsed() < START_WITHIN {
        if server.answers() {
            return Ok(Some(server));
        }
        let log = fs::read_to_string(data.with_extension("log")).unwrap_or_default();
        if log.contains("Address already in use") {
            supervisor.wait()?;
            return Ok(None);
        }
        if supervisor.try_wait()?.is_some() {
            return Err(io::Error::other(format!("the server ended:\n{log}")));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(io::Error::other(format!("the server did not answer within {} s", START_WITHIN.as_secs())))
}

impl Server {
    fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }

    fn answers(&self) -> bool {
        self.psql(&self.url, "SELECT 1").is_ok()
    }

    fn psql(&self, url: &str, sql: &str) -> io::Result<String> {
        let mut command = self.program("psql");
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        output_of(command.arg("--command").arg(sql).arg(url))
    }

    /// Runs one of the client programs against the server.
    fn run(&self, name: &str, arguments: &[&str]) -> io::Result<String> {
        let maintenance = format!("--maintenance-db={}", self.url);
        output_of(self.program(name).arg(maintenance).args(arguments))
    }
}

fn output_of(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let program = command.get_program().display();
    Err(io::Error::other(format!("{program}: {}", String::from_utf8_lossy(&output.stderr))))
}

/// The folder that has these programs: on `PATH`, else where Debian puts them.
fn find_programs(wanted: &[&str]) -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&on_path).collect();
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev().map(|version| version.join("bin")));
    folders.into_iter().find(|folder| wanted.iter().all(|name| folder.join(name).is_file())).expect(
        "PostgreSQL is needed by this test and was not found: install it (Debian: apt-get install \
             postgresql-15; `cargo xtask test` does so when run as root)",
    )
}

/// The user to whom PostgreSQL is handed, since it refuses to run as root.
#[derive(Debug)]
struct Demotion {
    name: String,
    uid: u32,
    gid: u32,
}

impl Demotion {
    /// The user to become; `None` for a process that is not root.
    fn needed() -> io::Result<Option<Self>> {
        if fs::metadata("/proc/self")?.uid() != 0 {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd")?;
        let found = ["postgres", "nobody"].iter().find_map(|name| Self::of(&users, name));
        found.map(Some).ok_or_else(|| io::Error::other("neither user \"postgres\" nor \"nobody\" exists"))
    }

    fn of(users: &str, name: &str) -> Option<Self> {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Self {
            name: name.to_owned(),
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    }
}

/// A command that runs `program` as somebody other than root.
fn unprivileged(program: &Path) -> io::Result<Command> {
    let Some(Demotion { name, gid, .. }) = Demotion::needed()? else {
        return Ok(Command::new(program));
    };
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={name}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
    command.arg(program);
    Ok(command)
}

/// A number that no other process draws; a fresh `RandomState` is seeded by the system.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_database_is_empty_and_its_own() {
        let (one, two) = (database().await, database().await);
        one.psql("CREATE TABLE t (n int)");
        assert_eq!(one.psql("SELECT count(*) FROM t"), "0");
        assert_eq!(two.psql("SELECT to_regclass('t') IS NULL"), "t");
    }

    #[tokio::test]
    async fn the_server_syncs_as_in_production() {
        let database = database().await;
        assert_eq!(database.psql("SHOW fsync"), "on");
        assert_eq!(database.psql("SHOW synchronous_commit"), "on");
    }

    #[test]
    fn the_user_of_a_demotion_is_read_from_the_list_of_users() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres:x:101:104::/var:/bin/sh\n";
        let user = Demotion::of(users, "postgres").unwrap();
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(Demotion::of(users, "post").is_none());
    }
}
