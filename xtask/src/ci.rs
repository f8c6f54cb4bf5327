//! Everything that must hold before a change is taken.

use std::process::Command;

use anyhow::Result;

use crate::{
    Task,
    step::{answers, cargo, run},
    test,
};

pub const TASK: Task = Task {
    name: "ci",
    arguments: "",
    doc: "format, lints, docs, generated files, licences, all tests",
    run: ci,
};

/// Files that the program writes from its own code; each call fails if one differs.
const GENERATED: &[(&str, &[&str])] = &[(
    "docs/configuration.md and docs/cli.md",
    &["run", "--quiet", "--package", "larder", "--", "docs", "--check"],
)];

fn ci(_arguments: &[String]) -> Result<()> {
    run("format", &mut cargo(["fmt", "--all", "--check"]))?;
    run(
        "lints",
        &mut cargo(["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"]),
    )?;
    let mut docs = cargo(["doc", "--workspace", "--no-deps", "--quiet"]);
    run("docs", docs.env("RUSTDOCFLAGS", "--deny warnings"))?;
    for (files, command) in GENERATED {
        run(&format!("{files} say what the code says"), &mut cargo(command.iter().copied()))?;
    }
    if answers(&mut Command::new("cargo-deny")) {
        // The list of advisories comes from the network, and a new one must not fail an old commit.
        run("licences and sources", &mut cargo(["deny", "check", "bans", "licenses", "sources"]))?;
    }
    test::test(&[])
}
