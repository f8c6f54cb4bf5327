//! SQLite: two files, each with one writer and a pool of readers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use larder_core::Ambient;
use sqlx::{
    Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{Operation, Row, Statement, connection::fetch_sqlite, group::GroupWriter};
use crate::{
    catalog::Shared,
    error::{Error, Result},
    migrate,
    tx::Class,
};

/// How long a statement waits for another process of the machine that writes.
pub(super) const BUSY_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long SQLite itself waits in a writer that asks again and again. SQLite sleeps longer each time,
/// up to a tenth of a second, and so finds a lock taken that its holder gave up for a moment many
/// times: a second writer beside a busy one waited for seconds.
const BUSY_WAIT_OF_WRITER: Duration = Duration::from_millis(5);

/// Readers of one file. Reads take microseconds; four keep a slow list from blocking the others.
const READERS_MAX: u32 = 4;

/// A file of the catalogue and how it is opened.
#[derive(Debug, Clone)]
pub(crate) struct SqliteFile {
    path: PathBuf,
    class: Class,
}

impl SqliteFile {
    pub(crate) fn new(path: &Path, class: Class) -> Self {
        Self { path: path.to_owned(), class }
    }

    fn options(&self) -> SqliteConnectOptions {
        // FULL syncs the write-ahead log at every commit; NORMAL may lose the last commits with the
        // power, but never damages the file (SQLite, "PRAGMA synchronous").
        let synchronous = match self.class {
            Class::Durable => SqliteSynchronous::Full,
            Class::Ephemeral => SqliteSynchronous::Normal,
        };
        SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(BUSY_WAIT_MAX)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .pragma("journal_size_limit", "67108864")
            .statement_cache_capacity(256)
    }

    /// Opens a writing connection; makes the file when it is absent.
    pub(crate) async fn connect(&self) -> Result<SqliteConnection> {
        self.connect_with(self.options()).await
    }

    /// Opens the connection of a writer that asks again when the file is locked.
    pub(super) async fn connect_writer(&self) -> Result<SqliteConnection> {
        // A statement that changes many rows keeps what it changes until it has ended, to take it back if it
        // fails: as much as the rows themselves, for which a file would be made each time.
        let options = self.options().busy_timeout(BUSY_WAIT_OF_WRITER).pragma("temp_store", "memory");
        self.connect_with(options).await
    }

    /// While several processes switch a new file to WAL at once, SQLite answers "locked" without
    /// waiting; so this tries again for as long as any statement would wait.
    async fn connect_with(&self, options: SqliteConnectOptions) -> Result<SqliteConnection> {
        let options = options.create_if_missing(true);
        let start = Instant::now();
        loop {
            match SqliteConnection::connect_with(&options).await.map_err(Error::from) {
                Ok(connection) => return Ok(connection),
                Err(Error::Unavailable { .. }) if start.elapsed() < BUSY_WAIT_MAX && self.path.exists() => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(self.not_opened(error)),
            }
        }
    }

    fn not_opened(&self, error: Error) -> Error {
        let path = self.path.display();
        match error {
            Error::Unavailable { cause, .. } => Error::Unavailable {
                what: format!("{path} can't be opened: check that its directory exists and can be written"),
                cause,
            },
            Error::Corrupt { cause, .. } => {
                Error::Corrupt { what: format!("{path} is no undamaged SQLite file"), cause }
            }
            other => other,
        }
    }

    fn readers(&self) -> SqlitePool {
        let options = self.options().read_only(true);
        SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(BUSY_WAIT_MAX)
            // A file does not go away as a server does, and the question costs as much as a read.
            .test_before_acquire(false)
            .connect_lazy_with(options)
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// Moves a damaged file out of the way, over one that was moved before; answers where it lies.
    fn set_aside(&self) -> Result<PathBuf> {
        let with = |ending: &str| {
            let mut path = self.path.clone().into_os_string();
            path.push(ending);
            PathBuf::from(path)
        };
        let aside = with(".damaged");
        std::fs::rename(&self.path, &aside).map_err(sqlx::Error::Io)?;
        // They belong to the file that is gone, and would damage the new one.
        for rest in [with("-wal"), with("-shm")] {
            match std::fs::remove_file(&rest) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(sqlx::Error::Io(error).into());
                }
                _ => {}
            }
        }
        Ok(aside)
    }

    /// Where the snapshot before a migration lies: beside the file.
    pub(crate) fn snapshot_path(&self, version: i64) -> PathBuf {
        self.path.with_file_name(format!("catalog-before-{version}.db"))
    }
}

/// Both files.
pub(crate) struct SqliteDb {
    catalog: OpenFile,
    state: OpenFile,
}

struct OpenFile {
    file: SqliteFile,
    writer: GroupWriter,
    readers: SqlitePool,
}

impl OpenFile {
    fn start(file: SqliteFile, shared: &Arc<Shared>) -> Self {
        let writer = GroupWriter::start(file.clone(), file.class, Arc::clone(shared));
        let readers = file.readers();
        Self { file, writer, readers }
    }
}

impl SqliteDb {
    /// Opens both files. `state.db` may be lost at any time, so its tables are made here, while
    /// those of the catalogue wait for [`Catalog::migrate`](crate::Catalog::migrate).
    pub(crate) async fn open(
        catalog: &Path,
        state: &Path,
        ambient: &Ambient,
        shared: &Arc<Shared>,
    ) -> Result<Self> {
        let catalog = SqliteFile::new(catalog, Class::Durable);
        let state = SqliteFile::new(state, Class::Ephemeral);
        let mut connection = catalog.connect().await?;
        migrate::sqlite::refuse_newer(&mut connection).await?;
        connection.close().await?;
        match migrate::sqlite::migrate(&state, migrate::MIGRATIONS, ambient).await {
            // Nothing in it is worth a start that fails.
            Err(error @ Error::Corrupt { .. }) => {
                let aside = state.set_aside()?;
                tracing::warn!(%error, set_aside = %aside.display(), "a damaged file of passing state is made anew");
                migrate::sqlite::migrate(&state, migrate::MIGRATIONS, ambient).await?
            }
            migrated => migrated?,
        };
        Ok(Self { catalog: OpenFile::start(catalog, shared), state: OpenFile::start(state, shared) })
    }

    fn file(&self, class: Class) -> &OpenFile {
        match class {
            Class::Durable => &self.catalog,
            Class::Ephemeral => &self.state,
        }
    }

    /// The file of a class.
    pub(crate) fn sqlite_file(&self, class: Class) -> &SqliteFile {
        &self.file(class).file
    }

    pub(crate) async fn fetch(&self, class: Class, statement: Statement) -> Result<Vec<Row>> {
        fetch_sqlite(&self.file(class).readers, statement).await
    }

    pub(crate) async fn submit(&self, class: Class, operation: Box<dyn Operation>) {
        self.file(class).writer.submit(operation).await;
    }

    /// Closes the readers; the writers end with the last handle.
    pub(crate) async fn close(&self) {
        self.catalog.readers.close().await;
        self.state.readers.close().await;
    }
}
