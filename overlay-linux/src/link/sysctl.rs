use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::netns::NetNs;

/// Reads those values that exist, with each run of white space as one space.
pub(super) fn read<'a>(
    netns: &NetNs,
    names: impl Iterator<Item = &'a String> + Send,
) -> io::Result<BTreeMap<String, String>> {
    netns.run(|| {
        let one = |name: &String| {
            let text = fs::read_to_string(path(name).ok()?).ok()?;
            Some((name.clone(), text.split_whitespace().collect::<Vec<_>>().join(" ")))
        };
        names.filter_map(one).collect()
    })
}

pub(super) fn write(netns: &NetNs, name: &str, value: &str) -> io::Result<()> {
    let path = path(name)?;
    netns.run(|| fs::write(path, value))?
}

/// The file of a dotted or slashed name.
fn path(name: &str) -> io::Result<PathBuf> {
    let relative = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    if Path::new(&relative).components().all(|part| matches!(part, Component::Normal(_))) {
        Ok(Path::new("/proc/sys").join(relative))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} names no value below /proc/sys")))
    }
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_name_cannot_leave_proc_sys() {
        assert_eq!(path("net.ipv4.ip_forward").unwrap().to_str(), Some("/proc/sys/net/ipv4/ip_forward"));
        assert_eq!(
            path("net/ipv4/conf/a.b/rp_filter").unwrap().to_str(),
            Some("/proc/sys/net/ipv4/conf/a.b/rp_filter")
        );
        assert!(path("net/../../../etc/passwd").is_err());
        assert!(path("/etc/passwd").is_err());
    }
}
