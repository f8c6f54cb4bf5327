//! Answers that are replayed when a client repeats a request.

use larder_core::{Timestamp, UploadId};
use serde_json::Value;

use super::asset::changed_one;
use crate::{
    db::{FromRow, Row, Statement, json, opt_json},
    error::Result,
    page::bounded,
    reads::reads,
    tx::{Class, Tx},
    words::words,
};

words! {
    /// How far the first request of an idempotency key is.
    IdempotencyState {
        /// It has not been answered.
        Running = "running",
        /// Its answer is stored.
        Done = "done",
    }
}

/// A request that wants to run under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIdempotency {
    /// Who asks for what: credential and route.
    pub scope: String,
    /// The key that the client chose.
    pub key: String,
    /// Digest of the request's body.
    pub body_digest: String,
    /// How long the answer is replayed.
    pub expires_at: Timestamp,
    /// When a request that has not been answered counts as dead, so that its key can be used again.
    pub running_until: Timestamp,
}

/// The answer of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct IdempotencyAnswer {
    /// HTTP status.
    pub status: u16,
    /// Header fields to repeat, a JSON object.
    pub headers: Value,
    /// The body.
    pub body: Value,
    /// The upload that it made.
    pub upload_id: Option<UploadId>,
}

/// A request under an idempotency key.
#[derive(Debug, Clone, PartialEq)]
pub struct IdempotencyRecord {
    /// Who asked for what.
    pub scope: String,
    /// The key that the client chose.
    pub key: String,
    /// Digest of the first request's body.
    pub body_digest: String,
    /// How far it is.
    pub state: IdempotencyState,
    /// The answer, once it is done.
    pub answer: Option<IdempotencyAnswer>,
    /// When the first request came.
    pub created_at: Timestamp,
    /// Until when the key means this request.
    pub expires_at: Timestamp,
}

/// What an idempotency key means for a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// The request is the first: run it, then [finish](Tx::finish_idempotency) or
    /// [drop](Tx::drop_idempotency) the key.
    First,
    /// Another request came with the key; compare the digest, replay its answer or refuse.
    Existing(Box<IdempotencyRecord>),
}

const SELECT: &str = "SELECT scope, key, body_digest, state, status, headers, body, upload_id, created_at, \
    expires_at FROM idempotency ";

impl FromRow for IdempotencyRecord {
    fn from_row(row: &Row) -> Result<Self> {
        let status: Option<u16> = row.opt_count("status")?;
        let answer = match status {
            None => None,
            Some(status) => Some(IdempotencyAnswer {
                status,
                headers: row.opt_json("headers")?.unwrap_or(Value::Null),
                body: row.opt_json("body")?.unwrap_or(Value::Null),
                upload_id: row.opt_parse("upload_id")?,
            }),
        };
        Ok(Self {
            scope: row.get("scope")?,
            key: row.get("key")?,
            body_digest: row.get("body_digest")?,
            state: row.parse("state")?,
            answer,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
        })
    }
}

reads! { Durable;
    /// What is known under an idempotency key, expired or not.
    one idempotency(scope: &str, key: &str) -> IdempotencyRecord = Statement::new(SELECT)
        .push("WHERE 1 = 1").and("scope = ", scope).and("key = ", key);
}

impl Tx {
    /// Claims an idempotency key for a request, or answers the request that has it. A key whose time
    /// is over is free.
    pub async fn begin_idempotency(&mut self, new: &NewIdempotency) -> Result<Begun> {
        let now = self.now();
        let expired = Statement::new("DELETE FROM idempotency WHERE 1 = 1")
            .and("scope = ", &new.scope)
            .and("key = ", &new.key)
            .and("expires_at <= ", now);
        self.execute(Class::Durable, expired).await?;
        let columns = vec![
            ("scope", (&new.scope).into()),
            ("key", (&new.key).into()),
            ("body_digest", (&new.body_digest).into()),
            ("state", IdempotencyState::Running.into()),
            ("created_at", now.into()),
            ("expires_at", new.running_until.into()),
            ("answer_expires_at", new.expires_at.into()),
        ];
        let insert = Statement::insert("idempotency", columns).push(" ON CONFLICT DO NOTHING");
        if self.execute(Class::Durable, insert).await? == 1 {
            return Ok(Begun::First);
        }
        let found = self.idempotency(&new.scope, &new.key).await?;
        found.map(|record| Begun::Existing(Box::new(record))).ok_or_else(|| {
            // Only on PostgreSQL: it was there for the insert and was removed before the read.
            crate::Error::unavailable("the idempotency key changed hands at the same time")
        })
    }

    /// Stores the answer of the request that claimed the key; in the transaction of what it did, so
    /// that both are there or neither.
    ///
    /// # Errors
    /// [`Error::Precondition`](crate::Error::Precondition) if the key is not claimed by a request with
    /// this body.
    pub async fn finish_idempotency(
        &mut self,
        scope: &str,
        key: &str,
        body_digest: &str,
        answer: &IdempotencyAnswer,
    ) -> Result<()> {
        let columns = vec![
            ("state", IdempotencyState::Done.into()),
            ("status", answer.status.into()),
            ("headers", json(&answer.headers)),
            ("body", opt_json(&Some(&answer.body))),
            ("upload_id", answer.upload_id.into()),
        ];
        let update = Statement::update("idempotency", columns)
            .push(", expires_at = answer_expires_at WHERE state = 'running'")
            .and("scope = ", scope)
            .and("key = ", key)
            .and("body_digest = ", body_digest);
        changed_one(self.execute(Class::Durable, update).await?, || {
            "the idempotency key is no longer held by this request".to_owned()
        })
    }

    /// Frees the key of a request that failed in a way that repeating may cure.
    pub async fn drop_idempotency(&mut self, scope: &str, key: &str, body_digest: &str) -> Result<()> {
        let delete = Statement::new("DELETE FROM idempotency WHERE state = 'running'")
            .and("scope = ", scope)
            .and("key = ", key)
            .and("body_digest = ", body_digest);
        self.execute(Class::Durable, delete).await.map(drop)
    }

    /// Forgets keys whose time is over, at most `limit`; answers how many.
    pub async fn expire_idempotency(&mut self, limit: u32) -> Result<u64> {
        let now = self.now();
        let delete = Statement::new(
            "DELETE FROM idempotency WHERE (scope, key) IN (SELECT scope, key FROM idempotency \
             WHERE expires_at <= ",
        )
        .bind(now)
        .push(" ORDER BY expires_at LIMIT ")
        .bind(bounded(limit))
        // Not one that was begun anew since it was looked for.
        .push(") AND expires_at <= ")
        .bind(now);
        self.execute(Class::Durable, delete).await
    }
}
