//! A folder with databases and a bucket, and the program beside them.

use std::{
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use larder_testkit::server::{command, printed};
use rusqlite::Connection;

/// The program.
pub fn larder() -> Command {
    command(env!("CARGO_BIN_EXE_larder").as_ref())
}

/// A folder with databases, and a folder as their bucket.
pub struct Lab {
    folder: tempfile::TempDir,
    /// Where databases go; a folder unless it is set to something else.
    pub url: String,
    /// Environment of the program.
    pub environment: Vec<(String, String)>,
}

impl Lab {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("bucket").display().to_string();
        Self { folder, url, environment: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn open(&self, name: &str) -> Connection {
        let connection = Connection::open(self.path(name)).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
        connection
    }

    /// A database with rows.
    pub fn create(&self, name: &str, rows: u32) -> Connection {
        let connection = self.open(name);
        connection.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT); BEGIN;").unwrap();
        for row in 0..rows {
            connection
                .execute("INSERT INTO t(text) VALUES (?1)", [format!("row {row} ").repeat(20)])
                .unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        connection
    }

    pub fn add(&self, name: &str, text: &str) {
        self.open(name).execute("INSERT INTO t(text) VALUES (?1)", [text]).unwrap();
    }

    /// All rows; and the file is whole.
    pub fn rows(&self, name: &str) -> Vec<String> {
        let connection = self.open(name);
        let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "{name}");
        let mut rows = connection.prepare("SELECT text FROM t ORDER BY id").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// `larder db` in this folder.
    pub fn db(&self, arguments: &[&str]) -> Command {
        let mut command = larder();
        command.arg("db").args(arguments).current_dir(self.folder.path()).envs(self.environment.clone());
        command
    }

    /// Runs it, and expects this exit code.
    pub fn ends(&self, arguments: &[&str], code: i32) -> Output {
        let output = self.db(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", printed(&output));
        output
    }

    pub fn push(&self, name: &str) {
        self.ends(&["push", name, &self.url], 0);
    }

    pub fn pull(&self, name: &str) {
        self.ends(&["pull", &self.url, name], 0);
    }

    /// Starts it.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.db(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// What a command printed on standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
