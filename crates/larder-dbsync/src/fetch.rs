//! Bringing pages of a version from the store.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    error::{Error, Result},
    format::{Frame, FramePages, PageMap, Source},
    hash::page_hash,
    history::Along,
    progress::{Event, Watch},
    remote::Remote,
};

/// Ranges of objects that are asked for at a time.
const AT_A_TIME: usize = 8;

/// The most that is asked for at once.
const RANGE_BYTES_MAX: u64 = 4 << 20;

/// Frames that nobody wants are fetched along with their neighbours if they are not larger than this: a request
/// costs more.
const GAP_BYTES_MAX: u64 = 64 << 10;

/// Where pages that come go: their offsets in a file.
#[derive(Debug, Clone)]
pub enum Layout {
    /// Each at its place in a database.
    Database,
    /// One after the other, in the order of this list.
    Spool(Arc<HashMap<u32, u64>>),
}

/// A file that pages come into.
#[derive(Debug, Clone)]
pub struct Target {
    /// The file.
    pub file: Arc<File>,
    /// Where in it.
    pub layout: Layout,
}

/// Frames that lie beside each other in one object, with the pages that are wanted of each.
#[derive(Debug)]
struct Range {
    source: Source,
    start: u64,
    end: u64,
    frames: Vec<(Frame, Vec<u32>)>,
}

/// Fetches pages of a version, checks each, and writes it into `target`. Not synced.
///
/// # Errors
/// [`Error::Corrupt`] naming the object, [`Error::Io`] with `path`, [`Error::Store`].
pub async fn fetch(
    remote: &Remote,
    map: &Arc<PageMap>,
    wanted: &[u32],
    along: &Along,
    (target, path): (&Target, &Path),
    watch: &Watch,
) -> Result<()> {
    let ranges = ranges(map, wanted)?;
    stream::iter(ranges)
        .map(|range| async move {
            let object = Remote::object_of(&range.source);
            let base = range.source.base();
            let here = along.frames(&range.source).map_or(0, |frames| frames.len() as u64);
            let mut bytes = match along.frames(&range.source) {
                Some(frames) if range.start < here => {
                    frames.slice(range.start as usize..range.end.min(here) as usize)
                }
                _ => Bytes::new(),
            };
            if range.end > here {
                let rest = remote.range(&object, base + range.start.max(here)..base + range.end).await?;
                bytes = if bytes.is_empty() { rest } else { Bytes::from([bytes, rest].concat()) };
            }
            let (map, target) = (Arc::clone(map), target.clone());
            let (name, path) = (remote.name(&object), path.to_owned());
            let pages = range.frames.iter().map(|(_, pages)| pages.len() as u64).sum();
            let written =
                tokio::task::spawn_blocking(move || write(&range, &bytes, &map, &target, &name, &path)).await;
            written.map_err(|error| Error::Internal(error.to_string()))??;
            watch(&Event::Fetched { pages });
            Ok(())
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await
}

/// The ranges in which pages lie.
fn ranges(map: &PageMap, wanted: &[u32]) -> Result<Vec<Range>> {
    let mut frames: BTreeMap<u32, (Frame, Source, Vec<u32>)> = BTreeMap::new();
    for number in wanted {
        let Some((index, frame, source)) = map.frame_of(*number) else {
            return Err(Error::Internal(format!("page {number} lies nowhere")));
        };
        frames.entry(index).or_insert_with(|| (frame, source, Vec::new())).2.push(*number);
    }
    let mut by_source: HashMap<Source, Vec<(Frame, Vec<u32>)>> = HashMap::new();
    for (frame, source, pages) in frames.into_values() {
        by_source.entry(source).or_default().push((frame, pages));
    }
    let mut ranges: Vec<Range> = Vec::new();
    for (source, mut frames) in by_source {
        frames.sort_by_key(|(frame, _)| frame.offset);
        let mut open: Option<Range> = None;
        for (frame, pages) in frames {
            match &mut open {
                Some(range)
                    if frame.offset <= range.end + GAP_BYTES_MAX
                        && frame.end() - range.start <= RANGE_BYTES_MAX =>
                {
                    range.end = range.end.max(frame.end());
                    range.frames.push((frame, pages));
                }
                _ => {
                    let range =
                        Range { source, start: frame.offset, end: frame.end(), frames: vec![(frame, pages)] };
                    ranges.extend(open.replace(range));
                }
            }
        }
        ranges.extend(open);
    }
    Ok(ranges)
}

/// Takes the frames of a range apart.
fn write(
    range: &Range,
    bytes: &Bytes,
    map: &PageMap,
    target: &Target,
    name: &str,
    path: &Path,
) -> Result<()> {
    for (frame, wanted) in &range.frames {
        let start = (frame.offset - range.start) as usize;
        let stored = &bytes[start..start + frame.stored_bytes as usize];
        let pages = FramePages::read(frame, map.page_size, stored)
            .map_err(|why| Error::corrupt(name, format!("at {}: {why}", frame.offset)))?;
        let mut wanted = wanted.iter().peekable();
        for (number, page) in pages.iter() {
            if wanted.next_if_eq(&&number).is_none() {
                continue;
            }
            if page_hash(number, page) != map.hashes[number as usize - 1] {
                return Err(Error::corrupt(name, format!("page {number} is not the one that was committed")));
            }
            let at = match &target.layout {
                Layout::Database => u64::from(number - 1) * u64::from(map.page_size),
                Layout::Spool(places) => places[&number],
            };
            target.file.write_all_at(page, at).map_err(|error| Error::io(path, "written", error))?;
        }
        if let Some(missing) = wanted.next() {
            return Err(Error::corrupt(name, format!("page {missing} is not in its frame")));
        }
    }
    Ok(())
}
