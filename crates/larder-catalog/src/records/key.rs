//! API keys. Secrets are never stored, only their digests.

use larder_core::{Code, KeyId, Timestamp};
use serde_json::Value;

use super::asset::changed_one;
use crate::{
    db::{FromRow, Row, Statement, json},
    error::{Error, Result},
    reads::reads,
    tx::{Class, Tx},
};

/// An API key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRecord {
    /// Its public id.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the secret, 64 hex digits.
    pub secret_sha256: String,
    /// What it may do; read and checked by those who enforce it.
    pub scope: Value,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is no longer accepted.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The key that takes its place.
    pub rotated_to: Option<KeyId>,
}

impl KeyRecord {
    /// Whether it is accepted at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| now < expiry)
    }
}

const SELECT: &str =
    "SELECT id, name, secret_sha256, scope, created_at, expires_at, revoked_at, rotated_to FROM api_keys ";

impl FromRow for KeyRecord {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.parse("id")?,
            name: row.get("name")?,
            secret_sha256: row.get("secret_sha256")?,
            scope: row.json("scope")?,
            created_at: row.time("created_at")?,
            expires_at: row.opt_time("expires_at")?,
            revoked_at: row.opt_time("revoked_at")?,
            rotated_to: row.opt_parse("rotated_to")?,
        })
    }
}

reads! { Durable;
    /// The key of an id, whether active or not.
    one key(id: KeyId) -> KeyRecord = Statement::new(SELECT).push("WHERE id = ").bind(id);
    /// All keys, the newest first; at most 1,000.
    many keys() -> KeyRecord = Statement::new(SELECT).push("ORDER BY created_at DESC, id DESC LIMIT 1000");
}

impl crate::Catalog {
    /// How many keys were ever made, those that expired or were revoked included. None at all means
    /// that no key is configured.
    pub async fn keys_ever(&self) -> Result<u64> {
        let count = Statement::new("SELECT count(*) AS value FROM api_keys");
        Ok(self.first::<i64>(Class::Durable, count).await?.unwrap_or(0).unsigned_abs())
    }
}

impl Tx {
    /// Inserts a key.
    ///
    /// # Errors
    /// [`Error::Precondition`] if the id exists.
    pub async fn insert_key(&mut self, key: &KeyRecord) -> Result<()> {
        let columns = vec![
            ("id", key.id.into()),
            ("name", (&key.name).into()),
            ("secret_sha256", (&key.secret_sha256).into()),
            ("scope", json(&key.scope)),
            ("created_at", key.created_at.into()),
            ("expires_at", key.expires_at.into()),
            ("revoked_at", key.revoked_at.into()),
            ("rotated_to", key.rotated_to.into()),
        ];
        let insert = Statement::insert("api_keys", columns).push(" ON CONFLICT DO NOTHING");
        changed_one(self.execute(Class::Durable, insert).await?, || format!("key {} exists already", key.id))
    }

    /// Revokes a key at once.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a key; [`Error::Precondition`] if it is revoked already.
    pub async fn revoke_key(&mut self, id: KeyId) -> Result<()> {
        let update = Statement::update("api_keys", vec![("revoked_at", self.now().into())])
            .push(" WHERE revoked_at IS NULL")
            .and("id = ", id);
        let updated = self.execute(Class::Durable, update).await?;
        self.existing_key(id).await?;
        changed_one(updated, || format!("key {id} is revoked already"))
    }

    /// Names the successor of a key, which itself is accepted until `expires_at` only.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a key; [`Error::Precondition`] if it is revoked or has a
    /// successor.
    pub async fn rotate_key(&mut self, id: KeyId, to: KeyId, expires_at: Timestamp) -> Result<()> {
        let columns = vec![("rotated_to", to.into()), ("expires_at", expires_at.into())];
        let update = Statement::update("api_keys", columns)
            .push(" WHERE revoked_at IS NULL AND rotated_to IS NULL")
            .and("id = ", id);
        let updated = self.execute(Class::Durable, update).await?;
        self.existing_key(id).await?;
        changed_one(updated, || format!("key {id} is revoked or has a successor"))
    }

    async fn existing_key(&mut self, id: KeyId) -> Result<KeyRecord> {
        self.key(id).await?.ok_or_else(|| Error::not_found(Code::KeyNotFound, format!("key {id}")))
    }
}
