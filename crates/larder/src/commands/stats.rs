//! `larder stats`: how much there is.

use larder_assets::Statistics;
use larder_core::text::display_bytes;
use serde_json::to_value;

use super::{Context, place};
use crate::{
    backend::Backend,
    cli::Stats,
    failure::{Exit, Failure},
    output::Output,
};

fn of_each_kind(output: &Output, statistics: &Statistics) -> Result<(), Failure> {
    let mut types = output.table(["store", "type", "objects", "bytes"]).numbers([2, 3]);
    let mut variants = output.table(["store", "preset", "status", "variants", "bytes"]).numbers([3, 4]);
    for bucket in &statistics.buckets {
        for of in &bucket.types {
            types.row([
                bucket.store.clone(),
                of.content_type.clone(),
                of.objects.to_string(),
                display_bytes(of.bytes),
            ]);
        }
        for of in &bucket.variants {
            variants.row([
                bucket.store.clone(),
                of.preset.clone().unwrap_or_else(|| "-".to_owned()),
                of.status.clone(),
                of.variants.to_string(),
                display_bytes(of.bytes),
            ]);
        }
    }
    for table in [types, variants].iter().filter(|table| !table.is_empty()) {
        output.line("")?;
        output.print_table(table, "")?;
    }
    output.line("")
}

fn asked_for(output: &Output, statistics: &Statistics) -> Result<(), Failure> {
    if statistics.requests.is_empty() {
        return Ok(());
    }
    let mut table = output
        .table(["bucket", "requests", "4xx", "5xx", "bytes out", "half within", "95% within"])
        .numbers([1, 2, 3, 4, 5, 6]);
    for of in &statistics.requests {
        table.row([
            of.bucket.clone(),
            of.requests.to_string(),
            percent(of.client_error_rate),
            percent(of.server_error_rate),
            display_bytes(of.bytes_out),
            format!("{} ms", of.p50_ms),
            format!("{} ms", of.p95_ms),
        ]);
    }
    output.line("\nrequests of the last 30 days")?;
    output.print_table(&table, "")
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

fn grown(output: &Output, statistics: &Statistics) -> Result<(), Failure> {
    let grown: Vec<_> = statistics.growth.iter().filter(|of| of.days.len() > 1).collect();
    if grown.is_empty() {
        return Ok(());
    }
    let mut table = output
        .table(["bucket", "store", "since", "objects", "bytes", "variants", "bytes"])
        .numbers([3, 4, 5, 6]);
    for of in grown {
        table.row([
            of.bucket.clone(),
            of.store.clone(),
            of.since.to_string().split('T').next().unwrap_or_default().to_owned(),
            format!("{:+}", of.objects),
            signed_bytes(of.bytes),
            format!("{:+}", of.variants),
            signed_bytes(of.variant_bytes),
        ]);
    }
    output.line("\ngrowth")?;
    output.print_table(&table, "")
}

fn signed_bytes(bytes: i64) -> String {
    let sign = if bytes < 0 { '-' } else { '+' };
    format!("{sign}{}", display_bytes(bytes.unsigned_abs()))
}

fn costs(output: &Output, statistics: &Statistics) -> Result<(), Failure> {
    let cost = &statistics.cost;
    if cost.buckets.is_empty() {
        return Ok(());
    }
    let mut table =
        output.table(["bucket", "storage", "writes", "reads", "out", "total"]).numbers([1, 2, 3, 4, 5]);
    for of in &cost.buckets {
        let price = |amount: f64| format!("{amount:.2}");
        table.row([
            of.bucket.clone(),
            price(of.storage),
            price(of.writes),
            price(of.reads),
            price(of.out),
            price(of.total),
        ]);
    }
    output.line(format!("\na month in {}, estimated by stats.prices", cost.currency))?;
    output.print_table(&table, "")?;
    output.line("")
}

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
        // Of one bucket also what there is of each kind.
        if bucket.is_some() {
            of_each_kind(output, &statistics)?;
        }
        asked_for(output, &statistics)?;
        grown(output, &statistics)?;
        costs(output, &statistics)?;
        output.line(format!(
            "{} objects, {}; variants {}",
            statistics.total_objects,
            display_bytes(statistics.total_bytes),
            display_bytes(statistics.variant_bytes)
        ))
    })?;
    Ok(Exit::Done)
}
