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
    arguments: "[bench] [its options]",
    doc: "the figures of docs/benchmarks.md, paired against the peers",
    run: bench,
};

fn bench(arguments: &[String]) -> Result<()> {
    let mut command = cargo(["run", "--release", "--package", "larder-bench", "--"]);
    run("bench", command.args(arguments))
}
