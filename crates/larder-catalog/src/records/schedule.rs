//! Schedules: jobs that come again and again.

use larder_core::Timestamp;
use serde_json::Value;

use crate::{
    db::{FromRow, Row, Statement, json},
    error::Result,
    page::bounded,
    reads::reads,
    tx::{Class, Tx},
};

/// A schedule. The cron expression is read by the scheduler, which computes the next firing.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleRecord {
    /// Its name.
    pub name: String,
    /// When it fires: a cron expression in UTC.
    pub cron: String,
    /// Kind of the job.
    pub kind: String,
    /// Arguments of the job.
    pub args: Value,
    /// When it fires next.
    pub next_at: Timestamp,
    /// When it last fired.
    pub last_at: Option<Timestamp>,
    /// Whether it fires at all.
    pub enabled: bool,
}

const SELECT: &str = "SELECT name, cron, kind, args, next_at, last_at, enabled FROM schedules ";

impl FromRow for ScheduleRecord {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.get("name")?,
            cron: row.get("cron")?,
            kind: row.get("kind")?,
            args: row.json("args")?,
            next_at: row.time("next_at")?,
            last_at: row.opt_time("last_at")?,
            enabled: row.flag("enabled")?,
        })
    }
}

reads! { Durable;
    /// The schedule of a name.
    one schedule(name: &str) -> ScheduleRecord = Statement::new(SELECT).push("WHERE name = ").bind(name);
    /// All schedules by name.
    many schedules() -> ScheduleRecord = Statement::new(SELECT).push("ORDER BY name");
    /// Schedules that are to fire, the most overdue first.
    many due_schedules(now: Timestamp, limit: u32) -> ScheduleRecord = Statement::new(SELECT)
        .push("WHERE enabled = 1").and("next_at <= ", now)
        .push(" ORDER BY next_at, name LIMIT ").bind(bounded(limit));
}

impl Tx {
    /// Inserts a schedule or changes it. The next firing stays as it is, unless the cron expression or
    /// `enabled` changed: a restart neither skips nor repeats one.
    pub async fn upsert_schedule(&mut self, schedule: &ScheduleRecord) -> Result<()> {
        let columns = vec![
            ("name", (&schedule.name).into()),
            ("cron", (&schedule.cron).into()),
            ("kind", (&schedule.kind).into()),
            ("args", json(&schedule.args)),
            ("next_at", schedule.next_at.into()),
            ("last_at", schedule.last_at.into()),
            ("enabled", schedule.enabled.into()),
        ];
        let upsert = Statement::insert("schedules", columns).push(
            " ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, args = excluded.args, \
             next_at = CASE WHEN schedules.cron = excluded.cron AND schedules.enabled = excluded.enabled \
             THEN schedules.next_at ELSE excluded.next_at END, \
             cron = excluded.cron, enabled = excluded.enabled",
        );
        self.execute(Class::Durable, upsert).await.map(drop)
    }

    /// Claims the firing at `schedule.next_at` and sets the next one. `false`: another process was
    /// faster; do nothing. Enqueue the job in the same transaction, and a firing happens exactly once.
    pub async fn claim_firing(&mut self, schedule: &ScheduleRecord, next_at: Timestamp) -> Result<bool> {
        let columns = vec![("last_at", self.now().into()), ("next_at", next_at.into())];
        let update = Statement::update("schedules", columns)
            .push(" WHERE enabled = 1")
            .and("name = ", &schedule.name)
            .and("next_at = ", schedule.next_at);
        Ok(self.execute(Class::Durable, update).await? == 1)
    }

    /// Removes a schedule. Answers whether there was one.
    pub async fn remove_schedule(&mut self, name: &str) -> Result<bool> {
        let delete = Statement::new("DELETE FROM schedules WHERE name = ").bind(name);
        Ok(self.execute(Class::Durable, delete).await? > 0)
    }
}
