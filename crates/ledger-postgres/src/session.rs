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
    /// The name of what is in the database, for errors.
    what: &'static str,
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
    /// Makes the connection to the database that `config` describes. It is opened later.
    pub(crate) fn new(what: &'static str, config: &str, timeout: Duration) -> Result<Self> {
        let config = config.parse().map_err(|error: tokio_postgres::Error| {
            Error::invalid_argument(format!("{what} in postgresql: {error}"))
        })?;
        Ok(Self { what, config, tls: None, timeout, clock: Arc::new(SystemClock), idle: Mutex::new(None) })
    }

    pub(crate) const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
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
            Err(Error::unavailable(format!("{} in postgresql: timed out after {:?}", self.what, self.timeout)))
        })
    }

    /// Executes statements in one transaction, such as those that make tables.
    pub(crate) async fn execute_together(&self, statements: String) -> Result<()> {
        self.run(move |client| {
            async move {
                let transaction = client.transaction().await?;
                transaction.batch_execute(&statements).await?;
                transaction.commit().await
            }
            .boxed()
        })
        .await
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
        let result = session.drive(work).await.map_err(|error| self.failed(&error));
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
                let (client, connection) = self.config.connect(NoTls).await.map_err(|error| self.failed(&error))?;
                Ok(Session { client, connection: connection.boxed() })
            }
            Some(tls) => {
                let (client, connection) =
                    self.config.connect(Handshakes(tls)).await.map_err(|error| self.failed(&error))?;
                Ok(Session { client, connection: connection.boxed() })
            }
        }
    }

    /// Makes an error of the server's message, which is for operators: a database that cannot be reached now is tried again.
    fn failed(&self, error: &tokio_postgres::Error) -> Error {
        let told = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
        Error::unavailable(format!("{} in postgresql: {told}", self.what))
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
