//! The same numbers for those who cannot come for them: asked for in intervals, and put where they wait to be sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::super::send::Queue;
use super::{Question, Told, server};

/// How metrics are sent.
#[derive(Clone)]
pub struct PushSettings {
    /// Where they wait to be sent.
    pub queue: Queue,
    /// How often.
    pub every: Duration,
    /// Writes them.
    pub encode: fn(&Told<'_>) -> Vec<u8>,
}

/// Asks and sends until the future is dropped.
pub async fn push(
    settings: PushSettings,
    teller: Arc<server::Teller>,
    questions: mpsc::Sender<Question>,
) {
    let mut ticks = interval(settings.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A loop that does not answer now is asked again the next time.
        if let Some(views) = server::ask(&questions, Question::Metrics).await {
            settings.queue.push(teller.told(&views, settings.encode));
        }
    }
}
