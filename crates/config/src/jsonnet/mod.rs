//! Jsonnet: a configuration language whose programs evaluate to JSON.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most operations take one or two types, and refuse all others alike"
)]
#![expect(clippy::unnecessary_box_returns, reason = "a failure is boxed where it is made, as outcomes hold it so")]

mod environment;
mod expressions;
mod failure;
mod imports;
mod lexer;
mod library;
mod machine;
mod number;
mod object_parser;
mod objects;
mod operators;
mod parser;
mod render;
mod scope;
mod source;
mod syntax;
mod value;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

pub use self::environment::{Environment, EvaluationLimits};
use self::failure::Outcome;
use self::machine::Machine;
use self::source::At;
use self::value::{Env, ThunkId};
use crate::Faults;
use crate::json::JsonValue;

/// The stack of the thread that evaluates. It is taken from the system as it is used.
const STACK_BYTES: usize = 128 * 1024 * 1024;

/// The largest configuration file.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// A configuration that is to be evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// A file. Its imports begin beside it.
    File(&'a Path),
    /// A text, with a name for messages. Its imports begin beside a file with this name.
    Text { name: &'a str, text: &'a str },
    /// Standard input. Its imports begin in the working directory.
    StandardInput,
}

/// Evaluates a configuration, as Buildbarn does: with each variable of the environment as an external one, without a search
/// path for imports, and with a function called without arguments.
pub(crate) fn evaluate(source: Source<'_>, environment: &Environment) -> Result<JsonValue, Faults> {
    let (name, text, folder) = read(source)?;
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("jsonnet".to_owned()).stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, || evaluate_text(&name, &text, folder, environment));
        let thread = thread
            .map_err(|error| Faults::one(None, format!("no thread can be started to evaluate {name}: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(Faults::one(None, format!("the evaluation of {name} ended in a panic"))))
    })
}

fn read(source: Source<'_>) -> Result<(String, Arc<str>, PathBuf), Faults> {
    let (name, contents, folder): (_, Cow<'_, [u8]>, _) = match source {
        Source::Text { name, text } => (name.to_owned(), text.as_bytes().into(), folder_of(Path::new(name))),
        Source::File(path) => {
            let name = path.display().to_string();
            let contents = imports::read_bounded(path, MAX_FILE_BYTES);
            let contents = contents.map_err(|reason| Faults::one(None, format!("{name} cannot be read: {reason}")))?;
            (name, contents.into(), folder_of(path))
        }
        Source::StandardInput => {
            let contents = imports::read_all(io::stdin().lock(), MAX_FILE_BYTES);
            let contents =
                contents.map_err(|reason| Faults::one(None, format!("standard input cannot be read: {reason}")))?;
            ("<stdin>".to_owned(), contents.into(), PathBuf::new())
        }
    };
    Ok((name, String::from_utf8_lossy(&contents).into(), folder))
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

fn evaluate_text(name: &str, text: &Arc<str>, folder: PathBuf, environment: &Environment) -> Result<JsonValue, Faults> {
    let mut machine = Machine::new(environment);
    // The library is the first file.
    let main = 1;
    let outcome = evaluate_in(&mut machine, name, text, folder);
    outcome.map_err(|failure| failure.into_faults(&machine.sources, main))
}

fn evaluate_in(machine: &mut Machine<'_>, name: &str, text: &Arc<str>, folder: PathBuf) -> Outcome<JsonValue> {
    let library: ThunkId = machine.load_library()?;
    machine.root = Rc::new(Env { parent: None, variables: vec![("std".into(), library)], this: None });
    let at = At::new(1, 0);
    let id = machine.add_code(name, text, folder, at)?;
    let value = machine.evaluate_file(id, at)?;
    machine.render(&value, at)
}
