//! Which processes of the host `loiter watch --all` watches.

use clap::Args;

use super::args::GoArgs;
use super::{exit, values};
use crate::base::Nanos;
use crate::pipeline::settings::{Filter, Glob, HostSettings};

/// Of the slots of the kernel part some are kept, and ended processes keep theirs for a moment.
const MOST_TARGETS: u16 = 1000;

/// Filters for --all; each may be given more than once
#[derive(Args, Debug)]
#[command(next_help_heading = "With --all")]
pub struct HostArgs {
    /// Only processes with this name, or this name of their executable; * and ? stand for any text
    /// and any character
    #[arg(long, value_name = "GLOB", value_parser = values::glob, requires = "all")]
    name: Vec<Glob>,

    /// Only processes in such a cgroup, such as '/system.slice/orders.service'
    #[arg(long, value_name = "GLOB", value_parser = values::glob, requires = "all")]
    cgroup: Vec<Glob>,

    /// Only processes in a container whose id is this, or begins so, or that is called so in its pod
    #[arg(long, value_name = "GLOB", value_parser = values::glob, requires = "all")]
    container: Vec<Glob>,

    /// Only processes in a Kubernetes pod with this name
    #[arg(long, value_name = "GLOB", value_parser = values::glob, requires = "all")]
    pod: Vec<Glob>,

    /// Only processes in a pod of this Kubernetes namespace
    #[arg(long, value_name = "GLOB", value_parser = values::glob, requires = "all")]
    namespace: Vec<Glob>,

    /// Not processes with this name, or this name of their executable
    #[arg(long, value_name = "GLOB", value_parser = values::glob, requires = "all")]
    exclude: Vec<Glob>,

    /// Leave processes alone that live for less
    #[arg(long, value_name = "DURATION", value_parser = values::duration, requires = "all")]
    #[arg(default_value = "500ms")]
    settle: Nanos,

    /// Watch at most so many at a time
    #[arg(long, value_name = "N", default_value_t = 200, requires = "all")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_TARGETS)))]
    max_targets: u16,
}

impl HostArgs {
    /// The settings.
    ///
    /// # Errors
    /// If the arguments do not go together.
    pub fn settings(&self, go: &GoArgs) -> anyhow::Result<HostSettings> {
        if self.settle > Nanos::from_secs(3600) {
            return Err(exit::usage("--settle is at most 1h"));
        }
        Ok(HostSettings {
            filter: Filter {
                name: self.name.clone(),
                cgroup: self.cgroup.clone(),
                container: self.container.clone(),
                pod: self.pod.clone(),
                namespace: self.namespace.clone(),
                exclude: self.exclude.clone(),
            },
            settle: self.settle,
            most: usize::from(self.max_targets),
            assume_go: go.assume_go,
            threads: go.threads(),
        })
    }
}
