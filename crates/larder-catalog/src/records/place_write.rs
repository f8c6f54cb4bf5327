//! Who may put bytes under a key at the moment.
//!
//! Bytes and record can't change in one step. So the writers of a key take turns: each holds the
//! key's row for a while, writes down what it is about to do before it does it, and proves in the
//! record's transaction that it still holds the row. Each taking raises the fence; a writer that was
//! asleep while another took the row fails that proof.

use larder_core::{BucketName, ObjectKey, Timestamp};
use serde_json::Value;

use super::asset::changed_one;
use crate::{
    db::{FromRow, Row, Statement, json},
    error::{Error, Result},
    page::bounded,
    reads::reads,
    tx::{Class, Tx},
};

/// The right to write under a key, as of one taking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The bucket.
    pub bucket: BucketName,
    /// The key, or a name of Larder's own ([`ObjectKey::own`]) for what has none.
    pub key: ObjectKey,
    /// Higher than that of every earlier writer of the key.
    pub number: i64,
}

/// A key's row: who writes, and what.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaceWrite {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The present fence.
    pub fence: i64,
    /// Who holds it; `None` if nobody does.
    pub holder: Option<String>,
    /// Until when it is held.
    pub expires_at: Timestamp,
    /// What the holder is about to do.
    pub intent: Option<Value>,
}

impl PlaceWrite {
    /// The right that belongs to the row as it is.
    pub fn fence(&self) -> Fence {
        Fence { bucket: self.bucket.clone(), key: self.key.clone(), number: self.fence }
    }
}

const SELECT: &str = "SELECT bucket, key, fence, holder, expires_at, intent FROM place_writes ";

impl FromRow for PlaceWrite {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            bucket: row.parse("bucket")?,
            key: ObjectKey::stored(&row.get::<String>("key")?)
                .map_err(|error| Error::corrupt(format!("column key holds no valid value: {error}")))?,
            fence: row.get("fence")?,
            holder: row.get("holder")?,
            expires_at: row.time("expires_at")?,
            intent: row.opt_json("intent")?,
        })
    }
}

reads! { Durable;
    /// The row of a key, held or not.
    one place_write(bucket: &BucketName, key: &ObjectKey) -> PlaceWrite = Statement::new(SELECT)
        .push("WHERE 1 = 1").and("bucket = ", bucket).and("key = ", key);
    /// Rows with an intent, overdue or not: for a start that knows which holders are dead.
    many place_writes_with_intent(limit: u32) -> PlaceWrite = Statement::new(SELECT)
        .push("WHERE intent IS NOT NULL ORDER BY expires_at, bucket, key LIMIT ").bind(bounded(limit));
    /// Rows of a bucket with an intent about bytes of this SHA-256, held or not.
    many place_writes_about(bucket: &BucketName, sha256: &str) -> PlaceWrite = Statement::new(SELECT)
        .push("WHERE intent IS NOT NULL").and("bucket = ", bucket)
        .and("intent LIKE ", format!("%{sha256}%")).push(" ORDER BY key LIMIT 1000");
    /// Rows whose holder is overdue with an intent: bytes may lie there without their record, or the
    /// other way round. For recovery, the most overdue first.
    many interrupted_place_writes(now: Timestamp, limit: u32) -> PlaceWrite = Statement::new(SELECT)
        .push("WHERE intent IS NOT NULL").and("expires_at <= ", now)
        .push(" ORDER BY expires_at, bucket, key LIMIT ").bind(bounded(limit));
}

impl Tx {
    /// Takes the row of a key for `holder` until `expires_at`. The intent of an overdue holder stays
    /// in the answer's row until [`Tx::set_place_intent`]: whoever takes it settles it first.
    ///
    /// # Errors
    /// [`Error::Precondition`] while another holds it.
    pub async fn take_place(
        &mut self,
        bucket: &BucketName,
        key: &ObjectKey,
        holder: &str,
        expires_at: Timestamp,
    ) -> Result<PlaceWrite> {
        let now = self.now();
        let columns = vec![
            ("bucket", bucket.into()),
            ("key", key.into()),
            // Rows of idle keys are forgotten. A new row's first fence is the time, and so higher than
            // any of a forgotten one.
            ("fence", now.into()),
            ("holder", holder.into()),
            ("expires_at", expires_at.into()),
        ];
        let take = Statement::insert("place_writes", columns)
            .push(
                " ON CONFLICT (bucket, key) DO UPDATE SET fence = place_writes.fence + 1, \
                 holder = excluded.holder, expires_at = excluded.expires_at \
                 WHERE place_writes.holder IS NULL OR place_writes.expires_at <= ",
            )
            .bind(now);
        let taken = self.execute(Class::Durable, take).await?;
        changed_one(taken, || format!("{bucket}/{key} is being written at this moment"))?;
        let row = self.place_write(bucket, key).await?;
        row.ok_or_else(|| Error::internal("a place's row vanished in its own transaction"))
    }

    /// Writes down what the holder is about to do; durable before the first byte moves.
    ///
    /// # Errors
    /// [`Error::Precondition`] if another writer took the row since.
    pub async fn set_place_intent(&mut self, fence: &Fence, intent: &Value) -> Result<()> {
        self.update_place(fence, vec![("intent", json(intent))]).await
    }

    /// Holds the row longer.
    ///
    /// # Errors
    /// [`Error::Precondition`] if another writer took the row since.
    pub async fn extend_place(&mut self, fence: &Fence, expires_at: Timestamp) -> Result<()> {
        self.update_place(fence, vec![("expires_at", expires_at.into())]).await
    }

    /// Fails unless the row is still held with this fence. Called in the transaction that commits the
    /// record: it locks the row, so nobody takes it before that transaction ends.
    ///
    /// # Errors
    /// [`Error::Precondition`] if another writer took the row since, or it was released.
    pub async fn confirm_place(&mut self, fence: &Fence) -> Result<()> {
        // A write, because that locks the row on PostgreSQL, too.
        self.update_place(fence, vec![("fence", fence.number.into())]).await
    }

    /// Gives the row back and forgets the intent. A later taking still gets a higher fence.
    ///
    /// # Errors
    /// [`Error::Precondition`] if another writer took the row since.
    pub async fn release_place(&mut self, fence: &Fence) -> Result<()> {
        let columns = vec![("holder", None::<&str>.into()), ("intent", None::<&str>.into())];
        self.update_place(fence, columns).await
    }

    /// Forgets rows that nobody has held since an instant, at most `limit`; answers how many. Fences
    /// rise all the same if that instant is well in the past: the first fence of a new row is the time
    /// in milliseconds, and no key is taken a thousand times a second for as long.
    pub async fn forget_idle_places(&mut self, before: Timestamp, limit: u32) -> Result<u64> {
        self.execute(Class::Durable, forget_idle(before, limit)).await
    }

    /// Takes the row away from a holder that is dead; its intent stays for whoever takes it next.
    ///
    /// # Errors
    /// [`Error::Precondition`] if another writer took the row since.
    pub async fn release_holder(&mut self, fence: &Fence) -> Result<()> {
        self.update_place(fence, vec![("holder", None::<&str>.into())]).await
    }

    async fn update_place(&mut self, fence: &Fence, columns: Vec<(&str, crate::db::Param)>) -> Result<()> {
        let update = Statement::update("place_writes", columns)
            .push(" WHERE holder IS NOT NULL")
            .and("bucket = ", &fence.bucket)
            .and("key = ", &fence.key)
            .and("fence = ", fence.number);
        changed_one(self.execute(Class::Durable, update).await?, || {
            format!("{}/{} was taken by another writer", fence.bucket, fence.key)
        })
    }
}

fn forget_idle(before: Timestamp, limit: u32) -> Statement {
    Statement::new(
        "DELETE FROM place_writes WHERE (bucket, key) IN (SELECT bucket, key FROM place_writes \
         WHERE holder IS NULL AND intent IS NULL",
    )
    .and("expires_at < ", before)
    .push(" ORDER BY expires_at LIMIT ")
    .bind(bounded(limit))
    // Not one that was taken since it was looked for.
    .push(") AND holder IS NULL AND intent IS NULL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::{plan, sqlite};

    #[tokio::test]
    async fn keys_are_forgotten_without_reading_all_of_them() {
        let (_directory, catalog) = sqlite().await;
        let plan = plan(&catalog, forget_idle(Timestamp::from_millis(1), 100)).await;
        assert!(plan.contains("place_writes_idle (expires_at<?)") && !plan.contains("SCAN"), "{plan}");
    }
}
