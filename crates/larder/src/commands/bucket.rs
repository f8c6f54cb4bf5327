//! `larder bucket`: buckets and their rules.

use larder_assets::{Bucket, BucketPolicy, Visibility};
use larder_core::Code;
use serde_json::{Value, json, to_value};

use super::{Context, ls, place};
use crate::{
    backend::Backend,
    cli::{self, KeyValue, Ls},
    failure::{Exit, Failure},
};

/// Lists, shows, changes or removes.
pub async fn run(context: &Context, larder: &dyn Backend, arguments: &cli::Bucket) -> Result<Exit, Failure> {
    let output = &context.output;
    match arguments {
        cli::Bucket::Ls => return ls::run(context, larder, &Ls::default()).await,
        cli::Bucket::Show { name } => print(context, &larder.bucket(&place::bucket(name)?).await?)?,
        cli::Bucket::Set { name, fields } => {
            let name = place::bucket(name)?;
            let policy = match larder.bucket(&name).await {
                Ok(bucket) => bucket.policy,
                Err(fault) if fault.code == Code::BucketNotFound => BucketPolicy::default(),
                Err(fault) => return Err(fault.into()),
            };
            print(context, &larder.put_bucket(&name, changed(policy, fields)?).await?)?;
        }
        cli::Bucket::Backfill { name, preset } => {
            let job = larder.backfill(&place::bucket(name)?, preset.as_deref()).await?;
            output.answer(&json!({ "bucket": name, "job_id": job }), |output| {
                output.line(format!("the variants that {name} lacks are made by job {job}"))
            })?;
        }
        cli::Bucket::Rm { name } => {
            larder.remove_bucket(&place::bucket(name)?).await?;
            output.answer(&json!({ "removed": name }), |output| output.line(format!("removed {name}")))?;
        }
    }
    Ok(Exit::Done)
}

/// The word for who may read.
pub fn visibility(policy: &BucketPolicy) -> &'static str {
    match policy.visibility {
        Visibility::Public => "public",
        Visibility::Private => "private",
    }
}

/// Where a bucket or preset is defined.
pub fn origin(managed_by_file: bool) -> &'static str {
    if managed_by_file { "file" } else { "catalogue" }
}

fn print(context: &Context, bucket: &Bucket) -> Result<(), Failure> {
    let value = to_value(bucket).unwrap_or_default();
    context.output.answer(&value, |output| {
        let mut table = output.table([bucket.name.as_str(), origin(bucket.managed_by_file)]);
        for (field, value) in value["policy"].as_object().into_iter().flatten() {
            table.row([field.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)]);
        }
        output.print_table(&table, "")
    })
}

/// The policy with these fields changed. A value is JSON, a list with commas, or text.
fn changed(policy: BucketPolicy, fields: &[KeyValue]) -> Result<BucketPolicy, Failure> {
    let mut value = to_value(policy).unwrap_or_default();
    for KeyValue { name, value: text } in fields {
        let Some(present) = name.split('.').try_fold(&mut value, |place, step| place.get_mut(step)) else {
            return Err(Failure::usage(
                format!("a bucket has no field {name}"),
                "docs/configuration.md lists the fields; `larder bucket show media` shows them",
            ));
        };
        let list = || text.split(',').filter(|item| !item.is_empty()).map(Value::from).collect();
        *present = match serde_json::from_str::<Value>(text) {
            Ok(parsed) if !(parsed.is_string() || parsed.is_number() && present.is_string()) => parsed,
            _ if present.is_array() => Value::Array(list()),
            _ => Value::from(text.as_str()),
        };
    }
    let policy: BucketPolicy = serde_json::from_value(value).map_err(|error| {
        Failure::usage(error.to_string(), "docs/configuration.md lists the fields and what they take")
    })?;
    match policy.problems().into_iter().next() {
        Some(problem) => Err(Failure::usage(problem, "correct the field")),
        None => Ok(policy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(fields: &[&str]) -> Result<BucketPolicy, Failure> {
        let fields: Vec<KeyValue> = fields.iter().map(|field| field.parse().unwrap()).collect();
        changed(BucketPolicy::default(), &fields)
    }

    #[test]
    fn fields_are_set_by_text_lists_and_json() {
        let policy = set(&[
            "visibility=public",
            "presets=keep,hero",
            "max_bytes=5 MiB",
            "cors.origins=https://a.example",
            "image.pixels_max=1000",
            "retention=[{\"prefix\":\"tmp/\",\"older_than\":\"90d\"}]",
            "unused_variants_after=30d",
        ])
        .unwrap();
        assert_eq!(policy.visibility, Visibility::Public);
        assert_eq!(policy.presets, ["keep", "hero"]);
        assert_eq!(policy.max_bytes.0, 5 << 20);
        assert_eq!(policy.cors.origins, ["https://a.example"]);
        assert_eq!(policy.image.pixels_max, 1_000);
        assert_eq!(policy.retention.len(), 1);
        assert!(policy.unused_variants_after.is_some());
    }

    #[test]
    fn unknown_fields_and_impossible_values_are_usage_errors() {
        assert!(set(&["colour=red"]).unwrap_err().cause.contains("colour"));
        assert!(set(&["visibility=secret"]).unwrap_err().cause.contains("secret"));
        assert!(set(&["key_template=x"]).unwrap_err().cause.contains("{id}"));
    }
}
