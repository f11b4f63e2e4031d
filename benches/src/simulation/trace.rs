//! The requests of a cache, in order.

use crate::popularity::Zipf;
use crate::size_distribution::SizeDistribution;
use blobaccess_testkit::Numbers;

/// Requests for objects, which are numbered from 0. After a miss the object is put.
#[derive(Clone, Debug)]
pub struct Trace {
    name: String,
    sizes: Vec<u64>,
    requests: Vec<u32>,
}

impl Trace {
    /// Makes the trace of `requests` for objects of these sizes.
    #[must_use]
    pub fn new(name: String, sizes: Vec<u64>, requests: Vec<u32>) -> Self {
        Self { name, sizes, requests }
    }

    /// Makes reads of `objects` by Zipf's law, eight for each object on average. The size of an object is independent
    /// of its rank.
    #[must_use]
    pub fn zipf(seed: u64, objects: usize, skew: f64, sizes: SizeDistribution) -> Self {
        let zipf = Zipf::new(objects, skew);
        let mut numbers = Numbers::new(seed);
        let requests = (0..objects * 8).filter_map(|_| u32::try_from(zipf.draw(&mut numbers)).ok()).collect();
        let sizes = sizes.sizes(seed, objects);
        Self::new(format!("Zipf {skew}, {objects} objects, {} reads", objects * 8), sizes, requests)
    }

    /// Returns a description of the trace, with its parameters.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the size of each object, in bytes.
    #[must_use]
    pub fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// Returns the requested objects, in order.
    #[must_use]
    pub fn requests(&self) -> &[u32] {
        &self.requests
    }

    /// Returns the total size of all requested objects, in bytes.
    #[must_use]
    pub fn unique_bytes(&self) -> u64 {
        let mut is_asked_for = vec![false; self.sizes.len()];
        for object in &self.requests {
            if let Some(flag) = usize::try_from(*object).ok().and_then(|object| is_asked_for.get_mut(object)) {
                *flag = true;
            }
        }
        self.sizes.iter().zip(is_asked_for).filter_map(|(size, is_asked_for)| is_asked_for.then_some(size)).sum()
    }
}
