//! The settings of reference expanding.

use std::time::Duration;

use crate::AllowedHosts;

/// The settings of a [`ReferenceExpanding`](crate::ReferenceExpanding): the web servers that may be asked, and limits of
/// time and size.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use blobaccess_icas::{AllowedHosts, ExpandingOptions};
///
/// let hosts = AllowedHosts::none().with_host("files.example.com")?;
/// let options = ExpandingOptions::new(hosts).with_idle_timeout(Duration::from_secs(5));
/// # drop(options);
/// # Ok::<(), blobaccess::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandingOptions {
    pub(crate) allowed_hosts: AllowedHosts,
    pub(crate) answer_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) total_timeout: Duration,
    pub(crate) max_reference_bytes: u64,
    pub(crate) max_source_bytes: u64,
    pub(crate) max_skipped_bytes: u64,
    pub(crate) max_resumptions: u32,
    pub(crate) gone_is_missing: bool,
}

impl ExpandingOptions {
    /// Makes settings under which references may lead to `allowed_hosts`, and to no other web server.
    #[must_use]
    pub const fn new(allowed_hosts: AllowedHosts) -> Self {
        Self {
            allowed_hosts,
            answer_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_mins(15),
            max_reference_bytes: 64 << 10,
            max_source_bytes: 64 << 30,
            max_skipped_bytes: 64 << 20,
            max_resumptions: 2,
            gone_is_missing: false,
        }
    }

    /// Sets the time that a request may take up to the head of its answer: looking up the name, connecting and waiting
    /// (30 s).
    ///
    /// *Too little*: slow servers cannot be read. *Too much*: a server that hangs holds up its callers.
    #[must_use]
    pub const fn with_answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Sets the time after which a source that sends nothing more fails, while a reader waits for it (30 s).
    #[must_use]
    pub const fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets the time that all waiting for the source of one blob may take together (15 min).
    ///
    /// The time that the reader takes between two pieces does not count. So this ends a source that sends a byte now and
    /// then, and no reader that is slow.
    #[must_use]
    pub const fn with_total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = timeout;
        self
    }

    /// Sets the size of the largest reference, in bytes (64 KiB).
    #[must_use]
    pub const fn with_max_reference_bytes(mut self, max: u64) -> Self {
        self.max_reference_bytes = max;
        self
    }

    /// Sets the number of bytes that are read from a source for one blob, at most (64 GiB).
    ///
    /// A compressed source has a further limit: sixteen times the size of the blob, and 1 MiB. No encoder needs more, and
    /// compressed streams without contents end there.
    #[must_use]
    pub const fn with_max_source_bytes(mut self, max: u64) -> Self {
        self.max_source_bytes = max;
        self
    }

    /// Sets the number of bytes that are read and discarded, at most, if a web server ignores ranges and answers with the
    /// whole (64 MiB).
    #[must_use]
    pub const fn with_max_skipped_bytes(mut self, max: u64) -> Self {
        self.max_skipped_bytes = max;
        self
    }

    /// Sets how often reading from a web server goes on with a new request, after its answer was cut (2 times a blob).
    ///
    /// The new request asks for the rest, of the same version if the server told one.
    #[must_use]
    pub const fn with_max_resumptions(mut self, max: u32) -> Self {
        self.max_resumptions = max;
        self
    }

    /// Sets whether a get of a blob whose source no longer exists is `NotFound` (no).
    ///
    /// By default it is `DataLoss`: there is a reference, so [`find_missing`] says that the blob is there, and clients do
    /// not upload it. Set this under a layer that reads from another store what is missing, and where no layer relies on
    /// answers of [`find_missing`].
    ///
    /// A source no longer exists if a web server answers with the status 404 or 410, if a bucket that exists has no such
    /// object, or if the other store answers `NotFound`. Anything else is an outage.
    ///
    /// [`find_missing`]: blobaccess::BlobAccess::find_missing
    #[must_use]
    pub const fn with_gone_is_missing(mut self, missing: bool) -> Self {
        self.gone_is_missing = missing;
        self
    }
}
