//! `larder preset`: recipes by name.

use larder_assets::AssetQuery;
use larder_core::FileType;
use serde_json::{json, to_value};

use super::Context;
use crate::{
    backend::{Backend, PAGE_ITEMS},
    cli::Preset,
    failure::{Exit, Failure},
};

/// Lists, defines, removes or backfills.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &Preset) -> Result<Exit, Failure> {
    let output = &context.output;
    match arguments {
        Preset::Ls => {
            let presets = larder.presets().await?;
            output.answer(&json!({ "items": presets, "next": null }), |output| {
                let mut table = output.table(["preset", "recipe", "version", "from"]);
                for preset in &presets {
                    table.row([
                        preset.name.clone(),
                        preset.recipe.clone(),
                        preset.version.clone(),
                        super::bucket::origin(preset.managed_by_file).to_owned(),
                    ]);
                }
                output.print_table(&table, "there is no preset")
            })?;
        }
        Preset::Set { name, recipe } => {
            let put = larder.put_preset(name, recipe).await?;
            output.answer(&to_value(&put).unwrap_or_default(), |output| {
                output.line(format!("{} = {}", put.preset.name, put.preset.recipe))?;
                match put.backfill {
                    Some(job) => output.line(format!("its variants are made anew by job {job}")),
                    None => Ok(()),
                }
            })?;
        }
        Preset::Rm { name } => {
            larder.remove_preset(name).await?;
            output.answer(&json!({ "removed": name }), |output| output.line(format!("removed {name}")))?;
        }
        Preset::Backfill { name, dry_run } => backfill(context, larder, name, *dry_run).await?,
    }
    Ok(Exit::Done)
}

/// Enqueues the variants of every picture of the buckets that make the preset.
async fn backfill(context: &Context, larder: &dyn Backend, name: &str, dry_run: bool) -> Result<(), Failure> {
    if !larder.presets().await?.iter().any(|preset| preset.name == name) {
        return Err(Failure::new(
            larder_core::Code::PresetNotFound,
            format!("there is no preset {name}"),
            "list the presets with `larder preset ls`",
        ));
    }
    let mut assets = 0_u64;
    for bucket in larder.buckets().await?.iter().filter(|bucket| bucket.presets().contains(&name)) {
        let mut query = AssetQuery { limit: PAGE_ITEMS, ..AssetQuery::default() };
        loop {
            let page = larder.assets(&bucket.name, &query).await?;
            for asset in page.items.iter().filter(|asset| is_picture(&asset.content_type)) {
                assets += 1;
                if !dry_run {
                    larder.rebuild(asset.id).await?;
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
    }
    let answer = json!({ "preset": name, "assets": assets, "dry_run": dry_run });
    context.output.answer(&answer, |output| match dry_run {
        true => output.line(format!("{assets} pictures would get the variant {name}")),
        false => output
            .line(format!("{assets} pictures are queued; `larder jobs ls --watch` shows how far they are")),
    })
}

fn is_picture(content_type: &str) -> bool {
    FileType::of_content_type(content_type).is_some_and(larder_assets::BucketPolicy::is_picture)
}
