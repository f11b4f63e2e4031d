//! The local store at the work of a build cache, compared with the limits of the machine.
//!
//! `cargo bench --bench store -- --entries 1000000`. The package `benches/peers` compares it with other stores.

use std::path::Path;

use blobaccess_testkit::allocations::Counting;
use blobaccess_workbench::contest::{
    Appending, ByTrait, Contest, Contestant, Inherent, Machine, Place, Results, Scale, contest_in_memory,
    contest_of_verifiers, contest_on_disk, run,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn inherent(scale: Scale, _: &Path, results: &mut dyn Results) {
    contest_in_memory(scale, &|room| Box::new(Inherent::open(&Place::Memory, room)), results);
}

fn by_trait(scale: Scale, _: &Path, results: &mut dyn Results) {
    contest_in_memory(scale, &|room| Box::new(ByTrait::open(&Place::Memory, room, false)), results);
}

fn verified(scale: Scale, _: &Path, results: &mut dyn Results) {
    contest_of_verifiers(scale, &|room| Box::new(ByTrait::open(&Place::Memory, room, true)), results);
}

fn inherent_on_disk(scale: Scale, directory: &Path, results: &mut dyn Results) {
    let place = Place::File(directory.join("blocks"));
    contest_on_disk(scale, &|room| Box::new(Inherent::open(&place, room)), results);
}

fn by_trait_on_disk(scale: Scale, directory: &Path, results: &mut dyn Results) {
    let place = Place::File(directory.join("blocks"));
    contest_on_disk(scale, &|room| Box::new(ByTrait::open(&place, room, false)), results);
}

fn main() {
    run(&[
        Contest {
            name: "in memory",
            contestants: &[
                Contestant::new("ours", inherent),
                Contestant::new("ours by the trait", by_trait),
                Contestant::new("limit: append past the caches", |scale, _, results| {
                    Machine::append(scale, Appending::PastCaches, results);
                }),
                Contestant::new("limit: append by a copy", |scale, _, results| {
                    Machine::append(scale, Appending::Copying, results);
                }),
                Contestant::new("limit: prefetched lines", |scale, _, results| Machine::walk(scale, results)),
            ],
            divided_by: 1,
        },
        Contest {
            name: "verified",
            contestants: &[
                Contestant::new("ours, verified", verified),
                Contestant::new("limit: hash", |scale, _, results| Machine::hash(scale, results)),
            ],
            divided_by: 1,
        },
        Contest {
            name: "on a disk",
            contestants: &[
                Contestant::new("ours in a file", inherent_on_disk),
                Contestant::new("ours in a file, by the trait", by_trait_on_disk),
                Contestant::new("limit: disk", Machine::disk),
            ],
            divided_by: 20,
        },
    ]);
}
