//! Every example of the page on databases works as written, in its order.

use std::path::Path;

use larder_testkit::server::{command, printed};

#[test]
fn i11_every_example_of_the_page_on_databases_works() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/database.md");
    let page = std::fs::read_to_string(page).unwrap();
    let examples: Vec<&str> =
        page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(examples.len() >= 8, "{examples:?}");
    let folder = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_larder")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(binary.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    for example in examples {
        let output = command(Path::new("sh"))
            .args(["-e", "-c", example])
            .current_dir(folder.path())
            .env("PATH", path.as_ref().unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{example}: {}", printed(&output));
    }
    let rows = |name: &str| {
        let connection = rusqlite::Connection::open(folder.path().join(name)).unwrap();
        connection.query_row("SELECT count(*) FROM contact", [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!([rows("first.db"), rows("restored.db"), rows("app.db"), rows("mine.db")], [1, 4, 4, 4]);
    let copies = std::fs::read_dir(folder.path().join("elsewhere")).unwrap().flatten();
    let copies = copies.filter(|entry| entry.file_name().to_string_lossy().starts_with("backup-"));
    assert_eq!(copies.count(), 1);
}
