//! Runs all tests of the workspace.

use anyhow::{Result, bail};

use crate::{
    Task,
    step::{cargo, run},
    tools,
};

pub const TASK: Task = Task {
    name: "test",
    arguments: "[filter, options of nextest]",
    doc: "all tests, with what they need installed",
    run: test,
};

/// Tests on PostgreSQL share one server, which the test kit starts with the first of them and ends
/// after the last.
pub fn test(arguments: &[String]) -> Result<()> {
    tools::provide()?;
    // The runner comes last, so that its summary is what one sees at the end.
    let examples = if arguments.is_empty() {
        run("examples in the documentation", &mut cargo(["test", "--doc", "--workspace", "--quiet"]))
    } else {
        Ok(())
    };
    let tests = if tools::provide_nextest() {
        let mut nextest = cargo(["nextest", "run", "--workspace"]);
        run("tests", nextest.args(arguments))
    } else {
        let mut plain = cargo(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
        run("tests", plain.args(arguments))
    };
    match (examples, tests) {
        (Err(one), Err(two)) => bail!("{one:#}; and {two:#}"),
        (examples, tests) => examples.and(tests),
    }
}
