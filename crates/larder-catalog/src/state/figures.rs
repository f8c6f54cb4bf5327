//! What was answered for each bucket, by the hour.
//!
//! Servers gather in memory and add here every few seconds, so that a process that dies takes no more than
//! these seconds along.

use larder_core::Timestamp;

use crate::{
    catalog::Catalog,
    db::{FromRow, Row, Statement},
    error::Result,
    tx::Class,
};

/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;

/// What was answered for a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFigures {
    /// The bucket.
    pub bucket: String,
    /// Requests that were answered.
    pub requests: u64,
    /// Those of them that were answered with 4xx.
    pub refused: u64,
    /// Those of them that were answered with 5xx.
    pub failed: u64,
    /// Bytes of bodies.
    pub bytes_out: u64,
    /// How long they took: the most in microseconds, and how many took that long and longer than the one
    /// before. In order.
    pub times: Vec<(u64, u64)>,
}

struct Sum {
    figures: RequestFigures,
    since: Timestamp,
}

impl FromRow for Sum {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            figures: RequestFigures {
                bucket: row.get("bucket")?,
                requests: row.count("requests")?,
                refused: row.count("refused")?,
                failed: row.count("failed")?,
                bytes_out: row.count("bytes_out")?,
                times: Vec::new(),
            },
            since: row.time("since")?,
        })
    }
}

struct Time {
    bucket: String,
    up_to_us: u64,
    requests: u64,
}

impl FromRow for Time {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            bucket: row.get("bucket")?,
            up_to_us: row.count("up_to_us")?,
            requests: row.count("requests")?,
        })
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Catalog {
    /// Adds to the figures of the present hour.
    pub async fn add_request_figures(&self, figures: Vec<RequestFigures>) -> Result<()> {
        let now = self.ambient().now().as_millis();
        let hour = now - now.rem_euclid(HOUR_MS);
        self.commit(Class::Ephemeral, move |tx| {
            Box::pin(async move {
                for of in figures {
                    let columns = vec![
                        ("bucket", (&of.bucket).into()),
                        ("hour_at", hour.into()),
                        ("requests", number(of.requests).into()),
                        ("refused", number(of.refused).into()),
                        ("failed", number(of.failed).into()),
                        ("bytes_out", number(of.bytes_out).into()),
                    ];
                    let add = Statement::insert("request_figures", columns).push(
                        " ON CONFLICT (bucket, hour_at) DO UPDATE SET \
                         requests = request_figures.requests + excluded.requests, \
                         refused = request_figures.refused + excluded.refused, \
                         failed = request_figures.failed + excluded.failed, \
                         bytes_out = request_figures.bytes_out + excluded.bytes_out",
                    );
                    tx.execute(Class::Ephemeral, add).await?;
                    for (up_to_us, requests) in of.times {
                        let columns = vec![
                            ("bucket", (&of.bucket).into()),
                            ("hour_at", hour.into()),
                            ("up_to_us", number(up_to_us).into()),
                            ("requests", number(requests).into()),
                        ];
                        let add = Statement::insert("request_times", columns).push(
                            " ON CONFLICT (bucket, hour_at, up_to_us) DO UPDATE SET \
                             requests = request_times.requests + excluded.requests",
                        );
                        tx.execute(Class::Ephemeral, add).await?;
                    }
                }
                Ok(())
            })
        })
        .await
    }

    /// The figures of each bucket since an instant, by bucket, and the hour with which they begin.
    pub async fn request_figures(&self, since: Timestamp) -> Result<Vec<(RequestFigures, Timestamp)>> {
        let sums = Statement::new(
            "SELECT bucket, CAST(sum(requests) AS BIGINT) AS requests, CAST(sum(refused) AS BIGINT) AS refused, \
             CAST(sum(failed) AS BIGINT) AS failed, CAST(sum(bytes_out) AS BIGINT) AS bytes_out, \
             min(hour_at) AS since FROM request_figures WHERE 1 = 1",
        )
        .and("hour_at >= ", since)
        .push(" GROUP BY bucket ORDER BY bucket");
        let times = Statement::new(
            "SELECT bucket, up_to_us, CAST(sum(requests) AS BIGINT) AS requests FROM request_times WHERE 1 = 1",
        )
        .and("hour_at >= ", since)
        .push(" GROUP BY bucket, up_to_us ORDER BY bucket, up_to_us");
        let sums = self.rows::<Sum>(Class::Ephemeral, sums).await?;
        let times = self.rows::<Time>(Class::Ephemeral, times).await?;
        Ok(sums
            .into_iter()
            .map(|Sum { mut figures, since }| {
                let of_it = times.iter().filter(|time| time.bucket == figures.bucket);
                figures.times = of_it.map(|time| (time.up_to_us, time.requests)).collect();
                (figures, since)
            })
            .collect())
    }

    /// Forgets the figures of hours before an instant.
    pub async fn forget_request_figures(&self, before: Timestamp) -> Result<()> {
        self.commit(Class::Ephemeral, move |tx| {
            Box::pin(async move {
                for delete in
                    ["DELETE FROM request_figures WHERE 1 = 1", "DELETE FROM request_times WHERE 1 = 1"]
                {
                    tx.execute(Class::Ephemeral, Statement::new(delete).and("hour_at < ", before)).await?;
                }
                Ok(())
            })
        })
        .await
    }
}
