//! Buckets and their policies.

use larder_core::{BucketName, Timestamp};
use serde_json::Value;

use super::meta::MetaKind;
use crate::{
    db::{FromRow, Row, Statement, json},
    error::Result,
    reads::reads,
    tx::{Class, Tx},
};

/// A bucket. Its policy is read and checked by those who apply it.
#[derive(Debug, Clone, PartialEq)]
pub struct BucketRecord {
    /// Its name.
    pub name: BucketName,
    /// What it accepts, keeps and makes.
    pub policy: Value,
    /// Whether the configuration file defines it, which makes it read-only elsewhere.
    pub managed_by_file: bool,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const SELECT: &str = "SELECT name, policy, managed_by_file, created_at, updated_at FROM buckets ";

impl FromRow for BucketRecord {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.parse("name")?,
            policy: row.json("policy")?,
            managed_by_file: row.flag("managed_by_file")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

reads! { Durable;
    /// The bucket of a name.
    one bucket(name: &BucketName) -> BucketRecord = Statement::new(SELECT).push("WHERE name = ").bind(name);
    /// All buckets by name.
    many buckets() -> BucketRecord = Statement::new(SELECT).push("ORDER BY name");
}

impl Tx {
    /// Inserts a bucket or replaces its policy; the time of creation stays.
    pub async fn upsert_bucket(
        &mut self,
        name: &BucketName,
        policy: &Value,
        managed_by_file: bool,
    ) -> Result<()> {
        let now = self.now();
        let columns = vec![
            ("name", name.into()),
            ("policy", json(policy)),
            ("managed_by_file", managed_by_file.into()),
            ("created_at", now.into()),
            ("updated_at", now.into()),
        ];
        let upsert = Statement::insert("buckets", columns).push(
            " ON CONFLICT (name) DO UPDATE SET policy = excluded.policy, \
             managed_by_file = excluded.managed_by_file, updated_at = excluded.updated_at",
        );
        self.execute(Class::Durable, upsert).await?;
        self.mark_meta(MetaKind::Bucket, name).await
    }

    /// Removes a bucket's record and nothing that lies in it. Answers whether there was one.
    pub async fn remove_bucket(&mut self, name: &BucketName) -> Result<bool> {
        let delete = Statement::new("DELETE FROM buckets WHERE name = $1").with(name);
        self.mark_meta(MetaKind::Bucket, name).await?;
        Ok(self.execute(Class::Durable, delete).await? > 0)
    }

    /// Detaches the buckets that the configuration file no longer names: they stay as they are and can
    /// be changed elsewhere from now on. Answers how many.
    pub async fn detach_buckets_missing_from_file(&mut self, names: &[BucketName]) -> Result<u64> {
        let now = self.now();
        let update =
            Statement::update("buckets", vec![("managed_by_file", false.into()), ("updated_at", now.into())])
                .push(" WHERE managed_by_file = 1")
                .and_not_in("name", names);
        let detached = self.execute(Class::Durable, update).await?;
        if detached > 0 {
            for bucket in self.buckets().await? {
                self.mark_meta(MetaKind::Bucket, &bucket.name).await?;
            }
        }
        Ok(detached)
    }
}
