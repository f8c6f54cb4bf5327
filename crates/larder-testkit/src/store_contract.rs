//! What every store promises, and every wrapper around one.
//!
//! Each promise is one function over a [`Fixture`]; [`store_contract!`](crate::store_contract!) makes
//! a test of each. What a store does not claim in its
//! [`Capabilities`](larder_store::Capabilities) is not asked of it.

pub mod conditions;
pub mod hostile;
pub mod listing;
pub mod model;
pub mod moving;
pub mod reading;
pub mod writing;

use std::{any::Any, fmt, sync::Arc, time::Duration};

use larder_core::Timestamp;
use larder_store::{ListOptions, Place, PutOptions, Stat, Store, StoreExt};

/// An empty store, and what a test must know of it beyond its interface.
pub struct Fixture {
    /// The store.
    pub store: Arc<dyn Store>,
    temporary_files: Box<dyn Fn() -> usize + Send + Sync>,
    _kept: Box<dyn Any + Send + Sync>,
}

impl Fixture {
    /// A store without temporary files.
    pub fn new(store: impl Store) -> Self {
        Self { store: Arc::new(store), temporary_files: Box::new(|| 0), _kept: Box::new(()) }
    }

    /// Adds how to count the temporary files that lie around in the store.
    #[must_use]
    pub fn counting(mut self, temporary_files: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        self.temporary_files = Box::new(temporary_files);
        self
    }

    /// Keeps something, a folder for instance, until the test ends.
    #[must_use]
    pub fn keeping(mut self, kept: impl Any + Send + Sync) -> Self {
        self._kept = Box::new(kept);
        self
    }

    async fn put(&self, text: &str, bytes: impl Into<bytes::Bytes>) -> Stat {
        self.store.put_bytes(&place(text), bytes.into(), PutOptions::default()).await.unwrap()
    }

    async fn read(&self, text: &str) -> Option<String> {
        match self.store.read_all(&place(text), u64::MAX).await {
            Ok(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            Err(larder_store::Error::NotFound { .. }) => None,
            Err(error) => panic!("{text}: {error:?}"),
        }
    }

    /// A stat as it can be compared with another way of asking for it.
    fn seen(&self, stat: Stat) -> Stat {
        if self.store.capabilities().puts_tell_time {
            return stat;
        }
        Stat { modified: Timestamp::from_millis(0), ..stat }
    }

    /// Every place there is, Larder's own included, page by page.
    async fn places(&self) -> Vec<String> {
        let mut places = self.listed(ListOptions::under(".larder/")).await;
        places.extend(self.listed(ListOptions::default()).await);
        places
    }

    async fn listed(&self, mut options: ListOptions) -> Vec<String> {
        let mut places = Vec::new();
        loop {
            let page = self.store.list(options.clone()).await.unwrap();
            places.extend(page.entries.into_iter().map(|entry| entry.place.to_string()));
            match page.next {
                Some(next) => options.after = Some(next),
                None => return places,
            }
        }
    }

    /// Waits, since a dropped operation cleans up on a thread of its own, until exactly these
    /// places and no temporary files are there.
    async fn holds_only(&self, expected: &[&str]) {
        for _ in 0..500 {
            if self.places().await == expected && (self.temporary_files)() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.places().await, expected);
        assert_eq!((self.temporary_files)(), 0, "temporary files are left over");
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("store", &self.store).finish_non_exhaustive()
    }
}

fn place(text: &str) -> Place {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Makes a module of tests, one for each promise of a store, each on a [`Fixture`] of its own.
///
/// What a store can't keep for a reason of its own is named, with the reason beside it.
///
/// ```ignore
/// store_contract!(memory, Fixture::new(MemoryStore::new()));
/// store_contract!(odd, odd(), except [a_delimiter_folds]); // It knows no delimiters.
/// ```
#[macro_export]
macro_rules! store_contract {
    ($name:ident, $fixture:expr) => {
        $crate::store_contract! { $name, $fixture, except [] }
    };
    ($name:ident, $fixture:expr, except [$($exempt:ident),* $(,)?]) => {
        $crate::store_contract! { @modules $name, $fixture, [$(stringify!($exempt)),*];
            reading {
                bytes_come_back_as_they_were_put
                an_empty_object_is_an_object
                what_is_absent_is_not_found
                ranges_are_cut_to_the_size_and_must_hold_a_byte
                an_open_body_outlives_replacement_and_removal
                every_way_to_ask_gives_the_same_stat
                attributes_are_kept_or_ignored
                a_copy_or_rename_can_give_other_attributes
                a_long_body_is_read_in_order
            }
            writing {
                a_replacement_changes_the_fingerprint
                a_failing_body_leaves_nothing_and_its_error_comes_back
                a_failing_replacement_leaves_what_was_there
                a_dropped_put_leaves_nothing
                a_reader_sees_old_or_new_and_never_a_mixture
                a_stream_is_not_held_in_memory
                many_at_once_in_one_new_folder
                removal_says_whether_anything_was_there
                settling_tells_what_lies_there_and_changes_nothing
                removing_a_prefix_spares_its_neighbours
            }
            hostile {
                every_key_has_a_place_of_its_own
                a_key_lies_beside_one_that_continues_it
                what_is_blocked_stays_as_it_was
                a_place_is_free_again_when_what_blocked_it_is_gone
            }
            conditions {
                of_sixteen_creators_exactly_one_wins
                of_sixteen_replacers_exactly_one_wins
                creation_refuses_what_is_there
                replacement_refuses_what_changed
                copies_and_renames_obey_conditions
            }
            listing {
                places_come_in_bytewise_order
                pages_cover_everything_exactly_once
                a_delimiter_folds
                a_prefix_is_text_and_no_folder
                larders_own_places_are_left_out_unless_asked_for
                it_begins_after_any_text
                impossible_prefixes_match_nothing
            }
            moving {
                a_rename_moves_the_same_bytes
                a_rename_replaces
                a_rename_onto_itself_changes_nothing
                a_copy_is_independent
                renaming_there_and_back_while_reading_never_loses_the_bytes
            }
            model {
                random_operations_agree_with_a_map
            }
        }
    };
    (@modules $name:ident, $fixture:expr, $exempt:expr; $($area:ident { $($promise:ident)* })*) => {
        mod $name {
            $(mod $area {
                #[allow(unused_imports)]
                use super::super::*;

                $(#[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    const EXEMPT: &[&str] = &$exempt;
                    if !EXEMPT.contains(&stringify!($promise)) {
                        $crate::store_contract::$area::$promise($fixture).await;
                    }
                })*
            })*
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_promise_is_forgotten_by_the_macro() {
        let list = include_str!("store_contract.rs");
        let areas = [
            include_str!("store_contract/conditions.rs"),
            include_str!("store_contract/hostile.rs"),
            include_str!("store_contract/listing.rs"),
            include_str!("store_contract/model.rs"),
            include_str!("store_contract/moving.rs"),
            include_str!("store_contract/reading.rs"),
            include_str!("store_contract/writing.rs"),
        ];
        let promises = areas.iter().flat_map(|area| area.split("pub async fn ").skip(1));
        for promise in promises.map(|rest| rest.split('(').next().unwrap()) {
            assert!(list.lines().any(|line| line.trim() == promise), "{promise} is not in the list");
        }
    }
}
