//! `larder catalog`: the schema of the catalogue.

use larder_core::{Ambient, Fault};
use serde_json::{Value, json};

use super::Context;
use crate::{
    cli::Catalog,
    failure::{Exit, Failure},
    service::{
        log,
        open::{Opening, open_catalog, prepare_data_dir},
    },
};

/// Shows or migrates.
pub async fn run(context: &Context, arguments: &Catalog) -> Result<Exit, Failure> {
    if context.server().is_some() {
        return Err(Failure::usage(
            "the catalogue is looked at where it lies, not over a server",
            "leave --server and LARDER_SERVER away; give --data-dir or LARDER_DATABASE_URL",
        ));
    }
    let config = context.config_without_store()?;
    log::start_quiet(&config.log)?;
    let migrating = matches!(arguments, Catalog::Migrate);
    // Mistakes in what is said of the store don't matter here.
    let is_replicated =
        context.config(Vec::new()).is_ok_and(|config| matches!(config.replication(), Ok(Some(_))));
    if migrating && is_replicated {
        return Err(Failure::configuration(
            "the catalogue lies in the bucket, and what is here may be an old one",
            "start the server: it brings the newest and migrates that; or set catalog.replicate to \"off\"",
        ));
    }
    prepare_data_dir(&config, if migrating { Opening::Writer } else { Opening::Reader })?;
    let catalog = open_catalog(&config, &Ambient::system()).await?;
    let label = config.database_label();
    if migrating {
        let applied = catalog.migrate().await.map_err(Fault::from)?;
        let answer = json!({ "database": label, "versions": applied.versions, "snapshot": applied.snapshot });
        context.output.answer(&answer, |output| {
            match applied.versions.last() {
                None => output.line(format!("{label}: nothing to do"))?,
                Some(version) => output.line(format!("{label}: migrated to version {version}"))?,
            }
            match &applied.snapshot {
                Some(path) => output.line(format!("  a copy from before lies in {}", path.display())),
                None => Ok(()),
            }
        })?;
    } else {
        let status = catalog.status().await.map_err(Fault::from)?;
        let applied: Vec<Value> = status
            .applied
            .iter()
            .map(|one| json!({ "version": one.version, "name": one.name, "applied_at": one.applied_at }))
            .collect();
        let pending: Vec<Value> =
            status.pending.iter().map(|one| json!({ "version": one.version, "name": one.name })).collect();
        context.output.answer(
            &json!({ "database": label, "applied": applied, "pending": pending }),
            |output| {
                output.line(&label)?;
                let mut table = output.table(["version", "migration", "state"]).numbers([0]);
                for one in &status.applied {
                    table.row([
                        one.version.to_string(),
                        one.name.clone(),
                        format!("applied {}", one.applied_at),
                    ]);
                }
                for one in &status.pending {
                    table.row([one.version.to_string(), one.name.to_string(), "pending".to_owned()]);
                }
                output.print_table(&table, "no migration")
            },
        )?;
    }
    catalog.close().await;
    Ok(Exit::Done)
}
