//! A3: the environment of an application works as its own documentation has it. The blocks in
//! `tests/environments` are copies of what five of them document.

use serde_json::Value;

use crate::client::{failure_of, json_of, larder};

/// The assignments of a block, as a shell reads them.
fn block(name: &str) -> Vec<(String, String)> {
    let path = format!("{}/tests/environments/{name}.env", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn config(variables: &[(String, String)], more: &[(&str, &str)]) -> std::process::Command {
    let mut command = larder();
    command.arg("config").env("AWS_EC2_METADATA_DISABLED", "true");
    command.envs(variables.iter().map(|(name, value)| (name, value))).envs(more.iter().copied());
    command
}

fn value<'a>(answer: &'a Value, setting: &str) -> &'a str {
    let settings = answer["settings"].as_array().unwrap();
    let one = settings.iter().find(|one| one["setting"] == setting).unwrap();
    one["value"].as_str().unwrap_or("unset")
}

/// A block, what is set besides, the store, and effective settings.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a [(&'a str, &'a str)]);

#[test]
fn a3_the_environments_of_five_applications_work_as_they_are_documented() {
    let cases: &[Case<'_>] = &[
        (
            "tigris_by_django",
            &[],
            "s3",
            &[
                ("store.s3.profile", "tigris"),
                ("store.s3.bucket", "mangakg-media"),
                ("store.s3.region", "fra"),
                ("store.s3.addressing", "virtual"),
                ("store.public_url", "https://your-cdn-domain.com"),
            ],
        ),
        (
            "image_proxy",
            &[],
            "s3",
            &[
                ("store.s3.profile", "minio"),
                ("store.s3.bucket", "tvdb-images-originals"),
                ("store.s3.variants_bucket", "tvdb-images-thumbnails"),
                ("store.s3.endpoint", "http://localhost:9000"),
                ("store.s3.addressing", "path"),
                ("store.public_url", "https://cdn.example.com"),
                ("images.quality", "85"),
                ("limits.artwork_bytes", "10 MiB"),
            ],
        ),
        (
            "fly",
            &[],
            "s3",
            &[("store.s3.bucket", "your-email-scheduler-bucket"), ("store.s3.region", "auto")],
        ),
        ("switched", &[], "local", &[("store.root", "./larder-data/media"), ("store.s3.bucket", "unset")]),
        (
            "switched",
            &[("USE_LOCAL_STORAGE", "false")],
            "s3",
            &[
                ("store.s3.profile", "aws"),
                ("store.s3.bucket", "customify-production"),
                ("store.s3.public_bucket", "true"),
                ("store.public_url", "https://d123abc.cloudfront.net"),
            ],
        ),
        (
            "three_stores",
            &[("MEDIA_STORAGE_BACKEND", "local")],
            "local",
            &[
                ("store.root", "/app/media"),
                ("delivery.media_path", "/media/"),
                ("limits.upload_bytes", "104857600"),
            ],
        ),
        (
            "three_stores",
            &[("MEDIA_STORAGE_BACKEND", "minio")],
            "s3",
            &[("store.s3.bucket", "tinybeans-media"), ("store.s3.endpoint", "http://minio:9000")],
        ),
        (
            "three_stores",
            &[("MEDIA_STORAGE_BACKEND", "s3")],
            "s3",
            &[
                ("store.s3.bucket", "your-bucket"),
                ("store.s3.region", "us-east-1"),
                ("store.s3.endpoint", "unset"),
            ],
        ),
    ];
    for (name, more, store, expected) in cases {
        let answer = json_of(&mut config(&block(name), more));
        assert_eq!(answer["store"]["backend"], *store, "{name} {more:?}: {answer}");
        for (setting, wanted) in *expected {
            assert_eq!(value(&answer, setting), *wanted, "{name} {more:?}: {setting}");
        }
        let text = answer.to_string();
        for (variable, secret) in block(name).iter().filter(|(variable, _)| variable.contains("SECRET")) {
            assert!(!text.contains(&format!("\"{secret}\"")), "{name}: {variable} is printed: {text}");
        }
    }
}

#[test]
fn a3_without_the_block_the_store_is_local() {
    let answer = json_of(&mut config(&[], &[]));
    assert_eq!(
        (&answer["store"]["backend"], &answer["notices"]),
        (&"local".into(), &Value::Array(Vec::new()))
    );
    let one = answer["settings"].as_array().unwrap().iter().find(|one| one["setting"] == "listen").unwrap();
    assert_eq!((&one["source"], &one["from"]), (&"default".into(), &Value::Null));
}

/// A block, what is set besides, and the names that a refusal has to hold.
type Contradiction<'a> = (&'a str, &'a [(&'a str, &'a str)], [&'a str; 2]);

#[test]
fn a3_names_that_contradict_each_other_are_refused_by_both() {
    let cases: &[Contradiction<'_>] = &[
        ("tigris_by_django", &[("AWS_REGION", "ams")], ["AWS_S3_REGION_NAME (fra)", "AWS_REGION (ams)"]),
        (
            "image_proxy",
            &[("CLOUDFRONT_DOMAIN", "d123abc.cloudfront.net")],
            ["CDN_BASE_URL", "CLOUDFRONT_DOMAIN (https://d123abc.cloudfront.net)"],
        ),
        ("fly", &[("AWS_STORAGE_BUCKET_NAME", "other")], ["AWS_STORAGE_BUCKET_NAME (other)", "BUCKET_NAME"]),
        (
            "switched",
            &[("USE_LOCAL_STORAGE", "false"), ("S3_SECRET_ACCESS_KEY", "hunter2")],
            ["AWS_SECRET_ACCESS_KEY", "S3_SECRET_ACCESS_KEY"],
        ),
        ("three_stores", &[], ["AWS_STORAGE_BUCKET_NAME", "MINIO_BUCKET_NAME"]),
    ];
    for (name, more, both) in cases {
        let (code, error) = failure_of(&mut config(&block(name), more));
        assert_eq!(code, 2, "{name}: {error}");
        for part in both {
            assert!(error.contains(part), "{name}: {error}");
        }
        assert!(error.contains("disagree") && error.contains("remedy: unset one of them"), "{name}: {error}");
        assert!(!error.contains("hunter2") && !error.contains("your_secret_key_here"), "{name}: {error}");
    }
}
