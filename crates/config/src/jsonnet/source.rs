//! The files of an evaluation, and the places in them.

use std::path::PathBuf;
use std::sync::Arc;

use crate::Position;

/// A place in a file of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    file: u32,
    offset: u32,
}

impl At {
    pub(super) fn new(file: u32, offset: usize) -> Self {
        Self { file, offset: u32::try_from(offset).unwrap_or(u32::MAX) }
    }

    /// Returns the number of the file.
    pub(super) fn file(self) -> u32 {
        self.file
    }
}

/// A file of an evaluation.
#[derive(Debug)]
struct SourceFile {
    name: Arc<str>,
    text: Arc<str>,
    /// The folder that the file's imports begin at.
    folder: PathBuf,
    /// The offset of the first character of each line.
    lines: Vec<usize>,
    /// Whether the file belongs to the library rather than to the configuration.
    is_library: bool,
}

/// The files of an evaluation, by number.
#[derive(Debug, Default)]
pub(super) struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    /// Adds a file and returns its number.
    pub(super) fn add(&mut self, name: &str, text: &Arc<str>, folder: PathBuf, is_library: bool) -> u32 {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| index + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        self.files.push(SourceFile { name: name.into(), text: Arc::clone(text), folder, lines, is_library });
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    fn file(&self, number: u32) -> Option<&SourceFile> {
        self.files.get(usize::try_from(number).ok()?)
    }

    /// Returns the name of a file.
    pub(super) fn name(&self, number: u32) -> &str {
        self.file(number).map_or("", |file| &*file.name)
    }

    /// Returns the folder that a file's imports begin at.
    pub(super) fn folder(&self, number: u32) -> PathBuf {
        self.file(number).map(|file| file.folder.clone()).unwrap_or_default()
    }

    /// Returns a place as line and column, or `None` for a place in the library.
    pub(super) fn position(&self, at: At) -> Option<Position> {
        let file = self.file(at.file).filter(|file| !file.is_library)?;
        let offset = usize::try_from(at.offset).ok()?;
        let line = file.lines.partition_point(|start| *start <= offset);
        let start = *file.lines.get(line.checked_sub(1)?)?;
        let column = file.text.get(start..offset.min(file.text.len()))?.chars().count() + 1;
        Some(Position::new(&file.name, u32::try_from(line).ok()?, u32::try_from(column).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_line_and_a_column_in_characters() {
        let mut sources = Sources::default();
        let file = sources.add("a.jsonnet", &"one\nä tö\n".into(), PathBuf::new(), false);
        let position = |offset| sources.position(At::new(file, offset)).unwrap().to_string();
        assert_eq!(position(0), "a.jsonnet:1:1");
        assert_eq!(position(3), "a.jsonnet:1:4");
        assert_eq!(position(4), "a.jsonnet:2:1");
        assert_eq!(position(7), "a.jsonnet:2:3");
        assert_eq!(position(11), "a.jsonnet:3:1");
        assert_eq!(position(1000), "a.jsonnet:3:1");
    }
}
