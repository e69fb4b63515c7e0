//! Who runs, as `/proc` shows it.

use std::collections::BTreeMap;
use std::fs;

/// A process.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Process {
    /// Its number here.
    pub(super) pid: u32,
    /// Its parent's number here.
    parent: u32,
    /// Its numbers from this PID namespace inwards, its own namespace's last.
    numbers: Vec<u32>,
    /// Its resident memory in KiB.
    pub(super) resident_kib: u64,
    /// The part of it that comes from files, such as the program itself: processes of one program share it.
    file_kib: u64,
    /// Its first argument, which tells our processes apart.
    pub(super) role: String,
}

/// All processes that this process sees.
#[derive(Clone, Debug, Default)]
pub(super) struct Processes {
    by_pid: BTreeMap<u32, Process>,
}

impl Processes {
    /// Looks.
    pub(super) fn now() -> Self {
        let mut by_pid = BTreeMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
            let args = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if let Some(process) = parse(pid, &status, &args) {
                by_pid.insert(pid, process);
            }
        }
        Self { by_pid }
    }

    /// A process and all that descend from it, itself first.
    pub(super) fn tree(&self, root: u32) -> Vec<&Process> {
        let mut tree: Vec<&Process> = self.by_pid.get(&root).into_iter().collect();
        let mut next = 0;
        while let Some(parent) = tree.get(next).map(|process| process.pid) {
            tree.extend(
                self.by_pid.values().filter(|process| process.parent == parent && process.pid != root),
            );
            next += 1;
        }
        tree
    }

    /// The resident memory in KiB of a process and all that descend from it; the program that they share counts once.
    pub(super) fn memory_kib(&self, root: u32) -> u64 {
        let tree = self.tree(root);
        let own: u64 = tree.iter().map(|process| process.resident_kib.saturating_sub(process.file_kib)).sum();
        own + tree.iter().map(|process| process.file_kib).max().unwrap_or_default()
    }

    /// The number here of the process that has the number `inner` in the PID namespace of `first`, its first process.
    pub(super) fn outer(&self, first: u32, inner: u32) -> Option<u32> {
        let depth = self.by_pid.get(&first)?.numbers.len().checked_sub(1)?;
        self.tree(first)
            .into_iter()
            .find(|process| process.numbers.get(depth) == Some(&inner))
            .map(|found| found.pid)
    }
}

fn parse(pid: u32, status: &str, args: &[u8]) -> Option<Process> {
    let field = |name: &str| {
        let mut lines = status.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    };
    let size = |name: &str| {
        let size = field(name).and_then(|size| size.strip_suffix("kB")?.trim().parse().ok());
        size.unwrap_or_default()
    };
    let role = args.split(|&byte| byte == 0).nth(1).unwrap_or_default();
    Some(Process {
        pid,
        parent: field("PPid")?.parse().ok()?,
        numbers: field("NSpid")?.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect(),
        resident_kib: size("VmRSS"),
        file_kib: size("RssFile"),
        role: String::from_utf8_lossy(role).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_and_numbers_are_translated() {
        let status = |parent: u32, numbers: &str| {
            format!(
                "Name:\tswarm-bin\nPPid:\t{parent}\nNSpid:\t{numbers}\nVmRSS:\t   21012 kB\nRssFile:\t   15000 kB\n"
            )
        };
        let one = |pid, parent, numbers: &str, role: &str| {
            let args = format!("/proc/self/exe\0{role}\0--x\0");
            (pid, parse(pid, &status(parent, numbers), args.as_bytes()).unwrap())
        };
        let by_pid = BTreeMap::from([
            one(500, 400, "500\t1", "demo-supervisor"),
            one(510, 500, "510\t7\t1", "demo-node"),
            one(511, 510, "511\t8\t2", "daemon"),
            one(900, 1, "900\t7", "other"),
        ]);
        let processes = Processes { by_pid };
        assert_eq!(processes.outer(500, 7), Some(510));
        assert_eq!(processes.outer(500, 8), Some(511));
        assert_eq!(processes.outer(500, 9), None);
        let tree = processes.tree(510);
        assert_eq!(
            tree.iter().map(|process| process.role.as_str()).collect::<Vec<_>>(),
            ["demo-node", "daemon"]
        );
        assert_eq!(tree[1].resident_kib, 21012);
        assert_eq!(processes.memory_kib(510), 2 * 6012 + 15000);
    }

    #[test]
    fn this_process_is_among_them() {
        let own = std::process::id();
        assert_eq!(Processes::now().tree(own).first().unwrap().pid, own);
    }
}
