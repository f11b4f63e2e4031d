//! The world around an evaluation.

use std::collections::BTreeMap;

/// The variables that a configuration can see, and the limits of its evaluation.
///
/// `std.extVar("NAME")` gives the variable with this name, which is always a string.
///
/// ```
/// use blobaccess_config::Environment;
///
/// let environment = Environment::default().with_variable("STORAGE", "/var/lib/storage");
/// assert_eq!(environment.variable("STORAGE"), Some("/var/lib/storage"));
/// assert_eq!(environment.variable("HOME"), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    limits: EvaluationLimits,
}

impl Environment {
    /// Returns the environment of this process: each of its environment variables is an external variable, as in Buildbarn.
    ///
    /// Of variables with the same name the first counts. Bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn of_process() -> Self {
        let mut variables = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let (name, value) = (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned());
            variables.entry(name).or_insert(value);
        }
        Self { variables, limits: EvaluationLimits::default() }
    }

    /// Sets a variable.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Sets how much an evaluation may take.
    #[must_use]
    pub fn with_limits(mut self, limits: EvaluationLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns a variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Returns how much an evaluation may take.
    #[must_use]
    pub fn limits(&self) -> &EvaluationLimits {
        &self.limits
    }
}

/// How much the evaluation of a configuration may take. What takes more is refused.
///
/// Besides, 3,000 expressions may lie in each other in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationLimits {
    frames: usize,
    steps: u64,
    memory: u64,
}

impl Default for EvaluationLimits {
    fn default() -> Self {
        Self { frames: 500, steps: 50_000_000, memory: 512 * 1024 * 1024 }
    }
}

impl EvaluationLimits {
    /// Sets how many calls, fields and elements may be evaluated inside each other, and how deep what is rendered may be.
    /// 500 by default, as in Buildbarn. More than 500 count as 500.
    #[must_use]
    pub fn with_frames(mut self, frames: usize) -> Self {
        self.frames = frames.min(500);
        self
    }

    /// Sets how many steps an evaluation may take. 50,000,000 by default, which take a few seconds.
    ///
    /// An expression is a step, and so is each element that a function of the library looks at.
    #[must_use]
    pub fn with_steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Sets how many bytes of memory an evaluation may take. 512 MiB by default.
    ///
    /// They are counted as they are taken; nothing is given back before the end.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Returns how many calls, fields and elements may be evaluated inside each other.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Returns how many steps an evaluation may take.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns how many bytes of memory an evaluation may take.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory
    }
}
