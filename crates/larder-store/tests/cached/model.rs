//! Whatever happens, a reader gets the bytes whose stat it is given.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use larder_store::{
    CacheOptions, Error, MemoryStore, OpenOptions, PutOptions, RenameOptions, Stat, Store, StoreExt,
};
use proptest::prelude::*;

use crate::{Cached, KIB, bytes_of, disk::page_files, on_disk, place};

const PLACES: [&str; 3] = ["a", "b", "c/d"];

#[derive(Debug, Clone)]
enum Step {
    Put {
        place: usize,
        length: usize,
        behind: bool,
    },
    Remove {
        place: usize,
        behind: bool,
    },
    Rename {
        from: usize,
        to: usize,
        behind: bool,
    },
    /// With what lies there, or what once lay there: the `age`-th last stat of the place.
    Read {
        place: usize,
        age: usize,
        range: Option<(u64, u64)>,
    },
    Restart,
    Damage(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let place = || 0..PLACES.len();
    prop_oneof![
        3 => (place(), 0..6_000_usize, any::<bool>())
            .prop_map(|(place, length, behind)| Step::Put { place, length, behind }),
        1 => (place(), any::<bool>()).prop_map(|(place, behind)| Step::Remove { place, behind }),
        1 => (place(), place(), any::<bool>()).prop_map(|(from, to, behind)| Step::Rename { from, to, behind }),
        8 => (place(), 0..3_usize, prop::option::of((0..6_000_u64, 1..4_000_u64)))
            .prop_map(|(place, age, range)| Step::Read { place, age, range }),
        1 => Just(Step::Restart),
        1 => any::<u8>().prop_map(Step::Damage),
    ]
}

struct Model {
    /// The bytes of every fingerprint that there ever was.
    bytes: HashMap<String, Bytes>,
    now: HashMap<usize, Stat>,
    past: HashMap<usize, Vec<Stat>>,
    puts: u64,
}

impl Model {
    fn lies(&mut self, at: usize, stat: Stat) {
        self.past.entry(at).or_default().push(stat.clone());
        self.now.insert(at, stat);
    }

    async fn apply(&mut self, cached: &Cached, step: Step) {
        match step {
            Step::Put { place: at, length, behind } => {
                self.puts += 1;
                let bytes = bytes_of(self.puts, length);
                let (to, options) = (place(PLACES[at]), PutOptions::default());
                let stat = if behind {
                    cached.behind.put_bytes(&to, bytes.clone(), options).await.unwrap()
                } else {
                    cached.store.put_bytes(&to, bytes.clone(), options).await.unwrap()
                };
                self.bytes.insert(stat.fingerprint.to_string(), bytes);
                self.lies(at, stat);
            }
            Step::Remove { place: at, behind } => {
                let from = place(PLACES[at]);
                let removed = if behind {
                    cached.behind.remove(&from).await.unwrap()
                } else {
                    cached.store.remove(&from).await.unwrap()
                };
                assert_eq!(removed, self.now.remove(&at).is_some());
            }
            Step::Rename { from, to, behind } => {
                let (source, target) = (place(PLACES[from]), place(PLACES[to]));
                let options = RenameOptions::default();
                let renamed = if behind {
                    cached.behind.rename(&source, &target, options).await
                } else {
                    cached.store.rename(&source, &target, options).await
                };
                if let Some(stat) = self.now.remove(&from) {
                    assert_eq!(renamed.unwrap(), stat);
                    self.lies(to, stat);
                }
            }
            Step::Read { place: at, age, range } => {
                let Some(known) = self.past.get(&at).and_then(|past| past.iter().rev().nth(age)) else {
                    return;
                };
                let range = range.map(|(from, length)| from..from + length);
                self.check_read(cached, at, known, range).await;
            }
            Step::Restart | Step::Damage(_) => unreachable!("done to the cache as a whole"),
        }
    }

    async fn check_read(
        &self,
        cached: &Cached,
        at: usize,
        known: &Stat,
        range: Option<std::ops::Range<u64>>,
    ) {
        let options = OpenOptions { range: range.clone(), known: Some(known.clone()) };
        let opened = match cached.store.open(&place(PLACES[at]), options).await {
            Ok(opened) => opened,
            Err(Error::NotFound { .. }) => return assert!(!self.now.contains_key(&at)),
            Err(Error::Range { size_bytes, .. }) => {
                return assert_eq!(self.now.get(&at).map(|stat| stat.size_bytes), Some(size_bytes));
            }
            Err(error) => panic!("{error:?}"),
        };
        if opened.stat != *known {
            assert_eq!(Some(&opened.stat), self.now.get(&at), "neither what was known nor what lies there");
        }
        let whole = &self.bytes[opened.stat.fingerprint.as_str()];
        let range =
            range.map_or(0..whole.len() as u64, |range| range.start..range.end.min(whole.len() as u64));
        assert_eq!(opened.range, range);
        let bytes = match opened.body.read_all(u64::MAX).await {
            // Pages of bytes that lie there no more had to go, or were damaged, since it was opened.
            Err(Error::Corrupt { .. }) => return assert_ne!(Some(known), self.now.get(&at)),
            bytes => bytes.unwrap(),
        };
        assert_eq!(bytes, whole.slice(range.start as usize..range.end as usize));
    }
}

fn damage(folder: &std::path::Path, seed: u8) {
    let files = page_files(folder);
    if let Some(file) = files.get(usize::from(seed) % files.len().max(1)) {
        let mut content = std::fs::read(file).unwrap();
        // It may have been cut to nothing already.
        let Some(index) = (usize::from(seed) * 31).checked_rem(content.len()) else { return };
        if seed.is_multiple_of(2) {
            content.truncate(index)
        } else {
            content[index] ^= seed
        }
        std::fs::write(file, content).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_gets_the_bytes_of_the_stat_that_it_is_given(
        steps in prop::collection::vec(step(), 1..80),
        memory_pages in 0..6_u64,
        disk_pages in 0..20_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let options = || CacheOptions {
                memory_bytes: memory_pages * 2 * KIB,
                ..on_disk(folder.path(), disk_pages * 4 * KIB)
            };
            let behind = Arc::new(MemoryStore::new());
            let mut cached = Cached::over(Arc::clone(&behind), options());
            let mut model = Model {
                bytes: HashMap::new(), now: HashMap::new(), past: HashMap::new(), puts: 0,
            };
            for step in steps {
                match step {
                    Step::Restart => {
                        drop(cached);
                        cached = Cached::over(Arc::clone(&behind), options());
                    }
                    Step::Damage(seed) if disk_pages > 0 => {
                        cached.store.flushed().await;
                        damage(folder.path(), seed);
                    }
                    Step::Damage(_) => {}
                    step => model.apply(&cached, step).await,
                }
            }
        });
    }
}
