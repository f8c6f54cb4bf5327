//! What the metered store counts.

use larder_store::{MemoryStore, MeteredStore, OpenOptions, Place, PutOptions, Store, StoreExt};
use larder_testkit::faulty_store::{Failure, FaultyStore, Operation, Rule};
use metrics_exporter_prometheus::PrometheusBuilder;

/// Runs some operations and gives what was counted, as Prometheus reads it.
fn counted<F: Future<Output = ()>>(work: F) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(work));
    handle.render()
}

fn place() -> Place {
    "a".parse().unwrap()
}

#[test]
fn operations_are_counted_by_outcome_and_bytes_by_direction() {
    let text = counted(async {
        let store = MeteredStore::new("main", MemoryStore::new());
        store.put_bytes(&place(), "12345", PutOptions::default()).await.unwrap();
        let range = OpenOptions::range(0..3);
        store.open(&place(), range).await.unwrap().body.read_all(10).await.unwrap();
        assert!(store.remove(&place()).await.unwrap());
        assert!(store.stat(&place()).await.is_err());
    });
    for line in [
        r#"larder_store_operations_total{store="main",operation="put",outcome="ok"} 1"#,
        r#"larder_store_operations_total{store="main",operation="stat",outcome="not_found"} 1"#,
        r#"larder_store_bytes_total{store="main",direction="in"} 5"#,
        r#"larder_store_bytes_total{store="main",direction="out"} 3"#,
        r#"larder_store_operation_seconds_count{store="main",operation="remove"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_failing_store_and_a_dropped_operation_are_told_apart() {
    let text = counted(async {
        let (store, faults) = FaultyStore::new(MemoryStore::new());
        let store = MeteredStore::new("main", store);
        faults.add(Rule::on(Operation::Put).times(1).fails(Failure::Full));
        faults.add(Rule::on(Operation::Put).delayed(std::time::Duration::from_secs(60)));
        assert!(store.put_bytes(&place(), "x", PutOptions::default()).await.is_err());
        let target = place();
        let slow = store.put_bytes(&target, "x", PutOptions::default());
        assert!(tokio::time::timeout(std::time::Duration::from_millis(5), slow).await.is_err());
    });
    for outcome in ["full", "cancelled"] {
        let line =
            format!(r#"larder_store_operations_total{{store="main",operation="put",outcome="{outcome}"}} 1"#);
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}
