//! Which of many versions, or marks of versions, are kept: all of the last hours, then the last of each of some days and
//! weeks.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use larder_core::Timestamp;

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// All that are not older.
    pub keep: Duration,
    /// Of so many days before, the last of each that has one.
    pub daily: usize,
    /// Of so many weeks before, the last of each that has one.
    pub weekly: usize,
}

impl Default for Retention {
    /// 24 hours, 7 days, 4 weeks.
    fn default() -> Self {
        Self { keep: Duration::from_secs(24 * 3_600), daily: 7, weekly: 4 }
    }
}

impl Retention {
    /// Of those that are older than all that is kept anyway: the last of each day and week. Days begin at midnight UTC;
    /// of two in one period, the greater one is the last.
    pub(crate) fn last_of_periods<T: Ord + Copy>(
        &self,
        older: impl Iterator<Item = (T, Timestamp)> + Clone,
    ) -> BTreeSet<T> {
        let mut kept = BTreeSet::new();
        for (length, count) in [(DAY_MS, self.daily), (7 * DAY_MS, self.weekly)] {
            let mut periods: BTreeMap<i64, T> = BTreeMap::new();
            for (item, time) in older.clone() {
                let last = periods.entry(time.as_millis().div_euclid(length)).or_insert(item);
                *last = (*last).max(item);
            }
            kept.extend(periods.into_values().rev().take(count));
        }
        kept
    }

    /// Those that are not kept. The newest is the present: what stands still loses nothing.
    pub(crate) fn surplus<T: Ord + Copy>(&self, items: &[(T, Timestamp)]) -> Vec<T> {
        let Some(now) = items.iter().map(|(_, time)| *time).max() else { return Vec::new() };
        let older = items.iter().copied().filter(|(_, time)| now.since(*time) > self.keep);
        let kept = self.last_of_periods(older.clone());
        older.map(|(item, _)| item).filter(|item| !kept.contains(item)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600 * 1_000;

    /// One each hour, the last of them at hour `hours`.
    fn hourly(hours: i64) -> Vec<(i64, Timestamp)> {
        (0..=hours).map(|hour| (hour, Timestamp::from_millis(hour * HOUR_MS))).collect()
    }

    fn kept(hours: i64) -> Vec<i64> {
        let items = hourly(hours);
        let surplus = Retention::default().surplus(&items);
        items.into_iter().map(|(item, _)| item).filter(|item| !surplus.contains(item)).collect()
    }

    #[test]
    fn of_a_day_every_hour_is_kept_before_it_the_last_of_days_and_weeks() {
        assert_eq!(kept(24).len(), 25);
        // Noon of the 60th day.
        let now = 60 * 24 + 12;
        let kept = kept(now);
        let (recent, older): (Vec<i64>, Vec<i64>) = kept.iter().partition(|hour| **hour >= now - 24);
        assert_eq!(recent.len(), 25);
        let day = |day: i64| day * 24 + 23;
        // Two ends of weeks that are no ends of the last days; six whole days; the beginning of a day whose rest is kept
        // by the hour. The other two weeks end with two of these.
        let expected = [day(41), day(48), day(53), day(54), day(55), day(56), day(57), day(58)];
        assert_eq!(older, [&expected[..], &[59 * 24 + 11]].concat());
    }

    #[test]
    fn what_stands_still_loses_nothing_more() {
        let mut items = hourly(24 * 40);
        let surplus = Retention::default().surplus(&items);
        items.retain(|(item, _)| !surplus.contains(item));
        assert_eq!(Retention::default().surplus(&items), Vec::<i64>::new());
        assert_eq!(Retention::default().surplus::<i64>(&[]), Vec::<i64>::new());
    }
}
