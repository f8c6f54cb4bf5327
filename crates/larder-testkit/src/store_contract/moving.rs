//! Copies and renames.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use larder_store::{CopyOptions, RenameOptions, Store};

use super::{Fixture, place};

/// Into a folder that is new, out of one that is then empty.
pub async fn a_rename_moves_the_same_bytes(fixture: Fixture) {
    for from in ["one/two/three", ".larder/staging/upload"] {
        let put = fixture.put(from, "bytes").await;
        let to = place("new/folder/file");
        let renamed = fixture.store.rename(&place(from), &to, RenameOptions::default()).await.unwrap();
        let found = fixture.store.stat(&to).await.unwrap();
        assert_eq!(fixture.seen(renamed.clone()), fixture.seen(found));
        assert_eq!(renamed.size_bytes, put.size_bytes);
        if fixture.store.capabilities().rename_keeps_fingerprint {
            assert_eq!(renamed.fingerprint, put.fingerprint);
        }
        assert_eq!(fixture.read("new/folder/file").await.as_deref(), Some("bytes"));
        fixture.holds_only(&["new/folder/file"]).await;
    }
}

/// What was at the target is gone.
pub async fn a_rename_replaces(fixture: Fixture) {
    fixture.put("a", "a").await;
    fixture.put("b/b", "b").await;
    fixture.store.rename(&place("a"), &place("b/b"), RenameOptions::default()).await.unwrap();
    assert_eq!(fixture.read("b/b").await.as_deref(), Some("a"));
    fixture.holds_only(&["b/b"]).await;
}

/// Nor does it lose anything.
pub async fn a_rename_onto_itself_changes_nothing(fixture: Fixture) {
    let put = fixture.put("a/b", "x").await;
    let renamed = fixture.store.rename(&place("a/b"), &place("a/b"), RenameOptions::default()).await;
    assert_eq!(fixture.seen(renamed.unwrap()), fixture.seen(put));
    assert_eq!(fixture.read("a/b").await.as_deref(), Some("x"));
    fixture.holds_only(&["a/b"]).await;
}

/// Of what happens to its source later.
pub async fn a_copy_is_independent(fixture: Fixture) {
    fixture.put("a", "old").await;
    let copied = fixture.store.copy(&place("a"), &place("c/d"), CopyOptions::default()).await.unwrap();
    let found = fixture.store.stat(&place("c/d")).await.unwrap();
    assert_eq!(fixture.seen(copied), fixture.seen(found));
    fixture.put("a", "new").await;
    assert_eq!(fixture.read("c/d").await.as_deref(), Some("old"));
    assert!(fixture.store.remove(&place("a")).await.unwrap());
    assert_eq!(fixture.read("c/d").await.as_deref(), Some("old"));
    fixture.store.copy(&place("c/d"), &place("c/d"), CopyOptions::default()).await.unwrap();
    assert_eq!(fixture.read("c/d").await.as_deref(), Some("old"));
    fixture.holds_only(&["c/d"]).await;
}

/// A reader that misses the bytes at one place finds them at the other, unless they moved back in
/// between, and never finds others.
pub async fn renaming_there_and_back_while_reading_never_loses_the_bytes(fixture: Fixture) {
    fixture.put("here", "bytes").await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (store, done) = (Arc::clone(&fixture.store), Arc::clone(&done));
        async move {
            while !done.load(Ordering::SeqCst) {
                for text in ["here", "far/there"] {
                    match store.open(&place(text), Default::default()).await {
                        Ok(opened) => assert_eq!(opened.body.read_all(10).await.unwrap(), "bytes"),
                        Err(larder_store::Error::NotFound { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        }
    });
    for _ in 0..40 {
        for (from, to) in [("here", "far/there"), ("far/there", "here")] {
            fixture.store.rename(&place(from), &place(to), RenameOptions::default()).await.unwrap();
        }
    }
    done.store(true, Ordering::SeqCst);
    reader.await.unwrap();
    fixture.holds_only(&["here"]).await;
}
