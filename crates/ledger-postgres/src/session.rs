//! A connection that is opened when it is needed, and driven by the calls that use it.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, Error, Result, SystemClock};
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use tokio::sync::Mutex;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};

use crate::tls::{Handshakes, PostgresTls};

/// The time after which a connection that does not answer is given up for another one.
const IS_ALIVE_WITHIN: Duration = Duration::from_secs(5);

/// One connection at a time. The call that uses it polls it, so that no task is needed. After any failure, a new one is
/// opened.
#[derive(Debug)]
pub(crate) struct Sessions {
    config: Config,
    tls: Option<PostgresTls>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    idle: Mutex<Option<Session>>,
}

struct Session {
    client: Client,
    connection: BoxFuture<'static, Result<(), tokio_postgres::Error>>,
}

impl Sessions {
    pub(crate) fn new(config: Config, timeout: Duration) -> Self {
        Self { config, tls: None, timeout, clock: Arc::new(SystemClock), idle: Mutex::new(None) }
    }

    pub(crate) fn with_tls(mut self, tls: PostgresTls) -> Self {
        self.config.ssl_mode(SslMode::Require);
        self.tls = Some(tls);
        self
    }

    pub(crate) fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Runs `work` with a connection, one call after another, for as long as a call may take.
    ///
    /// If the future is dropped or fails, the connection is closed, and its transaction is rolled back.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        F: for<'a> FnOnce(&'a mut Client) -> BoxFuture<'a, Result<T, tokio_postgres::Error>> + Send,
    {
        let deadline = self.clock.monotonic().checked_add(self.timeout);
        self.clock.timeout(deadline, self.run_untimed(work)).await.unwrap_or_else(|_| {
            Err(Error::unavailable(format!("ledger in postgresql: timed out after {:?}", self.timeout)))
        })
    }

    async fn run_untimed<T, F>(&self, work: F) -> Result<T>
    where
        F: for<'a> FnOnce(&'a mut Client) -> BoxFuture<'a, Result<T, tokio_postgres::Error>> + Send,
    {
        let mut idle = self.idle.lock().await;
        let mut session = match self.alive(idle.take()).await {
            Some(session) => session,
            None => self.connect().await?,
        };
        let result = session.drive(work).await.map_err(|error| failed(&error));
        if result.is_ok() {
            *idle = Some(session);
        }
        result
    }

    /// Returns the session if its server still answers. While it was idle, nobody could learn that it was closed.
    async fn alive(&self, session: Option<Session>) -> Option<Session> {
        let mut session = session.filter(|session| !session.client.is_closed())?;
        let deadline = self.clock.monotonic().checked_add(IS_ALIVE_WITHIN);
        let answer = session.drive(|client| async move { client.batch_execute("").await }.boxed());
        let is_alive = self.clock.timeout(deadline, answer).await.is_ok_and(|answer| answer.is_ok());
        is_alive.then_some(session)
    }

    async fn connect(&self) -> Result<Session> {
        match self.tls.clone() {
            None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(|error| failed(&error))?;
                Ok(Session { client, connection: connection.boxed() })
            }
            Some(tls) => {
                let (client, connection) =
                    self.config.connect(Handshakes(tls)).await.map_err(|error| failed(&error))?;
                Ok(Session { client, connection: connection.boxed() })
            }
        }
    }
}

impl Session {
    /// Runs `work`, and polls the connection meanwhile.
    async fn drive<T, F>(&mut self, work: F) -> Result<T, tokio_postgres::Error>
    where
        F: for<'a> FnOnce(&'a mut Client) -> BoxFuture<'a, Result<T, tokio_postgres::Error>>,
    {
        let working = work(&mut self.client);
        match select(working, &mut self.connection).await {
            Either::Left((result, _)) => result,
            Either::Right((Err(error), _)) => Err(error),
            // The server closed the connection, and the call fails.
            Either::Right((Ok(()), working)) => working.await,
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Makes an error of the server's message, which is for operators: a ledger that cannot be reached now is tried again.
fn failed(error: &tokio_postgres::Error) -> Error {
    let told = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
    Error::unavailable(format!("ledger in postgresql: {told}"))
}
