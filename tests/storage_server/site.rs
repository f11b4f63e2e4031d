//! A site of storage servers, with files as Buildbarn's deployments lay them out.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The parts that all files of a site import.
const COMMON: &str = r"
// Each file of the site imports this one.
local MiB = 1024 * 1024;

{
  messages: 2 * MiB,
  everybody: { allow: {} },

  global(address): {
    diagnosticsHttpServer: {
      httpServers: [{ listenAddresses: [address], authenticationPolicy: $.everybody }],
      enablePrometheus: true,
      enablePprof: true,
      enableActiveSpans: true,
    },
  },

  disk(folder, indexMiB, blocksMiB, new):: {
    'local': {
      keyLocationMapOnBlockDevice: { file: { path: folder + '/key_location_map', sizeBytes: indexMiB * MiB } },
      keyLocationMapMaximumGetAttempts: 16,
      keyLocationMapMaximumPutAttempts: 64,
      oldBlocks: 8,
      currentBlocks: 24,
      newBlocks: new,
      blocksOnBlockDevice: {
        source: { file: { path: folder + '/blocks', sizeBytes: blocksMiB * MiB } },
        spareBlocks: 3,
      },
      persistent: { stateDirectoryPath: folder + '/persistent_state', minimumEpochInterval: '%ds' % 300 },
    },
  },
}
";

/// A storage node: contents, action results and access profiles on a disk.
const STORAGE: &str = r"
local site = import 'site.libsonnet';
local folder = std.extVar('SITE_FOLDER');
local rights = { getAuthorizer: site.everybody, putAuthorizer: site.everybody };

{
  grpcServers: [{ listenAddresses: ['127.0.0.1:0'], authenticationPolicy: site.everybody, stopGracefully: true }],
  maximumMessageSizeBytes: site.messages,
  global: site.global('127.0.0.1:0'),
  contentAddressableStorage: rights {
    backend: site.disk(folder + '/cas', 4, site.contentsMiB, 3),
    findMissingAuthorizer: site.everybody,
  },
  actionCache: rights { backend: site.disk(folder + '/ac', 1, 20, 1) },
  fileSystemAccessCache: rights { backend: site.disk(folder + '/fsac', 1, 20, 1) },
}
";

/// A frontend over storage nodes, which `nodes` lists, in front of a scheduler.
const FRONTEND: &str = r#"
local site = import 'site.libsonnet';
local nodes = std.split(std.extVar('SITE_NODES'), ',');
local client(address) = { grpc: { client: { address: address } } };
local store =
  if std.length(nodes) == 1 then client(nodes[0]) else {
    sharding: { shards: { ['%d' % i]: { backend: client(nodes[i]), weight: 1 } for i in std.range(0, std.length(nodes) - 1) } },
  };
local rights = { getAuthorizer: site.everybody, putAuthorizer: site.everybody };

{
  grpcServers: [{ listenAddresses: ['127.0.0.1:0'], authenticationPolicy: site.everybody, stopGracefully: true }],
  schedulers: {
    '': {
      endpoint: {
        address: '127.0.0.1:1',
        addMetadataJmespathExpression: {
          expression: |||
            {
              "build.bazel.remote.execution.v2.requestmetadata-bin": incomingGRPCMetadata."build.bazel.remote.execution.v2.requestmetadata-bin"
            }
          |||,
        },
      },
    },
  },
  executeAuthorizer: site.everybody,
  maximumMessageSizeBytes: site.messages,
  global: site.global('127.0.0.1:0'),
  contentAddressableStorage: rights { backend: store, findMissingAuthorizer: site.everybody },
  actionCache: rights {
    backend: { completenessChecking: { backend: store, maximumTotalTreeSizeBytes: 64 * 1024 * 1024 } },
  },
  fileSystemAccessCache: rights { backend: store },
}
"#;

/// A folder with the files of a site, and folders for the data of its nodes.
#[derive(Debug)]
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    /// Makes a site whose nodes have this space for contents, of which a blob may take a fortieth.
    pub(crate) fn new(contents_mib: u64) -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a folder") };
        site.write("site.libsonnet", &format!("{COMMON} + {{ contentsMiB: {contents_mib} }}"));
        site.write("storage.jsonnet", STORAGE);
        site.write("frontend.jsonnet", FRONTEND);
        site
    }

    /// Writes a file, and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file of the site");
        path
    }

    /// Returns the path of a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes the folders of the node `name`, as an operator does before the first start.
    pub(crate) fn node(&self, name: &str) -> String {
        let node = self.path(name);
        for store in ["cas", "ac", "fsac"] {
            fs::create_dir_all(node.join(store).join("persistent_state")).expect("a folder of the node");
        }
        text(&node)
    }
}

/// Returns a path as text.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("the path is text").to_owned()
}

/// Returns the addresses of nodes as the frontend's file takes them.
pub(crate) fn list(nodes: &[SocketAddr]) -> String {
    nodes.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
}
