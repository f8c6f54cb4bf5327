//! What a file in the store is, by its bytes.

use bytes::Bytes;
use futures::TryStreamExt;
use larder_core::{Code, Fault, FileType, ObjectKey};
use larder_store::{OpenOptions, Opened, Place};
use md5::Md5;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    buckets::Bucket,
    intake::{check, polyglot, stage::HEAD_BYTES},
    larder::Larder,
    policy::BucketPolicy,
};

/// How closely a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Its beginning and end only: nothing can be recorded of it then.
    Header,
    /// Every byte is hashed.
    Hash,
    /// Pictures are decoded in full as well.
    Decode,
}

/// How a file is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    pub(crate) depth: Depth,
    /// Whether its extension may say something else than its bytes.
    pub(crate) ignore_extensions: bool,
}

/// What a file is. Digests are empty after [`Depth::Header`].
#[derive(Debug, Clone)]
pub(crate) struct Probed {
    pub(crate) fingerprint: String,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: String,
    pub(crate) md5: String,
    pub(crate) content_type: String,
    pub(crate) picture: Option<PictureFacts>,
}

/// What is known of a picture; the last two only after its decode.
#[derive(Debug, Clone)]
pub(crate) struct PictureFacts {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) frames: u32,
    pub(crate) has_gps: bool,
    pub(crate) description: Option<Value>,
    pub(crate) perceptual_hash: Option<i64>,
}

impl Larder {
    /// Looks at the file at a place of a store, as if it were uploaded under `key` into the bucket.
    ///
    /// # Errors
    /// What an upload would be refused with; [`Code::Conflict`] if it changes meanwhile.
    pub(crate) async fn probe(
        &self,
        bucket: &Bucket,
        (store, place): (&str, &Place),
        key: &ObjectKey,
        how: How,
    ) -> Result<Probed, Fault> {
        let stat = self.store(store)?.stat(place).await?;
        let size_bytes = stat.size_bytes;
        check_size(bucket, size_bytes)?;
        let fingerprint = stat.fingerprint.to_string();
        let head = self.part((store, place), &fingerprint, 0..size_bytes.min(HEAD_BYTES as u64)).await?;
        let is_whole = head.len() as u64 == size_bytes;
        let tail = match is_whole {
            true => head.slice(head.len().saturating_sub(polyglot::TAIL_BYTES)..),
            false => {
                let from = size_bytes.saturating_sub(polyglot::TAIL_BYTES as u64);
                self.part((store, place), &fingerprint, from..size_bytes).await?
            }
        };
        let claims =
            check::Claims { key: (!how.ignore_extensions).then_some(key), ..check::Claims::default() };
        let glimpse = check::Glimpse { head: &head, tail: &tail, is_whole };
        let limits = self.settings().image.lower(&bucket.policy.image);
        let file_type = check::check(&bucket.policy, &limits, &claims, &glimpse)?;
        let mut probed = Probed {
            fingerprint,
            size_bytes,
            sha256: String::new(),
            md5: String::new(),
            content_type: file_type.map_or("application/octet-stream", |known| known.content_type).to_owned(),
            picture: None,
        };
        if how.depth == Depth::Header {
            return Ok(probed);
        }
        if !file_type.is_some_and(BucketPolicy::is_picture) {
            let opened = self.opened((store, place), &probed.fingerprint, None).await?;
            (probed.sha256, probed.md5) = hash_stream(opened).await?;
            return Ok(probed);
        }
        let share = self.pixels().memory(size_bytes).await?;
        let whole = match is_whole {
            true => head,
            false => self.part((store, place), &probed.fingerprint, 0..size_bytes).await?,
        };
        let (inspection, sha256, md5) = self
            .pixels()
            .run(move || {
                let _held = share;
                let inspection = larder_image::inspect(&whole, &limits)?;
                let digests = (hex::encode(Sha256::digest(&whole)), hex::encode(Md5::digest(&whole)));
                Ok::<_, larder_image::Error>((inspection, digests.0, digests.1))
            })
            .await??;
        (probed.sha256, probed.md5) = (sha256, md5);
        let (width_px, height_px) = inspection.oriented_size();
        let mut facts = PictureFacts {
            width_px,
            height_px,
            frames: inspection.frames,
            has_gps: inspection.has_gps,
            description: None,
            perceptual_hash: None,
        };
        if how.depth == Depth::Decode {
            self.decode_fully(bucket, (store, place), &probed, file_type, &mut facts).await?;
        }
        probed.picture = Some(facts);
        Ok(probed)
    }

    async fn decode_fully(
        &self,
        bucket: &Bucket,
        (store, place): (&str, &Place),
        probed: &Probed,
        file_type: Option<&'static FileType>,
        facts: &mut PictureFacts,
    ) -> Result<(), Fault> {
        let lies = (self.store(store)?, place, probed.fingerprint.as_str());
        if let Some(picture) = self.examine(bucket, lies, &probed.sha256, file_type, false).await? {
            facts.description = Some(picture.description);
            facts.perceptual_hash = Some(picture.perceptual_hash);
        }
        Ok(())
    }

    /// A range of the bytes of this fingerprint.
    async fn part(
        &self,
        place: (&str, &Place),
        fingerprint: &str,
        range: std::ops::Range<u64>,
    ) -> Result<Bytes, Fault> {
        let bytes = range.end - range.start;
        Ok(self.opened(place, fingerprint, Some(range)).await?.body.read_all(bytes).await?)
    }

    /// Opens the bytes of this fingerprint.
    ///
    /// # Errors
    /// [`Code::Conflict`] if others lie there.
    pub(crate) async fn opened(
        &self,
        (store, place): (&str, &Place),
        fingerprint: &str,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Opened, Fault> {
        let opened = self.store(store)?.open(place, OpenOptions { range, ..OpenOptions::default() }).await?;
        match opened.stat.fingerprint.as_str() == fingerprint {
            true => Ok(opened),
            false => Err(Fault::new(Code::Conflict, format!("{place} changed while it was looked at"))
                .remedy("run it again when nothing else writes there")),
        }
    }
}

fn check_size(bucket: &Bucket, size_bytes: u64) -> Result<(), Fault> {
    let limit = bucket.policy.max_bytes.0;
    match size_bytes {
        0 => Err(Fault::new(Code::EmptyFile, "the file has no bytes").remedy("remove it, or write it again")),
        _ if size_bytes > limit => Err(Fault::new(
            Code::FileTooLarge,
            format!("the file has {size_bytes} bytes, the bucket {} takes {limit}", bucket.name),
        )
        .remedy("raise max_bytes of the bucket")),
        _ => Ok(()),
    }
}

/// SHA-256 and MD5 in hex.
async fn hash_stream(opened: Opened) -> Result<(String, String), Fault> {
    let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
    let mut stream = opened.body.into_stream();
    while let Some(chunk) = stream.try_next().await.map_err(|error| {
        Fault::new(Code::BackendUnavailable, "the stored bytes could not be read").caused_by(error)
    })? {
        sha256.update(&chunk);
        md5.update(&chunk);
    }
    Ok((hex::encode(sha256.finalize()), hex::encode(md5.finalize())))
}
