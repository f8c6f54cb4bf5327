//! `cargo xtask`: what a developer and continuous integration run, and nothing that a user needs.
//!
//! One task, one file, and one line in [`TASKS`].

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it speaks to the person at the terminal")]

mod bench;
mod ci;
mod fuzz;
mod step;
mod test;
mod tools;

use std::process::ExitCode;

/// Something that `cargo xtask` can do.
struct Task {
    name: &'static str,
    /// The arguments it takes, as in a usage line.
    arguments: &'static str,
    doc: &'static str,
    run: fn(&[String]) -> anyhow::Result<()>,
}

const TASKS: &[Task] = &[test::TASK, ci::TASK, fuzz::TASK, bench::TASK];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, arguments)) = arguments.split_first() else {
        println!("{}", usage());
        return ExitCode::SUCCESS;
    };
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("There is no task \"{name}\".\n\n{}", usage());
        return ExitCode::from(2);
    };
    match (task.run)(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let lines = TASKS.iter().map(|task| {
        let call = format!("cargo xtask {} {}", task.name, task.arguments);
        format!("  {call:<48}{}", task.doc)
    });
    let lines: Vec<_> = lines.collect();
    format!("Tasks:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_listed_once() {
        for task in TASKS {
            assert_eq!(TASKS.iter().filter(|other| other.name == task.name).count(), 1);
            assert!(usage().contains(task.doc));
        }
    }
}
