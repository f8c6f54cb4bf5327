//! `larder reindex`: a lost catalogue is rebuilt from the store.

use std::sync::Arc;

use larder_assets::ReindexOptions;
use larder_core::text::display_bytes;
use serde_json::to_value;

use super::{Context, adopt};
use crate::{
    backend::Backend,
    cli::Reindex,
    failure::{Exit, Failure},
    output::Following,
};

/// Rebuilds, or says what would be rebuilt.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Reindex) -> Result<Exit, Failure> {
    let options =
        ReindexOptions { merge: arguments.merge, verify: arguments.verify, dry_run: arguments.dry_run };
    let following = Following::new(context.output.progress(0, "files"));
    let report = larder.reindex(options, Arc::new(following.clone())).await;
    following.finish();
    let report = report?;
    context.output.answer(&to_value(&report).unwrap_or_default(), |output| {
        for bad in &report.unreadable {
            output.line(format!("left out {}: {}", bad.place, bad.why))?;
        }
        for found in &report.findings {
            output.line(format!("{}/{}: {}", found.bucket, found.key, found.detail))?;
        }
        let heads = match report.dry_run {
            true => ["from records would come", "count", "bytes"],
            false => ["from records", "count", "bytes"],
        };
        let mut table = output.table(heads).numbers([1, 2]);
        let rows = [
            ("buckets", report.buckets, None),
            ("presets", report.presets, None),
            ("assets", report.assets, Some(report.asset_bytes)),
            ("assets in the trash", report.deleted, None),
            ("variants", report.variants, None),
            ("variants to be made again", report.variants_dropped, None),
            ("there already", report.present, None),
            ("not as recorded", report.differences, None),
        ];
        for (what, count, bytes) in rows {
            table.row([
                what.to_owned(),
                count.to_string(),
                bytes.map_or_else(|| "-".to_owned(), display_bytes),
            ]);
        }
        output.print_table(&table, "")?;
        output.line("")?;
        output.line("without a record, by their paths:")?;
        adopt::print(output, &report.by_path)
    })?;
    let is_whole = report.unreadable.is_empty() && report.differences == 0 && report.by_path.refused == 0;
    Ok(if is_whole { Exit::Done } else { Exit::Partly })
}
