//! A connection that is opened when it is needed, and driven by the calls that use it.

use blobaccess::{Error, Result};
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls};

/// One connection at a time. The call that uses it polls it, so that no task is needed. After any failure, a new one is
/// opened.
#[derive(Debug)]
pub(crate) struct Sessions {
    config: Config,
    idle: Mutex<Option<Session>>,
}

struct Session {
    client: Client,
    connection: BoxFuture<'static, Result<(), tokio_postgres::Error>>,
}

impl Sessions {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, idle: Mutex::new(None) }
    }

    /// Runs `work` with a connection, one call after another.
    ///
    /// If the future is dropped or fails, the connection is closed, and its transaction is rolled back.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        F: for<'a> FnOnce(&'a mut Client) -> BoxFuture<'a, Result<T, tokio_postgres::Error>> + Send,
    {
        let mut idle = self.idle.lock().await;
        let mut session = match idle.take().filter(|session| !session.client.is_closed()) {
            Some(session) => session,
            None => self.connect().await?,
        };
        let working = work(&mut session.client);
        let result = match select(working, &mut session.connection).await {
            Either::Left((result, _)) => result.map_err(|error| failed(&error)),
            Either::Right((Err(error), _)) => Err(failed(&error)),
            // The server closed the connection, and the call fails.
            Either::Right((Ok(()), working)) => working.await.map_err(|error| failed(&error)),
        };
        if result.is_ok() {
            *idle = Some(session);
        }
        result
    }

    async fn connect(&self) -> Result<Session> {
        let (client, connection) = self.config.connect(NoTls).await.map_err(|error| failed(&error))?;
        Ok(Session { client, connection: connection.boxed() })
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
