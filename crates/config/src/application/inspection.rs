//! The last checks of paths before a server is opened, which change nothing.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::{ApplicationPlan, ProcessSettings};
use crate::Fault;
use crate::used_path::check_directory_of;

impl ApplicationPlan {
    /// Returns what is wrong with the paths that are to be listened on.
    pub(super) fn inspect_sockets(&self) -> Vec<Fault> {
        let paths = self.servers.iter().flat_map(|server| &server.paths);
        paths.filter_map(|used| inspect_socket(&used.path).err().map(|message| used.fault(message))).collect()
    }
}

impl ProcessSettings {
    /// Returns what is wrong with the files of the log.
    pub(super) fn inspect(&self) -> Vec<Fault> {
        let paths = self.log_paths.iter();
        paths.filter_map(|used| inspect_log(&used.path).err().map(|message| used.fault(message))).collect()
    }
}

fn inspect_socket(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => Ok(()),
        Ok(_) => Err(format!("{} is there, and is no socket: choose another path, or remove it", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => check_directory_of(path),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn inspect_log(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(format!("{} is a directory", path.display())),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => check_directory_of(path),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
