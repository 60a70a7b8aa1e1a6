//! The `jumun` command. Everything is in the library, so that tests can build the same command.

use std::process::ExitCode;

fn main() -> ExitCode {
    jumun::main()
}
