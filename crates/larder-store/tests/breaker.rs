//! When a circuit opens, what it answers, and how it closes; on a clock that stands still.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use larder_core::{Ambient, ManualClock, Timestamp};
use larder_store::{
    BoxError, BreakerLimits, BreakerStore, CircuitOpen, CircuitState, Error, MemoryStore, OpenOptions,
    Opened, Place, PutOptions, Result, Stat, Store, StoreExt, stream_of,
};
use larder_testkit::faulty_store::{Failure, Faults, FaultyStore, Operation, Rule};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::{Instant, advance, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

type Breaker = BreakerStore<FaultyStore<MemoryStore>>;

fn breaker() -> (Breaker, Faults) {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    let clock = ManualClock::at(Timestamp::from_millis(1_772_366_400_000));
    let ambient = Ambient::repeatable(clock, 7);
    (BreakerStore::new("main", store, BreakerLimits::default(), ambient), faults)
}

fn place() -> Place {
    "a/b".parse().unwrap()
}

fn state(store: &Breaker) -> CircuitState {
    store.circuit().health().state
}

/// Fails as often as it takes.
async fn opened(store: &Breaker, faults: &Faults) {
    faults.cut();
    for _ in 0..5 {
        assert_eq!(state(store), CircuitState::Closed);
        store.stat(&place()).await.unwrap_err();
    }
    assert_eq!(state(store), CircuitState::Open);
}

fn refused_for<T: std::fmt::Debug>(result: Result<T>) -> Duration {
    match result {
        Err(error @ Error::Unavailable { .. }) => {
            assert!(CircuitOpen::is_cause_of(&error), "{error:?}");
            let Error::Unavailable { retry_after, .. } = error else { unreachable!() };
            retry_after.expect("an open circuit knows when it asks again")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_open_it_and_then_nothing_is_asked() {
    let (store, faults) = breaker();
    opened(&store, &faults).await;
    let asked = faults.log().len();
    let began = Instant::now();
    assert!(refused_for(store.stat(&place()).await) <= SECOND);
    refused_for(store.put_bytes(&place(), "x", PutOptions::default()).await);
    refused_for(store.open(&place(), OpenOptions::default()).await);
    refused_for(store.settle(&place()).await);
    refused_for(store.list(Default::default()).await);
    refused_for(store.remove(&place()).await);
    refused_for(store.copy(&place(), &place(), Default::default()).await);
    refused_for(store.rename(&place(), &place(), Default::default()).await);
    assert_eq!((faults.log().len(), began.elapsed()), (asked, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn no_byte_of_a_body_is_taken_while_it_is_open() {
    let (store, faults) = breaker();
    opened(&store, &faults).await;
    let body = stream::once(async { panic!("the body was read") }).boxed();
    refused_for::<Stat>(store.put(&place(), body, PutOptions::default()).await);
}

#[tokio::test(start_paused = true)]
async fn what_answers_is_no_failure_whatever_it_says() {
    let (store, faults) = breaker();
    for failure in [Failure::Denied, Failure::Full, Failure::Defect] {
        faults.add(Rule::on_all().times(30).fails(failure));
        for _ in 0..30 {
            store.stat(&place()).await.unwrap_err();
        }
        assert_eq!(state(&store), CircuitState::Closed, "{failure:?}");
    }
    for _ in 0..30 {
        assert!(matches!(store.stat(&place()).await, Err(Error::NotFound { .. })));
        let broken = stream::iter([Err(BoxError::from("the client went away"))]).boxed();
        assert!(matches!(store.put(&place(), broken, PutOptions::default()).await, Err(Error::Body(_))));
    }
    assert_eq!(state(&store), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_answer_between_failures_begins_the_count_anew_but_half_of_twenty_is_too_many() {
    let (store, faults) = breaker();
    for round in 0..10 {
        assert_eq!(state(&store), CircuitState::Closed, "{round}");
        store.stat(&place()).await.unwrap_err();
        faults.add(Rule::on_all().times(1).fails(Failure::Unavailable));
        store.stat(&place()).await.unwrap_err();
    }
    assert_eq!(state(&store), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn one_probe_goes_through_and_its_success_closes_it() {
    let (store, faults) = breaker();
    opened(&store, &faults).await;
    faults.mend();
    faults.add(Rule::on(Operation::Stat).times(1).delayed(Duration::from_millis(100)));
    refused_for(store.stat(&place()).await);
    advance(SECOND).await;
    let asked = faults.log().len();
    let target = place();
    let (probe, second) = tokio::join!(store.stat(&target), store.stat(&target));
    assert!(matches!(probe, Err(Error::NotFound { .. })), "{probe:?}");
    refused_for(second);
    assert_eq!(faults.log().len(), asked + 1);
    assert_eq!(store.circuit().health().outage, None);
    assert_eq!(state(&store), CircuitState::Closed);
    assert!(matches!(store.stat(&place()).await, Err(Error::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn pauses_double_up_to_thirty_seconds_and_begin_anew_after_a_success() {
    let (store, faults) = breaker();
    opened(&store, &faults).await;
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        let wait = refused_for(store.stat(&place()).await);
        let most = Duration::from_secs(seconds);
        assert!(wait <= most && wait >= most.mul_f64(0.75), "{wait:?} of {most:?}");
        sleep(wait).await;
        let asked = faults.log().len();
        store.stat(&place()).await.unwrap_err();
        assert_eq!(faults.log().len(), asked + 1, "the probe");
    }
    let since = store.circuit().health().outage.unwrap().since;
    assert_eq!(since, Timestamp::from_millis(1_772_366_400_000), "the outage began when it first opened");
    faults.mend();
    sleep(Duration::from_secs(30)).await;
    store.stat(&place()).await.unwrap_err();
    opened(&store, &faults).await;
    assert!(refused_for(store.stat(&place()).await) <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_says_when_it_comes_back_is_left_alone_until_then_within_reason() {
    for (asked_for, waits) in [(20, 20), (86_400, 300)] {
        let (store, faults) = breaker();
        faults.add(Rule::on_all().fails(Failure::Busy(Duration::from_secs(asked_for))));
        for _ in 0..5 {
            store.stat(&place()).await.unwrap_err();
        }
        assert_eq!(refused_for(store.stat(&place()).await), Duration::from_secs(waits));
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_caller_goes_away_makes_room_for_the_next() {
    let (store, faults) = breaker();
    opened(&store, &faults).await;
    faults.mend();
    faults.add(Rule::on(Operation::Stat).times(1).hangs());
    advance(SECOND).await;
    let target = place();
    assert!(timeout(SECOND / 10, store.stat(&target)).await.is_err());
    assert!(matches!(store.stat(&place()).await, Err(Error::NotFound { .. })));
    assert_eq!(state(&store), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_takes_its_time_is_joined_by_another() {
    let (store, faults) = breaker();
    opened(&store, &faults).await;
    faults.mend();
    advance(SECOND).await;
    // The body of the probe comes from a client that has nothing to send.
    let target = place();
    let slow = store.put(&target, stream::pending().boxed(), PutOptions::default());
    let others = async {
        sleep(SECOND).await;
        assert!(refused_for(store.stat(&target).await) <= Duration::from_secs(9));
        sleep(Duration::from_secs(9)).await;
        assert!(matches!(store.stat(&target).await, Err(Error::NotFound { .. })));
        assert_eq!(state(&store), CircuitState::Closed);
    };
    tokio::select! {
        _ = slow => panic!("it has no end"),
        () = others => {}
    }
}

#[tokio::test(start_paused = true)]
async fn what_began_before_a_change_changes_nothing() {
    let (store, faults) = breaker();
    faults.add(Rule::on(Operation::List).delayed(Duration::from_millis(100)));
    let late = async {
        store.list(Default::default()).await.unwrap();
        assert_eq!(state(&store), CircuitState::Open, "an answer from before the circuit opened");
    };
    let early = async {
        sleep(Duration::from_millis(50)).await;
        opened(&store, &faults).await;
    };
    tokio::join!(late, early);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_without_a_body_is_ended_and_counts_as_a_failure() {
    let (store, faults) = breaker();
    let limits = BreakerLimits::default();
    faults.add(Rule::on_all().hangs());
    let (one, other) = (place(), "b".parse::<Place>().unwrap());
    let began = Instant::now();
    let mut expected = Duration::ZERO;
    assert!(matches!(store.stat(&one).await, Err(Error::Unavailable { .. })));
    assert!(matches!(store.settle(&one).await, Err(Error::Unavailable { .. })));
    assert!(matches!(store.remove(&one).await, Err(Error::Unavailable { .. })));
    assert!(store.open(&one, OpenOptions::default()).await.is_err());
    expected += 4 * limits.answer_within;
    assert_eq!(began.elapsed().as_secs(), expected.as_secs());
    assert!(matches!(store.rename(&one, &other, Default::default()).await, Err(Error::Unavailable { .. })));
    expected += limits.move_within;
    assert_eq!(began.elapsed().as_secs(), expected.as_secs());
    assert_eq!(state(&store), CircuitState::Open);
    let outage = store.circuit().health().outage.unwrap();
    assert_eq!(outage.last_error, "no answer within 300 s");
}

#[tokio::test(start_paused = true)]
async fn a_put_that_the_store_does_not_take_is_ended_and_leaves_nothing() {
    for rule in [Rule::on(Operation::Put).hangs(), Rule::on(Operation::Put).hangs_after_bytes(3)] {
        let (store, faults) = breaker();
        faults.add(rule);
        let began = Instant::now();
        let body =
            stream::iter(["12", "34", "56"].map(|part| Ok(Bytes::from_static(part.as_bytes())))).boxed();
        let failed = store.put(&place(), body, PutOptions::default()).await.unwrap_err();
        assert!(matches!(failed, Error::Unavailable { .. }), "{failed:?}");
        assert_eq!(began.elapsed().as_secs(), 60);
        faults.mend();
        assert!(!store.exists(&place()).await.unwrap());
    }
    let (store, faults) = breaker();
    faults.add(Rule::on(Operation::Put).hangs_after_effect());
    let began = Instant::now();
    store.put_bytes(&place(), "12345", PutOptions::default()).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 300, "putting it together may take longer");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_slowly_is_no_failure_of_the_store() {
    let (store, _) = breaker();
    let slowly = stream::iter(["12", "34", "56"]).then(|part| async move {
        sleep(HOUR).await;
        Ok(Bytes::from_static(part.as_bytes()))
    });
    store.put(&place(), slowly.boxed(), PutOptions::default()).await.unwrap();
    assert_eq!(store.read_all(&place(), 10).await.unwrap(), "123456");
    assert_eq!(state(&store), CircuitState::Closed);
}

async fn streamed(store: &Breaker) -> Opened {
    store.open(&place(), OpenOptions::default()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn bodies_that_break_off_stall_or_end_early_count_as_failures() {
    let rule = Rule::on(Operation::Open);
    for rule in [
        rule.clone().fails_after_bytes(2, Failure::Unavailable),
        rule.clone().hangs_after_bytes(2),
        rule.truncates_after_bytes(2),
    ] {
        let (store, faults) = breaker();
        store.put(&place(), stream_of("12345"), PutOptions::default()).await.unwrap();
        faults.add(rule.clone());
        for _ in 0..5 {
            assert_eq!(state(&store), CircuitState::Closed);
            let mut body = streamed(&store).await.body.into_stream();
            assert_eq!(body.try_next().await.unwrap().unwrap(), "12", "{rule:?}");
            let broken = body.try_next().await.unwrap_err();
            assert!(broken.is::<Error>(), "{broken:?}");
            assert!(body.next().await.is_none());
        }
        assert_eq!(state(&store), CircuitState::Open, "{rule:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_its_time_or_goes_away_is_no_failure() {
    let (store, faults) = breaker();
    store.put(&place(), stream_of("12345"), PutOptions::default()).await.unwrap();
    // Bodies as streams, which pass whole.
    faults.add(Rule::on(Operation::Open).truncates_after_bytes(10));
    for _ in 0..30 {
        let mut body = streamed(&store).await.body.into_stream();
        sleep(HOUR).await;
        body.try_next().await.unwrap().unwrap();
        drop(streamed(&store).await);
    }
    assert_eq!(state(&store), CircuitState::Closed);
}

#[test]
fn the_figures_tell_the_circuit_and_what_it_answered() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let (store, faults) = breaker();
            store.stat(&place()).await.unwrap_err();
            assert!(
                handle.render().contains(r#"larder_store_circuit{store="main"} 0"#),
                "{}",
                handle.render()
            );
            faults.add(Rule::on_all().times(1).hangs());
            store.stat(&place()).await.unwrap_err();
            faults.cut();
            for _ in 0..6 {
                store.stat(&place()).await.unwrap_err();
            }
        });
    });
    let text = handle.render();
    for line in [
        r#"larder_store_circuit{store="main"} 2"#,
        r#"larder_store_failures_total{store="main",cause="timeout"} 1"#,
        r#"larder_store_failures_total{store="main",cause="error"} 4"#,
        r#"larder_store_refused_total{store="main"} 2"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
