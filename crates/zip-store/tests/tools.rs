//! Other programs read the archives of this crate, and this crate reads theirs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail loudly")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use blobaccess::{Ac, BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, KeyFormat};
use blobaccess_zip_store::{ZipOptions, ZipReadingStore, ZipWritingStore};
use tempfile::TempDir;

/// Runs a program and returns its output.
fn run(program: &str, arguments: &[&str], directory: &Path) -> Vec<u8> {
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{text}\n{error}", output.status);
    assert!(!error.contains("warning"), "{program} {arguments:?}: {error}");
    output.stdout
}

fn text(program: &str, arguments: &[&str], directory: &Path) -> String {
    String::from_utf8(run(program, arguments, directory)).unwrap()
}

fn digest(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

/// Returns blobs of several sizes, by the names of their entries.
fn blobs() -> BTreeMap<String, Vec<u8>> {
    let sizes = [0, 1, 5, 1000, 70_000, 1 << 20, (1 << 20) + 1, 3_000_000];
    let contents = sizes.map(|size: usize| (0..=250).cycle().take(size).collect::<Vec<u8>>());
    contents.into_iter().map(|contents| (digest(&contents).key(KeyFormat::WithoutInstanceName), contents)).collect()
}

struct Written {
    directory: TempDir,
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Written {
    fn path(&self) -> PathBuf {
        self.directory.path().join("archive.zip")
    }

    /// Writes an archive in two goes, so that a former directory lies in the midst of it.
    async fn new() -> Self {
        let written = Self { directory: TempDir::new().unwrap(), blobs: blobs() };
        let ctx = Context::background();
        let store = ZipWritingStore::<Cas>::create(written.path(), ZipOptions::new()).await.unwrap();
        for contents in written.blobs.values().take(4) {
            store.put_bytes(&ctx, &digest(contents), contents.clone()).await.unwrap();
        }
        store.finish().await.unwrap();
        let store = ZipWritingStore::<Cas>::append(written.path(), ZipOptions::new()).await.unwrap();
        for contents in written.blobs.values() {
            store.put_bytes(&ctx, &digest(contents), contents.clone()).await.unwrap();
        }
        store.finish().await.unwrap();
        written
    }

    /// Checks the files that a program has extracted.
    fn check_extracted(&self, folder: &str) {
        let folder = self.directory.path().join(folder);
        let mut found = BTreeMap::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap();
            found.insert(file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap());
        }
        assert!(found == self.blobs, "other files were extracted: {:?}", found.keys());
    }
}

#[tokio::test]
#[ignore = "needs unzip"]
async fn unzip_reads_our_archives() {
    let written = Written::new().await;
    let directory = written.directory.path();
    let tested = text("unzip", &["-t", "archive.zip"], directory);
    assert!(tested.contains("No errors detected"), "{tested}");
    run("unzip", &["-q", "archive.zip", "-d", "unzip"], directory);
    written.check_extracted("unzip");
}

#[tokio::test]
#[ignore = "needs bsdtar"]
async fn bsdtar_reads_our_archives() {
    let written = Written::new().await;
    let directory = written.directory.path();
    std::fs::create_dir(directory.join("bsdtar")).unwrap();
    run("bsdtar", &["-x", "-f", "archive.zip", "-C", "bsdtar"], directory);
    written.check_extracted("bsdtar");
}

#[tokio::test]
#[ignore = "needs python3"]
async fn python_reads_our_archives() {
    let written = Written::new().await;
    let script = r#"
import hashlib, zipfile
archive = zipfile.ZipFile("archive.zip")
assert archive.testzip() is None
for entry in archive.infolist():
    contents = archive.read(entry)
    assert entry.filename == f"1-{hashlib.sha256(contents).hexdigest()}-{len(contents)}", entry
archive.extractall("python")
"#;
    run("python3", &["-c", script], written.directory.path());
    written.check_extracted("python");
}

#[tokio::test]
#[ignore = "needs python3"]
async fn we_read_the_archives_of_python() {
    let directory = TempDir::new().unwrap();
    // To a pipe, sizes are not known before the contents: they are in descriptors behind them.
    let script = r#"
import hashlib, sys, zipfile
def name(contents):
    return f"1-{hashlib.sha256(contents).hexdigest()}-{len(contents)}"
class Pipe:
    def __init__(self, path): self.file = open(path, "wb")
    def write(self, some): return self.file.write(some)
    def flush(self): self.file.flush()
def write(to):
    with zipfile.ZipFile(to, "w") as archive:
        for size in 0, 5, 1000, 300_000, 2_000_000:
            for method in zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED:
                contents = bytes((i * i + method) % 251 for i in range(size))
                archive.writestr(zipfile.ZipInfo(name(contents)), contents, method)
        with archive.open(zipfile.ZipInfo(name(b"wide")), "w", force_zip64=True) as entry:
            entry.write(b"wide")
        archive.comment = b"written by Python"
write("seekable.zip")
pipe = Pipe("piped.zip")
write(pipe)
pipe.file.close()
with zipfile.ZipFile("many.zip", "w") as archive:
    for number in range(65_535):
        contents = b"%d" % number
        archive.writestr(zipfile.ZipInfo(name(contents)), contents)
with zipfile.ZipFile("messages.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(name(b"action") + "-some/name", b"message " * 100)
"#;
    run("python3", &["-c", script], directory.path());
    let ctx = Context::background();
    let open = |name: &str| ZipReadingStore::<Cas>::open(directory.path().join(name), ZipOptions::new());
    for name in ["seekable.zip", "piped.zip"] {
        let store = open(name).await.unwrap();
        for size in [0_u64, 5, 1000, 300_000, 2_000_000] {
            for method in [0, 8] {
                let contents: Vec<u8> = (0..size).map(|i| u8::try_from((i * i + method) % 251).unwrap()).collect();
                let found = store.get_bytes(&ctx, &digest(&contents), 4 << 20).await.unwrap();
                assert!(found == contents, "{size} bytes by method {method} in {name}");
            }
        }
        assert_eq!(store.get_bytes(&ctx, &digest(b"wide"), 10).await.unwrap(), "wide");
    }
    // The largest number of entries without ZIP64: all bits of the number are set, and it means what it says.
    let store = open("many.zip").await.unwrap();
    assert_eq!(store.snapshot().entries, 65_535);
    assert_eq!(store.get_bytes(&ctx, &digest(b"65534"), 10).await.unwrap(), "65534");

    let store = ZipReadingStore::<Ac>::open(directory.path().join("messages.zip"), ZipOptions::new()).await.unwrap();
    let action = digest(b"action").with_instance_name(InstanceName::new("some/name").unwrap());
    assert_eq!(store.get_bytes(&ctx, &action, 1 << 20).await.unwrap(), "message ".repeat(100));
}

#[tokio::test]
#[ignore = "needs python3"]
async fn python_goes_on_with_our_archives_and_we_with_its() {
    let written = Written::new().await;
    let script = r#"
import zipfile
with zipfile.ZipFile("archive.zip", "a", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("read me.txt", "Hello")
"#;
    run("python3", &["-c", script], written.directory.path());
    let ctx = Context::background();
    let store = ZipWritingStore::<Cas>::append(written.path(), ZipOptions::new()).await.unwrap();
    store.put_bytes(&ctx, &digest(b"more"), "more").await.unwrap();
    store.finish().await.unwrap();
    let script = r#"
import zipfile
archive = zipfile.ZipFile("archive.zip")
assert archive.testzip() is None
assert archive.read("read me.txt") == b"Hello"
print(len(archive.infolist()))
"#;
    let count = text("python3", &["-c", script], written.directory.path());
    assert_eq!(count.trim(), (written.blobs.len() + 2).to_string());
    let store = ZipReadingStore::<Cas>::open(written.path(), ZipOptions::new()).await.unwrap();
    for contents in written.blobs.values() {
        assert!(store.get_bytes(&ctx, &digest(contents), 4 << 20).await.unwrap() == *contents);
    }
}
