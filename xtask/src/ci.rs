//! Everything that must hold before a change is taken.

use std::process::Command;

use anyhow::Result;

use crate::{
    Task,
    step::{answers, cargo, run},
    test, tools,
};

pub const TASK: Task = Task {
    name: "ci",
    arguments: "",
    doc: "format, lints, docs, generated files, licences, AVIF by libaom, all tests",
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
    libaom()?;
    test::test(&[])
}

/// The lints and tests of AVIF in a build that is not the usual one. Cargo keeps what it builds with other
/// features beside the rest, so neither throws the other's away.
fn libaom() -> Result<()> {
    tools::provide(tools::FOR_LIBAOM)?;
    let crate_and_feature = ["--package", "larder-image", "--features", "libaom"];
    let mut lints = cargo(["clippy", "--all-targets", "--quiet"]);
    run("lints with libaom", lints.args(crate_and_feature).args(["--", "--deny", "warnings"]))?;
    let arguments = crate_and_feature.into_iter().chain(["avif"]).map(str::to_owned);
    test::test(&arguments.collect::<Vec<_>>())
}
