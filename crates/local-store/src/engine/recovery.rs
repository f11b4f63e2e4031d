//! Finds the superblock to go on from, and refuses devices that do not belong to it.

use blobaccess::{Error, ErrorKind, Result, StorageType};

use super::disk::Disk;
use super::ownership;
use crate::device::SECTOR_BYTES;
use crate::machine::casts;
use crate::machine::random;
use crate::options::Options;
use crate::persistence::label::{self, LABELS_BYTES, Label, Role};
use crate::persistence::superblock;
use crate::persistence::{Identity, Superblock};
use crate::sizes::Sizes;

/// The sequence of the last superblock that is written while a store is made.
const LAST_OF_MAKING: u64 = 2;

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Returns the superblocks that prove right, whatever store they are of.
pub(super) fn superblocks(disk: &Disk, sizes: &Sizes) -> Result<Vec<Superblock>> {
    let mut right = Vec::new();
    for slot in 0..2 {
        let mut bytes = vec![0; casts::in_memory(sizes.superblock_bytes)];
        disk.state().read_sectors(disk.layout.superblock(slot), &mut bytes)?;
        right.extend(Superblock::decode(&bytes));
    }
    Ok(right)
}

/// The contents of devices, for a store with certain options.
pub(super) enum Found {
    /// The superblock to go on from.
    State(Box<Superblock>),
    /// Nothing: a store is to be made anew.
    Nothing,
    /// Something that these options do not continue.
    Refused(Error),
}

/// Looks at the devices, without writing.
///
/// The first superblock of a store goes to the second slot, and the store is not used before there is one in the first
/// slot as well. So a store whose first slot is blank, and whose second slot fails verification, was never used.
pub(super) fn look_at(disk: &Disk, sizes: &Sizes, storage_type: StorageType, options: &Options) -> Result<Found> {
    let reach = if sizes.has_own_state { 2 * sizes.superblock_bytes } else { sizes.capacity_bytes };
    let mut first = vec![0; casts::in_memory(sizes.superblock_bytes.max(reach.min(1 << 20)))];
    disk.state().read_sectors(0, &mut first)?;
    let mut second = vec![0; casts::in_memory(sizes.superblock_bytes)];
    disk.state().read_sectors(disk.layout.superblock(1), &mut second)?;
    let head = first.get(..casts::in_memory(SECTOR_BYTES)).unwrap_or_default();
    let is_labelled = label::bears_magic(head);
    let slots = [&first, &second];
    let right: Vec<Superblock> = slots.iter().filter_map(|slot| Superblock::decode(slot)).collect();
    // Blocks that one of two slots vouches for stay unchanged until the other slot is written again.
    let lead = if right.len() == slots.len() { 1 } else { 2 };
    let latest = right.into_iter().max_by_key(|slot| slot.sequence);
    // Where a label is, a superblock is one of an earlier store.
    let latest = latest.filter(|_| !is_labelled);
    let mut labelled = Vec::new();
    for (role, device) in disk.labelled() {
        let mut head = vec![0; casts::in_memory(LABELS_BYTES)];
        device.read_sectors(0, &mut head)?;
        labelled.push((role, head));
    }
    let checked = match (latest, options.persistence.is_some()) {
        (Some(state), true) => {
            let fits = labelled.iter().try_for_each(|(role, head)| fits(&state, lead, *role, head));
            let checked = state.identity.check(&fresh_identity(storage_type, sizes)).and(fits);
            checked.map(|()| Found::State(Box::new(state)))
        }
        (None, true) => made_anew(head, &labelled).and_then(|()| ownership::check(disk)).map(|()| Found::Nothing),
        (_, false) if !is_labelled && !slots.iter().any(|slot| superblock::bears_magic(slot)) => {
            ownership::check(disk).map(|()| Found::Nothing)
        }
        (_, false) => Err(Error::failed_precondition(
            "the device holds a persistent store, while one that starts empty is to be opened: discard it, or open \
             it as persistent",
        )),
    };
    Ok(checked.unwrap_or_else(Found::Refused))
}

/// Returns the superblock to go on from; `None` if a store is to be made anew, for which the devices are claimed.
pub(super) fn find(
    disk: &Disk,
    sizes: &Sizes,
    storage_type: StorageType,
    options: &Options,
) -> Result<Option<Superblock>> {
    let refusal = match look_at(disk, sizes, storage_type, options)? {
        Found::State(state) => return Ok(Some(*state)),
        Found::Nothing => return ownership::claim(disk).map(|()| None),
        Found::Refused(refusal) => refusal,
    };
    if !is_discarded(&refusal, options) {
        return Err(refusal);
    }
    tracing::warn!("what the device held is discarded: {refusal}");
    let blank = vec![0; casts::in_memory(sizes.superblock_bytes)];
    for slot in 0..2 {
        disk.state().write_at(disk.layout.superblock(slot), &blank)?;
    }
    disk.state().sync()?;
    for (_, device) in disk.labelled() {
        device.write_at(0, &vec![0; casts::in_memory(LABELS_BYTES)])?;
        device.sync()?;
    }
    ownership::claim(disk)?;
    Ok(None)
}

/// Returns whether a store that is refused for this is discarded by these options.
pub(super) fn is_discarded(refusal: &Error, options: &Options) -> bool {
    options.discarding && refusal.kind() != ErrorKind::Unavailable
}

/// Refuses a device that does not belong to a superblock: one of another store, or one of another time. That is one
/// that is ahead by more than `lead` superblocks or behind by more than one.
fn fits(state: &Superblock, lead: u64, role: Role, head: &[u8]) -> Result<()> {
    let what = role.name();
    let refused = |message: String| Err(Error::failed_precondition(message));
    let Some(label) = Label::latest(head).filter(|label| label.role == role) else {
        return refused(format!(
            "there is a state, but its {what} are not here: discard it, or open what belongs to it"
        ));
    };
    if label.store_id != state.identity.store_id {
        return refused(format!("state and {what} belong to different stores"));
    }
    // It is written together with what the next superblock vouches for, so it may be one ahead of that; of the older
    // superblock, if the younger one is damaged, two. If the younger one of two labels is damaged, the other is one behind.
    let (device_sequence, state_sequence) = (label.sequence, state.sequence);
    if device_sequence > state_sequence + lead {
        return refused(format!(
            "the {what} were written up to superblock {device_sequence}, while the state has {state_sequence}: it is an older one"
        ));
    }
    if device_sequence + 1 < state_sequence {
        return refused(format!(
            "the {what} were written up to superblock {device_sequence}, while the state has {state_sequence}: they are older ones"
        ));
    }
    Ok(())
}

/// Refuses devices without a state that do not seem to be new.
fn made_anew(head: &[u8], labelled: &[(Role, Vec<u8>)]) -> Result<()> {
    if !is_blank(head) {
        return Err(Error::failed_precondition(
            "the device holds neither a store with a valid state nor zeros: discard what it holds, or open \
             another one",
        ));
    }
    for (role, head) in labelled {
        let what = role.name();
        // As of superblocks, the first label goes to the second sector.
        if is_blank(head.get(..casts::in_memory(SECTOR_BYTES)).unwrap_or_default()) {
            continue;
        }
        match Label::latest(head) {
            Some(label) if label.sequence <= LAST_OF_MAKING => {}
            Some(_) => {
                return Err(Error::failed_precondition(format!(
                    "there are {what} of a store whose state is not here: discard them, or open the state as well"
                )));
            }
            None => {
                return Err(Error::failed_precondition(format!(
                    "the device of the {what} holds neither those of a store nor zeros: discard what it holds, or \
                     open another one"
                )));
            }
        }
    }
    Ok(())
}

/// Returns the identity of a store that is made now.
pub(super) fn fresh_identity(storage_type: StorageType, sizes: &Sizes) -> Identity {
    Identity {
        storage_type,
        store_id: random::bytes(),
        secret: random::bytes(),
        data_bytes: sizes.data_bytes,
        blocks: sizes.blocks,
        log_sectors: sizes.log_sectors,
        touch_sectors: sizes.touch_sectors,
        chunk_bytes: u32::try_from(sizes.chunk_bytes).unwrap_or(u32::MAX),
        account_names: sizes.account_names,
        is_hierarchical: sizes.is_hierarchical,
        has_own_logs: sizes.has_own_logs,
        has_own_state: sizes.has_own_state,
    }
}
