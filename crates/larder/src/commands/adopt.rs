//! `larder adopt`: files of the store become assets where they lie.

use std::sync::Arc;

use larder_assets::{AdoptOptions, AdoptReport};
use larder_core::text::display_bytes;
use serde_json::to_value;

use super::{Context, place};
use crate::{
    backend::Backend,
    cli::Adopt,
    failure::{Exit, Failure},
    output::{Following, Output},
};

/// Adopts, or says what would be adopted.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Adopt) -> Result<Exit, Failure> {
    let options = AdoptOptions {
        bucket: place::bucket(&arguments.bucket)?,
        prefix: arguments.prefix.clone(),
        strip: arguments.strip.clone(),
        original: arguments.original.clone(),
        variants: arguments.variants.clone(),
        verify: arguments.verify,
        ignore_extensions: arguments.ignore_extensions,
        dry_run: arguments.dry_run,
    };
    let following = Following::new(context.output.progress(0, "files"));
    let report = larder.adopt(&options, Arc::new(following.clone())).await;
    following.finish();
    let report = report?;
    context.output.answer(&to_value(&report).unwrap_or_default(), |output| print(output, &report))?;
    Ok(match report.refused {
        0 => Exit::Done,
        _ => Exit::Partly,
    })
}

/// The figures as a table, and each refusal.
pub fn print(output: &Output, report: &AdoptReport) -> Result<(), Failure> {
    for refusal in &report.refusals {
        output.line(format!("refused {}: {}", refusal.place, refusal.error.detail))?;
        if !refusal.error.remedy.is_empty() {
            output.line(format!("  remedy: {}", refusal.error.remedy))?;
        }
    }
    let unnamed = report.refused - report.refusals.len() as u64;
    if unnamed > 0 {
        output.line(format!("refused {unnamed} more"))?;
    }
    let heads = match report.dry_run {
        true => ["would be", "files", "bytes"],
        false => ["became", "files", "bytes"],
    };
    let mut table = output.table(heads).numbers([1, 2]);
    let rows = [
        ("assets", report.adopted, Some(report.adopted_bytes)),
        ("variants", report.variants, Some(report.variant_bytes)),
        ("known already", report.present, None),
        ("left alone, Larder's own", report.own, None),
        ("refused", report.refused, None),
        ("looked at", report.files, Some(report.bytes)),
    ];
    for (what, files, bytes) in rows {
        table.row([what.to_owned(), files.to_string(), bytes.map_or_else(|| "-".to_owned(), display_bytes)]);
    }
    output.print_table(&table, "")
}
