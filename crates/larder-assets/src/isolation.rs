//! Trying a suspicious file in a process of its own.
//!
//! A file on which a worker died may have killed it. Before it is decoded again, a child of the same
//! program does the same work within limits of the operating system. If the child dies, the file is
//! the cause and is refused; if it lives, the worker's death had another cause.

use std::{
    io::{BufRead, BufReader, Read},
    process::{ExitCode, Stdio},
    time::Duration,
};

use bytes::Bytes;
use larder_core::{Code, Fault, limits::ImageLimits};
use larder_image::{Deadline, Recipe, Source};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{fail_point, larder::Larder};

/// The argument with which the program is called as a child.
pub const ARGUMENT: &str = "isolated-trial";

/// Address space of the child beyond its decode budget: the program itself, its threads' stacks and
/// the encoders.
const ADDRESS_SPACE_BYTES: u64 = 2 << 30;

/// Time of the whole trial beyond that of the decode: rendering and encoding all variants.
const EXTRA_TIME: Duration = Duration::from_secs(60);

/// What the child is told, on the first line of its input; the file's bytes follow.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    limits: ImageLimits,
    recipes: Vec<Recipe>,
}

impl Larder {
    /// Has a child process do what is about to be done with these bytes.
    ///
    /// # Errors
    /// [`Code::ProcessingCrashed`] if the child was ended by a signal or took too long. A child that
    /// refuses the file says nothing here: the decode that follows gives the reason.
    pub(crate) async fn try_in_isolation(
        &self,
        bytes: &Bytes,
        limits: &ImageLimits,
        recipes: &[Recipe],
    ) -> Result<(), Fault> {
        let Some(program) = &self.settings().isolator else { return Ok(()) };
        let order = Order { limits: *limits, recipes: recipes.to_vec() };
        let mut order = serde_json::to_vec(&order)
            .map_err(|error| Fault::internal("a trial's order does not print").caused_by(error))?;
        order.push(b'\n');
        let failed = |error: std::io::Error| {
            Fault::new(Code::BackendUnavailable, "no child process could be started").caused_by(error)
        };
        let mut child = Command::new(program)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let mut input = child.stdin.take().ok_or_else(|| Fault::internal("the child has no input"))?;
        let bytes = bytes.clone();
        let feed = tokio::spawn(async move {
            // A child that refuses or dies early closes its end; its exit says the rest.
            let _ = input.write_all(&order).await;
            let _ = input.write_all(&bytes).await;
        });
        let ended = tokio::time::timeout(limits.decode_time_max() + EXTRA_TIME, child.wait()).await;
        feed.abort();
        match ended {
            Ok(Ok(status)) if status.code().is_some() => Ok(()),
            Ok(Ok(status)) => Err(crashed(&format!("a process that tried it was ended by {status}"))),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(crashed("a process that tried it took too long")),
        }
    }
}

fn crashed(how: &str) -> Fault {
    Fault::new(Code::ProcessingCrashed, format!("the file ends the process that decodes it: {how}"))
        .remedy("save the picture again with another program; keep the file for a report")
}

/// The child's side: reads an order and a file from standard input and does the work, with nothing to
/// show for it. The exit code is 0 if all went well and 1 if the file was refused.
pub fn run_trial() -> ExitCode {
    match trial() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn trial() -> Result<(), Box<dyn std::error::Error>> {
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    let Order { limits, recipes } = serde_json::from_slice(&line)?;
    confine(&limits)?;
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    fail_point::reached("decode.begun");
    let deadline = || Deadline::after(limits.decode_time_max());
    let decoded = Source::open(&bytes, &limits)?.decode(&recipes, deadline())?;
    decoded.describe()?;
    decoded.render(&recipes, deadline());
    Ok(())
}

/// Limits by the operating system: a decoder that runs wild ends this process and no other.
fn confine(limits: &ImageLimits) -> std::io::Result<()> {
    let address_space = ADDRESS_SPACE_BYTES + limits.decode_memory_bytes;
    let seconds = (limits.decode_time_max() + EXTRA_TIME).as_secs();
    for (resource, maximum) in [(Resource::As, address_space), (Resource::Cpu, seconds), (Resource::Core, 0)]
    {
        setrlimit(resource, Rlimit { current: Some(maximum), maximum: Some(maximum) })?;
    }
    Ok(())
}
