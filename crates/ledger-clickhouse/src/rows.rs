//! The rows of the database, and their meaning.

use blobaccess::{AccountName, Error, Result};
use blobaccess_accounting::{
    Account, Adjustment, Amounts, Class, Epoch, InFlight, Life, Report, Reporter, from_unix_millis, unix_millis,
};
use clickhouse::Row;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(crate) struct LifeRow {
    pub(crate) reporter: String,
    pub(crate) epoch: String,
    pub(crate) seq: u64,
    pub(crate) taken_at_millis: u64,
    pub(crate) closed: u8,
    pub(crate) retired_seq: u64,
}

/// The uploads of a life and account that have begun, and those that have ended.
#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(crate) struct InFlightRow {
    pub(crate) reporter: String,
    pub(crate) epoch: String,
    pub(crate) storage_type: String,
    pub(crate) account_name: String,
    pub(crate) started: u64,
    pub(crate) ended: u64,
    pub(crate) started_bytes: u64,
    pub(crate) ended_bytes: u64,
}

/// The counts of one life for a class of an account.
///
/// The columns are those of a [`TotalRow`] and two more, spelled out in both: a row of the client library is a flat struct,
/// and serde flattens structs into maps, which the format does not have.
#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(crate) struct ReportedRow {
    pub(crate) reporter: String,
    pub(crate) epoch: String,
    pub(crate) storage_type: String,
    pub(crate) account_name: String,
    pub(crate) class: u8,
    pub(crate) objects: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) logical_bytes: u64,
    pub(crate) unsized_bytes: u64,
    pub(crate) old_bytes: u64,
}

/// The counts of all lives for a class of an account.
#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(crate) struct TotalRow {
    pub(crate) storage_type: String,
    pub(crate) account_name: String,
    pub(crate) class: u8,
    pub(crate) objects: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) logical_bytes: u64,
    pub(crate) unsized_bytes: u64,
    pub(crate) old_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(crate) struct AdjustmentRow {
    pub(crate) scan_id: String,
    pub(crate) storage_type: String,
    pub(crate) account_name: String,
    pub(crate) delta_bytes: i64,
    pub(crate) drift_low_bytes: i64,
    pub(crate) drift_high_bytes: i64,
    pub(crate) made_at_millis: u64,
}

fn alien(what: &str, value: &dyn std::fmt::Debug) -> Error {
    Error::data_loss(format!("the ledger in clickhouse has {what} {value:?}"))
}

fn account(storage_type: &str, account_name: &str) -> Result<Account> {
    let kind = Account::storage_type_from_name(storage_type).ok_or_else(|| alien("a kind of store", &storage_type))?;
    Ok(Account::new(AccountName::new(account_name), kind))
}

fn epoch(hex: &str) -> Result<Epoch> {
    Epoch::parse(hex).ok_or_else(|| alien("an epoch", &hex))
}

impl LifeRow {
    pub(crate) fn from_report(report: &Report) -> Self {
        Self {
            reporter: report.reporter.as_str().to_owned(),
            epoch: report.epoch.to_string(),
            seq: report.seq,
            taken_at_millis: unix_millis(report.taken_at),
            closed: report.closed.into(),
            retired_seq: 0,
        }
    }

    /// Makes the row that retires a life. Its other columns are below any that the life has.
    pub(crate) fn retiring(life: &Life) -> Self {
        Self {
            reporter: life.reporter.as_str().to_owned(),
            epoch: life.epoch.to_string(),
            seq: 0,
            taken_at_millis: 0,
            closed: 0,
            retired_seq: life.seq,
        }
    }

    pub(crate) fn life(&self) -> Result<Life> {
        let (epoch, taken_at) = (epoch(&self.epoch)?, from_unix_millis(self.taken_at_millis));
        let life = Life::new(Reporter::new(self.reporter.as_str()), epoch, self.seq, taken_at);
        Ok(life.with_closed(self.closed != 0).with_retired_seq(self.retired_seq))
    }
}

impl InFlightRow {
    pub(crate) fn in_flight(&self) -> Result<InFlight> {
        let (reporter, epoch) = (Reporter::new(self.reporter.as_str()), epoch(&self.epoch)?);
        let account = account(&self.storage_type, &self.account_name)?;
        let objects = self.started.saturating_sub(self.ended);
        let logical_bytes = self.started_bytes.saturating_sub(self.ended_bytes);
        Ok(InFlight::new(reporter, epoch, account, objects, logical_bytes))
    }
}

impl ReportedRow {
    pub(crate) fn from_report(report: &Report) -> Vec<Self> {
        let mut rows = Vec::new();
        for (account, tally) in &report.accounts {
            for (class, amounts) in tally.iter() {
                rows.push(Self {
                    reporter: report.reporter.as_str().to_owned(),
                    epoch: report.epoch.to_string(),
                    storage_type: account.storage_type().name().to_owned(),
                    account_name: account.account_name().as_str().to_owned(),
                    class: class.code(),
                    objects: amounts.objects,
                    stored_bytes: amounts.stored_bytes,
                    logical_bytes: amounts.logical_bytes,
                    unsized_bytes: amounts.unsized_bytes,
                    old_bytes: amounts.old_bytes,
                });
            }
        }
        rows
    }
}

impl TotalRow {
    pub(crate) fn counted(&self) -> Result<(Account, Class, Amounts)> {
        let class = Class::from_code(self.class).ok_or_else(|| alien("a class", &self.class))?;
        let columns = [self.objects, self.stored_bytes, self.logical_bytes, self.unsized_bytes, self.old_bytes];
        Ok((account(&self.storage_type, &self.account_name)?, class, Amounts::from_columns(columns)))
    }
}

impl AdjustmentRow {
    pub(crate) fn from_adjustment(adjustment: &Adjustment) -> Self {
        Self {
            scan_id: adjustment.scan_id.clone(),
            storage_type: adjustment.account.storage_type().name().to_owned(),
            account_name: adjustment.account.account_name().as_str().to_owned(),
            delta_bytes: adjustment.delta_bytes,
            drift_low_bytes: adjustment.drift_low_bytes,
            drift_high_bytes: adjustment.drift_high_bytes,
            made_at_millis: unix_millis(adjustment.made_at),
        }
    }

    pub(crate) fn adjustment(&self) -> Result<Adjustment> {
        let account = account(&self.storage_type, &self.account_name)?;
        let drift = (self.drift_low_bytes, self.drift_high_bytes);
        let made_at = from_unix_millis(self.made_at_millis);
        Ok(Adjustment::new(self.scan_id.as_str(), account, self.delta_bytes, drift, made_at))
    }
}
