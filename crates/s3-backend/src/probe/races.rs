//! Races creates with large bodies. Some servers look first and store later, which small bodies do not show, and neither do
//! requests that follow one another.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use blobaccess::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use futures::future::{join_all, try_join_all};
use object_store::path::Path;
use object_store::{PutMode, PutPayload};

use super::{Probe, token};
use crate::ProbeRaces;
use crate::bucket::{Completion, MultipartUpload, Parts};
use crate::last_answer::LastAnswer;
use crate::verdict::{self, Verdict};

/// The number of creates that race, and the size of each body: the smallest part that S3 takes before the last one.
const RACERS: usize = 4;
const BODY_BYTES: usize = 5 << 20;

/// The key of the object that keeps what the races showed.
const KEY: &str = "probe/races";

/// The time for which it is believed, by the server's clock. A server may be replaced by another version meanwhile.
const BELIEVED_FOR: Duration = Duration::from_hours(30 * 24);

/// The time for which races are not tried again that had no end.
const NOT_TRIED_FOR: Duration = Duration::from_hours(24);

/// The time that the races may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The longest object that may be what is kept, in bytes.
const MAX_KEPT_BYTES: u64 = 256;

/// The first line of what is kept.
const FIRST_LINE: &str = "races of large bodies, version 1";

/// The result of the races: whether at most one create of a key wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Races {
    pub(crate) puts: bool,
    pub(crate) completions: bool,
}

impl Races {
    /// The result of races that nobody won twice.
    #[cfg_attr(not(feature = "sim"), expect(dead_code, reason = "known beforehand of the server in the process only"))]
    pub(crate) const KEPT: Self = Self { puts: true, completions: true };
}

/// The object that keeps what the races showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    /// The result; `None` if the races had no end.
    races: Option<Races>,
    /// The time at which it was written, by the clock of the writer, in seconds since 1970. Earlier versions left it out.
    written: Option<u64>,
}

impl Record {
    fn to_text(self) -> String {
        let word = |kept| if kept { "kept" } else { "ignored" };
        let races = match self.races {
            Some(races) => format!("puts {}\ncompletions {}\n", word(races.puts), word(races.completions)),
            None => "no end\n".to_owned(),
        };
        let written = self.written.map_or_else(String::new, |written| format!("at {written}\n"));
        format!("{FIRST_LINE}\n{races}{written}")
    }

    fn from_text(text: &[u8]) -> Option<Self> {
        let last = std::str::from_utf8(text).ok()?.lines().last()?;
        let written = last.strip_prefix("at ").and_then(|at| at.parse().ok());
        let all =
            [true, false].into_iter().flat_map(|puts| [true, false].map(|completions| Races { puts, completions }));
        let all = all.map(Some).chain([None]).map(|races| Self { races, written });
        all.into_iter().find(|record| record.to_text().as_bytes() == text)
    }

    /// Returns whether it is believed at `age`.
    fn is_fresh(self, age: Duration) -> bool {
        age <= if self.races.is_some() { BELIEVED_FOR } else { NOT_TRIED_FOR }
    }
}

/// The answers to creates that raced.
#[derive(Debug, Default)]
struct Answers {
    created: usize,
    failed: usize,
    conflicts: usize,
    /// The first failure of a create that may have stored its object.
    unknown: Option<Error>,
    /// The first failure of a create that stored nothing.
    not_stored: Option<Error>,
}

impl Answers {
    fn note(&mut self, answer: std::result::Result<(), Verdict>) {
        match answer {
            Ok(()) => self.created += 1,
            Err(Verdict::Failed) => self.failed += 1,
            Err(Verdict::Maybe(error)) => _ = self.unknown.get_or_insert(error),
            Err(Verdict::Again(error) | Verdict::Refused(error)) => {
                // The answer 409 is one of the race; a refused connection or body is not.
                self.conflicts += usize::from(error.kind() == ErrorKind::Aborted);
                self.not_stored.get_or_insert(error);
            }
        }
    }

    /// Returns whether at most one create succeeded. Fails if it is not known, or if fewer than two took part.
    fn into_result(self) -> Result<bool> {
        if self.created > 1 {
            return Ok(false);
        }
        if let Some(error) = self.unknown {
            return Err(error);
        }
        // Conflicts alone say nothing: nobody may have looked at the key.
        let decided = self.created + self.failed;
        if decided > 0 && decided + self.conflicts > 1 {
            return Ok(true);
        }
        let too_few = || Error::unavailable("too few of several creates at once were answered").with_retryable(true);
        Err(self.not_stored.unwrap_or_else(too_few))
    }
}

impl Probe<'_> {
    /// Returns what races showed: earlier ones, if that is remembered, or those that are run now. Returns `None` if there
    /// are to be none, or if they had no end. Completions are raced if one after another they keep their condition.
    pub(super) async fn races(&self, conditional_completion: bool) -> Option<Races> {
        let remembers = match self.options.probe_races {
            ProbeRaces::Never => return None,
            ProbeRaces::Always => false,
            ProbeRaces::Remember => true,
        };
        let kept = self.bucket.path(KEY).ok()?;
        if remembers {
            if let Some(known) = self.bucket.known_races() {
                return Some(known);
            }
            match self.kept(&kept).await {
                Ok(Some(record)) => return record.races,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "what races showed cannot be read"),
            }
        }
        let races = self.run_races(conditional_completion).await;
        let races = races.inspect_err(|error| {
            tracing::warn!(bucket = %self.bucket, %error, "large creates could not be raced");
        });
        let races = races.ok();
        if remembers && let Err(error) = self.keep(&kept, races).await {
            tracing::debug!(%error, "what races showed cannot be kept");
        }
        races
    }

    async fn kept(&self, path: &Path) -> Result<Option<Record>> {
        let Some(mut reading) = self.bucket.get(path, None).await? else { return Ok(None) };
        if reading.found.size_bytes > MAX_KEPT_BYTES {
            return Ok(None);
        }
        let mut text = BytesMut::new();
        while let Some(piece) = reading.stream.try_next().await? {
            text.extend_from_slice(&piece);
        }
        let Some(record) = Record::from_text(&text) else { return Ok(None) };
        // A server that does not tell its time leaves the clocks of the writer and of the reader, which may differ.
        let by_ours = || record.written.map(|written| Duration::from_secs(self.unix_seconds().abs_diff(written)));
        let age = reading.found.age.or_else(by_ours);
        Ok(age.is_some_and(|age| record.is_fresh(age)).then_some(record))
    }

    fn unix_seconds(&self) -> u64 {
        self.bucket.clock().now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    async fn keep(&self, path: &Path, races: Option<Races>) -> Result<()> {
        let record = Record { races, written: Some(self.unix_seconds()) };
        let payload = PutPayload::from_bytes(record.to_text().into());
        let last_answer = LastAnswer::default();
        let put = self.bucket.put_once(path, payload, PutMode::Overwrite, None, None, &last_answer);
        let put = self.bucket.clock().timeout(Some(self.cleaning_ends()), put).await;
        let put = put.map_err(|_| Error::deadline_exceeded("the bucket did not answer in time"))?;
        put.map_err(|error| crate::error::from_provider(error, last_answer.answer().as_ref()))?;
        Ok(())
    }

    async fn run_races(&self, conditional_completion: bool) -> Result<Races> {
        let clock = self.bucket.clock();
        let end = Some(clock.monotonic() + PATIENCE);
        let body = Bytes::from(vec![0; BODY_BYTES]);
        let path = self.path("raced-puts")?;
        let puts = self.ask_once(&path, end, self.race_puts(path.clone(), RACERS, body.clone())).await?;
        let parts = self.bucket.conditional_parts().filter(|_| puts && conditional_completion);
        let Some(parts) = parts else { return Ok(Races { puts, completions: false }) };
        let begun = Mutex::new(Vec::new());
        let path = self.path("raced-completions")?;
        let race = self.race_completions(parts, path.clone(), &body, &begun);
        let completions = self.ask_once(&path, end, race).await;
        let begun = begun.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Those that were completed are gone.
        let aborts = join_all(begun.iter().map(|place| parts.abort(self.bucket, place)));
        if clock.timeout(Some(self.cleaning_ends()), aborts).await.is_err() {
            tracing::warn!(bucket = %self.bucket, "uploads of the probe could not be aborted in time");
        }
        Ok(Races { puts, completions: completions? })
    }

    /// Returns whether at most one of several concurrent puts succeeds.
    pub(super) async fn race_puts(&self, path: Path, racers: usize, body: Bytes) -> Result<bool> {
        let tokens: Vec<_> = (0..racers).map(|_| token()).collect();
        let racing = join_all(tokens.iter().map(|token| async {
            let last_answer = LastAnswer::default();
            let payload = PutPayload::from_bytes(body.clone());
            let put = self.bucket.put_once(&path, payload, PutMode::Create, Some(token), None, &last_answer);
            let provider = self.bucket.provider();
            put.await.map(drop).map_err(|error| verdict::judge(error, last_answer.answer().as_ref(), provider))
        }));
        let mut answers = Answers::default();
        for answer in racing.await {
            answers.note(answer);
        }
        answers.into_result()
    }

    /// Returns whether at most one of several concurrent completions succeeds. Notes the uploads that were begun.
    async fn race_completions(
        &self,
        parts: &Parts,
        path: Path,
        body: &Bytes,
        begun: &Mutex<Vec<MultipartUpload>>,
    ) -> Result<bool> {
        let ready = try_join_all((0..RACERS).map(|_| async {
            let id = parts.begin(self.bucket, &path, None, None).await?;
            let place = MultipartUpload { path: path.clone(), id };
            begun.lock().unwrap_or_else(PoisonError::into_inner).push(place.clone());
            let (_, part) = parts.put(self.bucket, &place, 0, 0, PutPayload::from_bytes(body.clone())).await?;
            Ok::<_, Error>((place, part))
        }))
        .await?;
        let completing = ready
            .into_iter()
            .map(|(place, part)| async move { parts.complete(self.bucket, &place, vec![part], None, None).await });
        let mut answers = Answers::default();
        for completion in join_all(completing).await {
            answers.note(match completion {
                Completion::Done => Ok(()),
                Completion::Exists => Err(Verdict::Failed),
                Completion::Conflict(error) => Err(Verdict::Again(error)),
                Completion::Maybe(error) => Err(Verdict::Maybe(error)),
            });
        }
        answers.into_result()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back_and_nothing_else_is() {
        let all = [(true, true), (true, false), (false, true), (false, false)];
        let all = all.map(|(puts, completions)| Some(Races { puts, completions }));
        for races in all.into_iter().chain([None]) {
            for written in [None, Some(0), Some(1_767_225_600)] {
                let record = Record { races, written };
                let text = record.to_text();
                assert_eq!(Record::from_text(text.as_bytes()), Some(record));
                assert_eq!(Record::from_text(format!("{text}at 1\n").as_bytes()).is_some(), written.is_none());
            }
        }
        let earlier = b"races of large bodies, version 1\nputs kept\ncompletions ignored\n";
        let races = Some(Races { puts: true, completions: false });
        assert_eq!(Record::from_text(earlier), Some(Record { races, written: None }));
        assert_eq!(Record::from_text(b""), None);
        assert_eq!(Record::from_text(b"races of large bodies, version 2\nputs kept\ncompletions kept\n"), None);
    }

    #[test]
    fn fewer_than_two_that_took_part_are_no_race() {
        let conflict = || Err(Verdict::Again(Error::aborted("409").not_stored()));
        let refused = || Err(Verdict::Refused(Error::unavailable("413").not_stored()));
        let lost = || Err(Verdict::Maybe(Error::unavailable("lost")));
        let failed = || Err(Verdict::Failed);
        let result = |all: Vec<std::result::Result<(), Verdict>>| {
            let mut answers = Answers::default();
            for answer in all {
                answers.note(answer);
            }
            answers.into_result().ok()
        };
        assert_eq!(result(vec![Ok(()), failed()]), Some(true));
        assert_eq!(result(vec![Ok(()), conflict(), refused()]), Some(true));
        assert_eq!(result(vec![failed(), failed()]), Some(true));
        assert_eq!(result(vec![Ok(()), Ok(()), lost()]), Some(false));
        assert_eq!(result(vec![Ok(()), failed(), lost()]), None);
        assert_eq!(result(vec![Ok(()), refused()]), None);
        assert_eq!(result(vec![refused(), refused()]), None);
        assert_eq!(result(vec![conflict(), conflict()]), None);
    }
}
