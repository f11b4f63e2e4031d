//! Stores from the messages of `blobstore.proto`: first plans, which are checked, and then stores.

mod any_store;
mod archive;
mod bytes;
mod cast;
mod claims;
mod copying;
mod existence_cache;
mod failure;
mod grpc;
mod inspection;
mod kind_name;
mod node;
mod opening;
mod part;
mod plan;
mod reader;
mod replicator;
mod scope;

pub(crate) use self::any_store::{AnyStore, Store};
pub(crate) use self::bytes::ByteCount;
pub(crate) use self::claims::Claims;
pub(crate) use self::kind_name::name_of_kind;
pub(crate) use self::node::{Node, NodeId};
pub(crate) use self::opening::{OpenPart, OpenStores};
pub(crate) use self::plan::{StoresPlan, StoresReader};
pub(crate) use self::replicator::{ReplicatorLayer, ReplicatorPlan};
