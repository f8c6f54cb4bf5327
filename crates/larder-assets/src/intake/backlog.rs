//! How many uploads may wait in a bucket before more are refused.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use larder_core::{BucketName, Code, Fault};

use crate::{buckets::Bucket, larder::Larder};

/// How old a count may be while it is far from the limit. Counting thousands of waiting jobs for each
/// upload would cost more than the upload; nobody waits long enough in this time to matter.
const FRESH_FOR: Duration = Duration::from_millis(250);

/// What was counted lately, with what was let through since.
#[derive(Debug, Default)]
pub(crate) struct Backlogs(Mutex<HashMap<BucketName, Counted>>);

#[derive(Debug)]
struct Counted {
    at: Instant,
    waiting: u64,
}

impl Backlogs {
    /// Lets one more through on the strength of a fresh count, if that is no more than half of the
    /// limit: nearer to it only a new count decides.
    fn lets_through(&self, bucket: &BucketName, limit: u64) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(bucket) {
            Some(counted) if counted.at.elapsed() < FRESH_FOR && counted.waiting < limit / 2 => {
                counted.waiting += 1;
                true
            }
            _ => false,
        }
    }

    fn note(&self, bucket: &BucketName, waiting: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Names come from records of buckets, so there are no more entries than buckets.
        counts.insert(bucket.clone(), Counted { at: Instant::now(), waiting });
    }
}

impl Larder {
    /// Refuses an upload to a bucket in which too many wait already. Work that Larder gave itself,
    /// such as a backfill, does not count.
    pub(crate) async fn check_backlog(&self, bucket: &Bucket) -> Result<(), Fault> {
        let limit = bucket.policy.backlog_max;
        if self.backlogs().lets_through(&bucket.name, limit) {
            return Ok(());
        }
        let at_most = u32::try_from(limit).unwrap_or(u32::MAX);
        let counted = self.catalog().backlog(&bucket.name, at_most).await?;
        let waiting = counted.unwrap_or_default().unsigned_abs();
        self.backlogs().note(&bucket.name, waiting);
        if waiting < limit {
            return Ok(());
        }
        Err(Fault::new(Code::BacklogFull, format!("{waiting} uploads wait in the bucket {}", bucket.name))
            .remedy("send again after the time in Retry-After, or start more workers"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_count_lets_through_up_to_half_of_the_limit() {
        let (backlogs, bucket) = (Backlogs::default(), "media".parse().unwrap());
        assert!(!backlogs.lets_through(&bucket, 10), "nothing was counted yet");
        backlogs.note(&bucket, 3);
        let through = (0..10).filter(|_| backlogs.lets_through(&bucket, 10)).count();
        assert_eq!(through, 2, "3 and 4 wait; from 5 on it is counted anew");
        backlogs.note(&bucket, 0);
        assert!(!backlogs.lets_through(&bucket, 1), "small limits are always counted");
    }
}
