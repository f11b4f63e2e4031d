//! Every interleaving of a reader with the end of a block's use, and the beginning of the next.

use loom::sync::Arc;
use loom::thread;

use super::*;

fn use_again_while_reading(reader_groups: usize, is_read_before: bool) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(2));
    model.check(move || {
        let pool = ChunkPool::new(4, 1, 4);
        let block = Arc::new(Block::new(4, 1, Touches::new(0), reader_groups));
        block.begin(7);
        block.write(&pool, 7, 0, b"7777", |_| ());
        if is_read_before {
            assert!(matches!(block.read_one(7, &(0..4)), One::Bytes(_)));
        }
        let other = Arc::clone(&block);
        let reading = thread::spawn(move || other.read_one(7, &(1..3)));
        block.end(&pool);
        block.begin(8);
        block.write(&pool, 8, 0, b"8888", |_| ());
        match reading.join().unwrap() {
            One::Bytes(bytes) => assert_eq!(bytes, "77"),
            One::Gone => {}
            other @ (One::Written(_) | One::OnDevice | One::Several) => panic!("{other:?}"),
        }
        assert!(matches!(block.read_one(8, &(0..4)), One::Bytes(bytes) if bytes == "8888"));
        assert!(matches!(block.read_one(7, &(0..4)), One::Gone));
        block.end(&pool);
        // No handle is left that keeps the memory from being used again.
        assert_eq!(pool.free_spans(), 1);
    });
}

#[test]
fn a_reader_gets_what_it_asked_for_or_nothing() {
    use_again_while_reading(1, false);
}

#[test]
fn a_handle_gives_what_it_was_made_for_or_nothing() {
    use_again_while_reading(1, true);
}

#[test]
fn what_is_read_from_a_device_counts_only_in_the_same_use_of_its_block() {
    use std::sync::atomic::Ordering;
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(2));
    model.check(|| {
        let pool = ChunkPool::new(4, 1, 4);
        let block = Arc::new(Block::new(4, 1, Touches::new(0), 0));
        // What stands for the device: it has one value at a time, as the system calls on it have an order.
        let device = Arc::new(AtomicU32::new(7));
        block.begin(7);
        let (other, of) = (Arc::clone(&block), Arc::clone(&device));
        let reading = thread::spawn(move || {
            let read = of.load(Ordering::Acquire);
            other.is(7).then_some(read)
        });
        block.end(&pool);
        block.begin(8);
        device.store(8, Ordering::Release);
        assert!(reading.join().unwrap().is_none_or(|read| read == 7));
    });
}
