//! `larder gc`: collects what is no longer needed.

use larder_assets::{SweepOptions, sweep::SweepTarget};
use larder_core::text::display_bytes;
use serde_json::to_value;

use super::Context;
use crate::{
    backend::Backend,
    cli::{Gc, GcWhat},
    failure::{Exit, Failure},
};

/// Collects, or counts what would be collected.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Gc) -> Result<Exit, Failure> {
    let targets = match arguments.what {
        GcWhat::All => Vec::new(),
        GcWhat::Uploads => vec![SweepTarget::Uploads],
        GcWhat::Trash => vec![SweepTarget::Trash],
        GcWhat::Retention => vec![SweepTarget::Retention],
    };
    let report = larder.sweep(&SweepOptions { targets, dry_run: arguments.dry_run }).await?;
    context.output.answer(&to_value(report).unwrap_or_default(), |output| {
        let heads = if report.dry_run {
            ["would be collected", "count", "bytes"]
        } else {
            ["collected", "count", "bytes"]
        };
        let mut table = output.table(heads).numbers([1, 2]);
        let rows = [
            ("expired uploads", report.uploads, None),
            ("leftovers of uploads", report.leftovers, None),
            ("assets by retention rule", report.assets, Some(report.asset_bytes)),
            ("deleted assets whose time is over", report.purged, Some(report.purged_bytes)),
            ("variants", report.variants, Some(report.variant_bytes)),
            ("ended jobs and uploads", report.history, None),
        ];
        for (what, count, bytes) in rows {
            table.row([
                what.to_owned(),
                count.to_string(),
                bytes.map_or_else(|| "-".to_owned(), display_bytes),
            ]);
        }
        output.print_table(&table, "")
    })?;
    Ok(Exit::Done)
}
