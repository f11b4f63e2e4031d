//! Random histories of puts, overwrites, finds, reads and syncs on a store so small that its blocks are recycled all the
//! time, cut anywhere.
//!
//! Of what was there when the last completed sync began and was not given up since, everything must be there; an action
//! result must be the one of that sync or a later one; nothing may be read that was not put; and the store must go on
//! working, and keep what was promised before.

use blobaccess::{Ac, Cas, Clock, Kind, SystemClock};
use blobaccess_local_store::{Refresh, SyncPolicy};
use blobaccess_testkit::{Numbers, seed, time_budget};

use crate::accounts::released;
use crate::expected::{check, check_after_damage, expected};
use crate::history::history;
use crate::image::{Crashes, Loss};
use crate::setup::Setup;
use crate::superblocks::rot_younger_superblock;

fn try_history<K: Kind>(setup: Setup, seed: u64, images: &mut u64) -> u64 {
    let history = history::<K>(setup, seed);
    let sizes = *history.store.sizes();
    let steps = history.device.steps();
    let mut crashes = Crashes::new(vec![0; usize::try_from(setup.size_bytes()).unwrap()], steps.clone());
    let mut numbers = Numbers::new(!seed);
    let mut position = 0;
    while position <= steps.len() {
        for loss in Loss::ALL {
            let image = crashes.image(position, loss, &mut numbers);
            // If the store was being made, it must be possible to make it again.
            let store = setup.open_image::<K>(image).unwrap();
            if let Some(expected) = expected(&history.moments, position) {
                let released = released(&store);
                for (account_name, (objects, bytes)) in &expected.certain.released {
                    let (objects_now, bytes_now) = released.get(account_name).copied().unwrap_or_default();
                    assert!(objects_now >= *objects && bytes_now >= *bytes, "{account_name:?} was said to be given up");
                }
                check(&store, &history, &expected, &mut numbers, &sizes);
            }
            *images += 1;
        }
        // The younger superblock rots: what it alone vouched for may be gone, but nothing may be wrong.
        if let Some(mut known) = expected(&history.moments, position) {
            let mut image = crashes.image(position, Loss::Everything, &mut numbers);
            rot_younger_superblock(&mut image, setup.state());
            known.needed.clear();
            known.at_least.clear();
            known.possible = &history.moments;
            check(&setup.open_image::<K>(image).unwrap(), &history, &known, &mut numbers, &sizes);
            *images += 1;
        }
        // A sector cannot be read any more: what it held may be gone, but the store opens and goes on, and nothing is wrong.
        if expected(&history.moments, position).is_some() {
            let image = crashes.image(position, Loss::Nothing, &mut numbers);
            let sectors = image.chunks(4096).enumerate();
            let used: Vec<_> = sectors.filter(|(_, sector)| sector.iter().any(|byte| *byte != 0)).collect();
            let sector = u64::try_from(used[numbers.below(used.len())].0).unwrap();
            let store = setup.open_with_bad_sector::<K>(image.clone(), sector).unwrap();
            check_after_damage(&store, &history, &mut numbers);
            *images += 1;
        }
        position += if position < 12 { 1 } else { 1 + numbers.below(60) };
    }
    history.refreshed
}

fn try_histories<K: Kind>(policy: SyncPolicy, share: u32) {
    for refresh in [Refresh::AtRecycling, Refresh::OnTouch] {
        for is_apart in [false, true] {
            try_histories_of::<K>(Setup { policy, refresh, is_apart }, 4 * share);
        }
    }
}

fn try_histories_of<K: Kind>(setup: Setup, share: u32) {
    let budget = time_budget() / share;
    let first = seed("BLOBACCESS_CRASH_SEED");
    let begun = SystemClock.monotonic();
    let (mut images, mut histories, mut refreshed) = (0, 0, 0);
    while SystemClock.monotonic() - begun < budget {
        let seed = first.wrapping_add(histories);
        println!("BLOBACCESS_CRASH_SEED={seed}, {setup:?}");
        refreshed += try_history::<K>(setup, seed, &mut images);
        histories += 1;
    }
    let kind = K::STORAGE_TYPE.name();
    println!("{images} images of {histories} histories, {refreshed} refreshes, {setup:?} of {kind}");
}

#[test]
fn contents_that_were_synced_outlive_a_crash_anywhere() {
    try_histories::<Cas>(SyncPolicy::OnClose, 3);
}

#[test]
fn messages_that_were_synced_outlive_a_crash_anywhere() {
    try_histories::<Ac>(SyncPolicy::OnClose, 3);
}

#[test]
fn under_on_put_everything_outlives_a_crash_anywhere() {
    try_histories::<Ac>(SyncPolicy::OnPut, 6);
    try_histories::<Cas>(SyncPolicy::OnPut, 6);
}
