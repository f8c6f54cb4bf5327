//! Listing is exact, in order, and in pages.

use larder_store::{ListOptions, Store};

use super::Fixture;

/// Names around the slash, which sorts after `-` and `.` and before digits and letters.
const NAMES: [&str; 14] =
    ["B", "a", "a-b", "a.b/c", "a.b/d/e", "a0", "ab", "b-/x", "b./x", "b/x/y", "b/x0", "b0", "é", "日本/x"];

/// Puts [`NAMES`] as far as they can lie together, and says which.
async fn fill(fixture: &Fixture) -> Vec<&'static str> {
    for name in NAMES {
        fixture.put(name, name).await;
    }
    let mut names = NAMES.to_vec();
    names.sort_unstable();
    names
}

/// Of the whole place, not folder by folder.
pub async fn places_come_in_bytewise_order(fixture: Fixture) {
    let names = fill(&fixture).await;
    assert_eq!(fixture.listed(ListOptions::default()).await, names);
}

/// Whatever their size, with a delimiter and without.
pub async fn pages_cover_everything_exactly_once(fixture: Fixture) {
    let names = fill(&fixture).await;
    let folded = ["B", "a", "a-b", "a.b/", "a0", "ab", "b-/", "b./", "b/", "b0", "é", "日本/"];
    for limit in 1..=NAMES.len() + 1 {
        for (delimiter, expected) in [(false, names.as_slice()), (true, folded.as_slice())] {
            let mut options = ListOptions { delimiter, limit, ..ListOptions::default() };
            let mut seen = Vec::new();
            loop {
                let page = fixture.store.list(options.clone()).await.unwrap();
                let mut items: Vec<_> = page.entries.iter().map(|entry| entry.place.to_string()).collect();
                items.extend(page.prefixes);
                items.sort_unstable();
                assert!(items.len() <= limit);
                assert!(page.next.is_none() || items.len() == limit, "a page with a next one is full");
                seen.extend(items);
                match page.next {
                    Some(next) => options.after = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, expected, "limit {limit}, delimiter {delimiter}");
        }
    }
}

/// Below the prefix, once for each folder.
pub async fn a_delimiter_folds(fixture: Fixture) {
    fill(&fixture).await;
    let list = |prefix: &str| {
        let options = ListOptions { delimiter: true, ..ListOptions::under(prefix) };
        let store = fixture.store.clone();
        async move {
            let page = store.list(options).await.unwrap();
            let places: Vec<_> = page.entries.iter().map(|entry| entry.place.to_string()).collect();
            (places, page.prefixes)
        }
    };
    assert_eq!(list("b/").await, (vec!["b/x0".to_owned()], vec!["b/x/".to_owned()]));
    assert_eq!(list("b/x").await, (vec!["b/x0".to_owned()], vec!["b/x/".to_owned()]));
    assert_eq!(list("b/x/").await, (vec!["b/x/y".to_owned()], vec![]));
    assert_eq!(list("a.").await, (vec![], vec!["a.b/".to_owned()]));
}

/// So that `b/x` begins `b/x0` as well, and a neighbour's name is not left out.
pub async fn a_prefix_is_text_and_no_folder(fixture: Fixture) {
    fill(&fixture).await;
    assert_eq!(fixture.listed(ListOptions::under("b")).await, ["b-/x", "b./x", "b/x/y", "b/x0", "b0"]);
    assert_eq!(fixture.listed(ListOptions::under("b/x")).await, ["b/x/y", "b/x0"]);
    assert_eq!(fixture.listed(ListOptions::under("b/x/y")).await, ["b/x/y"]);
    assert_eq!(fixture.listed(ListOptions::under("日")).await, ["日本/x"]);
    assert!(fixture.listed(ListOptions::under("b/x/y/")).await.is_empty());
    assert!(fixture.listed(ListOptions::under("nothing/here")).await.is_empty());
}

/// Staging and trash are nobody's business.
pub async fn larders_own_places_are_left_out_unless_asked_for(fixture: Fixture) {
    for text in [".larder/staging/u", ".larder/trash/t", ".larders", ".l", "a"] {
        fixture.put(text, "x").await;
    }
    assert_eq!(fixture.listed(ListOptions::default()).await, [".l", ".larders", "a"]);
    assert_eq!(fixture.listed(ListOptions::under(".l")).await, [".l", ".larders"]);
    let own = [".larder/staging/u", ".larder/trash/t"];
    assert_eq!(fixture.listed(ListOptions::under(".larder/")).await, own);
    assert_eq!(fixture.listed(ListOptions::under(".larder/t")).await, own[1..]);
    let folded = ListOptions { delimiter: true, ..ListOptions::default() };
    assert!(fixture.store.list(folded).await.unwrap().prefixes.is_empty());
}

/// Which need be neither a place nor there.
pub async fn it_begins_after_any_text(fixture: Fixture) {
    let names = fill(&fixture).await;
    let texts = [
        "", "a", "a.", "a.b", "a.b/", "a.b/c", "a.b/c/", "a.b/d/", "b", "b/", "b/x", "b/x/", "b/x/z", "zz",
        "🦀",
    ];
    for after in texts {
        let options = ListOptions { after: Some(after.to_owned()), ..ListOptions::default() };
        let expected: Vec<_> = names.iter().filter(|name| **name > after).copied().collect();
        assert_eq!(fixture.listed(options).await, expected, "after {after:?}");
    }
    let delimited = |after: &str| ListOptions {
        delimiter: true,
        after: Some(after.to_owned()),
        ..ListOptions::under("b")
    };
    let prefixes = fixture.store.list(delimited("b/")).await.unwrap().prefixes;
    assert!(prefixes.is_empty(), "the folded prefix itself skips all below it: {prefixes:?}");
    let prefixes = fixture.store.list(delimited("b/x/")).await.unwrap().prefixes;
    assert_eq!(prefixes, ["b/"], "something below comes after");
}

/// And in no case something outside the store.
pub async fn impossible_prefixes_match_nothing(fixture: Fixture) {
    fill(&fixture).await;
    for prefix in ["/", "../", "..", "b/../", "b/./", "b//", "./", "//", "b/\0", "\0", "b/x/../../.."] {
        assert!(fixture.listed(ListOptions::under(prefix)).await.is_empty(), "{prefix:?}");
    }
}
