//! Who holds the database: taking it, keeping it, letting it go, and waiting for somebody else.

use std::time::Duration;

use bytes::Bytes;

use super::{Added, Session};
use crate::{
    clock::since_boot,
    error::{Error, Result},
    format::Kind,
};

/// Time between two looks whether a holder still writes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks within the time of a lease whether it is to be renewed.
const LOOKS_PER_LEASE: u32 = 12;

/// The longest that a holder can ask others to wait after an entry of its.
const PATIENCE_MAX: Duration = Duration::from_secs(300);

/// What a writer that waits is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting<'a> {
    /// Whom it waits for, as that names itself; once, at first.
    For(&'a str),
    /// The holder has added to the log, and still holds: it is alive.
    Wrote(&'a str),
}

impl Session {
    /// Takes the database for as long as this writer adds an entry at least every [`LEASE`](super::LEASE). If somebody holds it,
    /// waits until it lets go or has added nothing for its time; `waiting` is told, and may end the wait by an error.
    ///
    /// # Errors
    /// Those of `waiting`, [`Error::Corrupt`], [`Error::Store`].
    pub async fn claim(&mut self, waiting: &mut (dyn FnMut(Waiting<'_>) -> Result<()> + Send)) -> Result<()> {
        loop {
            self.wait_until_free(waiting).await?;
            let lease = self.lease(true);
            let entry = self.entry(Kind::Claim, self.newest.epoch + 1, lease);
            match self.add(&entry, Bytes::new()).await? {
                Added::Done => return Ok(()),
                Added::Taken(_) => self.catch_up().await?,
            }
        }
    }

    /// Who else holds the database, as it names itself, unless that one is known to be dead.
    pub fn other_holder(&self) -> Option<&str> {
        let lease = &self.newest.lease;
        let is_other = lease.held_ms > 0 && lease.token != self.token && !self.dead.contains(&lease.token);
        is_other.then_some(lease.owner.as_str())
    }

    /// Whether a process of this machine holds the database, or says so.
    pub(crate) fn is_held_on_this_machine(&self) -> bool {
        let owner = self.newest.lease.owner.rsplit_once(':');
        owner.is_some_and(|(machine, _)| machine == super::machine())
    }

    /// Waits until nobody else holds the database.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub async fn wait_until_free(
        &mut self,
        waiting: &mut (dyn FnMut(Waiting<'_>) -> Result<()> + Send),
    ) -> Result<()> {
        let mut seen_at = since_boot();
        let mut is_told = false;
        while let Some(owner) = self.other_holder() {
            if !is_told {
                waiting(Waiting::For(owner))?;
                is_told = true;
            }
            let patience = Duration::from_millis(u64::from(self.newest.lease.held_ms)).min(PATIENCE_MAX);
            if since_boot().saturating_sub(seen_at) >= patience {
                tracing::info!(owner = %self.newest.lease.owner, "it has not written for its time: taking over");
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY.min(patience / 4)).await;
            if self.refresh().await? > 0 {
                seen_at = since_boot();
                if let Some(owner) = self.other_holder() {
                    waiting(Waiting::Wrote(owner))?;
                }
            }
        }
        Ok(())
    }

    /// Renews the lease by an entry that changes nothing.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Store`].
    pub async fn renew(&mut self) -> Result<()> {
        let lease = self.lease(true);
        let entry = self.entry(Kind::Claim, self.newest.epoch, lease);
        match self.add(&entry, Bytes::new()).await? {
            Added::Done => self.map_if_due().await,
            // An earlier attempt of ours, whose answer got lost.
            Added::Taken(by) if by.entry.lease.token == self.token => {
                self.catch_up().await?;
                if self.holds() { Ok(()) } else { Err(self.fenced_by(&by)) }
            }
            Added::Taken(by) => Err(self.fenced_by(&by)),
        }
    }

    /// Does something that takes its time, such as a transfer, and keeps the lease meanwhile, if it is certain at first. An
    /// outage is no reason to give the work up.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Corrupt`]; the work is dropped then.
    pub async fn holding<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(work);
        let was_certain = self.is_lease_certain();
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(self.lease / LOOKS_PER_LEASE) => {}
            }
            // Should somebody have taken it over after an outage, this tells.
            if was_certain && self.holds() && !self.is_lease_younger_than(self.lease / 3) {
                match self.renew().await {
                    Err(error) if error.is_passing() => {
                        tracing::warn!(%error, "the lease could not be renewed: trying again");
                    }
                    renewed => renewed?,
                }
            }
        }
    }

    /// Lets go of the database, if it is still held.
    ///
    /// # Errors
    /// [`Error::Store`]. Whoever comes next waits for [`LEASE`](super::LEASE) then.
    pub async fn release(&mut self) -> Result<()> {
        if !self.holds() {
            return Ok(());
        }
        let lease = self.lease(false);
        let entry = self.entry(Kind::Release, self.newest.epoch, lease);
        // Taken: somebody has it already.
        self.add(&entry, Bytes::new()).await.map(|_| ())
    }

    /// Takes the database from whoever holds it, and lets go of it: whoever held it is fenced. Answers who that was.
    ///
    /// # Errors
    /// [`Error::Absent`] if there is no log, [`Error::Corrupt`], [`Error::Store`].
    pub async fn unlock(&mut self) -> Result<Option<String>> {
        loop {
            if self.newest.seq == 0 {
                return Err(Error::Absent { detail: "there is no database yet".to_owned() });
            }
            if self.newest.lease.held_ms == 0 {
                return Ok(None);
            }
            let holder = self.newest.lease.owner.clone();
            let entry = self.entry(Kind::Release, self.newest.epoch + 1, self.lease(false));
            match self.add(&entry, Bytes::new()).await? {
                Added::Done => return Ok(Some(holder)),
                Added::Taken(_) => self.catch_up().await?,
            }
        }
    }
}
