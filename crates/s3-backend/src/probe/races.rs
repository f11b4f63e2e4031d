//! Races creates with large bodies. Some servers look first and store later, which small bodies do not show, and neither do
//! requests that follow one another.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use blobaccess::{Error, PutCertainty, Result};
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

/// The time that the races may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The longest object that may be what is kept, in bytes.
const MAX_KEPT_BYTES: u64 = 256;

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

    fn to_text(self) -> String {
        let word = |kept| if kept { "kept" } else { "ignored" };
        format!("races of large bodies, version 1\nputs {}\ncompletions {}\n", word(self.puts), word(self.completions))
    }

    fn from_text(text: &[u8]) -> Option<Self> {
        let all =
            [true, false].into_iter().flat_map(|puts| [true, false].map(|completions| Self { puts, completions }));
        all.into_iter().find(|races| races.to_text().as_bytes() == text)
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
                Ok(Some(races)) => return Some(races),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "what races showed cannot be read"),
            }
        }
        let races = match self.run_races(conditional_completion).await {
            Ok(races) => races,
            Err(error) => {
                tracing::warn!(bucket = %self.bucket, %error, "large creates could not be raced");
                return None;
            }
        };
        if remembers && let Err(error) = self.keep(&kept, races).await {
            tracing::debug!(%error, "what races showed cannot be kept");
        }
        Some(races)
    }

    async fn kept(&self, path: &Path) -> Result<Option<Races>> {
        let Some(mut reading) = self.bucket.get(path, None).await? else { return Ok(None) };
        let is_fresh = reading.found.age.is_some_and(|age| age <= BELIEVED_FOR);
        if !is_fresh || reading.found.size_bytes > MAX_KEPT_BYTES {
            return Ok(None);
        }
        let mut text = BytesMut::new();
        while let Some(piece) = reading.stream.try_next().await? {
            text.extend_from_slice(&piece);
        }
        Ok(Races::from_text(&text))
    }

    async fn keep(&self, path: &Path, races: Races) -> Result<()> {
        let payload = PutPayload::from_bytes(races.to_text().into());
        let last_answer = LastAnswer::default();
        let put = self.bucket.put_once(path, payload, PutMode::Overwrite, None, None, &last_answer);
        put.await.map_err(|error| crate::error::from_provider(error, last_answer.answer().as_ref()))?;
        Ok(())
    }

    async fn run_races(&self, conditional_completion: bool) -> Result<Races> {
        let clock = self.bucket.clock();
        let end = clock.monotonic() + PATIENCE;
        let late = |_| Error::deadline_exceeded("large creates took too long");
        let body = Bytes::from(vec![0; BODY_BYTES]);
        let puts = self.ask("raced-puts", |path| self.race_puts(path, RACERS, body.clone()));
        let puts = clock.timeout(Some(end), puts).await.map_err(late)??;
        let parts = self.bucket.conditional_parts().filter(|_| puts && conditional_completion);
        let Some(parts) = parts else { return Ok(Races { puts, completions: false }) };
        let begun = Mutex::new(Vec::new());
        let completions = self.ask("raced-completions", |path| self.race_completions(parts, path, &body, &begun));
        let completions = clock.timeout(Some(end), completions).await;
        let begun = begun.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Those that were completed are gone.
        join_all(begun.iter().map(|place| parts.abort(self.bucket, place))).await;
        Ok(Races { puts, completions: completions.map_err(late)?? })
    }

    /// Returns whether at most one of several concurrent puts succeeds.
    pub(super) async fn race_puts(&self, path: Path, racers: usize, body: Bytes) -> Result<bool> {
        let tokens: Vec<_> = (0..racers).map(|_| token()).collect();
        let racing = join_all(tokens.iter().map(|token| async {
            let last_answer = LastAnswer::default();
            let payload = PutPayload::from_bytes(body.clone());
            let put = self.bucket.put_once(&path, payload, PutMode::Create, Some(token), None, &last_answer);
            match put.await {
                Ok(_) => Ok(true),
                Err(error) => match verdict::judge(error, last_answer.answer().as_ref(), self.bucket.provider()) {
                    Verdict::Failed => Ok(false),
                    Verdict::Again(error) | Verdict::Maybe(error) | Verdict::Refused(error) => Err(error),
                },
            }
        }))
        .await;
        let created = racing.iter().filter(|result| matches!(result, Ok(true))).count();
        if created > 1 {
            return Ok(false);
        }
        // A conflict is an answer, too.
        match racing
            .into_iter()
            .find_map(|result| result.err().filter(|error| error.put_certainty() != PutCertainty::NotStored))
        {
            Some(error) => Err(error),
            None => Ok(true),
        }
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
        let (mut done, mut unknown) = (0, None);
        for completion in join_all(completing).await {
            match completion {
                Completion::Done => done += 1,
                Completion::Exists | Completion::Conflict(_) => {}
                Completion::Maybe(error) => unknown = Some(error),
            }
        }
        match unknown {
            Some(error) if done < 2 => Err(error),
            Some(_) | None => Ok(done < 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back_and_nothing_else_is() {
        for (puts, completions) in [(true, true), (true, false), (false, true), (false, false)] {
            let races = Races { puts, completions };
            assert_eq!(Races::from_text(races.to_text().as_bytes()), Some(races));
        }
        assert_eq!(Races::from_text(b""), None);
        assert_eq!(Races::from_text(b"races of large bodies, version 2\nputs kept\ncompletions kept\n"), None);
    }
}
