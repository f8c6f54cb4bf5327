//! A program that is run: started, sent what we are sent, ended.

use std::{
    ffi::OsString, io::IsTerminal, os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use crate::failure::{Exit, Failure};

/// Time for a program to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// A program that runs.
pub struct Program {
    child: Child,
    pid: Option<Pid>,
}

impl Program {
    /// Starts it, with our standard streams.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(command: &[OsString]) -> Result<Self, Failure> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| Failure::usage("no program is named", "name it after --"))?;
        let child = Command::new(program).args(arguments).kill_on_drop(true).spawn().map_err(|error| {
            Failure::usage(
                format!("{} can't be started: {error}", program.to_string_lossy()),
                "check its name and permissions",
            )
        })?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { child, pid })
    }

    /// Waits for its end, passing on the signals that this process gets.
    ///
    /// # Errors
    /// Signals can't be received, or it can't be waited for.
    pub async fn wait(&mut self) -> Result<ExitStatus, Failure> {
        let refused = |error| Failure::configuration(format!("signals can't be received: {error}"), "");
        let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(refused)?;
        let mut quit = signal(SignalKind::quit()).map_err(refused)?;
        let mut first = signal(SignalKind::user_defined1()).map_err(refused)?;
        let mut second = signal(SignalKind::user_defined2()).map_err(refused)?;
        // A terminal sends these to the program itself.
        let by_terminal = std::io::stdin().is_terminal();
        loop {
            let passed_on = tokio::select! {
                status = self.child.wait() => {
                    return status.map_err(|error| Failure::configuration(format!("the program can't be waited for: {error}"), ""));
                }
                _ = terminate.recv() => Some(Signal::TERM),
                _ = interrupt.recv() => (!by_terminal).then_some(Signal::INT),
                _ = quit.recv() => (!by_terminal).then_some(Signal::QUIT),
                _ = hangup.recv() => Some(Signal::HUP),
                _ = first.recv() => Some(Signal::USR1),
                _ = second.recv() => Some(Signal::USR2),
            };
            if let Some(passed_on) = passed_on {
                self.send(passed_on);
            }
        }
    }

    fn send(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            // It may have ended already.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it: SIGTERM, and SIGKILL if it takes its time.
    pub async fn end(&mut self) -> Option<ExitStatus> {
        self.send(Signal::TERM);
        match tokio::time::timeout(GRACE, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                let _ = self.child.kill().await;
                self.child.wait().await.ok()
            }
        }
    }
}

/// The exit code of a program, as shells have it: 128 and the signal if one ended it.
pub fn exit_of(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    match u8::try_from(code).unwrap_or(1) {
        0 => Exit::Done,
        code => Exit::Child(code),
    }
}
