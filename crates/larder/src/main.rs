//! `larder`: media storage for applications, as one program.
//!
//! This crate is the command line, the configuration and the wiring; what the product does lies in
//! `larder-assets`, what answers HTTP in `larder-http`, what runs jobs in `larder-worker`.

mod backend;
mod cli;
mod commands;
mod config;
mod failure;
mod output;
mod service;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Colour},
    failure::{Exit, Failure},
    output::Output,
};

fn main() -> ExitCode {
    service::allocator::tune();
    // A child that tries a suspicious file: no command of people's, so not of the parser's either.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == larder_assets::isolation::ARGUMENT) {
        return larder_assets::isolation::run_trial();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => return refuse(&refusal),
    };
    let output = Output::new(cli.shared.json, cli.shared.color);
    match commands::run(cli, output) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

/// Help and version are answers; everything else is a usage error.
fn refuse(refusal: &clap::Error) -> ExitCode {
    let as_json = std::env::args_os().any(|argument| argument == "--json");
    if !refusal.use_stderr() {
        // A reader that has gone has seen enough of the help.
        let _ = refusal.print();
        return Exit::Done.into();
    }
    if as_json {
        let text = refusal.render().to_string();
        let cause = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Output::new(true, Colour::Never).failure(&Failure::usage(cause, "see larder --help"));
    } else {
        let _ = refusal.print();
    }
    Exit::Usage.into()
}
