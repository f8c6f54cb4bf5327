//! What the tests need beside Rust and gcc: found, or installed.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::step::{answers, cargo, run};

/// A program that tests start, and the Debian package it comes in.
struct Tool {
    needed_for: &'static str,
    package: &'static str,
    is_there: fn() -> bool,
}

const TOOLS: &[Tool] = &[
    Tool {
        needed_for: "the tests of the catalogue on PostgreSQL",
        package: "postgresql-15",
        is_there: || has_postgres(),
    },
    Tool {
        needed_for: "the test that traces the syncs of an upload",
        package: "strace",
        is_there: || answers(&mut Command::new("strace")),
    },
];

/// Sees to it that every tool is there: installs what is missing if it may, else says what to
/// install. A test that can't run is a failure, so there is no way around.
pub fn provide() -> Result<()> {
    let missing: Vec<_> = TOOLS.iter().filter(|tool| !(tool.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    if !is_root() || !answers(&mut Command::new("apt-get")) {
        let needs: Vec<_> =
            missing.iter().map(|tool| format!("{} (for {})", tool.package, tool.needed_for)).collect();
        bail!(
            "install {}, for instance with: sudo apt-get install {}",
            needs.join(" and "),
            packages.join(" ")
        );
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        command
    };
    run("list of packages", &mut apt(&["update", "--quiet"]))?;
    let mut install = apt(&["install", "--yes", "--quiet", "--no-install-recommends"]);
    run("packages", install.args(packages))
}

/// Whether the runner of tests is there or could be installed; without it, `cargo test` does.
pub fn provide_nextest() -> bool {
    answers(&mut cargo(["nextest"]))
        || run("cargo-nextest", &mut cargo(["install", "cargo-nextest", "--locked"])).is_ok()
}

/// Whether PostgreSQL's server is there, where the starter in the test kit looks: on the path or
/// where Debian puts it.
fn has_postgres() -> bool {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let by_debian = versions.map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(by_debian)
        .any(|folder| ["postgres", "initdb", "createdb"].iter().all(|name| folder.join(name).is_file()))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|own| own.uid() == 0)
}
