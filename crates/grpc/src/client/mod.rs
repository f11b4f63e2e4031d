//! A remote store as a [`BlobAccess`](blobaccess::BlobAccess).
