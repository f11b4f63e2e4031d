//! An example of this project in a process of its own.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;

use crate::watchdog::Watchdog;

/// A running example, which is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
}

/// The output of an example, line by line.
#[derive(Debug)]
pub(crate) struct Output {
    name: &'static str,
    pid: u32,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts the example `name`.
    pub(crate) fn start(name: &'static str, flags: &[&str], environment: &[(&str, &str)]) -> (Self, Output) {
        let program = program(name);
        let mut child = Command::new(&program)
            .envs(environment.iter().copied())
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo build --examples` first", program.display()));
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let pid = child.id();
        (Self { name, child }, Output { name, pid, lines })
    }

    /// Kills it, without any notice.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        let status = self.child.wait().expect("it is our child");
        assert_eq!(status.signal(), Some(9), "{} ended with {status}", self.name);
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    }

    /// Asks it to stop, and returns how it ended. It is killed if it takes too long.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.terminate();
        let _watchdog = Watchdog::watch(self.child.id());
        self.child.wait().expect("it is our child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A failed test leaves it running.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Output {
    /// Returns the rest of the next line that begins so. The example is killed if the line takes too long.
    pub(crate) fn following(&mut self, beginning: &str) -> String {
        let _watchdog = Watchdog::watch(self.pid);
        let mut lines = self.lines.by_ref().map(|line| line.expect("it prints text"));
        let found = lines.find_map(|line| line.strip_prefix(beginning).map(str::to_owned));
        found.unwrap_or_else(|| panic!("{} ended before it printed {beginning:?}", self.name))
    }

    /// Discards the rest, so that it does not fill the pipe.
    pub(crate) fn discard(self) {
        drop(thread::spawn(move || self.lines.for_each(drop)));
    }
}

/// Returns the path of an example, which Cargo builds into the folder of the same profile.
pub(crate) fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("this program has a path");
    let profile = this.parent().and_then(|deps| deps.parent()).expect("tests are built two levels deep");
    profile.join("examples").join(name)
}
