//! A real Bazel, with its own server and outputs.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::process::Command;

use crate::workspace::Workspace;

/// A Bazel in a workspace.
#[derive(Debug)]
pub(crate) struct Bazel {
    workspace: Workspace,
}

/// The output of a build.
#[derive(Debug)]
pub(crate) struct Report(String);

impl Bazel {
    pub(crate) fn new(workspace: Workspace) -> Self {
        Self { workspace }
    }

    /// Builds everything.
    pub(crate) fn build(&self, flags: &[&str]) -> Report {
        self.run("build", flags)
    }

    /// Builds everything and runs the tests.
    pub(crate) fn test(&self, flags: &[&str]) -> Report {
        self.run("test", flags)
    }

    fn run(&self, command: &str, flags: &[&str]) -> Report {
        let mut bazel = self.command();
        bazel.args([command, "//...", "--color=no", "--curses=no", "--noshow_progress"]);
        bazel.args(&self.workspace.flags).args(flags);
        let output = bazel.output().expect("bazel is installed");
        let report = Report(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
        assert!(output.status.success(), "{bazel:?} failed: {report}");
        // A Bazel that cannot use a cache says so and builds without it.
        assert!(!report.0.contains("WARNING: Remote Cache"), "{report}");
        report
    }

    /// Removes all outputs.
    pub(crate) fn clean(&self) {
        let output = self.command().arg("clean").output().expect("bazel is installed");
        assert!(output.status.success(), "bazel clean failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Reads the contents of the large output.
    pub(crate) fn large_output(&self) -> Vec<u8> {
        std::fs::read(self.workspace.folder().join("bazel-bin/large.bin")).expect("the large output was downloaded")
    }

    fn command(&self) -> Command {
        let mut bazel = Command::new("bazel");
        bazel.current_dir(self.workspace.folder());
        bazel.arg(format!("--output_user_root={}", self.output_root().display()));
        bazel.arg("--max_idle_secs=60");
        // Settings of the user must not affect this build.
        bazel.arg("--nohome_rc");
        bazel
    }

    fn output_root(&self) -> PathBuf {
        self.workspace.outputs()
    }
}

impl Drop for Bazel {
    fn drop(&mut self) {
        drop(self.command().arg("shutdown").output());
    }
}

impl Report {
    /// Returns how many actions the cache answered: `N remote cache hit` in the last line but one.
    pub(crate) fn remote_cache_hits(&self) -> usize {
        self.processes("remote cache hit")
    }

    /// Returns how many actions were executed here, except those that Bazel does by itself.
    pub(crate) fn executed(&self) -> usize {
        self.processes("linux-sandbox") + self.processes("processwrapper-sandbox") + self.processes("local")
    }

    /// Returns how many processes ran so: by the names of kinds in Bazel's summary.
    pub(crate) fn processes(&self, how: &str) -> usize {
        let summary = self.0.lines().find(|line| line.contains(" process: ") || line.contains(" processes: "));
        let (_, kinds) = summary.and_then(|line| line.split_once(": ")?.1.split_once(": ")).unwrap_or_default();
        let count = kinds.split(", ").find_map(|kind| kind.trim_end_matches('.').strip_suffix(how));
        count.map_or(0, |count| count.trim().parse().expect("a count stands before what it counts"))
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
