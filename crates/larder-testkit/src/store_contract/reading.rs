//! Reading gives what was written, and says of itself only what is so.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use larder_store::{
    Attributes, CopyOptions, Error, ListOptions, OpenOptions, PutOptions, RenameOptions, Store, StoreExt,
};

use super::{Fixture, place};

/// Whatever the chunks, empty ones included.
pub async fn bytes_come_back_as_they_were_put(fixture: Fixture) {
    let chunks = ["", "ab", "", "c", ""].map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())));
    let body = stream::iter(chunks).boxed();
    let stat = fixture.store.put(&place("a/b"), body, PutOptions::default()).await.unwrap();
    assert_eq!(stat.size_bytes, 3);
    assert_eq!(fixture.read("a/b").await.as_deref(), Some("abc"));
    fixture.holds_only(&["a/b"]).await;
}

/// No bytes at all are bytes too.
pub async fn an_empty_object_is_an_object(fixture: Fixture) {
    assert_eq!(fixture.put("empty", "").await.size_bytes, 0);
    assert_eq!(fixture.read("empty").await.as_deref(), Some(""));
    assert!(fixture.store.exists(&place("empty")).await.unwrap());
    fixture.holds_only(&["empty"]).await;
}

/// Beside, below and above what is there.
pub async fn what_is_absent_is_not_found(fixture: Fixture) {
    fixture.put("a/b", "x").await;
    let store = &fixture.store;
    let target = place("target");
    for absent in ["c", "a", "a/b/c", "a/bc", "a/c/d"].map(place) {
        let errors = [
            store.open(&absent, OpenOptions::default()).await.map(drop),
            store.stat(&absent).await.map(drop),
            store.copy(&absent, &target, CopyOptions::default()).await.map(drop),
            store.rename(&absent, &target, RenameOptions::default()).await.map(drop),
        ];
        for result in errors {
            assert!(
                matches!(&result, Err(Error::NotFound { place }) if *place == absent),
                "{absent}: {result:?}"
            );
        }
    }
    fixture.holds_only(&["a/b"]).await;
}

/// RFC 9110, section 14: the end may lie beyond, the beginning may not.
pub async fn ranges_are_cut_to_the_size_and_must_hold_a_byte(fixture: Fixture) {
    fixture.put("digits", "0123456789").await;
    fixture.put("empty", "").await;
    let open = |name: &str, start, end| {
        let (store, place) = (fixture.store.clone(), place(name));
        async move {
            let opened = store.open(&place, OpenOptions::range(start..end)).await?;
            assert_eq!(opened.stat.size_bytes, 10, "the stat is of the whole");
            let range = opened.range.clone();
            Ok::<_, Error>((range, opened.body.read_all(10).await?))
        }
    };
    assert_eq!(open("digits", 0, 10).await.unwrap(), (0..10, Bytes::from_static(b"0123456789")));
    assert_eq!(open("digits", 2, 5).await.unwrap(), (2..5, Bytes::from_static(b"234")));
    assert_eq!(open("digits", 9, u64::MAX).await.unwrap(), (9..10, Bytes::from_static(b"9")));
    for (name, start, end) in [
        ("digits", 10, 11),
        ("digits", 5, 5),
        ("digits", 5, 2),
        ("digits", u64::MAX, u64::MAX),
        ("empty", 0, 1),
    ] {
        let result = open(name, start, end).await;
        assert!(matches!(result, Err(Error::Range { .. })), "{name} {start}..{end}: {result:?}");
    }
}

/// What was opened is what is read, with its own stat.
pub async fn an_open_body_outlives_replacement_and_removal(fixture: Fixture) {
    let old = "old".repeat(100_000);
    let stat = fixture.put("a", old.clone()).await;
    let one = fixture.store.open(&place("a"), OpenOptions::default()).await.unwrap();
    let two = fixture.store.open(&place("a"), OpenOptions::default()).await.unwrap();
    fixture.put("a", "new").await;
    assert_eq!(fixture.seen(one.stat), fixture.seen(stat));
    assert_eq!(one.body.read_all(u64::MAX).await.unwrap(), old);
    assert!(fixture.store.remove(&place("a")).await.unwrap());
    let chunks: Vec<Bytes> = two.body.into_stream().try_collect().await.unwrap();
    assert_eq!(chunks.concat(), old.into_bytes());
}

/// The one that put answered, and again later.
pub async fn every_way_to_ask_gives_the_same_stat(fixture: Fixture) {
    let put = fixture.put("a/b", "123").await;
    assert_eq!(put.size_bytes, 3);
    let opened = fixture.store.open(&place("a/b"), OpenOptions::default()).await.unwrap();
    let put = fixture.seen(put);
    assert_eq!(fixture.seen(opened.stat), put);
    assert_eq!(opened.range, 0..3);
    assert_eq!(fixture.seen(fixture.store.stat(&place("a/b")).await.unwrap()), put);
    let page = fixture.store.list(ListOptions::default()).await.unwrap();
    let [entry] = page.entries.as_slice() else { panic!("{page:?}") };
    assert_eq!((entry.size_bytes, &entry.fingerprint), (put.size_bytes, &put.fingerprint));
    if fixture.store.capabilities().puts_tell_time {
        assert_eq!(entry.modified, put.modified);
    }
}

/// As the capabilities say, through copies and renames.
pub async fn attributes_are_kept_or_ignored(fixture: Fixture) {
    let attributes = Attributes {
        content_type: Some("image/png".to_owned()),
        cache_control: Some("no-store".to_owned()),
        metadata: BTreeMap::from([("photographer".to_owned(), "Jo".to_owned())]),
    };
    let store = &fixture.store;
    let options = PutOptions { attributes: attributes.clone(), ..PutOptions::default() };
    let expected = if store.capabilities().attributes { attributes } else { Attributes::default() };
    assert_eq!(store.put_bytes(&place("a"), "x", options).await.unwrap().attributes, expected);
    assert_eq!(store.stat(&place("a")).await.unwrap().attributes, expected);
    store.copy(&place("a"), &place("b"), CopyOptions::default()).await.unwrap();
    store.rename(&place("b"), &place("c"), RenameOptions::default()).await.unwrap();
    assert_eq!(store.stat(&place("c")).await.unwrap().attributes, expected);
}

/// Where attributes are kept; the bytes are the same either way.
pub async fn a_copy_or_rename_can_give_other_attributes(fixture: Fixture) {
    let store = &fixture.store;
    let of_type = |content_type: &str| Attributes {
        content_type: Some(content_type.to_owned()),
        ..Attributes::default()
    };
    let expected = |attributes: &Attributes| match store.capabilities().attributes {
        true => attributes.clone(),
        false => Attributes::default(),
    };
    let (first, second, third) = (of_type("image/png"), of_type("image/gif"), of_type("image/webp"));
    let options = PutOptions { attributes: first.clone(), ..PutOptions::default() };
    store.put_bytes(&place("a"), "x", options).await.unwrap();
    let options = CopyOptions { attributes: Some(second.clone()), ..CopyOptions::default() };
    let copied = store.copy(&place("a"), &place("b"), options).await.unwrap();
    assert_eq!(copied.attributes, expected(&second));
    let options = RenameOptions { attributes: Some(third.clone()), ..RenameOptions::default() };
    let renamed = store.rename(&place("b"), &place("c"), options.clone()).await.unwrap();
    assert_eq!(renamed.attributes, expected(&third));
    assert_eq!(fixture.seen(store.stat(&place("c")).await.unwrap()), fixture.seen(renamed));
    store.rename(&place("a"), &place("a"), options).await.unwrap();
    assert_eq!(store.stat(&place("a")).await.unwrap().attributes, expected(&third));
    for text in ["a", "c"] {
        assert_eq!(fixture.read(text).await.as_deref(), Some("x"));
    }
}

/// Over several reads, whole and as a range.
pub async fn a_long_body_is_read_in_order(fixture: Fixture) {
    let bytes: Bytes = (0..3_000_000_u32).map(|index| (index / 7) as u8).collect();
    fixture.put("long", bytes.clone()).await;
    for range in [0..3_000_000, 1..2_999_999, 70_000..70_001] {
        let options = OpenOptions::range(range.clone());
        let opened = fixture.store.open(&place("long"), options).await.unwrap();
        let chunks: Vec<Bytes> = opened.body.into_stream().try_collect().await.unwrap();
        assert!(chunks.concat() == bytes[range.start as usize..range.end as usize], "{range:?}");
    }
}
