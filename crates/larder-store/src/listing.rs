//! Listing: what is asked and what comes back.

use larder_core::Timestamp;

use crate::{place::Place, store::Fingerprint};

/// Most entries of one page, the limit of S3 (ListObjectsV2).
pub const LIST_LIMIT_MAX: usize = 1_000;

/// The folder of Larder's own places, left out of listings that do not ask for it.
const OWN_FOLDER: &str = ".larder";

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOptions {
    /// The beginning that places must share, compared bytewise: `a/b` matches `a/bc`. Empty for all
    /// but those below `.larder/`.
    pub prefix: String,
    /// Whether places with a further `/` after the prefix are folded into
    /// [`prefixes`](Listing::prefixes).
    pub delimiter: bool,
    /// Only what comes bytewise after this: [`next`](Listing::next) of the page before, or any
    /// text. With a delimiter, a text that is one of the folded prefixes skips all below it.
    pub after: Option<String>,
    /// Most entries and prefixes together; at least 1, cut to [`LIST_LIMIT_MAX`].
    pub limit: usize,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self { prefix: String::new(), delimiter: false, after: None, limit: LIST_LIMIT_MAX }
    }
}

impl ListOptions {
    /// Everything whose place begins with `prefix`.
    pub fn under(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }

    /// The limit as it is used.
    pub(crate) fn page_limit(&self) -> usize {
        self.limit.clamp(1, LIST_LIMIT_MAX)
    }

    /// The prefix into which a matching place is folded, if it is.
    pub(crate) fn folded<'a>(&self, place: &'a str) -> Option<&'a str> {
        let rest = self.delimiter.then(|| place.get(self.prefix.len()..)).flatten()?;
        rest.find('/').map(|slash| &place[..=self.prefix.len() + slash])
    }

    /// Whether the listing is of Larder's own places.
    pub(crate) fn asks_for_own(&self) -> bool {
        is_own(&self.prefix)
    }
}

/// Whether a place is one of Larder's own.
pub(crate) fn is_own(place: &str) -> bool {
    place.strip_prefix(OWN_FOLDER).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// One place of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where the bytes lie.
    pub place: Place,
    /// How many there are.
    pub size_bytes: u64,
    /// Which ones they are.
    pub fingerprint: Fingerprint,
    /// When they were written.
    pub modified: Timestamp,
}

/// A page of a listing, in bytewise order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Places.
    pub entries: Vec<Entry>,
    /// With a delimiter: what further places share up to and including the next `/`.
    pub prefixes: Vec<String>,
    /// Names between these entries that are no places (control characters, no UTF-8, empty or dot
    /// segments), escaped for people: what lies there can't be read through a store. Told, so that
    /// whoever compares a store with something else can tell, too.
    pub unnameable: Vec<String>,
    /// What to pass as [`after`](ListOptions::after) for the next page; `None` if this is the last.
    pub next: Option<String>,
}
