//! The suite has teeth: for each contract there is a store that breaks it, and is caught.
#![expect(clippy::unwrap_used, reason = "a broken store need not be careful")]

mod broken;

use std::collections::BTreeSet;

use blobaccess::{Ac, Cas};
use blobaccess_testkit::{CONTRACTS, Promises, check, contracts};

use self::broken::{BrokenFixture, CAPACITY_BYTES, Fault};

/// For each contract a kind, and a fault that breaks it: one test each, which shows that the same store passes without
/// the fault, and that the suite's own list has no contract that is not here.
macro_rules! teeth {
    ($($theme:ident { $($kind:ident $contract:ident: $fault:ident;)* })*) => {
        $(
            mod $theme {
                use super::*;
                $(
                    #[test]
                    fn $contract() {
                        let sound = BrokenFixture::<$kind>::new(Fault::None);
                        assert_eq!(check(contracts::$theme::$contract(&sound)), Ok(()), "the store that is sound");
                        let broken = BrokenFixture::<$kind>::new(Fault::$fault);
                        let caught = check(contracts::$theme::$contract(&broken));
                        println!("caught: {caught:?}");
                        assert!(caught.is_err(), "a store that {:?} was not caught", Fault::$fault);
                    }
                )*
            }
        )*

        #[test]
        fn every_contract_has_a_tooth() {
            let teeth = [$($(concat!(stringify!($theme), "::", stringify!($contract))),*),*];
            let teeth: BTreeSet<_> = teeth.into_iter().collect();
            let contracts: BTreeSet<_> = CONTRACTS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
            assert_eq!(teeth, contracts);
        }
    };
}

teeth! {
    reading {
        Cas what_was_put_is_read: ReturnsOtherBytes;
        Cas what_is_absent_is_not_found_by_name: KeepsTheDigestToItself;
        Cas a_range_is_read_as_asked: ReadsEveryRangeFromTheBeginning;
        Ac a_range_beyond_the_end_is_out_of_range: AnnouncesMoreThanItHas;
        Cas a_reader_that_stops_early_leaves_the_store_usable: LendsFiftyTimesOnly;
        Cas a_blob_can_be_read_when_its_store_is_gone: NeedsItsStoreToRead;
        Ac many_readers_at_once_each_read_all: ServesOneReaderAtATime;
    }
    writing {
        Cas an_equal_value_already_exists: SaysCreatedAgain;
        Cas of_many_puts_at_once_exactly_one_creates: LooksAndThenAdds;
        Cas a_put_whose_source_fails_leaves_nothing: HidesWhyASourceFailed;
        Cas a_dropped_put_leaves_nothing_partial: ShowsPiecesAsTheyCome;
        Cas a_blob_larger_than_promised_is_refused_unread: ReadsBeforeItRefuses;
        Ac the_largest_blob_promised_is_stored: RefusesTheLargest;
        Cas a_large_blob_in_odd_pieces_is_stored_whole: GarblesLargeBlobs;
    }
    finding {
        Cas of_no_digests_none_is_missing: FailsForNoDigests;
        Cas exactly_what_is_absent_is_missing: ReportsTheFirstOfMany;
        Cas ten_thousand_digests_are_each_answered_for: AnswersForAThousand;
        Cas an_answer_holds_until_something_is_put: RemembersAbsence;
        Ac to_get_changes_no_answer: ForgetsWhatIsRead;
        Cas after_a_failed_put_the_blob_is_missing: BelievesInPutsBeforeTheyEnd;
        Ac several_instance_names_are_answered_for_at_once: AnswersInOneInstanceName;
    }
    keeping {
        Cas what_was_put_stays_as_long_as_promised: KeepsLessThanPromised;
        Cas what_is_read_stays_as_long_as_promised: TakesNoGetForUse;
        Cas what_is_found_stays_as_long_as_promised: TakesNoFindForUse;
        Cas what_is_evicted_is_gone_for_get_and_find_missing_alike: FindsWhatItHasEvicted;
    }
    restart {
        Cas a_blob_outlives_the_store_if_so_promised: LosesAllOnRestart;
        Cas a_store_that_was_opened_again_is_as_good_as_before: KnowsOnlyWhatIsPutSinceItWasOpened;
    }
    damage {
        Cas what_is_damaged_goes_alone_and_can_be_put_again: KeepsWhatIsDamaged;
    }
    describing {
        Cas a_store_prints_as_one_line_that_names_its_layers: PrintsTwoLines;
        Cas capabilities_are_those_promised: ClaimsToTakeAnySize;
        Cas every_digest_function_listed_can_be_used: ListsAFunctionThatItDoesNotTake;
        Cas instance_names_are_told_apart_as_the_key_format_says: SaysTheOtherKeyFormat;
    }
    outages {
        Cas an_outage_is_never_not_found: TakesAnOutageForAbsence;
        Cas an_outage_of_any_shape_is_no_miss: TakesAPageForAbsence;
        Cas an_error_keeps_its_kind_and_message: HidesTheKindOfErrors;
        Ac after_an_outage_a_store_serves_as_before: NeverRecovers;
    }
    slow_peers {
        Ac uploads_that_stand_still_harm_nobody: PutsOneAfterTheOther;
        Cas uploads_that_trickle_harm_nobody: PutsOneAfterTheOtherUnlessSilent;
        Cas no_upload_waits_for_an_equal_one_that_stands_still: WaitsForEqualUploads;
        Cas readers_that_do_not_read_harm_nobody: WaitsForUnreadBlobs;
    }
    contents {
        Cas contents_of_the_wrong_size_are_refused: TakesAnySize;
        Cas contents_with_the_wrong_hash_are_refused: TakesAnyHash;
        Cas contents_of_another_digest_are_refused: TakesAnyHash;
        Cas wrong_contents_beside_the_right_ones_do_no_harm: GivesFollowersTheFailureOfTheirLeader;
        Cas wrong_contents_for_what_is_stored_change_nothing: OverwritesContents;
        Cas the_empty_blob_exists_if_so_promised: LosesTheEmptyBlob;
    }
    composites {
        Cas a_part_is_found_again_and_again: RemembersOnePartForAll;
        Cas what_no_composite_has_is_not_found: MakesUpPartsThatAreAbsent;
        Cas a_missing_part_is_told_from_a_missing_composite: HidesThatOnlyThePartIsMissing;
    }
    messages {
        Ac a_new_value_replaces_the_one_before: KeepsTheFirstValue;
        Ac a_failed_put_leaves_the_value_before: RemovesBeforeItReplaces;
        Ac of_many_values_at_once_one_is_kept: LooksAndThenAdds;
        Ac a_restart_does_not_bring_back_what_was_replaced: BringsBackTheFirstValue;
    }
    uploads {
        Cas an_upload_is_told_from_all_others: ClaimsEveryUpload;
        Cas a_put_that_adds_nothing_claims_nothing: ClaimsOnEveryPut;
        Cas what_was_put_without_a_token_is_never_mine: TakesNoTokenForZeroes;
        Cas the_size_told_before_a_put_is_not_exceeded: TellsTooSmallASize;
    }
    inventories {
        Cas every_blob_is_listed_exactly_once: ListsTwice;
        Cas a_cursor_of_another_store_is_refused: TakesAnyCursor;
    }
}

/// Asserts that a contract catches a store that promises what `change` says, and has `fault`.
macro_rules! caught {
    ($($test:ident: $kind:ident $theme:ident::$contract:ident, $fault:ident, $change:expr;)*) => {
        /// Each promise has two sides: stores that break the one which the table above does not.
        mod other_sides {
            use super::*;
            $(
                #[test]
                fn $test() {
                    let change: fn(Promises) -> Promises = $change;
                    let broken = BrokenFixture::<$kind>::new(Fault::$fault).promising(change);
                    let caught = check(contracts::$theme::$contract(&broken));
                    println!("caught: {caught:?}");
                    assert!(caught.is_err());
                }
            )*
        }
    };
}

caught! {
    a_store_that_promises_to_be_empty_after_a_restart_and_is_not:
        Cas restart::a_blob_outlives_the_store_if_so_promised, None, |promises| promises.with_durable(false);
    a_store_that_promises_not_to_find_in_bulk_and_does:
        Cas finding::exactly_what_is_absent_is_missing, None, |promises| promises.with_finds_in_bulk(false);
    a_store_whose_capabilities_contradict_that_it_does_not_find_in_bulk:
        Cas describing::capabilities_are_those_promised, None, |promises| promises.with_finds_in_bulk(false);
    a_store_that_tells_outcomes_loosely_and_wrongly:
        Cas writing::an_equal_value_already_exists, SaysCreatedAgain, |promises| promises.with_exact_outcomes(false);
    a_store_that_tells_outcomes_loosely_and_creates_twice:
        Cas writing::of_many_puts_at_once_exactly_one_creates, LooksAndThenAdds,
        |promises| promises.with_exact_outcomes(false);
    a_store_that_promises_to_take_any_size_and_does_not:
        Cas writing::a_blob_larger_than_promised_is_refused_unread, None,
        |promises| promises.with_max_blob_size_bytes(None);
    a_store_that_evicts_though_it_promises_no_capacity:
        Cas keeping::what_is_evicted_is_gone_for_get_and_find_missing_alike, None,
        |promises| promises.with_capacity_bytes(None);
    a_store_that_keeps_more_than_its_capacity:
        Cas keeping::what_is_evicted_is_gone_for_get_and_find_missing_alike, None,
        |promises| promises.with_capacity_bytes(Some(CAPACITY_BYTES / 2));
    a_store_that_promises_to_keep_nothing_and_finds_what_is_gone:
        Cas keeping::what_is_found_stays_as_long_as_promised, FindsWhatItHasEvicted,
        |promises| promises.with_keeps_bytes(None);
    a_store_that_demands_possession_and_looks_at_nothing:
        Cas contents::wrong_contents_for_what_is_stored_change_nothing, None,
        |promises| promises.with_demands_possession(true);
    a_store_that_promises_the_empty_blob_and_has_it_not:
        Cas contents::the_empty_blob_exists_if_so_promised, None, |promises| promises.with_empty_blob_exists(true);
    a_store_that_keeps_what_a_failed_put_began:
        Cas writing::a_put_whose_source_fails_leaves_nothing, BelievesInPutsBeforeTheyEnd, |promises| promises;
    a_store_that_calls_a_missing_composite_a_missing_part:
        Cas composites::a_missing_part_is_told_from_a_missing_composite, TakesEveryAbsenceForAPart,
        |promises| promises;
    a_store_that_hides_the_message_of_an_error:
        Ac outages::an_error_keeps_its_kind_and_message, HidesTheMessageOfErrors, |promises| promises;
    a_store_that_takes_a_range_that_cannot_be_read_for_an_outage:
        Ac damage::what_is_damaged_goes_alone_and_can_be_put_again, TakesDamageForAnOutage, |promises| promises;
    a_store_that_quotes_the_page_of_a_proxy:
        Cas outages::an_outage_of_any_shape_is_no_miss, QuotesPages, |promises| promises;
    a_store_that_hides_its_layers:
        Cas describing::a_store_prints_as_one_line_that_names_its_layers, HidesItsLayers, |promises| promises;
}

/// Checks that a newcomer need not read the suite to learn which call failed, and why it must not.
#[test]
fn a_violation_names_the_call_the_digests_and_the_rule() {
    let broken = BrokenFixture::<Cas>::new(Fault::FailsForNoDigestsWhenDown);
    let violation = check(contracts::outages::an_outage_is_never_not_found(&broken)).unwrap_err();
    assert_eq!(
        violation,
        "a call that must succeed failed: Unavailable(during an outage: find_missing of no digests, which needs no \
         store and cannot fail: down for a test)"
    );
    let broken = BrokenFixture::<Cas>::new(Fault::RefusesTheLargest);
    let violation = check(contracts::writing::the_largest_blob_promised_is_stored(&broken)).unwrap_err();
    assert!(violation.contains("InvalidArgument(put of "), "{violation}");
}
