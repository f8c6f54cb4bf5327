//! `larder ls`: buckets, or the assets of one.

use larder_assets::{AssetPage, AssetQuery, AssetView};
use larder_core::text::display_bytes;
use serde_json::json;

use super::{Context, place};
use crate::{
    backend::{Backend, PAGE_ITEMS},
    cli::Ls,
    failure::{Exit, Failure},
    output::Table,
};

/// Lists.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Ls) -> Result<Exit, Failure> {
    let Some(place) = &arguments.place else { return buckets(context, larder).await };
    let (bucket, prefix) = place::prefix(place)?;
    // So that an empty answer means an empty bucket.
    larder.bucket(&bucket).await?;
    let mut query = AssetQuery {
        prefix: (!prefix.is_empty()).then_some(prefix),
        owner: arguments.owner.clone(),
        tag: arguments.tag.clone(),
        status: arguments.status.clone().filter(|status| status != "deleted"),
        deleted: arguments.status.as_deref() == Some("deleted"),
        delimiter: arguments.delimiter.clone(),
        after: arguments.after.clone(),
        limit: PAGE_ITEMS,
        ..AssetQuery::default()
    };
    let output = &context.output;
    let mut any = false;
    loop {
        let page = larder.assets(&bucket, &query).await?;
        let lines = in_order(&page);
        any |= !lines.is_empty();
        if arguments.all {
            for line in &lines {
                match line {
                    Line::Asset(asset) => output.json(asset)?,
                    Line::Prefix(prefix) => output.json(&json!({ "prefix": prefix }))?,
                }
            }
        } else {
            output.json(&page)?;
        }
        if !lines.is_empty() {
            output.line(table(context, &lines, arguments.long).to_string())?;
        }
        match page.next {
            Some(next) if arguments.all => query.after = Some(next),
            Some(next) => {
                output.note(format!("there are more; --all lists them, --after {next} the next ones"));
                break;
            }
            None => break,
        }
    }
    if !any {
        output.note("nothing matches");
    }
    Ok(Exit::Done)
}

/// One line of a list.
enum Line<'a> {
    Asset(&'a AssetView),
    /// What the keys of assets further below have in common.
    Prefix(&'a str),
}

impl Line<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Asset(asset) => asset.key.as_str(),
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// Assets and common prefixes of a page in one bytewise order.
fn in_order(page: &AssetPage) -> Vec<Line<'_>> {
    let prefixes = page.prefixes.iter().flatten().map(|prefix| Line::Prefix(prefix));
    let mut lines: Vec<_> = page.items.iter().map(Line::Asset).chain(prefixes).collect();
    // A key that ends with the delimiter is no asset of this level, so that no two names are equal.
    lines.sort_by(|one, other| one.name().cmp(other.name()));
    lines
}

fn table(context: &Context, lines: &[Line<'_>], long: bool) -> Table {
    let size = |asset: &AssetView| match (asset.width, asset.height) {
        (Some(width), Some(height)) => format!("{width}x{height}"),
        _ => "-".to_owned(),
    };
    let none = || "-".to_owned();
    if !long {
        let mut table = context.output.table(["key", "bytes", "size", "type", "updated"]).numbers([1]);
        for line in lines {
            table.row(match line {
                Line::Prefix(prefix) => [(*prefix).to_owned(), none(), none(), none(), none()],
                Line::Asset(asset) => [
                    asset.key.to_string(),
                    display_bytes(asset.size_bytes),
                    size(asset),
                    asset.content_type.clone(),
                    asset.updated_at.to_string(),
                ],
            });
        }
        return table;
    }
    let heads =
        ["id", "key", "bytes", "size", "type", "status", "owner", "tags", "sha256", "created", "updated"];
    let mut table = context.output.table(heads).numbers([2]);
    for line in lines {
        table.row(match line {
            Line::Prefix(prefix) => {
                let mut cells = heads.map(|_| none());
                cells[1] = (*prefix).to_owned();
                cells
            }
            Line::Asset(asset) => [
                asset.id.to_string(),
                asset.key.to_string(),
                asset.size_bytes.to_string(),
                size(asset),
                asset.content_type.clone(),
                asset.status.clone(),
                asset.owner.clone().unwrap_or_else(none),
                asset.tags.join(","),
                asset.sha256.clone(),
                asset.created_at.to_string(),
                asset.updated_at.to_string(),
            ],
        });
    }
    table
}

async fn buckets(context: &Context, larder: &dyn Backend) -> Result<Exit, Failure> {
    let buckets = larder.buckets().await?;
    context.output.answer(&json!({ "items": buckets, "next": null }), |output| {
        let mut table =
            output.table(["bucket", "visibility", "presets", "largest file", "from"]).numbers([3]);
        for bucket in &buckets {
            table.row([
                bucket.name.to_string(),
                super::bucket::visibility(&bucket.policy).to_owned(),
                bucket.policy.presets.join(", "),
                display_bytes(bucket.policy.max_bytes.0),
                super::bucket::origin(bucket.managed_by_file).to_owned(),
            ]);
        }
        output.print_table(&table, "there is no bucket")
    })?;
    Ok(Exit::Done)
}
