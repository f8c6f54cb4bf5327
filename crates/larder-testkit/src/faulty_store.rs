//! A store around a store that fails when it is told to.

use std::{
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use larder_store::{
    Body, BoxError, ByteStream, Capabilities, CopyOptions, Error, ListOptions, Listing, OpenOptions, Opened,
    Place, PutOptions, RenameOptions, Result, SignedAction, Stat, Store, UnfinishedOptions,
};
use url::Url;

/// An operation of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the trait's methods")]
pub enum Operation {
    Put,
    Open,
    Stat,
    Settle,
    List,
    Remove,
    Copy,
    Rename,
    RemoveUnfinished,
}

/// As what an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The store does not answer.
    Unavailable,
    /// There is no room.
    Full,
    /// There is no permission.
    Denied,
    /// Something that should not happen.
    Defect,
}

impl Failure {
    fn error(self, place: &str) -> Error {
        let (place, source) = (place.to_owned(), BoxError::from("a fault made by the test"));
        match self {
            Self::Unavailable => Error::Unavailable { place, source },
            Self::Full => Error::Full { place, source },
            Self::Denied => Error::Denied { place, path: None, source },
            Self::Defect => Error::Internal { place, source },
        }
    }
}

/// When in its course an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    AfterBytes(u64),
    AfterEffect,
}

/// Which operations fail, and how.
///
/// ```
/// use larder_testkit::faulty_store::{Failure, Operation, Rule};
/// let second_put_fills_the_disk = Rule::on(Operation::Put).skip(1).times(1).fails(Failure::Full);
/// ```
#[derive(Debug, Clone)]
pub struct Rule {
    operation: Option<Operation>,
    place_part: String,
    skip: u64,
    times: u64,
    delay: Duration,
    when: When,
    failure: Option<Failure>,
}

impl Rule {
    /// Every operation.
    pub fn on_all() -> Self {
        Self {
            operation: None,
            place_part: String::new(),
            skip: 0,
            times: u64::MAX,
            delay: Duration::ZERO,
            when: When::Before,
            failure: None,
        }
    }

    /// One kind of operation.
    pub fn on(operation: Operation) -> Self {
        Self { operation: Some(operation), ..Self::on_all() }
    }

    /// Only where the place (of a rename or copy the target, of a list the prefix) contains this.
    #[must_use]
    pub fn at(mut self, place_part: impl Into<String>) -> Self {
        self.place_part = place_part.into();
        self
    }

    /// Not the first `count` that match.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Only `count` of them.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    /// They wait before they begin.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// They fail and have changed nothing.
    #[must_use]
    pub fn fails(mut self, failure: Failure) -> Self {
        (self.failure, self.when) = (Some(failure), When::Before);
        self
    }

    /// They fail, but what they were to change is changed: the answer got lost.
    #[must_use]
    pub fn fails_after_effect(mut self, failure: Failure) -> Self {
        (self.failure, self.when) = (Some(failure), When::AfterEffect);
        self
    }

    /// A put fails when so many bytes came in; an opened body breaks off when so many went out.
    /// Other operations fail before they begin.
    #[must_use]
    pub fn fails_after_bytes(mut self, bytes: u64, failure: Failure) -> Self {
        (self.failure, self.when) = (Some(failure), When::AfterBytes(bytes));
        self
    }

    fn applies(&mut self, operation: Operation, place: &str) -> bool {
        let matches = self.operation.is_none_or(|own| own == operation) && place.contains(&self.place_part);
        if !matches || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

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
    async fn around<T>(
        &self,
        operation: Operation,
        place: &str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let rule = self.faults.rule_for(operation, place);
        tokio::time::sleep(rule.delay).await;
        match (rule.failure, rule.when) {
            (None, _) => work.await,
            (Some(failure), When::AfterEffect) => {
                work.await?;
                Err(failure.error(place))
            }
            (Some(failure), _) => Err(failure.error(place)),
        }
    }
}

/// A stream that breaks off with an error after so many bytes, if it is longer.
fn broken(body: ByteStream, bytes: u64, error: Error) -> ByteStream {
    let error = BoxError::from(error);
    stream::try_unfold((body, bytes, Some(error)), |(mut body, rest, mut error)| async move {
        let Some(chunk) = body.next().await.transpose()? else {
            return Ok(None);
        };
        if rest == 0 && !chunk.is_empty() {
            return error.take().map_or(Ok(None), Err);
        }
        let part = chunk.slice(..chunk.len().min(usize::try_from(rest).unwrap_or(usize::MAX)));
        if part.len() == chunk.len() {
            let rest = rest - part.len() as u64;
            return Ok(Some((part, (body, rest, error))));
        }
        // What is left of the chunk makes the next step fail.
        let left = stream::once(async move { Ok(chunk) }).chain(body).boxed();
        Ok(Some((part, (left, 0, error))))
    })
    .boxed()
}

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

    async fn signed_url(&self, place: &Place, action: &SignedAction, life: Duration) -> Result<Option<Url>> {
        self.inner.signed_url(place, action, life).await
    }

    async fn put(&self, place: &Place, body: ByteStream, options: PutOptions) -> Result<Stat> {
        let rule = self.faults.rule_for(Operation::Put, place.as_str());
        tokio::time::sleep(rule.delay).await;
        let Some(failure) = rule.failure else {
            return self.inner.put(place, body, options).await;
        };
        match rule.when {
            When::Before => {}
            When::AfterBytes(bytes) => {
                let body = broken(body, bytes, failure.error(place.as_str()));
                return match self.inner.put(place, body, options).await {
                    Err(Error::Body(source)) => {
                        Err(source.downcast::<Error>().map_or_else(Error::Body, |own| *own))
                    }
                    other => other,
                };
            }
            When::AfterEffect => {
                self.inner.put(place, body, options).await?;
            }
        }
        Err(failure.error(place.as_str()))
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        let rule = self.faults.rule_for(Operation::Open, place.as_str());
        tokio::time::sleep(rule.delay).await;
        let opened = match (rule.failure, rule.when) {
            (None, _) => return self.inner.open(place, options).await,
            (Some(_), When::AfterBytes(_)) => self.inner.open(place, options).await?,
            (Some(failure), _) => return Err(failure.error(place.as_str())),
        };
        let (Some(failure), When::AfterBytes(bytes)) = (rule.failure, rule.when) else {
            return Ok(opened);
        };
        let body = broken(opened.body.into_stream(), bytes, failure.error(place.as_str()));
        Ok(Opened { body: Body::Stream(body), ..opened })
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
}
