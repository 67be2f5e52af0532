//! The command line: clap arguments -> validated settings -> pipeline. One file a command.

/// Runs the command line; the exit code tells how it went (README, "Exit codes").
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
