//! Writing is all or nothing.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, future::join_all, stream};
use larder_store::{BoxError, ByteStream, Error, OpenOptions, PutOptions, Store, StoreExt};

use super::{Fixture, place};

/// An error of the caller's own.
#[derive(Debug, thiserror::Error)]
#[error("the caller hung up")]
struct HungUp;

fn failing_after(chunks: usize) -> ByteStream {
    let begin = stream::iter((0..chunks).map(|_| Ok(Bytes::from(vec![1; 65_536]))));
    begin.chain(stream::once(async { Err(BoxError::from(HungUp)) })).boxed()
}

/// Even of equal length and written within the same tick of the clock.
pub async fn a_replacement_changes_the_fingerprint(fixture: Fixture) {
    let mut seen = HashSet::new();
    for round in 0..30 {
        let bytes = match fixture.store.capabilities().fingerprints_tell_puts {
            true => "same".to_owned(),
            false => format!("{round:04}"),
        };
        assert!(seen.insert(fixture.put("a", bytes).await.fingerprint), "round {round}");
    }
}

/// In the first chunk and far into the body.
pub async fn a_failing_body_leaves_nothing_and_its_error_comes_back(fixture: Fixture) {
    for chunks in [0, 1, 50] {
        for text in ["new/deep/place", ".larder/staging/upload"] {
            let put = fixture.store.put(&place(text), failing_after(chunks), PutOptions::default()).await;
            let Err(Error::Body(source)) = put else { panic!("{put:?}") };
            assert!(source.is::<HungUp>());
        }
    }
    fixture.holds_only(&[]).await;
}

/// The old bytes stay.
pub async fn a_failing_replacement_leaves_what_was_there(fixture: Fixture) {
    for text in ["a/b", ".larder/staging/upload"] {
        let before = fixture.put(text, "old").await;
        let put = fixture.store.put(&place(text), failing_after(50), PutOptions::default()).await;
        assert!(put.is_err());
        assert_eq!(fixture.read(text).await.as_deref(), Some("old"));
        let after = fixture.store.stat(&place(text)).await.unwrap();
        assert_eq!(fixture.seen(after), fixture.seen(before));
    }
    fixture.holds_only(&[".larder/staging/upload", "a/b"]).await;
}

/// Dropped while the body stalls, at its beginning and far into it.
pub async fn a_dropped_put_leaves_nothing(fixture: Fixture) {
    for chunks in [0, 1, 50] {
        for text in ["new/place", ".larder/staging/upload"] {
            let begin = stream::iter((0..chunks).map(|_| Ok(Bytes::from(vec![1; 65_536]))));
            let stalled = begin.chain(stream::pending()).boxed();
            let put_place = place(text);
            let put = fixture.store.put(&put_place, stalled, PutOptions::default());
            assert!(tokio::time::timeout(Duration::from_millis(50), put).await.is_err());
        }
    }
    fixture.holds_only(&[]).await;
}

/// Nor is it an error that nothing does, or can.
pub async fn settling_tells_what_lies_there_and_changes_nothing(fixture: Fixture) {
    for text in ["absent", "new/folder/absent", ".larder/staging/absent"] {
        assert_eq!(fixture.store.settle(&place(text)).await.unwrap(), None, "{text}");
    }
    fixture.holds_only(&[]).await;
    fixture.put("a/b", "x").await;
    let stat = fixture.store.stat(&place("a/b")).await.unwrap();
    assert_eq!(fixture.store.settle(&place("a/b")).await.unwrap(), Some(stat));
    assert_eq!(fixture.store.settle(&place("a/b/c")).await.unwrap(), None);
    assert_eq!(fixture.store.settle(&place("a")).await.unwrap(), None);
    assert_eq!(fixture.read("a/b").await.as_deref(), Some("x"));
    assert!(fixture.store.remove(&place("a/b")).await.unwrap());
    assert_eq!(fixture.store.settle(&place("a/b")).await.unwrap(), None);
    fixture.holds_only(&[]).await;
}

/// While one writer replaces as fast as it can.
pub async fn a_reader_sees_old_or_new_and_never_a_mixture(fixture: Fixture) {
    let versions: Vec<Bytes> =
        (1..=4_u8).map(|version| vec![version; version as usize * 50_000].into()).collect();
    fixture.put("a", versions[0].clone()).await;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (store, done) = (Arc::clone(&fixture.store), Arc::clone(&done));
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    let opened = store.open(&place("a"), OpenOptions::default()).await.unwrap();
                    let size_bytes = opened.stat.size_bytes;
                    let bytes = opened.body.read_all(u64::MAX).await.unwrap();
                    assert_eq!(bytes.len() as u64, size_bytes);
                    assert_eq!(bytes.len(), bytes[0] as usize * 50_000);
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture");
                }
            })
        })
        .collect();
    for round in 0..60 {
        fixture.put("a", versions[round % 4].clone()).await;
    }
    done.store(true, Ordering::SeqCst);
    join_all(readers).await.into_iter().for_each(|joined| joined.unwrap());
}

/// Counts the bytes of its kind that are alive.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

/// 20 MiB pass through, and never more than 4 MiB of their chunks are alive.
pub async fn a_stream_is_not_held_in_memory(fixture: Fixture) {
    let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, peak) = (Arc::clone(&alive), Arc::clone(&most));
    let chunks = (0..320).map(move |_| {
        let now = counted.fetch_add(65_536, Ordering::SeqCst) + 65_536;
        peak.fetch_max(now, Ordering::SeqCst);
        Ok(Bytes::from_owner(Counted(vec![7; 65_536], Arc::clone(&counted))))
    });
    let stat =
        fixture.store.put(&place("big"), stream::iter(chunks).boxed(), PutOptions::default()).await.unwrap();
    assert_eq!(stat.size_bytes, 20 * 1024 * 1024);
    assert!(most.load(Ordering::SeqCst) <= 4 * 1024 * 1024, "{most:?} bytes were alive");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    let mut read = 0;
    let mut body =
        fixture.store.open(&place("big"), OpenOptions::default()).await.unwrap().body.into_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.unwrap();
        assert!(chunk.iter().all(|byte| *byte == 7));
        read += chunk.len() as u64;
    }
    assert_eq!(read, stat.size_bytes);
}

/// All of them arrive, while others empty the folder and so remove it.
pub async fn many_at_once_in_one_new_folder(fixture: Fixture) {
    let tasks = (0..32).map(|index| {
        let store = Arc::clone(&fixture.store);
        tokio::spawn(async move {
            let place = place(&format!("deep/new/folder/{index}"));
            for _ in 0..5 {
                store.put_bytes(&place, "x", PutOptions::default()).await.unwrap();
                assert!(store.remove(&place).await.unwrap());
            }
            store.put_bytes(&place, index.to_string(), PutOptions::default()).await.unwrap();
        })
    });
    join_all(tasks).await.into_iter().for_each(|joined| joined.unwrap());
    for index in 0..32 {
        assert_eq!(fixture.read(&format!("deep/new/folder/{index}")).await, Some(index.to_string()));
    }
    assert_eq!(fixture.places().await.len(), 32);
}

/// And a second removal, or one of what can't be there, is no failure.
pub async fn removal_says_whether_anything_was_there(fixture: Fixture) {
    fixture.put("a/b", "x").await;
    fixture.put("c", "x").await;
    for (text, existed) in [("a/b", true), ("a/b", false), ("never", false), ("c/below", false), ("a", false)]
    {
        assert_eq!(fixture.store.remove(&place(text)).await.unwrap(), existed, "{text}");
    }
    fixture.holds_only(&["c"]).await;
}

/// A prefix is text: with its slash it means what lies below.
pub async fn removing_a_prefix_spares_its_neighbours(fixture: Fixture) {
    for text in ["a/b/1", "a/b/2/3", "a/bc", "a/b.txt", "z"] {
        fixture.put(text, "x").await;
    }
    assert_eq!(fixture.store.remove_prefix("a/b/").await.unwrap(), 2);
    assert_eq!(fixture.store.remove_prefix("a/b/").await.unwrap(), 0);
    fixture.holds_only(&["a/b.txt", "a/bc", "z"]).await;
    assert!(matches!(fixture.store.remove_prefix("").await, Err(Error::Invalid { .. })));
}
