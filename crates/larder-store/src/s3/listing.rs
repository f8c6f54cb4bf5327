//! Listing a bucket, and what uploads that never ended left in it.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use larder_core::Timestamp;
use reqwest::Method;

use super::{
    client::{Call, Client},
    failure::Failure,
    multipart::abort,
    reading, xml,
};
use crate::{
    error::{Error, Result},
    listing::{Entry, ListOptions, Listing, is_own},
    place::Place,
    store::{Fingerprint, UnfinishedOptions},
};

const LIST: &str = "s3:ListBucket";

/// After every key that begins with a text, as far as keys of sane characters go.
const LAST: char = char::MAX;

/// Objects that are asked for at a time where a listing does not say which they are.
const STATS_AT_A_TIME: usize = 16;

/// ListObjectsV2, until a page is full.
pub(super) async fn list(client: &Client, options: ListOptions) -> Result<Listing> {
    let mut page = Listing::default();
    if !begins_a_place(&options.prefix) {
        return Ok(page);
    }
    let own = options.asks_for_own();
    // One more than is wanted: whether there is a next page can't be told otherwise once own places are left
    // out.
    let wanted = options.page_limit();
    let mut after = options.after.clone();
    if let Some(text) = options.after.as_deref().filter(|text| text.starts_with(&options.prefix))
        && let Some(prefix) = options.folded(text)
    {
        // In the middle of what is folded servers differ: some leave it out, some tell it again. That it
        // comes is known if something below it comes after.
        let hidden = is_own(prefix) && !own;
        if prefix != text && !hidden && any_below(client, prefix, text).await? {
            page.prefixes.push(prefix.to_owned());
        }
        after = Some(format!("{prefix}{LAST}"));
    }
    loop {
        let answer = ask(client, &options, after.as_deref(), wanted + 1).await?;
        let mut names = Vec::with_capacity(answer.contents.len() + answer.common_prefixes.len());
        for content in answer.contents {
            names.push((content.key.clone(), Some(content)));
        }
        names.extend(answer.common_prefixes.into_iter().map(|common| (common.prefix, None)));
        names.sort_by(|(one, _), (two, _)| one.cmp(two));
        let mut last = None;
        for (key, content) in names {
            let Some(text) = client.endpoint().place_in(&key) else { continue };
            let text = text.to_owned();
            last = Some(match content {
                Some(_) => text.clone(),
                None => format!("{text}{LAST}"),
            });
            if is_own(&text) && !own {
                continue;
            }
            if page.entries.len() + page.prefixes.len() == wanted {
                page.next = Some(last_of(&page));
                return filled(client, page).await;
            }
            match content {
                None => page.prefixes.push(text),
                Some(content) => match entry(&text, &content) {
                    Some(entry) => page.entries.push(entry),
                    None => page.unnameable.push(text.escape_debug().to_string()),
                },
            }
        }
        match last {
            Some(text) if answer.is_truncated => {
                after = Some(if is_own(&text) && !own { format!(".larder/{LAST}") } else { text });
            }
            _ => return filled(client, page).await,
        }
    }
}

/// Whether anything below a folder comes after a text.
async fn any_below(client: &Client, folder: &str, after: &str) -> Result<bool> {
    let page = ask(client, &ListOptions::under(folder), Some(after), 1).await?;
    Ok(!page.contents.is_empty())
}

/// What a page told last.
fn last_of(page: &Listing) -> String {
    let entry = page.entries.last().map(|entry| entry.place.as_str());
    let prefix = page.prefixes.last().map(String::as_str);
    entry.max(prefix).unwrap_or_default().to_owned()
}

async fn ask(client: &Client, options: &ListOptions, after: Option<&str>, keys: usize) -> Result<xml::Page> {
    let prefix = client.endpoint().key(&options.prefix);
    let start_after = after.map(|after| client.endpoint().key(after));
    let keys = keys.to_string();
    let mut pairs = vec![("list-type", "2"), ("max-keys", &keys)];
    if !prefix.is_empty() {
        pairs.push(("prefix", &prefix));
    }
    if options.delimiter {
        pairs.push(("delimiter", "/"));
    }
    if let Some(start_after) = start_after.as_deref().filter(|text| !text.is_empty()) {
        pairs.push(("start-after", start_after));
    }
    let call = Call::new(LIST, Method::GET, client.endpoint().root()).query(&pairs);
    let document = client.ask(&call).await.outcome;
    document
        .and_then(|document| xml::read(&document).map_err(Failure::Unreadable))
        .map_err(|failure| failure.of(&options.prefix, client.about(LIST)))
}

fn entry(text: &str, content: &xml::Content) -> Option<Entry> {
    Some(Entry {
        place: text.parse().ok()?,
        size_bytes: content.size,
        fingerprint: Fingerprint::new(content.e_tag.clone().unwrap_or_default()),
        modified: content.last_modified.parse().unwrap_or(Timestamp::from_millis(0)),
    })
}

/// Some servers list no ETags: those are asked for one by one.
async fn filled(client: &Client, mut page: Listing) -> Result<Listing> {
    if page.entries.iter().all(|entry| !entry.fingerprint.as_str().is_empty()) {
        return Ok(page);
    }
    let asked = stream::iter(page.entries).map(|entry| async move {
        match reading::stat(client, &entry.place).await {
            Ok(stat) => {
                Ok(Some(Entry { fingerprint: stat.fingerprint, size_bytes: stat.size_bytes, ..entry }))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    });
    let entries: Vec<_> = asked.buffered(STATS_AT_A_TIME).try_collect::<Vec<Option<Entry>>>().await?;
    page.entries = entries.into_iter().flatten().collect();
    Ok(page)
}

/// Whether a place can begin with this: servers differ in what they make of a prefix that is none.
fn begins_a_place(prefix: &str) -> bool {
    let (folders, last) = match prefix.rsplit_once('/') {
        Some((folders, last)) => (Some(folders), last),
        None => (None, prefix),
    };
    folders.is_none_or(|folders| folders.parse::<Place>().is_ok()) && !last.chars().any(char::is_control)
}

/// ListMultipartUploads, and AbortMultipartUpload for those that are old enough.
pub(super) async fn remove_unfinished(client: &Arc<Client>, options: UnfinishedOptions) -> Result<u64> {
    const ABORT: &str = "s3:ListBucketMultipartUploads";
    let prefix = client.endpoint().key("");
    let (mut key_marker, mut id_marker) = (String::new(), String::new());
    let mut removed = 0;
    loop {
        let mut pairs = vec![("uploads", ""), ("prefix", prefix.as_str())];
        if !key_marker.is_empty() {
            pairs.push(("key-marker", &key_marker));
            pairs.push(("upload-id-marker", &id_marker));
        }
        let call = Call::new(ABORT, Method::GET, client.endpoint().root()).query(&pairs);
        let document = match client.ask(&call).await.outcome {
            Ok(document) => document,
            // A store that can't list them keeps them to itself.
            Err(failure) if failure.status() == Some(reqwest::StatusCode::NOT_IMPLEMENTED) => {
                return Ok(removed);
            }
            Err(failure) => return Err(failure.of(&prefix, client.about(ABORT))),
        };
        let page: xml::Uploads = xml::read(&document)
            .map_err(|detail| Failure::Unreadable(detail).of(&prefix, client.about(ABORT)))?;
        for upload in &page.upload {
            let begun = upload.initiated.parse().unwrap_or(options.begun_before);
            let place = client.endpoint().place_in(&upload.key).and_then(|text| text.parse::<Place>().ok());
            let Some(place) = place.filter(|_| begun < options.begun_before) else { continue };
            removed += 1;
            if !options.dry_run {
                let call = abort(&client.endpoint().object(&place), &upload.upload_id);
                match client.send_at(&call, &place).await {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        match (page.is_truncated, page.next_key_marker, page.next_upload_id_marker) {
            (true, Some(key), id) => (key_marker, id_marker) = (key, id.unwrap_or_default()),
            _ => return Ok(removed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_begin_a_place_is_asked_for() {
        for prefix in ["", "a", "a/", "a/b", "..a", "a/..", "."] {
            assert!(begins_a_place(prefix), "{prefix:?}");
        }
        for prefix in ["/", "//", "../", "a/../", "a//", "\0", "a/\0", "./"] {
            assert!(!begins_a_place(prefix), "{prefix:?}");
        }
    }
}
