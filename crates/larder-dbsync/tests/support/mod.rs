//! A store, local databases, and what both hold.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use larder_core::Ambient;
use larder_dbsync::{
    CollectOptions, CollectReport, Error, PullOptions, PullReport, PushOptions, PushReport, Remote, Result,
    Session, collect, pull, push, unwatched,
};
use larder_store::{ListOptions, MemoryStore, Store};
use rusqlite::Connection;

/// A store with a database, and a folder with local ones.
pub struct Lab {
    pub remote: Remote,
    pub folder: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new()))
    }

    pub fn over(store: Arc<dyn Store>) -> Self {
        Self::with_ambient(store, Ambient::system())
    }

    pub fn with_ambient(store: Arc<dyn Store>, ambient: Ambient) -> Self {
        let remote = Remote::new(store, "org-data/99", ambient).unwrap();
        Self { remote, folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn open(&self, name: &str) -> Connection {
        let connection = Connection::open(self.path(name)).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        connection
    }

    /// A database with a table of some rows.
    pub fn create(&self, name: &str, rows: u32) -> Connection {
        let connection = self.open(name);
        connection
            .execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX i ON t(text);")
            .unwrap();
        add_rows(&connection, rows);
        connection
    }

    pub async fn push(&self, name: &str) -> Result<PushReport> {
        push(&self.remote, &self.path(name), PushOptions::default(), &unwatched()).await
    }

    pub async fn push_by_force(&self, name: &str) -> Result<PushReport> {
        let options = PushOptions { force: true, ..PushOptions::default() };
        push(&self.remote, &self.path(name), options, &unwatched()).await
    }

    pub async fn pull(&self, name: &str) -> Result<PullReport> {
        self.pull_with(name, PullOptions::default()).await
    }

    pub async fn pull_with(&self, name: &str, options: PullOptions) -> Result<PullReport> {
        pull(&self.remote, &self.path(name), &options, &unwatched()).await
    }

    pub async fn session(&self) -> Session {
        Session::open(self.remote.clone(), None, false).await.unwrap()
    }

    pub async fn collect(&self, options: CollectOptions) -> Result<CollectReport> {
        let mut session = self.session().await;
        session.claim(&mut |_| Ok(())).await?;
        let report = collect(&mut session, &options).await?;
        session.release().await?;
        Ok(report)
    }

    /// The names and sizes of all objects.
    pub async fn objects(&self) -> Vec<(String, u64)> {
        let mut options = ListOptions::default();
        let mut objects = Vec::new();
        loop {
            let page = self.remote.store().list(options.clone()).await.unwrap();
            objects.extend(page.entries.into_iter().map(|entry| (entry.place.to_string(), entry.size_bytes)));
            match page.next {
                Some(next) => options.after = Some(next),
                None => return objects,
            }
        }
    }

    pub fn contents(&self, name: &str) -> String {
        contents(&self.path(name))
    }
}

pub fn add_rows(connection: &Connection, rows: u32) {
    connection.execute_batch("BEGIN").unwrap();
    for row in 0..rows {
        let text =
            format!("{row} {}", "the quick brown fox jumps over the lazy dog ".repeat(1 + row as usize % 5));
        connection.execute("INSERT INTO t(text) VALUES (?1)", [text]).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

/// Everything that a database holds, as text; and that it is whole.
pub fn contents(path: &Path) -> String {
    let connection = Connection::open(path).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok", "{}", path.display());
    let mut tables = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
    let tables: Vec<(String, Option<String>)> =
        tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(|row| row.unwrap()).collect();
    let mut text = String::new();
    for (name, sql) in tables {
        text += &format!("{name}: {sql:?}\n");
        if !sql.is_some_and(|sql| sql.starts_with("CREATE TABLE")) {
            continue;
        }
        let mut rows = connection.prepare(&format!("SELECT rowid, * FROM {name} ORDER BY rowid")).unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<String> = (0..columns).map(|at| value(row.get_ref(at).unwrap())).collect();
            text += &values.join("|");
            text.push('\n');
        }
    }
    text
}

pub fn is_diverged<T: std::fmt::Debug>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(Error::Diverged { .. }))
}

fn value(value: rusqlite::types::ValueRef<'_>) -> String {
    match value {
        rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}

/// A writer that holds the database.
pub async fn held(lab: &Lab) -> Session {
    let mut session = lab.session().await;
    session.claim(&mut |_| Ok(())).await.unwrap();
    session
}
