//! The files that a configuration names, each of which has one writer.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Component, Path, PathBuf};

use crate::field_path::FieldPath;

/// The most links to nothing that are followed, as by Linux.
const MAX_LINKS: usize = 40;

/// The files that a configuration reads and writes.
///
/// A file is known by whatever path: relative, through links, or by another of its names.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    claims: HashMap<FileKey, Claim>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum FileKey {
    Path(PathBuf),
    /// The device and the number of a file that exists.
    Identity(u64, u64),
}

#[derive(Clone, Debug)]
struct Claim {
    by: FieldPath,
    usage: Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usage {
    Reading,
    Appending,
    Writing,
}

impl Usage {
    /// Returns whether one file may be used in both ways.
    fn goes_with(self, other: Self) -> bool {
        self == other && self != Self::Writing
    }
}

impl Claims {
    /// Claims a file that is only read.
    ///
    /// # Errors
    ///
    /// The path of the field that writes the file.
    pub(crate) fn read(&mut self, file: impl AsRef<Path>, by: &FieldPath) -> Result<(), FieldPath> {
        self.claim(file.as_ref(), by, Usage::Reading)
    }

    /// Claims a file that lines are appended to, which others may do too.
    ///
    /// # Errors
    ///
    /// The path of the field that reads or writes the file too.
    pub(crate) fn append(&mut self, file: impl AsRef<Path>, by: &FieldPath) -> Result<(), FieldPath> {
        self.claim(file.as_ref(), by, Usage::Appending)
    }

    /// Claims a file that is written.
    ///
    /// # Errors
    ///
    /// The path of the field that reads or writes the file too.
    pub(crate) fn write(&mut self, file: impl AsRef<Path>, by: &FieldPath) -> Result<(), FieldPath> {
        self.claim(file.as_ref(), by, Usage::Writing)
    }

    fn claim(&mut self, file: &Path, by: &FieldPath, usage: Usage) -> Result<(), FieldPath> {
        let identity = fs::metadata(file).ok().map(|found| FileKey::Identity(found.dev(), found.ino()));
        let keys = [Some(FileKey::Path(resolve(file))), identity];
        let mut known = keys.iter().flatten().filter_map(|key| self.claims.get(key));
        if let Some(other) = known.find(|known| !known.usage.goes_with(usage)) {
            return Err(other.by.clone());
        }
        for key in keys.into_iter().flatten() {
            self.claims.entry(key).or_insert_with(|| Claim { by: by.clone(), usage });
        }
        Ok(())
    }
}

/// Returns the one path of a file, which may not exist.
fn resolve(file: &Path) -> PathBuf {
    let mut file = file.to_owned();
    for _ in 0..MAX_LINKS {
        let Some(name) = file.file_name() else { break };
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let Ok(parent) = fs::canonicalize(parent.unwrap_or(Path::new("."))) else { break };
        match fs::read_link(&file) {
            Ok(target) => file = parent.join(target),
            Err(_) => return parent.join(name),
        }
    }
    normalize(&path::absolute(&file).unwrap_or(file))
}

/// Returns a path without `.` and `..`, by its text alone.
fn normalize(file: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in file.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => normal.push(component),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_has_one_writer_and_no_reader_beside_it() {
        let (mut claims, a, b) = (Claims::default(), FieldPath::default().field("a"), FieldPath::default().field("b"));
        assert_eq!(claims.read("x/y.zip", &a), Ok(()));
        assert_eq!(claims.read("./x//y.zip", &b), Ok(()));
        assert_eq!(claims.write("x/./y.zip", &b), Err(a.clone()));
        assert_eq!(claims.write("/x/y.zip", &b), Ok(()));
        assert_eq!(claims.write("/x/y.zip", &a), Err(b.clone()));
        assert_eq!(claims.read("/x/y.zip", &a), Err(b.clone()));
        assert_eq!(claims.append("/x/log", &a), Ok(()));
        assert_eq!(claims.append("/x/log", &b), Ok(()));
        assert_eq!(claims.write("/x/log", &b), Err(a.clone()));
        assert_eq!(claims.read("/x/log", &b), Err(a));
    }

    #[test]
    fn a_file_is_known_by_all_its_paths() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("there"), "").unwrap();
        fs::hard_link(at("there"), at("d/hard")).unwrap();
        symlink("there", at("soft")).unwrap();
        symlink("d", at("e")).unwrap();
        symlink("d/absent", at("dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let here = std::env::current_dir().unwrap();
        for (first, others) in [
            (at("there"), vec![at("d/../there"), at("d/hard"), at("soft"), at("e/hard")]),
            (at("d/absent"), vec![at("e/absent"), at("dangling"), at("e/../d/absent")]),
            (at("none/x"), vec![at("none/y/../x"), at("none/./x")]),
            (at("loop"), vec![at("d/../loop")]),
            (here.join("x.zip"), vec!["x.zip".into(), "./x.zip".into()]),
            (here.join("no-folder/x.zip"), vec!["no-folder/x.zip".into(), "no-folder/y/../x.zip".into()]),
        ] {
            let (a, b) = (FieldPath::default().field("a"), FieldPath::default().field("b"));
            for other in others {
                let mut claims = Claims::default();
                assert_eq!(claims.write(&first, &a), Ok(()));
                assert_eq!(claims.write(&other, &b), Err(a.clone()), "{}", other.display());
            }
        }
    }
}
