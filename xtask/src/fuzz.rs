//! Fuzzes the parsers of strangers' bytes, with the stable compiler.
//!
//! Each file in `fuzz/targets` is a target. What a run learns is kept in `fuzz/corpus/<target>`,
//! which the tests replay; what it finds, in `fuzz/artifacts/<target>`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    Task,
    step::{cargo, root, run},
};

pub const TASK: Task = Task {
    name: "fuzz",
    arguments: "[target] [--seconds N]",
    doc: "a minute, or N seconds, on one parser or on each",
    run: fuzz,
};

/// What `cargo fuzz` passes on nightly, as far as stable knows it: coverage, no sanitiser.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg fuzzing",
];

const SECONDS_DEFAULT: u64 = 60;

/// Beyond these, an input is a finding: a decoder must refuse it instead.
const INPUT_SECONDS_MAX: u64 = 20;
/// The targets decode with a budget of 64 MiB, but the fuzzer's own tables come on top, and the holes in the
/// heap that a few bytes lost with each AVIF decode (in re_rav1d) keep open, and both grow; what one input may
/// take is bounded by its allocations.
const MEMORY_MB_MAX: u64 = 2_048;
/// One allocation; `fuzz/src/lib.rs` has the same bound for what C libraries do not ask for.
const ALLOCATION_MB_MAX: u64 = 256;

fn fuzz(arguments: &[String]) -> Result<()> {
    let Options { target, seconds } = Options::parse(arguments)?;
    let folder = root().join("fuzz");
    let targets = targets(&folder)?;
    let chosen: Vec<_> = match &target {
        Some(target) if !targets.contains(target) => {
            bail!("there is no target \"{target}\"; there are {}", targets.join(", "))
        }
        Some(target) => vec![target],
        None => targets.iter().collect(),
    };
    let host = host()?;
    for target in chosen {
        let (corpus, artifacts) = (folder.join("corpus").join(target), folder.join("artifacts").join(target));
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&artifacts)?;
        // Named, the compile target keeps the flags from build scripts.
        let mut command = cargo(["run", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml"]);
        command
            .args(["--target", &host, "--bin", target, "--"])
            .arg(corpus)
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
            .arg(format!("-malloc_limit_mb={ALLOCATION_MB_MAX}"))
            .arg("-print_final_stats=1")
            .env("RUSTFLAGS", FLAGS.join(" "));
        if let Some(built) = std::env::var_os("CARGO_TARGET_DIR") {
            // Other flags would make each build of the one throw away the other's.
            command.env("CARGO_TARGET_DIR", Path::new(&built).join("fuzz"));
        }
        run(&format!("fuzz {target}"), &mut command)?;
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    target: Option<String>,
    seconds: u64,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self { target: None, seconds: SECONDS_DEFAULT };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--seconds" => {
                    let number = rest.next().context("--seconds needs a number")?;
                    options.seconds = number.parse().with_context(|| format!("--seconds {number}"))?;
                }
                name if !name.starts_with('-') && options.target.is_none() => {
                    options.target = Some(name.to_owned());
                }
                other => bail!("\"{other}\" is not understood; usage: {}", TASK.arguments),
            }
        }
        Ok(options)
    }
}

/// The names of the files in `fuzz/targets`.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let folder = folder.join("targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if let (Some(stem), Some("rs")) = (path.file_stem(), path.extension().and_then(|text| text.to_str()))
        {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The triple that this compiler compiles for by default.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc -vV")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options> {
        Options::parse(&arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn target_and_seconds_come_in_any_order() {
        let expected = Options { target: Some("gif".to_owned()), seconds: 5 };
        assert_eq!(parse(&["gif", "--seconds", "5"]).unwrap(), expected);
        assert_eq!(parse(&["--seconds", "5", "gif"]).unwrap(), expected);
        assert_eq!(parse(&[]).unwrap(), Options { target: None, seconds: SECONDS_DEFAULT });
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for arguments in [&["--seconds"][..], &["--seconds", "many"], &["one", "two"], &["--minutes"]] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn the_host_is_a_triple() {
        assert!(host().unwrap().split('-').count() >= 3);
    }
}
