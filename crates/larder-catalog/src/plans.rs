//! Lists and sweeps read as much as they answer, however large their tables are: how SQLite runs them.

use larder_core::Ambient;

use crate::{
    catalog::Catalog,
    db::{Row, Statement, Target},
    tx::Class,
};

/// An empty catalogue, and what keeps its folder.
pub(crate) async fn sqlite() -> (tempfile::TempDir, Catalog) {
    let directory = tempfile::tempdir().unwrap();
    let target = Target::Sqlite {
        catalog: directory.path().join("catalog.db"),
        state: directory.path().join("state.db"),
    };
    let catalog = Catalog::open(&target, Ambient::system()).await.unwrap();
    catalog.migrate().await.unwrap();
    (directory, catalog)
}

/// How SQLite runs a statement.
pub(crate) async fn plan(catalog: &Catalog, statement: Statement) -> String {
    let explain = Statement { text: format!("EXPLAIN QUERY PLAN {}", statement.text).into(), ..statement };
    let rows = catalog.db().fetch(Class::Durable, explain).await.unwrap();
    let steps: Vec<String> = rows.iter().map(|row: &Row| row.get("detail").unwrap()).collect();
    steps.join("; ")
}
