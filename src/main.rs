//! The binary: runs the command line, prints its error, and sets the exit status.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use tollgate::{cli::Cli, error};

/// The exit status that a shell expects from a wrong command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::read(env::args_os()) {
        Ok(cli) => cli,
        Err(shown) => {
            // Help and version arrive here too. They go to stdout and are no failure.
            let printed = shown.print();
            return if shown.use_stderr() || printed.is_err() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match cli.run() {
        Ok(status) => status,
        Err(error) => {
            // If stderr is closed, there is nowhere to report that.
            let _ = writeln!(io::stderr(), "{}", error::chain(&error));
            ExitCode::from(error.exit_status())
        }
    }
}
