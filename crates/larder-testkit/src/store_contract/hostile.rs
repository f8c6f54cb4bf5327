//! Keys that strangers choose, on a store with folders and one without.

use larder_core::ObjectKey;
use larder_store::{Error, Place, PutOptions, Result, Stat, Store, StoreExt};

use super::{Fixture, place};

/// As the catalogue does it: the natural place, else the escaped one, and the record names it.
async fn put_key(fixture: &Fixture, key: &ObjectKey, bytes: &str) -> Place {
    let natural = Place::of_key("media", key);
    match put(fixture, &natural, bytes).await {
        Ok(_) => natural,
        Err(Error::Blocked { .. }) => {
            let escaped = Place::escaped("media", key);
            put(fixture, &escaped, bytes).await.unwrap();
            escaped
        }
        Err(error) => panic!("{key}: {error:?}"),
    }
}

async fn put(fixture: &Fixture, place: &Place, bytes: &str) -> Result<Stat> {
    fixture.store.put_bytes(place, bytes.to_owned(), PutOptions::default()).await
}

/// Whatever is possible as a key can be stored, and no two meet.
pub async fn every_key_has_a_place_of_its_own(fixture: Fixture) {
    let (long, segment, deep) = ("x".repeat(1_024), "y".repeat(255), ["z"; 512].join("/"));
    let umlauts = "é".repeat(127);
    let keys = [
        "a",
        "a/b",
        "a//b",
        "a/",
        "a/b/c",
        "..a",
        "a..",
        "...",
        "A",
        " ",
        "a b?c#d%2e",
        "a\\b",
        "日本/🦀.png",
        "e\u{301}",
        "\u{e9}",
        "_keys",
        "_keys/a",
        ".hidden",
        "-rf",
        "*",
        "a:b|c\"<>",
        "con",
        "a%2Fb",
        "\u{202e}gnp.exe",
        &long,
        &segment,
        &deep,
        &umlauts,
    ];
    let mut places = Vec::new();
    for key in keys {
        let key: ObjectKey = key.parse().unwrap();
        places.push((put_key(&fixture, &key, key.as_str()).await, key));
    }
    for (place, key) in &places {
        assert_eq!(fixture.read(place.as_str()).await.as_deref(), Some(key.as_str()));
    }
    let mut expected: Vec<_> = places.iter().map(|(place, _)| place.as_str()).collect();
    expected.sort_unstable();
    fixture.holds_only(&expected).await;
    for (place, key) in &places {
        assert!(fixture.store.remove(place).await.unwrap(), "{key}");
    }
    fixture.holds_only(&[]).await;
}

/// In whichever order they come.
pub async fn a_key_lies_beside_one_that_continues_it(fixture: Fixture) {
    for order in [["a", "a/b"], ["a/b", "a"], ["a", "a/b/c/d"], ["a/b/c/d", "a/b"]] {
        let [one, two] = order.map(|key| key.parse::<ObjectKey>().unwrap());
        let places = [put_key(&fixture, &one, "one").await, put_key(&fixture, &two, "two").await];
        assert_eq!(fixture.read(places[0].as_str()).await.as_deref(), Some("one"), "{order:?}");
        assert_eq!(fixture.read(places[1].as_str()).await.as_deref(), Some("two"), "{order:?}");
        let escaped = places[1].as_str().starts_with("media/_keys/");
        assert_eq!(escaped, fixture.store.capabilities().folders_block, "{order:?}");
        for place in places {
            assert!(fixture.store.remove(&place).await.unwrap());
        }
    }
    fixture.holds_only(&[]).await;
}

/// A blocked put, copy or rename harms neither what is in the way nor its own source.
pub async fn what_is_blocked_stays_as_it_was(fixture: Fixture) {
    if !fixture.store.capabilities().folders_block {
        return;
    }
    fixture.put("file", "file").await;
    fixture.put("folder/inner", "inner").await;
    fixture.put("source", "source").await;
    for target in ["file/below", "file/far/below", "folder"].map(place) {
        let store = &fixture.store;
        let results = [
            put(&fixture, &target, "x").await,
            store.copy(&place("source"), &target, Default::default()).await,
            store.rename(&place("source"), &target, Default::default()).await,
        ];
        for result in results {
            assert!(
                matches!(&result, Err(Error::Blocked { place, .. }) if *place == target),
                "{target}: {result:?}"
            );
        }
    }
    fixture.holds_only(&["file", "folder/inner", "source"]).await;
    assert_eq!(fixture.read("source").await.as_deref(), Some("source"));
}

/// Removed or renamed away.
pub async fn a_place_is_free_again_when_what_blocked_it_is_gone(fixture: Fixture) {
    fixture.put("a", "file").await;
    assert!(fixture.store.remove(&place("a")).await.unwrap());
    fixture.put("a/b/c", "deep").await;
    fixture.store.rename(&place("a/b/c"), &place("z"), Default::default()).await.unwrap();
    fixture.put("a", "file again").await;
    fixture.holds_only(&["a", "z"]).await;
}
