//! Schedules that settings decide.

mod common;

use std::sync::Arc;

use common::Home;
use larder_assets::{DatabaseSettings, Larder, Secrets, Settings};
use larder_worker::{Worker, WorkerOptions};

async fn larder(home: &Home, backup: Option<&str>) -> Larder {
    let mut settings = Settings::new(Secrets::new(*b"0123456789abcdef").unwrap());
    let databases = DatabaseSettings::new(Arc::new(home.store()), Vec::new(), "/nowhere");
    settings.databases = Some(DatabaseSettings { backup: backup.map(str::to_owned), ..databases });
    home.larder_with(settings).await
}

/// Starts a worker, ends it, and answers what is stored of the backups' schedule.
async fn stored(larder: &Larder, replaces: bool) -> Option<(String, bool)> {
    let options = WorkerOptions { replaces_schedules: replaces, ..WorkerOptions::default() };
    Worker::start(larder.clone(), options).await.unwrap().stop(std::time::Duration::from_secs(10)).await;
    let views = larder.schedules().await.unwrap();
    let view = views.into_iter().find(|view| view.name == "backup_databases")?;
    assert_eq!(view.next_at.is_some(), view.enabled);
    Some((view.cron, view.enabled))
}

#[tokio::test]
async fn a_server_decides_when_backups_come_and_a_command_beside_it_does_not() {
    let home = Home::new().await;
    let at = |cron: &str, enabled| Some((cron.to_owned(), enabled));
    assert_eq!(stored(&larder(&home, Some("5 * * * *")).await, true).await, at("5 * * * *", true));
    assert_eq!(stored(&larder(&home, Some("0 * * * *")).await, false).await, at("5 * * * *", true));
    assert_eq!(stored(&larder(&home, Some("7 * * * *")).await, true).await, at("7 * * * *", true));
    let off = larder(&home, None).await;
    assert_eq!(stored(&off, false).await, at("7 * * * *", true));
    assert_eq!(stored(&off, true).await, at("off", false));
    // Off stays off for one that does not know.
    assert_eq!(stored(&larder(&home, Some("0 * * * *")).await, false).await, at("off", false));
    assert_eq!(stored(&larder(&home, Some("0 * * * *")).await, true).await, at("0 * * * *", true));
}
