//! The watch and its flight recorder: what triggers, and what becomes of it.

use std::os::fd::AsFd as _;
use std::time::Duration;

use crate::base::{KTime, ProcId};
use crate::pipeline::flight::{Cause, Happened, News};
use crate::pipeline::looker::Heard;
use crate::pipeline::settings::Trigger;
use crate::pipeline::teller::Told;
use crate::record::RecordError;
use crate::stream::{EndHow, Input};
use crate::view::watch::Notice;

use super::clock;
use super::peril::Fate;
use super::serve::Watch;

/// A process that is gone answers at once; one that still is has its tasks read.
const LAST_LOOK_WITHIN: Duration = Duration::from_secs(10);
/// Links are made at once, but a disk may be slow.
const LAND_WITHIN: Duration = Duration::from_secs(60);

impl Watch<'_> {
    /// A look is taken early where the target may be killed before the next one.
    pub fn mind_memory(&mut self, now: KTime) {
        if self.peril.as_mut().is_some_and(|peril| peril.hurries(now)) {
            self.look_soon(now);
        }
    }

    /// A flight recorder is of one process.
    fn look_soon(&mut self, now: KTime) {
        for session in self.sessions.values_mut() {
            session.pace.ask(now);
        }
    }

    /// Whether news of a finding are a cause.
    pub fn cause_in(&self, told: &Told) -> Option<Cause> {
        let flight = self.flight.as_ref()?;
        match told {
            Told::Opened(finding) if flight.wants(Trigger::Finding) => {
                let why = format!("finding {} ({})", finding.id, finding.kind.word());
                Some(Cause::seen("finding", why))
            }
            _ => None,
        }
    }

    /// Something happened that is a cause.
    pub async fn freeze(&mut self, cause: Cause) -> anyhow::Result<()> {
        let now = clock::now();
        let wall = self.wall(now);
        let Some(flight) = &mut self.flight else { return Ok(()) };
        match flight.begin(cause, wall.0) {
            None => {}
            Some(Err(news)) => self.tell_flight(news),
            Some(Ok((path, done))) => {
                // Whoever reads it later wants to see all tasks as they are now.
                self.look_soon(now);
                self.judge.freeze(path, done).await?;
            }
        }
        Ok(())
    }

    /// Something happened to the flight recorder.
    pub async fn flown(&mut self, happened: Happened) -> anyhow::Result<()> {
        let news = match happened {
            Happened::Asked(cause) => {
                self.freeze(cause).await?;
                None
            }
            Happened::Due => {
                self.release_frozen().await?;
                None
            }
            Happened::Begun(how) => self.flight.as_mut().and_then(|flight| flight.begun(how)),
            Happened::Ended(how) => self.flight.as_mut().and_then(|flight| flight.ended(how)),
        };
        if let Some(news) = news {
            self.tell_flight(news);
        }
        Ok(())
    }

    /// What is kept ends with a look: one is taken for it.
    async fn release_frozen(&mut self) -> anyhow::Result<()> {
        let Some((why, done)) = self.flight.as_mut().and_then(|flight| flight.due()) else {
            return Ok(());
        };
        self.judge.release(why, done).await?;
        self.look_soon(clock::now());
        Ok(())
    }

    fn tell_flight(&mut self, news: News) {
        let at = self.wall(clock::now());
        let notice = match news {
            News::Begun { path, why } => {
                Notice::Freezing { at, why, path: path.display().to_string() }
            }
            News::Kept { path, kept, held_back } => {
                let path = path.display().to_string();
                Notice::Frozen { at, path, bytes: kept.bytes, held_back }
            }
            News::Failed(why) => {
                Notice::Degraded { reason: format!("the flight recorder keeps nothing: {why:#}") }
            }
        };
        self.sink.notice(&notice);
    }

    /// What the disk took until now can be read; the target is left alone. A recorder ends with
    /// that, a watch goes on.
    pub fn recording_stopped(&mut self, why: RecordError) -> anyhow::Result<()> {
        if self.flight.take().is_some() {
            let reason = format!("the flight recorder has stopped: {why}");
            self.sink.notice(&Notice::Degraded { reason });
            return Ok(());
        }
        let path = self.job.record.as_ref().map(|r| r.place.path().display().to_string());
        let path = path.unwrap_or_default();
        Err(anyhow::Error::new(why).context(format!(
            "recording to {path} has stopped; `loiter report {path}` reads what was recorded until then"
        )))
    }

    /// A process is gone.
    pub async fn exited(&mut self, process: ProcId) -> anyhow::Result<()> {
        if self.flight.is_some() {
            self.last_look(process).await?;
        }
        let at = clock::now();
        self.judge.eat(vec![Input::ProcessEnd { process, at, how: EndHow::Exit }]).await?;
        let wanted = self.flight.as_ref().is_some_and(|flight| flight.wants(Trigger::Exit));
        let (Some(peril), Some(session)) = (&self.peril, self.sessions.get(&process)) else {
            return Ok(());
        };
        if !wanted {
            return Ok(());
        }
        let told = self.judge.exit_code(process).await?;
        if let Fate::Badly(why) = peril.fate(session.exit.fd().as_fd(), told) {
            self.freeze(Cause::seen("exit", why)).await?;
        }
        Ok(())
    }

    /// What can still be read of a target that has exited. Mostly nothing: its memory goes before
    /// the kernel tells of its end.
    async fn last_look(&mut self, process: ProcId) -> anyhow::Result<()> {
        let end = tokio::time::Instant::now() + LAST_LOOK_WITHIN;
        if let Some(eyes) = self.sessions.get_mut(&process).and_then(|session| session.eyes.take())
        {
            self.lookers.look(eyes);
        }
        loop {
            let heard = tokio::time::timeout_at(end, self.lookers.heard()).await;
            let (inputs, more) = match heard {
                Ok(Some(Heard::Part(_, inputs))) => (inputs, true),
                Ok(Some(Heard::Looked(look))) => match look.found {
                    Ok((inputs, _)) => (inputs, false),
                    Err(_) => return Ok(()),
                },
                _ => return Ok(()),
            };
            self.eat_defs().await?;
            self.judge.eat(inputs).await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Ends what is being kept, since nothing follows any more.
    pub async fn land(&mut self) -> anyhow::Result<()> {
        self.release_frozen().await?;
        Ok(())
    }

    /// Waits until what is being kept is complete; the recording has ended.
    pub async fn landed(&mut self) -> anyhow::Result<()> {
        let end = tokio::time::Instant::now() + LAND_WITHIN;
        while let Some(flight) = self.flight.as_mut().filter(|flight| flight.keeping()) {
            let Ok(Some(happened)) = tokio::time::timeout_at(end, flight.answer()).await else {
                break;
            };
            self.flown(happened).await?;
        }
        Ok(())
    }
}
