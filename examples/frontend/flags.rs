//! The flags of the command line.

use std::net::SocketAddr;

use clap::Parser;

/// A frontend for Bazel and other clients of the Remote Execution API. It stores nothing, and spreads blobs over storage
/// nodes.
#[derive(Debug, Parser)]
#[command(name = "frontend", version)]
pub(crate) struct Flags {
    /// Where to listen for clients.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8990")]
    pub(crate) listen: SocketAddr,

    /// A shard: a key, and the URL of a storage node (`a=grpc://HOST:PORT`), or of two that mirror each other
    /// (`a=grpc://HOST:PORT,grpc://HOST:PORT`). Give it once for each shard. The key decides which blobs the shard has:
    /// keep it when a node moves.
    #[arg(long = "shard", value_name = "KEY=URL[,URL]", required = true, value_parser = shard)]
    pub(crate) shards: Vec<ShardFlag>,

    /// The log level (error, warn, info, debug or trace), or a filter such as info,blobaccess=debug.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
}

/// A shard of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardFlag {
    pub(crate) key: String,
    pub(crate) url: String,
    /// The URL of the node that mirrors the first one.
    pub(crate) mirror: Option<String>,
}

/// Parses a key, and one or two URLs.
fn shard(text: &str) -> Result<ShardFlag, String> {
    let (key, urls) = text.split_once('=').ok_or("there is no `=` after the key")?;
    let urls: Vec<_> = urls.split(',').collect();
    if key.is_empty() || urls.contains(&"") {
        return Err("the key and each URL must not be empty".to_owned());
    }
    match &*urls {
        [url] => Ok(ShardFlag { key: key.to_owned(), url: (*url).to_owned(), mirror: None }),
        [url, mirror] => {
            Ok(ShardFlag { key: key.to_owned(), url: (*url).to_owned(), mirror: Some((*mirror).to_owned()) })
        }
        _ => Err(format!("there are {} URLs; the maximum is 2", urls.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_a_key_and_one_or_two_urls() {
        let flag = |key: &str, url: &str, mirror: Option<&str>| ShardFlag {
            key: key.to_owned(),
            url: url.to_owned(),
            mirror: mirror.map(str::to_owned),
        };
        assert_eq!(shard("a=grpc://x:1"), Ok(flag("a", "grpc://x:1", None)));
        assert_eq!(shard("a=grpc://x:1,grpc://y:1"), Ok(flag("a", "grpc://x:1", Some("grpc://y:1"))));
        for wrong in ["", "a", "a=", "=grpc://x:1", "a=grpc://x:1,", "a=u,v,w"] {
            assert!(shard(wrong).is_err(), "{wrong:?} was taken");
        }
        assert!(Flags::try_parse_from(["frontend"]).is_err(), "a frontend without shards");
    }
}
