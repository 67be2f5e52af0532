//! The end: of one process under watch, and of the watch.

use crate::base::ProcId;
use crate::stream::{EndHow, Input};
use crate::view::SummaryView;
use crate::view::watch::Notice;

use super::costs::Spending;
use super::serve::Watch;
use super::{Done, Ended, clock};

impl Watch<'_> {
    /// A process is gone.
    pub async fn gone(&mut self, process: ProcId) -> anyhow::Result<Option<Ended>> {
        if self.is_alone() {
            return Ok(self.sessions.contains_key(&process).then_some(Ended::Exited));
        }
        self.let_go(process, EndHow::Exit, Ended::Exited.words()).await?;
        Ok(None)
    }

    /// One of many is watched no more: it is summed up and forgotten.
    pub async fn let_go(&mut self, process: ProcId, how: EndHow, why: &str) -> anyhow::Result<()> {
        if !self.sessions.contains_key(&process) {
            return Ok(());
        }
        self.release(process).await?;
        self.judge.eat(vec![Input::ProcessEnd { process, at: clock::now(), how }]).await?;
        self.sum_up(process, why).await?;
        self.judge.forget(process).await
    }

    /// Tells the summary of one of many; its session is over.
    async fn sum_up(&mut self, process: ProcId, why: &str) -> anyhow::Result<()> {
        let Some(mut session) = self.sessions.remove(&process) else { return Ok(()) };
        let mut summary = self.judge.summary(process, why).await?;
        summary.cost = session.spending.as_ref().map(Spending::view);
        summary.thread_waits = std::mem::take(&mut session.thread_waits);
        summary.thread_calls = std::mem::take(&mut session.thread_calls);
        while let Some(said) = self.judge.said_now() {
            self.hear(said).await?;
        }
        // Who was gone before anything was known of it is no news.
        if session.first_look_told {
            self.findings = self.findings.plus(summary.findings);
            self.sink.ended(&summary)?;
        }
        Ok(())
    }

    /// Ends the watch in good order.
    pub async fn finish(mut self, ended: anyhow::Result<Ended>) -> anyhow::Result<Done> {
        self.service.stopping();
        if ended.is_ok()
            && let Err(why) = self.tell_last_metrics().await
        {
            tracing::warn!("the last metrics are not sent: {why:#}");
        }
        if self.is_alone() {
            return self.finish_one(ended).await;
        }
        let ended = ended?;
        let all: Vec<ProcId> = self.sessions.keys().copied().collect();
        for process in all {
            self.let_go(process, EndHow::Detached, ended.words()).await?;
        }
        if let Some(beyond) = self.host.as_ref().and_then(|host| host.beyond()) {
            self.sink.notice(&Notice::Degraded { reason: beyond });
        }
        Ok(Done { summary: None, findings: self.findings, written: None })
    }

    async fn finish_one(mut self, ended: anyhow::Result<Ended>) -> anyhow::Result<Done> {
        let process = self.sessions.keys().next().copied();
        let released = match process {
            Some(process) => self.release(process).await,
            None => Ok(()),
        };
        let ended = match ended {
            Ok(ended) => ended,
            Err(why) => {
                let _the_first_error_is_told = self.judge.end_recording(&format!("{why:#}")).await;
                return Err(why);
            }
        };
        released?;
        let Some(process) = process else { anyhow::bail!("no process was watched") };
        if matches!(ended, Ended::Exited) {
            self.exited(process).await?;
        } else {
            self.judge.eat(vec![Input::Tick(clock::now())]).await?;
        }
        let summary = self.summary_of_one(process, &ended).await?;
        self.land().await?;
        let written = self.judge.end_recording(ended.words()).await?;
        self.landed().await?;
        Ok(Done { findings: summary.findings, summary: Some(summary), written })
    }

    async fn summary_of_one(
        &mut self,
        process: ProcId,
        ended: &Ended,
    ) -> anyhow::Result<SummaryView> {
        let mut summary = self.judge.summary(process, ended.words()).await?;
        if let Some(session) = self.sessions.get_mut(&process) {
            summary.cost = session.spending.as_ref().map(Spending::view);
            summary.thread_waits = std::mem::take(&mut session.thread_waits);
            summary.thread_calls = std::mem::take(&mut session.thread_calls);
        }
        while let Some(said) = self.judge.said_now() {
            self.hear(said).await?;
        }
        Ok(summary)
    }
}
