#!/usr/bin/env bash
# Two stores of the crate object_store 0.14.2 answer the same valid calls differently:
#
# * a delete of an absent object succeeds in `InMemory`, as at S3, and is `NotFound` in `LocalFileSystem`;
# * with an object `a`, an object `a/b` can be put in `InMemory`, as at S3, and fails in `LocalFileSystem`, where `a` is a
#   file, with an error of no kind of its own (`Generic`).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/src" "$folder/objects"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
object_store = { version = "=0.14.2", default-features = false, features = ["fs"] }
tokio = { version = "1", features = ["macros", "rt"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _};

fn name<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(Error::NotFound { .. }) => "NotFound",
        Err(Error::Generic { .. }) => "Generic",
        Err(_) => "another error",
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = std::env::args().nth(1).unwrap();
    let memory: Box<dyn ObjectStore> = Box::new(InMemory::new());
    let local: Box<dyn ObjectStore> = Box::new(LocalFileSystem::new_with_prefix(folder).unwrap());
    for (store, expected) in [(memory, ["ok", "ok"]), (local, ["NotFound", "Generic"])] {
        let deleted = name(store.delete(&Path::from("absent")).await);
        store.put(&Path::from("a"), "contents".into()).await.unwrap();
        let nested = name(store.put(&Path::from("a/b"), "contents".into()).await);
        println!("{store}: delete of nothing: {deleted}; `a/b` beside `a`: {nested}");
        assert_eq!([deleted, nested], expected);
    }
}
RUST
cd "$folder"
cargo run --quiet -- "$folder/objects"
