//! The plan of a local store: the options that a configuration comes to.

use std::time::Duration;

use blobaccess::{Ac, Cas, Fsac, Icas, Iscc, Kind, Result, StorageType};
use blobaccess_local_store::{Environment, LocalStore, Options, Sizes, SyncPolicy};

use super::block_device::BlockDevice;
use super::contents::{Contents, inspect};
use super::index::Index;
use super::integrity::read_remembered_verification;
use super::persistence::Persistence;
use super::rotation::Rotation;
use super::space::{capacity_in_memory, least_capacity, logs_bytes};
use crate::section::Section;
use crate::used_path::UsedPath;

/// The largest block, in bytes.
const MAX_BLOCK_BYTES: u64 = 1 << 40;

/// The plan of a local store. Nothing was opened for it, and no file changed.
#[derive(Clone, Debug)]
pub(crate) struct LocalPlan {
    options: Options,
    pub(super) sizes: Sizes,
    paths: Vec<UsedPath>,
    /// The path in the configuration, for errors.
    path: String,
    /// The place of the blocks, for people.
    place: String,
    interval: Option<Duration>,
    is_hierarchical: bool,
}

/// The blocks of a configuration.
enum Blocks {
    InMemory { block_bytes: u64 },
    OnDevice { device: BlockDevice, verification: Option<Duration> },
}

impl LocalPlan {
    /// Reads a `LocalBlobAccessConfiguration` for a store of this kind. Returns `None` if a fault was noted.
    ///
    /// Files that it names are looked at, but not changed.
    pub(crate) fn read(section: &Section<'_>, kind: StorageType) -> Option<Self> {
        let on_device = section.message("blocks_on_block_device");
        let rotation = Rotation::read(section, on_device.as_ref(), kind);
        let index = Index::read(section);
        let blocks = read_blocks(section);
        let persistent = section.message("persistent");
        let persistence = persistent.as_ref().map(Persistence::read);
        let is_hierarchical = section.flag("hierarchical_instance_names");
        if is_hierarchical && kind != StorageType::Cas {
            let message = "can only be set for the content addressable storage: use the backend \
                           hierarchicalInstanceNames for other kinds";
            section.fault_at("hierarchical_instance_names", message);
            return None;
        }
        // All of them are read before any fault ends this.
        let (rotation, index, blocks) = (rotation?, index?, blocks?);
        let persistence = match persistence {
            Some(read) => Some(read?),
            None => None,
        };
        let draft = Draft { section, kind, rotation, index, is_hierarchical };
        match blocks {
            Blocks::InMemory { block_bytes } => {
                section.notice_at("persistent", "has no effect, as the blocks lie in memory: all is lost at the end");
                draft.plan_in_memory(block_bytes)
            }
            Blocks::OnDevice { device, verification } => draft.plan_on_device(&device, verification, persistence),
        }
    }

    /// Opens the store.
    ///
    /// # Errors
    ///
    /// As [`LocalStore::open`], with the path in the configuration.
    pub(crate) async fn open<K: Kind>(&self, environment: Environment) -> Result<LocalStore<K>> {
        let opened = LocalStore::open_in(self.options.clone(), environment).await;
        opened.map_err(|error| error.at(self.path.clone()))
    }

    /// Checks that the store could go on with the files that are there, such as those of a store with other sizes. Nothing
    /// is created or written.
    ///
    /// # Errors
    ///
    /// As [`LocalStore::check_files`].
    pub(crate) async fn check_files(&self, kind: StorageType) -> Result<()> {
        let options = self.options.clone();
        match kind {
            StorageType::Cas => LocalStore::<Cas>::check_files(options).await,
            StorageType::Ac => LocalStore::<Ac>::check_files(options).await,
            StorageType::Icas => LocalStore::<Icas>::check_files(options).await,
            StorageType::Iscc => LocalStore::<Iscc>::check_files(options).await,
            StorageType::Fsac => LocalStore::<Fsac>::check_files(options).await,
        }
    }

    /// Returns the files and block devices that the store writes to. No two stores may have one in common.
    pub(crate) fn paths(&self) -> &[UsedPath] {
        &self.paths
    }

    /// Returns whether the blocks lie in memory.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.paths.is_empty()
    }

    /// Returns the place, sizes and promises of the store, a line each.
    pub(crate) fn describe(&self) -> Vec<String> {
        let sizes = &self.sizes;
        let mut lines = vec![
            format!("blocks: {}, {} for contents", self.place, Bytes(sizes.data_bytes())),
            format!("largest blob: {}", Bytes(sizes.max_blob_size_bytes())),
            format!("kept for at least {} of further puts", Bytes(sizes.promised_bytes())),
            format!("index: at most {} objects", sizes.slots()),
            format!("memory: up to {}", Bytes(sizes.memory_bytes())),
        ];
        lines.push(match self.interval {
            None => "starts empty each time".to_owned(),
            Some(interval) => format!(
                "kept across restarts: a crash loses what was put in the last {interval:?}; a shutdown loses nothing"
            ),
        });
        if self.is_hierarchical {
            lines
                .push("instance names are hierarchical: a name sees its own blobs and those of its parents".to_owned());
        }
        lines
    }
}

/// The parts of a plan that all media have.
struct Draft<'a> {
    section: &'a Section<'a>,
    kind: StorageType,
    rotation: Rotation,
    index: Index,
    is_hierarchical: bool,
}

impl Draft<'_> {
    fn plan_in_memory(self, block_bytes: u64) -> Option<LocalPlan> {
        let Some(capacity) = capacity_in_memory(block_bytes, self.rotation) else {
            let blocks = self.section.message("blocks_in_memory")?;
            blocks.fault_at("block_size_bytes", "is too large");
            return None;
        };
        if let Some(device) = &self.index.device {
            device.notice_size(
                self.section.reading(),
                "decides the size of the index, which lies in memory: the file is not used",
            );
        }
        let place = "in memory".to_owned();
        let options = self.with_common(Options::in_memory(capacity)).with_entries(self.index.slots);
        self.finish(options, Vec::new(), place, None)
    }

    fn plan_on_device(
        self,
        device: &BlockDevice,
        verification: Option<Duration>,
        persistence: Option<Persistence>,
    ) -> Option<LocalPlan> {
        let (reading, rotation) = (self.section.reading(), self.rotation);
        let sectors = device.size_bytes / 4096;
        let configured = u64::from(rotation.configured);
        if sectors < configured {
            device.fault_size(
                reading,
                format!("has {sectors} sectors of 4096 bytes, which is less than its {configured} blocks"),
            );
            return None;
        }
        if device.size_bytes / rotation.total() > MAX_BLOCK_BYTES {
            device.fault_size(reading, "is too large");
            return None;
        }
        let logs = match logs_bytes(rotation, self.index.slots, self.kind) {
            Ok(logs) if persistence.is_some() => logs,
            Ok(_) => 0,
            Err(error) => {
                self.fault_index(error.message());
                return None;
            }
        };
        let own_logs = self.index.device.as_ref().filter(|_| persistence.is_some());
        let least = least_capacity(rotation, if own_logs.is_some() { 0 } else { logs });
        let capacity = if device.size_bytes >= least {
            device.size_bytes
        } else if device.is_file() {
            device.notice_size(reading, format!("is raised to {least}, the least for {} blocks", rotation.total()));
            least
        } else {
            device.fault_size(reading, format!("has {} bytes, while at least {least} are needed", device.size_bytes));
            return None;
        };
        let mut options = self.with_common(Options::in_file(&device.used.path, capacity)).with_sparse_files();
        let mut paths = vec![device.used.clone()];
        if let Some(writes) = device.write_concurrency {
            options = options.with_write_concurrency(writes);
        }
        if let Some(duration) = verification.filter(|duration| !duration.is_zero()) {
            options = options.with_remembered_verification(duration);
        }
        options = match own_logs {
            None => options.with_entries(self.index.slots),
            Some(map) => {
                paths.push(map.used.clone());
                self.with_logs_in(options, map, logs)?
            }
        };
        let interval = persistence.as_ref().map(|persistence| persistence.interval);
        if let Some(persistence) = persistence {
            let policy = SyncPolicy::Interval(persistence.interval);
            options = options.persistent(policy).with_state_directory(&persistence.directory);
            paths.push(persistence.state);
        } else if let Some(map) = &self.index.device {
            map.notice_size(reading, "decides the size of the index, which lies in memory: the file is not used");
        }
        let place = format!("in {}", device.used.path.display());
        if !self.are_free(&paths, interval.is_some()) {
            return None;
        }
        self.finish(options, paths, place, interval)
    }

    /// Sets what stores of all media have.
    fn with_common(&self, options: Options) -> Options {
        let Rotation { old, current, new, spare, .. } = self.rotation;
        let options = options.with_blocks(old, current, new).with_spare_blocks(spare);
        if self.is_hierarchical { options.with_hierarchical_instance_names() } else { options }
    }

    /// Keeps logs in the place of Buildbarn's map: as many as fit, but at least three quarters of those for the slots
    /// that are wanted.
    fn with_logs_in(&self, options: Options, map: &BlockDevice, needed: u64) -> Option<Options> {
        let path = &map.used.path;
        let fitting = self.index.slots / 4 * 3;
        let fits = logs_bytes(self.rotation, fitting, self.kind).is_ok_and(|bytes| bytes <= map.size_bytes);
        if fits {
            return Some(options.with_logs_in(path, map.size_bytes));
        }
        if !map.is_file() {
            let message = format!("has {} bytes, while the logs of this store need {needed}", map.size_bytes);
            map.fault_size(self.section.reading(), message);
            return None;
        }
        let message = format!("is raised to {needed}, the least for the logs of {} blocks", self.rotation.total());
        map.notice_size(self.section.reading(), message);
        Some(options.with_entries(self.index.slots).with_logs_in(path, needed))
    }

    /// Checks that the files hold nothing that the store would destroy. Notes a fault if one does.
    fn are_free(&self, paths: &[UsedPath], is_persistent: bool) -> bool {
        let mut are_free = true;
        for used in paths {
            let reason = match (inspect(&used.path), is_persistent) {
                // A store that is not kept leaves just anything behind.
                (Ok(Contents::None), _)
                | (Ok(Contents::Ours), true)
                | (Ok(Contents::BuildbarnState | Contents::Other), false) => continue,
                (Ok(Contents::Ours), false) => {
                    "holds a persistent store, while this one is not persistent: name another path, or remove it"
                        .to_owned()
                }
                (Ok(Contents::BuildbarnState), true) => format!(
                    "holds the state of a bb_storage, in {}, whose blobs cannot be taken over: name other paths for state, \
                     blocks and map, or remove these files, which loses the blobs",
                    used.path.display()
                ),
                (Ok(Contents::Other), true) => format!(
                    "{} holds something that is no store of this program, such as blobs of a bb_storage: name another \
                     path, or remove it, which loses them",
                    used.path.display()
                ),
                (Err(error), _) => format!("{} cannot be read: {error}", used.path.display()),
            };
            self.section.reading().note_fault(&used.field, used.position.clone(), reason);
            are_free = false;
        }
        are_free
    }

    fn fault_index(&self, message: &str) {
        let name = self.section.member("key_location_map_backend").unwrap_or("key_location_map_in_memory");
        self.section.fault_at(name, message);
    }

    fn finish(
        self,
        options: Options,
        paths: Vec<UsedPath>,
        place: String,
        interval: Option<Duration>,
    ) -> Option<LocalPlan> {
        match Sizes::derive(&options, self.kind) {
            Ok(sizes) => {
                let path = self.section.path().to_string();
                let is_hierarchical = self.is_hierarchical;
                Some(LocalPlan { options, sizes, paths, path, place, interval, is_hierarchical })
            }
            Err(error) => {
                self.section.fault(error.message());
                None
            }
        }
    }
}

fn read_blocks(section: &Section<'_>) -> Option<Blocks> {
    match section.member("blocks_backend") {
        Some("blocks_in_memory") => {
            let blocks = section.message("blocks_in_memory")?;
            let block_bytes = u64::try_from(blocks.int("block_size_bytes")).ok().filter(|bytes| *bytes > 0);
            if block_bytes.is_none() {
                blocks.fault_at("block_size_bytes", "must be positive");
            }
            Some(Blocks::InMemory { block_bytes: block_bytes? })
        }
        Some("blocks_on_block_device") => {
            let blocks = section.message("blocks_on_block_device")?;
            let cache = blocks.message("data_integrity_validation_cache");
            let verification = cache.as_ref().map(read_remembered_verification);
            let device = BlockDevice::read(&blocks.required("source")?)?;
            let verification = match verification {
                Some(read) => Some(read?),
                None => None,
            };
            Some(Blocks::OnDevice { device, verification })
        }
        Some(_) | None => {
            section.fault_at("blocks_on_block_device", "is required, unless there is blocksInMemory");
            None
        }
    }
}

/// A number of bytes, for people.
struct Bytes(u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            let whole = self.0 >> shift;
            if whole > 0 {
                let tenths = ((self.0 >> (shift - 10)) & 1023) * 10 / 1024;
                return write!(f, "{whole}.{tenths} {unit}");
            }
        }
        write!(f, "{} bytes", self.0)
    }
}
