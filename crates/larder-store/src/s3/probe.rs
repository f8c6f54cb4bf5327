//! What a bucket honours, found out by trying.

use super::{S3Store, options::S3Options};
use crate::{
    error::{Error, Result},
    ext::StoreExt,
    listing::ListOptions,
    place::Place,
    store::{Condition, Fingerprint, PutOptions, Store},
};

/// Which conditions a bucket obeys when objects are written. Some servers ignore them and answer 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Honoured {
    pub(super) if_absent: bool,
    pub(super) if_match: bool,
}

/// Tries conditions out, and with them whether the bucket is there and can be read, written and emptied.
pub(super) async fn conditions(store: &S3Store, options: &S3Options) -> Result<Honoured> {
    let ambient = store.client.ambient();
    let name = hex::encode(ambient.random_bytes::<8>());
    let place: Place = format!(".larder/probe/{name}").parse()?;
    // Whether there is such a bucket: some servers make one by the way when an object is put.
    store.list(ListOptions { limit: 1, ..ListOptions::under(".larder/probe/") }).await?;
    if options.endpoint.is_none() {
        // AWS obeys conditions (S3, "Conditional writes").
        return Ok(Honoured { if_absent: true, if_match: true });
    }
    let put = |condition| {
        let options = PutOptions { condition, ..PutOptions::default() };
        store.put_bytes(&place, "larder", options)
    };
    let refused = |outcome: Result<_>| match outcome {
        Ok(_) => Ok(false),
        Err(Error::Precondition { .. }) => Ok(true),
        // Others answer that they know no conditions.
        Err(Error::Internal { .. }) => Ok(false),
        Err(error) => Err(error),
    };
    put(Condition::None).await?;
    let if_absent = refused(put(Condition::IfAbsent).await);
    let if_match =
        refused(put(Condition::IfMatch(Fingerprint::new("\"0123456789abcdef0123456789abcdef\""))).await);
    super::moving::delete(&store.client, &place).await?;
    Ok(Honoured { if_absent: if_absent?, if_match: if_match? })
}
