//! `larder doctor`: everything that Larder stands on, asked one after the other, each failure with its remedy.

mod machine;
mod public;

use larder_core::{Ambient, Fault};
use larder_store::{PlaceError, S3Store, Store, StoreExt, Verdict};
use serde_json::{Value, json};

use super::{
    Context,
    store::{line_of, verdict_json},
};
use crate::{
    cli::Doctor,
    config::{Config, StoreBackend},
    failure::{Exit, Failure},
    service::{
        log,
        open::{Opening, open_beside, open_catalog, prepare_data_dir},
        store::{open_store, with_addresses},
    },
};

/// What was asked, under its heading.
struct Section {
    name: &'static str,
    verdicts: Vec<(String, Verdict)>,
}

impl Section {
    fn new(name: &'static str) -> Self {
        Self { name, verdicts: Vec::new() }
    }

    fn add(&mut self, name: impl Into<String>, verdict: Verdict) {
        self.verdicts.push((name.into(), verdict));
    }
}

/// A failure of ours as a verdict.
fn bad(failure: Failure) -> Verdict {
    let because = failure.because.first().map(|cause| format!(": {cause}")).unwrap_or_default();
    Verdict::Bad { cause: format!("{}{because}", failure.cause), remedy: failure.remedy }
}

fn bad_fault(fault: impl Into<Fault>) -> Verdict {
    bad(Failure::from(fault.into()))
}

/// Asks everything. A part that fails does not keep the others from being asked.
pub async fn run(context: &Context, arguments: &Doctor) -> Result<Exit, Failure> {
    if context.server().is_some() {
        return Err(Failure::usage(
            "the doctor looks at the machine that it runs on",
            "leave --server and LARDER_SERVER away, and give the command where the server runs",
        ));
    }
    let mut sections = Vec::new();
    let mut configuration = Section::new("configuration");
    match context.config(Vec::new()) {
        Err(failure) => {
            configuration.add("settings", bad(failure));
            sections.push(configuration);
        }
        Ok(mut config) => {
            if let Some(url) = &arguments.public_url {
                config.public_url = Some(url.clone());
            }
            log::start_quiet(&config.log)?;
            let reason = format!("{} ({})", config.store_label(), config.store_reason());
            configuration.add("settings", Verdict::Good("all are understood".to_owned()));
            configuration.add("store", Verdict::Good(reason));
            for notice in &config.notices {
                configuration.add("notice", Verdict::Lacking(notice.clone()));
            }
            if let Some(verdict) = purge_hook(&config) {
                configuration.add("purge hook", verdict);
            }
            sections.push(configuration);
            sections.push(machine::look_at(&config));
            sections.push(store(&config).await);
            sections.extend(catalogue(&config).await);
        }
    }
    let is_bad = |verdict: &Verdict| matches!(verdict, Verdict::Bad { .. });
    let problems: usize = sections
        .iter()
        .map(|section| section.verdicts.iter().filter(|(_, verdict)| is_bad(verdict)).count())
        .sum();
    let answer: Vec<Value> = sections
        .iter()
        .map(|section| {
            let findings: Vec<Value> =
                section.verdicts.iter().map(|(name, verdict)| verdict_json(name, verdict)).collect();
            json!({ "section": section.name, "findings": findings })
        })
        .collect();
    context.output.answer(&json!({ "problems": problems, "sections": answer }), |output| {
        for section in &sections {
            output.line(section.name)?;
            for (name, verdict) in &section.verdicts {
                output.line(line_of(name, verdict))?;
            }
        }
        output.line(match problems {
            0 => "nothing is wrong".to_owned(),
            1 => "1 problem".to_owned(),
            many => format!("{many} problems"),
        })
    })?;
    Ok(if problems == 0 { Exit::Done } else { Exit::Failed })
}

/// Who tells the caches in front what to forget, if there are some.
fn purge_hook(config: &Config) -> Option<Verdict> {
    match config.purge_hook() {
        Err(error) => Some(bad(error.into())),
        Ok(Some(hook)) => Some(Verdict::Good(format!("{}, {}", hook.kind().name, hook.target()))),
        Ok(None) => config.store.public_url.as_ref().map(|url| {
            Verdict::Lacking(format!(
                "{url} is not told what was replaced or deleted, and may serve it for as long as it likes; cdn.purge sets who is told"
            ))
        }),
    }
}

/// The store: a bucket is asked everything, a folder whether it can be written, read and emptied.
async fn store(config: &Config) -> Section {
    let mut section = Section::new("store");
    if let (StoreBackend::S3, Some(options)) = (config.store.backend, &config.store.s3_options) {
        match S3Store::check(&with_addresses(config, options), Ambient::system()).await {
            Ok(findings) => {
                findings.into_iter().for_each(|finding| section.add(finding.name, finding.verdict));
            }
            Err(error) => section.add("reach", bad_fault(error)),
        }
        return section;
    }
    let prepared = prepare_data_dir(config, Opening::Writer);
    let round_trip = async {
        prepared?;
        let store = open_store(config, Opening::Reader, &Ambient::system()).await?.store;
        let name = hex::encode(Ambient::system().random_bytes::<8>());
        let place = format!(".larder/probe/{name}")
            .parse()
            .map_err(|error: PlaceError| Fault::internal("a place of our own is none").caused_by(error))?;
        store.put_bytes(&place, "larder", Default::default()).await.map_err(Fault::from)?;
        let read = store.read_all(&place, 10).await.map_err(Fault::from)?;
        store.remove(&place).await.map_err(Fault::from)?;
        Ok::<_, Failure>(read == "larder")
    };
    section.add(
        "round trip",
        match round_trip.await {
            Ok(true) => Verdict::Good("written, synced, read and removed".to_owned()),
            Ok(false) => Verdict::Bad {
                cause: "other bytes came back than were written".to_owned(),
                remedy: "check the disk, for instance with smartctl and fsck".to_owned(),
            },
            Err(failure) => bad(failure),
        },
    );
    section
}

/// The catalogue; and if it is there, what it says of workers and queues, and the public address.
async fn catalogue(config: &Config) -> Vec<Section> {
    let mut section = Section::new("catalogue");
    match config.replication() {
        Err(error) => {
            section.add("replication", bad(error.into()));
            return vec![section];
        }
        // Opening it would begin another one.
        Ok(Some(_)) if !config.data_dir.join("catalog.db").exists() => {
            let elsewhere = "not on this machine; the first start brings it from the bucket, or makes it";
            section.add("reach", Verdict::Lacking(elsewhere.to_owned()));
            return vec![section];
        }
        Ok(_) => {}
    }
    let catalog = match open_catalog(config, &Ambient::system()).await {
        Ok(catalog) => catalog,
        Err(failure) => {
            section.add("reach", bad(failure));
            return vec![section];
        }
    };
    section.add("reach", Verdict::Good(config.database_label()));
    match catalog.status().await {
        Ok(status) if status.pending.is_empty() => {
            section.add("schema", Verdict::Good(format!("{} migrations, all applied", status.applied.len())));
        }
        Ok(status) if status.applied.is_empty() => {
            let begins = "nothing is there yet; the first start makes it".to_owned();
            section.add("schema", Verdict::Lacking(begins));
            return vec![section];
        }
        Ok(status) => {
            let waiting = format!("{} migrations wait; the next start applies them", status.pending.len());
            section.add("schema", Verdict::Lacking(waiting));
        }
        Err(error) => {
            section.add("schema", bad_fault(Fault::from(error)));
            return vec![section];
        }
    }
    catalog.close().await;
    let larder = match open_beside(config, Opening::Reader).await {
        Ok(larder) => larder,
        Err(failure) => {
            section.add("open", bad(failure));
            return vec![section];
        }
    };
    let mut sections = vec![section, machine::look_at_jobs(&larder).await];
    sections.push(public::look_at(config, &larder).await);
    let past = public::look_past(&larder).await;
    sections.extend((!past.verdicts.is_empty()).then_some(past));
    larder.catalog().close().await;
    sections
}
