//! The devices that a store lies on, and the layout of each.

use blobaccess::{Error, Result};

use crate::device::{Devices, LatchedDevice, Mapping};
use crate::persistence::label::{Label, Role};
use crate::persistence::{Layout, Superblock};
use crate::sizes::Sizes;

/// The devices that a store lies on. Once one of them fails, all have failed.
#[derive(Debug)]
pub(crate) struct Disk {
    /// The device of the blocks.
    pub(super) device: LatchedDevice,
    logs: Option<LatchedDevice>,
    state: Option<LatchedDevice>,
    /// The mapping of the blocks, if they are read that way.
    mapping: Option<Mapping>,
    pub(super) layout: Layout,
}

impl Disk {
    /// Takes the devices, and maps the blocks if they `are_mapped`.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if a device is too small. `InvalidArgument` if its blocks `are_mapped` and it is none that
    /// can be.
    pub(super) fn new(devices: Devices, sizes: &Sizes, are_mapped: bool) -> Result<Self> {
        let Devices { blocks, logs, state } = devices;
        let needed = [
            (Some(&blocks), "blocks", sizes.capacity_bytes),
            (logs.as_ref(), "logs", sizes.logs_bytes),
            (state.as_ref(), "state", 2 * sizes.superblock_bytes),
        ];
        for (device, what, needed) in needed {
            if let Some(there) = device.map(|device| device.size_bytes()).filter(|there| *there < needed) {
                return Err(Error::failed_precondition(format!(
                    "the device of the {what} has {there} bytes, while {needed} bytes are to be used"
                )));
            }
        }
        let device = LatchedDevice::new(blocks);
        let mapping = if are_mapped { Some(mapping(&device, sizes.capacity_bytes)?) } else { None };
        let beside = |other| device.beside(other);
        Ok(Self { logs: logs.map(beside), state: state.map(beside), mapping, device, layout: Layout::new(sizes) })
    }

    /// Reads a range of the device of the blocks. It may block.
    pub(super) fn read_data(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        // Beyond the end of the mapping, the device says what is wrong.
        if self.mapping.as_ref().is_some_and(|mapping| mapping.read_at(offset, buffer).is_ok()) {
            return Ok(());
        }
        self.device.read_at(offset, buffer)
    }

    /// Returns the device of logs and touches.
    pub(super) fn logs(&self) -> &LatchedDevice {
        self.logs.as_ref().unwrap_or(&self.device)
    }

    /// Returns the device of superblocks.
    pub(super) fn state(&self) -> &LatchedDevice {
        self.state.as_ref().unwrap_or(&self.device)
    }

    /// Returns the devices, with what they hold.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &LatchedDevice)> {
        let logs = self.logs.as_ref().map(|logs| ("logs", logs));
        let state = self.state.as_ref().map(|state| ("state", state));
        [("blocks", &self.device)].into_iter().chain(logs).chain(state)
    }

    /// Returns the devices that hold no state, with their roles.
    pub(super) fn labelled(&self) -> impl Iterator<Item = (Role, &LatchedDevice)> {
        let blocks = self.state.as_ref().map(|_| (Role::Blocks, &self.device));
        let logs = self.logs.as_ref().map(|logs| (Role::Logs, logs));
        blocks.into_iter().chain(logs)
    }

    /// Makes durable the writes so far, and then the superblock that vouches for them.
    pub(super) fn commit(&self, superblock: &Superblock) -> Result<()> {
        for (role, device) in self.labelled() {
            let label = Label::of(superblock, role);
            device.write_at(label.offset(), &label.encode())?;
        }
        self.device.sync()?;
        if let Some(logs) = &self.logs {
            logs.sync()?;
        }
        let slot = self.layout.superblock(superblock.sequence % 2);
        self.state().write_at(slot, &superblock.encode())?;
        self.state().sync()
    }
}

fn mapping(device: &LatchedDevice, size_bytes: u64) -> Result<Mapping> {
    let file = device.mappable().ok_or_else(|| {
        Error::invalid_argument(
            "the device of the blocks is none that can be mapped, as the option `mapped_reads` asks for",
        )
    })?;
    Mapping::new(file, size_bytes).map_err(|error| {
        let message = format!("failed to map {size_bytes} bytes of the device of the blocks (option `mapped_reads`)");
        Error::internal(message).with_source(error)
    })
}
