//! Lists in pages.

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins, as the filter's `after`; `None` on the last page.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page from one row more than asked for: the surplus row proves that there is a next
    /// page and is dropped.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }
}

/// Most items of one page.
pub(crate) const PAGE_ITEMS_MAX: u32 = 1_000;

/// A limit that a caller gave, within bounds.
pub(crate) fn bounded(limit: u32) -> u32 {
    limit.clamp(1, PAGE_ITEMS_MAX)
}

/// Reads a cursor of the form `<milliseconds>.<id>`, as lists ordered by time have it.
pub(crate) fn time_cursor(text: &str) -> crate::Result<(i64, String)> {
    text.split_once('.').and_then(|(millis, id)| Some((millis.parse().ok()?, id.to_owned()))).ok_or_else(
        || crate::Error::invalid("the cursor is not one of ours", "pass `next` of the previous page"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_without_a_surplus_row_is_the_last() {
        let page = Page::cut(vec![1, 2], 2, ToString::to_string);
        assert_eq!(page.next, None);
        let page = Page::cut(vec![1, 2, 3], 2, ToString::to_string);
        assert_eq!((page.items, page.next), (vec![1, 2], Some("2".to_owned())));
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        assert!(time_cursor("x").is_err());
        assert_eq!(time_cursor("12.ab").unwrap(), (12, "ab".to_owned()));
    }
}
