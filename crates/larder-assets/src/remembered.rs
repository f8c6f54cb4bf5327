//! Records that were looked up lately: what spares a request the catalogue.
//!
//! A remembered record is at most [`FRESH_FOR`] old, which covers changes by other processes. Changes
//! by this process are seen at once: whoever changes a record forgets it afterwards, and a lookup that
//! was under way at that moment is not remembered, since it may have read the record before the change.

use std::{
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quick_cache::{Equivalent, sync::Cache};

/// How old a remembered record may be; stated in SEMANTICS.md.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Records by what they are asked for with.
#[derive(Debug)]
pub(crate) struct Remembered<K, V> {
    cache: Cache<K, (Instant, V)>,
    /// How often something was forgotten. Locked while the cache is changed, so that nothing is
    /// remembered between somebody's look at the number and their change.
    forgotten: Mutex<u64>,
}

/// The beginning of a lookup.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup(u64);

impl<K: Eq + Hash + Clone, V: Clone> Remembered<K, V> {
    /// Remembers at most `records_max` records; beyond, those that are asked for least are forgotten.
    pub(crate) fn new(records_max: usize) -> Self {
        Self { cache: Cache::new(records_max), forgotten: Mutex::default() }
    }

    /// The record, if it is remembered and fresh.
    pub(crate) fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        let (since, value) = self.cache.get(key)?;
        (since.elapsed() < FRESH_FOR).then_some(value)
    }

    /// Whether there is a record, however old.
    pub(crate) fn has<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> bool {
        self.cache.contains_key(key)
    }

    /// To be called before the catalogue is asked.
    pub(crate) fn look_up(&self) -> Lookup {
        Lookup(*self.lock())
    }

    /// Remembers what the catalogue answered, unless something was forgotten since `lookup` began.
    pub(crate) fn remember(&self, lookup: Lookup, key: K, value: V) {
        let forgotten = self.lock();
        if *forgotten == lookup.0 {
            self.cache.insert(key, (Instant::now(), value));
        }
    }

    /// Forgets a record; to be called when its change is committed.
    pub(crate) fn forget<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) {
        let mut forgotten = self.lock();
        *forgotten += 1;
        self.cache.remove(key);
    }

    /// Forgets all records whose keys are not wanted any more.
    pub(crate) fn keep_only(&self, wanted: impl Fn(&K) -> bool) {
        let mut forgotten = self.lock();
        *forgotten += 1;
        self.cache.retain(|key, _| wanted(key));
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut forgotten = self.lock();
        *forgotten += 1;
        self.cache.clear();
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_found_until_it_is_forgotten() {
        let records = Remembered::new(10);
        records.remember(records.look_up(), 1, "one");
        records.remember(records.look_up(), 2, "two");
        assert_eq!((records.get(&1), records.get(&2)), (Some("one"), Some("two")));
        records.forget(&1);
        assert_eq!((records.get(&1), records.get(&2)), (None, Some("two")));
        records.keep_only(|key| *key != 2);
        assert_eq!(records.get(&2), None);
    }

    #[test]
    fn a_lookup_that_a_change_overtook_is_not_remembered() {
        let records = Remembered::new(10);
        let lookup = records.look_up();
        // Meanwhile the record is changed and forgotten.
        records.forget(&1);
        records.remember(lookup, 1, "as it was before");
        assert_eq!(records.get(&1), None);
        let lookup = records.look_up();
        records.clear();
        records.remember(lookup, 1, "as it was before");
        assert_eq!(records.get(&1), None);
        records.remember(records.look_up(), 1, "as it is");
        assert_eq!(records.get(&1), Some("as it is"));
    }
}
