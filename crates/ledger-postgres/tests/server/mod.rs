//! The server that the tests use, by plain statements.

use tokio_postgres::{NoTls, SimpleQueryMessage};

/// Returns the address of the server.
pub(crate) fn address() -> String {
    std::env::var("BLOBACCESS_POSTGRESQL_URL").expect("BLOBACCESS_POSTGRESQL_URL is the server's address")
}

/// Runs statements in the database at `address`, and returns the first column of the last one.
pub(crate) async fn query(address: &str, sql: &str) -> Vec<String> {
    let (client, connection) = tokio_postgres::connect(address, NoTls).await.unwrap();
    let driving = tokio::spawn(connection);
    let messages = client.simple_query(sql).await.unwrap();
    let rows = messages.iter().filter_map(|message| {
        let SimpleQueryMessage::Row(row) = message else { return None };
        Some(row.get(0).unwrap_or_default().to_owned())
    });
    let rows = rows.collect();
    drop(client);
    drop(driving.await);
    rows
}
