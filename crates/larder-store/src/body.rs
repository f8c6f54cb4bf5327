//! Bytes on their way out of a store, and into it.

use std::{fmt, fs::File, ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use rustix::buffer::spare_capacity;

use crate::error::{BoxError, Error, Result};

/// Bytes as they come.
pub type ByteStream = BoxStream<'static, Result<Bytes, BoxError>>;

/// First read of a file that is streamed: one read for most variants.
const READ_BYTES_MIN: u64 = 64 * 1_024;

/// Largest read of a file that is streamed: larger ones gain nothing and hold memory.
const READ_BYTES_MAX: u64 = 512 * 1_024;

/// A stream of bytes that are in memory already.
pub fn stream_of(bytes: impl Into<Bytes>) -> ByteStream {
    let bytes = bytes.into();
    let chunk = (!bytes.is_empty()).then_some(Ok(bytes));
    stream::iter(chunk).boxed()
}

/// The bytes of an [`Opened`](crate::Opened), in whichever form the store has them.
pub enum Body {
    /// A range of an open file.
    File(FileBody),
    /// All of them.
    Bytes(Bytes),
    /// As they come.
    Stream(ByteStream),
}

/// A range of an open file. The file stays what it was when it was opened, whatever is put at its
/// place later.
#[derive(Debug)]
pub struct FileBody {
    /// The file, positioned anywhere: read at offsets.
    pub file: File,
    /// The bytes of it that were asked for.
    pub range: Range<u64>,
}

impl Body {
    /// The bytes as a stream. Files are read on blocking threads, in steps of 64 KiB doubling to
    /// 512 KiB.
    pub fn into_stream(self) -> ByteStream {
        match self {
            Self::File(body) => body.into_stream(),
            Self::Bytes(bytes) => stream_of(bytes),
            Self::Stream(stream) => stream,
        }
    }

    /// All bytes at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there are more than `limit_bytes`; [`Error::Unavailable`] if reading
    /// fails.
    pub async fn read_all(self, limit_bytes: u64) -> Result<Bytes> {
        let too_many = || Error::Invalid { detail: format!("more than {limit_bytes} bytes") };
        let mut stream = match self {
            Self::Bytes(bytes) if bytes.len() as u64 <= limit_bytes => return Ok(bytes),
            Self::Bytes(_) => return Err(too_many()),
            Self::File(body) if body.length() > limit_bytes => return Err(too_many()),
            Self::File(body) => return body.read_whole().await.map_err(read_error),
            Self::Stream(stream) => stream,
        };
        let mut all = BytesMut::new();
        while let Some(chunk) = stream.try_next().await.map_err(read_error)? {
            if all.len() as u64 + chunk.len() as u64 > limit_bytes {
                return Err(too_many());
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// The open file, where the bytes are one.
    pub fn file(&self) -> Option<&FileBody> {
        match self {
            Self::File(body) => Some(body),
            _ => None,
        }
    }
}

/// The error of a store's body that broke off while it was read.
pub(crate) fn read_error(source: BoxError) -> Error {
    match source.downcast::<Error>() {
        Ok(error) => *error,
        Err(source) => Error::unavailable("an open body", source),
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(body) => body.fmt(f),
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(&bytes.len()).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl FileBody {
    /// How many bytes were asked for.
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn into_stream(self) -> ByteStream {
        let file = Arc::new(self.file);
        stream::try_unfold((self.range, READ_BYTES_MIN), move |(rest, step_bytes)| {
            let file = Arc::clone(&file);
            async move {
                if rest.is_empty() {
                    return Ok::<_, BoxError>(None);
                }
                let until = rest.end.min(rest.start + step_bytes);
                let chunk = read_range(file, rest.start..until).await?;
                let step_bytes = (step_bytes * 2).min(READ_BYTES_MAX);
                Ok(Some((chunk, (until..rest.end, step_bytes))))
            }
        })
        .boxed()
    }

    async fn read_whole(self) -> Result<Bytes, BoxError> {
        read_range(Arc::new(self.file), self.range).await
    }
}

/// Reads exactly the range. A file that has become shorter is an error, never fewer bytes.
async fn read_range(file: Arc<File>, range: Range<u64>) -> Result<Bytes, BoxError> {
    let read = move || {
        let length = usize::try_from(range.end - range.start).map_err(std::io::Error::other)?;
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let offset = range.start + bytes.len() as u64;
            if rustix::io::pread(&file, spare_capacity(&mut bytes), offset)? == 0 {
                return Err(std::io::Error::new(
                    std::io::ErrorKind::UnexpectedEof,
                    "the file became shorter while it was read",
                ));
            }
        }
        // A vector may have been given more room than it asked for.
        bytes.truncate(length);
        Ok(Bytes::from(bytes))
    };
    tokio::task::spawn_blocking(read).await?.map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8], range: Range<u64>) -> Body {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Body::File(FileBody { file, range })
    }

    fn each_kind() -> [Body; 3] {
        let chunks = [Ok(Bytes::from_static(b"123")), Ok(Bytes::from_static(b"45"))];
        [file(b"0123456", 1..6), Body::Bytes("12345".into()), Body::Stream(stream::iter(chunks).boxed())]
    }

    #[tokio::test]
    async fn every_kind_of_body_reads_the_same() {
        for body in each_kind() {
            assert_eq!(body.read_all(5).await.unwrap(), "12345");
        }
        for body in each_kind() {
            let chunks: Vec<Bytes> = body.into_stream().try_collect().await.unwrap();
            assert_eq!(chunks.concat(), b"12345");
        }
    }

    #[tokio::test]
    async fn more_bytes_than_the_limit_are_refused() {
        for body in each_kind() {
            assert!(matches!(body.read_all(4).await, Err(Error::Invalid { .. })));
        }
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_an_error_and_never_fewer_bytes() {
        assert!(matches!(file(b"0123", 0..5).read_all(10).await, Err(Error::Unavailable { .. })));
        let mut body = file(&[7; 100_000], 0..100_001).into_stream();
        assert_eq!(body.next().await.unwrap().unwrap().len() as u64, READ_BYTES_MIN);
        assert!(body.next().await.unwrap().is_err());
    }
}
