//! `jumun`, as the tests start, fault and kill it.

use std::process::ExitCode;

fn main() -> ExitCode {
    jumun::main_wrapped(tests::faulted)
}
