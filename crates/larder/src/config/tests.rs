use std::io::Write;

use larder_assets::{BucketPolicy, Visibility};
use proptest::prelude::*;

use larder_image::{Format, OutputFormat};

use super::{sections::ImageFormat, *};

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut toml = tempfile::NamedTempFile::new().unwrap();
    toml.write_all(file.as_bytes()).unwrap();
    Config::load(Some(toml.path()), &environment(variables), &[])
}

fn policy(config: &Config, bucket: &str, present: Option<&BucketPolicy>) -> BucketPolicy {
    let name = bucket.parse().unwrap();
    config.policy_of(&name, &config.buckets[&name], present).unwrap()
}

fn cause(file: &str, variables: &[(&str, &str)]) -> String {
    let error = load(file, variables).unwrap_err();
    format!("{}\n{}", error.cause, error.remedy)
}

#[test]
fn without_configuration_everything_has_its_default() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.data_dir, PathBuf::from("./larder-data"));
    assert_eq!(config.store_root(), PathBuf::from("./larder-data/media"));
    assert_eq!(config.limits.upload_bytes.0, larder_core::limits::UPLOAD_BYTES_MAX);
    assert_eq!(
        config.limits.decode_memory.0,
        larder_core::limits::ImageLimits::default().decode_memory_bytes
    );
    assert!(config.origins.is_empty() && config.notices.is_empty());
    assert_eq!(config.store_reason(), "the default: no S3 store is configured");
}

#[test]
fn later_sources_win_over_earlier_ones() {
    let file =
        "listen = \"127.0.0.1:1\"\ndatabase_url = \"postgres://file/x\"\nsecret = \"0123456789abcdef\"";
    let config = load(file, &[("DATABASE_URL", "postgres://foreign/x")]).unwrap();
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.database_url.unwrap().expose(), "postgres://file/x");

    let config = load(file, &[("PORT", "2"), ("LARDER_DATABASE_URL", "postgres://own/x")]).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.database_url.unwrap().expose(), "postgres://own/x");

    let config = load(file, &[("PORT", "2"), ("LARDER_LISTEN", "127.0.0.1:3")]).unwrap();
    assert_eq!(config.listen.port(), 3);

    let flag = FlagValue { flag: "--listen", path: "listen", value: Raw::text("127.0.0.1:4") };
    let config = Config::load(None, &environment(&[("LARDER_LISTEN", "127.0.0.1:3")]), &[flag]).unwrap();
    assert_eq!(config.listen.port(), 4);
    assert_eq!(config.origins["listen"].to_string(), "--listen");
}

#[test]
fn an_unknown_key_of_the_file_has_a_caret_and_a_suggestion() {
    let text = cause("\n[log]\nlevl = \"debug\"\n", &[]);
    assert!(text.contains(":3:1: there is no setting log.levl"), "{text}");
    assert!(text.contains("3 | levl = \"debug\"\n  | ^^^^"), "{text}");
    assert!(text.contains("did you mean log.level?"), "{text}");
}

#[test]
fn a_wrong_value_of_the_file_has_a_caret_and_says_what_is_expected() {
    let text = cause("[limits]\nupload_bytes = \"ten\"\n", &[]);
    assert!(text.contains(":2:16:") && text.contains("^^^^^"), "{text}");
    assert!(text.contains("limits.upload_bytes expects"), "{text}");
}

#[test]
fn a_mistake_inside_a_bucket_has_a_caret() {
    let text = cause("[buckets.media]\nvisibilty = \"public\"\n", &[]);
    assert!(text.contains(":2:1:") && text.contains("visibilty") && text.contains("^^^^^^^^^"), "{text}");
    let text = cause("[buckets.API]\n", &[]);
    assert!(text.contains(":1:10:"), "{text}");
    let text = cause("[presets]\nhero = \"resize:sideways:1x1\"\n", &[]);
    assert!(text.contains(":2:8:") && text.contains("hero"), "{text}");
}

#[test]
fn a_file_that_is_no_toml_has_a_caret() {
    let text = cause("listen = \n", &[]);
    assert!(text.contains(":1:") && text.contains('^'), "{text}");
}

#[test]
fn a_named_file_must_exist() {
    let error = Config::load(Some(Path::new("/nowhere/larder.toml")), &Environment::new(), &[]).unwrap_err();
    assert!(error.cause.contains("/nowhere/larder.toml"));
}

#[test]
fn an_unknown_variable_is_named_with_a_suggestion() {
    let text = cause("", &[("LARDER_LOG__LEVLE", "debug")]);
    assert!(text.contains("LARDER_LOG__LEVLE is no setting"), "{text}");
    assert!(text.contains("did you mean LARDER_LOG__LEVEL?"), "{text}");
}

#[test]
fn a_misspelt_variable_of_the_command_line_has_a_suggestion() {
    assert!(cause("", &[("LARDER_SERVR", "x")]).contains("did you mean LARDER_SERVER?"));
    assert!(cause("", &[("LARDER_KYE", "x")]).contains("did you mean LARDER_KEY?"));
}

#[test]
fn a_wrong_value_of_a_variable_names_the_variable() {
    let text = cause("", &[("PORT", "http")]);
    assert!(text.starts_with("PORT: "), "{text}");
    let text = cause("", &[("LARDER_LIMITS__DECODE_TIME", "soon")]);
    assert!(text.starts_with("LARDER_LIMITS__DECODE_TIME: "), "{text}");
}

#[test]
fn service_links_of_an_orchestrator_are_no_settings() {
    let links = [
        ("LARDER_SERVICE_HOST", "10.0.0.1"),
        ("LARDER_PORT", "tcp://10.0.0.1:80"),
        ("LARDER_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(load("", &links).is_ok());
}

#[test]
fn the_names_of_the_seeds_shape_pictures_and_limits() {
    let config = load(
        "",
        &[
            ("IMAGE_FORMAT", "jpg"),
            ("IMAGE_QUALITY", "70"),
            ("ENABLE_IMAGE_OPTIMIZATION", "false"),
            ("MAX_IMAGE_FILE_SIZE_MB", "3"),
            ("MAX_UPLOAD_SIZE", "1000"),
        ],
    )
    .unwrap();
    assert_eq!(config.images.format, Some(ImageFormat(OutputFormat::In(Format::Jpeg))));
    assert_eq!(config.images.quality, Some(70));
    assert!(!config.images.optimize);
    assert_eq!(config.limits.artwork_bytes.0, 3 * 1_048_576);
    assert_eq!(config.limits.upload_bytes.0, 1_000);
    assert!(cause("", &[("IMAGE_QUALITY", "0")]).contains("IMAGE_QUALITY"));
}

#[test]
fn another_database_is_refused_without_printing_its_password() {
    let text = cause("", &[("DATABASE_URL", "mysql://u:hunter2@db/x")]);
    assert!(text.contains("DATABASE_URL begins with \"mysql:\"") && !text.contains("hunter2"), "{text}");
    let config = load("", &[("DATABASE_URL", "mysql://db/x"), ("LARDER_DATABASE_URL", "sqlite:")]).unwrap();
    assert!(config.database_label().starts_with("SQLite"));
}

#[test]
fn postgresql_needs_the_secret_from_outside() {
    let url = ("LARDER_DATABASE_URL", "postgres://u:hunter2@db:5432/x");
    assert!(cause("", &[url]).contains("LARDER_SECRET"));
    let config = load("", &[url, ("LARDER_SECRET", "0123456789abcdef")]).unwrap();
    assert_eq!(config.database_label(), "PostgreSQL postgres://db:5432/x");
    let printed = format!("{config:?}");
    assert!(!printed.contains("hunter2") && !printed.contains("0123456789abcdef"), "{printed}");
    assert!(cause("", &[("LARDER_ADMIN_KEY", "short")]).contains("LARDER_ADMIN_KEY"));
}

#[test]
fn buckets_and_presets_come_from_file_and_environment() {
    let file = "[buckets.media]\npresets = [\"keep\"]\nmax_bytes = \"1 MiB\"\n[presets]\nhero = \"resize:inside:9x9\"";
    let variables = [
        ("LARDER_BUCKETS__MEDIA__VISIBILITY", "public"),
        ("LARDER_BUCKETS__MEDIA__CORS__ORIGINS", "[\"https://a.example\"]"),
        ("LARDER_BUCKETS__OTHER__MAX_BYTES", "5"),
    ];
    let config = load(file, &variables).unwrap();
    let media = policy(&config, "media", None);
    assert_eq!(media.visibility, Visibility::Public);
    assert_eq!(media.cors.origins, ["https://a.example"]);
    assert_eq!((media.max_bytes.0, media.presets.as_slice()), (1_048_576, &["keep".to_owned()][..]));
    assert_eq!(policy(&config, "other", None).max_bytes.0, 5);
    assert!(config.presets.contains_key("hero"));
    let text = cause("", &[("LARDER_BUCKETS__MEDIA__VISIBILTY", "public")]);
    assert!(text.contains("LARDER_BUCKETS__MEDIA__VISIBILTY") && text.contains("visibilty"), "{text}");
}

#[test]
fn what_is_not_said_of_a_shipped_bucket_stays_as_it_is_shipped() {
    let by_file = load("[buckets.artwork]\nvisibility = \"public\"", &[]).unwrap();
    let by_variable = load("", &[("LARDER_BUCKETS__ARTWORK__VISIBILITY", "public")]).unwrap();
    for config in [by_file, by_variable] {
        let artwork = policy(&config, "artwork", None);
        assert_eq!(artwork.visibility, Visibility::Public);
        assert_eq!(artwork.presets, ["artwork"]);
        assert_eq!(artwork.max_bytes.0, larder_core::limits::ARTWORK_BYTES_MAX);
    }
    let file = "[limits]\nartwork_bytes = 7\n[buckets.artwork]\nvisibility = \"public\"";
    assert_eq!(policy(&load(file, &[]).unwrap(), "artwork", None).max_bytes.0, 7);
    let config = load(&format!("{file}\nmax_bytes = 9\npresets = []"), &[]).unwrap();
    let artwork = policy(&config, "artwork", None);
    assert_eq!((artwork.max_bytes.0, artwork.presets.len()), (9, 0));
}

#[test]
fn a_field_of_the_environment_leaves_the_others_of_the_catalogue() {
    let present = BucketPolicy { presets: vec!["keep".into()], deduplicate: true, ..BucketPolicy::default() };
    let one_field = [("LARDER_BUCKETS__MEDIA__CORS__CREDENTIALS", "true")];
    let media = policy(&load("", &one_field).unwrap(), "media", Some(&present));
    assert!(media.cors.credentials && media.deduplicate && media.presets == ["keep"]);
    let media = policy(&load("[buckets.media]\n", &one_field).unwrap(), "media", Some(&present));
    assert!(media.cors.credentials && !media.deduplicate && media.presets == ["artwork"], "the file wins");
}

#[test]
fn a_queue_that_is_not_there_is_refused_and_those_that_are_stand_in_the_help() {
    let text = cause("", &[("LARDER_WORKER__QUEUES", "intke")]);
    assert!(text.contains("no queue \"intke\"") && text.contains("intake and maintenance"), "{text}");
    let flag = FlagValue { flag: "--queues", path: "worker.queues", value: Raw::List(vec!["x".into()]) };
    assert!(Config::load(None, &Environment::new(), &[flag]).unwrap_err().cause.starts_with("--queues: "));
    for queue in larder_assets::jobs::QUEUES {
        assert!(Setting::at("worker.queues").doc.contains(&format!("`{queue}`")));
        assert!(crate::cli::command_line_page().contains(queue));
    }
}

#[test]
fn the_table_is_sound() {
    let mut names: Vec<String> = Vec::new();
    for setting in settings::all() {
        assert!(setting.doc.ends_with('.'), "{}: the sentence has no end", setting.path);
        if let Some(default) = setting.default {
            let mut config = Config::with_defaults();
            assert_eq!(setting.set(&mut config, &Raw::text(default)), Ok(()), "{}", setting.path);
        }
        names.push(setting.variable());
        names.extend(setting.aliases.iter().map(|alias| alias.name.to_owned()));
    }
    // A path and a whole URL are two things.
    assert_eq!(names.iter().filter(|name| *name == "MEDIA_URL").count(), 2);
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count - 1, "a name occurs twice");
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(text in "[a-z\\[\\]=\"\\n. 0-9ü{}]{0,80}") {
        let mut config = Config::with_defaults();
        let _ = file::apply(&mut config, Path::new("x"), &text);
    }
}
