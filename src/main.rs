//! The binary: reads the command line, prints what went wrong, and sets the exit code.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use tollgate::{cli::Cli, error};

/// What a shell expects from a command line that was not understood.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::read(env::args_os()) {
        Ok(cli) => cli,
        Err(shown) => {
            // Help and version come this way too; they go to stdout and are no failure.
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
            // If stderr is gone there is nowhere left to complain.
            let _ = writeln!(io::stderr(), "{}", error::chain(&error));
            ExitCode::from(error.exit_status())
        }
    }
}
