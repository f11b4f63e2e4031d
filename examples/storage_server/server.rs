//! Serves a configuration until the process is told to stop.

use std::pin::pin;
use std::sync::Arc;

use blobaccess::{Clock, SystemClock};
use blobaccess_config::{Application, Diagnostics, LayerState, OpenApplication, Stacks};
use blobaccess_grpc::BoundListeners;
use blobaccess_local_store::Snapshot;
use blobaccess_metrics::{LocalStoreReading, PrometheusObserver};
use futures::future::try_join_all;
use tokio::signal::unix::SignalKind;

use crate::site::{Contents, Site};
use crate::{End, Result, pages, signals};

/// Opens the stores, serves them until the process is told to stop, and closes them.
pub(crate) async fn run(application: Application, metrics: Arc<PrometheusObserver>) -> Result<End> {
    let mut stopped = pin!(signals::stop_signal()?);
    let (description, listens) = (application.to_string(), application.listens());
    let server = tokio::select! {
        opened = application.open() => opened?,
        signal = &mut stopped => return Ok(End::Stopped(signal)),
    };
    register(&metrics, server.stacks());
    let ended = if listens {
        let shutdown = async {
            let signal = stopped.await;
            println!("stopping: running calls may finish if stopGracefully says so");
            signal
        };
        serve(&server, description, metrics, shutdown).await
    } else {
        println!("there is nothing to listen on");
        Ok(End::Done)
    };
    // Archives are finished even after a failure.
    let closed = server.stacks().close().await;
    let ended = ended?;
    closed?;
    println!("stopped");
    Ok(ended)
}

async fn serve(
    server: &OpenApplication,
    description: String,
    metrics: Arc<PrometheusObserver>,
    shutdown: impl Future<Output = SignalKind> + Send,
) -> Result<End> {
    let listeners = server.bind().await?;
    let serves_metrics = server.diagnostics().is_some_and(Diagnostics::serves_metrics);
    let services = server.services().clone().with_call_observer(Arc::<PrometheusObserver>::clone(&metrics));
    let (shown, started) = (services.clone(), SystemClock.monotonic());
    let contents = Arc::new(Contents { description, services: shown, metrics, serves_metrics, started });
    let mut sites = Vec::new();
    if let Some(diagnostics) = server.diagnostics() {
        for listener in diagnostics.bind().await? {
            println!("status page:     http://{}/", listener.address()?);
            let (listener, policy) = listener.into_parts();
            sites.push(pages::serve(listener, Arc::new(Site { contents: Arc::clone(&contents), policy })));
        }
    }
    for address in listeners.iter().flat_map(BoundListeners::addresses) {
        println!("listening on {address}");
    }
    println!("ready");
    let mut signal = None;
    let shutdown = async { signal = Some(shutdown.await) };
    let calls = async {
        if listeners.is_empty() {
            shutdown.await;
            return Ok(());
        }
        services.serve_listeners(listeners, shutdown).await
    };
    let sites = async {
        let ended = try_join_all(sites).await;
        match ended {
            Ok(none) if none.is_empty() => std::future::pending().await,
            ended => ended,
        }
    };
    tokio::select! {
        ended = calls => ended?,
        ended = sites => drop(ended?),
        () = server.run() => return Err("the background work of the stores ended".into()),
    }
    signal.map(End::Stopped).ok_or_else(|| "the servers ended".into())
}

/// Adds the metrics of all local stores.
fn register(metrics: &PrometheusObserver, stacks: &Arc<Stacks>) {
    for (index, layer) in stacks.snapshot().into_iter().enumerate() {
        let LayerState::Local(_) = layer.state else { continue };
        let stacks = Arc::clone(stacks);
        metrics.register_local_store(layer.storage_type, move || {
            let layer = stacks.snapshot().into_iter().nth(index);
            match layer.map(|layer| layer.state) {
                Some(LayerState::Local(store)) => {
                    let Snapshot { retention, recycled_blocks, dropped_records, .. } = *store;
                    LocalStoreReading { retention, recycled_blocks, dropped_records }
                }
                _ => LocalStoreReading::default(),
            }
        });
    }
}
