//! What may be said of a file beside its bytes; the same for every door.

use larder_core::{Code, Fault, Timestamp, limits::METADATA_BYTES_MAX};
use serde_json::{Map, Value};

use super::Incoming;

/// Most tags of one asset.
const TAGS_MAX: usize = 100;

/// What is said of a file; what is not said is fine.
#[derive(Debug, Default)]
pub(crate) struct Said<'a> {
    pub(crate) owner: Option<&'a str>,
    pub(crate) tags: &'a [String],
    pub(crate) metadata: Option<&'a Map<String, Value>>,
    pub(crate) file_name: Option<&'a str>,
    pub(crate) expires_at: Option<Timestamp>,
}

impl<'a> From<&'a Incoming> for Said<'a> {
    fn from(incoming: &'a Incoming) -> Self {
        Self {
            owner: incoming.owner.as_deref(),
            tags: &incoming.tags,
            metadata: Some(&incoming.metadata),
            file_name: incoming.file_name.as_deref(),
            expires_at: incoming.expires_at,
        }
    }
}

impl Said<'_> {
    /// Refuses what is too much, or can't be meant.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`].
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), Fault> {
        let metadata_bytes =
            self.metadata.map_or(0, |metadata| serde_json::to_string(metadata).unwrap_or_default().len());
        let (problem, remedy) = if metadata_bytes > METADATA_BYTES_MAX {
            let problem = format!(
                "metadata has {metadata_bytes} bytes as JSON, at most {METADATA_BYTES_MAX} are possible"
            );
            (problem, LESS)
        } else if self.tags.len() > TAGS_MAX || self.tags.iter().any(|tag| !(1..=128).contains(&tag.len())) {
            (format!("at most {TAGS_MAX} tags of 1 to 128 bytes are possible"), LESS)
        } else if self.owner.is_some_and(|owner| !(1..=512).contains(&owner.len())) {
            ("an owner has 1 to 512 bytes".to_owned(), LESS)
        } else if self.file_name.is_some_and(|name| name.len() > 1_024 || name.contains('\0')) {
            ("a file name has at most 1,024 bytes and no NUL".to_owned(), LESS)
        } else if self.expires_at.is_some_and(|at| at <= now) {
            ("expires_at lies in the past".to_owned(), "name an instant to come, or leave it out")
        } else {
            return Ok(());
        };
        Err(Fault::new(Code::InvalidRequest, problem).remedy(remedy))
    }
}

const LESS: &str = "send less beside the file";
