//! What would keep those who tell from starting, found without starting them: nobody listens, no thread runs, nothing
//! is sent.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use crate::view::delivery::Receiver;

use super::super::send::{Client, SendSettings};
use super::ListenSettings;

impl ListenSettings {
    /// Reads the files of those who may come.
    ///
    /// # Errors
    /// If they cannot be read, or are not what they are to be.
    pub fn check(&self) -> anyhow::Result<()> {
        self.guard().map(drop)
    }
}

impl SendSettings {
    /// Reads the files of those who are sent to, and looks whether the journal is there.
    ///
    /// # Errors
    /// As [`Outbox::start`](super::super::send::Outbox::start).
    pub fn check(&self) -> anyhow::Result<()> {
        let http = [
            (Receiver::Webhook, &self.webhook),
            (Receiver::OtlpLogs, &self.otlp_logs),
            (Receiver::OtlpMetrics, &self.otlp_metrics),
        ];
        for (to, receiver) in http {
            if let Some(receiver) = receiver {
                Client::new(to, receiver)?;
            }
        }
        self.journal.as_deref().map_or(Ok(()), is_journal)
    }
}

fn is_journal(path: &Path) -> anyhow::Result<()> {
    let found = std::fs::metadata(path);
    anyhow::ensure!(
        found.is_ok_and(|found| found.file_type().is_socket()),
        "no journal at {}: leave --journald out, or mount the socket of the host's journal there",
        path.display()
    );
    Ok(())
}
