//! Why something could not be measured.

use std::io;

use overlay_linux::link::LinkError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// Interfaces of the kernel, and the processes that use them, need it.
    #[error(
        "only root can do this: it makes interfaces, changes their offloads and runs other programs; \
         try `sudo swarm-bin bench dataplane`, or `--list` to see what it would do"
    )]
    NotRoot,
    #[error("no layout is called {name:?}; `swarm-bin bench dataplane --list` shows them all")]
    NoLayout { name: String },
    /// Not an error of ours: the row is left out and named.
    #[error("absent: {what} ({remedy})")]
    Absent { what: String, remedy: String },
    #[error("cannot {action}: {source}")]
    System { action: &'static str, source: io::Error },
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the kernel did not make it all: {report}")]
    Report { report: String },
    #[error("{program}: {said}")]
    Program { program: String, said: String },
    #[error("{what} took more than {seconds} s")]
    Slow { what: String, seconds: u64 },
    #[error("{what}: {source}")]
    Plane { what: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
}

impl BenchError {
    pub(super) const fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }

    pub(super) fn program(program: impl Into<String>, said: impl ToString) -> Self {
        Self::Program { program: program.into(), said: said.to_string() }
    }
}
