//! The requests of the builds of a repository, as its sources change.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a draw from a distribution is cut to a whole number"
)]

use crate::popularity::Zipf;
use crate::simulation::trace::Trace;
use crate::size_distribution::SizeDistribution;
use blobaccess_testkit::Numbers;

/// A repository of targets, and its builds.
///
/// A commit changes some targets, which are neighbours. Their number is a Pareto draw: most commits change little, some
/// nearly everything. Their place is a draw by Zipf's law: some parts change much more often than others. After each
/// commit, continuous integration builds the changed targets and their neighbourhood, and at intervals everything.
/// Developers build a part of the repository as it was some commits ago, which is a geometric draw. Every build asks
/// for all outputs of its targets, and for all of a tool kit.
#[derive(Clone, Copy, Debug)]
pub struct BuildModel {
    /// The number of targets in the repository.
    pub targets: usize,
    /// The number of objects that a target makes.
    pub outputs: usize,
    /// The number of objects in the tool kit, which never change.
    pub tool_kit: usize,
    /// The number of commits.
    pub commits: usize,
    /// The number of commits after which everything is built.
    pub commits_per_full_build: usize,
    /// The number of builds by developers per commit.
    pub developer_builds: usize,
    /// The mean number of commits that a developer is behind.
    pub mean_lag: f64,
    /// The number of targets that a developer builds.
    pub developer_targets: usize,
    /// The shape of the Pareto draw of changed targets, whose minimum is 2.
    pub shape: f64,
}

impl BuildModel {
    /// The model of a repository of 3,000 targets over 300 commits.
    pub const DEFAULT: Self = Self {
        targets: 3000,
        outputs: 12,
        tool_kit: 1000,
        commits: 300,
        commits_per_full_build: 10,
        developer_builds: 4,
        mean_lag: 15.0,
        developer_targets: 300,
        shape: 0.9,
    };

    /// Divides the size of the repository by `by`.
    #[must_use]
    pub fn divided_by(self, by: usize) -> Self {
        Self {
            targets: (self.targets / by).max(20),
            tool_kit: self.tool_kit / by,
            commits: (self.commits / by).max(20),
            developer_targets: (self.developer_targets / by).max(4),
            ..self
        }
    }

    /// Makes the requests of its builds.
    #[must_use]
    pub fn trace(&self, seed: u64, sizes: SizeDistribution) -> Trace {
        let mut builder = Builder::new(*self, seed);
        for commit in 0..self.commits {
            builder.commit(commit);
        }
        let objects = builder.objects;
        let sizes = sizes.sizes(seed, objects);
        let name = format!("build model, {objects} objects, {} finds, {self:?}", builder.requests.len());
        let requests = builder.requests.iter().filter_map(|object| u32::try_from(*object).ok()).collect();
        Trace::new(name, sizes, requests)
    }
}

struct Builder {
    model: BuildModel,
    numbers: Numbers,
    hot: Zipf,
    /// The places at which the parts that change most begin.
    order: Vec<usize>,
    /// The commits that changed each target, with the first object that it made since.
    versions: Vec<Vec<(usize, usize)>>,
    objects: usize,
    requests: Vec<usize>,
}

impl Builder {
    fn new(model: BuildModel, seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let mut order: Vec<usize> = (0..model.targets).collect();
        numbers.shuffle(&mut order);
        let versions = (0..model.targets).map(|target| vec![(0, model.tool_kit + target * model.outputs)]).collect();
        let objects = model.tool_kit + model.targets * model.outputs;
        let hot = Zipf::new(model.targets, 0.8);
        Self { model, numbers, hot, order, versions, objects, requests: Vec::new() }
    }

    fn commit(&mut self, commit: usize) {
        let model = self.model;
        let pareto = 2.0 * (1.0 - self.numbers.unit()).powf(-1.0 / model.shape);
        let changed = (pareto as usize).min(model.targets / 2);
        let at = self.place();
        for target in at..at + changed {
            let objects = self.objects;
            if let Some(versions) = self.versions.get_mut(target % model.targets) {
                versions.push((commit, objects));
                self.objects += model.outputs;
            }
        }
        if commit.is_multiple_of(model.commits_per_full_build) {
            self.build(commit, 0, model.targets);
        } else {
            self.build(commit, at, changed * 2);
        }
        for _ in 0..model.developer_builds {
            let lag = (self.numbers.unit().max(1e-9).ln() / (1.0 - 1.0 / model.mean_lag).ln()) as usize;
            let at = self.place();
            self.build(commit.saturating_sub(lag), at, model.developer_targets);
        }
    }

    fn place(&mut self) -> usize {
        let rank = self.hot.draw(&mut self.numbers);
        self.order.get(rank).copied().unwrap_or_default()
    }

    /// Asks for `targets` targets as they were at `commit`, and for the tool kit.
    fn build(&mut self, commit: usize, at: usize, targets: usize) {
        self.requests.extend(0..self.model.tool_kit);
        for target in (at..at + targets.min(self.model.targets)).map(|target| target % self.model.targets) {
            let Some(versions) = self.versions.get(target) else { continue };
            let since = versions.partition_point(|(since, _)| *since <= commit).saturating_sub(1);
            let Some((_, first)) = versions.get(since) else { continue };
            self.requests.extend(*first..first + self.model.outputs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_build_asks_for_the_tool_kit_and_full_ones_for_everything() {
        let model = BuildModel::DEFAULT.divided_by(20);
        let trace = model.trace(1, SizeDistribution::BUILD_CACHE);
        assert_eq!(trace.requests(), model.trace(1, SizeDistribution::BUILD_CACHE).requests());
        assert_ne!(trace.requests(), model.trace(2, SizeDistribution::BUILD_CACHE).requests());
        let builds = model.commits * (1 + model.developer_builds);
        assert_eq!(trace.requests().iter().filter(|object| **object == 0).count(), builds);
        let everything = model.tool_kit + model.targets * model.outputs;
        let first: std::collections::HashSet<_> = trace.requests()[..everything].iter().collect();
        assert_eq!(first.len(), everything);
    }
}
