//! What a cache is asked for, in order.

use crate::popularity::Zipf;
use crate::size_distribution::SizeDistribution;
use blobaccess_testkit::Numbers;

/// Requests for objects, which are numbered from 0. Who misses one puts it.
#[derive(Clone, Debug)]
pub struct Trace {
    name: String,
    sizes: Vec<u64>,
    requests: Vec<u32>,
}

impl Trace {
    /// `requests` of objects of these sizes.
    #[must_use]
    pub fn new(name: String, sizes: Vec<u64>, requests: Vec<u32>) -> Self {
        Self { name, sizes, requests }
    }

    /// Reads of `objects` by Zipf's law, eight for each object on average. Size and rank have nothing to do with each
    /// other.
    #[must_use]
    pub fn zipf(seed: u64, objects: usize, skew: f64, sizes: SizeDistribution) -> Self {
        let zipf = Zipf::new(objects, skew);
        let mut numbers = Numbers::new(seed);
        let requests = (0..objects * 8).filter_map(|_| u32::try_from(zipf.draw(&mut numbers)).ok()).collect();
        let sizes = sizes.sizes(seed, objects);
        Self::new(format!("Zipf {skew}, {objects} objects, {} reads", objects * 8), sizes, requests)
    }

    /// What it is, with its parameters.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size of each object, in bytes.
    #[must_use]
    pub fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    /// The objects that are asked for, in order.
    #[must_use]
    pub fn requests(&self) -> &[u32] {
        &self.requests
    }

    /// The bytes of all objects that are asked for at all.
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
