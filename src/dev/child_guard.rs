//! `genflow guard`: each engine starts as this command, so it cannot outlive genflow.
//!
//! The guard asks the kernel for SIGKILL when the parent dies, checks that the parent still lives, then becomes the
//! command by `exec`. The request survives `exec` but not `fork`: a command that forks has to end its own children.
//!
//! Only Linux can do this. On other systems the guard only becomes the command, and a genflow that is killed with
//! SIGKILL leaves its engines running.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Becomes `command`, tied to the life of the process `parent`; returns only if that fails.
///
/// The caller passes the parent's id, because the parent may be dead by now: then `getppid` here would return the
/// process that adopted this one.
#[must_use]
pub fn run(parent: u32, command: Vec<OsString>) -> io::Error {
    if let Err(error) = tie_to(parent) {
        return error;
    }
    let mut words = command.into_iter();
    let Some(program) = words.next() else {
        return io::Error::new(
            io::ErrorKind::InvalidInput,
            "no command given; expected: guard --parent PID -- command",
        );
    };
    let failed = Command::new(&program).args(words).exec();
    io::Error::new(failed.kind(), format!("{}: {failed}", program.display()))
}

#[cfg(target_os = "linux")]
fn tie_to(parent: u32) -> io::Result<()> {
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The signal first, then the check: the signal covers a parent that dies after the check.
    let alive = getppid()
        .map(Pid::as_raw_pid)
        .and_then(|pid| u32::try_from(pid).ok())
        == Some(parent);
    if alive {
        Ok(())
    } else {
        Err(io::Error::other(format!("parent process {parent} is gone")))
    }
}

#[cfg(not(target_os = "linux"))]
fn tie_to(_parent: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_started_for_a_parent_that_is_gone() {
        let error = run(0, vec!["true".into()]);

        if cfg!(target_os = "linux") {
            assert_eq!(error.to_string(), "parent process 0 is gone");
        }
    }
}
