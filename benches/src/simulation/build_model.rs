//! What the builds of a repository ask a cache for, as its sources change.

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

/// A repository of targets, and who builds it.
///
/// A commit changes some targets: how many is a Pareto draw (most commits change little, some nearly everything), where is
/// a draw by Zipf's law (some parts are worked on much more than others); changed targets lie side by side. After each
/// commit, continuous integration builds what has changed and what is around it, and every so often everything.
/// Developers build a part of it as it was some commits ago, a geometric draw. Every build asks for all outputs of its
/// targets, and for all of a tool kit.
#[derive(Clone, Copy, Debug)]
pub struct BuildModel {
    /// Targets of the repository.
    pub targets: usize,
    /// Objects that a target makes.
    pub outputs: usize,
    /// Objects of the tool kit, which never change.
    pub tool_kit: usize,
    /// How often the repository changes.
    pub commits: usize,
    /// After how many commits everything is built.
    pub commits_per_full_build: usize,
    /// Builds of developers per commit.
    pub developer_builds: usize,
    /// The mean number of commits that a developer is behind.
    pub mean_lag: f64,
    /// Targets that a developer builds.
    pub developer_targets: usize,
    /// The shape of the Pareto draw of changed targets, whose least value is 2.
    pub shape: f64,
}

impl BuildModel {
    /// A repository of 3,000 targets over 300 commits.
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

    /// The same, so many times as small.
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

    /// What its builds ask for.
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
    /// Where the parts that are worked on most begin.
    order: Vec<usize>,
    /// For each target, the commits that changed it, with the first object of what it made since.
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

    /// Asks for so many targets as they were at `commit`, and for the tool kit.
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
