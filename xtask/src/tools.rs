//! What tests need beside Rust and gcc: found, or installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::step::{answers, cargo, root, run};

/// A program, and the Debian packages it comes in: the first that the system has.
pub struct Tool {
    needed_for: &'static str,
    packages: &'static [&'static str],
    is_there: fn() -> bool,
}

/// What all tests start.
pub const FOR_TESTS: &[Tool] = &[
    Tool {
        needed_for: "the tests of the catalogue on PostgreSQL",
        // Other releases have other versions of it under the second name.
        packages: &["postgresql-15", "postgresql"],
        is_there: || has_postgres(),
    },
    Tool {
        needed_for: "the test that traces the syncs of an upload",
        packages: &["strace"],
        is_there: || answers(&mut Command::new("strace")),
    },
    Tool {
        needed_for: "the examples of the README",
        packages: &["curl"],
        is_there: || answers(&mut Command::new("curl")),
    },
    Tool {
        needed_for: "the examples of the page on databases",
        packages: &["sqlite3"],
        is_there: || answers(&mut Command::new("sqlite3")),
    },
    Tool {
        needed_for: "the S3 server of the tests (python3 -m venv)",
        packages: &["python3-venv"],
        is_there: || has_venv(),
    },
    Tool {
        needed_for: "the tests that stop a server (kill)",
        packages: &["procps"],
        is_there: || has_program("kill"),
    },
    Tool {
        needed_for: "the tests on folders that can't be written to (setpriv)",
        packages: &["util-linux"],
        is_there: || has_program("setpriv"),
    },
];

/// What builds libaom.
pub const FOR_LIBAOM: &[Tool] = &[
    Tool {
        needed_for: "building libaom",
        packages: &["cmake"],
        is_there: || answers(&mut Command::new("cmake")),
    },
    Tool {
        needed_for: "the assembler code of libaom",
        packages: &["nasm"],
        is_there: || answers(&mut Command::new("nasm")),
    },
];

/// Sees to it that every tool is there: installs what is missing if it may, else says what to
/// install. A test that can't run is a failure, so there is no way around.
pub fn provide(tools: &[Tool]) -> Result<()> {
    let missing: Vec<_> = tools.iter().filter(|tool| !(tool.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !answers(&mut Command::new("apt-get")) {
        let packages: Vec<_> = missing.iter().map(|tool| tool.package()).collect();
        let needs: Vec<_> =
            missing.iter().map(|tool| format!("{} (for {})", tool.package(), tool.needed_for)).collect();
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
    let packages: Vec<_> = missing.iter().map(|tool| tool.package()).collect();
    let mut install = apt(&["install", "--yes", "--quiet", "--no-install-recommends"]);
    run("packages", install.args(packages))
}

impl Tool {
    /// The package to install: the first that the lists of the system know, else the first.
    fn package(&self) -> &'static str {
        let is_known = |package: &&&str| {
            let show = Command::new("apt-cache").arg("show").arg(package).output();
            show.is_ok_and(|output| output.status.success())
        };
        self.packages.iter().find(is_known).unwrap_or(&self.packages[0])
    }
}

/// Whether a program lies on the path.
fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Whether the runner of tests is there or could be installed; without it, `cargo test` does.
pub fn provide_nextest() -> bool {
    answers(&mut cargo(["nextest"]))
        || run("cargo-nextest", &mut cargo(["install", "cargo-nextest", "--locked"])).is_ok()
}

/// The S3 server that tests speak to beside the one they are linked with.
const MOTO: &str = "moto[s3,server]==5.2.5";

/// Installs the S3 server beside what is built, where the test kit looks for it.
pub fn provide_moto() -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folder = target.join("tools/moto");
    // The version is part of the mark, so that another one replaces it.
    let mark = folder.join("installed");
    if std::env::var_os("LARDER_MOTO").is_some() || fs::read_to_string(&mark).is_ok_and(|text| text == MOTO) {
        return Ok(());
    }
    fs::create_dir_all(&folder)?;
    run("a folder for moto", Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run("moto", Command::new(folder.join("bin/pip")).args(["install", "--quiet", MOTO]))?;
    fs::write(mark, MOTO)?;
    Ok(())
}

/// Whether Python can make environments: Debian keeps what that needs in a package of its own.
fn has_venv() -> bool {
    let probe = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    probe.is_ok_and(|output| output.status.success())
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
