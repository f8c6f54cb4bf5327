//! What is noted, what a hook is told of it, and what becomes of it when the hook does not take it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use larder_catalog::Class;
use larder_core::{Code, Fault};

use super::{CdnSettings, HOOKS, HookKind, HookOptions, Purge, PurgeHook, generic};
use crate::{
    BucketPolicy, DeleteOptions, Larder, Visibility,
    home::{Home, bucket, key, put, work},
    net::Guarded,
};

/// Takes every purge, unless it is told to refuse.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<(Vec<Purge>, Option<Code>)>>);

impl Told {
    fn take(&self) -> Vec<Purge> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).0)
    }

    fn refuse(&self, with: Option<Code>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = with;
    }
}

#[async_trait]
impl PurgeHook for Told {
    fn kind(&self) -> &'static HookKind {
        &generic::KIND
    }

    fn target(&self) -> String {
        "the test".to_owned()
    }

    fn things_max(&self) -> u32 {
        2
    }

    async fn purge(&self, _: &Guarded, purge: &Purge) -> Result<(), Fault> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.0.push(purge.clone());
        told.1.map_or(Ok(()), |code| Err(Fault::new(code, "no")))
    }
}

async fn larder(home: &Home) -> (Larder, Told) {
    let told = Told::default();
    let cdn = CdnSettings {
        hook: Some(Arc::new(told.clone())),
        alias: Some(("/media/".to_owned(), bucket("media"))),
    };
    let larder = home
        .larder_with(|settings| {
            settings.cdn = cdn;
            settings.public_url = Some("https://x.example".parse().unwrap());
        })
        .await;
    (larder, told)
}

/// Runs what is due, once caches may be told.
async fn settle(larder: &Larder) {
    tokio::time::sleep(super::sending::SETTLED_AFTER).await;
    work(larder).await;
}

#[tokio::test]
async fn what_anybody_may_read_is_told_by_tags_and_addresses_when_it_changes() {
    let home = Home::memory();
    let (larder, told) = larder(&home).await;
    let picture = larder_testkit::fixtures::jpeg(32, 24);
    let asset = put(&larder, "media", "a b.jpg", &picture).await;
    settle(&larder).await;
    assert_eq!(told.take(), [], "nobody can have cached what is new");

    put(&larder, "media", "a b.jpg", &larder_testkit::fixtures::jpeg(40, 30)).await;
    settle(&larder).await;
    let purges = told.take();
    let [purge] = purges.as_slice() else { panic!("{purges:?}") };
    assert_eq!((purge.reason, purge.tags.as_slice()), ("replaced", [format!("a-{}", asset.id)].as_slice()));
    let former = &asset.sha256[..16];
    for path in ["/m/media/a%20b.jpg", "/media/a%20b.jpg"] {
        for path in [path.to_owned(), format!("{path}?v={former}")] {
            assert!(purge.paths.contains(&path), "{path}: {purge:?}");
            assert!(purge.urls.contains(&format!("https://x.example{path}")), "{path}: {purge:?}");
        }
    }
    let of_preset = |start: &str, end: &str| {
        purge.paths.iter().filter(|path| path.starts_with(start) && path.contains(end)).count()
    };
    assert_eq!(of_preset("/i/_/p:keep-small/media/a%20b.jpg.", "jpg.jpg"), 2, "{purge:?}");
    assert_eq!(of_preset("/i/_/p:keep-small/media/a%20b.jpg.", "jpg.auto"), 2, "{purge:?}");
    assert_eq!(of_preset("/i/larder.", "/p:keep-small/media/a%20b.jpg.jpg"), 2, "{purge:?}");

    let (media, at) = (bucket("media"), key("a b.jpg"));
    larder.delete(&media, &at, &DeleteOptions::default()).await.unwrap();
    larder.restore(asset.id).await.unwrap();
    larder.delete(&media, &at, &DeleteOptions { purge: true, if_match: None }).await.unwrap();
    settle(&larder).await;
    let purges = told.take();
    let [purge] = purges.as_slice() else { panic!("changes before the telling share it: {purges:?}") };
    assert_eq!(purge.reason, "deleted");
    assert!(
        purge.paths.iter().any(|path| path.starts_with("/i/_/p:keep-small/")),
        "its variants too: {purge:?}"
    );
    settle(&larder).await;
    assert_eq!(told.take(), []);
}

#[tokio::test]
async fn of_private_buckets_and_without_a_hook_nothing_is_noted() {
    let home = Home::memory();
    let (larder, told) = larder(&home).await;
    put(&larder, "files", "a", b"one").await;
    put(&larder, "files", "a", b"two").await;
    settle(&larder).await;
    assert_eq!(told.take(), []);

    let home = Home::memory();
    let larder = home.larder().await;
    put(&larder, "media", "a.jpg", &larder_testkit::fixtures::jpeg(32, 24)).await;
    larder.delete(&bucket("media"), &key("a.jpg"), &DeleteOptions::default()).await.unwrap();
    assert_eq!(larder.catalog().cdn_purges(10).await.unwrap(), []);
}

#[tokio::test]
async fn a_bucket_that_others_may_read_than_before_is_told_as_a_whole() {
    let home = Home::memory();
    let (larder, told) = larder(&home).await;
    let media = bucket("media");
    let public = larder.bucket(&media).await.unwrap().policy.clone();
    let private = BucketPolicy { visibility: Visibility::Private, ..public.clone() };
    larder.put_bucket(&media, private.clone()).await.unwrap();
    settle(&larder).await;
    let purges = told.take();
    let [purge] = purges.as_slice() else { panic!("{purges:?}") };
    assert_eq!((purge.reason, purge.tags.as_slice()), ("visibility", ["b-media".to_owned()].as_slice()));
    assert_eq!(purge.paths, ["/m/media/*", "/i/*", "/media/*"]);
    let cached = BucketPolicy { cache: larder_core::text::Span::seconds(5), ..private };
    larder.put_bucket(&media, cached).await.unwrap();
    settle(&larder).await;
    assert_eq!(told.take(), [], "the same people read the same");
    larder.put_bucket(&media, public).await.unwrap();
    settle(&larder).await;
    assert_eq!(told.take().len(), 1);
}

#[tokio::test]
async fn what_is_refused_stays_noted_and_goes_with_the_next_change() {
    let home = Home::memory();
    let (larder, told) = larder(&home).await;
    let picture = larder_testkit::fixtures::jpeg(32, 24);
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        put(&larder, "media", name, &picture).await;
    }
    told.refuse(Some(Code::PurgeRefused));
    larder.delete(&bucket("media"), &key("a.jpg"), &DeleteOptions::default()).await.unwrap();
    settle(&larder).await;
    assert_eq!(told.take().len(), 1);
    assert_eq!(larder.catalog().cdn_purges(10).await.unwrap().len(), 1, "its job is dead, the note is not");
    told.refuse(None);
    for name in ["b.jpg", "c.jpg"] {
        larder.delete(&bucket("media"), &key(name), &DeleteOptions::default()).await.unwrap();
    }
    settle(&larder).await;
    let sizes: Vec<usize> = told.take().iter().map(|purge| purge.tags.len()).collect();
    assert_eq!(sizes, [2, 1], "as many in one request as the hook takes");
    assert_eq!(larder.catalog().cdn_purges(10).await.unwrap(), []);
}

#[tokio::test]
async fn a_note_that_changes_while_it_is_told_is_told_again() {
    let home = Home::memory();
    let (larder, _) = larder(&home).await;
    let note = async |reason: &'static str| {
        let noted = larder.catalog().commit(Class::Durable, move |tx| {
            Box::pin(
                async move { tx.note_cdn_purge(&bucket("media"), None, reason, vec![reason.into()]).await },
            )
        });
        noted.await.unwrap();
    };
    note("replaced").await;
    let seen = larder.catalog().cdn_purges(1).await.unwrap().remove(0);
    note("deleted").await;
    let forgotten = larder
        .catalog()
        .commit(Class::Durable, move |tx| Box::pin(async move { tx.forget_cdn_purge(&seen).await }));
    assert!(!forgotten.await.unwrap());
    let both = larder.catalog().cdn_purges(1).await.unwrap().remove(0);
    assert_eq!((both.turn, both.traces), (2, vec!["deleted".into(), "replaced".into()]));
}

#[test]
fn each_kind_of_hook_names_the_setting_that_it_lacks() {
    for kind in HOOKS {
        assert!(HookKind::named(kind.name).is_some() && !kind.doc.is_empty());
        let missing = kind.build(&HookOptions::default()).unwrap_err();
        assert!(missing.contains(kind.name) && missing.contains("cdn.purge_"), "{missing}");
    }
}
