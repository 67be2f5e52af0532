//! Another configuration for a watch that runs: filters, thresholds and budgets change under it, and
//! nothing that is known of the tasks is lost.

use crate::base::ProcId;
use crate::pipeline::host::Verdict;
use crate::pipeline::settings::{Tune, WatchSettings, Whom};
use crate::stream::EndHow;
use crate::view::watch::Notice;

use super::serve::Watch;
use super::session::ceiling;
use super::{Reloaded, detectors};

impl Watch<'_> {
    /// Reads the configuration again. One that is wrong changes nothing.
    pub async fn reload(&mut self) -> anyhow::Result<()> {
        let Some(read) = &mut self.reload else { return Ok(()) };
        self.service.reloading();
        match read() {
            Ok(Reloaded { settings, fixed }) => {
                self.take_over(settings).await?;
                let mut words = "the configuration was read again".to_owned();
                if !fixed.is_empty() {
                    words = format!("{words}; a restart is needed for {}", fixed.join(", "));
                }
                self.sink.notice(&Notice::Reloaded { words });
            }
            Err(why) => {
                let words = format!("the configuration is wrong, and the old one stays: {why:#}");
                self.sink.notice(&Notice::Reloaded { words });
            }
        }
        self.service.ready();
        Ok(())
    }

    async fn take_over(&mut self, settings: WatchSettings) -> anyhow::Result<()> {
        let WatchSettings { whom, tune, overrides, thresholds, expectations, .. } = settings;
        (self.job.tune, self.job.overrides) = (tune, overrides);
        let detectors = detectors(&thresholds, &expectations);
        self.judge.set(detectors, expectations.acknowledged).await?;
        if let (Whom::Host(new), Some(host)) = (whom, &mut self.host) {
            // How processes are opened is decided at the start.
            let (assume_go, threads) = (host.settings().assume_go, host.settings().threads);
            let mut new = *new;
            (new.assume_go, new.threads) = (assume_go, threads);
            host.set(new);
            self.drop_unwanted().await?;
            self.scan()?;
        }
        let all: Vec<ProcId> = self.sessions.keys().copied().collect();
        for process in all {
            self.retune(process)?;
        }
        Ok(())
    }

    /// Lets go of those that do not pass the filter any more.
    async fn drop_unwanted(&mut self) -> anyhow::Result<()> {
        let Some(host) = &self.host else { return Ok(()) };
        let is_meant = |pid| host.verdict(pid) == Verdict::Taken;
        let unwanted = self.sessions.values().filter(|session| !is_meant(session.target.pid));
        let unwanted: Vec<ProcId> = unwanted.map(|session| session.process).collect();
        for process in unwanted {
            self.let_go(process, EndHow::Detached, "the filter leaves it out now").await?;
        }
        Ok(())
    }

    fn retune(&mut self, process: ProcId) -> anyhow::Result<()> {
        let Some(session) = self.sessions.get_mut(&process) else { return Ok(()) };
        let new = self.job.tune_of(&session.who.exe);
        let old = std::mem::replace(&mut session.tune, new);
        if new == old {
            return Ok(());
        }
        session.pace.set_interval(new.interval);
        let mut refused = None;
        if let (Some(tracer), Some(slot)) = (&mut self.tracer, session.slot)
            && new.min_wait != old.min_wait
            && let Err(why) = tracer.set_min_wait(slot, new.min_wait)
        {
            session.tune.min_wait = old.min_wait;
            refused = Some(format!("--min-wait stays as it was: {why:#}"));
        }
        let Tune { mode, budget, .. } = new;
        if (mode, budget) != (old.mode, old.budget) {
            let ceiling = ceiling(&new, session.probing.threads());
            session.spend_within(budget.map(|budget| budget.budget), ceiling);
            if budget.is_none() || session.mode > ceiling {
                let mode = if budget.is_none() { mode } else { ceiling };
                self.set_mode(process, mode, "as the configuration asks for")?;
            }
        }
        if let Some(reason) = refused {
            self.tell(process, &Notice::Degraded { reason });
        }
        Ok(())
    }
}
