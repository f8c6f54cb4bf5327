//! `larder config`: what is set, by what, and which store that makes.

use serde_json::json;

use super::Context;
use crate::{
    cli::ShowConfig,
    config::Config,
    failure::{Exit, Failure},
};

/// Shows or checks the configuration.
pub fn run(context: &Context, arguments: &ShowConfig) -> Result<Exit, Failure> {
    if context.server().is_some() {
        return Err(Failure::usage(
            "the configuration is that of this environment and folder, not of a server",
            "leave --server and LARDER_SERVER away",
        ));
    }
    let config = context.config(Vec::new())?;
    let store = json!({
        "backend": config.store.backend.name(),
        "label": config.store_label(),
        "reason": config.store_reason(),
    });
    if arguments.check {
        let answer = json!({ "sound": true, "store": store, "notices": config.notices });
        context.output.answer(&answer, |output| {
            output.line("the configuration is sound")?;
            tell_store(context, &config)
        })?;
        return Ok(Exit::Done);
    }
    let buckets: Vec<&str> = config.buckets.keys().map(|name| name.as_str()).collect();
    let answer = json!({
        "settings": config.shown_settings(),
        "buckets": buckets,
        "presets": config.presets,
        "store": store,
        "notices": config.notices,
    });
    context.output.answer(&answer, |output| {
        let mut table = output.table(["setting", "value", "from"]);
        for one in config.shown_settings() {
            let from = match (one.source, one.from) {
                ("derived", Some(from)) => format!("follows from {from}"),
                (_, Some(from)) => from,
                (source, None) => source.to_owned(),
            };
            table.row([one.setting.to_owned(), one.value.unwrap_or_default(), from]);
        }
        output.print_table(&table, "no setting")?;
        if !buckets.is_empty() {
            output.line(format!("buckets of file and environment: {}", buckets.join(", ")))?;
        }
        for (name, recipe) in &config.presets {
            output.line(format!("preset {name}: {recipe}"))?;
        }
        tell_store(context, &config)
    })?;
    Ok(Exit::Done)
}

fn tell_store(context: &Context, config: &Config) -> Result<(), Failure> {
    context.output.line(format!("store: {} ({})", config.store_label(), config.store_reason()))?;
    for notice in &config.notices {
        context.output.line(format!("notice: {notice}"))?;
    }
    Ok(())
}
