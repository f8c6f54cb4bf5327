//! Every example of the pages on databases works as written, in its order.

use std::path::Path;

use larder_testkit::server::{command, printed};

/// Runs the examples of a page in a folder, one after the other.
fn run_examples(page: &str, folder: &Path) -> usize {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
    let page = std::fs::read_to_string(page).unwrap();
    let examples: Vec<&str> =
        page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    let binary = Path::new(env!("CARGO_BIN_EXE_larder")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(binary.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    for example in &examples {
        let output = command(Path::new("sh"))
            .args(["-e", "-c", example])
            .current_dir(folder)
            .env("PATH", path.as_ref().unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{example}: {}", printed(&output));
    }
    examples.len()
}

fn count(database: &Path, what: &str) -> u32 {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn i11_every_example_of_the_page_on_databases_works() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run_examples("docs/database.md", folder.path()) >= 8);
    let rows = |name: &str| count(&folder.path().join(name), "contact");
    assert_eq!([rows("first.db"), rows("restored.db"), rows("app.db"), rows("mine.db")], [1, 4, 4, 4]);
    let copies = std::fs::read_dir(folder.path().join("elsewhere")).unwrap().flatten();
    let copies = copies.filter(|entry| entry.file_name().to_string_lossy().starts_with("backup-"));
    assert_eq!(copies.count(), 1);
}

#[test]
fn g1_the_example_of_a_scheduler_sends_each_mail_once_whatever_becomes_of_its_machine() {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/scheduler/scheduler.py");
    std::fs::copy(program, folder.path().join("scheduler.py")).unwrap();
    assert_eq!(run_examples("examples/scheduler/README.md", folder.path()), 1);
    let database = folder.path().join("scheduler.db");
    assert_eq!(count(&database, "outbox"), 2);
    assert_eq!(count(&database, "scheduled WHERE sent_at IS NOT NULL"), 2);
}
