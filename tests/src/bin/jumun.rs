//! `jumun`, as the tests start and kill it.

use std::process::ExitCode;

fn main() -> ExitCode {
    jumun::main()
}
