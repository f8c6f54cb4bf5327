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
    tools::provide(tools::FOR_TESTS)?;
    tools::provide_moto()?;
    // The runner comes last, so that its summary is what one sees at the end.
    let examples = if arguments.is_empty() {
        run("examples in the documentation", &mut cargo(["test", "--doc", "--workspace", "--quiet"]))
    } else {
        Ok(())
    };
    let tests = if tools::provide_nextest() {
        run("tests", cargo(["nextest", "run"]).args(of_all(arguments)).args(arguments))
    } else {
        let mut plain = cargo(["test", "--lib", "--bins", "--tests", "--no-fail-fast"]);
        run("tests", plain.args(of_all(arguments)).args(arguments))
    };
    match (examples, tests) {
        (Err(one), Err(two)) => bail!("{one:#}; and {two:#}"),
        (examples, tests) => examples.and(tests),
    }
}

/// Asks for all crates, unless the caller names one.
fn of_all(arguments: &[String]) -> Option<&'static str> {
    let names_one = |argument: &String| argument.starts_with("-p") || argument.starts_with("--package");
    (!arguments.iter().any(names_one)).then_some("--workspace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_crate_is_tested_alone() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of_all(&words("-p larder-store")), None);
        assert_eq!(of_all(&words("--package=larder-store")), None);
        assert_eq!(of_all(&words("uploads")), Some("--workspace"));
    }
}
