//! The hook that makes a durable commit wait for more than the local disk.

use futures::future::BoxFuture;

use crate::error::Result;

/// Waited for after every durable commit and before its caller is answered.
///
/// There is none until something that replicates the catalogue installs one with
/// [`Catalog::install_barrier`](crate::Catalog::install_barrier). A failure is reported to the caller
/// as it is, although the commit stands on this machine: the caller has to treat the outcome as
/// unknown.
pub trait CommitBarrier: Send + Sync {
    /// Returns once everything committed before the call is as durable as promised.
    fn passed(&self) -> BoxFuture<'_, Result<()>>;
}
