//! An observer that records the calls of each method.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blobaccess_grpc::{CallMethod, CallObserver, MethodObserver};
use tonic::Code;

/// The calls of one method: begun, received, sent, and the codes with which they ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts(pub(crate) u64, pub(crate) u64, pub(crate) u64, pub(crate) Vec<Code>);

/// The calls of each method, by its name and the way it streams.
#[derive(Debug, Default)]
pub(crate) struct RecordedCalls {
    pub(crate) methods: Mutex<BTreeMap<String, Arc<Method>>>,
    /// Whether several observe the same methods. If not, each method is asked for once.
    pub(crate) is_shared: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Method(Mutex<Counts>);

impl RecordedCalls {
    pub(crate) fn counts(&self, name: &str) -> Counts {
        self.methods.lock().unwrap().get(name).unwrap().0.lock().unwrap().clone()
    }
}

impl CallObserver for RecordedCalls {
    fn observe_method(&self, method: &CallMethod) -> Arc<dyn MethodObserver> {
        let name = format!("{}/{} {}", method.service, method.method, method.streams.name());
        let mut methods = self.methods.lock().unwrap();
        assert!(self.is_shared || !methods.contains_key(&name), "{name} is asked for twice");
        Arc::<Method>::clone(methods.entry(name).or_default())
    }
}

impl MethodObserver for Method {
    fn call_started(&self) {
        self.0.lock().unwrap().0 += 1;
    }

    fn messages_received(&self, count: u64) {
        self.0.lock().unwrap().1 += count;
    }

    fn messages_sent(&self, count: u64) {
        self.0.lock().unwrap().2 += count;
    }

    fn call_ended(&self, code: Code, _: Duration) {
        self.0.lock().unwrap().3.push(code);
    }
}
