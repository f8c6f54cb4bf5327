//! The one place that prints: answers on standard output, everything else on standard error.

mod following;
mod progress;
mod table;

use std::io::{self, IsTerminal, Write};

use owo_colors::{OwoColorize, Style};
use serde::Serialize;
use serde_json::Value;

pub use self::{following::Following, progress::Progress, table::Table};
use crate::{cli::Colour, failure::Failure};

/// Where and how a command answers.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    colour_out: bool,
    colour_err: bool,
}

impl Output {
    /// Answers in the form that the flags and the terminal ask for.
    pub fn new(json: bool, colour: Colour) -> Self {
        let wanted = |terminal: bool| match colour {
            Colour::Always => true,
            Colour::Never => false,
            // https://no-color.org: any value but the empty one switches colours off.
            Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        Self {
            json,
            colour_out: wanted(io::stdout().is_terminal()),
            colour_err: wanted(io::stderr().is_terminal()),
        }
    }

    /// Whether answers are JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A line of the answer for people; nothing with `--json`.
    pub fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        if !self.json {
            writeln!(io::stdout().lock(), "{}", text.as_ref())?;
        }
        Ok(())
    }

    /// The answer, or one of a stream of them, with `--json`; nothing for people.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        if self.json {
            let mut line = serde_json::to_vec(value).map_err(io::Error::from)?;
            line.push(b'\n');
            io::stdout().lock().write_all(&line)?;
        }
        Ok(())
    }

    /// The whole answer in both forms: `value` with `--json`, else what `people` prints.
    pub fn answer(
        &self,
        value: &Value,
        people: impl FnOnce(&Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.json { self.json(value) } else { people(self) }
    }

    /// A table with these column heads.
    pub fn table<const N: usize>(&self, heads: [&str; N]) -> Table {
        Table::new(heads, self.colour_out)
    }

    /// Prints a table, or `none` where it has no rows.
    pub fn print_table(&self, table: &Table, none: &str) -> Result<(), Failure> {
        self.line(if table.is_empty() { none.to_owned() } else { table.to_string() })
    }

    /// Something worth saying that is no answer; nothing with `--json`.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.json {
            // Nobody can be told that standard error is closed.
            let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
        }
    }

    /// An event as JSON on standard error, where standard output is another program's; nothing for people.
    pub fn json_note(&self, value: &impl Serialize) {
        if self.json
            && let Ok(line) = serde_json::to_string(value)
        {
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }

    /// A failure: cause, technical causes, remedy.
    pub fn failure(&self, failure: &Failure) {
        if failure.pipe_closed {
            return;
        }
        let mut text = String::new();
        if self.json {
            text = failure.to_json().to_string();
        } else {
            let (name, dim) = if self.colour_err {
                (Style::new().red().bold(), Style::new().dimmed())
            } else {
                Default::default()
            };
            text += &format!("{} {}", "larder:".style(name), failure.cause);
            for cause in &failure.because {
                text += &format!("\n  {} {cause}", "because:".style(dim));
            }
            if !failure.remedy.is_empty() {
                text += &format!("\n  {} {}", "remedy:".style(dim), failure.remedy);
            }
        }
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Progress of `total` things of the kind `what`, shown on a terminal only.
    pub fn progress(&self, total: u64, what: &'static str) -> Progress {
        Progress::new(!self.json && io::stderr().is_terminal(), total, what)
    }

    /// Asks a yes-or-no question. No terminal, no yes. The answer is waited for beside the runtime,
    /// so that a signal ends the wait.
    pub async fn confirm(&self, question: &str) -> bool {
        if self.json || !io::stdin().is_terminal() {
            return false;
        }
        let _ = write!(io::stderr().lock(), "{question} [y/N] ");
        let answer = tokio::task::spawn_blocking(|| {
            let mut answer = String::new();
            io::stdin().read_line(&mut answer).map(|_| answer)
        });
        matches!(answer.await, Ok(Ok(answer)) if matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}
