//! Measures what `docs/benchmarks.md` reports.
//!
//! The measuring itself lives in the crate `larder-bench`, which this builds as a release: its
//! dependencies are nothing that every call of `cargo xtask` should wait for.

use anyhow::Result;

use crate::{
    Task,
    step::{cargo, run},
};

pub const TASK: Task = Task {
    name: "bench",
    arguments: "[image|delivery|intake|start|s3|cache|migrate|db] [--pairs N]",
    doc: "the figures of docs/benchmarks.md, paired against the peers",
    run: bench,
};

fn bench(arguments: &[String]) -> Result<()> {
    // The server that is measured; the benches look for it beside their own program.
    run("larder", &mut cargo(["build", "--release", "--package", "larder"]))?;
    let mut command = cargo(["run", "--release", "--package", "larder-bench", "--"]);
    run("bench", command.args(arguments))
}
