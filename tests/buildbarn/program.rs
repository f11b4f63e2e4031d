//! A program of Buildbarn or of ours, in a process of its own.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::watchdog::Watchdog;

/// The makers of programs that read the same files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// This project, by the example `storage_server`.
    Ours,
    /// Buildbarn, by `bb_storage`.
    Buildbarn,
}

/// A running program, which is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Program {
    /// Starts a server of storage from this file.
    pub(crate) fn start_server(maker: Maker, name: &str, file: &Path, socket: &Path) -> Self {
        Self::start(&server(maker), name, file, socket)
    }

    /// Starts a program from this file, and waits until it listens at `socket`. Its output goes to a file beside that.
    pub(crate) fn start(program: &Path, name: &str, file: &Path, socket: &Path) -> Self {
        let log = file.with_extension("log");
        let output = File::create(&log).expect("a file for the output");
        let errors = output.try_clone().expect("a file may be open twice");
        let child = Command::new(program).arg(file).stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut program = Self { name: name.to_owned(), child, socket: socket.to_owned(), log };
        program.wait_until_listening();
        program
    }

    fn wait_until_listening(&mut self) {
        let _watchdog = Watchdog::watch(self.child.id());
        while UnixStream::connect(&self.socket).is_err() {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                panic!("{} ended with {status}: {}", self.name, self.output());
            }
            thread::yield_now();
        }
    }

    /// Returns the socket that it listens at.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to stop, and waits until it has. It is killed if it takes too long, which is a failure.
    pub(crate) fn stop(mut self) {
        assert!(self.child.try_wait().expect("it is our child").is_none(), "{} ended: {}", self.name, self.output());
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        let watchdog = Watchdog::watch(self.child.id());
        let status = self.child.wait().expect("it is our child");
        drop(watchdog);
        assert_ne!(status.signal(), Some(9), "{} did not stop: {}", self.name, self.output());
        assert!(!self.output().contains("panicked"), "{}: {}", self.name, self.output());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            let output = self.output();
            let last = output.lines().rev().take(20).collect::<Vec<_>>();
            for line in last.iter().rev() {
                // The output of a failed test is shown.
                drop(std::io::Write::write_all(&mut std::io::stderr(), format!("{}: {line}\n", self.name).as_bytes()));
            }
        }
        // A failed test leaves it running.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns the path of a maker's server of storage.
pub(crate) fn server(maker: Maker) -> PathBuf {
    match maker {
        Maker::Ours => example("storage_server"),
        Maker::Buildbarn => theirs("BLOBACCESS_BB_STORAGE"),
    }
}

/// Returns the path of a program of Buildbarn.
pub(crate) fn theirs(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} must be the path of the program")).into()
}

/// Returns the path of an example, which Cargo builds into the folder of the same profile.
fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("this program has a path");
    let profile = this.parent().and_then(|deps| deps.parent()).expect("tests are built two levels deep");
    profile.join("examples").join(name)
}
