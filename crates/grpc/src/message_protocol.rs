//! The services of messages: the names of their methods, and the layouts of their requests.

use blobaccess::{Ac, Fsac, Icas, Iscc, Kind};
use blobaccess_proto::{fsac, icas, iscc, remote_execution as re};
use bytes::Bytes;
use prost::{DecodeError, Message};

use crate::message_request::RequestLayout;

/// A kind of messages, and the service that keeps them.
///
/// Both sides leave the messages as the bytes that they are, so that fields unknown to this version survive.
#[cfg_attr(feature = "client", expect(unnameable_types, reason = "the kinds of messages are those of Buildbarn"))]
#[cfg_attr(not(feature = "client"), expect(unreachable_pub, reason = "only a client names it in its interface"))]
pub trait MessageProtocol: Kind {
    /// The full name of the service.
    const SERVICE: &'static str;
    /// The path of the method that reads a message.
    const GET: &'static str;
    /// The layout of the request to read.
    const GET_LAYOUT: RequestLayout;
    /// The path of the method that replaces messages.
    const UPDATE: &'static str;
    /// The name of a message in errors.
    const NOUN: &'static str;

    /// Checks that `message` is one of this kind.
    ///
    /// # Errors
    ///
    /// The error of its decoder.
    fn check(message: Bytes) -> Result<(), DecodeError>;
}

/// A kind of messages that are replaced one at a time. References are replaced in batches instead.
#[cfg_attr(feature = "client", expect(unnameable_types, reason = "the kinds of messages are those of Buildbarn"))]
#[cfg_attr(not(feature = "client"), expect(unreachable_pub, reason = "only a client names it in its interface"))]
pub trait UpdateProtocol: MessageProtocol {
    /// The layout of the request to replace.
    const UPDATE_LAYOUT: RequestLayout;
}

impl MessageProtocol for Ac {
    const SERVICE: &'static str = "build.bazel.remote.execution.v2.ActionCache";
    const GET: &'static str = "/build.bazel.remote.execution.v2.ActionCache/GetActionResult";
    const UPDATE: &'static str = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";
    const GET_LAYOUT: RequestLayout = RequestLayout { digest: 2, digest_function: 6, message: None };
    const NOUN: &'static str = "action result";

    fn check(message: Bytes) -> Result<(), DecodeError> {
        re::ActionResult::decode(message).map(drop)
    }
}

impl UpdateProtocol for Ac {
    const UPDATE_LAYOUT: RequestLayout = RequestLayout { digest: 2, digest_function: 5, message: Some(3) };
}

impl MessageProtocol for Icas {
    const SERVICE: &'static str = "buildbarn.icas.IndirectContentAddressableStorage";
    const GET: &'static str = "/buildbarn.icas.IndirectContentAddressableStorage/GetReference";
    const UPDATE: &'static str = "/buildbarn.icas.IndirectContentAddressableStorage/BatchUpdateReferences";
    const GET_LAYOUT: RequestLayout = RequestLayout { digest: 2, digest_function: 3, message: None };
    const NOUN: &'static str = "reference";

    fn check(message: Bytes) -> Result<(), DecodeError> {
        icas::Reference::decode(message).map(drop)
    }
}

impl MessageProtocol for Iscc {
    const SERVICE: &'static str = "buildbarn.iscc.InitialSizeClassCache";
    const GET: &'static str = "/buildbarn.iscc.InitialSizeClassCache/GetPreviousExecutionStats";
    const UPDATE: &'static str = "/buildbarn.iscc.InitialSizeClassCache/UpdatePreviousExecutionStats";
    const GET_LAYOUT: RequestLayout = RequestLayout { digest: 2, digest_function: 3, message: None };
    const NOUN: &'static str = "execution statistics";

    fn check(message: Bytes) -> Result<(), DecodeError> {
        iscc::PreviousExecutionStats::decode(message).map(drop)
    }
}

impl UpdateProtocol for Iscc {
    const UPDATE_LAYOUT: RequestLayout = RequestLayout { digest: 2, digest_function: 4, message: Some(3) };
}

impl MessageProtocol for Fsac {
    const SERVICE: &'static str = "buildbarn.fsac.FileSystemAccessCache";
    const GET: &'static str = "/buildbarn.fsac.FileSystemAccessCache/GetFileSystemAccessProfile";
    const UPDATE: &'static str = "/buildbarn.fsac.FileSystemAccessCache/UpdateFileSystemAccessProfile";
    const GET_LAYOUT: RequestLayout = RequestLayout { digest: 3, digest_function: 2, message: None };
    const NOUN: &'static str = "file system access profile";

    fn check(message: Bytes) -> Result<(), DecodeError> {
        fsac::FileSystemAccessProfile::decode(message).map(drop)
    }
}

impl UpdateProtocol for Fsac {
    const UPDATE_LAYOUT: RequestLayout = RequestLayout { digest: 3, digest_function: 2, message: Some(4) };
}
