//! The calls of a gRPC server and of its clients, under the names that go-grpc-prometheus gives them.

use std::sync::Arc;
use std::time::Duration;

use blobaccess_grpc::tonic::Code;
use blobaccess_grpc::{CallMethod, CallObserver, MethodObserver};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::buckets;
use crate::observer::PrometheusObserver;

/// The codes of gRPC by their names in Go, in the order of their numbers.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// A method of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(clippy::struct_field_names, reason = "the names are those of the labels")]
struct MethodLabels {
    grpc_type: &'static str,
    grpc_service: String,
    grpc_method: String,
}

/// A method of a service, and the code with which its calls ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(clippy::struct_field_names, reason = "the names are those of the labels")]
struct HandledLabels {
    grpc_type: &'static str,
    grpc_service: String,
    grpc_method: String,
    grpc_code: &'static str,
}

/// The counts of all methods.
#[derive(Debug)]
pub(crate) struct GrpcCalls {
    started: Family<MethodLabels, Counter>,
    handled: Family<HandledLabels, Counter>,
    received: Family<MethodLabels, Counter>,
    sent: Family<MethodLabels, Counter>,
    seconds: Family<MethodLabels, Histogram>,
}

impl Default for GrpcCalls {
    fn default() -> Self {
        Self {
            started: Family::default(),
            handled: Family::default(),
            received: Family::default(),
            sent: Family::default(),
            seconds: Family::new_with_constructor(buckets::seconds),
        }
    }
}

impl GrpcCalls {
    /// Names the counts of calls that a server has handled. The suffix `_total` of a counter is added when encoded.
    pub(crate) fn register_server(&self, registry: &mut Registry) {
        registry.register("grpc_server_started", "Calls that have begun on the server", self.started.clone());
        registry.register(
            "grpc_server_handled",
            "Calls that have ended on the server, whether or not they failed",
            self.handled.clone(),
        );
        registry.register(
            "grpc_server_msg_received",
            "Messages that the server has received in calls",
            self.received.clone(),
        );
        registry.register("grpc_server_msg_sent", "Messages that the server has sent in calls", self.sent.clone());
        registry.register(
            "grpc_server_handling_seconds",
            "How long calls took until the server had handled them, in seconds",
            self.seconds.clone(),
        );
    }

    /// Names the counts of calls that clients have made.
    pub(crate) fn register_client(&self, registry: &mut Registry) {
        registry.register("grpc_client_started", "Calls that clients have begun", self.started.clone());
        registry.register(
            "grpc_client_handled",
            "Calls of clients that have ended, whether or not they failed",
            self.handled.clone(),
        );
        registry.register("grpc_client_msg_received", "Messages that clients have received", self.received.clone());
        registry.register("grpc_client_msg_sent", "Messages that clients have sent", self.sent.clone());
        registry.register(
            "grpc_client_handling_seconds",
            "How long calls of clients took until they had ended, in seconds",
            self.seconds.clone(),
        );
    }

    fn observe(&self, method: &CallMethod) -> Arc<dyn MethodObserver> {
        let labels = MethodLabels {
            grpc_type: method.streams.name(),
            grpc_service: method.service.clone(),
            grpc_method: method.method.clone(),
        };
        let handled = CODES.map(|grpc_code| {
            let MethodLabels { grpc_type, grpc_service, grpc_method } = labels.clone();
            let labels = HandledLabels { grpc_type, grpc_service, grpc_method, grpc_code };
            self.handled.get_or_create(&labels).clone()
        });
        Arc::new(MethodCounts {
            started: self.started.get_or_create(&labels).clone(),
            handled,
            received: self.received.get_or_create(&labels).clone(),
            sent: self.sent.get_or_create(&labels).clone(),
            seconds: self.seconds.get_or_create(&labels).clone(),
        })
    }
}

/// The counts of one method, which are looked up once.
#[derive(Debug)]
struct MethodCounts {
    started: Counter,
    /// The counts by the numbers of codes.
    handled: [Counter; CODES.len()],
    received: Counter,
    sent: Counter,
    seconds: Histogram,
}

impl CallObserver for PrometheusObserver {
    fn observe_method(&self, method: &CallMethod) -> Arc<dyn MethodObserver> {
        self.server_calls().observe(method)
    }
}

/// The counts of the calls that clients make, which are encoded with those of their [`PrometheusObserver`]. Clones are
/// the same counts.
///
/// # Examples
///
/// ```
/// use blobaccess_grpc::{Remote, RemoteOptions};
/// use blobaccess_metrics::PrometheusObserver;
///
/// # fn main() -> blobaccess::Result<()> {
/// let metrics = PrometheusObserver::new();
/// let remote = Remote::new(RemoteOptions::new("cache.example.com:8980"))?;
/// let remote = remote.with_call_observer(&metrics.client_calls())?;
/// assert!(metrics.encode().contains("grpc_client_started_total"));
/// # drop(remote);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClientCalls(Arc<GrpcCalls>);

impl ClientCalls {
    pub(crate) fn new(calls: Arc<GrpcCalls>) -> Self {
        Self(calls)
    }
}

impl CallObserver for ClientCalls {
    fn observe_method(&self, method: &CallMethod) -> Arc<dyn MethodObserver> {
        self.0.observe(method)
    }
}

impl MethodObserver for MethodCounts {
    fn call_started(&self) {
        self.started.inc();
    }

    fn messages_received(&self, count: u64) {
        self.received.inc_by(count);
    }

    fn messages_sent(&self, count: u64) {
        self.sent.inc_by(count);
    }

    fn call_ended(&self, code: Code, duration: Duration) {
        let number = usize::try_from(i32::from(code)).ok();
        if let Some(counter) = number.and_then(|number| self.handled.get(number)) {
            counter.inc();
        }
        self.seconds.observe(duration.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use blobaccess_grpc::CallStreams;

    use super::*;

    #[test]
    fn calls_are_counted_under_the_names_that_dashboards_query() {
        let metrics = PrometheusObserver::new();
        let method = metrics.observe_method(&CallMethod::new("a.B", "Get", CallStreams::Server));
        let has = |line: &str| metrics.encode().lines().any(|encoded| encoded == line);
        let labels = r#"grpc_type="server_stream",grpc_service="a.B",grpc_method="Get""#;
        // All are there from the beginning, so that a rate can be told from the first call on.
        assert!(has(&format!("grpc_server_started_total{{{labels}}} 0")));
        for name in CODES {
            assert!(has(&format!("grpc_server_handled_total{{{labels},grpc_code=\"{name}\"}} 0")), "{name}");
        }
        method.call_started();
        method.call_started();
        method.messages_received(1);
        method.messages_sent(3);
        method.messages_sent(4);
        method.call_ended(Code::Ok, Duration::from_millis(2));
        method.call_ended(Code::Unauthenticated, Duration::from_secs(2));
        assert!(has(&format!("grpc_server_started_total{{{labels}}} 2")));
        assert!(has(&format!("grpc_server_msg_received_total{{{labels}}} 1")));
        assert!(has(&format!("grpc_server_msg_sent_total{{{labels}}} 7")));
        assert!(has(&format!("grpc_server_handled_total{{{labels},grpc_code=\"OK\"}} 1")));
        assert!(has(&format!("grpc_server_handled_total{{{labels},grpc_code=\"Unauthenticated\"}} 1")));
        assert!(has(&format!("grpc_server_handled_total{{{labels},grpc_code=\"Canceled\"}} 0")));
        assert!(has(&format!("grpc_server_handling_seconds_count{{{labels}}} 2")));
        assert!(has(&format!("grpc_server_handling_seconds_bucket{{le=\"0.0021544\",{labels}}} 1")));
    }

    #[test]
    fn calls_of_clients_have_names_of_their_own() {
        let metrics = PrometheusObserver::new();
        let method = metrics.client_calls().observe_method(&CallMethod::new("a.B", "Get", CallStreams::None));
        let labels = r#"grpc_type="unary",grpc_service="a.B",grpc_method="Get""#;
        method.call_started();
        method.messages_sent(1);
        method.messages_received(2);
        method.call_ended(Code::Unavailable, Duration::from_millis(2));
        let encoded = metrics.encode();
        let has = |line: &str| encoded.lines().any(|encoded| encoded == line);
        assert!(has(&format!("grpc_client_started_total{{{labels}}} 1")));
        assert!(has(&format!("grpc_client_handled_total{{{labels},grpc_code=\"Unavailable\"}} 1")));
        assert!(has(&format!("grpc_client_msg_sent_total{{{labels}}} 1")));
        assert!(has(&format!("grpc_client_msg_received_total{{{labels}}} 2")));
        assert!(has(&format!("grpc_client_handling_seconds_count{{{labels}}} 1")));
        assert!(!encoded.contains(&format!("grpc_server_started_total{{{labels}}}")));
    }
}
