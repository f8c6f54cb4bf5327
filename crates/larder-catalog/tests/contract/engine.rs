//! A fresh catalogue on either engine, with a clock that the test moves.

use std::{sync::Arc, time::Duration};

use larder_catalog::{
    AssetRecord, AssetStatus, Catalog, Class, Result, Target, Tx, UploadRecord, UploadStatus,
};
use larder_core::{Ambient, AssetId, BucketName, ManualClock, ObjectKey, Timestamp, UploadId};
use larder_testkit::postgres::TestDatabase;
use serde_json::json;
use sqlx::{Connection as _, Row as _};

/// When every test begins: 2026-03-01T12:00:00Z.
pub const START: Timestamp = Timestamp::from_millis(1_772_366_400_000);

/// What keeps the database of a test alive.
enum Home {
    Sqlite(tempfile::TempDir),
    Postgres(TestDatabase),
}

/// A migrated catalogue of its own for one test.
pub struct Engine {
    pub catalog: Catalog,
    pub clock: Arc<ManualClock>,
    pub ambient: Ambient,
    pub target: Target,
    home: Home,
}

impl Engine {
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let target = sqlite_target(directory.path());
        Self::new(target, Home::Sqlite(directory)).await
    }

    pub async fn postgres() -> Self {
        let database = larder_testkit::postgres::database().await;
        let target = Target::from_url(&database.url).expect("the test database's address");
        Self::new(target, Home::Postgres(database)).await
    }

    async fn new(target: Target, home: Home) -> Self {
        let clock = ManualClock::at(START);
        let ambient = Ambient::repeatable(Arc::clone(&clock), 1);
        let catalog = Catalog::open(&target, ambient.clone()).await.expect("the catalogue opens");
        catalog.migrate().await.expect("the catalogue migrates");
        Self { catalog, clock, ambient, target, home }
    }

    /// A second handle, as another process has it.
    pub async fn other_process(&self) -> Catalog {
        let ambient = Ambient::new(self.clock.clone(), Arc::new(SystemEntropy));
        Catalog::open(&self.target, ambient).await.expect("the catalogue opens a second time")
    }

    /// How SQLite runs a statement.
    pub async fn explain(&self, sql: &'static str) -> String {
        let Home::Sqlite(directory) = &self.home else { panic!("only SQLite explains itself in words") };
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.path().join("catalog.db"));
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.expect("the file opens");
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sqlx::query(explain).fetch_all(&mut connection).await.expect("a plan");
        rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("; ")
    }

    /// Runs SQL behind the catalogue's back.
    pub async fn tamper(&self, sql: &'static str) {
        match &self.home {
            Home::Sqlite(directory) => {
                let file = directory.path().join("catalog.db");
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
                let mut connection =
                    sqlx::SqliteConnection::connect_with(&options).await.expect("the file opens");
                sqlx::raw_sql(sql).execute(&mut connection).await.expect("the SQL runs");
            }
            Home::Postgres(database) => {
                database.psql(&format!("SET search_path TO larder; {sql}"));
            }
        }
    }

    pub fn now(&self) -> Timestamp {
        self.ambient.now()
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Commits one durable transaction.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> futures::future::BoxFuture<'t, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.catalog.commit(Class::Durable, work).await
    }

    /// An asset that is stored nowhere yet.
    pub fn asset(&self, bucket_name: &str, key_text: &str) -> AssetRecord {
        AssetRecord {
            id: AssetId::new(&self.ambient),
            bucket: bucket(bucket_name),
            key: key(key_text),
            version: 1,
            status: AssetStatus::Processing,
            store: "main".into(),
            place: format!("{bucket_name}/{key_text}"),
            fingerprint: "17-1-5".into(),
            size_bytes: 5,
            sha256: "ab".repeat(32),
            md5: "cd".repeat(16),
            content_type: "image/jpeg".into(),
            original_filename: Some("Été \"1\".jpg".into()),
            owner: Some("user-1".into()),
            metadata: json!({"a": [1, "zwei", null]}),
            tags: vec!["holiday".into(), "100%".into()],
            width_px: Some(4_000),
            height_px: Some(3_000),
            frames: Some(1),
            has_gps: true,
            description: Some(json!({"blurhash": "LEHV6nWB2yk8"})),
            perceptual_hash: Some(-3),
            created_at: self.now(),
            written_at: self.now(),
            updated_at: self.now(),
            expires_at: None,
            deleted_at: None,
            trash_place: None,
        }
    }

    /// Stores an asset.
    pub async fn stored_asset(&self, bucket_name: &str, key_text: &str) -> AssetRecord {
        let asset = self.asset(bucket_name, key_text);
        let copy = asset.clone();
        self.write(move |tx| Box::pin(async move { tx.insert_asset(&copy).await })).await.expect("an insert");
        asset
    }

    /// An upload that is stored nowhere yet.
    pub fn upload(&self, bucket_name: &str) -> UploadRecord {
        UploadRecord {
            id: UploadId::new(&self.ambient),
            bucket: bucket(bucket_name),
            key: None,
            status: UploadStatus::Pending,
            stage: "receiving".into(),
            progress_percentage: 0,
            bytes_received: 0,
            bytes_total: Some(12),
            error: None,
            asset_id: None,
            asset_version: None,
            staging_place: Some(".larder/staging/1".into()),
            staging_store: "local".into(),
            sha256: None,
            md5: None,
            size_bytes: None,
            content_type: None,
            declared_type: Some("image/png".into()),
            original_filename: Some("x.png".into()),
            owner: None,
            metadata: json!({}),
            tags: Vec::new(),
            door: "form".into(),
            credential: None,
            created_at: self.now(),
            updated_at: self.now(),
            expires_at: self.now().plus(Duration::from_secs(86_400)),
            asset_expires_at: None,
            finished_at: None,
        }
    }

    /// Stores an upload.
    pub async fn stored_upload(&self, bucket_name: &str) -> UploadRecord {
        let upload = self.upload(bucket_name);
        let copy = upload.clone();
        self.write(move |tx| Box::pin(async move { tx.insert_upload(&copy).await }))
            .await
            .expect("an insert");
        upload
    }
}

struct SystemEntropy;

impl larder_core::Entropy for SystemEntropy {
    fn fill(&self, target: &mut [u8]) {
        for chunk in target.chunks_mut(16) {
            let bytes = Ambient::system().random_bytes::<16>();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

pub fn sqlite_target(directory: &std::path::Path) -> Target {
    Target::Sqlite { catalog: directory.join("catalog.db"), state: directory.join("state.db") }
}

pub fn bucket(name: &str) -> BucketName {
    name.parse().expect("a bucket name")
}

pub fn key(text: &str) -> ObjectKey {
    text.parse().expect("a key")
}

/// Makes each function a test on SQLite and one on PostgreSQL.
macro_rules! for_each_engine {
    ($($name:ident,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::engine::Engine::sqlite().await).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::engine::Engine::postgres().await).await; })*
        }
    };
}

pub(crate) use for_each_engine;
