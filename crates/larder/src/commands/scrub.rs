//! `larder scrub`: catalogue and store, compared.

use std::sync::Arc;

use larder_assets::ScrubOptions;
use larder_core::text::display_bytes;
use serde_json::to_value;

use super::{Context, place};
use crate::{
    backend::Backend,
    cli::Scrub,
    failure::{Exit, Failure},
    output::Following,
};

/// Compares, and mends what it may.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Scrub) -> Result<Exit, Failure> {
    let options = ScrubOptions {
        bucket: arguments.bucket.as_deref().map(place::bucket).transpose()?,
        sample: if arguments.full { 1.0 } else { arguments.sample.unwrap_or(0.0) },
        rate: arguments.rate,
        repair: arguments.repair,
        adopt: arguments.adopt,
        restart: arguments.restart,
    };
    let following = Following::new(context.output.progress(0, "records and files"));
    let report = larder.scrub(&options, Arc::new(following.clone())).await;
    following.finish();
    let report = report?;
    if report.resumed {
        context.output.note("went on where an earlier scrub was cut off; --restart begins anew");
    }
    let remaining = report.remaining(arguments.allow_orphans);
    context.output.answer(&to_value(&report).unwrap_or_default(), |output| {
        let mut table = output.table(["problem", "place", "found", "done, or to be done"]);
        for finding in &report.findings {
            let problem = to_value(finding.problem).ok();
            let problem =
                problem.as_ref().and_then(|word| word.as_str()).unwrap_or_default().replace('_', " ");
            let action = match finding.repaired {
                true => format!("done: {}", finding.action),
                false => finding.action.clone(),
            };
            table.row([problem, finding.place.clone(), finding.detail.clone(), action]);
        }
        if !table.is_empty() {
            output.print_table(&table, "")?;
        }
        let unnamed = report.problems.saturating_sub(report.findings.len() as u64);
        if unnamed > 0 {
            output.line(format!("and {unnamed} more"))?;
        }
        output.line(format!(
            "{} assets, {} variants and {} files compared, {} hashed ({}): {} problems, {} mended",
            report.assets,
            report.variants,
            report.files,
            report.hashed,
            display_bytes(report.hashed_bytes),
            report.problems,
            report.repaired
        ))
    })?;
    Ok(if remaining == 0 { Exit::Done } else { Exit::Failed })
}
