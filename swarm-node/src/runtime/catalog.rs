//! Images without a registry: which program an image name stands for.

use std::path::Path;

use super::{Launch, RuntimeError, hello};

/// What runs for an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Program {
    /// The executable; `/proc/self/exe` for a built-in one.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
}

/// Resolves image names: the built-in `hello` program under the names that tutorials use, and `host:///path/to/program`
/// (or `host/path/to/program`) for any program of the host.
///
/// ```
/// use swarm_node::runtime::{Catalog, Launch};
///
/// let launch = |image: &str| Launch { image: image.into(), ..Launch::default() };
/// assert!(Catalog.resolve(&launch("huyinghuan/helloworld:latest")).is_ok());
/// assert_eq!(Catalog.resolve(&launch("host:///bin/sh")).unwrap().path, "/bin/sh");
/// assert_eq!(Catalog.resolve(&launch("host/bin/sh:latest")).unwrap().path, "/bin/sh");
/// let refused = Catalog.resolve(&launch("nosuch/image:latest")).unwrap_err();
/// assert_eq!(refused.to_string(), "No such image: nosuch/image:latest");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Catalog;

/// Image names, without tag and digest, that mean the built-in HTTP hello program.
const HELLO: [&str; 4] = ["huyinghuan/helloworld", "hello", "swarm/hello", "builtin/hello"];

impl Catalog {
    /// The program of `launch`, with the service's own command and arguments applied.
    ///
    /// # Errors
    /// [`RuntimeError::NoSuchImage`] for unknown names, [`RuntimeError::CannotRun`] when a host's program is missing.
    pub fn resolve(&self, launch: &Launch) -> Result<Program, RuntimeError> {
        let mut program = match host_path(&launch.image) {
            Some(path) => host_program(&path)?,
            None if HELLO.contains(&name_of(&launch.image)) => hello::program(launch),
            None => return Err(RuntimeError::NoSuchImage { image: launch.image.clone() }),
        };
        if let Some((first, rest)) = launch.command.split_first() {
            program = Program { path: first.clone(), args: rest.to_vec() };
        }
        program.args.extend(launch.args.iter().cloned());
        Ok(program)
    }
}

/// The name without digest and tag: `a/b:latest@sha256:…` is `a/b`.
fn name_of(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    let name = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    };
    name.strip_prefix("docker.io/").unwrap_or(name)
}

/// `host:///bin/sh`, or `host/bin/sh` where only well-formed image names are accepted, as in compose files.
fn host_path(image: &str) -> Option<String> {
    let path = image.strip_prefix("host://").map(str::to_owned);
    path.or_else(|| image.strip_prefix("host/").map(|path| format!("/{path}")))
}

fn host_program(path: &str) -> Result<Program, RuntimeError> {
    use std::os::unix::fs::PermissionsExt;
    // The CLI appends `:latest` to what it takes for an image reference.
    let path = path.strip_suffix(":latest").unwrap_or(path);
    let refuse = |reason: String| RuntimeError::CannotRun { program: path.to_owned(), reason };
    if !Path::new(path).is_absolute() {
        return Err(refuse("the path after host:// must be absolute".into()));
    }
    let meta = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
    if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
        return Err(refuse("not an executable file".into()));
    }
    Ok(Program { path: path.to_owned(), args: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_tag_digest_and_default_registry_but_keep_a_port() {
        assert_eq!(name_of("huyinghuan/helloworld:latest"), "huyinghuan/helloworld");
        assert_eq!(name_of("docker.io/huyinghuan/helloworld@sha256:00"), "huyinghuan/helloworld");
        assert_eq!(name_of("localhost:5000/hello"), "localhost:5000/hello");
    }

    #[test]
    fn the_services_command_replaces_the_program_and_its_args_are_appended() {
        let launch = Launch {
            image: "host:///bin/sh".into(),
            command: vec!["/bin/echo".into(), "a".into()],
            args: vec!["b".into()],
            ..Launch::default()
        };
        let program = Catalog.resolve(&launch).unwrap();
        assert_eq!(
            (program.path.as_str(), program.args),
            ("/bin/echo", vec!["a".to_owned(), "b".to_owned()])
        );
    }
}
