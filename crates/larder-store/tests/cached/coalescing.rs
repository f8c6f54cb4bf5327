//! Of all who want the same pages at the same time, one asks the store.

use std::time::Duration;

use futures::{StreamExt, future::join_all};
use larder_store::{Error, OpenOptions, Store};
use larder_testkit::faulty_store::{Failure, Operation, Rule};

use crate::{Cached, bytes_of, options, place};

fn slow(cached: &Cached) {
    cached.faults.add(Rule::on(Operation::Open).delayed(Duration::from_millis(20)));
}

#[tokio::test]
async fn fifty_cold_readers_of_a_small_object_are_one_request() {
    let cached = Cached::new(options());
    let stat = cached.put_behind("a", bytes_of(1, 1_000)).await;
    slow(&cached);
    let all = join_all((0..50).map(|_| cached.read("a", &stat))).await;
    assert!(all.iter().all(|bytes| *bytes == bytes_of(1, 1_000)));
    assert_eq!(cached.opens(), 1);
}

#[tokio::test]
async fn fifty_cold_readers_of_a_large_object_are_two_requests_whether_it_is_kept_or_not() {
    for memory_bytes in [1 << 20, 0] {
        let cached = Cached::new(larder_store::CacheOptions { memory_bytes, ..options() });
        let stat = cached.put_behind("a", bytes_of(1, 100_000)).await;
        slow(&cached);
        let all = join_all((0..50).map(|_| cached.read("a", &stat))).await;
        assert!(all.iter().all(|bytes| *bytes == bytes_of(1, 100_000)));
        assert_eq!(cached.opens(), 2, "the first page, and the rest");
    }
}

#[tokio::test]
async fn a_range_asks_for_its_pages_and_those_that_are_there_are_left_out() {
    let cached = Cached::new(options());
    let stat = cached.put_behind("a", bytes_of(1, 10_000)).await;
    let read = async |range: std::ops::Range<u64>| {
        let options = OpenOptions { range: Some(range.clone()), known: Some(stat.clone()) };
        let bytes =
            cached.store.open(&place("a"), options).await.unwrap().body.read_all(u64::MAX).await.unwrap();
        assert_eq!(bytes, bytes_of(1, 10_000).slice(range.start as usize..range.end as usize));
    };
    read(4_000..5_000).await;
    assert_eq!(cached.opens(), 2, "pages 3 and 4");
    cached.faults.cut();
    read(3_072..5_120).await;
    cached.faults.mend();
    read(0..10_000).await;
    assert_eq!(cached.opens(), 5, "page 0, pages 1 and 2, pages 5 to 9");
}

#[tokio::test]
async fn the_others_get_their_bytes_when_the_first_reader_goes_away() {
    let cached = Cached::new(options());
    let stat = cached.put_behind("a", bytes_of(1, 5_000)).await;
    slow(&cached);
    let mut first = Box::pin(cached.read("a", &stat));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(cached.read("a", &stat));
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    assert_eq!(second.await, bytes_of(1, 5_000));
    assert_eq!(cached.opens(), 2);
}

#[tokio::test]
async fn a_failure_is_one_request_and_everybody_hears_of_it() {
    let cached = Cached::new(options());
    let stat = cached.put_behind("a", bytes_of(1, 1_000)).await;
    cached.faults.add(
        Rule::on(Operation::Open).times(1).delayed(Duration::from_millis(20)).fails(Failure::Unavailable),
    );
    let all = join_all((0..20).map(|_| cached.open("a", &stat))).await;
    assert!(all.iter().all(|opened| matches!(opened, Err(Error::Unavailable { .. }))), "{all:?}");
    assert_eq!(cached.opens(), 1);
    assert_eq!(cached.read("a", &stat).await, bytes_of(1, 1_000), "the next one asks anew");
}

#[tokio::test]
async fn a_body_that_breaks_off_at_the_store_breaks_off_here_and_nothing_half_is_kept() {
    let cached = Cached::new(options());
    let stat = cached.put_behind("a", bytes_of(1, 5_000)).await;
    cached
        .faults
        .add(Rule::on(Operation::Open).skip(1).times(1).fails_after_bytes(1_500, Failure::Unavailable));
    let error = cached.open("a", &stat).await.unwrap().body.read_all(u64::MAX).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(cached.read("a", &stat).await, bytes_of(1, 5_000));
}

#[tokio::test]
async fn an_open_that_nobody_reads_costs_one_page() {
    let remote = crate::remote::Remote::of_size(1 << 30);
    let (cached, log) = remote.cached(options());
    let opened = cached.open(&place("a"), remote.options(None)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(opened);
    assert_eq!(log.ranges(), [(0, 1_024)]);
}

#[tokio::test]
async fn a_reader_that_stops_reading_stops_the_store_a_few_pages_later() {
    let remote = crate::remote::Remote::of_size(1 << 30);
    let (cached, log) = remote.cached(options());
    let mut body = cached.open(&place("a"), remote.options(None)).await.unwrap().body.into_stream();
    for _ in 0..10 {
        body.next().await.unwrap().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(log.bytes_given() <= 13 * 1_024, "{}", log.bytes_given());
    drop(body);
}
