use super::*;

const CHUNK: u64 = 100;

fn block() -> (Block, ChunkPool) {
    let block = Block::new(CHUNK, 4, Touches::new(0), 2);
    block.begin(7);
    (block, ChunkPool::new(100, 1, 200))
}

fn joined(parts: Option<Vec<ReadPart>>) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts.unwrap() {
        let ReadPart::Bytes(bytes) = part else { panic!("{part:?}") };
        all.extend_from_slice(&bytes);
    }
    all
}

#[test]
fn what_was_written_over_chunks_is_read() {
    let (block, pool) = block();
    let bytes: Vec<u8> = (0..250).collect();
    let mut full = Vec::new();
    block.write(&pool, 7, 30, &bytes, |chunk| full.push(chunk));
    assert_eq!(full, [1]);
    assert_eq!(joined(block.read(7, 30..280)), bytes);
    assert_eq!(joined(block.read(7, 130..131)), [100]);
    block.pad(&pool, 7, 0..30, |chunk| full.push(chunk));
    assert_eq!(full, [1, 0]);
    assert_eq!(joined(block.read(7, 99..101)), [69, 70]);
}

#[test]
fn another_generation_reads_and_writes_nothing() {
    let (block, pool) = block();
    block.write(&pool, 7, 0, b"hello", |_| ());
    assert!(block.read(6, 0..5).is_none());
    block.end(&pool);
    assert!(block.read(7, 0..5).is_none());
    block.begin(8);
    block.write(&pool, 7, 0, b"stale", |_| ());
    assert!(block.read(8, 0..5).is_none());
    block.write(&pool, 8, 0, b"fresh", |_| ());
    assert_eq!(joined(block.read(8, 0..5)), b"fresh");
}

#[test]
fn readers_keep_what_they_hold_and_the_rest_is_used_again() {
    let (block, pool) = block();
    block.write(&pool, 7, 0, &[1; 200], |_| ());
    assert_eq!(pool.taken_bytes(), 200);
    let held = block.read(7, 0..100);
    block.end(&pool);
    assert_eq!(pool.taken_bytes(), 0);
    assert_eq!(pool.take().iter().map(Place::len).collect::<Vec<_>>(), [100]);
    assert_eq!(joined(held), [1; 100]);
}

#[test]
fn only_what_is_dirty_goes_to_the_device_and_once() {
    let (block, pool) = block();
    block.write(&pool, 7, 0, &[1; 40], |_| ());
    let dirty = block.take_dirty(7, 0);
    assert_eq!(dirty, [(0, Bytes::from_static(&[1; 40]))]);
    block.settle(&pool, 7, 0);
    block.write(&pool, 7, 50, &[2; 50], |_| ());
    block.pad(&pool, 7, 40..50, |_| ());
    assert_eq!(joined(block.read(7, 39..51)), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    let dirty = block.take_dirty(7, 0);
    assert_eq!(dirty.iter().map(|(at, bytes)| (*at, bytes.len())).collect::<Vec<_>>(), [(50, 50), (40, 10)]);
    assert!(block.take_dirty(7, 0).is_empty());
    block.settle(&pool, 7, 0);
    assert!(matches!(block.read(7, 10..20).unwrap()[..], [ReadPart::OnDevice(Range { start: 10, end: 20 })]));
}

#[test]
fn a_restored_block_is_on_the_device_as_far_as_it_was_written() {
    let (block, _) = block();
    block.restore(9, 101);
    assert!(matches!(block.read(9, 0..200).unwrap()[..], [ReadPart::OnDevice(Range { start: 0, end: 200 })]));
    assert!(block.read(9, 200..201).is_none());
}

#[test]
fn what_readers_alone_keep_is_counted() {
    let block = Block::new(CHUNK, 4, Touches::new(0), 2);
    let pool = ChunkPool::new(100, 2, u64::MAX).lending(400);
    let mut held = Vec::new();
    for generation in 1..=2 {
        block.begin(generation);
        block.write(&pool, generation, 0, &[1; 400], |_| ());
        // Each of these keeps a span of two chunks.
        held.extend([block.read(generation, 0..1), block.read(generation, 150..250), block.read(generation, 399..400)]);
        assert!(!pool.has_lent_enough());
        block.end(&pool);
    }
    assert!(pool.has_lent_enough());
    held.truncate(3);
    assert!(!pool.has_lent_enough());
    drop(held);
    assert_eq!(pool.taken_bytes(), 0);
}

#[test]
fn what_readers_kept_beyond_the_capacity_is_given_back_when_they_let_go() {
    let block = Block::new(CHUNK, 4, Touches::new(0), 2);
    let pool = ChunkPool::new(100, 2, u64::MAX).with_spans(2);
    let mut held = Vec::new();
    for generation in 1..=5 {
        block.begin(generation);
        block.write(&pool, generation, 0, &[1; 400], |_| ());
        held.extend([block.read(generation, 0..1), block.read(generation, 399..400)]);
        block.end(&pool);
    }
    assert_eq!(pool.free_spans(), 0);
    drop(held);
    assert_eq!(pool.free_spans(), 2);
}

#[test]
fn what_lies_over_chunks_of_a_span_is_read_as_one_piece() {
    let block = Block::new(CHUNK, 4, Touches::new(0), 2);
    let pool = ChunkPool::new(100, 2, u64::MAX);
    block.begin(7);
    block.write(&pool, 7, 0, &[1; 400], |_| ());
    assert_eq!(block.read(7, 50..150).unwrap().len(), 1);
    assert_eq!(block.read(7, 150..250).unwrap().len(), 2);
    block.end(&pool);
}
