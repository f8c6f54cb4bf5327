//! The interface of every store.

use std::{collections::BTreeMap, fmt, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use larder_core::Timestamp;
use url::Url;

use crate::{
    body::{Body, ByteStream},
    error::{Error, Result},
    listing::{ListOptions, Listing},
    place::Place,
};

/// The identity of the bytes at a place: while two fingerprints of a place are equal, so are its
/// bytes.
///
/// `<inode>-<mtime in ns>-<size>` in hexadecimal on a disk, the ETag on S3, a counter in memory.
/// Compare it, never take it apart. A rename keeps it on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(Box<str>);

impl Fingerprint {
    /// A fingerprint that was once printed.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The fingerprint as text, to be kept in a record.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a store with [`Capabilities::attributes`] keeps beside the bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Media type (RFC 9110, section 8.3).
    pub content_type: Option<String>,
    /// Cache lifetime (RFC 9111, section 5.2).
    pub cache_control: Option<String>,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
}

/// What is known of the bytes at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// How many there are.
    pub size_bytes: u64,
    /// Which ones they are.
    pub fingerprint: Fingerprint,
    /// When they were written.
    pub modified: Timestamp,
    /// What was put with them; empty where [`Capabilities::attributes`] is false.
    pub attributes: Attributes,
}

/// What a store can do beyond the least; contract suites are driven by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// [`Attributes`] are kept. Where they are not, they are ignored: the catalogue holds them.
    pub attributes: bool,
    /// [`Condition::IfAbsent`] is atomic: of any number of racing creators exactly one wins.
    pub create_if_absent: bool,
    /// [`Condition::IfMatch`] is atomic.
    pub replace_if_match: bool,
    /// Bytes are files of this machine: [`Store::local_path`] names them and [`Body::File`] holds
    /// them open.
    pub local_files: bool,
    /// A [`rename`](Store::rename) keeps the [`Fingerprint`]: bytes that were moved are known again by
    /// it. Where it does not (S3, for objects put in parts), only the answer of the rename tells.
    pub rename_keeps_fingerprint: bool,
    /// Places share a tree of folders: bytes at `a` block `a/b`
    /// ([`Error::Blocked`](crate::Error::Blocked)).
    pub folders_block: bool,
    /// Each put has a [`Fingerprint`] of its own, even of the same bytes. Where it has not (S3, whose ETags
    /// are often digests), bytes that were replaced by their like are the same.
    pub fingerprints_tell_puts: bool,
    /// [`Stat::modified`] that a put, copy or rename answers is the store's. Where it is not (S3, which does
    /// not tell), it is by this machine's clock, and the store's may differ by its precision and its clock.
    pub puts_tell_time: bool,
}

/// What must hold at a place for a change to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing: whatever lies there is replaced.
    #[default]
    None,
    /// Nothing lies there.
    IfAbsent,
    /// The bytes of this fingerprint lie there.
    IfMatch(Fingerprint),
}

/// Options of [`Store::put`].
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// What to keep beside the bytes, where the store can.
    pub attributes: Attributes,
    /// What must hold for the bytes to be put.
    pub condition: Condition,
    /// How many bytes will come, if that is known; only a hint.
    pub size_hint: Option<u64>,
}

/// Options of [`Store::open`].
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// The bytes wanted, all if absent. Cut to the size; must hold at least one existing byte.
    pub range: Option<Range<u64>>,
    /// What lies there as far as the caller knows, by a record for instance. A store with a cache may
    /// then answer with these bytes and this very stat, without asking whether they still lie there; it
    /// never answers with others under this stat. Stores without a cache ignore it.
    pub known: Option<Stat>,
}

impl OpenOptions {
    /// These bytes, cut to the size.
    pub fn range(range: Range<u64>) -> Self {
        Self { range: Some(range), known: None }
    }

    /// The range to read of `size_bytes` bytes.
    pub(crate) fn resolve(&self, place: &Place, size_bytes: u64) -> Result<Range<u64>> {
        let Some(Range { start, end }) = self.range.clone() else {
            return Ok(0..size_bytes);
        };
        let end = end.min(size_bytes);
        if start < end { Ok(start..end) } else { Err(Error::Range { place: place.clone(), size_bytes }) }
    }
}

/// Options of [`Store::copy`].
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// What must hold at the target.
    pub condition: Condition,
    /// What to keep beside the bytes at the target, where the store can; `None` for what lies beside
    /// the source.
    pub attributes: Option<Attributes>,
}

/// Options of [`Store::rename`].
#[derive(Debug, Clone, Default)]
pub struct RenameOptions {
    /// What must hold at the target.
    pub condition: Condition,
    /// What to keep beside the bytes from now on, where the store can; `None` for what is kept
    /// already. Bytes are staged before their type is known, and get it when they come to their place.
    pub attributes: Option<Attributes>,
}

/// Options of [`Store::remove_unfinished`].
#[derive(Debug, Clone, Copy)]
pub struct UnfinishedOptions {
    /// Where a store can't tell whether a writer still lives (S3), those that began later are spared.
    pub begun_before: Timestamp,
    /// Only count them.
    pub dry_run: bool,
}

/// What a signed address is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedAction {
    /// Reading what lies there.
    Get {
        /// The `Content-Disposition` (RFC 6266) that the answer shall have.
        disposition: Option<String>,
    },
    /// Putting bytes there. Type and size are part of the signature: with others, the store refuses.
    Put {
        /// The `Content-Type` of the request.
        content_type: String,
        /// The bytes that will be sent, no more and no fewer.
        size_bytes: u64,
    },
}

/// Bytes being read.
#[derive(Debug)]
pub struct Opened {
    /// What is known of the whole bytes that were opened; never of what lies there a moment later.
    pub stat: Stat,
    /// Which of them `body` gives.
    pub range: Range<u64>,
    /// The bytes.
    pub body: Body,
}

/// Where bytes lie. Wrappers (metrics, faults, retries) are stores around stores.
///
/// Places below `.larder/` are Larder's own: they work as any other, and listing leaves them out
/// unless the prefix asks for them.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// What this store can do beyond the least.
    fn capabilities(&self) -> Capabilities;

    /// The file that holds the bytes of a place, for servers that send files by name
    /// (`X-Sendfile`); `None` where [`Capabilities::local_files`] is false. Does not look whether
    /// the file exists.
    fn local_path(&self, place: &Place) -> Option<PathBuf>;

    /// The address at which everybody reads the bytes of a place without asking Larder: a CDN's, or that of a
    /// public bucket. `None` where there is none. Made without asking the store; whether the bytes are there,
    /// and may be read by all, is not looked at.
    fn public_url(&self, place: &Place) -> Option<Url>;

    /// An address by which whoever has it may do one thing with one place for a time; `None` where the store
    /// has no such addresses. Made without asking the store, though credentials of a role may have to be
    /// fetched.
    ///
    /// # Errors
    /// [`Refused`](crate::Error::Refused) or [`Unavailable`](crate::Error::Unavailable) if there are no
    /// credentials to sign with.
    async fn signed_url(&self, place: &Place, action: &SignedAction, life: Duration) -> Result<Option<Url>>;

    /// Puts bytes at a place, all or nothing: readers see the old bytes or the new ones, and after
    /// an error or a dropped future nothing has changed and nothing is left over. Durable when it
    /// returns.
    ///
    /// One exception: if the very last step fails or is dropped, the sync after the bytes appeared (on
    /// S3: the answer got lost), the new bytes may lie there in full. Places in `.larder/staging` are
    /// free of it on a disk.
    ///
    /// # Errors
    /// [`Precondition`](crate::Error::Precondition), [`Blocked`](crate::Error::Blocked),
    /// [`Full`](crate::Error::Full), [`Body`](crate::Error::Body) with the stream's own error,
    /// [`Denied`](crate::Error::Denied), [`Unavailable`](crate::Error::Unavailable).
    async fn put(&self, place: &Place, body: ByteStream, options: PutOptions) -> Result<Stat>;

    /// Opens the bytes at a place.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound), [`Range`](crate::Error::Range),
    /// [`Denied`](crate::Error::Denied), [`Unavailable`](crate::Error::Unavailable).
    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened>;

    /// Tells what lies at a place.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound), [`Denied`](crate::Error::Denied),
    /// [`Unavailable`](crate::Error::Unavailable).
    async fn stat(&self, place: &Place) -> Result<Stat>;

    /// Tells what lies at a place, and makes that durable: the bytes, or that there are none.
    ///
    /// Whoever put, moved or removed them may have died between that and its sync: what it did is
    /// seen by everybody, and still lost with the power. Who goes on from what it finds after a crash
    /// asks by this instead of by [`stat`](Self::stat) before it acknowledges anything. Where no
    /// change is ever seen before it is durable (S3, memory), both are the same.
    ///
    /// # Errors
    /// [`Denied`](crate::Error::Denied), [`Unavailable`](crate::Error::Unavailable).
    async fn settle(&self, place: &Place) -> Result<Option<Stat>>;

    /// Lists places in bytewise order, page by page. What changes meanwhile may or may not be seen;
    /// what does not change is seen exactly once.
    ///
    /// # Errors
    /// [`Denied`](crate::Error::Denied), [`Unavailable`](crate::Error::Unavailable).
    async fn list(&self, options: ListOptions) -> Result<Listing>;

    /// Removes the bytes at a place and says whether any were there. Durable when it returns.
    ///
    /// # Errors
    /// [`Denied`](crate::Error::Denied), [`Unavailable`](crate::Error::Unavailable).
    async fn remove(&self, place: &Place) -> Result<bool>;

    /// Copies bytes within the store; all or nothing and durable as [`put`](Self::put), attributes
    /// included unless the options have others.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound) for `from`; else as [`put`](Self::put) for `to`.
    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat>;

    /// Moves bytes within the store, durably. Atomic on a disk and in memory; on S3 a copy and a
    /// removal, of which a crash may leave the first. Onto itself it changes
    /// nothing but the attributes, if the options have some.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound) for `from`; else as [`put`](Self::put) for `to`.
    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat>;

    /// Removes what writers that are gone left of puts that never ended and that lies at no place: temporary
    /// files on a disk, parts of uploads on S3. What a living writer has in hand, in this process or another,
    /// stays. Answers how many there were.
    ///
    /// # Errors
    /// [`Denied`](crate::Error::Denied), [`Unavailable`](crate::Error::Unavailable).
    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store + ?Sized> Store for Arc<S> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn local_path(&self, place: &Place) -> Option<PathBuf> {
        (**self).local_path(place)
    }

    fn public_url(&self, place: &Place) -> Option<Url> {
        (**self).public_url(place)
    }

    async fn signed_url(&self, place: &Place, action: &SignedAction, life: Duration) -> Result<Option<Url>> {
        (**self).signed_url(place, action, life).await
    }

    async fn put(&self, place: &Place, body: ByteStream, options: PutOptions) -> Result<Stat> {
        (**self).put(place, body, options).await
    }

    async fn open(&self, place: &Place, options: OpenOptions) -> Result<Opened> {
        (**self).open(place, options).await
    }

    async fn stat(&self, place: &Place) -> Result<Stat> {
        (**self).stat(place).await
    }

    async fn settle(&self, place: &Place) -> Result<Option<Stat>> {
        (**self).settle(place).await
    }

    async fn list(&self, options: ListOptions) -> Result<Listing> {
        (**self).list(options).await
    }

    async fn remove(&self, place: &Place) -> Result<bool> {
        (**self).remove(place).await
    }

    async fn copy(&self, from: &Place, to: &Place, options: CopyOptions) -> Result<Stat> {
        (**self).copy(from, to, options).await
    }

    async fn rename(&self, from: &Place, to: &Place, options: RenameOptions) -> Result<Stat> {
        (**self).rename(from, to, options).await
    }

    async fn remove_unfinished(&self, options: UnfinishedOptions) -> Result<u64> {
        (**self).remove_unfinished(options).await
    }
}
