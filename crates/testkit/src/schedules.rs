//! Runs a scenario in orders of its threads that are drawn at random, by shuttle.

use std::sync::Arc;
use std::time::Instant;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler};
use shuttle::{Config, Runner};

use crate::{Numbers, seed, time_budget};

/// The number of schedules that are drawn from one seed.
const AT_ONCE: usize = 50;

/// The maximum number of changes of the order in which threads come first, where few changes are wanted. The minimum is
/// one.
const MAX_CHANGES: usize = 5;

fn config() -> Config {
    let mut config = Config::new();
    // The default is for smaller programs.
    config.stack_size = 1 << 18;
    // It warns that orders of memory are not tried.
    config.silence_warnings = true;
    config
}

/// Runs `scenario` in one order after another, for a share of the time budget: that of one of `scenarios`.
///
/// A scheduler that picks any thread at each step takes turns with one that lets the same thread run but for a few
/// changes. If no thread can go on, that is a failure too. Orders of memory are not tried.
///
/// A failure prints its schedule. To run that one alone, on the same code, put it into a file, name the file in
/// `BLOBACCESS_SCHEDULE`, and run the one test.
///
/// # Panics
///
/// If the scenario does, or if that file cannot be read.
pub fn explore(name: &str, scenarios: u32, scenario: impl Fn() + Send + Sync + 'static) {
    let scenario = Arc::new(scenario);
    let again = || {
        let scenario = Arc::clone(&scenario);
        move || scenario()
    };
    if let Ok(file) = std::env::var("BLOBACCESS_SCHEDULE") {
        let scheduler = ReplayScheduler::new_from_file(&file).unwrap_or_else(|error| panic!("{file}: {error:?}"));
        Runner::new(scheduler, config()).run(again());
        return;
    }
    let share = time_budget() / scenarios;
    let mut numbers = Numbers::new(seed("BLOBACCESS_SCHEDULES_SEED"));
    let begun = Instant::now();
    let mut count = 0;
    for turn in 0.. {
        let seed = numbers.draw();
        count += match turn % (1 + MAX_CHANGES) {
            0 => Runner::new(RandomScheduler::new_from_seed(seed, AT_ONCE), config()).run(again()),
            changes => Runner::new(PctScheduler::new_from_seed(seed, 1 + changes, AT_ONCE), config()).run(again()),
        };
        if begun.elapsed() >= share {
            break;
        }
    }
    println!("{name}: {count} schedules");
}
