//! Values of the server's own, which are read when metrics are encoded.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use blobaccess::{Error, Result};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

type Labels = Vec<(String, String)>;
type Read = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Gauges by name and labels.
#[derive(Clone, Default)]
pub(crate) struct Gauges(Arc<Mutex<BTreeMap<String, Gauge>>>);

#[derive(Clone)]
struct Gauge {
    help: String,
    reads: BTreeMap<Labels, Read>,
}

impl Gauges {
    pub(crate) fn register(&self, name: &str, help: &str, labels: &[(&str, &str)], read: Read) -> Result<()> {
        if !is_name(name) {
            return Err(Error::invalid_argument(format!("{name:?} is no name of a metric")));
        }
        if let Some((label, _)) = labels.iter().find(|(label, _)| !is_name(label) || label.contains(':')) {
            return Err(Error::invalid_argument(format!("{label:?} is no name of a label of metric {name}")));
        }
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        // Each change is one call.
        let mut gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gauge =
            gauges.entry(name.to_owned()).or_insert_with(|| Gauge { help: help.to_owned(), reads: BTreeMap::new() });
        let before = gauge.reads.insert(labels, read);
        // The replaced gauge owns arbitrary values, which are dropped outside of the lock.
        drop(gauges);
        drop(before);
        Ok(())
    }

    fn all(&self) -> BTreeMap<String, Gauge> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn is_name(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit()) && name.bytes().all(rest)
}

impl Collector for Gauges {
    /// Encodes the values without holding the lock: a callback may register another gauge.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, Gauge { help, reads }) in self.all() {
            let mut metric = encoder.encode_descriptor(&name, &help, None, MetricType::Gauge)?;
            for (labels, read) in reads {
                let value = read();
                // Even without labels, a family would write their braces.
                if labels.is_empty() {
                    metric.encode_gauge(&value)?;
                } else {
                    metric.encode_family(&labels)?.encode_gauge(&value)?;
                }
            }
        }
        Ok(())
    }
}

impl Debug for Gauges {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.all().keys()).finish()
    }
}
