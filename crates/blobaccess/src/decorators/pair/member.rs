//! One of the stores of a layer over two.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use super::{Rest, Wanted};
use crate::{Blob, BlobAccess, Context, Error, Kind, Result};

/// One of the stores of a layer over two, with the name of its place in errors.
///
/// A clone is the same store.
pub(in crate::decorators) struct Member<B: ?Sized> {
    pub(in crate::decorators) name: &'static str,
    pub(in crate::decorators) store: Arc<B>,
    pub(in crate::decorators) rest: Arc<Rest>,
}

impl<B: ?Sized> Member<B> {
    /// Makes a member that never rests.
    pub(in crate::decorators) fn new(name: &'static str, store: Arc<B>) -> Self {
        Self { name, store, rest: Arc::new(Rest::none()) }
    }

    /// Notes by the `result` of a call in `ctx` whether the store is well.
    pub(in crate::decorators) fn judge<T>(&self, ctx: &Context, result: Result<T>) -> Result<T> {
        self.note(ctx, &result);
        result
    }

    fn note<T>(&self, ctx: &Context, result: &Result<T>) {
        match result {
            Err(error) if error.is_infrastructure() => self.rest.begin_after(ctx),
            Ok(_) | Err(_) => self.rest.end(),
        }
    }

    /// Adds the name of the store to `error`, except to absence: a blob that is nowhere is absent from the layer.
    pub(in crate::decorators) fn at(&self, error: Error) -> Error {
        if error.is_not_found() { error } else { error.at(self.name) }
    }
}

impl<B: BlobAccess + ?Sized> Member<B> {
    /// Reads from the store, and notes whether it is well. The error has no place.
    pub(in crate::decorators) async fn read(&self, ctx: &Context, wanted: Wanted<'_>) -> Result<Blob> {
        self.judge(ctx, wanted.read_from(&*self.store, ctx).await)
    }

    /// Notes by `read`, the result of a read of the store, whether the store is well. Returns whether that is a blob which
    /// is handed on as it is: no reading of it can fail, or it is a message, of which two values cannot be joined.
    ///
    /// Such a blob is best returned at once, since each move of a blob takes some time.
    pub(in crate::decorators) fn is_final(&self, ctx: &Context, read: &Result<Blob>) -> bool {
        self.note(ctx, read);
        read.as_ref().is_ok_and(|blob| B::Kind::STORAGE_TYPE.is_mutable() || blob.cannot_fail())
    }
}

impl<B: ?Sized> Clone for Member<B> {
    fn clone(&self) -> Self {
        Self { name: self.name, store: Arc::clone(&self.store), rest: Arc::clone(&self.rest) }
    }
}

impl<B: Debug + ?Sized> Debug for Member<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("name", &self.name).field("store", &self.store).finish_non_exhaustive()
    }
}
