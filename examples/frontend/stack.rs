//! The stores of a frontend, layer by layer.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{
    ActionResultTimestampInjecting, CompletenessChecking, CompletenessOptions, EmptyBlobInjecting, ExistenceCaching,
    Mirrored, MirroredOptions, PutPolicy, QueryCoalescing, Shard, Sharding,
};
use blobaccess::replication::LocalReplicator;
use blobaccess::{Ac, BlobAccess, Cas, Fsac, Iscc, Kind};
use blobaccess_grpc::{Remote, RemoteOptions, RetryPolicy};

use crate::Result;
use crate::flags::ShardFlag;

/// The number of digests that are remembered as present, at some 170 bytes each, and for how long. A node keeps a blob
/// for much longer after a query.
const REMEMBERED: usize = 100_000;
const REMEMBERED_FOR: Duration = Duration::from_mins(1);

/// The number of times that a call is made. With waits of 100 ms, 200 ms and so on, a node that is started again within
/// three seconds is an outage that no client notices.
const ATTEMPTS: u32 = 7;

/// The largest action result, in bytes: the largest message of gRPC.
const MAX_RESULT_BYTES: u64 = 4 << 20;

/// The stores of a frontend.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) cas: Arc<dyn BlobAccess<Kind = Cas>>,
    pub(crate) ac: Arc<dyn BlobAccess<Kind = Ac>>,
    pub(crate) iscc: Arc<dyn BlobAccess<Kind = Iscc>>,
    pub(crate) fsac: Arc<dyn BlobAccess<Kind = Fsac>>,
}

/// The nodes of a shard: one, or two that mirror each other.
struct Nodes {
    key: String,
    node: Remote,
    mirror: Option<Remote>,
}

impl Stack {
    /// Builds the stack over these shards, within a runtime. Nothing is connected yet.
    pub(crate) fn build(shards: &[ShardFlag]) -> Result<Self> {
        let shards = shards.iter().map(Nodes::new).collect::<Result<Vec<_>>>()?;
        let cas = QueryCoalescing::new(sharded(&shards, |node| Arc::new(node.cas()))?);
        let cas = EmptyBlobInjecting::new(ExistenceCaching::new(cas, REMEMBERED, REMEMBERED_FOR));
        let cas: Arc<dyn BlobAccess<Kind = Cas>> = Arc::new(cas);
        // The outputs of a result are on all shards together, so that none of them can check its results by itself.
        let ac = sharded(&shards, |node| Arc::new(node.ac()))?;
        let ac = CompletenessChecking::new(ac, Arc::clone(&cas), CompletenessOptions::new());
        Ok(Self {
            cas,
            ac: Arc::new(ActionResultTimestampInjecting::new(ac, MAX_RESULT_BYTES)),
            iscc: Arc::new(sharded(&shards, |node| Arc::new(node.iscc()))?),
            fsac: Arc::new(sharded(&shards, |node| Arc::new(node.fsac()))?),
        })
    }
}

impl Nodes {
    fn new(flag: &ShardFlag) -> Result<Self> {
        let connect = |url: &String| -> Result<Remote> {
            let retry = RetryPolicy::default().with_attempts(ATTEMPTS);
            let remote = Remote::new(RemoteOptions::new(url).with_retry(retry));
            Ok(remote.map_err(|error| format!("--shard {}: {error}", flag.key))?)
        };
        Ok(Self {
            key: flag.key.clone(),
            node: connect(&flag.url)?,
            mirror: flag.mirror.as_ref().map(connect).transpose()?,
        })
    }

    /// Makes the store of the shard from the stores of its nodes, and begins to repair what one of two nodes lacks.
    fn store<K: Kind>(
        &self,
        store_of: &impl Fn(&Remote) -> Arc<dyn BlobAccess<Kind = K>>,
    ) -> Arc<dyn BlobAccess<Kind = K>> {
        let a = store_of(&self.node);
        let Some(mirror) = &self.mirror else { return a };
        let b = store_of(mirror);
        let copies = |from: &Arc<dyn BlobAccess<Kind = K>>, to: &Arc<dyn BlobAccess<Kind = K>>| {
            Arc::new(LocalReplicator::new(Arc::clone(from), Arc::clone(to)))
        };
        let (a_to_b, b_to_a) = (copies(&a, &b), copies(&b, &a));
        // One of the two nodes is enough. The other gets what it missed once it is back.
        let options = MirroredOptions::new().with_put_policy(PutPolicy::Either);
        let mirrored = Arc::new(Mirrored::new(a, b, a_to_b, b_to_a).with_options(options));
        let repaired = Arc::clone(&mirrored);
        tokio::spawn(async move { repaired.run().await });
        mirrored
    }
}

/// Spreads the blobs of one kind over all shards.
fn sharded<K: Kind>(
    shards: &[Nodes],
    store_of: impl Fn(&Remote) -> Arc<dyn BlobAccess<Kind = K>>,
) -> Result<Sharding<Arc<dyn BlobAccess<Kind = K>>>> {
    let shards = shards.iter().map(|nodes| Shard::new(&*nodes.key, nodes.store(&store_of)));
    Ok(Sharding::new(shards).map_err(|error| format!("--shard: {error}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(key: &str, url: &str, mirror: Option<&str>) -> ShardFlag {
        ShardFlag { key: key.to_owned(), url: url.to_owned(), mirror: mirror.map(str::to_owned) }
    }

    #[tokio::test]
    async fn a_stack_names_its_nodes_and_wrong_flags_are_refused() {
        let shards = [flag("a", "grpc://x:1", None), flag("b", "grpc://y:1", Some("grpc://z:1"))];
        let stack = Stack::build(&shards).unwrap();
        for named in [stack.cas.to_string(), stack.ac.to_string(), stack.iscc.to_string(), stack.fsac.to_string()] {
            assert!(["x:1", "y:1", "z:1"].iter().all(|node| named.contains(node)), "{named}");
        }
        let twice = Stack::build(&[flag("a", "grpc://x:1", None), flag("a", "grpc://y:1", None)]).unwrap_err();
        assert!(twice.to_string().contains("--shard"), "{twice}");
        let address = Stack::build(&[flag("a", "ftp://x:1", None)]).unwrap_err();
        assert!(address.to_string().starts_with("--shard a: "), "{address}");
    }
}
