//! The outcome of a put, on its way from a service into the trailers of its response.

use std::pin::Pin;
use std::task::{Context, Poll};

use blobaccess::PutOutcome;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use tonic::metadata::{MetadataMap, MetadataValue};
use tower::{Layer, Service};

use crate::metadata_keys::OUTCOME_RESPONSE;
use crate::outcome;

/// The extension by which a service reports the outcome of a put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutcomeTrailer(pub(crate) PutOutcome);

/// A layer that adds [`OUTCOME_RESPONSE`] to the trailers of each response that has an
/// [`OutcomeTrailer`].
///
/// A tonic service itself can send metadata only before its message, as headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutcomeTrailerLayer;

impl<S> Layer<S> for OutcomeTrailerLayer {
    type Service = OutcomeTrailers<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OutcomeTrailers { inner }
    }
}

/// The service that [`OutcomeTrailerLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct OutcomeTrailers<S> {
    inner: S,
}

impl<S, Q, B> Service<http::Request<Q>> for OutcomeTrailers<S>
where
    S: Service<http::Request<Q>, Response = http::Response<B>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<TrailedBody<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            let outcome = answer.extensions_mut().remove::<OutcomeTrailer>();
            Ok(answer.map(|inner| TrailedBody { inner, outcome }))
        })
    }
}

/// The body of a response whose trailers may carry the outcome of a put.
#[derive(Debug)]
pub(crate) struct TrailedBody<B> {
    inner: B,
    outcome: Option<OutcomeTrailer>,
}

impl<B: Body + Unpin> Body for TrailedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
            && let Some(OutcomeTrailer(outcome)) = self.outcome.take()
        {
            let mut metadata = MetadataMap::new();
            metadata.insert_bin(OUTCOME_RESPONSE, MetadataValue::from_bytes(&outcome::to_bytes(outcome)));
            trailers.extend(metadata.into_headers());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::future::poll_fn;

    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    #[derive(Debug)]
    struct Frames(VecDeque<Frame<Bytes>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    async fn answered(outcome: Option<PutOutcome>) -> HeaderMap {
        let inner = tower::service_fn(move |_request: http::Request<()>| async move {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            let frames = [Frame::data(Bytes::from_static(b"message")), Frame::trailers(trailers)];
            let mut answer = http::Response::new(Frames(frames.into()));
            if let Some(outcome) = outcome {
                answer.extensions_mut().insert(OutcomeTrailer(outcome));
            }
            Ok::<_, Infallible>(answer)
        });
        let answer = OutcomeTrailerLayer.layer(inner).call(http::Request::new(())).await.unwrap();
        assert!(answer.headers().is_empty());
        let mut body = answer.into_body();
        let data = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(data.into_data().unwrap(), "message");
        let trailers = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
        trailers.into_trailers().unwrap()
    }

    #[tokio::test]
    async fn an_outcome_comes_with_the_trailers_and_not_before() {
        let outcome = PutOutcome::Replaced { stored_bytes: 7, old_bytes: 300 };
        let trailers = MetadataMap::from_headers(answered(Some(outcome)).await);
        assert_eq!(trailers.get("grpc-status").unwrap(), "0");
        let value = trailers.get_bin(OUTCOME_RESPONSE).unwrap();
        assert!(!value.as_encoded_bytes().contains(&b'='), "padding is for others");
        assert_eq!(outcome::from_bytes(Some(&value.to_bytes().unwrap())), outcome);
    }

    #[tokio::test]
    async fn an_answer_that_tells_of_no_put_is_left_alone() {
        assert_eq!(answered(None).await.len(), 1);
    }
}
