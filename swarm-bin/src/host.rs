//! Where a daemon listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The address of a daemon, as in `DOCKER_HOST`: `unix:///run/swarm-bin.sock` or `tcp://192.0.2.1:2375`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Host {
    /// A unix socket.
    Unix(PathBuf),
    /// `host:port`, without TLS.
    Tcp(String),
}

/// Not the address of a daemon.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is no address of a daemon; write unix:///path/to/socket or tcp://host:port")]
pub(crate) struct HostError {
    text: String,
}

impl Host {
    /// Where a daemon listens that was not told otherwise.
    pub(crate) const DEFAULT_SOCKET: &str = "/run/swarm-bin.sock";

    /// The address given on the command line, or else `DOCKER_HOST`, or else the default.
    ///
    /// # Errors
    ///
    /// `DOCKER_HOST` is set to something else than an address.
    pub(crate) fn choose(given: Option<Self>) -> Result<Self, HostError> {
        match (given, std::env::var("DOCKER_HOST")) {
            (Some(host), _) => Ok(host),
            (None, Ok(text)) if !text.is_empty() => text.parse(),
            (None, _) => Ok(Self::Unix(Self::DEFAULT_SOCKET.into())),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let refuse = || HostError { text: text.to_owned() };
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) => {
                let address = address.trim_end_matches('/');
                let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
                port.map(|_| Self::Tcp(address.to_owned())).ok_or_else(refuse)
            }
            _ => Err(refuse()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip_and_others_are_refused() {
        for text in ["unix:///run/a.sock", "tcp://192.0.2.1:2375", "tcp://[2001:db8::1]:2375"] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), text);
        }
        for text in ["", "/run/a.sock", "unix://a.sock", "tcp://192.0.2.1", "http://a:1", "tcp://a:99999"] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }
}
