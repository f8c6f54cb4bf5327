//! Figures of the databases that are looked after, at `/metrics`.
//!
//! They are printed from the catalogue when they are asked for, and not counted where the jobs run: every process shows
//! them, after a restart too, and a database that is gone is not shown for ever.

use std::fmt::Write as _;

use larder_assets::{
    DatabaseView, Larder,
    databases::{VerifyStatus, VerifyView},
};
use larder_core::Timestamp;

/// Databases with figures of their own, at most. Damaged ones come first, so that none is left out for whole ones.
const LABELS_MAX: usize = 200;

/// The figures in the text format of Prometheus; nothing where there are no databases, or the catalogue does not answer.
pub(crate) async fn render(larder: &Larder) -> String {
    match larder.databases().await {
        Ok(page) => text(page.items),
        Err(fault) => {
            tracing::debug!(%fault, "the figures of databases are not known");
            String::new()
        }
    }
}

/// A figure of one database; none where it is not known.
type Figure = fn(&DatabaseView) -> Option<f64>;

const FIGURES: &[(&str, &str, Figure)] = &[
    ("present", "1 if the database was there at the last look, else 0", |view| {
        Some(f64::from(view.is_there))
    }),
    ("damaged", "1 if the last verification found damage, else 0", |view| {
        view.verify.as_ref().map(|verify| f64::from(is_damaged(Some(verify))))
    }),
    ("backup_timestamp_seconds", "When its newest version was last known to be backed up", |view| {
        view.backed_up_at.map(seconds)
    }),
    ("verify_timestamp_seconds", "When it was last verified and found whole", |view| {
        view.whole_at.map(seconds)
    }),
    ("size_bytes", "Bytes of its newest version", |view| view.size_bytes.map(|bytes| bytes as f64)),
];

fn text(mut views: Vec<DatabaseView>) -> String {
    if views.is_empty() {
        return String::new();
    }
    let damaged = views.iter().filter(|view| is_damaged(view.verify.as_ref())).count();
    let mut text = String::new();
    for (name, doc, value) in [
        ("larder_databases", "Databases in the store that are looked after", views.len()),
        ("larder_databases_damaged", "Those in which the last verification found damage", damaged),
    ] {
        let _ = writeln!(text, "# HELP {name} {doc}\n# TYPE {name} gauge\n{name} {value}\n");
    }
    views.sort_by_key(|view| !is_damaged(view.verify.as_ref()));
    views.truncate(LABELS_MAX);
    for (name, doc, figure) in FIGURES {
        let _ = writeln!(text, "# HELP larder_database_{name} {doc}\n# TYPE larder_database_{name} gauge");
        for view in &views {
            if let Some(value) = figure(view) {
                let database = escaped(&view.prefix);
                let _ = writeln!(text, "larder_database_{name}{{database=\"{database}\"}} {value}");
            }
        }
        text.push('\n');
    }
    text
}

fn is_damaged(verify: Option<&VerifyView>) -> bool {
    verify.is_some_and(|verify| verify.status == VerifyStatus::Damaged)
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millis() as f64 / 1_000.0
}

/// As the text format wants label values.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(prefix: &str, status: VerifyStatus) -> DatabaseView {
        serde_json::from_value(serde_json::json!({
            "prefix": prefix, "url": "", "is_there": true, "backed_up_at": "2026-03-01T12:00:00.250Z",
            "verify": {
                "at": "2026-03-01T12:00:00.000Z", "status": status, "seq": 1, "objects": 1, "bytes": 1,
                "problems": [], "problem_count": 0,
            },
        }))
        .unwrap()
    }

    #[test]
    fn the_figures_of_damaged_databases_are_never_left_out() {
        let mut views: Vec<_> =
            (0..300).map(|number| view(&format!("org-data/{number}"), VerifyStatus::Whole)).collect();
        views.push(view("z\"\\\nz", VerifyStatus::Damaged));
        let text = text(views);
        assert!(
            text.contains("larder_databases 301\n") && text.contains("larder_databases_damaged 1\n"),
            "{text}"
        );
        assert!(text.contains(r#"larder_database_damaged{database="z\"\\\nz"} 1"#), "{text}");
        assert!(
            text.contains(
                "larder_database_backup_timestamp_seconds{database=\"org-data/0\"} 1772366400.25\n"
            )
        );
        assert_eq!(
            text.lines().filter(|line| line.starts_with("larder_database_present{")).count(),
            LABELS_MAX
        );
        assert!(!text.contains("verify_timestamp_seconds{"), "none was whole");
        assert_eq!(super::text(Vec::new()), "");
    }
}
