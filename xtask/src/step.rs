//! Running other programs, one after the other, so that a person can follow.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};

/// The root of the repository.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// A call of the cargo that runs this, in the root of the repository.
pub fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command in sight of the person and fails if it fails.
pub fn run(name: &str, command: &mut Command) -> Result<()> {
    println!("\n=== {name}");
    let start = Instant::now();
    let status = command.status().with_context(|| format!("{name}: {} did not start", show(command)))?;
    if !status.success() {
        bail!("{name} failed ({status}): {}", show(command));
    }
    println!("=== {name}: good, {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// The command as one could type it.
fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Whether a program answers to `--version`.
pub fn answers(program: &mut Command) -> bool {
    program.arg("--version").output().is_ok_and(|output| output.status.success())
}
