//! The list of all contracts, from which the tests and the names are made.

use std::fmt::{self, Display, Formatter};

use blobaccess::{BlobAccess, Cas};

use crate::{Fixture, ReplicatorFixture};

/// Gives the contracts of a family to a macro of this crate, after its other arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! __contracts {
    (every_kind, $callback:ident $given:tt) => {
        $crate::$callback! { $given
            reading::what_was_put_is_read
            reading::what_is_absent_is_not_found_by_name
            reading::a_range_is_read_as_asked
            reading::a_range_beyond_the_end_is_out_of_range
            reading::a_reader_that_stops_early_leaves_the_store_usable
            reading::a_blob_can_be_read_when_its_store_is_gone
            reading::many_readers_at_once_each_read_all
            writing::an_equal_value_already_exists
            writing::of_many_puts_at_once_exactly_one_creates
            writing::a_put_whose_source_fails_leaves_nothing
            writing::a_dropped_put_leaves_nothing_partial
            writing::a_blob_larger_than_promised_is_refused_unread
            writing::the_largest_blob_promised_is_stored
            writing::a_large_blob_in_odd_pieces_is_stored_whole
            finding::of_no_digests_none_is_missing
            finding::exactly_what_is_absent_is_missing
            finding::ten_thousand_digests_are_each_answered_for
            finding::an_answer_holds_until_something_is_put
            finding::to_get_changes_no_answer
            finding::after_a_failed_put_the_blob_is_missing
            finding::several_instance_names_are_answered_for_at_once
            keeping::what_was_put_stays_as_long_as_promised
            keeping::what_is_read_stays_as_long_as_promised
            keeping::what_is_found_stays_as_long_as_promised
            keeping::what_is_evicted_is_gone_for_get_and_find_missing_alike
            restart::a_blob_outlives_the_store_if_so_promised
            restart::a_store_that_was_opened_again_is_as_good_as_before
            damage::what_is_damaged_goes_alone_and_can_be_put_again
            describing::a_store_prints_as_one_line_that_names_its_layers
            describing::capabilities_are_those_promised
            describing::every_digest_function_listed_can_be_used
            describing::instance_names_are_told_apart_as_the_key_format_says
            outages::an_outage_is_never_not_found
            outages::an_outage_of_any_shape_is_no_miss
            outages::an_error_keeps_its_kind_and_message
            outages::after_an_outage_a_store_serves_as_before
            slow_peers::uploads_that_stand_still_harm_nobody
            slow_peers::uploads_that_trickle_harm_nobody
            slow_peers::no_upload_waits_for_an_equal_one_that_stands_still
            slow_peers::readers_that_do_not_read_harm_nobody
        }
    };
    (Cas, $callback:ident $given:tt) => {
        $crate::$callback! { $given
            contents::contents_of_the_wrong_size_are_refused
            contents::contents_with_the_wrong_hash_are_refused
            contents::contents_of_another_digest_are_refused
            contents::wrong_contents_beside_the_right_ones_do_no_harm
            contents::wrong_contents_for_what_is_stored_change_nothing
            contents::the_empty_blob_exists_if_so_promised
            composites::a_part_is_found_again_and_again
            composites::what_no_composite_has_is_not_found
            composites::a_missing_part_is_told_from_a_missing_composite
        }
    };
    (Ac, $callback:ident $given:tt) => {
        $crate::$callback! { $given
            messages::a_new_value_replaces_the_one_before
            messages::a_failed_put_leaves_the_value_before
            messages::of_many_values_at_once_one_is_kept
            messages::a_restart_does_not_bring_back_what_was_replaced
        }
    };
    (Icas, $callback:ident $given:tt) => {
        $crate::__contracts! { Ac, $callback $given }
    };
    (Iscc, $callback:ident $given:tt) => {
        $crate::__contracts! { Ac, $callback $given }
    };
    (Fsac, $callback:ident $given:tt) => {
        $crate::__contracts! { Ac, $callback $given }
    };
    (ResolveUpload, $callback:ident $given:tt) => {
        $crate::$callback! { $given
            uploads::an_upload_is_told_from_all_others
            uploads::a_put_that_adds_nothing_claims_nothing
            uploads::what_was_put_without_a_token_is_never_mine
            uploads::the_size_told_before_a_put_is_not_exceeded
        }
    };
    (Replicator, $callback:ident $given:tt) => {
        $crate::$callback! { $given
            replicating::what_was_copied_is_in_the_sink
            replicating::of_no_digests_none_is_copied
            replicating::a_read_returns_what_the_source_has
            replicating::a_part_is_read_from_its_composite
            replicating::what_the_source_lacks_is_not_found
            replicating::a_source_that_is_down_is_named
            replicating::a_sink_that_is_down_keeps_nobody_from_reading
            replicating::after_an_outage_copies_are_made_as_before
            replicating::callers_at_once_are_all_served
            replicating::a_dropped_call_leaves_nobody_waiting
            replicating::slow_stores_delay_and_fail_nothing
            replicating::a_replicator_prints_as_one_line
        }
    };
    (Inventory, $callback:ident $given:tt) => {
        $crate::$callback! { $given
            inventories::every_blob_is_listed_exactly_once
            inventories::a_cursor_of_another_store_is_refused
        }
    };
}

/// Makes a list of the names.
#[doc(hidden)]
#[macro_export]
macro_rules! __names {
    ([] $($theme:ident::$contract:ident)*) => { &[$(concat!(stringify!($theme), "::", stringify!($contract))),*] };
}

/// Makes one test for each contract.
#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ($given:tt $($theme:ident::$contract:ident)*) => { $( $crate::__test! { $given $theme::$contract } )* };
}

/// Makes one test.
#[doc(hidden)]
#[macro_export]
macro_rules! __test {
    ([$name:ident $(#[$attribute:meta])*] $theme:ident::$contract:ident) => {
        #[test]
        $(#[$attribute])*
        fn $contract() {
            $crate::run($crate::contracts::$theme::$contract(&super::$name()));
        }
    };
}

/// Makes a list of the results of the contracts.
#[doc(hidden)]
#[macro_export]
macro_rules! __results {
    ([$fixture:ident] $($theme:ident::$contract:ident)*) => {
        [$((
            concat!(stringify!($theme), "::", stringify!($contract)),
            $crate::check($crate::contracts::$theme::$contract(&$fixture())),
        )),*]
    };
}

/// Makes one test of each contract for each fixture, in a module that is named as the fixture is.
///
/// Each line is a name, the kind of the store ([`Cas`] by default) and an expression that makes the fixture. Each test
/// makes its own fixture. `+ ResolveUpload` and `+ Inventory` after the kind add the contracts of those traits. The
/// attributes of a line, such as `#[ignore = "needs a bucket"]`, are those of its tests. The kinds have the names of
/// [`blobaccess`], which need not be imported.
///
/// A failed contract reads `memory::a_dropped_put_leaves_nothing_partial`. Its output has the seed of its blobs, which
/// `BLOBACCESS_TESTKIT_SEED` sets.
///
/// # Examples
///
/// ```
/// use blobaccess::{Ac, Cas, MemoryStore};
/// use blobaccess_testkit::{Promises, Volatile, conformance};
///
/// conformance! {
///     memory: Cas + ResolveUpload + Inventory =>
///         Volatile::new(|| MemoryStore::<Cas>::new(1 << 20)).promising(Promises::for_memory_store(1 << 20)),
///     memory_of_messages: Ac =>
///         Volatile::new(|| MemoryStore::<Ac>::new(1 << 20)).promising(Promises::for_memory_store(1 << 20)),
/// }
/// # fn main() { let _ = (memory(), memory_of_messages()); }
/// ```
#[macro_export]
macro_rules! conformance {
    () => {};
    ($(#[$attribute:meta])* $name:ident => $fixture:expr $(, $($rest:tt)*)?) => {
        $crate::conformance! { $(#[$attribute])* $name: Cas => $fixture $(, $($rest)*)? }
    };
    ($(#[$attribute:meta])* $name:ident : $kind:ident $(+ $also:ident)* => $fixture:expr $(, $($rest:tt)*)?) => {
        fn $name() -> impl $crate::Fixture<
            Store: $crate::blobaccess::BlobAccess<Kind = $crate::blobaccess::$kind> $(+ $crate::blobaccess::$also)*
        > {
            $fixture
        }

        #[cfg(test)]
        mod $name {
            $crate::__contracts! { every_kind, __tests [$name $(#[$attribute])*] }
            $crate::__contracts! { $kind, __tests [$name $(#[$attribute])*] }
            $crate::__also! { [$($also)*] [$name $(#[$attribute])*] }
        }

        $crate::conformance! { $($($rest)*)? }
    };
}

/// Makes the tests of further traits.
#[doc(hidden)]
#[macro_export]
macro_rules! __also {
    ([] $given:tt) => {};
    ([$also:ident $($more:ident)*] $given:tt) => {
        $crate::__contracts! { $also, __tests $given }
        $crate::__also! { [$($more)*] $given }
    };
}

/// The names of all contracts, by family: those of every store, of contents, of messages, of
/// [`ResolveUpload`](blobaccess::ResolveUpload) and of [`Inventory`](blobaccess::Inventory).
pub const CONTRACTS: [(&str, &[&str]); 5] = [
    ("every kind", __contracts! { every_kind, __names [] }),
    ("contents", __contracts! { Cas, __names [] }),
    ("messages", __contracts! { Ac, __names [] }),
    ("uploads", __contracts! { ResolveUpload, __names [] }),
    ("inventories", __contracts! { Inventory, __names [] }),
];

/// Makes one test of each contract of replicators for each fixture, in a module that is named as the fixture is.
///
/// Each line is a name, the kind of the blobs and an expression that makes a [`ReplicatorFixture`].
///
/// # Examples
///
/// ```
/// use blobaccess::replication::{LocalReplicator, NoopReplicator};
/// use blobaccess_testkit::{Replicating, replicator_conformance};
///
/// replicator_conformance! {
///     local: Cas => Replicating::new(|source, sink| LocalReplicator::new(source, sink)),
///     local_of_messages: Ac => Replicating::new(|source, sink| LocalReplicator::new(source, sink)),
///     noop: Cas => Replicating::new(|source, _| NoopReplicator::new(source)).copying_nothing(),
/// }
/// # fn main() { let _ = (local(), local_of_messages(), noop()); }
/// ```
#[macro_export]
macro_rules! replicator_conformance {
    ($($(#[$attribute:meta])* $name:ident : $kind:ident => $fixture:expr),* $(,)?) => {
        $(
            fn $name() -> impl $crate::ReplicatorFixture<Kind = $crate::blobaccess::$kind> {
                $fixture
            }

            #[cfg(test)]
            mod $name {
                $crate::__contracts! { Replicator, __tests [$name $(#[$attribute])*] }
            }
        )*
    };
}

/// The names of the contracts of replicators.
pub const REPLICATOR_CONTRACTS: &[&str] = __contracts! { Replicator, __names [] };

/// A contract that a store broke, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    contract: &'static str,
    how: String,
}

impl Violation {
    /// Returns the name of the contract, as in [`CONTRACTS`].
    #[must_use]
    pub const fn contract(&self) -> &'static str {
        self.contract
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.contract, self.how)
    }
}

/// Runs the suite on a store of contents, outside of a test, and returns the violations. Every contract gets a fixture
/// from `fixture`.
///
/// Broken contracts also print their panics.
pub fn violations_of_contents<F>(fixture: impl Fn() -> F) -> Vec<Violation>
where
    F: Fixture<Store: BlobAccess<Kind = Cas>>,
{
    let of_every_kind = __contracts! { every_kind, __results [fixture] };
    violations(of_every_kind.into_iter().chain(__contracts! { Cas, __results [fixture] }))
}

/// Runs the suite on a store of messages, as [`violations_of_contents`] does on one of contents.
pub fn violations_of_messages<F: Fixture>(fixture: impl Fn() -> F) -> Vec<Violation> {
    let of_every_kind = __contracts! { every_kind, __results [fixture] };
    violations(of_every_kind.into_iter().chain(__contracts! { Ac, __results [fixture] }))
}

/// Runs the suite on a replicator, as [`violations_of_contents`] does on a store.
pub fn violations_of_replicator<F: ReplicatorFixture>(fixture: impl Fn() -> F) -> Vec<Violation> {
    violations(__contracts! { Replicator, __results [fixture] }.into_iter())
}

fn violations(results: impl Iterator<Item = (&'static str, Result<(), String>)>) -> Vec<Violation> {
    results.filter_map(|(contract, result)| Some(Violation { contract, how: result.err()? })).collect()
}
