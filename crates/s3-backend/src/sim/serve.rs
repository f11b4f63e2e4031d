//! The bucket over TCP, for clients in other processes.

use std::io;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::SimS3;
use super::http::{Ending, response};
use super::request::Request;

impl SimS3 {
    /// Serves the bucket on `listener`, for as long as the future is polled. Its name there is `bucket`, as in
    /// [`builder_at`](Self::builder_at).
    ///
    /// # Errors
    ///
    /// If no more connections can be taken.
    pub async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => connections.push(self.clone().connection(accepted?.0)),
                Some(()) = connections.next() => {}
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        // An answer that is small must not wait for an acknowledgement.
        drop(stream.set_nodelay(true));
        let service = service_fn(|request: http::Request<Incoming>| self.clone().answer(request));
        // That a connection breaks is the client's business, or a fault that was ordered.
        drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
    }

    async fn answer(self, request: http::Request<Incoming>) -> Result<http::Response<Full<Bytes>>, io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        match self.handle(Request::read(&parts.method, &parts.uri, &parts.headers, body)).await {
            Ending::Reply(reply) => {
                let (parts, body) = response(reply);
                Ok(http::Response::from_parts(parts, Full::new(body)))
            }
            Ending::Hang => futures::future::pending().await,
            Ending::Truncated(_) | Ending::Closed | Ending::Reset | Ending::NotConnected => {
                Err(io::Error::other("a fault that was ordered"))
            }
        }
    }
}
