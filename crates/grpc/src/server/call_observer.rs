//! Tells an observer of every call that is handled or made, method by method.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blobaccess::{Clock, Error, Result};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;

/// The name under which methods are observed that are not known.
const UNKNOWN: &str = "unknown";

/// The services that clients call.
#[cfg(feature = "client")]
const CLIENT_SERVICES: [&str; 9] = [
    "build.bazel.remote.execution.v2.ActionCache",
    "build.bazel.remote.execution.v2.Capabilities",
    "build.bazel.remote.execution.v2.ContentAddressableStorage",
    super::execution::SERVICE,
    "buildbarn.fsac.FileSystemAccessCache",
    "buildbarn.icas.IndirectContentAddressableStorage",
    "buildbarn.iscc.InitialSizeClassCache",
    "buildbarn.replicator.Replicator",
    "google.bytestream.ByteStream",
];

/// A method of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CallMethod {
    /// The full name of the service.
    pub service: String,
    /// The name of the method.
    pub method: String,
    /// The sides that stream.
    pub streams: CallStreams,
}

/// The sides of a call that send a stream of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallStreams {
    /// Neither: one message each way.
    None,
    /// The client.
    Client,
    /// The server.
    Server,
    /// Both.
    Both,
}

/// An observer of the calls that a server handles, or that a client makes.
///
/// `Services::with_call_observer` and `Remote::with_call_observer` take it.
pub trait CallObserver: Debug + Send + Sync + 'static {
    /// Returns the observer of the calls of one method. It is asked once for each method when serving begins or a client
    /// is made, and once for all methods that are not known: their service and method are called `unknown`.
    fn observe_method(&self, method: &CallMethod) -> Arc<dyn MethodObserver>;
}

/// An observer of the calls of one method. It is called between messages, and must not block.
pub trait MethodObserver: Debug + Send + Sync + 'static {
    /// Notes that a call has begun.
    fn call_started(&self);

    /// Notes that `count` messages of the other side were received.
    fn messages_received(&self, count: u64);

    /// Notes that `count` messages were sent to the other side.
    fn messages_sent(&self, count: u64);

    /// Notes that a call has ended with `code`, `duration` after it began. A call that its client has given up, such as at
    /// its deadline, ends with `Cancelled`.
    fn call_ended(&self, code: Code, duration: Duration);
}

/// The side that observes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    #[cfg(feature = "client")]
    Client,
    Server,
}

/// The observers of all methods.
#[derive(Clone)]
pub(crate) struct ObservedMethods {
    by_path: Arc<HashMap<String, Arc<dyn MethodObserver>>>,
    unknown: Arc<dyn MethodObserver>,
    clock: Arc<dyn Clock>,
    side: Side,
}

impl ObservedMethods {
    /// Asks `observer` about each method that clients of ours call.
    #[cfg(feature = "client")]
    pub(crate) fn for_client(observer: &dyn CallObserver, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::new(observer, &CLIENT_SERVICES, clock, Side::Client)
    }

    /// Asks `observer` about each method of `services`, and those of health.
    pub(crate) fn for_server(
        observer: &dyn CallObserver,
        services: &[&'static str],
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        Self::new(observer, services, clock, Side::Server)
    }

    fn new(observer: &dyn CallObserver, services: &[&'static str], clock: Arc<dyn Clock>, side: Side) -> Result<Self> {
        let mut by_path = HashMap::new();
        let sets = [blobaccess_proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
        for (set, all) in sets.into_iter().zip([false, side == Side::Server]) {
            let set = FileDescriptorSet::decode(set)
                .map_err(|error| Error::internal("services are not described").with_source(error))?;
            for file in set.file {
                for service in &file.service {
                    let name = format!("{}.{}", file.package(), service.name());
                    if !all && !services.contains(&name.as_str()) {
                        continue;
                    }
                    for method in &service.method {
                        let streams = CallStreams::new(method.client_streaming(), method.server_streaming());
                        let method = CallMethod { service: name.clone(), method: method.name().to_owned(), streams };
                        by_path.insert(method.path(), observer.observe_method(&method));
                    }
                }
            }
        }
        // The execution service is forwarded without a description.
        #[cfg(feature = "client")]
        if services.contains(&super::execution::SERVICE) {
            for method in ["Execute", "WaitExecution"] {
                let service = super::execution::SERVICE.to_owned();
                let method = CallMethod { service, method: method.to_owned(), streams: CallStreams::Server };
                by_path.insert(method.path(), observer.observe_method(&method));
            }
        }
        let unknown =
            CallMethod { service: UNKNOWN.to_owned(), method: UNKNOWN.to_owned(), streams: CallStreams::Both };
        Ok(Self { by_path: Arc::new(by_path), unknown: observer.observe_method(&unknown), clock, side })
    }

    /// Notes that a call of the method at `path` begins.
    pub(crate) fn begin(&self, path: &str) -> ObservedCall {
        let method = Arc::clone(self.by_path.get(path).unwrap_or(&self.unknown));
        method.call_started();
        let began = self.clock.monotonic();
        ObservedCall { method, side: self.side, clock: Arc::clone(&self.clock), began, ended: false }
    }
}

impl Debug for ObservedMethods {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedMethods").field("methods", &self.by_path.len()).finish_non_exhaustive()
    }
}

impl CallMethod {
    /// Makes a method from its name and that of its service.
    #[must_use]
    pub fn new(service: impl Into<String>, method: impl Into<String>, streams: CallStreams) -> Self {
        Self { service: service.into(), method: method.into(), streams }
    }

    fn path(&self) -> String {
        format!("/{}/{}", self.service, self.method)
    }
}

impl CallStreams {
    const fn new(client: bool, server: bool) -> Self {
        match (client, server) {
            (false, false) => Self::None,
            (true, false) => Self::Client,
            (false, true) => Self::Server,
            (true, true) => Self::Both,
        }
    }

    /// Returns the name of the type of call, as metrics of gRPC have it: `unary`, `client_stream`, `server_stream` or
    /// `bidi_stream`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "unary",
            Self::Client => "client_stream",
            Self::Server => "server_stream",
            Self::Both => "bidi_stream",
        }
    }
}

/// A call that is observed. Dropped before its end, it was cancelled.
#[derive(Debug)]
pub(crate) struct ObservedCall {
    pub(crate) method: Arc<dyn MethodObserver>,
    pub(crate) side: Side,
    clock: Arc<dyn Clock>,
    began: Instant,
    ended: bool,
}

impl ObservedCall {
    /// Notes that the call has ended.
    pub(crate) fn end(&mut self, code: Code) {
        if !self.ended {
            self.ended = true;
            self.method.call_ended(code, self.clock.monotonic().saturating_duration_since(self.began));
        }
    }
}

impl Drop for ObservedCall {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}
