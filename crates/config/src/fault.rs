//! Faults of a configuration, and their places.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

/// A place in a source file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Position {
    /// The name of the file, as the program or an import gave it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Position {
    pub(crate) fn new(file: &Arc<str>, line: u32, column: u32) -> Self {
        Self { file: Arc::clone(file), line, column }
    }
}

impl Display for Position {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The maximum number of faults that are reported. Further ones are counted: a person mends these first.
pub(crate) const MAX_FAULTS: usize = 1000;

/// One thing that is wrong with a configuration.
///
/// It is displayed as the place, the path of the field, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The path of the field by its names in JSON, such as `contentAddressableStorage.backend.grpc.client.address`.
    /// Empty for the whole message, and for what is wrong before any field is known.
    pub path: String,
    /// The place in the file, if it is known.
    pub position: Option<Position>,
    /// A description of what is wrong.
    pub message: String,
}

impl Fault {
    /// Makes the last of the faults that are reported, if further ones are left out.
    pub(crate) fn of_left_out(count: usize) -> Option<Self> {
        let message = format!("{count} further faults are left out");
        (count > 0).then_some(Self { path: String::new(), position: None, message })
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_line(f, self.position.as_ref(), &self.path, &self.message)
    }
}

/// Something that a configuration says and that has no effect here, or another than the reader may expect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// The path of the field by its names in JSON.
    pub path: String,
    /// The place in the file, if it is known.
    pub position: Option<Position>,
    /// A description of what happens instead.
    pub message: String,
}

impl Display for Notice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_line(f, self.position.as_ref(), &self.path, &self.message)
    }
}

fn write_line(f: &mut Formatter<'_>, position: Option<&Position>, path: &str, message: &str) -> fmt::Result {
    if let Some(position) = position {
        write!(f, "{position}: ")?;
    }
    if !path.is_empty() {
        write!(f, "{path}: ")?;
    }
    f.write_str(message)
}

/// All that is wrong with a configuration, in the order of its fields. There is at least one fault.
///
/// It is displayed as one line for each fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    faults: Vec<Fault>,
}

impl Faults {
    /// Returns the faults, or `None` if there are none.
    pub(crate) fn of(faults: Vec<Fault>) -> Option<Self> {
        if faults.is_empty() { None } else { Some(Self { faults }) }
    }

    /// Makes the faults of a configuration that cannot be read at all.
    pub(crate) fn one(position: Option<Position>, message: impl Into<String>) -> Self {
        Self { faults: vec![Fault { path: String::new(), position, message: message.into() }] }
    }

    /// Returns the faults.
    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.faults
    }
}

impl Display for Faults {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl Error for Faults {}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }
}

impl From<Faults> for blobaccess::Error {
    fn from(faults: Faults) -> Self {
        Self::invalid_argument(faults.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_where_it_is() {
        let position = Position::new(&"storage.jsonnet".into(), 12, 9);
        let fault = Fault { path: "a.b".to_owned(), position: Some(position), message: "is required".to_owned() };
        assert_eq!(fault.to_string(), "storage.jsonnet:12:9: a.b: is required");
        let faults = Faults::of(vec![fault.clone(), Fault { position: None, ..fault }]).unwrap();
        assert_eq!(faults.to_string(), "storage.jsonnet:12:9: a.b: is required\na.b: is required");
        assert_eq!(Faults::of(Vec::new()), None);
        assert_eq!(blobaccess::Error::from(faults).kind(), blobaccess::ErrorKind::InvalidArgument);
    }
}
