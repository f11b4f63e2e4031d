//! How much memory it takes to stream blobs into a bucket: the highest of the whole process, before and after.
//!
//! The bucket is served by another process, so that what it holds does not count here.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::{env, fs};

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, Provenance};
use blobaccess_s3_backend::sim::SimS3;
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Connection};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Set for the process that serves the bucket.
const SERVING: &str = "BLOBACCESS_BENCH_SERVES_A_BUCKET";

/// In pieces of this size, in bytes, blobs arrive.
const PIECE_BYTES: usize = 64 << 10;

fn main() {
    if env::var_os(SERVING).is_some() {
        return serve();
    }
    let is_test = env::args().any(|argument| argument == "--test");
    let (blobs, pieces) = if is_test { (1, 320) } else { (20, 8_192) };
    let (mut server, endpoint) = begin_serving();
    let done = server.stdin.take().unwrap();
    Runtime::new().unwrap().block_on(upload(&endpoint, done, blobs, pieces));
    server.kill().unwrap();
    server.wait().unwrap();
}

fn serve() {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    let sim = SimS3::new(1);
    let served = sim.clone();
    runtime.spawn(async move { served.serve(listener).await });
    // A line for each blob that need not be kept any longer.
    for _ in std::io::stdin().lines() {
        for key in sim.objects().into_keys() {
            sim.remove(&key);
        }
    }
}

fn begin_serving() -> (Child, String) {
    let mut server = Command::new(env::current_exe().unwrap())
        .env(SERVING, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut endpoint = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
    (server, endpoint.trim().to_owned())
}

/// Returns the most memory that this process has had so far, in KiB.
fn highest_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

async fn upload(endpoint: &str, mut done: ChildStdin, blobs: u64, pieces: u64) {
    let bucket = Bucket::s3(SimS3::builder_at(endpoint), &Connection::default().with_allow_http(true)).unwrap();
    let store = BucketStore::<Cas>::open(bucket, BucketOptions::default()).await.unwrap();
    let before = highest_kib();
    let mut total = 0;
    for number in 0..blobs {
        let piece = Bytes::from(number.to_le_bytes().repeat(PIECE_BYTES / 8));
        let mut hasher = DigestFunction::Sha256.hasher(u64::try_from(PIECE_BYTES).unwrap() * pieces);
        (0..pieces).for_each(|_| hasher.update(&piece));
        let size = u64::try_from(PIECE_BYTES).unwrap() * pieces;
        let hash = hasher.finish();
        let digest = Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, hash.as_bytes(), size).unwrap();
        let contents = stream::iter(0..pieces).map(move |_| Ok(Bytes::copy_from_slice(&piece)));
        let blob = Blob::from_untrusted_stream(&digest, contents.boxed(), Provenance::client());
        let outcome = store.put(&Context::background(), &digest, blob).await.unwrap();
        assert_eq!(outcome.name(), "created");
        total += size;
        writeln!(done).unwrap();
    }
    println!(
        "{blobs} blobs of {} MiB, {total} bytes in all: {} MiB of memory at most, {} MiB before",
        (total / blobs) >> 20,
        highest_kib() >> 10,
        before >> 10,
    );
}
