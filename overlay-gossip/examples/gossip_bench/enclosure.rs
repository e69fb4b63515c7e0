//! Namespaces of our own: for the network, so that addresses and traffic are ours alone; for processes, so that
//! nothing survives.

use std::error::Error;
use std::io;
use std::process::{Command, ExitCode, Stdio};

/// Runs this program once more with `--inside`, where only it and its agents are.
pub(crate) fn run_inside() -> Result<ExitCode, Box<dyn Error>> {
    let Some(flags) = possible_flags()? else {
        eprintln!("gossip-bench: no namespaces here: be root, or allow user namespaces");
        eprintln!("  (Debian: sysctl kernel.unprivileged_userns_clone=1;");
        eprintln!("   Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0)");
        return Ok(ExitCode::from(NO_NAMESPACES));
    };
    let mut child = Command::new("unshare")
        .args(flags)
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg("--inside")
        // However this process ends, the pipe ends with it, and that ends all the others.
        .stdin(Stdio::piped())
        .spawn()?;
    let held = child.stdin.take();
    let status = child.wait()?;
    drop(held);
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A new network namespace has a loopback interface that is down.
pub(crate) fn raise_loopback() -> Result<(), Box<dyn Error>> {
    let raised = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    match raised {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("ip link set lo up: {status}").into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("ip not found: install iproute2".into()),
        Err(error) => Err(format!("ip: {error}").into()),
    }
}

/// How to ask for namespaces: as root without, else with a user namespace.
fn possible_flags() -> Result<Option<&'static [&'static str]>, Box<dyn Error>> {
    for flags in [AS_ROOT, AS_USER] {
        let tried = Command::new("unshare").args(flags).arg("true").stderr(Stdio::null()).status();
        match tried {
            Ok(status) if status.success() => return Ok(Some(flags)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err("unshare not found: install util-linux".into());
            }
            Err(error) => return Err(format!("unshare: {error}").into()),
        }
    }
    Ok(None)
}

const AS_ROOT: &[&str] = &["--net", "--pid", "--fork", "--mount-proc", "--kill-child"];
const AS_USER: &[&str] = &["--map-root-user", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"];
/// The exit code that says so.
const NO_NAMESPACES: u8 = 3;
