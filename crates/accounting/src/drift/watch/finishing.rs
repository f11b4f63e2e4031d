//! The end of a scan: the wait for reports, the second reading, and the result.

use std::collections::HashMap;

use blobaccess::{Error, Result};

use super::super::comparing::{Compared, Comparison, UnderWay};
use super::super::heard::{Awaited, life_key, marks};
use super::super::{DriftFinding, DriftReport};
use super::{DriftWatch, LifeKey, Mark, Turn};
use crate::{Account, InFlight, Life};

/// The number of silent lives that a report names.
const MAX_NAMED: usize = 100;

/// The number of looks at the ledger without a pause, if this program reports by itself.
const ROUNDS_AT_ONCE: u32 = 2;

impl DriftWatch {
    /// Waits for the reports, reads the ledger again, compares, and tells.
    pub(super) async fn finish(&self, turn: &mut Turn) -> Result<DriftReport> {
        let (lives, awaited) = self.wait(turn).await?;
        // Uploads under way come first: one that ends in between is then counted twice, and not left out.
        let in_flight = self.step("the uploads under way", self.ledger.in_flight()).await?;
        let totals = self.totals().await?;
        let finished_at = self.clock.now();
        let (mut silence, known_silent) = awaited.end(&lives);

        let (report, observed) = {
            let mut progress = self.progress();
            let Some(scan) = progress.scan.take() else {
                return Err(Error::internal("a scan for drift ended that had not begun"));
            };
            let under_way = under_way(&in_flight, &lives, &scan.marks);
            let compared = Compared {
                sheet: &scan.sheet,
                adopted_has_account: self.options.adopted_account.is_some(),
                totals: &totals,
                under_way: &under_way,
                alarm: &self.options.alarm,
                before: &progress.beyond,
                worst: self.options.worst,
            };
            let Comparison {
                total,
                kinds,
                worst,
                compared_accounts,
                proved_bytes_of_accounts,
                alarms,
                beyond,
                observed,
            } = compared.compare();
            progress.beyond = beyond;
            progress.finished_at = Some(finished_at);
            let silent_lives = silence.silent.len();
            silence.silent.truncate(MAX_NAMED);
            let report = DriftReport {
                begun_at: scan.begun_at,
                finished_at,
                total,
                kinds,
                worst,
                compared_accounts,
                proved_bytes_of_accounts,
                alarms,
                silent_lives,
                silent: silence.silent,
                returned_lives: silence.returned_lives,
            };
            (report, observed)
        };
        turn.known_silent = known_silent;
        self.metrics.observe_scan(&report, &observed);
        self.tell(&report);
        self.save().await;
        Ok(report)
    }

    /// Waits until every life that is heard has reported everything until now.
    async fn wait(&self, turn: &Turn) -> Result<(Vec<Life>, Awaited)> {
        let lives = self.step("the lives of the ledger", self.ledger.lives()).await?;
        let begin = self.clock.monotonic();
        let mut awaited = Awaited::new(&lives, &turn.known_silent, begin, self.options.silent_after);
        for round in 1_u32.. {
            for reporting in &self.own_reports {
                // What is not reported now is awaited.
                if let Err(error) = reporting.flush().await {
                    tracing::debug!(%error, "cannot report after the listing of a scan for drift");
                }
            }
            let lives = self.step("the lives of the ledger", self.ledger.lives()).await?;
            if awaited.note(&lives, self.clock.monotonic()) {
                return Ok((lives, awaited));
            }
            let at_once = !self.own_reports.is_empty() && round < ROUNDS_AT_ONCE;
            if let Some(until) = self.clock.monotonic().checked_add(self.options.poll_interval).filter(|_| !at_once) {
                self.clock.sleep_until(until).await;
            }
        }
        Err(Error::internal("nobody waits that often"))
    }

    /// Tells the log and the observer.
    fn tell(&self, report: &DriftReport) {
        let now = self.clock.monotonic();
        let DriftReport { alarms, silent_lives, returned_lives, .. } = report;
        if report.silent_lives > 0
            && let Some(left_out) = self.silence_line.due(now)
        {
            let first = report.silent.first().map(|life| life.reporter.to_string());
            tracing::warn!(
                silent_lives,
                first,
                returned_lives,
                left_out,
                "lives did not report after a scan for drift: what they have not reported is drift until they are heard"
            );
        }
        for kind in &report.kinds {
            self.observer.scanned(&kind.finding.interval, kind.finding.is_alarm);
        }
        let found: Vec<&DriftFinding> = std::iter::once(&report.total)
            .chain(report.kinds.iter().map(|kind| &kind.finding))
            .chain(&report.worst)
            .filter(|finding| finding.is_alarm)
            .collect();
        for finding in &found {
            self.observer.drift_found(finding);
        }
        self.observer.scan_ended(report);
        if alarms.any()
            && let Some(left_out) = self.alarm_line.due(now)
        {
            let worst = found.iter().max_by_key(|finding| finding.interval.proved_bytes().unsigned_abs());
            let subject = worst.map(|finding| finding.subject.to_string());
            let proved_bytes = worst.map(|finding| finding.interval.proved_bytes().to_string());
            tracing::error!(
                accounts = alarms.accounts,
                kinds = alarms.kinds,
                total = alarms.total,
                subject,
                proved_bytes,
                left_out,
                "what is stored is not what was reported"
            );
        }
    }
}

/// Sums up by account the uploads under way of lives that were heard since the first reading. Those of other lives may be years
/// old.
fn under_way(in_flight: &[InFlight], lives: &[Life], first: &HashMap<LifeKey, Mark>) -> HashMap<Account, UnderWay> {
    let present = marks(lives);
    let mut sums: HashMap<Account, UnderWay> = HashMap::new();
    for uploads in in_flight {
        let key = life_key(&uploads.reporter, uploads.epoch);
        let Some(mark) = present.get(&key) else { continue };
        if first.get(&key) != Some(mark) {
            let sum = sums.entry(uploads.account.clone()).or_default();
            *sum = sum.plus(uploads.objects, uploads.logical_bytes);
        }
    }
    sums
}
