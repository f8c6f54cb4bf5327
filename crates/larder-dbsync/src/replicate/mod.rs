//! Following a local database: every interval in which something was committed becomes an entry of the log.

mod collecting;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::collecting::Collecting;
use crate::{
    apply::blocking,
    clock::since_boot,
    error::{Error, Result},
    hash::Digest,
    history::Along,
    live::Live,
    pages::is_there,
    progress::{Event, Watch},
    push::{note, waiting},
    session::{Committed, Session},
    sidecar::Sidecar,
    standing::{Standing, standing},
    upload::{Compared, compare},
};

pub use self::collecting::CollectWhile;

/// The part of its lease after which a writer renews it.
const RENEW_PART: u32 = 3;

/// The longest pause between two attempts while the store does not answer.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Time after which it is remembered beside the file which version it is.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// How a database is followed.
#[derive(Debug, Clone, Copy)]
pub struct ReplicateOptions {
    /// Time between two looks.
    pub interval: Duration,
    /// Whether the lease is renewed while nothing is committed, so that nobody takes over. Without, a lone writer that
    /// is idle sends nothing; somebody who waits takes over, and it takes the database back when it has something to
    /// say, if the other changed nothing.
    pub renew: bool,
    /// When versions that are not kept are removed, and which are kept; by default all are.
    pub collect: Option<CollectWhile>,
}

impl Default for ReplicateOptions {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), renew: false, collect: None }
    }
}

/// A writer that follows a local database.
pub struct Replicator {
    session: Session,
    path: PathBuf,
    /// With the number of the file that it follows.
    live: Option<(Option<u64>, Live)>,
    options: ReplicateOptions,
    watch: Watch,
    written_at: Duration,
    noted_at: Duration,
    /// Entries and bytes since the beginning.
    total: Replicated,
    collecting: Option<Collecting>,
    /// When the last collection ended, and at which entry; at first when this began.
    collected: (Duration, u64),
    /// Packs that were put since the collection was planned.
    put_since: HashSet<Digest>,
}

/// What was replicated so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replicated {
    /// Entries that changed pages.
    pub commits: u64,
    /// Pages in them.
    pub pages: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
}

impl Replicator {
    /// Follows a database from now on. The session holds the database already; the file is the newest version, or
    /// that with changes of its own.
    ///
    /// # Errors
    /// [`Error::Diverged`] if it is not; those of opening it.
    pub async fn begin(
        session: Session,
        path: &Path,
        options: ReplicateOptions,
        watch: Watch,
    ) -> Result<Self> {
        let (now, seq) = (since_boot(), session.newest().seq);
        let mut replicator = Self {
            session,
            path: path.to_owned(),
            live: None,
            options,
            watch,
            written_at: now,
            noted_at: now,
            total: Replicated::default(),
            collecting: None,
            collected: (now, seq),
            put_since: HashSet::new(),
        };
        if let Err(error) = replicator.begin_with_what_is_there().await {
            // Whoever comes next need not wait. The first error is the one to tell.
            let _ = replicator.session.release().await;
            return Err(error);
        }
        Ok(replicator)
    }

    /// The first round, which has to find out whether the file belongs to the log.
    async fn begin_with_what_is_there(&mut self) -> Result<()> {
        if !is_there(&self.path) {
            return Ok(());
        }
        let sidecar = Sidecar::read(&self.path);
        let Some(diff) = self.compared().await? else { return Ok(()) };
        let base = Arc::clone(self.session.newest());
        if !diff.diff.is_empty(&base) {
            let root = diff.diff.change.root;
            match standing(self.session.remote(), &base, sidecar.as_ref(), root, &Along::default()).await? {
                Standing::Newest | Standing::Ahead => {}
                Standing::Earlier => {
                    return Err(Error::Diverged {
                        detail: format!(
                            "{} is older than version {}: pull first",
                            self.path.display(),
                            base.changed_at
                        ),
                    });
                }
                Standing::Apart => {
                    return Err(crate::push::apart(
                        &self.path,
                        self.session.remote(),
                        &base,
                        sidecar.as_ref(),
                    ));
                }
            }
        }
        drop(base);
        // From now on, what this writer commits is in this file: should it be killed, the next one knows.
        self.note()?;
        if self.commit(diff).await? {
            return Ok(());
        }
        while self.round().await? == Round::Again {}
        Ok(())
    }

    /// Looks once, and commits what changed. Answers whether that has to be repeated.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Store`] and more. The next round begins anew.
    pub async fn round(&mut self) -> Result<Round> {
        if !is_there(&self.path) {
            return Ok(Round::Idle);
        }
        let Some(compared) = self.compared().await? else {
            return self.renew_if_due().await.map(|()| Round::Idle);
        };
        if compared.diff.is_empty(self.session.newest()) {
            return self.renew_if_due().await.map(|()| Round::Idle);
        }
        Ok(if self.commit(compared).await? { Round::Committed } else { Round::Again })
    }

    async fn compared(&mut self) -> Result<Option<Ready>> {
        let inode = inode_of(&self.path);
        let live = match self.live.take() {
            Some((known, live)) if known == inode => live,
            // None yet, or another file was put in its place.
            _ => {
                let path = self.path.clone();
                blocking(move || Live::open(&path)).await?
            }
        };
        let base = Arc::clone(self.session.newest());
        let remote = self.session.remote().clone();
        let (live, base, compared) = self.session.holding(compare(&remote, live, base)).await?;
        drop(base);
        self.live = Some((inode, live));
        let Compared { diff, packed_bytes } = compared?;
        if self.collecting.is_some() {
            self.put_since.extend(diff.iter().flat_map(|diff| &diff.change.packs));
        }
        Ok(diff.map(|diff| Ready { diff, packed_bytes }))
    }

    /// Commits; `false` if it has to be compared again.
    async fn commit(&mut self, ready: Ready) -> Result<bool> {
        let Ready { diff, packed_bytes } = ready;
        if diff.is_empty(self.session.newest()) {
            return Ok(true);
        }
        if !self.session.holds() {
            // An entry of others came to light; what they changed would have fenced this writer.
            if self.options.renew {
                let owner = &self.session.newest().lease.owner;
                return Err(Error::Fenced { detail: format!("{owner} took over") });
            }
            self.session.claim(&mut waiting(&self.watch)).await?;
            self.forget();
            return Ok(false);
        }
        let outcome = self.session.commit(&diff, true).await;
        if !matches!(outcome, Ok(Committed::Done)) {
            // What was compared is not there: all of it is compared again.
            self.forget();
        }
        match outcome? {
            Committed::Done => {}
            Committed::Again => return Ok(false),
            Committed::TakenOver(by) if self.options.renew => {
                return Err(Error::Fenced { detail: format!("{} took over", by.entry.lease.owner) });
            }
            Committed::TakenOver(_) => {
                self.session.claim(&mut waiting(&self.watch)).await?;
                return Ok(false);
            }
        }
        self.written_at = since_boot();
        let (pages, of) = (diff.change.pages.len() as u64, u64::from(diff.change.page_count));
        let sent_bytes = packed_bytes + diff.frames.len() as u64;
        self.total.commits += 1;
        self.total.pages += pages;
        self.total.sent_bytes += sent_bytes;
        (self.watch)(&Event::Pushed { seq: self.session.newest().seq, pages, of, sent_bytes });
        if let Err(error) = self.session.map_if_due().await {
            tracing::warn!(%error, "a map could not be written: the next commit tries again");
        }
        if since_boot().saturating_sub(self.noted_at) > NOTE_EVERY
            && let Err(error) = self.note()
        {
            tracing::warn!(%error, "which version the file is could not be noted beside it: it is found out when needed");
        }
        Ok(true)
    }

    async fn renew_if_due(&mut self) -> Result<()> {
        if self.options.renew
            && since_boot().saturating_sub(self.written_at) >= self.session.lease_time() / RENEW_PART
        {
            self.session.renew().await?;
            self.written_at = since_boot();
        }
        Ok(())
    }

    fn forget(&mut self) {
        if let Some((_, live)) = &mut self.live {
            live.let_go();
        }
    }

    fn note(&mut self) -> Result<()> {
        self.noted_at = since_boot();
        note(&self.session, &self.path)
    }

    /// Follows the database until `stop` is ready. While the store does not answer it tries again and again, and
    /// what is committed meanwhile goes along when it does.
    ///
    /// # Errors
    /// [`Error::Fenced`], and what trying again does not mend.
    pub async fn run(&mut self, stop: impl Future<Output = ()>) -> Result<()> {
        tokio::pin!(stop);
        let mut attempts = 0;
        loop {
            let pause = match self.round().await {
                Ok(Round::Again) => Duration::ZERO,
                Ok(_) => {
                    attempts = 0;
                    self.collect_some().await;
                    self.options.interval
                }
                Err(error) if error.is_passing() => {
                    attempts += 1;
                    self.forget();
                    (self.watch)(&Event::Retrying { error: chain(&error), attempts });
                    (Duration::from_millis(500) * 2_u32.saturating_pow(attempts.min(8))).min(PAUSE_MAX)
                }
                Err(error) => return Err(error),
            };
            tokio::select! {
                () = &mut stop => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Keeps the database until `stop` is ready, and commits nothing.
    ///
    /// # Errors
    /// [`Error::Fenced`].
    pub async fn hold(&mut self, stop: impl Future<Output = ()>) -> Result<()> {
        tokio::pin!(stop);
        let mut attempts = 0;
        loop {
            match self.renew_if_due().await {
                Ok(()) => attempts = 0,
                Err(error) if error.is_passing() => {
                    attempts += 1;
                    (self.watch)(&Event::Retrying { error: chain(&error), attempts });
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = &mut stop => return Ok(()),
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// Commits what is left, lets go of the database, and remembers beside the file which version it is.
    ///
    /// # Errors
    /// As [`round`](Self::round); the lease is let go in any case, if the store answers.
    pub async fn finish(mut self) -> Result<Finished> {
        let rest = self.last_rounds().await;
        let released = match &rest {
            Err(error) if error.is_parting() => Ok(()),
            _ => self.session.release().await,
        };
        rest?;
        released?;
        if is_there(&self.path) && self.session.newest().page_size > 0 {
            self.note()?;
        }
        (self.watch)(&Event::Released);
        Ok(Finished { seq: self.session.newest().seq, total: self.total })
    }

    async fn last_rounds(&mut self) -> Result<()> {
        while self.round().await? == Round::Again {}
        Ok(())
    }

    /// Lets go of the database without looking at the file again.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn abandon(mut self) -> Result<()> {
        self.session.release().await
    }

    /// The writer.
    pub fn session(&self) -> &Session {
        &self.session
    }
}

/// What is ready to be committed.
struct Ready {
    diff: crate::diff::Diff,
    packed_bytes: u64,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Nothing was committed.
    Idle,
    /// Something was.
    Committed,
    /// It has to be repeated at once.
    Again,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// The newest version.
    pub seq: u64,
    /// All that was replicated.
    pub total: Replicated,
}

fn inode_of(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|file| std::os::unix::fs::MetadataExt::ino(&file))
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string) {
        if !parts.iter().any(|known| known.contains(&part)) {
            parts.push(part);
        }
    }
    parts.join(": ")
}
