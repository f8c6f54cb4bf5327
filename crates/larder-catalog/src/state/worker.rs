//! Workers that are there, for people to see. Nothing is decided by this list.

use larder_core::Timestamp;

use crate::{
    catalog::Catalog,
    db::{FromRow, Row, Statement, json},
    error::Result,
    tx::Class,
};

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Its id, new at each start.
    pub id: String,
    /// Name of its machine.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// The queues that it takes jobs from.
    pub queues: Vec<String>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it was last heard of.
    pub seen_at: Timestamp,
}

impl FromRow for WorkerRecord {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            host: row.get("host")?,
            pid: row.count("pid")?,
            queues: row.json("queues")?,
            started_at: row.time("started_at")?,
            seen_at: row.time("seen_at")?,
        })
    }
}

impl Catalog {
    /// Lists a worker, or says that it is still there; `seen_at` is set to now.
    pub async fn report_worker(&self, worker: &WorkerRecord) -> Result<()> {
        let columns = vec![
            ("id", (&worker.id).into()),
            ("host", (&worker.host).into()),
            ("pid", worker.pid.into()),
            ("queues", json(&worker.queues)),
            ("started_at", worker.started_at.into()),
            ("seen_at", self.ambient().now().into()),
        ];
        let upsert = Statement::insert("workers", columns)
            .push(" ON CONFLICT (id) DO UPDATE SET queues = excluded.queues, seen_at = excluded.seen_at");
        self.ephemeral(upsert).await.map(drop)
    }

    /// Takes a worker that stops off the list.
    pub async fn remove_worker(&self, id: &str) -> Result<()> {
        self.ephemeral(Statement::new("DELETE FROM workers WHERE id = ").bind(id)).await.map(drop)
    }

    /// Workers that were heard of since an instant, the longest running first.
    pub async fn workers(&self, seen_since: Timestamp) -> Result<Vec<WorkerRecord>> {
        let select = Statement::new(
            "SELECT id, host, pid, queues, started_at, seen_at FROM workers WHERE seen_at >= ",
        )
        .bind(seen_since)
        .push(" ORDER BY started_at, id");
        self.rows(Class::Ephemeral, select).await
    }

    /// One ephemeral statement in a transaction of its own.
    pub(crate) async fn ephemeral(&self, statement: Statement) -> Result<u64> {
        self.commit(Class::Ephemeral, move |tx| Box::pin(tx.execute(Class::Ephemeral, statement))).await
    }
}
