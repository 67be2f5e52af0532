//! `dump`: one look, through the model, and it is there. No probe.

use anyhow::Context as _;

use crate::base::ProcId;
use crate::model::Model;
use crate::stream::{Input, LookSeq, Mode};
use crate::view::{DumpView, build};

use super::clock;
use super::open::{Opened, open};
use super::settings::DumpSettings;
use super::watch::named_idle;

/// Every task of a process now.
///
/// # Errors
/// If the process cannot be read.
pub fn dump(settings: &DumpSettings) -> anyhow::Result<DumpView> {
    let process = ProcId(1);
    let Opened { def, mut looks, probing, .. } = open(&settings.target, process)?;
    let mut model = Model::new();
    let mut commands = Vec::new();
    let mut feed = |input| model.apply(input, &mut commands);
    feed(clock::anchor());
    let at = def.at;
    feed(Input::ProcessDef(Box::new(def)));
    feed(Input::ModeChange { process, at, mode: Mode::None, why: "one look".into() });
    let mut inputs = Vec::new();
    looks
        .look(LookSeq(1), &clock::now, &mut |input| inputs.push(input))
        .with_context(|| format!("process {} cannot be read", settings.target.pid))?;
    probing.take_defs().into_iter().for_each(&mut feed);
    inputs.into_iter().for_each(&mut feed);
    build::dump(&model, process, &named_idle()).context("the look was not merged")
}
