//! From a body to durable bytes in staging: counted, hashed and cut off at the limit on the way.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use larder_core::{Code, Fault, file_type::SNIFF_BYTES, text::display_bytes};
use larder_store::{ByteStream, CircuitOpen, Fingerprint, OpenOptions, Place, PutOptions, Store};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::sync::Mutex;

/// The first bytes that are kept for header checks: enough for a JPEG whose EXIF block, with its
/// embedded preview, precedes the frame header.
pub const HEAD_BYTES: usize = 1 << 20;

/// What came in, now durable at `place`.
#[derive(Debug)]
pub struct Staged {
    /// Where the bytes lie.
    pub place: Place,
    /// Identity of the bytes.
    pub fingerprint: Fingerprint,
    /// How many there are.
    pub size_bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
    /// MD5 in hex; what S3 clients compare.
    pub md5: String,
    /// The first bytes, at most [`HEAD_BYTES`].
    pub head: Vec<u8>,
}

impl Staged {
    /// Whether `head` is the whole file.
    pub fn is_whole_in_head(&self) -> bool {
        self.head.len() as u64 == self.size_bytes
    }
}

/// What is expected of a body.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// Most bytes; exactly this many are accepted.
    pub bytes_max: u64,
    /// The announced length.
    pub bytes: Option<u64>,
    /// The announced SHA-256 in hex.
    pub sha256: Option<String>,
    /// The announced MD5 in hex.
    pub md5: Option<String>,
}

/// Counts bytes for whoever shows progress.
pub type Received = Arc<AtomicU64>;

/// The state of a running hash, shared with the stream that the store consumes.
#[derive(Default)]
struct Tally {
    sha256: Sha256,
    md5: Md5,
    size_bytes: u64,
    head: Vec<u8>,
}

/// Streams `body` into `place` and syncs it.
///
/// When this returns, the bytes are on stable storage; when it fails or is dropped, nothing of them
/// remains. Memory use does not grow with the body.
///
/// # Errors
/// [`Code::FileTooLarge`] as soon as one byte too many arrives, [`Code::BodyIncomplete`],
/// [`Code::EmptyFile`], [`Code::DigestMismatch`], or the store's own.
pub async fn stage(
    store: &dyn Store,
    place: Place,
    body: ByteStream,
    expected: &Expected,
    received: Received,
) -> Result<Staged, Fault> {
    if let Some(announced) = expected.bytes
        && announced > expected.bytes_max
    {
        return Err(too_large(Some(announced), expected.bytes_max));
    }
    let tally = Arc::new(Mutex::new(Tally::default()));
    let counted = counted(body, tally.clone(), expected.bytes_max, received);
    let options = PutOptions { size_hint: expected.bytes, ..PutOptions::default() };
    let stat = store.put(&place, counted, options).await.map_err(fault_of_put)?;
    let tally = Arc::into_inner(tally)
        .and_then(|mutex| mutex.into_inner().ok())
        .ok_or_else(|| Fault::internal("the store kept the body's stream after its end"))?;
    let staged = tally.result(place, stat.fingerprint);
    if let Err(fault) = check_stored(stat.size_bytes, &staged).and_then(|()| check_against(&staged, expected))
    {
        discard(store, &staged.place).await;
        return Err(fault);
    }
    Ok(staged)
}

/// Reads bytes in staging that came without [`stage`], and says of them what it would have said.
///
/// # Errors
/// As [`stage`], but that the bytes stay; the store's if they are not there.
pub async fn take_stock(store: &dyn Store, place: Place, expected: &Expected) -> Result<Staged, Fault> {
    let opened = store.open(&place, OpenOptions::default()).await?.exact();
    if let Some(announced) = expected.bytes
        && announced != opened.stat.size_bytes
    {
        let found = opened.stat.size_bytes;
        return Err(incomplete(announced, found));
    }
    let (mut tally, mut body) = (Tally::default(), opened.body.into_stream());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| {
            Fault::new(Code::BackendUnavailable, "the staged bytes could not be read").caused_by(error)
        })?;
        tally.take(&chunk, expected.bytes_max)?;
    }
    let staged = tally.result(place, opened.stat.fingerprint);
    check_against(&staged, expected)?;
    Ok(staged)
}

/// Refuses an announced size that no bucket of this limit takes.
///
/// # Errors
/// [`Code::FileTooLarge`], [`Code::EmptyFile`].
pub(crate) fn check_size(announced: u64, bytes_max: u64) -> Result<(), Fault> {
    match announced {
        0 => Err(empty()),
        bytes if bytes > bytes_max => Err(too_large(Some(bytes), bytes_max)),
        _ => Ok(()),
    }
}

/// Removes staged bytes; a failure is only logged, since the sweep removes what stays behind.
pub async fn discard(store: &dyn Store, place: &Place) {
    if let Err(error) = store.remove(place).await
        && !CircuitOpen::is_cause_of(&error)
    {
        tracing::warn!(%place, %error, "staged bytes could not be removed; the sweep will");
    }
}

fn counted(body: ByteStream, tally: Arc<Mutex<Tally>>, bytes_max: u64, received: Received) -> ByteStream {
    body.and_then(move |chunk: Bytes| {
        let outcome = match tally.lock() {
            Ok(mut tally) => tally.take(&chunk, bytes_max),
            Err(_) => Err(Fault::internal("hashing the body panicked")),
        };
        if outcome.is_ok() {
            received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        futures::future::ready(outcome.map(|()| chunk).map_err(Into::into))
    })
    .boxed()
}

impl Tally {
    fn result(self, place: Place, fingerprint: Fingerprint) -> Staged {
        Staged {
            place,
            fingerprint,
            size_bytes: self.size_bytes,
            sha256: hex::encode(self.sha256.finalize()),
            md5: hex::encode(self.md5.finalize()),
            head: self.head,
        }
    }

    fn take(&mut self, chunk: &Bytes, bytes_max: u64) -> Result<(), Fault> {
        self.size_bytes += chunk.len() as u64;
        if self.size_bytes > bytes_max {
            return Err(too_large(None, bytes_max));
        }
        self.sha256.update(chunk);
        self.md5.update(chunk);
        let wanted = HEAD_BYTES.saturating_sub(self.head.len()).min(chunk.len());
        self.head.extend_from_slice(&chunk[..wanted]);
        Ok(())
    }
}

/// What a store kept less of than it was given is no copy of the file, whatever it answered.
fn check_stored(stored_bytes: u64, staged: &Staged) -> Result<(), Fault> {
    if stored_bytes == staged.size_bytes {
        return Ok(());
    }
    let detail = format!("the store kept {stored_bytes} of the {} bytes that it was sent", staged.size_bytes);
    Err(Fault::new(Code::BackendUnavailable, detail).remedy("send the file again"))
}

fn check_against(staged: &Staged, expected: &Expected) -> Result<(), Fault> {
    if let Some(announced) = expected.bytes
        && announced != staged.size_bytes
    {
        return Err(incomplete(announced, staged.size_bytes));
    }
    if staged.size_bytes == 0 {
        return Err(empty());
    }
    let pairs = [("SHA-256", &expected.sha256, &staged.sha256), ("MD5", &expected.md5, &staged.md5)];
    for (name, announced, found) in pairs {
        if let Some(announced) = announced
            && !announced.eq_ignore_ascii_case(found)
        {
            let detail = format!("the {name} of the body is {found}, {announced} was announced");
            return Err(Fault::new(Code::DigestMismatch, detail).remedy("send the file again"));
        }
    }
    Ok(())
}

fn incomplete(announced: u64, arrived: u64) -> Fault {
    let detail = format!("{announced} bytes were announced, {arrived} arrived");
    Fault::new(Code::BodyIncomplete, detail).remedy("send the file again")
}

fn empty() -> Fault {
    Fault::new(Code::EmptyFile, "the file has no bytes").remedy("send a file with content")
}

fn too_large(announced: Option<u64>, limit: u64) -> Fault {
    let detail = match announced {
        Some(bytes) => {
            format!("the file has {bytes} bytes, at most {limit} ({}) are accepted", display_bytes(limit))
        }
        None => format!("the file has more than {limit} bytes ({})", display_bytes(limit)),
    };
    Fault::new(Code::FileTooLarge, detail)
        .remedy("send a smaller file, or raise max_bytes of the bucket or limits.upload_bytes")
}

/// A fault that the body's own stream raised comes back out of the store unchanged.
fn fault_of_put(error: larder_store::Error) -> Fault {
    match error {
        larder_store::Error::Body(source) => match source.downcast::<Fault>() {
            Ok(fault) => *fault,
            Err(source) => Fault::new(Code::BodyIncomplete, "the body broke off")
                .remedy("send the file again")
                .caused_by(source),
        },
        other => other.into(),
    }
}

/// The part of a head that type sniffing looks at.
pub fn sniffable(head: &[u8]) -> &[u8] {
    &head[..head.len().min(SNIFF_BYTES)]
}
