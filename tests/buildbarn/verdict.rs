//! Verdicts of programs about configurations.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::documents::Document;
use crate::program::{Maker, server};

/// The verdict of a program about a configuration without servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It would start.
    Loads,
    /// It refuses it, with this text.
    Refuses(String),
    /// It ends in another way, with this text.
    Fails(String),
}

impl Verdict {
    /// Asks a program about a configuration, in a folder of its own.
    pub(crate) fn of(maker: Maker, document: &Document) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the files");
        std::fs::create_dir(folder.path().join("state")).expect("a folder for the state");
        let file = folder.path().join("application.jsonnet");
        std::fs::write(&file, document.value.to_string()).expect("a file for the configuration");
        let verdict = Self::of_file(maker, &file, folder.path());
        if maker == Maker::Ours {
            let count = std::fs::read_dir(folder.path()).expect("the folder is there").count();
            assert_eq!(count, 2, "{}: a check has made files", document.name);
        }
        verdict
    }

    fn of_file(maker: Maker, file: &Path, folder: &Path) -> Self {
        let mut command = Command::new("timeout");
        command.arg("20").arg(server(maker)).current_dir(folder).stdin(Stdio::null());
        if maker == Maker::Ours {
            command.arg("--check");
        }
        let output = command.arg(file).output().expect("the program is there");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => Self::Loads,
            Some(1) => Self::Refuses(text),
            _ => Self::Fails(text),
        }
    }
}
