//! ZIP archives from elsewhere: opened, salvaged and read, of blobs and of messages.
#![no_main]

use std::path::Path;

use blobaccess::{Ac, BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, Kind};
use blobaccess_zip_store::{ZipOptions, ZipReadingStore};
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;

/// Opens the archive, and reads two entries that a small input can name.
async fn read<K: Kind>(path: &Path, options: ZipOptions) {
    let Ok(store) = ZipReadingStore::<K>::open(path, options).await else { return };
    assert!(store.snapshot().directory_memory_bytes <= 1 << 20);
    for contents in ["", "Hello"] {
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Md5, contents.as_bytes());
        if let Ok(found) = store.get_bytes(&Context::background(), &digest, 1 << 20).await {
            assert!(K::STORAGE_TYPE.is_mutable() || found == contents);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("there is a place for temporary files");
    std::fs::write(file.path(), bytes).expect("there is space for temporary files");
    for salvages in [false, true] {
        let options = ZipOptions::new().with_max_directory_memory_bytes(1 << 20).with_salvaging(salvages);
        block_on(read::<Cas>(file.path(), options));
        block_on(read::<Ac>(file.path(), options));
    }
});
