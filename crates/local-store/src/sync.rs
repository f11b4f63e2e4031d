//! The atomics and locks of the lock-free protocols, or loom's in their place, which tries every interleaving.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p blobaccess-local-store --lib --release loom`

#[cfg(not(loom))]
pub(crate) use std::sync::Mutex;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence};

#[cfg(loom)]
pub(crate) use self::modelled::{AtomicBool, AtomicU32, AtomicU64};
#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, atomic::fence};

/// How often a look-up repeats before it lets others run. A change of a bucket takes some 100 ns.
#[cfg(not(loom))]
const SPINS: u32 = 64;

/// Passes the time until somebody else is done; `repeated` says how often that was waited for already.
#[inline]
pub(crate) fn wait(repeated: u32) {
    #[cfg(loom)]
    {
        let _: u32 = repeated;
        loom::thread::yield_now();
    }
    #[cfg(not(loom))]
    if repeated.is_multiple_of(SPINS) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

/// Loom takes sequentially consistent loads and stores for acquiring and releasing ones. With a fence on either side
/// they are as strong as they are meant to be.
#[cfg(loom)]
mod modelled {
    use std::sync::atomic::Ordering;

    use super::fence;

    fn fenced<T>(order: Ordering, access: impl FnOnce() -> T) -> T {
        if order != Ordering::SeqCst {
            return access();
        }
        fence(Ordering::SeqCst);
        let result = access();
        fence(Ordering::SeqCst);
        result
    }

    macro_rules! modelled {
        ($($name:ident: $value:ty),*) => {$(
            /// A value, and what every access of it changes first: loom tries orders of what conflicts, and forgets a
            /// load once the same thread that stores next has loaded as well. It orders nothing else.
            #[derive(Debug)]
            pub(crate) struct $name {
                value: loom::sync::atomic::$name,
                turn: loom::sync::atomic::AtomicUsize,
            }

            #[allow(dead_code, reason = "not every type has every one of them in use")]
            impl $name {
                pub(crate) fn new(value: $value) -> Self {
                    Self {
                        value: loom::sync::atomic::$name::new(value),
                        turn: loom::sync::atomic::AtomicUsize::new(0),
                    }
                }

                fn take_turn(&self) -> &loom::sync::atomic::$name {
                    self.turn.fetch_add(1, Ordering::Relaxed);
                    &self.value
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    fenced(order, || self.take_turn().load(order))
                }

                /// A swap, as loom lets a store fall between the halves of another thread's swap.
                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    fenced(order, || self.take_turn().swap(value, order));
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    fenced(order, || self.take_turn().swap(value, order))
                }

                pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                    fenced(order, || self.take_turn().fetch_or(value, order))
                }

                pub(crate) fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    fenced(success, || self.take_turn().compare_exchange(current, new, success, failure))
                }
            }
        )*};
    }

    modelled!(AtomicBool: bool, AtomicU32: u32, AtomicU64: u64);

    impl AtomicU32 {
        pub(crate) fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
            fenced(order, || self.take_turn().fetch_add(value, order))
        }

        pub(crate) fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
            fenced(order, || self.take_turn().fetch_sub(value, order))
        }

        pub(crate) fn fetch_max(&self, value: u32, order: Ordering) -> u32 {
            fenced(order, || self.take_turn().fetch_max(value, order))
        }
    }
}
