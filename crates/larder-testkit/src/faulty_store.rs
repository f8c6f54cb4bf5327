//! A store around a store that fails when it is told to.

mod cut;
mod rule;

use std::{
    future::{Future, pending},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use larder_store::{
    Body, ByteStream, Capabilities, CopyOptions, Error, Fingerprint, ListOptions, Listing, OpenOptions,
    Opened, Place, PutOptions, RenameOptions, Result, SignedAction, Stat, Store, UnfinishedOptions,
};
use url::Url;

use cut::{End, cut};
use rule::{Effect, When};
pub use rule::{Failure, Operation, Rule};

/// The handle by which a test controls a [`FaultyStore`] and sees what was asked of it.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    log: Vec<(Operation, String)>,
}

impl Faults {
    /// Adds a rule. Of several that match an operation the first decides.
    pub fn add(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    /// From now on everything is unavailable, until [`mend`](Self::mend).
    pub fn cut(&self) {
        self.add(Rule::on_all().fails(Failure::Unavailable));
    }

    /// Forgets all rules.
    pub fn mend(&self) {
        self.lock().rules.clear();
    }

    /// What was asked of the store so far, in order: the operation and its place, target or prefix.
    pub fn log(&self) -> Vec<(Operation, String)> {
        self.lock().log.clone()
    }

    /// How often an operation was asked for.
    pub fn count(&self, operation: Operation) -> usize {
        self.lock().log.iter().filter(|(asked, _)| *asked == operation).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rule_for(&self, operation: Operation, place: &str) -> Rule {
        let mut state = self.lock();
        state.log.push((operation, place.to_owned()));
        let found =
            state.rules.iter_mut().find_map(|rule| rule.applies(operation, place).then(|| rule.clone()));
        found.unwrap_or_else(Rule::on_all)
    }
}

/// A store that does what the inner one does, but for what its [`Faults`] say.
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    faults: Faults,
}

impl<S: Store> FaultyStore<S> {
    /// A store without faults as yet, and the handle to give it some.
    pub fn new(inner: S) -> (Self, Faults) {
        let faults = Faults::default();
        (Self { inner, faults: faults.clone() }, faults)
    }

    /// Applies a rule around an operation that has no body.
    async fn around<T: Answer>(
        &self,
        operation: Operation,
        place: &str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let rule = self.faults.rule_for(operation, place);
        tokio::time::sleep(rule.delay).await;
        match rule.effect {
            Effect::Works | Effect::Truncates(_) => work.await,
            Effect::WrongFingerprint => Ok(work.await?.with_a_wrong_fingerprint()),
            Effect::Fails(When::AfterEffect, failure) => {
                work.await?;
                Err(failure.error(place))
            }
            Effect::Fails(_, failure) => Err(failure.error(place)),
            Effect::Hangs(When::AfterEffect) => {
                work.await?;
                pending().await
            }
            Effect::Hangs(_) => pending().await,
        }
    }
}

/// What an operation answers, as far as it can be wrong.
trait Answer: Send + Sized {
    fn with_a_wrong_fingerprint(self) -> Self {
        self
    }
}

impl Answer for Stat {
    fn with_a_wrong_fingerprint(mut self) -> Self {
        self.fingerprint = Fingerprint::new(format!("wrong-{}", self.fingerprint));
        self
    }
}

impl<T: Answer> Answer for Option<T> {
    fn with_a_wrong_fingerprint(self) -> Self {
        self.map(T::with_a_wrong_fingerprint)
    }
}

impl Answer for Listing {}
impl Answer for bool {}
impl Answer for u64 {}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for FaultyStore<S> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn local_path(&self, place: &Place) -> Option<PathBuf> {
        self.inner.local_path(place)
    }

    fn public_url(&self, place: &Place) -> Option<Url> {
        self.inner.public_url(place)
    }

    async fn signed_url(
        &self,
        place: &Place,
        action: &SignedAction,
        life: std::time::Duration,
    ) -> Result<Option<Url>> {
        self.inner.signed_url(place, action, life).await
    }

    async fn put(&self, place: &Place, body: ByteStream, options: PutOptions) -> Result<Stat> {
        let rule = self.faults.rule_for(Operation::Put, place.as_str());
        tokio::time::sleep(rule.delay).await;
        let end = match rule.effect {
            Effect::Works => return self.inner.put(place, body, options).await,
            Effect::WrongFingerprint => {
                return Ok(self.inner.put(place, body, options).await?.with_a_wrong_fingerprint());
            }
            Effect::Fails(When::Before, failure) => return Err(failure.error(place.as_str())),
            Effect::Fails(When::AfterEffect, failure) => {
                self.inner.put(place, body, options).await?;
                return Err(failure.error(place.as_str()));
            }
            Effect::Hangs(When::Before) => pending().await,
            Effect::Hangs(When::AfterEffect) => {
                self.inner.put(place, body, options).await?;
                return pending().await;
            }
            Effect::Fails(When::AfterBytes(bytes), failure) => {
                (bytes, End::Error(failure.error(place.as_str())))
            }
            Effect::Hangs(When::AfterBytes(bytes)) => (bytes, End::Silence),
            Effect::Truncates(bytes) => (bytes, End::Early),
        };
        match self.inner.put(place, cut(body, end.0, end.1), options).await {
            Err(Error::Body(source)) => Err(source.downcast::<Error>().map_or_else(Error::Body, |own| *own)),
            other => other,
        }
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        let rule = self.faults.rule_for(Operation::Open, place.as_str());
        tokio::time::sleep(rule.delay).await;
        let (bytes, end) = match rule.effect {
            Effect::Works => return self.inner.open(place, options).await,
            Effect::WrongFingerprint => {
                let opened = self.inner.open(place, options).await?;
                return Ok(Opened { stat: opened.stat.with_a_wrong_fingerprint(), ..opened });
            }
            Effect::Fails(When::Before | When::AfterEffect, failure) => {
                return Err(failure.error(place.as_str()));
            }
            Effect::Hangs(When::Before | When::AfterEffect) => pending().await,
            Effect::Fails(When::AfterBytes(bytes), failure) => {
                (bytes, End::Error(failure.error(place.as_str())))
            }
            Effect::Hangs(When::AfterBytes(bytes)) => (bytes, End::Silence),
            Effect::Truncates(bytes) => (bytes, End::Early),
        };
        let opened = self.inner.open(place, options).await?;
        Ok(Opened { body: Body::Stream(cut(opened.body.into_stream(), bytes, end)), ..opened })
    }

    async fn stat(&self, place: &Place) -> Result<Stat> {
        self.around(Operation::Stat, place.as_str(), self.inner.stat(place)).await
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        self.around(Operation::Settle, place.as_str(), self.inner.settle(place)).await
    }

    async fn list(&self, options: ListOptions) -> Result<Listing> {
        let prefix = options.prefix.clone();
        self.around(Operation::List, &prefix, self.inner.list(options)).await
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        self.around(Operation::Remove, place.as_str(), self.inner.remove(place)).await
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        self.around(Operation::Copy, to.as_str(), self.inner.copy(from, to, options)).await
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        self.around(Operation::Rename, to.as_str(), self.inner.rename(from, to, options)).await
    }

    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64> {
        self.around(Operation::RemoveUnfinished, "", self.inner.remove_unfinished(options)).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{StreamExt, TryStreamExt};
    use larder_store::{MemoryStore, StoreExt};

    use super::*;

    fn faulty() -> (FaultyStore<MemoryStore>, Faults, Place) {
        let (store, faults) = FaultyStore::new(MemoryStore::new());
        (store, faults, "a/b".parse().unwrap())
    }

    #[tokio::test]
    async fn the_chosen_operation_fails_and_no_other() {
        let (store, faults, place) = faulty();
        faults.add(Rule::on(Operation::Put).skip(1).times(1).fails(Failure::Full));
        for expected in [true, false, true] {
            assert_eq!(store.put_bytes(&place, "x", PutOptions::default()).await.is_ok(), expected);
        }
        assert_eq!(faults.count(Operation::Put), 3);
    }

    #[tokio::test]
    async fn a_lost_answer_has_had_its_effect() {
        let (store, faults, place) = faulty();
        faults.add(Rule::on(Operation::Put).times(1).fails_after_effect(Failure::Unavailable));
        assert!(store.put_bytes(&place, "x", PutOptions::default()).await.is_err());
        assert!(store.exists(&place).await.unwrap());
    }

    #[tokio::test]
    async fn a_disk_that_fills_in_the_middle_leaves_nothing() {
        let (store, faults, place) = faulty();
        faults.add(Rule::on(Operation::Put).fails_after_bytes(3, Failure::Full));
        let error = store.put_bytes(&place, "12345", PutOptions::default()).await.unwrap_err();
        assert!(matches!(error, Error::Full { .. }), "{error:?}");
        assert!(!store.exists(&place).await.unwrap());
    }

    #[tokio::test]
    async fn a_body_breaks_off_where_it_was_told() {
        let (store, faults, place) = faulty();
        store.put_bytes(&place, "12345", PutOptions::default()).await.unwrap();
        faults.add(Rule::on(Operation::Open).fails_after_bytes(3, Failure::Unavailable));
        let mut body = store.open(&place, OpenOptions::default()).await.unwrap().body.into_stream();
        assert_eq!(body.next().await.unwrap().unwrap(), "123");
        assert!(body.next().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_cut_store_answers_again_when_it_is_mended() {
        let (store, faults, place) = faulty();
        faults.cut();
        assert!(matches!(store.stat(&place).await, Err(Error::Unavailable { .. })));
        faults.mend();
        assert!(matches!(store.stat(&place).await, Err(Error::NotFound { .. })));
    }

    #[tokio::test]
    async fn a_truncated_body_ends_as_if_it_were_whole_in_both_directions() {
        let (store, faults, place) = faulty();
        faults.add(Rule::on(Operation::Put).times(1).truncates_after_bytes(4));
        let stat = store.put_bytes(&place, "12345", PutOptions::default()).await.unwrap();
        assert_eq!(stat.size_bytes, 4);
        faults.add(Rule::on(Operation::Open).truncates_after_bytes(3));
        let opened = store.open(&place, OpenOptions::default()).await.unwrap();
        assert_eq!(opened.range, 0..4);
        assert_eq!(opened.body.read_all(10).await.unwrap(), "123");
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_never_ends() {
        let hour = Duration::from_secs(3_600);
        let (store, faults, place) = faulty();
        store.put_bytes(&place, "12345", PutOptions::default()).await.unwrap();
        faults.add(Rule::on(Operation::Stat).hangs());
        faults.add(Rule::on(Operation::Open).hangs_after_bytes(2));
        faults.add(Rule::on(Operation::Remove).hangs_after_effect());
        assert!(tokio::time::timeout(hour, store.stat(&place)).await.is_err());
        let mut body = store.open(&place, OpenOptions::default()).await.unwrap().body.into_stream();
        assert_eq!(body.try_next().await.unwrap().unwrap(), "12");
        assert!(tokio::time::timeout(hour, body.next()).await.is_err());
        assert!(tokio::time::timeout(hour, store.remove(&place)).await.is_err());
        faults.mend();
        assert!(!store.exists(&place).await.unwrap(), "the removal had its effect");
    }

    #[tokio::test]
    async fn a_wrong_fingerprint_is_in_the_answer_alone() {
        let (store, faults, place) = faulty();
        let put = store.put_bytes(&place, "12345", PutOptions::default()).await.unwrap();
        faults.add(Rule::on(Operation::Stat).times(1).answers_a_wrong_fingerprint());
        assert_ne!(store.stat(&place).await.unwrap().fingerprint, put.fingerprint);
        assert_eq!(store.stat(&place).await.unwrap().fingerprint, put.fingerprint);
    }
}
