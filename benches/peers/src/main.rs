//! The local store and others at the same work, in the same run.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- --entries 1000000 --rounds 2`. Further arguments choose
//! contestants by a part of their names; `--test` shrinks everything.

mod cacache_cache;
mod fjall_database;
mod foyer_cache;
mod foyer_hybrid;
mod moka_cache;
mod object_store_store;
mod papaya_map;
mod plain_map;
mod quick_cache_cache;
mod redb_database;

use std::path::Path;

use blobaccess_testkit::allocations::Counting;
use blobaccess_workbench::contest::{
    Appending, ByTrait, Contest, Contestant, Inherent, Machine, Peer, Place, Results, Room, Scale, contest_in_memory,
    contest_on_disk, run,
};
use cacache_cache::CacacheCache;
use fjall_database::FjallDatabase;
use foyer_cache::FoyerCache;
use foyer_hybrid::FoyerHybrid;
use moka_cache::MokaCache;
use object_store_store::ObjectStoreStore;
use papaya_map::PapayaMap;
use plain_map::PlainMap;
use quick_cache_cache::QuickCache;
use redb_database::RedbDatabase;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A store in memory as a contestant.
macro_rules! in_memory {
    ($name:literal, $open:expr) => {
        Contestant::new($name, |scale: Scale, _: &Path, results: &mut dyn Results| {
            contest_in_memory(scale, &$open, results);
        })
    };
}

/// A store on a disk as a contestant.
macro_rules! on_disk {
    ($name:literal, $open:expr) => {
        Contestant::new($name, |scale: Scale, directory: &Path, results: &mut dyn Results| {
            let open: fn(&Path, Room) -> Box<dyn Peer> = $open;
            contest_on_disk(scale, &|room| open(directory, room), results);
        })
    };
}

fn main() {
    run(&[
        Contest {
            name: "in memory",
            contestants: &[
                in_memory!("ours", |room| Box::new(Inherent::open(&Place::Memory, room)) as Box<dyn Peer>),
                in_memory!("ours by the trait", |room| {
                    Box::new(ByTrait::open(&Place::Memory, room, false)) as Box<dyn Peer>
                }),
                in_memory!("RwLock<HashMap>", PlainMap::open),
                in_memory!("papaya", PapayaMap::open),
                in_memory!("quick_cache", QuickCache::open),
                in_memory!("moka", MokaCache::open),
                in_memory!("foyer", FoyerCache::open),
                in_memory!("object_store in memory", ObjectStoreStore::open),
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
            name: "on a disk",
            contestants: &[
                on_disk!("ours in a file", |directory, room| {
                    let place = Place::File(directory.join(format!("blocks-{}", room.objects)));
                    Box::new(Inherent::open(&place, room))
                }),
                on_disk!("ours in a file, by the trait", |directory, room| {
                    let place = Place::File(directory.join(format!("blocks-{}", room.objects)));
                    Box::new(ByTrait::open(&place, room, false))
                }),
                on_disk!("foyer hybrid", FoyerHybrid::open),
                on_disk!("redb", RedbDatabase::open),
                on_disk!("fjall", FjallDatabase::open),
                // A file for each blob: with all of them, these take longer than all others together.
                on_disk!("object_store on files", ObjectStoreStore::open_in).divided_by(10),
                on_disk!("cacache", CacacheCache::open).divided_by(10),
                Contestant::new("limit: disk", Machine::disk),
            ],
            divided_by: 20,
        },
    ]);
}
