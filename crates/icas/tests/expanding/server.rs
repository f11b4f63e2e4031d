//! A web server that answers as it is told, byte for byte.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// A request, as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) path: String,
    headers: HashMap<String, String>,
}

impl Request {
    /// Returns the value of a header, whose name is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A step of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Bytes),
    /// Waits for a permit of the gate.
    Wait(Arc<Semaphore>),
    /// Closes the connection.
    Close,
}

/// An answer, in steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer(Vec<Step>);

impl Answer {
    /// Begins an answer: the status line and headers, separated by `\n`.
    pub(crate) fn head(head: &str) -> Self {
        Self::default().send(format!("HTTP/1.1 {}\r\n\r\n", head.trim_end().replace('\n', "\r\n")))
    }

    pub(crate) fn send(mut self, bytes: impl Into<Bytes>) -> Self {
        self.0.push(Step::Send(bytes.into()));
        self
    }

    pub(crate) fn wait(mut self, gate: &Arc<Semaphore>) -> Self {
        self.0.push(Step::Wait(Arc::clone(gate)));
        self
    }

    /// Waits for ever.
    pub(crate) fn hang(self) -> Self {
        self.wait(&Arc::new(Semaphore::new(0)))
    }

    pub(crate) fn close(mut self) -> Self {
        self.0.push(Step::Close);
        self
    }

    /// Answers with a status and no body.
    pub(crate) fn status(status: &str) -> Self {
        Self::head(&format!("{status}\nContent-Length: 0"))
    }

    /// Answers with the whole, and ignores any range.
    pub(crate) fn whole(contents: &[u8]) -> Self {
        Self::head(&format!("200 OK\nContent-Length: {}", contents.len())).send(contents.to_vec())
    }

    /// Answers as a good server does: with a range if one is asked for.
    pub(crate) fn file(request: &Request, contents: &[u8]) -> Self {
        Self::file_with(request, contents, "ETag: \"one\"")
    }

    /// Answers as [`file`](Self::file) does, with other headers.
    pub(crate) fn file_with(request: &Request, contents: &[u8], headers: &str) -> Self {
        let Some(range) = request.header("range") else {
            let head = format!("200 OK\nContent-Length: {}\n{headers}", contents.len());
            return Self::head(&head).send(contents.to_vec());
        };
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        let end = last.parse().map_or(contents.len(), |last: usize| (last + 1).min(contents.len()));
        if first >= end {
            return Self::status("416 Range Not Satisfiable");
        }
        let head = format!(
            "206 Partial Content\nContent-Length: {}\nContent-Range: bytes {first}-{}/{}\n{headers}",
            end - first,
            end - 1,
            contents.len()
        );
        Self::head(&head).send(contents[first..end].to_vec())
    }
}

/// A web server of a test, which ends with it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts a server that answers each request by `answer`.
    pub(crate) async fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(answer, |stream| async { Some(stream) }.boxed()).await
    }

    /// Starts a server whose connections are first handed to `accept`, for TLS.
    pub(crate) async fn start_with<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
        accept: impl Fn(tokio::net::TcpStream) -> futures::future::BoxFuture<'static, Option<S>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<Mutex<usize>>::default());
        let (noted, counted, answer) = (Arc::clone(&requests), Arc::clone(&connections), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                let (noted, answer, stream) = (Arc::clone(&noted), Arc::clone(&answer), accept(stream));
                tokio::spawn(async move {
                    if let Some(stream) = stream.await {
                        // A client that is gone ends its connection.
                        let _: Option<()> = serve(stream, &noted, answer.as_ref()).await;
                    }
                });
            }
        });
        Self { address, requests, connections, task }
    }

    /// Starts a server that answers each request in the same way.
    pub(crate) async fn answering(answer: Answer) -> Self {
        Self::start(move |_| answer.clone()).await
    }

    /// Starts a good server that has the same contents under each path.
    pub(crate) async fn having(contents: impl Into<Bytes>) -> Self {
        let contents = contents.into();
        Self::start(move |request| Answer::file(request, &contents)).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    noted: &Mutex<Vec<Request>>,
    answer: &(impl Fn(&Request) -> Answer + Sync),
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let request = read_request(&mut stream).await?;
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        for step in answer(&request).0 {
            match step {
                Step::Send(bytes) => {
                    stream.get_mut().write_all(&bytes).await.ok()?;
                    stream.get_mut().flush().await.ok()?;
                }
                Step::Wait(gate) => gate.acquire().await.ok()?.forget(),
                Step::Close => return None,
            }
        }
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines.first()?.split(' ').nth(1)?.to_owned();
    let headers = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Some(Request { path, headers })
}
