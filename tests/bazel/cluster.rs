//! A frontend in a process of its own, over storage nodes.

use crate::process::Process;

/// A running `frontend`, on a free port.
#[derive(Debug)]
pub(crate) struct Frontend {
    process: Process,
    url: String,
}

impl Frontend {
    /// Starts a frontend over these shards, each a key and the URLs of its nodes.
    pub(crate) fn start(shards: &[(&str, &[&str])]) -> Self {
        let mut flags = vec!["--listen".to_owned(), "127.0.0.1:0".to_owned()];
        for (key, urls) in shards {
            flags.extend(["--shard".to_owned(), format!("{key}={}", urls.join(","))]);
        }
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let (process, mut output) = Process::start("frontend", &flags, &[]);
        let url = output.following("listening on ");
        output.discard();
        Self { process, url }
    }

    /// Returns the flag with which Bazel uses it.
    pub(crate) fn flag(&self) -> String {
        format!("--remote_cache={}", self.url)
    }

    /// Asks it to stop, and checks that it does so in good order.
    pub(crate) fn stop(self) {
        let status = self.process.stop();
        assert!(status.success(), "it ended with {status}");
    }
}
