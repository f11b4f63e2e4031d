//! The atomics and locks of the crate, or those of a tool in their place that runs threads in orders of its own.
//!
//! * **Loom** tries every interleaving of the lock-free protocols, weak orders of memory included:
//!   `RUSTFLAGS="--cfg loom" cargo test -p blobaccess-local-store --lib --release loom`
//! * **Shuttle** runs the whole engine in orders drawn at random, one access after another, and finds deadlocks:
//!   `RUSTFLAGS="--cfg shuttle" cargo test -p blobaccess-local-store --lib --release schedules`
//!
//! Both tools model the types of this module; shuttle alone models those of [`locks`]. A lock of the standard library
//! that is held while shuttle runs another thread would hang the process.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::Mutex;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence};

#[cfg(loom)]
pub(crate) use self::modelled::{AtomicBool, AtomicU32, AtomicU64};
#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, atomic::fence};

#[cfg(shuttle)]
pub(crate) use self::scheduled::{AtomicBool, AtomicU32, AtomicU64, fence, task};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::Mutex;

/// The types that are used under locks, which loom does not model.
pub(crate) mod locks {
    #[cfg(shuttle)]
    pub(crate) use super::scheduled::{AtomicBool, AtomicU32, AtomicU64};
    #[cfg(shuttle)]
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
    #[cfg(not(shuttle))]
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
    #[cfg(not(shuttle))]
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

    /// Enters a lock whose holder may have panicked.
    ///
    /// That is safe wherever it is used: everything that the locks of an engine guard is changed in steps that do not
    /// panic, as the crate denies unwrapping, indexing and overflow by design; a panic of an observer comes after the
    /// change.
    pub(crate) fn enter<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
        lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The number of times a look-up repeats before it lets other threads run. A change of a bucket takes some 100 ns.
#[cfg(not(any(loom, shuttle)))]
const SPINS: u32 = 64;

/// Passes the time until another thread is done; `repeated` says how many times the caller has waited already.
#[inline]
pub(crate) fn wait(repeated: u32) {
    #[cfg(any(loom, shuttle))]
    {
        let _: u32 = repeated;
        #[cfg(loom)]
        loom::thread::yield_now();
        #[cfg(shuttle)]
        shuttle::thread::yield_now();
    }
    #[cfg(not(any(loom, shuttle)))]
    if repeated.is_multiple_of(SPINS) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

/// Atomics that let another thread run before each access, unless the access is relaxed. So an operation that consists
/// of relaxed accesses takes one step rather than dozens. Orders of memory, and interleavings of relaxed accesses, are
/// left to loom.
#[cfg(shuttle)]
mod scheduled {
    use std::sync::atomic::{self, Ordering};

    use shuttle::sync::atomic::AtomicBool as Turn;

    /// Lets another thread run, or not. That is no yield.
    fn switch() {
        thread_local! {
            // All threads of a schedule are one to the system.
            static TURN: Turn = const { Turn::new(false) };
        }
        TURN.with(|turn| turn.load(Ordering::SeqCst));
    }

    fn step<T>(order: Ordering, access: impl FnOnce() -> T) -> T {
        if order != Ordering::Relaxed {
            switch();
        }
        access()
    }

    /// Lets another thread run: accesses come one after another, so that is all that is left of a fence.
    pub(crate) fn fence(_order: Ordering) {
        switch();
    }

    /// Returns the number of the thread that runs.
    pub(crate) fn task() -> usize {
        shuttle::current::me().into()
    }

    macro_rules! scheduled {
        ($($name:ident: $value:ty),*) => {$(
            #[derive(Debug, Default)]
            pub(crate) struct $name(atomic::$name);

            #[allow(dead_code, reason = "not every type has every one of them in use")]
            impl $name {
                pub(crate) const fn new(value: $value) -> Self {
                    Self(atomic::$name::new(value))
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    step(order, || self.0.load(order))
                }

                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    step(order, || self.0.store(value, order));
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    step(order, || self.0.swap(value, order))
                }

                pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                    step(order, || self.0.fetch_or(value, order))
                }

                pub(crate) fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    step(success, || self.0.compare_exchange(current, new, success, failure))
                }
            }
        )*};
    }

    scheduled!(AtomicBool: bool, AtomicU32: u32, AtomicU64: u64);

    macro_rules! counting {
        ($($name:ident: $value:ty),*) => {$(
            #[allow(dead_code, reason = "not every type has every one of them in use")]
            impl $name {
                pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                    step(order, || self.0.fetch_add(value, order))
                }

                pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                    step(order, || self.0.fetch_sub(value, order))
                }

                pub(crate) fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                    step(order, || self.0.fetch_max(value, order))
                }
            }
        )*};
    }

    counting!(AtomicU32: u32, AtomicU64: u64);
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

                /// Stores by a swap, as loom lets a store fall between the halves of another thread's swap.
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
