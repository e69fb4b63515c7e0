//! Builds the overlay as an ordinary user, in a user namespace. A program of its own, because entering one needs a
//! process with a single thread.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, reason = "tests")]

mod common;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use common::{Task, overlay, settle, tcp, wire};
use overlay_linux::link::Netlink;
use overlay_linux::netns::NetNs;
use overlay_linux::userns::{Namespaces, UserNsError, enter_as_root, unshare};
use overlay_linux::{mount, process};

const NOBODY: u32 = 65534;
const CHILD: &str = "OVERLAY_LINUX_TEST_CHILD";

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        return as_nobody();
    }
    // Where nobody can read it.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();

    let mut command = Command::new(&program);
    command.env(CHILD, "1").current_dir("/");
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            println!("test as_nobody ... FAILED ({status})");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("skipped: as_nobody (cannot become nobody: {error})");
            ExitCode::SUCCESS
        }
    }
}

fn as_nobody() -> ExitCode {
    assert!(!nix::unistd::geteuid().is_root());
    match enter_as_root() {
        Ok(()) => {}
        Err(error @ UserNsError::Map { .. }) => panic!("{error}"),
        Err(error) => {
            println!("skipped: as_nobody ({error})");
            return ExitCode::SUCCESS;
        }
    }
    assert!(nix::unistd::geteuid().is_root());
    two_hosts();
    a_task_of_its_own();
    println!("test as_nobody ... ok");
    ExitCode::SUCCESS
}

fn two_hosts() {
    let made = || Arc::new(NetNs::create().unwrap());
    let (a, b) = (made(), made());
    wire((&a, "10.77.0.1/24"), (&b, "10.77.0.2/24"));
    let one = Task { netns: made(), ip: "10.0.1.5".parse().unwrap() };
    let two = Task { netns: made(), ip: "10.0.1.6".parse().unwrap() };
    let (at_a, at_b) = ("10.77.0.1".parse().unwrap(), "10.77.0.2".parse().unwrap());
    let mut on_a = overlay(at_a, &one, at_b, two.ip);
    on_a.links.insert(common::name("un0"), overlay_linux::link::Link::existing());
    on_a.sysctls.insert("net.ipv4.ip_forward".to_owned(), "1".to_owned());
    settle(&Netlink::open_in(&a).unwrap(), &on_a);
    settle(&Netlink::open_in(&b).unwrap(), &overlay(at_b, &two, at_a, one.ip));
    assert_eq!(tcp(&one.netns, &two.netns, two.ip.into()), std::net::IpAddr::from(one.ip));
}

/// Mounts, names and process numbers of a task, without root.
fn a_task_of_its_own() {
    process::set_child_subreaper(true).unwrap();
    process::parent_death_signal(process::Signal::SIGKILL).unwrap();
    unshare(Namespaces::MOUNT | Namespaces::HOSTNAME | Namespaces::IPC | Namespaces::PID).unwrap();
    mount::make_private().unwrap();
    mount::set_hostname("web-1").unwrap();
    assert_eq!(nix::unistd::gethostname().unwrap(), "web-1");
    mount::tmpfs("/tmp".as_ref(), 1 << 20).unwrap();
    std::fs::write("/tmp/hosts", "10.0.1.6 two\n").unwrap();
    mount::bind_read_only("/tmp/hosts".as_ref(), "/tmp/shown".as_ref()).unwrap();
    assert_eq!(std::fs::read_to_string("/tmp/shown").unwrap(), "10.0.1.6 two\n");
    assert!(std::fs::write("/tmp/shown", "").is_err());
    mount::bind("/tmp/hosts".as_ref(), "/etc/hosts".as_ref()).unwrap();
    assert_eq!(std::fs::read_to_string("/etc/hosts").unwrap(), "10.0.1.6 two\n");
    mount::unmount("/etc/hosts".as_ref()).unwrap();
    // The next child is number 1 of the new process namespace. It ends with its own number as code.
    let code = Command::new("/bin/sh").args(["-c", "exit $$"]).status().unwrap().code();
    assert_eq!(code, Some(1));
}
