//! `larder store`: the bucket of an S3 store, set up and looked over.

use larder_core::{Ambient, Fault};
use larder_store::{
    BucketSetup, Encryption, Finding, S3Options, S3Store, SetupOutcome, SetupStep, Verdict, iam_policy,
};
use serde_json::{Value, json};

use super::Context;
use crate::{
    cli::{StoreCommand, StoreSetup},
    config::{Config, StoreBackend},
    failure::{Exit, Failure},
    service::{log, store::with_addresses},
};

/// Sets up, checks, or prints the policy.
pub async fn run(context: &Context, arguments: &StoreCommand) -> Result<Exit, Failure> {
    if context.server().is_some() {
        return Err(Failure::usage(
            "the store is looked at with the credentials of this environment, not over a server",
            "leave --server and LARDER_SERVER away",
        ));
    }
    let config = context.config(Vec::new())?;
    log::start_quiet(&config.log)?;
    let buckets = buckets(&config)?;
    match arguments {
        StoreCommand::Policy { setup } => {
            for options in &buckets {
                let policy = iam_policy(&options.bucket, &options.prefix, *setup);
                context.output.answer(&policy, |output| {
                    output.line(serde_json::to_string_pretty(&policy).unwrap_or_default())
                })?;
            }
            Ok(Exit::Done)
        }
        StoreCommand::Setup(setup) => set_up(context, &buckets, setup).await,
        StoreCommand::Check => {
            let mut exit = Exit::Done;
            for options in &buckets {
                let findings = S3Store::check(options, Ambient::system()).await.map_err(Fault::from)?;
                let answer = json!({ "bucket": options.bucket, "findings": as_json(&findings) });
                context.output.answer(&answer, |output| {
                    output.line(format!("bucket {}", options.bucket))?;
                    findings
                        .iter()
                        .try_for_each(|finding| output.line(line_of(finding.name, &finding.verdict)))
                })?;
                if findings.iter().any(|finding| matches!(finding.verdict, Verdict::Bad { .. })) {
                    exit = Exit::Failed;
                }
            }
            Ok(exit)
        }
    }
}

/// The buckets that are configured: that of the originals, and that of the variants if they have their own.
fn buckets(config: &Config) -> Result<Vec<S3Options>, Failure> {
    let (StoreBackend::S3, Some(options)) = (config.store.backend, &config.store.s3_options) else {
        return Err(Failure::configuration(
            format!("the store is {} ({}), and has no bucket", config.store_label(), config.store_reason()),
            "name a bucket in store.s3.bucket (AWS_STORAGE_BUCKET_NAME) with its credentials; `larder doctor` checks a local store",
        ));
    };
    let options = with_addresses(config, options);
    let variants = options.variants_bucket.clone().map(|bucket| S3Options { bucket, ..options.clone() });
    Ok([options].into_iter().chain(variants).collect())
}

async fn set_up(context: &Context, buckets: &[S3Options], asked: &StoreSetup) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for options in buckets {
        let setup = BucketSetup {
            cors_origins: asked.cors.clone(),
            public_read: asked.public,
            encryption: encryption(asked, options)?,
            versioning: asked.versioning,
            logging: asked.log_bucket.clone().map(|bucket| (bucket, asked.log_prefix.clone())),
        };
        let steps = S3Store::set_up(options, &setup, Ambient::system()).await.map_err(Fault::from)?;
        let told: Vec<_> = steps.into_iter().map(told).collect();
        let answer: Vec<Value> = told
            .iter()
            .map(|(name, outcome, problem, _)| json!({ "step": name, "outcome": outcome, "error": problem }))
            .collect();
        context.output.answer(&json!({ "bucket": options.bucket, "steps": answer }), |output| {
            output.line(format!("bucket {}", options.bucket))?;
            told.iter().try_for_each(|(name, _, _, line)| output.line(format!("  {name:<14}{line}")))
        })?;
        if told.iter().any(|(_, outcome, ..)| *outcome == "failed") {
            exit = Exit::Partly;
        }
    }
    Ok(exit)
}

/// What the arguments ask for, else what objects are encrypted with anyway.
fn encryption(asked: &StoreSetup, options: &S3Options) -> Result<Option<Encryption>, Failure> {
    match asked.encryption.as_deref() {
        None => Ok(options.encryption.clone()),
        Some("AES256") => Ok(Some(Encryption::Aes256)),
        Some("aws:kms") => {
            let key_id = match &options.encryption {
                Some(Encryption::Kms { key_id }) => key_id.clone(),
                _ => None,
            };
            Ok(Some(Encryption::Kms { key_id }))
        }
        Some(other) => {
            Err(Failure::usage(format!("\"{other}\" is no encryption of S3"), "use AES256 or aws:kms"))
        }
    }
}

/// A step for programs and for people.
fn told(step: SetupStep) -> (&'static str, &'static str, Option<Value>, String) {
    match step.outcome {
        SetupOutcome::Done => (step.name, "done", None, "done".to_owned()),
        SetupOutcome::Already => (step.name, "already", None, "was there already".to_owned()),
        SetupOutcome::Ignored => {
            (step.name, "ignored", None, "this provider has no such setting, and goes without".to_owned())
        }
        SetupOutcome::Failed(error) => {
            let fault = Fault::from(error);
            let problem =
                json!({ "code": fault.code.as_str(), "detail": fault.detail, "remedy": fault.remedy });
            (step.name, "failed", Some(problem), format!("failed: {}; {}", fault.detail, fault.remedy))
        }
    }
}

/// Findings for programs.
pub fn as_json(findings: &[Finding]) -> Vec<Value> {
    let one = |finding: &Finding| verdict_json(finding.name, &finding.verdict);
    findings.iter().map(one).collect()
}

/// A verdict for programs.
pub fn verdict_json(name: &str, verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Good(detail) => json!({ "name": name, "verdict": "good", "detail": detail }),
        Verdict::Lacking(detail) => json!({ "name": name, "verdict": "lacking", "detail": detail }),
        Verdict::Bad { cause, remedy } => {
            json!({ "name": name, "verdict": "bad", "detail": cause, "remedy": remedy })
        }
    }
}

/// A verdict for people.
pub fn line_of(name: &str, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Good(detail) => format!("  good     {name:<14}{detail}"),
        Verdict::Lacking(detail) => format!("  lacking  {name:<14}{detail}"),
        Verdict::Bad { cause, remedy } if remedy.is_empty() => format!("  BAD      {name:<14}{cause}"),
        Verdict::Bad { cause, remedy } => {
            format!("  BAD      {name:<14}{cause}\n           {:<14}-> {remedy}", "")
        }
    }
}
