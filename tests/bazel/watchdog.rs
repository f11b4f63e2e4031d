//! A limit for waiting for a process.

use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// The time that a process may take for what a test waits for. A busy machine is slow, and a build takes minutes.
const LIMIT: Duration = Duration::from_mins(10);

/// Kills a process if this is not dropped in time, so that who waits for the process fails rather than waits for ever.
#[derive(Debug)]
pub(crate) struct Watchdog(#[expect(dead_code, reason = "dropping it is the message")] Sender<()>);

impl Watchdog {
    /// Begins to watch the process with this number.
    pub(crate) fn watch(pid: u32) -> Self {
        let (sender, dropped) = channel();
        drop(thread::spawn(move || {
            if dropped.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                drop(Command::new("kill").args(["-KILL", &pid.to_string()]).status());
            }
        }));
        Self(sender)
    }
}
