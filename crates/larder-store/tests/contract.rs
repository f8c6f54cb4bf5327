//! Every store, and every wrapper around one, keeps the promises of a store.

use std::path::Path;

use larder_core::Ambient;
use larder_store::{LocalStore, MemoryStore, MeteredStore};
use larder_testkit::{faulty_store::FaultyStore, store_contract, store_contract::Fixture};

fn local() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path(), Ambient::system()).unwrap();
    let temporary = folder.path().join(".larder/local/tmp");
    Fixture::new(store).counting(move || count(&temporary)).keeping(folder)
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn metered_local() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path(), Ambient::system()).unwrap();
    Fixture::new(MeteredStore::new("test", store)).keeping(folder)
}

store_contract!(memory, Fixture::new(MemoryStore::new()));
store_contract!(local_disk, local());
store_contract!(metered, metered_local());
store_contract!(faulty_without_faults, Fixture::new(FaultyStore::new(MemoryStore::new()).0));
