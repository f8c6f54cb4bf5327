//! `larder version`.

use serde_json::json;

use super::Context;
use crate::failure::{Exit, Failure};

/// Prints version and target.
pub fn run(context: &Context) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    context.output.answer(&json!({ "version": version, "target": target }), |output| {
        output.line(format!("larder {version} ({target})"))
    })?;
    Ok(Exit::Done)
}
