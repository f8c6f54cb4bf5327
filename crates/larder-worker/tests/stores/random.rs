//! Random steps over two stores, cut off at random, against a model.

use std::{collections::BTreeMap, pin::pin, task::Poll, time::Duration};

use larder_assets::{CopyTarget, DeleteOptions, Larder, Layout, MigrateOptions};
use larder_core::{AssetId, Code};
use proptest::prelude::*;

use crate::{Pair, clean_up, files, migrate, options, persistently, put, read, sweep};

/// Lets `work` go on for so many turns, then drops it where it stands, as a kill would.
async fn cut<T>(work: impl Future<Output = T>, turns: usize) -> Option<T> {
    let mut work = pin!(work);
    let mut left = turns;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    /// A copy of one key under another.
    Copy(u8, u8),
    Delete(u8),
    /// For good.
    Purge(u8),
    Restore(u8),
    Read(u8),
    /// The other store becomes the primary.
    Switch,
    /// New bytes lie by the other layout.
    Relayout,
    /// Moves everything this way while the steps behind it happen; cut off after so many turns.
    Migrate {
        to_two: bool,
        beside: Vec<Step>,
        turns: Option<usize>,
    },
    CleanUp {
        of_one: bool,
        turns: Option<usize>,
    },
    Sweep,
}

fn simple_step() -> impl Strategy<Value = Step> {
    let key = 0..6_u8;
    prop_oneof![
        3 => (key.clone(), any::<u8>()).prop_map(|(key, bytes)| Step::Put(key, bytes)),
        // Equal bytes under several keys.
        3 => (key.clone(), 0..3_u8).prop_map(|(key, bytes)| Step::Put(key, bytes)),
        1 => (key.clone(), key.clone()).prop_map(|(from, to)| Step::Copy(from, to)),
        2 => key.clone().prop_map(Step::Delete),
        1 => key.clone().prop_map(Step::Purge),
        1 => key.clone().prop_map(Step::Restore),
        3 => key.prop_map(Step::Read),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let turns = prop_oneof![Just(None), (0..60_usize).prop_map(Some)];
    prop_oneof![
        6 => simple_step(),
        1 => Just(Step::Switch),
        1 => Just(Step::Relayout),
        3 => (any::<bool>(), prop::collection::vec(simple_step(), 0..5), turns.clone())
            .prop_map(|(to_two, beside, turns)| Step::Migrate { to_two, beside, turns }),
        2 => (any::<bool>(), turns).prop_map(|(of_one, turns)| Step::CleanUp { of_one, turns }),
        1 => Just(Step::Sweep),
    ]
}

/// What there has to be: the bytes under each key, and what is in the trash, the last deleted last.
#[derive(Default)]
struct Model {
    present: BTreeMap<u8, Vec<u8>>,
    trash: Vec<(AssetId, u8, Vec<u8>)>,
}

/// Two keys of six block each other on a disk, which escapes one of them.
fn name(key: u8) -> String {
    ["a", "a/b", "b", "c/d", "c//d", "e"][usize::from(key)].to_owned()
}

impl Model {
    async fn simple(&mut self, larder: &Larder, step: &Step) {
        match *step {
            Step::Put(key, number) => {
                let bytes = vec![number; 1 + usize::from(number) * 300];
                put(larder, &name(key), bytes.clone()).await;
                self.present.insert(key, bytes);
            }
            Step::Copy(from, to) => {
                let Some(bytes) = self.present.get(&from).cloned() else { return };
                let source = larder.asset_at(&files(), &name(from).parse().unwrap()).await.unwrap();
                let target = CopyTarget {
                    bucket: None,
                    key: name(to).parse().unwrap(),
                    replace: true,
                    untouched: false,
                    credential: None,
                };
                persistently(|| larder.copy_asset(source.id, target.clone())).await.unwrap();
                self.present.insert(to, bytes);
            }
            Step::Purge(key) => {
                let options = DeleteOptions { purge: true, if_match: None };
                let (files, at) = (files(), name(key).parse().unwrap());
                let outcome = persistently(|| larder.delete(&files, &at, &options)).await;
                assert_eq!(outcome.is_ok(), self.present.remove(&key).is_some());
            }
            Step::Delete(key) => {
                let (files, at, how) = (files(), name(key).parse().unwrap(), DeleteOptions::default());
                let outcome = persistently(|| larder.delete(&files, &at, &how)).await;
                match self.present.remove(&key) {
                    Some(bytes) => self.trash.push((outcome.unwrap().id, key, bytes)),
                    None => assert_eq!(outcome.unwrap_err().code, Code::AssetNotFound),
                }
            }
            Step::Restore(key) => {
                let Some(index) = self.trash.iter().rposition(|(_, of, _)| *of == key) else { return };
                let id = self.trash[index].0;
                let outcome = persistently(|| larder.restore(id)).await;
                match self.present.contains_key(&key) {
                    true => assert_eq!(outcome.unwrap_err().code, Code::Conflict),
                    false => {
                        outcome.unwrap();
                        let (_, key, bytes) = self.trash.remove(index);
                        self.present.insert(key, bytes);
                    }
                }
            }
            Step::Read(key) => {
                assert_eq!(read(larder, &name(key)).await.as_ref(), self.present.get(&key), "{}", name(key));
            }
            _ => unreachable!("a step of its own"),
        }
    }

    async fn check(&self, larder: &Larder) {
        for key in 0..6 {
            assert_eq!(read(larder, &name(key)).await.as_ref(), self.present.get(&key), "{}", name(key));
        }
    }
}

async fn run(pair: &Pair, steps: Vec<Step>) {
    let (mut primary, mut model) = ("one", Model::default());
    let mut larder = pair.open(primary).await;
    for step in &steps {
        match step {
            Step::Switch => {
                primary = if primary == "one" { "two" } else { "one" };
                larder = pair.open(primary).await;
            }
            Step::Relayout => {
                pair.layout.set(if pair.layout.get() == Layout::Path { Layout::Hash } else { Layout::Path });
                larder = pair.open(primary).await;
            }
            Step::Migrate { to_two, beside, turns } => {
                let (from, to) = if *to_two { ("one", "two") } else { ("two", "one") };
                let options = MigrateOptions { concurrency: Some(3), ..options(from, to) };
                // A process of its own.
                let mover = pair.open(primary).await;
                let moving = async {
                    let moved = mover.migrate(&options, &|_| Ok(()));
                    match turns {
                        None => assert_eq!(moved.await.unwrap().failures, []),
                        Some(turns) => pair.killed(cut(moved, *turns).await.is_none()),
                    }
                };
                let beside = async {
                    for step in beside {
                        model.simple(&larder, step).await;
                    }
                };
                tokio::join!(moving, beside);
            }
            Step::CleanUp { of_one, turns } => {
                let (from, to) = if *of_one { ("one", "two") } else { ("two", "one") };
                let cleaned = clean_up(&larder, from, to);
                match turns {
                    None => assert_eq!(cleaned.await.failures, []),
                    Some(turns) => pair.killed(cut(cleaned, *turns).await.is_none()),
                }
            }
            Step::Sweep => sweep(&larder).await,
            simple => model.simple(&larder, simple).await,
        }
    }
    model.check(&larder).await;
    // Everything can be brought together, and nothing is left behind.
    pair.home.clock().advance(Duration::from_secs(7_200));
    migrate(&larder, "one", "two").await;
    clean_up(&larder, "one", "two").await;
    clean_up(&larder, "two", "one").await;
    sweep(&larder).await;
    assert_eq!(pair.places("one").await, Vec::<String>::new());
    let larder = pair.open("two").await;
    model.check(&larder).await;
    let (mut lies, recorded) = (pair.places("two").await, pair.recorded(&larder, "two").await);
    lies.sort();
    assert_eq!(lies, recorded, "nothing lies there but what records name");
    while let Some((id, key, bytes)) = model.trash.pop() {
        if model.present.contains_key(&key) {
            larder
                .delete(&files(), &name(key).parse().unwrap(), &DeleteOptions { purge: true, if_match: None })
                .await
                .unwrap();
        }
        larder.restore(id).await.unwrap();
        model.present.insert(key, bytes);
        model.check(&larder).await;
    }
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: 24,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn with_runtime(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn random_steps_over_two_folders_lose_and_mix_nothing(steps in prop::collection::vec(step(), 1..30)) {
        with_runtime(async { run(&Pair::local().await, steps).await });
    }

    #[test]
    fn random_steps_over_shared_bytes_lose_and_mix_nothing(steps in prop::collection::vec(step(), 1..30)) {
        with_runtime(async { run(&Pair::local().await.sharing(), steps).await });
    }

    #[test]
    fn random_steps_over_a_folder_and_memory_lose_and_mix_nothing(steps in prop::collection::vec(step(), 1..30)) {
        with_runtime(async { run(&Pair::local_and_memory().await, steps).await });
    }
}
