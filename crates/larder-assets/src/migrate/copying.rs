//! Copying bytes from store to store: streamed, hashed on the way, all or nothing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use larder_catalog::Class;
use larder_core::{Code, Fault};
use larder_store::{
    ByteStream, Condition, Fingerprint, OpenOptions, Place, PutOptions, Stat, Store, StoreExt,
};
use sha2::{Digest, Sha256};

use super::{item::Item, one::Way, rate::Rate};
use crate::{
    larder::{Larder, place},
    spare::Forget,
};

/// Where a copy came to lie.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) place: Place,
    pub(super) fingerprint: String,
    /// Whether these bytes lay there already: an earlier move was cut off behind them, or they were never
    /// removed.
    pub(super) adopted: bool,
}

/// How a copy ended that is no failure.
#[derive(Debug)]
pub(super) enum Copied {
    To(Landed),
    /// The bytes are not where, or what, the record said: it has to be read again.
    Outdated,
    /// Other bytes lay at the target, of a writer that is through by now: it may be tried again.
    Displaced,
}

/// From this size on a copy is always looked at again: that is nothing beside its bytes, and what is put in
/// parts may be answered in another way.
const LOOKED_AT_BYTES: u64 = 1 << 20;

/// Whether a store answers to a put what it answers when it is asked again, as a run has seen it so far.
///
/// A record says what readers will be answered, and one that says otherwise costs each of them a look at the
/// whole bytes. A store of which this was seen is believed afterwards, for small copies: what it was sent is
/// certain by digest and signature, and before anything that was left is removed, the copy is looked at again
/// in any case.
#[derive(Debug, Default)]
pub(super) struct Answers {
    agree: AtomicBool,
}

impl Answers {
    fn have_to_be_checked(&self, store: &Arc<dyn Store>, item: &Item) -> bool {
        // Where two who put at the same time may both succeed, the answer says nothing of what lies there.
        !self.agree.load(Ordering::Relaxed)
            || !store.capabilities().create_if_absent
            || item.size_bytes() >= LOOKED_AT_BYTES
    }

    /// What lies where a copy was put, if it is that copy.
    async fn check(&self, store: &Arc<dyn Store>, at: &Place, put: &Stat) -> Result<Option<Stat>, Fault> {
        let now = match store.stat(at).await {
            // Another move took it back meanwhile.
            Err(larder_store::Error::NotFound { .. }) => return Ok(None),
            now => now?,
        };
        let same = now.fingerprint == put.fingerprint;
        self.agree.fetch_or(same, Ordering::Relaxed);
        Ok(same.then_some(now))
    }
}

impl Larder {
    /// Copies the bytes of an item into another store. Nothing that lies there is overwritten, and when
    /// this returns the copy is durable, has the digest that the record says, and its fingerprint is the one
    /// that readers will find.
    pub(super) async fn copy_item(&self, item: &Item, way: &Way) -> Result<Copied, Fault> {
        let (natural, escaped) = item.targets(self).await?;
        match self.copy_to(item, way, natural).await? {
            Some(copied) => Ok(copied),
            None => {
                // The file system can't give the place: `a` beside `a/b`.
                let to = &way.to;
                let blocked = || Fault::internal(format!("the place {} is blocked in {to}", item.at()));
                let escaped = escaped.ok_or_else(blocked)?;
                self.announce_copy(item, to, &escaped).await?;
                self.copy_to(item, way, escaped).await?.ok_or_else(blocked)
            }
        }
    }

    /// Copies to one place; `None` if the store can't give it.
    async fn copy_to(&self, item: &Item, way: &Way, at: Place) -> Result<Option<Copied>, Fault> {
        let to = way.to.as_str();
        let target = self.store(to)?;
        // One that shares its bytes may have brought them already.
        if item.is_shared()
            && let Some(found) = target.find(&at).await?
            && item.is_known_at(self, (to, at.as_str()), found.fingerprint.as_str()).await?
        {
            let fingerprint = found.fingerprint.to_string();
            return Ok(Some(Copied::To(Landed { place: at, fingerprint, adopted: true })));
        }
        let options = PutOptions {
            attributes: item.attributes(),
            condition: Condition::IfAbsent,
            size_hint: Some(item.size_bytes()),
        };
        let Some(body) = self.source_of(item, way.rate.as_ref()).await? else {
            return Ok(Some(Copied::Outdated));
        };
        let (now, adopted) = match target.put(&at, body, options).await {
            // It did not read the bytes to their end, where their digest is known.
            Ok(put) if put.size_bytes != item.size_bytes() => (None, false),
            Ok(put) if way.answers.have_to_be_checked(target, item) => {
                (way.answers.check(target, &at, &put).await?, false)
            }
            Ok(put) => (Some(put), false),
            Err(larder_store::Error::Precondition { .. }) => match self.holds(target, &at, item).await? {
                // Whoever put it may have died before it was durable.
                Some(found) => (target.settle(&at).await?.filter(|now| now.fingerprint == found), true),
                None => return self.occupied(item, to, &at).await.map(Some),
            },
            Err(larder_store::Error::Blocked { .. }) => return Ok(None),
            Err(larder_store::Error::Body(source)) => return Err(broken_off(source)),
            Err(error) => return Err(error.into()),
        };
        match now {
            Some(now) => {
                let fingerprint = now.fingerprint.to_string();
                Ok(Some(Copied::To(Landed { place: at, fingerprint, adopted })))
            }
            None => self.occupied(item, to, &at).await.map(Some),
        }
    }

    /// Notes that a copy of an item is on its way. What lies there with other bytes, and is known as ours,
    /// goes first: the copy of a former version, of which a move was cut off.
    pub(super) async fn announce_copy(&self, item: &Item, to: &str, at: &Place) -> Result<(), Fault> {
        let Some(copy) = item.copy_at(to, at) else { return Ok(()) };
        for _ in 0..2 {
            let note = copy.clone();
            let noted = self
                .catalog()
                .commit(Class::Durable, move |tx| Box::pin(async move { tx.note_coming(&note).await }));
            if noted.await? {
                return Ok(());
            }
            match self.catalog().spare_copy(to, at.as_str()).await? {
                Some(former) if former.sha256 != copy.sha256 => {
                    self.remove_spare(&former, Forget::Now).await?;
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// The bytes of an item as a stream that fails at its end unless they are those of the record; `None`
    /// if they are not there (any more).
    async fn source_of(&self, item: &Item, rate: Option<&Arc<Rate>>) -> Result<Option<ByteStream>, Fault> {
        let store = self.store(item.store())?;
        let opened = match store.open(&place(item.at())?, OpenOptions::default()).await {
            Err(larder_store::Error::NotFound { .. }) => return Ok(None),
            opened => opened?.exact(),
        };
        if item.fingerprint().is_some_and(|expected| opened.stat.fingerprint.as_str() != expected) {
            return Ok(None);
        }
        let body = opened.body.into_stream();
        let body = match rate.cloned() {
            None => body,
            Some(rate) => body
                .and_then(move |chunk| {
                    let rate = rate.clone();
                    async move {
                        rate.pass(chunk.len()).await;
                        Ok(chunk)
                    }
                })
                .boxed(),
        };
        Ok(Some(verified(body, item.sha256().to_owned(), item.name())))
    }

    /// The fingerprint of what lies at a place, if it is the bytes of an item by their digest.
    async fn holds(
        &self,
        store: &Arc<dyn Store>,
        at: &Place,
        item: &Item,
    ) -> Result<Option<Fingerprint>, Fault> {
        let opened = match store.open(at, OpenOptions::default()).await {
            Err(larder_store::Error::NotFound { .. }) => return Ok(None),
            opened => opened?.exact(),
        };
        let same =
            opened.stat.size_bytes == item.size_bytes() && self.digest(opened.body).await? == item.sha256();
        Ok(same.then_some(opened.stat.fingerprint))
    }

    async fn is_as_it_was(&self, item: &Item) -> Result<bool, Fault> {
        Ok(item.again(self).await?.is_some_and(|now| {
            (now.at(), now.sha256(), now.fingerprint()) == (item.at(), item.sha256(), item.fingerprint())
        }))
    }

    /// Other bytes lie at the target: those of a newer version that went there meanwhile, or a stranger's.
    async fn occupied(&self, item: &Item, to: &str, at: &Place) -> Result<Copied, Fault> {
        if !self.is_as_it_was(item).await? {
            return Ok(Copied::Outdated);
        }
        if let Item::Asset(asset) = item {
            // Bytes come before their record: whoever is between the two has the turn of the key.
            let held = self.hold(&asset.bucket, &asset.key).await?;
            self.release(&held).await;
            if !self.is_as_it_was(item).await? {
                return Ok(Copied::Outdated);
            }
            if self.store(to)?.find(at).await?.is_none() {
                return Ok(Copied::Displaced);
            }
        }
        Err(Fault::new(Code::Conflict, format!("another file lies at {at} in {to}, which is left alone"))
            .remedy("move that file away, then run it again"))
    }
}

/// Passes a body through and fails at its end if its digest is another one. The put that reads it then
/// leaves nothing.
fn verified(body: ByteStream, expected: String, name: String) -> ByteStream {
    let state = Some((body, Sha256::new(), expected, name));
    stream::try_unfold(state, |state| async move {
        let Some((mut body, mut hasher, expected, name)) = state else { return Ok(None) };
        match body.try_next().await? {
            Some(chunk) => {
                hasher.update(&chunk);
                Ok(Some((chunk, Some((body, hasher, expected, name)))))
            }
            None if hex::encode(hasher.finalize()) == expected => Ok(None),
            None => {
                let detail = format!("the stored bytes of {name} are not those of its record");
                let fault = Fault::new(Code::StoredBytesCorrupt, detail)
                    .remedy("restore them from a backup, or put them again");
                Err::<Option<(Bytes, _)>, _>(fault.into())
            }
        }
    })
    .boxed()
}

/// A fault that the source raised comes back out of the target's put unchanged.
fn broken_off(source: Box<dyn std::error::Error + Send + Sync>) -> Fault {
    match source.downcast::<Fault>() {
        Ok(fault) => *fault,
        Err(source) => match source.downcast::<larder_store::Error>() {
            Ok(error) => (*error).into(),
            Err(source) => {
                Fault::new(Code::BackendUnavailable, "the stored bytes could not be read").caused_by(source)
            }
        },
    }
}
