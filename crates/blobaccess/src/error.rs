//! Errors, as one type with a closed set of kinds.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

/// The result of an operation on blobs.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error, in terms of what a caller can do about it.
///
/// These are the sixteen status codes of gRPC other than `OK`, under their standard names and numbers, so that a
/// server maps them without judgement and a policy needs to know nothing of backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(i32)]
pub enum ErrorKind {
    /// The caller gave up.
    Cancelled = 1,
    /// A failure that says nothing of its nature.
    Unknown = 2,
    /// The request can never succeed, whatever the state of the store.
    InvalidArgument = 3,
    /// The time allowed ran out. Whether the operation took effect is not known.
    DeadlineExceeded = 4,
    /// The blob is not stored, and nothing else. The caller may upload it and try again.
    NotFound = 5,
    /// Something that must not be there is there.
    AlreadyExists = 6,
    /// This caller may not do this.
    PermissionDenied = 7,
    /// A limit was reached. A smaller or a later request may pass.
    ResourceExhausted = 8,
    /// The system is not in a state in which the request can be served, and will not be by waiting.
    FailedPrecondition = 9,
    /// A conflict with another caller ended the operation.
    Aborted = 10,
    /// An offset beyond the end.
    OutOfRange = 11,
    /// The store does not offer this operation.
    Unimplemented = 12,
    /// A fault of the store's own that fits no other kind.
    Internal = 13,
    /// The store cannot be reached now. The same request may pass later.
    Unavailable = 14,
    /// The stored data is not what was put: a size, a hash or a checksum disagrees.
    DataLoss = 15,
    /// The caller has not said who it is.
    Unauthenticated = 16,
}

impl ErrorKind {
    /// Every kind, by its number.
    pub const ALL: [Self; 16] = [
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// Returns the number of this kind among gRPC's status codes (`google.rpc.Code`): 1 to 16.
    #[must_use]
    #[expect(clippy::as_conversions, reason = "the discriminants are the numbers")]
    pub const fn grpc_code(self) -> i32 {
        self as i32
    }

    /// Returns the kind with this number; `None` for 0 (`OK`) and for numbers that are not assigned.
    #[must_use]
    pub fn from_grpc_code(code: i32) -> Option<Self> {
        let index = usize::try_from(code).ok()?.checked_sub(1)?;
        Self::ALL.get(index).copied()
    }

    /// Returns the name of this kind, as gRPC's metrics spell it: `NotFound`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            // The metrics of this field spell it with one l.
            Self::Cancelled => "Canceled",
            Self::Unknown => "Unknown",
            Self::InvalidArgument => "InvalidArgument",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::PermissionDenied => "PermissionDenied",
            Self::ResourceExhausted => "ResourceExhausted",
            Self::FailedPrecondition => "FailedPrecondition",
            Self::Aborted => "Aborted",
            Self::OutOfRange => "OutOfRange",
            Self::Unimplemented => "Unimplemented",
            Self::Internal => "Internal",
            Self::Unavailable => "Unavailable",
            Self::DataLoss => "DataLoss",
            Self::Unauthenticated => "Unauthenticated",
        }
    }

    /// Returns whether the store itself is in trouble, rather than the request: `Internal`, `Unavailable`, `Unknown` or
    /// `DeadlineExceeded`.
    ///
    /// A hanging store counts, so that a layer over two stores can avoid it.
    #[must_use]
    pub const fn is_infrastructure(self) -> bool {
        matches!(self, Self::Internal | Self::Unavailable | Self::Unknown | Self::DeadlineExceeded)
    }

    /// Returns whether the fault lies with the store: it [is in trouble](Self::is_infrastructure), or its data is
    /// damaged.
    ///
    /// Another store that should hold the same blob is then worth asking, and an operator wants to know.
    #[must_use]
    pub const fn is_store_fault(self) -> bool {
        self.is_infrastructure() || matches!(self, Self::DataLoss)
    }

    /// Returns the certainty assumed of a failed put of this kind, unless the store says better.
    const fn put_certainty(self) -> PutCertainty {
        match self {
            Self::InvalidArgument
            | Self::PermissionDenied
            | Self::Unauthenticated
            | Self::Unimplemented
            | Self::FailedPrecondition
            | Self::OutOfRange => PutCertainty::NotStored,
            Self::Cancelled
            | Self::Unknown
            | Self::DeadlineExceeded
            | Self::NotFound
            | Self::AlreadyExists
            | Self::ResourceExhausted
            | Self::Aborted
            | Self::Internal
            | Self::Unavailable
            | Self::DataLoss => PutCertainty::MaybeStored,
        }
    }
}

impl Display for ErrorKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a put that failed may have stored its blob anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PutCertainty {
    /// It is certain that this put stored nothing.
    NotStored,
    /// The blob may be stored now: an answer was lost, or the store stopped midway.
    MaybeStored,
}

impl PutCertainty {
    /// Returns the certainty of two failed puts together: nothing is stored only if neither stored anything.
    #[must_use]
    pub const fn combine(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotStored, Self::NotStored) => Self::NotStored,
            (Self::MaybeStored, _) | (_, Self::MaybeStored) => Self::MaybeStored,
        }
    }
}

/// The failure of an operation on blobs: a kind, a message, the places it went through and its cause.
///
/// An `Error` is as wide as a pointer, so that a [`Result`] costs calls that succeed nothing. It can be cloned, as
/// several waiters may share one failure.
///
/// It prints as its places, outermost first, and its message: `mirror a: shard 3: disk on fire`.
#[derive(Clone)]
pub struct Error(Box<Facts>);

#[derive(Clone)]
struct Facts {
    kind: ErrorKind,
    message: Cow<'static, str>,
    /// Innermost first.
    trail: Vec<Cow<'static, str>>,
    retryable: bool,
    put_certainty: Option<PutCertainty>,
    part_missing: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(message: impl Into<Cow<'static, str>>) -> Self {
                Self::new(ErrorKind::$kind, message)
            }
        )*
    };
}

impl Error {
    /// Makes an error of `kind`. By convention, messages are in lower case, without a full stop, and name the digest.
    ///
    /// It is retryable if it is [`Unavailable`](ErrorKind::Unavailable): for others, say so with
    /// [`with_retryable`](Self::with_retryable).
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Facts {
            kind,
            message: message.into(),
            trail: Vec::new(),
            retryable: kind == ErrorKind::Unavailable,
            put_certainty: None,
            part_missing: false,
            source: None,
        }))
    }

    constructors! {
        /// The caller gave up.
        cancelled => Cancelled;
        /// The request can never succeed.
        invalid_argument => InvalidArgument;
        /// The time allowed ran out.
        deadline_exceeded => DeadlineExceeded;
        /// The blob is not stored. Nothing else may be reported so.
        not_found => NotFound;
        /// This caller may not do this.
        permission_denied => PermissionDenied;
        /// A limit was reached.
        resource_exhausted => ResourceExhausted;
        /// The system is not in a state in which this can be served.
        failed_precondition => FailedPrecondition;
        /// A conflict with another caller.
        aborted => Aborted;
        /// An offset beyond the end.
        out_of_range => OutOfRange;
        /// The store does not offer this operation.
        unimplemented => Unimplemented;
        /// A fault of the store's own.
        internal => Internal;
        /// The store cannot be reached now.
        unavailable => Unavailable;
        /// The stored data is not what was put.
        data_loss => DataLoss;
        /// The caller has not said who it is.
        unauthenticated => Unauthenticated;
    }

    /// Makes the `NotFound` of a composite that is stored and has no such part.
    #[must_use]
    pub fn part_not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::not_found(message).with_part_missing()
    }

    /// Returns the kind of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether this is the absence of a blob, or of a part of one.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Returns whether the composite is stored and only the part is absent.
    ///
    /// Of a [`get_from_composite`](crate::BlobAccess::get_from_composite) that returns `NotFound`, this tells the two
    /// causes apart. Another store has no better answer then, and a copy of the composite does not help.
    #[must_use]
    pub fn is_part_missing(&self) -> bool {
        self.0.part_missing && self.is_not_found()
    }

    /// Returns whether the blob itself, or the composite, is absent. Only then may another store be asked for it instead.
    #[must_use]
    pub fn is_blob_missing(&self) -> bool {
        self.is_not_found() && !self.0.part_missing
    }

    /// Returns [`ErrorKind::is_infrastructure`] of this error's kind.
    #[must_use]
    pub fn is_infrastructure(&self) -> bool {
        self.kind().is_infrastructure()
    }

    /// Returns [`ErrorKind::is_store_fault`] of this error's kind: whether another store is worth asking.
    #[must_use]
    pub fn is_store_fault(&self) -> bool {
        self.kind().is_store_fault()
    }

    /// Returns the message, without the places.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the places that this error went through, outermost first.
    pub fn trail(&self) -> impl Iterator<Item = &str> {
        self.0.trail.iter().rev().map(AsRef::as_ref)
    }

    /// Returns whether the same request may pass if it is sent again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Returns whether a store is down or busy, so that the next call is likely to fail too, and this one may pass later.
    pub(crate) fn is_outage(&self) -> bool {
        self.is_retryable()
            || matches!(self.kind(), ErrorKind::DeadlineExceeded | ErrorKind::Unknown | ErrorKind::ResourceExhausted)
    }

    /// Returns whether the failed put may have stored its blob anyway.
    ///
    /// Where the store has not said, it follows from the kind: a request that was refused stored nothing, of all
    /// others nothing is known.
    #[must_use]
    pub fn put_certainty(&self) -> PutCertainty {
        self.0.put_certainty.unwrap_or_else(|| self.0.kind.put_certainty())
    }

    /// Changes the kind of this error.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Marks a `NotFound` as one of a part whose composite is stored. An error of another kind stays as it is.
    ///
    /// Stores call this on the errors of a [`Slicer`](crate::Slicer);
    /// [`get_and_slice`](crate::get_and_slice) does so for them.
    #[must_use]
    pub fn with_part_missing(mut self) -> Self {
        self.0.part_missing = self.is_not_found();
        self
    }

    /// Adds the place that this error came through: which of several stores, which step.
    #[must_use]
    pub fn at(mut self, place: impl Into<Cow<'static, str>>) -> Self {
        self.0.trail.push(place.into());
        self
    }

    /// Says whether the same request may pass if it is sent again.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Says whether the failed put may have stored its blob.
    #[must_use]
    pub fn with_put_certainty(mut self, certainty: PutCertainty) -> Self {
        self.0.put_certainty = Some(certainty);
        self
    }

    /// Marks the failed put as certain to have stored nothing.
    #[must_use]
    pub fn not_stored(self) -> Self {
        self.with_put_certainty(PutCertainty::NotStored)
    }

    /// Turns the `NotFound` of a blob that was just copied or found into `Internal`. Other errors stay as they are,
    /// and so does the `NotFound` of a [missing part](Self::is_part_missing).
    ///
    /// A store that lacks what it has just taken is broken. Were it passed on, a caller would take that for absence.
    #[must_use]
    pub fn into_inconsistency(self) -> Self {
        if self.is_blob_missing() { self.with_kind(ErrorKind::Internal) } else { self }
    }

    /// Adds what caused this error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for place in self.trail() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}({self}", self.kind())?;
        let mut cause = self.source();
        while let Some(source) = cause {
            write!(f, "; caused by: {source}")?;
            cause = source.source();
        }
        f.write_str(")")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| -> &(dyn StdError + 'static) { source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_as_wide_as_a_pointer() {
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    }

    #[test]
    fn the_kinds_are_the_codes_of_grpc() {
        for (kind, code) in ErrorKind::ALL.into_iter().zip(1..) {
            assert_eq!(kind.grpc_code(), code);
            assert_eq!(ErrorKind::from_grpc_code(code), Some(kind));
        }
        for code in [i32::MIN, -1, 0, 17, i32::MAX] {
            assert_eq!(ErrorKind::from_grpc_code(code), None);
        }
    }

    #[test]
    fn places_print_outermost_first() {
        let error = Error::internal("disk on fire").at("shard 3").at("mirror a");
        assert_eq!(error.to_string(), "mirror a: shard 3: disk on fire");
        assert_eq!(error.message(), "disk on fire");
        assert_eq!(error.trail().collect::<Vec<_>>(), ["mirror a", "shard 3"]);
    }

    #[test]
    fn debug_tells_the_kind_and_every_cause() {
        let error = Error::unavailable("no answer").with_source(std::io::Error::other("connection reset"));
        assert_eq!(format!("{error:?}"), "Unavailable(no answer; caused by: connection reset)");
    }

    #[test]
    fn retrying_is_a_field_not_a_function_of_the_kind() {
        assert!(Error::unavailable("busy").is_retryable());
        assert!(!Error::unavailable("gone for good").with_retryable(false).is_retryable());
        assert!(Error::resource_exhausted("throttled").with_retryable(true).is_retryable());
    }

    #[test]
    fn only_not_found_says_that_a_part_is_missing() {
        let error = Error::part_not_found("no such directory").at("shard 3");
        assert!(error.is_not_found() && error.is_part_missing() && !error.is_blob_missing());
        assert!(!error.with_kind(ErrorKind::Internal).is_part_missing());
        assert!(Error::not_found("gone").with_part_missing().is_part_missing());
        assert!(!Error::not_found("gone").is_part_missing());
        assert!(Error::not_found("gone").is_blob_missing() && !Error::unavailable("busy").is_blob_missing());
        let error = Error::unavailable("busy").with_part_missing().with_kind(ErrorKind::NotFound);
        assert!(!error.is_part_missing());
    }

    #[test]
    fn a_refused_put_stored_nothing_and_of_others_nothing_is_known() {
        assert_eq!(Error::invalid_argument("bad").put_certainty(), PutCertainty::NotStored);
        assert_eq!(Error::unavailable("lost").put_certainty(), PutCertainty::MaybeStored);
        let refused = Error::unavailable("queue full").not_stored();
        assert_eq!(refused.put_certainty(), PutCertainty::NotStored);
    }

    #[test]
    fn another_store_is_worth_asking_where_the_fault_is_the_stores() {
        let worth = |kind: &ErrorKind| kind.is_store_fault();
        let kinds: Vec<_> = ErrorKind::ALL.into_iter().filter(worth).map(ErrorKind::name).collect();
        assert_eq!(kinds, ["Unknown", "DeadlineExceeded", "Internal", "Unavailable", "DataLoss"]);
    }

    #[test]
    fn absence_of_what_must_be_there_is_internal() {
        assert_eq!(Error::not_found("gone").into_inconsistency().kind(), ErrorKind::Internal);
        assert!(Error::part_not_found("no such part").into_inconsistency().is_part_missing());
        assert_eq!(Error::unavailable("busy").into_inconsistency().kind(), ErrorKind::Unavailable);
    }
}
