//! Digests: parsing, hashing, and sets of them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails loudly")]

use std::collections::HashSet;
use std::hint::black_box;

use blobaccess::{Digest, DigestFunction, DigestSet, InstanceName, KeyFormat};
use blobaccess_workbench::{contents, digest_set, digests, scaled};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn parsing(c: &mut Criterion) {
    let mut group = c.benchmark_group("digest");
    let hash = digests(1, 1)[0].hash().to_string();
    for (name, instance_name) in [("empty", InstanceName::empty()), ("shared", InstanceName::new("a/b").unwrap())] {
        group.bench_function(format!("parse, {name} instance name"), |b| {
            b.iter(|| Digest::parse(instance_name.clone(), DigestFunction::Sha256, black_box(&hash), 1024));
        });
    }
    let digest = digests(1, 1).remove(0);
    group.bench_function("key", |b| b.iter(|| black_box(&digest).key(KeyFormat::WithInstanceName)));
    group.bench_function("cache key", |b| b.iter(|| black_box(&digest).cache_key(KeyFormat::WithoutInstanceName)));
    group.finish();
}

fn sets(c: &mut Criterion) {
    let count = scaled(10_000, 1000);
    let mut group = c.benchmark_group(format!("set of {count}"));
    group.throughput(Throughput::Elements(count.try_into().unwrap()));
    let shuffled = digests(2, count);
    group.bench_function("from digests in no order", |b| {
        b.iter_batched(|| shuffled.clone(), DigestSet::from, BatchSize::LargeInput);
    });
    group.bench_function("hash set of the same, for comparison", |b| {
        b.iter_batched(|| shuffled.clone(), HashSet::<Digest>::from_iter, BatchSize::LargeInput);
    });
    let (set, half) = (digest_set(2, count), digest_set(2, count / 2));
    group.bench_function("difference", |b| b.iter(|| black_box(&set).difference(&half)));
    group.finish();
}

fn hashing(c: &mut Criterion) {
    let bytes = contents(3, scaled(1 << 20, 1 << 14));
    let mut group = c.benchmark_group("hash of 1 MiB");
    group.throughput(Throughput::Bytes(bytes.len().try_into().unwrap()));
    for function in DigestFunction::ALL {
        group.bench_function(function.name(), |b| {
            b.iter(|| Digest::of(InstanceName::empty(), function, black_box(&bytes)));
        });
    }
    group.finish();
}

criterion_group!(benches, parsing, sets, hashing);
criterion_main!(benches);
