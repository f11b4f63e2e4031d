//! The end of an evaluation that does not succeed.

use super::source::{At, Sources};
use crate::{Fault, Faults};

/// A reason why a configuration cannot be evaluated.
#[derive(Debug)]
pub(super) struct Failure {
    message: String,
    at: Option<At>,
    /// The calls that led there, from the innermost.
    calls: Vec<At>,
    /// The path of the field that was rendered, from the innermost.
    path: Vec<Step>,
}

/// A step of the path of a rendered field.
#[derive(Debug)]
pub(super) enum Step {
    Field(String),
    Element(usize),
}

/// The result of a step of an evaluation.
pub(super) type Outcome<T> = Result<T, Box<Failure>>;

/// The most calls that are remembered of a failure.
const MAX_CALLS: usize = 50;

impl Failure {
    pub(super) fn at(at: At, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { message: message.into(), at: Some(at), calls: Vec::new(), path: Vec::new() })
    }

    /// Adds the place of a call that led to the failure.
    pub(super) fn called_at(&mut self, at: At) {
        if self.calls.len() < MAX_CALLS {
            self.calls.push(at);
        }
    }

    /// Adds a step of the path of the field that was rendered.
    pub(super) fn within(mut self: Box<Self>, step: Step) -> Box<Self> {
        self.path.push(step);
        self
    }

    /// Returns the failure as the fault of a configuration.
    ///
    /// Its place is the innermost that is not in the library. If that is in an imported file, the message names the place in
    /// the configuration itself as well.
    pub(super) fn into_faults(self, sources: &Sources, main: u32) -> Faults {
        let places = || self.at.iter().chain(&self.calls);
        let position = places().find_map(|at| sources.position(*at));
        let mut message = self.message.clone();
        let is_elsewhere = position.as_ref().is_some_and(|position| &*position.file != sources.name(main));
        if is_elsewhere {
            let caller = places().filter(|at| at.file() == main).find_map(|at| sources.position(*at));
            if let Some(caller) = caller {
                message = format!("{message} (from {caller})");
            }
        }
        let mut path = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Field(name) if is_plain(name) => {
                    let dot = if path.is_empty() { "" } else { "." };
                    path.extend([dot, name]);
                }
                Step::Field(name) => path.extend(["[", &format!("{name:?}"), "]"]),
                Step::Element(index) => path.extend(["[", &index.to_string(), "]"]),
            }
        }
        Faults::from(Fault { path, position, message })
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}
