//! All automation of loiter: what is set up, built, run, tested, measured and checked, is so by a command here.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod ci;
mod demo;
mod dist;
mod fuzz;
#[allow(dead_code)]
#[path = "../../tracer-user/tests/common/go.rs"]
mod go;
mod layers;
mod layouts;
mod loiter;
mod program;
mod progress;
#[allow(dead_code)]
#[path = "../../tracer-user/tests/common/readers.rs"]
mod readers;
mod run;
mod setup;
mod soak;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The automation of loiter.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing: compilers, linker, Go toolchains, real programs
    Setup(setup::Args),
    /// Watch a leaky service and its fixed twin, as an engineer on call would
    Demo(demo::Args),
    /// Run the tests, those that load eBPF too
    Test(test::Args),
    /// Run what takes longer: every Go version, thousands of attach cycles, fuzzing
    Soak(soak::Args),
    /// Build what users get: static binary, archive, Debian package, container image, bill of materials
    Dist(dist::Args),
    /// Measure what loiter costs
    Bench(bench::Args),
    /// Check that no layer uses a higher one, and the other rules of ARCHITECTURE.md
    Layers,
    /// Write the table of the Go runtime's layouts from the toolchains
    Layouts(layouts::Args),
    /// Feed the parsers with hostile input
    Fuzz(fuzz::Args),
    /// What continuous integration runs: fmt, clippy, layers, test
    Ci,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Dist(args) => dist::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Layers => layers::run(),
        Command::Layouts(args) => layouts::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Ci => ci::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<progress::AlreadyTold>() => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
