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
            #[derive(Debug)]
            pub(crate) struct $name(loom::sync::atomic::$name);

            #[allow(dead_code, reason = "not every type has every one of them in use")]
            impl $name {
                pub(crate) fn new(value: $value) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    fenced(order, || self.0.load(order))
                }

                /// A swap, as loom lets a store fall between the halves of another thread's swap.
                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    fenced(order, || self.0.swap(value, order));
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    fenced(order, || self.0.swap(value, order))
                }

                pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                    fenced(order, || self.0.fetch_or(value, order))
                }

                pub(crate) fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    fenced(success, || self.0.compare_exchange(current, new, success, failure))
                }
            }
        )*};
    }

    modelled!(AtomicBool: bool, AtomicU32: u32, AtomicU64: u64);

    impl AtomicU32 {
        pub(crate) fn fetch_max(&self, value: u32, order: Ordering) -> u32 {
            fenced(order, || self.0.fetch_max(value, order))
        }
    }
}
