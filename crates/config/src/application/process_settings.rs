//! The settings of the process: the rights of new files, limits of resources, and files for the log.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use blobaccess::{Error, Result};
use rustix::fs::Mode;
use rustix::process::{self, Resource, Rlimit};

use crate::blobstore::Claims;
use crate::section::Section;
use crate::used_path::UsedPath;

/// The rights that a umask takes away, all together.
const ALL_RIGHTS: u32 = 0o777;

/// The limits that a configuration may set, by their names in Buildbarn.
const RESOURCES: [(&str, Resource); 5] = [
    ("AS", Resource::As),
    ("MEMLOCK", Resource::Memlock),
    ("NOFILE", Resource::Nofile),
    ("NPROC", Resource::Nproc),
    ("RSS", Resource::Rss),
];

/// The settings of a process that a configuration asks for.
///
/// Nothing is changed until [`apply`](Self::apply) is called. A program with a process of its own calls it before any
/// store is opened; a program that is more than a storage server may have its own mind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessSettings {
    umask: Option<u32>,
    limits: Vec<ResourceLimit>,
    pub(super) log_paths: Vec<UsedPath>,
}

/// The limit of one resource. `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ResourceLimit {
    name: &'static str,
    resource: Resource,
    soft: Option<u64>,
    hard: Option<u64>,
}

impl ProcessSettings {
    /// Reads the settings from a `buildbarn.configuration.global.Configuration`.
    pub(super) fn read(section: &Section<'_>, claims: &mut Claims) -> Self {
        let umask = section.message("set_umask").map(|section| {
            let asked = section.uint("umask");
            // The system ignores all other bits.
            u32::try_from(asked & u64::from(ALL_RIGHTS)).unwrap_or(ALL_RIGHTS)
        });
        let limits = section.message_map("set_resource_limits");
        let limits = limits.iter().filter_map(|(name, section)| ResourceLimit::read(name, section)).collect();
        let mut log_paths = Vec::new();
        for (index, path) in section.texts("log_paths").into_iter().enumerate() {
            let used = section.used_path_of_element("log_paths", index, path);
            if path.is_empty() {
                section.fault_at_element("log_paths", index, "must not be empty");
            } else if let Err(other) = claims.append(path, &used.field) {
                section.fault_at_element("log_paths", index, format!("is a file of {other} too"));
            }
            log_paths.push(used);
        }
        Self { umask, limits, log_paths }
    }

    /// Changes the process as the configuration says: its umask, and its limits of resources.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` if the process may not raise a limit, `InvalidArgument` if the system refuses a limit.
    pub fn apply(&self) -> Result<()> {
        if let Some(umask) = self.umask {
            process::umask(Mode::from_raw_mode(umask));
        }
        for limit in &self.limits {
            let asked = Rlimit { current: limit.soft, maximum: limit.hard };
            process::setrlimit(limit.resource, asked).map_err(|error| {
                let message = format!("resource limit {:?} cannot be set: {error}", limit.name);
                match error {
                    rustix::io::Errno::PERM => Error::permission_denied(message),
                    _ => Error::invalid_argument(message),
                }
            })?;
        }
        Ok(())
    }

    /// Returns the paths of the files that the log is to be appended to, besides being written to standard error.
    pub fn log_paths(&self) -> impl Iterator<Item = &Path> {
        self.log_paths.iter().map(|used| used.path.as_path())
    }

    /// Returns whether the configuration leaves the process as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl ResourceLimit {
    fn read(name: &str, section: &Section<'_>) -> Option<Self> {
        let (soft, hard) = (section.wrapped_uint("soft_limit"), section.wrapped_uint("hard_limit"));
        let Some((name, resource)) = RESOURCES.into_iter().find(|(known, _)| *known == name) else {
            let known = RESOURCES.map(|(known, _)| known).join(", ");
            section.fault(format!("is not supported: the resources are {known}"));
            return None;
        };
        if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
            section.fault("must have a soft limit that is not above its hard limit; one that is absent is infinite");
            return None;
        }
        Some(Self { name, resource, soft, hard })
    }
}

impl Display for ProcessSettings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(umask) = self.umask {
            writeln!(f, "umask {umask:03o}")?;
        }
        let shown = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        for ResourceLimit { name, soft, hard, .. } in &self.limits {
            writeln!(f, "limit {name}: {}, at most {}", shown(*soft), shown(*hard))?;
        }
        for used in &self.log_paths {
            writeln!(f, "log to {}", used.path.display())?;
        }
        Ok(())
    }
}
