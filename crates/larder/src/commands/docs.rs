//! `larder docs`: the pages of the documentation that the program writes itself.

use std::path::Path;

use super::Context;
use crate::{
    cli::{Docs, command_line_page},
    config::configuration_page,
    failure::{Exit, Failure},
};
use larder_core::Code;

/// Writes or checks them.
pub fn run(context: &Context, arguments: &Docs) -> Result<Exit, Failure> {
    let pages = [("configuration.md", configuration_page()), ("cli.md", command_line_page())];
    for (name, text) in pages {
        let path = arguments.dir.join(name);
        if arguments.write {
            std::fs::write(&path, &text).map_err(|error| Failure::file(&path, "written", error))?;
            context.output.line(format!("wrote {}", path.display()))?;
        } else {
            check(&path, &text)?;
        }
    }
    Ok(Exit::Done)
}

fn check(path: &Path, text: &str) -> Result<(), Failure> {
    let found = std::fs::read_to_string(path).map_err(|error| Failure::file(path, "read", error))?;
    if found == text {
        return Ok(());
    }
    let line = found.lines().zip(text.lines()).take_while(|(found, wanted)| found == wanted).count() + 1;
    Err(Failure::new(
        Code::Conflict,
        format!("{} differs from what the program says, first in line {line}", path.display()),
        "run `larder docs --write` and commit the result",
    ))
}
