//! Copies an action with its command and its input files from one store into another, and shows how far it is.
//!
//! Without flags, it makes an action in one local store and copies it into another. With flags, it copies between
//! servers: `--from grpc://HOST:PORT --to grpc://HOST:PORT --action HASH/SIZE`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it did")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::EmptyBlobInjecting;
use blobaccess::replication::{
    ConcurrencyLimitingReplicator, LocalReplicator, NestedCounts, NestedObject, NestedReplicator, Replicator,
};
use blobaccess::{
    BlobAccess, BlobAccessExt, Cas, Context, Digest, DigestFunction, Error, InstanceName, ReadResource, Result,
};
use blobaccess_grpc::{Remote, RemoteOptions};
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use blobaccess_proto::remote_execution as proto;
use clap::Parser;
use prost::Message;

/// The number of blobs that are copied at a time.
const COPIES_AT_ONCE: usize = 32;

/// The time between two lines about a copy under way.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

type Store = Arc<dyn BlobAccess<Kind = Cas>>;

/// Copies an action with its command and its input files from one store into another.
#[derive(Debug, Parser)]
struct Flags {
    /// The server to copy from
    #[arg(long, value_name = "URL", requires = "to")]
    from: Option<String>,
    /// The server to copy into
    #[arg(long, value_name = "URL", requires = "action")]
    to: Option<String>,
    /// The action, as HASH/SIZE, or as INSTANCE/blobs/HASH/SIZE
    #[arg(long, value_name = "DIGEST", requires = "from")]
    action: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("copy_action: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<()> {
    if let (Some(from), Some(to), Some(action)) = (flags.from, flags.to, flags.action) {
        let name = if action.contains("blobs/") { action } else { format!("blobs/{action}") };
        let action = ReadResource::parse(&name)?.digest;
        return copy(&remote(from)?, &remote(to)?, &action).await;
    }
    let failed = |error| Error::internal("a temporary folder cannot be made").with_source(error);
    let folder = tempfile::tempdir().map_err(failed)?;
    let (source, sink) = (local(folder.path(), "source").await?, local(folder.path(), "sink").await?);
    let action = make_action(&source).await?;
    copy(&source, &sink, &action).await?;
    println!("the same again:");
    copy(&source, &sink, &action).await
}

/// Copies `action` and all below it, and prints the progress.
async fn copy(source: &Store, sink: &Store, action: &Digest) -> Result<()> {
    let (source, sink) = (Arc::clone(source), Arc::clone(sink));
    let local = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
    let limit = COPIES_AT_ONCE.try_into().map_err(|error| Error::internal("no copies at all").with_source(error))?;
    let limited = ConcurrencyLimitingReplicator::new(Arc::clone(&source), Arc::clone(&sink), local, limit);
    println!("copying action {action} by {limited}");
    let replicator = NestedReplicator::new(source, sink, limited);
    let counts = with_progress(&replicator, action).await?;
    show("done", &counts);
    Ok(())
}

async fn with_progress<R: Replicator<Kind = Cas>>(
    replicator: &NestedReplicator<dyn BlobAccess<Kind = Cas>, dyn BlobAccess<Kind = Cas>, R>,
    action: &Digest,
) -> Result<NestedCounts> {
    let ctx = Context::background();
    let mut copying = std::pin::pin!(replicator.copy(&ctx, [NestedObject::Action(action.clone())]));
    let mut ticks = tokio::time::interval(SHOWN_EVERY);
    ticks.tick().await;
    loop {
        tokio::select! {
            result = &mut copying => return result,
            _ = ticks.tick() => {
                for counts in replicator.snapshot().under_way {
                    show("under way", &counts);
                }
            }
        }
    }
}

fn show(state: &str, counts: &NestedCounts) {
    println!(
        "{state}: {} objects read, {} blobs of {} bytes copied, {} there already, {} blobs of {} bytes to do",
        counts.objects_read,
        counts.copies.blobs,
        counts.copies.bytes,
        counts.found_present,
        counts.pending_blobs(),
        counts.pending_bytes(),
    );
}

/// Makes a client of the contents that a server has.
fn remote(url: String) -> Result<Store> {
    Ok(Arc::new(EmptyBlobInjecting::new(Remote::new(RemoteOptions::new(url))?.cas())))
}

/// Opens a store in a file.
async fn local(folder: &Path, name: &str) -> Result<Store> {
    let options = Options::in_file(folder.join(name), 64 << 20).persistent(SyncPolicy::OnClose);
    Ok(Arc::new(EmptyBlobInjecting::new(LocalStore::<Cas>::open(options).await?)))
}

/// Stores an action that compiles one file, and returns its digest.
async fn make_action(store: &Store) -> Result<Digest> {
    let main = put(store, b"int main(void) { return answer(); }\n".to_vec()).await?;
    let header = put(store, b"int answer(void);\n".to_vec()).await?;
    let include = proto::Directory { files: vec![file("answer.h", &header)], ..proto::Directory::default() };
    let include = put(store, include.encode_to_vec()).await?;
    let root = proto::Directory {
        files: vec![file("main.c", &main)],
        directories: vec![proto::DirectoryNode { name: "include".to_owned(), digest: Some(to_proto(&include)) }],
        ..proto::Directory::default()
    };
    let root = put(store, root.encode_to_vec()).await?;
    let arguments = ["cc", "-Iinclude", "-c", "main.c"].map(str::to_owned).to_vec();
    let command = put(store, proto::Command { arguments, ..proto::Command::default() }.encode_to_vec()).await?;
    let action = proto::Action {
        command_digest: Some(to_proto(&command)),
        input_root_digest: Some(to_proto(&root)),
        ..proto::Action::default()
    };
    put(store, action.encode_to_vec()).await
}

async fn put(store: &Store, contents: Vec<u8>) -> Result<Digest> {
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
    store.put_bytes(&Context::background(), &digest, contents).await?;
    Ok(digest)
}

fn file(name: &str, digest: &Digest) -> proto::FileNode {
    proto::FileNode { name: name.to_owned(), digest: Some(to_proto(digest)), ..proto::FileNode::default() }
}

fn to_proto(digest: &Digest) -> proto::Digest {
    let size_bytes = i64::try_from(digest.size_bytes()).unwrap_or(i64::MAX);
    proto::Digest { hash: digest.hash().to_string(), size_bytes }
}
