//! A server of the Remote Execution API, and the stores that it offers.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use blobaccess::{BlobAccess, Cas, Clock, Result, SystemClock};
use tonic::transport::Channel;

use super::call_metadata::CallMetadata;
use super::cas::RemoteCasStore;
use super::channel::Channels;
use super::connection::Connection;
use super::icas::RemoteIcasStore;
use super::messages::{RemoteAcStore, RemoteFsacStore, RemoteIsccStore};
use super::options::RemoteOptions;
use super::replicator::RemoteReplicator;
#[cfg(feature = "server")]
use super::scheduler::Scheduler;
use super::snapshot::RemoteSnapshot;
#[cfg(feature = "server")]
use crate::server::{CallObserver, ObservedMethods};

/// A server of the Remote Execution API, and the stores that it offers: [`cas`](Self::cas) and [`ac`](Self::ac); of
/// Buildbarn's, [`icas`](Self::icas), [`iscc`](Self::iscc), [`fsac`](Self::fsac) and a [`replicator`](Self::replicator).
///
/// They share its connections, its limits and the capabilities of the server. It is cheap to clone.
///
/// # Memory
///
/// Up to two messages ([`with_max_message_size_bytes`]) for each of up to [`with_max_concurrent_calls`] calls. Up to 2 MiB
/// ([`with_stream_window_bytes`]) of each blob that is open, which its reader has not taken yet. The small blobs that wait for their
/// batch. The capabilities of the server for up to 1024 instance names.
///
/// [`with_max_message_size_bytes`]: RemoteOptions::with_max_message_size_bytes
/// [`with_max_concurrent_calls`]: RemoteOptions::with_max_concurrent_calls
/// [`with_stream_window_bytes`]: RemoteOptions::with_stream_window_bytes
///
/// # Connections that die silently
///
/// A connection that does not answer is [pinged](RemoteOptions::with_keepalive). Besides, one on which calls have waited
/// in vain for 10 seconds, with no answer to any call in between, is left for a new one.
///
/// # Examples
///
/// ```
/// use blobaccess_grpc::{Remote, RemoteOptions};
///
/// # fn main() -> blobaccess::Result<()> {
/// let remote = Remote::new(RemoteOptions::new("http://cache.example.com:8980"))?;
/// let (cas, ac) = (remote.cas(), remote.ac());
/// assert_eq!(cas.to_string(), "grpc(http://cache.example.com:8980)");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Remote {
    connection: Arc<Connection>,
}

impl Remote {
    /// Makes a client of the server that `options` describe. The first call connects. It must be made within a tokio
    /// runtime, which the connections end with.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the address is none, a header cannot be sent, or TLS cannot be set up as wanted.
    pub fn new(options: RemoteOptions) -> Result<Self> {
        let channels = Channels::lazy(&options)?;
        Self::over(options, channels)
    }

    /// Makes a client of the server at the end of `channels`. The address is only a name then, and the options of
    /// connections and TLS are not used.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if there is no channel, or a header cannot be sent.
    pub fn with_channels(options: RemoteOptions, channels: impl IntoIterator<Item = Channel>) -> Result<Self> {
        let channels = Channels::given(channels.into_iter().collect())?;
        Self::over(options, channels)
    }

    fn over(options: RemoteOptions, channels: Channels) -> Result<Self> {
        // Headers that cannot be sent are found now, not with the first call.
        options.check_headers()?;
        Ok(Self { connection: Arc::new(Connection::new(options, Arc::new(channels), Arc::new(SystemClock))) })
    }

    /// Tells time by `clock`: that of the system unless set.
    ///
    /// Clones and stores that were made before keep their clock, and share nothing but the connections with this one.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { connection: Arc::new(self.connection.with_clock(clock)) }
    }

    /// Asks `call_metadata` before each call for more metadata, which comes after all other.
    ///
    /// Blobs of different callers do not travel in one batch then. Clones and stores that were made before are not
    /// concerned, and share nothing but the connections with this one.
    #[must_use]
    pub fn with_call_metadata(self, call_metadata: Arc<dyn CallMetadata>) -> Self {
        Self { connection: Arc::new(self.connection.with_call_metadata(call_metadata)) }
    }

    /// Tells `observer` of every call that is made from now on, each attempt by itself, with the time that it took by the
    /// clock that was set before.
    ///
    /// Clones and stores that were made before are not observed, and share nothing but the connections with this one.
    ///
    /// # Errors
    ///
    /// `Internal` if the services are not described, which is a fault of this crate.
    #[cfg(feature = "server")]
    pub fn with_call_observer(self, observer: &dyn CallObserver) -> Result<Self> {
        let methods = ObservedMethods::for_client(observer, Arc::clone(&self.connection.clock))?;
        Ok(Self { connection: Arc::new(self.connection.with_methods(methods)) })
    }

    /// Returns the scheduler of the server, to which [`Services`](crate::Services::with_schedulers) forward requests to
    /// execute actions.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn scheduler(&self) -> Scheduler {
        Scheduler::new(Arc::clone(&self.connection))
    }

    /// Returns the content-addressable storage of the server. Stores of separate calls do not share batches.
    #[must_use]
    pub fn cas(&self) -> RemoteCasStore {
        RemoteCasStore::new(Arc::clone(&self.connection))
    }

    /// Returns the action cache of the server.
    #[must_use]
    pub fn ac(&self) -> RemoteAcStore {
        RemoteAcStore::new(Arc::clone(&self.connection))
    }

    /// Returns the indirect content-addressable storage of the server.
    #[must_use]
    pub fn icas(&self) -> RemoteIcasStore {
        RemoteIcasStore::new(Arc::clone(&self.connection))
    }

    /// Returns the initial size class cache of the server.
    #[must_use]
    pub fn iscc(&self) -> RemoteIsccStore {
        RemoteIsccStore::new(Arc::clone(&self.connection))
    }

    /// Returns the file system access cache of the server.
    #[must_use]
    pub fn fsac(&self) -> RemoteFsacStore {
        RemoteFsacStore::new(Arc::clone(&self.connection))
    }

    /// Returns a replicator that reads from `source`, and has the server copy what is read.
    #[must_use]
    pub fn replicator<A: BlobAccess<Kind = Cas> + ?Sized>(&self, source: Arc<A>) -> RemoteReplicator<A> {
        RemoteReplicator::new(source, Arc::clone(&self.connection))
    }

    /// Returns what the client was used for so far.
    #[must_use]
    pub fn snapshot(&self) -> RemoteSnapshot {
        self.connection.counters.snapshot()
    }
}

impl Display for Remote {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "grpc({})", self.connection.options.address)
    }
}
