//! The faults that can be ordered, and how often they happen.

/// The faults of a [`SimS3`](super::SimS3), each as the number in a thousand requests.
///
/// They befall requests that change objects, unless said otherwise. A request has at most one fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultPlan {
    /// The connection is closed without an answer, after the request was carried out.
    pub lost_after_commit: u16,
    /// It is reset, after the request was carried out.
    pub reset_after_commit: u16,
    /// It is closed without an answer, before the request was carried out.
    pub closed_before_commit: u16,
    /// No connection can be made. Any request.
    pub not_connected: u16,
    /// The answer is 500, although the request was carried out.
    pub error_after_commit: u16,
    /// The answer is 503, although the request was carried out.
    pub unavailable_after_commit: u16,
    /// The answer is 503 `SlowDown`, and the request was not carried out. Any request.
    pub throttled: u16,
    /// The answer is 429, and the request was not carried out. Any request.
    pub too_many: u16,
    /// The answer is 409 to a conditional request, which was not carried out.
    pub conflict: u16,
    /// A proxy sends the request twice, and passes on the second answer.
    pub sent_twice: u16,
    /// No answer comes, although the request was carried out.
    pub hang_after_commit: u16,
    /// No answer comes, and the request is carried out later, when the client has given up.
    pub late: u16,
    /// The answer takes some time. Any request.
    pub slow: u16,
    /// The body of an answer ends early. Reads.
    pub truncated: u16,
}

macro_rules! faults {
    ($($setter:ident => $field:ident, $fault:ident, $affects:ident;)*) => {
        impl FaultPlan {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), "), in a thousand requests.")]
                #[must_use]
                pub const fn $setter(mut self, per_mille: u16) -> Self {
                    self.$field = per_mille;
                    self
                }
            )*

            fn ordered(&self) -> impl Iterator<Item = (Fault, Affects, u16)> {
                [$((Fault::$fault, Affects::$affects, self.$field)),*].into_iter()
            }
        }
    };
}

faults! {
    with_lost_after_commit => lost_after_commit, LostAfterCommit, Changes;
    with_reset_after_commit => reset_after_commit, ResetAfterCommit, Changes;
    with_closed_before_commit => closed_before_commit, ClosedBeforeCommit, Changes;
    with_not_connected => not_connected, NotConnected, All;
    with_error_after_commit => error_after_commit, ErrorAfterCommit, Changes;
    with_unavailable_after_commit => unavailable_after_commit, UnavailableAfterCommit, Changes;
    with_throttled => throttled, Throttled, All;
    with_too_many => too_many, TooMany, All;
    with_conflict => conflict, Conflict, Conditional;
    with_sent_twice => sent_twice, SentTwice, Changes;
    with_hang_after_commit => hang_after_commit, HangAfterCommit, Changes;
    with_late => late, Late, Changes;
    with_slow => slow, Slow, All;
    with_truncated => truncated, Truncated, Reads;
}

impl FaultPlan {
    /// A plan without faults.
    pub const NONE: Self = Self {
        lost_after_commit: 0,
        reset_after_commit: 0,
        closed_before_commit: 0,
        not_connected: 0,
        error_after_commit: 0,
        unavailable_after_commit: 0,
        throttled: 0,
        too_many: 0,
        conflict: 0,
        sent_twice: 0,
        hang_after_commit: 0,
        late: 0,
        slow: 0,
        truncated: 0,
    };

    /// Returns a plan with all faults, each in this many of a thousand requests.
    #[must_use]
    pub const fn every(per_mille: u16) -> Self {
        Self {
            lost_after_commit: per_mille,
            reset_after_commit: per_mille,
            closed_before_commit: per_mille,
            not_connected: per_mille,
            error_after_commit: per_mille,
            unavailable_after_commit: per_mille,
            throttled: per_mille,
            too_many: per_mille,
            conflict: per_mille,
            sent_twice: per_mille,
            hang_after_commit: per_mille,
            late: per_mille,
            slow: per_mille,
            truncated: per_mille,
        }
    }
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    LostAfterCommit,
    ResetAfterCommit,
    ClosedBeforeCommit,
    NotConnected,
    ErrorAfterCommit,
    UnavailableAfterCommit,
    Throttled,
    TooMany,
    Conflict,
    SentTwice,
    HangAfterCommit,
    Late,
    Slow,
    Truncated,
}

/// The requests that a fault may befall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Affects {
    All,
    Changes,
    Conditional,
    Reads,
}

/// The properties of a request that decide which faults may befall it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    pub(super) changes: bool,
    pub(super) conditional: bool,
}

/// Draws faults from a seed.
#[derive(Debug)]
pub(super) struct Dice {
    state: u64,
    faults: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, faults: 0 }
    }

    pub(super) fn faults(&self) -> u64 {
        self.faults
    }

    /// Draws a number, by `SplitMix64`.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(super) fn fault(&mut self, plan: &FaultPlan, nature: Nature) -> Option<Fault> {
        let mut drawn = u16::try_from(self.next() % 1000).unwrap_or_default();
        for (fault, affects, per_mille) in plan.ordered() {
            let befalls = match affects {
                Affects::All => true,
                Affects::Changes => nature.changes,
                Affects::Conditional => nature.conditional,
                Affects::Reads => !nature.changes,
            };
            if !befalls {
                continue;
            }
            if drawn < per_mille {
                self.faults += 1;
                return Some(fault);
            }
            drawn -= per_mille;
        }
        None
    }
}
