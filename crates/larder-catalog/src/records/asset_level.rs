//! One level of keys: the assets directly under a prefix, and the common prefixes of those further
//! below, as S3's `ListObjectsV2` has them with a delimiter.
//!
//! What lies below a common prefix is not read: behind the first key of one the list goes on at the
//! first key that does not begin with it.

use super::{
    asset::AssetRecord,
    asset_lists::{AssetFilter, cursor, cursor_behind, list},
};
use crate::{
    catalog::Catalog,
    error::{Error, Result},
    page::bounded,
    tx::Class,
};

/// Rows of the first read. A page without common prefixes takes a few reads that grow; one that begins
/// with a common prefix has read no more than this in vain.
const FIRST_ROWS: u32 = 64;

/// Rows to read behind a common prefix: what comes next is often another one.
const NEXT_ROWS: u32 = 2;

/// A page of one level. Assets and common prefixes together are in bytewise order and no more than the
/// limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level<T> {
    /// The assets directly at this level, in the order of their keys.
    pub items: Vec<T>,
    /// The common prefixes, each ending with the delimiter, in order. Over all pages each comes once.
    pub prefixes: Vec<String>,
    /// Where the next page begins, as the filter's `after`; `None` on the last page.
    pub next: Option<String>,
}

impl Catalog {
    /// A page of one level of a bucket's keys.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a bucket, and for a cursor that is not ours.
    pub async fn assets_of_level(&self, filter: &AssetFilter, delimiter: char) -> Result<Level<AssetRecord>> {
        if filter.bucket.is_none() {
            return Err(Error::invalid("keys have levels within a bucket", "name the bucket"));
        }
        let mut walk = Walk::new(filter, delimiter);
        let mut from = filter.clone();
        while let Some(rows) = walk.wanted() {
            let read = self.rows(Class::Durable, list(&from, rows)?).await?;
            if let Some(after) = walk.take(read, rows) {
                from.after = Some(after);
            }
        }
        Ok(walk.level)
    }
}

/// What a walk needs to know of what it lists.
trait Listed {
    fn key(&self) -> &str;
    /// The cursor of the page that ends with it.
    fn cursor(&self) -> String;
    /// The cursor of the page that ends with the common prefix `prefix`, of which it is the first.
    fn cursor_behind(&self, prefix: &str) -> String;
}

impl Listed for AssetRecord {
    fn key(&self) -> &str {
        self.key.as_str()
    }

    fn cursor(&self) -> String {
        cursor(self)
    }

    fn cursor_behind(&self, prefix: &str) -> String {
        cursor_behind(&self.bucket, prefix)
    }
}

/// The way from one end of a page to the other.
struct Walk<T> {
    prefix: String,
    delimiter: char,
    limit: usize,
    level: Level<T>,
    /// The cursor behind what was listed last.
    last: Option<String>,
    /// Rows of the next read; 0 at the end.
    rows: u32,
}

impl<T: Listed> Walk<T> {
    fn new(filter: &AssetFilter, delimiter: char) -> Self {
        Self {
            prefix: filter.prefix.clone().unwrap_or_default(),
            delimiter,
            limit: bounded(filter.limit) as usize,
            level: Level { items: Vec::new(), prefixes: Vec::new(), next: None },
            last: None,
            rows: FIRST_ROWS,
        }
    }

    fn listed(&self) -> usize {
        self.level.items.len() + self.level.prefixes.len()
    }

    /// Rows to read next; `None` at the end. One more than the page has room for tells whether there is
    /// a next page.
    fn wanted(&self) -> Option<u32> {
        let room = u32::try_from(self.limit - self.listed()).unwrap_or(u32::MAX);
        (self.rows > 0).then(|| self.rows.min(room.saturating_add(1)))
    }

    /// Takes what was read of the `rows` that were wanted. Answers behind which cursor the next read
    /// begins: its first row is then neither listed nor below a listed prefix, so that no read is in
    /// vain.
    fn take(&mut self, read: Vec<T>, rows: u32) -> Option<String> {
        let more = read.len() >= rows as usize;
        let mut inside = false;
        for item in read {
            let common = self.common_prefix(item.key()).map(str::to_owned);
            inside = common.is_some();
            if inside && self.level.prefixes.last() == common.as_ref() {
                continue;
            }
            if self.listed() == self.limit {
                self.level.next = self.last.take();
                self.rows = 0;
                return None;
            }
            match common {
                Some(prefix) => {
                    self.last = Some(item.cursor_behind(&prefix));
                    self.level.prefixes.push(prefix);
                }
                None => {
                    self.last = Some(item.cursor());
                    self.level.items.push(item);
                }
            }
        }
        self.rows = match (more, inside) {
            (false, _) => 0,
            (true, true) => NEXT_ROWS,
            (true, false) => self.rows.saturating_mul(2),
        };
        self.last.clone()
    }

    /// The key up to its first delimiter behind the prefix, if there is one.
    fn common_prefix<'a>(&self, key: &'a str) -> Option<&'a str> {
        let below = key.get(self.prefix.len()..)?;
        let (upto, _) = below.split_once(self.delimiter)?;
        key.get(..self.prefix.len() + upto.len() + self.delimiter.len_utf8())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        db::prefix_end,
        plans::{plan, sqlite},
    };

    /// An asset of which only the key counts. Its cursor is the least key that comes behind it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Key(String);

    impl Listed for Key {
        fn key(&self) -> &str {
            &self.0
        }

        fn cursor(&self) -> String {
            format!("{}\0", self.0)
        }

        fn cursor_behind(&self, prefix: &str) -> String {
            prefix_end(prefix).unwrap()
        }
    }

    /// What a page took to read.
    #[derive(Debug, Default)]
    struct Cost {
        reads: usize,
        rows: usize,
    }

    fn page(keys: &BTreeSet<String>, filter: &AssetFilter) -> (Level<Key>, Cost) {
        let mut walk = Walk::new(filter, '/');
        let mut cost = Cost::default();
        let prefix = filter.prefix.clone().unwrap_or_default();
        let mut from = filter.after.clone().unwrap_or_default().max(prefix.clone());
        while let Some(rows) = walk.wanted() {
            let behind = keys.range(from.clone()..).take_while(|key| key.starts_with(&prefix));
            let read: Vec<Key> = behind.take(rows as usize).cloned().map(Key).collect();
            cost.reads += 1;
            cost.rows += read.len();
            if let Some(after) = walk.take(read, rows) {
                from = after;
            }
        }
        (walk.level, cost)
    }

    /// All of a level, made by looking at every key: whether it is a common prefix, by name.
    fn folded(keys: &BTreeSet<String>, prefix: &str) -> BTreeMap<String, bool> {
        let below = keys.iter().filter_map(|key| Some((key, key.strip_prefix(prefix)?)));
        below
            .map(|(key, rest)| match rest.find('/') {
                Some(at) => (key[..=prefix.len() + at].to_owned(), true),
                None => (key.clone(), false),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn pages_of_a_level_are_what_looking_at_every_key_gives(
            keys in prop::collection::btree_set("[a/0\u{FFFD}]{1,5}", 0..60),
            prefix in "[a/]{0,2}",
            limit in 1_u32..8,
        ) {
            let mut filter = AssetFilter { prefix: Some(prefix.clone()), limit, ..AssetFilter::default() };
            let mut seen = Vec::new();
            loop {
                let (level, cost) = page(&keys, &filter);
                let listed = level.items.len() + level.prefixes.len();
                prop_assert!(listed <= limit as usize);
                prop_assert!(cost.reads <= listed + 1);
                let items = level.items.into_iter().map(|item| (item.0, false));
                let mut all: Vec<_> = items.chain(level.prefixes.into_iter().map(|name| (name, true))).collect();
                all.sort_unstable();
                seen.extend(all);
                let Some(next) = level.next else { break };
                prop_assert!(listed == limit as usize, "only a full page has a next one");
                filter.after = Some(next);
            }
            prop_assert_eq!(seen, folded(&keys, &prefix).into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_lies_below_a_common_prefix_is_passed_over_unread() {
        let mut keys: BTreeSet<String> = (0..100_000).map(|number| format!("a/{number}")).collect();
        keys.extend((0..500).map(|number| format!("b{number}/x")));
        keys.extend((0..300).map(|number| format!("c{number}")));
        let filter = AssetFilter { limit: 1_000, ..AssetFilter::default() };
        let (level, cost) = page(&keys, &filter);
        assert_eq!((level.items.len(), level.prefixes.len(), level.next), (300, 501, None));
        assert!(cost.reads <= 520 && cost.rows <= 2_000, "{cost:?}");
        let first = AssetFilter { limit: 1, ..filter };
        let (level, cost) = page(&keys, &first);
        assert_eq!(level.prefixes, ["a/"]);
        assert!(level.next.is_some() && cost.reads <= 2 && cost.rows <= 3, "{cost:?}");
    }

    #[tokio::test]
    async fn a_read_behind_a_common_prefix_begins_there() {
        let (_directory, catalog) = sqlite().await;
        let bucket: larder_core::BucketName = "media".parse().unwrap();
        let after = Some(cursor_behind(&bucket, "a/b/"));
        let filter =
            AssetFilter { bucket: Some(bucket), prefix: Some("a/".into()), after, ..AssetFilter::default() };
        let statement = list(&filter, 2).unwrap();
        // One lower bound: of two, SQLite might begin at the lower one.
        assert_eq!(statement.text.matches("key >").count(), 1, "{}", statement.text);
        let plan = plan(&catalog, statement).await;
        assert!(plan.contains("assets_by_key (bucket=? AND key>? AND key<?)"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
