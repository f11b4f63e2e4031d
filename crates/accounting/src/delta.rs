//! The difference between two reports as rows, for consumers that add rows up.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use blobaccess::Result;

use crate::{Account, Amounts, Class, Epoch, Report, Reporter, Tally};

/// The amounts that were counted for one class of an account since the previous report.
///
/// Reporter, epoch, number, account and class identify a row. A consumer that skips rows that it already has counts
/// nothing twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeltaRow {
    /// The reporter.
    pub reporter: Reporter,
    /// The life of the reporter.
    pub epoch: Epoch,
    /// The number of the report to which the row belongs.
    pub seq: u64,
    /// The account.
    pub account: Account,
    /// The class that was counted, with its [`status`](Class::status) and [`reason`](Class::reason).
    pub class: Class,
    /// The amounts.
    pub amounts: Amounts,
}

/// A destination of rows.
#[async_trait]
pub trait DeltaSink: Debug + Send + Sync + 'static {
    /// Writes rows. Returning acknowledges all of them.
    ///
    /// # Errors
    ///
    /// Fails if not all rows were written. The same rows are then written again, until they are acknowledged.
    async fn write(&self, rows: &[DeltaRow]) -> Result<()>;
}

/// The amounts that were written, and the rows that are written again until they are acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Deltas {
    written: BTreeMap<Account, Tally>,
    outstanding: Vec<DeltaRow>,
}

impl Deltas {
    /// Writes the rows that were not acknowledged so far, and then the difference between `report` and the previous one.
    /// Unacknowledged rows are repeated unchanged, as the sink may have them already.
    pub(crate) async fn deliver(&mut self, sink: &dyn DeltaSink, report: &Report) -> Result<()> {
        if !self.outstanding.is_empty() {
            sink.write(&self.outstanding).await?;
            self.outstanding.clear();
        }
        for (account, tally) in &report.accounts {
            let written = self.written.entry(account.clone()).or_default();
            for (class, amounts) in tally.beyond(written).iter() {
                self.outstanding.push(DeltaRow {
                    reporter: report.reporter.clone(),
                    epoch: report.epoch,
                    seq: report.seq,
                    account: account.clone(),
                    class,
                    amounts,
                });
            }
            *written = tally.clone();
        }
        if !self.outstanding.is_empty() {
            sink.write(&self.outstanding).await?;
            self.outstanding.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::time::SystemTime;

    use blobaccess::{AccountName, Error, StorageType};

    use super::*;
    use crate::Outcome;

    /// A sink that writes everything, and loses every other acknowledgement.
    #[derive(Debug, Default)]
    struct Forgetful {
        rows: Mutex<Vec<DeltaRow>>,
        writes: Mutex<u32>,
    }

    #[async_trait]
    impl DeltaSink for Forgetful {
        async fn write(&self, rows: &[DeltaRow]) -> Result<()> {
            self.rows.lock().unwrap().extend(rows.iter().cloned());
            let mut writes = self.writes.lock().unwrap();
            *writes += 1;
            if *writes % 2 == 1 { Err(Error::unavailable("lost")) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn rows_add_up_to_the_report_whatever_was_acknowledged() {
        let sink = Forgetful::default();
        let mut deltas = Deltas::default();
        let account = Account::new(AccountName::new("a"), StorageType::Cas);
        let mut tally = Tally::new();
        let mut failures = 0;
        for seq in 1..=20 {
            if seq <= 18 {
                tally.add(Class::Created, Amounts::ended(Outcome::Created { stored_bytes: seq }, seq));
            }
            let accounts = vec![(account.clone(), tally.clone())];
            let epoch = Epoch::from_bytes([1; 16]);
            let report = Report::new(Reporter::new("host"), epoch, seq, SystemTime::UNIX_EPOCH, accounts);
            failures += u32::from(deltas.deliver(&sink, &report).await.is_err());
        }
        assert!(failures > 5);
        let by_key: HashMap<_, _> = sink
            .rows
            .lock()
            .unwrap()
            .iter()
            .map(|row| ((row.seq, row.account.clone(), row.class), row.amounts))
            .collect();
        let sum = by_key.values().fold(Amounts::default(), |sum, amounts| sum.plus(*amounts));
        assert_eq!(sum, tally.get(Class::Created));
    }
}
