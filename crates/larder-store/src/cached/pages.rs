//! A bounded set of pages: which ones are held, and which one goes when there is no room.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter, unsync::Cache};

use super::page::{PageKey, PlaceId};

/// About how large a held page is, most of them being variants: sizes the tables of the cache.
const PAGE_BYTES_USUAL: u64 = 20_000;

/// Most pages for which the tables of the cache are made in advance.
const PAGES_EXPECTED_MAX: u64 = 1_000_000;

/// Pages, or what is known of them, up to a total weight. Those that are asked for again stay longer than
/// those that are passed by once (`quick_cache`'s variant of CLOCK-Pro).
#[derive(Debug)]
pub(super) struct Pages<V>(Mutex<Held<V>>);

type Weighed<V> = (u64, V);

struct Held<V> {
    cache: Cache<PageKey, Weighed<V>, ByWeight, DefaultHashBuilder, Collect>,
    places: HashMap<PlaceId, Vec<PageKey>>,
}

#[derive(Debug, Clone)]
struct ByWeight;

impl<V> Weighter<PageKey, Weighed<V>> for ByWeight {
    fn weight(&self, _key: &PageKey, (weight, _): &Weighed<V>) -> u64 {
        *weight
    }
}

/// Collects what had to go.
#[derive(Debug, Clone)]
struct Collect;

impl<V> Lifecycle<PageKey, Weighed<V>> for Collect {
    type RequestState = Vec<PageKey>;

    fn on_evict(&self, gone: &mut Vec<PageKey>, key: PageKey, _: Weighed<V>) {
        gone.push(key);
    }
}

impl<V: Clone> Pages<V> {
    /// Holds pages of at most this weight together.
    pub(super) fn new(weight_max: u64) -> Self {
        let expected = (weight_max / PAGE_BYTES_USUAL).clamp(16, PAGES_EXPECTED_MAX);
        let cache =
            Cache::with(expected as usize, weight_max, ByWeight, DefaultHashBuilder::default(), Collect);
        Self(Mutex::new(Held { cache, places: HashMap::new() }))
    }

    /// A page that is held; it counts as asked for.
    pub(super) fn get(&self, key: &PageKey) -> Option<V> {
        self.lock().cache.get(key).map(|(_, value)| value.clone())
    }

    /// Whether a page is held.
    pub(super) fn holds(&self, key: &PageKey) -> bool {
        self.lock().cache.contains_key(key)
    }

    /// Takes a page in and says which ones are not held any more for that: it may be itself, if it is
    /// heavier than everything together may be.
    pub(super) fn insert(&self, key: PageKey, weight: u64, value: V) -> Vec<PageKey> {
        let mut held = self.lock();
        let mut gone = Vec::new();
        if !held.cache.contains_key(&key) {
            held.places.entry(key.object.place).or_default().push(key);
        }
        held.cache.insert_with_lifecycle(key, (weight, value), &mut gone);
        // For the cache, a page that takes the place of itself has gone; and once more, if there was no room for it then.
        gone.retain(|one| *one != key);
        if !held.cache.contains_key(&key) {
            gone.push(key);
        }
        for key in &gone {
            held.unlist(key);
        }
        gone
    }

    /// Lets a page go.
    pub(super) fn remove(&self, key: &PageKey) {
        let mut held = self.lock();
        if held.cache.remove(key).is_some() {
            held.unlist(key);
        }
    }

    /// Lets all pages of a place go, whichever bytes they are of, and says which ones they were.
    pub(super) fn forget(&self, place: PlaceId) -> Vec<PageKey> {
        let mut held = self.lock();
        let keys = held.places.remove(&place).unwrap_or_default();
        for key in &keys {
            held.cache.remove(key);
        }
        keys
    }

    /// Lets everything go and says what it was.
    pub(super) fn clear(&self) -> Vec<PageKey> {
        let mut held = self.lock();
        held.cache.clear();
        std::mem::take(&mut held.places).into_values().flatten().collect()
    }

    /// The weight of all that is held.
    pub(super) fn weight(&self) -> u64 {
        self.lock().cache.weight()
    }

    /// No step under the lock panics half-way but for want of memory, so what it guards is whole.
    fn lock(&self) -> MutexGuard<'_, Held<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Held<V> {
    fn unlist(&mut self, key: &PageKey) {
        if let Some(keys) = self.places.get_mut(&key.object.place) {
            keys.retain(|listed| listed != key);
            if keys.is_empty() {
                self.places.remove(&key.object.place);
            }
        }
    }
}

impl<V> std::fmt::Debug for Held<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use larder_core::Timestamp;
    use proptest::prelude::*;

    use super::{super::page::ObjectId, *};
    use crate::store::{Attributes, Fingerprint, Stat};

    fn key(place: u8, version: u8, number: u64) -> PageKey {
        let stat = Stat {
            size_bytes: 1 << 40,
            fingerprint: Fingerprint::new(version.to_string()),
            modified: Timestamp::from_millis(0),
            attributes: Attributes::default(),
        };
        ObjectId::of("test", &place.to_string().parse().unwrap(), &stat, 1).page(number)
    }

    #[test]
    fn pages_that_are_asked_for_outlive_a_long_row_that_passes_once() {
        let pages = Pages::new(100);
        for small in 0..50 {
            pages.insert(key(1, small, 0), 1, ());
        }
        for round in 0..200 {
            for small in 0..50 {
                pages.get(&key(1, small, 0));
            }
            pages.insert(key(2, 0, round), 10, ());
        }
        let kept = (0..50).filter(|&small| pages.holds(&key(1, small, 0))).count();
        assert!(kept >= 45, "{kept} of 50 are left");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u8, u8, u64, u64),
        Get(u8, u8, u64),
        Remove(u8, u8, u64),
        Forget(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let page = || (0..4_u8, 0..3_u8, 0..6_u64);
        prop_oneof![
            6 => (page(), 1..40_u64).prop_map(|((p, v, n), weight)| Step::Insert(p, v, n, weight)),
            3 => page().prop_map(|(p, v, n)| Step::Get(p, v, n)),
            1 => page().prop_map(|(p, v, n)| Step::Remove(p, v, n)),
            1 => (0..4_u8).prop_map(Step::Forget),
        ]
    }

    #[test]
    fn regression_a_page_that_outgrows_its_room_goes_once() {
        let pages = Pages::new(100);
        let weights = [
            ((0, 0, 0), 1),
            ((0, 0, 1), 6),
            ((2, 0, 0), 1),
            ((0, 0, 2), 1),
            ((0, 1, 0), 1),
            ((0, 1, 2), 1),
            ((0, 0, 0), 1),
            ((2, 0, 0), 31),
        ];
        for ((place, version, number), weight) in weights {
            pages.insert(key(place, version, number), weight, ());
        }
        pages.get(&key(2, 0, 0));
        pages.insert(key(0, 0, 4), 1, ());
        pages.insert(key(0, 0, 4), 35, ());
        let gone = pages.insert(key(0, 0, 1), 35, ());
        let each: HashSet<_> = gone.iter().collect();
        assert!(each.len() == gone.len() && gone.iter().all(|gone| !pages.holds(gone)), "{gone:?}");
    }

    proptest! {
        #[test]
        fn the_weight_stays_within_the_limit_and_who_goes_is_told(steps in prop::collection::vec(step(), 1..200)) {
            let pages = Pages::new(100);
            let mut held = HashSet::new();
            for step in steps {
                match step {
                    Step::Insert(p, v, n, weight) => {
                        held.insert(key(p, v, n));
                        for gone in pages.insert(key(p, v, n), weight, ()) {
                            prop_assert!(held.remove(&gone));
                        }
                    }
                    Step::Get(p, v, n) => {
                        prop_assert_eq!(pages.get(&key(p, v, n)).is_some(), held.contains(&key(p, v, n)));
                    }
                    Step::Remove(p, v, n) => {
                        pages.remove(&key(p, v, n));
                        held.remove(&key(p, v, n));
                    }
                    Step::Forget(place) => {
                        let gone: HashSet<_> = pages.forget(key(place, 0, 0).object.place).into_iter().collect();
                        let expected: HashSet<_> =
                            held.iter().copied().filter(|k| k.object.place == key(place, 0, 0).object.place).collect();
                        held.retain(|k| !expected.contains(k));
                        prop_assert_eq!(gone, expected);
                    }
                }
                prop_assert!(pages.weight() <= 100);
                prop_assert!(held.iter().all(|key| pages.holds(key)));
                prop_assert_eq!(pages.lock().cache.len(), held.len());
                prop_assert_eq!(pages.lock().places.values().map(Vec::len).sum::<usize>(), held.len());
            }
        }
    }
}
