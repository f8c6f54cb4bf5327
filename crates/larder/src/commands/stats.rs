//! `larder stats`: how much there is.

use larder_core::text::display_bytes;
use serde_json::to_value;

use super::{Context, place};
use crate::{
    backend::Backend,
    cli::Stats,
    failure::{Exit, Failure},
};

/// Counts.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Stats) -> Result<Exit, Failure> {
    let bucket = arguments.bucket.as_deref().map(place::bucket).transpose()?;
    let statistics = larder.statistics(bucket.as_ref()).await?;
    context.output.answer(&to_value(&statistics).unwrap_or_default(), |output| {
        let mut table = output
            .table(["bucket", "store", "objects", "bytes", "variants", "bytes", "deleted", "bytes"])
            .numbers([2, 3, 4, 5, 6, 7]);
        for bucket in &statistics.buckets {
            table.row([
                bucket.bucket.clone(),
                bucket.store.clone(),
                bucket.objects.to_string(),
                display_bytes(bucket.bytes),
                bucket.variants.iter().map(|variant| variant.variants).sum::<u64>().to_string(),
                display_bytes(bucket.variants.iter().map(|variant| variant.bytes).sum()),
                bucket.deleted_objects.to_string(),
                display_bytes(bucket.deleted_bytes),
            ]);
        }
        output.print_table(&table, "there is no bucket")?;
        output.line(format!(
            "{} objects, {}; variants {}",
            statistics.total_objects,
            display_bytes(statistics.total_bytes),
            display_bytes(statistics.variant_bytes)
        ))
    })?;
    Ok(Exit::Done)
}
