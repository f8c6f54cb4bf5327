//! A writer: who it is, what it knows to be the newest version, and how it adds to the log.
//!
//! The log decides who writes. An entry is created only where there is none of its number, so of two writers exactly
//! one gets it, and the other learns that it is not the newest any more. Taking the database over is an entry, too: it
//! takes the number that the former holder would have used.

mod holding;
mod mapping;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use larder_store::Fingerprint;

use crate::{
    clock::since_boot,
    diff::Diff,
    error::{Error, Result},
    fail_point,
    format::{DatabaseId, Entry, EntryHead, Kind, Lease, PageMap},
    history::Along,
    remote::{Created, Listed, Object, Remote},
};

pub use self::holding::Waiting;

/// For how long after its last entry nobody takes the database from its holder. Nobody's clock is compared with
/// another's: who waits, measures from when it saw the entry.
pub const LEASE: Duration = Duration::from_secs(30);

/// A writer of a database in a store.
#[derive(Debug)]
pub struct Session {
    remote: Remote,
    owner: String,
    token: [u8; 16],
    newest: Arc<PageMap>,
    /// The object that the newest entry is, where that is known.
    fingerprint: Option<Fingerprint>,
    /// When `newest` was known to be the newest.
    known_at: Duration,
    /// When the newest entry of this writer was begun.
    wrote_at: Option<Duration>,
    /// By whom it was fenced. Nothing that it does from then on reaches the log: what it knows to be the newest is no
    /// version of its file.
    fenced: Option<String>,
    /// For how long others wait after an entry of this writer.
    lease: Duration,
    /// Writers that are known to be dead.
    dead: Vec<[u8; 16]>,
}

/// How an attempt to add an entry ended.
#[derive(Debug)]
enum Added {
    /// It is there.
    Done,
    /// Another entry has its number.
    Taken(Box<EntryHead>),
}

/// How an attempt to commit ended.
#[derive(Debug)]
pub enum Committed {
    /// It is there, and durable.
    Done,
    /// Another entry came before it. [`Session::newest`] has it now; the change is to be made anew against that.
    Again,
    /// Somebody else has taken the database over, and changed nothing yet.
    TakenOver(Box<EntryHead>),
}

impl Session {
    /// A writer that begins with what is newest; the beginning of a new database if there is none. Where a version
    /// and the object of its entry are known, and that is still the newest, it takes one request.
    ///
    /// # Errors
    /// [`Error::NoConditions`] if the store can't tell two writers apart, unless `single_writer` says that there is
    /// never a second one; those of [`Remote::newest`].
    pub async fn open(
        remote: Remote,
        known: Option<(PageMap, Fingerprint)>,
        single_writer: bool,
    ) -> Result<Self> {
        if !remote.store().capabilities().create_if_absent && !single_writer {
            return Err(Error::NoConditions);
        }
        let (ambient, known_at) = (remote.ambient().clone(), since_boot());
        let empty = PageMap::empty(DatabaseId(ambient.random_bytes()));
        let token = ambient.random_bytes();
        let mut session = Self {
            remote,
            owner: owner(),
            token,
            newest: Arc::new(empty),
            fingerprint: None,
            known_at,
            wrote_at: None,
            fenced: None,
            lease: LEASE,
            dead: Vec::new(),
        };
        let Some((known, fingerprint)) = known else {
            session.reload().await?;
            return Ok(session);
        };
        // A listing rather than a look at the next number: that may have been there, and gone. The known entry is
        // part of it: without it, this would be another log.
        let before = Object::Log(known.seq - 1);
        let listed = session.remote.list("log/", Some(&before)).await?;
        let mut listed = listed.iter().filter(|entry| entry.seq().is_some());
        let is_there = listed
            .next()
            .is_some_and(|entry| entry.seq() == Some(known.seq) && entry.fingerprint == fingerprint);
        let next = listed.next().and_then(Listed::seq);
        match next {
            _ if !is_there => session.reload().await?,
            None => (session.newest, session.fingerprint) = (Arc::new(known), Some(fingerprint)),
            Some(next) if next == known.seq + 1 => {
                session.newest = Arc::new(known);
                session.refresh().await?;
            }
            Some(_) => session.reload().await?,
        }
        Ok(session)
    }

    /// Another time for which others wait after each entry, instead of [`LEASE`]: at most 5 minutes count.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// For how long others wait after an entry of this writer.
    pub fn lease_time(&self) -> Duration {
        self.lease
    }

    /// Writers that need not be waited for, by their tokens: the caller has proof that they are dead.
    pub fn knows_dead(&mut self, tokens: impl IntoIterator<Item = [u8; 16]>) {
        self.dead.extend(tokens);
    }

    /// Reads the newest version from the hint on.
    async fn reload(&mut self) -> Result<()> {
        let now = since_boot();
        if let Some(newest) = self.remote.newest(None, &mut Along::default()).await? {
            (self.newest, self.fingerprint) = (Arc::new(newest), None);
        }
        self.known_at = now;
        Ok(())
    }

    /// The newest version that this writer knows.
    pub fn newest(&self) -> &Arc<PageMap> {
        &self.newest
    }

    /// Where it writes.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// What tells its entries from others'.
    pub fn token(&self) -> [u8; 16] {
        self.token
    }

    /// Whether it holds the database, as far as it knows.
    pub fn holds(&self) -> bool {
        self.newest.lease.token == self.token && self.newest.lease.held_ms > 0
    }

    /// Whether it holds the database for certain, for some time to come: nobody has waited long enough to take it over.
    pub(crate) fn is_lease_certain(&self) -> bool {
        self.is_lease_younger_than(self.lease / 2)
    }

    fn is_lease_younger_than(&self, age: Duration) -> bool {
        let wrote_at = self.wrote_at.filter(|_| self.holds() && self.fenced.is_none());
        wrote_at.is_some_and(|wrote_at| since_boot().saturating_sub(wrote_at) < age)
    }

    /// Looks what was added since, and answers how many entries that were.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Store`].
    pub async fn refresh(&mut self) -> Result<u64> {
        let (now, before) = (since_boot(), self.newest.seq);
        // What is the next may have come and gone.
        let has_to_reload = self.is_long_ago();
        if !has_to_reload && self.remote.entry(before + 1).await?.is_none() {
            self.known_at = now;
            return Ok(0);
        }
        let mut newest = PageMap::clone(&self.newest);
        if has_to_reload || self.remote.follow(&mut newest, None, &mut Along::default()).await?.moved {
            // Where this fails, what is known is what it was: a version that passed such an entry has places that are gone.
            self.reload().await?;
        } else {
            (self.newest, self.fingerprint, self.known_at) = (Arc::new(newest), None, now);
        }
        Ok(self.newest.seq.saturating_sub(before))
    }

    /// After another entry was found where one of ours should go: what is the newest now.
    async fn catch_up(&mut self) -> Result<()> {
        // If the next entry is not there, it was collected: there are others far ahead.
        if self.refresh().await? == 0 { self.reload().await } else { Ok(()) }
    }

    /// Commits a change of the newest version; it goes on holding the database if `hold`.
    ///
    /// # Errors
    /// [`Error::Fenced`] if others changed the database meanwhile. [`Error::Store`]: whether the change is there is
    /// not known; the next call finds out.
    pub async fn commit(&mut self, diff: &Diff, hold: bool) -> Result<Committed> {
        let was_held = self.holds();
        let epoch = self.newest.epoch + u64::from(!was_held);
        let mut entry = self.entry(Kind::Commit, epoch, self.lease(hold));
        entry.change = Some(diff.change.clone());
        fail_point::reached("db.entry");
        let by = match self.add(&entry, diff.frames.clone()).await? {
            Added::Done => {
                fail_point::reached("db.committed");
                return Ok(Committed::Done);
            }
            Added::Taken(by) => by,
        };
        let changed_at = self.newest.changed_at;
        self.catch_up().await?;
        let is_own = by.entry.lease.token == self.token;
        match self.newest.changed_at {
            // An earlier attempt of ours, whose answer got lost, and nothing after it.
            now if is_own && now <= by.entry.seq => Ok(Committed::Again),
            now if now == changed_at && !was_held => Ok(Committed::Again),
            now if now == changed_at => Ok(Committed::TakenOver(by)),
            _ => Err(self.fenced_by(&by)),
        }
    }

    fn fenced_by(&mut self, by: &EntryHead) -> Error {
        let entry = &by.entry;
        let what = if entry.kind == Kind::Commit { "wrote" } else { "took over" };
        let detail = format!("{} {what} at {}, entry {}", entry.lease.owner, self.remote.label(), entry.seq);
        self.fenced = Some(detail.clone());
        Error::Fenced { detail }
    }

    fn lease(&self, hold: bool) -> Lease {
        let held_ms = if hold { u32::try_from(self.lease.as_millis()).unwrap_or(u32::MAX) } else { 0 };
        Lease { owner: self.owner.clone(), token: self.token, held_ms }
    }

    fn entry(&self, kind: Kind, epoch: u64, lease: Lease) -> Entry {
        let now = self.remote.ambient().now().as_millis().max(0) as u64;
        Entry {
            database: self.newest.database,
            seq: self.newest.seq + 1,
            epoch,
            previous: self.newest.entry,
            // The order of the log is that of its times, whatever clocks say.
            time_ms: now.max(self.newest.time_ms),
            lease,
            kind,
            change: None,
        }
    }

    /// Adds an entry after the newest.
    async fn add(&mut self, entry: &Entry, frames: Bytes) -> Result<Added> {
        if let Some(detail) = &self.fenced {
            return Err(Error::Fenced { detail: detail.clone() });
        }
        let head = entry.write();
        let head_bytes = head.len() as u64;
        let read = Entry::read(&head)
            .map_err(|why| Error::Internal(format!("an entry of ours is refused: {why:?}")))?;
        let bytes = if frames.is_empty() {
            Bytes::from(head)
        } else {
            Bytes::from([head.as_slice(), &frames].concat())
        };
        if self.is_long_ago()
            && let Some(by) = self.later().await?
        {
            return Ok(Added::Taken(by));
        }
        let begun_at = since_boot();
        let created = match self.remote.create_entry(entry.seq, bytes).await {
            Ok(created) => created,
            // The answer may have got lost, and not the entry.
            Err(error) => match self.remote.entry(entry.seq).await {
                Ok(Some(there)) if there.head.digest == read.digest => Created::Done(there.fingerprint),
                _ => return Err(error),
            },
        };
        let fingerprint = match created {
            Created::Done(fingerprint) => fingerprint,
            Created::Taken => match self.remote.entry(entry.seq).await? {
                Some(there) if there.head.digest == read.digest => there.fingerprint,
                Some(other) => return Ok(Added::Taken(Box::new(other.head))),
                None => {
                    return Err(Error::corrupt(
                        self.remote.name(&Object::Log(entry.seq)),
                        "it has just gone",
                    ));
                }
            },
        };
        self.look_at_floor(entry.seq).await?;
        Arc::make_mut(&mut self.newest)
            .advance(entry, read.digest, head_bytes)
            .map_err(|why| Error::Internal(format!("an entry of ours does not follow: {why:?}")))?;
        (self.fingerprint, self.known_at) = (Some(fingerprint), begun_at);
        self.wrote_at = Some(begun_at);
        Ok(Added::Done)
    }

    /// Whether so much time has passed since `newest` was the newest that entries after it may have come and gone.
    fn is_long_ago(&self) -> bool {
        since_boot().saturating_sub(self.known_at) > LEASE
    }

    /// The first of the entries after the newest that is known.
    async fn later(&mut self) -> Result<Option<Box<EntryHead>>> {
        let now = since_boot();
        let known = Object::Log(self.newest.seq);
        let later = self.remote.list("log/", Some(&known)).await?;
        let Some(seq) = later.iter().find_map(Listed::seq) else {
            self.known_at = now;
            return Ok(None);
        };
        match self.remote.entry(seq).await? {
            Some(fetched) => Ok(Some(Box::new(fetched.head))),
            None => Err(Error::corrupt(self.remote.name(&Object::Log(seq)), "it has just gone")),
        }
    }

    /// After an entry was created by a writer that may have slept: whether its number was free because what had it
    /// was collected. Nothing that is younger than a day is, so a short while proves that it was not.
    async fn look_at_floor(&mut self, seq: u64) -> Result<()> {
        if !self.is_long_ago() {
            return Ok(());
        }
        let floor = self.remote.floor().await?;
        if seq >= floor {
            return Ok(());
        }
        self.remote.remove(&Object::Log(seq)).await?;
        Err(Error::Fenced {
            detail: format!("others wrote up to entry {floor} while this writer slept at {seq}"),
        })
    }

    /// Says that frames were moved, and goes on from a map that has their new places.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Store`].
    pub(crate) async fn moved(&mut self, map: PageMap) -> Result<()> {
        self.newest = Arc::new(map);
        let entry = self.entry(Kind::Moved, self.newest.epoch, self.lease(true));
        match self.add(&entry, Bytes::new()).await? {
            Added::Done => self.write_map().await,
            Added::Taken(by) => Err(self.fenced_by(&by)),
        }
    }

    /// The newest version with the object of its entry, to begin from another time.
    pub fn known(&self) -> (Arc<PageMap>, Option<Fingerprint>) {
        (Arc::clone(&self.newest), self.fingerprint.clone())
    }
}

/// How this process names itself to others.
fn owner() -> String {
    format!("{}:{}", machine(), std::process::id())
}

fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
