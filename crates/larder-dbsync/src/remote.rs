//! The objects of one database in a store.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use larder_core::{Ambient, Timestamp};
use larder_store::{
    Condition, Error as StoreError, Fingerprint, ListOptions, OpenOptions, Place, PutOptions, Store, StoreExt,
};

use crate::{
    error::{Error, Result},
    format::{Entry, EntryHead, Head, Keep, Malformed, PREFIX_BYTES, PageMap, Source, VERSION},
    hash::Digest,
};

/// As much of an entry as is fetched at first: most are smaller, and so are the heads of most larger ones.
const FIRST_BYTES: u64 = 64 << 10;

/// The largest head or map that is read: of a database of four billion pages it would not fit into memory anyway.
const HEAD_BYTES_MAX: u64 = 4 << 30;

/// The largest note (`head`, `keep`).
const NOTE_BYTES_MAX: u64 = 64 << 10;

/// Length of the name of a keep.
const KEEP_NAME_MAX: usize = 200;

/// A database in a store: everything below one prefix. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remote {
    store: Arc<dyn Store>,
    prefix: String,
    /// What people are told of it.
    label: String,
    ambient: Ambient,
}

/// An object of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// An entry of the log.
    Log(u64),
    /// Frames of a large commit, or of a collection.
    Pack(Digest),
    /// The hashes and places of all pages of a version.
    Map(u64),
    /// Where to begin to read.
    Head,
    /// Entries below this number may be gone.
    Floor(u64),
    /// A version that is kept.
    Keep(String),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(seq) => write!(f, "log/{seq:016x}"),
            Self::Pack(digest) => write!(f, "pack/{digest}"),
            Self::Map(seq) => write!(f, "map/{seq:016x}"),
            Self::Head => f.write_str("head"),
            Self::Floor(seq) => write!(f, "floor/{seq:016x}"),
            Self::Keep(name) => write!(f, "keep/{name}"),
        }
    }
}

/// What is known of an object by listing it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its name within its kind.
    pub name: String,
    /// Its bytes.
    pub size_bytes: u64,
    /// When it was written, by the clock of the store.
    pub modified: Timestamp,
    /// Which object of this name it is.
    pub fingerprint: Fingerprint,
}

impl Listed {
    /// The number that its name is.
    pub fn seq(&self) -> Option<u64> {
        if self.name.len() == 16 { u64::from_str_radix(&self.name, 16).ok() } else { None }
    }
}

/// An entry that was read.
#[derive(Debug, Clone)]
pub struct FetchedEntry {
    /// Its head.
    pub head: EntryHead,
    /// Those of its frames' bytes that came along: all of them if it is small.
    pub frames: Bytes,
    /// How large it is.
    pub size_bytes: u64,
    /// Which object of this name it is.
    pub fingerprint: Fingerprint,
}

/// How the creation of an object ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is there now, and was not before.
    Done(Fingerprint),
    /// There was one.
    Taken,
}

impl Remote {
    /// The database below a prefix of a store, without slashes at its ends.
    ///
    /// # Errors
    /// [`Error::Invalid`] if no place of the store can begin so.
    pub fn new(store: Arc<dyn Store>, prefix: &str, ambient: Ambient) -> Result<Self> {
        let prefix = prefix.trim_matches('/').to_owned();
        let remote = Self { store, label: prefix.clone(), prefix, ambient };
        remote.place(&Object::Keep("a".repeat(KEEP_NAME_MAX))).map_err(|_| Error::Invalid {
            detail: format!("\"{}\" can't be the prefix of a database", remote.prefix),
            remedy: "use a path of letters, digits, - and _, without empty parts",
        })?;
        Ok(remote)
    }

    /// The same under another name for people, such as a URL.
    #[must_use]
    pub fn named(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// What people are told of it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The prefix below which all objects lie.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Clock and randomness.
    pub fn ambient(&self) -> &Ambient {
        &self.ambient
    }

    /// Where an object lies, for people.
    pub fn name(&self, object: &Object) -> String {
        if self.prefix.is_empty() { object.to_string() } else { format!("{}/{object}", self.prefix) }
    }

    fn place(&self, object: &Object) -> Result<Place> {
        if let Object::Keep(name) = object
            && (name.is_empty() || name.len() > KEEP_NAME_MAX || name.contains('/'))
        {
            return Err(Error::Invalid {
                detail: format!("\"{name}\" can't be the name of a backup"),
                remedy: "use up to 200 letters, digits, - and _",
            });
        }
        self.name(object).parse::<Place>().map_err(|error| Error::Invalid {
            detail: format!("\"{object}\" can't be the name of an object: {error}"),
            remedy: "use letters, digits, - and _",
        })
    }

    /// Why an object is refused.
    pub(crate) fn refuse(&self, object: &Object, why: Malformed) -> Error {
        let name = self.name(object);
        match why {
            Malformed::Because(detail) => Error::corrupt(name, detail),
            Malformed::Version(version) => Error::Version { object: name, version, known: VERSION },
        }
    }

    /// The object in which frames lie.
    pub(crate) fn object_of(source: &Source) -> Object {
        match source {
            Source::Log { seq, .. } => Object::Log(*seq),
            Source::Pack(digest) => Object::Pack(*digest),
        }
    }

    /// Some bytes of an object.
    pub(crate) async fn range(&self, object: &Object, range: std::ops::Range<u64>) -> Result<Bytes> {
        let wanted = range.end - range.start;
        let opened = match self.store.open(&self.place(object)?, OpenOptions::range(range)).await {
            Err(StoreError::Range { .. }) => return Err(Error::corrupt(self.name(object), "it is cut off")),
            opened => opened?,
        };
        let bytes = opened.body.read_all(wanted).await?;
        match bytes.len() as u64 == wanted {
            true => Ok(bytes),
            false => Err(Error::corrupt(self.name(object), "it is cut off")),
        }
    }

    async fn whole(&self, object: &Object, limit_bytes: u64) -> Result<Option<Bytes>> {
        match self.store.read_all(&self.place(object)?, limit_bytes).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// An entry; `None` if there is none of this number.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is not what was written, [`Error::Store`].
    pub async fn entry(&self, seq: u64) -> Result<Option<FetchedEntry>> {
        let object = Object::Log(seq);
        let refuse = |why| self.refuse(&object, why);
        let opened = match self.store.open(&self.place(&object)?, OpenOptions::range(0..FIRST_BYTES)).await {
            Ok(opened) => opened,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            // Nothing can be read of an empty object.
            Err(StoreError::Range { .. }) => return Err(Error::corrupt(self.name(&object), "it is empty")),
            Err(error) => return Err(error.into()),
        };
        let (size_bytes, fingerprint) = (opened.stat.size_bytes, opened.stat.fingerprint);
        let mut first = opened.body.read_all(FIRST_BYTES).await?;
        let head_bytes = Entry::head_bytes(&first[..first.len().min(PREFIX_BYTES)]).map_err(refuse)? as u64;
        if head_bytes > size_bytes || head_bytes > HEAD_BYTES_MAX {
            return Err(Error::corrupt(self.name(&object), "it is cut off"));
        }
        if head_bytes > first.len() as u64 {
            let rest = self.range(&object, first.len() as u64..head_bytes).await?;
            first = Bytes::from([first, rest].concat());
        }
        let head = Entry::read(&first).map_err(refuse)?;
        if head.entry.seq != seq {
            return Err(Error::corrupt(self.name(&object), "it is another entry"));
        }
        let frames = first.slice(head_bytes as usize..);
        Ok(Some(FetchedEntry { head, frames, size_bytes, fingerprint }))
    }

    /// Creates an entry; of any number of racing creators exactly one is told that it is done.
    ///
    /// # Errors
    /// [`Error::Store`]. It may be there all the same, if the answer got lost.
    pub(crate) async fn create_entry(&self, seq: u64, bytes: Bytes) -> Result<Created> {
        self.create(&Object::Log(seq), bytes).await
    }

    async fn create(&self, object: &Object, bytes: Bytes) -> Result<Created> {
        let options = PutOptions { condition: Condition::IfAbsent, ..PutOptions::default() };
        match self.store.put_bytes(&self.place(object)?, bytes, options).await {
            Ok(stat) => Ok(Created::Done(stat.fingerprint)),
            Err(StoreError::Precondition { .. }) => Ok(Created::Taken),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a pack, which its digest names: whoever put it before has put the same.
    pub(crate) async fn put_pack(&self, digest: Digest, bytes: Bytes) -> Result<()> {
        self.store.put_bytes(&self.place(&Object::Pack(digest))?, bytes, PutOptions::default()).await?;
        Ok(())
    }

    /// The map of a version; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Store`].
    pub async fn map(&self, seq: u64) -> Result<Option<PageMap>> {
        let object = Object::Map(seq);
        let Some(bytes) = self.whole(&object, HEAD_BYTES_MAX).await? else { return Ok(None) };
        let map = PageMap::read(&bytes).map_err(|why| self.refuse(&object, why))?;
        match map.seq == seq {
            true => Ok(Some(map)),
            false => Err(Error::corrupt(self.name(&object), "it is another map")),
        }
    }

    pub(crate) async fn put_map(&self, map: &PageMap) -> Result<()> {
        let place = self.place(&Object::Map(map.seq))?;
        self.store.put_bytes(&place, map.write(), PutOptions::default()).await?;
        Ok(())
    }

    /// The hint where to begin; `None` if there is none, or it can't be read: it is only a hint.
    pub(crate) async fn head(&self) -> Result<Option<Head>> {
        let head = self.whole(&Object::Head, NOTE_BYTES_MAX).await?;
        Ok(head.and_then(|bytes| Head::read(&bytes).ok()))
    }

    pub(crate) async fn put_head(&self, head: &Head) -> Result<()> {
        self.store.put_bytes(&self.place(&Object::Head)?, head.write(), PutOptions::default()).await?;
        Ok(())
    }

    /// A version that is kept; `None` if there is none of this name.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Store`], [`Error::Invalid`] for a name that can't be one.
    pub async fn keep(&self, name: &str) -> Result<Option<Keep>> {
        let object = Object::Keep(name.to_owned());
        let Some(bytes) = self.whole(&object, NOTE_BYTES_MAX).await? else { return Ok(None) };
        Keep::read(&bytes).map(Some).map_err(|why| self.refuse(&object, why))
    }

    pub(crate) async fn create_keep(&self, name: &str, keep: &Keep) -> Result<Created> {
        self.create(&Object::Keep(name.to_owned()), keep.write().into()).await
    }

    /// Removes an object and says whether it was there.
    pub(crate) async fn remove(&self, object: &Object) -> Result<bool> {
        Ok(self.store.remove(&self.place(object)?).await?)
    }

    pub(crate) async fn create_floor(&self, seq: u64) -> Result<Created> {
        self.create(&Object::Floor(seq), Bytes::new()).await
    }

    /// Entries below this number may be gone.
    pub(crate) async fn floor(&self) -> Result<u64> {
        let floors = self.list("floor/", None).await?;
        Ok(floors.iter().filter_map(Listed::seq).max().unwrap_or(0))
    }

    /// The objects below a part of the prefix such as `log/`, by name, from after `after` on.
    pub(crate) async fn list(&self, part: &str, after: Option<&Object>) -> Result<Vec<Listed>> {
        let prefix = self.name_of_part(part);
        let mut options = ListOptions::under(&prefix);
        options.after = after.map(|object| self.name(object));
        let mut listed = Vec::new();
        loop {
            let page = self.store.list(options.clone()).await?;
            listed.extend(page.entries.into_iter().map(|entry| Listed {
                name: entry.place.as_str()[prefix.len()..].to_owned(),
                size_bytes: entry.size_bytes,
                modified: entry.modified,
                fingerprint: entry.fingerprint,
            }));
            match page.next {
                Some(next) => options.after = Some(next),
                None => return Ok(listed),
            }
        }
    }

    fn name_of_part(&self, part: &str) -> String {
        if self.prefix.is_empty() { part.to_owned() } else { format!("{}/{part}", self.prefix) }
    }
}
