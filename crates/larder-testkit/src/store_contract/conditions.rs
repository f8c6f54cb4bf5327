//! Conditions hold at the moment of the change.

use std::sync::Arc;

use futures::future::join_all;
use larder_store::{
    Condition, CopyOptions, Error, Fingerprint, PutOptions, RenameOptions, Result, Stat, Store, StoreExt,
};

use super::{Fixture, place};

fn when(condition: Condition) -> PutOptions {
    PutOptions { condition, ..PutOptions::default() }
}

/// Sixteen at once put under one condition, and no two rounds the same bytes; gives what the winner put.
async fn race(fixture: &Fixture, target: &str, round: usize, condition: &Condition) -> String {
    let tasks = (0..16).map(|index| {
        let (store, place, options) = (Arc::clone(&fixture.store), place(target), when(condition.clone()));
        tokio::spawn(async move { store.put_bytes(&place, format!("{round}-{index}"), options).await })
    });
    let results: Vec<Result<Stat>> =
        join_all(tasks).await.into_iter().map(|joined| joined.unwrap()).collect();
    let winners: Vec<_> = results.iter().enumerate().filter(|(_, result)| result.is_ok()).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    let lost = |result: &Result<Stat>| matches!(result, Err(Error::Precondition { .. }));
    assert_eq!(results.iter().filter(|result| lost(result)).count(), 15, "{results:?}");
    format!("{round}-{}", winners[0].0)
}

/// And what it put is what lies there.
pub async fn of_sixteen_creators_exactly_one_wins(fixture: Fixture) {
    if !fixture.store.capabilities().create_if_absent {
        return;
    }
    for round in 0..5 {
        for folder in ["new/folder", ".larder/staging"] {
            let target = format!("{folder}/{round}");
            let winner = race(&fixture, &target, round, &Condition::IfAbsent).await;
            assert_eq!(fixture.read(&target).await, Some(winner));
        }
    }
}

/// And what it put is what lies there.
pub async fn of_sixteen_replacers_exactly_one_wins(fixture: Fixture) {
    if !fixture.store.capabilities().replace_if_match {
        return;
    }
    for target in ["a", ".larder/staging/a"] {
        let mut fingerprint = fixture.put(target, "start").await.fingerprint;
        for round in 0..5 {
            let winner = race(&fixture, target, round, &Condition::IfMatch(fingerprint)).await;
            assert_eq!(fixture.read(target).await, Some(winner));
            fingerprint = fixture.store.stat(&place(target)).await.unwrap().fingerprint;
        }
    }
}

/// And leaves it as it was.
pub async fn creation_refuses_what_is_there(fixture: Fixture) {
    if !fixture.store.capabilities().create_if_absent {
        return;
    }
    for text in ["a/b", ".larder/staging/a"] {
        let target = place(text);
        let old = fixture.store.put_bytes(&target, "old", when(Condition::IfAbsent)).await.unwrap();
        let refused = fixture.store.put_bytes(&target, "new", when(Condition::IfAbsent)).await;
        assert!(matches!(refused, Err(Error::Precondition { .. })), "{refused:?}");
        let after = fixture.store.stat(&target).await.unwrap();
        assert_eq!(fixture.seen(after), fixture.seen(old));
        assert_eq!(fixture.read(text).await.as_deref(), Some("old"));
    }
    fixture.holds_only(&[".larder/staging/a", "a/b"]).await;
}

/// Replaced, removed or never there.
pub async fn replacement_refuses_what_changed(fixture: Fixture) {
    if !fixture.store.capabilities().replace_if_match {
        return;
    }
    let store = &fixture.store;
    let (a, never) = (place("a"), place("never/there"));
    let first = fixture.put("a", "first").await.fingerprint;
    let second =
        store.put_bytes(&a, "secon", when(Condition::IfMatch(first.clone()))).await.unwrap().fingerprint;
    let attempts = [(&a, first), (&never, second.clone()), (&a, Fingerprint::new("no such thing"))];
    for (target, fingerprint) in attempts {
        let refused = store.put_bytes(target, "x", when(Condition::IfMatch(fingerprint))).await;
        assert!(matches!(refused, Err(Error::Precondition { .. })), "{refused:?}");
    }
    assert_eq!(fixture.read("a").await.as_deref(), Some("secon"));
    assert!(store.remove(&a).await.unwrap());
    let refused = store.put_bytes(&a, "x", when(Condition::IfMatch(second))).await;
    assert!(matches!(refused, Err(Error::Precondition { .. })), "{refused:?}");
    fixture.holds_only(&[]).await;
}

/// At their target; the source stays when they are refused.
pub async fn copies_and_renames_obey_conditions(fixture: Fixture) {
    let capabilities = fixture.store.capabilities();
    if !capabilities.create_if_absent || !capabilities.replace_if_match {
        return;
    }
    let store = &fixture.store;
    let (from, to) = (place("from"), place("to"));
    let stat = fixture.put("from", "from").await;
    let other = fixture.put("to", "to").await;
    for condition in [Condition::IfAbsent, Condition::IfMatch(stat.fingerprint)] {
        let refused = [
            store
                .copy(&from, &to, CopyOptions { condition: condition.clone(), ..CopyOptions::default() })
                .await,
            store.rename(&from, &to, RenameOptions { condition, ..RenameOptions::default() }).await,
        ];
        for result in refused {
            assert!(matches!(&result, Err(Error::Precondition { place }) if *place == to), "{result:?}");
        }
    }
    assert_eq!(fixture.read("to").await.as_deref(), Some("to"));
    let matching = Condition::IfMatch(other.fingerprint);
    store.copy(&from, &to, CopyOptions { condition: matching, ..CopyOptions::default() }).await.unwrap();
    let absent = RenameOptions { condition: Condition::IfAbsent, ..RenameOptions::default() };
    store.rename(&from, &place("third"), absent.clone()).await.unwrap();
    assert_eq!(fixture.read("to").await.as_deref(), Some("from"));
    let onto_itself = store.rename(&to, &to, absent).await;
    assert!(matches!(onto_itself, Err(Error::Precondition { .. })), "{onto_itself:?}");
    fixture.holds_only(&["third", "to"]).await;
}
