//! Files that a configuration imports.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::failure::{Failure, Outcome};
use super::lexer::lex;
use super::machine::Machine;
use super::parser::parse;
use super::scope::check_scopes;
use super::source::At;
use super::syntax::ImportKind;
use super::value::{Thunk, ThunkId, Value};

/// The files that have been imported, by path.
#[derive(Debug, Default)]
pub(super) struct Imports {
    files: HashMap<(PathBuf, ImportKind), ThunkId>,
}

impl Machine<'_> {
    /// Returns what an imported file holds.
    pub(super) fn import(&mut self, kind: ImportKind, path: &str, at: At) -> Outcome<Value> {
        let path = self.sources.folder(at.file()).join(path);
        let key = (path, kind);
        let known = self.imports.files.get(&key).copied();
        let id = if let Some(id) = known {
            id
        } else {
            let id = self.load(kind, &key.0, at)?;
            self.imports.files.insert(key, id);
            id
        };
        self.force(id, at)
    }

    fn load(&mut self, kind: ImportKind, path: &Path, at: At) -> Outcome<ThunkId> {
        let limit = self.environment.limits().memory();
        let contents = read_bounded(path, limit);
        let contents =
            contents.map_err(|reason| Failure::at(at, format!("{} cannot be imported: {reason}", path.display())))?;
        self.charge(contents.len().saturating_mul(4), at)?;
        match kind {
            ImportKind::Code => {
                let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
                let text = String::from_utf8_lossy(&contents).into();
                self.add_code(&path.display().to_string(), &text, folder, at)
            }
            ImportKind::Text => {
                let text = String::from_utf8_lossy(&contents);
                self.done(Value::text(&*text), at)
            }
            ImportKind::Bytes => {
                let bytes = contents.iter().map(|byte| Value::Number(f64::from(*byte)));
                let value = self.array_of(bytes, at)?;
                self.done(value, at)
            }
        }
    }

    /// Adds a file of Jsonnet and returns the thunk of its value.
    pub(super) fn add_code(&mut self, name: &str, text: &Arc<str>, folder: PathBuf, at: At) -> Outcome<ThunkId> {
        // The words and expressions of a file take some multiple of its size.
        self.charge_many(text.len(), 64, at)?;
        let file = self.sources.add(name, text, folder, false);
        let expr = parse(lex(file, text)?)?;
        check_scopes(&expr, &["std"])?;
        let uses_name = text.contains("thisFile");
        let env = if uses_name { self.library_of(name, at)? } else { Rc::clone(&self.root) };
        self.thunk(Thunk::Expr(expr, env), At::new(file, 0))
    }

    /// Evaluates a file, and calls it without arguments if it is a function.
    pub(super) fn evaluate_file(&mut self, id: ThunkId, at: At) -> Outcome<Value> {
        match self.force(id, at)? {
            Value::Function(function) => self.call(&function, &[], at),
            value => Ok(value),
        }
    }
}

/// Reads a file of at most `limit` bytes.
pub(super) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let describe = |error: std::io::Error| error.to_string();
    let file = File::open(path).map_err(describe)?;
    if file.metadata().map_err(describe)?.is_dir() {
        return Err("it is a directory".to_owned());
    }
    read_all(file, limit)
}

/// Reads all of at most `limit` bytes.
pub(super) fn read_all(reader: impl Read, limit: u64) -> Result<Vec<u8>, String> {
    let mut contents = Vec::new();
    let read = reader.take(limit.saturating_add(1)).read_to_end(&mut contents).map_err(|error| error.to_string())?;
    if u64::try_from(read).is_ok_and(|read| read <= limit) {
        Ok(contents)
    } else {
        Err(format!("it is larger than {limit} bytes"))
    }
}
