//! Direct uploads: the client puts the bytes into the store itself, at an address that was signed for one
//! type and one size, and says when they are there. They pass the same checks as bytes that came through a
//! door. A store without such addresses gets them through Larder, at an address that Larder signs.
//!
//! An address is good until it expires, used or not. So it is one of `.larder/incoming/`, and
//! [`Larder::complete_direct`] first moves what lies there to staging: who still has the address can't change
//! bytes that are being judged. What comes there afterwards is swept.

use std::{sync::Arc, time::Duration};

use larder_catalog::{Class, UploadChange, UploadRecord, UploadStatus};
use larder_core::{Code, Fault, FaultKind, FileType, Timestamp, UploadId, file_type};
use larder_store::{ByteStream, Condition, ListOptions, Place, RenameOptions, SignedAction, Store};

use super::{Door, Incoming, Said, accept::no_upload, stage, uncut};
use crate::{
    fail_point,
    jobs::{self, ingest_upload::IngestUpload},
    larder::{Larder, OWN_FOLDER, own_place},
    view::{UploadView, upload_view},
};

/// Most characters of a declared media type (RFC 6838, section 4.2, allows 127 for each half).
const CONTENT_TYPE_CHARS_MAX: usize = 255;

/// A direct upload that has begun.
#[derive(Debug)]
pub struct DirectUpload {
    /// The upload, which waits for its bytes.
    pub upload: UploadView,
    /// Where to put them; below `public_url` or relative to the root if Larder takes them itself.
    pub url: String,
    /// The `Content-Type` that the request must have.
    pub content_type: String,
    /// How many bytes it must send.
    pub size_bytes: u64,
    /// When the address ends.
    pub expires_at: Timestamp,
}

impl Larder {
    /// Begins an upload whose bytes the client puts into the store itself, at an address that is good for
    /// `life`. `incoming` declares their type and number.
    ///
    /// Asks no store, though credentials of a role may have to be fetched.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] without type and size; [`Code::FileTooLarge`], [`Code::UnsupportedType`],
    /// [`Code::Conflict`] for what `complete_direct` would refuse in any case; [`Code::BacklogFull`];
    /// [`Code::BackendUnavailable`] and [`Code::BackendDenied`] without credentials to sign with.
    pub async fn begin_direct(&self, incoming: Incoming, life: Duration) -> Result<DirectUpload, Fault> {
        let bucket = self.bucket(&incoming.bucket).await?;
        Said::from(&incoming).check(self.ambient().now())?;
        let (content_type, size_bytes) = declared(&incoming)?;
        stage::check_size(size_bytes, self.upload_bytes_max(&bucket))?;
        if let Some(known) = FileType::of_content_type(&content_type)
            && !file_type::says_nothing(&content_type)
            && !bucket.policy.accepts(Some(known))
        {
            let accepted = bucket.policy.accept.join(", ");
            let detail = format!("{content_type} is not accepted here; accepted are {accepted}");
            return Err(Fault::new(Code::UnsupportedType, detail)
                .remedy("convert the file, or add its type to the bucket's accept"));
        }
        if let Some(key) = &incoming.key {
            self.refuse_taken(&bucket, key).await?;
        }
        self.check_backlog(&bucket).await?;

        let id = UploadId::new(self.ambient());
        let (at, expires) = (incoming_place(id)?, self.links().expiry(life));
        let put = SignedAction::Put { content_type: content_type.clone(), size_bytes };
        let url = match self.stores().primary().signed_url(&at, &put, life).await? {
            Some(url) => url.to_string(),
            None => {
                let path = bytes_path(id);
                self.links().absolute(&self.links().sign_put(&path, &content_type, size_bytes, expires))
            }
        };
        let expires_at = Timestamp::from_millis(expires.saturating_mul(1_000));
        let record = UploadRecord {
            stage: UploadRecord::AWAITING_BYTES.to_owned(),
            bytes_total: Some(size_bytes),
            staging_place: Some(at.to_string()),
            // As long as the bytes may come, and then as long as any upload that nobody goes on with.
            expires_at: expires_at.plus(self.settings().upload_life),
            ..self.new_record(id, &incoming)
        };
        let upload = upload_view(&record, None, Default::default());
        self.catalog()
            .commit(Class::Durable, move |tx| Box::pin(async move { tx.insert_upload(&record).await }))
            .await?;
        Ok(DirectUpload { upload, url, content_type, size_bytes, expires_at })
    }

    /// Takes the bytes of a direct upload to a store that takes none itself. Whoever calls it has checked the
    /// signature, which names type and size. May be repeated until the upload is completed.
    ///
    /// # Errors
    /// [`Code::UploadNotFound`]; [`Code::Conflict`] if it waits for no bytes (any more); those of
    /// [`stage::stage`].
    pub async fn receive_direct(&self, id: UploadId, body: ByteStream) -> Result<(), Fault> {
        let upload = self.catalog().upload(id).await?.ok_or_else(|| no_upload(id))?;
        if !upload.awaits_bytes() {
            return Err(Fault::new(Code::Conflict, format!("the upload {id} waits for no bytes any more"))
                .remedy("begin another upload"));
        }
        let expected = expected(&upload);
        let store = self.store(&upload.staging_store)?;
        stage::stage(&**store, incoming_place(id)?, body, &expected, stage::Received::default()).await?;
        Ok(())
    }

    /// Goes on with a direct upload whose bytes have been put: checks them as at any door, and enqueues their
    /// job. May be repeated; of an upload that went on already it says how far it is.
    ///
    /// # Errors
    /// [`Code::UploadNotFound`]; [`Code::Conflict`] while there are no bytes, or for an upload of another
    /// kind. Those of [`Larder::accept_staged`] for bytes that are not taken: the upload has failed then, and
    /// nothing of them remains.
    pub async fn complete_direct(&self, id: UploadId) -> Result<UploadView, Fault> {
        let upload = self.catalog().upload(id).await?.ok_or_else(|| no_upload(id))?;
        if upload.door != Door::Direct.as_str() {
            return Err(Fault::new(Code::Conflict, format!("the upload {id} is no direct upload"))
                .remedy("its bytes came with its request; nothing has to be completed"));
        }
        if upload.awaits_bytes() {
            let larder = self.clone();
            let taken = uncut(async move { larder.take_direct(&upload).await }).await;
            let now = self.catalog().upload(id).await?;
            // Its bytes may be on their way already because somebody else was faster.
            match taken {
                Err(fault) if fault.code != Code::Conflict || now.is_none_or(|now| now.awaits_bytes()) => {
                    return Err(fault);
                }
                _ => {}
            }
        }
        self.upload(id).await
    }

    async fn take_direct(&self, upload: &UploadRecord) -> Result<(), Fault> {
        let store = self.store(&upload.staging_store)?;
        let staged_at = self.move_incoming(store, upload).await?;
        fail_point::reached("direct.moved");
        let judged = async {
            let bytes = stage::take_stock(&**store, staged_at.clone(), &expected(upload)).await?;
            let bucket = self.bucket(&upload.bucket).await?;
            let said = Incoming {
                key: upload.key.clone(),
                file_name: upload.original_filename.clone(),
                declared_type: upload.declared_type.clone(),
                ..Incoming::new(upload.bucket.clone(), Door::Direct)
            };
            let found = self.judge(&bucket, &said, (store, &bytes)).await?;
            Ok::<_, Fault>((bytes, found))
        };
        let id = upload.id;
        let (change, job, refusal) = match judged.await {
            Ok((bytes, found)) => {
                let content_type = found.map_or("application/octet-stream", |known| known.content_type);
                let change = UploadChange {
                    stage: Some("queued".to_owned()),
                    progress_percentage: Some(50),
                    bytes_received: Some(bytes.size_bytes),
                    staging_place: Some(Some(staged_at.to_string())),
                    digests: Some((bytes.sha256, bytes.md5, bytes.size_bytes)),
                    content_type: Some(content_type.to_owned()),
                    expires_at: Some(self.ambient().now().plus(self.settings().upload_life)),
                    ..UploadChange::default()
                };
                let job = jobs::new_job(&IngestUpload { upload_id: id })?;
                (change, Some(job.bucket(upload.bucket.clone()).subject(id)), None)
            }
            Err(fault) if fault.kind() == FaultKind::Invalid => {
                let change = UploadChange {
                    status: Some(UploadStatus::Failed),
                    stage: Some("done".to_owned()),
                    error: Some(fault.clone()),
                    staging_place: Some(None),
                    ..UploadChange::default()
                };
                (change, None, Some(fault))
            }
            Err(fault) => {
                // Somebody else may have completed it, and these bytes have gone their way.
                let now = self.catalog().upload(id).await?;
                return if now.is_some_and(|now| !now.awaits_bytes()) { Ok(()) } else { Err(fault) };
            }
        };
        // Of several that complete an upload at once, the first decides.
        let decided = self
            .catalog()
            .commit(Class::Durable, move |tx| {
                Box::pin(async move {
                    let now = tx.upload(id).await?;
                    if !now.as_ref().is_some_and(UploadRecord::awaits_bytes) {
                        return Ok((false, now.and_then(|now| now.staging_place)));
                    }
                    let now = tx.change_upload(id, &[UploadStatus::Pending], change).await?;
                    if let Some(job) = job {
                        tx.enqueue(job).await?;
                    }
                    Ok((true, now.staging_place))
                })
            })
            .await;
        let (is_ours, named) = decided?;
        if named.as_deref() != Some(staged_at.as_str()) {
            stage::discard(&**store, &staged_at).await;
        }
        match refusal {
            Some(fault) if is_ours => Err(fault),
            _ => Ok(()),
        }
    }

    /// Takes the bytes away from the address at which they were put, to a place of this try alone: what is
    /// judged there is what is stored, whoever puts others or completes the upload at the same time. Where
    /// nothing was put since, the bytes of an earlier try are taken, which may have been cut off.
    async fn move_incoming(&self, store: &Arc<dyn Store>, upload: &UploadRecord) -> Result<Place, Fault> {
        let id = upload.id;
        let own = own_place(&format!("staging/{id}.{}", UploadId::new(self.ambient())))?;
        let options = RenameOptions { condition: Condition::IfAbsent, attributes: None };
        match store.rename(&incoming_place(id)?, &own, options).await {
            Ok(_) => return Ok(own),
            Err(larder_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let tries =
            ListOptions { prefix: own_prefix(&format!("staging/{id}.")), limit: 1, ..ListOptions::default() };
        let found = store.list(tries).await?.entries.into_iter().next();
        found.map(|entry| entry.place).ok_or_else(|| {
            Fault::new(Code::Conflict, format!("no bytes came yet for the upload {id}"))
                .remedy("put the file to the upload's url first, then complete it")
        })
    }
}

/// The path at which Larder takes the bytes of an upload itself.
pub fn bytes_path(id: UploadId) -> String {
    format!("/api/v1/uploads/{id}/bytes")
}

fn incoming_place(id: UploadId) -> Result<Place, Fault> {
    own_place(&format!("incoming/{id}"))
}

fn own_prefix(rest: &str) -> String {
    format!("{OWN_FOLDER}/{rest}")
}

fn expected(upload: &UploadRecord) -> stage::Expected {
    stage::Expected {
        bytes_max: upload.bytes_total.unwrap_or_default(),
        bytes: upload.bytes_total,
        ..stage::Expected::default()
    }
}

/// Type and size, without which an address would have no bounds.
fn declared(incoming: &Incoming) -> Result<(String, u64), Fault> {
    let invalid = |detail: &str| Fault::new(Code::InvalidRequest, detail);
    let content_type = incoming.declared_type.as_deref().unwrap_or_default().trim();
    let is_text = content_type.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !is_text || !content_type.contains('/') || content_type.len() > CONTENT_TYPE_CHARS_MAX {
        return Err(invalid("content_type is no media type")
            .remedy("send the type that the PUT will have, such as image/jpeg"));
    }
    let size_bytes = incoming
        .declared_bytes
        .ok_or_else(|| invalid("size_bytes is missing").remedy("send the number of bytes of the file"))?;
    Ok((content_type.to_owned(), size_bytes))
}
